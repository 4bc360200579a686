/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whole measurements, taken apart by a meter. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/bandpass.h"
#include "mroscope/crystal.h"
#include "mroscope/haadf.h"
#include "mroscope/math/philox.h"
#include "mroscope/saed.h"
#include "mroscope/shearband.h"
#include "ops/bench/bench.h"
#include "ops/bench/meter.h"

#define HAADF_PIXEL_NM 0.1
#define SEED 21

/* ------------------------------------------------------------------ data */

/* Counts of a scanned image: contrast of 5 % between 1.5 and 15 nm, and the noise of 400 counts. */
static enum mro_code scanned(size_t n, struct mro_image *im, struct mro_error *e)
{
    static const double band[2] = { 1 / 15.0, 1 / 1.5 };
    const double length = (double)n * HAADF_PIXEL_NM;
    const struct mro_grid grid = { n, n, length, length };
    struct mro_buffer spectrum = { 0 }, field = { 0 };
    struct mro_device *d = NULL;
    double square = 0;
    MRO_TRY(mro_image_alloc(im, n, n, e));
    enum mro_code rc = mro_image_set_pixel_nm(im, HAADF_PIXEL_NM, MRO_SOURCE_COMMAND_LINE, e);
    if (rc == MRO_OK) rc = mro_device_open(&d, "cpu", 0, 0, e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &spectrum, n * n * sizeof(mro_c32), e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &field, n * n * sizeof(float), e);
    if (rc == MRO_OK) rc = d->ops->noise_spectrum(d, &grid, SEED, 0, band, 0.05, &spectrum, e);
    if (rc == MRO_OK) rc = d->ops->inverse(d, &grid, &spectrum, &field, e);
    if (rc == MRO_OK) rc = d->ops->download(d, im->px, &field, n * n * sizeof(float), e);
    for (size_t i = 0; rc == MRO_OK && i < n * n; i++) square += (double)im->px[i] * im->px[i];
    const float unit = (float)(0.05 / sqrt(fmax(square, 1e-30) / (double)(n * n)));
    for (size_t i = 0; rc == MRO_OK && i < n * n; i++) {
        const mro_philox_block b = mro_philox(SEED, 1, i);
        im->px[i] = roundf(400 * (1 + unit * im->px[i]) + 20 * mro_normal_pair(b.v[0], b.v[1]).re);
    }
    if (d) d->ops->release(d, &spectrum);
    if (d) d->ops->release(d, &field);
    mro_device_close(d);
    if (rc) mro_image_release(im);
    return rc;
}

/* Halos of a glass to 12 nm^-1 under noise of counting, a little off the middle. */
static enum mro_code pattern(size_t n, struct mro_image *im, struct mro_error *e)
{
    const double step = 12 / (0.5 * (double)n);
    MRO_TRY(mro_image_alloc(im, n, n, e));
    im->kind = MRO_KIND_DIFFRACTION;
    im->beam_kv = 200;
    for (int k = 0; k < 2; k++) {
        im->axis[k].step = step;
        im->axis[k].unit = MRO_UNIT_INV_NM;
        im->axis[k].source = MRO_SOURCE_COMMAND_LINE;
    }
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++) {
            const double s = step * hypot((double)y - 0.5 * (double)n - 3.2, (double)x - 0.5 * (double)n + 1.7);
            const double halos = 900 * exp(-0.5 * pow((s - 4.9) / 0.35, 2)) + 260 * exp(-0.5 * pow((s - 8.2) / 0.6, 2));
            const double mean = 4000 * exp(-s / 1.6) + 120 + halos;
            const mro_philox_block b = mro_philox(SEED, 2, y * n + x);
            im->px[y * n + x] = (float)round(mean + sqrt(mean) * (double)mro_normal_pair(b.v[0], b.v[1]).re);
        }
    return MRO_OK;
}

/* ------------------------------------------------------------------ measurements */

/* One image of a measurement, and what was made once before it. */
struct subject {
    const struct mro_image *im;
    struct mro_order_plan *order;
    struct mro_saed_plan *saed;
};

static enum mro_code once_mro(struct mro_device *d, const struct subject *s, struct mro_error *e)
{
    struct mro_order_result r;
    (void)d; /* the plan's */
    MRO_TRY(mro_order_measure(s->order, s->im, "the image", &r, e));
    mro_order_result_release(&r);
    return MRO_OK;
}

static enum mro_code once_bandpass(struct mro_device *d, const struct subject *s, struct mro_error *e)
{
    struct mro_bandpass_options o;
    struct mro_bandpass_result r;
    mro_bandpass_options_default(&o);
    MRO_TRY(mro_bandpass(d, s->im, "the image", &o, &r, e));
    mro_bandpass_result_release(&r);
    return MRO_OK;
}

static enum mro_code once_haadf(struct mro_device *d, const struct subject *s, struct mro_error *e)
{
    struct mro_haadf_options o;
    struct mro_haadf_result r;
    mro_haadf_options_default(&o);
    MRO_TRY(mro_haadf_measure(d, s->im, "the scanned image", &o, &r, e));
    mro_haadf_result_release(&r);
    return MRO_OK;
}

static enum mro_code once_lattice(struct mro_device *d, const struct subject *s, struct mro_error *e)
{
    struct mro_crystal_options o;
    struct mro_crystal_result r;
    mro_crystal_options_default(&o);
    MRO_TRY(mro_crystal_measure(d, s->im, "the image", &o, &r, e));
    mro_crystal_result_release(&r);
    return MRO_OK;
}

static enum mro_code once_shearband(struct mro_device *d, const struct subject *s, struct mro_error *e)
{
    struct mro_shearband_options o;
    struct mro_shearband_result r;
    mro_shearband_options_default(&o);
    MRO_TRY(mro_shearband_measure(d, s->im, "the scanned image", &o, &r, e));
    mro_shearband_result_release(&r);
    return MRO_OK;
}

static enum mro_code once_pdf(struct mro_device *d, const struct subject *s, struct mro_error *e)
{
    struct mro_saed_result r;
    double drift;
    (void)d; /* the plan's */
    MRO_TRY(mro_saed_plan_measure(s->saed, s->im->px, "the pattern", &r, &drift, e));
    mro_saed_result_release(&r);
    return MRO_OK;
}

/* ------------------------------------------------------------------ the table */

static void add_part(struct mro_bench *b, const char *measurement, const char *name, double calls, double seconds,
                     double floor_s)
{
    if (b->parts == MRO_BENCH_PARTS) return;
    struct mro_bench_part *p = b->part + b->parts++;
    *p = (struct mro_bench_part){
        .measurement = measurement, .calls = calls, .ms = 1e3 * seconds, .floor_ms = 1e3 * floor_s
    };
    snprintf(p->name, sizeof p->name, "%s", name);
}

struct run {
    double seconds;
    struct mro_meter_stage stage[MRO_METER_STAGES];
};

static int by_seconds(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    return (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

static enum mro_code take_apart(struct mro_meter *m, const char *name, const struct subject *s,
                                enum mro_code (*once)(struct mro_device *d, const struct subject *s,
                                                      struct mro_error *e),
                                int runs, struct mro_bench *b, struct mro_error *e)
{
    struct run *run = calloc((size_t)runs, sizeof *run);
    if (run == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    enum mro_code rc = MRO_OK;
    for (int k = -1; k < runs && rc == MRO_OK; k++) {
        mro_meter_reset(m);
        const double start = mro_seconds(m->of);
        rc = once(&m->device, s, e);
        if (k < 0 || rc) continue;
        run[k].seconds = mro_seconds(m->of) - start;
        memcpy(run[k].stage, m->stage, sizeof m->stage);
    }
    if (rc == MRO_OK) {
        qsort(run, (size_t)runs, sizeof *run, by_seconds);
        const struct run *median = run + (runs - 1) / 2;
        const bool known = b->rates.flops > 0;
        double metered = 0, least = 0;
        for (size_t i = 0; i < MRO_METER_STAGES; i++) {
            const struct mro_meter_stage *stage = median->stage + i;
            if (stage->calls == 0) continue;
            const double floor_s = known ? mro_floor_s(&stage->work, &b->rates) : 0;
            add_part(b, name, mro_meter_name(i), (double)stage->calls, stage->seconds, floor_s);
            metered += stage->seconds;
            least += floor_s;
        }
        add_part(b, name, "on the host", 0, fmax(median->seconds - metered, 0), 0);
        add_part(b, name, "all", 0, median->seconds, least);
    }
    free(run);
    return rc;
}

enum mro_code mro_bench_measurements(struct mro_device *d, const struct mro_image *im, size_t n, int runs,
                                     struct mro_bench *b, struct mro_error *e)
{
    struct mro_order_options order;
    struct mro_saed_options saed;
    struct mro_saed_result geometry = { 0 };
    struct mro_image made = { 0 };
    struct mro_meter m;
    struct subject s = { .im = im };
    mro_order_options_default(&order);
    order.kv = MRO_BENCH_KV;
    order.cs_mm = MRO_BENCH_CS_MM;
    order.views = false; /* as without -o */
    mro_saed_options_default(&saed);
    enum mro_code rc = mro_meter_open(&m, d, e);
    if (rc == MRO_OK) rc = mro_order_plan_new(&s.order, &m.device, &order, e);
    if (rc == MRO_OK) rc = take_apart(&m, "mro", &s, once_mro, runs, b, e);
    mro_order_plan_free(s.order);
    if (rc == MRO_OK) rc = take_apart(&m, "bandpass", &s, once_bandpass, runs, b, e);
    if (rc == MRO_OK && n) {
        rc = mro_bench_image(n, MRO_BENCH_CRYSTALS, &made, NULL, NULL, e);
        s.im = &made;
        if (rc == MRO_OK) rc = take_apart(&m, "lattice", &s, once_lattice, runs, b, e);
        mro_image_release(&made);
    }
    if (rc == MRO_OK && n) {
        rc = scanned(n, &made, e);
        if (rc == MRO_OK) rc = take_apart(&m, "haadf", &s, once_haadf, runs, b, e);
        if (rc == MRO_OK) rc = take_apart(&m, "shearband", &s, once_shearband, runs, b, e);
        mro_image_release(&made);
    }
    if (rc == MRO_OK && n) {
        rc = pattern(n, &made, e);
        if (rc == MRO_OK) rc = mro_saed_measure(&m.device, &made, "the pattern", &saed, &geometry, e);
        if (rc == MRO_OK) rc = mro_saed_plan_new(&s.saed, &m.device, &geometry, &saed, 0, e);
        if (rc == MRO_OK) rc = take_apart(&m, "pdf", &s, once_pdf, runs, b, e);
        mro_saed_plan_free(s.saed);
        mro_saed_result_release(&geometry);
        mro_image_release(&made);
    }
    mro_meter_close(&m);
    return rc;
}

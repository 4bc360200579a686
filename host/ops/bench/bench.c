/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/bench/bench.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "ops/bench/bench_primitives.h"
#include "ops/bench/meter.h"
#include "ops/mro/ctf.h"
#include "ops/mro/mro_internal.h"

#define PROVE_PIXELS 512
#define PLANTED_PIXELS 1536
#define TOLERANCE 1e-4       /* between backends; float32 sums in another order differ by less */
#define CLIMB_TOLERANCE 2e-3 /* a climb ends within a hundredth of its last step */

void mro_bench_add(struct mro_bench *b, const char *name, double *seconds, int runs, double pixels,
                   const struct mro_work *work)
{
    if (b->stages == MRO_BENCH_ROWS) return;
    struct mro_bench_stage *s = b->stage + b->stages++;
    gsl_sort(seconds, 1, (size_t)runs);
    const double median = 0.5 * (seconds[(runs - 1) / 2] + seconds[runs / 2]);
    *s = (struct mro_bench_stage){ .ms = 1e3 * median, .pixels = pixels, .bytes = work ? work->bytes : 0 };
    if (work && b->rates.flops > 0) s->floor_ms = 1e3 * mro_floor_s(work, &b->rates);
    snprintf(s->name, sizeof s->name, "%s", name);
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double most = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) && isnan(b[i])) continue;
        const double v = fabs((double)a[i] - b[i]);
        if (!(v <= most)) most = isnan(v) ? INFINITY : v;
        square += (double)b[i] * b[i];
    }
    return most > 0 ? most / sqrt(square / (double)n + 1e-30) : 0;
}

static struct mro_bench_check *add_check(struct mro_bench *b, const char *name, double error, double tolerance)
{
    struct mro_bench_check *c = b->check + (b->checks < MRO_BENCH_ROWS ? b->checks++ : MRO_BENCH_ROWS - 1);
    *c = (struct mro_bench_check){ .error = error, .tolerance = tolerance, .passed = error <= tolerance };
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

static enum mro_code compare_primitives(struct mro_bed *device, struct mro_bed *reference, bool exact,
                                        struct mro_bench *b, struct mro_error *e)
{
    for (size_t i = 0; i < MRO_BENCH_PRIMITIVES; i++) {
        const enum mro_bench_output o = mro_bench_primitives[i].output;
        float *v[2] = { NULL, NULL };
        size_t n = 0;
        enum mro_code rc = MRO_OK;
        for (int k = 0; k < 2 && rc == MRO_OK; k++) {
            struct mro_bed *bed = k ? reference : device;
            rc = mro_bed_inputs(reference, bed, e);
            if (rc == MRO_OK) rc = mro_bench_primitives[i].call(bed, mro_bench_primitives[i].k, e);
            if (rc == MRO_OK) rc = mro_bed_collect(bed, o, &v[k], &n, e);
        }
        if (rc == MRO_OK) {
            struct mro_bench_check *c = add_check(b, mro_bench_primitives[i].name, largest_difference(v[0], v[1], n),
                                                  exact                ? 0
                                                  : o == BENCH_PATCHES ? CLIMB_TOLERANCE
                                                                       : TOLERANCE);
            if (exact) c->passed = memcmp(v[0], v[1], n * sizeof(float)) == 0;
            size_t other = 0; /* ties may go either way on another backend */
            for (size_t j = n; o == BENCH_BANK && j < 2 * n; j++) other += v[0][j] != v[1][j];
            if (other > (exact ? 0 : n / 1000)) {
                c->passed = false;
                snprintf(c->text, sizeof c->text, "another wave vector in %zu of %zu cells", other, n);
            }
        }
        free(v[0]);
        free(v[1]);
        MRO_TRY(rc);
    }
    return MRO_OK;
}

static void bench_options(struct mro_order_options *o)
{
    mro_order_options_default(o);
    o->kv = MRO_BENCH_KV;
    o->cs_mm = MRO_BENCH_CS_MM;
}

/* Two results of one image: numbers and objects. */
static void compare_results(const struct mro_order_result *a, const struct mro_order_result *r, bool exact,
                            struct mro_bench *b)
{
    const float x[] = { (float)a->fraction, (float)a->fraction_ci95[0], (float)a->fraction_ci95[1],
                        (float)a->fraction_raw, (float)a->coverage };
    const float y[] = { (float)r->fraction, (float)r->fraction_ci95[0], (float)r->fraction_ci95[1],
                        (float)r->fraction_raw, (float)r->coverage };
    struct mro_bench_check *c =
        add_check(b, "whole measurement", largest_difference(x, y, sizeof x / sizeof *x), exact ? 0 : 10 * TOLERANCE);
    bool same = a->n_objects == r->n_objects;
    for (size_t i = 0; same && exact && i < a->n_objects; i++)
        same = memcmp(a->objects + i, r->objects + i, offsetof(struct mro_order_object, grade)) == 0;
    if (!same) snprintf(c->text, sizeof c->text, "other objects: %zu and %zu", a->n_objects, r->n_objects);
    c->passed = c->passed && same;
}

static enum mro_code check_planted(struct mro_order_plan *p, struct mro_order_plan *reference, bool exact,
                                   struct mro_bench *b, struct mro_error *e)
{
    struct mro_image im = { 0 };
    struct mro_order_result r = { 0 }, r2 = { 0 };
    double(*spheres)[3] = NULL;
    size_t n = 0;
    enum mro_code rc = mro_bench_image(PLANTED_PIXELS, MRO_BENCH_CLUSTERS, &im, &spheres, &n, e);
    if (rc == MRO_OK) rc = mro_order_measure(p, &im, "the planted image", &r, e);
    if (rc == MRO_OK) rc = mro_order_measure(reference, &im, "the planted image", &r2, e);
    if (rc == MRO_OK) {
        compare_results(&r, &r2, exact, b);
        const double truth = mro_bench_planted_fraction(spheres, n, r.region_nm);
        struct mro_bench_check *c = add_check(b, "planted order", fabs(r.fraction / truth - 1), INFINITY);
        c->passed = r.distinguishable && r.fraction_ci95[0] <= truth && truth <= r.fraction_ci95[1];
        c->tolerance = NAN;
        snprintf(c->text, sizeof c->text, "%.1f %% (%.1f to %.1f %%) found, %.1f %% planted, p %.1g", 100 * r.fraction,
                 100 * r.fraction_ci95[0], 100 * r.fraction_ci95[1], 100 * truth, r.p_image);
    }
    mro_order_result_release(&r);
    mro_order_result_release(&r2);
    mro_image_release(&im);
    free(spheres);
    MRO_TRY(rc);
    MRO_TRY(mro_bench_image(PLANTED_PIXELS, MRO_BENCH_GLASS, &im, NULL, NULL, e));
    rc = mro_order_measure(p, &im, "the image of a glass", &r, e);
    if (rc == MRO_OK) {
        struct mro_bench_check *c = add_check(b, "nothing planted", r.fraction_raw, 0.04);
        c->passed = c->passed && !r.distinguishable;
        snprintf(c->text, sizeof c->text, "%.2f %% of cells flagged at nominal %.3g %%, p %.2g", 100 * r.fraction_raw,
                 100 * r.null_fraction, r.p_image);
    }
    mro_order_result_release(&r);
    mro_image_release(&im);
    return rc;
}

enum mro_code mro_bench_prove(struct mro_device *d, struct mro_device *reference, bool exact, struct mro_bench *b,
                              bool *passed, struct mro_error *e)
{
    struct mro_order_options o;
    struct mro_order_plan *p = NULL, *p2 = NULL;
    struct mro_image im = { 0 };
    struct mro_bed bed = { 0 }, bed2 = { 0 };
    bench_options(&o);
    *passed = false;
    enum mro_code rc = mro_order_plan_new(&p, d, &o, e);
    if (rc == MRO_OK) rc = mro_order_plan_new(&p2, reference, &o, e);
    if (rc == MRO_OK) rc = mro_bench_image(PROVE_PIXELS, MRO_BENCH_CLUSTERS, &im, NULL, NULL, e);
    if (rc == MRO_OK) rc = mro_bed_make(&bed, d, &im, p, e);
    if (rc == MRO_OK) rc = mro_bed_make(&bed2, reference, &im, p2, e);
    if (rc == MRO_OK) rc = compare_primitives(&bed, &bed2, exact, b, e);
    if (rc == MRO_OK) rc = check_planted(p, p2, exact, b, e);
    if (rc == MRO_OK) {
        *passed = true;
        for (size_t i = 0; i < b->checks; i++) *passed = *passed && b->check[i].passed;
    }
    mro_bed_free(&bed);
    mro_bed_free(&bed2);
    mro_image_release(&im);
    mro_order_plan_free(p);
    mro_order_plan_free(p2);
    return rc;
}

enum mro_code mro_bench_time(struct mro_device *d, const struct mro_image *im, int runs, struct mro_bench *b,
                             struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    const double pixels = (double)im->ny * (double)im->nx;
    struct mro_order_options o;
    struct mro_order_plan *p = NULL;
    struct mro_bed bed = { 0 };
    struct mro_meter meter = { .of = NULL };
    mro_c32 *spectrum = NULL;
    double *t = malloc((size_t)runs * sizeof *t);
    bench_options(&o);
    o.views = false; /* as without -o */
    if (t == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    enum mro_code rc = mro_meter_open(&meter, d, e);
    for (int k = 0; k < runs && rc == MRO_OK; k++) { /* the proof has made one: it is warm */
        mro_order_plan_free(p);
        const double start = mro_seconds(d);
        rc = mro_order_plan_new(&p, d, &o, e);
        t[k] = mro_seconds(d) - start;
    }
    if (rc) goto done;
    mro_bench_add(b, "plan: null and power, once", t, runs, 0, NULL);
    if ((rc = mro_bed_make(&bed, &meter.device, im, p, e)) || (rc = mro_bed_inputs(&bed, &bed, e))) goto done;
    if ((spectrum = malloc(mro_bed_samples(&bed.grid) * sizeof *spectrum)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    if ((rc = d->ops->download(d, spectrum, &bed.spectrum, mro_bed_samples(&bed.grid) * sizeof *spectrum, e)))
        goto done;
    for (size_t i = 0; i < MRO_BENCH_PRIMITIVES; i++) {
        const enum mro_bench_output wrote = mro_bench_primitives[i].output;
        const bool of_pixels = wrote != BENCH_TILED && wrote != BENCH_WINDOW && wrote != BENCH_SLOPES;
        char name[40];
        struct mro_work work = { 0 };
        for (int k = -1; k < runs; k++) {
            mro_meter_reset(&meter);
            const double start = mro_seconds(d);
            if ((rc = mro_bench_primitives[i].call(&bed, mro_bench_primitives[i].k, e)) ||
                (rc = mro_bed_settle(&bed, wrote, e)))
                goto done;
            if (k >= 0) t[k] = mro_seconds(d) - start;
        }
        for (size_t k = 0; k < MRO_METER_STAGES; k++) mro_work_add(&work, &meter.stage[k].work);
        snprintf(name, sizeof name, "%s", mro_bench_primitives[i].name);
        if (wrote == BENCH_PATCHES || wrote == BENCH_FRINGES)
            snprintf(name, sizeof name, "%s (%zu)", mro_bench_primitives[i].name, bed.n_patches);
        mro_bench_add(b, name, t, runs, of_pixels ? pixels : 0, &work);
        if (mro_bench_primitives[i].call != mro_bed_contrast) continue; /* the fit follows it, as in a measurement */
        for (int k = -1; k < runs; k++) {
            struct mro_ctf_fit fit;
            const double start = mro_seconds(d);
            if ((rc = mro_ctf_fit_rings(&bed.grid, spectrum, o.kv, o.cs_mm, NULL, d->threads, &fit, e))) goto done;
            if (k >= 0) t[k] = mro_seconds(d) - start;
        }
        mro_bench_add(b, "rings fit", t, runs, pixels, NULL);
    }
    mro_bed_free(&bed); /* the whole measurement needs the room */
    for (int k = -1; k < runs; k++) {
        struct mro_order_result r;
        const double start = mro_seconds(d);
        if ((rc = mro_order_measure(p, im, "the image", &r, e))) goto done;
        if (k >= 0) t[k] = mro_seconds(d) - start;
        mro_order_result_release(&r);
    }
    mro_bench_add(b, "whole measurement, without plan", t, runs, pixels, NULL);
done:
    mro_bed_free(&bed);
    mro_meter_close(&meter);
    mro_order_plan_free(p);
    free(spectrum);
    free(t);
    return rc;
}

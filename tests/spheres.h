/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fields of speckle with a known number of ordered spheres, and a plan to measure them by. */
#ifndef TESTS_SPHERES_H
#define TESTS_SPHERES_H

#include "fields.h"

#include <stdio.h>

#include "mroscope/math/patch.h"
#include "mroscope/mro.h"
#include "ops/mro/mro_internal.h"

#ifndef N
#define N 320   /* of pixels along a side */
#define MOST 40 /* spheres */
#endif
#define PIXEL 0.05
#define FIELD (N * PIXEL)

static struct mro_device *d;
static struct mro_order_plan *plan;
static struct mro_error e;

static inline struct mro_order_options options(void)
{
    struct mro_order_options o;
    mro_order_options_default(&o);
    o.kv = 200;
    o.cs_mm = 0; /* the fields show no rings: a corrected lens near focus */
    return o;
}

static inline int make_plan(void **state)
{
    const struct mro_order_options o = options();
    (void)state;
    if (mro_device_open(&d, "cpu", 2, (size_t)1 << 30, &e)) return -1;
    return mro_order_plan_new(&plan, d, &o, &e) != MRO_OK;
}

static inline int free_plan(void **state)
{
    (void)state;
    mro_order_plan_free(plan);
    mro_device_close(d);
    return 0;
}

struct disc {
    double y, x, diameter;
};

static inline double uniform(uint64_t stream, uint64_t i) { return mro_uniform_open(mro_philox(31, stream, i).v[0]); }

/* Power of the glass: a halo over a third of its height. */
static inline double glass(double q) { return exp(-0.5 * pow((q - 4.75) / 0.4, 2)) + 0.3; }

/* An image of counts with spheres of random place, azimuth and tilt, the first `large` of them of sizes[0] to
 * sizes[1] nm; returns their number. The signal of a sphere is snr = contrast (D + 0.14)^4 over the glass at its wave
 * vector, the glass around a crystal being layered by it. */
static inline size_t make_mixed(struct mro_image *im, uint64_t seed, size_t wanted, size_t large, const double sizes[2],
                                double contrast, struct disc *discs)
{
    const size_t n = (size_t)N * N;
    const struct mro_grid g = { N, N, FIELD, FIELD };
    const double wide[2] = { -1, 1e3 };
    struct mro_buffer spectrum = buffer_of(d, n * sizeof(mro_c32)), field = buffer_of(d, n * sizeof(float));
    float *gain = malloc(n * sizeof *gain);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++)
            gain[y * N + x] = (float)sqrt(glass(hypot(frequency_of(y, N, FIELD), frequency_of(x, N, FIELD))));
    ok(d->ops->noise_spectrum(d, &g, 1234, seed, wide, 0.15, &spectrum, &e), &e);
    ok(d->ops->multiply(d, &g, &spectrum, gain, &e), &e);
    ok(d->ops->inverse(d, &g, &spectrum, &field, &e), &e);
    float *f = get(d, &field, n * sizeof *f);
    d->ops->release(d, &spectrum);
    d->ops->release(d, &field);
    free(gain);

    size_t made = 0;
    for (uint64_t i = 0; made < wanted && i < 1000; i++) {
        const mro_philox_block a = mro_philox(seed, 1, i), b = mro_philox(seed, 2, i), c = mro_philox(seed, 3, i);
        struct disc s = { .y = FIELD * mro_uniform_open(a.v[0]), .x = FIELD * mro_uniform_open(a.v[1]) };
        s.diameter = fmin(fmax(exp(log(1.75) + 0.2 * mro_normal_pair(a.v[2], a.v[3]).re), 1.2), 2.8);
        if (made < large) s.diameter = sizes[0] + (sizes[1] - sizes[0]) * mro_uniform_open(mro_philox(seed, 4, i).v[0]);
        bool free_place = true;
        for (size_t k = 0; k < made; k++)
            if (hypot(discs[k].y - s.y, discs[k].x - s.x) < 0.5 * (discs[k].diameter + s.diameter) + 0.3)
                free_place = false;
        if (!free_place) continue;
        const double apparent = s.diameter + MRO_INTERFACE_NM, azimuth = MRO_PI * mro_uniform_open(b.v[0]);
        const double q = 4.93 * (1 + 0.005 * mro_normal_pair(b.v[1], b.v[2]).re),
                     phase = 2 * MRO_PI * mro_uniform_open(b.v[3]);
        const double snr = contrast * pow(apparent, 4) * (0.65 + 0.35 * mro_uniform_open(c.v[0])); /* tilts */
        const double scale = 2 * sqrt(snr * glass(q) / (MRO_PI * pow(apparent, 4) / 8)) * PIXEL;
        for (size_t y = 0; y < N; y++) {
            const double dy = (double)y * PIXEL - s.y;
            if (fabs(dy) > 0.5 * apparent) continue;
            for (size_t x = 0; x < N; x++) {
                const double dx = (double)x * PIXEL - s.x;
                f[y * N + x] += (float)(scale * mro_chord((float)(dy * dy + dx * dx), (float)(0.5 * apparent)) *
                                        cos(2 * MRO_PI * q * (sin(azimuth) * dy + cos(azimuth) * dx) + phase));
            }
        }
        discs[made++] = s;
    }
    ok(mro_image_alloc(im, N, N, &e), &e);
    ok(mro_image_set_pixel_nm(im, PIXEL, MRO_SOURCE_COMMAND_LINE, &e), &e);
    /* The scale of real images: bcc iron through a good lens (sin^2 chi 0.7, envelope^2 0.56) has c = 1e-3 nm^-2 times
     * its transfer over the power spectral density of the contrast at the ring, whatever the foil. */
    const float amplitude = (float)(sqrt(0.4e-3 / (contrast * glass(4.93))) / PIXEL);
    for (size_t i = 0; i < n; i++) im->px[i] = 1000 * (1 + amplitude * f[i]);
    free(f);
    return made;
}

static inline size_t make_field(struct mro_image *im, uint64_t seed, size_t wanted, double contrast, struct disc *discs)
{
    return make_mixed(im, seed, wanted, 0, NULL, contrast, discs);
}

/* Whether a place lies in one of n discs. */
static inline bool in_discs(const struct disc *s, size_t n, double y, double x)
{
    for (size_t k = 0; k < n; k++)
        if (hypot(s[k].y - y, s[k].x - x) < 0.5 * s[k].diameter) return true;
    return false;
}

/* Union of the discs inside the region, as a share of it. */
static inline double planted(const struct disc *s, size_t n, const double region[4])
{
    size_t in = 0, all = 0;
    for (double y = region[1] + 0.02; y < region[3]; y += 0.04)
        for (double x = region[0] + 0.02; x < region[2]; x += 0.04) {
            in += in_discs(s, n, y, x);
            all++;
        }
    return (double)in / (double)all;
}

/* What fields of known order were measured as: sums of fractions and of what was planted, how many fields, of how many
 * the interval covers it, and how many could be told from speckle. */
struct tally {
    double measured, truth;
    size_t fields, covered, seen;
};

static inline void count(struct tally *t, const struct mro_order_result *r, double truth)
{
    t->measured += r->fraction;
    t->truth += truth;
    t->fields++;
    t->covered += r->fraction_ci95[0] <= truth && truth <= r->fraction_ci95[1];
    t->seen += r->distinguishable;
}

static inline void print_tally(const struct tally *t, const char *what)
{
    print_message("%s: %.4f measured, %.4f planted, %zu of %zu intervals cover, %zu distinguishable\n", what,
                  t->measured / (double)t->fields, t->truth / (double)t->fields, t->covered, t->fields, t->seen);
}

/* Measures an image of discs, which is released, and counts it. */
static inline void measure_discs(struct tally *t, struct mro_image *im, const char *name, const struct disc *discs,
                                 size_t n, struct mro_order_result *r)
{
    ok(mro_order_measure(plan, im, name, r, &e), &e);
    count(t, r, planted(discs, n, r->region_nm));
    mro_image_release(im);
}

#endif

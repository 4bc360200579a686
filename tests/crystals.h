/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Images of speckle with crystals planted in it. */
#ifndef TESTS_CRYSTALS_H
#define TESTS_CRYSTALS_H

#include "fields.h"
#include "mroscope/crystal.h"

struct planted {
    double x_nm, y_nm, diameter_nm;
    size_t sets;
    double d_nm[3], azimuth_deg[3]; /* of its sets of fringes */
    double amplitude;
    /* Strain along azimuth strain_deg on either side of the line through the centre at a right angle to it. */
    double strain_deg, minus, plus;
    double turned_deg;         /* of the right half, from x toward y */
    double vortex_x, vortex_y; /* of a dislocation in the first set; NaN = none */
    double charge;
};

static inline struct planted plain_crystal(double x, double y, double diameter, double d, double azimuth)
{
    return (struct planted){ .x_nm = x,
                             .y_nm = y,
                             .diameter_nm = diameter,
                             .sets = 1,
                             .d_nm = { d },
                             .azimuth_deg = { azimuth },
                             .amplitude = 0.12,
                             .vortex_x = NAN,
                             .vortex_y = NAN };
}

/* Counts of an n x n image: speckle of a glass with a halo at 4.9 nm^-1, 5 % contrast, crystals, white noise of 4 %. */
static inline float *speckle_with(struct mro_device *d, size_t n, double pixel, uint64_t stream,
                                  const struct planted *c, size_t crystals)
{
    const double side = (double)n * pixel, wide[2] = { -1, 1e3 };
    const struct mro_grid g = { n, n, side, side };
    struct mro_buffer spectrum = buffer_of(d, n * n * sizeof(mro_c32)), field = buffer_of(d, n * n * sizeof(float));
    struct mro_error e;
    float *v = malloc(n * n * sizeof *v);
    assert_non_null(v);
    double square = 0;
    for (size_t i = 0; i < n * n; i++) {
        const double q = hypot(frequency_of(i / n, n, side), frequency_of(i % n, n, side)), t = (q - 4.9) / 0.75;
        v[i] = (float)exp(-0.5 * t * t);
        square += v[i] * v[i] / (double)(n * n);
    }
    ok(d->ops->noise_spectrum(d, &g, 31, stream, wide, 0.1, &spectrum, &e), &e);
    ok(d->ops->multiply(d, &g, &spectrum, v, &e), &e);
    ok(d->ops->inverse(d, &g, &spectrum, &field, &e), &e);
    ok(d->ops->download(d, v, &field, n * n * sizeof *v, &e), &e);
    const double unit = 0.05 / sqrt(square);
    for (size_t i = 0; i < n * n; i++) {
        const double y = ((double)(i / n) + 0.5) * pixel, x = ((double)(i % n) + 0.5) * pixel;
        double value = 1 + unit * v[i];
        for (size_t k = 0; k < crystals; k++) {
            const double dx = x - c[k].x_nm, dy = y - c[k].y_nm, r = hypot(dx, dy);
            if (r > 0.5 * c[k].diameter_nm) continue;
            const double t = c[k].strain_deg * M_PI / 180, s = dx * cos(t) + dy * sin(t);
            const double strain = s < 0 ? c[k].minus : c[k].plus, u = strain * s / (1 + strain);
            const double turn = dx > 0 ? c[k].turned_deg * M_PI / 180 : 0;
            value = 1 + 0.4 * (value - 1);
            for (size_t j = 0; j < c[k].sets; j++) {
                const double a = c[k].azimuth_deg[j] * M_PI / 180 + turn;
                double phase = 2 * M_PI / c[k].d_nm[j] * ((dx - u * cos(t)) * cos(a) + (dy - u * sin(t)) * sin(a));
                if (j == 0 && isfinite(c[k].vortex_x))
                    phase += c[k].charge * atan2(y - c[k].vortex_y, x - c[k].vortex_x);
                value += c[k].amplitude * cos(phase + 0.7 * (double)j);
            }
        }
        v[i] = (float)(2000 * value + 80 * normal_of(stream + 1000, i));
    }
    d->ops->release(d, &spectrum);
    d->ops->release(d, &field);
    return v;
}

static inline struct mro_image counts_image(float *px, size_t n, double pixel)
{
    struct mro_image im = { .px = px, .ny = n, .nx = n };
    struct mro_error e;
    ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
    return im;
}

static inline struct mro_crystal_options usual(void)
{
    struct mro_crystal_options o;
    mro_crystal_options_default(&o);
    return o;
}

/* Measures such an image; the result is released by the caller. */
static inline struct mro_crystal_result measured(struct mro_device *d, size_t n, double pixel, uint64_t stream,
                                                 const struct planted *c, size_t crystals,
                                                 const struct mro_crystal_options *o)
{
    float *px = speckle_with(d, n, pixel, stream, c, crystals);
    const struct mro_image im = counts_image(px, n, pixel);
    struct mro_crystal_result r;
    struct mro_error e;
    ok(mro_crystal_measure(d, &im, "test", o, &r, &e), &e);
    free(px);
    return r;
}

#endif

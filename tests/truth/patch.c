/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fringe patches planted without noise are found where and as they are; scores of noise follow the analytic tail. */
#include "on_cpu.h"

#include "mroscope/math/band.h"
#include "mroscope/math/patch.h"

#define N 216
#define LENGTH 16.0
static const double band[2] = { 4.1, 5.8 };
static const struct mro_grid grid = { N, N, LENGTH, LENGTH };

struct planted {
    double y, x, diameter, g, azimuth, phase;
};

/* A sphere's fringes of snr 100 in unit noise, limited to the band; `in_band`: the share of its energy that the band
 * leaves. The field is periodic. */
static struct mro_buffer field_of(const struct planted *s, double *in_band)
{
    const double pitch = LENGTH / N, r = 0.5 * s->diameter, gy = s->g * sin(s->azimuth), gx = s->g * cos(s->azimuth);
    const double scale = 2 * 10 / sqrt(MRO_PI * pow(s->diameter, 4) / 8) * pitch;
    float *f = malloc(N * N * sizeof *f), *gain = malloc(N * N * sizeof *gain);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) {
            const double dy = remainder((double)y * pitch - s->y, LENGTH);
            const double dx = remainder((double)x * pitch - s->x, LENGTH);
            f[y * N + x] = (float)(scale * mro_chord((float)(dy * dy + dx * dx), (float)r) *
                                   cos(2 * MRO_PI * (gy * dy + gx * dx) + s->phase));
            gain[y * N + x] =
                mro_band_gain((float)hypot(frequency_of(y, N, LENGTH), frequency_of(x, N, LENGTH)), 4.1f, 5.8f, 0.15f);
        }
    struct mro_buffer field = buffer_of(d, N * N * sizeof *f), spectrum = buffer_of(d, N * N * sizeof(mro_c32));
    put(d, &field, f, N * N * sizeof *f);
    ok(d->ops->forward(d, &grid, &field, &spectrum, &e), &e);
    mro_c32 *t = get(d, &spectrum, N * N * sizeof *t);
    double all = 0, in = 0;
    for (size_t i = 0; i < N * N; i++) {
        const double p = (double)t[i].re * t[i].re + (double)t[i].im * t[i].im;
        all += p;
        in += p * gain[i];
    }
    *in_band = in / all;
    ok(d->ops->multiply(d, &grid, &spectrum, gain, &e), &e);
    ok(d->ops->inverse(d, &grid, &spectrum, &field, &e), &e);
    d->ops->release(d, &spectrum);
    free(f);
    free(gain);
    free(t);
    return field;
}

/* Share of a sphere's fringe energy inside the band, by a sum over spatial frequency. */
static double energy_share(double diameter, double g)
{
    double in = 0, all = 0;
    for (double y = -3; y <= 3; y += 0.05)
        for (double x = -3; x <= 3; x += 0.05) {
            const double t = pow(mro_sphere_form_factor(hypot(y, x), diameter), 2);
            const double b = mro_band_gain((float)hypot(g + x, y), 4.1f, 5.8f, 0.15f);
            in += t * b * b;
            all += t;
        }
    return in / all;
}

static struct mro_patch_search search = { .diameter_nm = { 1.0, 1.25, 1.5, 1.8, 2.15, 2.6, 3.1 },
                                          .d_range_inv_nm = { 4.64, 5.24 } };

static void fill_search(void)
{
    for (int k = 0; k < MRO_PATCH_SIZES; k++)
        for (int i = 0; i <= MRO_ENERGY_STEPS; i++)
            search.energy[k][i] = energy_share(search.diameter_nm[k], 4.64 + 0.6 * i / MRO_ENERGY_STEPS);
}

static void a_planted_sphere_is_recovered(void **state)
{
    static const struct {
        struct planted s;
        int size;
    } row[] = {
        { { 8, 8, 1.5, 4.93, 0.3, 1.1 }, 2 },      { { 5.03, 9.41, 1.8, 4.9, 1.2, 0.2 }, 3 },
        { { 0.1, 15.9, 2.15, 4.97, 2.4, 3 }, 4 }, /* across the corner of the periodic field */
        { { 11.37, 3.2, 2.6, 4.93, 1.57, 2 }, 5 }, { { 7.77, 7.77, 1.25, 4.93, 3.1, 4 }, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const struct planted *s = &row[i].s;
        double share;
        struct mro_buffer field = field_of(s, &share);
        const double gy = s->g * sin(s->azimuth), gx = s->g * cos(s->azimuth);
        /* Started as far off as a grid of cells of 0.4 nm and a bank of 0.25 nm^-1 put it. */
        struct mro_patch p = { .y_nm = s->y + 0.2, .x_nm = s->x - 0.17, .gy = gy - 0.1, .gx = gx + 0.1 };
        if (hypot(p.gy, p.gx) < 4.64 || hypot(p.gy, p.gx) > 5.24) p.gy = gy, p.gx = gx;
        ok(d->ops->refine_patches(d, &grid, &field, &search, &p, 1, &e), &e);
        near(remainder(p.y_nm - s->y, LENGTH), 0, 0.02);
        near(remainder(p.x_nm - s->x, LENGTH), 0, 0.02);
        near(p.gy, gy, 0.015); /* the last step of the climb */
        near(p.gx, gx, 0.015);
        assert_int_equal(p.best, row[i].size);
        /* Of snr 100 the share inside the band is left; samples of 0.074 nm round the sphere's edge by 1 %. */
        near(p.power[row[i].size] / (100 * share), 1, 0.03);
        for (int k = 0; k < MRO_PATCH_SIZES; k++) assert_true(p.power[k] <= p.power[row[i].size]);
        assert_true(p.second_power < 0.1 * p.power[p.best]); /* one set of fringes only */
        d->ops->release(d, &field);
    }
}

static void a_second_reflection_is_seen(void **state)
{
    const struct planted a = { 8, 8, 1.8, 4.93, 0.3, 1 }, b = { 8, 8, 1.8, 4.93, 0.3 + MRO_PI / 2, 2 };
    double share;
    (void)state;
    struct mro_buffer f = field_of(&a, &share), h = field_of(&b, &share);
    float *u = get(d, &f, N * N * sizeof *u), *v = get(d, &h, N * N * sizeof *v);
    for (size_t i = 0; i < N * N; i++) u[i] += 0.7f * v[i];
    put(d, &f, u, N * N * sizeof *u);
    struct mro_patch p = { .y_nm = 8.1, .x_nm = 7.9, .gy = 4.93 * sin(0.3), .gx = 4.93 * cos(0.3) };
    ok(d->ops->refine_patches(d, &grid, &f, &search, &p, 1, &e), &e);
    near(p.second_power / p.power[p.best], 0.49, 0.05);
    free(u);
    free(v);
    d->ops->release(d, &f);
    d->ops->release(d, &h);
}

/* P(T > t) for the largest windowed power over half a ring of wave vectors of area A: pi s^2 A (2 t - 1) exp(-t), the
 * expected number of peaks, plus s sqrt(2 pi t) exp(-t) for each unit of half the length of the ring's two edges: the
 * ring is only as wide as a window's spectrum, so edges count. (Worsley, Adv. Appl. Prob. 26 (1994) 13, chi-square of
 * two freedoms; opposite wave vectors are one, so that the half ring has no ends.) */
static void noise_follows_the_analytic_tail(void **state)
{
    static const double s[] = { 0.313, 0.425 };
    static const struct mro_grid tile = { 324, 324, 24, 24 }, cells = { 40, 40, 24, 24 };
    enum { TILES = 20 };
    const size_t n = 324 * 324, m = 40 * 40;
    const double lo = 4.64, hi = 5.24;
    (void)state;
    struct mro_buffer b = buffer_of(d, n * sizeof(mro_c32)), power = buffer_of(d, m * sizeof(float)),
                      which = buffer_of(d, m * sizeof(int32_t));
    for (int k = 0; k < 2; k++) {
        static double g[1600][2];
        size_t n_g = 0;
        for (double q = lo; q <= hi + 1e-9; q += (hi - lo) / 7)
            for (int i = 0; i < 200; i++) {
                g[n_g][0] = q * sin(MRO_PI * i / 200);
                g[n_g++][1] = q * cos(MRO_PI * i / 200);
            }
        const struct mro_bank bank = { .window_s_nm = s[k],
                                       .band_inv_nm = { 4.1, 5.8 },
                                       .edge_inv_nm = 0.15,
                                       .g = (const double(*)[2])g,
                                       .n_g = n_g };
        size_t over[3] = { 0 };
        const double t[3] = { 6, 7, 8 };
        double mean = 0;
        for (uint64_t i = 0; i < TILES; i++) {
            ok(d->ops->noise_spectrum(d, &tile, 17, i, band, 0.15, &b, &e), &e);
            ok(d->ops->bank_maximum(d, &tile, &b, &bank, &cells, &power, &which, &e), &e);
            float *p = get(d, &power, m * sizeof *p);
            for (size_t j = 0; j < m; j++) {
                mean += p[j] / (double)(TILES * m);
                for (int c = 0; c < 3; c++) over[c] += p[j] > t[c];
            }
            free(p);
        }
        for (int c = 1; c < 3; c++) {
            const double area = MRO_PI * (hi * hi - lo * lo) / 2, edges = MRO_PI * (lo + hi) / 2;
            const double want =
                (MRO_PI * s[k] * s[k] * area * (2 * t[c] - 1) + s[k] * sqrt(2 * MRO_PI * t[c]) * edges) * exp(-t[c]);
            const double seen = (double)over[c] / (double)(TILES * m);
            /* About 400 independent exceedances of t = 8, and 7 % lost between the wave vectors of the bank. */
            if (fabs(log(seen / want)) > log(1.2)) fail_msg("s %g, t %g: %g, not %g", s[k], t[c], seen, want);
        }
        assert_true(mean > 2 && mean < 6);
    }
    d->ops->release(d, &b);
    d->ops->release(d, &power);
    d->ops->release(d, &which);
}

static int open_and_fill(void **state)
{
    fill_search();
    return open_device(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_sphere_is_recovered),
        cmocka_unit_test(a_second_reflection_is_seen),
        cmocka_unit_test(noise_follows_the_analytic_tail),
    };
    return cmocka_run_group_tests(tests, open_and_fill, close_device);
}

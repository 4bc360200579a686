/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Windowed autocorrelation against fields whose autocorrelation is known, and the views of a whole measurement. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/backend.h"
#include "mroscope/math/philox.h"
#include "mroscope/mro.h"

#define D_NM 0.203
#define LAGS 81
#define LAG_NM 0.025

static const double band[2] = { 4.1, 5.8 };

static struct mro_device *open_device(int threads)
{
    struct mro_device *d = NULL;
    struct mro_error e = { 0 };
    assert_int_equal(mro_device_open(&d, "cpu", threads, 0, &e), MRO_OK);
    return d;
}

/* Band-limited speckle plus fringes of spacing d at azimuth a in a sphere of `diameter` (0: everywhere) at the middle,
 * `strength` times the speckle's rms. */
static void make_field(struct mro_device *d, const struct mro_grid *g, uint64_t seed, double speckle, double strength,
                       double azimuth, double diameter, struct mro_buffer *field)
{
    const size_t n = g->ny * g->nx;
    struct mro_buffer spectrum = { 0 };
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    assert_int_equal(d->ops->alloc(d, &spectrum, n * sizeof(mro_c32), NULL), MRO_OK);
    assert_int_equal(d->ops->alloc(d, field, n * sizeof(float), NULL), MRO_OK);
    assert_int_equal(d->ops->noise_spectrum(d, g, seed, 0, band, 0.15, &spectrum, NULL), MRO_OK);
    assert_int_equal(d->ops->inverse(d, g, &spectrum, field, NULL), MRO_OK);
    assert_int_equal(d->ops->download(d, v, field, n * sizeof(float), NULL), MRO_OK);
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)v[i] * (double)v[i] / (double)n;
    const double rms = sqrt(square), q = 1 / D_NM;
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            const double dy = (double)y * g->ly / (double)g->ny - g->ly / 2,
                         dx = (double)x * g->lx / (double)g->nx - g->lx / 2, r = 0.5 * diameter;
            const double chord = diameter > 0 ? sqrt(fmax(0, 1 - (dy * dy + dx * dx) / (r * r))) : 1;
            float *p = v + y * g->nx + x;
            *p = (float)(speckle * *p +
                         strength * rms * chord * cos(2 * MRO_PI * q * (dy * sin(azimuth) + dx * cos(azimuth)) + 0.7));
        }
    assert_int_equal(d->ops->upload(d, field, v, n * sizeof(float), NULL), MRO_OK);
    d->ops->release(d, &spectrum);
    free(v);
}

/* The value `lag_nm` to the right of lag 0. */
static float at_x(const float *tile, double lag_nm)
{
    return tile[LAGS / 2 * LAGS + LAGS / 2 + (size_t)lround(lag_nm / LAG_NM)];
}

/* Fringes without end correlate fully at every whole spacing, however small the window's overlap. */
static void endless_fringes_need_no_window(void **state)
{
    const struct mro_grid g = { 200, 220, 15, 16 }; /* not square, not in the middle of samples */
    const double centre[1][2] = { { 7.31, 8.02 } }, range[2] = { D_NM * 0.999, D_NM * 1.001 };
    struct mro_device *d = open_device(1);
    struct mro_buffer field = { 0 };
    float tile[LAGS * LAGS], score;
    (void)state;
    make_field(d, &g, 3, 0, 1, 0, 0, &field);
    assert_int_equal(d->ops->windowed_acf(d, &g, &field, 2.5, centre, 1, LAGS, LAG_NM, tile, NULL), MRO_OK);
    assert_float_equal(tile[LAGS / 2 * LAGS + LAGS / 2], 1, 1e-6);
    for (int k = 0; k <= 40; k++) assert_float_equal(at_x(tile, k * LAG_NM), cos(2 * MRO_PI * k * LAG_NM / D_NM), 0.03);
    for (size_t y = 0; y < LAGS; y++) /* along the fringes nothing changes; both halves are the same */
        for (size_t x = 0; x < LAGS; x++) {
            assert_float_equal(tile[y * LAGS + x], tile[LAGS / 2 * LAGS + x], 0.06);
            assert_float_equal(tile[y * LAGS + x], tile[(LAGS - 1 - y) * LAGS + LAGS - 1 - x], 1e-5);
        }
    assert_int_equal(d->ops->acf_fringes(d, &g, &field, 2.5, range, centre, 1, &score, NULL), MRO_OK);
    assert_float_equal(score, 1, 0.02);
    d->ops->release(d, &field);
    mro_device_close(d);
}

/* A cluster in speckle: the first maximum lies at the spacing, and its cell scores above all cells of pure speckle but
 * few; pairs and odd counts of cells give the same score. */
static void cluster_stands_out(void **state)
{
    enum { SIDE = 30, CELLS = SIDE * SIDE };
    const struct mro_grid g = { 216, 216, 16, 16 };
    const double range[2] = { D_NM * 0.95, D_NM * 1.05 }, azimuth = 0.4;
    double at[CELLS + 1][2];
    struct mro_device *d = open_device(2);
    struct mro_buffer noise = { 0 }, cluster = { 0 };
    float score[CELLS + 1], alone, tile[LAGS * LAGS];
    size_t above = 0;
    (void)state;
    for (size_t i = 0; i < CELLS; i++) {
        at[i][0] = 16.0 * (double)(i / SIDE) / SIDE;
        at[i][1] = 16.0 * (double)(i % SIDE) / SIDE;
    }
    at[CELLS][0] = at[CELLS][1] = 8;
    make_field(d, &g, 5, 1, 0, 0, 0, &noise);
    make_field(d, &g, 6, 1, 3, azimuth, 2.2, &cluster);
    assert_int_equal(d->ops->acf_fringes(d, &g, &noise, 2.5, range, (const double(*)[2])at, CELLS, score, NULL),
                     MRO_OK);
    assert_int_equal(d->ops->acf_fringes(d, &g, &cluster, 2.5, range, (const double(*)[2])at + CELLS, 1, &alone, NULL),
                     MRO_OK);
    for (size_t i = 0; i < CELLS; i++) above += score[i] >= alone;
    assert_true(above == 0);
    assert_int_equal(d->ops->acf_fringes(d, &g, &cluster, 2.5, range, (const double(*)[2])at, CELLS + 1, score, NULL),
                     MRO_OK);
    assert_float_equal(score[CELLS], alone, 1e-5);

    assert_int_equal(
        d->ops->windowed_acf(d, &g, &cluster, 2.5, (const double(*)[2])at + CELLS, 1, LAGS, LAG_NM, tile, NULL),
        MRO_OK);
    /* The first maximum along g. */
    double best = -1, where_y = 0, where_x = 0;
    for (int y = -LAGS / 2; y <= LAGS / 2; y++)
        for (int x = -LAGS / 2; x <= LAGS / 2; x++) {
            const double u = LAG_NM * (y * sin(azimuth) + x * cos(azimuth));
            const double v = LAG_NM * (x * sin(azimuth) - y * cos(azimuth));
            const float a = tile[(y + LAGS / 2) * LAGS + x + LAGS / 2];
            if (u < 0.5 * D_NM || u > 1.5 * D_NM || fabs(v) > 0.3 * D_NM || a < best) continue;
            best = a;
            where_y = LAG_NM * y;
            where_x = LAG_NM * x;
        }
    assert_true(best > 0.4);
    assert_float_equal(where_y * sin(azimuth) + where_x * cos(azimuth), D_NM, LAG_NM);
    d->ops->release(d, &noise);
    d->ops->release(d, &cluster);
    mro_device_close(d);
}

static void plant(struct mro_image *im, double pixel, double cy, double cx, double azimuth, double diameter,
                  double amplitude)
{
    for (size_t y = 0; y < im->ny; y++)
        for (size_t x = 0; x < im->nx; x++) {
            const double dy = (double)y * pixel - cy, dx = (double)x * pixel - cx, r = 0.5 * diameter;
            const double chord = sqrt(fmax(0, 1 - (dy * dy + dx * dx) / (r * r)));
            im->px[y * im->nx + x] +=
                (float)(amplitude * chord * cos(2 * MRO_PI / D_NM * (dy * sin(azimuth) + dx * cos(azimuth))));
        }
}

/* Noise of a glass: nothing but the nominal rate. The same with clusters: their cells, maps and curves. */
static void views_of_an_image(void **state)
{
    enum { N = 420 };
    const double pixel = 0.05;
    struct mro_device *d = open_device(2);
    struct mro_order_options o;
    struct mro_order_plan *p = NULL;
    struct mro_order_result r;
    struct mro_image im = { 0 };
    struct mro_error e = { 0 };
    (void)state;
    mro_order_options_default(&o);
    assert_true(o.views);
    o.acf_map = true;
    o.kv = 200;
    o.cs_mm = 0;
    assert_int_equal(mro_order_plan_new(&p, d, &o, &e), MRO_OK);
    assert_int_equal(mro_image_alloc(&im, N, N, &e), MRO_OK);
    assert_int_equal(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), MRO_OK);
    for (size_t i = 0; i < (size_t)N * N; i++) {
        const mro_philox_block b = mro_philox(77, 1, i);
        im.px[i] = 1000 + 30 * mro_normal_pair(b.v[0], b.v[1]).re;
    }
    assert_int_equal(mro_order_measure(p, &im, "noise", &r, &e), MRO_OK);
    assert_true(fabs(r.fraction_acf) < 0.012);
    assert_int_equal(r.filtered.ny, r.filtered.nx);
    assert_float_equal(r.filtered.axis[0].step * (double)r.filtered.ny, N * pixel, 1e-9);
    assert_int_equal(r.filtered.axis[1].unit, MRO_UNIT_NM);
    assert_int_equal(r.filtered.axis[1].source, MRO_SOURCE_COMMAND_LINE);
    /* White noise of 3 % contrast keeps the share of its power that the band has. */
    double square = 0;
    const size_t n = r.filtered.ny * r.filtered.nx;
    for (size_t i = 0; i < n; i++) square += (double)r.filtered.px[i] * (double)r.filtered.px[i] / (double)n;
    const double share = MRO_PI * (band[1] * band[1] - band[0] * band[0]) * pixel * pixel;
    assert_float_equal(sqrt(square), 0.03 * sqrt(share), 0.03 * 0.03 * sqrt(share));
    assert_true(r.whitened.ny == r.filtered.ny && r.whitened.axis[0].step == r.filtered.axis[0].step);
    assert_true(r.n_tiles == 6 && r.n_cdf > 40);
    assert_float_equal(r.cdf_p[0], 1, 0);
    assert_float_equal(r.cdf_observed[0], 1, 0);
    assert_float_equal(r.cdf_null[0], 1, 0);
    for (size_t i = 1; i < r.n_cdf; i++) {
        assert_true(r.cdf_p[i] < r.cdf_p[i - 1] && r.cdf_null[i] <= r.cdf_null[i - 1]);
        assert_true(r.cdf_score[i] >= r.cdf_score[i - 1]);
        assert_true(r.cdf_observed[i] <= r.cdf_observed[i - 1]);
        if (r.cdf_p[i] > 3e-3) assert_true(fabs(log(r.cdf_null[i] / r.cdf_p[i])) < 0.25);
        if (r.cdf_p[i] > 3e-2) assert_true(fabs(log(r.cdf_observed[i] / r.cdf_p[i])) < 0.35);
    }
    const double nothing = r.fraction_acf;
    mro_order_result_release(&r);

    const double at[4][3] = { { 5, 5, 0.2 }, { 5, 15, 1.1 }, { 15, 6, 2.3 }, { 14, 15, 2.9 } };
    for (int k = 0; k < 4; k++) plant(&im, pixel, at[k][0], at[k][1], at[k][2], 2.4, 60);
    assert_int_equal(mro_order_measure(p, &im, "clusters", &r, &e), MRO_OK);
    assert_true(r.fraction_acf > nothing + 0.02);
    assert_true(r.acf.nx == r.score.nx && r.acf.ny == r.score.ny);
    for (int k = 0; k < 4; k++) {
        const size_t y = (size_t)lround((at[k][0] - r.acf.y0_nm) / r.acf.step_y_nm),
                     x = (size_t)lround((at[k][1] - r.acf.x0_nm) / r.acf.step_x_nm);
        assert_true(r.acf.v[y * r.acf.nx + x] > 1);
        assert_true(r.score.v[y * r.acf.nx + x] > 1);
        assert_float_equal(r.spacing.v[y * r.acf.nx + x], D_NM, 0.03 * D_NM);
        bool shown = false;
        for (size_t t = 0; t < r.n_tiles; t++)
            if (hypot(r.tiles[t].y_nm - at[k][0], r.tiles[t].x_nm - at[k][1]) < 0.4) shown = true;
        assert_true(shown);
    }
    assert_float_equal(r.tiles[0].v[r.tiles[0].n / 2 * r.tiles[0].n + r.tiles[0].n / 2], 1, 1e-6);
    double flagged = 0;
    for (size_t i = 0; i < r.n_cdf; i++)
        if (fabs(r.cdf_p[i] - o.false_positive_rate) < 1e-9) {
            flagged = r.cdf_observed[i];
            assert_float_equal(r.cdf_score[i], 1, 1e-6);
        }
    assert_float_equal(flagged, r.fraction_raw, 1e-12);
    mro_order_result_release(&r);
    mro_image_release(&im);
    mro_order_plan_free(p);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endless_fringes_need_no_window),
        cmocka_unit_test(cluster_stands_out),
        cmocka_unit_test(views_of_an_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

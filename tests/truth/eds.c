/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Composition along lines: answers known on paper, and planted truth. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eds_draw.h"

static struct mro_error e;
static struct mro_device *device;

static void assert_close(double got, double want, double slack)
{
    if (!(fabs(got - want) <= slack)) print_error("got %.9g, want %.9g +- %.3g\n", got, want, slack);
    assert_true(fabs(got - want) <= slack);
}

static struct mro_eds_options options(const char *k)
{
    struct mro_eds_options o;
    mro_eds_options_default(&o);
    o.draws = 199;
    if (k) assert_int_equal(mro_eds_k_parse(&o.k, k, &e), MRO_OK);
    return o;
}

static bool warned(const struct mro_eds_result *r, const char *words)
{
    for (size_t i = 0; i < r->n_warnings; i++)
        if (strstr(r->warnings[i], words)) return true;
    return false;
}

static void k_factors_are_read_and_refused(void **state)
{
    (void)state;
    struct mro_eds_k k;
    static const char *const bad[] = { "",      "Fe",        "Fe=",  "Fe=x",      "Xx=1",
                                       "Fe=1,", "Fe=1,Fe=2", "Fe=0", "Fe=1;Si=2", "Fe=-1" };
    assert_int_equal(mro_eds_k_parse(&k, "Fe=1,Si=0.9", &e), MRO_OK);
    assert_int_equal(k.n, 2);
    assert_string_equal(k.symbol[1], "Si");
    assert_close(k.k[1], 0.9, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(mro_eds_k_parse(&k, bad[i], &e), MRO_EARG);
    assert_close(mro_atomic_weight("Fe"), 55.845, 1e-4);
    assert_close(mro_atomic_weight("fe"), 0, 0);
    assert_close(mro_atomic_weight(NULL), 0, 0);
}

/* 100 counts of Fe and of Si with equal weight factors: moles as 1/55.845 to 1/28.085. */
static void composition_follows_cliff_and_lorimer(void **state)
{
    (void)state;
    struct mro_eds_profile p;
    struct mro_eds_result r;
    const struct mro_eds_options o = options("Fe=1,Si=1"), twice = options("Fe=2,Si=1");
    draw_profile(&p, (const char *[]){ "Fe", "Si" }, 2, 64, 0.5);
    for (size_t i = 0; i < p.n; i++) p.column[0].counts[i] = p.column[1].counts[i] = i % 2 ? 90 : 110;
    assert_int_equal(mro_eds_measure(&p, NULL, 0, "x", &o, &r, &e), MRO_OK);
    assert_close(r.element[0].mean_at, 100 * 28.085 / (28.085 + 55.845), 1e-4);
    assert_close(r.step_nm, 0.5, 1e-12);
    assert_int_equal(r.points, 64);
    mro_eds_result_release(&r);
    assert_int_equal(mro_eds_measure(&p, NULL, 0, "x", &twice, &r, &e), MRO_OK);
    assert_close(r.element[0].mean_at, 100 * 2 * 28.085 / (2 * 28.085 + 55.845), 1e-4);
    assert_close(r.element[0].k, 2, 0);
    mro_eds_result_release(&r);
    assert_int_equal(mro_eds_measure(&p, NULL, 0, "x",
                                     &(struct mro_eds_options){ .k = { 1, { "Cu" }, { 1 } }, .draws = 99 }, &r, &e),
                     MRO_EARG);
    assert_non_null(strstr(e.message, "Cu"));
    mro_eds_profile_release(&p);
}

/* k as the atomic weights makes at.% plain shares of counts: binomial noise, 100 sqrt(p (1 - p) / T). */
static void counting_noise_is_binomial(void **state)
{
    (void)state;
    struct mro_eds_profile p;
    struct mro_eds_result r;
    const struct mro_eds_options o = options("Fe=55.845,Si=28.085,P=30.974");
    draw_profile(&p, (const char *[]){ "Fe", "Si", "P" }, 3, 300, 0.2);
    draw_counts(&p, (const double[]){ 160, 30, 10 }, NULL, 0, 0, 7);
    assert_int_equal(mro_eds_measure(&p, NULL, 0, "x", &o, &r, &e), MRO_OK);
    for (size_t j = 0; j < 3; j++) {
        const double share = r.element[j].mean_at / 100;
        assert_close(r.element[j].sd_counting_at, 100 * sqrt(share * (1 - share) / 200), 0.03);
        assert_true(r.element[j].p_heterogeneous > 0.005);
        assert_true(r.element[j].sd_true_ci95[0] == 0);
        /* No interval can be narrower than the counts allow. */
        assert_true(r.element[j].sd_true_ci95[1] > 0.1 * r.element[j].sd_counting_at);
    }
    /* Of a multinomial draw: rho = -sqrt(p q / ((1 - p) (1 - q))). */
    const double a = r.element[0].mean_at / 100, b = r.element[1].mean_at / 100;
    assert_int_equal(r.n_pairs, 3);
    assert_close(r.pair[0].r_counting, -sqrt(a * b / ((1 - a) * (1 - b))), 1e-6);
    assert_close(r.pair[0].r, r.pair[0].r_counting, 0.12);
    assert_true(r.pair[0].p > 0.005);
    assert_false(r.smoothed);
    assert_close(r.roughness, 1, 0.2);
    mro_eds_result_release(&r);
    mro_eds_profile_release(&p);
}

static void planted_waves_are_found(void **state)
{
    (void)state;
    struct mro_eds_profile p;
    struct mro_eds_result r;
    const struct mro_eds_options o = options("Fe=55.845,Si=28.085,P=30.974");
    for (int i = 0; i < 3; i++) {
        const double wave = 4 + 1.5 * i, sd = 2;
        draw_profile(&p, (const char *[]){ "Fe", "Si", "P" }, 3, 240, 0.3);
        /* A sine of amplitude sqrt(2) sd in Si, taken from Fe. */
        draw_counts(&p, (const double[]){ 400, 80, 20 }, (const double[]){ -sd, sd, 0 }, wave, 0, 20 + (uint64_t)i);
        assert_int_equal(mro_eds_measure(&p, NULL, 0, "x", &o, &r, &e), MRO_OK);
        assert_close(r.element[1].sd_true_at, sd, 0.4);
        assert_true(r.element[1].sd_true_ci95[0] < sd && sd < r.element[1].sd_true_ci95[1]);
        assert_true(r.element[1].p_heterogeneous < 1e-6);
        assert_close(r.element[1].wavelength_nm, wave, 0.05 * wave);
        assert_true(r.element[1].p_periodic < 0.02);
        mro_eds_result_release(&r);
        mro_eds_profile_release(&p);
    }
}

/* White noise and red noise are rarely called a wave. */
static void noise_has_no_wave(void **state)
{
    (void)state;
    struct mro_eds_options o = options("Fe=55.845,Si=28.085");
    int called[2] = { 0 };
    o.draws = 99;
    for (int red = 0; red < 2; red++) {
        for (uint64_t i = 0; i < 60; i++) {
            struct mro_eds_profile p;
            struct mro_eds_result r;
            draw_profile(&p, (const char *[]){ "Fe", "Si" }, 2, 128, 0.3);
            draw_counts(&p, (const double[]){ 300, 100 }, red ? (const double[]){ -4, 4 } : NULL, 0, 0.85, 100 + i);
            assert_int_equal(mro_eds_measure(&p, NULL, 0, "x", &o, &r, &e), MRO_OK);
            called[red] += r.element[0].p_periodic < 0.05;
            mro_eds_result_release(&r);
            mro_eds_profile_release(&p);
        }
    }
    print_message("called periodic: %d of 60 white, %d of 60 red\n", called[0], called[1]);
    assert_true(called[0] <= 8 && called[1] <= 8);
}

static void smoothed_counts_are_refused(void **state)
{
    (void)state;
    struct mro_eds_profile p;
    struct mro_eds_result r;
    const struct mro_eds_options o = options("Fe=1,Si=1,P=1");
    draw_profile(&p, (const char *[]){ "Fe", "Si", "P" }, 3, 150, 0.3);
    draw_counts(&p, (const double[]){ 400, 40, 10 }, NULL, 0, 0, 3);
    for (size_t j = 0; j < 3; j++) /* half way between neighbours */
        for (size_t i = 0; i + 1 < p.n; i++)
            p.column[j].counts[i] = 0.7 * p.column[j].counts[i] + 0.3 * p.column[j].counts[i + 1];
    assert_int_equal(mro_eds_measure(&p, NULL, 0, "x", &o, &r, &e), MRO_OK);
    assert_true(r.smoothed);
    for (size_t j = 0; j < 3; j++) assert_true(isnan(r.element[j].sd_true_at) && isnan(r.element[j].sd_true_ci95[1]));
    assert_true(warned(&r, "interpolated"));
    mro_eds_result_release(&r);
    mro_eds_profile_release(&p);
}

/* at.% alone: no true part, until the line is measured twice. */
static void shares_need_repeats(void **state)
{
    (void)state;
    enum { REPEATS = 4 };
    struct mro_eds_profile p[REPEATS];
    struct mro_eds_result r;
    const struct mro_eds_options o = options(NULL);
    for (uint64_t k = 0; k < REPEATS; k++) {
        draw_profile(&p[k], (const char *[]){ "Fe", "Si", "P" }, 3, 200, 0.3);
        draw_counts(&p[k], (const double[]){ 160, 30, 10 }, (const double[]){ -2, 2, 0 }, 7, 0, 50 + k);
        counts_to_shares(&p[k]);
    }
    assert_int_equal(mro_eds_measure(p, NULL, 0, "x", &o, &r, &e), MRO_OK);
    assert_true(isnan(r.element[0].sd_true_at) && isnan(r.element[0].sd_counting_at) && r.element[0].sd_at > 2);
    assert_true(warned(&r, "upper bound") && warned(&r, "export"));
    mro_eds_result_release(&r);
    assert_int_equal(mro_eds_measure(p, p + 1, REPEATS - 1, "x", &o, &r, &e), MRO_OK);
    assert_close(r.element[1].sd_true_at, 2, 0.3);
    assert_true(r.element[1].sd_true_ci95[0] < 2 && 2 < r.element[1].sd_true_ci95[1]);
    assert_close(r.element[1].sd_counting_at, 100 * sqrt(0.15 * 0.85 / (200 * REPEATS)), 0.1);
    assert_true(r.element[2].sd_true_at < 0.35);
    assert_int_equal(r.replicates, REPEATS);
    mro_eds_result_release(&r);
    p[1].n--;
    assert_int_equal(mro_eds_measure(p, p + 1, 1, "x", &o, &r, &e), MRO_EDATA);
    p[1].n++;
    assert_int_equal(mro_eds_measure(p, p, 1, "x", &o, &r, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "copies"));
    for (size_t k = 0; k < REPEATS; k++) mro_eds_profile_release(&p[k]);
}

/* ---- lines over maps ---- */

static void lines_keep_every_count(void **state)
{
    (void)state;
    enum { NY = 60, NX = 80 };
    static float v[NY * NX], w[NY * NX];
    double total = 0;
    for (size_t i = 0; i < NY * NX; i++) total += v[i] = (float)(i * 2654435761u % 17), w[i] = 100;
    struct mro_eds_field m = {
        .ny = NY, .nx = NX, .elements = 2, .pixel_nm = { 0.5, 0.5 }, .symbol = { "Fe", "Si" }, .counts = { v, w }
    };
    struct mro_eds_profile p, q;
    /* As wide as the field: every pixel is in one bin. */
    struct mro_eds_line along = { 0, 15, 40, 15, 30 };
    assert_int_equal(mro_eds_line_profile(device, &m, &along, "m", &p, &e), MRO_OK);
    assert_int_equal(p.n, NX);
    double sum = 0;
    for (size_t i = 0; i < p.n; i++) {
        double column = 0;
        for (size_t y = 0; y < NY; y++) column += (double)v[y * NX + i];
        assert_close(p.column[0].counts[i], column, 0);
        assert_close(p.column[1].counts[i], 100 * NY, 0);
        assert_close(p.x_nm[i], 0.5 * ((double)i + 0.5), 1e-9);
        sum += column;
    }
    assert_close(sum, total, 0);
    mro_eds_profile_release(&p);
    /* Two bands side by side hold what one of twice their width holds. */
    struct mro_eds_line left = { 5, 10, 33, 22, 2 }, right = left, both = left;
    const double length = hypot(28, 12), ux = -12 / length, uy = 28 / length;
    right.x0 += 2 * ux, right.x1 += 2 * ux, right.y0 += 2 * uy, right.y1 += 2 * uy;
    both.x0 += ux, both.x1 += ux, both.y0 += uy, both.y1 += uy, both.width_nm = 4;
    double part[3] = { 0 };
    const struct mro_eds_line *lines[] = { &left, &right, &both };
    for (int k = 0; k < 3; k++) {
        assert_int_equal(mro_eds_line_profile(device, &m, lines[k], "m", &q, &e), MRO_OK);
        for (size_t i = 0; i < q.n; i++) part[k] += q.column[0].counts[i];
        mro_eds_profile_release(&q);
    }
    assert_close(part[0] + part[1], part[2], 0);

    /* The diagonal of a square, and the line across it. */
    m.nx = NY;
    struct mro_eds_line diagonal = mro_eds_diagonal(&m), across = mro_eds_across(&m, &diagonal);
    assert_close(diagonal.width_nm, 2.5, 1e-12);
    assert_close(across.x0, 30, 1e-9);
    assert_close(across.y0, 0, 1e-9);
    assert_close(across.y1, 30, 1e-9);
    assert_int_equal(mro_eds_line_profile(device, &m, &diagonal, "m", &p, &e), MRO_OK);
    assert_true(p.n >= NY - 4 && p.n <= NY);
    assert_close(p.x_nm[1] - p.x_nm[0], 0.5 * sqrt(2), 1e-9);
    mro_eds_profile_release(&p);

    static const struct mro_eds_line bad[] = {
        { -1, 0, 10, 10, 1 }, { 0, 0, 100, 10, 1 }, { 5, 5, 5, 5, 1 }, { 0, 0, 20, 20, 0.01 }, { NAN, 0, 10, 10, 1 }
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mro_eds_line_profile(device, &m, &bad[i], "m", &p, &e), MRO_EARG);
    v[30 * NY + 30] = -1;
    assert_int_equal(mro_eds_line_profile(device, &m, &diagonal, "m", &p, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "x 30, y 30"));
    v[30 * NY + 30] = NAN;
    assert_int_equal(mro_eds_line_profile(device, &m, &diagonal, "m", &p, &e), MRO_OK);
    mro_eds_profile_release(&p);
}

/* ---- bright against dark ---- */

enum { N = 96 };

/* A smooth field of unit variance: blurred noise, sigma in pixels. */
static void smooth_field(float *out, double sigma, uint64_t seed)
{
    static float raw[N * N];
    const int reach = (int)ceil(3 * sigma);
    double sum = 0, sum2 = 0;
    draw_normals(raw, N * N, seed);
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++) {
            double v = 0;
            for (int j = -reach; j <= reach; j++)
                for (int i = -reach; i <= reach; i++)
                    v += exp(-0.5 * (i * i + j * j) / (sigma * sigma)) *
                         (double)raw[(y + j + N) % N * N + (x + i + N) % N];
            out[y * N + x] = (float)v;
            sum += v, sum2 += v * v;
        }
    const double mean = sum / (N * N), sd = sqrt(sum2 / (N * N) - mean * mean);
    for (int i = 0; i < N * N; i++) out[i] = (float)(((double)out[i] - mean) / sd);
}

static float fe[N * N], si[N * N], field[N * N], other[N * N], mask[N * N];

static void counts_of(const float *f, double effect, uint64_t seed)
{
    for (size_t i = 0; i < N * N; i++) {
        fe[i] = (float)draw_poisson(60, seed, 2 * i);
        si[i] = (float)draw_poisson(10 * (1 + effect * (double)f[i]), seed, 2 * i + 1);
    }
}

static struct mro_image image_of(float *v, double pixel)
{
    struct mro_image im = { .nx = N, .ny = N, .px = v };
    for (int i = 0; i < 2; i++) {
        mro_axis_set(&im.axis[i], pixel, 0, "nm", MRO_SOURCE_COMMAND_LINE);
        im.axis[i].size = N;
    }
    return im;
}

static void bright_and_dark_differ_only_when_they_do(void **state)
{
    (void)state;
    struct mro_eds_options o = options("Fe=55.845,Si=28.085");
    struct mro_eds_field m = {
        .ny = N, .nx = N, .elements = 2, .pixel_nm = { 0.3, 0.3 }, .symbol = { "Fe", "Si" }, .counts = { fe, si }
    };
    struct mro_eds_groups g;
    static float bright[N * N];
    struct mro_image im = image_of(bright, 0.3), ordered = image_of(mask, 0.3);
    int called = 0, called_mro = 0;
    for (uint64_t k = 0; k < 40; k++) {
        smooth_field(field, 3, 10 * k + 1);
        smooth_field(other, 3, 10 * k + 2);
        counts_of(other, 0.2, 10 * k + 3); /* Si of another pattern, as smooth as the image */
        for (size_t i = 0; i < N * N; i++) bright[i] = 1000 * (1 + 0.05f * field[i]), mask[i] = other[i] > 1;
        if (mro_eds_bright_dark(&m, &im, "h", &ordered, "mask", &o, &g, &e)) print_message("%s\n", e.message), fail();
        called += g.p < 0.05;
        called_mro += g.mro_p < 0.05;
        mro_eds_groups_release(&g);
    }
    print_message("called different: %d of 40, MRO %d of 40\n", called, called_mro);
    assert_true(called <= 6 && called_mro <= 6);

    counts_of(field, 0.2, 5);
    for (size_t i = 0; i < N * N; i++) mask[i] = field[i] > 1;
    if (mro_eds_bright_dark(&m, &im, "h", &ordered, "mask", &o, &g, &e)) print_message("%s\n", e.message), fail();
    assert_true(g.p <= 0.01 && g.mro_p <= 0.01);
    assert_true(g.registered);
    assert_close(g.shift_nm[0], 0, 0);
    assert_true(g.bright.mean_at[1] > g.dark.mean_at[1] + 3);
    assert_true(g.mro_bright > 0.8 && g.mro_dark < 0.05);
    assert_close(g.bright.area_fraction, 0.16, 0.05);
    assert_close(g.bright.mean_at[0] + g.bright.mean_at[1], 100, 1e-6);
    mro_eds_groups_release(&g);
}

static void fields_are_registered_or_refused(void **state)
{
    (void)state;
    struct mro_eds_options o = options("Fe=55.845,Si=28.085");
    struct mro_eds_field m = {
        .ny = N, .nx = N, .elements = 2, .pixel_nm = { 0.3, 0.3 }, .symbol = { "Fe", "Si" }, .counts = { fe, si }
    };
    struct mro_eds_groups g;
    static float moved[N * N], fine[4 * N * N];
    smooth_field(field, 3, 1);
    counts_of(field, 0.25, 2);
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++) moved[y * N + x] = 100 + 5 * field[(y + 5) % N * N + (x + N - 7) % N];
    struct mro_image im = image_of(moved, 0.3);
    assert_int_equal(mro_eds_bright_dark(&m, &im, "h", NULL, NULL, &o, &g, &e), MRO_OK);
    assert_true(g.registered);
    assert_close(g.shift_nm[0], 5 * 0.3, 0.31);
    assert_close(g.shift_nm[1], -7 * 0.3, 0.31);
    assert_true(g.p <= 0.01);
    mro_eds_groups_release(&g);
    /* The same field in finer pixels. */
    for (size_t y = 0; y < 2 * N; y++)
        for (size_t x = 0; x < 2 * N; x++) fine[y * 2 * N + x] = 100 + 5 * field[y / 2 * N + x / 2];
    struct mro_image large = image_of(fine, 0.15);
    large.nx = large.ny = 2 * N;
    assert_int_equal(mro_eds_bright_dark(&m, &large, "h", NULL, NULL, &o, &g, &e), MRO_OK);
    assert_true(g.p <= 0.01 && g.shift_nm[0] == 0);
    mro_eds_groups_release(&g);
    /* Twice the field. */
    large = image_of(fine, 0.3);
    large.nx = large.ny = 2 * N;
    assert_int_equal(mro_eds_bright_dark(&m, &large, "h", NULL, NULL, &o, &g, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "not of the same field"));
    /* Another shape, without a pixel size. */
    struct mro_image strip = { .nx = 2 * N, .ny = N, .px = fine };
    assert_int_equal(mro_eds_bright_dark(&m, &strip, "h", NULL, NULL, &o, &g, &e), MRO_EARG);
    for (size_t i = 0; i < N * N; i++) moved[i] = 100;
    assert_int_equal(mro_eds_bright_dark(&m, &im, "h", NULL, NULL, &o, &g, &e), MRO_EDATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(k_factors_are_read_and_refused),
        cmocka_unit_test(composition_follows_cliff_and_lorimer),
        cmocka_unit_test(counting_noise_is_binomial),
        cmocka_unit_test(planted_waves_are_found),
        cmocka_unit_test(noise_has_no_wave),
        cmocka_unit_test(smoothed_counts_are_refused),
        cmocka_unit_test(shares_need_repeats),
        cmocka_unit_test(lines_keep_every_count),
        cmocka_unit_test(bright_and_dark_differ_only_when_they_do),
        cmocka_unit_test(fields_are_registered_or_refused),
    };
    if (mro_device_open(&device, "cpu", 2, (size_t)1 << 30, &e)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mro_device_close(device);
    return failed;
}

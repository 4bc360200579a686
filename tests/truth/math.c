/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The formulas that every backend shares, against published and hand-calculated values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gsl/gsl_sf_bessel.h>

#include "core/cholesky.h"
#include "core/philox_words.h"
#include "core/select.h"
#include "mroscope/math/band.h"
#include "mroscope/math/ctf.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/patch.h"
#include "mroscope/math/philox.h"

static void near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.9g is not %.9g within %.2g", a, b, tolerance);
}

/* h / sqrt(2 m e U (1 + e U / 2 m c^2)) from CODATA constants, another route than the code's. */
static void wavelength_of_the_electron(void **state)
{
    (void)state;
    const double h = 6.62607015e-34, m = 9.1093837015e-31, q = 1.602176634e-19, c = 299792458.0;
    for (double kv = 60; kv <= 1000; kv += 20) {
        const double e = q * kv * 1e3, lambda = h * 1e9 / sqrt(2 * m * e * (1 + e / (2 * m * c * c)));
        near(mro_wavelength_nm(kv) / lambda, 1, 1e-6); /* the code's constants have eight digits */
    }
    near(mro_wavelength_nm(200), 2.508e-3, 5e-7); /* as tables print it */
    near(mro_wavelength_nm(300), 1.969e-3, 5e-7);
}

/* sin chi and R at alpha-Fe (110), g = 4.93 nm^-1, 200 kV, at Scherzer and at aberration-free focus. The foci are
 * rounded to 1 nm, which turns the phase by 0.19 rad and moves R by 0.012 nm. */
static void transfer_of_known_lenses(void **state)
{
    static const struct {
        double cs_mm, defocus, sin_chi, r;
    } row[] = { { 1.2, 66, -0.96, 1.46 },  { 1.2, 184, 0.94, 0 },    { 1.0, 60, -0.01, 1.15 },
                { 1.0, 153, -0.86, 0.00 }, { 0.5, 42, -0.72, 0.42 }, { 0.5, 77, -0.87, 0 } };
    (void)state;
    const double lambda = mro_wavelength_nm(200), g = 4.93;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const double cs = row[i].cs_mm * 1e6;
        near(sin(mro_ctf_chi(g, 0, lambda, row[i].defocus, cs, 0, 0)), row[i].sin_chi, 0.1);
        near(mro_delocalisation_nm(g, lambda, row[i].defocus, cs), row[i].r, 0.015);
    }
    /* R is the slope of chi over 2 pi, for any lens. */
    for (double q = 3; q < 7; q += 0.5) {
        const double up = mro_ctf_chi(q + 1e-4, 0, lambda, 70, 1e6, 0, 0),
                     down = mro_ctf_chi(q - 1e-4, 0, lambda, 70, 1e6, 0, 0);
        near(mro_delocalisation_nm(q, lambda, 70, 1e6), fabs((up - down) / 2e-4) / (2 * MRO_PI), 1e-6);
    }
    /* Astigmatism adds its whole defocus along its azimuth and takes it off across. */
    near(mro_ctf_chi(g, 0.3, lambda, 70, 1e6, 10, 0.3), mro_ctf_chi(g, 0, lambda, 80, 1e6, 0, 0), 1e-9);
    near(mro_ctf_chi(g, 0.3 + MRO_PI / 2, lambda, 70, 1e6, 10, 0.3), mro_ctf_chi(g, 0, lambda, 60, 1e6, 0, 0), 1e-9);
}

/* Known answers of Random123 (kat_vectors, philox 4x32 10). The counter's words are (counter low, counter high, stream
 * low, stream high), the key's (seed low, seed high). */
static void philox_known_answers(void **state)
{
    static const struct {
        uint64_t seed, stream, counter;
        uint32_t out[4];
    } row[] = {
        { 0, 0, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { UINT64_MAX, UINT64_MAX, UINT64_MAX, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { 0x299f31d0a4093822,
          0x0370734413198a2e,
          0x85a308d3243f6a88,
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const mro_philox_block b = mro_philox(row[i].seed, row[i].stream, row[i].counter);
        mro_philox_words counters[4], streams[4];
        mro_philox_lanes(row[i].seed, row[i].stream, row[i].counter, counters);
        mro_philox_streams(row[i].seed, row[i].stream, row[i].counter, streams);
        for (int k = 0; k < 4; k++) {
            assert_int_equal(b.v[k], row[i].out[k]);
            assert_int_equal((uint32_t)counters[k][0], row[i].out[k]);
            assert_int_equal((uint32_t)streams[k][0], row[i].out[k]);
        }
    }
}

/* Draws side by side are those one by one, with halves of seed, stream and counter that are all in use. */
static void random_numbers_side_by_side(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 300; i++) {
        const uint64_t seed = i * 0x9e3779b97f4a7c15, stream = (i << 33) + 17 * i, counter = (i * i << 32) + 1000 * i;
        mro_philox_words counters[4], streams[4];
        mro_philox_lanes(seed, stream, counter, counters);
        mro_philox_streams(seed, stream, counter, streams);
        for (uint64_t lane = 0; lane < MRO_PHILOX_LANES; lane++) {
            const mro_philox_block next = mro_philox(seed, stream, counter + lane),
                                   beside = mro_philox(seed, stream + lane, counter);
            for (int k = 0; k < 4; k++) {
                assert_int_equal((uint32_t)counters[k][lane], next.v[k]);
                assert_int_equal((uint32_t)streams[k][lane], beside.v[k]);
            }
        }
    }
}

/* Moments of a million draws; the tolerances are five standard errors. */
static void random_numbers_have_their_moments(void **state)
{
    enum { N = 500000 };
    double u1 = 0, z1 = 0, z2 = 0, z4 = 0, zz = 0;
    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        const mro_philox_block b = mro_philox(7, 3, i);
        const double u = mro_uniform_open(b.v[2]);
        assert_true(u > 0 && u < 1);
        u1 += u;
        const mro_c32 z = mro_normal_pair(b.v[0], b.v[1]);
        z1 += (double)z.re + z.im;
        z2 += (double)z.re * z.re + (double)z.im * z.im;
        z4 += pow(z.re, 4) + pow(z.im, 4);
        zz += (double)z.re * z.im;
    }
    near(u1 / N, 0.5, 5 * sqrt(1 / 12.0 / N));
    near(z1 / (2 * N), 0, 5 / sqrt(2.0 * N));
    near(z2 / (2 * N), 1, 5 * sqrt(2 / (2.0 * N)));
    near(z4 / (2 * N), 3, 5 * sqrt(96 / (2.0 * N)));
    near(zz / N, 0, 5 / sqrt(N));
    assert_true(mro_uniform_open(0) > 0 && mro_uniform_open(UINT32_MAX) < 1);
}

static void functions_of_our_own_are_those_of_the_library(void **state)
{
    (void)state;
    for (int i = -20000; i <= 20000; i++) {
        const double t = i / 7919.0, x = exp(i / 240.0);
        const float r = (float)mro_turn_of(t), a = (float)(i / 250.0);
        near(remainder(t - r, 1), 0, 3e-8);
        near(mro_sin_turn(r), sin(2 * MRO_PI * r), 3e-7);
        near(mro_cos_turn(r), cos(2 * MRO_PI * r), 3e-7);
        near(mro_cos_turns64(t), cos(2 * MRO_PI * t), 1e-14);
        near(mro_ln((float)x), log((float)x), 3e-7 * fmax(fabs(log(x)), 1e-3));
        near(mro_ln64(x), log(x), 1e-15 * fmax(fabs(log(x)), 1));
        near(mro_reciprocal((float)x) * (double)(float)x, 1, 1.2e-7);
        near(mro_exp(a) / exp(a), 1, 3e-7 + 6e-8 * fabs(a));
        near(mro_exp64((double)a) / exp((double)a), 1, 1e-15);
        near(mro_exp64(8 * (double)a) / exp(8 * (double)a), 1, 1e-15);
        near(mro_erf64((double)a), erf((double)a), 1e-15);
        near(mro_erf64((double)a / 20), erf((double)a / 20), 1e-15);
        near(mro_atan2_64(sin(t), cos(t)), atan2(sin(t), cos(t)), 1e-15);
        near(mro_atan2_64(x * sin(t), x * cos(t)), atan2(sin(t), cos(t)), 1e-15);
        near(mro_bessel_i0_scaled((float)x) / gsl_sf_bessel_I0_scaled((float)x), 1, 1e-6);
    }
    near(mro_atan2_64(0, -1), MRO_PI, 0);
    near(mro_atan2_64(-1, 0), -MRO_PI / 2, 0);
    near(mro_atan2_64(0, 0), 0, 0);
    near(mro_bessel_i0_scaled(0), 1, 0);
    near(mro_erf64(-1e200), -1, 0);
    near(mro_sin_quarter(0.25f), 1, 0);
    near(mro_ln(1), 0, 0);
    near(mro_exp(0), 1, 0);
}

static void band_is_half_at_its_limits(void **state)
{
    (void)state;
    /* Float arithmetic: a few units in the last place. */
    near(mro_band_gain(4.1f, 4.1f, 5.8f, 0.3f), 0.5, 2e-6);
    near(mro_band_gain(5.8f, 4.1f, 5.8f, 0.3f), 0.5, 2e-6);
    near(mro_band_gain(4.26f, 4.1f, 5.8f, 0.3f), 1, 0);
    near(mro_band_gain(5.64f, 4.1f, 5.8f, 0.3f), 1, 0);
    near(mro_band_gain(3.94f, 4.1f, 5.8f, 0.3f), 0, 0);
    near(mro_band_gain(5.96f, 4.1f, 5.8f, 0.3f), 0, 0);
    near(mro_band_gain(0, 4.1f, 5.8f, 0.3f), 0, 0);
    for (float q = 3.9f; q < 4.29f; q += 0.01f)
        assert_true(mro_band_gain(q + 0.01f, 4.1f, 5.8f, 0.3f) >= mro_band_gain(q, 4.1f, 5.8f, 0.3f));
}

static void sphere_profile_and_form_factor(void **state)
{
    (void)state;
    near(mro_chord(0, 1.2f), 2.4, 1e-6);
    near(mro_chord(1.44f, 1.2f), 0, 1e-3);
    near(mro_chord(2, 1.2f), 0, 0);
    near(mro_sphere_form_factor(0, 2), 1, 0);
    near(mro_sphere_form_factor(1.4303 / 2, 2), 0, 1e-4); /* first zero: tan x = x at x = 4.4934 */
    near(mro_sphere_form_factor(1.4303 / 3.1, 3.1), 0, 1e-4);
    /* The series for small arguments meets the closed form. */
    near(mro_sphere_form_factor(1.0001e-2 / MRO_PI, 1), mro_sphere_form_factor(0.9999e-2 / MRO_PI, 1), 1e-8);
    /* The form factor is the transform of the chord: a direct sum along one axis over the projected sphere. */
    const double d = 1.7, q = 0.6, h = 0.005;
    double sum = 0, all = 0;
    for (double y = -0.85; y <= 0.85; y += h)
        for (double x = -0.85; x <= 0.85; x += h) {
            const double c = mro_chord((float)(x * x + y * y), (float)(0.5 * d));
            sum += c * cos(2 * MRO_PI * q * x);
            all += c;
        }
    near(sum / all, mro_sphere_form_factor(q, d), 1e-4); /* midpoints of 5 pm */
}

/* By hand: {{4, 2, 2}, {2, 5, 3}, {2, 3, 6}} has the factor {{2}, {1, 2}, {1, 1, 2}}. */
static void systems_of_equations(void **state)
{
    (void)state;
    enum { ROW = 5 };
    const double whole[3][3] = { { 4, 2, 2 }, { 2, 5, 3 }, { 2, 3, 6 } };
    double a[3][ROW], b[3] = { 14, 21, 26 }, forward[3] = { 14, 21, 26 };
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < ROW; k++) a[i][k] = k <= i ? whole[i][k] : NAN; /* the upper half is not read */
    assert_true(mro_cholesky_solve(a[0], 3, ROW, b, 1e-12));
    const double factor[3][3] = { { 2 }, { 1, 2 }, { 1, 1, 2 } };
    for (int i = 0; i < 3; i++) {
        near(b[i], i + 1, 1e-14);
        for (int k = 0; k <= i; k++) near(a[i][k], factor[i][k], 1e-14);
    }
    mro_cholesky_forward(a[0], 3, ROW, forward);
    near(forward[0], 7, 1e-14);
    near(forward[1], 7, 1e-14);
    near(forward[2], 6, 1e-14);
    /* Without full rank, not positive, no numbers. */
    double twice[2][2] = { { 1, 0 }, { 1.0 / 3, 1.0 / 9 + 1e-16 } }, negative[1] = { -1 }, none[1] = { NAN };
    assert_false(mro_cholesky_factor(twice[0], 2, 2, 1e-12));
    assert_false(mro_cholesky_factor(negative, 1, 1, 0));
    assert_false(mro_cholesky_factor(none, 1, 1, 0));
}

static int rising(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Order statistics of numbers over all of their range, with many alike, against those of a sorted copy. */
static void select_is_that_of_sorted_numbers(void **state)
{
    enum { N = 20000 };
    float *v = malloc(N * sizeof *v), *sorted = malloc(N * sizeof *sorted);
    (void)state;
    assert_true(v && sorted);
    for (int kind = 0; kind < 3; kind++) {
        for (uint64_t i = 0; i < N; i++) {
            const mro_philox_block b = mro_philox(11, (uint64_t)kind, i);
            const float u = mro_uniform_open(b.v[0]);
            v[i] = kind == 0   ? fabsf(mro_normal_pair(b.v[1], b.v[2]).re)
                   : kind == 1 ? floorf(20 * u) / 3 /* zeros among them, */
                               : ldexpf(u, (int)(b.v[3] % 270) - 140);
        }
        for (size_t i = 0; kind == 1 && i < N; i += 2) v[i] = -0.0f; /* most with a sign */
        if (kind == 2) v[7] = v[11] = INFINITY;
        memcpy(sorted, v, N * sizeof *v);
        qsort(sorted, N, sizeof *sorted, rising);
        for (size_t k = 0; k < N; k += k < 40 ? 1 : 997) assert_true(mro_select_positive(v, N, k, 1) == sorted[k]);
        assert_true(mro_select_positive(v, N, N - 1, 2) == sorted[N - 1]);
    }
    free(v);
    free(sorted);
}

/* Those of few numbers, of any rank: all different, many alike, all the same, and at both ends of what they may be. */
static void selection_of_few_is_that_of_sorted_numbers(void **state)
{
    enum { MOST = 3 * MRO_SELECT_BLOCK + 5 };
    int32_t v[MOST + MRO_SELECT_BLOCK], with_room[MOST + MRO_SELECT_BLOCK];
    float sorted[MOST];
    (void)state;
    for (int kind = 0; kind < 4; kind++)
        for (size_t n = 1; n <= MOST; n++) {
            for (size_t i = 0; i < n; i++) {
                const uint32_t u = mro_philox(12, n, i).v[0];
                /* Of 24 bits, so that floats hold them. */
                v[i] = (int32_t)(kind == 0 ? u >> 8 : kind == 1 ? u >> 29 : kind == 2 ? 7 : u % 2 * 0x7fffff80u);
                sorted[i] = (float)v[i];
            }
            qsort(sorted, n, sizeof *sorted, rising);
            for (size_t k = 0; k < n; k++) {
                memcpy(with_room, v, n * sizeof *v);
                assert_true((float)mro_select_ranked(with_room, n, k) == sorted[k]);
                assert_memory_equal(with_room, v, n * sizeof *v);
                assert_true((float)mro_select_bounded(v, n, k) == sorted[k]);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wavelength_of_the_electron),
        cmocka_unit_test(transfer_of_known_lenses),
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(random_numbers_have_their_moments),
        cmocka_unit_test(random_numbers_side_by_side),
        cmocka_unit_test(select_is_that_of_sorted_numbers),
        cmocka_unit_test(selection_of_few_is_that_of_sorted_numbers),
        cmocka_unit_test(band_is_half_at_its_limits),
        cmocka_unit_test(sphere_profile_and_form_factor),
        cmocka_unit_test(systems_of_equations),
        cmocka_unit_test(functions_of_our_own_are_those_of_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

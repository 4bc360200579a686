/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Intervals of the pair distribution cover the truth: over noisy draws of a glass whose S(Q) is a formula, and of a
 * second shell made of the four modes. MROSCOPE_COVER_DRAWS asks for more draws than the tests take. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pdf_draw.h"

static struct mro_error e;

static int draws_of(int usual)
{
    const char *text = getenv("MROSCOPE_COVER_DRAWS");
    const int n = text ? atoi(text) : 0;
    return n > usual ? n : usual;
}

enum { NUMBERS = 15 };
static void numbers_of(const struct mro_pdf_result *r, struct mro_pdf_number v[NUMBERS])
{
    int n = 0;
    v[n++] = r->fsdp.Q;
    v[n++] = r->fsdp.first_moment;
    v[n++] = r->fsdp.area;
    v[n++] = r->fsdp.fwhm;
    for (int k = 0; k < 3; k++) {
        v[n++] = r->shell[k].r_A;
        v[n++] = r->shell[k].height;
        v[n++] = r->shell[k].area;
    }
    v[n++] = r->coordination;
    v[n++] = r->oscillation;
}

static void intervals_cover(void **state)
{
    (void)state;
    const int draws = draws_of(36);
    struct mro_pdf_options o;
    struct mro_pdf_result r;
    struct mro_pdf_number truth[NUMBERS], v[NUMBERS];
    int hit[NUMBERS] = { 0 }, all = 0;
    mro_pdf_options_default(&o);
    assert_int_equal(mro_composition_parse(&o.composition, "Fe82B18", &e), MRO_OK);
    o.density_per_nm3 = 1000 * GLASS_RHO;
    o.draws = 80;
    o.r_step_A = 0.05;
    o.r_max_A = 15;
    o.connection_R_A = -1;
    struct mro_profile p = glass_profile(&o.composition, 220, 16, 300, 45, 1, 0);
    assert_int_equal(mro_pdf_measure(&p, NULL, "glass", &o, &r, &e), MRO_OK);
    numbers_of(&r, truth);
    o.fixed = r.windows;
    mro_pdf_result_release(&r);
    mro_profile_release(&p);
    for (int d = 0; d < draws; d++) {
        p = glass_profile(&o.composition, 220, 16, 300, 45, 1, 1000 + (uint64_t)d);
        o.seed = (uint64_t)d + 1;
        assert_int_equal(mro_pdf_measure(&p, NULL, "glass", &o, &r, &e), MRO_OK);
        numbers_of(&r, v);
        for (int i = 0; i < NUMBERS; i++) {
            const bool in = v[i].ci95[0] <= truth[i].value && truth[i].value <= v[i].ci95[1];
            hit[i] += in;
            all += in;
        }
        mro_pdf_result_release(&r);
        mro_profile_release(&p);
    }
    for (int i = 0; i < NUMBERS; i++) {
        print_message("number %d: %.3f\n", i, hit[i] / (double)draws);
        /* Four standard deviations of a binomial below 95 %. */
        assert_true(hit[i] >= draws * (0.95 - 4 * sqrt(0.95 * 0.05 / draws)));
    }
    const double share = all / (double)(draws * NUMBERS);
    print_message("together: %.3f\n", share);
    assert_true(share > 0.88 && share < 0.995);
}

/* S(Q) of the glass with noise, and with a peak of G that is `planted` high (1/A^2) at 3.7 A. */
static struct mro_profile noisy_S(double noise, double planted, uint64_t seed)
{
    enum { N = 160 };
    struct mro_profile p;
    assert_int_equal(mro_profile_alloc(&p, N, 0, &e), MRO_OK);
    p.quantity = MRO_QUANTITY_S;
    for (size_t k = 0; k < N; k++) {
        const mro_philox_block b = mro_philox(seed, 8, k);
        p.s_inv_nm[k] = 1.6 + 14.4 * (double)k / (N - 1);
        const double Q = p.s_inv_nm[k] * 2 * M_PI / 10;
        p.se[k] = noise;
        /* Lorch's damping to 10 1/A leaves 1.88 of a delta's sine wave. */
        p.intensity[k] = glass_S(Q, 1) + planted / 1.88 * sin(3.7 * Q) / Q +
                         (seed ? noise * (double)mro_normal_pair(b.v[0], b.v[1]).re : 0);
    }
    return p;
}

/* Shallow peaks, and splits of the second shell, that noise alone makes in S(Q) of a glass that has none: their p is
 * below 0.05 in no more than one of twenty draws, but for chance. Those that are there are seen. */
static void finds_by_chance(double noise, int draws)
{
    struct mro_pdf_options o;
    struct mro_pdf_result r;
    int found[3] = { 0 }, taken[3] = { 0 };
    mro_pdf_options_default(&o);
    assert_int_equal(mro_pdf_tables_new(&o.tables, &e), MRO_OK);
    o.density_per_nm3 = 1000 * GLASS_RHO;
    o.draws = 60;
    o.r_step_A = 0.05;
    o.r_max_A = 15;
    o.connection_R_A = -1;
    for (int d = 0; d <= draws; d++) { /* the first without noise */
        struct mro_profile p = noisy_S(noise, 0, (uint64_t)d);
        o.seed = (uint64_t)d + 1;
        assert_int_equal(mro_pdf_measure(&p, NULL, "glass", &o, &r, &e), MRO_OK);
        for (int k = 0; k < 3; k++) {
            const double p_of = k < 2 ? r.small[k].p : r.second.p, height = k < 2 ? r.small[k].height : r.second.dip;
            if (d == 0) assert_false(isfinite(height));
            found[k] += isfinite(height);
            taken[k] += p_of < 0.05;
        }
        if (d == 0) o.fixed = r.windows;
        mro_pdf_result_release(&r);
        mro_profile_release(&p);
    }
    struct mro_profile p = noisy_S(0.02, 2, 1);
    assert_int_equal(mro_pdf_measure(&p, NULL, "glass", &o, &r, &e), MRO_OK);
    print_message("planted: %g at %g, p %.2g\n", r.small[0].height, r.small[0].r_A, r.small[0].p);
    assert_true(fabs(r.small[0].r_A - 3.7) < 0.15);
    assert_true(r.small[0].p < 0.01);
    mro_pdf_result_release(&r);
    mro_profile_release(&p);
    for (int k = 0; k < 3; k++) {
        print_message("noise %g, %s: in %d of %d draws, %d of them with p < 0.05\n", noise,
                      k == 2 ? "split"
                      : k    ? "near 7 A"
                             : "near 4 A",
                      found[k], draws, taken[k]);
        assert_true(taken[k] <= 0.05 * draws + 3 * sqrt(0.05 * 0.95 * draws));
    }
    mro_pdf_tables_free(o.tables);
}

static void chance_finds_are_told(void **state)
{
    (void)state;
    finds_by_chance(0.6, draws_of(40));
    finds_by_chance(0.3, draws_of(20));
}

/* Four modes beside a first and a third shell, seen through a range of Q, with noise of S that does not depend on Q. */
static void modes_cover(double Q_max, bool lorch, double noise, int draws)
{
    enum { NQ = 240, MOST = 64 };
    static const double area[6] = { 6, 10, 8, 12, 12, 30 }, sigma[6] = { 0.2, 0.2, 0.2, 0.2, 0.15, 0.35 };
    static const double off[4] = { 0.03, -0.04, 0.02, 0.05 };
    const double R = 2.55, rho = 0.08, dQ = Q_max / NQ;
    const double centre[6] = {
        sqrt(2) * R + off[0], sqrt(8.0 / 3) * R + off[1], sqrt(3) * R + off[2], 2 * R + off[3], R, 2.6 * R
    };
    double r[MOST], G[MOST], F[NQ];
    const size_t n = (size_t)(1.3 * R / (M_PI / (2 * Q_max))) + 1;
    double *T = malloc(n * NQ * sizeof *T), *C = calloc(n * n, sizeof *C);
    assert_true(T && C && n <= MOST);
    for (size_t q = 0; q < NQ; q++) {
        const double Q = ((double)q + 0.5) * dQ, x = M_PI * Q / Q_max;
        F[q] = 0;
        for (int k = 0; k < 6; k++)
            F[q] += area[k] / centre[k] * sin(Q * centre[k]) * exp(-sigma[k] * sigma[k] * Q * Q / 2);
        for (size_t i = 0; i < n; i++) {
            r[i] = R + (double)i * M_PI / (2 * Q_max);
            T[i * NQ + q] = 2 / M_PI * dQ * (lorch ? sin(x) / x : 1) * sin(Q * r[i]);
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t q = 0; q < NQ; q++) {
                const double Q = ((double)q + 0.5) * dQ;
                C[i * n + j] += T[i * NQ + q] * T[j * NQ + q] * Q * Q * noise * noise;
            }
    int hit = 0, together = 0;
    for (int d = 0; d < draws; d++) {
        struct mro_pdf_connection c;
        for (size_t i = 0; i < n; i++) G[i] = -4 * M_PI * rho * r[i];
        for (size_t q = 0; q < NQ; q++) {
            const double Q = ((double)q + 0.5) * dQ;
            const mro_philox_block b = mro_philox((uint64_t)d + 1, 3, q);
            const double f = F[q] + noise * Q * (double)mro_normal_pair(b.v[0], b.v[1]).re;
            for (size_t i = 0; i < n; i++) G[i] += T[i * NQ + q] * f;
        }
        const struct mro_pdf_second_shell s = {
            n, r, G, C, Q_max, 0, lorch ? MRO_DAMPING_LORCH : MRO_DAMPING_NONE, rho * 1000, R
        };
        assert_int_equal(mro_pdf_connect(&s, &c, &e), MRO_OK);
        for (int m = 0; m < 4; m++) {
            hit += c.mode[m].area_ci95[0] <= area[m] && area[m] <= c.mode[m].area_ci95[1];
            assert_true(c.mode[m].area >= 0 && c.mode[m].area_ci95[0] <= c.mode[m].area + 1e-9 &&
                        c.mode[m].area <= c.mode[m].area_ci95[1] + 1e-9);
            assert_true(fabs(c.mode[m].centre_A - centre[m] + off[m]) <= 0.1 + 1e-9);
        }
        together += c.together.area_ci95[0] <= 18 && 18 <= c.together.area_ci95[1];
        if (Q_max < 9) assert_false(c.separable);
        free(c.r_A);
    }
    const double share = hit / (4.0 * draws);
    print_message("modes at Q to %g: %.3f, sum of 3 and 2: %.3f\n", Q_max, share, together / (double)draws);
    /* The four of one draw hang together: counted as two. */
    assert_true(share > 0.95 - 4 * sqrt(0.95 * 0.05 / (2.0 * draws)));
    assert_true(together > draws * (0.95 - 4 * sqrt(0.95 * 0.05 / draws)));
    free(T);
    free(C);
}

static void modes_are_within_their_intervals(void **state)
{
    (void)state;
    modes_cover(14, false, 0.02, draws_of(12));
    modes_cover(12, true, 0.02, draws_of(10));
    modes_cover(8, true, 0.01, draws_of(6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_cover),
        cmocka_unit_test(chance_finds_are_told),
        cmocka_unit_test(modes_are_within_their_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

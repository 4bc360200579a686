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
        cmocka_unit_test(modes_are_within_their_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What comparisons promise over many redrawn tables: 5 % of tests of equal states are significant at 0.05, a ratio
 * of 1.5 is found, and 95 % intervals of ratios cover the planted ratio, from 3 images a state on, next to zero, in
 * blocks and in specimens. MROSCOPE_DRAWS sets how many tables are drawn of each kind. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mroscope/compare.h"
#include "mroscope/math/philox.h"

enum { MOST = 64 };

static uint64_t at;

static double normal(void)
{
    const mro_philox_block b = mro_philox(2026, 11, at++);
    return (double)mro_normal_pair(b.v[0], b.v[1]).re;
}

static unsigned long draws_of(unsigned long usual)
{
    const char *env = getenv("MROSCOPE_DRAWS");
    return env ? strtoul(env, NULL, 10) : usual;
}

/* Two states; what is drawn of each. */
struct plan {
    const char *name;
    size_t n[2];       /* images */
    double mean[2];    /* arithmetic */
    double scatter[2]; /* of ln(value), or over the mean where `linear` */
    bool linear;
    double error;    /* sd of an image's own error, known to it; values are cut off at zero */
    size_t blocks;   /* images take turns; the second block's values are 1.6 times the first's */
    double specimen; /* scatter of ln between specimens of 2 images each */
    bool paired;     /* specimens are the same in both states, and scatter by 1 in ln */
};

static void draw(const struct plan *p, struct mro_compare_image *m)
{
    size_t k = 0;
    double piece[MOST];
    for (size_t i = 0; i < MOST; i++) piece[i] = normal();
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < p->n[s]; i++, k++) {
            const double sd = p->scatter[s];
            double v = p->linear ? p->mean[s] * (1 + sd * normal()) : p->mean[s] * exp(sd * normal() - sd * sd / 2);
            m[k] =
                (struct mro_compare_image){ .state = s, .ci95 = { NAN, NAN }, .x = NAN, .specimen = MRO_COMPARE_NONE };
            if (p->blocks > 1) {
                m[k].block = i % p->blocks;
                v *= m[k].block ? 1.6 : 1;
            }
            if (p->specimen > 0) {
                m[k].specimen = 20 * s + i / 2;
                v *= exp(p->specimen * piece[m[k].specimen] - p->specimen * p->specimen / 2);
            }
            if (p->paired) {
                m[k].specimen = i;
                v *= exp(piece[i]);
            }
            if (p->error > 0) {
                v = fmax(0, v + p->error * normal());
                m[k].ci95[0] = fmax(0, v - 1.96 * p->error);
                m[k].ci95[1] = v + 1.96 * p->error;
            }
            m[k].value = v;
        }
}

struct count {
    unsigned long draws, significant, covered, unbounded, none;
};

static struct count run(const struct plan *p, unsigned long draws)
{
    struct mro_compare_image m[MOST];
    static const char *const names[] = { "A", "B" };
    const struct mro_compare_data d = { .metric = "x",
                                        .n_states = 2,
                                        .n_specimens = MOST,
                                        .n_blocks = 2,
                                        .n = p->n[0] + p->n[1],
                                        .state = names,
                                        .image = m };
    struct mro_compare_options o;
    struct mro_error e;
    struct count c = { .draws = draws };
    mro_compare_options_default(&o);
    o.paired = p->paired;
    at = 0;
    for (unsigned long k = 0; k < draws; k++) {
        struct mro_compare_result r;
        draw(p, m);
        if (mro_compare(&d, &o, &r, &e)) fail_msg("%s", e.message);
        const struct mro_compare_state *b = &r.state[1];
        const double ratio = p->mean[1] / p->mean[0];
        c.significant += b->test.p <= 0.05;
        c.none += isnan(b->ratio_ci95[0]);
        c.unbounded += isinf(b->ratio_ci95[1]);
        c.covered += b->ratio_ci95[0] <= ratio && ratio <= b->ratio_ci95[1];
        mro_compare_result_release(&r);
    }
    const double n = (double)draws;
    printf("%-46s significant %5.1f %%, covered %5.1f %%, no upper end %5.1f %%, no interval %.1f %%\n", p->name,
           100 * (double)c.significant / n, 100 * (double)c.covered / n, 100 * (double)c.unbounded / n,
           100 * (double)c.none / n);
    return c;
}

static void equal_states_are_seldom_called_different(void **state)
{
    (void)state;
    static const struct plan plans[] = {
        { .name = "6 + 6 equal, scatter 0.25", .n = { 6, 6 }, .mean = { 1, 1 }, .scatter = { 0.25, 0.25 } },
        { .name = "6 + 6 equal, scatter 0.1 and 0.4", .n = { 6, 6 }, .mean = { 1, 1 }, .scatter = { 0.1, 0.4 } },
        { .name = "4 + 8 equal, scatter 0.25", .n = { 4, 8 }, .mean = { 1, 1 }, .scatter = { 0.25, 0.25 } },
        { .name = "6 + 6 equal in 2 blocks", .n = { 6, 6 }, .mean = { 1, 1 }, .scatter = { 0.25, 0.25 }, .blocks = 2 },
        { .name = "12 + 12 equal, 2 images a specimen",
          .n = { 12, 12 },
          .mean = { 1, 1 },
          .scatter = { 0.1, 0.1 },
          .specimen = 0.3 },
        { .name = "6 + 6 equal, paired", .n = { 6, 6 }, .mean = { 1, 1 }, .scatter = { 0.25, 0.25 }, .paired = true },
    };
    const unsigned long draws = draws_of(1000);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const struct count c = run(&plans[i], draws);
        /* Where one state scatters more, images cannot be exchanged, and the test is near what it promises only. */
        const bool alike = plans[i].scatter[0] == plans[i].scatter[1];
        assert_in_range(c.significant * 1000, 0, (alike ? 70 : 100) * draws);
        if (i == 0) assert_in_range(c.significant * 1000, 30 * draws, 70 * draws);
        assert_true((double)c.covered >= 0.925 * (double)draws);
    }
}

static void a_ratio_of_three_halves_is_found(void **state)
{
    (void)state;
    static const struct plan p = {
        .name = "6 + 6, ratio 1.5, scatter 0.25", .n = { 6, 6 }, .mean = { 1, 1.5 }, .scatter = { 0.25, 0.25 }
    };
    const unsigned long draws = draws_of(1000);
    const struct count c = run(&p, draws);
    assert_true((double)c.significant >= 0.7 * (double)draws);
}

static void intervals_of_ratios_cover(void **state)
{
    (void)state;
    static const struct plan plans[] = {
        { .name = "3 + 3, scatter 0.1", .n = { 3, 3 }, .mean = { 1, 1.5 }, .scatter = { 0.1, 0.1 } },
        { .name = "3 + 3, scatter 0.25", .n = { 3, 3 }, .mean = { 1, 1.5 }, .scatter = { 0.25, 0.25 } },
        { .name = "3 + 3, scatter 0.5", .n = { 3, 3 }, .mean = { 1, 1.5 }, .scatter = { 0.5, 0.5 } },
        { .name = "3 + 3, scatter 0.1 and 0.4", .n = { 3, 3 }, .mean = { 1, 1.5 }, .scatter = { 0.1, 0.4 } },
        { .name = "3 + 6, scatter 0.4 and 0.1", .n = { 3, 6 }, .mean = { 1, 1.5 }, .scatter = { 0.4, 0.1 } },
        { .name = "3 + 3, linear 0.25", .n = { 3, 3 }, .mean = { 1, 1.5 }, .scatter = { 0.25, 0.25 }, .linear = true },
        { .name = "6 + 6, scatter 0.1", .n = { 6, 6 }, .mean = { 1, 2 }, .scatter = { 0.1, 0.1 } },
        { .name = "6 + 6, scatter 0.25", .n = { 6, 6 }, .mean = { 1, 2 }, .scatter = { 0.25, 0.25 } },
        { .name = "6 + 6, scatter 0.5", .n = { 6, 6 }, .mean = { 1, 2 }, .scatter = { 0.5, 0.5 } },
        { .name = "6 + 6, scatter 0.1 and 0.4", .n = { 6, 6 }, .mean = { 1, 2 }, .scatter = { 0.1, 0.4 } },
        { .name = "6 + 6, linear 0.25", .n = { 6, 6 }, .mean = { 1, 2 }, .scatter = { 0.25, 0.25 }, .linear = true },
        { .name = "3 + 3, next to zero", .n = { 3, 3 }, .mean = { 1, 0.1 }, .scatter = { 0.2, 0.2 }, .error = 0.1 },
        { .name = "6 + 6, next to zero", .n = { 6, 6 }, .mean = { 1, 0.1 }, .scatter = { 0.2, 0.2 }, .error = 0.1 },
        { .name = "3 + 3, zero", .n = { 3, 3 }, .mean = { 1, 0 }, .scatter = { 0.2, 0.2 }, .error = 0.1 },
        { .name = "3 + 3, to a mean next to zero",
          .n = { 3, 3 },
          .mean = { 0.1, 1 },
          .scatter = { 0.2, 0.2 },
          .error = 0.1 },
        { .name = "6 + 6, ratio 1.5 in 2 blocks",
          .n = { 6, 6 },
          .mean = { 1, 1.5 },
          .scatter = { 0.25, 0.25 },
          .blocks = 2 },
        { .name = "6 + 6, ratio 1.5, 2 images a specimen",
          .n = { 6, 6 },
          .mean = { 1, 1.5 },
          .scatter = { 0.1, 0.1 },
          .specimen = 0.3 },
        { .name = "4 + 4, ratio 1.5, paired",
          .n = { 4, 4 },
          .mean = { 1, 1.5 },
          .scatter = { 0.1, 0.1 },
          .paired = true },
    };
    const unsigned long draws = draws_of(1000);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const struct count c = run(&plans[i], draws);
        assert_true((double)c.covered >= 0.91 * (double)draws);
        assert_true((double)c.none <= 0.05 * (double)draws);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_states_are_seldom_called_different),
        cmocka_unit_test(a_ratio_of_three_halves_is_found),
        cmocka_unit_test(intervals_of_ratios_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Intervals of the true part at 95 % nominal cover the planted standard deviation of the line in at least 90 % of
 * redrawn lines. MROSCOPE_DRAWS sets how many are drawn for each truth; 200 takes about a minute. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "eds_draw.h"

static const struct {
    const char *name;
    double mean[4], sd[4]; /* counts of a point, planted at.% */
    double wave, memory;
    size_t n;
} truths[] = {
    { "strong wave", { 430, 46, 10, 4 }, { -1.3, 0.2, 1.0, 0.1 }, 6, 0, 252 },
    { "weak wave", { 430, 46, 10, 4 }, { -0.5, 0, 0.5, 0 }, 6, 0, 252 },
    { "nothing", { 430, 46, 10, 4 }, { 0, 0, 0, 0 }, 6, 0, 252 },
    { "few counts", { 60, 20, 4, 1 }, { -2, 1, 1, 0 }, 0, 0.8, 120 },
    { "many counts", { 4000, 460, 180, 60 }, { -0.8, 0.4, 0.3, 0.1 }, 0, 0.5, 150 },
    { "white variation", { 600, 200, 150, 50 }, { -3, 1, 1.5, 0.5 }, 0, 0, 80 },
};

static void intervals_cover(void **state)
{
    (void)state;
    const char *env = getenv("MROSCOPE_DRAWS");
    const unsigned long draws = env ? strtoul(env, NULL, 10) : 30;
    struct mro_eds_options o;
    struct mro_error e;
    mro_eds_options_default(&o);
    mro_eds_k_parse(&o.k, "Fe=55.845,Co=58.933,Si=28.085,P=30.974", &e);
    o.draws = 99;
    unsigned long all = 0, within = 0;
    for (size_t t = 0; t < sizeof truths / sizeof *truths; t++) {
        unsigned long covered[4] = { 0 }, refused = 0;
        for (unsigned long k = 0; k < draws; k++) {
            struct mro_eds_profile p, exact;
            struct mro_eds_result r;
            /* The same line is counted anew; its own standard deviation is the truth. */
            draw_profile(&p, (const char *[]){ "Fe", "Co", "Si", "P" }, 4, truths[t].n, 0.2828);
            draw_profile(&exact, (const char *[]){ "Fe", "Co", "Si", "P" }, 4, truths[t].n, 0.2828);
            draw_shares(&exact, truths[t].mean, truths[t].sd, truths[t].wave, truths[t].memory, 5);
            draw_counts_of(&p, &exact, truths[t].mean, 4, 1000 * (t + 1) + k);
            assert_int_equal(mro_eds_measure(&p, NULL, 0, "x", &o, &r, &e), MRO_OK);
            refused += r.smoothed;
            for (size_t j = 0; j < 4; j++) {
                double mean = 0, sum = 0;
                for (size_t i = 0; i < exact.n; i++) mean += exact.column[j].counts[i] / (double)exact.n;
                for (size_t i = 0; i < exact.n; i++) sum += pow(exact.column[j].counts[i] - mean, 2);
                const double sd = sqrt(sum / (double)(exact.n - 1));
                covered[j] += r.element[j].sd_true_ci95[0] <= sd + 1e-9 && sd <= r.element[j].sd_true_ci95[1];
            }
            mro_eds_result_release(&r);
            mro_eds_profile_release(&p);
            mro_eds_profile_release(&exact);
        }
        print_message("%-16s covered of %lu: Fe %lu, Co %lu, Si %lu, P %lu; refused %lu\n", truths[t].name, draws,
                      covered[0], covered[1], covered[2], covered[3], refused);
        assert_int_equal(refused, 0);
        for (int j = 0; j < 4; j++) {
            all += draws;
            within += covered[j];
            /* 90 %, and what chance allows so few draws below it (three standard errors). */
            assert_true((double)covered[j] >= 0.9 * (double)draws - (draws < 200 ? 3 * sqrt(0.09 * (double)draws) : 0));
        }
    }
    assert_true((double)within >= 0.93 * (double)all);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(intervals_cover) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

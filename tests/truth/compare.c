/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Comparisons of states against answers worked out by hand (t quantiles from tables), and tables that cannot answer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mroscope/compare.h"
#include "mroscope/math/philox.h"

#define T2 4.302652729749462
#define T3 3.182446305283708
#define T4 2.776445105197793
#define T5 2.570581835636314
#define NEAR(a, b) near_to((a), (b), __LINE__)

enum { MOST = 400 };

static void near_to(double a, double b, int line)
{
    if (!(fabs(a - b) <= 1e-9 * (1 + fabs(b)))) fail_msg("line %d: %.12g is not %.12g", line, a, b);
}

/* A table under construction. */
static struct table {
    struct mro_compare_image image[MOST];
    struct mro_compare_data data;
    struct mro_compare_options options;
    struct mro_compare_result result;
} t;

static const char *const states[] = { "A", "B", "C", "D", "E", "F", "G", "H" };
static const char *const covariates[] = { "thickness", "dose" };

static int begin(void **state)
{
    (void)state;
    mro_compare_result_release(&t.result);
    memset(&t, 0, sizeof t);
    mro_compare_options_default(&t.options);
    t.data = (struct mro_compare_data){ .metric = "x",
                                        .n_states = 2,
                                        .n_specimens = MOST,
                                        .n_blocks = MOST,
                                        .state = states,
                                        .covariate = covariates,
                                        .image = t.image };
    return 0;
}

static int end(void **state)
{
    (void)state;
    mro_compare_result_release(&t.result);
    mro_compare_result_release(&t.result);
    return 0;
}

static struct mro_compare_image *add(size_t state, double value)
{
    struct mro_compare_image *m = &t.image[t.data.n++];
    *m = (struct mro_compare_image){ .state = state,
                                     .value = value,
                                     .ci95 = { NAN, NAN },
                                     .x = NAN,
                                     .specimen = MRO_COMPARE_NONE,
                                     .covariate = { NAN, NAN } };
    return m;
}

static void add_all(size_t state, size_t n, const double *v)
{
    for (size_t i = 0; i < n; i++) add(state, v[i]);
}

static void compare(void)
{
    struct mro_error e;
    mro_compare_result_release(&t.result);
    if (mro_compare(&t.data, &t.options, &t.result, &e)) fail_msg("%s", e.message);
}

static void expect_warning(const char *part)
{
    for (size_t i = 0; i < t.result.n_warnings; i++)
        if (strstr(t.result.warnings[i], part)) return;
    fail_msg("no warning says '%s'", part);
}

static void ratio_of_means(void **state)
{
    (void)state;
    add_all(0, 3, (double[]){ 8, 10, 12 });
    add_all(1, 3, (double[]){ 12, 15, 18 });
    compare();
    const struct mro_compare_state *b = &t.result.state[1];
    /* s^2 = 4 and 9: both means have a relative variance of 0.04/3; Welch gives 4 degrees of freedom. */
    const double h = T4 * sqrt(0.08 / 3);
    NEAR(t.result.state[0].mean, 10);
    NEAR(t.result.state[0].sd, 2);
    NEAR(t.result.state[0].mean_ci95[1], 10 * exp(T2 * 0.2 / sqrt(3)));
    NEAR(b->ratio, 1.5);
    NEAR(b->ratio_ci95[0], 1.5 * exp(-h));
    NEAR(b->ratio_ci95[1], 1.5 * exp(h));
    assert_int_equal(b->interval, MRO_COMPARE_LOG);
    NEAR(b->difference, 5);
    /* ln of products: 12 15 18 is the largest of three, twice as 12 is there twice; 8 10 12 the smallest likewise. */
    NEAR(b->test.p, 0.2);
    NEAR(b->test.smallest, 0.1);
    NEAR(b->test.arrangements, 20);
    assert_true(b->test.exact && b->identifiable);
    /* Pooled: ln scatters by s. */
    assert_true(t.result.scatter_ln > 0.19 && t.result.scatter_ln < 0.22);
    NEAR(t.result.n_for_ratio, 4);
}

static void smallest_p(void **state)
{
    (void)state;
    static const double sizes[][3] = { { 3, 3, 0.1 }, { 4, 4, 2.0 / 70 }, { 5, 5, 2.0 / 252 }, { 3, 4, 1.0 / 35 } };
    for (size_t k = 0; k < 4; k++) {
        t.data.n = 0;
        for (size_t i = 0; i < (size_t)sizes[k][0]; i++) add(0, 1 + 0.01 * (double)i);
        for (size_t i = 0; i < (size_t)sizes[k][1]; i++) add(1, 9 + 0.01 * (double)i);
        compare();
        NEAR(t.result.state[1].test.smallest, sizes[k][2]);
        NEAR(t.result.state[1].test.p, sizes[k][2]);
    }
}

static void drawn_permutations(void **state)
{
    (void)state;
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < 11; i++) {
            const mro_philox_block b = mro_philox(3, s, i);
            add(s, 10 + (double)mro_normal_pair(b.v[0], b.v[1]).re + 0.5 * (double)s);
        }
    t.options.permutations = 20000;
    compare();
    const struct mro_permutation drawn = t.result.state[1].test;
    assert_true(!drawn.exact && drawn.se > 0);
    NEAR(drawn.arrangements / 705432.0, 1);
    compare();
    assert_true(t.result.state[1].test.p == drawn.p);
    t.options.enumerate = 1000000;
    compare();
    assert_true(t.result.state[1].test.exact);
    assert_true(fabs(t.result.state[1].test.p - drawn.p) < 4 * drawn.se);
}

static void zeros_go_by_fieller(void **state)
{
    (void)state;
    /* Solved for |mean B - r mean A| = t(Welch at r) * standard error with an independent program. */
    add_all(0, 5, (double[]){ 5, 4, 6, 5, 5.5 });
    add_all(1, 5, (double[]){ 1, 2, 3, 2, 0 });
    compare();
    assert_int_equal(t.result.state[1].interval, MRO_COMPARE_FIELLER);
    NEAR(t.result.state[1].ratio, 1.6 / 5.1);
    NEAR(t.result.state[1].ratio_ci95[0], 0.03617861355634687);
    NEAR(t.result.state[1].ratio_ci95[1], 0.5865608479863097);
    begin(NULL);
    add_all(0, 5, (double[]){ 5, 4, 6, 5, 5.5 });
    add_all(1, 5, (double[]){ 0, 0, 3, 1, 1 });
    compare();
    NEAR(t.result.state[1].ratio_ci95[0], 0);
    NEAR(t.result.state[1].ratio_ci95[1], 0.4896887756448471);
    /* Turned round, the denominator is not told from zero. */
    t.options.reference = 1;
    compare();
    assert_true(isinf(t.result.state[0].ratio_ci95[1]) && t.result.state[0].ratio_ci95[0] > 0);
    expect_warning("no upper limit");
}

static void values_cut_off_at_zero_keep_their_error(void **state)
{
    (void)state;
    /* Two images of zero whose own intervals end at 0.0098: a standard error of 0.005 each. */
    for (int i = 0; i < 2; i++) {
        struct mro_compare_image *m = add(1, 0);
        m->ci95[0] = 0;
        m->ci95[1] = 0.005 * 1.959963984540054;
    }
    for (int i = 0; i < 3; i++) {
        struct mro_compare_image *m = add(0, 0.09 + 0.01 * i);
        m->ci95[0] = 0.05;
        m->ci95[1] = 0.15;
    }
    compare();
    const struct mro_compare_state *b = &t.result.state[1];
    assert_true(b->ratio == 0 && b->ratio_ci95[0] == 0);
    /* 1.96 * 0.005 / sqrt(2) = 0.00693 of 0.1, a little more for the error of the reference. */
    assert_true(b->ratio_ci95[1] > 0.0693 && b->ratio_ci95[1] < 0.072);
    NEAR(b->mean_ci95[1], 0.005 * 1.959963984540054 / sqrt(2));
    /* The same without intervals: nothing is known of the scatter. */
    for (size_t i = 0; i < t.data.n; i++) t.image[i].ci95[0] = t.image[i].ci95[1] = NAN;
    compare();
    assert_true(isnan(t.result.state[1].ratio_ci95[0]) && t.result.state[1].ratio == 0);
    expect_warning("all 2 images of B have the same value");
}

static void own_errors_are_not_counted_twice(void **state)
{
    (void)state;
    double before[2];
    add_all(0, 3, (double[]){ 8, 10, 12 });
    add_all(1, 3, (double[]){ 12, 15, 18 });
    compare();
    memcpy(before, t.result.state[1].ratio_ci95, sizeof before);
    for (size_t i = 0; i < t.data.n; i++) {
        t.image[i].ci95[0] = 0.2 * t.image[i].value;
        t.image[i].ci95[1] = 3 * t.image[i].value;
    }
    compare();
    NEAR(t.result.state[1].ratio_ci95[0], before[0]);
    NEAR(t.result.state[1].ratio_ci95[1], before[1]);
}

static void trend_with_strain(void **state)
{
    (void)state;
    t.data.n_states = 3;
    for (size_t s = 0; s < 3; s++)
        for (int i = 0; i < 2; i++) add(s, exp(0.1 * (double)s + (i ? 0.1 : -0.1)))->x = (double)s;
    compare();
    const struct mro_compare_trend *r = &t.result.trend;
    assert_true(r->measured && r->logarithmic);
    NEAR(r->slope, 0.1);
    /* Residuals of 0.1: 0.06 over 4 degrees of freedom, and a spread of x of 4. */
    NEAR(r->slope_ci95[1] - r->slope, T4 * sqrt(0.06 / 4 / 4));
    NEAR(r->centre_ci95[1] - r->centre[1], T4 * sqrt(0.06 / 4 / 6)); /* of six */
    NEAR(r->centre[1] - r->centre_ci95[0], T4 * sqrt(0.06 / 4 / 6));
    /* 1 1.2 | 1.1 1.3 | 1.2 1.5 in logs of -1 1 | 0 2 | 1 3: 3 + 3.5 + 3 of 12. */
    NEAR(r->j, 9.5);
    NEAR(r->j_expected, 6);
    NEAR(r->jonckheere.arrangements, 90);

    begin(NULL);
    t.data.n_states = 3;
    for (size_t i = 0; i < 6; i++) add(i / 2, 1 + (double)i)->x = 4 * (double)(i / 2);
    compare();
    NEAR(t.result.trend.j, 12);
    NEAR(t.result.trend.jonckheere.p, 2.0 / 90);
    NEAR(t.result.trend.jonckheere.smallest, 2.0 / 90);
    const double before = t.result.trend.slope;
    /* Rising by exactly as much in other units. */
    for (size_t i = 0; i < 6; i++) t.image[i].x /= 4;
    compare();
    NEAR(t.result.trend.slope, 4 * before);
    /* A state without strain is left out. */
    t.image[0].x = t.image[1].x = NAN;
    compare();
    assert_int_equal(t.result.trend.n, 4);
    assert_false(t.result.state[0].in_trend);
}

/* Equal strains are one step of the trend, however many images of a specimen share them. */
static void trend_of_specimens(void **state)
{
    (void)state;
    t.data.n_states = 2;
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < 5; i++) {
            struct mro_compare_image *m = add(s, 1 + (double)(5 * s + i));
            m->specimen = 10 * s + (i < 3 ? 0 : i);
            m->x = s ? 1.4 : 0.1; /* three times 0.1 is no 0.3 */
        }
    compare();
    assert_true(t.result.by_specimen);
    NEAR(t.result.trend.j, 9);
    NEAR(t.result.trend.j_expected, 4.5);
    NEAR(t.result.trend.jonckheere.p, 0.1);
    assert_true(t.result.state[1].x == 1.4);
}

/* Hundreds of images with ties: every pair, counted one by one. */
static void trend_of_many(void **state)
{
    (void)state;
    const size_t n = 300;
    double j = 0, expected = 0;
    t.data.n_states = 3;
    t.options.permutations = 2000;
    for (size_t i = 0; i < n; i++) {
        const mro_philox_block b = mro_philox(7, 1, i);
        add(b.v[0] % 3, (double)(b.v[1] % 40 + b.v[0] % 3))->x = (double)(b.v[0] % 3);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            const struct mro_compare_image *a = &t.image[i], *b = &t.image[k];
            if (!(a->x < b->x)) continue;
            j += a->value < b->value ? 1 : a->value == b->value ? 0.5 : 0;
            expected += 0.5;
        }
    compare();
    NEAR(t.result.trend.j, j);
    NEAR(t.result.trend.j_expected, expected);
    assert_true(t.result.trend.jonckheere.p > 0 && t.result.trend.jonckheere.p <= 1);
}

/* A metric that stays as it is up to a strain of 4 and then rises; three strains alone cannot tell where. */
static void trend_that_bends(void **state)
{
    (void)state;
    t.data.n_states = 8;
    t.options.permutations = 999;
    for (size_t s = 0; s < 8; s++)
        for (size_t i = 0; i < 3; i++) {
            const double strain = (double)s, rise = strain > 4 ? 0.2 * (strain - 4) : 0;
            add(s, exp(0.01 * ((double)((7 * s + 5 * i) % 9) - 4) + rise))->x = strain;
        }
    compare();
    const struct mro_onset *o = &t.result.trend.onset;
    assert_true(o->ci95[0] < 4 && 4 < o->ci95[1] && o->ci95[1] - o->ci95[0] < 1 && o->p < 1e-6);
    assert_true(fabs(o->slope[0]) < 0.02 && fabs(o->slope[1] - 0.2) < 0.02);
    for (size_t i = 0; i < t.data.n; i++)
        if (t.image[i].state % 3) t.image[i].x = NAN;
    compare();
    assert_true(isnan(o->x) && isnan(o->p));
}

static void trend_weighs_by_known_errors(void **state)
{
    (void)state;
    /* Two good images on a line, and one whose own interval says that it means nothing. */
    static const double x[] = { 0, 10, 5, 0, 10 }, y[] = { 0, 1, 4, 0.01, 0.99 }, sd[] = { 0.01, 0.01, 3, 0.01, 0.01 };
    for (size_t i = 0; i < 5; i++) {
        struct mro_compare_image *m = add(i % 2, exp(y[i]));
        m->x = x[i];
        m->ci95[0] = exp(y[i] - 1.96 * sd[i]);
        m->ci95[1] = exp(y[i] + 1.96 * sd[i]);
    }
    compare();
    assert_true(fabs(t.result.trend.slope - 0.0985) < 0.001);
    assert_true(fabs(t.result.trend.centre[1] - 0.5) < 0.02);
}

static void trend_of_equal_strains(void **state)
{
    (void)state;
    for (size_t i = 0; i < 6; i++) add(i / 3, 1 + (double)i)->x = 2;
    compare();
    assert_false(t.result.trend.measured);
    expect_warning("same one, 2");
    begin(NULL);
    t.data.n_states = 3;
    for (size_t i = 0; i < 9; i++) add(i / 3, 1 + (double)i)->x = i / 3 == 2 ? 4 : 0;
    compare();
    assert_true(t.result.trend.measured);
    expect_warning("A and B have the same strain");
    t.options.in_trend = (const bool[]){ false, true, true };
    compare();
    assert_int_equal(t.result.trend.n, 6);
}

static void blocks_are_compared_within(void **state)
{
    (void)state;
    /* The second block doubles what the first shows. */
    static const double values[2][4] = { { 9, 11, 18, 22 }, { 18, 22, 36, 44 } };
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < 4; i++) add(s, values[s][i])->block = i / 2;
    compare();
    const struct mro_compare_state *b = &t.result.state[1];
    assert_int_equal(t.result.blocks, 2);
    NEAR(t.result.block_factor[1] / t.result.block_factor[0], 2);
    NEAR(t.result.state[0].mean, 15);
    NEAR(b->ratio, 2);
    /* Relative variance of a mean: 0.0133 by 4 images, 6/5 for the factor of the block; 5 degrees of freedom are left.
     */
    const double h = T5 * sqrt(2 * 0.01 * 4 / 3 * 1.2 / 4);
    NEAR(b->ratio_ci95[1], 2 * exp(h));
    NEAR(b->test.arrangements, 36);
    NEAR(b->test.p, 2.0 / 36);
    NEAR(b->test.smallest, 2.0 / 36);
    /* A state seen with other settings only. */
    begin(NULL);
    for (size_t i = 0; i < 6; i++) add(i / 3, 1 + (double)i)->block = i / 3;
    compare();
    assert_false(t.result.state[1].identifiable);
    assert_non_null(strstr(t.result.state[1].why, "settings coincide"));
}

static void images_of_a_specimen_are_averaged(void **state)
{
    (void)state;
    static const double values[2][6] = { { 7, 9, 9, 11, 11, 13 }, { 11, 13, 14, 16, 17, 19 } };
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < 6; i++) add(s, values[s][i])->specimen = 10 * s + i / 2;
    compare();
    assert_true(t.result.by_specimen);
    const struct mro_compare_state *b = &t.result.state[1];
    assert_int_equal(b->n, 3);
    assert_int_equal(b->images, 6);
    NEAR(b->ratio_ci95[1], 1.5 * exp(T4 * sqrt(0.08 / 3))); /* as of 8 10 12 and 12 15 18 */
    NEAR(b->test.smallest, 0.1);
    NEAR(b->test.p, 0.2); /* both have a 12 */
    /* So they are when they have different numbers of images; also each in equal parts of two blocks. */
    for (size_t i = 0; i < t.data.n; i++)
        t.image[i].specimen = 10 * t.image[i].state + (i % 6 < 1 ? 0 : i % 6 < 3 ? 1 : 2);
    compare();
    NEAR(t.result.state[1].test.arrangements, 20);
    NEAR(t.result.state[1].test.smallest, 0.1);
    for (size_t i = 0; i < t.data.n; i++) t.image[i].specimen = 10 * t.image[i].state + (i % 6 < 4);
    for (size_t i = 0; i < t.data.n; i++) t.image[i].block = i % 2;
    compare();
    NEAR(t.result.state[1].test.arrangements, 6);
    NEAR(t.result.state[1].test.smallest, 1.0 / 3);
    for (size_t i = 0; i < t.data.n; i++) t.image[i].block = 0;
    /* One specimen a state: images stay the unit, and it is said what that means. */
    for (size_t i = 0; i < t.data.n; i++) t.image[i].specimen = t.image[i].state;
    compare();
    assert_false(t.result.by_specimen);
    expect_warning("of one specimen");
}

static void paired_specimens(void **state)
{
    (void)state;
    static const double a[] = { 1, 5, 20, 100 }, ratio[] = { 1.45, 1.5, 1.55, 1.5 };
    for (size_t i = 0; i < 4; i++) {
        add(0, a[i])->specimen = i;
        add(1, a[i] * ratio[i])->specimen = i;
    }
    compare();
    assert_true(t.result.state[1].test.p > 0.5);
    expect_warning("`paired`");
    t.options.paired = true;
    compare();
    const struct mro_compare_state *b = &t.result.state[1];
    NEAR(b->test.p, 2.0 / 16);
    assert_true(fabs(b->ratio - 1.5) < 0.01);
    /* sd of ln(ratio) is 0.0272: t3 * 0.0272 / 2 = 0.043. */
    assert_true(fabs(log(b->ratio_ci95[1] / b->ratio) - 0.0433) < 0.003);
}

static void thickness(void **state)
{
    (void)state;
    t.data.n_covariates = 1;
    for (size_t s = 0; s < 2; s++)
        for (int i = 0; i < 3; i++) {
            static const double off[] = { 0.1, -0.2, 0.1 };
            const double x = (double)s + i;
            add(s, exp(0.5 * x + 0.3 * (double)s + off[i]))->covariate[0] = exp(x);
        }
    compare();
    const struct mro_compare_covariate *v = &t.result.covariate[0];
    assert_true(v->known && v->differs && t.result.state[1].identifiable);
    /* 0.12 of residuals over 3 degrees of freedom; thickness scatters by 4 within states, and differs by 1 between. */
    NEAR(v->slope, 0.5);
    NEAR(v->slope_ci95[1] - v->slope, T3 * sqrt(0.04 / 4));
    NEAR(v->ratio[1], exp(0.3));
    NEAR(v->inflation[1], 1 + (1.0 / 4) / (2.0 / 3));
    NEAR(log(v->ratio_ci95[1][1] / v->ratio[1]), T3 * sqrt(0.04 * (2.0 / 3 + 1.0 / 4)));
    NEAR(v->mean[1], exp(2));

    for (size_t i = 0; i < t.data.n; i++) t.image[i].covariate[0] = t.image[i].state ? 10 : 5;
    compare();
    assert_false(t.result.state[1].identifiable);
    assert_non_null(strstr(t.result.state[1].why, "state and thickness coincide (A 5, B 10)"));
    assert_true(isinf(t.result.covariate[0].inflation[1]) && isnan(t.result.covariate[0].ratio[1]));
    /* A ratio of e^0.8 is no effect of 6 % of thickness, even if it went by the tenth power. */
    for (size_t i = 0; i < t.data.n; i++) t.image[i].covariate[0] = t.image[i].state ? 5.3 : 5;
    compare();
    assert_true(t.result.state[1].identifiable && isinf(t.result.covariate[0].inflation[1]));
    for (size_t i = 0; i < t.data.n; i++) t.image[i].covariate[0] = 5;
    compare();
    assert_true(t.result.state[1].identifiable && !t.result.covariate[0].differs);
    t.image[0].covariate[0] = NAN;
    compare();
    assert_false(t.result.covariate[0].known);
    expect_warning("5 of 6 images only");
}

static void holm_over_metrics(void **state)
{
    (void)state;
    struct mro_compare_state s[3][2] = { 0 };
    struct mro_compare_result r[3] = { { .n_states = 2 }, { .n_states = 2 }, { .n_states = 2 } };
    static const double p[] = { 0.04, 0.01, 0.03 };
    struct mro_error e;
    for (size_t i = 0; i < 3; i++) {
        r[i].state = s[i];
        s[i][0].test.p = s[i][0].p_holm = NAN;
        s[i][1].test.p = p[i];
    }
    assert_int_equal(mro_compare_holm((struct mro_compare_result *[]){ &r[0], &r[1], &r[2] }, 3, &e), MRO_OK);
    NEAR(s[1][1].p_holm, 0.03);
    NEAR(s[2][1].p_holm, 0.06);
    NEAR(s[0][1].p_holm, 0.06);
    assert_true(isnan(s[0][0].p_holm));
}

static void tables_that_cannot_answer(void **state)
{
    (void)state;
    struct mro_error e;
    /* States of one image. */
    add(0, 1);
    add(1, 2);
    compare();
    NEAR(t.result.state[1].ratio, 2);
    assert_true(isnan(t.result.state[1].ratio_ci95[0]) && isnan(t.result.state[1].test.p));
    expect_warning("B has one image");
    /* All zero, all equal. */
    begin(NULL);
    add_all(0, 3, (double[]){ 0, 0, 0 });
    add_all(1, 3, (double[]){ 0, 0, 0 });
    compare();
    assert_true(isnan(t.result.state[1].ratio) && isnan(t.result.state[1].ratio_ci95[1]));
    NEAR(t.result.state[1].test.p, 1);
    expect_warning("the mean of A is zero");
    begin(NULL);
    add_all(0, 3, (double[]){ 0.1, 0.1, 0.1 });
    add_all(1, 3, (double[]){ 0.1, 0.1, 0.1 });
    compare();
    NEAR(t.result.state[1].ratio, 1);
    assert_true(isnan(t.result.state[1].ratio_ci95[0]));
    NEAR(t.result.state[1].test.p, 1);
    /* Negative numbers have differences. */
    begin(NULL);
    add_all(0, 3, (double[]){ -1, 0, 1 });
    add_all(1, 3, (double[]){ 4, 5, 6 });
    compare();
    assert_true(isnan(t.result.state[1].ratio));
    NEAR(t.result.state[1].difference_ci95[1], 5 + T4 * sqrt(2.0 / 3));
    /* As many blocks as images. */
    begin(NULL);
    for (size_t i = 0; i < 2; i++) add(0, 1 + (double)i)->block = i, add(1, 3 + (double)i)->block = i;
    t.image[0].block = 2;
    compare();
    assert_true(isnan(t.result.state[1].ratio_ci95[0]));
    expect_warning("as many blocks as images");
    /* No images of a state; nothing at all. */
    begin(NULL);
    t.data.n_states = 3;
    add_all(0, 3, (double[]){ 1, 2, 3 });
    compare();
    assert_int_equal(t.result.state[2].n, 0);
    begin(NULL);
    compare();
    /* Wrong arguments. */
    begin(NULL);
    add(0, NAN);
    assert_int_equal(mro_compare(&t.data, &t.options, &t.result, &e), MRO_EARG);
    t.image[0].value = 1;
    t.image[0].state = 7;
    assert_int_equal(mro_compare(&t.data, &t.options, &t.result, &e), MRO_EARG);
    t.image[0].state = 0;
    t.options.reference = 2;
    assert_int_equal(mro_compare(&t.data, &t.options, &t.result, &e), MRO_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ratio_of_means, begin, end),
        cmocka_unit_test_setup_teardown(smallest_p, begin, end),
        cmocka_unit_test_setup_teardown(drawn_permutations, begin, end),
        cmocka_unit_test_setup_teardown(zeros_go_by_fieller, begin, end),
        cmocka_unit_test_setup_teardown(values_cut_off_at_zero_keep_their_error, begin, end),
        cmocka_unit_test_setup_teardown(own_errors_are_not_counted_twice, begin, end),
        cmocka_unit_test_setup_teardown(trend_with_strain, begin, end),
        cmocka_unit_test_setup_teardown(trend_of_specimens, begin, end),
        cmocka_unit_test_setup_teardown(trend_of_many, begin, end),
        cmocka_unit_test_setup_teardown(trend_that_bends, begin, end),
        cmocka_unit_test_setup_teardown(trend_weighs_by_known_errors, begin, end),
        cmocka_unit_test_setup_teardown(trend_of_equal_strains, begin, end),
        cmocka_unit_test_setup_teardown(blocks_are_compared_within, begin, end),
        cmocka_unit_test_setup_teardown(images_of_a_specimen_are_averaged, begin, end),
        cmocka_unit_test_setup_teardown(paired_specimens, begin, end),
        cmocka_unit_test_setup_teardown(thickness, begin, end),
        cmocka_unit_test_setup_teardown(holm_over_metrics, begin, end),
        cmocka_unit_test_setup_teardown(tables_that_cannot_answer, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The result of several frames against means done by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ops/mro/mro_pool.h"

static struct mro_order_result frame(double fraction, double lo, double hi, double p)
{
    struct mro_order_result r;
    memset(&r, 0, sizeof r);
    r.cells = 100;
    r.region_nm[2] = r.region_nm[3] = 16;
    r.fraction = fraction;
    r.fraction_ci95[0] = lo;
    r.fraction_ci95[1] = hi;
    r.fraction_raw = 2 * fraction;
    r.p_image = p;
    r.fraction_acf = NAN;
    r.coverage = 1;
    for (int i = 0; i < 3; i++) r.fraction_at_most[i] = (i + 1) * hi;
    return r;
}

static void near(double a, double b) { assert_true(fabs(a - b) < 1e-12); }

static void means_and_bounds(void **state)
{
    struct mro_order_pool pool = { 0 };
    struct mro_order_result r, a = frame(0.1, 0.05, 0.15, 0.0001), b = frame(0.2, 0.11, 0.27, 0.4);
    struct mro_order_object objects[] = { { .grade = 'A' }, { .grade = 'C' }, { .grade = 'A' } };
    (void)state;
    a.objects = objects;
    a.n_objects = 3;
    b.objects = objects;
    b.n_objects = 1;
    a.blemished = 0.04;
    b.interference = 0.003;
    mro_order_pool_add(&pool, &a);
    mro_order_pool_add(&pool, &b);
    mro_order_pool_result(&pool, &r);
    near(r.fraction, 0.15);
    near(r.fraction_ci95[0], 0.08);
    near(r.fraction_ci95[1], 0.21);
    for (int i = 0; i < 3; i++) near(r.fraction_at_most[i], (i + 1) * 0.21);
    near(r.fraction_raw, 0.3);
    near(r.p_image, 0.0002);
    assert_true(r.distinguishable);
    assert_true(isnan(r.fraction_acf));
    assert_int_equal(r.cells, 200);
    near(r.region_nm[2], 16);
    near(r.blemished, 0.02);
    near(r.interference, 0.0015);
    near(r.grade_fractions[0], 0.75);
    near(r.grade_fractions[1], 0);
    near(r.grade_fractions[2], 0.25);
    assert_int_equal(r.n_objects, 0);
    assert_non_null(strstr(r.verdict, "2 of 2 frames"));
    assert_non_null(strstr(r.verdict, "(p = 0.0002)"));
}

/* A frame that could not be measured lowers the count, not the fraction. */
static void unmeasured_frames_are_left_out(void **state)
{
    struct mro_order_pool pool = { 0 };
    struct mro_order_result r, a = frame(0.1, 0.05, 0.15, 0.9), b = frame(NAN, NAN, NAN, NAN);
    (void)state;
    b.region_nm[2] = 8;
    mro_order_pool_add(&pool, &b);
    mro_order_pool_add(&pool, &a);
    mro_order_pool_result(&pool, &r);
    near(r.fraction, 0.1);
    near(r.fraction_ci95[0], 0.05);
    near(r.fraction_at_most[1], 0.3);
    near(r.p_image, 1);
    assert_false(r.distinguishable);
    assert_true(isnan(r.region_nm[0]));
    assert_non_null(strstr(r.verdict, "1 of 2 frames"));
}

/* What could hide in all frames is not told where one of them tells how strong its fringes are. */
static void limits_are_of_all_frames(void **state)
{
    struct mro_order_pool pool = { 0 };
    struct mro_order_result r, a = frame(0.1, 0.05, 0.15, 0.9), b = frame(0.3, 0.2, 0.4, 0.0001);
    (void)state;
    for (int i = 0; i < 3; i++) b.fraction_at_most[i] = NAN;
    mro_order_pool_add(&pool, &a);
    mro_order_pool_add(&pool, &b);
    mro_order_pool_result(&pool, &r);
    near(r.fraction_ci95[1], 0.275);
    for (int i = 0; i < 3; i++) assert_true(isnan(r.fraction_at_most[i]));
}

static void nothing_measured(void **state)
{
    struct mro_order_pool pool = { 0 };
    struct mro_order_result r, a = frame(NAN, NAN, NAN, NAN);
    (void)state;
    mro_order_pool_add(&pool, &a);
    mro_order_pool_add(&pool, &a);
    mro_order_pool_result(&pool, &r);
    assert_true(isnan(r.fraction));
    assert_true(isnan(r.fraction_ci95[1]));
    assert_true(isnan(r.p_image));
    assert_false(r.distinguishable);
    assert_true(isnan(r.grade_fractions[0]));
}

/* However many frames, order in all of them stays visible, and in one of many it does not become so. */
static void p_of_many_frames(void **state)
{
    struct mro_order_result r, ordered = frame(0.2, 0.1, 0.3, MRO_ORDER_LEAST_P), glass = frame(0, 0, 0.1, 0.4);
    (void)state;
    for (size_t n = 1; n < 100; n++) {
        struct mro_order_pool all = { 0 }, one = { 0 };
        for (size_t i = 0; i < n; i++) {
            mro_order_pool_add(&all, &ordered);
            mro_order_pool_add(&one, i ? &glass : &ordered);
        }
        mro_order_pool_result(&all, &r);
        assert_true(r.distinguishable);
        assert_true(r.p_image >= (double)n / (double)((n + 15) / 16) * MRO_ORDER_LEAST_P - 1e-12);
        assert_non_null(strstr(r.verdict, "(p < "));
        mro_order_pool_result(&one, &r);
        assert_true(r.distinguishable == (n <= 16));
        assert_true((strstr(r.verdict, "(p < ") != NULL) == (n <= 16) && r.p_image_at_most == (n <= 16));
    }
}

/* A frame may lack a band, or be no measurement at all: bands are matched, and what all measured frames have is kept.
 */
static void sweeps_with_gaps(void **state)
{
    struct mro_order_pool pool = { 0 };
    struct mro_order_result r, a = frame(0.1, 0, 0.2, 0.5), b = frame(0.3, 0.2, 0.4, 0.5),
                               none = frame(NAN, NAN, NAN, NAN);
    struct mro_order_sweep one[] = { { { 4, 5 }, 0.1, { 0, 0.2 } },
                                     { { 4, 5.5 }, 0.5, { 0.4, 0.6 } },
                                     { { 4, 6 }, 0.2, { 0.1, 0.3 } } };
    struct mro_order_sweep two[] = { { { 4, 5 }, 0.3, { 0.2, 0.4 } }, { { 4, 6 }, 0.4, { 0.3, 0.5 } } };
    (void)state;
    a.sweep = one;
    a.n_sweep = 3;
    b.sweep = two;
    b.n_sweep = 2;
    mro_order_pool_add(&pool, &none);
    mro_order_pool_add(&pool, &a);
    mro_order_pool_add(&pool, &b);
    mro_order_pool_result(&pool, &r);
    assert_int_equal(r.n_sweep, 2);
    near(r.sweep[0].fraction, 0.2);
    near(r.sweep[1].band_inv_nm[1], 6);
    near(r.sweep[1].fraction, 0.3);
    near(r.sweep[1].fraction_ci95[0], 0.2);
}

static void sweeps_are_averaged_band_by_band(void **state)
{
    struct mro_order_pool pool = { 0 };
    struct mro_order_result r, a = frame(0.1, 0.05, 0.15, 0.9), b = a;
    struct mro_order_sweep one[] = { { { 4, 5 }, 0.1, { 0, 0.2 } }, { { 4, 6 }, 0.2, { 0.1, 0.3 } } };
    struct mro_order_sweep two[] = { { { 4, 5 }, 0.3, { 0.2, 0.4 } }, { { 4, 6 }, NAN, { NAN, NAN } } };
    (void)state;
    a.sweep = one;
    b.sweep = two;
    a.n_sweep = b.n_sweep = 2;
    mro_order_pool_add(&pool, &a);
    mro_order_pool_add(&pool, &b);
    mro_order_pool_result(&pool, &r);
    assert_int_equal(r.n_sweep, 2);
    near(r.sweep[0].fraction, 0.2);
    near(r.sweep[0].fraction_ci95[1], 0.3);
    assert_true(isnan(r.sweep[1].fraction));
    near(r.sweep[1].band_inv_nm[1], 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_and_bounds),
        cmocka_unit_test(unmeasured_frames_are_left_out),
        cmocka_unit_test(limits_are_of_all_frames),
        cmocka_unit_test(nothing_measured),
        cmocka_unit_test(sweeps_are_averaged_band_by_band),
        cmocka_unit_test(sweeps_with_gaps),
        cmocka_unit_test(p_of_many_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Maps of indents: tables of every kind, the numbers by hand, intervals, structure, noise, bins. */
#include <stdio.h>

#include "fields.h"
#include "mroscope/indent.h"

static struct mro_indent_table table_of(const char *text)
{
    static const struct mro_indent_table_options none;
    struct mro_indent_table t;
    struct mro_error e;
    ok(mro_indent_table(&t, text, strlen(text), "table", &none, &e), &e);
    return t;
}

static struct mro_indent_result measured(const char *text, enum mro_indent_edge edge)
{
    struct mro_indent_table t = table_of(text);
    struct mro_indent_options o;
    struct mro_indent_result r;
    struct mro_error e;
    mro_indent_options_default(&o);
    o.edge = edge;
    ok(mro_indent_measure(&t, "table", &o, &r, &e), &e);
    mro_indent_table_release(&t);
    return r;
}

static void refuses(const char *text, enum mro_code code, const char *part)
{
    static const struct mro_indent_table_options none;
    struct mro_indent_table t;
    struct mro_error e;
    const enum mro_code rc = mro_indent_table(&t, text, strlen(text), "table", &none, &e);
    if (rc != code) fail_msg("'%s' gave %d: %s", text, rc, rc ? e.message : "read");
    if (strstr(e.message, part) == NULL) fail_msg("'%s' is not in: %s", part, e.message);
}

static void tables_are_read(void **state)
{
    (void)state;
    struct mro_indent_table t = table_of("H [GPa]\r\n8,5;9,1;\r\n8,7;nan;9,3\r\n");
    assert_true(t.n == 4 && t.holes == 2 && t.source == MRO_INDENT_ORDER);
    assert_string_equal(t.unit, "GPa");
    near(t.value[3], 9.3, 0);
    near(t.x[3], 2, 0);
    near(t.y[3], 1, 0);
    mro_indent_table_release(&t);
    t = table_of("X (um),Y [mm],Load (mN),Hardness GPa\n0,0,10,9.1\n20,0,10,\n20,0.01,10,9.3\n");
    assert_true(t.n == 2 && t.holes == 1 && t.source == MRO_INDENT_TABLE);
    assert_string_equal(t.unit, "GPa");
    near(t.x[1], 20000, 1e-9);
    near(t.y[1], 10000, 1e-9);
    mro_indent_table_release(&t);
    t = table_of("y/x (um),0,10,20\n0,9.1,9.2,9.3\n30,8.1,8.2,8.3\n");
    assert_true(t.n == 6 && t.source == MRO_INDENT_TABLE);
    near(t.x[5], 20000, 1e-9);
    near(t.y[5], 30000, 1e-9);
    mro_indent_table_release(&t);
    t = table_of("9.1 9.2\n 9.3  9.4\n"); /* blanks */
    assert_true(t.n == 4 && t.n_warnings >= 1);
    mro_indent_table_release(&t);
    t = table_of("Test;H (GPa);E (GPa)\n1;9,1;120\n2;9,2;118\n");
    assert_true(t.n == 2 && t.source == MRO_INDENT_NOWHERE);
    near(t.value[1], 9.2, 0);
    mro_indent_table_release(&t);

    refuses("", MRO_EFORMAT, "no numbers");
    refuses("nothing,here\n", MRO_EDATA, "no values");
    refuses("9.1,9.2\n9.3,soft\n", MRO_EDATA, "line 2, column 2 holds 'soft'");
    refuses("8,745,9,105\n8,866,9,139\n", MRO_EDATA, "decimal commas");
    refuses("9.1,-9.2\n9.3,9.4\n", MRO_EDATA, "above 0");
    refuses("9.1,0\n9.3,9.4\n", MRO_EDATA, "above 0");
    refuses("1,2,3,4,5\n1\n1,2,3,4,5\n", MRO_EDATA, "line 2 has 1 cell");
    refuses("x (um),H (GPa)\n1,9\n2,9\n", MRO_EFORMAT, "none of y");
    refuses("x (um),y,H (GPa)\n1,1,9\n2,2,9\n", MRO_ECALIB, "unit");
    refuses("-,-\n-,-\n", MRO_EDATA, "no values");

    double pitch[2];
    struct mro_error e;
    ok(mro_indent_pitch("10um,500 nm", pitch, &e), &e);
    assert_true(pitch[1] == 10000 && pitch[0] == 500);
    ok(mro_indent_pitch("1e1um", pitch, &e), &e);
    assert_true(pitch[1] == 10000 && pitch[0] == 10000);
    static const char *const wrong[] = { "", "10", "um", "-5um", "0nm", "10um,", "10um,2um,3um", "10 GPa" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(mro_indent_pitch(wrong[i], pitch, &e), MRO_EARG);
}

static void numbers_by_hand(void **state)
{
    (void)state;
    struct mro_indent_result r = measured("1;2;3\n4;5;6\n7;8;9\n", MRO_INDENT_LEFT);
    near(r.mean, 5, 1e-12);
    near(r.sd, sqrt(7.5), 1e-12);
    near(r.fwhm, 2.3548200450309493 * sqrt(7.5), 1e-12);
    /* Twelve pairs; their products of deviations add up to 20; squares to 60. */
    double sum = 0;
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++) {
            const double z = 3 * y + x - 4;
            if (x < 2) sum += z * (z + 1);
            if (y < 2) sum += z * (z + 3);
        }
    assert_int_equal(r.pairs, 12);
    near(r.moran_i, 9 * sum / (12 * 60), 1e-12);
    assert_true(r.moran_p < 0.05 && r.grid_nx == 3 && r.n_bins == 3);
    near(r.bin[2].mean, 6, 1e-12);
    near(r.mean_trend.slope, 1, 1e-12);
    assert_true(isnan(r.fwhm_true));
    mro_indent_result_release(&r);

    r = measured("9.1\n", MRO_INDENT_NONE);
    assert_true(r.n == 1 && isnan(r.sd) && isnan(r.fwhm) && isnan(r.moran_i) && r.mean == 9.1 && r.n_warnings >= 2);
    mro_indent_result_release(&r);

    /* Repeats: their scatter is noise, and their means are the map. */
    r = measured("x (um),y (um),H (GPa)\n0,0,8\n0,0,10\n10,0,11\n10,0,13\n", MRO_INDENT_NONE);
    assert_true(r.places == 2 && r.n == 4);
    near(r.mean, 10.5, 1e-12);
    near(r.noise_sd, sqrt(2), 1e-12);
    near(r.sd_true, sqrt(4.5 - 1), 1e-12);
    mro_indent_result_release(&r);

    /* One place of four was repeated: the others keep all of their noise. */
    r = measured("x (um),y (um),H (GPa)\n0,0,9.9\n0,0,10\n0,0,10.1\n10,0,9\n0,10,11\n10,10,12\n", MRO_INDENT_NONE);
    assert_true(r.places == 4 && r.n == 6);
    near(r.noise_sd, 0.1, 1e-12);
    near(r.sd_true, sqrt(5.0 / 3 - 0.01 * (3 + 1 / 3.0) / 4), 1e-12);
    assert_true(r.fwhm_true_ci95[0] < r.fwhm_true && r.fwhm_true < r.fwhm_true_ci95[1]);
    mro_indent_result_release(&r);

    /* More noise than scatter: no spread, and never 0, but what it can be at most. */
    r = measured("x (um),y (um),H (GPa)\n0,0,9\n0,0,11\n10,0,10\n0,10,10.1\n10,10,9.9\n", MRO_INDENT_NONE);
    assert_true(isnan(r.sd_true) && isnan(r.fwhm_true) && r.fwhm_true_ci95[0] == 0);
    mro_indent_result_release(&r);
}

/* The interval of the true spread knows how well the noise is known. */
static void true_spread_covers(void **state)
{
    enum { PLACES = 60, REPEATS = 10, MAPS = 300 };
    size_t holds = 0;
    struct mro_indent_options o;
    (void)state;
    mro_indent_options_default(&o);
    o.permutations = 199;
    for (uint64_t k = 0; k < MAPS; k++) {
        double v[PLACES + REPEATS], x[PLACES + REPEATS], y[PLACES + REPEATS];
        struct mro_indent_table t = {
            .n = PLACES + REPEATS, .value = v, .x = x, .y = y, .placed = true, .source = MRO_INDENT_TABLE
        };
        struct mro_indent_result r;
        struct mro_error e;
        for (size_t i = 0; i < PLACES + REPEATS; i++) {
            const size_t place = i < PLACES ? i : PLACES - 1; /* the last one is repeated */
            v[i] = 9 + 0.3 * normal_of(2000 + k, place) + 0.3 * normal_of(5000 + k, i);
            x[i] = 1e4 * (double)(place % 10);
            y[i] = 1e4 * (double)(place / 10);
        }
        ok(mro_indent_measure(&t, "repeats", &o, &r, &e), &e);
        holds += r.fwhm_true_ci95[0] < 0.3 * 2.35482 && r.fwhm_true_ci95[1] > 0.3 * 2.35482;
        mro_indent_result_release(&r);
    }
    if (holds < 276 || holds > 297) fail_msg("%zu of %d intervals hold the true spread", holds, MAPS);
}

static void holes_and_grids(void **state)
{
    (void)state;
    /* Columns 10 um and rows 25 um apart, one place missing, given in no order. */
    struct mro_indent_result r =
        measured("x (um);y (um);H (GPa)\n10;25;5\n0;0;1\n20;0;3\n0;25;4\n20;25;6\n", MRO_INDENT_TOP);
    assert_true(r.grid_nx == 3 && r.grid_ny == 2 && r.places == 5);
    near(r.pitch[1], 10000, 1e-6);
    near(r.pitch[0], 25000, 1e-6);
    assert_true(isnan(r.grid[1]) && r.grid[0] == 1 && r.grid[5] == 6 && r.pairs == 4);
    near(r.bin[1].distance, 25000, 1e-6);
    mro_indent_result_release(&r);
    /* Three places, one far away: not a grid of 30001 x 30001. */
    r = measured("x (um);y (um);H (GPa)\n0;0;9\n1;1;9,1\n30000;30000;9,2\n", MRO_INDENT_TOP);
    assert_true(r.grid == NULL && r.places == 3);
    mro_indent_result_release(&r);
    char text[4096] = "x (um),y (um),H (GPa)\n";
    size_t n = strlen(text);
    for (uint64_t i = 0; i < 40; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.3f,%.3f,%.3f\n", 50 + 15 * normal_of(1, i),
                              50 + 15 * normal_of(2, i), 9 + 0.1 * normal_of(3, i));
    r = measured(text, MRO_INDENT_NONE);
    assert_true(r.grid == NULL && r.pairs > 10 && isfinite(r.moran_p));
    mro_indent_result_release(&r);
    /* A value that stands for none: between the points of a grid that reaches there are all the others. */
    snprintf(text + n, sizeof text - n, "50,50,2147483647\n");
    r = measured(text, MRO_INDENT_NONE);
    assert_true(r.places == 41 && isnan(r.fwhm_kernel));
    mro_indent_result_release(&r);
}

/* Of maps of white values the intervals hold the truth in 95 of 100, and few have structure. */
static void intervals_cover(void **state)
{
    enum { SIDE = 10, MAPS = 200 };
    size_t width = 0, mean = 0, structure = 0;
    struct mro_indent_options o;
    (void)state;
    mro_indent_options_default(&o);
    o.permutations = 199;
    for (uint64_t k = 0; k < MAPS; k++) {
        double v[SIDE * SIDE], x[SIDE * SIDE], y[SIDE * SIDE];
        struct mro_indent_table t = { .n = SIDE * SIDE, .value = v, .x = x, .y = y, .source = MRO_INDENT_ORDER };
        struct mro_indent_result r;
        struct mro_error e;
        for (size_t i = 0; i < SIDE * SIDE; i++) {
            v[i] = 9 + normal_of(500 + k, i);
            x[i] = (double)(i % SIDE);
            y[i] = (double)(i / SIDE);
        }
        ok(mro_indent_measure(&t, "white", &o, &r, &e), &e);
        width += r.fwhm_ci95[0] < 2.35482 && r.fwhm_ci95[1] > 2.35482;
        mean += r.mean_ci95[0] < 9 && r.mean_ci95[1] > 9;
        structure += r.moran_p < 0.05;
        mro_indent_result_release(&r);
    }
    assert_true(width >= 180 && width <= 198);
    assert_true(mean >= 180 && mean <= 198);
    assert_true(structure >= 3 && structure <= 20);
}

/* The same of maps whose neighbours are alike: white values smoothed over a cell. Their bins differ, as neighbours do,
 * and few have a trend for all that; a trend that is there is found. */
static void intervals_of_smooth_maps_cover(void **state)
{
    enum { SIDE = 10, REACH = 3, WHOLE = SIDE + 2 * REACH, MAPS = 60 };
    size_t width = 0, mean = 0, bins = 0, bin_mean = 0, bin_width = 0, trend = 0, width_trend = 0, found = 0;
    double weight[2 * REACH + 1], energy = 0;
    struct mro_indent_options o;
    (void)state;
    mro_indent_options_default(&o);
    o.permutations = 199;
    o.edge = MRO_INDENT_LEFT;
    for (int i = -REACH; i <= REACH; i++) energy += pow(weight[i + REACH] = exp(-0.5 * i * i), 2);
    for (uint64_t k = 0; k < MAPS; k++) {
        double v[SIDE * SIDE], x[SIDE * SIDE], y[SIDE * SIDE];
        struct mro_indent_table t = { .n = SIDE * SIDE, .value = v, .x = x, .y = y, .source = MRO_INDENT_ORDER };
        struct mro_indent_result r;
        struct mro_error e;
        for (size_t i = 0; i < SIDE * SIDE; i++) {
            v[i] = 9;
            x[i] = (double)(i % SIDE);
            y[i] = (double)(i / SIDE);
            for (size_t b = 0; b <= 2 * REACH; b++)
                for (size_t a = 0; a <= 2 * REACH; a++)
                    v[i] += weight[a] * weight[b] / energy * normal_of(9000 + k, (i / SIDE + b) * WHOLE + i % SIDE + a);
        }
        ok(mro_indent_measure(&t, "smooth", &o, &r, &e), &e);
        assert_true(r.moran_p < 0.01 && r.n_effective > 3 && r.n_effective < 60);
        width += r.fwhm_ci95[0] < 2.35482 && r.fwhm_ci95[1] > 2.35482;
        mean += r.mean_ci95[0] < 9 && r.mean_ci95[1] > 9;
        bins += r.n_bins;
        for (size_t i = 0; i < r.n_bins; i++) {
            bin_mean += r.bin[i].mean_ci95[0] < 9 && r.bin[i].mean_ci95[1] > 9;
            bin_width += r.bin[i].fwhm_ci95[0] < 2.35482 && r.bin[i].fwhm_ci95[1] > 2.35482;
        }
        trend += r.mean_trend.p < 0.05;
        width_trend += r.fwhm_trend.p < 0.05;
        assert_true((r.mean_trend.p < 0.05) == (r.mean_trend.slope_ci95[0] > 0 || r.mean_trend.slope_ci95[1] < 0));
        mro_indent_result_release(&r);
        if (k % 5) continue;
        for (size_t i = 0; i < SIDE * SIDE; i++) v[i] += 0.6 * x[i];
        ok(mro_indent_measure(&t, "smooth", &o, &r, &e), &e);
        found += r.mean_trend.p < 0.05 && r.mean_trend.slope > 0;
        mro_indent_result_release(&r);
    }
    if (width < 53 || mean < 53)
        fail_msg("of %d maps %zu intervals of the width hold, %zu of the mean", MAPS, width, mean);
    if (bin_mean < 0.85 * (double)bins || bin_width < 0.9 * (double)bins)
        fail_msg("of %zu bins %zu intervals of the mean hold, %zu of the width", bins, bin_mean, bin_width);
    if (trend > 9 || width_trend > 6 || found < 9)
        fail_msg("of %d maps without a trend %zu have one of the mean, %zu of the width; of %d with one %zu", MAPS,
                 trend, width_trend, MAPS / 5, found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_read),
        cmocka_unit_test(numbers_by_hand),
        cmocka_unit_test(holes_and_grids),
        cmocka_unit_test(intervals_cover),
        cmocka_unit_test(intervals_of_smooth_maps_cover),
        cmocka_unit_test(true_spread_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

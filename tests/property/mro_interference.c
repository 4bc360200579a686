/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waves of one frequency on all of a field, and noise that rows or columns share, are no order, however strong: speckle
 * stays speckle, and order is measured as without them. Crystals, which are smaller than the field, stay. */
#include "spheres.h"

#include <stdio.h>

enum { PICKUP, GAIN, TWO, WANDERING, RULED, ROWS, COLUMNS, KINDS };
static const char *const names[KINDS] = { "pickup",      "a wave of gain", "two waves",      "a wandering wave",
                                          "ruled lines", "noise of rows",  "gain of columns" };

static double normal(uint64_t stream, uint64_t i)
{
    const mro_philox_block b = mro_philox(77, stream, i);
    return mro_normal_pair(b.v[0], b.v[1]).re;
}

/* Adds interference of random frequency, within the pass band or a little beyond, angle and amplitude: from what
 * nothing could see, 0.03 % of the brightness, to 30 %. Every third image is a wedge as well. */
static void interfere(struct mro_image *im, int kind, uint64_t i)
{
    const double amplitude = 3e-4 * pow(1000, uniform(i, 1)), wedge = i % 3 ? 0 : 0.5 * (uniform(i, 2) - 0.5);
    const double q = 3.6 + 2.6 * uniform(i, 3), other = 3.6 + 2.6 * uniform(i, 4), ruled = 2.1 + 0.75 * uniform(i, 5);
    /* One in four lies on an axis. */
    const double angle = i % 4 ? MRO_PI * uniform(i, 6) : i % 8 ? 0 : 0.5 * MRO_PI, second = MRO_PI * uniform(i, 7);
    for (size_t k = 0; k < (size_t)N * N; k++) {
        const double y = (double)(k / N) * PIXEL, x = (double)(k % N) * PIXEL;
        const double turn = 2 * MRO_PI * (q * (sin(angle) * y + cos(angle) * x) + uniform(i, 8));
        double more = 0, gain = 1 + wedge * (x / FIELD - 0.5);
        switch (kind) {
        case PICKUP: more = cos(turn); break;
        case GAIN: gain *= 1 + amplitude * cos(turn); break;
        case TWO: more = cos(turn) + 0.7 * cos(2 * MRO_PI * other * (sin(second) * y + cos(second) * x)); break;
        case WANDERING: more = cos(turn + 0.25 * sin(2 * MRO_PI * 1.3 * y / FIELD)); break;
        case RULED: more = (double)(fmod(ruled * x, 1) < 0.15) + (double)(fmod(ruled * y, 1) < 0.15); break;
        case ROWS: more = normal(2 * i, k / N); break;
        default: gain *= 1 + amplitude * normal(2 * i + 1, k % N); break;
        }
        im->px[k] = (float)((double)im->px[k] * gain + 1000 * amplitude * more);
    }
}

static bool warned(const struct mro_order_result *r, const char *of)
{
    for (size_t i = 0; i < r->n_warnings; i++)
        if (strstr(r->warnings[i], of)) return true;
    return false;
}

static void speckle_with_interference_is_speckle(void **state)
{
    enum { FIELDS = 16 };
    size_t low = 0, clean_low = 0;
    double all = 0, clean_all = 0;
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        double flagged = 0;
        size_t found = 0;
        for (uint64_t i = 0; i < FIELDS; i++) {
            struct mro_image im = { 0 };
            struct mro_order_result clean, r;
            make_field(&im, 5000 + 100 * (uint64_t)kind + i, 0, 2.2, NULL);
            ok(mro_order_measure(plan, &im, "clean", &clean, &e), &e);
            interfere(&im, kind, 1000 * (uint64_t)(kind + 1) + i);
            ok(mro_order_measure(plan, &im, names[kind], &r, &e), &e);
            assert_true(clean.interference == 0);
            assert_false(r.distinguishable);
            assert_true(r.interference < 0.1 && r.coverage > 0.99);
            assert_true((r.interference > 0) == (warned(&r, "fills the field") || warned(&r, "of pixels share")));
            found += r.interference > 0;
            low += r.p_image < 0.05;
            clean_low += clean.p_image < 0.05;
            flagged += r.fraction_raw / FIELDS;
            clean_all += clean.fraction_raw / (FIELDS * KINDS);
            mro_order_result_release(&clean);
            mro_order_result_release(&r);
            mro_image_release(&im);
        }
        print_message("%s in speckle: taken out of %zu of %d, %.2f %% of the cells flagged\n", names[kind], found,
                      FIELDS, 100 * flagged);
        assert_true(found > 0 && found < FIELDS);
        all += flagged / KINDS;
    }
    print_message("all: %.2f %% of the cells flagged, %zu below p 0.05; %.2f %% and %zu without\n", 100 * all, low,
                  100 * clean_all, clean_low);
    assert_true(all < 1.1 * clean_all); /* eight times as many when it was not looked for */
    assert_true(low <= clean_low + 4);
}

static void order_with_interference_is_measured(void **state)
{
    enum { FIELDS = 6 };
    size_t covered = 0;
    double change = 0;
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (uint64_t i = 0; i < FIELDS; i++) {
            struct mro_image im = { 0 };
            struct disc discs[MOST];
            struct mro_order_result clean, r;
            const size_t n = make_field(&im, 6000 + 100 * (uint64_t)kind + i, 14, 2.2, discs);
            ok(mro_order_measure(plan, &im, "clean", &clean, &e), &e);
            interfere(&im, kind, 1000 * (uint64_t)(kind + 1) + i);
            ok(mro_order_measure(plan, &im, names[kind], &r, &e), &e);
            const double truth = planted(discs, n, r.region_nm);
            assert_true(clean.interference == 0);
            assert_true(r.distinguishable);
            assert_true(r.fraction >= clean.fraction_ci95[0] && r.fraction <= clean.fraction_ci95[1]);
            covered += r.fraction_ci95[0] <= truth && truth <= r.fraction_ci95[1];
            change += fabs(r.fraction / clean.fraction - 1) / (FIELDS * KINDS);
            mro_order_result_release(&clean);
            mro_order_result_release(&r);
            mro_image_release(&im);
        }
    print_message("order with interference: %zu of %d intervals cover, fractions move by %.1f %% in the mean\n",
                  covered, FIELDS * KINDS, 100 * change);
    assert_true(covered >= FIELDS * KINDS * 95 / 100);
    assert_true(change < 0.05);
}

/* Crystals of a third of the field, and one that covers half of it. */
static void crystals_are_no_interference(void **state)
{
    enum { FIELDS = 16 };
    const double sizes[2] = { 4, 7 };
    (void)state;
    for (uint64_t i = 0; i < FIELDS; i++) {
        struct mro_image im = { 0 };
        struct disc discs[MOST];
        struct mro_order_result r;
        make_mixed(&im, 7000 + i, 6, 3, sizes, 2.2, discs);
        ok(mro_order_measure(plan, &im, "crystals", &r, &e), &e);
        assert_true(r.distinguishable && r.interference == 0);
        mro_order_result_release(&r);
        mro_image_release(&im);
        make_field(&im, 7000 + i, 0, 2.2, NULL);
        const double angle = MRO_PI * uniform(i, 9), strength = 0.06 * pow(5, uniform(i, 10));
        for (size_t k = 0; k < (size_t)N * N; k++) {
            const double y = (double)(k / N) * PIXEL, x = (double)(k % N) * PIXEL;
            const double turn = 2 * MRO_PI * 4.93 * (sin(angle) * y + cos(angle) * x);
            if (hypot(y - 8, x - 8) < 6.4) im.px[k] += (float)(1000 * strength * cos(turn));
        }
        ok(mro_order_measure(plan, &im, "half", &r, &e), &e);
        assert_true(r.distinguishable && r.interference == 0);
        mro_order_result_release(&r);
        mro_image_release(&im);
    }
}

/* What fills the field may be a crystal: the warning says where it is, and the verdict that it was left out. */
static void what_fills_the_field_is_told(void **state)
{
    struct mro_image im = { 0 };
    struct mro_order_result r;
    (void)state;
    make_field(&im, 8000, 0, 2.2, NULL);
    for (size_t k = 0; k < (size_t)N * N; k++)
        im.px[k] += (float)(50 * cos(2 * MRO_PI * PIXEL * (3.9 * (double)(k / N) - 3.0 * (double)(k % N))));
    ok(mro_order_measure(plan, &im, "filled", &r, &e), &e);
    assert_true(warned(&r, "nm^-1 at 127.6 degrees"));
    assert_true(warned(&r, "mroscope lattice"));
    assert_non_null(strstr(r.verdict, "fringes of 0.203 nm fill the field, of interference or of one crystal"));
    assert_false(r.distinguishable);
    assert_true(r.fraction < 0.1 && r.fraction_at_most[1] < 1 && r.fraction_ci95[1] == 1);
    near(r.interference, 6.0 / 8000, 1.0 / 8000);
    mro_order_result_release(&r);
    mro_image_release(&im);
}

/* Adds a wave of 5 % of a spatial frequency at an angle, to what is left of a column. */
static void add_wave(struct mro_image *im, double q, double degrees, size_t end)
{
    const double angle = degrees * MRO_PI / 180;
    for (size_t k = 0; k < (size_t)N * N; k++) {
        const double y = (double)(k / N) * PIXEL, x = (double)(k % N) * PIXEL;
        if (k % N < end) im->px[k] += (float)(50 * cos(2 * MRO_PI * q * (sin(angle) * y + cos(angle) * x)));
    }
}

/* A field of speckle with waves of these spatial frequencies, at these angles. */
static void measure_waves(size_t n, const double q[], const double degrees[], struct mro_order_result *r)
{
    struct mro_image im = { 0 };
    make_field(&im, 8100, 0, 2.2, NULL);
    for (size_t i = 0; i < n; i++) add_wave(&im, q[i], degrees[i], N);
    ok(mro_order_measure(plan, &im, "waves", r, &e), &e);
    mro_image_release(&im);
}

/* Waves that make a lattice are of a crystal, which is no glass; along the axes of the detector, or of no common
 * lattice, they are interference. */
static void lattice_on_the_whole_field_is_a_crystal(void **state)
{
    /* bcc Fe along [001] and [111], and an oblique lattice. */
    static const double crystal_q[3][3] = { { 4.93, 4.93 }, { 4.93, 4.93, 4.93 }, { 4.9, 5.3, 4.3 } },
                        crystal_degrees[3][3] = { { 20, 110 }, { 20, 80, 140 }, { 20, 69.677, 129.996 } };
    /* Along the axes, of a pattern of eight pixels, nearly at right angles, also beside another, and of no common
     * lattice. */
    static const double noise_q[5][3] = { { 4.93, 4.93 },
                                          { 5.59017, 5.59017 },
                                          { 4.93, 4.95 },
                                          { 4.93, 4.95, 4.4 },
                                          { 4.4, 5.3, 4.8 } },
                        noise_degrees[5][3] = {
                            { 0, 90 }, { 26.5651, 116.5651 }, { 20, 108.5 }, { 20, 108.5, 47 }, { 20, 64, 100 }
                        };
    struct mro_order_result r;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        measure_waves(i ? 3 : 2, crystal_q[i], crystal_degrees[i], &r);
        print_message("%s\n", r.verdict);
        assert_true(r.distinguishable && r.interference == 0 && r.fraction == 1 && r.fraction_ci95[0] > 0.9);
        assert_non_null(strstr(r.verdict, "one crystal fills the field"));
        assert_true(warned(&r, "mroscope lattice"));
        mro_order_result_release(&r);
    }
    static const double other_q[3] = { 5.7, 5.7, 5.7 };
    measure_waves(3, other_q, crystal_degrees[1], &r);
    assert_true(!r.distinguishable && r.interference == 0 && r.fraction < 0.1);
    assert_non_null(strstr(r.verdict, "a crystal with fringes of 0.175 nm, which are not looked for, fills the field"));
    mro_order_result_release(&r);
    for (size_t i = 0; i < 5; i++) {
        measure_waves(i < 3 ? 2 : 3, noise_q[i], noise_degrees[i], &r);
        assert_true(!r.distinguishable && r.interference > 0);
        mro_order_result_release(&r);
    }
}

/* Interference is taken out beside a crystal of half of the field as it is without one. */
static void interference_beside_a_crystal_is_taken_out(void **state)
{
    struct mro_image im = { 0 };
    struct mro_order_result r[2];
    (void)state;
    make_field(&im, 8200, 0, 2.2, NULL);
    for (int i = 0; i < 3; i++) add_wave(&im, 4.93, 20 + 60 * i, N / 2);
    for (int i = 0; i < 2; i++) {
        ok(mro_order_measure(plan, &im, "half", &r[i], &e), &e);
        assert_true(r[i].distinguishable && (r[i].interference > 0) == (i > 0));
        add_wave(&im, 4.4, 47, N);
    }
    near(r[1].fraction, r[0].fraction, 0.02);
    for (int i = 0; i < 2; i++) mro_order_result_release(&r[i]);
    mro_image_release(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speckle_with_interference_is_speckle),
        cmocka_unit_test(order_with_interference_is_measured),
        cmocka_unit_test(crystals_are_no_interference),
        cmocka_unit_test(what_fills_the_field_is_told),
        cmocka_unit_test(lattice_on_the_whole_field_is_a_crystal),
        cmocka_unit_test(interference_beside_a_crystal_is_taken_out),
    };
    return cmocka_run_group_tests(tests, make_plan, free_plan);
}

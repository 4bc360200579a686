/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is no specimen is not called order: steps of brightness, padding, bars with text, masks, dead columns and dust
 * in speckle leave it speckle, and the order beside them is measured as without them. */
#include "spheres.h"

static void set(struct mro_image *im, size_t y0, size_t x0, size_t ny, size_t nx, float value)
{
    for (size_t y = y0; y < y0 + ny; y++)
        for (size_t x = x0; x < x0 + nx; x++) im->px[y * N + x] = value;
}

/* Brighter on one side of a line across the image. */
static void step(struct mro_image *im, double factor, double slope)
{
    for (size_t i = 0; i < (size_t)N * N; i++)
        if ((double)(i % N) > 0.45 * N + slope * (double)(i / N)) im->px[i] *= (float)factor;
}
static void step_of_two(struct mro_image *im) { step(im, 2, 0); }
static void oblique_step_of_four(struct mro_image *im) { step(im, 4, 0.3); }

static void padding(struct mro_image *im)
{
    set(im, 0, 0, 37, N, 0);
    set(im, 0, 0, N, 20, 0);
}

static void scale_bar(struct mro_image *im)
{
    set(im, 280, 200, 8, 90, 3000);
    for (size_t i = 0; i < 4; i++) { /* letters */
        set(im, 255, 210 + 20 * i, 18, 3, 3000);
        set(im, 255 + 5 * i, 210 + 20 * i, 3, 12, 3000);
    }
}

static void beam_stop(struct mro_image *im)
{
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++)
            if (hypot((double)y - 140, (double)x - 150) < 45 || (x < 150 && y > 130 && y < 150)) im->px[y * N + x] = 0;
}

/* Hot and dead pixels, four to six side by side and above one another. */
static void hot_clusters(struct mro_image *im)
{
    for (size_t i = 0; i < 8; i++) set(im, 25 + 37 * i, 20 + 83 * i % 280, 4 + i % 3, 4 + i % 3, i % 2 ? 0 : 6000);
}

/* The bar of an instrument below the image, with text. */
static void data_bar(struct mro_image *im)
{
    set(im, 290, 0, 30, N, 0);
    for (size_t i = 0; i < 12; i++) {
        set(im, 298, 12 + 20 * i, 14, 2, 3000);
        set(im, 298 + i % 3 * 6, 12 + 20 * i, 2, 9, 3000);
    }
}

static void dust(struct mro_image *im)
{
    for (size_t i = 0; i < (size_t)N * N; i++)
        for (size_t k = 0; k < 3; k++)
            if (hypot((double)(i / N) - 80 - 70 * (double)k, (double)(i % N) - 220 + 60 * (double)k) < 14)
                im->px[i] *= 0.2f;
}

/* No specimen on a third: no speckle, but noise. */
static void hole(struct mro_image *im)
{
    for (size_t i = 0; i < (size_t)N * N; i++)
        if ((double)(i % N) < 0.25 * N + 0.1 * (double)(i / N)) im->px[i] = 1700 + 100 * normal_of(17, i);
}

static const struct {
    const char *what;
    void (*draw)(struct mro_image *im);
} blemishes[] = {
    { "a step of 2", step_of_two },
    { "an oblique step of 4", oblique_step_of_four },
    { "padding", padding },
    { "a scale bar", scale_bar },
    { "a beam stop", beam_stop },
    { "hot clusters", hot_clusters },
    { "a data bar", data_bar },
    { "dust", dust },
    { "a hole", hole },
};
enum { BLEMISHES = sizeof blemishes / sizeof *blemishes };

static bool warned(const struct mro_order_result *r)
{
    for (size_t i = 0; i < r->n_warnings; i++)
        if (strstr(r->warnings[i], "of the image is left out")) return true;
    return false;
}

/* The share of the cells that were measured which lies in planted spheres. */
static double planted_in_cells(const struct disc *s, size_t n, const struct mro_order_map *m)
{
    enum { EACH = 6 };
    size_t in = 0, all = 0;
    for (size_t i = 0; i < m->ny * m->nx * EACH * EACH; i++) {
        const size_t row = i / (m->nx * EACH), column = i % (m->nx * EACH);
        if (isnan(m->v[row / EACH * m->nx + column / EACH])) continue;
        const double y = m->y0_nm + (((double)row + 0.5) / EACH - 0.5) * m->step_y_nm,
                     x = m->x0_nm + (((double)column + 0.5) / EACH - 0.5) * m->step_x_nm;
        in += in_discs(s, n, y, x);
        all++;
    }
    return (double)in / (double)all;
}

static void blemished_speckle_is_called_speckle(void **state)
{
    enum { FIELDS = 10 };
    (void)state;
    for (size_t k = 0; k < BLEMISHES; k++) {
        double flagged = 0, coverage = 0;
        size_t low = 0;
        for (uint64_t i = 0; i < FIELDS; i++) {
            struct mro_image im = { 0 };
            struct mro_order_result r;
            make_field(&im, 7000 + i, 0, 2.2, NULL);
            blemishes[k].draw(&im);
            ok(mro_order_measure(plan, &im, blemishes[k].what, &r, &e), &e);
            assert_true(warned(&r));
            assert_true(r.blemished > 0.001 && r.blemished < 0.35);
            assert_true(r.coverage > 0.3 && r.coverage < 0.97);
            assert_false(r.distinguishable);
            assert_true(r.fraction_ci95[0] <= 0);
            low += r.p_image < 0.05;
            flagged += r.fraction_raw / FIELDS;
            coverage += r.coverage / FIELDS;
            mro_order_result_release(&r);
            mro_image_release(&im);
        }
        print_message("%s in speckle: %.2f %% of the cells flagged, %zu of %d below p 0.05, coverage %.2f\n",
                      blemishes[k].what, 100 * flagged, low, FIELDS, coverage);
        assert_true(flagged < 0.025);
        assert_true(low <= 3); /* 0.5 expected; four or more in 0.1 % of tries */
    }
}

/* A film on two fifths, and vacuum with nothing but noise: the film is to be whitened by its own power. */
static void film_beside_vacuum_is_called_speckle(void **state)
{
    enum { FIELDS = 40 };
    double flagged = 0;
    size_t low = 0;
    (void)state;
    for (uint64_t i = 0; i < FIELDS; i++) {
        struct mro_image im = { 0 };
        struct mro_order_result r;
        make_field(&im, 8000 + i, 0, 2.2, NULL);
        for (size_t k = 0; k < (size_t)N * N; k++)
            if ((double)(k % N) > 0.5 * N - 0.2 * (double)(k / N)) im.px[k] = 1200 + 30 * normal_of(18 + i, k);
        ok(mro_order_measure(plan, &im, "film", &r, &e), &e);
        assert_true(r.coverage > 0.1 && r.coverage < 0.4);
        assert_false(r.distinguishable);
        low += r.p_image < 0.05;
        flagged += r.fraction_raw / FIELDS;
        mro_order_result_release(&r);
        mro_image_release(&im);
    }
    print_message("film beside vacuum: %.2f %% of the cells flagged, %zu of %d below p 0.05\n", 100 * flagged, low,
                  FIELDS);
    assert_true(flagged < 0.015); /* 0.0165 by the power of the whole */
    assert_true(low <= 8);
}

static void order_beside_a_blemish_is_measured(void **state)
{
    enum { FIELDS = 4 };
    struct tally t = { 0 };
    (void)state;
    for (size_t k = 0; k + 1 < BLEMISHES; k++) /* a hole has no order in it */
        for (uint64_t i = 0; i < FIELDS; i++) {
            struct mro_image im = { 0 };
            struct disc discs[MOST];
            struct mro_order_result r;
            const size_t n = make_field(&im, 100 * k + i, 14, 2.4, discs);
            blemishes[k].draw(&im);
            ok(mro_order_measure(plan, &im, blemishes[k].what, &r, &e), &e);
            count(&t, &r, planted_in_cells(discs, n, &r.score));
            mro_order_result_release(&r);
            mro_image_release(&im);
        }
    print_tally(&t, "order beside blemishes");
    assert_true((double)t.covered >= 0.88 * (double)t.fields);
    near(t.measured / t.truth, 1, 0.12);
}

/* Lines of a detector are replaced, and no field is lost. */
static void lines_of_a_detector_are_replaced(void **state)
{
    enum { FIELDS = 12 };
    size_t low = 0;
    (void)state;
    for (uint64_t i = 0; i < FIELDS; i++) {
        struct mro_image im = { 0 };
        struct mro_order_result clean, r;
        make_field(&im, 8000 + i, i % 2 ? 10 : 0, 2.4, (struct disc[MOST]){ 0 });
        ok(mro_order_measure(plan, &im, "clean", &clean, &e), &e);
        set(&im, 0, 111, N, 2, 0);
        for (size_t y = 0; y < N / 2; y++) im.px[y * N + 219] += 500;
        for (size_t x = 0; x < N; x++) im.px[203 * N + x] *= 1.4f;
        ok(mro_order_measure(plan, &im, "lines", &r, &e), &e);
        assert_non_null(strstr(r.warnings[0], "1 of the rows and 3 of the columns stand out"));
        assert_true(r.blemished == 0 && r.coverage == clean.coverage);
        assert_true(r.distinguishable == clean.distinguishable);
        near(r.fraction, clean.fraction, 0.15 * clean.fraction + 0.003);
        low += !(i % 2) && r.p_image < 0.05;
        mro_order_result_release(&clean);
        mro_order_result_release(&r);
        mro_image_release(&im);
    }
    assert_true(low <= 2);
}

/* Fringes, wide ones too, a wedge, a soft edge and a soft spot are not taken for what is no specimen. */
static void what_is_soft_or_periodic_stays(void **state)
{
    (void)state;
    for (int kind = 0; kind < 5; kind++) {
        struct mro_image im = { 0 };
        struct mro_order_result r;
        make_field(&im, 900, 0, 2.0, NULL);
        for (size_t i = 0; i < (size_t)N * N; i++) {
            const double y = (double)(i / N) * PIXEL, x = (double)(i % N) * PIXEL, far = hypot(y - 8, x - 9);
            double factor = 1;
            switch (kind) {
            case 0: factor += far < 3 ? 0.4 * cos(2 * MRO_PI * 4.93 * (0.6 * y + 0.8 * x)) : 0; break;
            case 1: factor += far < 3 ? 0.4 * cos(2 * MRO_PI * 3.2 * x) : 0; break;
            case 2: factor += 0.5 * x / FIELD; break;
            case 3: factor += 0.5 + 0.5 * tanh((x + 0.3 * y - 9) / 0.5); break;
            default: factor -= 0.5 * exp(-0.5 * far * far / 0.36); break;
            }
            im.px[i] *= (float)factor;
        }
        ok(mro_order_measure(plan, &im, "soft", &r, &e), &e);
        assert_false(warned(&r));
        assert_true(r.blemished == 0);
        assert_true(r.coverage > 0.99);
        mro_order_result_release(&r);
        mro_image_release(&im);
    }
}

/* Few counts in coarse pixels: some blocks of 3 x 3 hold nothing but zeros, and are specimen. */
static void blocks_without_counts_stay(void **state)
{
    struct mro_image im = { 0 };
    struct mro_order_result r;
    (void)state;
    ok(mro_image_alloc(&im, N, N, &e), &e);
    ok(mro_image_set_pixel_nm(&im, 0.08, MRO_SOURCE_COMMAND_LINE, &e), &e);
    for (size_t i = 0; i < (size_t)N * N; i++) im.px[i] = uniform(77, i) < 0.3 ? 1 : 0;
    ok(mro_order_measure(plan, &im, "counts", &r, &e), &e);
    assert_true(r.blemished == 0);
    assert_true(r.coverage > 0.99);
    assert_false(r.distinguishable);
    mro_order_result_release(&r);
    mro_image_release(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blemished_speckle_is_called_speckle), cmocka_unit_test(film_beside_vacuum_is_called_speckle),
        cmocka_unit_test(order_beside_a_blemish_is_measured),  cmocka_unit_test(lines_of_a_detector_are_replaced),
        cmocka_unit_test(what_is_soft_or_periodic_stays),      cmocka_unit_test(blocks_without_counts_stay),
    };
    return cmocka_run_group_tests(tests, make_plan, free_plan);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Glasses of any spectrum keep the rates that are promised of them: white ones, those with the halo of a metallic
 * glass, and behind a lens whose rings cross it. One of a hundred cells is flagged, and p is below u in a share u of
 * images. */
#include "fields.h"

#include <stdio.h>

#include "mroscope/mro.h"
#include "ops/mro/mro_internal.h"

#define PIXEL 0.05
enum { N = 320, LARGER = 416, FIELDS = 100 }; /* cut from larger fields: images are not periodic */

static struct mro_device *d;
static struct mro_order_plan *plan, *plan_of_lens;
static struct mro_error e;

static int make_plan(void **state)
{
    struct mro_order_options o;
    (void)state;
    mro_order_options_default(&o);
    o.views = false;
    if (mro_device_open(&d, "cpu", 2, (size_t)1 << 30, &e)) return -1;
    if (mro_order_plan_new(&plan, d, &o, &e)) return -1;
    o.kv = 200;
    o.cs_mm = 1.2;
    return mro_order_plan_new(&plan_of_lens, d, &o, &e) != MRO_OK;
}

static int free_plan(void **state)
{
    (void)state;
    mro_order_plan_free(plan);
    mro_order_plan_free(plan_of_lens);
    mro_device_close(d);
    return 0;
}

static double white(double q) { return q > 0 ? 1 : 0; }

static double halo(double q) { return exp(-0.5 * pow((q - 4.9) / 0.32, 2)) + 0.25; } /* 0.75 nm^-1 wide */

/* 95 nm underfocus at Cs 1.2 mm and 200 kV: rings 0.5 nm^-1 apart. */
static double behind_a_lens(double q)
{
    const double lambda = 2.508e-3, x = lambda * q * q;
    return halo(q) * pow(sin(MRO_PI * x * (95 - 0.5 * 1.2e6 * lambda * x)), 2) + 0.03;
}

static void make_field(double (*power)(double), uint64_t seed, struct mro_image *im)
{
    const struct mro_grid g = { LARGER, LARGER, LARGER * PIXEL, LARGER * PIXEL };
    const size_t n = (size_t)LARGER * LARGER;
    const double wide[2] = { -1, 1e3 };
    struct mro_buffer spectrum = buffer_of(d, n * sizeof(mro_c32)), field = buffer_of(d, n * sizeof(float));
    float *gain = malloc(n * sizeof *gain);
    assert_non_null(gain);
    for (size_t y = 0; y < LARGER; y++)
        for (size_t x = 0; x < LARGER; x++)
            gain[y * LARGER + x] =
                (float)sqrt(power(hypot(frequency_of(y, LARGER, g.ly), frequency_of(x, LARGER, g.lx))));
    ok(d->ops->noise_spectrum(d, &g, 2026, seed, wide, BAND_EDGE, &spectrum, &e), &e);
    ok(d->ops->multiply(d, &g, &spectrum, gain, &e), &e);
    ok(d->ops->inverse(d, &g, &spectrum, &field, &e), &e);
    float *f = get(d, &field, n * sizeof *f);
    ok(mro_image_alloc(im, N, N, &e), &e);
    ok(mro_image_set_pixel_nm(im, PIXEL, MRO_SOURCE_COMMAND_LINE, &e), &e);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) im->px[y * N + x] = 1000 + 100 * f[y * LARGER + x];
    free(f);
    free(gain);
    d->ops->release(d, &spectrum);
    d->ops->release(d, &field);
}

static void rates_are_what_they_are_called(void **state)
{
    static const struct {
        const char *name;
        double (*power)(double);
        struct mro_order_plan **plan;
        double flagged; /* share of cells: where the lens's signs are set right, more along the border */
    } of[] = { { "white", white, &plan, 0.010 },
               { "halo", halo, &plan, 0.010 },
               { "halo behind a lens", behind_a_lens, &plan, 0.010 },
               { "halo behind a lens that is known", behind_a_lens, &plan_of_lens, 0.014 } };
    static const double levels[] = { 0.01, 0.05, 0.2, 0.4 };
    enum { KINDS = sizeof of / sizeof *of, LEVELS = sizeof levels / sizeof *levels };
    size_t below[LEVELS] = { 0 };
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        double flagged = 0;
        for (uint64_t i = 0; i < FIELDS; i++) {
            struct mro_image im = { 0 };
            struct mro_order_result r;
            make_field(of[k].power, k << 16 | i, &im);
            ok(mro_order_measure(*of[k].plan, &im, of[k].name, &r, &e), &e);
            assert_true(r.ctf.known == (of[k].plan == &plan_of_lens));
            flagged += r.fraction_raw / FIELDS;
            for (size_t l = 0; l < LEVELS; l++) below[l] += r.p_image < levels[l];
            assert_false(r.distinguishable);
            mro_order_result_release(&r);
            mro_image_release(&im);
        }
        print_message("%s: %.2f %% of the cells flagged\n", of[k].name, 100 * flagged);
        near(flagged, of[k].flagged,
             0.003); /* 0.0005 of scatter among images; the null's own threshold is as well known */
    }
    for (size_t l = 0; l < LEVELS; l++) {
        const double u = levels[l], n = KINDS * FIELDS, share = (double)below[l] / n;
        print_message("p < %.2f in %.3f of the images\n", u, share);
        near(share, u, 3 * sqrt(u * (1 - u) / n)); /* binomial */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rates_are_what_they_are_called) };
    return cmocka_run_group_tests(tests, make_plan, free_plan);
}

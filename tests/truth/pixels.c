/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Units of pixels say nothing: every measurement gives the same numbers of an image times any factor, as far as float32
 * has room for it, and beyond that one sentence. */
#include "on_cpu.h"

#include "mroscope/bandpass.h"
#include "mroscope/crystal.h"
#include "mroscope/haadf.h"
#include "mroscope/mro.h"
#include "mroscope/saed.h"
#include "mroscope/shearband.h"
#include "ops/pixels.h"

enum { N = 160, NUMBERS = 4 };

static struct mro_order_plan *plan;

static int open_all(void **state)
{
    struct mro_order_options o;
    if (open_device(state)) return 1;
    mro_order_options_default(&o);
    return mro_order_plan_new(&plan, d, &o, &e) != MRO_OK;
}

static int close_all(void **state)
{
    mro_order_plan_free(plan);
    return close_device(state);
}

/* Noise around 1 and fringes of five pixels. */
static struct mro_image noise(double pixel_nm)
{
    struct mro_image im;
    ok(mro_image_alloc(&im, N, N, &e), &e);
    ok(mro_image_set_pixel_nm(&im, pixel_nm, MRO_SOURCE_COMMAND_LINE, &e), &e);
    for (size_t i = 0; i < (size_t)N * N; i++)
        im.px[i] = 1 + 0.05f * normal_of(3, i) + 0.03f * cosf(6.2831853f * 0.2f * (float)(i % N));
    return im;
}

/* Each measures one image and gives a few of its numbers. */
static enum mro_code by_mro(const struct mro_image *im, double *v)
{
    struct mro_order_result r;
    MRO_TRY(mro_order_measure(plan, im, "a.tif", &r, &e));
    const double found[NUMBERS] = { r.fraction, r.p_image, r.size_limit_nm, (double)r.n_objects };
    memcpy(v, found, sizeof found);
    mro_order_result_release(&r);
    return MRO_OK;
}

static enum mro_code by_crystal(const struct mro_image *im, double *v)
{
    struct mro_crystal_options o;
    struct mro_crystal_result r;
    mro_crystal_options_default(&o);
    MRO_TRY(mro_crystal_measure(d, im, "a.tif", &o, &r, &e));
    assert_true(r.n_crystals > 0);
    const double found[NUMBERS] = { (double)r.n_crystals, r.size_limit_nm, r.crystals[0].fringes[0].d_nm,
                                    r.crystals[0].fringes[0].amplitude };
    memcpy(v, found, sizeof found);
    mro_crystal_result_release(&r);
    return MRO_OK;
}

static enum mro_code by_haadf(const struct mro_image *im, double *v)
{
    struct mro_haadf_options o;
    struct mro_haadf_result r;
    mro_haadf_options_default(&o);
    o.surrogates = 299;
    o.band_inv_nm[0] = 0.1;
    MRO_TRY(mro_haadf_measure(d, im, "a.tif", &o, &r, &e));
    const double found[NUMBERS] = { r.contrast_sd, r.noise_sd, r.p_value, r.skewness };
    memcpy(v, found, sizeof found);
    mro_haadf_result_release(&r);
    return MRO_OK;
}

static enum mro_code by_shearband(const struct mro_image *im, double *v)
{
    struct mro_shearband_options o;
    struct mro_shearband_result r;
    mro_shearband_options_default(&o);
    o.surrogates = 99;
    MRO_TRY(mro_shearband_measure(d, im, "a.tif", &o, &r, &e));
    const double found[NUMBERS] = { r.p_value, (double)r.n_bands, r.coverage, r.searched_nm[1] };
    memcpy(v, found, sizeof found);
    mro_shearband_result_release(&r);
    return MRO_OK;
}

static enum mro_code by_bandpass(const struct mro_image *im, double *v)
{
    struct mro_bandpass_options o;
    struct mro_bandpass_result r;
    mro_bandpass_options_default(&o);
    MRO_TRY(mro_bandpass(d, im, "a.tif", &o, &r, &e));
    const double found[NUMBERS] = { r.rms_out / r.rms_in };
    memcpy(v, found, sizeof found);
    mro_bandpass_result_release(&r);
    return MRO_OK;
}

static enum mro_code by_saed(const struct mro_image *im, double *v)
{
    struct mro_saed_options o;
    struct mro_saed_result r;
    mro_saed_options_default(&o);
    o.step_inv_nm = 0.1;
    o.centre_how = o.ellipse_how = MRO_SAED_GIVEN;
    o.centre_px[0] = o.centre_px[1] = N / 2;
    MRO_TRY(mro_saed_measure(d, im, "a.tif", &o, &r, &e));
    const double found[NUMBERS] = { r.coverage, (double)r.profile.n };
    memcpy(v, found, sizeof found);
    mro_saed_result_release(&r);
    return MRO_OK;
}

static void any_unit_gives_the_same_numbers(void **state)
{
    static const struct {
        enum mro_code (*measure)(const struct mro_image *im, double *v);
        double pixel_nm;
    } all[] = { { by_mro, 0.04 },    { by_crystal, 0.04 },  { by_haadf, 0.3 },
                { by_shearband, 1 }, { by_bandpass, 0.04 }, { by_saed, 0.04 } };
    (void)state;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        struct mro_image im = noise(all[k].pixel_nm), other = noise(all[k].pixel_nm);
        double first[NUMBERS] = { 0 }, again[NUMBERS] = { 0 };
        ok(all[k].measure(&im, first), &e);
        for (int sign = -1; sign <= 1; sign += 2) {
            for (size_t i = 0; i < (size_t)N * N; i++) other.px[i] = ldexpf(im.px[i], 95 * sign);
            ok(all[k].measure(&other, again), &e);
            for (int i = 0; i < NUMBERS; i++)
                if (isfinite(first[i]) || isfinite(again[i])) near(again[i], first[i], 1e-6 * fabs(first[i]));
            /* A bright pixel does not hide how faint the others are. */
            for (size_t i = 0; i < (size_t)N * N; i++) other.px[i] = ldexpf(im.px[i], 120 * sign);
            other.px[N / 2] = 1;
            assert_int_equal(all[k].measure(&other, again), MRO_EDATA);
            assert_non_null(strstr(e.message, "'a.tif' are around 1e"));
        }
        mro_image_release(&im);
        mro_image_release(&other);
    }
}

static void zeros_and_gaps_say_nothing(void **state)
{
    struct mro_image im = noise(1);
    (void)state;
    for (size_t i = 0; i < (size_t)N * N; i++)
        if (i % 50) im.px[i] = i % 3 ? 0.0f : NAN;
    ok(mro_pixels_in_range(&im, "a.tif", &e), &e);
    for (size_t i = 0; i < (size_t)N * N; i++) im.px[i] = NAN;
    ok(mro_pixels_in_range(&im, "a.tif", &e), &e);
    mro_image_release(&im);
}

/* What a caller writes into an image of his own is measured like the same from a file. */
static void missing_pixels_are_counted(void **state)
{
    struct mro_image im = noise(0.08);
    struct mro_order_result r;
    (void)state;
    for (size_t i = 0; i < (size_t)N * N; i++)
        if (i % N < N / 2) im.px[i] = i % 3 ? INFINITY : i % 2 ? -INFINITY : NAN;
    mro_image_mark_missing(&im);
    assert_int_equal(im.not_finite, N * N / 2);
    for (size_t i = 0; i < (size_t)N * N; i++) assert_true(isfinite(im.px[i]) ? i % N >= N / 2 : isnan(im.px[i]));
    ok(mro_order_measure(plan, &im, "a.tif", &r, &e), &e);
    assert_true(r.coverage < 0.5 && r.n_warnings > 0);
    assert_string_equal(r.warnings[0], "12800 pixels are not finite numbers and are left out");
    mro_order_result_release(&r);
    mro_image_release(&im);
}

/* An image as it is exported for display is told from counts, from values of other programs and from dark images. */
static void stretched_grey_levels_are_told(void **state)
{
    static const struct {
        float scale, offset;
        bool whole, told;
    } kinds[] = { { 700, 128 - 700, true, true },
                  { 700, 128 - 700, false, false },
                  { 100, 30, true, false },
                  { 2000, 128 - 2000, true, false } }; /* beyond 255 */
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct mro_image im = noise(0.04);
        for (size_t i = 0; i < (size_t)N * N; i++) {
            const float v = im.px[i] * kinds[k].scale + kinds[k].offset;
            im.px[i] = kinds[k].whole ? rintf(v) : v;
            if (k < 2) im.px[i] = fminf(fmaxf(im.px[i], 0), 255);
        }
        struct mro_order_result order;
        struct mro_haadf_result haadf;
        struct mro_haadf_options o;
        mro_haadf_options_default(&o);
        o.black_level = 0;
        ok(mro_order_measure(plan, &im, "a.tif", &order, &e), &e);
        ok(mro_image_set_pixel_nm(&im, 0.3, MRO_SOURCE_COMMAND_LINE, &e), &e);
        ok(mro_haadf_measure(d, &im, "a.tif", &o, &haadf, &e), &e);
        int told = 0;
        for (size_t i = 0; i < order.n_warnings; i++) told += strstr(order.warnings[i], "from 0 to 255") != NULL;
        for (size_t i = 0; i < haadf.n_warnings; i++) told += strstr(haadf.warnings[i], "from 0 to 255") != NULL;
        assert_int_equal(told, kinds[k].told ? 2 : 0);
        mro_order_result_release(&order);
        mro_haadf_result_release(&haadf);
        mro_image_release(&im);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_unit_gives_the_same_numbers),
                                        cmocka_unit_test(zeros_and_gaps_say_nothing),
                                        cmocka_unit_test(missing_pixels_are_counted),
                                        cmocka_unit_test(stretched_grey_levels_are_told) };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The band-pass of cosines, and what it refuses. */
#include "on_cpu.h"

#include "mroscope/bandpass.h"
#include "mroscope/math/band.h"

/* mean + cos(2 pi q.r) of whole periods over ny x nx pixels of `pixel` nm. */
static struct mro_image cosine(size_t ny, size_t nx, double pixel, int ky, int kx)
{
    struct mro_image im = { 0 };
    ok(mro_image_alloc(&im, ny, nx, &e), &e);
    if (pixel > 0) ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++)
            im.px[y * nx + x] =
                (float)(100 +
                        cos(2 * MRO_PI * ((double)ky * (double)y / (double)ny + (double)kx * (double)x / (double)nx)));
    return im;
}

static void gain_inside_outside_and_at_the_limit(void **state)
{
    static const struct {
        size_t ny, nx;
        int ky, kx; /* of 10 nm: 0.1 nm^-1 each */
        double gain;
    } row[] = { { 400, 400, 30, 40, 1 },  /* 5.0 nm^-1 */
                { 400, 400, 0, 41, 0.5 }, /* 4.1 */
                { 400, 400, 58, 0, 0.5 }, /* 5.8 */
                { 400, 400, 0, 30, 0 },   /* 3.0 */
                { 400, 400, 50, 50, 0 },  /* 7.1 */
                { 400, 400, -36, 27, 1 }, /* 4.5, the other diagonal */
                { 251, 250, 30, 40, 1 },  /* odd */
                { 101, 103, 0, 50, 1 },   /* a prime of lines, close to its Nyquist frequency */
                { 160, 400, 30, 40, 1 },  /* pixels of 0.0625 by 0.025 nm: circles of the band stay circles in nm */
                { 160, 400, 41, 0, 0.5 }, { 400, 160, 0, 41, 0.5 }, { 160, 400, 50, 50, 0 } };
    struct mro_bandpass_options o;
    (void)state;
    mro_bandpass_options_default(&o);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct mro_image im = cosine(row[i].ny, row[i].nx, 1, row[i].ky, row[i].kx);
        im.axis[0].step = 10.0 / (double)row[i].ny;
        im.axis[1].step = 10.0 / (double)row[i].nx;
        o.band_inv_nm[1] = i == 7 ? 5.04 : 5.8;
        struct mro_bandpass_result r;
        ok(mro_bandpass(d, &im, "cosine", &o, &r, &e), &e);
        const double gain = i == 7 ? mro_band_gain(5.0f, 4.1f, 5.04f, 0.3f) : row[i].gain;
        double most = 0;
        for (size_t k = 0; k < im.ny * im.nx; k++) most = fmax(most, fabs(r.filtered.px[k] - gain * (im.px[k] - 100)));
        assert_true(most < 1e-4); /* float32 transforms of numbers up to 101 with the mean taken off */
        near(r.rms_in, M_SQRT1_2, 1e-3);
        near(r.rms_out, gain * M_SQRT1_2, 1e-3);
        near(r.pixel_nm[0], 10.0 / (double)row[i].ny, 1e-12);
        assert_true(r.filtered.ny == im.ny && r.filtered.nx == im.nx && r.filtered.axis[1].unit == MRO_UNIT_NM);
        mro_bandpass_result_release(&r);
        mro_image_release(&im);
    }
}

/* A folder of crops has hundreds of shapes, each with transforms of its own. */
static void many_shapes(void **state)
{
    struct mro_bandpass_options o;
    (void)state;
    mro_bandpass_options_default(&o);
    for (size_t n = 20; n < 180; n++) {
        struct mro_image im = cosine(n, 2 * n + 1, 0.05, 1, 2);
        struct mro_bandpass_result r;
        ok(mro_bandpass(d, &im, "crop", &o, &r, &e), &e);
        mro_bandpass_result_release(&r);
        mro_image_release(&im);
    }
}

/* Edges of no width cut sharply, also where a frequency falls on a limit, and leave no NaN. */
static void no_edge_cuts_sharply(void **state)
{
    struct mro_bandpass_options o = { .band_inv_nm = { 4, 6 }, .edge_inv_nm = 0 };
    struct mro_bandpass_result r;
    (void)state;
    struct mro_image im = cosine(400, 400, 0.025, 30, 40); /* 5.0 nm^-1; 4.0 and 6.0 are frequencies of the grid */
    ok(mro_bandpass(d, &im, "cosine", &o, &r, &e), &e);
    assert_float_equal(r.rms_out, sqrt(0.5), 1e-4);
    mro_bandpass_result_release(&r);
    o.edge_inv_nm = -1;
    assert_int_equal(mro_bandpass(d, &im, "cosine", &o, &r, &e), MRO_EARG);
    mro_image_release(&im);
}

static void missing_pixels_stay_missing(void **state)
{
    struct mro_image im = cosine(200, 200, 0.05, 30, 40);
    struct mro_bandpass_options o;
    struct mro_bandpass_result r;
    (void)state;
    mro_bandpass_options_default(&o);
    for (size_t k = 0; k < 20; k++) im.px[k * 1999] = NAN;
    im.not_finite = 20;
    ok(mro_bandpass(d, &im, "cosine", &o, &r, &e), &e);
    size_t missing = 0;
    for (size_t k = 0; k < 40000; k++) {
        assert_true(isnan(r.filtered.px[k]) == isnan(im.px[k]));
        missing += isnan(r.filtered.px[k]);
    }
    assert_int_equal(missing, 20);
    near(r.rms_out, M_SQRT1_2, 0.01);
    mro_bandpass_result_release(&r);
    for (size_t k = 0; k < 8; k++) im.px[300 + k] = 3e38f; /* their sums are beyond float32 */
    assert_int_equal(mro_bandpass(d, &im, "cosine", &o, &r, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "set them to NaN"));
    for (size_t k = 0; k < 40000; k++) im.px[k] = NAN;
    assert_int_equal(mro_bandpass(d, &im, "cosine", &o, &r, &e), MRO_EDATA);
    mro_image_release(&im);
}

static void refusals_say_what_to_give(void **state)
{
    struct mro_bandpass_options o;
    struct mro_bandpass_result r;
    (void)state;
    mro_bandpass_options_default(&o);
    struct mro_image im = cosine(64, 64, 0.1, 3, 4);
    assert_int_equal(mro_bandpass(d, &im, "a.tif", &o, &r, &e), MRO_EARG); /* Nyquist 5 nm^-1 */
    assert_non_null(strstr(e.message, "a.tif"));
    assert_non_null(strstr(e.message, "5.8"));
    assert_non_null(strstr(e.message, "`band`"));
    mro_image_release(&im);

    im = cosine(64, 64, 0, 3, 4);
    assert_int_equal(mro_bandpass(d, &im, "b.tif", &o, &r, &e), MRO_ECALIB);
    assert_non_null(strstr(e.message, "b.tif"));
    assert_int_equal(e.lack, MRO_LACKS_PIXEL_SIZE);
    mro_image_release(&im);

    im = cosine(64, 64, 0.02, 3, 4);
    static const double wrong[][2] = { { 5.8, 4.1 }, { 4.1, 4.1 }, { -1, 4 }, { 0, NAN }, { NAN, 5 } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(o.band_inv_nm, wrong[i], sizeof o.band_inv_nm);
        assert_int_equal(mro_bandpass(d, &im, "c.tif", &o, &r, &e), MRO_EARG);
        assert_non_null(strstr(e.message, "band"));
    }
    mro_image_release(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gain_inside_outside_and_at_the_limit),
        cmocka_unit_test(many_shapes),
        cmocka_unit_test(no_edge_cuts_sharply),
        cmocka_unit_test(missing_pixels_stay_missing),
        cmocka_unit_test(refusals_say_what_to_give),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shear bands against what was planted: one and two bands at odd azimuths, a given line, borders; and what cannot be
 * measured. */
#include "mroscope/shearband.h"
#include "fields.h"
#include "ops/shearband/shearband_internal.h"

enum { N = 256 };
static const double pixel = 0.8; /* nm: a field of 204.8 nm */

static double shape(double s, double width, double edge)
{
    return 0.5 * (erf((s + width / 2) / (sqrt(2) * edge)) - erf((s - width / 2) / (sqrt(2) * edge)));
}

struct planted {
    double azimuth_deg, position_nm, width_nm, depth, edge_nm;
};

/* A wedge, bands, noise of `sd` a pixel. */
static struct mro_image plant(const struct planted *b, size_t n, double sd, uint64_t stream)
{
    struct mro_image im = { 0 };
    struct mro_error e;
    ok(mro_image_alloc(&im, N, N, &e), &e);
    ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) {
            double v = 1000 * (1 + 0.2 * ((double)x / N - 0.5) - 0.1 * ((double)y / N - 0.5));
            for (size_t k = 0; k < n; k++) {
                const double a = b[k].azimuth_deg * M_PI / 180,
                             s = ((double)x + 0.5) * pixel * cos(a) + ((double)y + 0.5) * pixel * sin(a);
                v *= 1 - b[k].depth * shape(s - b[k].position_nm, b[k].width_nm, b[k].edge_nm);
            }
            im.px[y * N + x] = (float)(v * (1 + sd * normal_of(stream, y * N + x)));
        }
    return im;
}

static void quick(struct mro_shearband_options *o)
{
    mro_shearband_options_default(o);
    o->surrogates = 99;
    o->alpha = 0.02;
}

static void expect_band(const struct mro_shearband *b, const struct planted *t, double width, double depth)
{
    double turned = fabs(b->normal_azimuth_deg - t->azimuth_deg);
    if (turned > 90) turned = 180 - turned;
    if (!(turned < (b->length_nm > 150 ? 0.5 : 1.5)))
        fail_msg("azimuth %g for %g", b->normal_azimuth_deg, t->azimuth_deg);
    near(b->position_nm, t->position_nm, b->length_nm > 150 ? 0.6 : 3);
    near(b->width_nm, t->width_nm, width);
    near(b->depth, t->depth, depth);
    assert_true(b->width_ci95[0] < b->width_nm && b->width_nm < b->width_ci95[1]);
    assert_true(b->depth_ci95[0] < b->depth && b->depth < b->depth_ci95[1]);
    assert_true(b->width_ci95[1] - b->width_ci95[0] < 0.4 * b->width_nm);
}

static size_t unreliable(const struct mro_shearband_result *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_warnings; i++) n += strstr(r->warnings[i], "unreliable") != NULL;
    return n;
}

static void bands_are_found(void **state)
{
    static const struct planted one[] = {
        { 20, 100, 12, 0.05, 1.2 }, { 150, -40, 8, -0.04, 1 }, { 179.8, -120, 20, 0.02, 2 }, { 45, 144, 60, 0.04, 5 }
    };
    struct mro_device *d = device_of("cpu", 0);
    struct mro_shearband_options o;
    (void)state;
    quick(&o);
    for (size_t k = 0; k < sizeof one / sizeof *one; k++) {
        struct mro_image im = plant(&one[k], 1, 0.03, 100 + k);
        struct mro_shearband_result r;
        struct mro_error e;
        ok(mro_shearband_measure(d, &im, "planted", &o, &r, &e), &e);
        if (r.n_bands != 1) fail_msg("case %zu: %zu bands, %s", k, r.n_bands, r.verdict);
        expect_band(&r.band[0], &one[k], 0.08 * one[k].width_nm, 0.1 * fabs(one[k].depth));
        assert_true(r.p_value <= 0.0101);
        assert_true(!r.band[0].border && !r.band[0].ends && r.n_warnings >= 1);
        assert_non_null(r.band[0].straight.px);
        assert_int_equal(unreliable(&r), 0);
        mro_shearband_result_release(&r);
        mro_image_release(&im);
    }
    mro_device_close(d);
}

static void two_bands_and_threads(void **state)
{
    static const struct planted two[] = { { 20, 60, 10, 0.05, 1 }, { 20, 140, 25, 0.04, 2.5 } };
    struct mro_shearband_options o;
    struct mro_image im = plant(two, 2, 0.03, 7);
    double kept[4] = { 0 };
    (void)state;
    quick(&o);
    for (int threads = 1; threads <= 2; threads++) {
        struct mro_device *d = device_of("cpu", threads);
        struct mro_shearband_result r;
        struct mro_error e;
        ok(mro_shearband_measure(d, &im, "planted", &o, &r, &e), &e);
        assert_int_equal(r.n_bands, 2);
        for (size_t k = 0; k < 2; k++) {
            expect_band(&r.band[k], &two[k], 0.06 * two[k].width_nm, 0.004);
            if (threads == 1) kept[2 * k] = r.band[k].width_nm, kept[2 * k + 1] = r.band[k].width_ci95[0];
            assert_true(kept[2 * k] == r.band[k].width_nm && kept[2 * k + 1] == r.band[k].width_ci95[0]);
        }
        near(r.normal_azimuth_deg, 20, 0.3);
        mro_shearband_result_release(&r);
        mro_device_close(d);
    }
    mro_image_release(&im);
}

static void a_given_line_is_measured(void **state)
{
    static const struct planted one = { 30, 110, 14, 0.03, 1.5 };
    struct mro_device *d = device_of("cpu", 0);
    struct mro_shearband_options o;
    struct mro_image im = plant(&one, 1, 0.03, 9);
    struct mro_shearband_result r;
    struct mro_error e;
    (void)state;
    quick(&o);
    o.has_line = true;
    o.thickness_nm = 50;
    /* Two points on the band, some 2 nm beside its middle. */
    const double a = 30 * M_PI / 180, ends[2] = { -30, 70 };
    for (int k = 0; k < 2; k++) {
        o.line_nm[2 * k] = 112 * cos(a) - ends[k] * sin(a);
        o.line_nm[2 * k + 1] = 112 * sin(a) + ends[k] * cos(a);
    }
    ok(mro_shearband_measure(d, &im, "planted", &o, &r, &e), &e);
    assert_int_equal(r.n_bands, 1);
    expect_band(&r.band[0], &one, 1.2, 0.004);
    near(r.band[0].length_nm, 100, 3);
    assert_true(r.band[0].inclination_max_deg > 1 && r.band[0].inclination_max_deg < 15);
    mro_shearband_result_release(&r);
    o.line_nm[0] = 300;
    assert_int_equal(mro_shearband_measure(d, &im, "planted", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "outside"));
    mro_image_release(&im);
    /* A band with 11 nm of glass between it and the border. */
    static const struct planted close = { 90, 18, 14, 0.05, 1.5 };
    im = plant(&close, 1, 0.03, 10);
    memcpy(o.line_nm, (double[]){ 5, 18, 200, 18 }, sizeof o.line_nm);
    ok(mro_shearband_measure(d, &im, "close", &o, &r, &e), &e);
    assert_int_equal(r.n_bands, 1);
    assert_true(!r.band[0].border);
    assert_int_equal(unreliable(&r), 1);
    mro_shearband_result_release(&r);
    mro_image_release(&im);
    mro_device_close(d);
}

static void what_cannot_be_measured(void **state)
{
    struct mro_device *d = device_of("cpu", 0);
    struct mro_shearband_options o;
    struct mro_shearband_result r;
    struct mro_error e;
    (void)state;
    quick(&o);
    /* One edge in the field. */
    static const struct planted half = { 10, 20, 120, 0.05, 2 };
    struct mro_image im = plant(&half, 1, 0.02, 3);
    ok(mro_shearband_measure(d, &im, "border", &o, &r, &e), &e);
    for (size_t k = 0; k < r.n_bands; k++) assert_true(!r.band[k].border || isnan(r.band[k].width_nm));
    assert_int_equal(unreliable(&r), r.n_bands);
    mro_shearband_result_release(&r);
    /* All of the field is band. */
    static const struct planted all = { 10, 100, 900, 0.05, 2 };
    mro_image_release(&im);
    im = plant(&all, 1, 0.02, 4);
    ok(mro_shearband_measure(d, &im, "wide", &o, &r, &e), &e);
    assert_int_equal(r.n_bands, 0);
    assert_true(r.p_value > 0.02 && isnan(r.normal_azimuth_deg));
    assert_non_null(strstr(r.verdict, "no band"));
    mro_shearband_result_release(&r);
    /* Vacuum beside the specimen is left out, and its rim is no band; nor are dark pixels of few counts vacuum. */
    static const struct planted beside = { 20, 140, 12, 0.06, 1.2 };
    mro_image_release(&im);
    im = plant(&beside, 1, 0.3, 6);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N / 4 + y / 8; x++) im.px[y * N + x] = (float)(10 + x % 3);
    ok(mro_shearband_measure(d, &im, "vacuum", &o, &r, &e), &e);
    near(r.coverage, 1 - (0.25 + 1 / 16.0), 0.04);
    assert_int_equal(r.n_bands, 1);
    near(r.band[0].position_nm, beside.position_nm, 2);
    mro_shearband_result_release(&r);
    for (size_t i = 0; i < N * N; i++) im.px[i] = 5;
    ok(mro_shearband_measure(d, &im, "constant", &o, &r, &e), &e);
    assert_true(r.n_bands == 0 && r.n_warnings == 1 && isnan(r.p_value));
    mro_shearband_result_release(&r);
    for (size_t i = 0; i < N * N; i++) im.px[i] = NAN;
    ok(mro_shearband_measure(d, &im, "empty", &o, &r, &e), &e);
    assert_true(r.n_bands == 0 && isnan(r.p_value));
    mro_shearband_result_release(&r);
    im.axis[0].step = 0;
    assert_int_equal(mro_shearband_measure(d, &im, "uncalibrated", &o, &r, &e), MRO_ECALIB);
    ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
    im.ny = 20;
    assert_int_equal(mro_shearband_measure(d, &im, "small", &o, &r, &e), MRO_EDATA);
    im.ny = N;
    o.alpha = 0.001;
    assert_int_equal(mro_shearband_measure(d, &im, "alpha", &o, &r, &e), MRO_EARG);
    mro_image_release(&im);
    mro_device_close(d);
}

/* A band that changes the speckle, not the mean; spikes and a crystal on it. */
static void a_band_in_the_speckle(void **state)
{
    enum { M = 480 };
    struct mro_device *d = device_of("cpu", 0);
    struct mro_shearband_options o;
    struct mro_shearband_result r;
    struct mro_error e;
    (void)state;
    quick(&o);
    o.signal = MRO_SHEARBAND_VARIANCE;
    struct mro_image im = { 0 };
    ok(mro_image_alloc(&im, M, M, &e), &e);
    ok(mro_image_set_pixel_nm(&im, 0.1, MRO_SOURCE_COMMAND_LINE, &e), &e);
    const double a = 30 * M_PI / 180, variance = 1 - 0.3;
    for (size_t y = 0; y < M; y++)
        for (size_t x = 0; x < M; x++) {
            const double s = ((double)x + 0.5) * 0.1 * cos(a) + ((double)y + 0.5) * 0.1 * sin(a);
            const double v = sqrt(1 + (variance - 1) * shape(s - 34, 9, 0.5)),
                         crystal = hypot(x - 60.0, y - 400.0) < 30;
            im.px[y * M + x] =
                (float)(800 * (1 + 0.1 * (double)x / M) *
                        (1 + 0.06 * v * normal_of(77, y * M + x) + 0.3 * crystal * sin(2.5 * (double)x)));
        }
    for (size_t i = 0; i < 40; i++) im.px[i * 5003 % (M * M)] *= 4;
    ok(mro_shearband_measure(d, &im, "speckle", &o, &r, &e), &e);
    assert_int_equal(r.n_bands, 1);
    near(r.band[0].position_nm, 34, 0.5);
    near(r.band[0].normal_azimuth_deg, 30, 1.5);
    near(r.band[0].width_nm, 9, 1.2);
    near(r.band[0].depth, 0.3, 0.05);
    mro_shearband_result_release(&r);
    o.signal = MRO_SHEARBAND_MEAN;
    ok(mro_shearband_measure(d, &im, "speckle", &o, &r, &e), &e);
    assert_int_equal(r.n_bands, 0);
    mro_shearband_result_release(&r);
    o.signal = MRO_SHEARBAND_VARIANCE;
    ok(mro_image_set_pixel_nm(&im, 0.11, MRO_SOURCE_COMMAND_LINE, &e), &e);
    assert_int_equal(mro_shearband_measure(d, &im, "coarse", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "do not show the speckle"));
    ok(mro_image_set_pixel_nm(&im, 0.05, MRO_SOURCE_COMMAND_LINE, &e), &e);
    assert_int_equal(mro_shearband_measure(d, &im, "small", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "too small"));
    mro_image_release(&im);
    mro_device_close(d);
}

static void elements_across_a_band(void **state)
{
    static const struct planted one = { 25, 100, 20, 0.05, 2 };
    enum { M = 128 };
    struct mro_device *d = device_of("cpu", 0);
    struct mro_shearband_options o;
    struct mro_shearband_result r;
    struct mro_eds_options eds;
    struct mro_eds_field maps = {
        .ny = M, .nx = M, .elements = 2, .pixel_nm = { 2 * pixel, 2 * pixel }, .symbol = { "Fe", "Si" }
    };
    struct mro_image im = plant(&one, 1, 0.03, 12);
    struct mro_error e;
    float *counts = malloc((size_t)2 * M * M * sizeof *counts);
    (void)state;
    assert_non_null(counts);
    for (size_t y = 0; y < M; y++)
        for (size_t x = 0; x < M; x++) {
            const double a = one.azimuth_deg * M_PI / 180, h = 2 * pixel;
            const double s = ((double)x + 0.5) * h * cos(a) + ((double)y + 0.5) * h * sin(a) - one.position_nm;
            const double fe = 90 - 4 * shape(s, 20, 1), mean[2] = { fe, 100 - fe };
            for (size_t k = 0; k < 2; k++)
                counts[k * M * M + y * M + x] =
                    (float)fmax(0, round(mean[k] + sqrt(mean[k]) * normal_of(50 + k, y * M + x)));
        }
    maps.counts[0] = counts;
    maps.counts[1] = counts + M * M;
    quick(&o);
    mro_eds_options_default(&eds);
    ok(mro_eds_k_parse(&eds.k, "Fe=1.988,Si=1", &e), &e); /* at.% as counts: over the atomic weights */
    ok(mro_shearband_measure(d, &im, "planted", &o, &r, &e), &e);
    assert_int_equal(r.n_bands, 1);
    struct mro_eds_field other = maps;
    other.pixel_nm[0] = 3;
    assert_int_equal(mro_shearband_composition(d, &r, &other, "planted", &eds, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "not of one field"));
    ok(mro_shearband_composition(d, &r, &maps, "planted", &eds, &e), &e);
    const struct mro_shearband_elements *q = &r.elements[0];
    assert_int_equal(q->n, 2);
    assert_string_equal(q->element[0].symbol, "Fe");
    near(q->element[0].difference_at, -4, 0.5);
    assert_true(q->element[0].difference_ci95[0] < -4 && q->element[0].difference_ci95[1] > -4 + -0.6);
    assert_true(q->element[0].p < 1e-6 && q->element[1].difference_at > 3);
    near(q->centre_nm, hypot(q->line.x1 - q->line.x0, q->line.y1 - q->line.y0) / 2, 25);
    mro_shearband_result_release(&r);
    mro_image_release(&im);
    free(counts);
    mro_device_close(d);
}

static void profiles_are_fitted(void **state)
{
    enum { BINS = 121 };
    double s[BINS], v[BINS], w[BINS];
    (void)state;
    for (size_t i = 0; i < BINS; i++) {
        s[i] = ((double)i - 60) * 0.5;
        v[i] = 0.01 + 0.001 * s[i] - 0.05 * shape(s[i] - 1.3, 14, 1.7);
        w[i] = i % 11 ? 1 : 0; /* some bins are empty */
    }
    struct mro_sb_profile_fit f = { .centre = 0, .width = 9, .edge = 1 };
    assert_true(mro_sb_profile_fit(s, v, w, BINS, 0.5, false, &f));
    near(f.centre, 1.3, 1e-5);
    near(f.width, 14, 1e-4);
    near(f.edge, 1.7, 1e-4);
    near(f.amplitude, -0.05, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_are_fitted),     cmocka_unit_test(bands_are_found),
        cmocka_unit_test(two_bands_and_threads),   cmocka_unit_test(a_given_line_is_measured),
        cmocka_unit_test(a_band_in_the_speckle),   cmocka_unit_test(elements_across_a_band),
        cmocka_unit_test(what_cannot_be_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Heterogeneity against what was planted: discs, Gaussian fields, noise, waves; and what cannot be measured. */
#include <stdio.h>

#include "fields.h"
#include "mroscope/haadf.h"
#include "ops/haadf/haadf_internal.h"

enum { N = 512 };
static const double pixel = 0.1; /* nm: a field of 51.2 nm */

static struct mro_image image_of(float *px, size_t n)
{
    struct mro_image im = { 0 };
    struct mro_error e;
    im.px = px;
    im.ny = im.nx = n;
    ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
    return im;
}

static float *zeros(size_t n)
{
    float *p = calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

/* Discs of a diameter at random places until they cover `fraction`; v = 1 - depth there. What they cover. */
static double plant_discs(float *v, double diameter, double fraction, double depth)
{
    const double radius = diameter / 2 / pixel;
    size_t covered = 0;
    for (size_t i = 0; i < N * N; i++) v[i] = 1;
    for (uint64_t k = 0; (double)covered < fraction * N * N; k++) {
        const mro_philox_block b = mro_philox(5, 1, k);
        const double cy = (N + 2 * radius) * mro_uniform_open(b.v[0]) - radius,
                     cx = (N + 2 * radius) * mro_uniform_open(b.v[1]) - radius;
        for (size_t y = 0; y < N; y++)
            for (size_t x = 0; x < N; x++)
                if (hypot((double)y - cy, (double)x - cx) < radius && v[y * N + x] == 1) {
                    v[y * N + x] = (float)(1 - depth);
                    covered++;
                }
    }
    return (double)covered / (N * N);
}

/* Standard deviation of relative contrast between two frequencies, by the transform of the whole field. */
static double band_sd(struct mro_device *d, const float *v, const double band[2])
{
    const struct mro_grid g = { N, N, N * pixel, N * pixel };
    struct mro_buffer field = buffer_of(d, N * N * sizeof(float)), spectrum = buffer_of(d, N * N * sizeof(mro_c32));
    struct mro_error e;
    double mean = 0, sum = 0;
    for (size_t i = 0; i < N * N; i++) mean += v[i] / (N * N);
    put(d, &field, v, N * N * sizeof(float));
    ok(d->ops->forward(d, &g, &field, &spectrum, &e), &e);
    mro_c32 *z = get(d, &spectrum, N * N * sizeof *z);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) {
            const double q = hypot(frequency_of(y, N, g.ly), frequency_of(x, N, g.lx));
            const mro_c32 c = z[y * N + x];
            if (q >= band[0] && q <= band[1]) sum += (double)c.re * c.re + (double)c.im * c.im;
        }
    free(z);
    d->ops->release(d, &field);
    d->ops->release(d, &spectrum);
    return sqrt(sum / (N * N)) / mean;
}

/* Counts of an exposure: a wedge, scan lines, noise near that of Poisson, a black level. */
static void expose(float *v, double dose, double line, double black, uint64_t stream)
{
    for (size_t y = 0; y < N; y++) {
        const double offset = line * normal_of(1000 + stream, y);
        for (size_t x = 0; x < N; x++) {
            const double wedge = 1 + 0.06 * ((double)x / N - 0.5) - 0.1 * ((double)y / N - 0.5);
            const double mean = dose * v[y * N + x] * wedge * (1 + offset);
            v[y * N + x] = (float)round(mean + sqrt(mean) * normal_of(stream, y * N + x)) + (float)black;
        }
    }
}

/* A Gaussian field of unit variance with spectrum S(q). */
static void draw_field(struct mro_device *d, double (*s)(double q), float *v, uint64_t stream)
{
    const struct mro_grid g = { N, N, N * pixel, N * pixel };
    const double wide[2] = { -1, 1e3 };
    struct mro_buffer field = buffer_of(d, N * N * sizeof(float)), spectrum = buffer_of(d, N * N * sizeof(mro_c32));
    struct mro_error e;
    double sum = 0;
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) {
            const double q = hypot(frequency_of(y, N, g.ly), frequency_of(x, N, g.lx));
            v[y * N + x] = (float)sqrt(s(q));
        }
    ok(d->ops->noise_spectrum(d, &g, 77, stream, wide, 0.1, &spectrum, &e), &e);
    ok(d->ops->multiply(d, &g, &spectrum, v, &e), &e);
    ok(d->ops->inverse(d, &g, &spectrum, &field, &e), &e);
    ok(d->ops->download(d, v, &field, N * N * sizeof(float), &e), &e);
    for (size_t i = 0; i < N * N; i++) sum += (double)v[i] * v[i];
    const float unit = (float)sqrt(N * N / sum);
    for (size_t i = 0; i < N * N; i++) v[i] *= unit;
    d->ops->release(d, &field);
    d->ops->release(d, &spectrum);
}

static struct mro_haadf_options options_of(int surrogates)
{
    struct mro_haadf_options o;
    mro_haadf_options_default(&o);
    o.surrogates = surrogates;
    return o;
}

static bool warns(const struct mro_haadf_result *r, const char *words)
{
    for (size_t i = 0; i < r->n_warnings; i++)
        if (strstr(r->warnings[i], words)) return true;
    return false;
}

static void measure(struct mro_device *d, float *px, size_t n, const struct mro_haadf_options *o,
                    struct mro_haadf_result *r)
{
    struct mro_image im = image_of(px, n);
    struct mro_error e;
    ok(mro_haadf_measure(d, &im, "test", o, r, &e), &e);
}

static void planted_discs_are_found(void **state)
{
    (void)state;
    static const struct {
        double diameter, fraction, depth, dose, black;
    } cases[] = { { 2.5, 0.25, 0.06, 3000, 0 }, { 4, 0.2, 0.04, 2000, 500 }, { 3, 0.3, -0.05, 4000, 0 } };
    struct mro_device *d = device_of("cpu", 1);
    float *v = zeros(N * N);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct mro_haadf_options o = options_of(999);
        struct mro_haadf_result r;
        const double covered = plant_discs(v, cases[k].diameter, cases[k].fraction, cases[k].depth);
        const double truth = band_sd(d, v, o.band_inv_nm);
        o.black_level = cases[k].black;
        expose(v, cases[k].dose, 0.004, cases[k].black, k);
        measure(d, v, N, &o, &r);
        const struct mro_haadf_regions *one = cases[k].depth > 0 ? &r.dark : &r.bright,
                                       *other = cases[k].depth > 0 ? &r.bright : &r.dark;
        near(r.contrast_sd / truth, 1, 0.06);
        assert_true(r.contrast_sd_ci95[0] < truth && truth < r.contrast_sd_ci95[1]);
        near(r.normalised_variance, r.contrast_sd * r.contrast_sd, 1e-12);
        near(one->area_fraction / covered, 1, 0.08);
        near(one->diameter_nm / cases[k].diameter, 1, 0.08);
        assert_true(one->p_value < 0.002 && one->two_levels && one->null_ratio > 1.3);
        assert_true(other->p_value > 0.05 && isnan(other->diameter_nm));
        assert_true(r.heterogeneous && isnan(r.wavelength_nm));
        assert_true(strstr(r.verdict, cases[k].depth > 0 ? "dark regions of" : "bright regions of") == r.verdict);
        near(r.noise_sd * sqrt(cases[k].dose * (1 - covered * cases[k].depth)), 1, 0.05);
        near(r.line_noise_sd, 0.004, 0.0006);
        assert_true(cases[k].depth > 0 ? r.skewness_ci95[1] < 0 : r.skewness_ci95[0] > 0);
        mro_haadf_result_release(&r);
    }
    free(v);
    mro_device_close(d);
}

/* Unknown black level: contrast comes out smaller by the share that the level has of the counts, and a warning says so.
 */
static void black_level_is_told_of(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    struct mro_haadf_options o = options_of(299);
    struct mro_haadf_result r, s, t;
    float *v = zeros(N * N), *w = zeros(N * N);
    plant_discs(v, 2.5, 0.25, 0.06);
    expose(v, 1000, 0, 1000, 3);
    measure(d, v, N, &o, &r);
    assert_true(warns(&r, "`black_level`"));
    o.black_level = 1000;
    measure(d, v, N, &o, &s);
    assert_false(warns(&s, "`black_level`"));
    near(s.contrast_sd / r.contrast_sd, 2, 0.05);
    /* A place without specimen says the level, and is left out. */
    memcpy(w, v, N * N * sizeof *w);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < 80; x++) w[y * N + x] = 1000 + (float)round(5 * normal_of(9, y * N + x));
    o.black_level = NAN;
    o.vacuum_nm[0] = 0.5;
    o.vacuum_nm[2] = 7;
    o.vacuum_nm[3] = 50;
    measure(d, w, N, &o, &t);
    near(t.black_level, 1000, 0.6);
    near(t.contrast_sd / s.contrast_sd, 1, 0.08);
    assert_true(t.coverage < 0.86);
    mro_haadf_result_release(&r);
    mro_haadf_result_release(&s);
    mro_haadf_result_release(&t);
    free(v);
    free(w);
    mro_device_close(d);
}

static double gaussian_spectrum(double q) { return exp(-q * q / (2 * 0.25 * 0.25)); }

/* Areas beyond thresholds, densities and the correlation of a Gaussian field are known on paper. */
static void gaussian_field_has_the_excursions_of_theory(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    struct mro_haadf_options o = options_of(299);
    struct mro_haadf_result r;
    static const double tail[] = { 0.158655, 0.066807, 0.022750, 0.001350 };
    float *v = zeros(N * N);
    draw_field(d, gaussian_spectrum, v, 1);
    for (size_t i = 0; i < N * N; i++) v[i] = 1 + 0.03f * v[i];
    expose(v, 1e5, 0, 0, 4);
    measure(d, v, N, &o, &r);
    assert_true(r.dark.p_value > 0.01 && r.bright.p_value > 0.01 && !r.heterogeneous);
    assert_true(isnan(r.dark.diameter_nm) && isnan(r.bright.diameter_nm) && isnan(r.wavelength_nm));
    for (size_t k = 0; k < 3; k++) {
        const struct mro_haadf_level *l = r.dark.level + k;
        near(l->null_area_fraction, tail[k], 0.02 * tail[k] + 1e-4);
        near(l->area_fraction, tail[k], 0.2 * tail[k] + 4e-4);
    }
    /* exp(-q^2 / (2 s^2)) has <q^2> = 2 s^2: regions above 2 sd of (2 pi)^(-3/2) 4 pi^2 s^2 2 exp(-2) a nm^2. */
    const double expected = pow(2 * M_PI, -1.5) * 4 * M_PI * M_PI * 0.25 * 0.25 * 2 * exp(-2);
    near(r.dark.level[2].null_density_per_nm2 / expected, 1, 0.1);
    near(r.dark.level[2].density_per_nm2 / expected, 1, 0.25);
    mro_haadf_result_release(&r);
    free(v);
    mro_device_close(d);
}

/* Teubner and Strey's spectrum with wavelength 5 nm and decay length 5 nm. */
static double wave_spectrum(double q)
{
    const double k = 2 * M_PI / 5, x = 1.0 / 25, p = 4 * M_PI * M_PI * q * q;
    return 1 / ((p + x + k * k) * (p + x + k * k) - 4 * k * k * p);
}
static double falling_spectrum(double q) { return pow(1 + 150 * q * q, -1.5); }

static void wavelength_only_where_there_is_one(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    struct mro_haadf_options o = options_of(299);
    float *v = zeros(N * N);
    for (int falling = 0; falling < 2; falling++) {
        struct mro_haadf_result r;
        draw_field(d, falling ? falling_spectrum : wave_spectrum, v, 2);
        for (size_t i = 0; i < N * N; i++) v[i] = 1 + 0.02f * v[i];
        expose(v, 2000, 0.003, 0, 6);
        measure(d, v, N, &o, &r);
        if (falling) {
            assert_true(isnan(r.wavelength_nm) && r.wavelength_p > 0.01);
            assert_true(warns(&r, "no wavelength is given"));
        } else {
            near(r.wavelength_nm, 5, 0.3);
            near(r.coherence_nm, 5, 1.5);
            assert_true(r.wavelength_p < 0.01);
        }
        assert_true(r.correlation_length_nm > 0.5 && r.correlation_length_nm < 5);
        mro_haadf_result_release(&r);
    }
    free(v);
    mro_device_close(d);
}

static void pure_noise_has_no_contrast(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    struct mro_haadf_options o = options_of(299);
    struct mro_haadf_result r;
    float *v = zeros(N * N);
    for (size_t i = 0; i < N * N; i++) v[i] = 1;
    expose(v, 2000, 0.004, 0, 8);
    measure(d, v, N, &o, &r);
    near(r.noise_sd * sqrt(2000), 1, 0.02);
    assert_true(r.contrast_sd_ci95[0] == 0 && r.contrast_sd_ci95[1] < 0.0015);
    assert_true(isnan(r.fwhm) && isnan(r.skewness) && isnan(r.correlation_length_nm) && isnan(r.wavelength_nm));
    assert_false(r.heterogeneous);
    assert_true(strstr(r.verdict, "no contrast beyond noise") == r.verdict);
    mro_haadf_result_release(&r);
    free(v);
    mro_device_close(d);
}

/* Moved frames of one place: what they share is contrast. */
static void frames_are_registered_and_share_contrast(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    struct mro_haadf_options o = options_of(299);
    struct mro_haadf_pool pool = { 0 }, places = { 0 };
    struct mro_haadf_result r, first = { 0 };
    struct mro_error e;
    float *scene = zeros(N * N), *v = zeros(N * N);
    plant_discs(scene, 3, 0.25, 0.05);
    const double truth = band_sd(d, scene, o.band_inv_nm);
    for (size_t k = 0; k < 3; k++) {
        for (size_t y = 0; y < N; y++)
            for (size_t x = 0; x < N; x++) v[y * N + x] = scene[(y + 5 * k) % N * N + (x + 3 * k) % N];
        expose(v, 200, 0.003, 0, 20 + k);
        measure(d, v, N, &o, &r);
        ok(mro_haadf_pool_add(&pool, d, &r, &e), &e);
        if (k == 0)
            first = r;
        else
            mro_haadf_result_release(&r);
    }
    near(pool.largest_shift_nm, pixel * hypot(10, 6), 0.06);
    ok(mro_haadf_pool_measure(&pool, d, "test", &o, &r, &e), &e);
    assert_int_equal(r.frames, 3);
    near(r.contrast_sd / truth, 1, 0.06);
    near(r.noise_sd / first.noise_sd, 1, 0.05);
    near(r.dark.diameter_nm, 3, 0.3);
    assert_true(r.dark.p_value < 0.02);
    mro_haadf_result_release(&r);
    /* Another place does not match. */
    ok(mro_haadf_pool_add(&places, d, &first, &e), &e);
    draw_field(d, gaussian_spectrum, v, 9);
    for (size_t i = 0; i < N * N; i++) v[i] = 1 + 0.03f * v[i];
    expose(v, 200, 0, 0, 30);
    mro_haadf_result_release(&first);
    measure(d, v, N, &o, &r);
    ok(mro_haadf_pool_add(&places, d, &r, &e), &e);
    mro_haadf_result_release(&r);
    ok(mro_haadf_pool_measure(&places, d, "test", &o, &r, &e), &e);
    assert_true(isnan(r.contrast_sd) && isnan(r.dark.p_value) && warns(&r, "do not show the place of the first"));
    mro_haadf_result_release(&r);
    mro_haadf_pool_release(&pool);
    /* One frame twice: its noise would pass for contrast. */
    memset(&pool, 0, sizeof pool);
    measure(d, v, N, &o, &r);
    ok(mro_haadf_pool_add(&pool, d, &r, &e), &e);
    ok(mro_haadf_pool_add(&pool, d, &r, &e), &e);
    mro_haadf_result_release(&r);
    ok(mro_haadf_pool_measure(&pool, d, "test", &o, &r, &e), &e);
    assert_true(isnan(r.contrast_sd) && r.state == NULL && warns(&r, "copies of one"));
    mro_haadf_result_release(&r);
    mro_haadf_pool_release(&pool);
    mro_haadf_pool_release(&places);
    free(scene);
    free(v);
    mro_device_close(d);
}

static void same_bytes_at_any_number_of_threads(void **state)
{
    (void)state;
    struct mro_haadf_result r[2];
    struct mro_haadf_options o = options_of(299);
    float *v = zeros(N * N);
    plant_discs(v, 2.5, 0.2, 0.05);
    expose(v, 500, 0.003, 0, 1);
    for (int k = 0; k < 2; k++) {
        struct mro_device *d = device_of("cpu", k ? 3 : 1);
        measure(d, v, N, &o, r + k);
        mro_device_close(d);
    }
    assert_true(r[0].contrast_sd == r[1].contrast_sd && r[0].skewness == r[1].skewness &&
                r[0].noise_sd == r[1].noise_sd);
    assert_true(r[0].dark.diameter_nm == r[1].dark.diameter_nm && r[0].dark.p_value == r[1].dark.p_value);
    assert_memory_equal(r[0].flat.px, r[1].flat.px, r[0].flat.ny * r[0].flat.nx * sizeof(float));
    for (int k = 0; k < 2; k++) mro_haadf_result_release(r + k);
    free(v);
}

/* The kernels of the cards give the same answer. */
static void strict_agrees(void **state)
{
    (void)state;
    struct mro_haadf_result r[2];
    struct mro_haadf_options o = options_of(299);
    float *v = zeros(N * N), *part = zeros(192 * 192);
    plant_discs(v, 2.5, 0.2, 0.05);
    expose(v, 3000, 0.003, 0, 1);
    for (size_t y = 0; y < 192; y++) memcpy(part + y * 192, v + y * N, 192 * sizeof *part);
    for (int k = 0; k < 2; k++) {
        struct mro_device *d = device_of(k ? "strict" : "cpu", 2);
        measure(d, part, 192, &o, r + k);
        mro_device_close(d);
    }
    near(r[0].contrast_sd / r[1].contrast_sd, 1, 1e-4);
    near(r[0].noise_sd / r[1].noise_sd, 1, 1e-4);
    near(r[0].dark.area_fraction, r[1].dark.area_fraction, 1e-3);
    near(r[0].dark.p_value, r[1].dark.p_value, 0.011);
    for (int k = 0; k < 2; k++) mro_haadf_result_release(r + k);
    free(v);
    free(part);
}

/* Where half of the field is missing, neighbouring waves go together: fewer of them are independent. */
static void a_part_of_a_field_has_no_wavelength_by_chance(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    const struct mro_haadf_options o = options_of(299);
    struct mro_haadf_result r;
    float *v = zeros(N * N);
    int found = 0;
    for (uint64_t k = 0; k < 10; k++) {
        for (size_t i = 0; i < N * N; i++) v[i] = i % N < N / 2 ? NAN : 1000 + 32 * normal_of(60 + k, i);
        measure(d, v, N, &o, &r);
        found += isfinite(r.wavelength_nm);
        assert_true(isnan(r.wavelength_nm) || (r.wavelength_nm >= 1 && r.wavelength_nm <= 15));
        mro_haadf_result_release(&r);
    }
    assert_true(found <= 1);
    free(v);
    mro_device_close(d);
}

/* Noise of counting under a background that rises sixfold: its mean is known, and it is no heterogeneity. */
static void noise_follows_a_strong_wedge(void **state)
{
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_haadf_options o = options_of(299);
    (void)state;
    for (uint64_t k = 0; k < 3; k++) {
        struct mro_haadf_result r;
        float *v = zeros(N * N);
        double mean = 0;
        for (size_t i = 0; i < N * N; i++) {
            const double counts = 100 * (1 + 5 * (double)(i % N) / N);
            v[i] = (float)(counts + sqrt(counts) * normal_of(3000 + k, i));
            mean += 1 / counts / (N * N);
        }
        measure(d, v, N, &o, &r);
        near(r.noise_sd, sqrt(mean), 0.015 * sqrt(mean));
        assert_false(r.heterogeneous);
        assert_true(r.contrast_sd_ci95[0] == 0);
        mro_haadf_result_release(&r);
        free(v);
    }
    mro_device_close(d);
}

/* Images that were aligned have a rim without pixels. */
static void noise_is_told_beside_a_rim(void **state)
{
    enum { SMALL = 128, RIM = 9 };
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_haadf_options o = options_of(299);
    struct mro_haadf_result r;
    float *v = zeros(SMALL * SMALL);
    (void)state;
    for (size_t i = 0; i < SMALL * SMALL; i++) {
        const size_t y = i / SMALL, x = i % SMALL;
        const bool out = y < RIM || x < RIM || y >= SMALL - 2 * RIM || x >= SMALL - RIM;
        v[i] = out ? NAN : (float)(400 + 20 * normal_of(3100, i));
    }
    measure(d, v, SMALL, &o, &r);
    near(r.noise_sd, 0.05, 0.002);
    mro_haadf_result_release(&r);
    free(v);
    mro_device_close(d);
}

/* What is looked at of an image to see how far its counts spread must not all lie in a rim of it. */
static void wide_rim_has_a_background_beside_it(void **state)
{
    enum { NY = 192, RIM = 260 };
    const size_t widths[] = { 896, 1024, 1792 };
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_haadf_options o = options_of(299);
    (void)state;
    for (size_t k = 0; k < sizeof widths / sizeof *widths; k++) {
        const size_t nx = widths[k];
        float *v = zeros(NY * nx);
        struct mro_image im = image_of(v, NY);
        struct mro_haadf_result r;
        struct mro_error e;
        im.nx = nx;
        for (size_t i = 0; i < NY * nx; i++) v[i] = i % nx < RIM ? NAN : 400 + 20 * normal_of(3110 + k, i);
        ok(mro_haadf_measure(d, &im, "test", &o, &r, &e), &e);
        assert_false(warns(&r, "no positive background"));
        near(r.noise_sd, 0.05, 0.002);
        mro_haadf_result_release(&r);
        free(v);
    }
    mro_device_close(d);
}

/* A step of thickness is told of and is neither contrast nor regions; beside it the discs are what they are. */
static void a_step_is_no_region(void **state)
{
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_haadf_options o = options_of(299);
    (void)state;
    for (int discs = 0; discs < 2; discs++) {
        struct mro_haadf_result r;
        float *v = zeros(N * N);
        double fraction = plant_discs(v, 2.5, discs ? 0.25 : 0, 0.06), contrast = band_sd(d, v, o.band_inv_nm);
        for (size_t y = 0; y < N; y++)
            for (size_t x = 0; x < N; x++)
                if (cos(0.5) * (double)x + sin(0.5) * (double)y > 0.8 * N) v[y * N + x] *= 1.12f;
        expose(v, 800, 0, 0, 3200);
        measure(d, v, N, &o, &r);
        if (discs) {
            near(r.contrast_sd, contrast, 0.1 * contrast);
            near(r.dark.diameter_nm, 2.5, 0.3);
            near(r.dark.area_fraction, fraction, 0.15 * fraction);
        } else {
            assert_true(warns(&r, "a straight edge crosses the field, its normal at 29 deg"));
            assert_false(r.heterogeneous);
            assert_true(r.contrast_sd_ci95[1] < 0.004);
        }
        mro_haadf_result_release(&r);
        free(v);
    }
    mro_device_close(d);
}

/* A large field is compared with fields that are put together of tiles: noise is called at the rate that it says. */
/* Texture that is drawn out in one direction is contrast, and no edge. */
static void texture_with_a_direction_is_no_edge(void **state)
{
    enum { WAVES = 120 };
    struct mro_device *d = device_of("cpu", 0);
    const struct mro_haadf_options o = options_of(299);
    struct mro_haadf_result r;
    float *v = zeros(N * N);
    (void)state;
    for (uint64_t k = 0; k < WAVES; k++) {
        const double qy = 0.05 * normal_of(81, k), qx = 0.3 * normal_of(82, k), start = 7 * normal_of(83, k);
        for (size_t y = 0; y < N; y++)
            for (size_t x = 0; x < N; x++)
                v[y * N + x] += cosf((float)(2 * M_PI * pixel * (qy * (double)y + qx * (double)x) + start));
    }
    for (size_t i = 0; i < N * N; i++) v[i] = 1 + 0.03F * v[i] / sqrtf(WAVES / 2);
    expose(v, 200, 0, 0, 84);
    measure(d, v, N, &o, &r);
    for (size_t i = 0; i < r.n_warnings; i++) assert_null(strstr(r.warnings[i], "straight edge"));
    assert_true(r.contrast_sd > 0.022);
    mro_haadf_result_release(&r);
    free(v);
    mro_device_close(d);
}

static void tiles_make_a_field(void **state)
{
    enum { LARGE = 800, DRAWS = 8 }; /* 160 nm: two tiles along each axis */
    struct mro_device *d = device_of("cpu", 2);
    struct mro_haadf_options o = options_of(299);
    size_t below = 0;
    (void)state;
    o.band_inv_nm[1] = 0.6;
    for (uint64_t k = 0; k < DRAWS; k++) {
        struct mro_image im = { 0 };
        struct mro_haadf_result r;
        struct mro_error e;
        ok(mro_image_alloc(&im, LARGE, LARGE, &e), &e);
        ok(mro_image_set_pixel_nm(&im, 0.2, MRO_SOURCE_COMMAND_LINE, &e), &e);
        for (size_t i = 0; i < LARGE * LARGE; i++) im.px[i] = 400 + 20 * normal_of(3300 + k, i);
        ok(mro_haadf_measure(d, &im, "noise", &o, &r, &e), &e);
        below += r.dark.p_value < 0.25;
        assert_true(r.dark.p_value > 0.002 && r.bright.p_value > 0.002);
        near(r.dark.level[0].null_area_fraction, 0.1587, 0.002);
        mro_haadf_result_release(&r);
        mro_image_release(&im);
    }
    assert_in_range(below, 0, 6); /* two expected */
    mro_device_close(d);
}

static void what_cannot_be_measured_says_so(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    struct mro_haadf_options o = options_of(299);
    struct mro_haadf_result r;
    struct mro_error e;
    float *v = zeros(N * N);
    for (size_t i = 0; i < N * N; i++) v[i] = 7;
    measure(d, v, N, &o, &r);
    assert_true(isnan(r.contrast_sd) && isnan(r.dark.p_value) && warns(&r, "same value"));
    mro_haadf_result_release(&r);
    for (size_t i = 0; i < N * N; i++) v[i] = normal_of(1, i);
    measure(d, v, N, &o, &r);
    assert_true(isnan(r.contrast_sd) && warns(&r, "no positive background"));
    mro_haadf_result_release(&r);
    for (size_t i = 0; i < N * N; i++) v[i] = i % 10 ? NAN : 100 + normal_of(1, i);
    measure(d, v, N, &o, &r);
    assert_true(isnan(r.contrast_sd) && warns(&r, "hold a number"));
    mro_haadf_result_release(&r);
    for (size_t i = 0; i < N * N; i++) v[i] = NAN;
    measure(d, v, N, &o, &r);
    assert_true(isnan(r.contrast_sd) && warns(&r, "no pixel holds a number"));
    mro_haadf_result_release(&r);
    for (size_t i = 0; i < N * N; i++) v[i] = fminf(110, 100 + 10 * normal_of(1, i));
    measure(d, v, N, &o, &r);
    near(r.clipped_fraction, 0.1587, 0.003);
    assert_true(warns(&r, "clipped"));
    mro_haadf_result_release(&r);
    for (size_t i = 0; i < N * N; i++) { /* a wedge: noise is not the same everywhere, and may be overrated */
        const float mean = 200 + 4 * (float)(i % N);
        v[i] = mean + sqrtf(mean) * normal_of(2, i);
    }
    measure(d, v, N, &o, &r);
    assert_true(r.contrast_sd_ci95[1] > 0 && r.contrast_sd_ci95[1] < 0.004);
    mro_haadf_result_release(&r);
    for (size_t i = 0; i < N * N; i++) { /* the soft edge of the specimen */
        const float mean = 1000 / (1 + expf(((float)(i % N) - 150) / -8)) + 2;
        v[i] = mean + sqrtf(mean) * normal_of(3, i);
    }
    measure(d, v, N, &o, &r);
    assert_null(strstr(r.verdict, "nan"));
    mro_haadf_result_release(&r);
    for (size_t i = 0; i < N * N; i++) v[i] = 100 + 10 * normal_of(1, i);
    measure(d, v, 20, &o, &r); /* 2 nm */
    assert_true(isnan(r.contrast_sd) && warns(&r, "smaller than 3 of the shortest waves"));
    mro_haadf_result_release(&r);
    measure(d, v, 200, &o, &r); /* 20 nm */
    assert_true(warns(&r, "three of the longest waves"));
    mro_haadf_result_release(&r);

    struct mro_image im = image_of(v, 6);
    assert_int_equal(mro_haadf_measure(d, &im, "test", &o, &r, &e), MRO_EDATA);
    im = image_of(v, N);
    im.axis[0].step = im.axis[1].step = 0;
    assert_int_equal(mro_haadf_measure(d, &im, "test", &o, &r, &e), MRO_ECALIB);
    im = image_of(v, N);
    o.band_inv_nm[1] = 6;
    assert_int_equal(mro_haadf_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    o.hrtem = true;
    o.band_inv_nm[1] = 4;
    assert_int_equal(mro_haadf_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "lattice"));
    o = options_of(299);
    o.thresholds_sd[1] = o.thresholds_sd[0];
    assert_int_equal(mro_haadf_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    o = options_of(50);
    assert_int_equal(mro_haadf_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    free(v);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_discs_are_found),
        cmocka_unit_test(black_level_is_told_of),
        cmocka_unit_test(gaussian_field_has_the_excursions_of_theory),
        cmocka_unit_test(wavelength_only_where_there_is_one),
        cmocka_unit_test(pure_noise_has_no_contrast),
        cmocka_unit_test(frames_are_registered_and_share_contrast),
        cmocka_unit_test(same_bytes_at_any_number_of_threads),
        cmocka_unit_test(strict_agrees),
        cmocka_unit_test(a_part_of_a_field_has_no_wavelength_by_chance),
        cmocka_unit_test(noise_follows_a_strong_wedge),
        cmocka_unit_test(noise_is_told_beside_a_rim),
        cmocka_unit_test(wide_rim_has_a_background_beside_it),
        cmocka_unit_test(a_step_is_no_region),
        cmocka_unit_test(texture_with_a_direction_is_no_edge),
        cmocka_unit_test(tiles_make_a_field),
        cmocka_unit_test(what_cannot_be_measured_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

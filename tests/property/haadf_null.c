/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Noise, smoothed until it looks like regions, is not called heterogeneous: 16 draws, of which hardly any may fail. */
#include "fields.h"
#include "mroscope/haadf.h"

enum { N = 320, DRAWS = 16 };
static const double pixel = 0.1;

/* Shot noise of a flat specimen smoothed by a Gaussian of `sigma` nm. */
static void draw(struct mro_device *d, double sigma, uint64_t stream, float *v)
{
    const struct mro_grid g = { N, N, N * pixel, N * pixel };
    const double wide[2] = { -1, 1e3 };
    struct mro_buffer field = buffer_of(d, N * N * sizeof(float)), spectrum = buffer_of(d, N * N * sizeof(mro_c32));
    struct mro_error e;
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) {
            const double q = hypot(frequency_of(y, N, g.ly), frequency_of(x, N, g.lx));
            v[y * N + x] = (float)exp(-2 * M_PI * M_PI * sigma * sigma * q * q);
        }
    ok(d->ops->noise_spectrum(d, &g, 11, stream, wide, 0.1, &spectrum, &e), &e);
    ok(d->ops->multiply(d, &g, &spectrum, v, &e), &e);
    ok(d->ops->inverse(d, &g, &spectrum, &field, &e), &e);
    ok(d->ops->download(d, v, &field, N * N * sizeof(float), &e), &e);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) {
            float *p = v + y * N + x;
            *p = (float)round(20000 * (1 + 0.05 * ((double)x / N - 0.5)) * (1 + 0.2 * *p));
        }
    d->ops->release(d, &field);
    d->ops->release(d, &spectrum);
}

static void smoothed_noise_is_not_called(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 0);
    struct mro_haadf_options o;
    float *v = malloc((size_t)N * N * sizeof *v);
    size_t called = 0, low = 0, sized = 0, waves = 0;
    assert_non_null(v);
    mro_haadf_options_default(&o);
    for (size_t k = 0; k < DRAWS; k++) {
        struct mro_image im = { .ny = N, .nx = N, .px = v };
        struct mro_haadf_result r;
        struct mro_error e;
        draw(d, (k % 2 ? 1 : 1 / 2.355) * (0.5 + 0.5 * (double)k / DRAWS), k, v);
        ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
        ok(mro_haadf_measure(d, &im, "noise", &o, &r, &e), &e);
        assert_true(r.dark.p_value > 0 && r.dark.p_value <= 1 && r.bright.p_value > 0 && r.bright.p_value <= 1);
        called += r.heterogeneous;
        low += r.dark.p_value < 0.5;
        sized += isfinite(r.dark.diameter_nm);
        waves += isfinite(r.wavelength_nm);
        mro_haadf_result_release(&r);
    }
    /* At 1 % two are called in one of a hundred such sets. */
    assert_true(called <= 1 && sized <= 1 && waves <= 1);
    /* p is spread over all of its range, not just above the limit. */
    assert_true(low >= 3 && low <= 13);
    free(v);
    mro_device_close(d);
}

/* Nor with most of the field missing: what is left scatters more than a whole field does. */
static void a_part_of_smoothed_noise_is_not_called(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 0);
    struct mro_haadf_options o;
    float *v = malloc((size_t)N * N * sizeof *v);
    size_t called = 0, low = 0, edges = 0;
    assert_non_null(v);
    mro_haadf_options_default(&o);
    o.surrogates = 299;
    for (size_t k = 0; k < DRAWS; k++) {
        struct mro_image im = { .ny = N, .nx = N, .px = v };
        struct mro_haadf_result r;
        struct mro_error e;
        draw(d, 0.7, 100 + k, v);
        for (size_t i = 0; i < (size_t)N * N; i++)
            if (i % N > 0.35 * N) v[i] = NAN;
        ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
        ok(mro_haadf_measure(d, &im, "noise", &o, &r, &e), &e);
        called += r.heterogeneous;
        low += (r.dark.p_value < 0.05) + (r.bright.p_value < 0.05);
        for (size_t i = 0; i < r.n_warnings; i++) edges += strstr(r.warnings[i], "straight edge") != NULL;
        mro_haadf_result_release(&r);
    }
    /* Of 32 chances of 5 % more than five are met in one of two hundred such sets. */
    if (called > 1 || low > 5 || edges)
        fail_msg("%zu called, %zu of %d below 0.05, %zu edges", called, low, 2 * DRAWS, edges);
    free(v);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(smoothed_noise_is_not_called),
                                        cmocka_unit_test(a_part_of_smoothed_noise_is_not_called) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

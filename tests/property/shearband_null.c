/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Noise and random heterogeneity of any length have no bands: 9 draws, of which hardly any may be called. */
#include "fields.h"
#include "mroscope/shearband.h"

enum { N = 128, DRAWS = 9 };
static const double pixel = 1;

/* A Gaussian field with the spectrum of noise smoothed by sigma, on a larger field, since borders do not match. */
static void draw(struct mro_device *d, double sigma, uint64_t stream, float *out)
{
    enum { M = 192 };
    const struct mro_grid g = { M, M, M * pixel, M * pixel };
    const double wide[2] = { -1, 1e3 };
    struct mro_buffer field = buffer_of(d, M * M * sizeof(float)), spectrum = buffer_of(d, M * M * sizeof(mro_c32));
    struct mro_error e;
    float *v = malloc((size_t)M * M * sizeof *v);
    assert_non_null(v);
    for (size_t y = 0; y < M; y++)
        for (size_t x = 0; x < M; x++) {
            const double q = hypot(frequency_of(y, M, g.ly), frequency_of(x, M, g.lx));
            v[y * M + x] = (float)(sqrt(1 + 4 * M_PI * sigma * sigma) * exp(-2 * M_PI * M_PI * sigma * sigma * q * q));
        }
    ok(d->ops->noise_spectrum(d, &g, 21, stream, wide, 0.1, &spectrum, &e), &e);
    ok(d->ops->multiply(d, &g, &spectrum, v, &e), &e);
    ok(d->ops->inverse(d, &g, &spectrum, &field, &e), &e);
    ok(d->ops->download(d, v, &field, M * M * sizeof(float), &e), &e);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++)
            out[y * N + x] = (float)(20000 * (1 + 0.1 * ((double)x / N - 0.5)) * (1 + 0.01 * v[y * M + x]) +
                                     100 * normal_of(99 + stream, y * N + x));
    d->ops->release(d, &field);
    d->ops->release(d, &spectrum);
    free(v);
}

static void random_fields_have_no_bands(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 0);
    struct mro_shearband_options o;
    float *v = malloc((size_t)N * N * sizeof *v);
    size_t called = 0, low = 0;
    assert_non_null(v);
    mro_shearband_options_default(&o);
    o.surrogates = 99;
    o.alpha = 0.011;
    for (size_t k = 0; k < DRAWS; k++) {
        struct mro_image im = { .ny = N, .nx = N, .px = v };
        struct mro_shearband_result r;
        struct mro_error e;
        draw(d, (double)(k % 4) * 1.5, k, v);
        ok(mro_image_set_pixel_nm(&im, pixel, MRO_SOURCE_COMMAND_LINE, &e), &e);
        ok(mro_shearband_measure(d, &im, "noise", &o, &r, &e), &e);
        called += r.n_bands > 0;
        low += r.p_value < 0.5;
        mro_shearband_result_release(&r);
    }
    assert_true(called <= 1);
    assert_true(low >= 1 && low <= 8);
    free(v);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(random_fields_have_no_bands) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

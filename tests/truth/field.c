/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The primitives of the reference backend against direct sums and fields whose spectra are known on paper. */
#include "on_cpu.h"

#include <complex.h>

#include "cpu/fft.h"
#include "kernels/contrast.h"
#include "mroscope/math/band.h"
#include "mroscope/math/ctf.h"

static void noise_is_hermitian_with_unit_power_in_band(void **state)
{
    static const struct mro_grid grids[] = { { 90, 96, 7, 7.5 }, { 97, 101, 7.3, 7.5 }, { 75, 54, 6, 4 } };
    const double band[2] = { 4.1, 5.8 };
    (void)state;
    for (size_t k = 0; k < sizeof grids / sizeof *grids; k++) {
        const struct mro_grid *g = grids + k;
        const size_t n = g->ny * g->nx;
        struct mro_buffer b = buffer_of(d, n * sizeof(mro_c32)), f = buffer_of(d, n * sizeof(float));
        double power = 0, inside = 0, square = 0, gain2 = 0;
        for (uint64_t stream = 0; stream < 8; stream++) {
            ok(d->ops->noise_spectrum(d, g, 5, stream, band, 0.15, &b, &e), &e);
            mro_c32 *s = get(d, &b, n * sizeof *s);
            for (size_t y = 0; y < g->ny; y++)
                for (size_t x = 0; x < g->nx; x++) {
                    const mro_c32 v = s[y * g->nx + x], w = s[(g->ny - y) % g->ny * g->nx + (g->nx - x) % g->nx];
                    assert_true(v.re == w.re && v.im == -w.im); /* bit by bit: both come from one draw */
                    const double q = hypot(frequency_of(y, g->ny, g->ly), frequency_of(x, g->nx, g->lx));
                    const double p = (double)v.re * v.re + (double)v.im * v.im;
                    if (q < 4.02 || q > 5.88) assert_true(p == 0);
                    if (2 * y == g->ny || 2 * x == g->nx) {
                        assert_true(p == 0); /* the middle frequency has no partner */
                        continue;
                    }
                    const double gain = mro_band_gain((float)q, 4.1f, 5.8f, 0.15f);
                    gain2 += gain * gain;
                    if (q > 4.2 && q < 5.7) {
                        power += p;
                        inside += 1;
                    }
                }
            ok(d->ops->inverse(d, g, &b, &f, &e), &e);
            float *v = get(d, &f, n * sizeof *v);
            for (size_t i = 0; i < n; i++) square += (double)v[i] * v[i];
            free(v);
            free(s);
        }
        /* Exponential powers, drawn once a pair: five standard errors. */
        near(power / inside, 1, 5 * sqrt(2 / inside));
        near(square / gain2, 1, 5 * sqrt(2 / inside)); /* Parseval of the unitary transform */
        d->ops->release(d, &b);
        d->ops->release(d, &f);
    }
}

/* The same seed draws the same field on a finer grid of the same area: what is added is resolution only. */
static void noise_is_the_same_field_on_any_grid(void **state)
{
    const struct mro_grid coarse = { 90, 90, 6, 6 }, fine = { 128, 160, 6, 6 };
    const double band[2] = { 4.1, 5.8 };
    (void)state;
    struct mro_buffer a = buffer_of(d, 90 * 90 * sizeof(mro_c32)), b = buffer_of(d, 128 * 160 * sizeof(mro_c32));
    ok(d->ops->noise_spectrum(d, &coarse, 5, 1, band, 0.15, &a, &e), &e);
    ok(d->ops->noise_spectrum(d, &fine, 5, 1, band, 0.15, &b, &e), &e);
    mro_c32 *s = get(d, &a, 90 * 90 * sizeof *s), *t = get(d, &b, 128 * 160 * sizeof *t);
    for (int ky = -40; ky <= 40; ky++)
        for (int kx = -40; kx <= 40; kx++) {
            const mro_c32 u = s[(ky + 90) % 90 * 90 + (kx + 90) % 90];
            const mro_c32 v = t[(ky + 128) % 128 * 160 + (kx + 160) % 160];
            assert_true(u.re == v.re && u.im == v.im);
        }
    free(s);
    free(t);
    d->ops->release(d, &a);
    d->ops->release(d, &b);
}

/* Lines of small factors and of others, against direct sums in double; then back. */
static void lines_match_direct_sums_and_return(void **state)
{
    static const size_t lengths[] = { 1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 30, 97, 200, 360, 501, 1152, 2048 };
    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        const size_t n = lengths[l];
        struct mro_room r, s;
        assert_true(mro_room_new(&r, n) && mro_room_new(&s, n));
        float *in = (float *)r.in, *back = (float *)s.out;
        for (size_t i = 0; i < 2 * MRO_LANES * n; i++) in[i] = normal_of(2, i);
        mro_lines_run(r.lines, false, r.in, r.out, r.scratch);
        mro_lines_run(r.lines, true, r.out, s.out, r.scratch);
        double complex *turn = malloc(n * sizeof *turn);
        for (size_t k = 0; k < n; k++) turn[k] = cexp(-2 * MRO_PI * I * (double)k / (double)n);
        const size_t lane = l % MRO_LANES;
        double off = 0, all = 0, off_back = 0;
        for (size_t k = 0; k < n; k++) {
            double complex sum = 0;
            for (size_t j = 0, at = 0; j < n; j++, at = (at + k) % n)
                sum += ((double)r.in[j].re[lane] + I * (double)r.in[j].im[lane]) * turn[at];
            off += pow(cabs(sum - r.out[k].re[lane] - I * (double)r.out[k].im[lane]), 2);
            all += pow(cabs(sum), 2);
        }
        for (size_t i = 0; i < 2 * MRO_LANES * n; i++) off_back = fmax(off_back, fabs(back[i] / (double)n - in[i]));
        near(sqrt(off / all), 0, 3e-7);
        near(off_back, 0, 3e-6);
        free(turn);
        mro_room_release(&r);
        mro_room_release(&s);
    }
}

/* Long rows are transformed in place, from numbers that are spread: nothing else may come out of it. */
static void rows_in_place_are_those_apart(void **state)
{
    static const size_t lengths[] = { 1000, 1001, 12288, 16384, 16386, 19683, 20000, 20020 };
    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        const size_t nx = lengths[l], columns = nx / 3, stride = 2 * MRO_LANES;
        struct mro_real s[2];
        struct mro_wide *half[2];
        assert_true(mro_real_new(&s[0], nx) && mro_real_new_forward(&s[1], nx));
        for (int i = 0; i < 2; i++) {
            half[i] = mro_panels_new(columns, stride);
            assert_non_null(half[i]);
            memset(half[i], 0, mro_panels(columns) * stride * sizeof **half);
            for (size_t part = 0; part < s[i].parts; part++) {
                mro_lanes *to = mro_real_part(s[i].room.in, part);
                for (size_t x = 0, place = 0; x < nx; x++, place = mro_real_next(&s[i], place)) {
                    assert_int_equal(place, mro_real_place(&s[i], x));
                    for (size_t k = 0; k < MRO_LANES; k++) to[place][k] = normal_of(4, (part * nx + x) * MRO_LANES + k);
                }
            }
            mro_real_forward(&s[i], columns, half[i], stride, 0);
        }
        assert_memory_equal(half[0], half[1], mro_panels(columns) * stride * sizeof **half);
        for (int i = 0; i < 2; i++) {
            free(half[i]);
            mro_real_release(&s[i]);
        }
    }
}

static void transforms_match_direct_sums_and_return(void **state)
{
    static const size_t sizes[][2] = { { 15, 16 }, { 17, 12 }, { 13, 29 }, { 1, 8 }, { 37, 50 } };
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const struct mro_grid g = { sizes[k][0], sizes[k][1], 3, 2 };
        const size_t n = g.ny * g.nx;
        float *v = malloc(n * sizeof *v);
        for (size_t i = 0; i < n; i++) v[i] = normal_of(1, i);
        struct mro_buffer f = buffer_of(d, n * sizeof *v), s = buffer_of(d, n * sizeof(mro_c32));
        put(d, &f, v, n * sizeof *v);
        ok(d->ops->forward(d, &g, &f, &s, &e), &e);
        mro_c32 *t = get(d, &s, n * sizeof *t);
        for (size_t y = 0; y < g.ny; y++)
            for (size_t x = 0; x < g.nx; x++) {
                double complex sum = 0;
                for (size_t j = 0; j < g.ny; j++)
                    for (size_t i = 0; i < g.nx; i++)
                        sum +=
                            v[j * g.nx + i] *
                            cexp(-2 * MRO_PI * I * ((double)(y * j) / (double)g.ny + (double)(x * i) / (double)g.nx));
                sum /= sqrt((double)n);
                near(t[y * g.nx + x].re, creal(sum), 1e-5); /* float32 sums of unit numbers */
                near(t[y * g.nx + x].im, cimag(sum), 1e-5);
            }
        ok(d->ops->inverse(d, &g, &s, &f, &e), &e);
        float *back = get(d, &f, n * sizeof *back);
        for (size_t i = 0; i < n; i++) near(back[i], v[i], 1e-5);
        free(back);
        free(t);
        free(v);
        d->ops->release(d, &f);
        d->ops->release(d, &s);
    }
}

static mro_c32 *contrast_of(const float *px, size_t ny, size_t nx, double pixel, const struct mro_grid *g,
                            size_t *spikes)
{
    const double p[2] = { pixel, pixel };
    const size_t n = g->ny * g->nx;
    struct mro_buffer b = buffer_of(d, n * sizeof(mro_c32));
    ok(d->ops->contrast_spectrum(d, px, ny, nx, p, 2.5, g, &b, spikes, NULL, &e), &e);
    mro_c32 *s = get(d, &b, n * sizeof *s);
    d->ops->release(d, &b);
    return s;
}

/* counts = mean * (1 + a cos(2 pi q.r)), a whole number of periods across: all of it is at +-q, a sqrt(N) / 2 each. */
static void contrast_of_a_cosine_is_its_amplitude(void **state)
{
    static const struct {
        size_t ny, nx, gy, gx;
        int ky, kx;
    } row[] = { { 320, 320, 108, 108, 20, 25 },
                { 301, 331, 90, 105, -20, 25 },
                { 320, 333, 107, 108, 0, 31 },
                { 307, 311, 100, 101, 29, 0 } };
    (void)state;
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        const size_t ny = row[k].ny, nx = row[k].nx;
        const struct mro_grid g = { row[k].gy, row[k].gx, 0.02 * (double)ny, 0.02 * (double)nx };
        float *px = malloc(ny * nx * sizeof *px);
        const double a = 0.07;
        for (size_t y = 0; y < ny; y++)
            for (size_t x = 0; x < nx; x++)
                px[y * nx + x] = (float)(1600 * (1 + a * cos(2 * MRO_PI *
                                                             ((double)row[k].ky * (double)y / (double)ny +
                                                              (double)row[k].kx * (double)x / (double)nx))));
        size_t spikes = 9;
        mro_c32 *s = contrast_of(px, ny, nx, 0.02, &g, &spikes);
        assert_int_equal(spikes, 0);
        const double want = 0.5 * a * sqrt((double)ny * (double)nx);
        double rest = 0;
        for (size_t y = 0; y < g.ny; y++)
            for (size_t x = 0; x < g.nx; x++) {
                const int qy = (int)frequency_of(y, g.ny, 1), qx = (int)frequency_of(x, g.nx, 1);
                const mro_c32 v = s[y * g.nx + x];
                if ((qy == row[k].ky && qx == row[k].kx) || (qy == -row[k].ky && qx == -row[k].kx)) {
                    /* The local mean of a whole number of fringes is flat but near the borders: under half a percent.
                     */
                    near(v.re / want, 1, 5e-3);
                    near(v.im / want, 0, 5e-3);
                } else if (hypot(frequency_of(y, g.ny, g.ly), frequency_of(x, g.nx, g.lx)) > 1) {
                    rest += (double)v.re * v.re + (double)v.im * v.im;
                }
            }
        assert_true(rest < 1e-3 * 2 * want * want);
        free(s);
        free(px);
    }
}

/* A ramp jumps at the border of a periodic transform. The smooth part carries the jump, so that nothing of it is left
 * in the band, where a plain transform has a cross of power. */
static void a_ramp_leaves_no_cross(void **state)
{
    enum { N = 360 };
    const struct mro_grid g = { 108, 108, 7.2, 7.2 };
    float *px = malloc((size_t)N * N * sizeof *px);
    (void)state;
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) px[y * N + x] = 1000 + 2.0f * (float)x + 1.0f * (float)y;
    mro_c32 *s = contrast_of(px, N, N, 0.02, &g, NULL);
    double band = 0;
    for (size_t y = 0; y < g.ny; y++)
        for (size_t x = 0; x < g.nx; x++) {
            const double q = hypot(frequency_of(y, g.ny, g.ly), frequency_of(x, g.nx, g.lx));
            const mro_c32 v = s[y * g.nx + x];
            if (q > 4 && q < 6) band += (double)v.re * v.re + (double)v.im * v.im;
        }
    /* Shot noise of 1 % contrast puts 1e-4 into each of the 3000 places: a hundredth of that is not seen. What is left
     * comes from the change of slope at the border. */
    near(band, 0, 3e-3);
    free(s);
    free(px);
}

/* Spikes of many counts leave the spectrum as it was without them, up to the few pixels that their median replaces. */
static void spikes_are_replaced(void **state)
{
    enum { N = 320 };
    const struct mro_grid g = { 96, 96, 6.4, 6.4 };
    float *px = malloc((size_t)N * N * sizeof *px);
    (void)state;
    for (size_t i = 0; i < (size_t)N * N; i++) px[i] = 1000 + 30 * normal_of(2, i);
    size_t none = 0, some = 0;
    mro_c32 *clean = contrast_of(px, N, N, 0.02, &g, &none);
    for (size_t k = 0; k < 40; k++) px[(k * 997 + 13) % ((size_t)N * N)] = k % 2 ? 60000 : -3000;
    mro_c32 *dirty = contrast_of(px, N, N, 0.02, &g, &some);
    assert_true(none <= 2); /* eight sigmas of a Gaussian */
    assert_true(some >= 40 && some <= 44);
    double difference = 0, power = 0;
    for (size_t i = 0; i < g.ny * g.nx; i++) {
        difference += pow(clean[i].re - dirty[i].re, 2) + pow(clean[i].im - dirty[i].im, 2);
        power += (double)clean[i].re * clean[i].re + (double)clean[i].im * clean[i].im;
    }
    assert_true(difference < 2e-3 * power); /* 40 of 102400 pixels lost, each with about twice its variance */
    free(clean);
    free(dirty);
    free(px);
}

static int rising(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float median_at(const float *px, size_t ny, size_t nx, size_t y, size_t x)
{
    const float *mid = px + y * nx, *up = y ? mid - nx : mid, *down = y + 1 < ny ? mid + nx : mid;
    return mro_neighbours_median(up, mid, down, (uint32_t)nx, (uint32_t)x);
}

/* As many as the definition says, pixel by pixel: of all heights, around the borders of what is looked at together, at
 * those of the image, beside pixels without data, and whole rows. The coarse image has blocks of one pixel. */
static void spikes_are_those_of_the_definition(void **state)
{
    enum { NY = 75, NX = 1100 };
    const struct mro_grid g = { 12, 96, 1.5, 22 };
    float *px = malloc((size_t)NY * NX * sizeof *px), *residual = malloc((size_t)NY * NX * sizeof *residual);
    (void)state;
    for (int coarse = 0; coarse < 2; coarse++) {
        for (size_t i = 0; i < (size_t)NY * NX; i++) px[i] = 1000 + 30 * normal_of(2, i);
        for (size_t k = 0; k < 120; k++) {
            const size_t y = k % 5 ? k * 31 % NY : (k / 5 * 15 + k % 2) % NY;
            const size_t x = k % 3 ? k * 101 % NX : k % 2 ? 506 + k / 6 % 12 : (NX - 3 + k / 6 % 6) % NX;
            px[y * NX + x] += (k % 4 < 2 ? 6.0f : -6.0f) * (float)k;
        }
        for (size_t x = 0; x < NX; x++) px[20 * NX + x] += x < 400 ? 350 : x > 600 ? -250 : 0;
        for (size_t k = 0; k < 8; k++) px[(14 + 15 * (k / 2)) * NX + 511 + k % 2] = k < 7 ? NAN : INFINITY;
        size_t n = 0, expected = 0, found = 0;
        for (size_t y = 1; y < NY - 1; y += MRO_SPIKE_ROW_STEP)
            for (size_t x = 0; x < NX; x++) {
                const float r = fabsf(px[y * NX + x] - median_at(px, NY, NX, y, x));
                if (r == r) residual[n++] = r;
            }
        qsort(residual, n, sizeof *residual, rising);
        const float threshold = MRO_SPIKE_THRESHOLD(residual[n / 2]);
        for (size_t i = 0; i < (size_t)NY * NX; i++)
            expected += fabsf(px[i] - median_at(px, NY, NX, i / NX, i % NX)) > threshold;
        free(contrast_of(px, NY, NX, coarse ? 0.2 : 0.02, &g, &found));
        assert_true(expected > 500 && expected < 1000);
        assert_int_equal(found, expected);
    }
    free(px);
    free(residual);
}

static void missing_pixels_and_images_of_differences(void **state)
{
    enum { N = 200 };
    const struct mro_grid g = { 54, 54, 4, 4 };
    float *px = malloc((size_t)N * N * sizeof *px);
    (void)state;
    /* Around zero (a filtered image): divided by its magnitude, finite all the same. */
    for (size_t i = 0; i < (size_t)N * N; i++) px[i] = normal_of(3, i);
    mro_c32 *s = contrast_of(px, N, N, 0.02, &g, NULL);
    for (size_t i = 0; i < g.ny * g.nx; i++) assert_true(isfinite(s[i].re) && isfinite(s[i].im));
    free(s);
    /* A quarter without data. */
    for (size_t i = 0; i < (size_t)N * N; i++)
        px[i] = i / N < N / 2 && i % N < N / 2 ? NAN : 500 + 10 * normal_of(3, i);
    s = contrast_of(px, N, N, 0.02, &g, NULL);
    for (size_t i = 0; i < g.ny * g.nx; i++) assert_true(isfinite(s[i].re) && isfinite(s[i].im));
    free(s);
    free(px);
    /* Too small to carry a band. */
    const double pixel[2] = { 0.02, 0.02 };
    float few[49] = { 0 };
    struct mro_buffer b = buffer_of(d, 49 * sizeof(mro_c32));
    const struct mro_grid tiny = { 7, 7, 0.14, 0.14 };
    assert_int_equal(d->ops->contrast_spectrum(d, few, 7, 7, pixel, 2.5, &tiny, &b, NULL, NULL, &e), MRO_EDATA);
    d->ops->release(d, &b);
}

static void local_power_of_white_noise_is_one(void **state)
{
    static const struct mro_grid grids[] = { { 324, 324, 24, 24 }, { 217, 331, 16, 24.5 } };
    const double wide[2] = { -1, 1e3 };
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        const struct mro_grid *g = grids + k;
        const size_t n = g->ny * g->nx;
        struct mro_buffer s = buffer_of(d, n * sizeof(mro_c32)), p = buffer_of(d, n * sizeof(float));
        ok(d->ops->noise_spectrum(d, g, 3, k, wide, 0.15, &s, &e), &e);
        ok(d->ops->local_power(d, g, &s, NULL, 0.22, 3.95, 5.95, &p, &e), &e);
        float *v = get(d, &p, n * sizeof *v);
        double sum = 0, square = 0, count = 0;
        for (size_t y = 0; y < g->ny; y++)
            for (size_t x = 0; x < g->nx; x++) {
                const double q = hypot(frequency_of(y, g->ny, g->ly), frequency_of(x, g->nx, g->lx));
                const double w = v[y * g->nx + x];
                if (q > 3.96 && q < 5.94) {
                    sum += w;
                    square += w * w;
                    count += 1;
                    assert_true(w > 0.5 && w < 1.7); /* a median of about 90 exponentials: 15 % */
                } else if (q < 3.94 || q > 5.96) {
                    assert_true(w == 0);
                }
            }
        /* A few hundred independent discs; the median of n exponentials is ln 2 (1 + 1 / (2 n ln 2)). */
        near(sum / count, 1, 0.03);
        assert_true(square / count - pow(sum / count, 2) < 0.15 * 0.15);
        free(v);
        d->ops->release(d, &s);
        d->ops->release(d, &p);
    }
}

/* Power sin^2 chi of an astigmatic lens times an exponential: the local median follows it wherever it is not close to
 * a zero, and with the lens as the model also there. */
static void local_power_follows_an_astigmatic_lens(void **state)
{
    const struct mro_grid g = { 324, 324, 24, 24 };
    const size_t n = g.ny * g.nx;
    const double wide[2] = { -1, 1e3 }, lambda = mro_wavelength_nm(200);
    float *truth = malloc(n * sizeof *truth), *gain = malloc(n * sizeof *gain);
    (void)state;
    for (size_t y = 0; y < g.ny; y++)
        for (size_t x = 0; x < g.nx; x++) {
            const double qy = frequency_of(y, g.ny, g.ly), qx = frequency_of(x, g.nx, g.lx);
            const double s = sin(mro_ctf_chi(hypot(qy, qx), atan2(qy, qx), lambda, 20, 0, 8, 0.5));
            truth[y * g.nx + x] = (float)(s * s + 0.05);
            gain[y * g.nx + x] = sqrtf(truth[y * g.nx + x]);
        }
    struct mro_buffer s = buffer_of(d, n * sizeof(mro_c32)), p = buffer_of(d, n * sizeof(float));
    ok(d->ops->noise_spectrum(d, &g, 3, 7, wide, 0.15, &s, &e), &e);
    ok(d->ops->multiply(d, &g, &s, gain, &e), &e);
    for (int modelled = 0; modelled < 2; modelled++) {
        ok(d->ops->local_power(d, &g, &s, modelled ? truth : NULL, 0.22, 3.95, 5.95, &p, &e), &e);
        float *v = get(d, &p, n * sizeof *v);
        double log_ratio = 0, square = 0, count = 0;
        for (size_t i = 0; i < n; i++)
            if (v[i] > 0 && (modelled || truth[i] > 0.4)) {
                const double r = log(v[i] / truth[i]);
                log_ratio += r;
                square += r * r;
                count += 1;
            }
        near(log_ratio / count, 0, modelled ? 0.03 : 0.12); /* the plain median rounds the crests off */
        assert_true(sqrt(square / count) < (modelled ? 0.15 : 0.3));
        free(v);
    }
    free(truth);
    free(gain);
    d->ops->release(d, &s);
    d->ops->release(d, &p);
}

/* |sum_q F(q) w(q - g) exp(2 pi i q.r)|^2 over all frequencies q, by definition, for the Gaussian window
 * exp(-r^2 / 2 s^2), in units of what white noise of the band gives. */
static double windowed_power(const struct mro_grid *g, const mro_c32 *s, const struct mro_bank *b, size_t k,
                             double y_nm, double x_nm, double *unit)
{
    double complex sum = 0;
    double energy = 0;
    const double c = 2 * MRO_PI * MRO_PI * b->window_s_nm * b->window_s_nm;
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            const double qy = frequency_of(y, g->ny, g->ly), qx = frequency_of(x, g->nx, g->lx);
            const double ky = qy - b->g[k][0], kx = qx - b->g[k][1], w = exp(-c * (ky * ky + kx * kx));
            const double band = mro_band_gain((float)hypot(qy, qx), (float)b->band_inv_nm[0], (float)b->band_inv_nm[1],
                                              (float)b->edge_inv_nm);
            const mro_c32 v = s[y * g->nx + x];
            sum += (v.re + I * v.im) * w * cexp(2 * MRO_PI * I * (qy * y_nm + qx * x_nm));
            energy += w * w * band * band;
        }
    *unit = energy;
    return creal(sum) * creal(sum) + cimag(sum) * cimag(sum);
}

static void bank_maximum_matches_direct_sums(void **state)
{
    static const struct {
        struct mro_grid grid, out;
        double s;
    } row[] = {
        { { 108, 96, 8, 7.2 }, { 20, 18, 8, 7.2 }, 0.313 },  /* the reach of a window folds on the coarse points */
        { { 97, 101, 7, 7.4 }, { 13, 17, 7, 7.4 }, 0.425 },  /* odd and prime */
        { { 81, 90, 6, 6.5 }, { 1, 7, 6, 6.5 }, 0.581 },     /* hardly any points */
        { { 80, 128, 6, 9.4 }, { 80, 128, 6, 9.4 }, 0.313 }, /* every sample */
        { { 400, 270, 8, 7 }, { 400, 270, 8, 7 }, 0.313 },   /* lines that are transformed part by part */
    };
    const double band[2] = { 4.1, 5.8 };
    static const double vectors[][2] = { { 4.9, 0 },    { 0, 4.7 },    { 3.4, 3.5 },
                                         { 3.6, -3.4 }, { 1.2, 5.05 }, { 0.3, -5.2 } };
    enum { VECTORS = sizeof vectors / sizeof *vectors };
    (void)state;
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        const struct mro_grid *g = &row[k].grid, *o = &row[k].out;
        const size_t n = g->ny * g->nx, m = o->ny * o->nx;
        const struct mro_bank bank = {
            .window_s_nm = row[k].s, .band_inv_nm = { 4.1, 5.8 }, .edge_inv_nm = 0.15, .g = vectors, .n_g = VECTORS
        };
        struct mro_buffer s = buffer_of(d, n * sizeof(mro_c32)), power = buffer_of(d, m * sizeof(float)),
                          which = buffer_of(d, m * sizeof(int32_t));
        ok(d->ops->noise_spectrum(d, g, 11, k, band, 0.15, &s, &e), &e);
        ok(d->ops->bank_maximum(d, g, &s, &bank, o, &power, &which, &e), &e);
        mro_c32 *spectrum = get(d, &s, n * sizeof *spectrum);
        float *p = get(d, &power, m * sizeof *p);
        int32_t *w = get(d, &which, m * sizeof *w);
        const size_t apart = m > 20000 ? 20011 : m > 400 ? 367 : m > 100 ? 29 : 3;
        for (size_t i = 0; i < m; i += apart) {
            const double y = (double)(i / o->nx) * o->ly / (double)o->ny,
                         x = (double)(i % o->nx) * o->lx / (double)o->nx;
            double most = -1, runner_up = -1;
            int best = -1;
            for (int v = 0; v < VECTORS; v++) {
                double unit;
                const double t = windowed_power(g, spectrum, &bank, (size_t)v, y, x, &unit) / unit;
                if (t > most) {
                    runner_up = most;
                    most = t;
                    best = v;
                } else if (t > runner_up) {
                    runner_up = t;
                }
            }
            /* The code stops the window's transform where it has fallen to 8e-4, and sums its energy as an integral. */
            near(p[i], most, 0.01 * most + 0.02);
            if (runner_up < 0.95 * most) assert_int_equal(w[i], best);
        }
        free(spectrum);
        free(p);
        free(w);
        d->ops->release(d, &s);
        d->ops->release(d, &power);
        d->ops->release(d, &which);
    }
}

static void local_mean_square_matches_direct_sums(void **state)
{
    static const struct {
        struct mro_grid grid, out;
    } row[] = { { { 72, 80, 6, 6.6 }, { 15, 18, 6, 6.6 } },
                { { 67, 71, 6, 6.4 }, { 13, 11, 6, 6.4 } },
                { { 60, 60, 6, 6 }, { 1, 2, 6, 6 } } };
    (void)state;
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        const struct mro_grid *g = &row[k].grid, *o = &row[k].out;
        const size_t n = g->ny * g->nx, m = o->ny * o->nx;
        const double s = 0.7;
        float *f = malloc(n * sizeof *f);
        for (size_t i = 0; i < n; i++) f[i] = normal_of(20 + k, i) * (1 + 2 * (float)(i % g->nx > g->nx / 2));
        struct mro_buffer field = buffer_of(d, n * sizeof *f), mean = buffer_of(d, m * sizeof(float));
        put(d, &field, f, n * sizeof *f);
        ok(d->ops->local_mean_square(d, g, &field, s, o, &mean, &e), &e);
        float *v = get(d, &mean, m * sizeof *v);
        for (size_t j = 0; j < m; j++) {
            const double cy = (double)(j / o->nx) * o->ly / (double)o->ny,
                         cx = (double)(j % o->nx) * o->lx / (double)o->nx;
            double sum = 0, weight = 0;
            for (size_t i = 0; i < n; i++) {
                const double dy = remainder((double)(i / g->nx) * g->ly / (double)g->ny - cy, g->ly);
                const double dx = remainder((double)(i % g->nx) * g->lx / (double)g->nx - cx, g->lx);
                /* The nearest image and its neighbours: the field is periodic and 0.7 nm reaches over 3 nm a little. */
                double w = 0;
                for (int a = -1; a <= 1; a++)
                    for (int b = -1; b <= 1; b++)
                        w += exp(-(pow(dy + a * g->ly, 2) + pow(dx + b * g->lx, 2)) / (2 * s * s));
                sum += w * f[i] * f[i];
                weight += w;
            }
            near(v[j], sum / weight, 2e-4 * (sum / weight) + 1e-4); /* float32 transforms */
        }
        free(v);
        free(f);
        d->ops->release(d, &field);
        d->ops->release(d, &mean);
    }
}

/* A window of points of noise: coefficients within the mask, summed one by one. */
static void fringes_are_those_of_a_mask_on_the_spectrum(void **state)
{
    const struct mro_grid g = { 120, 108, 8.1, 7.4 }, out = { 50, 45, 8.1, 7.4 };
    const struct mro_window at = { 44, 7, 11, 9 }; /* the last rows are the first ones again */
    const double wide[2] = { -1, 1e3 }, wave[2] = { 1.37, -4.61 }, sigma = 0.4;
    const size_t n = g.ny * g.nx, m = at.ny * at.nx;
    struct mro_buffer b = buffer_of(d, n * sizeof(mro_c32)), f = buffer_of(d, n * sizeof(float)),
                      h = buffer_of(d, m * sizeof(mro_c32)), slope = buffer_of(d, 2 * m * sizeof(float));
    (void)state;
    ok(d->ops->noise_spectrum(d, &g, 5, 9, wide, 0.15, &b, &e), &e);
    ok(d->ops->inverse(d, &g, &b, &f, &e), &e);
    ok(d->ops->demodulate(d, &g, &f, wave, sigma, &out, &at, &h, &slope, &e), &e);
    mro_c32 *spectrum = get(d, &b, n * sizeof *spectrum), *v = get(d, &h, m * sizeof *v);
    float *turns = get(d, &slope, 2 * m * sizeof *turns);
    for (size_t i = 0; i < m; i++) {
        const double y = (double)(at.y0 + i / at.nx) * out.ly / (double)out.ny,
                     x = (double)(at.x0 + i % at.nx) * out.lx / (double)out.nx;
        double complex sum = 0, along[2] = { 0, 0 };
        for (size_t k = 0; k < n; k++) {
            const double q[2] = { frequency_of(k / g.nx, g.ny, g.ly), frequency_of(k % g.nx, g.nx, g.lx) };
            const double away[2] = { q[0] - wave[0], q[1] - wave[1] };
            const double complex z = ((double)spectrum[k].re + I * (double)spectrum[k].im) / sqrt((double)n) *
                                     exp(-(away[0] * away[0] + away[1] * away[1]) / (2 * sigma * sigma)) *
                                     cexp(2 * I * M_PI * (away[0] * y + away[1] * x));
            sum += z;
            for (int a = 0; a < 2; a++) along[a] += I * away[a] * z; /* over 2 pi */
        }
        const double rms = sqrt(M_PI * sigma * sigma * g.ly * g.lx / (double)n);
        near((double)v[i].re, creal(sum), 2e-5 * rms);
        near((double)v[i].im, cimag(sum), 2e-5 * rms);
        for (size_t a = 0; a < 2; a++)
            near((double)turns[a * m + i], cimag(conj(sum) * along[a]) / (cabs(sum) * cabs(sum)),
                 1e-4 * rms / cabs(sum));
    }
    free(spectrum);
    free(v);
    free(turns);
    struct mro_buffer *all[] = { &b, &f, &h, &slope };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) d->ops->release(d, all[i]);
}

/* What a point gets does not depend on the window it is in, to the last bit. */
static void fringes_do_not_depend_on_their_window(void **state)
{
    const struct mro_grid g = { 150, 144, 10, 9.6 }, out = { 81, 80, 10, 9.6 };
    const struct mro_window whole = { 0, 0, out.ny, out.nx }, part = { 33, 51, 29, 23 };
    const double wide[2] = { -1, 1e3 }, wave[2] = { 3.2, 3.3 };
    const size_t n = g.ny * g.nx, m = out.ny * out.nx, few = part.ny * part.nx;
    struct mro_buffer b = buffer_of(d, n * sizeof(mro_c32)), f = buffer_of(d, n * sizeof(float)),
                      h = buffer_of(d, m * sizeof(mro_c32)), slope = buffer_of(d, 2 * m * sizeof(float));
    (void)state;
    ok(d->ops->noise_spectrum(d, &g, 6, 9, wide, 0.15, &b, &e), &e);
    ok(d->ops->inverse(d, &g, &b, &f, &e), &e);
    ok(d->ops->demodulate(d, &g, &f, wave, 0.6, &out, &whole, &h, &slope, &e), &e);
    mro_c32 *all = get(d, &h, m * sizeof *all);
    float *slopes = get(d, &slope, 2 * m * sizeof *slopes);
    ok(d->ops->demodulate(d, &g, &f, wave, 0.6, &out, &part, &h, &slope, &e), &e);
    mro_c32 *some = get(d, &h, few * sizeof *some);
    float *turns = get(d, &slope, 2 * few * sizeof *turns);
    ok(d->ops->demodulate(d, &g, &f, wave, 0.6, &out, &part, &h, NULL, &e), &e);
    mro_c32 *alone = get(d, &h, few * sizeof *alone);
    for (size_t y = 0; y < part.ny; y++) {
        const size_t from = (part.y0 + y) * out.nx + part.x0;
        assert_memory_equal(some + y * part.nx, all + from, part.nx * sizeof *some);
        for (size_t a = 0; a < 2; a++)
            assert_memory_equal(turns + a * few + y * part.nx, slopes + a * m + from, part.nx * sizeof *turns);
    }
    assert_memory_equal(alone, some, few * sizeof *some);
    free(all);
    free(slopes);
    free(some);
    free(turns);
    free(alone);
    struct mro_buffer *buffers[] = { &b, &f, &h, &slope };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) d->ops->release(d, buffers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_hermitian_with_unit_power_in_band),
        cmocka_unit_test(noise_is_the_same_field_on_any_grid),
        cmocka_unit_test(lines_match_direct_sums_and_return),
        cmocka_unit_test(rows_in_place_are_those_apart),
        cmocka_unit_test(transforms_match_direct_sums_and_return),
        cmocka_unit_test(contrast_of_a_cosine_is_its_amplitude),
        cmocka_unit_test(a_ramp_leaves_no_cross),
        cmocka_unit_test(spikes_are_replaced),
        cmocka_unit_test(spikes_are_those_of_the_definition),
        cmocka_unit_test(missing_pixels_and_images_of_differences),
        cmocka_unit_test(local_power_of_white_noise_is_one),
        cmocka_unit_test(local_power_follows_an_astigmatic_lens),
        cmocka_unit_test(bank_maximum_matches_direct_sums),
        cmocka_unit_test(local_mean_square_matches_direct_sums),
        cmocka_unit_test(fringes_are_those_of_a_mask_on_the_spectrum),
        cmocka_unit_test(fringes_do_not_depend_on_their_window),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CPU backend: the reference for every other one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "mroscope/math/noise.h"

static enum mro_code cpu_open(struct mro_device *d, int index, struct mro_error *e)
{
    (void)d;
    (void)index;
    (void)e;
    mro_fft_open();
    return MRO_OK;
}

static void cpu_close(struct mro_device *d)
{
    (void)d;
    mro_fft_close();
}

static enum mro_code cpu_alloc(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e)
{
    b->bytes = 0;
    b->p = NULL;
    if (bytes > d->memory_bytes)
        return MRO_FAIL(e, MRO_EMEMORY, "a buffer of %zu MiB is over the memory budget of %zu MiB; raise --memory",
                        bytes >> 20, d->memory_bytes >> 20);
    b->p = fftwf_malloc(bytes ? bytes : 1);
    if (b->p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a buffer of %zu MiB", bytes >> 20);
    b->bytes = bytes;
    return MRO_OK;
}

static void cpu_release(struct mro_device *d, struct mro_buffer *b)
{
    (void)d;
    fftwf_free(b->p);
    b->p = NULL;
    b->bytes = 0;
}

static enum mro_code cpu_upload(struct mro_device *d, struct mro_buffer *to, const void *host, size_t bytes,
                                struct mro_error *e)
{
    (void)d;
    if (bytes > to->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "upload of %zu bytes into %zu", bytes, to->bytes);
    memcpy(to->p, host, bytes);
    return MRO_OK;
}

static enum mro_code cpu_download(struct mro_device *d, void *host, const struct mro_buffer *from, size_t bytes,
                                  struct mro_error *e)
{
    (void)d;
    if (bytes > from->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "download of %zu bytes from %zu", bytes, from->bytes);
    memcpy(host, from->p, bytes);
    return MRO_OK;
}

static enum mro_code cpu_multiply(struct mro_device *d, const struct mro_grid *g, struct mro_buffer *spectrum,
                                  const float *gain, struct mro_error *e)
{
    (void)e;
    mro_c32 *s = spectrum->p;
    const size_t n = g->ny * g->nx;
#pragma omp parallel for simd schedule(static) num_threads(d->threads)
    for (size_t i = 0; i < n; i++) {
        s[i].re *= gain[i];
        s[i].im *= gain[i];
    }
    return MRO_OK;
}

static enum mro_code cpu_noise_spectrum(struct mro_device *d, const struct mro_grid *g, uint64_t seed, uint64_t stream,
                                        const double band_inv_nm[2], double edge_inv_nm, struct mro_buffer *spectrum,
                                        struct mro_error *e)
{
    (void)e;
    mro_c32 *s = spectrum->p;
    const float lo = (float)band_inv_nm[0], hi = (float)band_inv_nm[1], edge = (float)edge_inv_nm;
    memset(s, 0, g->ny * g->nx * sizeof *s);
    /* Middle frequencies of even grids have no partner: left 0. */
    const ptrdiff_t hy = (ptrdiff_t)(g->ny - 1) / 2, hx = (ptrdiff_t)(g->nx - 1) / 2;
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (ptrdiff_t ky = 0; ky <= hy; ky++)
        for (ptrdiff_t kx = ky ? -hx : 0; kx <= hx; kx++) {
            const mro_c32 z = mro_noise_coefficient(seed, stream, ky, kx, g->ly, g->lx, lo, hi, edge);
            const size_t up = (size_t)ky * g->nx + (size_t)(kx < 0 ? kx + (ptrdiff_t)g->nx : kx);
            const size_t down = (ky ? g->ny - (size_t)ky : 0) * g->nx + (size_t)(kx > 0 ? (ptrdiff_t)g->nx - kx : -kx);
            s[down].re = z.re;
            s[down].im = -z.im;
            s[up] = z;
        }
    return MRO_OK;
}

static enum mro_code cpu_inverse(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                 struct mro_buffer *field, struct mro_error *e)
{
    const float unit = (float)(1 / sqrt((double)g->ny * (double)g->nx));
    return mro_fft_real_inverse(spectrum->p, g->ny, g->nx, unit, field->p, d->threads, e);
}

static enum mro_code cpu_forward(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                 struct mro_buffer *spectrum, struct mro_error *e)
{
    const size_t ny = g->ny, nx = g->nx, kept = nx / 2 + 1;
    const float unit = (float)(1 / sqrt((double)ny * (double)nx));
    mro_c32 *s = spectrum->p, *half = malloc(ny * kept * sizeof *half);
    if (half == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", nx, ny);
    const enum mro_code rc = mro_fft_real(field->p, ny, nx, false, kept, half, d->threads, e);
#pragma omp parallel for schedule(static) num_threads(d->threads) if (rc == MRO_OK)
    for (size_t y = 0; y < ny; y++) {
        const mro_c32 *from = half + y * kept, *mirror = half + (y ? ny - y : 0) * kept;
        mro_c32 *to = s + y * nx;
        for (size_t x = 0; rc == MRO_OK && x < nx; x++) {
            const mro_c32 v = x < kept ? from[x] : mirror[nx - x];
            to[x].re = unit * v.re;
            to[x].im = x < kept ? unit * v.im : -unit * v.im;
        }
    }
    free(half);
    return rc;
}

static enum mro_code cpu_local_mean_square(struct mro_device *d, const struct mro_grid *g,
                                           const struct mro_buffer *field, double s_nm, const struct mro_grid *out,
                                           struct mro_buffer *mean_square, struct mro_error *e)
{
    const size_t n = g->ny * g->nx, m = out->ny * out->nx;
    const double c = 2 * MRO_PI * MRO_PI * s_nm * s_nm;
    const double reach = 0.8 / s_nm; /* exp(-2 pi^2 0.64) = 3e-6 */
    const ptrdiff_t hy = (ptrdiff_t)fmin(reach * g->ly, (double)((g->ny - 1) / 2));
    const ptrdiff_t hx = (ptrdiff_t)fmin(reach * g->lx, (double)((g->nx - 1) / 2));
    const size_t kept = (size_t)hx + 1;
    float *r = mean_square->p;
    mro_c32 *t = malloc(g->ny * kept * sizeof *t), *u = fftwf_malloc(m * sizeof *u);
    enum mro_code rc = MRO_OK;
    if (t == NULL || u == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    rc = mro_fft_real(field->p, g->ny, g->nx, true, kept, t, d->threads, e);
    if (rc) goto done;
    memset(u, 0, m * sizeof *u);
    for (ptrdiff_t j = -hy; j <= hy; j++)
        for (ptrdiff_t i = -hx; i <= hx; i++) {
            const double qy = (double)j / g->ly, qx = (double)i / g->lx;
            const float w = (float)(exp(-c * (qy * qy + qx * qx)) / (double)n);
            ptrdiff_t ty = j % (ptrdiff_t)out->ny, tx = i % (ptrdiff_t)out->nx;
            if (ty < 0) ty += (ptrdiff_t)out->ny;
            if (tx < 0) tx += (ptrdiff_t)out->nx;
            const ptrdiff_t row = i < 0 ? -j : j; /* coefficients of a real field come in conjugate pairs */
            const mro_c32 v = t[(size_t)(row < 0 ? row + (ptrdiff_t)g->ny : row) * kept + (size_t)(i < 0 ? -i : i)];
            u[(size_t)ty * out->nx + (size_t)tx].re += w * v.re;
            u[(size_t)ty * out->nx + (size_t)tx].im += i < 0 ? -w * v.im : w * v.im;
        }
    rc = mro_fft2(u, out->ny, out->nx, FFTW_BACKWARD, d->threads, e);
    if (rc) goto done;
    for (size_t i = 0; i < m; i++) r[i] = u[i].re > 0 ? u[i].re : 0;
done:
    free(t);
    fftwf_free(u);
    return rc;
}

const struct mro_backend mro_backend_cpu = {
    .name = "cpu",
    .concurrent = true,
    .open = cpu_open,
    .close = cpu_close,
    .rates = mro_cpu_rates,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .contrast_spectrum = mro_cpu_contrast_spectrum,
    .local_power = mro_cpu_local_power,
    .multiply = cpu_multiply,
    .noise_spectrum = cpu_noise_spectrum,
    .inverse = cpu_inverse,
    .forward = cpu_forward,
    .correlate = mro_cpu_correlate,
    .add_moved = mro_cpu_add_moved,
    .demodulate = mro_cpu_demodulate,
    .phase_slope = mro_cpu_phase_slope,
    .local_mean_square = cpu_local_mean_square,
    .bank_maximum = mro_cpu_bank_maximum,
    .refine_patches = mro_cpu_refine_patches,
    .windowed_acf = mro_cpu_windowed_acf,
    .acf_fringes = mro_cpu_acf_fringes,
    .block_sums = mro_cpu_block_sums,
    .divide_polynomial = mro_cpu_divide_polynomial,
    .histogram = mro_cpu_histogram,
    .regions = mro_cpu_regions,
    .strip_sums = mro_cpu_strip_sums,
    .ring_sums = mro_cpu_ring_sums,
    .bandpass = mro_cpu_bandpass,
};

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CPU backend: the reference for every other one. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/team.h"
#include "core/vectors.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

enum { LINE = 64 }; /* bytes of a cache line: buffers begin at one */

static enum mro_code cpu_open(struct mro_device *d, int index, struct mro_error *e)
{
    (void)d;
    (void)index;
    (void)e;
    mro_lines_open();
    return MRO_OK;
}

static void cpu_close(struct mro_device *d)
{
    (void)d;
    mro_lines_close();
}

static enum mro_code cpu_alloc(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e)
{
    b->bytes = 0;
    b->p = NULL;
    if (bytes > d->memory_bytes)
        return MRO_FAIL(e, MRO_EMEMORY, "a buffer of %zu MiB is over the memory budget of %zu MiB; raise `memory`",
                        bytes >> 20, d->memory_bytes >> 20);
    b->p = bytes > SIZE_MAX - LINE ? NULL : aligned_alloc(LINE, (bytes / LINE + 1) * LINE);
    if (b->p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a buffer of %zu MiB", bytes >> 20);
    mro_prefer_huge_pages(b->p, bytes);
    b->bytes = bytes;
    return MRO_OK;
}

static void cpu_release(struct mro_device *d, struct mro_buffer *b)
{
    (void)d;
    free(b->p);
    b->p = NULL;
    b->bytes = 0;
}

/* Planes of images go on all threads: one alone does not use up the memory's rate. */
static void copy(struct mro_device *d, void *to, const void *from, size_t bytes)
{
    enum { PART = 1 << 20 };
#pragma omp parallel for schedule(static) num_threads(d->threads) if (bytes > 8 * (size_t)PART)
    for (size_t at = 0; at < bytes; at += PART)
        memcpy((char *)to + at, (const char *)from + at, bytes - at < PART ? bytes - at : PART);
}

static enum mro_code cpu_upload(struct mro_device *d, struct mro_buffer *to, const void *host, size_t bytes,
                                struct mro_error *e)
{
    if (bytes > to->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "upload of %zu bytes into %zu", bytes, to->bytes);
    copy(d, to->p, host, bytes);
    return MRO_OK;
}

static enum mro_code cpu_download(struct mro_device *d, void *host, const struct mro_buffer *from, size_t bytes,
                                  struct mro_error *e)
{
    if (bytes > from->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "download of %zu bytes from %zu", bytes, from->bytes);
    copy(d, host, from->p, bytes);
    return MRO_OK;
}

static enum mro_code cpu_multiply(struct mro_device *d, const struct mro_grid *g, struct mro_buffer *spectrum,
                                  const float *gain, struct mro_error *e)
{
    (void)e;
    mro_c32 *s = spectrum->p;
    const size_t n = g->ny * g->nx;
#pragma omp parallel for simd schedule(static) num_threads(mro_team(d->threads, 0.35 * (double)n))
    for (size_t i = 0; i < n; i++) {
        s[i].re *= gain[i];
        s[i].im *= gain[i];
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
    const float unit = (float)(1 / sqrt((double)g->ny * (double)g->nx));
    return mro_fft_real(field->p, g->ny, g->nx, unit, spectrum->p, d->threads, e);
}

#define BELL_REACH 5.0 /* standard deviations of a Gaussian that are summed: all but 6e-7 of it */

/* Weights of a Gaussian of s samples around `points` equidistant places of n samples: `taps` each, from sample
 * floor(place) - reach on. */
static float *bell_of(double s, size_t n, size_t points, ptrdiff_t reach)
{
    const size_t taps = 2 * (size_t)reach + 2;
    float *w = malloc(points * taps * sizeof *w);
    for (size_t k = 0; w && k < points; k++) {
        const double place = (double)k * (double)n / (double)points, from = floor(place) - (double)reach;
        float *one = w + k * taps;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int t = 0; t < (int)taps; t++) {
            const double r = (from + t - place) / s;
            one[t] = mro_exp((float)(-0.5 * r * r));
            sum += (double)one[t];
        }
        for (size_t t = 0; t < taps; t++) one[t] *= (float)(1 / sum);
    }
    return w;
}

enum { TOGETHER = 4, STRIP = TOGETHER * MRO_LANES }; /* columns whose sums stay in registers */

/* Weighted sums of a periodic plane of ny rows of nx, or of its squares, down the columns from row `first` on. */
MRO_INLINE void sum_rows(const float *v, bool squares, size_t ny, size_t nx, ptrdiff_t first, const float *weight,
                         size_t taps, float *to)
{
    typedef float loose __attribute__((vector_size(4 * MRO_LANES), aligned(4), may_alias)); /* anywhere in memory */
    const size_t top = mro_cyclic(first, ny), strips = nx < STRIP ? 0 : (nx + STRIP - 1) / STRIP;
    for (size_t strip = 0; strip < strips; strip++) {
        const size_t x = strip + 1 < strips ? strip * STRIP : nx - STRIP;
        mro_lanes sum[TOGETHER] = { { 0 } };
        for (size_t t = 0, y = top; t < taps; t++, y = y + 1 < ny ? y + 1 : 0) {
            const loose *from = (const loose *)(v + y * nx + x);
            const float w = weight[t];
            for (int k = 0; k < TOGETHER; k++) sum[k] += squares ? w * from[k] * from[k] : w * from[k];
        }
        memcpy(to + x, sum, sizeof sum);
    }
    if (strips) return;
    memset(to, 0, nx * sizeof *to);
    for (size_t t = 0, y = top; t < taps; t++, y = y + 1 < ny ? y + 1 : 0)
        for (size_t x = 0; x < nx; x++) {
            const float one = v[y * nx + x];
            to[x] += weight[t] * (squares ? one * one : one);
        }
}

/* A periodic plane, or its squares, under a Gaussian of s[0] rows and s[1] columns at the points of `out`. False: out
 * of memory. */
static bool smooth(const float *v, bool squares, size_t ny, size_t nx, const double s[2], const struct mro_grid *out,
                   float *to, int threads)
{
    const ptrdiff_t ry = (ptrdiff_t)ceil(BELL_REACH * s[0]), rx = (ptrdiff_t)ceil(BELL_REACH * s[1]);
    const size_t taps_y = 2 * (size_t)ry + 2, taps_x = 2 * (size_t)rx + 2;
    float *wy = bell_of(s[0], ny, out->ny, ry), *wx = bell_of(s[1], nx, out->nx, rx);
    const bool bells = wy && wx;
    bool failed = !bells;
    const double products = (double)out->ny * (double)(nx * taps_y + out->nx * taps_x);
#pragma omp parallel num_threads(mro_team(threads, 0.04 * products)) if (bells)
    {
        /* Rows of sums along y; side by side, repeated to both sides as the field is; and sums along x of these. */
        float *rows = bells ? malloc(MRO_LANES * nx * sizeof *rows) : NULL;
        mro_lanes *line = bells ? aligned_alloc(sizeof *line, (nx + taps_x + out->nx) * sizeof *line) : NULL;
        const bool ready = rows && line;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(dynamic)
        for (size_t y = 0; y < out->ny; y += MRO_LANES) {
            const size_t n_rows = out->ny - y < MRO_LANES ? out->ny - y : MRO_LANES;
            if (!ready) continue;
            mro_lanes *sums = line + nx + taps_x;
            for (size_t j = 0; j < n_rows; j++) {
                const ptrdiff_t first = (ptrdiff_t)((y + j) * ny / out->ny) - ry;
                const float *w = wy + (y + j) * taps_y;
                if (squares)
                    sum_rows(v, true, ny, nx, first, w, taps_y, rows + j * nx);
                else
                    sum_rows(v, false, ny, nx, first, w, taps_y, rows + j * nx);
            }
            mro_lines_from_rows(rows, nx, n_rows, nx, line + rx, 1);
            for (ptrdiff_t x = -rx; x < 0; x++) line[x + rx] = line[mro_cyclic(x, nx) + (size_t)rx];
            for (size_t x = nx + (size_t)rx; x < nx + taps_x; x++) line[x] = line[x - nx];
            for (size_t i = 0; i < out->nx; i++) {
                const mro_lanes *from = line + i * nx / out->nx;
                const float *w = wx + i * taps_x;
                mro_lanes even = { 0 }, odd = { 0 };
                for (size_t t = 0; t < taps_x; t += 2) { /* taps are even in number */
                    even += w[t] * from[t];
                    odd += w[t + 1] * from[t + 1];
                }
                sums[i] = even + odd;
            }
            mro_lines_to_rows(sums, 1, to + y * out->nx, out->nx, n_rows, out->nx);
        }
        free(rows);
        free(line);
    }
    free(wy);
    free(wx);
    return !failed;
}

/* A Gaussian that is wide for the points is made in two steps: one as wide as points are apart, from samples to points,
 * and what is left from points to points. What points cannot hold adds 4e-7 at most. */
static enum mro_code cpu_local_mean_square(struct mro_device *d, const struct mro_grid *g,
                                           const struct mro_buffer *field, double s_nm, const struct mro_grid *out,
                                           struct mro_buffer *mean_square, struct mro_error *e)
{
    const double samples[2] = { (double)g->ny / g->ly, (double)g->nx / g->lx }; /* per nm */
    const double points[2] = { (double)out->ny / out->ly, (double)out->nx / out->lx };
    double s[2] = { s_nm * samples[0], s_nm * samples[1] }, rest[2];
    bool two = true, done;
    for (int k = 0; k < 2; k++) {
        const double wide = s_nm * points[k]; /* in steps between points */
        rest[k] = sqrt(fmax(wide * wide - 1, 0));
        two = two && wide >= 2 && samples[k] >= points[k];
    }
    if (two) {
        float *between = malloc(out->ny * out->nx * sizeof *between);
        for (int k = 0; k < 2; k++) s[k] = samples[k] / points[k];
        done = between && smooth(field->p, true, g->ny, g->nx, s, out, between, d->threads) &&
               smooth(between, false, out->ny, out->nx, rest, out, mean_square->p, d->threads);
        free(between);
    } else {
        done = smooth(field->p, true, g->ny, g->nx, s, out, mean_square->p, d->threads);
    }
    return done ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
}

static const struct mro_backend backend = {
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
    .noise_spectrum = mro_cpu_noise_spectrum,
    .inverse = cpu_inverse,
    .forward = cpu_forward,
    .correlate = mro_cpu_correlate,
    .add_moved = mro_cpu_add_moved,
    .demodulate = mro_cpu_demodulate,
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

/* This compilation of the folder and of ops/wide.h, for core/vectors.h: all that is seen of it outside. */
#if defined(__AVX512F__)
#define NAME "AVX-512"
#elif defined(__AVX2__)
#define NAME "AVX2"
#elif defined(__AVX__)
#define NAME "AVX"
#elif defined(__SSE2__)
#define NAME "SSE2"
#elif defined(__ARM_NEON)
#define NAME "NEON"
#else
#define NAME "plain"
#endif
#define WORD(macro) #macro
#define NEED(name, macro) WORD(macro),
static const char *const needs[] = { MRO_INSTRUCTIONS(NEED) NULL };

#ifndef MRO_VECTORS
#define MRO_VECTORS mro_vectors_of_build
#endif
extern const struct mro_vectors MRO_VECTORS;
const struct mro_vectors MRO_VECTORS = {
    .name = NAME,
    .needs = needs,
    .backend = &backend,
    .measurements = &mro_measurements,
    .open = mro_lines_open,
    .close = mro_lines_close,
    .fft2 = mro_fft2,
};

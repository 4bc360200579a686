/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From counts to the spectrum of the contrast on the coarse grid that the band needs, and the plain band-pass. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "mroscope/math/band.h"
#include "mroscope/math/contrast.h"
#include "mroscope/math/grid.h"

enum { PART = 512 }; /* columns looked at together: what is computed of them stays in the first level of cache */

/* Median of 3 x 3 for columns [from, to) of a row, to - from <= PART; borders repeat. Columns are sorted once for the
 * three pixels that they serve. `out` holds to - from numbers. */
static void median3x3_part(const float *up, const float *mid, const float *down, size_t nx, size_t from, size_t to,
                           float *out)
{
    float low[PART + 2], middle[PART + 2], high[PART + 2]; /* of columns from - 1 to `to` */
    const size_t n = to - from;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float a = up[from + i], b = mid[from + i], c = down[from + i];
        MRO_SORT3(a, b, c);
        low[i + 1] = a;
        middle[i + 1] = b;
        high[i + 1] = c;
    }
    for (int side = 0; side < 2; side++) {
        const size_t x = side ? (to < nx ? to : nx - 1) : from ? from - 1 : 0, i = side ? n + 1 : 0;
        float a = up[x], b = mid[x], c = down[x];
        MRO_SORT3(a, b, c);
        low[i] = a;
        middle[i] = b;
        high[i] = c;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = mro_median_columns(low[i], middle[i], high[i], low[i + 1], middle[i + 1], high[i + 1], low[i + 2],
                                    middle[i + 2], high[i + 2]);
}

/* Scale of |pixel - local median| over sampled rows; 0 when it cannot be told. */
static float residual_threshold(const float *px, size_t ny, size_t nx, int threads)
{
    if (ny < 3 || nx < 3) return 0;
    const size_t rows = (ny - 2 + MRO_SPIKE_ROW_STEP - 1) / MRO_SPIKE_ROW_STEP;
    float *v = malloc(rows * nx * sizeof *v), threshold = 0;
    size_t known = 0;
    if (v == NULL) return 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : known)
    for (size_t k = 0; k < rows; k++) {
        const float *mid = px + (1 + k * MRO_SPIKE_ROW_STEP) * nx;
        for (size_t from = 0; from < nx; from += PART) {
            const size_t n = from + PART < nx ? PART : nx - from;
            float median[PART], *to = v + k * nx + from;
            median3x3_part(mid - nx, mid, mid + nx, nx, from, from + n, median);
            int here = 0;
#pragma omp simd reduction(+ : here)
            for (size_t i = 0; i < n; i++) {
                const float r = fabsf(mid[from + i] - median[i]);
                here += r == r;
                to[i] = r == r ? r : INFINITY; /* NaN goes to the end */
            }
            known += (size_t)here;
        }
    }
    if (known) threshold = MRO_SPIKE_THRESHOLD(mro_select_positive(v, rows * nx, known / 2));
    free(v);
    return threshold;
}

/* Local mean on a coarse grid: block means smoothed by a Gaussian, NaN-aware. */
struct background {
    size_t block, ny, nx;
    double *mean; /* ny * nx */
};

enum { LANES = 16 };

/* Bilinear interpolation between block centres; `coarse` is scratch of b->nx floats, `out` has room for nx + LANES. */
static void background_row(const struct background *b, size_t y, size_t nx, float *coarse, float *out)
{
    const double fy = ((double)y + 0.5) / (double)b->block - 0.5;
    const double cy = fy < 0 ? 0 : fy > (double)(b->ny - 1) ? (double)(b->ny - 1) : fy;
    const size_t y0 = (size_t)cy, y1 = y0 + 1 < b->ny ? y0 + 1 : y0;
    const double wy = cy - (double)y0;
    for (size_t i = 0; i < b->nx; i++)
        coarse[i] = (float)((1 - wy) * b->mean[y0 * b->nx + i] + wy * b->mean[y1 * b->nx + i]);
    const float inv = 1.0f / (float)b->block;
    /* Segment i runs from the centre of block i - 1 to that of block i; the first and the last are flat. */
    size_t x = 0;
    for (size_t i = 0; i <= b->nx && x < nx; i++) {
        const float from = coarse[i ? i - 1 : 0], to = coarse[i < b->nx ? i : b->nx - 1];
        const float centre = ((float)i - 0.5f) * (float)b->block - 0.5f; /* pixel where `from` holds */
        size_t end = i < b->nx ? (size_t)fmax(0, ceil(((double)i + 0.5) * (double)b->block - 0.5)) : nx;
        end = end > nx ? nx : end < x ? x : end;
        /* Whole vectors: what is too much is overwritten by the next segment. */
        for (; x < end; x += LANES) {
            const float first = (float)x - centre;
#pragma omp simd
            for (int k = 0; k < LANES; k++) out[x + (size_t)k] = from + (to - from) * ((first + (float)k) * inv);
        }
        x = end;
    }
}

/* Columns [from, to) of a row with its spikes replaced; how many there were. */
static size_t despike_part(const float *px, size_t y, size_t ny, size_t nx, size_t from, size_t to, float threshold,
                           float *out)
{
    const float *mid = px + y * nx;
    int here = 0;
    median3x3_part(y ? mid - nx : mid, mid, y + 1 < ny ? mid + nx : mid, nx, from, to, out);
#pragma omp simd reduction(+ : here)
    for (size_t x = from; x < to; x++) {
        const float median = out[x - from];
        const bool spike = fabsf(mid[x] - median) > threshold;
        here += spike;
        out[x - from] = spike ? median : mid[x];
    }
    return (size_t)here;
}

/* sums and counts per block -> smoothed means. sigma in blocks. */
static bool background_smooth(int threads, struct background *b, double *sum, double *count, double sigma_y,
                              double sigma_x)
{
    const size_t n = b->ny * b->nx;
    double *t = malloc(n * sizeof *t), *u = malloc(n * sizeof *u);
    double *bell = malloc(((size_t)(4 * fmax(sigma_y, sigma_x)) + 2) * sizeof *bell);
    if (t == NULL || u == NULL || bell == NULL) {
        free(t);
        free(u);
        free(bell);
        return false;
    }
    double *const data[2] = { sum, count };
    for (int k = 0; k < 2; k++) {
        for (int axis = 0; axis < 2; axis++) {
            const double sigma = axis ? sigma_x : sigma_y;
            const ptrdiff_t h = (ptrdiff_t)ceil(4 * sigma);
            for (ptrdiff_t i = 0; i <= h; i++) bell[i] = exp(-0.5 * (double)(i * i) / (sigma * sigma));
            const double *src = axis ? t : data[k];
            double *dst = axis ? u : t;
            /* Shifted rows are added up, weight by weight: every sum runs in rising order of what it adds. */
#pragma omp parallel for schedule(static) num_threads(threads)
            for (size_t y = 0; y < b->ny; y++) {
                double *to = dst + y * b->nx;
                memset(to, 0, b->nx * sizeof *to);
                for (ptrdiff_t j = -h; j <= h; j++) {
                    const double w = bell[labs(j)];
                    const ptrdiff_t at = (ptrdiff_t)y + (axis ? 0 : j), shift = axis ? j : 0;
                    if (at < 0 || at >= (ptrdiff_t)b->ny) continue;
                    const double *from = src + (size_t)at * b->nx;
                    const ptrdiff_t lo = shift < 0 ? -shift : 0;
                    const ptrdiff_t hi = shift > 0 ? (ptrdiff_t)b->nx - shift : (ptrdiff_t)b->nx;
#pragma omp simd
                    for (ptrdiff_t x = lo; x < hi; x++) to[x] += w * from[x + shift];
                }
            }
        }
        memcpy(data[k], u, n * sizeof *u);
    }
    for (size_t i = 0; i < n; i++) b->mean[i] = count[i] > 0 ? sum[i] / count[i] : NAN;
    free(t);
    free(u);
    free(bell);
    return true;
}

/* The contrast of one row over its local mean; parts of the row that have no spikes are taken as they are. */
static void contrast_row(const float *px, size_t y, size_t ny, size_t nx, float threshold, const unsigned char *spiked,
                         const float *mean, struct mro_background_scale scale, float *out)
{
    for (size_t from = 0; from < nx; from += PART, spiked++) {
        const size_t n = from + PART < nx ? PART : nx - from;
        const float *line = px + y * nx + from, *local = mean + from;
        float clean[PART], *to = out + from;
        if (threshold > 0 && *spiked) {
            despike_part(px, y, ny, nx, from, from + n, threshold, clean);
            line = clean;
        }
#pragma omp simd
        for (size_t x = 0; x < n; x++) to[x] = mro_contrast(line[x], local[x], scale);
    }
}

enum { STRIP = 16, COLUMNS = 8 }; /* a cache line or two of columns and rows */

enum mro_code mro_cpu_contrast_spectrum(struct mro_device *d, const float *px, size_t ny, size_t nx,
                                        const double pixel_nm[2], double background_nm, const struct mro_grid *g,
                                        struct mro_buffer *spectrum, size_t *spikes, struct mro_error *e)
{
    const size_t kept = g->nx / 2 + 1; /* columns 0 .. nx/2 of the half plane */
    if (ny < 8 || nx < 8) return MRO_FAIL(e, MRO_EDATA, "an image of %zu x %zu pixels is too small to measure", nx, ny);
    const double finest = fmin(background_nm / pixel_nm[0], background_nm / pixel_nm[1]);
    struct background bg = { .block = finest / 8 > 1 ? (size_t)(finest / 8) : 1 };
    bg.ny = (ny + bg.block - 1) / bg.block;
    bg.nx = (nx + bg.block - 1) / bg.block;
    const size_t nb = bg.ny * bg.nx;
    enum mro_code rc = MRO_OK;
    float *border = malloc(2 * nx * sizeof *border); /* first and last row of the contrast */
    double *sum = calloc(nb, sizeof *sum), *count = calloc(nb, sizeof *count);
    bg.mean = malloc(nb * sizeof *bg.mean);
    const size_t stride = (ny + 7) / 8 * 8; /* of columns: all of them aligned */
    mro_c32 *half = fftwf_malloc(kept * stride * sizeof *half);
    float *jump_y = malloc(nx * sizeof *jump_y), *jump_x = malloc(ny * sizeof *jump_x);
    mro_c32 *hat_y = fftwf_malloc((nx / 2 + 1) * sizeof *hat_y), *hat_x = fftwf_malloc((ny / 2 + 1) * sizeof *hat_x);
    fftwf_plan rows = mro_fft_plan_line(nx, FFTW_FORWARD);
    fftwf_plan column = mro_fft_plan_line(ny, FFTW_FORWARD);
    fftwf_plan jump_row = mro_fft_plan_real_line(nx), jump_column = mro_fft_plan_real_line(ny);
    const size_t parts = (nx + PART - 1) / PART;
    unsigned char *spiked = malloc(ny * parts); /* parts of rows that have spikes */
    struct mro_border_turn *turn_x = malloc(kept * sizeof *turn_x);
    struct mro_border_turn *turn_y = malloc((g->ny / 2 + 1) * sizeof *turn_y);
    bool failed = false;
    size_t replaced = 0;
    if (!spiked || !turn_x || !turn_y || !border || !sum || !count || !bg.mean || !half || !jump_y || !jump_x ||
        !hat_y || !hat_x || !rows || !column || !jump_row || !jump_column) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", nx, ny);
        goto done;
    }

    const float threshold = residual_threshold(px, ny, nx, d->threads);
    /* A thread owns whole rows of blocks, so the sums have one order at any number of threads. Rows are cleaned here
     * and again below, where they have spikes: that is cheaper than keeping a clean copy of the image. */
#pragma omp parallel num_threads(d->threads) reduction(+ : replaced)
    {
        float *s = malloc(2 * nx * sizeof *s); /* sums of columns, then counts */
        if (s == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t by = 0; by < bg.ny; by++) {
            if (s == NULL) continue;
            const size_t y1 = (by + 1) * bg.block < ny ? (by + 1) * bg.block : ny;
            memset(s, 0, 2 * nx * sizeof *s);
            for (size_t from = 0; from < nx; from += PART)
                for (size_t y = by * bg.block; y < y1; y++) {
                    const size_t n = from + PART < nx ? PART : nx - from;
                    const float *line = px + y * nx + from;
                    float clean[PART], *sums = s + from, *counts = sums + nx;
                    if (threshold > 0) {
                        const size_t here = despike_part(px, y, ny, nx, from, from + n, threshold, clean);
                        spiked[y * parts + from / PART] = here > 0;
                        replaced += here;
                        if (here) line = clean;
                    }
#pragma omp simd
                    for (size_t x = 0; x < n; x++) {
                        const bool finite = line[x] == line[x];
                        sums[x] += finite ? line[x] : 0.0f;
                        counts[x] += finite ? 1.0f : 0.0f;
                    }
                }
            for (size_t bx = 0; bx < bg.nx; bx++) {
                const size_t x1 = (bx + 1) * bg.block < nx ? (bx + 1) * bg.block : nx;
                for (size_t x = bx * bg.block; x < x1; x++) {
                    sum[by * bg.nx + bx] += s[x];
                    count[by * bg.nx + bx] += s[nx + x];
                }
            }
        }
        free(s);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    if (spikes) *spikes = replaced;
    if (!background_smooth(d->threads, &bg, sum, count, background_nm / pixel_nm[0] / (double)bg.block,
                           background_nm / pixel_nm[1] / (double)bg.block)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    double total = 0, lowest = INFINITY;
    size_t known = 0;
    for (size_t i = 0; i < nb; i++)
        if (isfinite(bg.mean[i])) {
            total += fabs(bg.mean[i]);
            lowest = fmin(lowest, bg.mean[i]);
            known++;
        }
    const struct mro_background_scale scale = mro_background_scale(total, (double)known, lowest);

    /* Rows are transformed in strips, which are turned into pieces of columns while they are in the cache. */
#pragma omp parallel num_threads(d->threads)
    {
        float *line = malloc(2 * nx * sizeof *line), *mean = malloc((nx + LANES + bg.nx) * sizeof *mean);
        mro_c32 *both = fftwf_malloc(nx * sizeof *both), *hat = fftwf_malloc((nx + 1) * sizeof *hat);
        mro_c32 *strip = malloc(STRIP * kept * sizeof *strip);
        const bool ready = line && mean && both && hat && strip;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t y0 = 0; y0 < ny; y0 += STRIP) {
            const size_t n = y0 + STRIP < ny ? STRIP : ny - y0;
            if (!ready) continue;
            for (size_t y = y0; y < y0 + n; y++) {
                float *to = line + (y - y0) % 2 * nx;
                background_row(&bg, y, nx, mean + nx + LANES, mean);
                contrast_row(px, y, ny, nx, threshold, spiked + y * parts, mean, scale, to);
                jump_x[y] = to[nx - 1] - to[0];
                if (y == 0) memcpy(border, to, nx * sizeof *to);
                if (y == ny - 1) memcpy(border + nx, to, nx * sizeof *to);
                const bool second = (y - y0) % 2, alone = !second && y + 1 == y0 + n;
                if (!second && !alone) continue;
                if (alone) memset(line + nx, 0, nx * sizeof *line);
#pragma omp simd
                for (size_t x = 0; x < nx; x++) {
                    both[x].re = line[x];
                    both[x].im = line[nx + x];
                }
                mro_c32 *even = strip + (y - y0 - second) * kept;
                mro_fft_two_rows(rows, nx, both, hat, kept, even, alone ? NULL : even + kept);
            }
            for (size_t kx = 0; kx < kept; kx++)
                for (size_t i = 0; i < n; i++) half[kx * stride + y0 + i] = strip[i * kept + kx];
        }
        free(line);
        free(mean);
        fftwf_free(both);
        fftwf_free(hat);
        free(strip);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    for (size_t x = 0; x < nx; x++) jump_y[x] = border[nx + x] - border[x];
    {
        float *line = fftwf_malloc((ny > nx ? ny : nx) * sizeof *line);
        if (line == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
            goto done;
        }
        memcpy(line, jump_y, nx * sizeof *line);
        fftwf_execute_dft_r2c(jump_row, line, (fftwf_complex *)hat_y);
        memcpy(line, jump_x, ny * sizeof *line);
        fftwf_execute_dft_r2c(jump_column, line, (fftwf_complex *)hat_x);
        fftwf_free(line);
    }
    /* Columns; crop, take off the smooth part, unfold to the full plane. A middle frequency of an even grid has no
     * partner: it is left out. */
    mro_c32 *out = spectrum->p;
    const float unit = (float)(1 / sqrt((double)ny * (double)nx));
    const ptrdiff_t hy = (ptrdiff_t)(g->ny - 1) / 2;
    const size_t hx = (g->nx - 1) / 2;
    for (size_t k = 0; k < kept; k++) turn_x[k] = mro_border_turn_of((double)k, (double)nx);
    for (size_t k = 0; k < g->ny / 2 + 1; k++) turn_y[k] = mro_border_turn_of((double)k, (double)ny);
#pragma omp parallel num_threads(d->threads)
    {
        mro_c32 *lines = fftwf_malloc(COLUMNS * stride * sizeof *lines);
        if (lines == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < g->ny * g->nx; i++) out[i] = (mro_c32){ 0, 0 };
#pragma omp for schedule(static)
        for (size_t k0 = 0; k0 <= hx; k0 += COLUMNS) {
            const size_t n = k0 + COLUMNS <= hx ? COLUMNS : hx + 1 - k0;
            if (lines == NULL) continue;
            for (size_t i = 0; i < n; i++)
                fftwf_execute_dft(column, (fftwf_complex *)(half + (k0 + i) * stride),
                                  (fftwf_complex *)(lines + i * stride));
            for (ptrdiff_t ky = -hy; ky <= hy; ky++) {
                const struct mro_border_turn y = { turn_y[labs(ky)].cosine,
                                                   ky < 0 ? -turn_y[-ky].sine : turn_y[ky].sine };
                /* Transform of the jump across left and right borders at this ky. */
                const mro_c32 vx = { hat_x[labs(ky)].re, ky < 0 ? -hat_x[-ky].im : hat_x[ky].im };
                mro_c32 *to = out + mro_cyclic(ky, g->ny) * g->nx, *mirror = out + mro_cyclic(-ky, g->ny) * g->nx;
                const mro_c32 *from = lines + mro_cyclic(ky, ny);
                for (size_t i = 0; i < n; i++) {
                    const size_t kx = k0 + i;
                    const mro_c32 jumps = mro_border_coefficient(y, turn_x[kx], hat_y[kx], vx);
                    const mro_c32 f = { (from[i * stride].re - jumps.re) * unit,
                                        (from[i * stride].im - jumps.im) * unit };
                    to[kx] = f;
                    if (kx) mirror[g->nx - kx] = (mro_c32){ f.re, -f.im };
                }
            }
        }
        fftwf_free(lines);
    }
    if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    out[0].re = out[0].im = 0;
done:
    free(spiked);
    free(turn_x);
    free(turn_y);
    free(border);
    free(sum);
    free(count);
    free(bg.mean);
    fftwf_free(half);
    free(jump_y);
    free(jump_x);
    fftwf_free(hat_y);
    fftwf_free(hat_x);
    return rc;
}

enum mro_code mro_cpu_bandpass(struct mro_device *d, const float *px, size_t ny, size_t nx, const double pixel_nm[2],
                               const double band_inv_nm[2], double edge_inv_nm, float *out, struct mro_error *e)
{
    const size_t kept = nx / 2 + 1;
    enum mro_code rc = MRO_OK;
    double total = 0;
    size_t known = 0;
    bool failed = false;
    for (size_t y = 0; y < ny; y++) {
        double s = 0;
        size_t n = 0;
        for (size_t x = 0; x < nx; x++) {
            const float v = px[y * nx + x];
            if (isfinite(v)) {
                s += v;
                n++;
            }
        }
        total += s;
        known += n;
    }
    if (known == 0) return MRO_FAIL(e, MRO_EDATA, "the image has no finite pixel");
    const float mean = (float)(total / (double)known);
    mro_c32 *half = malloc(ny * kept * sizeof *half);
    fftwf_plan there = mro_fft_plan_real_line(nx), back = mro_fft_plan_to_real_line(nx);
    if (!half || !there || !back) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", nx, ny);
        goto done;
    }
    for (int pass = 0; pass < 2; pass++) {
#pragma omp parallel num_threads(d->threads)
        {
            float *line = fftwf_malloc((nx + 2) * sizeof *line);
            mro_c32 *hat = fftwf_malloc(kept * sizeof *hat);
            const bool ready = line && hat;
            if (!ready) {
#pragma omp atomic write
                failed = true;
            }
#pragma omp for schedule(static)
            for (size_t y = 0; y < ny; y++) {
                if (!ready) continue;
                if (pass == 0) {
                    for (size_t x = 0; x < nx; x++) {
                        const float v = px[y * nx + x];
                        line[x] = isfinite(v) ? v - mean : 0;
                    }
                    fftwf_execute_dft_r2c(there, line, (fftwf_complex *)hat);
                    memcpy(half + y * kept, hat, kept * sizeof *hat);
                } else {
                    memcpy(hat, half + y * kept, kept * sizeof *hat);
                    fftwf_execute_dft_c2r(back, (fftwf_complex *)hat, line);
                    for (size_t x = 0; x < nx; x++) out[y * nx + x] = isfinite(px[y * nx + x]) ? line[x] : NAN;
                }
            }
            fftwf_free(line);
            fftwf_free(hat);
        }
        if (failed) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
            goto done;
        }
        if (pass == 1) break;
        rc = mro_fft_columns(half, ny, kept, kept, FFTW_FORWARD, d->threads, e);
        if (rc) goto done;
        const float unit = (float)(1 / ((double)ny * (double)nx));
#pragma omp parallel for schedule(static) num_threads(d->threads)
        for (size_t y = 0; y < ny; y++) {
            const double ky = y <= ny / 2 ? (double)y : (double)y - (double)ny;
            const double qy = ky / ((double)ny * pixel_nm[0]);
            for (size_t x = 0; x < kept; x++) {
                const double qx = (double)x / ((double)nx * pixel_nm[1]);
                const float w = unit * mro_band_gain((float)sqrt(qy * qy + qx * qx), (float)band_inv_nm[0],
                                                     (float)band_inv_nm[1], (float)edge_inv_nm);
                half[y * kept + x].re *= w;
                half[y * kept + x].im *= w;
            }
        }
        rc = mro_fft_columns(half, ny, kept, kept, FFTW_BACKWARD, d->threads, e);
        if (rc) goto done;
    }
done:
    free(half);
    return rc;
}

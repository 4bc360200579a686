/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From counts to the spectrum of the contrast on the coarse grid that the band needs. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "cpu/spikes.h"
#include "mroscope/math/contrast.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

enum { PART = MRO_SPIKE_PART, PIECE = 64 }; /* columns that are cleaned, and turned to contrast, together */

/* Local mean on a coarse grid: block means smoothed by a Gaussian, NaN-aware. */
struct background {
    size_t block, ny, nx;
    double *mean; /* ny * nx */
    float *past;  /* by how many blocks a column lies beyond the centre on its left */
};

/* The local mean of MRO_LANES rows from y on, at the columns of the centres of blocks; NaN beyond the image, where
 * there is no contrast. `rows` is room for as many rows of blocks. */
static void background_rows(const struct background *b, size_t y, size_t ny, float *rows, mro_lanes *centres)
{
    for (size_t k = 0; k < MRO_LANES; k++, y++) {
        const double fy = ((double)y + 0.5) / (double)b->block - 0.5;
        const double cy = fy < 0 ? 0 : fy > (double)(b->ny - 1) ? (double)(b->ny - 1) : fy;
        const size_t y0 = (size_t)cy, y1 = y0 + 1 < b->ny ? y0 + 1 : y0;
        const double wy = y < ny ? cy - (double)y0 : NAN;
        const double *first = b->mean + y0 * b->nx, *second = b->mean + y1 * b->nx;
#pragma omp simd
        for (size_t i = 0; i < b->nx; i++) rows[k * b->nx + i] = (float)((1 - wy) * first[i] + wy * second[i]);
    }
    mro_lines_from_rows(rows, b->nx, MRO_LANES, b->nx, centres, 1);
}

/* Counts of MRO_LANES rows in columns [from, to), in `counts`, to contrast over the local mean, that is interpolated
 * between the centres of blocks, in a part of the room of a strip. */
static void contrast_columns(const struct background *b, const mro_lanes *centres, struct mro_background_scale scale,
                             size_t from, size_t to, const mro_lanes *counts, const struct mro_real *strip,
                             mro_lanes *part)
{
    size_t place = mro_real_place(strip, from);
    /* Segment i runs from the centre of block i - 1 to that of block i; the first and the last are flat. */
    for (size_t x = from, i = (2 * from + 1 + b->block) / (2 * b->block); x < to; i++) {
        const mro_lanes left = centres[i ? i - 1 : 0], rise = centres[i < b->nx ? i : b->nx - 1] - left;
        const size_t border = ((2 * i + 1) * b->block) / 2, end = i < b->nx && border < to ? border : to;
        for (; x < end; x++, counts++, place = mro_real_next(strip, place)) {
            const mro_lanes mean = left + rise * b->past[x];
#pragma omp simd
            for (int k = 0; k < MRO_LANES; k++)
                part[place][k] =
                    mro_contrast((*counts)[k], mean[k], scale.counts ? mro_reciprocal(mean[k]) : scale.scale);
        }
    }
}

/* Columns of blocks that are summed up together, in registers. */
typedef double several __attribute__((vector_size(4 * MRO_LANES), aligned(8), may_alias));
enum { SEVERAL = 8, WIDE = SEVERAL * MRO_LANES / 2 };

/* to[x] = the sum of bell[|j|] from[x + j step] over `first` <= j <= `last`, in that order, for n columns. Reads up to
 * WIDE - 1 numbers behind them. */
static void weigh(const double *from, ptrdiff_t step, ptrdiff_t first, ptrdiff_t last, const double *bell, size_t n,
                  double *to)
{
    for (size_t x = 0; x < n; x += WIDE) {
        several sum[SEVERAL] = { 0 };
        for (ptrdiff_t j = first; j <= last; j++) {
            const several *v = (const several *)(from + x + j * step);
            const double w = bell[labs(j)];
#pragma GCC unroll 8
            for (int i = 0; i < SEVERAL; i++) sum[i] += w * v[i];
        }
        memcpy(to + x, sum, (n - x < WIDE ? n - x : WIDE) * sizeof *to);
    }
}

/* A Gaussian of sigma blocks, up to 4 sigma; free() it. */
static double *bell_new(double sigma, ptrdiff_t *reach)
{
    *reach = (ptrdiff_t)ceil(4 * sigma);
    double *bell = malloc(((size_t)*reach + 1) * sizeof *bell);
    for (ptrdiff_t i = 0; bell && i <= *reach; i++) bell[i] = exp(-0.5 * (double)(i * i) / (sigma * sigma));
    return bell;
}

/* How many of n pixels along an axis lie in block i. */
static double pixels_of_block(const struct background *b, size_t i, size_t n)
{
    return (double)(((i + 1) * b->block < n ? (i + 1) * b->block : n) - i * b->block);
}

/* How many of the pixels along an axis, `pixels` in each block, the Gaussian sees from each. */
static void weigh_pixels(const double *pixels, size_t blocks, ptrdiff_t reach, const double *bell, double *to)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)blocks; i++) {
        to[i] = 0;
        for (ptrdiff_t j = i < reach ? 0 : i - reach; j <= i + reach && j < (ptrdiff_t)blocks; j++)
            to[i] += bell[labs(j - i)] * pixels[j];
    }
}

/* Whether no pixel is without data: the counts are products of those along y and x then. */
static bool is_whole(const struct background *b, const double *count, const double *along_y, const double *along_x)
{
    int lacking = 0;
    for (size_t i = 0; i < b->ny; i++)
        for (size_t k = 0; k < b->nx; k++) lacking |= count[i * b->nx + k] != along_y[i] * along_x[k];
    return !lacking;
}

/* sums and counts per block (lost; WIDE numbers behind them) -> smoothed means. sigma in blocks. */
static bool background_smooth(int threads, struct background *b, size_t pixels_y, size_t pixels_x, double *sum,
                              double *count, double sigma_y, double sigma_x)
{
    ptrdiff_t hy, hx;
    double *bell_y = bell_new(sigma_y, &hy), *bell_x = bell_new(sigma_x, &hx);
    const ptrdiff_t ny = (ptrdiff_t)b->ny, pitch = (ptrdiff_t)b->nx + 2 * hx + WIDE;
    double *along = calloc((size_t)(ny * pitch), sizeof *along); /* smoothed along y; hx zeros before and behind */
    double *in_y = malloc(2 * (b->ny + b->nx) * sizeof *in_y), *in_x = in_y ? in_y + b->ny : NULL;
    double *seen_y = in_x ? in_x + b->nx : NULL, *seen_x = seen_y ? seen_y + b->ny : NULL;
    const bool ready = bell_y && bell_x && along && in_y;
    for (size_t i = 0; in_y && i < b->ny; i++) in_y[i] = pixels_of_block(b, i, pixels_y);
    for (size_t i = 0; in_y && i < b->nx; i++) in_x[i] = pixels_of_block(b, i, pixels_x);
    const bool whole = ready && is_whole(b, count, in_y, in_x); /* and products they stay */
    for (int k = 0; ready && k < (whole ? 1 : 2); k++) {
        const double *from = k ? count : sum;
        double *to = k ? sum : b->mean;
#pragma omp parallel num_threads(mro_team(threads, 0.15 * (double)(ny * pitch * (hy + hx))))
        {
#pragma omp for schedule(static)
            for (ptrdiff_t y = 0; y < ny; y++)
                weigh(from + (size_t)y * b->nx, (ptrdiff_t)b->nx, y < hy ? -y : -hy, ny - 1 - y < hy ? ny - 1 - y : hy,
                      bell_y, b->nx, along + y * pitch + hx);
#pragma omp for schedule(static)
            for (ptrdiff_t y = 0; y < ny; y++)
                weigh(along + y * pitch + hx, 1, -hx, hx, bell_x, b->nx, to + (size_t)y * b->nx);
        }
    }
    if (whole) {
        weigh_pixels(in_y, b->ny, hy, bell_y, seen_y);
        weigh_pixels(in_x, b->nx, hx, bell_x, seen_x);
        for (size_t i = 0; i < b->ny; i++)
            for (size_t k = 0; k < b->nx; k++) sum[i * b->nx + k] = seen_y[i] * seen_x[k];
    }
    for (size_t i = 0; ready && i < b->ny * b->nx; i++) b->mean[i] = sum[i] > 0 ? b->mean[i] / sum[i] : NAN;
    free(bell_y);
    free(bell_x);
    free(along);
    free(in_y);
    return ready;
}

/* MRO_LANES rows from y on, side by side, to a part of the room of a strip: the contrast over their local mean. Parts
 * of rows that have no spikes are taken as they are. */
static void contrast_rows(const float *px, size_t y, size_t ny, size_t nx, float threshold, const unsigned char *spiked,
                          const struct background *b, float *means, mro_lanes *centres,
                          struct mro_background_scale scale, const struct mro_real *strip, mro_lanes *part)
{
    const size_t n = y >= ny ? 0 : ny - y < MRO_LANES ? ny - y : MRO_LANES, parts = (nx + PART - 1) / PART;
    float clean[MRO_LANES * PART];
    mro_lanes counts[PIECE];
    background_rows(b, y, ny, means, centres);
    for (size_t from = 0; from < nx; from += PART) {
        const size_t end = from + PART < nx ? from + PART : nx;
        bool spikes = false;
        for (size_t i = 0; i < n; i++) spikes |= threshold > 0 && spiked[(y + i) * parts + from / PART];
        for (size_t i = 0; spikes && i < n; i++)
            mro_spike_replace(px, y + i, ny, nx, from, end, threshold, clean + i * PART);
        for (size_t x = from; x < end; x += PIECE) {
            const size_t w = end - x < PIECE ? end - x : PIECE;
            const float *rows = spikes || n == 0 ? clean + (x - from) : px + y * nx + x;
            mro_lines_from_rows(rows, spikes ? PART : nx, n, w, counts, 1);
            contrast_columns(b, centres, scale, x, x + w, counts, strip, part);
        }
    }
}

/* What the jumps across the borders need. */
struct borders {
    float *first, *last, *jump_x; /* rows of the contrast; last column minus first */
    mro_c32 *hat_y, *hat_x;       /* transforms of last - first row, of last - first column */
    struct mro_border_turn *turn_y, *turn_x;
};

/* The transform of one real line. */
static bool line_spectrum(const float *line, size_t n, mro_c32 *hat)
{
    struct mro_room r;
    const bool ready = mro_room_new(&r, n);
    if (ready) {
        mro_lines_from_rows(line, n, 1, n, &r.in->re, 2);
        for (size_t x = 0; x < n; x++) r.in[x].im = (mro_lanes){ 0 };
        mro_lines_run(r.lines, false, r.in, r.out, r.scratch);
        for (size_t k = 0; k < n / 2 + 1; k++) hat[k] = (mro_c32){ r.out[k].re[0], r.out[k].im[0] };
    }
    mro_room_release(&r);
    return ready;
}

/* Takes the smooth part off coefficient ky of `w` columns from kx on. */
static struct mro_wide without_borders(struct mro_wide f, const struct borders *b, ptrdiff_t ky, size_t kx, size_t w,
                                       float unit)
{
    const size_t m = (size_t)labs(ky);
    const struct mro_border_turn y = { b->turn_y[m].cosine, ky < 0 ? -b->turn_y[m].sine : b->turn_y[m].sine };
    const mro_c32 along_y = { b->hat_x[m].re, ky < 0 ? -b->hat_x[m].im : b->hat_x[m].im };
    for (size_t i = 0; i < w; i++) {
        const mro_c32 jumps = mro_border_coefficient(y, b->turn_x[kx + i], b->hat_y[kx + i], along_y);
        f.re[i] = (f.re[i] - jumps.re) * unit;
        f.im[i] = (f.im[i] - jumps.im) * unit;
    }
    return f;
}

enum mro_code mro_cpu_contrast_spectrum(struct mro_device *d, const float *px, size_t ny, size_t nx,
                                        const double pixel_nm[2], double background_nm, const struct mro_grid *g,
                                        struct mro_buffer *spectrum, size_t *spikes, double *means, struct mro_error *e)
{
    /* A middle frequency of an even grid has no partner: it is left out. */
    const ptrdiff_t hy = (ptrdiff_t)(g->ny - 1) / 2;
    const size_t kept = (g->nx - 1) / 2 + 1;
    if (ny < 8 || nx < 8) return MRO_FAIL(e, MRO_EDATA, "an image of %zu x %zu pixels is too small to measure", nx, ny);
    const struct mro_blocks cut = mro_background_blocks(ny, nx, pixel_nm, background_nm);
    struct background bg = { .block = cut.side, .ny = cut.ny, .nx = cut.nx };
    const size_t nb = bg.ny * bg.nx;
    enum mro_code rc = MRO_OK;
    double *sum = calloc(nb + WIDE, sizeof *sum), *count = calloc(nb + WIDE, sizeof *count);
    bg.mean = malloc(nb * sizeof *bg.mean);
    bg.past = malloc(nx * sizeof *bg.past);
    const size_t stride = mro_panel_stride(ny), strip = mro_real_rows(nx), parts = (nx + PART - 1) / PART;
    /* Residuals of sampled rows lie first where the panels will be: no other pages are to be had for them. */
    const size_t residuals = mro_spike_rows(ny) * nx / (2 * MRO_LANES) + 1, panels = mro_panels(kept) * stride;
    struct mro_wide *half = mro_lines_room(panels > residuals ? panels : residuals);
    unsigned char *spiked = calloc(ny, parts); /* parts of rows that have spikes */
    struct borders b = {
        .first = malloc(nx * sizeof *b.first),
        .last = malloc(nx * sizeof *b.last),
        .jump_x = malloc(stride * sizeof *b.jump_x),
        .hat_y = malloc((nx / 2 + 1) * sizeof *b.hat_y),
        .hat_x = malloc((ny / 2 + 1) * sizeof *b.hat_x),
        .turn_y = malloc(((size_t)hy + 1) * sizeof *b.turn_y),
        .turn_x = malloc(kept * sizeof *b.turn_x),
    };
    bool failed = false;
    size_t replaced = 0;
    if (!sum || !count || !bg.mean || !bg.past || !half || !spiked || !b.first || !b.last || !b.jump_x || !b.hat_y ||
        !b.hat_x || !b.turn_y || !b.turn_x) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", nx, ny);
        goto done;
    }

    for (size_t x = 0; x < nx; x++) {
        const double blocks = ((double)x + 0.5) / (double)bg.block + 0.5;
        bg.past[x] = (float)(blocks - floor(blocks));
    }
    const float threshold = mro_spike_threshold_of(px, ny, nx, d->threads, (float *)half);
    /* A thread owns whole rows of blocks, so the sums have one order at any number of threads. Rows are cleaned here
     * and again below, where they have spikes: that is cheaper than keeping a clean copy of the image. */
#pragma omp parallel num_threads(d->threads) reduction(+ : replaced)
    {
        float *s = malloc(2 * nx * sizeof *s); /* sums of columns, then counts */
        if (s == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t by = 0; by < bg.ny; by++) {
            if (s == NULL) continue;
            const size_t y1 = (by + 1) * bg.block < ny ? (by + 1) * bg.block : ny;
            for (size_t from = 0; from < nx; from += PART)
                replaced += mro_spike_sums(px, ny, nx, from, by * bg.block, y1, threshold, spiked + from / PART, parts,
                                           s + from, s + nx + from);
            for (size_t bx = 0; bx < bg.nx; bx++) {
                const size_t x1 = (bx + 1) * bg.block < nx ? (bx + 1) * bg.block : nx;
                double in_block = 0, pixels = 0;
                for (size_t x = bx * bg.block; x < x1; x++) {
                    in_block += s[x];
                    pixels += s[nx + x];
                }
                sum[by * bg.nx + bx] = in_block;
                count[by * bg.nx + bx] = pixels;
            }
        }
        free(s);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    if (spikes) *spikes = replaced;
    for (size_t i = 0; means && i < nb; i++) means[i] = sum[i] / count[i];
    if (!background_smooth(d->threads, &bg, ny, nx, sum, count, background_nm / pixel_nm[0] / (double)bg.block,
                           background_nm / pixel_nm[1] / (double)bg.block)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    double total = 0, lowest = INFINITY;
    size_t known = 0;
    for (size_t i = 0; i < nb; i++)
        if (isfinite(bg.mean[i])) {
            total += fabs(bg.mean[i]);
            lowest = bg.mean[i] < lowest ? bg.mean[i] : lowest;
            known++;
        }
    const struct mro_background_scale scale = mro_background_scale(total, (double)known, lowest);

#pragma omp parallel num_threads(d->threads)
    {
        struct mro_real s;
        mro_lanes *centres = aligned_alloc(sizeof *centres, bg.nx * sizeof *centres); /* the local mean, and by rows */
        float *rows = malloc(MRO_LANES * bg.nx * sizeof *rows);
        const bool ready = mro_real_new_forward(&s, nx) && centres && rows;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t y0 = 0; y0 < ny; y0 += strip) {
            if (!ready) continue;
            for (size_t part = 0; part < s.parts; part++) {
                const size_t y = y0 + part * MRO_LANES, last = ny - 1 - y;
                mro_lanes *to = mro_real_part(s.room.in, part);
                contrast_rows(px, y, ny, nx, threshold, spiked, &bg, rows, centres, scale, &s, to);
                const mro_lanes jump = to[mro_real_place(&s, nx - 1)] - to[0];
                memcpy(b.jump_x + y, &jump, sizeof jump);
                for (size_t x = 0; y == 0 && x < nx; x++) b.first[x] = to[mro_real_place(&s, x)][0];
                for (size_t x = 0; y < ny && last < MRO_LANES && x < nx; x++)
                    b.last[x] = to[mro_real_place(&s, x)][last];
            }
            mro_real_forward(&s, kept, half, stride, y0);
        }
        mro_real_release(&s);
        free(centres);
        free(rows);
    }
    for (size_t x = 0; x < nx; x++) b.last[x] -= b.first[x];
    if (failed || !line_spectrum(b.last, nx, b.hat_y) || !line_spectrum(b.jump_x, ny, b.hat_x)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }

    /* Columns; crop, take off the smooth part, unfold to the full plane. */
    mro_c32 *out = spectrum->p;
    const float unit = (float)(1 / sqrt((double)ny * (double)nx));
    for (size_t k = 0; k < kept; k++) b.turn_x[k] = mro_border_turn_of((double)k, (double)nx);
    for (ptrdiff_t k = 0; k <= hy; k++) b.turn_y[k] = mro_border_turn_of((double)k, (double)ny);
    const size_t next = ny / (2 * (size_t)hy + 1) + 1; /* rows of the next panel to ask for with each row of this one */
    for (size_t x = 0; g->ny % 2 == 0 && x < g->nx; x++) out[g->ny / 2 * g->nx + x] = (mro_c32){ 0, 0 };
    for (size_t y = 0; g->nx % 2 == 0 && y < g->ny; y++) out[y * g->nx + g->nx / 2] = (mro_c32){ 0, 0 };
#pragma omp parallel num_threads(d->threads)
    {
        struct mro_room r;
        const bool ready = mro_room_new(&r, ny);
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t p = 0; p < mro_panels(kept); p++) {
            const size_t kx = p * MRO_LANES, w = kept - kx < MRO_LANES ? kept - kx : MRO_LANES;
            if (!ready) continue;
            mro_lines_run(r.lines, false, half + p * stride, r.out, r.scratch);
            for (ptrdiff_t ky = -hy; ky <= hy; ky++) {
                mro_lines_will_read(half + (p + 1) * stride + (size_t)(ky + hy) * next, next);
                const struct mro_wide f = without_borders(r.out[mro_cyclic(ky, ny)], &b, ky, kx, w, unit);
                mro_unfold(&f, out, g->ny, g->nx, mro_cyclic(ky, g->ny), kx, w);
            }
        }
        mro_room_release(&r);
    }
    if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    out[0].re = out[0].im = 0;
done:
    free(sum);
    free(count);
    free(bg.mean);
    free(bg.past);
    free(half);
    free(spiked);
    free(b.first);
    free(b.last);
    free(b.jump_x);
    free(b.hat_y);
    free(b.hat_x);
    free(b.turn_y);
    free(b.turn_x);
    return rc;
}

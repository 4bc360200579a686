/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels from counts to the spectrum of the contrast, and of the band-pass of a whole image. */
#ifndef MRO_KERNELS_CONTRAST_H
#define MRO_KERNELS_CONTRAST_H

#include "kernel.h"
#include "mroscope/math/band.h"
#include "mroscope/math/contrast.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/legendre.h"

/* Median of the 3 x 3 neighbourhood of a pixel of row `mid`; borders repeat. */
MRO_HD float mro_neighbours_median(const float *up, const float *mid, const float *down, uint32_t nx, uint32_t x)
{
    const uint32_t l = x ? x - 1 : 0, r = x + 1 < nx ? x + 1 : x;
    float l0 = up[l], l1 = mid[l], l2 = down[l], m0 = up[x], m1 = mid[x], m2 = down[x];
    float r0 = up[r], r1 = mid[r], r2 = down[r];
    MRO_SORT3(l0, l1, l2);
    MRO_SORT3(m0, m1, m2);
    MRO_SORT3(r0, r1, r2);
    return mro_median_columns(l0, l1, l2, m0, m1, m2, r0, r1, r2);
}

/* |pixel - median of its neighbourhood| on every MRO_SPIKE_ROW_STEP-th row from row 1 to the last but one: rows * nx
 * numbers, NaN where a pixel has no data. */
struct mro_residuals_args {
    const float *px;
    size_t nx, rows;
    float *r;
};
MRO_NO_SHARED(residuals);
enum { mro_residuals_THREADS = 256, mro_residuals_PHASES = 1 };
MRO_HD void mro_residuals_phase(int phase, const struct mro_residuals_args *a, const struct mro_thread *t,
                                struct mro_residuals_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH_PIECE(i, a->rows, a->nx, t)
    {
        const struct mro_piece p = mro_piece_of(i, a->nx);
        const float *row = a->px + (1 + p.y * MRO_SPIKE_ROW_STEP) * a->nx;
        MRO_EACH_COLUMN(x, p, t, mro_residuals_THREADS)
        {
            const float median = mro_neighbours_median(row - a->nx, row, row + a->nx, (uint32_t)a->nx, x);
            a->r[p.y * a->nx + x] = fabsf(row[x] - median);
        }
    }
}

/* The threshold of spikes from n residuals in ascending order, NaN last; 0 when there are none. One thread. */
struct mro_spike_threshold_args {
    const float *sorted;
    size_t n;
    float *threshold;
};
MRO_NO_SHARED(spike_threshold);
enum { mro_spike_threshold_THREADS = 1, mro_spike_threshold_PHASES = 1 };
MRO_HD void mro_spike_threshold_phase(int phase, const struct mro_spike_threshold_args *a, const struct mro_thread *t,
                                      struct mro_spike_threshold_shared *s)
{
    (void)phase;
    (void)s;
    (void)t;
    size_t known = 0, end = a->n; /* the numbers that are none begin in between */
    while (known < end) {
        const size_t mid = known + (end - known) / 2;
        if (a->sorted[mid] == a->sorted[mid])
            known = mid + 1;
        else
            end = mid;
    }
    *a->threshold = known ? MRO_SPIKE_THRESHOLD(a->sorted[known / 2]) : 0;
}

/* The image without spikes, and how many there were (added to *spikes). Threshold 0: none are looked for. */
struct mro_despike_args {
    const float *px, *threshold;
    size_t ny, nx;
    float *clean;
    uint32_t *spikes;
};
MRO_NO_SHARED(despike);
enum { mro_despike_THREADS = 256, mro_despike_PHASES = 1 };
MRO_HD void mro_despike_phase(int phase, const struct mro_despike_args *a, const struct mro_thread *t,
                              struct mro_despike_shared *s)
{
    (void)phase;
    (void)s;
    const float threshold = *a->threshold;
    uint32_t here = 0;
    MRO_EACH_PIECE(i, a->ny, a->nx, t)
    {
        const struct mro_piece p = mro_piece_of(i, a->nx);
        const float *mid = a->px + p.y * a->nx, *up = p.y ? mid - a->nx : mid,
                    *down = p.y + 1 < a->ny ? mid + a->nx : mid;
        float *clean = a->clean + p.y * a->nx;
        MRO_EACH_COLUMN(x, p, t, mro_despike_THREADS)
        {
            const float v = mid[x], m = threshold > 0 ? mro_neighbours_median(up, mid, down, (uint32_t)a->nx, x) : v;
            const bool spike = fabsf(v - m) > threshold;
            here += spike;
            clean[x] = spike ? m : v;
        }
    }
    if (here) mro_add_u32(a->spikes, here);
}

/* Sum and number of the finite pixels of each block of block_y x block_x pixels. Several threads share a large block,
 * since there are few of those: they take the columns in turn, and the first adds up what the others found. */
struct mro_block_sums_args {
    const float *px;
    size_t ny, nx, block_y, block_x, blocks_y, blocks_x;
    double *sum, *count;
};
enum { mro_block_sums_THREADS = 128, mro_block_sums_PHASES = 2 };
struct mro_block_sums_shared {
    double sum[mro_block_sums_THREADS], count[mro_block_sums_THREADS];
};
MRO_HD size_t mro_block_sums_share(const struct mro_block_sums_args *a) /* threads of a block of pixels */
{
    size_t share = 1;
    while (share < mro_block_sums_THREADS && 128 * share <= a->block_y * a->block_x) share *= 2;
    return share;
}
MRO_HD size_t mro_block_sums_blocks(const struct mro_block_sums_args *a) /* of threads */
{
    const size_t at_once = mro_block_sums_THREADS / mro_block_sums_share(a);
    return (a->blocks_y * a->blocks_x + at_once - 1) / at_once;
}
MRO_HD void mro_block_sums_phase(int phase, const struct mro_block_sums_args *a, const struct mro_thread *t,
                                 struct mro_block_sums_shared *s)
{
    const size_t share = mro_block_sums_share(a), me = t->thread, mine = me % share;
    const size_t i = t->block * (mro_block_sums_THREADS / share) + me / share;
    double sum = 0, count = 0;
    if (i >= a->blocks_y * a->blocks_x) return;
    if (phase == 0) {
        const size_t y0 = i / a->blocks_x * a->block_y, x0 = i % a->blocks_x * a->block_x;
        const size_t y1 = y0 + a->block_y < a->ny ? y0 + a->block_y : a->ny;
        const size_t x1 = x0 + a->block_x < a->nx ? x0 + a->block_x : a->nx;
        for (size_t y = y0; y < y1; y++) {
            float line = 0, n = 0;
            for (size_t x = x0 + mine; x < x1; x += share) {
                const float v = a->px[y * a->nx + x];
                const bool finite = fabsf(v) < INFINITY;
                line += finite ? v : 0.0f;
                n += finite ? 1.0f : 0.0f;
            }
            sum += line;
            count += n;
        }
        s->sum[me] = sum;
        s->count[me] = count;
    } else if (mine == 0) {
        for (size_t k = me; k < me + share; k++) {
            sum += s->sum[k];
            count += s->count[k];
        }
        a->sum[i] = sum;
        a->count[i] = count;
    }
}

/* Pixels less `offset` over a polynomial: math/legendre.h. One block a row; `basis` holds degree + 1 rows of nx floats,
 * P_l at every column; `keep` one byte a block of block_y x block_x pixels, or NULL. `lowest`: a number a row. */
struct mro_divide_args {
    float *px;
    const float *basis;
    const unsigned char *keep;
    float *lowest;
    size_t ny, nx, block_y, block_x, blocks_x;
    double c[(MRO_LEGENDRE_MOST + 1) * (MRO_LEGENDRE_MOST + 2) / 2];
    float offset;
    int degree;
};
enum { mro_divide_THREADS = 256, mro_divide_PHASES = 3 };
struct mro_divide_shared {
    float row[MRO_LEGENDRE_MOST + 1], lowest[mro_divide_THREADS];
};
MRO_HD void mro_divide_phase(int phase, const struct mro_divide_args *a, const struct mro_thread *t,
                             struct mro_divide_shared *s)
{
    const size_t me = t->thread, y = t->block;
    if (phase == 0) {
        if (me == 0) mro_legendre_row(a->c, a->degree, mro_legendre_at(y, a->ny), s->row);
        return;
    }
    if (phase == 1) {
        float lowest = INFINITY;
        float *px = a->px + y * a->nx;
        const unsigned char *keep = a->keep ? a->keep + y / a->block_y * a->blocks_x : NULL;
        for (size_t x = me; x < a->nx; x += mro_divide_THREADS) {
            float b = s->row[0];
            for (int l = 1; l <= a->degree; l++) b += s->row[l] * a->basis[(size_t)l * a->nx + x];
            const float v = px[x];
            const bool kept = fabsf(v) < INFINITY && (keep == NULL || keep[x / a->block_x]);
            lowest = kept && b < lowest ? b : lowest;
            px[x] = kept ? (v - a->offset) / b : NAN;
        }
        s->lowest[me] = lowest;
        return;
    }
    if (me) return;
    for (int i = 1; i < mro_divide_THREADS; i++)
        s->lowest[0] = s->lowest[i] < s->lowest[0] ? s->lowest[i] : s->lowest[0];
    a->lowest[y] = s->lowest[0];
}

/* A plane smoothed along y (axis 0) or x: weights bell[0 .. reach], cut at the borders, not normalised. */
struct mro_bell_args {
    const double *from, *bell;
    double *to;
    size_t ny, nx;
    ptrdiff_t reach;
    int axis;
};
MRO_NO_SHARED(bell);
enum { mro_bell_THREADS = 128, mro_bell_PHASES = 1 };
MRO_HD void mro_bell_phase(int phase, const struct mro_bell_args *a, const struct mro_thread *t,
                           struct mro_bell_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->ny * a->nx, t, mro_bell_THREADS)
    {
        const ptrdiff_t stride = a->axis ? 1 : (ptrdiff_t)a->nx, n = (ptrdiff_t)(a->axis ? a->nx : a->ny);
        const ptrdiff_t at = (ptrdiff_t)(a->axis ? i % a->nx : i / a->nx);
        const ptrdiff_t lo = at - a->reach < 0 ? 0 : at - a->reach, hi = at + a->reach >= n ? n - 1 : at + a->reach;
        const double *line = a->from + ((ptrdiff_t)i - at * stride);
        double sum = 0;
        for (ptrdiff_t j = lo; j <= hi; j++) sum += a->bell[j < at ? at - j : j - at] * line[j * stride];
        a->to[i] = sum;
    }
}

/* Local means of n blocks, NaN without data, and how the contrast is scaled by them. One block. */
struct mro_local_means_args {
    const double *sum, *count;
    double *mean;
    size_t n;
    struct mro_background_scale *scale;
};
enum { mro_local_means_THREADS = 512, mro_local_means_PHASES = 3, mro_local_means_PARTS = 16 };
struct mro_local_means_shared {
    double total[mro_local_means_THREADS], known[mro_local_means_THREADS], lowest[mro_local_means_THREADS];
};
MRO_HD void mro_local_means_phase(int phase, const struct mro_local_means_args *a, const struct mro_thread *t,
                                  struct mro_local_means_shared *s)
{
    const size_t me = t->thread;
    if (phase == 0) {
        double total = 0, known = 0, lowest = INFINITY;
        for (size_t i = me; i < a->n; i += mro_local_means_THREADS) {
            const double mean = a->count[i] > 0 ? a->sum[i] / a->count[i] : NAN;
            a->mean[i] = mean;
            if (!(fabs(mean) < INFINITY)) continue;
            total += fabs(mean);
            known += 1;
            lowest = mean < lowest ? mean : lowest;
        }
        s->total[me] = total;
        s->known[me] = known;
        s->lowest[me] = lowest;
        return;
    }
    /* Sixteen threads take the sums of all together, then one theirs. */
    if (me >= (phase == 1 ? mro_local_means_PARTS : 1)) return;
    const size_t from = phase == 1 ? mro_local_means_THREADS : mro_local_means_PARTS,
                 step = phase == 1 ? mro_local_means_PARTS : 1;
    for (size_t i = me + step; i < from; i += step) {
        s->total[me] += s->total[i];
        s->known[me] += s->known[i];
        s->lowest[me] = s->lowest[i] < s->lowest[me] ? s->lowest[i] : s->lowest[me];
    }
    if (phase == 2) *a->scale = mro_background_scale(s->total[0], s->known[0], s->lowest[0]);
}

/* Counts to contrast in place; the local mean is interpolated between the centres of blocks. */
struct mro_contrast_args {
    float *px;
    size_t ny, nx, block, blocks_y, blocks_x;
    const double *mean;
    const struct mro_background_scale *scale;
};
MRO_NO_SHARED(contrast);
enum { mro_contrast_THREADS = 256, mro_contrast_PHASES = 1 };
MRO_HD void mro_contrast_phase(int phase, const struct mro_contrast_args *a, const struct mro_thread *t,
                               struct mro_contrast_shared *s)
{
    (void)phase;
    (void)s;
    const struct mro_background_scale scale = *a->scale;
    const double last_y = (double)(a->blocks_y - 1), last_x = (double)(a->blocks_x - 1), per = 1 / (double)a->block;
    MRO_EACH_PIECE(i, a->ny, a->nx, t)
    {
        const struct mro_piece p = mro_piece_of(i, a->nx);
        const double fy = ((double)p.y + 0.5) * per - 0.5, cy = fy < 0 ? 0 : fy > last_y ? last_y : fy;
        const size_t y0 = (size_t)cy, y1 = y0 + 1 < a->blocks_y ? y0 + 1 : y0;
        const double wy = cy - (double)y0;
        const double *above = a->mean + y0 * a->blocks_x, *below = a->mean + y1 * a->blocks_x;
        float *row = a->px + p.y * a->nx;
        MRO_EACH_COLUMN(x, p, t, mro_contrast_THREADS)
        {
            const double fx = ((double)x + 0.5) * per - 0.5, cx = fx < 0 ? 0 : fx > last_x ? last_x : fx;
            const uint32_t x0 = (uint32_t)cx, x1 = x0 + 1 < a->blocks_x ? x0 + 1 : x0;
            const float from = (float)((1 - wy) * above[x0] + wy * below[x0]);
            const float to = (float)((1 - wy) * above[x1] + wy * below[x1]);
            const float mean = from + (to - from) * (float)(cx - (double)x0);
            row[x] = mro_contrast(row[x], mean, scale.counts ? 1 / mean : scale.scale);
        }
    }
}

/* What jumps across the borders: last row - first row (nx numbers), last column - first column (ny numbers). */
struct mro_jumps_args {
    const float *px;
    size_t ny, nx;
    float *along_x, *along_y;
};
MRO_NO_SHARED(jumps);
enum { mro_jumps_THREADS = 256, mro_jumps_PHASES = 1 };
MRO_HD void mro_jumps_phase(int phase, const struct mro_jumps_args *a, const struct mro_thread *t,
                            struct mro_jumps_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->ny + a->nx, t, mro_jumps_THREADS)
    {
        if (i < a->nx)
            a->along_x[i] = a->px[(a->ny - 1) * a->nx + i] - a->px[i];
        else
            a->along_y[i - a->nx] = a->px[(i - a->nx) * a->nx + a->nx - 1] - a->px[(i - a->nx) * a->nx];
    }
}

/* From the half plane of an image's transform, ny * (nx / 2 + 1), to the full unitary spectrum of a coarser grid, the
 * smooth component of the borders taken off and the mean left out. `out` is zero beforehand; middle frequencies of an
 * even grid have no partner and stay 0. One item for each of the (2 hy + 1) * (hx + 1) frequencies with kx >= 0, where
 * hy = (out_ny - 1) / 2. */
struct mro_crop_args {
    const mro_c32 *half;
    const mro_c32 *along_x, *along_y; /* half transforms of the jumps */
    size_t ny, nx, out_ny, out_nx;
    mro_c32 *out;
};
MRO_NO_SHARED(crop);
enum { mro_crop_THREADS = 128, mro_crop_PHASES = 1 };
MRO_HD size_t mro_crop_items(size_t out_ny, size_t out_nx)
{
    return (2 * ((out_ny - 1) / 2) + 1) * ((out_nx - 1) / 2 + 1);
}
MRO_HD void mro_crop_phase(int phase, const struct mro_crop_args *a, const struct mro_thread *t,
                           struct mro_crop_shared *s)
{
    (void)phase;
    (void)s;
    const ptrdiff_t hy = (ptrdiff_t)(a->out_ny - 1) / 2, columns = (ptrdiff_t)(a->out_nx - 1) / 2 + 1;
    const float unit = (float)(1 / sqrt((double)a->ny * (double)a->nx));
    MRO_EACH(i, mro_crop_items(a->out_ny, a->out_nx), t, mro_crop_THREADS)
    {
        const ptrdiff_t ky = (ptrdiff_t)i / columns - hy, kx = (ptrdiff_t)i % columns;
        mro_c32 along_y = a->along_y[ky < 0 ? -ky : ky];
        if (ky < 0) along_y.im = -along_y.im;
        const mro_c32 border =
            mro_border_coefficient(mro_border_turn_of((double)ky, (double)a->ny),
                                   mro_border_turn_of((double)kx, (double)a->nx), a->along_x[kx], along_y);
        mro_c32 f = a->half[mro_cyclic(ky, a->ny) * (a->nx / 2 + 1) + (size_t)kx];
        f.re = (f.re - border.re) * unit;
        f.im = (f.im - border.im) * unit;
        if (ky == 0 && kx == 0) f.re = f.im = 0;
        a->out[mro_cyclic(ky, a->out_ny) * a->out_nx + (size_t)kx] = f;
        if (kx == 0) continue;
        f.im = -f.im;
        a->out[mro_cyclic(-ky, a->out_ny) * a->out_nx + (a->out_nx - (size_t)kx)] = f;
    }
}

/* Sum and number of the finite pixels of every row. One block a row. */
struct mro_row_sums_args {
    const float *px;
    size_t nx;
    double *sum, *count;
};
enum { mro_row_sums_THREADS = 128, mro_row_sums_PHASES = 2 };
struct mro_row_sums_shared {
    double sum[mro_row_sums_THREADS], count[mro_row_sums_THREADS];
};
MRO_HD void mro_row_sums_phase(int phase, const struct mro_row_sums_args *a, const struct mro_thread *t,
                               struct mro_row_sums_shared *s)
{
    const float *row = a->px + (size_t)t->block * a->nx;
    double sum = 0, count = 0;
    if (phase == 0) {
        for (size_t x = t->thread; x < a->nx; x += mro_row_sums_THREADS)
            if (fabsf(row[x]) < INFINITY) {
                sum += row[x];
                count += 1;
            }
        s->sum[t->thread] = sum;
        s->count[t->thread] = count;
    } else if (t->thread == 0) {
        for (int i = 0; i < mro_row_sums_THREADS; i++) {
            sum += s->sum[i];
            count += s->count[i];
        }
        a->sum[t->block] = sum;
        a->count[t->block] = count;
    }
}

/* The image less `mean`, 0 where it has no data. */
struct mro_centre_args {
    const float *px;
    float *out;
    size_t n;
    float mean;
};
MRO_NO_SHARED(centre);
enum { mro_centre_THREADS = 256, mro_centre_PHASES = 1 };
MRO_HD void mro_centre_phase(int phase, const struct mro_centre_args *a, const struct mro_thread *t,
                             struct mro_centre_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_centre_THREADS) { a->out[i] = fabsf(a->px[i]) < INFINITY ? a->px[i] - a->mean : 0; }
}

/* The half plane of an image's transform times the pass band over the number of pixels. */
struct mro_pass_args {
    mro_c32 *half;
    size_t ny, nx;
    double ly, lx;
    float lo, hi, edge;
};
MRO_NO_SHARED(pass);
enum { mro_pass_THREADS = 256, mro_pass_PHASES = 1 };
MRO_HD void mro_pass_phase(int phase, const struct mro_pass_args *a, const struct mro_thread *t,
                           struct mro_pass_shared *s)
{
    (void)phase;
    (void)s;
    const size_t kept = a->nx / 2 + 1;
    const float unit = (float)(1 / ((double)a->ny * (double)a->nx));
    MRO_EACH_PIECE(i, a->ny, kept, t)
    {
        const struct mro_piece p = mro_piece_of(i, kept);
        const double qy = mro_frequency(p.y, a->ny, a->ly);
        mro_c32 *row = a->half + p.y * kept;
        MRO_EACH_COLUMN(x, p, t, mro_pass_THREADS)
        {
            const double qx = (double)x / a->lx;
            const float w = unit * mro_band_gain((float)sqrt(qy * qy + qx * qx), a->lo, a->hi, a->edge);
            row[x].re *= w;
            row[x].im *= w;
        }
    }
}

/* NaN where the image has no data. */
struct mro_blank_args {
    const float *px;
    float *out;
    size_t n;
};
MRO_NO_SHARED(blank);
enum { mro_blank_THREADS = 256, mro_blank_PHASES = 1 };
MRO_HD void mro_blank_phase(int phase, const struct mro_blank_args *a, const struct mro_thread *t,
                            struct mro_blank_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_blank_THREADS)
    {
        if (!(fabsf(a->px[i]) < INFINITY)) a->out[i] = NAN;
    }
}

#endif

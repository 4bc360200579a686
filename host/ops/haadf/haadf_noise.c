/* SPDX-License-Identifier: GPL-3.0-or-later */
/* White noise of an image, how it follows the background, and scan lines. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/first_error.h"
#include "mroscope/math/legendre.h"
#include "ops/haadf/haadf_internal.h"

#define FLOOR_FROM 0.8 /* of Nyquist: where nothing but white noise is expected */
#define FLOOR_TO 0.98
#define FLAT_FROM 0.5 /* and where it is compared with, to see whether it is white */
#define FLAT_TO 0.7
#define FLAT_WITHIN \
    0.3 /* fine structure of a glass may stand in the middle, interpolation leaves 1.5 times as much there */
#define SLOPE_AT 0.89 /* of Nyquist: the floor itself is compared on both sides of this, */
#define SLOPE_WITHIN 0.06
#define LINE_EXCESS 1.3 /* power of a column of modes over that of its neighbours */
#define MOST_LINES 4
#define FAR (3 * MOST_LINES + 4)
#define BLOCK 512
#define BLOCKS_PER_SIDE 3
#define MOST_BLOCKS (BLOCKS_PER_SIDE * BLOCKS_PER_SIDE)
#define SMALLEST_BLOCK 32
#define WHOLE 0.98      /* share of the pixels of a block that have to be there */
#define SLOPE_PRIOR 0.5 /* noise of counting falls as 1 over the background: what is known beforehand, give or take */
#define BLOCK_SCATTER 0.02 /* relative, of the noise of a block beside that of its modes */
#define MAP 32             /* places along an axis that the noise is averaged over */

/* Sums of power over the modes of a block, or of several. */
struct floor_sums {
    double high, high_n, mid, mid_n;
    double side[2], side_n[2];                     /* of the high ones, below and above SLOPE_AT */
    double column[2][MOST_LINES + 1], column_n[2]; /* modes with k_x (k_y) = 0, 1, ... at high k_y (k_x) */
    double beside[2], beside_n[2];                 /* the same with MOST_LINES < k < FAR */
};

/* Modes (ky, kx), (ky, kx + 1), ... that lie far from both axes. */
static void add_far(struct floor_sums *f, const struct mro_grid *g, double nyquist, ptrdiff_t ky, ptrdiff_t kx,
                    const mro_c32 *z, ptrdiff_t n)
{
    double high = 0, high_n = 0, mid = 0, mid_n = 0, above = 0, above_n = 0;
    const double qy = (double)ky / g->ly;
#pragma omp simd reduction(+ : high, high_n, mid, mid_n, above, above_n)
    for (int i = 0; i < (int)n; i++) {
        const double qx = ((int)kx + i) / g->lx, q = sqrt(qy * qy + qx * qx) / nyquist;
        const double p = (double)z[i].re * z[i].re + (double)z[i].im * z[i].im;
        const bool in_high = q >= FLOOR_FROM && q <= FLOOR_TO, in_mid = q >= FLAT_FROM && q <= FLAT_TO;
        high += in_high ? p : 0;
        high_n += in_high;
        above += in_high && q > SLOPE_AT ? p : 0;
        above_n += in_high && q > SLOPE_AT;
        mid += in_mid ? p : 0;
        mid_n += in_mid;
    }
    f->high += high;
    f->high_n += high_n;
    f->side[0] += high - above;
    f->side_n[0] += high_n - above_n;
    f->side[1] += above;
    f->side_n[1] += above_n;
    f->mid += mid;
    f->mid_n += mid_n;
}

static void add_block(struct floor_sums *f, const struct mro_grid *g, const mro_c32 *z)
{
    const double nyquist = 0.5 * fmin((double)g->ny / g->ly, (double)g->nx / g->lx);
    const ptrdiff_t hy = (ptrdiff_t)(g->ny - 1) / 2, hx = (ptrdiff_t)(g->nx - 1) / 2;
    for (ptrdiff_t ky = 0; ky <= hy; ky++) {
        /* Every mode of the rows near the axis; of the others the first and last as vectors, and those between. */
        const ptrdiff_t far = ky < FAR ? hx : FAR - 1 < hx ? FAR - 1 : hx;
        const mro_c32 *row = z + (size_t)ky * g->nx;
        add_far(f, g, nyquist, ky, -hx, row + g->nx - hx, hx - far);
        add_far(f, g, nyquist, ky, far + 1, row + far + 1, hx - far);
        for (ptrdiff_t kx = ky ? -far : 1; kx <= far; kx++) {
            const double qy = (double)ky / g->ly, qx = (double)kx / g->lx, q = sqrt(qy * qy + qx * qx) / nyquist;
            if (q < 0.3 || q > FLOOR_TO) continue;
            const mro_c32 v = row[kx < 0 ? kx + (ptrdiff_t)g->nx : kx];
            const double p = (double)v.re * v.re + (double)v.im * v.im;
            const ptrdiff_t near[2] = { labs((long)kx), ky };
            bool line = false;
            for (int a = 0; a < 2; a++) {
                if (near[a] <= MOST_LINES) {
                    f->column[a][near[a]] += p / (near[a] ? 2 : 1);
                    if (near[a] == 0) f->column_n[a]++;
                    line = true;
                } else if (near[a] < FAR) {
                    f->beside[a] += p;
                    f->beside_n[a]++;
                }
            }
            if (line) continue;
            if (q >= FLOOR_FROM) {
                f->high += p;
                f->high_n++;
                f->side[q > SLOPE_AT] += p;
                f->side_n[q > SLOPE_AT]++;
            } else if (q >= FLAT_FROM && q <= FLAT_TO) {
                f->mid += p;
                f->mid_n++;
            }
        }
    }
}

static void add_sums(struct floor_sums *f, const struct floor_sums *other)
{
    f->high += other->high;
    f->high_n += other->high_n;
    f->mid += other->mid;
    f->mid_n += other->mid_n;
    for (int k = 0; k < 2; k++) {
        f->side[k] += other->side[k];
        f->side_n[k] += other->side_n[k];
        f->beside[k] += other->beside[k];
        f->beside_n[k] += other->beside_n[k];
        f->column_n[k] += other->column_n[k];
        for (int i = 0; i <= MOST_LINES; i++) f->column[k][i] += other->column[k][i];
    }
}

/* Share of finite pixels of a block, copied out. */
static double cut_block(const float *px, size_t nx, size_t y0, size_t x0, size_t ny, size_t mx, float *out)
{
    size_t finite = 0;
    for (size_t y = 0; y < ny; y++) {
        const float *row = px + (y0 + y) * nx + x0;
        unsigned known = 0;
#pragma omp simd reduction(+ : known)
        for (size_t x = 0; x < mx; x++) known += fabsf(row[x]) <= FLT_MAX;
        memcpy(out + y * mx, row, mx * sizeof *row);
        finite += known;
    }
    return (double)finite / ((double)ny * (double)mx);
}

/* ------------------------------------------------------------------ where to look */

struct places {
    size_t n, by, bx;
    size_t at[MOST_BLOCKS][2]; /* y, x of corners */
};

/* Blocks spread evenly over the image. */
static void spread_places(const struct mro_haadf_state *s, struct places *p)
{
    const size_t rows = s->ny >= 2 * p->by ? BLOCKS_PER_SIDE : 1 + (s->ny > p->by),
                 cols = s->nx >= 2 * p->bx ? BLOCKS_PER_SIDE : 1 + (s->nx > p->bx);
    p->n = 0;
    for (size_t j = 0; j < rows; j++)
        for (size_t i = 0; i < cols; i++) {
            p->at[p->n][0] = rows > 1 ? j * (s->ny - p->by) / (rows - 1) : 0;
            p->at[p->n++][1] = cols > 1 ? i * (s->nx - p->bx) / (cols - 1) : 0;
        }
}

/* Share of the mask's places under a block that hold pixels; `table` sums the mask from its corner. */
static double mask_share(const struct mro_haadf_state *s, const uint32_t *table, size_t y, size_t x, size_t by,
                         size_t bx)
{
    const size_t row = s->mask_nx + 1, y0 = y * s->mask_ny / s->ny, x0 = x * s->mask_nx / s->nx;
    const size_t y1 = ((y + by) * s->mask_ny + s->ny - 1) / s->ny, x1 = ((x + bx) * s->mask_nx + s->nx - 1) / s->nx;
    const double in = (double)table[y1 * row + x1] + table[y0 * row + x0] - table[y0 * row + x1] - table[y1 * row + x0];
    return in / ((double)(y1 - y0) * (double)(x1 - x0));
}

/* Blocks where the image is whole, of the largest size that fits between its gaps, none over another. False when out of
 * memory. */
static bool whole_places(const struct mro_haadf_state *s, struct places *p)
{
    const size_t row = s->mask_nx + 1;
    uint32_t *table = calloc((s->mask_ny + 1) * row, sizeof *table);
    if (table == NULL) return false;
    for (size_t y = 0; y < s->mask_ny; y++)
        for (size_t x = 0; x < s->mask_nx; x++)
            table[(y + 1) * row + x + 1] =
                s->mask[y * s->mask_nx + x] + table[y * row + x + 1] + table[(y + 1) * row + x] - table[y * row + x];
    p->n = 0;
    for (; p->n == 0 && p->by >= SMALLEST_BLOCK && p->bx >= SMALLEST_BLOCK;
         p->by = p->by * 3 / 4, p->bx = p->bx * 3 / 4) {
        const size_t down = p->by / 8, right = p->bx / 8;
        for (size_t y = 0; y + p->by <= s->ny && p->n < MOST_BLOCKS; y += down)
            for (size_t x = 0; x + p->bx <= s->nx && p->n < MOST_BLOCKS; x += right) {
                bool clear = mask_share(s, table, y, x, p->by, p->bx) >= WHOLE;
                for (size_t k = 0; k < p->n && clear; k++)
                    clear = p->at[k][0] + p->by <= y || p->at[k][1] + p->bx <= x || x + p->bx <= p->at[k][1];
                if (!clear) continue;
                p->at[p->n][0] = y;
                p->at[p->n++][1] = x;
            }
        if (p->n) break;
    }
    free(table);
    return true;
}

/* ------------------------------------------------------------------ noise over the background */

/* The background over its mean at a place of the field (y, x in 0 .. 1), at least 0.01. */
static double background_at(const struct mro_haadf_state *s, double y, double x)
{
    float row[MRO_LEGENDRE_MOST + 1];
    double px[MRO_LEGENDRE_MOST + 1], sum = 0;
    mro_legendre_row(s->background, s->degree, 2 * y - 1, row);
    mro_legendre(2 * x - 1, s->degree, px);
    for (int l = 0; l <= s->degree; l++) sum += row[l] * px[l];
    return fmax(0.01, sum / s->background[0]);
}

/* Mean over a rectangle (pixels) of the background over its mean to the power `slope`. */
static double background_power(const struct mro_haadf_state *s, size_t y, size_t x, size_t by, size_t bx, double slope)
{
    enum { STEPS = 6 };
    double sum = 0;
    for (int j = 0; j < STEPS; j++)
        for (int i = 0; i < STEPS; i++)
            sum += pow(background_at(s, ((double)y + (j + 0.5) / STEPS * (double)by) / (double)s->ny,
                                     ((double)x + (i + 0.5) / STEPS * (double)bx) / (double)s->nx),
                       slope);
    return sum / (STEPS * STEPS);
}

double mro_haadf_noise_at(const struct mro_haadf_state *s, double y, double x)
{
    return pow(background_at(s, y, x), -s->noise_slope) / s->noise_mean;
}

/* Noise of blocks, power n of w modes each: how it goes with the background, and its mean over the field. */
static void follow_background(struct mro_haadf_state *s, const struct places *p, const double *power,
                              const double *modes)
{
    /* ln power = const - slope ln background, by least squares; the constant is free. */
    double w[MOST_BLOCKS] = { 0 }, sum = 0, mx = 0, my = 0, xx = 0, xy = 0;
    for (size_t k = 0; k < p->n; k++) {
        w[k] = modes[k] > 0 && power[k] > 0 ? 1 / (1 / modes[k] + BLOCK_SCATTER * BLOCK_SCATTER) : 0;
        sum += w[k];
    }
    for (size_t k = 0; k < p->n && sum > 0; k++) {
        if (!(w[k] > 0)) continue;
        mx += w[k] / sum * log(background_power(s, p->at[k][0], p->at[k][1], p->by, p->bx, 1));
        my += w[k] / sum * log(power[k]);
    }
    for (size_t k = 0; k < p->n; k++) {
        if (!(w[k] > 0)) continue;
        const double x = log(background_power(s, p->at[k][0], p->at[k][1], p->by, p->bx, 1)) - mx;
        xx += w[k] * x * x;
        xy += w[k] * x * (log(power[k]) - my);
    }
    const double prior = 1 / (SLOPE_PRIOR * SLOPE_PRIOR);
    s->noise_slope = fmin(2, fmax(0, (prior - xy) / (prior + xx)));
    double above = 0, below = 0, mean = 0, places = 0;
    for (size_t k = 0; k < p->n; k++) {
        if (!(w[k] > 0)) continue;
        above += w[k] * power[k];
        below += w[k] * background_power(s, p->at[k][0], p->at[k][1], p->by, p->bx, -s->noise_slope);
    }
    for (size_t j = 0; j < MAP; j++)
        for (size_t i = 0; i < MAP; i++) {
            const double y = ((double)j + 0.5) / MAP, x = ((double)i + 0.5) / MAP;
            if (s->mask && !s->mask[(size_t)(y * (double)s->mask_ny) * s->mask_nx + (size_t)(x * (double)s->mask_nx)])
                continue;
            mean += pow(background_at(s, y, x), -s->noise_slope);
            places++;
        }
    s->noise_mean = places > 0 ? mean / places : 1;
    if (below > 0) s->noise = above / below * s->noise_mean;
}

/* Sums over the modes of block k; none where too much of it is missing. */
static enum mro_code sum_block(struct mro_device *d, const float *px, double background_nm,
                               const struct mro_haadf_state *s, const struct places *p, size_t k, struct floor_sums *f,
                               struct mro_error *e)
{
    const struct mro_grid g = { p->by, p->bx, (double)p->by * s->pixel_nm[0], (double)p->bx * s->pixel_nm[1] };
    const size_t n = p->by * p->bx;
    struct mro_buffer spectrum = { 0 };
    const mro_c32 *z = NULL;
    mro_c32 *own = NULL;
    float *block = malloc(n * sizeof *block);
    enum mro_code rc = block ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for a block of %zu pixels", n);
    if (rc || cut_block(px, s->nx, p->at[k][0], p->at[k][1], p->by, p->bx, block) < WHOLE) goto done;
    if ((rc = d->ops->alloc(d, &spectrum, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->contrast_spectrum(d, block, p->by, p->bx, s->pixel_nm, background_nm, &g, &spectrum, NULL, NULL,
                                        e)))
        goto done;
    z = spectrum.p;
    if (d->ops->runtime) {
        z = own = malloc(n * sizeof *own);
        rc = own ? d->ops->download(d, own, &spectrum, n * sizeof *own, e)
                 : MRO_FAIL(e, MRO_EMEMORY, "out of memory for a block of %zu pixels", n);
    }
    if (rc == MRO_OK) add_block(f, &g, z);
done:
    d->ops->release(d, &spectrum);
    free(own);
    free(block);
    return rc;
}

static enum mro_code sum_blocks(struct mro_device *d, const float *px, double background_nm,
                                const struct mro_haadf_state *s, const struct places *p, struct floor_sums *block,
                                struct mro_error *e)
{
    struct mro_first_error first = { 0 };
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t k = 0; k < p->n; k++) {
        struct mro_error mine;
        mro_first_keep(&first, k, sum_block(d, px, background_nm, s, p, k, block + k, &mine), &mine);
    }
    return mro_first_code(&first, e);
}

enum mro_code mro_haadf_noise(struct mro_device *d, const float *px, double background_nm, struct mro_haadf_state *s,
                              struct mro_error *e)
{
    struct places p = { .by = s->ny < BLOCK ? s->ny : BLOCK, .bx = s->nx < BLOCK ? s->nx : BLOCK };
    struct floor_sums f = { 0 };
    double power[MOST_BLOCKS] = { 0 }, modes[MOST_BLOCKS] = { 0 };
    s->noise = NAN;
    s->white = false;
    s->noise_mean = s->noise_slope = 1;
    spread_places(s, &p);
    /* Where a part is missing everywhere, as a rim is from images that were aligned, look between the gaps. */
    for (int pass = 0; pass < (s->mask ? 2 : 1) && f.high_n == 0; pass++) {
        struct floor_sums block[MOST_BLOCKS] = { 0 };
        if (pass && !whole_places(s, &p))
            return MRO_FAIL(e, MRO_EMEMORY, "out of memory for blocks of %zu x %zu pixels", p.bx, p.by);
        MRO_TRY(sum_blocks(d, px, background_nm, s, &p, block, e));
        for (size_t k = 0; k < p.n; k++) {
            add_sums(&f, block + k);
            modes[k] = block[k].high_n;
            power[k] = modes[k] > 0 ? block[k].high / modes[k] : 0;
        }
    }
    if (f.side_n[0] < 15 || f.side_n[1] < 15 || f.mid_n < 30) return MRO_OK;
    follow_background(s, &p, power, modes);
    s->noise_error = 1 / sqrt(f.high_n);
    const double floor = f.high / f.high_n, ratio = floor > 0 ? f.mid / f.mid_n / floor : INFINITY;
    const double slope = f.side[0] / f.side_n[0] / (f.side[1] / f.side_n[1]);
    s->white = fabs(ratio - 1) < FLAT_WITHIN + 3 / sqrt(fmin(f.mid_n, f.high_n)) &&
               fabs(slope - 1) < SLOPE_WITHIN + 3 * sqrt(1 / f.side_n[0] + 1 / f.side_n[1]);
    for (int a = 0; a < 2; a++) {
        if (!(f.column_n[a] > 8) || !(f.beside_n[a] > 8)) continue;
        const double beside = f.beside[a] / f.beside_n[a], sure = LINE_EXCESS + 4 / sqrt(f.column_n[a]);
        while (s->lines[a] <= MOST_LINES && f.column[a][s->lines[a]] / f.column_n[a] > sure * beside) s->lines[a]++;
        if (s->lines[a] == 0) continue;
        /* A line's offset is the same for all of its pixels of the block. */
        const double excess = f.column[a][0] / f.column_n[a] - beside;
        s->line_sd[a] = sqrt(fmax(0, excess) / (double)(a ? p.by : p.bx));
        s->line_power[a] = s->line_sd[a] * s->line_sd[a] * (double)(a ? s->ny : s->nx);
    }
    return MRO_OK;
}

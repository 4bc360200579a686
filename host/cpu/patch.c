/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Matched power of fringe patches, and the climb to its nearest maximum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

#define MAX_SPAN 96 /* samples across the largest sphere; a coarser bound than any grid in use needs */
#define LANES 16    /* samples taken together; MAX_SPAN is a multiple */

struct search {
    const struct mro_grid *g;
    const float *field;
    const struct mro_patch_search *s;
    double py, px; /* nm per sample */
};

/* Fringes exp(-2 pi i g r) at samples of one axis: r = (first + i - centre) step. */
struct axis {
    double centre, g;
    ptrdiff_t first;
    int n;
    float re[MAX_SPAN + LANES], im[MAX_SPAN + LANES];
};

/* Where the samples first, first + 1, ..., n of them, begin in the axis, which is filled anew where it is not of this
 * centre and wave number; then as many samples as `reach` nm hold. */
static int fill_axis(struct axis *a, ptrdiff_t first, int n, double centre, double step, double g, double reach)
{
    if (a->g == g && a->centre == centre && a->first <= first && a->first + a->n >= first + n)
        return (int)(first - a->first);
    a->centre = centre;
    a->g = g;
    a->first = (ptrdiff_t)ceil(centre - reach / step);
    const ptrdiff_t last = (ptrdiff_t)floor(centre + reach / step), end = first + n;
    a->n = (int)((last + 1 > end ? last + 1 : end) - a->first);
    const double from = (double)a->first;
#pragma omp simd
    for (int i = 0; i < a->n; i++) {
        const double r = (from + i - centre) * step;
        const float turn = (float)mro_turn_of(-g * r);
        a->re[i] = mro_cos_turn(turn);
        a->im[i] = mro_sin_turn(turn);
    }
    return (int)(first - a->first);
}

/* The field under a sphere at one place: what is left to do for another wave vector. */
struct patch {
    int size; /* -1: none */
    double y, x;
    ptrdiff_t y0, x0;
    int rows, wide; /* samples; `wide` is a multiple of LANES: what is beyond weighs nothing */
    int from[MAX_SPAN / LANES], to[MAX_SPAN / LANES]; /* rows that the sphere has in each LANES columns */
    double norm;                                      /* sum of squared half chords */
    float v[MAX_SPAN * MAX_SPAN];                     /* half chord times field, `wide` a row */
    struct axis down, across;
    double gx_last;                                 /* wave number asked for last at this place, NaN: none */
    double gy_summed, gx_summed;                    /* of the sums below, NaN where there are none */
    float column_re[MAX_SPAN], column_im[MAX_SPAN]; /* sums along columns with the fringe of gy_summed */
    float row_re[MAX_SPAN], row_im[MAX_SPAN];       /* along rows with that of gx_summed */
};

/* Weighs the field with a sphere of size k at (y, x). false: it spans more samples than there is room for. */
static bool place_patch(const struct search *c, int k, double y, double x, struct patch *p)
{
    const double radius = 0.5 * c->s->diameter_nm[k], fy = y / c->py, fx = x / c->px;
    const double ry = radius / c->py, rx = radius / c->px;
    const ptrdiff_t y0 = (ptrdiff_t)ceil(fy - ry), y1 = (ptrdiff_t)floor(fy + ry);
    const ptrdiff_t x0 = (ptrdiff_t)ceil(fx - rx), x1 = (ptrdiff_t)floor(fx + rx);
    const int rows = (int)(y1 - y0 + 1), span = (int)(x1 - x0 + 1);
    p->size = -1;
    if (span < 1 || span > MAX_SPAN || rows < 1 || rows > MAX_SPAN) return false;
    const int wide = (span + LANES - 1) / LANES * LANES;
    const size_t ny = c->g->ny, nx = c->g->nx, top = mro_cyclic(y0, ny);
    size_t left = mro_cyclic(x0, nx);
    float left2[MAX_SPAN], dx2[MAX_SPAN]; /* of the radius squared, and across */
    double norm = 0;
    const float down = (float)((double)y0 - fy), across = (float)((double)x0 - fx), square = (float)(radius * radius);
    const float py = (float)c->py, px = (float)c->px;
#pragma omp simd
    for (int j = 0; j < rows; j++) left2[j] = square - (down + (float)j) * py * ((down + (float)j) * py);
#pragma omp simd
    for (int i = 0; i < wide; i++) dx2[i] = (across + (float)i) * px * ((across + (float)i) * px);
    for (int i = 0; i < wide; i += LANES, left = (left + LANES) % nx) {
        const float *dx = dx2 + i;
        float sum[LANES] = { 0 }, wrapped[LANES];
        const double near = fmax(fmax((double)(x0 + i) - fx, fx - (double)(x0 + i + LANES - 1)), 0) / rx;
        const double half = ry * sqrt(fmax(0, 1 - near * near));
        const int from = (int)fmax(ceil(fy - half) - (double)y0, 0);
        const int to = (int)fmin(floor(fy + half) - (double)y0, rows - 1);
        p->from[i / LANES] = from;
        p->to[i / LANES] = to;
        for (int j = from; j <= to; j++) {
            const float rest = left2[j];
            size_t row = top + (size_t)j;
            if (row >= ny) row %= ny;
            const float *at = c->field + row * nx + left;
            float *v = p->v + j * wide + i;
            if (left + LANES > nx) {
                for (size_t l = 0; l < LANES; l++) wrapped[l] = c->field[row * nx + (left + l) % nx];
                at = wrapped;
            }
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                const float h = rest - dx[l], h2 = h > 0 ? h : 0;
                v[l] = sqrtf(h2) * at[l];
                sum[l] += h2;
            }
        }
        for (int l = 0; l < LANES; l++) norm += (double)sum[l];
    }
    p->size = k;
    p->y = y;
    p->x = x;
    p->y0 = y0;
    p->x0 = x0;
    p->rows = rows;
    p->wide = wide;
    p->norm = norm;
    p->gx_last = p->gy_summed = p->gx_summed = NAN;
    return true;
}

static void sum_columns(struct patch *p, const float *re, const float *im)
{
    for (int i = 0; i < p->wide; i += LANES) {
        float sum_re[LANES] = { 0 }, sum_im[LANES] = { 0 };
        for (int j = p->from[i / LANES]; j <= p->to[i / LANES]; j++) {
            const float *v = p->v + j * p->wide + i, a = re[j], b = im[j];
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                sum_re[l] += v[l] * a;
                sum_im[l] += v[l] * b;
            }
        }
        memcpy(p->column_re + i, sum_re, sizeof sum_re);
        memcpy(p->column_im + i, sum_im, sizeof sum_im);
    }
}

static void sum_rows(struct patch *p, const float *re, const float *im)
{
    memset(p->row_re, 0, (size_t)p->rows * sizeof *p->row_re);
    memset(p->row_im, 0, (size_t)p->rows * sizeof *p->row_im);
    for (int i = 0; i < p->wide; i += LANES)
        for (int j = p->from[i / LANES]; j <= p->to[i / LANES]; j++) {
            const float *v = p->v + j * p->wide + i;
            float sum_re = 0, sum_im = 0;
#pragma omp simd reduction(+ : sum_re, sum_im)
            for (int l = 0; l < LANES; l++) {
                sum_re += v[l] * re[i + l];
                sum_im += v[l] * im[i + l];
            }
            p->row_re[j] += sum_re;
            p->row_im[j] += sum_im;
        }
}

/* Power of complex sums along one axis with the fringe along the other. */
static double power_of_sums(const float *sum_re, const float *sum_im, const float *re, const float *im, int n)
{
    float all_re = 0, all_im = 0;
#pragma omp simd reduction(+ : all_re, all_im)
    for (int i = 0; i < n; i++) {
        all_re += sum_re[i] * re[i] - sum_im[i] * im[i];
        all_im += sum_re[i] * im[i] + sum_im[i] * re[i];
    }
    return (double)all_re * (double)all_re + (double)all_im * (double)all_im;
}

/* Power of the field matched by a sphere of size k at (y, x) with wave vector (gy, gx), in units of noise. The patch
 * stays for the next call, which often differs by one number: climbs along gy and gx, and searches for second
 * reflections, weigh the field with the same sphere, and along gy the sums over rows stay, along gx those over columns.
 * `sizes`: the same place will be asked for with all sizes. */
static double matched_power(const struct search *c, int k, double y, double x, double gy, double gx, bool sizes,
                            struct patch *p)
{
    if ((p->size != k || p->y != y || p->x != x) && !place_patch(c, k, y, x, p)) return 0;
    const double reach = 0.5 * c->s->diameter_nm[sizes ? MRO_PATCH_SIZES - 1 : k];
    struct axis *down = &p->down, *across = &p->across;
    const int j = fill_axis(down, p->y0, p->rows, y / c->py, c->py, gy, reach);
    const int i = fill_axis(across, p->x0, p->wide, x / c->px, c->px, gx, reach);
    if (gx != p->gx_summed && gy != p->gy_summed) {
        if (gx == p->gx_last) {
            sum_rows(p, across->re + i, across->im + i);
            p->gx_summed = gx;
        } else {
            sum_columns(p, down->re + j, down->im + j);
            p->gy_summed = gy;
        }
    }
    p->gx_last = gx;
    const double power = gx == p->gx_summed
                             ? power_of_sums(p->row_re, p->row_im, down->re + j, down->im + j, p->rows)
                             : power_of_sums(p->column_re, p->column_im, across->re + i, across->im + i, p->wide);
    return p->norm > 0 ? power / (p->norm * mro_patch_energy(c->s, k, gy, gx)) : 0;
}

enum mro_code mro_cpu_refine_patches(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                     const struct mro_patch_search *s, struct mro_patch *patches, size_t n,
                                     struct mro_error *e)
{
    struct search c = { .g = g, .field = field->p, .s = s, .py = g->ly / (double)g->ny, .px = g->lx / (double)g->nx };
    for (int k = 0; k < MRO_PATCH_SIZES; k++)
        if (s->diameter_nm[k] / fmin(c.py, c.px) + 2 > MAX_SPAN)
            return MRO_FAIL(e, MRO_EINTERNAL, "a patch of %g nm spans too many samples of %g nm", s->diameter_nm[k],
                            fmin(c.py, c.px));
    bool failed = false;
#pragma omp parallel num_threads(d->threads)
    {
        struct patch *p = malloc(sizeof *p);
        if (p == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 4)
        for (size_t i = 0; i < n; i++) {
            struct mro_patch_walk w;
            if (p == NULL) continue;
            p->size = -1; /* what one patch leaves is not seen by the next: one result at any number of threads */
            p->down.g = p->across.g = NAN;
            mro_walk_start(&w, patches + i);
            while (w.state != MRO_WALK_DONE)
                mro_walk_step(&w, s, matched_power(&c, w.size, w.y, w.x, w.gy, w.gx, w.state == MRO_WALK_SIZES, p));
            patches[i] = w.patch;
        }
        free(p);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu patches", n) : MRO_OK;
}

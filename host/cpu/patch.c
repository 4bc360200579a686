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

/* Fringes exp(-2 pi i g r) and squared distances at the samples of one axis: r = (first + i - centre) step. */
struct axis {
    float re[MAX_SPAN], im[MAX_SPAN], square[MAX_SPAN];
};
static void fill_axis(struct axis *a, double first, double centre, double step, double g, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) {
        const double r = (first + i - centre) * step;
        const float turn = (float)mro_turn_of(-g * r);
        a->re[i] = mro_cos_turn(turn);
        a->im[i] = mro_sin_turn(turn);
        a->square[i] = (float)(r * r);
    }
}

/* Power of the field matched by a sphere of size k at (y, x) with wave vector (gy, gx), in units of noise. */
static double matched_power(const struct search *c, int k, double y, double x, double gy, double gx)
{
    const double radius = 0.5 * c->s->diameter_nm[k], fy = y / c->py, fx = x / c->px;
    const double ry = radius / c->py, rx = radius / c->px;
    const ptrdiff_t y0 = (ptrdiff_t)ceil(fy - ry), y1 = (ptrdiff_t)floor(fy + ry);
    const ptrdiff_t x0 = (ptrdiff_t)ceil(fx - rx), x1 = (ptrdiff_t)floor(fx + rx);
    const int rows = (int)(y1 - y0 + 1), span = (int)(x1 - x0 + 1);
    if (span < 1 || span > MAX_SPAN || rows < 1 || rows > MAX_SPAN) return 0;
    const size_t ny = c->g->ny, nx = c->g->nx;
    const int wide = (span + LANES - 1) / LANES * LANES; /* what lies beyond the sphere weighs nothing */
    struct axis down, across;
    fill_axis(&down, (double)y0, fy, c->py, gy, rows);
    fill_axis(&across, (double)x0, fx, c->px, gx, wide);
    const float r2 = (float)(radius * radius);
    const size_t top = mro_cyclic(y0, ny);
    size_t left = mro_cyclic(x0, nx);
    double all_re = 0, all_im = 0, norm = 0;
    for (int i = 0; i < wide; i += LANES, left = (left + LANES) % nx) {
        const float *re = across.re + i, *im = across.im + i, *dx2 = across.square + i;
        float sum_re[LANES] = { 0 }, sum_im[LANES] = { 0 }, sum_norm[LANES] = { 0 }, wrapped[LANES];
        /* The rows that the sphere has in these columns. */
        const double near = fmax(fmax((double)(x0 + i) - fx, fx - (double)(x0 + i + LANES - 1)), 0) / rx;
        const double half = ry * sqrt(fmax(0, 1 - near * near));
        const int from = (int)fmax(ceil(fy - half) - (double)y0, 0),
                  to = (int)fmin(floor(fy + half) - (double)y0, rows - 1);
        for (int j = from; j <= to; j++) {
            const float rest = r2 - down.square[j], a = down.re[j], b = down.im[j];
            size_t row = top + (size_t)j;
            if (row >= ny) row %= ny;
            const float *p = c->field + row * nx + left;
            if (left + LANES > nx) {
                for (size_t l = 0; l < LANES; l++) wrapped[l] = c->field[row * nx + (left + l) % nx];
                p = wrapped;
            }
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                const float h = rest - dx2[l], h2 = h > 0 ? h : 0, v = sqrtf(h2) * p[l]; /* half chord */
                sum_re[l] += v * a;
                sum_im[l] += v * b;
                sum_norm[l] += h2;
            }
        }
        for (int l = 0; l < LANES; l++) {
            all_re += sum_re[l] * re[l] - sum_im[l] * im[l];
            all_im += sum_re[l] * im[l] + sum_im[l] * re[l];
            norm += sum_norm[l];
        }
    }
    return norm > 0 ? (all_re * all_re + all_im * all_im) / (norm * mro_patch_energy(c->s, k, gy, gx)) : 0;
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
#pragma omp parallel for schedule(dynamic, 4) num_threads(d->threads)
    for (size_t i = 0; i < n; i++) {
        struct mro_patch_walk w;
        mro_walk_start(&w, patches + i);
        while (w.state != MRO_WALK_DONE) mro_walk_step(&w, s, matched_power(&c, w.size, w.y, w.x, w.gy, w.gx));
        patches[i] = w.patch;
    }
    return MRO_OK;
}

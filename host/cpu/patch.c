/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Matched power of fringe patches, and the climb to its nearest maximum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"

#define MAX_SPAN 96 /* samples across the largest sphere; a coarser bound than any grid in use needs */
#define LANES 16    /* samples taken together; MAX_SPAN is a multiple */

struct search {
    const struct mro_grid *g;
    const float *field;
    const struct mro_patch_search *s;
    double py, px; /* nm per sample */
};

/* Power of the field matched by a sphere of size k at (y, x) with wave vector (gy, gx), in units of noise. */
static double matched_power(const struct search *c, int k, double y, double x, double gy, double gx)
{
    const double radius = 0.5 * c->s->diameter_nm[k], fy = y / c->py, fx = x / c->px;
    const ptrdiff_t y0 = (ptrdiff_t)ceil(fy - radius / c->py), y1 = (ptrdiff_t)floor(fy + radius / c->py);
    const ptrdiff_t x0 = (ptrdiff_t)ceil(fx - radius / c->px), x1 = (ptrdiff_t)floor(fx + radius / c->px);
    const ptrdiff_t span = x1 - x0 + 1;
    if (span < 1 || span > MAX_SPAN || y1 < y0) return 0;
    const ptrdiff_t ny = (ptrdiff_t)c->g->ny, nx = (ptrdiff_t)c->g->nx;
    float cr[MAX_SPAN], ci[MAX_SPAN], dx2[MAX_SPAN], wrapped[MAX_SPAN];
    const ptrdiff_t wide = (span + LANES - 1) / LANES * LANES; /* what lies beyond the sphere weighs nothing */
    /* Fringe phase along x by recurrence: one sine and cosine a row of the patch would cost more than the patch. */
    const double step = -2 * MRO_PI * gx * c->px, first = -2 * MRO_PI * gx * ((double)x0 - fx) * c->px;
    double re = cos(first), im = sin(first);
    const double ur = cos(step), ui = sin(step);
    for (ptrdiff_t i = 0; i < wide; i++) {
        const double dx = ((double)(x0 + i) - fx) * c->px;
        cr[i] = (float)re;
        ci[i] = (float)im;
        dx2[i] = (float)(dx * dx);
        const double t = re * ur - im * ui;
        im = re * ui + im * ur;
        re = t;
    }
    /* And along y, likewise from row to row. */
    const double step_y = -2 * MRO_PI * gy * c->py, first_y = -2 * MRO_PI * gy * ((double)y0 - fy) * c->py;
    double ca = cos(first_y), sa = sin(first_y);
    const double vr = cos(step_y), vi = sin(step_y);
    const float r2 = (float)(radius * radius);
    float sum_re[LANES] = { 0 }, sum_im[LANES] = { 0 }, sum_norm[LANES] = { 0 };
    ptrdiff_t left = x0 % nx;
    if (left < 0) left += nx;
    for (ptrdiff_t j = y0; j <= y1; j++) {
        const double dy = ((double)j - fy) * c->py;
        const float rest = r2 - (float)(dy * dy), a = (float)ca, b = (float)sa;
        ptrdiff_t row = j % ny;
        if (row < 0) row += ny;
        const float *p = c->field + (size_t)row * (size_t)nx + left;
        if (left + wide > nx) {
            for (ptrdiff_t i = 0; i < wide; i++) wrapped[i] = c->field[row * nx + (left + i) % nx];
            p = wrapped;
        }
        for (ptrdiff_t i = 0; i < wide; i += LANES) {
#pragma omp simd
            for (ptrdiff_t l = 0; l < LANES; l++) {
                const float h = rest - dx2[i + l], h2 = h > 0 ? h : 0, v = sqrtf(h2) * p[i + l]; /* half chord */
                sum_re[l] += v * (cr[i + l] * a - ci[i + l] * b);
                sum_im[l] += v * (cr[i + l] * b + ci[i + l] * a);
                sum_norm[l] += h2;
            }
        }
        const double turned = ca * vr - sa * vi;
        sa = ca * vi + sa * vr;
        ca = turned;
    }
    double all_re = 0, all_im = 0, norm = 0;
    for (ptrdiff_t l = 0; l < LANES; l++) {
        all_re += sum_re[l];
        all_im += sum_im[l];
        norm += sum_norm[l];
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

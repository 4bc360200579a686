/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels of the bank of windowed spectra: around each wave vector the spectrum is weighted by the window and laid on
 * the coarse grid of cells; its inverse transform is the windowed spectrum at that wave vector in every cell; of all
 * wave vectors the strongest is kept. */
#ifndef MRO_KERNELS_BANK_H
#define MRO_KERNELS_BANK_H

#include "kernel.h"
#include "mroscope/math/grid.h"

/* The window along y and x around every wave vector: wy n_g * (2 hy + 1) with the scale in it, wx n_g * (2 hx + 1). */
struct mro_bank_weights_args {
    const double *g; /* y, x of each */
    const double *scale;
    size_t n_g;
    double ly, lx, c;
    ptrdiff_t hy, hx;
    float *wy, *wx;
};
MRO_NO_SHARED(bank_weights);
enum { mro_bank_weights_THREADS = 128, mro_bank_weights_PHASES = 1 };
MRO_HD size_t mro_bank_weights_items(size_t n_g, ptrdiff_t hy, ptrdiff_t hx)
{
    return n_g * (size_t)(2 * hy + 1 + 2 * hx + 1);
}
MRO_HD void mro_bank_weights_phase(int phase, const struct mro_bank_weights_args *a, const struct mro_thread *t,
                                   struct mro_bank_weights_shared *s)
{
    (void)phase;
    (void)s;
    const ptrdiff_t rows = 2 * a->hy + 1, columns = 2 * a->hx + 1;
    MRO_EACH(i, mro_bank_weights_items(a->n_g, a->hy, a->hx), t, mro_bank_weights_THREADS)
    {
        const size_t k = i / (size_t)(rows + columns);
        const ptrdiff_t at = (ptrdiff_t)(i % (size_t)(rows + columns));
        if (at < rows) {
            const double p = a->g[2 * k] * a->ly, q = ((double)(at - a->hy + lround(p)) - p) / a->ly;
            a->wy[k * (size_t)rows + (size_t)at] = (float)(exp(-a->c * q * q) * a->scale[k]);
        } else {
            const double p = a->g[2 * k + 1] * a->lx, q = ((double)(at - rows - a->hx + lround(p)) - p) / a->lx;
            a->wx[k * (size_t)columns + (size_t)(at - rows)] = (float)exp(-a->c * q * q);
        }
    }
}

/* Windowed coefficients of wave vectors first .. first + count - 1 on planes of out_ny x out_nx, one after the other;
 * frequencies beyond the coarse grid's own fold onto it, which is exact at its points. Planes past n_g are 0. */
struct mro_bank_gather_args {
    const mro_c32 *s;
    size_t ny, nx;
    double ly, lx;
    const double *g;
    const float *wy, *wx;
    size_t n_g, first, count;
    ptrdiff_t hy, hx;
    mro_c32 *z;
    size_t out_ny, out_nx;
};
MRO_NO_SHARED(bank_gather);
enum { mro_bank_gather_THREADS = 256, mro_bank_gather_PHASES = 1 };
MRO_HD void mro_bank_gather_phase(int phase, const struct mro_bank_gather_args *a, const struct mro_thread *t,
                                  struct mro_bank_gather_shared *s)
{
    (void)phase;
    (void)s;
    const size_t plane = a->out_ny * a->out_nx;
    const ptrdiff_t rows = 2 * a->hy + 1, columns = 2 * a->hx + 1;
    MRO_EACH(item, a->count * plane, t, mro_bank_gather_THREADS)
    {
        const size_t k = a->first + item / plane, at = item % plane;
        mro_c32 sum;
        sum.re = sum.im = 0;
        if (k < a->n_g) {
            const ptrdiff_t cy = (ptrdiff_t)lround(a->g[2 * k] * a->ly),
                            cx = (ptrdiff_t)lround(a->g[2 * k + 1] * a->lx);
            const size_t ty = at / a->out_nx, tx = at % a->out_nx;
            /* Rows and columns as numbered in the window, from 0. */
            for (ptrdiff_t j = (ptrdiff_t)mro_cyclic((ptrdiff_t)ty + a->hy, a->out_ny); j < rows;
                 j += (ptrdiff_t)a->out_ny) {
                const float wy = a->wy[k * (size_t)rows + (size_t)j];
                const mro_c32 *line = a->s + mro_cyclic(j - a->hy + cy, a->ny) * a->nx;
                for (ptrdiff_t i = (ptrdiff_t)mro_cyclic((ptrdiff_t)tx + a->hx, a->out_nx); i < columns;
                     i += (ptrdiff_t)a->out_nx) {
                    const float w = wy * a->wx[k * (size_t)columns + (size_t)i];
                    const mro_c32 v = line[mro_cyclic(i - a->hx + cx, a->nx)];
                    sum.re += w * v.re;
                    sum.im += w * v.im;
                }
            }
        }
        a->z[item] = sum;
    }
}

/* The largest |z|^2 over the planes of wave vectors first .. first + count - 1 (those below n_g) at each of n points,
 * and which it was, joined to what earlier ones gave (first = 0: none). Of equals the lowest number wins. */
struct mro_bank_largest_args {
    const mro_c32 *z;
    size_t n, n_g, first, count;
    float *power;
    int32_t *which;
};
MRO_NO_SHARED(bank_largest);
enum { mro_bank_largest_THREADS = 128, mro_bank_largest_PHASES = 1 };
MRO_HD void mro_bank_largest_phase(int phase, const struct mro_bank_largest_args *a, const struct mro_thread *t,
                                   struct mro_bank_largest_shared *s)
{
    (void)phase;
    (void)s;
    const size_t count = a->first + a->count > a->n_g ? a->n_g - a->first : a->count;
    MRO_EACH(i, a->n, t, mro_bank_largest_THREADS)
    {
        float best = a->first ? a->power[i] : -1;
        int32_t which = a->first ? a->which[i] : -1;
        for (size_t k = 0; k < count; k++) {
            const mro_c32 z = a->z[k * a->n + i];
            const float p = z.re * z.re + z.im * z.im;
            if (p > best) {
                best = p;
                which = (int32_t)(a->first + k);
            }
        }
        a->power[i] = best;
        a->which[i] = which;
    }
}

#endif

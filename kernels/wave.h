/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels of geometric phase analysis: one set of fringes brought down to frequency zero, and the slope of its phase.
 */
#ifndef MRO_KERNELS_WAVE_H
#define MRO_KERNELS_WAVE_H

#include "kernel.h"
#include "mroscope/math/wave.h"

/* The masked coefficients of s (ny * nx) on a plane z of out_ny * out_nx that holds the mask, frequency zero first,
 * times `unit`. One item a sample of z. */
struct mro_demodulate_args {
    const mro_c32 *s;
    size_t ny, nx;
    struct mro_wave_mask mask;
    mro_c32 *z;
    size_t out_ny, out_nx;
    double unit;
};
MRO_NO_SHARED(demodulate);
enum { mro_demodulate_THREADS = 256, mro_demodulate_PHASES = 1 };
MRO_HD void mro_demodulate_phase(int phase, const struct mro_demodulate_args *a, const struct mro_thread *t,
                                 struct mro_demodulate_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(k, a->out_ny * a->out_nx, t, mro_demodulate_THREADS)
    {
        ptrdiff_t j = (ptrdiff_t)(k / a->out_nx), i = (ptrdiff_t)(k % a->out_nx);
        mro_c32 v = { 0, 0 };
        if (j > a->mask.hy) j -= (ptrdiff_t)a->out_ny;
        if (i > a->mask.hx) i -= (ptrdiff_t)a->out_nx;
        if (j >= -a->mask.hy && i >= -a->mask.hx) {
            const float w = (float)(a->unit * mro_wave_weight(&a->mask, j, i));
            v = a->s[mro_cyclic(j + a->mask.cy, a->ny) * a->nx + mro_cyclic(i + a->mask.cx, a->nx)];
            v.re *= w;
            v.im *= w;
        }
        a->z[k] = v;
    }
}

/* to = i 2 pi q z `unit` with q along y (axis 0) or x: the derivative, frequency by frequency. Middle frequencies of
 * even planes, which have no partner, give 0. */
struct mro_derivative_args {
    const mro_c32 *z;
    mro_c32 *to;
    size_t ny, nx;
    double length, unit;
    int axis;
};
MRO_NO_SHARED(derivative);
enum { mro_derivative_THREADS = 256, mro_derivative_PHASES = 1 };
MRO_HD void mro_derivative_phase(int phase, const struct mro_derivative_args *a, const struct mro_thread *t,
                                 struct mro_derivative_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(k, a->ny * a->nx, t, mro_derivative_THREADS)
    {
        const size_t n = a->axis ? a->nx : a->ny, i = a->axis ? k % a->nx : k / a->nx;
        const double q = n % 2 == 0 && i == n / 2 ? 0 : mro_frequency(i, n, a->length);
        const float w = (float)(2 * MRO_PI * q * a->unit);
        const mro_c32 v = a->z[k];
        a->to[k].re = -w * v.im;
        a->to[k].im = w * v.re;
    }
}

/* slope = slope of the phase of h whose derivative is dh, n numbers. */
struct mro_slope_args {
    const mro_c32 *h, *dh;
    float *slope;
    size_t n;
};
MRO_NO_SHARED(slope);
enum { mro_slope_THREADS = 256, mro_slope_PHASES = 1 };
MRO_HD void mro_slope_phase(int phase, const struct mro_slope_args *a, const struct mro_thread *t,
                            struct mro_slope_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_slope_THREADS) { a->slope[i] = mro_wave_slope(a->h[i], a->dh[i]); }
}

#endif

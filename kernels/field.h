/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels on whole planes: gains, noise, and what stands around transforms. */
#ifndef MRO_KERNELS_FIELD_H
#define MRO_KERNELS_FIELD_H

#include "kernel.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/noise.h"

/* s *= gain, n numbers. */
struct mro_multiply_args {
    mro_c32 *s;
    const float *gain;
    size_t n;
};
MRO_NO_SHARED(multiply);
enum { mro_multiply_THREADS = 256, mro_multiply_PHASES = 1 };
MRO_HD void mro_multiply_phase(int phase, const struct mro_multiply_args *a, const struct mro_thread *t,
                               struct mro_multiply_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_multiply_THREADS)
    {
        const float gain = a->gain[i];
        mro_c32 z = a->s[i];
        z.re *= gain;
        z.im *= gain;
        a->s[i] = z;
    }
}

/* out = a * conj(b), n numbers; out may be a or b. */
struct mro_correlate_args {
    const mro_c32 *a, *b;
    mro_c32 *out;
    size_t n;
};
MRO_NO_SHARED(correlate);
enum { mro_correlate_THREADS = 256, mro_correlate_PHASES = 1 };
MRO_HD void mro_correlate_phase(int phase, const struct mro_correlate_args *a, const struct mro_thread *t,
                                struct mro_correlate_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_correlate_THREADS)
    {
        const mro_c32 p = a->a[i], q = a->b[i];
        a->out[i].re = p.re * q.re + p.im * q.im;
        a->out[i].im = p.im * q.re - p.re * q.im;
    }
}

/* sum += a * py[row] * px[column]: the phases of a move, the weight in py. */
struct mro_add_moved_args {
    const mro_c32 *a, *py, *px;
    mro_c32 *sum;
    size_t ny, nx;
};
MRO_NO_SHARED(add_moved);
enum { mro_add_moved_THREADS = 256, mro_add_moved_PHASES = 1 };
MRO_HD void mro_add_moved_phase(int phase, const struct mro_add_moved_args *a, const struct mro_thread *t,
                                struct mro_add_moved_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->ny * a->nx, t, mro_add_moved_THREADS)
    {
        const mro_c32 p = a->py[i / a->nx], q = a->px[i % a->nx], u = a->a[i];
        const float re = p.re * q.re - p.im * q.im, im = p.re * q.im + p.im * q.re;
        a->sum[i].re += u.re * re - u.im * im;
        a->sum[i].im += u.re * im + u.im * re;
    }
}

/* Spectrum of a white Gaussian field in a band; s is zero beforehand. One item for each of the (hy + 1) * (2 hx + 1)
 * frequencies with ky >= 0, hy = (ny - 1) / 2: middle frequencies of even grids have no partner and stay 0. */
struct mro_noise_args {
    mro_c32 *s;
    size_t ny, nx;
    double ly, lx;
    uint64_t seed, stream;
    float lo, hi, edge;
};
MRO_NO_SHARED(noise);
enum { mro_noise_THREADS = 256, mro_noise_PHASES = 1 };
MRO_HD size_t mro_noise_items(size_t ny, size_t nx) { return ((ny - 1) / 2 + 1) * (2 * ((nx - 1) / 2) + 1); }
MRO_HD void mro_noise_phase(int phase, const struct mro_noise_args *a, const struct mro_thread *t,
                            struct mro_noise_shared *s)
{
    (void)phase;
    (void)s;
    const ptrdiff_t hx = (ptrdiff_t)(a->nx - 1) / 2, row = 2 * hx + 1;
    MRO_EACH(i, mro_noise_items(a->ny, a->nx), t, mro_noise_THREADS)
    {
        const ptrdiff_t ky = (ptrdiff_t)i / row, kx = (ptrdiff_t)i % row - hx;
        if (ky == 0 && kx < 0) continue;
        const mro_c32 z =
            mro_noise_coefficient(a->seed, a->stream, (int32_t)ky, (int32_t)kx, a->ly, a->lx, a->lo, a->hi, a->edge);
        const size_t up = (size_t)ky * a->nx + mro_cyclic(kx, a->nx);
        const size_t down = mro_cyclic(-ky, a->ny) * a->nx + mro_cyclic(-kx, a->nx);
        a->s[down].re = z.re;
        a->s[down].im = -z.im;
        a->s[up] = z;
    }
}

/* f = unit * real part of z, n numbers. */
struct mro_real_part_args {
    const mro_c32 *z;
    float *f;
    size_t n;
    float unit;
};
MRO_NO_SHARED(real_part);
enum { mro_real_part_THREADS = 256, mro_real_part_PHASES = 1 };
MRO_HD void mro_real_part_phase(int phase, const struct mro_real_part_args *a, const struct mro_thread *t,
                                struct mro_real_part_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_real_part_THREADS) { a->f[i] = a->z[i].re * a->unit; }
}

/* z = unit * f, or its square. */
struct mro_to_complex_args {
    const float *f;
    mro_c32 *z;
    size_t n;
    float unit;
    bool square;
};
MRO_NO_SHARED(to_complex);
enum { mro_to_complex_THREADS = 256, mro_to_complex_PHASES = 1 };
MRO_HD void mro_to_complex_phase(int phase, const struct mro_to_complex_args *a, const struct mro_thread *t,
                                 struct mro_to_complex_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_to_complex_THREADS)
    {
        const float v = a->f[i];
        a->z[i].re = a->square ? v * v : v * a->unit;
        a->z[i].im = 0;
    }
}

/* Low-pass exp(-c q^2) / (ny nx) of the spectrum t of a grid, at frequencies up to hy, hx steps, folded onto a coarser
 * grid: what its points see. One item for each sample of u, the coarse spectrum. */
struct mro_low_pass_args {
    const mro_c32 *t;
    size_t ny, nx;
    mro_c32 *u;
    size_t to_ny, to_nx;
    double ly, lx, c;
    ptrdiff_t hy, hx;
};
MRO_NO_SHARED(low_pass);
enum { mro_low_pass_THREADS = 128, mro_low_pass_PHASES = 1 };
/* The first j >= -h that falls on row `at` of n. */
MRO_HD ptrdiff_t mro_first_alias(ptrdiff_t h, size_t at, size_t n)
{
    return -h + (ptrdiff_t)mro_cyclic((ptrdiff_t)at + h, n);
}
MRO_HD void mro_low_pass_phase(int phase, const struct mro_low_pass_args *a, const struct mro_thread *t,
                               struct mro_low_pass_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(k, a->to_ny * a->to_nx, t, mro_low_pass_THREADS)
    {
        mro_c32 sum;
        sum.re = sum.im = 0;
        for (ptrdiff_t j = mro_first_alias(a->hy, k / a->to_nx, a->to_ny); j <= a->hy; j += (ptrdiff_t)a->to_ny)
            for (ptrdiff_t i = mro_first_alias(a->hx, k % a->to_nx, a->to_nx); i <= a->hx; i += (ptrdiff_t)a->to_nx) {
                const double qy = (double)j / a->ly, qx = (double)i / a->lx;
                const float w = (float)(exp(-a->c * (qy * qy + qx * qx)) / ((double)a->ny * (double)a->nx));
                const mro_c32 v = a->t[mro_cyclic(j, a->ny) * a->nx + mro_cyclic(i, a->nx)];
                sum.re += w * v.re;
                sum.im += w * v.im;
            }
        a->u[k] = sum;
    }
}

/* r = real part of u, not below 0; m numbers. */
struct mro_clamp_args {
    const mro_c32 *u;
    float *r;
    size_t m;
};
MRO_NO_SHARED(clamp);
enum { mro_clamp_THREADS = 256, mro_clamp_PHASES = 1 };
MRO_HD void mro_clamp_phase(int phase, const struct mro_clamp_args *a, const struct mro_thread *t,
                            struct mro_clamp_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->m, t, mro_clamp_THREADS) { a->r[i] = a->u[i].re > 0 ? a->u[i].re : 0; }
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels of geometric phase analysis: one set of fringes brought down to frequency zero, and the slope of its phase.
 * Weights and turns are those of host/core/wave.h, here of device memory. */
#ifndef MRO_KERNELS_WAVE_H
#define MRO_KERNELS_WAVE_H

#include "kernel.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/wave.h"

/* Where samples are summed around points along one axis. */
struct mro_wave_sums {
    size_t points, taps, span;
    const uint32_t *begin;
    const float *weight, *rise;
    const mro_c32 *turn;
};

/* Sums along y of a field of ny * nx, of which the window's span begins at sample (first_y, first_x): rows of `columns`
 * complex numbers for the points of y, in z, and with the derivative in dz, unless that is NULL. One item a number. */
struct mro_wave_rows_args {
    const float *field;
    size_t ny, nx, columns;
    ptrdiff_t first_y, first_x;
    struct mro_wave_sums y;
    mro_c32 *z, *dz;
};
MRO_NO_SHARED(wave_rows);
enum { mro_wave_rows_THREADS = 128, mro_wave_rows_PHASES = 1 };
MRO_HD void mro_wave_rows_phase(int phase, const struct mro_wave_rows_args *a, const struct mro_thread *t,
                                struct mro_wave_rows_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->y.points * a->columns, t, mro_wave_rows_THREADS)
    {
        const size_t j = i / a->columns, x = mro_cyclic(a->first_x + (ptrdiff_t)(i % a->columns), a->nx);
        const uint32_t begin = a->y.begin[j];
        const float *weight = a->y.weight + j * a->y.taps, *rise = a->y.rise + j * a->y.taps;
        size_t row = mro_cyclic(a->first_y + (ptrdiff_t)begin, a->ny);
        mro_c32 z = { 0, 0 }, dz = { 0, 0 };
        for (size_t k = 0; k < a->y.taps; k++, row = row + 1 < a->ny ? row + 1 : 0) {
            const float v = a->field[row * a->nx + x];
            const mro_c32 turn = a->y.turn[begin + k];
            z.re += v * (weight[k] * turn.re);
            z.im += v * (weight[k] * turn.im);
            if (a->dz == NULL) continue;
            dz.re += v * (rise[k] * turn.re);
            dz.im += v * (rise[k] * turn.im);
        }
        a->z[i] = z;
        if (a->dz) a->dz[i] = dz;
    }
}

/* Sums of these along x: the fringes at the points, and the slopes of their phase along y and along x, one plane after
 * the other, unless `slope` is NULL. One item a point. */
struct mro_wave_columns_args {
    const mro_c32 *z, *dz;
    size_t rows;
    struct mro_wave_sums x;
    mro_c32 *h;
    float *slope;
};
MRO_NO_SHARED(wave_columns);
enum { mro_wave_columns_THREADS = 128, mro_wave_columns_PHASES = 1 };
MRO_HD mro_c32 mro_wave_sum(const mro_c32 *v, const mro_c32 *turn, const float *weight, size_t taps)
{
    mro_c32 sum = { 0, 0 };
    for (size_t k = 0; k < taps; k++) {
        sum.re += weight[k] * (v[k].re * turn[k].re - v[k].im * turn[k].im);
        sum.im += weight[k] * (v[k].re * turn[k].im + v[k].im * turn[k].re);
    }
    return sum;
}
MRO_HD void mro_wave_columns_phase(int phase, const struct mro_wave_columns_args *a, const struct mro_thread *t,
                                   struct mro_wave_columns_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->rows * a->x.points, t, mro_wave_columns_THREADS)
    {
        const size_t j = i / a->x.points, k = i % a->x.points, begin = a->x.begin[k];
        const size_t from = j * a->x.span + begin, taps = a->x.taps;
        const mro_c32 *turn = a->x.turn + begin;
        const float *weight = a->x.weight + k * taps;
        const mro_c32 h = mro_wave_sum(a->z + from, turn, weight, taps);
        a->h[i] = h;
        if (a->slope == NULL) continue;
        a->slope[i] = mro_wave_slope(h, mro_wave_sum(a->dz + from, turn, weight, taps));
        a->slope[a->rows * a->x.points + i] =
            mro_wave_slope(h, mro_wave_sum(a->z + from, turn, a->x.rise + k * taps, taps));
    }
}

#endif

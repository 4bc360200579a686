/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels of the windowed autocorrelation. Two windows share one complex plane. */
#ifndef MRO_KERNELS_ACF_H
#define MRO_KERNELS_ACF_H

#include "kernel.h"
#include "mroscope/math/acf.h"

/* Windows around centres 2 k (real part) and 2 k + 1 (imaginary part) of plane k, the mean under the window taken out.
 * One block a plane. Centres are taken to the nearest sample: the autocorrelation does not depend on where its window
 * sits between samples. */
struct mro_acf_fill_args {
    const float *field;
    size_t field_ny, field_nx;
    double step_y, step_x;
    const float *w; /* (2 hy + 1) * (2 hx + 1) */
    double w_sum;
    ptrdiff_t hy, hx;
    const double *centres; /* y, x of each, nm */
    size_t n;
    mro_c32 *z;
    size_t ny, nx;
};
enum { mro_acf_fill_THREADS = 256, mro_acf_fill_PHASES = 4, mro_acf_fill_PARTS = 16 };
struct mro_acf_fill_shared {
    double sum[2][mro_acf_fill_THREADS], part[2][mro_acf_fill_PARTS];
    float mean[2];
};
MRO_HD void mro_acf_fill_phase(int phase, const struct mro_acf_fill_args *a, const struct mro_thread *t,
                               struct mro_acf_fill_shared *s)
{
    const int me = (int)t->thread;
    const size_t rows = (size_t)(2 * a->hy + 1), columns = (size_t)(2 * a->hx + 1);
    ptrdiff_t cy[2], cx[2];
    for (int k = 0; k < 2; k++) {
        const size_t c = 2 * (size_t)t->block + (size_t)k < a->n ? 2 * (size_t)t->block + (size_t)k : 0;
        cy[k] = (ptrdiff_t)lround(a->centres[2 * c] / a->step_y);
        cx[k] = (ptrdiff_t)lround(a->centres[2 * c + 1] / a->step_x);
    }
    if (phase == 0) {
        for (int k = 0; k < 2; k++) {
            double sum = 0;
            for (size_t i = (size_t)me; i < rows * columns; i += mro_acf_fill_THREADS) {
                const ptrdiff_t y = cy[k] - a->hy + (ptrdiff_t)(i / columns),
                                x = cx[k] - a->hx + (ptrdiff_t)(i % columns);
                sum +=
                    (double)a->w[i] * a->field[mro_cyclic(y, a->field_ny) * a->field_nx + mro_cyclic(x, a->field_nx)];
            }
            s->sum[k][me] = sum;
        }
    } else if (phase == 1) {
        if (me >= 2 * mro_acf_fill_PARTS) return;
        const int k = me / mro_acf_fill_PARTS, part = me % mro_acf_fill_PARTS;
        double sum = 0;
        for (int i = part; i < mro_acf_fill_THREADS; i += mro_acf_fill_PARTS) sum += s->sum[k][i];
        s->part[k][part] = sum;
    } else if (phase == 2) {
        if (me >= 2) return;
        double sum = 0;
        for (int i = 0; i < mro_acf_fill_PARTS; i++) sum += s->part[me][i];
        s->mean[me] = (float)(sum / a->w_sum);
    } else {
        const bool both = 2 * (size_t)t->block + 1 < a->n;
        mro_c32 *plane = a->z + (size_t)t->block * a->ny * a->nx;
        for (size_t i = (size_t)me; i < a->ny * a->nx; i += mro_acf_fill_THREADS) {
            /* Signed place in the window; beyond it lies the padding. */
            const size_t py = i / a->nx, px = i % a->nx;
            const ptrdiff_t y = py <= (size_t)a->hy ? (ptrdiff_t)py : (ptrdiff_t)py - (ptrdiff_t)a->ny;
            const ptrdiff_t x = px <= (size_t)a->hx ? (ptrdiff_t)px : (ptrdiff_t)px - (ptrdiff_t)a->nx;
            mro_c32 v;
            v.re = v.im = 0;
            if (y >= -a->hy && x >= -a->hx) {
                const float w = a->w[(size_t)(y + a->hy) * columns + (size_t)(x + a->hx)];
                v.re =
                    w *
                    (a->field[mro_cyclic(cy[0] + y, a->field_ny) * a->field_nx + mro_cyclic(cx[0] + x, a->field_nx)] -
                     s->mean[0]);
                if (both)
                    v.im = w * (a->field[mro_cyclic(cy[1] + y, a->field_ny) * a->field_nx +
                                         mro_cyclic(cx[1] + x, a->field_nx)] -
                                s->mean[1]);
            }
            plane[i] = v;
        }
    }
}

/* Powers over the half plane, ny * (nx / 2 + 1) numbers a window, from the transforms of `planes` such planes. */
struct mro_acf_power_args {
    const mro_c32 *z;
    size_t planes, ny, nx;
    float *power; /* of 2 planes windows */
};
MRO_NO_SHARED(acf_power);
enum { mro_acf_power_THREADS = 256, mro_acf_power_PHASES = 1 };
MRO_HD void mro_acf_power_phase(int phase, const struct mro_acf_power_args *a, const struct mro_thread *t,
                                struct mro_acf_power_shared *s)
{
    (void)phase;
    (void)s;
    const size_t half = a->nx / 2 + 1, m = a->ny * half;
    MRO_EACH(i, a->planes * m, t, mro_acf_power_THREADS)
    {
        const size_t k = i / m, y = i % m / half, x = i % half;
        const mro_c32 *plane = a->z + k * a->ny * a->nx;
        const mro_c32 both =
            mro_split_power(plane[y * a->nx + x], plane[(y ? a->ny - y : 0) * a->nx + (x ? a->nx - x : 0)], x, a->nx);
        a->power[2 * k * m + y * half + x] = both.re;
        a->power[(2 * k + 1) * m + y * half + x] = both.im;
    }
}

/* Transform of powers along y at n lags: windows * n * half complex numbers. */
struct mro_acf_lags_y_args {
    const float *power;
    size_t windows, ny, half, n;
    const double *cy, *sy; /* n * ny */
    double *re, *im;
};
MRO_NO_SHARED(acf_lags_y);
enum { mro_acf_lags_y_THREADS = 128, mro_acf_lags_y_PHASES = 1 };
MRO_HD void mro_acf_lags_y_phase(int phase, const struct mro_acf_lags_y_args *a, const struct mro_thread *t,
                                 struct mro_acf_lags_y_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(k, a->windows * a->n * a->half, t, mro_acf_lags_y_THREADS)
    {
        const size_t x = k % a->half, i = k / a->half % a->n, window = k / a->half / a->n;
        const float *p = a->power + window * a->ny * a->half + x;
        double re = 0, im = 0;
        for (size_t y = 0; y < a->ny; y++) {
            re += a->cy[i * a->ny + y] * (double)p[y * a->half];
            im += a->sy[i * a->ny + y] * (double)p[y * a->half];
        }
        a->re[k] = re;
        a->im[k] = im;
    }
}

/* And along x: windows * n * n autocorrelations. */
struct mro_acf_lags_x_args {
    const double *re, *im;
    size_t windows, half, n;
    const double *cx, *sx; /* n * half */
    double *acf;
};
MRO_NO_SHARED(acf_lags_x);
enum { mro_acf_lags_x_THREADS = 128, mro_acf_lags_x_PHASES = 1 };
MRO_HD void mro_acf_lags_x_phase(int phase, const struct mro_acf_lags_x_args *a, const struct mro_thread *t,
                                 struct mro_acf_lags_x_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(k, a->windows * a->n * a->n, t, mro_acf_lags_x_THREADS)
    {
        const size_t j = k % a->n, line = k / a->n * a->half;
        double sum = 0;
        for (size_t x = 0; x < a->half; x++)
            sum += a->re[line + x] * a->cx[j * a->half + x] - a->im[line + x] * a->sx[j * a->half + x];
        a->acf[k] = sum;
    }
}

/* The largest product of a window's power with the kernels of the directions, over the sum of the power. One block a
 * window. */
#define MRO_FRINGE_KERNELS 36
struct mro_fringe_score_args {
    const float *kernel; /* MRO_FRINGE_KERNELS * m */
    const float *power;  /* windows * m */
    size_t m;
    float *score;
};
enum { mro_fringe_score_THREADS = 128, mro_fringe_score_PHASES = 3 };
struct mro_fringe_score_shared {
    float sum[MRO_FRINGE_KERNELS + 1][mro_fringe_score_THREADS + 1]; /* one more: threads then read different banks */
    float total[MRO_FRINGE_KERNELS + 1];
};
MRO_HD void mro_fringe_score_phase(int phase, const struct mro_fringe_score_args *a, const struct mro_thread *t,
                                   struct mro_fringe_score_shared *s)
{
    const int me = (int)t->thread;
    if (phase == 0) {
        const float *p = a->power + (size_t)t->block * a->m;
        float sum[MRO_FRINGE_KERNELS + 1];
        for (int k = 0; k <= MRO_FRINGE_KERNELS; k++) sum[k] = 0;
        for (size_t i = (size_t)me; i < a->m; i += mro_fringe_score_THREADS) {
            const float v = p[i];
            for (int k = 0; k < MRO_FRINGE_KERNELS; k++) sum[k] += a->kernel[(size_t)k * a->m + i] * v;
            sum[MRO_FRINGE_KERNELS] += v;
        }
        for (int k = 0; k <= MRO_FRINGE_KERNELS; k++) s->sum[k][me] = sum[k];
    } else if (phase == 1) {
        if (me > MRO_FRINGE_KERNELS) return;
        float sum = 0;
        for (int i = 0; i < mro_fringe_score_THREADS; i++) sum += s->sum[me][i];
        s->total[me] = sum;
    } else {
        if (me) return;
        float best = s->total[0];
        for (int k = 1; k < MRO_FRINGE_KERNELS; k++) best = s->total[k] > best ? s->total[k] : best;
        a->score[t->block] = s->total[MRO_FRINGE_KERNELS] > 0 ? best / s->total[MRO_FRINGE_KERNELS] : 0;
    }
}

#endif

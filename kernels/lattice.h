/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels of the local power of a spectrum. */
#ifndef MRO_KERNELS_LATTICE_H
#define MRO_KERNELS_LATTICE_H

#include <string.h>

#include "kernel.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/lattice.h"

/* p = |s|^2 / model (NULL: 1), n numbers. */
struct mro_power_args {
    const mro_c32 *s;
    const float *model;
    float *p;
    size_t n;
};
MRO_NO_SHARED(power);
enum { mro_power_THREADS = 256, mro_power_PHASES = 1 };
MRO_HD void mro_power_phase(int phase, const struct mro_power_args *a, const struct mro_thread *t,
                            struct mro_power_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_power_THREADS)
    {
        const mro_c32 z = a->s[i];
        a->p[i] = (z.re * z.re + z.im * z.im) / (a->model ? a->model[i] : 1.0f);
    }
}

/* Medians over ln 2 of the discs around all lattice points, -1 where a point has none: v. One block for each point of
 * the half with j >= 0, (half + 1) * (2 half + 1) of them; |F| is even, so one median serves both halves.
 *
 * The median is found digit by digit: numbers >= 0 are ordered like their bits. In each of four rounds the numbers that
 * begin like it are counted by their next eight bits, and the counts are walked, sixteen at a step and then singly. */
#define MRO_DISC_ROWS 1536 /* most rows of a disc: fields up to 3 micrometres at 0.22 nm^-1 */
struct mro_disc_median_args {
    struct mro_lattice l;
    const float *p;
    float *v;
};
enum { mro_disc_median_THREADS = 256, mro_disc_median_PHASES = 1 + 4 * 4, mro_disc_median_PARTS = 16 };
struct mro_disc_median_shared {
    uint32_t count[256], part[mro_disc_median_PARTS];
    uint32_t prefix, rank, n;
    int32_t y0, rows, stride;                           /* of the disc; no rows: nothing to do */
    int32_t from[MRO_DISC_ROWS], length[MRO_DISC_ROWS]; /* of each row of the disc */
};
/* Sets the median at point (j, i) and its mirror image. */
MRO_HD void mro_disc_median_set(const struct mro_disc_median_args *a, ptrdiff_t j, ptrdiff_t i, float v)
{
    a->v[mro_lattice_index(&a->l, j, i)] = a->v[mro_lattice_index(&a->l, -j, -i)] = v;
}
MRO_HD void mro_disc_median_phase(int phase, const struct mro_disc_median_args *a, const struct mro_thread *t,
                                  struct mro_disc_median_shared *s)
{
    const ptrdiff_t row = 2 * a->l.half + 1, j = (ptrdiff_t)t->block / row, i = (ptrdiff_t)t->block % row - a->l.half;
    if (phase == 0) {
        const bool mirrored = j == 0 && i < 0, wanted = !mirrored && mro_lattice_wanted(&a->l, j, i);
        const struct mro_disc disc = mro_lattice_disc(&a->l, j, i);
        const int32_t rows = wanted ? (int32_t)(disc.y1 - disc.y0 + 1) : 0;
        for (int32_t r = (int32_t)t->thread; r < rows; r += mro_disc_median_THREADS) {
            int n;
            s->from[r] = mro_disc_row(&disc, (int)disc.y0 + r, &n);
            s->length[r] = n;
        }
        s->count[t->thread] = 0;
        if (t->thread) return;
        s->prefix = s->rank = s->n = 0;
        s->y0 = (int32_t)disc.y0;
        s->rows = rows;
        s->stride = (int32_t)disc.stride;
        if (!wanted && !mirrored) mro_disc_median_set(a, j, i, -1);
        return;
    }
    if (s->rows == 0) return;
    const int digit = (phase - 1) / 4, shift = 24 - 8 * digit;
    if ((phase - 1) % 4 == 0) { /* count */
        const int32_t ny = (int32_t)a->l.ny, nx = (int32_t)a->l.nx;
        for (int32_t r = (int32_t)(t->thread / 32); r < s->rows; r += mro_disc_median_THREADS / 32) {
            const int32_t y = s->y0 + r; /* discs stay inside the plane, whose middle is frequency 0 */
            const float *line = a->p + (size_t)(y < 0 ? y + ny : y) * a->l.nx;
            for (int32_t k = (int32_t)(t->thread % 32); k < s->length[r]; k += 32) {
                const int32_t x = s->from[r] + k * s->stride;
                uint32_t bits;
                memcpy(&bits, line + (x < 0 ? x + nx : x), sizeof bits);
                if (digit == 0 || bits >> (shift + 8) == s->prefix) mro_add_u32(&s->count[bits >> shift & 255], 1);
            }
        }
    } else if ((phase - 1) % 4 == 1) { /* add up by sixteen */
        if (t->thread >= mro_disc_median_PARTS) return;
        uint32_t sum = 0;
        for (int b = 0; b < 16; b++) sum += s->count[16 * t->thread + (uint32_t)b];
        s->part[t->thread] = sum;
    } else if ((phase - 1) % 4 == 2) { /* choose */
        if (t->thread) return;
        uint32_t rank = s->rank;
        if (digit == 0) {
            uint32_t n = 0;
            for (int k = 0; k < mro_disc_median_PARTS; k++) n += s->part[k];
            s->n = n;
            rank = n / 2; /* the upper one of two */
        }
        int k = 0;
        while (k < mro_disc_median_PARTS - 1 && rank >= s->part[k]) rank -= s->part[k++];
        int b = 16 * k;
        while (b < 16 * k + 15 && rank >= s->count[b]) rank -= s->count[b++];
        s->rank = rank;
        s->prefix = s->prefix << 8 | (uint32_t)b;
    } else {
        s->count[t->thread] = 0;
        if (digit < 3 || t->thread) return;
        float median;
        memcpy(&median, &s->prefix, sizeof median);
        mro_disc_median_set(a, j, i, s->n ? median / 0.69314718055994531f : 0);
    }
}

/* Smoothed lattice. One item a point. */
struct mro_lattice_smooth_args {
    struct mro_lattice l;
    double bell[MRO_LATTICE_REACH + 1];
    const float *v;
    float *smooth;
};
MRO_NO_SHARED(lattice_smooth);
enum { mro_lattice_smooth_THREADS = 128, mro_lattice_smooth_PHASES = 1 };
MRO_HD void mro_lattice_smooth_phase(int phase, const struct mro_lattice_smooth_args *a, const struct mro_thread *t,
                                     struct mro_lattice_smooth_shared *s)
{
    (void)phase;
    (void)s;
    const ptrdiff_t row = 2 * a->l.half + 1;
    MRO_EACH(k, mro_lattice_points(&a->l), t, mro_lattice_smooth_THREADS)
    {
        a->smooth[k] =
            mro_lattice_smoothed(&a->l, a->v, a->bell, (ptrdiff_t)k / row - a->l.half, (ptrdiff_t)k % row - a->l.half);
    }
}

/* The lattice interpolated at every sample of the plane, times model (NULL: 1). */
struct mro_lattice_spread_args {
    struct mro_lattice l;
    const float *smooth, *model;
    float *power;
};
MRO_NO_SHARED(lattice_spread);
enum { mro_lattice_spread_THREADS = 256, mro_lattice_spread_PHASES = 1 };
MRO_HD void mro_lattice_spread_phase(int phase, const struct mro_lattice_spread_args *a, const struct mro_thread *t,
                                     struct mro_lattice_spread_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(k, a->l.ny * a->l.nx, t, mro_lattice_spread_THREADS)
    {
        const float at = mro_lattice_at(&a->l, a->smooth, mro_frequency(k / a->l.nx, a->l.ny, a->l.ly),
                                        mro_frequency(k % a->l.nx, a->l.nx, a->l.lx));
        a->power[k] = a->model ? at * a->model[k] : at;
    }
}

#endif

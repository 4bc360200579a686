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
 * begin like it are counted by their next eight bits. */
#define MRO_DISC_ROWS 1536 /* most rows of a disc: fields up to 3 micrometres at 0.22 nm^-1 */
struct mro_disc_median_args {
    struct mro_lattice l;
    const float *p;
    float *v;
};
struct mro_disc_median_shared {
    uint32_t count[256];
    uint32_t prefix, rank, n;
    int32_t from[MRO_DISC_ROWS], length[MRO_DISC_ROWS]; /* of each row of the disc */
};
enum { mro_disc_median_THREADS = 256, mro_disc_median_PHASES = 1 + 3 * 4 };
MRO_HD void mro_disc_median_phase(int phase, const struct mro_disc_median_args *a, const struct mro_thread *t,
                                  struct mro_disc_median_shared *s)
{
    const ptrdiff_t row = 2 * a->l.half + 1, j = (ptrdiff_t)t->block / row, i = (ptrdiff_t)t->block % row - a->l.half;
    if (j == 0 && i < 0) return; /* the mirror image of another */
    if (!mro_lattice_wanted(&a->l, j, i)) {
        if (phase == 0 && t->thread == 0)
            a->v[mro_lattice_index(&a->l, j, i)] = a->v[mro_lattice_index(&a->l, -j, -i)] = -1;
        return;
    }
    const struct mro_disc disc = mro_lattice_disc(&a->l, j, i);
    const ptrdiff_t rows = disc.y1 - disc.y0 + 1;
    if (phase == 0) {
        for (ptrdiff_t r = t->thread; r < rows; r += mro_disc_median_THREADS) {
            ptrdiff_t n;
            s->from[r] = (int32_t)mro_disc_row(&disc, disc.y0 + r, &n);
            s->length[r] = (int32_t)n;
        }
        s->count[t->thread] = 0;
        if (t->thread == 0) s->prefix = s->rank = 0;
        return;
    }
    const int digit = (phase - 1) / 3, shift = 24 - 8 * digit;
    if ((phase - 1) % 3 == 0) { /* count */
        for (ptrdiff_t r = t->thread / 32; r < rows; r += mro_disc_median_THREADS / 32) {
            const float *line = a->p + mro_cyclic(disc.y0 + r, a->l.ny) * a->l.nx;
            for (int32_t k = (int32_t)(t->thread % 32); k < s->length[r]; k += 32) {
                const ptrdiff_t x = s->from[r] + k * disc.stride;
                uint32_t bits;
                memcpy(&bits, line + mro_cyclic(x, a->l.nx), sizeof bits);
                if (digit == 0 || bits >> (shift + 8) == s->prefix) mro_add_u32(&s->count[bits >> shift & 255], 1);
            }
        }
    } else if ((phase - 1) % 3 == 1) { /* choose */
        if (t->thread) return;
        if (digit == 0) {
            s->n = 0;
            for (int b = 0; b < 256; b++) s->n += s->count[b];
            s->rank = s->n / 2; /* the upper one of two */
        }
        int b = 0;
        while (b < 255 && s->rank >= s->count[b]) s->rank -= s->count[b++];
        s->prefix = s->prefix << 8 | (uint32_t)b;
    } else {
        s->count[t->thread] = 0;
        if (digit < 3 || t->thread) return;
        float median;
        memcpy(&median, &s->prefix, sizeof median);
        const float v = s->n ? median / 0.69314718055994531f : 0;
        a->v[mro_lattice_index(&a->l, j, i)] = a->v[mro_lattice_index(&a->l, -j, -i)] = v;
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

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The climb of fringe patches to their nearest maximum. */
#ifndef MRO_KERNELS_PATCH_H
#define MRO_KERNELS_PATCH_H

#include "kernel.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/patch.h"

#define MRO_PATCH_SPAN 96 /* samples across the largest sphere */

/* One block a patch, moved in place. A round is one matched power: tables of the fringe along y and x, the sum over the
 * sphere's samples, and one step of the walk. */
struct mro_climb_args {
    struct mro_patch_search search;
    const float *field;
    size_t ny, nx;
    double step_y, step_x; /* nm per sample */
    struct mro_patch *patches;
};
enum { mro_climb_THREADS = 128, mro_climb_PHASES = 4, mro_climb_PARTS = 16 };
struct mro_climb_shared {
    struct mro_patch_walk walk;
    mro_c32 fringe_y[MRO_PATCH_SPAN], fringe_x[MRO_PATCH_SPAN]; /* exp(-2 pi i g r) */
    float dy2[MRO_PATCH_SPAN], dx2[MRO_PATCH_SPAN];             /* nm^2 from the centre */
    size_t row[MRO_PATCH_SPAN], column[MRO_PATCH_SPAN];         /* where rows and columns begin in the field */
    float re[mro_climb_THREADS], im[mro_climb_THREADS], norm[mro_climb_THREADS];
    double part_re[mro_climb_PARTS], part_im[mro_climb_PARTS], part_norm[mro_climb_PARTS];
};

MRO_HD bool mro_climb_again(const struct mro_climb_shared *s) { return s->walk.state != MRO_WALK_DONE; }

MRO_HD void mro_climb_begin(const struct mro_climb_args *a, const struct mro_thread *t, struct mro_climb_shared *s)
{
    if (t->thread == 0) mro_walk_start(&s->walk, a->patches + t->block);
}

/* The samples under the sphere that is asked for: rows from y0 on and columns from x0 on. */
struct mro_climb_box {
    double radius, fy, fx; /* nm; the centre, samples */
    ptrdiff_t y0, x0;
    int rows, columns;
};
MRO_HD struct mro_climb_box mro_climb_box_of(const struct mro_climb_args *a, const struct mro_patch_walk *w)
{
    struct mro_climb_box b;
    b.radius = 0.5 * a->search.diameter_nm[w->size];
    b.fy = w->y / a->step_y;
    b.fx = w->x / a->step_x;
    b.y0 = (ptrdiff_t)ceil(b.fy - b.radius / a->step_y);
    b.x0 = (ptrdiff_t)ceil(b.fx - b.radius / a->step_x);
    b.rows = (int)((ptrdiff_t)floor(b.fy + b.radius / a->step_y) - b.y0) + 1;
    b.columns = (int)((ptrdiff_t)floor(b.fx + b.radius / a->step_x) - b.x0) + 1;
    return b;
}

MRO_HD void mro_climb_phase(int phase, const struct mro_climb_args *a, const struct mro_thread *t,
                            struct mro_climb_shared *s)
{
    const struct mro_patch_walk *w = &s->walk;
    const int me = (int)t->thread;
    if (phase == 0) {
        const struct mro_climb_box b = mro_climb_box_of(a, w);
        for (int i = me; i < b.rows + b.columns; i += mro_climb_THREADS) {
            const bool down = i < b.rows;
            const ptrdiff_t at = down ? b.y0 + i : b.x0 + i - b.rows;
            const double r = down ? ((double)at - b.fy) * a->step_y : ((double)at - b.fx) * a->step_x;
            const double turns = -2 * MRO_PI * (down ? w->gy : w->gx) * r;
            mro_c32 *to = down ? s->fringe_y + i : s->fringe_x + i - b.rows;
            to->re = (float)cos(turns);
            to->im = (float)sin(turns);
            *(down ? s->dy2 + i : s->dx2 + i - b.rows) = (float)(r * r);
            if (down)
                s->row[i] = mro_cyclic(at, a->ny) * a->nx;
            else
                s->column[i - b.rows] = mro_cyclic(at, a->nx);
        }
    } else if (phase == 1) {
        const struct mro_climb_box b = mro_climb_box_of(a, w);
        const float r2 = (float)(b.radius * b.radius);
        float re = 0, im = 0, norm = 0;
        for (int i = me; i < b.rows * b.columns; i += mro_climb_THREADS) {
            const int y = i / b.columns, x = i % b.columns;
            const float h = r2 - s->dy2[y] - s->dx2[x];
            if (!(h > 0)) continue;
            const float v = sqrtf(h) * a->field[s->row[y] + s->column[x]];
            const mro_c32 p = s->fringe_y[y], q = s->fringe_x[x];
            re += v * (p.re * q.re - p.im * q.im);
            im += v * (p.re * q.im + p.im * q.re);
            norm += h;
        }
        s->re[me] = re;
        s->im[me] = im;
        s->norm[me] = norm;
    } else if (phase == 2) {
        if (me >= mro_climb_PARTS) return;
        double re = 0, im = 0, norm = 0;
        for (int i = me; i < mro_climb_THREADS; i += mro_climb_PARTS) {
            re += s->re[i];
            im += s->im[i];
            norm += s->norm[i];
        }
        s->part_re[me] = re;
        s->part_im[me] = im;
        s->part_norm[me] = norm;
    } else {
        if (me) return;
        double re = 0, im = 0, norm = 0;
        for (int i = 0; i < mro_climb_PARTS; i++) {
            re += s->part_re[i];
            im += s->part_im[i];
            norm += s->part_norm[i];
        }
        const double energy = mro_patch_energy(&a->search, w->size, w->gy, w->gx);
        mro_walk_step(&s->walk, &a->search, norm > 0 ? (re * re + im * im) / (norm * energy) : 0);
        if (s->walk.state == MRO_WALK_DONE) a->patches[t->block] = s->walk.patch;
    }
}

#endif

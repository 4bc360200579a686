/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels of azimuthal sums. */
#ifndef MRO_KERNELS_AZIMUTH_H
#define MRO_KERNELS_AZIMUTH_H

#include "kernel.h"
#include "mroscope/math/azimuth.h"

/* Sums over one piece of the rings of one frame. One block a piece and frame: a piece of a pattern of 1024 pixels has
 * some 40 of them, so a block is one warp. */
struct mro_ring_sums_args {
    const float *frames, *limits; /* limits may be NULL */
    const uint32_t *start, *pixel;
    const float *fraction;
    size_t frame_pixels, n_rings, pieces;
    struct mro_ring_sums *sums;
};
enum { mro_ring_sums_THREADS = 32, mro_ring_sums_PHASES = 2 };
struct mro_ring_sums_shared {
    struct mro_ring_sums part[mro_ring_sums_THREADS];
};

/* Whether the limits take what they took before: all pixels. */
MRO_HD bool mro_ring_settled(const struct mro_ring_sums *s, double lo, double hi, uint32_t pixels)
{
    return s->n == 0 ? !(s->lo <= s->hi) : s->lo >= lo && s->hi <= hi && s->n == (double)pixels;
}

MRO_HD void mro_ring_sums_phase(int phase, const struct mro_ring_sums_args *a, const struct mro_thread *t,
                                struct mro_ring_sums_shared *s)
{
    if (phase == 1 && t->thread) return; /* one thread adds up, in a fixed order */
    const size_t frame = t->block / a->pieces, piece = t->block % a->pieces;
    const uint32_t from = a->start[piece], to = a->start[piece + 1];
    const float *limit = a->limits ? a->limits + 2 * (frame * a->n_rings + piece % a->n_rings) : NULL;
    const float lo = limit ? limit[0] : -INFINITY, hi = limit ? limit[1] : INFINITY;
    if (limit && mro_ring_settled(&a->sums[t->block], lo, hi, to - from)) return; /* the same for all threads */
    if (phase == 0) {
        const float *px = a->frames + frame * a->frame_pixels;
        struct mro_ring_sums r = { 0, 0, 0, 0, 0, 0, INFINITY, -INFINITY };
        for (uint32_t i = from + t->thread; i < to; i += mro_ring_sums_THREADS) {
            const float x = px[a->pixel[i]];
            if (!(fabsf(x) < INFINITY)) continue;
            r.lo = x < r.lo ? x : r.lo;
            r.hi = x > r.hi ? x : r.hi;
            if (!(x >= lo && x <= hi)) continue;
            const double v = x, f = a->fraction[i];
            r.n += 1;
            r.f += f;
            r.v += v;
            r.fv += f * v;
            r.vv += v * v;
            r.fvv += f * v * v;
        }
        s->part[t->thread] = r;
    } else {
        struct mro_ring_sums r = s->part[0];
        for (int i = 1; i < mro_ring_sums_THREADS; i++) {
            const struct mro_ring_sums *p = &s->part[i];
            r.n += p->n;
            r.f += p->f;
            r.v += p->v;
            r.fv += p->fv;
            r.vv += p->vv;
            r.fvv += p->fvv;
            r.lo = p->lo < r.lo ? p->lo : r.lo;
            r.hi = p->hi > r.hi ? p->hi : r.hi;
        }
        a->sums[t->block] = r;
    }
}

#endif

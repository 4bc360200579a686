/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels of azimuthal sums. */
#ifndef MRO_KERNELS_AZIMUTH_H
#define MRO_KERNELS_AZIMUTH_H

#include "kernel.h"
#include "mroscope/math/azimuth.h"

/* Sums over the pieces of the rings of frames, one thread a lane of a slice; `lanes` of a frame and blocks of it. */
struct mro_ring_sums_args {
    const float *frames, *limits; /* limits may be NULL */
    const uint32_t *first, *count, *pixel;
    const float *fraction;
    size_t frame_pixels, n_rings, pieces, lanes, slices; /* slices: of a sector */
    struct mro_ring_sums *sums;
};
enum { mro_ring_sums_THREADS = 64, mro_ring_sums_PHASES = 1 };
MRO_NO_SHARED(ring_sums);
MRO_HD size_t mro_ring_sums_blocks(size_t lanes) /* of a frame */
{
    return (lanes + mro_ring_sums_THREADS - 1) / mro_ring_sums_THREADS;
}

/* Whether the limits take what they took before: all pixels. */
MRO_HD bool mro_ring_settled(const struct mro_ring_sums *s, double lo, double hi, uint32_t pixels)
{
    return s->n == 0 ? !(s->lo <= s->hi) : s->lo >= lo && s->hi <= hi && s->n == (double)pixels;
}

MRO_HD void mro_ring_sums_phase(int phase, const struct mro_ring_sums_args *a, const struct mro_thread *t,
                                struct mro_ring_sums_shared *s)
{
    (void)phase;
    (void)s;
    const size_t blocks = mro_ring_sums_blocks(a->lanes);
    const size_t frame = t->block / blocks, lane = t->block % blocks * mro_ring_sums_THREADS + t->thread;
    if (lane >= a->lanes) return;
    const size_t slice = lane / MRO_RING_LANES;
    const size_t ring = slice % a->slices * MRO_RING_LANES + lane % MRO_RING_LANES;
    if (ring >= a->n_rings) return;
    struct mro_ring_sums *to = &a->sums[frame * a->pieces + slice / a->slices * a->n_rings + ring];
    const float *limit = a->limits ? a->limits + 2 * (frame * a->n_rings + ring) : NULL;
    const float lo = limit ? limit[0] : -INFINITY, hi = limit ? limit[1] : INFINITY;
    const uint32_t count = a->count[lane];
    if (limit && (isnan(lo) || mro_ring_settled(to, lo, hi, count))) return;
    const float *px = a->frames + frame * a->frame_pixels;
    struct mro_ring_sums r = { 0, 0, 0, 0, 0, 0, INFINITY, -INFINITY };
    size_t at = (size_t)a->first[slice] * MRO_RING_LANES + lane % MRO_RING_LANES;
    for (uint32_t i = 0; i < count; i++, at += MRO_RING_LANES) {
        const float x = px[a->pixel[at]];
        if (!(fabsf(x) < INFINITY)) continue;
        r.lo = x < r.lo ? x : r.lo;
        r.hi = x > r.hi ? x : r.hi;
        if (!(x >= lo && x <= hi)) continue;
        const double v = x, f = a->fraction[at];
        r.n += 1;
        r.f += f;
        r.v += v;
        r.fv += f * v;
        r.vv += v * v;
        r.fvv += f * v * v;
    }
    *to = r;
}

#endif

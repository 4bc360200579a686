/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Azimuthal sums. */
#include "kernels/azimuth.h"
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <string.h>

#include "cpu/cpu.h"

#define LANES MRO_RING_LANES
#define AHEAD 24 /* steps that pixels are asked for before they are added, */
#define FAR 256  /* and their places and fractions: the processor asks for what lies side by side too late */

/* A number of each lane of a slice. What the compiler makes of loops over lanes leaves the sums in memory. */
typedef float lanes_float __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t lanes_int __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef double lanes_double __attribute__((vector_size(LANES * sizeof(double))));

static inline lanes_double widen(lanes_float x)
{
#ifdef __AVX512F__ /* in one instruction, which GCC does not find */
    return (lanes_double)_mm512_cvtps_pd((__m256)x);
#else
    return __builtin_convertvector(x, lanes_double);
#endif
}

static inline lanes_float pick(lanes_int where, lanes_float a, lanes_float b)
{
    return (lanes_float)((where & (lanes_int)a) | (~where & (lanes_int)b));
}

struct slice {
    const uint32_t *pixel;
    const float *fraction;
    lanes_int count;
    size_t whole, steps; /* that all lanes have; that the longest has */
    size_t left;         /* steps to the end of the table, with those of the slices after this one */
};

struct sums {
    lanes_double n, f, v, fv, vv, fvv;
    lanes_float lo, hi;
};

/* The lanes that have a pixel at step i. */
static inline lanes_int there_at(const struct slice *a, size_t i)
{
    const lanes_int step = (lanes_int){ 0 } + (int32_t)i;
    return step < a->count;
}

static inline lanes_float values_at(const float *px, const uint32_t *pixel)
{
    lanes_float x = { 0 };
    for (int j = 0; j < LANES; j++) x[j] = px[pixel[j]];
    return x;
}

static inline void add(struct sums *s, lanes_float x, lanes_float fraction)
{
    const lanes_double v = widen(x), f = widen(fraction), fv = f * v;
    s->f += f;
    s->v += v;
    s->fv += fv;
    s->vv += v * v;
    s->fvv += fv * v;
}

/* Values out of the limits, and NaN, are turned to zeros instead of skipped, so that the order of summation depends on
 * nothing but the piece. */
static inline void add_within(struct sums *s, lanes_float x, lanes_float fraction, lanes_int there, lanes_float lo,
                              lanes_float hi)
{
    const lanes_int finite = there & (x - x == 0), take = finite & (x >= lo) & (x <= hi);
    s->lo = pick(finite & (x < s->lo), x, s->lo);
    s->hi = pick(finite & (x > s->hi), x, s->hi);
    s->n -= __builtin_convertvector(take, lanes_double); /* all bits set are -1 */
    add(s, (lanes_float)(take & (lanes_int)x), (lanes_float)(take & (lanes_int)fraction));
}

static struct sums sum_within(const float *px, const struct slice *a, lanes_float lo, lanes_float hi)
{
    struct sums s = { .lo = (lanes_float){ 0 } + INFINITY, .hi = (lanes_float){ 0 } - INFINITY };
    for (size_t i = 0; i < a->steps; i++) {
        lanes_float fraction;
        memcpy(&fraction, a->fraction + i * LANES, sizeof fraction);
        add_within(&s, values_at(px, a->pixel + i * LANES), fraction, there_at(a, i), lo, hi);
    }
    return s;
}

/* The same where every pixel counts: no comparisons but at the end, where not all lanes have one. False, and nothing of
 * use in *to, when one of them has no data. */
static bool sum_all(const float *px, const struct slice *a, struct sums *to)
{
    struct sums s = { .lo = (lanes_float){ 0 } + INFINITY, .hi = (lanes_float){ 0 } - INFINITY };
    for (size_t i = 0; i < a->whole; i++) {
        /* Lanes are neighbours: the pixels of three bring those between them. */
        const uint32_t *ahead = a->pixel + (i + AHEAD < a->steps ? i + AHEAD : i) * LANES;
        const size_t far = (i + FAR < a->left ? i + FAR : i) * LANES;
        __builtin_prefetch(px + ahead[0]);
        __builtin_prefetch(px + ahead[LANES / 2]);
        __builtin_prefetch(px + ahead[LANES - 1]);
        __builtin_prefetch(a->pixel + far);
        __builtin_prefetch(a->fraction + far);
        const lanes_float x = values_at(px, a->pixel + i * LANES);
        lanes_float fraction;
        memcpy(&fraction, a->fraction + i * LANES, sizeof fraction);
        s.lo = pick(x < s.lo, x, s.lo);
        s.hi = pick(x > s.hi, x, s.hi);
        add(&s, x, fraction);
    }
    for (size_t i = a->whole; i < a->steps; i++) {
        const lanes_int there = there_at(a, i);
        lanes_float x = values_at(px, a->pixel + i * LANES), fraction;
        memcpy(&fraction, a->fraction + i * LANES, sizeof fraction);
        s.lo = pick(there & (x < s.lo), x, s.lo);
        s.hi = pick(there & (x > s.hi), x, s.hi);
        add(&s, (lanes_float)(there & (lanes_int)x), fraction);
    }
    s.n = __builtin_convertvector(a->count, lanes_double);
    *to = s;
    bool good = true;
    for (int j = 0; j < LANES; j++) good &= s.vv[j] < INFINITY;
    return good;
}

/* One slice to the sums of `lanes` pieces; limits (lo, hi of each, may be NULL) as mro_cpu_ring_sums has them. */
static void sum_slice(const float *px, const struct slice *a, const float *limit, size_t lanes,
                      struct mro_ring_sums *to)
{
    lanes_float lo = (lanes_float){ 0 } - INFINITY, hi = (lanes_float){ 0 } + INFINITY;
    bool settled[LANES] = { false };
    struct sums s;
    if (limit) {
        size_t done = 0;
        for (size_t j = 0; j < lanes; j++) {
            lo[j] = limit[2 * j];
            hi[j] = limit[2 * j + 1];
            settled[j] = isnan(lo[j]) || mro_ring_settled(&to[j], lo[j], hi[j], (uint32_t)a->count[j]);
            done += settled[j];
        }
        if (done == lanes) return;
    }
    if (limit || !sum_all(px, a, &s)) s = sum_within(px, a, lo, hi);
    for (size_t j = 0; j < lanes; j++)
        if (!settled[j])
            to[j] = (struct mro_ring_sums){ s.n[j], s.f[j], s.v[j], s.fv[j], s.vv[j], s.fvv[j], s.lo[j], s.hi[j] };
}

enum mro_code mro_cpu_ring_sums(struct mro_device *d, const struct mro_ring_map *t, const struct mro_buffer *frames,
                                size_t n_frames, const struct mro_buffer *limits, struct mro_buffer *sums,
                                struct mro_error *e)
{
    (void)e;
    const size_t pieces = t->n_sectors * t->n_rings, slices = mro_ring_slices(t);
    const uint32_t *first = t->first.p, *count = t->count.p;
    /* Sectors have nearly the same work; outer loops over frames keep a frame in the cache of one core. */
#pragma omp parallel for collapse(2) schedule(static) num_threads(d->threads)
    for (size_t frame = 0; frame < n_frames; frame++)
        for (size_t sector = 0; sector < t->n_sectors; sector++) {
            const float *px = (const float *)frames->p + frame * t->frame_pixels;
            const float *limit = limits ? (const float *)limits->p + 2 * frame * t->n_rings : NULL;
            struct mro_ring_sums *to = (struct mro_ring_sums *)sums->p + frame * pieces + sector * t->n_rings;
            for (size_t k = 0, ring = 0; k < slices; k++, ring += LANES) {
                const size_t at = sector * slices + k, lanes = t->n_rings - ring < LANES ? t->n_rings - ring : LANES;
                struct slice a = { .pixel = (const uint32_t *)t->pixel.p + (size_t)first[at] * LANES,
                                   .fraction = (const float *)t->fraction.p + (size_t)first[at] * LANES,
                                   .steps = first[at + 1] - first[at],
                                   .left = first[t->n_sectors * slices] - first[at] };
                memcpy(&a.count, count + at * LANES, sizeof a.count);
                a.whole = a.steps;
                for (int j = 0; j < LANES; j++) a.whole = (size_t)a.count[j] < a.whole ? (size_t)a.count[j] : a.whole;
                sum_slice(px, &a, limit ? limit + 2 * ring : NULL, lanes, to + ring);
            }
        }
    return MRO_OK;
}

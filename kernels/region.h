/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels that count: histogram, connected regions beyond a threshold, sums of maps along a line. All sums over blocks
 * are of integers, or of one block's threads in a fixed order. */
#ifndef MRO_KERNELS_REGION_H
#define MRO_KERNELS_REGION_H

#include "kernel.h"
#include "mroscope/math/strip.h"

/* Adds the n values of `field`, where `mask` (or NULL) is not 0, to counts[bins]; ends take what lies beyond, NaN is
 * left out. Few bins are gathered in the memory of the block first. */
struct mro_count_values_args {
    const float *field;
    const unsigned char *mask;
    uint32_t *counts;
    size_t n, bins;
    float lo, per; /* bin of v: (v - lo) * per */
};
enum { mro_count_values_THREADS = 256, mro_count_values_PHASES = 3, mro_count_values_BINS = 4096 };
struct mro_count_values_shared {
    uint32_t counts[mro_count_values_BINS];
};
MRO_HD size_t mro_bin_of(float v, float lo, float per, size_t bins)
{
    const float at = (v - lo) * per;
    return at > 0 ? at < (float)(bins - 1) ? (size_t)at : bins - 1 : 0;
}
MRO_HD void mro_count_values_phase(int phase, const struct mro_count_values_args *a, const struct mro_thread *t,
                                   struct mro_count_values_shared *s)
{
    const bool local = a->bins <= mro_count_values_BINS;
    if (phase == 1) {
        MRO_EACH(i, a->n, t, mro_count_values_THREADS)
        {
            const float v = a->field[i];
            if ((a->mask && !a->mask[i]) || v != v) continue;
            const size_t bin = mro_bin_of(v, a->lo, a->per, a->bins);
            /* Two calls: an address of either memory would take a card's slowest way to add. */
            if (local)
                mro_add_u32(s->counts + bin, 1);
            else
                mro_add_u32(a->counts + bin, 1);
        }
        return;
    }
    if (!local) return;
    for (size_t i = t->thread; i < a->bins; i += mro_count_values_THREADS) {
        if (phase == 0)
            s->counts[i] = 0;
        else if (s->counts[i])
            mro_add_u32(a->counts + i, s->counts[i]);
    }
}

/* Every sample beyond the level is its own label, every other one has none; adds up how many there are. */
#define MRO_NO_LABEL UINT32_MAX
struct mro_label_start_args {
    const float *field;
    const unsigned char *mask;
    uint32_t *label, *samples;
    size_t n;
    float level;
    bool above;
};
MRO_NO_SHARED(label_start);
enum { mro_label_start_THREADS = 256, mro_label_start_PHASES = 1 };
MRO_HD void mro_label_start_phase(int phase, const struct mro_label_start_args *a, const struct mro_thread *t,
                                  struct mro_label_start_shared *s)
{
    uint32_t here = 0;
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_label_start_THREADS)
    {
        const float v = a->field[i];
        const bool in = (a->mask == NULL || a->mask[i]) && (a->above ? v > a->level : v < a->level);
        a->label[i] = in ? (uint32_t)i : MRO_NO_LABEL;
        here += in;
    }
    if (here) mro_add_u32(a->samples, here);
}

/* Labels of neighbours point at each other until every connected set has one root, its first sample. Threads may see
 * labels that have just been replaced: those point at the same set, and the exchange that follows tells.
 * Source: Komura, Comput. Phys. Commun. 194 (2015) 54; Playne and Hawick, IEEE Trans. Parallel Distrib. Syst. 29 (2018)
 * 1217. */
struct mro_label_merge_args {
    uint32_t *label;
    size_t ny, nx;
};
MRO_NO_SHARED(label_merge);
enum { mro_label_merge_THREADS = 256, mro_label_merge_PHASES = 1 };
MRO_HD uint32_t mro_label_root(const uint32_t *label, uint32_t i)
{
    for (uint32_t up = mro_peek_u32(label + i); up != i; up = mro_peek_u32(label + i)) i = up;
    return i;
}
MRO_HD void mro_label_join(uint32_t *label, uint32_t a, uint32_t b)
{
    for (;;) {
        a = mro_label_root(label, a);
        b = mro_label_root(label, b);
        if (a == b) return;
        if (a < b) {
            const uint32_t lower = a;
            a = b;
            b = lower;
        }
        const uint32_t was = mro_min_u32(label + a, b);
        if (was == a) return;
        a = was; /* another thread was faster: its root has to join too */
    }
}
MRO_HD void mro_label_merge_phase(int phase, const struct mro_label_merge_args *a, const struct mro_thread *t,
                                  struct mro_label_merge_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->ny * a->nx, t, mro_label_merge_THREADS)
    {
        if (mro_peek_u32(a->label + i) == MRO_NO_LABEL) continue;
        if (i % a->nx && mro_peek_u32(a->label + (i - 1)) != MRO_NO_LABEL)
            mro_label_join(a->label, (uint32_t)i, (uint32_t)(i - 1));
        if (i >= a->nx && mro_peek_u32(a->label + (i - a->nx)) != MRO_NO_LABEL)
            mro_label_join(a->label, (uint32_t)i, (uint32_t)(i - a->nx));
    }
}

/* Adds the samples of every set to `size` at its root; zero beforehand. */
struct mro_label_sizes_args {
    const uint32_t *label;
    uint32_t *size;
    size_t n;
};
MRO_NO_SHARED(label_sizes);
enum { mro_label_sizes_THREADS = 256, mro_label_sizes_PHASES = 1 };
MRO_HD void mro_label_sizes_phase(int phase, const struct mro_label_sizes_args *a, const struct mro_thread *t,
                                  struct mro_label_sizes_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_label_sizes_THREADS)
    {
        if (a->label[i] != MRO_NO_LABEL) mro_add_u32(a->size + mro_label_root(a->label, (uint32_t)i), 1);
    }
}

/* Adds to *count how many sets have at least `least` samples. */
struct mro_label_count_args {
    const uint32_t *size;
    uint32_t *count;
    size_t n, least;
};
MRO_NO_SHARED(label_count);
enum { mro_label_count_THREADS = 256, mro_label_count_PHASES = 1 };
MRO_HD void mro_label_count_phase(int phase, const struct mro_label_count_args *a, const struct mro_thread *t,
                                  struct mro_label_count_shared *s)
{
    uint32_t here = 0;
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_label_count_THREADS) { here += a->size[i] && a->size[i] >= a->least; }
    if (here) mro_add_u32(a->count, here);
}

/* 1 where all of n_maps planes of n pixels are finite. */
struct mro_strip_valid_args {
    const float *maps;
    unsigned char *valid;
    size_t n_maps, n;
};
MRO_NO_SHARED(strip_valid);
enum { mro_strip_valid_THREADS = 256, mro_strip_valid_PHASES = 1 };
MRO_HD void mro_strip_valid_phase(int phase, const struct mro_strip_valid_args *a, const struct mro_thread *t,
                                  struct mro_strip_valid_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_strip_valid_THREADS)
    {
        bool finite = true;
        for (size_t k = 0; k < a->n_maps; k++) finite = finite && fabsf(a->maps[k * a->n + i]) < INFINITY;
        a->valid[i] = finite;
    }
}

/* Sum of one map (NULL: number of pixels) over each point of a strip. One block a point; its threads take rows. */
struct mro_strip_bins_args {
    const float *map;
    const unsigned char *valid;
    double *sum;
    size_t ny, nx;
    struct mro_strip strip;
};
enum { mro_strip_bins_THREADS = 128, mro_strip_bins_PHASES = 2 };
struct mro_strip_bins_shared {
    double sum[mro_strip_bins_THREADS];
};
MRO_HD void mro_strip_bins_phase(int phase, const struct mro_strip_bins_args *a, const struct mro_thread *t,
                                 struct mro_strip_bins_shared *s)
{
    const size_t bin = t->block;
    double sum = 0;
    if (phase == 1) {
        if (t->thread) return;
        for (int i = 0; i < mro_strip_bins_THREADS; i++) sum += s->sum[i];
        a->sum[bin] = sum;
        return;
    }
    for (size_t y = t->thread; y < a->ny; y += mro_strip_bins_THREADS) {
        size_t from, to;
        mro_strip_row(&a->strip, y, a->nx, (double)bin, (double)bin + 1, &from, &to);
        for (size_t x = from; x < to; x++) {
            const size_t i = y * a->nx + x;
            if (a->valid[i] && mro_strip_bin(&a->strip, y, x) == bin) sum += a->map ? (double)a->map[i] : 1;
        }
    }
    s->sum[t->thread] = sum;
}

#endif

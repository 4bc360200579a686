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

/* Labels are samples of the same set that come earlier, or the sample itself: those beyond the level point along their
 * row to where their run begins, at most MRO_LABEL_REACH away, and the others at nothing. Adds up how many there are.
 * So rows are joined without asking anybody, and long runs take few steps. */
#define MRO_NO_LABEL UINT32_MAX
#define MRO_LABEL_REACH 32
struct mro_label_start_args {
    const float *field;
    const unsigned char *mask;
    uint32_t *label, *samples;
    size_t ny, nx;
    float level;
    bool above;
};
MRO_NO_SHARED(label_start);
enum { mro_label_start_THREADS = 256, mro_label_start_PHASES = 1 };
MRO_HD bool mro_label_beyond(const struct mro_label_start_args *a, size_t i)
{
    const float v = a->field[i];
    return (a->mask == NULL || a->mask[i]) && (a->above ? v > a->level : v < a->level);
}
MRO_HD void mro_label_start_phase(int phase, const struct mro_label_start_args *a, const struct mro_thread *t,
                                  struct mro_label_start_shared *s)
{
    uint32_t here = 0;
    (void)phase;
    (void)s;
    MRO_EACH_PIECE(i, a->ny, a->nx, t)
    {
        const struct mro_piece p = mro_piece_of(i, a->nx);
        const size_t row = p.y * a->nx;
        MRO_EACH_COLUMN(x, p, t, mro_label_start_THREADS)
        {
            const bool in = mro_label_beyond(a, row + x);
            uint32_t first = x;
            while (in && first && x - first < MRO_LABEL_REACH && mro_label_beyond(a, row + first - 1)) first--;
            a->label[row + x] = in ? (uint32_t)row + first : MRO_NO_LABEL;
            here += in;
        }
    }
    if (here) mro_add_u32(a->samples, here);
}

/* Runs of neighbouring rows point at each other until every connected set has one root, its first sample. Threads may
 * see labels that have just been replaced: those point at the same set, and the exchange that follows tells. Source:
 * Komura, Comput. Phys. Commun. 194 (2015) 54; Playne and Hawick, IEEE Trans. Parallel Distrib. Syst. 29 (2018) 1217.
 */
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
    MRO_EACH_PIECE(i, a->ny, a->nx, t)
    {
        const struct mro_piece p = mro_piece_of(i, a->nx);
        if (p.y == 0) continue;
        uint32_t *row = a->label + p.y * a->nx, *up = row - a->nx;
        MRO_EACH_COLUMN(x, p, t, mro_label_merge_THREADS)
        {
            if (mro_peek_u32(row + x) == MRO_NO_LABEL || mro_peek_u32(up + x) == MRO_NO_LABEL) continue;
            /* Where these runs touch further left they are joined there. */
            if (x && mro_peek_u32(row + x - 1) != MRO_NO_LABEL && mro_peek_u32(up + x - 1) != MRO_NO_LABEL) continue;
            mro_label_join(a->label, (uint32_t)(p.y * a->nx) + x, (uint32_t)((p.y - 1) * a->nx) + x);
        }
    }
}

/* Adds the samples of every set to `size` at its root; zero beforehand. The last sample of a run adds all of them: a
 * card adds to one place one after the other. */
struct mro_label_sizes_args {
    const uint32_t *label;
    uint32_t *size;
    size_t ny, nx;
};
MRO_NO_SHARED(label_sizes);
enum { mro_label_sizes_THREADS = 256, mro_label_sizes_PHASES = 1 };
MRO_HD void mro_label_sizes_phase(int phase, const struct mro_label_sizes_args *a, const struct mro_thread *t,
                                  struct mro_label_sizes_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH_PIECE(i, a->ny, a->nx, t)
    {
        const struct mro_piece p = mro_piece_of(i, a->nx);
        const uint32_t begin = (uint32_t)(p.y * a->nx);
        const uint32_t *row = a->label + begin;
        MRO_EACH_COLUMN(x, p, t, mro_label_sizes_THREADS)
        {
            if (row[x] == MRO_NO_LABEL || (x + 1 < a->nx && row[x + 1] != MRO_NO_LABEL)) continue;
            uint32_t first = x;
            while (first && row[first - 1] != MRO_NO_LABEL) first = row[first] - begin;
            mro_add_u32(a->size + mro_label_root(a->label, begin + first), x - first + 1);
        }
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

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Order statistics without sorting. */
#ifndef MRO_CORE_SELECT_H
#define MRO_CORE_SELECT_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/team.h"

/* The k-th smallest (from 0) of n > k floats without NaN; reorders v so that it stands at v[k], none larger before it
 * and none smaller behind. Quickselect with a median-of-three pivot, so that the work is linear on the noise it is used
 * on. */
static inline float mro_select(float *v, size_t n, size_t k)
{
    size_t lo = 0, hi = n - 1;
    while (hi > lo) {
        const size_t mid = lo + (hi - lo) / 2;
        float a = v[lo], b = v[mid], c = v[hi];
        const float pivot = a < b ? (b < c ? b : (a < c ? c : a)) : (a < c ? a : (b < c ? c : b));
        size_t i = lo, j = hi;
        for (;;) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i >= j) break;
            const float t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        /* [lo, i) <= pivot <= (j, hi]; i == j means that place holds the pivot. */
        const size_t split = (i == j && v[i] <= pivot) ? i : i - 1;
        if (k <= split)
            hi = split;
        else
            lo = split + 1;
    }
    return v[k];
}

/* Median (upper one for even n) of n > 0 floats without NaN; reorders v. */
static inline float mro_median(float *v, size_t n) { return mro_select(v, n, n / 2); }

/* The k-th smallest (from 0) of n > k numbers >= 0, which have the order of their bits (the sign of a zero is not
 * looked at); leaves v as it is. Counted by their highest bits, a thirty-second of an octave each, then those that
 * share these by the next ones. For many, on several threads, of whose stacks it takes 32 KiB, and as much of the
 * caller's. */
static inline float mro_select_positive(const float *v, size_t n, size_t k, int threads)
{
    enum { DIGITS = 3, MOST = 1 << 13 };
    static const int lowest[DIGITS] = { 18, 9, 0 };                  /* bit of each digit; the sign is in none */
    static const uint32_t values[DIGITS] = { MOST, 1 << 9, 1 << 9 }; /* that it can have */
    uint32_t found = 0;                                              /* of the bits, down to those of the last digit */
    for (int digit = 0; digit < DIGITS; digit++) {
        uint32_t count[MOST];
        const uint32_t all = values[digit], above = digit ? found : 0;
        const int shift = lowest[digit], shared = digit ? lowest[digit - 1] : 31;
        memset(count, 0, all * sizeof *count);
#pragma omp parallel num_threads(mro_team(threads, 1.0 * (double)n))
        {
            uint32_t mine[MOST];
            memset(mine, 0, all * sizeof *mine);
#pragma omp for schedule(static)
            for (size_t i = 0; i < n; i++) {
                uint32_t bits;
                memcpy(&bits, v + i, sizeof bits);
                bits &= INT32_MAX;
                if (bits >> shared == above) mine[bits >> shift & (all - 1)]++;
            }
#pragma omp critical(mro_select_positive)
            for (size_t i = 0; i < all; i++) count[i] += mine[i];
        }
        uint32_t at = 0;
        while (k >= count[at]) k -= count[at++];
        found = (digit ? found * all : 0) | at;
    }
    float value;
    memcpy(&value, &found, sizeof value);
    return value;
}

#define MRO_SELECT_BLOCK 16

/* The k-th smallest (from 0) of n > k numbers >= 0, from how many lie below each: without a branch that depends on
 * them, so the fastest for few. v has room for whole blocks. */
static inline int32_t mro_select_ranked(int32_t *v, size_t n, size_t k)
{
    int32_t found = 0; /* the largest with no more than k below it */
    for (size_t i = n; i % MRO_SELECT_BLOCK; i++) v[i] = INT32_MAX;
    for (size_t i = 0; i < n; i += MRO_SELECT_BLOCK) {
        int32_t below[MRO_SELECT_BLOCK] = { 0 };
        for (size_t j = 0; j < n; j++)
#pragma omp simd
            for (size_t b = 0; b < MRO_SELECT_BLOCK; b++) below[b] += v[j] < v[i + b];
#pragma omp simd reduction(max : found)
        for (size_t b = 0; b < MRO_SELECT_BLOCK; b++) {
            const int32_t one = below[b] <= (int32_t)k ? v[i + b] : 0;
            found = one > found ? one : found;
        }
    }
    return found;
}

/* The same of many, from how many lie below a bound, as long as more than one lies between two: the next bound is where
 * the number would be if they were spread evenly, or in the middle. */
static inline int32_t mro_select_bounded(const int32_t *v, size_t n, size_t k)
{
    const int32_t rank = (int32_t)k;
    int32_t low = 0, high = INT32_MAX;        /* low <= the number <= high */
    int32_t to_low = 0, to_high = (int32_t)n; /* how many lie below */
    for (int round = 1; high - low > 1 && to_low != rank && to_high != rank + 1; round++) {
        int32_t trial = low + (high - low) / 2, below = 0;
        if (round % 3) {
            const double even = ((double)(rank - to_low) + 0.5) / (double)(to_high - to_low);
            trial = low + (int32_t)(even * (double)(high - low));
            trial = trial > low ? trial : low + 1;
        }
#pragma omp simd reduction(+ : below)
        for (size_t i = 0; i < n; i++) below += v[i] < trial;
        const bool over = below > rank;
        low = over ? low : trial;
        to_low = over ? to_low : below;
        high = over ? trial : high;
        to_high = over ? below : to_high;
    }
    /* The smallest from the lower bound on, or the largest below the upper one. */
    int32_t smallest = high, largest = low;
#pragma omp simd reduction(min : smallest) reduction(max : largest)
    for (size_t i = 0; i < n; i++) {
        smallest = v[i] >= low && v[i] < smallest ? v[i] : smallest;
        largest = v[i] < high && v[i] > largest ? v[i] : largest;
    }
    return to_low == rank ? smallest : largest;
}

#endif

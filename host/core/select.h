/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Order statistics without sorting. */
#ifndef MRO_CORE_SELECT_H
#define MRO_CORE_SELECT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The k-th smallest (from 0) of n > k floats without NaN; reorders v. Quickselect with a median-of-three pivot,
 * so that the work is linear on the noise it is used on. */
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

/* The same of numbers >= 0, which have the order of their bits; leaves v as it is. Bit by bit, from how many numbers
 * lie below: for up to some thousand numbers that is faster, as nothing is moved and no branch depends on them. */
static inline float mro_median_positive(const float *v, size_t n)
{
    const uint32_t middle = (uint32_t)(n / 2);
    uint32_t found = 0;
    for (int bit = 30; bit >= 0; bit--) {
        const uint32_t trial = found | (uint32_t)1 << bit;
        float limit;
        memcpy(&limit, &trial, sizeof limit);
        uint32_t below = 0;
        if (!(limit < INFINITY)) continue;
#pragma omp simd reduction(+ : below)
        for (size_t i = 0; i < n; i++) below += v[i] < limit;
        if (below <= middle) found = trial;
    }
    float median;
    memcpy(&median, &found, sizeof median);
    return median;
}

#endif

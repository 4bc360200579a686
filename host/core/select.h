/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Order statistics without sorting. */
#ifndef MRO_CORE_SELECT_H
#define MRO_CORE_SELECT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* The k-th smallest (from 0) of n > k numbers >= 0, which have the order of their bits; leaves v as it is. Counted by
 * the upper half of their bits, then those that share it by the lower half. For many. */
static inline float mro_select_positive(const float *v, size_t n, size_t k)
{
    uint32_t half[2] = { 0 }; /* of the bits that are sought */
    for (int lower = 0; lower < 2; lower++) {
        uint32_t count[1 << 16] = { 0 };
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, v + i, sizeof bits);
            if (!lower)
                count[bits >> 16]++;
            else if (bits >> 16 == half[0])
                count[bits & 0xffff]++;
        }
        while (k >= count[half[lower]]) k -= count[half[lower]++];
    }
    const uint32_t found = half[0] << 16 | half[1];
    float value;
    memcpy(&value, &found, sizeof value);
    return value;
}

/* Median (upper one for even n) of numbers >= 0, likewise; `guess` is a number near it, or 0. From how many numbers lie
 * below a bound, as long as more than one lies between two: the next bound is where the median would be if they were
 * spread evenly, or in the middle of the bits. For up to some thousand numbers that is faster, as nothing is moved. */
static inline float mro_median_positive(const float *v, size_t n, float guess)
{
    const uint32_t middle = (uint32_t)(n / 2);
    float bound[2] = { 0, INFINITY };             /* bound[0] <= median < bound[1] */
    uint32_t at[2] = { 0, (uint32_t)n }, bits[2]; /* how many lie below */
    for (int round = 0; at[0] != middle && at[1] != middle + 1; round++) {
        float trial = round < 2 ? guess * (round ? 0.8f : 1.25f) : 0;
        uint32_t below = 0;
        memcpy(bits, bound, sizeof bits);
        if (bits[1] - bits[0] < 2) return bound[0]; /* equal numbers */
        if (round >= 2 && round % 3)
            trial = bound[0] + (bound[1] - bound[0]) * ((float)(middle - at[0]) + 0.5f) / (float)(at[1] - at[0]);
        if (!(trial > bound[0] && trial < bound[1])) {
            bits[0] += (bits[1] - bits[0]) / 2;
            memcpy(&trial, bits, sizeof trial);
        }
#pragma omp simd reduction(+ : below)
        for (size_t i = 0; i < n; i++) below += v[i] < trial;
        bound[below > middle] = trial;
        at[below > middle] = below;
    }
    /* The smallest number from the lower bound on, or the largest below the upper one. */
    float least = INFINITY, most = 0;
    if (at[0] == middle) {
#pragma omp simd reduction(min : least)
        for (size_t i = 0; i < n; i++) least = v[i] >= bound[0] && v[i] < least ? v[i] : least;
        return least;
    }
#pragma omp simd reduction(max : most)
    for (size_t i = 0; i < n; i++) most = v[i] < bound[1] && v[i] > most ? v[i] : most;
    return most;
}

#endif

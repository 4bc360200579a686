/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/clipped.h"

#include <math.h>

double mro_clipped_share(const float *px, size_t n, bool upper, int threads, float *found)
{
    const float sign = upper ? 1 : -1;
    float end = -INFINITY, next = -INFINITY;
    size_t at = 0, beside = 0, finite = 0;
#pragma omp parallel for simd schedule(static) num_threads(threads) reduction(max : end)
    for (size_t i = 0; i < n; i++) end = sign * px[i] > end ? sign * px[i] : end; /* false for NaN */
#pragma omp parallel for simd schedule(static) num_threads(threads) reduction(max : next) reduction(+ : at, finite)
    for (size_t i = 0; i < n; i++) {
        const float v = sign * px[i];
        at += v == end;
        finite += v == v;
        next = v < end && v > next ? v : next;
    }
    if (found) *found = sign * end;
    if (at <= 16) return 0;
#pragma omp parallel for simd schedule(static) num_threads(threads) reduction(+ : beside)
    for (size_t i = 0; i < n; i++) beside += sign * px[i] == next;
    /* A range that ends by itself thins out; a clipped one ends with a pile. */
    return at > 3 * beside && finite > at ? (double)at / (double)finite : 0;
}

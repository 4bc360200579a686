/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Spikes of an image: pixels too far from the median of 3 x 3 around them. */
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include "cpu/spikes.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/select.h"
#include "core/team.h"
#include "mroscope/math/contrast.h"

enum { PART = MRO_SPIKE_PART };

/* Median of 3 x 3 for columns [from, to) of a row, to - from <= PART; borders repeat. Columns are sorted once for the
 * three pixels that they serve. `out` holds to - from numbers. */
static void median3x3_part(const float *up, const float *mid, const float *down, size_t nx, size_t from, size_t to,
                           float *out)
{
    float low[PART + 2], middle[PART + 2], high[PART + 2]; /* of columns from - 1 to `to` */
    const size_t n = to - from;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float a = up[from + i], b = mid[from + i], c = down[from + i];
        MRO_SORT3(a, b, c);
        low[i + 1] = a;
        middle[i + 1] = b;
        high[i + 1] = c;
    }
    for (int side = 0; side < 2; side++) {
        const size_t x = side ? (to < nx ? to : nx - 1) : from ? from - 1 : 0, i = side ? n + 1 : 0;
        float a = up[x], b = mid[x], c = down[x];
        MRO_SORT3(a, b, c);
        low[i] = a;
        middle[i] = b;
        high[i] = c;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = mro_median_columns(low[i], middle[i], high[i], low[i + 1], middle[i + 1], high[i + 1], low[i + 2],
                                    middle[i + 2], high[i + 2]);
}

size_t mro_spike_rows(size_t ny) { return ny < 3 ? 0 : (ny - 2 + MRO_SPIKE_ROW_STEP - 1) / MRO_SPIKE_ROW_STEP; }

enum { INFINITE = 0x7f800000 };

/* |a - b| as bits, which have the order of numbers: infinity is larger than those, and what is no number larger
 * still. */
static inline int32_t difference(float a, float b)
{
    const float d = fabsf(a - b);
    int32_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

/* Which residuals |pixel - local median| are kept, in bits as above, and how many lie below them; how many there are,
 * of pixels that have a value. */
struct residuals {
    int32_t least, most;
    size_t below, known;
};

/* Appends the residuals of row y that are to be kept to `to`, which has room for all; returns where they end. */
static int32_t *residuals_of_row(const float *px, size_t nx, size_t y, struct residuals *r, int32_t *to)
{
    const float *mid = px + y * nx;
    const int32_t least = r->least;
    const uint32_t span = (uint32_t)(r->most - least);
    for (size_t from = 0; from < nx; from += PART) {
        const size_t n = from + PART < nx ? PART : nx - from;
        float median[PART];
        int32_t bits[PART];
        int known = 0, below = 0;
        median3x3_part(mid - nx, mid, mid + nx, nx, from, from + n, median);
#pragma omp simd reduction(+ : known, below)
        for (size_t i = 0; i < n; i++) {
            bits[i] = difference(mid[from + i], median[i]);
            known += bits[i] <= INFINITE;
            below += bits[i] < least;
        }
        r->known += (size_t)known;
        r->below += (size_t)below;
#ifdef __AVX512F__
        for (size_t i = 0; i < n; i += 16) {
            const __m512i v = _mm512_loadu_si512(bits + i);
            const __mmask16 there = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
            const __mmask16 in = _mm512_mask_cmple_epu32_mask(there, _mm512_sub_epi32(v, _mm512_set1_epi32(least)),
                                                              _mm512_set1_epi32((int32_t)span));
            const int kept = __builtin_popcount(in);
            _mm512_mask_storeu_epi32(to, (__mmask16)((1u << kept) - 1), _mm512_maskz_compress_epi32(in, v));
            to += kept;
        }
#else
        for (size_t i = 0; i < n; i++) {
            *to = bits[i]; /* stays where it is to be kept */
            to += (uint32_t)(bits[i] - least) <= span;
        }
#endif
    }
    return to;
}

/* The median of all is one of few near that of every ROUGH-th row, nearly always. */
float mro_spike_threshold_of(const float *px, size_t ny, size_t nx, int threads, float *v)
{
    enum { ROUGH = 16 };
    const float wide = 0.02f; /* of all residuals, to either side of the median of the rough ones */
    if (ny < 3 || nx < 3) return 0;
    const size_t rows = mro_spike_rows(ny);
    struct residuals rough = { 0, INFINITE, 0, 0 };
    int32_t *bits = (int32_t *)(void *)v, *end = bits;
    for (size_t k = ROUGH / 2; k < rows; k += ROUGH)
        end = residuals_of_row(px, nx, 1 + k * MRO_SPIKE_ROW_STEP, &rough, end);
    int32_t least = 0, most = INFINITE;
    if (rough.known) {
        const size_t n = rough.known, middle = n / 2, reach = (size_t)(wide * (float)n + 2 * sqrtf((float)n));
        const float low = mro_select_positive(v, n, middle > reach ? middle - reach : 0, threads),
                    high = mro_select_positive(v, n, middle + reach < n ? middle + reach : n - 1, threads);
        least = difference(low, 0);
        most = difference(high, 0);
    }
    for (;; least = 0, most = INFINITE) {
        size_t known = 0, below = 0, kept = 0;
#pragma omp parallel for schedule(static) num_threads(mro_team(threads, 2.0 * (double)(rows * nx))) \
    reduction(+ : known, below)
        for (size_t k = 0; k < rows; k++) {
            struct residuals r = { least, most, 0, 0 };
            int32_t *to = bits + k * nx, *last = residuals_of_row(px, nx, 1 + k * MRO_SPIKE_ROW_STEP, &r, to);
            if (last < to + nx) *last = -1; /* ends them */
            known += r.known;
            below += r.below;
        }
        if (known == 0) return 0;
        for (size_t k = 0; k < rows; k++)
            for (size_t i = 0; i < nx && bits[k * nx + i] >= 0; i++) bits[kept++] = bits[k * nx + i];
        if (known / 2 >= below && known / 2 < below + kept)
            return MRO_SPIKE_THRESHOLD(mro_select_positive(v, kept, known / 2 - below, threads));
    }
}

size_t mro_spike_replace(const float *px, size_t y, size_t ny, size_t nx, size_t from, size_t to, float threshold,
                         float *out)
{
    const float *mid = px + y * nx;
    int here = 0;
    /* The row after the next: rows are too far apart for the processor to see where it goes on. */
    for (size_t x = from; y + 2 < ny && x < to; x += 16) __builtin_prefetch(mid + 2 * nx + x);
    median3x3_part(y ? mid - nx : mid, mid, y + 1 < ny ? mid + nx : mid, nx, from, to, out);
#pragma omp simd reduction(+ : here)
    for (size_t x = from; x < to; x++) {
        const float median = out[x - from];
        const bool spike = fabsf(mid[x] - median) > threshold;
        here += spike;
        out[x - from] = spike ? median : mid[x];
    }
    return (size_t)here;
}

/* The largest differences of n pixels: of each to the next, and to the one below it in the next row. */
static int32_t largest_across(const float *line, size_t n)
{
    int32_t largest = 0;
    for (size_t x = 0; x + 1 < n; x++) {
        const int32_t d = difference(line[x], line[x + 1]);
        largest = MRO_GREATER(largest, d);
    }
    return largest;
}
static int32_t largest_down(const float *line, const float *below, size_t n)
{
    int32_t largest = 0;
    for (size_t x = 0; x < n; x++) {
        const int32_t d = difference(line[x], below[x]);
        largest = MRO_GREATER(largest, d);
    }
    return largest;
}

/* A spike differs by more than the threshold from five or more of its eight neighbours, and so from one of any four:
 * medians are taken only of rows where a pixel differs by as much from one beside, above or below it. */
size_t mro_spike_sums(const float *px, size_t ny, size_t nx, size_t from, size_t y0, size_t y1, float threshold,
                      unsigned char *spiked, size_t parts, float *sums, float *counts)
{
    const int32_t limit = difference(threshold > 0 ? threshold : FLT_MAX, 0);
    const size_t n = from + PART < nx ? PART : nx - from;
    const size_t left = from ? from - 1 : 0, right = from + n < nx ? from + n + 1 : nx;
    size_t spikes = 0;
    float whole = 0, clean[PART]; /* rows without a gap */
    int32_t up = y0 ? largest_down(px + (y0 - 1) * nx + from, px + y0 * nx + from, n) : 0, down = 0;
    for (size_t x = 0; x < n; x++) sums[x] = counts[x] = 0;
    for (size_t y = y0; y < y1; y++, up = down) {
        const float *row = px + y * nx, *line = row + from;
        /* The row after the next: rows are too far apart for the processor to see where it goes on. */
        for (size_t x = 0; y + 2 < ny && x < n; x += 16) __builtin_prefetch(line + 2 * nx + x, 0, 2);
        const int32_t across = largest_across(row + left, right - left);
        down = y + 1 < ny ? largest_down(line, line + nx, n) : 0;
        if (MRO_GREATER(across, MRO_GREATER(up, down)) <= limit) {
            for (size_t x = 0; x < n; x++) sums[x] += line[x];
            whole++;
            continue;
        }
        if (threshold > 0) {
            const size_t here = mro_spike_replace(px, y, ny, nx, from, from + n, threshold, clean);
            spiked[y * parts] = here > 0;
            spikes += here;
            if (here) line = clean;
        }
        for (size_t x = 0; x < n; x++) {
            const bool finite = line[x] == line[x];
            sums[x] += finite ? line[x] : 0.0f;
            counts[x] += finite ? 1.0f : 0.0f;
        }
    }
    for (size_t x = 0; x < n; x++) counts[x] += whole;
    return spikes;
}

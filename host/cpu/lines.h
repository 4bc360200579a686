/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fourier transforms of as many lines side by side as a vector of the processor has lanes. Each lane holds a line of
 * its own, so that butterflies are plain products and sums of vectors, whatever the length is. */
#ifndef MRO_CPU_LINES_H
#define MRO_CPU_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "mroscope/math/hd.h"

#define MRO_INLINE static inline __attribute__((always_inline)) /* for what compilers should see with its arguments */

/* The widest vectors of the instruction set that is compiled for. */
#if defined(__AVX512F__)
#define MRO_LANES 16
#elif defined(__AVX__)
#define MRO_LANES 8
#else
#define MRO_LANES 4
#endif
typedef float mro_lanes __attribute__((vector_size(4 * MRO_LANES)));
typedef float mro_lanes_loose __attribute__((vector_size(4 * MRO_LANES), aligned(4), may_alias)); /* any place */

/* A complex number of each line. */
struct mro_wide {
    mro_lanes re, im;
};

/* MRO_LANES complex numbers that lie in a row, one for each line. */
static inline struct mro_wide mro_lines_numbers(const float *v)
{
    const mro_lanes a = *(const mro_lanes_loose *)v, b = *(const mro_lanes_loose *)(v + MRO_LANES);
#if MRO_LANES == 16
    return (struct mro_wide){
        __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
        __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31),
    };
#elif MRO_LANES == 8
    return (struct mro_wide){
        __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14),
        __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15),
    };
#else
    return (struct mro_wide){
        __builtin_shufflevector(a, b, 0, 2, 4, 6),
        __builtin_shufflevector(a, b, 1, 3, 5, 7),
    };
#endif
}

/* Tables of one length; shared and kept: every CPU device, and whoever transforms without one, opens and closes the
 * store; the last one empties it. */
struct mro_lines;
void mro_lines_open(void);
void mro_lines_close(void);
const struct mro_lines *mro_lines_of(size_t n); /* n > 0; NULL when out of memory; not the caller's to free */

/* exp(-pi i k / n), 0 <= k <= n: what the transform of a real line of 2 n is made with, from that of n complex numbers.
 */
const mro_c32 *mro_lines_half_turns(const struct mro_lines *p);

/* Room for n numbers of each line, aligned; free() gives it back. NULL when out of memory. */
struct mro_wide *mro_lines_room(size_t n);
/* How many numbers of each line a transform needs besides input and output. */
size_t mro_lines_scratch(const struct mro_lines *p);

/* Ask for n numbers of each line that will be read, or written, soon: where they lie too far from what was used last
 * for the processor to see it coming. */
static inline void mro_lines_will_read(const struct mro_wide *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof *v; k += 64) __builtin_prefetch((const char *)(v + i) + k, 0, 2);
}
static inline void mro_lines_will_write(const struct mro_wide *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof *v; k += 64) __builtin_prefetch((const char *)(v + i) + k, 1);
}

/* Unnormalised transform of MRO_LANES lines: exp(-2 pi i j k / n), or its conjugate for `back`. `in`, `out` and
 * `scratch` lie apart; `in` is kept. Lengths of the factors 2, 3 and 5 take radix 8 to 2, 3 and 5, decimated in time
 * and recursively, so that most passes stay in the first level of cache; others are a convolution of such a length
 * (Bluestein, IEEE Trans. Audio Electroacoust. 18 (1970) 451). */
void mro_lines_run(const struct mro_lines *p, bool back, const struct mro_wide *in, struct mro_wide *out,
                   struct mro_wide *scratch);

/* The same forward of numbers that are spread over mro_lines_spread() parts of m numbers each, number k at
 * k % parts * m + k / parts, for lines that would leave the cache: `in` may be m numbers behind `out`, and is lost
 * then. Not where there is one part. */
size_t mro_lines_spread(const struct mro_lines *p);
void mro_lines_run_spread(const struct mro_lines *p, const struct mro_wide *in, struct mro_wide *out);

/* Transposes MRO_LANES rows of as many floats. Rows begin `pitch` floats apart, those that come out `to_pitch`. */
void mro_lines_turn(const float *from, size_t pitch, float *to, size_t to_pitch);

/* Rows side by side: number x of each of up to MRO_LANES rows of n floats becomes a vector at to[x * step]; lanes
 * without a row become 0. Rows of complex numbers are rows of twice as many floats with step 1. And back. */
void mro_lines_from_rows(const float *rows, size_t pitch, size_t n_rows, size_t n, mro_lanes *to, size_t step);
void mro_lines_to_rows(const mro_lanes *from, size_t step, float *rows, size_t pitch, size_t n_rows, size_t n);

/* Columns side by side: row y of n rows, `w` <= MRO_LANES complex numbers of it, becomes to[y]; lanes without a column
 * become 0. And back. */
void mro_lines_from_columns(const mro_c32 *columns, size_t pitch, size_t w, size_t n, struct mro_wide *to);
void mro_lines_to_columns(const struct mro_wide *from, mro_c32 *columns, size_t pitch, size_t w, size_t n);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Philox of several counters side by side, as many as a vector of the processor has 64-bit words. */
#ifndef MRO_CORE_PHILOX_WORDS_H
#define MRO_CORE_PHILOX_WORDS_H

#ifdef __SSE2__
#include <immintrin.h>
#endif
#include <stdint.h>

#include "mroscope/math/philox.h"

#if defined(__AVX512F__)
#define MRO_PHILOX_LANES 8
#elif defined(__AVX2__)
#define MRO_PHILOX_LANES 4
#else
#define MRO_PHILOX_LANES 2
#endif

/* 32-bit words of Philox, each in the low half of 64 bits; what is above them is of no matter. */
typedef uint64_t mro_philox_words __attribute__((vector_size(MRO_PHILOX_LANES * sizeof(uint64_t))));

/* Products of the words, whole: of 32 by 32 bits there is an instruction, which compilers do not find. */
static inline mro_philox_words mro_philox_product(mro_philox_words a, uint32_t b)
{
#if defined(__AVX512F__)
    return (mro_philox_words)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
    return (mro_philox_words)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__SSE2__)
    return (mro_philox_words)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#else
    return (a & UINT32_MAX) * b;
#endif
}

/* From the words of counters to those of mro_philox, in place: counter low, counter high, stream low, stream high. */
static inline void mro_philox_rounds(uint64_t seed, mro_philox_words c[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const mro_philox_words p0 = mro_philox_product(c[0], MRO_PHILOX_M0),
                               p1 = mro_philox_product(c[2], MRO_PHILOX_M1);
        c[0] = p1 >> 32 ^ c[1] ^ k0;
        c[1] = p1;
        c[2] = p0 >> 32 ^ c[3] ^ k1;
        c[3] = p0;
        k0 += MRO_PHILOX_W0;
        k1 += MRO_PHILOX_W1;
    }
}

static inline mro_philox_words mro_philox_same(uint64_t half) { return (mro_philox_words){ 0 } + (uint32_t)half; }

/* From the low half of one number on. */
static inline mro_philox_words mro_philox_rising(uint64_t first)
{
    mro_philox_words v = { 0 };
    for (int i = 0; i < MRO_PHILOX_LANES; i++) v[i] = (uint32_t)first + (uint64_t)i;
    return v;
}

/* The words of mro_philox(seed, stream, counter + i) for each lane i, where the low half of the counter does not
 * overflow. */
static inline void mro_philox_lanes(uint64_t seed, uint64_t stream, uint64_t counter, mro_philox_words v[4])
{
    v[0] = mro_philox_rising(counter);
    v[1] = mro_philox_same(counter >> 32);
    v[2] = mro_philox_same(stream);
    v[3] = mro_philox_same(stream >> 32);
    mro_philox_rounds(seed, v);
}

/* Those of mro_philox(seed, stream + i, counter), likewise. */
static inline void mro_philox_streams(uint64_t seed, uint64_t stream, uint64_t counter, mro_philox_words v[4])
{
    v[0] = mro_philox_same(counter);
    v[1] = mro_philox_same(counter >> 32);
    v[2] = mro_philox_rising(stream);
    v[3] = mro_philox_same(stream >> 32);
    mro_philox_rounds(seed, v);
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Philox 4x32-10, a counter-based generator: number i of stream s is a function of (seed, s, i) alone,
 * so that every backend draws the same field in any order.
 * Source: Salmon, Moraes, Dror, Shaw, SC11 (2011), "Parallel random numbers: as easy as 1, 2, 3". */
#ifndef MROSCOPE_MATH_PHILOX_H
#define MROSCOPE_MATH_PHILOX_H

#include "mroscope/math/elementary.h"

#define MRO_PHILOX_M0 0xD2511F53u
#define MRO_PHILOX_M1 0xCD9E8D57u
#define MRO_PHILOX_W0 0x9E3779B9u
#define MRO_PHILOX_W1 0xBB67AE85u

typedef struct {
    uint32_t v[4];
} mro_philox_block;

MRO_HD mro_philox_block mro_philox(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)MRO_PHILOX_M0 * c0, p1 = (uint64_t)MRO_PHILOX_M1 * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t)p1;
        c2 = n2;
        c3 = (uint32_t)p0;
        k0 += MRO_PHILOX_W0;
        k1 += MRO_PHILOX_W1;
    }
    mro_philox_block b;
    b.v[0] = c0;
    b.v[1] = c1;
    b.v[2] = c2;
    b.v[3] = c3;
    return b;
}

/* Uniform in (0, 1): 23 bits and the half, which fill the 24 of a float, so that it is exact on every device and 1 is
 * never reached. */
MRO_HD float mro_uniform_open(uint32_t u) { return ((float)(u >> 9) + 0.5f) * (1.0f / 8388608.0f); }

/* Two independent standard normal numbers (Box-Muller). */
MRO_HD mro_c32 mro_normal_pair(uint32_t u, uint32_t w)
{
    const float r = sqrtf(-2.0f * mro_ln(mro_uniform_open(u))), t = mro_uniform_open(w) - 0.5f; /* half a turn back */
    mro_c32 z;
    z.re = -r * mro_cos_turn(t);
    z.im = -r * mro_sin_turn(t);
    return z;
}

#endif

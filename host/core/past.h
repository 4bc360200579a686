/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stores past the caches, for what is too large to be there still when it is read: lines of the cache that are written
 * whole are then not read first. */
#ifndef MRO_CORE_PAST_H
#define MRO_CORE_PAST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* More than this is taken to be gone from the caches. */
#define MRO_CACHE_BYTES ((size_t)8 << 20)

static inline void mro_store_past(float *restrict to, const float *restrict from, size_t n)
{
#ifdef __SSE2__
    for (; n > 0 && (uintptr_t)to % sizeof(__m128); n--) *to++ = *from++;
    for (; n >= 4; n -= 4, to += 4, from += 4) _mm_stream_ps(to, _mm_loadu_ps(from));
#endif
    memcpy(to, from, n * sizeof *to);
}

/* To be called once stores are done, before other threads read them. */
static inline void mro_past_done(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif

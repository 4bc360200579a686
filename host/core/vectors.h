/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which vector instructions the processor's work is done with.
 *
 * The CPU backend (host/cpu) and the loops of some measurements (ops/wide.h) are compiled for those of the build. A
 * build for other machines than its own (MROSCOPE_NATIVE off) holds it once more for each wider kind that processors of
 * today have, and the best that processor and operating system support are taken, once for the life of the program.
 * Lengths of vectors, and so structures of host/cpu, differ from one to the next: struct mro_vectors is all that the
 * rest of the library knows of any. */
#ifndef MRO_CORE_VECTORS_H
#define MRO_CORE_VECTORS_H

#include <stdbool.h>
#include <stddef.h>

#include "mroscope/error.h"
#include "mroscope/math/hd.h"

struct mro_backend;      /* core/backend.h */
struct mro_measurements; /* ops/wide.h */
extern const struct mro_measurements mro_measurements;

/* One compilation of host/cpu and of ops/wide.h. */
struct mro_vectors {
    const char *name;         /* "SSE2", "AVX2", "AVX-512", ...: what results and MROSCOPE_VECTORS call it */
    const char *const *needs; /* for each of MRO_INSTRUCTIONS "1" when it was compiled for it, else anything */
    const struct mro_backend *backend;
    const struct mro_measurements *measurements;
    /* Tables of transforms, kept from the first open to the last close, and mro_fft2, of cpu/fft.h: for those who
     * transform in host memory beside whatever device they have. */
    void (*open)(void);
    void (*close)(void);
    enum mro_code (*fft2)(mro_c32 *plane, size_t ny, size_t nx, ptrdiff_t reach, bool back, int threads,
                          struct mro_error *e);
};

/* What a compiler uses by itself in plain C and not every processor has: name in __builtin_cpu_supports, which looks at
 * the operating system too, and macro of the compiler. Of each generation of processors those that GCC 12 and clang 14
 * can ask for; what is not here came with one that is. Other architectures than x86-64 have no list, and no check. */
#if defined(__x86_64__)
#define MRO_INSTRUCTIONS(X)                   \
    X("sse3", __SSE3__)                       \
    X("ssse3", __SSSE3__)                     \
    X("sse4.1", __SSE4_1__)                   \
    X("sse4.2", __SSE4_2__)                   \
    X("popcnt", __POPCNT__)                   \
    X("sse4a", __SSE4A__)                     \
    X("avx", __AVX__)                         \
    X("fma4", __FMA4__)                       \
    X("xop", __XOP__)                         \
    X("bmi", __BMI__)                         \
    X("fma", __FMA__)                         \
    X("bmi2", __BMI2__)                       \
    X("avx2", __AVX2__)                       \
    X("avx512f", __AVX512F__)                 \
    X("avx512cd", __AVX512CD__)               \
    X("avx512bw", __AVX512BW__)               \
    X("avx512dq", __AVX512DQ__)               \
    X("avx512vl", __AVX512VL__)               \
    X("avx512ifma", __AVX512IFMA__)           \
    X("avx512vbmi", __AVX512VBMI__)           \
    X("avx512vbmi2", __AVX512VBMI2__)         \
    X("avx512vnni", __AVX512VNNI__)           \
    X("avx512bitalg", __AVX512BITALG__)       \
    X("avx512vpopcntdq", __AVX512VPOPCNTDQ__) \
    X("avx512bf16", __AVX512BF16__)           \
    X("gfni", __GFNI__)
#else
#define MRO_INSTRUCTIONS(X)
#endif

/* Those in use: the best that can be, or those that the environment variable MROSCOPE_VECTORS names. Chosen at the
 * first call. Any thread. */
const struct mro_vectors *mro_vectors(void);

/* Number i of those of this build that can be used here, the best first; NULL: no more. */
const struct mro_vectors *mro_vectors_usable(size_t i);

/* Whether this processor can run this build, and as MROSCOPE_VECTORS says: asked before anything else is called, as
 * the first instruction that the processor lacks would end the program. Errors: MRO_EDEVICE for a processor that lacks
 * what the build is for, MRO_EARG for a wrong name. */
enum mro_code mro_vectors_check(struct mro_error *e);

#endif

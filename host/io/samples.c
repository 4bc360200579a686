/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/samples.h"

#include <math.h>
#include <string.h>

#include "core/past.h"
#include "io/reader.h"

/* ---------------------------------------------------------------- byte order */

static inline uint8_t load8(const unsigned char *p) { return *p; }

#define LOAD(bits)                                                  \
    static inline uint##bits##_t load##bits(const unsigned char *p) \
    {                                                               \
        uint##bits##_t v;                                           \
        memcpy(&v, p, sizeof v);                                    \
        return v;                                                   \
    }
LOAD(16)
LOAD(32)
LOAD(64)
#define SWAP8(v) (v)
#define SWAP16(v) __builtin_bswap16(v)
#define SWAP32(v) __builtin_bswap32(v)
#define SWAP64(v) __builtin_bswap64(v)

uint16_t mro_get_u16(const unsigned char *p, bool big_endian)
{
    return big_endian == mro_machine_is_big_endian() ? load16(p) : SWAP16(load16(p));
}

uint32_t mro_get_u32(const unsigned char *p, bool big_endian)
{
    return big_endian == mro_machine_is_big_endian() ? load32(p) : SWAP32(load32(p));
}

uint64_t mro_get_u64(const unsigned char *p, bool big_endian)
{
    return big_endian == mro_machine_is_big_endian() ? load64(p) : SWAP64(load64(p));
}

double mro_get_f32(const unsigned char *p, bool big_endian)
{
    const uint32_t bits = mro_get_u32(p, big_endian);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

double mro_get_f64(const unsigned char *p, bool big_endian)
{
    const uint64_t bits = mro_get_u64(p, big_endian);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

double mro_positive(double v) { return isfinite(v) && v > 0 ? v : 0; }

void mro_copy_samples(void *out, const unsigned char *p, size_t n, size_t sample_bytes, bool big_endian)
{
    if (big_endian == mro_machine_is_big_endian() || sample_bytes == 1) {
        memmove(out, p, n * sample_bytes);
        return;
    }
    unsigned char *q = out;
    for (size_t i = 0; i < n; i++, p += sample_bytes, q += sample_bytes) {
        if (sample_bytes == 2) {
            const uint16_t v = SWAP16(load16(p));
            memcpy(q, &v, 2);
        } else if (sample_bytes == 4) {
            const uint32_t v = SWAP32(load32(p));
            memcpy(q, &v, 4);
        } else {
            const uint64_t v = SWAP64(load64(p));
            memcpy(q, &v, 8);
        }
    }
}

/* ---------------------------------------------------------------- values of any type */

static float from_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 0) { /* zero and subnormal: fraction * 2^-24 */
        const float v = (float)fraction * 0x1p-24f;
        return sign ? -v : v;
    }
    const uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline float as_float(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline double as_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* One loop per type; gcc takes the test of `swap` out of it. */
#define EACH(bits, expression)                             \
    for (size_t i = 0; i < n; i++) {                       \
        uint##bits##_t u = load##bits(p + i * (bits / 8)); \
        if (swap) u = SWAP##bits(u);                       \
        out[i] = (expression);                             \
    }                                                      \
    break
#define EACH_COMPLEX(bits, as, magnitude)                                                                \
    for (size_t i = 0; i < n; i++) {                                                                     \
        uint##bits##_t u = load##bits(p + i * (bits / 4)), w = load##bits(p + (2 * i + 1) * (bits / 8)); \
        if (swap) u = SWAP##bits(u), w = SWAP##bits(w);                                                  \
        const double re = as(u), im = as(w);                                                             \
        out[i] = (magnitude);                                                                            \
    }                                                                                                    \
    break

/* Decodes `n` values (channels of colour one by one, complex to magnitudes) into `out`. */
#define DEFINE_VALUES(name, T)                                                                                       \
    static void name(enum mro_dtype dtype, const unsigned char *restrict p, bool swap, size_t n, T *restrict out)    \
    {                                                                                                                \
        switch (dtype) {                                                                                             \
        case MRO_RGB8:                                                                                               \
        case MRO_RGBA8:                                                                                              \
        case MRO_U8: EACH(8, (T)u);                                                                                  \
        case MRO_I8: EACH(8, (T)(int8_t)u);                                                                          \
        case MRO_RGB16:                                                                                              \
        case MRO_RGBA16:                                                                                             \
        case MRO_U16: EACH(16, (T)u);                                                                                \
        case MRO_I16: EACH(16, (T)(int16_t)u);                                                                       \
        case MRO_U32: EACH(32, (T)u);                                                                                \
        case MRO_I32: EACH(32, (T)(int32_t)u);                                                                       \
        case MRO_U64: EACH(64, (T)u);                                                                                \
        case MRO_I64: EACH(64, (T)(int64_t)u);                                                                       \
        case MRO_F16: EACH(16, (T)from_half(u));                                                                     \
        case MRO_F32: EACH(32, (T)as_float(u));                                                                      \
        case MRO_F64: EACH(64, (T)as_double(u));                                                                     \
        case MRO_C64: EACH_COMPLEX(32, as_float, (T)sqrt(re *re + im * im)); /* squares of floats fit in a double */ \
        case MRO_C128: EACH_COMPLEX(64, as_double, (T)hypot(re, im));                                                \
        }                                                                                                            \
    }
DEFINE_VALUES(values_float, float)
DEFINE_VALUES(values_double, double)

static bool can_be_not_finite(enum mro_dtype dtype) { return dtype >= MRO_F16 && dtype <= MRO_C128; }

size_t mro_channels(enum mro_dtype dtype)
{
    switch (dtype) {
    case MRO_RGB8:
    case MRO_RGB16: return 3;
    case MRO_RGBA8:
    case MRO_RGBA16: return 4;
    default: return 1;
    }
}

/* ITU-R BT.601 with the weights as whole thousandths: a grey pixel keeps its value exactly. */
static inline float luminance(unsigned r, unsigned g, unsigned b)
{
    return (float)((299.0 * r + 587.0 * g + 114.0 * b) / 1000.0);
}

static void values_luminance(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n, float *out)
{
    const size_t step = mro_dtype_size(dtype);
    if (dtype == MRO_RGB8 || dtype == MRO_RGBA8) {
        for (size_t i = 0; i < n; i++, p += step) out[i] = luminance(p[0], p[1], p[2]);
        return;
    }
    for (size_t i = 0; i < n; i++, p += step) {
        uint16_t c[3] = { load16(p), load16(p + 2), load16(p + 4) };
        if (swap)
            for (int k = 0; k < 3; k++) c[k] = SWAP16(c[k]);
        out[i] = luminance(c[0], c[1], c[2]);
    }
}

static unsigned mask_not_finite(float *v, size_t n)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        const bool finite = fabsf(v[i]) <= 3.40282347e+38f;
        bad += !finite;
        v[i] = finite ? v[i] : NAN;
    }
    return bad;
}

size_t mro_samples_to_float(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n, float *out)
{
    if (mro_channels(dtype) > 1)
        values_luminance(dtype, p, swap, n, out);
    else if (p != (const unsigned char *)out)
        values_float(dtype, p, swap, n, out);
    return can_be_not_finite(dtype) ? mask_not_finite(out, n) : 0;
}

size_t mro_samples_to_frame(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n, float *out, size_t all)
{
    float v[MRO_PART];
    size_t bad = 0;
    if (all * sizeof *out <= MRO_CACHE_BYTES) return mro_samples_to_float(dtype, p, swap, n, out);
    for (size_t i = 0; i < n; i += MRO_PART) {
        const size_t some = n - i < MRO_PART ? n - i : MRO_PART;
        bad += mro_samples_to_float(dtype, p + i * mro_dtype_size(dtype), swap, some, v);
        mro_store_past(out + i, v, some);
    }
    mro_past_done();
    return bad;
}

/* ---------------------------------------------------------------- moments */

enum { LANES = 8 };

/* Sums in LANES interleaved partial sums: vectors fit, and the order does not depend on the machine. */
static struct mro_moments moments_of(double *v, size_t n, bool drop_not_finite)
{
    size_t count = n;
    if (drop_not_finite) {
        size_t finite = 0;
        for (size_t i = 0; i < n; i++) finite += fabs(v[i]) <= 1.7976931348623157e308;
        if (finite < n) {
            count = 0;
            for (size_t i = 0; i < n; i++)
                if (isfinite(v[i])) v[count++] = v[i];
        }
    }
    struct mro_moments m = { 0, 0, 0, INFINITY, -INFINITY, count };
    if (count == 0) return m;
    double sum[LANES] = { 0 }, m2[LANES] = { 0 }, low = v[0], high = v[0];
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t k = 0; k < LANES; k++) sum[k] += v[i + k];
    for (size_t k = 0; i + k < count; k++) sum[k] += v[i + k];
    for (size_t k = 0; k < LANES; k++) m.sum += sum[k];
        /* Told to, gcc takes these for vectors; they have no order. */
#pragma omp simd reduction(min : low) reduction(max : high)
    for (i = 0; i < count; i++) {
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
    }
    m.min = low;
    m.max = high;
    m.mean = m.sum / (double)count;
    for (i = 0; i + LANES <= count; i += LANES)
        for (size_t k = 0; k < LANES; k++) m2[k] += (v[i + k] - m.mean) * (v[i + k] - m.mean);
    for (size_t k = 0; i + k < count; k++) m2[k] += (v[i + k] - m.mean) * (v[i + k] - m.mean);
    for (size_t k = 0; k < LANES; k++) m.m2 += m2[k];
    return m;
}

/* The moments of up to MRO_PART whole numbers of 8 or 16 bits from their exact sums, `bias` having been added to each.
 */
static struct mro_moments moments_of_sums(size_t n, uint64_t sum, uint64_t squares, uint32_t min, uint32_t max,
                                          int bias)
{
    const double mean = (double)sum / (double)n - bias; /* n * squares and sum * sum stay below 2^63 */
    return (struct mro_moments){ .sum = (double)((int64_t)sum - (int64_t)n * bias),
                                 .mean = mean,
                                 .m2 = (double)(n * squares - sum * sum) / (double)n,
                                 .min = (double)min - bias,
                                 .max = (double)max - bias,
                                 .count = n };
}

static struct mro_moments moments_of_bytes(const unsigned char *p, size_t n, uint8_t flip)
{
    uint32_t sum = 0, squares = 0;
    uint8_t min = 0xff, max = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t v = p[i] ^ flip;
        sum += v;
        squares += (uint32_t)v * v;
        min = v < min ? v : min;
        max = v > max ? v : max;
    }
    return moments_of_sums(n, sum, squares, min, max, flip);
}

/* Squares in halves of 16 bits, which sum up in 32: many of them fit into a vector. */
#define SHORTS(load)                                  \
    for (size_t i = 0; i < n; i++) {                  \
        const uint16_t v = (uint16_t)((load) ^ flip); \
        const uint32_t square = (uint32_t)v * v;      \
        sum += v;                                     \
        low += (uint16_t)square;                      \
        high += (uint16_t)(square >> 16);             \
        min = v < min ? v : min;                      \
        max = v > max ? v : max;                      \
    }

static struct mro_moments moments_of_shorts(const unsigned char *p, bool swap, size_t n, uint16_t flip)
{
    uint32_t sum = 0, low = 0, high = 0;
    uint16_t min = 0xffff, max = 0;
    if (swap)
        SHORTS(SWAP16(load16(p + 2 * i)))
    else
        SHORTS(load16(p + 2 * i))
    return moments_of_sums(n, sum, ((uint64_t)high << 16) + low, min, max, flip);
}

struct mro_moments mro_moments_of(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n)
{
    double v[MRO_PART];
    switch (dtype) {
    case MRO_U8:
    case MRO_RGB8:
    case MRO_RGBA8: return moments_of_bytes(p, n, 0);
    case MRO_I8: return moments_of_bytes(p, n, 0x80);
    case MRO_U16:
    case MRO_RGB16:
    case MRO_RGBA16: return moments_of_shorts(p, swap, n, 0);
    case MRO_I16: return moments_of_shorts(p, swap, n, 0x8000);
    default: values_double(dtype, p, swap, n, v); return moments_of(v, n, can_be_not_finite(dtype));
    }
}

void mro_moments_join(struct mro_moments *a, const struct mro_moments *b)
{
    if (b->count == 0) return;
    if (a->count == 0) {
        *a = *b;
        return;
    }
    const double na = (double)a->count, nb = (double)b->count, d = b->mean - a->mean;
    a->m2 += b->m2 + d * d * (na * nb / (na + nb));
    a->mean += d * (nb / (na + nb));
    a->sum += b->sum;
    a->count += b->count;
    a->min = b->min < a->min ? b->min : a->min;
    a->max = b->max > a->max ? b->max : a->max;
}

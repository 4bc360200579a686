/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Entries of a TIFF directory, read from its bytes. Sources: TIFF 6.0 (1992), BigTIFF (Aware Systems). */
#include <math.h>
#include <string.h>
#include <tiff.h>

#include "io/tiff_meta.h"

bool mro_tiff_find(const struct mro_tiff_dir *d, uint16_t tag, struct mro_tiff_value *v)
{
    static const unsigned char sizes[] = { 0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8 };
    enum { MOST = 4096 }; /* entries looked at; libtiff takes no longer directory either */
    const unsigned char *p = d->bytes.p;
    const uint64_t size = d->bytes.size;
    const uint64_t head = d->big_tiff ? 8 : 2, entry = d->big_tiff ? 20 : 12, inside = d->big_tiff ? 8 : 4;
    if (d->ifd > size || size - d->ifd < head) return false;
    const uint64_t n = d->big_tiff ? mro_get_u64(p + d->ifd, d->big_endian) : mro_get_u16(p + d->ifd, d->big_endian);
    for (uint64_t i = 0, at = d->ifd + head; i < n && i < MOST && size - at >= entry; i++, at += entry) {
        if (mro_get_u16(p + at, d->big_endian) != tag) continue;
        v->type = mro_get_u16(p + at + 2, d->big_endian);
        v->count = d->big_tiff ? mro_get_u64(p + at + 4, d->big_endian) : mro_get_u32(p + at + 4, d->big_endian);
        v->big_endian = d->big_endian;
        const uint64_t each = v->type < sizeof sizes ? sizes[v->type] : 0;
        uint64_t bytes, where = at + entry - inside;
        if (each == 0 || __builtin_mul_overflow(each, v->count, &bytes)) return false;
        if (bytes > inside)
            where = d->big_tiff ? mro_get_u64(p + where, d->big_endian) : mro_get_u32(p + where, d->big_endian);
        if (where > size || size - where < bytes) return false;
        v->p = p + where;
        v->bytes = (size_t)bytes;
        return true;
    }
    return false;
}

double mro_tiff_number(const struct mro_tiff_value *v, uint64_t i)
{
    const bool big = v->big_endian;
    if (i >= v->count) return NAN;
    double x = NAN;
    float single;
    uint64_t bits;
    uint32_t bits32;
    switch (v->type) {
    case TIFF_BYTE: return v->p[i];
    case TIFF_SBYTE: return (int8_t)v->p[i];
    case TIFF_SHORT: return mro_get_u16(v->p + 2 * i, big);
    case TIFF_SSHORT: return (int16_t)mro_get_u16(v->p + 2 * i, big);
    case TIFF_IFD:
    case TIFF_LONG: return mro_get_u32(v->p + 4 * i, big);
    case TIFF_SLONG: return (int32_t)mro_get_u32(v->p + 4 * i, big);
    case TIFF_IFD8:
    case TIFF_LONG8: return (double)mro_get_u64(v->p + 8 * i, big);
    case TIFF_SLONG8: return (double)(int64_t)mro_get_u64(v->p + 8 * i, big);
    case TIFF_FLOAT:
        bits32 = mro_get_u32(v->p + 4 * i, big);
        memcpy(&single, &bits32, sizeof single);
        x = single;
        break;
    case TIFF_DOUBLE:
        bits = mro_get_u64(v->p + 8 * i, big);
        memcpy(&x, &bits, sizeof x);
        break;
    case TIFF_RATIONAL: {
        const double den = mro_get_u32(v->p + 8 * i + 4, big);
        x = den > 0 ? mro_get_u32(v->p + 8 * i, big) / den : NAN;
        break;
    }
    case TIFF_SRATIONAL: {
        const double den = (int32_t)mro_get_u32(v->p + 8 * i + 4, big);
        x = den != 0 ? (int32_t)mro_get_u32(v->p + 8 * i, big) / den : NAN;
        break;
    }
    default: break;
    }
    return isfinite(x) ? x : NAN;
}

bool mro_tiff_spend(size_t *budget, size_t n)
{
    if (n > *budget) return false;
    *budget -= n;
    return true;
}

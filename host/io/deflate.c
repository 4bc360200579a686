/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/deflate.h"

#include <stdlib.h>

#ifdef MROSCOPE_LIBDEFLATE
#include <libdeflate.h>

struct mro_inflater *mro_inflater_new(void) { return (struct mro_inflater *)libdeflate_alloc_decompressor(); }

void mro_inflater_free(struct mro_inflater *z)
{
    if (z != NULL) libdeflate_free_decompressor((struct libdeflate_decompressor *)z);
}

bool mro_inflate(struct mro_inflater *z, unsigned char *out, size_t want, const unsigned char *in, size_t n)
{
    return libdeflate_zlib_decompress((struct libdeflate_decompressor *)z, in, n, out, want, NULL) ==
           LIBDEFLATE_SUCCESS;
}

unsigned char *mro_deflate(const unsigned char *in, size_t n, int level, size_t *n_out)
{
    struct libdeflate_compressor *z = libdeflate_alloc_compressor(level);
    if (z == NULL) return NULL;
    const size_t bound = libdeflate_zlib_compress_bound(z, n);
    unsigned char *out = malloc(bound);
    *n_out = out ? libdeflate_zlib_compress(z, in, n, out, bound) : 0;
    libdeflate_free_compressor(z);
    return out;
}

#else
#include <stdint.h>
#include <zlib.h>

struct mro_inflater {
    z_stream z;
};

struct mro_inflater *mro_inflater_new(void)
{
    struct mro_inflater *z = calloc(1, sizeof *z);
    if (z != NULL && inflateInit(&z->z) != Z_OK) {
        free(z);
        z = NULL;
    }
    return z;
}

void mro_inflater_free(struct mro_inflater *z)
{
    if (z == NULL) return;
    inflateEnd(&z->z);
    free(z);
}

bool mro_inflate(struct mro_inflater *inflater, unsigned char *out, size_t want, const unsigned char *in, size_t n)
{
    z_stream *z = &inflater->z;
    if (inflateReset(z) != Z_OK) return false;
    unsigned char spare; /* to see an end that comes right behind the last byte */
    int rc = Z_OK;
    z->next_in = (unsigned char *)(uintptr_t)in;
    while (rc == Z_OK && z->total_out <= want) {
        const size_t out_left = want - z->total_out, in_left = n - z->total_in;
        z->avail_in = (uInt)(in_left < 1u << 30 ? in_left : 1u << 30);
        z->avail_out = (uInt)(out_left < 1u << 30 ? out_left : 1u << 30);
        z->next_out = out + z->total_out;
        if (out_left == 0) {
            z->next_out = &spare;
            z->avail_out = 1;
        }
        rc = inflate(z, Z_NO_FLUSH);
    }
    return rc == Z_STREAM_END && z->total_out == want;
}

unsigned char *mro_deflate(const unsigned char *in, size_t n, int level, size_t *n_out)
{
    const uLong bound = compressBound((uLong)n);
    uLongf used = bound;
    unsigned char *out = malloc(bound);
    if (out != NULL && compress2(out, &used, in, (uLong)n, level) != Z_OK) {
        free(out);
        out = NULL;
    }
    *n_out = out ? used : 0;
    return out;
}
#endif

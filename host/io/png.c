/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PNG. The chunks are walked and their checksums verified here; stb_image, which checks none, only unpacks.
 * pHYs says how large to print a picture, not what a pixel was on the specimen: it is no calibration. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "io/stb.h"

static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

/* Deflate packs at most 1032 to 1. */
#define MAX_DEFLATE 1032

struct header {
    size_t nx, ny;
    unsigned depth, colour, interlace;
    uint64_t packed;              /* bytes of all IDAT chunks */
    const unsigned char *palette; /* NULL = none */
    size_t palette_bytes;
    bool transparent, animated;
};

static bool png_probe(struct mro_bytes b)
{
    return b.size >= sizeof signature && memcmp(b.p, signature, sizeof signature) == 0;
}

static enum mro_code read_header(const struct mro_file *f, const unsigned char *p, uint32_t length, struct header *h,
                                 struct mro_error *e)
{
    if (length != 13) return MRO_FAIL(e, MRO_EFORMAT, "'%s': PNG chunk IHDR has %u bytes, not 13", f->name, length);
    const uint32_t nx = mro_get_u32(p, true), ny = mro_get_u32(p + 4, true);
    if (nx == 0 || ny == 0 || nx > INT32_MAX || ny > INT32_MAX)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': PNG chunk IHDR gives %u x %u pixels", f->name, nx, ny);
    h->nx = nx;
    h->ny = ny;
    h->depth = p[8];
    h->colour = p[9];
    h->interlace = p[12];
    const unsigned d = h->depth;
    const bool small = d == 1 || d == 2 || d == 4, normal = d == 8 || d == 16;
    const bool valid = h->colour == GREY                                                       ? small || normal
                       : h->colour == PALETTE                                                  ? small || d == 8
                       : h->colour == RGB || h->colour == GREY_ALPHA || h->colour == RGB_ALPHA ? normal
                                                                                               : false;
    if (!valid)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': PNG chunk IHDR gives %u bits of colour type %u, which does not exist",
                        f->name, d, h->colour);
    if (p[10] != 0 || p[11] != 0 || h->interlace > 1)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': PNG chunk IHDR gives compression %u, filter %u, interlace %u; 0, 0 and 0 or 1 are read",
                        f->name, p[10], p[11], p[12]);
    return MRO_OK;
}

static enum mro_code walk_chunks(const struct mro_file *f, struct header *h, struct mro_error *e)
{
    const struct mro_bytes b = f->bytes;
    bool ended = false;
    for (size_t pos = sizeof signature; !ended;) {
        if (b.size - pos < 12)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut at byte %zu, before the PNG chunk IEND", f->name, b.size);
        const uint32_t length = mro_get_u32(b.p + pos, true);
        const unsigned char *type = b.p + pos + 4, *data = type + 4;
        char name[5] = "????";
        for (int i = 0; i < 4; i++)
            if (type[i] > 0x20 && type[i] < 0x7f) name[i] = (char)type[i];
        if (length > b.size - pos - 12)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': PNG chunk %s at byte %zu says %u bytes, but only %zu follow",
                            f->name, name, pos, length, b.size - pos - 12);
        if (crc32_z(crc32_z(0, NULL, 0), type, (size_t)length + 4) != mro_get_u32(data + length, true))
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': PNG chunk %s at byte %zu has a wrong checksum", f->name, name, pos);
        const bool first = pos == sizeof signature;
        if (first != (memcmp(type, "IHDR", 4) == 0))
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s': PNG chunk IHDR must come once, and first; chunk %s stands at byte %zu", f->name,
                            name, pos);
        if (first) MRO_TRY(read_header(f, data, length, h, e));
        if (memcmp(type, "IDAT", 4) == 0) h->packed += length;
        if (memcmp(type, "PLTE", 4) == 0) {
            if (length == 0 || length > 768 || length % 3 != 0)
                return MRO_FAIL(e, MRO_EFORMAT, "'%s': PNG chunk PLTE has %u bytes, which is no palette", f->name,
                                length);
            h->palette = data;
            h->palette_bytes = length;
        }
        if (memcmp(type, "tRNS", 4) == 0) h->transparent = true;
        if (memcmp(type, "acTL", 4) == 0) h->animated = true;
        ended = memcmp(type, "IEND", 4) == 0;
        pos += (size_t)length + 12;
    }
    if (h->packed == 0) return MRO_FAIL(e, MRO_EFORMAT, "'%s': has no PNG chunk IDAT, so no pixels", f->name);
    if (h->colour == PALETTE && h->palette == NULL)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': has no PNG chunk PLTE, the palette its pixels point into", f->name);
    return MRO_OK;
}

static unsigned stored_channels(const struct header *h)
{
    return h->colour == RGB ? 3 : h->colour == RGB_ALPHA ? 4 : h->colour == GREY_ALPHA ? 2 : 1;
}

/* Bytes of the pixels before packing, one filter byte per row; interlacing adds less than the second term. */
static uint64_t unpacked_bytes(const struct header *h)
{
    const uint64_t row = ((uint64_t)h->nx * stored_channels(h) * h->depth + 7) / 8 + 1;
    return row * h->ny; /* < 2^31 * 8 * 2^31 */
}

static enum mro_code png_open(struct mro_file *f, struct mro_error *e)
{
    struct header h = { 0 };
    MRO_TRY(walk_chunks(f, &h, e));
    if (unpacked_bytes(&h) / MAX_DEFLATE > h.packed)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': PNG chunk IHDR gives %zu x %zu pixels, more than %llu bytes of IDAT can hold", f->name,
                        h.nx, h.ny, (unsigned long long)h.packed);
    struct mro_image_info *info = mro_file_add_image(f);
    if (info == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for its description", f->name);
    const bool wide = h.depth == 16;
    info->axes = 2;
    info->axis[0].size = h.ny;
    info->axis[1].size = h.nx;
    if (h.colour == GREY || h.colour == GREY_ALPHA)
        info->dtype = wide ? MRO_U16 : MRO_U8;
    else if (h.colour == RGB_ALPHA)
        info->dtype = wide ? MRO_RGBA16 : MRO_RGBA8;
    else
        info->dtype = wide ? MRO_RGB16 : MRO_RGB8;
    if (h.colour == GREY_ALPHA || h.transparent)
        mro_file_warn(f, "'%s': the transparency of the PNG image is left out", f->name);
    if (h.animated) mro_file_warn(f, "'%s': only the still image of the animated PNG is read", f->name);
    if (h.depth < 8 && h.colour == GREY)
        mro_file_warn(f, "'%s': grey values of %u bits are scaled to 0 to 255", f->name, h.depth);
    return mro_file_seal_image(f, info, e);
}

/* Appends a chunk of n bytes, copied from `data` unless that is NULL; returns its end. */
static unsigned char *put_chunk(unsigned char *to, const char *type, const unsigned char *data, size_t n)
{
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(n >> (24 - 8 * i));
    memcpy(to + 4, type, 4);
    if (data != NULL) memcpy(to + 8, data, n);
    memset(to + 8 + n, 0, 4); /* no checksum: none is asked for */
    return to + n + 12;
}

/* stb_image gets a PNG of the chunks that matter and one IDAT: it then meets nothing that was not checked here (empty
 * chunks, among others, lead it to arithmetic on null pointers). */
static struct mro_bytes plain_png(struct mro_bytes b, const struct header *h, unsigned char *out)
{
    memcpy(out, b.p, sizeof signature);
    unsigned char *to = put_chunk(out + sizeof signature, "IHDR", b.p + 16, 13);
    if (h->palette != NULL && h->colour == PALETTE) to = put_chunk(to, "PLTE", h->palette, h->palette_bytes);
    unsigned char *data = to + 8;
    to = put_chunk(to, "IDAT", NULL, (size_t)h->packed);
    for (size_t pos = sizeof signature; memcmp(b.p + pos + 4, "IEND", 4) != 0;) {
        const size_t length = mro_get_u32(b.p + pos, true);
        if (memcmp(b.p + pos + 4, "IDAT", 4) == 0) {
            memcpy(data, b.p + pos + 8, length);
            data += length;
        }
        pos += length + 12;
    }
    to = put_chunk(to, "IEND", NULL, 0);
    return (struct mro_bytes){ out, (size_t)(to - out) };
}

static enum mro_code png_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    (void)frame; /* there is one */
    const struct mro_image_info *info = &f->info[image];
    const bool wide = info->dtype == MRO_U16 || info->dtype == MRO_RGB16 || info->dtype == MRO_RGBA16;
    const int channels = (int)(mro_dtype_size(info->dtype) / (wide ? 2 : 1));
    struct header h = { 0 };
    MRO_TRY(walk_chunks(f, &h, e));
    if (h.packed > INT_MAX / 2)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': PNG chunks IDAT hold %llu bytes, more than the %d that are read",
                        f->name, (unsigned long long)h.packed, INT_MAX / 2);
    const size_t size = (size_t)h.packed + h.palette_bytes + 64 + sizeof signature;
    unsigned char *plain = malloc(size);
    if (plain == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for %zu packed bytes", f->name, size);
    /* What an honest file takes: the packed bytes; the rows, with room to grow once; the pixels in three stages. A
     * stream that unpacks to more than its image stops there and not at the budget of the machine. */
    const uint64_t honest = 2 * h.packed + 3 * unpacked_bytes(&h) + 24 * (uint64_t)h.nx * h.ny + ((uint64_t)1 << 20);
    size_t budget = mro_stb_memory(f, info);
    budget = budget > size ? budget - size : 0;
    const enum mro_code rc = mro_stb_decode(f, plain_png(f->bytes, &h, plain), h.nx, h.ny, channels, wide,
                                            honest < budget ? (size_t)honest : budget, out, e);
    free(plain);
    return rc;
}

const struct mro_reader mro_reader_png = { .name = "PNG", .probe = png_probe, .open = png_open, .read = png_read };

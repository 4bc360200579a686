/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JPEG, baseline and progressive. The markers are walked here, to the end of the image: stb_image, which unpacks, fills
 * up a cut scan with grey and calls it a success. */
#include "io/stb.h"

enum {
    SOI = 0xd8,
    EOI = 0xd9,
    SOS = 0xda,
    SOF0 = 0xc0,
    DHT = 0xc4,
    JPG = 0xc8,
    DAC = 0xcc,
    SOF15 = 0xcf,
    RST0 = 0xd0,
    RST7 = 0xd7
};

/* A progressive image is sent in about ten scans; each of many thousand would be a full pass over the picture. */
#define MAX_SCANS 200

struct header {
    size_t nx, ny;
    unsigned components;
    bool found;
};

static bool jpeg_probe(struct mro_bytes b) { return b.size >= 3 && b.p[0] == 0xff && b.p[1] == SOI && b.p[2] == 0xff; }

static enum mro_code read_frame(const struct mro_file *f, unsigned marker, const unsigned char *p, size_t length,
                                struct header *h, struct mro_error *e)
{
    if (marker > SOF0 + 2)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': JPEG coding SOF%u is not read (baseline and progressive are)", f->name,
                        marker - SOF0);
    if (h->found)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': has a second JPEG frame header (SOF%u)", f->name, marker - SOF0);
    if (length < 6 || length != 6 + 3 * (size_t)p[5])
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': JPEG frame header SOF%u has %zu bytes, which is no length of one",
                        f->name, marker - SOF0, length);
    h->ny = mro_get_u16(p + 1, true);
    h->nx = mro_get_u16(p + 3, true);
    h->components = p[5];
    h->found = true;
    if (p[0] != 8)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': JPEG of %u bits per sample is not read (8 are)", f->name, p[0]);
    if (h->nx == 0 || h->ny == 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': JPEG frame header SOF%u gives %zu x %zu pixels", f->name, marker - SOF0,
                        h->nx, h->ny);
    if (h->components != 1 && h->components != 3 && h->components != 4)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': JPEG of %u components is not read (1, 3 and 4 are)", f->name,
                        h->components);
    return MRO_OK;
}

/* Huffman tables: stb_image counts their codes only after it has written them to an array of 256. */
static enum mro_code check_codes(const struct mro_file *f, const unsigned char *p, size_t length, struct mro_error *e)
{
    while (length > 0) {
        size_t codes = 0;
        for (size_t i = 1; i <= 16 && i < length; i++) codes += p[i];
        if (length < 17 || codes > 256 || codes > length - 17)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': a JPEG Huffman table (DHT) of %zu codes does not fit its %zu bytes",
                            f->name, codes, length);
        p += 17 + codes;
        length -= 17 + codes;
    }
    return MRO_OK;
}

/* First byte after the coded data at `pos`: a marker that is neither a stuffed 0 nor a restart. */
static size_t skip_scan(struct mro_bytes b, size_t pos)
{
    while (b.size - pos >= 2) {
        const unsigned next = b.p[pos + 1];
        if (b.p[pos] == 0xff && next != 0 && next != 0xff && !(next >= RST0 && next <= RST7)) return pos;
        pos++;
    }
    return b.size;
}

static enum mro_code walk_markers(const struct mro_file *f, struct header *h, struct mro_error *e)
{
    const struct mro_bytes b = f->bytes;
    unsigned scans = 0;
    size_t pos = 2;
    while (true) {
        while (pos < b.size && b.p[pos] != 0xff) pos++; /* padding that some writers leave */
        while (pos < b.size && b.p[pos] == 0xff) pos++;
        if (pos >= b.size)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut at byte %zu, before the end marker (EOI) of the JPEG image",
                            f->name, b.size);
        const unsigned marker = b.p[pos++];
        if (marker == EOI) break;
        if (marker <= 1 || (marker >= RST0 && marker <= SOI)) continue; /* no length follows */
        const size_t length = b.size - pos >= 2 ? mro_get_u16(b.p + pos, true) : 0;
        if (length < 2 || length > b.size - pos)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': JPEG marker %02x at byte %zu says %zu bytes, but %zu follow",
                            f->name, marker, pos - 1, length, b.size - pos);
        if (marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != JPG && marker != DAC)
            MRO_TRY(read_frame(f, marker, b.p + pos + 2, length - 2, h, e));
        if (marker == DHT) MRO_TRY(check_codes(f, b.p + pos + 2, length - 2, e));
        pos += length;
        if (marker != SOS) continue;
        if (!h->found) return MRO_FAIL(e, MRO_EFORMAT, "'%s': a JPEG scan comes before the frame header", f->name);
        if (++scans > MAX_SCANS)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': has more than %d JPEG scans", f->name, MAX_SCANS);
        pos = skip_scan(b, pos);
    }
    if (scans == 0) return MRO_FAIL(e, MRO_EFORMAT, "'%s': the JPEG image has no scan, so no pixels", f->name);
    return MRO_OK;
}

static enum mro_code jpeg_open(struct mro_file *f, struct mro_error *e)
{
    struct header h = { 0 };
    MRO_TRY(walk_markers(f, &h, e));
    /* Every block of 8 x 8 pixels takes at least one bit. */
    if (h.nx * h.ny / 512 > f->bytes.size)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': JPEG frame header gives %zu x %zu pixels, more than a file of %zu bytes can hold",
                        f->name, h.nx, h.ny, f->bytes.size);
    struct mro_image_info *info = mro_file_add_image(f);
    if (info == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for its description", f->name);
    info->axes = 2;
    info->axis[0].size = h.ny;
    info->axis[1].size = h.nx;
    info->dtype = h.components == 1 ? MRO_U8 : MRO_RGB8;
    mro_file_warn(
        f, "'%s': JPEG leaves out fine detail and adds blocks of 8 x 8 pixels; measure the original if there is one",
        f->name);
    return mro_file_seal_image(f, info, e);
}

static enum mro_code jpeg_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    (void)frame; /* there is one */
    const struct mro_image_info *info = &f->info[image];
    return mro_stb_decode(f, f->bytes, info->axis[1].size, info->axis[0].size, (int)mro_dtype_size(info->dtype), false,
                          mro_stb_memory(f, info), out, e);
}

const struct mro_reader mro_reader_jpeg = { .name = "JPEG", .probe = jpeg_probe, .open = jpeg_open, .read = jpeg_read };

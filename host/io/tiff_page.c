/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a page of a TIFF file says of its pixels: their kind, where they lie, and whether that can be. */
#include "io/tiff_page.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MOST_SHARED 16 /* times that the pages may take the bytes of the file */

struct mro_tiff_dir mro_tiff_directory(const struct mro_tiff *t, uint64_t ifd)
{
    return (struct mro_tiff_dir){ t->f->bytes, t->big_endian, t->big_tiff, ifd };
}

static const char *compression_name(uint16_t compression)
{
    const TIFFCodec *codec = TIFFFindCODEC(compression);
    return codec ? codec->name : "an unknown method";
}

/* How many bytes of pixels one byte of the file can stand for, at most; 0 = not read. */
static uint64_t largest_ratio(uint16_t compression)
{
    switch (compression) {
    case COMPRESSION_NONE: return 1;
    case COMPRESSION_PACKBITS: return 64; /* two bytes make 128 */
    case COMPRESSION_DEFLATE:             /* a match of 258 bytes takes two bits */
    case COMPRESSION_ADOBE_DEFLATE: return 1033;
    case COMPRESSION_LZW: return 1400; /* strings grow by one up to 4093 bytes, 12 bits each */
    default: return 0;
    }
}

static bool find_dtype(uint16_t format, uint16_t bits, enum mro_dtype *dtype)
{
    static const struct {
        uint16_t format, bits;
        enum mro_dtype dtype;
    } known[] = {
        { SAMPLEFORMAT_UINT, 8, MRO_U8 },
        { SAMPLEFORMAT_UINT, 16, MRO_U16 },
        { SAMPLEFORMAT_UINT, 32, MRO_U32 },
        { SAMPLEFORMAT_UINT, 64, MRO_U64 },
        { SAMPLEFORMAT_INT, 8, MRO_I8 },
        { SAMPLEFORMAT_INT, 16, MRO_I16 },
        { SAMPLEFORMAT_INT, 32, MRO_I32 },
        { SAMPLEFORMAT_INT, 64, MRO_I64 },
        { SAMPLEFORMAT_IEEEFP, 16, MRO_F16 },
        { SAMPLEFORMAT_IEEEFP, 32, MRO_F32 },
        { SAMPLEFORMAT_IEEEFP, 64, MRO_F64 },
        { SAMPLEFORMAT_COMPLEXIEEEFP, 64, MRO_C64 },
        { SAMPLEFORMAT_COMPLEXIEEEFP, 128, MRO_C128 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].format == format && known[i].bits == bits) {
            *dtype = known[i].dtype;
            return true;
        }
    }
    return false;
}

/* Programs such as ImageJ store measured values with a palette for display. The indices are values when
 * they come from ImageJ or a microscope, which colour only what is drawn over the image, or when the palette gets
 * brighter from one to the next. */
static bool palette_is_display(struct mro_tiff *t, uint16_t bits)
{
    uint16_t *r, *g, *b;
    const struct mro_tiff_dir d = mro_tiff_directory(t, TIFFCurrentDirOffset(t->tif));
    if (mro_tiff_is_imagej(t->description) || mro_tiff_has_vendor(&d)) return true;
    if (bits > 16 || !TIFFGetField(t->tif, TIFFTAG_COLORMAP, &r, &g, &b)) return false;
    double last = -1;
    for (size_t i = 0; i < (size_t)1 << bits; i++) {
        const double y = 0.299 * r[i] + 0.587 * g[i] + 0.114 * b[i];
        if (y < last) return false;
        last = y;
    }
    return true;
}

enum mro_code mro_tiff_read_layout(struct mro_tiff *t, size_t number, struct mro_tiff_layout *l, struct mro_error *e)
{
    TIFF *tif = t->tif;
    const char *name = t->f->name;
    uint16_t compression, orientation, n_extra = 0, *extra = NULL;
    memset(l, 0, sizeof *l);
    l->photometric = PHOTOMETRIC_MINISBLACK;
    TIFFGetField(tif, TIFFTAG_IMAGEWIDTH, &l->nx);
    TIFFGetField(tif, TIFFTAG_IMAGELENGTH, &l->ny);
    TIFFGetFieldDefaulted(tif, TIFFTAG_BITSPERSAMPLE, &l->bits);
    TIFFGetFieldDefaulted(tif, TIFFTAG_SAMPLESPERPIXEL, &l->samples);
    TIFFGetFieldDefaulted(tif, TIFFTAG_SAMPLEFORMAT, &l->format);
    TIFFGetFieldDefaulted(tif, TIFFTAG_PLANARCONFIG, &l->planar);
    TIFFGetFieldDefaulted(tif, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(tif, TIFFTAG_ORIENTATION, &orientation);
    TIFFGetFieldDefaulted(tif, TIFFTAG_EXTRASAMPLES, &n_extra, &extra);
    TIFFGetField(tif, TIFFTAG_PHOTOMETRIC, &l->photometric);

    if (l->nx == 0 || l->ny == 0 || l->samples == 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu declares %" PRIu32 " x %" PRIu32 " pixels of %u samples", name,
                        number, l->nx, l->ny, l->samples);
    if (largest_ratio(compression) == 0)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': page %zu is compressed with %s (%u), which is not read; save it uncompressed or with "
                        "LZW, deflate or PackBits",
                        name, number, compression_name(compression), compression);
    if (l->format == SAMPLEFORMAT_VOID) l->format = SAMPLEFORMAT_UINT;
    if (!find_dtype(l->format, l->bits, &l->dtype))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu has samples of %u bits in format %u, which is not read", name,
                        number, l->bits, l->format);
    if (l->planar != PLANARCONFIG_CONTIG && l->planar != PLANARCONFIG_SEPARATE)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu has PlanarConfiguration %u", name, number, l->planar);
    if (l->samples == 1) l->planar = PLANARCONFIG_CONTIG; /* one plane either way */

    l->channels = l->samples;
    switch (l->photometric) {
    case PHOTOMETRIC_MINISWHITE:
        mro_file_warn(t->f, "'%s' stores white as 0: values are kept as stored, so that bright and dark are exchanged",
                      name);
        break;
    case PHOTOMETRIC_PALETTE:
        if (!palette_is_display(t, l->bits))
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s': page %zu has palette colours whose index is no brightness; save it in grey", name,
                            number);
        mro_file_warn(t->f, "'%s' has a colour palette: the stored index is taken as the value", name);
        break;
    case PHOTOMETRIC_RGB:
        if (l->format == SAMPLEFORMAT_UINT && l->bits <= 16 && (l->samples == 3 || l->samples == 4)) {
            const bool wide = l->bits == 16;
            l->dtype = l->samples == 3 ? (wide ? MRO_RGB16 : MRO_RGB8) : (wide ? MRO_RGBA16 : MRO_RGBA8);
            l->channels = 1;
        }
        break;
    case PHOTOMETRIC_MINISBLACK: break;
    default:
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu has photometric interpretation %u, which is not read", name,
                        number, l->photometric);
    }
    if (l->channels == 2 && n_extra == 1 &&
        (extra[0] == EXTRASAMPLE_ASSOCALPHA || extra[0] == EXTRASAMPLE_UNASSALPHA)) {
        mro_file_warn(t->f, "'%s' has an alpha channel, which is passed over", name);
        l->channels = 1;
    } else if (l->channels > 1) {
        mro_file_warn(t->f, "'%s' has %u channels of %s: they are read as frames", name, l->channels,
                      mro_dtype_name(l->dtype));
    }
    if (orientation != ORIENTATION_TOPLEFT)
        mro_file_warn(t->f, "'%s' asks to be turned for display (orientation %u): rows and columns are kept as stored",
                      name, orientation);
    return MRO_OK;
}

size_t mro_tiff_pixel_bytes(const struct mro_tiff_layout *l)
{
    return (size_t)l->bits / 8 * (l->planar == PLANARCONFIG_SEPARATE ? 1 : l->samples);
}

size_t mro_tiff_planes(const struct mro_tiff_layout *l) { return l->planar == PLANARCONFIG_SEPARATE ? l->samples : 1; }

enum mro_code mro_tiff_read_pieces(struct mro_tiff *t, size_t number, const struct mro_tiff_layout *l,
                                   struct mro_tiff_pieces *s, struct mro_error *e)
{
    memset(s, 0, sizeof *s);
    s->tiled = TIFFIsTiled(t->tif) != 0;
    if (s->tiled) {
        TIFFGetField(t->tif, TIFFTAG_TILEWIDTH, &s->nx);
        TIFFGetField(t->tif, TIFFTAG_TILELENGTH, &s->ny);
    } else {
        s->nx = l->nx;
        TIFFGetFieldDefaulted(t->tif, TIFFTAG_ROWSPERSTRIP, &s->ny);
        if (s->ny > l->ny) s->ny = l->ny;
        const struct mro_tiff_dir d = mro_tiff_directory(t, TIFFCurrentDirOffset(t->tif));
        struct mro_tiff_value v;
        if (mro_tiff_find(&d, TIFFTAG_ROWSPERSTRIP, &v) && mro_tiff_number(&v, 0) == 0)
            s->ny = 0; /* libtiff takes it for one strip; such a header is not to be believed */
    }
    if (s->nx == 0 || s->ny == 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu has %s of %" PRIu32 " x %" PRIu32 " pixels", t->f->name, number,
                        s->tiled ? "tiles" : "strips", s->nx, s->ny);
    if (__builtin_mul_overflow((size_t)s->nx * s->ny, mro_tiff_pixel_bytes(l), &s->bytes))
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': page %zu has pieces of %" PRIu32 " x %" PRIu32 " pixels, more than can be addressed",
                        t->f->name, number, s->nx, s->ny);
    s->across = ((uint64_t)l->nx + s->nx - 1) / s->nx;
    s->down = ((uint64_t)l->ny + s->ny - 1) / s->ny;
    return MRO_OK;
}

size_t mro_tiff_piece_bytes(const struct mro_tiff_pieces *s, const struct mro_tiff_layout *l, uint64_t i)
{
    if (s->tiled) return s->bytes;
    const uint64_t rows = l->ny - i * s->ny < s->ny ? l->ny - i * s->ny : s->ny;
    return (size_t)(rows * s->nx * mro_tiff_pixel_bytes(l));
}

enum mro_code mro_tiff_check_extent(struct mro_tiff *t, size_t number, const struct mro_tiff_layout *l, uint64_t *data,
                                    struct mro_error *e)
{
    const char *name = t->f->name;
    const uint64_t size = t->f->bytes.size;
    uint16_t compression, fill;
    struct mro_tiff_pieces s;
    uint64_t *offset = NULL, *count = NULL, all;
    TIFFGetFieldDefaulted(t->tif, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(t->tif, TIFFTAG_FILLORDER, &fill);
    const uint64_t ratio = largest_ratio(compression);
    const size_t pixel = mro_tiff_pixel_bytes(l);
    MRO_TRY(mro_tiff_read_pieces(t, number, l, &s, e));
    if (__builtin_mul_overflow((uint64_t)l->nx * l->ny, (uint64_t)pixel * mro_tiff_planes(l), &all) ||
        all / ratio > size)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': page %zu declares %" PRIu32 " x %" PRIu32 " pixels, more than the %" PRIu64
                        " bytes of the file can hold: it is cut or damaged",
                        name, number, l->nx, l->ny, size);
    if (all > t->f->memory_bytes)
        return MRO_FAIL(e, MRO_EMEMORY,
                        "page %zu of '%s' needs %.0f MiB, the memory budget is %.0f MiB; give a larger `memory`",
                        number, name, ceil((double)all / 1048576), floor((double)t->f->memory_bytes / 1048576));
    TIFFGetField(t->tif, s.tiled ? TIFFTAG_TILEOFFSETS : TIFFTAG_STRIPOFFSETS, &offset);
    TIFFGetField(t->tif, s.tiled ? TIFFTAG_TILEBYTECOUNTS : TIFFTAG_STRIPBYTECOUNTS, &count);
    const uint64_t per_plane = s.across * s.down, n = s.tiled ? TIFFNumberOfTiles(t->tif) : TIFFNumberOfStrips(t->tif);
    if (offset == NULL || count == NULL || n != per_plane * mro_tiff_planes(l))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu does not say where its pixels are", name, number);

    /* Pages that share a table of strips, or the strips themselves, make an hour's work of a small file. */
    t->pieces += n;
    if (t->pieces > size)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': its pages up to %zu declare %" PRIu64 " strips or tiles, more than a file of %" PRIu64
                        " bytes can hold",
                        name, number, t->pieces, size);
    const char *piece = s.tiled ? "tile" : "strip";
    bool contiguous =
        compression == COMPRESSION_NONE && !s.tiled && mro_tiff_planes(l) == 1 && fill != FILLORDER_LSB2MSB;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t want = mro_tiff_piece_bytes(&s, l, i % per_plane);
        const uint64_t need = compression == COMPRESSION_NONE ? want : count[i];
        if (count[i] == 0 || offset[i] == 0)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': %s %" PRIu64 " of page %zu holds no data", name, piece, i, number);
        if (offset[i] > size || size - offset[i] < need)
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s' is cut: %s %" PRIu64 " of page %zu needs %" PRIu64 " bytes from byte %" PRIu64
                            ", the file ends at byte %" PRIu64,
                            name, piece, i, number, need, offset[i], size);
        if (want / ratio > count[i])
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s': %s %" PRIu64 " of page %zu has %" PRIu64 " bytes, too few for %" PRIu64
                            " bytes of pixels",
                            name, piece, i, number, count[i], want);
        if (compression != COMPRESSION_NONE && count[i] > 2 * want + 4096)
            mro_file_warn(t->f,
                          "'%s': %s %" PRIu64 " of page %zu has %" PRIu64 " bytes for %" PRIu64
                          " bytes of pixels; what is "
                          "left over is not read",
                          name, piece, i, number, count[i], want);
        if (i && offset[i] != offset[i - 1] + mro_tiff_piece_bytes(&s, l, i - 1)) contiguous = false;
        t->stored += need;
        if (t->stored / MOST_SHARED > size)
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s': its pages up to %zu lie over each other: they take more than %d times the %" PRIu64
                            " bytes of the file",
                            name, number, MOST_SHARED, size);
    }
    *data = contiguous ? offset[0] : 0;
    const bool complex_pixels = l->dtype == MRO_C64 || l->dtype == MRO_C128;
    if (complex_pixels && !contiguous && TIFFIsByteSwapped(t->tif))
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': page %zu has complex pixels, compressed, in foreign byte order, which is not read", name,
                        number);
    return MRO_OK;
}

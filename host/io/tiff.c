/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TIFF through libtiff, with three things of our own: pixels that lie in the file as they are come
 * straight from the mapping, LZW and deflate are decoded in one go (and by libtiff when that fails, for it
 * knows what else there is, and says what is wrong), and every size that a header claims is held against the bytes that
 * are there before memory is asked for. Pages of one shape and type that follow each other are the frames of one image.
 * What the tags say of calibration and microscope is read in tiff_meta.c. Sources: TIFF 6.0 (1992), BigTIFF (Aware
 * Systems), ImageJ's TiffDecoder for its stacks of one directory. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include "io/deflate.h"
#include "io/lzw.h"
#include "io/tiff_meta.h"

/* What must agree between the pages of one image. */
struct layout {
    uint32_t nx, ny;
    uint16_t bits, samples, format, photometric, planar;
    enum mro_dtype dtype;
    uint16_t channels; /* samples handed out as frames of their own; 1: the page is one frame */
};

struct page {
    uint64_t ifd;  /* offset of its directory */
    uint64_t data; /* offset of its pixels when they lie there as they are; 0 = they must be decoded */
    size_t number; /* in the file, from 1: pages may have been passed over before it */
};

struct series {
    struct layout l;
    size_t first, pages;
    size_t stack; /* > 1: ImageJ wrote one directory for so many images that follow each other */
};

/* One handle of libtiff on the bytes of the file: a thread that decodes has its own. */
struct client {
    struct mro_file *f;
    TIFF *tif;
    uint64_t position;  /* of the read calls of libtiff */
    char sentence[256]; /* first complaint of libtiff since it was emptied */
    bool silent;        /* warnings are kept, not given: several handles would give them in any order */
    char warning[256];  /* the first kept */
};

enum {
    MOST_HELPERS = 15,
    MOST_SHARED = 16 /* times that the pages may take the bytes of the file */
};

struct tiff {
    struct mro_file *f;
    TIFF *tif; /* main.tif */
    struct client main, *helper[MOST_HELPERS];
    bool big_endian, big_tiff;
    struct page *pages;
    size_t n_pages;
    struct series *series;
    size_t n_series;
    uint64_t pieces, stored; /* strips and tiles of all pages, and the bytes they take */
    char *description;       /* of the first page; NULL = none */
};

/* ---------------------------------------------------------------- libtiff's view of the bytes */

static tmsize_t client_read(thandle_t handle, void *out, tmsize_t n)
{
    struct client *t = handle;
    const uint64_t size = t->f->bytes.size, left = t->position < size ? size - t->position : 0;
    if (n < 0) return -1;
    const uint64_t take = (uint64_t)n < left ? (uint64_t)n : left;
    if (take) memcpy(out, t->f->bytes.p + t->position, take);
    t->position += take;
    return (tmsize_t)take;
}

static tmsize_t client_write(thandle_t handle, void *p, tmsize_t n)
{
    (void)handle, (void)p, (void)n;
    return -1;
}

static toff_t client_seek(thandle_t handle, toff_t offset, int whence)
{
    struct client *t = handle;
    if (whence == SEEK_SET) t->position = offset;
    if (whence == SEEK_CUR) t->position += offset;
    if (whence == SEEK_END) t->position = t->f->bytes.size + offset;
    return t->position;
}

static int client_close(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t client_size(thandle_t handle) { return ((struct client *)handle)->f->bytes.size; }

static int client_map(thandle_t handle, void **base, toff_t *size)
{
    struct client *t = handle;
    *base = (void *)(uintptr_t)t->f->bytes.p; /* libtiff only reads what it maps for reading */
    *size = t->f->bytes.size;
    return 1;
}

static void client_unmap(thandle_t handle, void *base, toff_t size) { (void)handle, (void)base, (void)size; }

/* libtiff's sentence without the file name that some of them begin with, and without the full stop. */
static void take_sentence(const struct client *t, char *out, size_t room, const char *format, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    const size_t name = strlen(t->f->name);
    const char *s = strncmp(text, t->f->name, name) == 0 && strncmp(text + name, ": ", 2) == 0 ? text + name + 2 : text;
    snprintf(out, room, "%.*s", (int)room - 1, s);
    const size_t n = strlen(out);
    if (n && out[n - 1] == '.') out[n - 1] = '\0';
}

static int on_error(TIFF *tif, void *user, const char *module, const char *format, va_list args)
{
    struct client *t = user;
    (void)tif, (void)module;
    if (t->sentence[0] == '\0') take_sentence(t, t->sentence, sizeof t->sentence, format, args);
    return 1; /* nothing is printed */
}

static int on_warning(TIFF *tif, void *user, const char *module, const char *format, va_list args)
{
    struct client *t = user;
    char text[256];
    (void)tif, (void)module;
    take_sentence(t, text, sizeof text, format, args);
    /* Vendors keep their metadata in tags of their own, and texts with their closing zeros, or without one:
     * nothing is wrong with that. */
    if (strncmp(text, "Unknown field with tag", 22) == 0 || strstr(text, "contains null byte in value") ||
        (strncmp(text, "ASCII value for tag", 19) == 0 && strstr(text, "does not end in null byte")))
        return 1;
    if (!t->silent)
        mro_file_warn(t->f, "'%s': %s", t->f->name, text);
    else if (t->warning[0] == '\0')
        memcpy(t->warning, text, sizeof text);
    return 1;
}

static const char *sentence(const struct client *t) { return t->sentence[0] ? t->sentence : "libtiff gives no reason"; }

static struct mro_tiff_dir directory(const struct tiff *t, uint64_t ifd)
{
    return (struct mro_tiff_dir){ t->f->bytes, t->big_endian, t->big_tiff, ifd };
}

/* ---------------------------------------------------------------- one page */

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
static bool palette_is_display(struct tiff *t, uint16_t bits)
{
    uint16_t *r, *g, *b;
    const struct mro_tiff_dir d = directory(t, TIFFCurrentDirOffset(t->tif));
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

/* Reads what kind of pixels the current page has. On failure the page may be passed over. */
static enum mro_code read_layout(struct tiff *t, size_t number, struct layout *l, struct mro_error *e)
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

/* Bytes of one pixel in the planes of the file, and how many planes there are. */
static size_t plane_pixel_bytes(const struct layout *l)
{
    return (size_t)l->bits / 8 * (l->planar == PLANARCONFIG_SEPARATE ? 1 : l->samples);
}

static size_t planes(const struct layout *l) { return l->planar == PLANARCONFIG_SEPARATE ? l->samples : 1; }

/* Geometry of the pieces (strips or tiles) of the current page. */
struct pieces {
    bool tiled;
    uint32_t nx, ny;       /* pixels of one piece */
    uint64_t across, down; /* pieces of one plane */
    size_t bytes;          /* of one whole piece, decoded */
};

static enum mro_code read_pieces(struct tiff *t, size_t number, const struct layout *l, struct pieces *s,
                                 struct mro_error *e)
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
        const struct mro_tiff_dir d = directory(t, TIFFCurrentDirOffset(t->tif));
        struct mro_tiff_value v;
        if (mro_tiff_find(&d, TIFFTAG_ROWSPERSTRIP, &v) && mro_tiff_number(&v, 0) == 0)
            s->ny = 0; /* libtiff takes it for one strip; such a header is not to be believed */
    }
    if (s->nx == 0 || s->ny == 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu has %s of %" PRIu32 " x %" PRIu32 " pixels", t->f->name, number,
                        s->tiled ? "tiles" : "strips", s->nx, s->ny);
    if (__builtin_mul_overflow((size_t)s->nx * s->ny, plane_pixel_bytes(l), &s->bytes))
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': page %zu has pieces of %" PRIu32 " x %" PRIu32 " pixels, more than can be addressed",
                        t->f->name, number, s->nx, s->ny);
    s->across = ((uint64_t)l->nx + s->nx - 1) / s->nx;
    s->down = ((uint64_t)l->ny + s->ny - 1) / s->ny;
    return MRO_OK;
}

/* Bytes that piece i of a plane decodes to: the last strip may be short, tiles never are. */
static size_t piece_bytes(const struct pieces *s, const struct layout *l, uint64_t i)
{
    if (s->tiled) return s->bytes;
    const uint64_t rows = l->ny - i * s->ny < s->ny ? l->ny - i * s->ny : s->ny;
    return (size_t)(rows * s->nx * plane_pixel_bytes(l));
}

/* Holds the sizes of the current page against the file, and finds pixels that lie there as they are.
 * Failures here mean a cut or lying file, which is refused as a whole. */
static enum mro_code check_extent(struct tiff *t, size_t number, const struct layout *l, struct page *page,
                                  struct mro_error *e)
{
    const char *name = t->f->name;
    const uint64_t size = t->f->bytes.size;
    uint16_t compression, fill;
    struct pieces s;
    uint64_t *offset = NULL, *count = NULL, all;
    TIFFGetFieldDefaulted(t->tif, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(t->tif, TIFFTAG_FILLORDER, &fill);
    const uint64_t ratio = largest_ratio(compression);
    const size_t pixel = plane_pixel_bytes(l);
    MRO_TRY(read_pieces(t, number, l, &s, e));
    if (__builtin_mul_overflow((uint64_t)l->nx * l->ny, (uint64_t)pixel * planes(l), &all) || all / ratio > size)
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
    if (offset == NULL || count == NULL || n != per_plane * planes(l))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu does not say where its pixels are", name, number);

    /* Pages that share a table of strips, or the strips themselves, make an hour's work of a small file. */
    t->pieces += n;
    if (t->pieces > size)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': its pages up to %zu declare %" PRIu64 " strips or tiles, more than a file of %" PRIu64
                        " bytes can hold",
                        name, number, t->pieces, size);
    const char *piece = s.tiled ? "tile" : "strip";
    bool contiguous = compression == COMPRESSION_NONE && !s.tiled && planes(l) == 1 && fill != FILLORDER_LSB2MSB;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t want = piece_bytes(&s, l, i % per_plane);
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
        if (i && offset[i] != offset[i - 1] + piece_bytes(&s, l, i - 1)) contiguous = false;
        t->stored += need;
        if (t->stored / MOST_SHARED > size)
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s': its pages up to %zu lie over each other: they take more than %d times the %" PRIu64
                            " bytes of the file",
                            name, number, MOST_SHARED, size);
    }
    page->data = contiguous ? offset[0] : 0;
    const bool complex_pixels = l->dtype == MRO_C64 || l->dtype == MRO_C128;
    if (complex_pixels && !contiguous && TIFFIsByteSwapped(t->tif))
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': page %zu has complex pixels, compressed, in foreign byte order, which is not read", name,
                        number);
    return MRO_OK;
}

/* ---------------------------------------------------------------- decoding */

static enum mro_code no_memory(const struct mro_file *f, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EMEMORY, "no memory for the directory of '%s'", f->name);
}

/* Opens one handle on the bytes; its first directory is the current one. */
static enum mro_code open_client(struct client *c, struct mro_error *e)
{
    struct mro_file *f = c->f;
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options == NULL) return no_memory(f, e);
    /* What libtiff allocates by itself are the tables of strips (entries of at least 2 bytes in the file
     * become 8) and the state of decoders: nothing much larger than the file. */
    uint64_t most = f->bytes.size / 4 < SIZE_MAX / 64 ? (uint64_t)f->bytes.size * 4 + (16 << 20) : f->bytes.size;
    if (most > f->memory_bytes) most = f->memory_bytes;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, most > PTRDIFF_MAX ? PTRDIFF_MAX : (tmsize_t)most);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, c);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, c);
    /* c: strips stay as the file has them. */
    c->tif = TIFFClientOpenExt(f->name, "rc", c, client_read, client_write, client_seek, client_close, client_size,
                               client_map, client_unmap, options);
    TIFFOpenOptionsFree(options);
    if (c->tif == NULL)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s' is no TIFF file that can be read: %s", f->name, sentence(c));
    return MRO_OK;
}

/* A handle for another thread, on the page at `ifd`; NULL when there is no memory for it, and then fewer decode. */
static struct client *helper(struct tiff *t, int i, uint64_t ifd)
{
    struct mro_error ignored;
    if (t->helper[i] == NULL) {
        struct client *c = calloc(1, sizeof *c);
        if (c == NULL) return NULL;
        c->f = t->f;
        c->silent = true;
        if (open_client(c, &ignored) != MRO_OK) {
            free(c);
            return NULL;
        }
        t->helper[i] = c;
    }
    struct client *c = t->helper[i];
    if (TIFFCurrentDirOffset(c->tif) != ifd && !TIFFSetSubDirectory(c->tif, ifd)) return NULL;
    return c;
}

/* What the threads that decode a plane share. */
struct plane_job {
    const struct layout *l;
    struct pieces s;
    size_t plane, first_index; /* number of its first piece in the page */
    unsigned char *out;
    uint16_t compression, predictor, fill;
    const uint64_t *offset, *count; /* of every piece of the page */
};

/* Of one thread, for the compression of the plane; NULL: libtiff decodes. */
struct decoder {
    struct mro_inflater *inflater;
    struct mro_lzw *lzw;
};

static struct decoder new_decoder(const struct plane_job *j)
{
    struct decoder d = { NULL, NULL };
    /* Floating-point differences, complex numbers and bytes with their lowest bit first are libtiff's. */
    if (j->predictor > 2 || j->fill != FILLORDER_MSB2LSB || j->l->format == SAMPLEFORMAT_COMPLEXIEEEFP) return d;
    if (j->compression == COMPRESSION_DEFLATE || j->compression == COMPRESSION_ADOBE_DEFLATE)
        d.inflater = mro_inflater_new();
    if (j->compression == COMPRESSION_LZW) d.lzw = mro_lzw_new();
    return d;
}

static void free_decoder(struct decoder *d)
{
    mro_inflater_free(d->inflater);
    mro_lzw_free(d->lzw);
}

/* Turns the bytes of n samples and undoes their horizontal differences, each sample being stored as what it is more
 * than the one `step` before it. */
#define UNDO(bits, swap)                                                        \
    do {                                                                        \
        uint##bits##_t v, sum = 0;                                              \
        unsigned char *p = row;                                                 \
        for (size_t x = 0; x < n; x++, p += bits / 8) {                         \
            memcpy(&v, p, sizeof v);                                            \
            if (foreign) v = (uint##bits##_t)swap(v);                           \
            if (predict && step > 1) {                                          \
                sum = 0;                                                        \
                if (x >= step) memcpy(&sum, p - step * (bits / 8), sizeof sum); \
            }                                                                   \
            if (predict) v = sum = (uint##bits##_t)(sum + v);                   \
            memcpy(p, &v, sizeof v);                                            \
        }                                                                       \
    } while (0)
#define KEEP(v) (v)

static void undo_row(unsigned char *row, size_t n, size_t step, unsigned bits, bool foreign, bool predict)
{
    switch (bits) {
    case 8: UNDO(8, KEEP); break;
    case 16: UNDO(16, __builtin_bswap16); break;
    case 32: UNDO(32, __builtin_bswap32); break;
    default: UNDO(64, __builtin_bswap64); break;
    }
}

/* Decodes a piece by our own means. False: it is no plain stream of just the right length, or there are none. */
static bool decode(const struct tiff *t, const struct plane_job *j, const struct decoder *d, uint64_t index,
                   unsigned char *out, size_t want)
{
    const struct layout *l = j->l;
    const bool foreign = t->big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__), predict = j->predictor == 2;
    if (j->offset[index] > t->f->bytes.size || t->f->bytes.size - j->offset[index] < j->count[index]) return false;
    const unsigned char *in = t->f->bytes.p + j->offset[index];
    const size_t bytes = (size_t)j->count[index];
    if (!(d->inflater && mro_inflate(d->inflater, out, want, in, bytes)) &&
        !(d->lzw && mro_lzw_decode(d->lzw, out, want, in, bytes)))
        return false;
    if (!predict && (!foreign || l->bits == 8)) return true;
    const size_t step = l->planar == PLANARCONFIG_SEPARATE ? 1 : l->samples, n = j->s.nx * step, row = n * l->bits / 8;
    for (size_t y = 0; y < want / row; y++) undo_row(out + y * row, n, step, l->bits, foreign, predict);
    return true;
}

/* Decodes piece i of the plane with the handle of this thread; `tile` is room for one. False: c->sentence says why. */
static bool decode_piece(const struct tiff *t, const struct plane_job *j, struct client *c, const struct decoder *d,
                         uint64_t i, unsigned char *tile)
{
    const struct pieces *s = &j->s;
    const struct layout *l = j->l;
    const size_t pixel = plane_pixel_bytes(l), row = pixel * l->nx, want = piece_bytes(s, l, i);
    const uint64_t index = j->first_index + i, y0 = i / s->across * s->ny, x0 = i % s->across * s->nx;
    unsigned char *to = s->tiled ? tile : j->out + y0 * row;
    if (!decode(t, j, d, index, to, want)) {
        const tmsize_t got = s->tiled ? TIFFReadEncodedTile(c->tif, (uint32_t)index, to, (tmsize_t)want)
                                      : TIFFReadEncodedStrip(c->tif, (uint32_t)index, to, (tmsize_t)want);
        if (got != (tmsize_t)want) return false;
    }
    if (!s->tiled) return true;
    const size_t columns = l->nx - x0 < s->nx ? l->nx - x0 : s->nx, rows = l->ny - y0 < s->ny ? l->ny - y0 : s->ny;
    for (size_t y = 0; y < rows; y++)
        memcpy(j->out + (y0 + y) * row + x0 * pixel, tile + y * s->nx * pixel, columns * pixel);
    return true;
}

/* Decodes one plane of the current page to ny rows of nx pixels of plane_pixel_bytes, its pieces shared among the
 * threads. What is said of it does not depend on them: the first piece in order speaks. */
static enum mro_code read_plane(struct tiff *t, size_t number, const struct layout *l, size_t plane, unsigned char *out,
                                struct mro_error *e)
{
    struct plane_job j = { .l = l, .plane = plane, .out = out, .predictor = 1 };
    struct client *clients[MOST_HELPERS + 1] = { &t->main };
    char why[256] = "", warning[256] = "";
    bool no_room = false;
    int threads = 1;
    MRO_TRY(read_pieces(t, number, l, &j.s, e));
    const struct pieces *s = &j.s;
    const uint64_t per_plane = s->across * s->down;
    uint64_t failed = UINT64_MAX, warned = UINT64_MAX;
    j.first_index = plane * per_plane;
    TIFFGetFieldDefaulted(t->tif, TIFFTAG_COMPRESSION, &j.compression);
    TIFFGetFieldDefaulted(t->tif, TIFFTAG_FILLORDER, &j.fill);
    TIFFGetField(t->tif, s->tiled ? TIFFTAG_TILEOFFSETS : TIFFTAG_STRIPOFFSETS, &j.offset);
    TIFFGetField(t->tif, s->tiled ? TIFFTAG_TILEBYTECOUNTS : TIFFTAG_STRIPBYTECOUNTS, &j.count);
    const bool deflate = j.compression == COMPRESSION_DEFLATE || j.compression == COMPRESSION_ADOBE_DEFLATE;
    if (deflate || j.compression == COMPRESSION_LZW) TIFFGetFieldDefaulted(t->tif, TIFFTAG_PREDICTOR, &j.predictor);
    const size_t room = s->tiled ? s->bytes : 0;
    if (room > t->f->memory_bytes)
        return MRO_FAIL(e, MRO_EMEMORY, "no memory for the tiles of '%s' (%.0f MiB each)", t->f->name,
                        (double)room / 1048576);
    /* A thread more pays when it has some hundred kilobytes to decode, and needs room for a tile. */
    const int most = omp_in_parallel() ? 1 : omp_get_max_threads();
    const uint64_t ifd = TIFFCurrentDirOffset(t->tif);
    const size_t worth = l->nx * plane_pixel_bytes(l) * l->ny >> 17;
    while (threads < most && threads <= MOST_HELPERS && (uint64_t)threads < per_plane && (size_t)threads < worth &&
           room * (size_t)(threads + 1) <= t->f->memory_bytes) {
        struct client *c = helper(t, threads - 1, ifd);
        if (c == NULL) break;
        clients[threads++] = c;
    }
#ifdef TIFFTAG_DEFLATE_SUBCODEC
    /* A stream that holds more than its strip is cut short by libdeflate some way before the end of the
     * buffer, and libtiff takes that for success: pixels would keep what was in memory. zlib fills it. */
    for (int i = 0; deflate && i < threads; i++)
        TIFFSetField(clients[i]->tif, TIFFTAG_DEFLATE_SUBCODEC, DEFLATE_SUBCODEC_ZLIB);
#endif
    t->main.silent = true;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        struct client *c = clients[omp_get_thread_num()];
        unsigned char *tile = room ? malloc(room) : NULL;
        struct decoder decoder = new_decoder(&j);
#pragma omp for schedule(dynamic)
        for (uint64_t i = 0; i < per_plane; i++) {
            uint64_t first_bad;
#pragma omp atomic read
            first_bad = failed;
            if (i > first_bad) continue; /* what comes after does not matter any more */
            c->sentence[0] = c->warning[0] = '\0';
            const bool good = (!room || tile) && decode_piece(t, &j, c, &decoder, i, tile);
            if (good && c->warning[0] == '\0') continue;
#pragma omp critical(mro_tiff_piece)
            {
                if (!good && i < failed) {
#pragma omp atomic write
                    failed = i;
                    no_room = room && !tile;
                    snprintf(why, sizeof why, "%s", sentence(c));
                }
                if (c->warning[0] && i < warned) {
                    warned = i;
                    memcpy(warning, c->warning, sizeof warning);
                }
            }
        }
        free_decoder(&decoder);
        free(tile);
    }
    t->main.silent = false;
    if (warned < failed) mro_file_warn(t->f, "'%s': %s", t->f->name, warning);
    if (failed == UINT64_MAX) return MRO_OK;
    if (no_room)
        return MRO_FAIL(e, MRO_EMEMORY, "no memory for the tiles of '%s' (%.0f MiB each)", t->f->name,
                        (double)room / 1048576);
    return MRO_FAIL(e, MRO_EFORMAT, "'%s': %s %" PRIu64 " of page %zu cannot be decoded: %s", t->f->name,
                    s->tiled ? "tile" : "strip", j.first_index + failed, number, why);
}

static const struct page *frame_page(const struct tiff *t, size_t image, size_t frame, uint64_t *data)
{
    const struct series *s = &t->series[image];
    const size_t each = mro_dtype_size(s->l.dtype) * s->l.nx * s->l.ny;
    const struct page *page = &t->pages[s->first + (s->stack > 1 ? 0 : frame / s->l.channels)];
    *data = page->data && s->stack > 1 ? page->data + frame * each : page->data;
    return page;
}

static bool tiff_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    const struct tiff *t = f->state;
    const struct layout *l = &t->series[image].l;
    uint64_t data;
    frame_page(t, image, frame, &data);
    if (data == 0 || plane_pixel_bytes(l) != mro_dtype_size(l->dtype)) return false;
    *p = f->bytes.p + data;
    *big_endian = t->big_endian;
    return true;
}

static enum mro_code tiff_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    struct tiff *t = f->state;
    const struct layout *l = &t->series[image].l;
    const size_t pixels = (size_t)l->nx * l->ny, sample = l->bits / 8, plane_bytes = pixels * plane_pixel_bytes(l);
    const size_t channel = l->channels > 1 ? frame % l->channels : 0;
    enum mro_code rc = MRO_OK;
    unsigned char *plane = NULL;
    uint64_t data;
    const struct page *page = frame_page(t, image, frame, &data);
    const size_t number = page->number;
    const unsigned char *p;
    bool big_endian;
    if (tiff_view(f, image, frame, &p, &big_endian)) {
        const bool pairs = l->dtype == MRO_C64 || l->dtype == MRO_C128;
        mro_copy_samples(out, p, plane_bytes / sample * (pairs ? 2 : 1), pairs ? sample / 2 : sample, big_endian);
        return MRO_OK;
    }
    t->main.sentence[0] = '\0';
    if (TIFFCurrentDirOffset(t->tif) != page->ifd && !TIFFSetSubDirectory(t->tif, page->ifd))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu cannot be read: %s", f->name, number, sentence(&t->main));
    if (planes(l) > 1 && l->channels > 1) return read_plane(t, number, l, channel, out, e);
    if (planes(l) == 1 && plane_pixel_bytes(l) == mro_dtype_size(l->dtype)) return read_plane(t, number, l, 0, out, e);

    /* Channels change places: planes of colour are put together, one channel of many is picked out. */
    if (f->memory_bytes < plane_bytes || (plane = malloc(plane_bytes)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for the channels of '%s' (%.0f MiB)", f->name,
                      (double)plane_bytes / 1048576);
        goto done;
    }
    const bool pick = planes(l) == 1;
    const size_t from = pick ? plane_pixel_bytes(l) : sample, to = mro_dtype_size(l->dtype);
    for (size_t c = 0; c < (pick ? 1 : l->channels == 1 ? to / sample : 1); c++) {
        rc = read_plane(t, number, l, c, plane, e);
        if (rc) goto done;
        const unsigned char *q = plane + (pick ? channel * sample : 0);
        unsigned char *o = (unsigned char *)out + c * sample;
        for (size_t i = 0; i < pixels; i++) memcpy(o + i * to, q + i * from, sample);
    }
done:
    free(plane);
    return rc;
}

/* ---------------------------------------------------------------- open */

static bool tiff_probe(struct mro_bytes b)
{
    if (b.size < 4) return false;
    return memcmp(b.p, "II*\0", 4) == 0 || memcmp(b.p, "MM\0*", 4) == 0 || memcmp(b.p, "II+\0", 4) == 0 ||
           memcmp(b.p, "MM\0+", 4) == 0;
}

static void tiff_close(struct mro_file *f)
{
    struct tiff *t = f->state;
    if (t->tif) TIFFClose(t->tif);
    for (int i = 0; i < MOST_HELPERS && t->helper[i]; i++) {
        if (t->helper[i]->tif) TIFFClose(t->helper[i]->tif);
        free(t->helper[i]);
    }
    free(t->pages);
    free(t->series);
    free(t->description);
    free(t);
    f->state = NULL;
}

/* Makes room for one more element when n is 0 or a power of two. */
static bool grow(void *array, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0) return true;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    if (n > SIZE_MAX / 2 / size || (grown = realloc(old, (n ? 2 * n : 1) * size)) == NULL) return false;
    memcpy(array, &grown, sizeof grown);
    return true;
}

static enum mro_code open_libtiff(struct tiff *t, struct mro_error *e)
{
    struct mro_file *f = t->f;
    t->main.f = f;
    MRO_TRY(open_client(&t->main, e));
    t->tif = t->main.tif;
    t->big_endian = TIFFIsBigEndian(t->tif);
    t->big_tiff = f->bytes.p[2] == 43 || f->bytes.p[3] == 43;
    const char *text = NULL;
    if (TIFFGetField(t->tif, TIFFTAG_IMAGEDESCRIPTION, &text) && text && (t->description = strdup(text)) == NULL)
        return no_memory(f, e);
    return MRO_OK;
}

static bool same_layout(const struct layout *a, const struct layout *b)
{
    return a->nx == b->nx && a->ny == b->ny && a->bits == b->bits && a->samples == b->samples &&
           a->format == b->format && a->photometric == b->photometric && a->planar == b->planar &&
           a->dtype == b->dtype && a->channels == b->channels;
}

/* Adds the current page, if it is one that can be read, to the images. `number` counts from 1. */
static enum mro_code add_page(struct tiff *t, size_t number, struct mro_error *first_refusal, struct mro_error *e)
{
    struct layout l;
    struct mro_error why;
    uint32_t subfile = 0;
    TIFFGetField(t->tif, TIFFTAG_SUBFILETYPE, &subfile);
    if (number > 1 && (subfile & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK))) {
        mro_file_warn(t->f, "'%s': pages that are thumbnails or masks are passed over", t->f->name);
        return MRO_OK;
    }
    if (read_layout(t, number, &l, &why) != MRO_OK) {
        if (first_refusal->code == MRO_OK) *first_refusal = why;
        return MRO_OK;
    }
    if (!grow(&t->pages, t->n_pages, sizeof *t->pages)) return no_memory(t->f, e);
    struct page *page = &t->pages[t->n_pages];
    *page = (struct page){ TIFFCurrentDirOffset(t->tif), 0, number };
    MRO_TRY(check_extent(t, number, &l, page, e));
    t->n_pages++;
    struct series *last = t->n_series ? &t->series[t->n_series - 1] : NULL;
    if (last && same_layout(&last->l, &l)) {
        last->pages++;
        return MRO_OK;
    }
    if (!grow(&t->series, t->n_series, sizeof *t->series)) return no_memory(t->f, e);
    t->series[t->n_series++] = (struct series){ l, t->n_pages - 1, 1, 1 };
    return MRO_OK;
}

/* ImageJ writes stacks as one directory and the images behind each other, also past 4 GB. The last images of a
 * stack that was cut, in copying or by a full disk, are missing and the others whole. */
static void find_stack(struct tiff *t)
{
    struct series *s = &t->series[0];
    const uint64_t images = mro_tiff_imagej_count(t->description, "images"), data = t->pages[0].data;
    const uint64_t each = (uint64_t)s->l.nx * s->l.ny * mro_dtype_size(s->l.dtype);
    if (images == 1 || images == t->n_pages) return;
    if (t->n_pages > 1 || data == 0 || plane_pixel_bytes(&s->l) != mro_dtype_size(s->l.dtype)) {
        mro_file_warn(t->f, "'%s': the ImageJ description speaks of %" PRIu64 " images, the file has %zu", t->f->name,
                      images, t->n_pages * s->l.channels);
        return;
    }
    /* ImageJ puts its directory before the pixels; behind them, it ends them. */
    const uint64_t ifd = t->pages[0].ifd, end = ifd > data + each ? ifd : t->f->bytes.size, there = (end - data) / each;
    if (there < images)
        mro_file_warn(t->f,
                      "'%s' is cut: its ImageJ description speaks of %" PRIu64 " images, there are bytes for %" PRIu64
                      ", which are read",
                      t->f->name, images, there);
    s->stack = (size_t)(there < images ? there : images);
}

/* Whether image `a` is `b` made ready for show: 8 bits, of the same width or proportions, beside more bits. Programs
 * of microscopes write such a page, often with a scale bar drawn into it, for viewers that know no other. */
static bool is_copy(const struct series *a, const struct series *b)
{
    const struct layout *s = &a->l, *d = &b->l;
    if (a->pages != 1 || b->pages != 1 || s->bits != 8 || s->format != SAMPLEFORMAT_UINT || d->bits < 16 ||
        d->samples != 1)
        return false;
    const uint64_t more = s->ny > d->ny ? s->ny - d->ny : d->ny - s->ny, cross = (uint64_t)s->nx * d->ny,
                   other = (uint64_t)d->nx * s->ny;
    if (s->nx == d->nx) return more <= d->ny / 4; /* a bar of text below the image */
    return d->nx > s->nx / 2 && (cross > other ? cross - other : other - cross) <= cross / 100;
}

/* Leaves out images that are copies of others for show. */
static void drop_copies(struct tiff *t)
{
    enum { MOST = 16 }; /* a file of so many different images is no picture with its copy */
    size_t kept = 0;
    bool drop[MOST] = { false };
    if (t->n_series < 2 || t->n_series > MOST) return;
    for (size_t i = 0; i < t->n_series; i++) {
        for (size_t k = 0; k < t->n_series && !drop[i]; k++) {
            const struct series *s = &t->series[i], *d = &t->series[k];
            if (k == i || !is_copy(s, d)) continue;
            drop[i] = true;
            mro_file_warn(t->f,
                          "'%s': page %zu (%s, %" PRIu32 " x %" PRIu32
                          ") is taken for a copy for display of page %zu (%s, %" PRIu32 " x %" PRIu32
                          ") and is passed over",
                          t->f->name, t->pages[s->first].number, mro_dtype_name(s->l.dtype), s->l.nx, s->l.ny,
                          t->pages[d->first].number, mro_dtype_name(d->l.dtype), d->l.nx, d->l.ny);
        }
    }
    for (size_t i = 0; i < t->n_series; i++)
        if (!drop[i]) t->series[kept++] = t->series[i];
    t->n_series = kept;
}

/* The directory that describes an image: its own or, where that holds no tags of the microscope, that of a page of
 * the same width that does. */
static struct mro_tiff_dir describing(const struct tiff *t, const struct series *s)
{
    enum { MOST = 64 }; /* pages looked at */
    const struct mro_tiff_dir own = directory(t, t->pages[s->first].ifd);
    if (mro_tiff_has_vendor(&own)) return own;
    for (size_t i = 0; i < t->n_pages && i < MOST; i++) {
        const struct mro_tiff_dir d = directory(t, t->pages[i].ifd);
        struct mro_tiff_value v;
        if (mro_tiff_has_vendor(&d) && mro_tiff_find(&d, TIFFTAG_IMAGEWIDTH, &v) && mro_tiff_number(&v, 0) == s->l.nx)
            return d;
    }
    return own;
}

static enum mro_code add_image(struct tiff *t, const struct series *s, size_t *budget, struct mro_error *e)
{
    struct mro_image_info *info = mro_file_add_image(t->f);
    if (info == NULL) return no_memory(t->f, e);
    const size_t frames = s->stack > 1 ? s->stack : s->pages;
    const struct mro_tiff_dir d = describing(t, s);
    info->dtype = s->l.dtype;
    if (frames > 1) info->axis[info->axes++].size = frames;
    if (s->l.channels > 1) info->axis[info->axes++].size = s->l.channels;
    info->axis[info->axes++].size = s->l.ny;
    info->axis[info->axes++].size = s->l.nx;
    mro_tiff_describe(t->f, &d, t->description, budget, info);
    return mro_file_seal_image(t->f, info, e);
}

static enum mro_code tiff_open(struct mro_file *f, struct mro_error *e)
{
    struct tiff *t = calloc(1, sizeof *t);
    if (t == NULL) return no_memory(f, e);
    f->state = t;
    t->f = f;
    MRO_TRY(open_libtiff(t, e));

    struct mro_error refusal = { .code = MRO_OK };
    size_t number = 1;
    do {
        MRO_TRY(add_page(t, number++, &refusal, e));
        t->main.sentence[0] = '\0';
        if (number % 256 == 0) mro_file_drop_pages(f);
    } while (!TIFFLastDirectory(t->tif) && TIFFReadDirectory(t->tif));
    if (t->n_pages == 0) return MRO_FAIL(e, refusal.code, "%s", refusal.message);
    if (refusal.code) mro_file_warn(f, "a page is passed over: %s", refusal.message);
    if (t->main.sentence[0])
        mro_file_warn(f, "'%s': page %zu and what follows cannot be read: %s", f->name, number, t->main.sentence);

    size_t budget = (size_t)64 << 20; /* bytes of metadata: real files have some 100 KiB */
    if (mro_tiff_is_imagej(t->description))
        find_stack(t);
    else
        drop_copies(t);
    for (size_t i = 0; i < t->n_series; i++) MRO_TRY(add_image(t, &t->series[i], &budget, e));
    return MRO_OK;
}

const struct mro_reader mro_reader_tiff = {
    .name = "TIFF",
    .probe = tiff_probe,
    .open = tiff_open,
    .read = tiff_read,
    .close = tiff_close,
    .view = tiff_view,
};

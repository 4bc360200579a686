/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Planes of TIFF pages, decoded by as many threads as pay, each with a handle of libtiff of its own. */
#include "io/tiff_page.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/deflate.h"
#include "io/lzw.h"

/* ---------------------------------------------------------------- libtiff's view of the bytes */

static tmsize_t client_read(thandle_t handle, void *out, tmsize_t n)
{
    struct mro_tiff_client *t = handle;
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
    struct mro_tiff_client *t = handle;
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

static toff_t client_size(thandle_t handle) { return ((struct mro_tiff_client *)handle)->f->bytes.size; }

static int client_map(thandle_t handle, void **base, toff_t *size)
{
    struct mro_tiff_client *t = handle;
    *base = (void *)(uintptr_t)t->f->bytes.p; /* libtiff only reads what it maps for reading */
    *size = t->f->bytes.size;
    return 1;
}

static void client_unmap(thandle_t handle, void *base, toff_t size) { (void)handle, (void)base, (void)size; }

/* libtiff's sentence without the file name that some of them begin with, and without the full stop. */
static void take_sentence(const struct mro_tiff_client *t, char *out, size_t room, const char *format, va_list args)
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
    struct mro_tiff_client *t = user;
    (void)tif, (void)module;
    if (t->sentence[0] == '\0') take_sentence(t, t->sentence, sizeof t->sentence, format, args);
    return 1; /* nothing is printed */
}

static int on_warning(TIFF *tif, void *user, const char *module, const char *format, va_list args)
{
    struct mro_tiff_client *t = user;
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

const char *mro_tiff_sentence(const struct mro_tiff_client *t)
{
    return t->sentence[0] ? t->sentence : "libtiff gives no reason";
}

/* ---------------------------------------------------------------- handles */

enum mro_code mro_tiff_no_memory(const struct mro_file *f, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EMEMORY, "no memory for the directory of '%s'", f->name);
}

enum mro_code mro_tiff_open(struct mro_tiff_client *c, struct mro_error *e)
{
    struct mro_file *f = c->f;
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options == NULL) return mro_tiff_no_memory(f, e);
    /* What libtiff allocates by itself are the tables of strips (entries of at least 2 bytes in the file
     * become 8) and the state of decoders: nothing much larger than the file. */
    uint64_t most = f->bytes.size / 4 < SIZE_MAX / 64 ? (uint64_t)f->bytes.size * 4 + (16 << 20) : f->bytes.size;
    const uint64_t least = 1 << 16; /* its state; who has no room for pixels is told so when they are asked for */
    if (most > f->memory_bytes) most = f->memory_bytes > least ? f->memory_bytes : least;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, most > PTRDIFF_MAX ? PTRDIFF_MAX : (tmsize_t)most);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, c);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, c);
    /* c: strips stay as the file has them. */
    c->tif = TIFFClientOpenExt(f->name, "rc", c, client_read, client_write, client_seek, client_close, client_size,
                               client_map, client_unmap, options);
    TIFFOpenOptionsFree(options);
    if (c->tif == NULL)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s' is no TIFF file that can be read: %s", f->name, mro_tiff_sentence(c));
    return MRO_OK;
}

/* A handle for another thread, on the page at `ifd`; NULL when there is no memory for it, and then fewer decode. */
static struct mro_tiff_client *helper(struct mro_tiff *t, int i, uint64_t ifd)
{
    struct mro_error ignored;
    if (t->helper[i] == NULL) {
        struct mro_tiff_client *c = calloc(1, sizeof *c);
        if (c == NULL) return NULL;
        c->f = t->f;
        c->silent = true;
        if (mro_tiff_open(c, &ignored) != MRO_OK) {
            free(c);
            return NULL;
        }
        t->helper[i] = c;
    }
    struct mro_tiff_client *c = t->helper[i];
    if (TIFFCurrentDirOffset(c->tif) != ifd && !TIFFSetSubDirectory(c->tif, ifd)) return NULL;
    return c;
}

/* ---------------------------------------------------------------- decoding */

/* What the threads that decode a plane share. */
struct plane_job {
    const struct mro_tiff_layout *l;
    struct mro_tiff_pieces s;
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
static bool decode(const struct mro_tiff *t, const struct plane_job *j, const struct decoder *d, uint64_t index,
                   unsigned char *out, size_t want)
{
    const struct mro_tiff_layout *l = j->l;
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
static bool decode_piece(const struct mro_tiff *t, const struct plane_job *j, struct mro_tiff_client *c,
                         const struct decoder *d, uint64_t i, unsigned char *tile)
{
    const struct mro_tiff_pieces *s = &j->s;
    const struct mro_tiff_layout *l = j->l;
    const size_t pixel = mro_tiff_pixel_bytes(l), row = pixel * l->nx, want = mro_tiff_piece_bytes(s, l, i);
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

enum mro_code mro_tiff_read_plane(struct mro_tiff *t, size_t number, const struct mro_tiff_layout *l, size_t plane,
                                  unsigned char *out, struct mro_error *e)
{
    struct plane_job j = { .l = l, .plane = plane, .out = out, .predictor = 1 };
    struct mro_tiff_client *clients[MRO_TIFF_HELPERS + 1] = { &t->main };
    char why[256] = "", warning[256] = "";
    bool no_room = false;
    int threads = 1;
    MRO_TRY(mro_tiff_read_pieces(t, number, l, &j.s, e));
    const struct mro_tiff_pieces *s = &j.s;
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
    const size_t worth = l->nx * mro_tiff_pixel_bytes(l) * l->ny >> 17;
    while (threads < most && threads <= MRO_TIFF_HELPERS && (uint64_t)threads < per_plane && (size_t)threads < worth &&
           room * (size_t)(threads + 1) <= t->f->memory_bytes) {
        struct mro_tiff_client *c = helper(t, threads - 1, ifd);
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
        struct mro_tiff_client *c = clients[omp_get_thread_num()];
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
                    snprintf(why, sizeof why, "%s", mro_tiff_sentence(c));
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

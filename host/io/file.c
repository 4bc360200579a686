/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files of any format: mapping, probing, conversion to float32, statistics. What a format looks like is
 * the readers' business (reader.h); nothing here knows one but through the table. */
#include "mroscope/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/inside.h"
#include "core/memory.h"
#include "core/past.h"
#include "io/reader.h"
#include "mroscope/device.h"

/* Asked in this order; probes look at signatures, so at most one of them says yes. MRC is last: without its magic word
 * it is known by numbers that make sense. */
static const struct mro_reader *const readers[] = {
    &mro_reader_tiff, &mro_reader_dm,  &mro_reader_png, &mro_reader_jpeg,
    &mro_reader_emd,  &mro_reader_ser, &mro_reader_emi, &mro_reader_mrc,
};
#define N_READERS (sizeof readers / sizeof *readers)

enum {
    CHUNK = 1 << 16, /* bytes of the file that one thread takes at a time, on its stack: they stay in its cache */
    PART = 1 << 12,  /* values of one partial sum of the statistics; fixed, so that sums are the same bytes
                        at any number of threads */
};

/* ---------------------------------------------------------------- open and close */

static enum mro_code unknown_format(const struct mro_file *f, struct mro_error *e)
{
    const unsigned char *p = f->bytes.p;
    const size_t n = f->bytes.size < 30 ? f->bytes.size : 30;
    char first[64] = "the bytes";
    size_t line = 0;
    while (line < n && p[line] >= 0x20 && p[line] < 0x7f) line++;
    if (line == n || (line > 0 && (p[line] == '\r' || p[line] == '\n' || p[line] == '\t')))
        snprintf(first, sizeof first, "the text '%.*s'", (int)line, (const char *)p);
    else
        for (size_t i = 0; i < 8 && i < n; i++) sprintf(first + strlen(first), " %02x", p[i]);
    return MRO_FAIL(e, MRO_EFORMAT,
                    "'%s' is of no image format that is read (TIFF, DM3, DM4, MRC, SER, EMI, EMD, PNG, JPEG): it "
                    "begins with %s",
                    f->name, first);
}

/* Takes over f, which has name, bytes and mapping; frees it on failure. `only` is the reader to use; NULL asks all. */
static enum mro_code open_bytes(struct mro_file **out, struct mro_file *f, const struct mro_reader *only,
                                size_t memory_bytes, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    f->memory_bytes = memory_bytes ? memory_bytes : mro_default_memory();
    if (f->bytes.size == 0) {
        rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' is empty", f->name);
        goto done;
    }
    for (size_t i = 0; i < N_READERS && f->reader == NULL; i++)
        if ((only == NULL || readers[i] == only) && readers[i]->probe(f->bytes)) f->reader = readers[i];
    if (f->reader == NULL) {
        rc = only ? MRO_FAIL(e, MRO_EFORMAT, "'%s' is no %s file", f->name, only->name) : unknown_format(f, e);
        goto done;
    }
    rc = f->reader->open(f, e);
    if (rc == MRO_OK && f->images == 0) rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' holds no image", f->name);
    mro_file_drop_pages(f);
done:
    if (rc != MRO_OK) {
        mro_file_close(f);
        f = NULL;
    }
    *out = f;
    return rc;
}

void mro_file_drop_pages(const struct mro_file *f)
{
    /* The whole range, which costs no more than the pages that are there. Advice: failure changes nothing. */
    if (f->mapping != NULL) (void)madvise(f->mapping, f->bytes.size, MADV_DONTNEED);
}

static struct mro_file *new_file(const char *name)
{
    struct mro_file *f = calloc(1, sizeof *f);
    if (f != NULL) {
        f->fd = -1;
        f->name = strdup(name);
    }
    if (f != NULL && f->name == NULL) {
        free(f);
        f = NULL;
    }
    return f;
}

/* `kept` (may be NULL): the open file, -1 for an empty one; the caller's to close. */
static enum mro_code map(struct mro_bytes *b, int *kept, const char *path, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    struct stat st;
    const struct mro_lent *lent = mro_inside_lent(path);
    *b = (struct mro_bytes){ NULL, 0 };
    if (kept) *kept = -1;
    if (lent) {
        *b = (struct mro_bytes){ lent->bytes, lent->size };
        return MRO_OK;
    }
    /* Not blocking: a named pipe must be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = MRO_FAIL(e, MRO_EIO, "cannot open '%s': %s", path, strerror(errno));
        goto done;
    }
    if (S_ISDIR(st.st_mode)) {
        rc = MRO_FAIL(e, MRO_EIO, "'%s' is a directory; give the files in it", path);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = MRO_FAIL(e, MRO_EIO, "'%s' is not a regular file", path);
        goto done;
    }
    if ((uintmax_t)st.st_size > SIZE_MAX) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' is larger than the address space", path);
        goto done;
    }
    if (st.st_size > 0) { /* an empty file cannot be mapped; open_bytes names it */
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            rc = MRO_FAIL(e, MRO_EIO, "cannot read '%s': %s", path, strerror(errno));
            goto done;
        }
        *b = (struct mro_bytes){ p, (size_t)st.st_size };
        if (kept) {
            *kept = fd;
            fd = -1;
        }
    }
done:
    if (fd >= 0) close(fd);
    return rc;
}

enum mro_code mro_bytes_map(struct mro_bytes *b, const char *path, struct mro_error *e)
{
    return map(b, NULL, path, e);
}

void mro_bytes_unmap(struct mro_bytes *b)
{
    if (b->p != NULL && !mro_inside_lends(b->p)) munmap((void *)b->p, b->size);
    *b = (struct mro_bytes){ NULL, 0 };
}

enum mro_code mro_file_open_as(struct mro_file **out, const char *path, const struct mro_reader *reader,
                               size_t memory_bytes, struct mro_error *e)
{
    struct mro_bytes b;
    int fd;
    *out = NULL;
    MRO_TRY(map(&b, &fd, path, e));
    struct mro_file *f = new_file(path);
    if (f == NULL) {
        mro_bytes_unmap(&b);
        if (fd >= 0) close(fd);
        return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", path);
    }
    f->bytes = b;
    f->fd = fd;
    const struct mro_lent *lent = mro_inside_lent(path);
    if (lent == NULL) f->mapping = (void *)b.p;
    if (lent && lent->array) f->reader = &mro_reader_array; /* which nothing in its bytes tells */
    return open_bytes(out, f, reader, memory_bytes, e);
}

enum mro_code mro_file_open(struct mro_file **out, const char *path, size_t memory_bytes, struct mro_error *e)
{
    return mro_file_open_as(out, path, NULL, memory_bytes, e);
}

enum mro_code mro_file_open_memory(struct mro_file **out, const void *bytes, size_t size, const char *name,
                                   size_t memory_bytes, struct mro_error *e)
{
    *out = NULL;
    struct mro_file *f = new_file(name);
    if (f == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", name);
    f->bytes = (struct mro_bytes){ bytes, size };
    return open_bytes(out, f, NULL, memory_bytes, e);
}

void mro_file_close(struct mro_file *f)
{
    if (f == NULL) return;
    if (f->reader != NULL && f->reader->close != NULL && f->state != NULL) f->reader->close(f);
    if (f->mapping != NULL) munmap(f->mapping, f->bytes.size);
    free(f->raw);
    if (f->fd >= 0) close(f->fd);
    free(f->info);
    free(f->name);
    free(f);
}

const char *mro_file_format(const struct mro_file *f) { return f->reader->name; }

size_t mro_file_images(const struct mro_file *f) { return f->images; }

const struct mro_image_info *mro_file_info(const struct mro_file *f, size_t image)
{
    return image < f->images ? &f->info[image] : NULL;
}

const char *mro_file_warning(const struct mro_file *f, size_t i) { return i < f->n_warnings ? f->warnings[i] : NULL; }

/* ---------------------------------------------------------------- what readers use */

struct mro_image_info *mro_file_add_image(struct mro_file *f)
{
    /* Capacity is the next power of two: it need not be stored. */
    if ((f->images & (f->images - 1)) == 0) {
        const size_t capacity = f->images ? 2 * f->images : 1;
        if (capacity > SIZE_MAX / sizeof *f->info) return NULL;
        struct mro_image_info *grown = realloc(f->info, capacity * sizeof *f->info);
        if (grown == NULL) return NULL;
        f->info = grown;
    }
    struct mro_image_info *info = &f->info[f->images++];
    memset(info, 0, sizeof *info);
    info->frames = 1;
    info->stage_tilt_deg[0] = info->stage_tilt_deg[1] = NAN;
    return info;
}

void mro_clean_text(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        size_t more = *s < 0x80                 ? 0
                      : *s >= 0xc2 && *s < 0xe0 ? 1
                      : *s >= 0xe0 && *s < 0xf0 ? 2
                      : *s >= 0xf0 && *s < 0xf5 ? 3
                                                : 9;
        if (*s < 0x20 || *s == 0x7f) more = 9;
        for (size_t i = 1; more < 9 && i <= more; i++)
            if ((s[i] & 0xc0) != 0x80) more = 9; /* also stops at the end of the text */
        /* Overlong forms, surrogates and code points past U+10FFFF. */
        if ((*s == 0xe0 && more == 2 && s[1] < 0xa0) || (*s == 0xed && more == 2 && s[1] > 0x9f) ||
            (*s == 0xf0 && more == 3 && s[1] < 0x90) || (*s == 0xf4 && more == 3 && s[1] > 0x8f))
            more = 9;
        if (more == 9) {
            *s++ = '?';
            continue;
        }
        s += 1 + more;
    }
}

void mro_file_offer(struct mro_file *f, struct mro_axis *a, const struct mro_axis *offer, const char *name)
{
    char sentence[256];
    if (mro_axis_offer(a, offer, name, sentence, sizeof sentence)) mro_file_warn(f, "'%s': %s", f->name, sentence);
}

static size_t frame_rows(const struct mro_image_info *info)
{
    return info->axes > 1 ? info->axis[info->axes - 2].size : 1;
}

static size_t frame_columns(const struct mro_image_info *info) { return info->axis[info->axes - 1].size; }

enum mro_code mro_file_seal_image(struct mro_file *f, struct mro_image_info *info, struct mro_error *e)
{
    mro_clean_text(info->title);
    mro_clean_text(info->date);
    mro_clean_text(info->instrument);
    mro_clean_text(info->detector);
    mro_clean_text(info->value_unit);
    if (info->axes < 1 || info->axes > MRO_MAX_AXES)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s' holds an image of %zu axes; 1 to %d can be read", f->name, info->axes,
                        MRO_MAX_AXES);
    size_t frames = 1;
    for (size_t i = 0; i < info->axes; i++) {
        mro_clean_text(info->axis[i].unit_text);
        if (info->axis[i].size == 0)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' holds an image whose axis %zu has no samples", f->name, i);
        if (i + 2 < info->axes && __builtin_mul_overflow(frames, info->axis[i].size, &frames))
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' declares more frames than can be counted", f->name);
    }
    const size_t ny = frame_rows(info), nx = frame_columns(info);
    size_t pixels, need, all;
    const size_t each = mro_dtype_size(info->dtype) + (info->dtype == MRO_F32 ? 0 : sizeof(float));
    if (__builtin_mul_overflow(nx, ny, &pixels) || __builtin_mul_overflow(pixels, each, &need) ||
        __builtin_mul_overflow(pixels, frames, &all))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s' declares an image of %zu x %zu pixels, more than can be addressed",
                        f->name, nx, ny);
    if (need > f->memory_bytes)
        return MRO_FAIL(
            e, MRO_EMEMORY,
            "a frame of %zu x %zu pixels (%s) of '%s' needs %.0f MiB, the memory budget is %.0f MiB; give a "
            "larger `memory`",
            nx, ny, mro_dtype_name(info->dtype), f->name, ceil((double)need / 1048576),
            floor((double)f->memory_bytes / 1048576));
    info->frames = frames;
    return MRO_OK;
}

void mro_file_warn(struct mro_file *f, const char *format, ...)
{
    va_list args;
    if (f->n_warnings >= MRO_FILE_WARNINGS) return;
    char *text = f->warnings[f->n_warnings];
    va_start(args, format);
    vsnprintf(text, sizeof *f->warnings, format, args);
    va_end(args);
    if (f->n_warnings + 1 == MRO_FILE_WARNINGS)
        snprintf(text, sizeof *f->warnings, "there are more warnings, which are not listed");
    mro_clean_text(text);
    for (size_t i = 0; i < f->n_warnings; i++)
        if (strcmp(f->warnings[i], text) == 0) return;
    f->n_warnings++;
}

/* ---------------------------------------------------------------- byte order */

static bool machine_is_big_endian(void) { return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__; }

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
    return big_endian == machine_is_big_endian() ? load16(p) : SWAP16(load16(p));
}

uint32_t mro_get_u32(const unsigned char *p, bool big_endian)
{
    return big_endian == machine_is_big_endian() ? load32(p) : SWAP32(load32(p));
}

uint64_t mro_get_u64(const unsigned char *p, bool big_endian)
{
    return big_endian == machine_is_big_endian() ? load64(p) : SWAP64(load64(p));
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
    if (big_endian == machine_is_big_endian() || sample_bytes == 1) {
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

static size_t channels(enum mro_dtype dtype)
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

/* `n` bytes at p, a place that a view gave, either there or copied to `room`: a read call copies faster than page
 * faults map, and what it copies does not stay in memory. NULL: the file has become shorter. */
static const unsigned char *fetch(const struct mro_file *f, const unsigned char *p, size_t n, unsigned char *room)
{
    const uintptr_t at = (uintptr_t)p, from = (uintptr_t)f->bytes.p;
    if (f->fd < 0 || at < from || at - from > f->bytes.size) return p; /* in memory, or in a file beside this one */
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(f->fd, room + done, n - done, (off_t)(p - f->bytes.p + (ptrdiff_t)done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return NULL;
        done += (size_t)got;
    }
    return room;
}

static enum mro_code shrunk(const struct mro_file *f, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EIO, "'%s' cannot be read to its end any more: it was changed, or its disk fails", f->name);
}

static size_t convert_block(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n, float *out)
{
    if (channels(dtype) > 1)
        values_luminance(dtype, p, swap, n, out);
    else if (p != (const unsigned char *)out)
        values_float(dtype, p, swap, n, out);
    return can_be_not_finite(dtype) ? mask_not_finite(out, n) : 0;
}

/* The same of pixels that lie elsewhere than `out`, for a frame of `all`: a large one is stored past the caches. */
static size_t convert_part(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n, float *out, size_t all)
{
    float v[PART];
    size_t bad = 0;
    if (all * sizeof *out <= MRO_CACHE_BYTES) return convert_block(dtype, p, swap, n, out);
    for (size_t i = 0; i < n; i += PART) {
        const size_t some = n - i < PART ? n - i : PART;
        bad += convert_block(dtype, p + i * mro_dtype_size(dtype), swap, some, v);
        mro_store_past(out + i, v, some);
    }
    mro_past_done();
    return bad;
}

/* Converts n pixels at p to `out`. p may be `out` itself for native float32, else it lies in the file when `in_file`.
 * Counts those that are not finite. */
static enum mro_code convert(const struct mro_file *f, enum mro_dtype dtype, const unsigned char *p, bool in_file,
                             bool swap, size_t n, float *out, size_t *not_finite, struct mro_error *e)
{
    const size_t size = mro_dtype_size(dtype), each = CHUNK / size;
    const ptrdiff_t blocks = (ptrdiff_t)((n + each - 1) / each);
    size_t bad = 0, missing = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : bad, missing) if (blocks > 1)
    for (ptrdiff_t b = 0; b < blocks; b++) {
        unsigned char room[CHUNK];
        const size_t from = (size_t)b * each, count = n - from < each ? n - from : each;
        const bool as_is = dtype == MRO_F32 && !swap;
        const unsigned char *q = p + from * size;
        if (in_file && (q = fetch(f, q, count * size, as_is ? (unsigned char *)(out + from) : room)) == NULL) {
            missing++;
            continue;
        }
        bad += q == (const unsigned char *)(out + from) ? convert_block(dtype, q, swap, count, out + from)
                                                        : convert_part(dtype, q, swap, count, out + from, n);
    }
    *not_finite = bad;
    return missing ? shrunk(f, e) : MRO_OK;
}

/* The same for rows of a file that lie bottom first. */
static enum mro_code convert_upward(const struct mro_file *f, enum mro_dtype dtype, const unsigned char *p, bool swap,
                                    size_t ny, size_t nx, float *out, size_t *not_finite, struct mro_error *e)
{
    const size_t size = mro_dtype_size(dtype), most = CHUNK / size;
    size_t bad = 0, missing = 0;
#pragma omp parallel for schedule(static) reduction(+ : bad, missing) if (ny * nx > CHUNK)
    for (ptrdiff_t y = 0; y < (ptrdiff_t)ny; y++) {
        unsigned char room[CHUNK];
        for (size_t x = 0; x < nx; x += most) {
            const size_t count = nx - x < most ? nx - x : most;
            const unsigned char *q = fetch(f, p + ((ny - 1 - (size_t)y) * nx + x) * size, count * size, room);
            if (q == NULL)
                missing++;
            else
                bad += convert_part(dtype, q, swap, count, out + (size_t)y * nx + x, ny * nx);
        }
    }
    *not_finite = bad;
    return missing ? shrunk(f, e) : MRO_OK;
}

/* ---------------------------------------------------------------- reading */

static enum mro_code check_frame(const struct mro_file *f, size_t image, size_t frame, struct mro_error *e)
{
    if (image >= f->images)
        return MRO_FAIL(e, MRO_EARG, "'%s' has no image %zu; its images are 0 to %zu", f->name, image, f->images - 1);
    if (frame >= f->info[image].frames)
        return MRO_FAIL(e, MRO_EARG, "image %zu of '%s' has no frame %zu; its frames are 0 to %zu", image, f->name,
                        frame, f->info[image].frames - 1);
    return MRO_OK;
}

/* How the pixels of a frame can be used where they lie; VIEW_NONE: they must be read. */
enum view { VIEW_NONE, VIEW_DOWNWARD, VIEW_UPWARD };

static enum view view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *swap)
{
    const struct mro_reader *r = f->reader;
    bool big_endian = false;
    enum view v = VIEW_NONE;
    if (r->view != NULL && r->view(f, image, frame, p, &big_endian))
        v = VIEW_DOWNWARD;
    else if (r->view_upward != NULL && r->view_upward(f, image, frame, p, &big_endian))
        v = VIEW_UPWARD;
    *swap = v != VIEW_NONE && big_endian != machine_is_big_endian();
    return v;
}

bool mro_file_lies_open(struct mro_file *f, size_t image)
{
    const unsigned char *p;
    bool swap, open = channels(f->info[image].dtype) == 1; /* of colours it is warned */
    for (size_t i = 0; i < f->info[image].frames && open; i++) open = view(f, image, i, &p, &swap) != VIEW_NONE;
    return open;
}

/* Room for a frame as it is stored, in f->raw, where it stays until drop_raw. */
static enum mro_code raw_room(struct mro_file *f, size_t bytes, struct mro_error *e)
{
    if (f->raw != NULL && f->raw_bytes == bytes) return MRO_OK;
    free(f->raw);
    f->raw = malloc(bytes);
    f->raw_bytes = bytes;
    if (f->raw == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "no memory for a frame of '%s' (%.0f MiB)", f->name, (double)bytes / 1048576);
    mro_prefer_huge_pages(f->raw, bytes);
    return MRO_OK;
}

static void drop_raw(struct mro_file *f)
{
    free(f->raw);
    f->raw = NULL;
}

enum mro_code mro_file_read_into(struct mro_file *f, size_t image, size_t frame, struct mro_image *out,
                                 struct mro_error *e)
{
    struct mro_image kept = *out;
    memset(out, 0, sizeof *out);
    const unsigned char *p = NULL;
    bool swap = false;
    enum mro_code rc = check_frame(f, image, frame, e);
    if (rc) goto done;
    const struct mro_image_info *info = &f->info[image];
    const size_t ny = frame_rows(info), nx = frame_columns(info), n = ny * nx;
    if (kept.px != NULL && kept.ny == ny && kept.nx == nx) {
        *out = (struct mro_image){ .nx = nx, .ny = ny, .px = kept.px };
        kept.px = NULL;
    } else {
        mro_image_release(&kept); /* before the next is asked for: there may be room for one only */
        rc = mro_image_alloc(out, ny, nx, e);
        if (rc) goto done;
    }
    const enum view v = view(f, image, frame, &p, &swap);
    if (v == VIEW_NONE) {
        const bool as_is = info->dtype == MRO_F32;
        if (!as_is && (rc = raw_room(f, n * mro_dtype_size(info->dtype), e)) != MRO_OK) goto done;
        p = as_is ? (unsigned char *)out->px : f->raw;
        rc = f->reader->read(f, image, frame, as_is ? (void *)out->px : f->raw, e);
        mro_file_drop_pages(f);
        if (rc) goto done;
    }
    rc = v == VIEW_UPWARD ? convert_upward(f, info->dtype, p, swap, ny, nx, out->px, &out->not_finite, e)
                          : convert(f, info->dtype, p, v == VIEW_DOWNWARD, swap, n, out->px, &out->not_finite, e);
    if (rc) goto done;
    out->axis[0].size = ny;
    if (info->axes > 1) out->axis[0] = info->axis[info->axes - 2];
    out->axis[1] = info->axis[info->axes - 1];
    out->kind = info->kind;
    out->beam_kv = info->beam_kv;
    if (channels(info->dtype) > 1)
        mro_file_warn(
            f, "'%s' is a colour image (%s): it is turned to luminance, and colours or marks drawn into it stay in it",
            f->name, mro_dtype_name(info->dtype));
done:
    if (f->raw) drop_raw(f); /* what is done with the frame needs the memory */
    mro_image_release(&kept);
    if (rc) mro_image_release(out);
    return rc;
}

enum mro_code mro_file_read(struct mro_file *f, size_t image, size_t frame, struct mro_image *out, struct mro_error *e)
{
    memset(out, 0, sizeof *out);
    return mro_file_read_into(f, image, frame, out, e);
}

enum mro_code mro_file_read_stored(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    const unsigned char *p;
    bool swap;
    MRO_TRY(check_frame(f, image, frame, e));
    const struct mro_image_info *info = &f->info[image];
    const size_t ny = frame_rows(info), row = frame_columns(info) * mro_dtype_size(info->dtype);
    const enum view v = view(f, image, frame, &p, &swap);
    if (v == VIEW_NONE) {
        const enum mro_code rc = f->reader->read(f, image, frame, out, e);
        mro_file_drop_pages(f);
        return rc;
    }
    const bool pairs = info->dtype == MRO_C64 || info->dtype == MRO_C128;
    const size_t sample = mro_dtype_size(info->dtype) / channels(info->dtype) / (pairs ? 2 : 1);
    const size_t pieces = v == VIEW_UPWARD ? ny : 1, bytes = v == VIEW_UPWARD ? row : ny * row;
    for (size_t i = 0; i < pieces; i++) {
        unsigned char *to = (unsigned char *)out + (pieces - 1 - i) * bytes;
        const unsigned char *q = fetch(f, p + i * bytes, bytes, to);
        if (q == NULL) return shrunk(f, e);
        if (swap || q != to) mro_copy_samples(to, q, bytes / sample, sample, swap != machine_is_big_endian());
    }
    return MRO_OK;
}

/* ---------------------------------------------------------------- statistics */

struct moments {
    double sum, mean, m2, min, max; /* m2: sum of squared distances from the mean */
    size_t count;
};

enum { LANES = 8 };

/* Sums in LANES interleaved partial sums: vectors fit, and the order does not depend on the machine. */
static struct moments moments_of(double *v, size_t n, bool drop_not_finite)
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
    struct moments m = { 0, 0, 0, INFINITY, -INFINITY, count };
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

/* The moments of up to PART whole numbers of 8 or 16 bits from their exact sums, `bias` having been added to each. */
static struct moments moments_of_sums(size_t n, uint64_t sum, uint64_t squares, uint32_t min, uint32_t max, int bias)
{
    const double mean = (double)sum / (double)n - bias; /* n * squares and sum * sum stay below 2^63 */
    return (struct moments){ .sum = (double)((int64_t)sum - (int64_t)n * bias),
                             .mean = mean,
                             .m2 = (double)(n * squares - sum * sum) / (double)n,
                             .min = (double)min - bias,
                             .max = (double)max - bias,
                             .count = n };
}

static struct moments moments_of_bytes(const unsigned char *p, size_t n, uint8_t flip)
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

static struct moments moments_of_shorts(const unsigned char *p, bool swap, size_t n, uint16_t flip)
{
    uint32_t sum = 0, low = 0, high = 0;
    uint16_t min = 0xffff, max = 0;
    if (swap)
        SHORTS(SWAP16(load16(p + 2 * i)))
    else
        SHORTS(load16(p + 2 * i))
    return moments_of_sums(n, sum, ((uint64_t)high << 16) + low, min, max, flip);
}

/* Moments of up to PART values (channels of colour one by one). */
static struct moments moments_of_part(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n)
{
    double v[PART];
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

/* Joins b to a (Chan, Golub, LeVeque 1979). */
static void join(struct moments *a, const struct moments *b)
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

enum mro_code mro_file_statistics(struct mro_file *f, size_t image, struct mro_statistics *s, struct mro_error *e)
{
    memset(s, 0, sizeof *s);
    MRO_TRY(check_frame(f, image, 0, e));
    const struct mro_image_info *info = &f->info[image];
    const enum mro_dtype dtype = info->dtype;
    const size_t pixels = frame_rows(info) * frame_columns(info), bytes = pixels * mro_dtype_size(dtype);
    const size_t n = pixels * channels(dtype), value_bytes = mro_dtype_size(dtype) / channels(dtype);
    const size_t n_parts = (n + PART - 1) / PART, each = CHUNK / value_bytes; /* whole parts in every chunk */
    const ptrdiff_t n_chunks = (ptrdiff_t)((n + each - 1) / each);
    struct moments all = { 0, 0, 0, NAN, NAN, 0 };
    enum mro_code rc = MRO_OK;
    struct moments *parts = malloc(n_parts * sizeof *parts);
    if (parts == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for the statistics of '%s'", f->name);
        goto done;
    }
    for (size_t frame = 0; frame < info->frames; frame++) {
        const unsigned char *p;
        bool swap = false;
        const bool in_file = view(f, image, frame, &p, &swap) != VIEW_NONE;
        if (!in_file) {
            if ((rc = raw_room(f, bytes, e)) != MRO_OK) goto done;
            rc = f->reader->read(f, image, frame, f->raw, e);
            mro_file_drop_pages(f);
            if (rc) goto done;
            p = f->raw;
        }
        size_t missing = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : missing) if (n_chunks > 1)
        for (ptrdiff_t c = 0; c < n_chunks; c++) {
            unsigned char room[CHUNK];
            const size_t from = (size_t)c * each, count = n - from < each ? n - from : each;
            const unsigned char *q = p + from * value_bytes;
            if (in_file && (q = fetch(f, q, count * value_bytes, room)) == NULL) {
                missing++;
                continue;
            }
            for (size_t i = 0; i < count; i += PART)
                parts[(from + i) / PART] =
                    moments_of_part(dtype, q + i * value_bytes, swap, count - i < PART ? count - i : PART);
        }
        if (missing) {
            rc = shrunk(f, e);
            goto done;
        }
        for (size_t i = 0; i < n_parts; i++) join(&all, &parts[i]);
    }
    s->count = all.count;
    s->not_finite = n * info->frames - all.count;
    s->sum = all.sum;
    s->min = all.min;
    s->max = all.max;
    s->mean = all.count ? all.sum / (double)all.count : NAN;
    s->sd = all.count ? sqrt(all.m2 / (double)all.count) : NAN;
done:
    free(parts);
    drop_raw(f);
    return rc;
}

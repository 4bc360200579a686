/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files of any format: mapping, probing, frames as float32, statistics. What a format looks like is
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
#include "io/reader.h"
#include "io/samples.h"
#include "mroscope/device.h"

/* Asked in this order; probes look at signatures, so at most one of them says yes. MRC is last: without its magic word
 * it is known by numbers that make sense. */
static const struct mro_reader *const readers[] = {
    &mro_reader_tiff, &mro_reader_dm,  &mro_reader_png, &mro_reader_jpeg,
    &mro_reader_emd,  &mro_reader_ser, &mro_reader_emi, &mro_reader_mrc,
};
#define N_READERS (sizeof readers / sizeof *readers)

#define CHUNK (1 << 16) /* bytes of the file that one thread takes at a time, on its stack: they stay in its cache */

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

/* ---------------------------------------------------------------- reading */

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
        bad += q == (const unsigned char *)(out + from) ? mro_samples_to_float(dtype, q, swap, count, out + from)
                                                        : mro_samples_to_frame(dtype, q, swap, count, out + from, n);
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
                bad += mro_samples_to_frame(dtype, q, swap, count, out + (size_t)y * nx + x, ny * nx);
        }
    }
    *not_finite = bad;
    return missing ? shrunk(f, e) : MRO_OK;
}

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
    *swap = v != VIEW_NONE && big_endian != mro_machine_is_big_endian();
    return v;
}

bool mro_file_lies_open(struct mro_file *f, size_t image)
{
    const unsigned char *p;
    bool swap, open = mro_channels(f->info[image].dtype) == 1; /* of colours it is warned */
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
    if (mro_channels(info->dtype) > 1)
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
    const size_t sample = mro_dtype_size(info->dtype) / mro_channels(info->dtype) / (pairs ? 2 : 1);
    const size_t pieces = v == VIEW_UPWARD ? ny : 1, bytes = v == VIEW_UPWARD ? row : ny * row;
    for (size_t i = 0; i < pieces; i++) {
        unsigned char *to = (unsigned char *)out + (pieces - 1 - i) * bytes;
        const unsigned char *q = fetch(f, p + i * bytes, bytes, to);
        if (q == NULL) return shrunk(f, e);
        if (swap || q != to) mro_copy_samples(to, q, bytes / sample, sample, swap != mro_machine_is_big_endian());
    }
    return MRO_OK;
}

/* ---------------------------------------------------------------- statistics */

enum mro_code mro_file_statistics(struct mro_file *f, size_t image, struct mro_statistics *s, struct mro_error *e)
{
    memset(s, 0, sizeof *s);
    MRO_TRY(check_frame(f, image, 0, e));
    const struct mro_image_info *info = &f->info[image];
    const enum mro_dtype dtype = info->dtype;
    const size_t pixels = frame_rows(info) * frame_columns(info), bytes = pixels * mro_dtype_size(dtype);
    const size_t n = pixels * mro_channels(dtype), value_bytes = mro_dtype_size(dtype) / mro_channels(dtype);
    const size_t n_parts = (n + MRO_PART - 1) / MRO_PART, each = CHUNK / value_bytes; /* whole parts in every chunk */
    const ptrdiff_t n_chunks = (ptrdiff_t)((n + each - 1) / each);
    struct mro_moments all = { 0, 0, 0, NAN, NAN, 0 };
    enum mro_code rc = MRO_OK;
    struct mro_moments *parts = malloc(n_parts * sizeof *parts);
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
            for (size_t i = 0; i < count; i += MRO_PART)
                parts[(from + i) / MRO_PART] =
                    mro_moments_of(dtype, q + i * value_bytes, swap, count - i < MRO_PART ? count - i : MRO_PART);
        }
        if (missing) {
            rc = shrunk(f, e);
            goto done;
        }
        for (size_t i = 0; i < n_parts; i++) mro_moments_join(&all, &parts[i]);
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

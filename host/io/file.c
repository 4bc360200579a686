/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files of any format: opening, frames as float32, statistics. What a format looks like is the readers' business
 * (reader.h); nothing here knows one but through the reader that it is given (formats.c). */
#include "mroscope/file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/inside.h"
#include "core/memory.h"
#include "io/reader.h"
#include "io/samples.h"
#include "mroscope/device.h"

#define CHUNK (1 << 15) /* bytes of the file that one thread takes at a time, on its stack: they stay in its cache */

/* ---------------------------------------------------------------- open and close */

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

/* Takes over f, which has name, bytes and mapping; frees it on failure. */
static enum mro_code open_bytes(struct mro_file **out, struct mro_file *f, mro_find_reader *find, size_t memory_bytes,
                                struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    f->memory_bytes = memory_bytes ? memory_bytes : mro_default_memory();
    if (f->bytes.size == 0)
        rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' is empty", f->name);
    else
        rc = find(f, &f->reader, e);
    if (rc == MRO_OK) rc = f->reader->open(f, e);
    if (rc == MRO_OK && f->images == 0) rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' holds no image", f->name);
    if (f->reader) mro_file_drop_pages(f);
    if (rc != MRO_OK) {
        mro_file_close(f);
        f = NULL;
    }
    *out = f;
    return rc;
}

enum mro_code mro_file_open_as(struct mro_file **out, const char *path, mro_find_reader *find, size_t memory_bytes,
                               struct mro_error *e)
{
    struct mro_bytes b;
    int fd;
    *out = NULL;
    MRO_TRY(mro_bytes_open(&b, &fd, path, e));
    struct mro_file *f = new_file(path);
    if (f == NULL) {
        mro_bytes_unmap(&b);
        if (fd >= 0) close(fd);
        return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", path);
    }
    f->bytes = b;
    f->fd = fd;
    f->modified = mro_modified(fd);
    if (mro_inside_lent(path) == NULL) f->mapping = (void *)b.p;
    return open_bytes(out, f, find, memory_bytes, e);
}

enum mro_code mro_file_open_bytes_as(struct mro_file **out, struct mro_bytes bytes, const char *name,
                                     mro_find_reader *find, size_t memory_bytes, struct mro_error *e)
{
    *out = NULL;
    struct mro_file *f = new_file(name);
    if (f == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", name);
    f->bytes = bytes;
    return open_bytes(out, f, find, memory_bytes, e);
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
    const size_t ny = mro_frame_rows(info), nx = mro_frame_columns(info), n = ny * nx;
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
    const size_t ny = mro_frame_rows(info), row = mro_frame_columns(info) * mro_dtype_size(info->dtype);
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
    const size_t pixels = mro_frame_rows(info) * mro_frame_columns(info), bytes = pixels * mro_dtype_size(dtype);
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

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What readers use: the bytes of a file, the list of its images, warnings. */
#include "io/reader.h"

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
#include "core/notes.h"

/* ---------------------------------------------------------------- bytes */

enum mro_code mro_bytes_open(struct mro_bytes *b, int *kept, const char *path, struct mro_error *e)
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
    return mro_bytes_open(b, NULL, path, e);
}

void mro_bytes_unmap(struct mro_bytes *b)
{
    if (b->p != NULL && !mro_inside_lends(b->p)) munmap((void *)b->p, b->size);
    *b = (struct mro_bytes){ NULL, 0 };
}

struct timespec mro_modified(int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) return (struct timespec){ 0 };
#ifdef __APPLE__
    return st.st_mtimespec;
#else
    return st.st_mtim;
#endif
}

enum mro_code mro_file_check_unchanged(const struct mro_file *f, struct mro_error *e)
{
    const struct timespec now = mro_modified(f->fd);
    if (now.tv_sec == f->modified.tv_sec && now.tv_nsec == f->modified.tv_nsec) return MRO_OK;
    return MRO_FAIL(e, MRO_EIO, "'%s' was written to while it was read; measure it again when it is finished", f->name);
}

void mro_file_drop_pages(const struct mro_file *f)
{
    /* The whole range, which costs no more than the pages that are there. Advice: failure changes nothing. */
    if (f->mapping != NULL) (void)madvise(f->mapping, f->bytes.size, MADV_DONTNEED);
}

/* ---------------------------------------------------------------- images */

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

size_t mro_frame_rows(const struct mro_image_info *info)
{
    return info->axes > 1 ? info->axis[info->axes - 2].size : 1;
}

size_t mro_frame_columns(const struct mro_image_info *info) { return info->axis[info->axes - 1].size; }

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
    const size_t ny = mro_frame_rows(info), nx = mro_frame_columns(info);
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

void mro_file_offer(struct mro_file *f, struct mro_axis *a, const struct mro_axis *offer, const char *name)
{
    char sentence[256];
    if (mro_axis_offer(a, offer, name, sentence, sizeof sentence)) mro_file_warn(f, "'%s': %s", f->name, sentence);
}

/* ---------------------------------------------------------------- texts */

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

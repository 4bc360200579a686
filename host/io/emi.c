/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EMI files as images: one that is opened by its own name shows its series, which lie in SER files beside it. */
#include "io/emi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERIES = 99 }; /* a document of more was never seen */

struct emi_state {
    size_t n;
    struct mro_file *series[MAX_SERIES]; /* one image each; image i of the document is series[i] */
};

static enum mro_code add_series(struct mro_file *f, struct mro_file *series, struct mro_error *e)
{
    struct emi_state *s = f->state;
    s->series[s->n++] = series; /* closed by emi_close */
    const char *slash = strrchr(series->name, '/'), *warning;
    for (size_t i = 0; (warning = mro_file_warning(series, i)) != NULL; i++) mro_file_warn(f, "%s", warning);
    struct mro_image_info *info = mro_file_add_image(f);
    if (info == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    *info = *mro_file_info(series, 0);
    snprintf(info->title, sizeof info->title, "%.127s", slash ? slash + 1 : series->name);
    return mro_file_seal_image(f, info, e);
}

static enum mro_code as_ser(const struct mro_file *f, const struct mro_reader **reader, struct mro_error *e)
{
    if (!mro_reader_ser.probe(f->bytes))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s' is no %s file", f->name, mro_reader_ser.name);
    *reader = &mro_reader_ser;
    return MRO_OK;
}

static enum mro_code emi_open(struct mro_file *f, struct mro_error *e)
{
    unsigned numbers[MAX_SERIES];
    const size_t named = mro_emi_numbers(f->bytes, numbers, MAX_SERIES);
    if (f->mapping == NULL)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s' is an EMI file, whose images lie in SER files beside it; open it from its folder",
                        f->name);
    if ((f->state = calloc(1, sizeof(struct emi_state))) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    const size_t length = strlen(f->name), room = length + 16;
    const char *slash = strrchr(f->name, '/'), *dot = strrchr(f->name, '.');
    const int stem = dot && (!slash || dot > slash + 1) ? (int)(dot - f->name) : (int)length;
    char *path = malloc(room);
    if (path == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    struct mro_error first = { .code = MRO_OK };
    enum mro_code rc = MRO_OK;
    for (size_t i = 0; rc == MRO_OK && i < (named ? named : MAX_SERIES); i++) {
        struct mro_file *series;
        struct mro_error why;
        snprintf(path, room, "%.*s_%u.ser", stem, f->name, named ? numbers[i] : (unsigned)i + 1);
        if (mro_file_open_as(&series, path, as_ser, f->memory_bytes, &why) == MRO_OK) {
            rc = add_series(f, series, e);
            continue;
        }
        if (named == 0 && why.code == MRO_EIO) break; /* no more of them */
        if (first.code == MRO_OK) first = why;
        mro_file_warn(f, "'%s' speaks of a series that is left out: %s", f->name, why.message);
    }
    free(path);
    if (rc != MRO_OK || f->images > 0) return rc;
    if (first.code != MRO_OK)
        return MRO_FAIL(e, first.code, "'%s' keeps its images in SER files, and none can be read: %.300s", f->name,
                        first.message);
    return MRO_FAIL(
        e, MRO_EFORMAT,
        "'%s' names no SER file and there is none beside it; values kept in an EMI file itself are not read", f->name);
}

/* Through the series' own file, not by a view of it: its pages are given back there, and it may be far larger than
 * memory. */
static enum mro_code emi_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    const struct emi_state *s = f->state;
    return mro_file_read_stored(s->series[image], 0, frame, out, e);
}

static void emi_close(struct mro_file *f)
{
    struct emi_state *s = f->state;
    for (size_t i = 0; i < s->n; i++) mro_file_close(s->series[i]);
    free(s);
    f->state = NULL;
}

const struct mro_reader mro_reader_emi = {
    .name = "EMI", .probe = mro_emi_probe, .open = emi_open, .read = emi_read, .close = emi_close
};

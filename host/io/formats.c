/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The formats that are read: which reader a file is for, by its content. */
#include <stdio.h>
#include <string.h>

#include "core/inside.h"
#include "io/reader.h"

/* Asked in this order; probes look at signatures, so at most one of them says yes. MRC is last: without its magic word
 * it is known by numbers that make sense. */
static const struct mro_reader *const readers[] = {
    &mro_reader_tiff, &mro_reader_dm,  &mro_reader_png, &mro_reader_jpeg,
    &mro_reader_emd,  &mro_reader_ser, &mro_reader_emi, &mro_reader_mrc,
};

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

static enum mro_code by_content(const struct mro_file *f, const struct mro_reader **reader, struct mro_error *e)
{
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i]->probe(f->bytes)) {
            *reader = readers[i];
            return MRO_OK;
        }
    return unknown_format(f, e);
}

static enum mro_code by_name_or_content(const struct mro_file *f, const struct mro_reader **reader, struct mro_error *e)
{
    const struct mro_lent *lent = mro_inside_lent(f->name);
    if (lent == NULL || !lent->array) return by_content(f, reader, e);
    *reader = &mro_reader_array; /* which nothing in its bytes tells */
    return MRO_OK;
}

enum mro_code mro_file_open(struct mro_file **f, const char *path, size_t memory_bytes, struct mro_error *e)
{
    return mro_file_open_as(f, path, by_name_or_content, memory_bytes, e);
}

enum mro_code mro_file_open_memory(struct mro_file **f, const void *bytes, size_t size, const char *name,
                                   size_t memory_bytes, struct mro_error *e)
{
    return mro_file_open_bytes_as(f, (struct mro_bytes){ bytes, size }, name, by_content, memory_bytes, e);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An image that lies in the memory of the program that calls the library, lent under a name (core/inside.h). */
#include <string.h>

#include "core/inside.h"
#include "io/reader.h"

static bool array_probe(struct mro_bytes b)
{
    (void)b;
    return false;
}

static enum mro_code array_open(struct mro_file *f, struct mro_error *e)
{
    const struct mro_lent *lent = mro_inside_lent(f->name);
    struct mro_image_info *info = mro_file_add_image(f);
    if (info == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    info->kind = lent->kind;
    info->dtype = lent->dtype;
    info->axes = lent->axes;
    memcpy(info->axis, lent->axis, lent->axes * sizeof *info->axis);
    info->beam_kv = lent->beam_kv;
    return mro_file_seal_image(f, info, e);
}

static bool array_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    const struct mro_image_info *info = mro_file_info(f, image);
    const struct mro_axis *x = &info->axis[info->axes - 1];
    const size_t ny = info->axes > 1 ? x[-1].size : 1;
    *p = f->bytes.p + frame * ny * x->size * mro_dtype_size(info->dtype);
    *big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    return true;
}

static enum mro_code array_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    (void)image;
    (void)frame;
    (void)out;
    return MRO_FAIL(e, MRO_EINTERNAL, "'%s' is read where it lies", f->name);
}

const struct mro_reader mro_reader_array = {
    .name = "array", .probe = array_probe, .open = array_open, .read = array_read, .view = array_view
};

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is an image in either format named EMD: an array of numbers that a file of this size can hold. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/emd.h"

#define MAX_EFFORT ((size_t)64 << 20)   /* bytes unpacked for the metadata and axes of all images of a file */
#define MAX_HOLLOW ((uint64_t)64 << 20) /* bytes of an array of which nothing need have been written */

void mro_emd_pass_over(struct mro_file *f, uint32_t node, const char *format, ...)
{
    struct emd_state *s = f->state;
    char what[320], path[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    mro_h5_path(&s->h5, node, path, sizeof path);
    if (s->first.code == MRO_OK) MRO_FAIL(&s->first, MRO_EFORMAT, "'%s': '%s' %s", f->name, path, what);
    mro_file_warn(f, "'%s' %s; it is passed over", path, what);
}

bool mro_emd_affordable(struct emd_state *s, const struct mro_h5_dataset *d, size_t bytes)
{
    size_t chunk = d->filters > 0 ? d->type.bytes : bytes;
    for (unsigned i = 0; d->filters > 0 && i < d->rank; i++)
        if (__builtin_mul_overflow(chunk, (size_t)d->chunk[i], &chunk)) return false;
    if (chunk < bytes) chunk = bytes;
    if (chunk > MAX_EFFORT - s->effort) return false;
    s->effort += chunk;
    return true;
}

void mro_emd_set_text(char *to, size_t size, const char *from)
{
    if (from != NULL && *from != '\0') snprintf(to, size, "%s", from);
}

/* Whether the arrays so far and this one claim to be larger than any that a file of this size can hold: deflate makes
 * at most 1032 bytes of one, and a recording that was broken off has some of its chunks. A file of some kilobytes with
 * a shape of terabytes, or with one array under thousands of names, would otherwise be read for days. */
static bool is_hollow(struct mro_file *f, const struct mro_h5_dataset *d)
{
    struct emd_state *s = f->state;
    uint64_t bytes = d->type.bytes;
    for (unsigned i = 0; i < d->rank; i++)
        if (__builtin_mul_overflow(bytes, d->shape[i], &bytes)) return true;
    if (__builtin_add_overflow(bytes, s->claimed, &bytes) || (bytes > MAX_HOLLOW && bytes / 1032 > f->bytes.size))
        return true;
    s->claimed = bytes;
    return false;
}

uint32_t mro_emd_find_array(struct mro_file *f, uint32_t group, const char *name)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    uint32_t raw = h->node[group].first;
    enum mro_dtype dtype;
    while (raw != MRO_H5_NONE && strcmp(h->node[raw].name, name) != 0) raw = h->node[raw].next;
    if (raw == MRO_H5_NONE) {
        mro_emd_pass_over(f, group, "has no array '%s'", name);
        return MRO_H5_NONE;
    }
    const struct mro_h5_node *n = &h->node[raw];
    const uint32_t node = mro_h5_follow(h, raw);
    if (n->kind == MRO_H5_EXTERNAL) {
        mro_emd_pass_over(f, raw, "is a link into another file (%.150s), which is not followed", n->text);
        return MRO_H5_NONE;
    }
    if (node == MRO_H5_NONE) {
        mro_emd_pass_over(f, raw, "is a link to '%.150s', which leads to nothing in this file", n->text);
        return MRO_H5_NONE;
    }
    const struct mro_h5_dataset *d = mro_h5_dataset(h, node);
    if (d == NULL && h->node[node].kind == MRO_H5_OTHER && h->node[node].text[0] != '\0') {
        mro_emd_pass_over(f, raw, "%s", h->node[node].text);
        return MRO_H5_NONE;
    }
    if (d == NULL) {
        mro_emd_pass_over(f, raw, "is %s, not an array", h->node[node].kind == MRO_H5_GROUP ? "a group" : "an object");
        return MRO_H5_NONE;
    }
    if (d->layout == MRO_H5_REFUSED) {
        mro_emd_pass_over(f, raw, "%s", d->refused);
        return MRO_H5_NONE;
    }
    if (!mro_h5_dtype(&d->type, &dtype)) {
        mro_emd_pass_over(f, raw, "holds %s, no numbers of a type that is read",
                          d->type.class == MRO_H5_TEXT ? "texts" : "elements of a kind of their own");
        return MRO_H5_NONE;
    }
    for (unsigned i = 0; i < d->rank; i++) {
        if (d->shape[i] == 0 || d->shape[i] > SIZE_MAX) {
            mro_emd_pass_over(f, raw, "has no samples along its axis %u", i);
            return MRO_H5_NONE;
        }
    }
    if (d->layout == MRO_H5_EMPTY) {
        mro_emd_pass_over(f, raw, "holds no values: nothing was ever written, or they were pruned");
        return MRO_H5_NONE;
    }
    if (is_hollow(f, d)) {
        mro_emd_pass_over(f, raw, "is larger than a file of %zu bytes can fill, with what comes before it",
                          f->bytes.size);
        return MRO_H5_NONE;
    }
    return node;
}

struct mro_image_info *mro_emd_new_image(struct mro_file *f, struct mro_error *e)
{
    struct emd_state *s = f->state;
    if (f->images >= EMD_IMAGES) {
        MRO_FAIL(e, MRO_EFORMAT, "'%s' holds more than %d images", f->name, EMD_IMAGES);
        return NULL;
    }
    if (f->images == s->room) {
        const size_t room = s->room ? 2 * s->room : 16;
        struct emd_image *grown = realloc(s->image, room * sizeof *grown);
        if (grown != NULL) {
            s->image = grown;
            s->room = room;
        }
    }
    struct mro_image_info *info = f->images < s->room ? mro_file_add_image(f) : NULL;
    if (info == NULL) MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for image %zu", f->name, f->images);
    return info;
}

struct mro_image_info *mro_emd_add_image(struct mro_file *f, uint32_t node, const unsigned *order, unsigned keep,
                                         struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    struct mro_image_info *info = mro_emd_new_image(f, e);
    if (info == NULL) return NULL;
    struct emd_image *im = &s->image[f->images - 1];
    *im = (struct emd_image){ .node = node, .rank = d->rank };
    mro_h5_dtype(&d->type, &info->dtype);
    for (unsigned i = 0; i < d->rank; i++) {
        im->order[i] = order[i];
        const size_t size = (size_t)d->shape[order[i]];
        if (i + keep >= d->rank || size > 1) info->axis[info->axes++].size = size;
    }
    return info;
}

void mro_emd_seal_image(struct mro_file *f, struct mro_image_info *info)
{
    struct emd_state *s = f->state;
    struct emd_image *im = &s->image[f->images - 1];
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    struct mro_error why;
    /* A frame is the last two axes that are left; those before them choose it. */
    unsigned planes = 0;
    im->frame_bytes = d->type.bytes;
    im->lead = im->rank;
    while (planes < (info->axes < 2 ? info->axes : 2) && im->lead > 0) {
        const uint64_t size = d->shape[im->order[--im->lead]];
        if (__builtin_mul_overflow(im->frame_bytes, (size_t)size, &im->frame_bytes)) im->frame_bytes = 0;
        if (size == info->axis[info->axes - 1 - planes].size) planes++;
    }
    const enum mro_code c = mro_file_seal_image(f, info, &why);
    if (c == MRO_OK) {
        if (d->layout == MRO_H5_CHUNKED && d->chunks_stored < d->chunks)
            mro_file_warn(f, "'%s': %zu of the %zu chunks of its values were never written and read as the fill value",
                          info->title, d->chunks - d->chunks_stored, d->chunks);
        return;
    }
    if (s->first.code == MRO_OK) s->first = why;
    mro_file_warn(f, "%s", why.message);
    f->images--;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Berkeley EMD (NCEM, emdatasets.com): any group with the attribute emd_group_type holds `data` in C order and a vector
 * dim1 .. dimN (since version 1.0 dim0 .. ) for each of its axes, with a name and a unit. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/emd.h"

/* Reads a vector of numbers as doubles, at most `most` of them from `from` on. */
static size_t read_numbers(struct mro_file *f, uint32_t node, uint64_t from, size_t most, double *v)
{
    struct emd_state *s = f->state;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    enum mro_dtype dtype;
    struct mro_error e;
    unsigned char raw[4 * 8];
    if (d->rank != 1 || from >= d->shape[0] || !mro_h5_dtype(&d->type, &dtype) || d->type.class == MRO_H5_PAIR ||
        dtype == MRO_F16)
        return 0;
    const struct mro_h5_box box = { .from = { from },
                                    .n = { d->shape[0] - from < most ? d->shape[0] - from : most },
                                    .order = { 0 } };
    if (box.n[0] > 4 || !mro_emd_affordable(s, d, sizeof raw) ||
        mro_h5_read(&s->h5, node, &box, raw, f->memory_bytes, &e) != MRO_OK)
        return 0;
    for (size_t i = 0; i < box.n[0]; i++) {
        const unsigned char *p = raw + i * d->type.bytes;
        if (d->type.class == MRO_H5_FLOAT) {
            float single;
            double both;
            memcpy(&single, p, sizeof single);
            memcpy(&both, p, d->type.bytes == 8 ? sizeof both : 0);
            v[i] = d->type.bytes == 8 ? both : single;
        } else {
            uint64_t u = 0;
            for (unsigned k = 0; k < d->type.bytes; k++)
                u |= (uint64_t)p[__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? d->type.bytes - 1 - k : k] << 8 * k;
            const unsigned spare = 64 - 8 * d->type.bytes;
            v[i] = d->type.is_signed ? (double)((int64_t)(u << spare) >> spare) : (double)u;
        }
    }
    return (size_t)box.n[0];
}

struct dimension {
    double step, offset;
    const char *unit, *name;
};

/* Reads dimension vector `number` of an axis of `size` samples. The vector has an entry for every sample, or two. */
static bool read_dimension(struct mro_file *f, uint32_t group, unsigned number, uint64_t size, struct dimension *out)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    char name[16];
    double first[2] = { 0 }, last[1] = { 0 };
    snprintf(name, sizeof name, "dim%u", number);
    const uint32_t node = mro_h5_find(h, group, name);
    const struct mro_h5_dataset *d = mro_h5_dataset(h, node);
    if (d == NULL) {
        mro_emd_pass_over(f, group, "has no vector '%s' for an axis of its data", name);
        return false;
    }
    if (d->rank != 1 || (d->shape[0] != size && d->shape[0] != 2)) {
        mro_emd_pass_over(f, group, "has a vector '%s' of %llu entries for an axis of %llu", name,
                          (unsigned long long)(d->rank == 1 ? d->shape[0] : 0), (unsigned long long)size);
        return false;
    }
    *out = (struct dimension){ .unit = mro_h5_text(h, node, "units"), .name = mro_h5_text(h, node, "name") };
    if (d->type.class == MRO_H5_TEXT || read_numbers(f, node, 0, 2, first) < 2) return true; /* names, or one sample */
    out->offset = first[0];
    out->step = first[1] - first[0];
    if (d->shape[0] > 2 && read_numbers(f, node, d->shape[0] - 1, 1, last) == 1) {
        /* Over the whole length the rounding of single precision does not show. */
        const double mean = (last[0] - first[0]) / (double)(d->shape[0] - 1);
        if (fabs(mean - out->step) <= 1e-3 * fabs(mean))
            out->step = mean;
        else
            mro_file_warn(f, "the steps of '%s' of '%s' are not even: %g at its begin, %g in the mean", name,
                          h->node[group].name, out->step, mean);
    }
    return true;
}

static bool named(const struct dimension *d, char letter)
{
    return d->name != NULL && tolower((unsigned char)d->name[0]) == letter && d->name[1] == '\0';
}

/* The array of an EMD group: `data` by the definition; the others are written by py4DSTEM and Prismatic. */
static const char *array_name(const struct mro_h5 *h, uint32_t group)
{
    static const char *const names[] = { "data", "datacube", "counted_datacube", "realslice", "diffractionslice" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (uint32_t i = h->node[group].first; i != MRO_H5_NONE; i = h->node[i].next)
            if (strcmp(h->node[i].name, names[k]) == 0) return names[k];
    return NULL;
}

static void apply_microscope(const struct mro_file *f, struct mro_image_info *info)
{
    const struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    static const char *const voltages[] = { "high tension", "voltage", "accelerating voltage" };
    const uint32_t m = mro_h5_find(h, 0, "microscope");
    double v;
    if (m == MRO_H5_NONE) return;
    for (size_t i = 0; i < sizeof voltages / sizeof *voltages && info->beam_kv == 0; i++)
        if (mro_h5_number(h, m, voltages[i], &v) && v >= 1 && v < 1e7) info->beam_kv = v >= 2000 ? v / 1000 : v;
    if (mro_h5_number(h, m, "camera length", &v) && v > 0) info->camera_length_mm = v * 1000;
    if (mro_h5_number(h, m, "magnification", &v) && v > 0) info->magnification = v;
    if (mro_h5_number(h, m, "binning", &v) && v > 0) info->binning[0] = info->binning[1] = v;
    mro_emd_set_text(info->instrument, sizeof info->instrument, mro_h5_text(h, m, "name"));
}

static enum mro_code add_group(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    const char *name = array_name(h, group);
    if (name == NULL) return MRO_OK; /* groups of groups carry the attribute, too */
    const uint32_t node = mro_emd_find_array(f, group, name);
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = h->node[node].data;
    if (d->rank == 0) {
        mro_emd_pass_over(f, group, "holds a single number, no array");
        return MRO_OK;
    }
    struct dimension dim[MRO_H5_RANK];
    const unsigned base = mro_h5_find(h, group, "dim0") != MRO_H5_NONE ? 0 : 1;
    for (unsigned i = 0; i < d->rank; i++)
        if (!read_dimension(f, group, base + i, d->shape[i], &dim[i])) return MRO_OK;
    /* The definition says C order, the last axis fastest, and files of NCEM have their axes named Y, X in that order
     * (programs that turn them round show the picture mirrored). HyperSpy writes its arrays transposed and names the
     * axes as they then lie, x first: such files are turned back. */
    const unsigned last = d->rank - 1;
    const bool transposed = d->rank >= 2 && named(&dim[0], 'x') && named(&dim[1], 'y');
    unsigned order[MRO_H5_RANK];
    for (unsigned i = 0; i < d->rank; i++) order[i] = transposed ? last - i : i;
    struct mro_image_info *info = mro_emd_add_image(f, node, order, MRO_H5_RANK, e);
    if (info == NULL) return e ? e->code : MRO_EMEMORY;
    mro_emd_set_text(info->title, sizeof info->title, h->node[group].name);
    bool energy = info->axes == 1;
    for (unsigned i = 0; i < d->rank; i++) {
        const struct dimension *a = &dim[order[i]];
        mro_axis_set(&info->axis[i], a->step, a->offset, a->unit, MRO_SOURCE_VENDOR);
        energy = energy || info->axis[i].unit == MRO_UNIT_EV;
    }
    const enum mro_unit unit = info->axis[info->axes - 1].unit;
    if (energy)
        info->kind = MRO_KIND_SPECTRUM;
    else if (unit == MRO_UNIT_INV_NM || unit == MRO_UNIT_RAD)
        info->kind = MRO_KIND_DIFFRACTION;
    apply_microscope(f, info);
    mro_emd_seal_image(f, info);
    return MRO_OK;
}

enum mro_code mro_emd_open_berkeley(struct mro_file *f, bool *any, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    for (size_t i = 0; i < h->attributes; i++) {
        const struct mro_h5_attribute *a = &h->attribute[i];
        if (strcmp(a->name, "emd_group_type") != 0 || h->node[a->node].kind != MRO_H5_GROUP) continue;
        *any = true;
        MRO_TRY(add_group(f, a->node, e));
    }
    return MRO_OK;
}

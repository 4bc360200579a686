/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Velox EMD (Thermo Fisher, FEI): /Data/Image/<id>/Data is (y, x, frame), the frame axis last; /Metadata beside it is a
 * column of bytes for each frame, JSON ended by zeros, all numbers as texts in SI units. Which detector or element an
 * image shows is said elsewhere: in /Displays since version 11, in /Operations and /Presentation before. Versions 4, 8
 * and 11 have been read; the format is not published, so a missing key is a warning that names it, not an error. */
#include <stdio.h>
#include <string.h>

#include "io/emd_velox.h"

enum { NEWEST = 11 };

/* ---- images and spectra ---- */

static bool is_half_plane(const struct mro_h5_type *t)
{
    return t->class == MRO_H5_PAIR && strstr(t->name[0], "Half") != NULL;
}

static enum mro_code add_image(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const uint32_t node = mro_emd_find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    if (d->rank != 2 && d->rank != 3) {
        mro_emd_pass_over(f, group, "has Data of %u axes where an image has 2 or 3", d->rank);
        return MRO_OK;
    }
    json_t *o;
    if (!mro_velox_metadata(f, group, &o)) return MRO_OK;
    static const unsigned stack[] = { 2, 0, 1 }, plain[] = { 0, 1 };
    enum mro_code rc = MRO_OK;
    struct mro_image_info *info = mro_emd_add_image(f, node, d->rank == 3 ? stack : plain, 2, e);
    if (info == NULL) {
        rc = e ? e->code : MRO_EMEMORY;
        goto done;
    }
    mro_emd_set_text(info->title, sizeof info->title, mro_velox_text(o, "BinaryResult/Detector"));
    mro_emd_set_text(info->title, sizeof info->title, mro_velox_label(s, group));
    mro_velox_describe(f, o, info);
    mro_velox_pixel_size(f, o, info, &info->axis[info->axes - 2]);
    if (info->axes > 2) mro_velox_frame_time(o, &info->axis[0]);
    if (info->axis[info->axes - 1].unit == MRO_UNIT_INV_NM || info->axis[info->axes - 1].unit == MRO_UNIT_RAD)
        info->kind = MRO_KIND_DIFFRACTION;
    if (s->scans < EMD_SCANS && info->kind != MRO_KIND_DIFFRACTION &&
        mro_velox_positive(o, "Scan/ScanSize/width") > 0) {
        s->scan[s->scans][0] = info->axis[info->axes - 2].size;
        s->scan[s->scans++][1] = info->axis[info->axes - 1].size;
    }
    if (is_half_plane(&d->type)) {
        info->kind = MRO_KIND_DIFFRACTION;
        mro_file_warn(f, "'%s' is half of a Fourier transform and handed out as stored", info->title);
    }
    mro_emd_seal_image(f, info);
done:
    json_decref(o);
    return rc;
}

static enum mro_code add_spectrum(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const uint32_t node = mro_emd_find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    if (d->rank != 1 && d->rank != 2) {
        mro_emd_pass_over(f, group, "has Data of %u axes where a spectrum has 1 or 2", d->rank);
        return MRO_OK;
    }
    json_t *o;
    if (!mro_velox_metadata(f, group, &o)) return MRO_OK;
    static const unsigned several[] = { 1, 0 }, one[] = { 0 };
    enum mro_code rc = MRO_OK;
    struct mro_image_info *info = mro_emd_add_image(f, node, d->rank == 2 ? several : one, 1, e);
    if (info == NULL) {
        rc = e ? e->code : MRO_EMEMORY;
        goto done;
    }
    const char *detector = mro_velox_text(o, "BinaryResult/Detector");
    snprintf(info->title, sizeof info->title, "EDS%s%s", detector ? " " : "", detector ? detector : "");
    mro_velox_describe(f, o, info);
    info->kind = MRO_KIND_SPECTRUM;
    mro_velox_dispersion(f, o, info);
    mro_emd_seal_image(f, info);
done:
    json_decref(o);
    return rc;
}

/* ---- the file ---- */

/* Files that were pruned, or written by other programs, keep only the spectrum image in a form of Velox's own. */
static void note_pruned(struct mro_file *f)
{
    struct emd_state *s = f->state;
    const uint32_t images = mro_h5_find(&s->h5, 0, "Data/SpectrumImage");
    if (s->stream != NULL || images == MRO_H5_NONE || s->h5.node[images].first == MRO_H5_NONE) return;
    mro_emd_pass_over(f, images,
                      "is in a packed form of Velox's own, and its spectrum stream is not in the file (pruned)");
}

/* Calls `take` for every group below /Data/<name>. */
static enum mro_code each(struct mro_file *f, const char *name,
                          enum mro_code (*take)(struct mro_file *f, uint32_t group, struct mro_error *e),
                          struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    char path[64];
    snprintf(path, sizeof path, "Data/%s", name);
    const uint32_t list = mro_h5_find(h, 0, path);
    if (list == MRO_H5_NONE || h->node[list].kind != MRO_H5_GROUP) return MRO_OK;
    size_t groups = 0;
    for (uint32_t i = h->node[list].first; i != MRO_H5_NONE; i = h->node[i].next) {
        if (h->node[i].kind != MRO_H5_GROUP) continue;
        if (groups++ == EMD_IMAGES)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' holds more than %d groups in '/%s'", f->name, EMD_IMAGES, path);
        MRO_TRY(take(f, i, e));
    }
    return MRO_OK;
}

static void check_version(struct mro_file *f)
{
    struct emd_state *s = f->state;
    json_t *o = mro_velox_json(s, mro_h5_find(&s->h5, 0, "Version"));
    double version;
    if (!mro_velox_number(o, "version", &version))
        mro_file_warn(f, "the file has no /Version: it is read as Velox EMD of version %d", NEWEST);
    else if (version > NEWEST)
        mro_file_warn(f, "the file is Velox EMD of version %g, newer than those known here (up to %d)", version,
                      NEWEST);
    json_decref(o);
}

static bool has_group(const struct mro_h5 *h, const char *path)
{
    const uint32_t n = mro_h5_find(h, 0, path);
    return n != MRO_H5_NONE && h->node[n].kind == MRO_H5_GROUP;
}

bool mro_emd_is_velox(struct emd_state *s)
{
    const struct mro_h5 *h = &s->h5;
    static const char *const groups[] = { "Data/Image", "Data/Spectrum", "Data/SpectrumStream", "Data/SpectrumImage" };
    json_t *o = mro_velox_json(s, mro_h5_find(h, 0, "Version"));
    const char *format = mro_velox_text(o, "format");
    bool yes = format != NULL && strcmp(format, "Velox") == 0;
    json_decref(o);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) yes = yes || has_group(h, groups[i]);
    return yes;
}

enum mro_code mro_emd_open_velox(struct mro_file *f, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    check_version(f);
    mro_velox_read_labels(s);
    MRO_TRY(each(f, "Spectrum", add_spectrum, e));
    MRO_TRY(each(f, "Image", add_image, e));
    MRO_TRY(each(f, "SpectrumStream", mro_velox_add_stream, e));
    note_pruned(f);
    static const char *const known[] = { "Image", "Spectrum", "SpectrumStream", "SpectrumImage", "Text" };
    const uint32_t data = mro_h5_find(h, 0, "Data");
    for (uint32_t i = data == MRO_H5_NONE ? MRO_H5_NONE : h->node[data].first; i != MRO_H5_NONE; i = h->node[i].next) {
        bool is_known = h->node[i].kind != MRO_H5_GROUP || h->node[i].first == MRO_H5_NONE;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known = is_known || strcmp(h->node[i].name, known[k]) == 0;
        if (!is_known) mro_file_warn(f, "'/Data/%s' is of a kind that is not read; it is passed over", h->node[i].name);
    }
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The spectrum stream of a Velox file: its shape, and the images that it is read as. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "io/emd_velox.h"

/* Rows and columns of the scan by its own metadata: the part of the full raster that was gone over. */
static bool scan_shape(const json_t *o, double shape[2])
{
    double width, height, left, right, top, bottom;
    if (!mro_velox_number(o, "Scan/ScanSize/width", &width) || !mro_velox_number(o, "Scan/ScanSize/height", &height) ||
        !mro_velox_number(o, "Scan/ScanArea/left", &left) || !mro_velox_number(o, "Scan/ScanArea/right", &right) ||
        !mro_velox_number(o, "Scan/ScanArea/top", &top) || !mro_velox_number(o, "Scan/ScanArea/bottom", &bottom))
        return false;
    shape[0] = round(height * (bottom - top));
    shape[1] = round(width * (right - left));
    return shape[0] >= 1 && shape[1] >= 1 && shape[0] < 1e6 && shape[1] < 1e6;
}

/* Scans in the stream of a group: the file says it in up to three places, not all of them in every version. */
static size_t frames_of(struct emd_state *s, uint32_t group)
{
    const struct mro_h5 *h = &s->h5;
    const struct mro_h5_dataset *metadata = mro_h5_dataset(h, mro_h5_find(h, group, "Metadata"));
    const struct mro_h5_dataset *table = mro_h5_dataset(h, mro_h5_find(h, group, "FrameLocationTable"));
    const uint32_t images = mro_h5_find(h, 0, "Data/SpectrumImage");
    uint64_t frames = metadata && metadata->rank == 2 ? metadata->shape[1] : 0;
    if (table && table->rank > 0 && table->shape[0] > frames) frames = table->shape[0];
    for (uint32_t i = images == MRO_H5_NONE ? MRO_H5_NONE : h->node[images].first; i != MRO_H5_NONE;
         i = h->node[i].next) {
        json_t *o = mro_velox_json(s, mro_h5_find(h, i, "SpectrumImageSettings"));
        const double end = mro_velox_positive(o, "endFramePosition");
        if (end > (double)frames && end < 1e9) frames = (uint64_t)end;
        json_decref(o);
    }
    return frames < 1000000000 ? (size_t)frames : 0;
}

/* Sets the stream up from its first group; false, with the reason noted, when it cannot be read. */
static bool start_stream(struct mro_file *f, uint32_t group, const json_t *o, const json_t *settings,
                         struct mro_eds_stream *t)
{
    struct emd_state *s = f->state;
    double channels, own[2] = { 0, 0 }, width, height;
    if (!mro_velox_number(settings, "bincount", &channels) || !(channels >= 1 && channels < MRO_EDS_NEXT_PIXEL)) {
        mro_emd_pass_over(f, group, "has AcquisitionSettings without a bincount: the number of channels is unknown");
        return false;
    }
    t->info.channels = (size_t)channels;
    /* What the scan area comes to, when an image beside it (and not only a survey of the field) has that shape. */
    const bool known = scan_shape(o, own);
    bool agreed = false;
    for (size_t i = 0; i < s->scans; i++)
        agreed = agreed || (known && (double)s->scan[i][0] == own[0] && (double)s->scan[i][1] == own[1]);
    if (s->scans > 0 && !agreed) {
        t->info.ny = s->scan[0][0];
        t->info.nx = s->scan[0][1];
        if (known)
            mro_file_warn(f,
                          "the spectrum stream says it is %g x %g pixels, the image beside it is %zu x %zu, which is "
                          "taken",
                          own[1], own[0], t->info.nx, t->info.ny);
    } else if (known) {
        t->info.ny = (size_t)own[0];
        t->info.nx = (size_t)own[1];
    } else if (mro_velox_number(settings, "RasterScanDefinition/Width", &width) &&
               mro_velox_number(settings, "RasterScanDefinition/Height", &height) && width >= 1 && height >= 1 &&
               width < 1e6 && height < 1e6) {
        t->info.ny = (size_t)height;
        t->info.nx = (size_t)width;
    } else {
        mro_emd_pass_over(f, group, "says nowhere how many pixels its scan has (Scan.ScanSize, RasterScanDefinition)");
        return false;
    }
    return true;
}

/* The images of the stream are of all its detectors: names one more of them. */
static void add_detector(struct mro_file *f, const char *name)
{
    const struct emd_state *s = f->state;
    for (size_t i = 0; name != NULL && i < f->images; i++) {
        char *to = f->info[i].detector;
        const size_t n = strlen(to), room = sizeof f->info[i].detector;
        if (s->image[i].what == EMD_ARRAY || strstr(to, name) != NULL) continue;
        if (n + strlen(name) + sizeof ", " <= room) snprintf(to + n, room - n, "%s%s", n ? ", " : "", name);
        mro_clean_text(to);
    }
}

/* What the stream is read as: a spectrum for each pixel, the sum of them, and the counts of each pixel. */
static enum mro_code add_images(struct mro_file *f, const json_t *o, const struct mro_axis *energy, struct mro_error *e)
{
    struct emd_state *s = f->state;
    struct mro_eds_stream *t = s->stream;
    static const struct {
        int what;
        enum mro_dtype dtype;
        enum mro_kind kind;
        const char *title;
    } images[] = {
        { EMD_SPECTRUM_IMAGE, MRO_U16, MRO_KIND_SPECTRUM, "EDS" },
        { EMD_SUM_SPECTRUM, MRO_U32, MRO_KIND_SPECTRUM, "EDS sum" },
        { EMD_TOTAL_COUNTS, MRO_U32, MRO_KIND_MAP, "EDS counts" },
    };
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        struct mro_image_info *info = mro_emd_new_image(f, e);
        struct mro_error why;
        if (info == NULL) return e ? e->code : MRO_EMEMORY;
        s->image[f->images - 1] = (struct emd_image){ .what = images[i].what };
        info->dtype = images[i].dtype;
        snprintf(info->title, sizeof info->title, "%s", images[i].title);
        if (images[i].what != EMD_SUM_SPECTRUM) {
            info->axes = 2;
            info->axis[0].size = t->info.ny;
            info->axis[1].size = t->info.nx;
            mro_velox_pixel_size(f, o, info, &info->axis[0]);
            memcpy(t->info.axis, info->axis, sizeof t->info.axis);
        }
        if (images[i].what != EMD_TOTAL_COUNTS) {
            info->axis[info->axes] = *energy;
            info->axis[info->axes++].size = t->info.channels;
        }
        mro_velox_describe(f, o, info);
        info->kind = images[i].kind;
        if (mro_file_seal_image(f, info, &why) == MRO_OK) continue;
        mro_file_warn(f, "%s", why.message);
        if (s->first.code == MRO_OK) s->first = why;
        f->images--;
    }
    return MRO_OK;
}

enum mro_code mro_velox_add_stream(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    struct mro_h5 *h = &s->h5;
    json_t *o = NULL, *settings = NULL;
    struct mro_image_info energy = { .axes = 1 };
    const uint32_t node = mro_emd_find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = h->node[node].data;
    if (d->type.class != MRO_H5_INTEGER || d->type.bytes != 2 || d->type.is_signed || d->rank < 1 || d->rank > 2 ||
        (d->rank == 2 && d->shape[1] != 1)) {
        mro_emd_pass_over(f, group, "has Data that is no column of 16-bit words");
        return MRO_OK;
    }
    if (!mro_velox_metadata(f, group, &o)) return MRO_OK;
    enum mro_code rc = MRO_OK;
    settings = mro_velox_json(s, mro_h5_find(h, group, "AcquisitionSettings"));
    const char *encoding = mro_velox_text(settings, "StreamEncoding");
    if (settings == NULL) {
        mro_emd_pass_over(f, group, "has no AcquisitionSettings: the number of channels is unknown");
        goto done;
    }
    if (encoding != NULL && strcmp(encoding, "uint16") != 0) {
        mro_emd_pass_over(f, group, "has the StreamEncoding '%.40s', which is not read", encoding);
        goto done;
    }
    snprintf(energy.title, sizeof energy.title, "spectrum stream");
    mro_velox_dispersion(f, o, &energy);
    const bool first = s->stream == NULL;
    if (first) {
        struct mro_eds_stream *t = calloc(1, sizeof *t);
        if (t == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for the spectrum stream of '%s'", f->name);
            goto done;
        }
        t->f = f;
        t->h5 = h;
        t->info.step_ev = energy.axis[0].step;
        t->info.offset_ev = energy.axis[0].offset;
        if (!start_stream(f, group, o, settings, t)) {
            mro_eds_stream_release(t);
            goto done;
        }
        s->stream = t;
    }
    struct mro_eds_stream *t = s->stream;
    if (t->parts == MRO_EDS_MAX_PARTS || mro_velox_positive(settings, "bincount") != (double)t->info.channels ||
        energy.axis[0].step != t->info.step_ev || energy.axis[0].offset != t->info.offset_ev) {
        mro_emd_pass_over(f, group, "has other channels or energies than the stream before it");
        goto done;
    }
    const size_t frames = frames_of(s, group);
    if (frames > t->info.frames) t->info.frames = frames;
    t->part[t->parts] = node;
    t->words[t->parts++] = d->shape[0];
    t->info.detectors = t->parts;
    if (first)
        rc = add_images(f, o, &energy.axis[0], e);
    else
        add_detector(f, mro_velox_text(o, "BinaryResult/Detector"));
done:
    json_decref(settings);
    json_decref(o);
    return rc;
}

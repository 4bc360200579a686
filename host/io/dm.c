/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Gatan DigitalMicrograph files, DM3 and DM4.
 *
 * The tags (dm_tags.h) are read once and dropped after opening; pixels stay where they lie in the file.
 */
#include "io/dm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/dm_tags.h"
#include "io/text.h"

#define MAX_IMAGES 4096

/* ---- pixels ---- */

/* How the pixels of a type lie in the file. */
enum layout {
    PLAIN,  /* samples one after the other */
    COLOUR, /* one 32-bit word per pixel, 0xAARRGGBB */
    HALF,   /* half plane of a Fourier transform, ny rows of nx/2 + 1 complex numbers, kx = 0 first */
    PACKED  /* the same in nx * ny real numbers: the kx = Nyquist column is folded into the kx = 0 column */
};

static const struct pixel_type {
    unsigned code; /* DataType */
    enum mro_dtype dtype;
    enum layout layout;
    unsigned char sample_bytes, samples; /* stored */
} pixel_types[] = {
    { 1, MRO_I16, PLAIN, 2, 1 },   { 2, MRO_F32, PLAIN, 4, 1 },     { 3, MRO_C64, PLAIN, 4, 2 },
    { 5, MRO_C64, PACKED, 4, 1 },  { 6, MRO_U8, PLAIN, 1, 1 },      { 7, MRO_I32, PLAIN, 4, 1 },
    { 8, MRO_RGB8, COLOUR, 4, 1 }, { 9, MRO_I8, PLAIN, 1, 1 },      { 10, MRO_U16, PLAIN, 2, 1 },
    { 11, MRO_U32, PLAIN, 4, 1 },  { 12, MRO_F64, PLAIN, 8, 1 },    { 13, MRO_C128, PLAIN, 8, 2 },
    { 14, MRO_U8, PLAIN, 1, 1 },   { 23, MRO_RGBA8, COLOUR, 4, 1 }, { 27, MRO_C64, HALF, 4, 2 },
    { 28, MRO_C128, HALF, 8, 2 },  { 39, MRO_I64, PLAIN, 8, 1 },    { 40, MRO_U64, PLAIN, 8, 1 },
};

/* What reading needs of one image. */
struct picture {
    const struct pixel_type *type;
    const unsigned char *data;
    size_t nx, ny;      /* as stored, before a half plane is completed */
    size_t frame_bytes; /* stored */
};

struct dm_state {
    bool big;
    size_t pictures;
    struct picture picture[];
};

static double load(const unsigned char *p, size_t bytes, bool big)
{
    if (bytes == 8) {
        const uint64_t bits = mro_get_u64(p, big);
        double v;
        memcpy(&v, &bits, sizeof v);
        return v;
    }
    const uint32_t bits = mro_get_u32(p, big);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void store_complex(unsigned char *out, size_t bytes, double re, double im)
{
    if (bytes == 8) {
        memcpy(out, &re, 8);
        memcpy(out + 8, &im, 8);
        return;
    }
    const float v[2] = { (float)re, (float)im };
    memcpy(out, v, sizeof v);
}

/* Completes a half plane by F(-k) = conj F(k), zero frequency at (nx/2, ny/2). The file keeps the columns kx <= 0,
 * written from 0 outwards. An odd plane gives up its outermost column of kx > 0, as the other readers of this format
 * do. */
static void complete_half(const struct picture *p, bool big, unsigned char *out)
{
    const size_t s = p->type->sample_bytes, half = p->nx / 2, row = half + 1;
    for (size_t y = 0; y < p->ny; y++) {
        const size_t mirror = (2 * (p->ny / 2) + p->ny - y) % p->ny;
        for (size_t x = 0; x < 2 * half; x++, out += 2 * s) {
            const bool conjugate = x > half;
            const size_t at = conjugate ? mirror * row + (x - half) : y * row + (half - x);
            const unsigned char *v = p->data + at * 2 * s;
            const double im = load(v + s, s, big);
            store_complex(out, s, load(v, s, big), conjugate ? -im : im);
        }
    }
}

/* The older packing of a 2N x 2N transform: N complex columns, kx = 0 to N - 1. Column 0 of the rows below N holds
 * column kx = -N (its rows ky > 0), and the four numbers that are real by symmetry share the two places (0, 0) and (0,
 * N). */
static void complete_packed(const struct picture *p, bool big, unsigned char *out)
{
    const size_t size = p->nx, n = size / 2;
    for (size_t y = 0; y < size; y++) {
        for (size_t x = 0; x < size; x++, out += 8) {
            const size_t mirror = (size - y) % size;
            const bool edge = x == 0 || x == n;
            const bool conjugate = edge ? y > 0 && y < n : x < n;
            const size_t from_y = conjugate ? mirror : y;
            size_t row = from_y, column = 0;
            if (!edge) column = x < n ? n - x : x - n;
            if (x == 0) row = from_y % n;
            if (edge && from_y % n == 0) row = x == 0 ? 0 : n;
            const unsigned char *v = p->data + (row * n + column) * 8;
            double re = load(v, 4, big), im = load(v + 4, 4, big);
            if (edge && from_y % n == 0) {
                re = from_y == 0 ? im : re;
                im = 0;
            }
            store_complex(out, 4, re, conjugate ? -im : im);
        }
    }
}

static enum mro_code dm_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    (void)e;
    const struct dm_state *s = f->state;
    struct picture p = s->picture[image];
    p.data += frame * p.frame_bytes;
    switch (p.type->layout) {
    case PLAIN:
        mro_copy_samples(out, p.data, p.frame_bytes / p.type->sample_bytes, p.type->sample_bytes, s->big);
        break;
    case COLOUR: {
        unsigned char *to = out;
        const bool alpha = p.type->dtype == MRO_RGBA8;
        for (size_t i = 0; i < p.frame_bytes; i += 4) {
            const uint32_t c = mro_get_u32(p.data + i, s->big);
            *to++ = (unsigned char)(c >> 16);
            *to++ = (unsigned char)(c >> 8);
            *to++ = (unsigned char)c;
            if (alpha) *to++ = (unsigned char)(c >> 24);
        }
        break;
    }
    case HALF: complete_half(&p, s->big, out); break;
    case PACKED: complete_packed(&p, s->big, out); break;
    }
    return MRO_OK;
}

static bool dm_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    const struct dm_state *s = f->state;
    const struct picture *v = &s->picture[image];
    if (v->type->layout != PLAIN) return false;
    *p = v->data + frame * v->frame_bytes;
    *big_endian = s->big;
    return true;
}

static void dm_close(struct mro_file *f)
{
    free(f->state);
    f->state = NULL;
}

/* ---- one image of ImageList ---- */

static void read_date(const struct mro_dm_tree *t, size_t tags, struct mro_image_info *info)
{
    if (info->date[0]) return;
    static const char *const places[][2] = {
        { "DataBar/Acquisition Date", "DataBar/Acquisition Time" },
        { "SI/Acquisition/Date", "SI/Acquisition/Start time" },
        { "EELS/Acquisition/Date", "EELS/Acquisition/Start time" },
        { "EDS/Acquisition/Date", "EDS/Acquisition/Start time" },
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char date[16], clock[16];
        mro_dm_text(t, mro_dm_find(t, tags, places[i][0]), date, sizeof date);
        mro_dm_text(t, mro_dm_find(t, tags, places[i][1]), clock, sizeof clock);
        if (date[0] == '\0') continue;
        if (!mro_text_date(date, clock, info->date, sizeof info->date))
            snprintf(info->date, sizeof info->date, "%s%s%s", date, clock[0] ? " " : "", clock);
        return;
    }
}

/* The first of the texts at `paths` that is filled in; what is known already stays. */
static void read_name(const struct mro_dm_tree *t, size_t tags, const char *const *paths, size_t n, char *out,
                      size_t size)
{
    for (size_t i = 0; i < n && out[0] == '\0'; i++) {
        mro_dm_text(t, mro_dm_find(t, tags, paths[i]), out, size);
        if (strcmp(out, "Unknown") == 0) out[0] = '\0';
    }
}

static void read_camera(const struct mro_dm_tree *t, size_t tags, struct mro_image_info *info)
{
    static const char *const names[] = { "Acquisition/Device/Name", "DataBar/Device Name", "Session Info/Detector" };
    double bin[2]; /* x, y */
    read_name(t, tags, names, sizeof names / sizeof *names, info->detector, sizeof info->detector);
    if (info->binning[0] > 0) return;
    const bool known = mro_dm_pair(t, mro_dm_find(t, tags, "Acquisition/Parameters/High Level/Binning"), bin) ||
                       (mro_dm_number(t, mro_dm_find(t, tags, "Acquisition/Parameters/Detector/hbin"), &bin[0]) &&
                        mro_dm_number(t, mro_dm_find(t, tags, "Acquisition/Parameters/Detector/vbin"), &bin[1]));
    if (!known || !(bin[0] >= 1 && bin[0] <= 1e6 && bin[1] >= 1 && bin[1] <= 1e6)) return;
    info->binning[0] = bin[1];
    info->binning[1] = bin[0];
}

/* Microscope, camera and date from the tags of an image, as far as `info` does not know them yet. Images made from
 * others keep the tags of their origin one level down. */
static void read_microscope(const struct mro_dm_tree *t, size_t tags, struct mro_image_info *info)
{
    /* What the operator has called the microscope goes before the name of the driver that speaks with it. */
    static const char *const names[] = { "Session Info/Microscope", "Microscope Info/Microscope",
                                         "Microscope Info/Name" };
    static const char *const tilts[] = { "Microscope Info/Stage Position/Stage Alpha",
                                         "Microscope Info/Stage Position/Stage Beta" };
    if (mro_dm_find(t, tags, "Microscope Info") == 0) {
        const size_t origin = mro_dm_find(t, tags, "source/Tags at creation");
        if (origin != 0) tags = origin;
    }
    char mode[32];
    mro_dm_text(t, mro_dm_find(t, tags, "Microscope Info/Operation Mode"), mode, sizeof mode);
    if (info->beam_kv == 0) info->beam_kv = mro_dm_positive(t, mro_dm_find(t, tags, "Microscope Info/Voltage")) / 1000;
    if (info->camera_length_mm == 0)
        info->camera_length_mm = mro_dm_positive(t, mro_dm_find(t, tags, "Microscope Info/STEM Camera Length"));
    /* In diffraction the indicated magnification is none. */
    if (strcmp(mode, "DIFFRACTION") != 0 && info->magnification == 0)
        info->magnification = mro_dm_positive(t, mro_dm_find(t, tags, "Microscope Info/Indicated Magnification"));
    for (int i = 0; i < 2; i++) {
        double tilt;
        if (isnan(info->stage_tilt_deg[i]) && mro_dm_number(t, mro_dm_find(t, tags, tilts[i]), &tilt) &&
            fabs(tilt) <= 360)
            info->stage_tilt_deg[i] = tilt;
    }
    read_name(t, tags, names, sizeof names / sizeof *names, info->instrument, sizeof info->instrument);
    read_camera(t, tags, info);
    read_date(t, tags, info);
}

/* What stored values stand for: (stored - Origin) * Scale in Units. 1 and 0 without a unit say nothing. */
static void read_brightness(const struct mro_dm_tree *t, size_t image, struct mro_image_info *info)
{
    const size_t brightness = mro_dm_find(t, image, "ImageData/Calibrations/Brightness");
    double scale, origin = 0;
    if (brightness == 0 || !mro_dm_number(t, mro_dm_find(t, brightness, "Scale"), &scale)) return;
    mro_dm_number(t, mro_dm_find(t, brightness, "Origin"), &origin);
    mro_dm_text(t, mro_dm_find(t, brightness, "Units"), info->value_unit, sizeof info->value_unit);
    if (!isfinite(scale) || scale == 0 || !isfinite(origin * scale) ||
        (scale == 1 && origin == 0 && info->value_unit[0] == '\0')) {
        info->value_unit[0] = '\0';
        return;
    }
    info->value_scale = scale;
    info->value_offset = 0 - origin * scale;
}

static enum mro_code read_shape(const struct mro_dm_tree *t, size_t image, struct mro_image_info *info,
                                struct mro_error *e)
{
    const size_t dimensions = mro_dm_find(t, image, "ImageData/Dimensions");
    if (dimensions == 0 || t->node[dimensions].first == 0)
        return mro_dm_broken(t, image, e, "has no ImageData/Dimensions");
    size_t axes = 0;
    for (size_t i = t->node[dimensions].first; i != 0; i = t->node[i].next) axes++;
    if (axes > MRO_MAX_AXES)
        return mro_dm_broken(t, dimensions, e, "has %zu axes where at most %d are read", axes, MRO_MAX_AXES);
    const size_t calibrations = mro_dm_find(t, image, "ImageData/Calibrations/Dimension");
    info->axes = axes;
    for (size_t i = 0; i < axes; i++) {
        /* DM writes x first. */
        struct mro_axis *a = &info->axis[axes - 1 - i];
        const size_t tag = mro_dm_child_at(t, dimensions, i);
        uint64_t size;
        if (!mro_dm_count(t, tag, &size)) return mro_dm_broken(t, tag, e, "is no size of an axis");
        if (size == 0 || size > SIZE_MAX)
            return mro_dm_broken(t, tag, e, "gives the axis a size of %llu", (unsigned long long)size);
        a->size = (size_t)size;
        const size_t calibration = calibrations ? mro_dm_child_at(t, calibrations, i) : 0;
        double scale = 0, origin = 0;
        char unit[sizeof a->unit_text];
        if (calibration == 0 || !mro_dm_number(t, mro_dm_find(t, calibration, "Scale"), &scale)) continue;
        mro_dm_number(t, mro_dm_find(t, calibration, "Origin"), &origin);
        mro_dm_text(t, mro_dm_find(t, calibration, "Units"), unit, sizeof unit);
        /* Values are (index - Origin) * Scale; 0 - x keeps +0 where there is no shift. */
        mro_axis_set(a, scale, 0 - origin * scale, unit, MRO_SOURCE_VENDOR);
    }
    return MRO_OK;
}

static void set_kind(struct mro_image_info *info)
{
    info->kind = info->axes == 1 ? MRO_KIND_SPECTRUM : MRO_KIND_IMAGE;
    for (size_t i = 0; i < info->axes; i++)
        if (info->axis[i].unit == MRO_UNIT_EV) info->kind = MRO_KIND_SPECTRUM;
    if (info->kind == MRO_KIND_SPECTRUM) return;
    const struct mro_axis *x = &info->axis[info->axes - 1];
    if (x->unit == MRO_UNIT_INV_NM || x->unit == MRO_UNIT_RAD) info->kind = MRO_KIND_DIFFRACTION;
}

/* Reads image `image` (a node of ImageList) into `info` and `p`. `known` is false, with MRO_OK and a warning, when it
 * is of a kind that is not read. */
static enum mro_code read_image(struct mro_dm_tree *t, size_t image, struct mro_image_info *info, struct picture *p,
                                bool *known, struct mro_error *e)
{
    *known = false;
    mro_dm_text(t, mro_dm_find(t, image, "Name"), info->title, sizeof info->title);
    char path[64];
    mro_dm_path(t, image, path, sizeof path);
    uint64_t code;
    const size_t type_tag = mro_dm_find(t, image, "ImageData/DataType");
    if (!mro_dm_count(t, type_tag, &code)) return mro_dm_broken(t, image, e, "has no ImageData/DataType");
    for (size_t i = 0; i < sizeof pixel_types / sizeof *pixel_types; i++)
        if (pixel_types[i].code == code) p->type = &pixel_types[i];
    if (p->type == NULL) {
        mro_file_warn(t->f, "'%s': image '%s' (%s) has DataType %llu, which is not read; it is passed over", t->f->name,
                      info->title, path, (unsigned long long)code);
        return mro_dm_broken(t, type_tag, e, "is %llu, no pixel type that is read", (unsigned long long)code);
    }
    const size_t data = mro_dm_find(t, image, "ImageData/Data");
    if (data == 0) return mro_dm_broken(t, image, e, "has no ImageData/Data");
    if (t->node[data].type != MRO_DM_ARRAY) return mro_dm_broken(t, data, e, "is not an array");
    MRO_TRY(read_shape(t, image, info, e));
    info->dtype = p->type->dtype;
    p->data = t->b.p + t->node[data].offset;
    p->nx = info->axis[info->axes - 1].size;
    p->ny = info->axes > 1 ? info->axis[info->axes - 2].size : 1;

    /* Complex numbers per row of a half plane, samples per row of everything else. */
    size_t row = p->nx, total = 0;
    if (p->type->layout == HALF || p->type->layout == PACKED) {
        if (info->axes < 2 || p->nx < 2)
            return mro_dm_broken(t, image, e, "is a packed Fourier transform of %zu x %zu points, which cannot be",
                                 p->nx, p->ny);
        if (p->type->layout == PACKED && (p->nx != p->ny || p->nx % 2 != 0))
            return mro_dm_broken(t, image, e,
                                 "is a packed Fourier transform of %zu x %zu points; square, even ones are read", p->nx,
                                 p->ny);
        if (p->type->layout == HALF) {
            row = p->nx / 2 + 1;
            info->axis[info->axes - 1].size = 2 * (p->nx / 2);
        }
    }
    bool overflow = __builtin_mul_overflow(row, (size_t)p->type->sample_bytes * p->type->samples, &p->frame_bytes) ||
                    __builtin_mul_overflow(p->frame_bytes, p->ny, &p->frame_bytes);
    total = p->frame_bytes;
    for (size_t i = 0; i + 2 < info->axes; i++)
        overflow = overflow || __builtin_mul_overflow(total, info->axis[i].size, &total);
    if (overflow || total != t->node[data].bytes) {
        char shape[MRO_MAX_AXES * 24] = "";
        for (size_t i = 0, used = 0; i < info->axes; i++) {
            const size_t size = i + 1 == info->axes ? p->nx : info->axis[i].size;
            used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%zu", i ? " x " : "", size);
        }
        return mro_dm_broken(t, data, e, "holds %zu bytes, which is not %s pixels of %u bytes (Dimensions)",
                             t->node[data].bytes, shape, p->type->sample_bytes * p->type->samples);
    }
    const size_t tags = mro_dm_find(t, image, "ImageTags");
    if (tags != 0) read_microscope(t, tags, info);
    read_brightness(t, image, info);
    set_kind(info);
    *known = true;
    return MRO_OK;
}

/* Marks the previews DM draws of its documents: those the Thumbnails tag names, else the first of several. */
static void mark_thumbnails(const struct mro_dm_tree *t, bool *skip, size_t images)
{
    const size_t thumbnails = mro_dm_find(t, 0, "Thumbnails");
    if (images < 2) return;
    if (thumbnails == 0 || t->node[thumbnails].first == 0) skip[0] = true;
    if (thumbnails == 0) return;
    for (size_t i = t->node[thumbnails].first; i != 0; i = t->node[i].next) {
        uint64_t index;
        if (mro_dm_count(t, mro_dm_find(t, i, "ImageIndex"), &index) && index < images) skip[index] = true;
    }
}

static enum mro_code read_images(struct mro_dm_tree *t, struct mro_error *e)
{
    struct mro_file *f = t->f;
    const size_t list = mro_dm_find(t, 0, "ImageList");
    size_t images = 0;
    if (list != 0)
        for (size_t i = t->node[list].first; i != 0; i = t->node[i].next) images++;
    if (images == 0) return mro_dm_broken(t, list, e, "holds no images (ImageList)");
    if (images > MAX_IMAGES)
        return mro_dm_broken(t, list, e, "holds %zu images; at most %d are read", images, MAX_IMAGES);
    bool skip[MAX_IMAGES] = { false };
    mark_thumbnails(t, skip, images);

    struct dm_state *s = calloc(1, sizeof *s + images * sizeof s->picture[0]);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for a list of %zu images", f->name, images);
    f->state = s; /* freed by dm_close */
    s->big = t->big;
    struct mro_error first = { .code = MRO_OK };
    size_t place = 0;
    for (size_t i = t->node[list].first; i != 0; i = t->node[i].next, place++) {
        if (skip[place]) continue;
        struct mro_image_info info = { .frames = 1, .stage_tilt_deg = { NAN, NAN } };
        struct picture p = { 0 };
        bool known;
        struct mro_error why;
        const enum mro_code c = read_image(t, i, &info, &p, &known, &why);
        if (c != MRO_OK) {
            /* A DM file is one document: an image that contradicts itself makes it all doubtful, but a pixel type that
             * is not read, or an empty place, must not hide the others. */
            if (mro_dm_find(t, i, "ImageData/Data") != 0 && p.type != NULL) {
                if (e != NULL) *e = why;
                return c;
            }
            if (first.code == MRO_OK) first = why;
            continue;
        }
        struct mro_image_info *added = mro_file_add_image(f);
        if (added == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for image %zu", f->name, place);
        *added = info;
        s->picture[s->pictures++] = p;
        MRO_TRY(mro_file_seal_image(f, added, e));
    }
    if (s->pictures > 0) return MRO_OK;
    if (first.code == MRO_OK) return mro_dm_broken(t, list, e, "holds nothing but thumbnails");
    if (e != NULL) *e = first;
    return first.code;
}

static bool dm_probe(struct mro_bytes b)
{
    if (b.size < 4) return false;
    const uint32_t version = mro_get_u32(b.p, true);
    if (version == 3 || version == 4) {
        const size_t flag = version == 3 ? 8 : 12;
        return b.size < flag + 4 || mro_get_u32(b.p + flag, true) <= 1;
    }
    /* A damaged or future version that has the rest of a DM3 head: the length of the file less 20, and the flag. */
    return version < 256 && b.size >= 20 && mro_get_u32(b.p + 8, true) <= 1 &&
           mro_get_u32(b.p + 4, true) == b.size - 20;
}

static const struct mro_reader reader_dm4 = {
    .name = "DM4", .probe = dm_probe, .read = dm_read, .view = dm_view, .close = dm_close
};

static enum mro_code dm_open(struct mro_file *f, struct mro_error *e)
{
    struct mro_dm_tree t = { .f = f, .b = f->bytes };
    enum mro_code c = mro_dm_read(&t, e);
    if (t.dm4) f->reader = &reader_dm4; /* so that the format is named as the file is */
    if (c == MRO_OK) c = read_images(&t, e);
    free(t.node);
    return c;
}

void mro_dm_describe(struct mro_file *f, struct mro_bytes b, struct mro_image_info *info)
{
    struct mro_dm_tree t = { .f = f, .b = b };
    struct mro_error e;
    if (mro_dm_read(&t, &e) == MRO_OK)
        read_microscope(&t, 0, info);
    else
        mro_file_warn(f, "the tags of DigitalMicrograph in this file are passed over: %s", e.message);
    free(t.node);
}

const struct mro_reader mro_reader_dm = {
    .name = "DM3", .probe = dm_probe, .open = dm_open, .read = dm_read, .view = dm_view, .close = dm_close
};

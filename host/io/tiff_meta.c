/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ImageJ, OME and the resolution tags; the vendors' tags are in tiff_vendor.c. Sources:
 * TIFF 6.0 (1992), BigTIFF (Aware Systems), ImageJ's TiffDecoder and TiffEncoder for the keys of its description and
 * its private tags 50838 and 50839, OME Data Model 2016-06. */
#include "io/tiff_meta.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiff.h>

#include "io/text.h"
#include "io/xml.h"

/* ---------------------------------------------------------------- resolution tags */

/* Pixels per unit of length from a resolution tag; 0 = not there or no number. */
static double resolution(const struct mro_tiff_dir *d, uint16_t tag)
{
    struct mro_tiff_value v;
    if (!mro_tiff_find(d, tag, &v) || v.type != TIFF_RATIONAL) return 0;
    const double x = mro_tiff_number(&v, 0);
    return x > 0 ? x : 0;
}

/* Pixel size in nm by the resolution tags, y and x; 0 = they give none. */
static void resolution_nm(const struct mro_tiff_dir *d, double nm[2])
{
    struct mro_tiff_value v;
    const double unit = mro_tiff_find(d, TIFFTAG_RESOLUTIONUNIT, &v) ? mro_tiff_number(&v, 0) : RESUNIT_INCH;
    const double unit_nm = unit == RESUNIT_INCH ? 2.54e7 : unit == RESUNIT_CENTIMETER ? 1e7 : 0;
    const double per[2] = { resolution(d, TIFFTAG_YRESOLUTION), resolution(d, TIFFTAG_XRESOLUTION) };
    for (int i = 0; i < 2; i++) nm[i] = per[i] > 0 ? unit_nm / per[i] : 0;
}

/* ---------------------------------------------------------------- axes */

static struct mro_axis *x_axis(struct mro_image_info *info) { return &info->axis[info->axes - 1]; }
static struct mro_axis *y_axis(struct mro_image_info *info) { return &info->axis[info->axes - 2]; }

/* An axis beside the image: time, depth or channels. */
struct part {
    uint64_t size;
    struct mro_axis axis; /* calibration */
};

/* Puts the parts that have more than one sample, slowest first, in place of the axis of frames; does nothing when
 * their product is another number of frames. */
static void split_frames(struct mro_image_info *info, const struct part *parts, size_t n)
{
    struct mro_axis axes[MRO_MAX_AXES];
    uint64_t all = 1;
    size_t used = 0;
    if (info->axes < 3 || info->axis[0].size < 2) return;
    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(all, parts[i].size, &all)) return;
    if (all != info->axis[0].size) return;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].size < 2) continue;
        if (used == MRO_MAX_AXES) return;
        axes[used] = parts[i].axis;
        axes[used++].size = (size_t)parts[i].size;
    }
    if (used + info->axes - 1 > MRO_MAX_AXES) return;
    memcpy(axes + used, info->axis + 1, (info->axes - 1) * sizeof *axes);
    info->axes += used - 1;
    memcpy(info->axis, axes, info->axes * sizeof *axes);
}

/* ---------------------------------------------------------------- ImageJ */

bool mro_tiff_is_imagej(const char *description) { return description && strncmp(description, "ImageJ=", 7) == 0; }

/* Value of "key=" on a line of its own; NULL = not there. */
static const char *imagej_value(const char *description, const char *key, size_t *n)
{
    const size_t key_n = strlen(key);
    for (const char *line = description; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, key_n) != 0 || line[key_n] != '=') continue;
        *n = strcspn(line + key_n + 1, "\r\n");
        return line + key_n + 1;
    }
    return NULL;
}

static double imagej_number(const char *description, const char *key)
{
    size_t n;
    const char *v = imagej_value(description, key, &n);
    return v ? mro_parse_number(v, n) : NAN;
}

static bool imagej_unit(const char *description, const char *key, char unit[24])
{
    size_t n;
    const char *v = imagej_value(description, key, &n);
    unit[0] = '\0';
    if (v == NULL) return false;
    mro_text_copy(v, n, unit, 24);
    return true;
}

uint64_t mro_tiff_imagej_count(const char *description, const char *key)
{
    const double x = imagej_number(description, key);
    return x >= 1 && x <= 1e12 ? (uint64_t)x : 1;
}

/* Splits the frames of a hyperstack into time, slices and channels, in ImageJ's order. */
static void imagej_axes(const char *description, struct mro_image_info *info)
{
    char unit[24];
    struct part parts[3] = { { .size = mro_tiff_imagej_count(description, "frames") },
                             { .size = mro_tiff_imagej_count(description, "slices") },
                             { .size = mro_tiff_imagej_count(description, "channels") } };
    mro_axis_set(&parts[0].axis, imagej_number(description, "finterval"), 0, "s", MRO_SOURCE_IMAGEJ);
    if (!imagej_unit(description, "zunit", unit)) imagej_unit(description, "unit", unit);
    mro_axis_set(&parts[1].axis, imagej_number(description, "spacing"), 0, unit, MRO_SOURCE_IMAGEJ);
    split_frames(info, parts, 3);
}

static void imagej_calibrate(struct mro_file *f, const struct mro_tiff_dir *d, const char *description,
                             struct mro_image_info *info)
{
    char unit[24], other[24];
    const double per_x = resolution(d, TIFFTAG_XRESOLUTION), per_y = resolution(d, TIFFTAG_YRESOLUTION);
    struct mro_axis x = { 0 }, y = { 0 };
    if (!imagej_unit(description, "unit", unit)) return;
    if (!imagej_unit(description, "yunit", other)) memcpy(other, unit, sizeof other);
    /* The origin is where the coordinate is 0, counted in pixels. */
    const double x0 = imagej_number(description, "xorigin"), y0 = imagej_number(description, "yorigin");
    if (per_x > 0) mro_axis_set(&x, 1 / per_x, isfinite(x0) ? -x0 / per_x : 0, unit, MRO_SOURCE_IMAGEJ);
    if (per_y > 0) mro_axis_set(&y, 1 / per_y, isfinite(y0) ? -y0 / per_y : 0, other, MRO_SOURCE_IMAGEJ);
    mro_file_offer(f, x_axis(info), &x, "x");
    mro_file_offer(f, y_axis(info), &y, "y");
}

/* Number after `key` in a text, NAN when it is not there. */
static double number_after(const char *text, const char *key)
{
    const char *p = strstr(text, key);
    return p ? mro_parse_number(p + strlen(key), strlen(p + strlen(key))) : NAN;
}

/* What mroscope's own conversion writes beside the scale. */
static void own_notes(const char *description, struct mro_image_info *info)
{
    static const enum mro_kind kinds[] = { MRO_KIND_IMAGE, MRO_KIND_DIFFRACTION, MRO_KIND_SPECTRUM, MRO_KIND_MAP };
    static const char *const numbers[] = { "beam_kv", "magnification", "camera_length_mm", "binning_y", "binning_x" };
    double *const values[] = { &info->beam_kv, &info->magnification, &info->camera_length_mm, &info->binning[0],
                               &info->binning[1] };
    static const char *const texts[] = { "title", "instrument", "detector", "date" };
    char *const places[] = { info->title, info->instrument, info->detector, info->date };
    const size_t rooms[] = { sizeof info->title, sizeof info->instrument, sizeof info->detector, sizeof info->date };
    size_t n;
    const char *v;
    if (imagej_value(description, "source_format", &n) == NULL) return; /* others mean other things by these words */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const double x = imagej_number(description, numbers[i]);
        if (x > 0) *values[i] = x;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if ((v = imagej_value(description, texts[i], &n)) != NULL)
            snprintf(places[i], rooms[i], "%.*s", (int)(n < 200 ? n : 200), v);
    for (int i = 0; i < 2; i++) {
        const double x = imagej_number(description, i ? "stage_beta_deg" : "stage_alpha_deg");
        if (isfinite(x)) info->stage_tilt_deg[i] = x;
    }
    const double scale = imagej_number(description, "value_scale"), offset = imagej_number(description, "value_offset");
    if (isfinite(scale) && scale != 0) {
        info->value_scale = scale;
        info->value_offset = isfinite(offset) ? offset : 0;
        if ((v = imagej_value(description, "value_unit", &n)) != NULL)
            snprintf(info->value_unit, sizeof info->value_unit, "%.*s", (int)(n < 23 ? n : 23), v);
    }
    if ((v = imagej_value(description, "kind", &n)) == NULL) return;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(mro_kind_name(kinds[i])) == n && strncmp(mro_kind_name(kinds[i]), v, n) == 0) info->kind = kinds[i];
}

/* A text of ImageJ's metadata in UTF-8; freed by the caller. */
static char *imagej_text(const struct mro_tiff_value *v, size_t from, size_t n)
{
    const size_t room = n / 2 * 3 + 8;
    char *text = malloc(room);
    if (text) mro_text_copy_utf16(v->p + from, n, v->big_endian, text, room);
    return text;
}

/* ImageJ keeps the properties of a file it has opened, and the labels of slices, in tags of its own: a header of
 * (kind, count) pairs, then one piece after the other, whose lengths are in the other tag. Of images that came from
 * DigitalMicrograph the properties hold the tags of that file as lines. */
static void imagej_properties(const struct mro_tiff_dir *d, size_t *budget, struct mro_image_info *info)
{
    enum { COUNTS = 50838, DATA = 50839 };
    const uint32_t magic = 0x494a494a, kinds[2] = { 0x696e666f, 0x6c61626c }; /* IJIJ, info, labl */
    struct mro_tiff_value counts, data;
    if (!mro_tiff_find(d, COUNTS, &counts) || !mro_tiff_find(d, DATA, &data) || counts.type != TIFF_LONG) return;
    const double head = mro_tiff_number(&counts, 0);
    if (!(head >= 12) || head > (double)data.bytes || mro_get_u32(data.p, data.big_endian) != magic) return;
    uint64_t piece = 1;
    size_t at = (size_t)head;
    for (size_t h = 4; h + 8 <= (size_t)head && piece < counts.count; h += 8) {
        const uint32_t kind = mro_get_u32(data.p + h, data.big_endian);
        for (uint32_t i = mro_get_u32(data.p + h + 4, data.big_endian); i && piece < counts.count; i--) {
            const double n = mro_tiff_number(&counts, piece++);
            if (!(n <= (double)(data.bytes - at))) return;
            if ((kind == kinds[0] || kind == kinds[1]) && mro_tiff_spend(budget, (size_t)n)) {
                char *text = imagej_text(&data, at, (size_t)n);
                if (text == NULL) return;
                const double volt = number_after(text, "Microscope Info.Voltage = "),
                             mag = number_after(text, "Microscope Info.Indicated Magnification = ");
                if (info->beam_kv == 0 && volt > 0) info->beam_kv = volt / 1000;
                if (info->magnification == 0 && mag > 0) info->magnification = mag;
                free(text);
                if (kind == kinds[1]) return; /* the labels of further slices say the same */
            }
            at += (size_t)n;
        }
    }
}

/* ---------------------------------------------------------------- OME */

enum { OME_MAX_PIXELS = 16 }; /* elements looked at: a long description must not cost time for every image */

struct ome {
    size_t nx, ny;      /* asked for */
    bool found, inside; /* a <Pixels> of that shape was found; it has not ended yet */
    bool other_files;   /* it says that some pages lie in other files */
    int seen;
    char title[128], name[128], instrument[64], detector[64], date[32];
    char order[8];
    double count[3], step[4]; /* Z, C, T; X, Y, Z, T, 0 = unknown */
    char unit[4][24];
};

static double number_of(const char *const *attributes, const char *name)
{
    const char *v = mro_xml_attribute(attributes, name);
    return v ? mro_parse_number(v, strlen(v)) : NAN;
}

static void copy_of(const char *const *attributes, const char *name, char *out, size_t room)
{
    const char *v = mro_xml_attribute(attributes, name);
    if (v && *v) mro_text_copy(v, strlen(v), out, room);
}

static bool is_element(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

static void ome_pixels(struct ome *o, const char *const *a)
{
    static const char *const sizes[] = { "PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement" };
    static const char *const units[] = { "PhysicalSizeXUnit", "PhysicalSizeYUnit", "PhysicalSizeZUnit",
                                         "TimeIncrementUnit" };
    static const char *const counts[] = { "SizeZ", "SizeC", "SizeT" };
    if (o->found || ++o->seen > OME_MAX_PIXELS || number_of(a, "SizeX") != (double)o->nx ||
        number_of(a, "SizeY") != (double)o->ny)
        return;
    o->found = o->inside = true;
    memcpy(o->title, o->name, sizeof o->title);
    copy_of(a, "DimensionOrder", o->order, sizeof o->order);
    for (int i = 0; i < 3; i++) o->count[i] = number_of(a, counts[i]);
    for (int i = 0; i < 4; i++) {
        o->step[i] = number_of(a, sizes[i]);
        strcpy(o->unit[i], i < 3 ? "\xc2\xb5m" : "s"); /* the defaults of the data model */
        copy_of(a, units[i], o->unit[i], sizeof o->unit[i]);
    }
}

static void ome_begin(void *context, const char *path, const char *const *attributes)
{
    struct ome *o = context;
    if (is_element(path, "Image") && !o->found) {
        o->name[0] = '\0';
        copy_of(attributes, "Name", o->name, sizeof o->name);
    }
    if (is_element(path, "Pixels")) ome_pixels(o, attributes);
    if (o->inside && is_element(path, "UUID") && mro_xml_attribute(attributes, "FileName")) o->other_files = true;
    if (is_element(path, "Microscope") && o->instrument[0] == '\0')
        copy_of(attributes, "Model", o->instrument, sizeof o->instrument);
    if (is_element(path, "Detector") && o->detector[0] == '\0')
        copy_of(attributes, "Model", o->detector, sizeof o->detector);
}

static void ome_end(void *context, const char *path, const char *text)
{
    struct ome *o = context;
    if (is_element(path, "Pixels")) o->inside = false;
    if (is_element(path, "AcquisitionDate") && o->date[0] == '\0') snprintf(o->date, sizeof o->date, "%.31s", text);
}

/* Frames follow each other as DimensionOrder says, its first letter after X and Y the fastest. */
static void ome_axes(const struct ome *o, struct mro_image_info *info)
{
    static const char letters[] = "ZCT";
    struct part parts[3] = { 0 };
    if (strlen(o->order) != 5) return;
    for (int i = 0; i < 3; i++) {
        const char *letter = strchr(letters, o->order[4 - i]);
        const double n = letter && *letter ? o->count[letter - letters] : NAN;
        if (!(n >= 1 && n <= 1e12)) return;
        parts[i].size = (uint64_t)n;
        const int step = *letter == 'Z' ? 2 : *letter == 'T' ? 3 : -1;
        if (step >= 0) mro_axis_set(&parts[i].axis, o->step[step], 0, o->unit[step], MRO_SOURCE_OME);
    }
    split_frames(info, parts, 3);
}

static void ome_describe(struct mro_file *f, const char *description, struct mro_image_info *info)
{
    static const struct mro_xml_hooks hooks = { ome_begin, ome_end };
    struct ome o = { .nx = x_axis(info)->size, .ny = y_axis(info)->size };
    char why[128];
    const bool whole = mro_xml_walk(description, strlen(description), &hooks, &o, why, sizeof why);
    if (!whole) mro_file_warn(f, "'%s': its OME-XML is broken (%s)", f->name, why);
    if (!o.found || (!whole && o.inside)) return;
    if (o.other_files)
        mro_file_warn(f, "'%s': its OME-XML speaks of pages in other files, which are not looked for", f->name);
    else
        ome_axes(&o, info);
    for (int i = 0; i < 2; i++) {
        struct mro_axis a = { 0 };
        mro_axis_set(&a, o.step[i], 0, o.unit[i], MRO_SOURCE_OME);
        mro_file_offer(f, i ? y_axis(info) : x_axis(info), &a, i ? "y" : "x");
    }
    if (info->title[0] == '\0') memcpy(info->title, o.title, sizeof info->title);
    if (info->instrument[0] == '\0') memcpy(info->instrument, o.instrument, sizeof info->instrument);
    if (info->detector[0] == '\0') memcpy(info->detector, o.detector, sizeof info->detector);
    if (info->date[0] == '\0') memcpy(info->date, o.date, sizeof info->date);
}

/* ---------------------------------------------------------------- together */

/* "2015:07:30 07:17:25" becomes ISO 8601; what else programs write is kept as it is. */
static void date_time(const struct mro_tiff_dir *d, struct mro_image_info *info)
{
    struct mro_tiff_value v;
    char *out = info->date;
    if (out[0] || !mro_tiff_find(d, TIFFTAG_DATETIME, &v) || v.type != TIFF_ASCII) return;
    const unsigned char *zero = memchr(v.p, 0, v.bytes);
    const size_t n = zero ? (size_t)(zero - v.p) : v.bytes;
    mro_text_copy((const char *)v.p, n < 19 ? n : 19, out, sizeof info->date);
    if (strlen(out) == 19 && out[4] == ':' && out[7] == ':' && out[10] == ' ') out[4] = out[7] = '-', out[10] = 'T';
}

void mro_tiff_describe(struct mro_file *f, const struct mro_tiff_dir *d, const char *description, size_t *budget,
                       struct mro_image_info *info)
{
    resolution_nm(d, info->resolution_nm);
    if (description && !mro_tiff_spend(budget, strlen(description))) {
        mro_file_warn(f, "'%s': its description is too long to be read for each of its images", f->name);
        description = NULL;
    }
    if (mro_tiff_is_imagej(description)) imagej_axes(description, info);
    mro_tiff_vendor(f, d, description, budget, info->resolution_nm, info);
    if (mro_tiff_is_imagej(description)) {
        imagej_calibrate(f, d, description, info);
        imagej_properties(d, budget, info);
    } else if (description && strstr(description, "<OME") != NULL) {
        ome_describe(f, description, info);
    }
    date_time(d, info);
    const enum mro_unit unit = x_axis(info)->unit;
    if (unit == MRO_UNIT_INV_NM || unit == MRO_UNIT_RAD) info->kind = MRO_KIND_DIFFRACTION;
    if (mro_tiff_is_imagej(description)) own_notes(description, info);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/image.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

enum mro_code mro_image_alloc(struct mro_image *im, size_t ny, size_t nx, struct mro_error *e)
{
    memset(im, 0, sizeof *im);
    if (nx == 0 || ny == 0) return MRO_FAIL(e, MRO_EARG, "an image of %zu x %zu pixels is empty", nx, ny);
    if (nx > SIZE_MAX / sizeof(float) / ny)
        return MRO_FAIL(e, MRO_EMEMORY, "an image of %zu x %zu pixels does not fit in memory", nx, ny);
    im->px = malloc(nx * ny * sizeof(float));
    if (im->px == NULL) return MRO_FAIL(e, MRO_EMEMORY, "an image of %zu x %zu pixels does not fit in memory", nx, ny);
    mro_prefer_huge_pages(im->px, nx * ny * sizeof(float));
    im->nx = nx;
    im->ny = ny;
    im->axis[0].size = ny;
    im->axis[1].size = nx;
    return MRO_OK;
}

void mro_image_mark_missing(struct mro_image *im)
{
    size_t missing = 0;
    for (size_t i = 0; i < im->ny * im->nx; i++) {
        const bool finite = isfinite(im->px[i]);
        missing += !finite;
        im->px[i] = finite ? im->px[i] : NAN;
    }
    im->not_finite = missing;
}

void mro_image_release(struct mro_image *im)
{
    if (im == NULL) return;
    free(im->px);
    memset(im, 0, sizeof *im);
}

enum mro_code mro_image_set_pixels_nm(struct mro_image *im, const double pixel_nm[2], enum mro_source source,
                                      struct mro_error *e)
{
    for (int i = 0; i < 2; i++)
        if (!(pixel_nm[i] >= 1e-4 && pixel_nm[i] <= 1e6))
            return MRO_FAIL(e, MRO_EARG, "a pixel size of %g nm cannot be: give a length between 0.0001 and 1000000 nm",
                            pixel_nm[i]);
    for (int i = 0; i < 2; i++) mro_axis_set(&im->axis[i], pixel_nm[i], 0, "nm", source);
    return MRO_OK;
}

enum mro_code mro_image_set_pixel_nm(struct mro_image *im, double pixel_nm, enum mro_source source, struct mro_error *e)
{
    return mro_image_set_pixels_nm(im, (double[]){ pixel_nm, pixel_nm }, source, e);
}

enum mro_code mro_image_pixel_nm(const struct mro_image *im, const char *name, double pixel_nm[2], struct mro_error *e)
{
    for (int i = 0; i < 2; i++) {
        const struct mro_axis *a = &im->axis[i];
        if (a->step > 0 && a->unit == MRO_UNIT_NM) {
            pixel_nm[i] = a->step;
            continue;
        }
        if (a->step > 0 && a->unit != MRO_UNIT_NONE)
            return MRO_FAIL_LACKING(e, MRO_LACKS_PIXEL_SIZE,
                                    "'%s' is calibrated in '%s' and not in a length, as a micrograph would be", name,
                                    a->unit_text[0] ? a->unit_text : mro_unit_name(a->unit));
        return MRO_FAIL_LACKING(e, MRO_LACKS_PIXEL_SIZE, "the pixel size of '%s' is unknown", name);
    }
    return MRO_OK;
}

const char *mro_unit_name(enum mro_unit unit)
{
    static const char *const names[] = { "", "nm", "1/nm", "eV", "rad", "s", "" };
    return names[unit];
}

const char *mro_source_name(enum mro_source source)
{
    static const char *const names[] = { "unknown",         "TIFF resolution tag", "ImageJ",           "OME",
                                         "vendor metadata", "axes of the array",   "session manifest", "command line" };
    return names[source];
}

const char *mro_kind_name(enum mro_kind kind)
{
    static const char *const names[] = { "image", "diffraction", "spectrum", "map" };
    return names[kind];
}

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [MRO_U8] = { "uint8", 1 },         [MRO_I8] = { "int8", 1 },       [MRO_U16] = { "uint16", 2 },
    [MRO_I16] = { "int16", 2 },        [MRO_U32] = { "uint32", 4 },    [MRO_I32] = { "int32", 4 },
    [MRO_U64] = { "uint64", 8 },       [MRO_I64] = { "int64", 8 },     [MRO_F16] = { "float16", 2 },
    [MRO_F32] = { "float32", 4 },      [MRO_F64] = { "float64", 8 },   [MRO_C64] = { "complex64", 8 },
    [MRO_C128] = { "complex128", 16 }, [MRO_RGB8] = { "rgb8", 3 },     [MRO_RGBA8] = { "rgba8", 4 },
    [MRO_RGB16] = { "rgb16", 6 },      [MRO_RGBA16] = { "rgba16", 8 },
};

const char *mro_dtype_name(enum mro_dtype dtype) { return dtypes[dtype].name; }
size_t mro_dtype_size(enum mro_dtype dtype) { return dtypes[dtype].size; }

/* The unit named exactly `text`; false when the table has none. */
static bool find_unit(const char *text, enum mro_unit *unit, double *factor)
{
    static const struct {
        const char *text;
        enum mro_unit unit;
        double factor;
    } known[] = {
        { "nm", MRO_UNIT_NM, 1 },
        { "nanometer", MRO_UNIT_NM, 1 },
        { "A", MRO_UNIT_NM, 0.1 },
        { "\xc3\x85", MRO_UNIT_NM, 0.1 },
        { "\xe2\x84\xab", MRO_UNIT_NM, 0.1 },
        { "\xc5", MRO_UNIT_NM, 0.1 },
        { "Ang", MRO_UNIT_NM, 0.1 },
        { "angstrom", MRO_UNIT_NM, 0.1 },
        { "pm", MRO_UNIT_NM, 1e-3 },
        { "um", MRO_UNIT_NM, 1e3 },
        { "\xc2\xb5m", MRO_UNIT_NM, 1e3 },
        { "\xce\xbcm", MRO_UNIT_NM, 1e3 },
        { "\xb5m", MRO_UNIT_NM, 1e3 },
        { "\\u00B5m", MRO_UNIT_NM, 1e3 },
        { "\\u03BCm", MRO_UNIT_NM, 1e3 },
        { "micron", MRO_UNIT_NM, 1e3 },
        { "microns", MRO_UNIT_NM, 1e3 },
        { "micrometer", MRO_UNIT_NM, 1e3 },
        { "mm", MRO_UNIT_NM, 1e6 },
        { "m", MRO_UNIT_NM, 1e9 },
        { "1/nm", MRO_UNIT_INV_NM, 1 },
        { "1 / nm", MRO_UNIT_INV_NM, 1 },
        { "nm^-1", MRO_UNIT_INV_NM, 1 },
        { "1/A", MRO_UNIT_INV_NM, 10 },
        { "A^-1", MRO_UNIT_INV_NM, 10 },
        { "\xc3\x85^-1", MRO_UNIT_INV_NM, 10 },
        { "1/\xc3\x85", MRO_UNIT_INV_NM, 10 },
        { "1/m", MRO_UNIT_INV_NM, 1e-9 },
        { "1/um", MRO_UNIT_INV_NM, 1e-3 },
        { "1/\xc2\xb5m", MRO_UNIT_INV_NM, 1e-3 },
        { "eV", MRO_UNIT_EV, 1 },
        { "keV", MRO_UNIT_EV, 1e3 },
        { "rad", MRO_UNIT_RAD, 1 },
        { "mrad", MRO_UNIT_RAD, 1e-3 },
        { "s", MRO_UNIT_S, 1 },
        { "sec", MRO_UNIT_S, 1 },
        { "", MRO_UNIT_NONE, 1 },
        { "pixel", MRO_UNIT_NONE, 1 },
        { "pixels", MRO_UNIT_NONE, 1 },
        { "px", MRO_UNIT_NONE, 1 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(text, known[i].text) == 0) {
            *factor = known[i].factor;
            *unit = known[i].unit;
            return true;
        }
    }
    return false;
}

enum mro_unit mro_unit_parse(const char *text, double *factor)
{
    enum mro_unit unit = MRO_UNIT_NONE;
    *factor = 1;
    if (text == NULL || find_unit(text, &unit, factor)) return unit;
    /* As Berkeley EMD writes them: in brackets, the prefix set off by an underscore ("[n_m]", "[n_m^-1]"). */
    char plain[24];
    size_t n = 0;
    for (const char *c = text; *c; c++) {
        if (*c == '[' || *c == ']' || *c == '_') continue;
        if (n + 1 == sizeof plain) return MRO_UNIT_OTHER;
        plain[n++] = *c;
    }
    plain[n] = '\0';
    return n > 0 && find_unit(plain, &unit, factor) ? unit : MRO_UNIT_OTHER;
}

void mro_axis_set(struct mro_axis *a, double step, double offset, const char *unit_text, enum mro_source source)
{
    double factor;
    const enum mro_unit unit = mro_unit_parse(unit_text, &factor);
    a->step = a->offset = 0;
    a->unit = MRO_UNIT_NONE;
    a->source = MRO_SOURCE_UNKNOWN;
    snprintf(a->unit_text, sizeof a->unit_text, "%s", unit_text ? unit_text : "");
    /* A step counted in pixels is no calibration, whatever its value; one that no instrument has would overflow in
     * what is computed from it. */
    if (unit == MRO_UNIT_NONE || !(step * factor > 1e-30 && step * factor < 1e30)) return;
    a->step = step * factor;
    a->offset = fabs(offset * factor) < 1e30 ? offset * factor : 0;
    a->unit = unit;
    a->source = source;
}

static const char *axis_unit(const struct mro_axis *a)
{
    return a->unit == MRO_UNIT_OTHER ? a->unit_text : mro_unit_name(a->unit);
}

bool mro_axis_offer(struct mro_axis *a, const struct mro_axis *offer, const char *name, char *sentence, size_t room)
{
    bool differ = false;
    if (!(offer->step > 0)) return false;
    if (a->step > 0) {
        const bool taken = offer->source > a->source;
        const struct mro_axis *kept = taken ? offer : a, *other = taken ? a : offer;
        differ = strcmp(axis_unit(kept), axis_unit(other)) != 0 || fabs(other->step / kept->step - 1) > 0.01;
        if (differ && sentence)
            snprintf(sentence, room, "a pixel along %s is %.6g %s by %s, but %.6g %s by %s; the first is used", name,
                     kept->step, axis_unit(kept), mro_source_name(kept->source), other->step, axis_unit(other),
                     mro_source_name(other->source));
        if (!taken) return differ;
    }
    const size_t size = a->size;
    *a = *offer;
    a->size = size;
    return differ;
}

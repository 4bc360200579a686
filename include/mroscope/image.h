/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Images and their calibration. An image carries its pixel size, and where that came from.
 *
 * Arrays are frame, y, x; origin top-left, x right, y down. Unknown calibration is unknown:
 * a step of 0 means "not known", never "1".
 */
#ifndef MROSCOPE_IMAGE_H
#define MROSCOPE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum mro_unit {
    MRO_UNIT_NONE = 0, /* unknown, or counted in pixels */
    MRO_UNIT_NM,       /* steps are stored in nm, whatever length unit the file used */
    MRO_UNIT_INV_NM,   /* spatial frequency 1/d, nm^-1 */
    MRO_UNIT_EV,
    MRO_UNIT_RAD,
    MRO_UNIT_S,
    MRO_UNIT_OTHER /* a unit that is none of these; see unit_text */
};

/* Where a calibration came from, in rising order of trust: what a user says wins over a session's table, that over the
 * metadata of vendors, that over ImageJ and OME, that over resolution tags. */
enum mro_source {
    MRO_SOURCE_UNKNOWN = 0,
    MRO_SOURCE_RESOLUTION_TAG,
    MRO_SOURCE_IMAGEJ,
    MRO_SOURCE_OME,
    MRO_SOURCE_VENDOR,
    MRO_SOURCE_CALLER, /* axes of an array that a program lent (run.h) */
    MRO_SOURCE_MANIFEST,
    MRO_SOURCE_COMMAND_LINE
};

struct mro_axis {
    size_t size;   /* samples along this axis */
    double step;   /* unit per sample; 0 = unknown */
    double offset; /* value at the centre of sample 0, same unit */
    enum mro_unit unit;
    enum mro_source source;
    char unit_text[24]; /* the unit as the file wrote it, UTF-8; "" = none */
};

/* Pixel types as stored in files. Images are handed out as float32 (struct mro_image). */
enum mro_dtype {
    MRO_U8,
    MRO_I8,
    MRO_U16,
    MRO_I16,
    MRO_U32,
    MRO_I32,
    MRO_U64,
    MRO_I64,
    MRO_F16,
    MRO_F32,
    MRO_F64,
    MRO_C64,
    MRO_C128, /* complex of two float32, float64 */
    MRO_RGB8,
    MRO_RGBA8, /* channels interleaved, 8 bits each */
    MRO_RGB16,
    MRO_RGBA16
};

enum mro_kind { MRO_KIND_IMAGE = 0, MRO_KIND_DIFFRACTION, MRO_KIND_SPECTRUM, MRO_KIND_MAP };

/* One frame in memory. `{0}` is an empty image that is safe to release. */
struct mro_image {
    size_t nx, ny;           /* pixels; pixel (x, y) is px[y * nx + x] */
    float *px;               /* owned; NaN = no data there */
    struct mro_axis axis[2]; /* 0 = y, 1 = x */
    enum mro_kind kind;
    double beam_kv;    /* 0 = unknown */
    size_t not_finite; /* pixels that are NaN; see mro_image_mark_missing */
};

/* Allocates ny*nx pixels (not initialised), axes uncalibrated. MRO_EARG for an empty shape,
 * MRO_EMEMORY when it does not fit. Release with mro_image_release. */
enum mro_code mro_image_alloc(struct mro_image *im, size_t ny, size_t nx, struct mro_error *e);

/* Marks pixels without a value as measurements and files have them: Inf becomes NaN, and not_finite counts all. To be
 * called once pixels of your own are in an image that was allocated, when some may be NaN or Inf; what was read from a
 * file is so already. */
void mro_image_mark_missing(struct mro_image *im);

/* Frees the pixels and zeroes the struct. NULL and {0} are fine. */
void mro_image_release(struct mro_image *im);

/* Sets both axes to `pixel_nm` (> 0) from `source`. MRO_EARG for a value that is no length between
 * 1e-4 and 1e6 nm. */
enum mro_code mro_image_set_pixel_nm(struct mro_image *im, double pixel_nm, enum mro_source source,
                                     struct mro_error *e);

/* The same with a pixel size of its own along y and x. */
enum mro_code mro_image_set_pixels_nm(struct mro_image *im, const double pixel_nm[2], enum mro_source source,
                                      struct mro_error *e);

/* Pixel size in nm along y and x, for measurements that need it: MRO_ECALIB (MRO_LACKS_PIXEL_SIZE) when an axis is
 * uncalibrated or not a length. `name` is the file for the message. */
enum mro_code mro_image_pixel_nm(const struct mro_image *im, const char *name, double pixel_nm[2], struct mro_error *e);

/* Names for output; static storage. */
const char *mro_unit_name(enum mro_unit unit);       /* "nm", "1/nm", "eV", "rad", "s", "" */
const char *mro_source_name(enum mro_source source); /* "command line", "ImageJ", ... */
const char *mro_kind_name(enum mro_kind kind);       /* "image", "diffraction", "spectrum", "map" */
const char *mro_dtype_name(enum mro_dtype dtype);    /* "uint16", "float32", "complex64", "rgb8", ... */
size_t mro_dtype_size(enum mro_dtype dtype);         /* bytes of one pixel */

/* Reads a unit as files write it ("nm", "µm", "μm", "um", "\\u00B5m", "micron", "Å", "A", "1/nm",
 * "nm^-1", "m", "pixel", ...) and gives the unit to store and the factor from the file's unit to it.
 * Text that is no known unit gives MRO_UNIT_OTHER and factor 1; NULL, "", "pixel" give MRO_UNIT_NONE.
 * Never fails. */
enum mro_unit mro_unit_parse(const char *text, double *factor);

/* Fills an axis from a file's numbers: parses the unit, converts step and offset; a step that is not
 * a number between 1e-30 and 1e30 leaves the axis uncalibrated. */
void mro_axis_set(struct mro_axis *a, double step, double offset, const char *unit_text, enum mro_source source);

/* Offers an axis, called `name` ("x") in words, one more calibration. The more trusted source is kept; of equal
 * trust, the one that was there. An offer without a step changes nothing. True when the two differ by more than
 * 1 % or in their unit: `sentence` (may be NULL) then names both values and sources, and says which is used. */
bool mro_axis_offer(struct mro_axis *a, const struct mro_axis *offer, const char *name, char *sentence, size_t room);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

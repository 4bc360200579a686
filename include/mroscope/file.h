/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files of microscopes: open, list the images inside, read frames one by one; write results.
 *
 * The format is found by content, not by the suffix. Opening reads headers only; pixels are decoded
 * by mro_file_read, one frame at a time, within the memory budget. A file is used by one thread at
 * a time; different files are independent.
 */
#ifndef MROSCOPE_FILE_H
#define MROSCOPE_FILE_H

#include "mroscope/image.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct mro_file; /* opaque */

#define MRO_MAX_AXES 6

/* What is known of one image of a file before its pixels are decoded. */
struct mro_image_info {
    char title[128]; /* UTF-8; "" = none */
    enum mro_kind kind;
    enum mro_dtype dtype;
    size_t axes;                        /* number of axes; the last two are y, x; one axis: a spectrum */
    struct mro_axis axis[MRO_MAX_AXES]; /* slowest first */
    size_t frames;                      /* product of all sizes but the last two; 1 for a plain image */
    double beam_kv;                     /* 0 = unknown; likewise below */
    double magnification;
    double camera_length_mm;
    double binning[2];        /* of the camera, y and x */
    double stage_tilt_deg[2]; /* alpha, beta; NaN = unknown */
    char instrument[64];      /* microscope, as the file names it; "" = unknown; likewise below */
    char detector[64];        /* camera or detector */
    char date[32];            /* as the file says, ISO 8601 where that can be told */
    /* What a stored value stands for, as far as the file says: stored * scale + offset, in value_unit ("counts",
     * "e-"). Scale 0 = unknown. Pixels are handed out as stored. */
    double value_scale, value_offset;
    char value_unit[24];
    /* Pixel size by the resolution tags of a TIFF, nm, y and x; 0 = none. They mostly mean the size in print: no
     * calibration unless somebody asks for it. */
    double resolution_nm[2];
};

/* Opens `path`. `memory_bytes` (0 = half of the machine's memory) bounds every later decode.
 * Errors: MRO_EIO (cannot open), MRO_EFORMAT (unknown, cut or lying file). Free with mro_file_close. */
enum mro_code mro_file_open(struct mro_file **f, const char *path, size_t memory_bytes, struct mro_error *e);

/* The same on `size` bytes in memory, which must outlive the file; `name` is used in messages. */
enum mro_code mro_file_open_memory(struct mro_file **f, const void *bytes, size_t size, const char *name,
                                   size_t memory_bytes, struct mro_error *e);

void mro_file_close(struct mro_file *f); /* NULL is fine */

const char *mro_file_format(const struct mro_file *f); /* "TIFF", "DM4", ... */
size_t mro_file_images(const struct mro_file *f);      /* >= 1 for an open file */
/* Of image 0, 1, ...; NULL past the last. Owned by the file. */
const struct mro_image_info *mro_file_info(const struct mro_file *f, size_t image);

/* Warnings gathered while opening and reading (a repaired header, a page passed over, colour turned
 * to luminance): sentences, in order; NULL past the last. Owned by the file. */
const char *mro_file_warning(const struct mro_file *f, size_t i);

/* Decodes frame `frame` of image `image` to float32 (complex: magnitude; colour: luminance, ITU-R
 * BT.601; a spectrum: one row). Inf becomes NaN; both are counted in not_finite.
 * Errors: MRO_EARG (no such image or frame), MRO_EFORMAT (cut or corrupt data), MRO_EMEMORY. */
enum mro_code mro_file_read(struct mro_file *f, size_t image, size_t frame, struct mro_image *out, struct mro_error *e);

/* The same into an image that was read before, whose pixels are used again when the shape is the same ({0} is fine):
 * for stacks, where a fresh frame each time costs as much as reading it. On failure `out` is {0}. */
enum mro_code mro_file_read_into(struct mro_file *f, size_t image, size_t frame, struct mro_image *out,
                                 struct mro_error *e);

/* Decodes a frame as it is stored: ny*nx pixels of the image's dtype in the machine's byte order, rows top to bottom.
 * `out` has room for exactly these bytes. Errors as mro_file_read. */
enum mro_code mro_file_read_stored(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e);

/* Exact statistics over every value of one image (all frames; complex: magnitudes; colour: over all
 * channels), in double precision from the stored type. Values that are not finite are left out and
 * counted; when none is finite, min max mean sd are NaN. */
struct mro_statistics {
    double min, max, mean, sd; /* sd of the population (divides by n), as imaging programs print it */
    double sum;
    size_t count, not_finite;
};
enum mro_code mro_file_statistics(struct mro_file *f, size_t image, struct mro_statistics *s, struct mro_error *e);

/* Writes float32 TIFF with ImageJ calibration (opens in ImageJ with its scale; NaN kept), through a
 * temporary file and rename. On failure no file is left behind. Beyond 4 GiB it is BigTIFF. Errors: MRO_EIO,
 * MRO_EMEMORY. */
enum mro_code mro_write_tiff(const char *path, const struct mro_image *im, struct mro_error *e);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

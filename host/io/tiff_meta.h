/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a TIFF file says of its images beside their pixels: calibration and microscope, from the tags of vendors,
 * the texts of ImageJ and OME, and the resolution tags. Tags are looked up in the bytes of the directory:
 * libtiff knows none of the private ones, gives rationals as float only and repairs some fields without a word. */
#ifndef MRO_IO_TIFF_META_H
#define MRO_IO_TIFF_META_H

#include "io/reader.h"

/* A directory of the file. */
struct mro_tiff_dir {
    struct mro_bytes bytes; /* of the whole file */
    bool big_endian, big_tiff;
    uint64_t ifd; /* its offset */
};

/* The value of an entry, inside the file. */
struct mro_tiff_value {
    uint16_t type; /* TIFF_SHORT, ... */
    uint64_t count;
    const unsigned char *p;
    size_t bytes;
    bool big_endian;
};

/* Finds the first entry of `tag`; false when there is none, or its value does not lie in the file. */
bool mro_tiff_find(const struct mro_tiff_dir *d, uint16_t tag, struct mro_tiff_value *v);

/* Number `i` of a value of any numeric type; NAN where there is none. */
double mro_tiff_number(const struct mro_tiff_value *v, uint64_t i);

/* True, and takes `n` off the budget of texts, when there is so much left. */
bool mro_tiff_spend(size_t *budget, size_t n);

/* Whether a description (may be NULL) is ImageJ's, and a count in it ("images", "slices"): 1 when not given. */
bool mro_tiff_is_imagej(const char *description);
uint64_t mro_tiff_imagej_count(const char *description, const char *key);

/* Whether the directory holds a tag by which a vendor calibrates. */
bool mro_tiff_has_vendor(const struct mro_tiff_dir *d);

/* Fills calibration, kind, microscope and date of `info`, whose axes have their sizes: [frames,] [channels,] y, x.
 * Frames are split into time, depth and channels where a text says how. `description` is that of the first page
 * (NULL = none). `budget` bounds the bytes of text that are looked at and is used up: a file may name one long
 * text for each of its pages. Warns of sources that contradict each other and of texts that are broken. */
void mro_tiff_describe(struct mro_file *f, const struct mro_tiff_dir *d, const char *description, size_t *budget,
                       struct mro_image_info *info);

/* For mro_tiff_describe: the vendors' own tags, and JEOL's description. `res_nm` is the pixel size by the
 * resolution tags, y and x, 0 = none. */
void mro_tiff_vendor(struct mro_file *f, const struct mro_tiff_dir *d, const char *description, size_t *budget,
                     const double res_nm[2], struct mro_image_info *info);

#endif

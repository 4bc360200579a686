/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Images as other programs read them, in the pixel type they came in, frame by frame: no more than one is in memory. */
#ifndef MRO_IO_EXPORT_H
#define MRO_IO_EXPORT_H

#include "mroscope/file.h"

struct mro_export {
    const struct mro_image_info *info; /* dtype, axes (size and calibration), and what is known of the microscope */
    size_t frames;                     /* to write; product of all axes but the last two */
    const char *notes;                 /* further lines "key=value", each with a line feed; NULL = none */
    double shown[2];                   /* values shown as black and white; no rising pair: left to the program */
    /* Gives the next frame: ny * nx pixels of info->dtype in the machine's byte order, lent until the next call. */
    enum mro_code (*next)(void *context, const void **pixels, struct mro_error *e);
    void *context;
};

/* TIFF, uncompressed, a page a frame, the pixels of all frames one after the other; BigTIFF when 4 GiB do not suffice.
 * The scale is said three times: as ImageJ writes it (description and resolution), as DigitalMicrograph does (tags
 * 65003 and on, when both axes are calibrated), each of which the other passes over. What is known of the microscope
 * stands as "key=value" in the description and in ImageJ's info text. Written whole or not at all. Sources: TIFF 6.0
 * (1992); BigTIFF (Aware Systems); ImageJ's TiffEncoder. Errors: MRO_EARG, MRO_EIO, MRO_EMEMORY, those of `next`. */
enum mro_code mro_export_tiff(const char *path, const struct mro_export *x, struct mro_error *e);

/* MRC 2014 as an image stack (Cheng et al., J. Struct. Biol. 192 (2015) 146), rows as stored, first row first. Bytes
 * carry IMOD's stamp, which says whether they are signed. MRO_EARG for a pixel type that it has no mode for (naming
 * it). The scale is written when both axes are lengths. */
enum mro_code mro_export_mrc(const char *path, const struct mro_export *x, struct mro_error *e);

/* True when MRC can hold the calibration of the last two axes: both lengths, or both unknown. */
bool mro_export_mrc_holds_scale(const struct mro_image_info *info);

#endif

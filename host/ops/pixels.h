/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What pixels hold, before anything is measured of them. */
#ifndef MRO_OPS_PIXELS_H
#define MRO_OPS_PIXELS_H

#include <stdbool.h>
#include <stddef.h>

#include "mroscope/image.h"

/* Whether float32 has room to calculate with the pixels of an image, called `name` in the sentence: MRO_EDATA where
 * most of them are nearer to zero than 1e-30, or beyond 1e30. Zeros and what is no number say nothing. */
enum mro_code mro_pixels_in_range(const struct mro_image *im, const char *name, struct mro_error *e);

/* Whether an image holds more than one value. Where it does not, says so in a list of warnings (core/notes.h) and in
 * the `room` characters of a verdict. */
bool mro_pixels_vary(const struct mro_image *im, char ***warnings, size_t *n_warnings, char *verdict, size_t room);

/* Says in a list of warnings where pixels are whole numbers that reach from 0 to 255, as programs export them for
 * display; `lost` is what is lost where they were stretched. */
void mro_pixels_tell_export(const struct mro_image *im, const char *lost, char ***warnings, size_t *n_warnings);

/* Makes *px, where it is NULL, a copy of the pixels of an image that something in them can be replaced in; to be freed.
 * false: out of memory. */
bool mro_pixels_to_repair(const struct mro_image *im, float **px);

/* The two ends of the range of pixels. */
struct mro_pixel_ends {
    size_t finite;     /* pixels that are finite numbers, */
    float least, most; /* and their range; +inf and -inf where there are none */
    /* Lower (0) and upper (1) end of what is not NaN, and the share of pixels there where they pile up; else 0. */
    float end[2];
    double clipped[2];
};
struct mro_pixel_ends mro_pixel_ends(const float *px, size_t n, int threads);

#endif

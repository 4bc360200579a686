/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Band-pass of an image in spatial frequency 1/d, with smooth (cosine) edges: half amplitude at the limits. */
#ifndef MROSCOPE_BANDPASS_H
#define MROSCOPE_BANDPASS_H

#include "mroscope/device.h"
#include "mroscope/image.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same image and options give other numbers. */
#define MRO_BANDPASS_ALGORITHM "bandpass 1"

struct mro_bandpass_options {
    double band_inv_nm[2]; /* default 4.1, 5.8 */
    double edge_inv_nm;    /* full width of the cosine edge; default 0.3; 0 cuts sharply */
};
void mro_bandpass_options_default(struct mro_bandpass_options *o);

struct mro_bandpass_result {
    double pixel_nm[2];
    double rms_in, rms_out;    /* standard deviation before and after, in the image's own unit */
    struct mro_image filtered; /* same shape and calibration; pixels that were not finite are NaN */
};

/* Filters `im`. Pixels that are not finite are replaced by the mean before, and NaN after.
 * Errors: MRO_ECALIB, MRO_EARG (limits in wrong order, a negative edge, or beyond Nyquist 1/(2 pixel), naming it),
 * MRO_EDATA (no finite pixel, or single ones too large for float32), MRO_EMEMORY. Release with
 * mro_bandpass_result_release. */
enum mro_code mro_bandpass(struct mro_device *d, const struct mro_image *im, const char *name,
                           const struct mro_bandpass_options *o, struct mro_bandpass_result *r, struct mro_error *e);
void mro_bandpass_result_release(struct mro_bandpass_result *r); /* {0} is fine */

/* Checks a band against order and Nyquist; the sentence says what to pass. */
enum mro_code mro_band_check(const double band_inv_nm[2], const double pixel_nm[2], const char *name,
                             struct mro_error *e);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sums of frames, for their plain mean and for that of aligned ones. */
#ifndef MRO_OPS_ALIGN_INTERNAL_H
#define MRO_OPS_ALIGN_INTERNAL_H

#include "mroscope/align.h"

/* Sum and number of the values at each pixel; {0} is released well. */
struct mro_total {
    size_t ny, nx;
    double *sum;
    uint32_t *count;
};

enum mro_code mro_total_new(struct mro_total *t, size_t ny, size_t nx, struct mro_error *e);
void mro_total_release(struct mro_total *t);

/* Adds the part of a frame whose first pixel is at `from` (y, x). Beyond its borders a frame is mirrored; pixels
 * without a value are filled with the mean for the kernel's sake and spoil what lies next to them. MRO_EMEMORY. */
enum mro_code mro_total_add_shifted(struct mro_total *t, const struct mro_image *im, const double from[2],
                                    struct mro_error *e);

/* The mean as an image with axes, kind and beam of `like`; the caller releases it. */
enum mro_code mro_total_mean(const struct mro_total *t, const struct mro_image *like, struct mro_image *out,
                             struct mro_error *e);

/* What of an image outlives its pixels. */
struct mro_image mro_align_head(const struct mro_image *im);

/* MRO_EDATA where a frame has another shape than those before it, and where there is no frame at all. */
enum mro_code mro_align_check_shape(const struct mro_image *im, size_t ny, size_t nx, const char *name, size_t frame,
                                    struct mro_error *e);
enum mro_code mro_align_no_frames(const char *name, struct mro_error *e);

/* Windowed sinc of half width `half` at t samples from its centre; Kaiser's window of `beta`. */
double mro_align_kernel(double t, double half, double beta);

#endif

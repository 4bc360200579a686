/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MRO_OPS_CLIPPED_H
#define MRO_OPS_CLIPPED_H

#include <stddef.h>

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

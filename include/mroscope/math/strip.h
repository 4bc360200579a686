/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which pixels of an image belong to which point of a line laid over it. */
#ifndef MROSCOPE_MATH_STRIP_H
#define MROSCOPE_MATH_STRIP_H

#include <stddef.h>

#include "mroscope/math/hd.h"

/* A line in nm from the top-left corner of an image: from (x0, y0) along the unit vector (ux, uy), `bins` points of
 * `step` nm, `width` nm across. */
struct mro_strip {
    double x0, y0, ux, uy, step, width;
    size_t bins;
    double pixel_y, pixel_x; /* nm */
};

/* The point that pixel (y, x) belongs to, whole: that of its centre, or `bins` for none. Pixels are not shared between
 * points: that would spread the counting noise of one over both and hide it. */
MRO_HD size_t mro_strip_bin(const struct mro_strip *s, size_t y, size_t x)
{
    const double px = ((double)x + 0.5) * s->pixel_x - s->x0, py = ((double)y + 0.5) * s->pixel_y - s->y0;
    const double across = (py * s->ux - px * s->uy) / s->width, along = (px * s->ux + py * s->uy) / s->step;
    /* A hair to one side: centres of pixels often lie exactly between points, and rounding must not choose. */
    if (!(across >= -0.5 - 1e-9 && across < 0.5 - 1e-9) || along < -1e-9) return s->bins;
    return along + 1e-9 < (double)s->bins ? (size_t)(along + 1e-9) : s->bins;
}

/* Pixels [*from, *to) of row y of nx that may belong to points from <= along < to of the strip, with a pixel to spare:
 * what lies outside never does. */
MRO_HD void mro_strip_row(const struct mro_strip *s, size_t y, size_t nx, double first, double last, size_t *from,
                          size_t *to)
{
    const double py = ((double)y + 0.5) * s->pixel_y - s->y0;
    double lo = -1e300, hi = 1e300;
    /* px ux + py uy in [first, last] * step, and py ux - px uy in [-1/2, 1/2] * width. */
    for (int k = 0; k < 2; k++) {
        const double slope = k ? -s->uy : s->ux, rest = k ? py * s->ux : py * s->uy;
        const double least = k ? -0.5 * s->width : first * s->step, most = k ? 0.5 * s->width : last * s->step;
        if (fabs(slope) < 1e-12) {
            if (rest < least - 1e-6 * s->step || rest > most + 1e-6 * s->step) hi = -1e300;
            continue;
        }
        const double a = (least - rest) / slope, b = (most - rest) / slope;
        lo = fmax(lo, a < b ? a : b);
        hi = fmin(hi, a < b ? b : a);
    }
    const double x0 = (lo + s->x0) / s->pixel_x - 1.5, x1 = (hi + s->x0) / s->pixel_x + 1.5;
    *from = x0 <= 0 ? 0 : x0 >= (double)nx ? nx : (size_t)x0;
    *to = x1 <= 0 ? 0 : x1 >= (double)nx ? nx : (size_t)x1;
    if (*to < *from) *to = *from;
}

#endif

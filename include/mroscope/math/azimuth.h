/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a pixel of a diffraction pattern lies: radius and direction, and how a pixel's value enters its ring. Arrays
 * are y, x; pixel positions count from the centre of the first pixel. */
#ifndef MROSCOPE_MATH_AZIMUTH_H
#define MROSCOPE_MATH_AZIMUTH_H

#include <stdbool.h>

#include "mroscope/math/hd.h"

/* The plane of the pattern made round: u = xx dx + xy dy, v = xy dx + yy dy, with dx and dy from the centre in pixels
 * along x; `aspect` is the height of a pixel over its width in nm^-1. */
struct mro_round {
    double cx, cy, aspect, xx, xy, yy;
};

/* From e1 = ln(ratio) / 2 * cos 2 azimuth and e2 = the same with sin, azimuth of the long axis. The area is kept. */
MRO_HD struct mro_round mro_round_of(double cx, double cy, double aspect, double e1, double e2)
{
    const double h = sqrt(e1 * e1 + e2 * e2), c = cosh(h), s = h > 0 ? sinh(h) / h : 1;
    struct mro_round r = { cx, cy, aspect, c - s * e1, -s * e2, c + s * e1 };
    return r;
}

MRO_HD void mro_round_at(const struct mro_round *r, double x, double y, double *u, double *v)
{
    const double dx = x - r->cx, dy = (y - r->cy) * r->aspect;
    *u = r->xx * dx + r->xy * dy;
    *v = r->xy * dx + r->yy * dy;
}

#define MRO_RING_LANES 8 /* pieces that are summed side by side */

/* What the pixels of one piece (a sector of the ring between two neighbouring radii) add up to. A pixel a fraction f of
 * the way from the inner to the outer radius counts 1 - f for the inner and f for the outer one. */
struct mro_ring_sums {
    double n, f, v, fv, vv, fvv; /* sums of 1, f, value, f value, value^2, f value^2 over the pixels taken */
    double lo, hi;               /* extremes of all its pixels with data; INFINITY, -INFINITY without any */
};

#endif

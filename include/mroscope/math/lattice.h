/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The lattice over spatial frequency on which the local median of a power spectrum is taken: (2 half + 1) x (2 half +
 * 1) points, the origin in the middle; point (j, i) is at (j, i) * step. */
#ifndef MROSCOPE_MATH_LATTICE_H
#define MROSCOPE_MATH_LATTICE_H

#include <stddef.h>

#include "mroscope/math/hd.h"

#define MRO_LATTICE_PER_RADIUS 3.0 /* points per radius of the median's disc; also the smoothing */
#define MRO_LATTICE_REACH 16       /* most lattice steps that the smoothing reaches */

struct mro_lattice {
    ptrdiff_t half;
    double step;         /* nm^-1 */
    double sigma;        /* of the smoothing, lattice steps */
    ptrdiff_t reach;     /* of the smoothing, lattice steps */
    double radius;       /* of the discs, nm^-1 */
    double inner, outer; /* |q| of the points that have a median */
    double lo, hi;       /* |q| of the samples that are wanted in the end */
    /* The plane of the power. */
    size_t ny, nx;
    double ly, lx;
};

MRO_HD struct mro_lattice mro_lattice_of(size_t ny, size_t nx, double ly, double lx, double radius, double lo,
                                         double hi)
{
    struct mro_lattice l;
    /* Discs must stay inside the plane. */
    const double room = fmin((double)(ny / 2 - 1) / ly, (double)(nx / 2 - 1) / lx) - radius;
    l.step = fmax(radius / MRO_LATTICE_PER_RADIUS, 1.0 / fmax(ly, lx));
    l.sigma = radius / MRO_LATTICE_PER_RADIUS / l.step;
    l.reach = (ptrdiff_t)fmin(ceil(3 * l.sigma), (double)MRO_LATTICE_REACH);
    const ptrdiff_t pad = (ptrdiff_t)ceil(3 * l.sigma) + 1;
    l.half = (ptrdiff_t)ceil(hi / l.step) + pad;
    l.radius = radius;
    l.inner = lo - (double)pad * l.step;
    l.outer = fmin(hi + (double)pad * l.step, room);
    l.lo = lo;
    l.hi = hi;
    l.ny = ny;
    l.nx = nx;
    l.ly = ly;
    l.lx = lx;
    return l;
}

MRO_HD size_t mro_lattice_index(const struct mro_lattice *l, ptrdiff_t j, ptrdiff_t i)
{
    return (size_t)((j + l->half) * (2 * l->half + 1) + i + l->half);
}

MRO_HD size_t mro_lattice_points(const struct mro_lattice *l)
{
    return (size_t)(2 * l->half + 1) * (size_t)(2 * l->half + 1);
}

/* Whether point (j, i) has a median of its own. */
MRO_HD int mro_lattice_wanted(const struct mro_lattice *l, ptrdiff_t j, ptrdiff_t i)
{
    const double q2 = (double)(j * j + i * i) * l->step * l->step;
    return (l->inner <= 0 || q2 >= l->inner * l->inner) && l->outer >= 0 && q2 <= l->outer * l->outer;
}

/* The disc around point (j, i): rows y0..y1 of signed frequency numbers, and of row y every `stride`-th number from x0
 * on, n of them. Several hundred coefficients say enough: on large images every second one is taken, as on a
 * chessboard. */
struct mro_disc {
    double cy, cx, ry, rx;
    ptrdiff_t y0, y1, stride;
};
MRO_HD struct mro_disc mro_lattice_disc(const struct mro_lattice *l, ptrdiff_t j, ptrdiff_t i)
{
    struct mro_disc d;
    /* A hair more: numbers often lie exactly on the rim, and rounding must not choose. */
    d.ry = l->radius * l->ly + 0.5 + 1e-9;
    d.rx = l->radius * l->lx + 0.5 + 1e-9;
    d.cy = (double)j * l->step * l->ly;
    d.cx = (double)i * l->step * l->lx;
    d.y0 = (ptrdiff_t)ceil(d.cy - d.ry);
    d.y1 = (ptrdiff_t)floor(d.cy + d.ry);
    d.stride = d.ry * d.rx > 200 ? 2 : 1;
    return d;
}
MRO_HD double mro_disc_half_width(const struct mro_disc *d, int y) /* of row y, in numbers */
{
    const double dy = (y - d->cy) / d->ry;
    return d->rx * sqrt(fmax(0.0, 1 - dy * dy));
}
MRO_HD int mro_disc_run(const struct mro_disc *d, int y, double half_width, int *n)
{
    const int every = (int)d->stride - 1; /* a stride of 1 or 2 */
    const int x0 = (int)ceil(d->cx - half_width) + (y & every), x1 = (int)floor(d->cx + half_width);
    *n = x1 < x0 ? 0 : ((x1 - x0) >> every) + 1;
    return x0;
}
MRO_HD int mro_disc_row(const struct mro_disc *d, int y, int *n)
{
    return mro_disc_run(d, y, mro_disc_half_width(d, y), n);
}

/* Normalised smoothing at point (j, i) over the medians `v` (negative = none); `bell`[k] is the weight of k steps. */
MRO_HD float mro_lattice_smoothed(const struct mro_lattice *l, const float *v, const double *bell, ptrdiff_t j,
                                  ptrdiff_t i)
{
    const double q2 = (double)(j * j + i * i) * l->step * l->step;
    if (q2 < (l->lo - l->step) * (l->lo - l->step) || q2 > (l->hi + l->step) * (l->hi + l->step)) return 0;
    double sum = 0, weight = 0;
    for (ptrdiff_t b = j - l->reach; b <= j + l->reach; b++)
        for (ptrdiff_t a = i - l->reach; a <= i + l->reach; a++) {
            if (b < -l->half || b > l->half || a < -l->half || a > l->half) continue;
            const double x = v[mro_lattice_index(l, b, a)];
            if (x < 0) continue;
            const double w = bell[b < j ? j - b : b - j] * bell[a < i ? i - a : a - i];
            sum += w * x;
            weight += w;
        }
    return weight > 0 ? (float)(sum / weight) : 0;
}

/* Interpolated at frequency (qy, qx); 0 outside lo..hi. */
MRO_HD float mro_lattice_at(const struct mro_lattice *l, const float *smooth, double qy, double qx)
{
    const double q = sqrt(qy * qy + qx * qx);
    if (q < l->lo || q > l->hi) return 0;
    const double b = qy / l->step, a = qx / l->step;
    const ptrdiff_t j = (ptrdiff_t)floor(b), i = (ptrdiff_t)floor(a);
    const double wy = b - (double)j, wx = a - (double)i;
    const float *p = smooth + mro_lattice_index(l, j, i), *next = smooth + mro_lattice_index(l, j + 1, i);
    return (float)((1 - wy) * ((1 - wx) * p[0] + wx * p[1]) + wy * ((1 - wx) * next[0] + wx * next[1]));
}

#endif

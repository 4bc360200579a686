/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One set of fringes cut out of a spectrum: which coefficients, with which weight, and the slope of its phase. */
#ifndef MROSCOPE_MATH_WAVE_H
#define MROSCOPE_MATH_WAVE_H

#include <stddef.h>

#include "mroscope/math/grid.h"

#define MRO_WAVE_REACH 4.0 /* standard deviations that the mask reaches from its centre; 3e-4 is left there */

/* A Gaussian mask exp(-(q - g)^2 / (2 sigma^2)) around g: rows cy - hy .. cy + hy and columns cx - hx .. cx + hx of the
 * spectrum. (cy, cx) is the coefficient next to g, which becomes frequency zero. */
struct mro_wave_mask {
    double gy, gx, sigma; /* nm^-1 */
    double ly, lx;
    ptrdiff_t cy, cx, hy, hx;
};

MRO_HD struct mro_wave_mask mro_wave_mask_of(double gy, double gx, double sigma, double ly, double lx)
{
    struct mro_wave_mask m;
    m.gy = gy;
    m.gx = gx;
    m.sigma = sigma;
    m.ly = ly;
    m.lx = lx;
    m.cy = (ptrdiff_t)floor(gy * ly + 0.5);
    m.cx = (ptrdiff_t)floor(gx * lx + 0.5);
    m.hy = (ptrdiff_t)ceil(MRO_WAVE_REACH * sigma * ly);
    m.hx = (ptrdiff_t)ceil(MRO_WAVE_REACH * sigma * lx);
    return m;
}

/* Weight of the coefficient j rows and i columns from the middle one. */
MRO_HD float mro_wave_weight(const struct mro_wave_mask *m, ptrdiff_t j, ptrdiff_t i)
{
    const double y = (double)(j + m->cy) / m->ly - m->gy, x = (double)(i + m->cx) / m->lx - m->gx;
    return (float)exp(-(y * y + x * x) / (2 * m->sigma * m->sigma));
}

/* Slope of the phase of h along one axis, in turns per nm, from its derivative there: Im(conj(h) dh) / (2 pi |h|^2); no
 * phase is unwrapped. 0 where h is 0. Source: Hytch, Snoeck, Kilaas, Ultramicroscopy 74 (1998) 131. */
MRO_HD float mro_wave_slope(mro_c32 h, mro_c32 dh)
{
    const float square = h.re * h.re + h.im * h.im;
    return square > 0 ? (h.re * dh.im - h.im * dh.re) / ((float)(2 * MRO_PI) * square) : 0;
}

#endif

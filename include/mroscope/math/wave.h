/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One set of fringes brought down to frequency zero under a Gaussian: its weights, and the slope of its phase. */
#ifndef MROSCOPE_MATH_WAVE_H
#define MROSCOPE_MATH_WAVE_H

#include "mroscope/math/elementary.h"
#include "mroscope/math/hd.h"

#define MRO_WAVE_REACH 5.0 /* standard deviations of the Gaussian in real space that are summed; 4e-6 is left there */

/* Standard deviation in real space, nm, of a mask exp(-q^2 / (2 sigma^2)) on the spectrum. */
MRO_HD double mro_wave_width(double sigma_inv_nm) { return 1 / (2 * MRO_PI * sigma_inv_nm); }

/* Weight along one axis of a sample `away` nm from a point, of samples `pitch` nm apart: of all samples it sums to 1.
 */
MRO_HD float mro_wave_weight(double away, double width, double pitch)
{
    const double t = away / width;
    return (float)(pitch / (width * 2.5066282746310002)) * mro_exp((float)(-0.5 * t * t)); /* the root of 2 pi */
}

/* exp(-2 pi i g r): what brings fringes of wave number g down, at r nm. */
MRO_HD mro_c32 mro_wave_turn(double g, double r)
{
    const float turn = (float)mro_turn_of(-g * r);
    mro_c32 z;
    z.re = mro_cos_turn(turn);
    z.im = mro_sin_turn(turn);
    return z;
}

/* Slope of the phase of h along one axis, in turns per nm, from its derivative there: Im(conj(h) dh) / (2 pi |h|^2); no
 * phase is unwrapped. 0 where h is 0. Source: Hytch, Snoeck, Kilaas, Ultramicroscopy 74 (1998) 131. */
MRO_HD float mro_wave_slope(mro_c32 h, mro_c32 dh)
{
    const float square = h.re * h.re + h.im * h.im;
    return square > 0 ? (h.re * dh.im - h.im * dh.re) / ((float)(2 * MRO_PI) * square) : 0;
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* White Gaussian fields drawn in Fourier space. */
#ifndef MROSCOPE_MATH_NOISE_H
#define MROSCOPE_MATH_NOISE_H

#include "mroscope/math/band.h"
#include "mroscope/math/philox.h"

/* Coefficient of field (seed, stream) of unit variance at frequency (ky / ly, kx / lx), times the pass band lo..hi (see
 * mro_band_gain). One draw serves a pair of conjugate frequencies: ask for the one with ky > 0, or ky = 0 and kx >= 0;
 * its conjugate stands at (-ky, -kx), and that of (0, 0) is real. The draw is numbered by the frequency, so that a
 * larger grid holds the same field refined. */
MRO_HD mro_c32 mro_noise_coefficient(uint64_t seed, uint64_t stream, int64_t ky, int64_t kx, double ly, double lx,
                                     float lo, float hi, float edge)
{
    const double qy = (double)ky / ly, qx = (double)kx / lx, q2 = qy * qy + qx * qx;
    const double least = lo > edge ? (lo - edge) * (lo - edge) : 0, most = (double)(hi + edge) * (double)(hi + edge);
    mro_c32 z;
    z.re = z.im = 0;
    if (q2 < least || q2 > most) return z;
    const float b = mro_band_gain((float)sqrt(q2), lo, hi, edge) * 0.70710678118654752f;
    const mro_philox_block r = mro_philox(seed, stream, (uint64_t)ky << 32 | (uint64_t)(kx + (1 << 24)));
    z = mro_normal_pair(r.v[0], r.v[1]);
    z.re *= b;
    z.im = ky == 0 && kx == 0 ? 0 : z.im * b;
    return z;
}

#endif

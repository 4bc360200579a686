/* SPDX-License-Identifier: GPL-3.0-or-later */
/* White Gaussian fields drawn in Fourier space. */
#ifndef MROSCOPE_MATH_NOISE_H
#define MROSCOPE_MATH_NOISE_H

#include <stdbool.h>

#include "mroscope/math/band.h"
#include "mroscope/math/philox.h"

/* What stands before the draw of frequency (ky / ly, kx / lx): the pass band lo..hi (see mro_band_gain) and the root of
 * 1/2 that the real and the imaginary part share. */
MRO_HD float mro_noise_gain(int32_t ky, int32_t kx, double ly, double lx, float lo, float hi, float edge)
{
    const double qy = ky / ly, qx = kx / lx;
    return mro_band_gain((float)sqrt(qy * qy + qx * qx), lo, hi, edge) * 0.70710678118654752f;
}

/* Number of the draw of a frequency, so that a larger grid holds the same field refined. */
MRO_HD uint64_t mro_noise_counter(int32_t ky, int32_t kx)
{
    return (uint64_t)(uint32_t)ky << 32 | (uint32_t)(kx + (1 << 24));
}

/* Coefficient of field (seed, stream) of unit variance at frequency (ky / ly, kx / lx), times the pass band. One draw
 * serves a pair of conjugate frequencies: ask for the one with ky > 0, or ky = 0 and kx >= 0; its conjugate stands at
 * (-ky, -kx), and that of (0, 0) is real. */
MRO_HD mro_c32 mro_noise_coefficient(uint64_t seed, uint64_t stream, int32_t ky, int32_t kx, double ly, double lx,
                                     float lo, float hi, float edge)
{
    const float b = mro_noise_gain(ky, kx, ly, lx, lo, hi, edge);
    const mro_philox_block r = mro_philox(seed, stream, mro_noise_counter(ky, kx));
    mro_c32 z = mro_normal_pair(r.v[0], r.v[1]);
    z.re *= b;
    z.im = ky == 0 && kx == 0 ? 0 : z.im * b;
    return z;
}

/* The frequencies |kx| at which row ky of a field lx wide has anything but zeros lie in [*first, *last]; false where
 * there are none. */
MRO_HD bool mro_noise_row(int32_t ky, double ly, double lx, float lo, float hi, float edge, int32_t *first,
                          int32_t *last)
{
    const double qy = ky / ly, inner = lo > edge ? lo - edge : 0, outer = hi + edge;
    if (fabs(qy) > outer) return false;
    *first = fabs(qy) < inner ? (int32_t)(sqrt(inner * inner - qy * qy) * lx) : 0;
    *last = (int32_t)fmin(sqrt(outer * outer - qy * qy) * lx + 1, 1e9);
    return true;
}

#endif

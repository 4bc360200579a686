/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two real fields in one complex transform. */
#ifndef MROSCOPE_MATH_ACF_H
#define MROSCOPE_MATH_ACF_H

#include "mroscope/math/grid.h"

/* |F|^2 of fields a and b at column x of nx, from the transform of a + i b there (p) and at the conjugate frequency
 * (q): re = that of a, im = that of b. Columns strictly inside the half plane stand for their mirror image too and
 * count twice. */
MRO_HD mro_c32 mro_split_power(mro_c32 p, mro_c32 q, size_t x, size_t nx)
{
    const float weight = x && 2 * x != nx ? 0.5f : 0.25f;
    const float sr = p.re + q.re, si = p.im - q.im, dr = p.re - q.re, di = p.im + q.im;
    mro_c32 power;
    power.re = weight * (sr * sr + si * si);
    power.im = weight * (dr * dr + di * di);
    return power;
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fringe patch of an ordered sphere in projection: fringes under an envelope proportional to the
 * chord of the sphere. */
#ifndef MROSCOPE_MATH_PATCH_H
#define MROSCOPE_MATH_PATCH_H

#include "mroscope/math/hd.h"

/* Chord of a sphere of radius R at distance squared r2 from its axis; same unit as R. */
MRO_HD float mro_chord(float r2, float radius)
{
    const float h = radius * radius - r2;
    return h > 0 ? 2.0f * sqrtf(h) : 0.0f;
}

/* Fourier transform of the chord profile over its value at 0: the form factor of a sphere of diameter D
 * at spatial frequency q (1/d). */
MRO_HD double mro_sphere_form_factor(double q, double diameter)
{
    const double x = MRO_PI * q * diameter;
    if (x < 1e-2) return 1 - x * x / 10;
    return 3 * (sin(x) - x * cos(x)) / (x * x * x);
}

#endif

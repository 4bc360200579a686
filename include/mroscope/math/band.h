/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pass band in spatial frequency with cosine edges. */
#ifndef MROSCOPE_MATH_BAND_H
#define MROSCOPE_MATH_BAND_H

#include "mroscope/math/elementary.h"

/* Amplitude of the pass band lo..hi at spatial frequency q, all in nm^-1. The edges are squared sines
 * of full width `edge` centred on the limits, where the amplitude is 1/2. */
MRO_HD float mro_band_gain(float q, float lo, float hi, float edge)
{
    float up = (q - lo) / edge + 0.5f, down = (hi - q) / edge + 0.5f;
    up = up < 0 ? 0 : up > 1 ? 1 : up;
    down = down < 0 ? 0 : down > 1 ? 1 : down;
    const float s = mro_sin_quarter(0.25f * up) * mro_sin_quarter(0.25f * down);
    return s * s;
}

#endif

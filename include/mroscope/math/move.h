/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A field moved by any fraction of a sample is its spectrum times a phase. */
#ifndef MROSCOPE_MATH_MOVE_H
#define MROSCOPE_MATH_MOVE_H

#include <stddef.h>

#include "mroscope/math/grid.h"

/* exp(-2 pi i q move) of frequency i of n over `length`; 0 for the middle one of an even n, which has no partner. */
MRO_HD mro_c32 mro_move_phase(size_t i, size_t n, double length, double move)
{
    const double turns = mro_frequency(i, n, length) * move, phase = -2 * MRO_PI * (turns - floor(turns));
    mro_c32 z = { 0, 0 };
    if (n % 2 == 0 && i == n / 2) return z;
    z.re = (float)cos(phase);
    z.im = (float)sin(phase);
    return z;
}

#endif

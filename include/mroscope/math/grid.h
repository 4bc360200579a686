/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the samples of a discrete transform lie in spatial frequency. */
#ifndef MROSCOPE_MATH_GRID_H
#define MROSCOPE_MATH_GRID_H

#include <stddef.h>

#include "mroscope/math/hd.h"

/* Spatial frequency of sample i of n over `length`: zero first, then up to the middle, then the negative ones. */
MRO_HD double mro_frequency(size_t i, size_t n, double length)
{
    return ((double)i - (i <= n / 2 ? 0 : (double)n)) / length;
}

/* i modulo n, never negative. Cards divide 64 bits in a hundred instructions: what is less than a turn away goes
 * without. */
MRO_HD size_t mro_cyclic(ptrdiff_t i, size_t n)
{
    const ptrdiff_t m = (ptrdiff_t)n;
    const ptrdiff_t near = i < 0 ? i + m : i < m ? i : i - m;
    if (near >= 0 && near < m) return (size_t)near;
    const ptrdiff_t r = i % m;
    return (size_t)(r < 0 ? r + m : r);
}

#endif

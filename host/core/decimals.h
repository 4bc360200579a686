/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many decimals a number with an error is printed with. */
#ifndef MRO_CORE_DECIMALS_H
#define MRO_CORE_DECIMALS_H

#include <math.h>

/* Decimals that show two figures of a standard error: 0.00016 -> 5. `least` where that are fewer, and where there is no
 * error (NaN, 0). */
static inline int mro_decimals_of_error(double se, int least)
{
    if (!(se > 0) || !isfinite(se)) return least;
    const int decimals = 1 - (int)floor(log10(se));
    return decimals < least ? least : decimals > 9 ? 9 : decimals;
}

#endif

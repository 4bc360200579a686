/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a number with an error is printed. */
#ifndef MRO_CORE_DECIMALS_H
#define MRO_CORE_DECIMALS_H

#include <math.h>
#include <stdio.h>

/* Decimals that show two figures of a standard error: 0.00016 -> 5. `least` where that are fewer, and where there is no
 * error (NaN, 0). */
static inline int mro_decimals_of_error(double se, int least)
{
    if (!(se > 0) || !isfinite(se)) return least;
    const int decimals = 1 - (int)floor(log10(se));
    return decimals < least ? least : decimals > 9 ? 9 : decimals;
}

/* "0.20429 +- 0.00016", with ` +- ` as `sign`; the number alone where its error is not known. Returns the length. */
static inline int mro_write_with_error(char *out, size_t size, double v, double se, int least, const char *sign)
{
    const int decimals = mro_decimals_of_error(se, least);
    return isfinite(se) ? snprintf(out, size, "%.*f%s%.*f", decimals, v, sign, decimals, se)
                        : snprintf(out, size, "%.*f", decimals, v);
}

#endif

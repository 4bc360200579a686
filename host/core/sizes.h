/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sizes of transforms. */
#ifndef MRO_CORE_SIZES_H
#define MRO_CORE_SIZES_H

#include <stddef.h>

/* The next size that transforms fast: a multiple of 8 (of 2 below 32) whose odd part has factors 3 and 5 only. */
static inline size_t mro_smooth_size(size_t n)
{
    const size_t unit = n < 32 ? 2 : 8;
    for (n = (n + unit - 1) / unit * unit;; n += unit) {
        size_t m = n;
        while (m % 2 == 0) m /= 2;
        while (m % 3 == 0) m /= 3;
        while (m % 5 == 0) m /= 5;
        if (m == 1) return n;
    }
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MRO_OPS_CLIPPED_H
#define MRO_OPS_CLIPPED_H

#include <stdbool.h>
#include <stddef.h>

/* Share of pixels at the upper (lower) end of the range, where they pile up; else 0. *found (may be NULL): that end.
 * NaN are left out. */
double mro_clipped_share(const float *px, size_t n, bool upper, int threads, float *found);

#endif

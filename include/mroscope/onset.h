/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a series bends: two straight lines that meet, such as the first moment of a halo against temperature at the
 * glass transition. */
#ifndef MROSCOPE_ONSET_H
#define MROSCOPE_ONSET_H

#include <stddef.h>

#include "mroscope/error.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct mro_onset {
    double x, ci95[2];            /* where the lines meet, in the unit of x */
    double slope[2], slope_se[2]; /* before and after, y per unit of x */
    double level;                 /* y where they meet */
    double p;                     /* F test against one straight line */
};

/* Least squares of two straight lines that meet, weighted by 1 / se^2 where all se are above 0 (se may be NULL). x need
 * not rise; points with NaN are left out. All is NaN with fewer than 6 points; the place is NaN where the bend is not
 * significant (p >= 0.05). The F test has 2 and n - 4 degrees of freedom (Feder, Ann. Stat. 3 (1975) 49). Errors:
 * MRO_EMEMORY. Safe to call from several threads. */
enum mro_code mro_onset_find(const double *x, const double *y, const double *se, size_t n, struct mro_onset *onset,
                             struct mro_error *e);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif

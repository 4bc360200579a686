/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Legendre polynomials: the terms of the smooth background of an image. */
#ifndef MROSCOPE_MATH_LEGENDRE_H
#define MROSCOPE_MATH_LEGENDRE_H

#include <stddef.h>

#include "mroscope/math/hd.h"

#define MRO_LEGENDRE_MOST 5 /* largest degree */

/* P_0 .. P_n at t in [-1, 1]. */
MRO_HD void mro_legendre(double t, int n, double *p)
{
    p[0] = 1;
    if (n > 0) p[1] = t;
    for (int k = 2; k <= n; k++) p[k] = ((2 * k - 1) * t * p[k - 1] - (k - 1) * p[k - 2]) / k;
}

/* Where the middle of pixel i of n lies in [-1, 1]. */
MRO_HD double mro_legendre_at(size_t i, size_t n) { return (2 * (double)i + 1) / (double)n - 1; }

/* A polynomial of y and x, sum of c P_k(y) P_l(x) over k + l <= degree (k slow), on one row: coefficient of P_l(x). */
MRO_HD void mro_legendre_row(const double *c, int degree, double y, float *row)
{
    double py[MRO_LEGENDRE_MOST + 1], sum[MRO_LEGENDRE_MOST + 1];
    int t = 0;
    mro_legendre(y, degree, py);
    for (int l = 0; l <= degree; l++) sum[l] = 0;
    for (int k = 0; k <= degree; k++)
        for (int l = 0; l <= degree - k; l++) sum[l] += py[k] * c[t++];
    for (int l = 0; l <= degree; l++) row[l] = (float)sum[l];
}

#endif

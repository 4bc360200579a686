/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From counts to contrast: spikes, and the smooth part that the borders of an image add to its transform. */
#ifndef MROSCOPE_MATH_CONTRAST_H
#define MROSCOPE_MATH_CONTRAST_H

#include "mroscope/math/hd.h"

/* Plain comparisons, not fminf: they become one instruction each. */
#define MRO_LESSER(a, b) ((a) < (b) ? (a) : (b))
#define MRO_GREATER(a, b) ((a) > (b) ? (a) : (b))
#define MRO_SORT2(a, b)                     \
    do {                                    \
        const float lo_ = MRO_LESSER(a, b); \
        b = MRO_GREATER(a, b);              \
        a = lo_;                            \
    } while (0)

/* Median of nine numbers by the exchange network of Smith and Devillard (19 compare-exchanges); free of branches, so
 * that a loop over pixels vectorises. */
MRO_HD float mro_median9(float a, float b, float c, float d, float f, float g, float h, float i, float j)
{
    MRO_SORT2(b, c);
    MRO_SORT2(f, g);
    MRO_SORT2(i, j);
    MRO_SORT2(a, b);
    MRO_SORT2(d, f);
    MRO_SORT2(h, i);
    MRO_SORT2(b, c);
    MRO_SORT2(f, g);
    MRO_SORT2(i, j);
    d = MRO_GREATER(a, d);
    g = MRO_LESSER(g, j);
    MRO_SORT2(f, i);
    h = MRO_GREATER(d, h);
    f = MRO_GREATER(b, f);
    c = MRO_LESSER(c, g);
    f = MRO_LESSER(f, i);
    MRO_SORT2(f, c);
    f = MRO_GREATER(h, f);
    return MRO_LESSER(f, c);
}

/* Residuals |pixel - median of its neighbourhood| this many standard deviations out are spikes, not specimen. The
 * scale is that of the median residual on every MRO_SPIKE_ROW_STEP-th row. */
#define MRO_SPIKE_SIGMAS 8.0f
#define MRO_SPIKE_ROW_STEP 16
#define MRO_SPIKE_THRESHOLD(median_residual) (MRO_SPIKE_SIGMAS * 1.4826f * (median_residual))

/* Coefficient (ky, kx) of the smooth component that carries the jumps across the borders of an image of ny x nx pixels,
 * unnormalised transform; subtracting it makes the image fit for a periodic transform. `along_x` is coefficient kx of
 * the transform of (last row - first row), `along_y` coefficient ky of that of (last column - first column).
 * Source: Moisan, J. Math. Imaging Vis. 39 (2011) 161. */
MRO_HD mro_c32 mro_border_coefficient(double ky, double kx, double ny, double nx, mro_c32 along_x, mro_c32 along_y)
{
    const double ay = 2 * MRO_PI * ky / ny, ax = 2 * MRO_PI * kx / nx;
    const double den = 2 * cos(ay) + 2 * cos(ax) - 4;
    mro_c32 s;
    s.re = s.im = 0;
    if (den == 0) return s;
    /* The jump in the first line, minus it in the last: a factor 1 - exp(+2 pi i k / n). */
    const double cy = 1 - cos(ay), sy = -sin(ay), cx = 1 - cos(ax), sx = -sin(ax);
    s.re = (float)((along_x.re * cy - along_x.im * sy + along_y.re * cx - along_y.im * sx) / den);
    s.im = (float)((along_x.re * sy + along_x.im * cy + along_y.re * sx + along_y.im * cx) / den);
    return s;
}

/* Dividing by the local mean takes out thickness and illumination, but only counts have a meaningful zero: an image
 * whose lowest local mean comes near zero or below is divided by its overall magnitude instead. */
struct mro_background_scale {
    int counts;  /* divide by the local mean */
    float scale; /* else multiply by this */
};
MRO_HD struct mro_background_scale mro_background_scale(double total_magnitude, double known, double lowest)
{
    const double magnitude = known > 0 ? total_magnitude / known : 0;
    struct mro_background_scale b;
    b.counts = magnitude > 0 && lowest > 0.02 * magnitude;
    b.scale = magnitude > 0 ? (float)(1 / magnitude) : 1.0f;
    return b;
}
MRO_HD float mro_contrast(float counts, float local_mean, struct mro_background_scale b)
{
    const float c = b.counts ? counts / local_mean - 1.0f : (counts - local_mean) * b.scale;
    return c == c ? c : 0.0f;
}

#endif

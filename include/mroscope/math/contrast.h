/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From counts to contrast: spikes, and the smooth part that the borders of an image add to its transform. */
#ifndef MROSCOPE_MATH_CONTRAST_H
#define MROSCOPE_MATH_CONTRAST_H

#include <stddef.h>

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

/* The three values of a column of pixels in rising order. */
#define MRO_SORT3(a, b, c) \
    do {                   \
        MRO_SORT2(a, b);   \
        MRO_SORT2(b, c);   \
        MRO_SORT2(a, b);   \
    } while (0)

MRO_HD float mro_median3(float a, float b, float c)
{
    const float lo = MRO_LESSER(a, b), hi = MRO_GREATER(a, b), rest = MRO_LESSER(hi, c);
    return MRO_GREATER(lo, rest);
}

/* Median of 3 x 3 pixels from the sorted columns l, m and r: the largest of the lowest, the middle of the middle and
 * the lowest of the largest ones enclose it. Free of branches, so that a loop over pixels vectorises. */
MRO_HD float mro_median_columns(float l0, float l1, float l2, float m0, float m1, float m2, float r0, float r1,
                                float r2)
{
    float lo = MRO_GREATER(l0, m0), hi = MRO_LESSER(l2, m2);
    lo = MRO_GREATER(lo, r0);
    hi = MRO_LESSER(hi, r2);
    return mro_median3(lo, mro_median3(l1, m1, r1), hi);
}

/* Residuals |pixel - median of its neighbourhood| this many standard deviations out are spikes, not specimen. The
 * scale is that of the median residual on every MRO_SPIKE_ROW_STEP-th row. */
#define MRO_SPIKE_SIGMAS 8.0f
#define MRO_SPIKE_ROW_STEP 16
#define MRO_SPIKE_THRESHOLD(median_residual) (MRO_SPIKE_SIGMAS * 1.4826f * (median_residual))

/* Cosine and sine of the angle 2 pi k / n, that frequency k turns from one sample to the next. */
struct mro_border_turn {
    double cosine, sine;
};
MRO_HD struct mro_border_turn mro_border_turn_of(double k, double n)
{
    struct mro_border_turn t;
    t.cosine = cos(2 * MRO_PI * k / n);
    t.sine = sin(2 * MRO_PI * k / n);
    return t;
}

/* Coefficient (ky, kx) of the smooth component that carries the jumps across the borders of an image, unnormalised
 * transform; subtracting it makes the image fit for a periodic transform. `y` and `x` are the turns of ky and kx;
 * `along_x` is coefficient kx of the transform of (last row - first row), `along_y` coefficient ky of that of (last
 * column - first column). Source: Moisan, J. Math. Imaging Vis. 39 (2011) 161. */
MRO_HD mro_c32 mro_border_coefficient(struct mro_border_turn y, struct mro_border_turn x, mro_c32 along_x,
                                      mro_c32 along_y)
{
    const double den = 2 * y.cosine + 2 * x.cosine - 4;
    /* The jump in the first line, minus it in the last: a factor 1 - exp(+2 pi i k / n). */
    const double cy = 1 - y.cosine, sy = -y.sine, cx = 1 - x.cosine, sx = -x.sine;
    mro_c32 s;
    s.re = s.im = 0;
    if (den == 0) return s;
    const double per = 1 / den;
    s.re = (float)((along_x.re * cy - along_x.im * sy + along_y.re * cx - along_y.im * sx) * per);
    s.im = (float)((along_x.re * sy + along_x.im * cy + along_y.re * sx + along_y.im * cx) * per);
    return s;
}

/* Square blocks of pixels whose means tell the local mean, a Gaussian of `background_nm`; the last ones of an axis may
 * be cut. */
struct mro_blocks {
    size_t side, ny, nx; /* pixels; blocks */
};
MRO_HD struct mro_blocks mro_background_blocks(size_t ny, size_t nx, const double pixel_nm[2], double background_nm)
{
    const double coarsest = pixel_nm[0] > pixel_nm[1] ? pixel_nm[0] : pixel_nm[1],
                 eighth = background_nm / coarsest / 8;
    struct mro_blocks b;
    b.side = eighth > 1 ? (size_t)eighth : 1;
    b.ny = (ny + b.side - 1) / b.side;
    b.nx = (nx + b.side - 1) / b.side;
    return b;
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
/* Contrast of a pixel, 0 where it is unknown. `gain`: one over the local mean, or the scale. */
MRO_HD float mro_contrast(float counts, float local_mean, float gain)
{
    const float c = (counts - local_mean) * gain;
    return c == c ? c : 0.0f;
}

#endif

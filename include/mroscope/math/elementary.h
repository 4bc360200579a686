/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sines, logarithms and their like without branches and tables: loops over them vectorise, and every backend computes
 * the same polynomials. Angles are in turns (2 pi = 1), which reduces them without error. */
#ifndef MROSCOPE_MATH_ELEMENTARY_H
#define MROSCOPE_MATH_ELEMENTARY_H

#include <string.h>

#include "mroscope/math/hd.h"

/* sin(2 pi u) for |u| <= 1/4: an odd polynomial whose relative error is least (5e-9; rounding makes it 2e-7). */
MRO_HD float mro_sin_quarter(float u)
{
    const float v = u * u;
    return u *
           ((((39.71091842651367f * v - 76.57498931884766f) * v + 81.60223388671875f) * v - 41.341678619384766f) * v +
            6.2831854820251465f);
}

/* t less the nearest whole number, |t| < 2^50. */
MRO_HD double mro_turn_of(double t)
{
    return t - ((t + 6755399441055744.0) - 6755399441055744.0); /* 1.5 2^52: rounds to a whole number */
}

/* sin(2 pi r) and cos(2 pi r) for |r| <= 1/2; error below 3e-7. */
MRO_HD float mro_sin_turn(float r)
{
    const float rest = r < 0 ? -0.5f - r : 0.5f - r;
    return mro_sin_quarter(fabsf(r) > 0.25f ? rest : r);
}
MRO_HD float mro_cos_turn(float r) { return mro_sin_quarter(0.25f - fabsf(r)); }

/* ln x of a normal number x > 0: x = 2^k m, sqrt(1/2) <= m < sqrt(2), and ln m = 2 artanh((m - 1) / (m + 1)) by its
 * series. Error below 3e-7 of ln x. */
MRO_HD float mro_ln(float x)
{
    int32_t bits, k;
    float m;
    memcpy(&bits, &x, sizeof bits);
    k = (bits - 0x3f3504f3) >> 23; /* the bits of sqrt(1/2) */
    bits -= (int32_t)((uint32_t)k << 23);
    memcpy(&m, &bits, sizeof m);
    const float s = (m - 1) / (m + 1), v = s * s;
    const float series = 2 + v * (0.6666666667f + v * (0.4f + v * (0.2857142857f + v * 0.2222222222f)));
    return (float)k * 0.6931471806f + s * series;
}

/* exp(x) for -80 <= x <= 80: 2^k by its bits, times the series of the rest. Relative error below 3e-7 + 6e-8 |x|. */
MRO_HD float mro_exp(float x)
{
    const float whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* 1.5 2^23: rounds to a whole number */
    const float r =
        x - whole * 0.693359375f + whole * 2.12194440e-4f; /* ln 2 in two parts: the first product is exact */
    const float series =
        1 + r * (1 + r * (0.5f + r * (0.1666666667f + r * (0.0416666667f + r * (0.0083333333f + r * 0.0013888889f)))));
    const int32_t bits = (int32_t)((uint32_t)((int32_t)whole + 127) << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

/* exp(-x) I0(x) of the modified Bessel function, x >= 0; relative error below 1e-6. Source: Abramowitz and Stegun,
 * 9.8.1 and 9.8.2. */
MRO_HD float mro_bessel_i0_scaled(float x)
{
    const float small = x < 3.75f ? x : 3.75f, large = x < 3.75f ? 3.75f : x;
    const float v = small / 3.75f * (small / 3.75f), u = 3.75f / large;
    float near = 0.0360768f + v * 0.0045813f, far = -0.01647633f + u * 0.00392377f;
    near = 1 + v * (3.5156229f + v * (3.0899424f + v * (1.2067492f + v * (0.2659732f + v * near))));
    far = 0.02635537f + u * far;
    far = 0.00916281f + u * (-0.02057706f + u * far);
    far = 0.39894228f + u * (0.01328592f + u * (0.00225319f + u * (-0.00157565f + u * far)));
    return x < 3.75f ? near * mro_exp(-small) : far / sqrtf(large);
}

/* 1 / x for 1e-37 < x < 1e37, relative error below 1.2e-7. Where products and sums come in one, it takes less than half
 * the time of a division in wide vectors: a guess by the bits, to within an eighth, and twice a step that raises its
 * error to the third power. */
MRO_HD float mro_reciprocal(float x)
{
#ifdef FP_FAST_FMAF
    int32_t bits;
    float r;
    memcpy(&bits, &x, sizeof bits);
    bits = 0x7ef311c7 - bits;
    memcpy(&r, &bits, sizeof r);
    for (int i = 0; i < 2; i++) {
        const float error = 1 - x * r;
        r += r * (error + error * error);
    }
    return r;
#else
    return 1 / x;
#endif
}

/* cos(2 pi t), ln x, exp x and erf x in double precision; errors below 1e-15. */
MRO_HD double mro_cos_turns64(double t)
{
    const double x = 2 * MRO_PI * (0.25 - fabs(mro_turn_of(t))), v = x * x; /* the sine's series, |x| <= pi / 2 */
    double series = 1.0 / 51090942171709440000.0;
    series = -1.0 / 121645100408832000.0 + v * series;
    series = 1.0 / 355687428096000.0 + v * series;
    series = -1.0 / 1307674368000.0 + v * series;
    series = 1.0 / 6227020800.0 + v * series;
    series = -1.0 / 39916800.0 + v * series;
    series = 1.0 / 362880.0 + v * series;
    series = -1.0 / 5040.0 + v * series;
    series = 1.0 / 120.0 + v * series;
    series = -1.0 / 6.0 + v * series;
    return x * (1 + v * series);
}
MRO_HD double mro_ln64(double x)
{
    const uint64_t bias = (uint64_t)1024 << 52; /* keeps the exponent positive: shifts and sums vectorise everywhere */
    uint64_t bits, k;
    double m, whole;
    memcpy(&bits, &x, sizeof bits);
    k = (bits - 0x3fe6a09e667f3bcd + bias) >> 52; /* the bits of sqrt(1/2) */
    bits = bits + bias - (k << 52);
    memcpy(&m, &bits, sizeof m);
    k |= 0x4330000000000000; /* 2^52 + k */
    memcpy(&whole, &k, sizeof whole);
    whole -= 4503599627370496.0 + 1024;
    const double s = (m - 1) / (m + 1), v = s * s;
    double series = 2.0 / 23;
    series = 2.0 / 21 + v * series;
    series = 2.0 / 19 + v * series;
    series = 2.0 / 17 + v * series;
    series = 2.0 / 15 + v * series;
    series = 2.0 / 13 + v * series;
    series = 2.0 / 11 + v * series;
    series = 2.0 / 9 + v * series;
    series = 2.0 / 7 + v * series;
    series = 2.0 / 5 + v * series;
    series = 2.0 / 3 + v * series;
    series = 2.0 + v * series;
    return whole * 0.69314718055994530942 + s * series;
}

/* Angle of (x, y) in radians, -pi to pi as atan2 has it; 0 at the origin. Error below 1e-15. The arctangent of a ratio
 * of no more than 1, after a turn by pi / 4 where it is over tan(pi / 8): Cephes' quotient of polynomials. */
MRO_HD double mro_atan2_64(double y, double x)
{
    const double ay = fabs(y), ax = fabs(x), low = ay < ax ? ay : ax, high = ay < ax ? ax : ay;
    const int far = low > 0.41421356237309504880 * high;
    const double over = far ? low - high : low, under = far ? low + high : high;
    const double r = over / (under > 0 ? under : 1), v = r * r;
    double p = -8.750608600031904122785e-1, q = 2.485846490142306297962e1 + v;
    p = -1.615753718733365076637e1 + v * p;
    p = -7.500855792314704667340e1 + v * p;
    p = -1.228866684490136173410e2 + v * p;
    p = -6.485021904942025371773e1 + v * p;
    q = 1.650270098316988542046e2 + v * q;
    q = 4.328810604912902668951e2 + v * q;
    q = 4.853903996359136964868e2 + v * q;
    q = 1.945506571482613964425e2 + v * q;
    const double turned = r + r * v * p / q, within = far ? turned + 0.25 * MRO_PI : turned;
    const double upper = ay > ax ? 0.5 * MRO_PI - within : within, angle = x < 0 ? MRO_PI - upper : upper;
    return y < 0 ? -angle : angle;
}

/* For -700 <= x <= 700; the error is relative. */
MRO_HD double mro_exp64(double x)
{
    const double sum = x * 1.4426950408889634074 + 6755399441055744.0, whole = sum - 6755399441055744.0;
    const double r = x - whole * 0.69314718036912381649 - whole * 1.9082149292705877000e-10; /* ln 2 in two parts */
    uint64_t bits;
    double power, series = 1.0 / 6227020800.0;
    series = 1.0 / 479001600.0 + r * series;
    series = 1.0 / 39916800.0 + r * series;
    series = 1.0 / 3628800.0 + r * series;
    series = 1.0 / 362880.0 + r * series;
    series = 1.0 / 40320.0 + r * series;
    series = 1.0 / 5040.0 + r * series;
    series = 1.0 / 720.0 + r * series;
    series = 1.0 / 120.0 + r * series;
    series = 1.0 / 24.0 + r * series;
    series = 1.0 / 6.0 + r * series;
    series = 0.5 + r * series;
    series = 1 + r * (1 + r * series);
    memcpy(&bits, &sum, sizeof bits); /* ends in the whole number */
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

/* 1 - t exp(-x^2) P(2 t - 1), t = 2 / (2 + |x|), for x >= 0: P interpolates the rest at the zeros of Chebyshev's
 * polynomial of degree 25. */
MRO_HD double mro_erf64(double x)
{
    const double z = fabs(x), t = 2 / (2 + z), u = 2 * t - 1, square = z * z;
    double p = -2.4533297281907216e-09;
    p = 6.8476221825551206e-09 + u * p;
    p = 9.618938888698185e-09 + u * p;
    p = -5.280353313680591e-08 + u * p;
    p = 2.8262623020993594e-08 + u * p;
    p = 1.5285337373405384e-07 + u * p;
    p = -3.1515380873859596e-07 + u * p;
    p = 1.1571255712320186e-08 + u * p;
    p = 1.020491039685131e-06 + u * p;
    p = -1.8316513421313582e-06 + u * p;
    p = -5.715931168141551e-07 + u * p;
    p = 8.065269673335229e-06 + u * p;
    p = -1.0845408814716467e-05 + u * p;
    p = -1.707599624840257e-05 + u * p;
    p = 7.223482821798521e-05 + u * p;
    p = -1.7185397536403893e-05 + u * p;
    p = -0.00033153668401345894 + u * p;
    p = 0.00041864799053373866 + u * p;
    p = 0.0015453060247496413 + u * p;
    p = -0.003239592530989065 + u * p;
    p = -0.01075533094458423 + u * p;
    p = 0.01822111575334538 + u * p;
    p = 0.13973604627802583 + u * p;
    p = 0.3435803422069062 + u * p;
    p = 0.5107913526210115 + u * p;
    const double e = 1 - t * mro_exp64(square < 700 ? -square : -700) * p;
    return x < 0 ? -e : e;
}

#endif

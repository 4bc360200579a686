/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The diameter of a crystal from the region that shows its fringes. */
#include <math.h>

#include "mroscope/math/elementary.h"
#include "ops/crystal/crystal_internal.h"

#define LEAST_LEVEL 0.3 /* of the middle: below half of any plateau */

enum { LANES = 16, RINGS = 3 * LANES, STEPS = 80 }; /* sums in lanes are the same whatever the vectors */

/* Amplitude at r of a profile of radius 1, a disc or a sphere's chord, smoothed by a Gaussian of s: the integral over
 * the rings of the profile, each of which reaches r by a Bessel function. */
static double smoothed_profile(bool sphere, double s, double r)
{
    const double lo = fmax(0, r - 5 * s), hi = fmin(1, r + 5 * s), step = (hi - lo) / RINGS;
    if (lo >= hi) return 0;
    const float from = (float)lo, pitch = (float)step, at = (float)r, inverse = (float)(1 / s);
    float sum[LANES] = { 0 };
    for (int k = 0; k < RINGS; k += LANES)
#pragma omp simd
        for (int i = 0; i < LANES; i++) {
            const float p = from + pitch * ((float)(k + i) + 0.5f), t = (at - p) * inverse;
            const float a = sphere ? sqrtf(1 - p * p) : 1;
            sum[i] += a * p * mro_exp(-0.5f * t * t) * mro_bessel_i0_scaled(at * p * inverse * inverse);
        }
    double all = 0;
    for (int i = 0; i < LANES; i++) all += (double)sum[i];
    return all * step / (s * s);
}

/* A profile in steps of dr, as far as it is of interest. */
struct profile {
    double dr, at[STEPS + 1];
    int n; /* the last of them */
};

static struct profile profile_of(bool sphere, double s)
{
    struct profile p = { .dr = (1 + 3 * s) / STEPS, .at = { smoothed_profile(sphere, s, 0) } };
    while (p.n < STEPS && p.at[p.n] > LEAST_LEVEL * p.at[0]) {
        p.n++;
        p.at[p.n] = smoothed_profile(sphere, s, p.n * p.dr);
    }
    return p;
}

/* Radius at which a profile falls below a level, from the middle. */
static double radius_at(const struct profile *p, double level)
{
    int k = 0;
    while (k < p->n && p->at[k + 1] > level) k++;
    if (k == p->n) return p->n * p->dr;
    return p->dr * (k + fmax(0, fmin(1, (p->at[k] - level) / (p->at[k] - p->at[k + 1]))));
}

static double amplitude_at(const struct profile *p, double radius)
{
    const double at = radius / p->dr;
    const int k = (int)at;
    return p->at[k] + (at - k) * (p->at[k + 1] - p->at[k]);
}

/* What is measured of a region, on such a profile: where it falls to half the plateau, and which share of that area is
 * over 0.8 of it. The plateau is the median of |v| where that is over 0.75 of its 90 % quantile, as in plateau_of. */
static void measure_profile(bool sphere, double s, double *half, double *share)
{
    const struct profile p = profile_of(sphere, s);
    const double q90 = amplitude_at(&p, radius_at(&p, 0.45 * p.at[0]) * sqrt(0.1));
    const double plateau = amplitude_at(&p, radius_at(&p, 0.75 * q90) / sqrt(2));
    *half = radius_at(&p, 0.5 * plateau);
    const double high = radius_at(&p, 0.8 * plateau);
    *share = high * high / (*half * *half);
}

double mro_crystal_diameter(double area_nm2, double share, double width, double clear,
                            const struct crystal_doubt *doubt, double *flat)
{
    const double seen = sqrt(area_nm2 / MRO_PI);
    double radius[2], expected[2];
    for (int k = 0; k < 2; k++) {
        radius[k] = seen;
        for (int i = 0; i < 4; i++) { /* half / R is near 1 and changes slowly with R */
            double half;
            measure_profile(k, width / radius[k], &half, &expected[k]);
            radius[k] = fmax(0.4 * seen, fmin(2 * seen, seen / half));
        }
    }
    /* Of small crystals the width of the mask is most of what is seen of the shape. Noise takes a part of a flat top
     * below 0.8. */
    const double apart = expected[0] - expected[1], lost = 0.5 * erfc(0.2 * clear);
    const double noise = doubt->noise / clear;
    const double sure = apart * apart / (apart * apart + doubt->variance + noise * noise);
    const double seen_as = fmax(0, fmin(1, (expected[0] + doubt->excess - share / (1 - lost)) / apart));
    const double round = doubt->foil ? seen_as * (2 - seen_as) : seen_as;
    const double least = round * sure, t = least + doubt->sphere * (1 - sure);
    *flat = 2 * ((1 - least) * radius[0] + least * radius[1]);
    return 2 * ((1 - t) * radius[0] + t * radius[1]);
}

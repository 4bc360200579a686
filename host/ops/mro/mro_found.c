/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the powers of a patch of fringes, matched by spheres of several sizes, say of its size and its signal-to-noise
 * ratio. */
#include <math.h>

#include "ops/mro/mro_internal.h"

#define MAXIMUM_BIAS 4.0 /* mean of power - snr after the climb, from planted spheres */
/* A patch is larger than the largest sphere that is matched to it where the next smaller one has less power than that
 * by a factor and a difference. Of patches clearer than LARGEST_SNR the gain hides sizes, but speckle does less. */
#define BEYOND_RATIO 0.85
#define BEYOND_CLEAR 0.79 /* the factor in clear ones */
#define BEYOND_POWER 3.0
#define LARGEST_SNR 60.0
#define LARGEST_LOG 0.2 /* of ln d, that patches which match that sphere best are beyond it, at most, */
#define LARGEST_SD 0.25 /* and its standard deviation, unless they are larger still */

/* The ratio of a patch of this power, noise and gain taken out. */
static double snr_of(double power)
{
    const double over = fmax(power - MAXIMUM_BIAS, 1);
    return over / fmax(1 - over / MRO_GAIN_SNR, 0.25);
}

void mro_found_shape(const struct mro_order_plan *p, struct mro_found *f)
{
    /* Posterior mode over ln d: power, less the cost of more tries at larger sizes, less that of position and wave
     * vector, which a stronger patch fixes more tightly (Laplace): 2 ln power. */
    const int last = MRO_PATCH_SIZES - 1;
    double u[MRO_PATCH_SIZES], x[MRO_PATCH_SIZES];
    int k = 0;
    for (int i = 0; i < MRO_PATCH_SIZES; i++) {
        x[i] = log(p->search.diameter_nm[i]);
        u[i] = f->power[i] - p->size_cost[i] - 2 * log(fmax(f->power[i], 1.5));
        if (u[i] > u[k]) k = i;
    }
    f->log_d = x[k];
    f->log_d_sd = 0.5;
    f->top_power = f->power[k];
    f->snr = snr_of(f->top_power);
    const bool clear = f->snr >= LARGEST_SNR;
    f->beyond = k == last && f->power[k - 1] < (clear ? BEYOND_CLEAR : BEYOND_RATIO) * f->power[k] &&
                f->power[k] - f->power[k - 1] > BEYOND_POWER;
    const bool largest = f->beyond || (k == last && !clear);
    if (k > 0 && (k < last || largest)) {
        /* Parabola through the three points around the mode, or through the last three: there it tells less. */
        const int j = k < last ? k : k - 1;
        const double a = x[j - 1] - x[j], b = x[j + 1] - x[j], fa = u[j - 1] - u[j], fb = u[j + 1] - u[j];
        double curvature = 2 * (fa / a - fb / b) / (a - b);
        const double slope = fa / a - 0.5 * curvature * a;
        if (largest) curvature = fmin(curvature, -1 / (LARGEST_SD * LARGEST_SD));
        if (curvature < 0) {
            const double shift = fmin(fmax(-slope / curvature, a), largest ? b + LARGEST_LOG : b);
            f->log_d = x[j] + shift;
            f->log_d_sd = largest && !f->beyond ? LARGEST_SD : fmin(0.5, 1 / sqrt(-curvature));
            if (k < last) {
                const double pa = f->power[k - 1] - f->power[k], pb = f->power[k + 1] - f->power[k];
                const double pc = 2 * (pa / a - pb / b) / (a - b), ps = pa / a - 0.5 * pc * a;
                f->top_power = f->power[k] + ps * shift + 0.5 * pc * shift * shift;
            }
        }
    }
    /* The curvature misses other modes of weak patches: their scatter, from planted spheres, is the floor. */
    f->log_d_sd = fmax(f->log_d_sd, fmax(4.2 / f->top_power, 0.7 / sqrt(f->top_power)));
    f->snr = snr_of(f->top_power);
}

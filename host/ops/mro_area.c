/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From patches to an area: sizes, contrast of the foil, detection power, union of discs. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/mro_internal.h"

#define CONTRAST_PRIOR 1.6    /* nm^-4: a sphere in 5 nm of Fe-metalloid glass, pi rho / (8 S1 t) */
#define CONTRAST_PRIOR_SD 0.5 /* of its logarithm: foils from 3 to 14 nm */
#define CONTRAST_SCATTER 0.55 /* of one patch: tilt within the Bragg condition, shape error */
#define STRONG_POWER 15.0     /* patches that tell the contrast */
#define GAIN_SNR 150.0        /* a patch raises its own local mean square: power = snr / (1 + snr / GAIN_SNR) */
#define MAXIMUM_BIAS 3.0      /* mean of power - snr: 1 of noise and 2 of four freedoms of the climb */
#define LEAST_POWER 0.5       /* weights are cut where fewer than half are found: they would be mostly noise */
#define SHAPE_SD 0.06         /* floor of the two size estimates, of ln d */
#define AREA_STEP_NM 0.05

void mro_found_shape(const struct mro_order_plan *p, struct mro_found *f)
{
    /* Posterior mode over ln d: power, less the cost of more tries at larger sizes, less that of position and wave
     * vector, which a stronger patch fixes more tightly (Laplace): 2 ln power. */
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
    if (k > 0 && k < MRO_PATCH_SIZES - 1) {
        /* Parabola through the three points around the mode. */
        const double a = x[k - 1] - x[k], b = x[k + 1] - x[k], fa = u[k - 1] - u[k], fb = u[k + 1] - u[k];
        const double curvature = 2 * (fa / a - fb / b) / (a - b), slope = fa / a - 0.5 * curvature * a;
        if (curvature < 0) {
            const double shift = fmin(fmax(-slope / curvature, a), b);
            f->log_d = x[k] + shift;
            f->log_d_sd = fmin(0.5, 1 / sqrt(-curvature));
            const double pa = f->power[k - 1] - f->power[k], pb = f->power[k + 1] - f->power[k];
            const double pc = 2 * (pa / a - pb / b) / (a - b), ps = pa / a - 0.5 * pc * a;
            f->top_power = f->power[k] + ps * shift + 0.5 * pc * shift * shift;
        }
    }
    const double over = fmax(f->top_power - MAXIMUM_BIAS, 1);
    f->snr = over / fmax(1 - over / GAIN_SNR, 0.25);
}

/* c of snr = c D^4: one number for a foil, since the signal of a sphere grows as D^4 and the speckle with thickness.
 * Robust mean of the logarithm over strong patches, with a weak prior. */
static void foil_contrast(const struct mro_found_list *l, struct mro_area *a)
{
    const double prior = log(CONTRAST_PRIOR), wp = 1 / (CONTRAST_PRIOR_SD * CONTRAST_PRIOR_SD);
    double mu = prior, weight = wp;
    for (int round = 0; round < 20; round++) {
        double s = wp * prior, w = wp;
        for (size_t i = 0; i < l->n; i++) {
            const struct mro_found *f = l->v + i;
            if (f->top_power <= STRONG_POWER) continue;
            const double v = fmin(fmax(log(f->snr) - 4 * f->log_d, log(0.2)), log(8));
            const double sd = 4 * fmin(f->log_d_sd, 0.3);
            double wi = 1 / (CONTRAST_SCATTER * CONTRAST_SCATTER + sd * sd);
            wi /= fmax(1, fabs(v - mu) * sqrt(wi)); /* Huber */
            s += wi * v;
            w += wi;
        }
        mu = s / w;
        weight = w;
    }
    a->contrast = exp(mu);
    a->contrast_log_sd = 1 / sqrt(weight);
}

/* Apparent diameters: shape and power combined, drawn toward their common distribution. */
static void sizes(const struct mro_found_list *l, double contrast, double *d)
{
    double mean = 0, var = 0, noise = 0;
    double *v = d; /* ln d first */
    for (size_t i = 0; i < l->n; i++) {
        const struct mro_found *f = l->v + i;
        const double v1 = fmax(f->log_d_sd, 0.04) * fmax(f->log_d_sd, 0.04) + SHAPE_SD * SHAPE_SD;
        const double v2 = SHAPE_SD * SHAPE_SD + 0.125 / f->snr;
        v[i] = (f->log_d / v1 + 0.25 * log(f->snr / contrast) / v2) / (1 / v1 + 1 / v2);
        mean += v[i];
        noise += 1 / (1 / v1 + 1 / v2);
    }
    const double n = (double)l->n;
    mean /= n;
    noise /= n;
    for (size_t i = 0; i < l->n; i++) var += (v[i] - mean) * (v[i] - mean) / n;
    const double spread = l->n > 3 ? fmax(var - noise, 0.12 * 0.12) : 0.04;
    if (l->n < 3) mean = log(1.9);
    for (size_t i = 0; i < l->n; i++) {
        const struct mro_found *f = l->v + i;
        const double v1 = fmax(f->log_d_sd, 0.04) * fmax(f->log_d_sd, 0.04) + SHAPE_SD * SHAPE_SD;
        const double w = 1 / v1 + 1 / (SHAPE_SD * SHAPE_SD + 0.125 / f->snr);
        v[i] = exp((v[i] * w + mean / spread) / (w + 1 / spread));
    }
}

double mro_detection_power(const struct mro_order_plan *p, double d, double contrast)
{
    const double apparent = d + MRO_INTERFACE_NM, snr = contrast * pow(apparent, 4);
    const double seen = snr / (1 + snr / GAIN_SNR);
    return gsl_cdf_ugaussian_P((sqrt(seen) - p->power_curve[0]) / p->power_curve[1]);
}

/* Union of discs inside the region, and every disc's own part of it, on a fine raster. */
static enum mro_code disc_areas(const struct mro_found_list *l, const double *diameter, const double region[4],
                                double *own, double *both, struct mro_error *e)
{
    const size_t nx = (size_t)((region[2] - region[0]) / AREA_STEP_NM),
                 ny = (size_t)((region[3] - region[1]) / AREA_STEP_NM);
    const double cell = AREA_STEP_NM * AREA_STEP_NM;
    unsigned char *hit = calloc(nx * ny + 1, 1);
    if (hit == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    size_t covered = 0;
    for (size_t i = 0; i < l->n; i++) {
        const double r = 0.5 * diameter[i], cy = (l->v[i].y_nm - region[1]) / AREA_STEP_NM - 0.5;
        const double cx = (l->v[i].x_nm - region[0]) / AREA_STEP_NM - 0.5, rr = r / AREA_STEP_NM;
        size_t mine = 0;
        for (double y = ceil(fmax(0, cy - rr)); y <= fmin((double)ny - 1, cy + rr); y++) {
            const double w = sqrt(fmax(0, rr * rr - (y - cy) * (y - cy)));
            for (double x = ceil(fmax(0, cx - w)); x <= fmin((double)nx - 1, cx + w); x++) {
                unsigned char *h = hit + (size_t)y * nx + (size_t)x;
                mine++;
                covered += !*h;
                *h = 1;
            }
        }
        own[i] = (double)mine * cell;
    }
    *both = (double)covered * cell;
    free(hit);
    return MRO_OK;
}

static double weight_of(const struct mro_order_plan *p, double diameter, double contrast)
{
    return 1 / fmin(fmax(mro_detection_power(p, diameter, contrast), LEAST_POWER), 1);
}

enum mro_code mro_area_of(const struct mro_order_plan *p, const struct mro_found_list *found, const double region[4],
                          double usable_nm2, struct mro_area *a, struct mro_error *e)
{
    memset(a, 0, sizeof *a);
    const size_t n = found->n, false_n = p->null.found.n;
    foil_contrast(found, a);
    a->diameter_nm = calloc(n + 1, sizeof *a->diameter_nm);
    a->weight = calloc(n + 1, sizeof *a->weight);
    a->area_nm2 = calloc(n + 1, sizeof *a->area_nm2);
    double *null_d = calloc(false_n + 1, sizeof *null_d);
    enum mro_code rc = MRO_OK;
    if (!a->diameter_nm || !a->weight || !a->area_nm2 || !null_d) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    double covered = 0, sum = 0, weighted = 0;
    if (n) {
        sizes(found, a->contrast, a->diameter_nm);
        for (size_t i = 0; i < n; i++) {
            a->diameter_nm[i] = fmax(a->diameter_nm[i] - MRO_INTERFACE_NM, 0.3);
            a->weight[i] = weight_of(p, a->diameter_nm[i], a->contrast);
        }
        rc = disc_areas(found, a->diameter_nm, region, a->area_nm2, &covered, e);
        if (rc) goto done;
        for (size_t i = 0; i < n; i++) {
            sum += a->area_nm2[i];
            weighted += a->area_nm2[i] * a->weight[i];
        }
    }
    if (false_n) {
        sizes(&p->null.found, a->contrast, null_d);
        for (size_t i = 0; i < false_n; i++) {
            const double d = fmax(null_d[i] - MRO_INTERFACE_NM, 0.3);
            a->null_area += MRO_PI / 4 * d * d * weight_of(p, d, a->contrast) / p->null.area_nm2;
        }
    }
    a->raw = usable_nm2 > 0 ? covered / usable_nm2 : NAN;
    const double all = sum > 0 ? a->raw * weighted / sum : 0;
    a->fraction = usable_nm2 > 0 ? all - a->null_area * (1 - all) : NAN;
done:
    free(null_d);
    if (rc) mro_area_release(a);
    return rc;
}

void mro_area_release(struct mro_area *a)
{
    free(a->diameter_nm);
    free(a->weight);
    free(a->area_nm2);
    memset(a, 0, sizeof *a);
}

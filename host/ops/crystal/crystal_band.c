/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Crystals inside and outside a band, and against the distance from its middle. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/crystal/crystal_internal.h"

/* Distance of a point from the segment; at its ends the distance goes around them. */
static double distance(const double line[4], double x, double y)
{
    const double ux = line[2] - line[0], uy = line[3] - line[1], l2 = ux * ux + uy * uy;
    const double t = fmax(0, fmin(1, ((x - line[0]) * ux + (y - line[1]) * uy) / l2));
    return hypot(x - line[0] - t * ux, y - line[1] - t * uy);
}

/* Exact limits of a Poisson mean from a count (Garwood). */
static void poisson_ci(size_t count, double ci[2])
{
    ci[0] = count ? 0.5 * gsl_cdf_chisq_Pinv(0.025, 2.0 * (double)count) : 0;
    ci[1] = 0.5 * gsl_cdf_chisq_Pinv(0.975, 2.0 * (double)count + 2);
}

static void mean_of(const double *v, size_t n, double *mean, double *se)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    *mean = n ? sum / (double)n : NAN;
    for (size_t i = 0; i < n; i++) square += (v[i] - *mean) * (v[i] - *mean);
    *se = n > 1 ? sqrt(square / (double)(n - 1) / (double)n) : NAN;
}

/* Straight line with its slope's standard error and p from Student's t; NaN below three points. */
static void line_fit(const double *x, const double *y, size_t n, double *slope, double *se, double *p)
{
    *slope = *se = *p = NAN;
    if (n < 3) return;
    double mx = 0, my = 0, xx = 0, xy = 0, rest = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        xy += (x[i] - mx) * (y[i] - my);
    }
    if (!(xx > 0)) return;
    *slope = xy / xx;
    for (size_t i = 0; i < n; i++) {
        const double d = y[i] - my - *slope * (x[i] - mx);
        rest += d * d;
    }
    *se = sqrt(rest / (double)(n - 2) / xx);
    *p = *se > 0 ? 2 * gsl_cdf_tdist_Q(fabs(*slope) / *se, (double)(n - 2)) : NAN;
}

/* ln density = a + b distance, for points in a plane: maximum of sum(a + b u_i) - integral of exp(a + b u). `area`
 * holds the area at each of `bins` distances (i + 0.5) * width. With a = ln(n / integral) only b is left, one Newton
 * line. */
static void poisson_regression(const double *u, size_t n, const double *area, size_t bins, double width, double *slope,
                               double *se, double *p)
{
    *slope = *se = *p = NAN;
    if (n < 3) return;
    double mean = 0, b = 0, variance = 0;
    for (size_t i = 0; i < n; i++) mean += u[i] / (double)n;
    for (int round = 0; round < 100; round++) {
        double s0 = 0, s1 = 0, s2 = 0;
        for (size_t i = 0; i < bins; i++) {
            const double at = ((double)i + 0.5) * width - mean, w = area[i] * exp(fmax(-300, fmin(300, b * at)));
            s0 += w;
            s1 += w * at;
            s2 += w * at * at;
        }
        if (!(s0 > 0)) return;
        const double expected = s1 / s0;
        variance = s2 / s0 - expected * expected;
        if (!(variance > 0)) return;
        const double change = -expected / variance, most = 2 / sqrt(variance);
        b += fmax(-most, fmin(most, change));
        if (fabs(change) < 1e-10 * (1 + fabs(b))) break;
    }
    *slope = b;
    *se = 1 / sqrt((double)n * variance);
    /* Likelihood ratio against one density everywhere: better than the slope over its error where crystals are few. */
    double s0 = 0, total = 0;
    for (size_t i = 0; i < bins; i++) {
        s0 += area[i] * exp(b * (((double)i + 0.5) * width - mean));
        total += area[i];
    }
    *p = gsl_cdf_chisq_Q(fmax(0, 2 * (double)n * log(total / s0)), 1);
}

static void group_of(const struct mro_crystal_result *r, double half, bool inside, double reference_d, double *d,
                     double *size, struct mro_crystal_group *g)
{
    size_t n = 0;
    g->count = 0;
    for (size_t i = 0; i < r->n_crystals; i++) {
        const struct mro_crystal *c = &r->crystals[i];
        if ((c->band_distance_nm <= half) != inside) continue;
        size[g->count++] = c->diameter_nm;
        /* Spacings of other planes would only blur the mean. */
        if (fabs(c->fringes[0].d_nm / reference_d - 1) < 0.06) d[n++] = c->fringes[0].d_nm;
    }
    mean_of(d, n, &g->d_nm, &g->d_se_nm);
    mean_of(size, g->count, &g->diameter_nm, &g->diameter_se_nm);
    g->density_per_nm2 = g->area_nm2 > 0 ? (double)g->count / g->area_nm2 : NAN;
    poisson_ci(g->count, g->density_ci95);
    for (int k = 0; k < 2; k++) g->density_ci95[k] = g->area_nm2 > 0 ? g->density_ci95[k] / g->area_nm2 : NAN;
}

static double binomial_tail(size_t k, size_t n, double p, bool upper)
{
    if (upper) return k == 0 ? 1 : gsl_cdf_binomial_Q((unsigned)(k - 1), p, (unsigned)n);
    return gsl_cdf_binomial_P((unsigned)k, p, (unsigned)n);
}

void mro_crystal_band_measure(const struct mro_crystal_options *o, const unsigned char *usable,
                              const struct mro_grid *map, const double pixel_nm[2], struct mro_crystal_result *r)
{
    struct mro_crystal_band *b = &r->band;
    const double *line = o->band_line_nm, half = 0.5 * o->band_width_nm;
    const size_t n = r->n_crystals;
    double reach = 0;
    const double sy = map->ly / (double)map->ny, sx = map->lx / (double)map->nx;
    for (int k = 0; k < 4; k++) reach = fmax(reach, distance(line, k % 2 ? map->lx : 0, k / 2 ? map->ly : 0));
    const size_t bins = 400;
    double *area = calloc(bins, sizeof *area), *work = malloc((4 * n + 1) * sizeof *work);
    if (area == NULL || work == NULL) {
        mro_warn(r, "out of memory: the band was not measured");
        free(area);
        free(work);
        return;
    }
    const double width = reach / (double)bins;
    double whole = 0, within = 0;
    for (size_t y = 0; y < map->ny; y++)
        for (size_t x = 0; x < map->nx; x++) {
            if (!usable[y * map->nx + x]) continue;
            const double u = distance(line, (double)x * sx + 0.5 * pixel_nm[1], (double)y * sy + 0.5 * pixel_nm[0]);
            const size_t at = (size_t)(u / width);
            area[at < bins ? at : bins - 1] += sy * sx;
            whole += sy * sx;
            if (u <= half) within += sy * sx;
        }
    double *u = work, *d = work + n, *size = work + 2 * n, *ud = work + 3 * n;
    double reference = n ? r->crystals[0].fringes[0].d_nm : NAN, most = 0;
    for (size_t i = 0; i < n; i++) {
        struct mro_crystal *c = &r->crystals[i];
        u[i] = c->band_distance_nm = distance(line, c->x_nm, c->y_nm);
        if (c->fringes[0].snr > most) {
            most = c->fringes[0].snr;
            reference = c->fringes[0].d_nm;
        }
    }
    if (isfinite(o->reference_d_nm)) reference = o->reference_d_nm;
    size_t nd = 0;
    for (size_t i = 0; i < n; i++) {
        size[i] = r->crystals[i].diameter_nm;
        if (fabs(r->crystals[i].fringes[0].d_nm / reference - 1) >= 0.06) continue;
        d[nd] = r->crystals[i].fringes[0].d_nm;
        ud[nd++] = u[i];
    }
    line_fit(u, size, n, &b->diameter_slope, &b->diameter_slope_se, &b->diameter_slope_p);
    line_fit(ud, d, nd, &b->d_slope, &b->d_slope_se, &b->d_slope_p);
    poisson_regression(u, n, area, bins, width, &b->density_slope, &b->density_slope_se, &b->density_slope_p);
    if (n < 3)
        mro_warn(r, "%zu crystal%s: three are needed for a trend with the distance from the band", n,
                 n == 1 ? "" : "s");
    b->rate_ratio = b->rate_p = b->rate_ratio_ci95[0] = b->rate_ratio_ci95[1] = NAN;
    if (isfinite(half)) {
        b->inside.area_nm2 = within;
        b->outside.area_nm2 = whole - within;
        if (!(within > 0)) mro_warn(r, "the band lies outside the image: no crystal can be inside of it");
        if (!(whole > within)) mro_warn(r, "the band covers the whole image: there is no outside to compare with");
        group_of(r, half, true, reference, d, size, &b->inside);
        group_of(r, half, false, reference, d, size, &b->outside);
        const double share = whole > 0 ? within / whole : 0;
        if (n > 0 && share > 0 && share < 1) {
            const size_t k = b->inside.count;
            const double up = binomial_tail(k, n, share, true), down = binomial_tail(k, n, share, false);
            b->rate_p = fmin(1, 2 * fmin(up, down));
            if (b->outside.count) b->rate_ratio = b->inside.density_per_nm2 / b->outside.density_per_nm2;
            /* Clopper and Pearson's limits of the share of crystals inside. */
            const double lo = k ? gsl_cdf_beta_Pinv(0.025, (double)k, (double)(n - k + 1)) : 0;
            const double hi = k < n ? gsl_cdf_beta_Pinv(0.975, (double)(k + 1), (double)(n - k)) : 1;
            b->rate_ratio_ci95[0] = lo / (1 - lo) * (1 - share) / share;
            b->rate_ratio_ci95[1] = hi < 1 ? hi / (1 - hi) * (1 - share) / share : NAN;
        }
    } else {
        const struct mro_crystal_group none = { 0, NAN, NAN, { NAN, NAN }, NAN, NAN, NAN, NAN };
        b->inside = b->outside = none;
    }
    b->measured = true;
    free(area);
    free(work);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How much of the scatter of a composition is not of the counts, or differs between repeats. */
#include <gsl/gsl_cdf.h>
#include <math.h>

#include "ops/eds/eds_internal.h"

static double q_of(const double *x, const double *v, size_t n, double tau2)
{
    double sw = 0, sx = 0, q = 0;
    for (size_t i = 0; i < n; i++) {
        const double w = 1 / (v[i] + tau2);
        sw += w;
        sx += w * x[i];
    }
    const double mean = sx / sw;
    for (size_t i = 0; i < n; i++) q += (x[i] - mean) * (x[i] - mean) / (v[i] + tau2);
    return q;
}

/* Where q_of falls to `level`; 0 when it begins below. */
static double solve_q(const double *x, const double *v, size_t n, double level)
{
    double lo = 0, hi = 1e-6;
    if (q_of(x, v, n, 0) <= level) return 0;
    while (q_of(x, v, n, hi) > level && hi < 1e5) hi *= 2;
    for (int i = 0; i < 60; i++) {
        const double mid = (lo + hi) / 2;
        if (q_of(x, v, n, mid) > level)
            lo = mid;
        else
            hi = mid;
    }
    return (lo + hi) / 2;
}

/* Scatter that is small by luck must not make an interval that is narrower than the counts can support: upper ends are
 * at least those of a line without variation at this quantile of its scatter. */
#define LUCKY 0.16

/* GSL's inverses fail, and end the program, from some 10^4 degrees of freedom; here they are normal enough. */
#define MANY 2000
/* Below this a chi-squared says nothing, and GSL's inverse fails, too. */
#define LEAST_FREEDOM 0.5
/* Standard deviation of anything between 0 and 100 at.%, at most. */
#define WIDEST 50.0

/* Quantile of chi-squared: by Wilson and Hilferty's cube where there are many degrees of freedom. */
static double chisq_quantile(double p, double nu)
{
    const double c = 2 / (9 * nu);
    return nu > MANY ? nu * pow(1 - c + gsl_cdf_ugaussian_Pinv(p) * sqrt(c), 3) : gsl_cdf_chisq_Pinv(p, nu);
}

/* Half the logarithm of F is normal where there are many degrees of freedom (Fisher's z). */
static double f_quantile(double p, double f1, double f2)
{
    if (!(fmin(f1, f2) > MANY)) return gsl_cdf_fdist_Pinv(p, f1, f2);
    return exp(1 / f2 - 1 / f1 + 2 * gsl_cdf_ugaussian_Pinv(p) * sqrt(0.5 * (1 / f1 + 1 / f2)));
}

static double f_above(double F, double f1, double f2)
{
    if (!(fmin(f1, f2) > MANY)) return gsl_cdf_fdist_Q(F, f1, f2);
    return gsl_cdf_ugaussian_Q(0.5 * (log(F) - 1 / f2 + 1 / f1) / sqrt(0.5 * (1 / f1 + 1 / f2)));
}

void mro_eds_true_part(const double *x, const double *v, size_t n, double kurtosis, struct mro_eds_element *el)
{
    const double f = (double)(n - 1), q = q_of(x, v, n, 0);
    /* Q has mean f and variance 2 f + kurtosis: a scaled chi-squared with the same two. */
    const double nu = fmax(2 * f * f / (2 * f + kurtosis), LEAST_FREEDOM), scale = f / nu,
                 low = chisq_quantile(0.025, nu);
    double sw = 0, sw2 = 0;
    for (size_t i = 0; i < n; i++) {
        sw += 1 / v[i];
        sw2 += 1 / (v[i] * v[i]);
    }
    const double least = (double)n / sw * (chisq_quantile(LUCKY, nu) / low - 1);
    el->sd_true_at = sqrt(fmax(0, (q - f) / (sw - sw2 / sw)));
    el->p_heterogeneous = gsl_cdf_chisq_Q(q / scale, nu);
    el->sd_true_ci95[0] = sqrt(solve_q(x, v, n, scale * chisq_quantile(0.975, nu)));
    el->sd_true_ci95[1] = fmin(WIDEST, sqrt(fmax(least, solve_q(x, v, n, scale * low))));
}

enum mro_code mro_eds_true_part_of_repeats(double *x, size_t n, size_t repeats, const char *name,
                                           struct mro_eds_element *el, struct mro_error *e)
{
    const double f1 = (double)(n - 1), f2 = (double)(n - 1) * (double)(repeats - 1), k = (double)repeats;
    double grand[64], between = 0, within = 0, all = 0;
    for (size_t c = 0; c < repeats; c++) {
        grand[c] = 0;
        for (size_t i = 0; i < n; i++) grand[c] += x[c * n + i];
        grand[c] /= (double)n;
        all += grand[c] / k;
    }
    /* Each repeat about its own mean: drift of the whole line is no scatter along it. */
    for (size_t i = 0; i < n; i++) {
        double mean = 0;
        for (size_t c = 0; c < repeats; c++) mean += (x[c * n + i] - grand[c]) / k;
        for (size_t c = 0; c < repeats; c++) {
            const double d = x[c * n + i] - grand[c] - mean;
            within += d * d;
        }
        between += k * mean * mean;
        x[i] = mean + all;
    }
    if (!(within > 1e-9 * between))
        return MRO_FAIL(e, MRO_EDATA, "'%s' and its repeats are equal in %s: they are copies of one measurement", name,
                        el->symbol);
    const double ms1 = between / f1, ms2 = within / f2, F = ms1 / ms2;
    el->sd_counting_at = sqrt(ms2 / k); /* of the mean of the repeats, as sd_at is */
    el->sd_true_at = sqrt(fmax(0, (ms1 - ms2) / k));
    el->p_heterogeneous = f_above(F, f1, f2);
    for (int i = 0; i < 2; i++) {
        /* (noise + k true) / noise */
        const double most = i ? fmax(F, f_quantile(LUCKY, f1, f2)) : F;
        const double ratio = most / f_quantile(i ? 0.025 : 0.975, f1, f2);
        el->sd_true_ci95[i] = sqrt(fmax(0, ms2 * (ratio - 1) / k));
    }
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a metric follows beside the state: strain or another x, and covariates such as the thickness. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/compare/compare_internal.h"

#define INFLATION_MOST 10.0 /* variance of a ratio that a covariate may cost before it counts as not told apart */
#define ALIKE 0.05          /* difference of ln(covariate) between states that needs no words */
#define POWER_MOST 10.0     /* of a covariate: a ratio that needs a higher one is no effect of it */
#define ONSET_LEVELS 4      /* places that are needed to tell where a bend is */
#define STREAM_TREND 1000000

/* -- trend -------------------------------------------------------------------------------------- */

/* Straight line through (x, y) with weights; residual sum of squares, and variance of the slope but for the scatter. */
static void line_through(const double *x, const double *y, const double *weight, size_t n, double centre[2],
                         double *slope, double *rss, double *var)
{
    double s = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (size_t i = 0; i < n; i++) s += weight[i], sx += weight[i] * x[i], sy += weight[i] * y[i];
    for (size_t i = 0; i < n; i++) {
        sxx += weight[i] * square(x[i] - sx / s);
        sxy += weight[i] * (x[i] - sx / s) * (y[i] - sy / s);
    }
    centre[0] = sx / s;
    centre[1] = sy / s;
    *slope = sxy / sxx;
    *var = 1 / sxx;
    *rss = 0;
    for (size_t i = 0; i < n; i++) *rss += weight[i] * square(y[i] - sy / s - *slope * (x[i] - sx / s));
}

static void weigh(double *weight, const double *sigma, size_t n, double tau2)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        weight[i] = 1 / (square(sigma[i]) + tau2);
        largest = fmax(largest, weight[i]);
    }
    if (!(largest > 0) || isinf(largest))
        for (size_t i = 0; i < n; i++) weight[i] = 1;
}

static void fit_trend(struct mro_compare_work *w, double *x, double *y, double *sigma, double *weight, size_t n)
{
    struct mro_compare_trend *t = &w->r->trend;
    const double df = (double)n - 2 - (double)w->lost;
    double slope, rss, var, tau2 = 0, spread = 0;
    bool own = true;
    for (size_t i = 0; i < n; i++) own &= isfinite(sigma[i]) && sigma[i] > 0;
    for (size_t i = 0; i < n; i++) weight[i] = 1;
    line_through(x, y, weight, n, t->centre, &slope, &rss, &var);
    spread = rss / df;
    if (own) {
        /* The scatter beyond the images' own errors, such that the weighted residuals are as large as they should be.
         */
        double lo = 0, hi = 4 * spread + 1e-30;
        weigh(weight, sigma, n, 0);
        line_through(x, y, weight, n, t->centre, &slope, &rss, &var);
        if (rss > df) {
            for (int i = 0; i < 200; i++) {
                tau2 = (lo + hi) / 2;
                weigh(weight, sigma, n, tau2);
                line_through(x, y, weight, n, t->centre, &slope, &rss, &var);
                if (rss > df)
                    lo = tau2;
                else
                    hi = tau2;
            }
        }
        t->tau = sqrt(tau2);
    }
    t->slope = slope;
    if (!(df >= 1)) return;
    const double se = sqrt(rss / df * var), h = t975(df) * se;
    if (!(se > 1e-13 * fabs(slope))) return;
    t->slope_ci95[0] = slope - h;
    t->slope_ci95[1] = slope + h;
    double all = 0;
    for (size_t i = 0; i < n; i++) all += weight[i];
    for (int k = 0; k < 2; k++) t->centre_ci95[k] = t->centre[1] + (k ? 1 : -1) * t975(df) * sqrt(rss / df / all);
    t->p = t_two_sided(slope / se, df);
}

enum mro_code mro_compare_measure_trend(struct mro_compare_work *w, struct mro_error *e)
{
    struct mro_compare_trend *t = &w->r->trend;
    const size_t n = w->n_units;
    double *x = malloc((5 * n + 1) * sizeof *x);
    size_t *label = malloc((n + 1) * sizeof *label), k = 0, groups = 0;
    enum mro_code rc = MRO_OK;
    *t = (struct mro_compare_trend){ .x = { INFINITY, -INFINITY },
                                     .slope = NAN,
                                     .slope_ci95 = { NAN, NAN },
                                     .centre_ci95 = { NAN, NAN },
                                     .p = NAN,
                                     .tau = NAN,
                                     .j = NAN,
                                     .j_expected = NAN,
                                     .onset = { NAN, { NAN, NAN }, { NAN, NAN }, { NAN, NAN }, NAN, NAN },
                                     .logarithmic = true };
    t->jonckheere = (struct mro_permutation){ .p = NAN, .se = NAN, .smallest = NAN, .arrangements = NAN };
    if (x == NULL || label == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", w->d->n);
        goto done;
    }
    double *y = x + n, *sigma = y + n, *weight = sigma + n, *level = weight + n;
    bool positive = true;
    for (size_t i = 0; i < n; i++) {
        const struct mro_compare_unit *u = &w->unit[i];
        label[i] = MRO_COMPARE_NONE;
        if (!isfinite(u->x) || (w->o->in_trend && !w->o->in_trend[u->state])) continue;
        t->x[0] = fmin(t->x[0], u->x);
        t->x[1] = fmax(t->x[1], u->x);
        t->logarithmic &= u->y > 0 && !u->bound;
        label[i] = i;
        w->r->state[u->state].in_trend = true;
        size_t g = 0;
        while (g < groups && level[g] != u->x) g++;
        if (g == groups) level[groups++] = u->x;
        k++;
    }
    for (size_t i = 0; i < w->d->n; i++)
        if (label[w->unit_of[i]] != MRO_COMPARE_NONE) positive &= mro_compare_has_logarithm(w, i);
    t->n = k;
    if (k < 3 || groups < 2) {
        if (k > 0 && groups < 2 && w->d->n_states > 1)
            MRO_COMPARE_NOTE(w, "no trend: all states with a %s have the same one, %g", mro_compare_over(w), level[0]);
        t->n = 0;
        goto done;
    }
    k = 0;
    for (size_t i = 0; i < n; i++) {
        const struct mro_compare_unit *u = &w->unit[i];
        if (label[i] == MRO_COMPARE_NONE) continue;
        size_t rank = 0;
        for (size_t g = 0; g < groups; g++) rank += level[g] < u->x;
        label[i] = rank;
        x[k] = u->x;
        y[k] = t->logarithmic ? log(u->y) : u->y;
        sigma[k++] = t->logarithmic == w->r->logarithmic ? u->sigma : sqrt(u->v) / (t->logarithmic ? u->y : 1);
    }
    t->measured = true;
    fit_trend(w, x, y, sigma, weight, k);
    if (groups >= ONSET_LEVELS) {
        for (size_t i = 0; i < k; i++) sigma[i] = hypot(sigma[i], t->tau);
        rc = mro_onset_find(x, y, sigma, k, &t->onset, e);
        if (rc) goto done;
    }
    rc = mro_compare_arrange(w, label, groups, positive, e);
    if (rc) goto done;
    mro_jonckheere(&w->a, &t->j, &t->j_expected);
    rc = mro_permute(&w->a, mro_statistic_ordered, w->o, STREAM_TREND, &t->jonckheere, e);
    if (rc) goto done;
    for (size_t a = 0; a < w->r->n_states; a++)
        for (size_t b = 0; b < a; b++)
            if ((!w->o->in_trend || (w->o->in_trend[a] && w->o->in_trend[b])) && w->r->state[a].n && w->r->state[b].n &&
                w->r->state[a].x == w->r->state[b].x)
                MRO_COMPARE_NOTE(
                    w,
                    "%s and %s have the same %s, %g: the trend takes them as one. Name the states it is meant for with "
                    "`trend`, or leave the %s of the others empty",
                    w->d->state[b], w->d->state[a], mro_compare_over(w), w->r->state[a].x, mro_compare_over(w));
done:
    free(x);
    free(label);
    return rc;
}

/* -- covariates --------------------------------------------------------------------------------- */

enum mro_code mro_compare_measure_covariate(struct mro_compare_work *w, size_t c, struct mro_error *e)
{
    struct mro_compare_covariate *v = &w->r->covariate[c];
    const size_t K = w->r->n_states, reference = w->r->reference;
    const char *name = w->d->covariate[c];
    size_t known = 0, used = 0;
    double lo = INFINITY, hi = -INFINITY;
    v->slope = v->slope_ci95[0] = v->slope_ci95[1] = v->p = NAN;
    v->mean = calloc(K, sizeof *v->mean);
    v->ratio = calloc(K, sizeof *v->ratio);
    v->ratio_ci95 = calloc(K, sizeof *v->ratio_ci95);
    v->inflation = calloc(K, sizeof *v->inflation);
    double *sum = calloc(3 * K + 1, sizeof *sum), *y = sum ? sum + K : NULL, *n = sum ? y + K : NULL;
    if (!v->mean || !v->ratio || !v->ratio_ci95 || !v->inflation || !sum) {
        free(sum);
        return MRO_FAIL(e, MRO_EMEMORY, "%zu states do not fit in memory", K);
    }
    for (size_t k = 0; k < K; k++)
        v->mean[k] = v->ratio[k] = v->ratio_ci95[k][0] = v->ratio_ci95[k][1] = v->inflation[k] = NAN;
    for (size_t i = 0; i < w->n_units; i++) {
        const double x = w->unit[i].covariate[c];
        if (!isfinite(x)) continue;
        known++;
        lo = fmin(lo, x);
        hi = fmax(hi, x);
    }
    v->known = known == w->n_units;
    v->differs = known && hi - lo > 0.01;
    if (known && !v->known)
        MRO_COMPARE_NOTE(w, "%s is known for %zu of %zu %s only: ratios are not corrected for it", name, known,
                         w->n_units, w->r->by_specimen ? "specimens" : "images");
    for (size_t i = 0; i < w->n_units; i++) { /* values that have logarithms; states with others are left out */
        const struct mro_compare_unit *u = &w->unit[i];
        sum[u->state] += u->covariate[c];
        y[u->state] += u->bound ? NAN : log(u->y);
        n[u->state]++;
    }
    for (size_t k = 0; k < K; k++)
        if (n[k] > 0 && isfinite(sum[k])) v->mean[k] = exp(sum[k] / n[k]);
    if (!v->known || !v->differs) goto done;
    double sxx = 0, sxy = 0, syy = 0, states = 0;
    for (size_t k = 0; k < K; k++) states += n[k] > 0 && isfinite(y[k]);
    for (size_t i = 0; i < w->n_units; i++) {
        const struct mro_compare_unit *u = &w->unit[i];
        if (!isfinite(y[u->state])) continue;
        const double dx = u->covariate[c] - sum[u->state] / n[u->state], dy = log(u->y) - y[u->state] / n[u->state];
        sxx += dx * dx;
        sxy += dx * dy;
        syy += dy * dy;
        used++;
    }
    const double df = (double)used - states - 1 - (double)w->lost;
    const bool slope = sxx > 1e-20 * (1 + square(hi)) && df >= 1;
    const double variance = slope ? fmax(0, syy - sxy * sxy / sxx) / df : NAN;
    if (slope) {
        const double h = t975(df) * sqrt(variance / sxx);
        v->slope = sxy / sxx;
        v->slope_ci95[0] = v->slope - h;
        v->slope_ci95[1] = v->slope + h;
        v->p = h > 0 ? t_two_sided(v->slope / sqrt(variance / sxx), df) : NAN;
    }
    for (size_t k = 0; k < K; k++) {
        if (k == reference || n[k] == 0 || n[reference] == 0) continue;
        const double dx = sum[k] / n[k] - sum[reference] / n[reference], plain = 1 / n[k] + 1 / n[reference];
        v->inflation[k] = 1 + (slope ? dx * dx / sxx : dx == 0 ? 0 : INFINITY) / plain;
        const bool may_explain = !(fabs(y[k] / n[k] - y[reference] / n[reference]) > POWER_MOST * fabs(dx));
        if (!(v->inflation[k] <= INFLATION_MOST) && fabs(dx) > ALIKE && may_explain) {
            char why[200];
            snprintf(why, sizeof why,
                     "state and %s coincide (%s %.3g, %s %.3g); measure images of both that overlap in it", name,
                     w->d->state[reference], v->mean[reference], w->d->state[k], v->mean[k]);
            mro_compare_not_identifiable(&w->r->state[k], why);
            continue;
        }
        if (!slope || !isfinite(y[k]) || !isfinite(y[reference])) continue;
        const double d = y[k] / n[k] - y[reference] / n[reference] - v->slope * dx;
        const double h = t975(df) * sqrt(variance * plain * v->inflation[k]);
        v->ratio[k] = exp(d);
        v->ratio_ci95[k][0] = exp(d - h);
        v->ratio_ci95[k][1] = exp(d + h);
    }
done:
    free(sum);
    return MRO_OK;
}

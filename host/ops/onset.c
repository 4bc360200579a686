/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/onset.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/cholesky.h"
#include "core/gsl_errors.h"

#define RANK 1e-14 /* part of a pivot that rounding leaves of a matrix without full rank */
#define STEPS 400  /* places of the bend that are tried */

/* Weighted least squares of a + b x + c max(0, x - x0); slopes before and after (slope_se and level, its value at x0,
 * may be NULL). Returns the squared misfit, NaN when it cannot be solved. `bend` false: a straight line. */
static double two_lines(const double *x, const double *y, const double *w, size_t n, bool bend, double x0,
                        double slope[2], double slope_se[2], double *level)
{
    const size_t m = bend ? 3 : 2;
    double A[9] = { 0 }, b[3] = { 0 };
    for (size_t i = 0; i < n; i++) {
        const double row[3] = { 1, x[i], x[i] > x0 ? x[i] - x0 : 0 };
        for (size_t j = 0; j < m; j++) {
            for (size_t k = 0; k < m; k++) A[j * m + k] += w[i] * row[j] * row[k];
            b[j] += w[i] * row[j] * y[i];
        }
    }
    if (!mro_cholesky_factor(A, m, m, RANK)) return NAN;
    mro_cholesky_apply(A, m, m, b);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = y[i] - b[0] - b[1] * x[i] - (bend && x[i] > x0 ? b[2] * (x[i] - x0) : 0);
        sum += w[i] * d * d;
    }
    slope[0] = b[1];
    if (level) *level = b[0] + b[1] * x0;
    slope[1] = bend ? b[1] + b[2] : b[1];
    for (int side = 0; side < 2 && slope_se; side++) {
        double v[3] = { 0, 1, side && bend }, square = 0;
        const double want[3] = { 0, 1, side && bend };
        mro_cholesky_apply(A, m, m, v);
        for (size_t j = 0; j < m; j++) square += v[j] * want[j];
        slope_se[side] = sqrt(square);
    }
    return sum;
}

enum mro_code mro_onset_find(const double *x_in, const double *y_in, const double *se, size_t n_in, struct mro_onset *o,
                             struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    *o = (struct mro_onset){ NAN, { NAN, NAN }, { NAN, NAN }, { NAN, NAN }, NAN, NAN };
    double *x = malloc(3 * (n_in ? n_in : 1) * sizeof *x), *y = x ? x + n_in : NULL, *w = x ? y + n_in : NULL;
    if (x == NULL) return MRO_FAIL(e, MRO_EMEMORY, "a series of %zu points does not fit in memory", n_in);
    size_t n = 0;
    bool weighted = se != NULL;
    for (size_t i = 0; i < n_in && weighted; i++)
        if (isfinite(x_in[i]) && isfinite(y_in[i])) weighted = se[i] > 0;
    for (size_t i = 0; i < n_in; i++) {
        if (!isfinite(x_in[i]) || !isfinite(y_in[i])) continue;
        size_t k = n++;
        for (; k > 0 && x[k - 1] > x_in[i]; k--) {
            x[k] = x[k - 1];
            y[k] = y[k - 1];
            w[k] = w[k - 1];
        }
        x[k] = x_in[i];
        y[k] = y_in[i];
        w[k] = weighted ? 1 / (se[i] * se[i]) : 1;
    }
    if (n < 6 || !(x[n - 1] > x[0])) goto done;
    double slope[2], least = INFINITY;
    const double straight = two_lines(x, y, w, n, false, 0, slope, NULL, NULL);
    /* Each side keeps two points at least; a bend between the outermost ones fits anything. */
    const double lo = x[1], hi = x[n - 2];
    double at = NAN;
    for (size_t i = 0; i <= STEPS; i++) {
        const double x0 = lo + (hi - lo) * (double)i / STEPS, sum = two_lines(x, y, w, n, true, x0, slope, NULL, NULL);
        if (!(sum < least)) continue;
        least = sum;
        at = x0;
    }
    if (!isfinite(least) || !isfinite(straight)) goto done;
    /* Two more parameters than the line, one of them a place: the F test of both is a little strict, never lax by much
     * (Feder, Ann. Stat. 3 (1975) 49). Scatter beyond the errors widens the interval. */
    const double dof = (double)n - 4, variance = least / dof;
    o->p = variance > 0 ? gsl_cdf_fdist_Q((straight - least) / 2 / variance, 2, dof) : (straight > 0 ? 0 : 1);
    o->x = at;
    const double bound = least + gsl_cdf_fdist_Pinv(0.95, 1, dof) * fmax(variance, 1e-300);
    o->ci95[0] = o->ci95[1] = at;
    for (size_t i = 0; i <= STEPS; i++) {
        const double x0 = lo + (hi - lo) * (double)i / STEPS;
        if (!(two_lines(x, y, w, n, true, x0, slope, NULL, NULL) <= bound)) continue; /* NaN: nothing on one side */
        o->ci95[0] = fmin(o->ci95[0], x0);
        o->ci95[1] = fmax(o->ci95[1], x0);
    }
    two_lines(x, y, w, n, true, at, o->slope, o->slope_se, &o->level);
    for (int i = 0; i < 2; i++) o->slope_se[i] *= sqrt(variance);
    if (!(o->p < 0.05)) o->x = o->ci95[0] = o->ci95[1] = NAN;
done:
    free(x);
    return MRO_OK;
}

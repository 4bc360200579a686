/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Correlations of series whose neighbours are alike. */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_fft_halfcomplex.h>
#include <gsl/gsl_fft_real.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "ops/eds/eds_internal.h"

#define AUTOCOVARIANCE_DIRECT 4000000 /* products, up to which they are summed one by one */

double mro_eds_mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

double mro_eds_correlation(const double *a, const double *b, size_t n)
{
    const double ma = mro_eds_mean(a, n), mb = mro_eds_mean(b, n);
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
        ab += (a[i] - ma) * (b[i] - mb);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}

/* Autocovariances of a (mean off) at lags 0 to `lags`, into `out`. Long series by transforms, in n log n. */
static bool autocovariance(const double *a, double mean, size_t n, size_t lags, double *out)
{
    size_t size = 1;
    if (n * lags < AUTOCOVARIANCE_DIRECT) {
        for (size_t k = 0; k <= lags; k++) {
            out[k] = 0;
            for (size_t i = 0; i + k < n; i++) out[k] += (a[i] - mean) * (a[i + k] - mean);
        }
        return true;
    }
    while (size < n + lags + 1) size *= 2;
    double *z = calloc(size, sizeof *z);
    if (z == NULL) return false;
    for (size_t i = 0; i < n; i++) z[i] = a[i] - mean;
    gsl_fft_real_radix2_transform(z, 1, size);
    /* Real parts from the front, imaginary ones from the end. */
    z[0] *= z[0];
    z[size / 2] *= z[size / 2];
    for (size_t k = 1; k < size / 2; k++) {
        z[k] = z[k] * z[k] + z[size - k] * z[size - k];
        z[size - k] = 0;
    }
    gsl_fft_halfcomplex_radix2_inverse(z, 1, size);
    memcpy(out, z, (lags + 1) * sizeof *out);
    free(z);
    return true;
}

enum mro_code mro_eds_correlation_p(const double *a, const double *b, size_t n, double r, double r0, double *p,
                                    double *n_eff, struct mro_error *e)
{
    const double ma = mro_eds_mean(a, n), mb = mro_eds_mean(b, n), count = (double)n;
    const size_t lags = n / 4;
    double inverse = 1 / count;
    *p = *n_eff = NAN;
    if (n < 8 || !isfinite(r) || !isfinite(r0)) return MRO_OK;
    double *ra = malloc(2 * (lags + 1) * sizeof *ra), *rb = ra ? ra + lags + 1 : NULL;
    if (ra == NULL || !autocovariance(a, ma, n, lags, ra) || !autocovariance(b, mb, n, lags, rb)) {
        free(ra);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a correlation of %zu points", n);
    }
    for (size_t k = 1; k <= lags; k++)
        inverse += 2 / count * (count - (double)k) / count * (ra[k] / ra[0]) * (rb[k] / rb[0]);
    free(ra);
    /* Fewer degrees of freedom than points, never more. */
    *n_eff = fmin(count, fmax(4, 1 / fmax(inverse, 1 / count)));
    const double z = (atanh(fmax(-0.9999999, fmin(0.9999999, r))) - atanh(r0)) * sqrt(*n_eff - 3);
    *p = 2 * gsl_cdf_ugaussian_Q(fabs(z));
    return MRO_OK;
}

enum mro_code mro_eds_compare(const double *a, const double *b, size_t n, double *r, double *p, double *n_eff,
                              struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    *r = n > 1 ? mro_eds_correlation(a, b, n) : NAN;
    return mro_eds_correlation_p(a, b, n, *r, 0, p, n_eff, e);
}

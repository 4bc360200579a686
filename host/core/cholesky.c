/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/cholesky.h"

#include <math.h>

bool mro_cholesky_factor(double *a, size_t n, size_t row, double least)
{
    for (size_t i = 0; i < n; i++) {
        double *const ai = a + i * row;
        for (size_t j = 0; j <= i; j++) {
            const double *const aj = a + j * row;
            const double was = ai[j];
            for (size_t k = 0; k < j; k++) ai[j] -= ai[k] * aj[k];
            if (j < i) {
                ai[j] /= aj[j];
            } else {
                if (!(ai[i] > least * fabs(was)) || !isfinite(ai[i])) return false;
                ai[i] = sqrt(ai[i]);
            }
        }
    }
    return true;
}

void mro_cholesky_forward(const double *factor, size_t n, size_t row, double *b)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) b[i] -= factor[i * row + k] * b[k];
        b[i] /= factor[i * row + i];
    }
}

void mro_cholesky_apply(const double *factor, size_t n, size_t row, double *b)
{
    mro_cholesky_forward(factor, n, row, b);
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) b[i] -= factor[k * row + i] * b[k];
        b[i] /= factor[i * row + i];
    }
}

bool mro_cholesky_solve(double *a, size_t n, size_t row, double *b, double least)
{
    if (!mro_cholesky_factor(a, n, row, least)) return false;
    mro_cholesky_apply(a, n, row, b);
    return true;
}

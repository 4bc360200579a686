/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/bank.h"

#include "mroscope/math/band.h"

struct mro_bank_window mro_bank_window_of(const struct mro_bank *b, const struct mro_grid *g)
{
    const double reach = 0.5 / b->window_s_nm;
    return (struct mro_bank_window){ 2 * MRO_PI * MRO_PI * b->window_s_nm * b->window_s_nm, reach,
                                     (ptrdiff_t)ceil(reach * g->ly), (ptrdiff_t)ceil(reach * g->lx) };
}

/* Area integral of |w(q - g)|^2 B(q)^2 for the Gaussian window, nm^-2: the variance that white noise gives. */
static double window_energy(const struct mro_bank *b, double g, double reach)
{
    enum { N = 32 }; /* the integrand is a Gaussian: midpoints converge at once */
    const double h = 2 * reach / N, c = 2 * MRO_PI * b->window_s_nm;
    double bell[N], sum = 0;
    for (int i = 0; i < N; i++) {
        const double d = -reach + ((double)i + 0.5) * h;
        bell[i] = exp(-c * c * d * d); /* exp(-2 pi^2 s^2 d^2), squared */
    }
    const float lo = (float)b->band_inv_nm[0], hi = (float)b->band_inv_nm[1], edge = (float)b->edge_inv_nm;
    for (int j = 0; j < N / 2; j++) { /* the other half is the same */
        const double dy = -reach + ((double)j + 0.5) * h;
        double row[N], all = 0;
#pragma omp simd
        for (int i = 0; i < N; i++) {
            const double x = g - reach + ((double)i + 0.5) * h;
            const double B = (double)mro_band_gain((float)sqrt(x * x + dy * dy), lo, hi, edge);
            row[i] = bell[i] * B * B;
        }
        for (int i = 0; i < N; i++) all += row[i]; /* one after the other: the same with vectors of any width */
        sum += 2 * bell[j] * all * h * h;
    }
    return sum;
}

void mro_bank_scales(const struct mro_bank *b, const struct mro_grid *g, double *scale)
{
    const double reach = 0.5 / b->window_s_nm;
    double ring = -1, energy = 1;
    for (size_t k = 0; k < b->n_g; k++) { /* the bank comes in rings of one |g|: integrate once a ring */
        const double q = hypot(b->g[k][0], b->g[k][1]);
        if (fabs(q - ring) > 1e-9) {
            ring = q;
            energy = window_energy(b, q, reach);
        }
        scale[k] = 1 / sqrt(energy * g->ly * g->lx);
    }
}

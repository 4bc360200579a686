/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a local median leaves over: on a halo, and across the zeros of a lens, the median of a disc is not the power at
 * its centre. The top of a halo of 0.75 nm^-1 stays a tenth too strong, just where order is looked for, and makes half
 * as many false cells again. The error is nearly the same all around an annulus, which holds many more coefficients
 * than a disc: so it is told from annuli much narrower than discs, by their medians again, and taken out. */
#include <math.h>

#include "core/team.h"
#include "mroscope/math/grid.h"
#include "ops/mro/mro_internal.h"

#define ENOUGH_NM 30.0      /* side of fields of which every row is needed: larger ones tell it by fewer */
#define MEDIAN 0.6931471806 /* of an exponential number of mean 1 */

void mro_annuli_measure(const struct mro_order_plan *p, const struct mro_grid *g, const mro_c32 *spectrum,
                        const float *power, struct mro_annuli *r)
{
    enum { PART = 128 };
    const double lo = fmax(p->o.band_inv_nm[0] - BAND_EDGE, 0), hi = p->o.band_inv_nm[1] + BAND_EDGE;
    const size_t every = (size_t)fmax(1, fmin(g->ly, g->lx) / ENOUGH_NM), rows = (g->ny + every - 1) / every;
    const float from = (float)(lo / MRO_ANNULUS), per = (float)(1 / MRO_ANNULUS);
    uint32_t n[MRO_ANNULI] = { 0 }, below[MRO_ANNULI] = { 0 };
    r->first = (float)(lo / MRO_ANNULUS + 0.5);
    r->n = (size_t)fmin(ceil((hi - lo) / MRO_ANNULUS), MRO_ANNULI);
    const int last = (int)r->n - 1;
#pragma omp parallel for schedule(static) num_threads(mro_team(p->d->threads, 0.5 * (double)(rows * g->nx))) \
    reduction(+ : n[:MRO_ANNULI], below[:MRO_ANNULI])
    for (size_t k = 0; k < rows; k++) {
        const size_t y = k * every;
        const double qy = mro_frequency(y, g->ny, g->ly), left = hi * hi - qy * qy;
        if (left < 0) continue;
        const mro_c32 *f = spectrum + y * g->nx;
        const float *expected = power + y * g->nx, qy2 = (float)(qy * qy), step = (float)(1 / g->lx);
        const int first = (int)(sqrt(fmax(lo * lo - qy * qy, 0)) * g->lx),
                  end = (int)fmin(sqrt(left) * g->lx, (double)(g->nx / 2)) + 1;
        for (int start = first; start < end; start += PART) {
            const int here = end - start < PART ? end - start : PART;
            int annulus[PART];
            unsigned char told[PART], weak[PART];
#pragma omp simd
            for (int i = 0; i < here; i++) {
                const int x = start + i;
                const float qx = (float)x * step, at = sqrtf(qy2 + qx * qx) * per - from;
                const float square = f[x].re * f[x].re + f[x].im * f[x].im;
                const int whole = at > 0 ? (int)at : 0;
                annulus[i] = whole < last ? whole : last;
                told[i] = expected[x] > 0;
                weak[i] = square < (float)MEDIAN * expected[x];
            }
            for (int i = 0; i < here; i++) {
                n[annulus[i]] += told[i];
                below[annulus[i]] += weak[i];
            }
        }
    }
    double log_power[MRO_ANNULI];
    for (size_t i = 0; i < r->n; i++) {
        /* Of exponential numbers, by the share below what should be their median: nothing has to be sorted. */
        const double share = (below[i] + 0.5) / (n[i] + 1.0);
        log_power[i] = -log(-log1p(-share) / MEDIAN);
    }
    for (size_t i = 0; i < r->n; i++) {
        const double around = log_power[i ? i - 1 : 0] + log_power[i + 1 < r->n ? i + 1 : i];
        r->gain[i] = (float)exp(-0.5 * (0.5 * log_power[i] + 0.25 * around));
    }
}

void mro_annuli_row(const struct mro_annuli *r, const struct mro_grid *g, size_t y, size_t first, size_t n, float *row)
{
    const double qy = mro_frequency(y, g->ny, g->ly);
    const float qy2 = (float)(qy * qy), step = (float)(1 / g->lx);
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float qx = (float)(int)(first + i) * step;
        row[i] *= mro_annuli_gain(r, sqrtf(qy2 + qx * qx));
    }
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Contrast over the speckle's own power: scan lines taken out of the spectrum, the power in it, how strong the speckle
 * is from place to place. */
#include <math.h>
#include <stdlib.h>

#include "core/select.h"
#include "core/team.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"
#include "ops/crystal/crystal_internal.h"

#define WHITEN_RADIUS 0.45 /* nm^-1 of the local median: wider than the spots of a strong crystal of 4 nm */
#define GAIN_S_NM 1.2      /* Gaussian of the local gain */
#define LINE_POWER 3.0     /* of scan lines: median power along an axis of the spectrum over that beside it */
#define LINE_BESIDE 6      /* lines of the spectrum on either side that it is compared with */

bool mro_crystal_quiet_lines(const struct crystal_work *w, mro_c32 *z)
{
    bool found = false;
    for (int axis = 0; axis < 2; axis++) { /* 0: along qy, from rows */
        const size_t ny = w->grid.ny, nx = w->grid.nx, n = axis ? nx : ny;
        const double length = axis ? w->grid.lx : w->grid.ly;
        float *on = malloc(n * sizeof *on), *off = malloc(2 * LINE_BESIDE * n * sizeof *off);
        size_t n_on = 0, n_off = 0;
        if (on == NULL || off == NULL || (axis ? ny : nx) < 4 * LINE_BESIDE) {
            free(on);
            free(off);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            const double q = fabs(mro_frequency(i, n, length));
            if (q < w->band[0] || q > w->band[1]) continue;
            for (ptrdiff_t k = -LINE_BESIDE; k <= LINE_BESIDE; k++) {
                const mro_c32 v = axis ? z[mro_cyclic(k, ny) * nx + i] : z[i * nx + mro_cyclic(k, nx)];
                const float p = v.re * v.re + v.im * v.im;
                if (k == 0)
                    on[n_on++] = p;
                else if (k < -1 || k > 1)
                    off[n_off++] = p;
            }
        }
        if (n_on > 20) {
            const float usual = mro_median(off, n_off), ratio = usual > 0 ? mro_median(on, n_on) / usual : 0;
            if (ratio > LINE_POWER) {
                found = true;
                for (size_t i = 0; i < n; i++) {
                    mro_c32 *v = axis ? &z[i] : &z[i * nx];
                    v->re /= sqrtf(ratio);
                    v->im /= sqrtf(ratio);
                }
            }
        }
        free(on);
        free(off);
    }
    return found;
}

/* The pass band at a frequency of the grid. */
static inline float band_gain_at(const struct crystal_work *w, size_t y, size_t x)
{
    const double qy = mro_frequency(y, w->grid.ny, w->grid.ly), qx = mro_frequency(x, w->grid.nx, w->grid.lx);
    return mro_band_gain((float)sqrt(qy * qy + qx * qx), (float)w->band[0], (float)w->band[1], CRYSTAL_BAND_EDGE);
}

/* The level of the speckle: its power, and beyond the band, where that was not measured, the power at the band's end in
 * the same direction. A spot at the end of the band reaches there, and would be shifted if it were cut off. */
static void fill_level(struct crystal_work *w, const float *power)
{
    const struct mro_grid *g = &w->grid;
    const double half = 0.5 * hypot(1 / g->ly, 1 / g->lx); /* of a sample */
    const double lo = w->band[0] - CRYSTAL_BAND_EDGE + half, hi = w->band[1] + CRYSTAL_BAND_EDGE - half;
#pragma omp parallel for schedule(static) num_threads(mro_team(w->d->threads, 4.0 * (double)(g->ny * g->nx)))
    for (size_t y = 0; y < g->ny; y++) {
        const double qy = mro_frequency(y, g->ny, g->ly);
        for (size_t x = 0; x < g->nx; x++) {
            const double qx = mro_frequency(x, g->nx, g->lx), q = sqrt(qy * qy + qx * qx);
            w->level[y * g->nx + x] = power[y * g->nx + x];
            if (power[y * g->nx + x] > 0 || !(q < lo || q > hi) || !(q > 0)) continue;
            const double to = (q < lo ? lo : hi) / q;
            w->level[y * g->nx + x] = power[mro_cyclic((ptrdiff_t)lround(to * qy * g->ly), g->ny) * g->nx +
                                            mro_cyclic((ptrdiff_t)lround(to * qx * g->lx), g->nx)];
        }
    }
}

/* The field of the spectrum over the root of the speckle's power, to w->field, and the spectrum of that within the
 * band, to `white`; z: the copy of the spectrum on the host, which is lost. *even: mean square of the field of `white`
 * where speckle is even. */
static enum mro_code divide_by_level(struct crystal_work *w, mro_c32 *z, struct mro_buffer *white, double *even,
                                     struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t ny = w->grid.ny, nx = w->grid.nx, n = ny * nx;
    /* On very large fields a disc of the median would hold more rows than a card's kernel has room for. */
    const double radius = fmin(WHITEN_RADIUS, 700 / fmax(w->grid.ly, w->grid.lx));
    struct mro_buffer power = { 0 };
    float *gain = malloc(n * sizeof *gain);
    double *rows = malloc(ny * sizeof *rows);
    enum mro_code rc = MRO_OK;
    if (!gain || !rows) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &power, n * sizeof *gain, e))) goto done;
    if ((rc = d->ops->local_power(d, &w->grid, &w->spectrum, NULL, radius, w->band[0] - CRYSTAL_BAND_EDGE,
                                  w->band[1] + CRYSTAL_BAND_EDGE, &power, e)))
        goto done;
    if ((rc = d->ops->download(d, gain, &power, n * sizeof *gain, e))) goto done;
    fill_level(w, gain);
#pragma omp parallel for schedule(static) num_threads(mro_team(d->threads, 0.6 * (double)n))
    for (size_t y = 0; y < ny; y++)
#pragma omp simd
        for (size_t i = y * nx; i < (y + 1) * nx; i++) {
            const float g = w->level[i] > 0 ? 1 / sqrtf(w->level[i]) : 0;
            z[i].re *= g;
            z[i].im *= g;
        }
    if ((rc = d->ops->upload(d, white, z, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->inverse(d, &w->grid, white, &w->field, e))) goto done;
#pragma omp parallel for schedule(static) num_threads(mro_team(d->threads, 3.0 * (double)n))
    for (size_t y = 0; y < ny; y++) {
        float *row = gain + y * nx;
#pragma omp simd
        for (size_t x = 0; x < nx; x++) {
            row[x] = band_gain_at(w, y, x);
            z[y * nx + x].re *= row[x];
            z[y * nx + x].im *= row[x];
        }
        rows[y] = 0;
        for (size_t x = 0; x < nx; x++) rows[y] += (double)row[x] * (double)row[x];
    }
    *even = 0;
    for (size_t y = 0; y < ny; y++) *even += rows[y] / (double)n;
    rc = d->ops->upload(d, white, z, n * sizeof *z, e);
done:
    d->ops->release(d, &power);
    free(gain);
    free(rows);
    return rc;
}

/* Mean square of the whitened field around every point of the map, over `even`, that of even speckle: thickness, holes.
 * It rises in a crystal as well, by its power over that of the whole band; what a crystal has in one spot is far more.
 */
static enum mro_code measure_gain(struct crystal_work *w, const struct mro_buffer *white, double even,
                                  struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = w->grid.ny * w->grid.nx, m = w->map.ny * w->map.nx;
    struct mro_buffer field = { 0 }, mean = { 0 };
    enum mro_code rc = d->ops->alloc(d, &field, n * sizeof(float), e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &mean, m * sizeof(float), e);
    if (rc == MRO_OK) rc = d->ops->inverse(d, &w->grid, white, &field, e);
    if (rc == MRO_OK) rc = d->ops->local_mean_square(d, &w->grid, &field, GAIN_S_NM, &w->map, &mean, e);
    if (rc == MRO_OK) rc = d->ops->download(d, w->gain, &mean, m * sizeof *w->gain, e);
    for (size_t i = 0; i < m && rc == MRO_OK; i++) w->gain[i] = (float)fmax(0.05, w->gain[i] / even);
    d->ops->release(d, &field);
    d->ops->release(d, &mean);
    return rc;
}

enum mro_code mro_crystal_whiten(struct crystal_work *w, mro_c32 *z, struct mro_buffer *white, struct mro_error *e)
{
    double even = 1;
    MRO_TRY(divide_by_level(w, z, white, &even, e));
    return measure_gain(w, white, even, e);
}

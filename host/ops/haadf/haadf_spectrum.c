/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rings of the spectrum of a prepared frame. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/grid.h"
#include "ops/haadf/haadf_internal.h"

/* Sums over one ring. */
struct ring {
    double q, power, modes;
};

/* Adds the modes of row ky to their rings; q and of: room for the frequencies and rings of 0 <= kx <= hx. */
static void add_row(const struct mro_haadf_state *s, ptrdiff_t ky, ptrdiff_t hx, const struct mro_rings *r, double *q,
                    int32_t *of, struct ring *ring)
{
    const struct mro_grid *g = &s->grid;
    const double qy = (double)ky / g->ly, last = (double)r->n;
    const mro_c32 *row = s->spectrum + (size_t)ky * g->nx;
    if (qy >= last * r->step) return;
#pragma omp simd
    for (int k = 0; k <= (int)hx; k++) {
        const double qx = k / g->lx;
        q[k] = sqrt(qy * qy + qx * qx);
        of[k] = (int32_t)fmin(q[k] / r->step, last);
    }
    for (int side = ky ? 0 : 1; side < 2; side++) { /* kx < 0, kx > 0 and, once, the axis */
        struct ring sum = { 0 };
        int32_t at = of[0];
        for (ptrdiff_t k = ky && side ? 0 : 1; k <= hx; k++) {
            if (of[k] != at) { /* frequencies rise along the row: modes of a ring follow each other */
                ring[at].q += sum.q;
                ring[at].power += sum.power;
                ring[at].modes += sum.modes;
                sum = (struct ring){ 0 };
                at = of[k];
                if ((size_t)at == r->n) break;
            }
            const ptrdiff_t kx = side ? k : -k;
            if (mro_haadf_line_mode(s, ky, kx) || mro_haadf_edge_mode(s, ky, kx)) continue;
            const mro_c32 z = row[side ? k : (ptrdiff_t)g->nx - k];
            sum.q += q[k];
            sum.power += (double)z.re * z.re + (double)z.im * z.im;
            sum.modes++;
        }
        ring[at].q += sum.q;
        ring[at].power += sum.power;
        ring[at].modes += sum.modes;
    }
}

/* Fills r with sums over half of the plane, part by part, so that they do not depend on the threads. */
static bool sum_rings(const struct mro_haadf_state *s, int threads, struct mro_rings *r)
{
    enum { ROWS = 16 };
    const struct mro_grid *g = &s->grid;
    const ptrdiff_t hy = (ptrdiff_t)(g->ny - 1) / 2, hx = (ptrdiff_t)(g->nx - 1) / 2, parts = hy / ROWS + 1;
    const size_t width = r->n + 1; /* one for what lies beyond the last ring */
    struct ring *ring = calloc((size_t)parts * width, sizeof *ring);
    bool failed = ring == NULL;
#pragma omp parallel num_threads(threads) if (!failed)
    {
        double *q = malloc((size_t)(hx + 1) * sizeof *q);
        int32_t *of = malloc((size_t)(hx + 1) * sizeof *of);
        const bool ready = q && of;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (ptrdiff_t p = 0; p < parts; p++)
            for (ptrdiff_t ky = p * ROWS; ky < (p + 1) * ROWS && ky <= hy && ready && ring; ky++)
                add_row(s, ky, hx, r, q, of, ring + (size_t)p * width);
        free(q);
        free(of);
    }
    for (size_t p = 0; p < (size_t)parts && !failed; p++)
        for (size_t i = 0; i < r->n; i++) {
            r->q[i] += ring[p * width + i].q;
            r->power[i] += ring[p * width + i].power;
            r->modes[i] += ring[p * width + i].modes;
        }
    free(ring);
    return !failed;
}

enum mro_code mro_rings_of(const struct mro_haadf_state *s, double most, double step, int threads, struct mro_rings *r,
                           struct mro_error *e)
{
    const struct mro_grid *g = &s->grid;
    memset(r, 0, sizeof *r);
    r->step = step;
    r->n = (size_t)ceil(most / step);
    r->q = calloc(r->n, sizeof *r->q);
    r->power = calloc(r->n, sizeof *r->power);
    r->modes = calloc(r->n, sizeof *r->modes);
    if (r->q == NULL || r->power == NULL || r->modes == NULL) {
        mro_rings_release(r);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu rings", r->n);
    }
    if (!sum_rings(s, threads, r)) {
        mro_rings_release(r);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu modes", g->nx, g->ny);
    }
    size_t kept = 0; /* rings without a mode are left out */
    for (size_t i = 0; i < r->n; i++) {
        if (!(r->modes[i] > 0)) continue;
        r->q[kept] = r->q[i] / r->modes[i];
        r->power[kept] = r->power[i] / r->modes[i];
        r->modes[kept++] = r->modes[i];
    }
    r->n = kept;
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Images and maps that go with crystals: the spectrum, the image of the spots alone, empty maps of strain. */
#include <math.h>
#include <stdlib.h>

#include "core/team.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"
#include "ops/crystal/crystal_internal.h"

enum mro_code mro_crystal_map_new(const struct crystal_work *w, struct mro_image *im, const struct mro_image *like,
                                  float value, struct mro_error *e)
{
    MRO_TRY(mro_image_alloc(im, w->map.ny, w->map.nx, e));
    for (int i = 0; i < 2; i++) {
        im->axis[i] = like->axis[i];
        im->axis[i].size = i ? im->nx : im->ny;
        im->axis[i].step = w->step[i];
        im->axis[i].offset = 0;
    }
    im->kind = MRO_KIND_MAP;
    for (size_t i = 0; i < im->ny * im->nx; i++) im->px[i] = value;
    return MRO_OK;
}

enum mro_code mro_crystal_power_image(const struct crystal_work *w, const mro_c32 *z, struct mro_image *out,
                                      struct mro_error *e)
{
    const double reach = w->band[1] + 0.4;
    ptrdiff_t hy = (ptrdiff_t)(reach * w->grid.ly), hx = (ptrdiff_t)(reach * w->grid.lx);
    if (hy > (ptrdiff_t)(w->grid.ny - 1) / 2) hy = (ptrdiff_t)(w->grid.ny - 1) / 2;
    if (hx > (ptrdiff_t)(w->grid.nx - 1) / 2) hx = (ptrdiff_t)(w->grid.nx - 1) / 2;
    MRO_TRY(mro_image_alloc(out, (size_t)(2 * hy + 1), (size_t)(2 * hx + 1), e));
#pragma omp parallel for schedule(static) num_threads(mro_team(w->d->threads, 10.0 * (double)(hy * hx)))
    for (ptrdiff_t y = 0; y <= hy; y++) /* the other half is the same turned around */
        for (ptrdiff_t x = -hx; x <= hx; x++) {
            const float v =
                log10f(fmaxf(square_of(z[mro_cyclic(y, w->grid.ny) * w->grid.nx + mro_cyclic(x, w->grid.nx)]), 1e-30f));
            out->px[(size_t)(hy + y) * out->nx + (size_t)(hx + x)] = v;
            out->px[(size_t)(hy - y) * out->nx + (size_t)(hx - x)] = v;
        }
    for (int i = 0; i < 2; i++) {
        mro_axis_set(&out->axis[i], 1 / (i ? w->grid.lx : w->grid.ly), 0, "1/nm", MRO_SOURCE_UNKNOWN);
        out->axis[i].size = i ? out->nx : out->ny;
        out->axis[i].offset = -(double)(i ? hx : hy) * out->axis[i].step;
    }
    return MRO_OK;
}

enum mro_code mro_crystal_filter_image(struct crystal_work *w, const struct mro_image *like, struct mro_error *e)
{
    struct mro_crystal_result *r = w->r;
    const size_t n = w->grid.ny * w->grid.nx;
    struct mro_buffer field = { 0 };
    float *gain = calloc(n, sizeof *gain);
    enum mro_code rc = MRO_OK;
    if (gain == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    const double reach = CRYSTAL_FILTER_RADIUS + CRYSTAL_FILTER_EDGE / 2;
    for (size_t i = 0; i < w->sets.n; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            const double *g = w->sets.v[i].g;
            const ptrdiff_t y0 = (ptrdiff_t)ceil((sign * g[0] - reach) * w->grid.ly),
                            y1 = (ptrdiff_t)floor((sign * g[0] + reach) * w->grid.ly);
            const ptrdiff_t x0 = (ptrdiff_t)ceil((sign * g[1] - reach) * w->grid.lx),
                            x1 = (ptrdiff_t)floor((sign * g[1] + reach) * w->grid.lx);
            for (ptrdiff_t y = y0; y <= y1; y++)
                for (ptrdiff_t x = x0; x <= x1; x++) {
                    const double q = hypot((double)y / w->grid.ly - sign * g[0], (double)x / w->grid.lx - sign * g[1]);
                    float *at = gain + mro_cyclic(y, w->grid.ny) * w->grid.nx + mro_cyclic(x, w->grid.nx);
                    *at = fmaxf(*at, mro_band_gain((float)q, -1e3f, CRYSTAL_FILTER_RADIUS, CRYSTAL_FILTER_EDGE));
                }
        }
    /* The spectrum is not needed any more. */
    if ((rc = w->d->ops->multiply(w->d, &w->grid, &w->spectrum, gain, e))) goto done;
    if ((rc = w->d->ops->alloc(w->d, &field, n * sizeof(float), e))) goto done;
    if ((rc = w->d->ops->inverse(w->d, &w->grid, &w->spectrum, &field, e))) goto done;
    if ((rc = mro_image_alloc(&r->filtered, w->grid.ny, w->grid.nx, e))) goto done;
    for (int i = 0; i < 2; i++) {
        r->filtered.axis[i] = like->axis[i];
        r->filtered.axis[i].size = i ? w->grid.nx : w->grid.ny;
        r->filtered.axis[i].step = i ? w->grid.lx / (double)w->grid.nx : w->grid.ly / (double)w->grid.ny;
    }
    rc = w->d->ops->download(w->d, r->filtered.px, &field, n * sizeof(float), e);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) r->filtered.px[i] *= (float)w->unit;
done:
    w->d->ops->release(w->d, &field);
    free(gain);
    return rc;
}

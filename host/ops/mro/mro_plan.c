/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The plan of the measurement: what it looks for, and the null that images are compared with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/patch.h"
#include "ops/mro/ctf.h"
#include "ops/mro/mro_internal.h"
#include "ops/mro/mro_sweep.h"
#include "ops/mro/mro_views.h"

#define MOST_D_NM 0.6   /* spacing that still has two fringes in the smallest window */
#define SECOND_FROM 9.0 /* power of a patch worth a search for its second reflection */

static const double windows_nm[MRO_WINDOWS] = { 1.4, 1.9, 2.6 }; /* sphere diameters; s = 0.2236 D */
static const double sizes_nm[MRO_PATCH_SIZES] = { 1.0, 1.25, 1.5, 1.8, 2.15, 2.6, 3.1 };

void mro_order_options_default(struct mro_order_options *o)
{
    memset(o, 0, sizeof *o);
    o->band_inv_nm[0] = 4.1;
    o->band_inv_nm[1] = 5.8;
    o->d_nm = 0.203;
    o->d_tolerance = 0.06;
    o->false_positive_rate = 0.01;
    o->surrogates = 26;
    o->cs_mm = NAN;
    o->views = true;
    o->seed = 1;
}

/* Wave vectors on rings between lo and hi, over half the plane (the other half is the same by symmetry), about
 * `step` apart. */
static enum mro_code make_rings(double lo, double hi, double step, double (**g)[2], size_t *n, struct mro_error *e)
{
    const size_t rings = (size_t)fmax(2, ceil((hi - lo) / step));
    const size_t most = rings * ((size_t)(MRO_PI * hi / step) + 2);
    *n = 0;
    *g = malloc(most * sizeof **g);
    if (*g == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (size_t i = 0; i < rings; i++) {
        const double q = lo + (hi - lo) * ((double)i + 0.5) / (double)rings;
        const size_t around = (size_t)ceil(MRO_PI * q / step);
        for (size_t k = 0; k < around; k++) {
            const double a = MRO_PI * ((double)k + (i % 2 ? 0.5 : 0)) / (double)around;
            (*g)[*n][0] = q * sin(a);
            (*g)[(*n)++][1] = q * cos(a);
        }
    }
    return MRO_OK;
}

/* Shares of the chord profile's energy that the band lets through, at MRO_ENERGY_STEPS + 1 equidistant |g| over a
 * range. The profile is even: half of it is summed. */
static void energy_fractions(const double band[2], double diameter, const double range[2], double *fraction)
{
    enum { N = 48 };
    const double reach = 2.6 / diameter, h = 2 * reach / N; /* beyond lies < 0.1 % of the energy */
    double energy[N / 2][N], all = 0;
    for (int j = 0; j < N / 2; j++)
        for (int i = 0; i < N; i++) {
            const double dy = ((double)j + 0.5) * h, dx = -reach + ((double)i + 0.5) * h;
            const double t = mro_sphere_form_factor(sqrt(dx * dx + dy * dy), diameter);
            all += energy[j][i] = t * t;
        }
    for (int k = 0; k <= MRO_ENERGY_STEPS; k++) {
        const double g = range[0] + (range[1] - range[0]) * k / MRO_ENERGY_STEPS;
        double in = 0;
        for (int j = 0; j < N / 2; j++)
            for (int i = 0; i < N; i++) {
                const double dy = ((double)j + 0.5) * h, x = g - reach + ((double)i + 0.5) * h;
                const double b =
                    mro_band_gain((float)sqrt(x * x + dy * dy), (float)band[0], (float)band[1], (float)BAND_EDGE);
                in += energy[j][i] * b * b;
            }
        fraction[k] = in / all;
    }
}

enum mro_code mro_order_plan_new(struct mro_order_plan **out, struct mro_device *d, const struct mro_order_options *o,
                                 struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    *out = NULL;
    if (!(o->band_inv_nm[0] > 0 && o->band_inv_nm[1] > o->band_inv_nm[0]))
        return MRO_FAIL(e, MRO_EARG, "the pass band %g,%g 1/nm is not LOW,HIGH with 0 < LOW < HIGH", o->band_inv_nm[0],
                        o->band_inv_nm[1]);
    if (!(o->d_nm > 0 && o->d_tolerance > 0 && o->d_tolerance < 0.5))
        return MRO_FAIL(e, MRO_EARG, "a spacing of %g nm +- %g %% cannot be looked for", o->d_nm, 100 * o->d_tolerance);
    if (o->d_nm > MOST_D_NM)
        return MRO_FAIL(e, MRO_EARG, "a spacing of %g nm is too wide for windows of 1.4 to 2.6 nm; give `d` up to %g",
                        o->d_nm, MOST_D_NM);
    if (!(o->false_positive_rate > 0 && o->false_positive_rate < 0.5))
        return MRO_FAIL(e, MRO_EARG, "a false-positive rate of %g is not between 0 and 0.5", o->false_positive_rate);
    if (o->surrogates < 8 || o->surrogates > 100000)
        return MRO_FAIL(e, MRO_EARG, "%d speckle fields: give `surrogates` between 8 and 100000", o->surrogates);
    const double lo = 1 / (o->d_nm * (1 + o->d_tolerance)), hi = 1 / (o->d_nm * (1 - o->d_tolerance));
    if (lo < o->band_inv_nm[0] || hi > o->band_inv_nm[1])
        return MRO_FAIL(e, MRO_EARG,
                        "d = %g nm +- %g %% (%.2f to %.2f 1/nm) is not inside the pass band %g,%g 1/nm; widen `band`",
                        o->d_nm, 100 * o->d_tolerance, lo, hi, o->band_inv_nm[0], o->band_inv_nm[1]);
    if (o->band_inv_nm[1] + BAND_EDGE > TILE_SAMPLES / (2 * TILE_NM))
        return MRO_FAIL(e, MRO_EARG, "a pass band up to %g 1/nm is beyond the %.1f 1/nm that the null is drawn for",
                        o->band_inv_nm[1], TILE_SAMPLES / (2 * TILE_NM) - BAND_EDGE);
    struct mro_order_plan *p = calloc(1, sizeof *p);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    p->d = d;
    p->o = *o;
    p->tile = (struct mro_grid){ TILE_SAMPLES, TILE_SAMPLES, TILE_NM, TILE_NM };
    p->tile_cells = (struct mro_grid){ TILE_CELLS, TILE_CELLS, TILE_NM, TILE_NM };
    p->g_range[0] = lo;
    p->g_range[1] = hi;
    enum mro_code rc = MRO_OK;
    for (int k = 0; k < MRO_WINDOWS && rc == MRO_OK; k++) {
        p->window_s_nm[k] = 0.2236 * windows_nm[k];
        /* Between neighbours a window of s loses exp(-(2 pi s step)^2 / 4) of its power at worst along one axis. */
        rc = make_rings(lo, hi, 0.6 / windows_nm[k], &p->g[k], &p->n_g[k], e);
        if (rc) break;
        p->spacing_nm[k] = malloc(p->n_g[k] * sizeof *p->spacing_nm[k]);
        if (p->spacing_nm[k] == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        for (size_t i = 0; i < p->n_g[k] && rc == MRO_OK; i++)
            p->spacing_nm[k][i] = (float)(1 / hypot(p->g[k][i][0], p->g[k][i][1]));
    }
    memcpy(p->search.diameter_nm, sizes_nm, sizeof sizes_nm);
    for (int k = 0; k < MRO_PATCH_SIZES; k++) {
        /* Independent places and wave vectors searched by the climb, from speckle fields: 2.2 at 1 nm, as D^1.35. */
        p->size_cost[k] = log(2.2) + 1.35 * log(sizes_nm[k]);
        p->search.offset[k] = p->size_cost[k];
    }
    p->search.d_range_inv_nm[0] = lo;
    p->search.d_range_inv_nm[1] = hi;
    for (int k = 0; k < MRO_PATCH_SIZES; k++)
        energy_fractions(o->band_inv_nm, sizes_nm[k], p->search.d_range_inv_nm, p->search.energy[k]);
    p->search.second_from = SECOND_FROM;
    if (rc == MRO_OK) rc = mro_null_draw(p, e);
    if (rc == MRO_OK) rc = mro_power_measure(p, e);
    if (rc == MRO_OK) rc = mro_models_new(p, e);
    if (rc == MRO_OK && o->kv > 0 && isfinite(o->cs_mm))
        rc = mro_ctf_rings_new(&p->rings, o->kv, o->cs_mm, d->threads, e);
    if (rc == MRO_OK) rc = mro_views_prepare(p, e);
    if (rc == MRO_OK) rc = mro_sweep_prepare(p, e);
    if (rc) {
        mro_order_plan_free(p);
        return rc;
    }
    *out = p;
    return MRO_OK;
}

void mro_order_plan_free(struct mro_order_plan *p)
{
    if (p == NULL) return;
    for (int k = 0; k < MRO_WINDOWS; k++) {
        free(p->g[k]);
        free(p->spacing_nm[k]);
    }
    mro_views_free(p);
    mro_sweep_free(p);
    mro_ctf_rings_free(p->rings);
    free(p->null.min_p);
    free(p->models);
    free(p);
}

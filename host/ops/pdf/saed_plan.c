/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stacks of diffraction patterns of one geometry: profiles of frames, and how far their rings have moved. */
#include "mroscope/saed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cholesky.h"
#include "core/gsl_errors.h"
#include "core/team.h"
#include "ops/pdf/saed_internal.h"

#define DRIFT_REACH 4 /* points to either side of a slope */
#define RANK 1e-14    /* part of a pivot that rounding leaves of a matrix without full rank */
#define BATCH 16      /* frames at once: enough for every core and for a card */

void mro_saed_unbend(struct mro_profile *p, double wavelength_nm)
{
    if (!(wavelength_nm > 0)) return;
    for (size_t k = 0; k < p->n; k++)
        p->s_inv_nm[k] = 2 / wavelength_nm * sin(0.5 * atan(p->s_inv_nm[k] * wavelength_nm));
    p->step_inv_nm = 0;
}

struct mro_saed_plan {
    struct mro_azimuth a;
    double step_inv_nm, wavelength_nm, clip_sd, beam_kv;
    char source[160];
    struct mro_saed_result of; /* what it was made from: without profile, sectors and warnings; the mask is its own */
    double lies[2];            /* drift of that pattern's own profile, which frames are told against */
};

/* How far the rings of a profile lie from its centre, pixels: least squares of the sectors' deviations from their ring
 * by the slope, beside an intensity that rises across the pattern. NaN where there is too little. */
static enum mro_code drift_of(const struct mro_profile *p, double step_px, double s_min, double s_max, double drift[2],
                              struct mro_error *e)
{
    enum { TERMS = 4, SUMS = 5 };
    const size_t n = p->n;
    double m[TERMS * TERMS] = { 0 }, right[TERMS] = { 0 }, *smooth = calloc((2 + SUMS) * n + 1, sizeof *smooth);
    if (smooth == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a profile of %zu points", n);
    /* Of each ring over its sectors, weighed: products of cosine and sine, and of the deviation with either. */
    double *slope = smooth + n, *cc = slope + n, *cs = cc + n, *ss = cs + n, *yc = ss + n, *ys = yc + n;
    mro_saed_smooth(p->intensity, n, DRIFT_REACH, smooth, slope);
    for (size_t i = 0; i < p->n_sectors; i++) {
        const double chi = 2 * MRO_PI * (double)i / (double)p->n_sectors, c = cos(chi), s = sin(chi);
        const double *weight = p->sector_weight + i * n, *mean = p->sector_mean + i * n;
#pragma omp simd
        for (size_t k = 0; k < n; k++) {
            const double off = mean[k] - p->intensity[k];
            const bool known = weight[k] > 0 && off == off;
            const double w = known ? weight[k] : 0, y = known ? off : 0;
            cc[k] += w * c * c;
            cs[k] += w * c * s;
            ss[k] += w * s * s;
            yc[k] += w * y * c;
            ys[k] += w * y * s;
        }
    }
    for (size_t k = 0; k < n; k++) {
        const double var = p->sd[k] * p->sd[k], by[2] = { -slope[k] / step_px, smooth[k] };
        const double waves[2][2] = { { cc[k], cs[k] }, { cs[k], ss[k] } }, off[2] = { yc[k], ys[k] };
        if (!(p->s_inv_nm[k] >= s_min && p->s_inv_nm[k] <= s_max && var > 0 && slope[k] == slope[k])) continue;
        for (int a = 0; a < TERMS; a++) { /* the slope along x and y, the smooth intensity along x and y */
            for (int b = 0; b < TERMS; b++) m[TERMS * a + b] += by[a / 2] * by[b / 2] * waves[a % 2][b % 2] / var;
            right[a] += by[a / 2] * off[a % 2] / var;
        }
    }
    free(smooth);
    const bool known = mro_cholesky_solve(m, TERMS, TERMS, right, RANK) && isfinite(right[0]) && isfinite(right[1]);
    for (int i = 0; i < 2; i++) drift[i] = known ? right[i] : NAN;
    return MRO_OK;
}

enum mro_code mro_saed_plan_new(struct mro_saed_plan **plan, struct mro_device *d, const struct mro_saed_result *r,
                                const struct mro_saed_options *o, size_t batch, struct mro_error *e)
{
    *plan = NULL;
    if (r->ny * r->nx == 0 || r->profile.n == 0)
        return MRO_FAIL(e, MRO_EARG, "a plan is made from a measured pattern, and this result is empty");
    struct mro_saed_plan *p = calloc(1, sizeof *p);
    unsigned char *mask = malloc(r->ny * r->nx);
    const size_t frame = r->ny * r->nx * sizeof(float), room = mro_device_memory(d) / 4 / frame;
    enum mro_code rc;
    if (p == NULL || mask == NULL) {
        free(p);
        free(mask);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the rings of %zu x %zu pixels", r->nx, r->ny);
    }
    for (size_t i = 0; i < r->ny * r->nx; i++) mask[i] = r->mask[i] & (unsigned char)~MRO_SAED_OUTLIER;
    p->step_inv_nm = r->bin_inv_nm;
    p->wavelength_nm = r->wavelength_nm;
    p->clip_sd = o->clip_sd;
    p->beam_kv = r->profile.beam_kv;
    memcpy(p->source, r->profile.source, sizeof p->source);
    p->of = *r;
    p->of.mask = mask;
    p->of.profile = (struct mro_profile){ 0 };
    p->of.anisotropy = (struct mro_saed_anisotropy){ .s_inv_nm = r->anisotropy.s_inv_nm,
                                                     .e0 = NAN,
                                                     .e2 = NAN,
                                                     .e2_se = NAN,
                                                     .azimuth_deg = NAN,
                                                     .p = NAN,
                                                     .confounded = r->anisotropy.confounded };
    p->of.warnings = NULL;
    p->of.n_warnings = 0;
    if (batch == 0) batch = room < 1 ? 1 : room < BATCH ? room : BATCH;
    rc = drift_of(&r->profile, r->bin_inv_nm / r->step_inv_nm, r->s_min_inv_nm, r->s_max_inv_nm, p->lies, e);
    if (rc == MRO_OK)
        rc = mro_azimuth_new(&p->a, d, r->ny, r->nx, &r->round, mask, r->bin_inv_nm / r->step_inv_nm, r->profile.n,
                             r->profile.n_sectors, batch, e);
    if (rc)
        mro_saed_plan_free(p);
    else
        *plan = p;
    return rc;
}

/* The profile of frame i of a batch; false: out of memory, which is all that can fail. */
static bool profile_of(const struct mro_saed_plan *p, size_t i, struct mro_profile *to)
{
    if (mro_azimuth_profile(&p->a, i, p->step_inv_nm, to, NULL)) return false;
    mro_saed_unbend(to, p->wavelength_nm);
    to->beam_kv = p->beam_kv;
    memcpy(to->source, p->source, sizeof to->source);
    snprintf(to->axis, sizeof to->axis, MRO_SAED_AXIS);
    return true;
}

enum mro_code mro_saed_plan_run(struct mro_saed_plan *p, const float *frames, size_t n, struct mro_profile *profile,
                                struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    enum mro_code rc = MRO_OK;
    memset(profile, 0, n * sizeof *profile);
    for (size_t from = 0; from < n && rc == MRO_OK; from += p->a.batch) {
        const size_t here = n - from < p->a.batch ? n - from : p->a.batch;
        rc = mro_azimuth_run(&p->a, frames + from * p->a.ny * p->a.nx, here, p->clip_sd, e);
        if (rc) break;
        bool failed = false;
        if (here == 1) { /* its rings are shared, for which OpenMP would start new threads inside of a team of one */
            failed = !profile_of(p, 0, profile + from);
        } else {
#pragma omp parallel for schedule(static) num_threads(p->a.d->threads)
            for (size_t i = 0; i < here; i++)
                if (!profile_of(p, i, profile + from + i)) mro_raise(&failed);
        }
        if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the profiles of %zu frames", n);
    }
    if (rc)
        for (size_t i = 0; i < n; i++) mro_profile_release(&profile[i]);
    return rc;
}

enum mro_code mro_saed_plan_measure(struct mro_saed_plan *p, const float *frame, const char *name,
                                    struct mro_saed_result *r, double *drift_px, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    double lies[2];
    *r = p->of;
    *drift_px = r->spottiness = r->spottiness_p = r->ring_variance = NAN;
    r->mask = malloc(p->of.ny * p->of.nx);
    if (r->mask == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': out of memory for a mask", name);
#pragma omp parallel for schedule(static) num_threads(p->a.d->threads)
    for (size_t y = 0; y < p->of.ny; y++) memcpy(r->mask + y * p->of.nx, p->of.mask + y * p->of.nx, p->of.nx);
    enum mro_code rc = mro_saed_plan_run(p, frame, 1, &r->profile, e);
    if (rc == MRO_OK)
        rc = drift_of(&r->profile, r->bin_inv_nm / r->step_inv_nm, r->s_min_inv_nm, r->s_max_inv_nm, lies, e);
    if (rc == MRO_OK && r->halo_known)
        rc = mro_saed_anisotropy_of(&r->profile, r->halo_window_inv_nm, r->halo_inv_nm, r->halo_ellipse,
                                    (const double(*)[2])r->halo_ellipse_cov, &r->anisotropy, &r->warnings,
                                    &r->n_warnings, e);
    if (rc) {
        mro_saed_result_release(r);
        return rc;
    }
    snprintf(r->profile.source, sizeof r->profile.source, "azimuthal mean of '%.120s'", name);
    *drift_px = hypot(lies[0] - p->lies[0], lies[1] - p->lies[1]);
    return MRO_OK;
}

size_t mro_saed_plan_batch(const struct mro_saed_plan *p) { return p->a.batch; }

void mro_saed_plan_free(struct mro_saed_plan *p)
{
    if (p == NULL) return;
    mro_azimuth_release(&p->a);
    free(p->of.mask);
    free(p);
}

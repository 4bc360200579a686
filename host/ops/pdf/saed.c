/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One diffraction pattern, from counts to its profile. */
#include "mroscope/saed.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "core/select.h"
#include "mroscope/math/ctf.h"
#include "ops/pdf/saed_internal.h"
#include "ops/pixels.h"

#define LEAST_SIZE 64
#define STEP_DISAGREES 0.01 /* relative, of a step that is given and the file's */
#define FIT_MOST 1024       /* pixels along an axis that the rings are fitted on */
#define START_MOST 320      /* and the first estimate */
#define RINGS_EXPLAIN 0.5   /* share of the variation: less is no pattern around a centre */
#define ALIKE 0.5           /* correlation with the pattern turned by half a turn, from which spots have a centre */
#define COUNTERPARTS 0.25   /* share of the pattern that this must be true of */
#define WELL_EXPLAINED 0.93 /* less: centres elsewhere are tried */
#define SEARCH_MOST 128     /* pixels along an axis for that */
#define BETTER 0.03
#define LEAST_COVERAGE 0.02
#define HALF_RING 0.5
#define EDGE_REACH 4 /* points to either side of a rim */
#define EDGE_SD 8.0
#define EDGE_STEEPER 4.0 /* than the profile before it */
#define SPOT_SD 6.0
#define SPOT_RING 60      /* pixels of a ring that spots are looked for on */
#define SPOT_REACH 3      /* rings */
#define SPOT_CHANCE 1e-5  /* of a pixel of a glass to reach the limit together with a neighbour */
#define RING_VARIANCE 0.5 /* of the intensity around a ring over its mean squared, without noise */
#define CRYSTALLINE 0.05  /* share of a ring's intensity */
#define WIDE_ELLIPSE 1.1
#define WIDE_SE 0.5      /* px: a centre that is not well known */
#define OTHER_RINGS 1.35 /* of the first halo's position: where the ellipse is taken from for its anisotropy */

/* ------------------------------------------------------------------ calibration */

/* Step of the file's own axis, nm^-1; 0 = unknown. */
static double step_of_file(const struct mro_image *im, double kv)
{
    const struct mro_axis *y = &im->axis[0], *x = &im->axis[1];
    if (!(x->step > 0 && y->step > 0) || x->unit != y->unit) return 0;
    if (x->unit == MRO_UNIT_INV_NM) return x->step;
    return x->unit == MRO_UNIT_RAD && kv > 0 ? x->step / mro_wavelength_nm(kv) : 0;
}

/* A step that is given against the file's. */
static void tell_disagreement(const struct mro_image *im, double kv, struct mro_saed_result *r)
{
    const double file = step_of_file(im, kv);
    if (file > 0 && fabs(r->step_inv_nm / file - 1) > STEP_DISAGREES)
        mro_note(
            &r->warnings, &r->n_warnings,
            "a pixel is given as %.5g nm^-1, and is %.5g in the file (%s): what is given is used, which changes every "
            "Q and r by %.1f %%",
            r->step_inv_nm, file, mro_source_name(im->axis[1].source), 100 * fabs(r->step_inv_nm / file - 1));
}

/* nm^-1 per pixel along x, the height of a pixel over its width; *wavelength_nm > 0 where the camera length gave it. */
static enum mro_code calibrate(const struct mro_image *im, const char *name, const struct mro_saed_options *o,
                               struct mro_saed_result *r, double *aspect, double *wavelength_nm, struct mro_error *e)
{
    const double kv = o->beam_kv > 0 ? o->beam_kv : im->beam_kv;
    const struct mro_axis *y = &im->axis[0], *x = &im->axis[1];
    *aspect = x->step > 0 && y->step > 0 && x->unit == y->unit ? y->step / x->step : 1;
    *wavelength_nm = 0;
    if (o->step_inv_nm > 0) {
        r->step_inv_nm = o->step_inv_nm;
        *aspect = 1;
        r->step_source = MRO_SOURCE_COMMAND_LINE;
        snprintf(r->step_text, sizeof r->step_text, "%.6g nm^-1 a pixel, by option", o->step_inv_nm);
        tell_disagreement(im, kv, r);
        return MRO_OK;
    }
    if (o->camera_length_mm > 0) {
        if (!(kv > 0))
            return MRO_FAIL_LACKING(e, MRO_LACKS_VOLTAGE, "'%s': a camera length needs the voltage of the microscope",
                                    name);
        if (!(o->detector_pixel_um > 0))
            return MRO_FAIL_LACKING(e, MRO_LACKS_DETECTOR_PIXEL,
                                    "'%s': a camera length needs the size of a detector pixel", name);
        *wavelength_nm = mro_wavelength_nm(kv);
        r->step_inv_nm = o->detector_pixel_um * 1e-3 / (o->camera_length_mm * *wavelength_nm);
        *aspect = 1;
        r->step_source = MRO_SOURCE_COMMAND_LINE;
        snprintf(r->step_text, sizeof r->step_text,
                 "%.6g nm^-1 a pixel, of a camera length of %g mm, %g um pixels and %g kV", r->step_inv_nm,
                 o->camera_length_mm, o->detector_pixel_um, kv);
        return MRO_OK;
    }
    r->step_inv_nm = step_of_file(im, kv);
    if (!(r->step_inv_nm > 0)) {
        if (x->step > 0 && x->unit == MRO_UNIT_NM)
            return MRO_FAIL_LACKING(e, MRO_LACKS_PATTERN_SCALE,
                                    "'%s' is calibrated in nm, as an image and no diffraction pattern", name);
        if (x->step > 0 && x->unit == MRO_UNIT_RAD)
            return MRO_FAIL_LACKING(e, MRO_LACKS_VOLTAGE, "'%s' is calibrated in angles, which needs the voltage",
                                    name);
        return MRO_FAIL_LACKING(e, MRO_LACKS_PATTERN_SCALE, "'%s' has no calibration in nm^-1", name);
    }
    r->step_source = x->source;
    snprintf(r->step_text, sizeof r->step_text, "%.6g nm^-1 a pixel, from %s", r->step_inv_nm,
             mro_source_name(x->source));
    return MRO_OK;
}

static enum mro_code check(const struct mro_image *im, const char *name, const struct mro_saed_options *o,
                           struct mro_error *e)
{
    if (im->nx < LEAST_SIZE || im->ny < LEAST_SIZE)
        return MRO_FAIL(e, MRO_EDATA, "'%s' has %zu x %zu pixels; a pattern needs %d along each axis", name, im->nx,
                        im->ny, LEAST_SIZE);
    if (o->sectors < 8 || o->sectors > 360 || o->sectors % 2)
        return MRO_FAIL(e, MRO_EARG, "%zu sectors; there can be 8 to 360, an even number", o->sectors);
    if (!(o->clip_sd == 0 || (o->clip_sd >= 3 && o->clip_sd <= 100)))
        return MRO_FAIL(e, MRO_EARG, "outliers beyond %g standard deviations; it can be 3 to 100, or 0 for none",
                        o->clip_sd);
    if (!(o->bin_inv_nm >= 0)) return MRO_FAIL(e, MRO_EARG, "points %g nm^-1 apart", o->bin_inv_nm);
    if (o->centre_how != MRO_SAED_FIT)
        for (int i = 0; i < 2; i++)
            if (!(o->centre_px[i] >= 0 && o->centre_px[i] <= (double)(i ? im->ny : im->nx) - 1))
                return MRO_FAIL(e, MRO_EARG, "'%s': the centre %g, %g px lies outside the pattern of %zu x %zu pixels",
                                name, o->centre_px[0], o->centre_px[1], im->nx, im->ny);
    if (o->ellipse_how != MRO_SAED_FIT && !(o->ellipse_ratio >= 1 && o->ellipse_ratio <= 1.5))
        return MRO_FAIL(e, MRO_EARG, "an ellipse with axes of ratio %g; long over short axis can be 1 to 1.5",
                        o->ellipse_ratio);
    if (!(o->s_range_inv_nm[1] >= o->s_range_inv_nm[0] && o->s_range_inv_nm[0] >= 0))
        return MRO_FAIL(e, MRO_EARG, "a range from %g to %g nm^-1", o->s_range_inv_nm[0], o->s_range_inv_nm[1]);
    return MRO_OK;
}

/* ------------------------------------------------------------------ geometry */

/* Fits on the pattern averaged over blocks so that it has at most `most` pixels along an axis; f in full pixels. */
static enum mro_code fit_on(struct mro_device *d, const struct mro_image *im, const unsigned char *mask, size_t most,
                            double aspect, bool centre, bool ellipse, const double range_px[2], struct mro_saed_fit *f,
                            struct mro_error *e)
{
    const size_t longest = im->nx > im->ny ? im->nx : im->ny, by = (longest + most - 1) / most;
    if (by == 1) return mro_saed_fit_rings(d, im->px, im->ny, im->nx, mask, aspect, centre, ellipse, range_px, f, e);
    struct mro_saed_coarse c;
    const double half = 0.5 * (double)by - 0.5, scale = (double)by;
    const double range[2] = { range_px ? range_px[0] / scale : 0, range_px ? range_px[1] / scale : INFINITY };
    MRO_TRY(mro_saed_coarsen(&c, im->px, im->ny, im->nx, mask, by, d->threads, e));
    f->cx = (f->cx - half) / scale;
    f->cy = (f->cy - half) / scale;
    const enum mro_code rc =
        mro_saed_fit_rings(d, c.px, c.ny, c.nx, NULL, aspect, centre, ellipse, range_px ? range : NULL, f, e);
    f->cx = f->cx * scale + half;
    f->cy = f->cy * scale + half;
    f->moved *= scale;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++) {
            f->cov[i][j] *= scale;
            f->cov[j][i] *= scale;
        }
    free(c.px);
    return rc;
}

/* Where the symmetry of the pattern led nowhere: fits from places around and beyond the detector, with few pixels. The
 * one that explains the pattern best is kept in *f when it does clearly better. */
static enum mro_code search(struct mro_device *d, const struct mro_image *im, const unsigned char *mask, double aspect,
                            struct mro_saed_fit *f, struct mro_error *e)
{
    struct mro_saed_fit best = *f;
    for (int j = -2; j <= 2; j++)
        for (int i = -2; i <= 2; i++) {
            struct mro_saed_fit g = { .cx = (0.5 + 0.36 * i) * (double)im->nx,
                                      .cy = (0.5 + 0.36 * j) * (double)im->ny };
            MRO_TRY(fit_on(d, im, mask, SEARCH_MOST, aspect, true, false, NULL, &g, e));
            if (g.settled && g.explained > best.explained) best = g;
        }
    if (best.explained > f->explained + BETTER) *f = best;
    return MRO_OK;
}

static enum mro_code no_rings(const char *name, const struct mro_saed_fit *f, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EDATA,
                    "'%s': no rings or halo about any centre were found (the best, about %.0f, %.0f px, accounts for "
                    "%.0f %% of the pattern), and no spots about a centre of symmetry; if the beam is on the detector, "
                    "give `centre=X,Y`",
                    name, f->cx, f->cy, 100 * f->explained);
}

/* *by_symmetry: no rings were found, and f is where the pattern is alike to itself turned by half a turn, as the spots
 * of a crystal are: good to a pixel or so, with no ellipse and nothing known of errors. */
static enum mro_code find_geometry(struct mro_device *d, const struct mro_image *im, const char *name,
                                   const struct mro_saed_options *o, double aspect, double step_inv_nm,
                                   unsigned char *mask, struct mro_saed_fit *f, bool *by_symmetry,
                                   struct mro_saed_result *r, struct mro_error *e)
{
    double at[2], alike = 1;
    const bool centre = o->centre_how == MRO_SAED_FIT, ellipse = o->ellipse_how == MRO_SAED_FIT;
    const double bound[2] = { o->s_range_inv_nm[0] / step_inv_nm, o->s_range_inv_nm[1] / step_inv_nm };
    const double *range = o->s_range_inv_nm[1] > 0 ? bound : NULL;
    memset(f, 0, sizeof *f);
    if (!ellipse) {
        const double h = 0.5 * log(o->ellipse_ratio), a = 2 * o->ellipse_azimuth_deg * MRO_PI / 180;
        f->e1 = o->ellipse_ratio > 1 ? h * cos(a) : 0;
        f->e2 = o->ellipse_ratio > 1 ? h * sin(a) : 0;
    }
    f->cx = o->centre_px[0];
    f->cy = o->centre_px[1];
    for (int round = 0; round < 3; round++) { /* a beam stop shows against rings, which it keeps from being found */
        size_t before = 0, after = 0;
        if (centre) {
            MRO_TRY(mro_saed_symmetry(im->px, im->ny, im->nx, mask, d->threads, at, &alike, e));
            f->cx = at[0];
            f->cy = at[1];
            if (ellipse) f->e1 = f->e2 = 0;
            MRO_TRY(fit_on(d, im, mask, START_MOST, aspect, true, false, range, f, e));
            if (!(fabs(f->cx - at[0]) < 0.15 * (double)im->nx && fabs(f->cy - at[1]) < 0.15 * (double)im->ny)) {
                f->cx = at[0]; /* astray: rings were too far from round to follow */
                f->cy = at[1];
            }
        }
        if (!o->auto_mask) break;
        for (size_t i = 0; i < im->ny * im->nx; i++) before += mask[i] & MRO_SAED_BEAM_STOP ? 1 : 0;
        const struct mro_round rings = mro_round_of(f->cx, f->cy, aspect, f->e1, f->e2);
        MRO_TRY(mro_saed_mask_shade(im->px, im->ny, im->nx, &rings, d->threads, mask, e));
        for (size_t i = 0; i < im->ny * im->nx; i++) after += mask[i] & MRO_SAED_BEAM_STOP ? 1 : 0;
        if (!centre || after == before) break;
    }
    MRO_TRY(fit_on(d, im, mask, START_MOST, aspect, centre, ellipse, range, f, e));
    MRO_TRY(fit_on(d, im, mask, FIT_MOST, aspect, centre, ellipse, range, f, e));
    if (centre && f->explained < WELL_EXPLAINED) {
        const double before = f->explained;
        MRO_TRY(search(d, im, mask, aspect, f, e));
        if (f->explained > before) MRO_TRY(fit_on(d, im, mask, FIT_MOST, aspect, true, ellipse, range, f, e));
    }
    *by_symmetry = centre && f->explained < RINGS_EXPLAIN;
    if (*by_symmetry) {
        /* Share of the pattern that has its counterpart on the detector. */
        const double both = fmin(at[0] + 0.5, (double)im->nx - at[0] - 0.5) / (0.5 * (double)im->nx) *
                            fmin(at[1] + 0.5, (double)im->ny - at[1] - 0.5) / (0.5 * (double)im->ny);
        if (alike < ALIKE || both < COUNTERPARTS) return no_rings(name, f, e);
        f->cx = at[0];
        f->cy = at[1];
        if (ellipse) f->e1 = f->e2 = 0;
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) f->cov[i][j] = NAN;
        return MRO_OK;
    }
    if (!(f->cx >= 0 && f->cy >= 0 && f->cx <= (double)im->nx - 1 && f->cy <= (double)im->ny - 1))
        return MRO_FAIL(e, MRO_EDATA,
                        "'%s': the beam lies off the detector (the rings are about %.0f, %.0f px); a profile needs the "
                        "centre on it",
                        name, f->cx, f->cy);
    if (!f->settled)
        mro_note(&r->warnings, &r->n_warnings,
                 "the fit of centre and ellipse did not come to rest: its last step was %.2g px", f->moved);
    return MRO_OK;
}

static void tell_geometry(const struct mro_saed_fit *f, bool by_symmetry, const struct mro_saed_options *o,
                          struct mro_saed_result *r)
{
    struct mro_saed_geometry *g = &r->geometry;
    const double h = hypot(f->e1, f->e2);
    g->centre_px[0] = f->cx;
    g->centre_px[1] = f->cy;
    g->centre_how = o->centre_how;
    g->ellipse_how = o->ellipse_how;
    g->ellipse_ratio = exp(2 * h);
    g->ellipse_azimuth_deg = h > 0 ? fmod(0.5 * atan2(f->e2, f->e1) * 180 / MRO_PI + 180, 180) : NAN;
    if (o->centre_how == MRO_SAED_FIT)
        for (int i = 0; i < 2; i++) g->centre_se_px[i] = sqrt(f->cov[i][i]);
    if (o->ellipse_how == MRO_SAED_FIT) {
        const double c = h > 0 ? f->e1 / h : 1, s = h > 0 ? f->e2 / h : 0;
        const double var = c * c * f->cov[2][2] + 2 * c * s * f->cov[2][3] + s * s * f->cov[3][3];
        g->ellipse_ratio_se = 2 * g->ellipse_ratio * sqrt(var);
    } else if (o->ellipse_how == MRO_SAED_REFERENCE && o->ellipse_ratio_se > 0) {
        g->ellipse_ratio_se = o->ellipse_ratio_se;
    }
    if (o->ellipse_how == MRO_SAED_FIT && g->ellipse_ratio > WIDE_ELLIPSE)
        mro_note(
            &r->warnings, &r->n_warnings,
            "the fitted ellipse has axes of ratio %.3f, more than microscopes give: check the centre in the figure",
            g->ellipse_ratio);
    if (g->centre_se_px[0] > WIDE_SE || g->centre_se_px[1] > WIDE_SE)
        mro_note(&r->warnings, &r->n_warnings,
                 "the centre is uncertain by %.2g, %.2g px: the rings are weak or little of them is on the detector",
                 g->centre_se_px[0], g->centre_se_px[1]);
    if (by_symmetry)
        mro_note(&r->warnings, &r->n_warnings,
                 "no rings or halo about any centre were found: the centre, %.0f, %.0f px, is that of the symmetry of "
                 "the spots, good to a pixel or so, and no ellipse was fitted; give `centre=X,Y` where it is wrong",
                 f->cx, f->cy);
    else if (o->ellipse_how == MRO_SAED_FIT)
        mro_note(&r->warnings, &r->n_warnings,
                 "the ellipse (ratio %.4f) was fitted to this pattern: a strain of the specimen would be taken for it; "
                 "give that of a state without strain with `ellipse_from` to measure strain",
                 g->ellipse_ratio);
}

/* ------------------------------------------------------------------ spots */

/* Marks pixels beyond the limits of their ring and looks for spots: pixels, with a neighbour, far above what the lower
 * half of their ring leads one to expect, which spots do not touch. */
static enum mro_code look_for_spots(const struct mro_image *im, const struct mro_round *round, double step_px,
                                    const struct mro_azimuth *a, bool clip, struct mro_saed_result *r,
                                    struct mro_error *e)
{
    const size_t n = im->ny * im->nx, rings = a->n_rings;
    uint32_t *ring = malloc(n * sizeof *ring);
    size_t *start = calloc(rings + 1, sizeof *start);
    float *v = malloc((n + 1) * sizeof *v), *limit = malloc(rings * sizeof *limit);
    double *excess = calloc(4 * rings, sizeof *excess), *total = excess ? excess + rings : NULL,
           *count = excess ? total + rings : NULL, *square = excess ? count + rings : NULL;
    enum mro_code rc = MRO_OK;
    if (!ring || !start || !v || !limit || !excess) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the spots of a pattern of %zu x %zu pixels", im->nx, im->ny);
        goto done;
    }
    float least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        double x, y;
        ring[i] = UINT32_MAX;
        if (r->mask[i]) continue;
        mro_round_at(round, (double)(i % im->nx), (double)(i / im->nx), &x, &y);
        const double at = sqrt(x * x + y * y) / step_px;
        if (!(at < (double)rings)) continue;
        ring[i] = (uint32_t)at;
        start[ring[i] + 1]++;
        least = im->px[i] < least ? im->px[i] : least;
    }
    for (size_t k = 0; k < rings; k++) start[k + 1] += start[k];
    for (size_t i = 0; i < n; i++)
        if (ring[i] != UINT32_MAX) v[start[ring[i]]++] = im->px[i];
    double used = 0;
    for (size_t k = 0; k < rings; k++) {
        const size_t from = k ? start[k - 1] : 0, m = start[k] - from;
        limit[k] = INFINITY;
        if (m < SPOT_RING) continue;
        const float middle = mro_median(v + from, m), low = mro_select(v + from, m, m * 16 / 100);
        /* Counts are whole numbers: a low median hides part of the scatter. */
        const double sd = fmax(middle - low, 0.5 * sqrt(fabs(middle - least))), level = middle - least;
        if (!(sd > 0)) continue;
        limit[k] =
            (float)(middle + SPOT_SD * sd + (SPOT_SD * SPOT_SD - 1) / 3 * sd * fmin(level > 0 ? sd / level : 1, 1));
        used += (double)m;
    }
    size_t groups = 0;
    for (size_t i = 0; i < n; i++) {
        if (ring[i] == UINT32_MAX) continue;
        const uint32_t k = ring[i];
        float lim[2];
        mro_azimuth_limits(a, 0, k, lim);
        const bool out = clip && !(im->px[i] >= lim[0] && im->px[i] <= lim[1]);
        count[k] += 1;
        total[k] += im->px[i] - least;
        square[k] += ((double)im->px[i] - least) * ((double)im->px[i] - least);
        if (im->px[i] > limit[k]) {
            const size_t x = i % im->nx, y = i / im->nx;
            bool beside = false, before = false;
            for (int q = 0; q < 9; q++) {
                const size_t yy = y + (size_t)(q / 3) - 1, xx = x + (size_t)(q % 3) - 1, j = yy * im->nx + xx;
                if (q == 4 || yy >= im->ny || xx >= im->nx || ring[j] == UINT32_MAX) continue;
                if (!(im->px[j] > limit[ring[j]])) continue;
                beside = true;
                before = before || q < 4;
            }
            if (beside) excess[k] += im->px[i] - least - (limit[k] - least) * 0.5;
            groups += beside && !before;
        }
        if (out) r->mask[i] |= MRO_SAED_OUTLIER;
    }
    r->spottiness = r->ring_variance = 0;
    double gain;
    if ((rc = mro_saed_noise_gain(im->px, im->ny, im->nx, r->mask, least, &gain, e))) goto done;
    double brightest = 0;
    for (size_t k = 0; k < rings; k++)
        if (count[k] >= SPOT_RING) brightest = fmax(brightest, total[k] / count[k]);
    for (size_t k = 0; k < rings; k++) {
        double part = 0, all = 0, m = 0;
        const double level = total[k] / count[k], var = square[k] / count[k] - level * level - gain * level;
        if (count[k] >= SPOT_RING && level > 0.2 * brightest &&
            a->step_px * (double)k > r->s_min_inv_nm / r->step_inv_nm + 8)
            r->ring_variance = fmax(r->ring_variance, var / (level * level));
        for (size_t j = k > SPOT_REACH ? k - SPOT_REACH : 0; j < rings && j <= k + SPOT_REACH; j++) {
            part += excess[j];
            all += total[j];
            m += count[j];
        }
        if (m >= SPOT_RING && all > 0) r->spottiness = fmax(r->spottiness, part / all);
    }
    r->spottiness_p = groups ? gsl_cdf_poisson_Q((unsigned)(groups - 1), SPOT_CHANCE * used) : 1;
    const bool spots = r->spottiness > CRYSTALLINE && r->spottiness_p < 1e-3;
    r->crystalline = spots || r->ring_variance > RING_VARIANCE;
    if (r->crystalline && !spots)
        mro_note(
            &r->warnings, &r->n_warnings,
            "the pattern is crystalline: along one of its rings the intensity varies by %.0f %% beyond noise, where "
            "the speckle of a glass gives some 20 %%; the profile is given all the same",
            100 * sqrt(r->ring_variance));
    if (spots)
        mro_note(
            &r->warnings, &r->n_warnings,
            "the pattern is crystalline: spots hold %.0f %% of the intensity of one of its rings, so it is no halo of "
            "a glass; the profile is given all the same",
            100 * r->spottiness);
done:
    free(ring);
    free(start);
    free(v);
    free(limit);
    free(excess);
    return rc;
}

/* ------------------------------------------------------------------ the whole */

static void tell_mask(struct mro_saed_result *r)
{
    const double n = (double)(r->ny * r->nx);
    size_t by[6] = { 0 }, used = 0;
    for (size_t i = 0; i < r->ny * r->nx; i++) {
        for (int b = 0; b < 6; b++) by[b] += r->mask[i] >> b & 1;
        used += r->mask[i] == 0;
    }
    for (int b = 0; b < 6; b++) r->masked[b] = (double)by[b] / n;
    r->coverage = (double)used / n;
}

/* The range of s in which at least half of the ring counts. */
static void tell_range(const struct mro_azimuth *a, double aspect, struct mro_saed_result *r)
{
    const struct mro_profile *p = &r->profile;
    size_t first = p->n, last = 0;
    for (size_t k = 1; k < p->n; k++) {
        const double ring = 2 * MRO_PI * (double)k * a->step_px * a->step_px / aspect;
        if (!(p->pixels[k] >= HALF_RING * ring)) continue;
        if (first == p->n) first = k;
        last = k;
    }
    if (first == p->n) {
        mro_note(&r->warnings, &r->n_warnings, "of no ring is half on the detector and usable");
        return;
    }
    /* The rim of an aperture or of the screen: the intensity falls within a few points, after no rise, and stays down.
     */
    const size_t outer = first + (last - first) / 2;
    for (size_t k = outer > 5 * EDGE_REACH ? outer : 5 * EDGE_REACH; k + EDGE_REACH < last; k++) {
        const double *v = p->intensity + k, fall = v[-EDGE_REACH] - v[EDGE_REACH];
        const double before = v[-5 * EDGE_REACH] - v[-3 * EDGE_REACH],
                     error = hypot(p->se[k - EDGE_REACH], p->se[k + EDGE_REACH]);
        if (!(fall > EDGE_SD * error && fall > EDGE_STEEPER * fabs(before)) ||
            !(v[-EDGE_REACH] - v[-5 * EDGE_REACH] < 0.25 * fall))
            continue;
        bool down = true;
        for (size_t j = k + EDGE_REACH; j <= last; j++)
            down = down && fabs(p->intensity[j] - v[EDGE_REACH]) < 0.4 * fall;
        if (!down) continue;
        last = k - EDGE_REACH;
    }
    r->s_min_inv_nm = p->s_inv_nm[first];
    r->s_max_inv_nm = p->s_inv_nm[last];
}

static size_t rings_for(const struct mro_image *im, const struct mro_round *round, double step_px)
{
    double far = 0;
    for (int i = 0; i < 4; i++) {
        double u, v;
        mro_round_at(round, i % 2 ? (double)im->nx - 1 : 0, i / 2 ? (double)im->ny - 1 : 0, &u, &v);
        far = fmax(far, hypot(u, v));
    }
    return (size_t)(far / step_px) + 2;
}

static enum mro_code anisotropy(struct mro_device *d, const struct mro_image *im, const unsigned char *mask,
                                const struct mro_saed_options *o, double aspect, const struct mro_saed_fit *f,
                                struct mro_saed_result *r, struct mro_error *e)
{
    struct mro_saed_anisotropy *a = &r->anisotropy;
    double window[2] = { o->halo_inv_nm[0], o->halo_inv_nm[1] }, position = NAN;
    const bool given = window[1] > window[0];
    if (!(r->s_max_inv_nm > 0)) return MRO_OK;
    double range[2];
    bool found;
    MRO_TRY(mro_saed_halo(&r->profile, given ? window[0] : r->s_min_inv_nm, given ? window[1] : r->s_max_inv_nm, range,
                          &position, &found, e));
    if (!found) {
        mro_note(&r->warnings, &r->n_warnings,
                 "no halo rises above its surroundings: its dependence on direction was not measured");
        return MRO_OK;
    }
    if (!given) memcpy(window, range, sizeof window);
    double ellipse[2] = { 0 }, cov[2][2] = { { 0 } };
    if (o->ellipse_how == MRO_SAED_FIT) {
        /* Against the other rings: what all of them share cannot be told from the ellipse. */
        struct mro_saed_fit other = *f;
        const double beyond_px[2] = { OTHER_RINGS * position / r->step_inv_nm, INFINITY };
        a->confounded = true;
        MRO_TRY(fit_on(d, im, mask, FIT_MOST, aspect, false, true, beyond_px, &other, e));
        if (!other.settled || !(other.cov[2][2] < 1e-2 && other.cov[3][3] < 1e-2)) {
            mro_note(
                &r->warnings, &r->n_warnings,
                "the strain of the first halo was not measured: there is no other ring in the pattern to tell it from "
                "the ellipse; give one from a reference with `ellipse_from`");
            a->s_inv_nm = position;
            return MRO_OK;
        }
        ellipse[0] = other.e1 - f->e1;
        ellipse[1] = other.e2 - f->e2;
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++) cov[i][j] = other.cov[2 + i][2 + j];
    } else if (o->ellipse_how == MRO_SAED_REFERENCE && o->ellipse_ratio_se > 0) {
        cov[0][0] = cov[1][1] = pow(o->ellipse_ratio_se / (2 * o->ellipse_ratio), 2);
    }
    MRO_TRY(mro_saed_anisotropy_of(&r->profile, window, position, ellipse, (const double(*)[2])cov, a, &r->warnings,
                                   &r->n_warnings, e));
    r->halo_known = true;
    r->halo_inv_nm = position;
    memcpy(r->halo_window_inv_nm, window, sizeof window);
    memcpy(r->halo_ellipse, ellipse, sizeof ellipse);
    memcpy(r->halo_ellipse_cov, cov, sizeof cov);
    return MRO_OK;
}

enum mro_code mro_saed_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                               const struct mro_saed_options *o, struct mro_saed_result *r, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    double aspect, wavelength;
    struct mro_saed_fit f;
    bool by_symmetry;
    struct mro_azimuth a = { 0 };
    memset(r, 0, sizeof *r);
    mro_saed_unknown(r);
    MRO_TRY(check(im, name, o, e));
    MRO_TRY(calibrate(im, name, o, r, &aspect, &wavelength, e));
    MRO_TRY(mro_pixels_in_range(im, name, e));
    r->ny = im->ny;
    r->nx = im->nx;
    r->mask = malloc(im->ny * im->nx);
    if (r->mask == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': out of memory for a mask", name);
    enum mro_code rc = mro_saed_mask_pixels(im->px, im->ny, im->nx, o, d->threads, r->mask, e);
    if (rc) goto done;
    tell_mask(r);
    float least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < im->ny * im->nx; i++) {
        if (r->mask[i]) continue;
        least = im->px[i] < least ? im->px[i] : least;
        most = im->px[i] > most ? im->px[i] : most;
    }
    if (r->coverage < LEAST_COVERAGE) {
        rc = MRO_FAIL(e, MRO_EDATA, "'%s': %.3g %% of the pattern is usable, the rest is masked or has no data", name,
                      100 * r->coverage);
        goto done;
    }
    if (!(most > least)) {
        rc = MRO_FAIL(e, MRO_EDATA, "'%s' is constant: every usable pixel is %g", name, least);
        goto done;
    }
    if ((rc = find_geometry(d, im, name, o, aspect, r->step_inv_nm, r->mask, &f, &by_symmetry, r, e))) goto done;
    tell_geometry(&f, by_symmetry, o, r);
    const struct mro_round round = mro_round_of(f.cx, f.cy, aspect, f.e1, f.e2);
    const double bin = o->bin_inv_nm > 0 ? o->bin_inv_nm : r->step_inv_nm, step_px = bin / r->step_inv_nm;
    const size_t rings = rings_for(im, &round, step_px);
    if (rings < 16 || rings > 1 << 20) {
        rc = MRO_FAIL(e, MRO_EARG, "points %g nm^-1 apart give a profile of %zu points", bin, rings);
        goto done;
    }
    if ((rc = mro_azimuth_new(&a, d, im->ny, im->nx, &round, r->mask, step_px, rings, o->sectors, 1, e)) ||
        (rc = mro_azimuth_run(&a, im->px, 1, o->clip_sd, e)) || (rc = mro_azimuth_profile(&a, 0, bin, &r->profile, e)))
        goto done;
    tell_range(&a, aspect, r);
    if ((rc = anisotropy(d, im, r->mask, o, aspect, &f, r, e)) ||
        (rc = look_for_spots(im, &round, step_px, &a, o->clip_sd > 0, r, e)))
        goto done;
    if (by_symmetry && !r->crystalline) { /* anything smooth is somewhat alike to itself turned */
        rc = no_rings(name, &f, e);
        goto done;
    }
    tell_mask(r);
    mro_saed_unbend(&r->profile, wavelength);
    r->profile.beam_kv = o->beam_kv > 0 ? o->beam_kv : im->beam_kv;
    snprintf(r->profile.source, sizeof r->profile.source, "azimuthal mean of '%.120s'", name);
    snprintf(r->profile.axis, sizeof r->profile.axis, MRO_SAED_AXIS);
    r->round = round;
    r->bin_inv_nm = bin;
    r->wavelength_nm = wavelength;
done:
    mro_azimuth_release(&a);
    if (rc) mro_saed_result_release(r);
    return rc;
}

size_t mro_saed_bytes(const struct mro_image *like, const struct mro_saed_options *o)
{
    (void)o;
    /* Rings while they are made: piece and fraction of every pixel, sorted, and on the device. Mask. A frame in tiles.
     * The sums do not grow with the area. */
    return 35 * like->ny * like->nx + ((size_t)32 << 20);
}

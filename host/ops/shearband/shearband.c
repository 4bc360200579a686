/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shear bands of one image: stripes beyond chance (shearband_search.c), their profiles (shearband_fit.c), the verdict.
 */
#include "mroscope/shearband.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/pixels.h"
#include "ops/shearband/shearband_internal.h"
#include "ops/wide.h"

#define FINE_PIXELS ((size_t)2 << 20) /* of the grid that profiles are measured on, at most */
#define LEAST_COVERAGE 0.25
#define LEAST_SIDE 32
#define WIDEST 0.6      /* of the short side of the field */
#define ALIKE 0.01      /* p_segments above: the stripe is no band, it comes and goes */
#define PARALLEL 10.0   /* degrees: parts of one and the same system of bands */
#define NEAR_BORDER 1.5 /* widths from the centre of a band to the border, that leave too little glass beside it */
#define SOFT 0.6        /* edges over width from which the shape is no slab any more */
#define FRINGE_NM 1.0   /* bands narrower than that are fringes of a lattice */

void mro_shearband_options_default(struct mro_shearband_options *o)
{
    memset(o, 0, sizeof *o);
    o->black_level = NAN;
    o->alpha = 0.01;
    o->polynomial = 2;
    o->surrogates = 199;
    o->seed = 1;
}

static void band_release(struct mro_shearband *b)
{
    free(b->offset_nm);
    mro_image_release(&b->straight);
    memset(b, 0, sizeof *b);
}

void mro_shearband_result_release(struct mro_shearband_result *r)
{
    for (size_t i = 0; r->band && i < r->n_bands; i++) band_release(&r->band[i]);
    for (size_t i = 0; r->elements && i < r->n_bands; i++) mro_eds_result_release(&r->elements[i].profile);
    free(r->elements);
    free(r->band);
    mro_notes_release(&r->warnings, &r->n_warnings);
    memset(r, 0, sizeof *r);
}

size_t mro_shearband_bytes(const struct mro_image *like)
{
    const size_t n = like->ny * like->nx, fine = n < FINE_PIXELS ? n : FINE_PIXELS;
    return 4 * fine * sizeof(float) + ((size_t)16 << 20);
}

static enum mro_code check_options(const struct mro_shearband_options *o, const double field[2], const char *name,
                                   struct mro_error *e)
{
    if (o->polynomial < 0 || o->polynomial > MRO_SHEARBAND_DEGREE)
        return MRO_FAIL(e, MRO_EARG, "the degree of the background is %d; it can be 0 to %d", o->polynomial,
                        MRO_SHEARBAND_DEGREE);
    if (o->segments && (o->segments < 4 || o->segments > MRO_SHEARBAND_SEGMENTS))
        return MRO_FAIL(e, MRO_EARG, "%d segments; there can be 4 to %d", o->segments, MRO_SHEARBAND_SEGMENTS);
    if (o->surrogates < 99 || o->surrogates > 100000)
        return MRO_FAIL(e, MRO_EARG, "%d random fields; 99 to 100000 can be drawn", o->surrogates);
    if (!(o->alpha > 0 && o->alpha <= 0.5) || o->alpha * (o->surrogates + 1.0) < 1 - 1e-9)
        return MRO_FAIL(e, MRO_EARG, "alpha is %g; with %d random fields it can be %.2g to 0.5", o->alpha,
                        o->surrogates, 1 / (o->surrogates + 1.0));
    if (!(o->thickness_nm >= 0)) return MRO_FAIL(e, MRO_EARG, "the foil cannot be %g nm thick", o->thickness_nm);
    if (o->width_nm[1] > 0 && !(o->width_nm[1] > o->width_nm[0] && o->width_nm[0] > 0))
        return MRO_FAIL(e, MRO_EARG, "widths from %g to %g nm: they have to rise", o->width_nm[0], o->width_nm[1]);
    if (!o->has_line) return MRO_OK;
    for (int i = 0; i < 2; i++) {
        const double x = o->line_nm[2 * i], y = o->line_nm[2 * i + 1];
        if (!(x >= 0 && y >= 0 && x <= field[1] * (1 + 1e-9) && y <= field[0] * (1 + 1e-9)))
            return MRO_FAIL(e, MRO_EARG, "the line's end %g,%g nm is outside of '%s', which is %.4g x %.4g nm", x, y,
                            name, field[1], field[0]);
    }
    if (!(hypot(o->line_nm[2] - o->line_nm[0], o->line_nm[3] - o->line_nm[1]) >= 0.05 * fmin(field[0], field[1])))
        return MRO_FAIL(
            e, MRO_EARG,
            "the two points of the line are %.3g nm apart; over '%s' they have to be %.3g nm apart at least",
            hypot(o->line_nm[2] - o->line_nm[0], o->line_nm[3] - o->line_nm[1]), name, 0.05 * fmin(field[0], field[1]));
    return MRO_OK;
}

static void drop(struct mro_sb_work *w, size_t k)
{
    memmove(w->band + k, w->band + k + 1, (w->n - k - 1) * sizeof *w->band);
    memmove(w->p + k, w->p + k + 1, (w->n - k - 1) * sizeof *w->p);
    w->n--;
}

/* All bands but one. */
static size_t rest_of(const struct mro_sb_work *w, size_t k, struct mro_sb_band *rest)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        if (i != k) rest[n++] = w->band[i];
    return n;
}

static enum mro_code refine_all(struct mro_sb_work *w, struct mro_error *e)
{
    struct mro_sb_band rest[MRO_SHEARBAND_MOST];
    for (size_t k = 0; k < w->n;) {
        bool found;
        struct mro_sb_band b = w->band[k];
        MRO_TRY(mro_sb_refine(&w->fine, w->o, rest, rest_of(w, k, rest), w->d->threads, &b, NULL, &found, e));
        if (!found) {
            drop(w, k);
            continue;
        }
        w->band[k++] = b;
    }
    return MRO_OK;
}

static double degrees_between(double a, double b)
{
    const double t = fabs(a - b);
    return fmin(t, 180 - t);
}

static int by_position(const void *a, const void *b)
{
    const double x = ((const struct mro_shearband *)a)->position_nm, y = ((const struct mro_shearband *)b)->position_nm;
    return (x > y) - (x < y);
}

/* Where centre lines meet inside the field, or a band's end comes close to another one. */
static void find_junctions(struct mro_shearband_result *r)
{
    for (size_t i = 0; i < r->n_bands; i++)
        for (size_t j = i + 1; j < r->n_bands; j++) {
            const struct mro_shearband *a = r->band + i, *b = r->band + j;
            const double ux = a->line_nm[2] - a->line_nm[0], uy = a->line_nm[3] - a->line_nm[1],
                         vx = b->line_nm[2] - b->line_nm[0], vy = b->line_nm[3] - b->line_nm[1];
            const double cross = ux * vy - uy * vx, wx = b->line_nm[0] - a->line_nm[0],
                         wy = b->line_nm[1] - a->line_nm[1];
            if (fabs(cross) < 1e-9 || r->n_junctions == MRO_SHEARBAND_MOST) continue;
            const double s = (wx * vy - wy * vx) / cross, t = (wx * uy - wy * ux) / cross;
            /* An end is known to a segment. */
            const double sa = a->ends ? 1.5 / (double)a->n_segments : 0, tb = b->ends ? 1.5 / (double)b->n_segments : 0;
            if (s < -sa || s > 1 + sa || t < -tb || t > 1 + tb) continue;
            const double x = a->line_nm[0] + s * ux, y = a->line_nm[1] + s * uy;
            if (x < 0 || y < 0 || x > r->field_nm[1] || y > r->field_nm[0]) continue;
            r->junction[r->n_junctions++] =
                (struct mro_shearband_junction){ i, j, x, y,
                                                 degrees_between(a->normal_azimuth_deg, b->normal_azimuth_deg) };
        }
}

void mro_sb_reach(const struct mro_shearband *b, const double field[2], double at[2], double reach[2])
{
    const double a = b->normal_azimuth_deg * M_PI / 180, n[2] = { cos(a), sin(a) };
    for (int k = 0; k < 2; k++) at[k] = 0.5 * (b->line_nm[k] + b->line_nm[2 + k]) + b->path[0] * n[k];
    for (int side = 0; side < 2; side++) {
        reach[side] = INFINITY;
        for (int k = 0; k < 2; k++) {
            const double step = side ? n[k] : -n[k];
            if (step > 1e-9) reach[side] = fmin(reach[side], (field[1 - k] - at[k]) / step);
            if (step < -1e-9) reach[side] = fmin(reach[side], -at[k] / step);
        }
    }
}

static void warn_of_fringes(struct mro_shearband_result *r)
{
    const struct mro_shearband *narrow = NULL; /* the last such band */
    size_t n = 0;
    double widths[2] = { INFINITY, 0 };
    for (size_t i = 0; i < r->n_bands; i++) {
        const struct mro_shearband *b = &r->band[i];
        if (b->border || !(b->width_nm < FRINGE_NM)) continue;
        n++;
        narrow = b;
        widths[0] = fmin(widths[0], b->width_nm);
        widths[1] = fmax(widths[1], b->width_nm);
    }
    if (n == 0) return;
    char which[96];
    if (n > 1)
        snprintf(which, sizeof which, "%zu bands are %.2g to %.2g nm wide", n, widths[0], widths[1]);
    else
        snprintf(which, sizeof which, "the band at %.1f nm is %.2g nm wide", narrow->position_nm, narrow->width_nm);
    mro_warn(r,
             "%s, a few spacings of atoms: fringes of a lattice make such stripes, and shear bands are wider; "
             "measure fringes with `mroscope lattice`, or look for wider bands with `width`",
             which);
}

static void warn_of_band(const struct mro_shearband *b, struct mro_shearband_result *r)
{
    if (b->border) {
        mro_note(
            &r->warnings, &r->n_warnings,
            "the band at %.1f nm has only one edge inside of the field: it has no width, its position is that of the "
            "edge, it may be a step in thickness as well, and it is unreliable",
            b->position_nm);
        return;
    }
    double at[2], reach[2];
    mro_sb_reach(b, r->field_nm, at, reach);
    if (fmin(reach[0], reach[1]) < NEAR_BORDER * b->width_nm)
        mro_warn(r,
                 "the band at %.1f nm lies %.1f nm from the border, less than one and a half of its widths: "
                 "it is unreliable if another strip lies between the two, which would make a band of the gap",
                 b->position_nm, fmax(0, fmin(reach[0], reach[1])));
    if (b->fit_edge_nm > SOFT * b->width_nm / 2)
        mro_note(
            &r->warnings, &r->n_warnings,
            "the edges of the band at %.1f nm are as wide as the band: its width (%.2g nm) is that of a slab with the "
            "same profile, and hangs on the shape",
            b->position_nm, b->width_nm);
    size_t weak = 0;
    for (size_t k = 0; k < b->n_segments; k++) weak += isnan(b->segment[k].width_nm);
    if (2 * weak > b->n_segments)
        mro_note(&r->warnings, &r->n_warnings,
                 "the band at %.1f nm is too faint to be measured in %zu of %zu segments: its width is of their mean",
                 b->position_nm, weak, b->n_segments);
    if (b->length_nm / (double)b->n_segments < 20)
        mro_note(&r->warnings, &r->n_warnings,
                 "segments are shorter than 20 nm: structure as long as they are makes intervals too narrow");
    if (isfinite(b->width_ci95[1]) && isfinite(b->width_sd_nm) && b->width_sd_nm > 0.25 * b->width_nm &&
        2 * weak <= b->n_segments)
        mro_note(&r->warnings, &r->n_warnings,
                 "the width of the band at %.1f nm differs along it (standard deviation %.1f nm between segments)",
                 b->position_nm, b->width_sd_nm);
}

/* The direction that most of the length of bands has. */
static void main_azimuth(struct mro_shearband_result *r)
{
    double best = 0;
    r->normal_azimuth_deg = NAN;
    for (size_t i = 0; i < r->n_bands; i++) {
        double weight = 0, turned = 0, all = 0;
        for (size_t j = 0; j < r->n_bands; j++) {
            const struct mro_shearband *b = r->band + j;
            double t = b->normal_azimuth_deg - r->band[i].normal_azimuth_deg;
            if (t > 90) t -= 180;
            if (t <= -90) t += 180;
            if (fabs(t) > PARALLEL) continue;
            const double one = fabs(b->depth) * b->length_nm;
            weight += one;
            turned += one * t;
            all += one;
        }
        if (weight <= best * (1 + 1e-9)) continue;
        best = weight;
        double a = r->band[i].normal_azimuth_deg + turned / all;
        if (a < 0) a += 180;
        if (a >= 180) a -= 180;
        r->normal_azimuth_deg = a;
    }
}

static void say(struct mro_shearband_result *r, const struct mro_shearband_options *o)
{
    if (r->n_bands == 0 && isfinite(r->p_value) && mro_sb_beyond(r->p_value, o))
        snprintf(r->verdict, sizeof r->verdict,
                 "no band: a random field of this spectrum shows stripes as strong (p = %.2g)", r->p_value);
    else if (r->n_bands == 0)
        snprintf(r->verdict, sizeof r->verdict, "no band that keeps its contrast along its length");
    else {
        double worst = 0;
        for (size_t k = 0; k < r->n_bands; k++) worst = fmax(worst, r->band[k].p_value);
        snprintf(r->verdict, sizeof r->verdict, "%zu band%s beyond chance (p %s %.2g)", r->n_bands,
                 r->n_bands > 1 ? "s" : "", worst <= 1.0001 / (o->surrogates + 1.0) ? "<=" : "=", worst);
    }
}

static enum mro_code measure_bands(struct mro_sb_work *w, struct mro_shearband_result *r, struct mro_error *e)
{
    bool done = true;
    struct mro_sb_band rest[MRO_SHEARBAND_MOST];
    /* A background that the bands do not pull at, then the bands again. */
    for (int pass = 0; pass < 2 && w->n && done; pass++) {
        MRO_TRY(mro_sb_contrast(w, &done, e));
        if (done) MRO_TRY(refine_all(w, e));
    }
    r->band = calloc(w->n ? w->n : 1, sizeof *r->band);
    if (r->band == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for bands");
    for (size_t k = 0; k < w->n; k++) {
        bool found;
        struct mro_sb_band b = w->band[k];
        struct mro_shearband *out = r->band + r->n_bands;
        const enum mro_code rc =
            mro_sb_refine(&w->fine, w->o, rest, rest_of(w, k, rest), w->d->threads, &b, out, &found, e);
        if (rc) {
            band_release(out);
            return rc;
        }
        out->p_value = w->p[k];
        if (!found || !(out->p_segments < ALIKE)) {
            band_release(out);
            continue;
        }
        r->n_bands++;
    }
    qsort(r->band, r->n_bands, sizeof *r->band, by_position);
    return MRO_OK;
}

static bool measurable(struct mro_shearband_result *r, double median, double coverage, bool varies)
{
    r->coverage = coverage;
    const char *why = !(coverage > 0) ? "no pixel holds a number"
                      : !varies       ? "every pixel has the same value"
                      : !(median > 0) ? "the intensity is not above the black level, so that depth has no meaning"
                      : coverage < LEAST_COVERAGE ? "less than a quarter of the image shows specimen"
                                                  : NULL;
    if (why == NULL) return true;
    mro_note(&r->warnings, &r->n_warnings, "%s: there is nothing to measure", why);
    snprintf(r->verdict, sizeof r->verdict, "not measured: %s", why);
    return false;
}

enum mro_code mro_shearband_measure_wide(struct mro_device *d, const struct mro_image *im, const char *name,
                                         const struct mro_shearband_options *o, struct mro_shearband_result *r,
                                         struct mro_error *e)
{
    struct mro_sb_work w = { .d = d, .o = o };
    enum mro_code rc = MRO_OK;
    bool done = false;
    memset(r, 0, sizeof *r);
    r->normal_azimuth_deg = r->p_value = r->searched_nm[0] = r->searched_nm[1] = r->coverage = NAN;
    r->black_level = isfinite(o->black_level) ? o->black_level : 0;
    r->signal = o->signal;
    MRO_TRY(mro_image_pixel_nm(im, name, r->pixel_nm, e));
    for (int i = 0; i < 2; i++) r->field_nm[i] = (double)(i ? im->nx : im->ny) * r->pixel_nm[i];
    MRO_TRY(check_options(o, r->field_nm, name, e));
    if (im->ny < LEAST_SIDE || im->nx < LEAST_SIDE)
        return MRO_FAIL(e, MRO_EDATA, "'%s' has %zu x %zu pixels; bands need %d along each axis", name, im->nx, im->ny,
                        LEAST_SIDE);
    MRO_TRY(mro_pixels_in_range(im, name, e));
    size_t k = 1;
    while ((im->ny / k) * (im->nx / k) > FINE_PIXELS && im->ny / (k + 1) >= 256 && im->nx / (k + 1) >= 256) k++;
    const bool mean = o->signal == MRO_SHEARBAND_MEAN;
    if (mean)
        rc = mro_sb_grid_shrink(im->px, im->ny, im->nx, r->pixel_nm, im->ny / k, im->nx / k, r->black_level, d->threads,
                                &w.raw, e);
    else
        rc = mro_sb_speckle(im, r->pixel_nm, r->black_level, d->threads, name, &w.raw, r, e);
    if (rc) goto done;
    if ((rc = mro_sb_grid_copy(&w.raw, &w.fine, e))) goto done;
    const size_t n = w.raw.ny * w.raw.nx;
    const double median = mro_sb_grid_median(&w.raw, d->threads, e, &rc);
    if (rc) goto done;
    size_t kept = 0, vacuum = 0;
    float lo = INFINITY, hi = -INFINITY;
#pragma omp simd reduction(min : lo) reduction(max : hi) reduction(+ : kept)
    for (size_t i = 0; i < n; i++) {
        const float v = w.raw.v[i];
        lo = v < lo ? v : lo; /* false for NaN */
        hi = v > hi ? v : hi;
        kept += v == v;
    }
    if (mean && median > 0 && hi > lo) {
        if ((rc = mro_sb_grid_blank(&w.raw, median, &vacuum, e))) goto done;
        kept -= vacuum;
    }
    if (!measurable(r, median, (double)kept / (double)n, hi > lo)) goto done;
    if (vacuum)
        mro_note(&r->warnings, &r->n_warnings,
                 "%.1f %% of the image is darker than a tenth of the rest: taken as vacuum",
                 100 * (double)vacuum / (double)n);
    if (im->not_finite)
        mro_note(&r->warnings, &r->n_warnings, "%zu pixels are not finite numbers and are left out", im->not_finite);
    if ((rc = mro_sb_contrast(&w, &done, e))) goto done;
    if (!done) {
        mro_note(&r->warnings, &r->n_warnings,
                 "no positive background can be fitted to the image: there is nothing to measure");
        snprintf(r->verdict, sizeof r->verdict, "not measured: no background");
        goto done;
    }
    const double least = 2 * fmax(w.coarse.step[0], w.coarse.step[1]),
                 most = WIDEST * fmin(r->field_nm[0], r->field_nm[1]);
    w.width[0] = o->width_nm[1] > 0 ? fmax(least, o->width_nm[0]) : least;
    w.width[1] = o->width_nm[1] > 0 ? fmin(most, o->width_nm[1]) : most;
    if (!(w.width[1] > w.width[0])) {
        rc = MRO_FAIL(e, MRO_EARG,
                      "no width between %g and %g nm can be found in '%s': its field allows %.3g to %.3g nm",
                      o->width_nm[0], o->width_nm[1], name, least, most);
        goto done;
    }
    memcpy(r->searched_nm, w.width, sizeof w.width);
    if ((rc = mro_sb_search(&w, r, e))) goto done;
    if ((rc = measure_bands(&w, r, e))) goto done;
    main_azimuth(r);
    find_junctions(r);
    say(r, o);
    if (r->n_bands)
        mro_note(
            &r->warnings, &r->n_warnings,
            "widths are projected: a band that is inclined to the beam by b looks wider, w cos b + t sin b in a foil "
            "of thickness t; take them as upper limits unless the band was tilted edge-on");
    for (size_t i = 0; i < r->n_bands; i++) warn_of_band(&r->band[i], r);
    warn_of_fringes(r);
done:
    free(w.raw.v);
    free(w.fine.v);
    free(w.coarse.v);
    if (rc) mro_shearband_result_release(r);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Composition across shear bands, from maps of counts. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "core/notes.h"
#include "mroscope/shearband.h"
#include "ops/shearband/shearband_internal.h"

#define SAME_FIELD 0.02 /* sizes of image and maps may differ by this share */
#define BESIDE 1.0      /* widths of a band beside it that are its surroundings, at least MIN_BESIDE pixels */
#define MIN_BESIDE 6.0
#define MIDDLE 1.5 /* standard deviations of the edge that are neither inside nor outside */
#define ALONG 0.9  /* of the length of a band: what is added up */
#define SEGMENTS 8 /* of that, whose scatter is part of the error */
#define LEAST_SEGMENTS 4

/* The line across a band through its middle, as long as its surroundings are wide, inside of the field, and added up
 * over `length` along the band. */
static bool line_across(const struct mro_shearband *b, const struct mro_eds_field *m, double length,
                        struct mro_eds_line *l, double *centre)
{
    const double h = fmax(m->pixel_nm[0], m->pixel_nm[1]), a = b->normal_azimuth_deg * M_PI / 180;
    const double field[2] = { (double)m->ny * m->pixel_nm[0], (double)m->nx * m->pixel_nm[1] };
    const double wanted = b->width_nm / 2 + 2 * fmax(BESIDE * b->width_nm, MIN_BESIDE * h) + 4 * b->fit_edge_nm;
    double at[2], reach[2];
    mro_sb_reach(b, field, at, reach);
    for (int side = 0; side < 2; side++) reach[side] = fmax(0, fmin(reach[side], wanted) * (1 - 1e-9));
    *l = (struct mro_eds_line){ at[0] - reach[0] * cos(a), at[1] - reach[0] * sin(a), at[0] + reach[1] * cos(a),
                                at[1] + reach[1] * sin(a), fmax(length, h) };
    *centre = reach[0];
    return reach[0] + reach[1] > 8 * h;
}

/* 0 inside of the band, 1 in its surroundings, -1 on an edge or further off, by the distance from its middle. */
static int side_of(const struct mro_shearband *b, double s, double pixel)
{
    const double beyond = fmin(MIDDLE * b->fit_edge_nm, 0.35 * b->width_nm), half = b->width_nm / 2,
                 beside = fmax(BESIDE * b->width_nm, MIN_BESIDE * pixel) + 2 * b->fit_edge_nm;
    if (s <= half) return s > half - beyond ? -1 : 0;
    return s < half + MIDDLE * b->fit_edge_nm || s > half + beside ? -1 : 1;
}

/* Composition inside less outside from sums over one profile, at.%; false where one of the two is empty. */
static bool difference_of(const struct mro_shearband *b, const struct mro_eds_profile *p, double centre,
                          const struct mro_eds_result *whole, double pixel, double *difference)
{
    double sum[2][MRO_EDS_MAX_ELEMENTS] = { { 0 } }, all[2] = { 0, 0 };
    for (size_t i = 0; i < p->n; i++) {
        const int side = side_of(b, fabs(p->x_nm[i] - centre), pixel);
        if (side < 0) continue;
        for (size_t j = 0; j < p->elements; j++) {
            const struct mro_eds_column *c = &p->column[j];
            const double k = whole->element[j].k;
            const double v = c->at ? c->at[i] : c->counts[i] * (isfinite(k) ? k : 1) / mro_atomic_weight(c->symbol);
            sum[side][j] += v;
            all[side] += v;
        }
    }
    if (!(all[0] > 0) || !(all[1] > 0)) return false;
    for (size_t j = 0; j < p->elements; j++) difference[j] = 100 * (sum[0][j] / all[0] - sum[1][j] / all[1]);
    return true;
}

/* Composition changes along a band for other reasons than counting: where segments of it scatter more than that, the
 * errors are theirs. */
static enum mro_code compare_segments(struct mro_device *d, const struct mro_shearband *b,
                                      const struct mro_eds_field *maps, const char *name,
                                      struct mro_shearband_elements *q, struct mro_error *e)
{
    const double pixel = fmax(maps->pixel_nm[0], maps->pixel_nm[1]), length = ALONG * b->length_nm / SEGMENTS;
    const double a = b->normal_azimuth_deg * M_PI / 180, n[2] = { cos(a), sin(a) };
    double one[MRO_EDS_MAX_ELEMENTS], sum[MRO_EDS_MAX_ELEMENTS] = { 0 }, square[MRO_EDS_MAX_ELEMENTS] = { 0 };
    double m = 0;
    for (int k = 0; k < SEGMENTS; k++) {
        const double t = length * (k + 0.5 - 0.5 * SEGMENTS);
        const double bend = t * (b->path[1] + t * (b->path[2] + t * b->path[3]));
        struct mro_shearband part = *b; /* only its place is looked at */
        for (int i = 0; i < 2; i++) {
            part.line_nm[2 * i] += bend * n[0] - t * n[1];
            part.line_nm[2 * i + 1] += bend * n[1] + t * n[0];
        }
        struct mro_eds_line line;
        struct mro_eds_profile p = { 0 };
        struct mro_error why;
        double centre;
        if (!line_across(&part, maps, length, &line, &centre)) continue;
        const enum mro_code rc = mro_eds_line_profile(d, maps, &line, name, &p, &why);
        if (rc == MRO_EMEMORY) {
            if (e) *e = why;
            return rc;
        }
        if (rc == MRO_OK && difference_of(b, &p, centre, &q->profile, pixel, one)) {
            for (size_t j = 0; j < q->n; j++) {
                sum[j] += one[j];
                square[j] += one[j] * one[j];
            }
            m++;
        }
        mro_eds_profile_release(&p);
    }
    if (m < LEAST_SEGMENTS) return MRO_OK;
    for (size_t j = 0; j < q->n; j++) {
        struct mro_shearband_element *el = &q->element[j];
        const double se = sqrt(fmax(0, square[j] - sum[j] * sum[j] / m) / (m - 1) / m);
        const double half = gsl_cdf_tdist_Pinv(0.975, m - 1) * se;
        if (!isfinite(el->difference_ci95[1])) { /* maps of at.% say nothing of counts */
            el->difference_ci95[0] = el->difference_ci95[1] = el->difference_at;
            el->p = 0;
        }
        el->difference_ci95[0] = fmin(el->difference_ci95[0], el->difference_at - half);
        el->difference_ci95[1] = fmax(el->difference_ci95[1], el->difference_at + half);
        if (se > 0) el->p = fmax(el->p, 2 * gsl_cdf_tdist_Q(fabs(el->difference_at) / se, m - 1));
    }
    return MRO_OK;
}

/* Means inside and outside with their counting errors. */
static void compare(const struct mro_shearband *b, const struct mro_eds_result *p, double centre, size_t j,
                    double pixel, struct mro_shearband_element *out)
{
    const struct mro_eds_element *el = &p->element[j];
    double sum[2] = { 0, 0 }, weight[2] = { 0, 0 }, variance[2] = { 0, 0 };
    memcpy(out->symbol, el->symbol, sizeof out->symbol);
    out->inside_at = out->inside_se = out->outside_at = out->outside_se = out->difference_at = out->p =
        out->difference_ci95[0] = out->difference_ci95[1] = NAN;
    for (size_t i = 0; i < p->points; i++) {
        const int outside = side_of(b, fabs(p->x_nm[i] - centre), pixel);
        if (outside < 0) continue;
        /* Every bin holds about as many counts: equal weights, that do not follow its own noise. */
        sum[outside] += el->at[i];
        weight[outside]++;
        variance[outside] += el->se ? el->se[i] * el->se[i] : NAN;
    }
    if (weight[0] > 0) {
        out->inside_at = sum[0] / weight[0];
        out->inside_se = sqrt(variance[0]) / weight[0];
    }
    if (weight[1] > 0) {
        out->outside_at = sum[1] / weight[1];
        out->outside_se = sqrt(variance[1]) / weight[1];
    }
    out->difference_at = out->inside_at - out->outside_at;
    const double se = hypot(out->inside_se, out->outside_se);
    if (!isfinite(se)) return;
    for (int k = 0; k < 2; k++) out->difference_ci95[k] = out->difference_at + (k ? 1.96 : -1.96) * se;
    out->p = 2 * gsl_cdf_ugaussian_Q(fabs(out->difference_at) / se);
}

enum mro_code mro_shearband_composition(struct mro_device *d, struct mro_shearband_result *r,
                                        const struct mro_eds_field *maps, const char *name,
                                        const struct mro_eds_options *o, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    const double field[2] = { (double)maps->ny * maps->pixel_nm[0], (double)maps->nx * maps->pixel_nm[1] };
    if (fabs(field[0] / r->field_nm[0] - 1) > SAME_FIELD || fabs(field[1] / r->field_nm[1] - 1) > SAME_FIELD)
        return MRO_FAIL(e, MRO_EARG,
                        "the maps show %.4g x %.4g nm and '%s' shows %.4g x %.4g nm: they are not of one field",
                        field[1], field[0], name, r->field_nm[1], r->field_nm[0]);
    if (r->n_bands == 0) return MRO_OK;
    r->elements = calloc(r->n_bands, sizeof *r->elements);
    if (r->elements == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for profiles", name);
    for (size_t k = 0; k < r->n_bands; k++) {
        const struct mro_shearband *b = r->band + k;
        struct mro_shearband_elements *q = r->elements + k;
        struct mro_eds_profile p = { 0 };
        struct mro_error why;
        if (b->border || !line_across(b, maps, ALONG * b->length_nm, &q->line, &q->centre_nm)) {
            mro_warn(r, "no composition across the band at %.1f nm: it is not inside of the field", b->position_nm);
            continue;
        }
        enum mro_code rc = mro_eds_line_profile(d, maps, &q->line, name, &p, &why);
        if (rc == MRO_OK) rc = mro_eds_measure(&p, NULL, 0, name, o, &q->profile, &why);
        mro_eds_profile_release(&p);
        if (rc == MRO_EMEMORY) {
            if (e) *e = why;
            return rc;
        }
        if (rc) {
            mro_warn(r, "no composition across the band at %.1f nm: %s", b->position_nm, why.message);
            continue;
        }
        for (size_t i = 0; i < q->profile.n_warnings; i++)
            mro_warn(r, "across the band at %.1f nm: %s", b->position_nm, q->profile.warnings[i]);
        q->n = q->profile.elements;
        for (size_t j = 0; j < q->n; j++)
            compare(b, &q->profile, q->centre_nm, j, fmax(maps->pixel_nm[0], maps->pixel_nm[1]), &q->element[j]);
        MRO_TRY(compare_segments(d, b, maps, name, q, e));
        if (q->n == 1) mro_warn(r, "one map is no composition: at.%% are shares of the elements given");
    }
    return MRO_OK;
}

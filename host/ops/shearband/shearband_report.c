/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is said of a band: place, width and depth with their intervals, its segments, its profile and its image made
 * straight. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/shearband/shearband_strip.h"

#define PEAK_1090 2.5631031310892007 /* 10 to 90 % of an edge, in standard deviations */

/* 95 % interval of an estimate from those that each leave one segment out. */
static void jackknife(double estimate, const double *without, size_t n, double ci[2])
{
    double mean = 0, square = 0;
    size_t m = 0;
    for (size_t k = 0; k < n; k++)
        if (isfinite(without[k])) {
            mean += without[k];
            m++;
        }
    ci[0] = ci[1] = NAN;
    if (m < 3) return;
    mean /= (double)m;
    for (size_t k = 0; k < n; k++)
        if (isfinite(without[k])) square += (without[k] - mean) * (without[k] - mean);
    const double se = sqrt(square * ((double)m - 1) / (double)m), t = gsl_cdf_tdist_Pinv(0.975, (double)m - 1);
    ci[0] = estimate - t * se;
    ci[1] = estimate + t * se;
}

static double degrees_of(double azimuth)
{
    double a = fmod(azimuth * 180 / M_PI, 180);
    if (a < 0) a += 180;
    return a >= 180 ? 0 : a;
}

/* Contrast straightened: row i at t0 + (i + 1/2) step, column j at -reach + (j + 1/2) step; bilinear. */
static enum mro_code straighten(const struct mro_sb_grid *g, const struct mro_sb_band *b, double reach,
                                struct mro_image *out, struct mro_error *e)
{
    const double step = sqrt(g->step[0] * g->step[1]), c = b->cosine, n = b->sine;
    const double length = b->t[1] - b->t[0];
    const size_t rows = (size_t)fmax(1, floor(length / step)), columns = (size_t)fmax(2, floor(2 * reach / step));
    MRO_TRY(mro_image_alloc(out, rows, columns, e));
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            const double t = b->t[0] + ((double)i + 0.5) * step;
            const double s = ((double)j + 0.5 - 0.5 * (double)columns) * step + mro_sb_path(b, t) + b->position -
                             b->middle[0] * c - b->middle[1] * n;
            const double x = (b->middle[0] + s * c - t * n) / g->step[1] - 0.5,
                         y = (b->middle[1] + s * n + t * c) / g->step[0] - 0.5;
            float *to = out->px + i * columns + j;
            *to = NAN;
            if (!(x >= -0.5 && y >= -0.5 && x <= (double)g->nx - 0.5 && y <= (double)g->ny - 0.5)) continue;
            const double xc = fmax(0, fmin(x, (double)g->nx - 1.001)), yc = fmax(0, fmin(y, (double)g->ny - 1.001));
            const size_t ix = (size_t)xc, iy = (size_t)yc;
            const double fx = xc - (double)ix, fy = yc - (double)iy;
            const float *p = g->v + iy * g->nx + ix;
            *to = (float)((1 - fy) * ((1 - fx) * p[0] + fx * p[1]) + fy * ((1 - fx) * p[g->nx] + fx * p[g->nx + 1]));
        }
    return mro_image_set_pixel_nm(out, step, MRO_SOURCE_UNKNOWN, e);
}

static enum mro_code fill_profile(const struct mro_sb_strip *p, const struct mro_sb_profile_fit *f,
                                  struct mro_shearband *out, struct mro_error *e)
{
    out->offset_nm = malloc(4 * p->bins * sizeof *out->offset_nm);
    if (out->offset_nm == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the profile of a band");
    out->contrast = out->offset_nm + p->bins;
    out->contrast_se = out->contrast + p->bins;
    out->fit = out->contrast_se + p->bins;
    size_t m = 0;
    for (size_t i = 0; i < p->bins; i++) {
        if (!(p->all[i] > 0)) continue;
        const double at = p->s[i] - f->centre, base = f->b[0] + f->b[1] * at;
        double mean = 0, square = 0, n = 0;
        for (size_t k = 0; k < p->segments; k++) {
            const double w = p->weight[k * p->bins + i];
            if (w > 0) mean += p->sum[k * p->bins + i] / w, n++;
        }
        mean /= n;
        for (size_t k = 0; k < p->segments; k++) {
            const double w = p->weight[k * p->bins + i];
            if (w > 0) square += pow(p->sum[k * p->bins + i] / w - mean, 2);
        }
        out->offset_nm[m] = at;
        out->contrast[m] = (p->total[i] - base) / (1 + f->b[0]);
        out->contrast_se[m] = n > 2 ? sqrt(square / (n * (n - 1))) : NAN;
        out->fit[m] = f->amplitude * mro_sb_shape(at, f->width, f->edge) / (1 + f->b[0]);
        m++;
    }
    out->n_profile = m;
    return MRO_OK;
}

/* Intervals of width and depth, from fits that each leave one segment out. */
static enum mro_code leave_out(const struct mro_sb_strip *p, const struct mro_sb_profile_fit *f, int threads,
                               struct mro_shearband *out, struct mro_error *e)
{
    double width[MRO_SHEARBAND_SEGMENTS], depth[MRO_SHEARBAND_SEGMENTS];
    double *means = malloc(2 * p->segments * p->bins * sizeof *means);
    if (means == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the profile of a band");
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < p->segments; k++) {
        struct mro_sb_profile_fit one = *f;
        double *mean = means + 2 * k * p->bins;
        width[k] = depth[k] = NAN;
        mro_sb_strip_mean(p, k, mean, mean + p->bins);
        if (!mro_sb_profile_fit(p->s, mean, mean + p->bins, p->bins, p->bin, false, &one)) continue;
        width[k] = one.width;
        depth[k] = -one.amplitude / (1 + one.b[0]);
    }
    free(means);
    jackknife(out->width_nm, width, p->segments, out->width_ci95);
    jackknife(out->depth, depth, p->segments, out->depth_ci95);
    if (out->width_ci95[0] < 0) out->width_ci95[0] = 0;
    return MRO_OK;
}

/* Interval of the direction, from where segments have the centre line: `y` from the straight one at `x` along it. */
static void direction_of(const double *x, const double *y, size_t kept, struct mro_shearband *out)
{
    out->normal_azimuth_ci95[0] = out->normal_azimuth_ci95[1] = NAN;
    if (kept < 4) return;
    double tilt[MRO_SHEARBAND_SEGMENTS], rx[MRO_SHEARBAND_SEGMENTS] = { 0 }, ry[MRO_SHEARBAND_SEGMENTS] = { 0 };
    for (size_t k = 0; k < kept; k++) {
        size_t j = 0;
        for (size_t i = 0; i < kept; i++)
            if (i != k) rx[j] = x[i], ry[j++] = y[i];
        /* Least squares here: medians have no smooth jackknife. */
        double mx = 0, my = 0, xx = 0, xy = 0;
        for (size_t i = 0; i < j; i++) mx += rx[i] / (double)j, my += ry[i] / (double)j;
        for (size_t i = 0; i < j; i++) xx += (rx[i] - mx) * (rx[i] - mx), xy += (rx[i] - mx) * (ry[i] - my);
        tilt[k] = -atan(xy / xx) * 180 / M_PI;
    }
    jackknife(out->normal_azimuth_deg, tilt, kept, out->normal_azimuth_ci95);
}

enum mro_code mro_sb_report(const struct mro_sb_grid *g, const struct mro_shearband_options *o,
                            const struct mro_sb_strip *p, const struct mro_sb_band *b, int threads,
                            struct mro_shearband *out, struct mro_error *e)
{
    const struct mro_sb_profile_fit *f = &b->fit;
    const double c = b->cosine, n = b->sine, s0 = b->position - b->middle[0] * c - b->middle[1] * n;
    double one_depth[MRO_SHEARBAND_SEGMENTS];
    bool edge[2];
    memset(out, 0, sizeof *out);
    out->border = !mro_sb_strip_edges(p, f, edge);
    out->ends = b->ends;
    out->normal_azimuth_deg = degrees_of(b->azimuth);
    out->position_nm = b->position + f->centre;
    for (int i = 0; i < 2; i++) {
        out->line_nm[2 * i] = b->middle[0] + (s0 + f->centre) * c - b->t[i] * n;
        out->line_nm[2 * i + 1] = b->middle[1] + (s0 + f->centre) * n + b->t[i] * c;
    }
    out->length_nm = b->t[1] - b->t[0];
    out->width_nm = f->width;
    out->depth = -f->amplitude / (1 + f->b[0]);
    out->edge_nm = PEAK_1090 * f->edge;
    out->fit_edge_nm = f->edge;
    memcpy(out->path, b->path, sizeof out->path);
    out->p_value = out->p_segments = out->width_sd_nm = out->waviness_nm = out->inclination_max_deg = NAN;
    out->n_segments = p->segments;
    size_t kept = 0, widths = 0;
    double sum = 0, square = 0, mean_w = 0, square_w = 0, x[MRO_SHEARBAND_SEGMENTS], y[MRO_SHEARBAND_SEGMENTS];
    struct mro_sb_profile_fit of_segment[MRO_SHEARBAND_SEGMENTS];
    bool fitted[MRO_SHEARBAND_SEGMENTS];
    mro_sb_strip_fit_segments(p, f, threads, of_segment, fitted);
    for (size_t k = 0; k < p->segments; k++) {
        struct mro_shearband_segment *q = out->segment + k;
        const struct mro_sb_profile_fit one = of_segment[k];
        const double t = mro_sb_strip_middle(p, k, b), s = s0 + f->centre + mro_sb_path(b, t);
        q->x_nm = b->middle[0] + s * c - t * n;
        q->y_nm = b->middle[1] + s * n + t * c;
        q->along_nm = t - 0.5 * (b->t[0] + b->t[1]);
        q->depth = one_depth[k] = mro_sb_strip_depth(p, k, f);
        q->offset_nm = q->width_nm = NAN;
        if (fitted[k]) {
            q->offset_nm = one.centre - f->centre + mro_sb_path(b, t);
            q->width_nm = one.width;
            x[kept] = q->along_nm;
            y[kept++] = q->offset_nm;
            mean_w += one.width;
            square_w += one.width * one.width;
            widths++;
        }
        if (isfinite(one_depth[k])) {
            sum += one_depth[k];
            square += one_depth[k] * one_depth[k];
        }
    }
    size_t m = 0;
    for (size_t k = 0; k < p->segments; k++) m += isfinite(one_depth[k]);
    if (m >= 3) {
        const double mean = sum / (double)m, var = fmax(0, (square - sum * mean) / ((double)m - 1));
        out->p_segments = var > 0 ? gsl_cdf_tdist_Q(fabs(mean) / sqrt(var / (double)m), (double)m - 1) : 0;
    }
    if (widths >= 3) {
        out->width_sd_nm = sqrt(fmax(0, (square_w - mean_w * mean_w / (double)widths) / ((double)widths - 1)));
        double level, slope, ss = 0;
        mro_sb_median_line(x, y, kept, &level, &slope);
        for (size_t k = 0; k < kept; k++) ss += pow(y[k] - level - slope * x[k], 2);
        out->waviness_nm = sqrt(ss / fmax(1, (double)kept - 2));
        for (int k = 0; k <= 40; k++)
            out->bow_nm = fmax(out->bow_nm, fabs(mro_sb_path(b, b->t[0] + out->length_nm * k / 40.0)));
    }
    MRO_TRY(leave_out(p, f, threads, out, e));
    direction_of(x, y, kept, out);
    if (o->thickness_nm > 0) {
        /* A slab inclined by b has edges that rise over t sin b: a ramp, of standard deviation t sin b / sqrt(12). */
        out->inclination_max_deg = asin(fmin(1, sqrt(12) * f->edge / o->thickness_nm)) * 180 / M_PI;
    }
    if (out->border) {
        out->width_nm = out->width_ci95[0] = out->width_ci95[1] = out->width_sd_nm = NAN;
        const double at = edge[0] == edge[1] ? 0 : edge[0] ? -f->width / 2 : f->width / 2;
        out->position_nm += at;
        for (size_t k = 0; k < p->segments; k++) out->segment[k].width_nm = NAN;
    }
    MRO_TRY(fill_profile(p, f, out, e));
    return straighten(g, b, p->reach, &out->straight, e);
}

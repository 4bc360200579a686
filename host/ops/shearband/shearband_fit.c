/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One band: its profile along the normal, over all of it and in segments, refined until centre line and profile agree.
 */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cholesky.h"
#include "core/notes.h"
#include "ops/shearband/shearband_internal.h"

#define SEGMENT_NM 20.0
#define FEWEST_SEGMENTS 6
#define USUAL_SEGMENTS 16
#define BEYOND 1.5   /* the edge's standard deviations that have to be seen beyond an edge */
#define FULL_BIN 0.2 /* of the pixels of a usual bin that a bin needs */
#define WEAK 0.35    /* of the usual depth: below, a piece of a line is beyond a band's end */
#define CLEARLY 2.5  /* standard errors */
#define ROUNDS 6
#define TURNED 0.02                  /* degrees that do not matter any more */
#define PEAK_1090 2.5631031310892007 /* 10 to 90 % of an edge, in standard deviations */

/* ------------------------------------------------------------------ geometry */

void mro_sb_aim(struct mro_sb_band *b, double azimuth)
{
    b->azimuth = azimuth;
    b->cosine = cos(azimuth);
    b->sine = sin(azimuth);
}

static double path_at(const struct mro_sb_band *b, double t)
{
    const double u = t - 0.5 * (b->t[0] + b->t[1]);
    return b->path[0] + u * (b->path[1] + u * (b->path[2] + u * b->path[3]));
}

double mro_sb_offset(const struct mro_sb_band *b, double x, double y, double *t)
{
    *t = (y - b->middle[1]) * b->cosine - (x - b->middle[0]) * b->sine;
    return x * b->cosine + y * b->sine - b->position - path_at(b, *t);
}

double mro_sb_model(const struct mro_sb_band *b, double x, double y)
{
    double t;
    const double s = mro_sb_offset(b, x, y, &t) - b->fit.centre, far = fabs(s) - b->fit.width / 2;
    if (t < b->t[0] || t > b->t[1] || far > 5 * b->fit.edge) return 0;
    if (far < -5 * b->fit.edge) return b->fit.amplitude;
    return b->fit.amplitude * mro_sb_shape(s, b->fit.width, b->fit.edge);
}

/* Where the centre line leaves the field: t from the point of the line that is nearest to the middle. */
static bool chord(const double field[2], const struct mro_sb_band *b, double t[2])
{
    const double c = b->cosine, n = b->sine;
    const double s = b->position - b->middle[0] * c - b->middle[1] * n;
    t[0] = -INFINITY;
    t[1] = INFINITY;
    for (int axis = 0; axis < 2; axis++) {
        const double at = b->middle[axis] + s * (axis ? n : c), along = axis ? c : -n, size = field[axis ? 0 : 1];
        if (fabs(along) < 1e-12) {
            if (at < 0 || at > size) return false;
            continue;
        }
        const double one = (0 - at) / along, other = (size - at) / along;
        t[0] = fmax(t[0], fmin(one, other));
        t[1] = fmin(t[1], fmax(one, other));
    }
    return t[1] > t[0];
}

/* ------------------------------------------------------------------ segments */

/* Sums over bins of s in segments of t. */
struct strip {
    size_t bins, segments;
    double reach, bin;    /* s from -reach to reach */
    double *sum, *weight; /* segments * bins */
    double *s;            /* bins: centres */
    double *total, *all;  /* bins: mean and weight over segments */
};

static void strip_release(struct strip *p)
{
    free(p->sum);
    memset(p, 0, sizeof *p);
}

/* One row at a time would need sums in a fixed order over threads: segments are added by one thread each instead, over
 * the rows they touch. */
static void fill_segment(const struct mro_sb_grid *g, const struct mro_sb_band *b, const struct mro_sb_band *others,
                         size_t n_others, struct strip *p, size_t segment)
{
    enum { PART = 256 };
    const double c = b->cosine, n = b->sine;
    const double length = b->t[1] - b->t[0], t0 = b->t[0] + length * (double)segment / (double)p->segments,
                 t1 = b->t[0] + length * (double)(segment + 1) / (double)p->segments;
    const double step = g->step[1], middle = 0.5 * (b->t[0] + b->t[1]), reach = p->reach, per = 1 / p->bin;
    const double bins = (double)p->bins, *path = b->path;
    double *sum = p->sum + segment * p->bins, *weight = p->weight + segment * p->bins;
    memset(sum, 0, p->bins * sizeof *sum);
    memset(weight, 0, p->bins * sizeof *weight);
    /* The corners of the segment bound its rows; the path may bow by no more than the reach. */
    const double s0 = b->position - b->middle[0] * c - b->middle[1] * n;
    double top = INFINITY, bottom = -INFINITY;
    for (int k = 0; k < 4; k++) {
        const double s = s0 + (k & 1 ? 2 : -2) * p->reach, t = k & 2 ? t1 : t0, y = b->middle[1] + s * n + t * c;
        top = fmin(top, y);
        bottom = fmax(bottom, y);
    }
    const size_t y0 = (size_t)fmax(0, fmin((double)g->ny, floor(top / g->step[0]))),
                 y1 = (size_t)fmax(0, fmin((double)g->ny, ceil(bottom / g->step[0]) + 1));
    for (size_t y = y0; y < y1; y++) {
        const double py = ((double)y + 0.5) * g->step[0];
        /* x from where t and s are inside. */
        double lo = 0, hi = (double)g->nx * g->step[1];
        const double tc = (py - b->middle[1]) * c;
        if (fabs(n) > 1e-9) {
            const double a = b->middle[0] + (tc - t0) / n, z = b->middle[0] + (tc - t1) / n;
            lo = fmax(lo, fmin(a, z));
            hi = fmin(hi, fmax(a, z));
        } else if (tc < t0 || tc > t1) {
            continue;
        }
        if (fabs(c) > 1e-9) {
            const double a = (b->position - 2 * p->reach - py * n) / c, z = (b->position + 2 * p->reach - py * n) / c;
            lo = fmax(lo, fmin(a, z));
            hi = fmin(hi, fmax(a, z));
        }
        if (!(hi > lo)) continue;
        const size_t x0 = (size_t)fmax(0, floor(lo / g->step[1]) - 1),
                     x1 = (size_t)fmin((double)g->nx, ceil(hi / g->step[1]) + 1);
        const float *row = g->v + y * g->nx;
        const double here = b->middle[0] * c + py * n - b->position;
        for (size_t from = x0; from < x1; from += PART) {
            int at[PART];
            const int part = x1 - from < PART ? (int)(x1 - from) : PART;
            const float *v = row + from;
            const double first = ((double)from + 0.5) * step - b->middle[0];
#pragma omp simd
            for (int i = 0; i < part; i++) {
                const double x = first + i * step, t = tc - x * n, u = t - middle;
                const double s = x * c + here - (path[0] + u * (path[1] + u * (path[2] + u * path[3])));
                const double bin = (s + reach) * per;
                const bool in = (v[i] == v[i]) & (t >= t0) & (t < t1) & (bin >= 0) & (bin < bins);
                at[i] = in ? (int)bin : -1;
            }
            for (int i = 0; i < part; i++) {
                if (at[i] < 0) continue;
                double value = v[i];
                for (size_t k = 0; k < n_others; k++)
                    value -= mro_sb_model(&others[k], ((double)from + i + 0.5) * step, py);
                sum[at[i]] += value;
                weight[at[i]]++;
            }
        }
    }
}

/* Mean over the segments but `without` (SIZE_MAX = none): of their means, each with the pixels it has. */
static void add_up(const struct strip *p, const unsigned char *use, size_t without, double *mean, double *weight)
{
    double most = 0;
    for (size_t i = 0; i < p->bins; i++) {
        double v = 0, w = 0;
        for (size_t k = 0; k < p->segments; k++) {
            if (k == without || (use && !use[k])) continue;
            v += p->sum[k * p->bins + i];
            w += p->weight[k * p->bins + i];
        }
        mean[i] = w > 0 ? v / w : 0;
        weight[i] = w;
        most = fmax(most, w);
    }
    for (size_t i = 0; i < p->bins; i++)
        if (weight[i] < FULL_BIN * most) weight[i] = 0;
}

static enum mro_code make_strip(const struct mro_sb_grid *g, const struct mro_sb_band *b,
                                const struct mro_sb_band *others, size_t n_others, double reach, size_t segments,
                                int threads, struct strip *p, struct mro_error *e)
{
    strip_release(p);
    p->segments = segments;
    p->reach = reach;
    p->bin = fmax(fmax(g->step[0], g->step[1]), 2 * reach / (MRO_SB_BINS - 1));
    p->bins = (size_t)ceil(2 * reach / p->bin);
    p->bin = 2 * reach / (double)p->bins;
    p->sum = malloc((2 * segments + 3) * p->bins * sizeof *p->sum);
    if (p->sum == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the profile of a band");
    p->weight = p->sum + segments * p->bins;
    p->s = p->weight + segments * p->bins;
    p->total = p->s + p->bins;
    p->all = p->total + p->bins;
    for (size_t i = 0; i < p->bins; i++) p->s[i] = -reach + ((double)i + 0.5) * p->bin;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < segments; k++) fill_segment(g, b, others, n_others, p, k);
    add_up(p, NULL, SIZE_MAX, p->total, p->all);
    return MRO_OK;
}

/* Means over the bins of one segment, zeros where there is none. Number of bins that have one. */
static size_t segment_means(const struct strip *p, size_t k, double *mean)
{
    const double *weight = p->weight + k * p->bins;
    size_t filled = 0;
    for (size_t i = 0; i < p->bins; i++) {
        mean[i] = weight[i] > 0 ? p->sum[k * p->bins + i] / weight[i] : 0;
        filled += weight[i] > 0;
    }
    return filled;
}

/* Fit of one segment: centre and width near those of the whole, edges as they are. */
static bool fit_segment(const struct strip *p, size_t k, const struct mro_sb_profile_fit *whole,
                        struct mro_sb_profile_fit *f)
{
    double mean[MRO_SB_BINS], best = INFINITY;
    if (segment_means(p, k, mean) < 8) return false;
    struct mro_sb_profile_fit start = *whole;
    struct mro_sb_profile one_segment;
    mro_sb_profile_of(&one_segment, p->bins, p->s, mean, p->weight + k * p->bins);
    /* Where the shape fits best with the sign that it has in the whole. */
    for (int j = -10; j <= 10; j++) {
        struct mro_sb_profile_fit one = *whole;
        one.centre = whole->centre + 0.06 * j * fmax(whole->width, 4 * p->bin);
        if (!mro_sb_profile_linear(&one_segment, &one) || one.amplitude * whole->amplitude <= 0) continue;
        one.chi2 = mro_sb_profile_chi2(&one_segment, &one);
        if (one.chi2 < best) {
            best = one.chi2;
            start = one;
        }
    }
    *f = start;
    return isfinite(best) && mro_sb_profile_solve(&one_segment, p->bin, true, f) &&
           f->amplitude * whole->amplitude > 0 &&
           fabs(f->centre - whole->centre) < 0.75 * fmax(whole->width, 6 * p->bin) && f->width < 2.2 * whole->width &&
           f->width > 0.3 * whole->width;
}

/* All segments; `fitted[k]`: the fit of segment k holds. */
static void fit_segments(const struct strip *p, const struct mro_sb_profile_fit *whole, int threads,
                         struct mro_sb_profile_fit *f, bool *fitted)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < p->segments; k++) fitted[k] = fit_segment(p, k, whole, f + k);
}

/* Depth of a segment when its shape is that of the whole. */
static double depth_of(const struct strip *p, size_t k, const struct mro_sb_profile_fit *whole)
{
    double mean[MRO_SB_BINS];
    const double *weight = p->weight + k * p->bins;
    struct mro_sb_profile_fit f = *whole;
    struct mro_sb_profile one_segment;
    double inside = 0, beside = 0;
    (void)segment_means(p, k, mean);
    for (size_t i = 0; i < p->bins; i++)
        *(fabs(p->s[i] - whole->centre) < whole->width / 2 ? &inside : &beside) += weight[i] > 0;
    if (inside < 1 || beside < 2) return NAN;
    mro_sb_profile_of(&one_segment, p->bins, p->s, mean, weight);
    return mro_sb_profile_linear(&one_segment, &f) ? -f.amplitude / (1 + f.b[0]) : NAN;
}

static double median_of(double *v, size_t n)
{
    if (n == 0) return NAN;
    gsl_sort(v, 1, n);
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

/* Slope and level of y over x by medians of pairs (Theil and Sen). */
static void median_line(const double *x, const double *y, size_t n, double *level, double *slope)
{
    double pair[MRO_SHEARBAND_SEGMENTS * (MRO_SHEARBAND_SEGMENTS - 1) / 2 + 1] = { 0 },
                                                                            rest[MRO_SHEARBAND_SEGMENTS] = { 0 };
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) pair[m++] = (y[i] - y[j]) / (x[i] - x[j]);
    *slope = m ? median_of(pair, m) : 0;
    for (size_t i = 0; i < n; i++) rest[i] = y[i] - *slope * x[i];
    *level = median_of(rest, n);
}

static size_t segments_for(const struct mro_shearband_options *o, double length)
{
    if (o->segments) return (size_t)o->segments;
    return (size_t)fmax(FEWEST_SEGMENTS, fmin(USUAL_SEGMENTS, floor(length / SEGMENT_NM)));
}

static double middle_of(const struct strip *p, size_t k, const struct mro_sb_band *b)
{
    const double length = b->t[1] - b->t[0];
    return b->t[0] + length * ((double)k + 0.5) / (double)p->segments;
}

static double reach_for(const struct mro_sb_band *b, const struct mro_sb_grid *g)
{
    const double h = fmax(g->step[0], g->step[1]), w = b->fit.width;
    return w / 2 + fmax(fmax(w, 12 * h), 6 * b->fit.edge);
}

/* Fit to the whole from several widths. */
static bool fit_whole(const struct strip *p, int threads, struct mro_sb_profile_fit *f)
{
    static const double factor[] = { 1, 0.7, 1.4 };
    enum { STARTS = sizeof factor / sizeof *factor };
    struct mro_sb_profile_fit best = { .chi2 = INFINITY }, one[STARTS];
    bool fitted[STARTS], found = false;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < STARTS; k++) {
        one[k] = *f;
        one[k].width = fmax(2 * p->bin, f->width * factor[k]);
        one[k].edge = fmin(fmax(f->edge, p->bin), one[k].width / 3);
        fitted[k] = mro_sb_profile_fit(p->s, p->total, p->all, p->bins, p->bin, false, one + k);
    }
    for (size_t k = 0; k < STARTS; k++) {
        if (!fitted[k]) continue;
        if (one[k].chi2 < best.chi2 * (1 - 1e-9)) best = one[k];
        found = true;
    }
    if (found) *f = best;
    return found;
}

/* Are both edges inside of what was seen? */
static bool both_edges(const struct strip *p, const struct mro_sb_profile_fit *f, bool edge[2])
{
    const double beyond = fmax(BEYOND * f->edge, 2 * p->bin);
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < p->bins; i++)
        if (p->all[i] > 0) {
            lo = fmin(lo, p->s[i] - p->bin / 2);
            hi = fmax(hi, p->s[i] + p->bin / 2);
        }
    edge[0] = f->centre - f->width / 2 - beyond >= lo;
    edge[1] = f->centre + f->width / 2 + beyond <= hi;
    return edge[0] && edge[1];
}

/* ------------------------------------------------------------------ results */

/* The longest run of segments with at least WEAK of the usual depth; true when it is not all of them. */
static bool run_of_depths(const double *depth, size_t n, size_t *from, size_t *to)
{
    double sorted[MRO_SHEARBAND_SEGMENTS], best = 0, sum = 0;
    size_t m = 0, start = 0;
    for (size_t k = 0; k < n; k++)
        if (isfinite(depth[k])) sorted[m++] = depth[k];
    *from = 0;
    *to = n;
    if (m < 4) return false;
    gsl_sort(sorted, 1, m);
    /* Depth where the band is: the mean of its stronger half. */
    double usual = 0;
    const bool dark = sorted[m / 2] + sorted[0] + sorted[m - 1] > 0;
    for (size_t k = 0; k < (m + 1) / 2; k++) usual += dark ? sorted[m - 1 - k] : sorted[k];
    usual /= (double)((m + 1) / 2);
    for (size_t k = 0; k < n; k++) {
        const double gain = isfinite(depth[k]) ? depth[k] / usual - WEAK : -WEAK;
        if (sum <= 0) {
            sum = 0;
            start = k;
        }
        sum += gain;
        if (sum > best) {
            best = sum;
            *from = start;
            *to = k + 1;
        }
    }
    if (*to - *from == n || *to - *from < 3) return false;
    /* What is left out has to be clearly weaker than what stays, not weak by chance. */
    double mean[2] = { 0, 0 }, count[2] = { 0, 0 }, square = 0;
    for (size_t k = 0; k < n; k++) {
        const bool kept = k >= *from && k < *to;
        if (!isfinite(depth[k])) continue;
        mean[kept] += depth[k] / usual;
        count[kept]++;
    }
    if (!(count[0] > 0)) return true;
    for (int k = 0; k < 2; k++) mean[k] /= count[k];
    for (size_t k = *from; k < *to; k++)
        if (isfinite(depth[k])) square += pow(depth[k] / usual - mean[1], 2);
    return mean[0] + CLEARLY * sqrt(square / (count[1] - 1) / count[0]) < 0.5;
}

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
            const double s = ((double)j + 0.5 - 0.5 * (double)columns) * step + path_at(b, t) + b->position -
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

static enum mro_code fill_profile(const struct strip *p, const struct mro_sb_profile_fit *f, struct mro_shearband *out,
                                  struct mro_error *e)
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

/* Everything that is said of a band, from its last strip. */
static enum mro_code report(const struct mro_sb_grid *g, const struct mro_shearband_options *o, const struct strip *p,
                            const struct mro_sb_band *b, int threads, struct mro_shearband *out, struct mro_error *e)
{
    const struct mro_sb_profile_fit *f = &b->fit;
    const double c = b->cosine, n = b->sine, s0 = b->position - b->middle[0] * c - b->middle[1] * n;
    double width[MRO_SHEARBAND_SEGMENTS], depth[MRO_SHEARBAND_SEGMENTS], tilt[MRO_SHEARBAND_SEGMENTS],
        one_depth[MRO_SHEARBAND_SEGMENTS];
    bool edge[2];
    memset(out, 0, sizeof *out);
    out->border = !both_edges(p, f, edge);
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
    fit_segments(p, f, threads, of_segment, fitted);
    for (size_t k = 0; k < p->segments; k++) {
        struct mro_shearband_segment *q = out->segment + k;
        const struct mro_sb_profile_fit one = of_segment[k];
        const double t = middle_of(p, k, b), s = s0 + f->centre + path_at(b, t);
        q->x_nm = b->middle[0] + s * c - t * n;
        q->y_nm = b->middle[1] + s * n + t * c;
        q->along_nm = t - 0.5 * (b->t[0] + b->t[1]);
        q->depth = one_depth[k] = depth_of(p, k, f);
        q->offset_nm = q->width_nm = NAN;
        if (fitted[k]) {
            q->offset_nm = one.centre - f->centre + path_at(b, t);
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
        median_line(x, y, kept, &level, &slope);
        for (size_t k = 0; k < kept; k++) ss += pow(y[k] - level - slope * x[k], 2);
        out->waviness_nm = sqrt(ss / fmax(1, (double)kept - 2));
        for (int k = 0; k <= 40; k++)
            out->bow_nm = fmax(out->bow_nm, fabs(path_at(b, b->t[0] + out->length_nm * k / 40.0)));
    }
    /* Each segment left out in turn. */
    double *means = malloc(2 * p->segments * p->bins * sizeof *means);
    if (means == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the profile of a band");
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < p->segments; k++) {
        struct mro_sb_profile_fit one = *f;
        double *mean = means + 2 * k * p->bins;
        width[k] = depth[k] = NAN;
        add_up(p, NULL, k, mean, mean + p->bins);
        if (!mro_sb_profile_fit(p->s, mean, mean + p->bins, p->bins, p->bin, false, &one)) continue;
        width[k] = one.width;
        depth[k] = -one.amplitude / (1 + one.b[0]);
    }
    free(means);
    jackknife(out->width_nm, width, p->segments, out->width_ci95);
    jackknife(out->depth, depth, p->segments, out->depth_ci95);
    if (out->width_ci95[0] < 0) out->width_ci95[0] = 0;
    out->normal_azimuth_ci95[0] = out->normal_azimuth_ci95[1] = NAN;
    if (kept >= 4) {
        double level, slope, rx[MRO_SHEARBAND_SEGMENTS] = { 0 }, ry[MRO_SHEARBAND_SEGMENTS] = { 0 };
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
        median_line(x, y, kept, &level, &slope);
        jackknife(out->normal_azimuth_deg, tilt, kept, out->normal_azimuth_ci95);
    }
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

/* ------------------------------------------------------------------ refinement */

/* Curvature of the centre line, where it is more than the scatter of the segments: a parabola or a cubic. */
static void bend(struct mro_sb_band *b, const double *x, const double *y, size_t n)
{
    double best = INFINITY, length = b->t[1] - b->t[0];
    double kept[4] = { 0, 0, 0, 0 };
    if (n < 6) return;
    for (size_t degree = 1; degree <= 3; degree++) {
        double a[4][4] = { { 0 } }, c[4] = { 0 }, ss = 0;
        for (size_t i = 0; i < n; i++) {
            double t[4] = { 1, 0, 0, 0 };
            for (size_t k = 1; k <= degree; k++) t[k] = t[k - 1] * x[i] / length;
            for (size_t k = 0; k <= degree; k++) {
                for (size_t j = 0; j <= k; j++) a[k][j] += t[k] * t[j];
                c[k] += t[k] * y[i];
            }
        }
        if (!mro_cholesky_solve(a[0], degree + 1, 4, c, 0)) return;
        for (size_t i = 0; i < n; i++) {
            double v = 0, t = 1;
            for (size_t k = 0; k <= degree; k++, t *= x[i] / length) v += c[k] * t;
            ss += (y[i] - v) * (y[i] - v);
        }
        const double m = (double)n, parameters = (double)degree + 2;
        if (m <= parameters + 1) break;
        const double aicc =
            m * log(ss / m + 1e-12) + 2 * parameters + 2 * parameters * (parameters + 1) / (m - parameters - 1);
        /* A curve has to earn its parameter clearly. */
        if (degree == 1 || aicc < best - 6) {
            best = aicc;
            memset(kept, 0, sizeof kept);
            for (size_t k = 2; k <= degree; k++) kept[k] = c[k] / pow(length, (double)k);
        }
    }
    /* The mean of the curve goes into the position. */
    b->path[2] = kept[2];
    b->path[3] = kept[3];
    b->path[1] = -kept[3] * length * length * 3 / 20; /* no tilt left in the cubic: its best line over the length */
    b->path[0] = -kept[2] * length * length / 12;
}

/* The centre that was fitted becomes the position. */
static void take_centre(struct mro_sb_band *b)
{
    b->position += b->fit.centre;
    b->fit.centre = 0;
}

/* The same line with its normal in [0, pi): both directions along and across turn round. */
static void upright(struct mro_sb_band *b)
{
    if (b->azimuth >= 0 && b->azimuth < M_PI) return;
    mro_sb_aim(b, b->azimuth + (b->azimuth < 0 ? M_PI : -M_PI));
    b->position = -b->position;
    b->fit.centre = -b->fit.centre;
    b->path[0] = -b->path[0];
    b->path[2] = -b->path[2];
    for (int k = 0; k < 2; k++) {
        double *v = k ? b->limit : b->t;
        const double was = v[0];
        v[0] = -v[1];
        v[1] = -was;
    }
}

static bool span(const double field[2], struct mro_sb_band *b, double least)
{
    double t[2];
    if (!chord(field, b, t)) return false;
    b->t[0] = fmax(t[0], b->limit[0]);
    b->t[1] = fmin(t[1], b->limit[1]);
    return b->t[1] - b->t[0] > least;
}

/* Moves the line to where the segments have it; its new bend. Returns the turn in degrees, NaN with too few segments.
 */
static double follow(const struct strip *p, bool bent, int threads, struct mro_sb_band *b)
{
    double x[MRO_SHEARBAND_SEGMENTS], y[MRO_SHEARBAND_SEGMENTS], level, slope;
    const double mid = 0.5 * (b->t[0] + b->t[1]);
    struct mro_sb_profile_fit one[MRO_SHEARBAND_SEGMENTS];
    bool fitted[MRO_SHEARBAND_SEGMENTS];
    size_t n = 0;
    fit_segments(p, &b->fit, threads, one, fitted);
    for (size_t k = 0; k < p->segments; k++) {
        if (!fitted[k]) continue;
        const double at = middle_of(p, k, b);
        x[n] = at - mid;
        y[n++] = one[k].centre + path_at(b, at);
    }
    if (n < 3) {
        take_centre(b);
        return NAN;
    }
    median_line(x, y, n, &level, &slope);
    /* s grows along (cos a, sin a), t along (-sin a, cos a): on a line s = level + slope t the normal is turned back.
     */
    const double turned = -atan(slope), c = b->cosine, m = b->sine,
                 s0 = b->position - b->middle[0] * c - b->middle[1] * m, px = b->middle[0] + (s0 + level) * c - mid * m,
                 py = b->middle[1] + (s0 + level) * m + mid * c;
    mro_sb_aim(b, b->azimuth + turned);
    b->position = px * b->cosine + py * b->sine;
    b->fit.centre = 0;
    memset(b->path, 0, sizeof b->path);
    for (size_t k = 0; k < n; k++) y[k] -= level + slope * x[k];
    if (bent) bend(b, x, y, n);
    upright(b);
    return turned * 180 / M_PI;
}

/* Limits a band that ends inside the field, or leaves another one. */
static void trim(const struct strip *p, struct mro_sb_band *b)
{
    double depth[MRO_SHEARBAND_SEGMENTS];
    size_t from, to;
    for (size_t k = 0; k < p->segments; k++) depth[k] = depth_of(p, k, &b->fit);
    if (!run_of_depths(depth, p->segments, &from, &to)) return;
    const double piece = (b->t[1] - b->t[0]) / (double)p->segments, t0 = b->t[0];
    /* One weak segment at a border is chance. */
    if (from >= 2) b->limit[0] = t0 + piece * (double)from;
    if (to + 2 <= p->segments) b->limit[1] = t0 + piece * (double)to;
    b->ends = from >= 2 || to + 2 <= p->segments;
}

enum mro_code mro_sb_refine(const struct mro_sb_grid *fine, const struct mro_shearband_options *o,
                            const struct mro_sb_band *others, size_t n_others, int threads, struct mro_sb_band *b,
                            struct mro_shearband *out, bool *found, struct mro_error *e)
{
    const double field[2] = { (double)fine->ny * fine->step[0], (double)fine->nx * fine->step[1] };
    const double h = fmax(fine->step[0], fine->step[1]);
    struct strip p = { 0 };
    enum mro_code rc = MRO_OK;
    bool trimmed = b->ends || o->has_line, edge[2];
    *found = false;
    if (!(b->fit.edge > 0)) b->fit.edge = fmax(h, b->fit.width / 8);
    for (int round = 0; round < ROUNDS; round++) {
        upright(b);
        if (!span(field, b, 8 * h)) goto done;
        if ((rc = make_strip(fine, b, others, n_others, reach_for(b, fine), segments_for(o, b->t[1] - b->t[0]), threads,
                             &p, e)))
            goto done;
        const double before = b->fit.width;
        if (!fit_whole(&p, threads, &b->fit)) goto done;
        /* A fit of another width sees other surroundings. */
        if (fabs(b->fit.width / before - 1) > 0.2 && round + 1 < ROUNDS) {
            take_centre(b);
            continue;
        }
        if (round >= 1 && !trimmed) {
            trim(&p, b);
            trimmed = true;
            if (b->ends) {
                take_centre(b);
                continue;
            }
        }
        const double turned = follow(&p, round >= 1, threads, b);
        if (!(fabs(turned) > TURNED) && round >= 2) break;
    }
    if (!span(field, b, 8 * h)) goto done;
    if ((rc = make_strip(fine, b, others, n_others, reach_for(b, fine), segments_for(o, b->t[1] - b->t[0]), threads, &p,
                         e)))
        goto done;
    if (!fit_whole(&p, threads, &b->fit)) goto done;
    b->border = !both_edges(&p, &b->fit, edge);
    *found = true;
    if (out) rc = report(fine, o, &p, b, threads, out, e);
    take_centre(b);
done:
    strip_release(&p);
    return rc;
}

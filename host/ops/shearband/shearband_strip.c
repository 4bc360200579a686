/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A band seen along its normal: pixels added up in bins of the distance from its centre line, segment by segment, and
 * profiles fitted to that. */
#include "ops/shearband/shearband_strip.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BEYOND 1.5   /* the edge's standard deviations that have to be seen beyond an edge */
#define FULL_BIN 0.2 /* of the pixels of a usual bin that a bin needs */

/* ------------------------------------------------------------------ the line */

void mro_sb_aim(struct mro_sb_band *b, double azimuth)
{
    b->azimuth = azimuth;
    b->cosine = cos(azimuth);
    b->sine = sin(azimuth);
}

double mro_sb_path(const struct mro_sb_band *b, double t)
{
    const double u = t - 0.5 * (b->t[0] + b->t[1]);
    return b->path[0] + u * (b->path[1] + u * (b->path[2] + u * b->path[3]));
}

double mro_sb_offset(const struct mro_sb_band *b, double x, double y, double *t)
{
    *t = (y - b->middle[1]) * b->cosine - (x - b->middle[0]) * b->sine;
    return x * b->cosine + y * b->sine - b->position - mro_sb_path(b, *t);
}

double mro_sb_model(const struct mro_sb_band *b, double x, double y)
{
    double t;
    const double s = mro_sb_offset(b, x, y, &t) - b->fit.centre, far = fabs(s) - b->fit.width / 2;
    if (t < b->t[0] || t > b->t[1] || far > 5 * b->fit.edge) return 0;
    if (far < -5 * b->fit.edge) return b->fit.amplitude;
    return b->fit.amplitude * mro_sb_shape(s, b->fit.width, b->fit.edge);
}

/* ------------------------------------------------------------------ sums */

void mro_sb_strip_release(struct mro_sb_strip *p)
{
    free(p->sum);
    memset(p, 0, sizeof *p);
}

/* One row at a time would need sums in a fixed order over threads: segments are added by one thread each instead, over
 * the rows they touch. */
static void fill_segment(const struct mro_sb_grid *g, const struct mro_sb_band *b, const struct mro_sb_band *others,
                         size_t n_others, struct mro_sb_strip *p, size_t segment)
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

void mro_sb_strip_mean(const struct mro_sb_strip *p, size_t without, double *mean, double *weight)
{
    double most = 0;
    for (size_t i = 0; i < p->bins; i++) {
        double v = 0, w = 0;
        for (size_t k = 0; k < p->segments; k++) {
            if (k == without) continue;
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

enum mro_code mro_sb_strip_make(const struct mro_sb_grid *g, const struct mro_sb_band *b,
                                const struct mro_sb_band *others, size_t n_others, double reach, size_t segments,
                                int threads, struct mro_sb_strip *p, struct mro_error *e)
{
    mro_sb_strip_release(p);
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
    mro_sb_strip_mean(p, SIZE_MAX, p->total, p->all);
    return MRO_OK;
}

/* ------------------------------------------------------------------ fits */

/* Means over the bins of one segment, zeros where there is none. Number of bins that have one. */
static size_t segment_means(const struct mro_sb_strip *p, size_t k, double *mean)
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
static bool fit_segment(const struct mro_sb_strip *p, size_t k, const struct mro_sb_profile_fit *whole,
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

void mro_sb_strip_fit_segments(const struct mro_sb_strip *p, const struct mro_sb_profile_fit *whole, int threads,
                               struct mro_sb_profile_fit *f, bool *fitted)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < p->segments; k++) fitted[k] = fit_segment(p, k, whole, f + k);
}

double mro_sb_strip_depth(const struct mro_sb_strip *p, size_t k, const struct mro_sb_profile_fit *whole)
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

bool mro_sb_strip_fit(const struct mro_sb_strip *p, int threads, struct mro_sb_profile_fit *f)
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

bool mro_sb_strip_edges(const struct mro_sb_strip *p, const struct mro_sb_profile_fit *f, bool edge[2])
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

double mro_sb_strip_middle(const struct mro_sb_strip *p, size_t k, const struct mro_sb_band *b)
{
    const double length = b->t[1] - b->t[0];
    return b->t[0] + length * ((double)k + 0.5) / (double)p->segments;
}

static double median_of(double *v, size_t n)
{
    if (n == 0) return NAN;
    gsl_sort(v, 1, n);
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

void mro_sb_median_line(const double *x, const double *y, size_t n, double *level, double *slope)
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

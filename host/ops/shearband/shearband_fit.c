/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One band, refined until its centre line and its profile along the normal agree. */
#include <gsl/gsl_sort.h>
#include <math.h>
#include <string.h>

#include "core/cholesky.h"
#include "ops/shearband/shearband_strip.h"

#define SEGMENT_NM 20.0
#define FEWEST_SEGMENTS 6
#define USUAL_SEGMENTS 16
#define WEAK 0.35   /* of the usual depth: below, a piece of a line is beyond a band's end */
#define CLEARLY 2.5 /* standard errors */
#define ROUNDS 6
#define TURNED 0.02 /* degrees that do not matter any more */

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

static size_t segments_for(const struct mro_shearband_options *o, double length)
{
    if (o->segments) return (size_t)o->segments;
    return (size_t)fmax(FEWEST_SEGMENTS, fmin(USUAL_SEGMENTS, floor(length / SEGMENT_NM)));
}

static double reach_for(const struct mro_sb_band *b, const struct mro_sb_grid *g)
{
    const double h = fmax(g->step[0], g->step[1]), w = b->fit.width;
    return w / 2 + fmax(fmax(w, 12 * h), 6 * b->fit.edge);
}

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
static double follow(const struct mro_sb_strip *p, bool bent, int threads, struct mro_sb_band *b)
{
    double x[MRO_SHEARBAND_SEGMENTS], y[MRO_SHEARBAND_SEGMENTS], level, slope;
    const double mid = 0.5 * (b->t[0] + b->t[1]);
    struct mro_sb_profile_fit one[MRO_SHEARBAND_SEGMENTS];
    bool fitted[MRO_SHEARBAND_SEGMENTS];
    size_t n = 0;
    mro_sb_strip_fit_segments(p, &b->fit, threads, one, fitted);
    for (size_t k = 0; k < p->segments; k++) {
        if (!fitted[k]) continue;
        const double at = mro_sb_strip_middle(p, k, b);
        x[n] = at - mid;
        y[n++] = one[k].centre + mro_sb_path(b, at);
    }
    if (n < 3) {
        take_centre(b);
        return NAN;
    }
    mro_sb_median_line(x, y, n, &level, &slope);
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
static void trim(const struct mro_sb_strip *p, struct mro_sb_band *b)
{
    double depth[MRO_SHEARBAND_SEGMENTS];
    size_t from, to;
    for (size_t k = 0; k < p->segments; k++) depth[k] = mro_sb_strip_depth(p, k, &b->fit);
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
    struct mro_sb_strip p = { 0 };
    enum mro_code rc = MRO_OK;
    bool trimmed = b->ends || o->has_line, edge[2];
    *found = false;
    if (!(b->fit.edge > 0)) b->fit.edge = fmax(h, b->fit.width / 8);
    for (int round = 0; round < ROUNDS; round++) {
        upright(b);
        if (!span(field, b, 8 * h)) goto done;
        if ((rc = mro_sb_strip_make(fine, b, others, n_others, reach_for(b, fine), segments_for(o, b->t[1] - b->t[0]),
                                    threads, &p, e)))
            goto done;
        const double before = b->fit.width;
        if (!mro_sb_strip_fit(&p, threads, &b->fit)) goto done;
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
    if ((rc = mro_sb_strip_make(fine, b, others, n_others, reach_for(b, fine), segments_for(o, b->t[1] - b->t[0]),
                                threads, &p, e)))
        goto done;
    if (!mro_sb_strip_fit(&p, threads, &b->fit)) goto done;
    b->border = !mro_sb_strip_edges(&p, &b->fit, edge);
    *found = true;
    if (out) rc = mro_sb_report(fine, o, &p, b, threads, out, e);
    take_centre(b);
done:
    mro_sb_strip_release(&p);
    return rc;
}

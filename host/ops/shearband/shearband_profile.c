/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The profile of a band: a slab with two soft edges of error functions on a sloping background, fitted to bins. */
#include <math.h>
#include <string.h>

#include "core/cholesky.h"
#include "mroscope/math/elementary.h"
#include "ops/shearband/shearband_internal.h"

#define LEAST_EDGE 0.35 /* bins: sharper edges cannot be told */

static inline double shape_at(double s, double width, double edge)
{
    const double k = 1 / (M_SQRT2 * edge);
    return 0.5 * (mro_erf64((s + width / 2) * k) - mro_erf64((s - width / 2) * k));
}

double mro_sb_shape(double s, double width, double edge) { return shape_at(s, width, edge); }

void mro_sb_profile_of(struct mro_sb_profile *p, size_t n, const double *s, const double *v, const double *weight)
{
    p->n = n;
    p->s = s;
    p->v = v;
    p->weight = weight;
    for (size_t k = 0; k < MRO_SB_PARAMETERS; k++) p->slope[k] = p->room + k * n;
    p->shape = p->slope[2];
    p->rest = p->room + MRO_SB_PARAMETERS * n;
    p->weighted = p->rest + n;
    for (size_t i = 0; i < n; i++) p->slope[0][i] = 1;
}

static void fill_shape(struct mro_sb_profile *p, const struct mro_sb_profile_fit *f)
{
    const double centre = f->centre, width = f->width, edge = f->edge, *s = p->s;
    double *shape = p->shape;
    const int n = (int)p->n;
#pragma omp simd
    for (int i = 0; i < n; i++) shape[i] = shape_at(s[i] - centre, width, edge);
}

/* Exponential of what is not above 0. */
static inline double falling(double x) { return mro_exp64(x > -700 ? x : -700); }

/* Of the model whose shape was filled last. */
static void fill_slopes(struct mro_sb_profile *p, const struct mro_sb_profile_fit *f)
{
    const double centre = f->centre, half = f->width / 2, per = 1 / f->edge, k = 0.3989422804014327 / f->edge;
    const double amplitude = f->amplitude, level = f->b[0], tilt = f->b[1], *s = p->s, *v = p->v, *shape = p->shape;
    double *along = p->slope[1], *by_centre = p->slope[3], *by_width = p->slope[4], *by_edge = p->slope[5];
    double *rest = p->rest;
    const int n = (int)p->n;
#pragma omp simd
    for (int i = 0; i < n; i++) {
        const double at = s[i] - centre, u1 = (at + half) * per, u2 = (at - half) * per;
        const double g1 = k * falling(-0.5 * u1 * u1), g2 = k * falling(-0.5 * u2 * u2);
        along[i] = at;
        by_centre[i] = amplitude * (g2 - g1) - tilt;
        by_width[i] = amplitude * 0.5 * (g1 + g2);
        by_edge[i] = amplitude * (u2 * g2 - u1 * g1);
        rest[i] = v[i] - level - tilt * at - amplitude * shape[i];
    }
}

double mro_sb_profile_chi2(const struct mro_sb_profile *p, const struct mro_sb_profile_fit *f)
{
    const double centre = f->centre, level = f->b[0], tilt = f->b[1], amplitude = f->amplitude;
    const double *s = p->s, *v = p->v, *weight = p->weight, *shape = p->shape;
    const int n = (int)p->n;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        const double r = v[i] - level - tilt * (s[i] - centre) - amplitude * shape[i];
        sum += weight[i] * r * r;
    }
    return sum;
}

bool mro_sb_profile_linear(struct mro_sb_profile *p, struct mro_sb_profile_fit *f)
{
    const double centre = f->centre, *s = p->s, *v = p->v, *weight = p->weight, *shape = p->shape;
    const int n = (int)p->n;
    double one = 0, x = 0, xx = 0, y = 0, xy = 0, yy = 0, of_v = 0, xv = 0, yv = 0;
    fill_shape(p, f);
#pragma omp simd reduction(+ : one, x, xx, y, xy, yy, of_v, xv, yv)
    for (int i = 0; i < n; i++) {
        const double at = s[i] - centre, w = weight[i], wx = w * at, wy = w * shape[i];
        one += w;
        x += wx;
        xx += wx * at;
        y += wy;
        xy += wx * shape[i];
        yy += wy * shape[i];
        of_v += w * v[i];
        xv += wx * v[i];
        yv += wy * v[i];
    }
    double a[3][3] = { { one }, { x, xx }, { y, xy, yy } }, b[3] = { of_v, xv, yv };
    if (!mro_cholesky_solve(a[0], 3, 3, b, 0)) return false;
    f->b[0] = b[0];
    f->b[1] = b[1];
    f->amplitude = b[2];
    return true;
}

/* Equations of a step of the first m parameters. */
static void normal_equations(struct mro_sb_profile *p, const struct mro_sb_profile_fit *f, size_t m,
                             double a[MRO_SB_PARAMETERS][MRO_SB_PARAMETERS], double *g)
{
    fill_slopes(p, f);
    for (size_t k = 0; k < m; k++) {
        const double *weight = p->weight, *d = p->slope[k], *rest = p->rest;
        double *weighted = p->weighted, sum = 0;
        const int n = (int)p->n;
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < n; i++) {
            weighted[i] = weight[i] * d[i];
            sum += weighted[i] * rest[i];
        }
        g[k] = sum;
        for (size_t l = 0; l <= k; l++) {
            const double *other = p->slope[l];
            double product = 0;
#pragma omp simd reduction(+ : product)
            for (int i = 0; i < n; i++) product += weighted[i] * other[i];
            a[k][l] = product;
        }
    }
}

/* Levenberg and Marquardt. */
bool mro_sb_profile_solve(struct mro_sb_profile *p, double bin, bool hold_edge, struct mro_sb_profile_fit *f)
{
    struct mro_sb_profile_fit now = *f;
    const size_t m = hold_edge ? 5 : 6;
    double damping = 1e-3, lo = INFINITY, hi = -INFINITY;
    now.edge = fmax(now.edge, LEAST_EDGE * bin);
    if (!mro_sb_profile_linear(p, &now)) return false;
    now.chi2 = mro_sb_profile_chi2(p, &now);
    now.weight = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (!(p->weight[i] > 0)) continue;
        now.weight += p->weight[i];
        lo = fmin(lo, p->s[i]);
        hi = fmax(hi, p->s[i]);
    }
    for (int round = 0; round < 60; round++) {
        double a[MRO_SB_PARAMETERS][MRO_SB_PARAMETERS] = { { 0 } }, g[MRO_SB_PARAMETERS] = { 0 };
        normal_equations(p, &now, m, a, g);
        bool better = false;
        struct mro_sb_profile_fit next = now;
        for (int attempt = 0; attempt < 12 && !better; attempt++) {
            double b[MRO_SB_PARAMETERS][MRO_SB_PARAMETERS], step[MRO_SB_PARAMETERS];
            memcpy(b, a, sizeof b);
            memcpy(step, g, sizeof step);
            for (size_t k = 0; k < m; k++) b[k][k] *= 1 + damping;
            if (mro_cholesky_solve(b[0], m, MRO_SB_PARAMETERS, step, 0)) {
                next.b[0] = now.b[0] + step[0];
                next.b[1] = now.b[1] + step[1];
                next.amplitude = now.amplitude + step[2];
                next.centre = now.centre + step[3];
                next.width = fmax(bin, now.width + step[4]);
                if (!hold_edge) next.edge = now.edge + step[5];
                next.edge = fmax(LEAST_EDGE * bin, fmin(next.edge, next.width / 2));
                fill_shape(p, &next);
                next.chi2 = mro_sb_profile_chi2(p, &next);
                better = next.chi2 <= now.chi2;
            }
            damping = better ? fmax(1e-9, damping / 8) : damping * 6;
        }
        if (!better) break;
        const double gain = now.chi2 - next.chi2, move = fabs(next.centre - now.centre) + fabs(next.width - now.width);
        now = next;
        if (gain <= 1e-7 * now.chi2 && move <= 1e-5 * bin) break;
        if (now.width > 3 * (hi - lo) || fabs(now.centre) > 2 * (hi - lo)) break;
    }
    *f = now;
    return now.centre > lo && now.centre < hi && now.width < 1.5 * (hi - lo) && isfinite(now.chi2);
}

bool mro_sb_profile_fit(const double *s, const double *v, const double *weight, size_t n, double bin, bool hold_edge,
                        struct mro_sb_profile_fit *f)
{
    struct mro_sb_profile p;
    mro_sb_profile_of(&p, n, s, v, weight);
    return mro_sb_profile_solve(&p, bin, hold_edge, f);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Straight edges across the field: a step of thickness, a crack, a band of shear. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "ops/haadf/haadf_internal.h"

#define LONGEST 0.5      /* of the lower limit of the band: where looking begins */
#define SHORTEST_NM 4.0  /* and the shortest wave looked at: an edge is no longer sharp there, */
#define FEWEST_RADII 6.0 /* or as many waves of the field as need be */
#define ANGLES 360
#define NEAR 0.75    /* modes from the line across the edge, in steps of the longer side's */
#define LEFT_OUT 2.5 /* likewise, that are left out */
#define HIGH 3.0     /* times the mean power of the ring: 5 % of the modes of a random field are higher */
#define SURE 7.0     /* standard deviations of their number on one line */
#define BESIDE 1.5   /* modes from the line, to LEFT_OUT and one more, where an edge has nothing: texture has, */
#define OF_LINE 0.4  /* at least this much of what the line has */

struct mode {
    double qy, qx;
    float lines, power;
    size_t ring;
};

/* Which of n modes are high against the median of their ring, which an edge does not move. False when out of memory. */
static bool find_high(const struct mode *m, size_t n, size_t rings, double *is_high)
{
    float *power = malloc((n + 1) * sizeof *power);
    size_t *end = calloc(rings + 1, sizeof *end); /* of each ring in `power`, whose median comes to stand first */
    const bool ready = power && end;
    for (size_t i = 0; i < n && ready; i++) end[m[i].ring + 1]++;
    for (size_t k = 0; k < rings && ready; k++) end[k + 1] += end[k];
    for (size_t i = 0; i < n && ready; i++) power[end[m[i].ring]++] = m[i].power;
    for (size_t k = 0, from = 0; k < rings && ready; from = end[k++])
        if (end[k] > from) power[from] = mro_select(power + from, end[k] - from, (end[k] - from) / 2) / 0.6931472f;
    for (size_t i = 0; i < n && ready; i++) {
        const float mean = power[m[i].ring ? end[m[i].ring - 1] : 0];
        is_high[i] = m[i].power > (float)HIGH * (mean + m[i].lines);
    }
    free(power);
    free(end);
    return ready;
}

/* How many modes of a line along (uy, ux) stand out, in standard deviations of what chance gives; 0 where as many do
 * beside it. */
static double line_excess(const double *qy, const double *qx, const double *is_high, size_t n, double uy, double ux,
                          double unit)
{
    const double chance = exp(-HIGH);
    double high = 0, count = 0, high_beside = 0, beside = 0;
#pragma omp simd reduction(+ : high, count, high_beside, beside)
    for (size_t i = 0; i < n; i++) {
        const double away = fabs(qy[i] * ux - qx[i] * uy);
        const bool next = away > BESIDE * unit && away < (LEFT_OUT + 1) * unit, near = away < NEAR * unit;
        high_beside += next ? is_high[i] : 0;
        beside += next;
        high += near ? is_high[i] : 0;
        count += near;
    }
    /* Of both shares what chance gives is taken off. */
    const bool alone = !(beside > 0) || high_beside / beside - chance < OF_LINE * (high / count - chance);
    return alone && count > 0 ? (high - chance * count) / sqrt(chance * (1 - chance) * count) : 0;
}

enum mro_code mro_haadf_find_edge(struct mro_haadf_state *s, const double band[2], int threads, struct mro_error *e)
{
    const struct mro_grid *g = &s->grid;
    const double unit = 1 / fmax(g->ly, g->lx), lo = LONGEST * band[0];
    const double hi = fmin(fmax(1 / SHORTEST_NM, lo + FEWEST_RADII * unit), band[1]);
    const ptrdiff_t hy = (ptrdiff_t)fmin((double)((g->ny - 1) / 2), hi * g->ly),
                    hx = (ptrdiff_t)fmin((double)((g->nx - 1) / 2), hi * g->lx);
    size_t n = 0;
    s->edge_reach = 0;
    const size_t room = (size_t)(hy + 1) * (size_t)(2 * hx + 1);
    struct mode *m = malloc(room * sizeof *m);
    double *qy = malloc(3 * room * sizeof *qy);
    if (m == NULL || qy == NULL) {
        free(m);
        free(qy);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the modes of %zu x %zu", g->nx, g->ny);
    }
    double *qx = qy + room, *is_high = qx + room; /* of the modes, as vectors need them */
    for (ptrdiff_t ky = 0; ky <= hy; ky++)
        for (ptrdiff_t kx = ky ? -hx : 1; kx <= hx; kx++) {
            const double y = (double)ky / g->ly, x = (double)kx / g->lx, q = sqrt(y * y + x * x);
            if (q < lo || q > hi) continue;
            const mro_c32 z = s->spectrum[(size_t)ky * g->nx + (size_t)(kx < 0 ? kx + (ptrdiff_t)g->nx : kx)];
            /* Scan lines are as strong at every frequency: what an edge along them has is more. */
            double lines = 0;
            for (int a = 0; a < 2; a++)
                if (labs((long)(a ? ky : kx)) < s->lines[a]) lines += s->line_power[a];
            m[n++] = (struct mode){ y, x, (float)lines, z.re * z.re + z.im * z.im, (size_t)((q - lo) / unit) };
        }
    if (!find_high(m, n, (size_t)((hi - lo) / unit) + 1, is_high)) {
        free(m);
        free(qy);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the modes of %zu x %zu", g->nx, g->ny);
    }
    for (size_t i = 0; i < n; i++) {
        qy[i] = m[i].qy;
        qx[i] = m[i].qx;
    }
    /* Of a part of the field neighbouring modes are alike, and their number scatters more. */
    const double sure = SURE / sqrt(mro_haadf_share(s));
    double z[ANGLES], most = 0;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int a = 0; a < ANGLES; a++)
        z[a] = line_excess(qy, qx, is_high, n, sin(M_PI * a / ANGLES), cos(M_PI * a / ANGLES), unit);
    for (int a = 0; a < ANGLES; a++)
        if (z[a] > fmax(most, sure)) {
            most = z[a];
            s->edge[0] = sin(M_PI * a / ANGLES);
            s->edge[1] = cos(M_PI * a / ANGLES);
            s->edge_reach = LEFT_OUT * unit;
        }
    free(m);
    free(qy);
    return MRO_OK;
}

/* ------------------------------------------------------------------ taking it out */

#define PROFILE_NM 0.2 /* bins of the profile across the edge, at least a pixel */
#define COARSE_NM 0.5  /* the same for the first search of the angle */
#define SEARCH 1.0     /* degrees to both sides */
#define STEPS 25
#define PLACES 5e5   /* pixels that are looked at, at most */
#define STEADY 200.0 /* pixels that stand for an even background in every bin */

struct profile {
    double uy, ux, from, width; /* bin of a place: ((y uy + x ux) - from) / width, in nm */
    size_t n;
    double *sum, *count;
};

static bool profile_make(struct profile *p, const struct mro_haadf_state *s, double uy, double ux, double width)
{
    const double ly = (double)s->ny * s->pixel_nm[0], lx = (double)s->nx * s->pixel_nm[1];
    *p = (struct profile){ .uy = uy, .ux = ux, .width = width };
    p->from = fmin(0, uy * ly) + fmin(0, ux * lx) - width;
    p->n = (size_t)((fabs(uy) * ly + fabs(ux) * lx) / width) + 4;
    p->sum = calloc(2 * p->n, sizeof *p->sum);
    p->count = p->sum ? p->sum + p->n : NULL;
    return p->sum != NULL;
}

/* Sums one pixel in step x step. */
static void profile_fill(struct profile *p, const float *px, const struct mro_haadf_state *s, size_t step)
{
    memset(p->sum, 0, 2 * p->n * sizeof *p->sum);
    for (size_t y = 0; y < s->ny; y += step) {
        double at = (((double)y + 0.5) * s->pixel_nm[0] * p->uy + 0.5 * s->pixel_nm[1] * p->ux - p->from) / p->width;
        const double next = (double)step * s->pixel_nm[1] * p->ux / p->width;
        for (size_t x = 0; x < s->nx; x += step, at += next) {
            const float v = px[y * s->nx + x];
            if (v != v) continue;
            p->sum[(size_t)at] += v;
            p->count[(size_t)at]++;
        }
    }
}

enum mro_code mro_haadf_refine_edge(struct mro_haadf_state *s, const float *px, struct mro_error *e)
{
    const double pixel = fmax(s->pixel_nm[0], s->pixel_nm[1]), turn = M_PI / 180;
    /* As many places as tell the angle; first with wide bins, in which a slanted edge is seen as well. */
    const double places = (double)s->ny * (double)s->nx / PLACES;
    const size_t step = places > 1 ? (size_t)ceil(sqrt(places)) : 1;
    double best = atan2(s->edge[0], s->edge[1]);
    struct profile p;
    for (int fine = 0; fine < 2; fine++) {
        const double middle = best, width = fine ? fmax(PROFILE_NM, pixel) : fmax(COARSE_NM, 4 * pixel);
        double most = -1;
        for (int k = -STEPS; k <= STEPS; k++) {
            const double a = middle + SEARCH * turn * k / STEPS / (fine ? 2 : 1);
            if (!profile_make(&p, s, sin(a), cos(a), width)) goto no_memory;
            profile_fill(&p, px, s, step);
            double spread = 0;
            for (size_t i = 0; i < p.n; i++)
                if (p.count[i] > 0) spread += pow(p.sum[i] - p.count[i], 2) / p.count[i];
            free(p.sum);
            if (spread > most) {
                most = spread;
                best = a;
            }
        }
    }
    s->edge[0] = sin(best);
    s->edge[1] = cos(best);
    return MRO_OK;
no_memory:
    return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a profile across %zu x %zu pixels", s->nx, s->ny);
}

enum mro_code mro_haadf_divide_edge(const struct mro_haadf_state *s, const double edge[2], int threads, float *px,
                                    struct mro_error *e)
{
    const double pixel = fmax(s->pixel_nm[0], s->pixel_nm[1]);
    struct profile p;
    if (!profile_make(&p, s, edge[0], edge[1], fmax(PROFILE_NM, pixel)))
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a profile across %zu x %zu pixels", s->nx, s->ny);
    profile_fill(&p, px, s, 1);
    for (size_t i = 0; i < p.n; i++) p.sum[i] = (p.sum[i] + STEADY) / (p.count[i] + STEADY);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t y = 0; y < s->ny; y++)
        for (size_t x = 0; x < s->nx; x++) {
            const double at =
                (((double)y + 0.5) * s->pixel_nm[0] * p.uy + ((double)x + 0.5) * s->pixel_nm[1] * p.ux - p.from) /
                    p.width -
                0.5;
            const size_t i = (size_t)at;
            px[y * s->nx + x] /= (float)(p.sum[i] + (at - (double)i) * (p.sum[i + 1] - p.sum[i]));
        }
    free(p.sum);
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Matched power of fringe patches, and the climb to its nearest maximum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "mroscope/math/band.h"
#include "mroscope/math/patch.h"

#define MAX_SPAN 96     /* samples across the largest sphere; a coarser bound than any grid in use needs */
#define ENERGY_STEPS 24 /* of |g| in the table of energy fractions */

struct search {
    const struct mro_grid *g;
    const float *field;
    const struct mro_patch_search *s;
    double py, px;                                    /* nm per sample */
    double energy[MRO_PATCH_SIZES][ENERGY_STEPS + 1]; /* share of a template's energy inside the band */
};

/* Share of the chord profile's energy that the band lets through at |g|. */
static double energy_fraction(const struct mro_patch_search *s, double diameter, double g)
{
    enum { N = 80 };
    const double reach = 2.6 / diameter, h = 2 * reach / N; /* beyond lies < 0.1 % of the energy */
    double in = 0, all = 0;
    for (int j = 0; j < N; j++)
        for (int i = 0; i < N; i++) {
            const double dy = -reach + ((double)j + 0.5) * h, dx = -reach + ((double)i + 0.5) * h;
            const double t = mro_sphere_form_factor(hypot(dy, dx), diameter);
            const double b = mro_band_gain((float)hypot(g + dx, dy), (float)s->band_inv_nm[0], (float)s->band_inv_nm[1],
                                           (float)s->edge_inv_nm);
            in += t * t * b * b;
            all += t * t;
        }
    return in / all;
}

/* Power of the field matched by a sphere of size k at (y, x) with wave vector (gy, gx), in units of noise. */
static double matched_power(const struct search *c, int k, double y, double x, double gy, double gx)
{
    const double radius = 0.5 * c->s->diameter_nm[k], fy = y / c->py, fx = x / c->px;
    const ptrdiff_t y0 = (ptrdiff_t)ceil(fy - radius / c->py), y1 = (ptrdiff_t)floor(fy + radius / c->py);
    const ptrdiff_t x0 = (ptrdiff_t)ceil(fx - radius / c->px), x1 = (ptrdiff_t)floor(fx + radius / c->px);
    const ptrdiff_t span = x1 - x0 + 1;
    if (span < 1 || span > MAX_SPAN || y1 < y0) return 0;
    const ptrdiff_t ny = (ptrdiff_t)c->g->ny, nx = (ptrdiff_t)c->g->nx;
    float cr[MAX_SPAN], ci[MAX_SPAN], dx2[MAX_SPAN];
    /* Fringe phase along x by recurrence: one sine and cosine a row of the patch would cost more than the patch. */
    const double step = -2 * MRO_PI * gx * c->px, first = -2 * MRO_PI * gx * ((double)x0 - fx) * c->px;
    double re = cos(first), im = sin(first);
    const double ur = cos(step), ui = sin(step);
    for (ptrdiff_t i = 0; i < span; i++) {
        const double dx = ((double)(x0 + i) - fx) * c->px;
        cr[i] = (float)re;
        ci[i] = (float)im;
        dx2[i] = (float)(dx * dx);
        const double t = re * ur - im * ui;
        im = re * ui + im * ur;
        re = t;
    }
    const float r2 = (float)(radius * radius);
    double sum_re = 0, sum_im = 0, norm = 0;
    ptrdiff_t left = x0 % nx;
    if (left < 0) left += nx;
    for (ptrdiff_t j = y0; j <= y1; j++) {
        const double dy = ((double)j - fy) * c->py;
        const float rest = r2 - (float)(dy * dy);
        ptrdiff_t row = j % ny;
        if (row < 0) row += ny;
        const float *f = c->field + (size_t)row * (size_t)nx;
        float line_re = 0, line_im = 0, line_norm = 0;
        if (left + span <= nx) {
            const float *p = f + left;
#pragma omp simd reduction(+ : line_re, line_im, line_norm)
            for (ptrdiff_t i = 0; i < span; i++) {
                const float h = rest - dx2[i], h2 = h > 0 ? h : 0, t = sqrtf(h2); /* half chord */
                line_re += t * p[i] * cr[i];
                line_im += t * p[i] * ci[i];
                line_norm += h2;
            }
        } else {
            for (ptrdiff_t i = 0; i < span; i++) {
                const float h = rest - dx2[i], h2 = h > 0 ? h : 0, t = sqrtf(h2), v = f[(left + i) % nx];
                line_re += t * v * cr[i];
                line_im += t * v * ci[i];
                line_norm += h2;
            }
        }
        const double a = -2 * MRO_PI * gy * dy, ca = cos(a), sa = sin(a);
        sum_re += line_re * ca - line_im * sa;
        sum_im += line_re * sa + line_im * ca;
        norm += line_norm;
    }
    const double *range = c->s->d_range_inv_nm;
    double t = (hypot(gy, gx) - range[0]) / (range[1] - range[0]) * ENERGY_STEPS;
    t = t < 0 ? 0 : t > ENERGY_STEPS ? ENERGY_STEPS : t;
    int i = (int)t;
    if (i >= ENERGY_STEPS) i = ENERGY_STEPS - 1;
    const double energy = c->energy[k][i] + (t - i) * (c->energy[k][i + 1] - c->energy[k][i]);
    return norm > 0 ? (sum_re * sum_re + sum_im * sum_im) / (norm * energy) : 0;
}

static int strongest(const struct search *c, struct mro_patch *p)
{
    int best = 0;
    for (int k = 0; k < MRO_PATCH_SIZES; k++) {
        p->power[k] = matched_power(c, k, p->y_nm, p->x_nm, p->gy, p->gx);
        if (p->power[k] - c->s->offset[k] > p->power[best] - c->s->offset[best]) best = k;
    }
    return best;
}

/* Pattern search over position and wave vector with sphere k. */
static void climb(const struct search *c, struct mro_patch *p, int k)
{
    double v[4] = { p->y_nm, p->x_nm, p->gy, p->gx };
    double step_r = 0.16, step_g = 0.12 * fmin(1.0, 1.8 / c->s->diameter_nm[k]);
    double top = matched_power(c, k, v[0], v[1], v[2], v[3]);
    for (int round = 0; round < 40 && step_r > 0.012; round++) {
        bool moved = false;
        for (int axis = 0; axis < 4; axis++) {
            const double step = axis < 2 ? step_r : step_g, was = v[axis];
            for (int sign = -1; sign <= 1; sign += 2) {
                v[axis] = was + sign * step;
                const double q = hypot(v[2], v[3]);
                const double t = q < c->s->d_range_inv_nm[0] || q > c->s->d_range_inv_nm[1]
                                     ? -1
                                     : matched_power(c, k, v[0], v[1], v[2], v[3]);
                if (t > top) {
                    top = t;
                    moved = true;
                    break;
                }
                v[axis] = was;
            }
        }
        if (!moved) {
            step_r *= 0.5;
            step_g *= 0.5;
        }
    }
    p->y_nm = v[0];
    p->x_nm = v[1];
    p->gy = v[2];
    p->gx = v[3];
}

/* A crystal near a zone axis shows a second reflection of the same family: at 90 degrees along [001], at 60 or 120
 * along [111]. Looked for within 3 degrees and 3 % of |g|. */
static double second_reflection(const struct search *c, const struct mro_patch *p, int k)
{
    static const double angles[] = { 60, 90, 120 };
    double best = 0;
    for (int a = 0; a < 3; a++)
        for (int turn = -1; turn <= 1; turn++)
            for (int stretch = -1; stretch <= 1; stretch++) {
                const double t = (angles[a] + 3 * turn) * MRO_PI / 180, f = 1 + 0.03 * stretch;
                const double gy = f * (p->gy * cos(t) + p->gx * sin(t)), gx = f * (p->gx * cos(t) - p->gy * sin(t));
                const double power = matched_power(c, k, p->y_nm, p->x_nm, gy, gx);
                if (power > best) best = power;
            }
    return best;
}

enum mro_code mro_cpu_refine_patches(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                     const struct mro_patch_search *s, struct mro_patch *patches, size_t n,
                                     struct mro_error *e)
{
    struct search c = { .g = g, .field = field->p, .s = s, .py = g->ly / (double)g->ny, .px = g->lx / (double)g->nx };
    for (int k = 0; k < MRO_PATCH_SIZES; k++) {
        if (s->diameter_nm[k] / fmin(c.py, c.px) + 2 > MAX_SPAN)
            return MRO_FAIL(e, MRO_EINTERNAL, "a patch of %g nm spans too many samples of %g nm", s->diameter_nm[k],
                            fmin(c.py, c.px));
        for (int i = 0; i <= ENERGY_STEPS; i++)
            c.energy[k][i] = energy_fraction(s, s->diameter_nm[k],
                                             s->d_range_inv_nm[0] +
                                                 (s->d_range_inv_nm[1] - s->d_range_inv_nm[0]) * i / ENERGY_STEPS);
    }
#pragma omp parallel for schedule(dynamic, 4) num_threads(d->threads)
    for (size_t i = 0; i < n; i++) {
        struct mro_patch *p = patches + i;
        int k = strongest(&c, p);
        for (int round = 0; round < 3; round++) {
            climb(&c, p, k);
            const int next = strongest(&c, p);
            if (next == k) break;
            k = next;
        }
        p->best = k;
        p->second_power = second_reflection(&c, p, k);
    }
    return MRO_OK;
}

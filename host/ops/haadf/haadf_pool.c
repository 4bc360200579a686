/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames of one place together: what they share is contrast, what differs is noise. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "mroscope/math/grid.h"
#include "ops/haadf/haadf_internal.h"
#include "ops/wide.h"

#define COPIES 1e-4    /* share of noise in the power, below which frames are copies but for rounding */
#define CORRELATED 6.0 /* standard deviations of the correlation map: 4.5 is its largest value by chance */

void mro_haadf_pool_release(struct mro_haadf_pool *p)
{
    mro_haadf_state_free(p->first);
    mro_haadf_state_free(p->sum);
    free(p->own);
    memset(p, 0, sizeof *p);
}

/* Vertex of the parabola through three values around a maximum, in (-1/2, 1/2). */
static double vertex(double before, double top, double after)
{
    const double bend = before - 2 * top + after;
    return bend < 0 ? 0.5 * (before - after) / bend : 0;
}

/* Where `b` is moved to against `a` (y, x in nm), from the maximum of their cross-correlation; `strength` is its height
 * in standard deviations of the map. */
static enum mro_code find_shift(struct mro_device *d, const struct mro_haadf_state *a, const struct mro_haadf_state *b,
                                double shift[2], double *strength, struct mro_error *e)
{
    const struct mro_grid *g = &a->grid;
    const size_t n = g->ny * g->nx;
    struct mro_buffer spectrum = { 0 }, real = { 0 };
    mro_c32 *z = calloc(n, sizeof *z);
    float *map = malloc(n * sizeof *map);
    enum mro_code rc = MRO_OK;
    shift[0] = shift[1] = *strength = 0;
    if (z == NULL || map == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a correlation of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    for (size_t j = 0; j < g->ny; j++)
        for (size_t i = 0; i < g->nx; i++) {
            const ptrdiff_t ky = (ptrdiff_t)j - (j <= g->ny / 2 ? 0 : (ptrdiff_t)g->ny);
            const ptrdiff_t kx = (ptrdiff_t)i - (i <= g->nx / 2 ? 0 : (ptrdiff_t)g->nx);
            if (mro_haadf_line_mode(a, ky, kx) || mro_haadf_line_mode(b, ky, kx)) continue;
            const mro_c32 p = a->spectrum[j * g->nx + i], q = b->spectrum[j * g->nx + i];
            z[j * g->nx + i].re = q.re * p.re + q.im * p.im;
            z[j * g->nx + i].im = q.im * p.re - q.re * p.im;
        }
    z[0].re = z[0].im = 0;
    if ((rc = d->ops->alloc(d, &spectrum, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->alloc(d, &real, n * sizeof *map, e))) goto done;
    if ((rc = d->ops->upload(d, &spectrum, z, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->inverse(d, g, &spectrum, &real, e))) goto done;
    if ((rc = d->ops->download(d, map, &real, n * sizeof *map, e))) goto done;
    size_t top = 0;
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        if (map[i] > map[top]) top = i;
        square += (double)map[i] * map[i];
    }
    const size_t y = top / g->nx, x = top % g->nx;
    const double up = map[(y + g->ny - 1) % g->ny * g->nx + x], down = map[(y + 1) % g->ny * g->nx + x];
    const double left = map[y * g->nx + (x + g->nx - 1) % g->nx], right = map[y * g->nx + (x + 1) % g->nx];
    const double dy = (double)y - (y <= g->ny / 2 ? 0 : (double)g->ny) + vertex(up, map[top], down);
    const double dx = (double)x - (x <= g->nx / 2 ? 0 : (double)g->nx) + vertex(left, map[top], right);
    shift[0] = dy * g->ly / (double)g->ny;
    shift[1] = dx * g->lx / (double)g->nx;
    *strength = square > 0 ? map[top] / sqrt(square / (double)n) : 0;
done:
    d->ops->release(d, &spectrum);
    d->ops->release(d, &real);
    free(z);
    free(map);
    return rc;
}

static void add_frame(struct mro_haadf_pool *p, const struct mro_haadf_state *s, const double shift[2])
{
    const struct mro_grid *g = &s->grid;
    for (size_t j = 0; j < g->ny; j++)
        for (size_t i = 0; i < g->nx; i++) {
            const double t =
                2 * M_PI * (mro_frequency(j, g->ny, g->ly) * shift[0] + mro_frequency(i, g->nx, g->lx) * shift[1]);
            const float c = (float)cos(t), w = (float)sin(t);
            const mro_c32 v = s->spectrum[j * g->nx + i];
            mro_c32 *to = p->sum->spectrum + j * g->nx + i;
            to->re += v.re * c - v.im * w;
            to->im += v.re * w + v.im * c;
            p->own[j * g->nx + i] += v.re * v.re + v.im * v.im;
        }
    for (int a = 0; a < 2; a++) {
        if (s->lines[a] > p->sum->lines[a]) p->sum->lines[a] = s->lines[a];
        if (!isfinite(s->line_sd[a])) continue;
        p->sum->line_sd[a] = isfinite(p->sum->line_sd[a]) ? fmax(s->line_sd[a], p->sum->line_sd[a]) : s->line_sd[a];
        p->sum->line_power[a] = fmax(s->line_power[a], p->sum->line_power[a]);
    }
    p->matched++;
    p->largest_shift_nm = fmax(p->largest_shift_nm, hypot(shift[0], shift[1]));
}

enum mro_code mro_haadf_pool_add_wide(struct mro_haadf_pool *p, struct mro_device *d, const struct mro_haadf_result *r,
                                      struct mro_error *e)
{
    const struct mro_haadf_state *s = r->state;
    double shift[2] = { 0, 0 }, strength = 0;
    p->frames++;
    if (s == NULL) return MRO_OK;
    const size_t n = s->grid.ny * s->grid.nx;
    if (p->first == NULL) {
        p->first = mro_haadf_state_copy(s);
        p->sum = mro_haadf_state_copy(s);
        p->own = calloc(n, sizeof *p->own);
        if (p->first == NULL || p->sum == NULL || p->own == NULL)
            return MRO_FAIL(e, MRO_EMEMORY, "out of memory for frames of %zu x %zu", s->grid.nx, s->grid.ny);
        memset(p->sum->spectrum, 0, n * sizeof *p->sum->spectrum);
        add_frame(p, s, shift);
        return MRO_OK;
    }
    if (s->grid.ny != p->first->grid.ny || s->grid.nx != p->first->grid.nx || s->ny != p->first->ny ||
        s->nx != p->first->nx)
        return MRO_FAIL(e, MRO_EDATA, "a frame of %zu x %zu pixels among frames of %zu x %zu", s->nx, s->ny,
                        p->first->nx, p->first->ny);
    MRO_TRY(find_shift(d, p->first, s, shift, &strength, e));
    if (strength < CORRELATED) {
        /* Without contrast in the frame itself there is nothing to match by, and nothing that could contradict. */
        if (r->contrast_sd_ci95[0] > 0) return MRO_OK;
        shift[0] = shift[1] = 0;
        p->constant++;
    }
    add_frame(p, s, shift);
    return MRO_OK;
}

enum mro_code mro_haadf_pool_measure_wide(const struct mro_haadf_pool *p, struct mro_device *d, const char *name,
                                          const struct mro_haadf_options *o, struct mro_haadf_result *r,
                                          struct mro_error *e)
{
    memset(r, 0, sizeof *r);
    mro_haadf_unknown(r);
    memcpy(r->band_inv_nm, o->band_inv_nm, sizeof r->band_inv_nm);
    r->frames = p->matched;
    if (p->matched < p->frames)
        mro_warn(r, "%zu of %zu frames do not show the place of the first and are left out", p->frames - p->matched,
                 p->frames);
    if (p->matched < 2) {
        mro_warn(r, "fewer than two frames show one place: nothing was measured from them together");
        snprintf(r->verdict, sizeof r->verdict, "not measured: the %zu frames show different places", p->frames);
        return MRO_OK;
    }
    struct mro_haadf_state *s = mro_haadf_state_copy(p->sum);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the frames of '%s'", name);
    const struct mro_grid *g = &s->grid;
    const double k = (double)p->matched;
    double noise = 0, modes = 0, power = 0;
    for (size_t j = 0; j < g->ny; j++)
        for (size_t i = 0; i < g->nx; i++) {
            mro_c32 *v = s->spectrum + j * g->nx + i;
            const double sum = (double)v->re * v->re + (double)v->im * v->im, own = p->own[j * g->nx + i];
            v->re = (float)(v->re / k);
            v->im = (float)(v->im / k);
            const double q = hypot(mro_frequency(j, g->ny, g->ly), mro_frequency(i, g->nx, g->lx));
            const ptrdiff_t ky = (ptrdiff_t)(j <= g->ny / 2 ? j : g->ny - j),
                            kx = (ptrdiff_t)(i <= g->nx / 2 ? i : g->nx - i);
            if (q < o->band_inv_nm[0] || q > o->band_inv_nm[1] || mro_haadf_line_mode(s, ky, kx)) continue;
            /* Power of the mean, less the mean product of different frames. */
            noise += sum / (k * k) - (sum - own) / (k * (k - 1));
            power += own / (k * k);
            modes++;
        }
    if (!(noise > COPIES * power)) {
        mro_warn(r, "the frames are equal: they are copies of one, so that nothing tells their noise from "
                    "contrast, and nothing was measured from them together");
        snprintf(r->verdict, sizeof r->verdict, "not measured: the frames are copies of one");
        mro_haadf_state_free(s);
        return MRO_OK;
    }
    s->noise = modes > 0 ? fmax(0, noise / modes) : NAN;
    s->noise_error = sqrt(2 / fmax(1, modes * (k - 1)));
    s->white = true;
    s->frames = p->matched;
    for (int a = 0; a < 2; a++) s->line_power[a] /= k;
    memcpy(r->pixel_nm, s->pixel_nm, sizeof r->pixel_nm);
    r->field_nm[0] = g->ly;
    r->field_nm[1] = g->lx;
    r->state = s;
    if (p->largest_shift_nm > s->margin_nm)
        mro_warn(r,
                 "the frames are shifted by up to %.2g nm against each other: the rim of the field is of fewer frames",
                 p->largest_shift_nm);
    const enum mro_code rc = mro_haadf_analyse(d, s, name, o, r, e);
    if (rc) mro_haadf_result_release(r);
    return rc;
}

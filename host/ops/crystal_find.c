/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a micrograph shows fringes: places and wave vectors at which windowed power stands out of the speckle, and the
 * sets of fringes that grow from them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/sizes.h"
#include "mroscope/math/grid.h"
#include "ops/crystal_internal.h"

#define WINDOWS 2
#define MOST_SETS 1200  /* fringe sets that are looked at */
#define MOST_SPECTRA 64 /* crystals whose own spectrum is searched for further sets */
#define SPOT_CHANCE 8.0 /* -ln of the chance that speckle gives a crystal a further set */
#define SPOT_CLEAR 0.45 /* nm^-1 around a spot that its own rim fills */

static const double windows_nm[WINDOWS] = { 2.2, 4.5 }; /* sphere diameters; s = 0.2236 D */

/* ------------------------------------------------------------------ candidates */

/* A place and wave vector where windowed power stands out. */
struct candidate {
    double y, x, g[2], power, window;
};

static int by_power(const void *a, const void *b)
{
    const struct candidate *u = a, *v = b;
    if (u->power != v->power) return u->power < v->power ? 1 : -1;
    if (u->y != v->y) return u->y < v->y ? -1 : 1;
    return (u->x > v->x) - (u->x < v->x);
}

/* Crystals that speckle gives: chance of a window, times the number of windows side by side, times the tops of each. Of
 * given fringes only the chance that they stand out somewhere. */
static double false_rate(const struct crystal_work *w, double s, double t)
{
    const double half = 0.5 * MRO_PI * (w->band[1] * w->band[1] - w->band[0] * w->band[0]);
    const double places = w->grid.ly * w->grid.lx / (2 * MRO_PI * s * s);
    const double tops = w->o->n_g ? (double)w->o->n_g : half * MRO_PI * s * s * (2 * t - 1);
    return places * tops * t * exp(-t);
}

static double threshold_of(const struct crystal_work *w, double s)
{
    double t = 6;
    while (false_rate(w, s, t) > w->o->false_per_image / WINDOWS) t += 0.05;
    return t;
}

double mro_crystal_threshold(const struct crystal_work *w) { return threshold_of(w, 0.2236 * windows_nm[0]); }

/* Wave vectors on rings over half the plane, about `step` apart. */
static double (*rings(double lo, double hi, double step, size_t *n))[2]
{
    const size_t count = (size_t)fmax(2, ceil((hi - lo) / step));
    double(*g)[2] = malloc(count * ((size_t)(MRO_PI * hi / step) + 2) * sizeof *g);
    *n = 0;
    for (size_t i = 0; i < count && g; i++) {
        const double q = lo + (hi - lo) * ((double)i + 0.5) / (double)count;
        const size_t around = (size_t)ceil(MRO_PI * q / step);
        for (size_t k = 0; k < around; k++) {
            const double a = MRO_PI * ((double)k + (i % 2 ? 0.5 : 0)) / (double)around;
            g[*n][0] = q * sin(a);
            g[(*n)++][1] = q * cos(a);
        }
    }
    return g;
}

static enum mro_code detect(struct crystal_work *w, const struct mro_buffer *white, struct candidate **list, size_t *n,
                            struct mro_error *e)
{
    struct mro_device *d = w->d;
    enum mro_code rc = MRO_OK;
    size_t room = 0;
    *n = 0;
    for (int k = 0; k < WINDOWS && rc == MRO_OK; k++) {
        const double s = 0.2236 * windows_nm[k];
        const struct mro_grid cells = { mro_smooth_size((size_t)ceil(w->grid.ly / (0.9 * s))),
                                        mro_smooth_size((size_t)ceil(w->grid.lx / (0.9 * s))), w->grid.ly, w->grid.lx };
        const size_t m = cells.ny * cells.nx;
        struct mro_bank bank = { .window_s_nm = s,
                                 .band_inv_nm = { w->band[0], w->band[1] },
                                 .edge_inv_nm = CRYSTAL_BAND_EDGE };
        double(*g)[2] = rings(w->band[0], w->band[1], 0.12 / s, &bank.n_g);
        float *power = malloc(m * sizeof *power);
        int32_t *which = malloc(m * sizeof *which);
        struct mro_buffer p = { 0 }, a = { 0 };
        if (!g || !power || !which) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        bank.g = (const double(*)[2])g;
        if (rc == MRO_OK) rc = d->ops->alloc(d, &p, m * sizeof(float), e);
        if (rc == MRO_OK) rc = d->ops->alloc(d, &a, m * sizeof(int32_t), e);
        if (rc == MRO_OK) rc = d->ops->bank_maximum(d, &w->grid, white, &bank, &cells, &p, &a, e);
        if (rc == MRO_OK) rc = d->ops->download(d, power, &p, m * sizeof *power, e);
        if (rc == MRO_OK) rc = d->ops->download(d, which, &a, m * sizeof *which, e);
        if (rc == MRO_OK) {
            const double least = threshold_of(w, s);
            const ptrdiff_t ny = (ptrdiff_t)cells.ny, nx = (ptrdiff_t)cells.nx;
            for (ptrdiff_t y = 0; y < ny; y++)
                for (ptrdiff_t x = 0; x < nx; x++) {
                    const double at_y = (double)y * cells.ly / (double)ny, at_x = (double)x * cells.lx / (double)nx;
                    const float v = power[y * nx + x];
                    const double gain = mro_crystal_gain(w, at_y, at_x);
                    if (!(v > least * gain)) continue;
                    bool top = true;
                    for (ptrdiff_t j = -1; j <= 1; j++)
                        for (ptrdiff_t i = -1; i <= 1; i++)
                            top &= y + j < 0 || x + i < 0 || y + j >= ny || x + i >= nx ||
                                   power[(y + j) * nx + x + i] <= v;
                    if (!top) continue;
                    if (*n == room) {
                        room = room ? 2 * room : 256;
                        struct candidate *grown = realloc(*list, room * sizeof *grown);
                        if (grown == NULL) {
                            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
                            goto next;
                        }
                        *list = grown;
                    }
                    const double *q = g[which[y * nx + x]];
                    (*list)[(*n)++] = (struct candidate){ at_y, at_x, { q[0], q[1] }, v / gain, s };
                }
        }
    next:
        d->ops->release(d, &p);
        d->ops->release(d, &a);
        free(g);
        free(power);
        free(which);
    }
    if (rc == MRO_OK && *n) qsort(*list, *n, sizeof **list, by_power);
    return rc;
}

/* ------------------------------------------------------------------ fringe sets */

double mro_fringe_apart(const double a[2], const double b[2])
{
    return fmin(hypot(a[0] - b[0], a[1] - b[1]), hypot(a[0] + b[0], a[1] + b[1]));
}

double mro_fringe_shared(const struct crystal_work *w, const struct fringe_set *a, const struct fringe_set *b)
{
    size_t n = 0;
    for (size_t i = 0; i < a->f.h * a->f.w; i++) {
        if (!a->f.inside[i]) continue;
        const size_t y = a->f.y0 + i / a->f.w, x = a->f.x0 + i % a->f.w;
        if (y < b->f.y0 || x < b->f.x0 || y >= b->f.y0 + b->f.h || x >= b->f.x0 + b->f.w) continue;
        n += b->f.inside[(y - b->f.y0) * b->f.w + x - b->f.x0] != 0;
    }
    return (double)n * w->step[0] * w->step[1];
}

/* Whether fringes at g seen at (y, x) are explained by a set that is known: the same fringes, or the rim of its spot.
 */
static bool explained(const struct crystal_work *w, const struct candidate *c)
{
    for (size_t i = 0; i < w->sets.n; i++) {
        const struct fringe_set *s = &w->sets.v[i];
        const double reach = 0.8 + c->window, away = mro_fringe_apart(c->g, s->g);
        const double y0 = (double)s->f.y0 * w->step[0], x0 = (double)s->f.x0 * w->step[1];
        if (c->y < y0 - reach || c->x < x0 - reach || c->y > y0 + (double)s->f.h * w->step[0] + reach ||
            c->x > x0 + (double)s->f.w * w->step[1] + reach)
            continue;
        if (away < fmax(0.5, 1.5 / s->diameter_nm)) return true;
    }
    return false;
}

/* Whether a region is only what a stronger set leaves at another wave vector: its own fringes again, or the sharp rim
 * of its crystal. */
static bool leak(const struct crystal_work *w, const struct fringe_set *s)
{
    for (size_t i = 0; i < w->sets.n; i++) {
        const struct fringe_set *t = &w->sets.v[i];
        const double away = mro_fringe_apart(s->g, t->g), shared = mro_fringe_shared(w, s, t);
        if (away < fmax(0.5, 1.2 / fmin(s->diameter_nm, t->diameter_nm)) &&
            shared > 0.3 * fmin(s->area_nm2, t->area_nm2))
            return true;
        const double near = hypot(s->y_nm - t->y_nm, s->x_nm - t->x_nm) - 0.5 * (s->diameter_nm + t->diameter_nm);
        if (near < 1 && away < 2.5 && s->area_nm2 < 0.35 * t->area_nm2 && s->plateau < 0.5 * t->plateau / (1 + away))
            return true;
    }
    return false;
}

static enum mro_code push(struct crystal_work *w, struct fringe_set *s, struct mro_error *e)
{
    struct fringe_list *l = &w->sets;
    if (l->n == l->room) {
        const size_t room = l->room ? 2 * l->room : 32;
        struct fringe_set *v = realloc(l->v, room * sizeof *v);
        if (v == NULL) {
            mro_fringe_release(s);
            return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        }
        l->v = v;
        l->room = room;
    }
    l->v[l->n++] = *s;
    return MRO_OK;
}

/* Grows a set and keeps it when it stands for itself. */
static enum mro_code try_set(struct crystal_work *w, const double g[2], double y, double x, double reach, double least,
                             bool *kept, struct mro_error *e)
{
    struct fringe_set s;
    bool found;
    *kept = false;
    MRO_TRY(mro_fringe_grow(w, g, y, x, reach, &s, &found, e));
    if (!found) return MRO_OK;
    const double q = hypot(s.g[0], s.g[1]);
    if (s.snr < least || s.diameter_nm < CRYSTAL_SMALLEST_NM || q < w->band[0] || q > w->band[1] || leak(w, &s) ||
        mro_fringe_apart(g, s.g) > 0.8) {
        mro_fringe_release(&s);
        return MRO_OK;
    }
    *kept = true;
    return push(w, &s, e);
}

/* ------------------------------------------------------------------ spectrum of one region */

/* The region with soft rims on the map's grid, times the whitened field, transformed: its spectrum in units of what
 * speckle gives. `field` host, `work` and `power` host floats of the grid. */
static enum mro_code region_spectrum(struct crystal_work *w, const struct fringe_set *s, const float *field,
                                     float *work, float *power, struct mro_buffer *device, struct mro_buffer *spectrum,
                                     struct mro_error *e)
{
    struct mro_device *d = w->d;
    const struct fringe_field *f = &s->f;
    const size_t ny = w->grid.ny, nx = w->grid.nx, n = ny * nx;
    const double soft = 0.35;
    const ptrdiff_t hy = (ptrdiff_t)ceil(2 * soft / w->step[0]), hx = (ptrdiff_t)ceil(2 * soft / w->step[1]);
    float *window = malloc(2 * f->h * f->w * sizeof *window);
    if (window == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    float *half = window + f->h * f->w;
    for (int axis = 0; axis < 2; axis++) {
        const ptrdiff_t h = axis ? hx : hy, len = (ptrdiff_t)(axis ? f->w : f->h);
        float *to = axis ? window : half;
        for (size_t i = 0; i < f->h * f->w; i++) {
            const ptrdiff_t at = (ptrdiff_t)(axis ? i % f->w : i / f->w);
            double sum = 0, weight = 0;
            for (ptrdiff_t k = -h; k <= h; k++) {
                const double t = (double)k * w->step[axis] / soft, b = exp(-0.5 * t * t);
                weight += b;
                if (at + k < 0 || at + k >= len) continue;
                const size_t j = axis ? i + (size_t)k : i + (size_t)(k * (ptrdiff_t)f->w);
                sum += b * (axis ? half[j] : (f->inside[j] ? 1.0 : 0.0));
            }
            to[i] = (float)(sum / weight);
        }
    }
    memset(work, 0, n * sizeof *work);
    double square = 0;
    const double sy = w->grid.ly / (double)ny, sx = w->grid.lx / (double)nx;
    const size_t y0 = (size_t)ceil((double)f->y0 * w->step[0] / sy), x0 = (size_t)ceil((double)f->x0 * w->step[1] / sx);
    for (size_t y = y0; y < ny; y++) {
        const size_t j = (size_t)((double)y * sy / w->step[0] - (double)f->y0 + 0.5);
        if (j >= f->h) break;
        for (size_t x = x0; x < nx; x++) {
            const size_t i = (size_t)((double)x * sx / w->step[1] - (double)f->x0 + 0.5);
            if (i >= f->w) break;
            const float v = window[j * f->w + i];
            work[y * nx + x] = v * field[y * nx + x];
            square += (double)v * v;
        }
    }
    free(window);
    MRO_TRY(d->ops->upload(d, device, work, n * sizeof *work, e));
    MRO_TRY(d->ops->forward(d, &w->grid, device, spectrum, e));
    mro_c32 *z = malloc(n * sizeof *z);
    if (z == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    const enum mro_code rc = d->ops->download(d, z, spectrum, n * sizeof *z, e);
    const float unit = (float)((double)n / fmax(square, 1));
    for (size_t i = 0; i < n && rc == MRO_OK; i++) power[i] = unit * (z[i].re * z[i].re + z[i].im * z[i].im);
    free(z);
    return rc;
}

/* Further sets of fringes in the region of set `first`. */
static enum mro_code search_region(struct crystal_work *w, size_t first, const float *field, float *work, float *power,
                                   struct mro_buffer *device, struct mro_buffer *spectrum, double new_crystal,
                                   struct mro_error *e)
{
    const size_t ny = w->grid.ny, nx = w->grid.nx;
    const double half = 0.5 * MRO_PI * (w->band[1] * w->band[1] - w->band[0] * w->band[0]);
    const double least = log(half * w->sets.v[first].area_nm2 + 1) + SPOT_CHANCE;
    const double strongest = w->sets.v[first].snr, y_nm = w->sets.v[first].y_nm, x_nm = w->sets.v[first].x_nm;
    const double reach = 0.35 * w->sets.v[first].diameter_nm;
    struct candidate spot[MRO_CRYSTAL_FRINGES * 3];
    size_t n = 0;
    MRO_TRY(region_spectrum(w, &w->sets.v[first], field, work, power, device, spectrum, e));
    const ptrdiff_t my = (ptrdiff_t)(w->band[1] * w->grid.ly), mx = (ptrdiff_t)(w->band[1] * w->grid.lx);
    for (ptrdiff_t ky = 0; ky <= my; ky++)
        for (ptrdiff_t kx = ky ? -mx : 1; kx <= mx; kx++) {
            const double g[2] = { (double)ky / w->grid.ly, (double)kx / w->grid.lx };
            const double q = sqrt(g[0] * g[0] + g[1] * g[1]);
            if (q < w->band[0] || q > w->band[1]) continue;
            const float v = power[mro_cyclic(ky, ny) * nx + mro_cyclic(kx, nx)];
            if (v < fmax(least, 0.002 * strongest)) continue;
            bool top = true;
            for (ptrdiff_t j = -1; j <= 1 && top; j++)
                for (ptrdiff_t i = -1; i <= 1 && top; i++)
                    top = power[mro_cyclic(ky + j, ny) * nx + mro_cyclic(kx + i, nx)] <= v;
            if (!top || n == sizeof spot / sizeof *spot) continue;
            spot[n++] = (struct candidate){ y_nm, x_nm, { g[0], g[1] }, v, 0 };
        }
    if (n) qsort(spot, n, sizeof *spot, by_power);
    for (size_t i = 0; i < n && w->sets.n < MOST_SETS; i++) {
        bool clear = true, kept;
        for (size_t k = 0; k < w->sets.n && clear; k++) {
            const struct fringe_set *s = &w->sets.v[k];
            if (hypot(s->y_nm - y_nm, s->x_nm - x_nm) > 0.5 * (s->diameter_nm + w->sets.v[first].diameter_nm)) continue;
            const double away = mro_fringe_apart(spot[i].g, s->g), t = away / SPOT_CLEAR;
            clear = away > fmax(0.4, 1.6 / s->diameter_nm) && spot[i].power > s->snr * exp(-t * t);
        }
        if (!clear) continue;
        const size_t before = w->sets.n;
        MRO_TRY(try_set(w, spot[i].g, y_nm, x_nm, reach, least, &kept, e));
        if (!kept) continue;
        /* Elsewhere than the crystal that was searched it is a crystal of its own, which takes more. */
        struct fringe_set *s = &w->sets.v[before];
        const struct fringe_set *f = &w->sets.v[first];
        const bool same = mro_fringe_shared(w, s, f) > 0.5 * fmin(s->area_nm2, f->area_nm2);
        if (!same && s->snr < new_crystal) {
            mro_fringe_release(s);
            w->sets.n--;
        }
    }
    return MRO_OK;
}

/* Where each of the given sets stands out: the tops of its amplitude. */
static enum mro_code detect_given(struct crystal_work *w, struct candidate **list, size_t *n, struct mro_error *e)
{
    const ptrdiff_t ny = (ptrdiff_t)w->map.ny, nx = (ptrdiff_t)w->map.nx;
    const double width = 1 / (2 * MRO_PI * w->o->mask_inv_nm);
    const ptrdiff_t hy = (ptrdiff_t)ceil(width / w->step[0]), hx = (ptrdiff_t)ceil(width / w->step[1]);
    size_t room = 0;
    *n = 0;
    for (size_t k = 0; k < w->o->n_g; k++) {
        const double *g = w->o->g_inv_nm[k];
        double carrier[2], noise;
        MRO_TRY(mro_fringe_demodulate(w, g, w->o->mask_inv_nm, false, carrier, &noise, e));
        for (ptrdiff_t i = 0; i < ny * nx; i++) {
            const mro_c32 h = w->host_h[i];
            const double power = ((double)h.re * h.re + (double)h.im * h.im) / (noise * noise * w->gain[i]);
            if (!w->usable[i] || !(power > CRYSTAL_OVER_NOISE * CRYSTAL_OVER_NOISE)) continue;
            bool top = true;
            for (ptrdiff_t y = i / nx - hy; y <= i / nx + hy && top; y++)
                for (ptrdiff_t x = i % nx - hx; x <= i % nx + hx && top; x++) {
                    if (y < 0 || x < 0 || y >= ny || x >= nx) continue;
                    const mro_c32 v = w->host_h[y * nx + x];
                    top = v.re * v.re + v.im * v.im <= h.re * h.re + h.im * h.im;
                }
            if (!top) continue;
            if (*n == room) {
                room = room ? 2 * room : 64;
                struct candidate *grown = realloc(*list, room * sizeof *grown);
                if (grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
                *list = grown;
            }
            (*list)[(*n)++] = (struct candidate){
                (double)(i / nx) * w->step[0], (double)(i % nx) * w->step[1], { g[0], g[1] }, power, width
            };
        }
    }
    if (*n) qsort(*list, *n, sizeof **list, by_power);
    return MRO_OK;
}

static enum mro_code find_sets(struct crystal_work *w, const struct mro_buffer *white, const struct candidate *list,
                               size_t n, struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t m = w->grid.ny * w->grid.nx;
    struct mro_buffer field = { 0 }, spectrum = { 0 };
    float *host = malloc(m * sizeof *host), *work = malloc(m * sizeof *work), *power = malloc(m * sizeof *power);
    enum mro_code rc = MRO_OK;
    size_t searched = 0, tries = 0;
    const double least = mro_crystal_threshold(w);
    if (!host || !work || !power) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &field, m * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &spectrum, m * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->inverse(d, &w->grid, white, &field, e))) goto done;
    if ((rc = d->ops->download(d, host, &field, m * sizeof *host, e))) goto done;
    for (size_t i = 0; i < n && w->sets.n < MOST_SETS && tries < 2 * MOST_SETS; i++) {
        if (explained(w, &list[i])) continue;
        bool kept;
        const size_t at = w->sets.n;
        tries++;
        if ((rc = try_set(w, list[i].g, list[i].y, list[i].x, 0.5 + list[i].window, least, &kept, e))) goto done;
        if (!kept || w->o->n_g || searched++ >= MOST_SPECTRA) continue;
        if ((rc = search_region(w, at, host, work, power, &field, &spectrum, least, e))) goto done;
    }
    if (searched > MOST_SPECTRA)
        mro_crystal_warn(w->r, "more than %d crystals: of the weaker ones only the strongest set of fringes is given",
                         MOST_SPECTRA);
done:
    d->ops->release(d, &field);
    d->ops->release(d, &spectrum);
    free(host);
    free(work);
    free(power);
    return rc;
}

enum mro_code mro_crystal_find(struct crystal_work *w, const struct mro_buffer *white, struct mro_error *e)
{
    struct candidate *list = NULL;
    size_t n = 0;
    enum mro_code rc = w->o->n_g ? detect_given(w, &list, &n, e) : detect(w, white, &list, &n, e);
    if (rc == MRO_OK) rc = find_sets(w, white, list, n, e);
    free(list);
    return rc;
}

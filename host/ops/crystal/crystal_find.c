/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a micrograph shows fringes: places and wave vectors at which windowed power stands out of the speckle, and the
 * sets of fringes that grow from them. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "core/sizes.h"
#include "mroscope/math/grid.h"
#include "ops/crystal/crystal_internal.h"

#define WINDOWS 2
#define MOST_SETS 1200  /* fringe sets that are looked at */
#define MOST_SPECTRA 64 /* crystals whose own spectrum is searched for further sets */
#define SPOT_CHANCE 8.0 /* -ln of the chance that speckle gives a crystal a further set */
#define SPOT_CLEAR 0.45 /* nm^-1 around a spot that its own rim fills */
#define MOST_SPOTS (3 * MRO_CRYSTAL_FRINGES)
#define SOFT_NM 0.35 /* Gaussian of the rim of a region whose spectrum is taken */
#define APART_NM 4.0 /* candidates further apart are hardly of one crystal */

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
    const struct fringe_field *f = &a->f, *g = &b->f;
    const size_t y0 = f->y0 > g->y0 ? f->y0 : g->y0, x0 = f->x0 > g->x0 ? f->x0 : g->x0;
    const size_t y1 = f->y0 + f->h < g->y0 + g->h ? f->y0 + f->h : g->y0 + g->h,
                 x1 = f->x0 + f->w < g->x0 + g->w ? f->x0 + f->w : g->x0 + g->w;
    size_t n = 0;
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++)
            n += f->inside[(y - f->y0) * f->w + x - f->x0] && g->inside[(y - g->y0) * g->w + x - g->x0];
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

bool mro_fringe_leak(const struct crystal_work *w, const struct fringe_set *s)
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

enum mro_code mro_fringe_push(struct crystal_work *w, struct fringe_set *s, struct mro_error *e)
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

/* What grows from one candidate. It does not depend on the sets that are known, so several can be grown at the same
 * time; which of them are kept does, and is decided in the order of the candidates. */
struct growth {
    bool grown, found;
    struct fringe_set set;
};

static enum mro_code grow(struct crystal_work *w, const struct candidate *c, double reach, struct growth *g,
                          struct mro_error *e)
{
    if (g->grown) return MRO_OK;
    MRO_TRY(mro_fringe_grow(w, c->g, c->y, c->x, reach, &g->set, &g->found, e));
    g->grown = true;
    return MRO_OK;
}

static void release_growth(struct growth *g)
{
    if (g->found) mro_fringe_release(&g->set);
    g->found = false;
}

/* Whether what grew from wave vector g can be kept, whatever else is. */
static bool worth(const struct crystal_work *w, const struct growth *grown, const double g[2], double least)
{
    const struct fringe_set *s = &grown->set;
    if (!grown->found) return false;
    const double q = hypot(s->g[0], s->g[1]);
    return s->snr >= least && s->diameter_nm >= CRYSTAL_SMALLEST_NM && q >= w->band[0] && q <= w->band[1] &&
           mro_fringe_apart(g, s->g) <= 0.8;
}

/* Grows a set where that has not been done, and keeps it when it stands for itself. */
static enum mro_code try_set(struct crystal_work *w, const struct candidate *c, double reach, double least,
                             struct growth *grown, bool *kept, struct mro_error *e)
{
    *kept = false;
    MRO_TRY(grow(w, c, reach, grown, e));
    if (!worth(w, grown, c->g, least) || mro_fringe_leak(w, &grown->set)) return MRO_OK;
    *kept = true;
    grown->found = false; /* it is the list's, or released */
    return mro_fringe_push(w, &grown->set, e);
}

/* ------------------------------------------------------------------ spectrum of one region */

/* Further spots of a crystal: tops of the spectrum of its region. */
struct spots {
    bool searched;
    size_t n;
    struct candidate at[MOST_SPOTS];
    double least; /* power over that of speckle */
};

/* The region with soft rims times the whitened field, on a grid of twice its window: its spectrum, in units of what
 * speckle gives when its power is multiplied by *unit. `field` is of w->grid. */
static enum mro_code region_spectrum(const struct crystal_work *w, const struct fringe_field *f, const float *field,
                                     struct mro_grid *g, mro_c32 **z, double *unit, struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t m = f->h * f->w;
    const double sy = w->grid.ly / (double)w->grid.ny, sx = w->grid.lx / (double)w->grid.nx;
    const size_t ny = mro_smooth_size((size_t)ceil(2 * (double)f->h * w->step[0] / sy)),
                 nx = mro_smooth_size((size_t)ceil(2 * (double)f->w * w->step[1] / sx));
    g->ny = ny < w->grid.ny ? ny : w->grid.ny;
    g->nx = nx < w->grid.nx ? nx : w->grid.nx;
    g->ly = (double)g->ny * sy;
    g->lx = (double)g->nx * sx;
    const size_t n = g->ny * g->nx;
    struct mro_buffer device = { 0 }, spectrum = { 0 };
    float *window = malloc(3 * m * sizeof *window), *part = calloc(n, sizeof *part);
    enum mro_code rc = MRO_OK;
    *z = malloc(n * sizeof **z);
    if (!window || !part || !*z) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    float *half = window + m, *inside = half + m;
    for (size_t i = 0; i < m; i++) inside[i] = f->inside[i] ? 1 : 0;
    mro_fringe_moment(inside, half, f->h, f->w, 0, w->step[0], SOFT_NM, 2 * SOFT_NM, 0);
    mro_fringe_moment(half, window, f->h, f->w, 1, w->step[1], SOFT_NM, 2 * SOFT_NM, 0);
    double square = 0;
    const size_t y0 = (size_t)ceil((double)f->y0 * w->step[0] / sy), x0 = (size_t)ceil((double)f->x0 * w->step[1] / sx);
    for (size_t y = y0; y < w->grid.ny && y - y0 < g->ny; y++) {
        const size_t j = (size_t)((double)y * sy / w->step[0] - (double)f->y0 + 0.5);
        if (j >= f->h) break;
        for (size_t x = x0; x < w->grid.nx && x - x0 < g->nx; x++) {
            const size_t i = (size_t)((double)x * sx / w->step[1] - (double)f->x0 + 0.5);
            if (i >= f->w) break;
            const float v = window[j * f->w + i];
            part[(y - y0) * g->nx + x - x0] = v * field[y * w->grid.nx + x];
            square += (double)v * v;
        }
    }
    *unit = (double)n / fmax(square, 1e-30);
    if ((rc = d->ops->alloc(d, &device, n * sizeof *part, e))) goto done;
    if ((rc = d->ops->alloc(d, &spectrum, n * sizeof **z, e))) goto done;
    if ((rc = d->ops->upload(d, &device, part, n * sizeof *part, e))) goto done;
    if ((rc = d->ops->forward(d, g, &device, &spectrum, e))) goto done;
    rc = d->ops->download(d, *z, &spectrum, n * sizeof **z, e);
done:
    d->ops->release(d, &device);
    d->ops->release(d, &spectrum);
    free(window);
    free(part);
    return rc;
}

static enum mro_code search_region(const struct crystal_work *w, const struct fringe_set *first, const float *field,
                                   struct spots *spots, struct mro_error *e)
{
    const double half = 0.5 * MRO_PI * (w->band[1] * w->band[1] - w->band[0] * w->band[0]);
    struct mro_grid grid;
    mro_c32 *z = NULL;
    double unit = 1;
    if (spots->searched) return MRO_OK;
    spots->n = 0;
    spots->least = log(half * first->area_nm2 + 1) + SPOT_CHANCE;
    const enum mro_code rc = region_spectrum(w, &first->f, field, &grid, &z, &unit, e);
    if (rc) goto done;
    const float least = (float)(fmax(spots->least, 0.002 * first->snr) / unit);
    const ptrdiff_t my = (ptrdiff_t)(w->band[1] * grid.ly), mx = (ptrdiff_t)(w->band[1] * grid.lx);
    for (ptrdiff_t ky = 0; ky <= my; ky++)
        for (ptrdiff_t kx = ky ? -mx : 1; kx <= mx; kx++) {
            const float v = square_of(z[(size_t)ky * grid.nx + (size_t)(kx < 0 ? kx + (ptrdiff_t)grid.nx : kx)]);
            if (v < least) continue;
            const double g[2] = { (double)ky / grid.ly, (double)kx / grid.lx };
            const double q = sqrt(g[0] * g[0] + g[1] * g[1]);
            if (q < w->band[0] || q > w->band[1]) continue;
            bool top = true;
            for (ptrdiff_t j = -1; j <= 1 && top; j++)
                for (ptrdiff_t i = -1; i <= 1 && top; i++)
                    top = square_of(z[mro_cyclic(ky + j, grid.ny) * grid.nx + mro_cyclic(kx + i, grid.nx)]) <= v;
            if (!top || spots->n == MOST_SPOTS) continue;
            spots->at[spots->n++] = (struct candidate){ first->y_nm, first->x_nm, { g[0], g[1] }, unit * (double)v, 0 };
        }
    if (spots->n) qsort(spots->at, spots->n, sizeof *spots->at, by_power);
    spots->searched = true;
done:
    free(z);
    return rc;
}

/* Whether a spot of the region of `first` is more than the rim of the spot of another set. */
static bool clear_of(const struct candidate *spot, const struct fringe_set *first, const struct fringe_set *s)
{
    if (hypot(s->y_nm - first->y_nm, s->x_nm - first->x_nm) > 0.5 * (s->diameter_nm + first->diameter_nm)) return true;
    const double away = mro_fringe_apart(spot->g, s->g), t = away / SPOT_CLEAR;
    return away > fmax(0.4, 1.6 / s->diameter_nm) && spot->power > s->snr * exp(-t * t);
}

/* -- candidates, several at a time -- */

/* All that grows from a candidate. */
struct trial {
    struct growth first, further[MOST_SPOTS];
    struct spots spots;
};

static double reach_of(const struct candidate *c) { return 0.5 + c->window; }
static double reach_in(const struct fringe_set *first) { return 0.35 * first->diameter_nm; }

/* Grows what the candidate will most likely be asked for. */
static enum mro_code explore(struct crystal_work *w, const struct candidate *c, const float *field, double least,
                             bool search, struct trial *t, struct mro_error *e)
{
    const struct fringe_set *first = &t->first.set;
    MRO_TRY(grow(w, c, reach_of(c), &t->first, e));
    if (!search || !worth(w, &t->first, c->g, least)) return MRO_OK;
    MRO_TRY(search_region(w, first, field, &t->spots, e));
    for (size_t i = 0; i < t->spots.n; i++) {
        const struct candidate *spot = &t->spots.at[i];
        bool clear = clear_of(spot, first, first);
        for (size_t k = 0; k < i && clear; k++)
            clear = !worth(w, &t->further[k], t->spots.at[k].g, t->spots.least) ||
                    clear_of(spot, first, &t->further[k].set);
        if (clear) MRO_TRY(grow(w, spot, reach_in(first), &t->further[i], e));
    }
    return MRO_OK;
}

static void release_trial(struct trial *t)
{
    if (t == NULL) return;
    release_growth(&t->first);
    for (size_t i = 0; i < MOST_SPOTS; i++) release_growth(&t->further[i]);
    free(t);
}

/* Keeps the further sets of the crystal whose first one is w->sets.v[first]. */
static enum mro_code keep_further(struct crystal_work *w, size_t first, const float *field, double new_crystal,
                                  struct trial *t, struct mro_error *e)
{
    MRO_TRY(search_region(w, &w->sets.v[first], field, &t->spots, e));
    for (size_t i = 0; i < t->spots.n && w->sets.n < MOST_SETS; i++) {
        const struct candidate *spot = &t->spots.at[i];
        bool clear = true, kept;
        for (size_t k = 0; k < w->sets.n && clear; k++) clear = clear_of(spot, &w->sets.v[first], &w->sets.v[k]);
        if (!clear) continue;
        MRO_TRY(try_set(w, spot, reach_in(&w->sets.v[first]), t->spots.least, &t->further[i], &kept, e));
        if (!kept) continue;
        /* Elsewhere than the crystal that was searched it is a crystal of its own, which takes more. */
        struct fringe_set *s = &w->sets.v[w->sets.n - 1];
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
        const struct mro_window all = { 0, 0, w->map.ny, w->map.nx };
        double noise;
        MRO_TRY(mro_fringe_noise(w, g, w->o->mask_inv_nm, &noise, e));
        MRO_TRY(mro_fringe_demodulate(w, g, w->o->mask_inv_nm, &all, e));
        for (ptrdiff_t i = 0; i < ny * nx; i++) {
            const mro_c32 h = w->room->v[i];
            const double power = ((double)h.re * h.re + (double)h.im * h.im) / (noise * noise * w->gain[i]);
            if (!w->usable[i] || !(power > CRYSTAL_OVER_NOISE * CRYSTAL_OVER_NOISE)) continue;
            bool top = true;
            for (ptrdiff_t y = i / nx - hy; y <= i / nx + hy && top; y++)
                for (ptrdiff_t x = i % nx - hx; x <= i % nx + hx && top; x++) {
                    if (y < 0 || x < 0 || y >= ny || x >= nx) continue;
                    const mro_c32 v = w->room->v[y * nx + x];
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

/* Explores candidate `from` and, where other threads have time, those after it that are not explained so far. Errors
 * of the others show when it is their turn. */
static enum mro_code explore_ahead(struct crystal_work *w, const struct candidate *list, size_t n, size_t from,
                                   const float *field, double least, bool search, struct trial **trial,
                                   struct mro_error *e)
{
    enum { MOST = 64 };
    const size_t most = w->n_rooms > 1 ? (4 * w->n_rooms < MOST ? 4 * w->n_rooms : MOST) : 1;
    size_t next[MOST], count = 0;
    enum mro_code rc = MRO_OK;
    for (size_t i = from; i < n && count < most; i++) {
        bool apart = trial[i] == NULL && !explained(w, &list[i]);
        for (size_t k = 0; k < count && apart; k++)
            apart = hypot(list[i].y - list[next[k]].y, list[i].x - list[next[k]].x) > APART_NM;
        if (!apart) continue;
        if ((trial[i] = calloc(1, sizeof **trial)) == NULL)
            return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        next[count++] = i;
    }
#pragma omp parallel for schedule(dynamic) num_threads((int)w->n_rooms) if (count > 1)
    for (size_t k = 0; k < count; k++) {
        struct crystal_work mine = *w;
        struct mro_error at;
        mine.room = w->room + omp_get_thread_num();
        const enum mro_code code = explore(&mine, &list[next[k]], field, least, search, trial[next[k]], &at);
        if (k == 0 && code) {
            rc = code;
            if (e) *e = at;
        }
    }
    return rc;
}

static enum mro_code find_sets(struct crystal_work *w, const struct mro_buffer *white, const struct candidate *list,
                               size_t n, struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t m = w->grid.ny * w->grid.nx;
    struct mro_buffer field = { 0 };
    float *host = malloc(m * sizeof *host);
    struct trial **trial = calloc(n + 1, sizeof *trial);
    enum mro_code rc = MRO_OK;
    size_t searched = 0, tries = 0;
    const double least = mro_crystal_threshold(w);
    if (!host || !trial) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &field, m * sizeof(float), e))) goto done;
    if ((rc = d->ops->inverse(d, &w->grid, white, &field, e))) goto done;
    if ((rc = d->ops->download(d, host, &field, m * sizeof *host, e))) goto done;
    for (size_t i = 0; i < n && w->sets.n < MOST_SETS && tries < 2 * MOST_SETS; i++) {
        const bool search = w->o->n_g == 0 && searched < MOST_SPECTRA;
        bool kept = false;
        if (!explained(w, &list[i])) {
            tries++;
            if (!trial[i]) rc = explore_ahead(w, list, n, i, host, least, search, trial, e);
            if (rc == MRO_OK) rc = try_set(w, &list[i], reach_of(&list[i]), least, &trial[i]->first, &kept, e);
            if (rc == MRO_OK && kept && search) rc = keep_further(w, w->sets.n - 1, host, least, trial[i], e);
            searched += kept && w->o->n_g == 0;
        }
        release_trial(trial[i]);
        trial[i] = NULL;
        if (rc) goto done;
    }
    if (searched > MOST_SPECTRA)
        mro_warn(w->r, "more than %d crystals: of the weaker ones only the strongest set of fringes is given",
                 MOST_SPECTRA);
done:
    for (size_t i = 0; trial && i < n; i++) release_trial(trial[i]);
    d->ops->release(d, &field);
    free(trial);
    free(host);
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

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Nanocrystals of one micrograph: contrast whitened by the speckle's own power, sets of fringes (crystal_find.c), and
 * the crystals that several of them make. */
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimals.h"
#include "core/first_error.h"
#include "core/gsl_errors.h"
#include "core/notes.h"
#include "core/select.h"
#include "core/sizes.h"
#include "core/team.h"
#include "mroscope/bandpass.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"
#include "ops/crystal_internal.h"
#include "ops/pixels.h"

#define BACKGROUND_NM 2.5  /* of the local mean that contrast is relative to */
#define WHITEN_RADIUS 0.45 /* nm^-1 of the local median: wider than the spots of a strong crystal of 4 nm */
#define GRID_OVER 0.9      /* nm^-1 that the grid holds beyond the band, for the discs of the median */
#define NYQUIST_ROOM 0.52  /* nm^-1 below Nyquist that these discs need */
#define MAP_STEP_NM 0.1    /* of the maps, coarser on large fields */
#define MAP_MOST 1600      /* their samples along an axis, as long as the mask fits */
#define GAIN_S_NM 1.2      /* Gaussian of the local gain */
#define LINE_POWER 3.0     /* of scan lines: median power along an axis of the spectrum over that beside it */
#define LINE_BESIDE 6      /* lines of the spectrum on either side that it is compared with */
#define LEAST_SINE 0.26    /* of the angle between sets that are not collinear */
#define CLEAR_RIM 4.8      /* amplitude over the noise below which the rim of a crystal is lost in it */
#define FILTER_RADIUS 0.5  /* nm^-1 */
#define FILTER_EDGE 0.3

void mro_crystal_options_default(struct mro_crystal_options *o)
{
    memset(o, 0, sizeof *o);
    o->band_inv_nm[0] = 1 / 0.37;
    o->band_inv_nm[1] = 1 / 0.13;
    o->mask_inv_nm = 0.4;
    o->reference_d_nm = NAN;
    for (int i = 0; i < 4; i++) o->band_line_nm[i] = NAN;
    o->band_width_nm = NAN;
    o->false_per_image = 0.004;
    snprintf(o->phases[0].name, sizeof o->phases[0].name, "alpha-Fe");
    o->phases[0].structure = MRO_BCC;
    o->phases[0].a_nm = o->phases[0].c_nm = 0.28665;
    o->n_phases = 1;
    o->seed = 1;
}

void mro_crystal_warn(struct mro_crystal_result *r, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mro_note(&r->warnings, &r->n_warnings, "%s", text);
}

/* The pass band at a frequency of the grid. */
static inline float band_gain_at(const struct crystal_work *w, size_t y, size_t x)
{
    const double qy = mro_frequency(y, w->grid.ny, w->grid.ly), qx = mro_frequency(x, w->grid.nx, w->grid.lx);
    return mro_band_gain((float)sqrt(qy * qy + qx * qx), (float)w->band[0], (float)w->band[1], CRYSTAL_BAND_EDGE);
}

/* The level of the speckle: its power, and beyond the band, where that was not measured, the power at the band's end in
 * the same direction. A spot at the end of the band reaches there, and would be shifted if it were cut off. */
static void fill_level(struct crystal_work *w, const float *power)
{
    const struct mro_grid *g = &w->grid;
    const double half = 0.5 * hypot(1 / g->ly, 1 / g->lx); /* of a sample */
    const double lo = w->band[0] - CRYSTAL_BAND_EDGE + half, hi = w->band[1] + CRYSTAL_BAND_EDGE - half;
#pragma omp parallel for schedule(static) num_threads(mro_team(w->d->threads, 4.0 * (double)(g->ny * g->nx)))
    for (size_t y = 0; y < g->ny; y++) {
        const double qy = mro_frequency(y, g->ny, g->ly);
        for (size_t x = 0; x < g->nx; x++) {
            const double qx = mro_frequency(x, g->nx, g->lx), q = sqrt(qy * qy + qx * qx);
            w->level[y * g->nx + x] = power[y * g->nx + x];
            if (power[y * g->nx + x] > 0 || !(q < lo || q > hi) || !(q > 0)) continue;
            const double to = (q < lo ? lo : hi) / q;
            w->level[y * g->nx + x] = power[mro_cyclic((ptrdiff_t)lround(to * qy * g->ly), g->ny) * g->nx +
                                            mro_cyclic((ptrdiff_t)lround(to * qx * g->lx), g->nx)];
        }
    }
}

/* Mean square of the whitened field around every point of the map, over `even`, that of even speckle: thickness, holes.
 * It rises in a crystal as well, by its power over that of the whole band; what a crystal has in one spot is far more.
 */
static enum mro_code measure_gain(struct crystal_work *w, const struct mro_buffer *white, double even,
                                  struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = w->grid.ny * w->grid.nx, m = w->map.ny * w->map.nx;
    struct mro_buffer field = { 0 }, mean = { 0 };
    enum mro_code rc = d->ops->alloc(d, &field, n * sizeof(float), e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &mean, m * sizeof(float), e);
    if (rc == MRO_OK) rc = d->ops->inverse(d, &w->grid, white, &field, e);
    if (rc == MRO_OK) rc = d->ops->local_mean_square(d, &w->grid, &field, GAIN_S_NM, &w->map, &mean, e);
    if (rc == MRO_OK) rc = d->ops->download(d, w->gain, &mean, m * sizeof *w->gain, e);
    for (size_t i = 0; i < m && rc == MRO_OK; i++) w->gain[i] = (float)fmax(0.05, w->gain[i] / even);
    d->ops->release(d, &field);
    d->ops->release(d, &mean);
    return rc;
}

/* ------------------------------------------------------------------ crystals */

static int by_snr(const void *a, const void *b)
{
    const struct fringe_set *u = a, *v = b;
    if (u->snr != v->snr) return u->snr < v->snr ? 1 : -1;
    if (u->y_nm != v->y_nm) return u->y_nm < v->y_nm ? -1 : 1;
    return (u->x_nm > v->x_nm) - (u->x_nm < v->x_nm);
}

static bool same_crystal(const struct crystal_work *w, const struct fringe_set *a, const struct fringe_set *b)
{
    const double mean = 0.5 * (a->diameter_nm + b->diameter_nm), ratio = a->diameter_nm / b->diameter_nm;
    const double shared = mro_fringe_shared(w, a, b);
    if (shared > 0.5 * (a->area_nm2 + b->area_nm2 - shared)) return true;
    return hypot(a->y_nm - b->y_nm, a->x_nm - b->x_nm) < 0.15 * mean + 0.3 && ratio > 0.6 && ratio < 1.6;
}

static double azimuth_of(const double g[2])
{
    const double a = fmod(atan2(g[0], g[1]) * 180 / MRO_PI + 360, 180);
    return a >= 180 ? 0 : a;
}

static struct mro_fringes fringes_of(const struct crystal_work *w, const struct fringe_set *s)
{
    const double q = hypot(s->g[0], s->g[1]), bound = mro_spacing_se(s->g, s->cov);
    const double scatter = mro_spacing_scatter(s->g, s->cov, s->chi2);
    const double sign = s->g[0] < 0 || (s->g[0] == 0 && s->g[1] < 0) ? -1 : 1;
    return (struct mro_fringes){ .g_inv_nm = { sign * s->g[0], sign * s->g[1] },
                                 .d_nm = 1 / q,
                                 .d_crlb_nm = bound,
                                 .d_se_nm = hypot(scatter, CRYSTAL_TILT_DOUBT * s->tilt / q) / q,
                                 .azimuth_deg = azimuth_of(s->g),
                                 .amplitude = 2 * s->plateau * w->unit,
                                 .amplitude_over_noise = s->plateau / s->noise,
                                 .snr = s->snr,
                                 .strain = NAN,
                                 .residual = NAN };
}

/* The set that the crystal's spacing is given by: next to a reference the one that is most strained, where a step is
 * found the one that shows it most, else the longest spacing; of equals the strongest. */
static size_t main_set(const struct crystal_work *w, struct fringe_set **sets, size_t n)
{
    size_t best = 0;
    double most = -1;
    for (size_t i = 0; i < n; i++) {
        const double q = hypot(sets[i]->g[0], sets[i]->g[1]), se = mro_spacing_se(sets[i]->g, sets[i]->cov) * q;
        double score = 0;
        if (isfinite(w->o->reference_d_nm)) {
            const double strain = 1 / (q * w->o->reference_d_nm) - 1;
            if (fabs(strain) < 0.08) score = 1 + (fabs(strain) > 3 * se ? fabs(strain) : 0);
        } else {
            if (sets[i]->step.found) score = sets[i]->step.size_nm;
        }
        if (score > most) {
            most = score;
            best = i;
        }
    }
    if (isfinite(w->o->reference_d_nm) || most > 0) return best;
    for (size_t i = 0; i < n; i++) {
        const double a = hypot(sets[i]->g[0], sets[i]->g[1]), b = hypot(sets[best]->g[0], sets[best]->g[1]);
        const double se =
            hypot(mro_spacing_se(sets[i]->g, sets[i]->cov) * a, mro_spacing_se(sets[best]->g, sets[best]->cov) * b);
        if (b / a - 1 > fmax(0.002, 3 * se)) best = i;
    }
    return best;
}

/* Sets of one crystal, in the order of its list. */
struct members {
    struct fringe_set *set[MRO_CRYSTAL_FRINGES];
};

/* Whether g is a sum of whole or half multiples of two sets of the crystal, within 5 % of them. */
static bool on_lattice(const double (*known)[2], size_t n, const double g[2])
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            const double *u = known[i], *v = known[j], det = u[0] * v[1] - u[1] * v[0];
            if (fabs(det) < LEAST_SINE * hypot(u[0], u[1]) * hypot(v[0], v[1])) continue;
            const double a = 2 * (g[0] * v[1] - g[1] * v[0]) / det, b = 2 * (u[0] * g[1] - u[1] * g[0]) / det;
            if (fabs(a - round(a)) < 0.1 && fabs(b - round(b)) < 0.1) return true;
        }
    return false;
}

/* Whether a set that stands out of the noise in a part of a crystal only is one more of its lattice. */
static bool part_of(const struct crystal_work *w, const struct members *m, size_t n, const struct fringe_set *s)
{
    double known[MRO_CRYSTAL_FRINGES][2];
    if (mro_fringe_shared(w, s, m->set[0]) < 0.8 * s->area_nm2) return false;
    for (size_t i = 0; i < n && i < MRO_CRYSTAL_FRINGES; i++) memcpy(known[i], m->set[i]->g, sizeof known[i]);
    return on_lattice((const double(*)[2])known, n, s->g);
}

/* Groups sets into crystals; `of` receives the sets of each. */
static enum mro_code group_sets(struct crystal_work *w, struct members **of, struct mro_error *e)
{
    struct fringe_list *l = &w->sets;
    struct mro_crystal_result *r = w->r;
    if (l->n == 0) return MRO_OK;
    qsort(l->v, l->n, sizeof *l->v, by_snr);
    r->crystals = calloc(l->n, sizeof *r->crystals);
    *of = calloc(l->n, sizeof **of);
    if (r->crystals == NULL || *of == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    struct members *m = *of;
    for (size_t i = 0; i < l->n; i++) {
        struct fringe_set *s = &l->v[i];
        size_t k = 0;
        while (k < r->n_crystals && !same_crystal(w, m[k].set[0], s) && !part_of(w, &m[k], r->crystals[k].n_fringes, s))
            k++;
        struct mro_crystal *c = &r->crystals[k];
        if (k == r->n_crystals) r->n_crystals++;
        s->crystal = k;
        bool again = c->n_fringes == MRO_CRYSTAL_FRINGES; /* or a part of fringes that a fault interrupts */
        for (size_t j = 0; j < c->n_fringes; j++) again |= mro_fringe_apart(s->g, m[k].set[j]->g) < 0.5 * s->mask;
        if (again) continue;
        m[k].set[c->n_fringes++] = s;
    }
    return MRO_OK;
}

static void describe(const struct crystal_work *w, struct members *m, struct mro_crystal *c)
{
    double weight = 0, y = 0, x = 0, size = 0, area = 0, largest = 0;
    const size_t first = main_set(w, m->set, c->n_fringes);
    struct fringe_set *swap = m->set[first]; /* the others stay by strength */
    for (size_t i = first; i > 0; i--) m->set[i] = m->set[i - 1];
    m->set[0] = swap;
    for (size_t i = 0; i < c->n_fringes; i++) largest = fmax(largest, m->set[i]->area_nm2);
    for (size_t i = 0; i < c->n_fringes; i++) {
        const struct fringe_set *s = m->set[i];
        const double a = s->area_nm2 > 0.5 * largest ? s->snr : 0; /* less is a part of the crystal */
        weight += a;
        y += a * s->y_nm;
        x += a * s->x_nm;
        size += a * s->diameter_nm;
        area += a * s->area_nm2;
        c->at_border |= s->at_border;
        c->fringes[i] = fringes_of(w, s);
    }
    c->y_nm = y / weight + 0.5 * w->pixel_nm[0];
    c->x_nm = x / weight + 0.5 * w->pixel_nm[1];
    c->diameter_nm = size / weight;
    c->area_nm2 = area / weight;
    c->exx = c->eyy = c->exy = c->rotation_deg = c->enn = c->e_se = NAN;
    c->vortices = -1;
    c->vortices_null = c->band_distance_nm = NAN;
    c->pair[0] = 0;
    c->pair[1] = -1;
    double best = 0;
    for (size_t i = 1; i < c->n_fringes; i++) {
        const double *u = c->fringes[0].g_inv_nm, *v = c->fringes[i].g_inv_nm;
        const double sine = fabs(u[0] * v[1] - u[1] * v[0]) / (hypot(u[0], u[1]) * hypot(v[0], v[1]));
        const double score = sine * sqrt(c->fringes[i].snr);
        if (sine < LEAST_SINE || score <= best) continue;
        best = score;
        c->pair[1] = (int)i;
    }
    mro_crystal_index(w->o, c);
}

static int by_size(const void *a, const void *b)
{
    const struct mro_crystal *u = a, *v = b;
    if (u->diameter_nm != v->diameter_nm) return u->diameter_nm < v->diameter_nm ? 1 : -1;
    if (u->y_nm != v->y_nm) return u->y_nm < v->y_nm ? -1 : 1;
    return (u->x_nm > v->x_nm) - (u->x_nm < v->x_nm);
}

/* ------------------------------------------------------------------ scan lines */

/* Noise of whole rows or columns lies on one axis of the spectrum, at all frequencies. Where the median power along it
 * is over that beside it, it is brought down to that; crystals have a few frequencies of it only. `z` is the spectrum
 * on the host. True when lines were found. */
static bool quiet_lines(const struct crystal_work *w, mro_c32 *z)
{
    bool found = false;
    for (int axis = 0; axis < 2; axis++) { /* 0: along qy, from rows */
        const size_t ny = w->grid.ny, nx = w->grid.nx, n = axis ? nx : ny;
        const double length = axis ? w->grid.lx : w->grid.ly;
        float *on = malloc(n * sizeof *on), *off = malloc(2 * LINE_BESIDE * n * sizeof *off);
        size_t n_on = 0, n_off = 0;
        if (on == NULL || off == NULL || (axis ? ny : nx) < 4 * LINE_BESIDE) {
            free(on);
            free(off);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            const double q = fabs(mro_frequency(i, n, length));
            if (q < w->band[0] || q > w->band[1]) continue;
            for (ptrdiff_t k = -LINE_BESIDE; k <= LINE_BESIDE; k++) {
                const mro_c32 v = axis ? z[mro_cyclic(k, ny) * nx + i] : z[i * nx + mro_cyclic(k, nx)];
                const float p = v.re * v.re + v.im * v.im;
                if (k == 0)
                    on[n_on++] = p;
                else if (k < -1 || k > 1)
                    off[n_off++] = p;
            }
        }
        if (n_on > 20) {
            const float usual = mro_median(off, n_off), ratio = usual > 0 ? mro_median(on, n_on) / usual : 0;
            if (ratio > LINE_POWER) {
                found = true;
                for (size_t i = 0; i < n; i++) {
                    mro_c32 *v = axis ? &z[i] : &z[i * nx];
                    v->re /= sqrtf(ratio);
                    v->im /= sqrtf(ratio);
                }
            }
        }
        free(on);
        free(off);
    }
    return found;
}

/* ------------------------------------------------------------------ images */

static enum mro_code new_map(const struct crystal_work *w, struct mro_image *im, const struct mro_image *like,
                             float value, struct mro_error *e)
{
    MRO_TRY(mro_image_alloc(im, w->map.ny, w->map.nx, e));
    for (int i = 0; i < 2; i++) {
        im->axis[i] = like->axis[i];
        im->axis[i].size = i ? im->nx : im->ny;
        im->axis[i].step = w->step[i];
        im->axis[i].offset = 0;
    }
    im->kind = MRO_KIND_MAP;
    for (size_t i = 0; i < im->ny * im->nx; i++) im->px[i] = value;
    return MRO_OK;
}

/* Spectrum for the figure, from its copy on the host: what lies around zero frequency, as log10 of the power. */
static enum mro_code power_image(const struct crystal_work *w, const mro_c32 *z, struct mro_image *out,
                                 struct mro_error *e)
{
    const double reach = w->band[1] + 0.4;
    ptrdiff_t hy = (ptrdiff_t)(reach * w->grid.ly), hx = (ptrdiff_t)(reach * w->grid.lx);
    if (hy > (ptrdiff_t)(w->grid.ny - 1) / 2) hy = (ptrdiff_t)(w->grid.ny - 1) / 2;
    if (hx > (ptrdiff_t)(w->grid.nx - 1) / 2) hx = (ptrdiff_t)(w->grid.nx - 1) / 2;
    MRO_TRY(mro_image_alloc(out, (size_t)(2 * hy + 1), (size_t)(2 * hx + 1), e));
#pragma omp parallel for schedule(static) num_threads(mro_team(w->d->threads, 10.0 * (double)(hy * hx)))
    for (ptrdiff_t y = 0; y <= hy; y++) /* the other half is the same turned around */
        for (ptrdiff_t x = -hx; x <= hx; x++) {
            const float v =
                log10f(fmaxf(square_of(z[mro_cyclic(y, w->grid.ny) * w->grid.nx + mro_cyclic(x, w->grid.nx)]), 1e-30f));
            out->px[(size_t)(hy + y) * out->nx + (size_t)(hx + x)] = v;
            out->px[(size_t)(hy - y) * out->nx + (size_t)(hx - x)] = v;
        }
    for (int i = 0; i < 2; i++) {
        mro_axis_set(&out->axis[i], 1 / (i ? w->grid.lx : w->grid.ly), 0, "1/nm", MRO_SOURCE_UNKNOWN);
        out->axis[i].size = i ? out->nx : out->ny;
        out->axis[i].offset = -(double)(i ? hx : hy) * out->axis[i].step;
    }
    return MRO_OK;
}

/* The image of the spots alone. */
static enum mro_code filter_image(struct crystal_work *w, const struct mro_image *like, struct mro_error *e)
{
    struct mro_crystal_result *r = w->r;
    const size_t n = w->grid.ny * w->grid.nx;
    struct mro_buffer field = { 0 };
    float *gain = calloc(n, sizeof *gain);
    enum mro_code rc = MRO_OK;
    if (gain == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    const double reach = FILTER_RADIUS + FILTER_EDGE / 2;
    for (size_t i = 0; i < w->sets.n; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            const double *g = w->sets.v[i].g;
            const ptrdiff_t y0 = (ptrdiff_t)ceil((sign * g[0] - reach) * w->grid.ly),
                            y1 = (ptrdiff_t)floor((sign * g[0] + reach) * w->grid.ly);
            const ptrdiff_t x0 = (ptrdiff_t)ceil((sign * g[1] - reach) * w->grid.lx),
                            x1 = (ptrdiff_t)floor((sign * g[1] + reach) * w->grid.lx);
            for (ptrdiff_t y = y0; y <= y1; y++)
                for (ptrdiff_t x = x0; x <= x1; x++) {
                    const double q = hypot((double)y / w->grid.ly - sign * g[0], (double)x / w->grid.lx - sign * g[1]);
                    float *at = gain + mro_cyclic(y, w->grid.ny) * w->grid.nx + mro_cyclic(x, w->grid.nx);
                    *at = fmaxf(*at, mro_band_gain((float)q, -1e3f, FILTER_RADIUS, FILTER_EDGE));
                }
        }
    /* The spectrum is not needed any more. */
    if ((rc = w->d->ops->multiply(w->d, &w->grid, &w->spectrum, gain, e))) goto done;
    if ((rc = w->d->ops->alloc(w->d, &field, n * sizeof(float), e))) goto done;
    if ((rc = w->d->ops->inverse(w->d, &w->grid, &w->spectrum, &field, e))) goto done;
    if ((rc = mro_image_alloc(&r->filtered, w->grid.ny, w->grid.nx, e))) goto done;
    for (int i = 0; i < 2; i++) {
        r->filtered.axis[i] = like->axis[i];
        r->filtered.axis[i].size = i ? w->grid.nx : w->grid.ny;
        r->filtered.axis[i].step = i ? w->grid.lx / (double)w->grid.nx : w->grid.ly / (double)w->grid.ny;
    }
    rc = w->d->ops->download(w->d, r->filtered.px, &field, n * sizeof(float), e);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) r->filtered.px[i] *= (float)w->unit;
done:
    w->d->ops->release(w->d, &field);
    free(gain);
    return rc;
}

/* ------------------------------------------------------------------ the measurement */

static enum mro_code check(const struct mro_crystal_options *o, const struct mro_image *im, const double pixel[2],
                           const char *name, struct mro_error *e)
{
    const double ly = (double)im->ny * pixel[0], lx = (double)im->nx * pixel[1];
    if (!(o->mask_inv_nm >= 0.1 && o->mask_inv_nm <= 1.2))
        return MRO_FAIL(e, MRO_EARG, "a mask of %g nm^-1 is not between 0.1 and 1.2", o->mask_inv_nm);
    if (!(o->band_inv_nm[0] >= 0.5 && o->band_inv_nm[1] > o->band_inv_nm[0] + 0.2))
        return MRO_FAIL(e, MRO_EARG, "spacings from %g to %g nm: below 2 nm and in rising order are wanted",
                        1 / o->band_inv_nm[1], 1 / o->band_inv_nm[0]);
    const double nyquist = 0.5 / fmax(pixel[0], pixel[1]);
    if (o->band_inv_nm[0] + 0.5 > nyquist - NYQUIST_ROOM)
        return MRO_FAIL(e, MRO_EARG, "'%s': pixels of %g nm are too coarse for spacings of %g nm and less", name,
                        fmax(pixel[0], pixel[1]), 1 / o->band_inv_nm[0]);
    if (o->reference_nm[2] > o->reference_nm[0]) {
        const double *a = o->reference_nm;
        if (!(a[0] >= 0 && a[1] >= 0 && a[2] <= lx && a[3] <= ly && a[3] > a[1]))
            return MRO_FAIL(e, MRO_EARG,
                            "'%s': the reference area %g,%g,%g,%g nm is no rectangle inside the field of %.4g "
                            "nm x %.4g nm",
                            name, a[0], a[1], a[2], a[3], lx, ly);
        if (isfinite(o->reference_d_nm))
            return MRO_FAIL(e, MRO_EARG,
                            "strain is relative to a spacing or to an area: give `reference_d` or `reference`");
    }
    for (size_t i = 0; i < o->n_g; i++) {
        const double *g = o->g_inv_nm[i], q = hypot(g[0], g[1]);
        if (!(q >= o->band_inv_nm[0] && q <= fmin(o->band_inv_nm[1], nyquist - NYQUIST_ROOM)))
            return MRO_FAIL(
                e, MRO_EARG,
                "'%s': fringes of %.4g nm are not among the spacings looked for, %.3g to %.3g nm (`d_range`, "
                "and what pixels of %.3g nm show)",
                name, 1 / q, 1 / fmin(o->band_inv_nm[1], nyquist - NYQUIST_ROOM), 1 / o->band_inv_nm[0],
                fmax(pixel[0], pixel[1]));
    }
    if (o->n_g == 2) {
        const double *u = o->g_inv_nm[0], *v = o->g_inv_nm[1];
        const double sine = fabs(u[0] * v[1] - u[1] * v[0]) / (hypot(u[0], u[1]) * hypot(v[0], v[1]));
        if (sine < LEAST_SINE)
            return MRO_FAIL(e, MRO_EARG,
                            "the two given sets of fringes are collinear (%.2g degrees apart): strain in "
                            "the plane takes "
                            "two that are at least 15 degrees apart",
                            asin(sine) * 180 / MRO_PI);
    }
    if (isfinite(o->band_width_nm) && !isfinite(o->band_line_nm[0]))
        return MRO_FAIL(e, MRO_EARG, "a band has a line along its middle: give `band_line` with `band_width`");
    if (isfinite(o->band_line_nm[0]) &&
        !(hypot(o->band_line_nm[2] - o->band_line_nm[0], o->band_line_nm[3] - o->band_line_nm[1]) > 0))
        return MRO_FAIL(e, MRO_EARG, "the band's line begins and ends at the same point");
    return MRO_OK;
}

static void unknown(struct mro_crystal_result *r)
{
    r->false_expected = r->size_limit_nm = NAN;
    r->band.rate_ratio = r->band.rate_p = NAN;
}

/* Map points with data around them, and within the image. */
static void mark_usable(const struct crystal_work *w, const struct mro_image *im)
{
#pragma omp parallel for schedule(static) num_threads(mro_team(w->d->threads, 4.0 * (double)(w->map.ny * w->map.nx)))
    for (size_t y = 0; y < w->map.ny; y++) {
        const size_t py = (size_t)lround((double)y * w->step[0] / w->pixel_nm[0]);
        const float *row = im->px + (py < im->ny ? py : im->ny - 1) * im->nx;
        for (size_t x = 0; x < w->map.nx; x++) {
            const size_t px = (size_t)lround((double)x * w->step[1] / w->pixel_nm[1]);
            w->usable[y * w->map.nx + x] = isfinite(row[px < im->nx ? px : im->nx - 1]);
        }
    }
}

static void give_verdict(const struct mro_crystal_options *o, struct mro_crystal_result *r)
{
    const size_t n = r->n_crystals;
    if (n == 0 && o->n_g) {
        snprintf(r->verdict, sizeof r->verdict, "no crystal: the given fringes do not stand out of the speckle");
        return;
    }
    if (n == 0) {
        snprintf(r->verdict, sizeof r->verdict,
                 "no crystal: no fringes stand out of the speckle between %.3g and %.3g nm", 1 / r->band_inv_nm[1],
                 1 / r->band_inv_nm[0]);
        return;
    }
    const struct mro_crystal *c = &r->crystals[0];
    int vortices = 0;
    for (size_t i = 0; i < n; i++) vortices += r->crystals[i].vortices > 0 ? r->crystals[i].vortices : 0;
    char spacing[48];
    mro_write_with_error(spacing, sizeof spacing, c->fringes[0].d_nm, c->fringes[0].d_se_nm, 4, " +- ");
    int used = snprintf(r->verdict, sizeof r->verdict, "%zu crystal%s, the largest %.1f nm with d = %s nm", n,
                        n == 1 ? "" : "s", c->diameter_nm, spacing);
    if (r->n_sides && used > 0 && (size_t)used < sizeof r->verdict) {
        const struct mro_crystal_side *a = &r->sides[0], *b = &r->sides[1];
        if (isfinite(a->strain))
            used += snprintf(r->verdict + used, sizeof r->verdict - (size_t)used,
                             "; a step of strain along the fringe normal from %.2f to %.2f %%", 100 * a->strain,
                             100 * b->strain);
    }
    if (vortices && used > 0 && (size_t)used < sizeof r->verdict)
        snprintf(r->verdict + used, sizeof r->verdict - (size_t)used, "; %d phase vort%s", vortices,
                 vortices == 1 ? "ex" : "ices");
}

/* Numbers of crystals for a sentence: "1, 2, 5". Long lists end with "...". */
struct numbers {
    char text[96];
    size_t n;
};

static void add_number(struct numbers *l, size_t k)
{
    const size_t used = strlen(l->text);
    if (used + 8 < sizeof l->text - 8)
        snprintf(l->text + used, sizeof l->text - used, "%s%zu", l->n ? ", " : "", k + 1);
    else if (strcmp(l->text + used - 3, "...") != 0)
        snprintf(l->text + used, sizeof l->text - used, ", ...");
    l->n++;
}

static void warn_of_crystals(struct crystal_work *w)
{
    struct mro_crystal_result *r = w->r;
    const struct mro_crystal_options *o = w->o;
    struct numbers cut = { 0 }, single = { 0 }, faint = { 0 }, collinear = { 0 }, unreferred = { 0 };
    const bool searched = !isfinite(o->reference_d_nm) && !(o->reference_nm[2] > o->reference_nm[0]);
    double over_noise[2] = { INFINITY, -INFINITY };
    for (size_t k = 0; k < r->n_crystals; k++) {
        const struct mro_crystal *c = &r->crystals[k];
        const double clear = c->fringes[0].amplitude_over_noise;
        if (c->at_border) add_number(&cut, k);
        if (searched && !isfinite(c->reference_nm[0])) add_number(&unreferred, k);
        if (clear < CLEAR_RIM) {
            add_number(&faint, k);
            over_noise[0] = fmin(over_noise[0], clear);
            over_noise[1] = fmax(over_noise[1], clear);
        }
        if (c->pair[1] >= 0) {
            const double known[2][2] = { { c->fringes[c->pair[0]].g_inv_nm[0], c->fringes[c->pair[0]].g_inv_nm[1] },
                                         { c->fringes[c->pair[1]].g_inv_nm[0], c->fringes[c->pair[1]].g_inv_nm[1] } };
            size_t others = 0;
            for (size_t i = 0; i < c->n_fringes; i++) others += !on_lattice(known, 2, c->fringes[i].g_inv_nm);
            if (others)
                mro_crystal_warn(
                    r,
                    "crystal %zu: %zu of its %zu sets of fringes do not fit the lattice of the others: two "
                    "crystals may lie over each other",
                    k + 1, others, c->n_fringes);
            continue;
        }
        add_number(c->n_fringes == 1 ? &single : &collinear, k);
    }
    if (unreferred.n)
        mro_crystal_warn(r, "crystal%s %s: too small or too weak for a reference area: no strain was measured",
                         unreferred.n > 1 ? "s" : "", unreferred.text);
    if (faint.n == 1)
        mro_crystal_warn(r,
                         "crystal %s: its fringes are %.1f times as high as the noise only, and its rim is lost in "
                         "that: its size is of the part that stands out",
                         faint.text, over_noise[0]);
    if (faint.n > 1)
        mro_crystal_warn(r,
                         "crystals %s: their fringes are %.1f to %.1f times as high as the noise only, and their rims "
                         "are lost in that: sizes are of the parts that stand out",
                         faint.text, over_noise[0], over_noise[1]);
    if (collinear.n)
        mro_crystal_warn(r,
                         "crystal%s %s: the sets of fringes are collinear: strain is along their normal only, exx, "
                         "eyy, exy and rotation are unknown",
                         collinear.n > 1 ? "s" : "", collinear.text);
    if (cut.n)
        mro_crystal_warn(r,
                         "crystal%s %s: cut by the border of the image: position and size are of the part that is seen",
                         cut.n > 1 ? "s" : "", cut.text);
    if (single.n)
        mro_crystal_warn(
            r,
            "crystal%s %s: a single set of fringes is shown: strain is along its normal only, exx, eyy, exy "
            "and rotation are unknown",
            single.n > 1 ? "s" : "", single.text);
    if (o->reference_nm[2] > o->reference_nm[0]) {
        size_t holds = 0;
        for (size_t k = 0; k < r->n_crystals; k++) holds += isfinite(r->crystals[k].reference_nm[0]);
        if (holds == 0)
            mro_crystal_warn(r, "the reference area %g,%g,%g,%g nm lies outside every crystal: no strain was measured",
                             o->reference_nm[0], o->reference_nm[1], o->reference_nm[2], o->reference_nm[3]);
        else if (holds < r->n_crystals)
            mro_crystal_warn(
                r, "the reference area lies in %zu of %zu crystals: the strain of the others was not measured", holds,
                r->n_crystals);
    }
}

/* The field of the spectrum over the root of the speckle's power, to w->field, and the spectrum of that within the
 * band, to `white`; z: the copy of the spectrum on the host, which is lost. *even: mean square of the field of `white`
 * where speckle is even. */
static enum mro_code whiten(struct crystal_work *w, mro_c32 *z, struct mro_buffer *white, double *even,
                            struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t ny = w->grid.ny, nx = w->grid.nx, n = ny * nx;
    /* On very large fields a disc of the median would hold more rows than a card's kernel has room for. */
    const double radius = fmin(WHITEN_RADIUS, 700 / fmax(w->grid.ly, w->grid.lx));
    struct mro_buffer power = { 0 };
    float *gain = malloc(n * sizeof *gain);
    double *rows = malloc(ny * sizeof *rows);
    enum mro_code rc = MRO_OK;
    if (!gain || !rows) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &power, n * sizeof *gain, e))) goto done;
    if ((rc = d->ops->local_power(d, &w->grid, &w->spectrum, NULL, radius, w->band[0] - CRYSTAL_BAND_EDGE,
                                  w->band[1] + CRYSTAL_BAND_EDGE, &power, e)))
        goto done;
    if ((rc = d->ops->download(d, gain, &power, n * sizeof *gain, e))) goto done;
    fill_level(w, gain);
#pragma omp parallel for schedule(static) num_threads(mro_team(d->threads, 0.6 * (double)n))
    for (size_t y = 0; y < ny; y++)
#pragma omp simd
        for (size_t i = y * nx; i < (y + 1) * nx; i++) {
            const float g = w->level[i] > 0 ? 1 / sqrtf(w->level[i]) : 0;
            z[i].re *= g;
            z[i].im *= g;
        }
    if ((rc = d->ops->upload(d, white, z, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->inverse(d, &w->grid, white, &w->field, e))) goto done;
#pragma omp parallel for schedule(static) num_threads(mro_team(d->threads, 3.0 * (double)n))
    for (size_t y = 0; y < ny; y++) {
        float *row = gain + y * nx;
#pragma omp simd
        for (size_t x = 0; x < nx; x++) {
            row[x] = band_gain_at(w, y, x);
            z[y * nx + x].re *= row[x];
            z[y * nx + x].im *= row[x];
        }
        rows[y] = 0;
        for (size_t x = 0; x < nx; x++) rows[y] += (double)row[x] * (double)row[x];
    }
    *even = 0;
    for (size_t y = 0; y < ny; y++) *even += rows[y] / (double)n;
    rc = d->ops->upload(d, white, z, n * sizeof *z, e);
done:
    d->ops->release(d, &power);
    free(gain);
    free(rows);
    return rc;
}

/* Puts the largest crystals first, and their sets with them. */
static enum mro_code sort_crystals(struct crystal_work *w, struct members *of, struct mro_error *e)
{
    struct mro_crystal_result *r = w->r;
    const size_t n = r->n_crystals;
    struct mro_crystal *sorted = malloc((n + 1) * sizeof *sorted);
    struct members *with = malloc((n + 1) * sizeof *with);
    const bool ready = sorted && with;
    if (ready && n > 1) {
        memcpy(sorted, r->crystals, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, by_size);
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < n; k++)
                if (r->crystals[k].y_nm == sorted[i].y_nm && r->crystals[k].x_nm == sorted[i].x_nm &&
                    r->crystals[k].diameter_nm == sorted[i].diameter_nm)
                    with[i] = of[k];
        memcpy(r->crystals, sorted, n * sizeof *sorted);
        memcpy(of, with, n * sizeof *with);
    }
    free(sorted);
    free(with);
    return ready ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
}

/* Strain of all crystals. Each writes sides and warnings of its own, which follow those of the crystals before it. */
static enum mro_code strain_all(struct crystal_work *w, struct members *of, struct mro_error *e)
{
    struct mro_crystal_result *r = w->r;
    const size_t n = r->n_crystals;
    struct mro_crystal_result *own = calloc(n + 1, sizeof *own);
    struct strain_reference *ref = malloc((n + 1) * sizeof *ref);
    struct mro_first_error first = { 0 };
    enum mro_code rc = own && ref ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    if (rc) goto done;
#pragma omp parallel for schedule(dynamic) num_threads((int)w->n_rooms)
    for (size_t k = 0; k < n; k++) {
        struct crystal_work mine = *w;
        struct mro_error at;
        own[k].crystals = r->crystals;
        mine.room = w->room + omp_get_thread_num();
        mine.r = own + k;
        mro_first_keep(&first, k, mro_crystal_strain(&mine, k, of[k].set, ref + k, &at), &at);
    }
    rc = mro_first_code(&first, e);
    for (size_t k = 0; k < n && rc == MRO_OK; k++) {
        mro_crystal_draw(w, k, of[k].set, ref + k);
        for (size_t i = 0; i < own[k].n_warnings; i++) mro_crystal_warn(r, "%s", own[k].warnings[i]);
        if (own[k].n_sides == 0) continue;
        struct mro_crystal_side *sides = realloc(r->sides, (r->n_sides + own[k].n_sides) * sizeof *sides);
        if (sides == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
            break;
        }
        r->sides = sides;
        memcpy(sides + r->n_sides, own[k].sides, own[k].n_sides * sizeof *sides);
        r->n_sides += own[k].n_sides;
    }
done:
    for (size_t k = 0; own && k < n; k++) {
        free(own[k].sides);
        mro_notes_release(&own[k].warnings, &own[k].n_warnings);
    }
    free(own);
    free(ref);
    return rc;
}

static enum mro_code find_steps(struct crystal_work *w, struct mro_error *e)
{
    struct mro_first_error first = { 0 };
#pragma omp parallel for schedule(dynamic) num_threads(w->d->threads)
    for (size_t i = 0; i < w->sets.n; i++) {
        struct mro_error mine;
        mro_first_keep(&first, i, mro_fringe_find_step(w, &w->sets.v[i], &mine), &mine);
    }
    return mro_first_code(&first, e);
}

static enum mro_code measure(struct crystal_work *w, const struct mro_image *im, struct mro_error *e)
{
    struct mro_device *d = w->d;
    struct mro_crystal_result *r = w->r;
    const size_t n = w->grid.ny * w->grid.nx, m = w->map.ny * w->map.nx;
    struct mro_buffer white = { 0 };
    struct members *of = NULL;
    size_t spikes = 0;
    double even = 1;
    mro_c32 *host = malloc(n * sizeof *host);
    enum mro_code rc = MRO_OK;
    w->usable = malloc(m);
    w->level = malloc(n * sizeof *w->level);
    w->gain = malloc(m * sizeof *w->gain);
    if (!host || !w->usable || !w->level || !w->gain) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    mark_usable(w, im);
    if ((rc = mro_fringe_rooms_new(w, e))) goto done;
    if ((rc = d->ops->alloc(d, &w->spectrum, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &w->field, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &white, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->contrast_spectrum(d, im->px, im->ny, im->nx, w->pixel_nm, BACKGROUND_NM, &w->grid, &w->spectrum,
                                        &spikes, NULL, e)))
        goto done;
    if (spikes > im->ny * im->nx / 1000)
        mro_crystal_warn(r, "%zu pixels (%.2g %%) stood out of their neighbours as spikes and were replaced", spikes,
                         100.0 * (double)spikes / (double)(im->ny * im->nx));
    if ((rc = d->ops->download(d, host, &w->spectrum, n * sizeof *host, e))) goto done;
    if (quiet_lines(w, host)) {
        mro_crystal_warn(r,
                         "rows or columns of pixels differ as a whole (scan or readout lines): that was taken down to "
                         "the rest of the noise");
        if ((rc = d->ops->upload(d, &w->spectrum, host, n * sizeof *host, e))) goto done;
    }
    if ((rc = power_image(w, host, &r->power, e))) goto done;
    if ((rc = whiten(w, host, &white, &even, e))) goto done;
    if ((rc = measure_gain(w, &white, even, e))) goto done;
    if ((rc = mro_crystal_find(w, &white, e))) goto done;
    /* describe() asks for all; next to a reference few are asked for */
    if (!isfinite(w->o->reference_d_nm) && (rc = find_steps(w, e))) goto done;
    if ((rc = group_sets(w, &of, e))) goto done;
    for (size_t k = 0; k < r->n_crystals; k++) describe(w, &of[k], &r->crystals[k]);
    if ((rc = sort_crystals(w, of, e))) goto done;
    struct mro_image *const maps[] = { &r->exx, &r->eyy, &r->exy, &r->rotation, &r->enn, &r->owner };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if ((rc = new_map(w, maps[i], im, maps[i] == &r->owner ? -1 : NAN, e))) goto done;
    if ((rc = strain_all(w, of, e))) goto done;
    if (r->n_crystals && (rc = filter_image(w, im, e))) goto done;
    r->false_expected = w->o->false_per_image;
    if (r->n_crystals) {
        float *size = malloc(r->n_crystals * sizeof *size);
        const double least = mro_crystal_threshold(w);
        if (size == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
            goto done;
        }
        for (size_t k = 0; k < r->n_crystals; k++)
            size[k] = (float)(r->crystals[k].diameter_nm * sqrt(least / r->crystals[k].fringes[0].snr));
        r->size_limit_nm = fmax(CRYSTAL_SMALLEST_NM, mro_median(size, r->n_crystals));
        free(size);
    }
    warn_of_crystals(w);
    if (isfinite(w->o->band_line_nm[0])) mro_crystal_band_measure(w->o, w->usable, &w->map, w->pixel_nm, r);
    give_verdict(w->o, r);
done:
    d->ops->release(d, &white);
    free(of);
    free(host);
    return rc;
}

static bool plan_grids(struct crystal_work *w, const struct mro_image *im)
{
    const double ly = (double)im->ny * w->pixel_nm[0], lx = (double)im->nx * w->pixel_nm[1];
    const double nyquist = 0.5 / fmax(w->pixel_nm[0], w->pixel_nm[1]);
    w->band[0] = w->o->band_inv_nm[0];
    w->band[1] = fmin(w->o->band_inv_nm[1], nyquist - NYQUIST_ROOM);
    const double q = fmin(w->band[1] + GRID_OVER, nyquist);
    const size_t ny = mro_smooth_size((size_t)ceil(2 * q * ly)), nx = mro_smooth_size((size_t)ceil(2 * q * lx));
    w->grid = (struct mro_grid){ ny < im->ny ? ny : im->ny, nx < im->nx ? nx : im->nx, ly, lx };
    /* The mask must fit; beyond that, 2.5 points across its width are enough to draw. */
    const double step =
        fmin(fmax(MAP_STEP_NM, fmax(ly, lx) / MAP_MOST), 1 / (2 * CRYSTAL_MASK_REACH * w->o->mask_inv_nm + 0.5));
    w->map = mro_fringe_map(ly, lx, step);
    w->unit = sqrt((double)w->grid.ny * (double)w->grid.nx / ((double)im->ny * (double)im->nx));
    w->step[0] = ly / (double)w->map.ny;
    w->step[1] = lx / (double)w->map.nx;
    return w->band[1] < w->o->band_inv_nm[1];
}

enum mro_code mro_crystal_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                  const struct mro_crystal_options *o, struct mro_crystal_result *r,
                                  struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    struct crystal_work w = { .d = d, .o = o, .name = name, .doubt = { .variance = 0.02 }, .r = r };
    memset(r, 0, sizeof *r);
    unknown(r);
    MRO_TRY(mro_image_pixel_nm(im, name, w.pixel_nm, e));
    if (im->ny < 8 || im->nx < 8)
        return MRO_FAIL(e, MRO_EDATA, "'%s': %zu x %zu pixels are too few; 8 along each axis are needed", name, im->nx,
                        im->ny);
    MRO_TRY(check(o, im, w.pixel_nm, name, e));
    MRO_TRY(mro_pixels_in_range(im, name, e));
    memcpy(r->pixel_nm, w.pixel_nm, sizeof r->pixel_nm);
    r->mask_inv_nm = o->mask_inv_nm;
    r->resolution_nm = 2 * sqrt(2 * log(2)) / (2 * MRO_PI * o->mask_inv_nm);
    r->reference_d_nm = o->reference_d_nm;
    r->filter_radius_inv_nm = FILTER_RADIUS;
    r->filter_edge_inv_nm = FILTER_EDGE;
    const bool cut_band = plan_grids(&w, im);
    memcpy(r->band_inv_nm, w.band, sizeof w.band);

    if (!mro_pixels_vary(im, &r->warnings, &r->n_warnings, r->verdict, sizeof r->verdict)) return MRO_OK;
    if (fmin(w.grid.ly, w.grid.lx) < 5) {
        mro_crystal_warn(
            r, "the image is %.2f nm x %.2f nm: too small for a crystal and its surroundings; 5 nm are needed",
            w.grid.lx, w.grid.ly);
        snprintf(r->verdict, sizeof r->verdict, "not measured: the field is too small");
        return MRO_OK;
    }
    if (im->not_finite) mro_crystal_warn(r, "%zu pixels are not finite numbers and are left out", im->not_finite);
    if (cut_band)
        mro_crystal_warn(r, "pixels of %.3g nm do not show spacings below %.3g nm", fmax(w.pixel_nm[0], w.pixel_nm[1]),
                         1 / w.band[1]);
    const enum mro_code rc = measure(&w, im, e);
    mro_crystal_work_release(&w);
    if (rc) mro_crystal_result_release(r);
    return rc;
}

void mro_crystal_result_release(struct mro_crystal_result *r)
{
    if (r == NULL) return;
    free(r->crystals);
    free(r->sides);
    mro_notes_release(&r->warnings, &r->n_warnings);
    struct mro_image *const maps[] = { &r->exx, &r->eyy,   &r->exy,      &r->rotation,
                                       &r->enn, &r->owner, &r->filtered, &r->power };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) mro_image_release(maps[i]);
    memset(r, 0, sizeof *r);
}

size_t mro_crystal_bytes(const struct mro_image *like, const struct mro_crystal_options *o)
{
    struct crystal_work w = { .o = o };
    struct mro_error e;
    if (mro_image_pixel_nm(like, "", w.pixel_nm, &e) != MRO_OK || check(o, like, w.pixel_nm, "", &e) != MRO_OK)
        return (size_t)1 << 20;
    plan_grids(&w, like);
    const size_t half = like->ny * (w.grid.nx / 2 + 1) * sizeof(mro_c32);
    return ((size_t)8 << 20) + half + w.grid.ny * w.grid.nx * 64 + w.map.ny * w.map.nx * 96;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The crystals that sets of fringes make: which belong together, and what each crystal is by its sets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/crystal/crystal_internal.h"

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

bool mro_crystal_on_lattice(const double (*known)[2], size_t n, const double g[2])
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            const double *u = known[i], *v = known[j], det = u[0] * v[1] - u[1] * v[0];
            if (fabs(det) < CRYSTAL_LEAST_SINE * hypot(u[0], u[1]) * hypot(v[0], v[1])) continue;
            const double a = 2 * (g[0] * v[1] - g[1] * v[0]) / det, b = 2 * (u[0] * g[1] - u[1] * g[0]) / det;
            if (fabs(a - round(a)) < 0.1 && fabs(b - round(b)) < 0.1) return true;
        }
    return false;
}

/* Whether a set that stands out of the noise in a part of a crystal only is one more of its lattice. */
static bool part_of(const struct crystal_work *w, const struct crystal_members *m, size_t n, const struct fringe_set *s)
{
    double known[MRO_CRYSTAL_FRINGES][2];
    if (mro_fringe_shared(w, s, m->set[0]) < 0.8 * s->area_nm2) return false;
    for (size_t i = 0; i < n && i < MRO_CRYSTAL_FRINGES; i++) memcpy(known[i], m->set[i]->g, sizeof known[i]);
    return mro_crystal_on_lattice((const double(*)[2])known, n, s->g);
}

/* Groups sets into crystals; `of` receives the sets of each. */
static enum mro_code group_sets(struct crystal_work *w, struct crystal_members **of, struct mro_error *e)
{
    struct fringe_list *l = &w->sets;
    struct mro_crystal_result *r = w->r;
    if (l->n == 0) return MRO_OK;
    qsort(l->v, l->n, sizeof *l->v, by_snr);
    r->crystals = calloc(l->n, sizeof *r->crystals);
    *of = calloc(l->n, sizeof **of);
    if (r->crystals == NULL || *of == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    struct crystal_members *m = *of;
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

static void describe(const struct crystal_work *w, struct crystal_members *m, struct mro_crystal *c)
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
        if (sine < CRYSTAL_LEAST_SINE || score <= best) continue;
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

/* Puts the largest crystals first, and their sets with them. */
static enum mro_code sort_crystals(struct crystal_work *w, struct crystal_members *of, struct mro_error *e)
{
    struct mro_crystal_result *r = w->r;
    const size_t n = r->n_crystals;
    struct mro_crystal *sorted = malloc((n + 1) * sizeof *sorted);
    struct crystal_members *with = malloc((n + 1) * sizeof *with);
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

enum mro_code mro_crystal_group(struct crystal_work *w, struct crystal_members **of, struct mro_error *e)
{
    MRO_TRY(group_sets(w, of, e));
    for (size_t k = 0; k < w->r->n_crystals; k++) describe(w, &(*of)[k], &w->r->crystals[k]);
    return sort_crystals(w, *of, e);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Crystals among the clusters: regions of fringes that are larger than any sphere that patches are matched to. They are
 * grown and measured as `lattice` does it, on the field as the MRO measurement whitens it, lens and all. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/first_error.h"
#include "core/select.h"
#include "mroscope/math/grid.h"
#include "ops/crystal/crystal_internal.h"
#include "ops/mro/mro_internal.h"

#define SQUARE_NM 2.9        /* diagonal of squares of flagged cells that neighbouring clusters hardly make together */
#define WIDE_NM 3.7          /* flagged cells of as many as a disc of that diameter are more than those of a cluster, */
#define WIDE_CROWDED_NM 3.3  /* and in small fields, where a crystal's own power hides a part of it */
#define LEAST_NM 2.7         /* of a crystal: what is smaller is of the posterior alone */
#define SATURATED_NM 2.6     /* patches of that size and more may be of a crystal for which there is no size, */
#define SATURATED_SNR 60.0   /* where they are as clear, */
#define SATURATED_SHARE 0.04 /* and on as much of the field, so that they raise the power they are whitened by */
/* Share of clusters of 1.8 to 2.4 nm that look larger than all sizes, by chance: 182 of 48216 in 70 fields of 102 nm
 * where their median ratio is 18. Clear ones do so less, 4 of 60413 at a ratio of 44. More are there where chance gives
 * as many with less than BEYOND_CHANCE. */
#define BEYOND_SHARE 3.8e-3
#define BEYOND_CHANCE 0.1
#define WEAK 5.0         /* fringes over their noise, below which a narrower mask is tried, */
#define WEAK_MASK 0.6    /* over the usual one, */
#define WEAK_CLEAR 3.5   /* with fringes over noise of at least that, */
#define WEAK_NM 3.5      /* in crystals of that diameter and more, which it does not smear */
#define WEAK_MISSED 0.12 /* variance of the number of those that are not found, per one that is: one in ten */
#define ROUNDS 3         /* of whitening: see whiten_without */
#define ANGLE_DEG 3.0    /* between sets of fringes of one crystal, off the lattice's */
#define SEED_NM 1.0      /* around a patch, where its fringes are strongest */
#define APART_NM 6.0     /* patches further apart are hardly of one crystal */
#define MAP_STEP_NM 0.12 /* of demodulated fields */
#define BESIDE_NM 0.6    /* of a crystal, where patches may be its rim */
#define WHOLE_NM 6.5     /* crystals that most foils hold whole */
/* See struct crystal_doubt; from planted spheres, cut by the foil or not, and discs. */
#define SHARE_VARIANCE 0.0009
#define SHARE_NOISE 0.35
#define SHARE_EXCESS 0.02
#define SHARED_SD 0.06    /* of the area of all crystals, relative: spheres, or cut by the foil */
#define SPACING_SD 0.0025 /* relative: spacings are given to three digits, and pixel sizes are hardly better */
#define RIM_SD_NM 0.15    /* of a diameter */
#define MOST_GROWN 0.33   /* of the field: beyond, the noise is of crystals and tells nothing of their rims */
#define MOST_LEVEL 0.8    /* of the plateau where a region ends: there a sphere is too flat to tell its rim */

enum { WAVES = 9 }; /* that the noise is measured at */

/* Crystals wider than that are cut flat by the foil: partly from the first on, and all of them from the second. */
static const double FLAT_NM[2] = { 8, 12 };

/* Marks squares of flagged cells that are SQUARE_NM across, where the flagged cells that they touch make more than the
 * largest sphere that is looked for; `wide` is 0 before. *widest: diameter of a disc of as many cells as the largest
 * set of them has; 0 where there is none. `flagged` is lost. */
static enum mro_code mark_wide(const struct mro_scores *s, unsigned char *flagged, unsigned char *wide, double *widest,
                               struct mro_error *e)
{
    const size_t ny = s->cells.ny, nx = s->cells.nx;
    const double cell = s->cells.ly / (double)ny * s->cells.lx / (double)nx;
    const double wanted = s->cells.ly * s->cells.lx < MRO_CROWDED_NM2 ? WIDE_CROWDED_NM : WIDE_NM;
    const size_t least = (size_t)ceil(SQUARE_NM / sqrt(2 * cell));
    size_t *side = calloc(nx + 1, sizeof *side); /* of the largest square that ends in a cell */
    size_t *list = malloc(ny * nx * sizeof *list);
    *widest = 0;
    if (side == NULL || list == NULL) {
        free(side);
        free(list);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu cells", ny * nx);
    }
    for (size_t j = 0; j < ny; j++)
        for (size_t i = 0, corner = 0; i < nx; i++) {
            const size_t above = side[i + 1], beside = i ? side[i] : 0, other = above < beside ? above : beside;
            side[i + 1] = flagged[j * nx + i] ? 1 + (other < corner ? other : corner) : 0;
            corner = above;
            for (size_t k = 0; k < least && side[i + 1] >= least; k++)
                memset(wide + (j - k) * nx + i + 1 - least, 1, least);
        }
    for (size_t i = 0; i < ny * nx; i++) {
        size_t n = 0;
        if (!wide[i] || !flagged[i]) continue; /* or seen already */
        list[n++] = i;
        flagged[i] = 0;
        for (size_t done = 0; done < n; done++) {
            const size_t at = list[done], y = at / nx, x = at % nx;
            const size_t next[4] = { y ? at - nx : at, y + 1 < ny ? at + nx : at, x ? at - 1 : at,
                                     x + 1 < nx ? at + 1 : at };
            for (int k = 0; k < 4; k++) {
                if (!flagged[next[k]]) continue;
                flagged[next[k]] = 0;
                list[n++] = next[k];
            }
        }
        const double across = 2 * sqrt((double)n * cell / MRO_PI);
        for (size_t k = 0; k < n && across < wanted; k++) wide[list[k]] = 0;
        if (across >= wanted) *widest = fmax(*widest, across);
    }
    free(side);
    free(list);
    return MRO_OK;
}

/* The cell next to a place along an axis of n cells, off the rim of the field where nothing is searched. */
static size_t cell_along(double at_nm, double length_nm, size_t n)
{
    const double pitch = length_nm / (double)n, rim = MRO_SEARCH_MARGIN_NM + pitch;
    return (size_t)lround(fmin(fmax(at_nm, rim), length_nm - rim) / pitch);
}

static size_t cell_at(const struct mro_scores *s, double y_nm, double x_nm)
{
    return cell_along(y_nm, s->cells.ly, s->cells.ny) * s->cells.nx + cell_along(x_nm, s->cells.lx, s->cells.nx);
}

/* The field whitened by the power of what is not flagged, to `white`; *known: false where too little is left. The field
 * of the scores stays as it is. A spot that was whitened away is a dip in what is left, which a median over more than
 * the dip follows by a part: hence rounds. */
static enum mro_code whiten_without(const struct mro_order_plan *p, struct mro_scores *s, struct mro_whitened *w,
                                    const unsigned char *flagged, const struct mro_found_list *found,
                                    struct mro_buffer *white, bool *known, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_grid *g = &s->grid;
    const size_t n = g->ny * g->nx;
    float *mask = malloc(n * sizeof *mask), *line = malloc((g->nx + MRO_CUT_MORE) * sizeof *line);
    struct mro_buffer flat = { 0 };
    enum mro_code rc = MRO_OK;
    if (mask == NULL || line == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    mro_sound_mask(s, mask);
    mro_cut_cells(s, flagged, line, mask);
    if ((rc = d->ops->alloc(d, &flat, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->forward(d, g, &s->field, &flat, e))) goto done;
    for (int round = 0; round < ROUNDS; round++) {
        float *gain;
        void *copy;
        if (round && (rc = d->ops->inverse(d, g, &flat, &s->field, e))) goto done;
        rc = mro_gains_without(p, s, found, mask, &w->power, &gain, &copy, e);
        *known = gain != NULL;
        if (rc == MRO_OK && *known) rc = d->ops->multiply(d, g, &flat, gain, e);
        free(copy);
        if (rc) goto done;
        if (!*known) break;
    }
    if ((rc = d->ops->alloc(d, white, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->inverse(d, g, &flat, white, e))) goto done;
    rc = d->ops->inverse(d, g, &w->spectrum, &s->field, e);
done:
    d->ops->release(d, &flat);
    free(mask);
    free(line);
    return rc;
}

size_t mro_crystals_bytes(const struct mro_grid *g)
{
    const struct mro_grid map = mro_fringe_map(g->ly, g->lx, MAP_STEP_NM);
    /* The whitened spectrum and its field; where there is data, and where crystals are. */
    return 12 * g->ny * g->nx + 2 * map.ny * map.nx;
}

/* What growing takes beside the spectrum: even speckle, and where there is data. */
static enum mro_code open_work(struct crystal_work *k, const struct mro_scores *s, const unsigned char *searched,
                               struct mro_error *e)
{
    const struct mro_grid *g = &s->grid;
    k->grid = *g;
    k->map = mro_fringe_map(g->ly, g->lx, MAP_STEP_NM);
    k->step[0] = g->ly / (double)k->map.ny;
    k->step[1] = g->lx / (double)k->map.nx;
    const size_t m = k->map.ny * k->map.nx;
    size_t *cell = malloc(k->map.nx * sizeof *cell);
    k->usable = malloc(m);
    if (k->usable == NULL || cell == NULL) {
        free(cell);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    }
    for (size_t x = 0; x < k->map.nx; x++) cell[x] = cell_along((double)x * k->step[1], s->cells.lx, s->cells.nx);
    for (size_t y = 0; y < k->map.ny; y++) {
        const size_t row = cell_along((double)y * k->step[0], s->cells.ly, s->cells.ny);
        for (size_t x = 0; x < k->map.nx; x++) k->usable[y * k->map.nx + x] = searched[row * s->cells.nx + cell[x]];
    }
    free(cell);
    return mro_fringe_rooms_new(k, e);
}

/* The noise of fringes: the same at all wave vectors, as the field is white without its crystals. Told by a few. */
static enum mro_code measure_speckle(const struct mro_order_plan *p, struct crystal_work *k, struct mro_error *e)
{
    const double mask = k->o->mask_inv_nm, q = 1 / p->o.d_nm;
    float of_wave[WAVES];
    for (int i = 0; i < WAVES; i++) {
        const double azimuth = MRO_PI * i / WAVES, g[2] = { q * sin(azimuth), q * cos(azimuth) };
        double noise;
        MRO_TRY(mro_fringe_noise(k, g, mask, &noise, e));
        of_wave[i] = (float)(noise / mask);
    }
    k->speckle = (double)mro_median(of_wave, WAVES);
    return MRO_OK;
}

/* Whether a patch is of fringes that are known. */
static bool explained(const struct crystal_work *k, const struct mro_found *f)
{
    const double g[2] = { f->gy, f->gx };
    const ptrdiff_t y = (ptrdiff_t)lround(f->y_nm / k->step[0]), x = (ptrdiff_t)lround(f->x_nm / k->step[1]);
    for (size_t i = 0; i < k->sets.n; i++) {
        const struct fringe_set *t = &k->sets.v[i];
        const ptrdiff_t j = y - (ptrdiff_t)t->f.y0, l = x - (ptrdiff_t)t->f.x0;
        if (j < 0 || l < 0 || j >= (ptrdiff_t)t->f.h || l >= (ptrdiff_t)t->f.w ||
            !t->f.inside[j * (ptrdiff_t)t->f.w + l])
            continue;
        if (mro_fringe_apart(g, t->g) < fmax(0.5, 1.5 / t->diameter_nm)) return true;
    }
    return false;
}

static bool largest(const struct mro_order_plan *p, const struct mro_found *f)
{
    return p->search.diameter_nm[f->best] >= SATURATED_NM;
}

/* Whether a patch may be of a crystal for which there is no size. */
static bool saturated(const struct mro_order_plan *p, const struct mro_found *f)
{
    return largest(p, f) && f->snr > SATURATED_SNR;
}

/* Whether there are so many of these that they hide a part of themselves. */
static bool many_saturated(const struct mro_order_plan *p, const struct mro_scores *s,
                           const struct mro_found_list *found)
{
    double area = 0;
    for (size_t i = 0; i < found->n; i++)
        if (saturated(p, found->v + i)) area += MRO_PI / 4 * SATURATED_NM * SATURATED_NM;
    return area > SATURATED_SHARE * s->grid.ly * s->grid.lx;
}

/* Whether there are more patches that are larger than all that is matched to them than clusters look so by chance. */
static bool some_beyond(const struct mro_found_list *found)
{
    size_t n = 0;
    for (size_t i = 0; i < found->n; i++) n += found->v[i].beyond;
    return n > 0 && gsl_cdf_poisson_Q((unsigned)n - 1, BEYOND_SHARE * (double)found->n) < BEYOND_CHANCE;
}

/* What grew from a patch: a set of fringes, or nothing. It does not depend on the crystals that are known, so that
 * several patches are grown at the same time; which of them are kept does, and is decided in their order. */
struct growth {
    bool tried, known;
    struct fringe_set set;
};

/* Patches that crystals are grown from, the most significant first. */
struct seeds {
    const struct mro_order_plan *p;
    const struct mro_scores *s;
    const unsigned char *wide;
    const struct mro_found_list *found;
    bool weak;            /* more are beyond what is matched than by chance: all of that size may be of crystals */
    struct growth *grown; /* of each */
};

/* Whether a patch is of a wide region, or may be of a crystal otherwise, and of none that is known. */
static bool is_seed(const struct seeds *l, const struct crystal_work *k, size_t i)
{
    const struct mro_found *f = l->found->v + i;
    return (saturated(l->p, f) || (l->weak && largest(l->p, f)) || l->wide[cell_at(l->s, f->y_nm, f->x_nm)]) &&
           !explained(k, f);
}

/* Grows fringes from a patch. Those that hardly stand out of the speckle break into pieces: a narrower mask holds more
 * of a large crystal's power than of the speckle's. */
static enum mro_code grow_from(struct crystal_work *w, const struct mro_found *f, struct growth *g, struct mro_error *e)
{
    const double wave[2] = { f->gy, f->gx };
    const struct mro_crystal_options *usual = w->o;
    struct mro_crystal_options narrow = *usual;
    struct growth other = { 0 };
    g->tried = true;
    MRO_TRY(mro_fringe_grow(w, wave, f->y_nm, f->x_nm, SEED_NM, &g->set, &g->known, e));
    if (g->known && g->set.plateau >= WEAK * g->set.noise) return MRO_OK;
    narrow.mask_inv_nm *= WEAK_MASK;
    w->o = &narrow;
    const enum mro_code rc = mro_fringe_grow(w, wave, f->y_nm, f->x_nm, SEED_NM, &other.set, &other.known, e);
    w->o = usual;
    if (rc || !other.known) return rc;
    if (other.set.diameter_nm < WEAK_NM || other.set.plateau < WEAK_CLEAR * other.set.noise) {
        mro_fringe_release(&other.set);
        return MRO_OK;
    }
    if (g->known) mro_fringe_release(&g->set);
    g->set = other.set;
    g->known = true;
    return MRO_OK;
}

/* Grows what seed `from` shows and, where other threads have time, those after it that lie apart. */
static enum mro_code grow_ahead(const struct seeds *l, const struct crystal_work *k, size_t from, struct mro_error *e)
{
    enum { MOST = 64 };
    const size_t most = k->n_rooms > 1 ? (4 * k->n_rooms < MOST ? 4 * k->n_rooms : MOST) : 1;
    struct mro_first_error first = { 0 };
    size_t next[MOST], n = 0;
    for (size_t i = from; i < l->found->n && n < most; i++) {
        const struct mro_found *f = l->found->v + i;
        bool apart = !l->grown[i].tried && is_seed(l, k, i);
        for (size_t j = 0; j < n && apart; j++) {
            const struct mro_found *other = l->found->v + next[j];
            apart = hypot(f->y_nm - other->y_nm, f->x_nm - other->x_nm) > APART_NM;
        }
        if (apart) next[n++] = i;
    }
#pragma omp parallel for schedule(dynamic) num_threads((int)k->n_rooms) if (n > 1)
    for (size_t j = 0; j < n; j++) {
        struct crystal_work mine = *k;
        struct mro_error at;
        mine.room = k->room + omp_get_thread_num();
        mro_first_keep(&first, j, grow_from(&mine, l->found->v + next[j], l->grown + next[j], &at), &at);
    }
    return mro_first_code(&first, e);
}

/* Whether a set of fringes is a crystal that is not known. */
static bool is_new(const struct mro_order_plan *p, const struct crystal_work *k, const struct fringe_set *set)
{
    const double q = hypot(set->g[0], set->g[1]);
    return set->diameter_nm >= LEAST_NM + MRO_INTERFACE_NM && q >= p->g_range[0] && q <= p->g_range[1] &&
           !mro_fringe_leak(k, set);
}

/* Fills the sets of k with crystals grown from the patches. */
static enum mro_code grow_all(struct seeds *l, struct crystal_work *k, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    l->grown = calloc(l->found->n + 1, sizeof *l->grown);
    if (l->grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (size_t i = 0; i < l->found->n && rc == MRO_OK; i++) {
        struct growth *g = l->grown + i;
        if (!is_seed(l, k, i)) continue;
        if (!g->tried) rc = grow_ahead(l, k, i, e);
        if (rc || !g->known || !is_new(l->p, k, &g->set)) continue;
        g->known = false; /* it is the list's, or released */
        rc = mro_fringe_push(k, &g->set, e);
    }
    for (size_t i = 0; i < l->found->n; i++)
        if (l->grown[i].known) mro_fringe_release(&l->grown[i].set);
    free(l->grown);
    return rc;
}

/* The contrast c of snr = c D^4 that the crystals show: the median of those that the foil does not cut. */
static enum mro_code measure_contrast(struct mro_crystals *c, struct mro_error *e)
{
    float *log_c = malloc(c->n * sizeof *log_c);
    size_t n = 0;
    if (log_c == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].diameter_nm < WHOLE_NM)
            log_c[n++] = (float)log(c->v[i].snr / pow(c->v[i].diameter_nm + MRO_INTERFACE_NM, 4));
    c->log_contrast = n ? (double)mro_median(log_c, n) : -INFINITY;
    free(log_c);
    return MRO_OK;
}

/* What noise above half of the plateau cuts off a sphere: its diameter over that at the level where the region ends. */
static double cut_by_noise(const struct fringe_set *t)
{
    const double level = fmin(MOST_LEVEL, MRO_FRINGE_RIM_NOISE * t->noise / t->plateau);
    return level > 0.5 ? sqrt((1 - 0.5 * 0.5) / (1 - level * level)) : 1;
}

/* Whether two sets of fringes are at an angle that {110} planes are at: 60, 90 or 120 degrees. */
static bool of_one_lattice(const double a[2], const double b[2])
{
    const double cosine = fabs(a[0] * b[0] + a[1] * b[1]) / (hypot(a[0], a[1]) * hypot(b[0], b[1]));
    const double angle = acos(fmin(cosine, 1)) * 180 / MRO_PI;
    return fabs(angle - 60) < ANGLE_DEG || fabs(angle - 90) < ANGLE_DEG;
}

/* Areas within the region and around the crystals, and their list. Leaves 1 in k->usable beside crystals, else 0. */
static enum mro_code measure_areas(const struct mro_scores *s, struct crystal_work *k, const unsigned char *usable,
                                   const unsigned char *searched, const double region[4], struct mro_crystals *c,
                                   struct mro_error *e)
{
    const size_t ny = k->map.ny, nx = k->map.nx;
    const double cell = k->step[0] * k->step[1];
    const size_t ry = (size_t)(BESIDE_NM / k->step[0]), rx = (size_t)(BESIDE_NM / k->step[1]);
    unsigned char *counted = calloc(ny * nx, 1); /* 1: of a crystal that was counted */
    double shared = 0, single = 0, missed = 0, grown = 0;
    for (size_t i = 0; i < k->sets.n; i++) grown += k->sets.v[i].area_nm2;
    const bool mostly_glass = grown < MOST_GROWN * k->grid.ly * k->grid.lx;
    c->v = calloc(k->sets.n, sizeof *c->v);
    if (c->v == NULL || counted == NULL) {
        free(counted);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    }
    memset(k->usable, 0, ny * nx);
    for (size_t i = 0; i < k->sets.n; i++) {
        struct fringe_set *t = &k->sets.v[i];
        /* What is wider than foils are thick is no sphere. */
        const double seen = 2 * sqrt(t->area_nm2 / MRO_PI),
                     ball = fmax(0, fmin(1, (FLAT_NM[1] - seen) / (FLAT_NM[1] - FLAT_NM[0]))),
                     cut = ball * (cut_by_noise(t) - 1);
        const double more = mostly_glass ? 1 + cut : 1;
        const double diameter = (seen + ball * (t->diameter_nm - seen)) * more - MRO_INTERFACE_NM,
                     flat = (seen + ball * (t->flat_nm - seen)) * more - MRO_INTERFACE_NM;
        size_t count = 0;
        for (size_t j = 0; j < i && t->crystal == SIZE_MAX; j++) {
            const struct fringe_set *before = &k->sets.v[j];
            if (mro_fringe_shared(k, t, before) > 0.5 * t->area_nm2) t->crystal = before->crystal;
        }
        if (t->crystal != SIZE_MAX) { /* one more set of that crystal, or a smaller one above or below it */
            c->v[t->crystal].second |= of_one_lattice(t->g, k->sets.v[c->v[t->crystal].set].g);
            continue;
        }
        for (size_t j = 0; j < t->f.h * t->f.w; j++) {
            const size_t y = t->f.y0 + j / t->f.w, x = t->f.x0 + j % t->f.w;
            const double y_nm = (double)y * k->step[0], x_nm = (double)x * k->step[1];
            if (!t->f.inside[j]) continue;
            const size_t from = x > rx ? x - rx : 0, to = x + rx < nx ? x + rx : nx - 1;
            for (size_t b = y > ry ? y - ry : 0; b <= y + ry && b < ny; b++)
                memset(k->usable + b * nx + from, 1, to - from + 1);
            if (counted[y * nx + x]) continue;
            counted[y * nx + x] = 1;
            count += x_nm >= region[0] && y_nm >= region[1] && x_nm <= region[2] && y_nm <= region[3] &&
                     usable[cell_at(s, y_nm, x_nm)];
        }
        const double area = (double)count * cell * pow(diameter / seen, 2),
                     own = 2 * (RIM_SD_NM / diameter + 0.5 * cut) * area;
        c->area_nm2 += area;
        c->flat_nm2 += area * pow(flat / diameter, 2);
        shared += SHARED_SD * area;
        single += own * own;
        missed += t->mask < k->o->mask_inv_nm ? WEAK_MISSED * area * area : 0;
        t->crystal = c->n;
        c->v[c->n++] = (struct mro_large){ .set = i,
                                           .y_nm = t->y_nm,
                                           .x_nm = t->x_nm,
                                           .gy = t->g[0],
                                           .gx = t->g[1],
                                           .diameter_nm = diameter,
                                           .snr = t->snr,
                                           .sigma_g = hypot(mro_spacing_scatter(t->g, t->cov, t->chi2), SPACING_SD) *
                                                      hypot(t->g[0], t->g[1]) };
    }
    c->area_sd_nm2 = hypot(shared, sqrt(single));
    c->missed_sd_nm2 = sqrt(missed);
    free(counted);
    for (size_t i = 0; i < ny * nx; i++)
        if (k->usable[i])
            c->searched_nm2 +=
                cell * (double)searched[cell_at(s, (double)(i / nx) * k->step[0], (double)(i % nx) * k->step[1])];
    return measure_contrast(c, e);
}

enum mro_code mro_crystals_measure(const struct mro_order_plan *p, struct mro_scores *s, struct mro_whitened *w,
                                   const unsigned char *usable, const unsigned char *searched, const double region[4],
                                   const char *name, struct mro_found_list *found, struct mro_crystals *c,
                                   struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t nc = s->cells.ny * s->cells.nx;
    struct mro_crystal_options o;
    struct crystal_work k = {
        .d = d, .o = &o, .name = name, .doubt = { SHARE_VARIANCE, 1, SHARE_NOISE, SHARE_EXCESS, true }
    };
    unsigned char *flagged = malloc(nc), *wide = calloc(nc, 1);
    const double py = s->cells.ly / (double)s->cells.ny, px = s->cells.lx / (double)s->cells.nx;
    size_t left = 0;
    bool known = false;
    enum mro_code rc = MRO_OK;
    memset(c, 0, sizeof *c);
    if (flagged == NULL || wide == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu cells", nc);
        goto done;
    }
    for (size_t i = 0; i < nc; i++) flagged[i] = usable[i] && s->surprise[i] > p->null.threshold;
    if ((rc = mark_wide(s, flagged, wide, &c->widest_nm, e))) goto done;
    /* Ghosts of an unknown lens look like weak crystals. */
    const bool weak = w->lens_known && some_beyond(found);
    if (!(c->widest_nm > 0) && !weak && !many_saturated(p, s, found)) goto done;
    mro_crystal_options_default(&o);
    memcpy(k.band, p->o.band_inv_nm, sizeof k.band);
    for (size_t i = 0; i < nc; i++) flagged[i] = searched[i] && s->surprise[i] > p->null.threshold;
    if ((rc = whiten_without(p, s, w, flagged, found, &k.field, &known, e))) goto done;
    if (!known) {
        size_t n_flagged = 0, n_wide = 0;
        for (size_t i = 0; i < nc; i++) {
            n_flagged += flagged[i];
            n_wide += wide[i];
        }
        c->filled = 3 * n_wide > n_flagged; /* else clusters in a crowd */
        goto done;
    }
    if ((rc = open_work(&k, s, searched, e)) || (rc = measure_speckle(p, &k, e))) goto done;
    struct seeds seeds = { .p = p, .s = s, .wide = wide, .found = found, .weak = weak };
    if ((rc = grow_all(&seeds, &k, e))) goto done;
    if (k.sets.n == 0 && c->widest_nm < WIDE_NM) c->widest_nm = 0; /* clusters after all */
    if (k.sets.n == 0) goto done;
    if ((rc = measure_areas(s, &k, usable, searched, region, c, e))) goto done;
    size_t kept = 0;
    for (size_t i = 0; i < found->n; i++) {
        const size_t y = (size_t)fmax(0, fmin((double)k.map.ny - 1, round(found->v[i].y_nm / k.step[0]))),
                     x = (size_t)fmax(0, fmin((double)k.map.nx - 1, round(found->v[i].x_nm / k.step[1])));
        if (!k.usable[y * k.map.nx + x]) found->v[kept++] = found->v[i];
    }
    found->n = kept;
    /* Wide regions in which no crystal was found are told of beside those that were. */
    for (size_t i = 0; i < nc; i++) {
        const size_t y = (size_t)fmin((double)k.map.ny - 1, round((double)(i / s->cells.nx) * py / k.step[0])),
                     x = (size_t)fmin((double)k.map.nx - 1, round((double)(i % s->cells.nx) * px / k.step[1]));
        flagged[i] = usable[i] && s->surprise[i] > p->null.threshold && !k.usable[y * k.map.nx + x];
        left += flagged[i];
    }
    memset(wide, 0, nc);
    if ((rc = mark_wide(s, flagged, wide, &c->widest_nm, e))) goto done;
    if (c->widest_nm < WIDE_NM) c->widest_nm = 0;
    c->left_nm2 = (double)left * py * px;
done:
    mro_crystal_work_release(&k);
    free(flagged);
    free(wide);
    return rc;
}

void mro_crystals_release(struct mro_crystals *c)
{
    free(c->v);
    memset(c, 0, sizeof *c);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Patches: fringes with the profile of a sphere, fitted at the most surprising cells of a field. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"
#include "ops/mro/mro_internal.h"

#define CANDIDATE 5.0   /* -ln p of cells whose neighbourhood is searched for a patch */
#define SOFT_NM 0.35    /* edge of what is cut out around a patch, beyond its radius */
#define CELL_CUT_NM 0.7 /* cut out around a marked cell, soft edge and all */
#define BAND_ROWS 32    /* of a plane that patches are cut out of together */

bool mro_found_push(struct mro_found_list *l, const struct mro_found *f)
{
    if (l->n == l->room) {
        const size_t room = l->room ? 2 * l->room : 64;
        struct mro_found *v = realloc(l->v, room * sizeof *v);
        if (v == NULL) return false;
        l->v = v;
        l->room = room;
    }
    l->v[l->n++] = *f;
    return true;
}

static int by_significance(const void *a, const void *b)
{
    const struct mro_found *x = a, *y = b;
    if (x->significance != y->significance) return x->significance < y->significance ? 1 : -1;
    if (x->y_nm != y->y_nm) return x->y_nm < y->y_nm ? -1 : 1;
    return (x->x_nm > y->x_nm) - (x->x_nm < y->x_nm);
}

void mro_found_sort(struct mro_found_list *l)
{
    if (l->n) qsort(l->v, l->n, sizeof *l->v, by_significance);
}

#define LARGEST_REACH_NM 2.0 /* of a patch that keeps weaker ones away: half the largest diameter and 0.45 nm */

/* Adds to `out` the patches of a list, strongest first, that are not close to one there already. Those of `out` are
 * found by squares of the largest reach. */
static enum mro_code keep_apart(const struct mro_order_plan *p, const struct mro_grid *g,
                                const struct mro_found_list *all, struct mro_found_list *out, struct mro_error *e)
{
    const size_t ny = (size_t)(g->ly / LARGEST_REACH_NM) + 3, nx = (size_t)(g->lx / LARGEST_REACH_NM) + 3;
    const size_t before = out->n, none = SIZE_MAX;
    size_t *last = malloc(ny * nx * sizeof *last), *previous = malloc((before + all->n + 1) * sizeof *previous);
    enum mro_code rc = MRO_OK;
    if (last == NULL || previous == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (size_t i = 0; rc == MRO_OK && i < ny * nx; i++) last[i] = none;
    for (size_t i = 0; rc == MRO_OK && i < before + all->n; i++) {
        const struct mro_found f = i < before ? out->v[i] : all->v[i - before];
        /* Climbs may end a little beyond the border. */
        const size_t y = (size_t)fmin(fmax(f.y_nm / LARGEST_REACH_NM + 1, 1), (double)(ny - 2));
        const size_t x = (size_t)fmin(fmax(f.x_nm / LARGEST_REACH_NM + 1, 1), (double)(nx - 2));
        bool alone = true;
        for (size_t square = 0; i >= before && square < 9 && alone; square++)
            for (size_t j = last[(y + square / 3 - 1) * nx + x + square % 3 - 1]; j != none && alone; j = previous[j]) {
                const double dy = out->v[j].y_nm - f.y_nm, dx = out->v[j].x_nm - f.x_nm;
                const double reach = fmax(0.8, 0.5 * p->search.diameter_nm[out->v[j].best] + 0.45);
                alone = dy * dy + dx * dx >= reach * reach;
            }
        if (!alone) continue;
        if (i >= before && !mro_found_push(out, &f)) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
            break;
        }
        const size_t me = i < before ? i : out->n - 1;
        previous[me] = last[y * nx + x];
        last[y * nx + x] = me;
    }
    free(last);
    free(previous);
    return rc;
}

/* Whether no neighbour of a cell is more surprising, and none before it as much. The field is periodic. */
static bool is_top(const struct mro_scores *s, size_t y, size_t x)
{
    const size_t ny = s->cells.ny, nx = s->cells.nx, here = y * nx + x;
    const size_t rows[3] = { (y ? y : ny) - 1, y, y + 1 < ny ? y + 1 : 0 };
    const size_t columns[3] = { (x ? x : nx) - 1, x, x + 1 < nx ? x + 1 : 0 };
    const float v = s->surprise[here];
    for (size_t k = 0; k < 9; k++) {
        const size_t j = rows[k / 3] * nx + columns[k % 3];
        if (s->surprise[j] > v || (j < here && s->surprise[j] == v)) return false;
    }
    return true;
}

enum mro_code mro_find_patches(const struct mro_order_plan *p, const struct mro_scores *s, const unsigned char *allowed,
                               double margin_nm, double least, bool seconds, struct mro_found_list *out,
                               struct mro_error *e)
{
    struct mro_patch_search search = p->search;
    const size_t ny = s->cells.ny, nx = s->cells.nx;
    const double py = s->cells.ly / (double)ny, px = s->cells.lx / (double)nx;
    struct mro_patch *patches = NULL;
    size_t n = 0, room = 0;
    enum mro_code rc = MRO_OK;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const size_t i = y * nx + x;
            const float v = s->surprise[i];
            if (v < CANDIDATE || (allowed && !allowed[i])) continue;
            if (!is_top(s, y, x)) continue;
            if (n == room) {
                room = room ? 2 * room : 64;
                struct mro_patch *more = realloc(patches, room * sizeof *more);
                if (more == NULL) {
                    rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
                    goto done;
                }
                patches = more;
            }
            const double *g = mro_strongest_wave(p, s, i);
            patches[n++] = (struct mro_patch){ .y_nm = (double)y * py, .x_nm = (double)x * px, .gy = g[0], .gx = g[1] };
        }
    if (!seconds) search.second_from = INFINITY;
    if ((rc = p->d->ops->refine_patches(p->d, &s->grid, &s->field, &search, patches, n, e))) goto done;

    struct mro_found_list all = { 0 };
    for (size_t i = 0; i < n; i++) {
        const struct mro_patch *q = patches + i;
        if (q->y_nm < margin_nm || q->x_nm < margin_nm || q->y_nm > s->cells.ly - margin_nm ||
            q->x_nm > s->cells.lx - margin_nm)
            continue;
        struct mro_found f = { .y_nm = q->y_nm, .x_nm = q->x_nm, .gy = q->gy, .gx = q->gx, .best = q->best };
        const double gain = mro_gain_at(s, q->y_nm, q->x_nm);
        for (int k = 0; k < MRO_PATCH_SIZES; k++) f.power[k] = q->power[k] / gain;
        f.second_power = q->second_power / gain;
        const double t = fmax(f.power[f.best], 2);
        f.significance = t - log(2 * t - 1) - p->size_cost[f.best];
        if (f.significance < least) continue;
        mro_found_shape(p, &f);
        if (!mro_found_push(&all, &f)) {
            free(all.v);
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
            goto done;
        }
    }
    mro_found_sort(&all);
    rc = keep_apart(p, &s->cells, &all, out, e);
    free(all.v);
done:
    free(patches);
    return rc;
}

/* Samples i0 and on of a row of a sphere's edge, EDGE at a time up to sample `end` of `line`: 0 inside, 1 outside. */
enum { EDGE = MRO_CUT_MORE };
static void edge_of(double dy, double x_nm, double px, double reach, int x0, int i0, int end, float *line)
{
    for (int i = i0; i < end; i += EDGE)
#pragma omp simd
        for (int k = 0; k < EDGE; k++) {
            const double dx = (x0 + i + k) * px - x_nm, r = sqrt(dy * dy + dx * dx);
            const double edge = (r - reach) / SOFT_NM + 1, w = edge < 0 ? 0 : edge > 1 ? 1 : edge;
            line[i + k] = (float)(w * w * (3 - 2 * w));
        }
}

/* Row y of a sphere: what lies well inside becomes 0, and only the edge is computed. */
static void cut_row(const struct mro_grid *g, ptrdiff_t y, double y_nm, double x_nm, double reach, float *line,
                    float *plane)
{
    const double py = g->ly / (double)g->ny, px = g->lx / (double)g->nx, dy = (double)y * py - y_nm;
    const double outer = reach * reach - dy * dy, core = fmax(reach - SOFT_NM, 0), inner = core * core - dy * dy;
    if (outer < 0) return;
    const int x0 = (int)floor((x_nm - sqrt(outer)) / px), n = (int)ceil((x_nm + sqrt(outer)) / px) - x0 + 1;
    const double half = inner > 0 ? sqrt(inner) : 0;
    const int from = (int)ceil((x_nm - half) / px) - x0 + 1, to = (int)floor((x_nm + half) / px) - x0;
    const int first = from < to ? from : n, end = from < to ? to : n; /* between them all are 0 */
    edge_of(dy, x_nm, px, reach, x0, 0, first, line);
    memset(line + first, 0, (size_t)(end - first) * sizeof *line);
    edge_of(dy, x_nm, px, reach, x0, end, n, line);
    float *row = plane + mro_cyclic(y, g->ny) * g->nx;
    size_t x = mro_cyclic(x0, g->nx);
    for (size_t i = 0, run; i < (size_t)n; i += run, x = 0) {
        run = (size_t)n - i < g->nx - x ? (size_t)n - i : g->nx - x;
        const float *have = line + i;
        float *there = row + x;
#pragma omp simd
        for (size_t k = 0; k < run; k++) there[k] = have[k] < there[k] ? have[k] : there[k];
    }
}

/* Takes a sphere of radius `reach` nm, with a soft edge, out of rows first to end - 1 of a plane. */
static void cut_out(const struct mro_grid *g, double y_nm, double x_nm, double reach, size_t first, size_t end,
                    float *line, float *plane)
{
    const double py = g->ly / (double)g->ny;
    const ptrdiff_t ny = (ptrdiff_t)g->ny, top = (ptrdiff_t)floor((y_nm - reach) / py),
                    bottom = (ptrdiff_t)ceil((y_nm + reach) / py);
    for (ptrdiff_t turn = -ny; turn <= ny; turn += ny) { /* the plane is periodic */
        const ptrdiff_t from = (ptrdiff_t)first + turn, to = (ptrdiff_t)end + turn;
        for (ptrdiff_t y = top > from ? top : from; y <= bottom && y < to; y++)
            cut_row(g, y, y_nm, x_nm, reach, line, plane);
    }
}

void mro_cut_cells(const struct mro_scores *s, const unsigned char *marked, float *line, float *plane)
{
    const struct mro_grid *g = &s->grid;
    const size_t ny = s->cells.ny, nx = s->cells.nx;
    for (size_t i = 0; i < ny * nx; i++)
        if (marked[i])
            cut_out(g, (double)(i / nx) * g->ly / (double)ny, (double)(i % nx) * g->lx / (double)nx, CELL_CUT_NM, 0,
                    g->ny, line, plane);
}

enum mro_code mro_gains_without(const struct mro_order_plan *p, struct mro_scores *s,
                                const struct mro_found_list *found, float *mask, struct mro_buffer *power, float **gain,
                                void **copy, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_grid *g = &s->grid;
    const size_t n = g->ny * g->nx;
    struct mro_buffer rest = { 0 };
    double *of_row = malloc(g->ny * sizeof *of_row), kept = 0, whole_field = s->sound ? 0 : (double)n;
    void *field, *whole = NULL, *host;
    enum mro_code rc = MRO_OK;
    *gain = NULL;
    *copy = NULL;
    if (of_row == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    bool failed = false;
#pragma omp parallel num_threads(mro_team(d->threads, 0.1 * (double)n + 1e3 * (double)found->n))
    {
        float *line = malloc((g->nx + MRO_CUT_MORE) * sizeof *line);
        if (line == NULL) mro_raise(&failed);
#pragma omp for schedule(dynamic)
        for (size_t top = 0; top < g->ny; top += BAND_ROWS) {
            const size_t end = top + BAND_ROWS < g->ny ? top + BAND_ROWS : g->ny;
            for (size_t i = 0; line && i < found->n; i++) {
                const struct mro_found *f = found->v + i;
                cut_out(g, f->y_nm, f->x_nm, 0.5 * p->search.diameter_nm[f->best] + SOFT_NM, top, end, line, mask);
            }
            for (size_t y = top; y < end; y++) {
                const float *m = mask + y * g->nx;
                double sum = 0;
#pragma omp simd reduction(+ : sum)
                for (size_t x = 0; x < g->nx; x++) sum += (double)m[x] * (double)m[x];
                of_row[y] = sum;
            }
        }
        free(line);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    for (size_t y = 0; y < g->ny; y++) kept += of_row[y];
    for (size_t i = 0; s->sound && i < n; i++) whole_field += (double)s->sound[i] * (double)s->sound[i];
    if (kept < 0.3 * whole_field) goto done; /* too little is left to tell the speckle from */
    kept /= (double)n;
    if ((rc = d->ops->alloc(d, &rest, n * sizeof(mro_c32), e))) goto done;
    if ((rc = mro_on_host(d, &s->field, n * sizeof(float), &field, &whole, e))) goto done;
    float *v = field;
#pragma omp parallel for simd schedule(static) num_threads(mro_team(d->threads, 0.1 * (double)n))
    for (size_t i = 0; i < n; i++) v[i] *= mask[i];
    if (whole && (rc = d->ops->upload(d, &s->field, whole, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->forward(d, g, &s->field, &rest, e))) goto done;
    const double *band = p->o.band_inv_nm;
    if ((rc =
             d->ops->local_power(d, g, &rest, NULL, WHITEN_RADIUS, band[0] - BAND_EDGE, band[1] + BAND_EDGE, power, e)))
        goto done;
    if ((rc = mro_on_host(d, power, n * sizeof(float), &host, copy, e))) goto done;
    /* The rest is band-limited already: its power falls with the band's edges, and is to stay so. */
    if (!mro_whitening_gains(p, g, sqrtf((float)kept), NULL, NULL, host)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    *gain = host;
done:
    d->ops->release(d, &rest);
    free(of_row);
    free(whole);
    return rc;
}

/* Measures patches in the field that is whitened anew without them. *done: false where all stays as it is, since too
 * little of the field is left. */
static enum mro_code remeasure(const struct mro_order_plan *p, struct mro_scores *s, struct mro_buffer *spectrum,
                               struct mro_buffer *power, struct mro_found_list *found, bool *done, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_grid *g = &s->grid;
    const size_t n = g->ny * g->nx;
    struct mro_buffer mean = { 0 };
    float *mask = malloc(n * sizeof *mask), *gain = NULL;
    void *copy = NULL;
    struct mro_patch *patches = calloc(found->n + 1, sizeof *patches);
    enum mro_code rc = MRO_OK;
    if (mask == NULL || patches == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    mro_sound_mask(s, mask);
    rc = mro_gains_without(p, s, found, mask, power, &gain, &copy, e);
    *done = gain != NULL;
    if (rc || gain == NULL) goto done;
    if ((rc = d->ops->alloc(d, &mean, s->cells.ny * s->cells.nx * sizeof(float), e))) goto done;
    if ((rc = d->ops->multiply(d, g, spectrum, gain, e))) goto done;
    if ((rc = d->ops->inverse(d, g, spectrum, &s->field, e))) goto done;
    if ((rc = mro_measure_gain(p, s, &mean, e))) goto done;
    for (size_t i = 0; i < found->n; i++)
        patches[i] = (struct mro_patch){
            .y_nm = found->v[i].y_nm, .x_nm = found->v[i].x_nm, .gy = found->v[i].gy, .gx = found->v[i].gx
        };
    if ((rc = d->ops->refine_patches(d, g, &s->field, &p->search, patches, found->n, e))) goto done;
    for (size_t i = 0; i < found->n; i++) {
        struct mro_found *f = found->v + i;
        const double again = mro_gain_at(s, f->y_nm, f->x_nm);
        for (int k = 0; k < MRO_PATCH_SIZES; k++) f->power[k] = patches[i].power[k] / again;
        f->second_power = patches[i].second_power / again;
        f->best = patches[i].best;
        mro_found_shape(p, f);
    }
done:
    d->ops->release(d, &mean);
    free(mask);
    free(copy);
    free(patches);
    return rc;
}

enum mro_code mro_measure_patches(const struct mro_order_plan *p, struct mro_scores *s, struct mro_whitened *w,
                                  const unsigned char *searched, bool small, struct mro_found_list *found,
                                  struct mro_error *e)
{
    const double margin = MRO_SEARCH_MARGIN_NM, least = p->null.object_threshold;
    bool done = false;
    MRO_TRY(mro_find_patches(p, s, searched, margin, least, !small, found, e));
    if (!small || found->n == 0) return MRO_OK;
    MRO_TRY(remeasure(p, s, &w->spectrum, &w->power, found, &done, e));
    if (done) return MRO_OK;
    found->n = 0; /* their second reflections are wanted still */
    return mro_find_patches(p, s, searched, margin, least, true, found, e);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Medium-range order of one micrograph: whitening, windowed spectra against a speckle null, patches, area fraction. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "core/select.h"
#include "core/sizes.h"
#include "mroscope/bandpass.h"
#include "mroscope/math/band.h"
#include "mroscope/math/ctf.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/lattice.h"
#include "mroscope/math/patch.h"
#include "mroscope/math/philox.h"
#include "ops/ctf.h"
#include "ops/mro_internal.h"
#include "ops/mro_views.h"

#define MODEL_FLOOR 0.1           /* of sin^2 chi in the whitening model */
#define GRID_Q 6.7                /* nm^-1 that the coarse grid holds, for the band and the rings around it */
#define CELL_STEP_NM 0.42         /* at most */
#define MARGIN_NM 1.0             /* rim of the image whose cells are left out: windows reach over the border there */
#define SEARCH_MARGIN_NM 0.5      /* patches centred in the rim still reach into the region */
#define CANDIDATE 5.0             /* -ln p of cells whose neighbourhood is searched for a patch */
#define FALSE_PER_NM2 (1 / 200.0) /* patches that speckle alone may give */
#define CROWDED_NM2 5000.0        /* fields so small that a crystal's spots stand above the median that whitens them */
#define CONTRAST_PER_POWER 1.0e-3 /* nm^-2: pi a0^2 / 32 for the fringe amplitude a0 of bcc Fe (110) per nm */
#define FOCAL_SPREAD_NM 4.0       /* rms, of usual microscopes: 3 to 5 */
#define UNKNOWN_TRANSFER 0.8      /* |sin chi|^2 of lenses without rings: near their best focus */
#define LARGE_LIMIT_NM 1.9        /* a size limit beyond which most clusters of interest stay unseen */
#define MOST_D_NM 0.6             /* spacing that still has two fringes in the smallest window */
#define CROWDED 0.4               /* area fraction from which crystals begin to whiten themselves away */
#define REACH_NM 1.2              /* of the largest window, around cells that cannot be measured */
#define SECOND_FROM 9.0           /* power of a patch worth a search for its second reflection */
#define NO_SIGNAL 0.2             /* of the local power in the better part of the image: vacuum, or only shot noise */
#define TILE_NM 25.6
#define TILE_SAMPLES 360 /* > 2 GRID_Q TILE_NM */
#define TILE_CELLS 64
#define P_IMAGES 20000 /* speckle images behind p_image */

static const double windows_nm[MRO_WINDOWS] = { 1.4, 1.9, 2.6 }; /* sphere diameters; s = 0.2236 D */
static const double sizes_nm[MRO_PATCH_SIZES] = { 1.0, 1.25, 1.5, 1.8, 2.15, 2.6, 3.1 };

void mro_order_options_default(struct mro_order_options *o)
{
    memset(o, 0, sizeof *o);
    o->band_inv_nm[0] = 4.1;
    o->band_inv_nm[1] = 5.8;
    o->d_nm = 0.203;
    o->d_tolerance = 0.06;
    o->false_positive_rate = 0.01;
    o->surrogates = 26;
    o->cs_mm = NAN;
    o->views = true;
    o->seed = 1;
}

/* ------------------------------------------------------------------ small tools */

/* Sorts n floats >= 0 ascending: as unsigned integers they have the same order. */
static bool sort_floats(float *v, size_t n)
{
    uint32_t *from = malloc(n * sizeof *from), *to = malloc(n * sizeof *to);
    if (from == NULL || to == NULL) {
        free(from);
        free(to);
        return false;
    }
    memcpy(from, v, n * sizeof *from);
    for (int shift = 0; shift < 33; shift += 11) {
        size_t at[2049] = { 0 };
        for (size_t i = 0; i < n; i++) at[(from[i] >> shift & 2047) + 1]++;
        for (size_t b = 0; b < 2048; b++) at[b + 1] += at[b];
        for (size_t i = 0; i < n; i++) to[at[from[i] >> shift & 2047]++] = from[i];
        uint32_t *t = from;
        from = to;
        to = t;
    }
    memcpy(v, from, n * sizeof *from);
    free(from);
    free(to);
    return true;
}

static int by_significance(const void *a, const void *b)
{
    const struct mro_found *x = a, *y = b;
    if (x->significance != y->significance) return x->significance < y->significance ? 1 : -1;
    if (x->y_nm != y->y_nm) return x->y_nm < y->y_nm ? -1 : 1;
    return (x->x_nm > y->x_nm) - (x->x_nm < y->x_nm);
}

void mro_order_grids(const struct mro_image *im, const double pixel_nm[2], struct mro_grid *grid,
                     struct mro_grid *cells)
{
    const double ly = (double)im->ny * pixel_nm[0], lx = (double)im->nx * pixel_nm[1];
    const size_t ny = mro_smooth_size((size_t)ceil(2 * GRID_Q * ly)),
                 nx = mro_smooth_size((size_t)ceil(2 * GRID_Q * lx));
    *grid = (struct mro_grid){ ny < im->ny ? ny : im->ny, nx < im->nx ? nx : im->nx, ly, lx };
    *cells = (struct mro_grid){ mro_smooth_size((size_t)ceil(ly / CELL_STEP_NM)),
                                mro_smooth_size((size_t)ceil(lx / CELL_STEP_NM)), ly, lx };
}

/* Wave vectors on rings between lo and hi, over half the plane (the other half is the same by symmetry), about
 * `step` apart. */
static enum mro_code make_rings(double lo, double hi, double step, double (**g)[2], size_t *n, struct mro_error *e)
{
    const size_t rings = (size_t)fmax(2, ceil((hi - lo) / step));
    const size_t most = rings * ((size_t)(MRO_PI * hi / step) + 2);
    *n = 0;
    *g = malloc(most * sizeof **g);
    if (*g == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (size_t i = 0; i < rings; i++) {
        const double q = lo + (hi - lo) * ((double)i + 0.5) / (double)rings;
        const size_t around = (size_t)ceil(MRO_PI * q / step);
        for (size_t k = 0; k < around; k++) {
            const double a = MRO_PI * ((double)k + (i % 2 ? 0.5 : 0)) / (double)around;
            (*g)[*n][0] = q * sin(a);
            (*g)[(*n)++][1] = q * cos(a);
        }
    }
    return MRO_OK;
}

static bool found_push(struct mro_found_list *l, const struct mro_found *f)
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

/* ------------------------------------------------------------------ one whitened field */

/* The windowed powers of a whitened, band-limited spectrum on the grid of cells, over the local gain. */
struct scores {
    struct mro_grid grid, cells;
    float *power[MRO_WINDOWS];
    int32_t *which[MRO_WINDOWS];
    float *gain;             /* local mean square over what white noise has */
    struct mro_buffer field; /* on the device */
    float *surprise;         /* -ln(min p) once the null is known */
};

static void scores_release(struct mro_device *d, struct scores *s)
{
    for (int k = 0; k < MRO_WINDOWS; k++) {
        free(s->power[k]);
        free(s->which[k]);
    }
    free(s->gain);
    free(s->surprise);
    d->ops->release(d, &s->field);
    memset(s, 0, sizeof *s);
}

/* Mean of the squared band gain over a grid: the mean square of white noise in the band. */
static double band_energy(const struct mro_grid *g, const double band[2])
{
    double sum = 0;
    for (size_t y = 0; y < g->ny; y++) {
        const double qy = mro_frequency(y, g->ny, g->ly);
        double line = 0;
        for (size_t x = 0; x < g->nx; x++) {
            const double qx = mro_frequency(x, g->nx, g->lx), q2 = qy * qy + qx * qx;
            if (q2 < (band[0] - BAND_EDGE) * (band[0] - BAND_EDGE) ||
                q2 > (band[1] + BAND_EDGE) * (band[1] + BAND_EDGE))
                continue;
            const double b = mro_band_gain((float)sqrt(q2), (float)band[0], (float)band[1], (float)BAND_EDGE);
            line += b * b;
        }
        sum += line;
    }
    return sum / ((double)g->ny * (double)g->nx);
}

/* Fills s->gain from s->field. `mean`: room for the cells on the device. */
static enum mro_code measure_gain(const struct mro_order_plan *p, struct scores *s, struct mro_buffer *mean,
                                  struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = s->cells.ny * s->cells.nx;
    MRO_TRY(d->ops->local_mean_square(d, &s->grid, &s->field, GAIN_S_NM, &s->cells, mean, e));
    MRO_TRY(d->ops->download(d, s->gain, mean, n * sizeof(float), e));
    const float unit = (float)(1 / band_energy(&s->grid, p->o.band_inv_nm));
    for (size_t i = 0; i < n; i++) s->gain[i] = fmaxf(s->gain[i] * unit, 1e-6f);
    return MRO_OK;
}

static enum mro_code score_field(const struct mro_order_plan *p, const struct mro_grid *grid,
                                 const struct mro_grid *cells, const struct mro_buffer *spectrum, struct scores *s,
                                 struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = cells->ny * cells->nx;
    struct mro_buffer power = { 0 }, which = { 0 };
    enum mro_code rc = MRO_OK;
    memset(s, 0, sizeof *s);
    s->grid = *grid;
    s->cells = *cells;
    s->gain = malloc(n * sizeof *s->gain);
    s->surprise = malloc(n * sizeof *s->surprise);
    for (int k = 0; k < MRO_WINDOWS; k++) {
        s->power[k] = malloc(n * sizeof *s->power[k]);
        s->which[k] = malloc(n * sizeof *s->which[k]);
        if (!s->power[k] || !s->which[k]) rc = MRO_EMEMORY;
    }
    if (rc || !s->gain || !s->surprise) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu cells", n);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &s->field, grid->ny * grid->nx * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &power, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &which, n * sizeof(int32_t), e))) goto done;
    if ((rc = d->ops->inverse(d, grid, spectrum, &s->field, e))) goto done;
    if ((rc = measure_gain(p, s, &power, e))) goto done;
    for (int k = 0; k < MRO_WINDOWS; k++) {
        const struct mro_bank bank = { .window_s_nm = p->window_s_nm[k],
                                       .band_inv_nm = { p->o.band_inv_nm[0], p->o.band_inv_nm[1] },
                                       .edge_inv_nm = BAND_EDGE,
                                       .g = (const double(*)[2])p->g[k],
                                       .n_g = p->n_g[k] };
        if ((rc = d->ops->bank_maximum(d, grid, spectrum, &bank, cells, &power, &which, e))) goto done;
        if ((rc = d->ops->download(d, s->power[k], &power, n * sizeof(float), e))) goto done;
        if ((rc = d->ops->download(d, s->which[k], &which, n * sizeof(int32_t), e))) goto done;
        for (size_t i = 0; i < n; i++) s->power[k][i] /= s->gain[i];
    }
done:
    d->ops->release(d, &power);
    d->ops->release(d, &which);
    if (rc) scores_release(d, s);
    return rc;
}

/* Tabulates -ln of the null's chance to exceed a score from the ascending scores of null cells, up to where 100 of them
 * are left. */
static void tabulate(struct mro_null *null, int window, const float *sorted, size_t n)
{
    const size_t join = n - 100;
    null->joint[window] = sorted[join];
    size_t above = 0; /* first sample beyond t */
    for (int i = 0; i <= MRO_SURPRISES; i++) {
        const double t = null->joint[window] * i / MRO_SURPRISES;
        while (above < join && sorted[above] <= t) above++;
        null->surprise[window][i] = (float)-log((double)(n - above) / (double)n);
    }
}

/* -ln of the null's chance to exceed score t in one cell: counted, and beyond the counts along the tail
 * (2 t - 1) exp(-t) of the largest windowed power of a Gaussian field. */
static double surprise_of(const struct mro_null *null, int window, double t)
{
    const double joint = null->joint[window];
    const float *v = null->surprise[window];
    if (t >= joint) return v[MRO_SURPRISES] + (t - joint) - log((2 * t - 1) / (2 * joint - 1));
    const double f = fmax(t, 0) / joint * MRO_SURPRISES;
    const int i = (int)f;
    return v[i] + (f - i) * (v[i + 1] - v[i]);
}

static void fill_surprise(const struct mro_order_plan *p, struct scores *s)
{
    const size_t n = s->cells.ny * s->cells.nx;
#pragma omp parallel for schedule(static) num_threads(p->d->threads)
    for (size_t i = 0; i < n; i++) {
        double most = 0;
        for (int k = 0; k < MRO_WINDOWS; k++) most = fmax(most, surprise_of(&p->null, k, s->power[k][i]));
        s->surprise[i] = (float)most;
    }
}

/* The wave vector (y, x, nm^-1) that gave cell i its surprise. */
static const double *strongest_wave(const struct mro_order_plan *p, const struct scores *s, size_t i)
{
    int best = 0;
    double most = -1;
    for (int k = 0; k < MRO_WINDOWS; k++) {
        const double u = surprise_of(&p->null, k, s->power[k][i]);
        if (u > most) {
            most = u;
            best = k;
        }
    }
    /* cppcheck-suppress CastIntegerToAddressAtReturn ; a row of the table of wave vectors */
    return p->g[best][s->which[best][i]];
}

static double gain_at(const struct scores *s, double y_nm, double x_nm)
{
    const double fy = y_nm / s->cells.ly * (double)s->cells.ny, fx = x_nm / s->cells.lx * (double)s->cells.nx;
    const double y0 = floor(fy), x0 = floor(fx), wy = fy - y0, wx = fx - x0;
    const size_t ny = s->cells.ny, nx = s->cells.nx;
    const size_t a = ((size_t)((ptrdiff_t)y0 % (ptrdiff_t)ny + (ptrdiff_t)ny)) % ny, b = (a + 1) % ny;
    const size_t c = ((size_t)((ptrdiff_t)x0 % (ptrdiff_t)nx + (ptrdiff_t)nx)) % nx, f = (c + 1) % nx;
    return (1 - wy) * ((1 - wx) * s->gain[a * nx + c] + wx * s->gain[a * nx + f]) +
           wy * ((1 - wx) * s->gain[b * nx + c] + wx * s->gain[b * nx + f]);
}

/* Patches at the local maxima of the surprise where `allowed` (NULL: everywhere), the strongest first, weaker ones
 * close to stronger ones left out. */
static enum mro_code find_patches(const struct mro_order_plan *p, const struct scores *s, const unsigned char *allowed,
                                  double margin_nm, double least, struct mro_found_list *out, struct mro_error *e)
{
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
            bool top = true;
            for (int dy = -1; dy <= 1 && top; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    const size_t j =
                        (y + ny + (size_t)(dy + (int)ny)) % ny * nx + (x + nx + (size_t)(dx + (int)nx)) % nx;
                    if (s->surprise[j] > v || (j < i && s->surprise[j] == v)) top = false;
                }
            if (!top) continue;
            if (n == room) {
                room = room ? 2 * room : 64;
                struct mro_patch *more = realloc(patches, room * sizeof *more);
                if (more == NULL) {
                    rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
                    goto done;
                }
                patches = more;
            }
            const double *g = strongest_wave(p, s, i);
            patches[n++] = (struct mro_patch){ .y_nm = (double)y * py, .x_nm = (double)x * px, .gy = g[0], .gx = g[1] };
        }
    if ((rc = p->d->ops->refine_patches(p->d, &s->grid, &s->field, &p->search, patches, n, e))) goto done;

    struct mro_found_list all = { 0 };
    for (size_t i = 0; i < n; i++) {
        const struct mro_patch *q = patches + i;
        if (q->y_nm < margin_nm || q->x_nm < margin_nm || q->y_nm > s->cells.ly - margin_nm ||
            q->x_nm > s->cells.lx - margin_nm)
            continue;
        struct mro_found f = { .y_nm = q->y_nm, .x_nm = q->x_nm, .gy = q->gy, .gx = q->gx, .best = q->best };
        const double gain = gain_at(s, q->y_nm, q->x_nm);
        for (int k = 0; k < MRO_PATCH_SIZES; k++) f.power[k] = q->power[k] / gain;
        f.second_power = q->second_power / gain;
        const double t = fmax(f.power[f.best], 2);
        f.significance = t - log(2 * t - 1) - p->size_cost[f.best];
        if (f.significance < least) continue;
        mro_found_shape(p, &f);
        if (!found_push(&all, &f)) {
            free(all.v);
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
            goto done;
        }
    }
    if (all.n) qsort(all.v, all.n, sizeof *all.v, by_significance);
    for (size_t i = 0; i < all.n && rc == MRO_OK; i++) {
        bool alone = true;
        for (size_t j = 0; j < out->n; j++) {
            const double reach = fmax(0.8, 0.5 * p->search.diameter_nm[out->v[j].best] + 0.45);
            if (hypot(out->v[j].y_nm - all.v[i].y_nm, out->v[j].x_nm - all.v[i].x_nm) < reach) alone = false;
        }
        if (alone && !found_push(out, all.v + i)) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    }
    free(all.v);
done:
    free(patches);
    return rc;
}

/* A crystal's spots raise the local median that whitens them, the more the smaller the field. So the power is taken
 * once more from the field without the patches found, and their powers are measured anew. */
static enum mro_code remeasure(const struct mro_order_plan *p, struct scores *s, struct mro_buffer *spectrum,
                               struct mro_buffer *power, struct mro_found_list *found, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_grid *g = &s->grid;
    const size_t n = g->ny * g->nx, nc = s->cells.ny * s->cells.nx;
    const double py = g->ly / (double)g->ny, px = g->lx / (double)g->nx;
    struct mro_buffer rest = { 0 }, mean = { 0 };
    float *field = malloc(n * sizeof *field), *gain = malloc(n * sizeof *gain);
    struct mro_patch *patches = calloc(found->n + 1, sizeof *patches);
    enum mro_code rc = MRO_OK;
    if (field == NULL || gain == NULL || patches == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    if ((rc = d->ops->download(d, field, &s->field, n * sizeof(float), e))) goto done;
    for (size_t i = 0; i < n; i++) gain[i] = 1;
    for (size_t i = 0; i < found->n; i++) {
        const struct mro_found *f = found->v + i;
        const double reach = 0.5 * p->search.diameter_nm[f->best] + 0.35; /* to the end of the soft edge */
        for (ptrdiff_t y = (ptrdiff_t)floor((f->y_nm - reach) / py); y <= (ptrdiff_t)ceil((f->y_nm + reach) / py); y++)
            for (ptrdiff_t x = (ptrdiff_t)floor((f->x_nm - reach) / px); x <= (ptrdiff_t)ceil((f->x_nm + reach) / px);
                 x++) {
                const double r = hypot((double)y * py - f->y_nm, (double)x * px - f->x_nm);
                const double w = fmin(fmax((r - reach) / 0.35 + 1, 0), 1);
                const size_t j = (size_t)((y + 2 * (ptrdiff_t)g->ny) % (ptrdiff_t)g->ny) * g->nx +
                                 (size_t)((x + 2 * (ptrdiff_t)g->nx) % (ptrdiff_t)g->nx);
                gain[j] = fminf(gain[j], (float)(w * w * (3 - 2 * w)));
            }
    }
    double kept = 0;
    for (size_t y = 0; y < g->ny; y++) {
        float line = 0;
        for (size_t x = 0; x < g->nx; x++) {
            const size_t i = y * g->nx + x;
            field[i] *= gain[i];
            line += gain[i] * gain[i];
        }
        kept += line;
    }
    kept /= (double)n;
    if (kept < 0.3) goto done; /* too little is left to tell the speckle from */
    if ((rc = d->ops->alloc(d, &rest, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &mean, nc * sizeof(float), e))) goto done;
    if ((rc = d->ops->upload(d, &s->field, field, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->forward(d, g, &s->field, &rest, e))) goto done;
    const double *band = p->o.band_inv_nm;
    if ((rc =
             d->ops->local_power(d, g, &rest, NULL, WHITEN_RADIUS, band[0] - BAND_EDGE, band[1] + BAND_EDGE, power, e)))
        goto done;
    if ((rc = d->ops->download(d, gain, power, n * sizeof(float), e))) goto done;
    for (size_t i = 0; i < n; i++) gain[i] = gain[i] > 0 ? (float)sqrt(kept / gain[i]) : 0;
    for (size_t y = 0; y < g->ny; y++) {
        const double qy = mro_frequency(y, g->ny, g->ly);
        for (size_t x = 0; x < g->nx; x++) {
            const double qx = mro_frequency(x, g->nx, g->lx);
            /* The rest is band-limited already: its power falls with the band's edges, and is to stay so. */
            gain[y * g->nx + x] *=
                mro_band_gain((float)sqrt(qy * qy + qx * qx), (float)band[0], (float)band[1], (float)BAND_EDGE);
        }
    }
    if ((rc = d->ops->multiply(d, g, spectrum, gain, e))) goto done;
    if ((rc = d->ops->inverse(d, g, spectrum, &s->field, e))) goto done;
    if ((rc = measure_gain(p, s, &mean, e))) goto done;
    for (size_t i = 0; i < found->n; i++)
        patches[i] = (struct mro_patch){
            .y_nm = found->v[i].y_nm, .x_nm = found->v[i].x_nm, .gy = found->v[i].gy, .gx = found->v[i].gx
        };
    if ((rc = d->ops->refine_patches(d, g, &s->field, &p->search, patches, found->n, e))) goto done;
    for (size_t i = 0; i < found->n; i++) {
        struct mro_found *f = found->v + i;
        const double again = gain_at(s, f->y_nm, f->x_nm);
        for (int k = 0; k < MRO_PATCH_SIZES; k++) f->power[k] = patches[i].power[k] / again;
        f->second_power = patches[i].second_power / again;
        f->best = patches[i].best;
        mro_found_shape(p, f);
    }
done:
    d->ops->release(d, &rest);
    d->ops->release(d, &mean);
    free(field);
    free(gain);
    free(patches);
    return rc;
}

/* ------------------------------------------------------------------ the null */

static const struct mro_grid tile_grid = { TILE_SAMPLES, TILE_SAMPLES, TILE_NM, TILE_NM };
static const struct mro_grid tile_cells = { TILE_CELLS, TILE_CELLS, TILE_NM, TILE_NM };

/* The first failure among threads is the one told. */
static void keep_error(enum mro_code *rc, struct mro_error *e, enum mro_code code, const struct mro_error *mine)
{
#pragma omp critical(mro_keep_error)
    if (*rc == MRO_OK) {
        *rc = code;
        if (e) *e = *mine;
    }
}

enum { PLANTED_PER_SIDE = 5, PLANTED = PLANTED_PER_SIDE * PLANTED_PER_SIDE, PLANTED_TILES = 6 };

/* Spheres planted in one speckle field: sqrt of the ratio each is seen with, and whether the code found it. `band`: the
 * pass band on the tile's grid. */
static enum mro_code plant_tile(const struct mro_order_plan *p, uint64_t tile, const float *band, double root[PLANTED],
                                bool hit[PLANTED], struct mro_error *e)
{
    static const double sizes[] = { 1.4, 1.8, 2.3 };
    struct mro_device *d = p->d;
    const size_t n = (size_t)TILE_SAMPLES * TILE_SAMPLES;
    const double pitch = TILE_NM / TILE_SAMPLES, spacing = TILE_NM / PLANTED_PER_SIDE, q = 1 / p->o.d_nm;
    const double wide[2] = { -1, 1e3 }; /* all frequencies: the band is applied after planting */
    struct mro_buffer spectrum = { 0 }, field = { 0 };
    struct scores s = { 0 };
    struct mro_found_list found = { 0 };
    float *plane = malloc(n * sizeof *plane);
    double cy[PLANTED], cx[PLANTED];
    enum mro_code rc = MRO_OK;
    if (plane == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    if ((rc = d->ops->alloc(d, &spectrum, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &field, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->noise_spectrum(d, &tile_grid, p->o.seed, (1ull << 32) + tile, wide, BAND_EDGE, &spectrum, e)))
        goto done;
    if ((rc = d->ops->inverse(d, &tile_grid, &spectrum, &field, e))) goto done;
    if ((rc = d->ops->download(d, plane, &field, n * sizeof(float), e))) goto done;
    for (size_t i = 0; i < PLANTED; i++) {
        const mro_philox_block b = mro_philox(p->o.seed, (2ull << 32) + tile, i);
        const mro_philox_block c = mro_philox(p->o.seed, (3ull << 32) + tile, i);
        const double diameter = sizes[b.v[0] % 3], radius = 0.5 * diameter;
        const double amplitude = 1.0 + 6.0 * mro_uniform_open(b.v[1]); /* sqrt(snr) */
        const double azimuth = MRO_PI * mro_uniform_open(b.v[2]), phase = 2 * MRO_PI * mro_uniform_open(b.v[3]);
        cy[i] = spacing * ((double)(i / PLANTED_PER_SIDE) + 0.4 + 0.2 * mro_uniform_open(c.v[0]));
        cx[i] = spacing * ((double)(i % PLANTED_PER_SIDE) + 0.4 + 0.2 * mro_uniform_open(c.v[1]));
        const double qy = q * sin(azimuth), qx = q * cos(azimuth);
        /* snr = (sum a t / 2)^2 / sum t^2 of the chord t with fringes a t cos: sum t^2 = pi D^4 / 8 / pitch^2. */
        const double scale = 2 * amplitude / sqrt(MRO_PI * pow(diameter, 4) / 8) * pitch;
        for (size_t y = (size_t)((cy[i] - radius) / pitch); y <= (size_t)((cy[i] + radius) / pitch) + 1; y++)
            for (size_t x = (size_t)((cx[i] - radius) / pitch); x <= (size_t)((cx[i] + radius) / pitch) + 1; x++) {
                const double dy = (double)y * pitch - cy[i], dx = (double)x * pitch - cx[i];
                plane[y * TILE_SAMPLES + x] += (float)(scale * mro_chord((float)(dy * dy + dx * dx), (float)radius) *
                                                       cos(2 * MRO_PI * (qy * dy + qx * dx) + phase));
            }
        root[i] = sqrt(mro_seen_snr(amplitude * amplitude));
        hit[i] = false;
    }
    if ((rc = d->ops->upload(d, &field, plane, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->forward(d, &tile_grid, &field, &spectrum, e))) goto done;
    if ((rc = d->ops->multiply(d, &tile_grid, &spectrum, band, e))) goto done;
    if ((rc = score_field(p, &tile_grid, &tile_cells, &spectrum, &s, e))) goto done;
    fill_surprise(p, &s);
    if ((rc = find_patches(p, &s, NULL, 0, p->null.object_threshold, &found, e))) goto done;
    for (size_t i = 0; i < PLANTED; i++)
        for (size_t j = 0; j < found.n; j++)
            if (hypot(found.v[j].y_nm - cy[i], found.v[j].x_nm - cx[i]) < 0.9) hit[i] = true;
done:
    d->ops->release(d, &spectrum);
    d->ops->release(d, &field);
    scores_release(d, &s);
    free(found.v);
    free(plane);
    return rc;
}

/* Detection power against sqrt(snr): spheres planted in speckle, found by the same code, and a normal curve fitted by
 * maximum likelihood. */
static enum mro_code measure_power(struct mro_order_plan *p, struct mro_error *e)
{
    float *band = malloc((size_t)TILE_SAMPLES * TILE_SAMPLES * sizeof *band);
    double root[PLANTED_TILES][PLANTED];
    bool hit[PLANTED_TILES][PLANTED];
    enum mro_code rc = MRO_OK;
    if (band == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (size_t y = 0; y < TILE_SAMPLES; y++)
        for (size_t x = 0; x < TILE_SAMPLES; x++) {
            const double qy = mro_frequency(y, TILE_SAMPLES, TILE_NM);
            const double qx = mro_frequency(x, TILE_SAMPLES, TILE_NM);
            band[y * TILE_SAMPLES + x] = mro_band_gain((float)hypot(qy, qx), (float)p->o.band_inv_nm[0],
                                                       (float)p->o.band_inv_nm[1], (float)BAND_EDGE);
        }
#pragma omp parallel for schedule(dynamic) num_threads(p->d->threads) if (p->d->ops->concurrent)
    for (size_t t = 0; t < PLANTED_TILES; t++) {
        struct mro_error mine = { 0 };
        const enum mro_code code = plant_tile(p, t, band, root[t], hit[t], &mine);
        if (code) keep_error(&rc, e, code, &mine);
    }
    free(band);
    if (rc) return rc;
    /* Two parameters, a smooth likelihood: a grid is simple and cannot fail. Its steps are half the standard errors. */
    double best = -INFINITY;
    for (double a = 1.5; a <= 6; a += 0.05)
        for (double b = 0.3; b <= 1.5; b += 0.1) {
            double l = 0;
            for (size_t t = 0; t < PLANTED_TILES; t++)
                for (size_t i = 0; i < PLANTED; i++) {
                    const double z = (root[t][i] - a) / b;
                    l += log(fmax(hit[t][i] ? gsl_cdf_ugaussian_P(z) : gsl_cdf_ugaussian_Q(z), 0.002));
                }
            if (l > best) {
                best = l;
                p->power_curve[0] = a;
                p->power_curve[1] = b;
            }
        }
    return MRO_OK;
}

static enum mro_code speckle_scores(const struct mro_order_plan *p, uint64_t tile, struct scores *s,
                                    struct mro_error *e)
{
    struct mro_device *d = p->d;
    struct mro_buffer spectrum = { 0 };
    enum mro_code rc = d->ops->alloc(d, &spectrum, tile_grid.ny * tile_grid.nx * sizeof(mro_c32), e);
    if (rc == MRO_OK)
        rc = d->ops->noise_spectrum(d, &tile_grid, p->o.seed, tile, p->o.band_inv_nm, BAND_EDGE, &spectrum, e);
    if (rc == MRO_OK) rc = score_field(p, &tile_grid, &tile_cells, &spectrum, s, e);
    d->ops->release(d, &spectrum);
    return rc;
}

static enum mro_code make_null(struct mro_order_plan *p, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t tiles = (size_t)p->o.surrogates, each = (size_t)TILE_CELLS * TILE_CELLS;
    /* All fields and their scores are held until the last threshold is known. */
    const size_t held =
        tiles * ((size_t)TILE_SAMPLES * TILE_SAMPLES * sizeof(float) + each * (2 + 2 * MRO_WINDOWS) * 4);
    if (held > d->memory_bytes)
        return MRO_FAIL(e, MRO_EMEMORY,
                        "%d speckle fields take %zu MiB, over the memory budget of %zu MiB; give fewer --surrogates or "
                        "raise --memory",
                        p->o.surrogates, held >> 20, d->memory_bytes >> 20);
    struct mro_null *null = &p->null;
    struct mro_found_list all = { 0 }, *found = NULL;
    struct scores *s = calloc(tiles, sizeof *s);
    enum mro_code rc = MRO_OK;
    null->cells = tiles * each;
    null->min_p = malloc(null->cells * sizeof *null->min_p);
    if (s == NULL || null->min_p == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a null of %zu cells", null->cells);
        goto done;
    }
    /* Fields are independent and small: one thread each, where the device allows that. */
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t t = 0; t < tiles; t++) {
        struct mro_error mine = { 0 };
        const enum mro_code code = speckle_scores(p, t, s + t, &mine);
        if (code) keep_error(&rc, e, code, &mine);
    }
    if (rc) goto done;
    for (int k = 0; k < MRO_WINDOWS; k++) {
        for (size_t t = 0; t < tiles; t++) memcpy(null->min_p + t * each, s[t].power[k], each * sizeof(float));
        if (!sort_floats(null->min_p, null->cells)) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
            goto done;
        }
        tabulate(null, k, null->min_p, null->cells);
    }
    for (size_t t = 0; t < tiles; t++) {
        fill_surprise(p, s + t);
        memcpy(null->min_p + t * each, s[t].surprise, each * sizeof(float));
    }
    if ((rc = mro_views_new(p, e))) goto done;
    if (!sort_floats(null->min_p, null->cells)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    null->threshold = null->min_p[(size_t)((1 - p->o.false_positive_rate) * (double)null->cells)];
    null->area_nm2 = (double)tiles * TILE_NM * TILE_NM;
    if ((found = calloc(tiles, sizeof *found)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t t = 0; t < tiles; t++) {
        struct mro_error mine = { 0 };
        const enum mro_code code = find_patches(p, s + t, NULL, 0, -INFINITY, found + t, &mine);
        if (code) keep_error(&rc, e, code, &mine);
    }
    for (size_t t = 0; t < tiles && rc == MRO_OK; t++)
        for (size_t i = 0; i < found[t].n && rc == MRO_OK; i++)
            if (!found_push(&all, found[t].v + i)) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    if (rc) goto done;
    /* `all` is ordered within a tile only. */
    if (all.n) qsort(all.v, all.n, sizeof *all.v, by_significance);
    const size_t wanted = (size_t)(FALSE_PER_NM2 * null->area_nm2);
    if (all.n <= wanted + 1 || wanted < 8) {
        rc = MRO_FAIL(e, MRO_EARG, "%d speckle fields are too few for a null; give --surrogates 8 or more",
                      p->o.surrogates);
        goto done;
    }
    null->object_threshold = all.v[wanted].significance;
    null->false_patches = wanted;
    for (size_t i = 0; i < wanted; i++)
        null->object_excess += (all.v[i].significance - null->object_threshold) / (double)wanted;
done:
    for (size_t t = 0; s && t < tiles; t++) scores_release(d, s + t);
    free(s);
    for (size_t t = 0; found && t < tiles; t++) free(found[t].v);
    free(found);
    free(all.v);
    return rc;
}

/* Share of the chord profile's energy that the band lets through at |g|. */
static double energy_fraction(const double band[2], double diameter, double g)
{
    enum { N = 48 };
    const double reach = 2.6 / diameter, h = 2 * reach / N; /* beyond lies < 0.1 % of the energy */
    double in = 0, all = 0;
    for (int j = 0; j < N; j++)
        for (int i = 0; i < N; i++) {
            const double dy = -reach + ((double)j + 0.5) * h, dx = -reach + ((double)i + 0.5) * h;
            const double t = mro_sphere_form_factor(hypot(dy, dx), diameter);
            const double b = mro_band_gain((float)hypot(g + dx, dy), (float)band[0], (float)band[1], (float)BAND_EDGE);
            in += t * t * b * b;
            all += t * t;
        }
    return in / all;
}

enum mro_code mro_order_plan_new(struct mro_order_plan **out, struct mro_device *d, const struct mro_order_options *o,
                                 struct mro_error *e)
{
    *out = NULL;
    if (!(o->band_inv_nm[0] > 0 && o->band_inv_nm[1] > o->band_inv_nm[0]))
        return MRO_FAIL(e, MRO_EARG, "the pass band %g,%g 1/nm is not LOW,HIGH with 0 < LOW < HIGH", o->band_inv_nm[0],
                        o->band_inv_nm[1]);
    if (!(o->d_nm > 0 && o->d_tolerance > 0 && o->d_tolerance < 0.5))
        return MRO_FAIL(e, MRO_EARG, "a spacing of %g nm +- %g %% cannot be looked for", o->d_nm, 100 * o->d_tolerance);
    if (o->d_nm > MOST_D_NM)
        return MRO_FAIL(e, MRO_EARG, "a spacing of %g nm is too wide for windows of 1.4 to 2.6 nm; give --d up to %g",
                        o->d_nm, MOST_D_NM);
    if (!(o->false_positive_rate > 0 && o->false_positive_rate < 0.5))
        return MRO_FAIL(e, MRO_EARG, "a false-positive rate of %g is not between 0 and 0.5", o->false_positive_rate);
    if (o->surrogates < 8 || o->surrogates > 100000)
        return MRO_FAIL(e, MRO_EARG, "%d speckle fields: give --surrogates between 8 and 100000", o->surrogates);
    const double lo = 1 / (o->d_nm * (1 + o->d_tolerance)), hi = 1 / (o->d_nm * (1 - o->d_tolerance));
    if (lo < o->band_inv_nm[0] || hi > o->band_inv_nm[1])
        return MRO_FAIL(e, MRO_EARG,
                        "d = %g nm +- %g %% (%.2f to %.2f 1/nm) is not inside the pass band %g,%g 1/nm; widen --band",
                        o->d_nm, 100 * o->d_tolerance, lo, hi, o->band_inv_nm[0], o->band_inv_nm[1]);
    if (o->band_inv_nm[1] + BAND_EDGE > TILE_SAMPLES / (2 * TILE_NM))
        return MRO_FAIL(e, MRO_EARG, "a pass band up to %g 1/nm is beyond the %.1f 1/nm that the null is drawn for",
                        o->band_inv_nm[1], TILE_SAMPLES / (2 * TILE_NM) - BAND_EDGE);
    struct mro_order_plan *p = calloc(1, sizeof *p);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    p->d = d;
    p->o = *o;
    p->edge_inv_nm = BAND_EDGE;
    p->tile = tile_grid;
    p->tile_cells = tile_cells;
    p->g_range[0] = lo;
    p->g_range[1] = hi;
    enum mro_code rc = MRO_OK;
    for (int k = 0; k < MRO_WINDOWS && rc == MRO_OK; k++) {
        p->window_s_nm[k] = 0.2236 * windows_nm[k];
        /* Between neighbours a window of s loses exp(-(2 pi s step)^2 / 4) of its power at worst along one axis. */
        rc = make_rings(lo, hi, 0.6 / windows_nm[k], &p->g[k], &p->n_g[k], e);
    }
    memcpy(p->search.diameter_nm, sizes_nm, sizeof sizes_nm);
    for (int k = 0; k < MRO_PATCH_SIZES; k++) {
        /* Independent places and wave vectors searched by the climb, from speckle fields: 2.2 at 1 nm, as D^1.35. */
        p->size_cost[k] = log(2.2) + 1.35 * log(sizes_nm[k]);
        p->search.offset[k] = p->size_cost[k];
    }
    p->search.d_range_inv_nm[0] = lo;
    p->search.d_range_inv_nm[1] = hi;
    for (int k = 0; k < MRO_PATCH_SIZES; k++)
        for (int i = 0; i <= MRO_ENERGY_STEPS; i++)
            p->search.energy[k][i] =
                energy_fraction(o->band_inv_nm, sizes_nm[k], lo + (hi - lo) * i / MRO_ENERGY_STEPS);
    p->search.second_from = SECOND_FROM;
    if (rc == MRO_OK) rc = make_null(p, e);
    if (rc == MRO_OK) rc = measure_power(p, e);
    if (rc) {
        mro_order_plan_free(p);
        return rc;
    }
    *out = p;
    return MRO_OK;
}

void mro_order_plan_free(struct mro_order_plan *p)
{
    if (p == NULL) return;
    for (int k = 0; k < MRO_WINDOWS; k++) free(p->g[k]);
    mro_views_free(p);
    free(p->null.min_p);
    free(p);
}

/* ------------------------------------------------------------------ one image */

static void result_unknown(struct mro_order_result *r)
{
    r->fraction_raw = r->null_fraction = r->fraction = r->p_image = r->fraction_acf = NAN;
    r->fraction_ci95[0] = r->fraction_ci95[1] = r->density_per_nm2 = r->diameter_median_nm = NAN;
    r->size_limit_nm = r->coverage = NAN;
    for (int i = 0; i < 4; i++) r->region_nm[i] = NAN;
    for (int i = 0; i < 3; i++) r->grade_fractions[i] = NAN;
    r->ctf.defocus_nm = r->ctf.astigmatism_nm = r->ctf.azimuth_deg = r->ctf.delocalisation_nm = NAN;
}

/* Fills the whitening model and the sign of the lens's transfer wherever the local power of the band lo..hi looks; 1
 * elsewhere. Both are even in q. */
static void lens_model(int threads, const struct mro_grid *g, const struct mro_ctf_fit *fit, double lo, double hi,
                       float *model, float *sign)
{
    const struct mro_lattice l = mro_lattice_of(g->ny, g->nx, g->ly, g->lx, WHITEN_RADIUS, lo, hi);
    const double reach = l.radius + 2 / fmin(g->ly, g->lx); /* of a disc */
    const double from = fmax(l.inner - reach, 0), to = l.outer + reach;
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
    for (size_t y = 0; y <= g->ny / 2; y++) {
        const double qy = mro_frequency(y, g->ny, g->ly);
        const size_t mirror = y ? g->ny - y : 0;
        for (size_t x = 0; x < g->nx; x++) {
            const double qx = mro_frequency(x, g->nx, g->lx), q2 = qy * qy + qx * qx;
            const size_t i = y * g->nx + x, j = mirror * g->nx + (x ? g->nx - x : 0);
            if (mirror == y && j < i) continue; /* written with its partner */
            const bool seen = q2 >= from * from && q2 <= to * to;
            model[i] = model[j] = seen ? (float)(mro_ctf_fit_transfer(fit, qy, qx) + MODEL_FLOOR) : 1;
            sign[i] = sign[j] = seen && sin(mro_ctf_fit_chi(fit, qy, qx)) < 0 ? -1.0f : 1.0f;
        }
    }
}

/* The contrast c of snr = c D^4 that the image itself leads to expect: the fringes of a sphere of iron have a known
 * amplitude per nm, and what they compete with, speckle and shot noise, is the power measured at their spatial
 * frequency. So thickness, dose and lens enter through what is seen. `power` is that of the contrast per coefficient of
 * a unitary transform; `model` the lens's |transfer|^2 over the foil's depth, NULL where no rings tell it. */
static void expect_contrast(const struct mro_order_plan *p, const struct mro_grid *g, const float *power,
                            const float *model, const double pixel_nm[2], double kv, bool lens_known,
                            struct mro_contrast *out)
{
    const double lambda = mro_wavelength_nm(kv > 0 ? kv : 200), lo = 0.95 / p->o.d_nm, hi = 1.05 / p->o.d_nm;
    double signal = 0, amplitude = 0, noise = 0, n = 0;
    for (size_t y = 0; y < g->ny; y++) {
        const double qy = mro_frequency(y, g->ny, g->ly);
        if (fabs(qy) > hi) continue;
        double line = 0, line_amplitude = 0, line_noise = 0, line_n = 0;
        for (size_t x = 0; x < g->nx; x++) {
            const double qx = mro_frequency(x, g->nx, g->lx), q2 = qy * qy + qx * qx;
            const size_t i = y * g->nx + x;
            if (q2 < lo * lo || q2 > hi * hi) continue;
            const double spread = MRO_PI * lambda * FOCAL_SPREAD_NM * q2;
            const double transfer =
                (model ? fmax(model[i] - MODEL_FLOOR, 0) : UNKNOWN_TRANSFER) * exp(-spread * spread);
            line += transfer;
            line_amplitude += sqrt(transfer);
            line_noise += power[i];
            line_n++;
        }
        signal += line;
        amplitude += line_amplitude;
        noise += line_noise;
        n += line_n;
    }
    /* The matched patches are not weighted by the lens: over its zeros a sphere's amplitudes add up to less. */
    const double coherent = signal > 0 ? amplitude * amplitude / (signal * n) : 1;
    const double c = noise > 0 ? CONTRAST_PER_POWER * coherent * signal / noise / (pixel_nm[0] * pixel_nm[1]) : 1;
    /* Unknown ghosts share a sphere's signal. */
    out->log_c = log(fmin(fmax(lens_known ? c : 0.6 * c, 0.1), 6));
    out->log_sd = lens_known ? 0.4 : 0.6;
}

/* Cells that can be measured, and those where patches are looked for, which reach into the rim: away from the border,
 * from missing pixels, and where the band holds signal. */
static size_t mark_usable(const struct scores *s, const struct mro_image *im, const double pixel_nm[2],
                          unsigned char *usable, unsigned char *searched)
{
    const size_t ny = s->cells.ny, nx = s->cells.nx, n = ny * nx;
    const double py = s->cells.ly / (double)ny, px = s->cells.lx / (double)nx;
    float *v = malloc(n * sizeof *v);
    if (v == NULL) return 0;
    memcpy(v, s->gain, n * sizeof *v);
    const float floor_ = NO_SIGNAL * mro_select(v, n, n * 4 / 5);
    unsigned char *bad = calloc(n, 1);
    if (bad == NULL) {
        free(v);
        return 0;
    }
    for (size_t i = 0; i < n; i++) bad[i] = s->gain[i] < floor_;
    if (im->not_finite) {
        for (size_t y = 0; y < im->ny; y++)
            for (size_t x = 0; x < im->nx; x++)
                if (!isfinite(im->px[y * im->nx + x])) {
                    const size_t j = (size_t)(((double)y + 0.5) * pixel_nm[0] / py),
                                 i = (size_t)(((double)x + 0.5) * pixel_nm[1] / px);
                    if (j < ny && i < nx && bad[j * nx + i] < 255) bad[j * nx + i]++;
                }
        /* Single dead pixels are filled like spikes; a cell is lost when a tenth of its pixels are missing. */
        const double most = fmin(254, 0.1 * py / pixel_nm[0] * px / pixel_nm[1]);
        for (size_t i = 0; i < n; i++) bad[i] = s->gain[i] < floor_ || bad[i] > most;
    }
    const ptrdiff_t ry = (ptrdiff_t)ceil(REACH_NM / py), rx = (ptrdiff_t)ceil(REACH_NM / px);
    size_t count = 0;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const double cy = (double)y * py, cx = (double)x * px;
            const double rim = fmin(fmin(cy, cx), fmin(s->cells.ly - cy, s->cells.lx - cx)); /* from the border */
            bool ok = true;
            /* Across the border too: the fields are periodic, and vacuum there is felt here. */
            for (ptrdiff_t b = (ptrdiff_t)y - ry; ok && b <= (ptrdiff_t)y + ry; b++)
                for (ptrdiff_t a = (ptrdiff_t)x - rx; a <= (ptrdiff_t)x + rx; a++) {
                    const size_t row = (size_t)((b + (ptrdiff_t)ny) % (ptrdiff_t)ny);
                    const size_t column = (size_t)((a + (ptrdiff_t)nx) % (ptrdiff_t)nx);
                    if (bad[row * nx + column]) ok = false;
                }
            usable[y * nx + x] = ok && rim >= MARGIN_NM;
            searched[y * nx + x] = ok && rim >= SEARCH_MARGIN_NM;
            count += usable[y * nx + x];
        }
    free(v);
    free(bad);
    return count;
}

/* Chance that speckle gives patches that stand out as much in total, from drawn images: the number of false patches
 * is Poisson, their excess exponential, both as the null has them. */
static double image_p(const struct mro_order_plan *p, const struct mro_found_list *found, double searched_nm2)
{
    double seen = 0;
    for (size_t i = 0; i < found->n; i++) seen += found->v[i].significance - p->null.object_threshold;
    const double rate = searched_nm2 * (double)p->null.false_patches / p->null.area_nm2, mean = p->null.object_excess;
    size_t reached = 0;
#pragma omp parallel for schedule(static) num_threads(p->d->threads) reduction(+ : reached)
    for (size_t b = 0; b < P_IMAGES; b++) {
        double total = 0, budget = rate;
        for (uint64_t i = 0;; i++) {
            const mro_philox_block u = mro_philox(p->o.seed, (4ull << 32) + b, i);
            budget += log(mro_uniform_open(u.v[0])); /* a Poisson process of unit rate, run for `rate` */
            if (budget < 0 || total >= seen) break;
            total -= mean * log(mro_uniform_open(u.v[1]));
        }
        reached += total >= seen;
    }
    return (1.0 + (double)reached) / (1.0 + P_IMAGES);
}

static enum mro_code fill_result(const struct mro_order_plan *p, const struct scores *s, const unsigned char *usable,
                                 const struct mro_found_list *found, const struct mro_area *a,
                                 struct mro_order_result *r, struct mro_error *e)
{
    const size_t ny = s->cells.ny, nx = s->cells.nx;
    r->score = (struct mro_order_map){
        .nx = nx, .ny = ny, .step_x_nm = s->cells.lx / (double)nx, .step_y_nm = s->cells.ly / (double)ny
    };
    r->mask = r->spacing = r->score;
    r->score.v = malloc(nx * ny * sizeof(float));
    r->mask.v = malloc(nx * ny * sizeof(float));
    r->spacing.v = malloc(nx * ny * sizeof(float));
    r->objects = calloc(found->n + 1, sizeof *r->objects);
    if (!r->score.v || !r->mask.v || !r->spacing.v || !r->objects) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    size_t flagged = 0;
    for (size_t i = 0; i < nx * ny; i++) {
        r->score.v[i] = usable[i] ? (float)(s->surprise[i] / p->null.threshold) : NAN;
        r->mask.v[i] = usable[i] ? (float)(s->surprise[i] > p->null.threshold) : NAN;
        const double *g = strongest_wave(p, s, i);
        r->spacing.v[i] = usable[i] ? (float)(1 / hypot(g[0], g[1])) : NAN;
        flagged += usable[i] && s->surprise[i] > p->null.threshold;
    }
    r->fraction_raw = r->cells ? (double)flagged / (double)r->cells : NAN;
    for (size_t i = 0; i < found->n; i++) {
        const struct mro_found *f = found->v + i;
        if (a->weight[i] < 0.5) continue; /* more likely speckle */
        struct mro_order_object *o = r->objects + r->n_objects++;
        const double q = hypot(f->gy, f->gx);
        double azimuth = atan2(f->gy, f->gx) * 180 / MRO_PI;
        if (azimuth < 0) azimuth += 180;
        if (azimuth >= 180) azimuth -= 180;
        *o = (struct mro_order_object){ .x_nm = f->x_nm,
                                        .y_nm = f->y_nm,
                                        .diameter_nm = a->diameter_nm[i],
                                        .d_nm = 1 / q,
                                        .azimuth_deg = azimuth,
                                        .snr = f->snr,
                                        .grade = MRO_GRADE_A };
        /* Cramer-Rao for the spacing of a sphere's fringes, with R^2 / 6 the mean square reach of its profile. */
        const double radius = 0.5 * (a->diameter_nm[i] + MRO_INTERFACE_NM);
        const double sigma_g = 1 / (2 * MRO_PI * sqrt(2 * f->snr * radius * radius / 6));
        if (fabs(q - 1 / p->o.d_nm) < 2 * sigma_g) o->grade = f->second_power > 9.0 ? MRO_GRADE_C : MRO_GRADE_B;
    }
    for (int k = 0; k < 3; k++) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_objects; i++) n += r->objects[i].grade == "ABC"[k];
        r->grade_fractions[k] = r->n_objects ? (double)n / (double)r->n_objects : NAN;
    }
    if (r->n_objects) {
        float *d = malloc(r->n_objects * sizeof *d);
        if (d == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        for (size_t i = 0; i < r->n_objects; i++) d[i] = (float)r->objects[i].diameter_nm;
        r->diameter_median_nm = mro_median(d, r->n_objects);
        free(d);
    }
    return MRO_OK;
}

/* Sample (0, 0) of the fields is the centre of the first pixel; positions are given from the corner of the image. */
static void from_corner(struct mro_order_result *r)
{
    const double y = 0.5 * r->pixel_nm[0], x = 0.5 * r->pixel_nm[1];
    for (int i = 0; i < 4; i++) r->region_nm[i] += i % 2 ? y : x;
    for (size_t i = 0; i < r->n_objects; i++) {
        r->objects[i].y_nm += y;
        r->objects[i].x_nm += x;
    }
    for (size_t i = 0; i < r->n_tiles; i++) {
        r->tiles[i].y_nm += y;
        r->tiles[i].x_nm += x;
    }
    struct mro_order_map *const maps[] = { &r->score, &r->mask, &r->acf, &r->spacing };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        maps[i]->y0_nm += y;
        maps[i]->x0_nm += x;
    }
}

enum mro_code mro_order_measure(struct mro_order_plan *p, const struct mro_image *im, const char *name,
                                struct mro_order_result *r, struct mro_error *e)
{
    struct mro_device *d = p->d;
    double pixel[2];
    memset(r, 0, sizeof *r);
    result_unknown(r);
    MRO_TRY(mro_image_pixel_nm(im, name, pixel, e));
    MRO_TRY(mro_band_check(p->o.band_inv_nm, pixel, name, e));
    memcpy(r->pixel_nm, pixel, sizeof pixel);
    memcpy(r->band_inv_nm, p->o.band_inv_nm, sizeof r->band_inv_nm);
    r->d_nm = p->o.d_nm;
    r->false_positive_rate = p->o.false_positive_rate;

    const size_t pixels = im->ny * im->nx;
    size_t first = 0;
    while (first < pixels && !isfinite(im->px[first])) first++;
    size_t other = first;
    while (other < pixels && (im->px[other] == im->px[first] || !isfinite(im->px[other]))) other++;
    if (other == pixels) {
        const bool empty = first == pixels;
        mro_warn(r, "%s: there is nothing to measure",
                 empty ? "no pixel holds a number" : "every pixel has the same value");
        snprintf(r->verdict, sizeof r->verdict, "not measured: the image is %s", empty ? "empty" : "constant");
        return MRO_OK;
    }
    const double ly = (double)im->ny * pixel[0], lx = (double)im->nx * pixel[1];
    if (fmin(ly, lx) < 5) {
        mro_warn(
            r,
            "the image is %.2f nm x %.2f nm: too small for windows of 2.6 nm and their surroundings; 5 nm are needed",
            lx, ly);
        snprintf(r->verdict, sizeof r->verdict, "not measured: the field is too small");
        return MRO_OK;
    }
    if (im->not_finite) mro_warn(r, "%zu pixels are not finite numbers and are left out", im->not_finite);

    struct mro_grid grid, cells;
    mro_order_grids(im, pixel, &grid, &cells);
    const size_t n = grid.ny * grid.nx, nc = cells.ny * cells.nx;

    struct mro_buffer spectrum = { 0 }, power = { 0 };
    struct scores s = { 0 };
    struct mro_found_list found = { 0 };
    struct mro_area area = { 0 };
    struct mro_ctf_fit fit = { 0 };
    mro_c32 *host_spectrum = NULL;
    float *model = NULL, *gain = malloc(n * sizeof *gain), *sign = NULL;
    unsigned char *usable = malloc(nc), *searched = malloc(nc);
    enum mro_code rc = MRO_OK;
    if (gain == NULL || usable == NULL || searched == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }
    size_t spikes = 0;
    if ((rc = d->ops->alloc(d, &spectrum, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &power, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->contrast_spectrum(d, im->px, im->ny, im->nx, pixel, BACKGROUND_NM, &grid, &spectrum, &spikes, e)))
        goto done;
    if (spikes > im->ny * im->nx / 1000)
        mro_warn(r, "%zu pixels (%.2g %%) stood out of their neighbours as spikes and were replaced", spikes,
                 100.0 * (double)spikes / (double)(im->ny * im->nx));

    const double kv = p->o.kv > 0 ? p->o.kv : im->beam_kv;
    bool lens_known = false;
    if (kv > 0 && isfinite(p->o.cs_mm)) {
        if ((host_spectrum = malloc(n * sizeof *host_spectrum)) == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
            goto done;
        }
        if ((rc = d->ops->download(d, host_spectrum, &spectrum, n * sizeof(mro_c32), e))) goto done;
        if ((rc = mro_ctf_fit_rings(&grid, host_spectrum, kv, p->o.cs_mm, &fit, e))) goto done;
        const double g = 1 / p->o.d_nm;
        if (fit.rings) {
            lens_known = true;
            r->ctf = (struct mro_ctf){ .known = true,
                                       .defocus_nm = fit.defocus_nm,
                                       .astigmatism_nm = fit.astigmatism_nm,
                                       .azimuth_deg = fmod(fit.azimuth * 180 / MRO_PI + 360, 180),
                                       .delocalisation_nm =
                                           mro_delocalisation_nm(g, fit.lambda_nm, fit.defocus_nm, fit.cs_nm) };
        } else if (fabs(p->o.cs_mm) < 0.1) {
            /* A corrected lens that shows no ring up to 6.5 nm^-1 has turned the phase by less than pi there. */
            lens_known = true;
            mro_warn(r,
                     "no rings in the spectrum to fit the defocus to: the delocalisation is taken as below 0.3 nm, as "
                     "without rings at Cs %g mm",
                     p->o.cs_mm);
        } else {
            mro_warn(r,
                     "no rings in the spectrum to fit the defocus to: the delocalisation R is unknown and the interval "
                     "is widened");
        }
    } else {
        mro_warn(
            r,
            "%s unknown: the delocalisation R is unknown, ordered regions may be blurred or doubled, and the interval "
            "is widened; give --kv KV --cs MM",
            kv > 0                 ? "the spherical aberration is"
            : isfinite(p->o.cs_mm) ? "the beam energy is"
                                   : "beam energy and spherical aberration are");
    }
    if (fit.rings) {
        model = malloc(n * sizeof *model);
        sign = malloc(n * sizeof *sign);
        if (model == NULL || sign == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
            goto done;
        }
        lens_model(d->threads, &grid, &fit, p->o.band_inv_nm[0] - BAND_EDGE, p->o.band_inv_nm[1] + BAND_EDGE, model,
                   sign);
    }
    if (p->o.views && (rc = mro_views_filtered(p, &grid, &spectrum, im, r, e))) goto done;
    const double *band = p->o.band_inv_nm;
    const double outer2 = (band[1] + BAND_EDGE) * (band[1] + BAND_EDGE),
                 inner2 = (band[0] - BAND_EDGE) * (band[0] - BAND_EDGE);
    if ((rc = d->ops->local_power(d, &grid, &spectrum, model, WHITEN_RADIUS, band[0] - BAND_EDGE, band[1] + BAND_EDGE,
                                  &power, e)))
        goto done;
    if ((rc = d->ops->download(d, gain, &power, n * sizeof(float), e))) goto done;
    struct mro_contrast expected;
    expect_contrast(p, &grid, gain, model, pixel, kv, lens_known, &expected);
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (size_t y = 0; y < grid.ny; y++) {
        const double qy = mro_frequency(y, grid.ny, ly);
        for (size_t x = 0; x < grid.nx; x++) {
            const double qx = mro_frequency(x, grid.nx, lx), q2 = qy * qy + qx * qx;
            const size_t i = y * grid.nx + x;
            if (!(gain[i] > 0) || q2 < inner2 || q2 > outer2) {
                gain[i] = 0;
                continue;
            }
            /* Flipping the sign where the lens reversed contrast undoes its delocalisation: after whitening the glass's
             * own transfer is divided out, and only the sign was left. */
            gain[i] = mro_band_gain((float)sqrt(q2), (float)band[0], (float)band[1], (float)BAND_EDGE) /
                      sqrtf(gain[i]) * (sign ? sign[i] : 1.0f);
        }
    }
    if ((rc = d->ops->multiply(d, &grid, &spectrum, gain, e))) goto done;
    if ((rc = score_field(p, &grid, &cells, &spectrum, &s, e))) goto done;
    fill_surprise(p, &s);
    r->cells = mark_usable(&s, im, pixel, usable, searched);
    const double cell_area = ly / (double)cells.ny * lx / (double)cells.nx;
    size_t inside = 0, x0 = cells.nx, x1 = 0, y0 = cells.ny, y1 = 0;
    for (size_t y = 0; y < cells.ny; y++)
        for (size_t x = 0; x < cells.nx; x++) {
            const double cy = (double)y * ly / (double)cells.ny, cx = (double)x * lx / (double)cells.nx;
            if (cy < MARGIN_NM || cx < MARGIN_NM || cy > ly - MARGIN_NM || cx > lx - MARGIN_NM) continue;
            inside++;
            x0 = x < x0 ? x : x0;
            x1 = x > x1 ? x : x1;
            y0 = y < y0 ? y : y0;
            y1 = y > y1 ? y : y1;
        }
    r->coverage = inside ? (double)r->cells / (double)inside : 0;
    if (r->cells < 50) {
        mro_warn(r, "only %zu of %zu cells hold usable signal in the band and 50 are needed: nothing was measured",
                 r->cells, inside);
        snprintf(r->verdict, sizeof r->verdict, "not measured: %s",
                 inside < 50 ? "the field is too small" : "no usable signal in the pass band");
        goto done;
    }
    r->region_nm[0] = ((double)x0 - 0.5) * lx / (double)cells.nx;
    r->region_nm[1] = ((double)y0 - 0.5) * ly / (double)cells.ny;
    r->region_nm[2] = ((double)x1 + 0.5) * lx / (double)cells.nx;
    r->region_nm[3] = ((double)y1 + 0.5) * ly / (double)cells.ny;
    const double usable_nm2 = (double)r->cells * cell_area;

    if ((rc = find_patches(p, &s, searched, SEARCH_MARGIN_NM, p->null.object_threshold, &found, e))) goto done;
    if (found.n && usable_nm2 < CROWDED_NM2 && (rc = remeasure(p, &s, &spectrum, &power, &found, e))) goto done;
    size_t n_searched = 0;
    for (size_t i = 0; i < nc; i++) n_searched += searched[i];
    const double searched_nm2 = (double)n_searched * cell_area;
    if ((rc = mro_area_of(p, &found, r->region_nm, usable_nm2, searched_nm2, &expected, lens_known, &area, e)))
        goto done;
    r->null_fraction = p->o.false_positive_rate; /* the threshold is that quantile of the null */
    r->fraction = area.fraction;
    memcpy(r->fraction_ci95, area.ci95, sizeof area.ci95);

    r->p_image = image_p(p, &found, searched_nm2);
    r->distinguishable = r->p_image < 0.001;
    for (r->size_limit_nm = 0.6; r->size_limit_nm < 6 && mro_detection_power(p, r->size_limit_nm, area.contrast) < 0.5;)
        r->size_limit_nm += 0.01;
    if ((rc = fill_result(p, &s, usable, &found, &area, r, e))) goto done;
    r->density_per_nm2 = (double)r->n_objects / usable_nm2;
    const struct mro_view_field view = { &s.grid, &s.cells, &s.field, s.surprise, usable, im };
    if ((rc = mro_views_fill(p, &view, r, e))) goto done;
    if (r->distinguishable)
        snprintf(r->verdict, sizeof r->verdict,
                 "ordered regions cover %.1f %% of the area, more than a glass of the same spectrum (p %s %.2g)",
                 100 * r->fraction, r->p_image <= 1.01 / (P_IMAGES + 1) ? "<" : "=", r->p_image);
    else
        snprintf(
            r->verdict, sizeof r->verdict,
            "not distinguishable from a glass of the same spectrum (p = %.2g); nothing below %.1f nm can be seen here",
            r->p_image, r->size_limit_nm);
    if (r->distinguishable && (r->size_limit_nm > LARGE_LIMIT_NM || r->size_limit_nm > r->diameter_median_nm))
        mro_warn(
            r,
            "ordered regions below %.1f nm can hardly be seen at this contrast (thick foil, few counts or lens): the "
            "fraction is of larger ones and rests on few of them",
            r->size_limit_nm);
    if (r->fraction > CROWDED)
        mro_warn(
            r,
            "ordered regions fill much of the field: part of their power passes for the glass's, and the fraction is a "
            "lower bound");
    from_corner(r);
    if (p->o.sweep_band) {
        char note[400];
        if ((rc = mro_views_sweep(p, im, name, r, note, sizeof note, e))) goto done;
        if (note[0]) mro_warn(r, "%s", note);
    }
done:
    d->ops->release(d, &spectrum);
    d->ops->release(d, &power);
    scores_release(d, &s);
    mro_area_release(&area);
    free(found.v);
    free(host_spectrum);
    free(model);
    free(sign);
    free(gain);
    free(usable);
    free(searched);
    if (rc) mro_order_result_release(r);
    return rc;
}

void mro_order_result_release(struct mro_order_result *r)
{
    if (r == NULL) return;
    free(r->objects);
    free(r->sweep);
    mro_notes_release(&r->warnings, &r->n_warnings);
    free(r->score.v);
    free(r->mask.v);
    free(r->acf.v);
    free(r->spacing.v);
    mro_image_release(&r->filtered);
    mro_image_release(&r->whitened);
    for (size_t i = 0; i < r->n_tiles; i++) free(r->tiles[i].v);
    free(r->tiles);
    free(r->cdf_score);
    free(r->cdf_p);
    free(r->cdf_null);
    free(r->cdf_observed);
    memset(r, 0, sizeof *r);
}

size_t mro_order_bytes(const struct mro_image *like, const struct mro_order_options *o)
{
    const size_t null = (size_t)24 << 20; /* fields of the glass and what is kept of them, measured */
    struct mro_grid grid, cells;
    double pixel_nm[2];
    struct mro_error e;
    if (mro_image_pixel_nm(like, "", pixel_nm, &e) != MRO_OK) return null;
    mro_order_grids(like, pixel_nm, &grid, &cells);
    /* The half plane that an image is cropped in; then whitening and scores, and what is shown of them. */
    const size_t half = like->ny * (grid.nx / 2 + 1) * sizeof(mro_c32);
    return null + half + grid.ny * grid.nx * (o->views ? 52 : 36) + cells.ny * cells.nx * 68;
}

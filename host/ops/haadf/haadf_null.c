/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random fields of the spectrum of an image, and how much of them lies beyond thresholds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/first_error.h"
#include "core/sizes.h"
#include "core/team.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/philox.h"
#include "ops/haadf/haadf_internal.h"

#define KEPT_POWER 0.99 /* of the smoothed field that the grid of the random ones holds */
#define TILE_WAVES 5.0  /* of the longest waves of the band that a tile holds along an axis, at least */
#define FIELD_WORK 8e6  /* samples of all tiles together, from which fewer are drawn */
#define FEWEST 299
#define MOST_TILES 2048   /* in a pool: their histograms are kept */
#define STREAM 0x5000000u /* of the random numbers: the fields have their own, */
#define CHOICE 0x6000000u /* and which tiles make a field */
#define BINS 4096         /* of the histogram of a tile, from */
#define REACH 8.0         /* standard deviations below the mean to as many above it */
#define EVEN 1.1          /* largest noise over smallest, below which both count as equal */

/* Areas beyond a threshold do not need the whole of a large field drawn: parts of it some waves apart are independent.
 * So a field is put together of tiles, each a periodic Gaussian field of its own with the same spectrum, drawn with
 * replacement from a pool of them; the areas come from the sum of their histograms. A field of few waves is one tile.
 */
struct tiles {
    struct mro_grid grid;
    double sd; /* expected, of a sample */
    size_t n;  /* tiles in the pool */
    size_t in_a_field;
    struct histogram_sums *sums; /* n; NULL where a field is one tile */
    bool masked;                 /* a tile is the whole field: of its samples those count that do in the image */
    struct mro_buffer mask;      /* on the device */
};

static float bins_from(const struct tiles *t) { return (float)(-REACH * t->sd); }
static float bin_width(const struct tiles *t) { return (float)(2 * REACH * t->sd / BINS); }

struct areas {
    double share[2][MRO_HAADF_LEVELS]; /* dark, bright */
};

/* A histogram in sums, so that those of several are sums of them: of its values (bins), of their squares, and of the
 * counts below each bin. Whole and half numbers that a double holds. */
struct histogram_sums {
    double n, sum, square;
    uint32_t below[BINS + 1];
};

static void sum_histogram(const uint32_t *counts, struct histogram_sums *h)
{
    double n = 0, sum = 0, square = 0;
#pragma omp simd reduction(+ : n, sum, square)
    for (int i = 0; i < BINS; i++) {
        const double c = counts[i], x = i + 0.5;
        n += c;
        sum += c * x;
        square += c * x * x;
    }
    h->n = n;
    h->sum = sum;
    h->square = square;
    h->below[0] = 0;
    for (size_t i = 0; i < BINS; i++) h->below[i + 1] = h->below[i] + counts[i];
}

/* Shares beyond u standard deviations of what n_h histograms together hold, from its mean, linear within bins. */
static void areas_of(const struct histogram_sums *const *h, size_t n_h, const double *u, size_t n_u, struct areas *a)
{
    double n = 0, sum = 0, square = 0;
    for (size_t k = 0; k < n_h; k++) {
        n += h[k]->n;
        sum += h[k]->sum;
        square += h[k]->square;
    }
    const double mean = n > 0 ? sum / n : 0, sd = n > 1 ? sqrt(fmax(0, square / n - mean * mean)) : 0;
    for (size_t k = 0; k < n_u; k++)
        for (int side = 0; side < 2; side++) {
            const double at = fmin(BINS - 1, fmax(0, mean + (side ? u[k] : -u[k]) * sd)), whole = floor(at);
            const size_t bin = (size_t)whole;
            double under = 0, in = 0;
            for (size_t i = 0; i < n_h; i++) {
                under += h[i]->below[bin];
                in += h[i]->below[bin + 1] - h[i]->below[bin];
            }
            const double below = under + (at - whole) * in;
            a->share[side][k] = n > 0 ? (side ? n - below : below) / n : 0;
        }
}

/* Highest frequency that the smoothed field needs. */
static double field_limit(const struct mro_rings *rings, const struct mro_haadf_filter *f)
{
    double total = 0, sum = 0;
    for (size_t i = 0; i < rings->n; i++) {
        const double w = mro_haadf_gain(f, rings->q[i]);
        total += w * w * rings->power[i] * rings->modes[i];
    }
    for (size_t i = 0; i < rings->n; i++) {
        const double w = mro_haadf_gain(f, rings->q[i]);
        sum += w * w * rings->power[i] * rings->modes[i];
        if (sum >= KEPT_POWER * total) return rings->q[i] + rings->step;
    }
    return rings->n ? rings->q[rings->n - 1] : 1;
}

static struct mro_grid grid_of(double ly, double lx, double most)
{
    return (struct mro_grid){ mro_smooth_size((size_t)ceil(2 * most * ly) + 2),
                              mro_smooth_size((size_t)ceil(2 * most * lx) + 2), ly, lx };
}

/* ------------------------------------------------------------------ the observed field */

/* Takes noise that varies over the field out of a smoothed field: where the background is low and noise is large the
 * field would reach further than a random one of even noise, and be called dark and bright. Every sample is divided by
 * what noise and contrast together have there, over their mean. */
static void even_out(const struct mro_haadf_state *s, const struct mro_rings *rings, const struct mro_haadf_filter *f,
                     const struct mro_grid *g, int threads, float *v)
{
    double all = 0, noise = 0;
    for (size_t i = 0; i < rings->n; i++) {
        const double w = mro_haadf_gain(f, rings->q[i]);
        all += w * w * rings->power[i] * rings->modes[i];
        noise += w * w * s->noise * rings->modes[i];
    }
    const double share = isfinite(s->noise) && all > 0 ? fmin(1, noise / all) : 0;
    double least = INFINITY, most = 0;
    for (int j = 0; j <= 8; j++)
        for (int i = 0; i <= 8; i++) {
            const double here = 1 - share + share * mro_haadf_noise_at(s, j / 8.0, i / 8.0);
            least = fmin(least, here);
            most = fmax(most, here);
        }
    if (!(most > EVEN * least)) return;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t j = 0; j < g->ny; j++)
        for (size_t i = 0; i < g->nx; i++) {
            const double y = (double)j / (double)g->ny, x = (double)i / (double)g->nx;
            v[j * g->nx + i] /= (float)sqrt(1 - share + share * mro_haadf_noise_at(s, y, x));
        }
}

static enum mro_code observe(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_rings *rings,
                             const struct mro_haadf_filter *f, const struct mro_grid *g, const struct tiles *t,
                             uint32_t *counts, double *usable_share, struct mro_buffer *mask, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    struct mro_buffer field = { 0 };
    unsigned char *usable = NULL;
    float *v = malloc(n * sizeof *v);
    enum mro_code rc = v ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
    if (rc == MRO_OK) rc = mro_haadf_field_on(d, s, f, g, &field, e);
    if (rc == MRO_OK) rc = d->ops->download(d, v, &field, n * sizeof *v, e);
    if (rc == MRO_OK) rc = mro_haadf_usable(s, g, d->threads, &usable, e);
    if (rc) goto done;
    even_out(s, rings, f, g, d->threads, v);
    size_t in = 0;
    for (size_t i = 0; i < n; i++) in += usable[i];
    *usable_share = (double)in / (double)n;
    if ((rc = d->ops->upload(d, &field, v, n * sizeof *v, e))) goto done;
    if ((rc = d->ops->alloc(d, mask, n, e))) goto done;
    if ((rc = d->ops->upload(d, mask, usable, n, e))) goto done;
    rc = d->ops->histogram(d, &field, mask, n, bins_from(t), bin_width(t), BINS, counts, e);
done:
    d->ops->release(d, &field);
    free(usable);
    free(v);
    return rc;
}

/* ------------------------------------------------------------------ tiles */

/* Amplitude of every mode of the tiles' grid; the standard deviation of a sample follows from it. */
static void tile_gain(const struct mro_haadf_state *s, const struct mro_rings *rings, const struct mro_haadf_filter *f,
                      struct tiles *t, float *gain)
{
    const struct mro_grid *g = &t->grid;
    double square = 0;
    for (size_t j = 0; j < g->ny; j++)
        for (size_t i = 0; i < g->nx; i++) {
            /* The mode of the whole field that this one stands for: scan lines and edges are left out there. */
            const double qy = mro_frequency(j, g->ny, g->ly), qx = mro_frequency(i, g->nx, g->lx);
            const ptrdiff_t ky = (ptrdiff_t)lround(qy * s->grid.ly), kx = (ptrdiff_t)lround(qx * s->grid.lx);
            const double q = sqrt(qy * qy + qx * qx);
            double power = fmax(0, mro_rings_at(rings, q));
            for (int a = 0; a < 2; a++)
                if (labs((long)(a ? ky : kx)) < s->lines[a]) power += s->line_power[a];
            const double w = mro_haadf_mode_gain(s, f, q, ky, kx) * sqrt(power);
            gain[j * g->nx + i] = (float)w;
            /* Middle frequencies of even grids are not drawn. */
            if (2 * j != g->ny && 2 * i != g->nx) square += w * w;
        }
    t->sd = sqrt(square / ((double)g->ny * (double)g->nx));
}

static enum mro_code draw_tile(struct mro_device *d, const struct tiles *t, const float *gain, uint64_t seed, size_t k,
                               uint32_t *counts, struct mro_error *e)
{
    const size_t n = t->grid.ny * t->grid.nx;
    const double wide[2] = { -1, 1e3 };
    struct mro_buffer spectrum = { 0 }, real = { 0 };
    enum mro_code rc = d->ops->alloc(d, &spectrum, n * sizeof(mro_c32), e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &real, n * sizeof(float), e);
    if (rc == MRO_OK) rc = d->ops->noise_spectrum(d, &t->grid, seed, STREAM + k, wide, 0.1, &spectrum, e);
    if (rc == MRO_OK) rc = d->ops->multiply(d, &t->grid, &spectrum, gain, e);
    if (rc == MRO_OK) rc = d->ops->inverse(d, &t->grid, &spectrum, &real, e);
    if (rc == MRO_OK)
        rc = d->ops->histogram(d, &real, t->masked ? &t->mask : NULL, n, bins_from(t), bin_width(t), BINS, counts, e);
    d->ops->release(d, &spectrum);
    d->ops->release(d, &real);
    return rc;
}

/* Fills t->sums, or the areas of every field where a field is one tile. */
static enum mro_code draw_tiles(struct mro_device *d, const struct tiles *t, const float *gain,
                                const struct mro_haadf_options *o, struct areas *field, struct mro_error *e)
{
    struct mro_first_error first = { 0 };
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t k = 0; k < t->n; k++) {
        struct mro_error mine;
        uint32_t counts[BINS] = { 0 };
        struct histogram_sums one;
        mro_first_keep(&first, k, draw_tile(d, t, gain, o->seed, k, counts, &mine), &mine);
        sum_histogram(counts, t->sums ? t->sums + k : &one);
        if (t->sums == NULL)
            areas_of(&(const struct histogram_sums *){ &one }, 1, o->thresholds_sd, o->n_thresholds, field + k);
    }
    return mro_first_code(&first, e);
}

/* Areas of fields of tiles that are chosen with replacement. False when out of memory. */
static bool put_together(struct mro_device *d, const struct tiles *t, const struct mro_haadf_options *o,
                         struct areas *field, size_t fields)
{
    bool failed = false;
#pragma omp parallel num_threads(d->threads)
    {
        const struct histogram_sums **tile = malloc(t->in_a_field * sizeof *tile);
        if (tile == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t k = 0; k < fields; k++) {
            if (tile == NULL) continue;
            for (size_t i = 0; i < t->in_a_field; i++) {
                const mro_philox_block b = mro_philox(o->seed, CHOICE + k, i / 4);
                tile[i] = t->sums + ((uint64_t)b.v[i % 4] * t->n >> 32);
            }
            areas_of(tile, t->in_a_field, o->thresholds_sd, o->n_thresholds, field + k);
        }
        free(tile);
    }
    return !failed;
}

/* ------------------------------------------------------------------ how much more */

/* Largest excess of area over the thresholds, each in units of its spread among the fields, and at which one. */
static double excess(const double *area, const double *mean, const double *sd, size_t n_u, size_t *at)
{
    double most = -INFINITY;
    for (size_t k = 0; k < n_u; k++) {
        const double z = sd[k] > 0 ? (area[k] - mean[k]) / sd[k] : area[k] > mean[k] ? 1e3 : 0;
        if (z > most) {
            most = z;
            if (at) *at = k;
        }
    }
    return most;
}

static void compare(const struct areas *observed, const struct areas *field, size_t fields, size_t n_u, int side,
                    struct mro_haadf_null *null)
{
    double *mean = null->area[side], *sd = null->spread[side];
    for (size_t k = 0; k < n_u; k++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < fields; i++) sum += field[i].share[side][k];
        mean[k] = sum / (double)fields;
        for (size_t i = 0; i < fields; i++) square += pow(field[i].share[side][k] - mean[k], 2);
        sd[k] = sqrt(square / (double)fields);
    }
    const double seen = excess(observed->share[side], mean, sd, n_u, &null->at[side]);
    size_t reached = 0;
    for (size_t i = 0; i < fields; i++) reached += excess(field[i].share[side], mean, sd, n_u, NULL) >= seen;
    null->p[side] = (1.0 + (double)reached) / (1.0 + (double)fields);
}

enum mro_code mro_haadf_draw_null(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_rings *rings,
                                  const struct mro_haadf_filter *f, const struct mro_haadf_options *o,
                                  struct mro_haadf_null *null, struct mro_error *e)
{
    const double most = field_limit(rings, f), side = TILE_WAVES / o->band_inv_nm[0];
    const double ly = s->grid.ly, lx = s->grid.lx, ny = fmax(1, floor(ly / side)), nx = fmax(1, floor(lx / side));
    const struct mro_grid whole = grid_of(ly, lx, most);
    struct tiles t = { .grid = grid_of(ly / ny, lx / nx, most) };
    uint32_t counts[BINS];
    struct areas observed, *field = NULL;
    double usable = 1;
    enum mro_code rc = MRO_OK;
    memset(null, 0, sizeof *null);
    float *gain = malloc(t.grid.ny * t.grid.nx * sizeof *gain);
    if (gain == NULL) goto no_memory;
    tile_gain(s, rings, f, &t, gain);
    if ((rc = observe(d, s, rings, f, &whole, &t, counts, &usable, &t.mask, e))) goto done;
    t.masked = whole.ny == t.grid.ny && whole.nx == t.grid.nx;
    struct histogram_sums seen;
    sum_histogram(counts, &seen);
    areas_of(&(const struct histogram_sums *){ &seen }, 1, o->thresholds_sd, o->n_thresholds, &observed);
    const size_t asked = (size_t)o->surrogates, least = asked < FEWEST ? asked : FEWEST;
    const double work = floor(FIELD_WORK / ((double)t.grid.ny * (double)t.grid.nx));
    t.in_a_field = (size_t)fmax(1, round(ny * nx * usable));
    t.n = work < (double)least ? least : work > (double)asked ? asked : (size_t)work;
    if (t.in_a_field > 1 && t.n > MOST_TILES) t.n = MOST_TILES;
    const size_t fields = t.in_a_field > 1 ? asked : t.n;
    if (t.in_a_field > 1 && (t.sums = malloc(t.n * sizeof *t.sums)) == NULL) goto no_memory;
    if ((field = calloc(fields, sizeof *field)) == NULL) goto no_memory;
    if ((rc = draw_tiles(d, &t, gain, o, field, e))) goto done;
    if (t.sums && !put_together(d, &t, o, field, fields)) goto no_memory;
    for (int k = 0; k < 2; k++) compare(&observed, field, fields, o->n_thresholds, k, null);
    goto done;
no_memory:
    rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for random fields of %zu x %zu", t.grid.nx, t.grid.ny);
done:
    d->ops->release(d, &t.mask);
    free(gain);
    free(t.sums);
    free(field);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/mro/mro_views.h"

#include <gsl/gsl_sort_float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"

#define ACF_SPREAD 0.05 /* spacings averaged over, relative */
#define TILES 6
#define TILE_APART_NM 2.0
#define CDF_POINTS 61
#define CDF_LEAST 1e-5

struct mro_views {
    float *half[2]; /* the null's -ln(min p) over the first and second half of its tiles */
    size_t half_n[2];
    float acf_threshold;
};

/* How many of n ascending values exceed t. */
static size_t above(const float *sorted, size_t n, float t)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (sorted[mid] > t)
            hi = mid;
        else
            lo = mid + 1;
    }
    return n - lo;
}

/* The value that a share p of n ascending ones exceeds. */
static float quantile_above(const float *sorted, size_t n, double p)
{
    const size_t i = (size_t)((1 - p) * (double)n);
    return p >= 1 ? -INFINITY : sorted[i < n ? i : n - 1];
}

enum mro_code mro_views_new(struct mro_order_plan *p, struct mro_error *e)
{
    const size_t tiles = (size_t)p->o.surrogates, each = p->null.cells / tiles;
    struct mro_views *v = calloc(1, sizeof *v);
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    p->views = v;
    v->half_n[0] = tiles / 2 * each;
    v->half_n[1] = p->null.cells - v->half_n[0];
    for (int k = 0; k < 2; k++) {
        v->half[k] = malloc(v->half_n[k] * sizeof *v->half[k]);
        if (v->half[k] == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a null of %zu cells", p->null.cells);
        memcpy(v->half[k], p->null.min_p + (k ? v->half_n[0] : 0), v->half_n[k] * sizeof *v->half[k]);
    }
    return MRO_OK;
}

void mro_views_free(struct mro_order_plan *p)
{
    struct mro_views *v = p->views;
    if (v == NULL) return;
    for (int k = 0; k < 2; k++) free(v->half[k]);
    free(v);
    p->views = NULL;
}

/* An image on the coarse grid takes over the calibration of the one it was made from. */
static void calibrate(struct mro_image *coarse, const struct mro_grid *grid, const struct mro_image *im)
{
    for (int i = 0; i < 2; i++) {
        struct mro_axis *a = &coarse->axis[i];
        *a = im->axis[i];
        a->size = i ? grid->nx : grid->ny;
        a->step = (i ? grid->lx : grid->ly) / (double)a->size; /* sample 0 stays at the centre of pixel 0 */
        a->unit = MRO_UNIT_NM;
    }
    coarse->kind = MRO_KIND_IMAGE;
    coarse->beam_kv = im->beam_kv;
}

static enum mro_code keep_whitened(const struct mro_order_plan *p, const struct mro_view_field *f,
                                   struct mro_order_result *r, struct mro_error *e)
{
    MRO_TRY(mro_image_alloc(&r->whitened, f->grid->ny, f->grid->nx, e));
    calibrate(&r->whitened, f->grid, f->image);
    return p->d->ops->download(p->d, r->whitened.px, f->field, f->grid->ny * f->grid->nx * sizeof(float), e);
}

enum mro_code mro_views_filtered(const struct mro_order_plan *p, const struct mro_grid *grid,
                                 const struct mro_buffer *spectrum, const struct mro_image *im,
                                 struct mro_order_result *r, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = grid->ny * grid->nx;
    /* Spectra are scaled for noise of unit variance a sample: on fewer samples contrast comes out larger. */
    const float unit = (float)sqrt((double)n / ((double)im->ny * (double)im->nx));
    struct mro_buffer copy = { 0 }, field = { 0 };
    float *gain = malloc(n * sizeof *gain);
    mro_c32 *host = malloc(n * sizeof *host);
    enum mro_code rc = MRO_OK;
    if (gain == NULL || host == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a filtered image of %zu x %zu pixels", grid->nx, grid->ny);
        goto done;
    }
    if ((rc = mro_image_alloc(&r->filtered, grid->ny, grid->nx, e))) goto done;
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (size_t y = 0; y < grid->ny; y++) {
        mro_band_row(p, grid, y, gain + y * grid->nx);
        for (size_t x = 0; x < grid->nx; x++) gain[y * grid->nx + x] *= unit;
    }
    if ((rc = d->ops->alloc(d, &copy, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &field, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->download(d, host, spectrum, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->upload(d, &copy, host, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->multiply(d, grid, &copy, gain, e))) goto done;
    if ((rc = d->ops->inverse(d, grid, &copy, &field, e))) goto done;
    if ((rc = d->ops->download(d, r->filtered.px, &field, n * sizeof(float), e))) goto done;
    calibrate(&r->filtered, grid, im);
done:
    d->ops->release(d, &copy);
    d->ops->release(d, &field);
    free(gain);
    free(host);
    return rc;
}

/* The strongest objects, then the strongest cells away from them: where nothing is ordered, what speckle looks like. */
static size_t strongest(const struct mro_view_field *f, const struct mro_order_result *r, double (*at)[2])
{
    const size_t ny = f->cells->ny, nx = f->cells->nx;
    const double sy = f->cells->ly / (double)ny, sx = f->cells->lx / (double)nx;
    size_t n = 0;
    for (; n < TILES && n < r->n_objects; n++) {
        at[n][0] = r->objects[n].y_nm;
        at[n][1] = r->objects[n].x_nm;
    }
    for (; n < TILES; n++) {
        float most = -1;
        for (size_t y = 0; y < ny; y++)
            for (size_t x = 0; x < nx; x++) {
                const size_t i = y * nx + x;
                if (!f->usable[i] || !(f->surprise[i] > most)) continue;
                bool apart = true;
                for (size_t k = 0; k < n && apart; k++)
                    apart = hypot(at[k][0] - (double)y * sy, at[k][1] - (double)x * sx) >= TILE_APART_NM;
                if (!apart) continue;
                most = f->surprise[i];
                at[n][0] = (double)y * sy;
                at[n][1] = (double)x * sx;
            }
        if (most < 0) break;
    }
    return n;
}

static enum mro_code make_tiles(const struct mro_order_plan *p, const struct mro_view_field *f,
                                struct mro_order_result *r, struct mro_error *e)
{
    const size_t each = (size_t)MRO_ORDER_ACF_LAGS * MRO_ORDER_ACF_LAGS;
    double at[TILES][2];
    const size_t n = strongest(f, r, at);
    float *v = malloc((n ? n : 1) * each * sizeof *v);
    enum mro_code rc = MRO_OK;
    r->tiles = calloc(TILES, sizeof *r->tiles);
    if (v == NULL || r->tiles == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu autocorrelations", n);
        goto done;
    }
    rc = p->d->ops->windowed_acf(p->d, f->grid, f->field, MRO_ORDER_ACF_WINDOW_NM, (const double(*)[2])at, n,
                                 MRO_ORDER_ACF_LAGS, MRO_ORDER_ACF_STEP_NM, v, e);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) {
        struct mro_order_tile *t = r->tiles + i;
        *t = (struct mro_order_tile){
            .y_nm = at[i][0], .x_nm = at[i][1], .step_nm = MRO_ORDER_ACF_STEP_NM, .n = MRO_ORDER_ACF_LAGS
        };
        if ((t->v = malloc(each * sizeof *t->v)) == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu autocorrelations", n);
            break;
        }
        memcpy(t->v, v + i * each, each * sizeof *v);
        r->n_tiles++;
    }
done:
    free(v);
    return rc;
}

static enum mro_code make_curves(const struct mro_order_plan *p, const struct mro_view_field *f,
                                 struct mro_order_result *r, struct mro_error *e)
{
    const struct mro_views *v = p->views;
    const size_t cells = f->cells->ny * f->cells->nx;
    float *seen = malloc((cells ? cells : 1) * sizeof *seen);
    r->cdf_score = malloc(CDF_POINTS * sizeof *r->cdf_score);
    r->cdf_p = malloc(CDF_POINTS * sizeof *r->cdf_p);
    r->cdf_null = malloc(CDF_POINTS * sizeof *r->cdf_null);
    r->cdf_observed = malloc(CDF_POINTS * sizeof *r->cdf_observed);
    if (!seen || !r->cdf_score || !r->cdf_p || !r->cdf_null || !r->cdf_observed) {
        free(seen);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the scores of %zu cells", cells);
    }
    size_t n = 0;
    for (size_t i = 0; i < cells; i++)
        if (f->usable[i]) seen[n++] = f->surprise[i];
    gsl_sort_float(seen, 1, n);
    r->n_cdf = CDF_POINTS;
    for (size_t i = 0; i < CDF_POINTS; i++) {
        const double rate = pow(CDF_LEAST, (double)i / (CDF_POINTS - 1));
        const float threshold = quantile_above(p->null.min_p, p->null.cells, rate);
        r->cdf_p[i] = rate;
        r->cdf_score[i] = fmax(threshold / p->null.threshold, 0);
        r->cdf_observed[i] = (double)above(seen, n, threshold) / (double)(n ? n : 1);
        /* Each half of the null at the threshold that the other one sets: a check, not an identity. */
        const double first = (double)above(v->half[0], v->half_n[0], quantile_above(v->half[1], v->half_n[1], rate));
        const double second = (double)above(v->half[1], v->half_n[1], quantile_above(v->half[0], v->half_n[0], rate));
        r->cdf_null[i] = (first + second) / (double)p->null.cells;
    }
    free(seen);
    return MRO_OK;
}

/* The fringe score that the nominal rate of speckle cells exceeds. */
static enum mro_code draw_acf_null(struct mro_order_plan *p, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_grid *grid = &p->tile, *cells = &p->tile_cells;
    const double sy = cells->ly / (double)cells->ny, sx = cells->lx / (double)cells->nx;
    const double range[2] = { p->o.d_nm * (1 - ACF_SPREAD), p->o.d_nm * (1 + ACF_SPREAD) };
    const size_t tiles = (size_t)p->o.surrogates, most = cells->ny * cells->nx;
    double(*at)[2] = malloc(most * sizeof *at);
    float *score = malloc(tiles * most * sizeof *score);
    struct mro_buffer spectrum = { 0 }, field = { 0 };
    enum mro_code rc = MRO_OK;
    size_t each = 0;
    if (at == NULL || score == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a null of %zu cells", tiles * most);
        goto done;
    }
    /* Every second cell, as on a chess board: neighbours overlap so much that the others tell little more. */
    for (size_t y = 0; y < cells->ny; y++)
        for (size_t x = y % 2; x < cells->nx; x += 2) {
            at[each][0] = (double)y * sy;
            at[each++][1] = (double)x * sx;
        }
    if ((rc = d->ops->alloc(d, &spectrum, grid->ny * grid->nx * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &field, grid->ny * grid->nx * sizeof(float), e))) goto done;
    for (size_t t = 0; t < tiles; t++) {
        if ((rc = d->ops->noise_spectrum(d, grid, p->o.seed, t, p->o.band_inv_nm, BAND_EDGE, &spectrum, e))) goto done;
        if ((rc = d->ops->inverse(d, grid, &spectrum, &field, e))) goto done;
        if ((rc = d->ops->acf_fringes(d, grid, &field, MRO_ORDER_ACF_WINDOW_NM, range, (const double(*)[2])at, each,
                                      score + t * each, e)))
            goto done;
    }
    gsl_sort_float(score, 1, tiles * each);
    p->views->acf_threshold = quantile_above(score, tiles * each, p->o.false_positive_rate);
done:
    d->ops->release(d, &spectrum);
    d->ops->release(d, &field);
    free(at);
    free(score);
    return rc;
}

static enum mro_code make_acf_map(const struct mro_order_plan *p, const struct mro_view_field *f,
                                  struct mro_order_result *r, struct mro_error *e)
{
    const size_t ny = f->cells->ny, nx = f->cells->nx;
    const double range[2] = { p->o.d_nm * (1 - ACF_SPREAD), p->o.d_nm * (1 + ACF_SPREAD) };
    const float threshold = p->views->acf_threshold;
    r->acf = r->score; /* same cells */
    r->acf.v = malloc(ny * nx * sizeof *r->acf.v);
    double(*at)[2] = malloc(ny * nx * sizeof *at);
    float *score = malloc(ny * nx * sizeof *score);
    enum mro_code rc = MRO_OK;
    size_t n = 0, over = 0;
    if (r->acf.v == NULL || at == NULL || score == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the autocorrelation of %zu cells", ny * nx);
        goto done;
    }
    for (size_t i = 0; i < ny * nx; i++) {
        if (!f->usable[i]) continue;
        at[n][0] = (double)(i / nx) * f->cells->ly / (double)ny;
        at[n++][1] = (double)(i % nx) * f->cells->lx / (double)nx;
    }
    rc = p->d->ops->acf_fringes(p->d, f->grid, f->field, MRO_ORDER_ACF_WINDOW_NM, range, (const double(*)[2])at, n,
                                score, e);
    if (rc) goto done;
    n = 0;
    for (size_t i = 0; i < ny * nx; i++) {
        r->acf.v[i] = f->usable[i] ? score[n] / threshold : NAN;
        if (f->usable[i]) over += score[n++] > threshold;
    }
    const double p0 = p->o.false_positive_rate;
    if (n) r->fraction_acf = ((double)over / (double)n - p0) / (1 - p0);
done:
    free(at);
    free(score);
    return rc;
}

enum mro_code mro_views_prepare(struct mro_order_plan *p, struct mro_error *e)
{
    struct mro_views *v = p->views;
    for (int k = 0; k < 2 && p->o.views; k++) gsl_sort_float(v->half[k], 1, v->half_n[k]);
    return p->o.acf_map ? draw_acf_null(p, e) : MRO_OK;
}

enum mro_code mro_views_fill(const struct mro_order_plan *p, const struct mro_view_field *f, struct mro_order_result *r,
                             struct mro_error *e)
{
    if (p->o.views) {
        MRO_TRY(keep_whitened(p, f, r, e));
        MRO_TRY(make_tiles(p, f, r, e));
        MRO_TRY(make_curves(p, f, r, e));
    }
    if (p->o.acf_map) MRO_TRY(make_acf_map(p, f, r, e));
    return MRO_OK;
}

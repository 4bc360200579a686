/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Mean and spread of a map of indents whose neighbours are alike. */
#include <gsl/gsl_blas.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/indent_internal.h"

#define LENGTHS 9
#define SHORTEST 0.5 /* cells */
#define SHAPES 2     /* exponents 1 and 2 */
#define TILE 14      /* cells along the side of a tile, about */
#define TILES 4      /* of a large map that the likelihood is of */
#define LEAST_TILE 9 /* indents in one */

static const double parts[] = { 0.35, 0.6, 0.85, 0.98 };
enum { PARTS = sizeof parts / sizeof *parts, MODELS = LENGTHS * PARTS * SHAPES };

struct model {
    double part, length, exponent;
    double log_likelihood, weight;
    double scale; /* of the material's variance over that of the map */
    double dof;
    double of_mean; /* variance of the mean over the material's */
};

/* Indents of one tile. */
struct tile {
    size_t n;
    double *y, *x, *v;
};

static double correlation(const struct model *m, double d)
{
    return d > 0 ? m->part * exp(-pow(d / m->length, m->exponent)) : 1;
}

/* Adds -2 times a tile's part of the restricted log likelihood to *sum, but for the squares, which go to *square.
 * False: not positive. */
static bool add_tile(const struct model *m, const struct tile *t, gsl_matrix *room, gsl_vector *one, gsl_vector *z,
                     double *sum, double *square)
{
    const size_t n = t->n;
    gsl_matrix_view v = gsl_matrix_submatrix(room, 0, 0, n, n);
    gsl_vector_view u = gsl_vector_subvector(one, 0, n), w = gsl_vector_subvector(z, 0, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k <= i; k++)
            gsl_matrix_set(&v.matrix, i, k, correlation(m, hypot(t->y[i] - t->y[k], t->x[i] - t->x[k])));
        gsl_vector_set(&u.vector, i, 1);
        gsl_vector_set(&w.vector, i, t->v[i]);
    }
    if (gsl_linalg_cholesky_decomp1(&v.matrix)) return false;
    gsl_blas_dtrsv(CblasLower, CblasNoTrans, CblasNonUnit, &v.matrix, &u.vector);
    gsl_blas_dtrsv(CblasLower, CblasNoTrans, CblasNonUnit, &v.matrix, &w.vector);
    double uu, uw, ww;
    gsl_blas_ddot(&u.vector, &u.vector, &uu);
    gsl_blas_ddot(&u.vector, &w.vector, &uw);
    gsl_blas_ddot(&w.vector, &w.vector, &ww);
    for (size_t i = 0; i < n; i++) *sum += 2 * log(gsl_matrix_get(&v.matrix, i, i));
    *sum += log(uu);
    *square += ww - uw * uw / uu;
    return true;
}

/* Degrees of freedom and scales of a model, from sums of correlations over all pairs of cells; holes thin them out. */
static void moments_of_model(const struct mro_indent_result *r, double tails, struct model *m)
{
    const double ny = (double)r->grid_ny, nx = (double)r->grid_nx, n = (double)r->places, filled = n / (ny * nx);
    double first = n, second = n;
    for (double dy = 0; dy < ny; dy++)
        for (double dx = dy > 0 ? 1 - nx : 1; dx < nx; dx++) {
            const double rho = correlation(m, hypot(dy, dx)), pairs = 2 * (ny - dy) * (nx - fabs(dx)) * filled * filled;
            first += pairs * rho;
            second += pairs * rho * rho;
        }
    const double left = n - first / n; /* of the variance times n, in this map */
    m->of_mean = first / (n * n);
    m->scale = (n - 1) / left;
    m->dof = fmax(1, left * left / fmax(1, second - first * first / (n * n)) / tails);
}

static double mean_beyond(const struct model *m, double unit, double half)
{
    double p = 0;
    for (size_t k = 0; k < MODELS; k++)
        p += m[k].weight * 2 * gsl_cdf_tdist_Q(half / (unit * sqrt(m[k].scale * m[k].of_mean)), m[k].dof);
    return p;
}

/* Chance that the material's standard deviation is below `limit`. */
static double sd_below(const struct model *m, double sd, double limit)
{
    double p = 0;
    for (size_t k = 0; k < MODELS; k++)
        p += m[k].weight * gsl_cdf_chisq_Q(m[k].dof * m[k].scale * sd * sd / (limit * limit), m[k].dof);
    return p;
}

static void intervals(const struct model *m, double sd, struct mro_indent_alike *a)
{
    double lo = 0, hi = 1e3 * sd, rate = 0;
    for (int i = 0; i < 60; i++) {
        const double half = 0.5 * (lo + hi);
        *(mean_beyond(m, sd, half) > 0.05 ? &lo : &hi) = half;
    }
    a->mean_half = hi;
    for (int side = 0; side < 2; side++) {
        lo = log(1e-3);
        hi = log(1e3);
        for (int i = 0; i < 60; i++) {
            const double at = 0.5 * (lo + hi);
            *(sd_below(m, sd, sd * exp(at)) < (side ? 0.975 : 0.025) ? &lo : &hi) = at;
        }
        a->sd_ci95[side] = sd * exp(0.5 * (lo + hi));
    }
    for (size_t k = 0; k < MODELS; k++) rate += m[k].weight / m[k].dof;
    a->n_effective = 1 + 1 / rate;
}

/* Splits the grid into tiles of about equal size and takes up to TILES of them, from its corners inward. */
static size_t make_tiles(const struct mro_indent_result *r, double mean, double *room, struct tile *t)
{
    const size_t by = (r->grid_ny + TILE - 1) / TILE, bx = (r->grid_nx + TILE - 1) / TILE;
    size_t tiles = 0;
    for (size_t k = 0; k < by * bx && tiles < TILES; k++) {
        /* Evenly over the map. */
        const size_t at = by * bx <= TILES ? k : k * (by * bx - 1) / (TILES - 1), j = at / bx, i = at % bx;
        if (by * bx > TILES && k >= TILES) break;
        const size_t y0 = j * r->grid_ny / by, y1 = (j + 1) * r->grid_ny / by, x0 = i * r->grid_nx / bx,
                     x1 = (i + 1) * r->grid_nx / bx;
        struct tile *one = &t[tiles];
        *one = (struct tile){ 0, room, room + TILE * TILE, room + (size_t)(2 * TILE * TILE) };
        for (size_t y = y0; y < y1; y++)
            for (size_t x = x0; x < x1; x++) {
                const double v = r->grid[y * r->grid_nx + x];
                if (!isfinite(v)) continue;
                one->y[one->n] = (double)y;
                one->x[one->n] = (double)x;
                one->v[one->n++] = v - mean;
            }
        if (one->n < LEAST_TILE) continue;
        tiles++;
        room += (size_t)(3 * TILE * TILE);
    }
    return tiles;
}

enum mro_code mro_indent_alike(const struct mro_indent_result *r, double mean, double sd, double tails,
                               struct mro_indent_alike *a, struct mro_error *e)
{
    struct model model[MODELS];
    struct tile tile[TILES];
    double *room = malloc((size_t)(TILES * 3 * TILE * TILE) * sizeof *room);
    gsl_matrix *v = gsl_matrix_alloc(TILE * TILE, TILE * TILE);
    gsl_vector *one = gsl_vector_alloc(TILE * TILE), *z = gsl_vector_alloc(TILE * TILE);
    enum mro_code rc = MRO_OK;
    if (!room || !v || !one || !z) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "the correlations of %zu indents do not fit in memory", r->places);
        goto done;
    }
    const size_t tiles = make_tiles(r, mean, room, tile);
    const double side = (double)(r->grid_ny > r->grid_nx ? r->grid_ny : r->grid_nx),
                 longest = fmax(4 * SHORTEST, 0.75 * fmin(side, 2.0 * TILE));
    double best = -INFINITY, all = 0;
    for (size_t k = 0; k < MODELS; k++) {
        struct model *m = &model[k];
        double sum = 0, square = 0, dof = 0;
        bool positive = true;
        m->exponent = 1 + (double)(k % SHAPES);
        m->part = parts[k / SHAPES % PARTS];
        m->length = SHORTEST * pow(longest / SHORTEST, (double)(k / (SHAPES * PARTS)) / (LENGTHS - 1));
        for (size_t i = 0; i < tiles && positive; i++) {
            positive = add_tile(m, &tile[i], v, one, z, &sum, &square);
            dof += (double)tile[i].n - 1;
        }
        m->log_likelihood = positive && square > 0 ? -0.5 * (sum + dof * log(square)) : -INFINITY;
        best = fmax(best, m->log_likelihood);
        moments_of_model(r, tails, m);
    }
    for (size_t k = 0; k < MODELS; k++) all += model[k].weight = exp(model[k].log_likelihood - best);
    for (size_t k = 0; k < MODELS; k++) model[k].weight /= all;
    intervals(model, sd, a);
done:
    free(room);
    gsl_matrix_free(v);
    gsl_vector_free(one);
    gsl_vector_free(z);
    return rc;
}

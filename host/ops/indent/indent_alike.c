/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Mean and spread of a map of indents whose neighbours are alike. */
#include <gsl/gsl_blas.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/indent/indent_internal.h"

#define LENGTHS 9
#define SHORTEST 0.5      /* cells */
#define SHAPES 2          /* exponents 1 and 2 */
#define TILE 14           /* cells along the side of a tile, about */
#define TILES 4           /* of a large map that the likelihood is of */
#define LEAST_TILE 9      /* indents in one */
#define LEAST_WEIGHT 1e-4 /* of a model that bins are judged by */

static const double parts[] = { 0.35, 0.6, 0.85, 0.98 };
enum { PARTS = sizeof parts / sizeof *parts, MODELS = MRO_INDENT_MODELS };
_Static_assert((int)MODELS == LENGTHS * (int)PARTS * SHAPES, "a model for each length, part and shape");

/* Indents of one tile. */
struct tile {
    size_t n;
    double *y, *x, *v;
};

static double correlation(const struct mro_indent_model *m, double d)
{
    return d > 0 ? m->part * exp(-pow(d / m->length, m->exponent)) : 1;
}

/* -2 times the restricted log likelihood without the squares, their sum, and the degrees of freedom: of tiles. */
struct likelihood {
    double sum, square, dof;
};

static double log_likelihood(const struct likelihood *l)
{
    return l->square > 0 ? -0.5 * (l->sum + l->dof * log(l->square)) : -INFINITY;
}

/* Room for one tile: its correlations, and mean, line from the edge and values, each divided by their root. */
struct room {
    gsl_matrix *v;
    gsl_vector *mean, *line, *value;
};

static double dot(const gsl_vector *a, const gsl_vector *b)
{
    double s = 0;
    gsl_blas_ddot(a, b, &s);
    return s;
}

/* Adds a tile beside a mean to l[0] and, with `edge`, beside a mean and a line to l[1]. False: not positive. */
static bool add_tile(const struct mro_indent_model *m, const struct tile *t, enum mro_indent_edge edge,
                     struct room *room, struct likelihood l[2])
{
    const size_t n = t->n;
    const double *along = edge == MRO_INDENT_LEFT || edge == MRO_INDENT_RIGHT ? t->x : t->y;
    gsl_matrix_view v = gsl_matrix_submatrix(room->v, 0, 0, n, n);
    gsl_vector_view one = gsl_vector_subvector(room->mean, 0, n), line = gsl_vector_subvector(room->line, 0, n),
                    w = gsl_vector_subvector(room->value, 0, n);
    double middle = 0, determinant = 0;
    for (size_t i = 0; i < n; i++) middle += along[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k <= i; k++)
            gsl_matrix_set(&v.matrix, i, k, correlation(m, hypot(t->y[i] - t->y[k], t->x[i] - t->x[k])));
        gsl_vector_set(&one.vector, i, 1);
        gsl_vector_set(&line.vector, i, along[i] - middle);
        gsl_vector_set(&w.vector, i, t->v[i]);
    }
    if (gsl_linalg_cholesky_decomp1(&v.matrix)) return false;
    gsl_blas_dtrsv(CblasLower, CblasNoTrans, CblasNonUnit, &v.matrix, &one.vector);
    gsl_blas_dtrsv(CblasLower, CblasNoTrans, CblasNonUnit, &v.matrix, &w.vector);
    const double uu = dot(&one.vector, &one.vector), uw = dot(&one.vector, &w.vector),
                 left = dot(&w.vector, &w.vector) - uw * uw / uu;
    for (size_t i = 0; i < n; i++) determinant += 2 * log(gsl_matrix_get(&v.matrix, i, i));
    determinant += log(uu);
    l[0].sum += determinant;
    l[0].square += left;
    l[0].dof += (double)n - 1;
    if (edge == MRO_INDENT_NONE) return true;
    gsl_blas_dtrsv(CblasLower, CblasNoTrans, CblasNonUnit, &v.matrix, &line.vector);
    gsl_blas_daxpy(-dot(&one.vector, &line.vector) / uu, &one.vector, &line.vector);
    const double ss = dot(&line.vector, &line.vector), sw = dot(&line.vector, &w.vector);
    const bool wide = ss > 0;
    l[1].sum += determinant + (wide ? log(ss) : 0);
    l[1].square += left - (wide ? sw * sw / ss : 0);
    l[1].dof += (double)n - (wide ? 2 : 1);
    return true;
}

/* Degrees of freedom and scales of a model for `n` indents in ny x nx cells, from sums of correlations over all pairs
 * of cells; holes thin them out. */
static void moments_of_model(double ny, double nx, double n, double tails, struct mro_indent_model *m)
{
    const double filled = n / (ny * nx);
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

static double mean_beyond(const struct mro_indent_model *m, double unit, double half)
{
    double p = 0;
    for (size_t k = 0; k < MODELS; k++)
        if (m[k].weight > 0)
            p += m[k].weight * 2 * gsl_cdf_tdist_Q(half / (unit * sqrt(m[k].scale * m[k].of_mean)), m[k].dof);
    return p;
}

/* Chance that the material's standard deviation is below `limit`. */
static double sd_below(const struct mro_indent_model *m, double sd, double limit)
{
    double p = 0;
    for (size_t k = 0; k < MODELS; k++)
        if (m[k].weight > 0)
            p += m[k].weight * gsl_cdf_chisq_Q(m[k].dof * m[k].scale * sd * sd / (limit * limit), m[k].dof);
    return p;
}

static void intervals(const struct mro_indent_model *m, double sd, struct mro_indent_alike *a)
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

enum mro_code mro_indent_alike(const struct mro_indent_result *r, enum mro_indent_edge edge, double mean, double sd,
                               double tails, struct mro_indent_alike *a, struct mro_error *e)
{
    struct tile tile[TILES];
    const size_t most = (size_t)(TILE * TILE);
    double *values = malloc(TILES * 3 * most * sizeof *values), log_weight[MODELS][2],
           best[2] = { -INFINITY, -INFINITY };
    struct room room = { gsl_matrix_alloc(most, most), gsl_vector_alloc(most), gsl_vector_alloc(most),
                         gsl_vector_alloc(most) };
    enum mro_code rc = MRO_OK;
    if (!values || !room.v || !room.mean || !room.line || !room.value) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "the correlations of %zu indents do not fit in memory", r->places);
        goto done;
    }
    const size_t tiles = make_tiles(r, mean, values, tile);
    const double side = (double)(r->grid_ny > r->grid_nx ? r->grid_ny : r->grid_nx),
                 longest = fmax(4 * SHORTEST, 0.75 * fmin(side, 2.0 * TILE));
    for (size_t k = 0; k < MODELS; k++) {
        struct mro_indent_model *m = &a->model[k];
        struct likelihood l[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
        bool positive = true;
        m->exponent = 1 + (double)(k % SHAPES);
        m->part = parts[k / SHAPES % PARTS];
        m->length = SHORTEST * pow(longest / SHORTEST, (double)(k / (SHAPES * PARTS)) / (LENGTHS - 1));
        for (size_t i = 0; i < tiles && positive; i++) positive = add_tile(m, &tile[i], edge, &room, l);
        for (int line = 0; line < 2; line++) {
            log_weight[k][line] = positive ? log_likelihood(&l[line]) : -INFINITY;
            best[line] = fmax(best[line], log_weight[k][line]);
        }
        moments_of_model((double)r->grid_ny, (double)r->grid_nx, (double)r->places, tails, m);
    }
    double all[2] = { 0, 0 };
    for (size_t k = 0; k < MODELS; k++) {
        all[0] += a->model[k].weight = exp(log_weight[k][0] - best[0]);
        all[1] += a->model[k].line_weight = edge ? exp(log_weight[k][1] - best[1]) : 0;
    }
    for (size_t k = 0; k < MODELS; k++) {
        a->model[k].weight /= all[0];
        if (edge) a->model[k].line_weight /= all[1];
    }
    intervals(a->model, sd, a);
done:
    free(values);
    gsl_matrix_free(room.v);
    gsl_vector_free(room.mean);
    gsl_vector_free(room.line);
    gsl_vector_free(room.value);
    return rc;
}

/* ------------------------------------------------------------------ bins */

/* What a model says of a slope: its standard error and the degrees of freedom that it is known with. */
struct slope {
    double weight, se, dof;
};

static double slope_beyond(const struct slope *s, double half)
{
    double p = 0;
    for (size_t k = 0; k < MODELS; k++)
        if (s[k].weight > 0) p += s[k].weight * 2 * gsl_cdf_tdist_Q(half / s[k].se, s[k].dof);
    return p;
}

/* Interval and p of a slope that is given. */
static void conclude(const struct slope *s, struct mro_indent_trend *t)
{
    double lo = 0, hi = 0;
    for (size_t k = 0; k < MODELS; k++) hi = fmax(hi, s[k].weight > 0 ? 1e3 * s[k].se : 0);
    if (!isfinite(t->slope) || !(hi > 0)) return;
    for (int i = 0; i < 60; i++) {
        const double half = 0.5 * (lo + hi);
        *(slope_beyond(s, half) > 0.05 ? &lo : &hi) = half;
    }
    t->slope_ci95[0] = t->slope - hi;
    t->slope_ci95[1] = t->slope + hi;
    t->p = slope_beyond(s, fabs(t->slope));
}

/* Sums over bins for a straight line through them, each counted as often as it has indents; of widths, those of three
 * indents and more. */
struct line {
    double n, middle, square, mean;
};

static struct line line_through(const struct mro_indent_result *r, bool width)
{
    struct line l = { 0, 0, 0, 0 };
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < r->n_bins; i++) {
            const struct mro_indent_bin *b = &r->bin[i];
            const double n = (double)b->n, v = width ? b->fwhm : b->mean;
            if (!isfinite(v) || (width && b->n < 3)) continue;
            if (pass == 0)
                l.n += n, l.middle += n * b->distance, l.mean += n * v;
            else
                l.square += n * pow(b->distance - l.middle / l.n, 2);
        }
    l.middle /= l.n;
    l.mean /= l.n;
    return l;
}

/* The least squares line through indents a cell apart, `along` cells from the edge and `across` beside it, holes
 * thinned out: its variance over that of independent indents, and the degrees of freedom of what is left. */
static void of_line(const struct mro_indent_model *m, double along, double across, double n, double tails, double *more,
                    double *left, double *dof)
{
    const double filled = n / (along * across), middle = 0.5 * (along - 1);
    double first = n, second = n, own = 0, sum = 1;
    for (double x = 0; x < along; x++) own += (x - middle) * (x - middle);
    for (double dx = 0; dx < along; dx++) {
        double shared = 0, column = 0;
        for (double x = 0; x + dx < along; x++) shared += (x - middle) * (x + dx - middle) / own;
        for (double dy = dx > 0 ? 1 - across : 1; dy < across; dy++) {
            const double rho = correlation(m, hypot(dy, dx)), lines = across - fabs(dy);
            column += lines * rho;
            first += 2 * filled * filled * (along - dx) * lines * rho;
            second += 2 * filled * filled * (along - dx) * lines * rho * rho;
        }
        sum += 2 * filled * column / across * shared;
    }
    *more = fmax(sum, 1e-3);
    *left = n - first / n - *more;
    *dof = fmax(1, *left * *left / fmax(1, second - first * first / (n * n) - *more * *more) / tails);
}

/* Variance of the slope of the logarithm of standard deviations of bins, for a model, in units of that of independent
 * indents: 2 tr(M C M C') is the covariance of the sums of squares of two bins with correlations C between them. */
static double of_widths(const struct mro_indent_model *m, size_t along, size_t across, double *room)
{
    const double middle = 0.5 * ((double)along - 1), n = (double)across;
    double own = 0, whole = 0, sum = 0;
    for (size_t x = 0; x < along; x++) own += ((double)x - middle) * ((double)x - middle);
    for (size_t dx = 0; dx < along; dx++) {
        double squares = 0, all = 0, rows = 0, shared = 0;
        for (size_t dy = 0; dy < across; dy++) room[dy] = correlation(m, hypot((double)dy, (double)dx));
        for (size_t y = 0; y < across; y++) {
            double row = 0;
            for (size_t k = 0; k < across; k++) {
                const double rho = room[y > k ? y - k : k - y];
                row += rho;
                squares += rho * rho;
            }
            all += row;
            rows += row * row;
        }
        if (dx == 0) whole = n - all / n;
        for (size_t x = 0; x + dx < along; x++) shared += ((double)x - middle) * ((double)(x + dx) - middle) / own;
        sum += (dx ? 2 : 1) * shared * (squares - 2 * rows / n + all * all / (n * n));
    }
    return fmax(sum, 1e-9) / (whole * whole) * (n - 1);
}

enum mro_code mro_indent_alike_bins(struct mro_indent_result *r, double tails, const struct mro_indent_alike *a,
                                    struct mro_error *e)
{
    const bool horizontal = r->edge == MRO_INDENT_LEFT || r->edge == MRO_INDENT_RIGHT;
    const size_t along = horizontal ? r->grid_nx : r->grid_ny, across = horizontal ? r->grid_ny : r->grid_nx;
    const struct line mean = line_through(r, false), width = line_through(r, true);
    struct slope of_mean[MODELS], of_width[MODELS];
    struct mro_indent_alike bin = *a;
    double *room = malloc(across * sizeof *room), all = 0, rest = 0;
    if (room == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the correlations of %zu bins do not fit in memory", r->n_bins);
    for (size_t k = 0; k < MODELS; k++) {
        const double w = a->model[k].line_weight;
        all += bin.model[k].weight = w > LEAST_WEIGHT ? w : 0;
    }
    for (size_t k = 0; k < MODELS; k++) bin.model[k].weight /= all;
    /* What indents scatter about the line. */
    for (size_t i = 0; i < r->n_bins; i++) {
        const struct mro_indent_bin *b = &r->bin[i];
        const double off = b->mean - mean.mean - r->mean_trend.slope * (b->distance - mean.middle);
        rest += (b->n > 1 ? ((double)b->n - 1) * b->sd * b->sd : 0) + (double)b->n * off * off;
    }
    for (size_t k = 0; k < MODELS; k++) {
        const struct mro_indent_model *m = &bin.model[k];
        double more, left, dof;
        of_mean[k] = of_width[k] = (struct slope){ 0, 0, 0 };
        if (!(m->weight > 0)) continue;
        of_line(m, (double)along, (double)across, mean.n, tails, &more, &left, &dof);
        of_mean[k] = (struct slope){ m->weight, sqrt(rest / left * more / mean.square), dof };
        if (across < 3) continue;
        const double wider = of_widths(m, along, across, room) * tails / 2;
        of_width[k] = (struct slope){ m->weight, width.mean * sqrt(wider / width.square), dof };
    }
    conclude(of_mean, &r->mean_trend);
    conclude(of_width, &r->fwhm_trend);
    /* Intervals of bins are as the standard deviation of each. */
    size_t n = 0;
    for (size_t i = 0; i < r->n_bins; i++) {
        struct mro_indent_bin *b = &r->bin[i];
        if (b->n < 2 || !(b->sd > 0)) continue;
        if (b->n != n) {
            n = b->n;
            for (size_t k = 0; k < MODELS; k++) moments_of_model((double)across, 1, (double)n, tails, &bin.model[k]);
            intervals(bin.model, 1, &bin);
        }
        b->mean_ci95[0] = b->mean - b->sd * bin.mean_half;
        b->mean_ci95[1] = b->mean + b->sd * bin.mean_half;
        for (int k = 0; k < 2; k++) b->fwhm_ci95[k] = b->fwhm * bin.sd_ci95[k];
    }
    free(room);
    return MRO_OK;
}

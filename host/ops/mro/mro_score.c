/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Scores of one whitened field: windowed spectra over the local gain, and how surprising they are under the null. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/sizes.h"
#include "core/team.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"
#include "ops/mro/mro_internal.h"

#define GRID_Q 6.7        /* nm^-1 that the coarse grid holds, for the band and the rings around it */
#define CELL_STEP_NM 0.42 /* at most */
#define LEAST_HELD 0.05f  /* of the surroundings of a cell that tell its gain */

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

void mro_scores_release(struct mro_device *d, struct mro_scores *s)
{
    for (int k = 0; k < MRO_WINDOWS; k++) {
        free(s->power[k]);
        free(s->which[k]);
    }
    free(s->gain);
    free(s->sound);
    free(s->held);
    free(s->surprise);
    free(s->strongest);
    d->ops->release(d, &s->field);
    memset(s, 0, sizeof *s);
}

enum mro_code mro_on_host(struct mro_device *d, const struct mro_buffer *b, size_t bytes, void **host, void **copy,
                          struct mro_error *e)
{
    *copy = NULL;
    *host = b->p;
    if (d->ops->runtime == NULL) return MRO_OK;
    *host = *copy = malloc(bytes);
    if (*copy == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu MiB", bytes >> 20);
    return d->ops->download(d, *copy, b, bytes, e);
}

struct mro_span mro_band_row(const struct mro_order_plan *p, const struct mro_grid *g, size_t y, float *row)
{
    const float lo = (float)p->o.band_inv_nm[0], hi = (float)p->o.band_inv_nm[1];
    const double inner = fmax(p->o.band_inv_nm[0] - BAND_EDGE, 0), outer = p->o.band_inv_nm[1] + BAND_EDGE;
    const double qy = mro_frequency(y, g->ny, g->ly), left = outer * outer - qy * qy, per = 1 / g->lx;
    memset(row, 0, g->nx * sizeof *row);
    if (left < 0) return (struct mro_span){ 0, 0 };
    const int first = (int)fmin(sqrt(fmax(inner * inner - qy * qy, 0)) * g->lx, (double)(g->nx / 2)),
              last = (int)fmin(sqrt(left) * g->lx, (double)(g->nx / 2));
    /* Columns flat to beyond - 1 are between the edges, of which half lies within the band, and a little more for
     * rounding: all amplitudes are the same there. */
    const double low = p->o.band_inv_nm[0] + 0.501 * BAND_EDGE, high = p->o.band_inv_nm[1] - 0.501 * BAND_EDGE,
                 within = high * high - qy * qy;
    const bool any = low < high && within > 0;
    const int flat = any ? (int)fmin(ceil(sqrt(fmax(low * low - qy * qy, 0)) * g->lx), last + 1) : last + 1,
              end = any ? (int)fmin(floor(sqrt(within) * g->lx), last) + 1 : flat, beyond = end > flat ? end : flat;
    const float top = mro_band_gain(0.5f * (lo + hi), lo, hi, (float)BAND_EDGE);
    for (int side = 0; side < 2; side++) {
        const int from = side ? beyond : first, to = side ? last : flat - 1;
#pragma omp simd
        for (int x = from; x <= to; x++) {
            const double qx = x * per, q2 = qy * qy + qx * qx;
            const float gain = mro_band_gain((float)sqrt(q2), lo, hi, (float)BAND_EDGE);
            row[x] = q2 >= inner * inner ? gain : 0;
        }
    }
    for (int x = flat; x < beyond; x++) row[x] = top;
#pragma omp simd
    for (int x = first > 1 ? first : 1; x <= last; x++) row[g->nx - (size_t)x] = row[x];
    return (struct mro_span){ (size_t)first, (size_t)(last - first + 1) };
}

/* Mean of the squared pass band over a grid: the mean square of white noise in the band. */
static bool band_energy(const struct mro_order_plan *p, const struct mro_grid *g, double *mean)
{
    const size_t rows = g->ny / 2 + 1;
    double *line = calloc(rows, sizeof *line), sum = 0;
    bool failed = line == NULL;
#pragma omp parallel num_threads(mro_team(p->d->threads, 0.2 * (double)(g->ny * g->nx)))
    {
        float *row = line == NULL ? NULL : malloc(g->nx * sizeof *row);
        if (row == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t y = 0; y < rows; y++) {
            double square = 0;
            if (row == NULL) continue;
            const struct mro_span s = mro_band_row(p, g, y, row);
            const float *at = row + s.first;
#pragma omp simd reduction(+ : square)
            for (size_t i = 0; i < s.n; i++) square += (double)at[i] * (double)at[i];
            square = 2 * square - (double)row[0] * (double)row[0]; /* column -x is the same */
            if (g->nx % 2 == 0) square -= (double)row[g->nx / 2] * (double)row[g->nx / 2];
            line[y] = y == 0 || 2 * y == g->ny ? square : 2 * square; /* row -y is the same */
        }
        free(row);
    }
    for (size_t y = 0; !failed && y < rows; y++) sum += line[y];
    *mean = sum / ((double)g->ny * (double)g->nx);
    free(line);
    return !failed;
}

enum mro_code mro_measure_gain(const struct mro_order_plan *p, struct mro_scores *s, struct mro_buffer *mean,
                               struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = s->cells.ny * s->cells.nx;
    MRO_TRY(d->ops->local_mean_square(d, &s->grid, &s->field, GAIN_S_NM, &s->cells, mean, e));
    MRO_TRY(d->ops->download(d, s->gain, mean, n * sizeof(float), e));
    if (!(s->white > 0) && !band_energy(p, &s->grid, &s->white)) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    const float unit = (float)(1 / s->white);
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float gain = s->gain[i] * unit;
        s->gain[i] = gain > 1e-6f ? gain : 1e-6f;
    }
    for (size_t i = 0; s->held && i < n; i++) s->gain[i] = s->held[i] > LEAST_HELD ? s->gain[i] / s->held[i] : 1;
    return MRO_OK;
}

enum mro_code mro_measure_held(const struct mro_order_plan *p, struct mro_scores *s, struct mro_buffer *mean,
                               struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = s->cells.ny * s->cells.nx;
    s->held = malloc(n * sizeof *s->held);
    if (s->held == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu cells", n);
    MRO_TRY(d->ops->upload(d, &s->field, s->sound, s->grid.ny * s->grid.nx * sizeof(float), e));
    MRO_TRY(d->ops->local_mean_square(d, &s->grid, &s->field, GAIN_S_NM, &s->cells, mean, e));
    return d->ops->download(d, s->held, mean, n * sizeof(float), e);
}

enum mro_code mro_scores_open(const struct mro_order_plan *p, const struct mro_grid *grid, const struct mro_grid *cells,
                              const struct mro_buffer *spectrum, struct mro_scores *s, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = cells->ny * cells->nx;
    struct mro_buffer mean = { 0 };
    enum mro_code rc = MRO_OK;
    memset(s, 0, sizeof *s);
    s->grid = *grid;
    s->cells = *cells;
    s->gain = malloc(n * sizeof *s->gain);
    s->surprise = malloc(n * sizeof *s->surprise);
    s->strongest = malloc(n);
    for (int k = 0; k < MRO_WINDOWS; k++) {
        s->power[k] = malloc(n * sizeof *s->power[k]);
        s->which[k] = malloc(n * sizeof *s->which[k]);
        if (!s->power[k] || !s->which[k]) rc = MRO_EMEMORY;
    }
    if (rc || !s->gain || !s->surprise || !s->strongest) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu cells", n);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &s->field, grid->ny * grid->nx * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &mean, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->inverse(d, grid, spectrum, &s->field, e))) goto done;
    rc = mro_measure_gain(p, s, &mean, e);
done:
    d->ops->release(d, &mean);
    if (rc) mro_scores_release(d, s);
    return rc;
}

enum mro_code mro_scores_fill(const struct mro_order_plan *p, const struct mro_buffer *spectrum, struct mro_scores *s,
                              struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = s->cells.ny * s->cells.nx;
    struct mro_buffer power = { 0 }, which = { 0 };
    enum mro_code rc = MRO_OK;
    if ((rc = d->ops->alloc(d, &power, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &which, n * sizeof(int32_t), e))) goto done;
    for (int k = 0; k < MRO_WINDOWS; k++) {
        const struct mro_bank bank = { .window_s_nm = p->window_s_nm[k],
                                       .band_inv_nm = { p->o.band_inv_nm[0], p->o.band_inv_nm[1] },
                                       .edge_inv_nm = BAND_EDGE,
                                       .g = (const double(*)[2])p->g[k],
                                       .n_g = p->n_g[k] };
        if ((rc = d->ops->bank_maximum(d, &s->grid, spectrum, &bank, &s->cells, &power, &which, e))) goto done;
        if ((rc = d->ops->download(d, s->power[k], &power, n * sizeof(float), e))) goto done;
        if ((rc = d->ops->download(d, s->which[k], &which, n * sizeof(int32_t), e))) goto done;
        for (size_t i = 0; i < n; i++) s->power[k][i] /= s->gain[i];
    }
done:
    d->ops->release(d, &power);
    d->ops->release(d, &which);
    return rc;
}

enum mro_code mro_score_field(const struct mro_order_plan *p, const struct mro_grid *grid, const struct mro_grid *cells,
                              const struct mro_buffer *spectrum, struct mro_scores *s, struct mro_error *e)
{
    MRO_TRY(mro_scores_open(p, grid, cells, spectrum, s, e));
    const enum mro_code rc = mro_scores_fill(p, spectrum, s, e);
    if (rc) mro_scores_release(p->d, s);
    return rc;
}

void mro_null_tabulate(struct mro_null *null, int window, const float *sorted, size_t n)
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

/* -ln of the null's chance to exceed the scores t of n cells: counted, and beyond the counts along the tail
 * (2 t - 1) exp(-t) of the largest windowed power of a Gaussian field. */
static void surprises_of(const struct mro_null *null, int window, const float *t, size_t n, double *u)
{
    const double joint = null->joint[window];
    const float *v = null->surprise[window];
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const double at = (double)(t[i] > 0 ? t[i] : 0) / joint * MRO_SURPRISES;
        const double within = at < MRO_SURPRISES ? at : MRO_SURPRISES;
        const int step = (int)(within < MRO_SURPRISES - 1 ? within : MRO_SURPRISES - 1);
        u[i] = (double)v[step] + (within - step) * ((double)v[step + 1] - (double)v[step]);
    }
    for (size_t i = 0; i < n; i++)
        if ((double)t[i] >= joint)
            u[i] = (double)v[MRO_SURPRISES] + ((double)t[i] - joint) - log((2 * (double)t[i] - 1) / (2 * joint - 1));
}

void mro_fill_surprise(const struct mro_order_plan *p, struct mro_scores *s)
{
    enum { PART = 256 }; /* cells that stay in the first level of cache */
    const size_t n = s->cells.ny * s->cells.nx;
#pragma omp parallel for schedule(static) num_threads(mro_team(p->d->threads, 12.0 * (double)n))
    for (size_t from = 0; from < n; from += PART) {
        const size_t cells = n - from < PART ? n - from : PART;
        double most[PART], u[PART];
        int32_t best[PART];
        for (size_t i = 0; i < cells; i++) {
            most[i] = 0;
            best[i] = 0;
        }
        for (int k = 0; k < MRO_WINDOWS; k++) {
            surprises_of(&p->null, k, s->power[k] + from, cells, u);
#pragma omp simd
            for (size_t i = 0; i < cells; i++) {
                best[i] = u[i] > most[i] ? k : best[i];
                most[i] = u[i] > most[i] ? u[i] : most[i];
            }
        }
        for (size_t i = 0; i < cells; i++) {
            s->surprise[from + i] = (float)most[i];
            s->strongest[from + i] = (unsigned char)best[i];
        }
    }
}

double mro_gain_at(const struct mro_scores *s, double y_nm, double x_nm)
{
    const double fy = y_nm / s->cells.ly * (double)s->cells.ny, fx = x_nm / s->cells.lx * (double)s->cells.nx;
    const double y0 = floor(fy), x0 = floor(fx), wy = fy - y0, wx = fx - x0;
    const size_t ny = s->cells.ny, nx = s->cells.nx;
    const size_t a = ((size_t)((ptrdiff_t)y0 % (ptrdiff_t)ny + (ptrdiff_t)ny)) % ny, b = (a + 1) % ny;
    const size_t c = ((size_t)((ptrdiff_t)x0 % (ptrdiff_t)nx + (ptrdiff_t)nx)) % nx, f = (c + 1) % nx;
    return (1 - wy) * ((1 - wx) * s->gain[a * nx + c] + wx * s->gain[a * nx + f]) +
           wy * ((1 - wx) * s->gain[b * nx + c] + wx * s->gain[b * nx + f]);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bank of windowed spectra. */
#include "core/bank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

typedef int32_t words __attribute__((vector_size(4 * MRO_LANES)));

/* The planes of a bank are made one after the other: a panel of columns (cpu/fft.h) is filled and transformed along y,
 * and turned to panels of rows; of these the powers of a panel's transform meet the largest so far while they are in
 * the cache. Of a thread: */
struct room {
    size_t ny, nx, stride;  /* of the plane and its panels of rows, each as long as whole panels of columns */
    struct mro_rooms lines; /* lines.y.in: rows that no window reaches stay 0 */
    struct mro_wide *rows;  /* transformed along y; columns that no window reaches stay 0 */
    float *bell_y, *bell_x; /* amplitude of the window, from -hy and -hx on; MRO_LANES zeros before and behind bell_x */
    mro_lanes *best;        /* [panels of rows][nx] */
    words *which;           /* the wave vector that gave it */
};

static bool room_new(struct room *r, const struct mro_grid *out, const struct mro_bank_window *w)
{
    *r = (struct room){ .ny = out->ny, .nx = out->nx, .stride = mro_panels(out->nx) * MRO_LANES };
    const size_t n_panels = mro_panels(r->ny), n = n_panels * r->nx;
    const bool ready = mro_rooms_new(&r->lines, r->ny, r->nx);
    r->rows = mro_lines_room(n_panels * r->stride);
    r->bell_y = malloc((size_t)(2 * w->hy + 1) * sizeof *r->bell_y);
    r->bell_x = calloc((size_t)(2 * w->hx + 1) + 2 * MRO_LANES, sizeof *r->bell_x);
    r->best = aligned_alloc(sizeof *r->best, n * sizeof *r->best);
    r->which = aligned_alloc(sizeof *r->which, n * sizeof *r->which);
    if (!ready || !r->rows || !r->bell_y || !r->bell_x || !r->best || !r->which) return false;
    memset(r->lines.y.in, 0, r->ny * sizeof *r->lines.y.in);
    memset(r->lines.y.out, 0, mro_panels(r->ny) * MRO_LANES * sizeof *r->lines.y.out);
    memset(r->rows, 0, n_panels * r->stride * sizeof *r->rows);
    for (size_t i = 0; i < n; i++) {
        r->best[i] = (mro_lanes){ 0 } - 1;
        r->which[i] = (words){ 0 } - 1;
    }
    return true;
}

static void room_release(struct room *r)
{
    mro_rooms_release(&r->lines);
    free(r->rows);
    free(r->bell_y);
    free(r->bell_x);
    free(r->best);
    free(r->which);
}

/* exp(-c (i + offset)^2) for -reach <= i <= reach. */
static void bell_row(double c, double offset, ptrdiff_t reach, float *w)
{
#pragma omp simd
    for (int i = 0; i <= 2 * (int)reach; i++) {
        const double r = i - (int)reach + offset;
        w[i] = mro_exp((float)(-c * r * r));
    }
}

/* MRO_LANES coefficients of a row of nx from number `from` on, beyond its end those from its beginning on. */
static struct mro_wide coefficients(const mro_c32 *row, size_t nx, size_t from)
{
    mro_c32 some[MRO_LANES];
    if (nx - from >= MRO_LANES) return mro_lines_numbers(&row[from].re);
    for (size_t i = 0; i < MRO_LANES; i++, from = from + 1 < nx ? from + 1 : 0) some[i] = row[from];
    return mro_lines_numbers(&some[0].re);
}

/* Rows -hy..hy around cy of MRO_LANES columns of the spectrum from column `from` on, times the window, to a panel of
 * columns, folded onto its ny rows: at its points that is exact. `add`: to what is there. */
static void window_columns(const struct mro_grid *grid, const mro_c32 *spectrum, ptrdiff_t cy, ptrdiff_t hy,
                           size_t from, const float *bell_y, mro_lanes bell_x, bool add, size_t ny,
                           struct mro_wide *panel)
{
    enum { AHEAD = 16 }; /* rows that are asked for before they are needed */
    size_t row = mro_cyclic(cy - hy, grid->ny), y = mro_cyclic(-hy, ny);
    for (size_t j = 0; j <= 2 * (size_t)hy; j++) {
        const struct mro_wide v = coefficients(spectrum + row * grid->nx, grid->nx, from);
        const mro_lanes w = bell_x * bell_y[j];
        mro_lines_will_read((const struct mro_wide *)(spectrum + (row + AHEAD) * grid->nx + from), 1);
        if (add || j >= ny) {
            panel[y].re += w * v.re;
            panel[y].im += w * v.im;
        } else {
            panel[y].re = w * v.re;
            panel[y].im = w * v.im;
        }
        row = row + 1 < grid->ny ? row + 1 : 0;
        y = y + 1 < ny ? y + 1 : 0;
    }
}

/* Fills r->rows with the plane of wave vector `g`, transformed along y. */
static void transform_columns(const struct mro_grid *grid, const mro_c32 *spectrum, const struct mro_bank_window *w,
                              const double g[2], float scale, struct room *r)
{
    const double py = g[0] * grid->ly, px = g[1] * grid->lx;
    const ptrdiff_t cy = (ptrdiff_t)lround(py), cx = (ptrdiff_t)lround(px), hx = w->hx;
    const struct mro_room *lines = &r->lines.y;
    bell_row(w->c / (grid->lx * grid->lx), (double)cx - px, hx, r->bell_x + MRO_LANES);
    bell_row(w->c / (grid->ly * grid->ly), (double)cy - py, w->hy, r->bell_y);
    for (ptrdiff_t j = 0; j <= 2 * w->hy; j++) r->bell_y[j] *= scale;
    for (size_t p = 0; p < mro_panels(r->nx); p++) {
        const ptrdiff_t nx = (ptrdiff_t)r->nx, x = (ptrdiff_t)(p * MRO_LANES);
        /* Of the columns -hx..hx of the window those that fold onto x and on. */
        const ptrdiff_t first = x - (x + hx + MRO_LANES - 1) / nx * nx;
        if (first > hx) continue;
        for (ptrdiff_t i = first; i <= hx; i += nx)
            window_columns(grid, spectrum, cy, w->hy, mro_cyclic(cx + i, grid->nx), r->bell_y,
                           *(const mro_lanes_loose *)(r->bell_x + MRO_LANES + hx + i), i > first, r->ny, lines->in);
        mro_lines_run(lines->lines, true, lines->in, lines->out, lines->scratch);
        mro_rows_to_panels(lines, r->ny, r->rows, r->stride, p * MRO_LANES);
    }
}

/* Transforms r->rows along x, and keeps where the powers exceed the largest so far. */
static void keep_largest(struct room *r, int32_t id)
{
    const struct mro_room *x = &r->lines.x;
    const words mine = id - (words){ 0 };
    for (size_t p = 0; p < mro_panels(r->ny); p++) {
        mro_lanes *best = r->best + p * r->nx;
        words *which = r->which + p * r->nx;
        mro_lines_run(x->lines, true, r->rows + p * r->stride, x->out, x->scratch);
        for (size_t k = 0; k < r->nx; k++) {
            const mro_lanes re = x->out[k].re, im = x->out[k].im, power = re * re + im * im;
            const words more = power > best[k];
            which[k] = (mine & more) | (which[k] & ~more);
            best[k] = (mro_lanes)(((words)power & more) | ((words)best[k] & ~more));
        }
    }
}

enum mro_code mro_cpu_bank_maximum(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                   const struct mro_bank *bank, const struct mro_grid *out, struct mro_buffer *power,
                                   struct mro_buffer *which, struct mro_error *e)
{
    const struct mro_bank_window window = mro_bank_window_of(bank, g);
    const size_t ny = out->ny, nx = out->nx;
    float *best = power->p;
    int32_t *arg = which->p;
    bool failed = false;
    double *scale = malloc(bank->n_g * sizeof *scale);
    if (scale == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu wave vectors", bank->n_g);
    mro_bank_scales(bank, g, scale);
    for (size_t i = 0; i < ny * nx; i++) {
        best[i] = -1;
        arg[i] = -1;
    }
#pragma omp parallel num_threads(d->threads)
    {
        struct room mine;
        const bool ready = room_new(&mine, out, &window);
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 4)
        for (size_t k = 0; k < bank->n_g; k++) {
            if (!ready) continue;
            transform_columns(g, spectrum->p, &window, bank->g[k], (float)scale[k], &mine);
            keep_largest(&mine, (int32_t)k); /* rising within a thread: of equal powers the first is kept */
        }
        /* A maximum does not depend on the order of threads once ties go to the lower number. */
        if (ready) {
#pragma omp critical(mro_bank_merge)
            for (size_t y = 0; y < ny; y++)
                for (size_t x = 0; x < nx; x++) {
                    const size_t i = y * nx + x, t = y / MRO_LANES * nx + x, l = y % MRO_LANES;
                    if (mine.best[t][l] > best[i] || (mine.best[t][l] == best[i] && mine.which[t][l] < arg[i])) {
                        best[i] = mine.best[t][l];
                        arg[i] = mine.which[t][l];
                    }
                }
        }
        room_release(&mine);
    }
    free(scale);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", nx, ny) : MRO_OK;
}

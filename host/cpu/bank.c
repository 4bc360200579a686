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

/* The planes of a bank are made one after the other: a strip of rows is filled, transformed and kept as panels
 * (cpu/fft.h); the powers of a panel's transform meet the largest so far while they are in the cache. Of a thread: */
struct room {
    size_t ny, nx, stride; /* of the plane and its panels */
    struct mro_rooms lines;
    float *re, *im;          /* MRO_LANES rows, filled up to whole panels */
    float *window;           /* a row of the window before it folds onto the plane: real parts, then imaginary ones, */
    size_t room;             /* so many of each, nx of them zeros before and as many behind */
    struct mro_wide *panels; /* transformed along x; rows that no window reaches stay 0 */
    float *bell_y, *bell_x;  /* amplitude of the window, from -hy and -hx on */
    float *best;             /* [panels][ny][MRO_LANES] */
    int32_t *which;          /* the wave vector that gave it */
};

static bool room_new(struct room *r, const struct mro_grid *out, const struct mro_bank_window *w)
{
    *r = (struct room){ .ny = out->ny, .nx = out->nx, .stride = mro_panel_stride(out->ny) };
    const size_t n_panels = mro_panels(r->nx), wide = n_panels * MRO_LANES, n = wide * r->ny;
    const bool ready = mro_rooms_new(&r->lines, r->ny, r->nx);
    r->re = malloc(2 * MRO_LANES * wide * sizeof *r->re);
    r->panels = mro_panels_new(r->nx, r->ny);
    r->bell_y = malloc((size_t)(2 * w->hy + 1) * sizeof *r->bell_y);
    r->bell_x = malloc((size_t)(2 * w->hx + 1) * sizeof *r->bell_x);
    r->best = malloc(n * sizeof *r->best);
    r->which = malloc(n * sizeof *r->which);
    r->room = 2 * r->nx + 2 * (size_t)w->hx + 1;
    r->window = calloc(2 * r->room, sizeof *r->window);
    if (!ready || !r->re || !r->window || !r->panels || !r->bell_y || !r->bell_x || !r->best || !r->which) return false;
    r->im = r->re + MRO_LANES * wide;
    memset(r->panels, 0, n_panels * r->stride * sizeof *r->panels);
    for (size_t i = 0; i < n; i++) {
        r->best[i] = -1;
        r->which[i] = -1;
    }
    return true;
}

static void room_release(struct room *r)
{
    mro_rooms_release(&r->lines);
    free(r->re);
    free(r->window);
    free(r->panels);
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

/* A row of the spectrum, nx coefficients, times wy and the window around cx: set in re and im, or added to them. */
static void window_row(const mro_c32 *src, size_t nx, ptrdiff_t cx, ptrdiff_t hx, float wy, const float *bell, bool add,
                       float *re, float *im)
{
    size_t from = mro_cyclic(cx - hx, nx);
    for (size_t i = 0, n = 2 * (size_t)hx + 1, run; i < n; i += run, from = 0) {
        run = n - i < nx - from ? n - i : nx - from;
        const mro_c32 *s = src + from;
        const float *w = bell + i;
        float *to_re = re + i, *to_im = im + i;
        if (add)
#pragma omp simd
            for (size_t t = 0; t < run; t++) {
                to_re[t] += wy * w[t] * s[t].re;
                to_im[t] += wy * w[t] * s[t].im;
            }
        else
#pragma omp simd
            for (size_t t = 0; t < run; t++) {
                to_re[t] = wy * w[t] * s[t].re;
                to_im[t] = wy * w[t] * s[t].im;
            }
    }
}

/* Frequencies -hx..hx, number 0 at v[hx], folded onto those of the plane, from 0 on: at its points that is exact. */
static void fold(const float *v, ptrdiff_t hx, size_t nx, float *to)
{
    const ptrdiff_t n = (ptrdiff_t)nx;
    const float *first = v + hx, *second = first - n;
#pragma omp simd
    for (ptrdiff_t x = 0; x < n; x++) to[x] = first[x] + second[x];
    for (ptrdiff_t turn = n; turn <= hx; turn += n) /* windows wider than two planes */
        for (ptrdiff_t x = 0; x < n; x++) {
            if (x + turn <= hx) to[x] += first[x + turn];
            if (turn + n - x <= hx) to[x] += second[x - turn];
        }
}

/* Fills r->panels with the plane of wave vector `g`, transformed along x. */
static void transform_rows(const struct mro_grid *grid, const mro_c32 *spectrum, const struct mro_bank_window *w,
                           const double g[2], float scale, struct room *r)
{
    const double py = g[0] * grid->ly, px = g[1] * grid->lx;
    const ptrdiff_t cy = (ptrdiff_t)lround(py), cx = (ptrdiff_t)lround(px), ny = (ptrdiff_t)r->ny, hy = w->hy;
    const size_t wide = mro_panels(r->nx) * MRO_LANES;
    const struct mro_room *x = &r->lines.x;
    float *window_re = r->window + r->nx, *window_im = r->window + r->room + r->nx;
    bell_row(w->c / (grid->lx * grid->lx), (double)cx - px, w->hx, r->bell_x);
    bell_row(w->c / (grid->ly * grid->ly), (double)cy - py, w->hy, r->bell_y);
    for (ptrdiff_t y0 = 0; y0 < ny; y0 += MRO_LANES) {
        const ptrdiff_t end = y0 + MRO_LANES < ny ? y0 + MRO_LANES : ny;
        if (y0 > hy && ny - end >= hy) continue; /* no window reaches here */
        for (ptrdiff_t y = y0; y < y0 + MRO_LANES; y++) {
            float *re = r->re + (size_t)(y - y0) * wide, *im = r->im + (size_t)(y - y0) * wide;
            const ptrdiff_t first = y - (y + hy) / ny * ny; /* of the rows -hy..hy of the window that fold onto y */
            for (ptrdiff_t j = first; y < end && j <= hy; j += ny)
                window_row(spectrum + mro_cyclic(cy + j, grid->ny) * grid->nx, grid->nx, cx, w->hx,
                           scale * r->bell_y[j + hy], r->bell_x, j > first, window_re, window_im);
            if (y < end && first <= hy) {
                fold(window_re, w->hx, r->nx, re);
                fold(window_im, w->hx, r->nx, im);
            } else {
                memset(re, 0, r->nx * sizeof *re);
                memset(im, 0, r->nx * sizeof *im);
            }
        }
        mro_lines_from_rows(r->re, wide, MRO_LANES, r->nx, &x->in->re, 2);
        mro_lines_from_rows(r->im, wide, MRO_LANES, r->nx, &x->in->im, 2);
        mro_lines_run(x->lines, true, x->in, x->out, x->scratch);
        mro_rows_to_panels(x, r->nx, r->panels, r->stride, (size_t)y0);
    }
}

/* Transforms r->panels along y, and keeps where the powers exceed the largest so far. */
static void keep_largest(struct room *r, int32_t id)
{
    const struct mro_room *y = &r->lines.y;
    for (size_t p = 0; p < mro_panels(r->nx); p++) {
        float *best = r->best + p * r->ny * MRO_LANES;
        int32_t *which = r->which + p * r->ny * MRO_LANES;
        const float *v = (const float *)y->out;
        mro_lines_run(y->lines, true, r->panels + p * r->stride, y->out, y->scratch);
        for (size_t k = 0; k < r->ny; k++, v += 2 * MRO_LANES, best += MRO_LANES, which += MRO_LANES)
#pragma omp simd
            for (size_t x = 0; x < MRO_LANES; x++) {
                const float power = v[x] * v[x] + v[MRO_LANES + x] * v[MRO_LANES + x];
                const bool more = power > best[x];
                best[x] = more ? power : best[x];
                which[x] = more ? id : which[x];
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
            transform_rows(g, spectrum->p, &window, bank->g[k], (float)scale[k], &mine);
            keep_largest(&mine, (int32_t)k); /* rising within a thread: of equal powers the first is kept */
        }
        /* A maximum does not depend on the order of threads once ties go to the lower number. */
        if (ready) {
#pragma omp critical(mro_bank_merge)
            for (size_t y = 0; y < ny; y++)
                for (size_t x = 0; x < nx; x++) {
                    const size_t i = y * nx + x, t = (x / MRO_LANES * ny + y) * MRO_LANES + x % MRO_LANES;
                    if (mine.best[t] > best[i] || (mine.best[t] == best[i] && mine.which[t] < arg[i])) {
                        best[i] = mine.best[t];
                        arg[i] = mine.which[t];
                    }
                }
        }
        room_release(&mine);
    }
    free(scale);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", nx, ny) : MRO_OK;
}

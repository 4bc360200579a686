/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fringes brought down to frequency zero, and the slope of their phase: sums along y, then along x of MRO_LANES rows of
 * points side by side. */
#include "core/wave.h"

#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "cpu/butterflies.h"
#include "cpu/cpu.h"
#include "mroscope/math/grid.h"

enum { TOGETHER = 4, STRIP = TOGETHER * MRO_LANES }; /* columns whose sums stay in registers */
enum { PLAIN = 1, SLOPED = 2 };                      /* sums with the Gaussian; and with its derivative */
enum { GROUP = 4 * MRO_LANES };                      /* rows of points that the field is fetched for at a time */

/* Room of one thread. */
struct room {
    size_t pitch;                  /* columns, whole strips */
    float *part;                   /* of the field: the rows that a group of points sums */
    mro_c32 *weight[SLOPED];       /* of the samples around a point along y, turned */
    float *sums[SLOPED];           /* along y, MRO_LANES rows of complex numbers: real parts, then imaginary ones */
    struct mro_wide *line[SLOPED]; /* the same, rows side by side, turned along x */
    struct mro_wide *h;            /* of points */
    mro_lanes *slope[2];
};

static void room_release(struct room *r)
{
    free(r->weight[0]);
    free(r->line[0]);
}

static bool room_new(struct room *r, const struct mro_wave_axes *a)
{
    size_t rows = 0;
    for (size_t j = 0; j < a->y.points; j++) {
        const size_t last = j + GROUP <= a->y.points ? j + GROUP - 1 : a->y.points - 1;
        const size_t n = a->y.begin[last] - a->y.begin[j] + a->y.taps;
        rows = n > rows ? n : rows;
    }
    r->pitch = (a->x.span + STRIP - 1) / STRIP * STRIP;
    const size_t row = r->pitch / (2 * MRO_LANES); /* of floats, in wide numbers */
    r->weight[0] = malloc(SLOPED * a->y.taps * sizeof *r->weight[0]);
    r->line[0] = mro_lines_room(SLOPED * r->pitch + 2 * a->x.points + (rows + SLOPED * 2 * MRO_LANES) * row);
    if (!r->weight[0] || !r->line[0]) return false;
    r->weight[1] = r->weight[0] + a->y.taps;
    r->line[1] = r->line[0] + r->pitch;
    r->h = r->line[1] + r->pitch;
    r->slope[0] = &(r->h + a->x.points)->re;
    r->slope[1] = r->slope[0] + a->x.points;
    r->part = (float *)(r->slope[1] + a->x.points);
    r->sums[0] = r->part + rows * r->pitch;
    r->sums[1] = r->sums[0] + 2 * MRO_LANES * r->pitch;
    return true;
}

/* Rows from `begin` on of the span of the window, n of them, as the periodic field has them. */
static void fetch(const struct room *r, const struct mro_wave_axes *a, const float *field, size_t begin, size_t n)
{
    const size_t nx = a->x.samples, span = a->x.span;
    for (size_t j = 0; j < n; j++) {
        const float *from = field + mro_cyclic(a->y.first + (ptrdiff_t)(begin + j), a->y.samples) * nx;
        float *to = r->part + j * r->pitch;
        size_t x = mro_cyclic(a->x.first, nx);
        for (size_t i = 0, run; i < span; i += run, x = 0) {
            run = span - i < nx - x ? span - i : nx - x;
            memcpy(to + i, from + x, run * sizeof *to);
        }
        memset(to + span, 0, (r->pitch - span) * sizeof *to);
    }
}

/* Sums down the columns of the part from row `top` on, to row `row` of the sums. */
MRO_INLINE void sum_rows(const struct room *r, size_t taps, size_t top, size_t row, int kinds)
{
    enum { MOST = TOGETHER * SLOPED };
    const int together = kinds == PLAIN ? TOGETHER : TOGETHER / 2;
    for (size_t x = 0; x < r->pitch; x += (size_t)together * MRO_LANES) {
        struct mro_wide sum[MOST] = { 0 };
        for (size_t t = 0; t < taps; t++) {
            const mro_lanes *from = (const mro_lanes *)(r->part + (top + t) * r->pitch + x);
            for (int k = 0; k < kinds; k++)
                for (int i = 0; i < together; i++) {
                    sum[k * TOGETHER + i].re += r->weight[k][t].re * from[i];
                    sum[k * TOGETHER + i].im += r->weight[k][t].im * from[i];
                }
        }
        for (int k = 0; k < kinds; k++)
            for (int i = 0; i < together; i++) {
                float *to = r->sums[k] + row * r->pitch + x + (size_t)i * MRO_LANES;
                *(mro_lanes *)to = sum[k * TOGETHER + i].re;
                *(mro_lanes *)(to + MRO_LANES * r->pitch) = sum[k * TOGETHER + i].im;
            }
    }
}

/* Sums along a line. */
MRO_INLINE struct mro_wide sum_line(const struct mro_wide *v, const float *weight, size_t taps)
{
    struct mro_wide even = { { 0 }, { 0 } }, odd = even;
    for (size_t t = 0; t < taps; t += 2) {
        even = scaled(even, weight[t], v[t]);
        odd = scaled(odd, weight[t + 1], v[t + 1]);
    }
    return plus(even, odd);
}

static mro_lanes slope_of(const struct mro_wide *h, const struct mro_wide *dh)
{
    mro_lanes slope = { 0 };
#pragma omp simd
    for (int i = 0; i < MRO_LANES; i++)
        slope[i] = mro_wave_slope((mro_c32){ h->re[i], h->im[i] }, (mro_c32){ dh->re[i], dh->im[i] });
    return slope;
}

/* n rows of points, from row y0 of the window on; `begin`: the first row of the part. */
MRO_INLINE void demodulate_rows(const struct room *r, const struct mro_wave_axes *a, size_t begin, size_t y0, size_t n,
                                int kinds, mro_c32 *h, float *slope)
{
    const struct mro_wave_axis *y = &a->y, *x = &a->x;
    const size_t all = y->points * x->points;
    for (size_t j = 0; j < n; j++) {
        const mro_c32 *turn = y->turn + y->begin[y0 + j];
        for (int k = 0; k < kinds; k++) {
            const float *w = (k ? y->rise : y->weight) + (y0 + j) * y->taps;
            for (size_t t = 0; t < y->taps; t++) r->weight[k][t] = (mro_c32){ w[t] * turn[t].re, w[t] * turn[t].im };
        }
        sum_rows(r, y->taps, y->begin[y0 + j] - begin, j, kinds);
    }
    for (int k = 0; k < kinds; k++) {
        const float *sums = r->sums[k];
        mro_lines_from_rows(sums, r->pitch, n, x->span, &r->line[k]->re, 2);
        mro_lines_from_rows(sums + MRO_LANES * r->pitch, r->pitch, n, x->span, &r->line[k]->im, 2);
        for (size_t i = 0; i < x->span; i++) r->line[k][i] = times(r->line[k][i], x->turn[i]);
    }
    for (size_t i = 0; i < x->points; i++) {
        const float *weight = x->weight + i * x->taps;
        r->h[i] = sum_line(r->line[0] + x->begin[i], weight, x->taps);
        if (kinds == PLAIN) continue;
        const struct mro_wide along_y = sum_line(r->line[1] + x->begin[i], weight, x->taps),
                              along_x = sum_line(r->line[0] + x->begin[i], x->rise + i * x->taps, x->taps);
        r->slope[0][i] = slope_of(r->h + i, &along_y);
        r->slope[1][i] = slope_of(r->h + i, &along_x);
    }
    mro_lines_to_rows(&r->h->re, 1, &h[y0 * x->points].re, 2 * x->points, n, 2 * x->points);
    for (int k = 0; k < 2 && kinds == SLOPED; k++)
        mro_lines_to_rows(r->slope[k], 1, slope + (size_t)k * all + y0 * x->points, x->points, n, x->points);
}

enum mro_code mro_cpu_demodulate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                 const double g_inv_nm[2], double sigma_inv_nm, const struct mro_grid *out,
                                 const struct mro_window *window, struct mro_buffer *h, struct mro_buffer *slope,
                                 struct mro_error *e)
{
    struct mro_wave_axes a;
    enum mro_code rc = mro_wave_axes_new(&a, g, g_inv_nm, sigma_inv_nm, out, window, e);
    if (rc) goto done;
    const double products =
        (slope ? 2.4 : 1) * 2 * (double)window->ny * (double)(a.x.span * a.y.taps + a.x.points * a.x.taps);
    bool failed = false;
#pragma omp parallel num_threads(mro_team(d->threads, 0.02 * products))
    {
        struct room r = { 0 };
        const bool ready = room_new(&r, &a);
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(dynamic)
        for (size_t y0 = 0; y0 < window->ny; y0 += GROUP) {
            const size_t end = window->ny - y0 < GROUP ? window->ny : y0 + GROUP, begin = a.y.begin[y0];
            if (!ready) continue;
            fetch(&r, &a, field->p, begin, a.y.begin[end - 1] - begin + a.y.taps);
            for (size_t y = y0; y < end; y += MRO_LANES) {
                const size_t n = end - y < MRO_LANES ? end - y : MRO_LANES;
                if (slope)
                    demodulate_rows(&r, &a, begin, y, n, SLOPED, h->p, slope->p);
                else
                    demodulate_rows(&r, &a, begin, y, n, PLAIN, h->p, NULL);
            }
        }
        room_release(&r);
    }
    if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for fringes at %zu x %zu points", window->nx, window->ny);
done:
    mro_wave_axes_release(&a);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Matched power of fringe patches, and the climb to its nearest maximum. */
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "cpu/cpu.h"
#include "cpu/lines.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

#define MAX_SPAN 96 /* samples across the largest sphere; a coarser bound than any grid in use needs */
#define RESERVE 8   /* samples to each side that a climb may go before the field around it is fetched anew */
#define MAX_WINDOW (MAX_SPAN + 2 * RESERVE)
#define RUN 16 /* samples of a fringe that are computed together; a multiple of MRO_LANES */

typedef float loose __attribute__((vector_size(4 * MRO_LANES), aligned(4), may_alias)); /* anywhere in memory */
typedef int32_t words __attribute__((vector_size(4 * MRO_LANES)));

struct search {
    const struct mro_grid *g;
    const float *field;
    const struct mro_patch_search *s;
    double py, px;       /* nm per sample */
    double per_y, per_x; /* samples per nm */
    int rows, columns;   /* of a window: the largest sphere, and the reserve */
};

/* Fringes exp(-2 pi i g r) at samples from..to - 1 of a window, r from its first one: where fringes begin is of no
 * matter to their power. */
struct axis {
    double g;
    int from, to;
    float re[MAX_WINDOW + RUN + MRO_LANES], im[MAX_WINDOW + RUN + MRO_LANES];
};

/* Turns are counted in 2^-32, so that whole ones fall away: as good as double precision here. */
static void fill_run(struct axis *a, int first, double step)
{
    const uint32_t per = (uint32_t)(int64_t)nearbyint(-a->g * step * 4294967296.0);
#pragma omp simd
    for (int i = first; i < first + RUN; i++) {
        const float turn = (float)(int32_t)((uint32_t)i * per) * 2.3283064e-10f;
        a->re[i] = mro_cos_turn(turn);
        a->im[i] = mro_sin_turn(turn);
    }
}

/* Sees that the fringes of wave number g are there at samples first..first + n - 1. */
static void fill_axis(struct axis *a, int first, int n, double step, double g)
{
    if (a->g != g) {
        a->g = g;
        a->from = a->to = first / RUN * RUN;
    }
    for (; a->to < first + n; a->to += RUN) fill_run(a, a->to, step);
    for (; a->from > first; a->from -= RUN) fill_run(a, a->from - RUN, step);
}

/* The field around a place, and what a sphere there makes of it: what is left to do for another wave vector. */
struct patch {
    ptrdiff_t top, left; /* first sample of the window in the field */
    int size;            /* of the sphere; -1: none */
    double y, x;
    int y0, x0, rows, wide; /* its samples in the window; `wide` is a multiple of MRO_LANES: what is beyond weighs 0 */
    int first[MAX_SPAN / MRO_LANES], last[MAX_SPAN / MRO_LANES]; /* rows that it has in each MRO_LANES columns */
    double norm;                                                 /* sum of squared chords */
    double gy_summed;                                            /* of the sums along columns */
    struct axis down, across;
    float column_re[MAX_SPAN], column_im[MAX_SPAN];   /* sums along columns with the fringe of gy_summed */
    float field[MAX_WINDOW * MAX_WINDOW + MRO_LANES]; /* of the window, rows of c->columns */
    float v[MAX_SPAN * MAX_SPAN];                     /* chord times field, rows of `wide` */
};

static void fetch_window(const struct search *c, double y, double x, struct patch *p)
{
    const size_t ny = c->g->ny, nx = c->g->nx, columns = (size_t)c->columns;
    p->top = (ptrdiff_t)floor(y * c->per_y) - c->rows / 2;
    p->left = (ptrdiff_t)floor(x * c->per_x) - c->columns / 2;
    const size_t left = mro_cyclic(p->left, nx);
    size_t row = mro_cyclic(p->top, ny);
    for (int j = 0; j < c->rows; j++, row = row + 1 < ny ? row + 1 : 0) {
        const float *from = c->field + row * nx;
        float *to = p->field + (size_t)j * columns;
        for (size_t i = 0, at = left, n; i < columns; i += n, at = 0) { /* the field is periodic */
            n = columns - i < nx - at ? columns - i : nx - at;
            memcpy(to + i, from + at, n * sizeof *to);
        }
    }
    memset(p->field + (size_t)c->rows * columns, 0, MRO_LANES * sizeof *p->field);
}

/* The field times the chord 2 sqrt(h) of a sphere where h > 0, else 0; adds h to `norm` where it is. */
static inline mro_lanes weighed(mro_lanes h, mro_lanes field, mro_lanes *norm)
{
#ifdef __AVX512F__ /* Newton's step from fourteen bits takes half as long as a root */
    const __mmask16 inside = _mm512_cmp_ps_mask(h, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 r = _mm512_rsqrt14_ps(h), s = h * r;
    *norm = _mm512_mask_add_ps(*norm, inside, *norm, h);
    return _mm512_maskz_mul_ps(inside, s * (3 - s * r), field);
#else
    h = (mro_lanes)((words)h & (h > 0));
    *norm += h;
    for (int l = 0; l < MRO_LANES; l++) h[l] = 2 * sqrtf(h[l]);
    return h * field;
#endif
}

static inline float sum_of(mro_lanes v)
{
#ifdef __AVX512F__
    return _mm512_reduce_add_ps(v);
#else
    float each[MRO_LANES];
    memcpy(each, &v, sizeof each);
    for (int half = MRO_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) each[l] += each[l + half];
    return each[0];
#endif
}

/* Where a sphere of size k at (y, x) lies in the window, which is fetched anew where it does not hold all of it. */
static void place_sphere(const struct search *c, int k, double y, double x, struct patch *p)
{
    const double radius = 0.5 * c->s->diameter_nm[k];
    const ptrdiff_t y0 = (ptrdiff_t)ceil((y - radius) * c->per_y), y1 = (ptrdiff_t)floor((y + radius) * c->per_y);
    const ptrdiff_t x0 = (ptrdiff_t)ceil((x - radius) * c->per_x), x1 = (ptrdiff_t)floor((x + radius) * c->per_x);
    if (p->size < 0 || y0 < p->top || x0 < p->left || y1 >= p->top + c->rows || x1 >= p->left + c->columns)
        fetch_window(c, y, x, p);
    p->size = k;
    p->y = y;
    p->x = x;
    p->y0 = (int)(y0 - p->top);
    p->x0 = (int)(x0 - p->left);
    p->rows = (int)(y1 - y0 + 1);
    p->wide = (int)(x1 - x0 + MRO_LANES) / MRO_LANES * MRO_LANES;
}

/* Weighs the field with the sphere, and sums it along columns with the fringe of p->down. */
static void weigh(const struct search *c, struct patch *p)
{
    const float radius = 0.5f * (float)c->s->diameter_nm[p->size], square = radius * radius;
    const float py = (float)c->py, px = (float)c->px;
    const float down = (float)((double)(p->top + p->y0) - p->y * c->per_y); /* of the first row from the centre */
    const float across = (float)((double)(p->left + p->x0) - p->x * c->per_x);
    const int rows = p->rows, wide = p->wide, columns = c->columns;
    float left[MAX_SPAN] = { 0 }; /* of the radius squared */
    mro_lanes place = { 0 }, norm = { 0 };
#pragma omp simd
    for (int j = 0; j < rows; j++) left[j] = square - (down + (float)j) * py * ((down + (float)j) * py);
    for (int l = 0; l < MRO_LANES; l++) place[l] = across + (float)l;
    for (int i = 0; i < wide; i += MRO_LANES, place += MRO_LANES) {
        const mro_lanes dx2 = place * px * (place * px);
        const float from = place[0], to = place[MRO_LANES - 1], near = (from > 0 ? from : to < 0 ? to : 0) * px;
        const float rest = square - near * near, half = rest > 0 ? sqrtf(rest) * (float)c->per_y : 0;
        const int above = (int)(-down - half), below = (int)(-down + half + 1);
        const int first = above > 0 ? above : 0, last = below < rows ? below : rows - 1;
        const float *field = p->field + (p->y0 + first) * columns + p->x0 + i;
        const float *re = p->down.re + p->y0, *im = p->down.im + p->y0;
        float *v = p->v + first * wide + i;
        mro_lanes sum_re = { 0 }, sum_im = { 0 };
        for (int j = first; j <= last; j++, field += columns, v += wide) {
            const mro_lanes value = weighed(left[j] - dx2, *(const loose *)field, &norm);
            *(loose *)v = value;
            sum_re += value * re[j];
            sum_im += value * im[j];
        }
        *(loose *)(p->column_re + i) = sum_re;
        *(loose *)(p->column_im + i) = sum_im;
        p->first[i / MRO_LANES] = first;
        p->last[i / MRO_LANES] = last;
    }
    p->norm = 4 * (double)sum_of(norm);
}

/* Sums along columns with another fringe. */
static void sum_columns(struct patch *p)
{
    const float *re = p->down.re + p->y0, *im = p->down.im + p->y0;
    const int wide = p->wide;
    for (int i = 0; i < wide; i += MRO_LANES) {
        const int last = p->last[i / MRO_LANES];
        int j = p->first[i / MRO_LANES];
        const float *v = p->v + j * wide + i;
        mro_lanes sum_re = { 0 }, sum_im = { 0 }, next_re = { 0 }, next_im = { 0 }; /* of every other row */
        for (; j < last; j += 2, v += 2 * wide) {
            const mro_lanes a = *(const loose *)v, b = *(const loose *)(v + wide);
            sum_re += a * re[j];
            sum_im += a * im[j];
            next_re += b * re[j + 1];
            next_im += b * im[j + 1];
        }
        if (j == last) {
            const mro_lanes a = *(const loose *)v;
            sum_re += a * re[j];
            sum_im += a * im[j];
        }
        *(loose *)(p->column_re + i) = sum_re + next_re;
        *(loose *)(p->column_im + i) = sum_im + next_im;
    }
}

/* Power of the sums along columns with the fringe of p->across. */
static double power_of_sums(const struct patch *p)
{
    const float *re = p->across.re + p->x0, *im = p->across.im + p->x0;
    mro_lanes all_re = { 0 }, all_im = { 0 };
    for (int i = 0; i < p->wide; i += MRO_LANES) {
        const mro_lanes a = *(const loose *)(p->column_re + i), b = *(const loose *)(p->column_im + i);
        const mro_lanes c = *(const loose *)(re + i), d = *(const loose *)(im + i);
        all_re += a * c - b * d;
        all_im += a * d + b * c;
    }
    const double sum_re = (double)sum_of(all_re), sum_im = (double)sum_of(all_im);
    return sum_re * sum_re + sum_im * sum_im;
}

/* Power of the field matched by a sphere of size k at (y, x) with wave vector (gy, gx), in units of noise. The patch
 * stays for the next call, which often differs by one number: climbs along gy and gx, and searches for second
 * reflections, weigh the field with the same sphere, and along gx the sums over columns stay. */
static double matched_power(const struct search *c, int k, double y, double x, double gy, double gx, struct patch *p)
{
    const bool moved = p->size != k || p->y != y || p->x != x;
    if (moved) place_sphere(c, k, y, x, p);
    fill_axis(&p->down, p->y0, p->rows, c->py, gy);
    fill_axis(&p->across, p->x0, p->wide, c->px, gx);
    if (moved)
        weigh(c, p);
    else if (gy != p->gy_summed)
        sum_columns(p);
    p->gy_summed = gy;
    return p->norm > 0 ? power_of_sums(p) / (p->norm * mro_patch_energy(c->s, k, gy, gx)) : 0;
}

enum mro_code mro_cpu_refine_patches(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                     const struct mro_patch_search *s, struct mro_patch *patches, size_t n,
                                     struct mro_error *e)
{
    struct search c = { .g = g, .field = field->p, .s = s, .py = g->ly / (double)g->ny, .px = g->lx / (double)g->nx };
    c.per_y = 1 / c.py;
    c.per_x = 1 / c.px;
    for (int k = 0; k < MRO_PATCH_SIZES; k++) {
        if (s->diameter_nm[k] / fmin(c.py, c.px) + 2 > MAX_SPAN)
            return MRO_FAIL(e, MRO_EINTERNAL, "a patch of %g nm spans too many samples of %g nm", s->diameter_nm[k],
                            fmin(c.py, c.px));
        c.rows = (int)fmax(c.rows, ceil(s->diameter_nm[k] / c.py) + 1 + 2 * RESERVE);
        c.columns = (int)fmax(c.columns, ceil(s->diameter_nm[k] / c.px) + 1 + 2 * RESERVE);
    }
    bool failed = false;
#pragma omp parallel num_threads(d->threads)
    {
        struct patch *p = malloc(sizeof *p);
        if (p == NULL) mro_raise(&failed);
#pragma omp for schedule(dynamic, 4)
        for (size_t i = 0; i < n; i++) {
            struct mro_patch_walk w;
            if (p == NULL) continue;
            p->size = -1; /* what one patch leaves is not seen by the next: one result at any number of threads */
            p->down.g = p->across.g = p->gy_summed = NAN;
            mro_walk_start(&w, patches + i);
            while (w.state != MRO_WALK_DONE) mro_walk_step(&w, s, matched_power(&c, w.size, w.y, w.x, w.gy, w.gx, p));
            patches[i] = w.patch;
        }
        free(p);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu patches", n) : MRO_OK;
}

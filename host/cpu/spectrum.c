/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Local power of a spectrum. */
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/team.h"
#include "cpu/cpu.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/lattice.h"

#define SPREAD 2.1 /* the median of n numbers is looked for within SPREAD / sqrt(n) of what neighbours let expect */

/* Powers of the rows and columns that discs of the upper half plane reach, by signed frequency. Where discs take every
 * second number of a row, the even ones lie first, then the odd ones: what a disc has of a row is one run. */
struct powers {
    ptrdiff_t y0, y1, most; /* rows y0..y1, columns -most..most */
    ptrdiff_t stride;       /* of the discs */
    size_t pitch, half;     /* floats of a row and, with a stride of 2, of its even numbers */
    float *v;
};

enum { LANES = 16, FEW = 32 }; /* numbers that are looked at together; that are ranked one by one */

static bool powers_new(struct powers *p, const struct mro_lattice *l)
{
    const struct mro_disc disc = mro_lattice_disc(l, 0, 0);
    const ptrdiff_t outer = (ptrdiff_t)ceil(l->outer * l->ly + disc.ry);
    p->y0 = disc.y0 - 1;
    p->y1 = outer < (ptrdiff_t)(l->ny / 2) ? outer : (ptrdiff_t)(l->ny / 2);
    p->most = (ptrdiff_t)fmin(ceil(l->outer * l->lx + disc.rx), (double)((l->nx - 1) / 2));
    p->stride = disc.stride;
    p->half = (size_t)p->most + 2;
    p->pitch = 2 * p->half;
    p->v = malloc(((size_t)(p->y1 - p->y0 + 1) * p->pitch) * sizeof *p->v);
    return p->v != NULL;
}

/* Where column x of row y lies. */
static float *power_at(const struct powers *p, ptrdiff_t y, ptrdiff_t x)
{
    float *row = p->v + (size_t)(y - p->y0) * p->pitch;
    const size_t i = (size_t)(x + p->most);
    return p->stride == 1 ? row + i : row + (i & 1) * p->half + i / 2;
}

/* Columns from..to of row y, of the spectrum over the model where there is one; both have one sign. `line`: room for a
 * row. */
static void fill_columns(struct powers *p, const struct mro_lattice *l, const mro_c32 *s, const float *model,
                         ptrdiff_t y, ptrdiff_t from, ptrdiff_t to, float *line)
{
    if (from > to) return;
    const size_t at = mro_cyclic(y, l->ny) * l->nx + mro_cyclic(from, l->nx), first = (size_t)(from + p->most);
    const size_t n = (size_t)(to - from + 1);
    const mro_c32 *z = s + at;
    const float *over = model ? model + at : NULL;
    float *v = line + first;
    if (over)
#pragma omp simd
        for (size_t i = 0; i < n; i++) v[i] = (z[i].re * z[i].re + z[i].im * z[i].im) / over[i];
    else
#pragma omp simd
        for (size_t i = 0; i < n; i++) v[i] = z[i].re * z[i].re + z[i].im * z[i].im;
    float *even = power_at(p, y, -p->most), *odd = even + p->half;
    if (p->stride == 1) {
        memcpy(even + first, v, n * sizeof *even);
        return;
    }
#pragma omp simd
    for (size_t i = first / 2; i <= (first + n - 1) / 2; i++) {
        even[i] = line[2 * i];
        odd[i] = line[2 * i + 1];
    }
}

/* What the discs take of row y. */
static void fill_powers(struct powers *p, const struct mro_lattice *l, const mro_c32 *s, const float *model,
                        ptrdiff_t y, float *line)
{
    const double reach = l->radius + 1 / fmin(l->ly, l->lx), qy = (double)y / l->ly; /* of a disc, and rounding */
    const double outer = l->outer + reach, inner = fmax(l->inner - reach, 0);
    const double to = sqrt(fmax(outer * outer - qy * qy, 0)) * l->lx,
                 from = sqrt(fmax(inner * inner - qy * qy, 0)) * l->lx;
    const ptrdiff_t last = (ptrdiff_t)fmin(to, (double)p->most), first = (ptrdiff_t)from;
    fill_columns(p, l, s, model, y, first, last, line);
    fill_columns(p, l, s, model, y, -last, first ? -first : -1, line);
}

/* Where the numbers of a disc lie: a run in each of its rows of powers. */
struct runs {
    int rows, room;     /* room: rows, and such without numbers that fill up the last vector */
    double *half_width; /* of the rows, the same for all discs along a row of the lattice */
    int *longest;       /* no disc of them has more numbers of this row */
    int widest;         /* of these */
    int *at, *count;    /* where the run begins, and how long it is */
};

static int32_t bits_of(float v)
{
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* Of the numbers of runs, the first of which is in `row`, what those >= least and < beyond exceed `least` by, all of it
 * in the bits of numbers >= 0, which have their order: to `kept`; how many they are. `below`: how many are smaller.
 * `kept` has room for all numbers and LANES more. */
static size_t keep_between(const float *row, size_t pitch, const struct runs *d, int32_t least, int32_t beyond,
                           int32_t *kept, size_t *below)
{
    size_t n = 0, smaller = 0;
#ifdef __AVX512F__
    const __m512i lower = _mm512_set1_epi32(least), width = _mm512_set1_epi32(beyond - least);
    __m512i count = _mm512_setzero_si512();
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int first = 0, last = d->rows - 1; /* the rows that may have more */
    for (int i = 0; first <= last; i += LANES, place = _mm512_add_epi32(place, _mm512_set1_epi32(LANES))) {
        const float *at = row + (size_t)first * pitch + i;
        for (int r = first; r <= last; r++, at += pitch) {
            const __mmask16 there = _mm512_cmplt_epi32_mask(place, _mm512_set1_epi32(d->count[r]));
            const __m512i over = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(there, at + d->at[r]), lower);
            const __mmask16 in = _mm512_mask_cmplt_epu32_mask(there, over, width);
            count = _mm512_mask_sub_epi32(count, there, count, _mm512_srai_epi32(over, 31));
            _mm512_storeu_si512(kept + n, _mm512_maskz_compress_epi32(in, over));
            n += (size_t)__builtin_popcount(in);
        }
        if (d->widest <= i + LANES) break;
        while (first <= last && d->longest[first] <= i + LANES) first++;
        while (first <= last && d->longest[last] <= i + LANES) last--;
    }
    smaller = (size_t)_mm512_reduce_add_epi32(count);
#else
    for (int r = 0; r < d->rows; r++, row += pitch)
        for (int i = 0; i < d->count[r]; i++) {
            int32_t bits;
            memcpy(&bits, row + d->at[r] + i, sizeof bits);
            const int32_t over = (int32_t)((uint32_t)bits - (uint32_t)least);
            kept[n] = over; /* stays where it is between */
            n += (uint32_t)over < (uint32_t)(beyond - least);
            smaller += bits < least;
        }
#endif
    *below = smaller;
    return n;
}

/* The k-th smallest (from 0) of n numbers below `beyond`, after which there is room for as many and 2 LANES more. Of
 * many, those within two standard deviations of where it would be if they were spread evenly are picked out first. */
static int32_t select_kept(int32_t *v, size_t n, size_t k, int32_t beyond)
{
    if (n > FEW) {
        const float reach = sqrtf((float)n) + 1, per = (float)beyond / (float)n, at = (float)k + 0.5f;
        const float from = per * (at - reach), to = per * (at + reach);
        const int32_t least = from > 0 ? (int32_t)from : 0, most = to < (float)beyond ? (int32_t)to : beyond;
        int here = 0, count = (int)n;
        const struct runs all = { .rows = 1, .longest = &count, .widest = count, .at = &here, .count = &count };
        int32_t *near = v + n + LANES;
        size_t below, kept = keep_between((const float *)(const void *)v, 0, &all, least, most, near, &below);
        if (below <= k && k < below + kept && kept <= FEW) return least + mro_select_ranked(near, kept, k - below);
        return mro_select_bounded(v, n, k);
    }
    return mro_select_ranked(v, n, k);
}

/* The median over the disc of `d`. `guess`: what it is expected to be, or 0; the numbers within `spread` times that of
 * it are picked out, which the median is nearly always one of. `scratch` has room for twice the numbers of a disc and
 * 3 LANES more. */
static float disc_median(const struct powers *p, const struct mro_disc *disc, struct runs *d, float guess, float spread,
                         int32_t *scratch)
{
    const int y0 = (int)disc->y0, most = (int)p->most, half = (int)p->half, split = p->stride == 2;
    int all = 0;
    for (int first = 0; first < d->room; first += LANES)
#pragma omp simd reduction(+ : all)
        for (int r = first; r < first + LANES; r++) {
            int count;
            const int x = mro_disc_run(disc, y0 + r, d->half_width[r], &count) + most;
            d->at[r] = (x & split) * half + (x >> split);
            d->count[r] = count;
            all += count;
        }
    if (all == 0) return 0;
    const size_t middle = (size_t)all / 2;
    const float *row = p->v + (size_t)(y0 - p->y0) * p->pitch;
    const float width = guess * spread, lower = guess > width ? guess - width : 0;
    const int32_t limit = INT32_MAX;
    int32_t least = bits_of(lower), beyond = guess > 0 ? bits_of(guess + width) : limit, more = beyond - least;
    size_t below, n = keep_between(row, p->pitch, d, least, beyond, scratch, &below);
    while ((below > middle && least > 0) || (below + n <= middle && beyond < limit)) {
        if (below > middle) { /* beside, and then all that is left */
            beyond = least;
            least = least > more ? least - more : 0;
        } else {
            least = beyond;
            beyond = limit - beyond > more ? beyond + more : limit;
        }
        more = limit;
        n = keep_between(row, p->pitch, d, least, beyond, scratch, &below);
    }
    if (below > middle || below + n <= middle) return NAN; /* not all are numbers */
    const int32_t bits = least + select_kept(scratch, n, middle - below, beyond - least);
    float median;
    memcpy(&median, &bits, sizeof median);
    return median;
}

/* What neighbours let expect of the median of lattice point (j, i): the plane through them that scatters least. Those
 * of the row before are looked at where that is known. 0: nothing to go by. */
static float expected_median(const struct mro_lattice *l, const float *v, ptrdiff_t j, ptrdiff_t i, bool row_before)
{
    const float *here = v + mro_lattice_index(l, j, i), *up = here - (2 * l->half + 1);
    const float left = i > -l->half ? here[-1] : -1;
    if (row_before && i > -l->half && i < l->half) {
        if (left > 0 && up[-1] > 0 && up[0] > 0 && up[1] > 0) {
            const float plane = left + 0.4f * up[0] - 0.7f * up[-1] + 0.3f * up[1];
            return plane > 0 ? plane : left;
        }
        if (left <= 0 && up[0] > 0) return up[0];
    }
    return left > 0 ? left : 0;
}

/* Medians of all wanted points, others -1. false: out of memory. */
static bool lattice_medians(const struct mro_lattice *l, const mro_c32 *s, const float *model, float *v, int threads)
{
    const struct mro_disc disc = mro_lattice_disc(l, 0, 0);
    const size_t rows = (2 * (size_t)disc.ry + 3 + LANES - 1) / LANES * LANES, most = rows * (2 * (size_t)disc.rx + 3);
    const float spread = (float)(SPREAD / sqrt(MRO_PI * disc.ry * disc.rx / (double)disc.stride));
    const ptrdiff_t together = l->half / (4 * threads) + 1; /* rows of the lattice, each of use to the next */
    struct powers p;
    bool failed = !powers_new(&p, l);
    for (size_t i = 0; i < mro_lattice_points(l); i++) v[i] = -1;
#pragma omp parallel num_threads(threads) if (!failed)
    {
        float *line = failed ? NULL : calloc(p.pitch, sizeof *line);
        int32_t *scratch = malloc((2 * most + 3 * LANES) * sizeof *scratch);
        double *half_width = malloc(rows * sizeof *half_width);
        int *ends = malloc(3 * rows * sizeof *ends);
        const bool ready = line && scratch && half_width && ends;
        struct runs runs = { .half_width = half_width, .longest = ends, .at = ends + rows, .count = ends + 2 * rows };
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (ptrdiff_t y = p.y0; y <= p.y1; y++)
            if (ready) fill_powers(&p, l, s, model, y, line);
#pragma omp for schedule(dynamic)
        for (ptrdiff_t top = 0; top <= l->half; top += together)
            for (ptrdiff_t j = top; ready && j < top + together && j <= l->half; j++) {
                /* |F| is even: one median serves both halves. */
                struct mro_disc at = mro_lattice_disc(l, j, 0);
                runs.rows = (int)(at.y1 - at.y0 + 1);
                runs.room = (runs.rows + LANES - 1) / LANES * LANES;
                runs.widest = 0;
                for (int r = 0; r < runs.room; r++) {
                    half_width[r] = r < runs.rows ? mro_disc_half_width(&at, (int)at.y0 + r) : -1;
                    /* One more than fit: where a disc ends is rounded with its centre. */
                    runs.longest[r] = (int)(2 * half_width[r] / (double)p.stride) + 2;
                    runs.widest = runs.longest[r] > runs.widest ? runs.longest[r] : runs.widest;
                }
                for (ptrdiff_t i = j ? -l->half : 0; i <= l->half; i++) {
                    if (!mro_lattice_wanted(l, j, i)) continue;
                    const float guess = expected_median(l, v, j, i, j > top) * (float)M_LN2;
                    at.cx = (double)i * l->step * l->lx;
                    const float median = disc_median(&p, &at, &runs, guess, spread, scratch);
                    v[mro_lattice_index(l, j, i)] = v[mro_lattice_index(l, -j, -i)] = median / (float)M_LN2;
                }
            }
        free(line);
        free(scratch);
        free(half_width);
        free(ends);
    }
    free(p.v);
    return !failed;
}

enum { BESIDE = 16 };

/* Sums of BESIDE columns of `n` rows, `pitch` apart, each times its part of the bell: of values and of weights. */
static inline void bell_sums(const double *values, const double *weights, size_t pitch, int n, const double *bell,
                             double *value, double *weight)
{
    double v[BESIDE] = { 0 }, w[BESIDE] = { 0 };
    for (int b = 0; b < n; b++, values += pitch, weights += pitch)
#pragma omp simd
        for (int i = 0; i < BESIDE; i++) {
            v[i] += bell[b] * values[i];
            w[i] += bell[b] * weights[i];
        }
    memcpy(value, v, sizeof v);
    memcpy(weight, w, sizeof w);
}

/* Whether any of BESIDE points of the lattice from column x on, in rows from..to, is near enough to the band for
 * mro_lattice_smoothed to smooth there; true for some that are not. */
static bool near_band(const struct mro_lattice *l, int from, int to, int x)
{
    const int end = x + BESIDE - 1, near = x > 0 ? x : end < 0 ? -end : 0, far = end > -x ? end : -x;
    const double inner = l->lo - l->step, outer = l->hi + l->step;
    return (from * from + near * near) * l->step * l->step <= outer * outer &&
           (to * to + far * far) * l->step * l->step >= inner * inner;
}

/* Normalised smoothing, as mro_lattice_smoothed does it at one point: sums along one axis, then along the other. What
 * is smoothed is even. false: out of memory. */
static bool lattice_smooth(const struct mro_lattice *l, const float *v, float *smooth)
{
    const int half = (int)l->half, reach = (int)l->reach, wide = 2 * half + 1, rows = half + 1 + reach;
    const size_t pitch = (size_t)(wide + BESIDE - 1) / BESIDE * BESIDE, padded = pitch + 2 * (size_t)reach;
    double bell[2 * MRO_LATTICE_REACH + 1];
    for (int i = -reach; i <= reach; i++) bell[i + reach] = exp(-0.5 * (double)(i * i) / (l->sigma * l->sigma));
    double *sums = malloc((2 * (size_t)rows * pitch + 2 * padded) * sizeof *sums);
    if (sums == NULL) return false;
    double *weights = sums + (size_t)rows * pitch, *value = weights + (size_t)rows * pitch, *there = value + padded;
    memset(value, 0, 2 * padded * sizeof *value);
    for (int r = 0; r < rows; r++) { /* those that reach the upper half plane */
        const int row = abs(r - reach), least = row > reach ? row - reach : 0;
        const float *from = v + mro_lattice_index(l, r - reach, -half);
#pragma omp simd
        for (int i = 0; i < wide; i++) {
            there[i + reach] = from[i] >= 0;
            value[i + reach] = from[i] >= 0 ? (double)from[i] : 0;
        }
        for (int i = 0; i < wide; i += BESIDE) {
            const size_t at = (size_t)r * pitch + (size_t)i;
            if (near_band(l, least, row + reach, i - half))
                bell_sums(value + i, there + i, 1, 2 * reach + 1, bell, sums + at, weights + at);
        }
    }
    const double least = (l->lo - l->step) * (l->lo - l->step), most = (l->hi + l->step) * (l->hi + l->step);
    for (int j = 0; j <= half; j++) {
        float *to = smooth + mro_lattice_index(l, j, -half), *mirror = smooth + mro_lattice_index(l, -j, half);
        const int last = j + reach < half ? j + reach : half;
        for (int i = 0; i < wide; i += BESIDE) {
            const size_t at = (size_t)j * pitch + (size_t)i, n = (size_t)(wide - i < BESIDE ? wide - i : BESIDE);
            double sum[BESIDE], weight[BESIDE];
            float out[BESIDE] = { 0 };
            if (near_band(l, j, j, i - half)) {
                bell_sums(sums + at, weights + at, pitch, last - j + reach + 1, bell, sum, weight);
#pragma omp simd
                for (int k = 0; k < BESIDE; k++) {
                    const double x = i + k - half, q2 = (j * j + x * x) * l->step * l->step;
                    out[k] = q2 < least || q2 > most || !(weight[k] > 0) ? 0 : (float)(sum[k] / weight[k]);
                }
            }
            memcpy(to + i, out, n * sizeof *out);
        }
        for (int i = j ? 0 : half + 1; i < wide; i++) mirror[-i] = to[i];
    }
    free(sums);
    return true;
}

/* Where the columns of the plane lie between those of the lattice: from 0 on, and from 0 down. */
struct columns {
    int *at[2];
    float *after[2]; /* of the way to the next */
};

static bool columns_new(struct columns *c, const struct mro_lattice *l)
{
    const size_t n = l->nx / 2 + 1;
    const double per = 1 / (l->lx * l->step), half = (double)l->half;
    c->at[0] = malloc(2 * n * sizeof *c->at[0]);
    c->after[0] = malloc(2 * n * sizeof *c->after[0]);
    if (!c->at[0] || !c->after[0]) return false;
    for (int side = 0; side < 2; side++) {
        int *at = c->at[side] = c->at[0] + (side ? n : 0);
        float *after = c->after[side] = c->after[0] + (side ? n : 0);
        for (size_t x = 0; x < n; x++) {
            const double a = (double)x * per, where = half + (side ? -a : a);
            at[x] = (int)where;
            after[x] = (float)(where - at[x]);
        }
    }
    return true;
}

static void columns_free(struct columns *c)
{
    free(c->at[0]);
    free(c->after[0]);
}

/* Row y of the plane and its mirror image, interpolated: first between rows of the lattice, in `line`, then along it,
 * in `v`. */
static void power_rows(const struct mro_lattice *l, const struct columns *c, const float *smooth, size_t y, float *line,
                       float *v, float *out)
{
    const double qy = mro_frequency(y, l->ny, l->ly), left = l->hi * l->hi - qy * qy;
    const double b = qy / l->step, per = 1 / (l->lx * l->step), inner = fmax(l->lo, 0) / l->step, rounding = 1e-9;
    const size_t nx = l->nx, mirror = y ? l->ny - y : 0;
    float *row = out + y * nx, *other = out + mirror * nx;
    int first = 0, last = -1; /* columns within the band; both limits are within */
    if (left >= -rounding) {
        last = (int)fmin(sqrt(fmax(left, 0)) * l->lx + rounding, (double)(nx / 2));
        while (first <= last && (first * per) * (first * per) + b * b < inner * inner - rounding) first++;
        const ptrdiff_t j = (ptrdiff_t)floor(b);
        const float wy = (float)(b - (double)j);
        const float *here = smooth + mro_lattice_index(l, j, -l->half),
                    *next = smooth + mro_lattice_index(l, j + 1, -l->half);
#pragma omp simd
        for (ptrdiff_t i = 0; i <= 2 * l->half; i++) line[i] = (1 - wy) * here[i] + wy * next[i];
    }
    memset(row, 0, nx * sizeof *row);
    memset(other, 0, nx * sizeof *other);
    for (int side = 0; side < 2; side++) { /* columns from 0 on, and those below */
        const int from = side && !first ? 1 : first, to = side ? (int)fmin(last, (double)((nx - 1) / 2)) : last;
        const int *at = c->at[side];
        const float *after = c->after[side];
        float *up = side ? other : row, *down = (side ? row : other) + nx;
#pragma omp simd
        for (int x = from; x <= to; x++) {
            const int i = at[x];
            const float w = after[x];
            v[x] = w * line[i + 1] + (1 - w) * line[i];
        }
        if (from > to) continue;
        if (side == 0 || other != row) memcpy(up + from, v + from, (size_t)(to - from + 1) * sizeof *v);
        if (side == 1 || other != row)
#pragma omp simd
            for (int x = from ? from : 1; x <= to; x++) down[-x] = v[x];
        if (from == 0) other[0] = v[0];
    }
}

enum mro_code mro_cpu_local_power(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                  const float *model, double radius_inv_nm, double lo, double hi,
                                  struct mro_buffer *power, struct mro_error *e)
{
    float *out = power->p;
    const struct mro_lattice l = mro_lattice_of(g->ny, g->nx, g->ly, g->lx, radius_inv_nm, lo, hi);
    const size_t nl = mro_lattice_points(&l);
    float *v = malloc(nl * sizeof *v), *smooth = malloc(nl * sizeof *smooth);
    struct columns columns = { 0 };
    enum mro_code rc = MRO_OK;
    bool failed = false;
    if (!v || !smooth || !lattice_medians(&l, spectrum->p, model, v, d->threads)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a spectrum of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    if (!lattice_smooth(&l, v, smooth) || !columns_new(&columns, &l)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
#pragma omp parallel num_threads(mro_team(d->threads, 0.5 * (double)(g->ny * g->nx)))
    {
        float *line = malloc(((size_t)(2 * l.half + 1) + g->nx / 2 + 1) * sizeof *line);
        if (line == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t y = 0; y <= g->ny / 2; y++) {
            const size_t mirror = y ? g->ny - y : 0;
            if (line == NULL) continue;
            float *row = out + y * g->nx, *other = out + mirror * g->nx;
            power_rows(&l, &columns, smooth, y, line, line + 2 * l.half + 1, out);
            for (size_t x = 0; model && x < g->nx; x++) row[x] *= model[y * g->nx + x];
            for (size_t x = 0; model && mirror != y && x < g->nx; x++) other[x] *= model[mirror * g->nx + x];
        }
        free(line);
    }
    if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
done:
    columns_free(&columns);
    free(v);
    free(smooth);
    return rc;
}

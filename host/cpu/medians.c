/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Medians of the powers of a spectrum, over discs on a lattice. */
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/team.h"
#include "cpu/cpu.h"
#include "cpu/lines.h"
#include "mroscope/math/elementary.h"
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
    p->v = malloc(((size_t)(p->y1 - p->y0 + 1) * p->pitch + LANES) * sizeof *p->v); /* runs are read in whole LANES */
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

/* Discs of up to LANES rows of up to LANES numbers are looked at side by side, step by step, so that none waits for
 * another. How many numbers of each lie below what is expected tells better what to expect; how many lie below that, up
 * to where the median must be. What lies between, NEAR numbers at most, is sorted by a network in all discs at once. */
enum { GROUP = LANES, NEAR = LANES, DISC = LANES * LANES + 2 * LANES };
#define MARGIN 6 /* numbers that are expected beyond the median, of those between */
typedef int32_t several __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
struct group {
    int n;                        /* discs */
    int32_t numbers[GROUP][DISC]; /* of each disc, as bits; INT32_MAX fill up the last LANES */
    int32_t near[GROUP * NEAR + DISC], sorted[NEAR][GROUP];
    int all[GROUP];         /* numbers of each disc */
    double cx[GROUP];       /* its centre */
    float guess[GROUP];     /* of its median */
    size_t place[GROUP][2]; /* in the lattice, and of the opposite frequency */
};

/* Copies the numbers of each disc so that they lie in a row. */
static void gather(const struct powers *p, const struct mro_disc *disc, const double *half_width, int rows,
                   struct group *g)
{
    const int y0 = (int)disc->y0;
    const float *first = p->v + (size_t)(y0 - p->y0) * p->pitch + p->most;
    int at[GROUP][LANES], count[GROUP][LANES];
    struct mro_disc one = *disc;
    for (int b = 0; b < g->n; b++) {
        one.cx = g->cx[b];
#pragma omp simd
        for (int r = 0; r < LANES; r++) at[b][r] = mro_disc_run(&one, y0 + r, half_width[r], &count[b][r]);
    }
    for (int b = 0; b < g->n; b++) {
        const float *row = first;
        int32_t *to = g->numbers[b];
        for (int r = 0; r < rows; r++, row += p->pitch) {
            *(several *)to = *(const several *)(const void *)(row + at[b][r]);
            to += count[b][r];
        }
        *(several *)to = (several){ 0 } + INT32_MAX;
        g->all[b] = (int)(to - g->numbers[b]);
    }
}

/* How many of n numbers of a disc are below a bound. */
static int count_below(const int32_t *v, int n, int32_t bound)
{
    int below = 0;
#ifdef __AVX512F__
    for (int i = 0; i < n; i += LANES)
        below += __builtin_popcount(_mm512_cmplt_epi32_mask(_mm512_loadu_si512(v + i), _mm512_set1_epi32(bound)));
#else
    for (int i = 0; i < n; i += LANES)
#pragma omp simd reduction(+ : below)
        for (int k = 0; k < LANES; k++) below += v[i + k] < bound;
#endif
    return below;
}

/* What those of n numbers of a disc that are >= least and < beyond exceed `least` by, to `kept`, which has room for all
 * and LANES more; how many they are. */
static int keep_some(const int32_t *v, int n, int32_t least, int32_t beyond, int32_t *kept)
{
    int found = 0;
#ifdef __AVX512F__
    const __m512i lower = _mm512_set1_epi32(least), width = _mm512_set1_epi32(beyond - least);
    for (int i = 0; i < n; i += LANES) {
        const __m512i over = _mm512_sub_epi32(_mm512_loadu_si512(v + i), lower);
        const __mmask16 in = _mm512_cmplt_epu32_mask(over, width);
        _mm512_storeu_si512(kept + found, _mm512_maskz_compress_epi32(in, over));
        found += __builtin_popcount(in);
    }
#else
    for (int i = 0; i < n; i++) {
        kept[found] = (int32_t)((uint32_t)v[i] - (uint32_t)least);
        found += (uint32_t)kept[found] < (uint32_t)(beyond - least);
    }
#endif
    return found;
}

/* Sorts NEAR numbers of each disc, by Green's network (Knuth, The Art of Computer Programming 3, 5.3.4). */
static void sort_side_by_side(int32_t v[NEAR][GROUP])
{
    static const unsigned char pairs[][2] = {
        { 0, 1 },  { 2, 3 },   { 4, 5 },   { 6, 7 },   { 8, 9 },  { 10, 11 }, { 12, 13 }, { 14, 15 }, { 0, 2 },
        { 4, 6 },  { 8, 10 },  { 12, 14 }, { 1, 3 },   { 5, 7 },  { 9, 11 },  { 13, 15 }, { 0, 4 },   { 8, 12 },
        { 1, 5 },  { 9, 13 },  { 2, 6 },   { 10, 14 }, { 3, 7 },  { 11, 15 }, { 0, 8 },   { 1, 9 },   { 2, 10 },
        { 3, 11 }, { 4, 12 },  { 5, 13 },  { 6, 14 },  { 7, 15 }, { 5, 10 },  { 6, 9 },   { 3, 12 },  { 13, 14 },
        { 7, 11 }, { 1, 2 },   { 4, 8 },   { 1, 4 },   { 7, 13 }, { 2, 8 },   { 11, 14 }, { 2, 4 },   { 5, 6 },
        { 9, 10 }, { 11, 13 }, { 3, 8 },   { 7, 12 },  { 6, 8 },  { 10, 12 }, { 3, 5 },   { 7, 9 },   { 3, 4 },
        { 5, 6 },  { 7, 8 },   { 9, 10 },  { 11, 12 }, { 6, 7 },  { 8, 9 },
    };
#ifdef __AVX512F__ /* all of them stay in registers */
    __m512i all[NEAR];
#pragma GCC unroll 16
    for (int k = 0; k < NEAR; k++) all[k] = _mm512_loadu_si512(v[k]);
#pragma GCC unroll 64
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        const __m512i a = all[pairs[k][0]], b = all[pairs[k][1]];
        all[pairs[k][0]] = _mm512_min_epi32(a, b);
        all[pairs[k][1]] = _mm512_max_epi32(a, b);
    }
#pragma GCC unroll 16
    for (int k = 0; k < NEAR; k++) _mm512_storeu_si512(v[k], all[k]);
#else
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        int32_t *a = v[pairs[k][0]], *b = v[pairs[k][1]];
#pragma omp simd
        for (int i = 0; i < GROUP; i++) {
            const int32_t x = a[i], y = b[i];
            a[i] = x < y ? x : y;
            b[i] = x < y ? y : x;
        }
    }
#endif
}

/* The median of all numbers of a disc, with nothing to go by. */
static int32_t any_median(const int32_t *v, int n)
{
    if (n == 0) return 0;
    if (count_below(v, n, 0) > n / 2) return bits_of(NAN); /* what is no number may have a sign */
    return mro_select_bounded(v, (size_t)n, (size_t)n / 2);
}

/* Medians of the discs of a group, to the lattice. */
static void group_medians(struct group *g, float *v)
{
    int below[GROUP] = { 0 }, rank[GROUP] = { 0 };
    int32_t median[GROUP];
    float from[GROUP], to[GROUP];
    for (int b = 0; b < g->n; b++) below[b] = count_below(g->numbers[b], g->all[b], bits_of(g->guess[b]));
#pragma omp simd
    for (int b = 0; b < GROUP; b++) { /* power is distributed exponentially */
        const float share = ((float)below[b] + 0.5f) / ((float)g->all[b] + 1);
        g->guess[b] *= (float)M_LN2 / -mro_ln(1 - share);
    }
    for (int b = 0; b < g->n; b++) below[b] = count_below(g->numbers[b], g->all[b], bits_of(g->guess[b]));
#pragma omp simd
    for (int b = 0; b < GROUP; b++) {
        const int up = g->all[b] / 2 - below[b], away = (up < 0 ? -up : up) + MARGIN;
        const float wide = (float)away * (float)(2 / M_LN2) / (float)g->all[b], less = wide < 1 ? 1 - wide : 0;
        from[b] = up < 0 ? g->guess[b] * less : g->guess[b];
        to[b] = up < 0 ? g->guess[b] : g->guess[b] * (1 + wide);
    }
    for (int b = 0; b < g->n; b++) {
        int32_t *near = g->near + b * NEAR;
        const int32_t least = bits_of(from[b]);
        const int kept = keep_some(g->numbers[b], g->all[b], least, bits_of(to[b]), near);
        const int up = g->all[b] / 2 - below[b], at = up < 0 ? kept + up : up;
        const bool between = at >= 0 && at < kept;
        rank[b] = between && kept <= NEAR ? at : -1;
        if (rank[b] >= 0)
            median[b] = least;
        else
            median[b] = between ? least + mro_select_ranked(near, (size_t)kept, (size_t)at)
                                : any_median(g->numbers[b], g->all[b]);
        *(several *)(near + kept) = (several){ 0 } + INT32_MAX;
    }
    for (int b = 0; b < GROUP; b += MRO_LANES)
        for (int k = 0; k < NEAR; k += MRO_LANES)
            mro_lines_turn((float *)(void *)(g->near + b * NEAR + k), NEAR, (float *)(void *)(g->sorted[k] + b), GROUP);
    sort_side_by_side(g->sorted);
    for (int b = 0; b < g->n; b++) {
        float power;
        if (rank[b] >= 0) median[b] += g->sorted[rank[b]][b];
        memcpy(&power, median + b, sizeof power);
        v[g->place[b][0]] = v[g->place[b][1]] = power / (float)M_LN2;
    }
    g->n = 0;
}

/* Medians of row j of the lattice, of discs like `disc` and `d` has them. What is expected of one is that of the row
 * before, where it is known, or what was expected last. */
static void small_discs(const struct powers *p, const struct mro_lattice *l, const struct mro_disc *disc,
                        const struct runs *d, ptrdiff_t j, bool row_before, struct group *g, float *v)
{
    float guess = 0;
    for (ptrdiff_t i = j ? -l->half : 0; i <= l->half; i++) {
        if (mro_lattice_wanted(l, j, i)) {
            const int b = g->n++;
            const size_t here = mro_lattice_index(l, j, i), up = here - (size_t)(2 * l->half + 1);
            const float near = row_before ? v[up] : b ? 0 : v[here - 1];
            if (near > 0) guess = near * (float)M_LN2;
            g->guess[b] = guess;
            g->cx[b] = (double)i * l->step * l->lx;
            g->place[b][0] = here;
            g->place[b][1] = mro_lattice_index(l, -j, -i);
        }
        if (g->n == GROUP || i == l->half) {
            gather(p, disc, d->half_width, d->rows, g);
            group_medians(g, v);
        }
    }
}

bool mro_cpu_lattice_medians(const struct mro_lattice *l, const mro_c32 *s, const float *model, float *v, int threads)
{
    const struct mro_disc disc = mro_lattice_disc(l, 0, 0);
    const size_t rows = (2 * (size_t)disc.ry + 3 + LANES - 1) / LANES * LANES, most = rows * (2 * (size_t)disc.rx + 3);
    const float spread = (float)(SPREAD / sqrt(MRO_PI * disc.ry * disc.rx / (double)disc.stride));
    const ptrdiff_t together = l->half / (4 * threads) + 1; /* rows of the lattice, each of use to the next */
    struct powers p;
    const bool room = powers_new(&p, l);
    bool failed = !room;
    for (size_t i = 0; i < mro_lattice_points(l); i++) v[i] = -1;
#pragma omp parallel num_threads(threads) if (room)
    {
        float *line = room ? calloc(p.pitch, sizeof *line) : NULL;
        int32_t *scratch = malloc((2 * most + 3 * LANES) * sizeof *scratch);
        double *half_width = malloc(rows * sizeof *half_width);
        int *ends = malloc(3 * rows * sizeof *ends);
        struct group *group = calloc(1, sizeof *group);
        const bool ready = line && scratch && half_width && ends && group;
        struct runs runs = { .half_width = half_width, .longest = ends, .at = ends + rows, .count = ends + 2 * rows };
        if (!ready) mro_raise(&failed);
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
                if (runs.room == LANES && runs.widest <= LANES) {
                    small_discs(&p, l, &at, &runs, j, j > top, group, v);
                    continue;
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
        free(group);
    }
    free(p.v);
    return !failed;
}

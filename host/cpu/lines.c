/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/lines.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/sizes.h"
#include "cpu/butterflies.h"
#include "mroscope/math/hd.h"

typedef struct mro_wide wide;

/* -- a whole line: r transforms of every r-th number, then one pass that merges them ---------------- */

enum { MOST_LEVELS = 40 };

struct mro_lines {
    size_t n;
    int levels, radix[MOST_LEVELS]; /* from the whole line down */
    mro_c32 *turns[MOST_LEVELS];    /* exp(-2 pi i j k / n), 0 < j < radix, for each k of n / radix */
    mro_c32 *half_turns;            /* exp(-pi i k / n), k <= n */
    /* Lengths of other factors: */
    const struct mro_lines *inner; /* of at least 2 n - 1 */
    mro_c32 *chirp;                /* exp(-pi i k^2 / n), k < n */
    mro_c32 *hat;                  /* transform of its conjugate, over the inner length */
    struct mro_lines *next;
};

MRO_INLINE void last(const mro_lanes *in, size_t step, mro_lanes *out, ptrdiff_t im, int r)
{
    wide x[MOST_RADIX];
    for (int i = 0; i < r; i++) x[i] = number(in, (size_t)i * step, im);
    few(x, r);
    for (int i = 0; i < r; i++) put(out, (size_t)i, im, x[i]);
}

MRO_INLINE void merge(mro_lanes *z, size_t m, const mro_c32 *turn, ptrdiff_t im, int r)
{
    for (size_t k = 0; k < m; k++, turn += r - 1) {
        wide x[MOST_RADIX];
        x[0] = number(z, k, im);
        for (int i = 1; i < r; i++) x[i] = times(number(z, k + (size_t)i * m, im), turn[i - 1]);
        few(x, r);
        for (int i = 0; i < r; i++) put(z, k + (size_t)i * m, im, x[i]);
    }
}

static void merge_level(const struct mro_lines *p, int level, size_t m, mro_lanes *z, ptrdiff_t im)
{
    switch (p->radix[level]) {
    case 2: merge(z, m, p->turns[level], im, 2); break;
    case 3: merge(z, m, p->turns[level], im, 3); break;
    case 4: merge(z, m, p->turns[level], im, 4); break;
    case 5: merge(z, m, p->turns[level], im, 5); break;
    default: merge(z, m, p->turns[level], im, 8); break;
    }
}

/* n numbers, `step` apart, of level `level`. */
static void transform(const struct mro_lines *p, int level, size_t n, const mro_lanes *in, size_t step, mro_lanes *out,
                      ptrdiff_t im)
{
    const int r = p->radix[level];
    if (level == p->levels - 1) {
        switch (r) {
        case 2: last(in, step, out, im, 2); break;
        case 3: last(in, step, out, im, 3); break;
        case 4: last(in, step, out, im, 4); break;
        case 5: last(in, step, out, im, 5); break;
        case 8: last(in, step, out, im, 8); break;
        default: last(in, step, out, im, 1); break;
        }
        return;
    }
    const size_t m = n / (size_t)r;
    for (size_t i = 0; i < (size_t)r; i++)
        transform(p, level + 1, m, in + 2 * i * step, step * (size_t)r, out + 2 * i * m, im);
    merge_level(p, level, m, out, im);
}

size_t mro_lines_scratch(const struct mro_lines *p) { return p->inner ? 2 * p->inner->n : 0; }

void mro_lines_run(const struct mro_lines *p, bool back, const struct mro_wide *in, struct mro_wide *out,
                   struct mro_wide *scratch)
{
    const ptrdiff_t im = back ? -1 : 1;
    const mro_lanes *from = back ? &in->im : &in->re;
    mro_lanes *to = back ? &out->im : &out->re;
    if (p->inner == NULL) {
        transform(p, 0, p->n, from, 1, to, im);
        return;
    }
    const size_t n = p->n, m = p->inner->n;
    mro_lanes *a = &scratch->re, *b = &scratch[m].re;
    for (size_t k = 0; k < n; k++) put(a, k, 1, times(number(from, k, im), p->chirp[k]));
    memset(a + 2 * n, 0, (m - n) * sizeof *scratch);
    transform(p->inner, 0, m, a, 1, b, 1);
    for (size_t k = 0; k < m; k++) put(b, k, 1, times(number(b, k, 1), p->hat[k]));
    transform(p->inner, 0, m, b + 1, 1, a + 1, -1);
    for (size_t k = 0; k < n; k++) put(to, k, im, times(number(a, k, 1), p->chirp[k]));
}

size_t mro_lines_spread(const struct mro_lines *p) { return p->inner || p->levels < 2 ? 1 : (size_t)p->radix[0]; }

void mro_lines_run_spread(const struct mro_lines *p, const struct mro_wide *in, struct mro_wide *out)
{
    const size_t parts = mro_lines_spread(p), m = p->n / parts;
    for (size_t i = 0; i < parts; i++) transform(p, 1, m, &in[i * m].re, 1, &out[i * m].re, 1);
    merge_level(p, 0, m, &out->re, 1);
}

/* -- tables ----------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mro_lines *kept;
static size_t users;

static mro_c32 turn_of(size_t k, size_t n)
{
    const double angle = 2 * MRO_PI * (double)k / (double)n;
    return (mro_c32){ (float)cos(angle), (float)-sin(angle) };
}

static void lines_free(struct mro_lines *p)
{
    for (int i = 0; i < p->levels; i++) free(p->turns[i]);
    free(p->half_turns);
    free(p->chirp);
    free(p->hat);
    free(p);
}

/* Threes and fives first, then twos as eights and what is left as fours, or one two. */
static size_t factorise(struct mro_lines *p)
{
    size_t rest = p->n;
    int twos = 0;
    for (; rest % 2 == 0; rest /= 2) twos++;
    for (; rest % 5 == 0; rest /= 5) p->radix[p->levels++] = 5;
    for (; rest % 3 == 0; rest /= 3) p->radix[p->levels++] = 3;
    const int fours = twos % 3 == 2 ? 1 : twos % 3 == 1 && twos > 1 ? 2 : 0;
    for (int i = 0; i < fours; i++) p->radix[p->levels++] = 4;
    for (int i = 0; i < (twos - 2 * fours) / 3; i++) p->radix[p->levels++] = 8;
    if (twos == 1) p->radix[p->levels++] = 2;
    if (p->levels == 0) p->radix[p->levels++] = 1;
    return rest;
}

static struct mro_lines *get(size_t n);

static struct mro_lines *lines_new(size_t n)
{
    struct mro_lines *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->n = n;
    p->half_turns = malloc((n + 1) * sizeof *p->half_turns);
    bool ok = p->half_turns;
    for (size_t k = 0; ok && k <= n; k++) p->half_turns[k] = turn_of(k, 2 * n);
    if (factorise(p) == 1) {
        for (int l = 0; l < p->levels - 1; l++) {
            const size_t r = (size_t)p->radix[l], m = n / r;
            mro_c32 *t = p->turns[l] = malloc(m * (r - 1) * sizeof *t);
            ok = ok && t;
            for (size_t k = 0; ok && k < m; k++)
                for (size_t j = 1; j < r; j++) *t++ = turn_of(k * j, n);
            n = m;
        }
    } else {
        const size_t m = mro_smooth_size(2 * n - 1);
        struct mro_wide *both = mro_lines_room(2 * m);
        p->inner = get(m);
        p->chirp = malloc(n * sizeof *p->chirp);
        p->hat = malloc(m * sizeof *p->hat);
        ok = ok && both && p->inner && p->chirp && p->hat;
        if (ok) memset(both, 0, m * sizeof *both);
        for (size_t k = 0; ok && k < n; k++) {
            const mro_c32 w = p->chirp[k] = turn_of((size_t)((unsigned __int128)k * k % (2 * n)), 2 * n);
            both[k].re[0] = both[(m - k) % m].re[0] = w.re;
            both[k].im[0] = both[(m - k) % m].im[0] = -w.im;
        }
        if (ok) transform(p->inner, 0, m, &both->re, 1, &both[m].re, 1);
        for (size_t k = 0; ok && k < m; k++)
            p->hat[k] = (mro_c32){ both[m + k].re[0] / (float)m, both[m + k].im[0] / (float)m };
        free(both);
    }
    if (ok) return p;
    lines_free(p);
    return NULL;
}

/* Under the lock. */
static struct mro_lines *get(size_t n)
{
    struct mro_lines *p = kept;
    while (p && p->n != n) p = p->next;
    if (p == NULL && (p = lines_new(n)) != NULL) {
        p->next = kept;
        kept = p;
    }
    return p;
}

const struct mro_lines *mro_lines_of(size_t n)
{
    pthread_mutex_lock(&lock);
    const struct mro_lines *p = get(n);
    pthread_mutex_unlock(&lock);
    return p;
}

const mro_c32 *mro_lines_half_turns(const struct mro_lines *p) { return p->half_turns; }

void mro_lines_open(void)
{
    pthread_mutex_lock(&lock);
    users++;
    pthread_mutex_unlock(&lock);
}

void mro_lines_close(void)
{
    pthread_mutex_lock(&lock);
    if (--users == 0)
        while (kept) {
            struct mro_lines *p = kept;
            kept = p->next;
            lines_free(p);
        }
    pthread_mutex_unlock(&lock);
}

struct mro_wide *mro_lines_room(size_t n)
{
    if (n > SIZE_MAX / 2 / sizeof(struct mro_wide)) return NULL;
    const size_t bytes = (n ? n : 1) * sizeof(struct mro_wide);
    struct mro_wide *room = aligned_alloc(sizeof(mro_lanes), bytes);
    if (room) mro_prefer_huge_pages(room, bytes);
    return room;
}

/* -- rows to lanes and back ------------------------------------------------------------------------- */

typedef mro_lanes_loose loose;

/* The first and the second halves of two vectors, number by number. */
#if MRO_LANES == 16
#define FIRST_HALVES(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define SECOND_HALVES(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif MRO_LANES == 8
#define FIRST_HALVES(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define SECOND_HALVES(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define FIRST_HALVES(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define SECOND_HALVES(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/* Row i stands after row i + half of them, number by number: places and rows exchange one binary digit. */
MRO_INLINE void shuffle(const mro_lanes *from, mro_lanes *to)
{
#pragma GCC unroll 8
    for (int i = 0; i < MRO_LANES / 2; i++) {
        to[2 * i] = FIRST_HALVES(from[i], from[i + MRO_LANES / 2]);
        to[2 * i + 1] = SECOND_HALVES(from[i], from[i + MRO_LANES / 2]);
    }
}

void mro_lines_turn(const float *from, size_t pitch, float *to, size_t to_pitch)
{
    mro_lanes a[MRO_LANES], b[MRO_LANES];
#pragma GCC unroll 16
    for (size_t i = 0; i < MRO_LANES; i++) a[i] = *(const loose *)(from + i * pitch);
    shuffle(a, b);
    shuffle(b, a);
    if (MRO_LANES > 4) {
        shuffle(a, b);
        if (MRO_LANES > 8)
            shuffle(b, a);
        else
            memcpy(a, b, sizeof a);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < MRO_LANES; i++) *(loose *)(to + i * to_pitch) = a[i];
}

enum { AHEAD = 128, AHEAD_ROWS = 16 }; /* floats; rows of columns */

void mro_lines_from_rows(const float *rows, size_t pitch, size_t n_rows, size_t n, mro_lanes *to, size_t step)
{
    for (size_t x = 0; x < n; x += MRO_LANES) {
        const size_t w = n - x < MRO_LANES ? n - x : MRO_LANES;
        if (w == MRO_LANES && n_rows == MRO_LANES) {
            /* Rows are too many and too far apart for the processor to see where they go on. */
            for (size_t i = 0; i < MRO_LANES; i++) __builtin_prefetch(rows + i * pitch + x + AHEAD);
            mro_lines_turn(rows + x, pitch, (float *)(to + x * step), step * MRO_LANES);
            continue;
        }
        float some[MRO_LANES * MRO_LANES] = { 0 };
        mro_lanes turned_some[MRO_LANES];
        for (size_t i = 0; i < n_rows; i++) memcpy(some + i * MRO_LANES, rows + i * pitch + x, w * sizeof *some);
        mro_lines_turn(some, MRO_LANES, (float *)turned_some, MRO_LANES);
        for (size_t i = 0; i < w; i++) to[(x + i) * step] = turned_some[i];
    }
}

void mro_lines_to_rows(const mro_lanes *from, size_t step, float *rows, size_t pitch, size_t n_rows, size_t n)
{
    for (size_t x = 0; x < n; x += MRO_LANES) {
        const size_t w = n - x < MRO_LANES ? n - x : MRO_LANES;
        if (w == MRO_LANES && n_rows == MRO_LANES) {
            mro_lines_turn((const float *)(from + x * step), step * MRO_LANES, rows + x, pitch);
            continue;
        }
        mro_lanes some[MRO_LANES] = { 0 };
        float turned_some[MRO_LANES * MRO_LANES];
        for (size_t i = 0; i < w; i++) some[i] = from[(x + i) * step];
        mro_lines_turn((const float *)some, MRO_LANES, turned_some, MRO_LANES);
        for (size_t i = 0; i < n_rows; i++) memcpy(rows + i * pitch + x, turned_some + i * MRO_LANES, w * sizeof *rows);
    }
}

void mro_lines_from_columns(const mro_c32 *columns, size_t pitch, size_t w, size_t n, struct mro_wide *to)
{
    for (size_t y = 0; y < n; y++) {
        const float *from = &columns[y * pitch].re;
        float some[2 * MRO_LANES] = { 0 };
        __builtin_prefetch(from + 2 * AHEAD_ROWS * pitch); /* as for rows */
        __builtin_prefetch(from + 2 * AHEAD_ROWS * pitch + 16);
        if (w < MRO_LANES) from = memcpy(some, from, w * sizeof *columns);
        to[y] = mro_lines_numbers(from);
    }
}

void mro_lines_to_columns(const struct mro_wide *from, mro_c32 *columns, size_t pitch, size_t w, size_t n)
{
    for (size_t y = 0; y < n; y++) {
        const mro_lanes both[2] = { FIRST_HALVES(from[y].re, from[y].im), SECOND_HALVES(from[y].re, from[y].im) };
        if (w == MRO_LANES)
            memcpy(columns + y * pitch, both, sizeof both); /* a known size becomes two stores */
        else
            memcpy(columns + y * pitch, both, w * sizeof *columns);
    }
}

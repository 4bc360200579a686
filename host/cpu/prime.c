/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/prime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/butterflies.h"

enum { BACK = -1, BLOCK = 256 }; /* numbers of each line that stay in the first level of cache */

typedef struct mro_prime_level level;

/* -- passes ---------------------------------------------------------------------------------------- */

/* One level of a block of radix m stride numbers: the first one takes them from `in`, where `from` says. */
MRO_INLINE void butterfly(const mro_lanes *in, const size_t *from, mro_lanes *z, size_t at, size_t step,
                          const mro_c32 *turn, int r)
{
    struct mro_wide x[MOST_RADIX];
    for (int i = 0; i < r; i++)
        x[i] = from ? number(in, from[at + (size_t)i * step], BACK) : number(z, at + (size_t)i * step, BACK);
    few(x, r);
    for (int i = 0; i < r; i++) put(z, at + (size_t)i * step, BACK, turn && i ? times(x[i], turn[i - 1]) : x[i]);
}

MRO_INLINE void block_of(const level *l, const mro_lanes *in, const size_t *from, mro_lanes *z, int r)
{
    const size_t stride = l->stride, step = l->m * stride;
    for (size_t s = 0; s < stride; s++) butterfly(in, from, z, s, step, NULL, r);
    for (size_t k = 1; k < l->m; k++)
        for (size_t s = 0; s < stride; s++)
            butterfly(in, from, z, k * stride + s, step, l->turns + k * (size_t)(r - 1), r);
}

MRO_INLINE void blocks_of(const level *l, const mro_lanes *in, const size_t *from, mro_lanes *z, size_t blocks, int r)
{
    if (from) {
        block_of(l, in, from, z, r);
        return;
    }
    for (size_t b = 0; b < blocks; b++) block_of(l, in, NULL, z + 2 * b * (size_t)r * l->m * l->stride, r);
}

static void pass(const level *l, const mro_lanes *in, const size_t *from, mro_lanes *z, size_t blocks)
{
    switch (l->radix) {
    case 2: blocks_of(l, in, from, z, blocks, 2); break;
    case 3: blocks_of(l, in, from, z, blocks, 3); break;
    case 4: blocks_of(l, in, from, z, blocks, 4); break;
    case 5: blocks_of(l, in, from, z, blocks, 5); break;
    case 8: blocks_of(l, in, from, z, blocks, 8); break;
    default: blocks_of(l, in, from, z, blocks, 1); break;
    }
}

/* Levels first..end - 1 of n numbers in place. */
static void run(const struct mro_prime *p, int first, int end, size_t n, mro_lanes *z)
{
    if (first >= end) return;
    if (n <= BLOCK) {
        for (int l = first; l < end; l++)
            pass(p->level + l, NULL, NULL, z, n / (p->level[l].radix * p->level[l].m * p->level[l].stride));
        return;
    }
    const size_t radix = p->level[first].radix, part = n / radix;
    pass(p->level + first, NULL, NULL, z, 1);
    for (size_t i = 0; i < radix; i++) run(p, first + 1, end, part, z + 2 * i * part);
}

size_t mro_prime_scratch(const struct mro_prime *p) { return p->lines ? p->n + mro_lines_scratch(p->lines) : 0; }

size_t mro_prime_parts(const struct mro_prime *p) { return !p->lines && p->n > BLOCK ? p->level[0].radix : 1; }

void mro_prime_begin(const struct mro_prime *p, int levels, const struct mro_wide *in, struct mro_wide *out,
                     struct mro_wide *scratch)
{
    mro_lanes *z = &out->im;
    if (p->lines) {
        for (size_t i = 0; i < p->n; i++) scratch[i] = in ? in[p->from[i]] : out[i];
        mro_lines_run(p->lines, true, scratch, out, scratch + p->n);
    } else if (levels == 0) {
        for (size_t i = 0; in && i < p->n; i++) out[i] = in[p->from[i]];
    } else if (in) {
        pass(p->level, &in->im, p->from, z, 1);
    } else {
        pass(p->level, NULL, NULL, z, 1);
    }
}

void mro_prime_part(const struct mro_prime *p, int levels, size_t i, struct mro_wide *out)
{
    const size_t part = p->n / mro_prime_parts(p);
    run(p, 1, levels, part, &out->im + 2 * i * part);
}

void mro_prime_run(const struct mro_prime *p, int levels, const struct mro_wide *in, struct mro_wide *out,
                   struct mro_wide *scratch)
{
    mro_prime_begin(p, levels, in, out, scratch);
    for (size_t i = 0; i < mro_prime_parts(p); i++) mro_prime_part(p, levels, i, out);
}

/* -- tables ----------------------------------------------------------------------------------------- */

/* Adds levels for a part of the length, a power of one prime, whose numbers lie `stride` apart. */
static bool add_part(struct mro_prime *p, size_t part, size_t stride)
{
    for (size_t n = part; n > 1;) {
        level *l = p->level + p->levels++;
        l->radix = part % 5 == 0 ? 5 : part % 3 == 0 ? 3 : n % 8 == 0 && n != 16 ? 8 : n % 4 == 0 ? 4 : 2;
        l->m = n /= l->radix;
        l->stride = stride;
        if (n == 1) break;
        l->turns = malloc(n * (l->radix - 1) * sizeof *l->turns);
        if (l->turns == NULL) return false;
        for (size_t k = 0; k < n; k++)
            for (size_t j = 1; j < l->radix; j++) {
                const double angle = 2 * MRO_PI * (double)(j * k) / (double)(n * l->radix);
                l->turns[k * (l->radix - 1) + j - 1] = (mro_c32){ (float)cos(angle), (float)-sin(angle) };
            }
    }
    return true;
}

/* Where number k of a part comes out, whose levels begin at `l`: its digits in the order of the levels. */
static size_t place_in_part(const level *l, size_t k)
{
    size_t at = 0;
    for (;; l++) {
        at += k % l->radix * l->m;
        if (l->m == 1) return at;
        k /= l->radix;
    }
}

bool mro_prime_new(struct mro_prime *p, size_t n)
{
    memset(p, 0, sizeof *p);
    p->n = n;
    size_t part[3] = { 1, 1, 1 }, rest = n;
    const size_t prime[3] = { 5, 3, 2 };
    for (int i = 0; i < 3; i++)
        for (; rest % prime[i] == 0; rest /= prime[i]) part[i] *= prime[i];
    p->from = malloc(n * sizeof *p->from);
    p->place = malloc(n * sizeof *p->place);
    p->order = malloc(n * sizeof *p->order);
    bool ok = p->from && p->place && p->order;
    if (rest > 1 || n == 1) {
        p->lines = mro_lines_of(n);
        p->level[p->levels++] = (level){ .radix = 1, .m = 1, .stride = 1 };
        for (size_t i = 0; ok && i < n; i++) p->from[i] = p->place[i] = p->order[i] = i;
        return ok && p->lines;
    }
    int first[3];
    size_t stride[3], inner = n;
    for (int i = 0; i < 3; i++) {
        first[i] = p->levels;
        stride[i] = inner /= part[i];
        ok = ok && add_part(p, part[i], stride[i]);
    }
    for (size_t i = 0; ok && i < n; i++) {
        size_t in = 0, out = 0;
        for (int j = 0; j < 3; j++) {
            in += i / stride[j] % part[j] * (n / part[j]);
            if (part[j] > 1) out += place_in_part(p->level + first[j], i % part[j]) * stride[j];
        }
        p->from[i] = in % n;
        p->place[in % n] = i;
        p->order[out] = i;
    }
    return ok;
}

void mro_prime_release(struct mro_prime *p)
{
    for (int l = 0; l < p->levels; l++) free(p->level[l].turns);
    free(p->from);
    free(p->place);
    free(p->order);
    memset(p, 0, sizeof *p);
}

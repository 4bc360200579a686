/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Transforms of lines for those who do not mind in what order the numbers come out. A length of coprime parts is then
 * a transform of as many dimensions, without a product between them (Good, J. R. Stat. Soc. B 20 (1958) 361), and all
 * passes but the first work in place. */
#ifndef MRO_CPU_PRIME_H
#define MRO_CPU_PRIME_H

#include <stdbool.h>
#include <stddef.h>

#include "cpu/lines.h"

enum { MRO_PRIME_LEVELS = 40 };
struct mro_prime {
    size_t n;
    int levels;
    struct mro_prime_level {
        size_t radix, m, stride; /* radix numbers, m stride apart; the part of the length has radix * m numbers */
        mro_c32 *turns;          /* exp(-2 pi i j k / (radix m)), 0 < j < radix, for each k < m */
    } level[MRO_PRIME_LEVELS];
    const struct mro_lines *lines; /* what does lengths of other factors than 2, 3 and 5, in order; else NULL */
    size_t *from;                  /* which number goes in at each place */
    size_t *place;                 /* where each number goes in */
    size_t *order;                 /* which number comes out at each place */
};
/* For lines of n numbers. False: out of memory; release it all the same. */
bool mro_prime_new(struct mro_prime *p, size_t n);
void mro_prime_release(struct mro_prime *p);

/* How many numbers of each line a transform needs besides input and output. */
size_t mro_prime_scratch(const struct mro_prime *p);

/* The unnormalised transform back, exp(2 pi i j k / n), of MRO_LANES lines, for the first `levels` of p's levels. The
 * last one may be left to those who want more of its numbers while they are in registers: it takes `radix` numbers side
 * by side after the other, with parts exchanged (cpu/butterflies.h). `in` lies apart from `out`, or is NULL: the
 * numbers are in `out` already, each at its place. */
void mro_prime_run(const struct mro_prime *p, int levels, const struct mro_wide *in, struct mro_wide *out,
                   struct mro_wide *scratch);

/* The same in steps, for those who want numbers while they are in the first level of cache: the first level, which
 * leaves so many parts of as many numbers each side by side, and the other levels of one part. */
size_t mro_prime_parts(const struct mro_prime *p);
void mro_prime_begin(const struct mro_prime *p, int levels, const struct mro_wide *in, struct mro_wide *out,
                     struct mro_wide *scratch);
void mro_prime_part(const struct mro_prime *p, int levels, size_t i, struct mro_wide *out);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One result for all frames of an image.
 *
 * Frames of a stack mostly show the same place, so their errors are not independent and the interval does
 * not shrink with their number: its limits are the means of the frames' limits. The same caution makes
 * p_image the smallest p of the frames times their number (Bonferroni), valid however the frames depend on
 * each other. The p of one frame has a floor, 1 in 20 000, which a factor of 20 would lift over any
 * test; so beyond 16 frames it is n / k times the k-th smallest, k = n / 16 rounded up (Rueger, Metrika 25 (1978)
 * 171), valid likewise. Area fractions, densities, diameters, size limits and what was left out are means over the
 * frames where they could be measured, and so is what could hide where it is told of all of them; cells are summed; the
 * transfer function and the objects are left to the frames.
 */
#ifndef MRO_OPS_MRO_POOL_H
#define MRO_OPS_MRO_POOL_H

#include "mroscope/mro.h"

#define MRO_POOL_SWEEPS 16
#define MRO_POOL_TESTED 16
#define MRO_POOL_BINS 128

/* A sum of measured values, NaN left out. `{0}` is empty. */
struct mro_pool_mean {
    double sum;
    size_t n;
};

/* `{0}` is an empty pool; nothing to release. */
struct mro_order_pool {
    size_t frames, measured;
    struct mro_order_result last; /* settings of the frames; its pointers are not followed */
    size_t cells, objects[3];
    bool same_region;
    double p_least;
    size_t tested, p_bin[MRO_POOL_BINS]; /* frames by their p, in steps of 0.08 of -ln p */
    struct mro_pool_mean raw, null, fraction, lo, hi, acf, density, diameter, size_limit, coverage, blemished,
        interference, at_most[3];
    struct mro_order_sweep sweep[MRO_POOL_SWEEPS]; /* sums, then means */
    size_t n_sweep;
};

void mro_order_pool_add(struct mro_order_pool *p, const struct mro_order_result *r);

/* Fills `r` with the result of all frames; it points into `p` and owns nothing: do not release it. */
void mro_order_pool_result(struct mro_order_pool *p, struct mro_order_result *r);

#endif

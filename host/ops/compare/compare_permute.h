/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Permutation tests over few units: all arrangements of labels where they can be listed, else drawn ones. */
#ifndef MRO_OPS_COMPARE_PERMUTE_H
#define MRO_OPS_COMPARE_PERMUTE_H

#include "mroscope/compare.h"

/* Units in the order of their classes: labels are exchanged within a class only. */
struct mro_arrangement {
    size_t n, groups;          /* units; labels are 0 .. groups - 1 */
    const double *z;           /* n */
    const size_t *class_start; /* n_classes + 1: where each class begins */
    size_t n_classes;
    size_t *label;      /* n; permuted in place, and put back */
    const size_t *by_z; /* n: where the units of each class are, in rising order of z */
    size_t *room;       /* 3 groups + 1, for statistics to work in */
};

/* How far an arrangement is from what chance gives; larger is further. */
typedef double mro_arrangement_statistic(const struct mro_arrangement *a);

/* |t| of Welch between labels 0 and 1 where there is one class and both have several units; else the weighted sum of
 * the differences within classes. */
mro_arrangement_statistic mro_statistic_difference;

/* |J - E J| of Jonckheere and Terpstra within classes, summed; ties count one half. */
mro_arrangement_statistic mro_statistic_ordered;

/* J itself and its expectation. */
void mro_jonckheere(const struct mro_arrangement *a, double *j, double *expected);

/* The two-sided p of the labels as they stand. `stream` tells the tests of one run apart. MRO_EMEMORY. */
enum mro_code mro_permute(struct mro_arrangement *a, mro_arrangement_statistic *statistic,
                          const struct mro_compare_options *o, uint64_t stream, struct mro_permutation *p,
                          struct mro_error *e);

#endif

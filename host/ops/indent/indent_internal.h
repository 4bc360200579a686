/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the statistics of indents. */
#ifndef MRO_OPS_INDENT_INTERNAL_H
#define MRO_OPS_INDENT_INTERNAL_H

#include "mroscope/indent.h"

/* Fills places and values of `r` from a table. Indents at one place are repeats: their mean goes on, and their scatter
 * is noise. MRO_EMEMORY. */
enum mro_code mro_indent_merge_repeats(const struct mro_indent_table *t, struct mro_indent_result *r,
                                       struct mro_error *e);

/* Fills the grid of `r`, with pitch and origin, where its places make one, else warns. Where no length is known, places
 * count columns and rows from here on, or the usual distance to the nearest. MRO_EMEMORY. */
enum mro_code mro_indent_make_grid(const struct mro_indent_table *t, struct mro_indent_result *r, struct mro_error *e);

/* Median distance to the nearest other place, from a sample of places. */
double mro_indent_nearest(const struct mro_indent_result *r);

enum { MRO_INDENT_MODELS = 72 };

/* Correlation c exp(-(d/L)^p) at a distance of d cells, 1 at 0. */
struct mro_indent_model {
    double part, length, exponent;
    double weight;      /* by the restricted likelihood of the map */
    double line_weight; /* the same beside a straight line from the edge that bins are made from */
    double scale;       /* of the material's variance over that of the map */
    double dof;
    double of_mean; /* variance of the mean over the material's */
};

/* Intervals of a map whose neighbours are alike. */
struct mro_indent_alike {
    struct mro_indent_model model[MRO_INDENT_MODELS];
    double mean_half;   /* half of the 95 % interval of the mean */
    double sd_ci95[2];  /* of the standard deviation of the material, not of this map */
    double n_effective; /* independent indents that say as much of the spread */
};

/* Fills `a` for the grid of `r` (mean and standard deviation over it are given; `tails`: the variance of squares over
 * that of a Gaussian, 1 or more). Correlations c exp(-(d/L)^p) over a grid of c, L and p are weighted by the restricted
 * likelihood of the map, in tiles where it is large; each gives the mean a t and the variance a chi squared
 * distribution, with degrees of freedom by its first two moments, and the intervals are of their mixture. MRO_EMEMORY.
 * Source: restricted likelihood after Patterson and Thompson, Biometrika 58 (1971) 545; moments after Satterthwaite,
 * Biometrics Bull. 2 (1946) 110. */
enum mro_code mro_indent_alike(const struct mro_indent_result *r, enum mro_indent_edge edge, double mean, double sd,
                               double tails, struct mro_indent_alike *a, struct mro_error *e);

/* Intervals of the bins of `r`, and intervals and p of its trends, for the correlations of `a`, with line_weight: those
 * of indents in a bin, and of bins. Bins and slopes of trends are given. MRO_EMEMORY. */
enum mro_code mro_indent_alike_bins(struct mro_indent_result *r, double tails, const struct mro_indent_alike *a,
                                    struct mro_error *e);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A band seen along its normal, for those who refine it (shearband_fit.c) and say what it is (shearband_report.c). */
#ifndef MRO_OPS_SHEARBAND_STRIP_H
#define MRO_OPS_SHEARBAND_STRIP_H

#include "ops/shearband/shearband_internal.h"

/* How far the centre line is from the straight one at t. */
double mro_sb_path(const struct mro_sb_band *b, double t);

/* Sums over bins of s in segments of t. `{0}` is empty. */
struct mro_sb_strip {
    size_t bins, segments;
    double reach, bin;    /* s from -reach to reach */
    double *sum, *weight; /* segments * bins */
    double *s;            /* bins: centres */
    double *total, *all;  /* bins: mean and weight over segments */
};

/* Adds up the pixels of `g` within `reach` of the centre line, less the models of `others`. MRO_EMEMORY. */
enum mro_code mro_sb_strip_make(const struct mro_sb_grid *g, const struct mro_sb_band *b,
                                const struct mro_sb_band *others, size_t n_others, double reach, size_t segments,
                                int threads, struct mro_sb_strip *p, struct mro_error *e);
void mro_sb_strip_release(struct mro_sb_strip *p);

/* Mean over the segments but `without` (SIZE_MAX = none): of their means, each with the pixels it has. */
void mro_sb_strip_mean(const struct mro_sb_strip *p, size_t without, double *mean, double *weight);

/* Where the middle of a segment is along the line. */
double mro_sb_strip_middle(const struct mro_sb_strip *p, size_t k, const struct mro_sb_band *b);

/* Fit to the whole from several widths. */
bool mro_sb_strip_fit(const struct mro_sb_strip *p, int threads, struct mro_sb_profile_fit *f);

/* Fits each segment, its centre and width near those of the whole, edges as they are; `fitted[k]`: the fit of segment k
 * holds. */
void mro_sb_strip_fit_segments(const struct mro_sb_strip *p, const struct mro_sb_profile_fit *whole, int threads,
                               struct mro_sb_profile_fit *f, bool *fitted);

/* Depth of a segment when its shape is that of the whole; NaN where too little of it is seen. */
double mro_sb_strip_depth(const struct mro_sb_strip *p, size_t k, const struct mro_sb_profile_fit *whole);

/* Are both edges inside of what was seen? */
bool mro_sb_strip_edges(const struct mro_sb_strip *p, const struct mro_sb_profile_fit *f, bool edge[2]);

/* Slope and level of y over x by medians of pairs (Theil and Sen). */
void mro_sb_median_line(const double *x, const double *y, size_t n, double *level, double *slope);

/* -- shearband_report.c -- */

/* Everything that is said of a band, from its last strip. MRO_EMEMORY. */
enum mro_code mro_sb_report(const struct mro_sb_grid *g, const struct mro_shearband_options *o,
                            const struct mro_sb_strip *p, const struct mro_sb_band *b, int threads,
                            struct mro_shearband *out, struct mro_error *e);

#endif

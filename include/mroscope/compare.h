/* SPDX-License-Identifier: GPL-3.0-or-later */
/* States against each other: one number an image, a few images a state. Ratios of means with intervals, exact
 * permutation tests, the trend with strain, temperature or dose, and what thickness and settings have to do with it.
 *
 * The unit is the image, or the specimen where each state has several of them and some were imaged more than once:
 * images of one specimen are then averaged first. Never a cell or an object of an image. Plain numbers in and out; no
 * image and no device is touched.
 */
#ifndef MROSCOPE_COMPARE_H
#define MROSCOPE_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"
#include "mroscope/onset.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same numbers and options give other answers. */
#define MRO_COMPARE_ALGORITHM "compare 1"

#define MRO_COMPARE_COVARIATES 4
#define MRO_COMPARE_NONE SIZE_MAX /* no specimen, no reference */

/* One image's number. */
struct mro_compare_image {
    size_t state;    /* index */
    double value;    /* finite */
    double ci95[2];  /* of the image itself; NaN = unknown */
    double x;        /* strain, temperature, dose...: what the trend is over; NaN = unknown */
    size_t specimen; /* index; images of one state with one index are of one specimen. MRO_COMPARE_NONE = not said */
    size_t block;    /* index: images taken and measured with the same settings. 0 where all are */
    double covariate[MRO_COMPARE_COVARIATES]; /* such as thickness; NaN = unknown */
};

struct mro_compare_data {
    const char *metric;           /* for sentences */
    const char *over, *over_unit; /* what x is and its unit, likewise; NULL = "strain", "" */
    size_t n_states, n_specimens, n_blocks, n_covariates, n;
    const char *const *state;
    const char *const *covariate; /* names, for sentences ("thickness") */
    const struct mro_compare_image *image;
};

struct mro_compare_options {
    size_t reference; /* state that the others are divided by; default 0 */
    bool paired; /* a specimen that has images in several states is the same piece: states are compared within it */
    const bool *in_trend; /* n_states: which states the trend is taken over; NULL = all with an x */
    size_t permutations;  /* drawn where there are more than can be listed; default 99 999 */
    size_t enumerate;     /* arrangements that are listed at most; default 200 000 */
    uint64_t seed;
};
void mro_compare_options_default(struct mro_compare_options *o);

struct mro_permutation {
    double p;            /* two-sided; NaN = no test */
    double se;           /* of p by drawing; 0 where all arrangements were listed */
    double smallest;     /* p that this number of units can reach */
    double arrangements; /* there are */
    bool exact;
};

enum mro_compare_interval { MRO_COMPARE_NO_INTERVAL, MRO_COMPARE_LOG, MRO_COMPARE_FIELLER };

struct mro_compare_state {
    size_t images, n;              /* n units */
    double x;                      /* mean of those known */
    double mean, mean_ci95[2], sd; /* of the units, brought to common settings where there are blocks */
    double ratio, ratio_ci95[2];   /* to the reference; an upper end of infinity: it has none */
    enum mro_compare_interval interval;
    double difference, difference_ci95[2];
    struct mro_permutation test;
    double p_holm;     /* p with the other metrics in mind, see mro_compare_holm */
    bool in_trend;     /* some of its images count for the trend */
    bool identifiable; /* no setting goes along with the state, and no covariate that may explain the ratio by its tenth
                          power or less */
    char why[200];     /* it is not */
};

struct mro_compare_trend {
    size_t n;
    bool measured, logarithmic;
    double x[2];                 /* range */
    double slope, slope_ci95[2]; /* of ln(metric), or of the metric where it is not positive, per unit of x */
    double centre[2];            /* x and (ln of the) metric that the line runs through */
    double centre_ci95[2];       /* of that metric; its errors and those of the slope are independent */
    double p;                    /* slope is zero */
    double tau;                  /* true scatter between units, in the same scale as slope, without their own errors */
    struct mro_permutation jonckheere;
    double j, j_expected;
    struct mro_onset onset; /* where the units' values bend, in the same scale; NaN: nowhere, or too few */
};

/* One covariate: how the states differ in it, and the ratios with it held equal. */
struct mro_compare_covariate {
    bool known;                      /* for every unit, and positive */
    bool differs;                    /* by more than 1 % anywhere */
    double slope, slope_ci95[2], p;  /* of ln(metric) on ln(covariate), within states */
    double *mean;                    /* n_states: geometric */
    double *ratio, (*ratio_ci95)[2]; /* n_states: to the reference, at equal covariate; NaN = not measured */
    double *inflation; /* n_states: variance of ln(ratio) over that without the covariate; infinite: they coincide */
};

struct mro_compare_result {
    size_t n_states, reference;
    bool by_specimen;     /* the unit is the specimen */
    bool logarithmic;     /* all values are positive: tests and trend are of logarithms */
    size_t blocks;        /* settings that were told apart */
    double *block_factor; /* blocks: what a block's values were divided by (or, where some are negative, less) */
    struct mro_compare_state *state;
    struct mro_compare_trend trend;
    struct mro_compare_covariate covariate[MRO_COMPARE_COVARIATES];
    size_t n_covariates;
    double scatter_ln;  /* standard deviation of ln(value) between units of one state, all states together */
    double n_for_ratio; /* units a state that find a ratio of 1.5 by a formula for large numbers (80 %; 71 % at 6) at
                           that scatter */
    char **warnings;
    size_t n_warnings;
};

/* Compares the states of `d` with the reference. Numbers that cannot be had are NaN, with a sentence in warnings.
 *
 * Ratio: of the means of units. Interval where all are positive: ln(ratio) +- t sqrt(s_A^2/(n_A m_A^2) + ...), t of
 * Welch's degrees of freedom; where values are zero or not told from zero by their own intervals, the set of ratios
 * that Welch's t does not reject (Fieller, J. R. Stat. Soc. B 16 (1954) 175). Scatter between units holds their own
 * errors already, so intervals of single images are not added; only where zero cuts the scatter off do they set its
 * least value. Blocks: a factor for each is fitted with the states (additive where values are negative) and costs a
 * degree of freedom. Test: states are permuted over units, within blocks; Welch's t of the logarithms, or the
 * difference within blocks. Trend: weights 1/(sigma_i^2 + tau^2), tau by Paule and Mandel, J. Res. NBS 87 (1982) 377; t
 * interval by the scatter seen (Hartung and Knapp, Stat. Med. 20 (2001) 3875; Sidik and Jonkman, ibid. 21 (2002) 3153).
 * Jonckheere, Biometrika 41 (1954) 133, permuted. Covariates: analysis of covariance, one covariate at a time, all
 * states with one slope.
 *
 * Errors: MRO_EARG (an index out of range, a value that is not finite), MRO_EMEMORY. Release with
 * mro_compare_result_release. Same numbers, options and seed: same bytes. Threads: calls are independent. */
enum mro_code mro_compare(const struct mro_compare_data *d, const struct mro_compare_options *o,
                          struct mro_compare_result *r, struct mro_error *e);
void mro_compare_result_release(struct mro_compare_result *r); /* {0} is fine */

/* Holm's correction (Scand. J. Stat. 6 (1979) 65) over the metrics of `n` results with the same states, for each state
 * against the reference: p_holm. */
enum mro_code mro_compare_holm(struct mro_compare_result *const *results, size_t n, struct mro_error *e);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of a comparison, in the order of the work. */
#ifndef MRO_OPS_COMPARE_INTERNAL_H
#define MRO_OPS_COMPARE_INTERNAL_H

#include <gsl/gsl_cdf.h>
#include <math.h>

#include "core/notes.h"
#include "mroscope/compare.h"
#include "ops/compare/compare_permute.h"

/* What a comparison is made of: one image, or the images of one specimen. */
struct mro_compare_unit {
    size_t state, images;
    double y;     /* mean, at common settings */
    double v;     /* variance of y by the images' own intervals; NaN = unknown */
    double sigma; /* the same of ln y, or of y where not all are positive */
    double x;     /* NaN = unknown */
    double covariate[MRO_COMPARE_COVARIATES];
    bool bound;     /* the scatter of its images is cut off at zero */
    uint64_t class; /* equal for units with the same shares of their images in each block, however many they have */
};

/* A comparison under way. Images keep the order of `d`. */
struct mro_compare_work {
    const struct mro_compare_data *d;
    const struct mro_compare_options *o;
    struct mro_compare_result *r;
    size_t *unit_of;  /* d->n: unit of each image */
    size_t *block_of; /* d->n: settings, and the specimen too when paired */
    size_t n_blocks;
    double *factor; /* n_blocks */
    bool additive, nonnegative;
    struct mro_compare_unit *unit;
    size_t n_units;
    double left;              /* degrees of freedom of units after states and blocks */
    size_t lost;              /* to blocks */
    struct mro_arrangement a; /* room for tests: n_units */
    double *z;
    size_t *label, *start, *order, *by_z, *room;
};

#define MRO_COMPARE_NOTE(w, ...) mro_note(&(w)->r->warnings, &(w)->r->n_warnings, __VA_ARGS__)

static inline const char *mro_compare_over(const struct mro_compare_work *w)
{
    return w->d->over ? w->d->over : "strain";
}

#define Z975 1.959963984540054

static inline double square(double x) { return x * x; }

static inline double t975(double df) { return isinf(df) ? Z975 : gsl_cdf_tdist_Pinv(0.975, df); }

static inline double t_two_sided(double t, double df) { return 2 * gsl_cdf_tdist_Q(fabs(t), df); }

/* ---- compare_units.c ---- */

/* Fills block_of and n_blocks. MRO_EMEMORY only, as all of these. */
enum mro_code mro_compare_find_blocks(struct mro_compare_work *w, struct mro_error *e);

/* Which states have blocks in common, directly or through others: node k of the states has the root part[k]. Returns
 * how many factors of blocks are free beside the states. */
enum mro_code mro_compare_connect(struct mro_compare_work *w, size_t *part, struct mro_error *e);

/* A number for each state times (additive: plus) one for each block, fitted in turns: the sums over states and over
 * blocks are those seen, as in a Poisson model, so that zeros are welcome. */
enum mro_code mro_compare_fit_blocks(struct mro_compare_work *w, struct mro_error *e);

/* Fills units and the room for tests. */
enum mro_code mro_compare_make_units(struct mro_compare_work *w, struct mro_error *e);

/* Warns of specimens with images in several states. */
void mro_compare_note_shared(struct mro_compare_work *w);

/* ---- compare_states.c ---- */

/* Means, ratios and tests of all states; part[k] as of mro_compare_connect. */
enum mro_code mro_compare_measure_states(struct mro_compare_work *w, const size_t *part, struct mro_error *e);

/* scatter_ln and the number of images that it asks for. */
void mro_compare_measure_scatter(struct mro_compare_work *w);

/* The first reason is kept. */
void mro_compare_not_identifiable(struct mro_compare_state *t, const char *why);

/* Brings the units with a label (MRO_COMPARE_NONE: left out) into classes, and their values, as logarithms where all
 * are positive, to the mean of their blocks. Values of single images are taken, so that exchanging labels within
 * classes changes nothing else. */
enum mro_code mro_compare_arrange(struct mro_compare_work *w, const size_t *label, size_t groups, bool logarithmic,
                                  struct mro_error *e);

/* Next to zero a logarithm only magnifies the error. */
bool mro_compare_has_logarithm(const struct mro_compare_work *w, size_t image);

/* ---- compare_trend.c ---- */

/* r->trend; without three units at two x it is not measured. */
enum mro_code mro_compare_measure_trend(struct mro_compare_work *w, struct mro_error *e);

/* r->covariate[c], and states that it does not let be told apart. */
enum mro_code mro_compare_measure_covariate(struct mro_compare_work *w, size_t c, struct mro_error *e);

#endif

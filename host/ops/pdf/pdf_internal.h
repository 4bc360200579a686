/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the pair distribution measurement: the points of a profile, the frame that everything is computed in, the
 * numbers read off, and their errors. */
#ifndef MRO_OPS_PDF_INTERNAL_H
#define MRO_OPS_PDF_INTERNAL_H

#include "core/cholesky.h"
#include "mroscope/pdf.h"

#define MRO_PDF_MAX_TERMS (2 + MRO_PDF_DEGREE) /* of the normalisation: 1/N, C/N, the polynomial */

/* Pivots of mro_cholesky_factor at most this part of what they were: rounding leaves that of a matrix without full
 * rank. */
#define MRO_PDF_RANK 1e-14

/* -- pdf_points.c ----------------------------------------------------------------------------------- */

#define MRO_PDF_TO_Q (2 * M_PI / 10) /* from s in 1/nm */

/* The profile with gaps left out and, where it is finer than needed, neighbours averaged. */
struct mro_pdf_points {
    size_t n;
    double *s, *v, *se, *room; /* 1/nm; values; errors (NaN unknown) */
    double *f1_2, *ratio;      /* <f>^2 in A^2; <f^2> / <f>^2; both 1 where values are not intensities */
    size_t *from;              /* n + 1: first point of the profile of each */
};

/* MRO_EDATA, MRO_EMEMORY. */
enum mro_code mro_pdf_points_of(const struct mro_profile *p, const struct mro_composition *c, struct mro_pdf_points *t,
                                struct mro_error *e);
void mro_pdf_points_release(struct mro_pdf_points *t); /* {0} is fine */

/* One draw (or sector) of the profile put on the same points: means of what has data, NaN without any. */
void mro_pdf_gather(const struct mro_profile *p, const struct mro_pdf_points *t, const double *value, double *out);

struct mro_pdf_ranges {
    size_t first, end; /* points of the fit */
    size_t peak;
    bool aperture;
};

/* Chooses what is fitted and transformed, as options, windows of another state, or rules say. */
enum mro_code mro_pdf_choose_ranges(const struct mro_profile *p, const struct mro_pdf_points *t, const char *name,
                                    const struct mro_pdf_options *o, struct mro_pdf_windows *w,
                                    struct mro_pdf_ranges *g, struct mro_error *e);

/* -- pdf_frame.c ------------------------------------------------------------------------------------ */

/* The sine transform of one axis: G = rows (S - 1) + low1 S[0] + low0, at the distances r0 + j dr. */
struct mro_pdf_transform {
    size_t n, nr;
    enum mro_damping damping;
    double damping_A2, r0, dr;
    double *Q;                  /* n */
    double *rows, *low0, *low1; /* nr * n; nr */
};
static inline double mro_pdf_r(const struct mro_pdf_transform *t, size_t j) { return t->r0 + (double)j * t->dr; }

/* What a profile is measured on: its points from the first that is fitted. `se` NaN where unknown. Borrowed. */
struct mro_pdf_axis {
    struct mro_pdf_tables *tables; /* of one thread; not NULL */
    bool normalise;                /* the values are intensities, and not S(Q) */
    const double *s_inv_nm, *se;
    const double *f1_2, *ratio; /* <f>^2 in A^2; <f^2> / <f>^2 */
};

/* What depends on ranges, composition, density and errors, not on intensities. Arrays are owned; transforms are those
 * of `tables`. */
struct mro_pdf_frame {
    struct mro_pdf_tables *tables;
    size_t n;       /* points of the fit */
    size_t nt;      /* of them are transformed, from the first on */
    bool normalise; /* false: the values are S(Q) */
    size_t terms;   /* that are fitted */
    double *Q, *s_inv_nm;
    const double *f1_2, *ratio; /* of the axis */
    double *basis;              /* terms * n: what the terms add to S; row 0 is to be multiplied by intensities */
    size_t nr;
    double *r;
    const struct mro_pdf_transform *G;   /* of the first nt points to r */
    const struct mro_pdf_transform *low; /* of all to distances below r_min, damped after Lorch */
    size_t tail;                         /* first point of it */
    double density_A3, r_min;
    /* What the fit asks for: `rules` rows, low_rules of them at distances of `low`. A row is by . intensities / N +
     * other . terms = target (less 4 pi rho r at low r); `noise`: what the errors add to the square of by . v. */
    size_t rules, low_rules;
    double *rule, *by, *other, *target, *noise; /* all of rule; rules * n; rules * MRO_PDF_MAX_TERMS; rules */
    double most[MRO_PDF_MAX_TERMS];             /* largest size of each row of basis */
};

/* The first n points of the axis, over the windows w. Release with mro_pdf_frame_release. MRO_EMEMORY. */
enum mro_code mro_pdf_frame_make(struct mro_pdf_frame *f, const struct mro_pdf_axis *axis,
                                 const struct mro_pdf_options *o, double damping_A2, double density_per_nm3,
                                 const struct mro_pdf_windows *w, int background, size_t n, struct mro_error *e);
void mro_pdf_frame_release(struct mro_pdf_frame *f); /* {0} is fine */

/* Sizes that the slow background is given in S. */
#define MRO_PDF_SLOW_LEAST 0.03
#define MRO_PDF_SLOW_MOST 0.5

/* S(Q) from intensities: x has 1/N, C/N and the slow background. False when they are not positive or not finite.
 *
 * The intensities are unknown's factors here, so their noise would make 1/N too small: what it adds to the equations on
 * the average is taken off; `noise` is how many times the square of the errors it has. `slow` is the size of the slow
 * background's terms in S that needs no other reason; the larger, the more is asked of the low r. */
bool mro_pdf_normalise(const struct mro_pdf_frame *f, const double *v, double noise, double slow, double density_A3,
                       double *S, double x[MRO_PDF_MAX_TERMS]);

/* G (nr) of one S; of MRO_PDF_DRAWS at once, given as S - 1, n * MRO_PDF_DRAWS, to MRO_PDF_DRAWS * nr. */
#define MRO_PDF_DRAWS 32
void mro_pdf_transform(const struct mro_pdf_transform *t, const double *S, double *G);
void mro_pdf_transform_draws(const struct mro_pdf_transform *t, const double *less_1, double *G);

/* -- pdf_numbers.c ---------------------------------------------------------------------------------- */

/* Numbers that are read off one S(Q) and G(r), in this order. */
enum {
    PDF_FSDP_Q,
    PDF_FSDP_MOMENT,
    PDF_FSDP_AREA,
    PDF_FSDP_FWHM,
    PDF_SHELL,                                  /* r, height, area of each */
    PDF_SPLIT = PDF_SHELL + 3 * MRO_PDF_SHELLS, /* dip, distance */
    PDF_SMALL = PDF_SPLIT + 2,                  /* height of each */
    PDF_COORDINATION = PDF_SMALL + MRO_PDF_SMALL,
    PDF_SQUARE, /* mean square of G over beyond_A */
    PDF_CHANCE, /* of the noise of a draw alone: what is looked for as split and as small peaks */
    PDF_NUMBERS = PDF_CHANCE + 1 + MRO_PDF_SMALL
};

/* Where numbers are read off, beside the windows. */
struct mro_pdf_places {
    struct mro_pdf_windows w;
    double beyond[2];
    double split[3];                /* r of the two maxima and of the dip; split[0] 0 = none */
    double small[MRO_PDF_SMALL][3]; /* r of the maximum and of the higher minimum beside it; small[i][0] 0 = none */
    double coordination[2];         /* from, to; 0, 0 = not allowed */
    double density_A3;
};

/* Reads all numbers; S over f->Q, G over f->r (f->Q may be empty when only G is known). */
void mro_pdf_read(const struct mro_pdf_frame *f, const double *S, const double *G, const struct mro_pdf_places *p,
                  double number[PDF_NUMBERS]);

/* The window of the first sharp peak around Q1: the minima to either side. Then the shells: first near r1. */
void mro_pdf_find_peak(const struct mro_pdf_frame *f, const double *S, double Q1, double window[2]);
size_t mro_pdf_find_shells(const struct mro_pdf_frame *f, const double *G, double r1, double resolution_A,
                           double shell[MRO_PDF_SHELLS][2]);

/* Splitting of the second shell, and shallow maxima near 4 and 7 Angstrom. */
void mro_pdf_find_small(const struct mro_pdf_frame *f, const double *G, struct mro_pdf_places *p);

/* The same searches in noise alone (nr): the dip and the heights that they find, 0 where there is none. What is found
 * at the best of many places has to beat this, not one standard error. Writes number[PDF_CHANCE...]. */
void mro_pdf_chance(const struct mro_pdf_frame *f, const double *noise, const struct mro_pdf_places *p,
                    double number[PDF_NUMBERS]);

/* Value of a curve at x by straight lines between its points; NaN outside. */
double mro_pdf_at(const double *x, const double *y, size_t n, double at);

/* Weight of Q in the transform. */
double mro_pdf_weight(enum mro_damping damping, double damping_A2, double Q, double Q_max);

/* Full width at half maximum of a sharp distance after it. */
double mro_pdf_resolution(enum mro_damping damping, double damping_A2, double Q_max);

/* A number with its errors: 95 % by Student's t with `dof` degrees of freedom. */
struct mro_pdf_number mro_pdf_number_of(double value, double se, double dof);

/* -- pdf_draws.c ------------------------------------------------------------------------------------ */

/* What the errors come from: blocks (opposite sectors, patterns) that are drawn with replacement, or the errors of the
 * points, where blocks is 0. */
struct mro_pdf_source {
    size_t blocks, n;
    double *mean, *weight; /* blocks * n; once weighed, mean is times its weight, and 0 where there is nothing */
    double *all;           /* n: mean over the blocks */
    const double *se;      /* n; borrowed */
};
enum mro_code mro_pdf_source_alloc(struct mro_pdf_source *u, size_t blocks, size_t n, struct mro_error *e);
void mro_pdf_source_weigh(struct mro_pdf_source *u); /* after mean and weight were filled in */
void mro_pdf_source_release(struct mro_pdf_source *u);

/* The source of a profile: pairs of opposite sectors, or the errors of its points. In pdf_points.c. */
enum mro_code mro_pdf_source_of(struct mro_pdf_source *u, const struct mro_profile *p, const struct mro_pdf_points *t,
                                struct mro_error *e);

/* Runs all draws of the values v, whose transform is G; the frame begins at point `first` of the source. Writes the
 * errors of S and G and the numbers of every draw (draws * PDF_NUMBERS, NaN where it failed). Sums are taken in the
 * order of the draws, whatever the number of threads. */
enum mro_code mro_pdf_draw(const struct mro_pdf_frame *f, size_t first, const struct mro_pdf_source *u,
                           const struct mro_pdf_options *o, double slow, const struct mro_pdf_places *places,
                           const double *v, const double *G, double *S_se, double *G_se, double *number,
                           struct mro_error *e);

/* -- pdf_connect.c ---------------------------------------------------------------------------------- */

/* Kernels of the connection modes; what tables hold of them may be NULL yet. */
struct mro_pdf_kernels;
struct mro_pdf_kernels **mro_pdf_tables_kernels(struct mro_pdf_tables *tables);

/* Decomposes the second shell of a result whose curves, errors and windows are filled, or says why not. */
enum mro_code mro_pdf_connect_shells(struct mro_pdf_result *r, const struct mro_pdf_frame *f, double Q_max,
                                     const struct mro_pdf_options *o, struct mro_error *e);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the shear-band measurement. */
#ifndef MRO_OPS_SHEARBAND_INTERNAL_H
#define MRO_OPS_SHEARBAND_INTERNAL_H

#include "core/backend.h"
#include "mroscope/shearband.h"

/* Values at the centres of equal pixels over the field, NaN = no data. */
struct mro_sb_grid {
    size_t ny, nx;
    double step[2]; /* nm: y, x */
    float *v;       /* ny * nx */
};

/* -- shearband_grid.c ------------------------------------------------------------------------------- */

/* Fills g, whose v the caller frees, with means over blocks of whole pixels of px, ny * nx of the step in nm; blocks
 * less than half full are empty. Counts less the black level. MRO_EMEMORY. */
enum mro_code mro_sb_grid_shrink(const float *px, size_t ny, size_t nx, const double step[2], size_t to_ny,
                                 size_t to_nx, double black, int threads, struct mro_sb_grid *g, struct mro_error *e);

/* A copy, whose v the caller frees. MRO_EMEMORY. */
enum mro_code mro_sb_grid_copy(const struct mro_sb_grid *g, struct mro_sb_grid *c, struct mro_error *e);

/* Of the values that are there; NaN without any, or with *rc MRO_EMEMORY. */
double mro_sb_grid_median(const struct mro_sb_grid *g, int threads, struct mro_error *e, enum mro_code *rc);

/* Blanks blocks that are vacuum beside the median, and those beside them, which hold some of it. `gone`: samples that
 * were blanked. MRO_EMEMORY. */
enum mro_code mro_sb_grid_blank(struct mro_sb_grid *g, double median, size_t *gone, struct mro_error *e);

/* -- shearband_speckle.c ---------------------------------------------------------------------------- */

/* Variance within blocks of 1 nm over the square of the mean (less `black`), that is, of the speckle and of the counts;
 * NaN in vacuum and crystals. Fills g, whose v the caller frees. MRO_EARG (too coarse, too small), MRO_EMEMORY. */
enum mro_code mro_sb_speckle(const struct mro_image *im, const double pixel_nm[2], double black, int threads,
                             const char *name, struct mro_sb_grid *g, struct mro_shearband_result *r,
                             struct mro_error *e);

/* -- shearband_scan.c: stripes in line sums --------------------------------------------------------- */

#define MRO_SB_WIDTHS 24 /* at most */

/* Everything about line sums that depends on the shape and the mask of a field only; opaque. */
struct mro_sb_scan;

/* The strongest stripe of a field. */
struct mro_sb_stripe {
    double z;                    /* contrast over its standard deviation in random fields */
    double contrast;             /* inside less beside */
    double azimuth, position_nm; /* radians in [0, pi); as in the public header */
    double width_nm;
};

/* Only stripes about a given line: azimuth within `turn` radians, the line inside the stripe. */
struct mro_sb_near {
    double azimuth, position_nm, turn;
};

/* Sums over lines of all directions of grids like `g`, whose NaN pixels are left out. `near` may be NULL. MRO_EMEMORY.
 */
enum mro_code mro_sb_scan_new(struct mro_sb_scan **s, const struct mro_sb_grid *g, const double width_nm[2],
                              const struct mro_sb_near *near, int threads, struct mro_error *e);
void mro_sb_scan_free(struct mro_sb_scan *s); /* NULL is fine */
size_t mro_sb_scan_widths(const struct mro_sb_scan *s);

/* Work space of one thread that scans so many fields together. */
float *mro_sb_scan_space(const struct mro_sb_scan *s, size_t fields); /* free() it; NULL = out of memory */

/* The strongest stripes of each of the fields, which follow each other in v, one for each width (widths in all; z 0 =
 * none), where `sd` (one for each width) are the standard deviations of the filters in units of one pixel's; NULL: 1.
 * `square` and `count` (may be NULL) receive sums of squares and numbers of all positions, widths numbers a field. What
 * comes out of a field does not depend on the others. */
void mro_sb_scan_run(const struct mro_sb_scan *s, size_t fields, const float *v, const double *sd, double *square,
                     double *count, float *space, struct mro_sb_stripe *best);

/* The strongest of them. */
double mro_sb_most(const struct mro_sb_stripe *stripe, size_t n);

/* -- shearband_null.c: random fields of the same spectrum ------------------------------------------- */

struct mro_sb_null {
    size_t n, widths;
    double *square, *count; /* n * widths */
    double *strongest;      /* n * widths: contrast of the strongest stripe, in standard deviations of one pixel */
    double *most;           /* n: the strongest stripe of each field */
    double *sd;             /* widths */
};

/* Draws `n` fields with the falling spectrum of `residual` (bands taken out; NaN = no data) through the scan, with the
 * missing pixels of `shape`. `taken` is how many stripes had been taken out of the residual, each of which took power
 * with it. */
enum mro_code mro_sb_null_draw(struct mro_device *d, const struct mro_sb_grid *residual, double taken,
                               const struct mro_sb_grid *shape, const struct mro_sb_scan *s, int polynomial, size_t n,
                               uint64_t seed, struct mro_sb_null *null, struct mro_error *e);
void mro_sb_null_release(struct mro_sb_null *null); /* {0} is fine */

/* Removes the best polynomial of the degree (in x and y together) from the finite pixels of v; `use` (may be NULL) says
 * which count for the fit. With `divide` v becomes v / polynomial - 1. *done false (with MRO_OK): too few pixels, or a
 * background that is not positive; v is not touched. MRO_EMEMORY. */
enum mro_code mro_sb_flatten(float *v, size_t ny, size_t nx, const unsigned char *use, int degree, bool divide,
                             int threads, bool *done, struct mro_error *e);

/* -- shearband_profile.c: profiles across bands ----------------------------------------------------- */

/* b[0] + b[1] (s - centre) + amplitude * shape; shape is 1 in the middle of a wide band. */
struct mro_sb_profile_fit {
    double b[2], amplitude, centre, width, edge;
    double chi2, weight; /* sum of weighted squares, of weights; NaN = not fitted */
};
double mro_sb_shape(double s, double width, double edge); /* s from the centre */

#define MRO_SB_BINS 481 /* of a profile, at most */

/* Fits a profile of n bins (weight 0 = empty) from a start; `hold_edge`: with the edges as they are. False when it
 * does not converge to a band inside the profile. */
bool mro_sb_profile_fit(const double *s, const double *v, const double *weight, size_t n, double bin, bool hold_edge,
                        struct mro_sb_profile_fit *f);

/* A profile that is fitted, and room for what a model has at its bins: they are gone through in vectors. */
enum { MRO_SB_PARAMETERS = 6 }; /* b0, b1, amplitude, centre, width, edge */
struct mro_sb_profile {
    size_t n;
    const double *s, *v, *weight;
    double *shape;                    /* of the last model */
    double *slope[MRO_SB_PARAMETERS]; /* derivatives of the model by its parameters; the third is the shape */
    double *rest, *weighted;          /* what the model leaves; one derivative times the weights */
    double room[(MRO_SB_PARAMETERS + 2) * MRO_SB_BINS]; /* of all these */
};

/* A profile of n bins, at most MRO_SB_BINS, whose arrays are kept by their addresses. */
void mro_sb_profile_of(struct mro_sb_profile *p, size_t n, const double *s, const double *v, const double *weight);

/* Fills the shape of f, and fits b and amplitude alone to it. False: no solution. */
bool mro_sb_profile_linear(struct mro_sb_profile *p, struct mro_sb_profile_fit *f);

/* Sum of weighted squares beside the model whose shape was filled last. Bins without weight hold zeros. */
double mro_sb_profile_chi2(const struct mro_sb_profile *p, const struct mro_sb_profile_fit *f);

/* mro_sb_profile_fit. */
bool mro_sb_profile_solve(struct mro_sb_profile *p, double bin, bool hold_edge, struct mro_sb_profile_fit *f);

/* -- shearband_strip.c, shearband_fit.c: bands that are measured --------------------------------------------------- */

/* A band being measured: its centre line and shape. */
struct mro_sb_band {
    double azimuth, position; /* radians, nm */
    double cosine, sine;      /* of the azimuth: see mro_sb_aim */
    double t[2]; /* along the line (direction -sin a, cos a) from its point nearest to `middle`; filled by refining */
    double limit[2];               /* of t; infinite where the band goes to the border */
    double middle[2];              /* x, y: of the field */
    double path[4];                /* polynomial in t - (t0 + t1)/2, nm */
    struct mro_sb_profile_fit fit; /* centre 0 */
    bool ends, border;
};

/* Sets the direction of a band. */
void mro_sb_aim(struct mro_sb_band *b, double azimuth);

/* Distance from the (curved) centre line along the normal of a point in nm, and t there. */
double mro_sb_offset(const struct mro_sb_band *b, double x, double y, double *t);

/* Model contrast of a band at a point in nm. */
double mro_sb_model(const struct mro_sb_band *b, double x, double y);

/* Measures a band on `fine` (contrast), from azimuth, position and width of a stripe; models of `others` are taken out.
 * `out` may be NULL: only `b` is refined. False (with MRO_OK): there is no such band. */
enum mro_code mro_sb_refine(const struct mro_sb_grid *fine, const struct mro_shearband_options *o,
                            const struct mro_sb_band *others, size_t n_others, int threads, struct mro_sb_band *b,
                            struct mro_shearband *out, bool *found, struct mro_error *e);

/* -- shearband_search.c: stripes that are bands ------------------------------------------------------- */

/* Everything of one image on its way. */
struct mro_sb_work {
    struct mro_device *d;
    const struct mro_shearband_options *o;
    struct mro_sb_grid raw;    /* intensity, fine; NaN where there is no specimen */
    struct mro_sb_grid fine;   /* contrast */
    struct mro_sb_grid coarse; /* contrast */
    struct mro_sb_band band[MRO_SHEARBAND_MOST];
    double p[MRO_SHEARBAND_MOST];
    size_t n;
    double width[2];
};

/* Contrast on both grids, over a background fitted beside the bands known so far. *done false: none can be fitted. */
enum mro_code mro_sb_contrast(struct mro_sb_work *w, bool *done, struct mro_error *e);

/* Fills w->band, w->p and w->n with the stripes that are beyond chance, and r->p_value. */
enum mro_code mro_sb_search(struct mro_sb_work *w, struct mro_shearband_result *r, struct mro_error *e);

/* Is p above alpha? The least p of so many fields may be alpha itself, but for rounding. */
bool mro_sb_beyond(double p, const struct mro_shearband_options *o);

/* -- shearband.c -------------------------------------------------------------------------------------- */

/* The middle of a band's (curved) centre line, x and y in nm, and how far the field (nm: y, x) reaches from there
 * against its normal and along it. */
void mro_sb_reach(const struct mro_shearband *b, const double field[2], double at[2], double reach[2]);

#endif

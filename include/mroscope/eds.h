/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Composition along a line and over a map from X-ray counts: how large its fluctuations are once counting noise is
 * taken out, whether they repeat, and whether elements go together.
 *
 * A profile holds at.% or counts (or both) of several elements at rising distances. Counts make everything possible;
 * without counts or repeats of the line, the true part of a scatter cannot be told from its noise and stays NaN.
 * Threads: calls are independent of each other; results do not depend on the number of threads.
 */
#ifndef MROSCOPE_EDS_H
#define MROSCOPE_EDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/device.h"
#include "mroscope/image.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same input and options give other numbers. */
#define MRO_EDS_ALGORITHM "eds 2"

#define MRO_EDS_MAX_ELEMENTS 24
#define MRO_EDS_MAX_POINTS 1000000

/* ---- elements ---- */

/* Relative atomic weight of an element by its symbol ("Fe"); 0 when there is none of that name. Source: IUPAC
 * Commission on Isotopic Abundances and Atomic Weights, abridged values of 2021, to four figures or more. */
double mro_atomic_weight(const char *symbol);

/* Cliff-Lorimer factors by element, on weight fractions as vendors list them: C_a / C_b = (k_a / k_b) (N_a / N_b) in
 * wt.%. Their common factor has no meaning. */
struct mro_eds_k {
    size_t n;
    char symbol[MRO_EDS_MAX_ELEMENTS][4];
    double k[MRO_EDS_MAX_ELEMENTS];
};

/* Reads "Fe=1,Si=0.9". MRO_EARG naming what is wrong: no element, given twice, not a number between 0.01 and 100. */
enum mro_code mro_eds_k_parse(struct mro_eds_k *k, const char *text, struct mro_error *e);

/* ---- profiles ---- */

struct mro_eds_column {
    char symbol[4];
    double *at;       /* n values, at.%; NULL = not given */
    double *counts;   /* n values; NULL = not given */
    double *variance; /* n values, of the counts, where they are net of a background; NULL: Poisson */
};

/* {0} is empty and safe to release. Arrays are owned. */
struct mro_eds_profile {
    size_t n, elements;
    double *x_nm; /* strictly rising */
    struct mro_eds_column column[MRO_EDS_MAX_ELEMENTS];
    char **warnings;
    size_t n_warnings;
};

/* What the columns of a table hold when their headers do not say it. */
enum mro_eds_unit { MRO_EDS_UNIT_HEADER, MRO_EDS_UNIT_AT, MRO_EDS_UNIT_WT, MRO_EDS_UNIT_COUNTS };

/* How a table is to be taken. */
struct mro_eds_table_options {
    enum mro_eds_unit unit;
    bool normalise;       /* take at.% or wt.% that do not add up to 100 as parts of what is there */
    const char *elements; /* "Fe,Co,Si": use these columns only; NULL = all */
};

/* Reads a line profile from the text of a table: comma, semicolon or tab; decimal point or comma; UTF-8 or Latin-1 with
 * or without byte-order mark, UTF-16 with one; lines before the header are passed over. The header names a distance
 * with its unit ("Distance (nm)", "Position [um]") and elements with theirs ("Fe (at.%)", "Fe K [counts]", "Si Wt%",
 * "Atomic fraction Fe (%)"). Columns of totals, errors and other signals are left out. at.% and wt.% of all elements
 * have to add up to 100. `name` is the file for messages. Errors: MRO_EFORMAT or MRO_EDATA, one sentence with row and
 * column: no header, no distances, no unit, mixed units, a cell that is empty or no number, negative or repeated
 * values, one point. MRO_EMEMORY. Then `p` is empty. */
enum mro_code mro_eds_table(struct mro_eds_profile *p, const void *bytes, size_t size, const char *name,
                            const struct mro_eds_table_options *o, struct mro_error *e);
void mro_eds_profile_release(struct mro_eds_profile *p); /* NULL and {0} are fine */

/* ---- maps ---- */

/* Count maps of one field. Borrowed. */
struct mro_eds_field {
    size_t ny, nx, elements;
    double pixel_nm[2]; /* y, x */
    char symbol[MRO_EDS_MAX_ELEMENTS][4];
    const float *counts[MRO_EDS_MAX_ELEMENTS];   /* ny * nx each; NaN = no data */
    const float *variance[MRO_EDS_MAX_ELEMENTS]; /* of net counts; NULL: Poisson */
    bool at_percent;                             /* the maps hold at.%, not counts */
};

/* A line over a map, in nm from the top-left corner, and the full width of the band that is added up across it. */
struct mro_eds_line {
    double x0, y0, x1, y1, width_nm;
};

/* The diagonal from the top-left to the bottom-right corner, 5 pixels wide. */
struct mro_eds_line mro_eds_diagonal(const struct mro_eds_field *m);

/* The line of equal length (as far as the map reaches) that crosses the middle of `line` at a right angle. */
struct mro_eds_line mro_eds_across(const struct mro_eds_field *m, const struct mro_eds_line *line);

/* Profile along a line. Every pixel whose centre lies in the band belongs, whole, to the one bin that its centre falls
 * into: sums of whole pixels stay Poisson and bins stay independent, which shares of pixels, or interpolation, would
 * not leave so. Bins are as long as a pixel's shadow on the line. At the ends, bins with less than half of the
 * pixels of a full one are left out. Maps of at.% are averaged.
 * Errors: MRO_EARG (the line leaves the map, naming its size; too short; width), MRO_EDATA (a count below zero without
 * a variance, naming the pixel), MRO_EMEMORY. Release with mro_eds_profile_release. */
enum mro_code mro_eds_line_profile(struct mro_device *d, const struct mro_eds_field *m, const struct mro_eds_line *line,
                                   const char *name, struct mro_eds_profile *p, struct mro_error *e);

/* ---- statistics ---- */

struct mro_eds_options {
    struct mro_eds_k k;  /* n = 0: from a table that has at.% beside counts, else all 1 with a warning */
    int draws;           /* lines of red noise for p_periodic, and permutations; default 999 */
    uint64_t seed;       /* default 1 */
    double smooth_nm;    /* of the HAADF image before bright and dark are told apart, sigma; default 0.5 */
    double threshold_sd; /* bright: above the mean by so many standard deviations, dark: below; default 1 */
};
void mro_eds_options_default(struct mro_eds_options *o);

/* Power spectrum along a line: frequencies in 1/nm; powers in units of the counting noise, or of the mean without it.
 */
struct mro_eds_spectrum {
    size_t n;
    double *f_inv_nm, *power, *red, *wave; /* periodogram; fitted red noise; fitted wave */
    double level95;                        /* times `red`: what the highest of n powers stays below in 95 % of lines */
};

struct mro_eds_element {
    char symbol[4];
    double k;       /* Cliff-Lorimer factor used, the first element's being 1; NaN = none was needed */
    double mean_at; /* at.%, like all below */
    double sd_at, sd_counting_at, sd_true_at, sd_true_ci95[2], p_heterogeneous;
    double wavelength_nm, p_periodic;
    double *at, *se; /* per point: composition, standard deviation of counting (NULL = unknown) */
    struct mro_eds_spectrum spectrum;
};

struct mro_eds_pair {
    size_t a, b; /* elements */
    double r;
    double r_counting; /* what closure gives when nothing but counting, or independent change, moves the two */
    double p, n_eff;   /* of r against r_counting */
};

struct mro_eds_result {
    size_t points, elements, n_pairs, replicates;
    double step_nm, length_nm;
    bool counts;      /* counts were there */
    bool smoothed;    /* and refused: they scatter less than counts can */
    double roughness; /* scatter between neighbours over what counting gives, as variance; NaN = no counts */
    bool k_from_table, k_assumed;
    double *x_nm;
    struct mro_eds_element element[MRO_EDS_MAX_ELEMENTS];
    struct mro_eds_pair *pair;
    char **warnings;
    size_t n_warnings;
};

/* Measures a profile; `repeats` further profiles of the same line (same points, same elements) give the true part from
 * their covariance. `name` for messages.
 *
 * Noise of a composition follows the counts to first order, with the counts that the mean composition would give at
 * each point's total, so that noise and weight do not depend on the point's own chance. True part: DerSimonian and
 * Laird, Control. Clin. Trials 7 (1986) 177; interval by the Q-profile of Viechtbauer, Stat. Med. 26 (2007) 37; both
 * with a chi-squared matched to the fourth moment of small counts. It is the interval of the standard deviation along
 * this line; how far the line stands for the specimen is another matter.
 * Counts are refused (sd_true NaN) when neighbours differ significantly less than counts must.
 * Wavelength: waves, plane or cut from an isotropic pattern, against red noise, by Whittle's likelihood of the
 * Lomb-Scargle periodogram (Scargle, Astrophys. J. 263 (1982) 835; Schulz and Mudelsee, Comput. Geosci. 28 (2002) 421);
 * p from lines drawn of the red noise. Pairs: Pyper and Peterman, Can. J. Fish. Aquat. Sci. 55 (1998) 2127.
 *
 * Errors: MRO_EDATA (fewer than 3 points, one element, nothing counted, repeats that differ in points or elements),
 * MRO_EARG (a k-factor for an element that is not there), MRO_EMEMORY. Release with mro_eds_result_release. */
enum mro_code mro_eds_measure(const struct mro_eds_profile *p, const struct mro_eds_profile *repeats, size_t n_repeats,
                              const char *name, const struct mro_eds_options *o, struct mro_eds_result *r,
                              struct mro_error *e);
void mro_eds_result_release(struct mro_eds_result *r); /* {0} is fine */

/* Correlation of two series of n points, such as two lines over one map, its two-sided p against none, and how many
 * independent points their autocorrelations leave. NaN where there are too few. MRO_EMEMORY. */
enum mro_code mro_eds_compare(const double *a, const double *b, size_t n, double *r, double *p, double *n_eff,
                              struct mro_error *e);

/* ---- bright against dark ---- */

struct mro_eds_group {
    double area_fraction, mean_at[MRO_EDS_MAX_ELEMENTS], se_at[MRO_EDS_MAX_ELEMENTS];
    size_t pixels;
};

struct mro_eds_groups {
    size_t elements, permutations, blocks;
    char symbol[MRO_EDS_MAX_ELEMENTS][4];
    struct mro_eds_group bright, dark;
    double p_element[MRO_EDS_MAX_ELEMENTS];
    double p;                    /* all elements together; NaN without maps */
    double shift_nm[2];          /* found between HAADF and maps, y, x */
    double registration;         /* the largest correlation of image and maps over its standard deviation by chance */
    bool registered;             /* false: too flat to tell, and taken as it is */
    bool has_mro;                /* below: an MRO mask was given */
    double mro_bright, mro_dark; /* share of the MRO area in bright, in dark regions */
    double mro_p;                /* of mro_bright against chance, which is bright.area_fraction; two-sided */
    size_t ny, nx;
    double pixel_nm[2];
    signed char *group; /* ny * nx: 1 bright, -1 dark, 0 between or no data; owned */
    float *flat;        /* ny * nx: the HAADF image as it was judged, contrast; owned */
    char **warnings;
    size_t n_warnings;
};

/* Tells bright from dark in `haadf` (another pixel size is fine, another field is not), compares their composition,
 * and counts how much of `mro` (NULL = none; a mask, above 0.5 counts) lies in bright regions. The image is divided by
 * its mean over 5 nm or an eighth of the field, whichever is more, and smoothed. p by permuting square blocks of
 * bright-and-dark over the field, which keeps neighbours together; blocks are 4 correlation lengths wide or more.
 * `maps` may hold no elements; its size and pixels are then those of the comparison.
 * Errors: MRO_EARG (fields differ in size or shape, saying how), MRO_ECALIB, MRO_EDATA (a constant image, too small for
 * blocks, no pixel in a group), MRO_EMEMORY. Release with mro_eds_groups_release. */
enum mro_code mro_eds_bright_dark(const struct mro_eds_field *maps, const struct mro_image *haadf,
                                  const char *haadf_name, const struct mro_image *mro, const char *mro_name,
                                  const struct mro_eds_options *o, struct mro_eds_groups *g, struct mro_error *e);
void mro_eds_groups_release(struct mro_eds_groups *g); /* {0} is fine */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

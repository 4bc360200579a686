/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Maps of hardness or modulus from arrays of indents: mean, spread, and whether neighbours are alike.
 *
 * Coordinates and pitches are nm, x right, y down. Values keep the unit of the table. Threads: calls are independent of
 * each other.
 */
#ifndef MROSCOPE_INDENT_H
#define MROSCOPE_INDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same table and options give other numbers. */
#define MRO_INDENT_ALGORITHM "indent 3"

#define MRO_INDENT_MOST 4000000 /* indents in a table */

/* ---- tables ---- */

enum mro_indent_source {
    MRO_INDENT_NOWHERE, /* a list without positions */
    MRO_INDENT_ORDER,   /* a matrix, or coordinates without a unit: rows and columns, but no distances */
    MRO_INDENT_GIVEN,   /* a matrix with a pitch from the caller */
    MRO_INDENT_TABLE    /* coordinates of the table */
};

/* {0} is empty and safe to release. Arrays are owned. */
struct mro_indent_table {
    size_t n;      /* indents, without holes */
    double *value; /* n */
    double *x, *y; /* n, nm, or numbers of columns and rows from 0 where the pitch is unknown; NULL = no positions */
    enum mro_indent_source source;
    bool placed;       /* x and y are coordinates of the table, not numbers of columns and rows */
    size_t holes;      /* empty cells, and such as "NaN", "n/a", "-" */
    char unit[24];     /* of the values, as written; "" = unknown */
    char quantity[48]; /* header of the column of values; "" = none */
    char **warnings;
    size_t n_warnings;
};

struct mro_indent_table_options {
    const char
        *column;      /* header of the column of values; NULL: the first of hardness, or of modulus, or the only one */
    const char *unit; /* of the values, where the table does not say; NULL = unknown */
    double pitch_nm[2]; /* y, x, of a matrix; 0 = unknown */
    bool negative;      /* take values of 0 and below for values; else they are an error */
};

/* Reads a table: a matrix of values (with or without coordinates in its first row and column), or rows of x, y, value
 * with headers and units ("X (um)", "Y [mm]", "H (GPa)"), or a column of values. Text is UTF-8, UTF-16 or Latin-1, with
 * decimal points or commas, cells between commas, semicolons, tabs or blanks. `name` is the file for messages. Errors,
 * one sentence with line and column: MRO_EFORMAT (no table), MRO_EDATA (text where a number belongs, rows of different
 * lengths, commas both between cells and in numbers, values that are not positive, no values), MRO_ECALIB (one
 * coordinate with a unit and one without), MRO_EMEMORY. Then `t` is empty. */
enum mro_code mro_indent_table(struct mro_indent_table *t, const void *bytes, size_t size, const char *name,
                               const struct mro_indent_table_options *o, struct mro_error *e);
void mro_indent_table_release(struct mro_indent_table *t); /* NULL and {0} are fine */

/* "10um", "500 nm", "10um,20um" (x, y) to nm (y, x). MRO_EARG: no number, no unit of length. */
enum mro_code mro_indent_pitch(const char *text, double pitch_nm[2], struct mro_error *e);

/* ---- statistics ---- */

enum mro_indent_edge { MRO_INDENT_NONE, MRO_INDENT_LEFT, MRO_INDENT_TOP, MRO_INDENT_RIGHT, MRO_INDENT_BOTTOM };

struct mro_indent_options {
    double noise_sd;           /* of one indent, unit of the table; 0 = from repeats in the table, if there are any */
    double noise_dof;          /* degrees of freedom that it was measured with; 0 = it is exact */
    const char *noise_source;  /* words for noise_sd; static */
    enum mro_indent_edge edge; /* bins against the distance from here */
    int permutations;          /* default 9999 */
    uint64_t seed;
};
void mro_indent_options_default(struct mro_indent_options *o);

/* One bin of distance. */
struct mro_indent_bin {
    size_t n;
    double distance; /* nm, or columns or rows where the pitch is unknown; mean of its indents */
    double mean, mean_ci95[2], sd, fwhm, fwhm_ci95[2];
};

/* Straight line through numbers of bins, each weighted by its indents. */
struct mro_indent_trend {
    double slope, slope_ci95[2], p; /* per nm, or per column or row */
};

/* Numbers that could not be measured are NaN, with a sentence in warnings. */
struct mro_indent_result {
    size_t n, places, holes; /* indents; places, where repeats are one */
    double mean, mean_ci95[2], sd, sd_ci95[2];
    double fwhm, fwhm_ci95[2];               /* of the Gaussian with this sd */
    double fwhm_kernel, fwhm_kernel_ci95[2]; /* of a kernel estimate of the distribution, its smoothing taken out */
    double noise_sd;                         /* of one indent; NaN = unknown */
    double noise_dof;                        /* it was measured with; 0 = it is exact */
    double noise_share;                      /* of its variance, in that of a place: 1 without repeats */
    const char *noise_source;                /* "repeats", ...; NULL = unknown */
    double sd_true, fwhm_true, fwhm_true_ci95[2]; /* noise taken out; NaN = noise unknown, or larger */
    double skewness, minimum, maximum;
    double n_effective; /* independent indents that say as much of the spread */
    double moran_i, moran_expected, moran_p;
    double correlation_length; /* where neighbours' correlation falls to 1/e, unit of `pitch`; NaN = below one step */
    size_t pairs;              /* of neighbours */
    enum mro_indent_source source;
    size_t grid_ny, grid_nx;        /* 0 = no grid */
    double pitch[2];                /* y, x: nm, or 1 where unknown; NaN = no grid */
    double origin[2];               /* y, x of the first cell */
    double *grid;                   /* grid_ny * grid_nx, NaN = hole; means of repeats. Owned. */
    double *value, *x, *y, *beside; /* places: value, position, mean of neighbours (NaN = none). Owned, in one block. */
    struct mro_indent_bin *bin;
    size_t n_bins;
    enum mro_indent_edge edge;
    struct mro_indent_trend mean_trend, fwhm_trend;
    double kernel_lo, kernel_step, bandwidth; /* kernel estimate at lo + i step, density */
    double *kernel;
    size_t n_kernel;
    char unit[24], quantity[48];
    char verdict[300];
    char **warnings;
    size_t n_warnings;
};

/* Measures a table. Spread: sd with n - 1; its interval from chi squared with the degrees of freedom that tails and
 * likeness of neighbours leave; so have bins and the lines through them on a grid. Likeness: Moran's I over neighbours,
 * p from permutations (chance that values shuffled over the same places have an I as large). Errors: MRO_EMEMORY,
 * MRO_EARG (bins of a table without positions). Release with mro_indent_result_release. Source: Moran, Biometrika 37
 * (1950) 17; permutations after Cliff and Ord, Spatial Processes (1981); bandwidth after Silverman, Density Estimation
 * (1986). */
enum mro_code mro_indent_measure(const struct mro_indent_table *t, const char *name, const struct mro_indent_options *o,
                                 struct mro_indent_result *r, struct mro_error *e);
void mro_indent_result_release(struct mro_indent_result *r); /* {0} is fine */

/* Are distances nm (and not columns and rows)? */
static inline bool mro_indent_length_known(const struct mro_indent_result *r)
{
    return r->source == MRO_INDENT_TABLE || r->source == MRO_INDENT_GIVEN;
}

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

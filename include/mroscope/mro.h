/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Medium-range order (MRO) in HRTEM micrographs of metallic glasses: where in the image is there
 * order with the spacing of alpha-Fe (110), which fraction of the area is it, and is that more than
 * a glass of the same spectrum shows by chance.
 *
 * Spatial frequencies are 1/d in nm^-1. Positions in nm from the top-left corner of the image.
 * Azimuths in degrees in [0, 180), 0 along +x, positive toward +y. Defocus > 0 is underfocus.
 */
#ifndef MROSCOPE_MRO_H
#define MROSCOPE_MRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/device.h"
#include "mroscope/image.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same image and options give other numbers. */
#define MRO_ORDER_ALGORITHM "mro 7"

struct mro_order_options {
    double band_inv_nm[2];      /* pass band; default 4.1, 5.8 */
    double d_nm;                /* spacing looked for; default 0.203, alpha-Fe (110) */
    double d_tolerance;         /* relative; default 0.06 */
    double false_positive_rate; /* of one cell, below 0.5; default 0.01 */
    int surrogates;  /* speckle fields of 25.6 x 25.6 nm behind the null, 8 to 100000; default 26 (106 496 cells) */
    double kv;       /* beam energy; 0 = from the file, else unknown */
    double cs_mm;    /* spherical aberration; NaN = unknown */
    bool sweep_band; /* repeat with other pass bands */
    bool acf_map;    /* also score the windowed autocorrelation of every cell */
    bool views;      /* also fill in filtered, whitened, tiles and the survival curves; default true */
    uint64_t seed;
};
void mro_order_options_default(struct mro_order_options *o);

enum mro_grade { MRO_GRADE_A = 'A', MRO_GRADE_B = 'B', MRO_GRADE_C = 'C' };

/* One ordered region. */
struct mro_order_object {
    double x_nm, y_nm;
    double diameter_nm;
    double d_nm;        /* spacing */
    double azimuth_deg; /* of the reciprocal vector g */
    double snr;         /* power of the matched fringe patch over that of the speckle */
    char grade;         /* 'A' ordered, 'B' of the spacing looked for, 'C' with a second reflection */
};

/* The fitted transfer function; known = false: no rings could be fitted or kV/Cs are unknown. */
struct mro_ctf {
    bool known;
    double defocus_nm, astigmatism_nm, azimuth_deg;
    double delocalisation_nm; /* R at 1/d; NaN = unknown */
};

/* A map on the grid of cells; value (i, j) belongs to the cell centred at
 * (x0_nm + i * step_nm, y0_nm + j * step_nm). NaN = left out. */
struct mro_order_map {
    size_t nx, ny;
    double x0_nm, y0_nm, step_x_nm, step_y_nm;
    float *v; /* ny * nx, owned by the result */
};

struct mro_order_sweep {
    double band_inv_nm[2];
    double fraction, fraction_ci95[2];
};

/* Autocorrelations for display: a round Hann window of cells of about 2 nm, as in the literature, with a soft edge;
 * lags over 2 nm: ten fringes, and the window still holds a tenth of its pairs in the corners. */
#define MRO_ORDER_ACF_WINDOW_NM 2.5
#define MRO_ORDER_ACF_LAGS 81
#define MRO_ORDER_ACF_STEP_NM 0.025

/* Windowed autocorrelation of one of the strongest cells. */
struct mro_order_tile {
    double x_nm, y_nm, step_nm; /* cell centre; grid step of the tile */
    size_t n;                   /* n * n values, zero lag at (n/2, n/2), normalised to 1 there */
    float *v;
};

/* The least p_image of one image: what the patches of the null, some eighty, can vouch for. */
#define MRO_ORDER_LEAST_P 5e-5

/* Result of one frame. Numbers that could not be measured are NaN, with a sentence in warnings. */
struct mro_order_result {
    double pixel_nm[2];
    double band_inv_nm[2], d_nm, false_positive_rate;
    size_t cells;        /* cells measured */
    double region_nm[4]; /* x0, y0, x1, y1 */
    double coverage;     /* usable part of the image, 0 to 1 */
    double blemished;    /* part of the pixels that lie in patches of one value, or at edges as sharp as a pixel */
    double interference; /* part of the frequencies of the band that waves on all of the field, or noise of rows, had */
    double fraction_raw; /* flagged cells / cells */
    double null_fraction; /* the same over speckle images */
    double fraction;      /* area fraction, corrected for null, power and footprint */
    double fraction_ci95[2];
    double fraction_at_most[3]; /* its upper end were the power of all fringes that of bcc Fe, a half, a quarter of it;
                                   NaN where there is enough order to tell its power */
    double p_image;             /* chance that a glass of the same spectrum shows this much */
    bool p_image_at_most;       /* that or less: the fields of the null cannot tell */
    bool distinguishable;       /* p_image < 0.001 */
    double fraction_acf;        /* NaN unless acf_map */
    double density_per_nm2, diameter_median_nm;
    double size_limit_nm;      /* smallest cluster found with 50 % probability */
    double grade_fractions[3]; /* A, B, C: shares of objects */
    struct mro_ctf ctf;
    struct mro_order_object *objects;
    size_t n_objects;
    struct mro_order_sweep *sweep;
    size_t n_sweep;
    char verdict[512]; /* one sentence */
    char **warnings;
    size_t n_warnings;
    /* For figures and maps. */
    struct mro_order_map score;   /* in units of the threshold: 1 = flagged at the nominal rate */
    struct mro_order_map mask;    /* 1 flagged, 0 not */
    struct mro_order_map acf;     /* fringe score of the autocorrelation over its threshold; v NULL unless acf_map */
    struct mro_order_map spacing; /* nm, of the fringes that gave a cell its score */
    struct mro_image filtered;    /* band-passed image on the coarse grid, calibrated */
    struct mro_image whitened;    /* what is scored: filtered, and every frequency brought to the same power */
    struct mro_order_tile *tiles;
    size_t n_tiles;
    /* Survival of the score over [0..n_cdf): the score itself, nominal rate, share of the null and of the image. */
    double *cdf_score, *cdf_p, *cdf_null, *cdf_observed;
    size_t n_cdf;
};

struct mro_order_plan; /* opaque */

/* Prepares measurements with one set of options on one device: draws the null from speckle fields, which serve every
 * image (the null of a whitened image depends on the band alone). `d` must outlive the plan. Errors: MRO_EARG (an
 * option out of range), MRO_EMEMORY. Free with mro_order_plan_free. Measuring leaves a plan as it is. */
enum mro_code mro_order_plan_new(struct mro_order_plan **p, struct mro_device *d, const struct mro_order_options *o,
                                 struct mro_error *e);
void mro_order_plan_free(struct mro_order_plan *p); /* NULL is fine */

/* Measures one frame. `name` is the file for messages. The result is filled also when nothing can be measured
 * (constant image): numbers NaN, a reason in warnings, MRO_OK.
 * Errors: MRO_ECALIB (no pixel size), MRO_EARG (band beyond Nyquist, wrong order), MRO_EDATA (under 8 pixels along an
 * axis), MRO_EMEMORY. Release with mro_order_result_release. Same input, options and seed: same bytes at any number of
 * threads. Source: Gabor detector and surrogate null after Theiler et al., Physica D 58 (1992) 77; weights after
 * Horvitz and Thompson, J. Am. Stat. Assoc. 47 (1952) 663; windowed autocorrelation after Fan and Cowley,
 * Ultramicroscopy 17 (1985) 345. */
enum mro_code mro_order_measure(const struct mro_order_plan *p, const struct mro_image *im, const char *name,
                                struct mro_order_result *r, struct mro_error *e);

/* The same on another device of the same kind: several threads may measure by one plan, each on a device of its own. */
enum mro_code mro_order_measure_on(const struct mro_order_plan *p, struct mro_device *d, const struct mro_image *im,
                                   const char *name, struct mro_order_result *r, struct mro_error *e);
void mro_order_result_release(struct mro_order_result *r); /* {0} is fine */

/* Bytes of host memory that measuring an image of this shape and pixel size takes beside its pixels, rounded up;
 * `like` needs no pixels. */
size_t mro_order_bytes(const struct mro_image *like, const struct mro_order_options *o);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

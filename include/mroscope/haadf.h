/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Heterogeneity of HAADF-STEM (or HRTEM) images: how large the contrast is within a band once counting noise and scan
 * lines are taken out, how far it reaches, and whether there are more dark or bright regions than a random field of
 * the same spectrum shows.
 *
 * Contrast is relative: intensity over its background, minus 1. Spatial frequencies are 1/d in nm^-1, lengths nm,
 * positions from the top-left corner of the image. Arrays are y, x.
 */
#ifndef MROSCOPE_HAADF_H
#define MROSCOPE_HAADF_H

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
#define MRO_HAADF_ALGORITHM "haadf 2"

#define MRO_HAADF_LEVELS 8 /* most thresholds that are tested */
#define MRO_HAADF_DEGREE 5 /* largest degree of the polynomial background */

struct mro_haadf_options {
    bool hrtem; /* the image is HRTEM: no black level is missed, bands with the lattice in them are refused */
    double band_inv_nm[2]; /* default 1/15, 1 */
    double black_level;    /* counts of the detector without beam; NaN = unknown, taken as 0 */
    double vacuum_nm[4];   /* x0, y0, x1, y1 of a place without specimen: its median is the black level, and it is left
                              out; x1 <= x0 = none */
    int polynomial;        /* degree of the background that the image is divided by, 0 to 5; default 3 */
    double high_pass_nm;   /* Gaussian that the image is divided by next; default 15; 0 = none */
    double
        thresholds_sd[MRO_HAADF_LEVELS]; /* depths of regions, rising, in standard deviations; default 1, 1.5, 2, 3 */
    size_t n_thresholds;
    int surrogates; /* random fields behind p, 299 to 100000; default 999 */
    uint64_t seed;
};
void mro_haadf_options_default(struct mro_haadf_options *o);

/* Regions beyond one threshold, and what a Gaussian field of the same spectrum has. */
struct mro_haadf_level {
    double threshold_sd;
    size_t count;
    double density_per_nm2, area_fraction;
    double diameter_nm;                            /* of the circle with the mean area of the regions */
    double null_area_fraction;                     /* mean of the surrogate fields */
    double null_density_per_nm2, null_diameter_nm; /* expected Euler characteristic of a Gaussian field */
};

/* Dark (or bright) regions. */
struct mro_haadf_regions {
    double threshold_sd; /* half way between the two levels of the image where it has two, else the first threshold;
                            in standard deviations of the contrast from the mean */
    bool two_levels;
    size_t count; /* connected regions */
    double density_per_nm2;
    double area_fraction;
    double diameter_nm; /* mean, over the middle half of their area, of the largest disc that fits around a point; NaN
                           unless p < 0.01 */
    double null_ratio;  /* area beyond null_threshold_sd over that of a Gaussian field of this spectrum */
    double null_threshold_sd; /* the threshold at which the two differ most */
    double p_value;           /* chance that a Gaussian field of this spectrum has as much beyond the thresholds */
    bool p_at_most;           /* that or less: none of the fields that were drawn has as much */
    struct mro_haadf_level level[MRO_HAADF_LEVELS];
    size_t n_levels;
};

/* One ring of the spectrum. Power is of contrast, times area: nm^2. */
struct mro_haadf_ring {
    double q_inv_nm, power, lo, hi; /* lo, hi: 95 % band of a field with the fitted monotone spectrum */
};

/* What several frames of one place are combined from; opaque. */
struct mro_haadf_state;

/* Result of one frame. Numbers that could not be measured are NaN, with a sentence in warnings. */
struct mro_haadf_result {
    double pixel_nm[2], band_inv_nm[2];
    double field_nm[2];      /* y, x */
    double coverage;         /* usable part of the image, 0 to 1 */
    double black_level;      /* counts, that was subtracted */
    double clipped_fraction; /* share of pixels at the upper or lower end of the range */
    double contrast_sd, contrast_sd_ci95[2];
    double normalised_variance; /* square of contrast_sd */
    double fwhm;                /* of the histogram of the contrast in the band, noise taken out */
    double skewness, skewness_ci95[2];
    double noise_sd;              /* of one pixel, relative to the background */
    double line_noise_sd;         /* of the mean of a scan line; NaN = none seen */
    double correlation_length_nm; /* where the autocorrelation falls to 1/e */
    double wavelength_nm, wavelength_p;
    double coherence_nm; /* decay length of the wave (Teubner and Strey) */
    double smoothing_nm; /* full width at half maximum of the smoothing that the regions are found after */
    struct mro_haadf_regions dark, bright;
    double p_value;     /* of dark and bright together */
    bool heterogeneous; /* p_value < 0.01 */
    size_t frames;      /* that the numbers come from */
    char verdict[400];  /* one sentence */
    char **warnings;
    size_t n_warnings;
    /* For figures and maps. */
    struct mro_image flat; /* contrast, background and scan lines taken out, smoothed as the regions need */
    struct mro_image mask; /* -1 dark, 1 bright, 0 neither; NaN left out */
    double mask_level[2];  /* contrast of the two thresholds in `flat` */
    struct mro_haadf_ring *ring;
    size_t n_rings;
    double noise_power;                              /* of the rings, nm^2 */
    double *histogram, histogram_lo, histogram_step; /* density of the contrast in the band; n_histogram values */
    size_t n_histogram;
    double histogram_sd[2]; /* Gaussian of the same FWHM: with noise, without */
    double histogram_mode;
    double *acf, acf_step_nm; /* autocorrelation of the contrast in the band at lags i * step */
    size_t n_acf;
    struct mro_haadf_state *state;
};

/* Measures one frame. `name` is the file for messages. Filled also when nothing can be measured (constant image):
 * numbers NaN, a reason in warnings, MRO_OK.
 * Errors: MRO_ECALIB (no pixel size), MRO_EARG (an option out of range, band beyond Nyquist), MRO_EDATA (under 8 pixels
 * along an axis), MRO_EMEMORY. Release with mro_haadf_result_release. Same input, options and seed: same bytes at any
 * number of threads. One call a device at a time.
 * Source: Teubner and Strey, J. Chem. Phys. 87 (1987) 3195; surrogates after Theiler et al., Physica D 58 (1992) 77;
 * excursion sets after Adler, The Geometry of Random Fields (1981); sizes by the largest inscribed disc, Hildebrand and
 * Ruegsegger, J. Microsc. 185 (1997) 67. */
enum mro_code mro_haadf_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e);

/* Bytes of host memory that measuring an image of this shape and calibration takes, beside its pixels; `like` has no
 * pixels. */
size_t mro_haadf_bytes(const struct mro_image *like, const struct mro_haadf_options *o);
void mro_haadf_result_release(struct mro_haadf_result *r); /* {0} is fine */

/* Frames of one place, taken together: registered by phase correlation and averaged; the noise is what differs between
 * them. `{0}` is empty. */
struct mro_haadf_pool {
    size_t frames, matched, constant; /* added; that match the first; without any contrast to match by */
    struct mro_haadf_state *first, *sum;
    float *own; /* sum of the frames' own powers */
    double largest_shift_nm;
};

/* Adds a frame's result, of which a copy is made of what is needed. MRO_EMEMORY, MRO_EDATA (a frame of another shape).
 */
enum mro_code mro_haadf_pool_add(struct mro_haadf_pool *p, struct mro_device *d, const struct mro_haadf_result *r,
                                 struct mro_error *e);

/* Measures the frames together, as mro_haadf_measure does one. Frames that do not show the place of the first are left
 * out, with a warning; with fewer than two left the numbers are NaN. Release with mro_haadf_result_release. */
enum mro_code mro_haadf_pool_measure(const struct mro_haadf_pool *p, struct mro_device *d, const char *name,
                                     const struct mro_haadf_options *o, struct mro_haadf_result *r,
                                     struct mro_error *e);
void mro_haadf_pool_release(struct mro_haadf_pool *p); /* {0} is fine */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

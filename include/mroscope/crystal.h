/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Nanocrystals in HRTEM micrographs: where crystals of more than about 2 nm lie in the image, their size, lattice
 * spacings and phase, and how their lattice is strained (geometric phase analysis).
 *
 * Spatial frequencies are 1/d in nm^-1. Positions in nm from the top-left corner of the image, x right, y down.
 * Azimuths in degrees in [0, 180), 0 along +x, positive toward +y. Strain is that of the real lattice, d / d_ref - 1 >
 * 0 where it is stretched; exy > 0 stretches along the diagonal from top left to bottom right; rotations are positive
 * from +x toward +y. Arrays are y, x.
 */
#ifndef MROSCOPE_CRYSTAL_H
#define MROSCOPE_CRYSTAL_H

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
#define MRO_CRYSTAL_ALGORITHM "lattice 5"

#define MRO_CRYSTAL_FRINGES 8 /* most fringe sets of one crystal that are kept */
#define MRO_PHASES 16         /* most phases that crystals are compared with */
#define MRO_DISLOCATIONS 16   /* most dislocations of one crystal whose places are kept */

enum mro_structure { MRO_BCC, MRO_FCC, MRO_HCP, MRO_SC, MRO_DIAMOND };

/* A crystal structure that fringes are indexed with. */
struct mro_phase {
    char name[24];
    enum mro_structure structure;
    double a_nm, c_nm; /* c of hcp only */
};

/* Reads "NAME:A:STRUCTURE" with a in nm and bcc, fcc, hcp, sc or diamond, or "NAME:A:hcp:C" (else c = 1.633 a).
 * MRO_EARG with a sentence that says what is wrong. */
enum mro_code mro_phase_parse(const char *text, struct mro_phase *p, struct mro_error *e);
const char *mro_structure_name(enum mro_structure s); /* "bcc", ... */

/* Reads a set of fringes, "GX,GY" in nm^-1 or "SPACING@AZIMUTH" in nm and degrees, to y, x in nm^-1. MRO_EARG: neither.
 */
enum mro_code mro_fringes_parse(const char *text, double g_inv_nm[2], struct mro_error *e);

struct mro_crystal_options {
    double band_inv_nm[2];               /* 1/d of fringes looked for; default 1/0.37, 1/0.13 */
    double g_inv_nm[2][2];               /* y, x: the fringe sets to measure, in place of looking for them */
    size_t n_g;                          /* of them given: 0, 1 or 2 */
    double mask_inv_nm;                  /* standard deviation of the Gaussian mask around each spot; default 0.4 */
    double reference_d_nm;               /* spacing without strain; NaN = a reference area is used */
    double reference_nm[4];              /* x0, y0, x1, y1 of the reference area; x1 <= x0 = chosen in each crystal */
    double band_line_nm[4];              /* x0, y0, x1, y1 of a line along the middle of a shear band; NaN = none */
    double band_width_nm;                /* of that band; NaN = none */
    double false_per_image;              /* crystals that speckle alone may give in an image; default 0.004 */
    struct mro_phase phases[MRO_PHASES]; /* default: alpha-Fe */
    size_t n_phases;
    uint64_t seed; /* of the noise fields that phase vortices are compared with */
};
void mro_crystal_options_default(struct mro_crystal_options *o);

/* One set of fringes of a crystal. */
struct mro_fringes {
    double g_inv_nm[2];   /* y, x */
    double d_nm, d_se_nm; /* with the error of what whitening moved the spot by */
    double d_crlb_nm;     /* Cramer-Rao bound of d_se_nm: noise of the surroundings alone, lattice perfect */
    double azimuth_deg;
    double amplitude; /* of the fringes, relative to the mean intensity: contrast = amplitude * cos(...) */
    double amplitude_over_noise;
    double snr;      /* power of the fringes over that of the noise, of the whole crystal */
    double strain;   /* d_nm over the reference, minus 1; NaN without a reference */
    int hkl[3];      /* 0, 0, 0 = not indexed */
    double residual; /* d_nm over the phase's spacing, minus 1; NaN */
};

/* A dislocation: a place around which the phase of a fringe set of the pair turns. */
struct mro_dislocation {
    double x_nm, y_nm;
    double turns[2];      /* of the phase of each set along a loop from +x toward +y; NaN = not clear there */
    double burgers_nm[2]; /* x, y: what the displacement gains along that loop; NaN = not known from both sets */
};

struct mro_crystal {
    double x_nm, y_nm, diameter_nm, area_nm2;
    bool at_border; /* cut by the border of the image: size and centre are of what is seen */
    struct mro_fringes fringes[MRO_CRYSTAL_FRINGES]; /* the first is the one that d_nm and sides speak of */
    size_t n_fringes;
    int pair[2]; /* fringe sets that the strain is from; the second < 0: one set only, strain along its normal */
    /* Mean over the crystal of the local strain; NaN what cannot be told from one set of fringes. */
    double exx, eyy, exy, rotation_deg;
    double enn;             /* along the normal of the first set */
    double e_se;            /* standard error of a component of the mean strain, that of the reference area in it */
    double reference_nm[4]; /* x0, y0, x1, y1 of the area that strain is relative to; NaN: to reference_d_nm */
    int vortices;           /* dislocations: phase vortices in the fringe sets of the pair; < 0: not counted */
    struct mro_dislocation dislocations[MRO_DISLOCATIONS]; /* the first n_dislocations of them */
    size_t n_dislocations;
    double vortices_null;      /* mean number in a perfect crystal of this size under the same noise */
    int phase;                 /* of the options; < 0: none fits */
    double phase_residual;     /* root mean square of the residuals */
    double angle_residual_deg; /* angle between the pair minus that of the indexed planes; NaN */
    int zone[3];               /* zone axis; 0, 0, 0 = one set of fringes only */
    double band_distance_nm;   /* of the centre from the band's line; NaN */
};

/* A step of strain inside a crystal: one of its two sides. */
struct mro_crystal_side {
    size_t crystal;            /* of the result's list */
    bool plus;                 /* the side that the normal points to */
    double normal_azimuth_deg; /* of the border between the sides, [0, 360): it points to the plus side */
    double border_nm[2];       /* x, y of the border's middle */
    double azimuth_deg;        /* of the fringe normal that strain is along */
    double strain, strain_se, d_nm, d_se_nm;
    double area_nm2; /* more than the gap away from the border */
};

/* Crystals inside the band, or outside of it. */
struct mro_crystal_group {
    size_t count;
    double area_nm2;
    double density_per_nm2, density_ci95[2];
    double d_nm, d_se_nm; /* mean of the spacings next to the strongest crystal's, and its standard error */
    double diameter_nm, diameter_se_nm;
};

struct mro_crystal_band {
    bool measured;
    struct mro_crystal_group inside, outside;
    double rate_ratio, rate_ratio_ci95[2], rate_p; /* density inside over outside; exact conditional test */
    /* Poisson regression ln density = const + slope * distance, and straight lines of spacing and size. */
    double density_slope, density_slope_se, density_slope_p;    /* per nm */
    double d_slope, d_slope_se, d_slope_p;                      /* nm per nm */
    double diameter_slope, diameter_slope_se, diameter_slope_p; /* nm per nm */
};

/* Result of one frame. Numbers that could not be measured are NaN, with a sentence in warnings. */
struct mro_crystal_result {
    double pixel_nm[2], band_inv_nm[2];
    double mask_inv_nm, resolution_nm; /* of the strain maps: full width at half maximum of the mask in real space */
    double reference_d_nm;
    double filter_radius_inv_nm, filter_edge_inv_nm; /* of the spots in `filtered` */
    double false_expected;                           /* crystals that speckle alone gives in an image like this */
    double size_limit_nm;         /* smallest crystal, of the fringe contrast of the median one, that is found; NaN */
    struct mro_crystal *crystals; /* by diameter, the largest first */
    size_t n_crystals;
    struct mro_crystal_side *sides;
    size_t n_sides;
    struct mro_crystal_band band;
    char verdict[400]; /* one sentence */
    char **warnings;
    size_t n_warnings;
    /* Maps over the whole field, calibrated; NaN where no crystal's amplitude exceeds three times the noise. */
    struct mro_image exx, eyy, exy, rotation, enn; /* rotation in degrees */
    struct mro_image owner;                        /* number of the crystal, -1 = none */
    struct mro_image filtered; /* inverse transform of the spots alone, relative to the mean intensity */
    struct mro_image power;    /* log10 of the spectrum, zero in the middle, calibrated in nm^-1 */
};

/* Measures one frame. `name` is the file for messages. Filled also when there is nothing to find (constant image, no
 * crystal): a reason in warnings, MRO_OK.
 * Errors: MRO_ECALIB (no pixel size), MRO_EARG (an option out of range, band beyond Nyquist, reference outside the
 * image, given fringes that are collinear or outside of the band), MRO_EDATA (under 8 pixels along an axis),
 * MRO_EMEMORY. Release with mro_crystal_result_release. Same input, options and seed: same bytes at any number of
 * threads. One call a device at a time. Source: Hytch, Snoeck, Kilaas, Ultramicroscopy 74 (1998) 131; Rouviere and
 * Sarigiannidou, Ultramicroscopy 106 (2005) 1; bound of frequency after Rife and Boorstyn, IEEE Trans. Inf. Theory 20
 * (1974) 591. */
enum mro_code mro_crystal_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                  const struct mro_crystal_options *o, struct mro_crystal_result *r,
                                  struct mro_error *e);
void mro_crystal_result_release(struct mro_crystal_result *r); /* {0} is fine */

/* Bytes of host memory that measuring an image of this shape and calibration takes, beside its pixels; `like` has no
 * pixels. */
size_t mro_crystal_bytes(const struct mro_image *like, const struct mro_crystal_options *o);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

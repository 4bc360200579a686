/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Diffraction patterns with halos or rings: what to leave out, the centre, the ellipse, the azimuthal mean with its
 * standard error, and how the first halo depends on direction.
 *
 * Arrays are y, x. Pixel positions count from the centre of the first pixel. Azimuths are degrees in [0, 180), 0 along
 * +x, positive toward +y. s = 1/d in nm^-1. An ellipse is described by its ratio (long over short axis) and the azimuth
 * of the long axis; the radius of a pixel is that of the circle of the same area.
 */
#ifndef MROSCOPE_SAED_H
#define MROSCOPE_SAED_H

#include <stdbool.h>
#include <stddef.h>

#include "mroscope/device.h"
#include "mroscope/image.h"
#include "mroscope/math/azimuth.h"
#include "mroscope/profile.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same pattern and options give other numbers. */
#define MRO_SAED_ALGORITHM "saed 2"

enum mro_saed_how {
    MRO_SAED_FIT = 0,  /* from the pattern itself */
    MRO_SAED_GIVEN,    /* by option */
    MRO_SAED_REFERENCE /* from a pattern of a reference, taken under the same conditions */
};

enum mro_standard { MRO_STANDARD_NONE = 0, MRO_STANDARD_AU, MRO_STANDARD_SI, MRO_STANDARD_CEO2, MRO_STANDARD_AL };

/* Why a pixel was left out: bits of mro_saed_result.mask. */
enum mro_saed_mask {
    MRO_SAED_NO_DATA = 1,    /* NaN */
    MRO_SAED_MASK_FILE = 2,  /* by the mask that was given */
    MRO_SAED_SATURATED = 4,  /* at the upper end of the range, and its neighbours */
    MRO_SAED_DEAD = 8,       /* dead and hot pixels, columns, rows */
    MRO_SAED_BEAM_STOP = 16, /* shaded */
    MRO_SAED_OUTLIER = 32    /* far from the rest of its ring: spots, cosmic rays. Set only in the result's mask */
};

/* Where the pattern lies on the detector. */
struct mro_saed_geometry {
    double centre_px[2];    /* x, y */
    double centre_se_px[2]; /* NaN = unknown (given) */
    double ellipse_ratio;   /* >= 1 */
    double ellipse_ratio_se;
    double ellipse_azimuth_deg; /* NaN when the ratio is 1 */
    enum mro_saed_how centre_how, ellipse_how;
};

struct mro_saed_options {
    /* Calibration, the first of these that is there: step, camera length with pixel and voltage, the image's axes. */
    double step_inv_nm;       /* nm^-1 per pixel; 0 = not given */
    double camera_length_mm;  /* 0 = not given */
    double detector_pixel_um; /* of a pixel of the image as it is (times binning); needed with camera_length_mm */
    double beam_kv;           /* 0 = the image's */
    /* Geometry. */
    enum mro_saed_how centre_how, ellipse_how;
    double centre_px[2];                       /* x, y; GIVEN: the centre; FIT: ignored */
    double ellipse_ratio, ellipse_azimuth_deg; /* GIVEN and REFERENCE */
    double ellipse_ratio_se;                   /* of a REFERENCE, 0 = exact */
    /* What is left out. */
    bool auto_mask;            /* default true */
    const unsigned char *mask; /* host, ny * nx of the pattern, non-zero = leave out; NULL = none */
    double clip_sd;            /* pixels farther than this from their ring's mean are left out; 0 = none; default 5 */
    /* Profile. */
    double bin_inv_nm;        /* distance of the points; 0 (default) = one pixel */
    size_t sectors;           /* 8 to 360, even; default 36 */
    double s_range_inv_nm[2]; /* of the rings that centre and ellipse are fitted to; 0, 0 = all */
    /* Anisotropy of the first halo. */
    double halo_inv_nm[2]; /* window around it; 0, 0 (default) = found */
};
void mro_saed_options_default(struct mro_saed_options *o);

/* One sector of the first halo, together with the one opposite. */
struct mro_saed_sector {
    double azimuth_deg, strain, se; /* (s of the whole ring - s here) / s here; NaN = not measurable */
};

struct mro_saed_anisotropy {
    double s_inv_nm;    /* position of the first halo */
    double e0;          /* mean of the strains */
    double e2, e2_se;   /* amplitude of the fit e0 + e2 cos 2 (chi - azimuth), >= 0; NaN not measurable */
    double azimuth_deg; /* direction of the largest strain */
    double p;           /* chance of such an amplitude without anisotropy */
    bool confounded;    /* the ellipse comes from the same pattern: strain common to all rings is taken for it */
    struct mro_saed_sector *sector;
    size_t n_sectors;
};

/* Result of one pattern. Numbers that could not be measured are NaN, with a sentence in warnings. */
struct mro_saed_result {
    struct mro_saed_geometry geometry;
    double step_inv_nm; /* of a pixel */
    enum mro_source step_source;
    char step_text[120]; /* the calibration in words */
    double s_max_inv_nm; /* largest s with at least half of the ring on the detector and usable */
    double s_min_inv_nm; /* smallest s beyond the beam stop with at least half of the ring usable */
    unsigned char *mask; /* ny * nx, bits of enum mro_saed_mask; 0 = used */
    size_t ny, nx;
    double masked[6];     /* shares of the pattern by cause, in the order of the bits */
    double coverage;      /* share of the pattern that is used */
    bool crystalline;     /* spots on the rings beyond what noise and speckle give */
    double ring_variance; /* largest variance of the intensity around a ring over its mean squared, noise taken out */
    double spottiness, spottiness_p; /* largest share of a ring's intensity that its spots hold, and how likely it is
                                        for a glass */
    struct mro_saed_anisotropy anisotropy;
    struct mro_profile profile;
    char **warnings;
    size_t n_warnings;
    /* For a plan. */
    struct mro_round round;
    double bin_inv_nm, wavelength_nm; /* distance of the points on the detector; 0 = a linear axis */
    bool halo_known;                  /* the first halo was found, and measured by direction with what follows */
    double halo_window_inv_nm[2], halo_inv_nm;
    double halo_ellipse[2], halo_ellipse_cov[2][2]; /* what is added to cos 2 chi and sin 2 chi of its strain */
};
void mro_saed_result_release(struct mro_saed_result *r); /* {0} is fine */

/* Measures one pattern. `name` is the file for messages.
 * Errors: MRO_ECALIB (no calibration, saying what lacks), MRO_EARG (an option out of range), MRO_EDATA
 * (constant, too small, all masked, the beam off the detector), MRO_EMEMORY. Release with mro_saed_result_release.
 * Same bytes at any number of threads. */
enum mro_code mro_saed_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                               const struct mro_saed_options *o, struct mro_saed_result *r, struct mro_error *e);

/* Bytes of host memory that measuring a pattern of this shape takes, beside its pixels. */
size_t mro_saed_bytes(const struct mro_image *like, const struct mro_saed_options *o);

/* Many patterns of one geometry: everything that depends on it is made once. */
struct mro_saed_plan;

/* A plan from a measured pattern: its geometry, mask (without outliers, which belong to a frame) and rings. `batch` is
 * how many frames are run at once, 0 = what suits the device. MRO_EARG (an empty result), MRO_EMEMORY, MRO_EDEVICE.
 * Free with mro_saed_plan_free. */
enum mro_code mro_saed_plan_new(struct mro_saed_plan **plan, struct mro_device *d, const struct mro_saed_result *r,
                                const struct mro_saed_options *o, size_t batch, struct mro_error *e);
/* The profiles of n frames (host, n * ny * nx; NaN = no data), each as mro_saed_measure gives it with that geometry.
 * `profile` has n {0} profiles; on failure all are released. */
enum mro_code mro_saed_plan_run(struct mro_saed_plan *plan, const float *frames, size_t n, struct mro_profile *profile,
                                struct mro_error *e);
/* One frame (host, ny * nx) as a result: geometry, mask and range are the plan's, profile and first halo its own; spots
 * are not looked for. *drift_px says how far its rings lie from the plan's centre, from the means over sectors (NaN =
 * cannot be told): beyond half a pixel or so the frame is better measured by itself. `name` is for the profile's
 * source. MRO_EMEMORY, MRO_EDEVICE. Release with mro_saed_result_release. */
enum mro_code mro_saed_plan_measure(struct mro_saed_plan *plan, const float *frame, const char *name,
                                    struct mro_saed_result *r, double *drift_px, struct mro_error *e);
size_t mro_saed_plan_batch(const struct mro_saed_plan *plan); /* frames that are worth giving at once */
void mro_saed_plan_free(struct mro_saed_plan *plan);          /* NULL is fine */

/* Scale and ellipse from the rings of a standard. `r` is its measured pattern; `step_inv_nm` the calibration of a pixel
 * and its standard error; `rings` how many were used. MRO_EDATA when the rings do not fit the standard. */
struct mro_saed_standard {
    double step_inv_nm, step_se_inv_nm;
    struct mro_saed_geometry geometry;
    size_t rings;
    double worst; /* largest relative misfit of a ring */
};
enum mro_code mro_saed_calibrate(struct mro_device *d, const struct mro_image *im, const char *name,
                                 enum mro_standard standard, const struct mro_saed_options *o,
                                 struct mro_saed_standard *c, struct mro_error *e);

/* "Au", "Si", "CeO2", "Al"; MRO_STANDARD_NONE for anything else. */
enum mro_standard mro_standard_by_name(const char *name);
const char *mro_standard_name(enum mro_standard s);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

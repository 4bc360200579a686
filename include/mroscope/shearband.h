/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shear bands in HAADF-STEM or HRTEM images: straight stripes darker or brighter than the glass beside them. Where they
 * are, how wide, how deep, and whether a random field of the same spectrum shows stripes as strong.
 *
 * Lengths are nm, positions from the top-left corner of the image, x right, y down. The normal of a band points along
 * its azimuth: degrees in [0, 180), 0 along +x, positive toward +y; the position of a band is the distance of its
 * centre line from the top-left corner along that normal, x cos a + y sin a. Depth is relative to the glass beside
 * the band: positive for a darker band. Arrays are y, x.
 */
#ifndef MROSCOPE_SHEARBAND_H
#define MROSCOPE_SHEARBAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/device.h"
#include "mroscope/eds.h"
#include "mroscope/image.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same image and options give other numbers. */
#define MRO_SHEARBAND_ALGORITHM "shearband 2"

#define MRO_SHEARBAND_MOST 12     /* bands in one image */
#define MRO_SHEARBAND_SEGMENTS 24 /* of one band */
#define MRO_SHEARBAND_DEGREE 4    /* largest degree of the background */

/* What bands change. */
enum mro_shearband_signal {
    MRO_SHEARBAND_MEAN,    /* the mean intensity */
    MRO_SHEARBAND_VARIANCE /* the variance of the speckle within 1 nm over the mean squared: HRTEM */
};

struct mro_shearband_options {
    enum mro_shearband_signal signal;
    bool has_line;
    double line_nm[4];   /* x0, y0, x1, y1: two points on a band, in place of looking for bands */
    double width_nm[2];  /* widths looked for; 0 = as the field allows */
    double black_level;  /* counts of the detector without beam; NaN = unknown, taken as 0 */
    double thickness_nm; /* of the foil; 0 = unknown */
    double alpha;        /* bands are listed when chance is not above this; default 0.01 */
    int polynomial;      /* degree of the background that the image is divided by, 0 to 4; default 2 */
    int segments;        /* along a band, 4 to 24; 0 = one for every 20 nm, 6 to 16 of them */
    int surrogates;      /* random fields behind p, 99 to 100000; default 199 */
    uint64_t seed;
};
void mro_shearband_options_default(struct mro_shearband_options *o);

/* One piece of a band along its length. */
struct mro_shearband_segment {
    double x_nm, y_nm; /* centre */
    double along_nm;   /* from the middle of the band's line */
    double offset_nm;  /* of the centre from that line, along the normal; NaN = too weak to tell */
    double width_nm;   /* NaN = too weak to tell */
    double depth;
};

struct mro_shearband {
    double normal_azimuth_deg, normal_azimuth_ci95[2];
    double position_nm;
    double line_nm[4]; /* x0, y0, x1, y1: its centre line inside the field, or as far as the band goes */
    double length_nm;
    bool ends;            /* the band ends, or branches off, inside the field */
    bool border;          /* one edge is outside of the field: no width, and position_nm is that of the edge seen */
    double width_nm;      /* between the middles of the two edges */
    double width_ci95[2]; /* from jackknife over segments */
    double width_sd_nm;   /* between segments */
    double depth, depth_ci95[2];
    double edge_nm;             /* of an edge, from 10 to 90 % */
    double inclination_max_deg; /* of the band against the beam that the edges allow; NaN = foil thickness unknown */
    double waviness_nm;         /* of the centre line about a straight one, standard deviation */
    double bow_nm;     /* largest distance of the fitted, curved centre line from a straight one; 0 = straight */
    double p_value;    /* chance that a random field of this spectrum has a stripe as strong anywhere */
    double p_segments; /* chance of depths this alike in all segments without a band */
    struct mro_shearband_segment segment[MRO_SHEARBAND_SEGMENTS];
    size_t n_segments;
    /* Mean profile along the normal: offset from the centre line, contrast (0 beside the band), its standard error from
     * segments (NaN = too few), the fit. Owned. */
    size_t n_profile;
    double *offset_nm, *contrast, *contrast_se, *fit;
    struct mro_image straight; /* contrast: rows along the band, columns along the normal */
    double path[4];            /* offset of the centre from line_nm's line at t from its middle: polynomial in t, nm */
    double fit_edge_nm;        /* standard deviation of the edges of the fit */
};

/* Where two bands meet or cross. */
struct mro_shearband_junction {
    size_t a, b; /* bands */
    double x_nm, y_nm, angle_deg;
};

/* Composition across one band, from count maps of the same field. The interval and p of a difference hold counting or
 * the scatter between segments of the band, whichever is more. */
struct mro_shearband_element {
    char symbol[4];
    double inside_at, inside_se, outside_at, outside_se; /* at.%, with counting errors; NaN from maps of at.% */
    double difference_at, difference_ci95[2], p;         /* inside less outside; p of no difference */
};
struct mro_shearband_elements {
    size_t n;
    struct mro_shearband_element element[MRO_EDS_MAX_ELEMENTS];
    struct mro_eds_line line;      /* across the band */
    struct mro_eds_result profile; /* composition of every bin; x from the start of `line` */
    double centre_nm;              /* of the band along `line` */
};

/* Result of one image. Numbers that could not be measured are NaN, with a sentence in warnings. */
struct mro_shearband_result {
    enum mro_shearband_signal signal;
    double pixel_nm[2], field_nm[2];
    double normal_azimuth_deg;  /* of the deepest of the parallel bands that cover most; NaN = no band */
    struct mro_shearband *band; /* rising position */
    size_t n_bands;
    struct mro_shearband_elements *elements; /* one a band; NULL = no maps */
    struct mro_shearband_junction junction[MRO_SHEARBAND_MOST];
    size_t n_junctions;
    double p_value;        /* of the strongest stripe, also when it is no band */
    double searched_nm[2]; /* widths that were looked for */
    double coverage;       /* usable part of the image */
    double black_level;
    char verdict[400]; /* one sentence */
    char **warnings;
    size_t n_warnings;
};

/* Finds and measures the bands of one frame. `name` is the file for messages. Filled also when nothing can be measured
 * (a constant image): no bands, a reason in warnings, MRO_OK.
 *
 * Stripes are found in line sums over all directions; the null is drawn: Gaussian random fields with the spectrum of
 * the image less its bands, through the same code. A profile along the normal is b0 + b1 x + A/2 (erf((x - x1)/(sqrt(2)
 * s)) - erf((x - x2)/(sqrt(2) s))), fitted to the mean over the band and to segments of it.
 * Errors: MRO_ECALIB (no pixel size), MRO_EARG (an option out of range, a line outside of the field, pixels
 * too coarse or a field too small for the variance), MRO_EDATA (under
 * 32 pixels along an axis), MRO_EMEMORY. Release with mro_shearband_result_release. Same input, options and seed: same
 * bytes at any number of threads. One call a device at a time.
 * Source: profile as in Rosner et al., Ultramicroscopy 142 (2014) 1; random fields after Theiler et al., Physica D 58
 * (1992) 77; jackknife after Tukey, Ann. Math. Stat. 29 (1958) 614. */
enum mro_code mro_shearband_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                    const struct mro_shearband_options *o, struct mro_shearband_result *r,
                                    struct mro_error *e);
void mro_shearband_result_release(struct mro_shearband_result *r); /* {0} is fine */

/* Bytes of host memory that measuring an image of this shape takes beside its pixels; `like` has no pixels. */
size_t mro_shearband_bytes(const struct mro_image *like);

/* Fills r->elements: profiles of all elements of `maps` along the normal of each band, added up over its length, and
 * the inside against the glass on both sides. The maps show the same field as the image. What cannot be measured of one
 * band is a sentence in r->warnings. Errors: MRO_EARG (another field), MRO_EMEMORY. */
enum mro_code mro_shearband_composition(struct mro_device *d, struct mro_shearband_result *r,
                                        const struct mro_eds_field *maps, const char *name,
                                        const struct mro_eds_options *o, struct mro_error *e);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

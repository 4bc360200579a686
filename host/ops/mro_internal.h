/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the MRO measurement: the plan with its null, detected patches, and the way from patches to an area. */
#ifndef MRO_OPS_MRO_INTERNAL_H
#define MRO_OPS_MRO_INTERNAL_H

#include "core/backend.h"
#include "mroscope/mro.h"

#define MRO_WINDOWS 3
#define BAND_EDGE 0.15     /* nm^-1, width of the cosine edges of the pass band */
#define BACKGROUND_NM 2.5  /* of the local mean that contrast is relative to */
#define WHITEN_RADIUS 0.22 /* nm^-1 of the local median: follows astigmatism, and crystals add too little to it */
#define GAIN_S_NM 1.0      /* Gaussian of the local gain */

/* One patch found, its powers divided by the local gain. */
struct mro_found {
    double y_nm, x_nm, gy, gx;
    double power[MRO_PATCH_SIZES];
    int best;
    double second_power;
    double significance;    /* -ln of the chance of its power at one place under noise, best size */
    double log_d, log_d_sd; /* apparent diameter from the shape alone: ln nm and its standard deviation */
    double top_power;       /* power at that diameter */
    double snr;             /* of the patch, noise and gain taken out */
};

struct mro_found_list {
    struct mro_found *v;
    size_t n, room;
};

#define MRO_SURPRISES 256

/* What the null and every image are compared by. */
struct mro_null {
    size_t cells;
    float surprise[MRO_WINDOWS][MRO_SURPRISES + 1]; /* -ln P(score > t) at t = i joint / MRO_SURPRISES */
    double joint[MRO_WINDOWS];                      /* score beyond which the analytic tail is used */
    float *min_p;                                   /* -ln(min p) of all null cells, ascending */
    double threshold;                               /* of -ln(min p) at the nominal false-positive rate */
    double area_nm2;                                /* searched for patches */
    size_t false_patches;                           /* found there above object_threshold */
    double object_threshold;                        /* of significance: one false patch in 200 nm^2 */
    double object_excess;                           /* mean excess of false patches over it */
};

struct mro_views; /* ops/mro_views.c: what the plan keeps for the views */

struct mro_order_plan {
    struct mro_device *d;
    struct mro_order_options o;
    double edge_inv_nm;               /* of the pass band */
    struct mro_grid tile, tile_cells; /* of the null's speckle fields */
    struct mro_views *views;
    double g_range[2];
    double window_s_nm[MRO_WINDOWS];
    double (*g[MRO_WINDOWS])[2];
    size_t n_g[MRO_WINDOWS];
    struct mro_patch_search search;
    double size_cost[MRO_PATCH_SIZES]; /* ln of the number of independent tries of each size */
    struct mro_null null;
    double power_curve[2]; /* detection power: Phi((sqrt(snr) - [0]) / [1]) */
};

/* The coarse grid that an image is measured on, and that of its cells. */
void mro_order_grids(const struct mro_image *im, const double pixel_nm[2], struct mro_grid *grid,
                     struct mro_grid *cells);

/* What is seen of a patch of ratio `snr`: it raises the local mean square that its own power is divided by. */
#define MRO_GAIN_SNR 150.0
static inline double mro_seen_snr(double snr) { return snr / (1 + snr / MRO_GAIN_SNR); }

/* Shape of a patch: apparent diameter, its error, power there, snr. */
void mro_found_shape(const struct mro_order_plan *p, struct mro_found *f);

/* What is known beforehand of the contrast c of snr = c D^4 (nm^-4): mean and standard deviation of its logarithm. */
struct mro_contrast {
    double log_c, log_sd;
};

/* What a list of patches says of the area. */
struct mro_area {
    double contrast;     /* c of snr = c D^4, nm^-4 */
    double *diameter_nm; /* per patch, of the crystal; owned */
    double *weight;      /* per patch: chance that it is no speckle; owned */
    double fraction;     /* with the false ones out and the missed ones in */
    double ci95[2];      /* of the area in this image */
};

/* region x0 y0 x1 y1 nm; usable: its part that was measured; searched: the area patches were looked for in. Draws are
 * those of the plan's seed. MRO_EMEMORY only. Release with mro_area_release. */
enum mro_code mro_area_of(const struct mro_order_plan *p, const struct mro_found_list *found, const double region[4],
                          double usable_nm2, double searched_nm2, const struct mro_contrast *expected, bool lens_known,
                          struct mro_area *a, struct mro_error *e);
void mro_area_release(struct mro_area *a);

/* Detection power of a crystal of diameter `d` nm at contrast c. */
double mro_detection_power(const struct mro_order_plan *p, double d, double contrast);

/* The apparent diameter of a crystal exceeds its own by this: the glass next to it is layered by its planes. From
 * multislice images of relaxed models (bcc spheres of 1.2 to 3 nm in Fe-metalloid glass), where the sizes found on
 * large fields are right with it. */
#define MRO_INTERFACE_NM 0.18

#endif

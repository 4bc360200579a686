/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Steps of the measurement of a diffraction pattern, shared between its files. */
#ifndef MRO_OPS_SAED_INTERNAL_H
#define MRO_OPS_SAED_INTERNAL_H

#include "core/notes.h"
#include "mroscope/saed.h"
#include "ops/rings.h"

#define MRO_SAED_AXIS "s = 1/d in nm^-1" /* of profiles */

/* Sets all numbers of a result that is zeros to NaN. */
void mro_saed_unknown(struct mro_saed_result *r);

/* Abscissa on a flat detector: radius over camera length is tan 2 theta, s = 2 sin theta / lambda. */
void mro_saed_unbend(struct mro_profile *p, double wavelength_nm);

/* Pixels that can be told without knowing the centre: no data, the mask given, saturated, dead and hot. `mask` (ny *
 * nx) is written. MRO_EMEMORY. */
enum mro_code mro_saed_mask_pixels(const float *px, size_t ny, size_t nx, const struct mro_saed_options *o, int threads,
                                   unsigned char *mask, struct mro_error *e);

/* Adds MRO_SAED_BEAM_STOP where the pattern is much darker than elsewhere at the same radius, or inside a sharp inner
 * edge: connected regions only. Marks set by an earlier call are cleared first. MRO_EMEMORY. */
enum mro_code mro_saed_mask_shade(const float *px, size_t ny, size_t nx, const struct mro_round *round, int threads,
                                  unsigned char *mask, struct mro_error *e);

/* Where the shade in `bits` (ny * nx, MRO_SAED_BEAM_STOP or 0) has a straight narrow arm outward, adds the rest of it
 * to the border, if that is darker than what is beside it. MRO_EMEMORY. */
enum mro_code mro_saed_follow_arms(const float *px, size_t ny, size_t nx, const struct mro_round *round,
                                   const unsigned char *mask, unsigned char *bits, struct mro_error *e);

/* Variance of the noise from pixel to pixel over the level above `black`, spikes left out; 0 unknown. MRO_EMEMORY. */
enum mro_code mro_saed_noise_gain(const float *px, size_t ny, size_t nx, const unsigned char *mask, float black,
                                  double *gain, struct mro_error *e);

/* The pattern averaged over blocks of `by` x `by` pixels: used pixels only; NaN where fewer than half are. */
struct mro_saed_coarse {
    size_t ny, nx, by;
    float *px;
};
enum mro_code mro_saed_coarsen(struct mro_saed_coarse *c, const float *px, size_t ny, size_t nx,
                               const unsigned char *mask, size_t by, int threads, struct mro_error *e);

/* A place about which the pattern is most alike to itself turned by 180 degrees, in pixels (x, y), by the normalised
 * correlation under the mask (Padfield, IEEE Trans. Image Process. 21 (2012) 2706). *alike: that correlation. */
enum mro_code mro_saed_symmetry(const float *px, size_t ny, size_t nx, const unsigned char *mask, int threads,
                                double centre[2], double *alike, struct mro_error *e);

/* The geometry under which all rings are round and concentric: weighted least squares of the means over sectors, where
 * a shift or an ellipse adds the slope of the profile times a wave in the direction, and anything that only changes
 * intensities adds waves that follow the profile itself or a smooth background (fitted along). */
struct mro_saed_fit {
    double cx, cy, e1, e2; /* as mro_round_of takes them */
    double cov[4][4];      /* of these; NaN for what was not fitted */
    double explained;      /* share of the pattern's variation (noise apart) that rings account for, 0 to 1 */
    bool settled;          /* the iteration came to rest */
    double moved;          /* by the last step, px */
};
enum mro_code mro_saed_fit_rings(struct mro_device *d, const float *px, size_t ny, size_t nx, const unsigned char *mask,
                                 double aspect, bool fit_centre, bool fit_ellipse, const double range_px[2],
                                 struct mro_saed_fit *f, struct mro_error *e);

/* The halo that rises most above its surroundings between two radii: its place, and a window that ends at the minima
 * beside it. *found false when nothing rises beyond its error. MRO_EMEMORY. */
enum mro_code mro_saed_halo(const struct mro_profile *p, double s_min, double s_max, double window[2], double *position,
                            bool *found, struct mro_error *e);

/* How the position of that halo depends on the direction. `ellipse`: what is to be added to cos 2 chi and sin 2 chi of
 * the strain because the profile was made with another ellipse than the one that counts, and its covariance. Fills a,
 * which holds NaN, or says why not. MRO_EMEMORY. */
enum mro_code mro_saed_anisotropy_of(const struct mro_profile *p, const double window[2], double position,
                                     const double ellipse[2], const double ellipse_cov[2][2],
                                     struct mro_saed_anisotropy *a, char ***warnings, size_t *n_warnings,
                                     struct mro_error *e);

/* Smoothed values and slopes (per point) of n numbers by least-squares parabolas over 2 reach + 1 points; NaN are
 * bridged, and stay NaN where fewer than 3 are in reach. */
void mro_saed_smooth(const double *v, size_t n, size_t reach, double *smooth, double *slope);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Azimuthal sums of patterns: the rings of one geometry, made once, and profiles from the sums over them. */
#ifndef MRO_OPS_RINGS_H
#define MRO_OPS_RINGS_H

#include "core/backend.h"
#include "mroscope/profile.h"

/* The rings of one geometry, and room for what is summed over them. `{0}` is empty. */
struct mro_azimuth {
    struct mro_device *d;
    size_t ny, nx, n_rings, n_sectors, batch; /* batch: most frames at once */
    double step_px;                           /* distance of the radii, pixels along x of the round pattern */
    struct mro_ring_map t;
    double *square; /* n_sectors * n_rings: sum of fraction^2 over the pixels of a piece */
    size_t tile;    /* frames are summed up from square tiles, this many pixels wide; 1: as they are */
    float *tiles;   /* batch * t.frame_pixels; NULL: as they are */
    struct mro_buffer frames, limits, sums;
    float *host_limits, *asked; /* batch * n_rings * 2: limits; those that have to be summed within still, else NaN */
    struct mro_ring_sums *host; /* batch * n_sectors * n_rings, sector by sector: of the frames run last */
};

/* `mask`: ny * nx, non-zero = left out; NULL = none. Pixels beyond the last ring are left out. Errors: MRO_EMEMORY,
 * MRO_EDEVICE, MRO_EDATA (over 2^29 pixels). */
enum mro_code mro_azimuth_new(struct mro_azimuth *a, struct mro_device *d, size_t ny, size_t nx,
                              const struct mro_round *round, const unsigned char *mask, double step_px, size_t n_rings,
                              size_t n_sectors, size_t batch, struct mro_error *e);
void mro_azimuth_release(struct mro_azimuth *a);

/* Sums of n <= batch frames (host). Pixels farther than clip_sd standard deviations from the mean of their ring are
 * left out until nothing changes (at most six times); 0 = all pixels count. The upper limit is wider by what the
 * skewness of counts and speckle asks for, so that clean rings lose next to nothing. */
enum mro_code mro_azimuth_run(struct mro_azimuth *a, const float *frames, size_t n, double clip_sd,
                              struct mro_error *e);

/* Limits (lo, hi) of ring k that the clipping of frame `frame` ended with. */
void mro_azimuth_limits(const struct mro_azimuth *a, size_t frame, size_t k, float limit[2]);

/* The profile of one frame of the last run: n_rings points at radii k * step_px, s_inv_nm = k * step_inv_nm. */
enum mro_code mro_azimuth_profile(const struct mro_azimuth *a, size_t frame, double step_inv_nm, struct mro_profile *p,
                                  struct mro_error *e);

#endif

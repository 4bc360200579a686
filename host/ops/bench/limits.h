/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How fast a measurement could be: the fewest operations and bytes that each primitive of the backend table needs, from
 * its algorithm and the sizes it is called with, over the rates of a device. The counts are derived in
 * tools/bench/LIMITS.md, under the names of the functions here. */
#ifndef MRO_OPS_LIMITS_H
#define MRO_OPS_LIMITS_H

#include "core/backend.h"

/* What cannot be avoided. */
struct mro_work {
    double flops;     /* float32 operations outside of transforms; a comparison is one */
    double transform; /* of transforms: 5 n log2 n for n complex numbers, half of that for n real ones */
    double bytes;     /* read from and written to the memory of the device */
    double link;      /* bytes between host and device */
};

/* Seconds below which `w` cannot be done: arithmetic, memory and the link overlap at best. */
double mro_floor_s(const struct mro_work *w, const struct mro_rates *r);
void mro_work_add(struct mro_work *sum, const struct mro_work *w);

/* One call of the primitive of that name. Arguments as in core/backend.h. */
struct mro_work mro_work_contrast_spectrum(size_t ny, size_t nx, const struct mro_grid *g);
struct mro_work mro_work_local_power(const struct mro_grid *g, double radius_inv_nm, double lo, double hi);
struct mro_work mro_work_multiply(const struct mro_grid *g);
struct mro_work mro_work_noise_spectrum(const struct mro_grid *g, const double band_inv_nm[2], double edge_inv_nm);
struct mro_work mro_work_transform(const struct mro_grid *g); /* forward, inverse */
struct mro_work mro_work_correlate(const struct mro_grid *g);
struct mro_work mro_work_add_moved(const struct mro_grid *g);
struct mro_work mro_work_demodulate(const struct mro_grid *g, double sigma_inv_nm, const struct mro_grid *out,
                                    const struct mro_window *window, bool slope);
struct mro_work mro_work_local_mean_square(const struct mro_grid *g, double s_nm, const struct mro_grid *out);
struct mro_work mro_work_bank_maximum(const struct mro_grid *g, const struct mro_bank *bank,
                                      const struct mro_grid *out);
struct mro_work mro_work_refine_patches(const struct mro_grid *g, const struct mro_patch_search *s, size_t n);
struct mro_work mro_work_windowed_acf(const struct mro_grid *g, double window_nm, size_t n_centres, size_t lags);
struct mro_work mro_work_block_sums(size_t ny, size_t nx);
struct mro_work mro_work_divide_polynomial(size_t ny, size_t nx, int degree);
struct mro_work mro_work_histogram(size_t n);
struct mro_work mro_work_regions(size_t ny, size_t nx);
struct mro_work mro_work_strip_sums(size_t n_maps, const struct mro_strip *s);
struct mro_work mro_work_ring_sums(const struct mro_ring_map *t, size_t n_frames, bool limits);
struct mro_work mro_work_bandpass(size_t ny, size_t nx, double pixel_x_nm, double hi, double edge);
struct mro_work mro_work_upload(double bytes); /* and download */

/* Reading a frame of `stored` bytes from the page cache and making `pixels` floats of it. */
struct mro_work mro_work_read(double stored, double pixels);

/* Writing a map of `pixels` floats into the page cache. */
struct mro_work mro_work_write(double pixels);

#endif

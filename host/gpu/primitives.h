/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The primitives of core/backend.h on devices with a memory of their own; what each does is said there. */
#ifndef MRO_GPU_PRIMITIVES_H
#define MRO_GPU_PRIMITIVES_H

#include "gpu/gpu.h"

enum mro_code mro_gpu_contrast_spectrum(struct mro_device *d, const float *px, size_t ny, size_t nx,
                                        const double pixel_nm[2], double background_nm, const struct mro_grid *g,
                                        struct mro_buffer *spectrum, size_t *spikes, double *means,
                                        struct mro_error *e);
enum mro_code mro_gpu_local_power(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                  const float *model, double radius_inv_nm, double lo, double hi,
                                  struct mro_buffer *power, struct mro_error *e);
enum mro_code mro_gpu_multiply(struct mro_device *d, const struct mro_grid *g, struct mro_buffer *spectrum,
                               const float *gain, struct mro_error *e);
enum mro_code mro_gpu_correlate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                                const struct mro_buffer *b, struct mro_buffer *out, struct mro_error *e);
enum mro_code mro_gpu_add_moved(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                                const double move_nm[2], double weight, struct mro_buffer *sum, struct mro_error *e);
enum mro_code mro_gpu_noise_spectrum(struct mro_device *d, const struct mro_grid *g, uint64_t seed, uint64_t stream,
                                     const double band_inv_nm[2], double edge_inv_nm, struct mro_buffer *spectrum,
                                     struct mro_error *e);
enum mro_code mro_gpu_inverse(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                              struct mro_buffer *field, struct mro_error *e);
enum mro_code mro_gpu_forward(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                              struct mro_buffer *spectrum, struct mro_error *e);
enum mro_code mro_gpu_local_mean_square(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                        double s_nm, const struct mro_grid *out, struct mro_buffer *mean_square,
                                        struct mro_error *e);
enum mro_code mro_gpu_bank_maximum(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                   const struct mro_bank *bank, const struct mro_grid *out, struct mro_buffer *power,
                                   struct mro_buffer *which, struct mro_error *e);
enum mro_code mro_gpu_refine_patches(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                     const struct mro_patch_search *s, struct mro_patch *patches, size_t n,
                                     struct mro_error *e);
enum mro_code mro_gpu_windowed_acf(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                   double window_nm, const double (*centres)[2], size_t n_centres, size_t n,
                                   double step_nm, float *tiles, struct mro_error *e);
enum mro_code mro_gpu_acf_fringes(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                  double window_nm, const double d_range_nm[2], const double (*centres)[2], size_t n,
                                  float *score, struct mro_error *e);
enum mro_code mro_gpu_demodulate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                 const double g_inv_nm[2], double sigma_inv_nm, const struct mro_grid *out,
                                 const struct mro_window *window, struct mro_buffer *h, struct mro_buffer *slope,
                                 struct mro_error *e);
enum mro_code mro_gpu_bandpass(struct mro_device *d, const float *px, size_t ny, size_t nx, const double pixel_nm[2],
                               const double band_inv_nm[2], double edge_inv_nm, float *out, struct mro_error *e);
enum mro_code mro_gpu_ring_sums(struct mro_device *d, const struct mro_ring_map *t, const struct mro_buffer *frames,
                                size_t n_frames, const struct mro_buffer *limits, struct mro_buffer *sums,
                                struct mro_error *e);

enum mro_code mro_gpu_block_sums(struct mro_device *d, const struct mro_buffer *image, size_t ny, size_t nx,
                                 const size_t block[2], double *sum, double *count, struct mro_error *e);
enum mro_code mro_gpu_divide_polynomial(struct mro_device *d, struct mro_buffer *image, size_t ny, size_t nx,
                                        double offset, int degree, const double *c, const size_t block[2],
                                        const unsigned char *keep, float *lowest, struct mro_error *e);
enum mro_code mro_gpu_histogram(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                                size_t n, float lo, float step, size_t bins, uint32_t *counts, struct mro_error *e);
enum mro_code mro_gpu_regions(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                              size_t ny, size_t nx, float level, bool above, size_t least, struct mro_region_sums *sums,
                              struct mro_error *e);
enum mro_code mro_gpu_strip_sums(struct mro_device *d, const struct mro_buffer *maps, size_t n_maps, size_t ny,
                                 size_t nx, const struct mro_strip *s, double *sums, double *pixels,
                                 struct mro_error *e);

/* Their rows of a backend's table. */
#define MRO_GPU_PRIMITIVES                                                                                            \
    .contrast_spectrum = mro_gpu_contrast_spectrum, .local_power = mro_gpu_local_power, .multiply = mro_gpu_multiply, \
    .correlate = mro_gpu_correlate, .add_moved = mro_gpu_add_moved, .noise_spectrum = mro_gpu_noise_spectrum,         \
    .inverse = mro_gpu_inverse, .forward = mro_gpu_forward, .local_mean_square = mro_gpu_local_mean_square,           \
    .bank_maximum = mro_gpu_bank_maximum, .refine_patches = mro_gpu_refine_patches, .demodulate = mro_gpu_demodulate, \
    .windowed_acf = mro_gpu_windowed_acf, .acf_fringes = mro_gpu_acf_fringes, .block_sums = mro_gpu_block_sums,       \
    .divide_polynomial = mro_gpu_divide_polynomial, .histogram = mro_gpu_histogram, .regions = mro_gpu_regions,       \
    .strip_sums = mro_gpu_strip_sums, .ring_sums = mro_gpu_ring_sums, .bandpass = mro_gpu_bandpass

#endif

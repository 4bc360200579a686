/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every kernel, once. ONCE(name) goes through its phases one time, ROUNDS(name) until it is done. */
#ifndef MRO_KERNELS_LIST_H
#define MRO_KERNELS_LIST_H

#include <stddef.h>
#include <stdint.h>

/* clang-format off */
#define MRO_KERNELS_FIELD(ONCE, ROUNDS)                                                                               \
    ONCE(multiply) ONCE(correlate) ONCE(add_moved) ONCE(noise) ONCE(real_part) ONCE(to_complex) ONCE(low_pass)        \
    ONCE(clamp)
#define MRO_KERNELS_CONTRAST(ONCE, ROUNDS)                                                                            \
    ONCE(residuals) ONCE(spike_threshold) ONCE(despike) ONCE(block_sums) ONCE(bell) ONCE(local_means) ONCE(contrast)  \
    ONCE(jumps) ONCE(crop) ONCE(row_sums) ONCE(centre) ONCE(pass) ONCE(blank) ONCE(divide)
#define MRO_KERNELS_LATTICE(ONCE, ROUNDS) ONCE(power) ONCE(disc_median) ONCE(lattice_smooth) ONCE(lattice_spread)
#define MRO_KERNELS_BANK(ONCE, ROUNDS) ONCE(bank_weights) ONCE(bank_gather) ONCE(bank_largest)
#define MRO_KERNELS_WAVE(ONCE, ROUNDS) ONCE(wave_rows) ONCE(wave_columns)
#define MRO_KERNELS_PATCH(ONCE, ROUNDS) ROUNDS(climb)
#define MRO_KERNELS_REGION(ONCE, ROUNDS)                                                                              \
    ONCE(count_values) ONCE(label_start) ONCE(label_merge) ONCE(label_sizes) ONCE(label_count) ONCE(strip_valid)      \
    ONCE(strip_bins)
#define MRO_KERNELS_ACF(ONCE, ROUNDS)                                                                                 \
    ONCE(acf_fill) ONCE(acf_power) ONCE(acf_lags_y) ONCE(acf_lags_x) ONCE(fringe_score)
#define MRO_KERNELS_AZIMUTH(ONCE, ROUNDS) ONCE(ring_sums)

#define MRO_KERNELS(ONCE, ROUNDS)                                                                                     \
    MRO_KERNELS_FIELD(ONCE, ROUNDS) MRO_KERNELS_CONTRAST(ONCE, ROUNDS) MRO_KERNELS_LATTICE(ONCE, ROUNDS)              \
    MRO_KERNELS_BANK(ONCE, ROUNDS) MRO_KERNELS_PATCH(ONCE, ROUNDS) MRO_KERNELS_ACF(ONCE, ROUNDS)                     \
    MRO_KERNELS_WAVE(ONCE, ROUNDS) MRO_KERNELS_REGION(ONCE, ROUNDS) MRO_KERNELS_AZIMUTH(ONCE, ROUNDS)
/* clang-format on */

#define MRO_KERNEL_NAME(name) MRO_KERNEL_##name,
enum mro_kernel { MRO_KERNELS(MRO_KERNEL_NAME, MRO_KERNEL_NAME) MRO_KERNEL_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
/* The launchers in the .cu files: `args` points to a struct mro_NAME_args, `stream` is a cudaStream_t; returns the
 * cudaError_t of the launch. */
#define MRO_KERNEL_LAUNCHER(name) int mro_cuda_##name(uint32_t blocks, const void *args, void *stream);
MRO_KERNELS(MRO_KERNEL_LAUNCHER, MRO_KERNEL_LAUNCHER)

/* Sorts n floats ascending (NaN last). `work` NULL: only says in *work_bytes how much of it is needed. `sorted` and
 * `keys` hold n floats each. Returns a cudaError_t. */
int mro_cuda_sort(const float *keys, float *sorted, size_t n, void *work, size_t *work_bytes, void *stream);
#ifdef __cplusplus
}
#endif

#endif

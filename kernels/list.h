/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every kernel, once. ONCE(name) goes through its phases one time, ROUNDS(name) until it is done. */
#ifndef MRO_KERNELS_LIST_H
#define MRO_KERNELS_LIST_H

#include <stddef.h>
#include <stdint.h>

#define MRO_KERNELS_FIELD(ONCE, ROUNDS) ONCE(multiply)

#define MRO_KERNELS(ONCE, ROUNDS) MRO_KERNELS_FIELD(ONCE, ROUNDS)

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

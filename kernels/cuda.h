/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a kernel's phases to a CUDA kernel and its launcher. Read by nvcc only. */
#ifndef MRO_KERNELS_CUDA_H
#define MRO_KERNELS_CUDA_H

#include <cuda_runtime.h>

#include "list.h"

/* How many blocks of a kernel a multiprocessor has to have registers for at least. */
template <typename args> constexpr int mro_blocks_at_least = 1;

/* As many as it can hold, for a kernel that mostly waits for memory and for conversions. Stands before the kernel. */
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ == 750
#define MRO_CUDA_RESIDENT 1024 /* threads of a multiprocessor */
#elif defined __CUDA_ARCH__ && ((__CUDA_ARCH__ > 800 && __CUDA_ARCH__ < 900) || __CUDA_ARCH__ >= 1100)
#define MRO_CUDA_RESIDENT 1536
#else
#define MRO_CUDA_RESIDENT 2048
#endif
#define MRO_CUDA_FULL(name) \
    template <> constexpr int mro_blocks_at_least<mro_##name##_args> = MRO_CUDA_RESIDENT / mro_##name##_THREADS;

#define MRO_CUDA_LAUNCHER(name)                                                                                     \
    extern "C" int mro_cuda_##name(uint32_t blocks, const void *args, void *stream)                                 \
    {                                                                                                               \
        name##_kernel<<<blocks, mro_##name##_THREADS, 0, (cudaStream_t)stream>>>(*(const mro_##name##_args *)args); \
        return (int)cudaGetLastError();                                                                             \
    }

#define MRO_CUDA_ONCE(name)                                                                                \
    static __global__ void __launch_bounds__(mro_##name##_THREADS, mro_blocks_at_least<mro_##name##_args>) \
        name##_kernel(const __grid_constant__ mro_##name##_args a)                                         \
    {                                                                                                      \
        __shared__ mro_##name##_shared s;                                                                  \
        const mro_thread t = { blockIdx.x, gridDim.x, threadIdx.x };                                       \
        _Pragma("unroll") for (int phase = 0; phase < mro_##name##_PHASES; phase++)                        \
        {                                                                                                  \
            if (phase) __syncthreads();                                                                    \
            mro_##name##_phase(phase, &a, &t, &s);                                                         \
        }                                                                                                  \
    }                                                                                                      \
    MRO_CUDA_LAUNCHER(name)

#define MRO_CUDA_ROUNDS(name)                                                                              \
    static __global__ void __launch_bounds__(mro_##name##_THREADS, mro_blocks_at_least<mro_##name##_args>) \
        name##_kernel(const __grid_constant__ mro_##name##_args a)                                         \
    {                                                                                                      \
        __shared__ mro_##name##_shared s;                                                                  \
        const mro_thread t = { blockIdx.x, gridDim.x, threadIdx.x };                                       \
        mro_##name##_begin(&a, &t, &s);                                                                    \
        __syncthreads();                                                                                   \
        do {                                                                                               \
            _Pragma("unroll") for (int phase = 0; phase < mro_##name##_PHASES; phase++)                    \
            {                                                                                              \
                mro_##name##_phase(phase, &a, &t, &s);                                                     \
                __syncthreads();                                                                           \
            }                                                                                              \
        } while (mro_##name##_again(&s));                                                                  \
    }                                                                                                      \
    MRO_CUDA_LAUNCHER(name)

#endif

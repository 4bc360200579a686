/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a kernel's phases to a CUDA kernel and its launcher. Read by nvcc only. */
#ifndef MRO_KERNELS_CUDA_H
#define MRO_KERNELS_CUDA_H

#include <cuda_runtime.h>

#include "list.h"

#define MRO_CUDA_LAUNCHER(name)                                                                                     \
    extern "C" int mro_cuda_##name(uint32_t blocks, const void *args, void *stream)                                 \
    {                                                                                                               \
        name##_kernel<<<blocks, mro_##name##_THREADS, 0, (cudaStream_t)stream>>>(*(const mro_##name##_args *)args); \
        return (int)cudaGetLastError();                                                                             \
    }

#define MRO_CUDA_ONCE(name)                                                         \
    static __global__ void __launch_bounds__(mro_##name##_THREADS, 1)               \
        name##_kernel(const __grid_constant__ mro_##name##_args a)                  \
    {                                                                               \
        __shared__ mro_##name##_shared s;                                           \
        const mro_thread t = { blockIdx.x, gridDim.x, threadIdx.x };                \
        _Pragma("unroll") for (int phase = 0; phase < mro_##name##_PHASES; phase++) \
        {                                                                           \
            if (phase) __syncthreads();                                             \
            mro_##name##_phase(phase, &a, &t, &s);                                  \
        }                                                                           \
    }                                                                               \
    MRO_CUDA_LAUNCHER(name)

#define MRO_CUDA_ROUNDS(name)                                                           \
    static __global__ void __launch_bounds__(mro_##name##_THREADS, 1)                   \
        name##_kernel(const __grid_constant__ mro_##name##_args a)                      \
    {                                                                                   \
        __shared__ mro_##name##_shared s;                                               \
        const mro_thread t = { blockIdx.x, gridDim.x, threadIdx.x };                    \
        mro_##name##_begin(&a, &t, &s);                                                 \
        __syncthreads();                                                                \
        do {                                                                            \
            _Pragma("unroll") for (int phase = 0; phase < mro_##name##_PHASES; phase++) \
            {                                                                           \
                mro_##name##_phase(phase, &a, &t, &s);                                  \
                __syncthreads();                                                        \
            }                                                                           \
        } while (mro_##name##_again(&s));                                               \
    }                                                                                   \
    MRO_CUDA_LAUNCHER(name)

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Marks a function that gcc compiles for the CPU and nvcc for CPU and GPU. These headers keep to the
 * common subset of C11 and C++: no VLAs, no designated initialisers, no complex.h. */
#ifndef MROSCOPE_MATH_HD_H
#define MROSCOPE_MATH_HD_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define MRO_HD static __host__ __device__ __forceinline__
#define MRO_PAIR __align__(8) /* both numbers are loaded and stored as one */
#else
#define MRO_HD static inline
#define MRO_PAIR
#endif

#define MRO_PI 3.14159265358979323846

/* A complex number of two floats, laid out as cuFFT and FFTW expect it. */
typedef struct MRO_PAIR {
    float re, im;
} mro_c32;

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Marks a function that gcc compiles for the CPU and nvcc for CPU and GPU. These headers keep to the
 * common subset of C11 and C++: no VLAs, no designated initialisers, no complex.h. */
#ifndef MROSCOPE_MATH_HD_H
#define MROSCOPE_MATH_HD_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define MRO_HD static __host__ __device__ __forceinline__
#else
#define MRO_HD static inline
#endif

#define MRO_PI 3.14159265358979323846

/* A complex number of two floats, laid out as cuFFT and FFTW expect it. Cards load and store both as one, at addresses
 * that allow it: said to every compiler, so that sanitizers see to it where no card is. */
typedef struct __attribute__((aligned(8))) {
    float re, im;
} mro_c32;

#endif

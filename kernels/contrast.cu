// SPDX-License-Identifier: GPL-3.0-or-later
#include "contrast.h"

#include "cuda.h"

MRO_CUDA_FULL(residuals)
MRO_CUDA_FULL(despike)
MRO_CUDA_FULL(contrast)
MRO_CUDA_FULL(pass)
MRO_KERNELS_CONTRAST(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

// SPDX-License-Identifier: GPL-3.0-or-later
#include "acf.h"

#include "cuda.h"

MRO_KERNELS_ACF(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

// SPDX-License-Identifier: GPL-3.0-or-later
#include "region.h"

#include "cuda.h"

MRO_KERNELS_REGION(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

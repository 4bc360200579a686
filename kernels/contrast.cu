// SPDX-License-Identifier: GPL-3.0-or-later
#include "contrast.h"

#include "cuda.h"

MRO_KERNELS_CONTRAST(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

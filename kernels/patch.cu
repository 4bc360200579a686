// SPDX-License-Identifier: GPL-3.0-or-later
#include "patch.h"

#include "cuda.h"

MRO_KERNELS_PATCH(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

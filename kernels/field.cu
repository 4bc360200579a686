// SPDX-License-Identifier: GPL-3.0-or-later
#include "field.h"

#include "cuda.h"

MRO_KERNELS_FIELD(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

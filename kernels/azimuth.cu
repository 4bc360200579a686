// SPDX-License-Identifier: GPL-3.0-or-later
#include "azimuth.h"

#include "cuda.h"

MRO_KERNELS_AZIMUTH(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

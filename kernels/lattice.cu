// SPDX-License-Identifier: GPL-3.0-or-later
#include "lattice.h"

#include "cuda.h"

MRO_KERNELS_LATTICE(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

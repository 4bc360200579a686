// SPDX-License-Identifier: GPL-3.0-or-later
#include "bank.h"

#include "cuda.h"

MRO_KERNELS_BANK(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

// SPDX-License-Identifier: GPL-3.0-or-later
#include "wave.h"

#include "cuda.h"

MRO_KERNELS_WAVE(MRO_CUDA_ONCE, MRO_CUDA_ROUNDS)

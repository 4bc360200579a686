// SPDX-License-Identifier: GPL-3.0-or-later
#include <cub/device/device_radix_sort.cuh>

#include "list.h"

extern "C" int mro_cuda_sort(const float *keys, float *sorted, size_t n, void *work, size_t *work_bytes, void *stream)
{
    return (int)cub::DeviceRadixSort::SortKeys(work, *work_bytes, keys, sorted, (long long)n, 0, 32,
                                               (cudaStream_t)stream);
}

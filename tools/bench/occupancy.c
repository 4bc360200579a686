/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Occupancy of our kernels, by NVIDIA's calculator: lines "file|kernel|architecture|registers|shared|..." on standard
 * input come out with "|threads of a block|percent of the warps that a multiprocessor holds" behind them, and with
 * "|-|-" where the kernel is none of ours. tools/bench/kernels.sh compiles and runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_occupancy.h>

#include "kernels/acf.h"
#include "kernels/azimuth.h"
#include "kernels/bank.h"
#include "kernels/contrast.h"
#include "kernels/field.h"
#include "kernels/lattice.h"
#include "kernels/list.h"
#include "kernels/patch.h"
#include "kernels/region.h"
#include "kernels/wave.h"

#define KERNEL(name) { #name, mro_##name##_THREADS },
static const struct {
    const char *name;
    int threads;
} kernels[] = { MRO_KERNELS(KERNEL, KERNEL) };

/* Of a multiprocessor: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". */
static const struct {
    int architecture, threads, shared_KiB, reserved_bytes;
} cards[] = { { 75, 1024, 64, 0 },     { 80, 2048, 164, 1024 },  { 86, 1536, 100, 1024 }, { 89, 1536, 100, 1024 },
              { 90, 2048, 228, 1024 }, { 100, 2048, 228, 1024 }, { 120, 1536, 100, 1024 } };
enum { REGISTERS = 65536, WARP = 32, BLOCK_THREADS = 1024, STATIC_BYTES = 48 << 10 };

static double percent(int architecture, int threads, int registers, size_t shared)
{
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        if (cards[i].architecture != architecture) continue;
        const cudaOccDeviceProp card = { .computeMajor = architecture / 10,
                                         .computeMinor = architecture % 10,
                                         .maxThreadsPerBlock = BLOCK_THREADS,
                                         .maxThreadsPerMultiprocessor = cards[i].threads,
                                         .regsPerBlock = REGISTERS,
                                         .regsPerMultiprocessor = REGISTERS,
                                         .warpSize = WARP,
                                         .sharedMemPerBlock = STATIC_BYTES,
                                         .sharedMemPerMultiprocessor = (size_t)cards[i].shared_KiB << 10,
                                         .numSms = 1,
                                         .sharedMemPerBlockOptin = ((size_t)cards[i].shared_KiB << 10) - 1024,
                                         .reservedSharedMemPerBlock = (size_t)cards[i].reserved_bytes };
        const cudaOccFuncAttributes kernel = {
            .maxThreadsPerBlock = threads, .numRegs = registers, .sharedSizeBytes = shared, .numBlockBarriers = 1
        };
        const cudaOccDeviceState state = { .carveoutConfig = SHAREDMEM_CARVEOUT_DEFAULT };
        cudaOccResult r;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&r, &card, &kernel, &state, threads, 0) != CUDA_OCC_SUCCESS) break;
        return 100.0 * r.activeBlocksPerMultiprocessor * threads / cards[i].threads;
    }
    return -1;
}

int main(void)
{
    char line[512], name[128];
    while (fgets(line, sizeof line, stdin)) {
        int architecture, registers;
        size_t shared, i = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*[^|]|%127[^|]|%d|%d|%zu", name, &architecture, &registers, &shared) != 4) {
            fprintf(stderr, "occupancy: cannot read '%s'\n", line);
            return 1;
        }
        while (i < sizeof kernels / sizeof *kernels && strcmp(kernels[i].name, name) != 0) i++;
        const double share =
            i < sizeof kernels / sizeof *kernels ? percent(architecture, kernels[i].threads, registers, shared) : -1;
        if (share >= 0)
            printf("%s|%d|%.0f\n", line, kernels[i].threads, share);
        else
            printf("%s|-|-\n", line);
    }
    return 0;
}

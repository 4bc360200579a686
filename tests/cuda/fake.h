/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine with graphics cards that is none: the functions of the CUDA runtime, cuFFT and the kernels that host/cuda
 * calls, over host memory, so that every path of host/cuda can be walked without a card. Work is queued and done as
 * late as CUDA may do it, so that what is touched too early shows. Any call can be made to fail. */
#ifndef TESTS_CUDA_FAKE_H
#define TESTS_CUDA_FAKE_H

#include <stdbool.h>
#include <stddef.h>

#include <cuda_runtime_api.h>

#define FAKE_CARDS 4

struct fake {
    /* The machine. */
    int cards, driver; /* driver: 13000 knows CUDA 13.0; 0 = none */
    struct {
        int major, minor, mode;
        bool busy;           /* another program has it to itself */
        bool pools, kernels; /* knows memory pools; the build has kernels for it */
    } card[FAKE_CARDS];
    size_t memory; /* bytes of every card */

    /* Failure: the fail_at-th call from now on (of fail_call, when that is not NULL; 0 = none) returns fail_with. After
     * an error that loses the card every call fails. kernel_fault: the error shows when a kernel runs, later. */
    size_t fail_at;
    const char *fail_call;
    cudaError_t fail_with;
    bool forever;        /* and all later calls of fail_call */
    size_t kernel_fault; /* the n-th kernel from now on */

    /* What happened. */
    size_t calls, kernels_run, plans_made;
    const char *failed; /* the call that was made to fail */
    /* What is held: device memory, page-locked memory, transforms, streams, events. */
    size_t buffers, pinned, plans, streams, events;
    size_t bytes;
    char trouble[200]; /* first misuse, such as freeing twice; "" as long as all is well */
};
extern struct fake fake;

/* A machine with one card of 256 MiB that works, and no counts. Nothing may be held. */
void fake_reset(void);

/* Everything given back, nothing misused? Else the reason. */
const char *fake_left(void);

#endif

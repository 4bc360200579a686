/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The `strict` device: the kernels' own bodies on the processor, under the rules of a card. It is for tests: indexing,
 * tails, reductions and launch shapes of the CUDA code are tried with it on machines that have no card.
 *
 * Its memory faults when the host touches it; only uploads, downloads, transforms, sorts and kernels may. Every buffer
 * has guard words before and after it, which are looked at after every kernel, and ends at a page that cannot be
 * touched at all. What was not written reads as NaN. Threads of a block run in ascending order in even blocks and in
 * descending order in odd ones, so that what depends on their order shows. Host pointers among a kernel's arguments
 * are refused. */
#ifndef MRO_STRICT_STRICT_H
#define MRO_STRICT_STRICT_H

#include "gpu/gpu.h"

/* For tests: the k-th call from now (from 0) of the runtime or memory functions of `d` fails with `code`. */
void mro_strict_fail(struct mro_device *d, size_t k, enum mro_code code);
/* Whether that call has come. */
bool mro_strict_failed(const struct mro_device *d);
/* For tests: another order of the blocks and of the threads of each, and other bytes in memory that was not written.
 * What does not race, and reads nothing that was not written, gives the same bytes at any seed. 0: as above. */
void mro_strict_shuffle(struct mro_device *d, uint32_t seed);
/* Buffers that are allocated now. */
size_t mro_strict_buffers(const struct mro_device *d);
/* The largest number of bytes that were allocated at once. */
size_t mro_strict_peak(const struct mro_device *d);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where measurements run: a compute device with its memory budget and threads. */
#ifndef MROSCOPE_DEVICE_H
#define MROSCOPE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct mro_device; /* opaque; one measurement at a time */

/* Opens a device by name: "cpu"; "cuda:N", the graphics card of that number; "cuda", the first card that can be used;
 * "cuda:all/K", the first that can be used of all cards in turn from number K on, so that processes with K = 0, 1, 2,
 * ... share them ("cuda:all" is K = 0); "auto", "cuda" or else the CPU; "strict", the kernels of the cards run by the
 * processor with every access to memory checked, slowly, for tests. NULL is "auto" for callers who asked for nothing:
 * see mro_device_note. `threads` 0 = all cores; `memory_bytes` 0 = half of the machine's memory, for what is held on
 * the host. Errors: MRO_EARG for an unknown name, MRO_EDEVICE for a device that this build or machine lacks or that
 * cannot be used, or for a processor that this build is not for. Free with mro_device_close. */
enum mro_code mro_device_open(struct mro_device **d, const char *name, int threads, size_t memory_bytes,
                              struct mro_error *e);
void mro_device_close(struct mro_device *d); /* NULL is fine */

/* The name that process number `share` of several opens where all were told `name`: cards are dealt where that is
 * "cuda:all", everything else stays as it is (NULL: ""). */
void mro_device_share(const char *name, size_t share, char *out, size_t room);

const char *mro_device_backend(const struct mro_device *d); /* "cpu", "strict", "cuda": goes into provenance */
size_t mro_device_memory(const struct mro_device *d);       /* budget for host memory, bytes */

/* Processor or card, in words. */
const char *mro_device_description(const struct mro_device *d);

/* Why a device opened as "auto" is the CPU, one sentence; "" when there is nothing to say. For NULL as name, "" also
 * where the machine has no card: nobody had expected one. */
const char *mro_device_note(const struct mro_device *d);

/* One row for each device that can be opened, and one for each backend that cannot. */
struct mro_device_info {
    char name[32]; /* what mro_device_open takes: "cpu", "strict", "cuda:0" */
    const char *backend;
    bool usable;
    char description[160];           /* processor or card, threads or memory */
    char reason[512];                /* why it is not usable; "" when it is */
    size_t memory_bytes, free_bytes; /* 0 = unknown */
    int compute_capability[2];       /* of a card, major and minor; 0 = none */
    int driver[2], runtime[2];       /* newest CUDA that the driver knows, CUDA of this build; 0 = none */
};
size_t mro_device_count(void);
void mro_device_describe(size_t i, struct mro_device_info *info);

/* Half of the machine's physical memory, or of what a container or a job of a cluster may use of it, bytes. */
size_t mro_default_memory(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

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

struct mro_device; /* opaque; one measurement at a time */

/* Opens a device by name: "auto", "cpu", later "strict", "cuda", "cuda:N". `threads` 0 = all cores;
 * `memory_bytes` 0 = half of the machine's memory. Errors: MRO_EARG for an unknown name, MRO_EDEVICE
 * for a device that this build or machine lacks. Free with mro_device_close. */
enum mro_code mro_device_open(struct mro_device **d, const char *name, int threads, size_t memory_bytes,
                              struct mro_error *e);
void mro_device_close(struct mro_device *d); /* NULL is fine */

const char *mro_device_backend(const struct mro_device *d); /* "cpu": goes into provenance */
size_t mro_device_memory(const struct mro_device *d);       /* budget, bytes */

/* One row for each backend that mroscope knows, whether this build has it or not. */
struct mro_device_info {
    const char *backend;
    bool usable;
    char description[160]; /* processor or card, threads or memory */
    char reason[160];      /* why it is not usable; "" when it is */
};
size_t mro_device_count(void);
void mro_device_describe(size_t i, struct mro_device_info *info);

/* Half of the machine's physical memory, bytes. */
size_t mro_default_memory(void);

#ifdef __cplusplus
}
#endif
#endif

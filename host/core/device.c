/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/device.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/backend.h"

static const struct mro_backend *const backends[] = { &mro_backend_cpu, &mro_backend_strict };

size_t mro_default_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
    if (pages <= 0 || page <= 0) return (size_t)2 << 30;
    return (size_t)pages * (size_t)page / 2;
}

enum mro_code mro_device_open(struct mro_device **out, const char *name, int threads, size_t memory_bytes,
                              struct mro_error *e)
{
    *out = NULL;
    if (name == NULL || strcmp(name, "auto") == 0) name = "cpu";
    if (strncmp(name, "cuda", 4) == 0)
        return MRO_FAIL(e, MRO_EDEVICE, "device '%s' asked for, but this build has no CUDA; use --device cpu", name);
    const struct mro_backend *ops = NULL;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(name, backends[i]->name) == 0) ops = backends[i];
    if (ops == NULL) return MRO_FAIL(e, MRO_EARG, "unknown device '%s'; see 'mroscope devices'", name);
    struct mro_device *d = calloc(1, sizeof *d);
    if (d == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    d->ops = ops;
    d->threads = threads > 0 ? threads : omp_get_num_procs();
    d->memory_bytes = memory_bytes ? memory_bytes : mro_default_memory();
    const enum mro_code rc = ops->open(d, 0, e);
    if (rc) {
        free(d);
        return rc;
    }
    *out = d;
    return MRO_OK;
}

void mro_device_close(struct mro_device *d)
{
    if (d == NULL) return;
    d->ops->close(d);
    free(d);
}

const char *mro_device_backend(const struct mro_device *d) { return d->ops->name; }
size_t mro_device_memory(const struct mro_device *d) { return d->memory_bytes; }

size_t mro_device_count(void) { return 2; }

void mro_device_describe(size_t i, struct mro_device_info *info)
{
    memset(info, 0, sizeof *info);
    if (i == 0) {
        info->backend = "cpu";
        info->usable = true;
        char model[96] = "processor";
        FILE *f = fopen("/proc/cpuinfo", "r");
        if (f) {
            char line[256];
            while (fgets(line, sizeof line, f)) {
                const char *colon = strchr(line, ':');
                if (strncmp(line, "model name", 10) == 0 && colon) {
                    snprintf(model, sizeof model, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
                    break;
                }
            }
            fclose(f);
        }
        snprintf(info->description, sizeof info->description, "%s, %d threads, %.1f GiB memory", model,
                 omp_get_num_procs(), 2.0 * (double)mro_default_memory() / (double)(1 << 30));
    } else {
        info->backend = "cuda";
        snprintf(info->reason, sizeof info->reason, "not compiled into this build");
    }
}

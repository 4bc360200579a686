/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mroscope/device.h"

/* The number that `path` holds; SIZE_MAX without it and for "max". */
static size_t read_limit(const char *path)
{
    unsigned long long v;
    FILE *f = fopen(path, "re");
    if (f == NULL) return SIZE_MAX;
    const int n = fscanf(f, "%llu", &v);
    fclose(f);
    return n == 1 && v > 0 && v < SIZE_MAX ? (size_t)v : SIZE_MAX;
}

size_t mro_memory_limit(const char *groups, const char *root)
{
    size_t least = SIZE_MAX;
    char line[4096], path[8192];
    FILE *f = fopen(groups, "re");
    if (f == NULL) return SIZE_MAX;
    while (fgets(line, sizeof line, f) != NULL) {
        /* "0::/a/b" is version 2, "7:cpu,memory:/a/b" version 1. A path that a container does not see is passed by on
         * the way up to the root, which is then its own. */
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        const char *memory = strstr(controllers + 1, "memory");
        const bool second = controllers[1] == '\0';
        if (!second && memory == NULL) continue;
        for (size_t n = strlen(group);; n--) {
            if (n > 0 && group[n] != '\0' && group[n] != '/') continue;
            snprintf(path, sizeof path, "%s%s%.*s/%s", root, second ? "" : "/memory", (int)n, group,
                     second ? "memory.max" : "memory.limit_in_bytes");
            const size_t limit = read_limit(path);
            if (limit < least) least = limit;
            if (n == 0) break;
        }
    }
    fclose(f);
    return least;
}

size_t mro_default_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
    const size_t physical = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)4 << 30,
                 limit = mro_memory_limit("/proc/self/cgroup", "/sys/fs/cgroup");
    return (limit < physical ? limit : physical) / 2;
}

void mro_prefer_huge_pages(void *p, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t huge = (uintptr_t)2 << 20, from = ((uintptr_t)p + huge - 1) / huge * huge,
                    to = ((uintptr_t)p + bytes) / huge * huge;
    if (to > from) (void)madvise((void *)from, to - from, MADV_HUGEPAGE); /* a hint: failure changes nothing */
#else
    (void)p, (void)bytes;
#endif
}

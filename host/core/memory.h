/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MRO_CORE_MEMORY_H
#define MRO_CORE_MEMORY_H

#include <stddef.h>

/* The memory that Linux lets a process use by its control groups, those of a container or of a job of a cluster:
 * the least `memory.max` (version 2) or `memory.limit_in_bytes` (version 1) of its groups and those above them, bytes;
 * SIZE_MAX where there is none. `groups` is the file that names the groups, /proc/self/cgroup, `root` the folder under
 * which they are, /sys/fs/cgroup. */
size_t mro_memory_limit(const char *groups, const char *root);

/* Asks the system for large pages where a large fresh allocation stands: touching it 4 KiB at a time costs more than
 * what is computed of it. A hint. */
void mro_prefer_huge_pages(void *p, size_t bytes);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many threads a piece of work is worth, and a flag that they share. */
#ifndef MRO_CORE_TEAM_H
#define MRO_CORE_TEAM_H

#include <stdbool.h>

/* To wake another thread and to be woken by it takes 40 microseconds, and what one wrote comes to the other line by
 * line of the cache: less work than this takes two threads as long as one. */
#define MRO_TEAM_NS 1e5

/* Threads for work that takes one of them `ns` nanoseconds, roughly: all or one. Teams in between would be no better:
 * OpenMP ends threads that a smaller team leaves out, and starts new ones for the next that is larger. */
static inline int mro_team(int threads, double ns) { return ns < MRO_TEAM_NS ? 1 : threads; }

/* For a thread that ran out of memory: the others go on, and the flag is read behind their region. An error with a
 * sentence is kept by core/first_error.h. */
static inline void mro_raise(bool *flag)
{
#pragma omp atomic write
    *flag = true;
}

/* The same flag inside of the region. */
static inline bool mro_raised(const bool *flag)
{
    bool raised;
#pragma omp atomic read
    raised = *flag;
    return raised;
}

#endif

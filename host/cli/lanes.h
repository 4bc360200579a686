/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pieces of work that are begun in order, done side by side by several threads ("lanes"), and finished in order. */
#ifndef MRO_CLI_LANES_H
#define MRO_CLI_LANES_H

#include <stdbool.h>
#include <stddef.h>

struct cli_lanes {
    size_t window; /* pieces that may be begun and not finished, 1 or more: those in lanes, and those that wait */
    size_t piece_bytes;
    void *context;
    /* Begins the next piece in `piece`, which is zeros; false: there is none. One call at a time. */
    bool (*take)(void *context, void *piece);
    /* Does it in lane 1, 2, ...; 0: on the thread that called cli_lanes_run, by itself. */
    void (*work)(void *context, size_t lane, void *piece);
    /* How many lanes may begin, up to CLI_MAX_LANES, now that this piece was done by itself; 0: none yet, so that it is
     * finished and another one done. */
    size_t (*start)(void *context, const void *piece);
    /* Finishes a piece, on the thread that called cli_lanes_run; false: those after it are not to be finished. */
    bool (*finish)(void *context, void *piece);
    /* Releases one that was begun and not finished. */
    void (*drop)(void *context, void *piece);
};
enum { CLI_MAX_LANES = 64 };

/* Runs until `take` has no more or `finish` ends it. What belongs to the calling thread by core/inside.h is lent to the
 * lanes. Returns false when out of memory, with nothing done. */
bool cli_lanes_run(const struct cli_lanes *plan);

#endif

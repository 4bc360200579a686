/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One line of progress on a terminal: images done, rate, time left. */
#ifndef MRO_CLI_PROGRESS_H
#define MRO_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct cli_progress {
    bool shown;
    double start; /* seconds */
    size_t frames;
};

/* Seconds on a clock that is never set. */
double cli_now(void);

/* Shows anything only when stderr is a terminal and the user has not asked for quiet. */
void cli_progress_begin(struct cli_progress *p, bool quiet);
/* `files` of `total` are finished, `part` (0 to 1) of the next; one more frame is done. */
void cli_progress_frame(struct cli_progress *p, size_t files, size_t total, double part);
/* Wipes the line, so that something else can be printed. */
void cli_progress_clear(const struct cli_progress *p);

#endif

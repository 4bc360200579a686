/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cli_progress_begin(struct cli_progress *p, bool quiet)
{
    p->shown = !quiet && isatty(STDERR_FILENO);
    p->start = cli_now();
    p->frames = 0;
}

void cli_progress_frame(struct cli_progress *p, size_t files, size_t total, double part)
{
    p->frames++;
    if (!p->shown) return;
    const double seconds = cli_now() - p->start, done = (double)files + part;
    const double rate = seconds > 0 ? (double)p->frames / seconds : 0;
    const long left = done > 0 ? (long)(seconds * ((double)total - done) / done + 0.5) : 0;
    cli_progress_clear(p);
    fprintf(stderr, "%zu of %zu files, %.3g images/s, %ld:%02ld left", part < 1 ? files : files + 1, total, rate,
            left / 60, left % 60);
    fflush(stderr);
}

void cli_progress_clear(const struct cli_progress *p)
{
    if (!p->shown) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}

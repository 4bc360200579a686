/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Signals that ask a batch to end. */
#define _POSIX_C_SOURCE 200809L /* sigaction */
#include <signal.h>

#include "cli/batch.h"

static volatile sig_atomic_t stopped_by, times_stopped;
static void on_stop(int sig)
{
    stopped_by = sig;
    if (times_stopped < 2) times_stopped++;
}

static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
enum { n_stops = sizeof stops / sizeof *stops };

void batch_hear_stops(bool hear)
{
    static struct sigaction old[n_stops], pipes;
    const struct sigaction heard = { .sa_handler = on_stop }, ignored = { .sa_handler = SIG_IGN };
    for (int i = 0; i < n_stops; i++) {
        if (hear) sigaction(stops[i], NULL, &old[i]);
        /* What the caller had ignored, as nohup does, stays ignored. */
        if (old[i].sa_handler != SIG_IGN) sigaction(stops[i], hear ? &heard : &old[i], NULL);
    }
    sigaction(SIGPIPE, hear ? &ignored : &pipes, hear ? &pipes : NULL);
}

void batch_reset_stops(void)
{
    for (int i = 0; i < n_stops; i++) signal(stops[i], SIG_DFL);
}

int batch_stopped(int times) { return times_stopped >= times ? stopped_by : 0; }

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/lanes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/inside.h"

enum { STACK_BYTES = 8 << 20 }; /* as the first thread of a program has, on systems that give others less */

struct team {
    const struct cli_lanes *plan;
    struct mro_inside *inside;
    locale_t locale;
    char *pieces;           /* a ring: piece number i at i % window */
    bool *worked;           /* likewise */
    pthread_mutex_t taking; /* held by the lane that takes a piece */
    pthread_mutex_t lock;   /* of what follows, and of `worked` */
    pthread_cond_t changed;
    size_t taken, finished;
    bool ended; /* nothing more is taken */
};

struct lane {
    struct team *team;
    size_t number;
    pthread_t thread;
};

static void *piece_of(const struct team *t, size_t i) { return t->pieces + i % t->plan->window * t->plan->piece_bytes; }

/* Waits for room and takes the next piece; false when there is none. */
static bool take(struct team *t, size_t *i)
{
    pthread_mutex_lock(&t->taking);
    pthread_mutex_lock(&t->lock);
    while (!t->ended && t->taken - t->finished == t->plan->window) pthread_cond_wait(&t->changed, &t->lock);
    bool more = !t->ended;
    *i = t->taken;
    pthread_mutex_unlock(&t->lock);
    if (more) {
        memset(piece_of(t, *i), 0, t->plan->piece_bytes);
        more = t->plan->take(t->plan->context, piece_of(t, *i));
    }
    pthread_mutex_lock(&t->lock);
    if (more) t->worked[t->taken++ % t->plan->window] = false;
    if (!more) t->ended = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_unlock(&t->taking);
    return more;
}

static void *run(void *arg)
{
    const struct lane *l = arg;
    struct team *t = l->team;
    size_t i;
    mro_inside = t->inside;
    const locale_t own = uselocale(t->locale);
    while (take(t, &i)) {
        t->plan->work(t->plan->context, l->number, piece_of(t, i));
        pthread_mutex_lock(&t->lock);
        t->worked[i % t->plan->window] = true;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
    }
    uselocale(own);
    return NULL;
}

/* Waits until piece number i is done; false when there is none. */
static bool next_worked(struct team *t, size_t i)
{
    pthread_mutex_lock(&t->lock);
    while (i < t->taken ? !t->worked[i % t->plan->window] : !t->ended) pthread_cond_wait(&t->changed, &t->lock);
    const bool more = i < t->taken;
    pthread_mutex_unlock(&t->lock);
    return more;
}

static bool finish(struct team *t, size_t i)
{
    const bool more = t->plan->finish(t->plan->context, piece_of(t, i));
    pthread_mutex_lock(&t->lock);
    t->finished++;
    if (!more) t->ended = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    return more;
}

/* Returns how many of `n` lanes could be had. */
static size_t start(struct team *t, struct lane *lane, size_t n)
{
    pthread_attr_t attributes;
    size_t running = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (; running < n; running++) {
        lane[running] = (struct lane){ .team = t, .number = running + 1 };
        if (pthread_create(&lane[running].thread, &attributes, run, &lane[running]) != 0) break;
    }
    pthread_attr_destroy(&attributes);
    return running;
}

bool cli_lanes_run(const struct cli_lanes *plan)
{
    struct team t = { .plan = plan, .inside = mro_inside, .locale = uselocale((locale_t)0) };
    struct lane lane[CLI_MAX_LANES];
    size_t i = 0, running = 0;
    bool more = true;
    t.pieces = calloc(plan->window, plan->piece_bytes);
    t.worked = calloc(plan->window, sizeof *t.worked);
    if (t.pieces == NULL || t.worked == NULL) {
        free(t.pieces);
        free(t.worked);
        return false;
    }
    pthread_mutex_init(&t.taking, NULL);
    pthread_mutex_init(&t.lock, NULL);
    pthread_cond_init(&t.changed, NULL);
    while (running == 0 && more && take(&t, &i)) {
        plan->work(plan->context, 0, piece_of(&t, i));
        t.worked[i % plan->window] = true;
        running = start(&t, lane, plan->start(plan->context, piece_of(&t, i)));
        if (running == 0) more = finish(&t, i);
    }
    for (; running && more && next_worked(&t, i); i++) more = finish(&t, i);
    for (size_t k = 0; k < running; k++) pthread_join(lane[k].thread, NULL);
    for (; t.finished < t.taken; t.finished++) plan->drop(plan->context, piece_of(&t, t.finished));
    pthread_cond_destroy(&t.changed);
    pthread_mutex_destroy(&t.lock);
    pthread_mutex_destroy(&t.taking);
    free(t.pieces);
    free(t.worked);
    return true;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/stream.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct mro_image im;
    size_t frame, warnings;
};

struct mro_stream {
    struct mro_stream_plan plan;
    size_t next; /* frame to look at next */
    bool threaded;
    pthread_t reader;
    /* What both threads use, under the lock. Slots [first, first + filled) of the ring hold frames; the reader fills
     * the one after them. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot *ring;
    size_t first, filled;
    struct mro_image *spare; /* memory that was handed back, of plan.lent frames at most */
    size_t n_spare;
    bool ended, stop;
    struct mro_error error; /* code MRO_OK: the end was the last frame */
};

/* Reads the next frame that is wanted into `slot`, or only tells its number; false after the last and after a failure.
 */
static bool read_next(struct mro_stream *s, struct slot *slot, struct mro_error *e)
{
    const struct mro_stream_plan *p = &s->plan;
    const size_t frames = mro_file_info(p->file, p->image)->frames;
    e->code = MRO_OK;
    while (s->next < frames && p->wanted && !p->wanted(p->context, s->next)) s->next++;
    if (s->next >= frames) return false;
    slot->frame = s->next++;
    if (!p->unread && mro_file_read_into(p->file, p->image, slot->frame, &slot->im, e) != MRO_OK) return false;
    slot->warnings = p->file->n_warnings;
    return true;
}

static struct mro_image take_spare(struct mro_stream *s)
{
    struct mro_image spare = { 0 };
    pthread_mutex_lock(&s->lock);
    if (s->n_spare) spare = s->spare[--s->n_spare];
    pthread_mutex_unlock(&s->lock);
    return spare;
}

static void *read_ahead(void *arg)
{
    struct mro_stream *s = arg;
    struct slot slot = { 0 };
    struct mro_error e;
    if (s->plan.threads > 0) omp_set_num_threads(s->plan.threads); /* a setting of each thread */
    for (;;) {
        /* A frame is begun only when there is room for it. */
        pthread_mutex_lock(&s->lock);
        while (s->filled == s->plan.depth && !s->stop) pthread_cond_wait(&s->changed, &s->lock);
        const bool stop = s->stop;
        pthread_mutex_unlock(&s->lock);
        slot.im = take_spare(s);
        const bool read = !stop && read_next(s, &slot, &e);
        pthread_mutex_lock(&s->lock);
        if (read) {
            s->ring[(s->first + s->filled++) % s->plan.depth] = slot;
            memset(&slot, 0, sizeof slot);
        } else {
            s->ended = true;
            if (!stop) s->error = e;
        }
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        if (!read) break;
    }
    mro_image_release(&slot.im);
    return NULL;
}

enum mro_code mro_stream_open(struct mro_stream **out, const struct mro_stream_plan *plan, struct mro_error *e)
{
    *out = NULL;
    if (mro_file_info(plan->file, plan->image) == NULL)
        return MRO_FAIL(e, MRO_EARG, "'%s' has no image %zu", plan->file->name, plan->image);
    struct mro_stream *s = calloc(1, sizeof *s);
    const size_t lent = plan->lent ? plan->lent : 1;
    if (s != NULL && plan->depth > 0) s->ring = calloc(plan->depth, sizeof *s->ring);
    if (s != NULL) s->spare = calloc(lent, sizeof *s->spare);
    if (s == NULL || s->spare == NULL || (plan->depth > 0 && s->ring == NULL)) {
        if (s) free(s->ring);
        if (s) free(s->spare);
        free(s);
        return MRO_FAIL(e, MRO_EMEMORY, "no memory to read the frames of '%s'", plan->file->name);
    }
    s->plan = *plan;
    s->plan.lent = lent;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    /* Where no thread can be had, frames are read when they are asked for. */
    s->threaded = plan->depth > 0 && pthread_create(&s->reader, NULL, read_ahead, s) == 0;
    *out = s;
    return MRO_OK;
}

enum mro_code mro_stream_next(struct mro_stream *s, bool *more, struct mro_image *im, size_t *frame, size_t *warnings,
                              struct mro_error *e)
{
    struct slot slot = { 0 };
    struct mro_error error;
    if (s->threaded) {
        pthread_mutex_lock(&s->lock);
        while (s->filled == 0 && !s->ended) pthread_cond_wait(&s->changed, &s->lock);
        *more = s->filled > 0;
        error = s->error;
        if (*more) {
            slot = s->ring[s->first];
            s->first = (s->first + 1) % s->plan.depth;
            s->filled--;
            pthread_cond_broadcast(&s->changed);
        }
        pthread_mutex_unlock(&s->lock);
    } else {
        error.code = MRO_OK;
        if (!s->plan.unread) slot.im = take_spare(s);
        *more = !s->ended && read_next(s, &slot, &error);
        s->ended = !*more;
        if (!*more) mro_image_release(&slot.im);
    }
    *im = slot.im;
    *frame = slot.frame;
    *warnings = slot.warnings;
    if (*more || error.code == MRO_OK) return MRO_OK;
    if (e) *e = error;
    return error.code;
}

enum mro_code mro_stream_read(struct mro_stream *s, size_t frame, struct mro_image *im, struct mro_error *e)
{
    *im = take_spare(s);
    return mro_file_read_into(s->plan.file, s->plan.image, frame, im, e);
}

void mro_stream_give_back(struct mro_stream *s, struct mro_image *im)
{
    pthread_mutex_lock(&s->lock);
    if (im->px && s->n_spare < s->plan.lent) {
        s->spare[s->n_spare++] = *im;
        memset(im, 0, sizeof *im);
    }
    pthread_mutex_unlock(&s->lock);
    mro_image_release(im);
}

void mro_stream_close(struct mro_stream *s)
{
    if (s == NULL) return;
    if (s->threaded) {
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->reader, NULL);
    }
    for (; s->filled > 0; s->filled--, s->first = (s->first + 1) % s->plan.depth)
        mro_image_release(&s->ring[s->first].im);
    while (s->n_spare) mro_image_release(&s->spare[--s->n_spare]);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s->spare);
    free(s);
}

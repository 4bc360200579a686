/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Several files of one image each, measured at the same time: of a small image, most regions of threads are too short
 * for a second one. */
#include <string.h>

#include "cli/walk.h"
#include "core/backend.h"
#include "core/inside.h"
#include "io/reader.h"

struct files {
    struct walk *w;
    char *const *paths;
    size_t n, taken, finished, lanes;
    struct visit first; /* open already, until it is taken */
    size_t image;       /* that of it */
    size_t each;        /* bytes that measuring one of them may take */
    struct mro_image
        spare[CLI_MAX_LANES]; /* of each lane, to read the next into: memory that is new has to be cleared */
};

/* One of them, on its way. */
struct one {
    struct visit v;
    struct frame f;
    size_t image;
};

/* Whether all that is measured of a file is a single frame. */
static bool is_single(const struct visit *v, size_t *image)
{
    size_t images = 0;
    for (size_t i = 0; i < mro_file_images(v->file); i++) {
        if (!cli_measured(v->walk->job, v->file, i)) continue;
        *image = i;
        images++;
    }
    return images == 1 && mro_file_info(v->file, *image)->frames == 1;
}

/* The same, and of no more memory than was planned with. */
static bool goes_along(const struct files *s, const struct visit *v, size_t *image)
{
    struct cli_room room;
    struct mro_error e;
    return is_single(v, image) && cli_room_for(v, mro_file_info(v->file, *image), &room, &e) == MRO_OK &&
           room.more + room.raw <= s->each;
}

static bool take_file(void *context, void *piece)
{
    struct files *s = context;
    struct one *o = piece;
    struct mro_error *e = &o->f.error;
    if (s->taken == s->n) return false;
    if (s->taken == 0) {
        memcpy(&o->v, &s->first, sizeof o->v);
        s->first.file = NULL;
        o->image = s->image;
    } else {
        e->code = cli_visit_open(s->w, s->paths[s->taken], &o->v, e);
        if (e->code == MRO_OK && !goes_along(s, &o->v, &o->image)) {
            cli_visit_close(&o->v);
            return false;
        }
    }
    s->taken++;
    if (e->code == MRO_OK) e->code = cli_visit_hash(&o->v, e);
    if (e->code == MRO_OK) e->code = cli_item_begin(&o->v, o->image, false, true, 0, &o->f.item, e);
    o->f.item.first = true;
    return true;
}

static void work_on_file(void *context, size_t lane, void *piece)
{
    struct files *s = context;
    struct one *o = piece;
    struct cli_item *item = &o->f.item;
    struct mro_error *e = &o->f.error;
    struct mro_image *spare = s->spare + (lane ? lane - 1 : 0); /* the first lane goes on with that of no lane */
    item->place = cli_lane_place(s->w->job, lane);
    if (e->code) return;
    item->pixels = *spare;
    *spare = (struct mro_image){ 0 };
    if ((e->code = mro_file_read_into(o->v.file, o->image, 0, &item->pixels, e))) return;
    item->n_file = o->v.file->n_warnings;
    cli_frame_measure(&o->v, &o->f, NULL, 0);
    if (item->spent) { /* it may wait long */
        *spare = item->pixels;
        item->pixels.px = NULL;
    }
}

static size_t start_lanes(void *context, const void *piece)
{
    const struct files *s = context;
    const struct one *o = piece;
    return cli_lanes_start(s->w->job, s->lanes, &o->f);
}

static void release(const struct files *s, struct one *o, bool failed)
{
    s->w->job->release(s->w->job->context, o->f.measured);
    cli_item_release(&o->f.item, failed);
    cli_visit_close(&o->v);
}

static bool finish_file(void *context, void *piece)
{
    struct files *s = context;
    struct one *o = piece;
    struct walk *w = s->w;
    struct mro_error e = o->f.error;
    if (e.code == MRO_OK) e.code = cli_frame_publish(&o->v, &o->f, &e);
    release(s, o, e.code != MRO_OK);
    if (e.code) cli_walk_report(w, &e);
    cli_progress_frame(&w->progress, w->file + s->finished++, w->files, 1);
    return mro_stopped(&e) == MRO_OK;
}

static void drop_file(void *context, void *piece) { release(context, piece, true); }

size_t cli_files_measure(struct walk *w, char *const *paths, size_t n)
{
    const struct cli_job *job = w->job;
    const struct cli_common *c = job->common;
    struct files s = { .w = w, .paths = paths, .n = n };
    struct cli_room room;
    struct mro_error e;
    size_t window;
    if (n < 3 || c->reduce != CLI_REDUCE_NONE || c->frames.n > 0 ||
        mro_device_lanes(job->places->device[CLI_CHOSEN], n, 1) < 2)
        return 0;
    if (cli_visit_open(w, paths[0], &s.first, &e) == MRO_OK && is_single(&s.first, &s.image) &&
        cli_room_for(&s.first, mro_file_info(s.first.file, s.image), &room, &e) == MRO_OK) {
        room.more += room.raw; /* each decodes its own */
        s.each = room.more;
        s.lanes = cli_lanes_for(job, &room, n, &window);
    }
    if (s.lanes > 1) {
        const struct cli_lanes lanes = {
            window, sizeof(struct one), &s, take_file, work_on_file, start_lanes, finish_file, drop_file,
        };
        (void)cli_lanes_run(&lanes); /* without memory nothing is finished */
    }
    cli_visit_close(&s.first);
    for (size_t k = 0; k < CLI_MAX_LANES; k++) mro_image_release(s.spare + k);
    return s.finished;
}

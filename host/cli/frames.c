/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The frames of an image: one by one, several at the same time, or reduced to one; and the memory that each is lent. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cli/walk.h"
#include "core/backend.h"
#include "core/inside.h"
#include "io/stream.h"

/* -- memory -------------------------------------------------------------------------------------- */

/* What the program itself holds, measured: code and libraries; fonts and the canvas of a figure; the stack of a lane,
 * its tables, and what its blocks of memory leave unused. */
enum { PROGRAM_BYTES = 15 << 20, FIGURE_BYTES = 40 << 20, LANE_BYTES = 8 << 20, MOST_AHEAD = 3, MOST_WAITING = 32 };

enum mro_code cli_room_for(const struct visit *v, const struct mro_image_info *info, struct cli_room *room,
                           struct mro_error *e)
{
    const struct cli_job *job = v->walk->job;
    const size_t budget = job->common->memory ? job->common->memory : mro_default_memory();
    const size_t figure = job->common->out ? (size_t)FIGURE_BYTES : 0;
    const struct mro_axis *x = &info->axis[info->axes - 1];
    struct mro_image like = { .nx = x->size, .ny = info->axes > 1 ? x[-1].size : 1, .kind = info->kind };
    char text[256];
    like.axis[1] = *x;
    like.axis[0] = x[info->axes > 1 ? -1 : 0];
    cli_calibrate(job->common, info, like.axis, text, sizeof text); /* what contradicts it is told with the pixels */
    const size_t pixels = like.ny * like.nx, frame = pixels * sizeof(float);
    const size_t raw = info->dtype == MRO_F32 ? 0 : pixels * mro_dtype_size(info->dtype);
    const size_t lane = frame + (job->need ? job->need(job->context, &like) : 0);
    size_t need = lane, reducing = 0;
    if (job->common->reduce == CLI_REDUCE_MEAN) reducing = mro_frames_mean_bytes(like.ny, like.nx);
    if (job->common->reduce == CLI_REDUCE_ALIGNED) reducing = mro_frames_align_bytes(like.ny, like.nx);
    if (reducing && frame + reducing > need) need = frame + reducing;
    need += (size_t)PROGRAM_BYTES + figure + raw;
    *room = (struct cli_room){ .frame = frame, .raw = raw, .more = lane + LANE_BYTES + figure };
    if (need > budget && job->failure && !job->failure->any) job->failure->need = need;
    if (need > budget)
        return MRO_FAIL(e, MRO_EMEMORY,
                        "'%s': measuring %zu x %zu pixels needs about %zu MiB, the memory budget is %zu MiB; give a "
                        "larger `memory`",
                        v->path, like.nx, like.ny, (need >> 20) + 1, budget >> 20);
    room->left = budget - need;
    return MRO_OK;
}

size_t cli_lanes_for(const struct cli_job *job, const struct cli_room *room, size_t frames, size_t *waiting)
{
    *waiting = 1;
    if (frames < 3 || room->left <= room->frame) return 1;
    const size_t fit = 1 + (room->left - room->frame) / room->more; /* one is read ahead in any case */
    const size_t lanes = mro_device_lanes(job->places->device[CLI_CHOSEN], fit < frames ? fit : frames - 1, room->more);
    if (lanes > 1) *waiting = fit < lanes + MOST_WAITING ? fit : lanes + MOST_WAITING;
    return lanes;
}

size_t cli_lanes_start(const struct cli_job *job, size_t lanes, const struct frame *f)
{
    struct mro_error none;
    size_t n = 0;
    if (lanes < 2 || f->error.code || !job->ready(job->context, f->measured)) return 0;
    const struct mro_device *chosen = job->places->device[CLI_CHOSEN];
    struct mro_device **device = job->places->device + CLI_BESIDE;
    const size_t threads = (size_t)chosen->threads;
    while (n < lanes && (device[n] || mro_device_beside(&device[n], chosen, n, &none) == MRO_OK)) n++;
    for (size_t k = 0; k < n; k++) {
        const size_t share = threads / n + (k < threads % n);
        device[k]->threads = share ? (int)share : 1;
    }
    return n;
}

enum cli_place cli_lane_place(const struct cli_job *job, size_t lane)
{
    const enum cli_place place = lane ? CLI_BESIDE + (enum cli_place)(lane - 1) : CLI_CHOSEN;
    omp_set_num_threads(job->places->device[place]->threads); /* a setting of each thread */
    return place;
}

/* -- the frames of an image ------------------------------------------------------------------------ */

static bool wanted(const void *frames, size_t frame) { return cli_frames_has(frames, frame); }

/* How many frames of an image are asked for, of which the time that is left is told. */
static size_t frames_wanted(const struct mro_stream_plan *plan)
{
    size_t n = 0;
    for (size_t k = 0; k < mro_file_info(plan->file, plan->image)->frames; k++) n += wanted(plan->context, k);
    return n > 0 ? n : 1;
}

/* The frames of an image, measured one by one. */
struct stack {
    struct visit *v;
    bool several;
    const struct mro_stream_plan *plan;
    struct mro_stream *stream;
    size_t lanes, taken, finished, wanted;
    struct mro_error error; /* of the first frame that failed; code MRO_OK: none did */
};

static bool take_frame(void *context, void *piece)
{
    struct stack *s = context;
    struct frame *f = piece;
    struct mro_image pixels;
    size_t n_file;
    bool more;
    f->error.code = mro_stream_next(s->stream, &more, &pixels, &f->number, &n_file, &f->error);
    if (f->error.code) return true;
    if (!more) return false;
    f->error.code = cli_item_begin(s->v, s->plan->image, s->several, true, f->number, &f->item, &f->error);
    f->item.pixels = pixels;
    f->item.n_file = n_file;
    f->item.first = s->taken++ == 0;
    return true;
}

static void drop_frame(void *context, void *piece)
{
    const struct stack *s = context;
    struct frame *f = piece;
    const struct cli_job *job = s->v->walk->job;
    job->release(job->context, f->measured);
    cli_item_release(&f->item, true);
}

/* Publishes a frame; false after a failure. */
static bool finish_frame(void *context, void *piece)
{
    struct stack *s = context;
    struct walk *w = s->v->walk;
    struct frame *f = piece;
    s->error = f->error;
    if (f->error.code == MRO_OK) s->error.code = cli_frame_publish(s->v, f, &s->error);
    w->job->release(w->job->context, f->measured);
    mro_stream_give_back(s->stream, &f->item.pixels);
    cli_item_release(&f->item, s->error.code != MRO_OK);
    if (s->error.code == MRO_OK) s->error.code = mro_stopped(&s->error);
    if (s->error.code) return false;
    cli_progress_frame(&w->progress, w->file, w->files, (double)++s->finished / (double)s->wanted);
    return true;
}

static void work_on_frame(void *context, size_t lane, void *piece)
{
    const struct stack *s = context;
    struct frame *f = piece;
    struct mro_image *pixels = &f->item.pixels;
    f->item.place = cli_lane_place(s->v->walk->job, lane);
    if (f->error.code == MRO_OK && s->plan->unread)
        f->error.code = mro_stream_read(s->stream, f->number, pixels, &f->error);
    if (f->error.code == MRO_OK) cli_frame_measure(s->v, f, NULL, 0);
    if (f->item.spent) { /* it may wait long */
        struct mro_image spent = *pixels;
        pixels->px = NULL;
        mro_stream_give_back(s->stream, &spent);
    }
}

static size_t start_lanes(void *context, const void *piece)
{
    const struct stack *s = context;
    return cli_lanes_start(s->v->walk->job, s->lanes, piece);
}

static enum mro_code do_together(struct visit *v, size_t image, bool several, struct mro_error *e)
{
    const struct cli_job *job = v->walk->job;
    struct cli_item item;
    enum mro_code code = cli_item_begin(v, image, several, false, 0, &item, e);
    if (code == MRO_OK) {
        memcpy(item.pixels.axis, v->axis, sizeof v->axis);
        memcpy(item.calibration, v->calibration, sizeof v->calibration);
        cli_progress_clear(&v->walk->progress);
        code = job->together(job->context, &item, e);
    }
    cli_item_release(&item, code != MRO_OK);
    return code;
}

static enum mro_code do_frames(struct visit *v, bool several, const struct mro_stream_plan *plan, size_t lanes,
                               struct mro_error *e)
{
    struct stack s = { .v = v, .several = several, .plan = plan, .lanes = lanes, .wanted = frames_wanted(plan) };
    const struct cli_lanes frames = {
        plan->lent, sizeof(struct frame), &s, take_frame, work_on_frame, start_lanes, finish_frame, drop_frame,
    };
    MRO_TRY(mro_stream_open(&s.stream, plan, e));
    const bool began = cli_lanes_run(&frames);
    mro_stream_close(s.stream);
    if (!began) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left to begin", v->path);
    if (s.error.code) *e = s.error;
    if (s.error.code == MRO_OK && v->walk->job->together && s.taken > 1) return do_together(v, plan->image, several, e);
    return s.error.code;
}

/* Frames for the library to reduce: one stream after the other, a round each. */
struct rounds {
    struct visit *v;
    const struct mro_stream_plan *plan;
    struct mro_stream *stream;
    struct mro_image lent;
    size_t round, rounds, finished, wanted;
};

static enum mro_code rounds_rewind(void *context, struct mro_error *e)
{
    struct rounds *r = context;
    if (r->stream) r->round++;
    r->finished = 0;
    mro_image_release(&r->lent);
    mro_stream_close(r->stream);
    r->stream = NULL;
    return mro_stream_open(&r->stream, r->plan, e);
}

static enum mro_code rounds_next(void *context, const struct mro_image **im, size_t *frame, struct mro_error *e)
{
    struct rounds *r = context;
    struct walk *w = r->v->walk;
    const size_t seen = r->v->n_file;
    bool more;
    mro_stream_give_back(r->stream, &r->lent);
    MRO_TRY(mro_stream_next(r->stream, &more, &r->lent, frame, &r->v->n_file, e));
    *im = more ? &r->lent : NULL;
    if (!more) r->v->n_file = seen;
    if (more)
        cli_progress_frame(&w->progress, w->file, w->files,
                           ((double)r->round + (double)++r->finished / (double)r->wanted) / (double)r->rounds);
    return MRO_OK;
}

/* The shape of a result is that of the area that the frames share. */
static void crop_info(struct mro_image_info *info, const struct mro_image *im)
{
    struct mro_axis *x = &info->axis[info->axes - 1];
    x->size = im->nx;
    if (info->axes > 1) x[-1].size = im->ny;
}

struct reducing {
    struct visit *v;
    struct rounds rounds;
    struct mro_reduced result;
};

static enum mro_code reduce_at(void *context, enum cli_place place, struct mro_error *e)
{
    struct reducing *r = context;
    const struct mro_frames frames = { &r->rounds, rounds_rewind, rounds_next };
    const struct cli_job *job = r->v->walk->job;
    if (job->common->reduce != CLI_REDUCE_ALIGNED) return mro_frames_mean(&frames, r->v->path, &r->result, e);
    return mro_frames_align(job->places->device[place], &frames, r->v->path, &r->result, e);
}

static enum mro_code do_reduced(struct visit *v, bool several, const struct mro_stream_plan *plan, struct mro_error *e)
{
    const struct cli_job *job = v->walk->job;
    const bool align = job->common->reduce == CLI_REDUCE_ALIGNED;
    struct reducing reducing = { .v = v,
                                 .rounds = { .v = v,
                                             .plan = plan,
                                             .rounds = align ? 4 : 2, /* and measuring */
                                             .wanted = frames_wanted(plan) } };
    struct frame f = { 0 };
    struct cli_item *const item = &f.item;
    struct mro_image_info info;
    char left_out[160], shrunk[160];
    const char *made[CLI_MAX_MADE];
    size_t n_made = 0;
    enum mro_code code = cli_compute(job->common, job->places, v->path, reduce_at, &reducing, e);
    mro_image_release(&reducing.rounds.lent);
    mro_stream_close(reducing.rounds.stream);
    if (code == MRO_OK) code = cli_item_begin(v, plan->image, several, false, 0, item, e);
    if (code == MRO_OK) {
        info = *item->info;
        if (reducing.result.used < reducing.result.frames) {
            snprintf(left_out, sizeof left_out, "%zu of %zu frames show nothing that the others show and are left out",
                     reducing.result.frames - reducing.result.used, reducing.result.frames);
            made[n_made++] = left_out;
        }
        const size_t ny = info.axes > 1 ? info.axis[info.axes - 2].size : 1, nx = info.axis[info.axes - 1].size;
        if ((double)reducing.result.image.ny * (double)reducing.result.image.nx < 0.5 * (double)ny * (double)nx) {
            snprintf(shrunk, sizeof shrunk,
                     "the frames drift: all of them show only %zu x %zu of their %zu x %zu pixels",
                     reducing.result.image.nx, reducing.result.image.ny, nx, ny);
            made[n_made++] = shrunk;
        }
        crop_info(&info, &reducing.result.image);
        item->info = &info;
        item->first = true;
        item->pixels = reducing.result.image;
        memset(&reducing.result.image, 0, sizeof reducing.result.image);
        cli_frame_measure(v, &f, made, n_made);
        code = cli_frame_publish(v, &f, e);
        job->release(job->context, f.measured);
    }
    if (code == MRO_OK && align && item->stem) {
        double nm[2];
        for (int i = 0; i < 2; i++)
            nm[i] = v->axis[i].step > 0 && v->axis[i].unit == MRO_UNIT_NM ? v->axis[i].step : NAN;
        code = cli_write_text(item, job, ".shifts.csv",
                              mro_csv_shifts(reducing.result.shift, reducing.result.frames, nm, e), e);
    }
    cli_item_release(item, code != MRO_OK);
    mro_reduced_release(&reducing.result);
    return code;
}

enum mro_code cli_image_measure(struct visit *v, size_t image, bool several, struct mro_error *e)
{
    const struct cli_job *job = v->walk->job;
    const struct cli_common *c = job->common;
    const struct mro_image_info *info = mro_file_info(v->file, image);
    struct mro_stream_plan plan = {
        .file = v->file, .image = image, .wanted = wanted, .context = &c->frames, .threads = c->threads
    };
    struct cli_room room;
    size_t frames = 0, lanes = 1;
    if (cli_frames_last(&c->frames) >= info->frames)
        return MRO_FAIL(e, MRO_EARG, "'%s' has no frame %zu: it holds %zu, counted from 0", v->path,
                        cli_frames_last(&c->frames), info->frames);
    MRO_TRY(cli_room_for(v, info, &room, e));
    plan.lent = 1;
    for (size_t k = 0; k < info->frames && frames <= CLI_MAX_LANES; k++) frames += wanted(&c->frames, k);
    if (c->reduce == CLI_REDUCE_NONE) lanes = cli_lanes_for(job, &room, frames, &plan.lent);
    /* Lanes read their frames themselves where they can: none waits in memory then, and the thread of the checksum
     * asks for the file ahead of them. */
    plan.unread = lanes > 1 && mro_file_lies_open(v->file, image);
    const size_t ahead = (room.left - (plan.lent - 1) * room.more) / room.frame;
    if (info->frames > 1 && !plan.unread) plan.depth = ahead < MOST_AHEAD ? ahead : MOST_AHEAD;
    return c->reduce == CLI_REDUCE_NONE ? do_frames(v, several, &plan, lanes, e) : do_reduced(v, several, &plan, e);
}

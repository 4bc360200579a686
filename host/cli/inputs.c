/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The walk over files, images and frames, and the memory that it lends to each. */
#include "cli/inputs.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/progress.h"
#include "core/backend.h"
#include "core/inside.h"
#include "io/stream.h"
#include "report/figure.h"

#define AT(field) offsetof(struct cli_common, field)

const struct cli_option cli_input_options[] = {
    { "pixel", 0, "NM", "nm", "pixel size of all images, or X,Y where it differs; wins over what the files say",
      CLI_PIXEL, AT(pixel_nm), true, 1e-4, 1e6 },
    { "resolution-tags", 0, NULL, "",
      "where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)",
      CLI_FLAG, AT(resolution_tags), true, 0, 0 },
    { "frames", 0, "LIST", "", "frames of stacks to use, counted from 0, such as 0-9,12 (default: all)", CLI_FRAMES,
      AT(frames), false, 0, 0 }, /* recorded where a result is of several: every other names its frame */
    { "reduce", 0, "none|mean|aligned", "",
      "measure the mean of the frames of a stack, as they are or aligned, in place of each frame", CLI_CHOICE,
      AT(reduce), true, 0, 0 },
    { "checksum", 0, "whole|parts", "",
      "SHA-256 of each file, which takes one thread, or of the SHA-256s of its parts of 64 MiB, which takes all: "
      "sooner for large stacks on many cores",
      CLI_CHOICE, AT(checksum), false, 0, 0 },
};
const size_t cli_n_input_options = sizeof cli_input_options / sizeof *cli_input_options;

const struct cli_option cli_run_options[] = {
    { "device", 0, "NAME", "",
      "where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)", CLI_STRING,
      AT(device), false, 0, 0 },
    { "threads", 0, "N", "", "processor threads, 0 = all cores; results do not depend on it", CLI_INT, AT(threads),
      false, 0, 4096 },
    { "memory", 0, "SIZE", "", "limit for image data, such as 4G (default: half of this machine's memory)", CLI_SIZE,
      AT(memory), false, 0, 0 },
};
const size_t cli_n_run_options = sizeof cli_run_options / sizeof *cli_run_options;

const struct cli_option cli_output_options[] = {
    { "output", 'o', "DIR", "", "write results to this folder, which is made if missing", CLI_STRING, AT(out), false, 0,
      0 },
    { "json", 0, NULL, "", "print results as JSON, one object a line, in place of the table", CLI_FLAG, AT(json), false,
      0, 0 },
    { "quiet", 0, NULL, "", "no progress and no warnings on the terminal (results keep their warnings)", CLI_FLAG,
      AT(quiet), false, 0, 0 },
};
const size_t cli_n_output_options = sizeof cli_output_options / sizeof *cli_output_options;

const struct cli_option cli_figure_options[] = {
    { "figure-width", 0, "MM", "mm",
      "width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and type "
      "of "
      "the same size",
      CLI_DOUBLE, AT(figure_mm), false, MRO_FIGURE_LEAST, MRO_FIGURE_MOST },
};
const size_t cli_n_figure_options = sizeof cli_figure_options / sizeof *cli_figure_options;

bool cli_same_step(const struct mro_axis *a, const struct mro_axis *b)
{
    return fabs(a->step - b->step) <= 5e-7 * a->step;
}

/* -- the walk ------------------------------------------------------------------------------------ */

enum { MAX_MADE = 2 }; /* warnings of how the pixels of several frames were made */

struct walk {
    const struct cli_job *job;
    struct cli_progress progress;
    size_t file, files;
    struct cli_file_id *inputs;
    size_t n_inputs;
    struct mro_hash_job *hash;
    char sha256[65];
    double awaited[2];       /* from when to when the results waited for it; cli_now */
    _Atomic double measured; /* when a frame was last measured */
    double lost;             /* seconds of nothing but that waiting */
    /* Calibration of the last frame, for the result of all frames together. */
    struct mro_axis axis[2];
    char calibration[96];
    size_t n_file; /* warnings that the file has given with the frames so far */
    bool failed, hinted;
};

static void report(struct walk *w, const struct mro_error *e)
{
    cli_progress_clear(&w->progress);
    cli_report(w->job, e);
    w->failed = true;
}

void cli_calibrate(const struct cli_common *c, const struct mro_image_info *info, struct mro_axis axis[2],
                   char *warning, size_t room)
{
    const char *option = c->pixel_manifest ? "pixel_nm" : "`pixel`";
    warning[0] = '\0';
    for (size_t i = 0; i < 2; i++) {
        const double given = c->pixel_nm[1 - i];
        struct mro_axis *a = &axis[i], offer = { 0 };
        if (given > 0) {
            if (a->step > 0 && a->unit == MRO_UNIT_NM && fabs(given / a->step - 1) > 0.01 && warning[0] == '\0')
                snprintf(warning, room, "%s %.6g nm differs by %.3g %% from the %.6g nm of the file (%s)%s; %s is used",
                         option, given, 100 * (given / a->step - 1), a->step, mro_source_name(a->source),
                         c->pixel_nm[0] == c->pixel_nm[1] ? ""
                         : i                              ? " along x"
                                                          : " along y",
                         option);
            mro_axis_set(&offer, given, 0, "nm", c->pixel_manifest ? MRO_SOURCE_MANIFEST : MRO_SOURCE_COMMAND_LINE);
            mro_axis_offer(a, &offer, i ? "x" : "y", NULL, 0);
        } else if (c->resolution_tags) {
            char *sentence = warning[0] ? NULL : warning;
            mro_axis_set(&offer, info->resolution_nm[i], 0, "nm", MRO_SOURCE_RESOLUTION_TAG);
            mro_axis_offer(a, &offer, i ? "x" : "y", sentence, room);
        }
    }
}

static enum mro_code item_begin(struct walk *w, const char *path, struct mro_file *f, size_t image, bool several_images,
                                bool frame_given, size_t frame, struct cli_item *item, struct mro_error *e)
{
    const struct cli_common *c = w->job->common;
    const bool several_frames = mro_file_info(f, image)->frames > 1;
    memset(item, 0, sizeof *item);
    item->path = path;
    item->file = f;
    item->info = mro_file_info(f, image);
    item->image = image;
    item->frame = frame;
    item->frame_given = frame_given;
    item->hash = &w->hash;
    item->sha256 = w->sha256;
    item->sha256_of_parts = c->checksum == CLI_CHECKSUM_PARTS;
    item->awaited = w->awaited;
    item->inputs = w->inputs;
    item->n_inputs = w->n_inputs;
    item->n_file = w->n_file;
    int n = snprintf(item->name, sizeof item->name, "%s", path);
    if (several_images && n < (int)sizeof item->name)
        n += snprintf(item->name + n, sizeof item->name - (size_t)n, ", image %zu", image);
    if (several_frames && frame_given && n < (int)sizeof item->name)
        snprintf(item->name + n, sizeof item->name - (size_t)n, ", frame %zu", frame);
    const bool left_out = mro_inside_keeps() && !mro_inside->of_stacks && several_frames && frame_given;
    return c->out && !left_out ? cli_item_stem(item, c->out, several_images, several_frames, e) : MRO_OK;
}

/* One frame, or several reduced to one, on its way. */
struct frame {
    struct cli_item item;
    char calibration[256], pixels[128];
    const char *extra[2 + MAX_MADE]; /* item.extra: these, and how the pixels were made */
    size_t number;
    void *measured;
    struct mro_error error; /* of reading; code MRO_OK: none */
};

/* Hands calibrated pixels to the measurement. `made` are warnings of how they were made. */
static void measure_frame(struct walk *w, struct frame *f, const char *const *made, size_t n_made)
{
    struct cli_item *item = &f->item;
    cli_calibrate(w->job->common, item->info, item->pixels.axis, f->calibration, sizeof f->calibration);
    mro_calibration_text(&item->pixels.axis[0], &item->pixels.axis[1], item->calibration, sizeof item->calibration);
    item->extra = f->extra;
    for (size_t i = 0; i < n_made && i < MAX_MADE; i++) f->extra[item->n_extra++] = made[i];
    if (f->calibration[0]) f->extra[item->n_extra++] = f->calibration;
    snprintf(f->pixels, sizeof f->pixels, "%zu pixels are not finite numbers and are left out",
             item->pixels.not_finite);
    if (item->pixels.not_finite) f->extra[item->n_extra++] = f->pixels;
    f->measured = w->job->measure(w->job->context, item);
    w->measured = cli_now();
}

static enum mro_code publish_frame(struct walk *w, struct frame *f, struct mro_error *e)
{
    memcpy(w->axis, f->item.pixels.axis, sizeof w->axis);
    memcpy(w->calibration, f->item.calibration, sizeof w->calibration);
    w->n_file = f->item.n_file;
    cli_progress_clear(&w->progress);
    const bool waits = w->hash != NULL;
    const enum mro_code rc = w->job->publish(w->job->context, &f->item, f->measured, e);
    if (waits && w->hash == NULL) w->lost = fmax(0, w->awaited[1] - fmax(w->awaited[0], w->measured));
    return rc;
}

static enum mro_code do_together(struct walk *w, const char *path, struct mro_file *f, size_t image, bool several,
                                 struct mro_error *e)
{
    struct cli_item item;
    enum mro_code code = item_begin(w, path, f, image, several, false, 0, &item, e);
    if (code == MRO_OK) {
        memcpy(item.pixels.axis, w->axis, sizeof w->axis);
        memcpy(item.calibration, w->calibration, sizeof w->calibration);
        cli_progress_clear(&w->progress);
        code = w->job->together(w->job->context, &item, e);
    }
    cli_item_release(&item, code != MRO_OK);
    return code;
}

/* -- memory -------------------------------------------------------------------------------------- */

/* What the program itself holds, measured: code and libraries; fonts and the canvas of a figure; the stack of a lane,
 * its tables, and what its blocks of memory leave unused. */
enum { PROGRAM_BYTES = 15 << 20, FIGURE_BYTES = 40 << 20, LANE_BYTES = 8 << 20, MOST_AHEAD = 3, MOST_WAITING = 32 };

/* How many frames can be measured at the same time, wait for those before them, and be read ahead within the budget; an
 * error when it has no room for one. */
static enum mro_code plan_memory(const struct walk *w, const char *path, const struct mro_image_info *info,
                                 struct mro_stream_plan *plan, size_t *lanes, struct mro_error *e)
{
    const struct cli_job *job = w->job;
    const size_t budget = job->common->memory ? job->common->memory : mro_default_memory();
    const struct mro_axis *x = &info->axis[info->axes - 1];
    struct mro_image like = { .nx = x->size, .ny = info->axes > 1 ? x[-1].size : 1, .kind = info->kind };
    char text[256];
    like.axis[1] = *x;
    like.axis[0] = x[info->axes > 1 ? -1 : 0];
    cli_calibrate(job->common, info, like.axis, text, sizeof text); /* what contradicts it is told with the pixels */
    const size_t pixels = like.ny * like.nx, frame = pixels * sizeof(float);
    const size_t raw = info->dtype == MRO_F32 ? 0 : pixels * mro_dtype_size(info->dtype);
    const size_t fixed = (size_t)PROGRAM_BYTES + (job->common->out ? (size_t)FIGURE_BYTES : 0);
    const size_t lane = frame + (job->need ? job->need(job->context, &like) : 0);
    size_t need = lane, reducing = 0, frames = 0;
    if (job->common->reduce == CLI_REDUCE_MEAN) reducing = mro_frames_mean_bytes(like.ny, like.nx);
    if (job->common->reduce == CLI_REDUCE_ALIGNED) reducing = mro_frames_align_bytes(like.ny, like.nx);
    if (reducing && frame + reducing > need) need = frame + reducing;
    need += fixed + raw;
    if (need > budget && job->failure && !job->failure->any) job->failure->need = need;
    if (need > budget)
        return MRO_FAIL(e, MRO_EMEMORY,
                        "'%s': measuring %zu x %zu pixels needs about %zu MiB, the memory budget is %zu MiB; give a "
                        "larger `memory`",
                        path, like.nx, like.ny, (need >> 20) + 1, budget >> 20);
    size_t room = budget - need;
    *lanes = plan->lent = 1;
    for (size_t k = 0; k < info->frames && frames <= CLI_MAX_LANES; k++)
        frames += cli_frames_has(&job->common->frames, k);
    if (job->common->reduce == CLI_REDUCE_NONE && frames > 2 && room > frame) {
        const size_t figure = job->common->out ? (size_t)FIGURE_BYTES : 0;
        const size_t more = lane + LANE_BYTES + figure;
        const size_t fit = 1 + (room - frame) / more; /* one is read ahead in any case */
        *lanes = mro_device_lanes(job->places->device[CLI_CHOSEN], fit < frames ? fit : frames - 1, more);
        if (*lanes > 1) plan->lent = fit < *lanes + MOST_WAITING ? fit : *lanes + MOST_WAITING;
        room -= (plan->lent - 1) * more;
    }
    room /= frame;
    /* Lanes read their frames themselves where they can: none waits in memory then, and the thread of the checksum
     * asks for the file ahead of them. */
    plan->unread = *lanes > 1 && mro_file_lies_open(plan->file, plan->image);
    if (info->frames > 1 && !plan->unread) plan->depth = room < MOST_AHEAD ? room : MOST_AHEAD;
    return MRO_OK;
}

/* -- the frames of an image ------------------------------------------------------------------------ */

static bool wanted(const void *frames, size_t frame) { return cli_frames_has(frames, frame); }

/* How many frames of an image are asked for, of which the time that is left is told. */
static size_t frames_wanted(const struct walk *w, const struct mro_stream_plan *plan)
{
    size_t n = 0;
    for (size_t k = 0; k < mro_file_info(plan->file, plan->image)->frames; k++) n += wanted(&w->job->common->frames, k);
    return n > 0 ? n : 1;
}

/* The frames of an image, measured one by one. */
struct stack {
    struct walk *w;
    const char *path;
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
    const struct mro_stream_plan *p = s->plan;
    struct mro_image pixels;
    size_t n_file;
    bool more;
    f->error.code = mro_stream_next(s->stream, &more, &pixels, &f->number, &n_file, &f->error);
    if (f->error.code) return true;
    if (!more) return false;
    f->error.code = item_begin(s->w, s->path, p->file, p->image, s->several, true, f->number, &f->item, &f->error);
    f->item.pixels = pixels;
    f->item.n_file = n_file;
    f->item.first = s->taken++ == 0;
    return true;
}

static void drop_frame(void *context, void *piece)
{
    const struct stack *s = context;
    struct frame *f = piece;
    s->w->job->release(s->w->job->context, f->measured);
    cli_item_release(&f->item, true);
}

/* Publishes a frame; false after a failure. */
static bool finish_frame(void *context, void *piece)
{
    struct stack *s = context;
    struct walk *w = s->w;
    struct frame *f = piece;
    s->error = f->error;
    if (f->error.code == MRO_OK) s->error.code = publish_frame(w, f, &s->error);
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
    f->item.place = lane ? CLI_BESIDE + (enum cli_place)(lane - 1) : CLI_CHOSEN;
    omp_set_num_threads(s->w->job->places->device[f->item.place]->threads); /* a setting of each thread */
    if (f->error.code == MRO_OK && s->plan->unread)
        f->error.code = mro_stream_read(s->stream, f->number, pixels, &f->error);
    if (f->error.code == MRO_OK) measure_frame(s->w, f, NULL, 0);
    if (f->item.spent) { /* it may wait long */
        struct mro_image spent = *pixels;
        pixels->px = NULL;
        mro_stream_give_back(s->stream, &spent);
    }
}

/* Opens the devices of the lanes and deals the threads out, once the verb has made what all frames share. */
static size_t start_lanes(void *context, const void *piece)
{
    const struct stack *s = context;
    const struct frame *f = piece;
    const struct cli_job *job = s->w->job;
    struct mro_error none;
    size_t n = 0;
    if (s->lanes < 2 || f->error.code || !job->ready(job->context, f->measured)) return 0;
    const struct mro_device *chosen = job->places->device[CLI_CHOSEN];
    struct mro_device **device = job->places->device + CLI_BESIDE;
    const size_t threads = (size_t)chosen->threads;
    while (n < s->lanes && (device[n] || mro_device_beside(&device[n], chosen, n, &none) == MRO_OK)) n++;
    for (size_t k = 0; k < n; k++) {
        const size_t share = threads / n + (k < threads % n);
        device[k]->threads = share ? (int)share : 1;
    }
    return n;
}

static enum mro_code do_frames(struct walk *w, const char *path, bool several, const struct mro_stream_plan *plan,
                               size_t lanes, struct mro_error *e)
{
    struct stack s = {
        .w = w, .path = path, .several = several, .plan = plan, .lanes = lanes, .wanted = frames_wanted(w, plan)
    };
    const struct cli_lanes frames = {
        plan->lent, sizeof(struct frame), &s, take_frame, work_on_frame, start_lanes, finish_frame, drop_frame,
    };
    MRO_TRY(mro_stream_open(&s.stream, plan, e));
    const bool began = cli_lanes_run(&frames);
    mro_stream_close(s.stream);
    if (!began) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left to begin", path);
    if (s.error.code) *e = s.error;
    if (s.error.code == MRO_OK && w->job->together && s.taken > 1)
        return do_together(w, path, plan->file, plan->image, several, e);
    return s.error.code;
}

/* Frames for the library to reduce: one stream after the other, a round each. */
struct rounds {
    struct walk *w;
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
    const size_t seen = r->w->n_file;
    bool more;
    mro_stream_give_back(r->stream, &r->lent);
    MRO_TRY(mro_stream_next(r->stream, &more, &r->lent, frame, &r->w->n_file, e));
    *im = more ? &r->lent : NULL;
    if (!more) r->w->n_file = seen;
    if (more)
        cli_progress_frame(&r->w->progress, r->w->file, r->w->files,
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
    struct walk *w;
    const char *path;
    struct rounds rounds;
    struct mro_reduced result;
};

static enum mro_code reduce_at(void *context, enum cli_place place, struct mro_error *e)
{
    struct reducing *r = context;
    const struct mro_frames frames = { &r->rounds, rounds_rewind, rounds_next };
    if (r->w->job->common->reduce != CLI_REDUCE_ALIGNED) return mro_frames_mean(&frames, r->path, &r->result, e);
    return mro_frames_align(r->w->job->places->device[place], &frames, r->path, &r->result, e);
}

static enum mro_code do_reduced(struct walk *w, const char *path, bool several, const struct mro_stream_plan *plan,
                                struct mro_error *e)
{
    const bool align = w->job->common->reduce == CLI_REDUCE_ALIGNED;
    struct reducing reducing = { .w = w,
                                 .path = path,
                                 .rounds = { .w = w,
                                             .plan = plan,
                                             .rounds = align ? 4 : 2, /* and measuring */
                                             .wanted = frames_wanted(w, plan) } };
    struct frame f = { 0 };
    struct cli_item *const item = &f.item;
    struct mro_image_info info;
    char left_out[160], shrunk[160];
    const char *made[MAX_MADE];
    size_t n_made = 0;
    enum mro_code code = cli_compute(w->job->common, w->job->places, path, reduce_at, &reducing, e);
    mro_image_release(&reducing.rounds.lent);
    mro_stream_close(reducing.rounds.stream);
    if (code == MRO_OK) code = item_begin(w, path, plan->file, plan->image, several, false, 0, item, e);
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
        measure_frame(w, &f, made, n_made);
        code = publish_frame(w, &f, e);
        w->job->release(w->job->context, f.measured);
    }
    if (code == MRO_OK && align && item->stem) {
        double nm[2];
        for (int i = 0; i < 2; i++)
            nm[i] = w->axis[i].step > 0 && w->axis[i].unit == MRO_UNIT_NM ? w->axis[i].step : NAN;
        code = cli_write_text(item, w->job, ".shifts.csv",
                              mro_csv_shifts(reducing.result.shift, reducing.result.frames, nm, e), e);
    }
    cli_item_release(item, code != MRO_OK);
    mro_reduced_release(&reducing.result);
    return code;
}

static enum mro_code do_image(struct walk *w, const char *path, struct mro_file *f, size_t image, bool several,
                              struct mro_error *e)
{
    const struct cli_common *c = w->job->common;
    const struct mro_image_info *info = mro_file_info(f, image);
    size_t lanes = 1;
    struct mro_stream_plan plan = {
        .file = f, .image = image, .wanted = wanted, .context = &c->frames, .threads = c->threads
    };
    if (cli_frames_last(&c->frames) >= info->frames)
        return MRO_FAIL(e, MRO_EARG, "'%s' has no frame %zu: it holds %zu, counted from 0", path,
                        cli_frames_last(&c->frames), info->frames);
    MRO_TRY(plan_memory(w, path, info, &plan, &lanes, e));
    return c->reduce == CLI_REDUCE_NONE ? do_frames(w, path, several, &plan, lanes, e)
                                        : do_reduced(w, path, several, &plan, e);
}

static bool measured(const struct cli_job *job, const struct mro_file *f, size_t image)
{
    const unsigned kinds = job->kinds ? job->kinds : 1U << MRO_KIND_IMAGE;
    return kinds >> mro_file_info(f, image)->kind & 1;
}

size_t cli_count_frames(const struct cli_job *job, const struct mro_file *f, size_t image, size_t frame)
{
    const struct cli_common *c = job->common;
    size_t n = 0;
    for (size_t i = 0; i < mro_file_images(f) && i <= image; i++) {
        const size_t end = i == image ? frame : mro_file_info(f, i)->frames;
        if (!measured(job, f, i)) continue;
        if (c->reduce != CLI_REDUCE_NONE)
            n += i != image;
        else
            for (size_t k = 0; k < end; k++) n += cli_frames_has(&c->frames, k);
    }
    return n;
}

static int threads_of(const struct cli_common *c) { return c->threads ? c->threads : omp_get_num_procs(); }

/* After the first file that took long for no other reason. */
static void tell_of_checksum(struct walk *w, const char *path, double seconds)
{
    enum { LONG = 1 }; /* s */
    if (w->hinted || !w->progress.shown || w->job->failure || w->job->common->checksum != CLI_CHECKSUM_WHOLE ||
        threads_of(w->job->common) == 1 || w->lost < LONG || w->lost < seconds / 3)
        return;
    w->hinted = true;
    cli_progress_clear(&w->progress);
    fprintf(stderr,
            "mroscope: '%s' waited %.1f of its %.1f s for the checksum, which one thread takes; with --checksum parts "
            "all of them do\n",
            path, w->lost, seconds);
}

static void do_file(struct walk *w, const char *path)
{
    const double from = cli_now();
    w->n_file = 0;
    w->lost = 0;
    struct mro_error e;
    struct mro_file *f = NULL;
    size_t images = 0;
    const struct cli_common *c = w->job->common;
    const int part_threads = c->checksum == CLI_CHECKSUM_PARTS ? threads_of(c) : 0;
    w->sha256[0] = '\0';
    if (mro_file_open(&f, path, c->memory, &e) != MRO_OK ||
        mro_hash_start(&w->hash, f->fd, f->bytes.p, f->bytes.size, part_threads, &e) != MRO_OK) {
        report(w, &e);
        goto done;
    }
    for (size_t i = 0; i < mro_file_images(f); i++) images += measured(w->job, f, i);
    if (images == 0) {
        const bool patterns = w->job->kinds == 1U << MRO_KIND_DIFFRACTION;
        const enum mro_kind kind = mro_file_info(f, 0)->kind;
        MRO_FAIL(&e, MRO_EDATA, "'%s' (%s) holds no %s to measure, but %s; %s", path, mro_file_format(f),
                 mro_kind_name(patterns ? MRO_KIND_DIFFRACTION : MRO_KIND_IMAGE), mro_kind_name(kind),
                 kind == MRO_KIND_DIFFRACTION ? "patterns are measured with `mroscope pdf`"
                                              : "`mroscope info` shows all that it holds");
        report(w, &e);
    }
    for (size_t i = 0; i < mro_file_images(f); i++) {
        if (!measured(w->job, f, i)) continue;
        if (do_image(w, path, f, i, images > 1, &e) != MRO_OK) report(w, &e);
    }
done:
    /* The digest is read from the open file, so it ends before that is closed. */
    mro_hash_cancel(w->hash);
    mro_hash_finish(w->hash, path, NULL, NULL);
    w->hash = NULL;
    mro_file_close(f);
    tell_of_checksum(w, path, cli_now() - from);
}

struct cli_file_id *cli_identify(const struct cli_args *files)
{
    struct cli_file_id *ids = calloc(files->n ? files->n : 1, sizeof *ids);
    if (ids == NULL) {
        cli_say(MRO_EMEMORY, "no memory left for the list of files");
        return NULL;
    }
    for (size_t i = 0; i < files->n; i++) {
        struct stat s;
        if (stat(files->files[i], &s) == 0) ids[i] = (struct cli_file_id){ s.st_dev, s.st_ino };
    }
    return ids;
}

int cli_each_frame(const struct cli_job *job, const struct cli_args *files)
{
    struct walk w = { .job = job, .files = files->n };
    char suffix[40];
    snprintf(suffix, sizeof suffix, "%s.json", job->usage->verb);
    const int rc = cli_prepare_outputs(job->common, suffix, files->files, files->n);
    if (rc) return rc;
    struct cli_args all = *files;
    if (job->beside) {
        all.n = files->n + job->beside->n;
        if ((all.files = calloc(all.n, sizeof *all.files)) == NULL) {
            cli_say(MRO_EMEMORY, "no memory left for the list of files");
            return 1;
        }
        memcpy(all.files, files->files, files->n * sizeof *all.files);
        memcpy(all.files + files->n, job->beside->files, job->beside->n * sizeof *all.files);
    }
    w.inputs = cli_identify(&all);
    w.n_inputs = all.n;
    if (job->beside) free(all.files);
    if (w.inputs == NULL) return 1;
    cli_progress_begin(&w.progress, job->common->quiet);
    for (w.file = 0; w.file < files->n; w.file++) do_file(&w, files->files[w.file]);
    cli_progress_clear(&w.progress);
    free(w.inputs);
    return w.failed ? 1 : 0;
}

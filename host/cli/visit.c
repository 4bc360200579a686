/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file that is open to be measured, and a frame of it on its way: calibrated, measured, published. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cli/walk.h"
#include "core/inside.h"
#include "io/reader.h"

/* -- a file --------------------------------------------------------------------------------------- */

void cli_report(const struct cli_job *job, const struct mro_error *e)
{
    if (job->failure == NULL) {
        cli_complain(e);
    } else if (!job->failure->any) {
        job->failure->any = true;
        job->failure->error = *e;
    }
}

void cli_walk_report(struct walk *w, const struct mro_error *e)
{
    cli_progress_clear(&w->progress);
    cli_report(w->job, e);
    w->failed = true;
}

static int threads_of(const struct cli_common *c) { return c->threads ? c->threads : omp_get_num_procs(); }

enum mro_code cli_visit_open(struct walk *w, const char *path, struct visit *v, struct mro_error *e)
{
    *v = (struct visit){ .walk = w, .path = path };
    return mro_file_open(&v->file, path, w->job->common->memory, e);
}

enum mro_code cli_visit_hash(struct visit *v, struct mro_error *e)
{
    const struct cli_common *c = v->walk->job->common;
    const struct mro_file *f = v->file;
    const int part_threads = c->checksum == CLI_CHECKSUM_PARTS ? threads_of(c) : 0;
    return mro_hash_start(&v->hash, f->fd, f->bytes.p, f->bytes.size, part_threads, e);
}

void cli_visit_close(struct visit *v)
{
    /* The digest is read from the open file, so it ends before that is closed. */
    mro_hash_cancel(v->hash);
    mro_hash_finish(v->hash, v->path, NULL, NULL);
    v->hash = NULL;
    mro_file_close(v->file);
    v->file = NULL;
}

void cli_visit_tell_of_checksum(struct visit *v, double seconds)
{
    enum { LONG = 1 }; /* s */
    struct walk *w = v->walk;
    if (w->hinted || !w->progress.shown || w->job->failure || w->job->common->checksum != CLI_CHECKSUM_WHOLE ||
        threads_of(w->job->common) == 1 || v->lost < LONG || v->lost < seconds / 3)
        return;
    w->hinted = true;
    cli_progress_clear(&w->progress);
    cli_put(stderr,
            "mroscope: '%s' waited %.1f of its %.1f s for the checksum, which one thread takes; with --checksum parts "
            "all of them do\n",
            v->path, v->lost, seconds);
}

bool cli_same_step(const struct mro_axis *a, const struct mro_axis *b)
{
    return fabs(a->step - b->step) <= 5e-7 * a->step;
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

bool cli_measured(const struct cli_job *job, const struct mro_file *f, size_t image)
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
        if (!cli_measured(job, f, i)) continue;
        if (c->reduce != CLI_REDUCE_NONE)
            n += i != image;
        else
            for (size_t k = 0; k < end; k++) n += cli_frames_has(&c->frames, k);
    }
    return n;
}

/* -- a frame -------------------------------------------------------------------------------------- */

enum mro_code cli_item_begin(struct visit *v, size_t image, bool several_images, bool frame_given, size_t frame,
                             struct cli_item *item, struct mro_error *e)
{
    const struct cli_common *c = v->walk->job->common;
    const bool several_frames = mro_file_info(v->file, image)->frames > 1;
    memset(item, 0, sizeof *item);
    item->path = v->path;
    item->file = v->file;
    item->info = mro_file_info(v->file, image);
    item->image = image;
    item->frame = frame;
    item->frame_given = frame_given;
    item->hash = &v->hash;
    item->sha256 = v->sha256;
    item->sha256_of_parts = c->checksum == CLI_CHECKSUM_PARTS;
    item->awaited = v->awaited;
    item->inputs = v->walk->inputs;
    item->n_inputs = v->walk->n_inputs;
    item->n_file = v->n_file;
    int n = snprintf(item->name, sizeof item->name, "%s", v->path);
    if (several_images && n < (int)sizeof item->name)
        n += snprintf(item->name + n, sizeof item->name - (size_t)n, ", image %zu", image);
    if (several_frames && frame_given && n < (int)sizeof item->name)
        snprintf(item->name + n, sizeof item->name - (size_t)n, ", frame %zu", frame);
    const bool left_out = mro_inside_keeps() && !mro_inside->of_stacks && several_frames && frame_given;
    return c->out && !left_out ? cli_item_stem(item, c->out, several_images, several_frames, e) : MRO_OK;
}

void cli_frame_measure(struct visit *v, struct frame *f, const char *const *made, size_t n_made)
{
    const struct cli_job *job = v->walk->job;
    struct cli_item *item = &f->item;
    cli_calibrate(job->common, item->info, item->pixels.axis, f->calibration, sizeof f->calibration);
    mro_calibration_text(&item->pixels.axis[0], &item->pixels.axis[1], item->calibration, sizeof item->calibration);
    item->extra = f->extra;
    for (size_t i = 0; i < n_made && i < CLI_MAX_MADE; i++) f->extra[item->n_extra++] = made[i];
    if (f->calibration[0]) f->extra[item->n_extra++] = f->calibration;
    snprintf(f->pixels, sizeof f->pixels, "%zu pixels are not finite numbers and are left out",
             item->pixels.not_finite);
    if (item->pixels.not_finite) f->extra[item->n_extra++] = f->pixels;
    f->measured = job->measure(job->context, item);
    v->measured = cli_now();
}

enum mro_code cli_frame_publish(struct visit *v, struct frame *f, struct mro_error *e)
{
    const struct cli_job *job = v->walk->job;
    memcpy(v->axis, f->item.pixels.axis, sizeof v->axis);
    memcpy(v->calibration, f->item.calibration, sizeof v->calibration);
    v->n_file = f->item.n_file;
    cli_progress_clear(&v->walk->progress);
    const bool waits = v->hash != NULL;
    const enum mro_code rc = job->publish(job->context, &f->item, f->measured, e);
    if (waits && v->hash == NULL) v->lost = fmax(0, v->awaited[1] - fmax(v->awaited[0], v->measured));
    return rc;
}

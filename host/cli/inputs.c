/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What measuring commands are asked for of their inputs, and the walk from file to file. */
#include "cli/inputs.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/walk.h"
#include "core/inside.h"
#include "io/reader.h"
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
      "of the same size",
      CLI_DOUBLE, AT(figure_mm), false, MRO_FIGURE_LEAST, MRO_FIGURE_MOST },
};
const size_t cli_n_figure_options = sizeof cli_figure_options / sizeof *cli_figure_options;

bool cli_same_step(const struct mro_axis *a, const struct mro_axis *b)
{
    return fabs(a->step - b->step) <= 5e-7 * a->step;
}

/* -- the walk ------------------------------------------------------------------------------------ */

void cli_walk_report(struct walk *w, const struct mro_error *e)
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

static int threads_of(const struct cli_common *c) { return c->threads ? c->threads : omp_get_num_procs(); }

/* After the first file that took long for no other reason. */
static void tell_of_checksum(struct visit *v, double seconds)
{
    enum { LONG = 1 }; /* s */
    struct walk *w = v->walk;
    if (w->hinted || !w->progress.shown || w->job->failure || w->job->common->checksum != CLI_CHECKSUM_WHOLE ||
        threads_of(w->job->common) == 1 || v->lost < LONG || v->lost < seconds / 3)
        return;
    w->hinted = true;
    cli_progress_clear(&w->progress);
    fprintf(stderr,
            "mroscope: '%s' waited %.1f of its %.1f s for the checksum, which one thread takes; with --checksum parts "
            "all of them do\n",
            v->path, v->lost, seconds);
}

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

/* All images of a file. */
static enum mro_code do_images(struct visit *v, struct mro_error *e)
{
    const struct cli_job *job = v->walk->job;
    const struct mro_file *f = v->file;
    size_t images = 0;
    for (size_t i = 0; i < mro_file_images(f); i++) images += cli_measured(job, f, i);
    if (images == 0) {
        const bool patterns = job->kinds == 1U << MRO_KIND_DIFFRACTION;
        const enum mro_kind kind = mro_file_info(f, 0)->kind;
        return MRO_FAIL(e, MRO_EDATA, "'%s' (%s) holds no %s to measure, but %s; %s", v->path, mro_file_format(f),
                        mro_kind_name(patterns ? MRO_KIND_DIFFRACTION : MRO_KIND_IMAGE), mro_kind_name(kind),
                        kind == MRO_KIND_DIFFRACTION ? "patterns are measured with `mroscope pdf`"
                                                     : "`mroscope info` shows all that it holds");
    }
    for (size_t i = 0; i < mro_file_images(f); i++)
        if (cli_measured(job, f, i) && cli_image_measure(v, i, images > 1, e) != MRO_OK) cli_walk_report(v->walk, e);
    return MRO_OK;
}

static void do_file(struct walk *w, const char *path)
{
    const double from = cli_now();
    struct mro_error e;
    struct visit v;
    enum mro_code code = cli_visit_open(w, path, &v, &e);
    if (code == MRO_OK) code = cli_visit_hash(&v, &e);
    if (code == MRO_OK) code = do_images(&v, &e);
    if (code) cli_walk_report(w, &e);
    cli_visit_close(&v);
    tell_of_checksum(&v, cli_now() - from);
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
    struct mro_error stopped;
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
    while (w.file < files->n && mro_stopped(&stopped) == MRO_OK) {
        const size_t done = cli_files_measure(&w, files->files + w.file, files->n - w.file);
        if (done == 0) do_file(&w, files->files[w.file]);
        w.file += done ? done : 1;
    }
    cli_progress_clear(&w.progress);
    free(w.inputs);
    return w.failed ? 1 : 0;
}

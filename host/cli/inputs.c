/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What measuring commands are asked for of their inputs, and the walk from file to file. */
#include "cli/inputs.h"

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

/* -- the walk ------------------------------------------------------------------------------------ */

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
    cli_visit_tell_of_checksum(&v, cli_now() - from);
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

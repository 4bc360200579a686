/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE /* asprintf */
#include "cli/inputs.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/progress.h"
#include "io/reader.h"
#include "io/write.h"

#define AT(field) offsetof(struct cli_common, field)

const struct cli_option cli_input_options[] = {
    { "pixel", 0, "NM", "nm", "pixel size of all images; wins over what the files say", CLI_DOUBLE, AT(pixel_nm), true,
      1e-4, 1e6 },
    { "resolution-tags", 0, NULL, "",
      "where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)",
      CLI_FLAG, AT(resolution_tags), true, 0, 0 },
    { "frames", 0, "LIST", "", "frames of stacks to use, counted from 0, such as 0-9,12 (default: all)", CLI_FRAMES,
      AT(frames), false, 0, 0 }, /* not in the record: every result names its frame */
};
const size_t cli_n_input_options = sizeof cli_input_options / sizeof *cli_input_options;

const struct cli_option cli_run_options[] = {
    { "device", 0, "NAME", "", "where to compute: auto, or a name that 'mroscope devices' lists (default auto)",
      CLI_STRING, AT(device), false, 0, 0 },
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

void cli_complain(const struct mro_error *e) { fprintf(stderr, "mroscope: %s\n", e->message); }

static void print_warning(const char *name, size_t others, const char *sentence)
{
    /* Sentences of the file layer name the file already. */
    const bool named = strstr(sentence, name) != NULL;
    if (others)
        fprintf(stderr, "mroscope: warning: '%s' and %zu more: %s\n", name, others, sentence);
    else if (named)
        fprintf(stderr, "mroscope: warning: %s\n", sentence);
    else
        fprintf(stderr, "mroscope: warning: '%s': %s\n", name, sentence);
}

/* Warnings are kept to the end, below the table, each once. One that finds no room is told at once. */
void cli_warn(struct cli_common *c, const char *name, const char *const *warnings, size_t n)
{
    struct cli_told *t = &c->told;
    if (c->quiet || c->json) return;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < t->n && strcmp(t->sentence[k], warnings[i]) != 0) k++;
        if (k < t->n) {
            t->times[k]++;
            continue;
        }
        char *sentence = k < CLI_MAX_TOLD ? strdup(warnings[i]) : NULL, *first = sentence ? strdup(name) : NULL;
        if (first == NULL) {
            free(sentence);
            print_warning(name, 0, warnings[i]);
            continue;
        }
        t->sentence[k] = sentence;
        t->name[k] = first;
        t->times[k] = 1;
        t->n++;
    }
}

void cli_warn_end(struct cli_common *c)
{
    struct cli_told *t = &c->told;
    fflush(stdout);
    for (size_t i = 0; i < t->n; i++) {
        print_warning(t->name[i], t->times[i] - 1, t->sentence[i]);
        free(t->sentence[i]);
        free(t->name[i]);
    }
    *t = (struct cli_told){ 0 };
}

int cli_finish(int rc)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return rc;
    fprintf(stderr, "mroscope: cannot write to standard output: %s\n", strerror(errno));
    return rc ? rc : 1;
}

int cli_open_device(const struct cli_common *c, const char *verb, struct mro_device **d)
{
    struct mro_error e;
    const char *name = c->device ? c->device : getenv("MROSCOPE_DEVICE");
    if (c->threads > 0) omp_set_num_threads(c->threads); /* for reading and decoding, which know no device */
    const enum mro_code code = mro_device_open(d, name && *name ? name : "auto", c->threads, c->memory, &e);
    if (code == MRO_OK) return 0;
    if (code != MRO_EARG) {
        cli_complain(&e);
        return 1;
    }
    fprintf(stderr, "mroscope: %s; try 'mroscope %s --help'\n", e.message, verb);
    return 2;
}

/* -- names of outputs ---------------------------------------------------------------------------- */

/* File name without folder and last suffix: its start and length. */
static const char *stem_of(const char *path, size_t *length)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    *length = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    return base;
}

struct stem {
    const char *text, *path;
    size_t length;
};

static int compare_stems(const void *a, const void *b)
{
    const struct stem *s = a, *t = b;
    const int c = memcmp(s->text, t->text, s->length < t->length ? s->length : t->length);
    return c ? c : (s->length > t->length) - (s->length < t->length);
}

/* Cuts ".i12" or ".f0003", as results are numbered, off the end of a stem; false when there is none. */
static bool cut_number(struct stem *s)
{
    size_t n = s->length;
    while (n > 0 && s->text[n - 1] >= '0' && s->text[n - 1] <= '9') n--;
    if (n == s->length || n < 3 || (s->text[n - 1] != 'i' && s->text[n - 1] != 'f') || s->text[n - 2] != '.')
        return false;
    s->length = n - 2;
    return true;
}

static int check_clashes(const struct cli_common *c, const char *verb, char *const *files, size_t n)
{
    struct stem *stems = calloc(n, sizeof *stems);
    int rc = 0;
    if (stems == NULL) {
        fputs("mroscope: no memory left for the names of the files\n", stderr);
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        stems[i].path = files[i];
        stems[i].text = stem_of(files[i], &stems[i].length);
    }
    qsort(stems, n, sizeof *stems, compare_stems);
    for (size_t i = 1; i < n && rc == 0; i++) {
        if (compare_stems(&stems[i - 1], &stems[i]) != 0) continue;
        fprintf(stderr,
                "mroscope: '%s' and '%s' would both write '%s/%.*s.%s.json'; measure them into different folders\n",
                stems[i - 1].path, stems[i].path, c->out, (int)stems[i].length, stems[i].text, verb);
        rc = 2;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct stem whole = stems[i];
        while (cut_number(&whole) && rc == 0) {
            const struct stem *other = bsearch(&whole, stems, n, sizeof *stems, compare_stems);
            if (other == NULL) continue;
            fprintf(
                stderr,
                "mroscope: '%s' and '%s' could write the same names, as results of the images and frames of a file are "
                "numbered .i0, .f0000; measure them into different folders\n",
                other->path, stems[i].path);
            rc = 2;
        }
    }
    free(stems);
    return rc;
}

/* Creates a folder and its parents. */
static int make_folder(const char *path)
{
    char *copy = strdup(path);
    struct stat s;
    int rc = 0;
    if (copy == NULL) return ENOMEM;
    for (char *p = copy + 1; rc == 0; p++) {
        const char c = *p;
        if (c != '/' && c != '\0') continue;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST && stat(copy, &s) != 0) rc = errno;
        *p = c;
        if (c == '\0') break;
    }
    if (rc == 0 && stat(path, &s) != 0)
        rc = errno;
    else if (rc == 0 && !S_ISDIR(s.st_mode))
        rc = ENOTDIR;
    else if (rc == 0 && access(path, W_OK | X_OK) != 0)
        rc = errno;
    free(copy);
    return rc;
}

int cli_prepare_outputs(const struct cli_common *c, const char *verb, char *const *files, size_t n)
{
    if (c->out == NULL) return 0;
    const int clash = check_clashes(c, verb, files, n);
    if (clash) return clash;
    const int error = make_folder(c->out);
    if (error == 0) return 0;
    fprintf(stderr, "mroscope: cannot write to the folder '%s': %s; give another one with -o DIR\n", c->out,
            strerror(error));
    return 2;
}

enum mro_code cli_output(struct cli_item *item, const struct cli_job *job, const char *suffix, const char **path,
                         struct mro_error *e)
{
    struct stat out;
    char *name = NULL;
    char **grown = realloc(item->written, (item->n_written + 1) * sizeof *grown);
    if (grown) item->written = grown;
    if (grown == NULL || asprintf(&name, "%s.%s%s", item->stem, job->usage->verb, suffix) < 0)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the names of its results", item->name);
    for (size_t i = 0; i < item->n_inputs && stat(name, &out) == 0; i++) {
        if (item->inputs[i].device != out.st_dev || item->inputs[i].inode != out.st_ino) continue;
        const enum mro_code code =
            MRO_FAIL(e, MRO_EARG, "'%s': its result '%s' would overwrite an input; give another folder with -o DIR",
                     item->path, name);
        free(name);
        return code;
    }
    item->written[item->n_written++] = name;
    *path = name;
    return MRO_OK;
}

enum mro_code cli_figure_stem(struct cli_item *item, const struct cli_job *job, char **stem, struct mro_error *e)
{
    static const char *const suffixes[] = { ".png", ".svg", ".pdf" };
    const char *path = NULL;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        MRO_TRY(cli_output(item, job, suffixes[i], &path, e));
    *stem = strndup(path, strlen(path) - strlen(".pdf"));
    return *stem ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the names of its results", item->name);
}

enum mro_code cli_write_text(struct cli_item *item, const struct cli_job *job, const char *suffix, char *text,
                             struct mro_error *e)
{
    const char *path;
    if (text == NULL) return e->code;
    enum mro_code code = cli_output(item, job, suffix, &path, e);
    if (code == MRO_OK) code = mro_write_buffer(path, text, strlen(text), e);
    free(text);
    return code;
}

enum mro_code cli_emit(struct cli_item *item, const struct cli_job *job, json_t *v, struct mro_error *e)
{
    enum mro_code code = MRO_OK;
    if (v == NULL) return e->code;
    if (item->stem) code = cli_write_text(item, job, ".json", mro_json_text(v, true, e), e);
    if (code == MRO_OK && job->common->json) {
        char *line = mro_json_text(v, false, e);
        if (line)
            fputs(line, stdout);
        else
            code = e->code;
        free(line);
    }
    json_decref(v);
    return code;
}

enum mro_code cli_item_stem(struct cli_item *item, const char *folder, bool several_images, bool several_frames,
                            struct mro_error *e)
{
    char i[32] = "", f[32] = "";
    size_t length;
    const char *stem = stem_of(item->path, &length);
    const bool slash = folder[strlen(folder) - 1] == '/';
    if (several_images) snprintf(i, sizeof i, ".i%zu", item->image);
    if (several_frames && item->frame_given) snprintf(f, sizeof f, ".f%04zu", item->frame);
    if (asprintf(&item->stem, "%s%s%.*s%s%s", folder, slash ? "" : "/", (int)length, stem, i, f) >= 0) return MRO_OK;
    item->stem = NULL;
    return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the names of its results", item->path);
}

void cli_item_release(struct cli_item *item, bool failed)
{
    for (size_t i = 0; i < item->n_written; i++) {
        if (failed) unlink(item->written[i]);
        free(item->written[i]);
    }
    free(item->written);
    free(item->stem);
    mro_image_release(&item->pixels);
}

/* -- the walk ------------------------------------------------------------------------------------ */

struct walk {
    const struct cli_job *job;
    struct cli_progress progress;
    size_t file, files;
    struct cli_file_id *inputs;
    struct mro_hash_job *hash;
    char sha256[65];
    /* Calibration of the last frame, for the result of all frames together. */
    struct mro_axis axis[2];
    char calibration[96];
    bool failed;
};

static void report(struct walk *w, const struct mro_error *e)
{
    cli_progress_clear(&w->progress);
    fflush(stdout);
    cli_complain(e);
    w->failed = true;
}

/* Puts the pixel size of the command line on an image, or drops one that is only a resolution tag. */
static enum mro_code calibrate(const struct cli_common *c, struct mro_image *im, char *warning, size_t size,
                               struct mro_error *e)
{
    struct mro_axis *a = im->axis;
    warning[0] = '\0';
    if (c->pixel_nm > 0) {
        for (int i = 0; i < 2; i++) {
            if (!(a[i].step > 0) || a[i].unit != MRO_UNIT_NM || a[i].source == MRO_SOURCE_RESOLUTION_TAG) continue;
            if (fabs(a[i].step / c->pixel_nm - 1) > 0.01)
                snprintf(warning, size,
                         "--pixel %g nm differs by %.3g %% from the %.6g nm of the file (%s); --pixel is used",
                         c->pixel_nm, 100 * (c->pixel_nm / a[i].step - 1), a[i].step, mro_source_name(a[i].source));
        }
        return mro_image_set_pixel_nm(im, c->pixel_nm, MRO_SOURCE_COMMAND_LINE, e);
    }
    for (int i = 0; i < 2 && !c->resolution_tags; i++) {
        if (!(a[i].step > 0) || a[i].source != MRO_SOURCE_RESOLUTION_TAG) continue;
        snprintf(warning, size,
                 "the resolution tags say %.6g nm a pixel and are not believed; give --pixel NM or --resolution-tags",
                 a[i].step);
        a[i].step = 0;
        a[i].source = MRO_SOURCE_UNKNOWN;
    }
    return MRO_OK;
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
    item->inputs = w->inputs;
    item->n_inputs = w->files;
    int n = snprintf(item->name, sizeof item->name, "%s", path);
    if (several_images && n < (int)sizeof item->name)
        n += snprintf(item->name + n, sizeof item->name - (size_t)n, ", image %zu", image);
    if (several_frames && frame_given && n < (int)sizeof item->name)
        snprintf(item->name + n, sizeof item->name - (size_t)n, ", frame %zu", frame);
    return c->out ? cli_item_stem(item, c->out, several_images, several_frames, e) : MRO_OK;
}

static enum mro_code do_frame(struct walk *w, const char *path, struct mro_file *f, size_t image, bool several,
                              size_t frame, bool first, struct mro_error *e)
{
    struct cli_item item;
    char calibration[256], pixels[128];
    const char *extra[2];
    enum mro_code code = item_begin(w, path, f, image, several, true, frame, &item, e);
    if (code == MRO_OK) code = mro_file_read(f, image, frame, &item.pixels, e);
    if (code == MRO_OK) code = calibrate(w->job->common, &item.pixels, calibration, sizeof calibration, e);
    if (code == MRO_OK) {
        mro_calibration_text(&item.pixels.axis[0], &item.pixels.axis[1], item.calibration, sizeof item.calibration);
        memcpy(w->axis, item.pixels.axis, sizeof w->axis);
        memcpy(w->calibration, item.calibration, sizeof w->calibration);
        item.first = first;
        item.extra = extra;
        if (calibration[0]) extra[item.n_extra++] = calibration;
        snprintf(pixels, sizeof pixels, "%zu pixels are not finite numbers and are left out", item.pixels.not_finite);
        if (item.pixels.not_finite) extra[item.n_extra++] = pixels;
        cli_progress_clear(&w->progress);
        code = w->job->frame(w->job->context, &item, e);
    }
    cli_item_release(&item, code != MRO_OK);
    return code;
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

static enum mro_code do_image(struct walk *w, const char *path, struct mro_file *f, size_t image, bool several,
                              struct mro_error *e)
{
    const struct cli_common *c = w->job->common;
    const struct mro_image_info *info = mro_file_info(f, image);
    size_t done = 0;
    if (cli_frames_last(&c->frames) >= info->frames)
        return MRO_FAIL(e, MRO_EARG, "'%s' has no frame %zu: it holds %zu, counted from 0", path,
                        cli_frames_last(&c->frames), info->frames);
    for (size_t frame = 0; frame < info->frames; frame++) {
        if (!cli_frames_has(&c->frames, frame)) continue;
        MRO_TRY(do_frame(w, path, f, image, several, frame, done == 0, e));
        done++;
        cli_progress_frame(&w->progress, w->file, w->files, (double)(frame + 1) / (double)info->frames);
    }
    return w->job->together && done > 1 ? do_together(w, path, f, image, several, e) : MRO_OK;
}

static void do_file(struct walk *w, const char *path)
{
    struct mro_error e;
    struct mro_file *f = NULL;
    size_t images = 0;
    w->sha256[0] = '\0';
    if (mro_file_open(&f, path, w->job->common->memory, &e) != MRO_OK ||
        mro_hash_start(&w->hash, f->fd, f->bytes.p, f->bytes.size, &e) != MRO_OK) {
        report(w, &e);
        goto done;
    }
    for (size_t i = 0; i < mro_file_images(f); i++) images += mro_file_info(f, i)->kind == MRO_KIND_IMAGE;
    if (images == 0) {
        MRO_FAIL(&e, MRO_EDATA, "'%s' (%s) holds no image to measure, but %s; see 'mroscope info'", path,
                 mro_file_format(f), mro_kind_name(mro_file_info(f, 0)->kind));
        report(w, &e);
    }
    for (size_t i = 0; i < mro_file_images(f); i++) {
        if (mro_file_info(f, i)->kind != MRO_KIND_IMAGE) continue;
        if (do_image(w, path, f, i, images > 1, &e) != MRO_OK) report(w, &e);
    }
done:
    /* The digest is read from the open file, so it ends before that is closed. */
    mro_hash_cancel(w->hash);
    mro_hash_finish(w->hash, NULL, NULL);
    w->hash = NULL;
    mro_file_close(f);
}

int cli_each_frame(const struct cli_job *job, const struct cli_args *files)
{
    struct walk w = { .job = job, .files = files->n };
    const int rc = cli_prepare_outputs(job->common, job->usage->verb, files->files, files->n);
    if (rc) return rc;
    w.inputs = calloc(files->n, sizeof *w.inputs);
    if (w.inputs == NULL) {
        fputs("mroscope: no memory left for the list of files\n", stderr);
        return 1;
    }
    for (size_t i = 0; i < files->n; i++) {
        struct stat s;
        if (stat(files->files[i], &s) == 0) w.inputs[i] = (struct cli_file_id){ s.st_dev, s.st_ino };
    }
    cli_progress_begin(&w.progress, job->common->quiet);
    for (w.file = 0; w.file < files->n; w.file++) do_file(&w, files->files[w.file]);
    cli_progress_clear(&w.progress);
    free(w.inputs);
    return w.failed ? 1 : 0;
}

/* -- what a result says of itself ------------------------------------------------------------------ */

enum mro_code cli_head(const struct cli_job *job, struct cli_item *item, const char *const *warnings, size_t n_warnings,
                       struct cli_head *h, struct mro_error *e)
{
    size_t n_file = 0, n = 0;
    memset(h, 0, sizeof *h);
    if (*item->hash) {
        struct mro_hash_job *hash = *item->hash;
        *item->hash = NULL;
        MRO_TRY(mro_hash_finish(hash, item->sha256, e));
    }
    while (mro_file_warning(item->file, n_file)) n_file++;
    h->warnings = calloc(n_file + item->n_extra + n_warnings + 1, sizeof *h->warnings);
    if (h->warnings == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
    if ((h->head.options = cli_options_json(job->usage)) == NULL) {
        cli_head_release(h);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
    }
    for (size_t i = 0; i < n_file; i++) h->warnings[n++] = mro_file_warning(item->file, i);
    for (size_t i = 0; i < item->n_extra; i++) h->warnings[n++] = item->extra[i];
    for (size_t i = 0; i < n_warnings; i++) {
        size_t k = 0; /* the measurement may say what the reading said already */
        while (k < item->n_extra && strcmp(item->extra[k], warnings[i]) != 0) k++;
        if (k == item->n_extra) h->warnings[n++] = warnings[i];
    }
    memcpy(h->provenance.input_sha256, item->sha256, sizeof h->provenance.input_sha256);
    h->provenance.calibration = item->calibration;
    h->head.verb = job->usage->verb;
    h->head.file = item->path;
    h->head.image = item->image;
    h->head.has_frame = item->frame_given;
    h->head.frame = item->frame;
    h->head.info = item->info;
    for (int i = 0; i < 2; i++) {
        const struct mro_axis *a = &item->pixels.axis[i];
        h->head.pixel_nm[i] = a->step > 0 && a->unit == MRO_UNIT_NM ? a->step : NAN;
    }
    h->head.warnings = h->warnings;
    h->head.n_warnings = n;
    h->head.provenance = &h->provenance;
    return MRO_OK;
}

void cli_head_release(struct cli_head *h)
{
    json_decref(h->head.options);
    free(h->warnings);
    memset(h, 0, sizeof *h);
}

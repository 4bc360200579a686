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
#include "core/backend.h"
#include "core/inside.h"
#include "io/stream.h"
#include "io/write.h"

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

bool cli_same_step(const struct mro_axis *a, const struct mro_axis *b)
{
    return fabs(a->step - b->step) <= 5e-7 * a->step;
}

void cli_complain(const struct mro_error *e) { cli_say(e->code, "%s", e->message); }

void cli_report(const struct cli_job *job, const struct mro_error *e)
{
    if (job->failure == NULL) {
        cli_complain(e);
    } else if (!job->failure->any) {
        job->failure->any = true;
        job->failure->error = *e;
    }
}

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
            t->times[k] += t->last[k] != name; /* the images of a file say the same */
            t->last[k] = name;
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
        t->last[k] = name;
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

/* What the user asked for; NULL: nothing. */
static const char *device_asked(const struct cli_common *c)
{
    const char *name = c->device ? c->device : getenv("MROSCOPE_DEVICE");
    return name && *name ? name : NULL;
}

int cli_open_device(const struct cli_common *c, const char *verb, struct mro_device **d)
{
    struct mro_error e;
    if (c->threads > 0) omp_set_num_threads(c->threads); /* for reading and decoding, which know no device */
    const enum mro_code code = mro_device_open(d, device_asked(c), c->threads, c->memory, &e);
    if (code == MRO_OK) {
        if (!c->quiet && mro_device_note(*d)[0]) fprintf(stderr, "mroscope: %s\n", mro_device_note(*d));
        return 0;
    }
    if (code != MRO_EARG) {
        cli_complain(&e);
        return 1;
    }
    return cli_wrong_usage(verb, "%s", e.message);
}

enum mro_code cli_compute(const struct cli_common *c, struct cli_places *places, const char *name,
                          enum mro_code (*work)(void *context, enum cli_place place, struct mro_error *e),
                          void *context, struct mro_error *e)
{
    return cli_compute_instead(c, places, name, work(context, CLI_CHOSEN, e), work, context, e);
}

enum mro_code cli_compute_instead(const struct cli_common *c, struct cli_places *places, const char *name,
                                  enum mro_code code,
                                  enum mro_code (*work)(void *context, enum cli_place place, struct mro_error *e),
                                  void *context, struct mro_error *e)
{
    const char *asked = device_asked(c);
    const bool on_a_card = strcmp(mro_device_backend(places->device[CLI_CHOSEN]), "cuda") == 0;
    /* A card that fails is told to whoever asked for it; who left the choice open is told of the CPU in its place. */
    const bool full = code == MRO_EMEMORY;
    const bool failed = code == MRO_EDEVICE && (asked == NULL || strcmp(asked, "auto") == 0);
    if (!on_a_card || !(full || failed)) return code;
    const struct mro_error why = *e;
    if (places->device[CLI_CPU] == NULL)
        MRO_TRY(mro_device_open(&places->device[CLI_CPU], "cpu", c->threads, c->memory, e));
    MRO_TRY(work(context, CLI_CPU, e));
    if (!c->quiet) {
        fflush(stdout);
        if (full)
            fprintf(stderr, "mroscope: the GPU has no room for '%s': measured on the CPU\n", name);
        else
            fprintf(stderr, "mroscope: '%s' was measured on the CPU: %s\n", name, why.message);
    }
    return MRO_OK;
}

void cli_places_close(struct cli_places *places)
{
    for (int i = 0; i < CLI_PLACES; i++) mro_device_close(places->device[i]);
    *places = (struct cli_places){ { NULL } };
}

/* -- names of outputs ---------------------------------------------------------------------------- */

const char *cli_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* File name without folder and last suffix: its start and length. */
static const char *stem_of(const char *path, size_t *length)
{
    const char *base = cli_base_name(path), *dot = strrchr(base, '.');
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

static int check_clashes(const struct cli_common *c, const char *suffix, char *const *files, size_t n)
{
    struct stem *stems = calloc(n, sizeof *stems);
    int rc = 0;
    if (stems == NULL) {
        cli_say(MRO_EMEMORY, "no memory left for the names of the files");
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        stems[i].path = files[i];
        stems[i].text = stem_of(files[i], &stems[i].length);
    }
    qsort(stems, n, sizeof *stems, compare_stems);
    for (size_t i = 1; i < n && rc == 0; i++) {
        if (compare_stems(&stems[i - 1], &stems[i]) != 0) continue;
        cli_say(MRO_EARG, "'%s' and '%s' would both write '%s/%.*s.%s'; give them different folders", stems[i - 1].path,
                stems[i].path, c->out, (int)stems[i].length, stems[i].text, suffix);
        rc = 2;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct stem whole = stems[i];
        while (cut_number(&whole) && rc == 0) {
            const struct stem *other = bsearch(&whole, stems, n, sizeof *stems, compare_stems);
            if (other == NULL) continue;
            cli_say(MRO_EARG,
                    "'%s' and '%s' could write the same names, as results of the images and frames of a file are "
                    "numbered .i0, .f0000; measure them into different folders",
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

int cli_prepare_outputs(const struct cli_common *c, const char *suffix, char *const *files, size_t n)
{
    if (c->out == NULL) return 0;
    const int clash = check_clashes(c, suffix, files, n);
    if (clash) return clash;
    const int error = mro_inside_keeps() ? 0 : make_folder(c->out);
    if (error == 0) return 0;
    cli_say(MRO_EIO, "cannot write to the folder '%s': %s; give another one with -o DIR", c->out, strerror(error));
    return 2;
}

/* What stands before the name of a file that is not published yet. */
#define STAGED ".mroscope-"

static enum mro_code no_names(const struct cli_item *item, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the names of its results", item->name);
}

/* Notes the output `name` (taken; NULL = out of memory) of an item. */
static enum mro_code take_output(struct cli_item *item, char *name, const char **path, struct mro_error *e)
{
    struct stat out;
    char **grown = realloc(item->written, (item->n_written + 1) * sizeof *grown);
    if (grown) item->written = grown;
    if (grown == NULL || name == NULL) {
        free(name);
        return no_names(item, e);
    }
    for (size_t i = 0; i < item->n_inputs && !mro_inside_keeps() && stat(name, &out) == 0; i++) {
        if (item->inputs[i].device != out.st_dev || item->inputs[i].inode != out.st_ino) continue;
        const enum mro_code code =
            MRO_FAIL(e, MRO_EARG, "'%s': its result '%s' would overwrite an input; give another folder with -o DIR",
                     item->path, name);
        free(name);
        return code;
    }
    if (item->staged) {
        char *staged = NULL;
        const char *base = cli_base_name(name);
        if (asprintf(&staged, "%.*s" STAGED "%s", (int)(base - name), name, base) < 0) staged = NULL;
        free(name);
        if (staged == NULL) return no_names(item, e);
        name = staged;
    }
    item->written[item->n_written++] = name;
    *path = name;
    return MRO_OK;
}

enum mro_code cli_item_unstage(struct cli_item *item, struct mro_error *e)
{
    for (size_t i = 0; item->staged && i < item->n_written; i++) {
        char *staged = item->written[i], *name = strdup(staged);
        if (name == NULL) return no_names(item, e);
        const size_t folder = (size_t)(cli_base_name(name) - name);
        char *base = name + folder;
        memmove(base, base + strlen(STAGED), strlen(base + strlen(STAGED)) + 1);
        if (rename(staged, name) != 0) {
            const enum mro_code code = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", name, strerror(errno));
            free(name);
            return code;
        }
        item->written[i] = name;
        free(staged);
    }
    item->staged = false;
    return MRO_OK;
}

enum mro_code cli_output(struct cli_item *item, const struct cli_job *job, const char *suffix, const char **path,
                         struct mro_error *e)
{
    char *name = NULL;
    if (asprintf(&name, "%s.%s%s", item->stem, job->usage->verb, suffix) < 0) name = NULL;
    return take_output(item, name, path, e);
}

enum mro_code cli_output_plain(struct cli_item *item, const char *suffix, const char **path, struct mro_error *e)
{
    char *name = NULL;
    if (asprintf(&name, "%s%s", item->stem, suffix) < 0) name = NULL;
    return take_output(item, name, path, e);
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

enum mro_code cli_print(json_t *v, struct mro_error *e)
{
    if (v == NULL) return e->code;
    char *line = mro_json_text(v, false, e);
    json_decref(v);
    if (line == NULL) return e->code;
    if (mro_inside) return mro_inside_result(line, e);
    fputs(line, stdout);
    free(line);
    return MRO_OK;
}

enum mro_code cli_emit(struct cli_item *item, const struct cli_job *job, json_t *v, struct mro_error *e)
{
    enum mro_code code = MRO_OK;
    if (v == NULL) return e->code;
    /* The text of a result is kept in any case. */
    if (item->stem && !mro_inside_keeps()) code = cli_write_text(item, job, ".json", mro_json_text(v, true, e), e);
    if (code == MRO_OK && job->common->json) return cli_print(v, e);
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

void cli_item_unwrite(struct cli_item *item, bool remove)
{
    for (size_t i = 0; i < item->n_written; i++) {
        if (remove && !mro_inside_keeps()) unlink(item->written[i]);
        free(item->written[i]);
    }
    free(item->written);
    item->written = NULL;
    item->n_written = 0;
    item->staged = false;
}

void cli_item_release(struct cli_item *item, bool failed)
{
    cli_item_unwrite(item, failed);
    free(item->stem);
    mro_image_release(&item->pixels);
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
    /* Calibration of the last frame, for the result of all frames together. */
    struct mro_axis axis[2];
    char calibration[96];
    size_t n_file; /* warnings that the file has given with the frames so far */
    bool failed;
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
    const char *option = c->pixel_manifest ? "pixel_nm" : "--pixel";
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
static void measure_frame(const struct walk *w, struct frame *f, const char *const *made, size_t n_made)
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
}

static enum mro_code publish_frame(struct walk *w, struct frame *f, struct mro_error *e)
{
    memcpy(w->axis, f->item.pixels.axis, sizeof w->axis);
    memcpy(w->calibration, f->item.calibration, sizeof w->calibration);
    w->n_file = f->item.n_file;
    cli_progress_clear(&w->progress);
    return w->job->publish(w->job->context, &f->item, f->measured, e);
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
                        "larger --memory",
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
    if (info->frames > 1) plan->depth = room < MOST_AHEAD ? room : MOST_AHEAD;
    return MRO_OK;
}

/* -- the frames of an image ------------------------------------------------------------------------ */

static bool wanted(const void *frames, size_t frame) { return cli_frames_has(frames, frame); }

/* The frames of an image, measured one by one. */
struct stack {
    struct walk *w;
    const char *path;
    bool several;
    const struct mro_stream_plan *plan;
    struct mro_stream *stream;
    size_t lanes, taken;
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
    cli_progress_frame(&w->progress, w->file, w->files,
                       (double)(f->number + 1) / (double)mro_file_info(s->plan->file, s->plan->image)->frames);
    return true;
}

static void work_on_frame(void *context, size_t lane, void *piece)
{
    const struct stack *s = context;
    struct frame *f = piece;
    struct mro_image *pixels = &f->item.pixels;
    f->item.place = lane ? CLI_BESIDE + (enum cli_place)(lane - 1) : CLI_CHOSEN;
    omp_set_num_threads(s->w->job->places->device[f->item.place]->threads); /* a setting of each thread */
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
    struct stack s = { .w = w, .path = path, .several = several, .plan = plan, .lanes = lanes };
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
    size_t round, rounds;
};

static enum mro_code rounds_rewind(void *context, struct mro_error *e)
{
    struct rounds *r = context;
    if (r->stream) r->round++;
    mro_image_release(&r->lent);
    mro_stream_close(r->stream);
    r->stream = NULL;
    return mro_stream_open(&r->stream, r->plan, e);
}

static enum mro_code rounds_next(void *context, const struct mro_image **im, size_t *frame, struct mro_error *e)
{
    struct rounds *r = context;
    const size_t frames = mro_file_info(r->plan->file, r->plan->image)->frames, seen = r->w->n_file;
    bool more;
    mro_stream_give_back(r->stream, &r->lent);
    MRO_TRY(mro_stream_next(r->stream, &more, &r->lent, frame, &r->w->n_file, e));
    *im = more ? &r->lent : NULL;
    if (!more) r->w->n_file = seen;
    if (more)
        cli_progress_frame(&r->w->progress, r->w->file, r->w->files,
                           ((double)r->round + (double)(*frame + 1) / (double)frames) / (double)r->rounds);
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
                                 .rounds = { .w = w, .plan = plan, .rounds = align ? 4 : 2 } }; /* and measuring */
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

static bool measured(const struct walk *w, const struct mro_file *f, size_t image)
{
    const unsigned kinds = w->job->kinds ? w->job->kinds : 1U << MRO_KIND_IMAGE;
    return kinds >> mro_file_info(f, image)->kind & 1;
}

static void do_file(struct walk *w, const char *path)
{
    w->n_file = 0;
    struct mro_error e;
    struct mro_file *f = NULL;
    size_t images = 0;
    w->sha256[0] = '\0';
    if (mro_file_open(&f, path, w->job->common->memory, &e) != MRO_OK ||
        mro_hash_start(&w->hash, f->fd, f->bytes.p, f->bytes.size, &e) != MRO_OK) {
        report(w, &e);
        goto done;
    }
    for (size_t i = 0; i < mro_file_images(f); i++) images += measured(w, f, i);
    if (images == 0) {
        const bool patterns = w->job->kinds == 1U << MRO_KIND_DIFFRACTION;
        MRO_FAIL(&e, MRO_EDATA, "'%s' (%s) holds no %s to measure, but %s; see 'mroscope info'", path,
                 mro_file_format(f), mro_kind_name(patterns ? MRO_KIND_DIFFRACTION : MRO_KIND_IMAGE),
                 mro_kind_name(mro_file_info(f, 0)->kind));
        report(w, &e);
    }
    for (size_t i = 0; i < mro_file_images(f); i++) {
        if (!measured(w, f, i)) continue;
        if (do_image(w, path, f, i, images > 1, &e) != MRO_OK) report(w, &e);
    }
done:
    /* The digest is read from the open file, so it ends before that is closed. */
    mro_hash_cancel(w->hash);
    mro_hash_finish(w->hash, NULL, NULL);
    w->hash = NULL;
    mro_file_close(f);
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

/* -- what a result says of itself ------------------------------------------------------------------ */

/* "3,5-9": the frames used, each once and in order, whatever way they were asked for. */
static char *frames_text(const struct cli_frames *f, size_t frames)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    const char *comma = "";
    for (size_t i = 0; i < frames; i++) {
        if (!cli_frames_has(f, i)) continue;
        size_t last = i;
        while (last + 1 < frames && cli_frames_has(f, last + 1)) last++;
        fprintf(out, last > i ? "%s%zu-%zu" : "%s%zu", comma, i, last);
        comma = ",";
        i = last;
    }
    const bool bad = ferror(out) != 0;
    if (fclose(out) == 0 && !bad) return text;
    free(text);
    return NULL;
}

/* A result of several frames says which, and how they were joined. */
static enum mro_code record_frames(const struct cli_common *c, const struct cli_item *item, struct cli_head *h,
                                   struct mro_error *e)
{
    const size_t frames = item->info->frames;
    int bad = 0;
    if (!item->frame_given && frames > 1 && c->frames.n > 0) {
        char *text = frames_text(&c->frames, frames);
        json_t *entry = text ? json_pack("{s:s}", "value", text) : NULL;
        bad = entry == NULL || json_object_set_new(h->head.options, "frames", entry);
        free(text);
    }
    json_t *reduce = c->reduce == CLI_REDUCE_ALIGNED ? json_object_get(h->head.options, "reduce") : NULL;
    if (!bad && reduce) bad = json_object_set_new(reduce, "algorithm", json_string(MRO_ALIGN_ALGORITHM));
    if (!bad) return MRO_OK;
    cli_head_release(h);
    return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
}

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
    while (n_file < item->n_file && mro_file_warning(item->file, n_file)) n_file++;
    h->warnings = calloc(n_file + item->n_extra + n_warnings + 1, sizeof *h->warnings);
    if (h->warnings == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
    if ((h->head.options = cli_options_json(job->usage)) == NULL) {
        cli_head_release(h);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
    }
    MRO_TRY(record_frames(job->common, item, h, e));
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

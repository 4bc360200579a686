/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names of the files that results go to, what is written under them, and what happens to it when an item fails. */
#define _GNU_SOURCE /* asprintf */
#include "cli/inputs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/inside.h"
#include "io/json_text.h"
#include "io/write.h"

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
        rc = 2;
        if (strcmp(stems[i - 1].path, stems[i].path) == 0) {
            cli_say(MRO_EARG, "'%s' is given twice", stems[i].path);
            continue;
        }
        cli_say(MRO_EARG, "'%s' and '%s' would both write '%s/%.*s.%s'; give them different folders", stems[i - 1].path,
                stems[i].path, c->out, (int)stems[i].length, stems[i].text, suffix);
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
        const int failed = mkdir(copy, 0777) != 0 && errno != EEXIST ? errno : 0;
        if (failed && stat(copy, &s) != 0) rc = failed;
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
    cli_say(MRO_EIO, "cannot write to the folder '%s': %s; give another one with `output=DIR`", c->out,
            strerror(error));
    return 2;
}

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
        const enum mro_code code = MRO_FAIL(
            e, MRO_EARG, "'%s': its result '%s' would overwrite an input; give another folder with `output=DIR`",
            item->path, name);
        free(name);
        return code;
    }
    if (item->staged) {
        char *staged = NULL;
        const char *base = cli_base_name(name);
        if (asprintf(&staged, "%.*s" MRO_TEMPORARY "%s", (int)(base - name), name, base) < 0) staged = NULL;
        free(name);
        if (staged == NULL) return no_names(item, e);
        name = staged;
        mro_write_note(name);
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
        memmove(base, base + strlen(MRO_TEMPORARY), strlen(base + strlen(MRO_TEMPORARY)) + 1);
        if (rename(staged, name) != 0) {
            const enum mro_code code = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", name, strerror(errno));
            free(name);
            return code;
        }
        item->written[i] = name;
        mro_write_drop(staged);
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
        mro_write_drop(item->written[i]);
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

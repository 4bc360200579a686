/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A process that measures one unit after the other. It is told "UNIT MEMORY THREADS", a line each, and answers with
 * lines of JSON. Once it knows what it is about to make,
 *   {"unit": 3, "status": "begun", "key": "...", "sha256": ["..."]}
 * (with "damaged": why, when there was such an item), and at the end the same with the status "done" (with "there":
 * true when it was finished before), "failed" (with "error"), "busy" (another process makes it), "memory" (with "need"
 * in bytes and "error"), or "disk" (with "error"). */
#define _GNU_SOURCE /* asprintf, memfd_create */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif
#include <unistd.h>

#include "cli/batch.h"
#include "io/json_text.h"

struct worker {
    struct batch *b;
    FILE *in;
    int out;
    struct cli_run *run; /* open for the units with these options, */
    char *options;
    size_t memory; /* this memory and these threads */
    int threads;
    double pixel_nm[2]; /* as the options say, for rows that say nothing */
    struct cli_frames frames;
    FILE *said; /* what the verb writes on its standard output and error */
    struct cli_failure failure;
};

static void answer(struct worker *w, json_t *v)
{
    char *text = v ? json_dumps(v, JSON_COMPACT) : NULL;
    json_decref(v);
    if (text == NULL) _exit(1); /* the parent sees a worker that died */
    const size_t n = strlen(text);
    text[n] = '\n';
    for (size_t done = 0; done <= n;) {
        const ssize_t put = write(w->out, text + done, n + 1 - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) _exit(1);
        done += (size_t)put;
    }
    free(text);
}

static json_t *about(const struct worker *w, const struct batch_unit *u, const char *status)
{
    json_t *v = json_pack("{s:I,s:s,s:s}", "unit", (json_int_t)(u - w->b->units), "status", status, "key", u->key);
    json_t *sums = json_array();
    for (size_t i = 0; i < u->n; i++) json_array_append_new(sums, json_string(u->sha256[i]));
    if (v) json_object_set_new(v, "sha256", sums);
    return v;
}

static json_t *with_error(const struct worker *w, const struct batch_unit *u, const char *status, const char *error)
{
    json_t *v = about(w, u, status);
    char *text = error ? strdup(error) : NULL;
    if (text) cli_in_options(text);
    if (v && text) json_object_set_new(v, "error", mro_json_plain(text)); /* names may be in another encoding */
    free(text);
    return v;
}

static void tell(struct worker *w, const struct batch_unit *u, const char *status, const char *error)
{
    answer(w, with_error(w, u, status, error));
}

/* -- the record -------------------------------------------------------------------------------------- */

static void add_once(json_t *list, const json_t *warnings)
{
    size_t i, k;
    json_t *a, *b;
    json_array_foreach(warnings, i, a)
    {
        bool there = false;
        json_array_foreach(list, k, b) there |= json_equal(a, b);
        if (!there) json_array_append(list, a);
    }
}

/* Results in the folder of an item, their warnings and their main numbers. */
static bool add_results(json_t *record, const char *folder)
{
    json_t *results = json_array(), *warnings = json_array();
    char **files;
    size_t n;
    const bool ok = mro_store_list(folder, ".json", &files, &n) && n > 0;
    for (size_t i = 0; i < n; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s", folder, files[i]) < 0) path = NULL;
        json_t *v = path ? mro_store_read(path) : NULL;
        free(path);
        if (v) {
            const json_t *image = json_object_get(v, "image"), *frame = json_object_get(v, "frame");
            json_array_append_new(results, json_pack("{s:s,s:O*,s:O*,s:o}", "name", files[i], "image", image, "frame",
                                                     frame, "numbers", batch_numbers(v)));
            add_once(warnings, json_object_get(v, "warnings"));
        }
        json_decref(v);
        free(files[i]);
    }
    free(files);
    json_object_set_new(record, "warnings", warnings);
    json_object_set_new(record, "results", results);
    return ok && json_array_size(json_object_get(record, "results")) == n;
}

static json_t *record_of(struct worker *w, const struct batch_unit *u, const char *folder)
{
    const struct mro_manifest_row *rows = w->b->manifest.rows, *r = &rows[u->rows[0]];
    json_t *v = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:o}", "schema", "mroscope.item/1", "key", u->key, "verb",
                          u->kind->verb->name, "file", r->file, "sha256", u->sha256[0], "size", (json_int_t)r->size,
                          "options", cli_options_json(&w->run->usage));
    if (v && u->n > 1) {
        json_t *inputs = json_array();
        for (size_t i = 0; i < u->n; i++)
            json_array_append_new(inputs, json_pack("{s:s,s:s,s:s,s:I}", "element", rows[u->rows[i]].element, "file",
                                                    rows[u->rows[i]].file, "sha256", u->sha256[i], "size",
                                                    (json_int_t)rows[u->rows[i]].size));
        json_object_set_new(v, "inputs", inputs);
    }
    if (v && add_results(v, folder)) return v;
    json_decref(v);
    return NULL;
}

/* -- one unit ------------------------------------------------------------------------------------------ */

static void close_run(struct worker *w)
{
    cli_verb_close(w->run);
    free(w->options);
    w->run = NULL;
    w->options = NULL;
}

/* The verb of a unit, open with its options; that of the unit before when they are the same. */
static int open_run(struct worker *w, const struct batch_unit *u, size_t memory, int threads, const char *out)
{
    char *options = batch_options_text(w->b, u);
    if (options && w->run && !u->kind->maps && strcmp(options, w->options) == 0 && memory == w->memory &&
        threads == w->threads) {
        free(options);
        memcpy(w->run->common.pixel_nm, w->pixel_nm, sizeof w->pixel_nm);
        w->run->common.pixel_manifest = false;
        w->run->common.frames = w->frames;
        return batch_row(w->b, u, out, w->run) ? -1 : 1;
    }
    close_run(w);
    w->options = options;
    w->memory = memory;
    w->threads = threads;
    const int rc = options ? batch_open(w->b, u, memory, threads, true, &w->run) : 1;
    if (rc >= 0) return rc;
    memcpy(w->pixel_nm, w->run->common.pixel_nm, sizeof w->pixel_nm);
    w->frames = w->run->common.frames;
    return batch_row(w->b, u, out, w->run) ? -1 : 1;
}

/* First sentence that the verb wrote, or `otherwise`. */
static void sentence_of(struct worker *w, char *text, size_t room, const char *otherwise)
{
    char line[600];
    static const char mark[] = "mroscope: ";
    snprintf(text, room, "%s", otherwise);
    fflush(stderr);
    rewind(w->said);
    while (fgets(line, sizeof line, w->said)) {
        if (strncmp(line, mark, sizeof mark - 1) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(text, room, "%s", line + sizeof mark - 1);
        return;
    }
}

/* Nothing can be written any more. A name that is too long is a matter of its row. */
static bool is_disk(const struct mro_error *e)
{
    return e->code == MRO_EIO && strncmp(e->message, "cannot write", strlen("cannot write")) == 0 &&
           strstr(e->message, strerror(ENAMETOOLONG)) == NULL;
}

/* Measures into a folder of its own, whose lock is held. Returns the answer. */
static json_t *measure(struct worker *w, struct batch_unit *u, size_t memory, int threads)
{
    const struct mro_store *store = &w->b->store;
    struct mro_error e;
    char *folder, why[600];
    json_t *v;
    if (mro_store_begin(store, u->name, &folder, &e) != MRO_OK) return with_error(w, u, "disk", e.message);
    w->failure = (struct cli_failure){ 0 };
    rewind(w->said);
    if (ftruncate(fileno(w->said), 0) != 0) clearerr(w->said);
    int rc = open_run(w, u, memory, threads, folder);
    if (rc < 0) {
        w->run->job.failure = &w->failure;
        w->run->common.quiet = true;
        w->run->common.json = false;
        rc = cli_verb_measure(w->run);
    }
    fflush(stdout);
    json_t *record = rc == 0 ? record_of(w, u, folder) : NULL;
    if (rc == 0 && record) {
        if (mro_store_finish(store, u->name, record, &e) == MRO_OK)
            v = about(w, u, "done");
        else
            v = with_error(w, u, "disk", e.message);
    } else if (w->failure.any && w->failure.error.code == MRO_EMEMORY) {
        v = with_error(w, u, "memory", w->failure.error.message);
        json_object_set_new(v, "need", json_integer((json_int_t)w->failure.need));
    } else if (w->failure.any && is_disk(&w->failure.error)) {
        v = with_error(w, u, "disk", w->failure.error.message);
    } else {
        sentence_of(w, why, sizeof why, "it has no result");
        cli_next_step_of_row(&w->failure.error, u->kind->verb->name);
        if (w->failure.any) snprintf(why, sizeof why, "%s", w->failure.error.message);
        mro_store_fail(store, u->name, u->key, why);
        v = with_error(w, u, "failed", why);
    }
    mro_store_discard(store, u->name);
    if (rc != 0) close_run(w); /* nothing of a failure stays */
    json_decref(record);
    free(folder);
    return v;
}

static void do_unit(struct worker *w, struct batch_unit *u, size_t memory, int threads)
{
    struct batch *b = w->b;
    struct mro_error e;
    bool mine;
    for (size_t i = 0; i < u->n; i++) {
        const struct mro_manifest_row *r = &b->manifest.rows[u->rows[i]];
        if (u->sha256[i][0] || mro_sha256_file(r->path, u->sha256[i], NULL, &e) == MRO_OK) continue;
        u->sha256[i][0] = '\0';
        tell(w, u, "failed", e.message);
        return;
    }
    u->status = BATCH_WAITING;
    u->damaged = false;
    if (batch_look(b, u, false, &e) != MRO_OK) {
        tell(w, u, "failed", e.message);
        return;
    }
    if (u->status == BATCH_FAILED && !mro_store_failed_now(&b->store, u->name)) u->status = BATCH_WAITING;
    if (u->status == BATCH_WAITING) {
        /* Said before anything is on the disk: should this process die, the other one clears up. */
        json_t *begun = about(w, u, "begun");
        if (begun && u->damaged && u->error) json_object_set_new(begun, "damaged", json_string(u->error));
        answer(w, begun);
        if (mro_store_lock(&b->store, u->name, &mine, &e) != MRO_OK) {
            tell(w, u, "disk", e.message);
            return;
        }
        if (!mine) {
            tell(w, u, "busy", NULL);
            return;
        }
        /* It may have been finished while the lock was free. */
        json_t *record;
        char why[512];
        if (mro_store_check(&b->store, u->name, u->key, false, &record, why, sizeof why) == MRO_ITEM_DONE) {
            json_decref(record);
            u->status = BATCH_DONE;
            mro_store_unlock(&b->store, u->name);
        } else {
            json_t *v = measure(w, u, memory, threads);
            mro_store_unlock(&b->store, u->name); /* the last thing that it does: who hears the answer may end it */
            answer(w, v);
        }
    }
    if (u->status == BATCH_DONE) {
        json_t *v = about(w, u, "done");
        json_object_set_new(v, "there", json_true());
        answer(w, v);
    } else if (u->status == BATCH_FAILED) {
        tell(w, u, "failed", u->error);
    }
}

/* A file that is nobody else's: in memory, where folders for such files may be full or missing. */
static FILE *own_file(void)
{
#ifdef __linux__
    const int fd = memfd_create("mroscope", MFD_CLOEXEC);
    FILE *f = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (f) return f;
#endif
    return tmpfile();
}

_Noreturn void batch_work(struct batch *b, int in, int out)
{
    struct worker w = { .b = b, .in = fdopen(in, "r"), .out = out, .said = own_file() };
    char line[256];
    if (w.in == NULL || w.said == NULL) _exit(1);
    fflush(NULL);
    dup2(fileno(w.said), STDOUT_FILENO);
    dup2(fileno(w.said), STDERR_FILENO);
    while (fgets(line, sizeof line, w.in)) {
        unsigned long long unit, memory;
        int threads;
        if (sscanf(line, "%llu %llu %d", &unit, &memory, &threads) != 3 || unit >= b->n) _exit(1);
        do_unit(&w, &b->units[unit], (size_t)memory, threads);
    }
    close_run(&w);
    _exit(0);
}

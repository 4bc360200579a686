/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE /* asprintf */
#include <ctype.h>
#include <math.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cli/batch.h"
#include "cli/commands.h"
#include "mroscope/eds.h"

/* Bytes of a file's name: systems take 255, and results have ".i10.f0001.shearband.segments.csv" behind it. */
enum { MOST_NAME = 200 };

static const struct batch_kind kinds[] = {
    { "hrtem", &cli_verb_mro, false },           { "haadf", &cli_verb_haadf, false },
    { "eds-line", &cli_verb_eds, false },        { "eds-map", &cli_verb_eds, true },
    { "diffraction", &cli_verb_pdf, false },     { "lattice", &cli_verb_lattice, false },
    { "shearband", &cli_verb_shearband, false }, { "indent", &cli_verb_indent, false },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

size_t batch_verbs(const struct cli_verb *verbs[BATCH_VERBS])
{
    size_t n = 0;
    for (size_t i = 0; i < N_KINDS; i++) {
        bool known = false;
        for (size_t k = 0; k < i; k++) known |= kinds[k].verb == kinds[i].verb;
        if (!known && n < BATCH_VERBS) verbs[n++] = kinds[i].verb;
    }
    return n;
}

double batch_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const struct cli_option *option_of(const struct cli_verb *v, const char *name)
{
    for (size_t i = 0; i < CLI_OWN_GROUPS && v->own[i].rows; i++)
        for (size_t k = 0; k < v->own[i].n; k++)
            if (strcmp(v->own[i].rows[k].name, name) == 0) return &v->own[i].rows[k];
    return NULL;
}

/* -- faults of rows ---------------------------------------------------------------------------------- */

/* Columns that are options of a verb. */
static void check_option(struct batch *b, const struct mro_manifest_row *r, const struct cli_verb *v, const char *name,
                         const char *column, double value)
{
    const struct cli_option *o = option_of(v, name);
    if (isnan(value)) return;
    if (o == NULL)
        mro_manifest_fault(&b->manifest, r->row, "%s is given, but rows of kind '%s' have no use for it", column,
                           r->kind);
    else if (value < o->lo || value > o->hi)
        mro_manifest_fault(&b->manifest, r->row, "%s is %g; it has to be between %g and %g", column, value, o->lo,
                           o->hi);
}

static const struct batch_kind *kind_of(struct batch *b, const struct mro_manifest_row *r)
{
    const char *names[N_KINDS];
    const struct batch_kind *kind = NULL;
    if (r->kind[0] == '\0') return NULL; /* said already */
    for (size_t i = 0; i < N_KINDS; i++) {
        names[i] = kinds[i].name;
        if (strcasecmp(r->kind, names[i]) == 0) kind = &kinds[i];
    }
    const char *near = kind ? NULL : cli_nearest(r->kind, names, N_KINDS);
    if (near)
        mro_manifest_fault(&b->manifest, r->row, "'%s' is no kind; did you mean '%s'?", r->kind, near);
    else if (kind == NULL)
        mro_manifest_fault(&b->manifest, r->row,
                           "'%s' is no kind; kinds are hrtem haadf eds-line eds-map diffraction lattice shearband "
                           "indent",
                           r->kind);
    return kind;
}

/* "HAADF" and "MRO" stand for an image and a mask of the field that the maps show. */
static bool is_beside(const char *element)
{
    return strcasecmp(element, "haadf") == 0 || strcasecmp(element, "mro") == 0;
}

static void check_map(struct batch *b, const struct mro_manifest_row *r)
{
    char symbol[4];
    if (r->group[0] == '\0')
        mro_manifest_fault(&b->manifest, r->row, "maps need a group: give the maps of one field the same name there");
    if (r->element[0] == '\0')
        mro_manifest_fault(&b->manifest, r->row,
                           "maps need their element, such as Fe (or HAADF for the image beside them)");
    if (is_beside(r->element)) return;
    for (const char *p = r->element; *p;) {
        const size_t n = strcspn(p, ",");
        snprintf(symbol, sizeof symbol, "%.*s", (int)(n < 4 ? n : 3), p);
        if (n > 2 || !(mro_atomic_weight(symbol) > 0))
            mro_manifest_fault(&b->manifest, r->row, "'%.*s' is no element", (int)(n < 40 ? n : 40), p);
        p += n + (p[n] == ',');
    }
}

static void check_row(struct batch *b, const struct mro_manifest_row *r, const struct batch_kind *kind)
{
    struct cli_frames frames;
    const char *name = r->path ? cli_base_name(r->path) : NULL;
    if (name && strlen(name) > MOST_NAME)
        mro_manifest_fault(&b->manifest, r->row,
                           "the name of the file has %zu bytes; its results are called after it, which allows for %d: "
                           "give it a shorter one",
                           strlen(name), MOST_NAME);
    check_option(b, r, kind->verb, "kv", "kv", r->kv);
    check_option(b, r, kind->verb, "cs", "cs_mm", r->cs_mm);
    if (r->frames[0] && !(kind->verb->common & CLI_GROUP_INPUT))
        mro_manifest_fault(&b->manifest, r->row, "frames are given, but rows of kind '%s' have none", kind->name);
    else if (r->frames[0] && !cli_frames_parse(r->frames, &frames))
        mro_manifest_fault(&b->manifest, r->row, "frames '%s' is no list of frames such as 0-9,12, counted from 0",
                           r->frames);
    if (kind->maps) check_map(b, r);
}

/* -- units ------------------------------------------------------------------------------------------- */

static struct batch_unit *group_of(struct batch *b, const struct mro_manifest_row *r)
{
    for (size_t i = 0; i < b->n; i++) {
        struct batch_unit *u = &b->units[i];
        if (u->kind->maps && strcmp(b->manifest.rows[u->rows[0]].group, r->group) == 0) return u;
    }
    return NULL;
}

static void check_group(struct batch *b, const struct batch_unit *u, const struct mro_manifest_row *r)
{
    const struct mro_manifest_row *first = &b->manifest.rows[u->rows[0]];
    const struct {
        const char *name, *a, *b;
    } texts[] = { { "state", first->state, r->state }, { "specimen", first->specimen, r->specimen } };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i].a, texts[i].b) != 0)
            mro_manifest_fault(&b->manifest, r->row, "%s is '%s', but row %zu of the same group has '%s'",
                               texts[i].name, texts[i].b, first->row, texts[i].a);
    /* What is left empty is said by the first. */
    const struct {
        const char *name;
        double a, b;
    } numbers[] = { { "strain", first->strain, r->strain },
                    { "thickness_nm", first->thickness_nm, r->thickness_nm },
                    { "pixel_nm", first->pixel_nm[0], r->pixel_nm[0] > 0 ? r->pixel_nm[0] : NAN },
                    { "pixel_nm", first->pixel_nm[1], r->pixel_nm[1] > 0 ? r->pixel_nm[1] : NAN } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (isnan(numbers[i].b) || numbers[i].a == numbers[i].b) continue;
        mro_manifest_fault(&b->manifest, r->row, "%s is %g, but row %zu, the first of the same group, has %s",
                           numbers[i].name, numbers[i].b, first->row, isnan(numbers[i].a) ? "none" : "another");
        break;
    }
    for (size_t i = 0; i < u->n; i++) {
        const struct mro_manifest_row *other = &b->manifest.rows[u->rows[i]];
        if (r->element[0] && strcasecmp(other->element, r->element) == 0)
            mro_manifest_fault(&b->manifest, r->row, "%s of the group '%s' is given by row %zu already", r->element,
                               r->group, other->row);
    }
}

static bool same_file(const struct mro_manifest_row *a, const struct mro_manifest_row *b)
{
    return a->path && b->path && a->device == b->device && a->inode == b->inode;
}

/* Rows by their file. */
static const struct mro_manifest_row *sorted_rows;
static int by_file(const void *x, const void *y)
{
    const struct mro_manifest_row *a = &sorted_rows[*(const size_t *)x], *b = &sorted_rows[*(const size_t *)y];
    if (a->device != b->device) return a->device < b->device ? -1 : 1;
    if (a->inode != b->inode) return a->inode < b->inode ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

static void check_duplicates(struct batch *b)
{
    struct mro_manifest *m = &b->manifest;
    size_t *order = malloc((m->n ? m->n : 1) * sizeof *order);
    if (order == NULL) return;
    for (size_t i = 0; i < m->n; i++) order[i] = i;
    sorted_rows = m->rows;
    qsort(order, m->n, sizeof *order, by_file);
    for (size_t i = 1; i < m->n; i++)
        for (size_t k = i; k-- > 0 && same_file(&m->rows[order[k]], &m->rows[order[i]]);) {
            const struct mro_manifest_row *first = &m->rows[order[k]], *second = &m->rows[order[i]];
            if (strcasecmp(first->kind, second->kind) != 0 || strcmp(first->frames, second->frames) != 0 ||
                strcasecmp(first->kind, "eds-map") == 0)
                continue;
            mro_manifest_fault(m, second->row, "'%s' is the file of row %zu already", second->file, first->row);
            break;
        }
    free(order);
}

static bool add_unit(struct batch *b, size_t row, const struct batch_kind *kind)
{
    struct batch_unit *u = kind->maps ? group_of(b, &b->manifest.rows[row]) : NULL;
    if (u == NULL) {
        u = &b->units[b->n++];
        *u = (struct batch_unit){ .kind = kind };
    } else {
        check_group(b, u, &b->manifest.rows[row]);
    }
    size_t *rows = realloc(u->rows, (u->n + 1) * sizeof *rows);
    if (rows) u->rows = rows;
    char(*sums)[65] = rows ? realloc(u->sha256, (u->n + 1) * sizeof *sums) : NULL;
    if (sums == NULL) return false;
    u->sha256 = sums;
    u->sha256[u->n][0] = '\0';
    u->rows[u->n++] = row;
    return true;
}

static int out_of_memory(void)
{
    fputs("mroscope: no memory left for the session\n", stderr);
    return 1;
}

/* The verb of each unit takes its options: each set of them is tried once. */
static int check_options(struct batch *b)
{
    char *last = NULL;
    int rc = -1;
    for (size_t i = 0; i < b->n && rc < 0; i++) {
        const struct batch_unit *u = &b->units[i];
        char *text = batch_options_text(b, u);
        if (text && (last == NULL || strcmp(text, last) != 0)) {
            struct cli_run *run;
            rc = batch_open(b, u, 0, 0, false, &run);
            if (rc < 0 && run->args.n > (u->kind->maps ? 0 : 1))
                rc = cli_wrong_usage("batch", "`%s` takes options only, not the file '%s'", u->kind->verb->name,
                                     run->args.files[0]);
            if (rc < 0 && !u->kind->maps && strstr(text, "--map"))
                rc = cli_wrong_usage("batch", "`%s`: `map` is of the field of one image and cannot be given for all",
                                     u->kind->verb->name);
            if (rc < 0 && (run->common.json || run->common.quiet))
                rc = cli_wrong_usage("batch", "`json` and `quiet` are options of 'batch' itself, not of `%s`",
                                     u->kind->verb->name);
            if (rc < 0 && run->common.checksum)
                rc = cli_wrong_usage("batch", "`checksum` is not for `%s`: sessions go by the sums of whole files",
                                     u->kind->verb->name);
            cli_verb_close(run);
            if (rc == 0) rc = 2; /* it has printed its help */
        }
        free(last);
        last = text;
    }
    free(last);
    return rc < 0 ? 0 : rc;
}

static void warn_unknown(const struct batch *b)
{
    const struct mro_manifest *m = &b->manifest;
    size_t known = 0;
    while (mro_manifest_columns[known]) known++;
    for (size_t i = 0; i < m->n_unknown && !b->o.common.quiet; i++) {
        const char *near = cli_nearest(m->unknown[i], mro_manifest_columns, known);
        cli_put(stderr, "mroscope: warning: '%s': the column '%s' is not known and is left out%s%s%s\n",
                b->manifest_path, m->unknown[i], near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
}

/* Says which units are to be measured here. */
static int share_out(struct batch *b)
{
    const struct mro_manifest *m = &b->manifest;
    for (size_t i = 0; i < b->o.rows.n; i++)
        for (size_t row = b->o.rows.range[i][0]; row <= b->o.rows.range[i][1]; row++) {
            size_t k = 0;
            while (k < m->n && m->rows[k].row != row) k++;
            if (k == m->n)
                return cli_wrong_usage("batch", "`rows`: '%s' has no row %zu (its header is row 1)", b->manifest_path,
                                       row);
        }
    for (size_t i = 0; i < b->n; i++) {
        struct batch_unit *u = &b->units[i];
        bool named = false;
        for (size_t k = 0; k < u->n; k++) named |= cli_frames_has(&b->o.rows, m->rows[u->rows[k]].row);
        u->mine = named && !b->o.asked && i % b->o.shards == b->o.shard;
    }
    return 0;
}

int batch_plan(struct batch *b)
{
    struct mro_manifest *m = &b->manifest;
    warn_unknown(b);
    b->units = calloc(m->n, sizeof *b->units);
    if (b->units == NULL) return out_of_memory();
    for (size_t i = 0; i < m->n; i++) {
        const struct batch_kind *kind = kind_of(b, &m->rows[i]);
        if (kind == NULL) continue;
        check_row(b, &m->rows[i], kind);
        if (!add_unit(b, i, kind)) return out_of_memory();
    }
    check_duplicates(b);
    for (size_t i = 0; i < m->n_faults; i++) cli_put(stderr, "mroscope: '%s': %s\n", b->manifest_path, m->faults[i]);
    if (m->n_faults) {
        cli_put(stderr, "mroscope: '%s' has %zu fault%s: nothing was measured\n", b->manifest_path, m->n_faults,
                m->n_faults == 1 ? "" : "s");
        return 1;
    }
    const int rc = share_out(b);
    return rc ? rc : check_options(b);
}

void batch_units_release(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        free(b->units[i].rows);
        free(b->units[i].sha256);
        free(b->units[i].error);
        json_decref(b->units[i].record);
    }
    free(b->units);
    b->units = NULL;
    b->n = 0;
}

/* -- the command line of a unit ------------------------------------------------------------------------ */

struct words {
    char **v;
    int n, room;
    bool failed;
};

__attribute__((format(printf, 2, 3))) static void add_word(struct words *w, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    if (w->n + 2 > w->room) {
        char **grown = realloc(w->v, (size_t)(2 * w->room + 32) * sizeof *grown);
        if (grown == NULL) {
            w->failed = true;
            return;
        }
        w->v = grown;
        w->room = 2 * w->room + 32;
    }
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) text = NULL;
    va_end(args);
    w->failed |= text == NULL;
    w->v[w->n] = text;
    w->n += text != NULL;
    w->v[w->n] = NULL;
}

static void release_words(struct words *w)
{
    for (int i = 0; i < w->n; i++) free(w->v[i]);
    free(w->v);
}

static void add_number(struct words *w, const struct cli_verb *v, const char *name, double value)
{
    if (!isnan(value) && option_of(v, name)) add_word(w, "--%s=%.15g", name, value);
}

/* Options in rising precedence: of the whole session, of the verb, of the row. False when the text of --VERB is
 * broken. */
static bool add_options(const struct batch *b, const struct batch_unit *u, struct words *w)
{
    const struct cli_verb *verbs[BATCH_VERBS], *v = u->kind->verb;
    const struct mro_manifest_row *r = &b->manifest.rows[u->rows[0]];
    size_t n = batch_verbs(verbs), k = 0;
    while (k < n && verbs[k] != v) k++;
    add_number(w, v, "kv", b->o.kv);
    add_number(w, v, "cs", b->o.cs_mm);
    if (v->common & CLI_GROUP_OUTPUT) add_word(w, "--figure-width=%.15g", b->o.common.figure_mm);
    const char *text = k < n ? b->o.verb_options[k] : NULL;
    if (text && *text) {
        const char **split = NULL;
        int count = 0;
        if (poptParseArgvString(text, &count, &split) != 0) return false;
        for (int i = 0; i < count; i++) add_word(w, "%s", split[i]);
        free(split);
    }
    add_number(w, v, "kv", r->kv);
    add_number(w, v, "cs", r->cs_mm);
    for (size_t i = 0; u->kind->maps && i < u->n; i++) {
        const struct mro_manifest_row *m = &b->manifest.rows[u->rows[i]];
        if (strcasecmp(m->element, "haadf") == 0)
            add_word(w, "--haadf=%s", m->path);
        else if (strcasecmp(m->element, "mro") == 0)
            add_word(w, "--mro=%s", m->path);
        else
            add_word(w, "--map=%s=%s", m->element, m->path);
    }
    return true;
}

char *batch_options_text(const struct batch *b, const struct batch_unit *u)
{
    struct words w = { 0 };
    char *text = NULL;
    size_t size;
    add_word(&w, "%s", u->kind->verb->name);
    add_options(b, u, &w);
    FILE *out = w.failed ? NULL : open_memstream(&text, &size);
    for (int i = 0; out && i < w.n; i++) fprintf(out, "%s\n", w.v[i]);
    if (out && fclose(out) != 0) {
        free(text);
        text = NULL;
    }
    release_words(&w);
    return text;
}

int batch_open(const struct batch *b, const struct batch_unit *u, size_t memory, int threads, bool measures,
               struct cli_run **run)
{
    const struct cli_verb *v = u->kind->verb;
    struct words w = { 0 };
    int rc = 1;
    *run = NULL;
    add_word(&w, "%s", v->name);
    if (!add_options(b, u, &w)) {
        rc = cli_wrong_usage("batch", "`%s` has a quote that is not closed", v->name);
        goto done;
    }
    /* The last of a repeated option counts, so these are not for --VERB to change. */
    const bool runs = (v->common & CLI_GROUP_RUN) != 0;
    if (threads && (runs || option_of(v, "threads"))) add_word(&w, "--threads=%d", threads);
    if (memory && (runs || option_of(v, "memory"))) add_word(&w, "--memory=%zu", memory);
    if (b->o.common.device && runs) add_word(&w, "--device=%s", b->o.common.device);
    add_word(&w, "--output=results"); /* its place is told with the row */
    if (!u->kind->maps) add_word(&w, "%s", b->manifest.rows[u->rows[0]].path);
    if (w.failed)
        out_of_memory();
    else
        rc = cli_verb_open(v, w.n, w.v, NULL, measures, run);
done:
    release_words(&w);
    return rc;
}

bool batch_row(const struct batch *b, const struct batch_unit *u, const char *out, struct cli_run *run)
{
    const struct mro_manifest_row *r = &b->manifest.rows[u->rows[0]];
    char *path = u->kind->maps ? NULL : strdup(r->path);
    if (path) {
        free(run->args.files[0]);
        run->args.files[0] = path;
    }
    if (r->pixel_nm[0] > 0) {
        memcpy(run->common.pixel_nm, r->pixel_nm, sizeof r->pixel_nm);
        run->common.pixel_manifest = true;
    }
    if (r->frames[0]) cli_frames_parse(r->frames, &run->common.frames);
    if (out) run->common.out = out;
    return path || u->kind->maps;
}

/* -- keys ---------------------------------------------------------------------------------------------- */

/* Is this a file of the unit itself, whose checksum is known? */
static bool is_own(const struct batch *b, const struct batch_unit *u, const char *path)
{
    for (size_t i = 0; i < u->n; i++)
        if (strcmp(b->manifest.rows[u->rows[i]].path, path) == 0) return true;
    return false;
}

/* Checksums of the files that options name, such as the reference of a hardness map: { "reference": "..." }. One that
 * cannot be read has none, and its verb says why. */
static json_t *option_files(const struct batch *b, const struct batch_unit *u, const struct cli_usage *usage)
{
    json_t *all = json_object();
    for (size_t i = 0; i < usage->n_groups; i++)
        for (size_t k = 0; k < usage->groups[i].n; k++) {
            const struct cli_option *o = &usage->groups[i].rows[k];
            if (!o->numbers || o->kind != CLI_STRING || (strcmp(o->arg, "FILE") != 0 && strcmp(o->arg, "MASK") != 0))
                continue;
            const char *path = *(const char *const *)((const char *)usage->groups[i].base + o->offset);
            char hex[65];
            if (path && !is_own(b, u, path) && mro_sha256_file(path, hex, NULL, NULL) == MRO_OK)
                json_object_set_new(all, o->name, json_string(hex));
        }
    return all;
}

/* Finds key and name of a unit whose checksums are known. `run` is its verb, opened. */
static enum mro_code find_key(const struct batch *b, struct batch_unit *u, const struct cli_run *run,
                              struct mro_error *e)
{
    const struct mro_manifest_row *r = &b->manifest.rows[u->rows[0]];
    json_t *sums = json_array(), *seed = run->seed ? json_integer((json_int_t)*run->seed) : json_null();
    for (size_t i = 0; i < u->n; i++) json_array_append_new(sums, json_string(u->sha256[i]));
    json_t *frames = json_array(); /* the list itself: "0-2" and "0,1,2" are told apart, which costs a run at most */
    for (size_t i = 0; i < run->common.frames.n; i++)
        json_array_append_new(frames, json_pack("[I,I]", (json_int_t)run->common.frames.range[i][0],
                                                (json_int_t)run->common.frames.range[i][1]));
    json_t *v =
        json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o}", "program", mro_version(), "commit", mro_commit(), "verb",
                  run->verb->name, "algorithm", run->verb->algorithm, "inputs", sums, "seed", seed, "frames", frames,
                  "files", option_files(b, u, &run->usage), "options", cli_options_json(&run->usage));
    char *text = v ? json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(v);
    if (text == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its key", r->file);
    const enum mro_code rc = mro_sha256(text, strlen(text), u->key, e);
    free(text);
    if (rc == MRO_OK) mro_store_name(r->path, u->key, u->name);
    return rc;
}

char *batch_hash_name(const struct batch *b, const struct mro_manifest_row *r)
{
    char *name = NULL;
    const int n = r->path[0] == '/' ? asprintf(&name, "%s", r->path) : asprintf(&name, "%s/%s", b->folder, r->path);
    return n < 0 ? NULL : name;
}

enum mro_code batch_look(struct batch *b, struct batch_unit *u, bool hash, struct mro_error *e)
{
    char why[512];
    for (size_t i = 0; i < u->n; i++) {
        const struct mro_manifest_row *r = &b->manifest.rows[u->rows[i]];
        char *name = u->sha256[i][0] ? NULL : batch_hash_name(b, r);
        if (name && !mro_hashes_find(&b->hashes, name, r, u->sha256[i]) && hash &&
            mro_sha256_file(r->path, u->sha256[i], NULL, NULL) != MRO_OK)
            u->sha256[i][0] = '\0'; /* it will fail when it is measured, with its sentence */
        free(name);
        if (u->sha256[i][0] == '\0') return MRO_OK;
    }
    if (u->key[0] == '\0') {
        struct cli_run *run;
        const int opened = batch_open(b, u, 0, 0, false, &run);
        const enum mro_code rc =
            opened < 0 && batch_row(b, u, NULL, run)
                ? find_key(b, u, run, e)
                : MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its key", b->manifest.rows[u->rows[0]].file);
        cli_verb_close(run);
        MRO_TRY(rc);
    }
    if (b->store.folder == NULL) return MRO_OK;
    json_t *record;
    switch (mro_store_check(&b->store, u->name, u->key, b->o.verify, &record, why, sizeof why)) {
    case MRO_ITEM_DONE:
        json_decref(u->record);
        u->record = record;
        u->status = BATCH_DONE;
        break;
    case MRO_ITEM_FAILED:
        free(u->error);
        u->error = strdup(why);
        u->status = BATCH_FAILED;
        break;
    case MRO_ITEM_DAMAGED:
        free(u->error);
        u->error = strdup(why);
        u->damaged = true;
        break;
    case MRO_ITEM_NONE: break;
    }
    return MRO_OK;
}

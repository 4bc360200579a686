/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/session.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/notes.h"
#include "io/reader.h"
#include "io/text.h"

#define MAX_BYTES ((size_t)1 << 30) /* of one file of JSON */

/* A file of JSON. `called` is what messages call it. */
static enum mro_code read_json(const char *path, const char *called, json_t **v, struct mro_error *e)
{
    struct mro_bytes b;
    json_error_t problem;
    *v = NULL;
    MRO_TRY(mro_bytes_map(&b, path, e));
    enum mro_code rc = MRO_OK;
    if (b.size > MAX_BYTES)
        rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' has %zu bytes: too large for a result", called, b.size);
    else if (b.size == 0)
        rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' is empty", called);
    if (rc == MRO_OK) {
        *v = json_loadb((const char *)b.p, b.size, 0, &problem);
        if (*v == NULL && json_error_code(&problem) == json_error_out_of_memory)
            rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", called);
        else if (*v == NULL)
            rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' is damaged: line %d, column %d: %s", called, problem.line,
                          problem.column, problem.text);
    }
    mro_bytes_unmap(&b);
    return rc;
}

static char *join(const char *folder, const char *name)
{
    const size_t n = strlen(folder), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (path) {
        memcpy(path, folder, n);
        path[n] = '/';
        memcpy(path + n + 1, name, m + 1);
    }
    return path;
}

static bool climbs(const char *name)
{
    for (const char *p = name; *p;) {
        const size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') return true;
        p += n + (p[n] == '/');
    }
    return false;
}

enum mro_code mro_session_path(const struct mro_session *s, const char *name, char **path, struct mro_error *e)
{
    *path = NULL;
    if (name[0] == '\0' || name[0] == '/' || climbs(name))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': the index names a file outside of the folder of results: '%s'",
                        s->folder, name);
    char *joined = join(s->folder, name), *root = NULL, *real = NULL;
    enum mro_code rc = MRO_OK;
    if (joined == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its name", name);
        goto done;
    }
    root = realpath(s->folder, NULL);
    real = root ? realpath(joined, NULL) : NULL;
    if (real == NULL) {
        rc = MRO_FAIL(e, MRO_EIO, "'%s': %s", joined, strerror(errno));
        goto done;
    }
    const size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(real, root, n) != 0 || real[n] != '/') {
        rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' is a link to a file outside of the folder of results", joined);
        goto done;
    }
    *path = joined;
    joined = NULL;
done:
    free(joined);
    free(root);
    free(real);
    return rc;
}

/* -- the index ---------------------------------------------------------------------------------- */

static const char *text_of(const json_t *row, const char *key)
{
    const char *v = json_string_value(json_object_get(row, key));
    return v ? v : "";
}

/* A number, or the text of one, as a table gives it. */
static double number_of(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    if (json_is_number(v)) return json_number_value(v);
    if (json_is_string(v)) return mro_parse_number(json_string_value(v), json_string_length(v));
    return NAN;
}

/* Fills a row; false when the index has no row there. */
static bool take_row(struct mro_session *s, const json_t *v, size_t i, const char ***names, struct mro_session_row *r)
{
    static const char *const words[] = { "done", "failed", "pending" };
    const char *status = text_of(v, "status");
    const json_t *number = json_object_get(v, "row"), *results = json_object_get(v, "results"), *name;
    size_t k = 0, at;
    while (k < 3 && strcmp(status, words[k]) != 0) k++;
    if (!json_is_object(v) || k == 3 || (results && !json_is_null(results) && !json_is_array(results))) {
        mro_note(&s->warnings, &s->n_warnings, "index.json: entry %zu is no row of a batch and is left out", i);
        return false;
    }
    *r = (struct mro_session_row){ .row = json_is_integer(number) && json_integer_value(number) >= 0
                                              ? (size_t)json_integer_value(number)
                                              : i + 1,
                                   .file = text_of(v, "file"),
                                   .state = text_of(v, "state"),
                                   .kind = text_of(v, "kind"),
                                   .specimen = text_of(v, "specimen"),
                                   .group = text_of(v, "group"),
                                   .element = text_of(v, "element"),
                                   .value = text_of(v, "value"),
                                   .strain = number_of(v, "strain"),
                                   .thickness_nm = number_of(v, "thickness_nm"),
                                   .status = (enum mro_row_status)k,
                                   .error = text_of(v, "error"),
                                   .key = text_of(v, "key"),
                                   .verb = text_of(v, "verb"),
                                   .item = text_of(v, "item"),
                                   .results = *names };
    json_array_foreach(results, at, name)
    {
        if (!json_is_string(name)) continue;
        *(*names)++ = json_string_value(name);
        r->n_results++;
    }
    return true;
}

struct by_item {
    const char *item;
    size_t row;
};

static int compare_items(const void *a, const void *b)
{
    const struct by_item *x = a, *y = b;
    const int order = strcmp(x->item, y->item);
    return order ? order : x->row < y->row ? -1 : x->row > y->row;
}

static enum mro_code find_first_of_items(struct mro_session *s, struct mro_error *e)
{
    struct by_item *list = malloc((s->n_rows ? s->n_rows : 1) * sizeof *list);
    if (list == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': the index does not fit in memory", s->folder);
    for (size_t i = 0; i < s->n_rows; i++) list[i] = (struct by_item){ s->rows[i].item, i };
    qsort(list, s->n_rows, sizeof *list, compare_items);
    for (size_t i = 0; i < s->n_rows; i++) {
        const bool shared = i && list[i].item[0] && strcmp(list[i].item, list[i - 1].item) == 0;
        s->rows[list[i].row].first_of_item = shared ? s->rows[list[i - 1].row].first_of_item : list[i].row;
    }
    free(list);
    return MRO_OK;
}

static enum mro_code take_index(struct mro_session *s, struct mro_error *e)
{
    const char *schema = text_of(s->index, "schema");
    const json_t *rows = json_object_get(s->index, "rows"), *v;
    size_t i, n_names = 0;
    if (strcmp(schema, "mroscope.batch/1") != 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s/index.json' is no index of a batch: its schema is '%s'", s->folder,
                        schema);
    if (!json_is_array(rows))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s/index.json' is damaged: it has no list of rows", s->folder);
    s->manifest = text_of(s->index, "manifest");
    s->value_name = text_of(s->index, "value_name");
    s->value_unit = text_of(s->index, "value_unit");
    json_array_foreach(rows, i, v) n_names += json_array_size(json_object_get(v, "results"));
    s->rows = calloc(json_array_size(rows) + 1, sizeof *s->rows);
    s->names = calloc(n_names + 1, sizeof *s->names);
    if (s->rows == NULL || s->names == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': the index does not fit in memory", s->folder);
    const char **names = s->names;
    json_array_foreach(rows, i, v)
    {
        if (take_row(s, v, i, &names, &s->rows[s->n_rows])) s->n_rows++;
    }
    return find_first_of_items(s, e);
}

enum mro_code mro_session_open(struct mro_session *s, const char *folder, struct mro_error *e)
{
    struct stat st;
    *s = (struct mro_session){ .manifest = "" };
    if (stat(folder, &st) != 0) return MRO_FAIL(e, MRO_EIO, "cannot open '%s': %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return MRO_FAIL(e, MRO_EFORMAT, "'%s' is no folder of results", folder);
    char *path = join(folder, "index.json");
    s->folder = strdup(folder);
    enum mro_code rc = MRO_OK;
    if (path == NULL || s->folder == NULL)
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its name", folder);
    else if (stat(path, &st) != 0 && errno == ENOENT)
        rc =
            MRO_FAIL(e, MRO_EIO, "'%s' has no index.json: it is not the folder of results of `mroscope batch`", folder);
    if (rc == MRO_OK) rc = read_json(path, path, &s->index, e);
    if (rc == MRO_OK) rc = take_index(s, e);
    free(path);
    if (rc) mro_session_release(s);
    return rc;
}

void mro_session_release(struct mro_session *s)
{
    if (s == NULL) return;
    mro_notes_release(&s->warnings, &s->n_warnings);
    free(s->rows);
    free(s->names);
    free(s->folder);
    json_decref(s->index);
    *s = (struct mro_session){ .manifest = "" };
}

/* -- results ------------------------------------------------------------------------------------ */

/* Does the name say that this is one frame of several ("stem.f0007.mro.json")? Only saves reading: the file decides. */
static bool names_a_frame(const char *name)
{
    const char *slash = strrchr(name, '/');
    for (const char *p = slash ? slash : name; (p = strstr(p, ".f")) != NULL; p += 2) {
        size_t n = 0;
        while (isdigit((unsigned char)p[2 + n])) n++;
        if (n >= 4 && p[2 + n] == '.') return true;
    }
    return false;
}

static enum mro_code load(const struct mro_session *s, const struct mro_session_row *r, const char *name,
                          json_t **result, struct mro_error *e)
{
    char *path, schema[64];
    *result = NULL;
    MRO_TRY(mro_session_path(s, name, &path, e));
    enum mro_code rc = read_json(path, path, result, e);
    if (rc == MRO_OK) {
        snprintf(schema, sizeof schema, "mroscope.%s/1", r->verb);
        if (strcmp(text_of(*result, "schema"), schema) != 0)
            rc = MRO_FAIL(e, MRO_EFORMAT, "'%s' is no result of %s: its schema is '%s'", path, r->verb,
                          text_of(*result, "schema"));
    }
    if (rc) {
        json_decref(*result);
        *result = NULL;
    }
    free(path);
    return rc;
}

enum mro_code mro_session_load(const struct mro_session *s, size_t row, size_t i, json_t **result, struct mro_error *e)
{
    return load(s, &s->rows[row], s->rows[row].results[i], result, e);
}

enum mro_code mro_session_result(const struct mro_session *s, size_t row, json_t **result, const char **name,
                                 struct mro_error *e)
{
    const struct mro_session_row *r = &s->rows[row];
    *result = NULL;
    if (name) *name = NULL;
    if (r->status == MRO_ROW_FAILED)
        return MRO_FAIL(e, MRO_EDATA, "row %zu, '%s', has no result: %s", r->row, r->file,
                        r->error[0] ? r->error : "its measurement failed");
    if (r->status == MRO_ROW_PENDING)
        return MRO_FAIL(e, MRO_EDATA, "row %zu, '%s', is not measured yet", r->row, r->file);
    if (r->n_results == 0) return MRO_FAIL(e, MRO_EDATA, "row %zu, '%s', has no result", r->row, r->file);
    size_t together = SIZE_MAX;
    for (int frames = 0; frames < 2 && *result == NULL; frames++)
        for (size_t i = 0; i < r->n_results; i++) {
            json_t *v;
            if (names_a_frame(r->results[i]) != (frames == 1)) continue;
            MRO_TRY(load(s, r, r->results[i], &v, e));
            if (r->n_results > 1 && !json_is_null(json_object_get(v, "frame"))) {
                json_decref(v);
                continue;
            }
            if (*result) { /* several images in one file, each with its own */
                json_decref(v);
                json_decref(*result);
                *result = NULL;
                return MRO_FAIL(e, MRO_EDATA,
                                "row %zu, '%s', holds several images, and none of its %zu results stands for all",
                                r->row, r->file, r->n_results);
            }
            *result = v;
            together = i;
            if (frames == 1) break;
        }
    if (*result == NULL)
        return MRO_FAIL(e, MRO_EDATA, "row %zu, '%s', has %zu results and none of all frames together", r->row, r->file,
                        r->n_results);
    if (name) *name = r->results[together];
    return MRO_OK;
}

const json_t *mro_session_deepest(const json_t *bands)
{
    const json_t *deepest = NULL, *band;
    double most = -1;
    size_t i;
    json_array_foreach(bands, i, band)
    {
        const json_t *depth = json_object_get(band, "depth");
        if (!json_is_number(depth) || !json_is_number(json_object_get(band, "width_nm"))) continue;
        if (fabs(json_number_value(depth)) <= most) continue;
        most = fabs(json_number_value(depth));
        deepest = band;
    }
    return deepest;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/page.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/notes.h"
#include "core/provenance.h"
#include "io/json_text.h"
#include "io/text.h"
#include "io/write.h"
#include "report/compare_text.h"
#include "report/page_text.h"
#include "report/raster.h"

#define LEAST_ROOM 6000 /* bytes for one result; with less there is nothing to see */

static bool put(json_t *o, const char *key, json_t *v) { return json_object_set_new(o, key, v) == 0; }
static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }
static json_t *count(size_t v) { return json_integer((json_int_t)v); }

/* -- names ------------------------------------------------------------------------------------------------ */

static const char *base_of(const char *path)
{
    const char *name = path;
    for (const char *p = path; *p; p++)
        if ((*p == '/' || *p == '\\') && p[1]) name = p + 1;
    return name;
}

/* Path from one folder to a file, both real, for a link: "./" or "../" first, and no character that means anything in
 * an address. NULL when out of memory. */
static char *relative(const char *folder, const char *file)
{
    size_t same = 0, i = 0;
    while (folder[i] && folder[i] == file[i]) {
        i++;
        if (file[i] == '/' && (folder[i] == '/' || folder[i] == '\0')) same = i + 1;
    }
    struct mro_sink out = { 0 };
    size_t up = 0;
    if (folder[same > 0 ? same - 1 : 0] != '\0')
        for (const char *p = folder + (same > 0 ? same - 1 : 0); *p; p++) up += *p == '/' && p[1];
    if (up == 0) mro_sink_text(&out, "./");
    for (; up > 0; up--) mro_sink_text(&out, "../");
    for (const char *p = file + same; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        const bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("/-_.~", c));
        if (plain)
            mro_sink_put(&out, p, 1);
        else
            mro_sink_text(&out, "%%%02X", c);
    }
    mro_sink_put(&out, "", 1);
    if (out.failed) {
        free(out.p);
        return NULL;
    }
    return out.p;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The files beside a result that have its stem: [{label, href}]. */
static json_t *files_of(const char *folder, const char *path)
{
    json_t *list = json_array();
    char *real = realpath(path, NULL), **name = NULL;
    size_t n = 0;
    char *slash = real ? strrchr(real, '/') : NULL;
    const size_t stem = slash && strlen(slash + 1) > 4 ? strlen(slash + 1) - 4 : 0; /* "json" goes, the dot stays */
    DIR *d = NULL;
    if (list && stem) {
        *slash = '\0';
        d = opendir(real[0] ? real : "/");
        *slash = '/';
    }
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL && n < 100;) {
        if (strncmp(entry->d_name, slash + 1, stem) != 0) continue;
        char **grown = realloc(name, (n + 1) * sizeof *name), *copy = strdup(entry->d_name);
        if (grown) name = grown;
        if (grown == NULL || copy == NULL) {
            free(copy);
            break;
        }
        name[n++] = copy;
    }
    if (d) closedir(d);
    if (n) qsort(name, n, sizeof *name, by_name);
    for (size_t i = 0; i < n; i++) {
        const size_t room = strlen(real) + strlen(name[i]) + 2;
        char *file = malloc(room), *href = NULL;
        if (file) {
            snprintf(file, room, "%.*s/%s", (int)(slash - real), real, name[i]);
            href = relative(folder, file);
        }
        if (href)
            json_array_append_new(list, json_pack("{so?ss}", "label", mro_json_plain(name[i] + stem), "href", href));
        free(href);
        free(file);
        free(name[i]);
    }
    free(name);
    free(real);
    return list;
}

/* -- gathering -------------------------------------------------------------------------------------------- */

struct result {
    size_t row, index; /* of the session, and of the row's results */
    bool chief;
    json_t *json;
    char *path;
    struct mro_page_item item;
};

struct gathered {
    struct result *v;
    size_t n;
};

static void gathered_release(struct gathered *g)
{
    for (size_t i = 0; i < g->n; i++) {
        json_decref(g->v[i].json);
        json_decref(g->v[i].item.summary);
        free(g->v[i].item.blob.p);
        free(g->v[i].path);
    }
    free(g->v);
    *g = (struct gathered){ 0 };
}

static enum mro_code gather(const struct mro_session *s, struct gathered *g, struct mro_page_made *made,
                            struct mro_error *e)
{
    size_t most = 0;
    for (size_t i = 0; i < s->n_rows; i++) most += s->rows[i].n_results;
    if ((g->v = calloc(most + 1, sizeof *g->v)) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': %zu results do not fit in memory", s->folder, most);
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct mro_session_row *r = &s->rows[i];
        made->failed += r->status == MRO_ROW_FAILED;
        made->pending += r->status == MRO_ROW_PENDING;
        if (r->status != MRO_ROW_DONE || r->first_of_item != i) continue;
        if (r->n_results == 0)
            mro_note(&made->problems, &made->n_problems, "row %zu, '%s', is done and names no result", r->row, r->file);
        const size_t first = g->n;
        bool together = false;
        for (size_t k = 0; k < r->n_results; k++) {
            struct result *one = &g->v[g->n];
            struct mro_error why = { 0 };
            enum mro_code rc = mro_session_load(s, i, k, &one->json, &why);
            if (rc == MRO_OK && !json_is_object(one->json))
                rc = MRO_FAIL(&why, MRO_EFORMAT, "'%s' is no result", r->results[k]);
            if (rc == MRO_OK) rc = mro_session_path(s, r->results[k], &one->path, &why);
            if (rc == MRO_EMEMORY) {
                if (e) *e = why;
                return rc;
            }
            if (rc) {
                mro_note(&made->problems, &made->n_problems, "row %zu, '%s', is left out: %s", r->row, r->file,
                         why.message);
                json_decref(one->json);
                *one = (struct result){ 0 };
                continue;
            }
            one->row = i;
            one->index = k;
            one->chief = json_is_null(json_object_get(one->json, "frame"));
            together = together || one->chief;
            g->n++;
        }
        for (size_t k = first; k < g->n && !together; k++) g->v[k].chief = true;
        made->results += g->n > first;
    }
    return MRO_OK;
}

/* What a result is called: its file, with image and frame where there are several. */
static json_t *name_of(const struct mro_session *s, const struct gathered *g, size_t i)
{
    const struct result *one = &g->v[i];
    const char *file = s->rows[one->row].file;
    bool twice = false;
    for (size_t k = 0; k < s->n_rows && !twice; k++)
        twice = s->rows[k].first_of_item == k && k != one->row && strcmp(base_of(s->rows[k].file), base_of(file)) == 0;
    char also[64] = "";
    if (s->rows[one->row].n_results > 1) {
        const json_t *image = json_object_get(one->json, "image"), *frame = json_object_get(one->json, "frame");
        if (json_integer_value(image) > 0)
            snprintf(also, sizeof also, ", image %lld", (long long)json_integer_value(image));
        const size_t n = strlen(also);
        if (json_is_integer(frame))
            snprintf(also + n, sizeof also - n, ", frame %lld", (long long)json_integer_value(frame));
    }
    return json_sprintf("%s%s", twice ? file : base_of(file), also);
}

static json_t *summary_of(const struct mro_session *s, const struct gathered *g, size_t i, const char *folder)
{
    const struct result *one = &g->v[i];
    json_t *frames = json_array();
    if (one->chief)
        for (size_t k = 0; k < g->n; k++)
            if (g->v[k].row == one->row && !g->v[k].chief &&
                json_equal(json_object_get(g->v[k].json, "image"), json_object_get(one->json, "image")))
                json_array_append_new(frames, count(k));
    return json_pack("{sIso?sssbso?so?sO}", "row", (json_int_t)one->row, "name", name_of(s, g, i), "verb",
                     s->rows[one->row].verb, "chief", one->chief, "frames", frames, "files",
                     files_of(folder, one->path), "result", one->json);
}

static json_t *row_json(const struct mro_session_row *r)
{
    static const char *const status[] = { "done", "failed", "pending" };
    return json_pack("{sIssssssssssssso?so?so?ssssss}", "row", (json_int_t)r->row, "file", r->file, "state", r->state,
                     "kind", r->kind, "specimen", r->specimen, "group", r->group, "element", r->element, "strain",
                     number(r->strain), "value", number(mro_parse_number(r->value, strlen(r->value))), "thickness_nm",
                     number(r->thickness_nm), "status", status[r->status], "error", r->error, "verb", r->verb);
}

static json_t *colours(void)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < mro_map_score.n; i++) {
        const struct mro_colour c = mro_map_score.point[i];
        json_array_append_new(list, json_pack("[iii]", c.r, c.g, c.b));
    }
    return list;
}

/* The tables of the whole session, where they are: [{label, href}]. */
static json_t *tables_of(const char *folder, const char *results)
{
    static const char *const name[] = { "summary.csv", "index.json" };
    json_t *list = json_array();
    for (size_t i = 0; list && i < sizeof name / sizeof *name; i++) {
        const size_t room = strlen(results) + strlen(name[i]) + 2;
        char *file = malloc(room), *href = NULL;
        if (file) snprintf(file, room, "%s/%s", results, name[i]);
        if (file && access(file, F_OK) == 0) href = relative(folder, file);
        if (href) json_array_append_new(list, json_pack("{ssss}", "label", name[i], "href", href));
        free(href);
        free(file);
    }
    return list;
}

/* Everything that is read at once. NULL when out of memory. */
static json_t *page_data(const char *folder, const struct mro_session *s, const struct mro_page_options *o,
                         struct gathered *g, const struct mro_page_made *made)
{
    json_t *rows = json_array(), *items = json_array(), *problems = json_array();
    for (size_t i = 0; rows && i < s->n_rows; i++) json_array_append_new(rows, row_json(&s->rows[i]));
    for (size_t i = 0; items && i < g->n; i++) {
        put(g->v[i].item.summary, "blob", json_boolean(g->v[i].item.blob.n > 0));
        json_array_append(items, g->v[i].item.summary);
    }
    for (size_t i = 0; problems && i < s->n_warnings; i++)
        json_array_append_new(problems, mro_json_plain(s->warnings[i]));
    for (size_t i = 0; problems && i < made->n_problems; i++)
        json_array_append_new(problems, mro_json_plain(made->problems[i]));
    char *real = realpath(s->folder, NULL);
    const char *title = o->title && o->title[0] ? o->title : real ? base_of(real) : s->folder;
    json_t *v =
        json_pack("{sss{ssssss}so?so?so?so?so?so?so?soso?so?so?sO}", "schema", "mroscope.report/1", "program", "name",
                  "mroscope", "version", mro_version(), "commit", mro_commit(), "title", mro_json_plain(title),
                  "results", mro_json_plain(s->folder), "manifest", mro_json_plain(s->manifest), "value_name",
                  mro_json_plain(s->value_name[0] ? s->value_name : "value"), "value_unit",
                  mro_json_plain(s->value_unit), "tables", real ? tables_of(folder, real) : json_array(), "colours",
                  colours(), "names", mro_compare_names(), "rows", rows, "items", items, "problems", problems,
                  "compare", o->compare ? (json_t *)(uintptr_t)o->compare : json_null());
    free(real);
    return v && json_array_size(json_object_get(v, "rows")) == s->n_rows &&
                   json_array_size(json_object_get(v, "items")) == g->n
               ? v
               : (json_decref(v), NULL);
}

/* -- the file ------------------------------------------------------------------------------------------------ */

/* 'sha256-...' of a text, as a page's policy names it. */
static void put_hash(struct mro_sink *out, const unsigned char *p, size_t n)
{
    unsigned char digest[EVP_MAX_MD_SIZE], code[4 * EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(p, n, digest, &size, EVP_sha256(), NULL) != 1) {
        out->failed = true;
        return;
    }
    EVP_EncodeBlock(code, digest, (int)size);
    mro_sink_text(out, "'sha256-%s'", (const char *)code);
}

static void put_policy(struct mro_sink *out)
{
    mro_sink_text(out, "default-src 'none'; img-src data:; script-src ");
    put_hash(out, mro_page_js, mro_page_js_size);
    mro_sink_text(out, "; style-src ");
    put_hash(out, mro_page_css, mro_page_css_size);
    mro_sink_text(out, "; base-uri 'none'; form-action 'none'");
}

/* The template with its marks filled in. `data` is NULL for measuring it. */
static void put_page(struct mro_sink *out, const json_t *data, const struct gathered *g)
{
    const char *p = (const char *)mro_page_html, *end = p + mro_page_html_size;
    while (p < end) {
        const char *mark = memchr(p, '@', (size_t)(end - p));
        const char *close = mark ? memchr(mark + 1, '@', (size_t)(end - mark - 1)) : NULL;
        if (close == NULL) {
            mro_sink_put(out, p, (size_t)(end - p));
            return;
        }
        mro_sink_put(out, p, (size_t)(mark - p));
        const size_t n = (size_t)(close - mark - 1);
        if (n == 6 && memcmp(mark + 1, "POLICY", n) == 0)
            put_policy(out);
        else if (n == 5 && memcmp(mark + 1, "STYLE", n) == 0)
            mro_sink_put(out, mro_page_css, mro_page_css_size);
        else if (n == 6 && memcmp(mark + 1, "SCRIPT", n) == 0)
            mro_sink_put(out, mro_page_js, mro_page_js_size);
        else if (n == 4 && memcmp(mark + 1, "DATA", n) == 0)
            mro_page_json(out, data);
        else if (n == 5 && memcmp(mark + 1, "BLOBS", n) == 0)
            for (size_t i = 0; i < g->n; i++) {
                if (g->v[i].item.blob.n == 0) continue;
                mro_sink_text(out, "<script type=\"application/json\" id=\"blob-%zu\">", i);
                mro_sink_put(out, g->v[i].item.blob.p, g->v[i].item.blob.n);
                mro_sink_text(out, "</script>\n");
            }
        p = close + 1;
    }
}

enum mro_code mro_page_write(const char *folder, const struct mro_session *s, const struct mro_page_options *o,
                             struct mro_page_made *made, struct mro_error *e)
{
    struct gathered g = { 0 };
    struct mro_sink page = { 0 };
    json_t *data = NULL;
    *made = (struct mro_page_made){ 0 };
    char *real = realpath(folder, NULL);
    const size_t length = strlen(folder) + sizeof "/report.html";
    char *path = malloc(length);
    enum mro_code rc = MRO_OK;
    if (real == NULL || path == NULL) {
        rc = MRO_FAIL(e, MRO_EIO, "'%s': %s", folder, strerror(errno));
        goto done;
    }
    snprintf(path, length, "%s/report.html", folder);
    if ((rc = gather(s, &g, made, e))) goto done;

    const size_t most = o->most_bytes ? o->most_bytes : MRO_PAGE_BYTES;
    /* The page itself, and some 4 kB of numbers a result. */
    const size_t fixed = mro_page_html_size + mro_page_css_size + mro_page_js_size + 400 * s->n_rows + 4000 * g.n;
    const size_t share = g.n && most > fixed ? (most - fixed) / g.n : 0;
    const size_t room = share > LEAST_ROOM ? share : LEAST_ROOM;
    bool failed = false;
#pragma omp parallel for schedule(dynamic) num_threads(o->threads > 0 ? o->threads : omp_get_max_threads())
    for (size_t i = 0; i < g.n; i++) {
        struct mro_error mine;
        g.v[i].item.summary = summary_of(s, &g, i, real);
        if (mro_page_pack(&g.v[i].item, g.v[i].path, g.v[i].json, room, &mine)) {
#pragma omp atomic write
            failed = true;
        }
    }
    data = failed ? NULL : page_data(real, s, o, &g, made);
    if (data) put_page(&page, data, &g);
    if (data == NULL || page.failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", path);
        goto done;
    }
    made->bytes = page.n;
    rc = mro_write_buffer(path, page.p, page.n, e);
done:
    json_decref(data);
    gathered_release(&g);
    free(page.p);
    free(path);
    free(real);
    return rc;
}

void mro_page_made_release(struct mro_page_made *made)
{
    mro_notes_release(&made->problems, &made->n_problems);
    *made = (struct mro_page_made){ 0 };
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a session has: index.json, for programs, and summary.csv, for a spreadsheet. */
#define _GNU_SOURCE /* asprintf */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/batch.h"
#include "io/json_text.h"
#include "io/table.h"
#include "io/write.h"

/* -- the index ---------------------------------------------------------------------------------------- */

static json_t *number_or_null(double v) { return isnan(v) ? json_null() : json_real(v); }

static json_t *text_or_null(const char *s) { return s && *s ? mro_json_plain(s) : json_null(); }

/* A row of the index. NULL when out of memory. */
static json_t *row_json(const struct batch *b, const struct batch_unit *u, size_t row)
{
    const struct mro_manifest_row *r = &b->manifest.rows[row];
    const bool done = u->status == BATCH_DONE && u->record, failed = u->status == BATCH_FAILED;
    json_t *results = json_array(), *entry;
    size_t i;
    json_array_foreach(done ? json_object_get(u->record, "results") : NULL, i, entry)
    {
        char *name = NULL;
        if (asprintf(&name, "items/%s/%s", u->name, json_string_value(json_object_get(entry, "name"))) < 0) name = NULL;
        json_array_append_new(results, name ? mro_json_plain(name) : NULL);
        free(name);
    }
    char item[MRO_ITEM_NAME + 8] = "";
    if (done) snprintf(item, sizeof item, "items/%s", u->name);
    return json_pack(
        "{s:I,s:o,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:s,s:o,s:o,s:o}", "row", (json_int_t)r->row, "file",
        mro_json_plain(r->file), "state", mro_json_plain(r->state), "strain", number_or_null(r->strain), "kind",
        u->kind->name, "specimen", text_or_null(r->specimen), "thickness_nm", number_or_null(r->thickness_nm), "value",
        text_or_null(r->value), "group", text_or_null(r->group), "element", text_or_null(r->element), "key",
        text_or_null(u->key), "verb", u->kind->verb->name, "status",
        done     ? "done"
        : failed ? "failed"
                 : "pending",
        "error", failed ? text_or_null(u->error) : json_null(), "item", text_or_null(item), "results", results);
}

enum mro_code batch_print(const struct batch *b, const struct batch_unit *u, struct mro_error *e)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->units[i].n && (u == NULL || u == &b->units[i]); k++) {
            json_t *v = row_json(b, &b->units[i], b->units[i].rows[k]);
            if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left to print the index");
            MRO_TRY(cli_print(v, e));
        }
    return MRO_OK;
}

/* -- the summary ----------------------------------------------------------------------------------------- */

static void put_number(FILE *out, const json_t *v, const char *after)
{
    char digits[32] = "";
    if (json_is_number(v)) mro_number_text(json_number_value(v), digits);
    fprintf(out, "%s%s", digits, after);
}

static void put_double(FILE *out, double v, const char *after)
{
    json_t *number = number_or_null(v);
    put_number(out, number, after);
    json_decref(number);
}

static char *summary(const struct batch *b)
{
    char *buffer = NULL;
    size_t size, i, k, at;
    const char *name;
    json_t *columns = json_object(), *entry, *v, *all;
    FILE *out = open_memstream(&buffer, &size);
    if (out == NULL || columns == NULL) goto failed;
    for (i = 0; i < b->n; i++) {
        if (b->units[i].status != BATCH_DONE) continue;
        json_array_foreach(json_object_get(b->units[i].record, "results"), k, entry)
        {
            all = json_object_get(entry, "numbers");
            json_object_foreach(all, name, v) { json_object_set_new(columns, name, json_true()); }
        }
    }
    fputs("file,state,strain,value,kind,specimen,thickness_nm,frame", out);
    json_object_foreach(columns, name, v)
    {
        fputc(',', out);
        mro_csv_put(out, name, "");
    }
    fputs("\r\n", out);
    for (i = 0; i < b->n; i++) {
        const struct batch_unit *u = &b->units[i];
        const struct mro_manifest_row *r = &b->manifest.rows[u->rows[0]];
        if (u->status != BATCH_DONE) continue;
        json_array_foreach(json_object_get(u->record, "results"), at, entry)
        {
            mro_csv_put_text(out, r->file, ",");
            mro_csv_put_text(out, r->state, ",");
            put_double(out, r->strain, ",");
            mro_csv_put_text(out, r->value, ",");
            mro_csv_put(out, u->kind->name, ",");
            mro_csv_put_text(out, r->specimen, ",");
            put_double(out, r->thickness_nm, ",");
            put_number(out, json_object_get(entry, "frame"), "");
            json_object_foreach(columns, name, v)
            {
                fputc(',', out);
                put_number(out, json_object_get(json_object_get(entry, "numbers"), name), "");
            }
            fputs("\r\n", out);
        }
    }
    const bool bad = ferror(out) != 0;
    if (fclose(out) == 0 && !bad) {
        json_decref(columns);
        return buffer;
    }
    out = NULL;
failed:
    if (out) fclose(out);
    free(buffer);
    json_decref(columns);
    return NULL;
}

/* -- writing ------------------------------------------------------------------------------------------------ */

static char *in_folder(const struct batch *b, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", b->store.folder, name) < 0 ? NULL : path;
}

/* What other processes finished is found on the disk. */
static void look_around(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct batch_unit *u = &b->units[i];
        if (u->status == BATCH_RUNNING || (u->mine && u->status != BATCH_DONE)) continue;
        if (u->status == BATCH_DONE && u->record) continue;
        const bool damaged = u->damaged;
        batch_look(b, u, false, NULL);
        u->damaged = damaged; /* told by who measures it */
    }
}

static enum mro_code write_all(struct batch *b, struct mro_error *e)
{
    char *index = in_folder(b, "index.json"), *table = in_folder(b, "summary.csv"), *sums = in_folder(b, "inputs.json"),
         *csv = NULL;
    json_t *rows = json_array(), *v = NULL;
    enum mro_code rc = MRO_OK;
    if (!index || !table || !sums || !rows) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the index of the results");
        goto done;
    }
    rc = mro_hashes_write(&b->hashes, sums, e);
    if (rc || b->o.asked) goto done;
    look_around(b);
    /* In the order of the manifest. */
    json_t **row = calloc(b->manifest.n, sizeof *row);
    for (size_t i = 0; row && i < b->n; i++)
        for (size_t k = 0; k < b->units[i].n; k++)
            row[b->units[i].rows[k]] = row_json(b, &b->units[i], b->units[i].rows[k]);
    for (size_t i = 0; row && i < b->manifest.n; i++) json_array_append_new(rows, row[i]);
    free(row);
    v = json_pack("{s:s,s:s,s:o,s:o,s:o,s:O}", "schema", "mroscope.batch/1", "version", mro_version(), "manifest",
                  mro_json_plain(b->manifest_path), "value_name", text_or_null(b->manifest.value.name), "value_unit",
                  text_or_null(b->manifest.value.unit), "rows", rows);
    csv = summary(b);
    if (v == NULL || csv == NULL || json_array_size(rows) != b->manifest.n)
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the index of the results");
    if (rc == MRO_OK) rc = mro_store_write(index, v, e);
    if (rc == MRO_OK) rc = mro_write_buffer(table, csv, strlen(csv), e);
done:
    json_decref(v);
    json_decref(rows);
    free(csv);
    free(index);
    free(table);
    free(sums);
    return rc;
}

enum mro_code batch_write_index(struct batch *b, struct mro_error *e)
{
    /* Of several processes the last to look is the last to write. A lock that cannot be had for long is passed over,
     * and so is any when the program was asked twice to end. */
    static const char lock[] = "../index";
    const double begin = batch_now();
    bool mine = false;
    while (mro_store_lock(&b->store, lock, &mine, NULL) == MRO_OK && !mine && batch_now() - begin < 30 &&
           !batch_stopped(2))
        nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
    const enum mro_code rc = write_all(b, e);
    if (mine) mro_store_unlock(&b->store, lock);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a session has: index.json, for programs, and summary.csv, for a spreadsheet. */
#define _GNU_SOURCE /* asprintf */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/batch.h"
#include "io/session.h"
#include "io/table.h"
#include "io/write.h"

/* -- main numbers --------------------------------------------------------------------------------- */

/* Where the main numbers of a result are: keys with dots between them, a place in a list as a number, the count or the
 * deepest of a list, and '*' for every key. Units that a key does not name stand behind it. Adding a verb is adding its
 * rows. */
static const struct {
    const char *verb, *path, *unit;
} numbers[] = {
    { "mro", "fraction", " (part of area)" },
    { "mro", "fraction_ci95.0", " (part of area)" },
    { "mro", "fraction_ci95.1", " (part of area)" },
    { "mro", "p_image", "" },
    { "mro", "fraction_raw", " (part of area)" },
    { "mro", "density_per_nm2", "" },
    { "mro", "diameter_median_nm", "" },
    { "mro", "size_limit_nm", "" },
    { "mro", "coverage", " (part of image)" },
    { "haadf", "contrast_sd", " (relative)" },
    { "haadf", "contrast_sd_ci95.0", " (relative)" },
    { "haadf", "contrast_sd_ci95.1", " (relative)" },
    { "haadf", "noise_sd", " (relative)" },
    { "haadf", "correlation_length_nm", "" },
    { "haadf", "wavelength_nm", "" },
    { "haadf", "wavelength_p", "" },
    { "haadf", "p_value", "" },
    { "lattice", "crystals.0.d_nm", "" },
    { "lattice", "crystals.0.d_se_nm", "" },
    { "lattice", "crystals.0.diameter_nm", "" },
    { "lattice", "crystals.0.strain.normal", " (relative)" },
    { "lattice", "crystals.0.strain.se", " (relative)" },
    { "lattice", "crystals.0.vortices", "" },
    { "eds", "elements.*.mean_at", " (at.%)" },
    { "eds", "elements.*.sd_true_at", " (at.%)" },
    { "eds", "elements.*.sd_true_ci95.0", " (at.%)" },
    { "eds", "elements.*.sd_true_ci95.1", " (at.%)" },
    { "eds", "elements.*.p_heterogeneous", "" },
    { "eds", "elements.*.wavelength_nm", "" },
    { "eds", "elements.*.p_periodic", "" },
    { "pdf", "fsdp.Q_inv_A", " (1/A)" },
    { "pdf", "fsdp.first_moment_inv_A", " (1/A)" },
    { "pdf", "fsdp.first_moment_se", " (1/A)" },
    { "pdf", "fsdp.area", " (1/A)" },
    { "pdf", "oscillation.rms", " (1/A^2)" },
    { "pdf", "oscillation.rms_se", " (1/A^2)" },
    { "pdf", "coordination_number", "" },
    { "pdf", "anisotropy.e2", "" },
    { "pdf", "ellipse_ratio", "" },
    { "shearband", "normal_azimuth_deg", "" },
    { "shearband", "p_value", "" },
    { "shearband", "bands.count", "" },
    { "shearband", "bands.deepest.width_nm", "" },
    { "shearband", "bands.deepest.width_ci95.0", " (nm)" },
    { "shearband", "bands.deepest.width_ci95.1", " (nm)" },
    { "shearband", "bands.deepest.depth", " (relative)" },
    { "shearband", "bands.deepest.depth_ci95.0", " (relative)" },
    { "shearband", "bands.deepest.depth_ci95.1", " (relative)" },
    { "indent", "mean", " (unit of the table)" },
    { "indent", "mean_ci95.0", " (unit of the table)" },
    { "indent", "mean_ci95.1", " (unit of the table)" },
    { "indent", "sd", " (unit of the table)" },
    { "indent", "fwhm", " (unit of the table)" },
    { "indent", "fwhm_ci95.0", " (unit of the table)" },
    { "indent", "fwhm_ci95.1", " (unit of the table)" },
    { "indent", "moran_i", "" },
    { "indent", "moran_p", "" },
};

/* What a part of a path names in `v`; NULL = nothing. The caller drops it. */
static json_t *part_of(const json_t *v, const char *part)
{
    if (!json_is_array(v)) return json_incref(json_object_get(v, part));
    if (strcmp(part, "count") == 0) return json_integer((json_int_t)json_array_size(v));
    if (strcmp(part, "deepest") == 0) return json_incref((json_t *)mro_session_deepest(v));
    return json_incref(json_array_get(v, (size_t)strtoul(part, NULL, 10)));
}

static void add_numbers(json_t *out, const json_t *v, const char *path, const char *name, const char *unit)
{
    const size_t n = strcspn(path, ".");
    char part[64], whole[200];
    const char *key;
    json_t *inner;
    if (*path == '\0') {
        snprintf(whole, sizeof whole, "%s%s", name, unit);
        if (json_is_number(v) || json_is_null(v)) json_object_set(out, whole, (json_t *)v);
        return;
    }
    snprintf(part, sizeof part, "%.*s", (int)n, path);
    path += n + (path[n] == '.');
    if (strcmp(part, "*") == 0) {
        json_object_foreach((json_t *)v, key, inner)
        {
            snprintf(whole, sizeof whole, "%s.%s", name, key);
            add_numbers(out, inner, path, whole, unit);
        }
        return;
    }
    if (*path == '*') /* eds.Fe.mean_at, not eds.elements.Fe.mean_at */
        snprintf(whole, sizeof whole, "%s", name);
    else if (json_is_array(v) && *path == '\0' && isdigit((unsigned char)part[0])) /* the ends of an interval */
        snprintf(whole, sizeof whole, "%s_%s", name, strcmp(part, "0") == 0 ? "lo" : "hi");
    else
        snprintf(whole, sizeof whole, "%s.%s", name, part);
    inner = part_of(v, part);
    if (inner) add_numbers(out, inner, path, whole, unit);
    json_decref(inner);
}

json_t *batch_numbers(const json_t *result)
{
    json_t *out = json_object();
    const char *schema = json_string_value(json_object_get(result, "schema"));
    char mine[80];
    for (size_t i = 0; out && schema && i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(mine, sizeof mine, "mroscope.%s/1", numbers[i].verb);
        if (strcmp(schema, mine) == 0) add_numbers(out, result, numbers[i].path, numbers[i].verb, numbers[i].unit);
    }
    return out;
}

/* -- the index ---------------------------------------------------------------------------------------- */

static json_t *number_or_null(double v) { return isnan(v) ? json_null() : json_real(v); }

/* Texts that are no UTF-8 lose what is not. */
static json_t *text(const char *s)
{
    json_t *v = json_string(s);
    if (v) return v;
    char *plain = strdup(s);
    for (char *p = plain; p && *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    v = plain ? json_string(plain) : NULL;
    free(plain);
    return v;
}

static json_t *text_or_null(const char *s) { return s && *s ? text(s) : json_null(); }

json_t *batch_row_json(const struct batch *b, const struct batch_unit *u, size_t row)
{
    const struct mro_manifest_row *r = &b->manifest.rows[row];
    const bool done = u->status == BATCH_DONE && u->record, failed = u->status == BATCH_FAILED;
    json_t *results = json_array(), *entry;
    size_t i;
    json_array_foreach(done ? json_object_get(u->record, "results") : NULL, i, entry)
    {
        char *name = NULL;
        if (asprintf(&name, "items/%s/%s", u->name, json_string_value(json_object_get(entry, "name"))) < 0) name = NULL;
        json_array_append_new(results, name ? text(name) : NULL);
        free(name);
    }
    char item[MRO_ITEM_NAME + 8] = "";
    if (done) snprintf(item, sizeof item, "items/%s", u->name);
    return json_pack(
        "{s:I,s:o,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:s,s:o,s:o,s:o}", "row", (json_int_t)r->row, "file",
        text(r->file), "state", text(r->state), "strain", number_or_null(r->strain), "kind", u->kind->name, "specimen",
        text_or_null(r->specimen), "thickness_nm", number_or_null(r->thickness_nm), "value", text_or_null(r->value),
        "group", text_or_null(r->group), "element", text_or_null(r->element), "key", text_or_null(u->key), "verb",
        u->kind->verb->name, "status",
        done     ? "done"
        : failed ? "failed"
                 : "pending",
        "error", failed ? text_or_null(u->error) : json_null(), "item", text_or_null(item), "results", results);
}

enum mro_code batch_print(const struct batch *b, const struct batch_unit *u, struct mro_error *e)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->units[i].n && (u == NULL || u == &b->units[i]); k++) {
            json_t *v = batch_row_json(b, &b->units[i], b->units[i].rows[k]);
            if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left to print the index");
            MRO_TRY(cli_print(v, e));
        }
    return MRO_OK;
}

/* -- the summary ----------------------------------------------------------------------------------------- */

/* With the fewest digits that read back exactly. */
static void put_number(FILE *out, const json_t *v, const char *after)
{
    char digits[40] = "";
    if (json_is_number(v)) {
        const double x = json_number_value(v);
        for (int n = 15; n <= 17; n++) {
            snprintf(digits, sizeof digits, "%.*g", n, x);
            if (strtod(digits, NULL) == x) break;
        }
    }
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
            row[b->units[i].rows[k]] = batch_row_json(b, &b->units[i], b->units[i].rows[k]);
    for (size_t i = 0; row && i < b->manifest.n; i++) json_array_append_new(rows, row[i]);
    free(row);
    v = json_pack("{s:s,s:s,s:o,s:o,s:o,s:O}", "schema", "mroscope.batch/1", "version", mro_version(), "manifest",
                  text(b->manifest_path), "value_name", text_or_null(b->manifest.value.name), "value_unit",
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

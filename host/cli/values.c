/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/values.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/reader.h"
#include "mroscope/file.h"

/* Separator of the cells of a header. */
static char separator_of(const char *text)
{
    const size_t n = strcspn(text, ",;\t\r\n");
    return text[n] == ';' || text[n] == '\t' ? text[n] : ',';
}

/* Values by file from a table whose header names "file" and "value", such as the session of a batch. */
static int of_table(struct cli_values *values, const char *path, const struct cli_args *files, struct mro_bytes b)
{
    enum { ROOM = 64 };
    struct mro_lines text = { 0 };
    struct mro_error e;
    char *cells[ROOM];
    size_t n, file_at = SIZE_MAX, value_at = SIZE_MAX;
    int rc = -1;
    values->n = files->n;
    values->v = malloc((values->n + 1) * sizeof *values->v);
    if (values->v == NULL || mro_lines_decode(&text, b.p, b.size, path, "", &e) != MRO_OK) {
        if (values->v == NULL) MRO_FAIL(&e, MRO_EMEMORY, "no memory left");
        cli_say(e.code, "`values`: %s", e.message);
        return 1;
    }
    for (size_t i = 0; i < values->n; i++) values->v[i] = NAN;
    struct mro_csv csv = { .at = text.text, .separator = separator_of(text.text) };
    while (mro_csv_next(&csv, cells, ROOM, &n)) {
        if (n > ROOM) n = ROOM;
        if (csv.record == 1) {
            for (size_t i = 0; i < n; i++) {
                if (strcasecmp(cells[i], "file") == 0) file_at = i;
                if (mro_value_head_parse(&values->head, cells[i])) value_at = i;
            }
            if (file_at != SIZE_MAX && value_at != SIZE_MAX) continue;
            cli_say(MRO_EFORMAT, "the first line of '%s' has to name the columns file and value", path);
            rc = 1;
            break;
        }
        double v;
        if (file_at >= n || value_at >= n || cells[value_at][0] == '\0') continue;
        if (!mro_cell_number((struct mro_cell){ cells[value_at], strlen(cells[value_at]) }, &v)) {
            cli_say(MRO_EDATA, "row %zu of '%s': the value '%s' is no number", csv.record, path, cells[value_at]);
            rc = 1;
            break;
        }
        for (char *c = cells[file_at]; *c; c++) *c = *c == '\\' ? '/' : *c;
        for (size_t i = 0; i < values->n; i++)
            if (strcmp(cli_base_name(files->files[i]), cli_base_name(cells[file_at])) == 0) values->v[i] = v;
    }
    mro_lines_release(&text);
    for (size_t i = 0; i < values->n && rc < 0; i++)
        if (isnan(values->v[i])) {
            cli_say(MRO_EDATA, "'%s' has no value for '%s'", path, files->files[i]);
            rc = 1;
        }
    return rc;
}

int cli_values_read(struct cli_values *values, const char *verb, const char *text, const struct cli_args *files)
{
    struct mro_bytes b;
    cli_values_release(values);
    mro_value_head_parse(&values->head, "value");
    if (text == NULL) return -1;
    if (strspn(text, "0123456789.,+-eE ") == strlen(text)) {
        size_t room = 1;
        for (const char *c = text; *c; c++) room += *c == ',';
        values->v = malloc(room * sizeof *values->v);
        if (values->v == NULL) return cli_wrong_usage(verb, "no memory left for `values`");
        for (const char *at = text;;) {
            char *end;
            const double v = values->v[values->n++] = strtod(at, &end);
            if (end == at || !isfinite(v) || (*end && *end != ','))
                return cli_wrong_usage(verb, "`values` wants numbers separated by commas, not '%s'", text);
            if (*end == '\0') break;
            at = end + 1;
        }
        return -1;
    }
    struct mro_error e;
    if (mro_bytes_map(&b, text, &e) != MRO_OK) {
        cli_say(e.code, "`values`: %s", e.message);
        return 1;
    }
    const int rc = of_table(values, text, files, b);
    mro_bytes_unmap(&b);
    return rc;
}

int cli_values_place(struct cli_values *values, const char *verb, const struct cli_job *job,
                     const struct cli_args *files, bool (*is_table)(const char *path))
{
    size_t profiles = 0;
    free(values->first);
    values->first = NULL;
    if (values->n == 0) return -1;
    if ((values->first = calloc(files->n + 1, sizeof *values->first)) == NULL)
        return cli_wrong_usage(verb, "no memory left for `values`");
    values->by_file = files->n > 1 && values->n == files->n;
    for (size_t i = 0; i < files->n; i++) {
        struct mro_file *f = NULL;
        for (size_t k = 0; k < i; k++)
            if (strcmp(files->files[k], files->files[i]) == 0)
                return cli_wrong_usage(verb, "'%s' is given twice, where each has its value", files->files[i]);
        values->first[i] = profiles;
        /* What cannot be opened is told when its turn comes. */
        const bool counted = !values->by_file && !is_table(files->files[i]) &&
                             mro_file_open(&f, files->files[i], job->common->memory, NULL) == MRO_OK;
        profiles += counted ? cli_count_frames(job, f, SIZE_MAX, 0) : 1;
        if (counted) mro_file_close(f);
    }
    if (profiles == values->n) return -1;
    return cli_wrong_usage(verb,
                           "`values` gives %zu value%s for %zu profile%s; give one for each, or one for each file",
                           values->n, values->n == 1 ? "" : "s", profiles, profiles == 1 ? "" : "s");
}

double cli_value_of(const struct cli_values *values, const struct cli_args *files, const char *path, size_t profile)
{
    size_t i = 0;
    while (i + 1 < files->n && strcmp(files->files[i], path) != 0) i++;
    const size_t at = values->first[i] + (values->by_file ? 0 : profile);
    return values->v[at < values->n ? at : values->n - 1];
}

void cli_values_release(struct cli_values *values)
{
    free(values->v);
    free(values->first);
    *values = (struct cli_values){ .v = NULL };
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE /* vasprintf */
#include "session/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/notes.h"
#include "io/reader.h"
#include "io/table.h"

#define MAX_CELLS 256

enum column { FILE_, STATE, KIND, STRAIN, PIXEL, FRAMES, SPECIMEN, THICKNESS, GROUP, ELEMENT, VALUE, KV, CS, COLUMNS };

/* A note is for the reader of the table. */
const char *const mro_manifest_columns[] = { "file",   "state",    "kind",         "strain", "pixel_nm",
                                             "frames", "specimen", "thickness_nm", "group",  "element",
                                             "value",  "kv",       "cs_mm",        "note",   NULL };

void mro_manifest_fault(struct mro_manifest *m, size_t row, const char *format, ...)
{
    char *sentence = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&sentence, format, args) < 0) sentence = NULL;
    va_end(args);
    if (sentence) mro_note(&m->faults, &m->n_faults, "row %zu: %s", row, sentence);
    free(sentence);
}

/* -- header ---------------------------------------------------------------------------------------- */

/* "Thickness (nm)" is thickness_nm. */
static void plain_name(const char *cell, char *out, size_t room)
{
    size_t n = 0;
    for (const char *p = cell; *p && n + 2 < room; p++) {
        const bool word = isalnum((unsigned char)*p) != 0;
        if (word) out[n++] = (char)tolower((unsigned char)*p);
        if (!word && n && out[n - 1] != '_') out[n++] = '_';
    }
    while (n && out[n - 1] == '_') n--;
    out[n] = '\0';
}

/* The character that most often separates cells in the first line. */
static char separator_of(const char *text)
{
    size_t count[3] = { 0 };
    static const char marks[] = "\t;,";
    bool quoted = false;
    for (const char *p = text; *p && (quoted || (*p != '\n' && *p != '\r')); p++) {
        if (*p == '"') quoted = !quoted;
        const char *mark = quoted ? NULL : strchr(marks, *p);
        if (mark) count[mark - marks]++;
    }
    size_t best = 2;
    for (size_t i = 0; i < 3; i++)
        if (count[i] > count[best]) best = i;
    return marks[best];
}

static enum mro_code take_header(struct mro_manifest *m, const char *path, char **cells, size_t n, size_t at[COLUMNS],
                                 struct mro_error *e)
{
    char name[40];
    for (size_t k = 0; k < COLUMNS; k++) at[k] = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        plain_name(cells[i], name, sizeof name);
        if (name[0] == '\0') continue;
        if (mro_value_head_parse(&m->value, cells[i]))
            k = VALUE;
        else
            while (mro_manifest_columns[k] && strcmp(name, mro_manifest_columns[k]) != 0) k++;
        if (k == COLUMNS) continue;
        if (k > COLUMNS) {
            mro_note(&m->unknown, &m->n_unknown, "%s", cells[i]);
            continue;
        }
        if (at[k] != SIZE_MAX)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' has two columns '%s'", path, mro_manifest_columns[k]);
        at[k] = i;
    }
    for (size_t k = FILE_; k <= KIND; k++)
        if (at[k] == SIZE_MAX)
            return MRO_FAIL(
                e, MRO_EFORMAT,
                "'%s' has no column '%s': its first line has to name the columns, file,state,strain,kind at "
                "least; `init=FOLDER` of `mroscope batch` writes one",
                path, mro_manifest_columns[k]);
    return MRO_OK;
}

/* -- files ----------------------------------------------------------------------------------------- */

/* The name as older systems write it: one byte a character. False when it has others, or none beyond ASCII. */
static bool latin1(const char *utf8, char *out)
{
    bool any = false;
    for (const unsigned char *p = (const unsigned char *)utf8; *p; p++) {
        if (*p < 0x80) {
            *out++ = (char)*p;
        } else if ((*p == 0xc2 || *p == 0xc3) && (p[1] & 0xc0) == 0x80) {
            *out++ = (char)((*p & 3) << 6 | (p[1] & 0x3f));
            any = true;
            p++;
        } else {
            return false;
        }
    }
    *out = '\0';
    return any;
}

/* Is there such a file? Then `*path` is what to open it by. */
static bool try_path(const struct mro_manifest *m, const char *name, struct stat *st, char **path)
{
    char *full = NULL, *old = malloc(strlen(name) + 1);
    bool found = false;
    for (int form = 0; form < 2 && !found && old; form++) {
        if (form == 1 && !latin1(name, old)) break;
        const char *is = form ? old : name, *dot = is[0] == '-' ? "./" : "";
        const int rc = is[0] == '/' ? asprintf(&full, "%s", is) : asprintf(&full, "%s/%s", m->folder, is);
        if (rc < 0) break;
        found = stat(full, st) == 0 && asprintf(path, "%s%s", dot, is) >= 0;
        if (!found) *path = NULL;
        free(full);
    }
    free(old);
    return found;
}

static void find_file(struct mro_manifest *m, struct mro_manifest_row *r)
{
    struct stat st;
    char *name = strdup(r->file), *full = NULL;
    if (name == NULL) return;
    bool found = try_path(m, name, &st, &r->path);
    if (!found) {
        for (char *p = name; *p; p++)
            if (*p == '\\') *p = '/';
        found = try_path(m, name, &st, &r->path);
    }
    /* A path of another machine: what is at its end may lie beside the manifest. */
    const bool drive = isalpha((unsigned char)name[0]) && name[1] == ':';
    if (!found && (drive || name[0] == '/'))
        for (const char *p = strchr(name, '/'); p && !found; p = strchr(p + 1, '/'))
            if (p[1] && p[1] != '/') found = try_path(m, p + 1, &st, &r->path);
    free(name);
    if (!found) {
        mro_manifest_fault(m, r->row, "there is no file '%s'", r->file);
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        mro_manifest_fault(m, r->row, "'%s' is a folder", r->file);
    } else if (!S_ISREG(st.st_mode)) {
        mro_manifest_fault(m, r->row, "'%s' is no regular file", r->file);
    } else if (asprintf(&full, "%s%s%s", r->path[0] == '/' ? "" : m->folder, r->path[0] == '/' ? "" : "/", r->path) >=
               0) {
        if (access(full, R_OK) != 0) mro_manifest_fault(m, r->row, "'%s': %s", r->file, strerror(errno));
        free(full);
    }
    r->device = (uint64_t)st.st_dev;
    r->inode = (uint64_t)st.st_ino;
    r->size = (uint64_t)st.st_size;
#ifdef __APPLE__
    r->mtime_ns = (int64_t)st.st_mtimespec.tv_sec * 1000000000 + st.st_mtimespec.tv_nsec;
#else
    r->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
#endif
}

/* -- rows ------------------------------------------------------------------------------------------ */

/* A number, with or without `unit` behind it ("4 %"); NaN when the cell is empty or, with a fault, holds none. */
static double number(struct mro_manifest *m, size_t row, enum column k, const char *text, const char *unit)
{
    struct mro_cell c = { text, strlen(text) };
    const size_t n = strlen(unit);
    double v;
    if (c.n == 0) return NAN;
    if (c.n > n && strncmp(c.p + c.n - n, unit, n) == 0) c.n -= n;
    while (c.n && c.p[c.n - 1] == ' ') c.n--;
    if (mro_cell_number(c, &v)) return v;
    mro_manifest_fault(m, row, "%s '%s' is no number", mro_manifest_columns[k], text);
    return NAN;
}

static double above_zero(struct mro_manifest *m, size_t row, enum column k, const char *text, const char *unit)
{
    const double v = number(m, row, k, text, unit);
    if (isnan(v) || v > 0) return v;
    mro_manifest_fault(m, row, "%s '%s' has to be larger than 0", mro_manifest_columns[k], text);
    return NAN;
}

/* One length, or two with a space, 'x', '/' or ';' between them. */
static void pixel(struct mro_manifest *m, size_t row, const char *text, double nm[2])
{
    const size_t first = strcspn(text, " x/;");
    const char *second = text + first + strspn(text + first, " x/;");
    char copy[64];
    nm[0] = nm[1] = 0;
    if (text[0] == '\0') return;
    const bool two = *second && strcmp(second, "nm") != 0;
    snprintf(copy, sizeof copy, "%.*s", (int)(first < 60 ? first : 60), text);
    const double x = above_zero(m, row, PIXEL, two ? copy : text, "nm");
    const double y = two ? above_zero(m, row, PIXEL, second, "nm") : x;
    if (isnan(x) || isnan(y)) return;
    if (x < 1e-4 || x > 1e6 || y < 1e-4 || y > 1e6) {
        mro_manifest_fault(m, row, "pixel_nm '%s' is no size of a pixel in nm (0.0001 to 1000000)", text);
        return;
    }
    nm[0] = x;
    nm[1] = y;
}

static enum mro_code add_row(struct mro_manifest *m, size_t number_of_row, char **cells, size_t n,
                             const size_t at[COLUMNS], struct mro_error *e)
{
    const char *cell[COLUMNS];
    bool any = false;
    for (size_t i = 0; i < n; i++) any |= cells[i][0] != '\0';
    if (!any) return MRO_OK;
    for (size_t k = 0; k < COLUMNS; k++) cell[k] = at[k] < n ? cells[at[k]] : "";
    struct mro_manifest_row *grown = realloc(m->rows, (m->n + 1) * sizeof *grown);
    if (grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the manifest does not fit in memory");
    m->rows = grown;
    struct mro_manifest_row *r = &m->rows[m->n++];
    *r = (struct mro_manifest_row){ .row = number_of_row,
                                    .file = cell[FILE_],
                                    .state = cell[STATE],
                                    .kind = cell[KIND],
                                    .frames = cell[FRAMES],
                                    .specimen = cell[SPECIMEN],
                                    .group = cell[GROUP],
                                    .element = cell[ELEMENT],
                                    .value = cell[VALUE] };
    for (enum column k = FILE_; k <= KIND; k++)
        if (cell[k][0] == '\0') mro_manifest_fault(m, r->row, "%s is empty", mro_manifest_columns[k]);
    r->strain = number(m, r->row, STRAIN, cell[STRAIN], "%");
    r->thickness_nm = above_zero(m, r->row, THICKNESS, cell[THICKNESS], "nm");
    r->kv = above_zero(m, r->row, KV, cell[KV], "kV");
    r->cs_mm = number(m, r->row, CS, cell[CS], "mm");
    pixel(m, r->row, cell[PIXEL], r->pixel_nm);
    if (r->file[0]) find_file(m, r);
    return MRO_OK;
}

static enum mro_code take_rows(struct mro_manifest *m, const char *path, struct mro_error *e)
{
    char *cells[MAX_CELLS];
    size_t at[COLUMNS], n, header;
    struct mro_csv t = { .at = m->text };
    /* Excel's own note of the separator. */
    const bool said = strncmp(t.at, "sep=", 4) == 0 && t.at[4] && strchr("\r\n", t.at[4]) == NULL;
    t.separator = said ? t.at[4] : separator_of(t.at);
    if (said) {
        t.at += strcspn(t.at, "\r\n");
        t.at += strncmp(t.at, "\r\n", 2) == 0 ? 2 : *t.at != '\0';
        t.record = 1;
    }
    do {
        if (!mro_csv_next(&t, cells, MAX_CELLS, &n)) return MRO_FAIL(e, MRO_EFORMAT, "'%s' is empty", path);
    } while (n == 1 && cells[0][0] == '\0');
    header = n;
    if (n > MAX_CELLS) return MRO_FAIL(e, MRO_EFORMAT, "'%s' has %zu columns: too many for a manifest", path, n);
    MRO_TRY(take_header(m, path, cells, n, at, e));
    while (mro_csv_next(&t, cells, MAX_CELLS, &n)) {
        size_t filled = 0;
        for (size_t i = header; i < n && i < MAX_CELLS; i++) filled += cells[i][0] != '\0';
        if (filled)
            mro_manifest_fault(m, t.record,
                               "there are %zu cells, but the header has %zu: put texts with commas into quotes", n,
                               header);
        MRO_TRY(add_row(m, t.record, cells, n < header ? n : header, at, e));
        if (t.unclosed)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': row %zu opens a quote that is never closed", path, t.record);
    }
    if (m->n == 0) return MRO_FAIL(e, MRO_EFORMAT, "'%s' has a header and no rows below it", path);
    return MRO_OK;
}

enum mro_code mro_manifest_read(struct mro_manifest *m, const char *path, struct mro_error *e)
{
    struct mro_bytes b;
    struct mro_lines text;
    const char *slash = strrchr(path, '/');
    *m = (struct mro_manifest){ 0 };
    MRO_TRY(mro_bytes_map(&b, path, e));
    const enum mro_code rc =
        mro_lines_decode(&text, b.size ? (const void *)b.p : "", b.size, path, "; a session is a .csv file", e);
    mro_bytes_unmap(&b);
    MRO_TRY(rc);
    m->text = text.text; /* taken over */
    m->folder = slash == path ? strdup("/") : slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    if (m->folder == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", path);
    return take_rows(m, path, e);
}

void mro_manifest_release(struct mro_manifest *m)
{
    for (size_t i = 0; i < m->n; i++) free(m->rows[i].path);
    free(m->rows);
    free(m->folder);
    free(m->text);
    mro_notes_release(&m->faults, &m->n_faults);
    mro_notes_release(&m->unknown, &m->n_unknown);
    *m = (struct mro_manifest){ 0 };
}

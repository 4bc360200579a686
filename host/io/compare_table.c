/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers to compare from a table. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "core/notes.h"
#include "io/compare_build.h"
#include "io/reader.h"
#include "io/table.h"
#include "io/text.h"

#define MAX_COLUMNS 256

enum role {
    SKIPPED,
    NO_PROPERTY,
    STATE,
    STRAIN,
    VALUE,
    THICKNESS,
    SPECIMEN,
    FILE_NAME,
    SETTING,
    DOSE,
    METRIC,
    LOW,
    HIGH
};

struct column {
    enum role role;
    char name[100], unit[40]; /* of a metric: the header without, and the unit in, its brackets */
    double factor;
    size_t metric, numbers, others;
};

/* Takes "name (unit)" apart. A column "value: temperature (K)" is what a series is measured over, as in a session; one
 * "value" is as good a name of a metric. */
static void read_header(struct mro_cell c, struct column *k)
{
    size_t n = c.n, at = 0;
    if (n > 6 && strncasecmp(c.p, "value:", 6) == 0) k->role = VALUE;
    if (n && (c.p[n - 1] == ')' || c.p[n - 1] == ']')) {
        const char open = c.p[n - 1] == ')' ? '(' : '[';
        for (at = n - 1; at > 0 && c.p[at] != open; at--) continue;
        if (at > 0) {
            mro_text_copy(c.p + at + 1, n - at - 2, k->unit, sizeof k->unit);
            n = at;
        }
    }
    while (n && isspace((unsigned char)c.p[n - 1])) n--;
    mro_text_copy(c.p, n, k->name, sizeof k->name);
}

static bool is_named(const struct column *k, const char *const *names)
{
    for (; *names; names++) {
        size_t i = 0;
        while (k->name[i] && tolower((unsigned char)k->name[i]) == (*names)[i]) i++;
        if (k->name[i] == '\0' && (*names)[i] == '\0') return true;
    }
    return false;
}

/* A p value, a standard error or an azimuth, by what it is called: nothing in which states could
 * differ. */
static bool is_no_property(const struct column *k)
{
    const char *dot = strrchr(k->name, '.'), *last = dot ? dot + 1 : k->name;
    char bare[sizeof k->name];
    mro_text_copy(last, mro_set_bare(last), bare, sizeof bare);
    return strncmp(last, "p_", 2) == 0 || mro_set_ends_with(last, "_p") || mro_set_same(bare, "se") ||
           mro_set_ends_with(bare, "_se") || mro_set_ends_with(bare, "azimuth");
}

static enum mro_code understand(struct mro_compare_set *s, struct column *k, struct mro_error *e)
{
    static const char *const state[] = { "state", NULL }, *const strain[] = { "strain", NULL },
                             *const specimen[] = { "specimen", "lamella", "foil", NULL },
                             *const file[] = { "file", "image", "name", NULL },
                             *const setting[] = { "block",   "kv",       "cs",      "cs_mm", "optics",
                                                  "setting", "settings", "session", "lens",  NULL },
                             *const thickness[] = { "thickness", "thickness_nm", NULL },
                             *const dose[] = { "dose", NULL }, *const place[] = { "frame", "row", NULL };
    /* The first is what is written here; the others are of older tables, and of those by hand. */
    static const char *const ends[][2] = { { "_ci95_lo", "_ci95_hi" },
                                           { "_ci95_low", "_ci95_high" },
                                           { "_lo95", "_hi95" } };
    k->factor = 1;
    if (is_named(k, state)) k->role = STATE;
    if (is_named(k, strain)) k->role = STRAIN;
    if (is_named(k, specimen)) k->role = SPECIMEN;
    if (is_named(k, file)) k->role = FILE_NAME;
    if (is_named(k, setting)) k->role = SETTING;
    if (is_named(k, dose)) k->role = DOSE;
    if (is_named(k, thickness)) {
        k->role = THICKNESS;
        if (k->unit[0] && mro_unit_parse(k->unit, &k->factor) != MRO_UNIT_NM)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': the unit '%s' of the thickness is no length; write nm", s->source,
                            k->unit);
    }
    if (k->role != SKIPPED || k->name[0] == '\0' || is_named(k, place)) return MRO_OK;
    k->role = is_no_property(k) ? NO_PROPERTY : METRIC;
    for (size_t i = 0; i < sizeof ends / sizeof *ends && k->role == METRIC; i++)
        for (int high = 0; high < 2 && k->role == METRIC; high++)
            if (mro_set_ends_with(k->name, ends[i][high])) {
                k->role = high ? HIGH : LOW;
                k->name[strlen(k->name) - strlen(ends[i][high])] = '\0';
            }
    return MRO_OK;
}

static bool is_missing(struct mro_cell c)
{
    static const char *const words[] = { "-", "n/a", "na", "nan", "null", "none", "?" };
    char text[8] = "";
    if (c.n == 0) return true;
    if (c.n >= sizeof text) return false;
    for (size_t i = 0; i < c.n; i++) text[i] = (char)tolower((unsigned char)c.p[i]);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (mro_set_same(text, words[i])) return true;
    return false;
}

struct table {
    struct mro_lines in;
    char separator;
    struct column column[MAX_COLUMNS];
    size_t columns, state;
    size_t begin_at, begin_line; /* where the rows begin */
    size_t rows;
};

static enum mro_code take_value_head(struct mro_compare_set *s, struct mro_cell c, struct mro_error *e)
{
    struct mro_value_head h;
    char cell[128];
    mro_text_copy(c.p, c.n, cell, sizeof cell);
    mro_value_head_parse(&h, cell);
    free(s->value_name);
    free(s->value_unit);
    s->value_name = strdup(h.name);
    s->value_unit = strdup(h.unit);
    if (s->value_name && s->value_unit) return MRO_OK;
    return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", s->source);
}

static enum mro_code read_headers(struct mro_compare_set *s, struct table *t, struct mro_error *e)
{
    static const char separators[] = "\t;,";
    struct mro_cell line = { 0 }, c[MAX_COLUMNS];
    t->state = SIZE_MAX;
    while (line.n == 0)
        if (!mro_lines_next(&t->in, &line)) return MRO_FAIL(e, MRO_EFORMAT, "'%s' is empty", s->source);
    for (const char *sep = separators; *sep && t->state == SIZE_MAX; sep++) {
        const size_t n = mro_cells(line, *sep, c, MAX_COLUMNS);
        if (n > MAX_COLUMNS)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' has %zu columns; %d can be", s->source, n, MAX_COLUMNS);
        memset(t->column, 0, sizeof t->column);
        t->separator = *sep;
        t->columns = n;
        for (size_t i = 0; i < n; i++) {
            read_header(c[i], &t->column[i]);
            MRO_TRY(understand(s, &t->column[i], e));
            if (t->column[i].role == STATE) t->state = i;
            if (t->column[i].role == VALUE) MRO_TRY(take_value_head(s, c[i], e));
            if (t->column[i].role == STRAIN && (s->strain_unit = mro_set_keep(s, t->column[i].unit)) == NULL)
                return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
        }
    }
    t->begin_at = t->in.at;
    t->begin_line = t->in.line;
    if (t->state != SIZE_MAX) return MRO_OK;
    return MRO_FAIL(e, MRO_EFORMAT,
                    "'%s' has no column 'state' in its first line; it needs state, and a column of numbers", s->source);
}

/* First pass: how many rows, and which columns hold numbers. */
static enum mro_code count_cells(struct mro_compare_set *s, struct table *t, struct mro_error *e)
{
    struct mro_cell line, c[MAX_COLUMNS];
    double v;
    while (mro_lines_next(&t->in, &line)) {
        const size_t n = mro_cells(line, t->separator, c, MAX_COLUMNS);
        size_t filled = 0;
        for (size_t i = 0; i < n && i < MAX_COLUMNS; i++) filled += c[i].n > 0;
        if (filled == 0) continue;
        if (n != t->columns)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has %zu cells, the header %zu", s->source, t->in.line, n,
                            t->columns);
        for (size_t i = 0; i < n; i++) {
            if (mro_cell_number(c[i], &v))
                t->column[i].numbers++;
            else
                t->column[i].others += !is_missing(c[i]);
        }
        t->rows++;
    }
    t->in.at = t->begin_at;
    t->in.line = t->begin_line;
    return t->rows ? MRO_OK : MRO_FAIL(e, MRO_EDATA, "'%s' has a header and no rows below it", s->source);
}

static bool is_wanted(const struct column *k, const char *const *keys, size_t n_keys)
{
    char whole[160];
    snprintf(whole, sizeof whole, "%s (%s)", k->name, k->unit);
    for (size_t i = 0; i < n_keys; i++)
        if (mro_set_same(keys[i], k->name) || mro_set_same(keys[i], whole)) return true;
    return n_keys == 0;
}

/* Names of columns for a sentence, and how many found no room in it. */
struct names {
    char text[200];
    size_t more;
};

static void name_column(struct names *l, const struct column *k)
{
    const size_t used = strlen(l->text), room = sizeof l->text - used;
    if (l->more == 0 && strlen(k->name) + sizeof ", ''" <= room)
        snprintf(l->text + used, room, "%s'%s'", used ? ", " : "", k->name);
    else
        l->more++;
}

static void tell_left_out(struct mro_compare_set *s, const char *which, const struct names *l)
{
    if (l->more)
        mro_warn(s, "%s are left out: %s and %zu more", which, l->text, l->more);
    else if (l->text[0])
        mro_warn(s, "%s are left out: %s", which, l->text);
}

/* The metric whose interval is called `name`: that of width_nm may be width_nm_ci95_lo, or width_ci95_lo as in results.
 */
static size_t metric_of_interval(const struct mro_compare_set *s, const char *name)
{
    const size_t n = strlen(name);
    size_t i = 0;
    while (i < s->n_metrics && !mro_set_same(s->metrics[i].key, name)) i++;
    if (i < s->n_metrics) return i;
    for (i = 0; i < s->n_metrics; i++)
        if (mro_set_bare(s->metrics[i].key) == n && memcmp(s->metrics[i].key, name, n) == 0) return i;
    return i;
}

static enum mro_code make_columns(struct mro_compare_set *s, struct table *t, const char *const *keys, size_t n_keys,
                                  struct mro_error *e)
{
    struct names empty = { 0 }, no_property = { 0 };
    for (size_t i = 0; i < t->columns; i++) {
        struct column *k = &t->column[i];
        if (k->role != METRIC && k->role != NO_PROPERTY) continue;
        if (k->numbers == 0) {
            name_column(&empty, k);
            k->role = SKIPPED;
            continue;
        }
        if (k->role == NO_PROPERTY && (n_keys == 0 || !is_wanted(k, keys, n_keys))) {
            name_column(&no_property, k);
            continue;
        }
        k->role = METRIC;
        mro_set_intern(&s->known, &s->n_known, k->name);
        if (!is_wanted(k, keys, n_keys)) {
            k->role = SKIPPED;
            continue;
        }
        for (size_t j = 0; j < s->n_metrics; j++)
            if (mro_set_same(s->metrics[j].key, k->name))
                return MRO_FAIL(e, MRO_EFORMAT, "'%s' has two columns '%s'", s->source, k->name);
        const char *unit = k->unit[0] ? k->unit : mro_set_unit_of(k->name);
        if (mro_set_metric_of(s, "", k->name, unit, t->rows) == NULL)
            return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
        k->metric = s->n_metrics - 1;
    }
    for (size_t i = 0; i < t->columns; i++) {
        struct column *k = &t->column[i];
        if (k->role != LOW && k->role != HIGH) continue;
        k->metric = metric_of_interval(s, k->name);
        if (k->metric == s->n_metrics) k->role = SKIPPED;
    }
    tell_left_out(s, "columns without numbers", &empty);
    if (n_keys == 0)
        tell_left_out(s, "columns called as p values, standard errors or azimuths, which `metric` can name,",
                      &no_property);
    return MRO_OK;
}

static enum mro_code number_in(const struct mro_compare_set *s, const struct table *t, const struct column *k,
                               struct mro_cell c, double *v, struct mro_error *e)
{
    char text[40];
    *v = NAN;
    if (is_missing(c) || mro_cell_number(c, v)) return MRO_OK;
    mro_text_copy(c.p, c.n, text, sizeof text);
    return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu, column '%s' holds '%s', which is no number", s->source, t->in.line,
                    k->name, text);
}

static enum mro_code take_line(struct mro_compare_set *s, struct table *t, const struct mro_cell *c,
                               struct mro_error *e)
{
    const size_t row = s->n_rows;
    struct mro_set_row *r = &s->rows[row];
    char state[200], specimen[200] = "", file[400] = "", setting[400] = "{";
    double v, dose = NAN;
    *r = (struct mro_set_row){ .strain = NAN, .value = NAN, .thickness_nm = NAN };
    mro_text_copy(c[t->state].p, c[t->state].n, state, sizeof state);
    if (state[0] == '\0') return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has no state", s->source, t->in.line);
    for (size_t i = 0; i < t->columns; i++) {
        const struct column *k = &t->column[i];
        const size_t used = strlen(setting);
        switch (k->role) {
        case STRAIN: MRO_TRY(number_in(s, t, k, c[i], &r->strain, e)); break;
        case VALUE: MRO_TRY(number_in(s, t, k, c[i], &r->value, e)); break;
        case THICKNESS:
            MRO_TRY(number_in(s, t, k, c[i], &v, e));
            if (v <= 0)
                return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has a thickness of %g", s->source, t->in.line, v);
            r->thickness_nm = v * k->factor;
            break;
        case DOSE: MRO_TRY(number_in(s, t, k, c[i], &dose, e)); break;
        case SPECIMEN: mro_text_copy(c[i].p, c[i].n, specimen, sizeof specimen); break;
        case FILE_NAME: mro_text_copy(c[i].p, c[i].n, file, sizeof file); break;
        case SETTING: { /* as JSON, like the options of a result */
            char text[100], name[110];
            mro_text_copy(c[i].p, c[i].n, text, sizeof text);
            snprintf(name, sizeof name, "%s", k->name);
            json_t *pair = json_pack("{s:s}", name, text);
            char *dump = pair ? json_dumps(pair, JSON_COMPACT) : NULL;
            if (dump) {
                dump[strlen(dump) - 1] = '\0';
                snprintf(setting + used, sizeof setting - used, "%s%s", used > 1 ? "," : "", dump + 1);
            }
            free(dump);
            json_decref(pair);
            break;
        }
        case METRIC:
            MRO_TRY(number_in(s, t, k, c[i], &v, e));
            s->metrics[k->metric].value[row] = v;
            s->metrics[k->metric].n += isfinite(v);
            s->metrics[k->metric].found++;
            break;
        case LOW:
        case HIGH:
            MRO_TRY(number_in(s, t, k, c[i], &v, e));
            s->metrics[k->metric].ci95[row][k->role == HIGH] = v;
            break;
        default: break;
        }
    }
    const size_t used = strlen(setting);
    if (used + 2 > sizeof setting)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has settings too long to tell apart", s->source, t->in.line);
    memcpy(setting + used, "}", 2);
    r->setting = mro_set_intern(&s->settings, &s->n_settings, setting);
    if (file[0] == '\0') snprintf(file, sizeof file, "line %zu", t->in.line);
    if (r->setting == SIZE_MAX || !mro_set_place_row(s, r, file, state, "", specimen, ""))
        return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
    for (size_t k = 0; k < s->n_metrics; k++)
        if (!mro_set_add_covariate(&s->metrics[k], row, "thickness (nm)", r->thickness_nm, t->rows) ||
            !mro_set_add_covariate(&s->metrics[k], row, "dose", dose > 0 ? dose : NAN, t->rows))
            return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
    s->n_rows++;
    return MRO_OK;
}

enum mro_code mro_compare_set_table(struct mro_compare_set *s, const char *path, const char *const *keys, size_t n_keys,
                                    struct mro_error *e)
{
    struct mro_bytes b;
    *s = (struct mro_compare_set){ .table = true };
    MRO_TRY(mro_bytes_map(&b, path, e));
    struct table *t = calloc(1, sizeof *t);
    s->source = strdup(path);
    enum mro_code rc = MRO_OK;
    if (t == NULL || s->source == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, path);
    if (rc == MRO_OK)
        rc = mro_lines_decode(&t->in, b.size ? (const void *)b.p : "", b.size, path,
                              "; give the folder of results of `mroscope batch`, or a table with a column 'state'", e);
    if (rc == MRO_OK) rc = read_headers(s, t, e);
    if (rc == MRO_OK) rc = count_cells(s, t, e);
    if (rc == MRO_OK) rc = make_columns(s, t, keys, n_keys, e);
    if (rc == MRO_OK) {
        s->rows = calloc(t->rows + 1, sizeof *s->rows);
        if (s->rows == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, path);
    }
    struct mro_cell line, c[MAX_COLUMNS];
    while (rc == MRO_OK && s->n_rows < t->rows && mro_lines_next(&t->in, &line)) {
        size_t filled = 0;
        const size_t n = mro_cells(line, t->separator, c, MAX_COLUMNS);
        for (size_t i = 0; i < n && i < MAX_COLUMNS; i++) filled += c[i].n > 0;
        if (filled) rc = take_line(s, t, c, e);
    }
    mro_set_take_strain(s);
    if (t) mro_lines_release(&t->in);
    free(t);
    mro_bytes_unmap(&b);
    if (rc) mro_compare_set_release(s);
    return rc;
}

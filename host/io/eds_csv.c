/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Line profiles as tables of text, the way microscopes' programs export them and spreadsheets save them again. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "io/table.h"
#include "io/text.h"
#include "mroscope/eds.h"

#define MAX_COLUMNS 512
#define HEADER_LINES 400 /* lines that are searched for the header */
#define MOST 1e15        /* of a count or a share: their squares can be summed up */

enum kind { SKIP, DISTANCE, AT, WT, COUNTS };

struct column {
    enum kind kind;
    size_t element;                  /* index into symbols */
    size_t cell;                     /* place in a row */
    char header[80];                 /* for messages */
    double factor;                   /* of a distance, to nm */
    double *v;                       /* values */
    size_t thousands, marked, whole; /* cells as 1,234; all with such a mark; whole numbers from 100 to 999 */
    size_t thousands_line;           /* first of them */
};

struct table {
    struct mro_lines in;
    char separator;
    struct column column[1 + 3 * MRO_EDS_MAX_ELEMENTS];
    size_t columns, cells; /* used; cells of a row */
    char symbol[MRO_EDS_MAX_ELEMENTS][4];
    size_t elements;
    size_t rows, room;
    size_t *row_line; /* line of each row */
};

/* Marks that may separate thousands: 1,234 or 12.345. */
static void look_at_mark(struct mro_cell c, size_t line, struct column *k)
{
    size_t at = 0, end = 0;
    while (at < c.n && isdigit((unsigned char)c.p[at])) at++;
    if (at == c.n) {
        k->whole += at == 3;
        return;
    }
    while (at + 1 + end < c.n && isdigit((unsigned char)c.p[at + 1 + end])) end++;
    k->marked++;
    if (at < 1 || at > 3 || c.p[0] == '0' || end != 3 || at + 4 != c.n || (c.p[at] != ',' && c.p[at] != '.')) return;
    if (k->thousands++ == 0) k->thousands_line = line;
}

/* ---- headers ---- */

struct words {
    struct mro_cell w[24];
    size_t n;
};

/* Runs of letters. */
static struct words words_of(struct mro_cell c)
{
    struct words words = { .n = 0 };
    for (size_t i = 0; i < c.n;) {
        size_t k = i;
        while (k < c.n && isalpha((unsigned char)c.p[k])) k++;
        if (k > i && words.n < 24) words.w[words.n++] = (struct mro_cell){ c.p + i, k - i };
        i = k > i ? k : i + 1;
    }
    return words;
}

static bool is_one_of(struct mro_cell w, const char *const *list)
{
    for (; *list; list++) {
        size_t i = 0;
        while (i < w.n && (*list)[i] && tolower((unsigned char)w.p[i]) == (*list)[i]) i++;
        if (i == w.n && (*list)[i] == '\0') return true;
    }
    return false;
}

static bool any_word(const struct words *words, const char *const *list)
{
    for (size_t i = 0; i < words->n; i++)
        if (is_one_of(words->w[i], list)) return true;
    return false;
}

/* Length unit in brackets, after a slash or an underscore, or as the last word; its factor to nm, or 0. */
static double length_unit(struct mro_cell c)
{
    char text[32];
    for (size_t i = 0; i < c.n; i++) {
        if (strchr("([/_, ", c.p[i]) == NULL) continue;
        size_t n = 0;
        for (size_t k = i + 1; k < c.n && n + 1 < sizeof text && strchr(")]", c.p[k]) == NULL; k++) text[n++] = c.p[k];
        text[n] = '\0';
        double factor = 1;
        while (n && text[n - 1] == ' ') text[--n] = '\0';
        const char *unit = text + strspn(text, " ([/_");
        if (*unit && mro_unit_parse(unit, &factor) == MRO_UNIT_NM) return factor;
    }
    return 0;
}

static const char *const w_distance[] = { "distance", "dist", "position", "pos", "x", "length", "abstand", NULL };
static const char *const w_best[] = { "distance", "dist", "abstand", NULL };
static const char *const w_at[] = { "at", "atomic", "atom", "atoms", "atomprozent", "atompercent", NULL };
static const char *const w_wt[] = { "wt", "weight", "mass", "gew", "massen", NULL };
static const char *const w_counts[] = { "counts", "count", "cts", "ct", "net", "gross", "raw", NULL };
static const char *const w_rate[] = { "cps", "kcps", "rate", NULL };
static const char *const w_error[] = { "sigma", "error", "err",    "std",        "sd", "stdev", "uncertainty", "se",
                                       "rel",   "abs",   "fehler", "background", "bg", "bkg",   NULL };
static const char *const w_total[] = { "total", "sum", "all", NULL };

static bool is_rate(struct mro_cell c, const struct words *words)
{
    if (any_word(words, w_rate)) return true;
    for (size_t i = 0; i + 1 < c.n; i++)
        if (c.p[i] == '/' && c.p[i + 1] == 's' && (i + 2 == c.n || !isalpha((unsigned char)c.p[i + 2]))) return true;
    return false;
}

/* First word that is the symbol of an element. */
static bool element_of(const struct words *words, char symbol[4])
{
    for (size_t i = 0; i < words->n; i++) {
        if (words->w[i].n > 2) continue;
        memcpy(symbol, words->w[i].p, words->w[i].n);
        symbol[words->w[i].n] = '\0';
        if (mro_atomic_weight(symbol) > 0) return true;
    }
    return false;
}

static bool wanted(const char *list, const char *symbol)
{
    const size_t n = strlen(symbol);
    if (list == NULL) return true;
    for (const char *p = list; *p;) {
        const size_t word = strcspn(p, ",");
        if (word == n && memcmp(p, symbol, n) == 0) return true;
        p += word + (p[word] == ',');
    }
    return false;
}

static void copy_header(char out[80], struct mro_cell c) { mro_text_copy(c.p, c.n, out, 80); }

/* What one header cell says. */
struct meaning {
    enum kind kind;
    bool element, rate, best;
    char symbol[4];
    double factor;
};

static struct meaning understand(struct mro_cell c, enum mro_eds_unit unit)
{
    const struct words words = words_of(c);
    struct meaning m = { .kind = SKIP };
    const bool part = any_word(&words, w_at) || any_word(&words, w_wt);
    if (any_word(&words, w_error)) return m;
    const double length = length_unit(c);
    if (any_word(&words, w_distance) && !part && (length > 0 || !any_word(&words, w_counts))) {
        m.kind = DISTANCE;
        m.factor = length;
        m.best = any_word(&words, w_best);
        return m;
    }
    m.element = element_of(&words, m.symbol) && !any_word(&words, w_total);
    if (!m.element || length > 0) {
        m.element = false;
        return m;
    }
    m.rate = is_rate(c, &words);
    if (any_word(&words, w_at))
        m.kind = AT;
    else if (any_word(&words, w_wt))
        m.kind = WT;
    else if (any_word(&words, w_counts) && !m.rate)
        m.kind = COUNTS;
    else if (unit != MRO_EDS_UNIT_HEADER)
        m.kind = unit == MRO_EDS_UNIT_AT ? AT : unit == MRO_EDS_UNIT_WT ? WT : COUNTS;
    return m;
}

/* Is this line the header? A distance and an element. */
static bool is_header(struct mro_cell line, char separator, enum mro_eds_unit unit, size_t *cells)
{
    struct mro_cell c[MAX_COLUMNS];
    bool distance = false, element = false;
    *cells = mro_cells(line, separator, c, MAX_COLUMNS);
    if (*cells < 2 || *cells > MAX_COLUMNS) return false;
    for (size_t i = 0; i < *cells; i++) {
        double v;
        if (mro_cell_number(c[i], &v)) return false;
        const struct meaning m = understand(c[i], unit);
        distance |= m.kind == DISTANCE;
        element |= m.element;
    }
    return distance && element;
}

static enum mro_code add_column(struct table *t, const struct meaning *m, size_t cell, struct mro_cell text,
                                struct mro_eds_profile *p, struct mro_error *e)
{
    size_t k = 0;
    char header[80];
    copy_header(header, text);
    while (k < t->elements && strcmp(t->symbol[k], m->symbol) != 0) k++;
    if (k == t->elements) {
        if (k == MRO_EDS_MAX_ELEMENTS)
            return MRO_FAIL(e, MRO_EDATA,
                            "'%s' has columns of more than %d elements; name those to use with `elements`", t->in.name,
                            MRO_EDS_MAX_ELEMENTS);
        memcpy(t->symbol[t->elements++], m->symbol, 4);
    }
    for (size_t i = 0; i < t->columns; i++) {
        if (t->column[i].kind != m->kind || t->column[i].element != k || m->kind == DISTANCE) continue;
        mro_warn(p, "%s is there twice, as '%s' and '%s': the first is used", m->symbol, t->column[i].header, header);
        return MRO_OK;
    }
    struct column *c = &t->column[t->columns++];
    *c = (struct column){ .kind = m->kind, .element = k, .cell = cell };
    memcpy(c->header, header, sizeof header);
    return MRO_OK;
}

/* Every element that was asked for has to have a column. */
static enum mro_code check_wanted(const struct table *t, const char *list, struct mro_error *e)
{
    const char *p = list;
    do {
        const size_t word = strcspn(p, ",");
        size_t k = 0;
        while (k < t->elements && (strlen(t->symbol[k]) != word || memcmp(t->symbol[k], p, word) != 0)) k++;
        if (k == t->elements)
            return MRO_FAIL(e, MRO_EDATA, "'%s' has no column of '%.*s', which `elements` %s asks for", t->in.name,
                            (int)word, p, list);
        p += word + (p[word] == ',');
    } while (*p);
    return MRO_OK;
}

/* Takes the columns from the header's cells, where `units` (may be NULL) is a second header line with the units. */
static enum mro_code take_header(struct table *t, struct mro_cell line, const struct mro_eds_table_options *o,
                                 const char **joined, struct mro_eds_profile *p, struct mro_error *e)
{
    struct mro_cell c[MAX_COLUMNS], u[MAX_COLUMNS];
    const size_t saved_at = t->in.at, saved_line = t->in.line;
    struct mro_cell below;
    bool second = false;
    char *buffer = NULL;
    t->cells = mro_cells(line, t->separator, c, MAX_COLUMNS);
    if (mro_lines_next(&t->in, &below) && mro_cells(below, t->separator, u, MAX_COLUMNS) == t->cells) {
        double v;
        second = true;
        size_t filled = 0;
        for (size_t i = 0; i < t->cells; i++) second &= !mro_cell_number(u[i], &v), filled += u[i].n > 0;
        /* A row of units says a length or a share; a first row of data with text in it does not. */
        second &= 2 * filled >= t->cells;
        bool unit = false;
        for (size_t i = 0; second && i < t->cells; i++) {
            const struct words w = words_of(u[i]);
            double factor;
            char text[32];
            snprintf(text, sizeof text, "%.*s", (int)(u[i].n < 31 ? u[i].n : 31), u[i].p);
            unit |= any_word(&w, w_at) || any_word(&w, w_wt) || any_word(&w, w_counts) || length_unit(u[i]) > 0 ||
                    mro_unit_parse(text, &factor) == MRO_UNIT_NM;
        }
        second &= unit;
    }
    if (second) { /* header and unit of each column become one text */
        const size_t room = line.n + below.n + 4 * t->cells + 1;
        char *w = buffer = malloc(room);
        if (buffer == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", t->in.name);
        for (size_t i = 0; i < t->cells; i++) {
            const int n =
                snprintf(w, room - (size_t)(w - buffer), "%.*s (%.*s)", (int)c[i].n, c[i].p, (int)u[i].n, u[i].p);
            c[i] = (struct mro_cell){ w, (size_t)n };
            w += n;
        }
        *joined = buffer;
    } else {
        t->in.at = saved_at;
        t->in.line = saved_line;
    }

    size_t distance = SIZE_MAX;
    bool best = false;
    char left_out[160] = "";
    for (size_t i = 0; i < t->cells; i++) {
        const struct meaning m = understand(c[i], o->unit);
        if (m.kind != DISTANCE || (distance != SIZE_MAX && (best || !m.best))) continue;
        distance = i;
        best = m.best;
    }
    if (distance == SIZE_MAX) /* the second line can have changed what a cell means */
        return MRO_FAIL(e, MRO_EFORMAT, "'%s' has no column of distances: write its header as 'Distance (nm)'",
                        t->in.name);
    t->column[0] =
        (struct column){ .kind = DISTANCE, .cell = distance, .factor = understand(c[distance], o->unit).factor };
    copy_header(t->column[0].header, c[distance]);
    t->columns = 1;
    if (!(t->column[0].factor > 0))
        return MRO_FAIL(e, MRO_ECALIB,
                        "'%s': the column '%s' has no unit of length; write its header as 'Distance (nm)' or '(um)'",
                        t->in.name, t->column[0].header);
    for (size_t i = 0; i < t->cells; i++) {
        struct meaning m = understand(c[i], o->unit);
        char header[80];
        copy_header(header, c[i]);
        if (m.element && !wanted(o->elements, m.symbol)) continue;
        if (m.element && m.rate && m.kind == SKIP)
            return MRO_FAIL(e, MRO_EDATA,
                            "'%s': '%s' is a rate, whose noise cannot be known; export counts (rate times dwell time)",
                            t->in.name, header);
        if (m.element && m.kind == SKIP)
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s': the column '%s' does not say what it holds; write at.%%, wt.%% or counts into its "
                            "header, or give `unit` at, wt or counts",
                            t->in.name, header);
        if (m.element) {
            MRO_TRY(add_column(t, &m, i, c[i], p, e));
        } else if (m.kind != DISTANCE && header[0]) {
            const size_t used = strlen(left_out);
            snprintf(left_out + used, sizeof left_out - used, "%s'%s'", used ? ", " : "", header);
        }
    }
    if (left_out[0]) mro_warn(p, "columns that are no composition are left out: %s", left_out);
    return o->elements ? check_wanted(t, o->elements, e) : MRO_OK;
}

static enum mro_code find_header(struct table *t, const struct mro_eds_table_options *o, const char **joined,
                                 struct mro_eds_profile *p, struct mro_error *e)
{
    static const char separators[] = "\t;,";
    struct mro_cell line;
    while (t->in.line < HEADER_LINES && mro_lines_next(&t->in, &line)) {
        for (const char *s = separators; *s; s++) {
            size_t cells;
            if (!is_header(line, *s, o->unit, &cells)) continue;
            t->separator = *s;
            return take_header(t, line, o, joined, p, e);
        }
    }
    return MRO_FAIL(e, MRO_EFORMAT,
                    "'%s' is no line profile: no line has a distance ('Distance (nm)') and elements ('Fe (at.%%)', 'Fe "
                    "(counts)') as headers",
                    t->in.name);
}

/* ---- rows ---- */

static enum mro_code grow(struct table *t, struct mro_error *e)
{
    if (t->rows < t->room) return MRO_OK;
    const size_t room = t->room ? 2 * t->room : 256;
    if (t->rows == MRO_EDS_MAX_POINTS)
        return MRO_FAIL(e, MRO_EDATA, "'%s' has more than %d points", t->in.name, MRO_EDS_MAX_POINTS);
    size_t *lines = realloc(t->row_line, room * sizeof *lines);
    if (lines) t->row_line = lines;
    for (size_t i = 0; lines && i < t->columns; i++) {
        double *v = realloc(t->column[i].v, room * sizeof *v);
        if (v == NULL)
            lines = NULL;
        else
            t->column[i].v = v;
    }
    if (lines == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", t->in.name);
    t->room = room;
    return MRO_OK;
}

static enum mro_code take_row(struct table *t, const struct mro_cell *c, struct mro_error *e)
{
    MRO_TRY(grow(t, e));
    for (size_t i = 0; i < t->columns; i++) {
        struct column *k = &t->column[i];
        const struct mro_cell cell = c[k->cell];
        char text[40];
        double v;
        mro_text_copy(cell.p, cell.n, text, sizeof text);
        if (cell.n == 0)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has no value in the column '%s'; nothing is filled in",
                            t->in.name, t->in.line, k->header);
        if (!mro_cell_number(cell, &v))
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu, column '%s' holds '%s', which is no number", t->in.name,
                            t->in.line, k->header, text);
        if (k->kind == COUNTS) look_at_mark(cell, t->in.line, k);
        if (k->kind != DISTANCE && v < 0)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu, column '%s' holds %g; %s cannot be negative%s", t->in.name,
                            t->in.line, k->header, v, k->kind == COUNTS ? "counts" : "a share",
                            k->kind == COUNTS ? ": export counts with their background" : "");
        if (k->kind != DISTANCE && v > MOST)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu, column '%s' holds %g, more than there can be", t->in.name,
                            t->in.line, k->header, v);
        if (k->kind == DISTANCE) {
            v *= k->factor;
            if (t->rows > 0 && v == k->v[t->rows - 1])
                return MRO_FAIL(e, MRO_EDATA, "'%s': lines %zu and %zu have the same distance, %g nm", t->in.name,
                                t->row_line[t->rows - 1], t->in.line, v);
            if (t->rows > 0 && v < k->v[t->rows - 1])
                return MRO_FAIL(e, MRO_EDATA,
                                "'%s': distances fall from %g nm to %g nm at line %zu; sort the rows by distance",
                                t->in.name, k->v[t->rows - 1], v, t->in.line);
        }
        k->v[t->rows] = v;
    }
    t->row_line[t->rows++] = t->in.line;
    return MRO_OK;
}

static enum mro_code take_rows(struct table *t, struct mro_error *e)
{
    struct mro_cell line, c[MAX_COLUMNS];
    bool blank = false;
    while (mro_lines_next(&t->in, &line)) {
        const size_t n = mro_cells(line, t->separator, c, MAX_COLUMNS);
        size_t filled = 0;
        double v;
        for (size_t i = 0; i < n && i < MAX_COLUMNS; i++) filled += c[i].n > 0;
        if (filled == 0 || c[0].p[0] == '#') {
            blank |= t->rows > 0;
            continue;
        }
        /* Notes below the table, after an empty line. */
        if (blank && (n <= t->column[0].cell || !mro_cell_number(c[t->column[0].cell], &v))) break;
        size_t most = 0; /* spreadsheets may cut empty cells off the end of a row, or add some */
        for (size_t i = 0; i < t->columns; i++) most = t->column[i].cell > most ? t->column[i].cell : most;
        size_t extra = 0;
        for (size_t i = t->cells; i < n && i < MAX_COLUMNS; i++) extra += c[i].n > 0;
        if (n <= most || extra || n > MAX_COLUMNS)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has %zu cells where the header has %zu%s", t->in.name,
                            t->in.line, n, t->cells,
                            t->separator == ',' && n > t->cells ? "; decimal commas need semicolons between the cells"
                                                                : "");
        MRO_TRY(take_row(t, c, e));
    }
    return MRO_OK;
}

/* ---- from columns to a profile ---- */

static struct column *find(struct table *t, size_t element, enum kind kind)
{
    for (size_t i = 0; i < t->columns; i++)
        if (t->column[i].kind == kind && t->column[i].element == element) return &t->column[i];
    return NULL;
}

static enum mro_code check_units(struct table *t, enum kind *share, bool *counts, struct mro_error *e)
{
    size_t n[5] = { 0 };
    for (size_t k = 0; k < t->elements; k++)
        for (int kind = AT; kind <= COUNTS; kind++) n[kind] += find(t, k, (enum kind)kind) != NULL;
    *share = n[AT] == t->elements ? AT : n[WT] == t->elements ? WT : SKIP;
    *counts = n[COUNTS] == t->elements;
    for (size_t k = 1; k < t->elements; k++) {
        for (int kind = AT; kind <= COUNTS; kind++) {
            const struct column *a = find(t, 0, (enum kind)kind), *b = find(t, k, (enum kind)kind);
            if ((a == NULL) == (b == NULL)) continue;
            if (kind != COUNTS && *share != SKIP) continue; /* a complete set in the other unit is there */
            return MRO_FAIL(
                e, MRO_EDATA,
                "'%s' mixes units: it has %s of %s but not of %s; export all elements in the same units, or "
                "choose some with `elements`",
                t->in.name,
                kind == COUNTS ? "counts"
                : kind == AT   ? "at.%"
                               : "wt.%",
                a ? t->symbol[0] : t->symbol[k], a ? t->symbol[k] : t->symbol[0]);
        }
    }
    return MRO_OK;
}

/* wt.% to at.%, sums to 100. */
static enum mro_code settle_shares(struct table *t, enum kind share, bool counts, const struct mro_eds_table_options *o,
                                   struct mro_eds_profile *p, struct mro_error *e)
{
    const char *unit = share == AT ? "at.%" : "wt.%";
    const double slack = 0.5 + 0.06 * (double)t->elements;
    bool parts = t->rows > 0;
    double worst = 100;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < t->rows; i++) {
            double sum = 0;
            for (size_t k = 0; k < t->elements; k++) sum += find(t, k, share)->v[i];
            if (pass == 0) {
                parts &= fabs(sum - 1) < 0.01 * slack;
                continue;
            }
            if (parts) sum *= 100;
            if (fabs(sum - 100) > fabs(worst - 100)) worst = sum;
            if (!(sum > 0) || (fabs(sum - 100) > slack && !o->normalise && !counts))
                return MRO_FAIL(e, MRO_EDATA,
                                "'%s': the %s in line %zu add up to %.4g, not 100; export all elements of the "
                                "quantification, or give `normalise` to take them as parts of what is there",
                                t->in.name, unit, t->row_line[i], sum);
            double moles = 0;
            for (size_t k = 0; k < t->elements; k++)
                moles += find(t, k, share)->v[i] / (share == WT ? mro_atomic_weight(t->symbol[k]) : 1);
            for (size_t k = 0; k < t->elements; k++) {
                double *v = &find(t, k, share)->v[i];
                *v = 100 * *v / (share == WT ? mro_atomic_weight(t->symbol[k]) : 1) / moles;
            }
        }
    }
    if (fabs(worst - 100) > slack)
        mro_warn(p, "the %s of the table add up to %.4g at worst; all numbers are parts of the elements listed", unit,
                 worst);
    if (parts) mro_warn(p, "the columns add up to 1: taken as fractions, not %s", unit);
    return MRO_OK;
}

static double median_step(const double *x, size_t n)
{
    /* The smallest step that half of the steps do not exceed, by bisection: no copy. */
    double lo = 0, hi = x[n - 1] - x[0];
    for (int i = 0; i < 60; i++) {
        const double mid = (lo + hi) / 2;
        size_t below = 0;
        for (size_t k = 1; k < n; k++) below += x[k] - x[k - 1] <= mid;
        if (2 * below >= n - 1)
            hi = mid;
        else
            lo = mid;
    }
    return hi;
}

static void note_gaps(const struct table *t, struct mro_eds_profile *p)
{
    const double *x = p->x_nm, step = median_step(x, p->n);
    size_t gaps = 0, first = 0;
    for (size_t i = 1; i < p->n; i++) {
        if (x[i] - x[i - 1] < 1.5 * step) continue;
        if (gaps++ == 0) first = i;
    }
    if (gaps)
        mro_warn(p, "the profile has %zu gap%s, the first from %g to %g nm (lines %zu and %zu); nothing is filled in",
                 gaps, gaps > 1 ? "s" : "", x[first - 1], x[first], t->row_line[first - 1], t->row_line[first]);
}

static enum mro_code to_profile(struct table *t, const struct mro_eds_table_options *o, struct mro_eds_profile *p,
                                struct mro_error *e)
{
    enum kind share;
    bool counts;
    if (t->rows == 0) return MRO_FAIL(e, MRO_EDATA, "'%s' has a header and no points below it", t->in.name);
    if (t->rows < 3)
        return MRO_FAIL(e, MRO_EDATA, "'%s' has %zu point%s; a scatter needs three at least", t->in.name, t->rows,
                        t->rows > 1 ? "s" : "");
    for (size_t i = 0; i < t->columns; i++) {
        const struct column *k = &t->column[i];
        if (k->thousands > 0 && k->thousands == k->marked && k->whole > 0)
            return MRO_FAIL(e, MRO_EDATA,
                            "'%s': line %zu, column '%s' has a mark before three digits among whole counts: thousands "
                            "are separated there; export the counts without separators",
                            t->in.name, k->thousands_line, k->header);
    }
    MRO_TRY(check_units(t, &share, &counts, e));
    if (share != SKIP) MRO_TRY(settle_shares(t, share, counts, o, p, e));
    p->n = t->rows;
    p->elements = t->elements;
    p->x_nm = t->column[0].v;
    t->column[0].v = NULL;
    for (size_t k = 0; k < t->elements; k++) {
        struct mro_eds_column *c = &p->column[k];
        struct column *s = share != SKIP ? find(t, k, share) : NULL, *n = counts ? find(t, k, COUNTS) : NULL;
        memcpy(c->symbol, t->symbol[k], sizeof c->symbol);
        if (s) c->at = s->v, s->v = NULL;
        if (n) c->counts = n->v, n->v = NULL;
    }
    note_gaps(t, p);
    return MRO_OK;
}

enum mro_code mro_eds_table(struct mro_eds_profile *p, const void *bytes, size_t size, const char *name,
                            const struct mro_eds_table_options *o, struct mro_error *e)
{
    struct table *t = calloc(1, sizeof *t);
    const char *joined = NULL;
    memset(p, 0, sizeof *p);
    if (t == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    enum mro_code rc = mro_lines_decode(
        &t->in, bytes, size, name,
        "; give images as `map=Fe=FILE`, and spectra with all elements that are to be counted, as `map=Fe,Si=FILE`", e);
    if (rc == MRO_OK) rc = find_header(t, o, &joined, p, e);
    if (rc == MRO_OK) rc = take_rows(t, e);
    if (rc == MRO_OK) rc = to_profile(t, o, p, e);
    if (rc) mro_eds_profile_release(p);
    for (size_t i = 0; i < t->columns; i++) free(t->column[i].v);
    free((void *)joined);
    free(t->row_line);
    mro_lines_release(&t->in);
    free(t);
    return rc;
}

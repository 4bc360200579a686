/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables of one-dimensional profiles: .xy .dat .csv .gr .sq .chi and whatever else has two columns of numbers. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/notes.h"
#include "io/table.h"
#include "mroscope/math/ctf.h"
#include "mroscope/profile.h"

#define MOST_CELLS 64
#define LABEL 64
#define HEADER_LINES 2000
#define LEAST_POINTS 8
#define PROBE_BYTES 65536

void mro_profile_options_default(struct mro_profile_options *o)
{
    memset(o, 0, sizeof *o);
    o->radiation = -1;
}

struct reading {
    struct mro_lines lines;
    char separator;                /* ' ' = white space */
    char label[MOST_CELLS][LABEL]; /* of the columns, normalised; "" = none */
    size_t labels;
    enum mro_abscissa abscissa; /* by the header; AUTO = it does not say */
    enum mro_quantity quantity; /* likewise */
    int radiation;              /* -1 unknown */
    double wavelength_A;
    double *x, *y, *error;
    size_t n, room, *at_line;
};

static bool is_comment(struct mro_cell line)
{
    return line.n == 0 || strchr("#!%'\"[", line.p[0]) != NULL || (line.n > 1 && memcmp(line.p, "//", 2) == 0);
}

static struct mro_cell trim(struct mro_cell c)
{
    while (c.n && isspace((unsigned char)c.p[0])) c.p++, c.n--;
    while (c.n && isspace((unsigned char)c.p[c.n - 1])) c.n--;
    return c;
}

static size_t cells_of(struct mro_cell line, char separator, struct mro_cell *cell)
{
    if (separator != ' ') return mro_cells(line, separator, cell, MOST_CELLS);
    size_t n = 0;
    for (line = trim(line); line.n; line = trim(line)) {
        size_t k = 0;
        while (k < line.n && !isspace((unsigned char)line.p[k])) k++;
        if (n < MOST_CELLS) cell[n] = (struct mro_cell){ line.p, k };
        n++;
        line.p += k;
        line.n -= k;
    }
    return n;
}

/* What programs write for a number that is none. */
static bool is_nan(struct mro_cell c)
{
    static const char *const words[] = { "nan", "inf", "na", "n/a", "--", "null", "infinity" };
    if (c.n && (c.p[0] == '-' || c.p[0] == '+') && c.n > 2 && isalpha((unsigned char)c.p[1])) c.p++, c.n--;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (c.n == strlen(words[i]) && strncasecmp(c.p, words[i], c.n) == 0) return true;
    return false;
}

/* Whether a line is data: two numbers at its start. Finds the separator. */
static bool is_data(struct mro_cell line, char *separator)
{
    static const char separators[] = { '\t', ';', ',', ' ' };
    struct mro_cell cell[MOST_CELLS];
    double v;
    line = trim(line);
    for (size_t i = 0; i < sizeof separators; i++) {
        const size_t n = cells_of(line, separators[i], cell);
        if (n < 2 || n > MOST_CELLS || !mro_cell_number(cell[0], &v)) continue;
        if (!mro_cell_number(cell[1], &v) && !is_nan(cell[1])) continue;
        /* "1,5 2,5" is a decimal comma between blanks, not four cells. */
        if (separators[i] == ',' && memchr(line.p, ',', line.n) && cells_of(line, ' ', cell) > 1 &&
            cell[0].p[cell[0].n - 1] != ',' && mro_cell_number(cell[0], &v) && mro_cell_number(cell[1], &v))
            continue;
        *separator = separators[i];
        return true;
    }
    return false;
}

/* A label without blanks and marks, in small letters, with the ways to write Angstrom made "a". */
static void normalise(struct mro_cell c, char out[LABEL])
{
    static const char *const words[][2] = { { "\xc3\x85", "a" },          { "\xc3\xa5", "a" },
                                            { "\xe2\x84\xab", "a" },      { "inverseangstroms", "1/a" },
                                            { "inverseangstrom", "1/a" }, { "angstroms", "a" },
                                            { "angstrom", "a" },          { "\xcf\x86", "phi" },
                                            { "\xce\xb8", "theta" },      { "\xe2\x88\x92", "-" } };
    size_t n = 0;
    char text[4 * LABEL];
    for (size_t i = 0; i < c.n && n + 1 < sizeof text; i++)
        if (!isspace((unsigned char)c.p[i]) && strchr("#$\\{}\"'", c.p[i]) == NULL)
            text[n++] = (char)tolower((unsigned char)c.p[i]);
    text[n] = '\0';
    size_t k = 0;
    for (size_t i = 0; i < n && k + strlen("theta") < LABEL;) { /* the longest of the words */
        bool replaced = false;
        for (size_t w = 0; w < sizeof words / sizeof *words && !replaced; w++) {
            const size_t m = strlen(words[w][0]);
            if (strncmp(text + i, words[w][0], m) != 0) continue;
            k += (size_t)snprintf(out + k, LABEL - k, "%s", words[w][1]);
            i += m;
            replaced = true;
        }
        if (!replaced) out[k++] = text[i++];
    }
    out[k] = '\0';
}

static bool has(const char *text, const char *part) { return strstr(text, part) != NULL; }

static enum mro_abscissa abscissa_of(const char *label)
{
    const bool nm = has(label, "nm");
    if (has(label, "2theta") || has(label, "2-theta") || has(label, "2_theta") || has(label, "twotheta") ||
        has(label, "two_theta") || has(label, "tth") || strncmp(label, "2th", 3) == 0)
        return MRO_ABSCISSA_TWO_THETA;
    if (label[0] == 'q' && !isalpha((unsigned char)label[1])) return nm ? MRO_ABSCISSA_Q_NM : MRO_ABSCISSA_Q_A;
    if (label[0] == 'r' && !isalpha((unsigned char)label[1])) return nm ? MRO_ABSCISSA_AUTO : MRO_ABSCISSA_R_A;
    const bool inverse = has(label, "1/") || has(label, "-1") || has(label, "inv");
    if ((label[0] == 's' || label[0] == 'k') && !isalpha((unsigned char)label[1]) && inverse && !has(label, "(q)"))
        return nm ? MRO_ABSCISSA_S_NM : MRO_ABSCISSA_S_A;
    if (strncmp(label, "1/d", 3) == 0) return has(label + 3, "nm") ? MRO_ABSCISSA_S_NM : MRO_ABSCISSA_S_A;
    return MRO_ABSCISSA_AUTO;
}

static bool is_error_label(const char *label)
{
    return has(label, "sigma") || has(label, "err") || has(label, "esd") || has(label, "std") || has(label, "_se") ||
           strcmp(label, "se") == 0 || strcmp(label, "di") == 0 || strcmp(label, "dg") == 0 || strcmp(label, "ds") == 0;
}

/* A number after a word in a line of the header, with a length as its unit, in Angstrom; 0 = none. */
static double wavelength_in(const char *text)
{
    const char *p = strstr(text, "wavelength");
    if (p == NULL) p = strstr(text, "lambda");
    if (p == NULL) return 0;
    bool nm = false; /* "wavelength (nm): 0.0154" */
    for (; *p && !isdigit((unsigned char)*p); p++) nm = nm || strncmp(p, "nm", 2) == 0;
    char *end;
    const double v = strtod(p, &end);
    if (!(end > p) || !(v > 0)) return 0;
    while (*end == ' ') end++;
    if (*end == 'n' || nm) return 10 * v;
    if (*end == 'm') return 1e10 * v;
    return v < 1e-8 ? 1e10 * v : v; /* metres without saying so, as calibration programs write it */
}

/* One line above the data. */
static void take_header(struct reading *r, struct mro_cell line)
{
    struct mro_cell cell[MOST_CELLS];
    char lower[512], label[LABEL];
    size_t n = line.n < sizeof lower - 1 ? line.n : sizeof lower - 1;
    for (size_t i = 0; i < n; i++) lower[i] = (char)tolower((unsigned char)line.p[i]);
    lower[n] = '\0';
    const double wavelength = wavelength_in(lower);
    if (wavelength > 0) r->wavelength_A = wavelength;
    if (has(lower, "electron")) r->radiation = MRO_RADIATION_ELECTRONS;
    if (has(lower, "x-ray") || has(lower, "xray") || has(lower, "synchrotron")) r->radiation = MRO_RADIATION_X_RAYS;
    if (has(lower, "neutron")) r->radiation = MRO_RADIATION_NEUTRONS;
    while (line.n && strchr("#!% ", line.p[0])) line.p++, line.n--;
    if (line.n > 2 && line.p[0] == 'L' && line.p[1] == ' ') line.p += 2, line.n -= 2; /* "#L" of SPEC */
    line = trim(line);
    if (line.n == 0) return;
    const char separator = memchr(line.p, '\t', line.n)                         ? '\t'
                           : memchr(line.p, ';', line.n)                        ? ';'
                           : memchr(line.p, ',', line.n) && r->separator != ' ' ? ','
                                                                                : ' ';
    normalise(line, label); /* the whole line: "Q (1/A)" has a blank in it */
    enum mro_abscissa found = abscissa_of(label);
    n = cells_of(line, separator, cell);
    if (found == MRO_ABSCISSA_AUTO && n) {
        normalise(cell[0], label);
        found = abscissa_of(label);
    }
    if (found == MRO_ABSCISSA_AUTO) return;
    /* Labels, where there is one for each column: a unit after a blank belongs to the word before it. */
    r->abscissa = found;
    r->labels = 0;
    for (size_t i = 0; i < n && i < MOST_CELLS; i++) {
        if (separator == ' ' && r->labels && strchr("([/", cell[i].p[0])) continue;
        normalise(cell[i], r->label[r->labels++]);
    }
    const char *second = r->labels > 1 ? r->label[1] : "";
    if (found == MRO_ABSCISSA_R_A)
        r->quantity = MRO_QUANTITY_G;
    else if (strcmp(second, "s") == 0 || strncmp(second, "s(", 2) == 0 || strncmp(second, "sq", 2) == 0)
        r->quantity = MRO_QUANTITY_S;
    if (strcmp(r->label[0], "s_inv_nm") == 0 && r->radiation < 0) r->radiation = MRO_RADIATION_ELECTRONS;
}

static bool ends_in(const char *name, const char *ending)
{
    const size_t n = strlen(name), m = strlen(ending);
    if (n < m) return false;
    for (size_t i = 0; i < m; i++)
        if (tolower((unsigned char)name[n - m + i]) != ending[i]) return false;
    return true;
}

bool mro_profile_probe(const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    const size_t n = size < PROBE_BYTES ? size : PROBE_BYTES;
    struct mro_error e;
    struct mro_lines lines = { 0 };
    struct mro_cell line;
    size_t data = 0;
    char separator;
    for (size_t i = 0; i < n && !(n > 1 && (p[0] == 0xff || p[0] == 0xfe)); i++)
        if (p[i] == 0) return false;
    if (mro_lines_decode(&lines, bytes, n, "", "", &e)) return false;
    while (data < 3 && mro_lines_next(&lines, &line)) {
        line = trim(line);
        if (!is_comment(line)) data = is_data(line, &separator) ? data + 1 : 0;
    }
    mro_lines_release(&lines);
    return data >= 3;
}

static bool grown(struct reading *r)
{
    if (r->n < r->room) return true;
    const size_t room = r->room ? 2 * r->room : 1024;
    double *x = realloc(r->x, room * sizeof *x);
    if (x) r->x = x;
    double *y = realloc(r->y, room * sizeof *y);
    if (y) r->y = y;
    double *error = realloc(r->error, room * sizeof *error);
    if (error) r->error = error;
    size_t *at = realloc(r->at_line, room * sizeof *at);
    if (at) r->at_line = at;
    if (!x || !y || !error || !at) return false;
    r->room = room;
    return true;
}

/* Number in column k (from 0) of a row of data. */
static enum mro_code number_in(const struct reading *r, const struct mro_cell *cell, size_t k, double *v,
                               struct mro_error *e)
{
    if (mro_cell_number(cell[k], v) && isfinite(*v)) return MRO_OK;
    char text[40];
    snprintf(text, sizeof text, "%.*s", (int)(cell[k].n < 32 ? cell[k].n : 32), cell[k].p);
    return MRO_FAIL(e, MRO_EDATA,
                    "'%s': line %zu, column %zu holds '%s', which is no number; leave such rows out of the table",
                    r->lines.name, r->lines.line, k + 1, text);
}

static enum mro_code take_data(struct reading *r, size_t column, size_t error_column, struct mro_error *e)
{
    struct mro_cell line, cell[MOST_CELLS];
    const size_t last = error_column > column ? error_column : column;
    do {
        line = (struct mro_cell){ 0 };
        if (!mro_lines_next(&r->lines, &line)) return MRO_OK;
        line = trim(line);
        if (is_comment(line)) continue;
        const size_t n = cells_of(line, r->separator, cell);
        if (n <= last || n > MOST_CELLS)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has %zu columns where %zu are needed", r->lines.name,
                            r->lines.line, n, last + 1);
        if (!grown(r)) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", r->lines.name);
        r->error[r->n] = NAN;
        MRO_TRY(number_in(r, cell, 0, &r->x[r->n], e));
        MRO_TRY(number_in(r, cell, column, &r->y[r->n], e));
        if (error_column) MRO_TRY(number_in(r, cell, error_column, &r->error[r->n], e));
        r->at_line[r->n++] = r->lines.line;
    } while (true);
}

/* Whether what was read as errors may be some: not negative, and mostly smaller than the values. */
static bool like_errors(const struct reading *r)
{
    size_t small = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (!(r->error[i] >= 0)) return false;
        small += r->error[i] < 0.5 * fabs(r->y[i]);
    }
    return 4 * small > 3 * r->n;
}

static enum mro_code to_s(struct reading *r, enum mro_abscissa a, const struct mro_profile_options *o,
                          struct mro_profile *p, struct mro_error *e)
{
    static const char *const words[] = {
        "", "Q in 1/Angstrom", "Q in 1/nm", "s in 1/nm", "s in 1/Angstrom", "2 theta in degrees", "r in Angstrom"
    };
    double wavelength = o->wavelength_A > 0 ? o->wavelength_A : r->wavelength_A;
    if (!(wavelength > 0) && p->radiation == MRO_RADIATION_ELECTRONS && o->beam_kv > 0)
        wavelength = 10 * mro_wavelength_nm(o->beam_kv);
    if (a == MRO_ABSCISSA_TWO_THETA && !(wavelength > 0))
        return MRO_FAIL_LACKING(e, MRO_LACKS_WAVELENGTH, "'%s' is over 2 theta, which needs the wavelength",
                                r->lines.name);
    for (size_t i = 0; i < r->n; i++) {
        const double x = r->x[i];
        if (x < 0)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has %s = %g, which cannot be negative", r->lines.name,
                            r->at_line[i], words[a], x);
        if (i && !(x > r->x[i - 1]))
            return MRO_FAIL(e, MRO_EDATA, "'%s': %s %s from line %zu to line %zu (%g, %g); sort the rows",
                            r->lines.name, words[a], x == r->x[i - 1] ? "stays the same" : "falls", r->at_line[i - 1],
                            r->at_line[i], r->x[i - 1], x);
        if (a == MRO_ABSCISSA_TWO_THETA && x >= 180)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has 2 theta = %g degrees", r->lines.name, r->at_line[i], x);
        switch (a) {
        case MRO_ABSCISSA_Q_A: p->s_inv_nm[i] = 10 * x / (2 * MRO_PI); break;
        case MRO_ABSCISSA_Q_NM: p->s_inv_nm[i] = x / (2 * MRO_PI); break;
        case MRO_ABSCISSA_S_A: p->s_inv_nm[i] = 10 * x; break;
        case MRO_ABSCISSA_TWO_THETA: p->s_inv_nm[i] = 20 * sin(x * MRO_PI / 360) / wavelength; break;
        default: p->s_inv_nm[i] = x; break;
        }
        p->intensity[i] = r->y[i];
        p->se[i] = r->error[i];
    }
    p->wavelength_A = p->radiation == MRO_RADIATION_ELECTRONS ? 0 : wavelength;
    p->beam_kv = o->beam_kv;
    snprintf(p->axis, sizeof p->axis, "%s", words[a]);
    const double step = (p->s_inv_nm[r->n - 1] - p->s_inv_nm[0]) / (double)(r->n - 1);
    p->step_inv_nm = step;
    for (size_t i = 1; i < r->n; i++)
        if (fabs(p->s_inv_nm[i] - p->s_inv_nm[i - 1] - step) > 0.01 * step) p->step_inv_nm = 0;
    if (a != MRO_ABSCISSA_R_A) return MRO_OK;
    p->r_A = p->s_inv_nm;
    p->s_inv_nm = NULL;
    p->step_inv_nm = 0;
    return MRO_OK;
}

static enum mro_code read_table(struct reading *r, const struct mro_profile_options *o, struct mro_profile *p,
                                struct mro_error *e)
{
    const char *name = r->lines.name;
    struct mro_cell line, cell[MOST_CELLS];
    size_t columns = 0, before;
    r->radiation = -1;
    r->separator = ',';
    /* The first of the lines that are data: everything above is header. A line with one number is Fit2D's count. */
    for (size_t i = 0;; i++) {
        before = r->lines.at;
        if (!mro_lines_next(&r->lines, &line) || i >= HEADER_LINES)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' is no table of numbers: no line has two of them", name);
        line = trim(line);
        if (is_comment(line) || !is_data(line, &r->separator)) {
            take_header(r, line);
            continue;
        }
        columns = cells_of(line, r->separator, cell);
        break;
    }
    r->lines.at = before; /* again, as data */
    r->lines.line--;
    enum mro_abscissa a = o->abscissa ? o->abscissa : r->abscissa;
    if (a == MRO_ABSCISSA_AUTO) {
        a = ends_in(name, ".gr") ? MRO_ABSCISSA_R_A : ends_in(name, ".sq") ? MRO_ABSCISSA_Q_A : MRO_ABSCISSA_AUTO;
        if (a == MRO_ABSCISSA_AUTO)
            return MRO_FAIL_LACKING(e, MRO_LACKS_ABSCISSA, "'%s' does not say what its first column is", name);
        if (a == MRO_ABSCISSA_Q_A)
            mro_note(&p->warnings, &p->n_warnings,
                     "the first column is taken for Q in 1/Angstrom by the name's ending; the table does not say");
    }
    size_t column = o->column ? (size_t)o->column - 1 : 1,
           error_column = o->error_column ? (size_t)o->error_column - 1 : 0;
    if (o->column < 0 || o->error_column < 0 || column == 0 || column >= columns || error_column >= columns ||
        (o->error_column && error_column == 0))
        return MRO_FAIL(e, MRO_EARG, "'%s' has %zu columns, the first of which is the abscissa; there is no column %d",
                        name, columns, column == 0 || column >= columns ? o->column : o->error_column);
    bool guessed = false;
    for (size_t i = 2; !error_column && !o->column && i < r->labels && i < columns; i++)
        if (r->labels == columns && is_error_label(r->label[i])) error_column = i;
    if (!error_column && !o->column && columns >= 3 && r->labels != columns) {
        error_column = 2;
        guessed = true;
    }
    MRO_TRY(take_data(r, column, error_column, e));
    if (r->n < LEAST_POINTS)
        return MRO_FAIL(e, MRO_EDATA, "'%s' has %zu points; a profile needs %d at least", name, r->n, LEAST_POINTS);
    if (guessed && !like_errors(r)) {
        for (size_t i = 0; i < r->n; i++) r->error[i] = NAN;
        error_column = 0;
    }
    for (size_t i = 0; error_column && i < r->n; i++)
        if (r->error[i] < 0)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has an error of %g, which cannot be negative", name,
                            r->at_line[i], r->error[i]);
    char **warnings = p->warnings; /* given so far */
    const size_t n_warnings = p->n_warnings;
    const enum mro_code rc = mro_profile_alloc(p, r->n, 0, e);
    p->warnings = warnings;
    p->n_warnings = n_warnings;
    MRO_TRY(rc);
    p->quantity = a == MRO_ABSCISSA_R_A                                   ? MRO_QUANTITY_G
                  : r->quantity == MRO_QUANTITY_S || ends_in(name, ".sq") ? MRO_QUANTITY_S
                                                                          : MRO_QUANTITY_INTENSITY;
    p->radiation = o->radiation >= 0   ? (enum mro_radiation)o->radiation
                   : r->radiation >= 0 ? (enum mro_radiation)r->radiation
                                       : MRO_RADIATION_X_RAYS;
    if (o->radiation < 0 && r->radiation < 0 && p->quantity == MRO_QUANTITY_INTENSITY)
        mro_note(&p->warnings, &p->n_warnings, "the table does not say of what radiation it is: taken for X-rays");
    if (!error_column)
        mro_note(&p->warnings, &p->n_warnings, "the table has no column of errors: those of the points are unknown");
    snprintf(p->source, sizeof p->source, "column %zu of '%.120s'", column + 1, name);
    return to_s(r, a, o, p, e);
}

enum mro_code mro_profile_read(struct mro_profile *p, const void *bytes, size_t size, const char *name,
                               const struct mro_profile_options *o, struct mro_error *e)
{
    struct reading *r = calloc(1, sizeof *r);
    memset(p, 0, sizeof *p);
    if (r == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    enum mro_code rc = mro_lines_decode(&r->lines, bytes, size, name, "; a profile is a table of two columns", e);
    if (rc == MRO_OK) rc = read_table(r, o, p, e);
    if (rc) mro_profile_release(p);
    mro_lines_release(&r->lines);
    free(r->x);
    free(r->y);
    free(r->error);
    free(r->at_line);
    free(r);
    return rc;
}

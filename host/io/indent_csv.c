/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables of indents: matrices, and rows with coordinates. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "io/table.h"
#include "io/text.h"
#include "mroscope/image.h"
#include "mroscope/indent.h"

#define MAX_COLUMNS 2048
#define HEADER_LINES 200

/* All lines with cells, as they are. */
struct row {
    size_t line, first, n; /* line number; cells */
};

struct text {
    struct mro_lines in;
    struct row *row;
    size_t rows, room;
    struct mro_cell *cell;
    size_t cells, cell_room;
    char separator;
};

static bool equal(struct mro_cell c, const char *word)
{
    size_t i = 0;
    while (i < c.n && word[i] && tolower((unsigned char)c.p[i]) == word[i]) i++;
    return i == c.n && word[i] == '\0';
}

/* A cell that says that there is no value. */
static bool is_hole(struct mro_cell c)
{
    static const char *const words[] = { "",   "nan", "na", "n/a",  "#n/a", "#na", "-",
                                         "--", "---", "*",  "none", "null", "x" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (equal(c, words[i])) return true;
    return c.n == 3 && memcmp(c.p, "\xe2\x80\x93", 3) == 0; /* an en dash */
}

static bool is_number(struct mro_cell c)
{
    double v;
    return mro_cell_number(c, &v);
}

/* Cells of a line; blanks separate as runs. */
static size_t cells_of(struct mro_cell line, char separator, struct mro_cell *c, size_t room)
{
    if (separator != ' ') return mro_cells(line, separator, c, room);
    size_t n = 0;
    for (size_t i = 0; i < line.n;) {
        while (i < line.n && isspace((unsigned char)line.p[i])) i++;
        size_t k = i;
        while (k < line.n && !isspace((unsigned char)line.p[k])) k++;
        if (k > i) {
            if (n < room) c[n] = (struct mro_cell){ line.p + i, k - i };
            n++;
        }
        i = k;
    }
    return n;
}

/* Which separator makes numbers of this line's cells; 0 = none. */
static char separator_of(struct mro_cell line)
{
    static const char separators[] = "\t;, ";
    struct mro_cell *c = malloc(MAX_COLUMNS * sizeof *c);
    char found = 0;
    for (const char *s = separators; c && *s && !found; s++) {
        const size_t n = cells_of(line, *s, c, MAX_COLUMNS);
        size_t numbers = 0, others = 0;
        if (n < 2 || n > MAX_COLUMNS) continue;
        for (size_t i = 0; i < n; i++) {
            if (is_number(c[i]))
                numbers++;
            else if (!is_hole(c[i]))
                others++;
        }
        if (numbers && others <= 1) found = *s;
    }
    free(c);
    return found;
}

static enum mro_code keep_row(struct text *t, struct mro_cell line, struct mro_error *e)
{
    struct mro_cell *c = malloc(MAX_COLUMNS * sizeof *c);
    enum mro_code rc = MRO_OK;
    const char *name = t->in.name;
    size_t n = c ? cells_of(line, t->separator, c, MAX_COLUMNS) : 0;
    if (c == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    if (n > MAX_COLUMNS)
        rc = MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has %zu cells; %d can be read", name, t->in.line, n, MAX_COLUMNS);
    if (rc == MRO_OK && t->cells + n > MRO_INDENT_MOST)
        rc = MRO_FAIL(e, MRO_EDATA, "'%s' has more than %d cells", name, MRO_INDENT_MOST);
    if (rc == MRO_OK && t->rows == t->room) {
        const size_t room = t->room ? 2 * t->room : 64;
        struct row *grown = realloc(t->row, room * sizeof *grown);
        if (grown)
            t->row = grown, t->room = room;
        else
            rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    }
    if (rc == MRO_OK && t->cells + n > t->cell_room) {
        const size_t room = 2 * (t->cells + n) + 64;
        struct mro_cell *grown = realloc(t->cell, room * sizeof *grown);
        if (grown)
            t->cell = grown, t->cell_room = room;
        else
            rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    }
    if (rc == MRO_OK) {
        t->row[t->rows++] = (struct row){ t->in.line, t->cells, n };
        memcpy(t->cell + t->cells, c, n * sizeof *c);
        t->cells += n;
    }
    free(c);
    return rc;
}

static struct mro_cell cell_at(const struct text *t, size_t row, size_t column)
{
    return column < t->row[row].n ? t->cell[t->row[row].first + column] : (struct mro_cell){ "", 0 };
}

/* ---- headers ---- */

/* The unit in brackets, or after a slash or comma, of a header. */
static bool unit_in(struct mro_cell c, char *out, size_t room)
{
    size_t from = 0, to = 0;
    for (size_t i = 0; i < c.n; i++)
        if (c.p[i] == '(' || c.p[i] == '[') {
            from = i + 1;
            to = from;
            while (to < c.n && c.p[to] != ')' && c.p[to] != ']') to++;
        }
    if (from == 0)
        for (size_t i = 0; i + 1 < c.n && from == 0; i++)
            if (c.p[i] == '/' || c.p[i] == ',' || c.p[i] == '_') from = i + 1, to = c.n;
    if (from == 0) { /* the last of several words: "Hardness GPa" */
        static const char *const units[] = {
            "gpa", "mpa", "kpa", "pa", "hv", "um", "nm", "mm", "\xc2\xb5m", "\xce\xbcm"
        };
        size_t word = c.n;
        while (word > 0 && c.p[word - 1] != ' ') word--;
        const struct mro_cell last = { c.p + word, c.n - word };
        for (size_t i = 0; word > 0 && i < sizeof units / sizeof *units; i++)
            if (equal(last, units[i])) from = word, to = c.n;
    }
    if (from == 0) return false;
    mro_text_copy(c.p + from, to - from, out, room);
    return out[0] != '\0';
}

/* Words of a header before its unit, lower case. */
static void words_of(struct mro_cell c, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < c.n && n + 1 < room; i++) {
        if (c.p[i] == '(' || c.p[i] == '[') break;
        out[n++] = (char)(isalnum((unsigned char)c.p[i]) ? tolower((unsigned char)c.p[i]) : ' ');
    }
    out[n] = '\0';
}

static bool has_word(const char *words, const char *const *list)
{
    for (; *list; list++) {
        const size_t n = strlen(*list);
        for (const char *p = strstr(words, *list); p; p = strstr(p + 1, *list))
            if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0')) return true;
    }
    return false;
}

static const char *const w_x[] = { "x", NULL }, *const w_y[] = { "y", NULL };
static const char *const w_hardness[] = { "h", "hardness", "hit", "hv", "hm", "haerte", "harte", NULL };
static const char *const w_modulus[] = { "e", "er", "eit", "modulus", "young", "youngs", NULL };
static const char *const w_other[] = { "test", "nr",    "no",    "number",    "index", "indent", "point",
                                       "id",   "depth", "load",  "force",     "z",     "time",   "date",
                                       "sd",   "std",   "error", "stiffness", "row",   "column", NULL };

static bool named(struct mro_cell c, const char *column)
{
    char full[80], words[80], want[80];
    mro_text_copy(c.p, c.n, full, sizeof full);
    words_of(c, words, sizeof words);
    words_of((struct mro_cell){ column, strlen(column) }, want, sizeof want);
    size_t n = strlen(words);
    while (n && words[n - 1] == ' ') words[--n] = '\0';
    n = strlen(want);
    while (n && want[n - 1] == ' ') want[--n] = '\0';
    return strcmp(full, column) == 0 || strcmp(words, want) == 0;
}

/* ---- values ---- */

static enum mro_code room_for(struct mro_indent_table *t, size_t n, bool places, const char *name, struct mro_error *e)
{
    t->value = malloc((n ? n : 1) * sizeof *t->value);
    if (places) {
        t->x = malloc((n ? n : 1) * sizeof *t->x);
        t->y = malloc((n ? n : 1) * sizeof *t->y);
    }
    if (t->value && (!places || (t->x && t->y))) return MRO_OK;
    return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
}

/* The value of a cell; *hole: there is none. */
static enum mro_code take_value(const struct text *in, size_t row, size_t column, const char *header,
                                const struct mro_indent_table_options *o, double *v, bool *hole, struct mro_error *e)
{
    const struct mro_cell c = cell_at(in, row, column);
    char text[40], where[96];
    *hole = is_hole(c);
    if (*hole) return MRO_OK;
    mro_text_copy(c.p, c.n, text, sizeof text);
    if (header && header[0])
        snprintf(where, sizeof where, "column '%s'", header);
    else
        snprintf(where, sizeof where, "column %zu", column + 1);
    if (!mro_cell_number(c, v))
        return MRO_FAIL(e, MRO_EDATA,
                        "'%s': line %zu, %s holds '%s', which is no number; leave the cell of a failed indent empty",
                        in->in.name, in->row[row].line, where, text);
    if (!(*v > 0) && !o->negative)
        return MRO_FAIL(
            e, MRO_EDATA,
            "'%s': line %zu, %s holds %s; hardness and modulus are above 0: leave the cell of a failed indent "
            "empty, or give `negative`",
            in->in.name, in->row[row].line, where, text);
    return MRO_OK;
}

/* Numbers written as 8,745 in a table with commas between its cells come apart into 8 and 745. */
static bool split_decimals(const struct text *in, size_t first)
{
    size_t digits = 0;
    if (in->separator != ',' || in->rows == first) return false;
    for (size_t r = first; r < in->rows; r++) {
        if (in->row[r].n % 2) return false;
        for (size_t i = 0; i < in->row[r].n; i++) {
            const struct mro_cell c = cell_at(in, r, i);
            for (size_t k = 0; k < c.n; k++)
                if (!isdigit((unsigned char)c.p[k])) return false;
            if (i % 2 == 0 ? c.n == 0 || c.n > 3 : c.n < 1) return false;
            if (i % 2 && digits == 0) digits = c.n;
            if (i % 2 && c.n != digits) return false;
        }
    }
    /* Whole numbers of one length in every second column, such as 9,105: two digits may be a table of small numbers. */
    return digits >= 3;
}

static void trim_rows(struct text *in)
{
    for (size_t r = 0; r < in->rows; r++)
        while (in->row[r].n && cell_at(in, r, in->row[r].n - 1).n == 0) in->row[r].n--;
}

static enum mro_code take_matrix(const struct text *in, size_t first, bool corner, struct mro_indent_table *t,
                                 const struct mro_indent_table_options *o, double length, struct mro_error *e)
{
    const char *name = in->in.name;
    size_t columns = 0;
    for (size_t r = first; r < in->rows; r++)
        if (in->row[r].n > columns) columns = in->row[r].n;
    const size_t c0 = corner ? 1 : 0, r0 = first + c0;
    /* A row may lack cells at its end only where others have holes there: a spreadsheet cuts them off. */
    for (size_t r = first; r < in->rows; r++)
        if (in->row[r].n + 1 < columns && columns > c0 + 1 && in->row[r].n * 2 < columns)
            return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has %zu cells where others have %zu", name, in->row[r].line,
                            in->row[r].n, columns);
    MRO_TRY(room_for(t, (in->rows - r0) * (columns - c0), true, name, e));
    double *cx = malloc(columns * sizeof *cx);
    if (cx == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    enum mro_code rc = MRO_OK;
    for (size_t i = c0; i < columns; i++) {
        cx[i] = (double)(i - c0) * (o->pitch_nm[1] > 0 ? o->pitch_nm[1] : 1);
        if (corner && mro_cell_number(cell_at(in, first, i), &cx[i])) cx[i] *= length > 0 ? length : 1;
    }
    for (size_t r = r0; r < in->rows && rc == MRO_OK; r++) {
        double y = (double)(r - r0) * (o->pitch_nm[0] > 0 ? o->pitch_nm[0] : 1);
        if (corner && mro_cell_number(cell_at(in, r, 0), &y)) y *= length > 0 ? length : 1;
        for (size_t i = c0; i < columns && rc == MRO_OK; i++) {
            double v;
            bool hole;
            rc = take_value(in, r, i, NULL, o, &v, &hole, e);
            if (rc) break;
            if (hole) {
                t->holes++;
                continue;
            }
            t->x[t->n] = cx[i];
            t->y[t->n] = y;
            t->value[t->n++] = v;
        }
    }
    t->source = corner && length > 0 ? MRO_INDENT_TABLE
                : corner             ? MRO_INDENT_ORDER
                : o->pitch_nm[0] > 0 ? MRO_INDENT_GIVEN
                                     : MRO_INDENT_ORDER;
    t->placed = corner;
    free(cx);
    return rc;
}

/* Three columns without a header: are the first two coordinates of a grid? */
static bool looks_like_list(const struct text *in, size_t first)
{
    const size_t n = in->rows - first < 2000 ? in->rows - first : 2000; /* the first say enough */
    size_t distinct[2] = { 0, 0 };
    if (n < 6) return false;
    for (size_t r = first; r < first + n; r++) {
        if (in->row[r].n != 3) return false;
        for (size_t k = 0; k < 2; k++) {
            double v, w;
            bool seen = false;
            if (!mro_cell_number(cell_at(in, r, k), &v)) return false;
            for (size_t s = first; s < r && !seen; s++) seen = mro_cell_number(cell_at(in, s, k), &w) && w == v;
            distinct[k] += !seen;
        }
        if (distinct[0] > 400 || distinct[1] > 400) return false;
    }
    return distinct[0] > 1 && distinct[1] > 1 && distinct[0] * distinct[1] <= 2 * n && distinct[0] < n &&
           distinct[1] < n;
}

static enum mro_code take_list(const struct text *in, size_t first, const size_t column[3], const double length[2],
                               struct mro_indent_table *t, const struct mro_indent_table_options *o,
                               struct mro_error *e)
{
    const bool places = column[0] != SIZE_MAX && column[1] != SIZE_MAX, known = length[0] > 0 && length[1] > 0;
    MRO_TRY(room_for(t, in->rows - first, places, in->in.name, e));
    for (size_t r = first; r < in->rows; r++) {
        double v, at[2] = { 0, 0 };
        bool hole;
        /* Notes below a table. */
        if (in->row[r].n == 1 && column[2] > 0 && !is_number(cell_at(in, r, 0))) continue;
        MRO_TRY(take_value(in, r, column[2], t->quantity, o, &v, &hole, e));
        if (hole) {
            t->holes++;
            continue;
        }
        for (int k = 0; places && k < 2; k++) {
            const struct mro_cell c = cell_at(in, r, column[k]);
            char text[40];
            mro_text_copy(c.p, c.n, text, sizeof text);
            if (!mro_cell_number(c, &at[k]))
                return MRO_FAIL(e, MRO_EDATA, "'%s': line %zu has '%s' for its %c coordinate, which is no number",
                                in->in.name, in->row[r].line, text, k ? 'y' : 'x');
        }
        if (places) {
            t->x[t->n] = at[0] * (known ? length[0] : 1);
            t->y[t->n] = at[1] * (known ? length[1] : 1);
        }
        t->value[t->n++] = v;
    }
    t->placed = places;
    t->source = !places ? MRO_INDENT_NOWHERE : known ? MRO_INDENT_TABLE : MRO_INDENT_ORDER;
    if (places && !known)
        mro_warn(t, "the coordinates have no unit: lengths count columns and rows; write headers as 'X (um)'");
    return MRO_OK;
}

/* A row of headers: mostly text. */
static bool is_header(const struct text *in, size_t row)
{
    size_t numbers = 0, words = 0;
    for (size_t i = 0; i < in->row[row].n; i++) {
        const struct mro_cell c = cell_at(in, row, i);
        if (is_number(c))
            numbers++;
        else if (c.n)
            words++;
    }
    return words > 0 && (numbers == 0 || words >= 2) && words > numbers;
}

static enum mro_code from_header(const struct text *in, size_t row, struct mro_indent_table *t,
                                 const struct mro_indent_table_options *o, struct mro_error *e)
{
    size_t column[3] = { SIZE_MAX, SIZE_MAX, SIZE_MAX }, hard = SIZE_MAX, stiff = SIZE_MAX, any = SIZE_MAX, plain = 0;
    double length[2] = { 1, 1 };
    const char *name = in->in.name;
    for (size_t i = 0; i < in->row[row].n; i++) {
        const struct mro_cell c = cell_at(in, row, i);
        char words[80];
        words_of(c, words, sizeof words);
        if (o->column && column[2] == SIZE_MAX && named(c, o->column)) column[2] = i;
        for (int k = 0; k < 2; k++) {
            char unit[24];
            if (column[k] != SIZE_MAX || !has_word(words, k ? w_y : w_x)) continue;
            column[k] = i;
            if (!unit_in(c, unit, sizeof unit) || mro_unit_parse(unit, &length[k]) != MRO_UNIT_NM) length[k] = 0;
        }
        if (i == column[0] || i == column[1] || c.n == 0) continue;
        if (hard == SIZE_MAX && has_word(words, w_hardness)) hard = i;
        if (stiff == SIZE_MAX && has_word(words, w_modulus)) stiff = i;
        if (has_word(words, w_other)) continue;
        any = i;
        plain++;
    }
    if (o->column && column[2] == SIZE_MAX) return MRO_FAIL(e, MRO_EARG, "'%s' has no column '%s'", name, o->column);
    if (column[2] == SIZE_MAX)
        column[2] = hard != SIZE_MAX ? hard : stiff != SIZE_MAX ? stiff : plain == 1 ? any : SIZE_MAX;
    if (column[2] == SIZE_MAX)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': line %zu names no column of hardness or modulus; write 'H (GPa)' or give `column=NAME`",
                        name, in->row[row].line);
    if ((column[0] == SIZE_MAX) != (column[1] == SIZE_MAX))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has a column of %c coordinates but none of %c", name,
                        in->row[row].line, column[0] == SIZE_MAX ? 'y' : 'x', column[0] == SIZE_MAX ? 'x' : 'y');
    if (column[0] != SIZE_MAX && (length[0] > 0) != (length[1] > 0))
        return MRO_FAIL(
            e, MRO_ECALIB,
            "'%s': of the coordinates in line %zu one has a unit of length and one has none; write headers as "
            "'X (um)', 'Y (um)'",
            name, in->row[row].line);
    const struct mro_cell c = cell_at(in, row, column[2]);
    mro_text_copy(c.p, c.n, t->quantity, sizeof t->quantity);
    unit_in(c, t->unit, sizeof t->unit);
    if (!o->column && hard != SIZE_MAX && stiff != SIZE_MAX)
        mro_warn(t, "the column '%s' is measured; give `column` for another one", t->quantity);
    return take_list(in, row + 1, column, length, t, o, e);
}

static enum mro_code understand(struct text *in, struct mro_cell title, struct mro_indent_table *t,
                                const struct mro_indent_table_options *o, struct mro_error *e)
{
    const char *name = in->in.name;
    if (in->rows == 0) return MRO_FAIL(e, MRO_EFORMAT, "'%s' holds no numbers", name);
    trim_rows(in);
    size_t first = 0;
    while (first < in->rows && is_header(in, first)) first++;
    if (first == in->rows) return MRO_FAIL(e, MRO_EDATA, "'%s' has headers and no values below them", name);
    if (split_decimals(in, first))
        return MRO_FAIL(
            e, MRO_EDATA,
            "'%s': every second cell from line %zu on is a whole number of one length: numbers seem to have "
            "decimal commas, and these need semicolons or tabs between the cells",
            name, in->row[first].line);
    size_t most = 0;
    for (size_t r = first; r < in->rows; r++)
        if (in->row[r].n > most) most = in->row[r].n;
    /* Headers over columns, unless they are a line of words over a matrix. */
    if (first > 0 && in->row[first - 1].n > 1) return from_header(in, first - 1, t, o, e);
    if (first > 0) {
        title = cell_at(in, first - 1, 0);
        if (most == 1) {
            const size_t column[3] = { SIZE_MAX, SIZE_MAX, 0 };
            const double length[2] = { 1, 1 };
            mro_text_copy(title.p, title.n, t->quantity, sizeof t->quantity);
            unit_in(title, t->unit, sizeof t->unit);
            return take_list(in, first, column, length, t, o, e);
        }
    }
    if (title.n) {
        mro_text_copy(title.p, title.n, t->quantity, sizeof t->quantity);
        unit_in(title, t->unit, sizeof t->unit);
    }
    if (o->column) return MRO_FAIL(e, MRO_EARG, "'%s' has no headers, so that it has no column '%s'", name, o->column);
    if (most == 1) {
        const size_t column[3] = { SIZE_MAX, SIZE_MAX, 0 };
        const double length[2] = { 1, 1 };
        return take_list(in, first, column, length, t, o, e);
    }
    if (looks_like_list(in, first)) {
        static const size_t column[3] = { 0, 1, 2 };
        static const double length[2] = { 0, 0 };
        mro_warn(t, "the table has no headers; it is taken as rows of x, y, value");
        return take_list(in, first, column, length, t, o, e);
    }
    /* Coordinates in the first row and column: the corner is empty or words, and all beside it are numbers. */
    const struct mro_cell corner = cell_at(in, first, 0);
    bool framed = !is_number(corner) && in->row[first].n > 2 && in->rows - first > 2;
    for (size_t i = 1; framed && i < in->row[first].n; i++) framed = is_number(cell_at(in, first, i));
    for (size_t r = first + 1; framed && r < in->rows; r++) framed = is_number(cell_at(in, r, 0));
    double length = 1;
    if (framed) {
        /* A missing value in the corner of a matrix looks the same: coordinates rise, or fall, throughout. */
        double a, b, c;
        int sign[2] = { 0, 0 };
        for (size_t i = 2; i < in->row[first].n && framed; i++) {
            mro_cell_number(cell_at(in, first, i - 1), &a);
            mro_cell_number(cell_at(in, first, i), &b);
            const int s = (b > a) - (b < a);
            framed = s != 0 && (sign[0] == 0 || s == sign[0]);
            sign[0] = s;
        }
        for (size_t r = first + 2; r < in->rows && framed; r++) {
            mro_cell_number(cell_at(in, r - 1, 0), &a);
            mro_cell_number(cell_at(in, r, 0), &c);
            const int s = (c > a) - (c < a);
            framed = s != 0 && (sign[1] == 0 || s == sign[1]);
            sign[1] = s;
        }
        char unit[24];
        if (framed && (!unit_in(corner, unit, sizeof unit) || mro_unit_parse(unit, &length) != MRO_UNIT_NM)) {
            length = 0;
            mro_warn(
                t, "the first row and column are taken as coordinates; they have no unit: write it into the corner, as "
                   "'y/x (um)'");
        }
    }
    return take_matrix(in, first, framed, t, o, length, e);
}

enum mro_code mro_indent_table(struct mro_indent_table *t, const void *bytes, size_t size, const char *name,
                               const struct mro_indent_table_options *o, struct mro_error *e)
{
    struct text in = { 0 };
    struct mro_cell line, title = { NULL, 0 };
    memset(t, 0, sizeof *t);
    enum mro_code rc = mro_lines_decode(&in.in, bytes, size, name, "", e);
    /* The first line with several numbers tells the separator; lines of words before it are read with the same one. */
    while (rc == MRO_OK && in.separator == 0 && in.in.line < HEADER_LINES && mro_lines_next(&in.in, &line))
        in.separator = separator_of(line);
    in.in.at = in.in.line = 0;
    if (in.separator == 0) in.separator = ';'; /* one column */
    while (rc == MRO_OK && mro_lines_next(&in.in, &line)) {
        size_t blank = 0;
        while (blank < line.n && isspace((unsigned char)line.p[blank])) blank++;
        if (blank == line.n) continue;
        if (line.p[blank] == '#' || line.p[blank] == '%') {
            if (title.n == 0 && in.rows == 0) title = (struct mro_cell){ line.p + blank + 1, line.n - blank - 1 };
            continue;
        }
        rc = keep_row(&in, line, e);
    }
    if (rc == MRO_OK) rc = understand(&in, title, t, o, e);
    if (rc == MRO_OK && t->n == 0) rc = MRO_FAIL(e, MRO_EDATA, "'%s' holds no values", name);
    if (rc == MRO_OK && o->unit && t->unit[0] && strcmp(o->unit, t->unit) != 0)
        mro_warn(t, "the table says %s; %s was given and is used", t->unit, o->unit);
    if (rc == MRO_OK && o->unit) mro_text_copy(o->unit, strlen(o->unit), t->unit, sizeof t->unit);
    if (rc == MRO_OK && t->unit[0] == '\0')
        mro_warn(t, "the table does not say the unit of its values; give `unit=GPa`");
    if (rc == MRO_OK && t->source == MRO_INDENT_ORDER && !t->placed)
        mro_warn(t, "the table has no coordinates: lengths count columns and rows; give `pitch=10um`");
    if (rc == MRO_OK && (t->placed || t->source == MRO_INDENT_NOWHERE) && o->pitch_nm[0] > 0)
        mro_warn(t, "`pitch` is for tables of rows and columns and is not used");
    mro_lines_release(&in.in);
    free(in.row);
    free(in.cell);
    if (rc) mro_indent_table_release(t);
    return rc;
}

void mro_indent_table_release(struct mro_indent_table *t)
{
    if (t == NULL) return;
    free(t->value);
    free(t->x);
    free(t->y);
    mro_notes_release(&t->warnings, &t->n_warnings);
    memset(t, 0, sizeof *t);
}

enum mro_code mro_indent_pitch(const char *text, double pitch_nm[2], struct mro_error *e)
{
    size_t n = 0;
    for (const char *p = text; n < 2; n++) {
        const size_t part = strcspn(p, ",");
        size_t number = 0;
        char unit[24];
        double factor = 0, v;
        while (number < part && strchr("0123456789.+-eE", p[number])) number++;
        while (number > 0 && !isdigit((unsigned char)p[number - 1]) && p[number - 1] != '.')
            number--; /* 10e of "10em" */
        v = number ? mro_parse_number(p, number) : NAN;
        mro_text_copy(p + number, part - number, unit, sizeof unit);
        if (!(v > 0) || mro_unit_parse(unit, &factor) != MRO_UNIT_NM || !(v * factor > 1e-3 && v * factor < 1e12))
            return MRO_FAIL(e, MRO_EARG,
                            "a pitch is a length with its unit such as 10um, or 10um,20um for x and y, not '%s'", text);
        pitch_nm[n ? 0 : 1] = v * factor;
        if (n == 0) pitch_nm[0] = v * factor;
        p += part;
        if (*p == '\0') return MRO_OK;
        p++;
    }
    return MRO_FAIL(e, MRO_EARG, "a pitch has one or two lengths such as 10um,20um, not '%s'", text);
}

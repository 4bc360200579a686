/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/table.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/text.h"

#define MAX_BYTES ((size_t)256 << 20)

static void put_utf8(char **out, unsigned long c)
{
    char *p = *out;
    if (c < 0x80) {
        *p++ = (char)c;
    } else if (c < 0x800) {
        *p++ = (char)(0xc0 | c >> 6);
        *p++ = (char)(0x80 | (c & 0x3f));
    } else {
        *p++ = (char)(0xe0 | c >> 12);
        *p++ = (char)(0x80 | (c >> 6 & 0x3f));
        *p++ = (char)(0x80 | (c & 0x3f));
    }
    *out = p;
}

static bool is_utf8(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        const size_t more = p[i] < 0x80                   ? 0
                            : p[i] >= 0xc2 && p[i] < 0xe0 ? 1
                            : p[i] >= 0xe0 && p[i] < 0xf0 ? 2
                            : p[i] >= 0xf0 && p[i] < 0xf5 ? 3
                                                          : 9;
        if (more == 9 || more >= n - i) return false;
        for (size_t k = 1; k <= more; k++)
            if ((p[i + k] & 0xc0) != 0x80) return false;
        i += more + 1;
    }
    return true;
}

enum mro_code mro_lines_decode(struct mro_lines *l, const void *bytes, size_t n, const char *name, const char *hint,
                               struct mro_error *e)
{
    const unsigned char *p = bytes;
    *l = (struct mro_lines){ .name = name };
    const bool wide = n >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff));
    if (n > MAX_BYTES) return MRO_FAIL(e, MRO_EFORMAT, "'%s' has %zu bytes: too large for a table", name, n);
    char *out = l->text = malloc(3 * n + 1);
    if (out == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    if (wide) {
        const bool big = p[0] == 0xfe;
        for (size_t i = 2; i + 1 < n; i += 2) {
            const unsigned c = big ? (unsigned)p[i] << 8 | p[i + 1] : (unsigned)p[i + 1] << 8 | p[i];
            put_utf8(&out, c >= 0xd800 && c < 0xe000 ? '?' : c);
        }
    } else {
        const size_t mark = n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        p += mark;
        n -= mark;
        if (is_utf8(p, n)) {
            memcpy(out, p, n);
            out += n;
        } else { /* Latin-1, as older programs write it */
            for (size_t i = 0; i < n; i++) put_utf8(&out, p[i]);
        }
    }
    *out = '\0';
    l->n = (size_t)(out - l->text);
    if (memchr(l->text, '\0', l->n) == NULL) return MRO_OK;
    mro_lines_release(l);
    return MRO_FAIL(e, MRO_EFORMAT, "'%s' is no table of text%s", name, hint);
}

void mro_lines_release(struct mro_lines *l)
{
    if (l == NULL) return;
    free(l->text);
    *l = (struct mro_lines){ 0 };
}

bool mro_lines_next(struct mro_lines *l, struct mro_cell *line)
{
    if (l->at >= l->n) return false;
    const char *p = l->text + l->at;
    const size_t n = strcspn(p, "\r\n");
    line->p = p;
    line->n = n;
    l->at += n;
    if (l->at < l->n) l->at += p[n] == '\r' && p[n + 1] == '\n' ? 2 : 1;
    l->line++;
    return true;
}

static struct mro_cell trimmed(struct mro_cell c)
{
    while (c.n && isspace((unsigned char)c.p[0])) c.p++, c.n--;
    while (c.n && isspace((unsigned char)c.p[c.n - 1])) c.n--;
    if (c.n >= 2 && c.p[0] == '"' && c.p[c.n - 1] == '"') {
        c.p++;
        c.n -= 2;
        while (c.n && isspace((unsigned char)c.p[0])) c.p++, c.n--;
        while (c.n && isspace((unsigned char)c.p[c.n - 1])) c.n--;
    }
    return c;
}

size_t mro_cells(struct mro_cell line, char separator, struct mro_cell *cells, size_t room)
{
    size_t n = 0, start = 0;
    bool quoted = false;
    for (size_t i = 0; i <= line.n; i++) {
        if (i < line.n && line.p[i] == '"') quoted = !quoted;
        if (i < line.n && (quoted || line.p[i] != separator)) continue;
        if (n < room) cells[n] = trimmed((struct mro_cell){ line.p + start, i - start });
        n++;
        start = i + 1;
    }
    return n;
}

bool mro_cell_number(struct mro_cell c, double *v)
{
    char copy[64];
    size_t digits = 0, points = 0, commas = 0;
    if (c.n == 0 || c.n >= sizeof copy) return false;
    for (size_t i = 0; i < c.n; i++) {
        const char ch = c.p[i];
        digits += isdigit((unsigned char)ch) != 0;
        points += ch == '.';
        commas += ch == ',';
        if (!isdigit((unsigned char)ch) && strchr("+-.,eE", ch) == NULL) return false;
        if ((ch == '+' || ch == '-') && i > 0 && c.p[i - 1] != 'e' && c.p[i - 1] != 'E') return false;
        copy[i] = ch == ',' ? '.' : ch;
    }
    const char last = c.p[c.n - 1];
    if (digits == 0 || points + commas > 1 || last == 'e' || last == 'E' || last == '+' || last == '-') return false;
    *v = mro_parse_number(copy, c.n);
    return isfinite(*v);
}

/* Takes the quotes off a cell that begins at `*at`, in place; *at is then behind it, and its end is returned. */
static char *unquote(struct mro_csv *t, char **at)
{
    char *from = *at + 1, *to = *at;
    while (*from) {
        if (*from == '"' && from[1] != '"') break;
        from += *from == '"';
        *to++ = *from++;
    }
    t->unclosed |= *from == '\0';
    *at = *from ? from + 1 : from;
    return to;
}

bool mro_csv_next(struct mro_csv *t, char **cells, size_t room, size_t *n)
{
    *n = 0;
    if (*t->at == '\0') return false;
    t->record++;
    for (;;) {
        while (*t->at == ' ' || (*t->at == '\t' && t->separator != '\t')) t->at++;
        char *start = t->at, *end = start;
        if (*start == '"') end = unquote(t, &t->at);
        while (*t->at && *t->at != t->separator && *t->at != '\r' && *t->at != '\n') *end++ = *t->at++;
        const char stop = *t->at;
        if (stop) t->at++;
        while (end > start && isspace((unsigned char)end[-1])) end--;
        while (isspace((unsigned char)*start) && start < end) start++;
        *end = '\0';
        if (*n < room) cells[*n] = start;
        ++*n;
        if (stop == t->separator) continue;
        if (stop == '\r' && *t->at == '\n') t->at++;
        return true;
    }
}

bool mro_value_head_parse(struct mro_value_head *h, const char *cell)
{
    static const char word[] = "value";
    const size_t n = sizeof word - 1;
    if (strncasecmp(cell, word, n) != 0 || isalnum((unsigned char)cell[n]) || cell[n] == '_') return false;
    const char *name = cell + n;
    while (*name && strchr(" \t:,;=-", *name)) name++;
    const size_t length = strcspn(name, "([");
    const char *unit = name + length + (name[length] != '\0'), *end = unit + strcspn(unit, ")]");
    size_t used = length;
    while (used && isspace((unsigned char)name[used - 1])) used--;
    snprintf(h->name, sizeof h->name, "%.*s", used ? (int)used : (int)n, used ? name : word);
    snprintf(h->unit, sizeof h->unit, "%.*s", (int)(end - unit), unit);
    return true;
}

static void put(FILE *out, const char *text, const char *after, bool formula)
{
    const bool quoted = formula || strpbrk(text, ",;\t\"\r\n") != NULL;
    if (quoted) fputc('"', out);
    if (formula) fputc('\'', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    if (quoted) fputc('"', out);
    fputs(after, out);
}

void mro_csv_put(FILE *out, const char *text, const char *after) { put(out, text, after, false); }

/* Whether a spreadsheet would compute a text; -5 is a number, and stays one. */
static bool is_formula(const char *text)
{
    char *end;
    if (text[0] == '\0' || strchr("=+-@\t\r", text[0]) == NULL) return false;
    (void)strtod(text, &end);
    return *end != '\0';
}

void mro_csv_put_text(FILE *out, const char *text, const char *after) { put(out, text, after, is_formula(text)); }

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Texts of the command line, turned into the values of options. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/tell.h"

#define SEED_MAX 9007199254740992ULL /* 2^53 */

void *cli_option_value(const struct cli_group *g, const struct cli_option *o) { return (char *)g->base + o->offset; }

static bool parse_double(const char *text, const char **end, double *v)
{
    char *stop;
    /* strtod also takes hexadecimal and "nan"; a number on a command line starts with a digit or sign. */
    const char *p = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*p) && *p != '.') return false;
    *v = strtod(text, &stop);
    *end = stop;
    return stop != text && isfinite(*v);
}

static bool parse_count(const char *text, const char **end, unsigned long long *v)
{
    char *stop;
    if (!isdigit((unsigned char)*text)) return false;
    errno = 0;
    *v = strtoull(text, &stop, 10);
    *end = stop;
    return errno == 0;
}

/* A number of bytes without a suffix has to be one that images fit into: who writes 4 means 4G. */
static bool parse_size(const char *text, size_t *bytes)
{
    static const char suffixes[] = "KMGT";
    const char *end;
    double v;
    if (!parse_double(text, &end, &v)) return false;
    if (*end) {
        const char *s = strchr(suffixes, toupper((unsigned char)*end));
        if (s == NULL) return false;
        v = ldexp(v, 10 * (int)(s - suffixes + 1));
        end++;
        if (*end == 'i') end++;
        if (*end == 'B') end++;
    } else if (v < 1 << 20) {
        return false;
    }
    if (*end || !(v >= 1) || v > 9e18) return false;
    *bytes = (size_t)v;
    return true;
}

static bool parse_pair(const char *text, double v[2])
{
    const char *end;
    if (!parse_double(text, &end, &v[0]) || *end != ',') return false;
    return parse_double(end + 1, &end, &v[1]) && *end == '\0';
}

bool cli_frames_parse(const char *text, struct cli_frames *f)
{
    f->n = 0;
    for (;;) {
        unsigned long long a, b;
        const char *end;
        if (f->n == CLI_MAX_RANGES || !parse_count(text, &end, &a)) return false;
        b = a;
        if (*end == '-' && !parse_count(end + 1, &end, &b)) return false;
        if (b < a || b > SIZE_MAX / 2) return false;
        f->range[f->n][0] = (size_t)a;
        f->range[f->n][1] = (size_t)b;
        f->n++;
        if (*end == '\0') return true;
        if (*end != ',') return false;
        text = end + 1;
    }
}

bool cli_frames_has(const struct cli_frames *f, size_t frame)
{
    if (f->n == 0) return true;
    for (size_t i = 0; i < f->n; i++)
        if (frame >= f->range[i][0] && frame <= f->range[i][1]) return true;
    return false;
}

size_t cli_frames_last(const struct cli_frames *f)
{
    size_t last = 0;
    for (size_t i = 0; i < f->n; i++)
        if (f->range[i][1] > last) last = f->range[i][1];
    return last;
}

/* Numbers with commas between them; false when there are too many or one is none. */
static bool parse_numbers(const char *text, struct cli_numbers *list)
{
    struct cli_numbers read = { 0 };
    for (;;) {
        const char *end;
        if (read.n == CLI_MAX_NUMBERS || !parse_double(text, &end, &read.v[read.n])) return false;
        read.n++;
        if (*end != ',' && *end != '\0') return false;
        text = end + 1;
        if (*end == '\0') break;
    }
    *list = read;
    return true;
}

/* " in nm", or nothing */
static const char *in_unit(const struct cli_option *o, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s%s", o->unit[0] ? " in " : "", o->unit);
    return buffer;
}

static int parse_band(const struct cli_usage *u, const struct cli_option *o, const char *text, double band[2])
{
    char unit[32];
    double v[2];
    in_unit(o, unit, sizeof unit);
    if (!parse_pair(text, v))
        return cli_wrong_usage(u->verb, "`%s` wants two limits%s as LO,HI with a comma between them, not '%s'", o->name,
                               unit, text);
    for (int i = 0; i < 2; i++)
        if (v[i] < o->lo || v[i] > o->hi)
            return cli_wrong_usage(u->verb, "`%s` wants limits between %.7g and %.7g%s, not '%s'", o->name, o->lo,
                                   o->hi, unit, text);
    if (!(v[0] < v[1]))
        return cli_wrong_usage(
            u->verb, "`%s` '%s' has its limits in the wrong order: write the smaller one first, `%s` %g,%g", o->name,
            text, o->name, v[0] == v[1] ? 0.95 * v[1] : v[1], v[0] == v[1] ? 1.05 * v[1] : v[0]);
    band[0] = o->kind == CLI_DBAND ? 1 / v[1] : v[0];
    band[1] = o->kind == CLI_DBAND ? 1 / v[0] : v[1];
    return -1;
}

const char *cli_choice(const char *words, int i, size_t *length)
{
    for (; words && i > 0; i--) {
        words = strchr(words, '|');
        if (words) words++;
    }
    if (words) *length = strcspn(words, "|");
    return words;
}

static int parse_choice(const struct cli_usage *u, const struct cli_option *o, const char *text, int *value)
{
    const char *word;
    size_t length = 0;
    for (int i = 0; (word = cli_choice(o->arg, i, &length)) != NULL; i++) {
        if (strlen(text) != length || strncmp(text, word, length) != 0) continue;
        *value = i;
        return -1;
    }
    return cli_wrong_usage(u->verb, "`%s` wants one of %s, not '%s'", o->name, o->arg, text);
}

/* What is easily mistaken about a number that cannot be: a decimal comma, or a unit that is usual too. Storage of the
 * caller, or static. */
static const char *mistaken(const struct cli_option *o, const char *text, char *buffer, size_t size)
{
    static const struct {
        const char *wanted, *usual;
        double factor;
    } units[] = { { "nm", "A", 10 }, { "mm", "um", 1000 }, { "kV", "V", 1000 } };
    const char *end;
    double v;
    buffer[0] = '\0';
    if (!strchr(text, '.') && parse_pair(text, (double[2]){ 0 })) return ": decimals come after a point";
    if (!parse_double(text, &end, &v) || *end) return "";
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const double other = v / units[i].factor;
        if (strcmp(o->unit, units[i].wanted) == 0 && v > o->hi && other >= o->lo && other <= o->hi)
            snprintf(buffer, size, ": %g %s are %g %s", v, units[i].usual, other, units[i].wanted);
    }
    return buffer;
}

static int parse_pixel(const struct cli_usage *u, const struct cli_option *o, const char *text, double v[2])
{
    char unit[32], hint[80];
    const char *end;
    double one;
    in_unit(o, unit, sizeof unit);
    if (parse_double(text, &end, &one) && *end == '\0')
        v[0] = v[1] = one;
    else if (!parse_pair(text, v))
        return cli_wrong_usage(u->verb, "`%s` wants a length%s, or two as X,Y with a comma between them, not '%s'",
                               o->name, unit, text);
    for (int i = 0; i < 2; i++)
        if (v[i] < o->lo || v[i] > o->hi)
            return cli_wrong_usage(u->verb, "`%s` wants a number%s between %.7g and %.7g, not '%s'%s", o->name, unit,
                                   o->lo, o->hi, text, mistaken(o, text, hint, sizeof hint));
    return -1;
}

static int parse_list(const struct cli_usage *u, const struct cli_option *o, const char *text, struct cli_numbers *list)
{
    const bool rectangle = o->kind == CLI_RECTANGLE, four = rectangle || o->kind == CLI_LINE;
    char unit[64];
    in_unit(o, unit, sizeof unit);
    bool good = parse_numbers(text, list);
    if (four) {
        const double *v = list->v;
        good = good && list->n == 4 && (!rectangle || (v[0] < v[2] && v[1] < v[3]));
        if (!good)
            return cli_wrong_usage(u->verb, "`%s` wants %s X0,Y0,X1,Y1%s from the top-left corner, not '%s'", o->name,
                                   rectangle ? "a rectangle" : "the ends of a line as", unit, text);
    }
    for (size_t i = 1; i < list->n && o->kind == CLI_RISING; i++) good = good && list->v[i] > list->v[i - 1];
    for (size_t i = 0; i < list->n; i++) good = good && list->v[i] >= o->lo && list->v[i] <= o->hi;
    if (good) return -1;
    return cli_wrong_usage(u->verb,
                           "`%s` wants up to %d %snumbers%s between %.7g and %.7g with commas between them, not '%s'",
                           o->name, CLI_MAX_NUMBERS, o->kind == CLI_RISING ? "rising " : "", unit, o->lo, o->hi, text);
}

int cli_option_parse(const struct cli_usage *u, const struct cli_group *g, const struct cli_option *o, char *text,
                     struct cli_args *args)
{
    void *t = cli_option_value(g, o);
    char unit[32], hint[80];
    const char *end;
    double v;
    unsigned long long n;
    in_unit(o, unit, sizeof unit);
    switch (o->kind) {
    case CLI_FLAG: *(bool *)t = true; return -1;
    case CLI_DOUBLE:
        if (!parse_double(text, &end, &v) || *end || v < o->lo || v > o->hi)
            return cli_wrong_usage(u->verb, "`%s` wants a number%s between %.7g and %.7g, not '%s'%s", o->name, unit,
                                   o->lo, o->hi, text, mistaken(o, text, hint, sizeof hint));
        *(double *)t = v;
        return -1;
    case CLI_INT: {
        const int sign = o->lo < 0 && text[0] == '-' ? -1 : 1;
        if (!parse_count(text + (sign < 0), &end, &n) || *end || sign * (double)n < o->lo || sign * (double)n > o->hi)
            return cli_wrong_usage(u->verb, "`%s` wants a whole number between %.0f and %.0f, not '%s'", o->name, o->lo,
                                   o->hi, text);
        *(int *)t = sign * (int)n;
        return -1;
    }
    case CLI_SEED:
        if (!parse_count(text, &end, &n) || *end || n > SEED_MAX)
            return cli_wrong_usage(u->verb, "`%s` wants a whole number between 0 and %llu, not '%s'", o->name, SEED_MAX,
                                   text);
        *(uint64_t *)t = n;
        return -1;
    case CLI_WORD:
        if (strcmp(text, o->arg) != 0)
            return cli_wrong_usage(u->verb, "`%s` knows '%s' only, not '%s'", o->name, o->arg, text);
        *(bool *)t = true;
        return -1;
    case CLI_CHOICE: return parse_choice(u, o, text, t);
    case CLI_STRING:
        if (*text == '\0') return cli_wrong_usage(u->verb, "`%s` wants %s, not an empty word", o->name, o->arg);
        args->strings[args->n_strings++] = text;
        *(const char **)t = text;
        return -1;
    case CLI_LIST: {
        struct cli_list *list = t;
        if (*text == '\0') return cli_wrong_usage(u->verb, "`%s` wants %s, not an empty word", o->name, o->arg);
        if (list->n == CLI_MAX_LIST)
            return cli_wrong_usage(u->verb, "`%s` can be given %d times at most", o->name, CLI_MAX_LIST);
        args->strings[args->n_strings++] = text;
        list->v[list->n++] = text;
        return -1;
    }
    case CLI_BAND:
    case CLI_DBAND: return parse_band(u, o, text, t);
    case CLI_PIXEL: return parse_pixel(u, o, text, t);
    case CLI_NUMBERS:
    case CLI_RISING:
    case CLI_LINE:
    case CLI_RECTANGLE: return parse_list(u, o, text, t);
    case CLI_SIZE:
        if (!parse_size(text, t))
            return cli_wrong_usage(u->verb, "`%s` wants an amount of memory such as 4G or 500M, not '%s'", o->name,
                                   text);
        return -1;
    case CLI_FRAMES:
        if (!cli_frames_parse(text, t))
            return cli_wrong_usage(u->verb, "`%s` wants frame numbers such as 0-9,12, counted from 0, not '%s'",
                                   o->name, text);
        return -1;
    }
    return -1;
}

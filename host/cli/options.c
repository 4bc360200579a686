/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line of a verb: options, files, and what is near a word that is neither. */
#include "cli/options.h"

#include <ctype.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/tell.h"

#define NAME_MAX_CHARS 40

/* -- names -------------------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static bool same_letter(char a, char b) { return tolower((unsigned char)a) == tolower((unsigned char)b); }

/* Edit distance whatever the case, two letters swapped counting as one change; words longer than NAME_MAX_CHARS are
 * far from everything. */
static size_t distance(const char *a, const char *b)
{
    size_t d[NAME_MAX_CHARS + 1][NAME_MAX_CHARS + 1];
    const size_t na = strlen(a), nb = strlen(b);
    if (na > NAME_MAX_CHARS || nb > NAME_MAX_CHARS) return NAME_MAX_CHARS;
    for (size_t i = 0; i <= na; i++) {
        for (size_t j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + !same_letter(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[na][nb];
}

const char *cli_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t nearest = strlen(word) <= 4 ? 2 : 3; /* one change in short words, two in long ones */
    for (size_t i = 0; i < n; i++) {
        const size_t d = distance(word, names[i]);
        if (d < nearest) {
            nearest = d;
            best = names[i];
        }
    }
    return best;
}

static int unknown_option(const struct cli_usage *u, const char *text)
{
    const char *names[128], *near = NULL;
    char word[NAME_MAX_CHARS + 2];
    size_t n = 0;
    names[n++] = "help";
    for (size_t i = 0; i < u->n_groups; i++)
        for (size_t k = 0; k < u->groups[i].n && n < sizeof names / sizeof *names; k++)
            names[n++] = u->groups[i].rows[k].name;
    const char *begin = text + strspn(text, "-"); /* of --kv, and of -kv */
    if (strlen(begin) > 1) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(begin, "="), begin);
        near = cli_nearest(word, names, n);
        for (size_t i = 0; i < n && near == NULL; i++)
            if (strlen(word) > 2 && strncmp(names[i], word, strlen(word)) == 0) near = names[i];
    }
    if (access(text, F_OK) == 0)
        return cli_wrong_usage(u->verb, "'%s' is no option of '%s'; a file of that name is given as ./%s", text,
                               u->verb, text);
    if (near) return cli_wrong_usage(u->verb, "'%s' is no option of '%s', but `%s` is", text, u->verb, near);
    return cli_wrong_usage(u->verb, "'%s' is no option of '%s'", text, u->verb);
}

/* -- parsing ------------------------------------------------------------------------------------ */

struct row_ref {
    const struct cli_group *group;
    const struct cli_option *option;
    bool given;
};

/* Two rows with one target (a band, given in two ways) cannot both be given. */
static int check_conflicts(const struct cli_usage *u, const struct row_ref *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (rows[i].given && rows[k].given &&
                cli_option_value(rows[i].group, rows[i].option) == cli_option_value(rows[k].group, rows[k].option))
                return cli_wrong_usage(u->verb, "`%s` and `%s` say the same thing in two ways: give one of them",
                                       rows[i].option->name, rows[k].option->name);
    return -1;
}

static int walk(const struct cli_usage *u, poptContext ctx, struct row_ref *rows, size_t n, struct cli_args *args)
{
    int val, rc;
    while ((val = poptGetNextOpt(ctx)) >= 0) {
        if (val == (int)n + 1) {
            return cli_help(u);
        }
        struct row_ref *r = &rows[val - 1];
        char *text = poptGetOptArg(ctx);
        rc = cli_option_parse(u, r->group, r->option, text, args);
        const bool kept = r->option->kind == CLI_STRING || r->option->kind == CLI_LIST;
        if (!kept || rc >= 0) free(text);
        if (rc >= 0) return rc;
        r->given = true;
    }
    const char *bad = poptBadOption(ctx, POPT_BADOPTION_NOALIAS);
    switch (val) {
    case -1: return check_conflicts(u, rows, n);
    case POPT_ERROR_BADOPT: return unknown_option(u, bad);
    case POPT_ERROR_NOARG: return cli_wrong_usage(u->verb, "'%s' wants a value after it", bad);
    case POPT_ERROR_UNWANTEDARG: return cli_wrong_usage(u->verb, "'%s' takes no value", bad);
    default: return cli_wrong_usage(u->verb, "'%s': %s", bad, poptStrerror(val));
    }
}

static int no_memory(const char *verb)
{
    struct mro_error e;
    MRO_FAIL(&e, MRO_EMEMORY, "no memory left for the options of '%s'", verb);
    return cli_refuse(verb, &e);
}

/* What an operand stands for. */
static const char *in_words(const char *operands)
{
    if (strstr(operands, "FILE")) return "at least one file";
    if (strstr(operands, "SESSION")) return "the table of a session";
    return strstr(operands, "TABLE") ? "a folder of results or a table" : "a folder of results";
}

static int take_operands(const struct cli_usage *u, poptContext ctx, struct cli_args *args)
{
    const char **rest = poptGetArgs(ctx);
    for (size_t i = 0; rest && rest[i]; i++) {
        if (u->operands == NULL)
            return cli_wrong_usage(u->verb, "'%s' takes no file names, but got '%s'", u->verb, rest[i]);
        if ((args->files[args->n] = strdup(rest[i])) == NULL) return no_memory(u->verb);
        args->n++;
    }
    if (u->operands && u->operands[0] != '[' && args->n == 0)
        return cli_wrong_usage(u->verb, "'%s' needs %s: mroscope %s %s", u->verb, in_words(u->operands), u->verb,
                               u->operands);
    return -1;
}

int cli_parse(const struct cli_usage *u, int argc, char **argv, struct cli_args *args)
{
    size_t n = 0, k = 0;
    int rc;
    poptContext ctx = NULL;
    for (size_t i = 0; i < u->n_groups; i++) n += u->groups[i].n;
    memset(args, 0, sizeof *args);
    struct poptOption *table = calloc(n + 2, sizeof *table);
    struct row_ref *rows = calloc(n + 1, sizeof *rows);
    args->files = calloc((size_t)argc + 1, sizeof *args->files);
    args->strings = calloc((size_t)argc + 1, sizeof *args->strings);
    if (table == NULL || rows == NULL || args->files == NULL || args->strings == NULL) {
        rc = no_memory(u->verb);
        goto done;
    }
    for (size_t i = 0; i < u->n_groups; i++) {
        for (size_t r = 0; r < u->groups[i].n; r++, k++) {
            const struct cli_option *o = &u->groups[i].rows[r];
            rows[k].group = &u->groups[i];
            rows[k].option = o;
            table[k] = (struct poptOption){ .longName = o->name,
                                            .shortName = o->letter,
                                            .argInfo = o->kind == CLI_FLAG ? POPT_ARG_NONE : POPT_ARG_STRING,
                                            .val = (int)k + 1 };
        }
    }
    table[n] = (struct poptOption){ .longName = "help", .shortName = 'h', .argInfo = POPT_ARG_NONE, .val = (int)n + 1 };
    ctx = poptGetContext("mroscope", argc, (const char **)argv, table, POPT_CONTEXT_NO_EXEC);
    if (ctx == NULL) {
        rc = no_memory(u->verb);
        goto done;
    }
    rc = walk(u, ctx, rows, n, args);
    if (rc < 0) rc = take_operands(u, ctx, args);
done:
    poptFreeContext(ctx);
    free(rows);
    free(table);
    return rc;
}

void cli_args_release(struct cli_args *args)
{
    for (size_t i = 0; i < args->n; i++) free(args->files[i]);
    for (size_t i = 0; i < args->n_strings; i++) free(args->strings[i]);
    free(args->files);
    free(args->strings);
    memset(args, 0, sizeof *args);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the tables of options say: help for people and for programs, and the values in results. */
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tell.h"
#include "core/inside.h"

#define COLUMNS 100

/* -- help --------------------------------------------------------------------------------------- */

/* "1,1.5,2" */
static const char *numbers_text(const struct cli_numbers *list, char *buffer, size_t size)
{
    size_t at = 0;
    buffer[0] = '\0';
    for (size_t i = 0; i < list->n && at < size; i++)
        at += (size_t)snprintf(buffer + at, size - at, "%s%.10g", i ? "," : "", list->v[i]);
    return buffer;
}

/* Whether the band of row `o` can be given as spatial frequencies too; these have its default then. */
static bool has_band_row(const struct cli_group *g, const struct cli_option *o)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->rows[i].kind == CLI_BAND && g->rows[i].offset == o->offset) return true;
    return false;
}

/* Writes " (default 4.1,5.8)" when the value before parsing is one that could have been given, and where the help does
 * not say in words what happens without the option. */
static void default_text(const struct cli_group *g, const struct cli_option *o, char *buffer, size_t size)
{
    const void *t = cli_option_value(g, o);
    const double *v = t;
    const char *word;
    char numbers[CLI_MAX_NUMBERS * 20];
    size_t length = 0;
    buffer[0] = '\0';
    if (strstr(o->help, "(default")) return;
    switch (o->kind) {
    case CLI_CHOICE:
        word = cli_choice(o->arg, *(const int *)t, &length);
        snprintf(buffer, size, " (default %.*s)", (int)length, word);
        break;
    case CLI_DOUBLE:
        if (*v >= o->lo && *v <= o->hi) snprintf(buffer, size, " (default %g)", *v);
        break;
    case CLI_INT: snprintf(buffer, size, " (default %d)", *(const int *)t); break;
    case CLI_SEED: snprintf(buffer, size, " (default %llu)", (unsigned long long)*(const uint64_t *)t); break;
    case CLI_BAND: snprintf(buffer, size, " (default %g,%g)", v[0], v[1]); break;
    case CLI_DBAND:
        if (!has_band_row(g, o)) snprintf(buffer, size, " (default %g,%g)", 1 / v[1], 1 / v[0]);
        break;
    case CLI_NUMBERS:
    case CLI_RISING:
        numbers_text(t, numbers, sizeof numbers);
        if (numbers[0]) snprintf(buffer, size, " (default %.60s)", numbers);
        break;
    default: break;
    }
}

/* Bytes of the word that `text` begins with; a default of one word stays on one line: "(default 1)". */
static size_t word_length(const char *text)
{
    static const char standard[] = "(default ";
    const size_t n = sizeof standard - 1;
    const bool is_default = strncmp(text, standard, n) == 0;
    return is_default ? n + strcspn(text + n, " ") : strcspn(text, " ");
}

/* Prints words of `text` up to COLUMNS, further lines indented; `column` is where the cursor is. */
static void print_wrapped(const char *text, size_t indent, size_t column)
{
    while (*text) {
        const size_t word = word_length(text);
        if (column + word > COLUMNS && column > indent) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        }
        printf("%.*s", (int)word, text);
        column += word;
        text += word;
        if (*text == ' ') {
            text++;
            if (column + 1 + word_length(text) <= COLUMNS) {
                putchar(' ');
                column++;
            } else {
                printf("\n%*s", (int)indent, "");
                column = indent;
            }
        }
    }
    putchar('\n');
}

static void help_row(const char *name, char letter, const char *arg, const char *help)
{
    enum { indent = 26 };
    char left[64];
    const int n = snprintf(left, sizeof left, "  %c%c%s --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
                           letter ? "," : " ", name, arg ? " " : "", arg ? arg : "");
    printf("%-*s", indent, left);
    if (n >= indent) printf("\n%*s", indent, "");
    print_wrapped(help, indent, indent);
}

/* Length of `help` up to its first comma, semicolon, colon or bracket. */
static size_t noun_length(const char *help)
{
    size_t n = strlen(help);
    static const char *const stops[] = { ", ", "; ", ": ", " (" };
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        const char *at = strstr(help, stops[i]);
        if (at && (size_t)(at - help) < n) n = (size_t)(at - help);
    }
    return n;
}

static void print_help(const struct cli_usage *u)
{
    char text[600], unit[40], standard[80];
    printf("Usage: mroscope %s [options]%s%s\n\n", u->verb, u->operands ? " " : "", u->operands ? u->operands : "");
    char *about = strdup(u->about);
    if (about) cli_in_options(about);
    print_wrapped(about ? about : u->about, 0, 0);
    free(about);
    for (size_t i = 0; i < u->n_groups; i++) {
        const struct cli_group *g = &u->groups[i];
        printf("\n%s\n", g->title);
        for (size_t k = 0; k < g->n; k++) {
            const struct cli_option *o = &g->rows[k];
            default_text(g, o, standard, sizeof standard);
            /* The unit goes after the noun, before what is said further. */
            const size_t noun = noun_length(o->help);
            snprintf(unit, sizeof unit, "%s%s", o->unit[0] ? ", in " : "", o->unit);
            snprintf(text, sizeof text, "%.*s%s%s%s", (int)noun, o->help, unit, o->help + noun, standard);
            cli_in_options(text);
            help_row(o->name, o->letter, o->arg, text);
        }
    }
    puts("\nHelp");
    help_row("help", 'h', NULL, "show this text");
    if (u->notes) printf("\n%s\n", u->notes);
}

/* -- help for programs --------------------------------------------------------------------------- */

static const char *kind_name(enum cli_kind kind)
{
    switch (kind) {
    case CLI_DOUBLE: return "number";
    case CLI_INT:
    case CLI_SEED: return "integer";
    case CLI_FLAG: return "flag";
    case CLI_WORD:
    case CLI_CHOICE: return "choice";
    case CLI_STRING: return "text";
    case CLI_LIST: return "texts";
    case CLI_BAND:
    case CLI_DBAND: return "band";
    case CLI_PIXEL: return "pixel";
    case CLI_NUMBERS:
    case CLI_RISING: return "numbers";
    case CLI_LINE:
    case CLI_RECTANGLE: return "line";
    case CLI_SIZE: return "size";
    case CLI_FRAMES: return "frames";
    }
    return "";
}

/* The options of a command with their help and defaults, as one JSON object. */
static json_t *usage_json(const struct cli_usage *u)
{
    json_t *options = json_array();
    char standard[80];
    for (size_t i = 0; i < u->n_groups; i++) {
        for (size_t k = 0; k < u->groups[i].n; k++) {
            const struct cli_option *o = &u->groups[i].rows[k];
            default_text(&u->groups[i], o, standard, sizeof standard);
            json_array_append_new(options, json_pack("{s:s,s:s,s:s?,s:s,s:s,s:s,s:s}", "name", o->name, "kind",
                                                     kind_name(o->kind), "arg", o->arg, "unit", o->unit, "help",
                                                     o->help, "default", standard, "group", u->groups[i].title));
        }
    }
    return json_pack("{s:s,s:s?,s:s,s:s?,s:o}", "verb", u->verb, "operands", u->operands, "about", u->about, "notes",
                     u->notes, "options", options);
}

int cli_help(const struct cli_usage *u)
{
    struct mro_error e;
    if (mro_inside == NULL) {
        print_help(u);
        return 0;
    }
    json_t *v = usage_json(u);
    char *text = v ? json_dumps(v, JSON_COMPACT) : NULL;
    json_decref(v);
    if (text && mro_inside_result(text, &e) == MRO_OK) return 0;
    cli_say(MRO_EMEMORY, "no memory left for the help of '%s'", u->verb);
    return 1;
}

/* -- provenance --------------------------------------------------------------------------------- */

static json_t *value_json(const struct cli_group *g, const struct cli_option *o)
{
    const void *t = cli_option_value(g, o);
    const double *v = t;
    const char *word;
    char numbers[CLI_MAX_NUMBERS * 20];
    size_t length = 0;
    switch (o->kind) {
    case CLI_CHOICE: word = cli_choice(o->arg, *(const int *)t, &length); return json_stringn(word, length);
    case CLI_DOUBLE: return *v >= o->lo && *v <= o->hi ? json_real(*v) : json_null();
    case CLI_INT: return json_integer(*(const int *)t);
    case CLI_SEED: return json_integer((json_int_t) * (const uint64_t *)t);
    case CLI_FLAG: return json_boolean(*(const bool *)t);
    case CLI_WORD: return *(const bool *)t ? json_string(o->arg) : json_null();
    case CLI_STRING: return *(const char *const *)t ? json_string(*(const char *const *)t) : json_null();
    case CLI_LIST: {
        const struct cli_list *list = t;
        json_t *all = json_array();
        for (size_t i = 0; all && i < list->n; i++) json_array_append_new(all, json_string(list->v[i]));
        return all;
    }
    case CLI_BAND: return v[1] > v[0] ? json_pack("[f,f]", v[0], v[1]) : json_null();
    case CLI_NUMBERS:
    case CLI_RISING:
    case CLI_LINE:
    case CLI_RECTANGLE:
        numbers_text(t, numbers, sizeof numbers);
        return numbers[0] ? json_string(numbers) : json_null();
    case CLI_PIXEL:
        if (!(v[0] > 0)) return json_null();
        return v[0] == v[1] ? json_real(v[0]) : json_pack("[f,f]", v[0], v[1]);
    case CLI_DBAND: /* the band is recorded by its row in 1/nm */
    case CLI_SIZE:
    case CLI_FRAMES: break;
    }
    return json_null();
}

json_t *cli_options_json(const struct cli_usage *u)
{
    json_t *all = json_object();
    for (size_t i = 0; all && i < u->n_groups; i++) {
        for (size_t k = 0; k < u->groups[i].n; k++) {
            const struct cli_option *o = &u->groups[i].rows[k];
            if (!o->numbers) continue;
            json_t *entry = json_object();
            int bad = entry == NULL || json_object_set_new(entry, "value", value_json(&u->groups[i], o));
            if (!bad && o->unit[0]) bad = json_object_set_new(entry, "unit", json_string(o->unit));
            if (bad) json_decref(entry);
            if (bad || json_object_set_new(all, o->name, entry)) {
                json_decref(all);
                return NULL;
            }
        }
    }
    return all;
}

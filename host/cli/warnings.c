/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Warnings on stderr: each sentence once, with the range of its numbers. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inputs.h"
#include "core/notes.h"

static void print_warning(const char *name, size_t others, const char *sentence)
{
    /* Sentences of the file layer name the file already. */
    const bool named = strstr(sentence, name) != NULL;
    if (others)
        cli_put(stderr, "mroscope: warning: '%s' and %zu more: %s\n", name, others, sentence);
    else if (named)
        cli_put(stderr, "mroscope: warning: %s\n", sentence);
    else
        cli_put(stderr, "mroscope: warning: '%s': %s\n", name, sentence);
}

#define MAX_NUMBERS 8
#define HOLE '\001' /* where a number stands in a pattern; no text of ours holds it */

struct cli_warning {
    char *pattern;    /* the sentence with holes */
    char *name;       /* of the first image it was for */
    const char *last; /* the name it was last for; only compared */
    size_t times, numbers;
    struct {
        char least[24], most[24];
    } number[MAX_NUMBERS];
};

/* Whether the number at `s` tells one thing from another: "crystal 2", "crystals 1, 3", "the band at 20.1 nm". */
static bool tells_apart(const char *text, const char *s)
{
    static const char *const things[] = { "crystal", "crystals", "band at", "page", "row", "rows" };
    while (s > text && strchr("0123456789, ", s[-1])) s--;
    for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
        const size_t n = strlen(things[i]);
        if ((size_t)(s - text) >= n && memcmp(s - n, things[i], n) == 0) return true;
    }
    return false;
}

/* Bytes of the number that begins at `s`; 0: none does. Digits of a name ("Fe82B18", "f0003") are none, nor what tells
 * one thing from another, which a range would put together with what lies between. */
static size_t number_at(const char *text, const char *s)
{
    const char before = s > text ? s[-1] : ' ';
    const bool sign = (*s == '-' || *s == '+') && (before == ' ' || before == '(' || before == '[');
    char *end;
    if (isalnum((unsigned char)before) || before == '_' || before == '.') return 0;
    if (!isdigit((unsigned char)s[sign]) || tells_apart(text, s)) return 0;
    strtod(s, &end);
    while (end > s && !isdigit((unsigned char)end[-1])) end--; /* of a full stop */
    return (size_t)(end - s);
}

/* Takes the numbers out of a sentence, but for those of quoted names; false: no memory. */
static bool make_pattern(const char *sentence, struct cli_warning *w)
{
    char *out = w->pattern = malloc(strlen(sentence) + 1);
    bool quoted = false;
    if (out == NULL) return false;
    for (const char *s = sentence; *s;) {
        quoted = mro_quoted(sentence, s, quoted);
        const size_t n = quoted ? 0 : number_at(sentence, s);
        if (n > 0 && n < sizeof w->number->least && w->numbers < MAX_NUMBERS) {
            memcpy(w->number[w->numbers].least, s, n);
            memcpy(w->number[w->numbers++].most, s, n);
            *out++ = HOLE;
        } else {
            memcpy(out, s, n ? n : 1);
            out += n ? n : 1;
        }
        s += n ? n : 1;
    }
    *out = '\0';
    return true;
}

static void release_warning(struct cli_warning *w)
{
    if (w == NULL) return;
    free(w->pattern);
    free(w->name);
    free(w);
}

static struct cli_warning *new_warning(const char *name, const char *sentence)
{
    struct cli_warning *w = calloc(1, sizeof *w);
    if (w && make_pattern(sentence, w) && (w->name = strdup(name)) != NULL) return w;
    release_warning(w);
    return NULL;
}

/* The numbers of `b` go into the ranges of `a`, which has the same pattern. */
static void widen(struct cli_warning *a, const struct cli_warning *b)
{
    for (size_t i = 0; i < a->numbers; i++) {
        const double v = strtod(b->number[i].least, NULL);
        if (v < strtod(a->number[i].least, NULL))
            memcpy(a->number[i].least, b->number[i].least, sizeof b->number->least);
        if (v > strtod(a->number[i].most, NULL)) memcpy(a->number[i].most, b->number[i].most, sizeof b->number->most);
    }
}

/* Warnings are kept to the end, below the table, each once. One that finds no room is told at once. */
void cli_warn(struct cli_common *c, const char *name, const char *const *warnings, size_t n)
{
    struct cli_told *t = &c->told;
    if (c->quiet || c->json) return;
    for (size_t i = 0; i < n; i++) {
        struct cli_warning *w = new_warning(name, warnings[i]);
        size_t k = 0;
        while (w && k < t->n && strcmp(t->v[k]->pattern, w->pattern) != 0) k++;
        if (w && k < t->n) {
            widen(t->v[k], w);
            t->v[k]->times += t->v[k]->last != name; /* the images of a file say the same */
            t->v[k]->last = name;
            release_warning(w);
        } else if (w && t->n < CLI_MAX_TOLD) {
            w->times = 1;
            w->last = name;
            t->v[t->n++] = w;
        } else {
            print_warning(name, 0, warnings[i]);
            release_warning(w);
        }
    }
}

/* The sentence of a warning, with the ranges of its numbers; NULL: no memory. */
static char *sentence_of(const struct cli_warning *w)
{
    char *text = malloc(strlen(w->pattern) + w->numbers * (sizeof w->number[0] + 4) + 1), *at = text;
    size_t i = 0;
    for (const char *s = w->pattern; text && *s; s++) {
        if (*s != HOLE)
            *at++ = *s;
        else if (strcmp(w->number[i].least, w->number[i].most) == 0)
            at += sprintf(at, "%s", w->number[i].least);
        else
            at += sprintf(at, "%s to %s", w->number[i].least, w->number[i].most);
        i += *s == HOLE;
    }
    if (text) *at = '\0';
    return text;
}

void cli_warn_end(struct cli_common *c)
{
    struct cli_told *t = &c->told;
    fflush(stdout);
    for (size_t i = 0; i < t->n; i++) {
        char *sentence = sentence_of(t->v[i]);
        if (sentence) print_warning(t->v[i]->name, t->v[i]->times - 1, sentence);
        free(sentence);
        release_warning(t->v[i]);
    }
    *t = (struct cli_told){ 0 };
}

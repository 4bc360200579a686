/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/notes.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands for a sentence that was lost, and a list of it alone. Nobody writes to either. */
static char lost[] = "a warning is missing here: there was no memory left for it";
static char *only_lost[] = { lost };

static void lose(char ***list, size_t *n)
{
    if (*n == 0) {
        *list = only_lost;
        *n = 1;
    } else {
        free((*list)[*n - 1]);
        (*list)[*n - 1] = lost;
    }
}

void mro_text_add(char *text, size_t size, const char *format, ...)
{
    const size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

bool mro_notes_whole(const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], lost) == 0) return false;
    return true;
}

void mro_note(char ***list, size_t *n, const char *format, ...)
{
    if (*n && (*list)[*n - 1] == lost) return;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    bool known = false;
    for (size_t i = 0; text && i < *n && !known; i++) known = strcmp((*list)[i], text) == 0;
    char **grown = text && !known && strcmp(text, lost) != 0 ? realloc(*list, (*n + 1) * sizeof **list) : NULL;
    if (grown) {
        *list = grown;
        grown[(*n)++] = text;
        return;
    }
    free(text);
    if (!known) lose(list, n);
}

void mro_notes_release(char ***list, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        if ((*list)[i] != lost) free((*list)[i]);
    if (*list != only_lost) free(*list);
    *list = NULL;
    *n = 0;
}

bool mro_quoted(const char *sentence, const char *s, bool quoted)
{
    if (*s != '\'' || !(quoted || s == sentence || !isalnum((unsigned char)s[-1]))) return quoted;
    return !quoted || isalnum((unsigned char)s[1]);
}

void mro_clean_text(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        size_t more = *s < 0x80                 ? 0
                      : *s >= 0xc2 && *s < 0xe0 ? 1
                      : *s >= 0xe0 && *s < 0xf0 ? 2
                      : *s >= 0xf0 && *s < 0xf5 ? 3
                                                : 9;
        if (*s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] < 0xa0)) more = 9; /* U+0080 and on move cursors too */
        for (size_t i = 1; more < 9 && i <= more; i++)
            if ((s[i] & 0xc0) != 0x80) more = 9; /* also stops at the end of the text */
        /* Overlong forms, surrogates and code points past U+10FFFF. */
        if ((*s == 0xe0 && more == 2 && s[1] < 0xa0) || (*s == 0xed && more == 2 && s[1] > 0x9f) ||
            (*s == 0xf0 && more == 3 && s[1] < 0x90) || (*s == 0xf4 && more == 3 && s[1] > 0x8f))
            more = 9;
        if (more == 9) {
            *s++ = '?';
            continue;
        }
        s += 1 + more;
    }
}

/* The closing quote of a name that opens at `open`: `kv`, or `unit=GPa` with a value; NULL: it is no name. */
static char *end_of_name(char *open)
{
    char *p = open + 1;
    if (!islower((unsigned char)*p)) return NULL;
    while (islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_' || *p == '-') p++;
    if (*p == '=') p += strcspn(p, "`");
    return *p == '`' ? p : NULL;
}

/* The same of a verb, `mroscope lattice`. */
static char *end_of_verb(char *open)
{
    static const char program[] = "`mroscope ";
    const size_t n = sizeof program - 1;
    if (strncmp(open, program, n) != 0 || !islower((unsigned char)open[n])) return NULL;
    char *p = open + n;
    while (islower((unsigned char)*p)) p++;
    return *p == '`' ? p : NULL;
}

void mro_spell_names(char *sentence, bool as_options)
{
    bool quoted = false;
    if (strchr(sentence, '`') == NULL) return;
    char *to = sentence;
    for (char *s = sentence; *s; s++) {
        char *verb = quoted ? NULL : end_of_verb(s), *end = quoted || *s != '`' ? NULL : verb ? verb : end_of_name(s);
        if (end == NULL) {
            quoted = mro_quoted(sentence, s, quoted);
            *to++ = *s;
            continue;
        }
        const size_t n = (size_t)(end - s) - 1;
        if (verb && as_options) {
            memmove(to, s, n + 2);
            to[0] = to[n + 1] = '\'';
            to += n + 2;
            s = end;
            continue;
        }
        char *name = to + (as_options ? 2 : 0); /* two dashes take the room of two quotes */
        memmove(name, s + 1, n);
        if (as_options) {
            memcpy(to, "--", 2);
            char *equals = memchr(name, '=', n);
            for (char *c = name; c < (equals ? equals : name + n); c++)
                if (*c == '_') *c = '-';
            if (equals) *equals = ' ';
        }
        to = name + n;
        s = end;
    }
    *to = '\0';
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sentences gathered while something is read or measured, each once. */
#ifndef MRO_CORE_NOTES_H
#define MRO_CORE_NOTES_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends a sentence to a list that grows; one that cannot be kept for want of memory is lost. */
__attribute__((format(printf, 3, 4))) static inline void mro_note(char ***list, size_t *n, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (size_t i = 0; i < *n; i++)
        if (strcmp((*list)[i], text) == 0) return;
    char *copy = strdup(text), **grown = copy ? realloc(*list, (*n + 1) * sizeof **list) : NULL;
    if (grown == NULL) {
        free(copy);
        return;
    }
    *list = grown;
    grown[(*n)++] = copy;
}

static inline void mro_notes_release(char ***list, size_t *n)
{
    for (size_t i = 0; i < *n; i++) free((*list)[i]);
    free(*list);
    *list = NULL;
    *n = 0;
}

#endif

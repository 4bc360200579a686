/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mro_note(char ***list, size_t *n, const char *format, ...)
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

void mro_notes_release(char ***list, size_t *n)
{
    for (size_t i = 0; i < *n; i++) free((*list)[i]);
    free(*list);
    *list = NULL;
    *n = 0;
}

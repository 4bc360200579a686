/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/notes.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mro_note(char ***list, size_t *n, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    bool known = text == NULL;
    for (size_t i = 0; i < *n && !known; i++) known = strcmp((*list)[i], text) == 0;
    char **grown = known ? NULL : realloc(*list, (*n + 1) * sizeof **list);
    if (grown == NULL) {
        free(text);
        return;
    }
    *list = grown;
    grown[(*n)++] = text;
}

void mro_notes_release(char ***list, size_t *n)
{
    for (size_t i = 0; i < *n; i++) free((*list)[i]);
    free(*list);
    *list = NULL;
    *n = 0;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/notes.h"

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

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/text_stream.h"

#include <stdbool.h>
#include <stdlib.h>

FILE *mro_text_begin(char **text, size_t *size, struct mro_error *e)
{
    FILE *out = open_memstream(text, size);
    if (out == NULL) MRO_FAIL(e, MRO_EMEMORY, "no memory left for the text of a result");
    return out;
}

char *mro_text_end(FILE *out, char **text, struct mro_error *e)
{
    const bool bad = ferror(out) != 0;
    if (fclose(out) == 0 && !bad) return *text;
    free(*text);
    MRO_FAIL(e, MRO_EMEMORY, "no memory left for the text of a result");
    return NULL;
}

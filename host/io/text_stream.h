/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A text in memory that is written like a file. */
#ifndef MRO_IO_TEXT_STREAM_H
#define MRO_IO_TEXT_STREAM_H

#include <stdio.h>

#include "mroscope/error.h"

/* Opens a stream whose text `*text`, of `*size` bytes, is there after mro_text_end. NULL with MRO_EMEMORY. */
FILE *mro_text_begin(char **text, size_t *size, struct mro_error *e);

/* Closes it. Returns *text, which the caller frees; NULL with MRO_EMEMORY when anything did not fit. */
char *mro_text_end(FILE *out, char **text, struct mro_error *e);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values of JSON as text: the same value, the same bytes. */
#ifndef MRO_IO_JSON_TEXT_H
#define MRO_IO_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>

#include "mroscope/error.h"

/* Text of a value on one line, or (pretty) indented with a final newline; free() it. NULL when out of memory. */
char *mro_json_text(const json_t *v, bool pretty, struct mro_error *e);

/* Shortest decimal text that reads back as `v`. */
void mro_number_text(double v, char text[32]);

/* A string of JSON. Of text that is no UTF-8, as a path may be, every byte that is not ASCII becomes '?'. NULL when out
 * of memory. */
json_t *mro_json_plain(const char *s);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is said on stderr, in the words of the command line, and the exit code. */
#ifndef MRO_CLI_TELL_H
#define MRO_CLI_TELL_H

#include <stddef.h>
#include <stdio.h>

#include "mroscope/error.h"

/* Calls options as the command line does, in place: --s-max for `s_max`, --unit GPa for `unit=GPa`. Inside another
 * program, which does that in its own way, nothing changes. Nothing is written to a sentence that names none. */
void cli_in_options(char *sentence);
void cli_all_in_options(char *const *sentences, size_t n);

/* fprintf for the terminal, and for what is read as on one: of what stands in it, names of files above all, control
 * characters and bytes that are no UTF-8 become '?', but for a newline that ends the format. */
__attribute__((format(printf, 2, 3))) void cli_put(FILE *out, const char *format, ...);

/* Characters of a text: bytes that do not go on with one. */
int cli_characters(const char *text);

/* "mroscope: ..." on stderr, after what stdout holds; inside another program (core/inside.h) the first sentence is kept
 * with its code instead. */
__attribute__((format(printf, 2, 3))) void cli_say(enum mro_code code, const char *format, ...);

/* One sentence about wrong usage on stderr, with where to read more; returns 2. */
__attribute__((format(printf, 2, 3))) int cli_wrong_usage(const char *verb, const char *format, ...);

/* Adds what to do next where something lacks (mro_lack): an option to give, as `kv`. */
void cli_next_step(struct mro_error *e);

/* The same for a row of a session that the verb measures, in the words of the command line: a column to fill, or an
 * option to pass on. */
void cli_next_step_of_row(struct mro_error *e, const char *verb);

/* One line on stderr, with what to do next. */
void cli_complain(const struct mro_error *e);

/* The same for an error that was met while options were read, as wrong usage unless memory was missing; returns 2 or 1.
 */
int cli_refuse(const char *verb, const struct mro_error *e);

/* Exit code `rc`, or 1 with a message when standard output could not be written. */
int cli_finish(int rc);

#endif

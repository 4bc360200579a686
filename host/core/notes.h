/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sentences gathered while something is read or measured, each once. */
#ifndef MRO_CORE_NOTES_H
#define MRO_CORE_NOTES_H

#include <stdbool.h>
#include <stddef.h>

/* Appends a sentence to a list that grows, unless it is there. Where there is no memory for it the list ends with a
 * sentence that says so, which stays the last one. */
void mro_note(char ***list, size_t *n, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a result that has `warnings` and `n_warnings`. */
#define mro_warn(result, ...) mro_note(&(result)->warnings, &(result)->n_warnings, __VA_ARGS__)

/* Whether no sentence was lost, in this list or in one that it was copied from. */
bool mro_notes_whole(const char *const *list, size_t n);

/* Frees the list and leaves it empty. */
void mro_notes_release(char ***list, size_t *n);

/* Adds to a text of a fixed size; what does not fit is cut. */
void mro_text_add(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Spells the names of what can be set and of verbs (mroscope/error.h), in place: --s-max for `s_max`, --unit GPa for
 * `unit=GPa` and 'mroscope lattice' for `mroscope lattice` with `as_options`, else without the quotes alone. What
 * stands between single quotes is left as it is: a file may have any name. Nothing is written to a sentence without
 * such quotes. */
void mro_spell_names(char *sentence, bool as_options);

/* Whether a sentence is inside of single quotes behind the character at `s`, when `quoted` says whether it was before:
 * an apostrophe stands within or behind a word, a quote before and behind a name. */
bool mro_quoted(const char *sentence, const char *s, bool quoted);

/* Turns control characters and bytes that are no valid UTF-8 into '?', in place: what files, their names and other
 * people say is not to move the cursor of a terminal, nor to end a line. */
void mro_clean_text(char *text);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables of text as spreadsheets and programs of microscopes write them: lines of cells between commas, semicolons or
 * tabs, in UTF-8 (with or without its mark), UTF-16 or Latin-1, with decimal points or decimal commas. */
#ifndef MRO_IO_TABLE_H
#define MRO_IO_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "mroscope/error.h"

/* Text of a cell or a line; not ended by a zero. */
struct mro_cell {
    const char *p;
    size_t n;
};

/* A text read line by line. `{0}` is safe to release. */
struct mro_lines {
    const char *name;   /* of the file, for messages; not owned */
    char *text;         /* UTF-8, owned */
    size_t n, at, line; /* bytes, position, number of the line read last, from 1 */
};

/* Takes the bytes of a file. `hint` ends the sentence about a file that is no text ("; give images as ..."); "" = none.
 * MRO_EFORMAT (no text, over 256 MiB), MRO_EMEMORY. Release with mro_lines_release. */
enum mro_code mro_lines_decode(struct mro_lines *l, const void *bytes, size_t size, const char *name, const char *hint,
                               struct mro_error *e);
void mro_lines_release(struct mro_lines *l);

/* The next line without its end; false after the last. */
bool mro_lines_next(struct mro_lines *l, struct mro_cell *line);

/* Cells of a line, at most `room`, without quotes and white space around them; returns how many there are. */
size_t mro_cells(struct mro_cell line, char separator, struct mro_cell *cells, size_t room);

/* A number, with a decimal point, or with a decimal comma where commas do not separate cells; false when it is none. */
bool mro_cell_number(struct mro_cell c, double *v);

/* The head of a column `value`, which a series is measured over: what it is, and its unit, may stand behind, as in
 * "value: temperature (K)". */
struct mro_value_head {
    char name[64], unit[32]; /* "value", "" where not said */
};
bool mro_value_head_parse(struct mro_value_head *h, const char *cell); /* false: another column's */

/* Records of a text with cells in quotes, which may hold line ends (RFC 4180). The text is changed in place. Set `at`
 * to its start, and `separator`. */
struct mro_csv {
    char *at;
    char separator;
    size_t record; /* number of the record read last, from 1: the row of a spreadsheet */
    bool unclosed; /* a cell in quotes had no end */
};

/* Reads a record: `cells` point to texts within the text, each with its quotes undone, trimmed and ended by a zero. At
 * most `room` are kept; `n` counts all. False at the end of the text. */
bool mro_csv_next(struct mro_csv *t, char **cells, size_t room, size_t *n);

/* Writes a cell, in quotes where it needs them, and `after` behind it. */
void mro_csv_put(FILE *out, const char *text, const char *after);

/* The same in tables for people: spreadsheets would compute a text that begins like a formula, so it gets an
 * apostrophe before it. */
void mro_csv_put_text(FILE *out, const char *text, const char *after);

#endif

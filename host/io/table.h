/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables of text as spreadsheets and microscopes' programs save them: UTF-8 with or without a mark, UTF-16, Latin-1;
 * decimal points or commas; cells in quotes (RFC 4180). */
#ifndef MRO_IO_TABLE_H
#define MRO_IO_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Text of a cell; not ended by a zero. */
struct mro_cell {
    const char *p;
    size_t n;
};

/* The bytes of a text file as UTF-8, with a zero at the end; free() it. `n` is its length, which may count zeros
 * inside. NULL when out of memory. */
char *mro_table_text(const void *bytes, size_t size, size_t *n);

/* Without the white space around it, and without one pair of quotes. */
struct mro_cell mro_cell_trimmed(struct mro_cell c);

/* A number that fills the cell, with a decimal point or a decimal comma. */
bool mro_cell_number(struct mro_cell c, double *v);

/* Records of a text, which is changed in place. Set `at` to its start, and `separator`. */
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

#endif

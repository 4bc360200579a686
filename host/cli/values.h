/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values of a series, a temperature or strain for each input: numbers on the command line, or a table by file. */
#ifndef MRO_CLI_VALUES_H
#define MRO_CLI_VALUES_H

#include "cli/inputs.h"
#include "io/table.h"

/* {0} is empty. */
struct cli_values {
    struct mro_value_head head; /* what they are */
    double *v;                  /* finite, n */
    size_t n;
    size_t *first; /* of each file: its first value */
    bool by_file;  /* one value for all profiles of a file */
};

/* Reads `text`: "300,350,400", or the name of a table with columns file and value (such as the session of a batch),
 * which gives one for each of `files` by its name without folder. NULL: none. -1, or after a message 2 for wrong
 * usage of `verb`, 1 for a table that cannot be read or lacks a value. */
int cli_values_read(struct cli_values *values, const char *verb, const char *text, const struct cli_args *files);

/* Deals the values to the profiles of `files`, one each, or one a file: counts those of images by `job`; a table is
 * one profile. -1, or 2 after a message of `verb` when there are more or fewer. */
int cli_values_place(struct cli_values *values, const char *verb, const struct cli_job *job,
                     const struct cli_args *files, bool (*is_table)(const char *path));

/* The value of a profile of the file `path`, counted from 0. */
double cli_value_of(const struct cli_values *values, const struct cli_args *files, const char *path, size_t profile);

void cli_values_release(struct cli_values *values);

#endif

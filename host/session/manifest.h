/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The manifest of a session: a table with one row for each file, which a spreadsheet can edit. Columns, in any order
 * and any case: file state kind (needed), strain pixel_nm frames specimen thickness_nm group element value kv cs_mm.
 * The head of `value` may say what it is, with its unit: "value: temperature (K)".
 * Cells are separated by commas, semicolons or tabs; numbers have a decimal point or comma; the text is UTF-8, UTF-16
 * or Latin-1. Files are found from the folder of the manifest; backslashes are taken for slashes, and a file given as
 * C:\DATA\DAY1\x.dm4 is looked for as DAY1/x.dm4 and so on. */
#ifndef MRO_SESSION_MANIFEST_H
#define MRO_SESSION_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/table.h"
#include "mroscope/error.h"

/* Texts are never NULL; an empty cell is "". Numbers that are not given are NaN. */
struct mro_manifest_row {
    size_t row;       /* as a spreadsheet counts: the header is 1 */
    const char *file; /* as written, UTF-8 */
    char *path;       /* from the folder of the manifest, or absolute; never begins with '-'. NULL: not found */
    const char *state, *kind, *frames, *specimen, *group, *element, *value;
    double strain, thickness_nm, kv, cs_mm;
    double pixel_nm[2]; /* x, y; 0 = not given */
    uint64_t device, inode, size;
    int64_t mtime_ns;
};

struct mro_manifest {
    char *folder; /* of the manifest: "." or a path */
    struct mro_manifest_row *rows;
    size_t n;
    char **faults; /* sentences "row 3: ...", in order of the rows */
    size_t n_faults;
    char **unknown; /* names of columns that mean nothing here */
    size_t n_unknown;
    struct mro_value_head value; /* what the column holds */
    char *text;                  /* holds the cells */
};

/* Reads a manifest and looks for its files. What is wrong with single rows is in `faults`: files that are not there or
 * cannot be read, numbers that are none, empty cells that have to be filled. Errors, of the whole: MRO_EIO, MRO_EFORMAT
 * (no table, a column is missing or there twice, no rows), MRO_EMEMORY. Release in any case. */
enum mro_code mro_manifest_read(struct mro_manifest *m, const char *path, struct mro_error *e);
void mro_manifest_release(struct mro_manifest *m);

/* Adds a fault of a row. */
void mro_manifest_fault(struct mro_manifest *m, size_t row, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Names of the known columns, ended by NULL. */
extern const char *const mro_manifest_columns[];

#endif

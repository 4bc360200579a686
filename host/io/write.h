/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files that appear whole or not at all: written without a name, or, where the file system knows no such files, under a
 * temporary one in the same folder, then renamed.
 *
 * A program that may hit a limit on file sizes should ignore SIGXFSZ, so that the write fails with a
 * sentence instead of ending the program with the temporary file left behind. */
#ifndef MRO_IO_WRITE_H
#define MRO_IO_WRITE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mroscope/error.h"

/* What the names of files and folders begin with that have no final name yet. Files of mro_write_begin go on with
 * "PID-", the process that writes them. */
#define MRO_TEMPORARY ".mroscope-"

/* A file being written. `{0}` is safe to abort. One thread at a time; different files are independent. */
struct mro_write {
    FILE *out;       /* write here, in binary */
    char *path;      /* owned: the name it will have */
    char *temporary; /* owned: the name it has now; NULL when it is kept in memory (core/inside.h), */
    char *bytes;     /* where these are what `out` has taken */
    size_t size;
    bool unnamed; /* it has none yet */
};

/* Starts the file `path`, whose folder must exist. MRO_EIO with the path and the system's reason,
 * MRO_EMEMORY. End with commit or abort. */
enum mro_code mro_write_begin(struct mro_write *w, const char *path, struct mro_error *e);

/* Appends bytes and, when that fails, says why while errno still knows: MRO_EIO. */
enum mro_code mro_write_put(struct mro_write *w, const void *bytes, size_t size, struct mro_error *e);

/* Closes the file and gives it its name, replacing a file of that name. MRO_EIO when any write since begin
 * failed, the disk is full or the name cannot be taken; then no file is left behind. `w` is {0} after. */
enum mro_code mro_write_commit(struct mro_write *w, struct mro_error *e);

/* Removes what was written; `w` is {0} after. NULL and {0} are fine. */
void mro_write_abort(struct mro_write *w);

/* Removes the files that were begun and are neither finished nor given up, for a handler of the signals that end a
 * program: it calls nothing but what such a handler may. Up to 4096 files at a time are known. No file can be begun or
 * finished after it. */
void mro_write_remove_unfinished(void);
/* Has it remove `path` as well, until mro_write_drop, which frees it: for files that are whole and have no final name
 * yet. There need be no such file. */
void mro_write_note(char *path);
void mro_write_drop(char *path);

/* Writes `size` bytes as the file `path`, in the same way. */
enum mro_code mro_write_buffer(const char *path, const void *bytes, size_t size, struct mro_error *e);

/* The fraction num/den of 32-bit numbers next to x > 0, as TIFF writes resolutions. */
void mro_write_rational(double x, uint32_t *num, uint32_t *den);

#endif

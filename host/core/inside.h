/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stands for files, the terminal and Ctrl-C while a verb runs inside another program (mroscope/run.h): files that
 * are lent under a name, files that are kept in memory in place of written, results and the sentence of a failure in
 * place of lines on a terminal, and a request to stop. One set belongs to the thread that runs the verb, so that runs
 * on different threads know nothing of each other. That thread writes numbers with a point, whatever the locale of the
 * program: loops on several threads that write numbers hand its uselocale() on to the others, and take it back. */
#ifndef MRO_CORE_INSIDE_H
#define MRO_CORE_INSIDE_H

#include <locale.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include "mroscope/image.h"

/* A file in memory: bytes of any format, or (array) an image whose pixels lie there as they are, in the machine's byte
 * order. Nothing is owned but the name. */
struct mro_lent {
    char *name;
    const void *bytes;
    size_t size;
    bool array;
    enum mro_dtype dtype;
    size_t axes;
    struct mro_axis axis[6]; /* slowest first */
    enum mro_kind kind;
    double beam_kv;
};

/* A file that was written to memory. */
struct mro_kept {
    char *name;
    void *bytes;
    size_t size;
    size_t result; /* the result that it came before, or 1 more than the last */
};

struct mro_inside {
    struct mro_lent *lent;
    size_t n_lent;
    bool keep;      /* whether files are kept in place of written, */
    bool of_stacks; /* and those of the single frames of stacks too */
    struct mro_kept *kept;
    size_t n_kept;
    char **results; /* texts of JSON */
    size_t n_results;
    bool failed;
    struct mro_error error; /* the first */
    atomic_bool stop;
};

/* That of this thread; NULL: a program of our own with files and a terminal. */
extern _Thread_local struct mro_inside *mro_inside;

/* The lent file of that name; NULL: there is none. */
const struct mro_lent *mro_inside_lent(const char *name);

/* Whether `p` are the bytes of a lent file. */
bool mro_inside_lends(const void *p);

/* Whether files are kept in memory. */
bool mro_inside_keeps(void);

/* Keeps a file; takes over `bytes`. MRO_EMEMORY. */
enum mro_code mro_inside_keep(const char *name, void *bytes, size_t size, struct mro_error *e);

/* Takes over the text of a result. MRO_EMEMORY. */
enum mro_code mro_inside_result(char *text, struct mro_error *e);

/* Notes a failure in place of telling it; false where there is a terminal. */
bool mro_inside_failed(const struct mro_error *e);

/* Whether it was asked to stop. */
bool mro_stopping(const struct mro_inside *in);

/* MRO_ESTOPPED when the run was asked to stop. Long loops ask between their rounds. */
enum mro_code mro_stopped(struct mro_error *e);

/* Frees what was lent, kept and said. */
void mro_inside_release(struct mro_inside *in);

#endif

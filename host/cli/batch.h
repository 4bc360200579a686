/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of 'mroscope batch': what is to be measured (batch_units.c), the processes that measure (batch_worker.c),
 * who gives them work (batch_pool.c) until they are to stop (batch_stops.c), what is written of each (batch_numbers.c)
 * and of all (batch_index.c), and a first manifest (batch_init.c). */
#ifndef MRO_CLI_BATCH_H
#define MRO_CLI_BATCH_H

#include "cli/verb.h"
#include "session/hashes.h"
#include "session/manifest.h"
#include "session/store.h"

/* A kind of row, and the verb that measures it. */
struct batch_kind {
    const char *name;
    const struct cli_verb *verb;
    bool maps; /* rows that share `group` are one measurement */
};

/* Verbs that measure rows, each once. */
enum { BATCH_VERBS = 16 };
size_t batch_verbs(const struct cli_verb *verbs[BATCH_VERBS]);

struct batch_options {
    struct cli_common common;
    int jobs;
    bool init, dry_run, verify, gather;
    const char *shard_text, *rows_text;
    size_t shard, shards;   /* from 0 */
    struct cli_frames rows; /* n = 0: all */
    bool asked;             /* rows are named on standard input, as they come */
    double kv, cs_mm;
    const char *verb_options[BATCH_VERBS]; /* as written after --VERB, in the order of batch_verbs */
};

enum batch_status { BATCH_WAITING, BATCH_RUNNING, BATCH_DONE, BATCH_FAILED };

/* What is measured at once: a row, or the rows of a group of maps. */
struct batch_unit {
    size_t *rows, n; /* places in the manifest */
    const struct batch_kind *kind;
    bool mine;                         /* of this shard, among the rows that were named */
    char (*sha256)[65];                /* of the file of each row; "" = not known yet */
    char key[65], name[MRO_ITEM_NAME]; /* "" = not known yet */
    enum batch_status status;
    bool was_there; /* finished by another run */
    bool damaged;   /* it was there, and has to be made again; `error` says what was wrong with it */
    char *error;
    json_t *record;
    size_t memory;     /* bytes that it may take; 0 = the share of a worker */
    double not_before; /* another process measures it: look again then */
};

struct batch {
    struct batch_options o;
    struct mro_manifest manifest;
    const char *manifest_path; /* as given */
    char *folder;              /* of the manifest, absolute */
    struct batch_unit *units;
    size_t n;
    struct mro_store store;
    struct mro_hashes hashes;
    size_t done_now, damaged;
};

double batch_now(void); /* seconds */

/* Makes units of the rows and checks all that can be checked without reading the files. 0; or 2 after a line for each
 * fault; or 1 when out of memory. */
int batch_plan(struct batch *b);
void batch_units_release(struct batch *b);

/* Options of the verb of a unit as they would be written, without its files: one text, to see whether two units can
 * share an open verb. free() it; NULL when out of memory. */
char *batch_options_text(const struct batch *b, const struct batch_unit *u);

/* Opens the verb of a unit. Its memory and threads are limits; 0 = those of the verb. Returns as cli_verb_open. */
int batch_open(const struct batch *b, const struct batch_unit *u, size_t memory, int threads, bool measures,
               struct cli_run **run);
/* Gives an open verb the file, the pixel size and the frames of a unit, and the folder `out` (NULL: no matter). False
 * when out of memory. */
bool batch_row(const struct batch *b, const struct batch_unit *u, const char *out, struct cli_run *run);

/* Looks up checksums that are known, and with them the key, and the item in the store: `status`, `record` and `error`
 * follow (a damaged one is waiting). When `hash`, checksums that are not known are taken. */
enum mro_code batch_look(struct batch *b, struct batch_unit *u, bool hash, struct mro_error *e);

/* Name under which the checksum of a row's file is kept; free() it. */
char *batch_hash_name(const struct batch *b, const struct mro_manifest_row *r);

/* Measures units for the process at the other end of `in` and `out` until `in` ends. Never returns. */
_Noreturn void batch_work(struct batch *b, int in, int out);

/* Whether signals that ask a program to end are only noted, so that it comes to an end with nothing half made. */
void batch_hear_stops(bool hear);
/* For a process that was forked meanwhile: they end it, as they do by default. */
void batch_reset_stops(void);
/* The last one, where at least so many were noted (1 or 2), else 0. */
int batch_stopped(int times);

/* Removes what dead processes left. Measures what is waiting, and what is asked for on standard input until that ends,
 * each with an answer on standard output; all of it, or until batch_stopped(1). False after a sentence when it could
 * not go on. */
bool batch_run(struct batch *b);

/* Writes index.json, summary.csv and the checksums of inputs; of rows that are asked for one by one the checksums
 * alone, for the whole is not known here. */
enum mro_code batch_write_index(struct batch *b, struct mro_error *e);
/* Prints the rows of a unit as JSON, one a line; of all when `u` is NULL. */
enum mro_code batch_print(const struct batch *b, const struct batch_unit *u, struct mro_error *e);
/* Main numbers of a result file, for the record: { "mro.fraction": 0.1, ... }. NULL when out of memory. */
json_t *batch_numbers(const json_t *result);

/* A path as a shell takes it for one word; free() it. NULL when out of memory. */
char *batch_shell_word(const char *path);

/* Writes a manifest of the files under `folder`. The exit code. */
int batch_init(const struct batch_options *o, const char *folder);

#endif

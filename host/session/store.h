/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A folder of results that several processes, on several machines, may fill at the same time. What one measurement
 * gives is an item, a folder that is there whole or not at all:
 *
 *   items/NAME/            its files, and record.json ("mroscope.item/1"), which lists them with size and SHA-256
 *   items/NAME.tmp/        the same while it is made
 *   items/NAME.lock        who makes it: pid, host, start of that process
 *   items/NAME.failed      why it could not be made
 *
 * NAME is the stem of its input and the first 16 digits of its key. A lock is stale when its owner is dead on this
 * host, or when it is of another and has not been touched for MRO_LOCK_SECONDS. */
#ifndef MRO_SESSION_STORE_H
#define MRO_SESSION_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "mroscope/error.h"

enum { MRO_LOCK_SECONDS = 120, MRO_KEY_DIGITS = 16, MRO_ITEM_NAME = 256 };

struct mro_store {
    char *folder;        /* absolute */
    struct timespec now; /* by the clock of the disk, when it was opened, */
    double ahead;        /* which is so many seconds ahead of the one here */
};

/* Opens a folder, which is made if it is missing, and makes sure that it can be written to. MRO_EIO with the system's
 * reason, MRO_EMEMORY. */
enum mro_code mro_store_open(struct mro_store *s, const char *folder, struct mro_error *e);
/* The same without touching the disk; false when there is no such folder yet. */
bool mro_store_look(struct mro_store *s, const char *folder);
void mro_store_release(struct mro_store *s);

/* Name of the item of an input. Long stems are cut between characters. */
void mro_store_name(const char *path, const char *key, char name[MRO_ITEM_NAME]);

enum mro_item_state { MRO_ITEM_NONE, MRO_ITEM_FAILED, MRO_ITEM_DAMAGED, MRO_ITEM_DONE };

/* Looks for an item. DONE: `record` is its record, to be dropped with json_decref. DAMAGED, FAILED: `why` (room bytes)
 * says what is wrong. Sizes are always compared; checksums of results (.json), of files that were changed after the
 * record was written, and of all when `every_byte`. */
enum mro_item_state mro_store_check(const struct mro_store *s, const char *name, const char *key, bool every_byte,
                                    json_t **record, char *why, size_t room);

/* Was the failure of an item noted after the store was opened? */
bool mro_store_failed_now(const struct mro_store *s, const char *name);

/* Takes the lock of an item. MRO_OK and `mine` false: somebody else has it. */
enum mro_code mro_store_lock(const struct mro_store *s, const char *name, bool *mine, struct mro_error *e);
void mro_store_unlock(const struct mro_store *s, const char *name);
/* Notes that its owner lives, where that is process `pid` of this host. */
void mro_store_touch(const struct mro_store *s, const char *name, long pid);

/* Makes the empty folder of an item whose lock one holds, and gives its path; free() it. */
enum mro_code mro_store_begin(const struct mro_store *s, const char *name, char **path, struct mro_error *e);
/* Adds to `record` the list of the files there, writes it and gives the folder its name. On failure the folder is
 * removed. */
enum mro_code mro_store_finish(const struct mro_store *s, const char *name, json_t *record, struct mro_error *e);
void mro_store_discard(const struct mro_store *s, const char *name);
/* Notes why an item cannot be made. */
void mro_store_fail(const struct mro_store *s, const char *name, const char *key, const char *why);

/* Names of the files of an item's folder that end with `suffix` ("" = all), in order; free() each and the list. False
 * when the folder cannot be read. */
bool mro_store_list(const char *folder, const char *suffix, char ***names, size_t *n);

/* Takes the lock of an item that a dead process left, and removes what it had half made. */
void mro_store_clear(const struct mro_store *s, const char *name);

/* Removes the temporary files that a process of this host had beside its items when it was killed. */
void mro_store_bury(const struct mro_store *s, long pid);

/* Removes what dead processes left behind: half-made folders and their locks. */
void mro_store_sweep(const struct mro_store *s);

/* A JSON file; NULL when there is none that can be read. */
json_t *mro_store_read(const char *path);
/* Writes a JSON value, indented, as a file that is there whole or not at all. */
enum mro_code mro_store_write(const char *path, const json_t *v, struct mro_error *e);

/* Removes a file, or a folder with all that is in it, as far as that goes. Links are not followed. */
void mro_store_remove_tree(const char *path);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checksums of inputs that were taken before, so that a second run need not read a thousand files again: a file of the
 * same path, size, time and inode has the same bytes. */
#ifndef MRO_SESSION_HASHES_H
#define MRO_SESSION_HASHES_H

#include "session/manifest.h"

struct mro_hashes {
    void *files; /* json_t */
};

/* Reads the file `path`; one that is not there or damaged gives an empty list. */
void mro_hashes_read(struct mro_hashes *h, const char *path);
void mro_hashes_release(struct mro_hashes *h);

/* Checksum of an input, whose path is `name`; false when it is not known. */
bool mro_hashes_find(const struct mro_hashes *h, const char *name, const struct mro_manifest_row *r, char hex[65]);
void mro_hashes_note(struct mro_hashes *h, const char *name, const struct mro_manifest_row *r, const char *hex);

/* Takes in what others wrote meanwhile, and writes all, sorted. */
enum mro_code mro_hashes_write(struct mro_hashes *h, const char *path, struct mro_error *e);

#endif

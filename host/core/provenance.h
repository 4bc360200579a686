/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a result comes from: program, input and method. What was set by options is kept by the caller's
 * option tables; times, host names and anything else that differs between equal runs stay out. */
#ifndef MRO_CORE_PROVENANCE_H
#define MRO_CORE_PROVENANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"

struct mro_provenance {
    const char *backend;     /* "cpu"; NULL: nothing was computed on a device */
    const char *algorithm;   /* name and version of the method, "mro 1"; NULL for plain reading */
    const char *calibration; /* source of the pixel size, "ImageJ" */
    char input_sha256[65];   /* of the file's bytes; "" = not taken */
    bool sha256_of_parts;    /* that of the sums of its parts of MRO_HASH_PART bytes instead */
    bool has_seed;
    uint64_t seed;
};

const char *mro_version(void); /* "0.1.0" */
const char *mro_commit(void);  /* "1a2b3c4d5e6f", with "-dirty" for changed sources, or "unknown" */

/* SHA-256 of a file, computed on a thread of its own beside the measurement. No more than one thread can take it: with
 * many of them, that of the SHA-256s (32 bytes each) of its parts, one after the other, is sooner there. */
struct mro_hash_job;
#define MRO_HASH_PART ((size_t)64 << 20)

/* Starts hashing `size` bytes: of the file `fd`, read piece by piece so that they do not fill the memory, or with fd <
 * 0 those at `p`. They must stay readable until mro_hash_finish. `part_threads` 0: as a whole; else its parts, on as
 * many threads. Where no thread can be had, it hashes before returning. Errors: MRO_EMEMORY. */
enum mro_code mro_hash_start(struct mro_hash_job **job, int fd, const void *p, size_t size, int part_threads,
                             struct mro_error *e);

/* Makes a job that has not ended stop early; mro_hash_finish then gives no digest. NULL is fine. */
void mro_hash_cancel(struct mro_hash_job *job);

/* Waits, writes 64 hexadecimal digits and a zero to `hex` (may be NULL) and frees the job. NULL is fine: gives "".
 * `name` of the file is for sentences. Errors: MRO_EIO (it cannot be read to its end, or has become shorter),
 * MRO_EINTERNAL when the digest could not be computed. */
enum mro_code mro_hash_finish(struct mro_hash_job *job, const char *name, char hex[65], struct mro_error *e);

/* SHA-256 of bytes, or of a file with its size (may be NULL), in this thread. Errors: MRO_EIO (the file cannot be
 * read), MRO_EMEMORY, MRO_EINTERNAL. */
enum mro_code mro_sha256(const void *p, size_t size, char hex[65], struct mro_error *e);
enum mro_code mro_sha256_file(const char *path, char hex[65], uint64_t *size, struct mro_error *e);

#endif

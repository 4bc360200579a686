/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/provenance.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 18 }; /* bytes read at a time: they stay in the cache until they are hashed */
enum { DIGEST = 32, MOST_THREADS = 64 };
enum { CUT = -1 };

struct mro_hash_job {
    int fd;
    const unsigned char *p;
    size_t size, part, parts; /* bytes of the file, of a part; parts */
    bool joined;              /* the sum of the parts' is asked for */
    unsigned char (*digest)[DIGEST];
    atomic_size_t next; /* part to be taken */
    atomic_bool failed; /* or cancelled */
    atomic_int reason;  /* why the file could not be read; CUT: it ends before its size */
    size_t threads;
    pthread_t thread[MOST_THREADS];
};

const char *mro_version(void) { return MROSCOPE_VERSION; }
const char *mro_commit(void) { return MROSCOPE_COMMIT; }

/* The piece at `at`, in place or in `room`; NULL when it cannot be read. */
static const unsigned char *piece(struct mro_hash_job *job, size_t at, size_t n, unsigned char *room)
{
    if (job->fd < 0) return job->p + at;
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(job->fd, room + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            job->reason = got < 0 ? errno : CUT;
            return NULL;
        }
        done += (size_t)got;
    }
    return room;
}

static bool hash(struct mro_hash_job *job, size_t from, size_t size, unsigned char *digest)
{
    unsigned int n = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    /* Not on the stack, which threads may have little of. */
    unsigned char *room = job->fd < 0 ? NULL : malloc(PIECE);
    if (context == NULL || (job->fd >= 0 && room == NULL)) job->reason = ENOMEM;
    bool ok = (job->fd < 0 || room) && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t at = 0; at < size && ok; at += PIECE) {
        const size_t take = size - at < PIECE ? size - at : PIECE;
        const unsigned char *p = piece(job, from + at, take, room);
        ok = !job->failed && p && EVP_DigestUpdate(context, p, take) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(context, digest, &n) == 1 && n == DIGEST;
    EVP_MD_CTX_free(context);
    free(room);
    return ok;
}

static void write_digits(const unsigned char *digest, char *hex)
{
    for (int i = 0; i < DIGEST; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static void *hash_parts(void *arg)
{
    struct mro_hash_job *job = arg;
    for (size_t i = job->next++; i < job->parts; i = job->next++) {
        const size_t from = i * job->part, left = job->size - from;
        if (!hash(job, from, left < job->part ? left : job->part, job->digest[i])) job->failed = true;
    }
    return NULL;
}

void mro_hash_cancel(struct mro_hash_job *job)
{
    if (job) job->failed = true;
}

enum mro_code mro_hash_start(struct mro_hash_job **job, int fd, const void *p, size_t size, int part_threads,
                             struct mro_error *e)
{
    struct mro_hash_job *j = calloc(1, sizeof *j);
    *job = NULL;
    if (j) {
        *j = (struct mro_hash_job){ .fd = fd, .p = p, .size = size, .part = size, .parts = 1 };
        if (part_threads > 0) {
            j->joined = true;
            j->part = MRO_HASH_PART;
            j->parts = (size + MRO_HASH_PART - 1) / MRO_HASH_PART;
        }
        j->digest = malloc((j->parts + 1) * sizeof *j->digest);
    }
    if (j == NULL || j->digest == NULL) {
        free(j);
        return MRO_FAIL(e, MRO_EMEMORY, "no memory left to take the checksum of the input");
    }
    size_t most = j->joined && part_threads < MOST_THREADS ? (size_t)part_threads : MOST_THREADS;
    if (most > j->parts) most = j->parts;
    while (j->threads < most && pthread_create(&j->thread[j->threads], NULL, hash_parts, j) == 0) j->threads++;
    if (j->threads == 0) hash_parts(j);
    *job = j;
    return MRO_OK;
}

/* `reason` is of a job. */
static enum mro_code unread(const char *name, int reason, struct mro_error *e)
{
    if (reason == CUT) return MRO_FAIL(e, MRO_EIO, "'%s' was cut short while it was read", name);
    if (reason == ENOMEM) return MRO_FAIL(e, MRO_EMEMORY, "no memory left to take the checksum of '%s'", name);
    return MRO_FAIL(e, MRO_EIO, "cannot read '%s' to its end: %s", name, strerror(reason));
}

enum mro_code mro_hash_finish(struct mro_hash_job *job, const char *name, char hex[65], struct mro_error *e)
{
    if (hex) hex[0] = '\0';
    if (job == NULL) return MRO_OK;
    for (size_t k = 0; k < job->threads; k++) pthread_join(job->thread[k], NULL);
    bool ok = !job->failed;
    if (ok && job->joined) {
        struct mro_hash_job sums = { .fd = -1, .p = job->digest[0] };
        ok = hash(&sums, 0, job->parts * DIGEST, job->digest[job->parts]);
    }
    if (ok && hex) write_digits(job->digest[job->joined ? job->parts : 0], hex);
    const int reason = job->reason;
    free(job->digest);
    free(job);
    if (!ok && reason) return unread(name, reason, e);
    return ok ? MRO_OK : MRO_FAIL(e, MRO_EINTERNAL, "the checksum of '%s' could not be computed", name);
}

enum mro_code mro_sha256(const void *p, size_t size, char hex[65], struct mro_error *e)
{
    struct mro_hash_job job = { .fd = -1, .p = p };
    unsigned char digest[DIGEST];
    if (!hash(&job, 0, size, digest)) return MRO_FAIL(e, MRO_EINTERNAL, "a checksum could not be computed");
    write_digits(digest, hex);
    return MRO_OK;
}

enum mro_code mro_sha256_file(const char *path, char hex[65], uint64_t *size, struct mro_error *e)
{
    struct stat st;
    unsigned char digest[DIGEST];
    struct mro_hash_job job = { .fd = open(path, O_RDONLY | O_CLOEXEC) };
    if (job.fd < 0 || fstat(job.fd, &st) != 0) {
        const int reason = errno;
        if (job.fd >= 0) close(job.fd);
        return MRO_FAIL(e, MRO_EIO, "cannot read '%s': %s", path, strerror(reason));
    }
    const bool ok = hash(&job, 0, (size_t)st.st_size, digest);
    close(job.fd);
    if (!ok && job.reason) return unread(path, job.reason, e);
    if (!ok) return MRO_FAIL(e, MRO_EINTERNAL, "the checksum of '%s' could not be computed", path);
    if (size) *size = (uint64_t)st.st_size;
    write_digits(digest, hex);
    return MRO_OK;
}

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

struct mro_hash_job {
    int fd;
    const unsigned char *p;
    size_t size;
    unsigned char digest[EVP_MAX_MD_SIZE];
    bool ok, threaded;
    atomic_bool cancelled;
    pthread_t thread;
};

const char *mro_version(void) { return MROSCOPE_VERSION; }
const char *mro_commit(void) { return MROSCOPE_COMMIT; }

/* The piece at `at`, in place or in `room`; NULL when it cannot be read. */
static const unsigned char *piece(const struct mro_hash_job *job, size_t at, size_t n, unsigned char *room)
{
    if (job->fd < 0) return job->p + at;
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(job->fd, room + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return NULL;
        done += (size_t)got;
    }
    return room;
}

static void *hash(void *arg)
{
    struct mro_hash_job *job = arg;
    unsigned int n = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *room = job->fd < 0 ? NULL : malloc(PIECE);
    bool ok = context && (room || job->fd < 0) && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t at = 0; at < job->size && ok; at += PIECE) {
        const size_t take = job->size - at < PIECE ? job->size - at : PIECE;
        const unsigned char *p = piece(job, at, take, room);
        ok = !job->cancelled && p && EVP_DigestUpdate(context, p, take) == 1;
    }
    job->ok = ok && EVP_DigestFinal_ex(context, job->digest, &n) == 1 && n == 32;
    EVP_MD_CTX_free(context);
    free(room);
    return NULL;
}

static bool take_digest(const struct mro_hash_job *job, char *hex)
{
    for (int i = 0; job->ok && hex && i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", job->digest[i]);
    return job->ok;
}

void mro_hash_cancel(struct mro_hash_job *job)
{
    if (job) job->cancelled = true;
}

enum mro_code mro_hash_start(struct mro_hash_job **job, int fd, const void *p, size_t size, struct mro_error *e)
{
    struct mro_hash_job *j = calloc(1, sizeof *j);
    *job = NULL;
    if (j == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left to take the checksum of the input");
    j->fd = fd;
    j->p = p;
    j->size = size;
    j->threaded = pthread_create(&j->thread, NULL, hash, j) == 0;
    if (!j->threaded) hash(j);
    *job = j;
    return MRO_OK;
}

enum mro_code mro_hash_finish(struct mro_hash_job *job, char hex[65], struct mro_error *e)
{
    if (hex) hex[0] = '\0';
    if (job == NULL) return MRO_OK;
    if (job->threaded) pthread_join(job->thread, NULL);
    const bool ok = take_digest(job, hex);
    free(job);
    return ok ? MRO_OK : MRO_FAIL(e, MRO_EINTERNAL, "the checksum of the input could not be computed");
}

enum mro_code mro_sha256(const void *p, size_t size, char hex[65], struct mro_error *e)
{
    struct mro_hash_job job = { .fd = -1, .p = p, .size = size };
    hash(&job);
    return take_digest(&job, hex) ? MRO_OK : MRO_FAIL(e, MRO_EINTERNAL, "a checksum could not be computed");
}

enum mro_code mro_sha256_file(const char *path, char hex[65], uint64_t *size, struct mro_error *e)
{
    struct stat st;
    struct mro_hash_job job = { .fd = open(path, O_RDONLY | O_CLOEXEC) };
    if (job.fd < 0 || fstat(job.fd, &st) != 0) {
        const int reason = errno;
        if (job.fd >= 0) close(job.fd);
        return MRO_FAIL(e, MRO_EIO, "cannot read '%s': %s", path, strerror(reason));
    }
    job.size = (size_t)st.st_size;
    if (size) *size = (uint64_t)st.st_size;
    hash(&job);
    close(job.fd);
    return take_digest(&job, hex) ? MRO_OK : MRO_FAIL(e, MRO_EIO, "cannot read '%s' to its end", path);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/provenance.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct mro_hash_job {
    const void *p;
    size_t size;
    unsigned char digest[EVP_MAX_MD_SIZE];
    bool ok, threaded;
    pthread_t thread;
};

const char *mro_version(void) { return MROSCOPE_VERSION; }
const char *mro_commit(void) { return MROSCOPE_COMMIT; }

static void *hash(void *arg)
{
    struct mro_hash_job *job = arg;
    unsigned int n = 0;
    job->ok = EVP_Digest(job->p, job->size, job->digest, &n, EVP_sha256(), NULL) == 1 && n == 32;
    return NULL;
}

enum mro_code mro_hash_start(struct mro_hash_job **job, const void *p, size_t size, struct mro_error *e)
{
    struct mro_hash_job *j = calloc(1, sizeof *j);
    *job = NULL;
    if (j == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left to take the checksum of the input");
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
    const bool ok = job->ok;
    for (int i = 0; ok && hex && i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", job->digest[i]);
    free(job);
    return ok ? MRO_OK : MRO_FAIL(e, MRO_EINTERNAL, "the checksum of the input could not be computed");
}

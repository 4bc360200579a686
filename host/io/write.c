/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/write.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/inside.h"

/* ---------------------------------------------------------------- whole or not at all */

/* Names of the files under way, for mro_write_remove_unfinished; more at a time than there are slots are not noted.
 * Once that has begun, names are not freed any more, for it may be looking at them. */
static _Atomic(char *) unfinished[4096];
static atomic_bool removing;
#define SLOTS (sizeof unfinished / sizeof *unfinished)

void mro_write_note(char *path)
{
    for (size_t i = 0; i < SLOTS; i++) {
        char *none = NULL;
        if (atomic_load(&unfinished[i]) == NULL && atomic_compare_exchange_strong(&unfinished[i], &none, path)) return;
    }
}

static void forget_name(const char *path)
{
    for (size_t i = 0; path != NULL && i < SLOTS; i++) {
        if (atomic_load(&unfinished[i]) != path) continue;
        atomic_store(&unfinished[i], NULL);
        return;
    }
}

void mro_write_drop(char *path)
{
    forget_name(path);
    if (!atomic_load(&removing)) free(path);
}

/* A new file, noted before there is one, so that a signal in between leaves none; -1 with errno. */
static int open_noted(char *path)
{
    mro_write_note(path);
    errno = EINTR;
    const int fd = atomic_load(&removing) ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) forget_name(path);
    return fd;
}

void mro_write_remove_unfinished(void)
{
    atomic_store(&removing, true);
    for (size_t i = 0; i < SLOTS; i++) {
        const char *path = atomic_load(&unfinished[i]);
        if (path != NULL) unlink(path);
    }
}

static void forget(struct mro_write *w)
{
    free(w->path);
    mro_write_drop(w->temporary);
    memset(w, 0, sizeof *w);
}

void mro_write_abort(struct mro_write *w)
{
    if (w == NULL) return;
    if (w->out) fclose(w->out);
    if (w->temporary) unlink(w->temporary);
    free(w->bytes);
    forget(w);
}

static enum mro_code begin_kept(struct mro_write *w, const char *path, struct mro_error *e)
{
    w->path = strdup(path);
    w->out = w->path ? open_memstream(&w->bytes, &w->size) : NULL;
    if (w->out) return MRO_OK;
    forget(w);
    return MRO_FAIL(e, MRO_EMEMORY, "no memory to keep '%s'", path);
}

static enum mro_code commit_kept(struct mro_write *w, bool whole, struct mro_error *e)
{
    if (!whole) {
        const enum mro_code rc = MRO_FAIL(e, MRO_EMEMORY, "no memory to keep '%s'", w->path);
        mro_write_abort(w);
        return rc;
    }
    char *bytes = w->bytes;
    w->bytes = NULL;
    const enum mro_code rc = mro_inside_keep(w->path, bytes, w->size, e);
    forget(w);
    return rc;
}

enum mro_code mro_write_begin(struct mro_write *w, const char *path, struct mro_error *e)
{
    static atomic_uint serial;
    enum mro_code rc = MRO_OK;
    struct stat st;
    int fd = -1;
    memset(w, 0, sizeof *w);
    if (mro_inside_keeps()) return begin_kept(w, path, e);
    /* rename would fail only at the end of the work. */
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return MRO_FAIL(e, MRO_EIO, "cannot write '%s': it is a directory", path);
    const char *slash = strrchr(path, '/');
    const size_t folder = slash ? (size_t)(slash - path) + 1 : 0, room = folder + 64;
    char *temporary = malloc(room);
    w->path = strdup(path);
    if (temporary == NULL || w->path == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory to write '%s'", path);
        goto done;
    }
    /* The permissions are those of any new file, which mkstemp would not give. A name of its own for every
     * file and process; one left by a killed run is stepped over. */
    memcpy(temporary, path, folder);
    for (int tries = 0; tries < 1000 && fd < 0; tries++) {
        snprintf(temporary + folder, room - folder, MRO_TEMPORARY "%ld-%u.tmp", (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        fd = open_noted(temporary);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) {
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
        goto done;
    }
    w->temporary = temporary;
    temporary = NULL;
    w->out = fdopen(fd, "wb");
    if (w->out == NULL) {
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
        close(fd);
    }
done:
    mro_write_drop(temporary);
    if (rc) mro_write_abort(w);
    return rc;
}

enum mro_code mro_write_commit(struct mro_write *w, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    errno = 0;
    /* ferror knows of writes that failed earlier; their errno is gone unless this flush fails as well. */
    const bool failed = ferror(w->out) != 0, flushed = fflush(w->out) == 0;
    int reason = errno;
    if (fclose(w->out) != 0 && reason == 0) reason = errno;
    w->out = NULL;
    if (w->temporary == NULL) return commit_kept(w, !failed && flushed && !reason, e);
    if (failed || !flushed || reason)
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", w->path, reason ? strerror(reason) : "the disk may be full");
    else if (rename(w->temporary, w->path) != 0)
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", w->path, strerror(errno));
    if (rc) {
        mro_write_abort(w);
        return rc;
    }
    forget(w);
    return MRO_OK;
}

enum mro_code mro_write_put(struct mro_write *w, const void *bytes, size_t size, struct mro_error *e)
{
    if (size == 0 || fwrite(bytes, 1, size, w->out) == size) return MRO_OK;
    return MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", w->path, strerror(errno));
}

enum mro_code mro_write_buffer(const char *path, const void *bytes, size_t size, struct mro_error *e)
{
    struct mro_write w;
    MRO_TRY(mro_write_begin(&w, path, e));
    const enum mro_code rc = mro_write_put(&w, bytes, size, e);
    if (rc) {
        mro_write_abort(&w);
        return rc;
    }
    return mro_write_commit(&w, e);
}

/* By continued fractions. */
void mro_write_rational(double x, uint32_t *num, uint32_t *den)
{
    uint64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
    double rest = x;
    for (int i = 0; i < 40; i++) {
        const double whole = floor(rest);
        if (!(whole < 4294967296.0)) break;
        const uint64_t a = (uint64_t)whole, p2 = a * p1 + p0, q2 = a * q1 + q0;
        if (p2 > UINT32_MAX || q2 > UINT32_MAX) break;
        p0 = p1, q0 = q1, p1 = p2, q1 = q2;
        if (rest - whole < 1e-12 || (double)p1 / (double)q1 == x) break;
        rest = 1 / (rest - whole);
    }
    if (q1 == 0 || p1 == 0) { /* beyond what a fraction of 32-bit numbers can say */
        p1 = x > 1 ? UINT32_MAX : 1;
        q1 = x > 1 ? 1 : UINT32_MAX;
    }
    *num = (uint32_t)p1;
    *den = (uint32_t)q1;
}

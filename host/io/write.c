/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE /* O_TMPFILE */
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
#include <time.h>
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

/* Threads that are about to give a file a name, this one among them or not: mro_write_remove_unfinished waits for the
 * others, so that none does so behind its back. Never fewer than naming_here says, wherever a signal comes in: waiting
 * in vain leaves no file. */
static atomic_int naming;
static _Thread_local volatile int naming_here;

static void end_naming(void)
{
    naming_here = 0;
    atomic_fetch_sub(&naming, 1);
}

/* False with EINTR when the program is about to end. */
static bool begin_naming(void)
{
    atomic_fetch_add(&naming, 1);
    naming_here = 1;
    if (!atomic_load(&removing)) return true;
    end_naming();
    errno = EINTR;
    return false;
}

void mro_write_remove_unfinished(void)
{
    atomic_store(&removing, true);
    for (int ms = 0; ms < 1000 && atomic_load(&naming) > naming_here; ms++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    for (size_t i = 0; i < SLOTS; i++) {
        const char *path = atomic_load(&unfinished[i]);
        if (path != NULL) unlink(path);
    }
}

/* A new file in a folder ("" or with its slash), which has no name until link_open gives it one: a process that is
 * killed leaves nothing. -1 where there is no such thing. */
static int open_unnamed(const char *folder)
{
#ifdef O_TMPFILE
    const int fd = open(folder[0] ? folder : ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
    char place[32];
    snprintf(place, sizeof place, "/proc/self/fd/%d", fd);
    if (fd < 0 || access(place, W_OK) == 0) return fd;
    close(fd);
#else
    (void)folder;
#endif
    return -1;
}

static int link_open(int fd, const char *path)
{
    char place[32];
    snprintf(place, sizeof place, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, place, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

enum { NAME_ROOM = 64 };

/* Gives the open file `fd`, or a new one (fd < 0), a name of its own in the folder of `path`, whose last NAME_ROOM
 * bytes, from `name` on, are for it; one left by a killed run is stepped over. It is noted before there is such a file,
 * so that a signal in between leaves none. -1 with errno. */
static int take_name(char *path, char *name, int fd)
{
    static atomic_uint serial;
    int taken = -1;
    for (int tries = 0; tries < 1000; tries++) {
        snprintf(name, NAME_ROOM, MRO_TEMPORARY "%ld-%u.tmp", (long)getpid(), atomic_fetch_add(&serial, 1));
        mro_write_note(path);
        if (begin_naming()) {
            /* The permissions are those of any new file, which mkstemp would not give. */
            taken = fd < 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : link_open(fd, path);
            end_naming();
        }
        if (taken >= 0) break;
        const int reason = errno;
        forget_name(path);
        errno = reason;
        if (reason != EEXIST) break;
    }
    return taken;
}

static bool copy_bytes(int from, int to)
{
    char bytes[1 << 14];
    ssize_t n, put = 0;
    for (off_t at = 0; (n = pread(from, bytes, sizeof bytes, at)) > 0; at += put)
        if ((put = write(to, bytes, (size_t)n)) < 0) return false;
    return n == 0;
}

/* Gives an unnamed file a name, or a copy of it where the system does not let it have one. False with errno. */
static bool name_unnamed(struct mro_write *w, char *name)
{
    w->unnamed = take_name(w->temporary, name, fileno(w->out)) < 0;
    if (!w->unnamed) return true;
    const int copy = errno == EINTR ? -1 : take_name(w->temporary, name, -1);
    if (copy < 0) return false;
    w->unnamed = false;
    const bool copied = copy_bytes(fileno(w->out), copy);
    const int reason = errno;
    if (close(copy) != 0) return false;
    errno = reason;
    return copied;
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
    if (w->temporary && !w->unnamed) unlink(w->temporary);
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

/* Bytes of the folder in a path, with its slash. */
static size_t folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

enum mro_code mro_write_begin(struct mro_write *w, const char *path, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    struct stat st;
    memset(w, 0, sizeof *w);
    if (mro_inside_keeps()) return begin_kept(w, path, e);
    /* rename would fail only at the end of the work. */
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return MRO_FAIL(e, MRO_EIO, "cannot write '%s': it is a directory", path);
    const size_t folder = folder_of(path);
    w->path = strdup(path);
    w->temporary = calloc(folder + NAME_ROOM, 1);
    w->unnamed = true; /* so far there is nothing to remove */
    if (w->path == NULL || w->temporary == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory to write '%s'", path);
        goto done;
    }
    memcpy(w->temporary, path, folder);
    int fd = open_unnamed(w->temporary);
    if (fd < 0) {
        fd = take_name(w->temporary, w->temporary + folder, -1);
        w->unnamed = fd < 0;
    }
    w->out = fd < 0 ? NULL : fdopen(fd, "wb");
    if (w->out == NULL) {
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
        if (fd >= 0) close(fd);
    }
done:
    if (rc) mro_write_abort(w);
    return rc;
}

/* Gives what is written its name. 0, or errno. */
static int finish_name(struct mro_write *w)
{
    int reason = 0;
    if (!begin_naming()) return errno;
    if (rename(w->temporary, w->path) != 0) reason = errno;
    end_naming();
    return reason;
}

enum mro_code mro_write_commit(struct mro_write *w, struct mro_error *e)
{
    errno = 0;
    /* ferror knows of writes that failed earlier; their errno is gone unless this flush fails as well. */
    const bool failed = ferror(w->out) != 0, flushed = fflush(w->out) == 0;
    int reason = errno;
    if (w->unnamed && !failed && flushed && reason == 0 && !name_unnamed(w, w->temporary + folder_of(w->path)))
        reason = errno;
    if (fclose(w->out) != 0 && reason == 0) reason = errno;
    w->out = NULL;
    if (w->temporary == NULL) return commit_kept(w, !failed && flushed && !reason, e);
    if (!failed && flushed && !reason) reason = finish_name(w);
    if (!failed && flushed && !reason) {
        forget(w);
        return MRO_OK;
    }
    const enum mro_code rc =
        MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", w->path, reason ? strerror(reason) : "the disk may be full");
    mro_write_abort(w);
    return rc;
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

/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE /* asprintf, nftw */
#include "session/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/provenance.h"
#include "io/json_text.h"
#include "io/write.h"

enum { MOST_STEM = 180, LOCK_BYTES = 400, OLD_SECONDS = 3600 /* no file is written for so long */ };

#define ITEM_SCHEMA "mroscope.item/1"
#define FAILURE_SCHEMA "mroscope.failure/1"

/* -- files ----------------------------------------------------------------------------------------- */

json_t *mro_store_read(const char *path)
{
    json_error_t ignored;
    return json_load_file(path, 0, &ignored);
}

enum mro_code mro_store_write(const char *path, const json_t *v, struct mro_error *e)
{
    char *text = v ? mro_json_text(v, true, e) : NULL;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left to write '%s'", path);
    if (text == NULL) return e->code;
    const enum mro_code rc = mro_write_buffer(path, text, strlen(text), e);
    free(text);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *place)
{
    (void)st;
    (void)flag;
    (void)place;
    remove(path);
    return 0;
}

void mro_store_remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* Makes a folder and its parents; 0, or errno. */
static int make_folders(char *path)
{
    struct stat st;
    for (char *p = path + 1;; p++) {
        const char c = *p;
        if (c != '/' && c != '\0') continue;
        *p = '\0';
        const int failed = mkdir(path, 0777) != 0 && errno != EEXIST ? errno : 0;
        const bool there = failed == 0 || stat(path, &st) == 0;
        *p = c;
        if (!there) return failed;
        if (c == '\0') return stat(path, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    }
}

/* Full path of "<folder>/items/<name><suffix>"; free() it. NULL when out of memory. */
static char *path_of(const struct mro_store *s, const char *name, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/items/%s%s", s->folder, name, suffix) < 0 ? NULL : path;
}

static struct timespec mtime_of(const struct stat *st)
{
#ifdef __APPLE__
    return st->st_mtimespec;
#else
    return st->st_mtim;
#endif
}

/* Is this a file that is being written (see io/write.c)? */
static bool is_temporary(const char *name) { return strncmp(name, MRO_TEMPORARY, strlen(MRO_TEMPORARY)) == 0; }

static bool later(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/* Without what would upset a file name or JSON. */
static void host_name(char out[256])
{
    out[0] = '\0';
    gethostname(out, 255);
    out[255] = '\0';
    for (char *p = out; *p; p++)
        if (*p == '"' || *p == '\\' || *p == '/' || (unsigned char)*p < 0x20) *p = '_';
}

/* A name in the folder that no process but `pid` of this host uses; free() it. */
static char *name_of_process(const char *folder, long pid)
{
    char host[256], *path = NULL;
    host_name(host);
    return asprintf(&path, "%s/" MRO_TEMPORARY "%s-%ld.tmp", folder, host, pid) < 0 ? NULL : path;
}

enum mro_code mro_store_open(struct mro_store *s, const char *folder, struct mro_error *e)
{
    char *items = NULL, *probe = NULL;
    struct stat st;
    enum mro_code rc = MRO_OK;
    *s = (struct mro_store){ 0 };
    if (asprintf(&items, "%s/items", folder) < 0) return MRO_FAIL(e, MRO_EMEMORY, "no memory left to begin");
    const int error = make_folders(items);
    if (error) {
        rc = MRO_FAIL(e, MRO_EIO, "cannot write to the folder '%s': %s; give another one with -o DIR", folder,
                      strerror(error));
    } else if ((s->folder = realpath(folder, NULL)) == NULL) {
        rc = MRO_FAIL(e, MRO_EIO, "'%s': %s", folder, strerror(errno));
    } else if ((probe = name_of_process(s->folder, getpid())) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left to begin");
    } else {
        const int fd = open(probe, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd >= 0) unlink(probe); /* at once: a process that is killed here should leave nothing */
        if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &st) != 0)
            rc = MRO_FAIL(e, MRO_EIO, "cannot write to the folder '%s': %s; give another one with -o DIR", folder,
                          strerror(errno));
        else
            s->now = mtime_of(&st);
        if (rc == MRO_OK) s->ahead = difftime(s->now.tv_sec, time(NULL));
        if (fd >= 0) close(fd);
    }
    free(items);
    free(probe);
    if (rc) mro_store_release(s);
    return rc;
}

bool mro_store_look(struct mro_store *s, const char *folder)
{
    *s = (struct mro_store){ .folder = realpath(folder, NULL) };
    return s->folder != NULL;
}

void mro_store_release(struct mro_store *s)
{
    free(s->folder);
    *s = (struct mro_store){ 0 };
}

void mro_store_name(const char *path, const char *key, char name[MRO_ITEM_NAME])
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t n = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    if (n > MOST_STEM)
        for (n = MOST_STEM; n > 0 && ((unsigned char)base[n] & 0xc0) == 0x80;) n--;
    snprintf(name, MRO_ITEM_NAME, "%.*s.%.*s", (int)n, base, MRO_KEY_DIGITS, key);
}

/* -- items ----------------------------------------------------------------------------------------- */

static bool is_json(const char *name)
{
    const size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".json") == 0;
}

/* "" when a file is what the record says. */
static void check_file(const char *folder, const json_t *entry, bool every_byte, struct timespec written, char *why,
                       size_t room)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *sum = json_string_value(json_object_get(entry, "sha256"));
    const json_int_t size = json_integer_value(json_object_get(entry, "size"));
    char *path = NULL, hex[65];
    struct stat st;
    why[0] = '\0';
    if (name == NULL || sum == NULL || strchr(name, '/')) {
        snprintf(why, room, "its record is damaged");
        return;
    }
    if (asprintf(&path, "%s/%s", folder, name) < 0) return;
    if (stat(path, &st) != 0)
        snprintf(why, room, "%s is missing", name);
    else if ((json_int_t)st.st_size != size)
        snprintf(why, room, "%s has %lld bytes instead of %lld", name, (long long)st.st_size, (long long)size);
    else if ((every_byte || is_json(name) || later(mtime_of(&st), written)) &&
             (mro_sha256_file(path, hex, NULL, NULL) != MRO_OK || strcmp(hex, sum) != 0))
        snprintf(why, room, "%s has changed since it was written", name);
    free(path);
}

enum mro_item_state mro_store_check(const struct mro_store *s, const char *name, const char *key, bool every_byte,
                                    json_t **record, char *why, size_t room)
{
    char *folder = path_of(s, name, ""), *path = path_of(s, name, "/record.json"),
         *failed = path_of(s, name, ".failed");
    enum mro_item_state state = MRO_ITEM_NONE;
    struct stat st;
    json_t *v = NULL, *entry;
    size_t i;
    *record = NULL;
    why[0] = '\0';
    if (folder == NULL || path == NULL || failed == NULL) goto done;
    if (stat(folder, &st) != 0) {
        v = mro_store_read(failed);
        const char *said = json_string_value(json_object_get(v, "key")),
                   *error = json_string_value(json_object_get(v, "error"));
        if (said && error && strcmp(said, key) == 0) {
            snprintf(why, room, "%s", error);
            state = MRO_ITEM_FAILED;
        }
        goto done;
    }
    state = MRO_ITEM_DAMAGED;
    v = mro_store_read(path);
    const char *schema = json_string_value(json_object_get(v, "schema")),
               *said = json_string_value(json_object_get(v, "key"));
    const json_t *files = json_object_get(v, "files");
    if (v == NULL || stat(path, &st) != 0) {
        snprintf(why, room, "its record is missing or damaged");
    } else if (schema == NULL || strcmp(schema, ITEM_SCHEMA) != 0 || said == NULL || strcmp(said, key) != 0 ||
               json_array_size(files) == 0) {
        snprintf(why, room, "its record is of something else");
    } else {
        json_array_foreach(files, i, entry)
        {
            check_file(folder, entry, every_byte, mtime_of(&st), why, room);
            if (why[0]) break;
        }
        if (why[0] == '\0') {
            state = MRO_ITEM_DONE;
            *record = json_incref(v);
        }
    }
done:
    json_decref(v);
    free(folder);
    free(path);
    free(failed);
    return state;
}

bool mro_store_failed_now(const struct mro_store *s, const char *name)
{
    char *path = path_of(s, name, ".failed");
    struct stat st;
    const bool now = path && stat(path, &st) == 0 && later(mtime_of(&st), s->now);
    free(path);
    return now;
}

enum mro_code mro_store_begin(const struct mro_store *s, const char *name, char **path, struct mro_error *e)
{
    if ((*path = path_of(s, name, ".tmp")) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "no memory left for the name of a result");
    mro_store_remove_tree(*path);
    if (mkdir(*path, 0777) == 0) return MRO_OK;
    const enum mro_code rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", *path, strerror(errno));
    free(*path);
    *path = NULL;
    return rc;
}

void mro_store_discard(const struct mro_store *s, const char *name)
{
    char *path = path_of(s, name, ".tmp");
    if (path) mro_store_remove_tree(path);
    free(path);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
/* A file whose name begins with a dot has results that do. */
static int is_listed(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && !is_temporary(d->d_name);
}

bool mro_store_list(const char *folder, const char *suffix, char ***names, size_t *count)
{
    struct dirent **found = NULL;
    const int n = scandir(folder, &found, is_listed, by_name);
    const size_t end = strlen(suffix);
    *count = 0;
    *names = n >= 0 ? calloc((size_t)n + 1, sizeof **names) : NULL;
    bool ok = *names != NULL;
    for (int i = 0; i < n; i++) {
        const char *name = found[i]->d_name;
        const size_t length = strlen(name);
        if (ok && length >= end && strcmp(name + length - end, suffix) == 0) {
            (*names)[*count] = strdup(name);
            ok = (*names)[*count] != NULL;
            *count += ok;
        }
        free(found[i]);
    }
    free(found);
    return ok;
}

static enum mro_code list_files(const char *folder, json_t *list, struct mro_error *e)
{
    char **names;
    size_t n;
    enum mro_code rc = MRO_OK;
    if (!mro_store_list(folder, "", &names, &n)) rc = MRO_FAIL(e, MRO_EIO, "cannot read '%s'", folder);
    for (size_t i = 0; i < n; i++) {
        char *path = NULL, hex[65];
        uint64_t size = 0;
        if (rc == MRO_OK && asprintf(&path, "%s/%s", folder, names[i]) < 0) {
            path = NULL;
            rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the list of results");
        }
        if (rc == MRO_OK) rc = mro_sha256_file(path, hex, &size, e);
        if (rc == MRO_OK && json_array_append_new(list, json_pack("{s:s,s:I,s:s}", "name", names[i], "size",
                                                                  (json_int_t)size, "sha256", hex)))
            rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the list of results");
        free(path);
        free(names[i]);
    }
    free(names);
    return rc;
}

enum mro_code mro_store_finish(const struct mro_store *s, const char *name, json_t *record, struct mro_error *e)
{
    char *made = path_of(s, name, ".tmp"), *final = path_of(s, name, ""), *old = path_of(s, name, ".old.tmp"),
         *path = path_of(s, name, ".tmp/record.json"), *failed = path_of(s, name, ".failed");
    json_t *files = json_array();
    enum mro_code rc = MRO_OK;
    if (!made || !final || !old || !path || !failed || !files || json_object_set_new(record, "files", files)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the list of results");
        goto done;
    }
    rc = list_files(made, files, e);
    if (rc == MRO_OK) rc = mro_store_write(path, record, e);
    if (rc) goto done;
    /* A damaged one of that name goes first. */
    if (rename(final, old) == 0) mro_store_remove_tree(old);
    if (rename(made, final) != 0) rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", final, strerror(errno));
    unlink(failed);
done:
    if (rc) mro_store_discard(s, name);
    free(made);
    free(final);
    free(old);
    free(path);
    free(failed);
    return rc;
}

void mro_store_fail(const struct mro_store *s, const char *name, const char *key, const char *why)
{
    char *path = path_of(s, name, ".failed");
    json_t *v = json_pack("{s:s,s:s,s:s}", "schema", FAILURE_SCHEMA, "key", key, "error", why);
    if (path && v) mro_store_write(path, v, NULL);
    json_decref(v);
    free(path);
}

/* -- locks ----------------------------------------------------------------------------------------- */

/* When a process began, as the kernel counts, so that a number used again is told apart; 0 = not known here. `ended`:
 * it is over, and nobody has asked how it went. */
static unsigned long long start_of(long pid, bool *ended)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    *ended = false;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL) return 0;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')'); /* the name before it may hold anything */
    if (p) *ended = strncmp(p, ") Z", 3) == 0 || strncmp(p, ") X", 3) == 0;
    for (int field = 2; p && field < 22; field++) p = strchr(p + 1, ' ');
    if (p) sscanf(p, "%llu", &start);
    return start;
}

/* Is this process of this host gone? `*runs`: when the one of that number began; 0 = not known. */
static bool is_gone(long pid, unsigned long long *runs)
{
    bool ended;
    *runs = start_of(pid, &ended);
    return ended || (*runs == 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

/* The text of a lock has always the same length, so that one is taken over in one write. */
static void lock_text(char text[LOCK_BYTES + 1])
{
    char host[256], owner[LOCK_BYTES];
    bool ended;
    host_name(host);
    snprintf(owner, sizeof owner, "{\"pid\": %ld, \"host\": \"%s\", \"start\": %llu}", (long)getpid(), host,
             start_of((long)getpid(), &ended));
    snprintf(text, LOCK_BYTES + 1, "%-*s\n", LOCK_BYTES - 1, owner);
}

/* What an open lock says; NULL when it is none. */
static json_t *read_lock(int fd)
{
    char text[512];
    json_error_t ignored;
    const ssize_t n = pread(fd, text, sizeof text, 0);
    return n > 0 ? json_loadb(text, (size_t)n, 0, &ignored) : NULL;
}

/* The process of this host that a lock is of; 0: it is of another. */
static long owner_here(const json_t *lock)
{
    char host[256];
    const char *owner = json_string_value(json_object_get(lock, "host"));
    host_name(host);
    return owner && strcmp(owner, host) == 0 ? (long)json_integer_value(json_object_get(lock, "pid")) : 0;
}

/* Is the owner of an open lock gone? One that runs on this host is not, however long it was silent: it may have been
 * stopped for a while. */
static bool is_stale(const struct mro_store *s, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return false;
    json_t *v = read_lock(fd);
    const long pid = owner_here(v);
    const unsigned long long start = (unsigned long long)json_integer_value(json_object_get(v, "start"));
    bool stale = difftime(time(NULL), st.st_mtime) + s->ahead > MRO_LOCK_SECONDS;
    if (pid > 0) {
        unsigned long long runs;
        if (is_gone(pid, &runs))
            stale = true;
        else if (start && runs)
            stale = start != runs;
    }
    json_decref(v);
    return stale;
}

/* Takes over a stale lock where it lies: of several that try, one gets it. */
static bool take_over(const struct mro_store *s, const char *path, const char *text)
{
    struct stat here, there;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    bool mine = false;
    if (fd < 0) return false;
    if (is_stale(s, fd) && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        /* Still the same file, and still stale: nobody was faster. */
        if (fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_ino == there.st_ino && is_stale(s, fd))
            mine = pwrite(fd, text, LOCK_BYTES, 0) == LOCK_BYTES && ftruncate(fd, LOCK_BYTES) == 0;
        flock(fd, LOCK_UN);
    }
    close(fd);
    return mine;
}

enum mro_code mro_store_lock(const struct mro_store *s, const char *name, bool *mine, struct mro_error *e)
{
    char *path = path_of(s, name, ".lock"), *own = name_of_process(s->folder, getpid()), text[LOCK_BYTES + 1];
    enum mro_code rc = MRO_OK;
    *mine = false;
    if (path == NULL || own == NULL) {
        free(path);
        free(own);
        return MRO_FAIL(e, MRO_EMEMORY, "no memory left for the name of a lock");
    }
    /* A lock appears with its text in it, so that nobody ever reads an empty one: it is written aside and linked. */
    lock_text(text);
    const int fd = open(own, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, text, LOCK_BYTES) != LOCK_BYTES)
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    if (rc == MRO_OK && link(own, path) == 0) {
        *mine = true;
    } else if (rc == MRO_OK && errno == EEXIST) {
        *mine = take_over(s, path, text);
    } else if (rc == MRO_OK) { /* a disk without links */
        const int made = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (made >= 0) {
            *mine = write(made, text, LOCK_BYTES) == LOCK_BYTES;
            close(made);
            if (!*mine) unlink(path);
        } else if (errno == EEXIST) {
            *mine = take_over(s, path, text);
        }
        if (!*mine && errno != EEXIST && made < 0)
            rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
    }
    unlink(own);
    free(own);
    free(path);
    return rc;
}

void mro_store_unlock(const struct mro_store *s, const char *name)
{
    char *path = path_of(s, name, ".lock");
    if (path) unlink(path);
    free(path);
}

void mro_store_touch(const struct mro_store *s, const char *name, long pid)
{
    char *path = path_of(s, name, ".lock");
    const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    json_t *lock = fd >= 0 ? read_lock(fd) : NULL;
    if (lock && owner_here(lock) == pid) futimens(fd, NULL);
    json_decref(lock);
    if (fd >= 0) close(fd);
    free(path);
}

void mro_store_clear(const struct mro_store *s, const char *name)
{
    bool mine;
    if (mro_store_lock(s, name, &mine, NULL) != MRO_OK || !mine) return;
    mro_store_discard(s, name);
    char *old = path_of(s, name, ".old.tmp");
    if (old) mro_store_remove_tree(old);
    free(old);
    mro_store_unlock(s, name);
}

void mro_store_bury(const struct mro_store *s, long pid)
{
    char *own = name_of_process(s->folder, pid), *items = path_of(s, "", ""), begin[64];
    DIR *d = items ? opendir(items) : NULL;
    const struct dirent *entry;
    const size_t n = (size_t)snprintf(begin, sizeof begin, MRO_TEMPORARY "%ld-", pid);
    if (own) unlink(own);
    while (d && (entry = readdir(d)) != NULL)
        if (strncmp(entry->d_name, begin, n) == 0) unlinkat(dirfd(d), entry->d_name, 0);
    if (d) closedir(d);
    free(items);
    free(own);
}

/* Names of processes that were killed, beside the items: ".mroscope-HOST-PID.tmp". */
static void sweep_names(const struct mro_store *s)
{
    DIR *d = opendir(s->folder);
    const struct dirent *entry;
    while (d && (entry = readdir(d)) != NULL) {
        struct stat st;
        const char *dash = strrchr(entry->d_name, '-');
        if (!is_temporary(entry->d_name) || fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        const long pid = strtol(dash + 1, NULL, 10);
        char *name = name_of_process(s->folder, pid);
        unsigned long long runs;
        const bool here = name && strcmp(strrchr(name, '/') + 1, entry->d_name) == 0;
        if ((here && is_gone(pid, &runs)) || s->now.tv_sec - st.st_mtime > MRO_LOCK_SECONDS)
            unlinkat(dirfd(d), entry->d_name, 0);
        free(name);
    }
    if (d) closedir(d);
}

/* Removes the files that a process was writing into a folder when it died. Whose they are is not known, so only old
 * ones go. */
static void sweep_temporary(const struct mro_store *s, const char *folder)
{
    DIR *d = folder ? opendir(folder) : NULL;
    const struct dirent *entry;
    while (d && (entry = readdir(d)) != NULL) {
        struct stat st;
        if (is_temporary(entry->d_name) && fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && difftime(s->now.tv_sec, st.st_mtime) > OLD_SECONDS)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d) closedir(d);
}

void mro_store_sweep(const struct mro_store *s)
{
    char *items = path_of(s, "", "");
    DIR *d = items ? opendir(items) : NULL;
    const struct dirent *entry;
    while (d && (entry = readdir(d)) != NULL) {
        char name[MRO_ITEM_NAME + 16];
        const char *dot = strrchr(entry->d_name, '.');
        const bool half = dot && strcmp(dot, ".tmp") == 0, lock = dot && strcmp(dot, ".lock") == 0;
        if ((!half && !lock) || is_temporary(entry->d_name)) continue;
        snprintf(name, sizeof name, "%.*s", (int)(dot - entry->d_name), entry->d_name);
        const size_t n = strlen(name);
        if (half && n > 4 && strcmp(name + n - 4, ".old") == 0) name[n - 4] = '\0';
        mro_store_clear(s, name);
    }
    if (d) closedir(d);
    sweep_temporary(s, items);
    sweep_temporary(s, s->folder);
    free(items);
    sweep_names(s);
}

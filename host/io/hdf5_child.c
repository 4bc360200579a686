/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The child process that reads the structure of an HDF5 file (see io/hdf5.h for why): its limits, and what becomes of
 * it. Between fork and _exit only the forking thread lives there. */
#include "io/hdf5_child.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/hdf5_catalogue.h"

#define CHILD_MEMORY ((size_t)256 << 20) /* over what the process had already */
enum { CPU_SECONDS = 3, WALL_SECONDS = 10, TRIES = 4 };

static void limit(int what, rlim_t value)
{
    struct rlimit r;
    if (getrlimit(what, &r) != 0) return;
    if (r.rlim_max != RLIM_INFINITY && value > r.rlim_max) value = r.rlim_max;
    r.rlim_cur = r.rlim_max = value;
    /* Where both limits of the processor's time are the same, it is SIGKILL that comes, which does not say why. */
    if (what == RLIMIT_CPU && value > 1) r.rlim_cur = value - 1;
    setrlimit(what, &r); /* a limit that cannot be set is one defence less, not a failure */
}

/* What the process has mapped now, of which the limit on its addresses must leave room; 0 when that cannot be told. */
static size_t mapped_bytes(void)
{
    unsigned long pages = 0;
    FILE *in = fopen("/proc/self/statm", "r");
    if (in == NULL) return 0;
    if (fscanf(in, "%lu", &pages) != 1) pages = 0;
    fclose(in);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static bool write_all(int fd, const void *p, size_t n)
{
    const char *c = p;
    while (n > 0) {
        const ssize_t w = write(fd, c, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return false;
        c += w;
        n -= (size_t)w;
    }
    return true;
}

static void child_main(struct mro_bytes file, size_t mapped, int fd)
{
    static const int fatal[] = {
        SIGXCPU, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGPIPE, SIGALRM, SIGINT, SIGTERM, SIGHUP
    }; /* what the parent does on those is not for its child */
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], SIG_DFL);
    /* What the C library says when the heap is found broken is no business of the user's terminal. */
    for (int i = 0; i <= 2; i++)
        if (i != fd) close(i);
    /* Nobody ends a child that hangs when its parent was killed. */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    alarm(WALL_SECONDS + 1);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_NOFILE, 0); /* what is open stays so; nothing more can be opened */
    limit(RLIMIT_CPU, CPU_SECONDS + 1 + (rlim_t)(file.size >> 31 < 6 ? file.size >> 31 : 6));
    if (mapped > 0) limit(RLIMIT_AS, (rlim_t)(mapped + CHILD_MEMORY));
    size_t size;
    const unsigned char *catalogue = mro_h5_write_catalogue(file, &size);
    const uint64_t n = size;
    if (catalogue && write_all(fd, &n, sizeof n)) write_all(fd, catalogue, size);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reads exactly n bytes; false at the end, on an error, or when the time is over. */
static bool read_all(int fd, void *p, size_t n, double until)
{
    char *c = p;
    while (n > 0) {
        const double left = until - seconds();
        struct pollfd wait = { fd, POLLIN, 0 };
        const int ready = left > 0 ? poll(&wait, 1, (int)(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        const ssize_t r = read(fd, c, n);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) return false;
        c += r;
        n -= (size_t)r;
    }
    return true;
}

/* One child. *hung: it did not come to an end and had hardly computed, so that another may. */
static enum mro_code try_child(const struct mro_file *f, unsigned char **catalogue, size_t *size, bool *hung,
                               struct mro_error *e)
{
    /* So that no child of another thread holds the writing end of this one's pipe, whose closing tells of its death. */
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    int fd[2];
    uint64_t n = 0;
    *hung = false;
    const size_t mapped = mapped_bytes();
    pthread_mutex_lock(&one);
    if (pipe(fd) != 0) {
        pthread_mutex_unlock(&one);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no pipe to the process that reads HDF5: %s", f->name, strerror(errno));
    }
    const pid_t child = fork();
    if (child == 0) {
        close(fd[0]);
        child_main(f->bytes, mapped, fd[1]);
        _exit(0);
    }
    const int why = errno;
    close(fd[1]);
    pthread_mutex_unlock(&one);
    if (child < 0) {
        close(fd[0]);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no process to read HDF5 in: %s", f->name, strerror(why));
    }
    const double until = seconds() + WALL_SECONDS;
    enum mro_code rc = MRO_OK;
    bool whole = read_all(fd[0], &n, sizeof n, until) && n <= MRO_H5_MAX_BYTES + 1024;
    if (whole && (*catalogue = malloc((size_t)n + 1)) == NULL)
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for its structure (%llu bytes)", f->name, (unsigned long long)n);
    else
        whole = whole && read_all(fd[0], *catalogue, (size_t)n, until);
    const bool late = !whole && seconds() >= until;
    close(fd[0]);
    if (!whole || rc != MRO_OK) kill(child, SIGKILL); /* one that has ended on its own keeps its own status */
    int status = 0;
    struct rusage used = { 0 };
    pid_t reaped;
    do reaped = wait4(child, &status, 0, &used);
    while (reaped < 0 && errno == EINTR);
    if (rc == MRO_OK && !whole) {
        const int sig = reaped == child && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        *hung = late && used.ru_utime.tv_sec + used.ru_stime.tv_sec == 0;
        if (late || sig == SIGXCPU)
            rc = MRO_FAIL(e, MRO_EFORMAT, "'%s': the HDF5 library finds no end in its structure, given %d s", f->name,
                          late ? WALL_SECONDS : CPU_SECONDS);
        else
            rc = MRO_FAIL(e, MRO_EFORMAT, "'%s': the HDF5 library breaks down on its structure (%s %d)", f->name,
                          sig ? "signal" : "exit", sig ? sig : WEXITSTATUS(status));
    }
    if (rc != MRO_OK) {
        free(*catalogue);
        *catalogue = NULL;
    }
    *size = (size_t)n;
    return rc;
}

enum mro_code mro_h5_catalogue(const struct mro_file *f, unsigned char **catalogue, size_t *size, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    bool hung = true;
    *catalogue = NULL;
    *size = 0;
    /* A child that waits is one whose file comes slowly, and is then in the cache; or one that was forked while
     * another thread held a lock of an allocator that does not see to it, as those of sanitizers. */
    for (int i = 0; i < TRIES && hung; i++) rc = try_child(f, catalogue, size, &hung, e);
    if (rc != MRO_OK) *size = 0;
    return rc;
}

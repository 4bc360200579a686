/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Gives units to processes of its own. They are forked before any thread or GPU is started, and again from the same
 * state when one dies. Each measures within its share of memory and threads; what turns out to need more is measured
 * with more, when there is room. */
#define _GNU_SOURCE /* asprintf */
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "cli/batch.h"
#include "cli/progress.h"

/* Seconds from one look at what other processes do to the next, from one sign of life to the next, and from one index
 * to the next. */
#define AGAIN 0.3
#define ALIVE 10.0
#define INDEX 60.0

enum { OWN_BYTES = 24 << 20, LEAST_SHARE = 32 << 20 };

/* What was read and is not a whole line yet. */
struct text {
    char *p;
    size_t n, room;
};

struct worker {
    pid_t pid;    /* 0 = none */
    int to, from; /* pipes */
    struct batch_unit *unit;
    size_t memory; /* of it */
    struct text said;
};

struct pool {
    struct batch *b;
    struct worker *workers;
    size_t n, share, budget, taken; /* workers; bytes: of each, of all, given out */
    int threads;
    size_t waiting, finished, total;
    bool asked, refused; /* rows may still be asked for; one was that is none */
    struct text request;
    struct cli_progress progress;
    double alive, index;
    char *disk; /* what is wrong with it: nothing more can be measured */
};

/* -- workers ----------------------------------------------------------------------------------------- */

static void close_worker(struct worker *w)
{
    if (w->to >= 0) close(w->to);
    if (w->from >= 0) close(w->from);
    w->to = w->from = -1;
    w->pid = 0;
    w->said.n = 0;
}

static void child(struct pool *p, size_t number, int in, int out)
{
    static char device[64]; /* this process's share of what all were told; it lives as long as the process */
    const pid_t parent = getppid();
    const char *asked = p->b->o.common.device ? p->b->o.common.device : getenv("MROSCOPE_DEVICE");
    mro_device_share(asked, number, device, sizeof device);
    if (device[0]) p->b->o.common.device = device;
    for (size_t i = 0; i < p->n; i++) close_worker(&p->workers[i]);
    batch_reset_stops();
    setpgid(0, 0); /* Ctrl-C is for the parent, which then ends this process and its children */
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
#else
    (void)parent;
#endif
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    batch_work(p->b, in, out);
}

static bool open_pipe(int ends[2])
{
    if (pipe(ends) != 0) return false;
    for (int i = 0; i < 2; i++) fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    return true;
}

static bool start_worker(struct pool *p, struct worker *w)
{
    int to[2], from[2];
    if (!open_pipe(to)) return false;
    if (!open_pipe(from)) {
        close(to[0]);
        close(to[1]);
        return false;
    }
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        child(p, (size_t)(w - p->workers), to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    if (pid < 0) {
        close(to[1]);
        close(from[0]);
        return false;
    }
    setpgid(pid, pid); /* whoever of the two is first */
    w->pid = pid;
    w->to = to[1];
    w->from = from[0];
    return true;
}

static void kill_worker(const struct worker *w)
{
    if (w->pid > 0 && kill(-w->pid, SIGKILL) != 0) kill(w->pid, SIGKILL);
}

static int reap(const struct worker *w)
{
    int status = 0;
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* -- units --------------------------------------------------------------------------------------------- */

static void tell_failure(struct pool *p, const struct batch_unit *u)
{
    const struct mro_manifest_row *r = &p->b->manifest.rows[u->rows[0]];
    cli_progress_clear(&p->progress);
    fflush(stdout);
    cli_put(stderr, "mroscope: row %zu: %s\n", r->row, u->error ? u->error : "it failed");
}

static void set_error(struct batch_unit *u, const char *text)
{
    free(u->error);
    u->error = text ? strdup(text) : NULL;
}

/* Tells who asked for a unit what became of it. */
static void answer(struct pool *p, struct batch_unit *u)
{
    struct mro_error e;
    if (u->status == BATCH_DONE) batch_look(p->b, u, false, NULL);                   /* its record */
    if (batch_print(p->b, u, &e) != MRO_OK || fflush(stdout) != 0) p->asked = false; /* nobody hears it */
}

static void finish_unit(struct pool *p, struct batch_unit *u, enum batch_status status, const char *error)
{
    u->status = status;
    set_error(u, error);
    p->finished++;
    if (status == BATCH_FAILED && !p->b->o.asked) tell_failure(p, u);
    cli_progress_frame(&p->progress, p->finished - 1, p->total, 1);
    if (p->b->o.asked) answer(p, u);
}

static void wait_again(struct pool *p, struct batch_unit *u)
{
    u->status = BATCH_WAITING;
    p->waiting++;
}

static int threads_for(const struct pool *p, size_t memory)
{
    const double part = (double)p->threads * (double)memory / (double)p->budget;
    return part < 1 ? 1 : (int)(part + 1e-9);
}

static size_t memory_of(const struct pool *p, const struct batch_unit *u) { return u->memory ? u->memory : p->share; }

static size_t running(const struct pool *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += p->workers[i].unit != NULL;
    return n;
}

/* The next unit that can begin now; NULL: none. */
static struct batch_unit *pick(struct pool *p)
{
    const double now = batch_now();
    for (size_t i = 0; i < p->b->n; i++) {
        struct batch_unit *u = &p->b->units[i];
        if (!u->mine || u->status != BATCH_WAITING || u->not_before > now) continue;
        if (memory_of(p, u) > p->budget - p->taken) continue;
        return u;
    }
    return NULL;
}

static void give(struct pool *p, struct worker *w, struct batch_unit *u)
{
    char line[96];
    w->unit = u;
    w->memory = memory_of(p, u);
    p->taken += w->memory;
    p->waiting--;
    u->status = BATCH_RUNNING;
    const int n =
        snprintf(line, sizeof line, "%zu %zu %d\n", (size_t)(u - p->b->units), w->memory, threads_for(p, w->memory));
    if (write(w->to, line, (size_t)n) != n) kill_worker(w); /* its death is seen where it is read from */
}

static void give_work(struct pool *p)
{
    for (size_t i = 0; i < p->n && !p->disk; i++) {
        struct worker *w = &p->workers[i];
        if (w->unit) continue;
        struct batch_unit *u = pick(p);
        if (u == NULL) return;
        if (w->pid == 0 && !start_worker(p, w)) {
            if (running(p) == 0 && asprintf(&p->disk, "cannot start a process: %s", strerror(errno)) < 0)
                p->disk = NULL;
            return;
        }
        give(p, w, u);
    }
}

static void take_facts(struct pool *p, struct batch_unit *u, const json_t *v)
{
    const char *key = json_string_value(json_object_get(v, "key")), *sum;
    const json_t *sums = json_object_get(v, "sha256");
    for (size_t i = 0; i < u->n; i++) {
        const struct mro_manifest_row *r = &p->b->manifest.rows[u->rows[i]];
        sum = json_string_value(json_array_get(sums, i));
        if (sum == NULL || strlen(sum) != 64) return;
        memcpy(u->sha256[i], sum, 65);
        char *name = batch_hash_name(p->b, r);
        if (name) mro_hashes_note(&p->b->hashes, name, r, sum);
        free(name);
    }
    if (key == NULL || strlen(key) != 64) return;
    memcpy(u->key, key, 65);
    mro_store_name(p->b->manifest.rows[u->rows[0]].path, u->key, u->name);
}

static void tell_damage(struct pool *p, const struct batch_unit *u, const char *why)
{
    p->b->damaged++;
    cli_progress_clear(&p->progress);
    cli_put(stderr, "mroscope: row %zu: the result '%s/items/%s' is damaged and is measured again: %s\n",
            p->b->manifest.rows[u->rows[0]].row, p->b->o.common.out, u->name, why);
}

/* It needed more memory than it had: again with what it needs, or with twice as much. */
static void more_memory(struct pool *p, struct worker *w, const json_t *v)
{
    struct batch_unit *u = w->unit;
    const size_t need = (size_t)json_integer_value(json_object_get(v, "need"));
    if (w->memory >= p->budget || need > p->budget) {
        if (u->name[0]) mro_store_fail(&p->b->store, u->name, u->key, json_string_value(json_object_get(v, "error")));
        finish_unit(p, u, BATCH_FAILED, json_string_value(json_object_get(v, "error")));
        return;
    }
    u->memory = need > w->memory ? need : 2 * w->memory;
    if (u->memory > p->budget) u->memory = p->budget;
    wait_again(p, u);
}

static void take_answer(struct pool *p, struct worker *w, const char *line)
{
    json_error_t ignored;
    struct batch_unit *u = w->unit;
    json_t *v = json_loads(line, 0, &ignored);
    const char *status = json_string_value(json_object_get(v, "status")),
               *error = json_string_value(json_object_get(v, "error")),
               *damaged = json_string_value(json_object_get(v, "damaged"));
    if (u == NULL || status == NULL) goto done;
    take_facts(p, u, v);
    if (damaged && !u->damaged) tell_damage(p, u, damaged);
    u->damaged |= damaged != NULL; /* once is enough */
    if (strcmp(status, "begun") == 0) goto done;
    if (strcmp(status, "done") == 0) {
        u->was_there = json_is_true(json_object_get(v, "there"));
        p->b->done_now += !u->was_there;
        finish_unit(p, u, BATCH_DONE, NULL);
    } else if (strcmp(status, "busy") == 0) {
        u->not_before = batch_now() + AGAIN;
        wait_again(p, u);
    } else if (strcmp(status, "memory") == 0) {
        more_memory(p, w, v);
    } else if (strcmp(status, "disk") == 0) {
        if (p->disk == NULL) p->disk = strdup(error ? error : "the disk cannot be written to");
        wait_again(p, u);
    } else {
        finish_unit(p, u, BATCH_FAILED, error);
    }
    p->taken -= w->memory;
    w->unit = NULL;
done:
    json_decref(v);
}

/* Removes what a worker that is dead had half made. */
static void clear_up(const struct pool *p, const struct worker *w)
{
    mro_store_bury(&p->b->store, (long)w->pid);
    if (w->unit->name[0]) mro_store_clear(&p->b->store, w->unit->name);
}

/* A worker has died: its unit fails, and the next one gets a fresh worker. */
static void bury(struct pool *p, struct worker *w)
{
    const int status = reap(w);
    struct batch_unit *u = w->unit;
    if (u) clear_up(p, w);
    close_worker(w);
    if (u == NULL) return;
    p->taken -= w->memory;
    w->unit = NULL;
    /* It may have died with its work done. */
    u->status = BATCH_WAITING;
    if (u->name[0] && batch_look(p->b, u, false, NULL) == MRO_OK && u->status == BATCH_DONE) {
        p->b->done_now++;
        finish_unit(p, u, BATCH_DONE, NULL);
        return;
    }
    char why[400];
    const char *file = p->b->manifest.rows[u->rows[0]].file;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        snprintf(why, sizeof why,
                 "'%s': the process that measured it was killed; where the machine ran out of memory, give a smaller "
                 "--memory",
                 file);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS)
        snprintf(why, sizeof why, "'%s' was cut short while it was read, or its disk or network failed", file);
    else if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "'%s': the process that measured it died (signal %d)", file, WTERMSIG(status));
    else
        snprintf(why, sizeof why, "'%s': the process that measured it ended early (code %d)", file,
                 WEXITSTATUS(status));
    if (u->name[0]) mro_store_fail(&p->b->store, u->name, u->key, why);
    finish_unit(p, u, BATCH_FAILED, why);
}

/* Reads on, and hands over each line that is whole. False at the end. */
static bool read_lines(struct pool *p, int fd, struct text *t, struct worker *w,
                       void (*take)(struct pool *, struct worker *, const char *))
{
    if (t->n + 4096 > t->room) {
        char *grown = realloc(t->p, 2 * t->room + 8192);
        if (grown == NULL) {
            if (w) kill_worker(w);
            return false;
        }
        t->p = grown;
        t->room = 2 * t->room + 8192;
    }
    const ssize_t got = read(fd, t->p + t->n, t->room - t->n - 1);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    t->n += (size_t)got;
    t->p[t->n] = '\0';
    for (char *end; (end = memchr(t->p, '\n', t->n)) != NULL;) {
        *end = '\0';
        take(p, w, t->p);
        const size_t used = (size_t)(end - t->p) + 1;
        memmove(t->p, t->p + used, t->n - used + 1);
        t->n -= used;
    }
    return true;
}

/* -- rows that are asked for ----------------------------------------------------------------------------- */

static struct batch_unit *unit_of(const struct batch *b, size_t row)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->units[i].n; k++)
            if (b->manifest.rows[b->units[i].rows[k]].row == row) return &b->units[i];
    return NULL;
}

static void take_request(struct pool *p, struct worker *none, const char *line)
{
    (void)none;
    struct cli_frames f;
    struct batch_unit *u =
        cli_frames_parse(line, &f) && f.n == 1 && f.range[0][0] == f.range[0][1] ? unit_of(p->b, f.range[0][0]) : NULL;
    if (u == NULL) {
        cli_put(stderr, "mroscope: '%s' has no row '%s' (its header is row 1)\n", p->b->manifest_path, line);
        p->refused = true;
        return;
    }
    if (u->mine && (u->status == BATCH_WAITING || u->status == BATCH_RUNNING)) return; /* answered when it is done */
    u->mine = true;
    u->not_before = 0;
    p->total++;
    wait_again(p, u);
}

/* -- the whole ------------------------------------------------------------------------------------------ */

static void now_and_then(struct pool *p)
{
    const double now = batch_now();
    if (now - p->alive > ALIVE) {
        p->alive = now;
        for (size_t i = 0; i < p->n; i++)
            if (p->workers[i].unit && p->workers[i].unit->name[0])
                mro_store_touch(&p->b->store, p->workers[i].unit->name, (long)p->workers[i].pid);
    }
    if (now - p->index > INDEX) {
        batch_write_index(p->b, NULL);
        p->index = batch_now();
    }
}

static void wait_for_workers(struct pool *p, struct pollfd *fds)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->workers[i].pid) fds[n++] = (struct pollfd){ .fd = p->workers[i].from, .events = POLLIN };
    if (p->asked) fds[n] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
    const int timeout = p->waiting && running(p) < p->n ? (int)(1000 * AGAIN) : 1000;
    if (poll(fds, (nfds_t)(n + p->asked), timeout) <= 0) return;
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < n; k++)
            if (p->workers[i].pid && p->workers[i].from == fds[k].fd && fds[k].revents) {
                struct worker *w = &p->workers[i];
                if (!read_lines(p, w->from, &w->said, w, take_answer)) bury(p, w);
                break;
            }
    if (p->asked && fds[n].revents)
        p->asked = read_lines(p, STDIN_FILENO, &p->request, NULL, take_request) && !p->refused;
}

/* Ends the workers; what was half made goes. */
static void end_workers(struct pool *p)
{
    for (size_t i = 0; i < p->n; i++) kill_worker(&p->workers[i]);
    for (size_t i = 0; i < p->n; i++) {
        struct worker *w = &p->workers[i];
        if (w->pid == 0) continue;
        reap(w);
        /* What it said and nobody has read yet: what it had begun, or that it was done. */
        fcntl(w->from, F_SETFL, O_NONBLOCK);
        while (read_lines(p, w->from, &w->said, w, take_answer)) continue;
        if (w->unit) {
            clear_up(p, w);
            w->unit->status = BATCH_WAITING;
        }
        close_worker(w);
    }
}

static void plan(struct pool *p)
{
    const struct cli_common *c = &p->b->o.common;
    const size_t memory = c->memory ? c->memory : mro_default_memory();
    p->threads = c->threads > 0 ? c->threads : omp_get_num_procs(); /* those that this process was given */
    p->n = p->b->o.jobs > 0 ? (size_t)p->b->o.jobs : (size_t)p->threads;
    if (p->n > p->waiting && !p->asked) p->n = p->waiting;
    p->budget = memory > 2 * (size_t)OWN_BYTES ? memory - OWN_BYTES : memory / 2;
    /* More processes than there is memory for are of no use. */
    while (p->n > 1 && p->budget / p->n < LEAST_SHARE) p->n--;
    p->share = p->n ? p->budget / p->n : p->budget;
}

bool batch_run(struct batch *b)
{
    struct pool p = { .b = b, .alive = batch_now(), .index = batch_now(), .asked = b->o.asked };
    mro_store_sweep(&b->store);
    for (size_t i = 0; i < b->n; i++) p.waiting += b->units[i].mine && b->units[i].status == BATCH_WAITING;
    for (size_t i = 0; i < b->n; i++)
        if (b->units[i].mine && b->units[i].damaged && b->units[i].status == BATCH_WAITING && b->units[i].error)
            tell_damage(&p, &b->units[i], b->units[i].error);
    if (p.waiting == 0 && !p.asked) return true;
    plan(&p);
    p.total = p.waiting;
    p.workers = calloc(p.n, sizeof *p.workers);
    struct pollfd *fds = calloc(p.n + 1, sizeof *fds);
    if (p.workers == NULL || fds == NULL) {
        free(p.workers);
        free(fds);
        fputs("mroscope: no memory left to begin\n", stderr);
        return false;
    }
    const size_t n = p.n;
    for (size_t i = 0; i < n; i++) p.workers[i].to = p.workers[i].from = -1;
    cli_progress_begin(&p.progress, b->o.common.quiet);
    while ((p.asked || p.waiting || running(&p)) && !batch_stopped(1) && !(p.disk && running(&p) == 0)) {
        give_work(&p);
        wait_for_workers(&p, fds);
        now_and_then(&p);
    }
    end_workers(&p);
    cli_progress_clear(&p.progress);
    if (p.disk)
        cli_put(stderr, "mroscope: %s; %zu of %zu rows are left: run the same command again when that is mended\n",
                p.disk, p.total - p.finished, p.total);
    for (size_t i = 0; i < n; i++) free(p.workers[i].said.p);
    free(p.request.p);
    free(p.workers);
    free(fds);
    const bool well = p.disk == NULL && !p.refused;
    free(p.disk);
    return well;
}

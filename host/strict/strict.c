/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "strict/strict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/vectors.h"
#include "gpu/primitives.h"
#include "kernels/acf.h"
#include "kernels/azimuth.h"
#include "kernels/bank.h"
#include "kernels/contrast.h"
#include "kernels/field.h"
#include "kernels/lattice.h"
#include "kernels/patch.h"
#include "kernels/region.h"
#include "kernels/wave.h"

#define ALIGN 256 /* of device memory, as cudaMalloc gives it; also the guard before a buffer */
#define GUARD_BYTE 0xA5
#define MOST_BLOCKS 0x7fffffff
#define MOST_SHARED (48 << 10)
#define MOST_ARGS 4096

/* Pages from `map` on: guard words, the buffer at `p`, guard words up to the last page, which is never accessible. */
struct region {
    unsigned char *map, *p;
    size_t mapped, bytes;
};

struct strict {
    struct region *region;
    size_t n, room, live_bytes, peak, page;
    size_t calls_left; /* until the injected failure */
    enum mro_code injected;
    bool failed, damaged;
    uint32_t shuffle; /* 0: none */
};

/* What memory that was not written holds: floats and doubles that are NaN, or small numbers. */
static int unwritten(uint32_t shuffle) { return shuffle ? 0x3B : 0xFF; }

static struct strict *state_of(const struct mro_device *d) { return d->state; }

void mro_strict_fail(struct mro_device *d, size_t k, enum mro_code code)
{
    struct strict *s = state_of(d);
    s->calls_left = k;
    s->injected = code;
    s->failed = false;
}
bool mro_strict_failed(const struct mro_device *d) { return state_of(d)->failed; }

void mro_strict_shuffle(struct mro_device *d, uint32_t seed) { state_of(d)->shuffle = seed; }
size_t mro_strict_buffers(const struct mro_device *d) { return state_of(d)->n; }
size_t mro_strict_peak(const struct mro_device *d) { return state_of(d)->peak; }

/* Every function of the device begins with it: is it the one that shall fail? */
static enum mro_code enter(struct mro_device *d, const char *what, struct mro_error *e)
{
    struct strict *s = state_of(d);
    if (s->damaged)
        return MRO_FAIL(e, MRO_EINTERNAL, "a guard word of the strict device was overwritten before %s", what);
    if (s->injected && s->calls_left-- == 0) {
        const enum mro_code code = s->injected;
        s->injected = MRO_OK;
        s->failed = true;
        return MRO_FAIL(e, code, "%s was made to fail", what);
    }
    return MRO_OK;
}

/* -- memory ---------------------------------------------------------------------------------------- */

static void allow(struct strict *s, const struct region *r, bool access)
{
    mprotect(r->map, r->mapped - s->page, access ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static void allow_all(struct strict *s, bool access)
{
    for (size_t i = 0; i < s->n; i++) allow(s, &s->region[i], access);
}

/* The buffer that holds `bytes` at p, or NULL. */
static struct region *region_of(const struct strict *s, const void *p, size_t bytes)
{
    const unsigned char *at = p;
    for (size_t i = 0; i < s->n; i++) {
        struct region *r = &s->region[i];
        if (at >= r->p && at <= r->p + r->bytes && bytes <= (size_t)(r->p + r->bytes - at)) return r;
    }
    return NULL;
}

static enum mro_code inside(const struct strict *s, const void *p, size_t bytes, const char *what, struct mro_error *e)
{
    if (region_of(s, p, bytes)) return MRO_OK;
    return MRO_FAIL(e, MRO_EINTERNAL, "%s of %zu bytes at %p, which is in no buffer of the strict device", what, bytes,
                    p);
}

static bool guards_hold(const struct strict *s, const struct region *r)
{
    for (const unsigned char *g = r->map; g < r->p; g++)
        if (*g != GUARD_BYTE) return false;
    for (const unsigned char *g = r->p + r->bytes; g < r->map + r->mapped - s->page; g++)
        if (*g != GUARD_BYTE) return false;
    return true;
}

static enum mro_code strict_alloc(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e)
{
    struct strict *s = state_of(d);
    *b = (struct mro_buffer){ 0 };
    MRO_TRY(enter(d, "an allocation", e));
    if (bytes > d->memory_bytes || s->live_bytes > d->memory_bytes - bytes)
        return MRO_FAIL(e, MRO_EMEMORY, "a buffer of %zu MiB is over the memory budget of %zu MiB, %zu MiB are in use",
                        bytes >> 20, d->memory_bytes >> 20, s->live_bytes >> 20);
    if (s->n == s->room) {
        const size_t room = s->room ? 2 * s->room : 32;
        struct region *grown = realloc(s->region, room * sizeof *grown);
        if (grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        s->region = grown;
        s->room = room;
    }
    const size_t body = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct region r = { .bytes = bytes, .mapped = (body + ALIGN + s->page - 1) / s->page * s->page + s->page };
    r.map = mmap(NULL, r.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r.map == MAP_FAILED) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a buffer of %zu MiB", bytes >> 20);
    r.p = r.map + r.mapped - s->page - body;
    memset(r.map, GUARD_BYTE, (size_t)(r.p - r.map));
    memset(r.p, unwritten(s->shuffle), bytes);
    memset(r.p + bytes, GUARD_BYTE, body - bytes);
    mprotect(r.map, r.mapped, PROT_NONE);
    s->region[s->n++] = r;
    s->live_bytes += bytes;
    s->peak = s->live_bytes > s->peak ? s->live_bytes : s->peak;
    b->p = r.p;
    b->bytes = bytes;
    return MRO_OK;
}

static void strict_release(struct mro_device *d, struct mro_buffer *b)
{
    struct strict *s = state_of(d);
    struct region *r = b->p ? region_of(s, b->p, b->bytes) : NULL;
    if (r) {
        allow(s, r, true);
        if (!guards_hold(s, r)) s->damaged = true;
        munmap(r->map, r->mapped);
        s->live_bytes -= r->bytes;
        *r = s->region[--s->n];
    } else if (b->p) {
        s->damaged = true; /* freed twice, or never ours */
    }
    *b = (struct mro_buffer){ 0 };
}

static enum mro_code strict_upload(struct mro_device *d, struct mro_buffer *to, const void *host, size_t bytes,
                                   struct mro_error *e)
{
    struct strict *s = state_of(d);
    MRO_TRY(enter(d, "an upload", e));
    if (bytes > to->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "upload of %zu bytes into %zu", bytes, to->bytes);
    MRO_TRY(inside(s, to->p, bytes, "upload", e));
    allow(s, region_of(s, to->p, bytes), true);
    memcpy(to->p, host, bytes);
    allow(s, region_of(s, to->p, bytes), false);
    return MRO_OK;
}

static enum mro_code strict_download(struct mro_device *d, void *host, const struct mro_buffer *from, size_t bytes,
                                     struct mro_error *e)
{
    struct strict *s = state_of(d);
    MRO_TRY(enter(d, "a download", e));
    if (bytes > from->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "download of %zu bytes from %zu", bytes, from->bytes);
    MRO_TRY(inside(s, from->p, bytes, "download", e));
    allow(s, region_of(s, from->p, bytes), true);
    memcpy(host, from->p, bytes);
    allow(s, region_of(s, from->p, bytes), false);
    return MRO_OK;
}

static enum mro_code strict_zero(struct mro_device *d, void *p, size_t bytes, struct mro_error *e)
{
    struct strict *s = state_of(d);
    MRO_TRY(enter(d, "zeroing", e));
    MRO_TRY(inside(s, p, bytes, "zeroing", e));
    allow(s, region_of(s, p, bytes), true);
    memset(p, 0, bytes);
    allow(s, region_of(s, p, bytes), false);
    return MRO_OK;
}

/* -- kernels --------------------------------------------------------------------------------------- */

/* Number i of n in a shuffled order: n divides no multiple of a prime beyond it. */
static uint32_t shuffled(uint32_t i, uint32_t n, uint32_t seed)
{
    const uint64_t prime = 4294967311;
    return (uint32_t)((i * prime + seed * 2654435761u) % n);
}

#define RUN_THREADS(name, CALL)                                                               \
    for (uint32_t k = 0; k < mro_##name##_THREADS; k++) {                                     \
        const uint32_t n = mro_##name##_THREADS;                                              \
        t.thread = shuffle ? shuffled(k, n, shuffle + t.block) : t.block % 2 ? n - 1 - k : k; \
        CALL;                                                                                 \
    }

#define RUN(name, BEGIN, AGAIN)                                                                                 \
    static void run_##name(uint32_t blocks, const void *args, int threads, uint32_t shuffle)                    \
    {                                                                                                           \
        _Static_assert(sizeof(struct mro_##name##_args) <= MOST_ARGS, "arguments");                             \
        _Static_assert(sizeof(struct mro_##name##_shared) <= MOST_SHARED, "shared memory");                     \
        _Static_assert(mro_##name##_THREADS <= 1024, "threads");                                                \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (uint32_t i = 0; i < blocks; i++) \
        {                                                                                                       \
            struct mro_thread t = { shuffle ? shuffled(i, blocks, shuffle) : i, blocks, 0 };                    \
            struct mro_##name##_shared shared;                                                                  \
            memset(&shared, unwritten(shuffle), sizeof shared);                                                 \
            BEGIN(name)                                                                                         \
            do {                                                                                                \
                for (int phase = 0; phase < mro_##name##_PHASES; phase++)                                       \
                    RUN_THREADS(name, mro_##name##_phase(phase, args, &t, &shared))                             \
            } while (AGAIN(name));                                                                              \
        }                                                                                                       \
    }
#define NO_BEGIN(name)
#define NOT_AGAIN(name) false
#define BEGIN_ALL(name) RUN_THREADS(name, mro_##name##_begin(args, &t, &shared))
#define AGAIN_SAYS(name) mro_##name##_again(&shared)
#define RUN_ONCE(name) RUN(name, NO_BEGIN, NOT_AGAIN)
#define RUN_ROUNDS(name) RUN(name, BEGIN_ALL, AGAIN_SAYS)

MRO_KERNELS(RUN_ONCE, RUN_ROUNDS)

#define ROW(name) { #name, sizeof(struct mro_##name##_args), run_##name },
static const struct {
    const char *name;
    size_t args_bytes;
    void (*run)(uint32_t blocks, const void *args, int threads, uint32_t shuffle);
} kernels[] = { MRO_KERNELS(ROW, ROW) };

/* Whether an argument is the address of host memory: mapped, and in no buffer. */
static bool is_host_pointer(const struct strict *s, uint64_t word)
{
    unsigned char resident;
    /* Stacks, heaps and mappings of 64-bit systems lie between; numbers do not. */
    if (word < (uint64_t)1 << 44 || word >= (uint64_t)1 << 47) return false;
    void *p = (void *)(uintptr_t)word;
    if (region_of(s, p, 0)) return false;
    return mincore((void *)(uintptr_t)(word / s->page * s->page), 1, &resident) == 0;
}

static enum mro_code strict_launch(struct mro_device *d, enum mro_kernel kernel, size_t blocks, const void *args,
                                   struct mro_error *e)
{
    struct strict *s = state_of(d);
    uint64_t word;
    MRO_TRY(enter(d, "a launch", e));
    if (blocks == 0 || blocks > MOST_BLOCKS)
        return MRO_FAIL(e, MRO_EINTERNAL, "kernel '%s' launched on %zu blocks", kernels[kernel].name, blocks);
    /* The last word may be half padding, which holds anything. */
    for (size_t at = 0; at + sizeof word < kernels[kernel].args_bytes; at += sizeof word) {
        memcpy(&word, (const unsigned char *)args + at, sizeof word);
        if (is_host_pointer(s, word))
            return MRO_FAIL(e, MRO_EINTERNAL, "kernel '%s' was given a host pointer at byte %zu of its arguments",
                            kernels[kernel].name, at);
    }
    allow_all(s, true);
    kernels[kernel].run((uint32_t)blocks, args, d->threads, s->shuffle);
    bool hold = true;
    for (size_t i = 0; i < s->n; i++) hold = hold && guards_hold(s, &s->region[i]);
    allow_all(s, false);
    if (hold) return MRO_OK;
    s->damaged = true;
    return MRO_FAIL(e, MRO_EINTERNAL, "kernel '%s' wrote outside its buffers", kernels[kernel].name);
}

/* -- what libraries do on a card ------------------------------------------------------------------- */

/* One plane through a full complex one, `work`. */
static enum mro_code transform_plane(struct mro_device *d, const struct mro_transform *t, const void *in, void *out,
                                     mro_c32 *work, struct mro_error *e)
{
    const size_t n = t->ny * t->nx, half = t->nx / 2 + 1;
    const bool forward = t->kind == MRO_TRANSFORM_FORWARD || t->kind == MRO_TRANSFORM_REAL;
    switch (t->kind) {
    case MRO_TRANSFORM_FORWARD:
    case MRO_TRANSFORM_BACKWARD: memcpy(work, in, n * sizeof *work); break;
    case MRO_TRANSFORM_REAL:
        for (size_t i = 0; i < n; i++) work[i] = (mro_c32){ ((const float *)in)[i], 0 };
        break;
    case MRO_TRANSFORM_REAL_BACKWARD:
        for (size_t y = 0; y < t->ny; y++)
            for (size_t x = 0; x < t->nx; x++) {
                const bool kept = x < half;
                const size_t from = kept ? y * half + x : (y ? t->ny - y : 0) * half + (t->nx - x);
                mro_c32 v = ((const mro_c32 *)in)[from];
                if (!kept) v.im = -v.im;
                work[y * t->nx + x] = v;
            }
        break;
    }
    MRO_TRY(mro_vectors()->fft2(work, t->ny, t->nx, (ptrdiff_t)t->ny, !forward, d->threads, e));
    switch (t->kind) {
    case MRO_TRANSFORM_FORWARD:
    case MRO_TRANSFORM_BACKWARD: memcpy(out, work, n * sizeof *work); break;
    case MRO_TRANSFORM_REAL:
        for (size_t y = 0; y < t->ny; y++) memcpy((mro_c32 *)out + y * half, work + y * t->nx, half * sizeof(mro_c32));
        break;
    case MRO_TRANSFORM_REAL_BACKWARD:
        for (size_t i = 0; i < n; i++) ((float *)out)[i] = work[i].re;
        break;
    }
    return MRO_OK;
}

static enum mro_code strict_transform(struct mro_device *d, const struct mro_transform *t, void *in, void *out,
                                      struct mro_error *e)
{
    struct strict *s = state_of(d);
    const size_t full = t->ny * t->nx, half = t->ny * (t->nx / 2 + 1);
    const size_t in_bytes = t->kind == MRO_TRANSFORM_REAL            ? full * sizeof(float)
                            : t->kind == MRO_TRANSFORM_REAL_BACKWARD ? half * sizeof(mro_c32)
                                                                     : full * sizeof(mro_c32);
    const size_t out_bytes = t->kind == MRO_TRANSFORM_REAL            ? half * sizeof(mro_c32)
                             : t->kind == MRO_TRANSFORM_REAL_BACKWARD ? full * sizeof(float)
                                                                      : full * sizeof(mro_c32);
    MRO_TRY(enter(d, "a transform", e));
    MRO_TRY(inside(s, in, t->batch * in_bytes, "transform", e));
    MRO_TRY(inside(s, out, t->batch * out_bytes, "transform", e));
    if (in == out && in_bytes != out_bytes) return MRO_FAIL(e, MRO_EINTERNAL, "a real transform in place");
    mro_c32 *work = malloc(full * sizeof *work);
    if (work == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu x %zu", t->nx, t->ny);
    enum mro_code rc = MRO_OK;
    allow_all(s, true);
    for (size_t i = 0; i < t->batch && rc == MRO_OK; i++)
        rc = transform_plane(d, t, (char *)in + i * in_bytes, (char *)out + i * out_bytes, work, e);
    /* A card's library may use the input as its work space. */
    if (t->kind == MRO_TRANSFORM_REAL_BACKWARD) memset(in, unwritten(s->shuffle), t->batch * in_bytes);
    allow_all(s, false);
    free(work);
    return rc;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    if (x != x || y != y) return (x != x) - (y != y);
    return (x > y) - (x < y);
}

static enum mro_code strict_sort(struct mro_device *d, const float *keys, float *sorted, size_t n, struct mro_error *e)
{
    struct strict *s = state_of(d);
    MRO_TRY(enter(d, "a sort", e));
    MRO_TRY(inside(s, keys, n * sizeof *keys, "sort", e));
    MRO_TRY(inside(s, sorted, n * sizeof *sorted, "sort", e));
    allow_all(s, true);
    memcpy(sorted, keys, n * sizeof *keys);
    qsort(sorted, n, sizeof *sorted, by_value);
    allow_all(s, false);
    return MRO_OK;
}

/* -- the table ------------------------------------------------------------------------------------- */

static enum mro_code strict_open(struct mro_device *d, int index, struct mro_error *e)
{
    (void)index;
    struct strict *s = calloc(1, sizeof *s);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    s->page = (size_t)sysconf(_SC_PAGESIZE);
    d->state = s;
    mro_vectors()->open();
    return MRO_OK;
}

static void strict_close(struct mro_device *d)
{
    struct strict *s = state_of(d);
    for (size_t i = 0; i < s->n; i++) munmap(s->region[i].map, s->region[i].mapped);
    free(s->region);
    free(s);
    d->state = NULL;
    mro_vectors()->close();
}

static const struct mro_gpu_runtime strict_runtime = {
    .zero = strict_zero,
    .launch = strict_launch,
    .transform = strict_transform,
    .sort = strict_sort,
};

const struct mro_backend mro_backend_strict = {
    .name = "strict",
    .runtime = &strict_runtime,
    .open = strict_open,
    .close = strict_close,
    .alloc = strict_alloc,
    .release = strict_release,
    .upload = strict_upload,
    .download = strict_download,
    MRO_GPU_PRIMITIVES,
};

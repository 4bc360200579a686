/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cufft.h>
#include <fftw3.h>

#include "kernels/acf.h"
#include "kernels/azimuth.h"
#include "kernels/bank.h"
#include "kernels/contrast.h"
#include "kernels/field.h"
#include "kernels/lattice.h"
#include "kernels/list.h"
#include "kernels/patch.h"
#include "kernels/region.h"
#include "kernels/wave.h"

struct fake fake;

static cudaError_t lost;
static _Thread_local cudaError_t last;
static _Thread_local int current = -1; /* card of this thread */

/* Threads call one at a time. */
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static int alone(void) { return pthread_mutex_lock(&busy); }
static void not_alone(const int *locked)
{
    if (*locked == 0) pthread_mutex_unlock(&busy);
}
#define ALONE() __attribute__((cleanup(not_alone))) const int alone_ = alone()

static void trouble(const char *format, ...)
{
    va_list args;
    if (fake.trouble[0]) return;
    va_start(args, format);
    vsnprintf(fake.trouble, sizeof fake.trouble, format, args);
    va_end(args);
}

/* -- every call ---------------------------------------------------------------------------------- */

static cudaError_t say(cudaError_t rc)
{
    if (rc) last = rc;
    return rc;
}

static bool loses(cudaError_t rc) { return rc == cudaErrorIllegalAddress || rc == cudaErrorLaunchFailure; }

static cudaError_t begin(const char *name)
{
    fake.calls++;
    if (lost) return say(lost);
    if (fake.fail_at == 0 || (fake.fail_call && strcmp(name, fake.fail_call) != 0)) return cudaSuccess;
    if (--fake.fail_at) return cudaSuccess;
    if (fake.forever) fake.fail_at = 1;
    fake.failed = name;
    if (loses(fake.fail_with)) lost = fake.fail_with;
    return say(fake.fail_with);
}

#define CALL()                                      \
    do {                                            \
        const cudaError_t begun_ = begin(__func__); \
        if (begun_) return begun_;                  \
    } while (0)

/* Calls that give something back are told apart: what they were asked to free is gone from the books either way. */
#define CALL_AFTER(...)                             \
    do {                                            \
        const cudaError_t begun_ = begin(__func__); \
        __VA_ARGS__;                                \
        if (begun_) return begun_;                  \
    } while (0)

cudaError_t cudaGetLastError(void)
{
    ALONE();
    const cudaError_t rc = lost ? lost : last;
    last = cudaSuccess;
    return rc;
}

const char *cudaGetErrorString(cudaError_t rc)
{
    static char text[64];
    switch (rc) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorInvalidValue: return "invalid argument";
    default: snprintf(text, sizeof text, "error %d", (int)rc); return text;
    }
}

/* -- memory -------------------------------------------------------------------------------------- */

struct block {
    unsigned char *p;
    size_t bytes;
    bool pinned, leaving; /* given back in the order of the stream, and not yet there */
    struct block *next;
};
static struct block *blocks;

static struct block *block_of(const void *p)
{
    for (struct block *b = blocks; b; b = b->next)
        if ((const unsigned char *)p >= b->p && (const unsigned char *)p < b->p + (b->bytes ? b->bytes : 1)) return b;
    return NULL;
}

static struct block *block_make(size_t bytes, bool pinned)
{
    struct block *b = malloc(sizeof *b);
    if (b == NULL || (b->p = malloc(bytes ? bytes : 1)) == NULL) abort();
    memset(b->p, 0xCD, bytes);
    b->bytes = bytes;
    b->pinned = pinned;
    b->leaving = false;
    b->next = blocks;
    blocks = b;
    return b;
}

static void block_free(struct block *b)
{
    struct block **at = &blocks;
    while (*at != b) at = &(*at)->next;
    *at = b->next;
    free(b->p);
    free(b);
}

/* Notes what is not `bytes` of the card's memory; what was freed in the order of the stream is still there for what was
 * queued before. */
static bool there(const void *p, size_t bytes, const char *what, bool queued)
{
    const struct block *b = block_of(p);
    if (b && !b->pinned && (queued || !b->leaving) && (size_t)((const unsigned char *)p - b->p) + bytes <= b->bytes)
        return true;
    trouble("%s: %zu bytes at %p are not on the card", what, bytes, p);
    return false;
}

static bool on_card(const void *p, size_t bytes, const char *what) { return there(p, bytes, what, false); }

/* -- the stream ---------------------------------------------------------------------------------- */

struct plan {
    bool live, made, streamed;
    int card;
    cufftType type;
    int rank, n[2];
    size_t batch, work;
    void *area;
    size_t queued;
};
static struct plan plans[256];

struct op {
    enum { OP_COPY, OP_SET, OP_FREE, OP_KERNEL, OP_FFT, OP_SORT, OP_EVENT } kind;
    void *to;
    const void *from;
    size_t bytes;
    int value;
    void (*kernel)(uint32_t blocks, const void *args);
    unsigned char *args; /* a copy */
    uint32_t blocks;
    int plan;
    struct plan shape; /* of the plan, when it was queued */
    struct event *event;
    struct op *next;
};
static struct op *queue, **queue_end = &queue;

struct event {
    size_t queued; /* records that the stream has not come to; the latest one counts */
};

static size_t points_in(const struct plan *p)
{
    return p->batch * (size_t)p->n[0] * (size_t)(p->rank > 1 ? p->n[1] : 1);
}

static size_t points_half(const struct plan *p)
{
    const size_t nx = (size_t)p->n[p->rank - 1];
    return points_in(p) / nx * (nx / 2 + 1);
}

static void fft(const struct op *o)
{
    const struct plan *p = &o->shape;
    const size_t full = points_in(p), half = points_half(p), plane = full / p->batch, half_plane = half / p->batch;
    const int many = (int)p->batch;
    fftwf_plan f;
    if (!there(p->area, p->work, "work area of a transform", true)) return;
    void *in = (void *)(uintptr_t)o->from;
    const bool real = p->type == CUFFT_R2C, back = p->type == CUFFT_C2R;
    if (!there(in, real ? full * 4 : back ? half * 8 : full * 8, "input of a transform", true)) return;
    if (!there(o->to, real ? half * 8 : back ? full * 4 : full * 8, "output of a transform", true)) return;
    memset(p->area, 0xEE, p->work);
    if (real)
        f = fftwf_plan_many_dft_r2c(p->rank, p->n, many, in, NULL, 1, (int)plane, o->to, NULL, 1, (int)half_plane,
                                    FFTW_ESTIMATE | FFTW_UNALIGNED);
    else if (back)
        f = fftwf_plan_many_dft_c2r(p->rank, p->n, many, in, NULL, 1, (int)half_plane, o->to, NULL, 1, (int)plane,
                                    FFTW_ESTIMATE | FFTW_UNALIGNED);
    else
        f = fftwf_plan_many_dft(p->rank, p->n, many, in, NULL, 1, (int)plane, o->to, NULL, 1, (int)plane,
                                o->value == CUFFT_FORWARD ? FFTW_FORWARD : FFTW_BACKWARD,
                                FFTW_ESTIMATE | FFTW_UNALIGNED);
    if (f == NULL) abort();
    fftwf_execute(f);
    fftwf_destroy_plan(f);
}

/* Ascending by their bits, as CUB does it: NaN last, but first when its sign bit is set. */
static int rank_of(float v) { return v == v ? 0 : signbit(v) ? -1 : 1; }

static int rising(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    if (rank_of(x) || rank_of(y)) return rank_of(x) - rank_of(y);
    return (x > y) - (x < y);
}

static void do_op(struct op *o)
{
    struct block *b;
    switch (o->kind) {
    case OP_COPY: memmove(o->to, o->from, o->bytes); break;
    case OP_SET: memset(o->to, o->value, o->bytes); break;
    case OP_FREE:
        if ((b = block_of(o->to))) block_free(b);
        break;
    case OP_KERNEL:
        fake.kernels_run++;
        if (fake.kernel_fault && --fake.kernel_fault == 0)
            lost = cudaErrorIllegalAddress;
        else
            o->kernel(o->blocks, o->args);
        break;
    case OP_FFT: fft(o); break;
    case OP_SORT:
        if (!there(o->from, o->bytes * sizeof(float), "numbers to sort", true) ||
            !there(o->to, o->bytes * sizeof(float), "sorted numbers", true) ||
            !there(o->args, o->bytes * sizeof(float), "work area of sorting", true))
            break;
        memcpy(o->to, o->from, o->bytes * sizeof(float));
        memset(o->args, 0xEE, o->bytes * sizeof(float));
        qsort(o->to, o->bytes, sizeof(float), rising);
        break;
    case OP_EVENT: o->event->queued--; break;
    }
}

/* Does what is queued, up to an event (NULL: everything). */
static void run_until(const struct event *event)
{
    while (queue && (event == NULL || event->queued)) {
        struct op *o = queue;
        queue = o->next;
        if (queue == NULL) queue_end = &queue;
        if (lost == cudaSuccess || o->kind == OP_FREE || o->kind == OP_EVENT) do_op(o);
        if (o->kind == OP_FFT) plans[o->plan].queued--;
        if (o->kind != OP_SORT) free(o->args);
        free(o);
    }
}

static struct op *enqueue(struct op o)
{
    struct op *kept = malloc(sizeof *kept);
    if (kept == NULL) abort();
    *kept = o;
    kept->next = NULL;
    *queue_end = kept;
    queue_end = &kept->next;
    return kept;
}

static unsigned char *copy_of(const void *p, size_t bytes)
{
    unsigned char *copy = malloc(bytes ? bytes : 1);
    if (copy == NULL) abort();
    memcpy(copy, p, bytes);
    return copy;
}

struct stream {
    int card;
    bool live;
};
static struct stream streams[16];

static void check_stream(cudaStream_t stream, const char *what)
{
    const struct stream *s = (const struct stream *)stream;
    if (s < streams || s >= streams + 16 || !s->live)
        trouble("%s: no such stream", what);
    else if (s->card != current && !lost) /* once it is, cards cannot be chosen any more */
        trouble("%s: the card of this thread is %d, that of the stream %d", what, current, s->card);
}

/* -- cards --------------------------------------------------------------------------------------- */

cudaError_t cudaDriverGetVersion(int *v)
{
    ALONE();
    CALL();
    *v = fake.driver;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *v)
{
    ALONE();
    CALL();
    *v = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    ALONE();
    CALL();
    if (fake.driver < CUDART_VERSION / 1000 * 1000) return say(cudaErrorInsufficientDriver);
    if (fake.cards == 0) return say(cudaErrorNoDevice);
    *n = fake.cards;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int card)
{
    ALONE();
    CALL();
    if (card < 0 || card >= fake.cards) return say(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "Pretend %c", 'A' + card);
    p->major = fake.card[card].major;
    p->minor = fake.card[card].minor;
    p->totalGlobalMem = fake.memory;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr attribute, int card)
{
    ALONE();
    CALL();
    if (card < 0 || card >= fake.cards) return say(cudaErrorInvalidDevice);
    if (attribute == cudaDevAttrComputeMode)
        *v = fake.card[card].mode;
    else if (attribute == cudaDevAttrMemoryPoolsSupported)
        *v = fake.card[card].pools;
    else if (attribute == cudaDevAttrMultiProcessorCount)
        *v = 132;
    else if (attribute == cudaDevAttrClockRate)
        *v = 1980000;
    else if (attribute == cudaDevAttrMemoryClockRate)
        *v = 3201000;
    else if (attribute == cudaDevAttrGlobalMemoryBusWidth)
        *v = 6144;
    else if (attribute == cudaDevAttrComputeCapabilityMajor)
        *v = fake.card[card].major;
    else if (attribute == cudaDevAttrComputeCapabilityMinor)
        *v = fake.card[card].minor;
    else
        trouble("attribute %d is not known here", (int)attribute);
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int card)
{
    ALONE();
    CALL();
    if (card < 0 || card >= fake.cards) return say(cudaErrorInvalidDevice);
    if (fake.card[card].busy) return say(cudaErrorDevicesUnavailable);
    current = card;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    ALONE();
    CALL();
    *left = fake.memory - fake.bytes;
    *total = fake.memory;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int card)
{
    ALONE();
    CALL();
    *pool = (cudaMemPool_t)&fake.card[card];
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    ALONE();
    (void)pool;
    CALL();
    if (attribute != cudaMemPoolAttrReleaseThreshold || *(const uint64_t *)value != UINT64_MAX)
        trouble("an unknown attribute of a pool");
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep)
{
    ALONE();
    (void)pool;
    (void)keep;
    CALL();
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags)
{
    ALONE();
    CALL();
    struct stream *s = streams;
    while (s->live) s++;
    if (flags != cudaStreamNonBlocking || current < 0) trouble("a stream on no card, or one that waits for others");
    *s = (struct stream){ current, true };
    fake.streams++;
    *stream = (cudaStream_t)s;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    ALONE();
    check_stream(stream, __func__);
    run_until(NULL);
    ((struct stream *)stream)->live = false;
    fake.streams--;
    CALL();
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    ALONE();
    CALL();
    check_stream(stream, __func__);
    run_until(NULL);
    return say(lost);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
    ALONE();
    CALL();
    if (flags != cudaEventDisableTiming) trouble("an event that measures time");
    struct event *v = calloc(1, sizeof *v);
    if (v == NULL) abort();
    fake.events++;
    *event = (cudaEvent_t)v;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    ALONE();
    const cudaError_t rc = begin(__func__);
    run_until((struct event *)event);
    free(event);
    fake.events--;
    return rc;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    ALONE();
    CALL();
    check_stream(stream, __func__);
    ((struct event *)event)->queued++;
    enqueue((struct op){ .kind = OP_EVENT, .event = (struct event *)event });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    ALONE();
    CALL();
    run_until((struct event *)event);
    return say(lost);
}

/* -- memory of cards ----------------------------------------------------------------------------- */

static cudaError_t card_malloc(void **p, size_t bytes)
{
    if (bytes == 0) trouble("no bytes asked for");
    if (bytes > fake.memory - fake.bytes) return say(cudaErrorMemoryAllocation);
    fake.bytes += bytes;
    fake.buffers++;
    *p = block_make(bytes, false)->p;
    return cudaSuccess;
}

static struct block *card_free(void *p, const char *what)
{
    struct block *b = block_of(p);
    if (b == NULL || b->p != p || b->pinned || b->leaving) {
        trouble("%s: %p is not held", what, p);
        return NULL;
    }
    fake.bytes -= b->bytes;
    fake.buffers--;
    b->leaving = true;
    return b;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    ALONE();
    CALL();
    if (current < 0) trouble("memory of no card");
    return card_malloc(p, bytes);
}

cudaError_t cudaMallocAsync(void **p, size_t bytes, cudaStream_t stream)
{
    ALONE();
    CALL();
    check_stream(stream, __func__);
    if (current >= 0 && !fake.card[current].pools) return say(cudaErrorNotSupported);
    return card_malloc(p, bytes);
}

cudaError_t cudaFree(void *p)
{
    ALONE();
    const cudaError_t rc = begin(__func__);
    run_until(NULL);
    struct block *b = card_free(p, __func__);
    if (b) block_free(b);
    return rc;
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream)
{
    ALONE();
    const cudaError_t rc = begin(__func__);
    check_stream(stream, __func__);
    if (card_free(p, __func__)) enqueue((struct op){ .kind = OP_FREE, .to = p });
    return rc;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    ALONE();
    CALL();
    fake.pinned++;
    *p = block_make(bytes, true)->p;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    ALONE();
    const cudaError_t rc = begin(__func__);
    struct block *b = block_of(p);
    run_until(NULL);
    if (b && b->pinned && b->p == p) {
        fake.pinned--;
        block_free(b);
    } else {
        trouble("%p is not page-locked", p);
    }
    return rc;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    ALONE();
    CALL();
    check_stream(stream, __func__);
    if (kind != cudaMemcpyDeviceToHost && !on_card(to, bytes, "copy to the card")) return say(cudaErrorInvalidValue);
    if (kind != cudaMemcpyHostToDevice && !on_card(from, bytes, "copy from the card"))
        return say(cudaErrorInvalidValue);
    struct op o = { .kind = OP_COPY, .to = to, .from = from, .bytes = bytes };
    enqueue(o); /* ordinary memory, too, is read late: CUDA promises no copy of it */
    if (kind == cudaMemcpyDeviceToHost && block_of(to) == NULL) run_until(NULL);
    return say(lost);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    ALONE();
    CALL();
    check_stream(stream, __func__);
    if (!on_card(p, bytes, "clearing")) return say(cudaErrorInvalidValue);
    enqueue((struct op){ .kind = OP_SET, .to = p, .value = value, .bytes = bytes });
    return cudaSuccess;
}

/* -- transforms ---------------------------------------------------------------------------------- */

/* cuFFT has a CUDA runtime of its own: its errors are not the last one of ours. */
static cufftResult fft_begin(const char *name)
{
    const cudaError_t kept = last, rc = begin(name);
    last = kept;
    return rc == cudaSuccess                 ? CUFFT_SUCCESS
           : rc == cudaErrorMemoryAllocation ? CUFFT_ALLOC_FAILED
           : loses(rc)                       ? CUFFT_EXEC_FAILED
                                             : CUFFT_INTERNAL_ERROR;
}

#define FFT_CALL()                                      \
    do {                                                \
        const cufftResult begun_ = fft_begin(__func__); \
        if (begun_) return begun_;                      \
    } while (0)

static struct plan *plan_of(cufftHandle h, const char *what)
{
    if (h <= 0 || h >= 256 || !plans[h].live) {
        trouble("%s: no such plan", what);
        return &plans[0];
    }
    return plans + h;
}

cufftResult cufftCreate(cufftHandle *h)
{
    ALONE();
    FFT_CALL();
    int i = 1;
    while (i < 256 && plans[i].live) i++;
    if (i == 256) abort();
    plans[i] = (struct plan){ .live = true, .card = current };
    fake.plans++;
    *h = i;
    return CUFFT_SUCCESS;
}

cufftResult cufftDestroy(cufftHandle h)
{
    ALONE();
    const cufftResult rc = fft_begin(__func__);
    struct plan *p = plan_of(h, __func__);
    if (p->queued && !lost) trouble("a plan destroyed while it works");
    p->live = false;
    fake.plans--;
    return rc;
}

cufftResult cufftSetAutoAllocation(cufftHandle h, int on)
{
    ALONE();
    FFT_CALL();
    if (on || plan_of(h, __func__)->made) trouble("a plan that takes memory of its own");
    return CUFFT_SUCCESS;
}

cufftResult cufftMakePlanMany64(cufftHandle h, int rank, long long *n, long long *inembed, long long istride,
                                long long idist, long long *onembed, long long ostride, long long odist, cufftType type,
                                long long batch, size_t *work)
{
    ALONE();
    FFT_CALL();
    struct plan *p = plan_of(h, __func__);
    (void)istride, (void)idist, (void)ostride, (void)odist;
    if (inembed || onembed || rank < 1 || rank > 2 || batch < 1) trouble("a plan of another layout");
    p->made = true;
    p->type = type;
    p->rank = rank;
    for (int i = 0; i < rank; i++) p->n[i] = (int)n[i];
    p->batch = (size_t)batch;
    *work = p->work = points_in(p) > 1000 ? 8 * points_in(p) : 0; /* small ones need none */
    fake.plans_made++;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetStream(cufftHandle h, cudaStream_t stream)
{
    ALONE();
    FFT_CALL();
    check_stream(stream, __func__);
    plan_of(h, __func__)->streamed = true;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetWorkArea(cufftHandle h, void *area)
{
    ALONE();
    FFT_CALL();
    plan_of(h, __func__)->area = area;
    return CUFFT_SUCCESS;
}

static cufftResult fft_queue(cufftHandle h, cufftType type, const void *in, void *out, int direction)
{
    struct plan *p = plan_of(h, "a transform");
    if (!p->made || !p->streamed || p->type != type || p->area == NULL || p->card != current)
        trouble("a transform that is not ready");
    p->queued++;
    enqueue((struct op){ .kind = OP_FFT, .from = in, .to = out, .value = direction, .plan = h, .shape = *p });
    return CUFFT_SUCCESS;
}

cufftResult cufftExecC2C(cufftHandle h, cufftComplex *in, cufftComplex *out, int direction)
{
    ALONE();
    FFT_CALL();
    return fft_queue(h, CUFFT_C2C, in, out, direction);
}

cufftResult cufftExecR2C(cufftHandle h, cufftReal *in, cufftComplex *out)
{
    ALONE();
    FFT_CALL();
    return fft_queue(h, CUFFT_R2C, in, out, 0);
}

cufftResult cufftExecC2R(cufftHandle h, cufftComplex *in, cufftReal *out)
{
    ALONE();
    FFT_CALL();
    return fft_queue(h, CUFFT_C2R, in, out, 0);
}

/* -- kernels and sorting ------------------------------------------------------------------------- */

static cudaError_t kernel_queue(void (*kernel)(uint32_t, const void *), uint32_t n, const void *args, size_t bytes,
                                cudaStream_t stream)
{
    ALONE();
    const cudaError_t rc = begin("the launch");
    if (rc) return rc;
    check_stream(stream, "a launch");
    if (n == 0 || n > INT32_MAX || bytes > 4096) return say(cudaErrorInvalidConfiguration);
    if (current >= 0 && !fake.card[current].kernels) return say(cudaErrorNoKernelImageForDevice);
    if (last) trouble("a launch after an error that nobody cleared: %d", (int)last);
    enqueue((struct op){ .kind = OP_KERNEL, .kernel = kernel, .args = copy_of(args, bytes), .blocks = n });
    return cudaSuccess;
}

#define LAUNCHER(name)                                                                           \
    int mro_cuda_##name(uint32_t n, const void *args, void *stream)                              \
    {                                                                                            \
        return (int)kernel_queue(run_##name, n, args, sizeof(struct mro_##name##_args), stream); \
    }
#define PHASES(name)                                          \
    for (int phase = 0; phase < mro_##name##_PHASES; phase++) \
        for (t.thread = 0; t.thread < mro_##name##_THREADS; t.thread++) mro_##name##_phase(phase, args, &t, s);
#define ONCE(name)                                                        \
    static void run_##name(uint32_t n, const void *args)                  \
    {                                                                     \
        struct mro_##name##_shared *s = malloc(sizeof *s);                \
        for (struct mro_thread t = { 0, n, 0 }; t.block < n; t.block++) { \
            memset(s, 0xAB, sizeof *s);                                   \
            PHASES(name)                                                  \
        }                                                                 \
        free(s);                                                          \
    }                                                                     \
    LAUNCHER(name)
#define ROUNDS(name)                                                                                         \
    static void run_##name(uint32_t n, const void *args)                                                     \
    {                                                                                                        \
        struct mro_##name##_shared *s = malloc(sizeof *s);                                                   \
        for (struct mro_thread t = { 0, n, 0 }; t.block < n; t.block++) {                                    \
            memset(s, 0xAB, sizeof *s);                                                                      \
            for (t.thread = 0; t.thread < mro_##name##_THREADS; t.thread++) mro_##name##_begin(args, &t, s); \
            do {                                                                                             \
                PHASES(name)                                                                                 \
            } while (mro_##name##_again(s));                                                                 \
        }                                                                                                    \
        free(s);                                                                                             \
    }                                                                                                        \
    LAUNCHER(name)
MRO_KERNELS(ONCE, ROUNDS)

int mro_cuda_sort(const float *keys, float *sorted, size_t n, void *work, size_t *work_bytes, void *stream)
{
    ALONE();
    const cudaError_t rc = begin("CUB");
    if (rc) return (int)rc;
    check_stream(stream, "sorting");
    if (work == NULL) {
        *work_bytes = n * sizeof(float);
        return 0;
    }
    if (*work_bytes < n * sizeof(float)) return (int)say(cudaErrorInvalidValue);
    enqueue((struct op){ .kind = OP_SORT, .from = keys, .to = sorted, .bytes = n, .args = work });
    return 0;
}

/* -- the tests' side ----------------------------------------------------------------------------- */

void fake_reset(void)
{
    run_until(NULL);
    last = lost = cudaSuccess;
    current = -1;
    fake = (struct fake){ .cards = 1, .driver = CUDART_VERSION, .memory = (size_t)256 << 20 };
    for (int i = 0; i < FAKE_CARDS; i++) {
        fake.card[i].major = 9;
        fake.card[i].pools = fake.card[i].kernels = true;
    }
}

const char *fake_left(void)
{
    static char text[160];
    if (fake.trouble[0]) return fake.trouble;
    if (fake.buffers + fake.pinned + fake.plans + fake.streams + fake.events + fake.bytes == 0 && queue == NULL)
        return NULL;
    snprintf(text, sizeof text, "left: %zu buffers (%zu bytes), %zu page-locked, %zu plans, %zu streams, %zu events",
             fake.buffers, fake.bytes, fake.pinned, fake.plans, fake.streams, fake.events);
    return text;
}

/* A program with this runtime takes its machine from FAKE_GPU, such as "cards=2 memory=64 fail_at=30 fail_with=700"
 * (memory in MiB), and ends badly when something is left. */
static void check_at_exit(void)
{
    const char *left = fake_left();
    if (left == NULL) return;
    fprintf(stderr, "fake GPU: %s\n", left);
    _Exit(99);
}

__attribute__((constructor)) static void from_environment(void)
{
    const char *text = getenv("FAKE_GPU");
    char key[32];
    long value;
    int length;
    fake_reset();
    if (text == NULL) return;
    atexit(check_at_exit);
    while (sscanf(text, " %31[a-z_]=%ld%n", key, &value, &length) == 2) {
        text += length;
        if (strcmp(key, "cards") == 0)
            fake.cards = (int)value;
        else if (strcmp(key, "driver") == 0)
            fake.driver = (int)value;
        else if (strcmp(key, "memory") == 0)
            fake.memory = (size_t)value << 20;
        else if (strcmp(key, "busy") == 0)
            fake.card[value].busy = true;
        else if (strcmp(key, "fail_at") == 0)
            fake.fail_at = (size_t)value;
        else if (strcmp(key, "fail_with") == 0)
            fake.fail_with = (cudaError_t)value;
        else if (strcmp(key, "kernel_fault") == 0)
            fake.kernel_fault = (size_t)value;
        else
            trouble("FAKE_GPU: '%s' is not known", key);
    }
}

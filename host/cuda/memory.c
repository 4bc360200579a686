/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory of a card, and the way there and back. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cuda/card.h"

/* -- taking and giving back ---------------------------------------------------------------------- */

static cudaError_t take(const struct mro_cuda *s, void **p, size_t bytes)
{
    *p = NULL;
    const cudaError_t rc = s->pool ? cudaMallocAsync(p, bytes, s->stream) : cudaMalloc(p, bytes);
    if (rc) *p = NULL;
    return rc;
}

static void give(struct mro_device *d, void *p)
{
    const struct mro_cuda *s = d->state;
    if (p) mro_cuda_note(d, s->pool ? cudaFreeAsync(p, s->stream) : cudaFree(p));
}

enum mro_code mro_cuda_make_room(struct mro_device *d, const struct mro_cuda_plan *keep, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    MRO_TRY(mro_cuda_wait(d, e));
    mro_cuda_plans_release(d, keep);
    mro_cuda_area_release(d);
    MRO_TRY(mro_cuda_wait(d, e)); /* memory goes back in the order of the stream */
    if (s->pool) mro_cuda_note(d, cudaMemPoolTrimTo(s->pool, 0));
    return MRO_OK;
}

static enum mro_code take_or_make_room(struct mro_device *d, void **p, size_t bytes, const char *purpose,
                                       const struct mro_cuda_plan *keep, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    const char *call = s->pool ? "cudaMallocAsync" : "cudaMalloc";
    char what[120];
    cudaError_t rc = take(s, p, bytes);
    if (rc == cudaErrorMemoryAllocation) {
        mro_cuda_note(d, rc);
        MRO_TRY(mro_cuda_make_room(d, keep, e));
        rc = take(s, p, bytes);
    }
    if (rc == cudaSuccess) return MRO_OK;
    snprintf(what, sizeof what, "for %.1f MiB of %s", (double)bytes / 1048576, purpose);
    return mro_cuda_fail(d, rc, call, what, e);
}

enum mro_code mro_cuda_alloc(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e)
{
    b->p = NULL;
    b->bytes = 0;
    MRO_TRY(mro_cuda_enter(d, e));
    MRO_TRY(take_or_make_room(d, &b->p, bytes ? bytes : 1, "a buffer", NULL, e));
    b->bytes = bytes;
    return MRO_OK;
}

void mro_cuda_release(struct mro_device *d, struct mro_buffer *b)
{
    if (b->p) {
        const struct mro_cuda *s = d->state;
        mro_cuda_note(d, cudaSetDevice(s->card));
        give(d, b->p);
    }
    b->p = NULL;
    b->bytes = 0;
}

void mro_cuda_area_release(struct mro_device *d)
{
    struct mro_cuda *s = d->state;
    give(d, s->area);
    s->area = NULL;
    s->area_bytes = 0;
}

enum mro_code mro_cuda_area(struct mro_device *d, size_t bytes, const struct mro_cuda_plan *keep, struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    const size_t step = MRO_AREA_STEP;
    if (s->area && s->area_bytes >= bytes) return MRO_OK;
    if (bytes > SIZE_MAX - step)
        return MRO_FAIL(e, MRO_EMEMORY, "%s has no room for a work area of %zu bytes", s->name, bytes);
    bytes = (bytes / step + 1) * step;
    mro_cuda_area_release(d); /* first: what still uses it comes before in the stream, and both may not fit */
    MRO_TRY(take_or_make_room(d, &s->area, bytes, "work area", keep, e));
    s->area_bytes = bytes;
    return MRO_OK;
}

/* -- there and back ------------------------------------------------------------------------------ */

static bool stage_make(struct mro_device *d, struct mro_cuda_stage *stage)
{
    cudaError_t rc = cudaMallocHost((void **)&stage->host, MRO_STAGE_BYTES);
    if (rc) stage->host = NULL;
    if (rc == cudaSuccess && (rc = cudaEventCreateWithFlags(&stage->done, cudaEventDisableTiming))) stage->done = NULL;
    mro_cuda_note(d, rc);
    return rc == cudaSuccess;
}

static bool small_make(struct mro_device *d)
{
    struct mro_cuda *s = d->state;
    const cudaError_t rc = cudaMallocHost((void **)&s->small, MRO_STAGE_SMALL);
    if (rc) s->small = NULL;
    mro_cuda_note(d, rc);
    return rc == cudaSuccess;
}

void mro_cuda_stages_release(struct mro_device *d)
{
    struct mro_cuda *s = d->state;
    for (int i = 0; i < 2; i++) {
        struct mro_cuda_stage *stage = s->stage + i;
        if (stage->done) mro_cuda_note(d, cudaEventDestroy(stage->done));
        if (stage->host) mro_cuda_note(d, cudaFreeHost(stage->host));
        *stage = (struct mro_cuda_stage){ 0 };
    }
    if (s->small) mro_cuda_note(d, cudaFreeHost(s->small));
    s->small = NULL;
    s->small_used = 0;
}

/* Whether the buffers are there. A system that locks no memory for us copies more slowly, that is all. */
static bool staged(struct mro_device *d)
{
    struct mro_cuda *s = d->state;
    if (s->stages == STAGES_UNTRIED) {
        const bool made = stage_make(d, s->stage) && stage_make(d, s->stage + 1) && small_make(d);
        s->stages = made ? STAGES_READY : STAGES_REFUSED;
        if (s->stages == STAGES_REFUSED) mro_cuda_stages_release(d);
    }
    return s->stages == STAGES_READY;
}

static void copy_on_host(void *to, const void *from, size_t bytes, int threads)
{
    const ptrdiff_t piece = (ptrdiff_t)512 << 10, n = ((ptrdiff_t)bytes + piece - 1) / piece;
    if (threads > 8) threads = 8; /* more do not add to the speed of memory */
    if (threads > n) threads = (int)n;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (ptrdiff_t i = 0; i < n; i++) {
        const size_t at = (size_t)(i * piece), left = bytes - at;
        memcpy((char *)to + at, (const char *)from + at, left < (size_t)piece ? left : (size_t)piece);
    }
}

/* After a copy from or to a stage was queued. Without an event the stream is waited for, so that the buffer is never
 * used while the card does. */
static enum mro_code stage_sent(struct mro_device *d, struct mro_cuda_stage *stage, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    const cudaError_t rc = cudaEventRecord(stage->done, s->stream);
    stage->busy = rc == cudaSuccess;
    if (rc == cudaSuccess) return MRO_OK;
    mro_cuda_note(d, cudaStreamSynchronize(s->stream));
    return mro_cuda_fail(d, rc, "cudaEventRecord", "to follow a copy", e);
}

static enum mro_code stage_wait(struct mro_device *d, struct mro_cuda_stage *stage, struct mro_error *e)
{
    if (stage->busy) MRO_CUDA_TRY(d, e, "to wait for a copy", cudaEventSynchronize, stage->done);
    stage->busy = false;
    return MRO_OK;
}

/* Room for `bytes` in the small buffer, which the card does not use until what is asked of it now. */
static enum mro_code small_room(struct mro_device *d, size_t bytes, unsigned char **at, struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    if (bytes > MRO_STAGE_SMALL - s->small_used) {
        MRO_TRY(mro_cuda_wait(d, e));
        s->small_used = 0;
    }
    *at = s->small + s->small_used;
    s->small_used += (bytes + 255) / 256 * 256;
    return MRO_OK;
}

static enum mro_code upload_small(struct mro_device *d, void *to, const void *host, size_t bytes, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    unsigned char *at = NULL;
    MRO_TRY(small_room(d, bytes, &at, e));
    memcpy(at, host, bytes);
    MRO_CUDA_TRY(d, e, "to copy to the card", cudaMemcpyAsync, to, at, bytes, cudaMemcpyHostToDevice, s->stream);
    return MRO_OK;
}

static enum mro_code download_small(struct mro_device *d, void *host, const void *from, size_t bytes,
                                    struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    unsigned char *at = NULL;
    MRO_TRY(small_room(d, bytes, &at, e));
    MRO_CUDA_TRY(d, e, "to copy from the card", cudaMemcpyAsync, at, from, bytes, cudaMemcpyDeviceToHost, s->stream);
    MRO_TRY(mro_cuda_wait(d, e));
    s->small_used = 0;
    memcpy(host, at, bytes);
    return MRO_OK;
}

enum mro_code mro_cuda_upload(struct mro_device *d, struct mro_buffer *to, const void *host, size_t bytes,
                              struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    const unsigned char *from = host;
    if (bytes > to->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "upload of %zu bytes into %zu", bytes, to->bytes);
    MRO_TRY(mro_cuda_enter(d, e));
    if (bytes == 0) return MRO_OK;
    if (!staged(d)) {
        MRO_CUDA_TRY(d, e, "to copy to the card", cudaMemcpyAsync, to->p, host, bytes, cudaMemcpyHostToDevice,
                     s->stream);
        return mro_cuda_wait(d, e);
    }
    if (bytes < MRO_STAGE_FROM) return upload_small(d, to->p, host, bytes, e);
    for (size_t at = 0, k = 0; at < bytes; at += MRO_STAGE_BYTES, k++) {
        const size_t n = bytes - at < MRO_STAGE_BYTES ? bytes - at : MRO_STAGE_BYTES;
        struct mro_cuda_stage *stage = s->stage + k % 2;
        MRO_TRY(stage_wait(d, stage, e));
        copy_on_host(stage->host, from + at, n, d->threads);
        MRO_CUDA_TRY(d, e, "to copy to the card", cudaMemcpyAsync, (unsigned char *)to->p + at, stage->host, n,
                     cudaMemcpyHostToDevice, s->stream);
        MRO_TRY(stage_sent(d, stage, e));
    }
    return MRO_OK;
}

enum mro_code mro_cuda_download(struct mro_device *d, void *host, const struct mro_buffer *from, size_t bytes,
                                struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    unsigned char *to = host;
    if (bytes > from->bytes) return MRO_FAIL(e, MRO_EINTERNAL, "download of %zu bytes from %zu", bytes, from->bytes);
    MRO_TRY(mro_cuda_enter(d, e));
    if (bytes == 0) return mro_cuda_wait(d, e);
    if (!staged(d)) {
        MRO_CUDA_TRY(d, e, "to copy from the card", cudaMemcpyAsync, host, from->p, bytes, cudaMemcpyDeviceToHost,
                     s->stream);
        return mro_cuda_wait(d, e);
    }
    if (bytes < MRO_STAGE_FROM) return download_small(d, host, from->p, bytes, e);
    const size_t pieces = (bytes - 1) / MRO_STAGE_BYTES + 1;
    for (size_t k = 0; k <= pieces; k++) { /* asks for piece k and empties piece k - 1 meanwhile */
        if (k < pieces) {
            const size_t at = k * MRO_STAGE_BYTES, n = bytes - at < MRO_STAGE_BYTES ? bytes - at : MRO_STAGE_BYTES;
            struct mro_cuda_stage *stage = s->stage + k % 2;
            MRO_CUDA_TRY(d, e, "to copy from the card", cudaMemcpyAsync, stage->host, (unsigned char *)from->p + at, n,
                         cudaMemcpyDeviceToHost, s->stream);
            MRO_TRY(stage_sent(d, stage, e));
        }
        if (k > 0) {
            const size_t at = (k - 1) * MRO_STAGE_BYTES;
            const size_t n = bytes - at < MRO_STAGE_BYTES ? bytes - at : MRO_STAGE_BYTES;
            struct mro_cuda_stage *stage = s->stage + (k - 1) % 2;
            MRO_TRY(stage_wait(d, stage, e));
            copy_on_host(to + at, stage->host, n, d->threads);
        }
    }
    return mro_cuda_wait(d, e);
}

enum mro_code mro_cuda_zero(struct mro_device *d, void *p, size_t bytes, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    MRO_TRY(mro_cuda_enter(d, e));
    if (bytes) MRO_CUDA_TRY(d, e, "to clear memory", cudaMemsetAsync, p, 0, bytes, s->stream);
    return MRO_OK;
}

enum mro_code mro_cuda_link_rate(struct mro_device *d, double *rate, struct mro_error *e)
{
    enum { COPIES = 8 };
    const struct mro_cuda *s = d->state;
    struct mro_buffer b;
    *rate = 0;
    MRO_TRY(mro_cuda_alloc(d, &b, MRO_STAGE_BYTES, e));
    enum mro_code code = MRO_OK;
    for (int run = 0; run < 4 && staged(d) && code == MRO_OK; run++) { /* the first one warms up */
        struct timespec from, to;
        const struct mro_cuda_stage *stage = s->stage;
        code = mro_cuda_wait(d, e);
        clock_gettime(CLOCK_MONOTONIC, &from);
        cudaError_t rc = cudaSuccess;
        for (int k = 0; k < COPIES && code == MRO_OK && rc == cudaSuccess; k++)
            rc = cudaMemcpyAsync(b.p, stage->host, MRO_STAGE_BYTES, cudaMemcpyHostToDevice, s->stream);
        if (rc) code = mro_cuda_fail(d, rc, "cudaMemcpyAsync", "to time copies", e);
        if (code == MRO_OK) code = mro_cuda_wait(d, e);
        clock_gettime(CLOCK_MONOTONIC, &to);
        const double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        if (code == MRO_OK && run) *rate = fmax(*rate, COPIES * (double)MRO_STAGE_BYTES / seconds);
    }
    mro_cuda_release(d, &b);
    return code;
}

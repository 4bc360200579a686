/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside of the `cuda` backend: the state of an open card and how its calls fail. Plain C over the CUDA runtime.
 *
 * All work goes to one stream, in order. A call that failed is told at once where it fails, and the error of a kernel
 * by a later call, as CUDA does it. After some errors the driver refuses everything in this process: the card is lost,
 * and every later call says so at once. */
#ifndef MRO_CUDA_CARD_H
#define MRO_CUDA_CARD_H

#include <cuda_runtime_api.h>
#include <cufft.h>

#include "core/backend.h"
#include "gpu/gpu.h"

/* Large pieces of host memory go through two page-locked buffers in turn: the card copies one while the processor
 * fills or empties the other. Both are small, since nothing hides the first fill and the last copy. Small pieces on
 * their way to the card are put one after another into a third: a card may read ordinary memory after the call for it
 * has returned, when its owner has freed it. Small pieces on their way back take the same one, for speed alone. */
#ifndef MRO_STAGE_BYTES /* tests use small ones */
#define MRO_STAGE_BYTES ((size_t)4 << 20)
#define MRO_STAGE_FROM ((size_t)256 << 10) /* less is small */
#define MRO_STAGE_SMALL ((size_t)1 << 20)  /* for the small ones; a multiple of 256 */
#endif

/* The work area is a multiple of this. */
#ifndef MRO_AREA_STEP
#define MRO_AREA_STEP ((size_t)1 << 20)
#endif

/* Plans of transforms that are kept; the one not used for longest goes first. */
#ifndef MRO_CUDA_PLANS
#define MRO_CUDA_PLANS 32
#endif

struct mro_cuda_plan {
    cufftType type;
    size_t ny, nx, batch;
    cufftHandle handle;
    size_t work; /* bytes of work area */
    uint64_t used;
};

struct mro_cuda {
    int card;
    char name[300];     /* "card 0 (NVIDIA H200)" */
    const char *advice; /* end of every sentence */
    char lost[200];     /* what made the driver refuse everything; "" as long as the card works */
    cudaStream_t stream;
    cudaMemPool_t pool; /* NULL: memory is taken and given back at once, not in the order of the stream */
    enum { STAGES_UNTRIED, STAGES_READY, STAGES_REFUSED } stages;
    struct mro_cuda_stage {
        unsigned char *host;
        cudaEvent_t done; /* the card has copied from or to it */
        bool busy;        /* `done` lies ahead */
    } stage[2];
    unsigned char *small; /* page-locked; the card may still use its first small_used bytes */
    size_t small_used;
    void *area; /* work area of all transforms and of sorting: they run one after the other */
    size_t area_bytes;
    struct mro_cuda_plan plan[MRO_CUDA_PLANS];
    size_t plans;
    uint64_t clock;
};

/* -- errors (device.c) --------------------------------------------------------------------------- */

/* Fills `e` for CUDA call `call`, made `what` ("to copy 3 MiB to the card"), that returned `rc`. MRO_EMEMORY when the
 * card has no room, else MRO_EDEVICE. Notes when the card was lost. */
enum mro_code mro_cuda_fail(struct mro_device *d, cudaError_t rc, const char *call, const char *what,
                            struct mro_error *e);

/* The same where nobody is told: only notes when the card was lost. */
void mro_cuda_note(struct mro_device *d, cudaError_t rc);

/* Begins every entry from outside: fails when the card is lost; makes the card that of the calling thread. */
enum mro_code mro_cuda_enter(struct mro_device *d, struct mro_error *e);

/* Waits until the card has done all that was asked of it. */
enum mro_code mro_cuda_wait(struct mro_device *d, struct mro_error *e);

#define MRO_CUDA_TRY(d, e, what, call, ...)                                             \
    do {                                                                                \
        const cudaError_t cuda_ = call(__VA_ARGS__);                                    \
        if (cuda_ != cudaSuccess) return mro_cuda_fail((d), cuda_, #call, (what), (e)); \
    } while (0)

/* -- memory (memory.c) --------------------------------------------------------------------------- */

enum mro_code mro_cuda_alloc(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e);
void mro_cuda_release(struct mro_device *d, struct mro_buffer *b);
enum mro_code mro_cuda_upload(struct mro_device *d, struct mro_buffer *to, const void *host, size_t bytes,
                              struct mro_error *e);
enum mro_code mro_cuda_download(struct mro_device *d, void *host, const struct mro_buffer *from, size_t bytes,
                                struct mro_error *e);
enum mro_code mro_cuda_zero(struct mro_device *d, void *p, size_t bytes, struct mro_error *e);

/* Bytes a second that page-locked memory is copied to the card with, measured; 0 where no memory can be locked. */
enum mro_code mro_cuda_link_rate(struct mro_device *d, double *rate, struct mro_error *e);

/* Makes the work area hold `bytes` at least; never NULL afterwards, whatever `bytes` is. `keep` (may be NULL) is a
 * plan that must outlive it. */
enum mro_code mro_cuda_area(struct mro_device *d, size_t bytes, const struct mro_cuda_plan *keep, struct mro_error *e);
void mro_cuda_area_release(struct mro_device *d);
void mro_cuda_stages_release(struct mro_device *d);

/* Gives back what is kept for later only: all plans but `keep`, the work area, memory of the pool that nobody holds. */
enum mro_code mro_cuda_make_room(struct mro_device *d, const struct mro_cuda_plan *keep, struct mro_error *e);

/* -- transforms (transform.c) -------------------------------------------------------------------- */

enum mro_code mro_cuda_transform(struct mro_device *d, const struct mro_transform *t, void *in, void *out,
                                 struct mro_error *e);

/* Destroys all plans but `keep` (may be NULL; it may be moved to the front of the list). The card must be idle. */
void mro_cuda_plans_release(struct mro_device *d, const struct mro_cuda_plan *keep);

#endif

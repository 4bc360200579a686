/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The primitives of core/backend.h composed of kernels, for devices with a memory of their own. Two run them: `cuda`
 * (host/cuda) on a card, and `strict` (host/strict) on the processor under the card's rules.
 *
 * Device memory is never touched by the host: numbers go there by upload, zero and kernels, and come back by download.
 * Work is queued in order; only download waits for it, so that the error of a kernel may be told by a later call. */
#ifndef MRO_GPU_GPU_H
#define MRO_GPU_GPU_H

#include "core/backend.h"
#include "kernels/list.h"

enum mro_transform_kind {
    MRO_TRANSFORM_FORWARD,      /* complex to complex; may be in place */
    MRO_TRANSFORM_BACKWARD,     /* likewise */
    MRO_TRANSFORM_REAL,         /* planes of nx floats a row to nx / 2 + 1 complex numbers a row */
    MRO_TRANSFORM_REAL_BACKWARD /* and back; destroys its input */
};

/* `batch` planes one after the other; ny = 1: lines. Unnormalised. */
struct mro_transform {
    enum mro_transform_kind kind;
    size_t ny, nx, batch;
};

/* What the primitives need of such a device besides the memory functions of its backend. */
struct mro_gpu_runtime {
    enum mro_code (*zero)(struct mro_device *d, void *p, size_t bytes, struct mro_error *e);
    /* `args` is a struct mro_NAME_args, read before the call returns. */
    enum mro_code (*launch)(struct mro_device *d, enum mro_kernel kernel, size_t blocks, const void *args,
                            struct mro_error *e);
    /* MRO_EMEMORY when the card has no room for the work area. */
    enum mro_code (*transform)(struct mro_device *d, const struct mro_transform *t, void *in, void *out,
                               struct mro_error *e);
    /* Ascending, NaN last. */
    enum mro_code (*sort)(struct mro_device *d, const float *keys, float *sorted, size_t n, struct mro_error *e);
};

#define MRO_GRID_MOST 4096 /* blocks of a launch over numbers: fills any card several times over; MRO_EACH strides */

/* Launches kernel NAME on enough blocks for one thread an item, or for one block a piece of the rows of a plane, or on
 * exactly `blocks` of them. No items: nothing. */
#define MRO_LAUNCH_EACH(d, name, items, args, e) \
    mro_gpu_each(d, MRO_KERNEL_##name, items, mro_##name##_THREADS, 1 ? (args) : (struct mro_##name##_args *)0, e)
#define MRO_LAUNCH_PIECES(d, name, ny, nx, args, e) \
    mro_gpu_each(d, MRO_KERNEL_##name, mro_pieces(ny, nx), 1, 1 ? (args) : (struct mro_##name##_args *)0, e)
#define MRO_LAUNCH(d, name, blocks, args, e) \
    (d)->ops->runtime->launch(d, MRO_KERNEL_##name, blocks, 1 ? (args) : (struct mro_##name##_args *)0, e)

enum mro_code mro_gpu_each(struct mro_device *d, enum mro_kernel kernel, size_t items, size_t threads, const void *args,
                           struct mro_error *e);

/* Room for the work of one primitive: buffers that are released together. `{d}` is empty. */
#define MRO_GPU_ROOM 16
struct mro_gpu_room {
    struct mro_device *d;
    struct mro_buffer b[MRO_GPU_ROOM];
    size_t n;
};

/* `count` items of `size` bytes on the device, in *p. MRO_EMEMORY when they do not fit. */
enum mro_code mro_gpu_take(struct mro_gpu_room *r, void *p, size_t count, size_t size, struct mro_error *e);
/* The same, filled from the host. */
enum mro_code mro_gpu_give(struct mro_gpu_room *r, void *p, const void *host, size_t count, size_t size,
                           struct mro_error *e);
/* From device memory to the host. */
enum mro_code mro_gpu_fetch(struct mro_device *d, void *host, const void *p, size_t bytes, struct mro_error *e);
void mro_gpu_room_release(struct mro_gpu_room *r);

/* Planes of one kind of transform, n of them at once. */
enum mro_code mro_gpu_transform(struct mro_device *d, enum mro_transform_kind kind, size_t ny, size_t nx, size_t batch,
                                void *in, void *out, struct mro_error *e);

/* The largest batch of at most `wanted` equal parts of a job that `run` finds room for: halved as long as it says
 * MRO_EMEMORY and more than one is left. */
enum mro_code mro_gpu_halving(enum mro_code (*run)(void *context, size_t batch, struct mro_error *e), void *context,
                              size_t wanted, struct mro_error *e);

#endif

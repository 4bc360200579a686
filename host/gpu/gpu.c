/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gpu/gpu.h"

#include <stdint.h>
#include <string.h>

enum mro_code mro_gpu_each(struct mro_device *d, enum mro_kernel kernel, size_t items, size_t threads, const void *args,
                           struct mro_error *e)
{
    if (items == 0) return MRO_OK;
    const size_t blocks = (items - 1) / threads + 1;
    return d->ops->runtime->launch(d, kernel, blocks < MRO_GRID_MOST ? blocks : MRO_GRID_MOST, args, e);
}

enum mro_code mro_gpu_take(struct mro_gpu_room *r, void *p, size_t count, size_t size, struct mro_error *e)
{
    if (r->n == MRO_GPU_ROOM) return MRO_FAIL(e, MRO_EINTERNAL, "more than %d buffers in one primitive", MRO_GPU_ROOM);
    if (size && count > SIZE_MAX / size) return MRO_FAIL(e, MRO_EMEMORY, "%zu items of %zu bytes", count, size);
    struct mro_buffer *b = &r->b[r->n];
    MRO_TRY(r->d->ops->alloc(r->d, b, count * size, e));
    r->n++;
    memcpy(p, &b->p, sizeof b->p); /* any kind of pointer */
    return MRO_OK;
}

enum mro_code mro_gpu_give(struct mro_gpu_room *r, void *p, const void *host, size_t count, size_t size,
                           struct mro_error *e)
{
    MRO_TRY(mro_gpu_take(r, p, count, size, e));
    return r->d->ops->upload(r->d, &r->b[r->n - 1], host, count * size, e);
}

enum mro_code mro_gpu_fetch(struct mro_device *d, void *host, const void *p, size_t bytes, struct mro_error *e)
{
    const struct mro_buffer view = { (void *)(uintptr_t)p, bytes };
    return d->ops->download(d, host, &view, bytes, e);
}

void mro_gpu_room_release(struct mro_gpu_room *r)
{
    while (r->n) r->d->ops->release(r->d, &r->b[--r->n]);
}

enum mro_code mro_gpu_transform(struct mro_device *d, enum mro_transform_kind kind, size_t ny, size_t nx, size_t batch,
                                void *in, void *out, struct mro_error *e)
{
    const struct mro_transform t = { kind, ny, nx, batch };
    return d->ops->runtime->transform(d, &t, in, out, e);
}

enum mro_code mro_gpu_halving(enum mro_code (*run)(void *context, size_t batch, struct mro_error *e), void *context,
                              size_t wanted, struct mro_error *e)
{
    for (size_t batch = wanted;; batch = (batch + 1) / 2) {
        const enum mro_code rc = run(context, batch, e);
        if (rc != MRO_EMEMORY || batch <= 1) return rc;
    }
}

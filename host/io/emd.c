/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EMD: two formats of one name, both in HDF5 (emd_velox.c, emd_berkeley.c). Here: which one a file is of, and reading
 * its images. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "io/emd.h"

#define MAX_CACHE ((size_t)512 << 20) /* of frames unpacked ahead */
#define TOGETHER 16                   /* interleaved frames taken apart at a time: each is a stream of writes */

/* ---- reading ---- */

static struct mro_h5_box frame_box(const struct mro_h5_dataset *d, const struct emd_image *im, size_t frame)
{
    struct mro_h5_box box = { .n = { 0 } };
    for (unsigned i = im->rank; i-- > 0;) {
        const unsigned axis = box.order[i] = im->order[i];
        box.n[axis] = d->shape[axis];
        if (i >= im->lead) continue;
        box.n[axis] = 1;
        box.from[axis] = frame % d->shape[axis];
        frame /= (size_t)d->shape[axis];
    }
    return box;
}

/* How many frames from `frame` on are best unpacked at once: all that lie interleaved in the same chunks, and, when
 * frames are read in order and one has fewer chunks than there are threads, as many as keep the threads busy. */
static size_t frames_together(const struct mro_file *f, const struct emd_image *im, size_t image, size_t frame)
{
    const struct emd_state *s = f->state;
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    if (im->lead == 0 || (d->layout != MRO_H5_CHUNKED && d->layout != MRO_H5_CONTIGUOUS)) return 1;
    const unsigned axis = im->order[im->lead - 1];
    const size_t in_axis = (size_t)(frame % d->shape[axis]), left = (size_t)d->shape[axis] - in_axis;
    const size_t thick = (size_t)d->chunk[axis], threads = (size_t)omp_get_max_threads();
    size_t n = thick - in_axis % thick, chunks = 1;
    for (unsigned i = im->lead; i < im->rank; i++) chunks *= (size_t)d->grid[im->order[i]];
    if (d->filters == 0) {
        /* Nothing to unpack: only frames whose pixels lie between each other's gain. */
        const bool interleaved = axis > im->order[im->rank - 1];
        n = interleaved && n > 1 ? (n < TOGETHER ? n : TOGETHER) : 1;
    } else if (chunks < threads && (frame == 0 || (s->cache.last_image == image && s->cache.last_frame == frame - 1))) {
        const size_t slabs = (threads + chunks - 1) / chunks;
        n += (slabs - 1) * thick;
    }
    const size_t room = (f->memory_bytes / 4 < MAX_CACHE ? f->memory_bytes / 4 : MAX_CACHE) / im->frame_bytes;
    if (n > left) n = left;
    if (n > room) n = room;
    return n > 0 ? n : 1;
}

static enum mro_code emd_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct emd_image *im = &s->image[image];
    switch (im->what) {
    case EMD_SPECTRUM_IMAGE: return mro_eds_read_row(s->stream, frame, out, e);
    case EMD_SUM_SPECTRUM: return mro_eds_read_spectrum(s->stream, out, e);
    case EMD_TOTAL_COUNTS: return mro_eds_read_total(s->stream, out, e);
    case EMD_ARRAY: break;
    }
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    struct mro_h5_box box = frame_box(d, im, frame);
    const bool cached =
        s->cache.n > 0 && s->cache.of == image && frame >= s->cache.first && frame - s->cache.first < s->cache.n;
    if (!cached) {
        const size_t n = frames_together(f, im, image, frame);
        s->cache.n = 0;
        if (n <= 1) {
            MRO_TRY(mro_h5_read(&s->h5, im->node, &box, out, f->memory_bytes / 2, e));
            goto done;
        }
        if (s->cache.room < n * im->frame_bytes) {
            free(s->cache.bytes);
            s->cache.room = n * im->frame_bytes;
            s->cache.bytes = malloc(s->cache.room);
            if (s->cache.bytes == NULL) {
                s->cache.room = 0;
                return MRO_FAIL(e, MRO_EMEMORY, "no memory for %zu frames of '%s'", n, f->name);
            }
        }
        box.n[im->order[im->lead - 1]] = n;
        MRO_TRY(mro_h5_read(&s->h5, im->node, &box, s->cache.bytes, f->memory_bytes / 2, e));
        s->cache.of = image;
        s->cache.first = frame;
        s->cache.n = n;
    }
    memcpy(out, s->cache.bytes + (frame - s->cache.first) * im->frame_bytes, im->frame_bytes);
done:
    s->cache.last_image = image;
    s->cache.last_frame = frame;
    return MRO_OK;
}

static bool emd_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    const struct emd_state *s = f->state;
    const struct emd_image *im = &s->image[image];
    if (im->what != EMD_ARRAY) return false;
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    const struct mro_h5_box box = frame_box(d, im, frame);
    *p = mro_h5_view(&s->h5, im->node, &box);
    *big_endian = d->type.big_endian;
    return *p != NULL;
}

static void emd_close(struct mro_file *f)
{
    struct emd_state *s = f->state;
    mro_eds_stream_release(s->stream);
    mro_h5_release(&s->h5);
    free(s->image);
    free(s->cache.bytes);
    free(s->label);
    free(s);
    f->state = NULL;
}

static enum mro_code emd_open(struct mro_file *f, struct mro_error *e);

static bool emd_probe(struct mro_bytes b) { return mro_h5_probe(b); }

static struct mro_eds_stream *emd_stream(struct mro_file *f) { return ((struct emd_state *)f->state)->stream; }

static const struct mro_reader reader_velox = {
    .name = "Velox EMD",
    .probe = emd_probe,
    .open = emd_open,
    .read = emd_read,
    .view = emd_view,
    .stream = emd_stream,
    .close = emd_close,
};

const struct mro_reader mro_reader_emd = {
    .name = "EMD", .probe = emd_probe, .open = emd_open, .read = emd_read, .view = emd_view, .close = emd_close
};

static enum mro_code emd_open(struct mro_file *f, struct mro_error *e)
{
    struct emd_state *s = calloc(1, sizeof *s);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    f->state = s; /* freed by emd_close */
    MRO_TRY(mro_h5_open(&s->h5, f, e));
    bool any = false;
    if (mro_emd_is_velox(s)) {
        any = true;
        f->reader = &reader_velox;
        MRO_TRY(mro_emd_open_velox(f, e));
    } else {
        MRO_TRY(mro_emd_open_berkeley(f, &any, e));
    }
    free(s->label);
    s->label = NULL;
    s->labels = 0;
    if (f->images > 0) return MRO_OK;
    if (s->first.code != MRO_OK) {
        if (e != NULL) *e = s->first;
        return s->first.code;
    }
    if (any) return MRO_FAIL(e, MRO_EFORMAT, "'%s' is an EMD file that holds no image and no spectrum", f->name);
    return MRO_FAIL(e, MRO_EFORMAT,
                    "'%s' is an HDF5 file, but no EMD: it has neither the groups of Velox nor one with emd_group_type",
                    f->name);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Arrays of HDF5 (see io/hdf5.h), read out of the mapping: boxes of what lies there as it is, or in chunks. The HDF5
 * library is never called here. */
#include "io/hdf5.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/first_error.h"
#include "io/deflate.h"

enum { FILTER_DEFLATE = 1, FILTER_SHUFFLE = 2, FILTER_FLETCHER32 = 3 }; /* numbers of the format */

/* ---- chunks ---- */

/* Undoes the shuffle of bytes: all first bytes of the elements, then all second ones. A rest is left as it is. */
static void unshuffle(unsigned char *restrict to, const unsigned char *restrict from, size_t bytes, size_t element)
{
    const size_t n = bytes / element;
    if (element == 2) {
        for (size_t i = 0; i < n; i++) {
            to[2 * i] = from[i];
            to[2 * i + 1] = from[n + i];
        }
    } else if (element == 4) {
        for (size_t i = 0; i < n; i++) {
            to[4 * i] = from[i];
            to[4 * i + 1] = from[n + i];
            to[4 * i + 2] = from[2 * n + i];
            to[4 * i + 3] = from[3 * n + i];
        }
    } else {
        for (size_t k = 0; k < element; k++)
            for (size_t i = 0; i < n; i++) to[i * element + k] = from[k * n + i];
    }
    memcpy(to + n * element, from + n * element, bytes - n * element);
}

/* Bytes of scratch that unpacking one chunk needs. */
static size_t scratch_bytes(const struct mro_h5_dataset *d, size_t chunk_bytes)
{
    size_t n = 0;
    for (unsigned i = 0; i < d->filters; i++) n += d->filter[i] != FILTER_FLETCHER32;
    return n == 0 ? 0 : (n > 1 ? 2 : 1) * (chunk_bytes + 4);
}

/* Unpacks a stored chunk into `scratch` (or leaves it where it lies) and gives its address; NULL when it is broken. */
static const unsigned char *unpack(const struct mro_file *f, const struct mro_h5_dataset *d,
                                   const struct mro_h5_chunk *c, size_t chunk_bytes, struct mro_inflater *inflater,
                                   unsigned char *scratch)
{
    const unsigned char *p = f->bytes.p + c->address;
    size_t n = (size_t)c->bytes;
    unsigned char *next = scratch;
    /* How long the data is after each filter: a checksum adds 4 bytes, shuffling none. Deflate is told how much must
     * come out, which is the chunk and the checksums below it. */
    for (unsigned i = d->filters; i-- > 0;) {
        if (c->mask >> i & 1) continue;
        if (d->filter[i] == FILTER_FLETCHER32) {
            if (n < 4) return NULL;
            n -= 4;
            continue;
        }
        unsigned char *to = next;
        next = next == scratch ? scratch + chunk_bytes + 4 : scratch;
        if (d->filter[i] == FILTER_SHUFFLE) {
            if (n > chunk_bytes + 4) return NULL;
            unshuffle(to, p, n, d->type.bytes);
        } else {
            size_t want = chunk_bytes;
            for (unsigned k = 0; k < i; k++)
                if (d->filter[k] == FILTER_FLETCHER32 && !(c->mask >> k & 1)) want += 4;
            if (want > chunk_bytes + 4 || !mro_inflate(inflater, to, want, p, n)) return NULL;
            n = want;
        }
        p = to;
    }
    return n == chunk_bytes ? p : NULL;
}

/* ---- boxes ---- */

/* What of a chunk goes where: axes from the one that changes slowest in the chunk, but for the output's fastest. */
struct copy {
    unsigned axes;
    size_t n[MRO_H5_RANK];
    size_t from_step[MRO_H5_RANK], to_step[MRO_H5_RANK]; /* in elements */
    size_t from, to;                                     /* first element */
};

#define COPY_STRIDED(type)                                      \
    do {                                                        \
        const type *a = (const type *)(const void *)from;       \
        type *b = (type *)(void *)to;                           \
        for (size_t i = 0; i < n; i++) b[i] = a[i * from_step]; \
    } while (0)

struct pair64 {
    uint64_t a, b;
};

/* n elements into consecutive places. Elements of a mapped file need not be aligned. */
static void copy_run(unsigned char *to, const unsigned char *from, size_t n, size_t from_step, size_t to_step,
                     size_t bytes)
{
    if (to_step != 1 && n > 1) { /* the output's fastest axis has one sample here, but more elsewhere */
        for (size_t i = 0; i < n; i++) memcpy(to + i * to_step * bytes, from + i * from_step * bytes, bytes);
        return;
    }
    if (from_step == 1 || n == 1) {
        memcpy(to, from, n * bytes);
        return;
    }
    const bool aligned = (((uintptr_t)to | (uintptr_t)from) & (bytes < 8 ? bytes - 1 : 7)) == 0;
    if (bytes == 1)
        COPY_STRIDED(uint8_t);
    else if (bytes == 2 && aligned)
        COPY_STRIDED(uint16_t);
    else if (bytes == 4 && aligned)
        COPY_STRIDED(uint32_t);
    else if (bytes == 8 && aligned)
        COPY_STRIDED(uint64_t);
    else if (bytes == 16 && aligned)
        COPY_STRIDED(struct pair64);
    else
        for (size_t i = 0; i < n; i++) memcpy(to + i * bytes, from + i * from_step * bytes, bytes);
}

static void copy_box(const struct copy *c, unsigned char *to, const unsigned char *from, size_t bytes)
{
    const unsigned inner = c->axes - 1;
    size_t at[MRO_H5_RANK] = { 0 }, a = c->from, b = c->to;
    while (true) {
        copy_run(to + b * bytes, from + a * bytes, c->n[inner], c->from_step[inner], c->to_step[inner], bytes);
        unsigned k = inner;
        while (k-- > 0) {
            a += c->from_step[k];
            b += c->to_step[k];
            if (++at[k] < c->n[k]) break;
            a -= c->n[k] * c->from_step[k];
            b -= c->n[k] * c->to_step[k];
            at[k] = 0;
        }
        if (k == UINT32_MAX) return;
    }
}

/* The same, large boxes by all threads: each takes a piece of the axis that changes slowest. */
static void copy_in_parts(const struct copy *c, unsigned char *to, const unsigned char *from, size_t bytes,
                          size_t elements)
{
    const ptrdiff_t parts = c->axes < 2 || elements < 1 << 18 ? 1 : (ptrdiff_t)(c->n[0] < 64 ? c->n[0] : 64);
#pragma omp parallel for schedule(static) if (parts > 1)
    for (ptrdiff_t i = 0; i < parts; i++) {
        struct copy part = *c;
        const size_t begin = c->n[0] * (size_t)i / (size_t)parts, end = c->n[0] * ((size_t)i + 1) / (size_t)parts;
        part.n[0] = end - begin;
        part.from += begin * c->from_step[0];
        part.to += begin * c->to_step[0];
        copy_box(&part, to, from, bytes);
    }
}

/* Sets up the copy of what `box` has of the chunk at `place` of the grid. Axes of one sample are left out, so that the
 * innermost loop is a long one. */
static struct copy plan_copy(const struct mro_h5_dataset *d, const struct mro_h5_box *box, const uint64_t *place)
{
    struct copy c = { 0 };
    size_t from_step[MRO_H5_RANK] = { 0 }, to_step[MRO_H5_RANK] = { 0 }, n[MRO_H5_RANK] = { 0 }, s = 1;
    for (unsigned i = d->rank; i-- > 0;) {
        from_step[i] = s;
        s *= (size_t)d->chunk[i];
    }
    s = 1;
    for (unsigned i = d->rank; i-- > 0;) {
        to_step[box->order[i]] = s;
        s *= (size_t)box->n[box->order[i]];
    }
    unsigned fastest = box->order[d->rank - 1];
    bool found = false;
    for (unsigned k = d->rank; k-- > 0;) {
        const unsigned i = box->order[k];
        const uint64_t chunk_from = place[i] * d->chunk[i], chunk_to = chunk_from + d->chunk[i];
        const uint64_t box_to = box->from[i] + box->n[i];
        const uint64_t from = chunk_from > box->from[i] ? chunk_from : box->from[i];
        n[i] = (size_t)((chunk_to < box_to ? chunk_to : box_to) - from);
        c.from += (size_t)(from - chunk_from) * from_step[i];
        c.to += (size_t)(from - box->from[i]) * to_step[i];
        if (n[i] > 1 && !found) {
            fastest = i;
            found = true;
        }
    }
    for (unsigned i = 0; i <= d->rank; i++) { /* those that change slowest in the chunk first, the fastest last */
        const unsigned axis = i < d->rank ? i : fastest;
        if (i < d->rank && (i == fastest || n[i] == 1)) continue;
        c.n[c.axes] = n[axis];
        c.from_step[c.axes] = from_step[axis];
        c.to_step[c.axes++] = to_step[axis];
    }
    return c;
}

static const unsigned char *inline_or_mapped(const struct mro_h5 *h, const struct mro_h5_dataset *d)
{
    return d->layout == MRO_H5_INLINE ? d->inline_bytes : h->f->bytes.p + d->list[0].address;
}

static void swap_in_place(void *p, size_t elements, const struct mro_h5_type *t)
{
    const size_t parts = t->class == MRO_H5_PAIR ? 2 : 1;
    mro_copy_samples(p, p, elements * parts, t->bytes / parts, t->big_endian);
}

static enum mro_code does_not_unpack(const struct mro_h5 *h, uint32_t node, size_t index, struct mro_error *e)
{
    char path[256];
    mro_h5_path(h, node, path, sizeof path);
    return MRO_FAIL(e, MRO_EFORMAT, "'%s': chunk %zu of the dataset '%s' (byte %llu of the file) does not unpack",
                    h->f->name, index, path, (unsigned long long)h->node[node].data->list[index].address);
}

static enum mro_code read_chunks(const struct mro_h5 *h, uint32_t node, const struct mro_h5_box *box, void *out,
                                 size_t memory, struct mro_error *e)
{
    const struct mro_h5_dataset *d = h->node[node].data;
    size_t chunk_bytes, count = 1;
    uint64_t first[MRO_H5_RANK], across[MRO_H5_RANK];
    char path[256];
    if (!mro_h5_array_bytes(d, d->chunk, &chunk_bytes) || chunk_bytes > SIZE_MAX / 4) {
        mro_h5_path(h, node, path, sizeof path);
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': the dataset '%s' has chunks too large to address", h->f->name, path);
    }
    for (unsigned i = 0; i < d->rank; i++) {
        first[i] = box->from[i] / d->chunk[i];
        across[i] = (box->from[i] + box->n[i] - 1) / d->chunk[i] - first[i] + 1;
        count *= (size_t)across[i]; /* no more than there are chunks */
    }
    const size_t scratch = scratch_bytes(d, chunk_bytes);
    size_t threads = (size_t)omp_get_max_threads();
    if (threads > count) threads = count;
    if (scratch == 0 && chunk_bytes < 1 << 20) threads = 1; /* a copy is done before other threads have woken */
    if (scratch > 0 && threads > memory / scratch) threads = memory / scratch;
    if (threads == 0)
        return MRO_FAIL(e, MRO_EMEMORY,
                        "a chunk of '%s' needs %.0f MiB to unpack, the memory budget is %.0f MiB; give a larger "
                        "`memory`",
                        h->f->name, (double)scratch / 1048576, (double)memory / 1048576);
    struct mro_first_error failed = { 0 };
#pragma omp parallel num_threads((int)threads) if (threads > 1)
    {
        unsigned char *own = malloc(scratch > 0 ? scratch : 1);
        struct mro_inflater *inflater = scratch > 0 ? mro_inflater_new() : NULL;
        const bool ready = own != NULL && (inflater != NULL || scratch == 0);
#pragma omp for schedule(dynamic)
        for (ptrdiff_t j = 0; j < (ptrdiff_t)count; j++) {
            uint64_t place[MRO_H5_RANK] = { 0 };
            size_t rest = (size_t)j, index = 0;
            for (unsigned i = d->rank; i-- > 0;) {
                place[i] = first[i] + rest % across[i];
                rest /= (size_t)across[i];
            }
            for (unsigned i = 0; i < d->rank; i++) index = index * (size_t)d->grid[i] + (size_t)place[i];
            const struct mro_h5_chunk *chunk = &d->list[index];
            if (chunk->address == UINT64_MAX) continue; /* filled below */
            const unsigned char *p = ready ? unpack(h->f, d, chunk, chunk_bytes, inflater, own) : NULL;
            if (p != NULL) {
                const struct copy c = plan_copy(d, box, place);
                copy_box(&c, out, p, d->type.bytes);
            } else {
                struct mro_error mine;
                mro_first_keep(&failed, index,
                               ready ? does_not_unpack(h, node, index, &mine)
                                     : MRO_FAIL(&mine, MRO_EMEMORY, "no memory to unpack '%s'", h->f->name),
                               &mine);
            }
        }
        mro_inflater_free(inflater);
        free(own);
    }
    return mro_first_code(&failed, e);
}

/* Writes the fill value over the whole output; chunks that were never written leave it there. */
static void fill_output(const struct mro_h5_dataset *d, unsigned char *out, size_t elements)
{
    bool zero = true;
    for (size_t i = 0; i < d->type.bytes; i++) zero = zero && d->fill[i] == 0;
    if (zero)
        memset(out, 0, elements * d->type.bytes);
    else
        for (size_t i = 0; i < elements; i++) memcpy(out + i * d->type.bytes, d->fill, d->type.bytes);
}

enum mro_code mro_h5_read(const struct mro_h5 *h, uint32_t node, const struct mro_h5_box *box, void *out, size_t memory,
                          struct mro_error *e)
{
    const struct mro_h5_dataset *d = h->node[node].data;
    const char *wrong = NULL;
    size_t elements = 1;
    if (d->layout == MRO_H5_REFUSED)
        wrong = d->refused;
    else if (d->type.bytes == 0 || d->type.bytes > sizeof d->fill || d->type.class >= MRO_H5_UNKNOWN ||
             d->type.class == MRO_H5_TEXT)
        wrong = "holds no numbers of a known type";
    for (unsigned i = 0; i < d->rank && wrong == NULL; i++) {
        if (box->n[i] == 0 || box->from[i] >= d->shape[i] || box->n[i] > d->shape[i] - box->from[i])
            wrong = "is asked for values outside its shape";
        elements *= (size_t)box->n[i];
    }
    if (wrong != NULL) {
        char path[256];
        mro_h5_path(h, node, path, sizeof path);
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': the dataset '%s' %s", h->f->name, path, wrong);
    }
    if (d->layout == MRO_H5_EMPTY || (d->layout == MRO_H5_CHUNKED && d->chunks_stored < d->chunks))
        fill_output(d, out, elements);
    if (d->layout == MRO_H5_INLINE && d->rank == 0) {
        memcpy(out, d->inline_bytes, d->type.bytes);
    } else if (d->layout == MRO_H5_INLINE || (d->layout == MRO_H5_CONTIGUOUS && d->rank > 0)) {
        static const uint64_t origin[MRO_H5_RANK] = { 0 };
        struct mro_h5_dataset whole = *d;
        for (unsigned i = 0; i < d->rank; i++) whole.chunk[i] = d->shape[i];
        const struct copy c = plan_copy(&whole, box, origin);
        copy_in_parts(&c, out, inline_or_mapped(h, d), d->type.bytes, elements);
    } else if (d->layout == MRO_H5_CONTIGUOUS) {
        memcpy(out, inline_or_mapped(h, d), d->type.bytes);
    } else if (d->layout == MRO_H5_CHUNKED) {
        MRO_TRY(read_chunks(h, node, box, out, memory, e));
    }
    swap_in_place(out, elements, &d->type);
    return MRO_OK;
}

const unsigned char *mro_h5_view(const struct mro_h5 *h, uint32_t node, const struct mro_h5_box *box)
{
    const struct mro_h5_dataset *d = h->node[node].data;
    uint64_t place[MRO_H5_RANK];
    size_t index = 0;
    if (d->rank == 0 || d->filters > 0 || (d->layout != MRO_H5_CONTIGUOUS && d->layout != MRO_H5_CHUNKED)) return NULL;
    for (unsigned i = 0; i < d->rank; i++) {
        if (d->chunk[i] == 0 || box->n[i] == 0) return NULL;
        place[i] = box->from[i] / d->chunk[i];
        if ((box->from[i] + box->n[i] - 1) / d->chunk[i] != place[i]) return NULL;
        index = index * (size_t)d->grid[i] + (size_t)place[i];
    }
    if (d->list[index].address == UINT64_MAX) return NULL;
    const struct copy c = plan_copy(d, box, place);
    for (unsigned i = 0; i < c.axes; i++)
        if (c.n[i] > 1 && c.from_step[i] != c.to_step[i]) return NULL;
    return h->f->bytes.p + d->list[index].address + c.from * d->type.bytes;
}

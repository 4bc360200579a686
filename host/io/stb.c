/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/stb.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Every block is preceded by its size; 16 bytes keep the alignment of malloc. */
#define BLOCK_HEAD 16

static _Thread_local struct {
    size_t used, limit;
    bool refused;
} heap;

static void *counted_malloc(size_t size)
{
    if (size > SIZE_MAX - BLOCK_HEAD || size > heap.limit - heap.used) {
        heap.refused = true;
        return NULL;
    }
    /* Zeroed: what a file leaves unsaid must be the same on every run. */
    unsigned char *p = calloc(1, size + BLOCK_HEAD);
    if (p == NULL) return NULL;
    memcpy(p, &size, sizeof size);
    heap.used += size;
    return p + BLOCK_HEAD;
}

static void counted_free(void *block)
{
    if (block == NULL) return;
    unsigned char *p = (unsigned char *)block - BLOCK_HEAD;
    size_t size;
    memcpy(&size, p, sizeof size);
    heap.used -= size;
    free(p);
}

static void *counted_realloc(void *block, size_t size)
{
    if (block == NULL) return counted_malloc(size);
    unsigned char *p = (unsigned char *)block - BLOCK_HEAD;
    size_t old;
    memcpy(&old, p, sizeof old);
    /* Both blocks may exist while the contents move. */
    if (size > SIZE_MAX - BLOCK_HEAD || size > heap.limit - heap.used) {
        heap.refused = true;
        return NULL;
    }
    /* cppcheck-suppress memleakOnRealloc ; on failure the caller keeps and frees the block */
    p = realloc(p, size + BLOCK_HEAD);
    if (p == NULL) return NULL;
    memcpy(p, &size, sizeof size);
    heap.used += size - old;
    return p + BLOCK_HEAD;
}

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS (1 << 20)
#define STBI_MALLOC(size) counted_malloc(size)
#define STBI_REALLOC(p, size) counted_realloc(p, size)
#define STBI_FREE(p) counted_free(p)
#define STBI_ASSERT(x) ((void)0)
/* Not undone after the include: unused functions are told at the end of the file. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image.h>

size_t mro_stb_memory(const struct mro_file *f, const struct mro_image_info *info)
{
    const size_t pixels = info->axis[0].size * info->axis[1].size;
    const size_t frame = pixels * (mro_dtype_size(info->dtype) + sizeof(float));
    return f->memory_bytes > frame ? f->memory_bytes - frame : 0;
}

enum mro_code mro_stb_decode(struct mro_file *f, struct mro_bytes b, size_t nx, size_t ny, int channels, bool wide,
                             size_t memory, void *out, struct mro_error *e)
{
    int w = 0, h = 0, n = 0;
    if (b.size > INT_MAX)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': a %s file of %zu bytes is too large (at most %d are read)", f->name,
                        f->reader->name, b.size, INT_MAX);
    heap.used = 0;
    heap.limit = memory;
    heap.refused = false;
    void *px = wide ? (void *)stbi_load_16_from_memory(b.p, (int)b.size, &w, &h, &n, channels)
                    : (void *)stbi_load_from_memory(b.p, (int)b.size, &w, &h, &n, channels);
    enum mro_code rc = MRO_OK;
    if (px == NULL && heap.refused)
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s': the %s image of %zu x %zu pixels needs more than %.0f MiB to unpack",
                      f->name, f->reader->name, nx, ny, (double)memory / 1048576);
    else if (px == NULL)
        rc = MRO_FAIL(e, MRO_EFORMAT, "'%s': the pixels of the %s image cannot be unpacked (%s)", f->name,
                      f->reader->name, stbi_failure_reason() ? stbi_failure_reason() : "no reason given");
    else if ((size_t)w != nx || (size_t)h != ny)
        rc = MRO_FAIL(e, MRO_EFORMAT, "'%s': unpacks to %d x %d pixels where its header says %zu x %zu", f->name, w, h,
                      nx, ny);
    else
        memcpy(out, px, nx * ny * (size_t)channels * (wide ? 2 : 1));
    counted_free(px);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Builds uncompressed TIFF files in memory, in either byte order, classic or BigTIFF, so that tests need
 * no file for each combination. Grows as needed; no checks: what it is told to write may be nonsense. */
#ifndef TIFF_BUILD_H
#define TIFF_BUILD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/file.h"

struct tiff_build {
    unsigned char *p;
    size_t size, room;
    bool big_endian, big_tiff;
    size_t link; /* where the offset of the next directory goes */
};

struct tiff_build_page {
    uint32_t nx, ny;
    uint16_t bits, format, samples, photometric;
    bool separate;               /* planes one after the other */
    uint32_t rows_per_strip;     /* 0 = all rows */
    uint32_t tile;               /* > 0: tiles of that edge instead of strips */
    size_t gap;                  /* bytes between strips */
    const char *description;     /* NULL = none */
    uint32_t resolution[4];      /* x num, x den, y num, y den; x den 0 = none */
    uint16_t extra_sample;       /* ExtraSamples of one value; 0xffff = none */
    const uint16_t *palette;     /* 3 << bits values */
    uint16_t orientation;        /* 0 = none */
    uint32_t subfile;            /* 0 = none */
    const unsigned char *pixels; /* samples in native order, planes of `separate` after each other */
};

static inline void tb_room(struct tiff_build *b, size_t more)
{
    if (b->size + more <= b->room) return;
    b->room = 2 * (b->size + more) + 256;
    b->p = realloc(b->p, b->room);
    if (b->p == NULL) abort();
}

/* Appends n values of `size` bytes, turned to the byte order of the file. */
static inline void tb_put(struct tiff_build *b, const void *values, size_t n, size_t size)
{
    const bool swap = b->big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
    tb_room(b, n * size);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < size; k++)
            b->p[b->size++] = ((const unsigned char *)values)[i * size + (swap ? size - 1 - k : k)];
}

static inline void tb_zeros(struct tiff_build *b, size_t n)
{
    tb_room(b, n);
    memset(b->p + b->size, 0, n);
    b->size += n;
}

static inline void tb_offset(struct tiff_build *b, uint64_t v)
{
    const uint32_t v32 = (uint32_t)v;
    b->big_tiff ? tb_put(b, &v, 1, 8) : tb_put(b, &v32, 1, 4);
}

static inline void tb_begin(struct tiff_build *b, bool big_endian, bool big_tiff)
{
    const uint16_t magic = big_tiff ? 43 : 42, sizes[2] = { 8, 0 };
    memset(b, 0, sizeof *b);
    b->big_endian = big_endian;
    b->big_tiff = big_tiff;
    tb_room(b, 64);
    memcpy(b->p, big_endian ? "MM" : "II", 2);
    b->size = 2;
    tb_put(b, &magic, 1, 2);
    if (big_tiff) tb_put(b, sizes, 2, 2);
    b->link = b->size;
    tb_offset(b, 0);
}

struct tb_entry {
    uint16_t tag, type;
    uint64_t count;
    const void *values;
};

static inline void tb_page(struct tiff_build *b, const struct tiff_build_page *s)
{
    const size_t sample = s->bits / 8, planes = s->separate ? s->samples : 1;
    /* Complex numbers are swapped by halves. */
    const size_t unit = s->format == 6 ? sample / 2 : sample;
    const size_t pixel = sample * (s->separate ? 1 : s->samples), row = pixel * s->nx;
    const uint32_t rows = s->rows_per_strip ? s->rows_per_strip : s->ny;
    const size_t across = s->tile ? (s->nx + s->tile - 1) / s->tile : 1;
    const size_t down = s->tile ? (s->ny + s->tile - 1) / s->tile : (s->ny + rows - 1) / rows;
    const size_t n = planes * across * down;
    uint64_t *offsets = calloc(n, 8), *counts = calloc(n, 8);
    if (offsets == NULL || counts == NULL) abort();
    for (size_t i = 0; i < n; i++) {
        const size_t plane = i / (across * down), k = i % (across * down);
        const unsigned char *from = s->pixels + plane * row * s->ny;
        tb_zeros(b, i ? s->gap : 0);
        offsets[i] = b->size;
        if (s->tile) {
            const size_t x0 = k % across * s->tile, y0 = k / across * s->tile;
            for (size_t y = y0; y < y0 + s->tile; y++) {
                const size_t have = y >= s->ny ? 0 : s->nx - x0 < s->tile ? s->nx - x0 : s->tile;
                if (have) tb_put(b, from + y * row + x0 * pixel, have * pixel / unit, unit);
                tb_zeros(b, (s->tile - have) * pixel);
            }
        } else {
            const size_t y0 = k * rows, y1 = y0 + rows < s->ny ? y0 + rows : s->ny;
            tb_put(b, from + y0 * row, (y1 - y0) * row / unit, unit);
        }
        counts[i] = b->size - offsets[i];
    }
    tb_zeros(b, b->size & 1);

    const uint16_t one = 1, planar = s->separate ? 2 : 1;
    const uint16_t offset_type = b->big_tiff ? 16 : 4;
    uint16_t bits[16], formats[16];
    for (int i = 0; i < 16; i++) bits[i] = s->bits, formats[i] = s->format;
    struct tb_entry e[24];
    size_t m = 0;
    if (s->subfile) e[m++] = (struct tb_entry){ 254, 4, 1, &s->subfile };
    e[m++] = (struct tb_entry){ 256, 4, 1, &s->nx };
    e[m++] = (struct tb_entry){ 257, 4, 1, &s->ny };
    e[m++] = (struct tb_entry){ 258, 3, s->samples, bits };
    e[m++] = (struct tb_entry){ 259, 3, 1, &one };
    e[m++] = (struct tb_entry){ 262, 3, 1, &s->photometric };
    if (s->description) e[m++] = (struct tb_entry){ 270, 2, strlen(s->description) + 1, s->description };
    if (!s->tile) e[m++] = (struct tb_entry){ 273, offset_type, n, offsets };
    if (s->orientation) e[m++] = (struct tb_entry){ 274, 3, 1, &s->orientation };
    e[m++] = (struct tb_entry){ 277, 3, 1, &s->samples };
    if (!s->tile) e[m++] = (struct tb_entry){ 278, 4, 1, &rows };
    if (!s->tile) e[m++] = (struct tb_entry){ 279, offset_type, n, counts };
    if (s->resolution[1]) e[m++] = (struct tb_entry){ 282, 5, 1, s->resolution };
    if (s->resolution[1]) e[m++] = (struct tb_entry){ 283, 5, 1, s->resolution + 2 };
    e[m++] = (struct tb_entry){ 284, 3, 1, &planar };
    if (s->palette) e[m++] = (struct tb_entry){ 320, 3, (uint64_t)3 << s->bits, s->palette };
    if (s->tile) e[m++] = (struct tb_entry){ 322, 4, 1, &s->tile };
    if (s->tile) e[m++] = (struct tb_entry){ 323, 4, 1, &s->tile };
    if (s->tile) e[m++] = (struct tb_entry){ 324, offset_type, n, offsets };
    if (s->tile) e[m++] = (struct tb_entry){ 325, offset_type, n, counts };
    if (s->extra_sample != 0xffff) e[m++] = (struct tb_entry){ 338, 3, 1, &s->extra_sample };
    e[m++] = (struct tb_entry){ 339, 3, s->samples, formats };

    /* Values that do not fit into their entry go before the directory. */
    uint64_t where[24] = { 0 };
    const size_t inside = b->big_tiff ? 8 : 4;
    for (size_t i = 0; i < m; i++) {
        const size_t size = e[i].type == 2 ? 1 : e[i].type == 3 ? 2 : e[i].type == 4 ? 4 : 8;
        if (size * e[i].count <= inside) continue;
        tb_zeros(b, b->size & 1);
        where[i] = b->size;
        if (e[i].type == 5) /* a rational is two longs */
            tb_put(b, e[i].values, 2, 4);
        else if (e[i].type == 4 && (e[i].tag == 273 || e[i].tag == 279 || e[i].tag == 324 || e[i].tag == 325))
            for (size_t k = 0; k < e[i].count; k++) tb_offset(b, ((const uint64_t *)e[i].values)[k]);
        else
            tb_put(b, e[i].values, e[i].count, size);
    }
    tb_zeros(b, b->size & 1);
    const uint64_t ifd = b->size;
    const size_t end = b->size;
    b->size = b->link;
    tb_offset(b, ifd);
    b->size = end;
    const uint64_t m64 = m;
    const uint16_t m16 = (uint16_t)m;
    b->big_tiff ? tb_put(b, &m64, 1, 8) : tb_put(b, &m16, 1, 2);
    for (size_t i = 0; i < m; i++) {
        const uint32_t count = (uint32_t)e[i].count;
        tb_put(b, &e[i].tag, 1, 2);
        tb_put(b, &e[i].type, 1, 2);
        b->big_tiff ? tb_put(b, &e[i].count, 1, 8) : tb_put(b, &count, 1, 4);
        const size_t start = b->size;
        if (where[i]) {
            tb_offset(b, where[i]);
        } else if (e[i].tag == 273 || e[i].tag == 279 || e[i].tag == 324 || e[i].tag == 325) {
            tb_offset(b, *(const uint64_t *)e[i].values);
        } else if (e[i].type == 5) {
            tb_put(b, e[i].values, 2, 4);
        } else {
            const size_t size = e[i].type == 2 ? 1 : e[i].type == 3 ? 2 : 4;
            tb_put(b, e[i].values, e[i].count, size);
        }
        tb_zeros(b, start + inside - b->size);
    }
    b->link = b->size;
    tb_offset(b, 0);
    free(offsets);
    free(counts);
}

static inline void tb_free(struct tiff_build *b)
{
    free(b->p);
    memset(b, 0, sizeof *b);
}

/* Opens what was built. */
static inline struct mro_file *tb_open(const struct tiff_build *b)
{
    struct mro_file *f = NULL;
    struct mro_error e = { .code = MRO_OK };
    if (mro_file_open_memory(&f, b->p, b->size, "built.tif", 0, &e) != MRO_OK) fail_msg("%s", e.message);
    return f;
}

#endif

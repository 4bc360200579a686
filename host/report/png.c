/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/png.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "io/deflate.h"

static bool reserve(struct mro_sink *s, size_t n)
{
    if (s->failed || n > SIZE_MAX / 2 - s->n) {
        s->failed = true;
        return false;
    }
    if (s->n + n <= s->size) return true;
    size_t size = s->size ? s->size : 4096;
    while (size < s->n + n) size *= 2;
    char *p = realloc(s->p, size);
    if (p == NULL) {
        s->failed = true;
        return false;
    }
    s->p = p;
    s->size = size;
    return true;
}

void mro_sink_put(struct mro_sink *s, const void *bytes, size_t n)
{
    if (n == 0 || !reserve(s, n)) return;
    memcpy(s->p + s->n, bytes, n);
    s->n += n;
}

void mro_sink_text(struct mro_sink *s, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof line)
        s->failed = true;
    else
        mro_sink_put(s, line, (size_t)n);
}

static void put_u32(unsigned char *p, size_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static void chunk(struct mro_sink *s, const char *type, const unsigned char *data, size_t n)
{
    unsigned char word[4];
    if (n > 0x7fffffff) {
        s->failed = true;
        return;
    }
    put_u32(word, n);
    mro_sink_put(s, word, 4);
    mro_sink_put(s, type, 4);
    mro_sink_put(s, data, n);
    uLong crc = crc32(0, (const unsigned char *)type, 4);
    if (n > 0) crc = crc32(crc, data, (uInt)n);
    put_u32(word, crc);
    mro_sink_put(s, word, 4);
}

/* Filters a row three ways and returns the one whose bytes, taken as signed, are smallest: the rule of
 * thumb of the PNG specification. `try` holds 3 rows of n + 1 bytes. */
static const unsigned char *filter_row(const unsigned char *row, const unsigned char *up, size_t n, size_t step,
                                       unsigned char *try)
{
    unsigned char *none = try, *sub = try + n + 1, *above = sub + n + 1;
    size_t cost[3] = { 0 };
    none[0] = 0;
    sub[0] = 1;
    above[0] = 2;
    memcpy(none + 1, row, n);
    memcpy(sub + 1, row, step);
    for (size_t i = step; i < n; i++) sub[i + 1] = (unsigned char)(row[i] - row[i - step]);
    for (size_t i = 0; i < n; i++) above[i + 1] = (unsigned char)(row[i] - up[i]);
    for (int k = 0; k < 3; k++) {
        const unsigned char *p = try + (size_t)k * (n + 1) + 1;
        unsigned sum = 0;
        for (size_t i = 0; i < n; i++) sum += p[i] < 128 ? p[i] : 256u - p[i];
        cost[k] = sum;
    }
    return cost[1] < cost[0] ? (cost[2] < cost[1] ? above : sub) : (cost[2] < cost[0] ? above : none);
}

void mro_png_encode(struct mro_sink *out, const unsigned char *px, size_t ny, size_t nx, int channels, int level,
                    double dpi)
{
    const size_t step = (size_t)channels;
    if (nx > 0x7fffffff / step / 2 || ny > 0x7fffffff || (nx * step + 1) > (size_t)0xf0000000 / ny) {
        out->failed = true;
        return;
    }
    const size_t row = nx * step;
    unsigned char *filtered = malloc((row + 1) * ny), *work = calloc(4, row + 1), *packed = NULL;
    size_t n_packed = 0;
    if (filtered != NULL && work != NULL) {
        const unsigned char *zero_row = work + 3 * (row + 1);
        for (size_t y = 0; y < ny; y++)
            memcpy(filtered + y * (row + 1),
                   filter_row(px + y * row, y ? px + (y - 1) * row : zero_row, row, step, work), row + 1);
        packed = mro_deflate(filtered, (row + 1) * ny, level, &n_packed);
    }
    free(filtered);
    free(work);
    if (packed == NULL) {
        out->failed = true;
        return;
    }
    mro_sink_put(out, "\211PNG\r\n\032\n", 8);
    unsigned char head[13] = { 0 };
    put_u32(head, nx);
    put_u32(head + 4, ny);
    head[8] = 8;
    head[9] = channels == 1 ? 0 : channels == 3 ? 2 : 6;
    chunk(out, "IHDR", head, 13);
    if (dpi > 0) {
        unsigned char phys[9];
        put_u32(phys, (size_t)lround(dpi / 0.0254));
        put_u32(phys + 4, (size_t)lround(dpi / 0.0254));
        phys[8] = 1; /* per metre */
        chunk(out, "pHYs", phys, 9);
    }
    chunk(out, "IDAT", packed, n_packed);
    chunk(out, "IEND", NULL, 0);
    free(packed);
}

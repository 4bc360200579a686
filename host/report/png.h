/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PNG out of memory into memory, with its resolution. cairo's own writer knows no resolution, no grey
 * images and takes most of a figure's time. */
#ifndef MRO_REPORT_PNG_H
#define MRO_REPORT_PNG_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that grow. `{0}` is empty; `failed`: memory ran out, later bytes are dropped. Free p. */
struct mro_sink {
    char *p;
    size_t n, size;
    bool failed;
};
void mro_sink_put(struct mro_sink *s, const void *bytes, size_t n);
void mro_sink_text(struct mro_sink *s, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Appends a PNG of nx by ny pixels (both > 0) with `channels` 1 (grey), 3 (RGB) or 4 (RGBA) bytes per
 * pixel, rows tightly packed. `level` as in io/deflate.h, `dpi` 0 = not said. Trouble sets out->failed. */
void mro_png_encode(struct mro_sink *out, const unsigned char *px, size_t ny, size_t nx, int channels, int level,
                    double dpi);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Small pictures for pages: JPEG out of memory into memory. */
#ifndef MRO_REPORT_JPEG_H
#define MRO_REPORT_JPEG_H

#include <stddef.h>

#include "report/png.h"

/* Appends a baseline JPEG of nx by ny RGB pixels (rows tightly packed, sides up to 65535); quality 1 to 100. Trouble
 * sets out->failed. Any thread. */
void mro_jpeg_encode(struct mro_sink *out, const unsigned char *rgb, size_t ny, size_t nx, int quality);

#endif

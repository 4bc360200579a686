/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one door to stb_image, which unpacks PNG and JPEG. It trusts the counts of a file more than is good and knows no
 * budget, so the callers check the structure of the file first, and every allocation it makes is counted here. */
#ifndef MRO_IO_STB_H
#define MRO_IO_STB_H

#include "io/reader.h"

/* Decodes the picture in `b` into `out`: ny rows of nx pixels of `channels` samples (8 bits, or 16 in native order
 * when `wide`). At most `memory` bytes are held at a time besides `out`. Errors: MRO_EFORMAT (corrupt, or not of nx *
 * ny pixels), MRO_EMEMORY (more than `memory` is needed). */
enum mro_code mro_stb_decode(struct mro_file *f, struct mro_bytes b, size_t nx, size_t ny, int channels, bool wide,
                             size_t memory, void *out, struct mro_error *e);

/* What of the budget of `f` is left for decoding when a frame of `info` is handed out. */
size_t mro_stb_memory(const struct mro_file *f, const struct mro_image_info *info);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/jpeg.h"

#include <stdlib.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
/* Not undone after the include: unused functions are told at the end of the file. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image_write.h>

static void take(void *context, void *data, int size) { mro_sink_put(context, data, (size_t)size); }

void mro_jpeg_encode(struct mro_sink *out, const unsigned char *rgb, size_t ny, size_t nx, int quality)
{
    if (nx == 0 || ny == 0 || nx > 65535 || ny > 65535 ||
        !stbi_write_jpg_to_func(take, out, (int)nx, (int)ny, 3, rgb, quality))
        out->failed = true;
}

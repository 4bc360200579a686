/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Deflated data (RFC 1950, zlib) in one go, as strips of TIFF files, chunks of HDF5 and pixels of PNG are: by
 * libdeflate where the build has it, which is two to three times as fast, else by zlib. */
#ifndef MRO_IO_DEFLATE_H
#define MRO_IO_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

struct mro_inflater; /* for one thread at a time */

struct mro_inflater *mro_inflater_new(void); /* NULL: no memory */
void mro_inflater_free(struct mro_inflater *z);

/* Inflates the stream in the n bytes at `in` to exactly `want` bytes at `out` and checks its sum. False: it is broken,
 * cut or holds another number of bytes; then `out` holds anything. Bytes behind the stream are passed over. */
bool mro_inflate(struct mro_inflater *z, unsigned char *out, size_t want, const unsigned char *in, size_t n);

/* Deflates the n > 0 bytes at `in` to *n_out bytes; `level` from 1, fast, to 9, small. Free what it returns; NULL: no
 * memory. The same bytes wherever the same library deflates. */
unsigned char *mro_deflate(const unsigned char *in, size_t n, int level, size_t *n_out);

#endif

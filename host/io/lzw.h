/* SPDX-License-Identifier: GPL-3.0-or-later */
/* LZW as TIFF 6.0 has it (section 13): codes of 9 to 12 bits, the highest bit first, a code longer one code early. */
#ifndef MRO_IO_LZW_H
#define MRO_IO_LZW_H

#include <stdbool.h>
#include <stddef.h>

struct mro_lzw; /* its table; for one thread at a time */

struct mro_lzw *mro_lzw_new(void); /* NULL: no memory */
void mro_lzw_free(struct mro_lzw *z);

/* Decodes the n bytes at `in` to exactly `want` bytes at `out`; what the last string holds beyond, and what follows, is
 * passed over. False: they end too early, hold a code that means nothing, or do not begin by clearing the table, as
 * files from before TIFF 6.0 do not; then `out` holds anything. */
bool mro_lzw_decode(struct mro_lzw *z, unsigned char *out, size_t want, const unsigned char *in, size_t n);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A string of the table is one that was written before and the byte behind it, which was written then, too: the table
 * holds where in the output it stands. In noise strings have two or three bytes, so that what counts is how long a
 * code takes: one copy of 16 bytes, whatever the length. */
#include "io/lzw.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CLEAR = 256, END = 257, FIRST = 258, CODES = 4096, SHORTEST = 9, LONGEST = 12, BLOCK = 16 };

struct mro_lzw {
    const unsigned char *string[CODES];
    uint16_t length[CODES];
    unsigned char byte[CLEAR + BLOCK]; /* the strings of one byte, each with BLOCK to copy */
};

struct mro_lzw *mro_lzw_new(void)
{
    struct mro_lzw *z = calloc(1, sizeof *z);
    if (z == NULL) return NULL;
    for (unsigned i = 0; i < CLEAR; i++) {
        z->byte[i] = (unsigned char)i;
        z->string[i] = z->byte + i;
        z->length[i] = 1;
    }
    return z;
}

void mro_lzw_free(struct mro_lzw *z) { free(z); }

/* The bits of the stream, the next one highest. */
struct bits {
    uint64_t next;
    unsigned n;
    const unsigned char *in, *end;
};

static inline void refill(struct bits *b)
{
    if (b->end - b->in >= 8) {
        uint64_t v;
        memcpy(&v, b->in, sizeof v);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        v = __builtin_bswap64(v);
#endif
        b->next |= v >> b->n;
        b->in += (63 - b->n) >> 3;
        b->n |= 56;
        return;
    }
    for (; b->n <= 56 && b->in < b->end; b->n += 8) b->next |= (uint64_t)*b->in++ << (56 - b->n);
}

bool mro_lzw_decode(struct mro_lzw *z, unsigned char *out, size_t want, const unsigned char *in, size_t n)
{
    struct bits b = { .in = in, .end = in + n };
    unsigned char *const end = out + want;
    const unsigned char *last = NULL; /* the string before, NULL behind a code that clears */
    unsigned last_length = 0, free_code = FIRST, width = SHORTEST;
    bool cleared = false;
    while (out < end) {
        if (b.n < width) {
            refill(&b);
            if (b.n < width) return false;
        }
        const unsigned code = (unsigned)(b.next >> (64 - width));
        b.next <<= width;
        b.n -= width;
        if (code == CLEAR) {
            free_code = FIRST;
            width = SHORTEST;
            last = NULL;
            cleared = true;
            continue;
        }
        if (last != NULL) {
            if (free_code == CODES) return false;
            z->string[free_code] = last;
            z->length[free_code] = (uint16_t)(last_length + 1);
            if (++free_code == (1u << width) - 1 && width < LONGEST) width++;
        }
        if (code == END || code >= free_code || (last == NULL && (code > CLEAR || !cleared))) return false;
        const unsigned char *from = z->string[code];
        const unsigned length = z->length[code];
        if (length <= BLOCK && end - out >= BLOCK) {
            unsigned char block[BLOCK]; /* of which the end may be what is written over */
            memcpy(block, from, BLOCK);
            memcpy(out, block, BLOCK);
            /* The code that was just made: its last byte is its first, which was not there to be copied. */
            if (code + 1 == free_code && last != NULL) out[length - 1] = *from;
        } else {
            const size_t left = (size_t)(end - out), some = length < left ? length : left;
            for (size_t i = 0; i < some; i++) out[i] = from[i];
        }
        last = out;
        last_length = length;
        out += length < (size_t)(end - out) ? length : (size_t)(end - out);
    }
    return true;
}

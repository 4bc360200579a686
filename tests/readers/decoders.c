/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The decoders of LZW and deflate: what was encoded comes back; cut, broken and lying streams are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "io/deflate.h"
#include "io/lzw.h"

enum { MOST = 60000 };

/* ---- an encoder of LZW: plain, for small data ---- */

struct packed {
    unsigned char p[2 * MOST + 64];
    size_t bits;
};

static void put_code(struct packed *o, unsigned code, unsigned width)
{
    for (unsigned i = width; i-- > 0; o->bits++) {
        if (o->bits % 8 == 0) o->p[o->bits / 8] = 0;
        o->p[o->bits / 8] |= (unsigned char)((code >> i & 1) << (7 - o->bits % 8));
    }
}

static size_t bytes_of(const struct packed *o) { return (o->bits + 7) / 8; }

/* `end`: with the code that ends it. */
static void encode(struct packed *o, const unsigned char *in, size_t n, bool end)
{
    static uint16_t child[4096][256];
    unsigned next = 258, width = 9, string = in[0];
    memset(child, 0, sizeof child);
    o->bits = 0;
    put_code(o, 256, 9);
    for (size_t i = 1; i < n; i++) {
        if (child[string][in[i]]) {
            string = child[string][in[i]];
            continue;
        }
        put_code(o, string, width);
        child[string][in[i]] = (uint16_t)next++;
        if (next == 1u << width) width++;
        if (next == 4095) { /* the decoder is one behind */
            put_code(o, 256, 12);
            memset(child, 0, sizeof child);
            next = 258;
            width = 9;
        }
        string = in[i];
    }
    put_code(o, string, width);
    if (end) put_code(o, 257, next + 1 == 1u << width && width < 12 ? width + 1 : width);
}

static void fill(unsigned char *p, size_t n, unsigned kind)
{
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = kind == 0   ? (unsigned char)(state >> 24)                                    /* noise */
               : kind == 1 ? 0                                                               /* one long run */
               : kind == 2 ? (unsigned char)(i % 2 ? 3 : (state >> 28) + (state >> 24 & 15)) /* counts of 16 bits */
               : kind == 3 ? (unsigned char)(i % 7)                                          /* a short period */
                           : (unsigned char)(i / 1000 % 3 ? state >> 30 : 17);               /* now this, now that */
    }
}

static void test_lzw(void **state)
{
    (void)state;
    static unsigned char in[MOST], out[MOST + 1];
    static struct packed o;
    static const size_t sizes[] = { 1, 2, 3, 15, 16, 17, 100, 257, 511, 512, 1021, 1022, 1023, 4097, 20000, MOST };
    struct mro_lzw *z = mro_lzw_new();
    assert_non_null(z);
    for (unsigned kind = 0; kind < 5; kind++) {
        fill(in, MOST, kind);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const size_t n = sizes[s];
            for (int end = 0; end < 2; end++) {
                encode(&o, in, n, end);
                memset(out, 0xa5, sizeof out);
                assert_true(mro_lzw_decode(z, out, n, o.p, bytes_of(&o)));
                assert_memory_equal(out, in, n);
                assert_int_equal(out[n], 0xa5);
                /* Part of it is asked for, as of a strip that was filled up. */
                memset(out, 0xa5, sizeof out);
                assert_true(mro_lzw_decode(z, out, n / 2, o.p, bytes_of(&o)));
                assert_memory_equal(out, in, n / 2);
                assert_int_equal(out[n / 2], 0xa5);
                assert_false(mro_lzw_decode(z, out, n + 1, o.p, bytes_of(&o)));
            }
        }
    }
    mro_lzw_free(z);
}

static void test_lzw_refused(void **state)
{
    (void)state;
    static unsigned char in[4000], out[4000];
    static struct packed o;
    struct mro_lzw *z = mro_lzw_new();
    fill(in, sizeof in, 2);
    encode(&o, in, sizeof in, false);
    for (size_t n = 0; n < bytes_of(&o) - 2; n++) { /* in memory of its own, so that reading on is seen */
        unsigned char *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, o.p, n);
        assert_false(mro_lzw_decode(z, out, sizeof out, cut, n));
        free(cut);
    }
    static const unsigned codes[][4] = {
        { 256, 1, 259, 1 }, /* a string that is not there yet */
        { 256, 258, 1, 1 }, /* one before the first byte */
        { 256, 1, 257, 1 }, /* the end, too early */
        { 1, 2, 3, 4 },     /* no cleared table */
        { 256, 256, 257, 1 },
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        o.bits = 0;
        for (size_t k = 0; k < 4; k++) put_code(&o, codes[i][k], 9);
        assert_false(mro_lzw_decode(z, out, 5, o.p, bytes_of(&o)));
    }
    /* A table that is never cleared. */
    o.bits = 0;
    put_code(&o, 256, 9);
    for (unsigned k = 0, next = 258, width = 9; k < 5000; k++, next++) {
        put_code(&o, k % 256, width);
        if (next == 1u << width && width < 12) width++;
    }
    static unsigned char many[5000];
    assert_false(mro_lzw_decode(z, many, sizeof many, o.p, bytes_of(&o)));
    mro_lzw_free(z);
}

static void test_inflate(void **state)
{
    (void)state;
    static unsigned char in[MOST], out[MOST + 1], packed[2 * MOST];
    struct mro_inflater *z = mro_inflater_new();
    assert_non_null(z);
    for (unsigned kind = 0; kind < 5; kind++) {
        fill(in, MOST, kind);
        for (int level = 0; level < 10; level += 3) {
            uLongf n = sizeof packed;
            assert_int_equal(compress2(packed, &n, in, MOST, level), Z_OK);
            memset(out, 0xa5, sizeof out);
            assert_true(mro_inflate(z, out, MOST, packed, n));
            assert_memory_equal(out, in, MOST);
            assert_int_equal(out[MOST], 0xa5);
            assert_true(mro_inflate(z, out, MOST, packed, n + 5)); /* something behind it */
            assert_false(mro_inflate(z, out, MOST - 1, packed, n));
            assert_int_equal(out[MOST], 0xa5);
            assert_false(mro_inflate(z, out, MOST + 1, packed, n));
            assert_false(mro_inflate(z, out, MOST, packed, n - 1));
            assert_false(mro_inflate(z, out, MOST, packed, 0));
            packed[n - 1] ^= 1; /* of its sum */
            assert_false(mro_inflate(z, out, MOST, packed, n));
        }
    }
    mro_inflater_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_lzw), cmocka_unit_test(test_lzw_refused),
                                        cmocka_unit_test(test_inflate) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PNG and JPEG: real files against what other readers say, every kind of PNG from files built here, broken files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "mroscope/file.h"
#include "readers/data.h"

/* Opens and reads; must fail in one of the two with a sentence that names the file and has `field` in it. */
static void refused(const void *bytes, size_t size, const char *field)
{
    /* A copy of the exact size lets the sanitizers see a read past the end. */
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, bytes, size);
    struct mro_file *f;
    struct mro_image im;
    struct mro_error e = { .code = MRO_OK };
    enum mro_code c = mro_file_open_memory(&f, copy, size, "broken.img", BUDGET, &e);
    if (c == MRO_OK) {
        c = mro_file_read(f, 0, 0, &im, &e);
        if (c == MRO_OK) fail_msg("read where '%s' should stop it", field);
        assert_null(im.px);
    }
    mro_file_close(f);
    assert_non_null(strstr(e.message, "broken.img"));
    if (strstr(e.message, field) == NULL) fail_msg("'%s' is not in: %s", field, e.message);
    free(copy);
}

/* ---- real files ---- */

static void test_png_file(void **state)
{
    (void)state;
    size_t size;
    unsigned char *p = load_data("Si110_5nmX25us_03_none_none.png", &size);
    struct mro_file *f;
    struct mro_error e;
    struct mro_statistics s;
    struct mro_image im;
    assert_int_equal(mro_file_open_memory(&f, p, size, "renamed.tif", BUDGET, &e), MRO_OK);
    assert_string_equal(mro_file_format(f), "PNG");
    assert_int_equal(mro_file_images(f), 1);
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->dtype, MRO_U8);
    assert_int_equal(i->axes, 2);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(i->axis[k].size, 512);
        assert_true(i->axis[k].step == 0);
        assert_int_equal(i->axis[k].source, MRO_SOURCE_UNKNOWN);
    }
    assert_int_equal(mro_file_statistics(f, 0, &s, &e), MRO_OK);
    assert_true(s.min == 0 && s.max == 255 && s.sum == 25771855);
    assert_true(fabs(s.mean - 98.31182479858398) < 1e-10 && fabs(s.sd - 45.655090756194596) < 1e-10);
    assert_int_equal(mro_file_read(f, 0, 0, &im, &e), MRO_OK);
    assert_true(im.px[0] == 95 && im.px[1] == 89 && im.px[2] == 46 && im.px[3] == 57);
    mro_image_release(&im);
    mro_file_close(f);
    free(p);
}

static void test_jpeg_file(void **state)
{
    (void)state;
    size_t size;
    unsigned char *p = load_data("PtCo.jpg", &size);
    struct mro_file *f;
    struct mro_error e;
    struct mro_statistics s;
    struct mro_image im;
    assert_int_equal(mro_file_open_memory(&f, p, size, "PtCo.jpg", BUDGET, &e), MRO_OK);
    assert_string_equal(mro_file_format(f), "JPEG");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->dtype, MRO_U8);
    assert_int_equal(i->axis[0].size, 640);
    assert_int_equal(i->axis[1].size, 640);
    assert_true(i->axis[1].step == 0);
    assert_int_equal(mro_file_statistics(f, 0, &s, &e), MRO_OK);
    /* Decoders of JPEG differ by a count or two in a pixel. */
    assert_true(s.min == 0 && s.max == 255);
    assert_true(fabs(s.mean - 39.31561279296875) < 0.01 && fabs(s.sd - 39.79627527510515) < 0.01);
    assert_int_equal(mro_file_read(f, 0, 0, &im, &e), MRO_OK);
    const float first[] = { 39, 44, 48, 46 };
    for (int k = 0; k < 4; k++) assert_true(fabsf(im.px[k] - first[k]) <= 2);
    assert_true(warned(f, "JPEG"));
    mro_image_release(&im);
    mro_file_close(f);
    free(p);
}

/* ---- PNG files built here ---- */

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

struct build {
    unsigned char b[1 << 18];
    size_t n;
};
static struct build o; /* too large for a stack, and one is enough */

static void put_u32(unsigned char *p, size_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static void put_chunk(const char *type, const void *data, size_t n)
{
    assert_true(o.n + n + 12 <= sizeof o.b);
    unsigned char *p = o.b + o.n;
    put_u32(p, n);
    memcpy(p + 4, type, 4);
    if (n > 0) memcpy(p + 8, data, n);
    put_u32(p + 8 + n, crc32(0, p + 4, (uInt)n + 4));
    o.n += n + 12;
}

static void put_header(size_t nx, size_t ny, unsigned depth, unsigned colour, unsigned interlace)
{
    static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    unsigned char h[13] = { 0 };
    memcpy(o.b, signature, 8);
    o.n = 8;
    put_u32(h, nx);
    put_u32(h + 4, ny);
    h[8] = (unsigned char)depth;
    h[9] = (unsigned char)colour;
    h[12] = (unsigned char)interlace;
    put_chunk("IHDR", h, sizeof h);
}

static void put_pixels(const unsigned char *rows, size_t n)
{
    static unsigned char packed[1 << 17];
    uLongf bytes = sizeof packed;
    assert_int_equal(compress(packed, &bytes, rows, n), Z_OK);
    /* In pieces, an empty one first. */
    put_chunk("IDAT", NULL, 0);
    put_chunk("IDAT", packed, bytes / 3);
    put_chunk("IDAT", packed + bytes / 3, bytes - bytes / 3);
}

enum { NX = 11, NY = 9, STEPS = 7 };

static unsigned sample(unsigned depth, unsigned x, unsigned y, unsigned channel)
{
    return (x * 7919u + y * 104729u + channel * 31u) * 2654435761u >> (32 - depth);
}

/* Rows of the pixels (x0 + i dx, y0 + j dy), each after a filter byte. */
static size_t put_rows(unsigned char *rows, unsigned depth, unsigned channels, unsigned x0, unsigned y0, unsigned dx,
                       unsigned dy)
{
    size_t n = 0;
    for (unsigned y = y0; y < NY; y += dy) {
        if (x0 >= NX) break;
        rows[n++] = 0;
        unsigned bits = 0;
        for (unsigned x = x0; x < NX; x += dx)
            for (unsigned c = 0; c < channels; c++, bits += depth) {
                const unsigned v = sample(depth, x, y, c);
                if (depth == 16) {
                    rows[n + bits / 8] = (unsigned char)(v >> 8);
                    rows[n + bits / 8 + 1] = (unsigned char)v;
                } else {
                    if (bits % 8 == 0) rows[n + bits / 8] = 0;
                    rows[n + bits / 8] |= (unsigned char)(v << (8 - depth - bits % 8));
                }
            }
        n += (bits + 7) / 8;
    }
    return n;
}

static void build_png(unsigned depth, unsigned colour, unsigned interlace)
{
    static const unsigned channels[] = { 1, 0, 3, 1, 2, 0, 4 };
    unsigned char rows[NY * (NX * 8 + 1) + 64 * STEPS];
    size_t n = 0;
    put_header(NX, NY, depth, colour, interlace);
    /* A resolution tag, which must not become a calibration: 2835 pixels per metre. */
    put_chunk("pHYs", (const unsigned char[]){ 0, 0, 11, 19, 0, 0, 11, 19, 1 }, 9);
    if (colour == PALETTE) {
        unsigned char palette[3 * 256];
        for (unsigned i = 0; i < 256; i++) {
            palette[3 * i] = (unsigned char)(255 - i);
            palette[3 * i + 1] = (unsigned char)i;
            palette[3 * i + 2] = (unsigned char)(i ^ 0x55);
        }
        put_chunk("PLTE", palette, (size_t)3 << depth);
    }
    if (interlace) {
        static const unsigned char adam7[STEPS][4] = { { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 },
                                                       { 0, 2, 2, 4 }, { 1, 0, 2, 2 }, { 0, 1, 1, 2 } };
        for (int i = 0; i < STEPS; i++)
            n += put_rows(rows + n, depth, channels[colour], adam7[i][0], adam7[i][1], adam7[i][2], adam7[i][3]);
    } else {
        n = put_rows(rows, depth, channels[colour], 0, 0, 1, 1);
    }
    put_pixels(rows, n);
    put_chunk("IEND", NULL, 0);
}

static double luminance(double r, double g, double b) { return (299 * r + 587 * g + 114 * b) / 1000; }

static void test_png_kinds(void **state)
{
    (void)state;
    static const struct {
        unsigned depth, colour;
        enum mro_dtype dtype;
    } kinds[] = {
        { 1, GREY, MRO_U8 },         { 2, GREY, MRO_U8 },         { 4, GREY, MRO_U8 },
        { 8, GREY, MRO_U8 },         { 16, GREY, MRO_U16 },       { 8, RGB, MRO_RGB8 },
        { 16, RGB, MRO_RGB16 },      { 1, PALETTE, MRO_RGB8 },    { 2, PALETTE, MRO_RGB8 },
        { 4, PALETTE, MRO_RGB8 },    { 8, PALETTE, MRO_RGB8 },    { 8, GREY_ALPHA, MRO_U8 },
        { 16, GREY_ALPHA, MRO_U16 }, { 8, RGB_ALPHA, MRO_RGBA8 }, { 16, RGB_ALPHA, MRO_RGBA16 },
    };
    for (size_t k = 0; k < 2 * (sizeof kinds / sizeof *kinds); k++) {
        const unsigned depth = kinds[k / 2].depth, colour = kinds[k / 2].colour;
        build_png(depth, colour, k & 1);
        struct mro_file *f;
        struct mro_image im;
        struct mro_error e;
        if (mro_file_open_memory(&f, o.b, o.n, "built.png", BUDGET, &e) != MRO_OK) fail_msg("%s", e.message);
        const struct mro_image_info *info = mro_file_info(f, 0);
        assert_int_equal(info->dtype, kinds[k / 2].dtype);
        assert_int_equal(info->axis[0].size, NY);
        assert_int_equal(info->axis[1].size, NX);
        assert_true(info->axis[0].step == 0 && info->axis[1].step == 0);
        if (mro_file_read(f, 0, 0, &im, &e) != MRO_OK) fail_msg("%u bits, colour %u: %s", depth, colour, e.message);
        for (unsigned i = 0; i < NX * NY; i++) {
            unsigned c[3];
            for (unsigned j = 0; j < 3; j++) c[j] = sample(depth, i % NX, i / NX, j);
            double expected = depth < 8 ? c[0] * 255u / ((1u << depth) - 1) : c[0];
            if (colour == PALETTE) expected = luminance(255 - c[0], c[0], c[0] ^ 0x55);
            if (colour == RGB || colour == RGB_ALPHA) expected = luminance(c[0], c[1], c[2]);
            if (!(fabs(im.px[i] - expected) <= 1e-6 * expected))
                fail_msg("%u bits, colour %u, pixel %u: %g, not %g", depth, colour, i, im.px[i], expected);
        }
        assert_int_equal(warned(f, "transparency"), colour == GREY_ALPHA);
        mro_image_release(&im);
        mro_file_close(f);
    }
}

/* ---- broken files ---- */

static void test_png_damage(void **state)
{
    (void)state;
    build_png(8, GREY, 0);
    const size_t size = o.n;
    for (size_t n = 0; n < size; n++) refused(o.b, n, "");
    for (size_t i = 8; i < size; i++) {
        o.b[i] ^= 0x40;
        refused(o.b, size, "PNG chunk"); /* every byte after the signature is under a checksum, or is a length */
        o.b[i] ^= 0x40;
    }
    size_t n;
    unsigned char *p = load_data("Si110_5nmX25us_03_none_none.png", &n);
    refused(p, n / 2, "IDAT");
    p[30] ^= 1;
    refused(p, n, "IHDR at byte 8 has a wrong checksum");
    free(p);
}

static void test_png_lies(void **state)
{
    (void)state;
    static const struct {
        size_t nx, ny;
        unsigned depth, colour, interlace;
        const char *field;
    } headers[] = {
        { 0x7fffffff, 0x7fffffff, 16, RGB_ALPHA, 0, "IHDR gives 2147483647 x 2147483647" },
        { 0xffffffff, 4, 8, GREY, 0, "4294967295" },
        { 0, 4, 8, GREY, 0, "0 x 4" },
        { 4, 0, 8, GREY, 0, "4 x 0" },
        { 4, 4, 3, GREY, 0, "3 bits" },
        { 4, 4, 16, PALETTE, 0, "16 bits" },
        { 4, 4, 8, 5, 0, "colour type 5" },
        { 4, 4, 8, GREY, 2, "interlace 2" },
        { 30000, 30000, 8, GREY, 0, "more than" },
        { 8000, 8000, 8, GREY, 0, "memory budget" },
        { 100, 100, 8, GREY, 0, "cannot be unpacked" }, /* fewer rows than that */
        { 40, 40, 8, PALETTE, 0, "PLTE" },
    };
    unsigned char *rows = calloc(1, 1 << 20);
    assert_non_null(rows);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        put_header(headers[i].nx, headers[i].ny, headers[i].depth, headers[i].colour, headers[i].interlace);
        put_pixels(rows, headers[i].ny == 8000 ? 1 << 20 : 4096);
        if (headers[i].ny == 8000) { /* enough packed bytes for so many pixels to be possible */
            static unsigned char filler[1 << 16];
            put_chunk("IDAT", filler, sizeof filler);
        }
        put_chunk("IEND", NULL, 0);
        refused(o.b, o.n, headers[i].field);
    }
    free(rows);
    put_header(4, 4, 8, GREY, 0);
    put_chunk("IEND", NULL, 0);
    refused(o.b, o.n, "IDAT");
    put_header(4, 4, 8, PALETTE, 0);
    put_chunk("PLTE", "0123", 4);
    put_chunk("IEND", NULL, 0);
    refused(o.b, o.n, "PLTE has 4 bytes");
    put_header(4, 4, 8, GREY, 0);
    put_chunk("IDAT", "not a stream of deflate", 23);
    put_chunk("IEND", NULL, 0);
    refused(o.b, o.n, "cannot be unpacked");
    put_header(4, 4, 8, GREY, 0);
    put_chunk("IHDR", "0123456789012", 13);
    refused(o.b, o.n, "IHDR must come once");
    o.n = 8;
    put_chunk("IDAT", "0123456789012", 13);
    refused(o.b, o.n, "IHDR must come once");
}

/* 48 MiB of zeros behind an image of 4 x 4: must stop early, not at the budget. */
static void test_png_bomb(void **state)
{
    (void)state;
    const size_t n = (size_t)48 << 20;
    unsigned char *zero = calloc(1, n);
    assert_non_null(zero);
    put_header(4, 4, 8, GREY, 0);
    put_pixels(zero, n);
    put_chunk("IEND", NULL, 0);
    free(zero);
    refused(o.b, o.n, "needs more than 1 MiB");
}

static void test_jpeg_damage(void **state)
{
    (void)state;
    size_t size;
    unsigned char *p = load_data("PtCo.jpg", &size);
    assert_true(p[size - 2] == 0xff && p[size - 1] == 0xd9);
    for (size_t n = 3; n < size; n += n < 1000 ? 1 : 331) refused(p, n, "");
    refused(p, size / 3, "cut at byte");
    refused(p, size - 1, "cut at byte");
    size_t sof = 2;
    while (p[sof + 1] != 0xc0 && p[sof + 1] != 0xc2) sof += 2 + (size_t)(p[sof + 2] << 8 | p[sof + 3]);
    static const struct {
        size_t at;
        unsigned char bytes[4];
        size_t n;
        const char *field;
    } patches[] = {
        { 1, { 0xc9 }, 1, "SOF9 is not read" },
        { 1, { 0xc3 }, 1, "SOF3 is not read" },
        { 4, { 12 }, 1, "12 bits" },
        { 5, { 0, 0 }, 2, "x 0 pixels" },
        { 7, { 0, 0 }, 2, "0 x" },
        { 5, { 0xff, 0xff, 0xff, 0xff }, 4, "65535 x 65535" },
        { 9, { 200 }, 1, "no length" },
        { 2, { 0, 1 }, 2, "says 1 bytes" },
        { 2, { 0xff, 0xff }, 2, "" },
        { 1, { 0xe5 }, 1, "before the frame header" },
    };
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        unsigned char saved[4];
        memcpy(saved, p + sof + patches[i].at, 4);
        memcpy(p + sof + patches[i].at, patches[i].bytes, patches[i].n);
        refused(p, size, patches[i].field);
        memcpy(p + sof + patches[i].at, saved, 4);
    }
    size_t dht = 2;
    while (p[dht + 1] != 0xc4) dht += 2 + (size_t)(p[dht + 2] << 8 | p[dht + 3]);
    p[dht + 6] = 255;
    p[dht + 7] = 255;
    refused(p, size, "(DHT)");
    free(p);
    refused("\xff\xd8\xff\xd9", 4, "no scan");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_file),    cmocka_unit_test(test_jpeg_file), cmocka_unit_test(test_png_kinds),
        cmocka_unit_test(test_png_damage),  cmocka_unit_test(test_png_lies),  cmocka_unit_test(test_png_bomb),
        cmocka_unit_test(test_jpeg_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

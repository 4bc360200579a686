/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TIFF: files of other programs against what RosettaSciIO and tifffile read from them, and every sample type, byte
 * order and layout built here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mroscope/file.h"
#include "readers/data.h"
#include "readers/tiff_build.h"

#define DATA MROSCOPE_TEST_DATA "/tiff/"

/* ---------------------------------------------------------------- files of other programs */

static void reads_what_others_read(void **state)
{
    static const struct {
        const char *name;
        size_t frames, ny, nx;
        enum mro_dtype dtype;
        double first[3], min, max, mean, sd, sum; /* first: values, not luminance; NAN = colour */
        double pixel_nm;                          /* 0 = unknown */
        enum mro_source source;
    } files[] = {
        { "16bit.MM.deflate.tif",
          1,
          64,
          64,
          MRO_U16,
          { 480, 478, 502 },
          291,
          694,
          384.113037109375,
          34.44047267618113,
          1573327,
          0,
          0 },
        { "hopper_bigtiff.tif",
          1,
          128,
          128,
          MRO_RGB8,
          { NAN },
          0,
          255,
          88.39113362630208,
          72.64674129311315,
          4344601,
          0,
          0 },
        { "hopper_lzw.tif",
          1,
          128,
          128,
          MRO_RGB8,
          { NAN },
          0,
          255,
          88.39113362630208,
          72.64674129311315,
          4344601,
          0,
          0 },
        { "test_loading_image_saved_with_imageJ_stack.tif",
          2,
          68,
          68,
          MRO_F32,
          { 3465, 3352, 3373 },
          2866,
          3774,
          3335.3871107266436,
          117.07237494701789,
          30845660,
          168.67471098853332,
          MRO_SOURCE_IMAGEJ },
        { "test_loading_image_saved_with_DM.tif",
          1,
          68,
          68,
          MRO_I32,
          { 3465, 3352, 3373 },
          2866,
          3774,
          3335.3871107266436,
          117.07237494701789,
          15422830,
          168.67469251155853,
          MRO_SOURCE_VENDOR },
        { "graphene_f32_deflate_pred3.tif",
          1,
          200,
          300,
          MRO_F32,
          { 0.9987226128578186, 0.9942072629928589, 0.9912204742431641 },
          0.9475944638252258,
          1.0478094816207886,
          1.0001259332418442,
          0.013892032171852423,
          60007.55599451065,
          0,
          0 },
        { "sto_i16_packbits.tif",
          1,
          256,
          312,
          MRO_I16,
          { -11026, -11422, -11108 },
          -13581,
          -6165,
          -11316.099834735576,
          1234.2921158370577,
          -903839526,
          0,
          0 },
        { "sto_imagej_nm_stack.tif",
          3,
          128,
          140,
          MRO_U16,
          { 18974, 18578, 18892 },
          16516,
          23594,
          18753.891220238096,
          1252.3035882247777,
          1008209192,
          0.010012704240403384,
          MRO_SOURCE_IMAGEJ },
        { "sto_ome.ome.tif",
          1,
          256,
          312,
          MRO_U16,
          { 18974, 18578, 18892 },
          16419,
          23835,
          18683.900165264422,
          1234.2921158370577,
          1492320474,
          0.010012704240403384,
          MRO_SOURCE_OME },
        { "sto_u16_bigtiff_tiled_deflate.tif",
          1,
          256,
          312,
          MRO_U16,
          { 18974, 18578, 18892 },
          16419,
          23835,
          18683.900165264422,
          1234.2921158370577,
          1492320474,
          0,
          0 },
        { "sto_u16_lzw_big_endian.tif",
          1,
          256,
          312,
          MRO_U16,
          { 18974, 18578, 18892 },
          16419,
          23835,
          18683.900165264422,
          1234.2921158370577,
          1492320474,
          0,
          0 },
        { "sto_u16_multipage_u16_pages.tif",
          2,
          100,
          90,
          MRO_U16,
          { 18974, 18578, 18892 },
          16516,
          23594,
          18757.56588888889,
          1242.2065229943714,
          337636186,
          0,
          0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct mro_file *f = open_in(DATA, files[i].name);
        struct mro_statistics s;
        struct mro_image im;
        assert_string_equal(mro_file_format(f), "TIFF");
        assert_int_equal(mro_file_images(f), 1);
        const struct mro_image_info *info = mro_file_info(f, 0);
        const struct mro_axis *x = &info->axis[info->axes - 1], *y = x - 1;
        assert_int_equal(info->axes, files[i].frames > 1 ? 3 : 2);
        assert_int_equal(info->frames, files[i].frames);
        assert_int_equal(y->size, files[i].ny);
        assert_int_equal(x->size, files[i].nx);
        assert_int_equal(info->dtype, files[i].dtype);
        if (files[i].pixel_nm > 0) {
            near(x->step, files[i].pixel_nm, 1e-12);
            near(y->step, files[i].pixel_nm, 1e-12);
            assert_int_equal(x->unit, MRO_UNIT_NM);
            assert_int_equal(x->source, files[i].source);
        } else {
            assert_true(x->step == 0 && y->step == 0 && x->unit == MRO_UNIT_NONE);
        }
        assert_int_equal(mro_file_statistics(f, 0, &s, NULL), MRO_OK);
        assert_true(s.min == files[i].min && s.max == files[i].max);
        near(s.mean, files[i].mean, 1e-13);
        near(s.sd, files[i].sd, 1e-12);
        near(s.sum, files[i].sum, 1e-13);
        assert_int_equal(s.not_finite, 0);
        assert_int_equal(mro_file_read(f, 0, 0, &im, NULL), MRO_OK);
        assert_true(im.nx == files[i].nx && im.ny == files[i].ny && im.axis[1].step == x->step);
        if (!isnan(files[i].first[0]))
            for (int k = 0; k < 3; k++) assert_true(im.px[k] == (float)files[i].first[k]);
        else
            near(im.px[0], (299 * 20 + 587 * 21 + 114 * 67) / 1000.0, 1e-7);
        assert_true(warned(f, "luminance") == (files[i].dtype == MRO_RGB8));
        mro_image_release(&im);
        mro_file_close(f);
    }
}

/* ---------------------------------------------------------------- every type and layout */

enum { NX = 37, NY = 29 };

static double wanted(size_t i, bool is_signed) { return (double)(i * 7 % 120) - (is_signed ? 60 : 0); }

/* Encodes value v of type (format, bits) in native order. */
static void encode(unsigned char *p, uint16_t format, uint16_t bits, double v)
{
    if (format == 3 && bits == 16) { /* small whole numbers only */
        int exponent;
        const double m = frexp(fabs(v), &exponent);
        const uint16_t h =
            v == 0 ? 0 : (uint16_t)((v < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | ((int)(m * 2048) & 0x3ff));
        memcpy(p, &h, 2);
    } else if (format == 3 && bits == 32) {
        const float x = (float)v;
        memcpy(p, &x, 4);
    } else if (format == 3) {
        memcpy(p, &v, 8);
    } else if (format == 6 && bits == 64) {
        const float x[2] = { (float)(3 * v), (float)(4 * v) };
        memcpy(p, x, 8);
    } else if (format == 6) {
        const double x[2] = { 3 * v, 4 * v };
        memcpy(p, x, 16);
    } else {
        const int64_t x = (int64_t)v;
        const uint8_t x8 = (uint8_t)x;
        const uint16_t x16 = (uint16_t)x;
        const uint32_t x32 = (uint32_t)x;
        memcpy(p,
               bits == 8    ? (void *)&x8
               : bits == 16 ? (void *)&x16
               : bits == 32 ? (void *)&x32
                            : (void *)&x,
               bits / 8);
    }
}

static void reads_every_type_and_layout(void **state)
{
    static const struct {
        uint16_t format, bits;
        enum mro_dtype dtype;
    } types[] = { { 1, 8, MRO_U8 },   { 2, 8, MRO_I8 },   { 1, 16, MRO_U16 },  { 2, 16, MRO_I16 }, { 1, 32, MRO_U32 },
                  { 2, 32, MRO_I32 }, { 1, 64, MRO_U64 }, { 2, 64, MRO_I64 },  { 3, 16, MRO_F16 }, { 3, 32, MRO_F32 },
                  { 3, 64, MRO_F64 }, { 6, 64, MRO_C64 }, { 6, 128, MRO_C128 } };
    static const struct {
        uint32_t rows, tile;
        size_t gap;
    } layouts[] = { { 0, 0, 0 }, { 5, 0, 0 }, { 5, 0, 6 }, { 0, 16, 0 } };
    static unsigned char pixels[NX * NY * 16];
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const bool is_signed = types[i].format != 1, is_complex = types[i].format == 6;
        for (size_t k = 0; k < NX * NY; k++)
            encode(pixels + k * types[i].bits / 8, types[i].format, types[i].bits, wanted(k, is_signed));
        for (int v = 0; v < 16; v++) {
            const bool big_endian = v & 1, big_tiff = v & 2;
            const struct tiff_build_page page = { .nx = NX,
                                                  .ny = NY,
                                                  .bits = types[i].bits,
                                                  .format = types[i].format,
                                                  .samples = 1,
                                                  .photometric = 1,
                                                  .rows_per_strip = layouts[v >> 2].rows,
                                                  .tile = layouts[v >> 2].tile,
                                                  .gap = layouts[v >> 2].gap,
                                                  .extra_sample = 0xffff,
                                                  .pixels = pixels };
            struct tiff_build b;
            tb_begin(&b, big_endian, big_tiff);
            tb_page(&b, &page);
            struct mro_file *f = NULL;
            struct mro_error e;
            const enum mro_code rc = mro_file_open_memory(&f, b.p, b.size, "built.tif", 0, &e);
            if (is_complex && big_endian && v >> 2 >= 2) { /* through libtiff, which would mix the halves */
                assert_int_equal(rc, MRO_EFORMAT);
                assert_non_null(strstr(e.message, "complex"));
                tb_free(&b);
                continue;
            }
            if (rc) fail_msg("type %zu variant %d: %s", i, v, e.message);
            struct mro_image im;
            struct mro_statistics s;
            assert_int_equal(mro_file_info(f, 0)->dtype, types[i].dtype);
            if (mro_file_read(f, 0, 0, &im, &e)) fail_msg("type %zu variant %d: %s", i, v, e.message);
            double sum = 0;
            for (size_t k = 0; k < NX * NY; k++) {
                const double want = is_complex ? 5 * fabs(wanted(k, true)) : wanted(k, is_signed);
                sum += want;
                if (im.px[k] != want) fail_msg("type %zu variant %d pixel %zu: %g, not %g", i, v, k, im.px[k], want);
            }
            assert_int_equal(mro_file_statistics(f, 0, &s, NULL), MRO_OK);
            assert_true(s.sum == sum && s.count == NX * NY);
            assert_null(mro_file_warning(f, 0));
            mro_image_release(&im);
            mro_file_close(f);
            tb_free(&b);
        }
    }
}

static void large_integers_keep_their_digits_in_statistics(void **state)
{
    const uint32_t pixels[4] = { 4294967295u, 4294967294u, 4294967295u, 4294967294u };
    const struct tiff_build_page page = { .nx = 2,
                                          .ny = 2,
                                          .bits = 32,
                                          .format = 1,
                                          .samples = 1,
                                          .photometric = 1,
                                          .extra_sample = 0xffff,
                                          .pixels = (const unsigned char *)pixels };
    struct tiff_build b;
    struct mro_statistics s;
    (void)state;
    tb_begin(&b, false, false);
    tb_page(&b, &page);
    struct mro_file *f = tb_open(&b);
    assert_int_equal(mro_file_statistics(f, 0, &s, NULL), MRO_OK);
    assert_true(s.min == 4294967294.0 && s.max == 4294967295.0 && s.mean == 4294967294.5 && s.sd == 0.5);
    mro_file_close(f);
    tb_free(&b);
}

static void colour_becomes_luminance(void **state)
{
    (void)state;
    for (int v = 0; v < 32; v++) { /* planes, 16 bits, alpha, tiles, byte order */
        const bool separate = v & 1, wide = v & 2, alpha = v & 4, tiled = v & 8, big_endian = v & 16;
        const size_t samples = alpha ? 4 : 3;
        static unsigned char pixels[NX * NY * 8];
        for (size_t k = 0; k < NX * NY; k++)
            for (size_t c = 0; c < samples; c++) {
                const size_t at = separate ? c * NX * NY + k : k * samples + c;
                encode(pixels + at * (wide ? 2 : 1), 1, wide ? 16 : 8, (double)((k * (c + 1) * 3 + c) % 250));
            }
        const struct tiff_build_page page = { .nx = NX,
                                              .ny = NY,
                                              .bits = wide ? 16 : 8,
                                              .format = 1,
                                              .samples = (uint16_t)samples,
                                              .photometric = 2,
                                              .separate = separate,
                                              .tile = tiled ? 16 : 0,
                                              .extra_sample = alpha ? 2 : 0xffff,
                                              .pixels = pixels };
        struct tiff_build b;
        struct mro_image im;
        struct mro_statistics s;
        tb_begin(&b, big_endian, false);
        tb_page(&b, &page);
        struct mro_file *f = tb_open(&b);
        assert_int_equal(mro_file_info(f, 0)->dtype,
                         alpha ? (wide ? MRO_RGBA16 : MRO_RGBA8) : (wide ? MRO_RGB16 : MRO_RGB8));
        assert_int_equal(mro_file_read(f, 0, 0, &im, NULL), MRO_OK);
        double sum = 0;
        for (size_t k = 0; k < NX * NY; k++) {
            const double r = (double)(k * 3 % 250), g = (double)((k * 6 + 1) % 250), bl = (double)((k * 9 + 2) % 250);
            sum += r + g + bl + (alpha ? (double)((k * 12 + 3) % 250) : 0);
            assert_true(im.px[k] == (float)((299 * r + 587 * g + 114 * bl) / 1000));
        }
        assert_int_equal(mro_file_statistics(f, 0, &s, NULL), MRO_OK);
        assert_true(s.sum == sum && s.count == NX * NY * samples);
        assert_true(warned(f, "luminance"));
        assert_null(mro_file_warning(f, 1)); /* once, whatever the number of frames read */
        mro_image_release(&im);
        mro_file_close(f);
        tb_free(&b);
    }
}

static void channels_that_are_no_colour_are_frames(void **state)
{
    (void)state;
    for (int v = 0; v < 4; v++) {
        const bool separate = v & 1, tiled = v & 2;
        static float pixels[5 * NX * NY];
        for (size_t k = 0; k < NX * NY; k++)
            for (size_t c = 0; c < 5; c++) pixels[separate ? c * NX * NY + k : k * 5 + c] = (float)(1000 * c + k);
        const struct tiff_build_page page = { .nx = NX,
                                              .ny = NY,
                                              .bits = 32,
                                              .format = 3,
                                              .samples = 5,
                                              .photometric = 1,
                                              .separate = separate,
                                              .tile = tiled ? 32 : 0,
                                              .rows_per_strip = 7,
                                              .extra_sample = 0xffff,
                                              .pixels = (const unsigned char *)pixels };
        struct tiff_build b;
        tb_begin(&b, true, false);
        tb_page(&b, &page);
        tb_page(&b, &page);
        struct mro_file *f = tb_open(&b);
        assert_int_equal(mro_file_info(f, 0)->frames, 10);
        assert_int_equal(mro_file_info(f, 0)->axes, 4);
        for (size_t frame = 10; frame-- > 0;) { /* in any order */
            struct mro_image im;
            assert_int_equal(mro_file_read(f, 0, frame, &im, NULL), MRO_OK);
            for (size_t k = 0; k < NX * NY; k++) assert_true(im.px[k] == (float)(1000 * (frame % 5) + k));
            mro_image_release(&im);
        }
        mro_file_close(f);
        tb_free(&b);
    }
}

static void alpha_palette_white_and_orientation(void **state)
{
    static uint16_t ramp[3 << 8], colours[3 << 8];
    static unsigned char pixels[2 * NX * NY];
    struct mro_image im;
    struct tiff_build b;
    struct mro_file *f;
    struct mro_error e;
    (void)state;
    for (size_t k = 0; k < sizeof pixels; k++) pixels[k] = (unsigned char)(k % 251);
    for (size_t k = 0; k < 3 << 8; k++) ramp[k] = (uint16_t)(k % 256 * 257), colours[k] = (uint16_t)(k * 40503);
    struct tiff_build_page page = {
        .nx = NX, .ny = NY, .bits = 8, .format = 1, .samples = 2, .photometric = 1, .extra_sample = 2, .pixels = pixels
    };
    tb_begin(&b, false, false);
    tb_page(&b, &page);
    f = tb_open(&b);
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_int_equal(mro_file_read(f, 0, 0, &im, NULL), MRO_OK);
    for (size_t k = 0; k < NX * NY; k++) assert_true(im.px[k] == (float)(2 * k % 251));
    assert_true(warned(f, "alpha"));
    mro_image_release(&im);
    mro_file_close(f);
    tb_free(&b);

    page.samples = 1;
    page.extra_sample = 0xffff;
    page.photometric = 3;
    page.palette = ramp;
    tb_begin(&b, false, false);
    tb_page(&b, &page);
    f = tb_open(&b);
    assert_int_equal(mro_file_info(f, 0)->dtype, MRO_U8);
    assert_true(warned(f, "palette"));
    mro_file_close(f);
    tb_free(&b);

    page.palette = colours;
    tb_begin(&b, false, false);
    tb_page(&b, &page);
    assert_int_equal(mro_file_open_memory(&f, b.p, b.size, "built.tif", 0, &e), MRO_EFORMAT);
    assert_null(f);
    assert_non_null(strstr(e.message, "palette"));
    tb_free(&b);

    page.palette = NULL;
    page.photometric = 0;
    page.orientation = 4;
    tb_begin(&b, false, false);
    tb_page(&b, &page);
    f = tb_open(&b);
    assert_true(warned(f, "white") && warned(f, "orientation 4"));
    assert_int_equal(mro_file_read(f, 0, 0, &im, NULL), MRO_OK);
    assert_true(im.px[5] == 5);
    mro_image_release(&im);
    mro_file_close(f);
    tb_free(&b);
}

/* ---------------------------------------------------------------- pages */

/* Small files that would take hours: thousands of pages of the same pixels, or of the same table of strips. */
static void pages_that_share_are_refused(void **state)
{
    static const char *const sentences[] = { "lie over each other", "strips or tiles, more than a file" };
    enum { ENTRIES = 9, SIDE = 3000 };
    static unsigned char pixels[SIDE * SIDE];
    (void)state;
    for (int tables = 0; tables < 2; tables++) {
        struct tiff_build b;
        struct mro_file *f;
        struct mro_error e;
        tb_begin(&b, false, false);
        const uint32_t n = tables ? SIDE : 1, at = (uint32_t)b.size, row = tables ? 1 : SIDE;
        tb_put(&b, pixels, tables ? 64 : SIDE * SIDE, 1);
        const uint32_t offsets = tables ? (uint32_t)b.size : at;
        for (uint32_t i = 0; tables && i < n; i++) tb_put(&b, &at, 1, 4);
        const uint32_t counts = tables ? (uint32_t)b.size : SIDE * SIDE, one_row = 1;
        for (uint32_t i = 0; tables && i < n; i++) tb_put(&b, &one_row, 1, 4);
        for (int page = 0; page < 40; page++) {
            const uint32_t ifd = (uint32_t)b.size, none = 0;
            const uint32_t entry[ENTRIES][3] = {
                /* tag, count, value; all of four bytes */
                { 256, 1, tables ? 1 : SIDE }, { 257, 1, SIDE }, { 258, 1, 8 },   { 259, 1, 1 },     { 262, 1, 1 },
                { 273, n, offsets },           { 277, 1, 1 },    { 278, 1, row }, { 279, n, counts }
            };
            memcpy(b.p + b.link, &ifd, 4);
            const uint16_t entries = ENTRIES;
            tb_put(&b, &entries, 1, 2);
            for (size_t i = 0; i < ENTRIES; i++) {
                const bool is_short =
                    entry[i][0] == 258 || entry[i][0] == 259 || entry[i][0] == 262 || entry[i][0] == 277;
                const uint16_t head[2] = { (uint16_t)entry[i][0], is_short ? 3 : 4 };
                tb_put(&b, head, 2, 2);
                tb_put(&b, &entry[i][1], 2, 4);
            }
            b.link = b.size;
            tb_put(&b, &none, 1, 4);
        }
        assert_int_equal(mro_file_open_memory(&f, b.p, b.size, "shared.tif", (size_t)1 << 28, &e), MRO_EFORMAT);
        if (strstr(e.message, sentences[tables]) == NULL || strstr(e.message, "shared.tif") == NULL)
            fail_msg("%s", e.message);
        tb_free(&b);
    }
}

static void pages_of_one_shape_are_frames(void **state)
{
    static uint16_t pixels[6][NX * NY];
    struct tiff_build b;
    struct mro_image im;
    (void)state;
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < NX * NY; k++) pixels[i][k] = (uint16_t)(1000 * i + k % 999);
    struct tiff_build_page page = {
        .nx = NX, .ny = NY, .bits = 16, .format = 1, .samples = 1, .photometric = 1, .extra_sample = 0xffff
    };
    tb_begin(&b, false, false);
    for (size_t i = 0; i < 6; i++) { /* 3 frames, a thumbnail, 1 of another shape, 1 of another type */
        page.pixels = (const unsigned char *)pixels[i];
        page.subfile = i == 3;
        if (i == 4) page.nx = NX - 1;
        if (i == 5) page.nx = NX, page.format = 2;
        page.gap = i % 2 ? 4 : 0;
        page.rows_per_strip = i % 2 ? 4 : 0;
        tb_page(&b, &page);
    }
    struct mro_file *f = tb_open(&b);
    assert_int_equal(mro_file_images(f), 3);
    assert_int_equal(mro_file_info(f, 0)->frames, 3);
    assert_int_equal(mro_file_info(f, 1)->frames, 1);
    assert_int_equal(mro_file_info(f, 1)->axis[1].size, NX - 1);
    assert_int_equal(mro_file_info(f, 2)->dtype, MRO_I16);
    assert_null(mro_file_info(f, 3));
    assert_true(warned(f, "thumbnails"));
    static const size_t order[][3] = { { 0, 2, 2 }, { 2, 0, 5 }, { 0, 1, 1 }, { 0, 0, 0 }, { 1, 0, 4 } };
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(mro_file_read(f, order[i][0], order[i][1], &im, NULL), MRO_OK);
        for (size_t k = 0; k < im.nx * im.ny; k++) assert_true(im.px[k] == pixels[order[i][2]][k]);
        mro_image_release(&im);
    }
    struct mro_error e;
    assert_int_equal(mro_file_read(f, 0, 3, &im, &e), MRO_EARG);
    assert_int_equal(mro_file_read(f, 3, 0, &im, &e), MRO_EARG);
    mro_file_close(f);
    tb_free(&b);
}

static void a_page_that_is_not_read_is_passed_over(void **state)
{
    static uint16_t pixels[NX * NY * 2];
    struct tiff_build b;
    (void)state;
    struct tiff_build_page page = { .nx = NX,
                                    .ny = NY,
                                    .bits = 16,
                                    .format = 1,
                                    .samples = 1,
                                    .photometric = 1,
                                    .extra_sample = 0xffff,
                                    .pixels = (const unsigned char *)pixels };
    tb_begin(&b, false, false);
    page.photometric = 8; /* CIE L*a*b* */
    tb_page(&b, &page);
    page.photometric = 1;
    tb_page(&b, &page);
    struct mro_file *f = tb_open(&b);
    assert_int_equal(mro_file_images(f), 1);
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_true(warned(f, "photometric interpretation 8"));
    mro_file_close(f);
    tb_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_others_read),
        cmocka_unit_test(reads_every_type_and_layout),
        cmocka_unit_test(large_integers_keep_their_digits_in_statistics),
        cmocka_unit_test(colour_becomes_luminance),
        cmocka_unit_test(channels_that_are_no_colour_are_frames),
        cmocka_unit_test(alpha_palette_white_and_orientation),
        cmocka_unit_test(pages_that_share_are_refused),
        cmocka_unit_test(pages_of_one_shape_are_frames),
        cmocka_unit_test(a_page_that_is_not_read_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TIFF: files of other programs against what RosettaSciIO and tifffile read from them, every sample type,
 * byte order and layout built here, calibration in its spellings, and files that are cut, lying or odd. */
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

static struct mro_file *open_built(const struct tiff_build *b)
{
    struct mro_file *f = NULL;
    struct mro_error e = { .code = MRO_OK };
    if (mro_file_open_memory(&f, b->p, b->size, "built.tif", 0, &e) != MRO_OK) fail_msg("%s", e.message);
    return f;
}

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
    struct mro_file *f = open_built(&b);
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
        struct mro_file *f = open_built(&b);
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
        struct mro_file *f = open_built(&b);
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
    f = open_built(&b);
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
    f = open_built(&b);
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
    f = open_built(&b);
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
    struct mro_file *f = open_built(&b);
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
    struct mro_file *f = open_built(&b);
    assert_int_equal(mro_file_images(f), 1);
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_true(warned(f, "photometric interpretation 8"));
    mro_file_close(f);
    tb_free(&b);
}

/* ---------------------------------------------------------------- calibration */

static void imagej_units_in_all_spellings(void **state)
{
    static const struct {
        const char *line;
        double nm; /* of a pixel with resolution 4/1; 0 = no length */
        enum mro_unit unit;
    } cases[] = {
        { "unit=nm", 0.25, MRO_UNIT_NM },       { "unit=\\u00B5m", 250, MRO_UNIT_NM },
        { "unit=\\u00b5m", 250, MRO_UNIT_NM },  { "unit=\xc2\xb5m", 250, MRO_UNIT_NM },
        { "unit=\xce\xbcm", 250, MRO_UNIT_NM }, { "unit=\xb5m", 250, MRO_UNIT_NM },
        { "unit=um", 250, MRO_UNIT_NM },        { "unit=micron", 250, MRO_UNIT_NM },
        { "unit= nm \r", 0.25, MRO_UNIT_NM },   { "unit=\\u00C5", 0.025, MRO_UNIT_NM },
        { "unit=pm", 0.00025, MRO_UNIT_NM },    { "unit=1/nm", 0.25, MRO_UNIT_INV_NM },
        { "unit=pixel", 0, MRO_UNIT_NONE },     { "myunit=nm", 0, MRO_UNIT_NONE },
        { "spacing=3.0", 0, MRO_UNIT_NONE }, /* resolution alone is no calibration */
    };
    static uint8_t pixels[4];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        snprintf(text, sizeof text, "ImageJ=1.53t\nimages=1\n%s\nmin=0.0\n", cases[i].line);
        const struct tiff_build_page page = { .nx = 2,
                                              .ny = 2,
                                              .bits = 8,
                                              .format = 1,
                                              .samples = 1,
                                              .photometric = 1,
                                              .description = text,
                                              .resolution = { 4, 1, 8, 1 },
                                              .extra_sample = 0xffff,
                                              .pixels = pixels };
        struct tiff_build b;
        tb_begin(&b, i & 1, i & 2);
        tb_page(&b, &page);
        struct mro_file *f = open_built(&b);
        const struct mro_image_info *info = mro_file_info(f, 0);
        assert_int_equal(info->axis[1].unit, cases[i].unit);
        if (cases[i].nm > 0) {
            near(info->axis[1].step, cases[i].nm, 1e-12);
            near(info->axis[0].step, cases[i].nm / 2, 1e-12); /* y has its own resolution */
            assert_int_equal(info->axis[1].source, MRO_SOURCE_IMAGEJ);
        } else {
            assert_true(info->axis[1].step == 0);
        }
        assert_int_equal(info->kind, cases[i].unit == MRO_UNIT_INV_NM ? MRO_KIND_DIFFRACTION : MRO_KIND_IMAGE);
        mro_file_close(f);
        tb_free(&b);
    }
}

static void imagej_spacing_is_for_slices_only(void **state)
{
    struct mro_file *f = open_in(DATA, "test_loading_image_saved_with_imageJ_stack.tif");
    const struct mro_image_info *info = mro_file_info(f, 0);
    (void)state;
    near(info->axis[0].step, 2500, 1e-12);
    assert_string_equal(info->axis[1].unit_text, "micron");
    mro_file_close(f);
}

/* ImageJ writes stacks as one directory with all images behind each other. */
static void imagej_stack_of_one_directory(void **state)
{
    static uint16_t pixels[6 * NX * NY];
    struct tiff_build b;
    struct mro_error e;
    struct mro_file *f;
    (void)state;
    for (size_t k = 0; k < 6 * NX * NY; k++) pixels[k] = (uint16_t)k;
    struct tiff_build_page page = { .nx = NX,
                                    .ny = NY,
                                    .bits = 16,
                                    .format = 1,
                                    .samples = 1,
                                    .photometric = 1,
                                    .description =
                                        "ImageJ=1.53t\nimages=6\nslices=3\nframes=2\nhyperstack=true\nunit=nm\n"
                                        "spacing=2.5\nfinterval=0.5\n",
                                    .resolution = { 100, 1, 100, 1 },
                                    .extra_sample = 0xffff,
                                    .pixels = (const unsigned char *)pixels };
    tb_begin(&b, true, false);
    tb_page(&b, &page);
    /* The directory lies before the pixels in ImageJ's files; behind the first image, it cuts the rest off. */
    f = open_built(&b);
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_true(warned(f, "speaks of 6 images, there are bytes for 1, which are read"));
    mro_file_close(f);
    /* Now the pixels follow at the end: the entry of StripOffsets (tag 273) is turned to there. */
    const uint32_t end = (uint32_t)b.size;
    for (size_t at = 8; at + 12 <= b.size; at += 2)
        if (b.p[at] == 0x01 && b.p[at + 1] == 0x11 && b.p[at + 3] == 4 && b.p[at + 7] == 1)
            for (int k = 0; k < 4; k++) b.p[at + 8 + k] = (unsigned char)(end >> (24 - 8 * k));
    tb_put(&b, pixels, 6 * NX * NY, 2);
    f = open_built(&b);
    const struct mro_image_info *info = mro_file_info(f, 0);
    assert_int_equal(info->axes, 4);
    assert_int_equal(info->axis[0].size, 2);
    assert_int_equal(info->axis[1].size, 3);
    near(info->axis[0].step, 0.5, 1e-12);
    assert_int_equal(info->axis[0].unit, MRO_UNIT_S);
    near(info->axis[1].step, 2.5, 1e-12);
    near(info->axis[3].step, 0.01, 1e-12);
    assert_int_equal(info->frames, 6);
    for (size_t frame = 0; frame < 6; frame++) {
        struct mro_image im;
        assert_int_equal(mro_file_read(f, 0, frame, &im, NULL), MRO_OK);
        for (size_t k = 0; k < NX * NY; k++) assert_true(im.px[k] == (uint16_t)(frame * NX * NY + k));
        mro_image_release(&im);
    }
    mro_file_close(f);
    /* Cut in the fifth image: the four before it are whole. */
    const size_t each = NX * NY * sizeof *pixels;
    if (mro_file_open_memory(&f, b.p, end + 4 * each + 5, "built.tif", 0, &e) != MRO_OK) fail_msg("%s", e.message);
    assert_int_equal(mro_file_info(f, 0)->axes, 3);
    assert_int_equal(mro_file_info(f, 0)->frames, 4);
    assert_true(warned(f, "there are bytes for 4"));
    for (size_t frame = 0; frame < 4; frame++) {
        struct mro_image im;
        assert_int_equal(mro_file_read(f, 0, frame, &im, NULL), MRO_OK);
        assert_true(im.px[NX * NY - 1] == (uint16_t)((frame + 1) * NX * NY - 1));
        mro_image_release(&im);
    }
    mro_file_close(f);
    tb_free(&b);
}

static void ome_units(void **state)
{
    static const struct {
        const char *attributes;
        double x, y;
    } cases[] = {
        { "PhysicalSizeX=\"0.02\" PhysicalSizeXUnit=\"nm\" PhysicalSizeY=\"0.03\" PhysicalSizeYUnit=\"nm\"", 0.02,
          0.03 },
        { "PhysicalSizeX='0.002' PhysicalSizeY='0.002'", 2, 2 }, /* the default unit is the micrometre */
        { "PhysicalSizeX=\"0.002\" PhysicalSizeXUnit=\"&#181;m\" PhysicalSizeY=\"2\" PhysicalSizeYUnit=\"&#xC5;\"", 2,
          0.2 },
        { "Name=\"PhysicalSizeX=&quot;9&quot; >\"", 0, 0 },
        { "PhysicalSizeX=\"-1\" PhysicalSizeY=\"nan\"", 0, 0 },
        { "PhysicalSizeX=\"1", 0, 0 },
    };
    static uint8_t pixels[6];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "<?xml version=\"1.0\"?><OME><Image><Pixels SizeX=\"9\" SizeY=\"2\" PhysicalSizeX=\"7\"/></Image><Image>"
            "<Pixels ID=\"P:0\" SizeX=\"3\" SizeY=\"2\" %s></Pixels></Image></OME>",
            cases[i].attributes);
        const struct tiff_build_page page = { .nx = 3,
                                              .ny = 2,
                                              .bits = 8,
                                              .format = 1,
                                              .samples = 1,
                                              .photometric = 1,
                                              .description = text,
                                              .extra_sample = 0xffff,
                                              .pixels = pixels };
        struct tiff_build b;
        tb_begin(&b, false, false);
        tb_page(&b, &page);
        struct mro_file *f = open_built(&b);
        const struct mro_image_info *info = mro_file_info(f, 0);
        near(info->axis[1].step, cases[i].x, 1e-12);
        near(info->axis[0].step, cases[i].y, 1e-12);
        mro_file_close(f);
        tb_free(&b);
    }
}

/* ---------------------------------------------------------------- cut, lying and odd files */

static void malformed_files_are_refused_in_a_sentence(void **state)
{
    static const struct {
        const char *name, *part; /* part of the sentence; NULL: it loads */
    } files[] = {
        { "tif_1x1.tif", NULL },
        { "tif_all_nan_float.tif", NULL },
        { "tif_bad_deflate.tif", "cannot be decoded" },
        { "tif_bad_lzw.tif", "cannot be decoded" },
        { "tif_bits_17.tif", "17 bits" },
        { "tif_constant.tif", NULL },
        { "tif_count_overflow.tif", "" },
        { "tif_cyclic_ifd.tif", NULL },
        { "tif_deflate_bomb.tif", NULL },
        { "tif_huge_dims.tif", "2147483647" },
        { "tif_ifd_in_header.tif", "" },
        { "tif_nan_inf_float.tif", NULL },
        { "tif_rps_zero.tif", "RowsPerStrip" },
        { "tif_strip_past_end.tif", "is cut" },
        { "tif_trunc_8.tif", "" },
        { "tif_unknown_compression.tif", "LZMA" },
        { "tif_zero_width.tif", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024];
        struct mro_file *f = NULL;
        struct mro_error e = { .code = MRO_OK };
        struct mro_image im = { 0 };
        snprintf(path, sizeof path, DATA "%s", files[i].name);
        enum mro_code rc = mro_file_open(&f, path, 0, &e);
        if (rc == MRO_OK) rc = mro_file_read(f, 0, 0, &im, &e);
        if (files[i].part == NULL) {
            if (rc) fail_msg("%s", e.message);
        } else {
            assert_int_equal(rc, MRO_EFORMAT);
            assert_non_null(strstr(e.message, files[i].name));
            assert_non_null(strstr(e.message, files[i].part));
            assert_null(im.px);
        }
        mro_image_release(&im);
        mro_file_close(f);
    }
}

static void odd_files_load_with_their_oddity_told(void **state)
{
    struct mro_image im;
    struct mro_statistics s;
    (void)state;
    struct mro_file *f = open_in(DATA, "tif_nan_inf_float.tif");
    assert_int_equal(mro_file_read(f, 0, 0, &im, NULL), MRO_OK);
    size_t nan = 0;
    for (size_t k = 0; k < im.nx * im.ny; k++) {
        assert_false(isinf(im.px[k]));
        nan += isnan(im.px[k]) != 0;
    }
    assert_int_equal(im.not_finite, 67);
    assert_int_equal(nan, 67);
    mro_image_release(&im);
    assert_int_equal(mro_file_statistics(f, 0, &s, NULL), MRO_OK);
    assert_int_equal(s.not_finite, 67);
    assert_int_equal(s.count, 64 * 64 - 67);
    near(s.mean, 998.65932378439902, 1e-12);
    mro_file_close(f);

    f = open_in(DATA, "tif_all_nan_float.tif");
    assert_int_equal(mro_file_statistics(f, 0, &s, NULL), MRO_OK);
    assert_true(isnan(s.min) && isnan(s.max) && isnan(s.mean) && isnan(s.sd) && s.count == 0 && s.not_finite == 256);
    mro_file_close(f);

    f = open_in(DATA, "tif_constant.tif");
    assert_int_equal(mro_file_statistics(f, 0, &s, NULL), MRO_OK);
    assert_true(s.min == 7 && s.max == 7 && s.mean == 7 && s.sd == 0);
    mro_file_close(f);

    f = open_in(DATA, "tif_cyclic_ifd.tif");
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_true(warned(f, "loop"));
    mro_file_close(f);

    /* More in the stream than the strip may hold: the pixels are the first of them, all of them. */
    f = open_in(DATA, "tif_deflate_bomb.tif");
    assert_true(warned(f, "not read"));
    assert_int_equal(mro_file_read(f, 0, 0, &im, NULL), MRO_OK);
    for (size_t k = 0; k < 16; k++) assert_true(im.px[k] == 0);
    mro_image_release(&im);
    mro_file_close(f);
}

/* Opens and reads all of what a damaged file offers; only the sanitizers and the clock judge it. */
static enum mro_code read_all(const unsigned char *p, size_t size)
{
    struct mro_file *f;
    struct mro_error e = { .code = MRO_OK };
    enum mro_code rc = mro_file_open_memory(&f, p, size, "damaged.tif", (size_t)64 << 20, &e);
    for (size_t i = 0; f && i < mro_file_images(f) && i < 8; i++) {
        struct mro_image im;
        struct mro_statistics s;
        for (size_t k = 0; k < mro_file_info(f, i)->frames && k < 4; k++) {
            const enum mro_code r = mro_file_read(f, i, k, &im, &e);
            if (r == MRO_OK) mro_image_release(&im);
            if (r) rc = r;
        }
        if (mro_file_info(f, i)->frames < 8 && mro_file_statistics(f, i, &s, &e)) rc = e.code;
    }
    if (rc) assert_true(e.message[0] != '\0');
    mro_file_close(f);
    return rc;
}

static void a_file_cut_anywhere_is_an_error(void **state)
{
    static const char *const names[] = { "sto_imagej_nm_stack.tif", "hopper_lzw.tif", "16bit.MM.deflate.tif",
                                         "sto_u16_bigtiff_tiled_deflate.tif", "hopper_bigtiff.tif" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        unsigned char *p = load_in(DATA, names[i], &size);
        assert_int_equal(read_all(p, size), MRO_OK);
        for (int k = 0; k < 24; k++) {
            /* A copy of that length, so that a step past its end is seen. */
            const size_t part = size * (size_t)k / 25;
            unsigned char *copy = malloc(part ? part : 1);
            assert_non_null(copy);
            memcpy(copy, p, part);
            struct mro_file *f;
            if (read_all(copy, part) == MRO_OK) { /* of a stack of ImageJ, the whole images are read */
                assert_int_equal(mro_file_open_memory(&f, copy, part, "cut.tif", 0, NULL), MRO_OK);
                if (!warned(f, "is cut")) fail_msg("%s cut to %zu of %zu bytes was read", names[i], part, size);
                mro_file_close(f);
            }
            free(copy);
        }
        free(p);
    }
}

static void damaged_headers_do_no_harm(void **state)
{
    static const char *const names[] = { "16bit.MM.deflate.tif", "test_loading_image_saved_with_DM.tif", "tif_1x1.tif",
                                         "tif_nan_inf_float.tif" };
    uint64_t random = 12345;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        unsigned char *p = load_in(DATA, names[i], &size), *copy = malloc(size);
        assert_non_null(copy);
        for (int k = 0; k < 1500; k++) {
            memcpy(copy, p, size);
            for (int n = 0; n <= k % 4; n++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                /* Directories sit near the start or the end of these files. */
                const size_t span = size < 400 ? size : 400,
                             at = random >> 33 & 1 ? random >> 40 : size - 1 - (random >> 40) % span;
                copy[at % (random >> 33 & 1 ? span : size)] = (unsigned char)(random >> 25);
            }
            (void)read_all(copy, size);
        }
        free(copy);
        free(p);
    }
}

static void the_budget_bounds_a_frame(void **state)
{
    struct mro_file *f;
    struct mro_error e;
    (void)state;
    assert_int_equal(mro_file_open(&f, DATA "sto_u16_lzw_big_endian.tif", 200000, &e), MRO_EMEMORY);
    assert_null(f);
    assert_non_null(strstr(e.message, "`memory`"));
    assert_int_equal(mro_file_open(&f, DATA "sto_u16_lzw_big_endian.tif", 2000000, &e), MRO_OK);
    mro_file_close(f);
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
        cmocka_unit_test(imagej_units_in_all_spellings),
        cmocka_unit_test(imagej_spacing_is_for_slices_only),
        cmocka_unit_test(imagej_stack_of_one_directory),
        cmocka_unit_test(ome_units),
        cmocka_unit_test(malformed_files_are_refused_in_a_sentence),
        cmocka_unit_test(odd_files_load_with_their_oddity_told),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(damaged_headers_do_no_harm),
        cmocka_unit_test(the_budget_bounds_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

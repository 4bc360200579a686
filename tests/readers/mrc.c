/* SPDX-License-Identifier: GPL-3.0-or-later */
/* MRC: real files against what other readers say of them; every mode in both byte orders, calibration of every origin,
 * from files built here; files that are cut or lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/reader.h"
#include "readers/build.h"
#include "readers/data.h"

/* ---- files built here ---- */

/* A header with magic word and stamp, a cell of 0.4 A steps along x, 0.5 A along y, 0.6 A along z, and `extension` and
 * `data` zero bytes behind it. Freed by the caller. */
struct file {
    unsigned char *p, *data;
    size_t size;
    bool big;
};

static struct file build(int nx, int ny, int nz, int mode, bool big, size_t extension, size_t data)
{
    struct file f = { .size = 1024 + extension + data, .big = big };
    f.p = calloc(1, f.size);
    assert_non_null(f.p);
    f.data = f.p + 1024 + extension;
    const int words[] = { nx, ny, nz, mode, 0, 0, 0, nx, ny, nz };
    for (size_t i = 0; i < 10; i++) put_i32(f.p + 4 * i, words[i], big);
    put_f32(f.p + 40, 0.4 * nx, big);
    put_f32(f.p + 44, 0.5 * ny, big);
    put_f32(f.p + 48, 0.6 * nz, big);
    for (int i = 0; i < 3; i++) {
        put_f32(f.p + 52 + 4 * i, 90, big);
        put_i32(f.p + 64 + 4 * i, i + 1, big);
    }
    put_f32(f.p + 80, -1, big); /* maximum below minimum: not known */
    put_i32(f.p + 92, (int)extension, big);
    memcpy(f.p + 208, "MAP ", 4);
    memcpy(f.p + 212, big ? "\x11\x11" : "\x44\x44", 2);
    return f;
}

static struct mro_file *open_built(const struct file *b) { return open_bytes(b->p, b->size, "built.mrc", "MRC"); }

static void refuses(const struct file *b, const char *part) { refuse_bytes(b->p, b->size, "built.mrc", part); }

static void assert_steps(const struct mro_image_info *i, size_t axes, const double *step, enum mro_unit unit)
{
    assert_int_equal(i->axes, axes);
    for (size_t k = 0; k < axes; k++) {
        near(i->axis[k].step, step[k], 1e-6); /* float32 in the header */
        assert_int_equal(i->axis[k].unit, step[k] > 0 ? unit : MRO_UNIT_NONE);
        assert_int_equal(i->axis[k].source, step[k] > 0 ? MRO_SOURCE_VENDOR : MRO_SOURCE_UNKNOWN);
    }
}

static void test_modes(void **state)
{
    (void)state;
    /* Four values each, as they are stored; two frames of 2 x 1. */
    static const struct {
        int mode;
        enum mro_dtype dtype;
        size_t words, bytes; /* words a pixel, bytes a word */
        uint64_t word[8];
        float value[4];
    } cases[] = {
        { 0, MRO_I8, 1, 1, { 0x80, 0xff, 0, 0x7f }, { -128, -1, 0, 127 } },
        { 1, MRO_I16, 1, 2, { 0x8000, 0xfffe, 1, 0x1234 }, { -32768, -2, 1, 0x1234 } },
        { 2, MRO_F32, 1, 4, { 0x3fc00000, 0xbf800000, 0, 0x42280000 }, { 1.5f, -1, 0, 42 } },
        { 3, MRO_C64, 2, 2, { 3, 4, 0xfffd, 0, 0, 5, 0xfffa, 8 }, { 5, 3, 5, 10 } },
        { 4, MRO_C64, 2, 4, { 0x40400000, 0x40800000, 0x3f800000, 0, 0, 0xbf800000, 0, 0 }, { 5, 1, 1, 0 } },
        { 6, MRO_U16, 1, 2, { 0x8000, 0xfffe, 1, 0x1234 }, { 32768, 65534, 1, 0x1234 } },
        { 12, MRO_F16, 1, 2, { 0x3e00, 0xbc00, 0, 0x5140 }, { 1.5f, -1, 0, 42 } },
    };
    for (int big = 0; big < 2; big++)
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            const size_t words = 4 * cases[c].words;
            struct file b = build(2, 1, 2, cases[c].mode, big, 0, words * cases[c].bytes);
            for (size_t i = 0; i < words; i++)
                put_bits(b.data + i * cases[c].bytes, cases[c].word[i], cases[c].bytes, big);
            struct mro_file *f = open_built(&b);
            const struct mro_image_info *i = mro_file_info(f, 0);
            assert_int_equal(i->dtype, cases[c].dtype);
            assert_int_equal(i->kind, MRO_KIND_IMAGE);
            assert_int_equal(i->frames, 2);
            assert_steps(i, 3, (double[]){ 0, 0.05, 0.04 }, MRO_UNIT_NM);
            assert_pixels(f, 0, 2, cases[c].value);
            assert_pixels(f, 1, 2, cases[c].value + 2);
            struct mro_statistics s;
            struct mro_error e;
            assert_int_equal(mro_file_statistics(f, 0, &s, &e), MRO_OK);
            assert_near(s.sum, (double)cases[c].value[0] + cases[c].value[1] + cases[c].value[2] + cases[c].value[3]);
            assert_no_warning(f);
            mro_file_close(f);
            free(b.p);
        }
}

static void test_colour_and_nibbles(void **state)
{
    (void)state;
    struct file b = build(1, 2, 1, 16, false, 0, 6);
    memcpy(b.data, "\x0a\x0a\x0a\xc8\xc8\xc8", 6);
    struct mro_file *f = open_built(&b);
    assert_int_equal(mro_file_info(f, 0)->dtype, MRO_RGB8);
    assert_pixels(f, 0, 2, (float[]){ 10, 200 });
    mro_file_close(f);
    free(b.p);

    /* Rows of three pixels begin on a byte. */
    b = build(3, 2, 1, 101, false, 0, 4);
    memcpy(b.data, "\x21\x03\xf4\x0e", 4);
    f = open_built(&b);
    assert_int_equal(mro_file_info(f, 0)->dtype, MRO_U8);
    assert_pixels(f, 0, 6, (float[]){ 1, 2, 3, 4, 15, 14 });
    mro_file_close(f);
    free(b.p);

    /* The same as bytes of half the width, as SerialEM writes it; the cell is that of the half width too. */
    b = build(2, 1, 1, 0, false, 0, 2);
    memcpy(b.data, "\x21\x43", 2);
    put_i32(b.p + 152, 1146047817, false);
    put_i32(b.p + 156, 16, false);
    f = open_built(&b);
    assert_steps(mro_file_info(f, 0), 2, (double[]){ 0.05, 0.04 }, MRO_UNIT_NM);
    assert_pixels(f, 0, 4, (float[]){ 1, 2, 3, 4 });
    mro_file_close(f);
    free(b.p);
}

static void byte_case(int stamp, int flags, double min, double max, enum mro_dtype dtype)
{
    struct file b = build(2, 1, 1, 0, false, 0, 2);
    put_i32(b.p + 152, stamp, false);
    put_i32(b.p + 156, flags, false);
    put_f32(b.p + 76, min, false);
    put_f32(b.p + 80, max, false);
    memcpy(b.data, "\x01\xf0", 2);
    struct mro_file *f = open_built(&b);
    assert_int_equal(mro_file_info(f, 0)->dtype, dtype);
    assert_pixels(f, 0, 2, (float[]){ 1, dtype == MRO_U8 ? 240 : -16 });
    mro_file_close(f);
    free(b.p);
}

static void test_sign_of_bytes(void **state)
{
    (void)state;
    byte_case(0, 0, 0, -1, MRO_I8);               /* the definition */
    byte_case(0, 0, -16, 1, MRO_I8);              /* the range of the header fits it */
    byte_case(0, 0, 1, 240, MRO_U8);              /* the range cannot be signed */
    byte_case(1146047817, 0, 0, -1, MRO_U8);      /* IMOD says unsigned */
    byte_case(1146047817, 1, 1, 240, MRO_I8);     /* and signed */
    byte_case(1146047816, 1 << 4, 0, -1, MRO_I8); /* flags without the stamp are not IMOD's */
}

static void test_old_files(void **state)
{
    (void)state;
    /* No magic word; with and without a stamp, in both orders. */
    for (int big = 0; big < 2; big++)
        for (int stamped = 0; stamped < 2; stamped++) {
            struct file b = build(5, 1, 1, 1, big, 0, 10);
            memset(b.p + 208, 0, stamped ? 4 : 8);
            for (size_t i = 0; i < 5; i++) put_bits(b.data + 2 * i, i + 7, 2, big);
            struct mro_file *f = open_built(&b);
            assert_pixels(f, 0, 5, (float[]){ 7, 8, 9, 10, 11 });
            assert_no_warning(f);
            mro_file_close(f);
            free(b.p);
        }
    /* Zeros are no file of this kind. */
    unsigned char zeros[2048] = { 0 };
    refuses(&(struct file){ .p = zeros, .size = sizeof zeros }, "no image format that is read");
}

static void test_wrong_stamp(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++) {
        struct file b = build(2, 1, 1, 6, big, 0, 4);
        memcpy(b.p + 212, big ? "\x44\x41" : "\x11\x11", 2);
        put_bits(b.data, 7, 2, big);
        struct mro_file *f = open_built(&b);
        assert_pixels(f, 0, 2, (float[]){ 7, 0 });
        assert_warning(f, big ? "stamp says little-endian" : "stamp says big-endian");
        mro_file_close(f);
        free(b.p);
    }
}

/* ---- calibration ---- */

static void test_permuted_axes(void **state)
{
    (void)state;
    /* Columns are z, rows x, sections y; a volume. */
    struct file b = build(2, 3, 4, 0, false, 0, 24);
    for (int i = 0; i < 3; i++) put_i32(b.p + 64 + 4 * i, (int[]){ 3, 1, 2 }[i], false);
    put_i32(b.p + 88, 4, false);
    struct mro_file *f = open_built(&b);
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_steps(i, 3, (double[]){ 0.05, 0.04, 0.06 }, MRO_UNIT_NM);
    assert_int_equal(i->axis[0].size, 4);
    assert_int_equal(i->axis[1].size, 3);
    assert_int_equal(i->axis[2].size, 2);
    mro_file_close(f);
    /* An order that is none is x, y, z, said so unless the words are simply empty. */
    put_i32(b.p + 64, 1, false);
    f = open_built(&b);
    assert_steps(mro_file_info(f, 0), 3, (double[]){ 0.06, 0.05, 0.04 }, MRO_UNIT_NM);
    assert_warning(f, "1, 1, 2 (MAPC, MAPR, MAPS)");
    mro_file_close(f);
    memset(b.p + 64, 0, 12);
    f = open_built(&b);
    assert_no_warning(f);
    mro_file_close(f);
    free(b.p);
}

static void test_stacks_and_volumes(void **state)
{
    (void)state;
    struct file b = build(2, 2, 6, 0, false, 0, 24);
    struct mro_file *f = open_built(&b); /* ISPG 0: pictures, whatever the cell says of z */
    assert_steps(mro_file_info(f, 0), 3, (double[]){ 0, 0.05, 0.04 }, MRO_UNIT_NM);
    mro_file_close(f);
    put_i32(b.p + 88, 1, false);
    f = open_built(&b);
    assert_steps(mro_file_info(f, 0), 3, (double[]){ 0.06, 0.05, 0.04 }, MRO_UNIT_NM);
    mro_file_close(f);
    put_i32(b.p + 88, 401, false); /* two volumes of three sections */
    put_i32(b.p + 36, 3, false);
    put_f32(b.p + 48, 1.8, false);
    f = open_built(&b);
    assert_steps(mro_file_info(f, 0), 4, (double[]){ 0, 0.06, 0.05, 0.04 }, MRO_UNIT_NM);
    assert_int_equal(mro_file_info(f, 0)->axis[0].size, 2);
    assert_int_equal(mro_file_info(f, 0)->axis[1].size, 3);
    assert_int_equal(mro_file_info(f, 0)->frames, 6);
    mro_file_close(f);
    free(b.p);
}

static void test_unknown_cells(void **state)
{
    (void)state;
    static const struct {
        int mx;
        double x;
    } cases[] = { { 0, 1 }, { -2, 1 }, { 2, 0 }, { 2, -0.8 }, { 2, NAN }, { 2, INFINITY }, { 2, 1e-44 }, { 2, 1e30 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct file b = build(2, 2, 1, 0, false, 0, 4);
        put_i32(b.p + 28, cases[c].mx, false);
        put_f32(b.p + 40, cases[c].x, false);
        struct mro_file *f = open_built(&b);
        assert_steps(mro_file_info(f, 0), 2, (double[]){ 0.05, 0 }, MRO_UNIT_NM);
        mro_file_close(f);
        free(b.p);
    }
    /* One Angstrom is what many programs write for "unknown". */
    struct file b = build(2, 2, 1, 0, false, 0, 4);
    put_f32(b.p + 40, 2, false);
    put_f32(b.p + 44, 2, false);
    struct mro_file *f = open_built(&b);
    assert_steps(mro_file_info(f, 0), 2, (double[]){ 0.1, 0.1 }, MRO_UNIT_NM);
    assert_warning(f, "exactly 1 Angstrom, which many programs write when they do not know it; check it");
    mro_file_close(f);
    free(b.p);
}

/* Writes the fields of one FEI block that are read. */
static void put_fei(unsigned char *p, size_t bytes, bool big, double pixel_m)
{
    put_i32(p, (int)bytes, big);
    put_bits(p + 8, 1u << 7 | 1u << 8, 4, false); /* tilts are given; masks are little-endian always */
    put_f64(p + 12, 44900.5, big);
    memcpy(p + 20, "TALOS", 5);
    memcpy(p + 36, "9950", 4);
    put_f64(p + 84, 200000, big);
    put_f64(p + 100, 12.5, big);
    put_f64(p + 108, -3, big);
    put_f64(p + 156, pixel_m, big);
    put_f64(p + 164, pixel_m * 1.5, big);
    put_i32(p + 244, 1, big);
    put_i32(p + 248, pixel_m > 1 ? 1 : 2, big);
    put_f64(p + 289, 92000, big);
    put_f64(p + 301, 0.25, big);
    put_i32(p + 427, 2, big);
    put_i32(p + 431, 4, big);
    memcpy(p + 435, "BM-Ceta", 7);
}

static void test_fei_blocks(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++)
        for (int version = 1; version <= 2; version++) {
            const size_t bytes = version == 1 ? 768 : 888;
            struct file b = build(2, 1, 2, 6, big, 2 * bytes, 8);
            memcpy(b.p + 104, version == 1 ? "FEI1" : "FEI2", 4);
            memset(b.p + 40, 0, 12); /* no cell: the blocks have the pixel size */
            for (size_t k = 0; k < 2; k++) put_fei(b.p + 1024 + k * bytes, bytes, big, 2e-11);
            if (version == 2) memcpy(b.p + 1024 + 804, "Falcon 4i", 9);
            struct mro_file *f = open_built(&b);
            const struct mro_image_info *i = mro_file_info(f, 0);
            assert_int_equal(i->kind, MRO_KIND_IMAGE);
            assert_steps(i, 3, (double[]){ 0, 0.03, 0.02 }, MRO_UNIT_NM);
            assert_near(i->beam_kv, 200);
            assert_near(i->magnification, 92000);
            assert_near(i->camera_length_mm, 250);
            assert_near(i->binning[0], 4);
            assert_near(i->binning[1], 2);
            assert_near(i->stage_tilt_deg[0], 12.5);
            assert_near(i->stage_tilt_deg[1], -3);
            assert_string_equal(i->instrument, "TALOS 9950");
            assert_string_equal(i->detector, version == 1 ? "BM-Ceta" : "Falcon 4i");
            assert_string_equal(i->date, "2022-12-05T12:00:00");
            assert_no_warning(f);
            mro_file_close(f);
            /* A tilt series has no tilt of its own. */
            put_f64(b.p + 1024 + bytes + 100, 14.5, big);
            f = open_built(&b);
            assert_true(isnan(mro_file_info(f, 0)->stage_tilt_deg[0]));
            assert_near(mro_file_info(f, 0)->stage_tilt_deg[1], -3);
            mro_file_close(f);
            /* A cell that disagrees wins, with a warning for each axis. */
            put_f32(b.p + 40, 0.8, big);
            put_f32(b.p + 44, 0.3, big);
            f = open_built(&b);
            assert_steps(mro_file_info(f, 0), 3, (double[]){ 0, 0.03, 0.04 }, MRO_UNIT_NM);
            assert_warning(f, "pixel of 0.04 nm, the extended header one of 0.02 nm along x");
            assert_null(mro_file_warning(f, 1));
            mro_file_close(f);
            /* A cell of one Angstrom does not. */
            put_f32(b.p + 40, 2, big);
            put_f32(b.p + 44, 1, big);
            f = open_built(&b);
            assert_steps(mro_file_info(f, 0), 3, (double[]){ 0, 0.03, 0.02 }, MRO_UNIT_NM);
            assert_no_warning(f);
            mro_file_close(f);
            free(b.p);
        }
}

static void test_fei_diffraction(void **state)
{
    (void)state;
    struct file b = build(2, 1, 1, 6, false, 768, 4);
    memcpy(b.p + 104, "FEI1", 4);
    put_fei(b.p + 1024, 768, false, 4e7); /* 1/m */
    struct mro_file *f = open_built(&b);
    assert_int_equal(mro_file_info(f, 0)->kind, MRO_KIND_DIFFRACTION);
    assert_steps(mro_file_info(f, 0), 2, (double[]){ 0.06, 0.04 }, MRO_UNIT_INV_NM);
    mro_file_close(f);
    put_f64(b.p + 1024 + 156, 4e-11, false); /* diffraction by the projector, a length in the field */
    f = open_built(&b);
    assert_int_equal(mro_file_info(f, 0)->kind, MRO_KIND_DIFFRACTION);
    assert_steps(mro_file_info(f, 0), 2, (double[]){ 0, 0 }, MRO_UNIT_INV_NM);
    assert_warning(f, "diffraction but the pixel size is a length");
    mro_file_close(f);
    free(b.p);
}

static void test_old_fei_header(void **state)
{
    (void)state;
    struct file b = build(2, 1, 1, 1, false, 131072, 4);
    put_bits(b.p + 130, 32, 2, false); /* 32 floats a section */
    memset(b.p + 40, 0, 12);
    put_f32(b.p + 1024 + 44, 3e-10, false);
    put_f32(b.p + 1024 + 48, 50000, false);
    put_f32(b.p + 1024 + 52, 300000, false);
    struct mro_file *f = open_built(&b);
    assert_steps(mro_file_info(f, 0), 2, (double[]){ 0.3, 0.3 }, MRO_UNIT_NM);
    assert_near(mro_file_info(f, 0)->beam_kv, 300);
    assert_near(mro_file_info(f, 0)->magnification, 50000);
    mro_file_close(f);
    free(b.p);
}

/* ---- files that are cut or lie ---- */

static void test_cut_files(void **state)
{
    (void)state;
    struct file b = build(4, 3, 5, 1, false, 0, 5 * 24);
    for (int i = 0; i < 60; i++) put_bits(b.data + 2 * i, (uint64_t)i, 2, false);
    struct mro_file *f;
    struct mro_error e;
    /* From nothing to everything: an error with a sentence, or the whole frames, or the whole rows of the first. */
    for (size_t size = 0; size <= b.size; size++) {
        unsigned char *p = malloc(size ? size : 1); /* its end is the end of a block, for the sanitizer */
        assert_non_null(p);
        memcpy(p, b.p, size);
        const enum mro_code c = mro_file_open_memory(&f, p, size, "cut.mrc", BUDGET, &e);
        const size_t frames = size < 1024 ? 0 : (size - 1024) / 24, rows = size < 1024 ? 0 : (size - 1024) / 8;
        if (rows == 0) {
            assert_int_equal(c, MRO_EFORMAT);
            assert_non_null(strstr(e.message, "cut.mrc"));
        } else {
            assert_int_equal(c, MRO_OK);
            const struct mro_image_info *i = mro_file_info(f, 0);
            assert_int_equal(i->frames, frames ? frames : 1);
            assert_int_equal(i->axes, frames > 1 ? 3 : 2);
            assert_int_equal(i->axis[i->axes - 2].size, frames ? 3 : rows);
            struct mro_image im;
            assert_int_equal(mro_file_read(f, 0, i->frames - 1, &im, &e), MRO_OK);
            assert_true(im.px[0] == (float)(12 * (i->frames - 1)));
            mro_image_release(&im);
            if (frames == 5)
                assert_no_warning(f);
            else
                assert_warning(f, frames ? "5 frames, but the file ends after" : "rows of the first");
            mro_file_close(f);
        }
        free(p);
    }
    free(b.p);
}

static void test_lies(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        int32_t value;
        const char *part;
    } cases[] = {
        { 12, 999, "mode 999 is not read" },
        { 12, 7, "mode 7 is not read" },
        { 0, -4, "size of -4 x 3 x 5" },
        { 8, 0, "size of 4 x 3 x 0" },
        { 0, INT32_MAX, "not one row" },
        { 92, -4096, "-4096 bytes (NSYMBT)" },
        { 92, INT32_MAX - 15, "2147483632 bytes, but only 120 follow" },
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct file b = build(4, 3, 5, 1, false, 0, 120);
        put_i32(b.p + cases[c].at, cases[c].value, false);
        refuses(&b, cases[c].part);
        free(b.p);
    }
    /* Sizes whose product is beyond 64 bits. */
    struct file b = build(INT32_MAX, INT32_MAX, INT32_MAX, 4, false, 0, 120);
    refuses(&b, "not one row");
    free(b.p);
    /* Labels that there are no places for. */
    b = build(1, 1, 1, 0, false, 0, 1);
    put_i32(b.p + 220, 1000000, false);
    memcpy(b.p + 224, "  a   label\n", 12);
    struct mro_file *f = open_built(&b);
    assert_warning(f, "1000000 labels");
    assert_string_equal(mro_file_info(f, 0)->title, "a label?");
    mro_file_close(f);
    /* More data than the header says. */
    put_i32(b.p + 220, 0, false);
    b.p = realloc(b.p, 1024 + 3);
    assert_non_null(b.p);
    memset(b.p + 1024, 0, 3);
    b.size = 1024 + 3;
    f = open_built(&b);
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_warning(f, "there is room for 3");
    mro_file_close(f);
    /* A block of an extended header that says it is larger than all of it is not looked at. */
    free(b.p);
    b = build(1, 1, 1, 0, false, 768, 1);
    memcpy(b.p + 104, "FEI1", 4);
    put_fei(b.p + 1024, 4096, false, 2e-11);
    f = open_built(&b);
    assert_true(mro_file_info(f, 0)->beam_kv == 0);
    mro_file_close(f);
    free(b.p);
}

/* ---- real files ---- */

static void test_velox(void **state)
{
    (void)state;
    struct mro_file *f = open_data("HAADFscan_one_block.mrc");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->kind, MRO_KIND_IMAGE); /* STEM works with the projector in diffraction */
    assert_int_equal(i->dtype, MRO_U16);
    assert_int_equal(i->axis[0].size, 16);
    assert_steps(i, 2, (double[]){ 5.679131317138672, 5.679131317138672 }, MRO_UNIT_NM);
    assert_near(i->beam_kv, 300);
    assert_near(i->camera_length_mm, 91.1);
    assert_true(i->binning[0] == 0); /* that of a camera that took no part */
    assert_string_equal(i->detector, "HAADF");
    assert_string_equal(i->instrument, "Spectra 3814");
    assert_statistics(f, 0, 3923, 9399, 6066.19921875, 1134.7458464753856);
    struct mro_image im;
    struct mro_error e;
    assert_int_equal(mro_file_read(f, 0, 0, &im, &e), MRO_OK);
    assert_true(im.px[0] == 5715 && im.px[1] == 6654 && im.px[2] == 7842 && im.px[3] == 8618);
    mro_image_release(&im);
    assert_no_warning(f);
    mro_file_close(f);
}

static void test_direct_electron(void **state)
{
    (void)state;
    struct mro_file *f = open_data("DE_64x64_dark.mrc");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->dtype, MRO_F32);
    assert_steps(i, 2, (double[]){ 0, 0 }, MRO_UNIT_NM); /* its cell holds integers, denormal as floats */
    assert_int_equal(i->frames, 1);
    assert_warning(f, "32766 frames, but the file ends after 1");
    mro_file_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_colour_and_nibbles),
        cmocka_unit_test(test_sign_of_bytes),
        cmocka_unit_test(test_old_files),
        cmocka_unit_test(test_wrong_stamp),
        cmocka_unit_test(test_permuted_axes),
        cmocka_unit_test(test_stacks_and_volumes),
        cmocka_unit_test(test_unknown_cells),
        cmocka_unit_test(test_fei_blocks),
        cmocka_unit_test(test_fei_diffraction),
        cmocka_unit_test(test_old_fei_header),
        cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_velox),
        cmocka_unit_test(test_direct_electron),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SER and EMI: real files against what other readers say of them; every data type, both versions, series, maps and
 * what an EMI file decides, from files built here; files that are cut or lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/emi.h"
#include "io/reader.h"
#include "readers/build.h"
#include "readers/data.h"

/* ---- real files ---- */

static void test_diffraction(void **state)
{
    (void)state;
    /* The same by its own name and by that of its EMI. */
    static const char *const names[] = { "64x64_diffraction_acquire_1.ser", "64x64_diffraction_acquire.emi" };
    for (size_t k = 0; k < 2; k++) {
        struct mro_file *f = open_in(MROSCOPE_TEST_DATA, names[k]);
        assert_string_equal(mro_file_format(f), k ? "EMI" : "SER");
        assert_int_equal(mro_file_images(f), 1);
        const struct mro_image_info *i = mro_file_info(f, 0);
        assert_string_equal(i->title, k ? names[0] : "");
        assert_int_equal(i->kind, MRO_KIND_DIFFRACTION);
        assert_int_equal(i->dtype, MRO_F32);
        assert_int_equal(i->axes, 2);
        /* The centre of the pattern is sample 32 of x, and of y counted from the bottom. */
        assert_axis(&i->axis[0], 64, 0.10157199619555664, -31 * 0.10157199619555664, MRO_UNIT_INV_NM);
        assert_axis(&i->axis[1], 64, 0.10157199619555664, -3.2503038782573967, MRO_UNIT_INV_NM);
        assert_near(i->beam_kv, 200);
        assert_near(i->camera_length_mm, 490);
        assert_true(i->magnification == 0);
        assert_near(i->binning[0], 4);
        assert_near(i->binning[1], 4);
        assert_true(i->stage_tilt_deg[0] == 0 && i->stage_tilt_deg[1] == 0);
        assert_string_equal(i->instrument, "Tecnai 200 kV D2267 SuperTwin");
        assert_string_equal(i->detector, "WA-Orius");
        assert_string_equal(i->date, "2016-02-21T17:51:15");
        assert_statistics(f, 0, -591.5082397460938, 2531.028564453125, 12.606196361695766, 383.1572765440526);
        struct mro_image im;
        struct mro_error e;
        assert_int_equal(mro_file_read(f, 0, 0, &im, &e), MRO_OK);
        assert_true(im.px[0] == -446.083251953125f && im.px[1] == -464.53076171875f);
        assert_int_equal(im.kind, MRO_KIND_DIFFRACTION);
        mro_image_release(&im);
        assert_no_warning(f);
        mro_file_close(f);
    }
}

static void test_line_scan(void **state)
{
    (void)state;
    struct mro_file *f = open_in(MROSCOPE_TEST_DATA, "16x16-line_profile_horizontal_5x128x128_EDS_1.ser");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->kind, MRO_KIND_SPECTRUM);
    assert_int_equal(i->dtype, MRO_U32);
    assert_int_equal(i->axes, 2);
    assert_axis(&i->axis[0], 5, 3.6886364090376356, 0, MRO_UNIT_NM);
    assert_axis(&i->axis[1], 4000, 5, 0, MRO_UNIT_EV);
    assert_near(i->beam_kv, 200);
    assert_near(i->magnification, 115000);
    /* Its own, not that of the survey image before it in the EMI. */
    assert_string_equal(i->date, "2016-02-22T19:18:16");
    assert_statistics(f, 0, 0, 1, 0.00055, 0.023445628590421715);
    assert_no_warning(f);
    mro_file_close(f);
    /* The EMI speaks of a second series, which is not here. */
    f = open_in(MROSCOPE_TEST_DATA, "16x16-line_profile_horizontal_5x128x128_EDS.emi");
    assert_int_equal(mro_file_images(f), 1);
    assert_int_equal(mro_file_info(f, 0)->kind, MRO_KIND_SPECTRUM);
    assert_warning(f, "5x128x128_EDS_2.ser': No such file");
    mro_file_close(f);
}

/* ---- files built here ---- */

struct axis {
    uint32_t size;
    double offset, delta;
    uint32_t element;
    const char *text, *unit;
};

struct ser {
    unsigned char *p;
    size_t size, offsets;
    bool wide;
};

/* How many, of what and along what. Zero axes: a series by number. */
struct plan {
    unsigned version;
    bool spectra;
    unsigned type;
    size_t value_bytes;
    uint32_t nx, ny; /* ny 1 for spectra */
    double step;
    uint32_t total, valid;
    uint32_t axes;
    struct axis axis[3];
    int positions; /* 0 none, 1 x runs first, 2 y runs first */
    uint32_t run;  /* elements that share the slow coordinate */
};

/* Elements hold 0, 1, 2, ... counted through the file as integers of the type; no element where valid < total. */
static struct ser build(const struct plan *c)
{
    const size_t head = c->spectra ? 26 : 50, values = (size_t)c->nx * c->ny, w = c->version >= 0x220 ? 8 : 4;
    const size_t element = head + values * c->value_bytes;
    struct ser s = { .wide = w == 8, .offsets = 30 + (w - 4) };
    for (uint32_t i = 0; i < c->axes; i++) s.offsets += 32 + strlen(c->axis[i].text) + strlen(c->axis[i].unit);
    const size_t first = s.offsets + 2 * w * c->total;
    s.size = first + c->valid * (element + 24);
    unsigned char *p = s.p = calloc(1, s.size);
    assert_non_null(p);
    memcpy(p, "II\x97\x01", 4);
    put_bits(p + 4, c->version, 2, false);
    put_i32(p + 6, c->spectra ? 0x4120 : 0x4122, false);
    put_i32(p + 10, c->positions ? 0x4142 : 0x4152, false);
    put_i32(p + 14, (int32_t)c->total, false);
    put_i32(p + 18, (int32_t)c->valid, false);
    put_bits(p + 22, s.offsets, w, false);
    put_i32(p + 22 + w, (int32_t)c->axes, false);
    unsigned char *q = p + 26 + w;
    for (uint32_t i = 0; i < c->axes; i++) {
        const struct axis *a = &c->axis[i];
        const size_t text = strlen(a->text), unit = strlen(a->unit);
        put_i32(q, (int32_t)a->size, false);
        put_f64(q + 4, a->offset, false);
        put_f64(q + 12, a->delta, false);
        put_i32(q + 20, (int32_t)a->element, false);
        put_i32(q + 24, (int32_t)text, false);
        memcpy(q + 28, a->text, text);
        put_i32(q + 28 + text, (int32_t)unit, false);
        memcpy(q + 32 + text, a->unit, unit);
        q += 32 + text + unit;
    }
    for (uint32_t i = 0, n = 0; i < c->valid; i++) {
        const size_t at = first + i * (element + 24);
        put_bits(p + s.offsets + w * i, at, w, false);
        put_bits(p + s.offsets + w * (c->total + i), at + element, w, false);
        for (size_t k = 0; k < (c->spectra ? 1 : 2); k++) { /* x, then y */
            put_f64(p + at + 20 * k, 3 * c->step, false);
            put_f64(p + at + 20 * k + 8, c->step, false);
            put_i32(p + at + 20 * k + 16, 1, false);
        }
        put_bits(p + at + head - (c->spectra ? 6 : 10), c->type, 2, false);
        put_i32(p + at + head - (c->spectra ? 4 : 8), (int32_t)c->nx, false);
        if (!c->spectra) put_i32(p + at + head - 4, (int32_t)c->ny, false);
        for (size_t k = 0; k < values; k++, n++) {
            unsigned char *v = p + at + head + k * c->value_bytes;
            if (c->type == 7)
                put_f32(v, n, false);
            else if (c->type == 8)
                put_f64(v, n, false);
            else if (c->type == 9) /* imaginary part */
                put_f32(v + 4, n, false);
            else if (c->type == 10)
                put_f64(v + 8, n, false);
            else
                put_bits(v, n, c->value_bytes, false);
        }
        const double fast = i % (c->run ? c->run : 1), slow = i / (c->run ? c->run : 1);
        put_bits(p + at + element, c->positions ? 0x4142 : 0x4152, 2, false);
        put_f64(p + at + element + 8, (c->positions == 1 ? fast : slow) * 1e-9, false);
        put_f64(p + at + element + 16, (c->positions == 1 ? slow : fast) * 1e-9, false);
    }
    return s;
}

static struct mro_file *open_built(const struct ser *s) { return open_bytes(s->p, s->size, "built.ser", "SER"); }

static void refuses(const struct ser *s, const char *part) { refuse_bytes(s->p, s->size, "built.ser", part); }

static void test_data_types(void **state)
{
    (void)state;
    static const enum mro_dtype dtypes[] = { MRO_U8,  MRO_U16, MRO_U32, MRO_I8,  MRO_I16,
                                             MRO_I32, MRO_F32, MRO_F64, MRO_C64, MRO_C128 };
    static const size_t bytes[] = { 1, 2, 4, 1, 2, 4, 4, 8, 8, 16 };
    for (unsigned version = 0x210; version <= 0x220; version += 0x10)
        for (unsigned type = 1; type <= 10; type++) {
            struct plan c = {
                version, false, type, bytes[type - 1], 3, 2, 2e-11, 2, 2, 1, { { 2, 0, 1, 0, "Number", "" } }, 0, 0
            };
            struct ser s = build(&c);
            struct mro_file *f = open_built(&s);
            const struct mro_image_info *i = mro_file_info(f, 0);
            assert_int_equal(i->dtype, dtypes[type - 1]);
            assert_int_equal(i->kind, MRO_KIND_IMAGE);
            assert_int_equal(i->axes, 3);
            assert_axis(&i->axis[0], 2, 0, 0, MRO_UNIT_NONE); /* counted, not measured */
            /* Value 3 steps at sample 1: sample 0 of x is at 2 steps; y counts down from the last row, at 3. */
            assert_axis(&i->axis[1], 2, 0.02, -0.06, MRO_UNIT_NM);
            assert_axis(&i->axis[2], 3, 0.02, 0.04, MRO_UNIT_NM);
            assert_pixels(f, 0, 6, (float[]){ 3, 4, 5, 0, 1, 2 });
            assert_pixels(f, 1, 6, (float[]){ 9, 10, 11, 6, 7, 8 });
            unsigned char raw[6]; /* the reader's own copy is turned in the same way */
            if (type == 1) {
                assert_int_equal(mro_reader_ser.read(f, 0, 1, raw, NULL), MRO_OK);
                assert_memory_equal(raw, "\x09\x0a\x0b\x06\x07\x08", 6);
            }
            mro_file_close(f);
            c.spectra = true;
            c.ny = 1;
            c.step = 0.5;
            free(s.p);
            s = build(&c);
            f = open_built(&s);
            i = mro_file_info(f, 0);
            assert_int_equal(i->kind, MRO_KIND_SPECTRUM);
            assert_int_equal(i->axes, 2);
            assert_int_equal(i->frames, 1);
            assert_axis(&i->axis[1], 3, 0.5, 1, MRO_UNIT_EV);
            assert_pixels(f, 0, 6, (float[]){ 0, 1, 2, 3, 4, 5 });
            mro_file_close(f);
            free(s.p);
        }
}

static void test_single_elements(void **state)
{
    (void)state;
    struct plan c = { 0x220, true, 2, 2, 4, 1, 0.25, 1, 1, 1, { { 1, 0, 1, 0, "Number", "" } }, 0, 0 };
    struct ser s = build(&c);
    struct mro_file *f = open_built(&s);
    assert_int_equal(mro_file_info(f, 0)->axes, 1);
    assert_pixels(f, 0, 4, (float[]){ 0, 1, 2, 3 });
    assert_warning(f, "beam energy is unknown");
    mro_file_close(f);
    free(s.p);
    /* A line profile is in metres. */
    c.step = 2e-10;
    s = build(&c);
    f = open_built(&s);
    assert_axis(&mro_file_info(f, 0)->axis[0], 4, 0.2, 0.4, MRO_UNIT_NM);
    mro_file_close(f);
    free(s.p);
}

/* Without an EMI the steps alone tell what an image is. */
static void test_kinds_alone(void **state)
{
    (void)state;
    static const struct {
        double step, nm;
        enum mro_kind kind;
        enum mro_unit unit;
    } cases[] = {
        { 3e-11, 0.03, MRO_KIND_IMAGE, MRO_UNIT_NM }, { 1e8, 0.1, MRO_KIND_DIFFRACTION, MRO_UNIT_INV_NM },
        { 1, 0, MRO_KIND_IMAGE, MRO_UNIT_NONE },      { 0, 0, MRO_KIND_IMAGE, MRO_UNIT_NONE },
        { NAN, 0, MRO_KIND_IMAGE, MRO_UNIT_NONE },    { 1e300, 0, MRO_KIND_DIFFRACTION, MRO_UNIT_NONE },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct plan c = { 0x210, false, 1, 1, 2, 2, cases[k].step, 1, 1, 0, { { 0 } }, 0, 0 };
        struct ser s = build(&c);
        struct mro_file *f = open_built(&s);
        const struct mro_image_info *i = mro_file_info(f, 0);
        assert_int_equal(i->kind, cases[k].kind);
        for (size_t a = 0; a < 2; a++) {
            assert_near(i->axis[a].step, cases[k].nm);
            assert_int_equal(i->axis[a].unit, cases[k].unit);
        }
        assert_warning(f, "told by its steps alone");
        mro_file_close(f);
        free(s.p);
    }
}

static void test_series_cut_short(void **state)
{
    (void)state;
    /* Stopped after three of five. */
    struct plan c = { 0x220, false, 1, 1, 1, 1, 1e-10, 5, 3, 1, { { 5, 1e-9, -2e-9, 1, "Position", "meters" } }, 1, 5 };
    struct ser s = build(&c);
    struct mro_file *f = open_built(&s);
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->frames, 3);
    /* Against the axis: element 1 is at 1 nm, element 0 at 3 nm, counted the other way. */
    assert_axis(&i->axis[0], 3, 2, -3, MRO_UNIT_NM);
    assert_warning(f, "3 of 5 elements are recorded");
    assert_pixels(f, 2, 1, (float[]){ 2 });
    mro_file_close(f);
    /* The second element is not like the first, or out of the file. */
    const size_t at = s.offsets + 10 * 8 + 51 + 24;
    s.p[at + 40] = 2;
    f = open_built(&s);
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_int_equal(mro_file_info(f, 0)->axes, 2);
    assert_warning(f, "element 1 is 1 x 1 of data type 2, the first is 1 x 1 of 1; the 1 elements before it are read");
    mro_file_close(f);
    put_bits(s.p + s.offsets + 8, s.size - 3, 8, false);
    f = open_built(&s);
    assert_warning(f, "element 1 begins at byte");
    mro_file_close(f);
    free(s.p);
    /* More valid than planned. */
    c.valid = c.total = 2;
    s = build(&c);
    put_i32(s.p + 18, 9, false);
    f = open_built(&s);
    assert_int_equal(mro_file_info(f, 0)->frames, 2);
    assert_warning(f, "9 of 2 elements are valid");
    assert_warning(f, "do not make up the 2 elements"); /* the axis has 5 */
    mro_file_close(f);
    free(s.p);
}

static void test_maps(void **state)
{
    (void)state;
    static const struct axis three = { 3, 0, 2e-9, 0, "Position", "meters" },
                             two = { 2, 0, 5e-9, 0, "Position", "meters" };
    const struct {
        struct axis axis[2];
        int positions;
        uint32_t run;
        size_t rows, columns;
        double row_nm, column_nm;
    } cases[] = {
        { { three, two }, 1, 3, 2, 3, 5, 2 }, /* x first, by its positions */
        { { three, two }, 2, 3, 2, 3, 5, 2 }, /* the first dimension runs first, whatever it is called */
        { { three, two }, 1, 2, 3, 2, 2, 5 }, /* positions say that the second runs first */
        { { three, two }, 0, 0, 2, 3, 5, 2 }, /* no positions */
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct plan c = {
            0x220,       true, 6, 4, 2, 1, 1, 6, 6, 2, { cases[k].axis[0], cases[k].axis[1] }, cases[k].positions,
            cases[k].run
        };
        struct ser s = build(&c);
        struct mro_file *f = open_built(&s);
        const struct mro_image_info *i = mro_file_info(f, 0);
        assert_int_equal(i->axes, 3);
        assert_int_equal(i->frames, cases[k].rows);
        assert_axis(&i->axis[0], cases[k].rows, cases[k].row_nm, 0, MRO_UNIT_NM);
        assert_axis(&i->axis[1], cases[k].columns, cases[k].column_nm, 0, MRO_UNIT_NM);
        assert_axis(&i->axis[2], 2, 1, 2, MRO_UNIT_EV);
        float expected[6];
        for (size_t n = 0; n < 2 * cases[k].columns; n++) expected[n] = (float)(2 * cases[k].columns + n);
        assert_pixels(f, 1, 2 * cases[k].columns, expected);
        mro_file_close(f);
        /* Images over the same map: one frame each. */
        c.spectra = false;
        c.step = 1e8;
        free(s.p);
        s = build(&c);
        f = open_built(&s);
        i = mro_file_info(f, 0);
        assert_int_equal(i->axes, 4);
        assert_int_equal(i->frames, 6);
        assert_int_equal(i->kind, MRO_KIND_DIFFRACTION);
        assert_axis(&i->axis[1], cases[k].columns, cases[k].column_nm, 0, MRO_UNIT_NM);
        assert_pixels(f, 5, 2, (float[]){ 10, 11 });
        mro_file_close(f);
        free(s.p);
    }
    /* A map that was stopped: its whole rows, or what there is of the first. */
    static const struct {
        uint32_t valid;
        size_t axes, rows;
    } stopped[] = { { 5, 2, 3 }, { 2, 2, 2 }, { 3, 2, 3 } };
    for (size_t k = 0; k < sizeof stopped / sizeof *stopped; k++) {
        struct plan c = { 0x220, true, 6, 4, 2, 1, 1, 6, stopped[k].valid, 2, { three, two }, 1, 3 };
        struct ser s = build(&c);
        struct mro_file *f = open_built(&s);
        const struct mro_image_info *i = mro_file_info(f, 0);
        assert_int_equal(i->axes, stopped[k].axes);
        assert_axis(&i->axis[0], stopped[k].rows, 2, 0, MRO_UNIT_NM);
        assert_warning(f, "of 6 elements are recorded");
        mro_file_close(f);
        free(s.p);
    }
    /* A square map cannot be told by lengths: the coordinate that changes first decides. */
    for (int positions = 1; positions <= 2; positions++) {
        struct plan c = { 0x220,     true, 6, 4, 2, 1, 1, 4, 4, 2, { two, { 2, 0, 7e-9, 0, "Position", "meters" } },
                          positions, 2 };
        struct ser s = build(&c);
        struct mro_file *f = open_built(&s);
        assert_near(mro_file_info(f, 0)->axis[1].step, positions == 1 ? 5 : 7);
        mro_file_close(f);
        free(s.p);
    }
    /* Points chosen by hand: a step of one metre is none. */
    struct plan points = { 0x220, true, 6, 4, 2, 1, 1, 3, 3, 1, { { 3, 0, 1, 0, "Position", "meters" } }, 1, 3 };
    struct ser by_hand = build(&points);
    struct mro_file *p = open_built(&by_hand);
    assert_axis(&mro_file_info(p, 0)->axis[0], 3, 0, 0, MRO_UNIT_NONE);
    mro_file_close(p);
    free(by_hand.p);
    /* Three dimensions, or such that do not multiply to the elements, are a plain series. */
    for (uint32_t axes = 2; axes <= 3; axes++) {
        struct plan c = { 0x220, true, 6, 4, 2, 1, 1, 4, 4, axes, { two, axes == 3 ? two : three, two }, 0, 0 };
        struct ser s = build(&c);
        struct mro_file *f = open_built(&s);
        assert_int_equal(mro_file_info(f, 0)->axes, 2);
        assert_axis(&mro_file_info(f, 0)->axis[0], 4, 0, 0, MRO_UNIT_NONE);
        assert_warning(f, "dimensions do not make up the 4 elements");
        mro_file_close(f);
        free(s.p);
    }
}

/* ---- files that are cut or lie ---- */

static void test_lies(void **state)
{
    (void)state;
    const struct plan c = { 0x210, false, 7, 4, 4, 2, 1e-10, 2, 2, 1, { { 2, 0, 1, 0, "Number", "" } }, 0, 0 };
    struct ser whole = build(&c);
    const size_t list = whole.offsets, first = list + 16;
    const struct {
        size_t at, bytes;
        uint64_t value;
        const char *part;
    } cases[] = {
        { 0, 2, 0x4d4d, "no image format" },
        { 2, 2, 0x1234, "no image format" },
        { 6, 4, 0x4121, "data type 0x4121" },
        { 14, 4, 0x7fffffff, "2147483647 offsets" },
        { 14, 4, 0xffffffff, "-1 elements" },
        { 18, 4, 0xffffffff, "2 elements, -1 of them valid" },
        { 18, 4, 0, "2 planned, 0 recorded" },
        { 22, 4, 0x7ffffff0, "at byte 2147483632 does not fit" },
        { 26, 4, 0xffffffff, "4294967295 dimensions" },
        { 26, 4, 2, "dimension 2" },
        { 54, 4, 0xfffffff0, "dimension 1" }, /* the length of its description */
        { list, 4, 1u << 30, "element 0 begins at byte 1073741824" },
        { first + 40, 2, 99, "data type 99" },
        { first + 40, 2, 0, "data type 0" },
        { first + 42, 8, 0x7fffffff7fffffff, "element 0 has 2147483647 x 2147483647 values of 4 bytes" },
        { first + 42, 4, (uint32_t)-64, "size of -64 x 2" },
        { first + 46, 4, 0, "size of 4 x 0" },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct ser s = whole;
        s.p = malloc(s.size);
        assert_non_null(s.p);
        memcpy(s.p, whole.p, s.size);
        put_bits(s.p + cases[k].at, cases[k].value, cases[k].bytes, false);
        refuses(&s, cases[k].part);
        free(s.p);
    }
    /* An unknown version is read like its neighbours. */
    put_bits(whole.p + 4, 0x211, 2, false);
    struct mro_file *f = open_built(&whole);
    assert_warning(f, "version 0x0211 is not known");
    mro_file_close(f);
    /* Every offset at the same large element would be a file of hours. */
    struct plan many = { 0x220, false, 1, 1, 64, 64, 1e-10, 100, 100, 0, { { 0 } }, 0, 0 };
    struct ser s = build(&many);
    for (size_t k = 0; k < 100; k++) put_bits(s.p + s.offsets + 8 * k, 34 + 1600, 8, false);
    s.size = 34 + 1600 + 50 + 2 * 4096;
    refuses(&s, "100 elements of 4096 bytes do not fit");
    free(s.p);
    /* Cut anywhere: a sentence, or the elements before the cut. */
    for (size_t size = 0; size < whole.size; size++) {
        struct mro_error e;
        unsigned char *p = malloc(size ? size : 1);
        assert_non_null(p);
        memcpy(p, whole.p, size);
        const enum mro_code code = mro_file_open_memory(&f, p, size, "cut.ser", BUDGET, &e);
        assert_int_equal(code, size >= first + 50 + 32 ? MRO_OK : MRO_EFORMAT);
        if (code == MRO_OK) {
            assert_int_equal(mro_file_info(f, 0)->frames, size >= first + 2 * (50 + 32) + 24 ? 2 : 1);
            assert_pixels(f, 0, 8, (float[]){ 4, 5, 6, 7, 0, 1, 2, 3 });
            mro_file_close(f);
        } else {
            assert_non_null(strstr(e.message, "cut.ser"));
        }
        free(p);
    }
    free(whole.p);
}

/* ---- what the EMI decides ---- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mroscope-ser-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void save(const char *name, const void *bytes, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    fclose(out);
}

static void drop(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

/* An EMI with one block after the path of a series. */
static size_t build_emi(char *out, size_t room, unsigned number, const char *xml)
{
    memcpy(out, "JK\0\2", 5);
    return 4 + (size_t)snprintf(out + 4, room - 4, "....D:\\data\\..\\x_%u.ser2.B......<ObjectInfo>%s</ObjectInfo>tail",
                                number, xml);
}

#define ROW(label, value, unit) "<Data><Label>" label "</Label><Value>" value "</Value><Unit>" unit "</Unit></Data>"
#define MODE(mode) "<ExperimentalDescription><Root>" ROW("Mode", mode, "") "</Root></ExperimentalDescription>"
#define CAMERA "<AcquireInfo><CameraNamePath>Orius</CameraNamePath></AcquireInfo>"

static void test_modes(void **state)
{
    (void)state;
    static const struct {
        const char *xml;
        double step, nm; /* nm or 1/nm; 0 = left out */
        enum mro_kind kind;
        const char *warning;
    } cases[] = {
        { MODE(" TEM uP SA Zoom Image"), 2e-11, 0.02, MRO_KIND_IMAGE, NULL },
        { MODE(" TEM uP SA Zoom Diffraction"), 1e8, 0.1, MRO_KIND_DIFFRACTION, NULL },
        { MODE(" STEM nP SA Zoom Diffraction"), 2e-11, 0.02, MRO_KIND_IMAGE, NULL },
        { MODE(" STEM nP SA Zoom Diffraction") CAMERA, 1e8, 0.1, MRO_KIND_DIFFRACTION, NULL },
        { MODE(" STEM nP SA Zoom Diffraction"), 1e8, 0.1, MRO_KIND_DIFFRACTION, "can only be 1/m" },
        { MODE(" TEM uP SA Zoom Diffraction"), 2e-5, 0, MRO_KIND_DIFFRACTION, "are no 1/m" },
        { MODE(" TEM uP SA Zoom Diffraction"), 1, 0, MRO_KIND_DIFFRACTION, NULL },
        { MODE(" TEM uP SA Zoom Image"), 1, 0, MRO_KIND_IMAGE, NULL },
        { "<Uuid>1</Uuid>", 2e-11, 0.02, MRO_KIND_IMAGE, NULL },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char emi[2048];
        /* The scale of a series of one is that of nothing. */
        struct plan c = { 0x210, false, 1, 1, 2, 2, cases[k].step, 1, 1, 1, { { 1, 0, 7e-9, 0, "Position", "meters" } },
                          0,     0 };
        struct ser s = build(&c);
        save("y_7.SER", s.p, s.size);
        save("y.emi", emi, build_emi(emi, sizeof emi, 7, cases[k].xml));
        struct mro_file *f = open_in(folder, "y_7.SER");
        const struct mro_image_info *i = mro_file_info(f, 0);
        assert_int_equal(i->kind, cases[k].kind);
        assert_near(i->axis[0].step, cases[k].nm);
        assert_near(i->axis[1].step, cases[k].nm);
        if (cases[k].warning)
            assert_warning(f, cases[k].warning);
        else
            assert_no_warning(f);
        mro_file_close(f);
        free(s.p);
    }
    drop("y_7.SER");
    drop("y.emi");
}

static void test_settings(void **state)
{
    (void)state;
    char emi[2048];
    struct mro_emi_object o;
    const size_t size =
        build_emi(emi, sizeof emi, 3,
                  "<ExperimentalConditions><AcceleratingVoltage>120000</AcceleratingVoltage></ExperimentalConditions>"
                  "<ExperimentalDescription><Root>" ROW("Microscope", "Microscope Titan \xb5 80-300", "")
                      ROW("High tension", "300,5", "kV") ROW("Magnification", "57", "kx")
                          ROW("Camera length", "0,49", "m") ROW("Stage A", "-10.50", "deg")
                              ROW("Stage B", "-0.00",
                                  "deg") "</Root></ExperimentalDescription>"
                                         "<AcquireDate>Wed Feb 03 09:08:07 "
                                         "2021</AcquireDate><AcquireInfo><Magnification>0 X</Magnification>"
                                         "<CameraNamePath>Orius</CameraNamePath><Binning>2</Binning></AcquireInfo>");
    const struct mro_bytes b = { (unsigned char *)emi, size };
    assert_true(mro_emi_probe(b));
    assert_true(mro_emi_describe(b, 3, &o)); /* a byte that is no UTF-8: Latin-1 */
    assert_string_equal(o.instrument, "Titan \xc2\xb5 80-300");
    assert_near(o.beam_kv, 300.5);
    assert_near(o.magnification, 57000);
    assert_near(o.camera_length_mm, 490);
    assert_near(o.tilt_deg[0], -10.5);
    assert_true(o.tilt_deg[1] == 0 && !signbit(o.tilt_deg[1]));
    assert_near(o.binning, 2);
    assert_true(o.camera);
    assert_string_equal(o.detector, "Orius");
    assert_string_equal(o.date, "2021-02-03T09:08:07");
    assert_false(mro_emi_describe(b, 1, &o)); /* the block names another series */
    unsigned numbers[4];
    assert_int_equal(mro_emi_numbers(b, numbers, 4), 1);
    assert_int_equal(numbers[0], 3);
}

static void test_hostile_xml(void **state)
{
    (void)state;
    char emi[2048];
    struct mro_emi_object o;
    struct mro_bytes b = { (unsigned char *)emi, 0 };
    b.size = build_emi(emi, sizeof emi, 1, "<a><b></a>");
    assert_false(mro_emi_describe(b, 1, &o));
    /* Entities are never unfolded. (A document type cannot begin inside the block; it is no XML there.) */
    b.size = build_emi(emi, sizeof emi, 1, "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><AcquireDate>&a;</AcquireDate>");
    assert_false(mro_emi_describe(b, 1, &o));
    b.size = build_emi(emi, sizeof emi, 1, "<AcquireDate>&#65;</AcquireDate>");
    assert_true(mro_emi_describe(b, 1, &o));
    assert_string_equal(o.date, "A");
    /* A block without its end is none. */
    b.size -= 8;
    assert_false(mro_emi_describe(b, 1, &o));
    /* Texts and nests beyond all measure. */
    const size_t deep = 60000;
    char *large = malloc(8 * deep + 256);
    assert_non_null(large);
    size_t n = 4 + (size_t)sprintf(large + 4, "x_1.ser<ObjectInfo><Binning>");
    memcpy(large, "JK\0\2", 4);
    for (size_t i = 0; i < deep; i++) memcpy(large + n + 3 * i, "<a>", 3);
    n += 3 * deep;
    n += (size_t)sprintf(large + n, "</ObjectInfo>");
    assert_false(mro_emi_describe((struct mro_bytes){ (unsigned char *)large, n }, 1, &o));
    n = 4 + (size_t)sprintf(large + 4, "x_1.ser<ObjectInfo><AcquireDate>");
    memset(large + n, '7', deep);
    n += deep;
    n += (size_t)sprintf(large + n, "</AcquireDate></ObjectInfo>");
    assert_true(mro_emi_describe((struct mro_bytes){ (unsigned char *)large, n }, 1, &o));
    assert_int_equal(strlen(o.date), sizeof o.date - 1);
    free(large);
}

static void test_paths(void **state)
{
    (void)state;
    size_t stem;
    unsigned number;
    assert_true(mro_emi_split_path("/a/b_c_12.ser", &stem, &number));
    assert_int_equal(stem, 6);
    assert_int_equal(number, 12);
    assert_false(mro_emi_split_path("/a/b12.ser", &stem, &number));
    assert_false(mro_emi_split_path("/a/b_.ser", &stem, &number));
    assert_false(mro_emi_split_path("/a/_1.ser", &stem, &number));
    assert_false(mro_emi_split_path("_1.ser", &stem, &number));
    assert_false(mro_emi_split_path("a_1.tif", &stem, &number));
    assert_false(mro_emi_split_path("a_0.ser", &stem, &number));
}

static void refuses_path(const char *name, const char *part)
{
    char path[128];
    struct mro_file *f;
    struct mro_error e;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_not_equal(mro_file_open(&f, path, BUDGET, &e), MRO_OK);
    if (strstr(e.message, part) == NULL || strstr(e.message, name) == NULL) fail_msg("%s", e.message);
}

static void test_opening_an_emi(void **state)
{
    (void)state;
    char emi[2048];
    const struct plan c = { 0x210, false, 1, 1, 1, 2, 1e-11, 1, 1, 0, { { 0 } }, 0, 0 };
    struct ser s = build(&c);
    const size_t size = build_emi(emi, sizeof emi, 2, MODE(" TEM Image"));
    save("x.emi", emi, size);
    refuses_path("x.emi", "x_2.ser': No such file");
    /* Series are found beside the EMI under its present name; the folder in the block is not looked at. */
    save("x_2.ser", s.p, s.size);
    struct mro_file *f = open_in(folder, "x.emi");
    assert_int_equal(mro_file_images(f), 1);
    assert_string_equal(mro_file_info(f, 0)->title, "x_2.ser");
    assert_pixels(f, 0, 2, (float[]){ 1, 0 });
    assert_no_warning(f);
    mro_file_close(f);
    /* What lies there must be a SER file; another EMI is not opened in turn. */
    save("x_2.ser", emi, size);
    refuses_path("x.emi", "x_2.ser' is no SER file");
    /* A file that no block names is not looked for, unless there is no block with a name at all. */
    save("x_1.ser", s.p, s.size);
    refuses_path("x.emi", "x_2.ser");
    save("x.emi", "JK\0\2....", 8);
    drop("x_2.ser");
    f = open_in(folder, "x.emi");
    assert_int_equal(mro_file_images(f), 1);
    assert_warning(f, "no EMI file that describes it");
    mro_file_close(f);
    drop("x_1.ser");
    refuses_path("x.emi", "names no SER file");
    drop("x.emi");
    /* In memory it has no folder. */
    struct mro_error e;
    assert_int_equal(mro_file_open_memory(&f, emi, size, "memory.emi", BUDGET, &e), MRO_EFORMAT);
    assert_non_null(strstr(e.message, "memory.emi' is an EMI file, whose images lie in SER files beside it"));
    free(s.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_diffraction),    cmocka_unit_test(test_line_scan),
        cmocka_unit_test(test_data_types),     cmocka_unit_test(test_single_elements),
        cmocka_unit_test(test_kinds_alone),    cmocka_unit_test(test_series_cut_short),
        cmocka_unit_test(test_maps),           cmocka_unit_test(test_lies),
        cmocka_unit_test(test_modes),          cmocka_unit_test(test_settings),
        cmocka_unit_test(test_hostile_xml),    cmocka_unit_test(test_paths),
        cmocka_unit_test(test_opening_an_emi),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

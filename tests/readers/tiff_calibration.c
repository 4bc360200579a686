/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calibration of TIFF files by ImageJ and OME, in its spellings. */
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

enum { NX = 37, NY = 29 };

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
        struct mro_file *f = tb_open(&b);
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
    f = tb_open(&b);
    assert_int_equal(mro_file_info(f, 0)->frames, 1);
    assert_true(warned(f, "speaks of 6 images, there are bytes for 1, which are read"));
    mro_file_close(f);
    /* Now the pixels follow at the end: the entry of StripOffsets (tag 273) is turned to there. */
    const uint32_t end = (uint32_t)b.size;
    for (size_t at = 8; at + 12 <= b.size; at += 2)
        if (b.p[at] == 0x01 && b.p[at + 1] == 0x11 && b.p[at + 3] == 4 && b.p[at + 7] == 1)
            for (int k = 0; k < 4; k++) b.p[at + 8 + k] = (unsigned char)(end >> (24 - 8 * k));
    tb_put(&b, pixels, 6 * NX * NY, 2);
    f = tb_open(&b);
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
        struct mro_file *f = tb_open(&b);
        const struct mro_image_info *info = mro_file_info(f, 0);
        near(info->axis[1].step, cases[i].x, 1e-12);
        near(info->axis[0].step, cases[i].y, 1e-12);
        mro_file_close(f);
        tb_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imagej_units_in_all_spellings),
        cmocka_unit_test(imagej_spacing_is_for_slices_only),
        cmocka_unit_test(imagej_stack_of_one_directory),
        cmocka_unit_test(ome_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

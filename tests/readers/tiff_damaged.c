/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TIFF files that are cut, lying or odd. */
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

#define DATA MROSCOPE_TEST_DATA "/tiff/"

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
        cmocka_unit_test(malformed_files_are_refused_in_a_sentence),
        cmocka_unit_test(odd_files_load_with_their_oddity_told),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(damaged_headers_do_no_harm),
        cmocka_unit_test(the_budget_bounds_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is common to all formats: opening, refusing, warnings, texts, and sums that do not depend on threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <omp.h>

#include "core/memory.h"
#include "core/notes.h"
#include "io/reader.h"
#include "mroscope/device.h"
#include "readers/build.h"
#include "readers/tiff_build.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mroscope-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void refuses(const char *path, enum mro_code code, const char *part)
{
    struct mro_file *f = (struct mro_file *)1;
    struct mro_error e = { .code = MRO_OK };
    assert_int_equal(mro_file_open(&f, path, 0, &e), code);
    assert_null(f);
    assert_int_equal(e.code, code);
    if (strstr(e.message, path) == NULL || strstr(e.message, part) == NULL) fail_msg("%s", e.message);
    assert_int_equal(mro_file_open(&f, path, 0, NULL), code); /* the sentence is not needed */
}

static void says_why_a_file_cannot_be_opened(void **state)
{
    char path[128], inside[160];
    (void)state;
    snprintf(path, sizeof path, "%s/a.tif", folder);
    refuses(path, MRO_EIO, "No such file");
    refuses(folder, MRO_EIO, "is a directory");
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    refuses(path, MRO_EFORMAT, "is empty");
    fputs("this is no image, whatever its name says\n", out);
    fclose(out);
    refuses(path, MRO_EFORMAT, "begins with the text 'this is no image");
    assert_non_null(out = fopen(path, "wb"));
    fputs("\211abc\1", out);
    fclose(out);
    refuses(path, MRO_EFORMAT, "begins with the bytes 89 61 62 63 01");
    snprintf(inside, sizeof inside, "%s/b.tif", path);
    refuses(inside, MRO_EIO, "Not a directory");
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() != 0) refuses(path, MRO_EIO, "Permission denied"); /* root reads everything */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    refuses(path, MRO_EIO, "not a regular file");
    assert_int_equal(unlink(path), 0);
}

static void tiny_inputs_are_of_no_format(void **state)
{
    static const unsigned char bytes[64] = { 'I', 'I', '*' };
    (void)state;
    for (size_t n = 0; n <= 3; n++) {
        struct mro_file *f;
        struct mro_error e;
        unsigned char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        assert_int_equal(mro_file_open_memory(&f, copy, n, "tiny", 0, &e), MRO_EFORMAT);
        assert_null(f);
        assert_non_null(strstr(e.message, "'tiny'"));
        free(copy);
    }
}

static void texts_become_one_line_of_utf8(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "plain", "plain" },
        { "tab\tline\n\x7f", "tab?line??" },
        { "\xc2\xb5m \xe2\x84\xab \xf0\x9f\x94\xac", "\xc2\xb5m \xe2\x84\xab \xf0\x9f\x94\xac" },
        { "\xb5m", "?m" },
        { "\xc2", "?" },
        { "\xe2\x84", "??" },
        { "\xc0\xaf \xe0\x80\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xff", "?? ??? ??? ???? ?" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i].in);
        mro_clean_text(text);
        assert_string_equal(text, cases[i].out);
    }
}

static void byte_order_helpers(void **state)
{
    static const unsigned char p[9] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };
    uint32_t v32[2];
    uint64_t v64;
    uint16_t v16[3];
    (void)state;
    assert_int_equal(mro_get_u16(p + 1, true), 0x0102);
    assert_int_equal(mro_get_u16(p + 1, false), 0x0201);
    assert_int_equal(mro_get_u32(p + 1, true), 0x01020304);
    assert_int_equal(mro_get_u32(p + 1, false), 0x04030201);
    assert_true(mro_get_u64(p + 1, true) == 0x0102030405060708u);
    assert_true(mro_get_u64(p + 1, false) == 0x0807060504030201u);
    mro_copy_samples(v16, p + 1, 3, 2, true);
    mro_copy_samples(v32, p + 1, 2, 4, true);
    mro_copy_samples(&v64, p + 1, 1, 8, false);
    assert_true(v16[2] == 0x0506 && v32[1] == 0x05060708 && v64 == 0x0807060504030201u);
}

static struct mro_file *built_file(struct tiff_build *b, size_t nx, size_t ny, const float *pixels)
{
    const struct tiff_build_page page = { .nx = (uint32_t)nx,
                                          .ny = (uint32_t)ny,
                                          .bits = 32,
                                          .format = 3,
                                          .samples = 1,
                                          .photometric = 1,
                                          .extra_sample = 0xffff,
                                          .pixels = (const unsigned char *)pixels };
    struct mro_file *f;
    tb_begin(b, true, false);
    tb_page(b, &page);
    assert_int_equal(mro_file_open_memory(&f, b->p, b->size, "built.tif", 0, NULL), MRO_OK);
    return f;
}

static void warnings_are_kept_once_and_end(void **state)
{
    const float pixel = 1;
    struct tiff_build b;
    struct mro_file *f = built_file(&b, 1, 1, &pixel);
    size_t n = 0;
    (void)state;
    assert_null(mro_file_warning(f, 0));
    mro_file_warn(f, "one of %s", "them");
    mro_file_warn(f, "one of %s", "them");
    assert_string_equal(mro_file_warning(f, 0), "one of them");
    assert_null(mro_file_warning(f, 1));
    for (int i = 0; i < 1000; i++) mro_file_warn(f, "number %d", i);
    while (mro_file_warning(f, n)) n++;
    assert_true(n < 100);
    assert_non_null(strstr(mro_file_warning(f, n - 1), "more warnings"));
    mro_file_close(f);
    mro_file_close(NULL);
    tb_free(&b);
}

static void shapes_that_cannot_be_are_not_sealed(void **state)
{
    const float pixel = 1;
    struct tiff_build b;
    struct mro_error e;
    struct mro_file *f = built_file(&b, 1, 1, &pixel);
    struct mro_image_info info = { .dtype = MRO_U16, .axes = 3 };
    (void)state;
    info.axis[0].size = 3, info.axis[1].size = 4, info.axis[2].size = 0;
    assert_int_equal(mro_file_seal_image(f, &info, &e), MRO_EFORMAT);
    info.axis[2].size = 5;
    assert_int_equal(mro_file_seal_image(f, &info, &e), MRO_OK);
    assert_int_equal(info.frames, 3);
    info.axis[1].size = SIZE_MAX / 2;
    assert_int_equal(mro_file_seal_image(f, &info, &e), MRO_EFORMAT);
    info.axis[1].size = (size_t)1 << 24, info.axis[2].size = (size_t)1 << 24;
    assert_int_equal(mro_file_seal_image(f, &info, &e), MRO_EMEMORY);
    info.axis[0].size = info.axis[1].size = (size_t)1 << 40, info.axis[2].size = 1;
    assert_int_equal(mro_file_seal_image(f, &info, &e), MRO_EFORMAT);
    info.axes = 0;
    assert_int_equal(mro_file_seal_image(f, &info, &e), MRO_EFORMAT);
    info.axes = MRO_MAX_AXES + 1;
    assert_int_equal(mro_file_seal_image(f, &info, &e), MRO_EFORMAT);
    mro_file_close(f);
    tb_free(&b);
}

static void statistics_are_exact_and_the_same_at_any_thread_count(void **state)
{
    enum { NX = 1001, NY = 517 };
    struct tiff_build b;
    struct mro_statistics s[3];
    struct mro_image im[3];
    float *pixels = malloc(sizeof(float) * NX * NY);
    uint64_t random = 1;
    size_t not_finite = 0;
    (void)state;
    assert_non_null(pixels);
    for (size_t k = 0; k < NX * NY; k++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        pixels[k] = (float)(1e6 + (double)(random >> 40) / 1e3); /* far from 0: squares would lose the digits */
        if (random >> 52 == 7) pixels[k] = random & 1 << 30 ? NAN : INFINITY, not_finite++;
    }
    struct mro_file *f = built_file(&b, NX, NY, pixels);
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(i + 1);
        assert_int_equal(mro_file_statistics(f, 0, &s[i], NULL), MRO_OK);
        assert_int_equal(mro_file_read(f, 0, 0, &im[i], NULL), MRO_OK);
        assert_memory_equal(&s[i], &s[0], sizeof s[0]);
        assert_memory_equal(im[i].px, im[0].px, sizeof(float) * NX * NY);
    }
    /* The same by the plain two passes in long double. */
    long double sum = 0, m2 = 0;
    size_t n = 0;
    for (size_t k = 0; k < NX * NY; k++)
        if (isfinite(pixels[k])) sum += pixels[k], n++;
    for (size_t k = 0; k < NX * NY; k++)
        if (isfinite(pixels[k])) m2 += (pixels[k] - sum / n) * (pixels[k] - sum / n);
    assert_true(not_finite > 10 && s[0].not_finite == not_finite && s[0].count == n && im[0].not_finite == not_finite);
    assert_true(fabsl(s[0].sum - sum) < 1e-14L * sum && fabsl(s[0].mean - sum / n) < 1e-14L * sum / n);
    assert_true(fabsl(s[0].sd - sqrtl(m2 / n)) < 1e-12L * sqrtl(m2 / n));
    for (int i = 0; i < 3; i++) mro_image_release(&im[i]);
    mro_file_close(f);
    tb_free(&b);
    free(pixels);
}

static size_t limit_of(const char *groups)
{
    char path[256];
    write_text(folder, "groups", groups);
    snprintf(path, sizeof path, "%s/groups", folder);
    return mro_memory_limit(path, folder);
}

/* Control groups of both versions, in folders made here; the least limit on the way up counts. */
static void memory_is_limited_by_control_groups(void **state)
{
    (void)state;
    static const char *const folders[] = { "job", "job/step", "memory", "memory/box" };
    char path[256];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    write_text(folder, "memory.max", "9000\n");
    write_text(folder, "job/memory.max", "5000\n");
    write_text(folder, "job/step/memory.max", "max\n");
    write_text(folder, "memory/memory.limit_in_bytes", "9223372036854771712\n");
    write_text(folder, "memory/box/memory.limit_in_bytes", "7000\n");
    assert_int_equal(limit_of("0::/job/step\n"), 5000);
    assert_int_equal(limit_of("0::/\n"), 9000);
    assert_int_equal(limit_of("0::/not/seen/from/here\n"), 9000);
    assert_int_equal(limit_of("3:cpuset:/\n4:cpu,memory:/box\n"), 7000);
    assert_int_equal(limit_of("4:memory:/box\n0::/job\n"), 5000);
    assert_int_equal(limit_of("4:memory:/\n"), 9223372036854771712u);
    assert_int_equal(limit_of("3:cpuset:/\nnonsense\n\n"), SIZE_MAX);
    write_text(folder, "memory.max", "?\n");
    assert_int_equal(limit_of("0::/\n"), SIZE_MAX);
    snprintf(path, sizeof path, "%s/none", folder);
    assert_int_equal(mro_memory_limit(path, folder), SIZE_MAX);
    assert_true(mro_default_memory() > 0);

    static const char *const files[] = { "groups",
                                         "memory.max",
                                         "job/memory.max",
                                         "job/step/memory.max",
                                         "memory/memory.limit_in_bytes",
                                         "memory/box/memory.limit_in_bytes",
                                         "job/step",
                                         "job",
                                         "memory/box",
                                         "memory" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_int_equal(remove(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_why_a_file_cannot_be_opened),
        cmocka_unit_test(tiny_inputs_are_of_no_format),
        cmocka_unit_test(texts_become_one_line_of_utf8),
        cmocka_unit_test(byte_order_helpers),
        cmocka_unit_test(warnings_are_kept_once_and_end),
        cmocka_unit_test(shapes_that_cannot_be_are_not_sealed),
        cmocka_unit_test(statistics_are_exact_and_the_same_at_any_thread_count),
        cmocka_unit_test(memory_is_limited_by_control_groups),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

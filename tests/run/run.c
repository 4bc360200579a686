/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs inside another program: what is lent, kept, said and stopped. */
#define _GNU_SOURCE /* uselocale */
#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <gsl/gsl_errno.h>
#include <jansson.h>

#include "mroscope/error.h"
#include "mroscope/run.h"

enum { N = 96 };

static void fill(float *px, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        px[i] = (float)(100 + (seed >> 24));
    }
}

static json_t *result(const struct mro_run *r, size_t i)
{
    json_t *v = json_loads(mro_run_result(r, i), 0, NULL);
    assert_non_null(v);
    return v;
}

static double number_of(const struct mro_run *r, size_t i, const char *key)
{
    json_t *v = result(r, i);
    const double x = json_number_value(json_object_get(v, key));
    json_decref(v);
    return x;
}

static struct mro_run *lent(const void *px, const char *dtype, size_t axes, const size_t *shape)
{
    struct mro_run *r = mro_run_new();
    assert_non_null(r);
    assert_int_equal(mro_run_array(r, "image", px, dtype, axes, shape), MRO_OK);
    return r;
}

static void an_array_is_measured_and_its_maps_are_kept(void **state)
{
    static float px[N * N];
    const size_t shape[] = { N, N };
    size_t size;
    (void)state;
    fill(px, N * N, 1);
    struct mro_run *r = lent(px, "float32", 2, shape);
    for (size_t i = 0; i < 2; i++) assert_int_equal(mro_run_axis(r, i, 0.5, 0, "Å"), MRO_OK);
    mro_run_keep(r, true, false);
    assert_int_equal(mro_run_argument(r, "image"), MRO_OK);
    assert_int_equal(mro_run_start(r, "bandpass"), MRO_OK);
    assert_string_equal(mro_run_message(r), "");
    assert_int_equal(mro_run_results(r), 1);
    assert_null(mro_run_result(r, 1));
    assert_true(number_of(r, 0, "rms_out") > 0);
    json_t *v = result(r, 0);
    assert_string_equal(json_string_value(json_object_get(v, "calibration")), "axes of the array");
    assert_true(json_number_value(json_array_get(json_object_get(v, "pixel_nm"), 0)) == 0.05);
    json_decref(v);
    static const char *const names[] = { "image.bandpass.tif", "image.bandpass.png", "image.bandpass.svg",
                                         "image.bandpass.pdf" };
    assert_int_equal(mro_run_files(r), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(mro_run_file_name(r, i), names[i]);
        assert_int_equal(mro_run_file_result(r, i), 0);
        assert_non_null(mro_run_file(r, i, &size));
        assert_true(size > 100);
        assert_int_not_equal(access(names[i], F_OK), 0);
    }
    assert_null(mro_run_file(r, 4, &size));
    assert_int_equal(size, 0);

    /* What was kept can be lent again, and read. */
    struct mro_run *again = mro_run_new();
    const void *map = mro_run_file(r, 0, &size);
    float *pixels = malloc(sizeof px);
    assert_int_equal(mro_run_bytes(again, "map.tif", map, size), MRO_OK);
    assert_int_equal(mro_run_read(again, "map.tif", 0, 0, pixels, sizeof px), MRO_OK);
    assert_int_equal(mro_run_read(again, "map.tif", 0, 0, pixels, sizeof px - 1), MRO_EARG);
    assert_int_equal(mro_run_read(again, "map.tif", 1, 0, pixels, sizeof px), MRO_EARG);
    free(pixels);
    mro_run_free(again);
    mro_run_free(r);
}

static void types_and_stacks(void **state)
{
    static float px[2 * N * N];
    static uint16_t whole[2 * N * N];
    const size_t shape[] = { 2, N, N };
    (void)state;
    fill(px, 2 * N * N, 2);
    for (size_t i = 0; i < 2 * N * N; i++) whole[i] = (uint16_t)px[i];
    struct mro_run *r = lent(px, "float32", 3, shape), *s = lent(whole, "uint16", 3, shape);
    struct mro_run *both[] = { r, s };
    for (size_t i = 0; i < 2; i++) {
        mro_run_keep(both[i], true, i == 1);
        mro_run_argument(both[i], "--pixel=0.05");
        mro_run_argument(both[i], "image");
        assert_int_equal(mro_run_start(both[i], "bandpass"), MRO_OK);
        assert_int_equal(mro_run_results(both[i]), 2);
        assert_int_equal(mro_run_files(both[i]), i == 1 ? 8 : 0);
    }
    assert_int_equal(mro_run_file_result(s, 3), 0);
    assert_int_equal(mro_run_file_result(s, 4), 1);
    for (size_t i = 0; i < 2; i++) assert_true(number_of(r, i, "rms_out") == number_of(s, i, "rms_out"));
    assert_int_equal(mro_run_start(r, "bandpass"), MRO_EARG); /* once */
    mro_run_free(r);
    mro_run_free(s);
}

/* Four files of each, in the order of the results: frames that lanes measured, and images. */
static void assert_kept_in_order(const struct mro_run *r, size_t results, const char *const *names)
{
    char name[40];
    assert_string_equal(mro_run_message(r), "");
    assert_int_equal(mro_run_results(r), results);
    assert_int_equal(mro_run_files(r), 4 * results);
    for (size_t i = 0; i < 4 * results; i++) {
        assert_int_equal(mro_run_file_result(r, i), i / 4);
        snprintf(name, sizeof name, "%s.bandpass.", names[i / 4]);
        assert_true(strncmp(mro_run_file_name(r, i), name, strlen(name)) == 0);
    }
}

static void what_lanes_measure_is_kept_in_order(void **state)
{
    enum { FRAMES = 6 };
    static const char *const frames[FRAMES] = { "image.f0000", "image.f0001", "image.f0002",
                                                "image.f0003", "image.f0004", "image.f0005" },
                             *const images[FRAMES] = { "a", "b", "c", "d", "e", "f" };
    static float px[FRAMES * N * N];
    const size_t shape[] = { FRAMES, N, N };
    (void)state;
    fill(px, FRAMES * N * N, 4);
    struct mro_run *r = lent(px, "float32", 3, shape), *s = mro_run_new();
    mro_run_argument(r, "image");
    for (size_t i = 0; i < FRAMES; i++) {
        assert_int_equal(mro_run_array(s, images[i], px + i * N * N, "float32", 2, shape + 1), MRO_OK);
        mro_run_argument(s, images[i]);
    }
    struct mro_run *both[] = { r, s };
    for (size_t i = 0; i < 2; i++) {
        mro_run_keep(both[i], true, true);
        mro_run_argument(both[i], "--pixel=0.05");
        mro_run_argument(both[i], "--threads=3");
        assert_int_equal(mro_run_start(both[i], "bandpass"), MRO_OK);
    }
    assert_kept_in_order(r, FRAMES, frames);
    assert_kept_in_order(s, FRAMES, images);
    for (size_t i = 0; i < FRAMES; i++) assert_true(number_of(r, i, "rms_out") == number_of(s, i, "rms_out"));
    mro_run_free(r);
    mro_run_free(s);
}

static void what_cannot_work_is_said(void **state)
{
    static float px[N * N];
    const size_t shape[] = { N, N }, none[] = { 0, N };
    (void)state;
    fill(px, N * N, 3);
    struct mro_run *r = lent(px, "float32", 2, shape);
    assert_int_equal(mro_run_array(r, "image", px, "float32", 2, shape), MRO_EARG);
    assert_non_null(strstr(mro_run_message(r), "lent twice"));
    assert_int_equal(mro_run_array(r, "b", px, "complex64", 2, shape), MRO_EARG);
    assert_int_equal(mro_run_array(r, "b", px, "float32", 1, shape), MRO_EARG);
    assert_int_equal(mro_run_array(r, "b", px, "float32", 2, none), MRO_EARG);
    assert_int_equal(mro_run_axis(r, 2, 1, 0, "nm"), MRO_EARG);
    mro_run_argument(r, "image");
    assert_int_equal(mro_run_start(r, "bandpass"), MRO_ECALIB);
    assert_string_equal(mro_run_message(r), "the pixel size of 'image' is unknown; give `pixel=NM`");
    assert_int_equal(mro_run_lack(r), MRO_LACKS_PIXEL_SIZE);
    mro_run_free(r);

    static const struct {
        const char *verb, *argument, *sentence;
        int code;
    } bad[] = {
        { "bandpas", "x.tif", "did you mean 'bandpass'", MRO_EARG },
        { "bandpass", "--pixel=-1", "`pixel` wants a number", MRO_EARG },
        { "bandpass", "--nonsense", "is no option of", MRO_EARG },
        { "bandpass", "/nowhere/x.tif", "cannot open '/nowhere/x.tif'", MRO_EIO },
        { "indent", "/nowhere/x.csv", "cannot open '/nowhere/x.csv'", MRO_EIO },
        { "eds", "--seed=1", "needs a table", MRO_EARG },
        { "compare", "/nowhere/x.csv", "cannot open '/nowhere/x.csv'", MRO_EIO },
        { "batch", "/nowhere/x.csv", "needs a process of its own", MRO_EARG },
        { "convert", "/nowhere/x.tif", "the folder to write to", MRO_EARG },
        { "report", "/nowhere", "the folder to write to", MRO_EARG },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r = mro_run_new();
        mro_run_argument(r, bad[i].argument);
        const int code = mro_run_start(r, bad[i].verb);
        if (code != bad[i].code || strstr(mro_run_message(r), bad[i].sentence) == NULL)
            fail_msg("%s %s: %d, %s", bad[i].verb, bad[i].argument, code, mro_run_message(r));
        assert_null(strstr(mro_run_message(r), "try 'mroscope"));
        mro_run_free(r);
    }
    r = mro_run_new();
    assert_int_equal(mro_run_axis(r, 0, 1, 0, "nm"), MRO_EARG);
    assert_int_equal(mro_run_beam(r, 200), MRO_EARG);
    assert_int_equal(mro_run_argument(r, NULL), MRO_EARG);
    assert_int_equal(mro_run_bytes(r, NULL, px, sizeof px), MRO_EARG);
    assert_int_equal(mro_run_bytes(r, "a", NULL, sizeof px), MRO_EARG);
    assert_int_equal(mro_run_array(r, "a", px, NULL, 2, shape), MRO_EARG);
    assert_int_equal(mro_run_read(r, NULL, 0, 0, px, sizeof px), MRO_EARG);
    assert_int_equal(mro_run_start(r, NULL), MRO_EARG);
    assert_int_equal(mro_run_start(r, "devices"), MRO_OK);
    assert_int_equal(mro_run_results(r), 1);
    assert_int_equal(mro_run_start(r, "devices"), MRO_EARG);
    assert_non_null(strstr(mro_run_message(r), "starts once"));
    mro_run_free(r);
    mro_run_free(NULL);
}

/* GSL's handler of the program is its own again after a run. */
static void handler_of_the_program(const char *reason, const char *file, int line, int code)
{
    (void)reason, (void)file, (void)line, (void)code;
}

static void what_belongs_to_the_program_stays(void **state)
{
    static float px[N * N];
    const size_t shape[] = { N, N };
    (void)state;
    fill(px, N * N, 4);
    gsl_set_error_handler(handler_of_the_program);
    struct mro_run *r = lent(px, "float32", 2, shape);
    const locale_t locale = uselocale((locale_t)0);
    mro_run_argument(r, "--pixel=0.05");
    mro_run_argument(r, "image");
    assert_int_equal(mro_run_start(r, "bandpass"), MRO_OK);
    assert_true(uselocale((locale_t)0) == locale);
    assert_true(gsl_set_error_handler(NULL) == handler_of_the_program);
    mro_run_free(r);
}

static void options_are_described(void **state)
{
    static const char *const verbs[] = { "info", "mro", "eds", "pdf", "compare", "devices" };
    (void)state;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        struct mro_run *r = mro_run_new();
        mro_run_argument(r, "--help");
        assert_int_equal(mro_run_start(r, verbs[i]), MRO_OK);
        json_t *v = result(r, 0), *options = json_object_get(v, "options");
        assert_string_equal(json_string_value(json_object_get(v, "verb")), verbs[i]);
        assert_true(json_array_size(options) > 0);
        for (size_t k = 0; k < json_array_size(options); k++)
            assert_true(json_string_length(json_object_get(json_array_get(options, k), "kind")) > 0);
        json_decref(v);
        mro_run_free(r);
    }
}

struct stopper {
    struct mro_run *run;
    unsigned delay_us;
};

static void *stop_soon(void *context)
{
    const struct stopper *s = context;
    usleep(s->delay_us);
    mro_run_stop(s->run);
    return NULL;
}

static void a_run_can_be_stopped(void **state)
{
    static float px[256 * 256];
    const size_t shape[] = { 256, 256 };
    (void)state;
    fill(px, 256 * 256, 4);
    for (unsigned delay = 0; delay < 2; delay++) {
        struct mro_run *r = lent(px, "float32", 2, shape);
        struct stopper s = { r, delay * 300000 };
        pthread_t thread;
        mro_run_argument(r, "--pixel=0.5");
        mro_run_argument(r, "--surrogates=100000"); /* minutes: shearband draws them all */
        mro_run_argument(r, "image");
        assert_int_equal(pthread_create(&thread, NULL, stop_soon, &s), 0);
        if (delay == 0) pthread_join(thread, NULL);
        assert_int_equal(mro_run_start(r, "shearband"), MRO_ESTOPPED);
        if (delay) pthread_join(thread, NULL);
        assert_int_equal(mro_run_results(r), 0);
        mro_run_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_is_measured_and_its_maps_are_kept),
        cmocka_unit_test(types_and_stacks),
        cmocka_unit_test(what_lanes_measure_is_kept_in_order),
        cmocka_unit_test(what_cannot_work_is_said),
        cmocka_unit_test(what_belongs_to_the_program_stays),
        cmocka_unit_test(options_are_described),
        cmocka_unit_test(a_run_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

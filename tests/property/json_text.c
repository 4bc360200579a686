/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The JSON and CSV writers: what they write reads back as it was, in as few digits as that needs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/json_text.h"
#include "report/json.h"

static void numbers_round_trip(void **state)
{
    uint64_t bits = 0x9e3779b97f4a7c15u;
    char text[32];
    (void)state;
    for (int i = 0; i < 200000; i++) {
        double v;
        bits ^= bits << 13; /* xorshift64: covers signs, exponents and mantissas */
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) continue;
        mro_number_text(v, text);
        assert_true(strtod(text, NULL) == v);
    }
}

static void short_numbers_stay_short(void **state)
{
    static const struct {
        double v;
        const char *text;
    } cases[] = { { 0.1, "0.1" },     { 4.1, "4.1" }, { 0.203, "0.203" },
                  { 1e-5, "1e-05" },  { 16, "16" },   { 1.0 / 3, "0.3333333333333333" },
                  { -0.02, "-0.02" }, { 0, "0" } };
    char text[32];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mro_number_text(cases[i].v, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void trees_round_trip(void **state)
{
    (void)state;
    json_t *v =
        json_pack("{s:s, s:[f,f,f], s:n, s:{s:b, s:[]}, s:[{s:i}, {}]}", "text", "a \"b\" \\ \n \t \x01 \xc3\x85",
                  "numbers", 0.1, -2.5e-300, 1.0 / 3, "none", "inner", "flag", 1, "empty", "list", "n", 7);
    assert_non_null(v);
    for (int pretty = 0; pretty < 2; pretty++) {
        json_error_t error;
        char *text = mro_json_text(v, pretty, NULL);
        assert_non_null(text);
        if (!pretty) assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
        json_t *back = json_loads(text, 0, &error);
        assert_non_null(back);
        assert_true(json_equal(v, back));
        json_decref(back);
        free(text);
    }
    json_decref(v);
}

/* A file name that is no UTF-8 still gives JSON that reads, with U+FFFD for each bad byte. */
static void bad_utf8_is_replaced(void **state)
{
    struct mro_image_info info = { .axes = 2, .axis = { { .size = 2 }, { .size = 3 } }, .frames = 1 };
    struct mro_provenance p = { .calibration = "unknown" };
    struct mro_bandpass_options o = { { 4.1, 5.8 }, 0.3 };
    struct mro_bandpass_result r = { .rms_in = 1, .rms_out = NAN };
    struct mro_result_head h = { .verb = "bandpass",
                                 .file = "\xc3\x85 a\xff.tif\xc3",
                                 .has_frame = true,
                                 .info = &info,
                                 .pixel_nm = { NAN, NAN },
                                 .provenance = &p };
    (void)state;
    json_t *v = mro_json_bandpass(&h, &o, &r, NULL);
    assert_non_null(v);
    assert_string_equal(json_string_value(json_object_get(v, "file")), "\xc3\x85 a\xef\xbf\xbd.tif\xef\xbf\xbd");
    assert_true(json_is_null(json_object_get(v, "rms_out")));
    assert_true(json_is_null(json_object_get(v, "pixel_nm")));
    assert_int_equal(json_integer_value(json_array_get(json_object_get(v, "shape"), 1)), 3);
    json_decref(v);
}

static void csv_leaves_unmeasured_fields_empty(void **state)
{
    struct mro_order_object objects[] = { { 1.5, 2, NAN, 0.203, 10, 7, 'B' } };
    struct mro_order_result r = { .objects = objects, .n_objects = 1 };
    (void)state;
    char *text = mro_csv_objects(&r, NULL);
    assert_string_equal(text, "x_nm,y_nm,diameter_nm,d_nm,azimuth_deg,snr,grade\r\n1.5,2,,0.203,10,7,B\r\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_round_trip),
        cmocka_unit_test(short_numbers_stay_short),
        cmocka_unit_test(trees_round_trip),
        cmocka_unit_test(bad_utf8_is_replaced),
        cmocka_unit_test(csv_leaves_unmeasured_fields_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

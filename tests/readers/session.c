/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Folders of results: which result stands for a row, and indexes and results that are damaged or lie. */
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

#include "io/session.h"
#include "readers/build.h"

static char folder[] = "/tmp/mroscope_session_XXXXXX";

/* An index with these rows. */
static void write_index(const char *rows)
{
    char text[4000];
    snprintf(text, sizeof text, "{\"schema\": \"mroscope.batch/1\", \"manifest\": \"s.csv\", \"rows\": [%s]}", rows);
    write_text(folder, "index.json", text);
}

#define MRO(frame, fraction) "{\"schema\": \"mroscope.mro/1\", \"frame\": " frame ", \"fraction\": " fraction "}"
#define ROW(fields) "{\"row\": 2, \"file\": \"a.tif\", \"status\": \"done\", \"verb\": \"mro\", " fields "}"

static int set_up(void **state)
{
    (void)state;
    char path[300];
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/items", folder);
    return mkdir(path, 0700);
}

static int tear_down(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void expect_result(const char *rows, const char *name, double fraction)
{
    struct mro_session s;
    struct mro_error e;
    json_t *v;
    const char *used;
    write_index(rows);
    if (mro_session_open(&s, folder, &e)) fail_msg("%s", e.message);
    if (mro_session_result(&s, 0, &v, &used, &e)) fail_msg("%s", e.message);
    assert_string_equal(used, name);
    assert_true(json_number_value(json_object_get(v, "fraction")) == fraction);
    json_decref(v);
    mro_session_release(&s);
}

/* The row has no result, and the sentence says `part`. */
static void expect_none(const char *rows, enum mro_code code, const char *part)
{
    struct mro_session s;
    struct mro_error e;
    json_t *v;
    write_index(rows);
    if (mro_session_open(&s, folder, &e)) fail_msg("%s", e.message);
    assert_int_equal(s.n_rows, 1);
    assert_int_equal(mro_session_result(&s, 0, &v, NULL, &e), code);
    assert_null(v);
    if (strstr(e.message, part) == NULL) fail_msg("'%s' lacks '%s'", e.message, part);
    mro_session_release(&s);
}

static void one_result_stands_for_a_row(void **state)
{
    (void)state;
    write_text(folder, "items/a.mro.json", MRO("0", "0.25"));
    write_text(folder, "items/s.f0000.mro.json", MRO("0", "0.1"));
    write_text(folder, "items/s.f0001.mro.json", "damaged, but never read");
    write_text(folder, "items/s.mro.json", MRO("null", "0.2"));
    write_text(folder, "items/odd.f0001.x.json", MRO("null", "0.3"));
    expect_result(ROW("\"results\": [\"items/a.mro.json\"]"), "items/a.mro.json", 0.25);
    expect_result(ROW("\"results\": [\"items/s.f0000.mro.json\", \"items/s.f0001.mro.json\", \"items/s.mro.json\"]"),
                  "items/s.mro.json", 0.2);
    /* Named like a frame, but what it says of itself counts. */
    expect_result(ROW("\"results\": [\"items/s.f0000.mro.json\", \"items/odd.f0001.x.json\"]"),
                  "items/odd.f0001.x.json", 0.3);
}

static void rows_keep_what_the_manifest_says(void **state)
{
    (void)state;
    struct mro_session s;
    struct mro_error e;
    write_index(ROW("\"state\": \"AQ\", \"strain\": \"4\", \"thickness_nm\": 12.5, \"kind\": \"hrtem\", \"specimen\": "
                    "\"L1\", \"item\": \"items/x\", \"results\": []") ", " ROW("\"strain\": null, \"item\": "
                                                                               "\"items/y\"") ", 7, " ROW("\"item\": "
                                                                                                          "\"items/"
                                                                                                          "x\", "
                                                                                                          "\"group\": "
                                                                                                          "\"g\""));
    assert_int_equal(mro_session_open(&s, folder, &e), MRO_OK);
    assert_int_equal(s.n_rows, 3);
    assert_int_equal(s.n_warnings, 1);
    assert_non_null(strstr(s.warnings[0], "entry 2"));
    assert_string_equal(s.manifest, "s.csv");
    assert_string_equal(s.rows[0].state, "AQ");
    assert_string_equal(s.rows[0].specimen, "L1");
    assert_true(s.rows[0].strain == 4 && s.rows[0].thickness_nm == 12.5);
    assert_true(isnan(s.rows[1].strain) && isnan(s.rows[1].thickness_nm));
    assert_string_equal(s.rows[1].state, "");
    assert_int_equal(s.rows[0].first_of_item, 0);
    assert_int_equal(s.rows[1].first_of_item, 1);
    assert_int_equal(s.rows[2].first_of_item, 0);
    mro_session_release(&s);
    mro_session_release(&s);
}

static void rows_without_a_result_say_why(void **state)
{
    (void)state;
    char path[300];
    write_text(folder, "items/a.mro.json", MRO("0", "0.25"));
    write_text(folder, "items/b.mro.json", MRO("0", "0.25"));
    write_text(folder, "items/cut.mro.json", "{\"schema\": \"mroscope.mro/1\", \"fra");
    write_text(folder, "items/empty.mro.json", "");
    write_text(folder, "items/haadf.json", "{\"schema\": \"mroscope.haadf/1\"}");
    snprintf(path, sizeof path, "%s/items/link.json", folder);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    snprintf(path, sizeof path, "%s/items/pipe.json", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_none("{\"row\": 5, \"file\": \"a.tif\", \"status\": \"failed\", \"error\": \"a.tif is cut short\"}",
                MRO_EDATA, "row 5, 'a.tif', has no result: a.tif is cut short");
    expect_none("{\"row\": 5, \"file\": \"a.tif\", \"status\": \"pending\"}", MRO_EDATA, "not measured yet");
    expect_none(ROW("\"results\": []"), MRO_EDATA, "has no result");
    expect_none(ROW("\"results\": [\"items/gone.mro.json\"]"), MRO_EIO, "gone.mro.json': No such file");
    expect_none(ROW("\"results\": [\"items/cut.mro.json\"]"), MRO_EFORMAT, "cut.mro.json' is damaged: line 1");
    expect_none(ROW("\"results\": [\"items/empty.mro.json\"]"), MRO_EFORMAT, "is empty");
    expect_none(ROW("\"results\": [\"items/haadf.json\"]"), MRO_EFORMAT, "no result of mro");
    expect_none(ROW("\"results\": [\"items/pipe.json\"]"), MRO_EIO, "pipe.json");
    expect_none(ROW("\"results\": [\"/etc/hostname\"]"), MRO_EFORMAT, "outside of the folder");
    expect_none(ROW("\"results\": [\"items/../../x\"]"), MRO_EFORMAT, "outside of the folder");
    expect_none(ROW("\"results\": [\"\"]"), MRO_EFORMAT, "outside of the folder");
    expect_none(ROW("\"results\": [\"items/link.json\"]"), MRO_EFORMAT, "is a link");
    expect_none(ROW("\"results\": [\"items/a.mro.json\", \"items/b.mro.json\"]"), MRO_EDATA, "none of all frames");
}

static void expect_no_session(const char *index, enum mro_code code, const char *part)
{
    struct mro_session s;
    struct mro_error e;
    write_text(folder, "index.json", index);
    assert_int_equal(mro_session_open(&s, folder, &e), code);
    if (strstr(e.message, part) == NULL) fail_msg("'%s' lacks '%s'", e.message, part);
}

static void folders_that_are_none_are_refused(void **state)
{
    (void)state;
    struct mro_session s;
    struct mro_error e;
    assert_int_equal(mro_session_open(&s, "/nonexistent/x", &e), MRO_EIO);
    assert_int_equal(mro_session_open(&s, "/etc/hostname", &e), MRO_EFORMAT);
    assert_int_equal(mro_session_open(&s, "/usr", &e), MRO_EIO);
    assert_non_null(strstr(e.message, "index.json"));
    expect_no_session("[", MRO_EFORMAT, "damaged");
    expect_no_session("[]", MRO_EFORMAT, "no index of a batch");
    expect_no_session("{\"schema\": \"mroscope.mro/1\"}", MRO_EFORMAT, "mroscope.mro/1");
    expect_no_session("{\"schema\": \"mroscope.batch/1\", \"rows\": {}}", MRO_EFORMAT, "no list of rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_result_stands_for_a_row),
        cmocka_unit_test(rows_keep_what_the_manifest_says),
        cmocka_unit_test(rows_without_a_result_say_why),
        cmocka_unit_test(folders_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

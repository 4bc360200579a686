/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Manifests of sessions: every way in which a spreadsheet may write one gives the same rows, and every fault is told
 * with its row. */
#define _GNU_SOURCE /* mkdtemp */
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

#include "io/table.h"
#include "session/manifest.h"

static struct mro_error e;
static char folder[] = "/tmp/mroscope-manifest-XXXXXX";

static char *at(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(at(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int make_files(void **state)
{
    (void)state;
    static const char *const names[] = { "a.tif",        "b 1.tif", "sub/c.dm4", "\xc3\xa9\xc3\xbc.tif",
                                         "l\xe4tin.tif", "-x.tif" };
    if (mkdtemp(folder) == NULL || mkdir(at("sub"), 0777) != 0) return -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) put(names[i], "x", 1);
    return 0;
}

static int remove_files(void **state)
{
    char command[200];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static enum mro_code read_bytes(struct mro_manifest *m, const void *bytes, size_t n)
{
    put("session.csv", bytes, n);
    return mro_manifest_read(m, at("session.csv"), &e);
}

static enum mro_code read_text(struct mro_manifest *m, const char *text) { return read_bytes(m, text, strlen(text)); }

static bool has_fault(const struct mro_manifest *m, const char *words)
{
    for (size_t i = 0; i < m->n_faults; i++)
        if (strstr(m->faults[i], words)) return true;
    return false;
}

static void assert_fault(const struct mro_manifest *m, const char *words)
{
    if (has_fault(m, words)) return;
    for (size_t i = 0; i < m->n_faults; i++) print_error("%s\n", m->faults[i]);
    fail_msg("no fault has '%s'", words);
}

static void assert_no_fault(const struct mro_manifest *m)
{
    if (m->n_faults) fail_msg("%s", m->faults[0]);
}

/* The same two rows: a.tif, and 'b 1.tif' with a strain, a pixel size and a thickness. */
static void check_two(const void *bytes, size_t n, const char *what)
{
    struct mro_manifest m;
    if (read_bytes(&m, bytes, n) != MRO_OK) fail_msg("%s: %s", what, e.message);
    if (m.n_faults) fail_msg("%s: %s", what, m.faults[0]);
    assert_int_equal(m.n, 2);
    assert_string_equal(m.rows[0].file, "a.tif");
    assert_string_equal(m.rows[0].path, "a.tif");
    assert_string_equal(m.rows[0].state, "AQ");
    assert_true(isnan(m.rows[0].strain) && isnan(m.rows[0].thickness_nm));
    assert_true(m.rows[0].pixel_nm[0] == 0);
    assert_string_equal(m.rows[1].path, "b 1.tif");
    assert_string_equal(m.rows[1].state, "strained, 4 %");
    assert_string_equal(m.rows[1].kind, "haadf");
    assert_true(m.rows[1].strain == 4.5);
    assert_true(m.rows[1].pixel_nm[0] == 0.02 && m.rows[1].pixel_nm[1] == 0.02);
    assert_true(m.rows[1].thickness_nm == 35.25);
    assert_string_equal(m.rows[1].value, "");
    mro_manifest_release(&m);
}

/* What the values are may stand in the head of their column. */
static void values_have_a_name_and_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *head, *name, *unit;
    } heads[] = { { "value", "value", "" },
                  { "Value (K)", "value", "K" },
                  { "value: temperature (K)", "temperature", "K" },
                  { "\"value, dose [e/nm2]\"", "dose", "e/nm2" } };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct mro_manifest m;
        char text[200];
        snprintf(text, sizeof text, "file,state,strain,kind,%s\na.tif,AQ,,hrtem,300\n", heads[i].head);
        if (read_text(&m, text) != MRO_OK) fail_msg("%s: %s", heads[i].head, e.message);
        assert_string_equal(m.rows[0].value, "300");
        assert_string_equal(m.value.name, heads[i].name);
        assert_string_equal(m.value.unit, heads[i].unit);
        assert_int_equal(m.n_unknown, 0);
        mro_manifest_release(&m);
    }
}

static void every_spelling_gives_the_same_rows(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "file,state,strain,kind,pixel_nm,thickness_nm\na.tif,AQ,,hrtem,,\nb 1.tif,\"strained, 4 "
        "%\",4.5,haadf,0.02,35.25\n",
        "file;state;strain;kind;pixel_nm;thickness_nm\r\na.tif;AQ;;hrtem;;\r\nb 1.tif;strained, 4 "
        "%;4,5;haadf;0,02;35,25\r\n",
        "file\tstate\tstrain\tkind\tpixel_nm\tthickness_nm\na.tif\tAQ\t\thrtem\t\t\nb 1.tif\tstrained, 4 "
        "%\t4,5\thaadf\t0,02\t35,25",
        "\xef\xbb\xbf"
        "File;State;Strain;Kind;Pixel (nm);Thickness (nm);;\r\na.tif;AQ;;hrtem;;;;\r\n;;;;;;;\r\nb 1.tif;strained, 4 "
        "%;4,5 %;haadf;0,02 nm;35,25 nm;;\r\n",
        "sep=;\r\nfile;state;strain;kind;pixel_nm;thickness_nm\r\na.tif;AQ;;hrtem;;\r\nb 1.tif;strained, 4 "
        "%;4,5;haadf;0,02;35,25",
        "kind,thickness_nm,state,file,\"pixel_nm\",strain\r\"hrtem\",,\"AQ\", a.tif ,,\rhaadf,35.25,\"strained, 4 "
        "%\",\"b "
        "1.tif\",\"0,02\",4.5\r",
        "file,state,strain,kind,pixel_nm,thickness_nm,note\na.tif,AQ,,hrtem,,,\"two\nlines, and a \"\"quote\"\"\"\nb "
        "1.tif,\"strained, 4 %\",4.5,haadf,0.02,35.25,\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_two(texts[i], strlen(texts[i]), texts[i]);
    for (int big = 0; big < 2; big++) { /* as UTF-16 */
        unsigned char wide[1000];
        size_t n = 0;
        const char *p = texts[1];
        for (unsigned c = 0xfeff;; c = (unsigned char)*p++) {
            wide[n + (size_t)!big] = (unsigned char)(c >> 8);
            wide[n + (size_t)big] = (unsigned char)c;
            n += 2;
            if (*p == '\0') break;
        }
        check_two(wide, n, "UTF-16");
    }
}

static void files_are_found_as_windows_and_old_systems_name_them(void **state)
{
    (void)state;
    struct mro_manifest m;
    assert_int_equal(
        read_text(&m, "file,state,kind\nsub\\c.dm4,A,hrtem\nC:\\data\\day 1\\sub\\c.dm4,B,hrtem\n"
                      "\\\\server\\share\\a.tif,C,hrtem\n\xc3\xa9\xc3\xbc.tif,D,hrtem\nl\xc3\xa4tin.tif,E,hrtem\n"
                      "-x.tif,F,hrtem\n/elsewhere/sub/c.dm4,G,hrtem\n./sub/../a.tif,H,hrtem\n"),
        MRO_OK);
    assert_no_fault(&m);
    assert_string_equal(m.rows[0].file, "sub\\c.dm4"); /* as written */
    assert_string_equal(m.rows[0].path, "sub/c.dm4");
    assert_string_equal(m.rows[1].path, "sub/c.dm4");
    assert_string_equal(m.rows[2].path, "a.tif");
    assert_string_equal(m.rows[3].path, "\xc3\xa9\xc3\xbc.tif");
    assert_string_equal(m.rows[4].path, "l\xe4tin.tif"); /* one byte on the disk */
    assert_string_equal(m.rows[5].path, "./-x.tif");
    assert_string_equal(m.rows[6].path, "sub/c.dm4");
    assert_int_equal(m.rows[7].inode, m.rows[2].inode);
    mro_manifest_release(&m);
    /* The whole table in Latin-1. */
    assert_int_equal(read_text(&m, "file,state,kind\n\xe9\xfc.tif,gegl\xfcht,hrtem\n"), MRO_OK);
    assert_no_fault(&m);
    assert_string_equal(m.rows[0].state, "gegl\xc3\xbcht");
    assert_string_equal(m.rows[0].path, "\xc3\xa9\xc3\xbc.tif");
    mro_manifest_release(&m);
}

static void all_faults_are_told_with_their_rows(void **state)
{
    (void)state;
    struct mro_manifest m;
    assert_int_equal(
        read_text(&m, "file,state,strain,kind,pixel_nm,thickness_nm,kv\nmissing.tif,A,x,hrtem,,,\n,A,,hrtem,,,\n"
                      "\na.tif,,,,0,-3,many\nsub,A,,hrtem,1e9,,\na.tif,A,,hrtem,,,,,extra\n"),
        MRO_OK);
    assert_fault(&m, "row 2: there is no file 'missing.tif'");
    assert_fault(&m, "row 2: strain 'x' is no number");
    assert_fault(&m, "row 3: file is empty");
    assert_fault(&m, "row 5: state is empty");
    assert_fault(&m, "row 5: kind is empty");
    assert_fault(&m, "row 5: pixel_nm '0' has to be larger than 0");
    assert_fault(&m, "row 5: thickness_nm '-3' has to be larger than 0");
    assert_fault(&m, "row 5: kv 'many' is no number");
    assert_fault(&m, "row 6: 'sub' is a folder");
    assert_fault(&m, "row 6: pixel_nm '1e9' is no size of a pixel");
    assert_fault(&m, "row 7: there are 9 cells, but the header has 7");
    mro_manifest_release(&m);
}

static void what_is_no_manifest_is_one_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        { "", "is empty" },
        { "\n\n", "is empty" },
        { "file,state,strain\na,b,1\n", "no column 'kind'" },
        { "1,2,3\n4,5,6\n", "no column 'file'" },
        { "file,state,kind\n", "no rows below it" },
        { "file,state,kind,State\na.tif,A,hrtem,B\n", "two columns 'state'" },
        { "file,state,kind\n\"a.tif,A,hrtem\n", "opens a quote that is never closed" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mro_manifest m;
        assert_int_equal(read_text(&m, cases[i].text), MRO_EFORMAT);
        if (strstr(e.message, cases[i].words) == NULL) fail_msg("'%s' lacks '%s'", e.message, cases[i].words);
        mro_manifest_release(&m);
    }
    struct mro_manifest m;
    assert_int_equal(read_bytes(&m, "II*\0\0\0file", 10), MRO_EFORMAT);
    assert_non_null(strstr(e.message, "no table of text"));
    mro_manifest_release(&m);
    assert_int_equal(mro_manifest_read(&m, at("none.csv"), &e), MRO_EIO);
    mro_manifest_release(&m);
}

static void two_pixel_sizes_and_unknown_columns(void **state)
{
    (void)state;
    struct mro_manifest m;
    assert_int_equal(
        read_text(&m, "file,state,kind,pixel_nm,strian,note\na.tif,A,hrtem,0.02 0.03,1,n\na.tif,A,hrtem,0.02x0.03,,\n"),
        MRO_OK);
    assert_no_fault(&m);
    for (int i = 0; i < 2; i++) assert_true(m.rows[i].pixel_nm[0] == 0.02 && m.rows[i].pixel_nm[1] == 0.03);
    assert_int_equal(m.n_unknown, 1);
    assert_string_equal(m.unknown[0], "strian");
    mro_manifest_release(&m);
}

/* Every cut and every changed byte of a table gives rows, faults or a sentence, and nothing else. */
static void cut_and_altered_tables_do_no_harm(void **state)
{
    (void)state;
    static const char text[] =
        "sep=;\r\nfile;state;strain;kind;pixel_nm\r\n\"a.tif\";A;1,5;hrtem;\"0,02\"\r\nb 1.tif;\"B\"\"\";;haadf;\r\n";
    char copy[sizeof text];
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct mro_manifest m;
        (void)read_bytes(&m, text, n);
        mro_manifest_release(&m);
        for (size_t k = 0; k < 4; k++) {
            memcpy(copy, text, sizeof text);
            copy[n] = "\"\r;\xff"[k];
            (void)read_bytes(&m, copy, sizeof text - 1);
            mro_manifest_release(&m);
        }
    }
}

static void cells_are_written_so_that_they_read_back(void **state)
{
    (void)state;
    static const char *const texts[] = { "plain", "a,b", "a;b", "say \"so\"", "two\nlines", "", "tab\there" };
    char *text = NULL, *cells[8];
    size_t size, n;
    FILE *f = open_memstream(&text, &size);
    for (size_t i = 0; i < 7; i++) mro_csv_put(f, texts[i], i < 6 ? "," : "\r\n");
    fclose(f);
    struct mro_csv t = { .at = text, .separator = ',' };
    assert_true(mro_csv_next(&t, cells, 8, &n));
    assert_int_equal(n, 7);
    for (size_t i = 0; i < 7; i++) assert_string_equal(cells[i], texts[i]);
    assert_false(mro_csv_next(&t, cells, 8, &n));
    free(text);
}

static void tables_for_people_hold_no_formulas(void **state)
{
    (void)state;
    static const char *const texts[] = { "=1+2", "-minus", "@a", "+b", "-5", "a=b" };
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (size_t i = 0; i < 6; i++) mro_csv_put_text(f, texts[i], i < 5 ? "," : "");
    fclose(f);
    assert_string_equal(text, "\"'=1+2\",\"'-minus\",\"'@a\",\"'+b\",-5,a=b");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_a_name_and_a_unit),
        cmocka_unit_test(values_have_a_name_and_a_unit),
        cmocka_unit_test(every_spelling_gives_the_same_rows),
        cmocka_unit_test(files_are_found_as_windows_and_old_systems_name_them),
        cmocka_unit_test(all_faults_are_told_with_their_rows),
        cmocka_unit_test(what_is_no_manifest_is_one_sentence),
        cmocka_unit_test(two_pixel_sizes_and_unknown_columns),
        cmocka_unit_test(cut_and_altered_tables_do_no_harm),
        cmocka_unit_test(cells_are_written_so_that_they_read_back),
        cmocka_unit_test(tables_for_people_hold_no_formulas),
    };
    return cmocka_run_group_tests_name("manifest", tests, make_files, remove_files);
}

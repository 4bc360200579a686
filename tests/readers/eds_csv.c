/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables of line profiles: every layout gives the same numbers, every fault one sentence that says where. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mroscope/eds.h"

static struct mro_error e;

static enum mro_code read_bytes(struct mro_eds_profile *p, const void *bytes, size_t n,
                                const struct mro_eds_table_options *o)
{
    static const struct mro_eds_table_options plain;
    /* A copy of just that size, so that the sanitizer sees a step beyond it. */
    void *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    const enum mro_code rc = mro_eds_table(p, copy, n, "t.csv", o ? o : &plain, &e);
    free(copy);
    return rc;
}

static enum mro_code read_text(struct mro_eds_profile *p, const char *text)
{
    return read_bytes(p, text, strlen(text), NULL);
}

static void assert_near(double got, double want, double slack)
{
    if (!(fabs(got - want) <= slack)) print_error("got %.9g, want %.9g\n", got, want);
    assert_true(fabs(got - want) <= slack);
}

static bool warned(const struct mro_eds_profile *p, const char *words)
{
    for (size_t i = 0; i < p->n_warnings; i++)
        if (strstr(p->warnings[i], words)) return true;
    return false;
}

/* Fe 80.5, 81, 79.25 and Si the rest, at 1.5, 3 and 4.5 nm. */
static void check_shares(const char *text, size_t n)
{
    static const double fe[] = { 80.5, 81, 79.25 };
    struct mro_eds_profile p;
    if (read_bytes(&p, text, n, NULL) != MRO_OK) fail_msg("%s\n%.200s", e.message, text);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.elements, 2);
    assert_string_equal(p.column[0].symbol, "Fe");
    assert_string_equal(p.column[1].symbol, "Si");
    for (size_t i = 0; i < 3; i++) {
        assert_near(p.x_nm[i], 1.5 * (double)(i + 1), 1e-9);
        assert_near(p.column[0].at[i], fe[i], 2e-3);
        assert_near(p.column[1].at[i], 100 - fe[i], 2e-3);
    }
    assert_null(p.column[0].counts);
    mro_eds_profile_release(&p);
}

static void all_layouts_read_alike(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "Distance (nm),Fe (at.%),Si (at.%)\n1.5,80.5,19.5\n3,81,19\n4.5,79.25,20.75\n",
        "\xef\xbb\xbf"
        "Distance (nm),Fe (at.%),Si (at.%)\r\n1.5,80.5,19.5\r\n3,81,19\r\n4.5,79.25,20.75",
        /* old Macintosh line ends, spaces, quotes */
        "\"Distance (nm)\" , \"Fe (at.%)\" , \"Si (at.%)\"\r 1.5 , 80.5 , 19.5 \r3,\"81\",19\r4.5,79.25,20.75\r",
        /* Velox: micrometres, other signals, shells */
        "Position (\xc2\xb5m),HAADF (Counts),Fe-K Atomic Fraction (%),Si-K Atomic Fraction (%)\n"
        "0.0015,10512,80.5,19.5\n0.003,10498,81,19\n0.0045,10400,79.25,20.75\n",
        /* AZtec: lines before the header, tabs, lines of the spectrum */
        "Project 1\nSite 2\tLine 3\n\nDistance (\xce\xbcm)\tFe K\xce\xb1"
        "1 (at%)\tSi K\xce\xb1"
        "1 (at%)\n"
        "1.5E-3\t80.5\t19.5\n3e-3\t81\t19\n4.5e-3\t79.25\t20.75\n\nEnd of data\n",
        /* Bruker: semicolons, decimal commas, Latin-1 */
        "Punkt;Abstand [\xb5m];Fe-KA [At.-%];Fe Fehler [%];Si-KA "
        "[At.-%]\n1;0,0015;80,5;1,2;19,5\n2;0,003;81;1,2;19\n3;0,0045;79,"
        "25;1,2;20,75\n",
        /* tabs with decimal commas, lengths after a slash or as a word */
        "Distance / nm\tSum (at.%)\tFe at.%\tSi "
        "at.%\n1,5\t100\t80,5\t19,5\n3,0\t100\t81,0\t19,0\n4,5\t100\t79,25\t20,75\n",
        "X [\xc3\x85],Fe atomic %,Si atomic %\n15,80.5,19.5\n30,81,19\n45,79.25,20.75\n",
        /* units in a row of their own */
        "Distance,Fe,Si\nnm,at.%,at.%\n1.5,80.5,19.5\n3,81,19\n4.5,79.25,20.75\n",
        /* fractions */
        "Distance (nm),Fe (at. fraction),Si (at. fraction)\n1.5,0.805,0.195\n3,0.81,0.19\n4.5,0.7925,0.2075\n",
        /* weights: Fe 55.845, Si 28.085 */
        "Distance (nm),Fe (wt.%),Si (wt.%)\n1.5,89.1402,10.8598\n3,89.4482,10.5518\n4.5,88.3650,11.6350\n",
        /* both: at.% are used; comments, empty lines, cells to the right */
        "# made by hand\nDistance (nm),Fe (wt%),Si (wt%),Fe (at%),Si (at%)\n1.5,1,99,80.5,19.5,,\n\n# "
        "next\n3,1,99,81,19\n4.5,1,99,79."
        "25,20.75\n\n\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_shares(texts[i], strlen(texts[i]));
    /* UTF-16 with either byte order. */
    char wide[2][2 * 512];
    const size_t n = strlen(texts[0]);
    for (int big = 0; big < 2; big++) {
        memcpy(wide[big], big ? "\xfe\xff" : "\xff\xfe", 2);
        for (size_t i = 0; i < n; i++) {
            wide[big][2 + 2 * i + (size_t)!big] = 0;
            wide[big][2 + 2 * i + (size_t)big] = texts[0][i];
        }
        check_shares(wide[big], 2 + 2 * n);
        check_shares(wide[big], 2 + 2 * n - 2); /* the last line end is cut */
    }
}

static void counts_and_shares_together(void **state)
{
    (void)state;
    struct mro_eds_profile p;
    assert_int_equal(read_text(&p,
                               "Distance (nm),Fe (at.%),Si (at.%),Fe (counts),Si (counts)\n0,80,20,400,90\n1,80,20,410,"
                               "88\n2,80,20,390,95\n12,80,20,390,95\n"),
                     MRO_OK);
    assert_near(p.column[0].counts[1], 410, 0);
    assert_near(p.column[1].at[2], 20, 1e-9);
    assert_true(warned(&p, "gap"));
    assert_true(warned(&p, "lines 4 and 5"));
    mro_eds_profile_release(&p);
    assert_int_equal(
        read_text(&p,
                  "Distance (nm),HAADF,Fe K (cts),Fe L (cts),Si K (cts)\n0,1,400,1,90\n1,1,410,1,88\n2,1,390,1,95\n"),
        MRO_OK);
    assert_near(p.column[0].counts[0], 400, 0);
    assert_true(warned(&p, "Fe is there twice"));
    assert_true(warned(&p, "'HAADF'"));
    mro_eds_profile_release(&p);
    mro_eds_profile_release(&p); /* empty now */
    mro_eds_profile_release(NULL);
}

static void options_say_what_headers_do_not(void **state)
{
    (void)state;
    static const char bare[] = "Distance (nm),Fe,Si,Cu\n0,400,90,7\n1,410,88,7\n2,390,95,7\n";
    static const char parts[] = "Distance (nm),Fe (at.%),Si (at.%)\n0,70,20\n1,70,20\n2,72,18\n";
    struct mro_eds_profile p;
    struct mro_eds_table_options o = { .unit = MRO_EDS_UNIT_COUNTS, .elements = "Fe,Si" };
    assert_int_equal(read_text(&p, bare), MRO_EFORMAT);
    assert_non_null(strstr(e.message, "`unit`"));
    assert_int_equal(read_bytes(&p, bare, strlen(bare), &o), MRO_OK);
    assert_int_equal(p.elements, 2);
    mro_eds_profile_release(&p);
    o.elements = "Fe,Zr";
    assert_int_equal(read_bytes(&p, bare, strlen(bare), &o), MRO_EDATA);
    assert_non_null(strstr(e.message, "no column of 'Zr'"));
    assert_int_equal(read_text(&p, parts), MRO_EDATA);
    assert_non_null(strstr(e.message, "add up to 90, not 100"));
    assert_int_equal(read_bytes(&p, parts, strlen(parts), &(struct mro_eds_table_options){ .normalise = true }),
                     MRO_OK);
    assert_near(p.column[0].at[0], 700 / 9.0, 1e-9);
    assert_true(warned(&p, "90"));
    mro_eds_profile_release(&p);
}

static void every_fault_has_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words[3];
    } faults[] = {
        { "", { "no line profile" } },
        { "hello\nworld\n", { "no line profile" } },
        { "1,2,3\n4,5,6\n", { "no line profile" } },
        { "Distance (nm),Fe (counts),Si (counts)\n", { "no points" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n", { "1 point" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,2,3\n", { "2 points" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,,3\n3,2,3\n", { "line 3", "Fe (counts)", "no value" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,n.d.,3\n3,2,3\n", { "line 3", "Fe (counts)", "'n.d.'" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,nan,3\n3,2,3\n", { "line 3", "'nan'" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,1e999,3\n3,2,3\n", { "line 3", "'1e999'" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,0x10,3\n3,2,3\n", { "line 3", "'0x10'" } },
        { "Distance (nm);Fe (counts);Si (counts)\n1;1.234,5;3\n2;2;3\n3;2;3\n", { "line 2", "'1.234,5'" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,2,-3\n3,2,3\n", { "line 3", "Si (counts)", "negative" } },
        { "Distance (nm),Fe (at.%),Si (at.%)\n1,80,20\n2,102,-2\n3,80,20\n", { "line 3", "Si (at.%)", "negative" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n2,2,3\n2,2,3\n", { "lines 3 and 4", "same distance" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2,3\n3,2,3\n2,2,3\n", { "fall", "line 4" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,5,2,3\n2,5,2,3\n", { "line 2", "4 cells", "decimal commas" } },
        { "Distance (nm),Fe (counts),Si (counts)\n1,2\n2,2,3\n", { "line 2", "2 cells" } },
        { "Distance (nm),Fe (counts),Si (at.%)\n1,2,3\n2,2,3\n3,2,3\n", { "mixes units" } },
        { "Distance (nm),Fe (at.%),Si (wt.%)\n1,2,3\n2,2,3\n3,2,3\n", { "mixes units" } },
        { "Distance (nm),Fe (at.%),Si (at.%)\n1,80,20\n2,80,20\n3,80,9\n", { "line 4", "89", "not 100" } },
        { "Distance (nm),Fe (at.%),Si (at.%)\n1,80,20\n2,0,0\n3,80,20\n", { "line 3", "add up to 0" } },
        { "Distance (nm),Fe (cps),Si (cps)\n1,2,3\n2,2,3\n3,2,3\n", { "rate", "counts" } },
        { "Distance (nm),Fe (counts/s),Si (counts/s)\n1,2,3\n2,2,3\n3,2,3\n", { "rate" } },
        { "Distance,Fe (counts),Si (counts)\n1,2,3\n2,2,3\n3,2,3\n", { "no unit of length" } },
        { "Distance (px),Fe (counts),Si (counts)\n1,2,3\n2,2,3\n3,2,3\n", { "no unit of length" } },
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct mro_eds_profile p;
        const enum mro_code rc = read_text(&p, faults[i].text);
        if (rc == MRO_OK) fail_msg("accepted: %s", faults[i].text);
        assert_non_null(strstr(e.message, "'t.csv'"));
        for (int k = 0; k < 3 && faults[i].words[k]; k++)
            if (!strstr(e.message, faults[i].words[k])) fail_msg("'%s' lacks '%s'", e.message, faults[i].words[k]);
        assert_int_equal(p.n, 0);
        assert_null(p.x_nm);
    }
    struct mro_eds_profile p;
    assert_int_not_equal(read_bytes(&p, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16, NULL), MRO_OK);
}

/* Whatever bytes come, a sentence or a profile, never a step beyond them. */
static void cut_and_altered_tables_do_no_harm(void **state)
{
    (void)state;
    static const char good[] =
        "\xef\xbb\xbfLine 1;2\r\nDistance (\xc2\xb5m);\"Fe K (counts)\";Si K (counts);Fe (at.%);Si (at.%)\r\n"
        "0,001;400;90;80,0;20,0\r\n0,002;401;91;80,5;19,5\r\n0,003;388;99;79,0;21,0\r\n\r\nend\r\n";
    static const char odd[] = "\"\xff\0;,\t\n\r-eE.%(\xb5";
    struct mro_eds_profile p;
    const size_t n = sizeof good - 1;
    assert_int_equal(read_bytes(&p, good, n, NULL), MRO_OK);
    mro_eds_profile_release(&p);
    char copy[sizeof good];
    for (size_t i = 0; i <= n; i++) {
        if (read_bytes(&p, good, i, NULL) == MRO_OK) assert_true(p.n >= 3);
        mro_eds_profile_release(&p);
        for (size_t k = 0; k < sizeof odd && i < n; k++) {
            memcpy(copy, good, n);
            copy[i] = odd[k];
            if (read_bytes(&p, copy, n, NULL) == MRO_OK) assert_true(p.n >= 3 && p.elements >= 1);
            mro_eds_profile_release(&p);
        }
    }
    /* Many columns and elements. */
    char *wide = malloc(200000), *w = wide;
    assert_non_null(wide);
    w += sprintf(w, "Distance (nm)");
    for (int i = 0; i < 2000; i++) w += sprintf(w, ",Fe (counts) %d", i);
    assert_int_not_equal(read_text(&p, wide), MRO_OK);
    w = wide + sprintf(wide, "Distance (nm)");
    static const char *const all[] = { "H", "Li", "Be", "B",  "C",  "N",  "O", "F",  "Na", "Mg", "Al", "Si", "P",
                                       "S", "Cl", "K",  "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu" };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) w += sprintf(w, ",%s (counts)", all[i]);
    assert_int_equal(read_text(&p, wide), MRO_EDATA);
    assert_non_null(strstr(e.message, "`elements`"));
    free(wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_layouts_read_alike),
        cmocka_unit_test(counts_and_shares_together),
        cmocka_unit_test(options_say_what_headers_do_not),
        cmocka_unit_test(every_fault_has_a_sentence),
        cmocka_unit_test(cut_and_altered_tables_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

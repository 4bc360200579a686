/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables of profiles: every way to write one gives the same numbers, every fault a sentence that says where. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mroscope/math/hd.h"
#include "mroscope/profile.h"

static struct mro_error e;

/* Ten rows of `format` (x, y, error) after a header. */
static char *table(const char *header, const char *format, double x0, double step)
{
    static char text[4096];
    size_t n = (size_t)snprintf(text, sizeof text, "%s", header);
    for (int i = 0; i < 10; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, format, x0 + i * step, 100.5 + i, 2.0 + 0.1 * i);
    return text;
}

static enum mro_code read_as(struct mro_profile *p, const char *text, const char *name,
                             const struct mro_profile_options *given)
{
    struct mro_profile_options o;
    mro_profile_options_default(&o);
    const size_t n = strlen(text);
    char *copy = malloc(n + 1); /* the sanitizer sees a step beyond it */
    assert_non_null(copy);
    memcpy(copy, text, n);
    const enum mro_code rc = mro_profile_read(p, copy, n, name, given ? given : &o, &e);
    free(copy);
    return rc;
}

static void near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-9 * fmax(1, fabs(b)))) fail_msg("%.12g is not %.12g", a, b);
}

static void the_same_numbers(void **state)
{
    const double per = 10 / (2 * MRO_PI); /* s in 1/nm for Q of 1 per Angstrom */
    const struct {
        const char *header, *format, *name;
        double x0, step, factor;
        bool error;
    } cases[] = {
        { "Q_inv_A,I,I_se\n", "%g,%g,%g\n", "a.csv", 0.5, 0.1, per, true },
        { "# Q(A^-1)   I(Q)  sigma\n", "%g %g %g\n", "a.dat", 0.5, 0.1, per, true },
        { "# q_nm^-1 I sigma\n", "  %e  %e  %e\n", "a.dat", 5, 1, 1 / (2 * MRO_PI), true },
        { "s_inv_nm,intensity,se\n", "%g,%g,%g\r\n", "a.csv", 1, 0.25, 1, true },
        { "a pattern\nQ (\xc3\x85\xe2\x88\x92"
          "1)\nIntensity\n  10\n",
          "%g %g\n", "a.chi", 0.5, 0.1, per, false },
        { "#### start data\n#S 1\n#L Q($\\AA^{-1}$) I\n", "%g %g\n", "a.xy", 0.5, 0.1, per, false },
        { "Q [1/A];I\n", "%g;%g\n", "a.csv", 0.5, 0.1, per, false },
        { "'s (1/nm)'\tI\n", "%g\t%g\n", "a.txt", 1, 0.25, 1, false },
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct mro_profile p;
        const char *text = table(cases[c].header, cases[c].format, cases[c].x0, cases[c].step);
        assert_true(mro_profile_probe(text, strlen(text)));
        if (read_as(&p, text, cases[c].name, NULL)) fail_msg("case %zu: %s", c, e.message);
        assert_int_equal(p.n, 10);
        assert_int_equal(p.quantity, MRO_QUANTITY_INTENSITY);
        for (size_t i = 0; i < 10; i++) {
            if (!(fabs(p.s_inv_nm[i] - (cases[c].x0 + (double)i * cases[c].step) * cases[c].factor) < 1e-9))
                fail_msg("case %zu: point %zu at %g", c, i, p.s_inv_nm[i]);
            near(p.intensity[i], 100.5 + (double)i);
            if (cases[c].error)
                near(p.se[i], 2 + 0.1 * (double)i);
            else
                assert_true(isnan(p.se[i]));
        }
        near(p.step_inv_nm, cases[c].step * cases[c].factor);
        mro_profile_release(&p);
    }
}

static void angles_and_other_quantities(void **state)
{
    struct mro_profile p;
    struct mro_profile_options o;
    (void)state;
    char *text = table("# Wavelength: 1.61e-11 m\n# 2th_deg I sigma\n", "%g %g %g\n", 1, 0.5);
    if (read_as(&p, text, "a.dat", NULL)) fail_msg("%s", e.message);
    near(p.s_inv_nm[2], 20 * sin(MRO_PI / 180) / 0.161);
    near(p.wavelength_A, 0.161);
    assert_int_equal(p.radiation, MRO_RADIATION_X_RAYS);
    mro_profile_release(&p);
    text = table("2-Theta Angle (Degrees)\n", "%g %g\n", 1, 0.5);
    assert_int_equal(read_as(&p, text, "a.chi", NULL), MRO_ECALIB);
    assert_int_equal(e.lack, MRO_LACKS_WAVELENGTH);
    mro_profile_options_default(&o);
    o.wavelength_A = 0.5;
    assert_int_equal(read_as(&p, text, "a.chi", &o), MRO_OK);
    near(p.s_inv_nm[0], 20 * sin(MRO_PI / 360) / 0.5);
    mro_profile_release(&p);
    assert_int_equal(read_as(&p, table("#L r($\\AA$) G($\\AA^{-2}$)\n", "%g %g\n", 0, 0.1), "a.gr", NULL), MRO_OK);
    assert_int_equal(p.quantity, MRO_QUANTITY_G);
    assert_null(p.s_inv_nm);
    near(p.r_A[3], 0.3);
    mro_profile_release(&p);
    assert_int_equal(read_as(&p, table("", "%g %g\n", 0, 0.1), "a.GR", NULL), MRO_OK);
    assert_non_null(p.r_A);
    mro_profile_release(&p);
    assert_int_equal(read_as(&p, table("", "%g %g\n", 0, 0.1), "a.sq", NULL), MRO_OK);
    assert_int_equal(p.quantity, MRO_QUANTITY_S);
    mro_profile_release(&p);
    assert_int_equal(read_as(&p, table("Q_inv_A,S,S_se\n", "%g,%g,%g\n", 0, 0.1), "a.csv", NULL), MRO_OK);
    assert_int_equal(p.quantity, MRO_QUANTITY_S);
    near(p.se[1], 2.1);
    mro_profile_release(&p);
    mro_profile_options_default(&o);
    o.abscissa = MRO_ABSCISSA_S_A;
    o.column = 3;
    assert_int_equal(read_as(&p, table("x y z\n", "%g %g %g\n", 0, 0.1), "a.xy", &o), MRO_OK);
    near(p.s_inv_nm[1], 1);
    near(p.intensity[1], 2.1);
    mro_profile_release(&p);
}

static void faults_have_a_sentence(void **state)
{
    const char *good = "Q_inv_A,I\n1,1\n2,1\n3,1\n4,1\n5,1\n6,1\n7,1\n8,1\n";
    const struct {
        const char *text, *name, *says;
        enum mro_code code;
    } cases[] = {
        { "", "a.xy", "no line has two", MRO_EFORMAT },
        { "hello\nworld\n", "a.xy", "no table of numbers", MRO_EFORMAT },
        { "1 2\n2 3\n3 4\n", "a.xy", "what its first column is", MRO_ECALIB },
        { "Q_inv_A,I\n1,1\n2,1\n3,1\n", "a.csv", "3 points", MRO_EDATA },
        { "Q_inv_A,I\n1,1\n2,NaN\n3,1\n", "a.csv", "line 3, column 2 holds 'NaN'", MRO_EDATA },
        { "Q_inv_A,I\n1,nan\n2,nan\n3,nan\n", "a.csv", "line 2, column 2 holds 'nan'", MRO_EDATA },
        { "Q_inv_A,I\n1,1\n1,2\n3,1\n4,1\n5,1\n6,1\n7,1\n8,1\n", "a.csv", "stays the same from line 2 to line 3",
          MRO_EDATA },
        { "Q_inv_A,I\n1,1\n2,2\n1.5,1\n4,1\n5,1\n6,1\n7,1\n8,1\n", "a.csv", "falls from line 3 to line 4", MRO_EDATA },
        { "Q_inv_A,I\n-1,1\n2,2\n3,1\n4,1\n5,1\n6,1\n7,1\n8,1\n", "a.csv", "cannot be negative", MRO_EDATA },
        { "Q_inv_A,I\n1,1\n2\n3,1\n4,1\n5,1\n6,1\n7,1\n8,1\n", "a.csv", "line 3 has 1 columns", MRO_EDATA },
        { "Q_inv_A,I,se\n1,1,1\n2,1,-1\n3,1,1\n4,1,1\n5,1,1\n6,1,1\n7,1,1\n8,1,1\n", "a.csv", "an error of -1",
          MRO_EDATA },
        { "Q_inv_A,I\n1,1\n2,abc\n3,1\n", "a.csv", "'abc', which is no number", MRO_EDATA },
    };
    struct mro_profile p;
    struct mro_profile_options o;
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const enum mro_code rc = read_as(&p, cases[c].text, cases[c].name, NULL);
        if (rc != cases[c].code || strstr(e.message, cases[c].says) == NULL)
            fail_msg("case %zu: code %d, '%s'", c, rc, rc ? e.message : "");
        assert_null(p.intensity);
    }
    mro_profile_options_default(&o);
    o.column = 5;
    assert_int_equal(read_as(&p, good, "a.csv", &o), MRO_EARG);
    assert_non_null(strstr(e.message, "no column 5"));
    assert_false(mro_profile_probe("II*\0\0\0\0", 7));
    assert_false(mro_profile_probe("Fe,Si\nx,y\n", 10));
    /* Cut anywhere, and with any byte changed, it is read or refused. */
    const size_t n = strlen(good);
    char *copy = malloc(n);
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, good, n);
        if (mro_profile_read(&p, copy, i, "a.csv", (mro_profile_options_default(&o), &o), &e) == MRO_OK)
            mro_profile_release(&p);
        for (int b = 0; b < 256; b += 5) {
            copy[i] = (char)b;
            (void)mro_profile_probe(copy, n);
            if (mro_profile_read(&p, copy, n, "a.csv", &o, &e) == MRO_OK) mro_profile_release(&p);
        }
    }
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_numbers),
        cmocka_unit_test(angles_and_other_quantities),
        cmocka_unit_test(faults_have_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Speckle holds no crystals: 50 draws, of which one at most may show one, and no dislocation in all. And where there is
 * a crystal, the error of its spacing is what the standard error says. */
#include "crystals.h"

static void speckle_holds_no_crystals(void **state)
{
    (void)state;
    enum { N = 280, DRAWS = 50 };
    struct mro_device *d = device_of("cpu", 0);
    const struct mro_crystal_options o = usual();
    size_t crystals = 0;
    int vortices = 0;
    for (uint64_t k = 0; k < DRAWS; k++) {
        struct mro_crystal_result r = measured(d, N, 0.045, k, NULL, 0, &o);
        crystals += r.n_crystals;
        for (size_t i = 0; i < r.n_crystals; i++) vortices += r.crystals[i].vortices;
        assert_true(r.n_crystals > 0 || strstr(r.verdict, "no crystal"));
        mro_crystal_result_release(&r);
    }
    assert_true(crystals <= 1);
    assert_int_equal(vortices, 0);
    mro_device_close(d);
}

static void standard_errors_are_right(void **state)
{
    (void)state;
    enum { N = 256, DRAWS = 30 };
    struct mro_device *d = device_of("cpu", 0);
    const struct mro_crystal_options o = usual();
    double square = 0;
    size_t n = 0;
    for (uint64_t k = 0; k < DRAWS; k++) {
        const double spacing = 0.19 + 0.002 * (double)k, size = 3 + 0.1 * (double)k;
        const struct planted c = plain_crystal(5.3, 6.1, size, spacing, 37 + 11.0 * (double)k);
        struct mro_crystal_result r = measured(d, N, 0.045, 100 + k, &c, 1, &o);
        for (size_t i = 0; i < r.n_crystals; i++) {
            const struct mro_fringes *f = &r.crystals[i].fringes[0];
            const double off = (f->d_nm - spacing) / f->d_se_nm;
            assert_true(f->d_se_nm > 0.3 * f->d_crlb_nm && f->d_crlb_nm > 0);
            square += off * off;
            n++;
        }
        assert_int_equal(r.n_crystals, 1);
        mro_crystal_result_release(&r);
    }
    assert_true(square / (double)n > 0.3 && square / (double)n < 1.6);
    mro_device_close(d);
}

/* The two sides of a step: strains off by no more, and not much less, than their standard errors say. */
static void errors_of_sides_are_right(void **state)
{
    (void)state;
    enum { N = 256, DRAWS = 12 };
    struct mro_device *d = device_of("cpu", 0);
    struct mro_crystal_options o = usual();
    double square = 0;
    size_t n = 0, covered = 0;
    o.reference_d_nm = 0.2027;
    for (uint64_t k = 0; k < DRAWS; k++) {
        struct planted c = plain_crystal(5.3, 6.1, 7.5, 0.2027, 7 + 14.0 * (double)k);
        c.strain_deg = c.azimuth_deg[0];
        c.plus = 0.015;
        struct mro_crystal_result r = measured(d, N, 0.045, 200 + k, &c, 1, &o);
        for (size_t i = 0; i < r.n_sides; i++) {
            const struct mro_crystal_side *s = &r.sides[i];
            const double along = cos((s->normal_azimuth_deg - c.strain_deg) * M_PI / 180);
            const double off = (s->strain - ((along > 0) == s->plus ? 0.015 : 0)) / s->strain_se;
            square += off * off;
            covered += fabs(off) < 2;
            n++;
        }
        mro_crystal_result_release(&r);
    }
    assert_true(n >= 2 * (DRAWS - 1));
    assert_true(square / (double)n > 0.15 && square / (double)n < 1.5 && (double)covered > 0.9 * (double)n);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(speckle_holds_no_crystals),
                                        cmocka_unit_test(standard_errors_are_right),
                                        cmocka_unit_test(errors_of_sides_are_right) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

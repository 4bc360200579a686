/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Crystals against what was planted: place, size, spacing, planes, strain with its signs, steps, dislocations, bands;
 * and what cannot be measured. */
#include <stdio.h>

#include "crystals.h"
#include "ops/crystal/crystal_internal.h"

static struct mro_error e;

static bool warned(const struct mro_crystal_result *r, const char *words)
{
    for (size_t i = 0; i < r->n_warnings; i++)
        if (strstr(r->warnings[i], words)) return true;
    return false;
}

static void planted_crystals_are_found(void **state)
{
    static const struct {
        size_t n;
        double pixel, x, y, diameter, d, azimuth;
    } cases[] = {
        { 512, 0.024, 5.0, 6.9, 2.2, 0.2027, 12 },
        { 400, 0.03, 6.2, 5.1, 3.0, 0.143, 100 },
        { 256, 0.06, 7.0, 8.1, 5.0, 0.35, 60 },
        { 800, 0.018, 7.5, 6.0, 8.0, 0.25, 171 },
        { 512, 0.04, 9.0, 11.0, 10.0, 0.18, 45 },
        { 512, 0.03, 7.5, 7.9, 3.0, 0.36, 30 }, /* half its spot out of band */
    };
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_crystal_options o = usual();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct planted c = plain_crystal(cases[k].x, cases[k].y, cases[k].diameter, cases[k].d, cases[k].azimuth);
        struct mro_crystal_result r = measured(d, cases[k].n, cases[k].pixel, 20 + k, &c, 1, &o);
        assert_int_equal(r.n_crystals, 1);
        const struct mro_crystal *f = &r.crystals[0];
        near(f->x_nm, c.x_nm, 0.25);
        near(f->y_nm, c.y_nm, 0.25);
        near(f->diameter_nm, c.diameter_nm, 0.1 * c.diameter_nm);
        near(f->fringes[0].d_nm, c.d_nm[0], 4 * f->fringes[0].d_se_nm);
        near(f->fringes[0].d_nm, c.d_nm[0], 0.015 * c.d_nm[0] * fmin(1, 2 / c.diameter_nm));
        near(remainder(f->fringes[0].azimuth_deg - c.azimuth_deg[0], 180), 0, 0.8);
        near(f->fringes[0].amplitude, 0.12, 0.02);
        assert_int_equal(f->n_fringes, 1);
        assert_false(f->at_border);
        assert_int_equal(f->vortices, 0);
        assert_true(warned(&r, "a single set of fringes"));
        assert_true(isnan(f->exx) && isfinite(f->enn));
        mro_crystal_result_release(&r);
    }
    mro_device_close(d);
}

/* Two crystals over each other, a zone axis with three sets, one that the border cuts. */
static void several_are_told_apart(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_crystal_options o = usual();
    struct planted c[3] = { plain_crystal(6, 8, 6, 0.2027, 20), plain_crystal(9.4, 8.6, 5, 0.2027, 75),
                            plain_crystal(15.5, 4, 4, 0.2073, 10) };
    c[1].sets = 3;
    c[1].d_nm[1] = 0.2027;
    c[1].azimuth_deg[1] = 75 + 90;
    c[1].d_nm[2] = 0.14333;
    c[1].azimuth_deg[2] = 75 + 45;
    struct mro_crystal_result r = measured(d, 512, 0.032, 40, c, 3, &o);
    assert_int_equal(r.n_crystals, 3);
    for (size_t k = 0; k < 3; k++) {
        const struct mro_crystal *f = NULL;
        for (size_t i = 0; i < 3; i++)
            if (hypot(r.crystals[i].x_nm - c[k].x_nm, r.crystals[i].y_nm - c[k].y_nm) < 0.8) f = &r.crystals[i];
        assert_non_null(f);
        assert_int_equal(f->n_fringes, c[k].sets);
        assert_int_equal(f->at_border, k == 2);
        if (k != 1) continue;
        assert_int_equal(f->phase, 0);
        assert_int_equal(abs(f->zone[0]) + abs(f->zone[1]) + abs(f->zone[2]), 1);
        near(f->angle_residual_deg, 0, 0.5);
        assert_true(f->phase_residual < 0.004);
    }
    assert_true(warned(&r, "cut by the border"));
    mro_crystal_result_release(&r);

    c[0].sets = 2; /* orders of one set */
    c[0].d_nm[0] = 0.34;
    c[0].d_nm[1] = 0.17;
    c[0].azimuth_deg[1] = 20;
    r = measured(d, 400, 0.035, 41, c, 1, &o);
    assert_int_equal(r.n_crystals, 1);
    assert_int_equal(r.crystals[0].n_fringes, 2);
    assert_true(warned(&r, "collinear"));
    assert_true(isnan(r.crystals[0].exy) && isnan(r.crystals[0].rotation_deg));
    mro_crystal_result_release(&r);
    mro_device_close(d);
}

/* Whitening pushes the wide spots of small crystals down the flanks of the halo: the error holds that, which the
 * scatter of the phase does not know of (by which less than half of the intervals would hold). */
static void spots_on_the_halos_flanks(void **state)
{
    (void)state;
    enum { DRAWS = 12 };
    static const struct {
        double diameter, d;
    } cases[] = { { 2, 0.238 }, { 2, 0.182 }, { 3, 0.238 }, { 3, 0.182 } };
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_crystal_options o = usual();
    size_t n = 0, covered = 0;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (size_t i = 0; i < DRAWS; i++) {
            const struct planted c = plain_crystal(5.3, 6.1, cases[k].diameter, cases[k].d, 37 + 11.0 * (double)i);
            struct mro_crystal_result r = measured(d, 256, 0.045, 300 + 20 * k + i, &c, 1, &o);
            assert_int_equal(r.n_crystals, 1);
            const struct mro_fringes *f = &r.crystals[0].fringes[0];
            near(f->d_nm, cases[k].d, 0.02 * cases[k].d);
            covered += fabs(f->d_nm - cases[k].d) < 1.96 * f->d_se_nm;
            n++;
            mro_crystal_result_release(&r);
        }
    assert_true((double)covered >= 0.9 * (double)n);
    mro_device_close(d);
}

/* Mean of a map where `side` of the crystal's centre along the azimuth, 1 nm away from it. */
static double mean_of(const struct mro_image *m, const struct planted *c, double azimuth_deg, int side)
{
    const double t = azimuth_deg * M_PI / 180;
    double sum = 0, n = 0;
    for (size_t y = 0; y < m->ny; y++)
        for (size_t x = 0; x < m->nx; x++) {
            const double s =
                ((double)x * m->axis[1].step - c->x_nm) * cos(t) + ((double)y * m->axis[0].step - c->y_nm) * sin(t);
            if (s * side < (side ? 1 : 0) || !isfinite(m->px[y * m->nx + x])) continue;
            sum += m->px[y * m->nx + x];
            n++;
        }
    assert_true(n > 100);
    return sum / n;
}

static void a_step_of_strain(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    struct mro_crystal_options o = usual();
    o.reference_d_nm = 0.2027;
    for (int k = 0; k < 2; k++) {
        struct planted c = plain_crystal(8, 7.4, 8, 0.2027, 33);
        c.sets = 2;
        c.d_nm[1] = 0.2027;
        c.azimuth_deg[1] = 93;
        c.strain_deg = 33;
        c.minus = k ? 0.004 : 0;
        c.plus = k ? -0.012 : 0.015;
        struct mro_crystal_result r = measured(d, 640, 0.025, 50 + (uint64_t)k, &c, 1, &o);
        assert_int_equal(r.n_crystals, 1);
        assert_int_equal(r.n_sides, 2);
        const struct mro_crystal_side *s = r.sides;
        near(s[0].strain, s[0].plus ? c.plus : c.minus, 0.002);
        near(s[1].strain, s[1].plus ? c.plus : c.minus, 0.002);
        near(s[0].azimuth_deg, 33, 1);
        near(remainder(s[0].normal_azimuth_deg - 33, 180), 0, 12);
        near((s[0].border_nm[0] - c.x_nm) * cos(33 * M_PI / 180) + (s[0].border_nm[1] - c.y_nm) * sin(33 * M_PI / 180),
             0, 0.6);
        for (int i = 0; i < 2; i++) near(s[i].strain, s[i].plus ? c.plus : c.minus, 3.5 * s[i].strain_se);
        /* The maps: along the fringe normal, and the tensor seen along it. */
        const double co = cos(33 * M_PI / 180), si = sin(33 * M_PI / 180);
        for (int side = -1; side <= 1; side += 2) {
            const double want = side < 0 ? c.minus : c.plus;
            near(mean_of(&r.enn, &c, 33, side), want, 0.002);
            const double tensor = co * co * mean_of(&r.exx, &c, 33, side) + si * si * mean_of(&r.eyy, &c, 33, side) +
                                  2 * co * si * mean_of(&r.exy, &c, 33, side);
            near(tensor, want, 0.002);
        }
        near(r.crystals[0].fringes[0].strain, 0.5 * (c.minus + c.plus), 0.002);
        near(r.crystals[0].fringes[0].azimuth_deg, 33, 1);
        assert_int_equal(r.crystals[0].vortices, 0);
        mro_crystal_result_release(&r);
    }
    mro_device_close(d);
}

/* Signs of the tensor and of the rotation, and no step where there is none. */
static void strain_has_its_signs(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    struct mro_crystal_options o = usual();
    struct planted c = plain_crystal(8, 8, 9, 0.2027, 20);
    c.sets = 2;
    c.d_nm[1] = 0.2027;
    c.azimuth_deg[1] = 110;
    c.strain_deg = 60; /* stretched along 60 degrees: exx 0.25, eyy 0.75, exy 0.43 of it */
    c.minus = c.plus = 0.02;
    o.reference_d_nm = 0.2027;
    struct mro_crystal_result r = measured(d, 512, 0.032, 60, &c, 1, &o);
    assert_int_equal(r.n_crystals, 1);
    near(r.crystals[0].exx, 0.005, 0.001);
    near(r.crystals[0].eyy, 0.015, 0.001);
    near(r.crystals[0].exy, 0.00866, 0.001);
    assert_int_equal(r.n_sides, 0);
    near(mean_of(&r.exy, &c, 0, 0), 0.00866, 0.001);
    near(mean_of(&r.rotation, &c, 0, 0), 0, 0.1);
    mro_crystal_result_release(&r);

    c.minus = c.plus = 0;
    c.turned_deg = 1.5; /* of the right half; the reference lies in the left one */
    o.reference_d_nm = NAN;
    o.reference_nm[0] = 4.8;
    o.reference_nm[1] = 7;
    o.reference_nm[2] = 7;
    o.reference_nm[3] = 9;
    r = measured(d, 512, 0.032, 61, &c, 1, &o);
    assert_int_equal(r.n_crystals, 1);
    near(mean_of(&r.rotation, &c, 0, -1), 0, 0.15);
    near(mean_of(&r.rotation, &c, 0, 1), 1.5, 0.15);
    near(mean_of(&r.exx, &c, 0, 1), 0, 0.002);
    near(r.crystals[0].reference_nm[0], 4.8, 1e-9);
    mro_crystal_result_release(&r);

    o.reference_nm[0] = 13.5; /* beside the crystal */
    o.reference_nm[2] = 15;
    r = measured(d, 512, 0.032, 61, &c, 1, &o);
    assert_true(warned(&r, "outside every crystal"));
    assert_true(isnan(r.crystals[0].exx) && isnan(r.crystals[0].enn) && isnan(r.crystals[0].reference_nm[0]));
    mro_crystal_result_release(&r);
    mro_device_close(d);
}

static void dislocations_are_counted(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_crystal_options o = usual();
    struct planted c = plain_crystal(7, 7, 9, 0.2027, 20);
    for (int k = 0; k < 3; k++) {
        c.charge = k - 1;
        c.vortex_x = 7.4;
        c.vortex_y = 6.5;
        struct mro_crystal_result r = measured(d, 448, 0.032, 70, &c, 1, &o);
        assert_int_equal(r.n_crystals, 1);
        assert_int_equal(r.crystals[0].vortices, k == 1 ? 0 : 1);
        assert_int_equal(r.crystals[0].n_dislocations, r.crystals[0].vortices);
        assert_true(r.crystals[0].vortices_null < 0.1);
        c.sets = k == 1 ? 2 : 1; /* for the last one */
        c.d_nm[1] = 0.2027;
        c.azimuth_deg[1] = 110;
        if (k == 2) {
            const struct mro_dislocation *at = r.crystals[0].dislocations;
            near(at->x_nm, 7.4, 0.3);
            near(at->y_nm, 6.5, 0.3);
            assert_true(at->turns[0] == 0 || at->turns[1] == 0); /* of the set along 110 degrees */
            near(fabs(at->turns[0] + at->turns[1]), 1, 1e-12);
            /* One fringe along 20 degrees: with a phase that grows, the displacement goes against it. */
            near(at->burgers_nm[0], -0.2027 * cos(20 * M_PI / 180), 0.01);
            near(at->burgers_nm[1], -0.2027 * sin(20 * M_PI / 180), 0.01);
        } else if (k == 0) {
            near(r.crystals[0].dislocations[0].turns[0], -1, 1e-12);
            assert_true(isnan(r.crystals[0].dislocations[0].turns[1]));
            assert_true(isnan(r.crystals[0].dislocations[0].burgers_nm[0]));
        }
        mro_crystal_result_release(&r);
    }
    mro_device_close(d);
}

/* Two sets that are given in place of being looked for; what is given wrongly. */
static void fringes_may_be_given(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    struct mro_crystal_options o = usual();
    struct planted c[2] = { plain_crystal(5, 5.4, 5, 0.2027, 20), plain_crystal(9.5, 9, 3.5, 0.25, 75) };
    struct mro_crystal_result r;
    double g[2];
    c[0].sets = 3;
    c[0].d_nm[1] = c[0].d_nm[2] = 0.2027;
    c[0].azimuth_deg[1] = 80;
    c[0].azimuth_deg[2] = 140;
    c[0].strain_deg = 20;
    c[0].minus = c[0].plus = 0.01;
    o.reference_d_nm = 0.2027;
    ok(mro_fringes_parse("0.2@22", o.g_inv_nm[0], &e), &e);
    ok(mro_fringes_parse("0.86,4.87", o.g_inv_nm[1], &e), &e);
    near(o.g_inv_nm[0][0], 5 * sin(22 * M_PI / 180), 1e-12);
    near(o.g_inv_nm[1][0], 4.87, 1e-12);
    o.n_g = 2;
    r = measured(d, 320, 0.04, 45, c, 2, &o);
    assert_int_equal(r.n_crystals, 1);
    assert_int_equal(r.crystals[0].n_fringes, 2);
    near(r.crystals[0].fringes[0].azimuth_deg, 20, 0.5);
    near(r.crystals[0].enn, 0.01, 0.001);
    near(r.crystals[0].exx, 0.01 * cos(20 * M_PI / 180) * cos(20 * M_PI / 180), 0.0015);
    mro_crystal_result_release(&r);
    o.n_g = 1;
    ok(mro_fringes_parse("0.17@120", o.g_inv_nm[0], &e), &e); /* that no crystal has */
    r = measured(d, 320, 0.04, 45, c, 2, &o);
    assert_int_equal(r.n_crystals, 0);
    assert_non_null(strstr(r.verdict, "given fringes do not stand out"));
    mro_crystal_result_release(&r);

    float px[64] = { 1, 2 };
    const struct mro_image im = counts_image(px, 8, 0.04);
    o.n_g = 2;
    ok(mro_fringes_parse("0.17@130", o.g_inv_nm[1], &e), &e);
    assert_int_equal(mro_crystal_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "collinear"));
    ok(mro_fringes_parse("0.5@130", o.g_inv_nm[1], &e), &e);
    assert_int_equal(mro_crystal_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "not among the spacings"));
    static const char *const wrong[] = { "",        "4",    "4,",  "4,x", "4,3,2",  "0@30",
                                         "-0.2@30", "0.2@", "0,0", "4;3", "1e999,0" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(mro_fringes_parse(wrong[i], g, &e), MRO_EARG);
    mro_device_close(d);
}

/* Three sets of one lattice, the third so weak that it shows in a part only; and a second crystal over the first. */
static void sets_are_put_together(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_crystal_options o = usual();
    struct planted c[2] = { plain_crystal(6, 6, 6, 0.2027, 20), plain_crystal(6, 6, 6, 0.2027, 50) };
    for (int k = 0; k < 2; k++) {
        c[k].sets = 2;
        c[k].d_nm[1] = 0.2027;
        c[k].azimuth_deg[1] = c[k].azimuth_deg[0] + 60;
    }
    struct mro_crystal_result r = measured(d, 320, 0.04, 47, c, 2, &o);
    assert_int_equal(r.n_crystals, 1);
    assert_int_equal(r.crystals[0].n_fringes, 4);
    assert_true(warned(&r, "two crystals may lie over each other"));
    mro_crystal_result_release(&r);
    c[0].amplitude = 0.035;
    r = measured(d, 320, 0.04, 48, c, 1, &o);
    assert_int_equal(r.n_crystals, 1);
    assert_true(warned(&r, "its size is of the part that stands out"));
    mro_crystal_result_release(&r);
    mro_device_close(d);
}

static void a_crystal_may_fill_the_field(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 2);
    const struct mro_crystal_options o = usual();
    struct planted c = plain_crystal(5, 5, 40, 0.2027, 20);
    c.sets = 2;
    c.d_nm[1] = 0.2027;
    c.azimuth_deg[1] = 110;
    struct mro_crystal_result r = measured(d, 320, 0.035, 80, &c, 1, &o);
    assert_int_equal(r.n_crystals, 1);
    assert_int_equal(r.crystals[0].n_fringes, 2);
    assert_true(r.crystals[0].at_border && r.crystals[0].area_nm2 > 0.8 * 11.2 * 11.2);
    near(r.crystals[0].fringes[0].d_nm, 0.2027, 1e-4);
    mro_crystal_result_release(&r);
    mro_device_close(d);
}

static bool same_image(const struct mro_image *a, const struct mro_image *b)
{
    return a->ny == b->ny && a->nx == b->nx && memcmp(a->px, b->px, a->ny * a->nx * sizeof(float)) == 0;
}

static void same_bytes_at_any_number_of_threads(void **state)
{
    (void)state;
    struct mro_device *one = device_of("cpu", 1), *three = device_of("cpu", 3), *strict = device_of("strict", 2);
    const struct mro_crystal_options o = usual();
    struct planted c = plain_crystal(4.2, 5, 5, 0.2027, 20);
    c.sets = 2;
    c.d_nm[1] = 0.2027;
    c.azimuth_deg[1] = 80;
    float *px = speckle_with(one, 200, 0.05, 90, &c, 1);
    const struct mro_image im = counts_image(px, 200, 0.05);
    struct mro_crystal_result a, b, s;
    ok(mro_crystal_measure(one, &im, "test", &o, &a, &e), &e);
    ok(mro_crystal_measure(three, &im, "test", &o, &b, &e), &e);
    ok(mro_crystal_measure(strict, &im, "test", &o, &s, &e), &e);
    assert_int_equal(a.n_crystals, 1);
    assert_int_equal(b.n_crystals, 1);
    assert_int_equal(s.n_crystals, 1);
    assert_memory_equal(&a.crystals[0].fringes[0], &b.crystals[0].fringes[0], sizeof a.crystals[0].fringes[0]);
    assert_true(same_image(&a.exx, &b.exx) && same_image(&a.rotation, &b.rotation) &&
                same_image(&a.filtered, &b.filtered));
    near(a.crystals[0].fringes[0].d_nm, s.crystals[0].fringes[0].d_nm, 1e-6);
    near(a.crystals[0].diameter_nm, s.crystals[0].diameter_nm, 0.01);
    near(a.crystals[0].exx, s.crystals[0].exx, 1e-4);
    mro_crystal_result_release(&a);
    mro_crystal_result_release(&b);
    mro_crystal_result_release(&s);
    free(px);
    mro_device_close(one);
    mro_device_close(three);
    mro_device_close(strict);
}

static void phases_and_their_planes(void **state)
{
    (void)state;
    struct mro_phase p;
    const int h110[3] = { 1, 1, 0 }, h011[3] = { 0, 1, 1 }, h200[3] = { 2, 0, 0 }, h002[3] = { 0, 0, 2 },
              h100[3] = { 1, 0, 0 };
    ok(mro_phase_parse("alpha-Fe:0.28665:bcc", &p, &e), &e);
    near(mro_phase_spacing(&p, h110), 0.202692, 1e-6);
    near(mro_phase_angle(&p, h110, h011), 60, 1e-9);
    near(mro_phase_angle(&p, h110, h200), 45, 1e-9);
    assert_int_equal(mro_phase_parse("gamma-Fe:3.591:fcc", &p, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "3.591 A are 0.3591 nm"));
    ok(mro_phase_parse("Co:0.2507:hcp:0.4069", &p, &e), &e);
    near(mro_phase_spacing(&p, h002), 0.20345, 1e-9);
    near(mro_phase_spacing(&p, h100), 0.2507 * sqrt(0.75), 1e-9);
    near(mro_phase_angle(&p, h002, h100), 90, 1e-9);
    ok(mro_phase_parse("Zr:0.3232:hcp", &p, &e), &e);
    near(p.c_nm / p.a_nm, 1.63299, 1e-5);
    static const char *const wrong[] = { "alpha-Fe",    ":0.28:bcc",  "Fe:x:bcc",        "Fe:0.28",
                                         "Fe:28:bcc",   "Fe:0.28:bc", "Fe:0.28:bccx",    "Fe:0.28:bcc:0.3",
                                         "Fe:-0.2:bcc", "Fe:0.28:",   "Co:0.25:hcp:zero" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(mro_phase_parse(wrong[i], &p, &e), MRO_EARG);
        assert_true(strlen(e.message) > 20);
    }
    /* An fcc crystal along [110] beside the table's own phase. */
    struct mro_crystal_options o = usual();
    ok(mro_phase_parse("gamma-Fe:0.3591:fcc", &o.phases[o.n_phases++], &e), &e);
    struct mro_crystal c = { .n_fringes = 3, .pair = { 0, 1 } };
    static const double d[3] = { 0.20733, 0.20733, 0.17955 }, azimuth[3] = { 10, 80.53, 135.26 };
    for (int i = 0; i < 3; i++) {
        c.fringes[i].d_nm = d[i] * 1.004; /* a camera length that is off */
        c.fringes[i].d_se_nm = 1e-4;
        c.fringes[i].g_inv_nm[0] = sin(azimuth[i] * M_PI / 180) / c.fringes[i].d_nm;
        c.fringes[i].g_inv_nm[1] = cos(azimuth[i] * M_PI / 180) / c.fringes[i].d_nm;
    }
    mro_crystal_index(&o, &c);
    assert_int_equal(c.phase, 1);
    for (int i = 0; i < 3; i++) {
        const int *h = c.fringes[i].hkl;
        assert_int_equal(h[0] * h[0] + h[1] * h[1] + h[2] * h[2], i < 2 ? 3 : 4);
        near(c.fringes[i].residual, 0.004, 1e-4);
    }
    assert_int_equal(abs(c.zone[0]) + abs(c.zone[1]) + abs(c.zone[2]), 2);
    near(c.angle_residual_deg, 0, 0.01);
    c.fringes[1].g_inv_nm[0] *= 1.4; /* an angle and a spacing of nothing */
    c.fringes[1].d_nm = 1 / hypot(c.fringes[1].g_inv_nm[0], c.fringes[1].g_inv_nm[1]);
    mro_crystal_index(&o, &c);
    assert_true(c.phase < 0 && isnan(c.phase_residual) && c.zone[0] == 0);
}

/* Crystals drawn with a density that falls with the distance from a line, and sizes and spacings that change with it.
 */
static void bands(void **state)
{
    (void)state;
    enum { N = 300 };
    struct mro_crystal_options o = usual();
    struct mro_crystal_result r = { 0 };
    const struct mro_grid map = { 200, 200, 100, 100 };
    const double pixel[2] = { 0.1, 0.1 };
    unsigned char *usable = malloc(200 * 200);
    assert_non_null(usable);
    memset(usable, 1, 200 * 200);
    r.crystals = calloc(N, sizeof *r.crystals);
    assert_non_null(r.crystals);
    for (uint64_t k = 0; r.n_crystals < N; k++) {
        const mro_philox_block b = mro_philox(3, 9, k);
        const double x = 100 * mro_uniform_open(b.v[0]), y = 100 * mro_uniform_open(b.v[1]), u = fabs(y - 40);
        if (mro_uniform_open(b.v[2]) > exp(-0.05 * u)) continue;
        struct mro_crystal *c = &r.crystals[r.n_crystals++];
        c->x_nm = x;
        c->y_nm = y;
        c->diameter_nm = 4 + 0.02 * u + 0.3 * normal_of(7, k);
        c->fringes[0].d_nm = 0.205 - 3e-5 * u + 3e-4 * normal_of(8, k);
        c->fringes[0].snr = 100;
        c->n_fringes = 1;
    }
    const double line[4] = { -10, 40, 110, 40 };
    memcpy(o.band_line_nm, line, sizeof line);
    o.band_width_nm = 20;
    mro_crystal_band_measure(&o, usable, &map, pixel, &r);
    const struct mro_crystal_band *b = &r.band;
    assert_true(b->measured);
    assert_int_equal(b->inside.count + b->outside.count, N);
    near(b->inside.area_nm2, 2000, 60);
    near(b->outside.area_nm2, 8000, 60);
    near(b->density_slope, -0.05, 3 * b->density_slope_se);
    near(b->density_slope_se, 0.0045, 0.0015);
    assert_true(b->density_slope_p < 1e-6 && b->rate_p < 1e-6);
    near(b->diameter_slope, 0.02, 3 * b->diameter_slope_se);
    near(b->d_slope, -3e-5, 3 * b->d_slope_se);
    near(b->rate_ratio, b->inside.density_per_nm2 / b->outside.density_per_nm2, 1e-12);
    assert_true(b->rate_ratio > 2 && b->rate_ratio_ci95[0] < b->rate_ratio && b->rate_ratio_ci95[1] > b->rate_ratio);
    assert_true(b->inside.density_ci95[0] < b->inside.density_per_nm2 &&
                b->inside.density_ci95[1] > b->inside.density_per_nm2);
    assert_true(b->inside.d_nm > b->outside.d_nm && b->inside.diameter_nm < b->outside.diameter_nm);
    near(r.crystals[0].band_distance_nm, fabs(r.crystals[0].y_nm - 40), 1e-9);

    r.n_crystals = 2; /* no trend from two */
    mro_crystal_band_measure(&o, usable, &map, pixel, &r);
    assert_true(isnan(r.band.density_slope) && isnan(r.band.d_slope) && warned(&r, "three are needed"));
    r.n_crystals = 0;
    o.band_width_nm = 400;
    mro_crystal_band_measure(&o, usable, &map, pixel, &r);
    assert_true(warned(&r, "covers the whole image") && isnan(r.band.rate_p));
    free(usable);
    mro_crystal_result_release(&r);
}

static void what_cannot_be_measured_says_so(void **state)
{
    (void)state;
    struct mro_device *d = device_of("cpu", 1);
    struct mro_crystal_options o = usual();
    struct mro_crystal_result r;
    float *px = speckle_with(d, 200, 0.05, 95, NULL, 0);
    struct mro_image im = counts_image(px, 200, 0.05);
    ok(mro_crystal_measure(d, &im, "test", &o, &r, &e), &e);
    assert_int_equal(r.n_crystals, 0);
    assert_non_null(strstr(r.verdict, "no crystal"));
    assert_true(isnan(r.size_limit_nm) && r.exx.px && isnan(r.exx.px[0]) && r.filtered.px == NULL);
    mro_crystal_result_release(&r);

    o.reference_nm[2] = 50; /* beyond the image */
    o.reference_nm[3] = 5;
    assert_int_equal(mro_crystal_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "no rectangle inside the field"));
    o = usual();
    o.band_inv_nm[0] = 9.3;
    o.band_inv_nm[1] = 12;
    assert_int_equal(mro_crystal_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    assert_non_null(strstr(e.message, "too coarse"));
    o = usual();
    o.mask_inv_nm = 3;
    assert_int_equal(mro_crystal_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    o = usual();
    o.band_width_nm = 5;
    assert_int_equal(mro_crystal_measure(d, &im, "test", &o, &r, &e), MRO_EARG);
    o = usual();
    for (size_t i = 0; i < 200 * 200; i++) px[i] = 7;
    ok(mro_crystal_measure(d, &im, "test", &o, &r, &e), &e);
    assert_true(warned(&r, "every pixel has the same value") && r.exx.px == NULL);
    mro_crystal_result_release(&r);
    for (size_t i = 0; i < 200 * 200; i++) px[i] = NAN;
    ok(mro_crystal_measure(d, &im, "test", &o, &r, &e), &e);
    assert_true(warned(&r, "no pixel holds a number"));
    mro_crystal_result_release(&r);
    px[0] = 1;
    px[1] = 2;
    im.ny = im.nx = 60;
    ok(mro_crystal_measure(d, &im, "test", &o, &r, &e), &e);
    assert_true(warned(&r, "too small"));
    mro_crystal_result_release(&r);
    memset(im.axis, 0, sizeof im.axis);
    assert_int_equal(mro_crystal_measure(d, &im, "test", &o, &r, &e), MRO_ECALIB);
    free(px);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_crystals_are_found),
        cmocka_unit_test(spots_on_the_halos_flanks),
        cmocka_unit_test(several_are_told_apart),
        cmocka_unit_test(a_step_of_strain),
        cmocka_unit_test(strain_has_its_signs),
        cmocka_unit_test(dislocations_are_counted),
        cmocka_unit_test(fringes_may_be_given),
        cmocka_unit_test(sets_are_put_together),
        cmocka_unit_test(a_crystal_may_fill_the_field),
        cmocka_unit_test(same_bytes_at_any_number_of_threads),
        cmocka_unit_test(phases_and_their_planes),
        cmocka_unit_test(bands),
        cmocka_unit_test(what_cannot_be_measured_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

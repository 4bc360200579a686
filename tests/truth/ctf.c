/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fit of the lens: rings made with a known defocus are found, and no rings are found where there are none. */
#include "on_cpu.h"

#include "mroscope/math/ctf.h"
#include "ops/mro/ctf.h"

struct lens {
    double kv, cs_mm, defocus, astigmatism, azimuth, floor;
};

/* The spectrum of a glass (a halo over a sloping background, noise of white pixels) seen through a lens. */
static mro_c32 *spectrum_of(const struct mro_grid *g, const struct lens *l, uint64_t stream)
{
    const size_t n = g->ny * g->nx;
    const double wide[2] = { -1, 1e3 }, lambda = mro_wavelength_nm(l->kv);
    struct mro_buffer b = buffer_of(d, n * sizeof(mro_c32));
    ok(d->ops->noise_spectrum(d, g, 21, stream, wide, 0.15, &b, &e), &e);
    mro_c32 *s = get(d, &b, n * sizeof *s);
    d->ops->release(d, &b);
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            const double qy = frequency_of(y, g->ny, g->ly), qx = frequency_of(x, g->nx, g->lx), q = hypot(qy, qx);
            const double chi =
                mro_ctf_chi(q, atan2(qy, qx), lambda, l->defocus, l->cs_mm * 1e6, l->astigmatism, l->azimuth);
            const double halo = exp(-0.5 * pow((q - 4.75) / 0.35, 2)) + 0.3 * exp(-q / 6);
            const float a = (float)sqrt(halo * pow(sin(chi), 2) + l->floor);
            s[y * g->nx + x].re *= a;
            s[y * g->nx + x].im *= a;
        }
    return s;
}

static void known_lenses_are_found(void **state)
{
    static const struct lens lenses[] = {
        { 200, 1.2, 95, 0, 0, 0.005 },   { 200, 1.2, 184, 0, 0, 0.005 },   { 200, 1.2, 66, 3, 0.4, 0.005 },
        { 200, 1.0, 60, 0, 0, 0.005 },   { 300, 1.0, 60, 3, 2.0, 0.005 },  { 200, 0.5, 55, 0, 0, 0.005 },
        { 200, 0.0, 60, 0, 0, 0.005 },   { 300, 0.0, -75, 3, 1.2, 0.005 }, { 200, 1.2, 120, 0, 0, 0.02 },
        { 200, -0.01, 70, 0, 0, 0.005 },
    };
    /* A square field and an oblong one. */
    static const struct mro_grid grids[] = { { 216, 216, 16, 16 }, { 243, 324, 18, 24 } };
    (void)state;
    for (size_t i = 0; i < sizeof lenses / sizeof *lenses; i++) {
        const struct lens *l = lenses + i;
        const struct mro_grid *g = grids + i % 2;
        mro_c32 *s = spectrum_of(g, l, i);
        struct mro_ctf_fit fit;
        ok(mro_ctf_fit_rings(g, s, l->kv, l->cs_mm, NULL, 1, &fit, &e), &e);
        if (i < 2) { /* rings made before, of this lens and of another one, change nothing */
            struct mro_ctf_rings *rings;
            struct mro_ctf_fit again;
            ok(mro_ctf_rings_new(&rings, l->kv, i ? 1.1 : l->cs_mm, 2, &e), &e);
            ok(mro_ctf_fit_rings(g, s, l->kv, l->cs_mm, rings, 2, &again, &e), &e);
            mro_ctf_rings_free(rings);
            assert_memory_equal(&again, &fit, sizeof fit);
        }
        free(s);
        if (!fit.rings) fail_msg("no rings for lens %zu: %g over %g", i, fit.correlation, fit.runner_up);
        /* Without Cs the sign of the defocus cannot be seen; it is called underfocus. */
        const double defocus = l->cs_mm == 0 ? fabs(l->defocus) : l->defocus;
        const double azimuth = defocus == l->defocus ? l->azimuth : l->azimuth + MRO_PI / 2;
        near(fit.defocus_nm, defocus, 1.5); /* a tenth of the defocus that turns contrast over at (110) */
        near(fit.astigmatism_nm * cos(2 * fit.azimuth), l->astigmatism * cos(2 * azimuth), 2);
        near(fit.astigmatism_nm * sin(2 * fit.azimuth), l->astigmatism * sin(2 * azimuth), 2);
        near(
            mro_ctf_fit_chi(&fit, 3, 4),
            mro_ctf_chi(5, atan2(3, 4), fit.lambda_nm, fit.defocus_nm, l->cs_mm * 1e6, fit.astigmatism_nm, fit.azimuth),
            1e-9);
    }
}

static void no_rings_without_a_lens(void **state)
{
    const struct mro_grid g = { 216, 216, 16, 16 }, small = { 108, 108, 8, 8 };
    const struct lens white = { 200, 0, 0, 0, 0, 1 };        /* sin chi = 0: only the floor */
    const struct lens focused = { 200, 0, -6, 0, 0, 0.005 }; /* corrected, no zero below 8 nm^-1 */
    struct mro_ctf_fit fit;
    (void)state;
    for (uint64_t i = 0; i < 6; i++) {
        mro_c32 *s = spectrum_of(i % 2 ? &small : &g, &white, 40 + i);
        ok(mro_ctf_fit_rings(i % 2 ? &small : &g, s, 200, i < 3 ? 1.2 : -0.01, NULL, 1, &fit, &e), &e);
        free(s);
        assert_false(fit.rings);
        s = spectrum_of(&g, &focused, 50 + i);
        ok(mro_ctf_fit_rings(&g, s, 200, 0, NULL, 1, &fit, &e), &e);
        free(s);
        assert_false(fit.rings);
    }
}

/* A grid that ends below the rings, and one with a single dominating crystal. */
static void hard_spectra(void **state)
{
    const struct mro_grid coarse = { 40, 40, 8, 8 }, g = { 216, 216, 16, 16 };
    const struct lens l = { 200, 1.2, 95, 0, 0, 0.005 };
    struct mro_ctf_fit fit;
    (void)state;
    mro_c32 *s = spectrum_of(&coarse, &l, 60);
    ok(mro_ctf_fit_rings(&coarse, s, 200, 1.2, NULL, 1, &fit, &e), &e);
    free(s);
    assert_false(fit.rings);
    s = spectrum_of(&g, &l, 61);
    s[0 * 216 + 79].re = 300; /* 4.94 nm^-1, sixty times its speckle */
    s[0 * 216 + 216 - 79].re = 300;
    ok(mro_ctf_fit_rings(&g, s, 200, 1.2, NULL, 1, &fit, &e), &e);
    free(s);
    assert_true(fit.rings);
    near(fit.defocus_nm, 95, 1.5);
    s = calloc(216 * 216, sizeof *s); /* nothing at all */
    ok(mro_ctf_fit_rings(&g, s, 200, 1.2, NULL, 1, &fit, &e), &e);
    free(s);
    assert_false(fit.rings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_lenses_are_found),
        cmocka_unit_test(no_rings_without_a_lens),
        cmocka_unit_test(hard_spectra),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}

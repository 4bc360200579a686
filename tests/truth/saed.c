/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Diffraction patterns whose centre, ellipse and profile are known: halos on a background, drawn with counting noise.
 */
#include "fields.h"

#include <stdio.h>

#include "mroscope/saed.h"

static struct mro_error e;

struct scene {
    size_t ny, nx;
    double cx, cy, ratio, azimuth_deg, step; /* nm^-1 a pixel */
    double counts;                           /* at the first halo */
    double black;
    double weak;               /* height of the halos, 1 = as in a glass */
    double stop;               /* radius of a beam stop, px; 0 none */
    double arm_deg;            /* direction of its arm */
    double strain, strain_deg; /* of every ring, positive = smaller radius there */
    double first_only;         /* the same, of the first halo alone */
    bool saturate;
    size_t dead_column, spots;
    uint64_t stream;
    double beam; /* of the beam behind the stop, in the middle of it, over the counts at the first halo */
};

static double halos(double s, double first, double weak)
{
    const double a = (s - first) / 0.33, b = (s - 8.2) / 0.8, c = (s - 12.5) / 1.0;
    return 6 * exp(-s / 1.2) + 1.2 * exp(-s / 6) + 0.25 +
           weak * (4 * exp(-0.5 * a * a) + 0.9 * exp(-0.5 * b * b) + 0.25 * exp(-0.5 * c * c));
}

static double truth_at(const struct scene *t, double s)
{
    return t->black + t->counts / halos(4.85, 4.85, 1) * halos(s, 4.85, t->weak);
}

static void draw(const struct scene *t, struct mro_image *im)
{
    const struct mro_round round =
        mro_round_of(t->cx, t->cy, 1, 0.5 * log(t->ratio) * cos(2 * t->azimuth_deg * MRO_PI / 180),
                     0.5 * log(t->ratio) * sin(2 * t->azimuth_deg * MRO_PI / 180));
    ok(mro_image_alloc(im, t->ny, t->nx, &e), &e);
    const double arm = t->arm_deg * MRO_PI / 180;
    for (size_t y = 0; y < t->ny; y++)
        for (size_t x = 0; x < t->nx; x++) {
            const size_t i = y * t->nx + x;
            const double dx = (double)x - t->cx, dy = (double)y - t->cy;
            double u, v;
            mro_round_at(&round, (double)x, (double)y, &u, &v);
            const double wave = cos(2 * (atan2(dy, dx) - t->strain_deg * MRO_PI / 180));
            const double s = hypot(u, v) * t->step * (1 + t->strain * wave);
            double mean = t->counts / halos(4.85, 4.85, 1) * halos(s, 4.85 * (1 - t->first_only * wave), t->weak);
            for (size_t k = 0; k < t->spots; k++) { /* on the first ring, with their Friedel mates */
                const double at = 2.399963 * (double)k, r = 4.85 / t->step;
                const double ax = dx - r * cos(at), ay = dy - r * sin(at), bx = dx + r * cos(at), by = dy + r * sin(at);
                if (fmin(ax * ax + ay * ay, bx * bx + by * by) < 100)
                    mean += 20 * t->counts * (exp(-(ax * ax + ay * ay) / 4.5) + exp(-(bx * bx + by * by) / 4.5));
            }
            const double along = dx * cos(arm) + dy * sin(arm), across = dy * cos(arm) - dx * sin(arm);
            if (t->stop > 0 && (hypot(dx - 2, dy + 3) < t->stop || (along > 0 && fabs(across) < 0.3 * t->stop)))
                mean = 0.02 * mean + t->beam * t->counts * exp(-0.5 * (dx * dx + dy * dy) / 4);
            im->px[i] = rintf((float)(mean + t->black + sqrt(mean) * normal_of(t->stream, i)));
            if (im->px[i] < (float)t->black && t->black == 0) im->px[i] = 0;
            if (t->saturate && im->px[i] > 1.3f * (float)t->counts) im->px[i] = floorf(1.3f * (float)t->counts);
            if (t->dead_column && x == t->dead_column) im->px[i] = (float)t->black;
        }
    for (int k = 0; k < 2; k++)
        im->axis[k] = (struct mro_axis){ .step = t->step, .unit = MRO_UNIT_INV_NM, .source = MRO_SOURCE_VENDOR };
    im->kind = MRO_KIND_DIFFRACTION;
}

static bool warned(const struct mro_saed_result *r, const char *words)
{
    for (size_t i = 0; i < r->n_warnings; i++)
        if (strstr(r->warnings[i], words)) return true;
    return false;
}

static const struct scene plain = {
    .ny = 320, .nx = 320, .cx = 163.7, .cy = 155.4, .ratio = 1, .step = 0.1, .counts = 150, .weak = 1, .stream = 60
};

/* Centre within 0.5 px and ratio within 0.002, whatever is in the way. */
static void centre_and_ellipse(void **state)
{
    static const struct {
        const char *name;
        struct scene s;
    } cases[] = {
        { "round", { 320, 320, 163.7, 155.4, 1, 0, 0.1, 150, 0, 1, 0, 0, 0, 0, 0, false, 0, 0, 60, 0 } },
        { "1 %", { 320, 320, 157.2, 161.9, 1.01, 134, 0.1, 150, 50, 1, 8, 180, 0, 0, 0, false, 0, 0, 61, 0 } },
        { "5 %", { 320, 320, 157.2, 161.9, 1.05, 20, 0.1, 150, 0, 1, 8, -90, 0, 0, 0, false, 0, 0, 62, 0 } },
        { "off by 30 %", { 400, 400, 80, 290, 1.02, 75, 0.1, 100, 0, 1, 6, 0, 0, 0, 0, false, 0, 0, 63, 0 } },
        { "few counts", { 512, 512, 250.3, 260.1, 1.02, 45, 0.06, 20, 0, 1, 0, 0, 0, 0, 0, false, 0, 0, 64, 0 } },
        { "saturated", { 320, 320, 163.7, 155.4, 1.03, 100, 0.1, 200, 0, 1, 0, 0, 0, 0, 0, true, 0, 0, 65, 0 } },
        { "dead column", { 320, 320, 163.7, 155.4, 1.02, 60, 0.1, 150, 10, 1, 6, 37, 0, 0, 0, false, 131, 0, 66, 0 } },
        { "not square", { 260, 420, 200.3, 131.2, 1.02, 60, 0.1, 150, 0, 1, 6, 180, 0, 0, 0, false, 0, 0, 67, 0 } },
        /* A halo as narrow as the edge of a stop. */
        { "small camera length",
          { 320, 320, 163.7, 155.4, 1, 0, 0.14, 400, 5, 1, 6, 180, 0, 0, 0, false, 0, 0, 69, 0 } },
        { "beam shows", { 320, 320, 163.7, 155.4, 1.01, 30, 0.06, 400, 5, 1, 16, 200, 0, 0, 0, false, 0, 0, 70, 2 } },
        { "wide arm", { 320, 320, 163.7, 155.4, 1.01, 30, 0.1, 100, 20, 1, 30, 285, 0, 0, 0, false, 0, 0, 71, 0 } },
        { "arm of few counts", { 320, 320, 150.2, 170.4, 1, 0, 0.1, 25, 4, 1, 10, 133, 0, 0, 0, false, 0, 0, 72, 0 } },
        { "as small as can be", { 64, 64, 31.2, 32.9, 1, 0, 0.4, 20000, 0, 1, 0, 0, 0, 0, 0, false, 0, 0, 73, 0 } },
        { "weak halos", { 512, 512, 250.3, 260.1, 1.01, 45, 0.06, 400, 0, 0.15, 0, 0, 0, 0, 0, false, 0, 0, 68, 0 } },
    };
    struct mro_device *d = device_of("cpu", 2);
    struct mro_saed_options o;
    (void)state;
    mro_saed_options_default(&o);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct mro_image im;
        struct mro_saed_result r;
        const struct scene *t = &cases[c].s;
        draw(t, &im);
        if (mro_saed_measure(d, &im, "p", &o, &r, &e)) fail_msg("%s: %s", cases[c].name, e.message);
        const struct mro_saed_geometry *g = &r.geometry;
        const double off = hypot(g->centre_px[0] - t->cx, g->centre_px[1] - t->cy);
        if (!(off < 0.25 && fabs(g->ellipse_ratio - t->ratio) < 0.002))
            fail_msg("%s: the centre is %.3f px off, the ratio %.4f for %.4f", cases[c].name, off, g->ellipse_ratio,
                     t->ratio);
        assert_true(off < 5 * hypot(g->centre_se_px[0], g->centre_se_px[1]));
        assert_true(fabs(g->ellipse_ratio - t->ratio) < 5 * g->ellipse_ratio_se + 1e-4);
        if (t->ratio > 1.015) {
            const double turn = fmod(g->ellipse_azimuth_deg - t->azimuth_deg + 270, 180) - 90;
            if (!(fabs(turn) < 4)) fail_msg("%s: the long axis is off by %.1f degrees", cases[c].name, turn);
        }
        if (t->stop > 0) { /* all of it, and not much more */
            const double share = MRO_PI * t->stop * t->stop / (double)(t->ny * t->nx);
            if (!(r.masked[4] > share && r.masked[4] < 40 * share))
                fail_msg("%s: %.4f of the pattern is masked for a beam stop of %.4f", cases[c].name, r.masked[4],
                         share);
            for (int k = 0; k < 8; k++) {
                const double x = t->cx + 2 + 0.9 * t->stop * cos(k), y = t->cy - 3 + 0.9 * t->stop * sin(k);
                assert_true(r.mask[(size_t)lround(y) * t->nx + (size_t)lround(x)]);
            }
            const double a = t->arm_deg * MRO_PI / 180, at = 5 * t->stop;
            assert_true(r.mask[(size_t)lround(t->cy + at * sin(a)) * t->nx + (size_t)lround(t->cx + at * cos(a))]);
            size_t arm = 0, seen = 0; /* of the arm to the border */
            for (size_t i = 0; i < t->ny * t->nx; i++) {
                const double dx = (double)(i % t->nx) - t->cx, dy = (double)(i / t->nx) - t->cy;
                if (!(dx * cos(a) + dy * sin(a) > 3 * t->stop && fabs(dy * cos(a) - dx * sin(a)) < 0.3 * t->stop))
                    continue;
                arm++;
                seen += r.mask[i] != 0;
            }
            if (!((double)seen > 0.97 * (double)arm))
                fail_msg("%s: %zu of %zu pixels of the arm are masked", cases[c].name, seen, arm);
            assert_true(r.s_min_inv_nm > (t->stop - 4) * t->step);
            assert_true(r.s_min_inv_nm < 4);
            assert_true(!r.crystalline);
        } else {
            if (r.masked[4] > 0)
                fail_msg("%s: %.4f of the pattern is masked for no beam stop", cases[c].name, r.masked[4]);
        }
        if (t->saturate) assert_true(r.masked[2] > 0);
        if (t->dead_column) assert_true(r.mask[5 * t->nx + t->dead_column] & MRO_SAED_DEAD);
        assert_false(r.crystalline);
        mro_saed_result_release(&r);
        mro_image_release(&im);
    }
    mro_device_close(d);
}

/* The profile is that of the truth within its errors: neither a bias from where pixels fall between rings nor errors
 * that say too much. */
static void profile_and_its_errors(void **state)
{
    enum { DRAWS = 5 };
    struct mro_device *d = device_of("cpu", 2);
    struct mro_saed_options o;
    double inside = 0, all = 0, sum = 0;
    (void)state;
    mro_saed_options_default(&o);
    for (int k = 0; k < DRAWS; k++) {
        struct scene t = plain;
        struct mro_image im;
        struct mro_saed_result r;
        t.stream = 70 + (uint64_t)k;
        t.cx += 0.17 * k;
        t.stop = 7;
        t.arm_deg = 60 * k;
        draw(&t, &im);
        for (size_t i = 0; i < 40; i++) im.px[i * 2311 + 501] = 30000; /* cosmic rays */
        ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
        const struct mro_profile *p = &r.profile;
        assert_int_equal(p->n_sectors, 36);
        for (size_t i = 14; i < p->n && p->s_inv_nm[i] < r.s_max_inv_nm; i++) {
            const double z = (p->intensity[i] - truth_at(&t, p->s_inv_nm[i])) / p->se[i];
            inside += fabs(z) < 1.96;
            sum += z;
            all += 1;
            double mean = 0, weight = 0; /* the sectors make up the ring */
            for (size_t s = 0; s < p->n_sectors; s++) {
                const double w = p->sector_weight[s * p->n + i];
                if (w > 0) mean += w * p->sector_mean[s * p->n + i];
                weight += w;
            }
            near(mean / weight, p->intensity[i], 1e-9 * p->intensity[i]);
            near(weight, p->pixels[i], 1e-9 * weight);
        }
        mro_saed_result_release(&r);
        mro_image_release(&im);
    }
    print_message("%.3f of the points are within 1.96 standard errors, mean %.3f of one\n", inside / all, sum / all);
    assert_true(inside / all > 0.9 && inside / all < 0.985);
    assert_true(fabs(sum / all) < 0.15);
    mro_device_close(d);
}

/* A strain is found with its direction when the ellipse is known; in one pattern it goes into the ellipse. */
static void anisotropy(void **state)
{
    struct mro_device *d = device_of("cpu", 2);
    struct mro_saed_options o;
    struct scene t = plain;
    struct mro_image im;
    struct mro_saed_result r;
    (void)state;
    mro_saed_options_default(&o);
    t.strain = 0.004;
    t.strain_deg = 30;
    t.ratio = 1.02;
    t.azimuth_deg = 110;
    draw(&t, &im);
    o.ellipse_how = MRO_SAED_REFERENCE;
    o.ellipse_ratio = 1.02;
    o.ellipse_azimuth_deg = 110;
    o.ellipse_ratio_se = 0.0004;
    ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
    near(r.anisotropy.s_inv_nm, 4.85, 0.15);
    near(r.anisotropy.e2, 0.004, 4 * r.anisotropy.e2_se);
    near(r.anisotropy.azimuth_deg, 30, 8);
    assert_true(r.anisotropy.e2_se < 0.001 && r.anisotropy.p < 1e-3 && !r.anisotropy.confounded);
    assert_int_equal(r.anisotropy.n_sectors, 18);
    mro_saed_result_release(&r);
    o.ellipse_how = MRO_SAED_FIT;
    ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
    assert_true(r.anisotropy.confounded && warned(&r, "`ellipse_from`"));
    assert_true(!(r.anisotropy.p < 1e-3)); /* all rings share it */
    mro_saed_result_release(&r);
    mro_image_release(&im);
    /* The first halo alone: not the ellipse of the others. */
    t.strain = 0;
    t.first_only = 0.012;
    draw(&t, &im);
    ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
    near(r.anisotropy.e2, 0.012, fmax(4 * r.anisotropy.e2_se, 0.001));
    assert_true(r.anisotropy.p < 0.01);
    mro_saed_result_release(&r);
    mro_image_release(&im);
    /* Nothing there: p is spread evenly. */
    int low = 0;
    for (int k = 0; k < 20; k++) {
        struct scene null = plain;
        null.ny = null.nx = 192;
        null.cx = 95.3;
        null.cy = 97.1;
        null.step = 0.15;
        null.stream = 80 + (uint64_t)k;
        draw(&null, &im);
        o.ellipse_how = MRO_SAED_GIVEN;
        o.ellipse_ratio = 1;
        ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
        low += r.anisotropy.p < 0.05;
        mro_saed_result_release(&r);
        mro_image_release(&im);
    }
    assert_true(low <= 4);
    mro_device_close(d);
}

/* A stack gives what each pattern gives by itself, on any backend and number of threads. */
static void stacks(void **state)
{
    enum { FRAMES = 5 };
    static const char *const names[] = { "cpu", "cpu", "strict" };
    const size_t n = 128 * 128;
    float *frames = malloc(FRAMES * n * sizeof *frames);
    struct mro_profile first[FRAMES], p[FRAMES];
    struct mro_saed_options o;
    (void)state;
    mro_saed_options_default(&o);
    struct scene t = plain;
    struct mro_image im;
    t.ny = t.nx = 128;
    t.cx = 63.2;
    t.cy = 65.1;
    t.step = 0.25;
    for (size_t k = 0; k < FRAMES; k++) {
        t.stream = 110 + k;
        draw(&t, &im);
        if (k == 2) im.px[4000] = 60000;
        memcpy(frames + k * n, im.px, n * sizeof *frames);
        if (k + 1 < FRAMES) mro_image_release(&im);
    }
    for (size_t b = 0; b < 3; b++) {
        struct mro_device *d = device_of(names[b], b == 1 ? 3 : 1);
        struct mro_saed_result r;
        struct mro_saed_plan *plan;
        ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
        assert_int_equal(mro_saed_plan_new(&plan, d, &(struct mro_saed_result){ 0 }, &o, 0, &e), MRO_EARG);
        ok(mro_saed_plan_new(&plan, d, &r, &o, 0, &e), &e);
        ok(mro_saed_plan_run(plan, frames, FRAMES, b ? p : first, &e), &e);
        struct mro_profile *got = b ? p : first;
        for (size_t i = 4; i < r.profile.n && r.profile.s_inv_nm[i] < r.s_max_inv_nm; i++) {
            near(got[FRAMES - 1].intensity[i], r.profile.intensity[i], 1e-9 * r.profile.intensity[i]);
            near(got[2].intensity[i], got[1].intensity[i], 8 * got[1].se[i]); /* the cosmic ray is out */
        }
        for (size_t k = 0; b && k < FRAMES; k++) {
            for (size_t i = 0; i < first[k].n; i++) {
                if (!(first[k].intensity[i] == first[k].intensity[i])) continue;
                near(p[k].intensity[i], first[k].intensity[i], b == 1 ? 0 : 1e-9 * first[k].intensity[i]);
            }
            mro_profile_release(&p[k]);
        }
        mro_saed_plan_free(plan);
        mro_saed_result_release(&r);
        mro_device_close(d);
    }
    for (size_t k = 0; k < FRAMES; k++) mro_profile_release(&first[k]);
    mro_image_release(&im);
    free(frames);
}

static void refused(struct mro_device *d, const struct mro_image *im, const struct mro_saed_options *o,
                    enum mro_code code, const char *says)
{
    struct mro_saed_result r;
    const enum mro_code rc = mro_saed_measure(d, im, "p.tif", o, &r, &e);
    if (rc != code || strstr(e.message, says) == NULL)
        fail_msg("wanted %d '%s', got %d '%s'", code, says, rc, rc ? e.message : "");
    assert_null(r.mask);
}

static void lacks(struct mro_device *d, const struct mro_image *im, const struct mro_saed_options *o,
                  enum mro_lack lack)
{
    refused(d, im, o, MRO_ECALIB, "'p.tif'");
    assert_int_equal(e.lack, lack);
}

/* Rings of gold, and what is not gold. */
static void standards(void **state)
{
    static const int sums[] = { 3, 4, 8, 11, 12, 16, 19, 20, 24 };
    static const double strength[] = { 10, 5, 3.5, 4, 1, 0.6, 1.5, 1.4, 1 };
    struct mro_device *d = device_of("cpu", 2);
    struct mro_saed_options o;
    struct mro_saed_standard c;
    struct mro_image im;
    const double step = 0.0513;
    (void)state;
    mro_saed_options_default(&o);
    ok(mro_image_alloc(&im, 400, 400, &e), &e);
    const struct mro_round round = mro_round_of(203.3, 196.1, 1, 0.005, 0.002);
    for (size_t i = 0; i < 400 * 400; i++) {
        double u, v, f = 10;
        mro_round_at(&round, (double)(i % 400), (double)(i / 400), &u, &v);
        const double s = hypot(u, v) * step;
        f += 60 * exp(-s / 1.5);
        for (int k = 0; k < 9; k++) {
            const double t = (s - sqrt(sums[k]) / 0.40782) / 0.09;
            f += 20 * strength[k] * exp(-0.5 * t * t);
        }
        im.px[i] = rintf((float)(f + sqrt(f) * normal_of(120, i)));
    }
    assert_int_equal(mro_standard_by_name("au"), MRO_STANDARD_AU);
    assert_int_equal(mro_standard_by_name("iron"), MRO_STANDARD_NONE);
    ok(mro_saed_calibrate(d, &im, "au.tif", MRO_STANDARD_AU, &o, &c, &e), &e);
    near(c.step_inv_nm, step, 0.001 * step);
    near(c.step_inv_nm, step, 6 * c.step_se_inv_nm);
    assert_true(c.rings >= 6 && c.worst < 0.004);
    near(c.geometry.ellipse_ratio, exp(2 * hypot(0.005, 0.002)), 0.001);
    o.step_inv_nm = 0.05; /* near enough to tell */
    assert_int_equal(mro_saed_calibrate(d, &im, "au.tif", MRO_STANDARD_SI, &o, &c, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "do not fit Si"));
    mro_image_release(&im);
    mro_device_close(d);
}

static void bad_patterns_have_a_sentence(void **state)
{
    struct mro_device *d = device_of("cpu", 2);
    struct mro_saed_options o;
    struct mro_image im;
    struct mro_saed_result r;
    struct scene t = plain;
    (void)state;
    mro_saed_options_default(&o);
    t.ny = t.nx = 160;
    t.cx = -22;
    t.cy = 75;
    draw(&t, &im);
    refused(d, &im, &o, MRO_EDATA, "the beam lies off the detector");
    mro_image_release(&im);
    t.cx = 81;
    draw(&t, &im);
    for (int k = 0; k < 2; k++) im.axis[k].unit = MRO_UNIT_NONE;
    lacks(d, &im, &o, MRO_LACKS_PATTERN_SCALE);
    o.camera_length_mm = 300;
    lacks(d, &im, &o, MRO_LACKS_VOLTAGE);
    o.beam_kv = 200;
    lacks(d, &im, &o, MRO_LACKS_DETECTOR_PIXEL);
    o.detector_pixel_um = 300 * 1e3 * 0.1 * 2.5079e-3; /* 0.1 nm^-1 */
    ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
    near(r.step_inv_nm, 0.1, 1e-5);
    /* A flat detector: 2 sin theta / lambda of a radius of 10 nm^-1, and the halo where it was drawn but for that. */
    near(r.profile.s_inv_nm[100], 10 * (1 - 0.375 * pow(10 * 2.5079e-3, 2)), 2e-4);
    mro_saed_result_release(&r);
    mro_saed_options_default(&o);
    for (int k = 0; k < 2; k++) im.axis[k].unit = MRO_UNIT_NM;
    refused(d, &im, &o, MRO_ECALIB, "no diffraction pattern");
    for (int k = 0; k < 2; k++) im.axis[k].unit = MRO_UNIT_INV_NM;
    o.sectors = 9;
    refused(d, &im, &o, MRO_EARG, "9 sectors");
    o.sectors = 36;
    o.ellipse_how = MRO_SAED_GIVEN;
    o.ellipse_ratio = 0.9;
    refused(d, &im, &o, MRO_EARG, "ratio 0.9");
    o.ellipse_how = MRO_SAED_FIT;
    o.centre_how = MRO_SAED_GIVEN;
    o.centre_px[0] = 900;
    refused(d, &im, &o, MRO_EARG, "outside the pattern");
    o.centre_how = MRO_SAED_FIT;
    unsigned char *all = malloc(160 * 160);
    memset(all, 1, 160 * 160);
    o.mask = all;
    refused(d, &im, &o, MRO_EDATA, "masked");
    o.mask = NULL;
    free(all);
    for (size_t i = 0; i < 160 * 160; i++) im.px[i] = 7;
    refused(d, &im, &o, MRO_EDATA, "constant");
    for (size_t i = 0; i < 160 * 160; i++) im.px[i] = 100 + 10 * normal_of(91, i);
    refused(d, &im, &o, MRO_EDATA, "no rings");
    for (size_t i = 0; i < 160 * 160; i++) im.px[i] = NAN;
    refused(d, &im, &o, MRO_EDATA, "no data");
    mro_image_release(&im);
    t.ny = 40;
    draw(&t, &im);
    refused(d, &im, &o, MRO_EDATA, "needs 64");
    mro_image_release(&im);
    /* Spots instead of a halo: said, and the profile is given. */
    t = plain;
    t.ny = t.nx = 200;
    t.cx = 103.7;
    t.cy = 95.4;
    for (t.spots = 5; t.spots < 40; t.spots += 20) { /* few of them, and so many that they cover the ring */
        draw(&t, &im);
        ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
        if (!r.crystalline)
            fail_msg("%zu spots: share %.3f, p %.2g, variance %.3g", t.spots, r.spottiness, r.spottiness_p,
                     r.ring_variance);
        assert_true(warned(&r, "crystalline") && r.profile.n > 100);
        mro_saed_result_release(&r);
        mro_image_release(&im);
    }
    /* Spots of one crystal behind a beam stop, and no halo at all: the centre is that of their symmetry. Spots at
     * random have none. */
    draw(&plain, &im);
    for (int lattice = 1; lattice >= 0; lattice--) {
        const double cx = 0.52 * (double)im.nx, cy = 0.47 * (double)im.ny;
        for (size_t i = 0; i < im.ny * im.nx; i++) {
            const double dx = (double)(i % im.nx) - cx, dy = (double)(i / im.nx) - cy;
            im.px[i] = 100 + 10 * normal_of(92, i);
            if (lattice && hypot(dx, dy) < 8) im.px[i] = 5;
        }
        for (int k = 0; k < 80; k++) {
            const int a = k % 9 - 4, b = k / 9 - 4;
            const double far = hypot(a, b);
            const double px =
                             lattice ? cx + 24 * a - 3 * b : (0.5 + 0.2 * normal_of(93, 2 * (size_t)k)) * (double)im.nx,
                         py = lattice ? cy + 3 * a + 24 * b
                                      : (0.5 + 0.2 * normal_of(93, 2 * (size_t)k + 1)) * (double)im.ny;
            if (lattice && (far == 0 || far > 4)) continue;
            for (size_t i = 0; i < im.ny * im.nx; i++) {
                const double dx = (double)(i % im.nx) - px, dy = (double)(i / im.nx) - py;
                if (hypot(dx, dy) < 9) im.px[i] += (float)(2000 * exp(-0.5 * (dx * dx + dy * dy) / 4));
            }
        }
        if (!lattice) {
            refused(d, &im, &o, MRO_EDATA, "no spots about a centre");
            continue;
        }
        ok(mro_saed_measure(d, &im, "p", &o, &r, &e), &e);
        assert_true(r.crystalline && warned(&r, "symmetry of the spots") && r.profile.n > 100);
        assert_float_equal(r.geometry.centre_px[0], cx, 1.5);
        assert_float_equal(r.geometry.centre_px[1], cy, 1.5);
        mro_saed_result_release(&r);
    }
    mro_image_release(&im);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(centre_and_ellipse), cmocka_unit_test(profile_and_its_errors),
        cmocka_unit_test(anisotropy),         cmocka_unit_test(stacks),
        cmocka_unit_test(standards),          cmocka_unit_test(bad_patterns_have_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames shifted by known amounts, as a drifting specimen under a camera: found to a few hundredths of a pixel, summed
 * without loss, and what cannot be aligned is left out and said so. */
#include "fields.h"

#include "mroscope/align.h"

enum { FIELD = 512, NY = 360, NX = 400, MOST = 24 };

/* A stack in memory, handed out frame by frame. */
struct stack {
    struct mro_image im[MOST];
    size_t n, at, rounds;
};

static enum mro_code stack_rewind(void *context, struct mro_error *e)
{
    struct stack *s = context;
    (void)e;
    s->at = 0;
    s->rounds++;
    return MRO_OK;
}

static enum mro_code stack_next(void *context, const struct mro_image **im, size_t *frame, struct mro_error *e)
{
    struct stack *s = context;
    (void)e;
    *im = s->at < s->n ? &s->im[s->at] : NULL;
    *frame = 10 + s->at++; /* as the file counts */
    return MRO_OK;
}

static void stack_free(struct stack *s)
{
    for (size_t i = 0; i < s->n; i++) mro_image_release(&s->im[i]);
}

/* A window on a random field of band [lo, hi] cycles per pixel, moved by (y, x), of unit variance, as counts of mean
 * 1000 under uneven light; noise of a standard deviation `noise` times the field's. */
static void add_view(struct mro_device *d, struct stack *s, double y, double x, const double band[2], double noise)
{
    struct mro_error e;
    const struct mro_grid g = { FIELD, FIELD, FIELD, FIELD };
    const size_t n = FIELD * FIELD, k = s->n++;
    struct mro_buffer a = buffer_of(d, n * sizeof(mro_c32)), b = buffer_of(d, n * sizeof(mro_c32)),
                      f = buffer_of(d, n * sizeof(float));
    void *zeros = calloc(n, sizeof(mro_c32));
    const double move[2] = { y, x };
    double square = 0;
    put(d, &b, zeros, n * sizeof(mro_c32));
    ok(d->ops->noise_spectrum(d, &g, 5, 1, band, 0.02, &a, &e), &e);
    ok(d->ops->add_moved(d, &g, &a, move, 1, &b, &e), &e);
    ok(d->ops->inverse(d, &g, &b, &f, &e), &e);
    float *v = get(d, &f, n * sizeof(float));
    for (size_t i = 0; i < n; i++) square += (double)v[i] * v[i];
    const double unit = 1 / sqrt(square / (double)n);
    struct mro_image *im = &s->im[k];
    ok(mro_image_alloc(im, NY, NX, &e), &e);
    for (size_t j = 0; j < NY; j++)
        for (size_t i = 0; i < NX; i++)
            im->px[j * NX + i] = (float)(1000 + 0.3 * (double)i + 50 * unit * v[(j + 70) * FIELD + i + 50] +
                                         50 * noise * normal_of(100 + k, j * NX + i));
    for (int i = 0; i < 2; i++) mro_axis_set(&im->axis[i], i ? 0.02 : 0.03, 0, "nm", MRO_SOURCE_VENDOR);
    im->axis[0].size = NY;
    im->axis[1].size = NX;
    im->beam_kv = 200;
    free(zeros);
    free(v);
    d->ops->release(d, &a);
    d->ops->release(d, &b);
    d->ops->release(d, &f);
}

static const double lattice[2] = { 0.03, 0.14 }; /* cycles per pixel: what an HRTEM image at 0.02 nm holds */

/* Drift of frame i, to fractions of a pixel, and back. */
static void drift(size_t i, double *y, double *x)
{
    *y = 2.37 * (double)i + 1.5 * sin(1.7 * (double)i);
    *x = -1.61 * (double)i + 2.2 * cos(2.3 * (double)i) - 2.2;
}

static struct mro_reduced aligned(struct mro_device *d, struct stack *s)
{
    struct mro_reduced r;
    struct mro_error e;
    const struct mro_frames frames = { s, stack_rewind, stack_next };
    ok(mro_frames_align(d, &frames, "test", &r, &e), &e);
    return r;
}

static void check_drift(double noise, double tolerance)
{
    struct mro_device *d = device_of("cpu", 2);
    struct stack s = { .n = 0 };
    double worst = 0, sum = 0;
    for (size_t i = 0; i < 14; i++) {
        double y, x;
        drift(i, &y, &x);
        add_view(d, &s, y, x, lattice, noise);
    }
    struct mro_reduced r = aligned(d, &s);
    assert_int_equal(r.frames, 14);
    assert_int_equal(r.used, 14);
    /* All are measured against the first, whose own error they share: taken off. */
    double off[2] = { 0, 0 };
    for (size_t i = 0; i < 14; i++) {
        double y, x;
        drift(i, &y, &x);
        off[0] += (r.shift[i].y_px - y) / 14;
        off[1] += (r.shift[i].x_px - x) / 14;
        assert_true(r.shift[i].used && r.shift[i].frame == 10 + i);
    }
    for (size_t i = 0; i < 14; i++) {
        double y, x;
        drift(i, &y, &x);
        const double dy = r.shift[i].y_px - y - off[0], dx = r.shift[i].x_px - x - off[1];
        worst = fmax(worst, fmax(fabs(dy), fabs(dx)));
        sum += dy * dy + dx * dx;
    }
    print_message("noise %g times the signal: root mean square error %.4f px, worst %.4f px, offset %.3f %.3f\n", noise,
                  sqrt(sum / 28), worst, off[0], off[1]);
    assert_true(worst <= tolerance);
    assert_true(fabs(off[0]) <= tolerance && fabs(off[1]) <= tolerance);
    assert_true(r.shift[0].y_px == 0 && r.shift[0].x_px == 0);

    /* The area that all share, and where it begins. */
    double low[2] = { 0, 0 }, high[2] = { 0, 0 };
    for (size_t i = 0; i < 14; i++) {
        low[0] = fmin(low[0], r.shift[i].y_px), high[0] = fmax(high[0], r.shift[i].y_px);
        low[1] = fmin(low[1], r.shift[i].x_px), high[1] = fmax(high[1], r.shift[i].x_px);
    }
    assert_int_equal(r.crop_px[0], (size_t)ceil(-low[0] - 0.05));
    assert_int_equal(r.crop_px[1], (size_t)ceil(-low[1] - 0.05));
    assert_int_equal(r.image.ny, (size_t)(floor(NY - 1 - high[0] + 0.05) - ceil(-low[0] - 0.05)) + 1);
    assert_int_equal(r.image.nx, (size_t)(floor(NX - 1 - high[1] + 0.05) - ceil(-low[1] - 0.05)) + 1);
    assert_int_equal(r.image.not_finite, 0);
    near(r.image.axis[0].step, 0.03, 0);
    near(r.image.axis[1].offset, 0.02 * (double)r.crop_px[1], 1e-12);
    assert_true(r.image.axis[0].source == MRO_SOURCE_VENDOR && r.image.axis[1].size == r.image.nx);
    near(r.image.beam_kv, 200, 0);

    /* The mean against the field itself where the first frame lies: the signal whole, the noise down by the root of 14.
     */
    struct stack clean = { .n = 0 };
    double y, x, error = 0;
    drift(0, &y, &x);
    add_view(d, &clean, y, x, lattice, 0);
    const size_t margin = 10;
    size_t n = 0;
    for (size_t j = margin; j + margin < r.image.ny; j++)
        for (size_t i = margin; i + margin < r.image.nx; i++, n++) {
            const double want = clean.im[0].px[(j + r.crop_px[0]) * NX + i + r.crop_px[1]];
            error += (r.image.px[j * r.image.nx + i] - want) * (r.image.px[j * r.image.nx + i] - want);
        }
    double shade = 0; /* the light stays with the camera: its mean over the frames, which is no error */
    for (size_t i = 0; i < 14; i++) shade += 0.3 * r.shift[i].x_px / 14;
    const double rms = sqrt(fmax(error / (double)n - shade * shade, 0)) / 50, expected = noise / sqrt(14.0);
    print_message("  mean differs from the field by %.3f of its standard deviation, noise alone gives %.3f\n", rms,
                  expected);
    assert_true(rms < expected * 1.1 + 0.02);
    stack_free(&clean);
    mro_reduced_release(&r);
    stack_free(&s);
    mro_device_close(d);
}

static void clear_frames(void **state)
{
    (void)state;
    check_drift(0.1, 0.02);
}

static void noisy_frames(void **state)
{
    (void)state;
    check_drift(1.5, 0.05);
}

static void very_noisy_frames(void **state)
{
    (void)state;
    check_drift(4, 0.15);
}

/* Large steps, white detail up to the finest, two frames only. */
static void two_frames_far_apart(void **state)
{
    static const double fine[2] = { 0.01, 0.4 };
    struct mro_device *d = device_of("cpu", 1);
    struct stack s = { .n = 0 };
    (void)state;
    add_view(d, &s, 0, 0, fine, 0.5);
    add_view(d, &s, -61.4, 43.75, fine, 0.5);
    struct mro_reduced r = aligned(d, &s);
    near(r.shift[1].y_px, -61.4, 0.03);
    near(r.shift[1].x_px, 43.75, 0.03);
    assert_true(r.shift[1].correlation > 0.3 && r.shift[1].correlation < 1);
    mro_reduced_release(&r);
    stack_free(&s);
    mro_device_close(d);
}

/* A dark first frame, one of noise only, missing pixels: the rest is aligned as if they were not there. */
static void bad_frames_are_left_out(void **state)
{
    struct mro_device *d = device_of("cpu", 2);
    struct stack s = { .n = 0 };
    (void)state;
    for (size_t i = 0; i < 8; i++) add_view(d, &s, 1.3 * (double)i, 0.7 * (double)i, lattice, 1);
    for (size_t i = 0; i < NY * NX; i++) s.im[0].px[i] = 0;
    for (size_t i = 0; i < NY * NX; i++) s.im[1].px[i] = 1000 + 50 * normal_of(300, i);
    for (size_t i = 0; i < NY * NX; i++) s.im[5].px[i] = 1000 + 50 * normal_of(301, i);
    for (size_t i = 0; i < NX; i++) s.im[3].px[180 * NX + i] = NAN;
    s.im[3].not_finite = NX;
    struct mro_reduced r = aligned(d, &s);
    assert_int_equal(r.frames, 8);
    assert_int_equal(r.used, 5);
    for (size_t i = 0; i < 8; i++) {
        const bool good = i > 1 && i != 5;
        assert_true(r.shift[i].used == good);
        if (!good) assert_true(isnan(r.shift[i].y_px));
        if (good) near(r.shift[i].y_px, 1.3 * ((double)i - 2), 0.06);
        if (good) near(r.shift[i].x_px, 0.7 * ((double)i - 2), 0.06);
    }
    assert_int_equal(r.image.not_finite, 0); /* the other frames have what one lacks */
    mro_reduced_release(&r);
    stack_free(&s);
    mro_device_close(d);
}

static void what_cannot_be_aligned_says_so(void **state)
{
    struct mro_device *d = device_of("cpu", 2);
    struct stack s = { .n = 0 };
    const struct mro_frames frames = { &s, stack_rewind, stack_next };
    struct mro_reduced r;
    struct mro_error e;
    (void)state;
    assert_int_equal(mro_frames_align(d, &frames, "none.tif", &r, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "none.tif"));
    assert_int_equal(mro_frames_mean(&frames, "none.tif", &r, &e), MRO_EDATA);
    for (size_t i = 0; i < 5; i++) {
        add_view(d, &s, 0, 0, lattice, 1);
        for (size_t k = 0; k < NY * NX; k++) s.im[i].px[k] = 1000 + 50 * normal_of(400 + i, k);
    }
    assert_int_equal(mro_frames_align(d, &frames, "noise.tif", &r, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "`reduce=mean`"));
    assert_null(r.shift);
    ok(mro_frames_mean(&frames, "noise.tif", &r, &e), &e);
    mro_reduced_release(&r);
    s.im[2].nx = NX - 1;
    assert_int_equal(mro_frames_mean(&frames, "noise.tif", &r, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "frame 12"));
    s.im[2].nx = NX;

    /* One frame is its own mean, to the bit. */
    const size_t all = s.n;
    s.n = 1;
    r = aligned(d, &s);
    assert_int_equal(r.used, 1);
    assert_memory_equal(r.image.px, s.im[0].px, NY * NX * sizeof(float));
    mro_reduced_release(&r);
    s.n = all;
    stack_free(&s);
    mro_device_close(d);
}

static void the_mean_is_of_what_is_there(void **state)
{
    struct stack s = { .n = 3 };
    const struct mro_frames frames = { &s, stack_rewind, stack_next };
    struct mro_reduced r;
    struct mro_error e;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ok(mro_image_alloc(&s.im[i], 2, 3, &e), &e);
        for (size_t k = 0; k < 6; k++) s.im[i].px[k] = (float)(10 * i + k);
    }
    s.im[1].px[4] = NAN;
    for (size_t i = 0; i < 3; i++) s.im[i].px[5] = NAN;
    ok(mro_frames_mean(&frames, "test", &r, &e), &e);
    for (size_t k = 0; k < 5; k++) near(r.image.px[k], 10 + (double)k, 0);
    assert_true(isnan(r.image.px[5]) && r.image.not_finite == 1 && r.used == 3 && r.shift == NULL);
    mro_reduced_release(&r);
    stack_free(&s);
}

static void the_same_at_any_number_of_threads(void **state)
{
    struct mro_reduced r[2];
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct mro_device *d = device_of("cpu", k ? 3 : 1);
        struct stack s = { .n = 0 };
        for (size_t i = 0; i < 4; i++) add_view(d, &s, 1.3 * (double)i, 0.7 * (double)i, lattice, 1);
        r[k] = aligned(d, &s);
        stack_free(&s);
        mro_device_close(d);
    }
    for (size_t i = 0; i < 4; i++)
        assert_true(r[0].shift[i].y_px == r[1].shift[i].y_px && r[0].shift[i].x_px == r[1].shift[i].x_px &&
                    (i == 0 || r[0].shift[i].correlation == r[1].shift[i].correlation));
    assert_memory_equal(r[0].image.px, r[1].image.px, r[0].image.ny * r[0].image.nx * sizeof(float));
    for (int k = 0; k < 2; k++) mro_reduced_release(&r[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clear_frames),
        cmocka_unit_test(noisy_frames),
        cmocka_unit_test(very_noisy_frames),
        cmocka_unit_test(two_frames_far_apart),
        cmocka_unit_test(bad_frames_are_left_out),
        cmocka_unit_test(what_cannot_be_aligned_says_so),
        cmocka_unit_test(the_mean_is_of_what_is_there),
        cmocka_unit_test(the_same_at_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

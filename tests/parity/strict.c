/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The strict device keeps a card's rules, and what is composed of kernels keeps its promises when a call fails: the
 * code comes back, nothing is left behind, and the next run is right. */
#include "fields.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crystals.h"
#include "kernels/field.h"
#include "mroscope/bandpass.h"
#include "mroscope/mro.h"
#include "ops/bench/bench.h"
#include "ops/rings.h"
#include "strict/strict.h"

static struct mro_error e;
static const double band[2] = { 4.1, 5.8 };
static const struct mro_grid grid = { 90, 84, 6.7, 6.2 }, cells = { 16, 15, 6.7, 6.2 };

/* Whether a child that does `act` to device memory dies of it. */
static bool dies(struct mro_device *d, const struct mro_buffer *b, void (*act)(const struct mro_buffer *b))
{
    (void)d;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* the test program's own handler would go on with the next test */
        signal(SIGBUS, SIG_DFL);
        act(b);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void reads(const struct mro_buffer *b)
{
    volatile float v = ((const volatile float *)b->p)[3];
    (void)v;
}
static void writes(const struct mro_buffer *b) { ((volatile float *)b->p)[3] = 1; }
static void nothing(const struct mro_buffer *b) { (void)b; }

static void host_access_faults(void **state)
{
    (void)state;
    struct mro_device *d = device_of("strict", 1);
    struct mro_buffer b = buffer_of(d, 1000);
    const float zero[250] = { 0 };
    assert_true(!dies(d, &b, nothing));
    assert_true(dies(d, &b, reads));
    put(d, &b, zero, sizeof zero);
    assert_true(dies(d, &b, reads));
    assert_true(dies(d, &b, writes));
    d->ops->release(d, &b);
    mro_device_close(d);
}

/* What a kernel does wrong is told with its name. */
static void faults_of_kernels_are_told(void **state)
{
    (void)state;
    struct mro_device *d = device_of("strict", 2);
    struct mro_buffer s = buffer_of(d, 70 * sizeof(mro_c32)), gain = buffer_of(d, 128 * sizeof(float));
    float ones[128];
    for (int i = 0; i < 128; i++) ones[i] = 1;
    put(d, &gain, ones, sizeof ones);
    ok(d->ops->runtime->zero(d, s.p, s.bytes, &e), &e);
    struct mro_multiply_args args = { s.p, gain.p, 70 };
    ok(MRO_LAUNCH_EACH(d, multiply, args.n, &args, &e), &e);
    args.gain = ones; /* not the last argument */
    assert_int_equal(MRO_LAUNCH_EACH(d, multiply, args.n, &args, &e), MRO_EINTERNAL);
    assert_non_null(strstr(e.message, "'multiply' was given a host pointer"));
    args.gain = gain.p;
    assert_int_equal(MRO_LAUNCH(d, multiply, 0, &args, &e), MRO_EINTERNAL);
    assert_int_equal(d->ops->runtime->zero(d, s.p, s.bytes + 1, &e), MRO_EINTERNAL);
    assert_int_equal(d->ops->runtime->zero(d, ones, 4, &e), MRO_EINTERNAL);
    for (int i = 0; i < 128; i++) ones[i] = 2;
    put(d, &gain, ones, sizeof ones);
    args.n = 72; /* two numbers too many: guard words, which are no longer what they were */
    assert_int_equal(MRO_LAUNCH_EACH(d, multiply, args.n, &args, &e), MRO_EINTERNAL);
    assert_non_null(strstr(e.message, "'multiply' wrote outside its buffers"));
    args.n = 70;
    assert_int_equal(MRO_LAUNCH_EACH(d, multiply, args.n, &args, &e), MRO_EINTERNAL);
    d->ops->release(d, &s);
    d->ops->release(d, &gain);
    assert_int_equal(mro_strict_buffers(d), 0);
    mro_device_close(d);
}

/* -- every call of every primitive fails once ----------------------------------------------------- */

struct bed {
    struct mro_buffer spectrum, field, power, which;
    float *px, *out;
};

static enum mro_code call(struct mro_device *d, struct bed *b, int primitive)
{
    enum { N = 9 };
    static const double pixel[2] = { 0.03, 0.03 };
    const size_t ny = 223, nx = 206;
    double g[N][2], at[N][2];
    struct mro_patch patches[N];
    struct mro_patch_search search = { .diameter_nm = { 1.0, 1.25, 1.5, 1.8, 2.15, 2.6, 3.1 },
                                       .d_range_inv_nm = { 4.64, 5.24 } };
    size_t spikes;
    memset(patches, 0, sizeof patches);
    for (int i = 0; i < MRO_PATCH_SIZES; i++)
        for (int j = 0; j <= MRO_ENERGY_STEPS; j++) search.energy[i][j] = 0.8;
    for (int i = 0; i < N; i++) {
        patches[i].gy = g[i][0] = 4.9 * sin(0.3 * i);
        patches[i].gx = g[i][1] = 4.9 * cos(0.3 * i);
        patches[i].y_nm = at[i][0] = 0.7 * i;
        patches[i].x_nm = at[i][1] = 6 - 0.6 * i;
    }
    const struct mro_bank bank = {
        .window_s_nm = 0.4, .band_inv_nm = { 4.1, 5.8 }, .edge_inv_nm = 0.15, .g = (const double(*)[2])g, .n_g = N
    };
    const double range[2] = { 0.19, 0.21 };
    switch (primitive) {
    case 0: return d->ops->noise_spectrum(d, &grid, 1, 2, band, 0.15, &b->spectrum, &e);
    case 1: return d->ops->inverse(d, &grid, &b->spectrum, &b->field, &e);
    case 2: return d->ops->contrast_spectrum(d, b->px, ny, nx, pixel, 2.5, &grid, &b->spectrum, &spikes, NULL, &e);
    case 3: return d->ops->local_power(d, &grid, &b->spectrum, NULL, 0.22, 3.95, 5.95, &b->field, &e);
    case 4: return d->ops->multiply(d, &grid, &b->spectrum, b->px, &e);
    case 5: return d->ops->forward(d, &grid, &b->field, &b->spectrum, &e);
    case 6: return d->ops->local_mean_square(d, &grid, &b->field, 1, &cells, &b->power, &e);
    case 7: return d->ops->bank_maximum(d, &grid, &b->spectrum, &bank, &cells, &b->power, &b->which, &e);
    case 8: return d->ops->refine_patches(d, &grid, &b->field, &search, patches, N, &e);
    case 9: return d->ops->windowed_acf(d, &grid, &b->field, 2, (const double(*)[2])at, 3, 21, 0.1, b->out, &e);
    case 10: return d->ops->acf_fringes(d, &grid, &b->field, 2, range, (const double(*)[2])at, N, b->out, &e);
    case 11: return d->ops->bandpass(d, b->px, ny, nx, pixel, band, 0.3, b->out, &e);
    case 12: {
        const struct mro_window part = { 3, 5, cells.ny / 2, cells.nx / 2 };
        const double g_of[2] = { 3.1, -3.8 };
        return d->ops->demodulate(d, &grid, &b->field, g_of, 0.5, &cells, &part, &b->power, &b->spectrum, &e);
    }
    case 13: {
        const struct mro_round round = mro_round_of(100, 110, 1, 0, 0);
        struct mro_azimuth a;
        enum mro_code rc = mro_azimuth_new(&a, d, ny, nx, &round, NULL, 2, 60, 8, 1, &e);
        if (rc == MRO_OK) rc = mro_azimuth_run(&a, b->px, 1, 3, &e);
        mro_azimuth_release(&a);
        return rc;
    }
    default: fail_msg("no primitive %d", primitive); return MRO_EINTERNAL;
    }
}
enum { PRIMITIVES = 14 };

static void bed_make(struct mro_device *d, struct bed *b)
{
    const size_t n = grid.ny * grid.nx, m = cells.ny * cells.nx, pixels = 223 * 206;
    b->spectrum = buffer_of(d, n * sizeof(mro_c32));
    b->field = buffer_of(d, n * sizeof(float));
    b->power = buffer_of(d, m * sizeof(float));
    b->which = buffer_of(d, m * sizeof(int32_t));
    b->px = malloc(pixels * sizeof *b->px);
    b->out = malloc(pixels * sizeof *b->out);
    assert_true(b->px && b->out);
    for (size_t i = 0; i < pixels; i++) b->px[i] = 1000 + 30 * mro_normal_pair(mro_philox(5, 0, i).v[0], 77).re;
    for (int i = 0; i < PRIMITIVES; i++) ok(call(d, b, i), &e);
}

static void bed_free(struct mro_device *d, struct bed *b)
{
    d->ops->release(d, &b->spectrum);
    d->ops->release(d, &b->field);
    d->ops->release(d, &b->power);
    d->ops->release(d, &b->which);
    free(b->px);
    free(b->out);
}

static void every_call_of_every_primitive_fails_once(void **state)
{
    (void)state;
    struct mro_device *d = device_of("strict", 2);
    struct bed b;
    bed_make(d, &b);
    const size_t resting = mro_strict_buffers(d);
    for (int i = 0; i < PRIMITIVES; i++)
        for (size_t k = 0;; k++) {
            mro_strict_fail(d, k, MRO_EDEVICE);
            const enum mro_code rc = call(d, &b, i);
            assert_int_equal(mro_strict_buffers(d), resting);
            if (!mro_strict_failed(d)) { /* it has fewer calls */
                ok(rc, &e);
                assert_true(k >= 1 && k < 100);
                mro_strict_fail(d, 0, MRO_OK);
                break;
            }
            assert_int_equal(rc, MRO_EDEVICE);
            assert_non_null(strstr(e.message, "was made to fail"));
        }
    for (int i = 0; i < PRIMITIVES; i++) ok(call(d, &b, i), &e);
    bed_free(d, &b);
    assert_int_equal(mro_strict_buffers(d), 0);
    mro_device_close(d);
}

/* One allocation too many is no reason to give up where a smaller batch does. */
static void batches_are_halved(void **state)
{
    (void)state;
    struct mro_device *d = device_of("strict", 2);
    struct bed b;
    bed_make(d, &b);
    const size_t m = cells.ny * cells.nx;
    for (int i = 7; i <= 10; i += 3) { /* the bank, the fringe scores */
        float *want, *got;
        size_t recovered = 0;
        ok(call(d, &b, i), &e);
        want =
            i == 7 ? get(d, &b.power, m * sizeof(float)) : memcpy(malloc(9 * sizeof(float)), b.out, 9 * sizeof(float));
        for (size_t k = 0; k < 60; k++) {
            memset(b.out, 0, 9 * sizeof *b.out);
            mro_strict_fail(d, k, MRO_EMEMORY);
            const enum mro_code rc = call(d, &b, i);
            const bool failed = mro_strict_failed(d);
            mro_strict_fail(d, 0, MRO_OK);
            if (rc) {
                assert_int_equal(rc, MRO_EMEMORY);
                continue;
            }
            recovered += failed;
            got = i == 7 ? get(d, &b.power, m * sizeof(float))
                         : memcpy(malloc(9 * sizeof(float)), b.out, 9 * sizeof(float));
            assert_memory_equal(want, got, (i == 7 ? m : 9) * sizeof(float));
            free(got);
            if (!failed) break;
        }
        assert_true(recovered >= 2); /* of the room and of the work area of the transform */
        free(want);
    }
    /* The budget itself: what is needed at least, and no byte less. */
    const size_t before = d->memory_bytes;
    size_t least = 0;
    for (d->memory_bytes = 100 << 10; d->memory_bytes < 4 << 20 && least == 0; d->memory_bytes += 16 << 10)
        if (call(d, &b, 7) == MRO_OK) least = d->memory_bytes;
    assert_true(least > 0 && least < mro_strict_peak(d));
    d->memory_bytes = before;
    bed_free(d, &b);
    assert_int_equal(mro_strict_buffers(d), 0);
    mro_device_close(d);
}

/* -- whole measurements ---------------------------------------------------------------------------- */

static void measurements_fail_cleanly(void **state)
{
    (void)state;
    struct mro_device *d = device_of("strict", 2);
    struct mro_order_options o;
    struct mro_order_plan *plan = NULL;
    struct mro_order_result r;
    struct mro_image im;
    mro_order_options_default(&o);
    o.surrogates = 8;
    o.kv = 200;
    o.cs_mm = 1.2;
    ok(mro_bench_image(256, MRO_BENCH_CLUSTERS, &im, NULL, NULL, &e), &e);
    for (size_t k = 0; k < 400; k += 67) { /* while the null is made */
        mro_strict_fail(d, k, MRO_EDEVICE);
        assert_int_equal(mro_order_plan_new(&plan, d, &o, &e), MRO_EDEVICE);
        assert_null(plan);
        assert_int_equal(mro_strict_buffers(d), 0);
    }
    mro_strict_fail(d, 0, MRO_OK);
    ok(mro_order_plan_new(&plan, d, &o, &e), &e);
    const size_t resting = mro_strict_buffers(d);
    size_t calls = 0;
    for (size_t k = 0;; k += 20 + k) {
        mro_strict_fail(d, k, MRO_EDEVICE);
        const enum mro_code rc = mro_order_measure(plan, &im, "an image", &r, &e);
        assert_int_equal(mro_strict_buffers(d), resting);
        if (rc == MRO_OK) break;
        if (rc != MRO_EDEVICE) fail_msg("call %zu: %s", k, e.message);
        calls = k;
    }
    assert_true(calls > 30);
    mro_order_result_release(&r);
    mro_order_plan_free(plan);
    mro_image_release(&im);
    assert_int_equal(mro_strict_buffers(d), 0);
    mro_device_close(d);
}

static void crystals_fail_cleanly(void **state)
{
    (void)state;
    struct mro_device *d = device_of("strict", 2);
    struct mro_crystal_options o;
    struct mro_crystal_result r;
    struct planted c = plain_crystal(3.6, 4, 4, 0.2027, 20);
    mro_crystal_options_default(&o);
    c.sets = 2;
    c.d_nm[1] = 0.2027;
    c.azimuth_deg[1] = 80;
    float *px = speckle_with(d, 140, 0.058, 90, &c, 1);
    const struct mro_image im = counts_image(px, 140, 0.058);
    const size_t resting = mro_strict_buffers(d);
    size_t calls = 0;
    for (size_t k = 0;; k += 11 + k / 2) {
        mro_strict_fail(d, k, MRO_EDEVICE);
        const enum mro_code rc = mro_crystal_measure(d, &im, "an image", &o, &r, &e);
        assert_int_equal(mro_strict_buffers(d), resting);
        if (rc == MRO_OK) break;
        if (rc != MRO_EDEVICE) fail_msg("call %zu: %s", k, e.message);
        calls = k;
    }
    assert_true(calls > 100 && r.n_crystals == 1);
    mro_crystal_result_release(&r);
    free(px);
    assert_int_equal(mro_strict_buffers(d), 0);
    mro_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_access_faults),
        cmocka_unit_test(faults_of_kernels_are_told),
        cmocka_unit_test(every_call_of_every_primitive_fails_once),
        cmocka_unit_test(batches_are_halved),
        cmocka_unit_test(measurements_fail_cleanly),
        cmocka_unit_test(crystals_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

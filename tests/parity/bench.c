/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The proof of a benchmark must fail for a backend that is wrong, and say where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vectors.h"
#include "ops/bench/bench.h"

static enum mro_code wrong_forward(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                   struct mro_buffer *spectrum, struct mro_error *e)
{
    const enum mro_code rc = mro_vectors()->backend->forward(d, g, field, spectrum, e);
    mro_c32 *s = spectrum->p;
    if (rc == MRO_OK) s[g->nx / 3].re += 0.5f;
    return rc;
}

static void run_proof(void **state)
{
    (void)state;
    struct mro_backend bad = *mro_vectors()->backend;
    struct mro_device *reference;
    struct mro_error e;
    bad.forward = wrong_forward;
    assert_int_equal(mro_device_open(&reference, "cpu", 1, 0, &e), MRO_OK);
    for (int wrong = 0; wrong < 2; wrong++) {
        struct mro_device d = *reference;
        struct mro_bench b = { .checks = 0 };
        bool passed = wrong;
        size_t failed = 0;
        d.ops = wrong ? &bad : mro_vectors()->backend;
        d.threads = 2;
        assert_int_equal(mro_bench_prove(&d, reference, !wrong, &b, &passed, &e), MRO_OK);
        assert_true(b.checks > 12);
        assert_int_equal(passed, !wrong);
        for (size_t i = 0; i < b.checks; i++) {
            failed += !b.check[i].passed;
            if (strcmp(b.check[i].name, "forward transform") == 0) assert_int_equal(b.check[i].passed, !wrong);
            if (strcmp(b.check[i].name, "inverse transform") == 0) assert_true(b.check[i].passed);
        }
        assert_true(wrong ? failed >= 1 : failed == 0);
    }
    mro_device_close(reference);
}

/* Rounding alone must not fail it: a card's is another one, and without a proof nothing is timed. */
static void proves_kernels(void **state)
{
    (void)state;
    struct mro_device *reference, *d;
    struct mro_bench b = { .checks = 0 };
    struct mro_error e;
    bool passed = false;
    assert_int_equal(mro_device_open(&reference, "cpu", 2, 0, &e), MRO_OK);
    assert_int_equal(mro_device_open(&d, "strict", 2, 0, &e), MRO_OK);
    assert_int_equal(mro_bench_prove(d, reference, false, &b, &passed, &e), MRO_OK);
    for (size_t i = 0; i < b.checks; i++)
        if (!b.check[i].passed) print_message("%s: differs by %.2g\n", b.check[i].name, b.check[i].error);
    assert_true(passed);
    mro_device_close(d);
    mro_device_close(reference);
}

static void image_holds_what_it_says(void **state)
{
    (void)state;
    struct mro_image im, again;
    struct mro_error e;
    double(*spheres)[3];
    size_t n;
    assert_int_equal(mro_bench_image(100, MRO_BENCH_CLUSTERS, &im, NULL, NULL, &e), MRO_EARG);
    assert_int_equal(mro_bench_image(700, MRO_BENCH_CLUSTERS, &im, &spheres, &n, &e), MRO_OK);
    assert_true(n >= 3 && n <= 9); /* 9 places, three in five taken */
    for (size_t i = 0; i < n; i++) {
        assert_true(spheres[i][2] >= 1.8 && spheres[i][2] <= 2.4);
        for (int k = 0; k < 2; k++)
            assert_true(spheres[i][k] > 0.5 * spheres[i][2] && spheres[i][k] < 14 - 0.5 * spheres[i][2]);
    }
    assert_int_equal(mro_bench_image(700, MRO_BENCH_CLUSTERS, &again, NULL, NULL, &e), MRO_OK);
    assert_memory_equal(im.px, again.px, 700 * 700 * sizeof(float));
    free(spheres);
    mro_image_release(&im);
    mro_image_release(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_holds_what_it_says),
        cmocka_unit_test(run_proof),
        cmocka_unit_test(proves_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

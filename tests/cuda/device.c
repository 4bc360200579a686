/* SPDX-License-Identifier: GPL-3.0-or-later */
/* host/cuda on a machine that is made up (fake.h): what it does with cards, memory and transforms, and what becomes of
 * every call of CUDA that can fail. */
#include "fields.h"

#include <stdio.h>
#include <string.h>

#include "cuda/card.h"
#include "fake.h"
#include "kernels/field.h"

static struct mro_error e;

static void nothing_left(void)
{
    const char *left = fake_left();
    if (left) fail_msg("%s", left);
}

static struct mro_device *card(const char *name)
{
    struct mro_device *d = NULL;
    ok(mro_device_open(&d, name, 2, 0, &e), &e);
    assert_string_equal(mro_device_backend(d), "cuda");
    return d;
}

static void says(const char *text)
{
    if (strstr(e.message, text) == NULL) fail_msg("'%s' does not say '%s'", e.message, text);
}

/* -- memory -------------------------------------------------------------------------------------- */

static void bytes_go_there_and_back(void **state)
{
    const size_t stage = MRO_STAGE_BYTES, sizes[] = { 0,
                                                      1,
                                                      5,
                                                      MRO_STAGE_FROM - 1,
                                                      MRO_STAGE_FROM,
                                                      stage - 1,
                                                      stage,
                                                      stage + 1,
                                                      2 * stage - 1,
                                                      2 * stage,
                                                      2 * stage + 1,
                                                      5 * stage + 3 };
    const size_t most = 5 * stage + 3;
    unsigned char *from = malloc(most), *to = malloc(most + 1);
    (void)state;
    fake_reset();
    struct mro_device *d = card("cuda");
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int twice = 0; twice < 2; twice++) { /* the second upload meets stages that the first one still holds */
            struct mro_buffer b = buffer_of(d, sizes[k]);
            assert_int_equal(b.bytes, sizes[k]);
            for (size_t i = 0; i < most; i++) from[i] = (unsigned char)(i * 7 + i / 251 + k);
            put(d, &b, from, sizes[k]);
            memset(from, 0, most); /* it is no longer needed */
            memset(to, 0x77, most + 1);
            ok(d->ops->download(d, to, &b, sizes[k], &e), &e);
            ok(d->ops->runtime->zero(d, b.p, sizes[k], &e), &e);
            for (size_t i = 0; i < sizes[k]; i++) assert_int_equal(to[i], (unsigned char)(i * 7 + i / 251 + k));
            assert_int_equal(to[sizes[k]], 0x77);
            ok(d->ops->download(d, to, &b, sizes[k], &e), &e);
            for (size_t i = 0; i < sizes[k]; i++) assert_int_equal(to[i], 0);
            d->ops->release(d, &b);
            assert_null(b.p);
            d->ops->release(d, &b);
        }
    struct mro_buffer b = buffer_of(d, 8);
    assert_int_equal(d->ops->upload(d, &b, from, 9, &e), MRO_EINTERNAL);
    assert_int_equal(d->ops->download(d, to, &b, 9, &e), MRO_EINTERNAL);
    d->ops->release(d, &b);
    mro_device_close(d);
    nothing_left();
    free(from);
    free(to);
}

/* Small pieces on their way to the card are read late and must not meet, nor need what they came from. */
static void small_pieces_do_not_meet(void **state)
{
    enum { PIECES = 40, BYTES = 1000 };
    struct mro_buffer b[PIECES];
    unsigned char v[BYTES];
    (void)state;
    fake_reset();
    struct mro_device *d = card("cuda");
    assert_true(PIECES * BYTES > 3 * MRO_STAGE_SMALL && BYTES < MRO_STAGE_FROM);
    for (int i = 0; i < PIECES; i++) {
        b[i] = buffer_of(d, BYTES);
        memset(v, i + 1, BYTES);
        put(d, &b[i], v, BYTES);
    }
    memset(v, 0, BYTES);
    for (int i = 0; i < PIECES; i++) {
        unsigned char *w = get(d, &b[i], BYTES);
        for (int k = 0; k < BYTES; k++) assert_int_equal(w[k], i + 1);
        free(w);
        d->ops->release(d, &b[i]);
    }
    mro_device_close(d);
    nothing_left();
}

/* The card takes memory as long as it has some, and gives up what it keeps for later before it refuses. */
static void a_full_card_refuses(void **state)
{
    (void)state;
    for (int pools = 0; pools < 2; pools++) {
        fake_reset();
        fake.memory = (size_t)8 << 20;
        fake.card[0].pools = pools;
        struct mro_device *d = card("cuda");
        struct mro_buffer plane = buffer_of(d, (size_t)3 << 20), more = { 0 };
        const struct mro_transform t = { MRO_TRANSFORM_FORWARD, 512, 512, 1 };
        ok(d->ops->runtime->zero(d, plane.p, plane.bytes, &e), &e);
        ok(d->ops->runtime->transform(d, &t, plane.p, plane.p, &e), &e); /* 2 MiB of work area stay with it */
        assert_int_equal(fake.plans, 1);
        more = buffer_of(d, (size_t)4 << 20);
        assert_int_equal(fake.plans, 0); /* it made room */
        assert_int_equal(d->ops->runtime->transform(d, &t, plane.p, plane.p, &e), MRO_EMEMORY);
        says("no room for 2.0 MiB of work area");
        says("1 of 8 MiB are free");
        d->ops->release(d, &more);
        ok(d->ops->runtime->transform(d, &t, plane.p, plane.p, &e), &e);
        assert_int_equal(d->ops->alloc(d, &more, (size_t)9 << 20, &e), MRO_EMEMORY);
        says("card 0 (Pretend A) has no room for 9.0 MiB of a buffer");
        says("`device=cpu`");
        assert_null(more.p);
        d->ops->release(d, &plane);
        mro_device_close(d);
        nothing_left();
    }
}

/* A pool that says it is there and gives nothing is done without. */
static void a_pool_that_refuses(void **state)
{
    (void)state;
    fake_reset();
    fake.fail_call = "cudaMallocAsync";
    fake.fail_with = cudaErrorNotSupported;
    fake.fail_at = 1;
    fake.forever = true;
    struct mro_device *d = card("cuda");
    struct mro_buffer b = buffer_of(d, 1000);
    assert_string_equal(fake.failed, "cudaMallocAsync");
    d->ops->release(d, &b);
    mro_device_close(d);
    nothing_left();
}

/* A copy that cannot be followed does not meet what comes after it. */
static void a_copy_without_its_event(void **state)
{
    enum { BYTES = MRO_STAGE_BYTES };
    unsigned char *v = malloc(BYTES), *w;
    (void)state;
    fake_reset();
    struct mro_device *d = card("cuda");
    struct mro_buffer a = buffer_of(d, BYTES), b = buffer_of(d, BYTES);
    memset(v, 1, BYTES);
    put(d, &a, v, BYTES);
    ok(d->ops->download(d, v, &a, 0, &e), &e); /* waits */
    fake.fail_call = "cudaEventRecord";
    fake.fail_with = cudaErrorInvalidValue;
    fake.fail_at = 1;
    assert_int_equal(d->ops->download(d, v, &a, BYTES, &e), MRO_EDEVICE);
    says("cudaEventRecord");
    memset(v, 2, BYTES);
    put(d, &b, v, BYTES);
    w = get(d, &b, BYTES);
    assert_memory_equal(w, v, BYTES);
    free(w);
    free(v);
    d->ops->release(d, &a);
    d->ops->release(d, &b);
    mro_device_close(d);
    nothing_left();
}

static void without_page_locked_memory(void **state)
{
    (void)state;
    for (int at = 1; at <= 3; at++) { /* two for large pieces, one for small ones */
        fake_reset();
        fake.fail_call = "cudaMallocHost";
        fake.fail_with = cudaErrorMemoryAllocation;
        fake.fail_at = (size_t)at;
        struct mro_device *d = card("cuda");
        struct mro_buffer b = buffer_of(d, 3 * MRO_STAGE_BYTES);
        unsigned char *v = malloc(b.bytes), *w;
        memset(v, 3, b.bytes);
        put(d, &b, v, b.bytes);
        assert_non_null(fake.failed);
        assert_int_equal(fake.pinned, 0);
        memset(v, 4, b.bytes);
        w = get(d, &b, b.bytes);
        for (size_t i = 0; i < b.bytes; i++) assert_int_equal(w[i], 3);
        free(v);
        free(w);
        d->ops->release(d, &b);
        mro_device_close(d);
        nothing_left();
    }
}

/* -- transforms, kernels, sorting ---------------------------------------------------------------- */

static void transforms_are_kept(void **state)
{
    (void)state;
    enum { N = 6, MOST = 3 * 40 * 42 };
    static const struct mro_transform shapes[N] = {
        { MRO_TRANSFORM_FORWARD, 1, 12, 5 },  { MRO_TRANSFORM_FORWARD, 15, 20, 3 }, { MRO_TRANSFORM_REAL, 16, 10, 2 },
        { MRO_TRANSFORM_FORWARD, 40, 40, 3 }, { MRO_TRANSFORM_REAL, 1, 33, 4 },     { MRO_TRANSFORM_FORWARD, 7, 1, 2 },
    };
    fake_reset();
    struct mro_device *d = card("cuda");
    assert_true(N > MRO_CUDA_PLANS);
    struct mro_buffer a = buffer_of(d, MOST * sizeof(mro_c32)), b = buffer_of(d, MOST * sizeof(mro_c32));
    float *v = malloc(2 * MOST * sizeof *v);
    for (int round = 0; round < 2; round++)
        for (int k = 0; k < N; k++) {
            struct mro_transform t = shapes[k];
            const bool real = t.kind == MRO_TRANSFORM_REAL;
            const size_t n = t.ny * t.nx * t.batch, numbers = real ? n : 2 * n;
            for (size_t i = 0; i < numbers; i++) v[i] = normal_of(7, i);
            put(d, &a, v, numbers * sizeof *v);
            ok(d->ops->runtime->transform(d, &t, a.p, real ? b.p : a.p, &e), &e);
            float *w = get(d, real ? &b : &a, 8);
            double sum = 0; /* frequency zero of the first plane */
            for (size_t i = 0; i < t.ny * t.nx; i++) sum += v[real ? i : 2 * i];
            near(w[0], sum, 1e-4);
            free(w);
            t.kind = real ? MRO_TRANSFORM_REAL_BACKWARD : MRO_TRANSFORM_BACKWARD;
            ok(d->ops->runtime->transform(d, &t, real ? b.p : a.p, a.p, &e), &e);
            w = get(d, &a, numbers * sizeof *w);
            for (size_t i = 0; i < numbers; i++) near(w[i] / (double)(t.ny * t.nx), v[i], 1e-4);
            free(w);
            assert_true(fake.plans <= MRO_CUDA_PLANS);
        }
    /* The latest are still there, and there and back of complex numbers share a plan. */
    const size_t made = fake.plans_made;
    ok(d->ops->runtime->transform(d, &shapes[N - 1], a.p, a.p, &e), &e);
    assert_int_equal(fake.plans_made, made);
    assert_int_equal(made, 2 * (4 + 2 * 2));
    /* The one not used for longest goes first. */
    for (int k = 0; k < MRO_CUDA_PLANS; k++) {
        const struct mro_transform t = { MRO_TRANSFORM_FORWARD, 1, 100 + (size_t)k, 1 };
        ok(d->ops->runtime->transform(d, &t, a.p, a.p, &e), &e);
        ok(d->ops->runtime->transform(d, &shapes[N - 1], a.p, a.p, &e), &e);
    }
    assert_int_equal(fake.plans_made, made + MRO_CUDA_PLANS);
    /* Where one cannot be made, the others make room. */
    fake.fail_at = 1;
    fake.fail_call = "cufftMakePlanMany64";
    fake.fail_with = cudaErrorInvalidValue;
    const struct mro_transform another = { MRO_TRANSFORM_FORWARD, 1, 99, 1 };
    ok(d->ops->runtime->transform(d, &another, a.p, a.p, &e), &e);
    assert_int_equal(fake.plans, 1);
    const struct mro_transform none = { MRO_TRANSFORM_FORWARD, 4, 4, 0 }, bad = { MRO_TRANSFORM_REAL, 4, 4, 1 };
    ok(d->ops->runtime->transform(d, &none, a.p, a.p, &e), &e);
    assert_int_equal(d->ops->runtime->transform(d, &bad, a.p, a.p, &e), MRO_EINTERNAL);
    d->ops->release(d, &a);
    d->ops->release(d, &b);
    mro_device_close(d);
    nothing_left();
    free(v);
}

static void kernels_run_and_numbers_sort(void **state)
{
    const size_t n = 5000;
    float *v = malloc(2 * n * sizeof *v);
    (void)state;
    fake_reset();
    struct mro_device *d = card("cuda:0");
    struct mro_buffer s = buffer_of(d, n * sizeof(mro_c32)), g = buffer_of(d, n * sizeof *v),
                      r = buffer_of(d, n * sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = i % 100 == 7 ? NAN : normal_of(9, i);
    put(d, &g, v, n * sizeof *v);
    ok(d->ops->runtime->sort(d, g.p, r.p, n, &e), &e);
    ok(d->ops->runtime->sort(d, g.p, r.p, 0, &e), &e);
    float *w = get(d, &r, n * sizeof *w);
    for (size_t i = 1; i < n - n / 100; i++) assert_true(w[i] >= w[i - 1]);
    for (size_t i = n - n / 100; i < n; i++) assert_true(isnan(w[i]));
    free(w);

    for (size_t i = 0; i < 2 * n; i++) v[i] = 2;
    put(d, &g, v, n * sizeof *v);
    put(d, &s, v, 2 * n * sizeof *v);
    struct mro_multiply_args *args = malloc(sizeof *args);
    *args = (struct mro_multiply_args){ .s = s.p, .gain = g.p, .n = n };
    ok(MRO_LAUNCH_EACH(d, multiply, n, args, &e), &e);
    memset(args, 0, sizeof *args); /* they are read before the call returns */
    ok(MRO_LAUNCH(d, multiply, 0, args, &e), &e);
    assert_int_equal(MRO_LAUNCH(d, multiply, (size_t)1 << 31, args, &e), MRO_EINTERNAL);
    free(args);
    w = get(d, &s, 2 * n * sizeof *w);
    for (size_t i = 0; i < 2 * n; i++) assert_true(w[i] == 4);
    free(w);
    free(v);
    d->ops->release(d, &s);
    d->ops->release(d, &g);
    d->ops->release(d, &r);
    mro_device_close(d);
    nothing_left();
}

/* -- failure ------------------------------------------------------------------------------------- */

/* Histogram, regions, background and line sums of a plane of zeros. */
static enum mro_code counts_of_zeros(struct mro_device *d, struct mro_buffer *plane)
{
    enum { NY = 10, NX = 12, BINS = 4 };
    static const double c[] = { 2, 0, 0 };
    const size_t block[2] = { 4, 4 };
    const struct mro_strip strip = {
        .ux = 1, .y0 = NY / 2.0, .step = 3, .width = NY, .bins = BINS, .pixel_y = 1, .pixel_x = 1
    };
    const unsigned char keep[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    uint32_t counts[BINS];
    struct mro_region_sums sums;
    double sum[9], count[9];
    float lowest;
    MRO_TRY(d->ops->runtime->zero(d, plane->p, NY * NX * sizeof(float), &e));
    MRO_TRY(d->ops->histogram(d, plane, NULL, NY * NX, -1.5f, 1, BINS, counts, &e));
    assert_true(counts[1] == NY * NX && counts[0] + counts[2] + counts[3] == 0);
    MRO_TRY(d->ops->regions(d, plane, NULL, NY, NX, -1, true, 1, &sums, &e));
    assert_true(sums.count == 1 && sums.samples == NY * NX);
    MRO_TRY(d->ops->block_sums(d, plane, NY, NX, block, sum, count, &e));
    assert_true(sum[0] == 0 && count[0] == 16 && count[8] == 8);
    MRO_TRY(d->ops->strip_sums(d, plane, 1, NY, NX, &strip, sum, count, &e));
    assert_true(sum[0] == 0 && count[0] == 3 * NY && count[3] == 3 * NY);
    MRO_TRY(d->ops->divide_polynomial(d, plane, NY, NX, -6, 1, c, block, keep, &lowest, &e));
    assert_true(lowest == 2);
    MRO_TRY(d->ops->histogram(d, plane, NULL, NY * NX, 2.5f, 1, BINS, counts, &e));
    assert_true(counts[0] == NY * NX);
    return MRO_OK;
}

/* A life with everything in it. What it held is given back, however it ends. */
static enum mro_code live(const char *name)
{
    enum { BYTES = 5 * MRO_STAGE_BYTES / 2 };
    const struct mro_transform small = { MRO_TRANSFORM_FORWARD, 1, 64, 2 },
                               large = { MRO_TRANSFORM_FORWARD, 64, 64, 2 }, real = { MRO_TRANSFORM_REAL, 16, 16, 1 },
                               back = { MRO_TRANSFORM_REAL_BACKWARD, 16, 16, 1 };
    struct mro_device *d = NULL;
    struct mro_buffer a = { 0 }, b = { 0 };
    unsigned char *v = calloc(1, BYTES);
    enum mro_code rc = mro_device_open(&d, name, 2, 0, &e);
    if (rc) {
        assert_null(d);
        goto done;
    }
    const struct mro_gpu_runtime *run = d->ops->runtime;
    if (run == NULL) goto done; /* the CPU, for 'auto' */
    for (size_t i = 0; i < BYTES; i++) v[i] = (unsigned char)(i % 64);
    if ((rc = d->ops->alloc(d, &a, BYTES, &e))) goto done;
    if ((rc = d->ops->alloc(d, &b, BYTES, &e))) goto done;
    if ((rc = d->ops->upload(d, &a, v, BYTES, &e))) goto done;
    memset(v, 0, BYTES);
    if ((rc = d->ops->download(d, v, &a, BYTES, &e))) goto done;
    for (size_t i = 0; i < BYTES; i++) assert_int_equal(v[i], i % 64);
    if ((rc = d->ops->upload(d, &a, v, 100, &e))) goto done;
    if ((rc = run->zero(d, a.p, BYTES, &e))) goto done;
    if ((rc = run->transform(d, &small, a.p, a.p, &e))) goto done;
    if ((rc = run->transform(d, &large, a.p, a.p, &e))) goto done;
    if ((rc = run->transform(d, &real, a.p, b.p, &e))) goto done;
    if ((rc = run->transform(d, &back, b.p, a.p, &e))) goto done;
    for (size_t k = 0; k <= MRO_CUDA_PLANS; k++) { /* more than are kept */
        const struct mro_transform line = { MRO_TRANSFORM_BACKWARD, 1, 10 + k, 1 };
        if ((rc = run->transform(d, &line, a.p, a.p, &e))) goto done;
    }
    if ((rc = run->zero(d, b.p, BYTES, &e))) goto done;
    const struct mro_multiply_args args = { .s = a.p, .gain = b.p, .n = 100 };
    if ((rc = MRO_LAUNCH_EACH(d, multiply, 100, &args, &e))) goto done;
    if ((rc = run->sort(d, b.p, a.p, 2000, &e))) goto done;
    if ((rc = d->ops->download(d, v, &a, 100, &e))) goto done;
    for (size_t i = 0; i < 100; i++) assert_int_equal(v[i], 0);
    rc = counts_of_zeros(d, &a);
done:
    if (d) {
        d->ops->release(d, &a);
        d->ops->release(d, &b);
        mro_device_close(d);
    }
    free(v);
    return rc;
}

static void every_call_fails_once(void **state)
{
    static const cudaError_t errors[] = { cudaErrorInvalidValue, cudaErrorMemoryAllocation, cudaErrorIllegalAddress };
    (void)state;
    for (int pools = 0; pools < 2; pools++)
        for (size_t k = 0; k < sizeof errors / sizeof *errors; k++) {
            size_t told = 0, at = 0;
            do {
                fake_reset();
                fake.card[0].pools = pools;
                fake.fail_at = ++at;
                fake.fail_with = errors[k];
                memset(&e, 0, sizeof e);
                const enum mro_code rc = live("cuda");
                nothing_left();
                if (rc) {
                    told++;
                    if (rc != MRO_EDEVICE && !(rc == MRO_EMEMORY && errors[k] == cudaErrorMemoryAllocation))
                        fail_msg("call %zu, %s: code %d, '%s'", at, fake.failed, (int)rc, e.message);
                    says("`device=cpu`");
                    if (errors[k] == cudaErrorIllegalAddress && strcmp(fake.failed, "cudaGetDeviceCount") != 0)
                        says("was lost"); /* after calls that may fail it is told by the next one */
                    else
                        says(fake.failed); /* the call by its name */
                }
                assert_true(at < 1000);
            } while (fake.failed);
            assert_true(at > 100 && told > 40);
        }
    /* 'auto' computes on the CPU when the card does not open. */
    for (size_t at = 1; at < 12; at++) {
        fake_reset();
        fake.fail_at = at;
        fake.fail_with = cudaErrorInvalidValue;
        struct mro_device *d = NULL;
        ok(mro_device_open(&d, "auto", 1, 0, &e), &e);
        if (strcmp(mro_device_backend(d), "cpu") == 0)
            assert_non_null(strstr(mro_device_note(d), fake.failed));
        else
            assert_string_equal(mro_device_note(d), "");
        mro_device_close(d);
        nothing_left();
    }
}

/* A kernel that went astray shows later, and nothing goes on. */
static void a_lost_card_stays_lost(void **state)
{
    (void)state;
    for (int by_download = 0; by_download < 2; by_download++) {
        fake_reset();
        struct mro_device *d = card("cuda");
        struct mro_buffer a = buffer_of(d, 1000), b = { 0 };
        struct mro_multiply_args args = { .s = a.p, .gain = a.p, .n = 0 };
        const struct mro_transform t = { MRO_TRANSFORM_FORWARD, 1, 64, 1 };
        char v[1000] = { 0 };
        fake.kernel_fault = 1;
        ok(MRO_LAUNCH(d, multiply, 1, &args, &e), &e);
        ok(d->ops->runtime->zero(d, a.p, 1000, &e), &e); /* not yet known */
        assert_int_equal(by_download ? d->ops->download(d, v, &a, 1000, &e) : d->ops->download(d, v, &a, 0, &e),
                         MRO_EDEVICE);
        says("card 0 (Pretend A) was lost");
        says("an illegal memory access was encountered");
        const size_t calls = fake.calls;
        assert_int_equal(d->ops->alloc(d, &b, 10, &e), MRO_EDEVICE);
        assert_int_equal(d->ops->upload(d, &a, v, 10, &e), MRO_EDEVICE);
        assert_int_equal(d->ops->download(d, v, &a, 10, &e), MRO_EDEVICE);
        assert_int_equal(d->ops->runtime->zero(d, a.p, 10, &e), MRO_EDEVICE);
        assert_int_equal(MRO_LAUNCH(d, multiply, 1, &args, &e), MRO_EDEVICE);
        assert_int_equal(d->ops->runtime->transform(d, &t, a.p, a.p, &e), MRO_EDEVICE);
        assert_int_equal(d->ops->runtime->sort(d, a.p, a.p, 3, &e), MRO_EDEVICE);
        says("was lost (an illegal memory access was encountered); run again with `device=cpu`");
        assert_int_equal(fake.calls, calls);
        d->ops->release(d, &a);
        mro_device_close(d);
        nothing_left();
    }
}

/* -- choice -------------------------------------------------------------------------------------- */

static void refused(const char *name, enum mro_code code, const char *text)
{
    struct mro_device *d = NULL;
    memset(&e, 0, sizeof e);
    assert_int_equal(mro_device_open(&d, name, 1, 0, &e), code);
    assert_null(d);
    says(text);
    nothing_left();
}

/* 'auto' is the CPU for the reason `text`; `expected`: also without a name there is something to say. */
static void falls_back(const char *text, bool expected)
{
    for (int named = 0; named < 2; named++) {
        struct mro_device *d = NULL;
        ok(mro_device_open(&d, named ? "auto" : NULL, 1, 0, &e), &e);
        assert_string_equal(mro_device_backend(d), "cpu");
        if (named || expected) {
            if (strstr(mro_device_note(d), text) == NULL) fail_msg("'%s' lacks '%s'", mro_device_note(d), text);
        } else {
            assert_string_equal(mro_device_note(d), "");
        }
        mro_device_close(d);
    }
    nothing_left();
}

static void machines_without_a_usable_card(void **state)
{
    (void)state;
    fake_reset();
    fake.driver = 0;
    refused("cuda", MRO_EDEVICE, "this machine has no NVIDIA driver; use `device=cpu`");
    refused("cuda:0", MRO_EDEVICE, "this machine has no NVIDIA driver");
    falls_back("computing on the CPU: this machine has no NVIDIA driver", false);
    fake.driver = 11040;
    refused("cuda", MRO_EDEVICE, "too old: it knows CUDA 11.4 at most, and this build needs");
    falls_back("too old", true);
    fake_reset();
    fake.cards = 0;
    refused("cuda", MRO_EDEVICE, "the NVIDIA driver shows no card");
    falls_back("shows no card", false);
    assert_int_equal(mro_device_count(), 3);
    fake_reset();
    fake.card[0].mode = cudaComputeModeExclusiveProcess;
    fake.card[0].busy = true;
    refused("cuda", MRO_EDEVICE,
            "card 0 (Pretend A) is busy: its compute mode is exclusive and another program has it");
    falls_back("exclusive", true);
    fake.card[0].mode = cudaComputeModeProhibited;
    refused("cuda", MRO_EDEVICE, "'prohibited'");
    fake_reset();
    fake.card[0].major = 7;
    fake.card[0].minor = 0;
    refused("cuda", MRO_EDEVICE, "compute capability 7.0, and 7.5 is needed");
    fake_reset();
    fake.card[0].kernels = false;
    refused("cuda:0", MRO_EDEVICE, "build with -DCMAKE_CUDA_ARCHITECTURES=90");
    falls_back("no kernels", true);
}

/* Lanes are dealt over the cards that a device was asked to share, and over no others. */
static void lanes_are_dealt(void **state)
{
    static const struct {
        const char *name;
        size_t lanes;
        int card[4];
    } of[] = {
        { "cuda", 3, { 0, 0, 0, 0 } },
        { "cuda:2", 3, { 2, 2, 2, 2 } },
        { "cuda:all", 9, { 0, 2, 2, 0 } },
        { "cuda:all/2", 3, { 2, 2, 2, 2 } },
    };
    (void)state;
    fake_reset();
    fake.cards = 3;
    fake.card[1].busy = true;
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        struct mro_device *d = card(of[k].name), *beside[4];
        assert_int_equal(mro_device_lanes(d, 64, 1 << 20), of[k].lanes);
        assert_int_equal(mro_device_lanes(d, 2, 1 << 20), 2);
        assert_int_equal(mro_device_lanes(d, 64, fake.memory / 4), of[k].lanes / 3 * 2); /* half of it holds two */
        assert_int_equal(mro_device_lanes(d, 64, fake.memory), 1);
        for (size_t lane = 0; lane < 4; lane++) {
            char words[16];
            ok(mro_device_beside(&beside[lane], d, lane, &e), &e);
            snprintf(words, sizeof words, "card %d:", of[k].card[lane]);
            if (strstr(mro_device_description(beside[lane]), words) == NULL)
                fail_msg("lane %zu of %s: %s", lane, of[k].name, mro_device_description(beside[lane]));
        }
        for (size_t lane = 0; lane < 4; lane++) mro_device_close(beside[lane]);
        mro_device_close(d);
    }
    nothing_left();
}

static void cards_are_told_apart(void **state)
{
    struct mro_device_info info;
    (void)state;
    fake_reset();
    fake.cards = 2;
    fake.card[0].busy = true;
    refused("cuda:0", MRO_EDEVICE, "card 0 (Pretend A) is busy");
    refused("cuda:2", MRO_EDEVICE, "this machine has 2 cards, counted from cuda:0");
    refused("cuda:", MRO_EARG, "cuda:0 to cuda:1");
    refused("cuda:x", MRO_EARG, "no number of a card");
    refused("cuda:-1", MRO_EARG, "no number of a card");
    refused("cuda:1x", MRO_EARG, "no number of a card");
    refused("cuda:99999999999999999999", MRO_EDEVICE, "2 cards");
    refused("cuda1", MRO_EARG, "unknown device");
    static const char *const names[] = { "cuda:1", "cuda", "auto", NULL };
    for (int i = 0; i < 4; i++) {
        struct mro_device *d = card(names[i]);
        assert_string_equal(mro_device_note(d), "");
        assert_non_null(strstr(mro_device_description(d), "card 1: Pretend B, compute capability 9.0"));
        mro_device_close(d);
        nothing_left();
    }
    /* Dealt in turn, and past the one that is busy. */
    fake.cards = 3;
    static const struct {
        const char *name, *card;
    } shares[] = { { "cuda:all", "card 1" },   { "cuda:all/0", "card 1" }, { "cuda:all/1", "card 1" },
                   { "cuda:all/2", "card 2" }, { "cuda:all/3", "card 1" }, { "cuda:all/5", "card 2" } };
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct mro_device *one = card(shares[i].name);
        assert_non_null(strstr(mro_device_description(one), shares[i].card));
        mro_device_close(one);
    }
    fake.cards = 2;
    refused("cuda:all/", MRO_EARG, "no number of a card");
    refused("cuda:allx", MRO_EARG, "no number of a card");
    char share[32];
    mro_device_share("cuda:all", 7, share, sizeof share);
    assert_string_equal(share, "cuda:all/7");
    mro_device_share("cuda:1", 7, share, sizeof share);
    assert_string_equal(share, "cuda:1");
    mro_device_share(NULL, 7, share, sizeof share);
    assert_string_equal(share, "");
    /* Its rates, as the clocks have them. */
    struct mro_device *timed = card("cuda");
    struct mro_rates rates;
    ok(timed->ops->rates(timed, &rates, &e), &e);
    assert_true(rates.flops > 66e12 && rates.flops < 67e12 && rates.bytes > 4.9e12 && rates.bytes < 4.95e12);
    assert_true(rates.link > 0);
    fake.fail_at = 3;
    fake.fail_call = "cudaDeviceGetAttribute";
    fake.fail_with = cudaErrorNotSupported;
    ok(timed->ops->rates(timed, &rates, &e), &e);
    assert_true(rates.flops == 0 && rates.bytes == 0 && rates.link > 0);
    mro_device_close(timed);
    nothing_left();
    /* Two at once, from one thread. */
    fake.card[0].busy = false;
    struct mro_device *d[2] = { card("cuda:0"), card("cuda:1") };
    struct mro_buffer b[2] = { buffer_of(d[0], 100), buffer_of(d[1], 100) };
    for (int i = 0; i < 2; i++) ok(d[i]->ops->runtime->zero(d[i], b[i].p, 100, &e), &e);
    for (int i = 0; i < 2; i++) d[i]->ops->release(d[i], &b[i]);
    for (int i = 0; i < 2; i++) mro_device_close(d[i]);
    nothing_left();

    fake.card[1].major = 6;
    assert_int_equal(mro_device_count(), 4);
    mro_device_describe(0, &info);
    assert_string_equal(info.name, "cpu");
    assert_true(info.usable);
    mro_device_describe(1, &info);
    assert_string_equal(info.name, "strict");
    mro_device_describe(2, &info);
    assert_string_equal(info.name, "cuda:0");
    assert_string_equal(info.backend, "cuda");
    assert_true(info.usable);
    assert_string_equal(info.reason, "");
    assert_int_equal(info.memory_bytes, fake.memory);
    assert_int_equal(info.free_bytes, fake.memory);
    assert_int_equal(info.compute_capability[0], 9);
    assert_int_equal(info.driver[0], CUDART_VERSION / 1000);
    assert_non_null(strstr(info.description, "Pretend A, 0.2 GiB (0.2 free), compute capability 9.0"));
    mro_device_describe(3, &info);
    assert_string_equal(info.name, "cuda:1");
    assert_false(info.usable);
    assert_non_null(strstr(info.reason, "7.5 is needed"));
    nothing_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_there_and_back),
        cmocka_unit_test(small_pieces_do_not_meet),
        cmocka_unit_test(a_full_card_refuses),
        cmocka_unit_test(a_pool_that_refuses),
        cmocka_unit_test(a_copy_without_its_event),
        cmocka_unit_test(without_page_locked_memory),
        cmocka_unit_test(transforms_are_kept),
        cmocka_unit_test(kernels_run_and_numbers_sort),
        cmocka_unit_test(every_call_fails_once),
        cmocka_unit_test(a_lost_card_stays_lost),
        cmocka_unit_test(machines_without_a_usable_card),
        cmocka_unit_test(lanes_are_dealt),
        cmocka_unit_test(cards_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

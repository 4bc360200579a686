/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Small tools for tests of the backend's primitives: buffers, whole spectra by direct sums, deterministic noise. */
#ifndef TESTS_FIELDS_H
#define TESTS_FIELDS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/backend.h"
#include "mroscope/math/philox.h"

static inline void near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.9g is not %.9g within %.2g", a, b, tolerance);
}

static inline void ok(enum mro_code rc, const struct mro_error *e)
{
    if (rc) fail_msg("%s", e->message);
}

static inline struct mro_device *device_of(const char *name, int threads)
{
    struct mro_device *d = NULL;
    struct mro_error e;
    ok(mro_device_open(&d, name, threads, (size_t)1 << 30, &e), &e);
    return d;
}

static inline struct mro_buffer buffer_of(struct mro_device *d, size_t bytes)
{
    struct mro_buffer b = { 0 };
    struct mro_error e;
    ok(d->ops->alloc(d, &b, bytes, &e), &e);
    return b;
}

static inline void put(struct mro_device *d, struct mro_buffer *b, const void *from, size_t bytes)
{
    struct mro_error e;
    ok(d->ops->upload(d, b, from, bytes, &e), &e);
}

/* A fresh host copy. */
static inline void *get(struct mro_device *d, const struct mro_buffer *b, size_t bytes)
{
    struct mro_error e;
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    ok(d->ops->download(d, p, b, bytes, &e), &e);
    return p;
}

static inline double frequency_of(size_t i, size_t n, double length)
{
    return ((double)i - (i <= n / 2 ? 0 : (double)n)) / length;
}

/* Standard normal number i of a stream, by the library's generator (which math.c tests). */
static inline float normal_of(uint64_t stream, uint64_t i)
{
    const mro_philox_block b = mro_philox(99, stream, i);
    return mro_normal_pair(b.v[0], b.v[1]).re;
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inputs of the reader tests, and what is asked of a file that is open. */
#ifndef TESTS_READERS_DATA_H
#define TESTS_READERS_DATA_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mroscope/file.h"

#define BUDGET ((size_t)64 << 20) /* bytes of memory for a file */

/* The bytes of a file of a folder; freed by the caller. */
static inline unsigned char *load_in(const char *folder, const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    assert_int_equal(fseek(in, 0, SEEK_END), 0);
    *size = (size_t)ftell(in);
    rewind(in);
    unsigned char *p = malloc(*size);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *size, in), *size);
    fclose(in);
    return p;
}

static inline unsigned char *load_data(const char *name, size_t *size)
{
    return load_in(MROSCOPE_TEST_DATA, name, size);
}

static inline struct mro_file *open_in(const char *folder, const char *name)
{
    char path[512];
    struct mro_file *f;
    struct mro_error e;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mro_file_open(&f, path, BUDGET, &e) != MRO_OK) fail_msg("%s", e.message);
    return f;
}

/* A file of the test data. */
static inline struct mro_file *open_data(const char *name) { return open_in(MROSCOPE_TEST_DATA, name); }

static inline void near(double value, double expected, double relative)
{
    if (!(fabs(value - expected) <= relative * fabs(expected))) fail_msg("%.17g is not %.17g", value, expected);
}

static inline void assert_near(double value, double expected) { near(value, expected, 1e-9); }

/* An axis whose step the file gives, or 0. */
static inline void assert_axis(const struct mro_axis *a, size_t size, double step, double offset, enum mro_unit unit)
{
    assert_int_equal(a->size, size);
    assert_near(a->step, step);
    assert_near(a->offset, offset);
    assert_int_equal(a->unit, unit);
    assert_int_equal(a->source, step > 0 ? MRO_SOURCE_VENDOR : MRO_SOURCE_UNKNOWN);
}

/* Those of all frames of an image, all values finite; their sum. */
static inline double assert_statistics(struct mro_file *f, size_t image, double min, double max, double mean, double sd)
{
    struct mro_statistics s;
    struct mro_error e;
    assert_int_equal(mro_file_statistics(f, image, &s, &e), MRO_OK);
    assert_near(s.min, min);
    assert_near(s.max, max);
    assert_near(s.mean, mean);
    assert_near(s.sd, sd);
    assert_int_equal(s.not_finite, 0);
    return s.sum;
}

/* The n pixels of a frame of the first image. */
static inline void assert_pixels(struct mro_file *f, size_t frame, size_t n, const float *expected)
{
    struct mro_image im;
    struct mro_error e;
    if (mro_file_read(f, 0, frame, &im, &e) != MRO_OK) fail_msg("%s", e.message);
    assert_int_equal(im.nx * im.ny, n);
    for (size_t i = 0; i < n; i++)
        if (im.px[i] != expected[i]) fail_msg("pixel %zu is %g, not %g", i, im.px[i], expected[i]);
    mro_image_release(&im);
}

/* Whether some warning has `part`. */
static inline bool warned(const struct mro_file *f, const char *part)
{
    const char *w;
    for (size_t i = 0; (w = mro_file_warning(f, i)) != NULL; i++)
        if (strstr(w, part) != NULL) return true;
    return false;
}

static inline void assert_warning(const struct mro_file *f, const char *part)
{
    if (!warned(f, part)) fail_msg("no warning has '%s'", part);
}

static inline void assert_no_warning(const struct mro_file *f)
{
    if (mro_file_warning(f, 0) != NULL) fail_msg("%s", mro_file_warning(f, 0));
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For tests that build small files: numbers put into bytes at given places. */
#ifndef TESTS_READERS_BUILD_H
#define TESTS_READERS_BUILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "readers/data.h"

static inline void put_bits(unsigned char *p, uint64_t v, size_t bytes, bool big)
{
    for (size_t i = 0; i < bytes; i++) p[big ? bytes - 1 - i : i] = (unsigned char)(v >> (8 * i));
}

static inline void put_i32(unsigned char *p, int32_t v, bool big) { put_bits(p, (uint32_t)v, 4, big); }

static inline void put_f32(unsigned char *p, double v, bool big)
{
    const float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    put_bits(p, bits, 4, big);
}

static inline void put_f64(unsigned char *p, double v, bool big)
{
    uint64_t bits;
    memcpy(&bits, &v, 8);
    put_bits(p, bits, 8, big);
}

/* Writes a file of text into a folder. */
static inline void write_text(const char *folder, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Opens a built file of one image, called `name`, which is to be known as `format`. */
static inline struct mro_file *open_bytes(const void *p, size_t size, const char *name, const char *format)
{
    struct mro_file *f;
    struct mro_error e;
    if (mro_file_open_memory(&f, p, size, name, BUDGET, &e) != MRO_OK) fail_msg("%s", e.message);
    assert_string_equal(mro_file_format(f), format);
    assert_int_equal(mro_file_images(f), 1);
    return f;
}

/* One that is refused by a sentence with its name and `part`. */
static inline void refuse_bytes(const void *p, size_t size, const char *name, const char *part)
{
    struct mro_file *f;
    struct mro_error e;
    assert_int_equal(mro_file_open_memory(&f, p, size, name, BUDGET, &e), MRO_EFORMAT);
    if (strstr(e.message, part) == NULL || strstr(e.message, name) == NULL) fail_msg("%s", e.message);
}

#endif

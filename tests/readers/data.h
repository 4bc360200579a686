/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inputs of the reader tests. */
#ifndef TESTS_READERS_DATA_H
#define TESTS_READERS_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* The bytes of a file of the test data; freed by the caller. */
static inline unsigned char *load_data(const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", MROSCOPE_TEST_DATA, name);
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

#endif

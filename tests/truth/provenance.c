/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Digests of the SHA-256 standard (FIPS 180-4, examples), and an input that spans many blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/provenance.h"

static void check_by(int part_threads, const void *p, size_t size, const char *expected)
{
    struct mro_hash_job *job;
    char hex[65];
    assert_int_equal(mro_hash_start(&job, -1, p, size, part_threads, NULL), MRO_OK);
    assert_int_equal(mro_hash_finish(job, "bytes", hex, NULL), MRO_OK);
    assert_string_equal(hex, expected);
}

static void check(const void *p, size_t size, const char *expected) { check_by(0, p, size, expected); }

static void known_digests(void **state)
{
    (void)state;
    check("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char *a = malloc(1000000);
    assert_non_null(a);
    memset(a, 'a', 1000000);
    check(a, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(a);
}

/* The same at any number of threads, and what the sums of the parts, taken by themselves, add up to. */
static void sums_of_parts(void **state)
{
    enum { PARTS = 3, TAIL = 5 };
    const size_t size = 2 * MRO_HASH_PART + TAIL;
    unsigned char *p = malloc(size), sums[PARTS * 32];
    char hex[65];
    (void)state;
    assert_non_null(p);
    memset(p, 'a', size);
    memcpy(p + MRO_HASH_PART, "b", 1);
    for (size_t k = 0; k < PARTS; k++) {
        assert_int_equal(mro_sha256(p + k * MRO_HASH_PART, k < 2 ? MRO_HASH_PART : TAIL, hex, NULL), MRO_OK);
        for (size_t i = 0; i < 32; i++) {
            const char byte[3] = { hex[2 * i], hex[2 * i + 1], 0 };
            sums[32 * k + i] = (unsigned char)strtoul(byte, NULL, 16);
        }
    }
    for (size_t parts = 0; parts <= PARTS; parts++) {
        assert_int_equal(mro_sha256(sums, 32 * parts, hex, NULL), MRO_OK);
        for (int threads = 1; threads < 6; threads += 2)
            check_by(threads, p, parts < PARTS ? parts * MRO_HASH_PART : size, hex);
    }
    struct mro_hash_job *job;
    assert_int_equal(mro_hash_start(&job, -1, p, size, 2, NULL), MRO_OK);
    mro_hash_cancel(job);
    mro_hash_finish(job, "bytes", NULL, NULL);
    free(p);
}

/* A file that became shorter since its size was asked for, in the piece that is read and before it, as a whole or not.
 */
static void a_file_that_was_cut_is_told_as_such(void **state)
{
    struct mro_hash_job *job;
    struct mro_error e;
    char hex[65];
    FILE *f = tmpfile();
    (void)state;
    assert_non_null(f);
    assert_int_equal(fputs("abc", f) < 0 || fflush(f), 0);
    for (size_t size = 4; size < 4 * MRO_HASH_PART; size *= 1000)
        for (int threads = 0; threads < 3; threads++) {
            assert_int_equal(mro_hash_start(&job, fileno(f), NULL, size, threads, &e), MRO_OK);
            assert_int_equal(mro_hash_finish(job, "stack.tif", hex, &e), MRO_EIO);
            assert_string_equal(e.message, "'stack.tif' was cut short while it was read");
            assert_string_equal(hex, "");
        }
    fclose(f);
}

static void no_job_gives_no_digest(void **state)
{
    char hex[65] = "x";
    (void)state;
    assert_int_equal(mro_hash_finish(NULL, "bytes", hex, NULL), MRO_OK);
    assert_string_equal(hex, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(known_digests), cmocka_unit_test(sums_of_parts),
                                        cmocka_unit_test(a_file_that_was_cut_is_told_as_such),
                                        cmocka_unit_test(no_job_gives_no_digest) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

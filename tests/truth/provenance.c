/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Digests of the SHA-256 standard (FIPS 180-4, examples), and an input that spans many blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/provenance.h"

static void check(const void *p, size_t size, const char *expected)
{
    struct mro_hash_job *job;
    char hex[65];
    assert_int_equal(mro_hash_start(&job, -1, p, size, NULL), MRO_OK);
    assert_int_equal(mro_hash_finish(job, hex, NULL), MRO_OK);
    assert_string_equal(hex, expected);
}

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

static void no_job_gives_no_digest(void **state)
{
    char hex[65] = "x";
    (void)state;
    assert_int_equal(mro_hash_finish(NULL, hex, NULL), MRO_OK);
    assert_string_equal(hex, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(known_digests), cmocka_unit_test(no_job_gives_no_digest) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

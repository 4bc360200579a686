/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory that is refused, once for each place that asks for some: the run fails for want of memory, or its results and
 * files are what they are with it. The linker puts the functions below in place of malloc and its kin in all code of
 * ours, and in no library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>

#include "mroscope/error.h"
#include "mroscope/run.h"

/* Where memory is asked for, by the address that the call returns to. */
struct place {
    const void *at;
    size_t calls;
};

static struct {
    enum { PASSING, COUNTING, REFUSING } now;
    struct place of[1024];
    size_t n;
    const void *at; /* whose call number `left` is refused */
    size_t left;
} asked;

extern const char __executable_start; /* addr2line knows an address from there on */

static bool refused(const void *at)
{
    if (asked.now == REFUSING) return at == asked.at && --asked.left == 0;
    if (asked.now == PASSING) return false;
    size_t i = 0;
    while (i < asked.n && asked.of[i].at != at) i++;
    assert_true(i < sizeof asked.of / sizeof *asked.of);
    asked.of[i].at = at;
    asked.of[i].calls++;
    asked.n += i == asked.n;
    return false;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n) { return refused(__builtin_return_address(0)) ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size)
{
    return refused(__builtin_return_address(0)) ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n) { return refused(__builtin_return_address(0)) ? NULL : __real_realloc(p, n); }
char *__wrap_strdup(const char *s) { return refused(__builtin_return_address(0)) ? NULL : __real_strdup(s); }

/* A run of a verb, given its arguments up to a NULL. */
static struct mro_run *run(const char *const *argument, enum mro_code *rc)
{
    struct mro_run *r = mro_run_new();
    *rc = MRO_EMEMORY;
    if (r == NULL) return NULL;
    mro_run_keep(r, true, false);
    for (size_t i = 1; argument[i]; i++)
        if (mro_run_argument(r, argument[i])) return r;
    *rc = (enum mro_code)mro_run_start(r, argument[0]);
    return r;
}

/* The first thing in which two runs differ; NULL: none. */
static const char *difference(const struct mro_run *a, const struct mro_run *b)
{
    if (mro_run_results(a) != mro_run_results(b)) return "the number of results";
    for (size_t i = 0; i < mro_run_results(a); i++)
        if (strcmp(mro_run_result(a, i), mro_run_result(b, i)) != 0) return "a result";
    if (mro_run_files(a) != mro_run_files(b)) return "the number of files";
    for (size_t i = 0; i < mro_run_files(a); i++) {
        size_t n, m;
        const void *p = mro_run_file(a, i, &n), *q = mro_run_file(b, i, &m);
        if (strcmp(mro_run_file_name(a, i), mro_run_file_name(b, i)) != 0 || n != m || memcmp(p, q, n) != 0)
            return mro_run_file_name(a, i);
    }
    return NULL;
}

static void refuse_each(const char *const *argument)
{
    enum mro_code rc;
    struct mro_run *whole = run(argument, &rc); /* after which caches are full */
    if (rc) fail_msg("%s: %s", argument[0], mro_run_message(whole));
    asked.n = 0;
    asked.now = COUNTING;
    struct mro_run *again = run(argument, &rc);
    asked.now = PASSING;
    assert_int_equal(rc, MRO_OK);
    assert_null(difference(whole, again));
    mro_run_free(again);
    size_t wrong = 0;
    for (size_t i = 0; i < asked.n; i++) {
        const size_t calls[] = { 1, asked.of[i].calls };
        for (size_t k = 0; k < (calls[1] > 1 ? 2 : 1); k++) {
            asked.at = asked.of[i].at;
            asked.left = calls[k];
            asked.now = REFUSING;
            struct mro_run *r = run(argument, &rc);
            asked.now = PASSING;
            const char *differs = rc == MRO_OK ? difference(whole, r) : NULL;
            if (rc != MRO_EMEMORY && (rc != MRO_OK || differs)) {
                print_error("%s: call %zu of %zu of %#tx refused: code %d, %s\n", argument[0], calls[k], calls[1],
                            (const char *)asked.at - &__executable_start, rc, rc ? mro_run_message(r) : differs);
                wrong++;
            }
            mro_run_free(r);
        }
    }
    mro_run_free(whole);
    assert_int_equal(wrong, 0);
}

#define SAMPLE(name) MROSCOPE_SAMPLES "/" name
static void verb(void **state) { refuse_each(*state); }

int main(int argc, char **argv)
{
    static const char *const runs[][16] = {
        { "shearband", "--threads=1", "--surrogates=99", "--alpha=0.02", SAMPLE("stem/shearband.tif") },
        { "lattice", "--threads=1", "--reference-d=0.2027", SAMPLE("stem/nanocrystal.tif") },
        { "haadf", "--threads=1", "--surrogates=299", SAMPLE("stem/haadf_aged.tif") },
        { "mro", "--threads=1", "--kv=200", "--cs=1.2", "--d=0.5", "--band=1.6,2.5", "--surrogates=8",
          SAMPLE("AQ_0_corr.tif") },
        { "pdf", "--threads=1", "--kv=200", "--composition=Fe78Si9B13", "--draws=50", SAMPLE("stem/saed_glass.tif") },
        { "eds", "--threads=1", "--draws=99", SAMPLE("eds_line.csv") },
        { "indent", "--threads=1", "--unit=GPa", "--pitch=10um", "--bins=x", SAMPLE("stem/hardness_14x14.csv") },
        { "compare", SAMPLE("states.csv") },
        { "bandpass", "--threads=1", SAMPLE("AQ_0_corr.tif") },
    };
    struct CMUnitTest tests[sizeof runs / sizeof *runs];
    size_t n = 0;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        if (argc < 2 || strcmp(argv[1], runs[i][0]) == 0)
            tests[n++] = (struct CMUnitTest){ .name = runs[i][0], .test_func = verb, .initial_state = (void *)runs[i] };
    if (n == 0) return 2;   /* no such verb */
    omp_set_num_threads(1); /* for what has no such option */
    return _cmocka_run_group_tests("memory", tests, n, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A lock is kept alive for its owner alone: one that a dead process of another machine left stays as old as it is,
 * whoever would like to have it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "session/store.h"

static time_t age(const char *path, bool make_old)
{
    struct stat st;
    const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    if (make_old) assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mtime;
}

static void only_the_owner_touches_a_lock(void **state)
{
    char folder[] = "/tmp/mroscope-store-XXXXXX", own[64], other[64];
    struct mro_store s;
    struct mro_error e;
    bool mine = false;
    const long pid = (long)getpid();
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(own, sizeof own, "%s/items/own.lock", folder);
    snprintf(other, sizeof other, "%s/items/other.lock", folder);
    if (mro_store_open(&s, folder, &e)) fail_msg("%s", e.message);
    if (mro_store_lock(&s, "own", &mine, &e)) fail_msg("%s", e.message);
    assert_true(mine);
    FILE *f = fopen(other, "w");
    assert_non_null(f);
    fprintf(f, "{\"pid\": %ld, \"host\": \"elsewhere.example\", \"start\": 1}\n", pid);
    fclose(f);
    assert_int_equal(age(own, true), 1000);
    assert_int_equal(age(other, true), 1000);
    mro_store_touch(&s, "own", pid);
    mro_store_touch(&s, "other", pid);
    mro_store_touch(&s, "none", pid);
    assert_true(age(own, false) > 1000);
    assert_int_equal(age(other, false), 1000);
    assert_int_equal(age(own, true), 1000);
    mro_store_touch(&s, "own", pid + 1);
    assert_int_equal(age(own, false), 1000);
    mro_store_remove_tree(folder);
    mro_store_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(only_the_owner_touches_a_lock) };
    return cmocka_run_group_tests_name("store_lock", tests, NULL, NULL);
}

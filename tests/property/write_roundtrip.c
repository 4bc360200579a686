/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is written is read back: pixels bit by bit, calibration to the last digits; and a file that cannot
 * be written leaves nothing behind, nor harms one of that name. */
#define _GNU_SOURCE /* O_TMPFILE */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/write.h"
#include "mroscope/file.h"

static char folder[64], path[96];

#ifdef O_TMPFILE
/* In place of the system's: a disk that knows files without a name, and lets none have one. */
static bool no_links;

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    if (!no_links) return (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
    errno = EOPNOTSUPP;
    return -1;
}
#endif

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mroscope-write-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/map.tif", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails when anything else was left there */
}

static size_t files_in_folder(void)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (const struct dirent *x; (x = readdir(d)) != NULL;) n += x->d_name[0] != '.' || strlen(x->d_name) > 2;
    closedir(d);
    return n;
}

static double next(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (double)(*random >> 11) / 9007199254740992.0;
}

static void images_come_back_as_they_were(void **state)
{
    static const char *const units[] = { "nm", "1/nm", "\xc2\xb5m", "eV", "furlong", "\xe2\x84\xab" };
    uint64_t random = 2024;
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct mro_image im, back;
        struct mro_file *f;
        struct mro_error e;
        const size_t nx = 1 + (size_t)(40 * next(&random)), ny = 1 + (size_t)(40 * next(&random));
        size_t not_finite = 0;
        assert_int_equal(mro_image_alloc(&im, ny, nx, NULL), MRO_OK);
        for (size_t k = 0; k < nx * ny; k++) {
            im.px[k] = (float)(1e3 * (next(&random) - 0.5));
            if (next(&random) < 0.05) im.px[k] = NAN, not_finite++;
        }
        /* Both axes, one or none calibrated; steps over ten decades, not the same along x and y. */
        const char *unit = units[i % 6];
        for (int a = 0; a < 2; a++) {
            const double step = pow(10, 10 * next(&random) - 4), offset = i % 3 ? 0 : step * (100 * next(&random) - 50);
            if (i / 6 % 4 != 3 && (i / 6 % 4 == 0 || i / 6 % 4 == 1 + a))
                mro_axis_set(&im.axis[a], step, offset, i % 5 ? unit : a ? unit : "nm", MRO_SOURCE_VENDOR);
        }
        if (mro_write_tiff(path, &im, &e)) fail_msg("%s", e.message);
        if (mro_file_open(&f, path, 0, &e)) fail_msg("%s", e.message);
        assert_null(mro_file_warning(f, 0));
        if (mro_file_read(f, 0, 0, &back, &e)) fail_msg("%s", e.message);
        assert_true(back.nx == nx && back.ny == ny && back.not_finite == not_finite);
        for (size_t k = 0; k < nx * ny; k++) assert_true(isnan(im.px[k]) ? isnan(back.px[k]) : im.px[k] == back.px[k]);
        for (int a = 0; a < 2; a++) {
            assert_int_equal(back.axis[a].unit, im.axis[a].unit);
            if (im.axis[a].unit == MRO_UNIT_OTHER) assert_string_equal(back.axis[a].unit_text, im.axis[a].unit_text);
            if (!(fabs(back.axis[a].step - im.axis[a].step) <= 1e-9 * im.axis[a].step))
                fail_msg("image %d axis %d: step %.17g, not %.17g", i, a, back.axis[a].step, im.axis[a].step);
            assert_true(fabs(back.axis[a].offset - im.axis[a].offset) <= 1e-8 * fabs(im.axis[a].offset));
            assert_int_equal(back.axis[a].source != MRO_SOURCE_UNKNOWN, im.axis[a].step > 0);
        }
        mro_file_close(f);
        mro_image_release(&im);
        mro_image_release(&back);
    }
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(unlink(path), 0);
}

static void a_new_file_has_the_usual_permissions(void **state)
{
    struct stat st;
    const mode_t mask = umask(027);
    (void)state;
    assert_int_equal(mro_write_buffer(path, "abc", 3, NULL), MRO_OK);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(unlink(path), 0);
}

#ifdef O_TMPFILE
static void what_may_have_no_name_is_copied(void **state)
{
    static char written[40000], back[sizeof written];
    (void)state;
    for (size_t i = 0; i < sizeof written; i++) written[i] = (char)(i % 251);
    no_links = true;
    const enum mro_code rc = mro_write_buffer(path, written, sizeof written, NULL);
    no_links = false;
    assert_int_equal(rc, MRO_OK);
    assert_int_equal(files_in_folder(), 1);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    assert_int_equal(fread(back, 1, sizeof back, in), sizeof back);
    assert_int_equal(fgetc(in), EOF);
    fclose(in);
    assert_memory_equal(back, written, sizeof back);
    assert_int_equal(unlink(path), 0);
}
#endif

static void what_cannot_be_written_says_so_and_leaves_nothing(void **state)
{
    struct mro_image im;
    struct mro_error e;
    char other[160];
    (void)state;
    assert_int_equal(mro_image_alloc(&im, 64, 64, NULL), MRO_OK);
    memset(im.px, 0, 64 * 64 * sizeof(float));
    snprintf(other, sizeof other, "%s/missing/map.tif", folder);
    assert_int_equal(mro_write_tiff(other, &im, &e), MRO_EIO);
    assert_non_null(strstr(e.message, other));
    assert_non_null(strstr(e.message, strerror(ENOENT)));
    assert_int_equal(mro_write_tiff(folder, &im, &e), MRO_EIO);
    assert_non_null(strstr(e.message, "is a directory"));
    assert_int_equal(files_in_folder(), 0);
    struct mro_image none = { 0 };
    assert_int_equal(mro_write_tiff(path, &none, &e), MRO_EARG);

    if (geteuid() != 0) { /* root writes everywhere */
        assert_int_equal(chmod(folder, 0500), 0);
        assert_int_equal(mro_write_tiff(path, &im, &e), MRO_EIO);
        assert_int_equal(chmod(folder, 0700), 0);
        assert_non_null(strstr(e.message, strerror(EACCES)));
        assert_int_equal(files_in_folder(), 0);
    }

    /* A file of that name stays what it was when the new one does not fit on the disk. */
    assert_int_equal(mro_write_buffer(path, "old", 3, &e), MRO_OK);
    struct rlimit was, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 4096;
    void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const enum mro_code rc = mro_write_tiff(path, &im, &e);
    const enum mro_code rc2 = mro_write_buffer(path, im.px, 5000, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, MRO_EIO);
    assert_int_equal(rc2, MRO_EIO);
    assert_non_null(strstr(e.message, path));
    assert_non_null(strstr(e.message, strerror(EFBIG)));
    assert_int_equal(files_in_folder(), 1);
    FILE *in = fopen(path, "rb");
    char text[8] = "";
    assert_non_null(in);
    assert_int_equal(fread(text, 1, 7, in), 3);
    fclose(in);
    assert_string_equal(text, "old");
    assert_int_equal(unlink(path), 0);
    mro_image_release(&im);
}

/* Whether the disk knows files without a name. */
static bool has_unnamed_files(void)
{
#ifdef O_TMPFILE
    const int fd = open(folder, O_WRONLY | O_TMPFILE, 0666);
    if (fd >= 0) close(fd);
    return fd >= 0 && access("/proc/self/fd", X_OK) == 0;
#else
    return false;
#endif
}

static void a_half_written_file_is_not_seen_and_an_aborted_one_is_gone(void **state)
{
    struct mro_write w;
    (void)state;
    assert_int_equal(mro_write_begin(&w, path, NULL), MRO_OK);
    fputs("half", w.out);
    assert_int_equal(files_in_folder(), has_unnamed_files() ? 0 : 1);
    mro_write_abort(&w);
    assert_int_equal(files_in_folder(), 0);
    mro_write_abort(&w);
    mro_write_abort(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_come_back_as_they_were),
        cmocka_unit_test(a_new_file_has_the_usual_permissions),
#ifdef O_TMPFILE
        cmocka_unit_test(what_may_have_no_name_is_copied),
#endif
        cmocka_unit_test(what_cannot_be_written_says_so_and_leaves_nothing),
        cmocka_unit_test(a_half_written_file_is_not_seen_and_an_aborted_one_is_gone),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

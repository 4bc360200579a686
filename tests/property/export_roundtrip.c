/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every pixel type, shape and calibration written as TIFF comes back as it was, bit by bit; MRC is looked at byte by
 * byte; frames read ahead are those of the file, in order, at any depth. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/export.h"
#include "io/reader.h"
#include "io/stream.h"

static char folder[64], path[96];
static struct mro_error e;

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mroscope-export-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/out.tif", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static uint64_t random_state = 7;
static uint64_t next_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 13;
}
static double uniform(void) { return (double)(next_bits() & 0xffffffff) / 4294967296.0; }

struct frames {
    unsigned char *bytes;
    size_t each, at, fail_at;
};

static enum mro_code give(void *context, const void **pixels, struct mro_error *err)
{
    struct frames *f = context;
    if (f->at == f->fail_at) return MRO_FAIL(err, MRO_EFORMAT, "frame %zu is bad", f->at);
    *pixels = f->bytes + f->each * f->at++;
    return MRO_OK;
}

static struct frames random_frames(size_t each, size_t n)
{
    struct frames f = { malloc(each * n), each, 0, SIZE_MAX };
    assert_non_null(f.bytes);
    for (size_t i = 0; i < each * n; i++) f.bytes[i] = (unsigned char)next_bits();
    return f;
}

static void set_axis(struct mro_axis *a, size_t size, double step, double offset, const char *unit)
{
    a->size = size;
    mro_axis_set(a, step, offset, unit, MRO_SOURCE_VENDOR);
}

static void check_axis(const struct mro_axis *got, const struct mro_axis *want)
{
    assert_int_equal(got->size, want->size);
    assert_true((got->step > 0) == (want->step > 0));
    if (!(want->step > 0)) return;
    assert_int_equal(got->unit, want->unit);
    if (want->unit == MRO_UNIT_OTHER) assert_string_equal(got->unit_text, want->unit_text);
    assert_true(fabs(got->step / want->step - 1) < 1e-9);
    assert_true(fabs(got->offset - want->offset) <= 1e-8 * (fabs(want->offset) + want->step));
}

static void every_type_comes_back(void **state)
{
    static const char *const units[] = { "nm", "1/nm", "\xc2\xb5m", "furlong", "mrad" };
    (void)state;
    for (int i = 0; i < 17 * 12; i++) {
        struct mro_image_info info = { .dtype = (enum mro_dtype)(i % 17) };
        struct mro_file *f;
        const size_t nx = 1 + (size_t)(30 * uniform()), ny = 1 + (size_t)(30 * uniform());
        size_t frames = 1;
        info.stage_tilt_deg[0] = info.stage_tilt_deg[1] = NAN;
        const int leading = i / 17 % 4; /* a plain image, or a stack of one to three axes */
        for (int k = 0; k < leading; k++) {
            const size_t size = 2 + (size_t)(3 * uniform());
            set_axis(&info.axis[info.axes++], size, k == 0 && leading > 1 ? 0.25 : 0, 0, "s");
            frames *= size;
        }
        if (leading == 1 && i % 2) set_axis(&info.axis[0], frames, 1.5, 0, "nm");
        /* Both axes, one or none calibrated, not the same along x and y. */
        const char *unit = units[i % 5];
        const double step = pow(10, 8 * uniform() - 4), offset = i % 3 ? 0 : step * (80 * uniform() - 40);
        set_axis(&info.axis[info.axes++], ny, i % 7 == 5 ? 0 : step * (i % 2 ? 1 : 1.7), offset, unit);
        set_axis(&info.axis[info.axes++], nx, i % 7 >= 5 ? 0 : step, offset, unit);
        info.frames = frames;
        if (i % 4 == 1) {
            info.beam_kv = 300;
            info.magnification = 195000;
            info.binning[0] = info.binning[1] = 2;
            info.stage_tilt_deg[0] = -3.25;
            snprintf(info.detector, sizeof info.detector, "OneView \xc3\xa9");
            snprintf(info.title, sizeof info.title, "a = b");
            snprintf(info.date, sizeof info.date, "2015-07-30T07:17:25");
        }
        struct frames source = random_frames(nx * ny * mro_dtype_size(info.dtype), frames);
        const struct mro_export job = {
            .info = &info, .frames = frames, .notes = "source_format=test\n", .next = give, .context = &source
        };
        if (mro_export_tiff(path, &job, &e)) fail_msg("%s", e.message);
        if (mro_file_open(&f, path, 0, &e)) fail_msg("%s", e.message);
        if (mro_file_warning(f, 0)) fail_msg("%s", mro_file_warning(f, 0));
        assert_int_equal(mro_file_images(f), 1);
        const struct mro_image_info *got = mro_file_info(f, 0);
        assert_int_equal(got->dtype, info.dtype);
        assert_int_equal(got->frames, frames);
        assert_int_equal(got->axes, info.axes);
        for (size_t k = 0; k < info.axes; k++) check_axis(&got->axis[k], &info.axis[k]);
        assert_true(got->beam_kv == info.beam_kv && got->magnification == info.magnification);
        assert_true(got->binning[0] == info.binning[0]);
        assert_true(isnan(info.stage_tilt_deg[0]) ? isnan(got->stage_tilt_deg[0]) : got->stage_tilt_deg[0] == -3.25);
        assert_string_equal(got->detector, info.detector);
        assert_string_equal(got->title, info.title);
        assert_string_equal(got->date, info.date);
        unsigned char *back = malloc(source.each);
        assert_non_null(back);
        for (size_t k = 0; k < frames; k++) {
            if (mro_file_read_stored(f, 0, k, back, &e)) fail_msg("%s", e.message);
            assert_memory_equal(back, source.bytes + k * source.each, source.each);
        }
        free(back);
        free(source.bytes);
        mro_file_close(f);
    }
    assert_int_equal(unlink(path), 0);
}

static int32_t word(const unsigned char *p, int number)
{
    int32_t v;
    memcpy(&v, p + 4 * (number - 1), 4); /* as the definition counts */
    return v;
}

static float real(const unsigned char *p, int number)
{
    float v;
    memcpy(&v, p + 4 * (number - 1), 4);
    return v;
}

static void mrc_is_as_defined(void **state)
{
    static const struct {
        enum mro_dtype dtype;
        int mode; /* -1: refused */
    } types[] = { { MRO_U8, 0 },   { MRO_I8, 0 },   { MRO_U16, 6 },   { MRO_I16, 1 },   { MRO_U32, -1 },
                  { MRO_I32, -1 }, { MRO_U64, -1 }, { MRO_I64, -1 },  { MRO_F16, 12 },  { MRO_F32, 2 },
                  { MRO_F64, -1 }, { MRO_C64, 4 },  { MRO_C128, -1 }, { MRO_RGB8, -1 }, { MRO_RGBA16, -1 } };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int scaled = 0; scaled < 2; scaled++) {
            struct mro_image_info info = { .dtype = types[i].dtype, .axes = 3, .frames = 3 };
            set_axis(&info.axis[0], 3, 0, 0, "");
            set_axis(&info.axis[1], 5, 0.03, 0, scaled ? "nm" : "1/nm");
            set_axis(&info.axis[2], 7, 0.02, 0, scaled ? "nm" : "1/nm");
            assert_true(mro_export_mrc_holds_scale(&info) == (scaled == 1));
            const size_t all = 3 * 5 * 7 * mro_dtype_size(info.dtype);
            struct frames source = random_frames(all / 3, 3);
            const struct mro_export job = {
                .info = &info, .frames = 3, .notes = NULL, .next = give, .context = &source
            };
            const enum mro_code rc = mro_export_mrc(path, &job, &e);
            if (types[i].mode < 0) {
                assert_int_equal(rc, MRO_EARG);
                assert_non_null(strstr(e.message, mro_dtype_name(info.dtype)));
                assert_int_not_equal(access(path, F_OK), 0);
                free(source.bytes);
                continue;
            }
            if (rc) fail_msg("%s", e.message);
            unsigned char *back = malloc(1024 + all + 1);
            FILE *in = fopen(path, "rb");
            assert_true(back && in);
            assert_int_equal(fread(back, 1, 1024 + all + 1, in), 1024 + all);
            fclose(in);
            assert_true(word(back, 1) == 7 && word(back, 2) == 5 && word(back, 3) == 3);
            assert_int_equal(word(back, 4), types[i].mode);
            assert_true(word(back, 8) == 7 && word(back, 9) == 5 && word(back, 10) == 1);
            assert_true(fabsf(real(back, 11) - (scaled ? 1.4f : 0)) < 1e-6f); /* Angstrom */
            assert_true(fabsf(real(back, 12) - (scaled ? 1.5f : 0)) < 1e-6f);
            assert_true(real(back, 14) == 90 && real(back, 16) == 90);
            assert_true(word(back, 17) == 1 && word(back, 18) == 2 && word(back, 19) == 3);
            assert_true(real(back, 21) < real(back, 20) && real(back, 22) < real(back, 21)); /* not determined */
            assert_true(word(back, 23) == 0 && word(back, 24) == 0 && word(back, 28) == 20140 && word(back, 56) == 1);
            assert_memory_equal(back + 208, "MAP ", 4);
            if (types[i].mode == 0) {
                assert_int_equal(word(back, 39), 1146047817);
                assert_int_equal(word(back, 40) & 1, info.dtype == MRO_I8);
            }
            assert_memory_equal(back + 1024, source.bytes, all);
            free(back);
            free(source.bytes);
            assert_int_equal(unlink(path), 0);
        }
}

static void what_breaks_off_leaves_nothing(void **state)
{
    struct mro_image_info info = { .dtype = MRO_U8, .axes = 3, .frames = 4 };
    (void)state;
    set_axis(&info.axis[0], 4, 0, 0, "");
    set_axis(&info.axis[1], 8, 0, 0, "");
    set_axis(&info.axis[2], 8, 0, 0, "");
    for (int mrc = 0; mrc < 2; mrc++) {
        struct frames source = random_frames(64, 4);
        const struct mro_export job = { .info = &info, .frames = 4, .notes = NULL, .next = give, .context = &source };
        source.fail_at = 2;
        assert_int_equal((mrc ? mro_export_mrc : mro_export_tiff)(path, &job, &e), MRO_EFORMAT);
        assert_string_equal(e.message, "frame 2 is bad");
        assert_int_not_equal(access(path, F_OK), 0);
        free(source.bytes);
    }
}

static bool odd(const void *context, size_t frame)
{
    (void)context;
    return frame % 2 == 1;
}

static void frames_come_in_order_at_any_depth(void **state)
{
    enum { FRAMES = 40, EACH = 24 * 16 };
    struct mro_image_info info = { .dtype = MRO_F32, .axes = 3, .frames = FRAMES };
    float *pixels = malloc(FRAMES * EACH * sizeof *pixels);
    struct mro_file *f;
    (void)state;
    assert_non_null(pixels);
    for (size_t i = 0; i < FRAMES * EACH; i++) pixels[i] = (float)i;
    set_axis(&info.axis[0], FRAMES, 0, 0, "");
    set_axis(&info.axis[1], 16, 0, 0, "");
    set_axis(&info.axis[2], 24, 0, 0, "");
    struct frames source = { (unsigned char *)pixels, EACH * sizeof *pixels, 0, SIZE_MAX };
    const struct mro_export job = { .info = &info, .frames = FRAMES, .notes = NULL, .next = give, .context = &source };
    if (mro_export_tiff(path, &job, &e)) fail_msg("%s", e.message);
    for (size_t depth = 0; depth <= 5; depth++)
        for (int part = 0; part < 3; part++) { /* all, every other, and a stream closed early */
            const bool unread = depth == 5;    /* and depth 0 */
            struct mro_stream *s;
            struct mro_image im;
            size_t frame, warnings, n = 0;
            bool more = true;
            if (mro_file_open(&f, path, 0, &e)) fail_msg("%s", e.message);
            const struct mro_stream_plan plan = {
                .file = f, .wanted = part == 1 ? odd : NULL, .depth = unread ? 0 : depth, .threads = 1, .unread = unread
            };
            assert_true(mro_file_lies_open(f, 0));
            if (mro_stream_open(&s, &plan, &e)) fail_msg("%s", e.message);
            while (!(part == 2 && n == 3)) {
                if (mro_stream_next(s, &more, &im, &frame, &warnings, &e)) fail_msg("%s", e.message);
                if (!more) break;
                assert_true(unread == (im.px == NULL));
                if (unread && mro_stream_read(s, frame, &im, &e)) fail_msg("%s", e.message);
                assert_int_equal(frame, part == 1 ? 2 * n + 1 : n);
                assert_int_equal(warnings, 0);
                assert_memory_equal(im.px, pixels + frame * EACH, EACH * sizeof *pixels);
                n++;
                if (n % 3)
                    mro_stream_give_back(s, &im);
                else
                    mro_image_release(&im);
            }
            assert_int_equal(n, part == 1 ? FRAMES / 2 : part == 2 ? 3 : FRAMES);
            mro_stream_close(s);
            mro_file_close(f);
        }
    /* A file that is cut while it is read: the frames before come, then one sentence. */
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (size_t depth = 0; depth < 6; depth += 2) {
        struct mro_stream *s;
        struct mro_image im;
        size_t frame, warnings, n = 0;
        bool more = true;
        enum mro_code rc;
        source.at = 0;
        if (mro_export_tiff(path, &job, &e)) fail_msg("%s", e.message);
        if (mro_file_open(&f, path, 0, &e)) fail_msg("%s", e.message);
        const struct mro_stream_plan plan = { .file = f, .depth = depth % 4, .unread = depth == 4 };
        assert_int_equal(truncate(path, st.st_size / 2), 0);
        if (mro_stream_open(&s, &plan, &e)) fail_msg("%s", e.message);
        while ((rc = mro_stream_next(s, &more, &im, &frame, &warnings, &e)) == MRO_OK && more) {
            if (plan.unread && (rc = mro_stream_read(s, frame, &im, &e))) break;
            assert_int_equal(frame, n++);
            mro_stream_give_back(s, &im);
        }
        assert_int_equal(rc, MRO_EIO);
        assert_non_null(strstr(e.message, path));
        assert_true(n > 10 && n < 30);
        mro_stream_close(s);
        mro_file_close(f);
    }
    free(pixels);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(mrc_is_as_defined),
        cmocka_unit_test(what_breaks_off_leaves_nothing),
        cmocka_unit_test(frames_come_in_order_at_any_depth),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

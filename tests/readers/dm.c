/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DM3 and DM4: real files against what other readers say of them; every pixel type in both versions and byte orders,
 * from files built here; files that are cut or lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/reader.h"
#include "mroscope/file.h"
#include "readers/data.h"

static void assert_sums(struct mro_file *f, size_t image, double min, double max, double mean, double sd, double sum)
{
    assert_near(assert_statistics(f, image, min, max, mean, sd), sum);
}

static void assert_named_axis(const struct mro_axis *a, size_t size, double step, double offset, enum mro_unit unit,
                              const char *unit_text)
{
    assert_axis(a, size, step, offset, unit);
    assert_string_equal(a->unit_text, unit_text);
}

static void assert_first(struct mro_file *f, size_t image, float a, float b, float c, float d)
{
    struct mro_image im;
    struct mro_error e;
    assert_int_equal(mro_file_read(f, image, 0, &im, &e), MRO_OK);
    assert_true(im.px[0] == a && im.px[1] == b && im.px[2] == c && im.px[3] == d);
    mro_image_release(&im);
}

/* ---- real files ---- */

static void test_image_and_plot(void **state)
{
    (void)state;
    struct mro_file *f = open_data("multi_signal.dm3");
    assert_string_equal(mro_file_format(f), "DM3");
    assert_int_equal(mro_file_images(f), 2); /* the third is the thumbnail */
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_string_equal(i->title, "HAADF");
    assert_int_equal(i->kind, MRO_KIND_IMAGE);
    assert_int_equal(i->dtype, MRO_U16);
    assert_int_equal(i->axes, 2);
    assert_int_equal(i->frames, 1);
    assert_named_axis(&i->axis[0], 512, 0.017751578241586685, 0, MRO_UNIT_NM, "nm");
    assert_named_axis(&i->axis[1], 512, 0.017751578241586685, 0, MRO_UNIT_NM, "nm");
    assert_near(i->beam_kv, 300);
    assert_near(i->magnification, 1e7);
    assert_near(i->camera_length_mm, 77);
    assert_string_equal(i->date, "2019-12-10T15:32:41");
    assert_string_equal(i->instrument, "Example Microscope");
    assert_string_equal(i->detector, "DigiScan");
    assert_near(i->stage_tilt_deg[0], 0.001951998453075299);
    assert_true(isnan(i->stage_tilt_deg[1]) && i->binning[0] == 0 && i->value_scale == 0);
    assert_sums(f, 0, 0, 9739, 3622.017879486084, 1341.8826170680868, 949490255);
    assert_first(f, 0, 195, 25, 106, 281);
    i = mro_file_info(f, 1);
    assert_string_equal(i->title, "Plot");
    assert_int_equal(i->kind, MRO_KIND_SPECTRUM);
    assert_int_equal(i->dtype, MRO_F32);
    assert_int_equal(i->axes, 1);
    assert_named_axis(&i->axis[0], 512, 0, 0, MRO_UNIT_NONE, "");
    assert_true(i->beam_kv == 0);
    assert_sums(f, 1, 0, 0.15786555409431458, 0.05485506411378083, 0.03268470530290385, 28.085792826255783);
    assert_first(f, 1, 0.04764660447835922f, 0.03129822388291359f, 0.043378666043281555f, 0.03616898134350777f);
    mro_file_close(f);
}

static void test_diffraction(void **state)
{
    (void)state;
    struct mro_file *f = open_data("test_diffraction_pattern.dm3");
    assert_int_equal(mro_file_images(f), 1);
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->kind, MRO_KIND_DIFFRACTION);
    assert_int_equal(i->dtype, MRO_I32);
    assert_named_axis(&i->axis[0], 87, 0.17443285882472992, 131.87124127149582, MRO_UNIT_INV_NM, "1/nm");
    assert_named_axis(&i->axis[1], 87, 0.17443285882472992, 137.10422703623772, MRO_UNIT_INV_NM, "1/nm");
    assert_near(i->beam_kv, 200);
    assert_true(i->magnification == 0 && i->camera_length_mm == 0);
    assert_string_equal(i->date, "2014-07-09T18:56:37");
    assert_true(i->binning[0] == 1 && i->binning[1] == 1 && isnan(i->stage_tilt_deg[0]));
    assert_string_equal(i->instrument, "FEI Tecnai");
    assert_string_equal(i->detector, "BM-UltraScan");
    assert_sums(f, 0, 625, 2974, 1249.8045977011495, 498.3493901654672, 9459771);
    assert_first(f, 0, 834, 823, 834, 718);
    mro_file_close(f);
}

static void test_stack(void **state)
{
    (void)state;
    struct mro_file *f = open_data("test_stackbuilder_imagestack.dm3");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->axes, 3);
    assert_int_equal(i->frames, 3);
    assert_int_equal(i->dtype, MRO_U32);
    assert_named_axis(&i->axis[0], 3, 0, 0, MRO_UNIT_NONE, "");
    assert_named_axis(&i->axis[1], 2, 59.98290330171585, 0, MRO_UNIT_NM, "\xc2\xb5m");
    assert_named_axis(&i->axis[2], 16, 59.98290330171585, 0, MRO_UNIT_NM, "\xc2\xb5m");
    /* The tags of the images it was built from. */
    assert_near(i->beam_kv, 200);
    assert_near(i->magnification, 200000);
    assert_near(i->camera_length_mm, 15);
    assert_string_equal(i->date, "2015-05-17T17:00:16");
    assert_string_equal(i->instrument, "JEM-ARM200F");
    assert_near(i->value_scale, 0.15674974024295807); /* (stored - 2228741.5) * 0.1567 e- */
    assert_near(i->value_offset, -2228741.5 * 0.15674974024295807);
    assert_string_equal(i->value_unit, "e-");
    assert_sums(f, 0, 593415, 640661, 610174.3645833334, 8934.590554552327, 58576739);
    assert_first(f, 0, 606491, 615402, 621457, 620374);
    mro_file_close(f);
}

static void test_two_units(void **state)
{
    (void)state;
    struct mro_file *f = open_data("dmTest_float32_nonSquare_diffPixelSize.dm4");
    assert_string_equal(mro_file_format(f), "DM4");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->dtype, MRO_F32);
    assert_named_axis(&i->axis[0], 64, 0.2, 0, MRO_UNIT_NM, "A"); /* 2 Angstrom */
    assert_named_axis(&i->axis[1], 128, 1, 0, MRO_UNIT_NM, "nm");
    assert_sums(f, 0, 0, 127, 63.5, 36.94928957368463, 520192);
    assert_first(f, 0, 0, 1, 2, 3);
    mro_file_close(f);
}

static void test_spectrum_image(void **state)
{
    (void)state;
    struct mro_file *f = open_data("EELS_SI.dm4");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->kind, MRO_KIND_SPECTRUM);
    assert_int_equal(i->axes, 3);
    assert_int_equal(i->frames, 2048);
    assert_named_axis(&i->axis[0], 2048, 1, 300, MRO_UNIT_EV, "eV");
    assert_named_axis(&i->axis[1], 2, 1.9920736085623503, 0, MRO_UNIT_NM, "\xc2\xb5m");
    assert_named_axis(&i->axis[2], 2, 1.9920736085623503, 0, MRO_UNIT_NM, "\xc2\xb5m");
    assert_near(i->beam_kv, 200);
    assert_near(i->camera_length_mm, 550);
    assert_string_equal(i->date, "2019-05-14T20:50:13");
    assert_string_equal(i->instrument, "FEI Titan");
    assert_string_equal(i->detector, "US1000FTXP 1");
    assert_true(i->binning[0] == 26 && i->binning[1] == 1); /* y, x */
    assert_true(isfinite(i->stage_tilt_deg[0]) && i->stage_tilt_deg[1] == 0);
    assert_near(i->value_scale, 0.1285347044467926);
    assert_sums(f, 0, -27.721435546875, 8634.40234375, 875.1305018365383, 1480.9431261496168, 7169069.071044922);
    assert_first(f, 0, 8473.005859375f, 7891.005859375f, 7923.005859375f, 8271.005859375f);
    mro_file_close(f);
}

static void test_half_plane(void **state)
{
    (void)state;
    struct mro_file *f = open_data("test_fft_packed_complex8.dm4");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->dtype, MRO_C64);
    assert_int_equal(i->axis[0].size, 5);
    assert_int_equal(i->axis[1].size, 4);
    assert_int_equal(i->axis[1].unit, MRO_UNIT_NONE);
    struct mro_statistics s;
    struct mro_error e;
    assert_int_equal(mro_file_statistics(f, 0, &s, &e), MRO_OK);
    /* The expected numbers are sums of magnitudes rounded to float32. */
    assert_true(fabs(s.sum - 105.67582218499163) < 1e-6 && fabs(s.sd - 12.28593785548866) < 1e-6);
    assert_true(s.max == 50 && fabs(s.min - 5.963432414546332e-08) < 1e-14);
    float complex v[20];
    assert_int_equal(f->reader->read(f, 0, 0, v, &e), MRO_OK);
    const float expected[4][2] = { { 5.960464477539063e-08f, -1.88132531775409e-09f },
                                   { 5.960464477539063e-08f, -5.375889600145456e-08f },
                                   { -2.384185791015625e-07f, -0.0f },
                                   { 5.960464477539063e-08f, 5.375889600145456e-08f } };
    for (int k = 0; k < 4; k++) assert_true(crealf(v[k]) == expected[k][0] && cimagf(v[k]) == expected[k][1]);
    mro_file_close(f);
}

static void test_colour(void **state)
{
    (void)state;
    struct mro_file *f = open_data("2D_test-23.dm4");
    assert_int_equal(mro_file_info(f, 0)->dtype, MRO_RGBA8);
    assert_sums(f, 0, 0, 4, 1.875, 1.4523687548277813, 30);
    assert_first(f, 0, 1, 2, 3, 4);
    assert_non_null(strstr(mro_file_warning(f, 0), "colour"));
    mro_file_close(f);
}

/* ---- files built here ---- */

struct build {
    unsigned char *b;
    size_t n, room;
    bool dm4, big;
};

static void put(struct build *o, const void *p, size_t n)
{
    if (o->n + n > o->room) {
        o->room = 2 * (o->n + n);
        o->b = realloc(o->b, o->room);
        assert_non_null(o->b);
    }
    if (n > 0) memcpy(o->b + o->n, p, n);
    o->n += n;
}

static void put_number(struct build *o, uint64_t v, size_t bytes, bool big)
{
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)(v >> 8 * (big ? bytes - 1 - i : i));
        put(o, &c, 1);
    }
}

static void put_word(struct build *o, uint64_t v) { put_number(o, v, o->dm4 ? 8 : 4, true); }

static void put_head(struct build *o, uint64_t tags)
{
    put_number(o, o->dm4 ? 4 : 3, 4, true);
    put_word(o, 0);
    put_number(o, !o->big, 4, true);
    put_number(o, 0x0100, 2, true);
    put_word(o, tags);
}

static void put_tag(struct build *o, unsigned kind, const char *name)
{
    put_number(o, kind, 1, true);
    put_number(o, strlen(name), 2, true);
    put(o, name, strlen(name));
    if (o->dm4) put_number(o, 0, 8, true);
}

static void put_group(struct build *o, const char *name, uint64_t tags)
{
    put_tag(o, 20, name);
    put_number(o, 0x0100, 2, true);
    put_word(o, tags);
}

static void put_info(struct build *o, const char *name, size_t words, const uint64_t *word)
{
    put_tag(o, 21, name);
    put(o, "%%%%", 4);
    put_word(o, words);
    for (size_t i = 0; i < words; i++) put_word(o, word[i]);
}

static void put_u32(struct build *o, const char *name, uint32_t v)
{
    put_info(o, name, 1, (const uint64_t[]){ 5 });
    put_number(o, v, 4, o->big);
}

static void put_f32(struct build *o, const char *name, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    put_info(o, name, 1, (const uint64_t[]){ 6 });
    put_number(o, bits, 4, o->big);
}

static void put_text(struct build *o, const char *name, const char *text)
{
    put_info(o, name, 3, (const uint64_t[]){ 20, 4, strlen(text) });
    for (; *text; text++) put_number(o, (unsigned char)*text, 2, o->big);
}

/* One image; the caller appends `samples` values of `sample_bytes` as the last tag's contents. */
static void put_image(struct build *o, unsigned type, size_t axes, const uint32_t *size, size_t samples,
                      size_t sample_bytes)
{
    put_head(o, 1);
    put_group(o, "ImageList", 1);
    put_group(o, "", 2);
    put_text(o, "Name", "built");
    put_group(o, "ImageData", 4);
    put_group(o, "Calibrations", 1);
    put_group(o, "Dimension", 1);
    put_group(o, "", 3);
    put_f32(o, "Origin", 2);
    put_f32(o, "Scale", 0.25f);
    put_text(o, "Units", "nm");
    put_u32(o, "DataType", type);
    put_group(o, "Dimensions", axes);
    for (size_t i = 0; i < axes; i++) put_u32(o, "", size[i]);
    static const uint64_t by_bytes[] = { 0, 10, 4, 0, 5, 0, 0, 0, 12 };
    put_info(o, "Data", 3, (const uint64_t[]){ 20, by_bytes[sample_bytes], samples });
}

static uint64_t bits_of(double v, size_t bytes)
{
    uint64_t bits;
    if (bytes == 4) {
        const float s = (float)v;
        uint32_t b32;
        memcpy(&b32, &s, 4);
        return b32;
    }
    memcpy(&bits, &v, 8);
    return bits;
}

static void test_pixel_types(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        enum mro_dtype dtype;
        size_t bytes;
        char number; /* s, u, f, c, w (colour word) */
    } types[] = {
        { 1, MRO_I16, 2, 's' },    { 2, MRO_F32, 4, 'f' },  { 3, MRO_C64, 4, 'c' },   { 6, MRO_U8, 1, 'u' },
        { 7, MRO_I32, 4, 's' },    { 8, MRO_RGB8, 4, 'w' }, { 9, MRO_I8, 1, 's' },    { 10, MRO_U16, 2, 'u' },
        { 11, MRO_U32, 4, 'u' },   { 12, MRO_F64, 8, 'f' }, { 13, MRO_C128, 8, 'c' }, { 14, MRO_U8, 1, 'u' },
        { 23, MRO_RGBA8, 4, 'w' }, { 39, MRO_I64, 8, 's' }, { 40, MRO_U64, 8, 'u' },
    };
    enum { N = 3 * 2 * 2 * 2 };
    static const uint32_t size[] = { 3, 2, 2, 2 };
    for (size_t k = 0; k < 4 * (sizeof types / sizeof *types); k++) {
        const size_t t = k / 4, bytes = types[t].bytes;
        const char number = types[t].number;
        struct build o = { .dm4 = k & 1, .big = k & 2 };
        double expected[N];
        put_image(&o, types[t].type, 4, size, N * (number == 'c' ? 2 : 1), bytes);
        for (int i = 0; i < N; i++) {
            if (number == 's' || number == 'u') {
                expected[i] = number == 's' && i % 2 ? -3.0 * i : 5.0 * i;
                put_number(&o, (uint64_t)(int64_t)expected[i], bytes, o.big);
            } else if (number == 'f') {
                expected[i] = 0.5 * i - 2;
                put_number(&o, bits_of(expected[i], bytes), bytes, o.big);
            } else if (number == 'c') {
                expected[i] = 5 * i;
                put_number(&o, bits_of(3 * i, bytes), bytes, o.big);
                put_number(&o, bits_of(-4 * i, bytes), bytes, o.big);
            } else {
                const unsigned r = 10 + (unsigned)i, g = 100 + (unsigned)i, b = 200 + (unsigned)i;
                expected[i] = (299 * r + 587 * g + 114 * b) / 1000.0;
                put_number(&o, 7u << 24 | r << 16 | g << 8 | b, 4, o.big);
            }
        }
        struct mro_file *f;
        struct mro_error e;
        if (mro_file_open_memory(&f, o.b, o.n, "built", BUDGET, &e) != MRO_OK)
            fail_msg("type %u: %s", types[t].type, e.message);
        assert_string_equal(mro_file_format(f), o.dm4 ? "DM4" : "DM3");
        assert_int_equal(mro_file_images(f), 1);
        const struct mro_image_info *info = mro_file_info(f, 0);
        assert_int_equal(info->dtype, types[t].dtype);
        assert_string_equal(info->title, "built");
        assert_int_equal(info->axes, 4);
        assert_int_equal(info->frames, 4);
        assert_named_axis(&info->axis[3], 3, 0.25, -0.5, MRO_UNIT_NM, "nm"); /* (0 - 2) * 0.25 */
        assert_named_axis(&info->axis[2], 2, 0, 0, MRO_UNIT_NONE, "");
        for (size_t frame = 0; frame < 4; frame++) {
            struct mro_image im;
            assert_int_equal(mro_file_read(f, 0, frame, &im, &e), MRO_OK);
            assert_int_equal(im.nx, 3);
            assert_int_equal(im.ny, 2);
            for (size_t i = 0; i < 6; i++) assert_true(fabs(im.px[i] - expected[6 * frame + i]) < 1e-4);
            mro_image_release(&im);
        }
        mro_file_close(f);
        free(o.b);
    }
}

/* Both packings of a half plane hold the transform of a real image: compare with a direct sum. */
static void test_packed_transforms(void **state)
{
    (void)state;
    enum { N = 6, H = N / 2 };
    double image[N][N];
    double complex full[N][N];
    unsigned seed = 1;
    for (int i = 0; i < N * N; i++) image[i / N][i % N] = (seed = seed * 1103515245u + 12345u) >> 16 & 255;
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++) {
            full[y][x] = 0;
            for (int i = 0; i < N * N; i++) {
                const int phase = (y - H) * (i / N) + (x - H) * (i % N);
                full[y][x] += image[i / N][i % N] * cexp(-2 * I * acos(-1.0) * phase / N);
            }
        }
    static const uint32_t size[] = { N, N };
    for (int k = 0; k < 3 * 4; k++) {
        static const unsigned types[] = { 5, 27, 28 };
        const unsigned type = types[k / 4];
        const size_t bytes = type == 28 ? 8 : 4;
        struct build o = { .dm4 = k & 1, .big = k & 2 };
        put_image(&o, type, 2, size, type == 5 ? N * N : N * (H + 1) * 2, bytes);
        for (int y = 0; y < N; y++)
            for (int c = 0; c < (type == 5 ? H : H + 1); c++) {
                double complex v = full[y][type == 5 ? H + c : H - c];
                if (type == 5 && c == 0) {
                    if (y == 0) v = creal(full[H][0]) + I * creal(full[0][0]);
                    if (y > 0 && y < H) v = full[H + y][0];
                    if (y == H) v = creal(full[H][H]) + I * creal(full[0][H]);
                }
                put_number(&o, bits_of(creal(v), bytes), bytes, o.big);
                put_number(&o, bits_of(cimag(v), bytes), bytes, o.big);
            }
        struct mro_file *f;
        struct mro_error e;
        if (mro_file_open_memory(&f, o.b, o.n, "built", BUDGET, &e) != MRO_OK) fail_msg("type %u: %s", type, e.message);
        const struct mro_image_info *info = mro_file_info(f, 0);
        assert_int_equal(info->dtype, type == 28 ? MRO_C128 : MRO_C64);
        assert_int_equal(info->axis[0].size, N);
        assert_int_equal(info->axis[1].size, N);
        float complex single[N * N];
        double complex wide[N * N];
        assert_int_equal(f->reader->read(f, 0, 0, type == 28 ? (void *)wide : single, &e), MRO_OK);
        for (int i = 0; i < N * N; i++) {
            const double complex v = type == 28 ? wide[i] : single[i];
            assert_true(cabs(v - full[i / N][i % N]) < 1e-3);
        }
        mro_file_close(f);
        free(o.b);
    }
}

/* ---- broken files ---- */

/* Must be refused with one sentence that names the file and has `field` in it. */
static void refused(const void *bytes, size_t size, const char *field)
{
    /* A copy of the exact size lets the sanitizers see a read past the end. */
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, bytes, size);
    struct mro_file *f;
    struct mro_error e = { .code = MRO_OK };
    const enum mro_code c = mro_file_open_memory(&f, copy, size, "broken.dm", BUDGET, &e);
    assert_int_not_equal(c, MRO_OK);
    assert_null(f);
    assert_non_null(strstr(e.message, "broken.dm"));
    if (strstr(e.message, field) == NULL) fail_msg("'%s' is not in: %s", field, e.message);
    free(copy);
}

static void refused_build(struct build *o, const char *field)
{
    refused(o->b, o->n, field);
    free(o->b);
    *o = (struct build){ .dm4 = o->dm4, .big = o->big };
}

static void test_lying_tags(void **state)
{
    (void)state;
    for (int dm4 = 0; dm4 < 2; dm4++) {
        struct build o = { .dm4 = dm4 };
        put_head(&o, (uint64_t)-1);
        refused_build(&o, "-1 tags");
        put_head(&o, 0x7fffffff);
        refused_build(&o, "2147483647 tags");
        put_head(&o, 1);
        put_number(&o, 21, 1, true);
        put_number(&o, 65535, 2, true);
        put(&o, "abc", 3);
        put(&o, "0123456789", 10);
        refused_build(&o, "name of 65535 bytes");
        put_head(&o, 1);
        put_tag(&o, 99, "odd");
        refused_build(&o, "kind 99");
        put_head(&o, 1);
        put_info(&o, "big", 3, (const uint64_t[]){ 20, 6, 0x7fffffff });
        refused_build(&o, "'big' needs 8589934588 bytes");
        put_head(&o, 1);
        put_info(&o, "minus", 3, (const uint64_t[]){ 20, 6, (uint64_t)-5 });
        refused_build(&o, "-5 values");
        put_head(&o, 1);
        put_info(&o, "fields", 5, (const uint64_t[]){ 15, 0, 1000000, 0, 6 });
        refused_build(&o, "1000000 fields");
        put_head(&o, 1);
        put_info(&o, "odd", 1, (const uint64_t[]){ 77 });
        refused_build(&o, "unknown data type 77");
        put_head(&o, 1);
        put_info(&o, "nested", 8, (const uint64_t[]){ 20, 20, 20, 20, 20, 20, 2, 1 });
        refused_build(&o, "nested deeper");
        put_head(&o, 1);
        put_info(&o, "short", 2, (const uint64_t[]){ 20, 6 });
        refused_build(&o, "stops short");
        put_head(&o, 1);
        put_info(&o, "long", 2, (const uint64_t[]){ 2, 2 });
        put(&o, "0123", 4);
        refused_build(&o, "2 words");
        put_head(&o, 1);
        put_tag(&o, 21, "none");
        put(&o, "%%%%", 4);
        put_word(&o, (uint64_t)-3);
        refused_build(&o, "-3 words");
        put_head(&o, 1);
        put_group(&o, "ImageList", 0);
        refused_build(&o, "no images");
        put_head(&o, 0);
        refused_build(&o, "no images");
    }
    struct build o = { .dm4 = true };
    put_head(&o, 1);
    put_info(&o, "huge", 4, (const uint64_t[]){ 20, 20, 7, (uint64_t)1 << 62 });
    refused_build(&o, "more than can be addressed");
    put_head(&o, 1);
    put_info(&o, "huge", 5, (const uint64_t[]){ 20, 20, 7, (uint64_t)1 << 40, (uint64_t)1 << 40 });
    refused_build(&o, "more than can be addressed");
    put_head(&o, 1);
    put_number(&o, 20, 1, true);
    put_number(&o, 1, 2, true);
    put(&o, "g", 1);
    put_number(&o, (uint64_t)1 << 62, 8, true);
    put(&o, "0123456789", 10);
    refused_build(&o, "'g' says it is 4611686018427387904 bytes long");
}

static void test_deep_nesting(void **state)
{
    (void)state;
    struct build o = { .dm4 = false };
    put_head(&o, 1);
    for (int i = 0; i < 200000; i++) put_group(&o, "", 1);
    refused_build(&o, "nest deeper");
}

/* More tags than are read, and empty: what they cost must not grow with what the file says. */
static void test_many_tags(void **state)
{
    (void)state;
    enum { N = (1 << 20) + 10 };
    struct build o = { .dm4 = false };
    put_head(&o, N);
    for (int i = 0; i < N; i++) put_group(&o, "", 0);
    refused_build(&o, "more than");
    put_head(&o, 1);
    put_group(&o, "ImageList", 100000);
    for (int i = 0; i < 100000; i++) put_group(&o, "", 0);
    refused_build(&o, "100000 images");
}

static void test_lying_shapes(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        uint32_t nx, ny;
        const char *field;
    } cases[] = {
        { 2, 0, 3, "size of 0" },
        { 2, 1000, 1000, "1000 x 1000" },
        { 2, 1, 1, "1 x 1" },
        { 2, 0x7fffffff, 0x7fffffff, "2147483647 x 2147483647" },
        { 13, 0xffffffff, 0xffffffff, "4294967295 x 4294967295" },
        { 0, 3, 3, "DataType" },
        { 26, 3, 3, "DataType" },
        { 117440512, 3, 3, "DataType" },
        { 5, 3, 3, "square" },
        { 5, 4, 2, "square" },
        { 27, 1, 9, "cannot be" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct build o = { .dm4 = i & 1, .big = i & 2 };
        put_image(&o, cases[i].type, 2, (const uint32_t[]){ cases[i].nx, cases[i].ny }, 9, 4);
        for (int k = 0; k < 9; k++) put_number(&o, 0, 4, o.big);
        refused_build(&o, cases[i].field);
    }
    struct build o = { .dm4 = true };
    put_image(&o, 6, 7, (const uint32_t[]){ 1, 1, 1, 1, 1, 1, 1 }, 1, 1);
    put_number(&o, 0, 1, true);
    refused_build(&o, "7 axes");
    /* A frame larger than the budget, in a file that holds it. */
    put_image(&o, 6, 2, (const uint32_t[]){ 4096, 4096 }, 4096 * 4096, 1);
    unsigned char *zero = calloc(4096, 4096);
    assert_non_null(zero);
    put(&o, zero, (size_t)4096 * 4096);
    free(zero);
    refused_build(&o, "memory budget");
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    static const char *const names[] = { "test_stackbuilder_imagestack.dm3", "2D_test-23.dm4" };
    for (int k = 0; k < 2; k++) {
        size_t size;
        unsigned char *p = load_data(names[k], &size);
        /* The root group ends 8 bytes before the end of the file. */
        for (size_t n = 0; n < size - 8; n += n < 64 ? 1 : 97) refused(p, n, "");
        refused(p, size - 9, "");
        free(p);
    }
}

static void test_damaged_header(void **state)
{
    (void)state;
    size_t size;
    unsigned char *p = load_data("test_diffraction_pattern.dm3", &size);
    p[3] = 99;
    refused(p, size, "version 99");
    p[3] = 3;
    p[11] = 0; /* says big-endian */
    refused(p, size, "DataType");
    p[11] = 7;
    refused(p, size, "no image format");
    free(p);
    refused("This is not a DigitalMicrograph file.", 37, "no image format");
    refused("", 0, "empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_and_plot),
        cmocka_unit_test(test_diffraction),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_two_units),
        cmocka_unit_test(test_spectrum_image),
        cmocka_unit_test(test_half_plane),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_pixel_types),
        cmocka_unit_test(test_packed_transforms),
        cmocka_unit_test(test_lying_tags),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_many_tags),
        cmocka_unit_test(test_lying_shapes),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_damaged_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

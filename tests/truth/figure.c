/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Figures: helper functions against answers known on paper, and whole pages made from made-up results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "report/axes.h"
#include "report/canvas.h"
#include "report/compare_text.h"
#include "report/figure.h"
#include "report/figure_parts.h"
#include "report/png.h"
#include "report/raster.h"

static void scale_bar_lengths(void **state)
{
    (void)state;
    static const double cases[][2] = { { 4.8, 2 },    { 5, 5 },       { 1.999, 1 },     { 0.3, 0.2 },
                                       { 0.38, 0.2 }, { 0.5, 0.5 },   { 24.6, 20 },     { 99, 50 },
                                       { 100, 100 },  { 1000, 1000 }, { 0.001, 0.001 }, { 9.99, 5 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(fabs(mro_nice_below(cases[i][0]) / cases[i][1] - 1) < 1e-9);
    assert_true(fabs(mro_nice_below(0.1 * 3 + 0.2) / 0.5 - 1) < 1e-9); /* not exactly 0.5 in binary */
    assert_true(mro_nice_below(0) == 0 && mro_nice_below(-1) == 0 && mro_nice_below(NAN) == 0 &&
                mro_nice_below(INFINITY) == 0);

    assert_true(fabs(mro_tick_step(3, 6) - 0.5) < 1e-12);
    assert_true(fabs(mro_tick_step(1.4, 6) - 0.5) < 1e-12);
    assert_true(fabs(mro_tick_step(1.2, 6) - 0.2) < 1e-12);
    assert_true(fabs(mro_tick_step(7, 3) - 5) < 1e-12);
    assert_true(fabs(mro_tick_step(18, 3) - 10) < 1e-12);
}

static void texts_of_numbers(void **state)
{
    (void)state;
    char s[128];
    mro_text_length(s, sizeof s, 0.5);
    assert_string_equal(s, "0.5" TEXT_NBSP "nm");
    mro_text_length(s, sizeof s, 1000);
    assert_string_equal(s, "1000" TEXT_NBSP "nm");
    mro_text_percent(s, sizeof s, 0.18823);
    assert_string_equal(s, "18.8" TEXT_NBSP "%");
    mro_text_percent(s, sizeof s, 0.01);
    assert_string_equal(s, "1" TEXT_NBSP "%");
    mro_text_percent(s, sizeof s, 0.01023);
    assert_string_equal(s, "1.02" TEXT_NBSP "%");
    mro_text_percent(s, sizeof s, NAN);
    assert_string_equal(s, "not measured");
    mro_text_percent_within(s, sizeof s, 0.00009, (const double[2]){ 0, 0.0084 });
    assert_string_equal(s, "0.01" TEXT_NBSP "%");
    mro_text_percent_within(s, sizeof s, 0.18823, (const double[2]){ NAN, NAN });
    assert_string_equal(s, "18.8" TEXT_NBSP "%");
    mro_text_interval(s, sizeof s, (const double[2]){ -0.004, 0.2351 });
    assert_string_equal(s, TEXT_MINUS "0.4 to 23.5" TEXT_NBSP "%");
    mro_text_interval(s, sizeof s, (const double[2]){ NAN, 0.2 });
    assert_string_equal(s, "not measured");
    mro_text_number(s, sizeof s, -0.001, 2, "nm");
    assert_string_equal(s, "0.00" TEXT_NBSP "nm"); /* no minus before a nought */
    mro_text_p(s, sizeof s, 9.96e-6);
    assert_non_null(strstr(s, "1.0" TEXT_NBSP TEXT_TIMES TEXT_NBSP "10" TEXT_SUPER TEXT_MINUS "5"));
    mro_text_p(s, sizeof s, 0.0123);
    assert_non_null(strstr(s, "0.012"));
    for (int k = 0; k < 2; k++) {
        mro_text_p(s, sizeof s, (const double[2]){ 0, 1.4e-11 }[k]);
        assert_non_null(strstr(s, "<" TEXT_NBSP "10" TEXT_SUPER TEXT_MINUS "6"));
    }
    mro_text_p_least(s, sizeof s, 5e-5, 5e-5);
    assert_non_null(strstr(s, "<" TEXT_NBSP "5" TEXT_NBSP TEXT_TIMES TEXT_NBSP "10" TEXT_SUPER TEXT_MINUS "5"));
    mro_text_p_least(s, sizeof s, 0.0123, 5e-5);
    assert_non_null(strstr(s, "=" TEXT_NBSP "0.012"));

    /* Overlong, surrogate, beyond Unicode, cut short, stray; control characters; markup bytes. */
    mro_text_clean(s, sizeof s,
                   "a\xc0\x80"
                   "b\xed\xa0\x80"
                   "c\xf5\x80\x80\x80"
                   "d\xe2\x82");
    assert_string_equal(s, "a??b???c????d??");
    mro_text_clean(s, sizeof s, "\xc2\xb5\x02\n\xce\xb1");
    assert_string_equal(s, "\xc2\xb5  \xce\xb1");
    mro_text_clean(s, 4, "ab\xc2\xb5"); /* no half character */
    assert_string_equal(s, "ab");
    mro_text_clean(s, sizeof s, NULL);
    assert_string_equal(s, "");
}

static void sentences_are_set_for_print(void **state)
{
    (void)state;
    struct mro_words w = { 0 };
    mro_fig_say_sentence(
        &w, "Verdict: ", "2.5 nm +- 0.1, 26 % (p <= 0.001); map of p, p = 5e-05; see `band`, [-3, +2] of -1.");
    assert_false(w.failed);
    assert_string_equal(w.p, "Verdict: 2.5" TEXT_NBSP "nm \xc2\xb1 0.1, 26" TEXT_NBSP "% (" TEXT_ITALIC
                             "p" TEXT_ITALIC TEXT_NBSP "\xe2\x89\xa4 0.001); map of p, " TEXT_ITALIC
                             "p" TEXT_ITALIC TEXT_NBSP "= 5" TEXT_NBSP TEXT_TIMES TEXT_NBSP "10" TEXT_SUPER TEXT_MINUS
                             "5" TEXT_SUPER "; see band, [" TEXT_MINUS "3, +2] of " TEXT_MINUS "1.");
    free(w.p);
}

static void axes_of_comparisons_say_what_is_compared(void **state)
{
    static const struct {
        const char *kind, *metric, *unit, *axis;
    } cases[] = {
        { "hrtem", "fraction", "", "Ordered area (%)" },
        { "hrtem", "density_per_nm2", "1/nm^2",
          "Ordered regions per area (nm" TEXT_SUPER TEXT_MINUS "2" TEXT_SUPER ")" },
        { "eds-line", "elements.Fe.sd_true_at", "at.%", "True scatter of Fe (at.%)" },
        { "diffraction", "shells.0.r_A", "A", "First shell, r (\xc3\x85)" },
        { "indent", "sd", "GPa", "Standard deviation (GPa)" },
        { "hrtem", "size_limit_nm", "nm", "size_limit_nm (nm)" },
        { "", "density_per_nm2", "1/nm^2", "density_per_nm2 (nm" TEXT_SUPER TEXT_MINUS "2" TEXT_SUPER ")" },
        { "", "hardness", "GPa", "hardness (GPa)" },
        { "", "count", "", "count" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mro_compare_report c = { .kind = cases[i].kind, .metric = cases[i].metric, .unit = cases[i].unit };
        char text[160];
        mro_compare_axis(&c, text, sizeof text);
        assert_string_equal(text, cases[i].axis);
    }
}

static void quantiles(void **state)
{
    (void)state;
    struct mro_error e = { 0 };
    enum { N = 1001 };
    float v[N + 3];
    /* 0..1000 shuffled (7 and 1001 share the factor 7, 10 does not), with values that do not count. */
    for (int i = 0; i < N; i++) v[i] = (float)(i * 10 % N);
    v[N] = NAN;
    v[N + 1] = INFINITY;
    v[N + 2] = -INFINITY;
    double out[4];
    const double q[4] = { 0.005, 0.995, 0, 1 };
    assert_int_equal(mro_quantiles(v, N + 3, q, 4, out, &e), MRO_OK);
    assert_true(fabs(out[0] - 5) < 1e-9 && fabs(out[1] - 995) < 1e-9 && out[2] == 0 && out[3] == 1000);
    const float few[4] = { 4, 1, 3, 2 };
    assert_int_equal(mro_quantiles(few, 4, (const double[2]){ 0.5, 0.9 }, 2, out, &e), MRO_OK);
    assert_true(fabs(out[0] - 2.5) < 1e-6 && fabs(out[1] - 3.7) < 1e-6);
    const float same[5] = { 7, 7, 7, 7, 7 };
    assert_int_equal(mro_quantiles(same, 5, q, 4, out, &e), MRO_OK);
    assert_true(out[0] == 7 && out[1] == 7);
    assert_int_equal(mro_quantiles(v + N, 3, q, 4, out, &e), MRO_OK);
    assert_true(isnan(out[0]) && isnan(out[3]));
}

static void averages(void **state)
{
    (void)state;
    assert_int_equal(mro_block_factor(4096, 840), 5);
    assert_int_equal(mro_block_factor(840, 840), 1);
    assert_int_equal(mro_block_factor(841, 840), 2);
    assert_int_equal(mro_block_factor(1, 840), 1);
    /* 3 x 5 in rows 6 apart, blocks of 2 x 2: the last row and column are half blocks; NaN does not count. */
    const float v[18] = { 1, 3, 5, NAN, 9, -1, 5, 7, NAN, NAN, 1, -1, 2, 4, NAN, NAN, 8, -1 };
    float out[6];
    mro_area_average(v, 6, 3, 5, 2, 2, out);
    assert_true(out[0] == 4 && out[1] == 5 && out[2] == 5);
    assert_true(out[3] == 3 && isnan(out[4]) && out[5] == 8);

    float rep[12];
    mro_repeat((const float[2]){ 1, 2 }, 1, 2, 2, 3, rep);
    for (int i = 0; i < 12; i++) assert_true(rep[i] == (i % 6 < 3 ? 1 : 2));
}

static void finer_grid(void **state)
{
    (void)state;
    struct mro_error e = { 0 };
    /* A plane wave of 3 samples a period keeps its values between the samples; a constant stays one. */
    enum { N = 40, K = 4 };
    float v[N * N];
    static float out[N * K * N * K];
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++) v[y * N + x] = 3 + (float)cos(2 * M_PI * (x * 0.28 + y * 0.17));
    assert_int_equal(mro_upsample(v, N, N, K, out, &e), MRO_OK);
    for (int y = 5 * K; y < (N - 5) * K; y++) {
        for (int x = 5 * K; x < (N - 5) * K; x++) {
            const double fx = (x + 0.5) / K - 0.5, fy = (y + 0.5) / K - 0.5;
            assert_true(fabs(out[y * N * K + x] - 3 - cos(2 * M_PI * (fx * 0.28 + fy * 0.17))) < 0.06);
        }
    }
    for (int i = 0; i < N * N; i++) v[i] = 2;
    v[7 * N + 9] = NAN;
    assert_int_equal(mro_upsample(v, N, N, K, out, &e), MRO_OK);
    for (int y = 0; y < N * K; y++) {
        for (int x = 0; x < N * K; x++) {
            const bool hole = y / K == 7 && x / K == 9;
            assert_true(hole ? isnan(out[y * N * K + x]) : fabsf(out[y * N * K + x] - 2) < 1e-5f);
        }
    }
}

static void colours(void **state)
{
    (void)state;
    assert_int_equal(mro_colour_at(&mro_map_grey, 0.5).r, 128);
    assert_int_equal(mro_colour_at(&mro_map_grey, -3).g, 0);
    assert_int_equal(mro_colour_at(&mro_map_grey, 3).b, 255);
    /* The score map gets brighter all the way (CIE luminance of linear light). */
    double before = -1;
    for (int i = 0; i <= 64; i++) {
        const struct mro_colour c = mro_colour_at(&mro_map_score, i / 64.0);
        const double l =
            0.2126 * pow(c.r / 255.0, 2.2) + 0.7152 * pow(c.g / 255.0, 2.2) + 0.0722 * pow(c.b / 255.0, 2.2);
        assert_true(l > before);
        before = l;
    }
    /* Nought is neutral on the diverging map. */
    const struct mro_colour mid = mro_colour_at(&mro_map_diverging, 0.5);
    assert_true(mid.r == mid.g && mid.g == mid.b && mid.r > 230);
    unsigned char p[16];
    mro_paint((const float[4]){ 0, 10, NAN, 99 }, 4, 0, 10, &mro_map_grey, p);
    assert_true(p[0] == 0 && p[3] == 255 && p[4] == 255 && p[11] == 0 && p[12] == 255);
    mro_paint((const float[1]){ 5 }, 1, 5, 5, &mro_map_grey, p);
    assert_int_equal(p[0], 128);
}

/* A small PNG must inflate to the rows it was made from, and say its resolution. */
static void png_bytes(void **state)
{
    (void)state;
    enum { NX = 37, NY = 23 };
    unsigned char px[NY * NX * 3], raw[NY * (NX * 3 + 1)];
    for (size_t i = 0; i < sizeof px; i++) px[i] = (unsigned char)(i * i % 251 + (i / 7) % 3);
    struct mro_sink s = { 0 };
    mro_png_encode(&s, px, NY, NX, 3, 6, 300);
    assert_false(s.failed);
    const unsigned char *p = (const unsigned char *)s.p;
    assert_memory_equal(p, "\x89PNG\r\n\x1a\n", 8);
    assert_int_equal(p[19], NX);
    assert_int_equal(p[23], NY);
    size_t at = 8;
    bool phys = false, data = false;
    while (at + 12 <= s.n) {
        const size_t n = (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 | (size_t)p[at + 2] << 8 | p[at + 3];
        const uLong crc = crc32(0, p + at + 4, (uInt)n + 4);
        const unsigned char *c = p + at + 8 + n;
        assert_int_equal(crc, (uLong)c[0] << 24 | (uLong)c[1] << 16 | (uLong)c[2] << 8 | c[3]);
        if (memcmp(p + at + 4, "pHYs", 4) == 0) {
            phys = true;
            assert_int_equal(p[at + 10] << 8 | p[at + 11], 11811); /* 300 dots an inch of 0.0254 m */
        }
        if (memcmp(p + at + 4, "IDAT", 4) == 0) {
            uLongf length = sizeof raw;
            assert_int_equal(uncompress(raw, &length, p + at + 8, (uLong)n), Z_OK);
            assert_int_equal(length, sizeof raw);
            data = true;
        }
        at += n + 12;
    }
    assert_true(phys && data);
    assert_int_equal(at, s.n);
    unsigned char line[NX * 3], up[NX * 3] = { 0 };
    for (size_t y = 0; y < NY; y++) {
        const unsigned char *r = raw + y * (NX * 3 + 1);
        for (size_t i = 0; i < NX * 3; i++) {
            const unsigned char left = i >= 3 ? line[i - 3] : 0;
            assert_in_range(r[0], 0, 2);
            line[i] = (unsigned char)(r[i + 1] + (r[0] == 1 ? left : r[0] == 2 ? up[i] : 0));
        }
        assert_memory_equal(line, px + y * NX * 3, NX * 3);
        memcpy(up, line, sizeof up);
    }
    free(s.p);
}

static void paragraphs(void **state)
{
    (void)state;
    struct mro_error e = { 0 };
    struct mro_canvas c = { 0 };
    assert_int_equal(mro_canvas_measure_begin(&c, 180, &e), MRO_OK);
    const double word = mro_canvas_text_width(&c, 7, "word"), three = mro_canvas_text_width(&c, 7, "word word word");
    assert_true(word > 3 && word < 12); /* mm, at 7 points */
    assert_true(fabs(mro_canvas_text_width(&c, 14, "word") / word - 2) < 0.02);
    assert_true(mro_canvas_text_width(&c, 7, TEXT_BOLD "word") > word);
    assert_true(mro_canvas_text_width(&c, 7, TEXT_SUPER "word") < word);
    assert_int_equal(mro_canvas_paragraph(&c, 0, 0, three * 1.01, 3, 7, "word word word word word word word", false),
                     3);
    assert_int_equal(mro_canvas_paragraph(&c, 0, 0, word * 1.01, 3, 7, "wordwordword", false),
                     3); /* no blank to break at */
    assert_int_equal(mro_canvas_paragraph(&c, 0, 0, 0.01, 3, 7, "\xc2\xb5\xc2\xb5\xc2\xb5", false), 3);
    assert_int_equal(mro_canvas_paragraph(&c, 0, 0, 50, 3, 7, "", false), 0);
    /* A sign stays with what it is between, and a number with its unit; words alone take two lines of that width. */
    static const char *const parts[][2] = {
        { "word d =", "2 word" },    { "word 20", "nm word" },  { "word a", "/ b word" },
        { "word 2", "[1, 3] word" }, { "word [1,", "3] word" }, { "word " TEXT_ITALIC "p" TEXT_ITALIC, "< 0.05 word" }
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char whole[60];
        snprintf(whole, sizeof whole, "%s %s", parts[i][0], parts[i][1]);
        const double width = fmax(mro_canvas_text_width(&c, 7, parts[i][0]), mro_canvas_text_width(&c, 7, parts[i][1]));
        assert_int_equal(mro_canvas_paragraph(&c, 0, 0, width * 1.01, 3, 7, whole, false), 3);
    }
    assert_int_equal(mro_canvas_paragraph(&c, 0, 0, three * 1.01, 3, 7, "word = 20 nm", false), 1);
    /* Both ends of a name are kept, and whole characters. */
    char name[96] = "y \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 glass at 300 K, No. 12";
    const double whole = mro_canvas_text_width(&c, 7, name);
    mro_canvas_shorten(&c, 7, name, whole);
    assert_null(strstr(name, "\xe2\x80\xa6"));
    mro_canvas_shorten(&c, 7, name, 0.5 * whole);
    assert_true(mro_canvas_text_width(&c, 7, name) <= 0.5 * whole);
    assert_memory_equal(name, "y \xc3\xa4", 4);
    assert_string_equal(name + strlen(name) - 6, "No. 12");
    const char *cut = strstr(name, "\xe2\x80\xa6");
    assert_non_null(cut);
    assert_true((unsigned char)cut[-1] != 0xc3 && ((unsigned char)cut[3] & 0xc0) != 0x80);
    assert_int_equal(mro_canvas_measure_end(&c, &e), MRO_OK);
}

/* ---- whole pages ---- */

static char folder[128];

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.90s/mro-figure-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) == NULL;
}

/* Removes what is in the folder and returns how many files there were. */
static int clear_folder(void)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *f; d && (f = readdir(d)) != NULL;) {
        char path[512];
        if (f->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
        n++;
        if (unlink(path) != 0) rmdir(path);
    }
    if (d) closedir(d);
    return n;
}

static int remove_folder(void **state)
{
    (void)state;
    clear_folder();
    return rmdir(folder);
}

static char *slurp(const char *stem, const char *suffix, size_t *n)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", stem, suffix);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(*n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *n, f), *n);
    p[*n] = 0;
    fclose(f);
    return p;
}

static float noise(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return (float)(*s >> 8) / (1 << 24);
}

static void make_image(struct mro_image *im, size_t ny, size_t nx, double step_y, double step_x)
{
    struct mro_error e = { 0 };
    uint32_t seed = 1;
    assert_int_equal(mro_image_alloc(im, ny, nx, &e), MRO_OK);
    for (size_t i = 0; i < ny * nx; i++) im->px[i] = 1000 + 100 * noise(&seed);
    mro_axis_set(&im->axis[0], step_y, 0, "nm", MRO_SOURCE_COMMAND_LINE);
    mro_axis_set(&im->axis[1], step_x, 0, "nm", MRO_SOURCE_COMMAND_LINE);
}

/* Everything a result can hold, on static storage. */
static void make_result(struct mro_order_result *r, const struct mro_image *im)
{
    enum { MAP = 12, TILE = 24, CDF = 41 };
    static float score[MAP * MAP], mask[MAP * MAP], tile[TILE * TILE];
    static double p[CDF], null[CDF], seen[CDF];
    static struct mro_order_object objects[3];
    static struct mro_order_tile tiles[8];
    memset(r, 0, sizeof *r);
    const double field[2] = { (double)im->ny * im->axis[0].step, (double)im->nx * im->axis[1].step };
    uint32_t seed = 2;
    for (int i = 0; i < MAP * MAP; i++) {
        score[i] = i < 4 ? NAN : 1.3f * noise(&seed);
        mask[i] = score[i] >= 1;
    }
    for (int y = 0; y < TILE; y++)
        for (int x = 0; x < TILE; x++) tile[y * TILE + x] = (float)cos(2 * M_PI * (x - TILE / 2) * 0.07 / 0.203);
    for (int i = 0; i < CDF; i++) {
        p[i] = pow(10, -4 + i * 0.1);
        null[i] = i ? p[i] : 0;
        seen[i] = fmin(1, sqrt(p[i]));
    }
    for (int i = 0; i < 3; i++)
        objects[i] = (struct mro_order_object){ field[1] * (i + 1) / 4, field[0] / 2, 1.5, 0.2047, 45.0 * i, 12,
                                                (char)('A' + i) };
    for (int i = 0; i < 8; i++)
        tiles[i] = (struct mro_order_tile){ field[1] * i / 8, field[0] * i / 8, 0.07, TILE, tile };
    r->pixel_nm[0] = im->axis[0].step;
    r->pixel_nm[1] = im->axis[1].step;
    r->band_inv_nm[0] = 4.1;
    r->band_inv_nm[1] = 5.8;
    r->d_nm = 0.203;
    r->false_positive_rate = 0.01;
    r->cells = MAP * MAP - 4;
    r->coverage = 0.97;
    r->fraction_raw = 0.21;
    r->null_fraction = 0.0101;
    r->fraction = 0.1874;
    r->fraction_ci95[0] = 0.142;
    r->fraction_ci95[1] = 0.2351;
    r->p_image = 0.0004;
    r->distinguishable = true;
    r->diameter_median_nm = 1.84;
    r->size_limit_nm = NAN;
    r->ctf.delocalisation_nm = NAN;
    snprintf(r->verdict, sizeof r->verdict, "more order than in a glass of the same spectrum");
    r->objects = objects;
    r->n_objects = 3;
    r->tiles = tiles;
    r->n_tiles = 8;
    r->score = (struct mro_order_map){
        MAP, MAP, field[1] / MAP / 2, field[0] / MAP / 2, field[1] / MAP, field[0] / MAP, score
    };
    r->mask = r->score;
    r->mask.v = mask;
    r->filtered = *im;
    r->cdf_p = p;
    r->cdf_null = null;
    r->cdf_observed = seen;
    r->n_cdf = CDF;
}

static unsigned png_side(const char *png, int at)
{
    const unsigned char *p = (const unsigned char *)png + at;
    return (unsigned)p[0] << 24 | (unsigned)p[1] << 16 | (unsigned)p[2] << 8 | p[3];
}

static void order_figure(void **state)
{
    (void)state;
    struct mro_error e = { 0 };
    struct mro_image im = { 0 };
    struct mro_order_result r;
    char stem[200];
    size_t n;
    make_image(&im, 320, 320, 0.02, 0.02); /* 6.4 nm: 0.3 of it is 1.92, so the bar is 1 nm */
    make_result(&r, &im);
    snprintf(stem, sizeof stem, "%s/a.mro", folder);
    assert_int_equal(mro_figure_order(stem, MRO_FIGURE_WIDTH, &im, "cells <1> & \xff.tif", &r, &e), MRO_OK);

    char *png = slurp(stem, ".png", &n);
    assert_int_equal(png_side(png, 16), 2126); /* 180 mm at 300 dots an inch */
    assert_in_range(png_side(png, 20), 1600, 1900);
    free(png);
    char *svg = slurp(stem, ".svg", &n);
    assert_true(n < 1500000);
    assert_int_equal(strlen(svg), n);
    assert_non_null(strstr(svg, ">1" TEXT_NBSP "nm</text>"));
    assert_non_null(strstr(svg, "MRO area fraction 18.7" TEXT_NBSP "%"));
    assert_non_null(strstr(svg, "14.2 to 23.5" TEXT_NBSP "%"));
    assert_non_null(strstr(svg, "cells &lt;1&gt; &amp; ?.tif"));
    assert_non_null(strstr(svg, ">A, ordered (1)<"));
    assert_non_null(strstr(svg, "Pass band 4.10"));
    assert_non_null(strstr(svg, "0.205" TEXT_NBSP "nm, 45")); /* the object in the middle cell */
    assert_null(strstr(svg, "<glyph"));
    assert_null(strstr(svg, "id=\"glyph")); /* text stays text */
    assert_non_null(strstr(svg, "</svg>"));
    size_t images = 0;
    for (const char *s = svg; (s = strstr(s, "<image")) != NULL; s++) images++;
    assert_int_equal(images, 9); /* three panels, six tiles of eight */
    free(svg);
    char *pdf = slurp(stem, ".pdf", &n);
    assert_true(n < 1500000);
    assert_memory_equal(pdf, "%PDF-", 5);
    assert_true(mro_canvas_pdf_whole(pdf, n));
    for (size_t i = 1; i < n; i += 97) assert_false(mro_canvas_pdf_whole(pdf, n - i));
    /* As where cairo leaves an object out: what the table tells is not there. */
    size_t object = 0;
    while (object < n && memcmp(pdf + object, "\n5 0 obj", 8) != 0) object++;
    assert_true(object < n);
    pdf[object + 1] = '6';
    assert_false(mro_canvas_pdf_whole(pdf, n));
    free(pdf);
    assert_int_equal(clear_folder(), 3);
    mro_image_release(&im);
}

/* Twice the same call, twice the same bytes. */
static void same_bytes(void **state)
{
    (void)state;
    static const char *const suffixes[] = { ".png", ".svg", ".pdf" };
    struct mro_error e = { 0 };
    struct mro_image im = { 0 };
    struct mro_order_result r;
    char stem[2][200];
    make_image(&im, 100, 150, 0.03, 0.02);
    make_result(&r, &im);
    for (int i = 0; i < 2; i++) {
        snprintf(stem[i], sizeof stem[i], "%s/%d", folder, i);
        assert_int_equal(mro_figure_order(stem[i], MRO_FIGURE_WIDTH, &im, "t", &r, &e), MRO_OK);
        if (i == 0) sleep(1); /* past the second that a time stamp would show */
    }
    for (int k = 0; k < 3; k++) {
        size_t n[2];
        char *a = slurp(stem[0], suffixes[k], &n[0]), *b = slurp(stem[1], suffixes[k], &n[1]);
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(a, b, n[0]);
        free(a);
        free(b);
    }
    clear_folder();
    mro_image_release(&im);
}

/* What a constant image gives: no map, no objects, numbers NaN. */
static void empty_result(void **state)
{
    (void)state;
    struct mro_error e = { 0 };
    struct mro_image im = { 0 };
    struct mro_order_result r = { .band_inv_nm = { 4.1, 5.8 }, .d_nm = 0.203, .false_positive_rate = 0.01 };
    char reason[] = "the image is constant", *warnings[] = { reason }, stem[200];
    size_t n;
    make_image(&im, 64, 64, 0.02, 0.02);
    for (size_t i = 0; i < 64 * 64; i++) im.px[i] = i < 64 ? NAN : 7;
    r.pixel_nm[0] = r.pixel_nm[1] = 0.02;
    r.fraction = r.fraction_ci95[0] = r.fraction_ci95[1] = r.fraction_raw = r.null_fraction = r.p_image = NAN;
    r.diameter_median_nm = r.size_limit_nm = r.coverage = r.ctf.delocalisation_nm = NAN;
    r.warnings = warnings;
    r.n_warnings = 1;
    snprintf(stem, sizeof stem, "%s/empty", folder);
    assert_int_equal(mro_figure_order(stem, MRO_FIGURE_WIDTH, &im, NULL, &r, &e), MRO_OK);
    char *svg = slurp(stem, ".svg", &n);
    assert_non_null(strstr(svg, "MRO area fraction not measured"));
    assert_non_null(strstr(svg, "Reason:"));
    assert_null(strstr(svg, "nan"));
    size_t images = 0;
    for (const char *s = svg; (s = strstr(s, "<image")) != NULL; s++) images++;
    assert_int_equal(images, 1);
    free(svg);
    assert_int_equal(clear_folder(), 3);
    mro_image_release(&im);
}

/* Strips, columns, single pixels, pixels that are not square, no calibration at all: a page each time. */
static void odd_shapes(void **state)
{
    (void)state;
    static const struct {
        size_t ny, nx;
        double step_y, step_x;
    } cases[] = { { 40, 1200, 0.02, 0.02 }, { 1200, 40, 0.02, 0.02 }, { 1, 1, 0.02, 0.02 },
                  { 64, 64, 0.08, 0.02 },   { 64, 96, 0, 0 },         { 1700, 900, 0.02, 0.02 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mro_error e = { 0 };
        struct mro_image im = { 0 };
        struct mro_order_result r;
        char stem[200];
        size_t n;
        make_image(&im, cases[i].ny, cases[i].nx, cases[i].step_y, cases[i].step_x);
        make_result(&r, &im);
        snprintf(stem, sizeof stem, "%s/odd", folder);
        assert_int_equal(mro_figure_order(stem, MRO_FIGURE_WIDTH, &im, "odd", &r, &e), MRO_OK);
        char *svg = slurp(stem, ".svg", &n);
        assert_true(n < 1500000);
        assert_null(strstr(svg, "=\"nan"));
        assert_null(strstr(svg, "inf\""));
        if (cases[i].step_x == 0) assert_non_null(strstr(svg, "scale unknown"));
        free(svg);
        assert_int_equal(mro_figure_image(stem, MRO_FIGURE_WIDTH, &im, &im, r.band_inv_nm, NULL, &e), MRO_OK);
        assert_int_equal(clear_folder(), 3);
        mro_image_release(&im);
    }
}

static void image_figure(void **state)
{
    (void)state;
    struct mro_error e = { 0 };
    struct mro_image im = { 0 };
    char stem[200];
    size_t n;
    make_image(&im, 200, 300, 0.02, 0.02); /* 6 nm: a quarter is 1.5, so the bar is 1 nm */
    snprintf(stem, sizeof stem, "%s/b.bandpass", folder);
    assert_int_equal(mro_figure_image(stem, MRO_FIGURE_WIDTH, &im, &im, (const double[2]){ 4.1, 5.8 }, "b.tif", &e),
                     MRO_OK);
    char *svg = slurp(stem, ".svg", &n);
    assert_non_null(strstr(svg, ">1" TEXT_NBSP "nm</text>"));
    assert_non_null(strstr(svg, "from 0.172 to 0.244")); /* 1/5.8, 1/4.1 */
    assert_null(strstr(svg, "detail"));
    free(svg);
    mro_image_release(&im);

    /* 120 nm in 86.5 mm: 0.2 nm fringes would be under 2 dots of 300 dpi, so the middle is shown. */
    make_image(&im, 600, 600, 0.2, 0.2);
    assert_int_equal(mro_figure_image(stem, MRO_FIGURE_WIDTH, &im, &im, (const double[2]){ 4.1, 5.8 }, "b.tif", &e),
                     MRO_OK);
    svg = slurp(stem, ".svg", &n);
    assert_non_null(strstr(svg, "detail"));
    free(svg);
    clear_folder();
    mro_image_release(&im);
}

/* No folder; a name that is taken by a folder: the sentence names the file, nothing is left. */
static void failures(void **state)
{
    (void)state;
    struct mro_error e = { 0 };
    struct mro_image im = { 0 };
    char stem[200], taken[220];
    make_image(&im, 64, 64, 0.02, 0.02);
    snprintf(stem, sizeof stem, "%s/missing/x", folder);
    assert_int_equal(mro_figure_image(stem, MRO_FIGURE_WIDTH, &im, &im, (const double[2]){ 4.1, 5.8 }, "t", &e),
                     MRO_EIO);
    assert_non_null(strstr(e.message, "missing/x.png"));
    assert_int_equal(clear_folder(), 0);

    snprintf(stem, sizeof stem, "%s/x", folder);
    snprintf(taken, sizeof taken, "%s.svg", stem);
    assert_int_equal(mkdir(taken, 0777), 0);
    assert_int_equal(mro_figure_image(stem, MRO_FIGURE_WIDTH, &im, &im, (const double[2]){ 4.1, 5.8 }, "t", &e),
                     MRO_EIO);
    assert_non_null(strstr(e.message, "x.svg"));
    assert_int_equal(clear_folder(), 1); /* the folder that was there */

    if (geteuid() != 0) { /* root may write anywhere */
        assert_int_equal(chmod(folder, 0555), 0);
        assert_int_equal(mro_figure_image(stem, MRO_FIGURE_WIDTH, &im, &im, (const double[2]){ 4.1, 5.8 }, "t", &e),
                         MRO_EIO);
        assert_int_equal(chmod(folder, 0755), 0);
        assert_int_equal(clear_folder(), 0);
    }
    mro_image_release(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_bar_lengths),
        cmocka_unit_test(texts_of_numbers),
        cmocka_unit_test(sentences_are_set_for_print),
        cmocka_unit_test(axes_of_comparisons_say_what_is_compared),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(averages),
        cmocka_unit_test(finer_grid),
        cmocka_unit_test(colours),
        cmocka_unit_test(png_bytes),
        cmocka_unit_test(paragraphs),
        cmocka_unit_test(order_figure),
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(empty_result),
        cmocka_unit_test(odd_shapes),
        cmocka_unit_test(image_figure),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

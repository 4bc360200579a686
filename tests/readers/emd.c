/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EMD, Velox and Berkeley: files made by tests/data/emd/make_emd.py, whose values are formulas, and a real one;
 * spectrum streams against the counts that were put in; files that are cut, changed, or lead elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/eds_stream.h"
#include "io/hdf5_child.h"
#include "mroscope/eds_stream.h"
#include "readers/data.h"

/* Every value of a frame against the formula of make_emd.py: 100 k + 10 y + x. */
static void assert_ramp(struct mro_file *f, size_t image, size_t frame, double scale)
{
    struct mro_image im;
    struct mro_error e;
    if (mro_file_read(f, image, frame, &im, &e) != MRO_OK) fail_msg("%s", e.message);
    for (size_t y = 0; y < im.ny; y++)
        for (size_t x = 0; x < im.nx; x++)
            assert_near(im.px[y * im.nx + x], (float)(scale * (double)(100 * frame + 10 * y + x)));
    mro_image_release(&im);
}

static void assert_fails(const char *name, const char *part)
{
    char path[512];
    struct mro_file *f;
    struct mro_error e;
    snprintf(path, sizeof path, "%s/emd/%s", MROSCOPE_TEST_DATA, name);
    assert_int_equal(mro_file_open(&f, path, BUDGET, &e), MRO_EFORMAT);
    assert_null(f);
    assert_non_null(strstr(e.message, name));
    if (strstr(e.message, part) == NULL) fail_msg("'%s' says nothing of '%s'", e.message, part);
}

/* ---- Velox ---- */

static void test_real_stack(void **state)
{
    (void)state;
    struct mro_file *f = open_data("emd/fei_example_tem_stack.emd");
    assert_string_equal(mro_file_format(f), "Velox EMD");
    assert_int_equal(mro_file_images(f), 1);
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_string_equal(i->title, "Ceta");
    assert_string_equal(i->detector, "BM-Ceta");
    assert_string_equal(i->instrument, "Titan");
    assert_string_equal(i->date, "2019-12-05T10:03:44Z");
    assert_int_equal(i->kind, MRO_KIND_IMAGE);
    assert_int_equal(i->dtype, MRO_I16);
    assert_int_equal(i->axes, 3);
    assert_int_equal(i->frames, 2);
    assert_axis(&i->axis[0], 2, 0.8, 0, MRO_UNIT_S);
    assert_axis(&i->axis[1], 3, 0.0081728831922978511, -16.738064777825999, MRO_UNIT_NM);
    assert_axis(&i->axis[2], 3, 0.0081728831922978511, -16.738064777825999, MRO_UNIT_NM);
    assert_near(i->beam_kv, 300);
    assert_near(i->camera_length_mm, 478);
    assert_near(i->magnification, 1271519.155);
    assert_near(i->binning[0], 1);
    assert_near(i->stage_tilt_deg[0], -0.21967359999999991 * 180 / M_PI);
    assert_near(i->stage_tilt_deg[1], -0.035036330282688141 * 180 / M_PI);
    assert_null(mro_file_warning(f, 0));
    struct mro_statistics s;
    struct mro_error e;
    assert_int_equal(mro_file_statistics(f, 0, &s, &e), MRO_OK);
    assert_near(s.min, 0);
    assert_near(s.max, 17);
    assert_near(s.mean, 8.5);
    assert_near(s.sd, 5.188127472091127);
    struct mro_image im; /* the file holds 0 .. 17 with the frames interleaved */
    assert_int_equal(mro_file_read(f, 0, 1, &im, &e), MRO_OK);
    for (size_t k = 0; k < 9; k++) assert_near(im.px[k], (double)(2 * k + 1));
    mro_image_release(&im);
    mro_file_close(f);
}

/* Chunks that fit the shape nowhere and hold two frames each, deflate over shuffle under a checksum. */
static void test_filters_and_order(void **state)
{
    static const size_t jumps[] = { 3, 0, 1, 2, 3, 4, 4, 1, 0, 4, 2 };
    (void)state;
    struct mro_file *f = open_data("emd/velox_stack_filters.emd");
    const struct mro_image_info *i = mro_file_info(f, 0);
    assert_int_equal(i->frames, 5);
    assert_int_equal(i->dtype, MRO_U16);
    assert_axis(&i->axis[0], 5, 1.5, 0, MRO_UNIT_S);
    assert_axis(&i->axis[1], 5, 0.3, 0.5, MRO_UNIT_NM);
    assert_axis(&i->axis[2], 7, 0.2, -1, MRO_UNIT_NM);
    assert_near(i->magnification, 640000);
    assert_near(i->camera_length_mm, 115);
    for (size_t k = 0; k < sizeof jumps / sizeof *jumps; k++) assert_ramp(f, 0, jumps[k], 1);
    mro_file_close(f);
}

static void test_plain(void **state)
{
    (void)state;
    struct mro_file *f = open_data("emd/velox_plain.emd");
    assert_int_equal(mro_file_images(f), 3);
    assert_string_equal(mro_file_info(f, 0)->title, "DF4");
    assert_string_equal(mro_file_info(f, 1)->title, "Ceta");
    assert_string_equal(mro_file_info(f, 2)->title, "left half");
    assert_int_equal(mro_file_info(f, 0)->dtype, MRO_I32);
    assert_int_equal(mro_file_info(f, 1)->dtype, MRO_F32);
    for (size_t image = 0; image < 2; image++)
        for (size_t frame = 3; frame-- > 0;) assert_ramp(f, image, frame, 1);
    /* A camera: the exposure is the time of a frame, the magnification that of the column, binning y and x. */
    const struct mro_image_info *i = mro_file_info(f, 1);
    assert_near(i->axis[0].step, 0.25);
    assert_near(i->binning[0], 2);
    assert_near(i->binning[1], 4);
    /* Frames that lie whole and plain in the file are not copied; big-endian interleaved ones must be. */
    const unsigned char *p;
    bool big;
    assert_true(f->reader->view(f, 1, 1, &p, &big));
    assert_true(big && p > f->bytes.p && p < f->bytes.p + f->bytes.size);
    assert_false(f->reader->view(f, 0, 1, &p, &big));
    /* The chunk that was never written reads as the fill value, and that is said. */
    assert_warning(f, "1 of the 2 chunks");
    struct mro_image im;
    struct mro_error e;
    assert_int_equal(mro_file_read(f, 2, 0, &im, &e), MRO_OK);
    for (size_t k = 0; k < 16; k++) assert_near(im.px[k], -7);
    mro_image_release(&im);
    mro_file_close(f);
}

static void test_kinds(void **state)
{
    (void)state;
    struct mro_file *f = open_data("emd/velox_kinds.emd");
    assert_int_equal(mro_file_images(f), 5);
    assert_int_equal(mro_file_info(f, 0)->dtype, MRO_C64); /* DPC: 3 and 4 times the ramp */
    assert_ramp(f, 0, 0, 5);
    const struct mro_image_info *i = mro_file_info(f, 1);
    assert_int_equal(i->kind, MRO_KIND_DIFFRACTION);
    assert_axis(&i->axis[0], 4, 0.03, 0.5e-18, MRO_UNIT_INV_NM); /* 1/m */
    assert_axis(&i->axis[1], 3, 0.02, -1e-18, MRO_UNIT_INV_NM);
    assert_warning(f, "half of a Fourier transform");
    i = mro_file_info(f, 2);
    assert_string_equal(i->title, "Fe");
    assert_int_equal(i->kind, MRO_KIND_MAP);
    assert_ramp(f, 2, 0, 1);
    i = mro_file_info(f, 3); /* keys that are missing */
    assert_axis(&i->axis[0], 3, 0, 0, MRO_UNIT_NONE);
    assert_true(i->beam_kv == 0 && isnan(i->stage_tilt_deg[0]));
    assert_warning(f, "BinaryResult.PixelSize");
    assert_warning(f, "Optics.AccelerationVoltage");
    assert_string_equal(mro_file_info(f, 4)->instrument, "Titan ?"); /* a name that is no UTF-8 */
    assert_near(mro_file_info(f, 4)->axis[1].step, 0.2);
    assert_warning(f, "version 14");
    assert_warning(f, "no JSON object");
    assert_warning(f, "holds texts");
    assert_warning(f, "/Data/Line");
    mro_file_close(f);
}

/* ---- spectrum streams ---- */

static size_t find_title(struct mro_file *f, const char *title)
{
    for (size_t i = 0; i < mro_file_images(f); i++)
        if (strcmp(mro_file_info(f, i)->title, title) == 0) return i;
    fail_msg("no image '%s'", title);
    return 0;
}

static double expected_counts(size_t pixel, size_t channel)
{
    return 3 * (2.0 * (channel % 4 == 0) + 2.0 * (double)pixel * (channel == 665) + 2.0 * (channel == 199));
}

static void test_stream_images(void **state)
{
    (void)state;
    struct mro_file *f = open_data("emd/velox_stream.emd");
    struct mro_error e;
    struct mro_image im;
    assert_int_equal(mro_file_images(f), 5);
    const struct mro_image_info *i = mro_file_info(f, find_title(f, "EDS SuperX1"));
    assert_int_equal(i->kind, MRO_KIND_SPECTRUM);
    assert_axis(&i->axis[0], 2048, 10, -250, MRO_UNIT_EV);
    const size_t image = find_title(f, "EDS");
    i = mro_file_info(f, image);
    assert_string_equal(i->detector, "SuperX1, SuperX2");
    assert_int_equal(i->axes, 3);
    assert_int_equal(i->dtype, MRO_U16);
    assert_int_equal(i->kind, MRO_KIND_SPECTRUM);
    assert_axis(&i->axis[0], 4, 0.3, 0.5, MRO_UNIT_NM);
    assert_axis(&i->axis[1], 5, 0.2, -1, MRO_UNIT_NM);
    assert_axis(&i->axis[2], 2048, 10, -250, MRO_UNIT_EV);
    assert_near(i->beam_kv, 300);
    /* Rows out of order; then again without the index of rows. */
    static const size_t rows[] = { 2, 0, 3, 1 };
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < 4; k++) {
            assert_int_equal(mro_file_read(f, image, rows[k], &im, &e), MRO_OK);
            assert_true(im.ny == 5 && im.nx == 2048);
            for (size_t p = 0; p < 5; p++)
                for (size_t c = 0; c < 2048; c++) assert_near(im.px[p * 2048 + c], expected_counts(rows[k] * 5 + p, c));
            mro_image_release(&im);
        }
        struct mro_eds_stream *s = mro_eds_stream_of(f);
        assert_true(s != NULL && (s->row != NULL) == (pass == 0));
        free(s->row);
        s->row = NULL;
        s->rows.n = 0;
    }
    assert_int_equal(mro_file_read(f, find_title(f, "EDS sum"), 0, &im, &e), MRO_OK);
    for (size_t c = 0; c < 2048; c++) {
        double sum = 0;
        for (size_t p = 0; p < 20; p++) sum += expected_counts(p, c);
        assert_near(im.px[c], sum);
    }
    mro_image_release(&im);
    const size_t counts = find_title(f, "EDS counts");
    assert_int_equal(mro_file_info(f, counts)->kind, MRO_KIND_MAP);
    assert_int_equal(mro_file_read(f, counts, 0, &im, &e), MRO_OK);
    for (size_t p = 0; p < 20; p++) assert_near(im.px[p], 3 * (2 * 512 + 2.0 * (double)p + 2));
    mro_image_release(&im);
    assert_null(mro_file_warning(f, 0)); /* the last marker may be left out */
    mro_file_close(f);
}

static void test_element_maps(void **state)
{
    (void)state;
    struct mro_file *f = open_data("emd/velox_stream.emd");
    struct mro_error e;
    struct mro_eds_stream_info info;
    assert_int_equal(mro_eds_stream_info(f, &info, &e), MRO_OK);
    assert_true(info.ny == 4 && info.nx == 5 && info.channels == 2048 && info.frames == 3 && info.detectors == 2);
    assert_near(info.step_ev, 10);
    assert_near(info.offset_ev, -250);
    assert_near(info.axis[1].step, 0.2);
    /* 20 channels each, 5 counts of background in a frame of a detector: channel 656 begins at 6305 eV. */
    const struct mro_eds_window exact = { { 6305, 6505 }, { 5905, 6105 }, { 6705, 6905 } };
    const struct mro_eds_window lopsided = { { 6305, 6505 }, { 0, 0 }, { 6705, 6905 } };
    const struct mro_eds_window windows[] = { exact, mro_eds_window_of(mro_xray_line("Si")), lopsided,
                                              mro_eds_window_of(mro_xray_line("Fe")) };
    struct mro_eds_map maps[4];
    assert_int_equal(mro_eds_maps(f, windows, 4, maps, &e), MRO_OK);
    for (size_t p = 0; p < 20; p++) {
        assert_near(maps[0].net[p], 6.0 * (double)p);
        assert_near(maps[0].variance[p], 6.0 * (double)p + 30 + 0.25 * 30 + 0.25 * 30);
        assert_near(maps[2].net[p], 6.0 * (double)p);
        assert_near(maps[2].variance[p], 6.0 * (double)p + 30 + 30);
        /* Windows that do not fit the comb of the background are off by parts of a tooth: 6 counts. */
        assert_true(fabs(maps[1].net[p] - 6) < 6);
        assert_true(fabs(maps[3].net[p] - 6.0 * (double)p) < 6);
        assert_true(maps[3].variance[p] > maps[3].net[p]);
    }
    assert_near(maps[0].net_sum, 6 * 190);
    for (int i = 0; i < 4; i++) mro_eds_map_release(&maps[i]);
    const struct mro_eds_window beyond = { { 30000, 31000 }, { 0, 0 }, { 0, 0 } };
    assert_int_equal(mro_eds_maps(f, &beyond, 1, maps, &e), MRO_EARG);
    assert_null(maps[0].net);
    mro_file_close(f);
    f = open_data("emd/velox_plain.emd");
    assert_int_equal(mro_eds_maps(f, &exact, 1, maps, &e), MRO_EDATA);
    assert_non_null(strstr(e.message, "velox_plain.emd"));
    mro_file_close(f);
}

/* More markers than the frames have pixels: the places of the counts are lost. */
static void test_stream_of_too_many_pixels(void **state)
{
    (void)state;
    size_t size;
    unsigned char *p = load_data("emd/velox_stream.emd", &size);
    struct mro_file *f;
    struct mro_error e;
    struct mro_image im;
    assert_int_equal(mro_file_open_memory(&f, p, size, "memory", BUDGET, &e), MRO_OK);
    struct mro_eds_stream *s = mro_eds_stream_of(f);
    const struct mro_h5_dataset *d = s->h5->node[s->part[1]].data; /* the one that is not packed */
    memset(p + d->list[0].address, 0xff, 200);
    assert_int_equal(mro_file_read(f, find_title(f, "EDS counts"), 0, &im, &e), MRO_EFORMAT);
    assert_non_null(strstr(e.message, "more pixels than 3 frames of 5 x 4"));
    struct mro_eds_map map;
    const struct mro_eds_window w = { { 6305, 6505 }, { 0, 0 }, { 0, 0 } };
    assert_int_equal(mro_eds_maps(f, &w, 1, &map, &e), MRO_EFORMAT);
    /* The image beside it is as good as before. */
    assert_ramp(f, find_title(f, "HAADF"), 1, 1);
    mro_file_close(f);
    free(p);
}

static void test_pruned(void **state)
{
    (void)state;
    struct mro_file *f = open_data("emd/velox_pruned.emd");
    assert_int_equal(mro_file_images(f), 1);
    assert_warning(f, "pruned");
    assert_ramp(f, 0, 0, 1);
    mro_file_close(f);
}

static void test_lines(void **state)
{
    static const struct {
        const char *name, *line;
        double ev;
    } known[] = {
        { "B", "Ka", 183 },    { "Si", "Ka", 1740 },  { "Fe", "Ka", 6400 },    { "Fe-La", "La", 705 },
        { "Fe L", "La", 705 }, { "Zr", "Ka", 15750 }, { "Zr-La", "La", 2042 }, { "Pd", "La", 2839 },
        { "W", "La", 8398 },   { "W-M", "Ma", 1775 }, { "Ce", "La", 4840 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct mro_xray_line *l = mro_xray_line(known[i].name);
        if (l == NULL) fail_msg("no line '%s'", known[i].name);
        assert_string_equal(l->line, known[i].line);
        assert_true(fabs(l->energy_ev - known[i].ev) < 5);
    }
    assert_null(mro_xray_line("Xx"));
    assert_null(mro_xray_line("Fe-Ma"));
    assert_null(mro_xray_line(""));
    assert_null(mro_xray_line("F e"));
    assert_near(mro_xray_fwhm_ev(5895), 130);
    assert_true(mro_xray_fwhm_ev(183.3) < 75 && mro_xray_fwhm_ev(17450) > 200);
}

/* ---- Berkeley ---- */

static void test_berkeley(void **state)
{
    (void)state;
    struct mro_file *f = open_data("emd/berkeley.emd");
    assert_string_equal(mro_file_format(f), "EMD");
    assert_int_equal(mro_file_images(f), 8); /* once each, whatever links lead there */
    const struct mro_image_info *i = mro_file_info(f, find_title(f, "stack"));
    assert_int_equal(i->dtype, MRO_F64);
    assert_axis(&i->axis[0], 3, 2, 0, MRO_UNIT_S);
    assert_axis(&i->axis[1], 4, 0.5, 0, MRO_UNIT_NM);
    assert_axis(&i->axis[2], 5, 0.25, 1, MRO_UNIT_NM); /* a vector of two entries, "n_m" */
    assert_near(i->beam_kv, 80);
    assert_near(i->camera_length_mm, 300);
    assert_near(i->binning[1], 2);
    assert_near(i->magnification, 1e5);
    assert_string_equal(i->instrument, "Old Faithful");
    for (size_t k = 0; k < 3; k++) assert_ramp(f, find_title(f, "stack"), k, 1);
    /* Written transposed, axes named x, y, t: turned back. */
    i = mro_file_info(f, find_title(f, "turned"));
    assert_int_equal(i->frames, 3);
    assert_axis(&i->axis[1], 4, 0.02, 0, MRO_UNIT_NM);
    assert_axis(&i->axis[2], 5, 0.01, 0, MRO_UNIT_NM);
    for (size_t k = 0; k < 3; k++) assert_ramp(f, find_title(f, "turned"), k, 1);
    i = mro_file_info(f, find_title(f, "hard"));
    assert_int_equal(i->kind, MRO_KIND_DIFFRACTION);
    assert_axis(&i->axis[0], 4, 0.2, 0, MRO_UNIT_INV_NM);
    assert_axis(&i->axis[1], 5, 0.3, 0, MRO_UNIT_INV_NM);
    i = mro_file_info(f, find_title(f, "spectrum"));
    assert_int_equal(i->kind, MRO_KIND_SPECTRUM);
    assert_axis(&i->axis[0], 6, 0.5, 100, MRO_UNIT_EV);
    i = mro_file_info(f, find_title(f, "new")); /* dim0 and dim1, integers, big-endian */
    assert_axis(&i->axis[0], 3, 0.002, 0, MRO_UNIT_NM);
    assert_axis(&i->axis[1], 4, 0.003, 0, MRO_UNIT_NM);
    assert_ramp(f, find_title(f, "new"), 0, 1);
    i = mro_file_info(f, find_title(f, "plain"));
    assert_int_equal(i->dtype, MRO_C64);
    assert_axis(&i->axis[1], 4, 0, 0, MRO_UNIT_NONE); /* an axis of names */
    assert_ramp(f, find_title(f, "plain"), 0, sqrt(2));
    assert_warning(f, "not even");
    struct mro_statistics s; /* kept in the structure of the file */
    struct mro_error e;
    assert_int_equal(mro_file_statistics(f, find_title(f, "compact"), &s, &e), MRO_OK);
    assert_near(s.min, -1);
    assert_near(s.sum, 19);
    mro_file_close(f);
}

static void test_units(void **state)
{
    static const struct {
        const char *text;
        enum mro_unit unit;
        double factor;
    } known[] = {
        { "n_m", MRO_UNIT_NM, 1 },          { "[n_m]", MRO_UNIT_NM, 1 },       { "[nm]", MRO_UNIT_NM, 1 },
        { "[p_m]", MRO_UNIT_NM, 1e-3 },     { "[1/n_m]", MRO_UNIT_INV_NM, 1 }, { "[n_m^-1]", MRO_UNIT_INV_NM, 1 },
        { "A^-1", MRO_UNIT_INV_NM, 10 },    { "[m_rad]", MRO_UNIT_RAD, 1e-3 }, { "[e_V]", MRO_UNIT_EV, 1 },
        { "[furlong]", MRO_UNIT_OTHER, 1 }, { "[]", MRO_UNIT_OTHER, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double factor;
        assert_int_equal(mro_unit_parse(known[i].text, &factor), known[i].unit);
        assert_near(factor, known[i].factor);
    }
}

/* ---- files that lead elsewhere or are broken ---- */

static void test_hostile(void **state)
{
    (void)state;
    assert_fails("hostile_external_raw.emd", "another file, which is not followed");
    assert_fails("hostile_external_link.emd", "another file");
    assert_fails("hostile_external_group.emd", "leads to nothing");
    assert_fails("hostile_virtual.emd", "virtual dataset");
    assert_fails("hostile_zstd.emd", "zstd");
    assert_fails("hostile_soft_loop.emd", "leads to nothing");
    assert_fails("hostile_cycle.emd", "no end");
    assert_fails("hostile_soft_chain.emd", "leads to nothing");
    assert_fails("hostile_hollow.emd", "bytes can fill");
    /* Texts are read as far as real files have any: the image keeps its detector's name. */
    struct mro_file *f = open_data("emd/hostile_texts.emd");
    assert_string_equal(mro_file_info(f, 0)->title, "HAADF");
    mro_file_close(f);
}

/* Opens bytes and reads what there is; only that it ends well counts. */
static void open_and_read(const unsigned char *p, size_t size)
{
    struct mro_file *f;
    struct mro_error e = { .code = MRO_OK };
    if (mro_file_open_memory(&f, p, size, "mutant", BUDGET, &e) != MRO_OK) {
        assert_non_null(strstr(e.message, "mutant"));
        return;
    }
    for (size_t i = 0; i < mro_file_images(f); i++) {
        struct mro_statistics s;
        if (mro_file_info(f, i)->frames <= 8) mro_file_statistics(f, i, &s, &e);
    }
    mro_file_close(f);
}

static void test_cut_and_changed(void **state)
{
    static const char *const names[] = { "emd/velox_stack_filters.emd", "emd/berkeley.emd", "emd/velox_kinds.emd" };
    (void)state;
    uint32_t random = 1;
    for (size_t k = 0; k < 3; k++) {
        size_t size;
        unsigned char *p = load_data(names[k], &size), *copy = malloc(size);
        assert_non_null(copy);
        for (size_t n = 0; n < size; n += 1 + size / 12) {
            memcpy(copy, p, size);
            open_and_read(copy, n);
        }
        for (int i = 0; i < 25; i++) {
            memcpy(copy, p, size);
            for (int j = 0; j < 8; j++) {
                random = random * 1664525 + 1013904223;
                /* Most of the structure lies near the front. */
                copy[(random >> 8) % (j % 2 ? size : size / 8)] = (unsigned char)(random >> 24);
            }
            open_and_read(copy, size);
        }
        free(copy);
        free(p);
    }
}

/* The parent must bear any catalogue: a child that was taken over could write what it likes. */
static void test_lying_catalogue(void **state)
{
    static const char *const names[] = { "emd/velox_stack_filters.emd", "emd/berkeley.emd", "emd/velox_plain.emd" };
    (void)state;
    uint32_t random = 7;
    for (size_t k = 0; k < 3; k++) {
        size_t size, n, good = 0;
        unsigned char *p = load_data(names[k], &size), *catalogue;
        struct mro_file f = { .name = (char *)"mutant", .bytes = { p, size }, .memory_bytes = BUDGET };
        struct mro_error e;
        assert_int_equal(mro_h5_catalogue(&f, &catalogue, &n, &e), MRO_OK);
        unsigned char *copy = malloc(n), *values = malloc(1 << 20);
        assert_true(copy != NULL && values != NULL);
        for (int i = 0; i < 400; i++) {
            struct mro_h5 h;
            memcpy(copy, catalogue, n);
            for (int j = 0; j < 1 + i % 3; j++) {
                random = random * 1664525 + 1013904223;
                const size_t at = (random >> 8) % n;
                random = random * 1664525 + 1013904223;
                copy[at] = (unsigned char)(i % 2 ? random >> 24 : copy[at] + 2 * (random >> 31) - 1);
            }
            const size_t cut = i % 7 == 0 ? (random >> 8) % n : n;
            if (mro_h5_parse(&h, &f, copy, cut, &e) == MRO_OK) {
                good++;
                for (uint32_t node = 0; node < h.nodes; node++) {
                    const struct mro_h5_dataset *d = h.node[node].data;
                    struct mro_h5_box box = { .n = { 0 } };
                    size_t bytes = d ? d->type.bytes : 0;
                    bool fits = d != NULL;
                    for (unsigned a = 0; fits && a < d->rank; a++) {
                        box.n[a] = d->shape[a];
                        box.order[a] = d->rank - 1 - a;
                        fits = d->shape[a] < 1 << 20 && (bytes *= (size_t)d->shape[a]) <= 1 << 20;
                    }
                    mro_h5_follow(&h, node);
                    if (!fits || bytes == 0) continue;
                    mro_h5_view(&h, node, &box);
                    mro_h5_read(&h, node, &box, values, BUDGET, &e);
                }
            }
            mro_h5_release(&h);
        }
        assert_true(good > 20);
        free(copy);
        free(values);
        free(catalogue);
        free(p);
    }
}

/* A chunk that inflates to more or less than it must. */
static void test_broken_chunk(void **state)
{
    (void)state;
    size_t size;
    unsigned char *p = load_data("emd/velox_stack_filters.emd", &size);
    struct mro_file *f;
    struct mro_error e;
    struct mro_image im;
    assert_int_equal(mro_file_open_memory(&f, p, size, "memory", BUDGET, &e), MRO_OK);
    struct mro_h5 h;
    assert_int_equal(mro_h5_open(&h, f, &e), MRO_OK);
    const uint32_t node = mro_h5_find(&h, 0, "Data/Image/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Data");
    assert_true(node != MRO_H5_NONE);
    p[h.node[node].data->list[0].address + 5] ^= 0x55;
    mro_h5_release(&h);
    assert_int_equal(mro_file_read(f, 0, 0, &im, &e), MRO_EFORMAT);
    assert_non_null(strstr(e.message, "does not unpack"));
    assert_ramp(f, 0, 4, 1); /* which lies in other chunks */
    mro_file_close(f);
    free(p);
}

/* The child is forked out of a program with threads, several at a time. */
static void *open_often(void *data)
{
    size_t *good = data;
    for (int i = 0; i < 6; i++) {
        struct mro_file *f = open_data("emd/velox_stack_filters.emd");
        struct mro_image im;
        struct mro_error e;
        *good += mro_file_read(f, 0, 2, &im, &e) == MRO_OK && im.px[8] == 211;
        mro_image_release(&im);
        mro_file_close(f);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t thread[4];
    size_t good[4] = { 0 };
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, open_often, &good[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(good[i], 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_stack),
        cmocka_unit_test(test_filters_and_order),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_stream_images),
        cmocka_unit_test(test_element_maps),
        cmocka_unit_test(test_stream_of_too_many_pixels),
        cmocka_unit_test(test_pruned),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_berkeley),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_lying_catalogue),
        cmocka_unit_test(test_broken_chunk),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calibration and microscope of TIFF files: vendors' tags in files that this test writes with libtiff and in samples
 * of real programs, which source wins where several speak, and tags that are cut, lying or endless. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <tiffio.h>

#include "mroscope/file.h"
#include "readers/data.h"

enum { NX = 64, NY = 48 };

/* A private tag: text (type ASCII, n = 0: its length), bytes, or doubles. */
struct tag {
    uint32_t number;
    TIFFDataType type;
    const void *value;
    size_t n;
};

/* A page of libtiff: bits 8 or 16, samples 1 or 3, filled with `level` + x. */
struct page {
    uint16_t bits, samples;
    uint32_t nx, ny; /* 0 = NX, NY */
    const char *description;
    double per_unit[2]; /* resolution tags x and y, 0 = none */
    uint16_t unit;
    uint16_t level;
    const struct tag *tags;
    size_t n_tags;
};

static char path[64];

static int make_path(void **state)
{
    (void)state;
    strcpy(path, "/tmp/mroscope-test-XXXXXX");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int drop_path(void **state)
{
    (void)state;
    return unlink(path);
}

static int quiet(TIFF *t, void *user, const char *module, const char *format, va_list args)
{
    (void)t, (void)user, (void)module, (void)format, (void)args;
    return 1;
}

static void write_page(TIFF *t, const struct page *p)
{
    const uint32_t nx = p->nx ? p->nx : NX, ny = p->ny ? p->ny : NY;
    uint16_t row[3 * 4096] = { 0 };
    for (size_t i = 0; i < p->n_tags; i++) {
        const struct tag *g = &p->tags[i];
        char name[32];
        snprintf(name, sizeof name, "Private%u", g->number);
        const TIFFFieldInfo field = {
            g->number, TIFF_VARIABLE2, TIFF_VARIABLE2, g->type, FIELD_CUSTOM, 1, g->type != TIFF_ASCII, name
        };
        TIFFFieldInfo text = field;
        if (g->type == TIFF_ASCII) text.field_readcount = text.field_writecount = TIFF_VARIABLE;
        assert_int_equal(TIFFMergeFieldInfo(t, &text, 1), 0);
    }
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, nx);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, ny);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, p->bits);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, p->samples);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, p->samples == 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, ny);
    if (p->description) TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, p->description);
    if (p->per_unit[0] > 0) {
        TIFFSetField(t, TIFFTAG_XRESOLUTION, p->per_unit[0]);
        TIFFSetField(t, TIFFTAG_YRESOLUTION, p->per_unit[1]);
        TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, p->unit);
    }
    for (size_t i = 0; i < p->n_tags; i++) {
        const struct tag *g = &p->tags[i];
        const int rc = g->type == TIFF_ASCII ? TIFFSetField(t, g->number, g->value)
                                             : TIFFSetField(t, g->number, (uint32_t)g->n, g->value);
        assert_int_equal(rc, 1);
    }
    for (uint32_t y = 0; y < ny; y++) {
        for (uint32_t x = 0; x < nx * p->samples; x++) {
            if (p->bits == 8)
                ((uint8_t *)row)[x] = (uint8_t)(p->level + x / p->samples);
            else
                row[x] = (uint16_t)(p->level + x);
        }
        assert_int_equal(TIFFWriteScanline(t, row, y, 0), 1);
    }
    assert_int_equal(TIFFWriteDirectory(t), 1);
}

/* Writes the pages in byte order `mode` ("wl", "wb", "w8") and opens them. */
static struct mro_file *make(const struct page *pages, size_t n, const char *mode)
{
    struct mro_file *f = NULL;
    struct mro_error e = { .code = MRO_OK };
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    TIFFOpenOptionsSetWarningHandlerExtR(options, quiet, NULL);
    TIFF *t = TIFFOpenExt(path, mode, options);
    TIFFOpenOptionsFree(options);
    assert_non_null(t);
    for (size_t i = 0; i < n; i++) write_page(t, &pages[i]);
    TIFFClose(t);
    if (mro_file_open(&f, path, 0, &e) != MRO_OK) fail_msg("%s", e.message);
    return f;
}

/* Checks steps along x and y, their unit and source. */
static void calibrated(const struct mro_image_info *im, double x, double y, enum mro_unit unit, enum mro_source source)
{
    const struct mro_axis *a = &im->axis[im->axes - 2];
    near(a[1].step, x, 1e-6);
    near(a[0].step, y, 1e-6);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(a[i].unit, unit);
        assert_int_equal(a[i].source, source);
    }
}

static void uncalibrated(const struct mro_image_info *im)
{
    assert_true(im->axis[im->axes - 1].step == 0 && im->axis[im->axes - 2].step == 0);
}

/* A page of 16 bits with one private tag of text. */
static struct mro_file *with_text(uint32_t number, const char *text)
{
    const struct tag tag = { number, TIFF_ASCII, text, 0 };
    return make(&(struct page){ .bits = 16, .samples = 1, .tags = &tag, .n_tags = 1 }, 1, "wl");
}

/* ---------------------------------------------------------------- vendors */

static void fei_text(void **state)
{
    static const char both[] =
        "[User]\r\nDate=06/13/2016\r\nTime=05:06:40 PM\r\n[System]\r\nSystemType=Talos F200X\r\n"
        "[Beam]\r\nHV=200000\r\nScan=EScan\r\n[Scan]\r\nPixelWidth=1.5e-010\r\n"
        "PixelHeight = 3e-10\r\nHorFieldsize=1e-6\r\n[Image]\r\nResolutionX=64\r\nResolutionY=40\r\n"
        "MagCanvasRealWidth=0.3\r\n[Detectors]\r\nNumber=1\r\nName=BSED\r\n[PrivateFei]\r\n"
        "DatabarHeight=8\r\n[Stage]\r\nStageT=0.1\r\nStageTb=\r\n";
    (void)state;
    for (uint32_t tag = 34680; tag <= 34682; tag += 2) {
        struct mro_file *f = with_text(tag, both);
        const struct mro_image_info *im = mro_file_info(f, 0);
        calibrated(im, 0.15, 0.3, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
        near(im->beam_kv, 200, 1e-12);
        near(im->magnification, 3e5, 1e-9);
        near(im->stage_tilt_deg[0], 0.1 * 180 / M_PI, 1e-9);
        assert_true(isnan(im->stage_tilt_deg[1]));
        assert_string_equal(im->detector, "BSED");
        assert_string_equal(im->instrument, "Talos F200X");
        assert_string_equal(im->date, "2016-06-13T17:06:40");
        assert_true(warned(f, "rows 40 to 47 are a data bar"));
        mro_file_close(f);
    }
    /* Without [Scan]: the section that [Beam] names, else the field of view. */
    struct mro_file *f = with_text(34682, "[Beam]\nScan=IScan\n[EScan]\nPixelWidth=9e-9\nPixelHeight=9e-9\n[IScan]\n"
                                          "PixelWidth=2e-9\nPixelHeight=2e-9\n");
    calibrated(mro_file_info(f, 0), 2, 2, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    mro_file_close(f);
    f = with_text(34682,
                  "[Beam]\nBeam=IBeam\n[IBeam]\nHFW=6.4e-6\nVFW=9.6e-6\n[Image]\nResolutionX=64\nResolutionY=48\n");
    calibrated(mro_file_info(f, 0), 100, 200, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    mro_file_close(f);
    f = with_text(34682, "[Scan]\nPixelWidth=1e-9\nPixelHeight=1e-9\n[Image]\nResolutionX=128\n");
    assert_true(warned(f, "scanned with 128 pixels"));
    mro_file_close(f);
    f = with_text(34682, "[Scan]\nPixelWidth=\nPixelHeight=-1\n[Beam]\nHV=nan\n");
    uncalibrated(mro_file_info(f, 0));
    assert_true(mro_file_info(f, 0)->beam_kv == 0);
    mro_file_close(f);
}

static void fei_xml(void **state)
{
    static const char text[] =
        "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-16\"?>\n<Metadata "
        "xmlns:nil=\"http://schemas.fei.com/Metadata/v1\">"
        "<Instrument><InstrumentClass>Talos</InstrumentClass></Instrument><Acquisition><AcquisitionStartDatetime>"
        "2024-02-29T12:30:01.1234567Z</AcquisitionStartDatetime></Acquisition><Optics><AccelerationVoltage>200000"
        "</AccelerationVoltage><NominalMagnification>57000</NominalMagnification></"
        "Optics><StageSettings><StagePosition>"
        "<Tilt><Alpha>0.2</Alpha><Beta>-0.1</Beta></Tilt></StagePosition></"
        "StageSettings><BinaryResult><Detector>BM-Ceta"
        "</Detector><PixelSize><X unit=\"%s\">%s</X><Y unit=\"%s\">%s</Y></PixelSize></BinaryResult></Metadata>";
    char xml[2048];
    (void)state;
    snprintf(xml, sizeof xml, text, "m", "1.2E-10", "m", "1.2E-10");
    struct mro_file *f = with_text(34683, xml);
    const struct mro_image_info *im = mro_file_info(f, 0);
    calibrated(im, 0.12, 0.12, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    assert_int_equal(im->kind, MRO_KIND_IMAGE);
    near(im->beam_kv, 200, 1e-12);
    near(im->magnification, 57000, 1e-12);
    near(im->stage_tilt_deg[1], -0.1 * 180 / M_PI, 1e-9);
    assert_string_equal(im->instrument, "Talos");
    assert_string_equal(im->detector, "BM-Ceta");
    assert_string_equal(im->date, "2024-02-29T12:30:01Z");
    mro_file_close(f);

    snprintf(xml, sizeof xml, text, "1/m", "2.5E7", "1/m", "2.5E7");
    f = with_text(34683, xml);
    calibrated(mro_file_info(f, 0), 0.025, 0.025, MRO_UNIT_INV_NM, MRO_SOURCE_VENDOR);
    assert_int_equal(mro_file_info(f, 0)->kind, MRO_KIND_DIFFRACTION);
    mro_file_close(f);
}

static void digital_micrograph(void **state)
{
    static const double x = 0.02, y = 0.03, x0 = 1.5, y0 = -2, scale = 0.25, offset = -3;
    const struct tag tags[] = { { 65003, TIFF_ASCII, "nm", 0 },   { 65004, TIFF_ASCII, "\xc5", 0 },
                                { 65006, TIFF_DOUBLE, &x0, 1 },   { 65007, TIFF_DOUBLE, &y0, 1 },
                                { 65009, TIFF_DOUBLE, &x, 1 },    { 65010, TIFF_DOUBLE, &y, 1 },
                                { 65022, TIFF_ASCII, "e-", 0 },   { 65024, TIFF_DOUBLE, &offset, 1 },
                                { 65025, TIFF_DOUBLE, &scale, 1 } };
    static const char *const modes[] = { "wl", "wb", "wl8", "wb8" };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct mro_file *f =
            make(&(struct page){ .bits = 16, .samples = 1, .tags = tags, .n_tags = sizeof tags / sizeof *tags }, 1,
                 modes[i]);
        const struct mro_image_info *im = mro_file_info(f, 0);
        calibrated(im, 0.02, 0.003, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
        near(im->axis[1].offset, 1.5, 1e-12);
        near(im->axis[0].offset, -0.2, 1e-12);
        near(im->value_scale, 0.25, 1e-12);
        near(im->value_offset, -3, 1e-12);
        assert_string_equal(im->value_unit, "e-");
        mro_file_close(f);
    }

    /* As DigitalMicrograph itself has written it, with the tags of its image. */
    struct mro_error e;
    struct mro_file *f;
    if (mro_file_open(&f, MROSCOPE_TEST_DATA "/tiff/test_loading_image_saved_with_DM.tif", 0, &e) != MRO_OK)
        fail_msg("%s", e.message);
    const struct mro_image_info *im = mro_file_info(f, 0);
    calibrated(im, 168.67469251155853, 168.67469251155853, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    near(im->axis[1].offset, 139662.6434326172, 1e-9);
    near(im->beam_kv, 200, 1e-12);
    near(im->magnification, 51, 1e-12);
    assert_string_equal(im->instrument, "FEI Tecnai");
    assert_string_equal(im->detector, "BM-UltraScan");
    assert_string_equal(im->date, "2015-07-20T18:48:25");
    assert_true(im->binning[0] == 1 && im->binning[1] == 1 && im->value_scale == 0);
    mro_file_close(f);
}

static void jeol(void **state)
{
    static const char text[] =
        "<?xml version=\"1.0\"?>\r\n<TemReporter xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\r\n"
        "<Instruments>JEM-ARM200F</Instruments><DateTime>2015-07-30T07:17:25.7725342+09:00</DateTime><ElectronGun>"
        "<AccelerationVoltage>200000</AccelerationVoltage></ElectronGun><Eos><EosMode>eosTEM</EosMode></Eos>"
        "<IlluminationSystem><ImageField>modeBrightField</ImageField></IlluminationSystem><ImageFormingSystem>"
        "<ImageFormingMode>mode%s</ImageFormingMode><ModeString>%s</ModeString><SelectorValue>%d</SelectorValue>"
        "<SelectorString>%s</SelectorString><SelectorUnitString>%s</SelectorUnitString></"
        "ImageFormingSystem><GonioStage>"
        "<StagePosition><TX>10.45</TX><TY>9.97</TY></StagePosition></GonioStage><JemBaumerCamera><Modelname>Screen"
        "</Modelname><Parameter><BinningHorizontalSize>2</BinningHorizontalSize><BinningVerticalSize>4"
        "</BinningVerticalSize></Parameter></JemBaumerCamera></TemReporter>\r\n";
    char xml[2048];
    (void)state;
    struct page page = {
        .bits = 16, .samples = 1, .description = xml, .per_unit = { 1016, 508 }, .unit = RESUNIT_INCH
    };
    snprintf(xml, sizeof xml, text, "MAG", "MAG", 500000, "x500k", "x"); /* pixels of 25 and 50 um */
    struct mro_file *f = make(&page, 1, "wl");
    const struct mro_image_info *im = mro_file_info(f, 0);
    calibrated(im, 0.05, 0.1, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    near(im->magnification, 500000, 1e-12);
    assert_true(im->camera_length_mm == 0 && im->binning[0] == 4 && im->binning[1] == 2);
    near(im->stage_tilt_deg[0], 10.45, 1e-12);
    assert_string_equal(im->title, "TEM, BrightField, MAG, x500k");
    assert_string_equal(im->date, "2015-07-30T07:17:25+09:00");
    assert_string_equal(im->instrument, "JEM-ARM200F");
    assert_string_equal(im->detector, "Screen");
    mro_file_close(f);

    /* A camera length of 40 cm and a wavelength of 2.5079 pm. */
    snprintf(xml, sizeof xml, text, "DIFF", "DIFF", 40, "40cm", "cm");
    page.per_unit[0] = page.per_unit[1] = 93;
    f = make(&page, 1, "wb");
    im = mro_file_info(f, 0);
    calibrated(im, 0.2722542485800544, 0.2722542485800544, MRO_UNIT_INV_NM, MRO_SOURCE_VENDOR);
    assert_int_equal(im->kind, MRO_KIND_DIFFRACTION);
    near(im->camera_length_mm, 400, 1e-12);
    assert_true(im->magnification == 0);
    mro_file_close(f);
}

static void put_u32(unsigned char *p, size_t at, uint32_t v) { memcpy(p + at, &v, 4); }
static void put_float(unsigned char *p, size_t at, float v) { memcpy(p + at, &v, 4); }

static void put_utf16(unsigned char *p, size_t at, const char *text)
{
    for (size_t i = 0; text[i]; i++) p[at + 2 * i] = (unsigned char)text[i];
}

/* libtiff swaps no bytes of a BYTE array, so these are files of this machine's order. */
static void tvips(void **state)
{
    static unsigned char head[6312];
    struct tag tag = { 37706, TIFF_BYTE, head, sizeof head };
    const struct page page = { .bits = 16, .samples = 1, .tags = &tag, .n_tags = 1 };
    (void)state;
    put_u32(head, 0, 2);
    put_u32(head, 584, 2016u << 16 | 9u << 8 | 21u);
    put_u32(head, 588, 3661);
    put_float(head, 2968, 0.125f);
    put_float(head, 2972, 0.25f);
    put_utf16(head, 3112, "Tecnai");
    put_float(head, 3272, 300000);
    put_u32(head, 3532, 1);
    put_float(head, 3536, 50000);
    put_float(head, 3564, 3.5f);
    put_float(head, 3568, -1);
    put_utf16(head, 3768, "TemCam-F416");
    put_u32(head, 3944, 2);
    put_u32(head, 3948, 1);
    put_u32(head, 6308, 0xaaaaaaaa);
    struct mro_file *f = make(&page, 1, "w");
    const struct mro_image_info *im = mro_file_info(f, 0);
    calibrated(im, 0.125, 0.25, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    near(im->beam_kv, 300, 1e-12);
    near(im->magnification, 50000, 1e-12);
    near(im->stage_tilt_deg[0], 3.5, 1e-12);
    near(im->stage_tilt_deg[1], -1, 1e-12);
    assert_true(im->binning[0] == 1 && im->binning[1] == 2);
    assert_string_equal(im->instrument, "Tecnai");
    assert_string_equal(im->detector, "TemCam-F416");
    assert_string_equal(im->date, "2016-09-21T01:01:01");
    mro_file_close(f);

    put_u32(head, 3532, 3); /* diffraction */
    f = make(&page, 1, "w");
    uncalibrated(mro_file_info(f, 0));
    assert_int_equal(mro_file_info(f, 0)->kind, MRO_KIND_DIFFRACTION);
    assert_true(warned(f, "diffraction pattern of a TVIPS camera"));
    mro_file_close(f);

    put_u32(head, 6308, 0);
    f = make(&page, 1, "w");
    assert_true(warned(f, "TVIPS header is cut or damaged"));
    uncalibrated(mro_file_info(f, 0));
    mro_file_close(f);

    tag.n = 244;
    put_u32(head, 0, 1);
    put_u32(head, 84, 120000);
    f = make(&page, 1, "w");
    uncalibrated(mro_file_info(f, 0));
    assert_true(warned(f, "of version 1"));
    mro_file_close(f);

    /* The tag is mostly an offset: the structure stands at the end of the file. */
    uint32_t where = 0;
    const struct tag offset = { 37706, TIFF_LONG, &where, 1 };
    mro_file_close(make(&(struct page){ .bits = 16, .samples = 1, .tags = &offset, .n_tags = 1 }, 1, "w"));
    static unsigned char copy[32768];
    struct mro_error e;
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    const size_t size = fread(copy, 1, sizeof copy - sizeof head, in);
    fclose(in);
    where = (uint32_t)size;
    for (size_t at = 0; at + 12 <= size; at++) { /* its entry: 37706, LONG, one value */
        const uint16_t entry[2] = { 37706, TIFF_LONG };
        if (memcmp(copy + at, entry, 4) == 0) put_u32(copy, at + 8, where);
    }
    put_u32(head, 0, 2);
    put_u32(head, 3532, 1);
    put_u32(head, 6308, 0xaaaaaaaa);
    memcpy(copy + size, head, sizeof head);
    if (mro_file_open_memory(&f, copy, size + sizeof head, "tvips.tif", 0, &e) != MRO_OK) fail_msg("%s", e.message);
    calibrated(mro_file_info(f, 0), 0.125, 0.25, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    mro_file_close(f);
    unsigned char *cut = malloc(size + sizeof head - 1);
    assert_non_null(cut);
    memcpy(cut, copy, size + sizeof head - 1);
    if (mro_file_open_memory(&f, cut, size + sizeof head - 1, "tvips.tif", 0, &e) != MRO_OK) fail_msg("%s", e.message);
    uncalibrated(mro_file_info(f, 0));
    mro_file_close(f);
    free(cut);
}

static void zeiss(void **state)
{
    static const char text[] =
        "0\r\n0\r\n0\r\n1.5e-009\r\n0\r\n\r\nAP_ACTUALKV\r\nEHT = 5.00 kV\r\nAP_MAG\r\nMag = 10.50 K X\r\n"
        "%sAP_STAGE_AT_T\r\nStage at T = 12.5 \xb0\r\nDP_DETECTOR_TYPE\r\nSignal A = InLens\r\n"
        "AP_DATE\r\nDate :24 Nov 2011\r\nAP_TIME\r\nTime :11:07:14\r\n";
    char all[1024];
    (void)state;
    snprintf(all, sizeof all, text, "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 1.117 \xb5m\r\n");
    struct mro_file *f = with_text(34118, all);
    const struct mro_image_info *im = mro_file_info(f, 0);
    calibrated(im, 1117, 1117, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    near(im->beam_kv, 5, 1e-12);
    assert_true(warned(f, "a pixel along x is 1117 nm by vendor metadata, but 24 nm by vendor metadata"));
    near(im->magnification, 10500, 1e-12);
    near(im->stage_tilt_deg[0], 12.5, 1e-12);
    assert_string_equal(im->detector, "InLens");
    assert_string_equal(im->date, "2011-11-24T11:07:14");
    mro_file_close(f);
    snprintf(all, sizeof all, text, "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 23.9 nm\r\n");
    f = with_text(34118, all); /* the value without a name says the same with more digits */
    calibrated(mro_file_info(f, 0), 24, 24, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    assert_null(mro_file_warning(f, 0));
    mro_file_close(f);
    snprintf(all, sizeof all, text, "AP_PIXEL_SIZE\r\nPixel Size = 1.5 nm\r\n"); /* on a screen of 1024 columns */
    f = with_text(34118, all);
    calibrated(mro_file_info(f, 0), 24, 24, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    assert_null(mro_file_warning(f, 0));
    mro_file_close(f);
    snprintf(all, sizeof all, text, ""); /* the value without a name is that of 1024 columns */
    f = with_text(34118, all);
    calibrated(mro_file_info(f, 0), 1.5 * 1024 / NX, 1.5 * 1024 / NX, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    mro_file_close(f);
}

/* The structure stands where the tag points to: behind the file that libtiff has written. */
static void olympus(void **state)
{
    uint32_t where = 0;
    const struct tag tag = { 33560, TIFF_LONG, &where, 1 };
    unsigned char sis[256] = { 0 }, copy[16384];
    const double x = 2.5, y = 5, mag = 20000;
    struct mro_error e;
    (void)state;
    mro_file_close(make(&(struct page){ .bits = 16, .samples = 1, .tags = &tag, .n_tags = 1 }, 1, "wl"));
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    const size_t size = fread(copy, 1, sizeof copy - sizeof sis, in);
    fclose(in);
    for (size_t at = 0; at + 12 <= size; at++) /* the entry of tag 33560, LONG, one value */
        if (memcmp(copy + at, "\x18\x83\x04\x00\x01\x00\x00\x00", 8) == 0) put_u32(copy, at + 8, (uint32_t)size);
    memcpy(sis, "SIS0", 4);
    const uint16_t date[5] = { 7, 15, 3, 4, 109 }, one = 1;
    memcpy(sis + 10, date, sizeof date); /* 15:07, 3 May 2009 */
    memcpy(sis + 58, &one, 2);
    memcpy(sis + 60, &one, 2);
    put_u32(sis, 64, (uint32_t)size + 100);
    const int16_t exponent = -9;
    memcpy(sis + 100 + 10, &exponent, 2);
    memcpy(sis + 100 + 12, &x, 8);
    memcpy(sis + 100 + 20, &y, 8);
    memcpy(sis + 100 + 36, &mag, 8);
    memcpy(sis + 100 + 46, "MegaView", 8);
    memcpy(copy + size, sis, sizeof sis);
    struct mro_file *f;
    if (mro_file_open_memory(&f, copy, size + sizeof sis, "sis.tif", 0, &e) != MRO_OK) fail_msg("%s", e.message);
    const struct mro_image_info *im = mro_file_info(f, 0);
    calibrated(im, 2.5, 5, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    near(im->magnification, 20000, 1e-12);
    assert_string_equal(im->detector, "MegaView");
    assert_string_equal(im->date, "2009-05-03T15:07:00");
    mro_file_close(f);
    if (mro_file_open(&f, MROSCOPE_TEST_DATA "/tiff/olympus_SIS.tif", 0, &e) != MRO_OK) fail_msg("%s", e.message);
    calibrated(mro_file_info(f, 0), 0.02392791775876109, 0.02392791775876109, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
    near(mro_file_info(f, 0)->magnification, 600000, 1e-12);
    assert_true(warned(f, "page 1 is compressed with JPEG"));
    mro_file_close(f);
    /* Cut inside the structure. */
    for (size_t n = size; n < size + 212; n += 7) {
        unsigned char *part = malloc(n);
        assert_non_null(part);
        memcpy(part, copy, n);
        assert_int_equal(mro_file_open_memory(&f, part, n, "sis.tif", 0, &e), MRO_OK);
        uncalibrated(mro_file_info(f, 0));
        mro_file_close(f);
        free(part);
    }
}

/* ---------------------------------------------------------------- ImageJ and OME */

/* ImageJ's private tags, with the properties of an image that came from DigitalMicrograph. */
static void imagej_properties(void **state)
{
    static const char info[] = "x.dm3\nroot.ImageList.1.ImageTags.Microscope Info.Indicated Magnification = 200000.0\n"
                               "root.ImageList.1.ImageTags.Microscope Info.Voltage = 300000.0\n";
    unsigned char data[12 + 2 * sizeof info];
    const uint32_t head[3] = { 0x494a494a, 0x696e666f, 1 };
    uint32_t counts[2] = { 12, 2 * (sizeof info - 1) };
    (void)state;
    memset(data, 0, sizeof data);
    memcpy(data, head, sizeof head);
    put_utf16(data, 12, info);
    const struct tag tags[] = { { 50838, TIFF_LONG, counts, 2 }, { 50839, TIFF_BYTE, data, 12 + counts[1] } };
    const struct page page = { .bits = 16,
                               .samples = 1,
                               .description = "ImageJ=1.53t\nunit=nm\n",
                               .per_unit = { 50, 25 },
                               .unit = RESUNIT_NONE,
                               .tags = tags,
                               .n_tags = 2 };
    struct mro_file *f = make(&page, 1, "w");
    const struct mro_image_info *im = mro_file_info(f, 0);
    calibrated(im, 0.02, 0.04, MRO_UNIT_NM, MRO_SOURCE_IMAGEJ);
    near(im->beam_kv, 300, 1e-12);
    near(im->magnification, 200000, 1e-12);
    mro_file_close(f);
    counts[1] = 0x7fffffff; /* more than there is */
    f = make(&page, 1, "w");
    assert_true(mro_file_info(f, 0)->beam_kv == 0);
    mro_file_close(f);
}

/* More than 4 GB behind one directory whose offsets are of 32 bits: a file with holes, 2100 images of 2 MiB. */
static void imagej_stack_past_4_gb(void **state)
{
    enum { SIDE = 1024, IMAGES = 2100, START = 4096 };
    const size_t each = (size_t)SIDE * SIDE * 2;
    static const char text[] = "ImageJ=1.53t\nimages=2100\nslices=2100\nunit=nm\nspacing=2\n";
    (void)state;
    mro_file_close(make(&(struct page){ .bits = 16, .samples = 1, .nx = SIDE, .ny = 1, .description = text }, 1, "wl"));
    FILE *out = fopen(path, "r+b");
    assert_non_null(out);
    unsigned char head[START] = { 0 };
    const size_t n = fread(head, 1, sizeof head, out);
    assert_true(n > 64 && n < START);
    uint32_t ifd;
    memcpy(&ifd, head + 4, 4);
    for (size_t at = ifd + 2; at + 12 <= n; at += 12) { /* one row becomes SIDE, and they stand at START */
        uint16_t tag;
        memcpy(&tag, head + at, 2);
        const uint16_t type_long = TIFF_LONG;
        const uint32_t rows = SIDE, start = START, bytes = (uint32_t)each;
        if (tag != TIFFTAG_IMAGELENGTH && tag != TIFFTAG_ROWSPERSTRIP && tag != TIFFTAG_STRIPOFFSETS &&
            tag != TIFFTAG_STRIPBYTECOUNTS)
            continue;
        memcpy(head + at + 2, &type_long, 2);
        memcpy(head + at + 8,
               tag == TIFFTAG_STRIPOFFSETS      ? &start
               : tag == TIFFTAG_STRIPBYTECOUNTS ? &bytes
                                                : &rows,
               4);
    }
    const uint16_t last = 777;
    rewind(out);
    assert_int_equal(fwrite(head, 1, sizeof head, out), sizeof head);
    assert_int_equal(fseeko(out, (off_t)(START + each * IMAGES - 2), SEEK_SET), 0);
    assert_int_equal(fwrite(&last, 2, 1, out), 1);
    fclose(out);
    struct mro_error e;
    struct mro_file *f;
    struct mro_image im;
    if (mro_file_open(&f, path, 0, &e) != MRO_OK) fail_msg("%s", e.message);
    assert_int_equal(mro_file_info(f, 0)->frames, IMAGES);
    near(mro_file_info(f, 0)->axis[0].step, 2, 1e-12);
    assert_null(mro_file_warning(f, 0));
    if (mro_file_read(f, 0, IMAGES - 1, &im, &e) != MRO_OK) fail_msg("%s", e.message);
    assert_true(im.px[SIDE * SIDE - 1] == 777 && im.px[0] == 0);
    mro_image_release(&im);
    mro_file_close(f);
    /* Cut behind image 2059, past 4 GB. */
    assert_int_equal(truncate(path, (off_t)(START + each * 2059 + 17)), 0);
    if (mro_file_open(&f, path, 0, &e) != MRO_OK) fail_msg("%s", e.message);
    assert_int_equal(mro_file_info(f, 0)->frames, 2059);
    assert_true(warned(f, "there are bytes for 2059"));
    mro_file_close(f);
    assert_int_equal(truncate(path, 0), 0);
}

static void ome_axes(void **state)
{
    static const char text[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\">"
        "<Instrument ID=\"I\"><Microscope Model=\"ARM &amp; co\"/><Detector Model=\"K3\"/></Instrument>"
        "<Image ID=\"Image:0\" Name=\"first\"><AcquisitionDate>2020-01-02T03:04:05</AcquisitionDate><Pixels "
        "DimensionOrder=\"%s\" SizeX=\"64\" SizeY=\"48\" SizeZ=\"%d\" SizeC=\"%d\" SizeT=\"%d\" PhysicalSizeX=\"20\" "
        "PhysicalSizeXUnit=\"pm\" PhysicalSizeY=\"3E-5\" PhysicalSizeZ=\"5\" PhysicalSizeZUnit=\"nm\" "
        "TimeIncrement=\"0.5\">"
        "<TiffData IFD=\"0\" PlaneCount=\"6\">%s</TiffData></Pixels></Image></OME>";
    static const struct {
        const char *order, *uuid;
        int z, c, t;
        size_t axes, first, second; /* sizes of what stands before y, x */
        double step[2];
    } cases[] = {
        { "XYZCT", "", 3, 1, 2, 4, 2, 3, { 0.5, 5 } },
        { "XYTZC", "", 3, 1, 2, 4, 3, 2, { 5, 0.5 } },
        { "XYCZT", "", 3, 2, 1, 4, 3, 2, { 5, 0 } },
        { "XYZCT", "", 6, 1, 1, 3, 6, 0, { 5 } },
        { "XYZCT", "", 5, 1, 1, 3, 6, 0, { 0 } }, /* another number of pages: no axis is believed */
        { "XYZZZ", "", 3, 1, 2, 3, 6, 0, { 0 } },
        { "XY", "", 3, 1, 2, 3, 6, 0, { 0 } },
        { "XYZCT", "<UUID FileName=\"other.tif\">urn:uuid:1</UUID>", 3, 1, 2, 3, 6, 0, { 0 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char xml[2048];
        struct page pages[6];
        snprintf(xml, sizeof xml, text, cases[i].order, cases[i].z, cases[i].c, cases[i].t, cases[i].uuid);
        for (uint16_t k = 0; k < 6; k++)
            pages[k] = (struct page){ .bits = 16, .samples = 1, .level = 100 * k, .description = k ? NULL : xml };
        struct mro_file *f = make(pages, 6, "wl");
        const struct mro_image_info *im = mro_file_info(f, 0);
        calibrated(im, 0.02, 0.03, MRO_UNIT_NM, MRO_SOURCE_OME);
        assert_int_equal(im->axes, cases[i].axes);
        assert_int_equal(im->frames, 6);
        assert_int_equal(im->axis[0].size, cases[i].first);
        if (im->axes == 4) assert_int_equal(im->axis[1].size, cases[i].second);
        for (size_t k = 0; k + 2 < im->axes; k++) near(im->axis[k].step, cases[i].step[k], 1e-12);
        assert_int_equal(warned(f, "other files"), cases[i].uuid[0] != '\0');
        assert_string_equal(im->title, "first");
        assert_string_equal(im->instrument, "ARM & co");
        assert_string_equal(im->detector, "K3");
        assert_string_equal(im->date, "2020-01-02T03:04:05");
        struct mro_image frame;
        assert_int_equal(mro_file_read(f, 0, 5, &frame, NULL), MRO_OK);
        assert_true(frame.px[3] == 503);
        mro_image_release(&frame);
        mro_file_close(f);
    }
}

/* ---------------------------------------------------------------- several sources */

static void the_trusted_source_wins_and_disagreement_is_told(void **state)
{
    static const double agrees = 0.0201, differs = 0.0205;
    (void)state;
    for (int i = 0; i < 2; i++) {
        const double *dm = i ? &differs : &agrees;
        const struct tag tags[] = { { 65003, TIFF_ASCII, "nm", 0 },
                                    { 65004, TIFF_ASCII, "nm", 0 },
                                    { 65009, TIFF_DOUBLE, dm, 1 },
                                    { 65010, TIFF_DOUBLE, &agrees, 1 } };
        const struct page page = { .bits = 16,
                                   .samples = 1,
                                   .description = "ImageJ=1.53t\nunit=nm\n",
                                   .per_unit = { 50, 50 },
                                   .unit = RESUNIT_NONE,
                                   .tags = tags,
                                   .n_tags = 4 };
        struct mro_file *f = make(&page, 1, "wl");
        calibrated(mro_file_info(f, 0), *dm, agrees, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
        if (i)
            assert_true(warned(f, "a pixel along x is 0.0205 nm by vendor metadata, but 0.02 nm by ImageJ"));
        else
            assert_null(mro_file_warning(f, 0));
        assert_false(warned(f, "along y"));
        mro_file_close(f);
    }
    struct mro_axis a = { .size = 7 }, b = { 0 };
    char sentence[200] = "";
    mro_axis_set(&b, 2, 1, "\xc3\x85", MRO_SOURCE_OME);
    assert_false(mro_axis_offer(&a, &b, "x", sentence, sizeof sentence)); /* the first one is taken */
    assert_true(a.size == 7 && a.source == MRO_SOURCE_OME);
    near(a.step, 0.2, 1e-12);
    near(a.offset, 0.1, 1e-12);
    mro_axis_set(&b, 0.3, 0, "1/nm", MRO_SOURCE_OME);
    assert_true(mro_axis_offer(&a, &b, "x", sentence, sizeof sentence)); /* of equal trust: it stays */
    near(a.step, 0.2, 1e-12);
    assert_non_null(strstr(sentence, "0.2 nm by OME, but 0.3 1/nm by OME"));
    b = (struct mro_axis){ 0 };
    assert_false(mro_axis_offer(&a, &b, "x", sentence, sizeof sentence)); /* nothing is no contradiction */
    mro_axis_set(&b, 0.2, 0, "nm", MRO_SOURCE_COMMAND_LINE);
    assert_false(mro_axis_offer(&a, &b, "x", NULL, 0));
    assert_int_equal(a.source, MRO_SOURCE_COMMAND_LINE);
}

static void resolution_tags_are_no_calibration(void **state)
{
    static const struct {
        uint16_t unit;
        double nm;
    } cases[] = { { RESUNIT_INCH, 2.54e7 / 300 }, { RESUNIT_CENTIMETER, 1e7 / 300 }, { RESUNIT_NONE, 0 } };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct mro_file *f =
            make(&(struct page){ .bits = 16, .samples = 1, .per_unit = { 300, 150 }, .unit = cases[i].unit }, 1, "wl");
        const struct mro_image_info *im = mro_file_info(f, 0);
        uncalibrated(im);
        near(im->resolution_nm[1], cases[i].nm, 1e-6);
        near(im->resolution_nm[0], 2 * cases[i].nm, 1e-6);
        mro_file_close(f);
    }
}

/* ---------------------------------------------------------------- copies for display */

static void the_deeper_page_is_the_image(void **state)
{
    static const char fei[] = "[Scan]\nPixelWidth=1e-9\nPixelHeight=1e-9\n";
    const struct tag tag = { 34682, TIFF_ASCII, fei, 0 };
    const struct page data = { .bits = 16, .samples = 1, .level = 1000 };
    (void)state;
    for (int i = 0; i < 4; i++) {
        /* In colour with a bar below; grey before and behind the data; half as large. */
        const struct page copy = { .bits = 8,
                                   .samples = i == 0 ? 3 : 1,
                                   .ny = i == 0   ? NY + 6
                                         : i == 3 ? NY / 2 * 3
                                                  : 0,
                                   .nx = i == 3 ? NX / 2 * 3 : 0,
                                   .tags = &tag,
                                   .n_tags = 1 };
        const struct page pages[2] = { i == 1 ? data : copy, i == 1 ? copy : data };
        struct mro_file *f = make(pages, 2, "wl");
        assert_int_equal(mro_file_images(f), 1);
        const struct mro_image_info *im = mro_file_info(f, 0);
        assert_int_equal(im->dtype, MRO_U16);
        assert_true(warned(f, "copy for display"));
        if (i != 3) /* the tags of the copy hold for the data of the same width */
            calibrated(im, 1, 1, MRO_UNIT_NM, MRO_SOURCE_VENDOR);
        struct mro_image image;
        assert_int_equal(mro_file_read(f, 0, 0, &image, NULL), MRO_OK);
        assert_true(image.px[5] == 1005);
        mro_image_release(&image);
        mro_file_close(f);
    }
    /* Pages of one depth, or of other proportions, are images of their own. */
    const struct page others[][2] = {
        { { .bits = 8, .samples = 1 }, { .bits = 8, .samples = 3 } },
        { { .bits = 8, .samples = 1, .nx = 30, .ny = 47 }, data },
    };
    for (size_t i = 0; i < 2; i++) {
        struct mro_file *f = make(others[i], 2, "wl");
        assert_int_equal(mro_file_images(f), 2);
        assert_false(warned(f, "copy for display"));
        mro_file_close(f);
    }
}

/* ---------------------------------------------------------------- cut, lying and endless tags */

static void hostile_xml(void **state)
{
    static const char *const texts[] = {
        "<Metadata><BinaryResult><PixelSize><X unit=\"m\">1e-9</X>",
        "<!DOCTYPE Metadata [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><Metadata>&b;</Metadata>",
        "<!DOCTYPE Metadata [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><Metadata><Instrument><InstrumentClass>&x;"
        "</InstrumentClass></Instrument></Metadata>",
        "<!DOCTYPE Metadata SYSTEM \"http://localhost/x.dtd\"><Metadata><Optics><AccelerationVoltage>&x;"
        "</AccelerationVoltage></Optics></Metadata",
        "<Metadata><Optics><AccelerationVoltage>1e999</AccelerationVoltage></Optics><",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct mro_file *f = with_text(34683, texts[i]);
        assert_true(warned(f, "XML of its tag 34683 is broken"));
        const struct mro_image_info *im = mro_file_info(f, 0);
        assert_true(im->beam_kv == 0 && im->instrument[0] == '\0');
        mro_file_close(f);
    }
    /* Deep nesting costs no stack, and what lies below is not looked at. */
    const size_t deep = 20000;
    char *xml = malloc(8 * deep);
    assert_non_null(xml);
    char *p = xml;
    for (size_t i = 0; i < deep; i++) p += sprintf(p, "<a>");
    for (size_t i = 0; i < deep; i++) p += sprintf(p, "</a>");
    struct mro_file *f = with_text(34683, xml);
    uncalibrated(mro_file_info(f, 0));
    mro_file_close(f);
    free(xml);
}

/* A long text for each of many images is read for the first of them only. */
static void one_text_for_many_pages(void **state)
{
    enum { PAGES = 40 };
    const size_t n = (size_t)4 << 20;
    char *text = malloc(n);
    struct page pages[PAGES];
    (void)state;
    assert_non_null(text);
    memset(text, ' ', n - 1);
    text[n - 1] = '\0';
    memcpy(text, "<OME>", 5);
    memcpy(text + n - 7, "</OME>", 6);
    for (uint32_t i = 0; i < PAGES; i++)
        pages[i] = (struct page){ .bits = 16, .samples = 1, .nx = 8 + i, .ny = 8, .description = i ? NULL : text };
    struct mro_file *f = make(pages, PAGES, "wl");
    assert_int_equal(mro_file_images(f), PAGES);
    assert_true(warned(f, "too long to be read for each"));
    mro_file_close(f);
    free(text);
}

/* Every byte of the tags' region turned over, and the file cut: no harm, and no step that is no number. */
static void damaged_tags_do_no_harm(void **state)
{
    static const char *const names[] = { "tiff/test_loading_image_saved_with_DM.tif", "tiff/sto_ome.ome.tif" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t size;
        unsigned char *p = load_data(names[i], &size);
        const size_t from = i ? 0 : 18504, to = i ? 2500 : size; /* where the tags stand */
        uint32_t random = 12345;
        for (int k = 0; k < 3000; k++) {
            random = random * 1664525 + 1013904223;
            const size_t at = from + (random >> 8) % (to - from);
            const unsigned char was = p[at];
            struct mro_file *f;
            struct mro_error e;
            p[at] = (unsigned char)(random >> 3 ^ 0xa5);
            if (mro_file_open_memory(&f, p, size, "x.tif", (size_t)64 << 20, &e) == MRO_OK) {
                const struct mro_image_info *im = mro_file_info(f, 0);
                for (size_t a = 0; a < im->axes; a++) assert_true(im->axis[a].step >= 0 && isfinite(im->axis[a].step));
                mro_file_close(f);
            } else {
                assert_non_null(strstr(e.message, "x.tif"));
            }
            p[at] = was;
        }
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fei_text),
        cmocka_unit_test(fei_xml),
        cmocka_unit_test(digital_micrograph),
        cmocka_unit_test(jeol),
        cmocka_unit_test(tvips),
        cmocka_unit_test(zeiss),
        cmocka_unit_test(olympus),
        cmocka_unit_test(imagej_properties),
        cmocka_unit_test(imagej_stack_past_4_gb),
        cmocka_unit_test(ome_axes),
        cmocka_unit_test(the_trusted_source_wins_and_disagreement_is_told),
        cmocka_unit_test(resolution_tags_are_no_calibration),
        cmocka_unit_test(the_deeper_page_is_the_image),
        cmocka_unit_test(hostile_xml),
        cmocka_unit_test(one_text_for_many_pages),
        cmocka_unit_test(damaged_tags_do_no_harm),
    };
    return cmocka_run_group_tests(tests, make_path, drop_path);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tags in which makers of microscopes and cameras keep calibration and settings. None is published; the layouts are
 * those that RosettaSciIO, tifffile, Bio-Formats and Gwyddion have found, checked against files where there are any.
 * Where a tag has a value for each direction, the one called X or width is along the rows; RosettaSciIO 0.15 exchanges
 * them for FEI, TVIPS and Olympus, which shows only where pixels are not square.
 *   34118         Zeiss SEM: lines of text
 *   34680, 34682  FEI and Thermo Fisher: an INI text, lengths in m, angles in rad
 *   34683         Thermo Fisher: XML
 *   33560         Olympus Soft Imaging: a structure at an offset
 *   37706         TVIPS EM-MENU: the offset of structures of version 1 and 2, or these themselves
 *   65003...65027 Gatan DigitalMicrograph: a value a tag, and the image's tags as in a DM4 file
 *   270           JEOL SightX and others: XML in the description */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiff.h>

#include "io/dm.h"
#include "io/text.h"
#include "io/tiff_meta.h"
#include "io/xml.h"
#include "mroscope/math/ctf.h"

enum {
    TAG_SIS = 33560,
    TAG_ZEISS = 34118,
    TAG_FEI_SFEG = 34680,
    TAG_FEI_HELIOS = 34682,
    TAG_FEI_XML = 34683,
    TAG_TVIPS = 37706,
    TAG_DM_UNIT = 65003,   /* x, y, z follow each other in each of these */
    TAG_DM_ORIGIN = 65006, /* in the unit of the axis */
    TAG_DM_SCALE = 65009,
    TAG_DM_VALUE_UNIT = 65022,
    TAG_DM_VALUE_OFFSET = 65024,
    TAG_DM_VALUE_SCALE = 65025,
    TAG_DM_TAGS = 65027
};

#define MAX_TEXT ((size_t)1 << 20) /* of an INI text, which is searched some twenty times */

static const double degrees = 180 / 3.14159265358979323846;

/* ---------------------------------------------------------------- common */

/* A text tag that may be looked at: false when it is missing, empty, too long or the budget is spent. */
static bool text_tag(const struct mro_tiff_dir *d, uint16_t tag, size_t most, size_t *budget, const char **text,
                     size_t *n)
{
    struct mro_tiff_value v;
    if (!mro_tiff_find(d, tag, &v) || (v.type != TIFF_ASCII && v.type != TIFF_BYTE && v.type != TIFF_UNDEFINED))
        return false;
    *text = (const char *)v.p;
    const char *zero = memchr(v.p, 0, v.bytes);
    *n = zero ? (size_t)(zero - *text) : v.bytes;
    return *n > 0 && *n <= most && mro_tiff_spend(budget, *n);
}

static double number_tag(const struct mro_tiff_dir *d, uint16_t tag)
{
    struct mro_tiff_value v;
    return mro_tiff_find(d, tag, &v) ? mro_tiff_number(&v, 0) : NAN;
}

/* Offers a calibration of the image's y and x axes. Steps that are no length are left out. */
static void offer(struct mro_file *f, struct mro_image_info *info, const double step[2], const char *unit)
{
    for (size_t i = 0; i < 2; i++) {
        struct mro_axis a = { 0 };
        mro_axis_set(&a, step[i], 0, unit, MRO_SOURCE_VENDOR);
        mro_file_offer(f, &info->axis[info->axes - 2 + i], &a, i ? "x" : "y");
    }
}

static void take_text(char *out, size_t room, const char *text, size_t n)
{
    if (out[0] == '\0' && n) mro_text_copy(text, n, out, room);
}

static void take_number(double *out, double v)
{
    if (*out == 0 && v > 0) *out = v;
}

static void take_tilt(struct mro_image_info *info, double alpha_deg, double beta_deg)
{
    const double v[2] = { alpha_deg, beta_deg };
    for (int i = 0; i < 2; i++)
        if (isnan(info->stage_tilt_deg[i]) && fabs(v[i]) <= 360) info->stage_tilt_deg[i] = v[i];
}

static void take_date(struct mro_image_info *info, const char *date, const char *clock)
{
    if (info->date[0] || date[0] == '\0') return;
    if (!mro_text_date(date, clock, info->date, sizeof info->date))
        snprintf(info->date, sizeof info->date, "%.16s%s%.12s", date, clock[0] ? " " : "", clock);
}

/* ---------------------------------------------------------------- FEI and Thermo Fisher */

struct ini {
    const char *text;
    size_t n;
};

static double ini_number(const struct ini *t, const char *section, const char *key)
{
    size_t n;
    const char *v = mro_text_ini(t->text, t->n, section, key, &n);
    return v ? mro_parse_number(v, n) : NAN;
}

static void ini_text(const struct ini *t, const char *section, const char *key, char *out, size_t room)
{
    size_t n;
    const char *v = mro_text_ini(t->text, t->n, section, key, &n);
    out[0] = '\0';
    if (v) mro_text_copy(v, n, out, room);
}

/* Pixel size of the scan in m, y and x: [Scan] of newer files, else the section that [Beam] names, else the field of
 * view over the number of pixels. */
static void fei_pixel(const struct ini *t, double step[2])
{
    char scan[32], beam[32];
    ini_text(t, "Beam", "Scan", scan, sizeof scan);
    ini_text(t, "Beam", "Beam", beam, sizeof beam);
    const char *const sections[] = { "Scan", scan, "EScan", "IScan" };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        step[0] = ini_number(t, sections[i], "PixelHeight");
        step[1] = ini_number(t, sections[i], "PixelWidth");
        if (step[0] > 0 && step[1] > 0) return;
    }
    const char *const beams[] = { beam, "EBeam", "IBeam", "IRBeam" };
    for (size_t i = 0; i < sizeof beams / sizeof *beams; i++) {
        step[0] = ini_number(t, beams[i], "VFW") / ini_number(t, "Image", "ResolutionY");
        step[1] = ini_number(t, beams[i], "HFW") / ini_number(t, "Image", "ResolutionX");
        if (step[0] > 0 && step[1] > 0) return;
    }
}

static void fei_ini(struct mro_file *f, const struct ini *t, struct mro_image_info *info)
{
    char date[16], clock[16], text[64];
    double step[2];
    const size_t ny = info->axis[info->axes - 2].size, nx = info->axis[info->axes - 1].size;
    fei_pixel(t, step);
    offer(f, info, step, "m");
    take_number(&info->beam_kv, ini_number(t, "Beam", "HV") / 1000);
    /* Shown on the microscope as the width of its screen over that of the field. */
    take_number(&info->magnification,
                ini_number(t, "Image", "MagCanvasRealWidth") / ini_number(t, "Scan", "HorFieldsize"));
    ini_text(t, "Detectors", "Name", text, sizeof text);
    take_text(info->detector, sizeof info->detector, text, strlen(text));
    ini_text(t, "System", "SystemType", text, sizeof text);
    take_text(info->instrument, sizeof info->instrument, text, strlen(text));
    take_tilt(info, degrees * ini_number(t, "Stage", "StageT"), degrees * ini_number(t, "Stage", "StageTb"));
    ini_text(t, "User", "Date", date, sizeof date);
    ini_text(t, "User", "Time", clock, sizeof clock);
    take_date(info, date, clock);

    const double rows = ini_number(t, "Image", "ResolutionY"), columns = ini_number(t, "Image", "ResolutionX");
    if (rows >= 1 && rows < (double)ny && ini_number(t, "PrivateFei", "DatabarHeight") > 0)
        mro_file_warn(f, "'%s': rows %.0f to %zu are a data bar that is drawn into the image", f->name, rows, ny - 1);
    if (columns >= 1 && columns != (double)nx)
        mro_file_warn(f,
                      "'%s' was scanned with %.0f pixels a row and has %zu: its pixel size is that of the scan and may "
                      "not hold any more",
                      f->name, columns, nx);
}

/* What is taken from the XML texts of Thermo Fisher and JEOL. */
struct fields {
    double x, y;
    char unit[16];
    double kv, volt, magnification, alpha, beta, selector, bin_x, bin_y;
    char instrument[64], model[64], detector[64], date[64];
    char mode[16], eos[16], field[32], form[32], scan_form[32], label[32], selector_unit[8];
};

/* A row says where a field of struct fields stands. */
struct place {
    const char *path;
    size_t offset, room; /* room 0: a double */
};

static void take_place(struct fields *v, const struct place *places, size_t n, const char *path, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(path, places[i].path) != 0) continue;
        char *to = (char *)v + places[i].offset;
        if (places[i].room) {
            if (*to == '\0') mro_text_copy(text, strlen(text), to, places[i].room);
        } else {
            const double x = mro_parse_number(text, strlen(text));
            if (isnan(*(double *)(void *)to)) memcpy(to, &x, sizeof x);
        }
        return;
    }
}

#define NUMBER(field) offsetof(struct fields, field), 0
#define TEXT(field) offsetof(struct fields, field), sizeof(((struct fields *)0)->field)

static const struct fields no_fields = { .x = NAN,
                                         .y = NAN,
                                         .kv = NAN,
                                         .volt = NAN,
                                         .magnification = NAN,
                                         .alpha = NAN,
                                         .beta = NAN,
                                         .selector = NAN,
                                         .bin_x = NAN,
                                         .bin_y = NAN };

static void fei_begin(void *context, const char *path, const char *const *attributes)
{
    struct fields *v = context;
    const char *unit = mro_xml_attribute(attributes, "unit");
    if (unit && strcmp(path, "Metadata/BinaryResult/PixelSize/X") == 0) snprintf(v->unit, sizeof v->unit, "%s", unit);
}

static void fei_end(void *context, const char *path, const char *text)
{
    static const struct place places[] = {
        { "Metadata/BinaryResult/PixelSize/X", NUMBER(x) },
        { "Metadata/BinaryResult/PixelSize/Y", NUMBER(y) },
        { "Metadata/BinaryResult/Detector", TEXT(detector) },
        { "Metadata/Detectors/ScanningDetector/DetectorName", TEXT(detector) },
        { "Metadata/Detectors/ImagingDetector/DetectorName", TEXT(detector) },
        { "Metadata/Optics/AccelerationVoltage", NUMBER(volt) },
        { "Metadata/Optics/NominalMagnification", NUMBER(magnification) },
        { "Metadata/Instrument/InstrumentModel", TEXT(model) },
        { "Metadata/Instrument/InstrumentClass", TEXT(instrument) },
        { "Metadata/StageSettings/StagePosition/Tilt/Alpha", NUMBER(alpha) },
        { "Metadata/StageSettings/StagePosition/Tilt/Beta", NUMBER(beta) },
        { "Metadata/Acquisition/AcquisitionStartDatetime", TEXT(date) },
        { "Metadata/Acquisition/AcquisitionDatetime", TEXT(date) },
    };
    take_place(context, places, sizeof places / sizeof *places, path, text);
}

/* ISO 8601 without fractions of a second, which some programs write to 100 ns. */
static void take_iso_date(struct mro_image_info *info, const char *date)
{
    const size_t whole = strcspn(date, "."), fraction = strspn(date + whole, ".0123456789");
    if (info->date[0] == '\0' && whole)
        snprintf(info->date, sizeof info->date, "%.*s%.8s", (int)(whole < 20 ? whole : 20), date,
                 date + whole + fraction);
}

static void fei_xml(struct mro_file *f, const char *text, size_t n, struct mro_image_info *info)
{
    static const struct mro_xml_hooks hooks = { fei_begin, fei_end };
    struct fields v = no_fields;
    char why[128];
    if (!mro_xml_walk(text, n, &hooks, &v, why, sizeof why))
        mro_file_warn(f, "'%s': the XML of its tag %d is broken (%s)", f->name, TAG_FEI_XML, why);
    offer(f, info, (double[]){ v.y, v.x }, v.unit[0] ? v.unit : "m");
    take_number(&info->beam_kv, v.volt / 1000);
    take_number(&info->magnification, v.magnification);
    take_text(info->instrument, sizeof info->instrument, v.model, strlen(v.model));
    take_text(info->instrument, sizeof info->instrument, v.instrument, strlen(v.instrument));
    take_text(info->detector, sizeof info->detector, v.detector, strlen(v.detector));
    take_tilt(info, degrees * v.alpha, degrees * v.beta);
    take_iso_date(info, v.date);
}

static void fei(struct mro_file *f, const struct mro_tiff_dir *d, size_t *budget, struct mro_image_info *info)
{
    static const uint16_t tags[] = { TAG_FEI_HELIOS, TAG_FEI_SFEG, TAG_FEI_XML };
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        struct ini t;
        if (!text_tag(d, tags[i], MRO_XML_MAX_BYTES, budget, &t.text, &t.n)) continue;
        const char *s = t.text;
        while (s < t.text + t.n && !isgraph((unsigned char)*s)) s++;
        if (s < t.text + t.n && *s == '<')
            fei_xml(f, t.text, t.n, info);
        else if (t.n <= MAX_TEXT)
            fei_ini(f, &t, info);
    }
}

/* ---------------------------------------------------------------- DigitalMicrograph */

static void digital_micrograph(struct mro_file *f, const struct mro_tiff_dir *d, size_t *budget,
                               struct mro_image_info *info)
{
    struct mro_tiff_value v;
    const char *text;
    size_t n;
    for (uint16_t i = 0; i < 3; i++) { /* x, y, z */
        struct mro_axis a = { 0 };
        char unit[24] = "";
        if (i == 2 && info->axes != 3) break;
        if (text_tag(d, TAG_DM_UNIT + i, 256, budget, &text, &n)) mro_text_copy(text, n, unit, sizeof unit);
        mro_axis_set(&a, number_tag(d, TAG_DM_SCALE + i), number_tag(d, TAG_DM_ORIGIN + i), unit, MRO_SOURCE_VENDOR);
        mro_file_offer(f, &info->axis[info->axes - 1 - i], &a, i == 0 ? "x" : i == 1 ? "y" : "z");
    }
    const double scale = number_tag(d, TAG_DM_VALUE_SCALE), offset = number_tag(d, TAG_DM_VALUE_OFFSET);
    const bool unit = text_tag(d, TAG_DM_VALUE_UNIT, 256, budget, &text, &n);
    /* 1, 0 and no unit stand in every file that says nothing of its values. */
    if (isfinite(scale) && scale != 0 && (scale != 1 || offset != 0 || unit)) {
        info->value_scale = scale;
        info->value_offset = isfinite(offset) ? offset : 0;
        if (unit) mro_text_copy(text, n, info->value_unit, sizeof info->value_unit);
    }
    if (mro_tiff_find(d, TAG_DM_TAGS, &v) && (v.type == TIFF_BYTE || v.type == TIFF_UNDEFINED) &&
        mro_tiff_spend(budget, v.bytes))
        mro_dm_describe(f, (struct mro_bytes){ v.p, v.bytes }, info);
}

/* ---------------------------------------------------------------- JEOL */

static void jeol_end(void *context, const char *path, const char *text)
{
    static const struct place places[] = {
        { "TemReporter/Instruments", TEXT(instrument) },
        { "TemReporter/DateTime", TEXT(date) },
        { "TemReporter/ElectronGun/AccelerationVoltage", NUMBER(volt) },
        { "TemReporter/Eos/EosMode", TEXT(eos) },
        { "TemReporter/IlluminationSystem/ImageField", TEXT(field) },
        { "TemReporter/ImageFormingSystem/ImageFormingMode", TEXT(form) },
        { "TemReporter/ImageFormingSystem/ScanningImageFormingMode", TEXT(scan_form) },
        { "TemReporter/ImageFormingSystem/ModeString", TEXT(mode) },
        { "TemReporter/ImageFormingSystem/SelectorValue", NUMBER(selector) },
        { "TemReporter/ImageFormingSystem/SelectorString", TEXT(label) },
        { "TemReporter/ImageFormingSystem/SelectorUnitString", TEXT(selector_unit) },
        { "TemReporter/GonioStage/StagePosition/TX", NUMBER(alpha) },
        { "TemReporter/GonioStage/StagePosition/TY", NUMBER(beta) },
        { "TemReporter/JemBaumerCamera/Modelname", TEXT(model) },
        { "TemReporter/JemBaumerCamera/Parameter/BinningHorizontalSize", NUMBER(bin_x) },
        { "TemReporter/JemBaumerCamera/Parameter/BinningVerticalSize", NUMBER(bin_y) },
        { "TemReporter/ImageSourceDetector", TEXT(detector) },
    };
    take_place(context, places, sizeof places / sizeof *places, path, text);
}

/* "modeBrightField" without its first word, as JEOL's program shows it. */
static const char *without_mode(const char *s) { return strncmp(s, "mode", 4) == 0 ? s + 4 : s; }

/* SightX says in its description how the microscope stood; the resolution tags are those of the camera, so that
 * magnification or camera length make the calibration of them. */
static void jeol(struct mro_file *f, const char *description, const double res_nm[2], struct mro_image_info *info)
{
    static const struct mro_xml_hooks hooks = { NULL, jeol_end };
    struct fields v = no_fields;
    char why[128];
    const char *end = strstr(description, "</TemReporter>");
    const size_t n = end ? (size_t)(end - description) + strlen("</TemReporter>") : strlen(description);
    if (!mro_xml_walk(description, n, &hooks, &v, why, sizeof why))
        mro_file_warn(f, "'%s': the XML of its description is broken (%s)", f->name, why);
    const bool scanning = strcmp(v.eos, "eosASID") == 0 || strcmp(v.eos, "modeASID") == 0;
    take_number(&info->beam_kv, v.volt / 1000);
    if (strcmp(v.mode, "DIFF") != 0) take_number(&info->magnification, v.selector);
    if (!scanning && strcmp(v.mode, "MAG") == 0 && v.selector > 0) {
        offer(f, info, (double[]){ res_nm[0] / v.selector, res_nm[1] / v.selector }, "nm");
    } else if (!scanning && strcmp(v.mode, "DIFF") == 0 && v.selector > 0) {
        const double mm = v.selector * (strcmp(v.selector_unit, "cm") == 0  ? 10
                                        : strcmp(v.selector_unit, "m") == 0 ? 1000
                                                                            : 1);
        take_number(&info->camera_length_mm, mm);
        if (v.volt > 0) {
            const double lambda_l = mro_wavelength_nm(v.volt / 1000) * mm * 1e6; /* nm^2 */
            offer(f, info, (double[]){ res_nm[0] / lambda_l, res_nm[1] / lambda_l }, "1/nm");
        }
        info->kind = MRO_KIND_DIFFRACTION;
    }
    take_text(info->instrument, sizeof info->instrument, v.instrument, strlen(v.instrument));
    take_text(info->detector, sizeof info->detector, v.model, strlen(v.model));
    take_text(info->detector, sizeof info->detector, v.detector, strlen(v.detector));
    if (v.bin_x >= 1 && v.bin_y >= 1) info->binning[0] = v.bin_y, info->binning[1] = v.bin_x;
    take_tilt(info, v.alpha, v.beta);
    take_iso_date(info, v.date);
    if (info->title[0] == '\0' && v.label[0])
        snprintf(info->title, sizeof info->title, "%s, %.24s, %.24s, %.24s", scanning ? "STEM" : "TEM",
                 without_mode(v.field), without_mode(scanning ? v.scan_form : v.form), v.label);
}

/* ---------------------------------------------------------------- TVIPS */

/* Two structures of packed little fields: version 1, and version 2 behind it, which ends in a magic number. */
enum {
    TVIPS_V1 = 244, /* bytes of version 1 */
    TVIPS_DATE = 584,
    TVIPS_TIME = 588,
    TVIPS_PIXEL_X = 2968,
    TVIPS_PIXEL_Y = 2972,
    TVIPS_TEM = 3112,
    TVIPS_TEM_HT = 3272,
    TVIPS_TEM_MODE = 3532,
    TVIPS_TEM_MAGNIFICATION = 3536,
    TVIPS_TEM_ALPHA = 3564,
    TVIPS_CAMERA = 3768,
    TVIPS_BINNING = 3944,
    TVIPS_MAGIC = 6308,
    TVIPS_V2 = 6312,
    TVIPS_NAME = 160 /* bytes of a name, UTF-16 */
};

static double tvips_float(const struct mro_tiff_value *v, size_t at)
{
    const uint32_t bits = mro_get_u32(v->p + at, v->big_endian);
    float x;
    memcpy(&x, &bits, sizeof x);
    return isfinite(x) ? x : NAN;
}

static double tvips_int(const struct mro_tiff_value *v, size_t at)
{
    return (int32_t)mro_get_u32(v->p + at, v->big_endian);
}

static void tvips(struct mro_file *f, const struct mro_tiff_dir *d, struct mro_image_info *info)
{
    struct mro_tiff_value v;
    if (!mro_tiff_find(d, TAG_TVIPS, &v)) return;
    if (v.type == TIFF_LONG && v.count == 1) { /* where it is */
        const uint64_t at = mro_get_u32(v.p, v.big_endian);
        if (at > d->bytes.size) return;
        v.p = d->bytes.p + at;
        v.bytes = d->bytes.size - (size_t)at;
    }
    if (v.bytes < TVIPS_V1) return;
    const double version = tvips_int(&v, 0);
    if (version != 2) {
        /* Version 1 has no pixel size in the plane of the specimen, and its units are not known. */
        mro_file_warn(f, "'%s': its TVIPS header is of version %.0f, which is not read", f->name, version);
        return;
    }
    if (v.bytes < TVIPS_V2 || mro_get_u32(v.p + TVIPS_MAGIC, v.big_endian) != 0xaaaaaaaa) {
        mro_file_warn(f, "'%s': its TVIPS header is cut or damaged and is passed over", f->name);
        return;
    }
    char text[128];
    const double magnification = tvips_float(&v, TVIPS_TEM_MAGNIFICATION);
    if (tvips_int(&v, TVIPS_TEM_MODE) == 3) {
        /* The pixel size is then no length, and the unit is not recorded. */
        mro_file_warn(f, "'%s' is a diffraction pattern of a TVIPS camera, whose calibration is not read", f->name);
        take_number(&info->camera_length_mm, magnification);
        info->kind = MRO_KIND_DIFFRACTION;
    } else {
        offer(f, info, (double[]){ tvips_float(&v, TVIPS_PIXEL_Y), tvips_float(&v, TVIPS_PIXEL_X) }, "nm");
        take_number(&info->magnification, magnification);
    }
    take_number(&info->beam_kv, tvips_float(&v, TVIPS_TEM_HT) / 1000);
    take_tilt(info, tvips_float(&v, TVIPS_TEM_ALPHA), tvips_float(&v, TVIPS_TEM_ALPHA + 4));
    mro_text_copy_utf16(v.p + TVIPS_TEM, TVIPS_NAME, v.big_endian, text, sizeof text);
    take_text(info->instrument, sizeof info->instrument, text, strlen(text));
    mro_text_copy_utf16(v.p + TVIPS_CAMERA, TVIPS_NAME, v.big_endian, text, sizeof text);
    take_text(info->detector, sizeof info->detector, text, strlen(text));
    const double bin_x = tvips_int(&v, TVIPS_BINNING), bin_y = tvips_int(&v, TVIPS_BINNING + 4);
    if (bin_x >= 1 && bin_y >= 1) info->binning[0] = bin_y, info->binning[1] = bin_x;
    /* A date is year, month and day in 16, 8 and 8 bits, a time seconds of the day. */
    const uint32_t date = mro_get_u32(v.p + TVIPS_DATE, v.big_endian),
                   seconds = mro_get_u32(v.p + TVIPS_TIME, v.big_endian);
    char day[40], clock[40] = "";
    snprintf(day, sizeof day, "%u-%u-%u", date >> 16, date >> 8 & 255, date & 255);
    if (seconds < 86400) snprintf(clock, sizeof clock, "%u:%02u:%02u", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if (info->date[0] == '\0') mro_text_date(day, clock, info->date, sizeof info->date);
}

/* ---------------------------------------------------------------- Zeiss */

/* Value behind "Name = value unit" or "Name :value" on the line after the line `key`; NULL = not there. */
static const char *zeiss_value(const struct ini *t, const char *key, size_t *n)
{
    const char *end = t->text + t->n;
    const size_t key_n = strlen(key);
    bool next = false;
    for (const char *line = t->text; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)((stop ? stop : end) - line);
        const char *s = line;
        line = stop ? stop + 1 : end;
        while (length && isspace((unsigned char)s[length - 1])) length--;
        if (next) {
            const char *sign = memchr(s, '=', length);
            if (sign == NULL) sign = memchr(s, ':', length);
            if (sign == NULL) return NULL;
            *n = length - (size_t)(sign + 1 - s);
            return sign + 1;
        }
        next = length == key_n && memcmp(s, key, key_n) == 0;
    }
    return NULL;
}

static double zeiss_number(const struct ini *t, const char *key, char unit[24])
{
    size_t n, unit_n = 0;
    const char *v = zeiss_value(t, key, &n);
    unit[0] = '\0';
    if (v == NULL) return NAN;
    while (n && isspace((unsigned char)*v)) v++, n--;
    const char *u = memchr(v, ' ', n);
    if (u) unit_n = n - (size_t)(u - v);
    if (u) mro_text_copy(u, unit_n, unit, 24);
    return mro_parse_number(v, n);
}

static void zeiss_text(const struct ini *t, const char *key, char *out, size_t room)
{
    size_t n;
    const char *v = zeiss_value(t, key, &n);
    out[0] = '\0';
    if (v) mro_text_copy(v, n, out, room);
}

/* "24 Nov 2011" as three numbers. */
static void zeiss_date(const char *text, char out[40])
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int day, year;
    char month[4];
    snprintf(out, 40, "%.15s", text);
    if (sscanf(text, "%2d %3s %4d", &day, month, &year) != 3 || strlen(month) != 3) return;
    const char *at = strstr(months, month);
    if (at && (at - months) % 3 == 0) snprintf(out, 40, "%d-%d-%d", year, (int)(at - months) / 3 + 1, day);
}

enum { ZEISS_COLUMNS = 1024 }; /* of the screen, for which pixel sizes are given that are not called the image's */

/* Before the named values stand some without a name; the fourth is the pixel size in m on the screen. The image's in
 * nm; NAN where there is none. */
static double zeiss_unnamed(const struct ini *t, double columns)
{
    const char *line = t->text, *end = t->text + t->n;
    for (int i = 0; i < 3 && line; i++) {
        line = memchr(line, '\n', (size_t)(end - line));
        if (line) line++;
    }
    const double metres = line ? mro_parse_number(line, (size_t)(end - line)) : NAN;
    return metres > 0 && metres < 1e-3 ? 1e9 * metres * ZEISS_COLUMNS / columns : NAN;
}

/* A length in nm; NAN where it is missing or 0. */
static double zeiss_nm(const struct ini *t, const char *key)
{
    char unit[24];
    double factor;
    const double v = zeiss_number(t, key, unit);
    return v > 0 && mro_unit_parse(unit, &factor) == MRO_UNIT_NM ? v * factor : NAN;
}

static void zeiss(struct mro_file *f, const struct mro_tiff_dir *d, size_t *budget, struct mro_image_info *info)
{
    struct ini t;
    char unit[24], text[64], date[40], clock[16];
    if (!text_tag(d, TAG_ZEISS, MAX_TEXT, budget, &t.text, &t.n)) return;
    const double columns = (double)info->axis[info->axes - 1].size, exact = zeiss_unnamed(&t, columns);
    double named = zeiss_nm(&t, "AP_IMAGE_PIXEL_SIZE");
    if (!(named > 0)) named = zeiss_nm(&t, "AP_PIXEL_SIZE") * ZEISS_COLUMNS / columns;
    /* The named value has four digits. */
    const double best = fabs(exact / named - 1) < 0.01 ? exact : named;
    offer(f, info, (double[]){ best, best }, "nm");
    offer(f, info, (double[]){ exact, exact }, "nm");
    const double kv = zeiss_number(&t, "AP_ACTUALKV", unit);
    take_number(&info->beam_kv, strcmp(unit, "V") == 0 ? kv / 1000 : kv);
    const double magnification = zeiss_number(&t, "AP_MAG", unit);
    take_number(&info->magnification, unit[0] == 'K' ? 1000 * magnification : magnification);
    take_tilt(info, zeiss_number(&t, "AP_STAGE_AT_T", unit), NAN);
    zeiss_text(&t, "DP_DETECTOR_TYPE", text, sizeof text);
    take_text(info->detector, sizeof info->detector, text, strlen(text));
    zeiss_text(&t, "SV_SERIAL_NUMBER", text, sizeof text);
    take_text(info->instrument, sizeof info->instrument, text, strlen(text));
    zeiss_text(&t, "AP_DATE", text, sizeof text);
    zeiss_date(text, date);
    zeiss_text(&t, "AP_TIME", clock, sizeof clock);
    take_date(info, date, clock);
}

/* ---------------------------------------------------------------- Olympus Soft Imaging */

static double little_double(const unsigned char *p)
{
    const uint64_t bits = mro_get_u64(p, false);
    double x;
    memcpy(&x, &bits, sizeof x);
    return isfinite(x) ? x : NAN;
}

/* A head of 64 bytes with the date and a number of entries (kind, count, offset); entry 1 holds the calibration as a
 * power of ten in m and a value for x and y. All little-endian. */
static void olympus_sis(struct mro_file *f, const struct mro_tiff_dir *d, struct mro_image_info *info)
{
    struct mro_tiff_value v;
    const struct mro_bytes b = d->bytes;
    if (!mro_tiff_find(d, TAG_SIS, &v)) return;
    uint64_t at = (uint64_t)(v.p - b.p);
    if (v.bytes < 4 || memcmp(v.p, "SIS0", 4) != 0) {
        if (v.count != 1 || v.type != TIFF_LONG) return;
        at = mro_get_u32(v.p, v.big_endian);
    }
    if (at > b.size || b.size - at < 64 || memcmp(b.p + at, "SIS0", 4) != 0) return;
    const unsigned char *head = b.p + at;
    const unsigned entries = mro_get_u16(head + 58, false);
    for (unsigned i = 0; i < entries && i < 64; i++) {
        const uint64_t entry = at + 60 + 8 * (uint64_t)i;
        if (b.size - at < 60 + 8 * (uint64_t)(i + 1)) return;
        const uint32_t where = mro_get_u32(b.p + entry + 4, false);
        if (mro_get_u16(b.p + entry, false) != 1 || where > b.size || b.size - where < 112) continue;
        const unsigned char *p = b.p + where;
        const int exponent = (int16_t)mro_get_u16(p + 10, false);
        if (exponent < -15 || exponent > 3) continue;
        const double m = pow(10, exponent);
        offer(f, info, (double[]){ m * little_double(p + 20), m * little_double(p + 12) }, "m");
        take_number(&info->magnification, little_double(p + 36));
        take_text(info->detector, sizeof info->detector, (const char *)p + 46, strnlen((const char *)p + 46, 34));
        break;
    }
    const int minute = mro_get_u16(head + 10, false), hour = mro_get_u16(head + 12, false),
              day = mro_get_u16(head + 14, false), month = mro_get_u16(head + 16, false) + 1,
              year = 1900 + mro_get_u16(head + 18, false);
    char date[40], clock[40];
    snprintf(date, sizeof date, "%d-%d-%d", year, month, day);
    snprintf(clock, sizeof clock, "%d:%02d", hour, minute);
    if (info->date[0] == '\0') mro_text_date(date, clock, info->date, sizeof info->date);
}

/* ---------------------------------------------------------------- together */

bool mro_tiff_has_vendor(const struct mro_tiff_dir *d)
{
    static const uint16_t tags[] = { TAG_SIS,     TAG_ZEISS, TAG_FEI_SFEG, TAG_FEI_HELIOS,
                                     TAG_FEI_XML, TAG_TVIPS, TAG_DM_UNIT,  TAG_DM_SCALE };
    struct mro_tiff_value v;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (mro_tiff_find(d, tags[i], &v)) return true;
    return false;
}

void mro_tiff_vendor(struct mro_file *f, const struct mro_tiff_dir *d, const char *description, size_t *budget,
                     const double res_nm[2], struct mro_image_info *info)
{
    fei(f, d, budget, info);
    digital_micrograph(f, d, budget, info);
    tvips(f, d, info);
    zeiss(f, d, budget, info);
    olympus_sis(f, d, info);
    if (description && strstr(description, "<TemReporter")) jeol(f, description, res_nm, info);
}

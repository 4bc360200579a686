/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SER series of TIA (FEI's TEM Imaging and Analysis): spectra or images of one type and size, each with its own small
 * header, found through a list of offsets. Layout after C. Boothroyd (TIA SER file format), with what ncempy and
 * RosettaSciIO add. Always little-endian; version 0x0210 has 32-bit offsets, 0x0220 64-bit ones.
 *
 * A SER file does not say whether its images are images or diffraction patterns, nor at which beam energy: that is in
 * the EMI file beside it (emi.h), which is opened when the file has the name TIA gave it, <document>_N.ser.
 *
 * Rows lie bottom first, as TIA counts y upwards; they are handed out top first, as other readers do.
 */
#include "io/reader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/emi.h"

enum { SERIES_ID = 0x0197, VERSION_32 = 0x0210, VERSION_64 = 0x0220 };
enum { DATA_SPECTRA = 0x4120, DATA_IMAGES = 0x4122, TAG_POSITION = 0x4142 };
enum { SPECTRUM_HEAD = 26, IMAGE_HEAD = 50, TAG_BYTES = 24, MAX_DIMENSIONS = 2 };

static const struct {
    enum mro_dtype dtype;
    unsigned char bytes, samples;
} types[] = {
    { MRO_U8, 1, 1 },  { MRO_U16, 2, 1 }, { MRO_U32, 4, 1 }, { MRO_I8, 1, 1 },  { MRO_I16, 2, 1 },
    { MRO_I32, 4, 1 }, { MRO_F32, 4, 1 }, { MRO_F64, 8, 1 }, { MRO_C64, 4, 2 }, { MRO_C128, 8, 2 },
};

/* One axis along which the elements were taken. */
struct dimension {
    uint32_t size;
    double offset, delta;
    uint32_t element;
    char description[24], unit[24];
};

struct ser_state {
    const unsigned char *offsets; /* `total` offsets of elements, then as many of tags */
    bool wide;                    /* 64-bit offsets */
    bool spectra;
    bool positions;                             /* tags hold positions */
    uint32_t total, valid;                      /* elements planned and, so far as they can be read, recorded */
    size_t nx, ny;                              /* of one element; spectra: ny = 1 */
    size_t head;                                /* bytes before the values of an element */
    size_t element_bytes;                       /* values of one element */
    unsigned type;                              /* index into types */
    size_t per_frame;                           /* elements that make a frame */
    uint32_t dimensions;                        /* as the header counts them */
    struct dimension dimension[MAX_DIMENSIONS]; /* the first of them */
};

static double get_f64(const unsigned char *p) { return mro_get_f64(p, false); }

static bool ser_probe(struct mro_bytes b)
{
    return b.size >= 4 && b.p[0] == 'I' && b.p[1] == 'I' && mro_get_u16(b.p + 2, false) == SERIES_ID;
}

/* ---- header ---- */

/* A text with its length before it, moving *pos behind it; false when the file ends first. */
static bool read_text(struct mro_bytes b, size_t *pos, char *out, size_t room)
{
    if (b.size - *pos < 4) return false;
    const size_t n = mro_get_u32(b.p + *pos, false);
    *pos += 4;
    if (n > b.size - *pos) return false;
    snprintf(out, room, "%.*s", (int)(n < room ? n : room), (const char *)b.p + *pos);
    *pos += n;
    return true;
}

static enum mro_code read_dimensions(const struct mro_file *f, size_t pos, struct ser_state *s, struct mro_error *e)
{
    const struct mro_bytes b = f->bytes;
    if (s->dimensions > b.size / 32)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': the SER header says %u dimensions", f->name, s->dimensions);
    for (uint32_t i = 0; i < s->dimensions && i < MAX_DIMENSIONS; i++) {
        struct dimension *d = &s->dimension[i];
        bool ok = b.size >= pos && b.size - pos >= 24;
        if (ok) {
            d->size = mro_get_u32(b.p + pos, false);
            d->offset = get_f64(b.p + pos + 4);
            d->delta = get_f64(b.p + pos + 12);
            d->element = mro_get_u32(b.p + pos + 20, false);
            pos += 24;
            ok = read_text(b, &pos, d->description, sizeof d->description) &&
                 read_text(b, &pos, d->unit, sizeof d->unit);
        }
        if (!ok) return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut inside dimension %u of the SER header", f->name, i + 1);
    }
    return MRO_OK;
}

static enum mro_code read_header(struct mro_file *f, struct ser_state *s, struct mro_error *e)
{
    const struct mro_bytes b = f->bytes;
    if (b.size < 30) return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut inside the SER header: %zu bytes", f->name, b.size);
    const unsigned version = mro_get_u16(b.p + 4, false);
    const uint32_t data = mro_get_u32(b.p + 6, false), tag = mro_get_u32(b.p + 10, false);
    s->wide = version >= VERSION_64;
    const size_t head = s->wide ? 34 : 30, w = s->wide ? 8 : 4;
    if (b.size < head) return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut inside the SER header: %zu bytes", f->name, b.size);
    if (version != VERSION_32 && version != VERSION_64)
        mro_file_warn(f, "'%s': SER version 0x%04x is not known; it is read as 0x%04x", f->name, version,
                      s->wide ? VERSION_64 : VERSION_32);
    if (data != DATA_SPECTRA && data != DATA_IMAGES)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': the SER header gives the data type 0x%04x, not spectra (0x%04x) or "
                        "images (0x%04x)",
                        f->name, data, DATA_SPECTRA, DATA_IMAGES);
    s->spectra = data == DATA_SPECTRA;
    s->positions = tag == TAG_POSITION;
    const int32_t total = (int32_t)mro_get_u32(b.p + 14, false), valid = (int32_t)mro_get_u32(b.p + 18, false);
    const uint64_t offsets = s->wide ? mro_get_u64(b.p + 22, false) : mro_get_u32(b.p + 22, false);
    if (total < 0 || valid < 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': the SER header says %d elements, %d of them valid", f->name, total,
                        valid);
    if (offsets > b.size || (uint64_t)total > (b.size - (size_t)offsets) / w)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': the list of %d offsets at byte %llu does not fit into the file of %zu bytes", f->name,
                        total, (unsigned long long)offsets, b.size);
    if (total == 0 || valid == 0)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s' holds no element (%d planned, %d recorded); TIA keeps a single spectrum in "
                        "the EMI file, which is not read",
                        f->name, total, valid);
    s->offsets = b.p + offsets;
    s->total = (uint32_t)total;
    s->valid = (uint32_t)(valid < total ? valid : total);
    if (valid > total)
        mro_file_warn(f, "'%s': the SER header says that %d of %d elements are valid; %d are read", f->name, valid,
                      total, total);
    s->dimensions = mro_get_u32(b.p + head - 4, false);
    return read_dimensions(f, head, s, e);
}

/* Entry i of the list of offsets, which has `total` of elements and then, if the file is whole, `total` of tags. */
static uint64_t offset_at(const struct ser_state *s, size_t i)
{
    return s->wide ? mro_get_u64(s->offsets + 8 * i, false) : mro_get_u32(s->offsets + 4 * i, false);
}

/* ---- elements ---- */

/* Checks element i against the size of the file and, after the first, against the first. */
static enum mro_code check_element(const struct mro_file *f, struct ser_state *s, uint32_t i, struct mro_error *e)
{
    const struct mro_bytes b = f->bytes;
    const uint64_t at = offset_at(s, i);
    const size_t head = s->spectra ? SPECTRUM_HEAD : IMAGE_HEAD;
    if (at > b.size || b.size - (size_t)at < head)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': element %u begins at byte %llu, but the file ends at byte %zu", f->name,
                        i, (unsigned long long)at, b.size);
    const unsigned char *p = b.p + at + head - (s->spectra ? 6 : 10);
    const unsigned type = mro_get_u16(p, false);
    const int32_t nx = (int32_t)mro_get_u32(p + 2, false), ny = s->spectra ? 1 : (int32_t)mro_get_u32(p + 6, false);
    if (type < 1 || type > sizeof types / sizeof *types)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': element %u has the data type %u; 1 to 10 are read", f->name, i, type);
    if (nx <= 0 || ny <= 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': element %u has a size of %d x %d", f->name, i, nx, ny);
    size_t bytes;
    const size_t each = (size_t)types[type - 1].bytes * types[type - 1].samples;
    if (__builtin_mul_overflow((size_t)nx, (size_t)ny, &bytes) || __builtin_mul_overflow(bytes, each, &bytes) ||
        bytes > b.size - (size_t)at - head)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': element %u has %d x %d values of %zu bytes at byte %llu, but the file "
                        "ends at byte %zu",
                        f->name, i, nx, ny, each, (unsigned long long)at + head, b.size);
    if (i > 0 && (type - 1 != s->type || (size_t)nx != s->nx || (size_t)ny != s->ny))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': element %u is %d x %d of data type %u, the first is %zu x %zu of %u",
                        f->name, i, nx, ny, type, s->nx, s->ny, s->type + 1);
    s->type = type - 1;
    s->nx = (size_t)nx;
    s->ny = (size_t)ny;
    s->head = head;
    s->element_bytes = bytes;
    return MRO_OK;
}

/* Leaves in `valid` the elements from the first that can be read; an error when that is none. */
static enum mro_code check_elements(struct mro_file *f, struct ser_state *s, struct mro_error *e)
{
    struct mro_error why;
    MRO_TRY(check_element(f, s, 0, e));
    /* Elements lie one after the other: a list that points at one place again and again promises more than there is. */
    if (s->valid > f->bytes.size / s->element_bytes)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': %u elements of %zu bytes do not fit into the file of %zu bytes", f->name,
                        s->valid, s->element_bytes, f->bytes.size);
    for (uint32_t i = 1; i < s->valid; i++) {
        if (check_element(f, s, i, &why) == MRO_OK) continue;
        mro_file_warn(f, "%s; the %u elements before it are read", why.message, i);
        s->valid = i;
    }
    return MRO_OK;
}

static const unsigned char *element(const struct mro_file *f, const struct ser_state *s, size_t i)
{
    return f->bytes.p + offset_at(s, i);
}

/* ---- axes ---- */

/* Position of the beam at element i (x, y); false when its tag is missing. */
static bool position(const struct mro_file *f, const struct ser_state *s, uint32_t i, double xy[2])
{
    const size_t w = s->wide ? 8 : 4, list = (size_t)(s->offsets - f->bytes.p);
    if (!s->positions || ((uint64_t)s->total + i + 1) > (f->bytes.size - list) / w) return false;
    const uint64_t at = offset_at(s, (size_t)s->total + i);
    if (at > f->bytes.size || f->bytes.size - (size_t)at < TAG_BYTES) return false;
    const unsigned char *p = f->bytes.p + at;
    if (mro_get_u16(p, false) != TAG_POSITION) return false;
    xy[0] = get_f64(p + 8);
    xy[1] = get_f64(p + 16);
    return true;
}

/* Which of two dimensions runs faster. TIA scans x, its first dimension, first; positions in the tags can say
 * otherwise, by the number of elements that share the slow coordinate, or, in a square map, by which one changes. */
static int fast_dimension(const struct mro_file *f, const struct ser_state *s)
{
    const uint32_t n[2] = { s->dimension[0].size, s->dimension[1].size };
    const uint32_t most = n[0] > n[1] ? n[0] : n[1];
    double first[2], next[2];
    if (s->valid < 2 || !position(f, s, 0, first) || !position(f, s, 1, next)) return 0;
    const bool along_y = next[0] == first[0] && next[1] != first[1];
    const double slow = first[along_y ? 0 : 1];
    uint32_t run = 1;
    while (run < s->valid && run <= most && position(f, s, run, next) && next[along_y ? 0 : 1] == slow) run++;
    const bool told = n[0] != n[1] && run < s->valid; /* else the scan stopped inside its first row */
    if (told && run == n[0]) return 0;
    if (told && run == n[1]) return 1;
    return along_y ? 1 : 0;
}

/* No axis has steps beyond this in SI units; 0 = unknown. */
static double plausible(double step) { return step < 1e15 ? step : 0; }

/* TIA writes units as words; lengths in metres. */
static void set_series_axis(struct mro_axis *a, const struct dimension *d, size_t size)
{
    const char *unit = d->unit;
    if (strncmp(unit, "second", 6) == 0) unit = "s";
    /* Points chosen by hand have steps of one metre. */
    if (strncmp(unit, "meter", 5) == 0) unit = fabs(d->delta) < 1e-2 ? "m" : "";
    const double offset = d->offset - (double)d->element * d->delta;
    /* A scan that runs against its axis is counted along the scan. */
    mro_axis_set(a, plausible(fabs(d->delta)), d->delta < 0 ? 0 - offset : offset, unit, MRO_SOURCE_VENDOR);
    a->size = size;
}

/* Axes before those of the element; returns their number. Lowers `valid` to whole rows of a map. */
static size_t set_series_axes(struct mro_file *f, struct ser_state *s, struct mro_axis *axis)
{
    const struct dimension *d[2] = { &s->dimension[0], &s->dimension[1] };
    const uint32_t recorded = s->valid;
    uint64_t planned = 1;
    for (uint32_t i = 0; i < s->dimensions && i < MAX_DIMENSIONS; i++) planned *= d[i]->size;
    const bool regular = s->dimensions >= 1 && s->dimensions <= MAX_DIMENSIONS && planned == s->total;
    const bool map = regular && s->dimensions == 2 && d[0]->size > 1 && d[1]->size > 1;
    if (!regular && s->dimensions > 0 && s->total > 1)
        mro_file_warn(f, "'%s': its %u dimensions do not make up the %u elements; they are shown as a plain series",
                      f->name, s->dimensions, s->total);
    if (map) {
        const int fast = fast_dimension(f, s);
        const uint32_t columns = d[fast]->size, rows = recorded / columns;
        if (rows > 0) {
            s->valid = rows * columns;
            if (recorded < s->total)
                mro_file_warn(f, "'%s': %u of %u elements are recorded; the %u whole rows of the map are read", f->name,
                              recorded, s->total, rows);
            if (rows == 1) {
                set_series_axis(&axis[0], d[fast], columns);
                return 1;
            }
            set_series_axis(&axis[0], d[1 - fast], rows);
            set_series_axis(&axis[1], d[fast], columns);
            return 2;
        }
        set_series_axis(&axis[0], d[fast], recorded);
    } else if (regular) {
        set_series_axis(&axis[0], d[s->dimensions == 2 && d[1]->size > 1], recorded);
    }
    axis[0].size = recorded;
    if (recorded < s->total)
        mro_file_warn(f, "'%s': %u of %u elements are recorded and are read", f->name, recorded, s->total);
    if (recorded > 1) return 1;
    axis[0] = (struct mro_axis){ 0 }; /* the image's own first axis comes here */
    return 0;
}

/* A spectrum says no unit. TIA's are in eV, a line profile in metres: no spectrometer has a step under 0.1 meV, no
 * profile one over 0.1 mm. */
static void set_channels(const struct mro_file *f, const struct ser_state *s, struct mro_axis *a)
{
    const unsigned char *p = element(f, s, 0);
    const double offset = get_f64(p), step = get_f64(p + 8);
    const uint32_t at = mro_get_u32(p + 16, false);
    mro_axis_set(a, plausible(step), offset - (double)at * step, step < 1e-4 ? "m" : "eV", MRO_SOURCE_VENDOR);
    a->size = s->nx;
}

/* Images are in metres, patterns in 1/m, and the file does not say which. No picture has pixels of a millimetre and no
 * pattern a step under 1000 per metre, so the step tells; where it cannot, the EMI does. (RosettaSciIO calls the steps
 * of a pattern without its EMI metres.) */
static void set_pixels(struct mro_file *f, const struct ser_state *s, const struct mro_emi_object *emi,
                       struct mro_image_info *info)
{
    struct mro_axis *a = &info->axis[info->axes - 2];
    const unsigned char *p = element(f, s, 0);
    const double step[2] = { fabs(get_f64(p + 28)), fabs(get_f64(p + 8)) };
    double offset[2] = { get_f64(p + 20) - (double)mro_get_u32(p + 36, false) * get_f64(p + 28),
                         get_f64(p) - (double)mro_get_u32(p + 16, false) * get_f64(p + 8) };
    /* y counts upwards from the last row handed out; here it counts downwards from the first. */
    offset[0] = 0 - (offset[0] + (double)(s->ny - 1) * get_f64(p + 28));
    const bool reciprocal = step[0] > 1e3 && step[1] > 1e3, length = step[0] < 1e-3 && step[1] < 1e-3;
    const bool known = emi && emi->mode[0];
    /* Under the scanned beam the column is set to diffraction always: there a camera makes the difference. */
    const bool diffraction =
        known && (strstr(emi->mode, "STEM") ? emi->camera : strstr(emi->mode, "Diffraction") != NULL);
    info->kind = reciprocal || (diffraction && !length) ? MRO_KIND_DIFFRACTION : MRO_KIND_IMAGE;
    if (known && reciprocal && !diffraction)
        mro_file_warn(f,
                      "'%s': the EMI file says an image (%s), but its steps of %.4g can only be 1/m; it is taken as "
                      "a diffraction pattern",
                      f->name, emi->mode, step[1]);
    if (diffraction && length) {
        info->kind = MRO_KIND_DIFFRACTION;
        mro_file_warn(f,
                      "'%s': the EMI file says diffraction (%s), but its steps of %.4g are no 1/m; the calibration "
                      "is left out",
                      f->name, emi->mode, step[1]);
    }
    for (size_t i = 0; i < 2; i++)
        if (reciprocal || (length && !diffraction))
            mro_axis_set(&a[i], plausible(step[i]), offset[i], reciprocal ? "1/m" : "m", MRO_SOURCE_VENDOR);
    a[0].size = s->ny;
    a[1].size = s->nx;
}

/* ---- opening ---- */

/* Looks for <document>.emi beside a file <document>_N.ser. True when it speaks of this series. */
static bool find_companion(struct mro_file *f, struct mro_emi_object *o)
{
    static const char *const suffixes[] = { ".emi", ".EMI" };
    struct mro_bytes b = { NULL, 0 };
    size_t stem;
    unsigned number;
    if (f->mapping == NULL) return false; /* in memory: it has no folder */
    char *path = mro_emi_split_path(f->name, &stem, &number) ? malloc(stem + sizeof ".emi") : NULL;
    if (path == NULL) return false;
    bool there = false, found = false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && !there; i++) {
        memcpy(path, f->name, stem);
        memcpy(path + stem, suffixes[i], sizeof ".emi");
        there = mro_bytes_map(&b, path, NULL) == MRO_OK;
    }
    if (there) found = mro_emi_probe(b) && mro_emi_describe(b, number, o);
    mro_bytes_unmap(&b);
    free(path);
    return found;
}

static void copy_settings(const struct mro_emi_object *o, struct mro_image_info *info)
{
    info->beam_kv = o->beam_kv;
    info->magnification = o->magnification;
    info->camera_length_mm = o->camera_length_mm;
    for (size_t i = 0; i < 2; i++) {
        info->binning[i] = o->binning;
        info->stage_tilt_deg[i] = o->tilt_deg[i];
    }
    snprintf(info->instrument, sizeof info->instrument, "%s", o->instrument);
    snprintf(info->detector, sizeof info->detector, "%s", o->detector);
    snprintf(info->date, sizeof info->date, "%s", o->date);
}

static enum mro_code ser_open(struct mro_file *f, struct mro_error *e)
{
    struct ser_state *s = calloc(1, sizeof *s);
    struct mro_emi_object emi;
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    f->state = s; /* freed by ser_close */
    MRO_TRY(read_header(f, s, e));
    MRO_TRY(check_elements(f, s, e));
    const bool described = find_companion(f, &emi);
    struct mro_image_info *info = mro_file_add_image(f);
    if (info == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    info->dtype = types[s->type].dtype;
    info->axes = set_series_axes(f, s, info->axis);
    s->per_frame = s->spectra && info->axes > 0 ? info->axis[info->axes - 1].size : 1;
    info->axes += s->spectra ? 1 : 2;
    if (s->spectra) {
        info->kind = MRO_KIND_SPECTRUM;
        set_channels(f, s, &info->axis[info->axes - 1]);
    } else {
        set_pixels(f, s, described ? &emi : NULL, info);
    }
    if (described)
        copy_settings(&emi, info);
    else if (s->spectra)
        mro_file_warn(f, "'%s' has no EMI file that describes it beside it: its beam energy is unknown", f->name);
    else
        mro_file_warn(f,
                      "'%s' has no EMI file that describes it beside it: its beam energy is unknown, and whether it "
                      "is an image or a diffraction pattern is told by its steps alone",
                      f->name);
    return mro_file_seal_image(f, info, e);
}

static enum mro_code ser_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    (void)image, (void)e;
    const struct ser_state *s = f->state;
    const size_t sample = types[s->type].bytes, row = s->element_bytes / s->ny;
    unsigned char *to = out;
    for (size_t i = 0; i < s->per_frame; i++) {
        const unsigned char *p = element(f, s, frame * s->per_frame + i) + s->head;
        for (size_t y = s->ny; y-- > 0; to += row) mro_copy_samples(to, p + y * row, row / sample, sample, false);
    }
    return MRO_OK;
}

/* Rows of images lie bottom first; a frame of several spectra does not lie in one piece. */
static bool ser_view_upward(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    (void)image;
    const struct ser_state *s = f->state;
    if (s->per_frame != 1) return false;
    *p = element(f, s, frame) + s->head;
    *big_endian = false;
    return true;
}

static void ser_close(struct mro_file *f)
{
    free(f->state);
    f->state = NULL;
}

const struct mro_reader mro_reader_ser = { .name = "SER",
                                           .probe = ser_probe,
                                           .open = ser_open,
                                           .read = ser_read,
                                           .view_upward = ser_view_upward,
                                           .close = ser_close };

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EMD: two formats of one name, both in HDF5.
 *
 * Velox (Thermo Fisher, FEI): /Data/Image/<id>/Data is (y, x, frame), the frame axis last; /Metadata beside it is a
 * column of bytes for each frame, JSON ended by zeros, all numbers as texts in SI units. Which detector or element an
 * image shows is said elsewhere: in /Displays since version 11, in /Operations and /Presentation before. Versions 4, 8
 * and 11 have been read; the format is not published, so a missing key is a warning that names it, not an error.
 *
 * Berkeley (NCEM, emdatasets.com): any group with the attribute emd_group_type holds `data` in C order and a vector
 * dim1 .. dimN (since version 1.0 dim0 .. ) for each of its axes, with a name and a unit. */
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/eds_stream.h"
#include "io/hdf5.h"
#include "io/reader.h"

#define MAX_METADATA ((size_t)1 << 20)  /* bytes of JSON of one image; real ones hold 60000 */
#define MAX_EFFORT ((size_t)64 << 20)   /* bytes unpacked for the metadata and axes of all images of a file */
#define MAX_TEXTS ((size_t)16 << 20)    /* bytes of JSON of labels and settings; one of several names counts for each */
#define MAX_HOLLOW ((uint64_t)64 << 20) /* bytes of an array of which nothing need have been written */
#define MAX_CACHE ((size_t)512 << 20)   /* of frames unpacked ahead */
enum {
    MAX_IMAGES = 4096,
    MAX_LABELS = 4096,
    MAX_SCANS = 32,
    NEWEST_VELOX = 11,
    TOGETHER = 16 /* interleaved frames taken apart at a time: each is a stream of writes */
};

/* ---- what is kept of an open file ---- */

struct emd_image {
    enum { ARRAY, SPECTRUM_IMAGE, SUM_SPECTRUM, TOTAL_COUNTS } what; /* all but the first come out of the stream */
    uint32_t node;
    unsigned rank, lead;         /* axes of the dataset; how many of them, first in `order`, choose the frame */
    unsigned order[MRO_H5_RANK]; /* of the dataset's axes, slowest first */
    size_t frame_bytes;
};

struct emd_state {
    struct mro_h5 h5;
    struct emd_image *image; /* one for each of f->info */
    size_t room;
    struct mro_eds_stream *stream; /* NULL: none */
    /* Frames unpacked ahead: `n` from `first` on, of image `of`. */
    struct {
        unsigned char *bytes;
        size_t room, of, first, n;
        size_t last_image, last_frame; /* read last, to see reading in order */
    } cache;
    /* While opening. */
    struct label {
        char path[128], title[64];
    } * label;
    size_t labels;
    size_t effort, texts;
    uint64_t claimed;                 /* bytes of the arrays that were taken */
    size_t scan[MAX_SCANS][2], scans; /* rows and columns of the scanned images */
    struct mro_error first;           /* why the first image that was passed over was */
};

/* ---- small things ---- */

/* Notes why an image is passed over; the first reason becomes the error when none is left. */
__attribute__((format(printf, 3, 4))) static void pass_over(struct mro_file *f, uint32_t node, const char *format, ...)
{
    struct emd_state *s = f->state;
    char what[320], path[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    mro_h5_path(&s->h5, node, path, sizeof path);
    if (s->first.code == MRO_OK) MRO_FAIL(&s->first, MRO_EFORMAT, "'%s': '%s' %s", f->name, path, what);
    mro_file_warn(f, "'%s' %s; it is passed over", path, what);
}

/* Counts what reading `bytes` of a dataset unpacks; false when a file asks for more than any real one does. */
static bool affordable(struct emd_state *s, const struct mro_h5_dataset *d, size_t bytes)
{
    size_t chunk = d->filters > 0 ? d->type.bytes : bytes;
    for (unsigned i = 0; d->filters > 0 && i < d->rank; i++)
        if (__builtin_mul_overflow(chunk, (size_t)d->chunk[i], &chunk)) return false;
    if (chunk < bytes) chunk = bytes;
    if (chunk > MAX_EFFORT - s->effort) return false;
    s->effort += chunk;
    return true;
}

static const json_t *at(const json_t *o, const char *path)
{
    while (o != NULL) {
        const size_t n = strcspn(path, "/");
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        o = json_object_get(o, key);
        if (path[n] == '\0') return o;
        path += n + 1;
    }
    return NULL;
}

static const char *text_at(const json_t *o, const char *path) { return json_string_value(at(o, path)); }

/* Velox writes its numbers as texts, with a point whatever the language. */
static bool number_at(const json_t *o, const char *path, double *v)
{
    const json_t *n = at(o, path);
    if (json_is_number(n)) {
        *v = json_number_value(n);
        return isfinite(*v);
    }
    const char *s = json_string_value(n);
    char *end;
    if (s == NULL || *s == '\0' || isspace((unsigned char)*s)) return false;
    *v = strtod(s, &end);
    return *end == '\0' && isfinite(*v);
}

static double positive_at(const json_t *o, const char *path)
{
    double v;
    return number_at(o, path, &v) && v > 0 ? v : 0;
}

static json_t *parse_json(const char *text, size_t n, json_error_t *error)
{
    json_t *o = json_loadb(text, n, 0, error);
    if (o != NULL || json_error_code(error) != json_error_invalid_utf8) return o;
    /* A name in the code page of some computer must not cost the calibration. */
    char *copy = malloc(n + 1);
    if (copy == NULL) return NULL;
    for (size_t i = 0; i < n; i++) copy[i] = (text[i] & 0x80) ? '?' : text[i];
    o = json_loadb(copy, n, 0, error);
    free(copy);
    return o;
}

/* The JSON text that a dataset holds; NULL when there is none, or when more has been read than any real file has.
 * Release with json_decref. */
static json_t *json_of(struct emd_state *s, uint32_t node)
{
    const struct mro_h5_dataset *d = mro_h5_dataset(&s->h5, node);
    json_error_t error;
    const size_t n = d && d->text ? strlen(d->text) : 0;
    const bool enough = n > MAX_TEXTS - s->texts;
    s->texts = enough ? MAX_TEXTS : s->texts + n; /* after the first that is too much, none */
    if (n == 0 || enough) return NULL;
    return parse_json(d->text, n, &error);
}

/* %20 and the like, in place. */
static void percent_decode(char *s)
{
    char *to = s;
    for (; *s; s++) {
        unsigned v;
        if (s[0] == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2]) &&
            sscanf(s + 1, "%2x", &v) == 1 && v != 0) {
            *to++ = (char)v;
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* ---- Velox: what images are called ---- */

static void add_label(struct emd_state *s, const char *path, const char *title)
{
    if (path == NULL || title == NULL || *title == '\0' || s->labels >= MAX_LABELS) return;
    for (size_t i = 0; i < s->labels; i++)
        if (strcmp(s->label[i].path, path) == 0) return; /* the first one counts: better places are asked first */
    if ((s->labels & (s->labels - 1)) == 0) {
        struct label *grown = realloc(s->label, (s->labels ? 2 * s->labels : 1) * sizeof *grown);
        if (grown == NULL) return;
        s->label = grown;
    }
    struct label *l = &s->label[s->labels++];
    snprintf(l->path, sizeof l->path, "%s", path);
    snprintf(l->title, sizeof l->title, "%s", title);
    percent_decode(l->title);
}

static const char *title_of_operation(const char *operation, const json_t *o, const char **path)
{
    const char *mode = text_at(o, "integrationMode");
    const char *dpc = mode && strcmp(mode, "true") == 0 ? "iDPC" : "dDPC";
    *path = text_at(o, "dataPath");
    if (strcmp(operation, "CameraInputOperation") == 0) return text_at(o, "cameraName");
    if (strcmp(operation, "StemInputOperation") == 0) return text_at(o, "detector");
    if (strcmp(operation, "DpcOperation") == 0) return "DPC";
    if (strcmp(operation, "IntegrationOperation") == 0) return "DCFI";
    if (strcmp(operation, "FftOperation") == 0) {
        *path = text_at(o, "imageOutputPath");
        return "Half FFT";
    }
    if (strcmp(operation, "SurfaceReconstructionOperation") == 0) {
        const char *filter = text_at(o, "enableFilter");
        if (filter == NULL || strcmp(filter, "true") != 0) return dpc;
        return strcmp(dpc, "iDPC") == 0 ? "Filtered iDPC" : "Filtered dDPC";
    }
    if (strcmp(operation, "MathematicsOperation") == 0) {
        const char *input = text_at(json_array_get(at(o, "outputs"), 0), "inputIndex");
        if (input && strcmp(input, "0") == 0) return "A-C";
        if (input && strcmp(input, "1") == 0) return "B-D";
    }
    return NULL;
}

static void read_labels(struct emd_state *s)
{
    const struct mro_h5 *h = &s->h5;
    size_t left = MAX_LABELS; /* each costs a walk through a group */
    const uint32_t displays = mro_h5_find(h, 0, "Displays/ImageDisplay");
    for (uint32_t i = displays == MRO_H5_NONE ? MRO_H5_NONE : h->node[displays].first; i != MRO_H5_NONE && left > 0;
         i = h->node[i].next, left--) {
        json_t *o = json_of(s, i);
        const char *data = text_at(o, "data"), *title = text_at(o, "title");
        json_t *reference = data ? json_of(s, mro_h5_find(h, 0, data)) : NULL;
        add_label(s, text_at(reference, "dataPath"), title && *title ? title : text_at(o, "id"));
        json_decref(reference);
        json_decref(o);
    }
    const uint32_t operations = mro_h5_find(h, 0, "Operations");
    for (uint32_t g = operations == MRO_H5_NONE ? MRO_H5_NONE : h->node[operations].first; g != MRO_H5_NONE;
         g = h->node[g].next) {
        for (uint32_t i = h->node[g].first; i != MRO_H5_NONE; i = h->node[i].next) {
            json_t *o = json_of(s, i);
            const char *path = NULL, *title = title_of_operation(h->node[g].name, o, &path);
            const char *unfiltered = text_at(o, "unfilteredDataPath");
            if (unfiltered != NULL && title != NULL)
                add_label(s, unfiltered, strncmp(title, "Filtered ", 9) == 0 ? title + 9 : title);
            add_label(s, path, title);
            json_decref(o);
        }
    }
    const uint32_t shown = mro_h5_find(h, 0, "Presentation/Displays/ImageDisplay");
    for (uint32_t i = shown == MRO_H5_NONE ? MRO_H5_NONE : h->node[shown].first; i != MRO_H5_NONE;
         i = h->node[i].next) {
        json_t *o = json_of(s, i);
        add_label(s, text_at(o, "dataPath"), text_at(o, "display/label"));
        json_decref(o);
    }
}

static const char *label_of(const struct emd_state *s, uint32_t group)
{
    char path[200];
    mro_h5_path(&s->h5, group, path, sizeof path);
    for (size_t i = 0; i < s->labels; i++)
        if (strcmp(s->label[i].path, path) == 0) return s->label[i].title;
    return NULL;
}

/* ---- Velox: metadata ---- */

/* Reads the metadata of a group's first frame: *o is NULL when there is none. False, with the image passed over, when
 * it cannot be made out: numbers without their scale would pass for more than they are. */
static bool read_metadata(struct mro_file *f, uint32_t group, json_t **o)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    const uint32_t node = mro_h5_find(h, group, "Metadata");
    const struct mro_h5_dataset *d = mro_h5_dataset(h, node);
    json_error_t error;
    struct mro_error e;
    *o = NULL;
    if (d == NULL) {
        mro_file_warn(f, "'%s' has no Metadata: its calibration is unknown", h->node[group].name);
        return true;
    }
    if (d->type.class != MRO_H5_INTEGER || d->type.bytes != 1 || d->rank < 1 || d->rank > 2 || d->shape[0] == 0 ||
        d->shape[d->rank - 1] == 0 || d->shape[0] > MAX_METADATA) {
        pass_over(f, group, "has Metadata that is no column of bytes");
        return false;
    }
    if (!affordable(s, d, (size_t)d->shape[0])) {
        pass_over(f, group, "has Metadata that would unpack to more than is read");
        return false;
    }
    struct mro_h5_box box = { .n = { d->shape[0], 1 }, .order = { 0, 1 } };
    char *text = malloc((size_t)d->shape[0]);
    bool ok = text != NULL && mro_h5_read(h, mro_h5_follow(h, node), &box, text, f->memory_bytes, &e) == MRO_OK;
    if (!ok) {
        pass_over(f, group, "has Metadata that cannot be read");
    } else {
        *o = parse_json(text, strnlen(text, (size_t)d->shape[0]), &error);
        ok = json_is_object(*o);
        if (!ok) pass_over(f, group, "has Metadata that is no JSON object (line %d: %.100s)", error.line, error.text);
    }
    free(text);
    return ok;
}

/* The detector that BinaryResult names, of the list in the same metadata; *analytical says whether it (or, for the
 * sum of several, one of its parts) counts X-rays. */
static const json_t *find_detector(const json_t *o, bool *analytical)
{
    const char *index = text_at(o, "BinaryResult/DetectorIndex"), *name = text_at(o, "BinaryResult/Detector");
    json_t *list = json_object_get(o, "Detectors");
    const json_t *found = NULL;
    json_t *d;
    const char *key;
    char wanted[64];
    *analytical = false;
    snprintf(wanted, sizeof wanted, "Detector-%s", index ? index : "");
    found = index ? json_object_get(list, wanted) : NULL;
    json_object_foreach(list, key, d)
    {
        const char *full = text_at(d, "DetectorName");
        /* The sum over the segments of "SuperXG2" belongs to "SuperXG21" .. "SuperXG24". */
        if (found == NULL && name && *name && full && strstr(full, name) != NULL) found = d;
    }
    const char *type = text_at(found, "DetectorType");
    *analytical = type != NULL && strcmp(type, "AnalyticalDetector") == 0;
    return found;
}

static void set_date(const json_t *o, struct mro_image_info *info)
{
    double t;
    struct tm tm;
    if (!number_at(o, "Acquisition/AcquisitionStartDatetime/DateTime", &t) || t <= 0) {
        if (!number_at(o, "CustomProperties/Detectors[BM-Ceta].TimeStamp/value", &t) || t <= 0) return;
        t /= 1e6;
    }
    const time_t seconds = t < 1e11 ? (time_t)t : 0;
    if (seconds > 0 && gmtime_r(&seconds, &tm) != NULL)
        strftime(info->date, sizeof info->date, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void set_text(char *to, size_t size, const char *from)
{
    if (from != NULL && *from != '\0') snprintf(to, size, "%s", from);
}

static void missing(struct mro_file *f, const struct mro_image_info *info, const char *key, const char *what)
{
    mro_file_warn(f, "the Metadata of '%s' has no %s: its %s is unknown", info->title, key, what);
}

/* Everything but the axes. `o` may be NULL. */
static void apply_metadata(struct mro_file *f, const json_t *o, struct mro_image_info *info)
{
    double v;
    bool analytical;
    if (o == NULL) return;
    const json_t *detector = find_detector(o, &analytical);
    set_text(info->detector, sizeof info->detector, text_at(o, "BinaryResult/Detector"));
    if (info->detector[0] == '\0') set_text(info->detector, sizeof info->detector, text_at(detector, "DetectorName"));
    set_text(info->instrument, sizeof info->instrument, text_at(o, "Instrument/InstrumentClass"));
    info->beam_kv = positive_at(o, "Optics/AccelerationVoltage") / 1000;
    if (info->beam_kv == 0) missing(f, info, "Optics.AccelerationVoltage", "beam energy");
    info->camera_length_mm = positive_at(o, "Optics/CameraLength") * 1000;
    /* Scanned images know their own magnification; of a camera it is the one of the column. */
    info->magnification = positive_at(o, "CustomProperties/StemMagnification/value");
    if (info->magnification == 0 && positive_at(o, "Scan/ScanSize/width") == 0)
        info->magnification = positive_at(o, "Optics/NominalMagnification");
    if (number_at(o, "Stage/AlphaTilt", &v)) info->stage_tilt_deg[0] = v * 180 / M_PI;
    if (number_at(o, "Stage/BetaTilt", &v)) info->stage_tilt_deg[1] = v * 180 / M_PI;
    info->binning[0] = positive_at(detector, "Binning/height");
    info->binning[1] = positive_at(detector, "Binning/width");
    set_date(o, info);
    if (analytical && info->axes > 1) info->kind = MRO_KIND_MAP;
}

/* Pixel sizes of the axes y and, behind it, x. */
static void apply_pixel_size(struct mro_file *f, const json_t *o, struct mro_image_info *info, struct mro_axis *y)
{
    struct mro_axis *x = y + 1;
    double width = 0, height = 0, dx = 0, dy = 0;
    if (o == NULL) return;
    const char *unit_x = text_at(o, "BinaryResult/PixelUnitX"), *unit_y = text_at(o, "BinaryResult/PixelUnitY");
    if (unit_y == NULL) unit_y = unit_x;
    if (!number_at(o, "BinaryResult/PixelSize/width", &width)) missing(f, info, "BinaryResult.PixelSize", "pixel size");
    if (!number_at(o, "BinaryResult/PixelSize/height", &height)) height = 0;
    if (unit_x == NULL) missing(f, info, "BinaryResult.PixelUnitX", "pixel size");
    if (!number_at(o, "BinaryResult/Offset/x", &dx)) dx = 0;
    if (!number_at(o, "BinaryResult/Offset/y", &dy)) dy = 0;
    mro_axis_set(x, width, dx, unit_x, MRO_SOURCE_VENDOR);
    mro_axis_set(y, height, dy, unit_y, MRO_SOURCE_VENDOR);
}

/* The time between frames: of a scan, or the exposure of a camera. */
static void apply_frame_time(const json_t *o, struct mro_axis *frames)
{
    bool analytical;
    double t = positive_at(o, "Scan/FrameTime");
    if (t == 0) t = positive_at(find_detector(o, &analytical), "ExposureTime");
    mro_axis_set(frames, t, 0, "s", MRO_SOURCE_VENDOR);
}

/* Energies of the last axis. */
static void apply_dispersion(struct mro_file *f, const json_t *o, struct mro_image_info *info)
{
    bool analytical;
    double step = 0, offset = 0;
    const json_t *detector = find_detector(o, &analytical);
    if (o == NULL) return;
    if (!number_at(detector, "Dispersion", &step) || !number_at(detector, "OffsetEnergy", &offset)) {
        missing(f, info, "Detectors[].Dispersion and OffsetEnergy", "energy scale");
        return;
    }
    mro_axis_set(&info->axis[info->axes - 1], step, offset, "eV", MRO_SOURCE_VENDOR);
}

/* ---- images of either format ---- */

/* Whether the arrays so far and this one claim to be larger than any that a file of this size can hold: deflate makes
 * at most 1032 bytes of one, and a recording that was broken off has some of its chunks. A file of some kilobytes with
 * a shape of terabytes, or with one array under thousands of names, would otherwise be read for days. */
static bool is_hollow(struct mro_file *f, const struct mro_h5_dataset *d)
{
    struct emd_state *s = f->state;
    uint64_t bytes = d->type.bytes;
    for (unsigned i = 0; i < d->rank; i++)
        if (__builtin_mul_overflow(bytes, d->shape[i], &bytes)) return true;
    if (__builtin_add_overflow(bytes, s->claimed, &bytes) || (bytes > MAX_HOLLOW && bytes / 1032 > f->bytes.size))
        return true;
    s->claimed = bytes;
    return false;
}

/* The array that the group's member `name` is, or MRO_H5_NONE with the reason noted. */
static uint32_t find_array(struct mro_file *f, uint32_t group, const char *name)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    uint32_t raw = h->node[group].first;
    enum mro_dtype dtype;
    while (raw != MRO_H5_NONE && strcmp(h->node[raw].name, name) != 0) raw = h->node[raw].next;
    if (raw == MRO_H5_NONE) {
        pass_over(f, group, "has no array '%s'", name);
        return MRO_H5_NONE;
    }
    const struct mro_h5_node *n = &h->node[raw];
    const uint32_t node = mro_h5_follow(h, raw);
    if (n->kind == MRO_H5_EXTERNAL) {
        pass_over(f, raw, "is a link into another file (%.150s), which is not followed", n->text);
        return MRO_H5_NONE;
    }
    if (node == MRO_H5_NONE) {
        pass_over(f, raw, "is a link to '%.150s', which leads to nothing in this file", n->text);
        return MRO_H5_NONE;
    }
    const struct mro_h5_dataset *d = mro_h5_dataset(h, node);
    if (d == NULL && h->node[node].kind == MRO_H5_OTHER && h->node[node].text[0] != '\0') {
        pass_over(f, raw, "%s", h->node[node].text);
        return MRO_H5_NONE;
    }
    if (d == NULL) {
        pass_over(f, raw, "is %s, not an array", h->node[node].kind == MRO_H5_GROUP ? "a group" : "an object");
        return MRO_H5_NONE;
    }
    if (d->layout == MRO_H5_REFUSED) {
        pass_over(f, raw, "%s", d->refused);
        return MRO_H5_NONE;
    }
    if (!mro_h5_dtype(&d->type, &dtype)) {
        pass_over(f, raw, "holds %s, no numbers of a type that is read",
                  d->type.class == MRO_H5_TEXT ? "texts" : "elements of a kind of their own");
        return MRO_H5_NONE;
    }
    for (unsigned i = 0; i < d->rank; i++) {
        if (d->shape[i] == 0 || d->shape[i] > SIZE_MAX) {
            pass_over(f, raw, "has no samples along its axis %u", i);
            return MRO_H5_NONE;
        }
    }
    if (d->layout == MRO_H5_EMPTY) {
        pass_over(f, raw, "holds no values: nothing was ever written, or they were pruned");
        return MRO_H5_NONE;
    }
    if (is_hollow(f, d)) {
        pass_over(f, raw, "is larger than a file of %zu bytes can fill, with what comes before it", f->bytes.size);
        return MRO_H5_NONE;
    }
    return node;
}

/* Appends an image to both lists; NULL with the reason in `e`. */
static struct mro_image_info *new_image(struct mro_file *f, struct mro_error *e)
{
    struct emd_state *s = f->state;
    if (f->images >= MAX_IMAGES) {
        MRO_FAIL(e, MRO_EFORMAT, "'%s' holds more than %d images", f->name, MAX_IMAGES);
        return NULL;
    }
    if (f->images == s->room) {
        const size_t room = s->room ? 2 * s->room : 16;
        struct emd_image *grown = realloc(s->image, room * sizeof *grown);
        if (grown != NULL) {
            s->image = grown;
            s->room = room;
        }
    }
    struct mro_image_info *info = f->images < s->room ? mro_file_add_image(f) : NULL;
    if (info == NULL) MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for image %zu", f->name, f->images);
    return info;
}

/* Appends an image of dataset `node`, whose axes come in `order`; info->axes and the sizes are set from it: `keep`
 * axes at the end of it and, of those before, all when there is more than one frame and `stack`, else none of length 1.
 */
static struct mro_image_info *add_image(struct mro_file *f, uint32_t node, const unsigned *order, unsigned keep,
                                        struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    struct mro_image_info *info = new_image(f, e);
    if (info == NULL) return NULL;
    struct emd_image *im = &s->image[f->images - 1];
    *im = (struct emd_image){ .node = node, .rank = d->rank };
    mro_h5_dtype(&d->type, &info->dtype);
    for (unsigned i = 0; i < d->rank; i++) {
        im->order[i] = order[i];
        const size_t size = (size_t)d->shape[order[i]];
        if (i + keep >= d->rank || size > 1) info->axis[info->axes++].size = size;
    }
    return info;
}

/* Checks the finished image; one that cannot be is taken away again and noted. */
static bool seal_image(struct mro_file *f, struct mro_image_info *info, struct mro_error *e)
{
    struct emd_state *s = f->state;
    struct emd_image *im = &s->image[f->images - 1];
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    struct mro_error why;
    /* A frame is the last two axes that are left; those before them choose it. */
    unsigned planes = 0;
    im->frame_bytes = d->type.bytes;
    im->lead = im->rank;
    while (planes < (info->axes < 2 ? info->axes : 2) && im->lead > 0) {
        const uint64_t size = d->shape[im->order[--im->lead]];
        if (__builtin_mul_overflow(im->frame_bytes, (size_t)size, &im->frame_bytes)) im->frame_bytes = 0;
        if (size == info->axis[info->axes - 1 - planes].size) planes++;
    }
    const enum mro_code c = mro_file_seal_image(f, info, &why);
    if (c == MRO_OK) {
        if (d->layout == MRO_H5_CHUNKED && d->chunks_stored < d->chunks)
            mro_file_warn(f, "'%s': %zu of the %zu chunks of its values were never written and read as the fill value",
                          info->title, d->chunks - d->chunks_stored, d->chunks);
        return true;
    }
    if (s->first.code == MRO_OK) s->first = why;
    mro_file_warn(f, "%s", why.message);
    f->images--;
    (void)e;
    return false;
}

/* ---- Velox ---- */

static bool is_half_plane(const struct mro_h5_type *t)
{
    return t->class == MRO_H5_PAIR && strstr(t->name[0], "Half") != NULL;
}

static enum mro_code add_velox_image(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const uint32_t node = find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    if (d->rank != 2 && d->rank != 3) {
        pass_over(f, group, "has Data of %u axes where an image has 2 or 3", d->rank);
        return MRO_OK;
    }
    json_t *o;
    if (!read_metadata(f, group, &o)) return MRO_OK;
    static const unsigned stack[] = { 2, 0, 1 }, plain[] = { 0, 1 };
    enum mro_code rc = MRO_OK;
    struct mro_image_info *info = add_image(f, node, d->rank == 3 ? stack : plain, 2, e);
    if (info == NULL) {
        rc = e ? e->code : MRO_EMEMORY;
        goto done;
    }
    set_text(info->title, sizeof info->title, text_at(o, "BinaryResult/Detector"));
    set_text(info->title, sizeof info->title, label_of(s, group));
    apply_metadata(f, o, info);
    apply_pixel_size(f, o, info, &info->axis[info->axes - 2]);
    if (info->axes > 2) apply_frame_time(o, &info->axis[0]);
    if (info->axis[info->axes - 1].unit == MRO_UNIT_INV_NM || info->axis[info->axes - 1].unit == MRO_UNIT_RAD)
        info->kind = MRO_KIND_DIFFRACTION;
    if (s->scans < MAX_SCANS && info->kind != MRO_KIND_DIFFRACTION && positive_at(o, "Scan/ScanSize/width") > 0) {
        s->scan[s->scans][0] = info->axis[info->axes - 2].size;
        s->scan[s->scans++][1] = info->axis[info->axes - 1].size;
    }
    if (is_half_plane(&d->type)) {
        info->kind = MRO_KIND_DIFFRACTION;
        mro_file_warn(f, "'%s' is half of a Fourier transform and handed out as stored", info->title);
    }
    seal_image(f, info, e);
done:
    json_decref(o);
    return rc;
}

static enum mro_code add_velox_spectrum(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const uint32_t node = find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    if (d->rank != 1 && d->rank != 2) {
        pass_over(f, group, "has Data of %u axes where a spectrum has 1 or 2", d->rank);
        return MRO_OK;
    }
    json_t *o;
    if (!read_metadata(f, group, &o)) return MRO_OK;
    static const unsigned several[] = { 1, 0 }, one[] = { 0 };
    enum mro_code rc = MRO_OK;
    struct mro_image_info *info = add_image(f, node, d->rank == 2 ? several : one, 1, e);
    if (info == NULL) {
        rc = e ? e->code : MRO_EMEMORY;
        goto done;
    }
    const char *detector = text_at(o, "BinaryResult/Detector");
    snprintf(info->title, sizeof info->title, "EDS%s%s", detector ? " " : "", detector ? detector : "");
    apply_metadata(f, o, info);
    info->kind = MRO_KIND_SPECTRUM;
    apply_dispersion(f, o, info);
    seal_image(f, info, e);
done:
    json_decref(o);
    return rc;
}

/* ---- Velox: the spectrum stream ---- */

/* Rows and columns of the scan by its own metadata: the part of the full raster that was gone over. */
static bool scan_shape(const json_t *o, double shape[2])
{
    double width, height, left, right, top, bottom;
    if (!number_at(o, "Scan/ScanSize/width", &width) || !number_at(o, "Scan/ScanSize/height", &height) ||
        !number_at(o, "Scan/ScanArea/left", &left) || !number_at(o, "Scan/ScanArea/right", &right) ||
        !number_at(o, "Scan/ScanArea/top", &top) || !number_at(o, "Scan/ScanArea/bottom", &bottom))
        return false;
    shape[0] = round(height * (bottom - top));
    shape[1] = round(width * (right - left));
    return shape[0] >= 1 && shape[1] >= 1 && shape[0] < 1e6 && shape[1] < 1e6;
}

/* Scans in the stream of a group: the file says it in up to three places, not all of them in every version. */
static size_t frames_of(struct emd_state *s, uint32_t group)
{
    const struct mro_h5 *h = &s->h5;
    const struct mro_h5_dataset *metadata = mro_h5_dataset(h, mro_h5_find(h, group, "Metadata"));
    const struct mro_h5_dataset *table = mro_h5_dataset(h, mro_h5_find(h, group, "FrameLocationTable"));
    const uint32_t images = mro_h5_find(h, 0, "Data/SpectrumImage");
    uint64_t frames = metadata && metadata->rank == 2 ? metadata->shape[1] : 0;
    if (table && table->rank > 0 && table->shape[0] > frames) frames = table->shape[0];
    for (uint32_t i = images == MRO_H5_NONE ? MRO_H5_NONE : h->node[images].first; i != MRO_H5_NONE;
         i = h->node[i].next) {
        json_t *o = json_of(s, mro_h5_find(h, i, "SpectrumImageSettings"));
        const double end = positive_at(o, "endFramePosition");
        if (end > (double)frames && end < 1e9) frames = (uint64_t)end;
        json_decref(o);
    }
    return frames < 1000000000 ? (size_t)frames : 0;
}

/* Sets the stream up from its first group; false, with the reason noted, when it cannot be read. */
static bool start_stream(struct mro_file *f, uint32_t group, const json_t *o, const json_t *settings,
                         struct mro_eds_stream *t)
{
    struct emd_state *s = f->state;
    double channels, own[2] = { 0, 0 }, width, height;
    if (!number_at(settings, "bincount", &channels) || !(channels >= 1 && channels < MRO_EDS_NEXT_PIXEL)) {
        pass_over(f, group, "has AcquisitionSettings without a bincount: the number of channels is unknown");
        return false;
    }
    t->info.channels = (size_t)channels;
    /* What the scan area comes to, when an image beside it (and not only a survey of the field) has that shape. */
    const bool known = scan_shape(o, own);
    bool agreed = false;
    for (size_t i = 0; i < s->scans; i++)
        agreed = agreed || (known && (double)s->scan[i][0] == own[0] && (double)s->scan[i][1] == own[1]);
    if (s->scans > 0 && !agreed) {
        t->info.ny = s->scan[0][0];
        t->info.nx = s->scan[0][1];
        if (known)
            mro_file_warn(f,
                          "the spectrum stream says it is %g x %g pixels, the image beside it is %zu x %zu, which is "
                          "taken",
                          own[1], own[0], t->info.nx, t->info.ny);
    } else if (known) {
        t->info.ny = (size_t)own[0];
        t->info.nx = (size_t)own[1];
    } else if (number_at(settings, "RasterScanDefinition/Width", &width) &&
               number_at(settings, "RasterScanDefinition/Height", &height) && width >= 1 && height >= 1 &&
               width < 1e6 && height < 1e6) {
        t->info.ny = (size_t)height;
        t->info.nx = (size_t)width;
    } else {
        pass_over(f, group, "says nowhere how many pixels its scan has (Scan.ScanSize, RasterScanDefinition)");
        return false;
    }
    return true;
}

/* The images of the stream are of all its detectors: names one more of them. */
static void add_detector(struct mro_file *f, const char *name)
{
    const struct emd_state *s = f->state;
    for (size_t i = 0; name != NULL && i < f->images; i++) {
        char *to = f->info[i].detector;
        const size_t n = strlen(to), room = sizeof f->info[i].detector;
        if (s->image[i].what == ARRAY || strstr(to, name) != NULL) continue;
        if (n + strlen(name) + sizeof ", " <= room) snprintf(to + n, room - n, "%s%s", n ? ", " : "", name);
        mro_clean_text(to);
    }
}

static enum mro_code add_velox_stream(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    struct mro_h5 *h = &s->h5;
    json_t *o = NULL, *settings = NULL;
    struct mro_image_info energy = { .axes = 1 };
    const uint32_t node = find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = h->node[node].data;
    if (d->type.class != MRO_H5_INTEGER || d->type.bytes != 2 || d->type.is_signed || d->rank < 1 || d->rank > 2 ||
        (d->rank == 2 && d->shape[1] != 1)) {
        pass_over(f, group, "has Data that is no column of 16-bit words");
        return MRO_OK;
    }
    if (!read_metadata(f, group, &o)) return MRO_OK;
    enum mro_code rc = MRO_OK;
    settings = json_of(s, mro_h5_find(h, group, "AcquisitionSettings"));
    const char *encoding = text_at(settings, "StreamEncoding");
    if (settings == NULL) {
        pass_over(f, group, "has no AcquisitionSettings: the number of channels is unknown");
        goto done;
    }
    if (encoding != NULL && strcmp(encoding, "uint16") != 0) {
        pass_over(f, group, "has the StreamEncoding '%.40s', which is not read", encoding);
        goto done;
    }
    snprintf(energy.title, sizeof energy.title, "spectrum stream");
    apply_dispersion(f, o, &energy);
    const bool first = s->stream == NULL;
    if (first) {
        struct mro_eds_stream *t = calloc(1, sizeof *t);
        if (t == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for the spectrum stream of '%s'", f->name);
            goto done;
        }
        t->f = f;
        t->h5 = h;
        t->info.step_ev = energy.axis[0].step;
        t->info.offset_ev = energy.axis[0].offset;
        if (!start_stream(f, group, o, settings, t)) {
            mro_eds_stream_release(t);
            goto done;
        }
        s->stream = t;
    }
    struct mro_eds_stream *t = s->stream;
    if (t->parts == MRO_EDS_MAX_PARTS || positive_at(settings, "bincount") != (double)t->info.channels ||
        energy.axis[0].step != t->info.step_ev || energy.axis[0].offset != t->info.offset_ev) {
        pass_over(f, group, "has other channels or energies than the stream before it");
        goto done;
    }
    const size_t frames = frames_of(s, group);
    if (frames > t->info.frames) t->info.frames = frames;
    t->part[t->parts] = node;
    t->words[t->parts++] = d->shape[0];
    t->info.detectors = t->parts;
    if (!first) {
        add_detector(f, text_at(o, "BinaryResult/Detector"));
        goto done;
    }

    static const struct {
        int what;
        enum mro_dtype dtype;
        enum mro_kind kind;
        const char *title;
    } images[] = {
        { SPECTRUM_IMAGE, MRO_U16, MRO_KIND_SPECTRUM, "EDS" },
        { SUM_SPECTRUM, MRO_U32, MRO_KIND_SPECTRUM, "EDS sum" },
        { TOTAL_COUNTS, MRO_U32, MRO_KIND_MAP, "EDS counts" },
    };
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        struct mro_image_info *info = new_image(f, e);
        struct mro_error why;
        if (info == NULL) {
            rc = e ? e->code : MRO_EMEMORY;
            goto done;
        }
        s->image[f->images - 1] = (struct emd_image){ .what = images[i].what };
        info->dtype = images[i].dtype;
        snprintf(info->title, sizeof info->title, "%s", images[i].title);
        if (images[i].what != SUM_SPECTRUM) {
            info->axes = 2;
            info->axis[0].size = t->info.ny;
            info->axis[1].size = t->info.nx;
            apply_pixel_size(f, o, info, &info->axis[0]);
            memcpy(t->info.axis, info->axis, sizeof t->info.axis);
        }
        if (images[i].what != TOTAL_COUNTS) {
            info->axis[info->axes] = energy.axis[0];
            info->axis[info->axes++].size = t->info.channels;
        }
        apply_metadata(f, o, info);
        info->kind = images[i].kind;
        if (mro_file_seal_image(f, info, &why) == MRO_OK) continue;
        mro_file_warn(f, "%s", why.message);
        if (s->first.code == MRO_OK) s->first = why;
        f->images--;
    }
done:
    json_decref(settings);
    json_decref(o);
    return rc;
}

/* Files that were pruned, or written by other programs, keep only the spectrum image in a form of Velox's own. */
static void note_pruned(struct mro_file *f)
{
    struct emd_state *s = f->state;
    const uint32_t images = mro_h5_find(&s->h5, 0, "Data/SpectrumImage");
    if (s->stream != NULL || images == MRO_H5_NONE || s->h5.node[images].first == MRO_H5_NONE) return;
    pass_over(f, images, "is in a packed form of Velox's own, and its spectrum stream is not in the file (pruned)");
}

/* Calls `take` for every group below /Data/<name>. */
static enum mro_code each(struct mro_file *f, const char *name,
                          enum mro_code (*take)(struct mro_file *f, uint32_t group, struct mro_error *e),
                          struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    char path[64];
    snprintf(path, sizeof path, "Data/%s", name);
    const uint32_t list = mro_h5_find(h, 0, path);
    if (list == MRO_H5_NONE || h->node[list].kind != MRO_H5_GROUP) return MRO_OK;
    size_t groups = 0;
    for (uint32_t i = h->node[list].first; i != MRO_H5_NONE; i = h->node[i].next) {
        if (h->node[i].kind != MRO_H5_GROUP) continue;
        if (groups++ == MAX_IMAGES)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' holds more than %d groups in '/%s'", f->name, MAX_IMAGES, path);
        MRO_TRY(take(f, i, e));
    }
    return MRO_OK;
}

static void check_version(struct mro_file *f)
{
    struct emd_state *s = f->state;
    json_t *o = json_of(s, mro_h5_find(&s->h5, 0, "Version"));
    double version;
    if (!number_at(o, "version", &version))
        mro_file_warn(f, "the file has no /Version: it is read as Velox EMD of version %d", NEWEST_VELOX);
    else if (version > NEWEST_VELOX)
        mro_file_warn(f, "the file is Velox EMD of version %g, newer than those known here (up to %d)", version,
                      NEWEST_VELOX);
    json_decref(o);
}

static bool has_group(const struct mro_h5 *h, const char *path)
{
    const uint32_t n = mro_h5_find(h, 0, path);
    return n != MRO_H5_NONE && h->node[n].kind == MRO_H5_GROUP;
}

static bool is_velox(struct emd_state *s)
{
    const struct mro_h5 *h = &s->h5;
    static const char *const groups[] = { "Data/Image", "Data/Spectrum", "Data/SpectrumStream", "Data/SpectrumImage" };
    json_t *o = json_of(s, mro_h5_find(h, 0, "Version"));
    const char *format = text_at(o, "format");
    bool yes = format != NULL && strcmp(format, "Velox") == 0;
    json_decref(o);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) yes = yes || has_group(h, groups[i]);
    return yes;
}

static enum mro_code open_velox(struct mro_file *f, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    check_version(f);
    read_labels(s);
    MRO_TRY(each(f, "Spectrum", add_velox_spectrum, e));
    MRO_TRY(each(f, "Image", add_velox_image, e));
    MRO_TRY(each(f, "SpectrumStream", add_velox_stream, e));
    note_pruned(f);
    static const char *const known[] = { "Image", "Spectrum", "SpectrumStream", "SpectrumImage", "Text" };
    const uint32_t data = mro_h5_find(h, 0, "Data");
    for (uint32_t i = data == MRO_H5_NONE ? MRO_H5_NONE : h->node[data].first; i != MRO_H5_NONE; i = h->node[i].next) {
        bool is_known = h->node[i].kind != MRO_H5_GROUP || h->node[i].first == MRO_H5_NONE;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known = is_known || strcmp(h->node[i].name, known[k]) == 0;
        if (!is_known) mro_file_warn(f, "'/Data/%s' is of a kind that is not read; it is passed over", h->node[i].name);
    }
    return MRO_OK;
}

/* ---- Berkeley ---- */

/* Reads a vector of numbers as doubles, at most `most` of them from `from` on. */
static size_t read_numbers(struct mro_file *f, uint32_t node, uint64_t from, size_t most, double *v)
{
    struct emd_state *s = f->state;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    enum mro_dtype dtype;
    struct mro_error e;
    unsigned char raw[4 * 8];
    if (d->rank != 1 || from >= d->shape[0] || !mro_h5_dtype(&d->type, &dtype) || d->type.class == MRO_H5_PAIR ||
        dtype == MRO_F16)
        return 0;
    const struct mro_h5_box box = { .from = { from },
                                    .n = { d->shape[0] - from < most ? d->shape[0] - from : most },
                                    .order = { 0 } };
    if (box.n[0] > 4 || !affordable(s, d, sizeof raw) ||
        mro_h5_read(&s->h5, node, &box, raw, f->memory_bytes, &e) != MRO_OK)
        return 0;
    for (size_t i = 0; i < box.n[0]; i++) {
        const unsigned char *p = raw + i * d->type.bytes;
        if (d->type.class == MRO_H5_FLOAT) {
            float single;
            double both;
            memcpy(&single, p, sizeof single);
            memcpy(&both, p, d->type.bytes == 8 ? sizeof both : 0);
            v[i] = d->type.bytes == 8 ? both : single;
        } else {
            uint64_t u = 0;
            for (unsigned k = 0; k < d->type.bytes; k++)
                u |= (uint64_t)p[__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? d->type.bytes - 1 - k : k] << 8 * k;
            const unsigned spare = 64 - 8 * d->type.bytes;
            v[i] = d->type.is_signed ? (double)((int64_t)(u << spare) >> spare) : (double)u;
        }
    }
    return (size_t)box.n[0];
}

struct dimension {
    double step, offset;
    const char *unit, *name;
};

/* Reads dimension vector `number` of an axis of `size` samples. The vector has an entry for every sample, or two. */
static bool read_dimension(struct mro_file *f, uint32_t group, unsigned number, uint64_t size, struct dimension *out)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    char name[16];
    double first[2] = { 0 }, last[1] = { 0 };
    snprintf(name, sizeof name, "dim%u", number);
    const uint32_t node = mro_h5_find(h, group, name);
    const struct mro_h5_dataset *d = mro_h5_dataset(h, node);
    if (d == NULL) {
        pass_over(f, group, "has no vector '%s' for an axis of its data", name);
        return false;
    }
    if (d->rank != 1 || (d->shape[0] != size && d->shape[0] != 2)) {
        pass_over(f, group, "has a vector '%s' of %llu entries for an axis of %llu", name,
                  (unsigned long long)(d->rank == 1 ? d->shape[0] : 0), (unsigned long long)size);
        return false;
    }
    *out = (struct dimension){ .unit = mro_h5_text(h, node, "units"), .name = mro_h5_text(h, node, "name") };
    if (d->type.class == MRO_H5_TEXT || read_numbers(f, node, 0, 2, first) < 2) return true; /* names, or one sample */
    out->offset = first[0];
    out->step = first[1] - first[0];
    if (d->shape[0] > 2 && read_numbers(f, node, d->shape[0] - 1, 1, last) == 1) {
        /* Over the whole length the rounding of single precision does not show. */
        const double mean = (last[0] - first[0]) / (double)(d->shape[0] - 1);
        if (fabs(mean - out->step) <= 1e-3 * fabs(mean))
            out->step = mean;
        else
            mro_file_warn(f, "the steps of '%s' of '%s' are not even: %g at its begin, %g in the mean", name,
                          h->node[group].name, out->step, mean);
    }
    return true;
}

static bool named(const struct dimension *d, char letter)
{
    return d->name != NULL && tolower((unsigned char)d->name[0]) == letter && d->name[1] == '\0';
}

/* The array of an EMD group: `data` by the definition; the others are written by py4DSTEM and Prismatic. */
static const char *array_name(const struct mro_h5 *h, uint32_t group)
{
    static const char *const names[] = { "data", "datacube", "counted_datacube", "realslice", "diffractionslice" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (uint32_t i = h->node[group].first; i != MRO_H5_NONE; i = h->node[i].next)
            if (strcmp(h->node[i].name, names[k]) == 0) return names[k];
    return NULL;
}

static void apply_microscope(const struct mro_file *f, struct mro_image_info *info)
{
    const struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    static const char *const voltages[] = { "high tension", "voltage", "accelerating voltage" };
    const uint32_t m = mro_h5_find(h, 0, "microscope");
    double v;
    if (m == MRO_H5_NONE) return;
    for (size_t i = 0; i < sizeof voltages / sizeof *voltages && info->beam_kv == 0; i++)
        if (mro_h5_number(h, m, voltages[i], &v) && v >= 1 && v < 1e7) info->beam_kv = v >= 2000 ? v / 1000 : v;
    if (mro_h5_number(h, m, "camera length", &v) && v > 0) info->camera_length_mm = v * 1000;
    if (mro_h5_number(h, m, "magnification", &v) && v > 0) info->magnification = v;
    if (mro_h5_number(h, m, "binning", &v) && v > 0) info->binning[0] = info->binning[1] = v;
    set_text(info->instrument, sizeof info->instrument, mro_h5_text(h, m, "name"));
}

static enum mro_code add_berkeley_group(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    const char *name = array_name(h, group);
    if (name == NULL) return MRO_OK; /* groups of groups carry the attribute, too */
    const uint32_t node = find_array(f, group, name);
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = h->node[node].data;
    if (d->rank == 0) {
        pass_over(f, group, "holds a single number, no array");
        return MRO_OK;
    }
    struct dimension dim[MRO_H5_RANK];
    const unsigned base = mro_h5_find(h, group, "dim0") != MRO_H5_NONE ? 0 : 1;
    for (unsigned i = 0; i < d->rank; i++)
        if (!read_dimension(f, group, base + i, d->shape[i], &dim[i])) return MRO_OK;
    /* The definition says C order, the last axis fastest, and files of NCEM have their axes named Y, X in that order
     * (programs that turn them round show the picture mirrored). HyperSpy writes its arrays transposed and names the
     * axes as they then lie, x first: such files are turned back. */
    const unsigned last = d->rank - 1;
    const bool transposed = d->rank >= 2 && named(&dim[0], 'x') && named(&dim[1], 'y');
    unsigned order[MRO_H5_RANK];
    for (unsigned i = 0; i < d->rank; i++) order[i] = transposed ? last - i : i;
    struct mro_image_info *info = add_image(f, node, order, MRO_H5_RANK, e);
    if (info == NULL) return e ? e->code : MRO_EMEMORY;
    set_text(info->title, sizeof info->title, h->node[group].name);
    bool energy = info->axes == 1;
    for (unsigned i = 0; i < d->rank; i++) {
        const struct dimension *a = &dim[order[i]];
        mro_axis_set(&info->axis[i], a->step, a->offset, a->unit, MRO_SOURCE_VENDOR);
        energy = energy || info->axis[i].unit == MRO_UNIT_EV;
    }
    const enum mro_unit unit = info->axis[info->axes - 1].unit;
    if (energy)
        info->kind = MRO_KIND_SPECTRUM;
    else if (unit == MRO_UNIT_INV_NM || unit == MRO_UNIT_RAD)
        info->kind = MRO_KIND_DIFFRACTION;
    apply_microscope(f, info);
    seal_image(f, info, e);
    return MRO_OK;
}

static enum mro_code open_berkeley(struct mro_file *f, bool *any, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    for (size_t i = 0; i < h->attributes; i++) {
        const struct mro_h5_attribute *a = &h->attribute[i];
        if (strcmp(a->name, "emd_group_type") != 0 || h->node[a->node].kind != MRO_H5_GROUP) continue;
        *any = true;
        MRO_TRY(add_berkeley_group(f, a->node, e));
    }
    return MRO_OK;
}

/* ---- reading ---- */

static struct mro_h5_box frame_box(const struct mro_h5_dataset *d, const struct emd_image *im, size_t frame)
{
    struct mro_h5_box box = { .n = { 0 } };
    for (unsigned i = im->rank; i-- > 0;) {
        const unsigned axis = box.order[i] = im->order[i];
        box.n[axis] = d->shape[axis];
        if (i >= im->lead) continue;
        box.n[axis] = 1;
        box.from[axis] = frame % d->shape[axis];
        frame /= (size_t)d->shape[axis];
    }
    return box;
}

/* How many frames from `frame` on are best unpacked at once: all that lie interleaved in the same chunks, and, when
 * frames are read in order and one has fewer chunks than there are threads, as many as keep the threads busy. */
static size_t frames_together(const struct mro_file *f, const struct emd_image *im, size_t image, size_t frame)
{
    const struct emd_state *s = f->state;
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    if (im->lead == 0 || (d->layout != MRO_H5_CHUNKED && d->layout != MRO_H5_CONTIGUOUS)) return 1;
    const unsigned axis = im->order[im->lead - 1];
    const size_t in_axis = (size_t)(frame % d->shape[axis]), left = (size_t)d->shape[axis] - in_axis;
    const size_t thick = (size_t)d->chunk[axis], threads = (size_t)omp_get_max_threads();
    size_t n = thick - in_axis % thick, chunks = 1;
    for (unsigned i = im->lead; i < im->rank; i++) chunks *= (size_t)d->grid[im->order[i]];
    if (d->filters == 0) {
        /* Nothing to unpack: only frames whose pixels lie between each other's gain. */
        const bool interleaved = axis > im->order[im->rank - 1];
        n = interleaved && n > 1 ? (n < TOGETHER ? n : TOGETHER) : 1;
    } else if (chunks < threads && (frame == 0 || (s->cache.last_image == image && s->cache.last_frame == frame - 1))) {
        const size_t slabs = (threads + chunks - 1) / chunks;
        n += (slabs - 1) * thick;
    }
    const size_t room = (f->memory_bytes / 4 < MAX_CACHE ? f->memory_bytes / 4 : MAX_CACHE) / im->frame_bytes;
    if (n > left) n = left;
    if (n > room) n = room;
    return n > 0 ? n : 1;
}

static enum mro_code emd_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct emd_image *im = &s->image[image];
    switch (im->what) {
    case SPECTRUM_IMAGE: return mro_eds_read_row(s->stream, frame, out, e);
    case SUM_SPECTRUM: return mro_eds_read_spectrum(s->stream, out, e);
    case TOTAL_COUNTS: return mro_eds_read_total(s->stream, out, e);
    case ARRAY: break;
    }
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    struct mro_h5_box box = frame_box(d, im, frame);
    const bool cached =
        s->cache.n > 0 && s->cache.of == image && frame >= s->cache.first && frame - s->cache.first < s->cache.n;
    if (!cached) {
        const size_t n = frames_together(f, im, image, frame);
        s->cache.n = 0;
        if (n <= 1) {
            MRO_TRY(mro_h5_read(&s->h5, im->node, &box, out, f->memory_bytes / 2, e));
            goto done;
        }
        if (s->cache.room < n * im->frame_bytes) {
            free(s->cache.bytes);
            s->cache.room = n * im->frame_bytes;
            s->cache.bytes = malloc(s->cache.room);
            if (s->cache.bytes == NULL) {
                s->cache.room = 0;
                return MRO_FAIL(e, MRO_EMEMORY, "no memory for %zu frames of '%s'", n, f->name);
            }
        }
        box.n[im->order[im->lead - 1]] = n;
        MRO_TRY(mro_h5_read(&s->h5, im->node, &box, s->cache.bytes, f->memory_bytes / 2, e));
        s->cache.of = image;
        s->cache.first = frame;
        s->cache.n = n;
    }
    memcpy(out, s->cache.bytes + (frame - s->cache.first) * im->frame_bytes, im->frame_bytes);
done:
    s->cache.last_image = image;
    s->cache.last_frame = frame;
    return MRO_OK;
}

static bool emd_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    const struct emd_state *s = f->state;
    const struct emd_image *im = &s->image[image];
    if (im->what != ARRAY) return false;
    const struct mro_h5_dataset *d = s->h5.node[im->node].data;
    const struct mro_h5_box box = frame_box(d, im, frame);
    *p = mro_h5_view(&s->h5, im->node, &box);
    *big_endian = d->type.big_endian;
    return *p != NULL;
}

static void emd_close(struct mro_file *f)
{
    struct emd_state *s = f->state;
    mro_eds_stream_release(s->stream);
    mro_h5_release(&s->h5);
    free(s->image);
    free(s->cache.bytes);
    free(s->label);
    free(s);
    f->state = NULL;
}

static enum mro_code emd_open(struct mro_file *f, struct mro_error *e);

static bool emd_probe(struct mro_bytes b) { return mro_h5_probe(b); }

static const struct mro_reader reader_velox = {
    .name = "Velox EMD", .probe = emd_probe, .open = emd_open, .read = emd_read, .view = emd_view, .close = emd_close
};

const struct mro_reader mro_reader_emd = {
    .name = "EMD", .probe = emd_probe, .open = emd_open, .read = emd_read, .view = emd_view, .close = emd_close
};

struct mro_eds_stream *mro_emd_stream(struct mro_file *f)
{
    return f->reader == &reader_velox ? ((struct emd_state *)f->state)->stream : NULL;
}

static enum mro_code emd_open(struct mro_file *f, struct mro_error *e)
{
    struct emd_state *s = calloc(1, sizeof *s);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    f->state = s; /* freed by emd_close */
    MRO_TRY(mro_h5_open(&s->h5, f, e));
    bool any = false;
    if (is_velox(s)) {
        any = true;
        f->reader = &reader_velox;
        MRO_TRY(open_velox(f, e));
    } else {
        MRO_TRY(open_berkeley(f, &any, e));
    }
    free(s->label);
    s->label = NULL;
    s->labels = 0;
    if (f->images > 0) return MRO_OK;
    if (s->first.code != MRO_OK) {
        if (e != NULL) *e = s->first;
        return s->first.code;
    }
    if (any) return MRO_FAIL(e, MRO_EFORMAT, "'%s' is an EMD file that holds no image and no spectrum", f->name);
    return MRO_FAIL(e, MRO_EFORMAT,
                    "'%s' is an HDF5 file, but no EMD: it has neither the groups of Velox nor one with emd_group_type",
                    f->name);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the JSON of a Velox file says: of an image beside its pixels, and what images are called. */
#include "io/emd_velox.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_METADATA ((size_t)1 << 20) /* bytes of JSON of one image; real ones hold 60000 */
#define MAX_TEXTS ((size_t)16 << 20)   /* bytes of JSON of labels and settings; one of several names counts for each */
enum { MAX_LABELS = 4096 };

/* ---- JSON ---- */

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

const char *mro_velox_text(const json_t *o, const char *path) { return json_string_value(at(o, path)); }

bool mro_velox_number(const json_t *o, const char *path, double *v)
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

double mro_velox_positive(const json_t *o, const char *path)
{
    double v;
    return mro_velox_number(o, path, &v) && v > 0 ? v : 0;
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

json_t *mro_velox_json(struct emd_state *s, uint32_t node)
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

/* ---- what images are called ---- */

static void add_label(struct emd_state *s, const char *path, const char *title)
{
    if (path == NULL || title == NULL || *title == '\0' || s->labels >= MAX_LABELS) return;
    for (size_t i = 0; i < s->labels; i++)
        if (strcmp(s->label[i].path, path) == 0) return; /* the first one counts: better places are asked first */
    if ((s->labels & (s->labels - 1)) == 0) {
        struct emd_label *grown = realloc(s->label, (s->labels ? 2 * s->labels : 1) * sizeof *grown);
        if (grown == NULL) return;
        s->label = grown;
    }
    struct emd_label *l = &s->label[s->labels++];
    snprintf(l->path, sizeof l->path, "%s", path);
    snprintf(l->title, sizeof l->title, "%s", title);
    percent_decode(l->title);
}

static const char *title_of_operation(const char *operation, const json_t *o, const char **path)
{
    const char *mode = mro_velox_text(o, "integrationMode");
    const char *dpc = mode && strcmp(mode, "true") == 0 ? "iDPC" : "dDPC";
    *path = mro_velox_text(o, "dataPath");
    if (strcmp(operation, "CameraInputOperation") == 0) return mro_velox_text(o, "cameraName");
    if (strcmp(operation, "StemInputOperation") == 0) return mro_velox_text(o, "detector");
    if (strcmp(operation, "DpcOperation") == 0) return "DPC";
    if (strcmp(operation, "IntegrationOperation") == 0) return "DCFI";
    if (strcmp(operation, "FftOperation") == 0) {
        *path = mro_velox_text(o, "imageOutputPath");
        return "Half FFT";
    }
    if (strcmp(operation, "SurfaceReconstructionOperation") == 0) {
        const char *filter = mro_velox_text(o, "enableFilter");
        if (filter == NULL || strcmp(filter, "true") != 0) return dpc;
        return strcmp(dpc, "iDPC") == 0 ? "Filtered iDPC" : "Filtered dDPC";
    }
    if (strcmp(operation, "MathematicsOperation") == 0) {
        const char *input = mro_velox_text(json_array_get(at(o, "outputs"), 0), "inputIndex");
        if (input && strcmp(input, "0") == 0) return "A-C";
        if (input && strcmp(input, "1") == 0) return "B-D";
    }
    return NULL;
}

void mro_velox_read_labels(struct emd_state *s)
{
    const struct mro_h5 *h = &s->h5;
    size_t left = MAX_LABELS; /* each costs a walk through a group */
    const uint32_t displays = mro_h5_find(h, 0, "Displays/ImageDisplay");
    for (uint32_t i = displays == MRO_H5_NONE ? MRO_H5_NONE : h->node[displays].first; i != MRO_H5_NONE && left > 0;
         i = h->node[i].next, left--) {
        json_t *o = mro_velox_json(s, i);
        const char *data = mro_velox_text(o, "data"), *title = mro_velox_text(o, "title");
        json_t *reference = data ? mro_velox_json(s, mro_h5_find(h, 0, data)) : NULL;
        add_label(s, mro_velox_text(reference, "dataPath"), title && *title ? title : mro_velox_text(o, "id"));
        json_decref(reference);
        json_decref(o);
    }
    const uint32_t operations = mro_h5_find(h, 0, "Operations");
    for (uint32_t g = operations == MRO_H5_NONE ? MRO_H5_NONE : h->node[operations].first; g != MRO_H5_NONE;
         g = h->node[g].next) {
        for (uint32_t i = h->node[g].first; i != MRO_H5_NONE; i = h->node[i].next) {
            json_t *o = mro_velox_json(s, i);
            const char *path = NULL, *title = title_of_operation(h->node[g].name, o, &path);
            const char *unfiltered = mro_velox_text(o, "unfilteredDataPath");
            if (unfiltered != NULL && title != NULL)
                add_label(s, unfiltered, strncmp(title, "Filtered ", 9) == 0 ? title + 9 : title);
            add_label(s, path, title);
            json_decref(o);
        }
    }
    const uint32_t shown = mro_h5_find(h, 0, "Presentation/Displays/ImageDisplay");
    for (uint32_t i = shown == MRO_H5_NONE ? MRO_H5_NONE : h->node[shown].first; i != MRO_H5_NONE;
         i = h->node[i].next) {
        json_t *o = mro_velox_json(s, i);
        add_label(s, mro_velox_text(o, "dataPath"), mro_velox_text(o, "display/label"));
        json_decref(o);
    }
}

const char *mro_velox_label(const struct emd_state *s, uint32_t group)
{
    char path[200];
    mro_h5_path(&s->h5, group, path, sizeof path);
    for (size_t i = 0; i < s->labels; i++)
        if (strcmp(s->label[i].path, path) == 0) return s->label[i].title;
    return NULL;
}

/* ---- metadata ---- */

bool mro_velox_metadata(struct mro_file *f, uint32_t group, json_t **o)
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
        mro_emd_pass_over(f, group, "has Metadata that is no column of bytes");
        return false;
    }
    if (!mro_emd_affordable(s, d, (size_t)d->shape[0])) {
        mro_emd_pass_over(f, group, "has Metadata that would unpack to more than is read");
        return false;
    }
    struct mro_h5_box box = { .n = { d->shape[0], 1 }, .order = { 0, 1 } };
    char *text = malloc((size_t)d->shape[0]);
    bool ok = text != NULL && mro_h5_read(h, mro_h5_follow(h, node), &box, text, f->memory_bytes, &e) == MRO_OK;
    if (!ok) {
        mro_emd_pass_over(f, group, "has Metadata that cannot be read");
    } else {
        *o = parse_json(text, strnlen(text, (size_t)d->shape[0]), &error);
        ok = json_is_object(*o);
        if (!ok)
            mro_emd_pass_over(f, group, "has Metadata that is no JSON object (line %d: %.100s)", error.line,
                              error.text);
    }
    free(text);
    return ok;
}

/* The detector that BinaryResult names, of the list in the same metadata; *analytical says whether it (or, for the
 * sum of several, one of its parts) counts X-rays. */
static const json_t *find_detector(const json_t *o, bool *analytical)
{
    const char *index = mro_velox_text(o, "BinaryResult/DetectorIndex"),
               *name = mro_velox_text(o, "BinaryResult/Detector");
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
        const char *full = mro_velox_text(d, "DetectorName");
        /* The sum over the segments of "SuperXG2" belongs to "SuperXG21" .. "SuperXG24". */
        if (found == NULL && name && *name && full && strstr(full, name) != NULL) found = d;
    }
    const char *type = mro_velox_text(found, "DetectorType");
    *analytical = type != NULL && strcmp(type, "AnalyticalDetector") == 0;
    return found;
}

static void set_date(const json_t *o, struct mro_image_info *info)
{
    double t;
    struct tm tm;
    if (!mro_velox_number(o, "Acquisition/AcquisitionStartDatetime/DateTime", &t) || t <= 0) {
        if (!mro_velox_number(o, "CustomProperties/Detectors[BM-Ceta].TimeStamp/value", &t) || t <= 0) return;
        t /= 1e6;
    }
    const time_t seconds = t < 1e11 ? (time_t)t : 0;
    if (seconds > 0 && gmtime_r(&seconds, &tm) != NULL)
        strftime(info->date, sizeof info->date, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void missing(struct mro_file *f, const struct mro_image_info *info, const char *key, const char *what)
{
    mro_file_warn(f, "the Metadata of '%s' has no %s: its %s is unknown", info->title, key, what);
}

void mro_velox_describe(struct mro_file *f, const json_t *o, struct mro_image_info *info)
{
    double v;
    bool analytical;
    if (o == NULL) return;
    const json_t *detector = find_detector(o, &analytical);
    mro_emd_set_text(info->detector, sizeof info->detector, mro_velox_text(o, "BinaryResult/Detector"));
    if (info->detector[0] == '\0')
        mro_emd_set_text(info->detector, sizeof info->detector, mro_velox_text(detector, "DetectorName"));
    mro_emd_set_text(info->instrument, sizeof info->instrument, mro_velox_text(o, "Instrument/InstrumentClass"));
    info->beam_kv = mro_velox_positive(o, "Optics/AccelerationVoltage") / 1000;
    if (info->beam_kv == 0) missing(f, info, "Optics.AccelerationVoltage", "beam energy");
    info->camera_length_mm = mro_velox_positive(o, "Optics/CameraLength") * 1000;
    /* Scanned images know their own magnification; of a camera it is the one of the column. */
    info->magnification = mro_velox_positive(o, "CustomProperties/StemMagnification/value");
    if (info->magnification == 0 && mro_velox_positive(o, "Scan/ScanSize/width") == 0)
        info->magnification = mro_velox_positive(o, "Optics/NominalMagnification");
    if (mro_velox_number(o, "Stage/AlphaTilt", &v)) info->stage_tilt_deg[0] = v * 180 / M_PI;
    if (mro_velox_number(o, "Stage/BetaTilt", &v)) info->stage_tilt_deg[1] = v * 180 / M_PI;
    info->binning[0] = mro_velox_positive(detector, "Binning/height");
    info->binning[1] = mro_velox_positive(detector, "Binning/width");
    set_date(o, info);
    if (analytical && info->axes > 1) info->kind = MRO_KIND_MAP;
}

void mro_velox_pixel_size(struct mro_file *f, const json_t *o, struct mro_image_info *info, struct mro_axis *y)
{
    struct mro_axis *x = y + 1;
    double width = 0, height = 0, dx = 0, dy = 0;
    if (o == NULL) return;
    const char *unit_x = mro_velox_text(o, "BinaryResult/PixelUnitX"),
               *unit_y = mro_velox_text(o, "BinaryResult/PixelUnitY");
    if (unit_y == NULL) unit_y = unit_x;
    if (!mro_velox_number(o, "BinaryResult/PixelSize/width", &width))
        missing(f, info, "BinaryResult.PixelSize", "pixel size");
    if (!mro_velox_number(o, "BinaryResult/PixelSize/height", &height)) height = 0;
    if (unit_x == NULL) missing(f, info, "BinaryResult.PixelUnitX", "pixel size");
    if (!mro_velox_number(o, "BinaryResult/Offset/x", &dx)) dx = 0;
    if (!mro_velox_number(o, "BinaryResult/Offset/y", &dy)) dy = 0;
    mro_axis_set(x, width, dx, unit_x, MRO_SOURCE_VENDOR);
    mro_axis_set(y, height, dy, unit_y, MRO_SOURCE_VENDOR);
}

void mro_velox_frame_time(const json_t *o, struct mro_axis *frames)
{
    bool analytical;
    double t = mro_velox_positive(o, "Scan/FrameTime");
    if (t == 0) t = mro_velox_positive(find_detector(o, &analytical), "ExposureTime");
    mro_axis_set(frames, t, 0, "s", MRO_SOURCE_VENDOR);
}

void mro_velox_dispersion(struct mro_file *f, const json_t *o, struct mro_image_info *info)
{
    bool analytical;
    double step = 0, offset = 0;
    const json_t *detector = find_detector(o, &analytical);
    if (o == NULL) return;
    if (!mro_velox_number(detector, "Dispersion", &step) || !mro_velox_number(detector, "OffsetEnergy", &offset)) {
        missing(f, info, "Detectors[].Dispersion and OffsetEnergy", "energy scale");
        return;
    }
    mro_axis_set(&info->axis[info->axes - 1], step, offset, "eV", MRO_SOURCE_VENDOR);
}

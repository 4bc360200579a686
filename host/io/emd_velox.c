/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Velox EMD (Thermo Fisher, FEI): /Data/Image/<id>/Data is (y, x, frame), the frame axis last; /Metadata beside it is a
 * column of bytes for each frame, JSON ended by zeros, all numbers as texts in SI units. Which detector or element an
 * image shows is said elsewhere: in /Displays since version 11, in /Operations and /Presentation before. Versions 4, 8
 * and 11 have been read; the format is not published, so a missing key is a warning that names it, not an error. */
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/notes.h"
#include "io/emd.h"

#define MAX_METADATA ((size_t)1 << 20) /* bytes of JSON of one image; real ones hold 60000 */
#define MAX_TEXTS ((size_t)16 << 20)   /* bytes of JSON of labels and settings; one of several names counts for each */
enum { MAX_LABELS = 4096, NEWEST = 11 };

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

/* ---- metadata ---- */

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
    mro_emd_set_text(info->detector, sizeof info->detector, text_at(o, "BinaryResult/Detector"));
    if (info->detector[0] == '\0')
        mro_emd_set_text(info->detector, sizeof info->detector, text_at(detector, "DetectorName"));
    mro_emd_set_text(info->instrument, sizeof info->instrument, text_at(o, "Instrument/InstrumentClass"));
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

/* ---- images and spectra ---- */

static bool is_half_plane(const struct mro_h5_type *t)
{
    return t->class == MRO_H5_PAIR && strstr(t->name[0], "Half") != NULL;
}

static enum mro_code add_image(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const uint32_t node = mro_emd_find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    if (d->rank != 2 && d->rank != 3) {
        mro_emd_pass_over(f, group, "has Data of %u axes where an image has 2 or 3", d->rank);
        return MRO_OK;
    }
    json_t *o;
    if (!read_metadata(f, group, &o)) return MRO_OK;
    static const unsigned stack[] = { 2, 0, 1 }, plain[] = { 0, 1 };
    enum mro_code rc = MRO_OK;
    struct mro_image_info *info = mro_emd_add_image(f, node, d->rank == 3 ? stack : plain, 2, e);
    if (info == NULL) {
        rc = e ? e->code : MRO_EMEMORY;
        goto done;
    }
    mro_emd_set_text(info->title, sizeof info->title, text_at(o, "BinaryResult/Detector"));
    mro_emd_set_text(info->title, sizeof info->title, label_of(s, group));
    apply_metadata(f, o, info);
    apply_pixel_size(f, o, info, &info->axis[info->axes - 2]);
    if (info->axes > 2) apply_frame_time(o, &info->axis[0]);
    if (info->axis[info->axes - 1].unit == MRO_UNIT_INV_NM || info->axis[info->axes - 1].unit == MRO_UNIT_RAD)
        info->kind = MRO_KIND_DIFFRACTION;
    if (s->scans < EMD_SCANS && info->kind != MRO_KIND_DIFFRACTION && positive_at(o, "Scan/ScanSize/width") > 0) {
        s->scan[s->scans][0] = info->axis[info->axes - 2].size;
        s->scan[s->scans++][1] = info->axis[info->axes - 1].size;
    }
    if (is_half_plane(&d->type)) {
        info->kind = MRO_KIND_DIFFRACTION;
        mro_file_warn(f, "'%s' is half of a Fourier transform and handed out as stored", info->title);
    }
    mro_emd_seal_image(f, info);
done:
    json_decref(o);
    return rc;
}

static enum mro_code add_spectrum(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const uint32_t node = mro_emd_find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = s->h5.node[node].data;
    if (d->rank != 1 && d->rank != 2) {
        mro_emd_pass_over(f, group, "has Data of %u axes where a spectrum has 1 or 2", d->rank);
        return MRO_OK;
    }
    json_t *o;
    if (!read_metadata(f, group, &o)) return MRO_OK;
    static const unsigned several[] = { 1, 0 }, one[] = { 0 };
    enum mro_code rc = MRO_OK;
    struct mro_image_info *info = mro_emd_add_image(f, node, d->rank == 2 ? several : one, 1, e);
    if (info == NULL) {
        rc = e ? e->code : MRO_EMEMORY;
        goto done;
    }
    const char *detector = text_at(o, "BinaryResult/Detector");
    snprintf(info->title, sizeof info->title, "EDS%s%s", detector ? " " : "", detector ? detector : "");
    apply_metadata(f, o, info);
    info->kind = MRO_KIND_SPECTRUM;
    apply_dispersion(f, o, info);
    mro_emd_seal_image(f, info);
done:
    json_decref(o);
    return rc;
}

/* ---- the spectrum stream ---- */

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
        mro_emd_pass_over(f, group, "has AcquisitionSettings without a bincount: the number of channels is unknown");
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
        mro_emd_pass_over(f, group, "says nowhere how many pixels its scan has (Scan.ScanSize, RasterScanDefinition)");
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
        if (s->image[i].what == EMD_ARRAY || strstr(to, name) != NULL) continue;
        if (n + strlen(name) + sizeof ", " <= room) snprintf(to + n, room - n, "%s%s", n ? ", " : "", name);
        mro_clean_text(to);
    }
}

static enum mro_code add_stream(struct mro_file *f, uint32_t group, struct mro_error *e)
{
    struct emd_state *s = f->state;
    struct mro_h5 *h = &s->h5;
    json_t *o = NULL, *settings = NULL;
    struct mro_image_info energy = { .axes = 1 };
    const uint32_t node = mro_emd_find_array(f, group, "Data");
    if (node == MRO_H5_NONE) return MRO_OK;
    const struct mro_h5_dataset *d = h->node[node].data;
    if (d->type.class != MRO_H5_INTEGER || d->type.bytes != 2 || d->type.is_signed || d->rank < 1 || d->rank > 2 ||
        (d->rank == 2 && d->shape[1] != 1)) {
        mro_emd_pass_over(f, group, "has Data that is no column of 16-bit words");
        return MRO_OK;
    }
    if (!read_metadata(f, group, &o)) return MRO_OK;
    enum mro_code rc = MRO_OK;
    settings = json_of(s, mro_h5_find(h, group, "AcquisitionSettings"));
    const char *encoding = text_at(settings, "StreamEncoding");
    if (settings == NULL) {
        mro_emd_pass_over(f, group, "has no AcquisitionSettings: the number of channels is unknown");
        goto done;
    }
    if (encoding != NULL && strcmp(encoding, "uint16") != 0) {
        mro_emd_pass_over(f, group, "has the StreamEncoding '%.40s', which is not read", encoding);
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
        mro_emd_pass_over(f, group, "has other channels or energies than the stream before it");
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
        { EMD_SPECTRUM_IMAGE, MRO_U16, MRO_KIND_SPECTRUM, "EDS" },
        { EMD_SUM_SPECTRUM, MRO_U32, MRO_KIND_SPECTRUM, "EDS sum" },
        { EMD_TOTAL_COUNTS, MRO_U32, MRO_KIND_MAP, "EDS counts" },
    };
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        struct mro_image_info *info = mro_emd_new_image(f, e);
        struct mro_error why;
        if (info == NULL) {
            rc = e ? e->code : MRO_EMEMORY;
            goto done;
        }
        s->image[f->images - 1] = (struct emd_image){ .what = images[i].what };
        info->dtype = images[i].dtype;
        snprintf(info->title, sizeof info->title, "%s", images[i].title);
        if (images[i].what != EMD_SUM_SPECTRUM) {
            info->axes = 2;
            info->axis[0].size = t->info.ny;
            info->axis[1].size = t->info.nx;
            apply_pixel_size(f, o, info, &info->axis[0]);
            memcpy(t->info.axis, info->axis, sizeof t->info.axis);
        }
        if (images[i].what != EMD_TOTAL_COUNTS) {
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
    mro_emd_pass_over(f, images,
                      "is in a packed form of Velox's own, and its spectrum stream is not in the file (pruned)");
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
        if (groups++ == EMD_IMAGES)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' holds more than %d groups in '/%s'", f->name, EMD_IMAGES, path);
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
        mro_file_warn(f, "the file has no /Version: it is read as Velox EMD of version %d", NEWEST);
    else if (version > NEWEST)
        mro_file_warn(f, "the file is Velox EMD of version %g, newer than those known here (up to %d)", version,
                      NEWEST);
    json_decref(o);
}

static bool has_group(const struct mro_h5 *h, const char *path)
{
    const uint32_t n = mro_h5_find(h, 0, path);
    return n != MRO_H5_NONE && h->node[n].kind == MRO_H5_GROUP;
}

bool mro_emd_is_velox(struct emd_state *s)
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

enum mro_code mro_emd_open_velox(struct mro_file *f, struct mro_error *e)
{
    struct emd_state *s = f->state;
    const struct mro_h5 *h = &s->h5;
    check_version(f);
    read_labels(s);
    MRO_TRY(each(f, "Spectrum", add_spectrum, e));
    MRO_TRY(each(f, "Image", add_image, e));
    MRO_TRY(each(f, "SpectrumStream", add_stream, e));
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

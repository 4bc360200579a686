/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One result made small enough for a page: figure, score map, and what autocorrelations are computed from. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "io/text.h"
#include "mroscope/file.h"
#include "mroscope/mro.h"
#include "report/jpeg.h"
#include "report/page.h"

#define LARGE_FRAME ((size_t)1024 * 1024) /* pixels; beyond, autocorrelations are kept for the strongest cells */
#define STRONGEST 50
#define STRONGEST_APART_NM 1.0 /* else all of them would lie on one or two regions */
#define FIELD_LEVELS 31        /* on either side of zero: 3 % of the scatter, far below what an eye sees */
#define MOST_OBJECTS 400
#define MOST_FIGURE_SHARE 0.9
#define UNMEASURED 65535

/* -- texts ------------------------------------------------------------------------------------------ */

static bool put(json_t *o, const char *key, json_t *v) { return json_object_set_new(o, key, v) == 0; }

static json_t *base64(const unsigned char *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t length = (n + 2) / 3 * 4;
    char *text = malloc(length + 1), *to = text;
    if (text == NULL) return NULL;
    for (size_t i = 0; i < n; i += 3) {
        const uint32_t v =
            (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        *to++ = digit[v >> 18];
        *to++ = digit[v >> 12 & 63];
        *to++ = i + 1 < n ? digit[v >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digit[v & 63] : '=';
    }
    json_t *v = json_stringn_nocheck(text, length);
    free(text);
    return v;
}

static json_t *deflated(const unsigned char *p, size_t n)
{
    uLongf size = compressBound((uLong)n);
    unsigned char *packed = malloc(size);
    json_t *v = packed && compress2(packed, &size, p, (uLong)n, 9) == Z_OK ? base64(packed, size) : NULL;
    free(packed);
    return v;
}

static json_t *pair(double y, double x) { return json_pack("[ff]", y, x); }

/* What is not in the page, in words. */
static void leave_out(struct mro_page_item *item, const char *sentence)
{
    json_t *list = json_object_get(item->summary, "left_out");
    if (list == NULL) {
        list = json_array();
        if (list) put(item->summary, "left_out", list);
    }
    json_t *text = json_string(sentence);
    if (list && text)
        json_array_append_new(list, text);
    else
        json_decref(text);
}

/* -- files ------------------------------------------------------------------------------------------ */

/* Path of a file beside the result: its own less ".json", plus `suffix`; free() it. */
static char *beside(const char *path, const char *suffix)
{
    const size_t n = strlen(path), end = strlen(".json");
    const size_t stem = n > end && strcmp(path + n - end, ".json") == 0 ? n - end : n;
    char *name = malloc(stem + strlen(suffix) + 1);
    if (name) {
        memcpy(name, path, stem);
        strcpy(name + stem, suffix);
    }
    return name;
}

/* Reads a map that may be missing: `im` is empty then. A file that is there and cannot be read is told. */
static void read_map(struct mro_page_item *item, const char *path, const char *suffix, struct mro_image *im)
{
    struct mro_file *f = NULL;
    struct mro_error e;
    char *name = beside(path, suffix);
    memset(im, 0, sizeof *im);
    if (name && access(name, F_OK) == 0) {
        enum mro_code rc = mro_file_open(&f, name, 0, &e);
        if (rc == MRO_OK) rc = mro_file_read(f, 0, 0, im, &e);
        if (rc) leave_out(item, e.message);
        mro_file_close(f);
    }
    free(name);
}

static bool calibrated(const struct mro_image *im)
{
    for (int i = 0; i < 2; i++)
        if (!(im->axis[i].step > 0) || im->axis[i].unit != MRO_UNIT_NM || !isfinite(im->axis[i].offset)) return false;
    return im->px != NULL;
}

/* Rows "score,share,null,rate" of the survival table as [[score, rate], ...]; NULL: there is none. */
static json_t *survival(const char *path)
{
    char *name = beside(path, ".survival.csv"), line[256];
    FILE *in = name ? fopen(name, "r") : NULL;
    json_t *list = in ? json_array() : NULL;
    free(name);
    for (size_t n = 0; list && n < 1000 && fgets(line, sizeof line, in); n++) {
        double v[4];
        const char *p = line;
        int k = 0;
        for (; k < 4 && p; k++) {
            const size_t length = strcspn(p, ",\r\n");
            v[k] = mro_parse_number(p, length);
            p = p[length] == ',' ? p + length + 1 : NULL;
        }
        if (k == 4 && isfinite(v[0]) && v[3] > 0) json_array_append_new(list, pair(v[0], v[3]));
    }
    if (in) fclose(in);
    if (list == NULL || json_array_size(list) > 1) return list;
    json_decref(list);
    return NULL;
}

/* -- the figure ------------------------------------------------------------------------------------- */

struct picture {
    size_t nx, ny;
    unsigned char *rgb; /* owned */
};

static void read_figure(struct mro_page_item *item, const char *path, struct picture *p)
{
    struct mro_file *f = NULL;
    struct mro_error e;
    char *name = beside(path, ".png");
    *p = (struct picture){ 0 };
    if (name == NULL || access(name, F_OK) != 0) {
        free(name);
        return;
    }
    enum mro_code rc = mro_file_open(&f, name, 0, &e);
    if (rc == MRO_OK) {
        const struct mro_image_info *info = mro_file_info(f, 0);
        if (info->axes == 2 && info->dtype == MRO_RGB8) {
            p->ny = info->axis[0].size;
            p->nx = info->axis[1].size;
            p->rgb = malloc(p->ny * p->nx * 3);
            if (p->rgb) rc = mro_file_read_stored(f, 0, 0, p->rgb, &e);
        } else {
            rc = MRO_FAIL(&e, MRO_EFORMAT, "'%s' is no colour picture", name);
        }
    }
    if (rc) {
        leave_out(item, e.message);
        free(p->rgb);
        p->rgb = NULL;
    }
    mro_file_close(f);
    free(name);
}

/* Share of source samples [i/n, (i+1)/n) along one axis: first, last, and what of both counts. */
struct span {
    size_t first, last;
    float begin, end;
};

static struct span span_of(size_t i, size_t n, size_t from)
{
    const double a = (double)i * (double)from / (double)n, b = (double)(i + 1) * (double)from / (double)n;
    struct span s = { .first = (size_t)a, .last = (size_t)ceil(b) - 1 };
    if (s.last >= from) s.last = from - 1;
    s.begin = s.first == s.last ? (float)(b - a) : (float)((double)(s.first + 1) - a);
    s.end = (float)(b - (double)s.last);
    return s;
}

static float weight_of(const struct span *s, size_t k) { return k == s->first ? s->begin : k == s->last ? s->end : 1; }

/* Made smaller by means over areas, so that small type stays readable. */
static bool shrink(const struct picture *p, size_t nx, struct picture *out)
{
    const size_t ny = (size_t)fmax(1, round((double)p->ny * (double)nx / (double)p->nx));
    *out = (struct picture){ .nx = nx, .ny = ny, .rgb = malloc(ny * nx * 3) };
    float *rows = malloc(p->nx * 3 * sizeof *rows);
    struct span *across = malloc(nx * sizeof *across);
    const bool ok = out->rgb && rows && across;
    for (size_t x = 0; ok && x < nx; x++) across[x] = span_of(x, nx, p->nx);
    for (size_t y = 0; ok && y < ny; y++) {
        const struct span down = span_of(y, ny, p->ny);
        float total = 0;
        memset(rows, 0, p->nx * 3 * sizeof *rows);
        for (size_t k = down.first; k <= down.last; k++) {
            const float w = weight_of(&down, k);
            const unsigned char *from = p->rgb + k * p->nx * 3;
            for (size_t i = 0; i < p->nx * 3; i++) rows[i] += w * from[i];
            total += w;
        }
        for (size_t x = 0; x < nx; x++) {
            float sum[3] = { 0 }, all = 0;
            for (size_t k = across[x].first; k <= across[x].last; k++) {
                const float w = weight_of(&across[x], k);
                for (int c = 0; c < 3; c++) sum[c] += w * rows[3 * k + (size_t)c];
                all += w;
            }
            for (size_t c = 0; c < 3; c++)
                out->rgb[(y * nx + x) * 3 + c] = (unsigned char)(sum[c] / (all * total) + 0.5f);
        }
    }
    free(rows);
    free(across);
    if (!ok) {
        free(out->rgb);
        out->rgb = NULL;
    }
    return ok;
}

/* The largest of some sizes and qualities that fits into `room` bytes of base64, or NULL. `weight` is how many bytes
 * each takes of a figure of noise, relatively: after one try it says where to go on, and pictures of lines only grow
 * less. */
static json_t *pack_figure(const struct picture *p, size_t room)
{
    static const struct {
        size_t width;
        int quality, weight;
    } step[] = { { 480, 38, 34 },  { 560, 40, 45 },   { 640, 42, 58 },   { 720, 45, 76 },  { 800, 52, 103 },
                 { 900, 58, 132 }, { 1000, 66, 172 }, { 1200, 74, 255 }, { 1500, 80, 400 } };
    enum { STEPS = sizeof step / sizeof *step, FIRST = 4 };
    json_t *v = NULL;
    for (int k = FIRST, tries = 0; k >= 0 && v == NULL; tries++) {
        struct picture small;
        struct mro_sink jpeg = { 0 };
        if (!shrink(p, step[k].width < p->nx ? step[k].width : p->nx, &small)) break;
        mro_jpeg_encode(&jpeg, small.rgb, small.ny, small.nx, step[k].quality);
        free(small.rgb);
        const size_t taken = jpeg.n / 3 * 4 + 4;
        int next = k - 1;
        if (tries == 0 && !jpeg.failed) {
            next = STEPS - 1;
            while (next >= 0 && (double)taken * step[next].weight > 0.97 * (double)room * step[k].weight) next--;
            if (next < 0) next = k > 0 ? 0 : -1; /* the smallest may fit all the same */
        }
        if (!jpeg.failed && taken <= room && next <= k)
            v = json_pack("{sIsIso?}", "nx", (json_int_t)small.nx, "ny", (json_int_t)small.ny, "jpeg",
                          base64((const unsigned char *)jpeg.p, jpeg.n));
        free(jpeg.p);
        k = next;
    }
    return v;
}

/* -- the score map ------------------------------------------------------------------------------------ */

/* Scores as whole multiples of 1 / unit, rounded down, so that counting codes at or above t * unit counts scores at or
 * above t; unit is a multiple of 100, for a threshold in hundredths. The mask decides at 1: it was made before the
 * score was rounded to float. Two planes, low bytes first. */
static json_t *pack_score(const struct mro_image *score, const struct mro_image *mask, int *unit)
{
    const size_t n = score->ny * score->nx;
    const bool masked = mask->px && mask->nx == score->nx && mask->ny == score->ny;
    unsigned char *plane = malloc(2 * n);
    float most = 1;
    for (size_t i = 0; i < n; i++)
        if (score->px[i] > most) most = score->px[i];
    *unit = 100 * (int)fmax(1, floor(65000 / (100 * (double)most)));
    if (plane == NULL) return NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned code = UNMEASURED;
        if (isfinite(score->px[i])) {
            const double scaled = floor(fmax(score->px[i], 0) * (double)*unit);
            code = scaled < UNMEASURED - 1 ? (unsigned)scaled : UNMEASURED - 1;
            if (masked && mask->px[i] > 0 && code < (unsigned)*unit) code = (unsigned)*unit;
            if (masked && mask->px[i] == 0 && code >= (unsigned)*unit) code = (unsigned)*unit - 1;
        }
        plane[i] = (unsigned char)code;
        plane[n + i] = (unsigned char)(code >> 8);
    }
    json_t *v = deflated(plane, 2 * n);
    free(plane);
    return v;
}

/* Spacings in 254 steps between the smallest and the largest; 0 = not measured. */
static json_t *pack_spacing(const struct mro_image *spacing)
{
    const size_t n = spacing->ny * spacing->nx;
    float lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(spacing->px[i])) continue;
        lo = fminf(lo, spacing->px[i]);
        hi = fmaxf(hi, spacing->px[i]);
    }
    unsigned char *code = calloc(n, 1);
    if (code == NULL || !(hi >= lo)) {
        free(code);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        if (isfinite(spacing->px[i]))
            code[i] = (unsigned char)(1 + (hi > lo ? lroundf(254 * (spacing->px[i] - lo) / (hi - lo)) : 0));
    json_t *v = json_pack("{so?so?}", "range_nm", pair(lo, hi), "codes", deflated(code, n));
    free(code);
    return v;
}

static signed char level(float v, float most)
{
    const long code = isfinite(v) && most > 0 ? lroundf(FIELD_LEVELS * v / most) : 0;
    return (signed char)code;
}

static float largest(const struct mro_image *im)
{
    float most = 0;
    for (size_t i = 0; i < im->ny * im->nx; i++)
        if (isfinite(im->px[i])) most = fmaxf(most, fabsf(im->px[i]));
    return most;
}

/* The whole whitened image. */
static json_t *pack_field(const struct mro_image *field)
{
    const size_t n = field->ny * field->nx;
    const float most = largest(field);
    signed char *code = malloc(n);
    if (code == NULL) return NULL;
    for (size_t i = 0; i < n; i++) code[i] = level(field->px[i], most);
    json_t *v =
        json_pack("{sIsIso?so?}", "nx", (json_int_t)field->nx, "ny", (json_int_t)field->ny, "step_nm",
                  pair(field->axis[0].step, field->axis[1].step), "codes", deflated((const unsigned char *)code, n));
    free(code);
    return v;
}

/* The strongest cells, none close to a stronger one. Returns how many. */
static size_t strongest(const struct mro_image *score, size_t limit, size_t *cell)
{
    const double sy = score->axis[0].step, sx = score->axis[1].step;
    size_t n = 0;
    while (n < limit) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < score->ny * score->nx; i++) {
            if (!isfinite(score->px[i]) || (best != SIZE_MAX && !(score->px[i] > score->px[best]))) continue;
            bool apart = true;
            for (size_t k = 0; k < n && apart; k++) {
                const double dy = (double)(cell[k] / score->nx) - (double)(i / score->nx);
                const double dx = (double)(cell[k] % score->nx) - (double)(i % score->nx);
                apart = hypot(dy * sy, dx * sx) >= STRONGEST_APART_NM;
            }
            if (apart) best = i;
        }
        if (best == SIZE_MAX) break;
        cell[n++] = best;
    }
    return n;
}

/* Windows of the whitened image around the strongest cells. */
static json_t *pack_patches(const struct mro_image *field, const struct mro_image *score, size_t limit)
{
    size_t cell[STRONGEST];
    const size_t n = strongest(score, limit < STRONGEST ? limit : STRONGEST, cell);
    const double step[2] = { field->axis[0].step, field->axis[1].step };
    const ptrdiff_t hy = (ptrdiff_t)(0.5 * MRO_ORDER_ACF_WINDOW_NM / step[0]),
                    hx = (ptrdiff_t)(0.5 * MRO_ORDER_ACF_WINDOW_NM / step[1]);
    const size_t rows = (size_t)(2 * hy + 1), columns = (size_t)(2 * hx + 1);
    const ptrdiff_t ny = (ptrdiff_t)field->ny, nx = (ptrdiff_t)field->nx;
    signed char *code = malloc(n * rows * columns + 1), *to = code;
    json_t *cells = json_array();
    if (code == NULL || cells == NULL || n == 0) {
        free(code);
        json_decref(cells);
        return NULL;
    }
    for (size_t k = 0; k < n; k++) {
        const size_t iy = cell[k] / score->nx, ix = cell[k] % score->nx;
        const ptrdiff_t cy = lround((double)iy * score->axis[0].step / step[0]),
                        cx = lround((double)ix * score->axis[1].step / step[1]);
        float most = 0; /* each in its own units: only its shape is asked for */
        for (int pass = 0; pass < 2; pass++)
            for (ptrdiff_t j = -hy; j <= hy; j++)
                for (ptrdiff_t i = -hx; i <= hx; i++) {
                    const size_t y = (size_t)(((cy + j) % ny + ny) % ny), x = (size_t)(((cx + i) % nx + nx) % nx);
                    const float v = field->px[y * field->nx + x];
                    if (pass == 0)
                        most = isfinite(v) ? fmaxf(most, fabsf(v)) : most;
                    else
                        *to++ = level(v, most);
                }
        json_array_append_new(cells, json_pack("[II]", (json_int_t)ix, (json_int_t)iy));
    }
    json_t *v = json_pack("{so?so?so?}", "step_nm", pair(step[0], step[1]), "cells", cells, "codes",
                          deflated((const unsigned char *)code, n * rows * columns));
    free(code);
    return v;
}

static size_t text_size(const json_t *v)
{
    size_t n = 0;
    const char *key;
    json_t *inner;
    if (json_is_string(v)) return json_string_length(v);
    json_object_foreach((json_t *)v, key, inner) n += text_size(inner) + 16;
    return n;
}

static double frame_pixels(const json_t *result)
{
    const json_t *shape = json_object_get(result, "shape");
    return json_number_value(json_array_get(shape, 0)) * json_number_value(json_array_get(shape, 1));
}

/* The score map of an mro result, or NULL when it has none. */
static json_t *pack_map(struct mro_page_item *item, const char *path, const json_t *result, size_t room)
{
    struct mro_image score, mask, spacing, field;
    json_t *map = NULL;
    int unit;
    read_map(item, path, ".score.tif", &score);
    read_map(item, path, ".mask.tif", &mask);
    read_map(item, path, ".spacing.tif", &spacing);
    read_map(item, path, ".whitened.tif", &field);
    if (!calibrated(&score)) goto done;
    json_t *codes = pack_score(&score, &mask, &unit);
    map = json_pack("{sIsIso?so?so?siso?s{sfsisf}}", "nx", (json_int_t)score.nx, "ny", (json_int_t)score.ny,
                    "origin_nm", pair(score.axis[0].offset, score.axis[1].offset), "step_nm",
                    pair(score.axis[0].step, score.axis[1].step), "field_nm",
                    pair((double)score.ny * score.axis[0].step, (double)score.nx * score.axis[1].step), "unit", unit,
                    "score", codes, "acf", "window_nm", MRO_ORDER_ACF_WINDOW_NM, "lags", MRO_ORDER_ACF_LAGS, "step_nm",
                    MRO_ORDER_ACF_STEP_NM);
    if (map == NULL) goto done;
    json_t *curve = survival(path);
    if (curve) put(map, "survival", curve);
    if (spacing.px && spacing.nx == score.nx && spacing.ny == score.ny) {
        json_t *v = pack_spacing(&spacing);
        if (v) put(map, "spacing", v);
    }
    if (!calibrated(&field)) {
        put(map, "note", json_string("These results lack the whitened image that autocorrelations are computed from."));
        goto done;
    }
    const size_t left = room > text_size(map) ? room - text_size(map) : 0;
    const bool large = frame_pixels(result) > (double)LARGE_FRAME;
    json_t *v = large ? NULL : pack_field(&field);
    if (v && text_size(v) > 0.6 * (double)left) {
        json_decref(v);
        v = NULL;
    }
    if (v) {
        put(map, "field", v);
        goto done;
    }
    size_t count = STRONGEST;
    for (; count >= 5; count = count > 5 && count / 2 < 5 ? 5 : count / 2) {
        v = pack_patches(&field, &score, count);
        if (v == NULL || text_size(v) <= 0.6 * (double)left || count == 5) break;
        json_decref(v);
        v = NULL;
    }
    if (v == NULL) goto done;
    count = json_array_size(json_object_get(v, "cells"));
    put(map, "patches", v);
    put(map, "note",
        json_sprintf(
            "%s: autocorrelations are kept for its %zu strongest cells (at least 1 nm apart, marked by squares).",
            large ? "This frame has more than 1024 × 1024 pixels" : "There are many images in this report", count));
done:
    mro_image_release(&score);
    mro_image_release(&mask);
    mro_image_release(&spacing);
    mro_image_release(&field);
    return map;
}

/* Ordered regions as [x, y, diameter, d, azimuth, snr, grade], the strongest first. */
static json_t *pack_objects(const json_t *objects)
{
    static const char *const keys[] = { "x_nm", "y_nm", "diameter_nm", "d_nm", "azimuth_deg", "snr" };
    json_t *list = json_array();
    for (size_t i = 0; list && i < json_array_size(objects) && i < MOST_OBJECTS; i++) {
        const json_t *o = json_array_get(objects, i);
        json_t *one = json_array();
        for (size_t k = 0; one && k < sizeof keys / sizeof *keys; k++) {
            const double v = json_number_value(json_object_get(o, keys[k]));
            json_array_append_new(one, json_real(round(1e4 * v) / 1e4));
        }
        const char *grade = json_string_value(json_object_get(o, "grade"));
        if (one) json_array_append_new(one, json_string(grade ? grade : ""));
        if (one) json_array_append_new(list, one);
    }
    return list;
}

enum mro_code mro_page_pack(struct mro_page_item *item, const char *path, json_t *result, size_t room,
                            struct mro_error *e)
{
    json_t *blob = json_object();
    struct picture figure;
    if (blob == NULL || item->summary == NULL) {
        json_decref(blob);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", path);
    }
    const char *schema = json_string_value(json_object_get(result, "schema"));
    if (schema && strcmp(schema, "mroscope.mro/1") == 0) {
        const json_t *objects = json_object_get(result, "objects");
        json_t *map = pack_map(item, path, result, room);
        if (map) {
            const size_t n = json_array_size(objects);
            if (n > MOST_OBJECTS) put(map, "objects_left_out", json_integer((json_int_t)(n - MOST_OBJECTS)));
            put(blob, "map", map);
            put(blob, "objects", pack_objects(objects));
        }
        json_object_del(result, "objects");
    }
    read_figure(item, path, &figure);
    if (figure.rgb) {
        const size_t used =
            text_size(json_object_get(blob, "map")) + 80 * json_array_size(json_object_get(blob, "objects"));
        json_t *v = pack_figure(&figure, used < room ? (size_t)(MOST_FIGURE_SHARE * (double)(room - used)) : 0);
        if (v)
            put(blob, "figure", v);
        else
            leave_out(item, "the figure is not in this page, which holds many images: see the folder of results");
        free(figure.rgb);
    }
    if (json_object_size(blob)) mro_page_json(&item->blob, blob);
    json_decref(blob);
    return item->blob.failed ? MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", path) : MRO_OK;
}

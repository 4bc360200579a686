/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/maps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "mroscope/eds_stream.h"

/* -- sources ------------------------------------------------------------------------------------------ */

void cli_sources_release(struct cli_sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->role[i]);
        free(s->file[i]);
        free(s->sha256[i]);
    }
    s->n = 0;
}

enum mro_code cli_sources_add(struct cli_sources *s, const char *role, const char *file, int fd, const void *p,
                              size_t size, struct mro_error *e)
{
    struct mro_hash_job *hash;
    char hex[65];
    if (s->n == CLI_MAX_SOURCES)
        return MRO_FAIL(e, MRO_EARG, "more than %d files are given for one result", CLI_MAX_SOURCES);
    MRO_TRY(mro_hash_start(&hash, fd, p, size, 0, e));
    MRO_TRY(mro_hash_finish(hash, file, hex, e));
    const size_t i = s->n++;
    s->role[i] = strdup(role);
    s->file[i] = strdup(file);
    s->sha256[i] = strdup(hex);
    if (s->role[i] && s->file[i] && s->sha256[i]) return MRO_OK;
    return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its name", file);
}

struct mro_result_inputs cli_sources_json(const struct cli_sources *s)
{
    return (struct mro_result_inputs){ s->n, (const char *const *)s->role, (const char *const *)s->file,
                                       (const char *const *)s->sha256 };
}

enum mro_code cli_sources_open(struct cli_sources *s, const char *role, const char *path, size_t memory,
                               struct mro_file **f, struct mro_error *e)
{
    MRO_TRY(mro_file_open(f, path, memory, e));
    const enum mro_code rc = cli_sources_add(s, role, path, (*f)->fd, (*f)->bytes.p, (*f)->bytes.size, e);
    if (rc == MRO_OK) return rc;
    mro_file_close(*f);
    *f = NULL;
    return rc;
}

enum mro_code cli_read_plane(struct mro_file *f, const char *path, const char *symbol, size_t k, struct mro_image *im,
                             size_t *image, struct mro_error *e)
{
    size_t first = 0;
    for (size_t i = 0; symbol && i < mro_file_images(f); i++) {
        const struct mro_image_info *info = mro_file_info(f, i);
        *image = i;
        if (info->axes == 2 && strcmp(info->title, symbol) == 0) return mro_file_read(f, i, 0, im, e);
    }
    for (size_t i = 0; i < mro_file_images(f); i++) {
        const struct mro_image_info *info = mro_file_info(f, i);
        if (info->axes < 2 || info->kind == MRO_KIND_SPECTRUM || info->kind == MRO_KIND_DIFFRACTION) continue;
        *image = i;
        if (k < first + info->frames) return mro_file_read(f, i, k - first, im, e);
        first += info->frames;
    }
    return MRO_FAIL(e, MRO_EARG, "'%s' holds %zu map%s, but `map` names %zu element%s for it", path, first,
                    first == 1 ? "" : "s", k + 1, k ? "s" : "");
}

/* -- maps --------------------------------------------------------------------------------------------- */

/* What reading one --map works on. */
struct reading {
    struct cli_maps *m;
    const struct cli_common *c;
    struct mro_file *file;
    const char *path;
    char ***warnings;
    size_t *n_warnings;
};

static enum mro_code take_map(struct reading *r, const struct mro_image_info *info, const char *symbol,
                              struct mro_error *e)
{
    struct mro_eds_field *m = &r->m->field;
    struct mro_image *im = &r->m->image[m->elements];
    char sentence[256];
    double pixel[2];
    cli_calibrate(r->c, info, im->axis, sentence, sizeof sentence);
    if (sentence[0]) mro_note(r->warnings, r->n_warnings, "%s", sentence);
    MRO_TRY(mro_image_pixel_nm(im, r->path, pixel, e));
    if (m->elements == 0) {
        m->ny = im->ny;
        m->nx = im->nx;
        memcpy(m->pixel_nm, pixel, sizeof pixel);
        mro_calibration_text(&im->axis[0], &im->axis[1], r->m->calibration, sizeof r->m->calibration);
        r->m->info = *info;
    } else if (im->ny != m->ny || im->nx != m->nx) {
        return MRO_FAIL(e, MRO_EARG, "'%s' has %zu x %zu pixels and the map of %s %zu x %zu: they are not of one field",
                        r->path, im->nx, im->ny, m->symbol[0], m->nx, m->ny);
    } else if (fabs(pixel[0] / m->pixel_nm[0] - 1) > 0.01 || fabs(pixel[1] / m->pixel_nm[1] - 1) > 0.01) {
        return MRO_FAIL(e, MRO_EARG,
                        "'%s' has pixels of %.4g nm and the map of %s of %.4g nm: they are not of one field", r->path,
                        pixel[1], m->symbol[0], m->pixel_nm[1]);
    }
    if (im->not_finite)
        mro_note(r->warnings, r->n_warnings, "%zu pixels of '%s' are not finite numbers and are left out",
                 im->not_finite, r->path);
    snprintf(m->symbol[m->elements], sizeof m->symbol[0], "%s", symbol);
    m->counts[m->elements++] = im->px;
    return MRO_OK;
}

/* The elements of "Fe,Co,Si=FILE" go behind the `n` that there are; returns how many, 0 with `e` filled. */
static size_t elements_of(const char *text, char symbol[][4], const size_t before, struct mro_error *e)
{
    const char *equals = strchr(text, '=');
    size_t n = before;
    if (equals == NULL || equals[1] == '\0' || equals == text) {
        if (equals == NULL && strchr(text, '.') == NULL && strchr(text, '/') == NULL)
            MRO_FAIL(e, MRO_EARG, "`map` %s does not name its file; write `map=%s=FILE`", text, text);
        else
            MRO_FAIL(e, MRO_EARG, "`map` %s does not name its element; write `map=Fe=FILE`", text);
        return 0;
    }
    for (const char *p = text; p < equals; n++) {
        const size_t length = strcspn(p, ",=");
        bool twice = false;
        if (n >= MRO_EDS_MAX_ELEMENTS) {
            MRO_FAIL(e, MRO_EARG, "more than %d maps are given", MRO_EDS_MAX_ELEMENTS);
            return 0;
        }
        snprintf(symbol[n], sizeof symbol[n], "%.*s", (int)(length < 4 ? length : 3), p);
        if (length > 2 || !(mro_atomic_weight(symbol[n]) > 0)) {
            MRO_FAIL(e, MRO_EARG, "`map` %s: '%.*s' is no element", text, (int)length, p);
            return 0;
        }
        for (size_t j = 0; j < n; j++) twice |= strcmp(symbol[j], symbol[n]) == 0;
        if (twice) {
            MRO_FAIL(e, MRO_EARG, "`map` gives %s twice", symbol[n]);
            return 0;
        }
        p += length + 1;
    }
    return n - before;
}

enum mro_code cli_maps_check(const struct cli_list *maps, struct mro_error *e)
{
    char symbol[MRO_EDS_MAX_ELEMENTS][4];
    size_t n = 0, more;
    for (size_t i = 0; i < maps->n; i++, n += more)
        if ((more = elements_of(maps->v[i], symbol, n, e)) == 0) return e->code;
    return MRO_OK;
}

/* Count maps out of a spectrum stream. */
static enum mro_code take_spectra(struct reading *r, const struct mro_eds_stream_info *stream, char symbol[][4],
                                  size_t n, struct mro_error *e)
{
    struct mro_eds_window window[MRO_EDS_MAX_ELEMENTS];
    struct mro_eds_map map[MRO_EDS_MAX_ELEMENTS] = { { 0 } };
    struct mro_image_info info = { .axes = 2, .frames = 1, .stage_tilt_deg = { NAN, NAN } };
    memcpy(info.axis, stream->axis, sizeof stream->axis);
    for (size_t i = 0; i < n; i++) {
        const struct mro_xray_line *line = mro_xray_line(symbol[i]);
        if (line == NULL)
            return MRO_FAIL(e, MRO_EARG, "no X-ray line of %s is known; leave it out of `map`", symbol[i]);
        window[i] = mro_eds_window_of(line);
    }
    MRO_TRY(mro_eds_maps(r->file, window, n, map, e));
    enum mro_code rc = MRO_OK;
    for (size_t i = 0; i < n && rc == MRO_OK; i++) {
        const size_t j = r->m->field.elements;
        struct mro_image *im = &r->m->image[j];
        im->ny = map[i].ny;
        im->nx = map[i].nx;
        im->px = map[i].net; /* taken over, like the variance */
        memcpy(im->axis, stream->axis, sizeof im->axis);
        r->m->variance[j] = map[i].variance;
        map[i].net = map[i].variance = NULL;
        r->m->field.variance[j] = r->m->variance[j];
        rc = take_map(r, &info, symbol[i], e);
    }
    for (size_t i = 0; i < n; i++) mro_eds_map_release(&map[i]);
    mro_note(r->warnings, r->n_warnings,
             "counts of '%s' are those of a window around one line of each element, net of a straight background; "
             "overlaps with lines of other elements (Fe K beta on Co) are not taken apart",
             r->path);
    return rc;
}

const char *cli_map_path(const char *text)
{
    const char *equals = strchr(text, '=');
    return equals ? equals + 1 : text;
}

enum mro_code cli_maps_add(struct cli_maps *m, const struct cli_common *c, const char *text, struct cli_sources *s,
                           char ***warnings, size_t *n_warnings, struct mro_error *e)
{
    struct reading r = { m, c, NULL, cli_map_path(text), warnings, n_warnings };
    char role[160], all[MRO_EDS_MAX_ELEMENTS][4];
    struct mro_eds_stream_info stream;
    const size_t before = m->field.elements;
    memcpy(all, m->field.symbol, before * sizeof *all);
    const size_t n = elements_of(text, all, before, e);
    if (n == 0) return e->code;
    char(*symbol)[4] = all + before;
    snprintf(role, sizeof role, "map %.*s", (int)strcspn(text, "="), text);
    MRO_TRY(cli_sources_open(s, role, r.path, c->memory, &r.file, e));
    enum mro_code rc = MRO_OK;
    if (mro_eds_stream_info(r.file, &stream, NULL) == MRO_OK) {
        rc = take_spectra(&r, &stream, symbol, n, e);
    } else {
        for (size_t plane = 0; plane < n && rc == MRO_OK; plane++) {
            size_t image = 0;
            rc = cli_read_plane(r.file, r.path, symbol[plane], plane, &m->image[m->field.elements], &image, e);
            if (rc == MRO_OK) rc = take_map(&r, mro_file_info(r.file, image), symbol[plane], e);
        }
        if (rc == MRO_OK && n == 1 && mro_file_info(r.file, 0)->frames > 1)
            mro_note(warnings, n_warnings,
                     "'%s' holds %zu frames; the first is used (for a stack write Fe,Co,...=FILE)", r.path,
                     mro_file_info(r.file, 0)->frames);
    }
    for (size_t i = 0; mro_file_warning(r.file, i); i++)
        mro_note(warnings, n_warnings, "%s", mro_file_warning(r.file, i));
    mro_file_close(r.file);
    return rc;
}

void cli_maps_release(struct cli_maps *m)
{
    for (size_t i = 0; i < MRO_EDS_MAX_ELEMENTS; i++) {
        mro_image_release(&m->image[i]);
        free(m->variance[i]);
    }
    memset(m, 0, sizeof *m);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the JSON of every result has; the JSON of files and devices. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/notes.h"
#include "core/vectors.h"
#include "report/json_build.h"

static json_t *checked(struct builder *b, struct mro_error *e)
{
    json_t *v = take(b);
    if (v == NULL) MRO_FAIL(e, MRO_EMEMORY, "no memory left for the JSON of a result");
    return v;
}

/* -- what every result has ---------------------------------------------------------------------- */

void mro_calibration_text(const struct mro_axis *y, const struct mro_axis *x, char *out, size_t size)
{
    const char *sy = mro_source_name(y->step > 0 ? y->source : MRO_SOURCE_UNKNOWN);
    const char *sx = mro_source_name(x->step > 0 ? x->source : MRO_SOURCE_UNKNOWN);
    if (strcmp(sx, sy) == 0)
        snprintf(out, size, "%s", sx);
    else
        snprintf(out, size, "%s (y), %s (x)", sy, sx);
}

static json_t *axis_size(const void *items, size_t i) { return count(((const struct mro_axis *)items)[i].size); }
static json_t *axis_step(const void *items, size_t i) { return known(((const struct mro_axis *)items)[i].step); }

static json_t *axis_unit(const void *items, size_t i)
{
    const struct mro_axis *a = &((const struct mro_axis *)items)[i];
    if (!(a->step > 0)) return json_null();
    return text(a->unit == MRO_UNIT_OTHER ? a->unit_text : mro_unit_name(a->unit));
}

static json_t *axis_offset(const void *items, size_t i)
{
    const struct mro_axis *a = &((const struct mro_axis *)items)[i];
    return a->step > 0 ? number(a->offset) : json_null();
}

static json_t *frame_shape(const struct mro_image_info *info)
{
    const size_t skip = info->axes > 2 ? info->axes - 2 : 0;
    return list(info->axes - skip, axis_size, info->axis + skip);
}

struct builder mro_json_begin(const struct mro_result_head *h)
{
    struct builder b = object();
    char schema[64];
    snprintf(schema, sizeof schema, "mroscope.%s/1", h->verb);
    put(&b, "schema", text(schema));
    put(&b, "file", text(h->file));
    put(&b, "image", count(h->image));
    put(&b, "frame", h->has_frame ? count(h->frame) : json_null());
    put(&b, "shape", frame_shape(h->info));
    put(&b, "pixel_nm", isfinite(h->pixel_nm[0]) && isfinite(h->pixel_nm[1]) ? numbers(h->pixel_nm, 2) : json_null());
    put(&b, "calibration", text(h->provenance->calibration));
    return b;
}

/* What the file says of the microscope, as far as it does; null when it says nothing. */
static json_t *microscope(const struct mro_image_info *m)
{
    struct builder b = object();
    if (m->beam_kv > 0) put(&b, "beam_kv", number(m->beam_kv));
    if (m->magnification > 0) put(&b, "magnification", number(m->magnification));
    if (m->camera_length_mm > 0) put(&b, "camera_length_mm", number(m->camera_length_mm));
    if (m->binning[0] > 0) put(&b, "binning", numbers(m->binning, 2));
    if (isfinite(m->stage_tilt_deg[0]) || isfinite(m->stage_tilt_deg[1]))
        put(&b, "stage_tilt_deg", numbers(m->stage_tilt_deg, 2));
    if (m->instrument[0]) put(&b, "instrument", text(m->instrument));
    if (m->detector[0]) put(&b, "detector", text(m->detector));
    if (m->date[0]) put(&b, "date", text(m->date));
    if (m->value_scale != 0) put(&b, "value_scale", number(m->value_scale));
    if (m->value_scale != 0) put(&b, "value_offset", number(m->value_offset));
    if (m->value_unit[0]) put(&b, "value_unit", text(m->value_unit));
    json_t *v = take(&b);
    if (v == NULL || json_object_size(v) > 0) return v;
    json_decref(v);
    return json_null();
}

static json_t *provenance(const struct mro_provenance *p, const struct mro_image_info *info, json_t *options)
{
    struct builder b = object();
    put(&b, "program", text("mroscope"));
    put(&b, "version", text(mro_version()));
    put(&b, "commit", text(mro_commit()));
    put(&b, "backend", text(p->backend));
    put(&b, "vectors", text(p->backend ? mro_vectors()->name : NULL));
    put(&b, "algorithm", text(p->algorithm));
    put(&b, "input_sha256", p->input_sha256[0] && !p->sha256_of_parts ? text(p->input_sha256) : json_null());
    if (p->sha256_of_parts)
        put(&b, "input_sha256_parts",
            json_pack("{s:I, s:s}", "part_bytes", (json_int_t)MRO_HASH_PART, "sha256", p->input_sha256));
    put(&b, "calibration", text(p->calibration));
    put(&b, "microscope", microscope(info));
    put(&b, "seed", p->has_seed ? json_integer((json_int_t)p->seed) : json_null());
    put(&b, "options", options ? json_incref(options) : json_object());
    return take(&b);
}

json_t *mro_json_end(struct builder *b, const struct mro_result_head *h, struct mro_error *e)
{
    put(b, "warnings", texts(h->warnings, h->n_warnings));
    b->failed |= !mro_notes_whole(h->warnings, h->n_warnings);
    put(b, "provenance", provenance(h->provenance, h->info, h->options));
    return checked(b, e);
}

static json_t *input_json(const void *items, size_t i)
{
    const struct mro_result_inputs *r = items;
    struct builder b = object();
    put(&b, "role", text(r->role[i]));
    put(&b, "file", text(r->file[i]));
    put(&b, "sha256", text(r->sha256[i]));
    return take(&b);
}

json_t *mro_json_inputs(const struct mro_result_inputs *r) { return list(r ? r->n : 0, input_json, r); }

json_t *mro_json_onset(const struct mro_onset *o)
{
    struct builder b = object();
    put(&b, "onset", number(o->x));
    put(&b, "onset_ci95", interval(o->ci95));
    put(&b, "p", number(o->p));
    put(&b, "slopes", numbers(o->slope, 2));
    put(&b, "slopes_se", numbers(o->slope_se, 2));
    put(&b, "level", number(o->level));
    return take(&b);
}

/* -- bandpass, info, devices ------------------------------------------------------------------------- */

json_t *mro_json_bandpass(const struct mro_result_head *h, const struct mro_bandpass_options *o,
                          const struct mro_bandpass_result *r, struct mro_error *e)
{
    struct builder b = mro_json_begin(h);
    put(&b, "band_inv_nm", numbers(o->band_inv_nm, 2));
    put(&b, "rms_in", number(r->rms_in));
    put(&b, "rms_out", number(r->rms_out));
    return mro_json_end(&b, h, e);
}

static json_t *image_json(const struct mro_image_info *info, size_t index, const struct mro_statistics *s)
{
    char calibration[96];
    const struct mro_axis *x = &info->axis[info->axes - 1], *y = info->axes > 1 ? x - 1 : x;
    struct builder b = object();
    mro_calibration_text(y, x, calibration, sizeof calibration);
    put(&b, "index", count(index));
    put(&b, "title", info->title[0] ? text(info->title) : json_null());
    put(&b, "kind", text(mro_kind_name(info->kind)));
    put(&b, "shape", list(info->axes, axis_size, info->axis));
    put(&b, "dtype", text(mro_dtype_name(info->dtype)));
    put(&b, "pixel_size", list(info->axes, axis_step, info->axis));
    put(&b, "unit", list(info->axes, axis_unit, info->axis));
    put(&b, "offset", list(info->axes, axis_offset, info->axis));
    put(&b, "calibration", text(calibration));
    put(&b, "beam_kv", known(info->beam_kv));
    put(&b, "magnification", known(info->magnification));
    put(&b, "camera_length_mm", known(info->camera_length_mm));
    put(&b, "binning", info->binning[0] > 0 ? numbers(info->binning, 2) : json_null());
    const bool tilt = isfinite(info->stage_tilt_deg[0]) || isfinite(info->stage_tilt_deg[1]);
    put(&b, "stage_tilt_deg", tilt ? numbers(info->stage_tilt_deg, 2) : json_null());
    put(&b, "instrument", info->instrument[0] ? text(info->instrument) : json_null());
    put(&b, "detector", info->detector[0] ? text(info->detector) : json_null());
    put(&b, "date", info->date[0] ? text(info->date) : json_null());
    put(&b, "value_scale", info->value_scale != 0 ? number(info->value_scale) : json_null());
    put(&b, "value_offset", info->value_scale != 0 ? number(info->value_offset) : json_null());
    put(&b, "value_unit", info->value_unit[0] ? text(info->value_unit) : json_null());
    put(&b, "min", s ? number(s->min) : json_null());
    put(&b, "max", s ? number(s->max) : json_null());
    put(&b, "mean", s ? number(s->mean) : json_null());
    put(&b, "sd", s ? number(s->sd) : json_null());
    put(&b, "not_finite", s ? count(s->not_finite) : json_null());
    return take(&b);
}

json_t *mro_json_info(const struct mro_result_head *h, const struct mro_file *f,
                      const struct mro_statistics *statistics, struct mro_error *e)
{
    struct builder b = mro_json_begin(h);
    json_t *images = json_array();
    put(&b, "format", text(mro_file_format(f)));
    for (size_t i = 0; i < mro_file_images(f); i++)
        if (json_array_append_new(images, image_json(mro_file_info(f, i), i, statistics ? &statistics[i] : NULL)))
            b.failed = true;
    put(&b, "images", images);
    return mro_json_end(&b, h, e);
}

json_t *mro_json_convert(const struct mro_result_head *h, const char *output, size_t frames, struct mro_error *e)
{
    struct builder b = mro_json_begin(h);
    put(&b, "output", text(output));
    put(&b, "frames", count(frames));
    put(&b, "dtype", text(mro_dtype_name(h->info->dtype)));
    return mro_json_end(&b, h, e);
}

/* "13.0"; null for 0.0. */
static json_t *version_json(const int v[2])
{
    char s[32];
    snprintf(s, sizeof s, "%d.%d", v[0], v[1]);
    return v[0] ? text(s) : json_null();
}

static json_t *device_json(const void *items, size_t i)
{
    struct mro_device_info info;
    struct builder b = object();
    (void)items;
    mro_device_describe(i, &info);
    put(&b, "name", text(info.name));
    put(&b, "backend", text(info.backend));
    put(&b, "usable", json_boolean(info.usable));
    put(&b, "description", text(info.description));
    put(&b, "reason", info.reason[0] ? text(info.reason) : json_null());
    put(&b, "memory_bytes", info.memory_bytes ? count(info.memory_bytes) : json_null());
    put(&b, "free_bytes", info.free_bytes ? count(info.free_bytes) : json_null());
    put(&b, "compute_capability", version_json(info.compute_capability));
    put(&b, "driver", version_json(info.driver));
    put(&b, "runtime", version_json(info.runtime));
    return take(&b);
}

json_t *mro_json_devices(struct mro_error *e)
{
    struct builder b = object();
    put(&b, "schema", text("mroscope.devices/1"));
    put(&b, "version", text(mro_version()));
    put(&b, "commit", text(mro_commit()));
    put(&b, "devices", list(mro_device_count(), device_json, NULL));
    return checked(&b, e);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the JSON of every result has; the JSON of files and devices. */
#include <math.h>
#include <stdio.h>
#include <string.h>

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
    put(&b, "algorithm", text(p->algorithm));
    put(&b, "input_sha256", p->input_sha256[0] ? text(p->input_sha256) : json_null());
    put(&b, "calibration", text(p->calibration));
    put(&b, "microscope", microscope(info));
    put(&b, "seed", p->has_seed ? json_integer((json_int_t)p->seed) : json_null());
    put(&b, "options", options ? json_incref(options) : json_object());
    return take(&b);
}

json_t *mro_json_end(struct builder *b, const struct mro_result_head *h, struct mro_error *e)
{
    put(b, "warnings", texts(h->warnings, h->n_warnings));
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

/* -- pair distributions ------------------------------------------------------------------------------ */

/* A number as KEY, KEY_se, KEY_ci95, KEY_systematic; `name` is the key without its unit, for the last three. */
static void put_number(struct builder *b, const char *key, const char *name, const struct mro_pdf_number *v)
{
    static const char *const choices[MRO_PDF_CHOICES] = { "centre", "s_max", "fit_range" };
    char other[64];
    put(b, key, number(v ? v->value : NAN));
    snprintf(other, sizeof other, "%s_se", name);
    put(b, other, number(v ? v->se : NAN));
    snprintf(other, sizeof other, "%s_ci95", name);
    put(b, other, v ? interval(v->ci95) : json_null());
    snprintf(other, sizeof other, "%s_systematic", name);
    struct builder s = object();
    for (int c = 0; c < MRO_PDF_CHOICES; c++) put(&s, choices[c], number(v ? fabs(v->systematic[c]) : NAN));
    put(b, other, take(&s));
}

static json_t *shell_json(const void *items, size_t i)
{
    const struct mro_pdf_shell *shell = &((const struct mro_pdf_shell *)items)[i];
    struct builder b = object();
    put_number(&b, "r_A", "r", &shell->r_A);
    put_number(&b, "height", "height", &shell->height);
    put_number(&b, "area", "area", &shell->area);
    return take(&b);
}

static json_t *small_json(const void *items, size_t i)
{
    const struct mro_pdf_small *m = &((const struct mro_pdf_small *)items)[i];
    struct builder b = object();
    put(&b, "near_A", number(m->near_A));
    put(&b, "r_A", number(m->r_A));
    put(&b, "height", number(m->height));
    put(&b, "height_se", number(m->se));
    put(&b, "p", number(m->p));
    return take(&b);
}

static json_t *mode_json(const struct mro_pdf_mode *m, double share)
{
    struct builder b = object();
    put(&b, "atoms", m->atoms ? count((size_t)m->atoms) : text("3+2"));
    put(&b, "centre_A", number(m->centre_A));
    put(&b, "area", number(m->area));
    put(&b, "area_ci95", interval(m->area_ci95));
    put(&b, "share", number(share));
    return take(&b);
}

static json_t *modes_json(const void *items, size_t i)
{
    const struct mro_pdf_connection *c = items;
    return mode_json(&c->mode[i], c->share[i]);
}

static json_t *correlation_json(const void *items, size_t i)
{
    const struct mro_pdf_connection *c = items;
    return numbers(c->correlation[i], MRO_PDF_MODES);
}

static json_t *connection_json(const struct mro_pdf_connection *c)
{
    struct builder b = object();
    if (c->n == 0) {
        json_decref(take(&b));
        return json_null();
    }
    put(&b, "R_A", number(c->R_A));
    put(&b, "sigma_A", number(c->sigma_A));
    put(&b, "resolution_A", number(c->resolution_A));
    put(&b, "window_A", numbers(c->window_A, 2));
    put(&b, "modes", list(MRO_PDF_MODES, modes_json, c));
    put(&b, "together", mode_json(&c->together, c->share_together));
    put(&b, "correlation", list(MRO_PDF_MODES, correlation_json, c));
    put(&b, "separable", json_boolean(c->separable));
    return take(&b);
}

static json_t *sector_json(const void *items, size_t i)
{
    const struct mro_saed_sector *s = &((const struct mro_saed_sector *)items)[i];
    struct builder b = object();
    put(&b, "azimuth_deg", number(s->azimuth_deg));
    put(&b, "strain", number(s->strain));
    put(&b, "se", number(s->se));
    return take(&b);
}

static json_t *anisotropy_json(const struct mro_saed_anisotropy *a)
{
    struct builder b = object();
    put(&b, "s_inv_nm", number(a->s_inv_nm));
    put(&b, "e0", number(a->e0));
    put(&b, "e2", number(a->e2));
    put(&b, "e2_se", number(a->e2_se));
    put(&b, "azimuth_deg", number(a->azimuth_deg));
    put(&b, "p", number(a->p));
    put(&b, "confounded_with_ellipse", json_boolean(a->confounded));
    put(&b, "sectors", list(a->n_sectors, sector_json, a->sector));
    return take(&b);
}

static json_t *onset_json(const struct mro_pdf_onset *o)
{
    struct builder b = object();
    put(&b, "onset", number(o->x));
    put(&b, "onset_ci95", interval(o->ci95));
    put(&b, "p", number(o->p));
    put(&b, "slopes", numbers(o->slope, 2));
    put(&b, "slopes_se", numbers(o->slope_se, 2));
    return take(&b);
}

static json_t *point_json(const void *items, size_t i)
{
    const struct mro_pdf_point *p = &((const struct mro_pdf_point *)items)[i];
    struct builder b = object();
    put(&b, "file", text(p->name));
    put(&b, "value", number(p->value));
    put(&b, "first_moment_inv_A", number(p->first_moment));
    put(&b, "first_moment_se", number(p->first_moment_se));
    put(&b, "fsdp_area_inv_A", number(p->fsdp_area));
    put(&b, "fsdp_area_se", number(p->fsdp_area_se));
    put(&b, "oscillation", number(p->oscillation));
    put(&b, "oscillation_se", number(p->oscillation_se));
    put(&b, "shell_r_A", numbers(p->shell_r, MRO_PDF_SHELLS));
    put(&b, "shell_area", numbers(p->shell_area, MRO_PDF_SHELLS));
    put(&b, "shell_area_se", numbers(p->shell_area_se, MRO_PDF_SHELLS));
    return take(&b);
}

static json_t *shell_onset_json(const void *items, size_t i)
{
    return onset_json(&((const struct mro_pdf_onset *)items)[i]);
}

static json_t *onsets_json(const struct mro_pdf_series *s)
{
    struct builder b = object();
    put(&b, "first_moment", onset_json(&s->first_moment));
    put(&b, "fsdp_area", onset_json(&s->fsdp_area));
    put(&b, "oscillation", onset_json(&s->oscillation));
    put(&b, "shell_area", list(MRO_PDF_SHELLS, shell_onset_json, s->shell_area));
    return take(&b);
}

static json_t *difference_json(const struct mro_pdf_report *r)
{
    const struct mro_pdf_difference *d = r->difference;
    struct builder b = object();
    if (d == NULL) {
        json_decref(take(&b));
        return json_null();
    }
    put(&b, "reference", text(r->reference_file));
    put(&b, "reference_sha256", text(r->reference_sha256));
    put_number(&b, "oscillation", "oscillation", &d->oscillation);
    put(&b, "oscillation_p", number(d->oscillation_p));
    put(&b, "oscillation_ratio", number(d->oscillation_ratio.value));
    put(&b, "oscillation_ratio_ci95", interval(d->oscillation_ratio.ci95));
    put_number(&b, "first_moment_inv_A", "first_moment", &d->first_moment);
    put(&b, "first_moment_p", number(d->first_moment_p));
    return take(&b);
}

static const char *damping_name(enum mro_damping d)
{
    return d == MRO_DAMPING_LORCH ? "lorch" : d == MRO_DAMPING_NONE ? "none" : "gaussian";
}

static json_t *standard_json(const struct mro_pdf_report *r)
{
    const struct mro_saed_standard *c = r->standard;
    struct builder b = object();
    if (c == NULL) {
        json_decref(take(&b));
        return json_null();
    }
    put(&b, "name", text(r->standard_name));
    put(&b, "file", text(r->standard_file));
    put(&b, "sha256", text(r->standard_sha256));
    put(&b, "step_inv_nm", number(c->step_inv_nm));
    put(&b, "step_se_inv_nm", number(c->step_se_inv_nm));
    put(&b, "rings", count(c->rings));
    put(&b, "worst_misfit", number(c->worst));
    put(&b, "ellipse_ratio", number(c->geometry.ellipse_ratio));
    put(&b, "ellipse_ratio_se", number(c->geometry.ellipse_ratio_se));
    return take(&b);
}

static json_t *ellipse_from_json(const struct mro_pdf_report *r)
{
    struct builder b = object();
    if (r->ellipse_file == NULL) {
        json_decref(take(&b));
        return json_null();
    }
    put(&b, "file", text(r->ellipse_file));
    put(&b, "sha256", text(r->ellipse_sha256));
    return take(&b);
}

static void put_pattern(struct builder *b, const struct mro_pdf_report *r)
{
    const struct mro_saed_result *p = r->pattern;
    static const char *const how[] = { "fit", "given", "reference" };
    const struct mro_saed_geometry *g = p ? &p->geometry : NULL;
    put(b, "centre_px", g ? numbers(g->centre_px, 2) : json_null());
    put(b, "centre_se_px", g ? interval(g->centre_se_px) : json_null());
    put(b, "ellipse_ratio", number(g ? g->ellipse_ratio : NAN));
    put(b, "ellipse_ratio_se", number(g ? g->ellipse_ratio_se : NAN));
    put(b, "ellipse_azimuth_deg", number(g ? g->ellipse_azimuth_deg : NAN));
    put(b, "ellipse_source", g ? text(how[g->ellipse_how]) : json_null());
    put(b, "step_inv_nm", number(p ? p->step_inv_nm : NAN));
    put(b, "step_source", p ? text(r->step_text ? r->step_text : p->step_text) : json_null());
    put(b, "standard", standard_json(r));
    put(b, "ellipse_from", ellipse_from_json(r));
    put(b, "coverage", number(p ? p->coverage : NAN));
    put(b, "crystalline", p ? json_boolean(p->crystalline) : json_null());
    put(b, "spottiness", number(p ? p->spottiness : NAN));
}

json_t *mro_json_pdf(const struct mro_result_head *h, const struct mro_pdf_report *r, struct mro_error *e)
{
    struct builder b = mro_json_begin(h), f = object(), o = object();
    const struct mro_pdf_result *p = r->pdf;
    char composition[160] = "";
    if (r->composition && r->composition->n) mro_composition_text(r->composition, composition, sizeof composition);
    put_pattern(&b, r);
    put(&b, "composition", composition[0] ? text(composition) : json_null());
    put(&b, "s_max_inv_nm", number(p && p->n ? p->windows.s_inv_nm[1] : NAN));
    put(&b, "s_min_inv_nm", number(p && p->n ? p->windows.s_inv_nm[0] : NAN));
    put(&b, "s_end_inv_nm", number(p && p->n ? p->s_end_inv_nm : NAN));
    put(&b, "fit_range_inv_nm", p && p->n ? numbers(p->windows.fit_inv_nm, 2) : json_null());
    put(&b, "damping", p ? text(damping_name(p->damping)) : json_null());
    put(&b, "damping_A2", number(p && p->damping == MRO_DAMPING_GAUSSIAN ? p->damping_A2 : NAN));
    put(&b, "resolution_A", number(p ? p->resolution_A : NAN));
    put(&b, "density_per_nm3", p ? known(p->density_per_nm3) : json_null());
    put(&b, "density_estimated", p ? json_boolean(p->density_estimated) : json_null());
    put(&b, "r_min_A", number(p && p->n ? p->windows.r_min_A : NAN));
    put(&b, "low_r_misfit", number(p ? p->low_r_misfit : NAN));
    put(&b, "tail_mean", number(p ? p->tail_mean : NAN));
    put(&b, "background", number(p && p->n_profile ? p->background : NAN));
    put(&b, "scale", number(p && p->n_profile ? p->N : NAN));
    put_number(&f, "Q_inv_A", "Q", p ? &p->fsdp.Q : NULL);
    put_number(&f, "first_moment_inv_A", "first_moment", p ? &p->fsdp.first_moment : NULL);
    put_number(&f, "area", "area", p ? &p->fsdp.area : NULL);
    put_number(&f, "fwhm_inv_A", "fwhm", p ? &p->fsdp.fwhm : NULL);
    put(&f, "window_inv_A", p && p->n ? numbers(p->windows.fsdp_Q, 2) : json_null());
    put(&b, "fsdp", take(&f));
    put(&b, "shells", list(p ? p->n_shells : 0, shell_json, p ? p->shell : NULL));
    struct builder s = object();
    put(&s, "split", p ? json_boolean(p->second.split) : json_null());
    put(&s, "r_A", p ? interval(p->second.r_A) : json_null());
    put(&s, "splitting_A", number(p ? p->second.splitting_A : NAN));
    put(&s, "dip", number(p ? p->second.dip : NAN));
    put(&s, "dip_se", number(p ? p->second.dip_se : NAN));
    put(&s, "p", number(p ? p->second.p : NAN));
    put(&b, "second_peak", take(&s));
    put(&b, "small_peaks", list(p ? MRO_PDF_SMALL : 0, small_json, p ? p->small : NULL));
    put_number(&b, "coordination_number", "coordination_number", p ? &p->coordination : NULL);
    put(&b, "coordination_to_A", number(p ? p->coordination_to_A : NAN));
    put(&b, "connection", p ? connection_json(&p->connection) : json_null());
    put(&o, "range_A", p ? numbers(p->beyond_A, 2) : json_null());
    put_number(&o, "rms", "rms", p ? &p->oscillation : NULL);
    put(&b, "oscillation", take(&o));
    put(&b, "anisotropy", r->pattern ? anisotropy_json(&r->pattern->anisotropy) : json_null());
    put(&b, "difference", difference_json(r));
    put(&b, "series", r->series ? list(r->series->n, point_json, r->series->point) : json_array());
    put(&b, "onsets", r->series ? onsets_json(r->series) : json_null());
    put(&b, "errors_from",
        p == NULL || p->draws == 0 ? json_null()
        : p->blocks                ? text("blocks drawn again")
                                   : text("errors of the points"));
    put(&b, "blocks", p ? count(p->blocks) : json_null());
    return mro_json_end(&b, h, e);
}

/* -- crystals ---------------------------------------------------------------------------------------- */

/* A crystal with the options it was measured with. */
struct crystal_context {
    const struct mro_crystal_result *r;
    const struct mro_crystal_options *o;
};

static json_t *fringes_json(const void *items, size_t i)
{
    const struct mro_fringes *f = &((const struct mro_fringes *)items)[i];
    const double hkl[3] = { f->hkl[0], f->hkl[1], f->hkl[2] };
    const double g[2] = { f->g_inv_nm[1], f->g_inv_nm[0] };
    struct builder b = object();
    put(&b, "d_nm", number(f->d_nm));
    put(&b, "d_se_nm", number(f->d_se_nm));
    put(&b, "d_crlb_nm", number(f->d_crlb_nm));
    put(&b, "g_inv_nm", numbers(g, 2));
    put(&b, "azimuth_deg", number(f->azimuth_deg));
    put(&b, "amplitude", number(f->amplitude));
    put(&b, "amplitude_over_noise", number(f->amplitude_over_noise));
    put(&b, "snr", number(f->snr));
    put(&b, "strain", number(f->strain));
    put(&b, "hkl", hkl[0] != 0 || hkl[1] != 0 || hkl[2] != 0 ? numbers(hkl, 3) : json_null());
    put(&b, "residual", number(f->residual));
    return take(&b);
}

static json_t *phase_json(const struct mro_crystal *c, const struct mro_crystal_options *o)
{
    if (c->phase < 0) return json_null();
    const struct mro_phase *p = &o->phases[c->phase];
    const double zone[3] = { c->zone[0], c->zone[1], c->zone[2] };
    struct builder b = object();
    put(&b, "name", text(p->name));
    put(&b, "structure", text(mro_structure_name(p->structure)));
    put(&b, "a_nm", number(p->a_nm));
    put(&b, "residual", number(c->phase_residual));
    put(&b, "angle_residual_deg", number(c->angle_residual_deg));
    put(&b, "zone_axis", zone[0] != 0 || zone[1] != 0 || zone[2] != 0 ? numbers(zone, 3) : json_null());
    return take(&b);
}

static json_t *dislocation_json(const void *items, size_t i)
{
    const struct mro_dislocation *d = &((const struct mro_dislocation *)items)[i];
    struct builder b = object();
    put(&b, "x_nm", number(d->x_nm));
    put(&b, "y_nm", number(d->y_nm));
    put(&b, "turns", numbers(d->turns, 2));
    put(&b, "burgers_nm", isfinite(d->burgers_nm[0]) ? numbers(d->burgers_nm, 2) : json_null());
    return take(&b);
}

static json_t *crystal_json(const void *items, size_t i)
{
    const struct crystal_context *x = items;
    const struct mro_crystal *c = &x->r->crystals[i];
    const struct mro_fringes *f = &c->fringes[0];
    struct builder b = object(), s = object();
    put(&b, "x_nm", number(c->x_nm));
    put(&b, "y_nm", number(c->y_nm));
    put(&b, "diameter_nm", number(c->diameter_nm));
    put(&b, "area_nm2", number(c->area_nm2));
    put(&b, "at_border", json_boolean(c->at_border));
    put(&b, "d_nm", number(f->d_nm));
    put(&b, "d_se_nm", number(f->d_se_nm));
    put(&b, "azimuth_deg", number(f->azimuth_deg));
    put(&b, "snr", number(f->snr));
    put(&s, "exx", number(c->exx));
    put(&s, "eyy", number(c->eyy));
    put(&s, "exy", number(c->exy));
    put(&s, "rotation_deg", number(c->rotation_deg));
    put(&s, "normal", number(c->enn));
    put(&s, "se", number(c->e_se));
    put(&b, "strain", take(&s));
    put(&b, "reference_nm", isfinite(c->reference_nm[0]) ? numbers(c->reference_nm, 4) : json_null());
    put(&b, "vortices", c->vortices < 0 ? json_null() : json_integer(c->vortices));
    put(&b, "vortices_null", number(c->vortices_null));
    put(&b, "dislocations", list(c->n_dislocations, dislocation_json, c->dislocations));
    put(&b, "phase", phase_json(c, x->o));
    put(&b, "fringes", list(c->n_fringes, fringes_json, c->fringes));
    put(&b, "band_distance_nm", number(c->band_distance_nm));
    return take(&b);
}

static json_t *crystal_side_json(const void *items, size_t i)
{
    const struct mro_crystal_side *s = &((const struct mro_crystal_side *)items)[i];
    struct builder b = object();
    put(&b, "crystal", count(s->crystal));
    put(&b, "side", text(s->plus ? "plus" : "minus"));
    put(&b, "strain", number(s->strain));
    put(&b, "strain_se", number(s->strain_se));
    put(&b, "d_nm", number(s->d_nm));
    put(&b, "d_se_nm", number(s->d_se_nm));
    put(&b, "azimuth_deg", number(s->azimuth_deg));
    put(&b, "normal_azimuth_deg", number(s->normal_azimuth_deg));
    put(&b, "border_nm", numbers(s->border_nm, 2));
    put(&b, "area_nm2", number(s->area_nm2));
    return take(&b);
}

static json_t *crystal_group_json(const struct mro_crystal_group *g)
{
    struct builder b = object();
    put(&b, "count", isfinite(g->area_nm2) ? count(g->count) : json_null());
    put(&b, "area_nm2", number(g->area_nm2));
    put(&b, "density_per_nm2", number(g->density_per_nm2));
    put(&b, "density_ci95", interval(g->density_ci95));
    put(&b, "d_nm", number(g->d_nm));
    put(&b, "d_se_nm", number(g->d_se_nm));
    put(&b, "diameter_nm", number(g->diameter_nm));
    put(&b, "diameter_se_nm", number(g->diameter_se_nm));
    return take(&b);
}

static json_t *trend_json(double slope, double se, double p)
{
    struct builder b = object();
    put(&b, "slope", number(slope));
    put(&b, "se", number(se));
    put(&b, "p", number(p));
    return take(&b);
}

static json_t *crystal_band_json(const struct mro_crystal_band *band)
{
    if (!band->measured) return json_null();
    struct builder b = object();
    put(&b, "inside", crystal_group_json(&band->inside));
    put(&b, "outside", crystal_group_json(&band->outside));
    put(&b, "density_ratio", number(band->rate_ratio));
    put(&b, "density_ratio_ci95", interval(band->rate_ratio_ci95));
    put(&b, "density_ratio_p", number(band->rate_p));
    put(&b, "log_density_per_nm", trend_json(band->density_slope, band->density_slope_se, band->density_slope_p));
    put(&b, "d_nm_per_nm", trend_json(band->d_slope, band->d_slope_se, band->d_slope_p));
    put(&b, "diameter_nm_per_nm", trend_json(band->diameter_slope, band->diameter_slope_se, band->diameter_slope_p));
    return take(&b);
}

json_t *mro_json_crystals(const struct mro_result_head *h, const struct mro_crystal_result *r,
                          const struct mro_crystal_options *o, struct mro_error *e)
{
    const struct crystal_context x = { r, o };
    struct builder b = mro_json_begin(h), m = object();
    put(&b, "band_inv_nm", numbers(r->band_inv_nm, 2));
    put(&b, "crystals", list(r->n_crystals, crystal_json, &x));
    put(&b, "sides", list(r->n_sides, crystal_side_json, r->sides));
    put(&b, "band", crystal_band_json(&r->band));
    put(&b, "reference_d_nm", number(r->reference_d_nm));
    put(&b, "resolution_nm", number(r->resolution_nm));
    put(&b, "mask_inv_nm", number(r->mask_inv_nm));
    put(&m, "radius_inv_nm", number(r->filter_radius_inv_nm));
    put(&m, "edge_inv_nm", number(r->filter_edge_inv_nm));
    put(&m, "noise_fringe_length_nm", number(0.6 / r->filter_radius_inv_nm));
    put(&b, "filter", take(&m));
    put(&b, "false_expected", number(r->false_expected));
    put(&b, "size_limit_nm", number(r->size_limit_nm));
    put(&b, "verdict", text(r->verdict));
    return mro_json_end(&b, h, e);
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

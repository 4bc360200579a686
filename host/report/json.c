/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An object under construction; one failed insertion spoils it, so that no key is ever silently missing. */
struct builder {
    json_t *root;
    bool failed;
};

static struct builder object(void)
{
    json_t *root = json_object();
    return (struct builder){ root, root == NULL };
}

static void put(struct builder *b, const char *key, json_t *v)
{
    if (b->root == NULL) json_decref(v);
    if (b->root == NULL || json_object_set_new(b->root, key, v)) b->failed = true;
}

/* The finished object, or NULL. */
static json_t *take(struct builder *b)
{
    if (!b->failed) return b->root;
    json_decref(b->root);
    return NULL;
}

static json_t *checked(struct builder *b, struct mro_error *e)
{
    json_t *v = take(b);
    if (v == NULL) MRO_FAIL(e, MRO_EMEMORY, "no memory left for the JSON of a result");
    return v;
}

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }
static json_t *known(double v) { return v > 0 ? number(v) : json_null(); } /* 0 = not known */
static json_t *count(size_t v) { return json_integer((json_int_t)v); }

/* File names and titles may hold bytes that are no UTF-8; those become U+FFFD. */
static json_t *text(const char *s)
{
    if (s == NULL) return json_null();
    json_t *v = json_string(s);
    if (v) return v;
    const size_t n = strlen(s);
    char *clean = malloc(3 * n + 1), *out = clean;
    if (clean == NULL) return NULL;
    for (size_t i = 0; i < n;) {
        size_t length = 0;
        for (size_t k = 1; k <= 4 && i + k <= n && length == 0; k++) {
            json_t *one = json_stringn(s + i, k);
            if (one) length = k;
            json_decref(one);
        }
        memcpy(out, length ? s + i : "\xef\xbf\xbd", length ? length : 3);
        out += length ? length : 3;
        i += length ? length : 1;
    }
    *out = '\0';
    v = json_string(clean);
    free(clean);
    return v;
}

static json_t *numbers(const double *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++) {
        if (json_array_append_new(a, number(v[i]))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* An interval that was not measured is null, not a list of nulls. */
static json_t *interval(const double v[2]) { return isfinite(v[0]) && isfinite(v[1]) ? numbers(v, 2) : json_null(); }

static json_t *texts(const char *const *s, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++) {
        if (json_array_append_new(a, text(s[i]))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* An array of objects made by `make(i)`. */
static json_t *list(size_t n, json_t *(*make)(const void *items, size_t i), const void *items)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++) {
        if (json_array_append_new(a, make(items, i))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
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

static struct builder begin(const struct mro_result_head *h)
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

static json_t *end(struct builder *b, const struct mro_result_head *h, struct mro_error *e)
{
    put(b, "warnings", texts(h->warnings, h->n_warnings));
    put(b, "provenance", provenance(h->provenance, h->info, h->options));
    return checked(b, e);
}

/* -- mro ---------------------------------------------------------------------------------------- */

static json_t *sweep_json(const void *items, size_t i)
{
    const struct mro_order_sweep *s = &((const struct mro_order_sweep *)items)[i];
    struct builder b = object();
    put(&b, "band_inv_nm", numbers(s->band_inv_nm, 2));
    put(&b, "fraction", number(s->fraction));
    put(&b, "fraction_ci95", interval(s->fraction_ci95));
    return take(&b);
}

static json_t *object_json(const void *items, size_t i)
{
    const struct mro_order_object *o = &((const struct mro_order_object *)items)[i];
    struct builder b = object();
    put(&b, "x_nm", number(o->x_nm));
    put(&b, "y_nm", number(o->y_nm));
    put(&b, "diameter_nm", number(o->diameter_nm));
    put(&b, "d_nm", number(o->d_nm));
    put(&b, "azimuth_deg", number(o->azimuth_deg));
    put(&b, "snr", number(o->snr));
    put(&b, "grade", text((char[]){ o->grade, '\0' }));
    return take(&b);
}

static json_t *ctf_json(const struct mro_ctf *c)
{
    struct builder b = object();
    put(&b, "defocus_nm", c->known ? number(c->defocus_nm) : json_null());
    put(&b, "astigmatism_nm", c->known ? number(c->astigmatism_nm) : json_null());
    put(&b, "azimuth_deg", c->known ? number(c->azimuth_deg) : json_null());
    put(&b, "delocalisation_nm", number(c->delocalisation_nm));
    return take(&b);
}

static json_t *grades_json(const double v[3])
{
    struct builder b = object();
    put(&b, "A", number(v[0]));
    put(&b, "B", number(v[1]));
    put(&b, "C", number(v[2]));
    return take(&b);
}

json_t *mro_json_order(const struct mro_result_head *h, const struct mro_order_result *r, struct mro_error *e)
{
    struct builder b = begin(h);
    put(&b, "band_inv_nm", numbers(r->band_inv_nm, 2));
    put(&b, "d_nm", number(r->d_nm));
    put(&b, "false_positive_rate", number(r->false_positive_rate));
    put(&b, "cells", count(r->cells));
    put(&b, "region_nm", isfinite(r->region_nm[0]) ? numbers(r->region_nm, 4) : json_null());
    put(&b, "fraction_raw", number(r->fraction_raw));
    put(&b, "fraction", number(r->fraction));
    put(&b, "fraction_ci95", interval(r->fraction_ci95));
    put(&b, "null_fraction", number(r->null_fraction));
    put(&b, "p_image", number(r->p_image));
    put(&b, "distinguishable", json_boolean(r->distinguishable));
    put(&b, "verdict", text(r->verdict));
    put(&b, "fraction_acf", number(r->fraction_acf));
    put(&b, "density_per_nm2", number(r->density_per_nm2));
    put(&b, "diameter_median_nm", number(r->diameter_median_nm));
    put(&b, "sweep", list(r->n_sweep, sweep_json, r->sweep));
    put(&b, "grade_fractions", grades_json(r->grade_fractions));
    put(&b, "size_limit_nm", number(r->size_limit_nm));
    put(&b, "coverage", number(r->coverage));
    put(&b, "ctf", ctf_json(&r->ctf));
    put(&b, "objects", list(r->n_objects, object_json, r->objects));
    return end(&b, h, e);
}

/* -- eds ------------------------------------------------------------------------------------------ */

static json_t *eds_element_json(const struct mro_eds_element *el)
{
    struct builder b = object();
    put(&b, "mean_at", number(el->mean_at));
    put(&b, "sd_at", number(el->sd_at));
    put(&b, "sd_counting_at", number(el->sd_counting_at));
    put(&b, "sd_true_at", number(el->sd_true_at));
    put(&b, "sd_true_ci95", interval(el->sd_true_ci95));
    put(&b, "p_heterogeneous", number(el->p_heterogeneous));
    put(&b, "wavelength_nm", number(el->wavelength_nm));
    put(&b, "p_periodic", number(el->p_periodic));
    return take(&b);
}

static void put_eds_line(struct builder *b, const struct mro_eds_result *r, const struct mro_eds_line *line)
{
    struct builder elements = object(), pairs = object();
    put(b, "line_nm", line ? numbers((double[]){ line->x0, line->y0, line->x1, line->y1 }, 4) : json_null());
    put(b, "width_nm", line ? number(line->width_nm) : json_null());
    put(b, "points", count(r->points));
    put(b, "step_nm", number(r->step_nm));
    put(b, "length_nm", number(r->length_nm));
    put(b, "replicates", count(r->replicates));
    put(b, "roughness", number(r->roughness));
    for (size_t j = 0; j < r->elements; j++) put(&elements, r->element[j].symbol, eds_element_json(&r->element[j]));
    for (size_t i = 0; i < r->n_pairs; i++) {
        const struct mro_eds_pair *q = &r->pair[i];
        struct builder pair = object();
        char name[16];
        snprintf(name, sizeof name, "%s-%s", r->element[q->a].symbol, r->element[q->b].symbol);
        put(&pair, "r", number(q->r));
        put(&pair, "r_counting", number(q->r_counting));
        put(&pair, "p", number(q->p));
        put(&pair, "points_effective", number(q->n_eff));
        put(&pairs, name, take(&pair));
    }
    put(b, "elements", take(&elements));
    put(b, "pairs", take(&pairs));
}

static json_t *eds_k_json(const struct mro_eds_result *r)
{
    struct builder b = object();
    for (size_t j = 0; j < r->elements; j++) put(&b, r->element[j].symbol, number(r->element[j].k));
    return take(&b);
}

static json_t *eds_group_json(const struct mro_eds_groups *g, const struct mro_eds_group *one)
{
    struct builder b = object(), mean = object(), se = object();
    put(&b, "area_fraction", number(one->area_fraction));
    put(&b, "pixels", count(one->pixels));
    for (size_t j = 0; j < g->elements; j++) {
        put(&mean, g->symbol[j], number(one->mean_at[j]));
        put(&se, g->symbol[j], number(one->se_at[j]));
    }
    put(&b, "mean_at", take(&mean));
    put(&b, "se_at", take(&se));
    return take(&b);
}

static json_t *eds_groups_json(const struct mro_eds_groups *g)
{
    struct builder b = object(), p = object(), mro = object();
    put(&b, "bright", eds_group_json(g, &g->bright));
    put(&b, "dark", eds_group_json(g, &g->dark));
    put(&b, "p", number(g->p));
    for (size_t j = 0; j < g->elements; j++) put(&p, g->symbol[j], number(g->p_element[j]));
    put(&b, "p_elements", take(&p));
    put(&b, "blocks", count(g->blocks));
    put(&b, "shift_nm", g->registered ? numbers(g->shift_nm, 2) : json_null());
    put(&b, "registration_z", number(g->registration));
    put(&mro, "share_in_bright", number(g->mro_bright));
    put(&mro, "share_in_dark", number(g->mro_dark));
    put(&mro, "share_by_chance", number(g->bright.area_fraction));
    put(&mro, "p", number(g->mro_p));
    json_t *shares = take(&mro);
    put(&b, "mro", g->has_mro ? json_incref(shares) : json_null());
    json_decref(shares);
    return take(&b);
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

json_t *mro_json_eds(const struct mro_result_head *h, const struct mro_eds_report *r, struct mro_error *e)
{
    static const struct mro_eds_result none = { .step_nm = NAN, .length_nm = NAN, .roughness = NAN };
    const struct mro_eds_result *a = r->along ? r->along : &none;
    struct builder b = begin(h);
    put_eds_line(&b, a, r->line);
    put(&b, "k_factors", a->counts ? eds_k_json(a) : json_null());
    put(&b, "k_source",
        !a->counts        ? json_null()
        : a->k_from_table ? text("table")
        : a->k_assumed    ? text("assumed")
                          : text("command line"));
    if (r->across) {
        struct builder across = object(), both = object();
        put_eds_line(&across, r->across, r->across_line);
        const size_t n = a->points < r->across->points ? a->points : r->across->points;
        for (size_t j = 0; j < a->elements; j++) {
            struct builder one = object();
            double n_eff, rr, pp;
            mro_eds_compare(a->element[j].at, r->across->element[j].at, n, &rr, &pp, &n_eff);
            put(&one, "r", number(rr));
            put(&one, "p", number(pp));
            put(&both, a->element[j].symbol, take(&one));
        }
        put(&across, "r_with_line", take(&both));
        put(&b, "across", take(&across));
    } else {
        put(&b, "across", json_null());
    }
    put(&b, "contrast_groups", r->groups ? eds_groups_json(r->groups) : json_null());
    put(&b, "inputs", list(r->inputs.n, input_json, &r->inputs));
    return end(&b, h, e);
}

/* -- haadf -------------------------------------------------------------------------------------- */

static json_t *level_json(const void *items, size_t i)
{
    const struct mro_haadf_level *l = &((const struct mro_haadf_level *)items)[i];
    struct builder b = object();
    put(&b, "threshold_sd", number(l->threshold_sd));
    put(&b, "count", count(l->count));
    put(&b, "density_per_nm2", number(l->density_per_nm2));
    put(&b, "area_fraction", number(l->area_fraction));
    put(&b, "diameter_nm", number(l->diameter_nm));
    put(&b, "null_area_fraction", number(l->null_area_fraction));
    put(&b, "null_density_per_nm2", number(l->null_density_per_nm2));
    put(&b, "null_diameter_nm", number(l->null_diameter_nm));
    return take(&b);
}

static json_t *regions_json(const struct mro_haadf_regions *r)
{
    struct builder b = object();
    put(&b, "threshold_sd", number(r->threshold_sd));
    put(&b, "two_levels", json_boolean(r->two_levels));
    put(&b, "count", isfinite(r->area_fraction) ? count(r->count) : json_null());
    put(&b, "density_per_nm2", number(r->density_per_nm2));
    put(&b, "area_fraction", number(r->area_fraction));
    put(&b, "diameter_nm", number(r->diameter_nm));
    put(&b, "null_ratio", number(r->null_ratio));
    put(&b, "null_threshold_sd", number(r->null_threshold_sd));
    put(&b, "p_value", number(r->p_value));
    put(&b, "levels", list(r->n_levels, level_json, r->level));
    return take(&b);
}

json_t *mro_json_haadf(const struct mro_result_head *h, const struct mro_haadf_result *r, struct mro_error *e)
{
    struct builder b = begin(h);
    put(&b, "band_inv_nm", numbers(r->band_inv_nm, 2));
    put(&b, "frames", count(r->frames));
    put(&b, "contrast_sd", number(r->contrast_sd));
    put(&b, "contrast_sd_ci95", interval(r->contrast_sd_ci95));
    put(&b, "normalised_variance", number(r->normalised_variance));
    put(&b, "fwhm", number(r->fwhm));
    put(&b, "skewness", number(r->skewness));
    put(&b, "skewness_ci95", interval(r->skewness_ci95));
    put(&b, "noise_sd", number(r->noise_sd));
    put(&b, "line_noise_sd", number(r->line_noise_sd));
    put(&b, "correlation_length_nm", number(r->correlation_length_nm));
    put(&b, "wavelength_nm", number(r->wavelength_nm));
    put(&b, "wavelength_p", number(r->wavelength_p));
    put(&b, "coherence_nm", number(r->coherence_nm));
    put(&b, "smoothing_nm", number(r->smoothing_nm));
    put(&b, "dark", regions_json(&r->dark));
    put(&b, "bright", regions_json(&r->bright));
    put(&b, "p_value", number(r->p_value));
    put(&b, "heterogeneous", isfinite(r->p_value) ? json_boolean(r->heterogeneous) : json_null());
    put(&b, "verdict", text(r->verdict));
    put(&b, "coverage", number(r->coverage));
    put(&b, "black_level", number(r->black_level));
    put(&b, "clipped_fraction", number(r->clipped_fraction));
    return end(&b, h, e);
}

/* -- pair distributions --------------------------------------------------------------------------- */

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
    struct builder b = begin(h), f = object(), o = object();
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
    return end(&b, h, e);
}

/* -- crystals ------------------------------------------------------------------------------------- */

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
    struct builder b = begin(h), m = object();
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
    return end(&b, h, e);
}

/* -- shearband ---------------------------------------------------------------------------------- */

static json_t *segment_json(const void *items, size_t i)
{
    const struct mro_shearband_segment *q = &((const struct mro_shearband_segment *)items)[i];
    struct builder b = object();
    put(&b, "x_nm", number(q->x_nm));
    put(&b, "y_nm", number(q->y_nm));
    put(&b, "along_nm", number(q->along_nm));
    put(&b, "offset_nm", number(q->offset_nm));
    put(&b, "width_nm", number(q->width_nm));
    put(&b, "depth", number(q->depth));
    return take(&b);
}

static json_t *band_elements_json(const struct mro_shearband_elements *q)
{
    if (q == NULL || q->n == 0) return json_null();
    struct builder b = object();
    for (size_t j = 0; j < q->n; j++) {
        const struct mro_shearband_element *el = &q->element[j];
        struct builder one = object();
        put(&one, "inside_at", number(el->inside_at));
        put(&one, "inside_se_at", number(el->inside_se));
        put(&one, "outside_at", number(el->outside_at));
        put(&one, "outside_se_at", number(el->outside_se));
        put(&one, "difference_at", number(el->difference_at));
        put(&one, "difference_ci95", interval(el->difference_ci95));
        put(&one, "p", number(el->p));
        put(&b, el->symbol, take(&one));
    }
    return take(&b);
}

static json_t *band_json(const void *items, size_t i)
{
    const struct mro_shearband_result *r = items;
    const struct mro_shearband *q = &r->band[i];
    struct builder b = object();
    put(&b, "position_nm", number(q->position_nm));
    put(&b, "normal_azimuth_deg", number(q->normal_azimuth_deg));
    put(&b, "normal_azimuth_ci95", interval(q->normal_azimuth_ci95));
    put(&b, "line_nm", numbers(q->line_nm, 4));
    put(&b, "length_nm", number(q->length_nm));
    put(&b, "ends_inside", json_boolean(q->ends));
    put(&b, "at_border", json_boolean(q->border));
    put(&b, "width_nm", number(q->width_nm));
    put(&b, "width_ci95", interval(q->width_ci95));
    put(&b, "width_sd_nm", number(q->width_sd_nm));
    put(&b, "depth", number(q->depth));
    put(&b, "depth_ci95", interval(q->depth_ci95));
    put(&b, "edge_nm", number(q->edge_nm));
    put(&b, "inclination_max_deg", number(q->inclination_max_deg));
    put(&b, "waviness_nm", number(q->waviness_nm));
    put(&b, "bow_nm", number(q->bow_nm));
    put(&b, "p_value", number(q->p_value));
    put(&b, "p_segments", number(q->p_segments));
    put(&b, "segments", list(q->n_segments, segment_json, q->segment));
    put(&b, "elements", band_elements_json(r->elements ? &r->elements[i] : NULL));
    return take(&b);
}

static json_t *junction_json(const void *items, size_t i)
{
    const struct mro_shearband_junction *q = &((const struct mro_shearband_junction *)items)[i];
    struct builder b = object();
    put(&b, "bands", numbers((double[]){ (double)q->a, (double)q->b }, 2));
    put(&b, "x_nm", number(q->x_nm));
    put(&b, "y_nm", number(q->y_nm));
    put(&b, "angle_deg", number(q->angle_deg));
    return take(&b);
}

json_t *mro_json_shearband(const struct mro_result_head *h, const struct mro_shearband_result *r,
                           const struct mro_result_inputs *maps, struct mro_error *e)
{
    struct builder b = begin(h);
    put(&b, "normal_azimuth_deg", number(r->normal_azimuth_deg));
    put(&b, "bands", list(r->n_bands, band_json, r));
    put(&b, "junctions", list(r->n_junctions, junction_json, r->junction));
    put(&b, "p_value", number(r->p_value));
    put(&b, "verdict", text(r->verdict));
    put(&b, "searched_width_nm", interval(r->searched_nm));
    put(&b, "position_from", text("top-left corner, along the normal: x cos(azimuth) + y sin(azimuth)"));
    put(&b, "coverage", number(r->coverage));
    put(&b, "black_level", number(r->black_level));
    put(&b, "inputs", list(maps ? maps->n : 0, input_json, maps));
    return end(&b, h, e);
}

/* -- indent -------------------------------------------------------------------------------------- */

static json_t *bin_json(const void *items, size_t i)
{
    const struct mro_indent_result *r = items;
    const struct mro_indent_bin *q = &r->bin[i];
    const bool known = mro_indent_length_known(r);
    struct builder b = object();
    put(&b, known ? "distance_um" : "distance_steps", number(known ? q->distance / 1e3 : q->distance));
    put(&b, "n", count(q->n));
    put(&b, "mean", number(q->mean));
    put(&b, "mean_ci95", interval(q->mean_ci95));
    put(&b, "sd", number(q->sd));
    put(&b, "fwhm", number(q->fwhm));
    put(&b, "fwhm_ci95", interval(q->fwhm_ci95));
    return take(&b);
}

static json_t *indent_trend_json(const struct mro_indent_trend *t, bool known)
{
    const double unit = known ? 1e3 : 1, ci[2] = { unit * t->slope_ci95[0], unit * t->slope_ci95[1] };
    struct builder b = object();
    put(&b, known ? "slope_per_um" : "slope_per_step", number(unit * t->slope));
    put(&b, "slope_ci95", interval(ci));
    put(&b, "p", number(t->p));
    return take(&b);
}

json_t *mro_json_indent(const struct mro_result_head *h, const struct mro_indent_result *r, struct mro_error *e)
{
    static const char *const edges[] = { NULL, "left", "top", "right", "bottom" };
    const bool known = mro_indent_length_known(r);
    struct builder b = begin(h), grid = object(), trend = object();
    put(&b, "quantity", r->quantity[0] ? text(r->quantity) : json_null());
    put(&b, "unit", r->unit[0] ? text(r->unit) : json_null());
    put(&b, "indents", count(r->n));
    put(&b, "places", count(r->places));
    put(&b, "holes", count(r->holes));
    put(&b, "mean", number(r->mean));
    put(&b, "mean_ci95", interval(r->mean_ci95));
    put(&b, "sd", number(r->sd));
    put(&b, "sd_ci95", interval(r->sd_ci95));
    put(&b, "fwhm", number(r->fwhm));
    put(&b, "fwhm_ci95", interval(r->fwhm_ci95));
    put(&b, "fwhm_kernel", number(r->fwhm_kernel));
    put(&b, "fwhm_kernel_ci95", interval(r->fwhm_kernel_ci95));
    put(&b, "noise_sd", number(r->noise_sd));
    put(&b, "noise_source", text(r->noise_source));
    put(&b, "sd_true", number(r->sd_true));
    put(&b, "fwhm_true", number(r->fwhm_true));
    put(&b, "fwhm_true_ci95", interval(r->fwhm_true_ci95));
    put(&b, "skewness", number(r->skewness));
    put(&b, "minimum", number(r->minimum));
    put(&b, "maximum", number(r->maximum));
    put(&b, "n_effective", number(r->n_effective));
    put(&b, "moran_i", number(r->moran_i));
    put(&b, "moran_expected", number(r->moran_expected));
    put(&b, "moran_p", number(r->moran_p));
    put(&b, "neighbour_pairs", count(r->pairs));
    put(&b, known ? "correlation_length_um" : "correlation_length_steps",
        number(known ? r->correlation_length / 1e3 : r->correlation_length));
    put(&grid, "rows", count(r->grid_ny));
    put(&grid, "columns", count(r->grid_nx));
    put(&grid, "pitch_um", known ? numbers((double[]){ r->pitch[0] / 1e3, r->pitch[1] / 1e3 }, 2) : json_null());
    json_t *cells = take(&grid);
    put(&b, "grid", r->grid ? json_incref(cells) : json_null());
    json_decref(cells);
    put(&b, "bins_from", r->edge ? text(edges[r->edge]) : json_null());
    put(&b, "bins", list(r->n_bins, bin_json, r));
    put(&trend, "mean", indent_trend_json(&r->mean_trend, known));
    put(&trend, "fwhm", indent_trend_json(&r->fwhm_trend, known));
    json_t *lines = take(&trend);
    put(&b, "trend", r->edge ? json_incref(lines) : json_null());
    json_decref(lines);
    put(&b, "verdict", text(r->verdict));
    return end(&b, h, e);
}

/* -- bandpass, info, devices ---------------------------------------------------------------------- */

json_t *mro_json_bandpass(const struct mro_result_head *h, const struct mro_bandpass_options *o,
                          const struct mro_bandpass_result *r, struct mro_error *e)
{
    struct builder b = begin(h);
    put(&b, "band_inv_nm", numbers(o->band_inv_nm, 2));
    put(&b, "rms_in", number(r->rms_in));
    put(&b, "rms_out", number(r->rms_out));
    return end(&b, h, e);
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
    struct builder b = begin(h);
    json_t *images = json_array();
    put(&b, "format", text(mro_file_format(f)));
    for (size_t i = 0; i < mro_file_images(f); i++)
        if (json_array_append_new(images, image_json(mro_file_info(f, i), i, statistics ? &statistics[i] : NULL)))
            b.failed = true;
    put(&b, "images", images);
    return end(&b, h, e);
}

json_t *mro_json_convert(const struct mro_result_head *h, const char *output, size_t frames, struct mro_error *e)
{
    struct builder b = begin(h);
    put(&b, "output", text(output));
    put(&b, "frames", count(frames));
    put(&b, "dtype", text(mro_dtype_name(h->info->dtype)));
    return end(&b, h, e);
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

/* -- compare ------------------------------------------------------------------------------------- */

static json_t *sentence(void (*say)(const struct mro_compare_report *c, size_t state, char *text, size_t size),
                        const struct mro_compare_report *c, size_t state)
{
    char words[600];
    say(c, state, words, sizeof words);
    return words[0] ? text(words) : json_null();
}

/* An interval without an upper end is [lo, null]. */
static json_t *open_interval(const double v[2]) { return isfinite(v[0]) ? numbers(v, 2) : json_null(); }

static void put_permutation(struct builder *b, const struct mro_permutation *p)
{
    const bool tested = isfinite(p->p);
    put(b, "p", number(p->p));
    put(b, "p_exact", tested ? json_boolean(p->exact) : json_null());
    put(b, "p_se", number(p->se));
    put(b, "p_smallest", number(p->smallest));
    put(b, "arrangements", number(p->arrangements));
}

static json_t *compare_state_json(const void *items, size_t k)
{
    static const char *const intervals[] = { NULL, "log", "fieller" };
    const struct mro_compare_report *c = items;
    const struct mro_compare_result *r = c->result;
    const struct mro_compare_state *t = &r->state[k];
    const bool reference = k == r->reference;
    struct builder b = object();
    put(&b, "state", text(c->data->state[k]));
    put(&b, "strain", number(t->strain));
    put(&b, "n", count(t->n));
    put(&b, "images", count(t->images));
    put(&b, "mean", number(t->mean));
    put(&b, "mean_ci95", interval(t->mean_ci95));
    put(&b, "sd", number(t->sd));
    put(&b, "ratio", reference ? json_real(1) : number(t->ratio));
    put(&b, "ratio_ci95", open_interval(t->ratio_ci95));
    put(&b, "ratio_interval", text(intervals[t->interval]));
    put(&b, "difference", number(t->difference));
    put(&b, "difference_ci95", interval(t->difference_ci95));
    put_permutation(&b, &t->test);
    put(&b, "p_holm", number(t->p_holm));
    put(&b, "identifiable", reference ? json_null() : json_boolean(t->identifiable));
    put(&b, "sentence", reference ? json_null() : sentence(mro_compare_sentence, c, k));
    put(&b, "remark", reference ? json_null() : sentence(mro_compare_remark, c, k));
    return take(&b);
}

/* Of the states that have images. */
static json_t *compare_states(const struct mro_compare_report *c, json_t *(*make)(const void *items, size_t i),
                              const void *items)
{
    json_t *a = json_array();
    for (size_t k = 0; a && k < c->result->n_states; k++) {
        if (c->result->state[k].n > 0 && json_array_append_new(a, make(items, k))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

static json_t *compare_trend_json(const struct mro_compare_report *c)
{
    const struct mro_compare_trend *t = &c->result->trend;
    struct builder b = object(), j = object();
    char words[600];
    if (!t->measured) {
        json_decref(take(&b));
        json_decref(take(&j));
        return json_null();
    }
    mro_compare_trend_sentence(c, words, sizeof words);
    put(&b, "n", count(t->n));
    put(&b, "strain", numbers(t->strain, 2));
    put(&b, "scale", text(t->logarithmic ? "ln" : "linear"));
    put(&b, "slope", number(t->slope));
    put(&b, "slope_ci95", interval(t->slope_ci95));
    put(&b, "centre", numbers(t->centre, 2));
    put(&b, "p", number(t->p));
    put(&b, "tau", number(t->tau));
    put(&j, "j", number(t->j));
    put(&j, "expected", number(t->j_expected));
    put_permutation(&j, &t->jonckheere);
    put(&b, "jonckheere", take(&j));
    put(&b, "sentence", text(words));
    return take(&b);
}

struct compare_covariate {
    const struct mro_compare_report *c;
    const struct mro_compare_covariate *v;
};

static json_t *compare_adjusted_json(const void *items, size_t k)
{
    const struct compare_covariate *x = items;
    struct builder b = object();
    put(&b, "state", text(x->c->data->state[k]));
    put(&b, "mean", number(x->v->mean[k]));
    put(&b, "ratio", number(x->v->ratio[k]));
    put(&b, "ratio_ci95", interval(x->v->ratio_ci95[k]));
    put(&b, "variance_inflation", number(x->v->inflation[k]));
    return take(&b);
}

static json_t *compare_covariate_json(const void *items, size_t i)
{
    const struct mro_compare_report *c = items;
    const struct mro_compare_covariate *v = &c->result->covariate[i];
    const struct compare_covariate x = { c, v };
    struct builder b = object();
    put(&b, "name", text(c->data->covariate[i]));
    put(&b, "known", json_boolean(v->known));
    put(&b, "slope", number(v->slope));
    put(&b, "slope_ci95", interval(v->slope_ci95));
    put(&b, "p", number(v->p));
    put(&b, "states", compare_states(c, compare_adjusted_json, &x));
    return take(&b);
}

static json_t *compare_image_json(const void *items, size_t i)
{
    const struct mro_compare_report *c = items;
    const struct mro_compare_image *m = &c->data->image[i];
    struct builder b = object();
    put(&b, "file", text(c->file[i]));
    put(&b, "state", text(c->data->state[m->state]));
    put(&b, "specimen", c->specimen[i][0] ? text(c->specimen[i]) : json_null());
    put(&b, "strain", number(m->strain));
    put(&b, "setting", count(m->block));
    put(&b, "value", number(m->value));
    put(&b, "ci95", interval(m->ci95));
    return take(&b);
}

json_t *mro_json_compare(const struct mro_result_head *h, const struct mro_compare_report *c, struct mro_error *e)
{
    static const struct mro_image_info none = { 0 };
    const struct mro_compare_result *r = c->result;
    struct mro_result_head head = *h;
    struct builder b = object();
    head.info = &none;
    put(&b, "schema", text("mroscope.compare/1"));
    put(&b, "file", text(h->file));
    put(&b, "frame", json_null());
    put(&b, "shape", json_null());
    put(&b, "pixel_nm", json_null());
    put(&b, "calibration", json_null());
    put(&b, "kind", c->kind[0] ? text(c->kind) : json_null());
    put(&b, "metric", text(c->metric));
    put(&b, "metric_unit", text(c->unit));
    put(&b, "reference", text(c->data->state[r->reference]));
    put(&b, "unit", text(r->by_specimen ? "specimen" : "image"));
    put(&b, "scale", text(r->logarithmic ? "ln" : "linear"));
    put(&b, "states", compare_states(c, compare_state_json, c));
    put(&b, "trend", compare_trend_json(c));
    put(&b, "covariates", list(r->n_covariates, compare_covariate_json, c));
    put(&b, "blocks", count(r->blocks));
    put(&b, "block_factors", numbers(r->block_factor, r->blocks > 1 ? r->blocks : 0));
    put(&b, "settings_differ_in", c->settings[0] ? text(c->settings) : json_null());
    put(&b, "scatter_ln", number(r->scatter_ln));
    put(&b, "n_for_ratio_1.5", number(r->n_for_ratio));
    put(&b, "images", list(c->data->n, compare_image_json, c));
    return end(&b, &head, e);
}

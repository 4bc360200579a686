/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: pair distributions. */
#include <math.h>
#include <stdio.h>

#include "report/json_build.h"

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
    return mro_json_onset(&((const struct mro_onset *)items)[i]);
}

static json_t *onsets_json(const struct mro_pdf_series *s)
{
    struct builder b = object();
    put(&b, "first_moment", mro_json_onset(&s->first_moment));
    put(&b, "fsdp_area", mro_json_onset(&s->fsdp_area));
    put(&b, "oscillation", mro_json_onset(&s->oscillation));
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
    put(&b, "background_size", number(p && p->n_profile ? p->windows.background_size : NAN));
    put(&b, "background_degree", p && p->n_profile ? json_integer(p->background_degree) : json_null());
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
    put(&b, "value_name", r->series ? text(r->series->value_name) : json_null());
    put(&b, "value_unit", r->series ? text(r->series->value_unit) : json_null());
    put(&b, "onsets", r->series ? onsets_json(r->series) : json_null());
    put(&b, "errors_from",
        p == NULL || p->draws == 0 ? json_null()
        : p->blocks                ? text("blocks drawn again")
                                   : text("errors of the points"));
    put(&b, "blocks", p ? count(p->blocks) : json_null());
    return mro_json_end(&b, h, e);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: crystals. */
#include <math.h>

#include "report/json_build.h"

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
    put(&b, "crystal", count(s->crystal + 1)); /* as the figure and the table number them */
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

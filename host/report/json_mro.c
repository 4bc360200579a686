/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: medium-range order. */
#include "report/json_build.h"

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

static json_t *limits_json(const double v[3])
{
    if (isnan(v[0])) return json_null();
    struct builder b = object();
    put(&b, "full", number(v[0]));
    put(&b, "half", number(v[1]));
    put(&b, "quarter", number(v[2]));
    return take(&b);
}

json_t *mro_json_order(const struct mro_result_head *h, const struct mro_order_result *r, struct mro_error *e)
{
    struct builder b = mro_json_begin(h);
    put(&b, "band_inv_nm", numbers(r->band_inv_nm, 2));
    put(&b, "d_nm", number(r->d_nm));
    put(&b, "false_positive_rate", number(r->false_positive_rate));
    put(&b, "cells", count(r->cells));
    put(&b, "region_nm", isfinite(r->region_nm[0]) ? numbers(r->region_nm, 4) : json_null());
    put(&b, "fraction_raw", number(r->fraction_raw));
    put(&b, "fraction", number(r->fraction));
    put(&b, "fraction_ci95", interval(r->fraction_ci95));
    put(&b, "fraction_at_most", limits_json(r->fraction_at_most));
    put(&b, "null_fraction", number(r->null_fraction));
    put(&b, "p_image", number(r->p_image));
    put(&b, "p_image_at_most", json_boolean(r->p_image_at_most));
    put(&b, "distinguishable", json_boolean(r->distinguishable));
    put(&b, "verdict", text(r->verdict));
    put(&b, "fraction_acf", number(r->fraction_acf));
    put(&b, "density_per_nm2", number(r->density_per_nm2));
    put(&b, "diameter_median_nm", number(r->diameter_median_nm));
    put(&b, "sweep", list(r->n_sweep, sweep_json, r->sweep));
    put(&b, "grade_fractions", grades_json(r->grade_fractions));
    put(&b, "size_limit_nm", number(r->size_limit_nm));
    put(&b, "coverage", number(r->coverage));
    put(&b, "blemished_fraction", number(r->blemished));
    put(&b, "interference_fraction", number(r->interference));
    put(&b, "ctf", ctf_json(&r->ctf));
    put(&b, "objects", list(r->n_objects, object_json, r->objects));
    return mro_json_end(&b, h, e);
}

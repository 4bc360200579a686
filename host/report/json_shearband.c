/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: shear bands. */
#include "report/json_build.h"

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
    struct builder b = mro_json_begin(h);
    put(&b, "normal_azimuth_deg", number(r->normal_azimuth_deg));
    put(&b, "bands", list(r->n_bands, band_json, r));
    put(&b, "junctions", list(r->n_junctions, junction_json, r->junction));
    put(&b, "signal", text(r->signal == MRO_SHEARBAND_MEAN ? "mean" : "variance"));
    put(&b, "p_value", number(r->p_value));
    put(&b, "verdict", text(r->verdict));
    put(&b, "searched_width_nm", interval(r->searched_nm));
    put(&b, "position_from", text("top-left corner, along the normal: x cos(azimuth) + y sin(azimuth)"));
    put(&b, "coverage", number(r->coverage));
    put(&b, "black_level", number(r->black_level));
    put(&b, "inputs", mro_json_inputs(maps));
    return mro_json_end(&b, h, e);
}

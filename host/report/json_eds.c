/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: composition. */
#include <math.h>
#include <stdio.h>

#include "report/json_build.h"

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

json_t *mro_json_eds(const struct mro_result_head *h, const struct mro_eds_report *r, struct mro_error *e)
{
    static const struct mro_eds_result none = { .step_nm = NAN, .length_nm = NAN, .roughness = NAN };
    const struct mro_eds_result *a = r->along ? r->along : &none;
    struct builder b = mro_json_begin(h);
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
        for (size_t j = 0; j < a->elements; j++) {
            struct builder one = object();
            put(&one, "r", number(r->alike[j].r));
            put(&one, "p", number(r->alike[j].p));
            put(&both, a->element[j].symbol, take(&one));
        }
        put(&across, "r_with_line", take(&both));
        put(&b, "across", take(&across));
    } else {
        put(&b, "across", json_null());
    }
    put(&b, "contrast_groups", r->groups ? eds_groups_json(r->groups) : json_null());
    put(&b, "inputs", mro_json_inputs(&r->inputs));
    return mro_json_end(&b, h, e);
}

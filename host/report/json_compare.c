/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: comparisons of states. */
#include <math.h>
#include <stdio.h>

#include "report/json_build.h"

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
    put(&b, "x", number(t->x));
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
    put(&b, "over", text(c->data->over));
    put(&b, "over_unit", text(c->data->over_unit));
    put(&b, "x", numbers(t->x, 2));
    put(&b, "scale", text(t->logarithmic ? "ln" : "linear"));
    put(&b, "slope", number(t->slope));
    put(&b, "slope_ci95", interval(t->slope_ci95));
    put(&b, "centre", numbers(t->centre, 2));
    put(&b, "centre_ci95", interval(t->centre_ci95));
    put(&b, "p", number(t->p));
    put(&b, "tau", number(t->tau));
    put(&j, "j", number(t->j));
    put(&j, "expected", number(t->j_expected));
    put_permutation(&j, &t->jonckheere);
    put(&b, "jonckheere", take(&j));
    put(&b, "onset", mro_json_onset(&t->onset));
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
    put(&b, "x", number(m->x));
    put(&b, "setting", count(m->block));
    put(&b, "value", number(m->value));
    put(&b, "ci95", interval(m->ci95));
    return take(&b);
}

json_t *mro_json_compare(const struct mro_result_head *h, const struct mro_compare_report *c, struct mro_error *e)
{
    static const struct mro_image_info none = { .stage_tilt_deg = { NAN, NAN } };
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
    return mro_json_end(&b, &head, e);
}

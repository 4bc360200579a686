/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: maps of indents. */
#include "report/json_build.h"

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
    struct builder b = mro_json_begin(h), grid = object(), trend = object();
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
    return mro_json_end(&b, h, e);
}

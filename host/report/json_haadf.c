/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of results: heterogeneity. */
#include <math.h>

#include "report/json_build.h"

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
    struct builder b = mro_json_begin(h);
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
    return mro_json_end(&b, h, e);
}

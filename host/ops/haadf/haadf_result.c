/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the measurement of heterogeneity is given and gives: defaults, nothing known yet, and memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/haadf/haadf_internal.h"

void mro_haadf_options_default(struct mro_haadf_options *o)
{
    static const double thresholds[] = { 1, 1.5, 2, 3 };
    memset(o, 0, sizeof *o);
    o->band_inv_nm[0] = 1 / 15.0;
    o->band_inv_nm[1] = 1;
    o->black_level = NAN;
    o->polynomial = 3;
    o->high_pass_nm = 15;
    o->n_thresholds = sizeof thresholds / sizeof *thresholds;
    memcpy(o->thresholds_sd, thresholds, sizeof thresholds);
    o->surrogates = 999;
    o->seed = 1;
}

static void regions_unknown(struct mro_haadf_regions *r)
{
    r->threshold_sd = r->density_per_nm2 = r->area_fraction = r->diameter_nm = r->null_ratio = r->null_threshold_sd =
        r->p_value = NAN;
}

void mro_haadf_unknown(struct mro_haadf_result *r)
{
    double *const all[] = {
        &r->coverage,       &r->black_level,  &r->clipped_fraction, &r->contrast_sd,   &r->normalised_variance,
        &r->fwhm,           &r->skewness,     &r->noise_sd,         &r->line_noise_sd, &r->correlation_length_nm,
        &r->wavelength_nm,  &r->wavelength_p, &r->coherence_nm,     &r->p_value,       &r->noise_power,
        &r->histogram_mode, &r->smoothing_nm
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = NAN;
    for (int i = 0; i < 2; i++)
        r->contrast_sd_ci95[i] = r->skewness_ci95[i] = r->histogram_sd[i] = r->mask_level[i] = NAN;
    regions_unknown(&r->dark);
    regions_unknown(&r->bright);
}

void mro_haadf_state_free(struct mro_haadf_state *s)
{
    if (s == NULL) return;
    free(s->spectrum);
    free(s->mask);
    free(s);
}

struct mro_haadf_state *mro_haadf_state_copy(const struct mro_haadf_state *s)
{
    struct mro_haadf_state *c = malloc(sizeof *c);
    if (c == NULL) return NULL;
    *c = *s;
    const size_t n = s->grid.ny * s->grid.nx, m = s->mask_ny * s->mask_nx;
    c->spectrum = malloc(n * sizeof *c->spectrum);
    c->mask = s->mask ? malloc(m) : NULL;
    if (c->spectrum == NULL || (s->mask && c->mask == NULL)) {
        mro_haadf_state_free(c);
        return NULL;
    }
    memcpy(c->spectrum, s->spectrum, n * sizeof *c->spectrum);
    if (s->mask) memcpy(c->mask, s->mask, m);
    return c;
}

void mro_haadf_result_release(struct mro_haadf_result *r)
{
    if (r == NULL) return;
    mro_notes_release(&r->warnings, &r->n_warnings);
    mro_image_release(&r->flat);
    mro_image_release(&r->mask);
    free(r->ring);
    free(r->histogram);
    free(r->acf);
    mro_haadf_state_free(r->state);
    memset(r, 0, sizeof *r);
}

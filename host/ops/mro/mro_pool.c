/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/mro/mro_pool.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add(struct mro_pool_mean *m, double v)
{
    if (!isfinite(v)) return;
    m->sum += v;
    m->n++;
}

#define P_STEP 0.08

static size_t bin_of(double p) { return (size_t)fmin(fmax(-log(p) / P_STEP, 0), MRO_POOL_BINS - 1); }

/* The p of all frames, not bounded by 1; one that was not measured counts as p = 1. *less: the p of the frame that it
 * comes from is less than can be told. */
static double p_together(const struct mro_order_pool *p, bool *less)
{
    const size_t k = (p->frames + MRO_POOL_TESTED - 1) / MRO_POOL_TESTED;
    *less = k <= 1 && p->p_least <= MRO_ORDER_LEAST_P;
    if (k <= 1) return p->p_least * (double)p->frames;
    if (p->tested < k) return 1;
    size_t seen = 0, bin = MRO_POOL_BINS;
    while (bin > 0 && seen < k) seen += p->p_bin[--bin];
    *less = bin >= bin_of(MRO_ORDER_LEAST_P);
    return (double)p->frames / (double)k * exp(-P_STEP * (double)bin); /* the upper edge of the bin: never too small */
}

static double mean(const struct mro_pool_mean *m) { return m->n ? m->sum / (double)m->n : NAN; }

static const struct mro_order_sweep *same_band(const struct mro_order_result *r, const double band[2])
{
    for (size_t i = 0; i < r->n_sweep; i++)
        if (r->sweep[i].band_inv_nm[0] == band[0] && r->sweep[i].band_inv_nm[1] == band[1]) return r->sweep + i;
    return NULL;
}

/* Before the frame is counted as measured. */
static void add_sweep(struct mro_order_pool *p, const struct mro_order_result *r)
{
    if (p->measured == 0) {
        p->n_sweep = r->n_sweep < MRO_POOL_SWEEPS ? r->n_sweep : MRO_POOL_SWEEPS;
        for (size_t i = 0; i < p->n_sweep; i++) p->sweep[i] = r->sweep[i];
        return;
    }
    size_t kept = 0; /* a band that some frame could not be measured in has no mean of all */
    for (size_t i = 0; i < p->n_sweep; i++) {
        const struct mro_order_sweep *s = same_band(r, p->sweep[i].band_inv_nm);
        if (s == NULL) continue;
        p->sweep[kept] = p->sweep[i];
        p->sweep[kept].fraction += s->fraction;
        for (int k = 0; k < 2; k++) p->sweep[kept].fraction_ci95[k] += s->fraction_ci95[k];
        kept++;
    }
    p->n_sweep = kept;
}

void mro_order_pool_add(struct mro_order_pool *p, const struct mro_order_result *r)
{
    if (p->frames == 0) {
        p->same_region = true;
        p->p_least = NAN;
    } else {
        if (memcmp(p->last.region_nm, r->region_nm, sizeof r->region_nm) != 0) p->same_region = false;
    }
    p->frames++;
    p->last = *r;
    p->cells += r->cells;
    for (size_t i = 0; i < r->n_objects; i++)
        if (r->objects[i].grade >= 'A' && r->objects[i].grade <= 'C') p->objects[r->objects[i].grade - 'A']++;
    if (isfinite(r->p_image)) {
        if (!(r->p_image >= p->p_least)) p->p_least = r->p_image;
        p->tested++;
        p->p_bin[bin_of(r->p_image)]++;
    }
    add(&p->raw, r->fraction_raw);
    add(&p->null, r->null_fraction);
    add(&p->acf, r->fraction_acf);
    add(&p->density, r->density_per_nm2);
    add(&p->diameter, r->diameter_median_nm);
    add(&p->size_limit, r->size_limit_nm);
    add(&p->coverage, r->coverage);
    add(&p->blemished, r->blemished);
    add(&p->interference, r->interference);
    add(&p->fraction, r->fraction);
    if (isfinite(r->fraction)) {
        add_sweep(p, r);
        p->measured++;
        add(&p->lo, r->fraction_ci95[0]);
        add(&p->hi, r->fraction_ci95[1]);
        for (int i = 0; i < 3; i++) add(p->at_most + i, r->fraction_at_most[i]);
    }
}

void mro_order_pool_result(struct mro_order_pool *p, struct mro_order_result *r)
{
    const double objects = (double)(p->objects[0] + p->objects[1] + p->objects[2]);
    memset(r, 0, sizeof *r);
    memcpy(r->pixel_nm, p->last.pixel_nm, sizeof r->pixel_nm);
    memcpy(r->band_inv_nm, p->last.band_inv_nm, sizeof r->band_inv_nm);
    r->d_nm = p->last.d_nm;
    r->false_positive_rate = p->last.false_positive_rate;
    r->cells = p->cells;
    for (int i = 0; i < 4; i++) r->region_nm[i] = p->same_region ? p->last.region_nm[i] : NAN;
    r->coverage = mean(&p->coverage);
    r->blemished = mean(&p->blemished);
    r->interference = mean(&p->interference);
    r->fraction_raw = mean(&p->raw);
    r->null_fraction = mean(&p->null);
    r->fraction = mean(&p->fraction);
    r->fraction_ci95[0] = mean(&p->lo);
    r->fraction_ci95[1] = mean(&p->hi);
    for (int i = 0; i < 3; i++) r->fraction_at_most[i] = p->at_most[i].n == p->measured ? mean(p->at_most + i) : NAN;
    r->p_image = p->tested ? fmin(1, p_together(p, &r->p_image_at_most)) : NAN;
    r->distinguishable = r->p_image < 0.001;
    r->fraction_acf = mean(&p->acf);
    r->density_per_nm2 = mean(&p->density);
    r->diameter_median_nm = mean(&p->diameter);
    r->size_limit_nm = mean(&p->size_limit);
    for (int i = 0; i < 3; i++) r->grade_fractions[i] = objects > 0 ? (double)p->objects[i] / objects : NAN;
    r->ctf.delocalisation_nm = NAN;
    for (size_t i = 0; i < p->n_sweep; i++) {
        p->sweep[i].fraction /= (double)p->measured;
        for (int k = 0; k < 2; k++) p->sweep[i].fraction_ci95[k] /= (double)p->measured;
    }
    r->sweep = p->sweep;
    r->n_sweep = p->n_sweep;
    if (p->measured == 0)
        snprintf(r->verdict, sizeof r->verdict, "none of %zu frames could be measured", p->frames);
    else if (isnan(r->p_image))
        snprintf(r->verdict, sizeof r->verdict, "mean of %zu of %zu frames; not tested against a glass", p->measured,
                 p->frames);
    else
        snprintf(r->verdict, sizeof r->verdict,
                 "mean of %zu of %zu frames; %s a glass of the same spectrum (p %s %.2g)", p->measured, p->frames,
                 r->distinguishable ? "more order than" : "not distinguishable from", r->p_image_at_most ? "<" : "=",
                 r->p_image);
}

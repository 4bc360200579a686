/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the measurement of a pattern is given and gives: defaults, nothing known yet, and memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/pdf/saed_internal.h"

void mro_saed_options_default(struct mro_saed_options *o)
{
    memset(o, 0, sizeof *o);
    o->auto_mask = true;
    o->clip_sd = 5;
    o->sectors = 36;
    o->ellipse_ratio = 1;
}

void mro_saed_unknown(struct mro_saed_result *r)
{
    struct mro_saed_geometry *g = &r->geometry;
    struct mro_saed_anisotropy *a = &r->anisotropy;
    double *const all[] = { &g->centre_px[0],
                            &g->centre_px[1],
                            &g->centre_se_px[0],
                            &g->centre_se_px[1],
                            &g->ellipse_ratio,
                            &g->ellipse_ratio_se,
                            &g->ellipse_azimuth_deg,
                            &r->s_max_inv_nm,
                            &r->s_min_inv_nm,
                            &r->coverage,
                            &r->spottiness,
                            &r->spottiness_p,
                            &r->ring_variance,
                            &a->s_inv_nm,
                            &a->e0,
                            &a->e2,
                            &a->e2_se,
                            &a->azimuth_deg,
                            &a->p };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = NAN;
}

void mro_saed_result_release(struct mro_saed_result *r)
{
    if (r == NULL) return;
    free(r->mask);
    free(r->anisotropy.sector);
    mro_profile_release(&r->profile);
    mro_notes_release(&r->warnings, &r->n_warnings);
    memset(r, 0, sizeof *r);
}

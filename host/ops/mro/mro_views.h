/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a measurement shows beside its numbers: filtered image, autocorrelations, survival curves. */
#ifndef MRO_OPS_MRO_VIEWS_H
#define MRO_OPS_MRO_VIEWS_H

#include "ops/mro/mro_internal.h"

/* A measured field as the views read it. */
struct mro_view_field {
    const struct mro_grid *grid, *cells;
    const struct mro_buffer *field; /* whitened, sign set right, in the band; on the device */
    const float *surprise;          /* of every cell */
    const unsigned char *usable;    /* of every cell */
    const struct mro_image *image;  /* whose calibration its maps take over */
};

/* Keeps the null's scores by halves of its tiles. To be called once they are filled in and before they are sorted.
 * MRO_EMEMORY only. */
enum mro_code mro_views_new(struct mro_order_plan *p, struct mro_error *e);

/* Makes what the options ask of the views beyond that, once the plan is complete otherwise. MRO_EMEMORY, and what the
 * device says. */
enum mro_code mro_views_prepare(struct mro_order_plan *p, struct mro_error *e);

void mro_views_free(struct mro_order_plan *p); /* an unfinished plan is fine */

/* r->filtered: the relative contrast in the pass band, from the spectrum of the contrast (left as it is). */
enum mro_code mro_views_filtered(const struct mro_order_plan *p, const struct mro_grid *grid,
                                 const struct mro_buffer *spectrum, const struct mro_image *im,
                                 struct mro_order_result *r, struct mro_error *e);

/* r->whitened, r->tiles and the survival curves where the options ask for views, r->acf and fraction_acf where they ask
 * for the autocorrelation map. Objects, cells and the score map of `r` are filled in before. */
enum mro_code mro_views_fill(const struct mro_order_plan *p, const struct mro_view_field *f, struct mro_order_result *r,
                             struct mro_error *e);

#endif

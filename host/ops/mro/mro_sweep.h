/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Other pass bands, to tell whether a fraction hangs on the band. Calls the whole measurement, as it is called by it.
 */
#ifndef MRO_OPS_MRO_SWEEP_H
#define MRO_OPS_MRO_SWEEP_H

#include "ops/mro/mro_internal.h"

/* Makes the plans of other bands where the options ask for them, once the plan is complete otherwise. MRO_EMEMORY, and
 * what the device says. */
enum mro_code mro_sweep_prepare(struct mro_order_plan *p, struct mro_error *e);

void mro_sweep_free(struct mro_order_plan *p); /* an unfinished plan is fine */

/* r->sweep: the measurement repeated in bands 0.2 nm^-1 narrower, wider, lower and higher, each against a null of its
 * own (kept in the plan), the given band first; one clause is added to the verdict. Bands that cannot be measured are
 * left out and named in `note` ("" if none). Nothing is done for an image that could not be measured. */
enum mro_code mro_sweep_bands(const struct mro_order_plan *p, const struct mro_image *im, const char *name,
                              struct mro_order_result *r, char *note, size_t note_size, struct mro_error *e);

#endif

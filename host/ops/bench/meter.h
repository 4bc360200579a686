/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A device that counts: it computes as another one does, and keeps for every primitive of the table how often it was
 * called, how long that took, and the least work it was (ops/bench/limits.h). So any measurement splits into its
 * stages. */
#ifndef MRO_OPS_METER_H
#define MRO_OPS_METER_H

#include "ops/bench/limits.h"

#define MRO_METER_STAGES 24

struct mro_meter_stage {
    size_t calls;
    double seconds; /* of the clock; calls that run side by side share it */
    struct mro_work work;
};

struct mro_meter {
    struct mro_device device; /* measure with this one */
    struct mro_device *of;
    struct mro_backend table;
    struct mro_buffer one; /* its download waits for a device that runs behind its calls */
    struct mro_meter_stage stage[MRO_METER_STAGES];
};

/* A meter over `of`, which must outlive it and must not be used meanwhile. Errors: those of alloc. */
enum mro_code mro_meter_open(struct mro_meter *m, struct mro_device *of, struct mro_error *e);
void mro_meter_reset(struct mro_meter *m); /* all counts to 0 */
void mro_meter_close(struct mro_meter *m);

/* What stage i does, in words. */
const char *mro_meter_name(size_t i);

#endif

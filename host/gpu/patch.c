/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kernels/patch.h"
#include "gpu/primitives.h"

enum mro_code mro_gpu_refine_patches(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                     const struct mro_patch_search *s, struct mro_patch *patches, size_t n,
                                     struct mro_error *e)
{
    struct mro_climb_args args = { .search = *s,
                                   .field = field->p,
                                   .ny = g->ny,
                                   .nx = g->nx,
                                   .step_y = g->ly / (double)g->ny,
                                   .step_x = g->lx / (double)g->nx };
    const double finest = fmin(args.step_y, args.step_x);
    for (int k = 0; k < MRO_PATCH_SIZES; k++)
        if (s->diameter_nm[k] / finest + 2 > MRO_PATCH_SPAN)
            return MRO_FAIL(e, MRO_EINTERNAL, "a patch of %g nm spans too many samples of %g nm", s->diameter_nm[k],
                            finest);
    if (n == 0) return MRO_OK;
    struct mro_gpu_room room = { .d = d };
    enum mro_code rc = mro_gpu_give(&room, &args.patches, patches, n, sizeof *patches, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH(d, climb, n, &args, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, patches, args.patches, n * sizeof *patches, e);
    mro_gpu_room_release(&room);
    return rc;
}

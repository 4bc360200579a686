/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fringes brought down to frequency zero, and the slope of their phase. */
#include "kernels/wave.h"
#include "core/wave.h"
#include "gpu/primitives.h"

enum mro_code mro_gpu_demodulate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                 const double g_inv_nm[2], double sigma_inv_nm, const struct mro_grid *out,
                                 struct mro_buffer *h, struct mro_error *e)
{
    struct mro_demodulate_args args = { .s = spectrum->p,
                                        .ny = g->ny,
                                        .nx = g->nx,
                                        .z = h->p,
                                        .out_ny = out->ny,
                                        .out_nx = out->nx,
                                        .unit = 1 / sqrt((double)g->ny * (double)g->nx) };
    MRO_TRY(mro_wave_check(g, g_inv_nm, sigma_inv_nm, out, &args.mask, e));
    MRO_TRY(MRO_LAUNCH_EACH(d, demodulate, out->ny * out->nx, &args, e));
    return mro_gpu_transform(d, MRO_TRANSFORM_BACKWARD, out->ny, out->nx, 1, h->p, h->p, e);
}

enum mro_code mro_gpu_phase_slope(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *h,
                                  struct mro_buffer *slope, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    struct mro_gpu_room room = { .d = d };
    mro_c32 *z = NULL, *dh = NULL;
    enum mro_code rc = mro_gpu_take(&room, &z, n, sizeof *z, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &dh, n, sizeof *dh, e);
    if (rc == MRO_OK) rc = mro_gpu_transform(d, MRO_TRANSFORM_FORWARD, g->ny, g->nx, 1, h->p, z, e);
    for (int axis = 0; axis < 2 && rc == MRO_OK; axis++) {
        const struct mro_derivative_args derivative = { .z = z,
                                                        .to = dh,
                                                        .ny = g->ny,
                                                        .nx = g->nx,
                                                        .length = axis ? g->lx : g->ly,
                                                        .unit = 1 / (double)n,
                                                        .axis = axis };
        const struct mro_slope_args args = { h->p, dh, (float *)slope->p + (size_t)axis * n, n };
        rc = MRO_LAUNCH_EACH(d, derivative, n, &derivative, e);
        if (rc == MRO_OK) rc = mro_gpu_transform(d, MRO_TRANSFORM_BACKWARD, g->ny, g->nx, 1, dh, dh, e);
        if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, slope, n, &args, e);
    }
    mro_gpu_room_release(&room);
    return rc;
}

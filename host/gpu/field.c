/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Primitives on whole planes. */
#include "kernels/field.h"

#include <stdlib.h>

#include "gpu/primitives.h"
#include "mroscope/math/move.h"

enum mro_code mro_gpu_multiply(struct mro_device *d, const struct mro_grid *g, struct mro_buffer *spectrum,
                               const float *gain, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    struct mro_gpu_room room = { .d = d };
    struct mro_multiply_args args = { .s = spectrum->p, .n = n };
    enum mro_code rc = mro_gpu_give(&room, &args.gain, gain, n, sizeof *gain, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, multiply, n, &args, e);
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_correlate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                                const struct mro_buffer *b, struct mro_buffer *out, struct mro_error *e)
{
    const struct mro_correlate_args args = { .a = a->p, .b = b->p, .out = out->p, .n = g->ny * g->nx };
    return MRO_LAUNCH_EACH(d, correlate, args.n, &args, e);
}

enum mro_code mro_gpu_add_moved(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                                const double move_nm[2], double weight, struct mro_buffer *sum, struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct mro_add_moved_args args = { .a = a->p, .sum = sum->p, .ny = g->ny, .nx = g->nx };
    mro_c32 *py = malloc((g->ny + g->nx) * sizeof *py);
    if (py == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
    for (size_t y = 0; y < g->ny; y++) {
        const mro_c32 z = mro_move_phase(y, g->ny, g->ly, move_nm[0]);
        py[y] = (mro_c32){ (float)weight * z.re, (float)weight * z.im };
    }
    for (size_t x = 0; x < g->nx; x++) py[g->ny + x] = mro_move_phase(x, g->nx, g->lx, move_nm[1]);
    enum mro_code rc = mro_gpu_give(&room, &args.py, py, g->ny, sizeof *py, e);
    if (rc == MRO_OK) rc = mro_gpu_give(&room, &args.px, py + g->ny, g->nx, sizeof *py, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, add_moved, g->ny * g->nx, &args, e);
    mro_gpu_room_release(&room);
    free(py);
    return rc;
}

enum mro_code mro_gpu_noise_spectrum(struct mro_device *d, const struct mro_grid *g, uint64_t seed, uint64_t stream,
                                     const double band_inv_nm[2], double edge_inv_nm, struct mro_buffer *spectrum,
                                     struct mro_error *e)
{
    const struct mro_noise_args args = { .s = spectrum->p,
                                         .ny = g->ny,
                                         .nx = g->nx,
                                         .ly = g->ly,
                                         .lx = g->lx,
                                         .seed = seed,
                                         .stream = stream,
                                         .lo = (float)band_inv_nm[0],
                                         .hi = (float)band_inv_nm[1],
                                         .edge = (float)edge_inv_nm };
    MRO_TRY(d->ops->runtime->zero(d, spectrum->p, g->ny * g->nx * sizeof(mro_c32), e));
    return MRO_LAUNCH_EACH(d, noise, mro_noise_items(g->ny, g->nx), &args, e);
}

enum mro_code mro_gpu_inverse(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                              struct mro_buffer *field, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    struct mro_gpu_room room = { .d = d };
    mro_c32 *z;
    enum mro_code rc = mro_gpu_take(&room, &z, n, sizeof *z, e);
    if (rc == MRO_OK) rc = mro_gpu_transform(d, MRO_TRANSFORM_BACKWARD, g->ny, g->nx, 1, spectrum->p, z, e);
    if (rc == MRO_OK) {
        const struct mro_real_part_args args = { .z = z, .f = field->p, .n = n, .unit = (float)(1 / sqrt((double)n)) };
        rc = MRO_LAUNCH_EACH(d, real_part, n, &args, e);
    }
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_forward(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                              struct mro_buffer *spectrum, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    const struct mro_to_complex_args args = {
        .f = field->p, .z = spectrum->p, .n = n, .unit = (float)(1 / sqrt((double)n))
    };
    MRO_TRY(MRO_LAUNCH_EACH(d, to_complex, n, &args, e));
    return mro_gpu_transform(d, MRO_TRANSFORM_FORWARD, g->ny, g->nx, 1, spectrum->p, spectrum->p, e);
}

enum mro_code mro_gpu_local_mean_square(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                        double s_nm, const struct mro_grid *out, struct mro_buffer *mean_square,
                                        struct mro_error *e)
{
    const size_t n = g->ny * g->nx, m = out->ny * out->nx;
    const double reach = 0.8 / s_nm; /* exp(-2 pi^2 0.64) = 3e-6 */
    struct mro_gpu_room room = { .d = d };
    mro_c32 *t, *u;
    enum mro_code rc = mro_gpu_take(&room, &t, n, sizeof *t, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &u, m, sizeof *u, e);
    if (rc) goto done;
    const struct mro_to_complex_args squared = { .f = field->p, .z = t, .n = n, .square = true };
    if ((rc = MRO_LAUNCH_EACH(d, to_complex, n, &squared, e))) goto done;
    if ((rc = mro_gpu_transform(d, MRO_TRANSFORM_FORWARD, g->ny, g->nx, 1, t, t, e))) goto done;
    const struct mro_low_pass_args low_pass = { .t = t,
                                                .ny = g->ny,
                                                .nx = g->nx,
                                                .u = u,
                                                .to_ny = out->ny,
                                                .to_nx = out->nx,
                                                .ly = g->ly,
                                                .lx = g->lx,
                                                .c = 2 * MRO_PI * MRO_PI * s_nm * s_nm,
                                                .hy = (ptrdiff_t)fmin(reach * g->ly, (double)((g->ny - 1) / 2)),
                                                .hx = (ptrdiff_t)fmin(reach * g->lx, (double)((g->nx - 1) / 2)) };
    if ((rc = MRO_LAUNCH_EACH(d, low_pass, m, &low_pass, e))) goto done;
    if ((rc = mro_gpu_transform(d, MRO_TRANSFORM_BACKWARD, out->ny, out->nx, 1, u, u, e))) goto done;
    const struct mro_clamp_args clamp = { .u = u, .r = mean_square->p, .m = m };
    rc = MRO_LAUNCH_EACH(d, clamp, m, &clamp, e);
done:
    mro_gpu_room_release(&room);
    return rc;
}

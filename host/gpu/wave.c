/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fringes brought down to frequency zero, and the slope of their phase. */
#include "kernels/wave.h"
#include "core/wave.h"
#include "gpu/primitives.h"

/* What is summed along an axis, on the device. */
static enum mro_code give_axis(struct mro_gpu_room *r, struct mro_wave_sums *to, const struct mro_wave_axis *a,
                               struct mro_error *e)
{
    *to = (struct mro_wave_sums){ .points = a->points, .taps = a->taps, .span = a->span };
    MRO_TRY(mro_gpu_give(r, &to->begin, a->begin, a->points, sizeof *a->begin, e));
    MRO_TRY(mro_gpu_give(r, &to->weight, a->weight, a->points * a->taps, sizeof *a->weight, e));
    MRO_TRY(mro_gpu_give(r, &to->rise, a->rise, a->points * a->taps, sizeof *a->rise, e));
    return mro_gpu_give(r, &to->turn, a->turn, a->span, sizeof *a->turn, e);
}

enum mro_code mro_gpu_demodulate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                 const double g_inv_nm[2], double sigma_inv_nm, const struct mro_grid *out,
                                 const struct mro_window *window, struct mro_buffer *h, struct mro_buffer *slope,
                                 struct mro_error *e)
{
    struct mro_wave_axes a;
    struct mro_gpu_room room = { .d = d };
    enum mro_code rc = mro_wave_axes_new(&a, g, g_inv_nm, sigma_inv_nm, out, window, e);
    if (rc) goto done;
    const size_t n = window->ny * a.x.span;
    struct mro_wave_rows_args rows = {
        .field = field->p, .ny = g->ny, .nx = g->nx, .columns = a.x.span, .first_y = a.y.first, .first_x = a.x.first
    };
    struct mro_wave_columns_args columns = { .rows = window->ny, .h = h->p, .slope = slope ? slope->p : NULL };
    if ((rc = give_axis(&room, &rows.y, &a.y, e)) || (rc = give_axis(&room, &columns.x, &a.x, e))) goto done;
    if ((rc = mro_gpu_take(&room, &rows.z, n, sizeof *rows.z, e))) goto done;
    if (slope && (rc = mro_gpu_take(&room, &rows.dz, n, sizeof *rows.dz, e))) goto done;
    columns.z = rows.z;
    columns.dz = rows.dz;
    if ((rc = MRO_LAUNCH_EACH(d, wave_rows, n, &rows, e))) goto done;
    rc = MRO_LAUNCH_EACH(d, wave_columns, window->ny * window->nx, &columns, e);
done:
    mro_gpu_room_release(&room);
    mro_wave_axes_release(&a);
    return rc;
}

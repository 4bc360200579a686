/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Local power of a spectrum, and the bank of windowed spectra. */
#include <stdlib.h>

#include "core/bank.h"
#include "gpu/primitives.h"
#include "kernels/bank.h"
#include "kernels/lattice.h"

#define BATCH_BYTES ((size_t)256 << 20) /* of windowed spectra at once: enough to fill a card */

enum mro_code mro_gpu_local_power(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                  const float *model, double radius_inv_nm, double lo, double hi,
                                  struct mro_buffer *power, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    const struct mro_lattice l = mro_lattice_of(g->ny, g->nx, g->ly, g->lx, radius_inv_nm, lo, hi);
    const size_t points = mro_lattice_points(&l);
    struct mro_gpu_room room = { .d = d };
    struct mro_power_args of = { .s = spectrum->p, .n = n };
    struct mro_disc_median_args median = { .l = l };
    struct mro_lattice_smooth_args smooth = { .l = l };
    enum mro_code rc = MRO_OK;
    if (2 * radius_inv_nm * g->ly + 3 > MRO_DISC_ROWS)
        return MRO_FAIL(e, MRO_EDATA, "a field of %.0f nm is more than the %d rows of a disc of %g nm^-1 hold", g->ly,
                        MRO_DISC_ROWS, radius_inv_nm);
    if (model && (rc = mro_gpu_give(&room, &of.model, model, n, sizeof *model, e))) goto done;
    if ((rc = mro_gpu_take(&room, &of.p, n, sizeof *of.p, e))) goto done;
    if ((rc = mro_gpu_take(&room, &median.v, points, sizeof *median.v, e))) goto done;
    if ((rc = mro_gpu_take(&room, &smooth.smooth, points, sizeof *smooth.smooth, e))) goto done;
    if ((rc = MRO_LAUNCH_EACH(d, power, n, &of, e))) goto done;
    median.p = of.p;
    if ((rc = MRO_LAUNCH(d, disc_median, (size_t)(l.half + 1) * (size_t)(2 * l.half + 1), &median, e))) goto done;
    smooth.v = median.v;
    for (ptrdiff_t i = 0; i <= l.reach; i++) smooth.bell[i] = exp(-0.5 * (double)(i * i) / (l.sigma * l.sigma));
    if ((rc = MRO_LAUNCH_EACH(d, lattice_smooth, points, &smooth, e))) goto done;
    const struct mro_lattice_spread_args spread = { l, smooth.smooth, of.model, power->p };
    rc = MRO_LAUNCH_EACH(d, lattice_spread, n, &spread, e);
done:
    mro_gpu_room_release(&room);
    return rc;
}

struct bank_job {
    struct mro_device *d;
    struct mro_bank_gather_args gather; /* all but the batch */
    struct mro_bank_largest_args largest;
};

static enum mro_code run_bank(void *context, size_t batch, struct mro_error *e)
{
    struct bank_job *j = context;
    struct mro_gpu_room room = { .d = j->d };
    const size_t ny = j->gather.out_ny, nx = j->gather.out_nx;
    enum mro_code rc = mro_gpu_take(&room, &j->gather.z, batch * ny * nx, sizeof(mro_c32), e);
    /* Batches of one size, so that one plan serves all; the last may reach past the end. */
    for (size_t first = 0; rc == MRO_OK && first < j->gather.n_g; first += batch) {
        j->gather.first = j->largest.first = first;
        j->gather.count = j->largest.count = batch;
        j->largest.z = j->gather.z;
        rc = MRO_LAUNCH_EACH(j->d, bank_gather, batch * ny * nx, &j->gather, e);
        if (rc == MRO_OK)
            rc = mro_gpu_transform(j->d, MRO_TRANSFORM_BACKWARD, ny, nx, batch, j->gather.z, j->gather.z, e);
        if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(j->d, bank_largest, ny * nx, &j->largest, e);
    }
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_bank_maximum(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                   const struct mro_bank *bank, const struct mro_grid *out, struct mro_buffer *power,
                                   struct mro_buffer *which, struct mro_error *e)
{
    const struct mro_bank_window window = mro_bank_window_of(bank, g);
    const size_t plane = out->ny * out->nx;
    struct mro_gpu_room room = { .d = d };
    struct mro_bank_weights_args weights = {
        .n_g = bank->n_g, .ly = g->ly, .lx = g->lx, .c = window.c, .hy = window.hy, .hx = window.hx
    };
    enum mro_code rc = MRO_OK;
    double *scale = malloc(bank->n_g * sizeof *scale);
    if (scale == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a bank of %zu wave vectors", bank->n_g);
    mro_bank_scales(bank, g, scale);
    if ((rc = mro_gpu_give(&room, &weights.g, bank->g, bank->n_g, sizeof *bank->g, e))) goto done;
    if ((rc = mro_gpu_give(&room, &weights.scale, scale, bank->n_g, sizeof *scale, e))) goto done;
    if ((rc = mro_gpu_take(&room, &weights.wy, bank->n_g * (size_t)(2 * window.hy + 1), sizeof(float), e))) goto done;
    if ((rc = mro_gpu_take(&room, &weights.wx, bank->n_g * (size_t)(2 * window.hx + 1), sizeof(float), e))) goto done;
    if ((rc = MRO_LAUNCH_EACH(d, bank_weights, mro_bank_weights_items(bank->n_g, window.hy, window.hx), &weights, e)))
        goto done;
    struct bank_job job = {
        .d = d,
        .gather = { .s = spectrum->p,
                    .ny = g->ny,
                    .nx = g->nx,
                    .ly = g->ly,
                    .lx = g->lx,
                    .g = weights.g,
                    .wy = weights.wy,
                    .wx = weights.wx,
                    .n_g = bank->n_g,
                    .hy = window.hy,
                    .hx = window.hx,
                    .out_ny = out->ny,
                    .out_nx = out->nx },
        .largest = { .n = plane, .n_g = bank->n_g, .power = power->p, .which = which->p },
    };
    const size_t fit = BATCH_BYTES / (plane * sizeof(mro_c32)), most = fit ? fit : 1;
    const size_t batches = (bank->n_g + most - 1) / most;
    rc = mro_gpu_halving(run_bank, &job, (bank->n_g + batches - 1) / batches, e);
done:
    free(scale);
    mro_gpu_room_release(&room);
    return rc;
}

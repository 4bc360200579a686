/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From counts to the spectrum of the contrast, and the plain band-pass. */
#include <stdlib.h>

#include "gpu/primitives.h"
#include "kernels/contrast.h"

/* The image without spikes; adds their number to *spikes on the device. */
static enum mro_code despike(struct mro_device *d, const float *px, size_t ny, size_t nx, float *clean,
                             uint32_t *spikes, struct mro_error *e)
{
    const size_t rows = (ny - 2 + MRO_SPIKE_ROW_STEP - 1) / MRO_SPIKE_ROW_STEP, n = rows * nx;
    struct mro_gpu_room room = { .d = d };
    struct mro_residuals_args residuals = { .px = px, .nx = nx, .rows = rows };
    struct mro_spike_threshold_args threshold = { .n = n };
    float *sorted = NULL;
    enum mro_code rc = mro_gpu_take(&room, &residuals.r, n, sizeof(float), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &sorted, n, sizeof(float), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &threshold.threshold, 1, sizeof(float), e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_PIECES(d, residuals, rows, nx, &residuals, e);
    if (rc == MRO_OK) rc = d->ops->runtime->sort(d, residuals.r, sorted, n, e);
    threshold.sorted = sorted;
    if (rc == MRO_OK) rc = MRO_LAUNCH(d, spike_threshold, 1, &threshold, e);
    const struct mro_despike_args args = {
        .px = px, .threshold = threshold.threshold, .ny = ny, .nx = nx, .clean = clean, .spikes = spikes
    };
    if (rc == MRO_OK) rc = MRO_LAUNCH_PIECES(d, despike, ny, nx, &args, e);
    mro_gpu_room_release(&room);
    return rc;
}

/* Smooths a plane of blocks in place along both axes. */
static enum mro_code smooth(struct mro_device *d, double *plane, double *work, size_t ny, size_t nx,
                            const double sigma[2], struct mro_error *e)
{
    for (int axis = 0; axis < 2; axis++) {
        struct mro_gpu_room room = { .d = d };
        const ptrdiff_t reach = (ptrdiff_t)ceil(4 * sigma[axis]);
        double *bell = malloc((size_t)(reach + 1) * sizeof *bell);
        if (bell == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        for (ptrdiff_t i = 0; i <= reach; i++) bell[i] = exp(-0.5 * (double)(i * i) / (sigma[axis] * sigma[axis]));
        struct mro_bell_args args = {
            .from = axis ? work : plane, .to = axis ? plane : work, .ny = ny, .nx = nx, .reach = reach, .axis = axis
        };
        enum mro_code rc = mro_gpu_give(&room, &args.bell, bell, (size_t)reach + 1, sizeof *bell, e);
        if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, bell, ny * nx, &args, e);
        free(bell);
        mro_gpu_room_release(&room);
        MRO_TRY(rc);
    }
    return MRO_OK;
}

/* Means of n blocks for the host, from sums and counts. */
static enum mro_code fetch_means(struct mro_device *d, const double *sum, const double *count, size_t n, double *means,
                                 struct mro_error *e)
{
    double *pixels = malloc(n * sizeof *pixels);
    enum mro_code rc = pixels ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu blocks of pixels", n);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, means, sum, n * sizeof *means, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, pixels, count, n * sizeof *pixels, e);
    for (size_t i = 0; rc == MRO_OK && i < n; i++) means[i] /= pixels[i];
    free(pixels);
    return rc;
}

/* Counts without spikes to contrast, in place. `means` of its blocks for the host, where they are wanted. */
static enum mro_code flatten(struct mro_device *d, float *px, size_t ny, size_t nx, const double pixel_nm[2],
                             double background_nm, double *means, struct mro_error *e)
{
    const struct mro_blocks blocks = mro_background_blocks(ny, nx, pixel_nm, background_nm);
    const size_t block = blocks.side, by = blocks.ny, bx = blocks.nx, n = by * bx;
    const double sigma[2] = { background_nm / pixel_nm[0] / (double)block,
                              background_nm / pixel_nm[1] / (double)block };
    struct mro_gpu_room room = { .d = d };
    struct mro_block_sums_args sums = {
        .px = px, .ny = ny, .nx = nx, .block_y = block, .block_x = block, .blocks_y = by, .blocks_x = bx
    };
    struct mro_local_means_args local = { .n = n };
    double *work;
    enum mro_code rc = mro_gpu_take(&room, &sums.sum, n, sizeof(double), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &sums.count, n, sizeof(double), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &work, n, sizeof(double), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &local.mean, n, sizeof(double), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &local.scale, 1, sizeof *local.scale, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH(d, block_sums, mro_block_sums_blocks(&sums), &sums, e);
    if (rc == MRO_OK && means) rc = fetch_means(d, sums.sum, sums.count, n, means, e);
    if (rc == MRO_OK) rc = smooth(d, sums.sum, work, by, bx, sigma, e);
    if (rc == MRO_OK) rc = smooth(d, sums.count, work, by, bx, sigma, e);
    local.sum = sums.sum;
    local.count = sums.count;
    if (rc == MRO_OK) rc = MRO_LAUNCH(d, local_means, 1, &local, e);
    const struct mro_contrast_args contrast = { .px = px,
                                                .ny = ny,
                                                .nx = nx,
                                                .block = block,
                                                .blocks_y = by,
                                                .blocks_x = bx,
                                                .mean = local.mean,
                                                .scale = local.scale };
    if (rc == MRO_OK) rc = MRO_LAUNCH_PIECES(d, contrast, ny, nx, &contrast, e);
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_contrast_spectrum(struct mro_device *d, const float *px, size_t ny, size_t nx,
                                        const double pixel_nm[2], double background_nm, const struct mro_grid *g,
                                        struct mro_buffer *spectrum, size_t *spikes, double *means, struct mro_error *e)
{
    const size_t n = ny * nx;
    if (ny < 8 || nx < 8) return MRO_FAIL(e, MRO_EDATA, "an image of %zu x %zu pixels is too small to measure", nx, ny);
    struct mro_gpu_room counts = { .d = d }, room = { .d = d };
    float *image, *clean, *along_x, *along_y;
    mro_c32 *half, *hat_x, *hat_y;
    uint32_t *found, replaced = 0;
    enum mro_code rc = mro_gpu_take(&room, &clean, n, sizeof *clean, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &found, 1, sizeof *found, e);
    if (rc == MRO_OK) rc = d->ops->runtime->zero(d, found, sizeof *found, e);
    if (rc == MRO_OK) rc = mro_gpu_give(&counts, &image, px, n, sizeof *px, e);
    if (rc == MRO_OK) rc = despike(d, image, ny, nx, clean, found, e);
    mro_gpu_room_release(&counts); /* its room serves the transform */
    if (rc == MRO_OK) rc = flatten(d, clean, ny, nx, pixel_nm, background_nm, means, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &half, ny * (nx / 2 + 1), sizeof *half, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &along_x, nx, sizeof *along_x, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &along_y, ny, sizeof *along_y, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &hat_x, nx / 2 + 1, sizeof *hat_x, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &hat_y, ny / 2 + 1, sizeof *hat_y, e);
    if (rc) goto done;
    const struct mro_jumps_args jumps = { .px = clean, .ny = ny, .nx = nx, .along_x = along_x, .along_y = along_y };
    if ((rc = MRO_LAUNCH_EACH(d, jumps, ny + nx, &jumps, e))) goto done;
    if ((rc = mro_gpu_transform(d, MRO_TRANSFORM_REAL, 1, nx, 1, along_x, hat_x, e))) goto done;
    if ((rc = mro_gpu_transform(d, MRO_TRANSFORM_REAL, 1, ny, 1, along_y, hat_y, e))) goto done;
    if ((rc = mro_gpu_transform(d, MRO_TRANSFORM_REAL, ny, nx, 1, clean, half, e))) goto done;
    const struct mro_crop_args crop = { .half = half,
                                        .along_x = hat_x,
                                        .along_y = hat_y,
                                        .ny = ny,
                                        .nx = nx,
                                        .out_ny = g->ny,
                                        .out_nx = g->nx,
                                        .out = spectrum->p };
    if ((rc = d->ops->runtime->zero(d, spectrum->p, g->ny * g->nx * sizeof(mro_c32), e))) goto done;
    if ((rc = MRO_LAUNCH_EACH(d, crop, mro_crop_items(g->ny, g->nx), &crop, e))) goto done;
    if (spikes) {
        rc = mro_gpu_fetch(d, &replaced, found, sizeof replaced, e);
        *spikes = replaced;
    }
done:
    mro_gpu_room_release(&room);
    return rc;
}

/* Mean of the finite pixels of an image on the device. */
static enum mro_code mean_of(struct mro_device *d, const float *px, size_t ny, size_t nx, float *mean,
                             struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct mro_row_sums_args args = { .px = px, .nx = nx };
    double *host = malloc(2 * ny * sizeof *host), sum = 0, count = 0;
    enum mro_code rc = host ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu rows", ny);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &args.sum, 2 * ny, sizeof *host, e);
    args.count = args.sum + ny;
    if (rc == MRO_OK) rc = MRO_LAUNCH(d, row_sums, ny, &args, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, host, args.sum, 2 * ny * sizeof *host, e);
    for (size_t y = 0; rc == MRO_OK && y < ny; y++) {
        sum += host[y];
        count += host[ny + y];
    }
    if (rc == MRO_OK && count == 0) rc = MRO_FAIL(e, MRO_EDATA, "the image has no finite pixel");
    *mean = (float)(sum / count);
    free(host);
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_bandpass(struct mro_device *d, const float *px, size_t ny, size_t nx, const double pixel_nm[2],
                               const double band_inv_nm[2], double edge_inv_nm, float *out, struct mro_error *e)
{
    const size_t n = ny * nx, kept = nx / 2 + 1;
    struct mro_gpu_room room = { .d = d };
    struct mro_centre_args centre = { .n = n };
    mro_c32 *half = NULL;
    enum mro_code rc = mro_gpu_give(&room, &centre.px, px, n, sizeof *px, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &centre.out, n, sizeof *centre.out, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &half, ny * kept, sizeof *half, e);
    if (rc == MRO_OK) rc = mean_of(d, centre.px, ny, nx, &centre.mean, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, centre, n, &centre, e);
    if (rc == MRO_OK) rc = mro_gpu_transform(d, MRO_TRANSFORM_REAL, ny, nx, 1, centre.out, half, e);
    const struct mro_pass_args pass = { .half = half,
                                        .ny = ny,
                                        .nx = nx,
                                        .ly = (double)ny * pixel_nm[0],
                                        .lx = (double)nx * pixel_nm[1],
                                        .lo = (float)band_inv_nm[0],
                                        .hi = (float)band_inv_nm[1],
                                        .edge = (float)edge_inv_nm };
    if (rc == MRO_OK) rc = MRO_LAUNCH_PIECES(d, pass, ny, kept, &pass, e);
    if (rc == MRO_OK) rc = mro_gpu_transform(d, MRO_TRANSFORM_REAL_BACKWARD, ny, nx, 1, half, centre.out, e);
    const struct mro_blank_args blank = { .px = centre.px, .out = centre.out, .n = n };
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, blank, n, &blank, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, out, centre.out, n * sizeof *out, e);
    mro_gpu_room_release(&room);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The smooth background of an image, histograms, regions beyond a threshold and sums along a line. */
#include <stdlib.h>

#include "gpu/primitives.h"
#include "kernels/contrast.h"
#include "kernels/region.h"

enum mro_code mro_gpu_block_sums(struct mro_device *d, const struct mro_buffer *image, size_t ny, size_t nx,
                                 const size_t block[2], double *sum, double *count, struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct mro_block_sums_args args = { .px = image->p,
                                        .ny = ny,
                                        .nx = nx,
                                        .block_y = block[0],
                                        .block_x = block[1],
                                        .blocks_y = (ny + block[0] - 1) / block[0],
                                        .blocks_x = (nx + block[1] - 1) / block[1] };
    const size_t n = args.blocks_y * args.blocks_x;
    enum mro_code rc = mro_gpu_take(&room, &args.sum, n, sizeof *sum, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &args.count, n, sizeof *count, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH(d, block_sums, mro_block_sums_blocks(&args), &args, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, sum, args.sum, n * sizeof *sum, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, count, args.count, n * sizeof *count, e);
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_divide_polynomial(struct mro_device *d, struct mro_buffer *image, size_t ny, size_t nx,
                                        double offset, int degree, const double *c, const size_t block[2],
                                        const unsigned char *keep, float *lowest, struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct mro_divide_args args = { .px = image->p,
                                    .ny = ny,
                                    .nx = nx,
                                    .block_y = block[0],
                                    .block_x = block[1],
                                    .blocks_x = (nx + block[1] - 1) / block[1],
                                    .offset = (float)offset,
                                    .degree = degree };
    const size_t terms = (size_t)(degree + 1) * (size_t)(degree + 2) / 2, basis = (size_t)(degree + 1) * nx;
    float *host = malloc((basis > ny ? basis : ny) * sizeof *host);
    enum mro_code rc =
        host ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for the background of %zu x %zu", nx, ny);
    for (size_t k = 0; k < terms; k++) args.c[k] = c[k];
    for (size_t x = 0; host && x < nx; x++) {
        double p[MRO_LEGENDRE_MOST + 1];
        mro_legendre(mro_legendre_at(x, nx), degree, p);
        for (int l = 0; l <= degree; l++) host[(size_t)l * nx + x] = (float)p[l];
    }
    if (rc == MRO_OK) rc = mro_gpu_give(&room, &args.basis, host, basis, sizeof *host, e);
    if (rc == MRO_OK && keep)
        rc = mro_gpu_give(&room, &args.keep, keep, (ny + block[0] - 1) / block[0] * args.blocks_x, 1, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &args.lowest, ny, sizeof *host, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH(d, divide, ny, &args, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, host, args.lowest, ny * sizeof *host, e);
    *lowest = INFINITY;
    for (size_t y = 0; rc == MRO_OK && y < ny; y++) *lowest = fminf(*lowest, host[y]);
    free(host);
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_histogram(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                                size_t n, float lo, float step, size_t bins, uint32_t *counts, struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct mro_count_values_args args = {
        .field = field->p, .mask = mask ? mask->p : NULL, .n = n, .bins = bins, .lo = lo, .per = 1 / step
    };
    enum mro_code rc = mro_gpu_take(&room, &args.counts, bins, sizeof *counts, e);
    if (rc == MRO_OK) rc = d->ops->runtime->zero(d, args.counts, bins * sizeof *counts, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, count_values, n, &args, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, counts, args.counts, bins * sizeof *counts, e);
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_regions(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                              size_t ny, size_t nx, float level, bool above, size_t least, struct mro_region_sums *sums,
                              struct mro_error *e)
{
    const size_t n = ny * nx;
    struct mro_gpu_room room = { .d = d };
    uint32_t *label, *size, *found, host[2] = { 0, 0 };
    enum mro_code rc = mro_gpu_take(&room, &label, n, sizeof *label, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &size, n, sizeof *size, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &found, 2, sizeof *found, e);
    if (rc == MRO_OK) rc = d->ops->runtime->zero(d, size, n * sizeof *size, e);
    if (rc == MRO_OK) rc = d->ops->runtime->zero(d, found, 2 * sizeof *found, e);
    if (rc) goto done;
    const struct mro_label_start_args start = { .field = field->p,
                                                .mask = mask ? mask->p : NULL,
                                                .label = label,
                                                .samples = found + 1,
                                                .ny = ny,
                                                .nx = nx,
                                                .level = level,
                                                .above = above };
    const struct mro_label_merge_args merge = { .label = label, .ny = ny, .nx = nx };
    const struct mro_label_sizes_args sizes = { .label = label, .size = size, .ny = ny, .nx = nx };
    const struct mro_label_count_args count = { .size = size, .count = found, .n = n, .least = least };
    rc = MRO_LAUNCH_PIECES(d, label_start, ny, nx, &start, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_PIECES(d, label_merge, ny, nx, &merge, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_PIECES(d, label_sizes, ny, nx, &sizes, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, label_count, n, &count, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, host, found, sizeof host, e);
done:
    sums->count = host[0];
    sums->samples = host[1];
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_strip_sums(struct mro_device *d, const struct mro_buffer *maps, size_t n_maps, size_t ny,
                                 size_t nx, const struct mro_strip *s, double *sums, double *pixels,
                                 struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct mro_strip_valid_args valid = { .maps = maps->p, .n_maps = n_maps, .n = ny * nx };
    struct mro_strip_bins_args args = { .ny = ny, .nx = nx, .strip = *s };
    double *out = NULL;
    enum mro_code rc = mro_gpu_take(&room, &valid.valid, valid.n, 1, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &out, (n_maps + 1) * s->bins, sizeof *out, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, strip_valid, valid.n, &valid, e);
    args.valid = valid.valid;
    for (size_t k = 0; k <= n_maps && rc == MRO_OK; k++) {
        args.map = k < n_maps ? (const float *)maps->p + k * valid.n : NULL;
        args.sum = out + k * s->bins;
        rc = MRO_LAUNCH(d, strip_bins, s->bins, &args, e);
    }
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, sums, out, n_maps * s->bins * sizeof *out, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, pixels, out + n_maps * s->bins, s->bins * sizeof *out, e);
    mro_gpu_room_release(&room);
    return rc;
}

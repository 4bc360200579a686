/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Azimuthal sums of frames that lie on the device. */
#include "kernels/azimuth.h"
#include "gpu/primitives.h"

#define BLOCKS_MOST ((size_t)1 << 30) /* of one launch */

enum mro_code mro_gpu_ring_sums(struct mro_device *d, const struct mro_ring_map *t, const struct mro_buffer *frames,
                                size_t n_frames, const struct mro_buffer *limits, struct mro_buffer *sums,
                                struct mro_error *e)
{
    const size_t pieces = t->n_sectors * t->n_rings, slices = mro_ring_slices(t);
    const size_t lanes = t->n_sectors * slices * MRO_RING_LANES, blocks = mro_ring_sums_blocks(lanes);
    const size_t at_once = BLOCKS_MOST / blocks ? BLOCKS_MOST / blocks : 1;
    for (size_t k = 0; k < n_frames; k += at_once) {
        const size_t n = n_frames - k < at_once ? n_frames - k : at_once;
        const struct mro_ring_sums_args args = {
            .frames = (const float *)frames->p + k * t->frame_pixels,
            .limits = limits ? (const float *)limits->p + 2 * k * t->n_rings : NULL,
            .first = t->first.p,
            .count = t->count.p,
            .pixel = t->pixel.p,
            .fraction = t->fraction.p,
            .frame_pixels = t->frame_pixels,
            .n_rings = t->n_rings,
            .pieces = pieces,
            .lanes = lanes,
            .slices = slices,
            .sums = (struct mro_ring_sums *)sums->p + k * pieces,
        };
        MRO_TRY(MRO_LAUNCH(d, ring_sums, n * blocks, &args, e));
    }
    return MRO_OK;
}

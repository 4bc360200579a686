/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From numbers to pixels for figures: order statistics, resampling, colour maps.
 *
 * Arrays are y, x; value (x, y) is v[y * nx + x]. NaN = no value there. No function here fails but for
 * memory, none keeps state; all are safe from any thread.
 */
#ifndef MRO_REPORT_RASTER_H
#define MRO_REPORT_RASTER_H

#include <stdbool.h>
#include <stddef.h>

#include "mroscope/error.h"

/* Quantiles of the finite values of v[0..n): q holds k shares in [0, 1], out receives k values,
 * linearly interpolated between order statistics at rank q * (m - 1), m = finite values (the default
 * of R and numpy). All NaN when nothing is finite. MRO_EMEMORY when the copy does not fit. */
enum mro_code mro_quantiles(const float *v, size_t n, const double *q, size_t k, double *out, struct mro_error *e);

/* Blocks that bring `n` samples to at most `limit`: the smallest whole k with ceil(n / k) <= limit.
 * Whole blocks, because fractional ones give noise a beat of its own. */
size_t mro_block_factor(size_t n, size_t limit);

/* Mean over blocks of kx by ky pixels, finite pixels only (a block with none gives NaN); blocks at the
 * right and lower border hold what is left. Rows of src are `pitch` floats apart. dst holds ceil(ny / ky) * ceil(nx /
 * kx) values. */
void mro_area_average(const float *src, size_t pitch, size_t ny, size_t nx, size_t ky, size_t kx, float *dst);

/* Finer grid for band-limited data: every sample becomes k by k (Lanczos kernel, 3 lobes, weights
 * normalised over finite samples; NaN stays NaN). dst holds (ny * k) * (nx * k) values.
 * MRO_EMEMORY when the intermediate does not fit. */
enum mro_code mro_upsample(const float *src, size_t ny, size_t nx, size_t k, float *dst, struct mro_error *e);

/* Every sample becomes ky by kx equal ones. dst holds (ny * ky) * (nx * kx) values. */
void mro_repeat(const float *src, size_t ny, size_t nx, size_t ky, size_t kx, float *dst);

struct mro_colour {
    unsigned char r, g, b;
};

/* A colour map is its control points at equal distances from 0 to 1, linear in between. */
struct mro_colour_map {
    const struct mro_colour *point;
    size_t n;
};
extern const struct mro_colour_map mro_map_grey, mro_map_score, mro_map_diverging;

/* Colour at t; below 0 and above 1 the end colours. t must not be NaN. */
struct mro_colour mro_colour_at(const struct mro_colour_map *map, double t);

/* Paints v from lo (t = 0) to hi (t = 1) as n RGBA pixels of 4 bytes; NaN becomes transparent black.
 * lo = hi paints the middle of the map. */
void mro_paint(const float *v, size_t n, double lo, double hi, const struct mro_colour_map *map, unsigned char *rgba);

#endif

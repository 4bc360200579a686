/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Spikes of an image: pixels that are further from the median of the 3 x 3 around them than a threshold. Rows are
 * looked at part by part: what is computed of a part stays in the first level of cache. */
#ifndef MRO_CPU_SPIKES_H
#define MRO_CPU_SPIKES_H

#include <stddef.h>

enum { MRO_SPIKE_PART = 192 }; /* columns of a part */

/* How many rows of an image the threshold is told from. */
size_t mro_spike_rows(size_t ny);

/* The threshold, from the scale of |pixel - local median| over these rows; 0 when it cannot be told: there are no
 * spikes then. `v` is room for nx numbers of each. */
float mro_spike_threshold_of(const float *px, size_t ny, size_t nx, int threads, float *v);

/* Columns [from, to) of row y with their spikes replaced; how many there were. */
size_t mro_spike_replace(const float *px, size_t y, size_t ny, size_t nx, size_t from, size_t to, float threshold,
                         float *out);

/* Sums of rows [y0, y1) without their spikes, and of how many, for up to a part's columns from `from` on. Tells which
 * rows have spikes there, at spiked[y * parts]; how many spikes there are. */
size_t mro_spike_sums(const float *px, size_t ny, size_t nx, size_t from, size_t y0, size_t y1, float threshold,
                      unsigned char *spiked, size_t parts, float *sums, float *counts);

#endif

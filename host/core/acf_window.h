/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the windowed autocorrelation needs before it sees a field: the window, the lags, the kernels of the fringe
 * score. The same for every backend.
 *
 * Wiener and Khinchin: the autocorrelation is the transform of the windowed power, so only that power is kept, and
 * lags are evaluated from it directly, at any spacing. */
#ifndef MRO_CORE_ACF_WINDOW_H
#define MRO_CORE_ACF_WINDOW_H

#include "core/backend.h"

#define MRO_ACF_DIRECTIONS 36 /* 5 degrees apart; a fringe's third maximum is 14 degrees wide */

/* A round Hann window around the origin, (2 hy + 1) x (2 hx + 1) samples, and its zero-padded transform. */
struct mro_acf_window {
    ptrdiff_t hy, hx;
    size_t ny, nx, half; /* transform; half = nx / 2 + 1 columns of the half plane */
    double step_y, step_x;
    float *w; /* owned */
    double sum;
};

/* False when out of memory. Release with mro_acf_window_release. */
bool mro_acf_window_new(struct mro_acf_window *v, const struct mro_grid *g, double width_nm);
void mro_acf_window_release(struct mro_acf_window *v);

/* The window laid around sample (0, 0) of its padded plane of ny * nx numbers, imaginary part 0. */
void mro_acf_window_plane(const struct mro_acf_window *v, mro_c32 *plane);

/* Transform of a power over the half plane at n x n lags step_nm apart, lag 0 in the middle: tables of cosines and
 * sines, n * ny along y and n * half along x. */
struct mro_acf_lags {
    size_t n;
    double *cy, *sy, *cx, *sx; /* owned */
};
bool mro_acf_lags_new(struct mro_acf_lags *l, const struct mro_acf_window *v, size_t n, double step_nm);
void mro_acf_lags_release(struct mro_acf_lags *l);

/* An estimate of the autocorrelation from `seen` and that of the window itself (`own`), both with their values at lag 0
 * in `seen_zero` and `own_zero`; NaN where hardly any pair of samples is that far apart. */
static inline float mro_acf_estimate(double seen, double seen_zero, double own, double own_zero)
{
    const double overlap = own / own_zero;
    return overlap > 0.01 && seen_zero > 0 ? (float)(seen / seen_zero / overlap) : NAN;
}

/* The fringe score is linear in the power: for each of MRO_ACF_DIRECTIONS the kernel, ny * half numbers, whose product
 * with the power over the sum of the power is that direction's score; the score is the largest. `power`: that of the
 * window itself. free() the result; NULL when out of memory. */
float *mro_acf_fringe_kernels(const struct mro_acf_window *v, const float *power, const double d_range_nm[2]);

#endif

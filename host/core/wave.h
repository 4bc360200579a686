/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every backend demodulates fringes with: along each axis which samples are summed around each point, and how. */
#ifndef MRO_CORE_WAVE_H
#define MRO_CORE_WAVE_H

#include "core/backend.h"
#include "mroscope/math/wave.h"

/* One axis of a window of points. */
struct mro_wave_axis {
    size_t samples;      /* of the field, which is periodic */
    size_t points, taps; /* of the window; samples that are summed around each point, an even number */
    ptrdiff_t first;     /* sample that the sum of the first point begins with */
    size_t span;         /* samples from there to the last one of the last point */
    uint32_t *begin;     /* [points]: sample that each sum begins with, counted from `first` */
    float *weight;       /* [points][taps] of the Gaussian */
    float *rise;         /* [points][taps] of its derivative by the place of the point, per nm */
    mro_c32 *turn;       /* [span]: what brings the fringes down */
};

struct mro_wave_axes {
    struct mro_wave_axis y, x;
};

/* Of a call of `demodulate`. Release them, also after MRO_EMEMORY. */
enum mro_code mro_wave_axes_new(struct mro_wave_axes *a, const struct mro_grid *g, const double g_inv_nm[2],
                                double sigma_inv_nm, const struct mro_grid *out, const struct mro_window *window,
                                struct mro_error *e);
void mro_wave_axes_release(struct mro_wave_axes *a);

#endif

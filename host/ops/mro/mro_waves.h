/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waves that fill a field, in its pixels. */
#ifndef MRO_OPS_MRO_WAVES_H
#define MRO_OPS_MRO_WAVES_H

#include "ops/mro/mro_interference.h"

/* Looks whether a wave is as strong, and in phase, all over an image: interference is, and ordered regions are not.
 * Where it is, *taken, its frequency is set right, and it is taken out of *px, a copy of the image's pixels, which is
 * made where that is NULL; `sure`: without looking; but for blemishes, which do not show it. `g`: of the spectrum that
 * w->power is told from. MRO_EMEMORY only. */
enum mro_code mro_wave_take_out(const struct mro_image *im, const struct mro_blemishes *m, const struct mro_grid *g,
                                bool sure, int threads, struct mro_wave *w, float **px, bool *taken,
                                struct mro_error *e);

#endif

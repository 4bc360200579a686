/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waves that fill a field, in its pixels. */
#ifndef MRO_OPS_MRO_WAVES_H
#define MRO_OPS_MRO_WAVES_H

#include "ops/mro/mro_interference.h"

#define MRO_WAVE_FILLS \
    (1 / 1.1) /* share of a field that shows a wave which varies as little over it as is allowed for */

enum mro_wave_deed { MRO_WAVE_LOOK, MRO_WAVE_TAKE_WHERE_IT_FILLS, MRO_WAVE_TAKE };

/* Looks whether a wave is as strong, and in phase, all over an image, whose pixels are *px where that is not NULL:
 * interference is, and ordered regions are not. Where it is, *fills, and its frequency is set right. Then, or in any
 * case, it is taken out of *px, a copy of the image's pixels, which is made where that is NULL, but for blemishes,
 * which do not show it. `g`: of the spectrum that w->power is told from. MRO_EMEMORY only. */
enum mro_code mro_wave_take_out(const struct mro_image *im, const struct mro_blemishes *m, const struct mro_grid *g,
                                enum mro_wave_deed deed, int threads, struct mro_wave *w, float **px, bool *fills,
                                struct mro_error *e);

#endif

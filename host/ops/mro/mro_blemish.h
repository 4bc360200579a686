/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What lies in an image and is no specimen: edges as sharp as a pixel, and patches of one value. */
#ifndef MRO_OPS_MRO_BLEMISH_H
#define MRO_OPS_MRO_BLEMISH_H

#include "mroscope/image.h"
#include "mroscope/math/contrast.h"

enum mro_blemish { MRO_SOUND = 0, MRO_CONSTANT, MRO_SHARP };

/* A step of brightness, a bar, text or dust has power at every spatial frequency, the pass band's too, in phase at its
 * edge: whatever its spectrum is divided by, it looks as ordered as a crystal. So blocks of pixels that hold such a
 * thing are left out, as missing pixels are, and filled so that nothing sharp stays. */
struct mro_blemishes {
    struct mro_blocks blocks;
    unsigned char *of;      /* enum mro_blemish of every block; owned */
    double constant, sharp; /* shares of the pixels */
};

/* Looks for them in an image of the given `means` over blocks of pixels, without its `spikes` (NaN = no data). Fringes
 * of `band_inv_nm` or above do not count. *px: the image with blemishes filled in, to be freed; what the caller has put
 * there, the pixels of `im`, is written to, and NULL stays where there are none. MRO_EMEMORY only. Release `m` in any
 * case. */
enum mro_code mro_blemishes_find(const struct mro_image *im, const double pixel_nm[2], const double band_inv_nm[2],
                                 const struct mro_blocks *blocks, const double *means, size_t spikes,
                                 struct mro_blemishes *m, float **px, struct mro_error *e);
void mro_blemishes_release(struct mro_blemishes *b);

#endif

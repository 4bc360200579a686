/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a bank of Gabor filters needs before it sees a spectrum; the same for every backend. */
#ifndef MRO_CORE_BANK_H
#define MRO_CORE_BANK_H

#include "core/backend.h"

/* The filters' window in Fourier space is exp(-c |q - g|^2), cut at |qy|, |qx| <= reach of g: 2 hy + 1 rows and
 * 2 hx + 1 columns of the grid. At the cut 7e-3 of the amplitude is left. */
struct mro_bank_window {
    double c, reach;
    ptrdiff_t hy, hx;
};
struct mro_bank_window mro_bank_window_of(const struct mro_bank *b, const struct mro_grid *g);

/* For each wave vector the factor that turns the window's sum into units of what white noise in the band gives.
 * `scale` holds b->n_g numbers. */
void mro_bank_scales(const struct mro_bank *b, const struct mro_grid *g, double *scale);

#endif

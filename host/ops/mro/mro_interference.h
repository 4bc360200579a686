/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the instrument or the file adds to all of a field: waves of one spatial frequency, and noise of whole rows or
 * columns. */
#ifndef MRO_OPS_MRO_INTERFERENCE_H
#define MRO_OPS_MRO_INTERFERENCE_H

#include "ops/mro/mro_internal.h"

enum { MRO_WAVES = 24 };     /* that are taken out of an image, at most */
enum { MRO_WAVE_TERMS = 6 }; /* of the polynomial that amplitude and phase of one follow over the field */

/* A wave over the whole field. */
struct mro_wave {
    double gy, gx; /* nm^-1, gx >= 0 */
    double power;  /* over that of the speckle at its frequency, as one coefficient of the spectrum would have it */
};

struct mro_interference {
    struct mro_wave waves[MRO_WAVES]; /* taken out so far */
    size_t n;
    struct mro_wave lattice[3]; /* of a crystal that fills the field, left where they are, */
    size_t n_lattice;           /* two or three; 0: none */
    size_t lines[2]; /* the spectrum holds noise of rows up to so many columns from its axis, and noise of columns */
    size_t on_lines; /* coefficients there, within the band of half a plane; */
    size_t band;     /* all of these */
};

/* Looks for noise of rows and columns in a spectrum, given the power that speckle has there; both on the host. Fills in
 * f->lines and f->on_lines. */
void mro_interference_lines(const struct mro_grid *g, const mro_c32 *spectrum, const float *power,
                            const struct mro_annuli *annuli, struct mro_interference *f);

/* Then looks for waves, and takes them out of *px, the pixels that the spectrum is of: NULL for those of `im`, of which
 * *px becomes a copy. Where they make a lattice they are of a crystal, and stay. `m`: blocks that show nothing of the
 * field. Adds to f->waves or fills in f->lattice; *more: whether pixels were changed. MRO_EMEMORY only. */
enum mro_code mro_interference_waves(const struct mro_grid *g, const mro_c32 *spectrum, const float *power,
                                     const struct mro_annuli *annuli, const struct mro_image *im,
                                     const struct mro_blemishes *m, int threads, struct mro_interference *f, float **px,
                                     bool *more, struct mro_error *e);

/* Takes noise of rows and columns out of the gains that whiten the spectrum. */
void mro_interference_notch(const struct mro_grid *g, const struct mro_interference *f, float *gain);

/* Share of the coefficients in the band that were taken out. */
double mro_interference_share(const struct mro_interference *f);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Power by spatial frequency, ring by ring, and what describes it. */
#ifndef MRO_OPS_SPECTRUM_FIT_H
#define MRO_OPS_SPECTRUM_FIT_H

#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"

/* Rings of equal width in spatial frequency. Power per mode. `{0}` is empty. */
struct mro_rings {
    double step; /* nm^-1; ring i is centred near (i + 1/2) step */
    size_t n;
    double *q, *power, *modes; /* mean frequency, mean power, independent modes (half of the plane) */
};
void mro_rings_release(struct mro_rings *r);

/* Power at q, linear between rings. */
double mro_rings_at(const struct mro_rings *r, double q);

/* Spectra that fall, and the one of a quasi-periodic structure. */
enum mro_spectrum_kind { MRO_SPECTRUM_POWER, MRO_SPECTRUM_STRETCHED, MRO_SPECTRUM_TEUBNER, MRO_SPECTRUM_KINDS };
struct mro_spectrum_fit {
    enum mro_spectrum_kind kind;
    double p[3];
    double aicc;
};

/* Fits one kind (noise added) to the rings with lo <= q <= hi by Whittle's likelihood. */
void mro_spectrum_fit(const struct mro_rings *r, double noise, double lo, double hi, enum mro_spectrum_kind kind,
                      struct mro_spectrum_fit *f);

/* Wavelength 1/q and decay length of a Teubner-Strey fit; NaN when it has no peak. */
void mro_teubner_lengths(const struct mro_spectrum_fit *f, double *wavelength, double *decay);

/* The falling spectrum (signal and noise) that describes the rings with lo <= q <= hi best, without any shape assumed:
 * `model` (r->n values) receives it; rings outside keep the nearest value. MRO_EMEMORY. */
enum mro_code mro_spectrum_falling(const struct mro_rings *r, double lo, double hi, double *model, struct mro_error *e);

/* Chance that the rings of a falling spectrum are described as much better by one that rises to a maximum first. Null
 * is `falling`. *p NaN where there are no rings. MRO_EMEMORY. */
enum mro_code mro_spectrum_peak_p(const struct mro_rings *r, double lo, double hi, const double *falling, uint64_t seed,
                                  int threads, double *p, struct mro_error *e);

#endif

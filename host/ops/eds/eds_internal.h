/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the EDS measurement share. */
#ifndef MRO_OPS_EDS_INTERNAL_H
#define MRO_OPS_EDS_INTERNAL_H

#include "mroscope/eds.h"

/* Streams of random numbers, so that no two uses meet. */
enum { MRO_EDS_STREAM_RED = 1 << 20, MRO_EDS_STREAM_SHUFFLE = 1 << 28 };

/* Log-likelihood of waves over a table of wavelengths, the best kind and strength of each. */
enum { MRO_EDS_MAX_WAVES = 128 };
struct mro_eds_likelihood {
    size_t n;
    double lambda[MRO_EDS_MAX_WAVES], l[MRO_EDS_MAX_WAVES];
    double preference; /* of the best wave over red noise, as log-likelihood */
};

/* The wavelength that two profiles of equal points share: best of the sum. NaN when `own` would lose more than 3.32 by
 * it, which one more free parameter gains in 1 % of cases. */
double mro_eds_shared_wave(const struct mro_eds_likelihood *own, const struct mro_eds_likelihood *other);

/* Wavelength of a profile and the chance that red noise looks as periodic.
 *
 * The Lomb-Scargle periodogram (points weighted by 1/v; v NULL: equal) at the natural frequencies is fitted, by
 * Whittle's likelihood with a free scale, by two families: red noise, AR(1) plus white; and a wave plus white. A wave
 * of one wavelength but every direction, such as decomposition of a glass leaves, does not give a line a peak: cut
 * along a line its spectrum is flat from zero and ends at 1/wavelength. So waves come in both kinds, cut from an
 * isotropic pattern and plane across the line. *p: how often a line of the fitted red noise prefers the wave by as
 * much, from `draws` lines; drawing stops early when that is clear. *wavelength_nm: of the best wave, NaN when less
 * than five of it fit into the line or there are fewer than 16 points; p NaN in the latter case. Sources: Scargle,
 * Astrophys. J. 263 (1982) 835; Schulz and Mudelsee, Comput. Geosci. 28 (2002) 421; Whittle, J. R. Stat. Soc. B 15
 * (1953) 125; Besag and Clifford, Biometrika 78 (1991) 301. Errors: MRO_EMEMORY. Fills *s (owned by the caller), in
 * units of `noise` (mean variance of a point), or of the mean power when that is NaN. */
enum mro_code mro_eds_wave(const double *x, const double *y, const double *v, size_t n, double noise, int draws,
                           uint64_t seed, uint64_t stream, double *wavelength_nm, double *p, struct mro_eds_spectrum *s,
                           struct mro_eds_likelihood *l, struct mro_error *e);

/* The part of the scatter of n values with variances v that is not theirs, from Cochran's Q: fills sd_true_at with its
 * interval and p_heterogeneous. `kurtosis`: sum over the values of the excess kurtosis of their noise. */
void mro_eds_true_part(const double *x, const double *v, size_t n, double kurtosis, struct mro_eds_element *el);

/* The same of several measurements of one line, by an analysis of variance, with sd_counting_at. Values of repeat k at
 * x[k * n + i]. Leaves the means over the repeats in x[0 .. n). MRO_EDATA: the repeats are copies of each other. */
enum mro_code mro_eds_true_part_of_repeats(double *x, size_t n, size_t repeats, const char *name,
                                           struct mro_eds_element *el, struct mro_error *e);

double mro_eds_mean(const double *x, size_t n);

/* Chance of a correlation r of two series against r0, with Fisher's z and as many independent points as the
 * autocorrelations of both leave; *n_eff is their number. NaN when there are too few. MRO_EMEMORY. */
enum mro_code mro_eds_correlation_p(const double *a, const double *b, size_t n, double r, double r0, double *p,
                                    double *n_eff, struct mro_error *e);

/* Pearson's correlation; NaN for a constant series. */
double mro_eds_correlation(const double *a, const double *b, size_t n);

#endif

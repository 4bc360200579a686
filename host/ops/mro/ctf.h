/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fit of the lens's phase shift to the rings of a power spectrum (Thon rings). */
#ifndef MRO_OPS_CTF_H
#define MRO_OPS_CTF_H

#include <stdbool.h>

#include "core/backend.h"
#include "mroscope/mro.h"

struct mro_ctf_fit {
    bool rings;                                                   /* rings were found and fit: the numbers below hold */
    double lambda_nm, cs_nm, defocus_nm, astigmatism_nm, azimuth; /* azimuth in rad */
    double depth_nm;    /* spread of defocus through the foil that fits the rings best: about its thickness */
    double correlation; /* of the model with the log spectrum, background removed from both */
    double runner_up;   /* the best correlation at a clearly different defocus */
};

/* The rings that a lens makes at every nm of defocus: all fits for one beam energy and Cs can share them. */
struct mro_ctf_rings;

/* MRO_EMEMORY only. To be freed. */
enum mro_code mro_ctf_rings_new(struct mro_ctf_rings **rings, double kv, double cs_mm, int threads,
                                struct mro_error *e);
void mro_ctf_rings_free(struct mro_ctf_rings *rings); /* NULL is fine */

/* Fits defocus and astigmatism for known beam energy and Cs to |spectrum|^2 (host, grid g) between 1.3 and 6.6 nm^-1
 * or what the grid holds. rings = false when no defocus stands out: a corrected lens near focus has no rings.
 * `given` (may be NULL) saves time where it is of this lens and the grid holds all of the range.
 * Errors: MRO_EMEMORY. Thread-safe. Source: phase contrast transfer of a weak object, Kirkland (2010) ch. 3. */
enum mro_code mro_ctf_fit_rings(const struct mro_grid *g, const mro_c32 *spectrum, double kv, double cs_mm,
                                const struct mro_ctf_rings *given, int threads, struct mro_ctf_fit *fit,
                                struct mro_error *e);

/* chi at frequency (qy, qx) of the fit. */
double mro_ctf_fit_chi(const struct mro_ctf_fit *fit, double qy, double qx);

/* At n frequencies of a row, (qy, k / length) with k = first, first + 1, ...: |transfer|^2 averaged over the depth of
 * the foil, 0 to 1; and the sign of sin chi. */
void mro_ctf_transfer_row(const struct mro_ctf_fit *fit, double qy, double length, int first, int n, float *transfer);
void mro_ctf_sign_row(const struct mro_ctf_fit *fit, double qy, double length, int first, int n, float *sign);

#endif

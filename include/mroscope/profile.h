/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Profiles: what a diffraction pattern is around its centre, or what a table of one column over another holds.
 *
 * s = 1/d in nm^-1 (spatial frequency); Q = 2 pi / d in 1/Angstrom is s * 2 pi / 10. */
#ifndef MROSCOPE_PROFILE_H
#define MROSCOPE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "mroscope/error.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum mro_quantity {
    MRO_QUANTITY_INTENSITY = 0, /* counts, arbitrary scale */
    MRO_QUANTITY_S,             /* structure factor S(Q), near 1 at large Q */
    MRO_QUANTITY_G              /* reduced pair distribution function G(r), in 1/Angstrom^2 */
};

enum mro_radiation { MRO_RADIATION_ELECTRONS = 0, MRO_RADIATION_X_RAYS, MRO_RADIATION_NEUTRONS };

/* One profile. `{0}` is empty and safe to release. */
struct mro_profile {
    enum mro_quantity quantity;
    enum mro_radiation radiation;
    size_t n;
    double *s_inv_nm;   /* n, rising; NULL for G(r) */
    double *r_A;        /* n, rising; NULL for everything but G(r) */
    double *intensity;  /* n; of a pattern the mean of a pixel on that ring; NaN where no pixel was usable */
    double *se;         /* n; standard error of it; NaN unknown. Of neighbouring points of a pattern the errors
                           correlate by about 0.25: a pixel between two rings counts for both */
    double *pixels;     /* n; effective number of pixels behind each point; NULL for tables */
    double *sd;         /* n; scatter of single pixels on the ring; NULL for tables */
    double step_inv_nm; /* distance of the points where it is one and the same, else 0 */

    /* Patterns: the same in n_sectors (even) angular sectors of one width, the first centred on azimuth 0 (+x), rising
     * toward +y. Sectors i and i + n_sectors / 2 are Friedel mates that share their speckle: draw them as pairs.
     * sector_mean[i * n + k], NaN where there is nothing; sector_weight the same shape, pixels. */
    size_t n_sectors;
    double *sector_mean, *sector_weight;

    double beam_kv;      /* electrons; 0 = unknown */
    double wavelength_A; /* X-rays and neutrons, where the table or an option says; 0 = unknown */
    char source[160];    /* where it comes from, for people: "azimuthal mean of 'a.tif'", "column 2 of 'a.chi'" */
    char axis[64];       /* how the abscissa was told: "Q in 1/A", "2 theta in degrees", ... */
    char **warnings;
    size_t n_warnings;
};

/* Room for n points (and n_sectors sectors; pixels and sd only with sectors), all NaN. MRO_EMEMORY. */
enum mro_code mro_profile_alloc(struct mro_profile *p, size_t n, size_t n_sectors, struct mro_error *e);
void mro_profile_release(struct mro_profile *p); /* NULL and {0} are fine */

/* How a table is to be read where its header does not say, or says something wrong. */
enum mro_abscissa {
    MRO_ABSCISSA_AUTO = 0,  /* by the header, else by the name's ending; else an error that names the option */
    MRO_ABSCISSA_Q_A,       /* Q in 1/Angstrom */
    MRO_ABSCISSA_Q_NM,      /* Q in 1/nm */
    MRO_ABSCISSA_S_NM,      /* 1/d in 1/nm */
    MRO_ABSCISSA_S_A,       /* 1/d in 1/Angstrom */
    MRO_ABSCISSA_TWO_THETA, /* degrees; needs a wavelength */
    MRO_ABSCISSA_R_A        /* r in Angstrom: G(r) */
};

struct mro_profile_options {
    enum mro_abscissa abscissa;
    int radiation;            /* enum mro_radiation; -1 (default) = by the header, else X-rays */
    double wavelength_A;      /* 0 = by the header */
    double beam_kv;           /* electrons; 0 = unknown */
    int column, error_column; /* of the values and their errors, from 1; 0 (default) = by the header, else the 2nd, and
                                 the 3rd where it has the look of errors */
};
void mro_profile_options_default(struct mro_profile_options *o);

/* True when the bytes have the look of a table of numbers in text (.xy .dat .csv .gr .sq .chi). */
bool mro_profile_probe(const void *bytes, size_t size);

/* Reads such a table. `name` is the file, for messages and its ending.
 * Errors, a sentence each: MRO_EFORMAT (no table of numbers), MRO_EDATA (fewer than 8 points, NaN in a column, an
 * abscissa that falls or repeats), MRO_ECALIB (an abscissa that nothing explains, 2 theta without wavelength), MRO_EARG
 * (a column that the table lacks), MRO_EMEMORY. Release with mro_profile_release. */
enum mro_code mro_profile_read(struct mro_profile *p, const void *bytes, size_t size, const char *name,
                               const struct mro_profile_options *o, struct mro_error *e);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

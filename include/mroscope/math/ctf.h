/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Contrast transfer of the objective lens. Defocus > 0 is underfocus.
 * Source: E. J. Kirkland, Advanced Computing in Electron Microscopy, 2nd ed. (2010), ch. 3. */
#ifndef MROSCOPE_MATH_CTF_H
#define MROSCOPE_MATH_CTF_H

#include "mroscope/math/hd.h"

/* Wavelength of electrons of `kv` kilovolts, nm (relativistic). */
MRO_HD double mro_wavelength_nm(double kv)
{
    const double ev = kv * 1e3;
    return 1.22642596 / sqrt(ev * (1 + 0.97847538e-6 * ev));
}

/* Phase shift chi at spatial frequency q (nm^-1) and azimuth (rad) of g. Lengths in nm; astigmatism is
 * half the difference between the extreme defoci, its azimuth (rad) that of the largest underfocus. */
MRO_HD double mro_ctf_chi(double q, double azimuth, double lambda_nm, double defocus_nm, double cs_nm,
                          double astigmatism_nm, double astigmatism_azimuth)
{
    const double a = lambda_nm * q * q;
    const double df = defocus_nm + astigmatism_nm * cos(2 * (azimuth - astigmatism_azimuth));
    return MRO_PI * a * (0.5 * cs_nm * lambda_nm * a - df);
}

/* Delocalisation R of fringes of spatial frequency g: the shift between the two side-band images of one
 * region is 2 R. nm. */
MRO_HD double mro_delocalisation_nm(double g, double lambda_nm, double defocus_nm, double cs_nm)
{
    return fabs(lambda_nm * g * (cs_nm * lambda_nm * lambda_nm * g * g - defocus_nm));
}

#endif

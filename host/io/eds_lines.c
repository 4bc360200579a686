/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Energies of X-ray lines, and the windows around them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mroscope/eds_stream.h"

/* X-ray Data Booklet (LBNL/PUB-490, 2009), table 1-2, "Photon energies, in electron volts, of principal K-, L- and
 * M-shell emission lines". Ka is (2 Ka1 + Ka2) / 3 where both are tabled, because no detector of this kind parts them.
 * The first line of an element is the one its bare name stands for. */
static const struct mro_xray_line lines[] = {
    { "B", "Ka", 183.3 },
    { "C", "Ka", 277.0 },
    { "N", "Ka", 392.4 },
    { "O", "Ka", 524.9 },
    { "F", "Ka", 676.8 },
    { "Na", "Ka", 1040.98 },
    { "Mg", "Ka", 1253.60 },
    { "Al", "Ka", (2 * 1486.70 + 1486.27) / 3 },
    { "Si", "Ka", (2 * 1739.98 + 1739.38) / 3 },
    { "P", "Ka", (2 * 2013.7 + 2012.7) / 3 },
    { "S", "Ka", (2 * 2307.84 + 2306.64) / 3 },
    { "Cl", "Ka", (2 * 2622.39 + 2620.78) / 3 },
    { "Ca", "Ka", (2 * 3691.68 + 3688.09) / 3 },
    { "Ti", "Ka", (2 * 4510.84 + 4504.86) / 3 },
    { "Ti", "La", 452.2 },
    { "V", "Ka", (2 * 4952.20 + 4944.64) / 3 },
    { "V", "La", 511.3 },
    { "Cr", "Ka", (2 * 5414.72 + 5405.509) / 3 },
    { "Cr", "La", 572.8 },
    { "Mn", "Ka", (2 * 5898.75 + 5887.65) / 3 },
    { "Mn", "La", 637.4 },
    { "Fe", "Ka", (2 * 6403.84 + 6390.84) / 3 },
    { "Fe", "La", 705.0 },
    { "Co", "Ka", (2 * 6930.32 + 6915.30) / 3 },
    { "Co", "La", 776.2 },
    { "Ni", "Ka", (2 * 7478.15 + 7460.89) / 3 },
    { "Ni", "La", 851.5 },
    { "Cu", "Ka", (2 * 8047.78 + 8027.83) / 3 },
    { "Cu", "La", 929.7 },
    { "Zn", "Ka", (2 * 8638.86 + 8615.78) / 3 },
    { "Zn", "La", 1011.7 },
    { "Ga", "Ka", (2 * 9251.74 + 9224.82) / 3 },
    { "Ga", "La", 1097.92 },
    { "Ge", "Ka", (2 * 9886.42 + 9855.32) / 3 },
    { "Ge", "La", 1188.00 },
    { "Y", "Ka", (2 * 14958.4 + 14882.9) / 3 },
    { "Y", "La", 1922.56 },
    { "Zr", "Ka", (2 * 15775.1 + 15690.9) / 3 },
    { "Zr", "La", 2042.36 },
    { "Nb", "Ka", (2 * 16615.1 + 16521.0) / 3 },
    { "Nb", "La", 2165.89 },
    { "Mo", "Ka", (2 * 17479.34 + 17374.3) / 3 },
    { "Mo", "La", 2293.16 },
    { "Pd", "La", 2838.61 },
    { "Pd", "Ka", (2 * 21177.1 + 21020.1) / 3 },
    { "Ag", "La", 2984.31 },
    { "Ag", "Ka", (2 * 22162.92 + 21990.3) / 3 },
    { "Sn", "La", 3443.98 },
    { "La", "La", 4650.97 },
    { "La", "Ma", 833.0 },
    { "Ce", "La", 4840.2 },
    { "Ce", "Ma", 883.0 },
    { "Gd", "La", 6057.2 },
    { "Hf", "La", 7899.0 },
    { "Hf", "Ma", 1644.6 },
    { "Ta", "La", 8146.1 },
    { "Ta", "Ma", 1710.0 },
    { "W", "La", 8397.6 },
    { "W", "Ma", 1775.4 },
    { "Pt", "La", 9442.3 },
    { "Pt", "Ma", 2050.5 },
    { "Au", "La", 9713.3 },
    { "Au", "Ma", 2122.9 },
};

size_t mro_xray_lines(const struct mro_xray_line **list)
{
    *list = lines;
    return sizeof lines / sizeof *lines;
}

const struct mro_xray_line *mro_xray_line(const char *name)
{
    const size_t symbol = strcspn(name, "- ");
    const char *line = name + symbol + (name[symbol] != '\0');
    const size_t shell = strlen(line);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strlen(lines[i].element) == symbol && strncmp(lines[i].element, name, symbol) == 0 &&
            (name[symbol] == '\0' || (shell > 0 && strncmp(lines[i].line, line, shell) == 0)))
            return &lines[i];
    return NULL;
}

double mro_xray_fwhm_ev(double energy_ev)
{
    const double reference = 130, mn = 5895;
    const double v = reference * reference + 2.5 * (energy_ev - mn);
    return v > 40 * 40 ? sqrt(v) : 40; /* below the softest lines the formula ends; noise alone is as wide */
}

struct mro_eds_window mro_eds_window_of(const struct mro_xray_line *line)
{
    const double e = line->energy_ev, w = mro_xray_fwhm_ev(e);
    return (struct mro_eds_window){
        .peak = { e - 0.6 * w, e + 0.6 * w },
        .below = { e - 2.5 * w, e - 1.5 * w },
        .above = { e + 1.5 * w, e + 2.5 * w },
    };
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <string.h>

#include "mroscope/eds.h"

static const struct {
    char symbol[3];
    float weight;
} elements[] = {
    { "H", 1.008f },   { "He", 4.0026f }, { "Li", 6.94f },   { "Be", 9.0122f }, { "B", 10.81f },   { "C", 12.011f },
    { "N", 14.007f },  { "O", 15.999f },  { "F", 18.998f },  { "Ne", 20.180f }, { "Na", 22.990f }, { "Mg", 24.305f },
    { "Al", 26.982f }, { "Si", 28.085f }, { "P", 30.974f },  { "S", 32.06f },   { "Cl", 35.45f },  { "Ar", 39.95f },
    { "K", 39.098f },  { "Ca", 40.078f }, { "Sc", 44.956f }, { "Ti", 47.867f }, { "V", 50.942f },  { "Cr", 51.996f },
    { "Mn", 54.938f }, { "Fe", 55.845f }, { "Co", 58.933f }, { "Ni", 58.693f }, { "Cu", 63.546f }, { "Zn", 65.38f },
    { "Ga", 69.723f }, { "Ge", 72.630f }, { "As", 74.922f }, { "Se", 78.971f }, { "Br", 79.904f }, { "Kr", 83.798f },
    { "Rb", 85.468f }, { "Sr", 87.62f },  { "Y", 88.906f },  { "Zr", 91.224f }, { "Nb", 92.906f }, { "Mo", 95.95f },
    { "Tc", 98.0f },   { "Ru", 101.07f }, { "Rh", 102.91f }, { "Pd", 106.42f }, { "Ag", 107.87f }, { "Cd", 112.41f },
    { "In", 114.82f }, { "Sn", 118.71f }, { "Sb", 121.76f }, { "Te", 127.60f }, { "I", 126.90f },  { "Xe", 131.29f },
    { "Cs", 132.91f }, { "Ba", 137.33f }, { "La", 138.91f }, { "Ce", 140.12f }, { "Pr", 140.91f }, { "Nd", 144.24f },
    { "Pm", 145.0f },  { "Sm", 150.36f }, { "Eu", 151.96f }, { "Gd", 157.25f }, { "Tb", 158.93f }, { "Dy", 162.50f },
    { "Ho", 164.93f }, { "Er", 167.26f }, { "Tm", 168.93f }, { "Yb", 173.05f }, { "Lu", 174.97f }, { "Hf", 178.49f },
    { "Ta", 180.95f }, { "W", 183.84f },  { "Re", 186.21f }, { "Os", 190.23f }, { "Ir", 192.22f }, { "Pt", 195.08f },
    { "Au", 196.97f }, { "Hg", 200.59f }, { "Tl", 204.38f }, { "Pb", 207.2f },  { "Bi", 208.98f }, { "Th", 232.04f },
    { "U", 238.03f },
};

double mro_atomic_weight(const char *symbol)
{
    for (size_t i = 0; symbol && i < sizeof elements / sizeof *elements; i++)
        if (strcmp(elements[i].symbol, symbol) == 0) return (double)elements[i].weight;
    return 0;
}

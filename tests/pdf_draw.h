/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A made-up glass whose S(Q) is a formula: hard spheres after Percus and Yevick, with every distance blurred. */
#ifndef MRO_TEST_PDF_DRAW_H
#define MRO_TEST_PDF_DRAW_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/math/philox.h"
#include "mroscope/pdf.h"

#define GLASS_PACKING 0.52
#define GLASS_DIAMETER 2.3                                                                        /* A */
#define GLASS_RHO (6 * GLASS_PACKING / (M_PI * GLASS_DIAMETER * GLASS_DIAMETER * GLASS_DIAMETER)) /* atoms per A^3 */
#define GLASS_BLUR 0.12 /* A, standard deviation */

/* Wertheim, Phys. Rev. Lett. 10 (1963) 321. `strength` multiplies the oscillations: 1 is the glass. */
static inline double glass_S(double Q, double strength)
{
    const double h = GLASS_PACKING, x = Q * GLASS_DIAMETER, c = cos(x), s = sin(x);
    const double a = (1 + 2 * h) * (1 + 2 * h) / pow(1 - h, 4), b = -(1 + h / 2) * (1 + h / 2) / pow(1 - h, 4);
    const double nc = -24 * h *
                      (a * (s - x * c) / (x * x * x) + 6 * h * b * (2 * x * s - (x * x - 2) * c - 2) / pow(x, 4) +
                       h * a / 2 * (24 - (pow(x, 4) - 12 * x * x + 24) * c + (4 * x * x * x - 24 * x) * s) / pow(x, 6));
    const double S = 1 + (1 / (1 - nc) - 1) * exp(-GLASS_BLUR * GLASS_BLUR * Q * Q / 2);
    /* Stronger order from the first peak on; below, the density alone decides. */
    return S + (strength - 1) * (S - 1) * exp(-pow((Q - 3.0) / 0.35, 2));
}

/* G through Q from 0 to Q_max, damped after Lorch or not at all: what a perfect measurement gives. */
static inline void glass_seen(double Q_max, double strength, bool lorch, const double *r, size_t n, double *G)
{
    enum { N = 1600 };
    memset(G, 0, n * sizeof *G);
    for (int k = 0; k < N; k++) {
        const double Q = (k + 0.5) * Q_max / N, x = M_PI * Q / Q_max;
        const double F = 2 / M_PI * Q * (glass_S(Q, strength) - 1) * (lorch ? sin(x) / x : 1) * Q_max / N;
        for (size_t j = 0; j < n; j++) G[j] += F * sin(Q * r[j]);
    }
}

/* A profile of n points to s_end (1/nm) with `counts` at the first sharp peak's height over a constant background, and
 * errors of counting over rings. Noise when seed > 0. */
static inline struct mro_profile glass_profile(const struct mro_composition *c, size_t n, double s_end, double counts,
                                               double background, double strength, uint64_t seed)
{
    struct mro_profile p;
    struct mro_error e;
    if (mro_profile_alloc(&p, n, 0, &e)) abort();
    const double N = counts / 40;
    for (size_t k = 0; k < n; k++) {
        const double s = 1.6 + (s_end - 1.6) * (double)k / (double)(n - 1), Q = s * 2 * M_PI / 10;
        double f = 0, f2 = 0;
        for (size_t i = 0; i < c->n; i++) {
            const double one = mro_form_factor_electron_A(c->symbol[i], s / 10);
            f += c->fraction[i] * one;
            f2 += c->fraction[i] * one * one;
        }
        p.s_inv_nm[k] = s;
        p.intensity[k] = N * (f2 + f * f * (glass_S(Q, strength) - 1)) + background;
        p.se[k] = sqrt(p.intensity[k] / (60 * s)); /* so many pixels on the ring */
        if (seed) {
            const mro_philox_block b = mro_philox(seed, 7, k);
            p.intensity[k] += p.se[k] * (double)mro_normal_pair(b.v[0], b.v[1]).re;
        }
    }
    p.beam_kv = 200;
    return p;
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Made-up profiles: compositions with planted variation, and Poisson counts of them. */
#ifndef TESTS_EDS_DRAW_H
#define TESTS_EDS_DRAW_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/eds.h"
#include "mroscope/math/philox.h"

/* Uniform numbers with more bits than mro_uniform_open has: tails of Poisson numbers need them. */
static inline double draw_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    const mro_philox_block b = mro_philox(seed, stream, i);
    return ((double)b.v[0] + ((double)b.v[1] + 0.5) / 4294967296.0) / 4294967296.0;
}

static inline void draw_normals(float *v, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const mro_philox_block b = mro_philox(seed, 99, i);
        v[i] = mro_normal_pair(b.v[0], b.v[1]).re;
    }
}

/* By inversion; large means are sums of smaller ones. */
static inline double draw_poisson(double mean, uint64_t seed, uint64_t i)
{
    double k = 0;
    for (uint64_t part = 1; mean > 0; part++) {
        const double m = fmin(mean, 500);
        double u = draw_uniform(seed, part, i), p = exp(-m), n = 0;
        while (u > p && n < m + 60 * sqrt(m) + 60) {
            u -= p;
            n++;
            p *= m / n;
        }
        k += n;
        mean -= m;
    }
    return k;
}

/* A profile of n points with room for counts. */
static inline void draw_profile(struct mro_eds_profile *p, const char *const *symbols, size_t elements, size_t n,
                                double step_nm)
{
    *p = (struct mro_eds_profile){ .n = n, .elements = elements };
    p->x_nm = malloc(n * sizeof *p->x_nm);
    if (p->x_nm == NULL) abort();
    for (size_t i = 0; i < n; i++) p->x_nm[i] = step_nm * ((double)i + 0.5);
    for (size_t j = 0; j < elements; j++) {
        strcpy(p->column[j].symbol, symbols[j]);
        p->column[j].counts = calloc(n, sizeof(double));
        if (p->column[j].counts == NULL) abort();
    }
}

/* at.% of every point into `counts`: `mean` in any unit, and sd[j] at.% of planted variation (NULL = none) that is a
 * sine of `wave` nm, or, with wave 0, AR(1) noise of that memory. */
static inline void draw_shares(struct mro_eds_profile *p, const double *mean, const double *sd, double wave,
                               double memory, uint64_t seed)
{
    double all = 0, state = 0;
    for (size_t j = 0; j < p->elements; j++) all += mean[j];
    for (size_t i = 0; i < p->n; i++) {
        const mro_philox_block b = mro_philox(seed, 2, i);
        const double z0 = (double)mro_normal_pair(b.v[0], b.v[1]).re;
        state = i ? memory * state + sqrt(1 - memory * memory) * z0 : z0;
        const double z = wave > 0 ? sqrt(2) * sin(2 * M_PI * p->x_nm[i] / wave + 1) : state;
        double sum = 0;
        for (size_t j = 0; j < p->elements; j++)
            sum += p->column[j].counts[i] = fmax(0, 100 * mean[j] / all + (sd ? sd[j] * z : 0));
        for (size_t j = 0; j < p->elements; j++) p->column[j].counts[i] *= 100 / sum;
    }
}

/* Poisson counts of the at.% that `exact` holds, `mean` (n elements) in all of a point. */
static inline void draw_counts_of(struct mro_eds_profile *p, const struct mro_eds_profile *exact, const double *mean,
                                  size_t n, uint64_t seed)
{
    double all = 0;
    for (size_t j = 0; j < n; j++) all += mean[j];
    for (size_t j = 0; j < p->elements; j++)
        for (size_t i = 0; i < p->n; i++)
            p->column[j].counts[i] = draw_poisson(all / 100 * exact->column[j].counts[i], seed, 1000000 * (j + 1) + i);
}

/* Both in one. */
static inline void draw_counts(struct mro_eds_profile *p, const double *mean, const double *sd, double wave,
                               double memory, uint64_t seed)
{
    draw_shares(p, mean, sd, wave, memory, seed);
    draw_counts_of(p, p, mean, p->elements, seed);
}

/* Counts become at.% as they are. */
static inline void counts_to_shares(struct mro_eds_profile *p)
{
    for (size_t i = 0; i < p->n; i++) {
        double all = 0;
        for (size_t j = 0; j < p->elements; j++) all += p->column[j].counts[i];
        for (size_t j = 0; j < p->elements; j++) p->column[j].counts[i] *= 100 / all;
    }
    for (size_t j = 0; j < p->elements; j++) {
        p->column[j].at = p->column[j].counts;
        p->column[j].counts = NULL;
    }
}

#endif

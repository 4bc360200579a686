/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Power by spatial frequency: fits of falling and of peaked spectra. */
#include "ops/spectrum_fit.h"

#include <float.h>
#include <gsl/gsl_multimin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/philox.h"

void mro_rings_release(struct mro_rings *r)
{
    free(r->q);
    free(r->power);
    free(r->modes);
    memset(r, 0, sizeof *r);
}

double mro_rings_at(const struct mro_rings *r, double q)
{
    if (r->n == 0) return 0;
    if (q <= r->q[0]) return r->power[0];
    if (q >= r->q[r->n - 1]) return r->power[r->n - 1];
    size_t lo = 0, hi = r->n - 1;
    while (hi - lo > 1) {
        const size_t mid = (lo + hi) / 2;
        if (r->q[mid] <= q)
            lo = mid;
        else
            hi = mid;
    }
    const double t = (q - r->q[lo]) / (r->q[hi] - r->q[lo]);
    return r->power[lo] + t * (r->power[hi] - r->power[lo]);
}

/* ------------------------------------------------------------------ fits */

void mro_teubner_lengths(const struct mro_spectrum_fit *f, double *wavelength, double *decay)
{
    const double b = -1 + exp(f->p[2]), q0 = exp(-f->p[1]);
    *wavelength = b < 0 ? 1 / (q0 * sqrt((1 - b) / 2)) : NAN;
    *decay = b < 0 ? 1 / (2 * M_PI * q0 * sqrt((1 + b) / 2)) : NAN;
}

static double value_at(const struct mro_spectrum_fit *f, double q)
{
    const double a = exp(f->p[0]), x = q * exp(f->p[1]);
    switch (f->kind) {
    case MRO_SPECTRUM_POWER: return a * pow(1 + x * x, -exp(f->p[2]));
    case MRO_SPECTRUM_STRETCHED: return a * exp(-pow(x, exp(f->p[2])));
    default: return a / (1 + 2 * (-1 + exp(f->p[2])) * x * x + x * x * x * x);
    }
}

struct likelihood {
    const struct mro_rings *r;
    double noise, lo, hi;
    enum mro_spectrum_kind kind;
};

/* -2 ln of Whittle's likelihood: power of a mode is exponential about its mean. */
static double deviance(const gsl_vector *v, void *context)
{
    const struct likelihood *l = context;
    const struct mro_spectrum_fit f = { l->kind,
                                        { gsl_vector_get(v, 0), gsl_vector_get(v, 1), gsl_vector_get(v, 2) },
                                        0 };
    double sum = 0;
    if (fabs(f.p[0]) > 100 || fabs(f.p[1]) > 20 || fabs(f.p[2]) > 4) return 1e30;
    for (size_t i = 0; i < l->r->n; i++) {
        if (l->r->q[i] < l->lo || l->r->q[i] > l->hi) continue;
        const double model = value_at(&f, l->r->q[i]) + l->noise;
        sum += 2 * l->r->modes[i] * (log(model) + l->r->power[i] / model);
    }
    return isfinite(sum) ? sum : 1e30;
}

void mro_spectrum_fit(const struct mro_rings *r, double noise, double lo, double hi, enum mro_spectrum_kind kind,
                      struct mro_spectrum_fit *f)
{
    struct likelihood l = { r, noise, lo, hi, kind };
    gsl_multimin_function target = { deviance, 3, &l };
    gsl_multimin_fminimizer *m = gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, 3);
    gsl_vector *start = gsl_vector_alloc(3), *step = gsl_vector_alloc(3);
    double top = 0, at = lo, sum = 0, weight = 0;
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->q[i] < lo || r->q[i] > hi) continue;
        const double s = r->power[i] - noise;
        n++;
        if (s > top) {
            top = s;
            at = r->q[i];
        }
        if (s > 0) {
            sum += s * r->modes[i] * r->q[i];
            weight += s * r->modes[i];
        }
    }
    memset(f, 0, sizeof *f);
    f->kind = kind;
    f->aicc = INFINITY;
    if (m == NULL || start == NULL || step == NULL || n < 5 || !(top > 0)) goto done;
    const double mean = weight > 0 ? sum / weight : 0.5 * (lo + hi);
    const double sharp[3] = { 0.5, 0.7, -1.0 };
    /* One start at the mean frequency, one at the largest ring; narrow peaks need one that is narrow. */
    for (int k = 0; k < (kind == MRO_SPECTRUM_TEUBNER ? 4 : 2); k++) {
        const double p2 = k && kind == MRO_SPECTRUM_TEUBNER ? -1 - k : sharp[kind], b = exp(p2) - 1;
        /* The peak of Teubner and Strey stands at 1 / (1 - b^2) times its value at 0. */
        gsl_vector_set(start, 0, log(k && kind == MRO_SPECTRUM_TEUBNER ? top * (1 - b * b) : top));
        gsl_vector_set(start, 1, -log(k ? fmax(at, lo) : mean));
        gsl_vector_set(start, 2, p2);
        gsl_vector_set_all(step, 0.4);
        gsl_multimin_fminimizer_set(m, &target, start, step);
        for (int i = 0; i < 300; i++) {
            if (gsl_multimin_fminimizer_iterate(m)) break;
            if (gsl_multimin_fminimizer_size(m) < 1e-4) break;
        }
        const double found = gsl_multimin_fminimizer_minimum(m) + 6 + 24.0 / fmax(1, (double)n - 4);
        if (found < f->aicc) {
            f->aicc = found;
            for (int i = 0; i < 3; i++) f->p[i] = gsl_vector_get(gsl_multimin_fminimizer_x(m), (size_t)i);
        }
    }
done:
    if (m) gsl_multimin_fminimizer_free(m);
    if (start) gsl_vector_free(start);
    if (step) gsl_vector_free(step);
}

/* ------------------------------------------------------------------ spectra that fall, without a shape */

/* Pools adjacent violators: v (weights w) becomes the nearest falling sequence, which for means of
 * exponentials is the one of largest likelihood (Robertson, Wright and Dykstra, Order Restricted Statistical Inference,
 * 1988). `block` is room for n. */
struct pooled {
    double sum, weight;
    size_t n;
    double deviance; /* of this block and those before, where it is asked for */
};
static void pool_falling(const double *v, const double *w, size_t n, double *out, struct pooled *block)
{
    size_t blocks = 0;
    for (size_t i = 0; i < n; i++) {
        block[blocks++] = (struct pooled){ v[i] * w[i], w[i], 1, 0 };
        while (blocks > 1) {
            const struct pooled *a = block + blocks - 2, *b = block + blocks - 1;
            const double before = a->sum / a->weight, after = b->sum / b->weight;
            if (before >= after) break;
            block[blocks - 2].sum += b->sum;
            block[blocks - 2].weight += b->weight;
            block[blocks - 2].n += b->n;
            blocks--;
        }
    }
    for (size_t b = 0, i = 0; b < blocks; b++)
        for (size_t k = 0; k < block[b].n; k++) out[i++] = block[b].sum / block[b].weight;
}

/* -2 ln likelihood of a value of each weight against the means that the nearest rising sequences have, of the first 1,
 * 2, ... n values, `step` apart from v and w on: out[k] is of the first k + 1. In a block of one mean m the weighted
 * values over m sum to the weight, so that its part is 2 weight (ln m + 1). */
static void rising_deviances(const double *v, const double *w, size_t n, ptrdiff_t step, double *out,
                             struct pooled *block)
{
    size_t blocks = 0;
    for (size_t i = 0; i < n; i++, v += step, w += step) {
        struct pooled b = { *v * *w, *w, 1, 0 };
        while (blocks && block[blocks - 1].sum * b.weight > b.sum * block[blocks - 1].weight) {
            blocks--;
            b.sum += block[blocks].sum;
            b.weight += block[blocks].weight;
            b.n += block[blocks].n;
        }
        b.deviance =
            (blocks ? block[blocks - 1].deviance : 0) + 2 * b.weight * (mro_ln64(fmax(b.sum / b.weight, 1e-300)) + 1);
        block[blocks++] = b;
        out[i] = b.deviance;
    }
}

#define ROUNDING 1e-12 /* of deviances, which are differences of larger ones */

/* How much better a sequence that rises to some maximum and falls after it describes v than a falling one: exactly 0
 * where it falls, so that ties count. `room`: 2 n. */
static double peak_gain(const double *v, const double *w, size_t n, double *room, struct pooled *block)
{
    double *rising = room, *falling = room + n, most = 0; /* of the first k + 1 values, and of the last */
    rising_deviances(v, w, n, 1, rising, block);
    rising_deviances(v + n - 1, w + n - 1, n, -1, falling, block);
    for (size_t top = 1; top + 1 < n; top++) most = fmax(most, falling[n - 1] - rising[top - 1] - falling[n - top - 1]);
    return most > ROUNDING * fabs(falling[n - 1]) ? most : 0;
}

static void rings_within(const struct mro_rings *r, double lo, double hi, size_t *from, size_t *n)
{
    *from = 0;
    while (*from < r->n && r->q[*from] < lo) ++*from;
    *n = 0;
    while (*from + *n < r->n && r->q[*from + *n] <= hi) ++*n;
}

enum mro_code mro_spectrum_falling(const struct mro_rings *r, double lo, double hi, double *model, struct mro_error *e)
{
    size_t from, n;
    rings_within(r, lo, hi, &from, &n);
    for (size_t i = 0; i < r->n; i++) model[i] = r->power[i];
    if (n == 0) return MRO_OK;
    struct pooled *block = malloc(n * sizeof *block);
    if (block == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a spectrum of %zu rings", n);
    pool_falling(r->power + from, r->modes + from, n, model + from, block);
    for (size_t i = 0; i < from; i++) model[i] = model[from];
    for (size_t i = from + n; i < r->n; i++) model[i] = model[from + n - 1];
    free(block);
    return MRO_OK;
}

/* Mean of `modes` exponentials of mean 1: a gamma variate over its shape, by Wilson and Hilferty's cube. */
static double ring_draw(uint64_t seed, uint64_t stream, uint64_t i, double modes)
{
    const mro_philox_block b = mro_philox(seed, stream, i);
    const double z = mro_normal_pair(b.v[0], b.v[1]).re, c = 1 / (9 * modes);
    const double root = fmax(1e-3, 1 - c + z * sqrt(c));
    return root * root * root;
}

#define PEAK_DRAWS 999

enum mro_code mro_spectrum_peak_p(const struct mro_rings *r, double lo, double hi, const double *falling, uint64_t seed,
                                  int threads, double *p, struct mro_error *e)
{
    size_t from, n, reached = 0;
    rings_within(r, lo, hi, &from, &n);
    const double *w = r->modes + from;
    bool failed = false;
    *p = NAN;
    if (n == 0) return MRO_OK;
#pragma omp parallel num_threads(threads)
    {
        double *v = malloc(3 * n * sizeof *v);
        struct pooled *block = malloc(n * sizeof *block);
        const bool ready = v && block;
        const double seen = ready ? peak_gain(r->power + from, w, n, v + n, block) : 0;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static) reduction(+ : reached)
        for (uint64_t k = 0; k < PEAK_DRAWS; k++) {
            if (!ready) continue;
            for (size_t i = 0; i < n; i++) v[i] = falling[from + i] * ring_draw(seed, 0x6000000u + k, i, w[i]);
            reached += peak_gain(v, w, n, v + n, block) >= seen;
        }
        free(v);
        free(block);
    }
    if (failed) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for spectra of %zu rings", n);
    *p = (1.0 + (double)reached) / (1.0 + PEAK_DRAWS);
    return MRO_OK;
}

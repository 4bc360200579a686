/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From patches to an area. What an image shows are patches with a power and a shape; what is asked for is the area of
 * the ordered spheres, found and missed. One model joins them:
 *
 *   - spheres lie anywhere, N in the searched area, their apparent diameters log-normal (mu, sigma);
 *   - the signal-to-noise ratio of a sphere is c D^4 with one c for the foil, since the signal grows as D^4 and the
 *     speckle with thickness; single spheres scatter about it by their tilt within the Bragg condition;
 *   - a sphere is found with the measured detection power; speckle adds false patches at the null's rate.
 *
 * The posterior over (N, mu, sigma, c) is summed on a grid, with weak priors, and drawn from: each draw decides which
 * patches are real, how large they are, and how many were missed. So power and footprint are corrected together, and
 * the interval carries what is not known about them. After Horvitz and Thompson (1952) in spirit; sums instead of
 * weights, because one over a small power is mostly noise. */
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/philox_words.h"
#include "core/team.h"
#include "mroscope/math/elementary.h"
#include "ops/mro/mro_internal.h"

#define SNR_SCATTER 0.30 /* of ln snr between spheres of one size */
#define SYSTEMATIC 0.04  /* of the area: the interface, the profile */
/* Clusters wider than that raise the power that they are whitened by, and count too little the more they cover:
 * standard deviation of it, upward and relative, over the share that they cover. */
#define WIDE_NM 2.2
#define WIDE_MORE 1.0
/* The contrast that is expected may be wrong altogether: other crystals, disorder, a tilt they share. Chance of that,
 * and standard deviation of the expectation's logarithm then. */
#define SURPRISE_CHANCE 0.02
#define SURPRISE_SD 1.6
/* Prior of the mean size, of use where few patches are found: mean of its logarithm and standard deviation. */
#define SIZE_NM 2.0
#define SIZE_SD 0.12
/* The area quoted goes beyond what was found by at most this factor; the interval knows no such bound. Where most is
 * missed the rest is guesswork, and the size limit says so. */
#define MOST_CORRECTION 1.4
#define DRAWS 2000
#define LEAST 1e-37       /* of a likelihood */
#define SCALE 0x1p64      /* of likelihoods: floats below 1e-38 are slow by a factor of ten and more */
#define LEAST_SHARE 1e-20 /* of the spheres of a model that have one size; likewise */
#define LEAST_WEIGHT 1e-6 /* of a model whose posterior is looked at patch by patch */
#define LEAST_LOG (-60.0) /* of a posterior over the highest: all that are less add nothing to a double */

enum { SIZES = 40, CONTRASTS = 15, MEANS = 17, SPREADS = 4, COUNTS = 16, MODELS = CONTRASTS * MEANS * SPREADS };

/* Detection power of spheres of one size, whose ratios scatter about `snr`: Gauss-Hermite over the logarithm. */
static double power_at_snr(const struct mro_order_plan *p, double snr)
{
    static const double x[5] = { -2.8570, -1.3556, 0, 1.3556, 2.8570 };
    static const double w[5] = { 0.011257, 0.222076, 0.533333, 0.222076, 0.011257 };
    double sum = 0;
    for (int i = 0; i < 5; i++) {
        const double v = snr * exp(SNR_SCATTER * x[i]), seen = mro_seen_snr(v);
        sum += w[i] * gsl_cdf_ugaussian_P((sqrt(seen) - p->power_curve[0]) / p->power_curve[1]);
    }
    return sum;
}

double mro_detection_power(const struct mro_order_plan *p, double d, double contrast)
{
    return power_at_snr(p, contrast * pow(d + MRO_INTERFACE_NM, 4));
}

/* The grid of models: those of sizes (mean and spread) for each contrast in turn. */
struct mro_models {
    double log_d[SIZES]; /* apparent */
    float area[SIZES];   /* of the crystal, nm^2 */
    double log_c[CONTRASTS];
    float size[MEANS * SPREADS][SIZES]; /* prior of sizes */
    double log_prior[MEANS * SPREADS];  /* of the mean and spread themselves */
    double seen[MODELS];                /* share of spheres that are found */
    double missed_area[MODELS];         /* mean area of one that is not */
};

/* What each model says of each patch. Patches come side by side in blocks of LANES; what fills up the last block weighs
 * nothing. Likelihoods are SCALE times what they are. */
enum { LANES = 16 };
struct posterior {
    const struct mro_models *models;
    size_t n, wide;        /* patches; the same, filled up */
    float *fit;            /* [block][CONTRASTS][SIZES][LANES]: likelihood of shape and ratio of a patch */
    float *real;           /* [MODELS][wide]: likelihood of a patch under a model */
    float *noise;          /* [wide]: under speckle, times the false patches that are expected */
    double *noise64;       /* the same, as it is */
    double count[COUNTS];  /* expected number of found spheres */
    double *joint;         /* [MODELS][COUNTS] posterior; not set of models without weight */
    double weight[MODELS]; /* the same, summed over counts */
};

/* Of the patches from `first` on, where a block begins. */
static float *fit_of(const struct posterior *q, size_t contrast, size_t size, size_t first)
{
    return q->fit + first * CONTRASTS * SIZES + (contrast * SIZES + size) * LANES;
}
static float *real_of(const struct posterior *q, size_t model, size_t first)
{
    return q->real + model * q->wide + first;
}

static double normal(double x, double sd) { return exp(-0.5 * x * x / (sd * sd)) / sd; }

enum mro_code mro_models_new(struct mro_order_plan *p, struct mro_error *e)
{
    static const double spreads[SPREADS] = { 0.05, 0.12, 0.20, 0.28 }, prior_spread[SPREADS] = { 0.2, 0.3, 0.3, 0.2 };
    struct mro_models *q = p->models = calloc(1, sizeof *q);
    if (q == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (int s = 0; s < SIZES; s++) {
        q->log_d[s] = log(0.9) + (log(3.9) - log(0.9)) * s / (SIZES - 1);
        const double d = fmax(exp(q->log_d[s]) - MRO_INTERFACE_NM, 0.3);
        q->area[s] = (float)(MRO_PI / 4 * d * d);
    }
    for (int m = 0; m < MEANS; m++)
        for (int w = 0; w < SPREADS; w++) {
            double v[SIZES], sum = 0;
            const double mean = log(1.3) + (log(2.9) - log(1.3)) * m / (MEANS - 1);
            for (int s = 0; s < SIZES; s++) sum += v[s] = normal(q->log_d[s] - mean, spreads[w]);
            for (int s = 0; s < SIZES; s++)
                q->size[m * SPREADS + w][s] = v[s] / sum < LEAST_SHARE ? 0 : (float)(v[s] / sum);
            q->log_prior[m * SPREADS + w] = log(normal(mean - log(SIZE_NM), SIZE_SD) * prior_spread[w]);
        }
    for (int c = 0; c < CONTRASTS; c++) {
        double found[SIZES]; /* detection power */
        q->log_c[c] = log(0.15) + (log(5.0) - log(0.15)) * c / (CONTRASTS - 1);
        for (int s = 0; s < SIZES; s++) found[s] = power_at_snr(p, exp(q->log_c[c] + 4 * q->log_d[s]));
        for (int w = 0; w < MEANS * SPREADS; w++) {
            const int m = c * MEANS * SPREADS + w;
            double missed = 0;
            for (int s = 0; s < SIZES; s++) {
                q->seen[m] += (double)q->size[w][s] * found[s];
                missed += (double)q->size[w][s] * (1 - found[s]) * (double)q->area[s];
            }
            q->missed_area[m] = missed / fmax(1 - q->seen[m], 1e-9);
        }
    }
    return MRO_OK;
}

static void posterior_free(struct posterior *q)
{
    free(q->fit);
    free(q->real);
    free(q->noise);
    free(q->noise64);
    free(q->joint);
}

enum { TOGETHER = SPREADS };

/* Likelihoods of the patches from `first` on: of their shapes and ratios, and under speckle. */
static void fill_fit(const struct mro_order_plan *p, const struct mro_found_list *l, double false_patches,
                     const struct posterior *q, size_t first)
{
    const struct mro_models *g = q->models;
    float log_d[LANES] = { 0 }, log_snr[LANES] = { 0 }, by_shape[LANES] = { 0 }, by_ratio[LANES] = { 0 };
    float height[LANES] = { 0 };
    for (size_t k = 0; k < LANES; k++) {
        q->noise[first + k] = 1;
        if (first + k >= q->n) continue;
        const struct mro_found *f = l->v + first + k;
        const double scatter = sqrt(SNR_SCATTER * SNR_SCATTER + 1.2 / f->snr);
        log_d[k] = (float)f->log_d;
        log_snr[k] = (float)log(f->snr);
        by_shape[k] = (float)(-0.5 / (f->log_d_sd * f->log_d_sd));
        by_ratio[k] = (float)(-0.5 / (scatter * scatter));
        height[k] = (float)(SCALE / (f->log_d_sd * scatter));
        /* Speckle: any size, an excess that falls exponentially; both densities over ln d and ln snr. */
        const double noise = 2 * MRO_PI / log(3.1) * f->snr / p->null.object_excess *
                             exp(-(f->significance - p->null.object_threshold) / p->null.object_excess);
        q->noise[first + k] = (float)(SCALE * fmax(false_patches * noise, LEAST));
    }
    for (size_t c = 0; c < CONTRASTS; c++) {
        for (size_t s = 0; s < SIZES; s++) {
            const float d = (float)g->log_d[s], snr = (float)(g->log_c[c] + 4 * g->log_d[s]);
            float *to = fit_of(q, c, s, first);
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                const float x = log_d[k] - d, y = log_snr[k] - snr, e = by_shape[k] * x * x + by_ratio[k] * y * y;
                to[k] = height[k] * mro_exp(e > -80 ? e : -80);
            }
        }
        /* A few models at a time: each sum waits for its last step. */
        const float *fit = fit_of(q, c, 0, first);
        for (size_t w = 0; w < MEANS * SPREADS; w += TOGETHER) {
            const size_t m = c * MEANS * SPREADS + w;
            float sum[TOGETHER][LANES] = { { 0 } };
            for (size_t s = 0; s < SIZES; s++)
                for (size_t j = 0; j < TOGETHER; j++) {
                    const float chance = g->size[w + j][s];
#pragma omp simd
                    for (int k = 0; k < LANES; k++) sum[j][k] += chance * fit[s * LANES + (size_t)k];
                }
            for (size_t j = 0; j < TOGETHER; j++) {
                const float per_seen = (float)(1 / fmax(g->seen[m + j], 1e-3));
                float *real = real_of(q, m + j, first);
#pragma omp simd
                for (int k = 0; k < LANES; k++) real[k] = sum[j][k] * per_seen;
            }
        }
    }
}

/* exp x, nothing below 1e-304. */
static inline double exp_of(double x) { return x > -700 ? mro_exp64(x) : 0; }

/* Brings a number > 0 to between 1 and 2: the power of two that was taken out. */
static inline int64_t take_exponent(double *v)
{
    const int64_t one = (int64_t)1023 << 52, fraction = ((int64_t)1 << 52) - 1;
    int64_t bits;
    memcpy(&bits, v, sizeof bits);
    const int64_t power = (bits >> 52) - 1023;
    bits = (bits & fraction) | one;
    memcpy(v, &bits, sizeof bits);
    return power;
}

/* ln of what is known beforehand of a contrast: the expectation, or a wider one around it. */
static double contrast_prior(double log_c, const struct mro_contrast *expected)
{
    const double off = log_c - expected->log_c, surprise = expected->given ? 0 : SURPRISE_CHANCE;
    return log((1 - surprise) * normal(off, expected->log_sd) + surprise * normal(off, SURPRISE_SD));
}

static bool posterior_fill(const struct mro_order_plan *p, const struct mro_found_list *l, double false_patches,
                           const struct mro_contrast *expected, struct posterior *q)
{
    const int threads = p->d->threads;
    const size_t n = l->n, wide = (n + LANES - 1) / LANES * LANES;
    memset(q, 0, sizeof *q);
    q->models = p->models;
    q->n = n;
    q->wide = wide;
    q->fit = malloc((CONTRASTS * SIZES * wide + 1) * sizeof *q->fit);
    q->real = malloc((MODELS * wide + 1) * sizeof *q->real);
    q->noise = malloc((wide + 1) * sizeof *q->noise);
    q->noise64 = malloc((wide + 1) * sizeof *q->noise64);
    q->joint = malloc((size_t)MODELS * COUNTS * sizeof *q->joint);
    if (!q->fit || !q->real || !q->noise || !q->noise64 || !q->joint) return false;

#pragma omp parallel for schedule(static) num_threads(mro_team(threads, 1e3 * (double)n))
    for (size_t first = 0; first < n; first += LANES) fill_fit(p, l, false_patches, q, first);
    const double most = (double)n + 4 * sqrt((double)n + 1) + 2;
    const double least = fmax(0.02, (double)n - false_patches - 4 * sqrt((double)n + 1));
    for (int k = 0; k < COUNTS; k++) q->count[k] = pow(sqrt(least) + (sqrt(most) - sqrt(least)) * k / (COUNTS - 1), 2);

    for (size_t i = 0; i < n; i++) q->noise64[i] = (double)q->noise[i] / SCALE;
    double highest[MODELS], top = -INFINITY, of_contrast[CONTRASTS];
    for (int c = 0; c < CONTRASTS; c++) of_contrast[c] = contrast_prior(p->models->log_c[c], expected);
    bool failed = false;
#pragma omp parallel num_threads(mro_team(threads, 0.2 * (double)(MODELS * COUNTS * n)))
    {
        double *one = malloc((wide + 1) * sizeof *one);
        if (one == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (int m = 0; m < MODELS; m++) {
            const int c = m / (MEANS * SPREADS), w = m % (MEANS * SPREADS);
            if (one == NULL) continue;
            const float *real = real_of(q, (size_t)m, 0);
#pragma omp simd
            for (size_t i = 0; i < wide; i++) one[i] = (double)real[i] / SCALE;
            const double prior = p->models->log_prior[w] + of_contrast[c];
            /* Equidistant in sqrt(count): the prior of a Poisson mean, count^(-1/2), is flat there. */
            double product[COUNTS], *sum = q->joint + (size_t)m * COUNTS;
            int64_t exponent[COUNTS] = { 0 };
            for (int k = 0; k < COUNTS; k++) product[k] = 1;
            for (size_t i = 0; i < n; i += 8) {
                for (size_t j = i; j < i + 8 && j < n; j++)
#pragma omp simd
                    for (int k = 0; k < COUNTS; k++) {
                        const double v = q->count[k] * one[j] + q->noise64[j];
                        product[k] *= v > 1e-30 ? v : 1e-30;
                    }
#pragma omp simd
                for (int k = 0; k < COUNTS; k++) exponent[k] += take_exponent(product + k);
            }
            double here = -INFINITY;
#pragma omp simd reduction(max : here)
            for (int k = 0; k < COUNTS; k++) {
                sum[k] = prior - q->count[k] + (double)exponent[k] * M_LN2 + mro_ln64(product[k]);
                here = sum[k] > here ? sum[k] : here;
            }
            highest[m] = here;
        }
        free(one);
    }
    if (failed) return false;
    for (size_t m = 0; m < MODELS; m++) top = highest[m] > top ? highest[m] : top;
    double total = 0;
    for (size_t m = 0; m < MODELS; m++) {
        double *joint = q->joint + m * COUNTS, sum = 0;
        q->weight[m] = 0;
        if (highest[m] < top + LEAST_LOG) continue;
#pragma omp simd reduction(+ : sum)
        for (size_t k = 0; k < COUNTS; k++) {
            const double less = joint[k] - top;
            joint[k] = mro_exp64(less > 2 * LEAST_LOG ? less : 2 * LEAST_LOG);
            sum += joint[k];
        }
        total += q->weight[m] = sum;
    }
    for (size_t m = 0; m < MODELS; m++) {
        if (!(q->weight[m] > 0)) continue;
        q->weight[m] /= total;
        for (size_t k = 0; k < COUNTS; k++) q->joint[m * COUNTS + k] /= total;
    }
    return true;
}

static uint64_t draw_stream(size_t b) { return (5ull << 32) + b; }

/* Poisson numbers of draws first, first + 1, ..., as many as there are lanes: by multiplication while they are small,
 * normal beyond. */
static void poisson(const double *mean, uint64_t seed, size_t first, double *number)
{
    enum { N = MRO_PHILOX_LANES };
    const double most = 60;
    double least[N], product[N];
    mro_philox_words v[4];
    int left = N;
#pragma omp simd
    for (int k = 0; k < N; k++) {
        least[k] = mro_exp64(mean[k] < most ? -mean[k] : -most);
        product[k] = 1;
        number[k] = 0;
    }
    for (uint64_t i = 0; left > 0; i++) {
        mro_philox_streams(seed, draw_stream(first), (1u << 30) + i, v);
        left = 0;
        for (int j = 0; j < 4; j++)
#pragma omp simd
            for (int k = 0; k < N; k++) {
                product[k] *= mro_uniform_open((uint32_t)v[j][k]);
                number[k] += product[k] < least[k] ? 0 : 1;
            }
        for (int k = 0; k < N; k++) left += product[k] >= least[k];
    }
    for (int k = 0; k < N; k++) {
        if (mean[k] <= most) continue;
        const mro_philox_block u = mro_philox(seed, draw_stream(first + (size_t)k), 1u << 30);
        number[k] = fmax(0, round(mean[k] + sqrt(mean[k]) * mro_normal_pair(u.v[0], u.v[1]).re));
    }
}

/* The draws of a sum over patches. Draws go through the grid of models in order, so that neighbours share a model: each
 * of PART of them uses what was computed of it. */
enum { PART = 32, THIRD = (SIZES - 1) / 3 };
_Static_assert(3 * THIRD == SIZES - 1 && SIZES > 2 * LANES && SIZES <= 3 * LANES, "sizes are gone through in thirds");
_Static_assert(DRAWS % MRO_PHILOX_LANES == 0, "draws are made side by side");
struct draws {
    const struct posterior *q;
    const float *inside; /* [wide]: share of each patch's disc that lies in the region */
    uint64_t seed;
};

/* The area of the size that each patch has, by how many sizes have no larger a chance than `at`. Compilers turn masks
 * of AVX-512 into vectors before they count, and gather one number after the other. */
static inline void drawn_areas(const float chance[SIZES][LANES], const float *at, const float *area_of, float *area)
{
    /* Three sums, which need not wait for each other. */
#ifdef __AVX512F__
    const __m512 mark = _mm512_loadu_ps(at);
    const __m512i one = _mm512_set1_epi32(1);
    __m512i part[3] = { _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512() };
#pragma GCC unroll 13
    for (int s = 0; s < THIRD; s++)
        for (int j = 0; j < 3; j++) {
            const __mmask16 small = _mm512_cmp_ps_mask(_mm512_loadu_ps(chance[j * THIRD + s]), mark, _CMP_LE_OQ);
            part[j] = _mm512_mask_add_epi32(part[j], small, part[j], one);
        }
    const __m512i size = _mm512_add_epi32(_mm512_add_epi32(part[0], part[1]), part[2]);
    const __m512 few =
        _mm512_permutex2var_ps(_mm512_loadu_ps(area_of), size, _mm512_loadu_ps(area_of + LANES)); /* modulo 32 */
    const __mmask16 more = _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(2 * LANES));
    const __m512 rest = _mm512_maskz_loadu_ps((1 << (SIZES - 2 * LANES)) - 1, area_of + 2 * LANES);
    _mm512_storeu_ps(area, _mm512_mask_permutexvar_ps(few, more, size, rest)); /* modulo 16 */
#else
    int32_t low[LANES] = { 0 }, middle[LANES] = { 0 }, high[LANES] = { 0 };
    for (int s = 0; s < THIRD; s++)
#pragma omp simd
        for (int k = 0; k < LANES; k++) {
            low[k] += chance[s][k] <= at[k];
            middle[k] += chance[THIRD + s][k] <= at[k];
            high[k] += chance[2 * THIRD + s][k] <= at[k];
        }
#pragma omp simd
    for (int k = 0; k < LANES; k++) area[k] = area_of[low[k] + middle[k] + high[k]];
#endif
}

/* Adds to area[0 .. n_draws) the areas of the patches that are real in draws first, first + 1, ... of model m, with
 * expected numbers of found spheres count[...]. `uniform` is room for PART * wide numbers and MRO_PHILOX_LANES
 * more: one decides whether a patch is real, and by its place among those that say so, how large it is. */
static void draw_patches(const struct draws *d, size_t m, size_t first, size_t n_draws, const double *count,
                         float *uniform, double *area)
{
    const struct posterior *q = d->q;
    const size_t wide = q->wide, quarter = wide / 4, c = m / (MEANS * SPREADS);
    const float *size = q->models->size[m % (MEANS * SPREADS)], *area_of = q->models->area;
    for (size_t b = 0; b < n_draws; b++) {
        float *u = uniform + b * wide;
        const uint64_t stream = draw_stream(first + b);
        /* From the last on: what goes beyond a quarter is written over by the next. */
        for (size_t i = (quarter + MRO_PHILOX_LANES - 1) / MRO_PHILOX_LANES * MRO_PHILOX_LANES; i > 0;) {
            mro_philox_words r[4];
            i -= MRO_PHILOX_LANES;
            mro_philox_lanes(d->seed, stream, 1 + i, r);
            for (size_t j = 0; j < 4; j++) {
                float one[MRO_PHILOX_LANES];
                for (int k = 0; k < MRO_PHILOX_LANES; k++) one[k] = mro_uniform_open((uint32_t)r[j][k]);
                memcpy(u + j * quarter + i, one, sizeof one);
            }
        }
    }
    float sum_of[PART][LANES] = { { 0 } };
    for (size_t i = 0; i < wide; i += LANES) {
        const float *real = real_of(q, m, i), *noise = q->noise + i, *inside = d->inside + i;
        float chance[SIZES][LANES], sum[LANES] = { 0 }; /* of up to a size */
        for (size_t s = 0; s < SIZES; s++) {
            const float *fit = fit_of(q, c, s, i), one = size[s];
#pragma omp simd
            for (int k = 0; k < LANES; k++) chance[s][k] = sum[k] += one * fit[k];
        }
        for (size_t b = 0; b < n_draws; b++) {
            const float *u = uniform + b * wide + i, expected = (float)count[b];
            float at[LANES], drawn[LANES];
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                const float r = expected * real[k], mark = u[k] * (r + noise[k]), part = mark / r * sum[k];
                at[k] = mark < r ? part : -1; /* -1: speckle */
            }
            drawn_areas(chance, at, area_of, drawn);
#pragma omp simd
            for (int k = 0; k < LANES; k++) sum_of[b][k] += at[k] < 0 ? 0 : inside[k] * drawn[k];
        }
    }
    for (size_t b = 0; b < n_draws; b++)
        for (int k = 0; k < LANES; k++) area[b] += (double)sum_of[b][k];
}

/* Mean area of the crystals of the patches from `first` on over all models, nm^2; NaN where none explains a patch. */
static void mean_areas(const struct posterior *q, size_t first, double area[LANES])
{
    double sum[LANES] = { 0 }, weight[LANES] = { 0 };
    for (size_t c = 0; c < CONTRASTS; c++) {
        float share[SIZES][LANES] = { { 0 } };
        bool any = false;
        for (size_t w = 0, m = c * MEANS * SPREADS; w < MEANS * SPREADS; w++, m++) {
            if (q->weight[m] < LEAST_WEIGHT) continue;
            const float *real = real_of(q, m, first), *size = q->models->size[w];
            const float per_seen = (float)(1 / fmax(q->models->seen[m], 1e-3)), one = (float)q->weight[m];
            float part[LANES];
            any = true;
            for (int k = 0; k < LANES; k++) {
                part[k] = real[k] > 0 ? one * per_seen / real[k] : 0;
                weight[k] += real[k] > 0 ? q->weight[m] : 0;
            }
            for (size_t s = 0; s < SIZES; s++)
#pragma omp simd
                for (int k = 0; k < LANES; k++) share[s][k] += part[k] * size[s];
        }
        for (size_t s = 0; any && s < SIZES; s++) {
            const float *fit = fit_of(q, c, s, first);
            for (int k = 0; k < LANES; k++) sum[k] += (double)(share[s][k] * fit[k] * q->models->area[s]);
        }
    }
    for (int k = 0; k < LANES; k++) area[k] = weight[k] > 0 ? sum[k] / weight[k] : NAN;
}

/* Chance of the patches from `first` on to be no speckle, over all models. */
static void mean_reality(const struct posterior *q, size_t first, double chance[LANES])
{
    memset(chance, 0, LANES * sizeof *chance);
    for (size_t m = 0; m < MODELS; m++) {
        if (q->weight[m] < LEAST_WEIGHT) continue;
        const float *one = real_of(q, m, first), *noise = q->noise + first;
        float sum[LANES] = { 0 };
        for (size_t j = 0; j < COUNTS; j++) {
            const float count = (float)q->count[j], joint = (float)q->joint[m * COUNTS + j];
#pragma omp simd
            for (int k = 0; k < LANES; k++) sum[k] += joint * (count * one[k]) / (count * one[k] + noise[k]);
        }
        for (int k = 0; k < LANES; k++) chance[k] += (double)sum[k];
    }
}

enum mro_code mro_area_of(const struct mro_order_plan *p, const struct mro_found_list *found, const double region[4],
                          double usable_nm2, double searched_nm2, const struct mro_contrast *expected, bool lens_known,
                          struct mro_area *a, struct mro_error *e)
{
    memset(a, 0, sizeof *a);
    const size_t n = found->n;
    const double false_patches = searched_nm2 * (double)p->null.false_patches / p->null.area_nm2;
    struct posterior *q = malloc(sizeof *q);
    const size_t wide = (n + LANES - 1) / LANES * LANES;
    float *inside = calloc(wide + 1, sizeof *inside);
    double *draw = malloc(DRAWS * sizeof *draw), *normal_of = malloc(DRAWS * sizeof *normal_of);
    double *least = malloc(DRAWS * sizeof *least), *count = malloc(DRAWS * sizeof *count);
    size_t *point = malloc(DRAWS * sizeof *point); /* of the grid, of each draw */
    a->diameter_nm = calloc(n + 1, sizeof *a->diameter_nm);
    a->weight = calloc(n + 1, sizeof *a->weight);
    double *own = calloc(n + 1, sizeof *own); /* area of each disc inside the region */
    enum mro_code rc = MRO_OK;
    if (!q || !inside || !draw || !normal_of || !least || !count || !point || !a->diameter_nm || !a->weight || !own) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        free(q);
        q = NULL;
        goto done;
    }
    if (!posterior_fill(p, found, false_patches, expected, q)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu patches", n);
        goto done;
    }
    double contrast = 0;
    for (int m = 0; m < MODELS; m++) contrast += q->weight[m] * p->models->log_c[m / (MEANS * SPREADS)];
    a->contrast = exp(contrast);

    /* Mean size of every patch over the models, for its disc. */
#pragma omp parallel for schedule(static) num_threads(mro_team(p->d->threads, 1e3 * (double)n))
    for (size_t first = 0; first < n; first += LANES) {
        double area[LANES];
        mean_areas(q, first, area);
        for (size_t i = first; i < n && i < first + LANES; i++)
            a->diameter_nm[i] = isfinite(area[i - first]) ? sqrt(4 / MRO_PI * area[i - first])
                                                          : exp(found->v[i].log_d) - MRO_INTERFACE_NM;
    }
    double covered = 0, discs = 0, wide_nm2 = 0;
    if (n && (rc = mro_disc_areas(found, a->diameter_nm, region, own, &covered, p->d->threads, e))) goto done;
    for (size_t i = 0; i < n; i++) {
        inside[i] = (float)(own[i] / (MRO_PI / 4 * a->diameter_nm[i] * a->diameter_nm[i]));
        discs += own[i];
        wide_nm2 += a->diameter_nm[i] > WIDE_NM ? own[i] : 0;
    }
    const double overlap = discs > 0 ? covered / discs : 1;

    double sum = 0;
    for (size_t m = 0; m < MODELS; m++) sum += q->weight[m];
    /* Stratified over the grid, so that few draws cover it evenly. */
    const uint64_t seed = p->o.seed;
    for (size_t b = 0; b < DRAWS; b += MRO_PHILOX_LANES) {
        mro_philox_words u[4];
        mro_philox_streams(seed, draw_stream(b), 0, u);
        for (size_t k = 0; k < MRO_PHILOX_LANES; k++) {
            least[b + k] = ((double)(b + k) + mro_uniform_open((uint32_t)u[0][k])) / DRAWS * sum;
            normal_of[b + k] = mro_normal_pair((uint32_t)u[1][k], (uint32_t)u[2][k]).re;
        }
    }
    double before = 0, within = 0; /* of the models before m, and of the counts before k in it */
    size_t last = MODELS - 1;
    while (last > 0 && !(q->weight[last] > 0)) last--;
    for (size_t b = 0, m = 0, k = 0; b < DRAWS; b++) {
        for (; m < last && before + q->weight[m] < least[b]; k = 0, within = 0) before += q->weight[m++];
        const double *joint = q->joint + m * COUNTS;
        for (; k + 1 < COUNTS && before + (within + joint[k]) < least[b]; k++) within += joint[k];
        point[b] = m * COUNTS + k;
        count[b] = q->count[k];
    }
    const struct draws draws = { q, inside, p->o.seed };
    bool failed = false;
#pragma omp parallel num_threads(p->d->threads)
    {
        float *uniform = malloc((PART * wide + MRO_PHILOX_LANES) * sizeof *uniform);
        if (uniform == NULL) mro_raise(&failed);
#pragma omp for schedule(dynamic)
        for (size_t from = 0; from < DRAWS; from += PART) {
            const size_t end = from + PART < DRAWS ? from + PART : DRAWS;
            for (size_t b = from, next; uniform && b < end; b = next) {
                const size_t m = point[b] / COUNTS;
                for (next = b; next < end && point[next] / COUNTS == m; next++) draw[next] = 0;
                draw_patches(&draws, m, b, next - b, count + b, uniform, draw + b);
            }
        }
        free(uniform);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu patches", n);
        goto done;
    }
    const double here = usable_nm2 / searched_nm2; /* missed spheres are spread over the searched area */
    /* Ghosts of an unknown lens double the area at worst, or hide half of what is there. */
    const double spread_less = hypot(SYSTEMATIC, lens_known ? 0 : MRO_UNKNOWN_LESS),
                 spread_more =
                     hypot(hypot(SYSTEMATIC, WIDE_MORE * wide_nm2 / usable_nm2), lens_known ? 0 : MRO_UNKNOWN_MORE);
#pragma omp parallel num_threads(mro_team(p->d->threads, 20.0 * DRAWS))
    {
#pragma omp for schedule(static)
        for (size_t first = 0; first < DRAWS; first += MRO_PHILOX_LANES) {
            double mean[MRO_PHILOX_LANES], missed[MRO_PHILOX_LANES];
            for (size_t k = 0; k < MRO_PHILOX_LANES; k++) {
                const double seen = p->models->seen[point[first + k] / COUNTS];
                mean[k] = count[first + k] * (1 - seen) / fmax(seen, 1e-3) * here;
            }
            poisson(mean, seed, first, missed);
            for (size_t b = first; b < first + MRO_PHILOX_LANES; b++) {
                const size_t m = point[b] / COUNTS;
                const double factor = fmin(1 / p->models->seen[m], MOST_CORRECTION) - 1;
                const double missed_area = p->models->missed_area[m] / usable_nm2;
                least[b] = count[b] * factor * here * missed_area;
                count[b] = missed[b - first] * missed_area; /* of no other use any more */
            }
        }
#pragma omp for simd schedule(static)
        for (size_t b = 0; b < DRAWS; b++) {
            const double part = draw[b] * overlap / usable_nm2, rest = part < 1 ? 1 - part : 0, z = normal_of[b];
            const double f = (1 - rest * exp_of(-count[b])) * exp_of(z * (z < 0 ? spread_less : spread_more));
            least[b] = 1 - rest * exp_of(-least[b]);
            draw[b] = f < 1 ? f : 1;
        }
    }
    /* What is selected parts all others, so that the next is looked for on one side of it. */
    enum { HALF = DRAWS / 2, TAIL = DRAWS / 40 };
    const double median[2] = { gsl_stats_select(least, 1, DRAWS, HALF - 1), gsl_stats_min(least + HALF, 1, HALF) };
    const double lower = gsl_stats_select(least, 1, HALF - 1, TAIL),
                 upper = gsl_stats_select(least + HALF, 1, HALF, HALF - 1 - TAIL);
    a->fraction = 0.5 * (median[0] + median[1]);
    a->ci95[0] = fmin(gsl_stats_select(draw, 1, DRAWS, TAIL), lower);
    a->ci95[1] = fmax(gsl_stats_select(draw + TAIL, 1, DRAWS - TAIL, DRAWS - 1 - 2 * TAIL), upper);
#pragma omp parallel for schedule(static) num_threads(mro_team(p->d->threads, 1e3 * (double)n))
    for (size_t first = 0; first < n; first += LANES) {
        double chance[LANES];
        mean_reality(q, first, chance);
        for (size_t i = first; i < n && i < first + LANES; i++) a->weight[i] = chance[i - first];
    }
done:
    if (q) posterior_free(q);
    free(q);
    free(inside);
    free(own);
    free(draw);
    free(normal_of);
    free(least);
    free(count);
    free(point);
    if (rc) mro_area_release(a);
    return rc;
}

void mro_area_release(struct mro_area *a)
{
    free(a->diameter_nm);
    free(a->weight);
    memset(a, 0, sizeof *a);
}

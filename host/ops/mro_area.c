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
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/math/elementary.h"
#include "mroscope/math/philox.h"
#include "ops/mro_internal.h"

#define MAXIMUM_BIAS 4.0 /* mean of power - snr after the climb, from planted spheres */
#define SHAPE_BIAS 0.0   /* of ln d from the shape, likewise */
#define SNR_SCATTER 0.30 /* of ln snr between spheres of one size */
#define SYSTEMATIC 0.04  /* of the area: the interface, the profile */
/* Prior of the mean size, of use where few patches are found: mean of its logarithm and standard deviation. */
#define SIZE_NM 2.0
#define SIZE_SD 0.12
#define AREA_STEP_NM 0.05
/* The area quoted goes beyond what was found by at most this factor; the interval knows no such bound. Where most is
 * missed the rest is guesswork, and the size limit says so. */
#define MOST_CORRECTION 1.4
#define DRAWS 2000

enum { SIZES = 40, CONTRASTS = 15, MEANS = 17, SPREADS = 4, COUNTS = 16, MODELS = CONTRASTS * MEANS * SPREADS };

void mro_found_shape(const struct mro_order_plan *p, struct mro_found *f)
{
    /* Posterior mode over ln d: power, less the cost of more tries at larger sizes, less that of position and wave
     * vector, which a stronger patch fixes more tightly (Laplace): 2 ln power. */
    double u[MRO_PATCH_SIZES], x[MRO_PATCH_SIZES];
    int k = 0;
    for (int i = 0; i < MRO_PATCH_SIZES; i++) {
        x[i] = log(p->search.diameter_nm[i]);
        u[i] = f->power[i] - p->size_cost[i] - 2 * log(fmax(f->power[i], 1.5));
        if (u[i] > u[k]) k = i;
    }
    f->log_d = x[k];
    f->log_d_sd = 0.5;
    f->top_power = f->power[k];
    if (k > 0 && k < MRO_PATCH_SIZES - 1) {
        /* Parabola through the three points around the mode. */
        const double a = x[k - 1] - x[k], b = x[k + 1] - x[k], fa = u[k - 1] - u[k], fb = u[k + 1] - u[k];
        const double curvature = 2 * (fa / a - fb / b) / (a - b), slope = fa / a - 0.5 * curvature * a;
        if (curvature < 0) {
            const double shift = fmin(fmax(-slope / curvature, a), b);
            f->log_d = x[k] + shift;
            f->log_d_sd = fmin(0.5, 1 / sqrt(-curvature));
            const double pa = f->power[k - 1] - f->power[k], pb = f->power[k + 1] - f->power[k];
            const double pc = 2 * (pa / a - pb / b) / (a - b), ps = pa / a - 0.5 * pc * a;
            f->top_power = f->power[k] + ps * shift + 0.5 * pc * shift * shift;
        }
    }
    /* The curvature misses other modes of weak patches: their scatter, from planted spheres, is the floor. */
    f->log_d_sd = fmax(f->log_d_sd, fmax(4.2 / f->top_power, 0.7 / sqrt(f->top_power)));
    f->log_d -= SHAPE_BIAS;
    const double over = fmax(f->top_power - MAXIMUM_BIAS, 1);
    f->snr = over / fmax(1 - over / MRO_GAIN_SNR, 0.25);
}

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

/* Union of discs inside the region, and every disc's own part of it, on a fine raster. */
static enum mro_code disc_areas(const struct mro_found_list *l, const double *diameter, const double region[4],
                                double *own, double *both, struct mro_error *e)
{
    const size_t nx = (size_t)((region[2] - region[0]) / AREA_STEP_NM),
                 ny = (size_t)((region[3] - region[1]) / AREA_STEP_NM);
    const double cell = AREA_STEP_NM * AREA_STEP_NM;
    unsigned char *hit = calloc(nx * ny + 1, 1);
    if (hit == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    size_t covered = 0;
    for (size_t i = 0; i < l->n; i++) {
        const double r = 0.5 * diameter[i], cy = (l->v[i].y_nm - region[1]) / AREA_STEP_NM - 0.5;
        const double cx = (l->v[i].x_nm - region[0]) / AREA_STEP_NM - 0.5, rr = r / AREA_STEP_NM;
        size_t mine = 0;
        for (double y = ceil(fmax(0, cy - rr)); y <= fmin((double)ny - 1, cy + rr); y++) {
            const double w = sqrt(fmax(0, rr * rr - (y - cy) * (y - cy)));
            for (double x = ceil(fmax(0, cx - w)); x <= fmin((double)nx - 1, cx + w); x++) {
                unsigned char *h = hit + (size_t)y * nx + (size_t)x;
                mine++;
                covered += !*h;
                *h = 1;
            }
        }
        own[i] = (double)mine * cell;
    }
    *both = (double)covered * cell;
    free(hit);
    return MRO_OK;
}

/* The grid of models, and what each says of each patch. */
struct posterior {
    size_t n;            /* patches */
    double log_d[SIZES]; /* apparent */
    double area[SIZES];  /* of the crystal, nm^2 */
    double log_c[CONTRASTS];
    double found[CONTRASTS][SIZES]; /* detection power */
    double weight[MODELS];          /* later: posterior of the model, summed over counts */
    double seen[MODELS];            /* share of spheres that are found */
    double missed_area[MODELS];     /* mean area of one that is not */
    double (*size)[SIZES];          /* [MEANS * SPREADS]: prior of sizes */
    double *shape;                  /* [n][SIZES] likelihood of the shape */
    double *snr;                    /* [n][CONTRASTS][SIZES] of the signal-to-noise ratio */
    double *real;                   /* [MODELS][n] likelihood under a model */
    double *noise;                  /* [n] likelihood under speckle */
    double count[COUNTS];           /* expected number of found spheres */
    double *joint;                  /* [MODELS][COUNTS] posterior */
};

static double normal(double x, double sd) { return exp(-0.5 * x * x / (sd * sd)) / sd; }

/* Chance of the sizes of a patch: prior times the likelihoods of its shape and of its ratio, and their sum. */
static double size_chances(const double *prior, const double *shape, const double *snr, double *chance)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int s = 0; s < SIZES; s++) sum += chance[s] = prior[s] * shape[s] * snr[s];
    return sum;
}

static void posterior_free(struct posterior *q)
{
    free(q->size);
    free(q->shape);
    free(q->snr);
    free(q->real);
    free(q->noise);
    free(q->joint);
}

static bool posterior_fill(const struct mro_order_plan *p, const struct mro_found_list *l, double false_patches,
                           const struct mro_contrast *expected, struct posterior *q, int threads)
{
    const size_t n = l->n;
    memset(q, 0, sizeof *q);
    q->n = n;
    q->size = malloc(MEANS * SPREADS * sizeof *q->size);
    q->shape = malloc((n + 1) * SIZES * sizeof *q->shape);
    q->snr = malloc((n + 1) * CONTRASTS * SIZES * sizeof *q->snr);
    q->real = malloc((n + 1) * MODELS * sizeof *q->real);
    q->noise = malloc((n + 1) * sizeof *q->noise);
    q->joint = malloc((size_t)MODELS * COUNTS * sizeof *q->joint);
    if (!q->size || !q->shape || !q->snr || !q->real || !q->noise || !q->joint) return false;

    for (int s = 0; s < SIZES; s++) {
        q->log_d[s] = log(0.9) + (log(3.9) - log(0.9)) * s / (SIZES - 1);
        const double d = fmax(exp(q->log_d[s]) - MRO_INTERFACE_NM, 0.3);
        q->area[s] = MRO_PI / 4 * d * d;
    }
    double prior_c[CONTRASTS], prior_size[MEANS * SPREADS];
    for (int c = 0; c < CONTRASTS; c++) {
        q->log_c[c] = log(0.15) + (log(5.0) - log(0.15)) * c / (CONTRASTS - 1);
        prior_c[c] = normal(q->log_c[c] - expected->log_c, expected->log_sd);
        for (int s = 0; s < SIZES; s++) q->found[c][s] = power_at_snr(p, exp(q->log_c[c] + 4 * q->log_d[s]));
    }
    static const double spreads[SPREADS] = { 0.05, 0.12, 0.20, 0.28 }, prior_spread[SPREADS] = { 0.2, 0.3, 0.3, 0.2 };
    for (int m = 0; m < MEANS; m++)
        for (int w = 0; w < SPREADS; w++) {
            double *v = q->size[m * SPREADS + w], sum = 0;
            const double mean = log(1.3) + (log(2.9) - log(1.3)) * m / (MEANS - 1);
            for (int s = 0; s < SIZES; s++) sum += v[s] = normal(q->log_d[s] - mean, spreads[w]);
            for (int s = 0; s < SIZES; s++) v[s] /= sum;
            prior_size[m * SPREADS + w] = normal(mean - log(SIZE_NM), SIZE_SD) * prior_spread[w];
        }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t i = 0; i < n; i++) {
        const struct mro_found *f = l->v + i;
        const double scatter = sqrt(SNR_SCATTER * SNR_SCATTER + 1.2 / f->snr);
        for (int s = 0; s < SIZES; s++) {
            q->shape[i * SIZES + s] = normal(f->log_d - q->log_d[s], f->log_d_sd);
            for (int c = 0; c < CONTRASTS; c++)
                q->snr[(i * CONTRASTS + c) * SIZES + s] = normal(log(f->snr) - q->log_c[c] - 4 * q->log_d[s], scatter);
        }
        /* Speckle: any size, an excess that falls exponentially; both densities over ln d and ln snr. */
        q->noise[i] = 2 * MRO_PI / log(3.1) * f->snr / p->null.object_excess *
                      exp(-(f->significance - p->null.object_threshold) / p->null.object_excess);
    }
    const double most = (double)n + 4 * sqrt((double)n + 1) + 2;
    const double least = fmax(0.02, (double)n - false_patches - 4 * sqrt((double)n + 1));
    for (int k = 0; k < COUNTS; k++) q->count[k] = pow(sqrt(least) + (sqrt(most) - sqrt(least)) * k / (COUNTS - 1), 2);

    double top = -INFINITY;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(max : top)
    for (int m = 0; m < MODELS; m++) {
        const int c = m / (MEANS * SPREADS), w = m % (MEANS * SPREADS);
        double *real = q->real + (size_t)m * n;
        double missed = 0;
        for (int s = 0; s < SIZES; s++) {
            q->seen[m] += q->size[w][s] * q->found[c][s];
            missed += q->size[w][s] * (1 - q->found[c][s]) * q->area[s];
        }
        q->missed_area[m] = missed / fmax(1 - q->seen[m], 1e-9);
        double found[COUNTS], product[COUNTS], chance[SIZES];
        for (int k = 0; k < COUNTS; k++) {
            /* Equidistant in sqrt(count): the prior of a Poisson mean, count^(-1/2), is flat there. */
            found[k] = log(prior_c[c] * prior_size[w]) - q->count[k];
            product[k] = 1; /* of eight at a time: a logarithm each would take most of the time */
        }
        for (size_t i = 0; i < n; i++) {
            const double *snr = q->snr + (i * CONTRASTS + (size_t)c) * SIZES, noise = false_patches * q->noise[i];
            const double one = real[i] =
                size_chances(q->size[w], q->shape + i * SIZES, snr, chance) / fmax(q->seen[m], 1e-3);
#pragma omp simd
            for (int k = 0; k < COUNTS; k++) {
                const double v = q->count[k] * one + noise;
                product[k] *= v > 1e-30 ? v : 1e-30;
            }
            if (i % 8 < 7 && i + 1 < n) continue;
#pragma omp simd
            for (int k = 0; k < COUNTS; k++) {
                found[k] += mro_ln64(product[k]);
                product[k] = 1;
            }
        }
        for (int k = 0; k < COUNTS; k++) {
            q->joint[(size_t)m * COUNTS + (size_t)k] = found[k];
            top = fmax(top, found[k]);
        }
    }
    double total = 0;
    for (int m = 0; m < MODELS; m++)
        for (int k = 0; k < COUNTS; k++) {
            double *v = q->joint + (size_t)m * COUNTS + (size_t)k;
            *v = exp(*v - top);
            q->weight[m] += *v;
            total += *v;
        }
    for (int m = 0; m < MODELS; m++) {
        q->weight[m] /= total;
        for (int k = 0; k < COUNTS; k++) q->joint[(size_t)m * COUNTS + (size_t)k] /= total;
    }
    return true;
}

/* Poisson number: by multiplication while small, normal beyond. */
static double poisson(double mean, uint64_t seed, uint64_t stream)
{
    if (mean > 60) {
        const mro_philox_block u = mro_philox(seed, stream, 1u << 30);
        return fmax(0, round(mean + sqrt(mean) * mro_normal_pair(u.v[0], u.v[1]).re));
    }
    double left = mean;
    for (uint64_t i = 0;; i++) {
        const mro_philox_block u = mro_philox(seed, stream, (1u << 30) + i);
        for (int j = 0; j < 4; j++) {
            left += log(mro_uniform_open(u.v[j]));
            if (left < 0) return (double)(4 * i + (uint64_t)j);
        }
    }
}

/* The draws of a sum over patches. Draws go through the grid of models in order, so that neighbours share a model: each
 * of PART of them uses what was computed of it. */
enum { PART = 32 };
struct draws {
    const struct posterior *q;
    const double *inside; /* share of each patch's disc that lies in the region */
    double false_patches;
    uint64_t seed;
};

static uint64_t draw_stream(size_t b) { return (5ull << 32) + b; }

/* Adds to area[0 .. n_draws) the areas of the patches that are real in draws first, first + 1, ... of model m, with
 * expected numbers of found spheres count[...]. `uniform` is room for 2 * PART * n numbers. */
static void draw_patches(const struct draws *d, size_t m, size_t first, size_t n_draws, const double *count,
                         float *uniform, double *area)
{
    const struct posterior *q = d->q;
    const size_t n = q->n, c = m / (MEANS * SPREADS), w = m % (MEANS * SPREADS);
    for (size_t b = 0; b < n_draws; b++) {
        float *u = uniform + b * 2 * n, *v = u + n;
        const uint64_t stream = draw_stream(first + b);
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            const mro_philox_block r = mro_philox(d->seed, stream, 1 + i);
            u[i] = mro_uniform_open(r.v[0]);
            v[i] = mro_uniform_open(r.v[1]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        const double *snr = q->snr + (i * CONTRASTS + c) * SIZES, noise = d->false_patches * q->noise[i];
        const double one = q->real[m * n + i];
        double chance[SIZES];
        bool ready = false;
        for (size_t b = 0; b < n_draws; b++) {
            const double real = count[b] * one;
            if (uniform[b * 2 * n + i] * (real + noise) > real) continue;
            if (!ready) {
                size_chances(q->size[w], q->shape + i * SIZES, snr, chance);
                for (int s = 1; s < SIZES; s++) chance[s] += chance[s - 1];
                ready = true;
            }
            const double at = uniform[b * 2 * n + n + i] * chance[SIZES - 1];
            int size = 0;
#pragma omp simd reduction(+ : size)
            for (int s = 0; s < SIZES - 1; s++) size += chance[s] <= at;
            area[b] += d->inside[i] * q->area[size];
        }
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
    double *inside = malloc((n + 1) * sizeof *inside), *draw = malloc(DRAWS * sizeof *draw);
    double *least = malloc(DRAWS * sizeof *least), *count = malloc(DRAWS * sizeof *count);
    size_t *point = malloc(DRAWS * sizeof *point); /* of the grid, of each draw */
    double *cumulative = malloc((size_t)MODELS * COUNTS * sizeof *cumulative);
    a->diameter_nm = calloc(n + 1, sizeof *a->diameter_nm);
    a->weight = calloc(n + 1, sizeof *a->weight);
    double *own = calloc(n + 1, sizeof *own); /* area of each disc inside the region */
    enum mro_code rc = MRO_OK;
    if (!q || !inside || !draw || !least || !count || !point || !cumulative || !a->diameter_nm || !a->weight || !own) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        free(q);
        q = NULL;
        goto done;
    }
    if (!posterior_fill(p, found, false_patches, expected, q, p->d->threads)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu patches", n);
        goto done;
    }
    double contrast = 0;
    for (int m = 0; m < MODELS; m++) contrast += q->weight[m] * q->log_c[m / (MEANS * SPREADS)];
    a->contrast = exp(contrast);

    /* Mean size of every patch over the models, for its disc. */
#pragma omp parallel for schedule(static) num_threads(p->d->threads)
    for (size_t i = 0; i < n; i++) {
        double sum = 0, weight = 0;
        for (int m = 0; m < MODELS; m++) {
            if (q->weight[m] < 1e-6) continue;
            const int c = m / (MEANS * SPREADS), w = m % (MEANS * SPREADS);
            const double *shape = q->shape + i * SIZES, *snr = q->snr + (i * CONTRASTS + (size_t)c) * SIZES;
            double chance[SIZES], area = 0;
            const double all = size_chances(q->size[w], shape, snr, chance);
#pragma omp simd reduction(+ : area)
            for (int s = 0; s < SIZES; s++) area += chance[s] * q->area[s];
            if (!(all > 0)) continue;
            sum += q->weight[m] * area / all;
            weight += q->weight[m];
        }
        a->diameter_nm[i] = weight > 0 ? sqrt(4 / MRO_PI * sum / weight) : exp(found->v[i].log_d) - MRO_INTERFACE_NM;
    }
    double covered = 0, discs = 0;
    if (n && (rc = disc_areas(found, a->diameter_nm, region, own, &covered, e))) goto done;
    for (size_t i = 0; i < n; i++) {
        inside[i] = own[i] / (MRO_PI / 4 * a->diameter_nm[i] * a->diameter_nm[i]);
        discs += own[i];
    }
    const double overlap = discs > 0 ? covered / discs : 1;

    double sum = 0;
    for (size_t i = 0; i < (size_t)MODELS * COUNTS; i++) cumulative[i] = sum += q->joint[i];
    /* Stratified over the grid, so that few draws cover it evenly. */
    for (size_t b = 0, k = 0; b < DRAWS; b++) {
        const mro_philox_block u = mro_philox(p->o.seed, draw_stream(b), 0);
        const double at = ((double)b + mro_uniform_open(u.v[0])) / DRAWS * sum;
        while (k + 1 < (size_t)MODELS * COUNTS && cumulative[k] < at) k++;
        point[b] = k;
        count[b] = q->count[k % COUNTS];
    }
    const struct draws draws = { q, inside, false_patches, p->o.seed };
    bool failed = false;
#pragma omp parallel num_threads(p->d->threads)
    {
        float *uniform = malloc((2 * PART * n + 1) * sizeof *uniform);
        if (uniform == NULL) {
#pragma omp atomic write
            failed = true;
        }
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
#pragma omp parallel for schedule(static) num_threads(p->d->threads)
    for (size_t b = 0; b < DRAWS; b++) {
        const mro_philox_block u = mro_philox(p->o.seed, draw_stream(b), 0);
        const size_t m = point[b] / COUNTS;
        const double missed =
            poisson(count[b] * (1 - q->seen[m]) / fmax(q->seen[m], 1e-3) * here, p->o.seed, draw_stream(b));
        const double seen_part = draw[b] * overlap / usable_nm2, missed_part = missed * q->missed_area[m] / usable_nm2;
        double f = 1 - (1 - fmin(seen_part, 1)) * exp(-missed_part);
        const double factor = fmin(1 / q->seen[m], MOST_CORRECTION) - 1;
        least[b] = 1 - (1 - fmin(seen_part, 1)) * exp(-count[b] * factor * here * q->missed_area[m] / usable_nm2);
        const double z = mro_normal_pair(u.v[1], u.v[2]).re;
        /* Ghosts of an unknown lens double the area at worst, or hide half of what is there. */
        f *= exp(z * hypot(SYSTEMATIC, lens_known ? 0 : z < 0 ? 0.35 : 0.45));
        draw[b] = fmin(f, 1);
    }
    gsl_sort(draw, 1, DRAWS);
    gsl_sort(least, 1, DRAWS);
    a->fraction = 0.5 * (least[DRAWS / 2 - 1] + least[DRAWS / 2]);
    a->ci95[0] = fmin(draw[DRAWS / 40], least[DRAWS / 40]);
    a->ci95[1] = draw[DRAWS - 1 - DRAWS / 40];
#pragma omp parallel for schedule(static) num_threads(p->d->threads)
    for (size_t i = 0; i < n; i++) {
        const double noise = false_patches * q->noise[i] + 1e-300;
        double real = 0;
        for (int m = 0; m < MODELS; m++) {
            if (q->weight[m] < 1e-6) continue;
            const double one = q->real[(size_t)m * n + i], *joint = q->joint + (size_t)m * COUNTS;
#pragma omp simd reduction(+ : real)
            for (int k = 0; k < COUNTS; k++) {
                const double r = q->count[k] * one;
                real += joint[k] * r / (r + noise);
            }
        }
        a->weight[i] = real;
    }
done:
    if (q) posterior_free(q);
    free(q);
    free(inside);
    free(own);
    free(draw);
    free(least);
    free(count);
    free(point);
    free(cumulative);
    if (rc) mro_area_release(a);
    return rc;
}

void mro_area_release(struct mro_area *a)
{
    free(a->diameter_nm);
    free(a->weight);
    memset(a, 0, sizeof *a);
}

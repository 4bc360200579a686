/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Heterogeneity of one HAADF image: background, noise, contrast within a band, lengths, regions, verdict. */
#include "mroscope/haadf.h"

#include <float.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "core/select.h"
#include "mroscope/bandpass.h"
#include "mroscope/math/grid.h"
#include "ops/clipped.h"
#include "ops/haadf_internal.h"

#define GRID_BANDS 1.5   /* the spectrum is kept to this many times the upper limit of the band */
#define RINGS_IN_BAND 80 /* at most */
#define BLOCKS 64        /* of the background's fit, along an axis, at most */
#define VACUUM 0.1       /* of the usual counts: no specimen there */
#define CLIPPED 1e-3     /* share of pixels worth a warning */
#define SURE 3.0         /* standard errors of a contrast that is there */
#define MOVES 0.1        /* of a wavelength: more is no wavelength */
#define BETTER_AICC 6.0
#define LEAST_COVERAGE 0.25
#define WAVES 3.0          /* that a field must hold */
#define LATTICE_INV_NM 3.0 /* 1/d from which an HRTEM image shows its lattice */
#define MOSTLY_PASSED 0.9  /* share of the power of the longest waves that the high-pass has to leave */
#define FWHM 2.3548200450309493
#define SMALL_REGIONS 1.7 /* diameters, in widths of the smoothing, below which sizes are widened by it */
#define WARN_SPIKES 1e-3

void mro_haadf_options_default(struct mro_haadf_options *o)
{
    static const double thresholds[] = { 1, 1.5, 2, 3 };
    memset(o, 0, sizeof *o);
    o->band_inv_nm[0] = 1 / 15.0;
    o->band_inv_nm[1] = 1;
    o->black_level = NAN;
    o->polynomial = 3;
    o->high_pass_nm = 15;
    o->n_thresholds = sizeof thresholds / sizeof *thresholds;
    memcpy(o->thresholds_sd, thresholds, sizeof thresholds);
    o->surrogates = 999;
    o->seed = 1;
}

static void regions_unknown(struct mro_haadf_regions *r)
{
    r->threshold_sd = r->density_per_nm2 = r->area_fraction = r->diameter_nm = r->null_ratio = r->null_threshold_sd =
        r->p_value = NAN;
}

void mro_haadf_unknown(struct mro_haadf_result *r)
{
    double *const all[] = {
        &r->coverage,       &r->black_level,  &r->clipped_fraction, &r->contrast_sd,   &r->normalised_variance,
        &r->fwhm,           &r->skewness,     &r->noise_sd,         &r->line_noise_sd, &r->correlation_length_nm,
        &r->wavelength_nm,  &r->wavelength_p, &r->coherence_nm,     &r->p_value,       &r->noise_power,
        &r->histogram_mode, &r->smoothing_nm
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = NAN;
    for (int i = 0; i < 2; i++)
        r->contrast_sd_ci95[i] = r->skewness_ci95[i] = r->histogram_sd[i] = r->mask_level[i] = NAN;
    regions_unknown(&r->dark);
    regions_unknown(&r->bright);
}

void mro_haadf_state_free(struct mro_haadf_state *s)
{
    if (s == NULL) return;
    free(s->spectrum);
    free(s->mask);
    free(s);
}

struct mro_haadf_state *mro_haadf_state_copy(const struct mro_haadf_state *s)
{
    struct mro_haadf_state *c = malloc(sizeof *c);
    if (c == NULL) return NULL;
    *c = *s;
    const size_t n = s->grid.ny * s->grid.nx, m = s->mask_ny * s->mask_nx;
    c->spectrum = malloc(n * sizeof *c->spectrum);
    c->mask = s->mask ? malloc(m) : NULL;
    if (c->spectrum == NULL || (s->mask && c->mask == NULL)) {
        mro_haadf_state_free(c);
        return NULL;
    }
    memcpy(c->spectrum, s->spectrum, n * sizeof *c->spectrum);
    if (s->mask) memcpy(c->mask, s->mask, m);
    return c;
}

/* A multiple of 8 (of 2 below 32) whose odd part has factors 3 and 5 only. */
size_t mro_haadf_size(size_t n)
{
    const size_t unit = n < 32 ? 2 : 8;
    for (n = (n + unit - 1) / unit * unit;; n += unit) {
        size_t m = n;
        while (m % 2 == 0) m /= 2;
        while (m % 3 == 0) m /= 3;
        while (m % 5 == 0) m /= 5;
        if (m == 1) return n;
    }
}

/* ------------------------------------------------------------------ raw pixels */

static enum mro_code check_options(const struct mro_haadf_options *o, struct mro_error *e)
{
    if (o->polynomial < 0 || o->polynomial > MRO_HAADF_DEGREE)
        return MRO_FAIL(e, MRO_EARG, "the degree of the background is %d; it can be 0 to %d", o->polynomial,
                        MRO_HAADF_DEGREE);
    if (!(o->high_pass_nm >= 0))
        return MRO_FAIL(e, MRO_EARG, "the high-pass is %g nm; it cannot be negative", o->high_pass_nm);
    if (o->surrogates < 299 || o->surrogates > 100000)
        return MRO_FAIL(e, MRO_EARG, "%d random fields; 299 to 100000 can be drawn", o->surrogates);
    if (o->n_thresholds < 1 || o->n_thresholds > MRO_HAADF_LEVELS)
        return MRO_FAIL(e, MRO_EARG, "%zu thresholds; there can be 1 to %d", o->n_thresholds, MRO_HAADF_LEVELS);
    for (size_t i = 0; i < o->n_thresholds; i++)
        if (!(o->thresholds_sd[i] > 0 && o->thresholds_sd[i] <= 10) ||
            (i && !(o->thresholds_sd[i] > o->thresholds_sd[i - 1])))
            return MRO_FAIL(e, MRO_EARG,
                            "thresholds have to rise between 0 and 10 standard deviations; number %zu is %g", i + 1,
                            o->thresholds_sd[i]);
    if (o->hrtem && o->band_inv_nm[1] > LATTICE_INV_NM)
        return MRO_FAIL(e, MRO_EARG,
                        "the band reaches %g nm^-1, where HRTEM images show lattice and speckle instead of "
                        "heterogeneity; give --band with an upper limit of at most %g",
                        o->band_inv_nm[1], LATTICE_INV_NM);
    return MRO_OK;
}

static enum mro_code vacuum_level(const struct mro_image *im, const double pixel[2], const double box[4], float *px,
                                  double *level, struct mro_error *e)
{
    const double lx = (double)im->nx * pixel[1], ly = (double)im->ny * pixel[0];
    if (!(box[0] >= 0 && box[1] >= 0 && box[2] <= lx * (1 + 1e-9) && box[3] <= ly * (1 + 1e-9) && box[3] > box[1]))
        return MRO_FAIL(e, MRO_EARG, "the vacuum %g,%g,%g,%g nm is no rectangle inside the field of %.4g nm x %.4g nm",
                        box[0], box[1], box[2], box[3], lx, ly);
    const size_t x0 = (size_t)(box[0] / pixel[1]), y0 = (size_t)(box[1] / pixel[0]);
    const size_t x1 = (size_t)fmin((double)im->nx, ceil(box[2] / pixel[1])),
                 y1 = (size_t)fmin((double)im->ny, ceil(box[3] / pixel[0]));
    float *v = malloc(((x1 - x0) * (y1 - y0) + 1) * sizeof *v);
    size_t n = 0;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the vacuum");
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++) {
            if (isfinite(px[y * im->nx + x])) v[n++] = px[y * im->nx + x];
            px[y * im->nx + x] = NAN;
        }
    *level = n ? mro_median(v, n) : NAN;
    free(v);
    return n ? MRO_OK : MRO_FAIL(e, MRO_EARG, "the vacuum holds no finite pixel");
}

/* ------------------------------------------------------------------ background */

/* Legendre polynomials 0..n at t in [-1, 1]. */
static void legendre(double t, int n, double *p)
{
    p[0] = 1;
    if (n > 0) p[1] = t;
    for (int k = 2; k <= n; k++) p[k] = ((2 * k - 1) * t * p[k - 1] - (k - 1) * p[k - 2]) / k;
}

#define MOST_TERMS ((MRO_HAADF_DEGREE + 1) * (MRO_HAADF_DEGREE + 2) / 2)

/* Means over blocks of finite pixels, as many as fit along an axis; weight = finite pixels. */
struct blocks {
    size_t ny, nx, by, bx;
    double mean[BLOCKS * BLOCKS], weight[BLOCKS * BLOCKS];
};

static void block_means(const float *px, size_t ny, size_t nx, int threads, struct blocks *b)
{
    b->by = (ny + BLOCKS - 1) / BLOCKS;
    b->bx = (nx + BLOCKS - 1) / BLOCKS;
    b->ny = (ny + b->by - 1) / b->by;
    b->nx = (nx + b->bx - 1) / b->bx;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t j = 0; j < b->ny; j++)
        for (size_t i = 0; i < b->nx; i++) {
            double sum = 0, n = 0;
            const size_t y1 = (j + 1) * b->by < ny ? (j + 1) * b->by : ny,
                         x1 = (i + 1) * b->bx < nx ? (i + 1) * b->bx : nx;
            for (size_t y = j * b->by; y < y1; y++) {
                float s = 0, c = 0;
                for (size_t x = i * b->bx; x < x1; x++) {
                    const float v = px[y * nx + x];
                    const bool finite = v == v;
                    s += finite ? v : 0;
                    c += finite ? 1 : 0;
                }
                sum += s;
                n += c;
            }
            b->mean[j * b->nx + i] = n > 0 ? sum / n : 0;
            b->weight[j * b->nx + i] = n;
        }
}

static double block_at(const struct blocks *b, size_t k, size_t n, bool y)
{
    const double size = (double)(y ? b->by : b->bx), last = fmin((double)n, (double)(k + 1) * size);
    return ((double)k * size + last) / (double)n - 1; /* middle of the block, in -1 .. 1 */
}

/* Leaves out (NaN) blocks that are vacuum beside the specimen: nearly no counts above the black level. Share of the
 * blocks; 0 where there is nothing to compare with. */
static double leave_out_vacuum(float *px, size_t ny, size_t nx, struct blocks *b)
{
    const size_t n = b->ny * b->nx;
    float *sorted = malloc(n * sizeof *sorted);
    unsigned char *out = calloc(n, 1);
    size_t known = 0, gone = 0;
    double share = 0;
    if (sorted == NULL || out == NULL) goto done;
    for (size_t i = 0; i < n; i++)
        if (b->weight[i] > 0) sorted[known++] = (float)b->mean[i];
    if (known == 0) goto done;
    const float usual = mro_median(sorted, known);
    if (!(usual > 0)) goto done;
    for (size_t i = 0; i < n; i++)
        if (b->weight[i] > 0 && b->mean[i] < VACUUM * usual && b->mean[i] > -VACUUM * usual) {
            /* Blocks at the edge of the vacuum hold some specimen. */
            const size_t y = i / b->nx, x = i % b->nx;
            for (size_t j = y ? y - 1 : 0; j <= y + 1 && j < b->ny; j++)
                for (size_t k = x ? x - 1 : 0; k <= x + 1 && k < b->nx; k++) out[j * b->nx + k] = 1;
        }
    for (size_t i = 0; i < n; i++) gone += out[i];
    share = (double)gone / (double)n;
    if (gone == 0) goto done;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++)
            if (out[y / b->by * b->nx + x / b->bx]) px[y * nx + x] = NAN;
done:
    free(sorted);
    free(out);
    return share;
}

/* Coefficients of the polynomial through the block means, weighted least squares. False when there are too few blocks.
 */
static bool fit_background(const struct blocks *b, size_t ny, size_t nx, int degree, double *c)
{
    const size_t terms = (size_t)(degree + 1) * (size_t)(degree + 2) / 2;
    double a[MOST_TERMS * MOST_TERMS] = { 0 }, y[MOST_TERMS] = { 0 }, base[MOST_TERMS];
    double py[MRO_HAADF_DEGREE + 1], px[MRO_HAADF_DEGREE + 1];
    size_t used = 0;
    for (size_t j = 0; j < b->ny; j++)
        for (size_t i = 0; i < b->nx; i++) {
            const double w = b->weight[j * b->nx + i];
            if (!(w > 0)) continue;
            used++;
            legendre(block_at(b, j, ny, true), degree, py);
            legendre(block_at(b, i, nx, false), degree, px);
            size_t t = 0;
            for (int k = 0; k <= degree; k++)
                for (int l = 0; l <= degree - k; l++) base[t++] = py[k] * px[l];
            for (size_t k = 0; k < terms; k++) {
                y[k] += w * base[k] * b->mean[j * b->nx + i];
                for (size_t l = 0; l <= k; l++) a[k * terms + l] += w * base[k] * base[l];
            }
        }
    if (used < 2 * terms) return false;
    for (size_t k = 0; k < terms; k++)
        for (size_t l = 0; l < k; l++) a[l * terms + k] = a[k * terms + l];
    gsl_matrix_view m = gsl_matrix_view_array(a, terms, terms);
    gsl_vector_view right = gsl_vector_view_array(y, terms), out = gsl_vector_view_array(c, terms);
    /* A tiny ridge keeps a mask that leaves only a corner from failing. */
    for (size_t k = 0; k < terms; k++) a[k * terms + k] *= 1 + 1e-10;
    double *diagonal = a;
    for (size_t k = 0; k < terms; k++)
        if (!(diagonal[k * terms + k] > 0)) return false;
    if (gsl_linalg_cholesky_decomp1(&m.matrix)) return false;
    return gsl_linalg_cholesky_solve(&m.matrix, &right.vector, &out.vector) == 0;
}

/* px = px / background. The smallest value of the background over the pixels' mean. */
static double divide_background(float *px, size_t ny, size_t nx, int degree, const double *c, int threads)
{
    double lowest = INFINITY;
    double basis_x[MRO_HAADF_DEGREE + 1];
    float *table = malloc((size_t)(degree + 1) * nx * sizeof *table);
    if (table == NULL) return NAN;
    for (size_t x = 0; x < nx; x++) {
        legendre((2 * (double)x + 1) / (double)nx - 1, degree, basis_x);
        for (int l = 0; l <= degree; l++) table[(size_t)l * nx + x] = (float)basis_x[l];
    }
#pragma omp parallel for schedule(static) num_threads(threads) reduction(min : lowest)
    for (size_t y = 0; y < ny; y++) {
        double py[MRO_HAADF_DEGREE + 1];
        float row[MRO_HAADF_DEGREE + 1] = { 0 }, low = INFINITY;
        legendre((2 * (double)y + 1) / (double)ny - 1, degree, py);
        size_t t = 0;
        for (int k = 0; k <= degree; k++)
            for (int l = 0; l <= degree - k; l++) row[l] += (float)(py[k] * c[t++]);
        for (size_t x = 0; x < nx; x++) {
            float b = row[0];
            for (int l = 1; l <= degree; l++) b += row[l] * table[(size_t)l * nx + x];
            const float v = px[y * nx + x];
            low = v == v && b < low ? b : low;
            px[y * nx + x] = v / b;
        }
        lowest = fmin(lowest, low);
    }
    free(table);
    return lowest / c[0];
}

static double taper_at(size_t i, size_t n, double margin)
{
    const double from_end = fmin((double)i + 0.5, (double)n - (double)i - 0.5);
    return from_end >= margin ? 1 : 0.5 - 0.5 * cos(M_PI * from_end / margin);
}

/* Contrast whose background is 1, tapered to nothing at the borders so that the field fits a periodic transform: taking
 * the jumps there off instead would spread the noise of border pixels over all low frequencies. Mean square of the
 * taper over finite pixels; NaN when out of memory. */
static double taper_rows(float *px, size_t ny, size_t nx, const double margin[2], int threads)
{
    double square = 0;
    double *all = calloc(ny, sizeof *all);
    float *wx = malloc(nx * sizeof *wx);
    if (all && wx) {
        for (size_t x = 0; x < nx; x++) wx[x] = (float)taper_at(x, nx, margin[1]);
#pragma omp parallel for schedule(static) num_threads(threads)
        for (size_t y = 0; y < ny; y++) {
            const float wy = (float)taper_at(y, ny, margin[0]);
            float sum = 0;
            for (size_t x = 0; x < nx; x++) {
                float *v = px + y * nx + x;
                const float w = wy * wx[x];
                const bool finite = *v == *v;
                *v = 1 + w * (*v - 1);
                sum += finite ? w * w : 0;
            }
            all[y] = sum;
        }
        for (size_t y = 0; y < ny; y++) square += all[y];
    } else {
        square = NAN;
    }
    free(all);
    free(wx);
    return square / ((double)ny * (double)nx);
}

/* ------------------------------------------------------------------ preparation */

static enum mro_code make_mask(const float *px, struct mro_haadf_state *s, struct mro_error *e)
{
    s->mask_ny = s->ny < 1024 ? s->ny : 1024;
    s->mask_nx = s->nx < 1024 ? s->nx : 1024;
    const size_t m = s->mask_ny * s->mask_nx;
    uint32_t *all = calloc(m, sizeof *all), *good = calloc(m, sizeof *good);
    s->mask = malloc(m);
    if (all == NULL || good == NULL || s->mask == NULL) {
        free(all);
        free(good);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a mask of %zu x %zu", s->mask_nx, s->mask_ny);
    }
    for (size_t y = 0; y < s->ny; y++)
        for (size_t x = 0; x < s->nx; x++) {
            const size_t i = y * s->mask_ny / s->ny * s->mask_nx + x * s->mask_nx / s->nx;
            all[i]++;
            good[i] += isfinite(px[y * s->nx + x]) != 0;
        }
    for (size_t i = 0; i < m; i++) s->mask[i] = 2 * good[i] > all[i];
    free(all);
    free(good);
    return MRO_OK;
}

static void not_measured(struct mro_haadf_result *r, const char *why)
{
    snprintf(r->verdict, sizeof r->verdict, "not measured: %s", why);
}

/* Can anything be measured? Else a warning and the verdict say why. */
static bool measurable(const struct mro_image *im, const struct mro_haadf_options *o, int threads,
                       struct mro_haadf_result *r)
{
    const size_t n = im->ny * im->nx;
    size_t finite = 0;
    float least = INFINITY, most = -INFINITY;
#pragma omp parallel for simd schedule(static) num_threads(threads) reduction(+ : finite) reduction(min : least) \
    reduction(max : most)
    for (size_t i = 0; i < n; i++) {
        const float v = im->px[i];
        const bool known = fabsf(v) <= FLT_MAX;
        finite += known;
        least = known && v < least ? v : least;
        most = known && v > most ? v : most;
    }
    const bool varies = most > least;
    r->coverage = (double)finite / (double)n;
    if (!varies) {
        mro_warn(r, "%s: there is nothing to measure",
                 finite ? "every pixel has the same value" : "no pixel holds a number");
        not_measured(r, finite ? "the image is constant" : "the image is empty");
        return false;
    }
    if (finite < n) mro_warn(r, "%zu pixels are not finite numbers and are left out", n - finite);
    if (r->coverage < LEAST_COVERAGE) {
        mro_warn(r, "only %.1f %% of the pixels hold a number; 25 %% are needed for a spectrum", 100 * r->coverage);
        not_measured(r, "too many pixels are missing");
        return false;
    }
    const double longest = 1 / o->band_inv_nm[0], shortest = 1 / o->band_inv_nm[1],
                 side = fmin(r->field_nm[0], r->field_nm[1]);
    if (side < WAVES * shortest) {
        mro_warn(r, "the field of %.3g nm x %.3g nm is smaller than %g of the shortest waves of the band (%.3g nm)",
                 r->field_nm[1], r->field_nm[0], WAVES, shortest);
        not_measured(r, "the field is too small for the band");
        return false;
    }
    if (side < WAVES * longest)
        mro_warn(r,
                 "the field of %.3g nm x %.3g nm is smaller than three of the longest waves of the band (%.3g nm): "
                 "slow variation is measured from few waves",
                 r->field_nm[1], r->field_nm[0], longest);
    return true;
}

/* Fills r->state; leaves it NULL where nothing can be measured. */
static enum mro_code prepare(struct mro_device *d, const struct mro_image *im, const char *name,
                             const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    const size_t n = im->ny * im->nx;
    struct mro_buffer spectrum = { 0 };
    struct blocks *blocks = NULL;
    double c[MOST_TERMS];
    enum mro_code rc = MRO_OK;
    if (n > d->memory_bytes / 16)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s' of %zu x %zu pixels is over the memory budget; raise --memory", name,
                        im->nx, im->ny);
    struct mro_haadf_state *s = calloc(1, sizeof *s);
    float *px = malloc(n * sizeof *px);
    if (s == NULL || px == NULL || (blocks = malloc(sizeof *blocks)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s' of %zu x %zu pixels", name, im->nx, im->ny);
        goto done;
    }
    s->ny = im->ny;
    s->nx = im->nx;
    s->frames = 1;
    s->line_sd[0] = s->line_sd[1] = NAN;
    memcpy(s->pixel_nm, r->pixel_nm, sizeof s->pixel_nm);
    r->clipped_fraction = mro_clipped_share(im->px, n, true, d->threads, NULL) + mro_clipped_share(im->px, n, false, d->threads, NULL);
    if (r->clipped_fraction > CLIPPED)
        mro_warn(r, "%.3g %% of the pixels are clipped at the end of the range: contrast and regions are distorted",
                 100 * r->clipped_fraction);
    memcpy(px, im->px, n * sizeof *px);
    double black = isfinite(o->black_level) ? o->black_level : 0;
    if (o->vacuum_nm[2] > o->vacuum_nm[0]) {
        double level;
        if ((rc = vacuum_level(im, r->pixel_nm, o->vacuum_nm, px, &level, e))) goto done;
        if (!isfinite(o->black_level)) black = level;
    } else if (!isfinite(o->black_level) && !o->hrtem) {
        mro_warn(r, "the black level of the detector is unknown and taken as 0: the contrast is too small where it is "
                    "positive; give --black-level or --vacuum");
    }
    r->black_level = black;
    size_t lost = 0;
#pragma omp parallel for simd schedule(static) num_threads(d->threads) reduction(+ : lost)
    for (size_t i = 0; i < n; i++) {
        px[i] = fabsf(px[i]) <= FLT_MAX ? (float)(px[i] - black) : NAN;
        lost += px[i] != px[i];
    }
    block_means(px, im->ny, im->nx, d->threads, blocks);
    const double vacuum = leave_out_vacuum(px, im->ny, im->nx, blocks);
    if (vacuum > 0) {
        mro_warn(r, "%.3g %% of the field has next to no counts, as vacuum has, and is left out", 100 * vacuum);
        block_means(px, im->ny, im->nx, d->threads, blocks);
        lost = 0;
#pragma omp parallel for simd schedule(static) num_threads(d->threads) reduction(+ : lost)
        for (size_t i = 0; i < n; i++) lost += px[i] != px[i];
    }
    double total = 0, magnitude = 0, weight = 0;
    for (size_t i = 0; i < blocks->ny * blocks->nx; i++) {
        total += blocks->weight[i] * blocks->mean[i];
        magnitude += blocks->weight[i] * fabs(blocks->mean[i]);
        weight += blocks->weight[i];
    }
    double spread = 0;
    for (size_t i = 0; i < n; i += 7)
        if (px[i] == px[i]) spread += fabs(px[i] - total / weight);
    spread /= weight / 7;
    int degree = o->polynomial;
    while (degree >= 0 && !fit_background(blocks, im->ny, im->nx, degree, c)) degree--;
    double lowest = NAN;
    if (total > 0 && total / weight > 0.05 * spread && degree >= 0)
        lowest = divide_background(px, im->ny, im->nx, degree, c, d->threads);
    if (!(lowest > 0.02)) {
        mro_warn(r,
                 "the image has no positive background%s: contrast relative to it is not defined; was it "
                 "subtracted before, or is the black level too high?",
                 total > 0 ? " everywhere" : "");
        not_measured(r, "the image has no background to relate the contrast to");
        goto done;
    }
    if (degree < o->polynomial)
        mro_warn(r,
                 "the image is too small or too much of it is missing for a background of degree %d; degree %d was "
                 "used",
                 o->polynomial, degree);
    if (lost > 0) {
        if ((rc = make_mask(px, s, e))) goto done;
        r->coverage = (double)(n - lost) / (double)n;
        if (r->coverage < LEAST_COVERAGE) {
            mro_warn(r, "only %.1f %% of the field is left; 25 %% are needed for a spectrum", 100 * r->coverage);
            not_measured(r, "too much of the field is left out");
            goto done;
        }
    }
    const double background = o->high_pass_nm > 0 ? o->high_pass_nm : 1e3 * fmax(r->field_nm[0], r->field_nm[1]);
    if ((rc = mro_haadf_noise(d, px, background, s, e))) goto done;
    s->margin_nm = fmin(1 / o->band_inv_nm[1], 0.08 * fmin(r->field_nm[0], r->field_nm[1]));
    const double margin[2] = { s->margin_nm / s->pixel_nm[0], s->margin_nm / s->pixel_nm[1] };
    s->fill = taper_rows(px, im->ny, im->nx, margin, d->threads);
    if (!(s->fill > 0)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }

    const double ly = r->field_nm[0], lx = r->field_nm[1], most = GRID_BANDS * o->band_inv_nm[1];
    const size_t gy = mro_haadf_size((size_t)ceil(2 * most * ly) + 2),
                 gx = mro_haadf_size((size_t)ceil(2 * most * lx) + 2);
    s->grid = (struct mro_grid){ gy < im->ny ? gy : im->ny, gx < im->nx ? gx : im->nx, ly, lx };
    const size_t ng = s->grid.ny * s->grid.nx;
    s->spectrum = malloc(ng * sizeof *s->spectrum);
    if (s->spectrum == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }
    size_t spikes = 0;
    if ((rc = d->ops->alloc(d, &spectrum, ng * sizeof *s->spectrum, e))) goto done;
    if ((rc = d->ops->contrast_spectrum(d, px, im->ny, im->nx, r->pixel_nm, background, &s->grid, &spectrum, &spikes,
                                        e)))
        goto done;
    if ((rc = d->ops->download(d, s->spectrum, &spectrum, ng * sizeof *s->spectrum, e))) goto done;
    if ((double)spikes > WARN_SPIKES * (double)n)
        mro_warn(r, "%zu pixels (%.2g %%) stood out of their neighbours as spikes and were replaced", spikes,
                 100.0 * (double)spikes / (double)n);
    const float fill = (float)(1 / sqrt(s->fill));
    for (size_t i = 0; i < ng; i++) {
        s->spectrum[i].re *= fill;
        s->spectrum[i].im *= fill;
    }
    r->state = s;
    s = NULL;
done:
    d->ops->release(d, &spectrum);
    mro_haadf_state_free(s);
    free(px);
    free(blocks);
    return rc;
}

/* ------------------------------------------------------------------ contrast in the band */

/* Share of the field that holds pixels. A spectrum of a part of the field has as many fewer independent modes. */
static double field_share(const struct mro_haadf_state *s)
{
    const size_t n = s->mask_ny * s->mask_nx;
    size_t in = 0;
    for (size_t i = 0; s->mask && i < n; i++) in += s->mask[i];
    return s->mask && in > 0 ? (double)in / (double)n : 1;
}

struct band_sums {
    double variance, se; /* of the contrast in the band, noise taken out; its standard error */
    double noise;        /* variance of the noise in the band */
    double modes;        /* independent ones */
};

static void sum_band(const struct mro_haadf_state *s, const double band[2], double noise, struct band_sums *b)
{
    const struct mro_grid *g = &s->grid;
    const ptrdiff_t hy = (ptrdiff_t)(g->ny - 1) / 2, hx = (ptrdiff_t)(g->nx - 1) / 2;
    double power = 0, square = 0, used = 0, all = 0;
    for (ptrdiff_t ky = 0; ky <= hy; ky++)
        for (ptrdiff_t kx = ky ? -hx : 1; kx <= hx; kx++) {
            const double q = hypot((double)ky / g->ly, (double)kx / g->lx);
            if (q < band[0] || q > band[1]) continue;
            all++;
            if (mro_haadf_line_mode(s, ky, kx)) continue;
            const mro_c32 z = s->spectrum[mro_cyclic(ky, g->ny) * g->nx + mro_cyclic(kx, g->nx)];
            const double p = (double)z.re * z.re + (double)z.im * z.im;
            power += p;
            square += p * p;
            used++;
        }
    const double pixels = (double)s->ny * (double)s->nx, scale = used > 0 ? 2 * all / used / pixels : 0;
    const double share = field_share(s);
    b->modes = used * share;
    b->noise = noise * used * scale;
    b->variance = power * scale - b->noise;
    /* The square of an exponential has twice the square of its mean. */
    b->se = hypot(scale * sqrt(0.5 * square / share), b->noise * s->noise_error);
}

static enum mro_code fill_histogram(struct mro_device *d, const struct mro_haadf_state *s,
                                    const struct mro_haadf_options *o, const struct mro_rings *rings,
                                    const struct band_sums *b, bool there, struct mro_haadf_result *r,
                                    struct mro_error *e)
{
    enum { BINS = 240, SIDE = 6 };
    const double *band = o->band_inv_nm;
    double gains[2049];
    struct mro_haadf_filter f = { band[1] / 2000, 2049, gains, rings };
    for (size_t i = 0; i < f.n; i++) {
        const double q = (double)i * f.step;
        gains[i] = q >= band[0] && q <= band[1] ? 1 : 0;
    }
    const struct mro_grid g = s->grid;
    const size_t n = g.ny * g.nx;
    float *v = malloc(n * sizeof *v);
    r->histogram = calloc(BINS, sizeof *r->histogram);
    enum mro_code rc = MRO_OK;
    if (v == NULL || r->histogram == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g.nx, g.ny);
        goto done;
    }
    if ((rc = mro_haadf_field(d, s, &f, &g, v, e))) goto done;
    double sum = 0, count = 0, m2 = 0, m3 = 0;
    /* Third moments over blocks, SIDE by SIDE, for the error of the skewness. */
    double block[SIDE * SIDE][2] = { { 0 } };
    unsigned char *usable = malloc(n);
    if (usable == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a mask of %zu x %zu", g.nx, g.ny);
        goto done;
    }
    for (size_t j = 0; j < g.ny; j++)
        for (size_t i = 0; i < g.nx; i++) {
            const size_t k = j * g.nx + i;
            usable[k] = mro_haadf_usable(s, &g, j, i);
            if (!usable[k]) continue;
            sum += v[k];
            count++;
        }
    const double mean = count > 0 ? sum / count : 0;
    for (size_t j = 0; j < g.ny; j++)
        for (size_t i = 0; i < g.nx; i++) {
            const size_t k = j * g.nx + i;
            if (!usable[k]) continue;
            const double x = v[k] - mean;
            double *at = block[j * SIDE / g.ny * SIDE + i * SIDE / g.nx];
            m2 += x * x;
            m3 += x * x * x;
            at[0] += x * x * x;
            at[1]++;
        }
    m2 /= count;
    m3 /= count;
    const double sd = sqrt(m2);
    if (!(sd > 0)) goto free_usable;
    r->n_histogram = BINS;
    r->histogram_lo = mean - 6 * sd;
    r->histogram_step = 12 * sd / BINS;
    for (size_t k = 0; k < n; k++) {
        if (!usable[k]) continue;
        const double t = (v[k] - r->histogram_lo) / r->histogram_step;
        if (t >= 0 && t < BINS) r->histogram[(size_t)t] += 1 / (count * r->histogram_step);
    }
    /* Full width at half maximum of the smoothed histogram, outermost crossings. */
    double smooth[BINS], top = 0;
    const double h = 0.2 * sd;
    for (int i = 0; i < BINS; i++) {
        double w = 0, p = 0;
        for (int k = 0; k < BINS; k++) {
            const double t = (i - k) * r->histogram_step / h;
            if (fabs(t) > 4) continue;
            w += exp(-0.5 * t * t);
            p += exp(-0.5 * t * t) * r->histogram[k];
        }
        smooth[i] = p / w;
        if (smooth[i] > top) {
            top = smooth[i];
            r->histogram_mode = r->histogram_lo + (i + 0.5) * r->histogram_step;
        }
    }
    double ends[2] = { NAN, NAN };
    for (int i = 1; i < BINS; i++) {
        const bool rises = smooth[i - 1] < 0.5 * top && smooth[i] >= 0.5 * top;
        const bool falls = smooth[i - 1] >= 0.5 * top && smooth[i] < 0.5 * top;
        const double at =
            r->histogram_lo + (i - 0.5 + (0.5 * top - smooth[i - 1]) / (smooth[i] - smooth[i - 1])) * r->histogram_step;
        if (rises && isnan(ends[0])) ends[0] = at;
        if (falls) ends[1] = at;
    }
    const double seen2 = pow((ends[1] - ends[0]) / FWHM, 2) - h * h;
    r->histogram_sd[0] = seen2 > 0 ? sqrt(seen2) : NAN;
    const double true2 = seen2 - b->noise;
    if (there && true2 > 0) {
        r->histogram_sd[1] = sqrt(true2);
        r->fwhm = FWHM * r->histogram_sd[1];
    } else {
        mro_warn(r, "the histogram is no wider than the noise makes it: no width without noise is given");
    }
    if (there && b->variance > 0) {
        /* Noise has no third moment. */
        const double scale = pow(b->variance, 1.5);
        double square = 0, blocks = 0;
        for (int k = 0; k < SIDE * SIDE; k++) {
            if (!(block[k][1] > 0)) continue;
            const double x = block[k][0] - m3 * block[k][1];
            square += x * x;
            blocks++;
        }
        const double se = sqrt(square * blocks / fmax(1, blocks - 1)) / count / scale;
        r->skewness = m3 / scale;
        r->skewness_ci95[0] = r->skewness - 2.03 * se;
        r->skewness_ci95[1] = r->skewness + 2.03 * se;
    } else {
        mro_warn(r, "the contrast is not above its error: skewness is not given");
    }
free_usable:
    free(usable);
done:
    free(v);
    return rc;
}

/* Autocorrelation of the contrast in the band by summing its rings: J0 is that of a ring. */
static enum mro_code fill_acf(const struct mro_rings *rings, const double band[2], double noise, double longest,
                              bool there, struct mro_haadf_result *r, struct mro_error *e)
{
    const size_t n = 400;
    r->acf = calloc(n, sizeof *r->acf);
    if (r->acf == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the autocorrelation");
    r->n_acf = n;
    r->acf_step_nm = longest / (double)n;
    double zero = 0;
    for (size_t k = 0; k < rings->n; k++)
        if (rings->q[k] >= band[0] && rings->q[k] <= band[1]) zero += (rings->power[k] - noise) * rings->modes[k];
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < rings->n; k++) {
            if (rings->q[k] < band[0] || rings->q[k] > band[1]) continue;
            sum +=
                (rings->power[k] - noise) * rings->modes[k] * j0(2 * M_PI * rings->q[k] * (double)i * r->acf_step_nm);
        }
        r->acf[i] = zero > 0 ? sum / zero : NAN;
    }
    if (!there) {
        mro_warn(r, "the contrast is not above its error: correlation length and wavelength are not given");
        return MRO_OK;
    }
    for (size_t i = 1; i < n; i++)
        if (r->acf[i] < exp(-1)) {
            const double t = (r->acf[i - 1] - exp(-1)) / (r->acf[i - 1] - r->acf[i]);
            r->correlation_length_nm = ((double)i - 1 + t) * r->acf_step_nm;
            break;
        }
    if (isnan(r->correlation_length_nm))
        mro_warn(r, "the autocorrelation does not fall to 1/e within %.3g nm: no correlation length is given", longest);
    return MRO_OK;
}

/* What is left of a wave's power after the Gaussian background of standard deviation s has been divided out. */
static double high_pass_power(double q, double s)
{
    const double h = 1 - exp(-2 * M_PI * M_PI * s * s * q * q);
    return h * h;
}

/* Wavelength as it would come out with twice the high-pass: a filter turns a falling spectrum into a peak near its own
 * limit, which then moves. NaN when there is no peak any more. */
static double wavelength_at_double(const struct mro_rings *rings, double noise, const struct mro_haadf_options *o)
{
    const double *band = o->band_inv_nm;
    struct mro_rings other = *rings;
    struct mro_spectrum_fit fit;
    double wave = NAN, decay;
    if ((other.power = malloc(rings->n * sizeof *other.power)) == NULL) return NAN;
    for (size_t i = 0; i < rings->n; i++)
        other.power[i] = noise + (rings->power[i] - noise) * high_pass_power(rings->q[i], 2 * o->high_pass_nm) /
                                     high_pass_power(rings->q[i], o->high_pass_nm);
    mro_spectrum_fit(&other, noise, band[0], band[1], MRO_SPECTRUM_TEUBNER, &fit);
    if (isfinite(fit.aicc)) mro_teubner_lengths(&fit, &wave, &decay);
    free(other.power);
    return wave;
}

/* A wavelength only where a peaked spectrum beats every falling one. `fit` holds the three shapes, `falling` the best
 * falling spectrum of any shape. */
static void find_wavelength(const struct mro_rings *rings, double noise, const double *falling,
                            const struct mro_haadf_options *o, const double field_nm[2],
                            const struct mro_spectrum_fit *fit, struct mro_haadf_result *r)
{
    const struct mro_spectrum_fit *peaked = fit + MRO_SPECTRUM_TEUBNER;
    const double *band = o->band_inv_nm;
    const double better = fmin(fit[MRO_SPECTRUM_POWER].aicc, fit[MRO_SPECTRUM_STRETCHED].aicc) - peaked->aicc;
    double wave, decay;
    if (!isfinite(better)) {
        mro_warn(r, "too few rings of the spectrum lie in the band: no wavelength is looked for");
        return;
    }
    mro_teubner_lengths(peaked, &wave, &decay);
    r->wavelength_p = mro_spectrum_peak_p(rings, band[0], band[1], falling, o->seed);
    if (!isfinite(wave) || better < BETTER_AICC || !(r->wavelength_p < MRO_HAADF_CALLED)) {
        mro_warn(r,
                 "a falling spectrum describes the image as well as one with a peak (p = %.2g): no wavelength is given",
                 r->wavelength_p);
        return;
    }
    if (1 / wave < band[0] || 1 / wave > band[1]) {
        mro_warn(r, "the peak at %.3g nm lies outside of the band: no wavelength is given", wave);
        return;
    }
    if (wave * WAVES > fmin(field_nm[0], field_nm[1])) {
        mro_warn(r, "the field is smaller than three wavelengths of %.3g nm: no wavelength is given", wave);
        return;
    }
    if (o->high_pass_nm > 0) {
        const double moved = wavelength_at_double(rings, noise, o);
        if (!(fabs(moved - wave) < MOVES * wave)) {
            mro_warn(
                r,
                "the peak at %.3g nm moves when the high-pass of %.3g nm is doubled, so that it may be made by it: no "
                "wavelength is given; try a longer --high-pass",
                wave, o->high_pass_nm);
            return;
        }
    }
    r->wavelength_nm = wave;
    r->coherence_nm = decay;
}

/* ------------------------------------------------------------------ rings for the figure, filter for the regions */

static enum mro_code fill_rings(const struct mro_haadf_state *s, const struct mro_rings *rings, const double *falling,
                                double noise, struct mro_haadf_result *r, struct mro_error *e)
{
    const double pixel = s->pixel_nm[0] * s->pixel_nm[1];
    r->ring = calloc(rings->n ? rings->n : 1, sizeof *r->ring);
    if (r->ring == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu rings", rings->n);
    r->n_rings = rings->n;
    r->noise_power = noise * pixel;
    for (size_t i = 0; i < rings->n; i++) {
        const double model = falling[i];
        const double c = 1 / (9 * rings->modes[i]);
        r->ring[i].q_inv_nm = rings->q[i];
        r->ring[i].power = rings->power[i] * pixel;
        r->ring[i].lo = model * pixel * pow(fmax(0, 1 - c - 1.96 * sqrt(c)), 3);
        r->ring[i].hi = model * pixel * pow(1 - c + 1.96 * sqrt(c), 3);
    }
    return MRO_OK;
}

/* Wiener's filter for the spectrum `model` (rings; signal and noise), or the whole band where no contrast was found. */
static void make_filter(const struct mro_rings *model, double noise, double upper, bool there,
                        struct mro_haadf_filter *f)
{
    const double edge = 0.1 * upper;
    double most = 0;
    for (size_t i = 0; i < f->n; i++) {
        const double q = (double)i * f->step, all = mro_rings_at(model, q);
        const double wiener = !there ? 1 : all > noise ? (all - noise) / all : 0;
        const double t = fmin(1, fmax(0, (upper - q) / edge));
        f->gain[i] = wiener * (0.5 - 0.5 * cos(M_PI * t));
        most = fmax(most, f->gain[i]);
    }
    for (size_t i = 0; i < f->n && most > 0; i++) f->gain[i] /= most;
}

/* Full width at half maximum of the filter's response to a point. */
static double filter_width(const struct mro_haadf_filter *f)
{
    double top = 0, before = 0;
    for (int i = 0; i < 4000; i++) {
        const double r = 0.005 * i / (f->step * (double)f->n);
        double sum = 0;
        for (size_t k = 0; k < f->n; k++) {
            const double q = (double)k * f->step;
            sum += f->gain[k] * q * j0(2 * M_PI * q * r);
        }
        if (i == 0) top = sum;
        if (sum < 0.5 * top) return 2 * (r - 0.005 / (f->step * (double)f->n) * (0.5 * top - sum) / (before - sum));
        before = sum;
    }
    return NAN;
}

/* ------------------------------------------------------------------ words */

static void p_text(char *out, size_t size, double p, int drawn)
{
    if (p <= 1.01 / (drawn + 1.0) && drawn >= 999)
        snprintf(out, size, "p < 0.001");
    else
        snprintf(out, size, "p = %.2g", p);
}

static void say_regions(char *out, size_t size, const char *word, const struct mro_haadf_regions *r, int drawn)
{
    char p[32], wide[32] = "";
    p_text(p, sizeof p, r->p_value, drawn);
    if (isfinite(r->diameter_nm)) snprintf(wide, sizeof wide, " of %.2g nm", r->diameter_nm);
    const int used = snprintf(out, size, "%s regions%s cover %.0f %%", word, wide, 100 * r->area_fraction);
    if (used > 0 && (size_t)used < size)
        snprintf(out + used, size - (size_t)used,
                 "; beyond %g standard deviations they have %.2g times the area that a random field of this spectrum "
                 "has (%s)",
                 r->null_threshold_sd, r->null_ratio, p);
}

static void make_verdict(const struct mro_haadf_options *o, bool there, struct mro_haadf_result *r)
{
    char contrast[96] = "", text[300];
    if (there && isnan(r->noise_sd))
        snprintf(contrast, sizeof contrast, "contrast up to %.2g %%, noise included", 100 * r->contrast_sd);
    else if (there)
        snprintf(contrast, sizeof contrast, "contrast %.2g %%", 100 * r->contrast_sd);
    else
        snprintf(contrast, sizeof contrast, "no contrast beyond noise (below %.2g %%)", 100 * r->contrast_sd_ci95[1]);
    const bool dark = r->dark.p_value < MRO_HAADF_CALLED, bright = r->bright.p_value < MRO_HAADF_CALLED;
    if (r->heterogeneous && (dark || bright)) {
        const bool first_dark =
            dark && (!bright || r->dark.p_value < r->bright.p_value ||
                     (r->dark.p_value == r->bright.p_value && !(r->bright.area_fraction < r->dark.area_fraction)));
        say_regions(text, sizeof text, first_dark ? "dark" : "bright", first_dark ? &r->dark : &r->bright,
                    o->surrogates);
        snprintf(r->verdict, sizeof r->verdict, "%s; %s", text, contrast);
    } else {
        snprintf(r->verdict, sizeof r->verdict,
                 "%s; regions not distinguishable from a random field of this spectrum (p = %.2g)", contrast,
                 r->p_value);
    }
    if (isfinite(r->wavelength_nm)) {
        const size_t used = strlen(r->verdict);
        snprintf(r->verdict + used, sizeof r->verdict - used, "; wavelength %.2g nm", r->wavelength_nm);
    }
}

/* ------------------------------------------------------------------ the measurement */

enum mro_code mro_haadf_analyse(struct mro_device *d, const struct mro_haadf_state *s, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    const double *band = o->band_inv_nm;
    struct mro_rings rings = { 0 };
    struct mro_spectrum_fit fit[MRO_SPECTRUM_KINDS];
    struct band_sums sums;
    double gains[1025], *falling = NULL;
    enum mro_code rc = MRO_OK;
    r->frames = s->frames;
    const bool known = isfinite(s->noise) && s->white;
    const double noise = known ? s->noise : 0;
    r->noise_sd = known ? sqrt(s->noise * (double)s->frames) : NAN;
    if (!known)
        mro_warn(r,
                 "%s: contrast, histogram and autocorrelation include the noise, and the contrast is an upper "
                 "limit; export raw counts, or several frames",
                 isfinite(s->noise) ? "the noise is not white (the image was resampled or smoothed, or its structure "
                                      "reaches the pixel)"
                                    : "the field is too small to tell the noise from the highest frequencies");
    for (int a = 0; a < 2; a++)
        if (isfinite(s->line_sd[a])) {
            r->line_noise_sd = isfinite(r->line_noise_sd) ? hypot(r->line_noise_sd, s->line_sd[a]) : s->line_sd[a];
            mro_warn(r, "scan-line noise of %.2g %% along %s was removed", 100 * s->line_sd[a], a ? "y" : "x");
        }
    const double longest = fmax(s->grid.ly, s->grid.lx);
    const double step = fmax(1 / longest, band[1] / RINGS_IN_BAND);
    const double nyquist = 0.5 * fmin((double)s->grid.ny / s->grid.ly, (double)s->grid.nx / s->grid.lx);
    if ((rc = mro_rings_of(s, fmin(GRID_BANDS * band[1], nyquist), step, &rings, e))) goto done;
    const double share = field_share(s);
    for (size_t i = 0; i < rings.n; i++) rings.modes[i] *= share;
    sum_band(s, band, noise, &sums);
    if (sums.modes < 8) {
        mro_warn(r, "only %.0f waves of the band fit into the field: nothing was measured", sums.modes);
        not_measured(r, "the field is too small for the band");
        goto done;
    }
    const double doubt = hypot(sums.noise / sqrt(sums.modes), sums.noise * s->noise_error); /* of a variance of 0 */
    const bool there = sums.variance > SURE * doubt;
    if (sums.variance > 0) {
        r->contrast_sd = sqrt(sums.variance);
        r->normalised_variance = sums.variance;
    } else {
        mro_warn(r, "the noise explains all of the variance in the band: no contrast is given, but its upper limit");
    }
    r->contrast_sd_ci95[0] = sqrt(fmax(0, sums.variance - 1.96 * sums.se));
    /* A variance below zero is noise that was taken for larger than it is: no reason for a limit of zero. */
    r->contrast_sd_ci95[1] = sqrt(fmax(0, sums.variance) + 1.96 * sums.se);
    for (int k = 0; k < MRO_SPECTRUM_KINDS; k++)
        mro_spectrum_fit(&rings, noise, band[0], band[1], (enum mro_spectrum_kind)k, fit + k);
    if ((falling = malloc(rings.n * sizeof *falling)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }
    mro_spectrum_falling(&rings, band[0], band[1], falling);
    if ((rc = fill_rings(s, &rings, falling, noise, r, e))) goto done;
    if ((rc = fill_histogram(d, s, o, &rings, &sums, there, r, e))) goto done;
    if ((rc = fill_acf(&rings, band, noise, fmin(0.5 * longest, 1 / band[0]), there, r, e))) goto done;
    if (there) find_wavelength(&rings, noise, falling, o, r->field_nm, fit, r);
    struct mro_rings model = rings;
    if (isnan(r->wavelength_nm)) model.power = falling;
    struct mro_haadf_filter filter = { band[1] / 1000, 1025, gains, &rings };
    make_filter(&model, noise, band[1], there, &filter);
    r->smoothing_nm = filter_width(&filter);
    if ((rc = mro_haadf_find_regions(d, s, &rings, &filter, o, r, e))) goto done;
    /* Regions are contrast: both claims have to hold, so the larger p counts. */
    const double p_contrast = sums.noise > 0 ? gsl_cdf_ugaussian_Q(sums.variance / doubt) : 0;
    if (isfinite(r->dark.p_value) && p_contrast > 0) {
        r->dark.p_value = fmax(r->dark.p_value, p_contrast);
        r->bright.p_value = fmax(r->bright.p_value, p_contrast);
        r->p_value = fmax(r->p_value, p_contrast);
        r->heterogeneous = r->p_value < MRO_HAADF_CALLED;
        if (!(r->dark.p_value < MRO_HAADF_CALLED)) r->dark.diameter_nm = NAN;
        if (!(r->bright.p_value < MRO_HAADF_CALLED)) r->bright.diameter_nm = NAN;
    }
    if (isnan(r->dark.p_value)) {
        mro_warn(r, "too little of the field is left for regions: none were looked for");
        snprintf(r->verdict, sizeof r->verdict, "contrast %.2g %%; no regions were looked for", 100 * r->contrast_sd);
        goto done;
    }
    for (int k = 0; k < 2; k++) {
        const struct mro_haadf_regions *one = k ? &r->bright : &r->dark;
        if (!(one->p_value < MRO_HAADF_CALLED))
            mro_warn(r,
                     "%s regions are not more than a random field of this spectrum shows: their diameter would be that "
                     "of the smoothing, and is not given",
                     k ? "bright" : "dark");
        else if (isnan(one->diameter_nm))
            mro_warn(r, "%s regions all reach the border of what is measured: no diameter is given",
                     k ? "bright" : "dark");
    }
    for (int k = 0; k < 2; k++) {
        const struct mro_haadf_regions *one = k ? &r->bright : &r->dark;
        if (one->diameter_nm < SMALL_REGIONS * r->smoothing_nm)
            mro_warn(
                r,
                "%s regions of %.2g nm are hardly larger than the smoothing of %.2g nm that the noise makes needed: "
                "their area and diameter are upper limits",
                k ? "bright" : "dark", one->diameter_nm, r->smoothing_nm);
    }
    make_verdict(o, there, r);
done:
    mro_rings_release(&rings);
    free(falling);
    return rc;
}

enum mro_code mro_haadf_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    double pixel[2];
    memset(r, 0, sizeof *r);
    mro_haadf_unknown(r);
    MRO_TRY(check_options(o, e));
    MRO_TRY(mro_image_pixel_nm(im, name, pixel, e));
    MRO_TRY(mro_band_check(o->band_inv_nm, pixel, name, e));
    if (im->ny < 8 || im->nx < 8)
        return MRO_FAIL(e, MRO_EDATA, "'%s' is an image of %zu x %zu pixels; 8 along each axis are needed", name,
                        im->nx, im->ny);
    memcpy(r->pixel_nm, pixel, sizeof pixel);
    memcpy(r->band_inv_nm, o->band_inv_nm, sizeof r->band_inv_nm);
    r->field_nm[0] = (double)im->ny * pixel[0];
    r->field_nm[1] = (double)im->nx * pixel[1];
    r->frames = 1;
    if (!measurable(im, o, d->threads, r)) return MRO_OK;
    if (o->high_pass_nm > 0 && high_pass_power(o->band_inv_nm[0], o->high_pass_nm) < MOSTLY_PASSED)
        mro_warn(r,
                 "the high-pass of %.3g nm takes %.0f %% of the power of the longest waves of the band (%.3g nm): "
                 "contrast is too small; give --high-pass of half of them at least",
                 o->high_pass_nm, 100 * (1 - high_pass_power(o->band_inv_nm[0], o->high_pass_nm)),
                 1 / o->band_inv_nm[0]);
    enum mro_code rc = prepare(d, im, name, o, r, e);
    if (rc == MRO_OK && r->state) rc = mro_haadf_analyse(d, r->state, name, o, r, e);
    if (rc) mro_haadf_result_release(r);
    return rc;
}

size_t mro_haadf_bytes(const struct mro_image *like, const struct mro_haadf_options *o)
{
    double pixel[2];
    if (mro_image_pixel_nm(like, "", pixel, NULL) != MRO_OK) return 0;
    /* The flattened copy and half a plane of its transform; on the map some 30 bytes a sample, on the coarse grid 20.
     */
    const double n = (double)like->ny * (double)like->nx, upper = o->band_inv_nm[1];
    const double per_pixel = fmin(1, 36 * upper * upper * pixel[0] * pixel[1]);
    return (size_t)(n * (8 + 50 * per_pixel));
}

void mro_haadf_result_release(struct mro_haadf_result *r)
{
    if (r == NULL) return;
    mro_notes_release(&r->warnings, &r->n_warnings);
    mro_image_release(&r->flat);
    mro_image_release(&r->mask);
    free(r->ring);
    free(r->histogram);
    free(r->acf);
    mro_haadf_state_free(r->state);
    memset(r, 0, sizeof *r);
}

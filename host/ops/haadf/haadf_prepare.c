/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From counts to the spectrum of the contrast: what is clipped or missing, black level, background, noise. */
#include <float.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "core/select.h"
#include "core/sizes.h"
#include "core/team.h"
#include "mroscope/math/legendre.h"
#include "ops/haadf/haadf_internal.h"
#include "ops/pixels.h"

#define BLOCKS 64      /* of the background's fit, along an axis, at most */
#define VACUUM 0.1     /* of the usual counts: no specimen there */
#define CLIPPED 1e-3   /* share of pixels worth a warning */
#define SAMPLED 300000 /* pixels that show how far the counts spread, */
#define TOGETHER 256   /* side by side: single ones would each wait for the memory */
#define LEAST_COVERAGE 0.25
#define WARN_SPIKES 1e-3
#define MOST_TERMS ((MRO_LEGENDRE_MOST + 1) * (MRO_LEGENDRE_MOST + 2) / 2)

/* ------------------------------------------------------------------ raw pixels */

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

/* Means over blocks of finite pixels above the black level, as many blocks as fit along an axis; weight = finite
 * pixels. */
struct blocks {
    size_t ny, nx, size[2];
    double mean[BLOCKS * BLOCKS], weight[BLOCKS * BLOCKS];
    unsigned char keep[BLOCKS * BLOCKS];
};

static enum mro_code block_means(struct mro_device *d, const struct mro_buffer *image, size_t ny, size_t nx,
                                 double black, struct blocks *b, struct mro_error *e)
{
    b->size[0] = (ny + BLOCKS - 1) / BLOCKS;
    b->size[1] = (nx + BLOCKS - 1) / BLOCKS;
    b->ny = (ny + b->size[0] - 1) / b->size[0];
    b->nx = (nx + b->size[1] - 1) / b->size[1];
    MRO_TRY(d->ops->block_sums(d, image, ny, nx, b->size, b->mean, b->weight, e));
    for (size_t i = 0; i < b->ny * b->nx; i++) b->mean[i] = b->weight[i] > 0 ? b->mean[i] / b->weight[i] - black : 0;
    memset(b->keep, 1, sizeof b->keep);
    return MRO_OK;
}

static double block_at(const struct blocks *b, size_t k, size_t n, bool y)
{
    const double size = (double)b->size[y ? 0 : 1], last = fmin((double)n, (double)(k + 1) * size);
    return ((double)k * size + last) / (double)n - 1; /* middle of the block, in -1 .. 1 */
}

/* Leaves out blocks that are vacuum beside the specimen: nearly no counts above the black level. Share of the blocks; 0
 * where there is nothing to compare with. */
static double leave_out_vacuum(struct blocks *b)
{
    const size_t n = b->ny * b->nx;
    float sorted[BLOCKS * BLOCKS];
    size_t known = 0, gone = 0;
    for (size_t i = 0; i < n; i++)
        if (b->weight[i] > 0) sorted[known++] = (float)b->mean[i];
    const float usual = known ? mro_median(sorted, known) : 0;
    if (!(usual > 0)) return 0;
    for (size_t i = 0; i < n; i++)
        if (b->weight[i] > 0 && fabs(b->mean[i]) < VACUUM * usual) {
            /* Blocks at the edge of the vacuum hold some specimen. */
            const size_t y = i / b->nx, x = i % b->nx;
            for (size_t j = y ? y - 1 : 0; j <= y + 1 && j < b->ny; j++)
                for (size_t k = x ? x - 1 : 0; k <= x + 1 && k < b->nx; k++) b->keep[j * b->nx + k] = 0;
        }
    for (size_t i = 0; i < n; i++)
        if (!b->keep[i]) {
            gone++;
            b->weight[i] = 0;
        }
    return (double)gone / (double)n;
}

/* Coefficients of the polynomial through the block means, weighted least squares. False when there are too few blocks.
 */
static bool fit_background(const struct blocks *b, size_t ny, size_t nx, int degree, double *c)
{
    const size_t terms = (size_t)(degree + 1) * (size_t)(degree + 2) / 2;
    double a[MOST_TERMS * MOST_TERMS] = { 0 }, y[MOST_TERMS] = { 0 }, base[MOST_TERMS];
    double py[MRO_LEGENDRE_MOST + 1], px[MRO_LEGENDRE_MOST + 1];
    size_t used = 0;
    for (size_t j = 0; j < b->ny; j++)
        for (size_t i = 0; i < b->nx; i++) {
            const double w = b->weight[j * b->nx + i];
            if (!(w > 0)) continue;
            used++;
            mro_legendre(block_at(b, j, ny, true), degree, py);
            mro_legendre(block_at(b, i, nx, false), degree, px);
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

static double taper_at(size_t i, size_t n, double margin)
{
    const double from_end = fmin((double)i + 0.5, (double)n - (double)i - 0.5);
    return from_end >= margin ? 1 : 0.5 - 0.5 * cos(M_PI * from_end / margin);
}

/* Contrast whose background is 1, tapered to nothing at the borders so that the field fits a periodic transform: taking
 * the jumps there off instead would spread the noise of border pixels over all low frequencies. Mean square of the
 * taper over finite pixels (`all`: they all are); NaN when out of memory. */
static double taper_borders(float *px, size_t ny, size_t nx, const double margin[2], bool all, int threads)
{
    double square = 0, along[2] = { 0, 0 };
    double *sums = calloc(ny, sizeof *sums);
    float *w = malloc((ny + nx) * sizeof *w), *wx = w ? w + ny : NULL;
    if (sums == NULL || w == NULL) {
        free(sums);
        free(w);
        return NAN;
    }
    for (size_t y = 0; y < ny; y++) w[y] = (float)taper_at(y, ny, margin[0]);
    for (size_t x = 0; x < nx; x++) wx[x] = (float)taper_at(x, nx, margin[1]);
    size_t inner[2] = { 0, nx }; /* columns that are not touched */
    while (inner[0] < nx && wx[inner[0]] < 1) inner[0]++;
    while (inner[1] > inner[0] && wx[inner[1] - 1] < 1) inner[1]--;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t y = 0; y < ny; y++) {
        float *row = px + y * nx, sum = 0;
        if (!all)
#pragma omp simd reduction(+ : sum)
            for (size_t x = 0; x < nx; x++) sum += row[x] == row[x] ? w[y] * wx[x] * w[y] * wx[x] : 0;
        sums[y] = sum;
        for (size_t x = 0; x < nx; x++) {
            if (x == inner[0] && w[y] == 1) x = inner[1];
            if (x == nx) break;
            row[x] = 1 + w[y] * wx[x] * (row[x] - 1);
        }
    }
    for (size_t y = 0; y < ny; y++) {
        square += sums[y];
        along[0] += (double)w[y] * w[y];
    }
    for (size_t x = 0; x < nx; x++) along[1] += (double)wx[x] * wx[x];
    free(sums);
    free(w);
    return (all ? along[0] * along[1] : square) / ((double)ny * (double)nx);
}

/* ------------------------------------------------------------------ preparation */

static enum mro_code make_mask(const float *px, struct mro_haadf_state *s, int threads, struct mro_error *e)
{
    s->mask_ny = s->ny < 1024 ? s->ny : 1024;
    s->mask_nx = s->nx < 1024 ? s->nx : 1024;
    bool failed = (s->mask = malloc(s->mask_ny * s->mask_nx)) == NULL;
#pragma omp parallel num_threads(threads)
    {
        uint32_t *all = malloc(2 * s->mask_nx * sizeof *all), *good = all ? all + s->mask_nx : NULL;
        if (all == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t j = 0; j < s->mask_ny; j++) {
            if (all == NULL || s->mask == NULL) continue;
            memset(all, 0, 2 * s->mask_nx * sizeof *all);
            /* Pixels whose row, scaled to the mask, is j. */
            const size_t first = (j * s->ny + s->mask_ny - 1) / s->mask_ny,
                         end = ((j + 1) * s->ny + s->mask_ny - 1) / s->mask_ny;
            for (size_t y = first; y < end; y++)
                for (size_t x = 0; x < s->nx; x++) {
                    const size_t i = x * s->mask_nx / s->nx;
                    all[i]++;
                    good[i] += fabsf(px[y * s->nx + x]) <= FLT_MAX;
                }
            for (size_t i = 0; i < s->mask_nx; i++) s->mask[j * s->mask_nx + i] = 2 * good[i] > all[i];
        }
        free(all);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a mask of %zu x %zu", s->mask_nx, s->mask_ny) : MRO_OK;
}

void mro_haadf_not_measured(struct mro_haadf_result *r, const char *why)
{
    snprintf(r->verdict, sizeof r->verdict, "not measured: %s", why);
}

bool mro_haadf_measurable(const struct mro_image *im, const struct mro_haadf_options *o, int threads,
                          struct mro_haadf_result *r)
{
    const size_t n = im->ny * im->nx;
    const struct mro_pixel_ends ends = mro_pixel_ends(im->px, n, threads);
    const size_t finite = ends.finite;
    r->coverage = (double)finite / (double)n;
    if (!mro_pixels_vary(im, &r->warnings, &r->n_warnings, r->verdict, sizeof r->verdict)) return false;
    r->clipped_fraction = ends.clipped[0] + ends.clipped[1];
    if (finite < n) mro_warn(r, "%zu pixels are not finite numbers and are left out", n - finite);
    mro_pixels_tell_export(im, "the black level is lost, and with it the contrast", &r->warnings, &r->n_warnings);
    if (r->coverage < LEAST_COVERAGE) {
        mro_warn(r, "only %.1f %% of the pixels hold a number; 25 %% are needed for a spectrum", 100 * r->coverage);
        mro_haadf_not_measured(r, "too many pixels are missing");
        return false;
    }
    const double longest = 1 / o->band_inv_nm[0], shortest = 1 / o->band_inv_nm[1],
                 side = fmin(r->field_nm[0], r->field_nm[1]);
    if (side < MRO_HAADF_WAVES * shortest) {
        mro_warn(r, "the field of %.3g nm x %.3g nm is smaller than %g of the shortest waves of the band (%.3g nm)",
                 r->field_nm[1], r->field_nm[0], MRO_HAADF_WAVES, shortest);
        mro_haadf_not_measured(r, "the field is too small for the band");
        return false;
    }
    if (side < MRO_HAADF_WAVES * longest)
        mro_warn(r,
                 "the field of %.3g nm x %.3g nm is smaller than three of the longest waves of the band (%.3g nm): "
                 "slow variation is measured from few waves",
                 r->field_nm[1], r->field_nm[0], longest);
    return true;
}

struct mro_grid mro_haadf_grid(size_t ny, size_t nx, const double field_nm[2], double per_nm)
{
    const size_t gy = mro_smooth_size((size_t)ceil(per_nm * field_nm[0]) + 2),
                 gx = mro_smooth_size((size_t)ceil(per_nm * field_nm[1]) + 2);
    return (struct mro_grid){ gy < ny ? gy : ny, gx < nx ? gx : nx, field_nm[0], field_nm[1] };
}

/* Divides an image on the device by its background, black level off. `lowest`: the smallest value of the background
 * over its mean; NaN where there is none. *lost: pixels that are left out. */
static enum mro_code divide_background(struct mro_device *d, struct mro_buffer *image, const struct mro_image *im,
                                       const struct mro_haadf_options *o, double black, struct mro_haadf_state *s,
                                       double *lowest, size_t *lost, struct mro_haadf_result *r, struct mro_error *e)
{
    const size_t n = im->ny * im->nx;
    struct blocks *b = malloc(sizeof *b);
    if (b == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the background of %zu x %zu", im->nx, im->ny);
    *lowest = NAN;
    enum mro_code rc = block_means(d, image, im->ny, im->nx, black, b, e);
    if (rc) goto done;
    const double vacuum = leave_out_vacuum(b);
    if (vacuum > 0)
        mro_warn(r, "%.3g %% of the field has next to no counts, as vacuum has, and is left out", 100 * vacuum);
    double total = 0, weight = 0, spread = 0, sampled = 0;
    for (size_t i = 0; i < b->ny * b->nx; i++) {
        total += b->weight[i] * b->mean[i];
        weight += b->weight[i];
    }
    *lost = n - (size_t)(weight + 0.5);
    /* Runs of pixels, each in the next column of so many: rows may be as long as from one run to the next. */
    const size_t every = n > 7 * SAMPLED ? n / SAMPLED | 1 : 7, runs = n / TOGETHER + 1;
    for (size_t k = 0; k * every < runs; k++) {
        const size_t from = (k * every + k % every) * TOGETHER;
        for (size_t i = from; i < from + TOGETHER && i < n; i++)
            if (fabsf(im->px[i]) <= FLT_MAX) {
                spread += fabs(im->px[i] - black - total / weight);
                sampled++;
            }
    }
    int degree = o->polynomial;
    while (degree >= 0 && !fit_background(b, im->ny, im->nx, degree, s->background)) degree--;
    if (total > 0 && total / weight > 0.05 * spread / sampled && degree >= 0) {
        float least = 0;
        if ((rc = d->ops->divide_polynomial(d, image, im->ny, im->nx, black, degree, s->background, b->size,
                                            vacuum > 0 ? b->keep : NULL, &least, e)))
            goto done;
        s->degree = degree;
        *lowest = (double)least / s->background[0];
    }
    if (!(*lowest > 0.02))
        mro_warn(r,
                 "the image has no positive background%s: contrast relative to it is not defined; was it subtracted "
                 "before, or is the black level too high?",
                 total > 0 ? " everywhere" : "");
    else if (degree < o->polynomial)
        mro_warn(
            r, "the image is too small or too much of it is missing for a background of degree %d; degree %d was used",
            o->polynomial, degree);
done:
    free(b);
    return rc;
}

/* The counts on the device, and the black level; a vacuum that was given is left out. */
static enum mro_code upload_counts(struct mro_device *d, const struct mro_image *im, const struct mro_haadf_options *o,
                                   struct mro_buffer *image, double *black, struct mro_haadf_result *r,
                                   struct mro_error *e)
{
    const size_t n = im->ny * im->nx;
    *black = isfinite(o->black_level) ? o->black_level : 0;
    MRO_TRY(d->ops->alloc(d, image, n * sizeof *im->px, e));
    if (o->vacuum_nm[2] > o->vacuum_nm[0]) {
        float *px = malloc(n * sizeof *px);
        double level;
        if (px == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu pixels", im->nx, im->ny);
        memcpy(px, im->px, n * sizeof *px);
        enum mro_code rc = vacuum_level(im, r->pixel_nm, o->vacuum_nm, px, &level, e);
        if (rc == MRO_OK && !isfinite(o->black_level)) *black = level;
        if (rc == MRO_OK) rc = d->ops->upload(d, image, px, n * sizeof *px, e);
        free(px);
        return rc;
    }
    if (!isfinite(o->black_level) && !o->hrtem)
        mro_warn(r, "the black level of the detector is unknown and taken as 0: the contrast is too small where it is "
                    "positive; give `black_level` or `vacuum`");
    return d->ops->upload(d, image, im->px, n * sizeof *im->px, e);
}

/* Divides an image whose mean is 1, on the device and in px on the host, by its profile across an edge and then by its
 * smooth background, which would have to follow the edge if it came first. */
static enum mro_code take_out_edge(struct mro_device *d, struct mro_buffer *image, float *px,
                                   const struct mro_image *im, const struct mro_haadf_options *o, const double edge[2],
                                   struct mro_haadf_state *s, double *lowest, struct mro_haadf_result *r,
                                   struct mro_error *e)
{
    const size_t bytes = im->ny * im->nx * sizeof *px;
    struct mro_image flat = *im;
    size_t lost;
    MRO_TRY(mro_haadf_divide_edge(s, edge, d->threads, px, e));
    if (d->ops->runtime) MRO_TRY(d->ops->upload(d, image, px, bytes, e));
    flat.px = px;
    MRO_TRY(divide_background(d, image, &flat, o, 0, s, lowest, &lost, r, e));
    return d->ops->runtime ? d->ops->download(d, px, image, bytes, e) : MRO_OK;
}

/* One frame: from counts to r->state, or NULL where nothing can be measured. An edge that is known (unit vector y, x)
 * is divided out. */
static enum mro_code prepare(struct mro_device *d, const struct mro_image *im, const char *name,
                             const struct mro_haadf_options *o, const double *edge, struct mro_haadf_result *r,
                             struct mro_error *e)
{
    const size_t n = im->ny * im->nx;
    struct mro_buffer image = { 0 }, spectrum = { 0 };
    float *px = NULL, *own = NULL;
    enum mro_code rc = MRO_OK;
    struct mro_haadf_state *s = calloc(1, sizeof *s);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
    s->ny = im->ny;
    s->nx = im->nx;
    s->frames = 1;
    s->line_sd[0] = s->line_sd[1] = NAN;
    memcpy(s->pixel_nm, r->pixel_nm, sizeof s->pixel_nm);
    if (r->clipped_fraction > CLIPPED)
        mro_warn(r, "%.3g %% of the pixels are clipped at the end of the range: contrast and regions are distorted",
                 100 * r->clipped_fraction);
    double lowest = NAN;
    size_t lost = 0;
    if ((rc = upload_counts(d, im, o, &image, &r->black_level, r, e))) goto done;
    struct mro_haadf_options first = *o;
    if (edge) first.polynomial = 0;
    if ((rc = divide_background(d, &image, im, &first, r->black_level, s, &lowest, &lost, r, e))) goto done;
    if (!(lowest > 0.02)) {
        mro_haadf_not_measured(r, "the image has no background to relate the contrast to");
        goto done;
    }
    if (d->ops->runtime == NULL) {
        px = image.p;
    } else {
        if ((px = own = malloc(n * sizeof *own)) == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s' of %zu x %zu pixels", name, im->nx, im->ny);
            goto done;
        }
        if ((rc = d->ops->download(d, own, &image, n * sizeof *own, e))) goto done;
    }
    if (edge && (rc = take_out_edge(d, &image, px, im, o, edge, s, &lowest, r, e))) goto done;
    if (!(lowest > 0.02)) {
        mro_haadf_not_measured(r, "the image has no background to relate the contrast to");
        goto done;
    }
    if (d->ops->runtime) d->ops->release(d, &image);
    if (lost > 0) {
        if ((rc = make_mask(px, s, d->threads, e))) goto done;
        r->coverage = (double)(n - lost) / (double)n;
        if (r->coverage < LEAST_COVERAGE) {
            mro_warn(r, "only %.1f %% of the field is left; 25 %% are needed for a spectrum", 100 * r->coverage);
            mro_haadf_not_measured(r, "too much of the field is left out");
            goto done;
        }
    }
    const double background = o->high_pass_nm > 0 ? o->high_pass_nm : 1e3 * fmax(r->field_nm[0], r->field_nm[1]);
    if ((rc = mro_haadf_noise(d, px, background, s, e))) goto done;
    s->margin_nm = fmin(1 / o->band_inv_nm[1], 0.08 * fmin(r->field_nm[0], r->field_nm[1]));
    const double margin[2] = { s->margin_nm / s->pixel_nm[0], s->margin_nm / s->pixel_nm[1] };
    s->fill = taper_borders(px, im->ny, im->nx, margin, lost == 0, d->threads);
    if (!(s->fill > 0)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }

    s->grid = mro_haadf_grid(im->ny, im->nx, r->field_nm, 2 * MRO_HAADF_GRID_BANDS * o->band_inv_nm[1]);
    const size_t ng = s->grid.ny * s->grid.nx;
    s->spectrum = malloc(ng * sizeof *s->spectrum);
    if (s->spectrum == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }
    size_t spikes = 0;
    if ((rc = d->ops->alloc(d, &spectrum, ng * sizeof *s->spectrum, e))) goto done;
    if ((rc = d->ops->contrast_spectrum(d, px, im->ny, im->nx, r->pixel_nm, background, &s->grid, &spectrum, &spikes,
                                        NULL, e)))
        goto done;
    if ((rc = d->ops->download(d, s->spectrum, &spectrum, ng * sizeof *s->spectrum, e))) goto done;
    if ((double)spikes > WARN_SPIKES * (double)n)
        mro_warn(r, "%zu pixels (%.2g %%) stood out of their neighbours as spikes and were replaced", spikes,
                 100.0 * (double)spikes / (double)n);
    const float fill = (float)(1 / sqrt(s->fill));
#pragma omp parallel for simd schedule(static) num_threads(d->threads)
    for (size_t i = 0; i < ng; i++) {
        s->spectrum[i].re *= fill;
        s->spectrum[i].im *= fill;
    }
    if ((rc = mro_haadf_find_edge(s, o->band_inv_nm, d->threads, e))) goto done;
    if (s->edge_reach > 0 && edge == NULL && (rc = mro_haadf_refine_edge(s, px, e))) goto done;
    r->state = s;
    s = NULL;
done:
    d->ops->release(d, &image);
    d->ops->release(d, &spectrum);
    mro_haadf_state_free(s);
    free(own);
    return rc;
}

enum mro_code mro_haadf_prepare(struct mro_device *d, const struct mro_image *im, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    MRO_TRY(prepare(d, im, name, o, NULL, r, e));
    if (r->state == NULL || !(r->state->edge_reach > 0)) return MRO_OK;
    /* Again without the edge; its waves, which the division weakened, are left out as well. */
    const double edge[2] = { r->state->edge[0], r->state->edge[1] }, reach = r->state->edge_reach;
    mro_haadf_state_free(r->state);
    r->state = NULL;
    MRO_TRY(prepare(d, im, name, o, edge, r, e));
    if (r->state == NULL) return MRO_OK;
    const bool more = r->state->edge_reach > 0;
    r->state->edge[0] = edge[0];
    r->state->edge[1] = edge[1];
    r->state->edge_reach = reach;
    mro_warn(
        r,
        "a straight edge crosses the field, its normal at %.0f deg, as a step of thickness, a crack or a shear "
        "band makes one: its mean profile was divided out%s",
        fmod(round(180 / M_PI * atan2(edge[0], edge[1])) + 180, 180),
        more ? ", but more of it is left, so that contrast and regions may be the edge's own; cut the image beside it"
             : "");
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/bandpass.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/backend.h"
#include "ops/pixels.h"

void mro_bandpass_options_default(struct mro_bandpass_options *o)
{
    o->band_inv_nm[0] = 4.1;
    o->band_inv_nm[1] = 5.8;
    o->edge_inv_nm = 0.3;
}

enum mro_code mro_band_check(const double band_inv_nm[2], const double pixel_nm[2], const char *name,
                             struct mro_error *e)
{
    if (!(band_inv_nm[0] > 0 && band_inv_nm[1] > band_inv_nm[0] && isfinite(band_inv_nm[1])))
        return MRO_FAIL(e, MRO_EARG, "the pass band %g,%g 1/nm is not LOW,HIGH with 0 < LOW < HIGH", band_inv_nm[0],
                        band_inv_nm[1]);
    const double coarse = fmax(pixel_nm[0], pixel_nm[1]), nyquist = 0.5 / coarse;
    if (band_inv_nm[1] >= nyquist)
        return MRO_FAIL(
            e, MRO_EARG,
            "the pass band of '%s' ends at %g 1/nm, beyond the Nyquist frequency %.3g 1/nm of its %.4g nm pixels; "
            "check the pixel size, or give `band` with an upper limit below it",
            name, band_inv_nm[1], nyquist, coarse);
    return MRO_OK;
}

/* Mean of the finite ones of a row, the sum of squared deviations from it, and how many they are. */
struct row {
    double mean, square, n;
};

static struct row row_of(const float *px, size_t n)
{
    double sum = 0, square = 0;
    int known = 0;
#pragma omp simd reduction(+ : sum, known)
    for (size_t x = 0; x < n; x++) {
        const bool finite = fabsf(px[x]) < INFINITY;
        sum += finite ? px[x] : 0;
        known += finite;
    }
    const double mean = known ? sum / known : 0;
#pragma omp simd reduction(+ : square)
    for (size_t x = 0; x < n; x++) {
        const double v = fabsf(px[x]) < INFINITY ? px[x] - mean : 0;
        square += v * v;
    }
    return (struct row){ mean, square, known };
}

/* Standard deviation (n - 1) of the finite pixels; `row`: room for those of the image. */
static double rms(const struct mro_image *im, int threads, struct row *row)
{
    struct row all = { 0 };
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t y = 0; y < im->ny; y++) row[y] = row_of(im->px + y * im->nx, im->nx);
    for (size_t y = 0; y < im->ny; y++) { /* of two sets together (Chan et al., Am. Stat. 37 (1983) 242) */
        const double n = all.n + row[y].n, away = row[y].mean - all.mean;
        if (!(row[y].n > 0)) continue;
        all.square += row[y].square + away * away * all.n * row[y].n / n;
        all.mean += away * row[y].n / n;
        all.n = n;
    }
    return all.n > 1 ? sqrt(all.square / (all.n - 1)) : NAN;
}

enum mro_code mro_bandpass(struct mro_device *d, const struct mro_image *im, const char *name,
                           const struct mro_bandpass_options *o, struct mro_bandpass_result *r, struct mro_error *e)
{
    memset(r, 0, sizeof *r);
    MRO_TRY(mro_image_pixel_nm(im, name, r->pixel_nm, e));
    MRO_TRY(mro_band_check(o->band_inv_nm, r->pixel_nm, name, e));
    if (!(o->edge_inv_nm >= 0))
        return MRO_FAIL(e, MRO_EARG, "an edge of %g 1/nm is no width of the pass band's edges: give 0 or more",
                        o->edge_inv_nm);
    MRO_TRY(mro_pixels_in_range(im, name, e));
    if (im->not_finite == im->ny * im->nx)
        return MRO_FAIL(e, MRO_EDATA, "'%s' holds no pixel that is a finite number: there is nothing to filter", name);
    /* Edges of no width would divide zero by zero on a limit. */
    const double edge = fmax(o->edge_inv_nm, 1e-6);
    struct row *row = malloc(im->ny * sizeof *row);
    if (row == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
    enum mro_code rc = mro_image_alloc(&r->filtered, im->ny, im->nx, e);
    if (rc) goto done;
    memcpy(r->filtered.axis, im->axis, sizeof im->axis);
    r->filtered.kind = im->kind;
    r->filtered.beam_kv = im->beam_kv;
    r->filtered.not_finite = im->not_finite;
    rc = d->ops->bandpass(d, im->px, im->ny, im->nx, r->pixel_nm, o->band_inv_nm, edge, r->filtered.px, e);
    if (rc) goto done;
    r->rms_in = rms(im, d->threads, row);
    r->rms_out = rms(&r->filtered, d->threads, row);
    if (isfinite(r->rms_in) && !isfinite(r->rms_out))
        rc = MRO_FAIL(
            e, MRO_EDATA,
            "single pixels of '%s' are so large (the standard deviation is %.3g) that float32 cannot hold what "
            "the filter makes of them; set them to NaN, which is left out",
            name, r->rms_in);
done:
    free(row);
    if (rc) mro_bandpass_result_release(r);
    return rc;
}

void mro_bandpass_result_release(struct mro_bandpass_result *r)
{
    if (r == NULL) return;
    mro_image_release(&r->filtered);
    memset(r, 0, sizeof *r);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Heterogeneity of one HAADF image: background, noise, contrast within a band, lengths, regions, verdict. */
#include "mroscope/haadf.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "core/select.h"
#include "mroscope/bandpass.h"
#include "mroscope/math/grid.h"
#include "ops/haadf/haadf_internal.h"
#include "ops/pixels.h"
#include "ops/wide.h"

#define RINGS_IN_BAND 80   /* at most */
#define SURE 3.0           /* standard errors of a contrast that is there */
#define LATTICE_INV_NM 3.0 /* 1/d from which an HRTEM image shows its lattice */
#define MOSTLY_PASSED 0.9  /* share of the power of the longest waves that the high-pass has to leave */
#define SMALL_REGIONS 1.7  /* diameters, in widths of the smoothing, below which sizes are widened by it */

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
                        "heterogeneity; give `band` with an upper limit of at most %g",
                        o->band_inv_nm[1], LATTICE_INV_NM);
    return MRO_OK;
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

static void say_regions(char *out, size_t size, const char *word, const struct mro_haadf_regions *r)
{
    char wide[32] = "";
    if (isfinite(r->diameter_nm)) snprintf(wide, sizeof wide, " of %.2g nm", r->diameter_nm);
    const int used = snprintf(out, size, "%s regions%s cover %.*g %%", word, wide, r->area_fraction < 0.995 ? 2 : 3,
                              100 * r->area_fraction);
    if (used > 0 && (size_t)used < size)
        snprintf(out + used, size - (size_t)used,
                 "; beyond %g standard deviations they have %.2g times the area that a random field of this spectrum "
                 "has (p %s %.2g)",
                 r->null_threshold_sd, r->null_ratio, r->p_at_most ? "<=" : "=", r->p_value);
}

static void make_verdict(bool there, struct mro_haadf_result *r)
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
        say_regions(text, sizeof text, first_dark ? "dark" : "bright", first_dark ? &r->dark : &r->bright);
        snprintf(r->verdict, sizeof r->verdict, "%s; %s", text, contrast);
    } else {
        snprintf(r->verdict, sizeof r->verdict,
                 "%s; regions not distinguishable from a random field of this spectrum (p = %.2g)", contrast,
                 r->p_value);
    }
    if (isfinite(r->wavelength_nm))
        mro_text_add(r->verdict, sizeof r->verdict, "; wavelength %.2g nm", r->wavelength_nm);
}

/* ------------------------------------------------------------------ the measurement */

/* Says what the noise leaves to be desired. */
static void note_noise(const struct mro_haadf_state *s, bool known, struct mro_haadf_result *r)
{
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
}

/* Says what regions have no diameter, or a doubtful one. */
static void note_regions(struct mro_haadf_result *r)
{
    const bool more[2] = { r->dark.p_value < MRO_HAADF_CALLED, r->bright.p_value < MRO_HAADF_CALLED };
    if (!more[0] || !more[1])
        mro_warn(r,
                 "%s regions are not more than a random field of this spectrum shows: their diameter would be that of "
                 "the smoothing, and is not given",
                 more[0]   ? "bright"
                 : more[1] ? "dark"
                           : "dark and bright");
    for (int k = 0; k < 2; k++) {
        const struct mro_haadf_regions *one = k ? &r->bright : &r->dark;
        if (more[k] && isnan(one->diameter_nm))
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
}

enum mro_code mro_haadf_analyse(struct mro_device *d, const struct mro_haadf_state *s, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    const double *band = o->band_inv_nm;
    struct mro_rings rings = { 0 };
    struct mro_spectrum_fit fit[MRO_SPECTRUM_KINDS];
    struct mro_haadf_band sums;
    double gains[1025], *falling = NULL;
    enum mro_code rc = MRO_OK;
    r->frames = s->frames;
    const bool known = isfinite(s->noise) && s->white;
    const double noise = known ? s->noise : 0;
    note_noise(s, known, r);
    const double longest = fmax(s->grid.ly, s->grid.lx);
    const double step = fmax(1 / longest, band[1] / RINGS_IN_BAND);
    const double nyquist = 0.5 * fmin((double)s->grid.ny / s->grid.ly, (double)s->grid.nx / s->grid.lx);
    if ((rc = mro_rings_of(s, fmin(MRO_HAADF_GRID_BANDS * band[1], nyquist), step, d->threads, &rings, e))) goto done;
    const double share = mro_haadf_share(s);
    for (size_t i = 0; i < rings.n; i++) rings.modes[i] *= share;
    if ((rc = mro_haadf_sum_band(s, band, noise, d->threads, &sums, e))) goto done;
    if (sums.modes < 8) {
        mro_warn(r, "only %.0f waves of the band fit into the field: nothing was measured", sums.modes);
        mro_haadf_not_measured(r, "the field is too small for the band");
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
#pragma omp parallel for schedule(dynamic) num_threads(d->threads)
    for (int k = 0; k < MRO_SPECTRUM_KINDS; k++)
        mro_spectrum_fit(&rings, noise, band[0], band[1], (enum mro_spectrum_kind)k, fit + k);
    if ((falling = malloc(rings.n * sizeof *falling)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }
    if ((rc = mro_spectrum_falling(&rings, band[0], band[1], falling, e))) goto done;
    if ((rc = fill_rings(s, &rings, falling, noise, r, e))) goto done;
    if ((rc = mro_haadf_fill_histogram(d, s, o, &rings, &sums, there, r, e))) goto done;
    if ((rc = mro_haadf_fill_acf(&rings, band, noise, fmin(0.5 * longest, 1 / band[0]), there, r, e))) goto done;
    if (there) rc = mro_haadf_find_wavelength(&rings, noise, falling, o, r->field_nm, d->threads, fit, r, e);
    if (rc) goto done;
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
    /* Where none of the fields has as much, more of them might give less. */
    const double least = 1.01 / (o->surrogates + 1.0);
    r->dark.p_at_most = r->dark.p_value <= least;
    r->bright.p_at_most = r->bright.p_value <= least;
    if (isnan(r->dark.p_value)) {
        mro_warn(r, "too little of the field is left for regions: none were looked for");
        snprintf(r->verdict, sizeof r->verdict, "contrast %.2g %%; no regions were looked for", 100 * r->contrast_sd);
        goto done;
    }
    note_regions(r);
    make_verdict(there, r);
done:
    mro_rings_release(&rings);
    free(falling);
    return rc;
}

enum mro_code mro_haadf_measure_wide(struct mro_device *d, const struct mro_image *im, const char *name,
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
    MRO_TRY(mro_pixels_in_range(im, name, e));
    memcpy(r->pixel_nm, pixel, sizeof pixel);
    memcpy(r->band_inv_nm, o->band_inv_nm, sizeof r->band_inv_nm);
    r->field_nm[0] = (double)im->ny * pixel[0];
    r->field_nm[1] = (double)im->nx * pixel[1];
    r->frames = 1;
    if (!mro_haadf_measurable(im, o, d->threads, r)) return MRO_OK;
    if (o->high_pass_nm > 0 && mro_haadf_high_pass_power(o->band_inv_nm[0], o->high_pass_nm) < MOSTLY_PASSED)
        mro_warn(r,
                 "the high-pass of %.3g nm takes %.0f %% of the power of the longest waves of the band (%.3g nm): "
                 "contrast is too small; give `high_pass` of half of them at least",
                 o->high_pass_nm, 100 * (1 - mro_haadf_high_pass_power(o->band_inv_nm[0], o->high_pass_nm)),
                 1 / o->band_inv_nm[0]);
    enum mro_code rc = mro_haadf_prepare(d, im, name, o, r, e);
    if (rc == MRO_OK && r->state) rc = mro_haadf_analyse(d, r->state, name, o, r, e);
    if (rc) mro_haadf_result_release(r);
    return rc;
}

size_t mro_haadf_bytes(const struct mro_image *like, const struct mro_haadf_options *o)
{
    double pixel[2];
    if (mro_image_pixel_nm(like, "", pixel, NULL) != MRO_OK) return 0;
    const double field[2] = { (double)like->ny * pixel[0], (double)like->nx * pixel[1] }, upper = o->band_inv_nm[1];
    const struct mro_grid grid = mro_haadf_grid(like->ny, like->nx, field, 2 * MRO_HAADF_GRID_BANDS * upper),
                          map = mro_haadf_grid(like->ny, like->nx, field, MRO_HAADF_MAP_BANDS * upper);
    const size_t n = like->ny * like->nx, spectrum = grid.ny * grid.nx * sizeof(mro_c32);
    /* The flattened copy (a vacuum is left out of a copy of its own) and the half plane that is cropped to the
     * spectrum; then that and the map with its distances and discs, of which there are few more than one for four
     * samples. */
    const size_t half = like->ny * (grid.nx / 2 + 1) * sizeof(mro_c32);
    const size_t flat = n * sizeof(float) + half + 2 * spectrum, copies = 2 * n * sizeof(float),
                 regions = spectrum + map.ny * map.nx * 25;
    const size_t first = o->vacuum_nm[2] > o->vacuum_nm[0] && copies > flat ? copies : flat;
    return ((size_t)20 << 20) + (first > regions ? first : regions); /* and tables, random fields of each thread */
}

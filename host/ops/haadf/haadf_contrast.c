/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Contrast within the band: its variance, histogram, autocorrelation and wavelength. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "mroscope/math/grid.h"
#include "ops/haadf/haadf_internal.h"

#define MOVES 0.1 /* of a wavelength: more is no wavelength */
#define BETTER_AICC 6.0
#define RISE 4.0         /* times the power before it: a peak of any shape */
#define BEFORE 1.4       /* times less than its frequency */
#define FEWEST_BEFORE 30 /* modes */
#define FWHM 2.3548200450309493

/* Share of the field that holds pixels. A spectrum of a part of the field has as many fewer independent modes. */
double mro_haadf_share(const struct mro_haadf_state *s)
{
    const size_t n = s->mask_ny * s->mask_nx;
    size_t in = 0;
    for (size_t i = 0; s->mask && i < n; i++) in += s->mask[i];
    return s->mask && in > 0 ? (double)in / (double)n : 1;
}

/* Sums over the modes of a row: of power, of its square, of those that count, and of all. */
struct band_sums {
    double power, square, used, all;
};

/* Modes (ky, kx), (ky, kx + 1), ... */
static void add_modes(const struct mro_haadf_state *s, const double band[2], ptrdiff_t ky, ptrdiff_t kx,
                      const mro_c32 *z, ptrdiff_t n, struct band_sums *to)
{
    const struct mro_grid *g = &s->grid;
    double power = 0, square = 0, used = 0, all = 0;
    const double qy = (double)ky / g->ly;
#pragma omp simd reduction(+ : power, square, used, all)
    for (int i = 0; i < (int)n; i++) {
        const int k = (int)kx + i;
        const double qx = k / g->lx, q = sqrt(qy * qy + qx * qx);
        const bool in = q >= band[0] && q <= band[1];
        const bool out = mro_haadf_line_mode(s, ky, k) || mro_haadf_edge_mode(s, ky, k);
        const double p = in && !out ? (double)z[i].re * z[i].re + (double)z[i].im * z[i].im : 0;
        power += p;
        square += p * p;
        used += in && !out;
        all += in;
    }
    to->power += power;
    to->square += square;
    to->used += used;
    to->all += all;
}

enum mro_code mro_haadf_sum_band(const struct mro_haadf_state *s, const double band[2], double noise, int threads,
                                 struct mro_haadf_band *b, struct mro_error *e)
{
    const struct mro_grid *g = &s->grid;
    const ptrdiff_t hy = (ptrdiff_t)fmin((double)(g->ny - 1) / 2, band[1] * g->ly + 1),
                    hx = (ptrdiff_t)fmin((double)(g->nx - 1) / 2, band[1] * g->lx + 1);
    struct band_sums *row = calloc((size_t)hy + 1, sizeof *row);
    if (row == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the modes of %zu x %zu", g->nx, g->ny);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (ptrdiff_t ky = 0; ky <= hy; ky++) {
        const mro_c32 *z = s->spectrum + (size_t)ky * g->nx;
        if (ky) add_modes(s, band, ky, -hx, z + (ptrdiff_t)g->nx - hx, hx, row + ky);
        add_modes(s, band, ky, ky ? 0 : 1, z + (ky ? 0 : 1), ky ? hx + 1 : hx, row + ky);
    }
    double power = 0, square = 0, used = 0, all = 0;
    for (ptrdiff_t ky = 0; ky <= hy; ky++) {
        power += row[ky].power;
        square += row[ky].square;
        used += row[ky].used;
        all += row[ky].all;
    }
    free(row);
    const double pixels = (double)s->ny * (double)s->nx, scale = used > 0 ? 2 * all / used / pixels : 0;
    const double share = mro_haadf_share(s);
    b->modes = used * share;
    b->noise = noise * used * scale;
    b->variance = power * scale - b->noise;
    /* The square of an exponential has twice the square of its mean. */
    b->se = hypot(scale * sqrt(0.5 * square / share), b->noise * s->noise_error);
    return MRO_OK;
}

enum { BINS = 240, SIDE = 6, PART = 512 };

/* Moments of a field where it is usable. */
struct moments {
    double count, mean, sd, third;
    double block[SIDE * SIDE][2]; /* sums of third powers, and counts, over blocks: for the error of the skewness */
};

/* From sums over each row, which are added in one order at any number of threads. */
static enum mro_code moments_of(const float *v, const unsigned char *usable, const struct mro_grid *g, int threads,
                                struct moments *m, struct mro_error *e)
{
    struct {
        double sum, count, square, cube[SIDE], used[SIDE];
    } *row = malloc(g->ny * sizeof *row);
    if (row == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
    double sum = 0, count = 0, m2 = 0, m3 = 0;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t j = 0; j < g->ny; j++) {
        const float *values = v + j * g->nx;
        const unsigned char *in = usable + j * g->nx;
        double all = 0;
        unsigned used = 0;
#pragma omp simd reduction(+ : all, used)
        for (size_t i = 0; i < g->nx; i++) {
            all += in[i] ? (double)values[i] : 0;
            used += in[i];
        }
        row[j].sum = all;
        row[j].count = used;
    }
    for (size_t j = 0; j < g->ny; j++) {
        sum += row[j].sum;
        count += row[j].count;
    }
    const double mean = count > 0 ? sum / count : 0;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t j = 0; j < g->ny; j++) {
        row[j].square = 0;
        for (size_t b_x = 0; b_x < SIDE; b_x++) {
            double square = 0, cube = 0;
            unsigned used = 0;
            const size_t from = j * g->nx + (b_x * g->nx + SIDE - 1) / SIDE,
                         end = j * g->nx + ((b_x + 1) * g->nx + SIDE - 1) / SIDE;
#pragma omp simd reduction(+ : square, cube, used)
            for (size_t k = from; k < end; k++) {
                const double x = usable[k] ? v[k] - mean : 0;
                square += x * x;
                cube += x * x * x;
                used += usable[k];
            }
            row[j].square += square;
            row[j].cube[b_x] = cube;
            row[j].used[b_x] = used;
        }
    }
    memset(m->block, 0, sizeof m->block);
    for (size_t j = 0; j < g->ny; j++) {
        m2 += row[j].square;
        for (size_t b_x = 0; b_x < SIDE; b_x++) {
            double *at = m->block[j * SIDE / g->ny * SIDE + b_x];
            m3 += row[j].cube[b_x];
            at[0] += row[j].cube[b_x];
            at[1] += row[j].used[b_x];
        }
    }
    m2 /= count;
    m3 /= count;
    m->count = count;
    m->mean = mean;
    m->sd = sqrt(m2);
    m->third = m3;
    free(row);
    return MRO_OK;
}

/* Fills the histogram of the field, as a density. */
static void fill_bins(const float *v, const unsigned char *usable, size_t n, double count, int threads,
                      struct mro_haadf_result *r)
{
    uint32_t bin[BINS + 1] = { 0 }; /* the last one takes what is left out */
    const double from_value = r->histogram_lo, width = r->histogram_step;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : bin)
    for (size_t from = 0; from < n; from += PART) {
        int32_t at[PART];
        const size_t size = n - from < PART ? n - from : PART;
#pragma omp simd
        for (size_t i = 0; i < size; i++) {
            const double t = ((double)v[from + i] - from_value) / width;
            at[i] = usable[from + i] && t >= 0 && t < BINS ? (int32_t)t : BINS;
        }
        for (size_t i = 0; i < size; i++) bin[at[i]]++;
    }
    for (size_t i = 0; i < BINS; i++) r->histogram[i] = bin[i] / (count * r->histogram_step);
}

/* Ends of the full width at half maximum of the histogram, smoothed by a Gaussian of `h`: the outermost crossings. */
static void find_ends(double h, struct mro_haadf_result *r, double ends[2])
{
    double smooth[BINS], top = 0;
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
    ends[0] = ends[1] = NAN;
    for (int i = 1; i < BINS; i++) {
        const bool rises = smooth[i - 1] < 0.5 * top && smooth[i] >= 0.5 * top;
        const bool falls = smooth[i - 1] >= 0.5 * top && smooth[i] < 0.5 * top;
        const double at =
            r->histogram_lo + (i - 0.5 + (0.5 * top - smooth[i - 1]) / (smooth[i] - smooth[i - 1])) * r->histogram_step;
        if (rises && isnan(ends[0])) ends[0] = at;
        if (falls) ends[1] = at;
    }
}

static void fill_skewness(const struct moments *m, double variance, struct mro_haadf_result *r)
{
    /* Noise has no third moment. */
    const double scale = pow(variance, 1.5);
    double square = 0, blocks = 0;
    for (int k = 0; k < SIDE * SIDE; k++) {
        if (!(m->block[k][1] > 0)) continue;
        const double x = m->block[k][0] - m->third * m->block[k][1];
        square += x * x;
        blocks++;
    }
    const double se = sqrt(square * blocks / fmax(1, blocks - 1)) / m->count / scale;
    r->skewness = m->third / scale;
    r->skewness_ci95[0] = r->skewness - 2.03 * se;
    r->skewness_ci95[1] = r->skewness + 2.03 * se;
}

enum mro_code mro_haadf_fill_histogram(struct mro_device *d, const struct mro_haadf_state *s,
                                       const struct mro_haadf_options *o, const struct mro_rings *rings,
                                       const struct mro_haadf_band *b, bool there, struct mro_haadf_result *r,
                                       struct mro_error *e)
{
    const double *band = o->band_inv_nm;
    double gains[2049];
    struct mro_haadf_filter f = { band[1] / 2000, 2049, gains, rings };
    for (size_t i = 0; i < f.n; i++) {
        const double q = (double)i * f.step;
        gains[i] = q >= band[0] && q <= band[1] ? 1 : 0;
    }
    const struct mro_grid g = s->grid;
    const size_t n = g.ny * g.nx;
    struct moments m = { 0 };
    unsigned char *usable = NULL;
    float *v = malloc(n * sizeof *v);
    r->histogram = calloc(BINS, sizeof *r->histogram);
    enum mro_code rc = MRO_OK;
    if (v == NULL || r->histogram == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g.nx, g.ny);
        goto done;
    }
    if ((rc = mro_haadf_field(d, s, &f, &g, v, e))) goto done;
    if ((rc = mro_haadf_usable(s, &g, d->threads, &usable, e))) goto done;
    if ((rc = moments_of(v, usable, &g, d->threads, &m, e))) goto done;
    if (!(m.sd > 0)) goto done;
    r->n_histogram = BINS;
    r->histogram_lo = m.mean - 6 * m.sd;
    r->histogram_step = 12 * m.sd / BINS;
    fill_bins(v, usable, n, m.count, d->threads, r);
    const double h = 0.2 * m.sd;
    double ends[2];
    find_ends(h, r, ends);
    const double seen2 = pow((ends[1] - ends[0]) / FWHM, 2) - h * h;
    r->histogram_sd[0] = seen2 > 0 ? sqrt(seen2) : NAN;
    const double true2 = seen2 - b->noise;
    if (there && true2 > 0) {
        r->histogram_sd[1] = sqrt(true2);
        r->fwhm = FWHM * r->histogram_sd[1];
    } else if (there) {
        mro_warn(r, "the histogram is no wider than the noise makes it: no width without noise is given");
    }
    if (there && b->variance > 0) fill_skewness(&m, b->variance, r);
done:
    free(usable);
    free(v);
    return rc;
}

/* Autocorrelation of the contrast in the band by summing its rings: J0 is that of a ring. */
enum mro_code mro_haadf_fill_acf(const struct mro_rings *rings, const double band[2], double noise, double longest,
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
        mro_warn(r, "the contrast is not above its error: no width without noise, skewness, correlation length or "
                    "wavelength is given");
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
double mro_haadf_high_pass_power(double q, double s)
{
    const double h = 1 - exp(-2 * M_PI * M_PI * s * s * q * q);
    return h * h;
}

/* Wavelength as it would come out with twice the high-pass: a filter turns a falling spectrum into a peak near its own
 * limit, which then moves. NaN when there is no peak any more. */
static enum mro_code wavelength_at_double(const struct mro_rings *rings, double noise,
                                          const struct mro_haadf_options *o, double *wave, struct mro_error *e)
{
    const double *band = o->band_inv_nm;
    struct mro_rings other = *rings;
    struct mro_spectrum_fit fit;
    double decay;
    *wave = NAN;
    if ((other.power = malloc(rings->n * sizeof *other.power)) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a spectrum of %zu rings", rings->n);
    for (size_t i = 0; i < rings->n; i++)
        other.power[i] = noise + (rings->power[i] - noise) *
                                     mro_haadf_high_pass_power(rings->q[i], 2 * o->high_pass_nm) /
                                     mro_haadf_high_pass_power(rings->q[i], o->high_pass_nm);
    mro_spectrum_fit(&other, noise, band[0], band[1], MRO_SPECTRUM_TEUBNER, &fit);
    if (isfinite(fit.aicc)) mro_teubner_lengths(&fit, wave, &decay);
    free(other.power);
    return MRO_OK;
}

/* Does the spectrum rise so much from the lower frequencies of the band to its largest ring that no falling one could,
 * whatever its shape? For peaks that are not shaped as those of Teubner and Strey. */
static bool rises(const struct mro_rings *rings, double noise, const double band[2])
{
    double top = 0, most = 0, before = 0, modes = 0;
    for (size_t i = 0; i < rings->n; i++)
        if (rings->q[i] >= band[0] && rings->q[i] <= band[1] && rings->power[i] > most) {
            most = rings->power[i];
            top = rings->q[i];
        }
    for (size_t i = 0; i < rings->n; i++)
        if (rings->q[i] >= band[0] && rings->q[i] < top / BEFORE) {
            before += rings->power[i] * rings->modes[i];
            modes += rings->modes[i];
        }
    return modes >= FEWEST_BEFORE && most - noise > RISE * (before / modes - noise) && most > RISE * noise;
}

/* A wavelength only where a peaked spectrum beats every falling one. `fit` holds the three shapes, `falling` the best
 * falling spectrum of any shape. */
enum mro_code mro_haadf_find_wavelength(const struct mro_rings *rings, double noise, const double *falling,
                                        const struct mro_haadf_options *o, const double field_nm[2], int threads,
                                        const struct mro_spectrum_fit *fit, struct mro_haadf_result *r,
                                        struct mro_error *e)
{
    const struct mro_spectrum_fit *peaked = fit + MRO_SPECTRUM_TEUBNER;
    const double *band = o->band_inv_nm;
    const double better = fmin(fit[MRO_SPECTRUM_POWER].aicc, fit[MRO_SPECTRUM_STRETCHED].aicc) - peaked->aicc;
    double wave, decay;
    if (!isfinite(better)) {
        mro_warn(r, "too few rings of the spectrum lie in the band: no wavelength is looked for");
        return MRO_OK;
    }
    mro_teubner_lengths(peaked, &wave, &decay);
    MRO_TRY(mro_spectrum_peak_p(rings, band[0], band[1], falling, o->seed, threads, &r->wavelength_p, e));
    if (!isfinite(wave) || (better < BETTER_AICC && !rises(rings, noise, band)) ||
        !(r->wavelength_p < MRO_HAADF_CALLED)) {
        mro_warn(r,
                 "a falling spectrum describes the image as well as one with a peak (p = %.2g): no wavelength is given",
                 r->wavelength_p);
        return MRO_OK;
    }
    if (1 / wave < band[0] || 1 / wave > band[1]) {
        mro_warn(r, "the peak at %.3g nm lies outside of the band: no wavelength is given", wave);
        return MRO_OK;
    }
    if (wave * MRO_HAADF_WAVES > fmin(field_nm[0], field_nm[1])) {
        mro_warn(r, "the field is smaller than three wavelengths of %.3g nm: no wavelength is given", wave);
        return MRO_OK;
    }
    if (o->high_pass_nm > 0) {
        double moved;
        MRO_TRY(wavelength_at_double(rings, noise, o, &moved, e));
        if (!(fabs(moved - wave) < MOVES * wave)) {
            mro_warn(
                r,
                "the peak at %.3g nm moves when the high-pass of %.3g nm is doubled, so that it may be made by it: no "
                "wavelength is given; try a longer `high_pass`",
                wave, o->high_pass_nm);
            return MRO_OK;
        }
    }
    r->wavelength_nm = wave;
    r->coherence_nm = decay;
    return MRO_OK;
}

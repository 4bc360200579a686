/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From pixels to a whitened spectrum: contrast, the lens's rings, local power, and the sign the lens reversed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "core/team.h"
#include "mroscope/math/band.h"
#include "mroscope/math/ctf.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/lattice.h"
#include "ops/mro/ctf.h"
#include "ops/mro/mro_interference.h"
#include "ops/mro/mro_internal.h"
#include "ops/mro/mro_lines.h"
#include "ops/mro/mro_views.h"

#define MODEL_FLOOR 0.1 /* of sin^2 chi in the whitening model */
/* nm^-2. The fringe amplitude a0 of bcc Fe (110) per nm gives pi a0^2 / 32 = 1.0e-3; clusters in multislice images of
 * glass have a tenth less, as none is as perfect. */
#define CONTRAST_PER_POWER 0.9e-3
#define FOCAL_SPREAD_NM 4.0  /* rms, of usual microscopes: 3 to 5 */
#define MOST_ROUNDS 8        /* in which waves are looked for */
#define UNKNOWN_TRANSFER 0.8 /* |sin chi|^2 of lenses without rings: near their best focus */

/* A row of an even plane from that of the opposite frequency along y. */
static void turn_row(const float *from, size_t nx, float *to)
{
    to[0] = from[0];
#pragma omp simd
    for (size_t x = 1; x < nx; x++) to[nx - x] = from[x];
}

/* Fills the whitening model wherever the local power of the band lo..hi looks; 1 elsewhere. It is even in q. false: out
 * of memory. */
static bool lens_model(int threads, const struct mro_grid *g, const struct mro_ctf_fit *fit, double lo, double hi,
                       float *model)
{
    const struct mro_lattice l = mro_lattice_of(g->ny, g->nx, g->ly, g->lx, WHITEN_RADIUS, lo, hi);
    const double reach = l.radius + 2 / fmin(g->ly, g->lx); /* of a disc */
    const double from = fmax(l.inner - reach, 0), to = l.outer + reach;
    const float least = (float)(from * from), per = (float)(1 / g->lx);
    bool failed = false;
#pragma omp parallel num_threads(mro_team(threads, 0.5 * (double)(g->ny * g->nx)))
    {
        float *row = malloc(g->nx * sizeof *row);
        if (row == NULL) mro_raise(&failed);
#pragma omp for schedule(dynamic, 16)
        for (size_t y = 0; y <= g->ny / 2; y++) {
            const double qy = mro_frequency(y, g->ny, g->ly), left = to * to - qy * qy;
            float *here = model + y * g->nx;
            if (row == NULL) continue;
            for (size_t x = 0; x < g->nx; x++) here[x] = 1;
            const bool alone = y == 0 || 2 * y == g->ny; /* no row of -qy */
            const int last = left < 0 || 2 * y == g->ny ? -1 : (int)fmin(sqrt(left) * g->lx, (double)((g->nx - 1) / 2));
            if (last >= 0) mro_ctf_transfer_row(fit, qy, g->lx, -last, 2 * last + 1, row);
            for (int side = 0; last >= 0 && side < 2; side++) { /* qx >= 0, and < 0 */
                const size_t first = side ? g->nx - (size_t)last : 0;
                const float *have = row + (side ? 0 : last);
                const int n = side ? last : last + 1, x0 = side ? -last : 0;
#pragma omp simd
                for (int i = 0; i < n; i++) {
                    const float qx = (float)(x0 + i) * per, q2 = (float)(qy * qy) + qx * qx;
                    here[first + (size_t)i] = q2 >= least ? have[i] + (float)MODEL_FLOOR : 1;
                }
            }
            if (!alone) turn_row(here, g->nx, model + (g->ny - y) * g->nx);
        }
        free(row);
    }
    return !failed;
}

/* The contrast c of snr = c D^4 that the image itself leads to expect: the fringes of a sphere of iron have a known
 * amplitude per nm, and what they compete with, speckle and shot noise, is the power measured at their spatial
 * frequency. So thickness, dose and lens enter through what is seen. `power` is that of the contrast per coefficient of
 * a unitary transform, but for the annuli; `model` the lens's |transfer|^2 over the foil's depth, NULL where no rings
 * tell it. false: out of memory. */
static bool expect_contrast(const struct mro_order_plan *p, const struct mro_grid *g, const float *power,
                            const float *model, const struct mro_annuli *annuli, const double pixel_nm[2], double kv,
                            bool lens_known, struct mro_contrast *out)
{
    struct line {
        double signal, amplitude, noise, n;
    } all = { 0 }, *lines = calloc(g->ny, sizeof *lines);
    const double lambda = mro_wavelength_nm(kv > 0 ? kv : 200), lo = 0.95 / p->o.d_nm, hi = 1.05 / p->o.d_nm;
    const double damping = MRO_PI * lambda * FOCAL_SPREAD_NM, per = 1 / g->lx; /* beyond 26 nothing is left */
    /* Of a model of the lens, or the same everywhere: without a branch. */
    const float *of = model ? model : power;
    const double known = model ? 1 : 0, unknown = model ? 0 : UNKNOWN_TRANSFER;
    if (lines == NULL) return false;
#pragma omp parallel for schedule(dynamic, 16) num_threads(mro_team(p->d->threads, 0.3 * (double)(g->ny * g->nx)))
    for (size_t y = 0; y < g->ny; y++) {
        const double qy = mro_frequency(y, g->ny, g->ly);
        if (fabs(qy) > hi) continue;
        /* The other half of the plane is the same. */
        const ptrdiff_t row = (ptrdiff_t)(y * g->nx), most = (ptrdiff_t)(g->nx / 2);
        const int first = (int)(sqrt(fmax(0, lo * lo - qy * qy)) * g->lx),
                  last = (int)fmin(sqrt(hi * hi - qy * qy) * g->lx + 1, (double)most);
        double signal = 0, amplitude = 0, noise = 0, n = 0;
#pragma omp simd reduction(+ : signal, amplitude, noise, n)
        for (int x = first; x <= last; x++) {
            const double qx = x * per, q2 = qy * qy + qx * qx, turned = damping * q2;
            const double there = q2 < lo * lo ? 0 : q2 > hi * hi ? 0 : 1, spread = turned < 26 ? turned : 26;
            const double lens = known * ((double)of[row + x] - MODEL_FLOOR) + unknown, seen = lens > 0 ? lens : 0;
            const double transfer = there * seen * mro_exp64(-spread * spread);
            const double gain = (double)mro_annuli_gain(annuli, (float)sqrt(q2));
            signal += transfer;
            amplitude += sqrt(transfer);
            noise += there * (double)power[row + x] / (gain * gain);
            n += there;
        }
        const struct line line = { signal, amplitude, noise, n };
        lines[y] = line;
    }
    for (size_t y = 0; y < g->ny; y++) {
        all.signal += lines[y].signal;
        all.amplitude += lines[y].amplitude;
        all.noise += lines[y].noise;
        all.n += lines[y].n;
    }
    free(lines);
    /* The matched patches are not weighted by the lens: over its zeros a sphere's amplitudes add up to less. */
    const double coherent = all.signal > 0 ? all.amplitude * all.amplitude / (all.signal * all.n) : 1;
    const double c =
        all.noise > 0 ? CONTRAST_PER_POWER * coherent * all.signal / all.noise / (pixel_nm[0] * pixel_nm[1]) : 1;
    /* Unknown ghosts share a sphere's signal. */
    out->log_c = log(fmin(fmax(lens_known ? c : 0.6 * c, 0.1), 6));
    out->log_sd = lens_known ? 0.4 : 0.6;
    return true;
}

/* Fits the lens to the rings of the contrast's spectrum, which is on the host. */
static enum mro_code fit_lens(const struct mro_order_plan *p, double kv, const mro_c32 *spectrum,
                              struct mro_whitened *w, struct mro_ctf_fit *fit, struct mro_error *e)
{
    memset(fit, 0, sizeof *fit);
    w->lens_known = false;
    if (!(kv > 0) || !isfinite(p->o.cs_mm)) return MRO_OK;
    MRO_TRY(mro_ctf_fit_rings(&w->grid, spectrum, kv, p->o.cs_mm, p->rings, p->d->threads, fit, e));
    /* A corrected lens that shows no ring up to 6.5 nm^-1 has turned the phase by less than pi there. */
    w->lens_known = fit->rings || fabs(p->o.cs_mm) < 0.1;
    return MRO_OK;
}

/* Fills in the lens, or says why it stays unknown. */
static void tell_of_lens(const struct mro_order_plan *p, double kv, const struct mro_whitened *w,
                         const struct mro_ctf_fit *fit, struct mro_order_result *r)
{
    if (fit->rings) {
        r->ctf = (struct mro_ctf){ .known = true,
                                   .defocus_nm = fit->defocus_nm,
                                   .astigmatism_nm = fit->astigmatism_nm,
                                   .azimuth_deg = fmod(fit->azimuth * 180 / MRO_PI + 360, 180),
                                   .delocalisation_nm = mro_delocalisation_nm(1 / p->o.d_nm, fit->lambda_nm,
                                                                              fit->defocus_nm, fit->cs_nm) };
    } else if (kv > 0 && isfinite(p->o.cs_mm)) {
        if (w->lens_known)
            mro_warn(r,
                     "no rings in the spectrum to fit the defocus to: the delocalisation is taken as below 0.3 nm, as "
                     "without rings at Cs %g mm",
                     p->o.cs_mm);
        else
            mro_warn(r,
                     "no rings in the spectrum to fit the defocus to: the delocalisation R is unknown and the interval "
                     "is widened");
    } else {
        mro_warn(
            r,
            "%s unknown: the delocalisation R is unknown, ordered regions may be blurred or doubled, and the interval "
            "is widened; give `kv=KV` and `cs=MM`",
            kv > 0                 ? "the spherical aberration is"
            : isfinite(p->o.cs_mm) ? "the beam energy is"
                                   : "beam energy and spherical aberration are");
    }
}

/* From n powers to gains: `band` over the root. */
static void gains_of(size_t n, float unit, const float *band, float *g)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) g[i] = g[i] > 0 ? unit * band[i] / sqrtf(g[i]) : 0;
}

/* Gives n gains from column qx = first / lx on the signs of the lens's transfer: flipping the sign where the lens
 * reversed contrast undoes its delocalisation. After whitening the glass's own transfer is divided out, and only the
 * sign was left. `sign`: room for n. */
static void flip(const struct mro_ctf_fit *lens, double qy, double lx, int first, size_t n, float *sign, float *g)
{
    mro_ctf_sign_row(lens, qy, lx, first, (int)n, sign);
    for (size_t i = 0; i < n; i++) g[i] *= sign[i];
}

bool mro_whitening_gains(const struct mro_order_plan *p, const struct mro_grid *grid, float unit,
                         const struct mro_ctf_fit *lens, const struct mro_annuli *annuli, float *power)
{
    const size_t nx = grid->nx;
    bool failed = false;
#pragma omp parallel num_threads(mro_team(p->d->threads, 0.4 * (double)(grid->ny * nx)))
    {
        float *row = malloc(2 * nx * sizeof *row), *sign = row ? row + nx : NULL;
        if (row == NULL) mro_raise(&failed);
#pragma omp for schedule(dynamic, 16)
        for (size_t y = 0; y <= grid->ny / 2; y++) { /* the power is even, and so is the lens */
            const double qy = mro_frequency(y, grid->ny, grid->ly);
            float *g = power + y * nx;
            if (row == NULL) continue;
            const struct mro_span s = mro_band_row(p, grid, y, row);
            /* Columns `first` to `end` - 1; of those but 0 and the last of an even number the ones of -qx, n from `at`
             * on. All others are 0. */
            const size_t first = s.first, end = s.first + s.n, turned = first > 0 ? first : 1;
            const size_t last = end < (nx + 1) / 2 ? end : (nx + 1) / 2, n = last > turned ? last - turned : 0;
            const size_t at = n ? nx - last + 1 : nx;
            if (annuli) {
                mro_annuli_row(annuli, grid, y, first, s.n, row + first);
                for (size_t x = turned; x < last; x++) row[nx - x] = row[x];
            }
            memset(g, 0, first * sizeof *g);
            memset(g + end, 0, (at - end) * sizeof *g);
            memset(g + at + n, 0, (nx - at - n) * sizeof *g);
            gains_of(s.n, unit, row + first, g + first);
            gains_of(n, unit, row + at, g + at);
            if (lens && s.n && 2 * y != grid->ny) { /* a frequency that is its own opposite keeps its sign */
                flip(lens, qy, grid->lx, (int)first, last - first, sign, g + first);
                flip(lens, qy, grid->lx, 1 - (int)last, n, sign, g + at);
            }
            if (y > 0 && 2 * y < grid->ny) turn_row(g, nx, power + (grid->ny - y) * nx);
        }
        free(row);
    }
    return !failed;
}

/* Says what was found in an image that is no glass. */
static void tell_of_blemishes(const size_t lines[2], const struct mro_blemishes *m, struct mro_order_result *r)
{
    if (lines[0] + lines[1])
        mro_warn(
            r,
            "%zu of the rows and %zu of the columns stand out of those beside them, as defects of a detector do, and "
            "were replaced",
            lines[0], lines[1]);
    r->blemished = m->sharp + m->constant;
    if (r->blemished > 0)
        mro_warn(r,
                 "%.2g %% of the image is left out, with 1.2 nm around it: %s, as padding, bars, text, clipped or dead "
                 "pixels, dust, holes and particles with sharp rims have them; crop to the specimen where you can",
                 100 * r->blemished,
                 m->constant == 0 ? "edges as sharp as a pixel"
                 : m->sharp == 0  ? "patches of one value"
                                  : "patches of one value and edges as sharp as a pixel");
}

/* The spectrum of the contrast of what is specimen. *px: the pixels that it is of, where they are not those of the
 * image, else NULL; to be freed. */
static enum mro_code sound_contrast(const struct mro_order_plan *p, const struct mro_image *im, struct mro_whitened *w,
                                    size_t *spikes, float **px, struct mro_order_result *r, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_blocks b = mro_background_blocks(im->ny, im->nx, r->pixel_nm, BACKGROUND_NM);
    struct mro_image sound = *im;
    size_t lines[2] = { 0, 0 };
    double *means = malloc(b.ny * b.nx * sizeof *means);
    enum mro_code rc = means ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu blocks", b.ny * b.nx);
    if (rc == MRO_OK)
        rc = d->ops->contrast_spectrum(d, im->px, im->ny, im->nx, r->pixel_nm, BACKGROUND_NM, &w->grid, &w->spectrum,
                                       spikes, means, e);
    if (rc == MRO_OK) rc = mro_lines_replace(im, &b, means, lines, px, e);
    if (rc == MRO_OK && *px) {
        sound.px = *px;
        rc = d->ops->contrast_spectrum(d, *px, im->ny, im->nx, r->pixel_nm, BACKGROUND_NM, &w->grid, &w->spectrum,
                                       spikes, means, e);
    }
    if (rc == MRO_OK)
        rc = mro_blemishes_find(&sound, r->pixel_nm, p->o.band_inv_nm, &b, means, *spikes, &w->blemishes, px, e);
    free(means);
    if (rc == MRO_OK) tell_of_blemishes(lines, &w->blemishes, r);
    if (rc == MRO_OK && r->blemished > 0)
        rc = d->ops->contrast_spectrum(d, *px, im->ny, im->nx, r->pixel_nm, BACKGROUND_NM, &w->grid, &w->spectrum,
                                       spikes, NULL, e);
    return rc;
}

/* Says what was taken out that fills the field, and where it is in the spectrum. */
static void tell_of_interference(const struct mro_order_plan *p, const struct mro_interference *f,
                                 struct mro_whitened *w, struct mro_order_result *r)
{
    enum { NAMED = 4 };
    char places[320] = "";
    size_t used = 0;
    r->interference = mro_interference_share(f);
    for (size_t i = 0; i < f->n; i++) {
        const struct mro_wave *v = f->waves + i;
        const double g = hypot(v->gy, v->gx);
        if (w->whole_nm == 0 && g > p->g_range[0] && g < p->g_range[1]) w->whole_nm = 1 / g;
        if (i < NAMED)
            used +=
                (size_t)snprintf(places + used, sizeof places - used, "%sg = %.3f nm^-1 at %.1f degrees", i ? ", " : "",
                                 g, fmod(round(atan2(v->gy, v->gx) * 1800 / MRO_PI + 3600), 1800) / 10);
    }
    if (f->n > NAMED) snprintf(places + used, sizeof places - used, " and %zu more", f->n - NAMED);
    if (f->n)
        mro_warn(r,
                 "interference of one spatial frequency fills the field and was taken out: %s; look for pickup, "
                 "read-out, resampling or compression; a single perfect crystal on all of the field looks the same and "
                 "is to be measured with `mroscope lattice`",
                 places);
    double d_nm[3] = { 0 };
    for (size_t i = 0; i < f->n_lattice; i++) {
        const double g = hypot(f->lattice[i].gy, f->lattice[i].gx);
        w->lattice |= g > p->g_range[0] && g < p->g_range[1];
        d_nm[i] = 1 / g;
    }
    w->other_nm = w->lattice ? 0 : d_nm[0];
    if (f->n_lattice)
        mro_warn(
            r,
            "one crystal fills the field, which is no glass: its fringes of %.4f and %.4f nm are as strong, and in "
            "phase, everywhere; measure it with `mroscope lattice`",
            d_nm[0], d_nm[1]);
    if (f->lines[0] || f->lines[1])
        mro_warn(r,
                 "noise that whole %s of pixels share was taken out: it has power at %s; look for pickup of the scan "
                 "or for gains of the detector",
                 f->lines[1] == 0   ? "rows"
                 : f->lines[0] == 0 ? "columns"
                                    : "rows and columns",
                 f->lines[1] == 0   ? "g_x = 0, 90 degrees"
                 : f->lines[0] == 0 ? "g_y = 0, 0 degrees"
                                    : "g_x = 0 and g_y = 0, 90 and 0 degrees");
}

/* The contrast of an image without interference, and what its spectrum tells. Where buffers are not host memory the
 * planes are copies, to be freed. */
struct contrast {
    struct mro_ctf_fit fit;
    float *model; /* of the lens, where it has rings */
    void *spectrum, *spectrum_copy, *power, *power_copy;
    struct mro_annuli annuli;
    struct mro_interference interference;
};

static void contrast_release(struct contrast *c)
{
    free(c->model);
    free(c->spectrum_copy);
    free(c->power_copy);
    c->model = NULL;
    c->spectrum_copy = c->power_copy = NULL;
}

/* Lens and local power of the spectrum as it is. */
static enum mro_code tell_contrast(const struct mro_order_plan *p, double kv, const char *name, struct mro_whitened *w,
                                   struct contrast *c, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t n = w->grid.ny * w->grid.nx;
    const double inner = p->o.band_inv_nm[0] - BAND_EDGE, outer = p->o.band_inv_nm[1] + BAND_EDGE;
    MRO_TRY(mro_on_host(d, &w->spectrum, n * sizeof(mro_c32), &c->spectrum, &c->spectrum_copy, e));
    MRO_TRY(fit_lens(p, kv, c->spectrum, w, &c->fit, e));
    if (c->fit.rings) {
        c->model = malloc(n * sizeof *c->model);
        if (c->model == NULL || !lens_model(d->threads, &w->grid, &c->fit, inner, outer, c->model))
            return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
    }
    MRO_TRY(d->ops->local_power(d, &w->grid, &w->spectrum, c->model, WHITEN_RADIUS, inner, outer, &w->power, e));
    MRO_TRY(mro_on_host(d, &w->power, n * sizeof(float), &c->power, &c->power_copy, e));
    mro_annuli_measure(p, &w->grid, c->spectrum, c->power, &c->annuli);
    mro_interference_lines(&w->grid, c->spectrum, c->power, &c->annuli, &c->interference);
    return MRO_OK;
}

/* The same of the image without waves that fill it: with the strongest ones gone others are seen. *px as from
 * sound_contrast. */
static enum mro_code clean_contrast(const struct mro_order_plan *p, const struct mro_image *im, double kv,
                                    const char *name, struct mro_whitened *w, float **px, size_t *spikes,
                                    struct contrast *c, struct mro_order_result *r, struct mro_error *e)
{
    struct mro_device *d = p->d;
    bool more = true;
    MRO_TRY(tell_contrast(p, kv, name, w, c, e));
    for (int round = 0; round < MOST_ROUNDS; round++) {
        MRO_TRY(mro_interference_waves(&w->grid, c->spectrum, c->power, &c->annuli, im, &w->blemishes, d->threads,
                                       &c->interference, px, &more, e));
        if (!more) return MRO_OK;
        contrast_release(c);
        MRO_TRY(d->ops->contrast_spectrum(d, *px, im->ny, im->nx, r->pixel_nm, BACKGROUND_NM, &w->grid, &w->spectrum,
                                          spikes, NULL, e));
        MRO_TRY(tell_contrast(p, kv, name, w, c, e));
    }
    return MRO_OK;
}

enum mro_code mro_whiten(const struct mro_order_plan *p, const struct mro_image *im, const char *name,
                         struct mro_whitened *w, struct mro_order_result *r, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_grid *grid = &w->grid;
    const size_t n = grid->ny * grid->nx;
    const double kv = p->o.kv > 0 ? p->o.kv : im->beam_kv;
    struct contrast c = { .model = NULL };
    float *px = NULL;
    size_t spikes = 0;
    enum mro_code rc = MRO_OK;
    if ((rc = d->ops->alloc(d, &w->spectrum, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &w->power, n * sizeof(float), e))) goto done;
    if ((rc = sound_contrast(p, im, w, &spikes, &px, r, e))) goto done;
    if ((rc = clean_contrast(p, im, kv, name, w, &px, &spikes, &c, r, e))) goto done;
    if (spikes > im->ny * im->nx / 1000)
        mro_warn(r, "%zu pixels (%.2g %%) stood out of their neighbours as spikes and were replaced", spikes,
                 100.0 * (double)spikes / (double)(im->ny * im->nx));
    tell_of_lens(p, kv, w, &c.fit, r);
    tell_of_interference(p, &c.interference, w, r);
    if (p->o.views && (rc = mro_views_filtered(p, grid, &w->spectrum, im, r, e))) goto done;
    const struct mro_ctf_fit *lens = c.fit.rings ? &c.fit : NULL;
    if (!expect_contrast(p, grid, c.power, c.model, &c.annuli, r->pixel_nm, kv, w->lens_known, &w->expected) ||
        !mro_whitening_gains(p, grid, 1, lens, &c.annuli, c.power)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }
    mro_interference_notch(grid, &c.interference, c.power);
    rc = d->ops->multiply(d, grid, &w->spectrum, c.power, e);
done:
    contrast_release(&c);
    free(px);
    return rc;
}

void mro_whitened_release(struct mro_device *d, struct mro_whitened *w)
{
    d->ops->release(d, &w->spectrum);
    d->ops->release(d, &w->power);
    mro_blemishes_release(&w->blemishes);
}

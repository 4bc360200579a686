/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Nanocrystals of one micrograph, from contrast to strain: contrast whitened by the speckle's own power
 * (crystal_whiten.c), sets of fringes (crystal_find.c), the crystals that several of them make (crystal_group.c). */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/first_error.h"
#include "core/gsl_errors.h"
#include "core/notes.h"
#include "core/select.h"
#include "core/sizes.h"
#include "core/team.h"
#include "ops/crystal/crystal_internal.h"
#include "ops/pixels.h"

#define BACKGROUND_NM 2.5 /* of the local mean that contrast is relative to */
#define GRID_OVER 0.9     /* nm^-1 that the grid holds beyond the band, for the discs of the median */
#define NYQUIST_ROOM 0.52 /* nm^-1 below Nyquist that these discs need */
#define MAP_STEP_NM 0.1   /* of the maps, coarser on large fields */
#define MAP_MOST 1600     /* their samples along an axis, as long as the mask fits */

void mro_crystal_options_default(struct mro_crystal_options *o)
{
    memset(o, 0, sizeof *o);
    o->band_inv_nm[0] = 1 / 0.37;
    o->band_inv_nm[1] = 1 / 0.13;
    o->mask_inv_nm = 0.4;
    o->reference_d_nm = NAN;
    for (int i = 0; i < 4; i++) o->band_line_nm[i] = NAN;
    o->band_width_nm = NAN;
    o->false_per_image = 0.004;
    snprintf(o->phases[0].name, sizeof o->phases[0].name, "alpha-Fe");
    o->phases[0].structure = MRO_BCC;
    o->phases[0].a_nm = o->phases[0].c_nm = 0.28665;
    o->n_phases = 1;
    o->seed = 1;
}

static enum mro_code check(const struct mro_crystal_options *o, const struct mro_image *im, const double pixel[2],
                           const char *name, struct mro_error *e)
{
    const double ly = (double)im->ny * pixel[0], lx = (double)im->nx * pixel[1];
    if (!(o->mask_inv_nm >= 0.1 && o->mask_inv_nm <= 1.2))
        return MRO_FAIL(e, MRO_EARG, "a mask of %g nm^-1 is not between 0.1 and 1.2", o->mask_inv_nm);
    if (!(o->band_inv_nm[0] >= 0.5 && o->band_inv_nm[1] > o->band_inv_nm[0] + 0.2))
        return MRO_FAIL(e, MRO_EARG, "spacings from %g to %g nm: below 2 nm and in rising order are wanted",
                        1 / o->band_inv_nm[1], 1 / o->band_inv_nm[0]);
    const double nyquist = 0.5 / fmax(pixel[0], pixel[1]);
    if (o->band_inv_nm[0] + 0.5 > nyquist - NYQUIST_ROOM)
        return MRO_FAIL(e, MRO_EARG, "'%s': pixels of %g nm are too coarse for spacings of %g nm and less", name,
                        fmax(pixel[0], pixel[1]), 1 / o->band_inv_nm[0]);
    if (o->reference_nm[2] > o->reference_nm[0]) {
        const double *a = o->reference_nm;
        if (!(a[0] >= 0 && a[1] >= 0 && a[2] <= lx && a[3] <= ly && a[3] > a[1]))
            return MRO_FAIL(e, MRO_EARG,
                            "'%s': the reference area %g,%g,%g,%g nm is no rectangle inside the field of %.4g "
                            "nm x %.4g nm",
                            name, a[0], a[1], a[2], a[3], lx, ly);
        if (isfinite(o->reference_d_nm))
            return MRO_FAIL(e, MRO_EARG,
                            "strain is relative to a spacing or to an area: give `reference_d` or `reference`");
    }
    for (size_t i = 0; i < o->n_g; i++) {
        const double *g = o->g_inv_nm[i], q = hypot(g[0], g[1]);
        if (!(q >= o->band_inv_nm[0] && q <= fmin(o->band_inv_nm[1], nyquist - NYQUIST_ROOM)))
            return MRO_FAIL(
                e, MRO_EARG,
                "'%s': fringes of %.4g nm are not among the spacings looked for, %.3g to %.3g nm (`d_range`, "
                "and what pixels of %.3g nm show)",
                name, 1 / q, 1 / fmin(o->band_inv_nm[1], nyquist - NYQUIST_ROOM), 1 / o->band_inv_nm[0],
                fmax(pixel[0], pixel[1]));
    }
    if (o->n_g == 2) {
        const double *u = o->g_inv_nm[0], *v = o->g_inv_nm[1];
        const double sine = fabs(u[0] * v[1] - u[1] * v[0]) / (hypot(u[0], u[1]) * hypot(v[0], v[1]));
        if (sine < CRYSTAL_LEAST_SINE)
            return MRO_FAIL(e, MRO_EARG,
                            "the two given sets of fringes are collinear (%.2g degrees apart): strain in "
                            "the plane takes "
                            "two that are at least 15 degrees apart",
                            asin(sine) * 180 / MRO_PI);
    }
    if (isfinite(o->band_width_nm) && !isfinite(o->band_line_nm[0]))
        return MRO_FAIL(e, MRO_EARG, "a band has a line along its middle: give `band_line` with `band_width`");
    if (isfinite(o->band_line_nm[0]) &&
        !(hypot(o->band_line_nm[2] - o->band_line_nm[0], o->band_line_nm[3] - o->band_line_nm[1]) > 0))
        return MRO_FAIL(e, MRO_EARG, "the band's line begins and ends at the same point");
    return MRO_OK;
}

static void unknown(struct mro_crystal_result *r)
{
    r->false_expected = r->size_limit_nm = NAN;
    r->band.rate_ratio = r->band.rate_p = NAN;
}

/* Map points with data around them, and within the image. */
static void mark_usable(const struct crystal_work *w, const struct mro_image *im)
{
#pragma omp parallel for schedule(static) num_threads(mro_team(w->d->threads, 4.0 * (double)(w->map.ny * w->map.nx)))
    for (size_t y = 0; y < w->map.ny; y++) {
        const size_t py = (size_t)lround((double)y * w->step[0] / w->pixel_nm[0]);
        const float *row = im->px + (py < im->ny ? py : im->ny - 1) * im->nx;
        for (size_t x = 0; x < w->map.nx; x++) {
            const size_t px = (size_t)lround((double)x * w->step[1] / w->pixel_nm[1]);
            w->usable[y * w->map.nx + x] = isfinite(row[px < im->nx ? px : im->nx - 1]);
        }
    }
}

/* Strain of all crystals. Each writes sides and warnings of its own, which follow those of the crystals before it. */
static enum mro_code strain_all(struct crystal_work *w, struct crystal_members *of, struct mro_error *e)
{
    struct mro_crystal_result *r = w->r;
    const size_t n = r->n_crystals;
    struct mro_crystal_result *own = calloc(n + 1, sizeof *own);
    struct strain_reference *ref = malloc((n + 1) * sizeof *ref);
    struct mro_first_error first = { 0 };
    enum mro_code rc = own && ref ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    if (rc) goto done;
#pragma omp parallel for schedule(dynamic) num_threads((int)w->n_rooms)
    for (size_t k = 0; k < n; k++) {
        struct crystal_work mine = *w;
        struct mro_error at;
        own[k].crystals = r->crystals;
        mine.room = w->room + omp_get_thread_num();
        mine.r = own + k;
        mro_first_keep(&first, k, mro_crystal_strain(&mine, k, of[k].set, ref + k, &at), &at);
    }
    rc = mro_first_code(&first, e);
    for (size_t k = 0; k < n && rc == MRO_OK; k++) {
        mro_crystal_draw(w, k, of[k].set, ref + k);
        for (size_t i = 0; i < own[k].n_warnings; i++) mro_warn(r, "%s", own[k].warnings[i]);
        if (own[k].n_sides == 0) continue;
        struct mro_crystal_side *sides = realloc(r->sides, (r->n_sides + own[k].n_sides) * sizeof *sides);
        if (sides == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
            break;
        }
        r->sides = sides;
        memcpy(sides + r->n_sides, own[k].sides, own[k].n_sides * sizeof *sides);
        r->n_sides += own[k].n_sides;
    }
done:
    for (size_t k = 0; own && k < n; k++) {
        free(own[k].sides);
        mro_notes_release(&own[k].warnings, &own[k].n_warnings);
    }
    free(own);
    free(ref);
    return rc;
}

static enum mro_code find_steps(struct crystal_work *w, struct mro_error *e)
{
    struct mro_first_error first = { 0 };
#pragma omp parallel for schedule(dynamic) num_threads(w->d->threads)
    for (size_t i = 0; i < w->sets.n; i++) {
        struct mro_error mine;
        mro_first_keep(&first, i, mro_fringe_find_step(w, &w->sets.v[i], &mine), &mine);
    }
    return mro_first_code(&first, e);
}

static enum mro_code measure(struct crystal_work *w, const struct mro_image *im, struct mro_error *e)
{
    struct mro_device *d = w->d;
    struct mro_crystal_result *r = w->r;
    const size_t n = w->grid.ny * w->grid.nx, m = w->map.ny * w->map.nx;
    struct mro_buffer white = { 0 };
    struct crystal_members *of = NULL;
    size_t spikes = 0;
    mro_c32 *host = malloc(n * sizeof *host);
    enum mro_code rc = MRO_OK;
    w->usable = malloc(m);
    w->level = malloc(n * sizeof *w->level);
    w->gain = malloc(m * sizeof *w->gain);
    if (!host || !w->usable || !w->level || !w->gain) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    mark_usable(w, im);
    if ((rc = mro_fringe_rooms_new(w, e))) goto done;
    if ((rc = d->ops->alloc(d, &w->spectrum, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &w->field, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &white, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->contrast_spectrum(d, im->px, im->ny, im->nx, w->pixel_nm, BACKGROUND_NM, &w->grid, &w->spectrum,
                                        &spikes, NULL, e)))
        goto done;
    if (spikes > im->ny * im->nx / 1000)
        mro_warn(r, "%zu pixels (%.2g %%) stood out of their neighbours as spikes and were replaced", spikes,
                 100.0 * (double)spikes / (double)(im->ny * im->nx));
    if ((rc = d->ops->download(d, host, &w->spectrum, n * sizeof *host, e))) goto done;
    if (mro_crystal_quiet_lines(w, host)) {
        mro_warn(r, "rows or columns of pixels differ as a whole (scan or readout lines): that was taken down to "
                    "the rest of the noise");
        if ((rc = d->ops->upload(d, &w->spectrum, host, n * sizeof *host, e))) goto done;
    }
    if ((rc = mro_crystal_power_image(w, host, &r->power, e))) goto done;
    if ((rc = mro_crystal_whiten(w, host, &white, e))) goto done;
    if ((rc = mro_crystal_find(w, &white, e))) goto done;
    /* To group sets asks for all; next to a reference few are asked for. */
    if (!isfinite(w->o->reference_d_nm) && (rc = find_steps(w, e))) goto done;
    if ((rc = mro_crystal_group(w, &of, e))) goto done;
    struct mro_image *const maps[] = { &r->exx, &r->eyy, &r->exy, &r->rotation, &r->enn, &r->owner };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if ((rc = mro_crystal_map_new(w, maps[i], im, maps[i] == &r->owner ? -1 : NAN, e))) goto done;
    if ((rc = strain_all(w, of, e))) goto done;
    if (r->n_crystals && (rc = mro_crystal_filter_image(w, im, e))) goto done;
    r->false_expected = w->o->false_per_image;
    if (r->n_crystals) {
        float *size = malloc(r->n_crystals * sizeof *size);
        const double least = mro_crystal_threshold(w);
        if (size == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
            goto done;
        }
        for (size_t k = 0; k < r->n_crystals; k++)
            size[k] = (float)(r->crystals[k].diameter_nm * sqrt(least / r->crystals[k].fringes[0].snr));
        r->size_limit_nm = fmax(CRYSTAL_SMALLEST_NM, mro_median(size, r->n_crystals));
        free(size);
    }
    mro_crystal_warn_all(w);
    if (isfinite(w->o->band_line_nm[0])) mro_crystal_band_measure(w->o, w->usable, &w->map, w->pixel_nm, r);
    mro_crystal_verdict(w->o, r);
done:
    d->ops->release(d, &white);
    free(of);
    free(host);
    return rc;
}

static bool plan_grids(struct crystal_work *w, const struct mro_image *im)
{
    const double ly = (double)im->ny * w->pixel_nm[0], lx = (double)im->nx * w->pixel_nm[1];
    const double nyquist = 0.5 / fmax(w->pixel_nm[0], w->pixel_nm[1]);
    w->band[0] = w->o->band_inv_nm[0];
    w->band[1] = fmin(w->o->band_inv_nm[1], nyquist - NYQUIST_ROOM);
    const double q = fmin(w->band[1] + GRID_OVER, nyquist);
    const size_t ny = mro_smooth_size((size_t)ceil(2 * q * ly)), nx = mro_smooth_size((size_t)ceil(2 * q * lx));
    w->grid = (struct mro_grid){ ny < im->ny ? ny : im->ny, nx < im->nx ? nx : im->nx, ly, lx };
    /* The mask must fit; beyond that, 2.5 points across its width are enough to draw. */
    const double step =
        fmin(fmax(MAP_STEP_NM, fmax(ly, lx) / MAP_MOST), 1 / (2 * CRYSTAL_MASK_REACH * w->o->mask_inv_nm + 0.5));
    w->map = mro_fringe_map(ly, lx, step);
    w->unit = sqrt((double)w->grid.ny * (double)w->grid.nx / ((double)im->ny * (double)im->nx));
    w->step[0] = ly / (double)w->map.ny;
    w->step[1] = lx / (double)w->map.nx;
    return w->band[1] < w->o->band_inv_nm[1];
}

enum mro_code mro_crystal_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                  const struct mro_crystal_options *o, struct mro_crystal_result *r,
                                  struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    struct crystal_work w = { .d = d, .o = o, .name = name, .doubt = { .variance = 0.02 }, .r = r };
    memset(r, 0, sizeof *r);
    unknown(r);
    MRO_TRY(mro_image_pixel_nm(im, name, w.pixel_nm, e));
    if (im->ny < 8 || im->nx < 8)
        return MRO_FAIL(e, MRO_EDATA, "'%s': %zu x %zu pixels are too few; 8 along each axis are needed", name, im->nx,
                        im->ny);
    MRO_TRY(check(o, im, w.pixel_nm, name, e));
    MRO_TRY(mro_pixels_in_range(im, name, e));
    memcpy(r->pixel_nm, w.pixel_nm, sizeof r->pixel_nm);
    r->mask_inv_nm = o->mask_inv_nm;
    r->resolution_nm = 2 * sqrt(2 * log(2)) / (2 * MRO_PI * o->mask_inv_nm);
    r->reference_d_nm = o->reference_d_nm;
    r->filter_radius_inv_nm = CRYSTAL_FILTER_RADIUS;
    r->filter_edge_inv_nm = CRYSTAL_FILTER_EDGE;
    const bool cut_band = plan_grids(&w, im);
    memcpy(r->band_inv_nm, w.band, sizeof w.band);

    if (!mro_pixels_vary(im, &r->warnings, &r->n_warnings, r->verdict, sizeof r->verdict)) return MRO_OK;
    if (fmin(w.grid.ly, w.grid.lx) < 5) {
        mro_warn(r, "the image is %.2f nm x %.2f nm: too small for a crystal and its surroundings; 5 nm are needed",
                 w.grid.lx, w.grid.ly);
        snprintf(r->verdict, sizeof r->verdict, "not measured: the field is too small");
        return MRO_OK;
    }
    if (im->not_finite) mro_warn(r, "%zu pixels are not finite numbers and are left out", im->not_finite);
    if (cut_band)
        mro_warn(r, "pixels of %.3g nm do not show spacings below %.3g nm", fmax(w.pixel_nm[0], w.pixel_nm[1]),
                 1 / w.band[1]);
    const enum mro_code rc = measure(&w, im, e);
    mro_crystal_work_release(&w);
    if (rc) mro_crystal_result_release(r);
    return rc;
}

void mro_crystal_result_release(struct mro_crystal_result *r)
{
    if (r == NULL) return;
    free(r->crystals);
    free(r->sides);
    mro_notes_release(&r->warnings, &r->n_warnings);
    struct mro_image *const maps[] = { &r->exx, &r->eyy,   &r->exy,      &r->rotation,
                                       &r->enn, &r->owner, &r->filtered, &r->power };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) mro_image_release(maps[i]);
    memset(r, 0, sizeof *r);
}

size_t mro_crystal_bytes(const struct mro_image *like, const struct mro_crystal_options *o)
{
    struct crystal_work w = { .o = o };
    struct mro_error e;
    if (mro_image_pixel_nm(like, "", w.pixel_nm, &e) != MRO_OK || check(o, like, w.pixel_nm, "", &e) != MRO_OK)
        return (size_t)1 << 20;
    plan_grids(&w, like);
    const size_t half = like->ny * (w.grid.nx / 2 + 1) * sizeof(mro_c32);
    return ((size_t)8 << 20) + half + w.grid.ny * w.grid.nx * 64 + w.map.ny * w.map.nx * 96;
}

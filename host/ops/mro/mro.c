/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Medium-range order of one micrograph: what is measured of it, from the whitened spectrum to the area fraction. */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "core/notes.h"
#include "core/select.h"
#include "core/team.h"
#include "mroscope/bandpass.h"
#include "mroscope/math/grid.h"
#include "ops/mro/mro_internal.h"
#include "ops/mro/mro_sweep.h"
#include "ops/mro/mro_views.h"
#include "ops/mro/mro_waves.h"
#include "ops/pixels.h"

#define LARGE_LIMIT_NM 1.9 /* a size limit beyond which most clusters of interest stay unseen */
#define SMALL_NM2 25.0     /* of which one cluster of 2.5 nm is a fifth */
#define CROWDED 0.4        /* area fraction from which crystals begin to whiten themselves away */
#define GLASS_SD 0.2       /* of the area of crystals, relative, times their share: the less glass the less sure */
#define FEW 3              /* ordered regions: fewer do not tell how strong fringes are */
#define DIM 3.0            /* standard deviations that fringes are weaker by than expected, when that is said */
#define WITH_RIM 1.2       /* area of a sphere over that of its flagged cells, at most */
#define MOST_RIM 0.25      /* of the side of a field, left out of p */
#define Z95 1.959964       /* half a 95 % interval over its standard deviation */

static void result_unknown(struct mro_order_result *r)
{
    r->fraction_raw = r->null_fraction = r->fraction = r->p_image = r->fraction_acf = NAN;
    r->fraction_ci95[0] = r->fraction_ci95[1] = r->density_per_nm2 = r->diameter_median_nm = NAN;
    for (int i = 0; i < 3; i++) r->fraction_at_most[i] = NAN;
    r->size_limit_nm = r->coverage = r->blemished = r->interference = NAN;
    for (int i = 0; i < 4; i++) r->region_nm[i] = NAN;
    for (int i = 0; i < 3; i++) r->grade_fractions[i] = NAN;
    r->ctf.defocus_nm = r->ctf.astigmatism_nm = r->ctf.azimuth_deg = r->ctf.delocalisation_nm = NAN;
}

double mro_speckle_tail(double excess, double rate)
{
    /* k exponential excesses reach x with the chance that a Poisson process of unit rate has fewer than k events in x:
     * so one Poisson number, of patches, is asked to exceed another one. */
    if (!(excess > 0)) return 1;
    const double reach = 12 * sqrt(rate) + 60; /* beyond lies less than 1e-16 of the patches */
    const double first = fmax(1, floor(rate - reach));
    double patches = gsl_ran_poisson_pdf((unsigned)first, rate);      /* chance of k patches */
    double events = gsl_ran_poisson_pdf((unsigned)first - 1, excess); /* of k - 1 events */
    double fewer = gsl_cdf_poisson_P((unsigned)first - 1, excess), sum = 0;
    for (double k = first; k <= rate + reach; k++) {
        sum += patches * fewer;
        patches *= rate / (k + 1);
        events *= excess / k;
        fewer += events;
    }
    return fmin(sum, 1);
}

/* Whether a place is `rim` nm or more from the border. */
static bool within(const struct mro_grid *g, double y_nm, double x_nm, double rim)
{
    return fmin(fmin(y_nm, g->ly - y_nm), fmin(x_nm, g->lx - x_nm)) >= rim;
}

/* Chance that speckle gives patches that stand out as much in total: the number of false patches is Poisson, their
 * excess exponential, both as the null has them. Where the sign of the lens is set right, the two halves of what is put
 * together are the delocalisation away to either side: one of them is missing so close to the border, and what is there
 * in its place passes for order. So patches tell nothing there. */
static double image_p(const struct mro_order_plan *p, const struct mro_grid *cells, const unsigned char *searched,
                      double delocalisation_nm, const struct mro_found_list *found)
{
    const double py = cells->ly / (double)cells->ny, px = cells->lx / (double)cells->nx;
    const double rim = fmin(MRO_SEARCH_MARGIN_NM + (isfinite(delocalisation_nm) ? delocalisation_nm : 0),
                            MOST_RIM * fmin(cells->ly, cells->lx));
    double seen = 0;
    size_t n = 0;
    for (size_t y = 0; y < cells->ny; y++)
        for (size_t x = 0; x < cells->nx; x++)
            n += searched[y * cells->nx + x] && within(cells, (double)y * py, (double)x * px, rim);
    for (size_t i = 0; i < found->n; i++)
        if (within(cells, found->v[i].y_nm, found->v[i].x_nm, rim))
            seen += found->v[i].significance - p->null.object_threshold;
    const double rate = (double)n * py * px * (double)p->null.false_patches / p->null.area_nm2;
    return fmax(mro_speckle_tail(seen / p->null.object_excess, rate), MRO_ORDER_LEAST_P);
}

static struct mro_order_object object_of(double y_nm, double x_nm, double gy, double gx, double diameter_nm, double snr)
{
    double azimuth = atan2(gy, gx) * 180 / MRO_PI;
    if (azimuth < 0) azimuth += 180;
    if (azimuth >= 180) azimuth -= 180;
    return (struct mro_order_object){ .x_nm = x_nm,
                                      .y_nm = y_nm,
                                      .diameter_nm = diameter_nm,
                                      .d_nm = 1 / hypot(gy, gx),
                                      .azimuth_deg = azimuth,
                                      .snr = snr,
                                      .grade = MRO_GRADE_A };
}

static enum mro_code fill_result(const struct mro_order_plan *p, const struct mro_scores *s,
                                 const unsigned char *usable, const struct mro_found_list *found,
                                 const struct mro_area *a, const struct mro_crystals *c, struct mro_order_result *r,
                                 struct mro_error *e)
{
    const size_t ny = s->cells.ny, nx = s->cells.nx;
    r->score = (struct mro_order_map){
        .nx = nx, .ny = ny, .step_x_nm = s->cells.lx / (double)nx, .step_y_nm = s->cells.ly / (double)ny
    };
    r->mask = r->spacing = r->score;
    r->score.v = malloc(nx * ny * sizeof(float));
    r->mask.v = malloc(nx * ny * sizeof(float));
    r->spacing.v = malloc(nx * ny * sizeof(float));
    r->objects = calloc(c->n + found->n + 1, sizeof *r->objects);
    if (!r->score.v || !r->mask.v || !r->spacing.v || !r->objects) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    size_t flagged = 0;
#pragma omp parallel for schedule(static) num_threads(mro_team(p->d->threads, 4.0 * (double)(nx * ny))) \
    reduction(+ : flagged)
    for (size_t i = 0; i < nx * ny; i++) {
        r->score.v[i] = usable[i] ? (float)(s->surprise[i] / p->null.threshold) : NAN;
        r->mask.v[i] = usable[i] ? (float)(s->surprise[i] > p->null.threshold) : NAN;
        const int k = s->strongest[i];
        r->spacing.v[i] = usable[i] ? p->spacing_nm[k][s->which[k][i]] : NAN;
        flagged += usable[i] && s->surprise[i] > p->null.threshold;
    }
    r->fraction_raw = r->cells ? (double)flagged / (double)r->cells : NAN;
    for (size_t i = 0; i < c->n; i++) {
        const struct mro_large *l = c->v + i;
        struct mro_order_object *o = r->objects + r->n_objects++;
        *o = object_of(l->y_nm, l->x_nm, l->gy, l->gx, l->diameter_nm, l->snr);
        if (fabs(1 / o->d_nm - 1 / p->o.d_nm) < 2 * l->sigma_g) o->grade = l->second ? MRO_GRADE_C : MRO_GRADE_B;
    }
    for (size_t i = 0; i < found->n; i++) {
        const struct mro_found *f = found->v + i;
        if (a->weight[i] < 0.5) continue; /* more likely speckle */
        struct mro_order_object *o = r->objects + r->n_objects++;
        *o = object_of(f->y_nm, f->x_nm, f->gy, f->gx, a->diameter_nm[i], f->snr);
        /* Cramer-Rao for the spacing of a sphere's fringes, with R^2 / 6 the mean square reach of its profile. */
        const double radius = 0.5 * (a->diameter_nm[i] + MRO_INTERFACE_NM);
        const double sigma_g = 1 / (2 * MRO_PI * sqrt(2 * f->snr * radius * radius / 6));
        if (fabs(hypot(f->gy, f->gx) - 1 / p->o.d_nm) < 2 * sigma_g)
            o->grade = f->second_power > 9.0 ? MRO_GRADE_C : MRO_GRADE_B;
    }
    for (int k = 0; k < 3; k++) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_objects; i++) n += r->objects[i].grade == "ABC"[k];
        r->grade_fractions[k] = r->n_objects ? (double)n / (double)r->n_objects : NAN;
    }
    if (r->n_objects) {
        float *d = malloc(r->n_objects * sizeof *d);
        if (d == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        for (size_t i = 0; i < r->n_objects; i++) d[i] = (float)r->objects[i].diameter_nm;
        r->diameter_median_nm = mro_median(d, r->n_objects);
        free(d);
    }
    return MRO_OK;
}

/* Sample (0, 0) of the fields is the centre of the first pixel; positions are given from the corner of the image. */
static void from_corner(struct mro_order_result *r)
{
    const double y = 0.5 * r->pixel_nm[0], x = 0.5 * r->pixel_nm[1];
    for (int i = 0; i < 4; i++) r->region_nm[i] += i % 2 ? y : x;
    for (size_t i = 0; i < r->n_objects; i++) {
        r->objects[i].y_nm += y;
        r->objects[i].x_nm += x;
    }
    for (size_t i = 0; i < r->n_tiles; i++) {
        r->tiles[i].y_nm += y;
        r->tiles[i].x_nm += x;
    }
    struct mro_order_map *const maps[] = { &r->score, &r->mask, &r->acf, &r->spacing };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        maps[i]->y0_nm += y;
        maps[i]->x0_nm += x;
    }
}

/* Says why an image cannot be measured at all; false where it can. */
static bool nothing_to_measure(const struct mro_image *im, struct mro_order_result *r)
{
    const double ly = (double)im->ny * r->pixel_nm[0], lx = (double)im->nx * r->pixel_nm[1];
    if (!mro_pixels_vary(im, &r->warnings, &r->n_warnings, r->verdict, sizeof r->verdict)) return true;
    if (fmin(ly, lx) < 5) {
        mro_warn(
            r,
            "the image is %.2f nm x %.2f nm: too small for windows of 2.6 nm and their surroundings; 5 nm are needed",
            lx, ly);
        snprintf(r->verdict, sizeof r->verdict, "not measured: the field is too small");
        return true;
    }
    return false;
}

/* The first and last of n cells along an axis that are not in the rim; how many there are. */
static size_t span(size_t n, double length, size_t *first, size_t *last)
{
    size_t count = 0;
    *first = n;
    *last = 0;
    for (size_t i = 0; i < n; i++) {
        const double at = (double)i * length / (double)n;
        if (at < MRO_MARGIN_NM || at > length - MRO_MARGIN_NM) continue;
        if (count++ == 0) *first = i;
        *last = i;
    }
    return count;
}

/* Fills in region and coverage from the cells that can be measured; false where they are too few. */
static bool set_region(const struct mro_grid *cells, struct mro_order_result *r)
{
    const double ly = cells->ly, lx = cells->lx;
    size_t x0, x1, y0, y1;
    const size_t within = span(cells->ny, ly, &y0, &y1) * span(cells->nx, lx, &x0, &x1);
    r->coverage = within ? (double)r->cells / (double)within : 0;
    if (r->cells < 50) {
        mro_warn(r, "only %zu of %zu cells hold usable signal in the band and 50 are needed: nothing was measured",
                 r->cells, within);
        snprintf(r->verdict, sizeof r->verdict, "not measured: %s",
                 within < 50 ? "the field is too small" : "no usable signal in the pass band");
        return false;
    }
    const double usable_nm2 = (double)r->cells * ly / (double)cells->ny * lx / (double)cells->nx;
    if (r->coverage < 0.5 && usable_nm2 < SMALL_NM2)
        mro_warn(r, "only %.0f nm^2 of the image can be measured: a fraction of so little says little of the specimen",
                 usable_nm2);
    r->region_nm[0] = ((double)x0 - 0.5) * lx / (double)cells->nx;
    r->region_nm[1] = ((double)y0 - 0.5) * ly / (double)cells->ny;
    r->region_nm[2] = ((double)x1 + 0.5) * lx / (double)cells->nx;
    r->region_nm[3] = ((double)y1 + 0.5) * ly / (double)cells->ny;
    return true;
}

/* How many patches are more likely ordered regions than speckle. */
static size_t likely(const struct mro_found_list *found, const struct mro_area *a)
{
    size_t n = 0;
    for (size_t i = 0; i < found->n; i++) n += a->weight[i] >= 0.5;
    return n;
}

/* Where little is found nothing tells how strong fringes are, and the weaker they are the more of them can hide: upper
 * ends for several powers. The interval holds to a half of that of bcc Fe. */
static enum mro_code add_limits(const struct mro_order_plan *p, const struct mro_found_list *found,
                                const double region[4], double usable_nm2, double searched_nm2,
                                const struct mro_contrast *expected, bool lens_known, struct mro_area *a,
                                double at_most[3], struct mro_error *e)
{
    double most = 0;
    for (int i = 0; i < 3; i++) {
        const struct mro_contrast weaker = { expected->log_c - i * M_LN2, expected->log_sd, true };
        struct mro_area other;
        MRO_TRY(mro_area_of(p, found, region, usable_nm2, searched_nm2, &weaker, lens_known, &other, e));
        at_most[i] = most = fmax(most, other.ci95[1]);
        mro_area_release(&other);
    }
    a->ci95[1] = fmax(a->ci95[1], at_most[1]);
    return MRO_OK;
}

/* Adds what crystals cover to the area of the clusters between them. */
static void add_crystals(const struct mro_crystals *c, double usable_nm2, bool lens_known, struct mro_area *a)
{
    const double share = fmin(c->area_nm2 / usable_nm2, 1), rest = 1 - share;
    const double sd = hypot(c->area_sd_nm2 / usable_nm2, GLASS_SD * share * share);
    const double fraction = share + rest * a->fraction;
    const double less = hypot(rest * (a->fraction - a->ci95[0]), (c->area_nm2 - c->flat_nm2) / usable_nm2),
                 more = hypot(rest * (a->ci95[1] - a->fraction), Z95 * c->missed_sd_nm2 / usable_nm2);
    if (lens_known) {
        a->ci95[0] = fraction - hypot(less, Z95 * sd);
        a->ci95[1] = fraction + hypot(more, Z95 * sd);
    } else { /* ghosts, as mro_area_of has them: of crystals and clusters alike */
        a->ci95[0] = fraction - less - hypot(share * (1 - exp(-Z95 * MRO_UNKNOWN_LESS)), Z95 * sd);
        a->ci95[1] = fraction + more + hypot(share * (exp(Z95 * MRO_UNKNOWN_MORE) - 1), Z95 * sd);
    }
    a->ci95[0] = fmax(a->ci95[0], 0);
    a->ci95[1] = fmin(a->ci95[1], 1);
    a->fraction = fraction;
}

/* Says what was done with regions that are larger than the spheres that are looked for. */
static void tell_of_crystals(const struct mro_crystals *c, double usable_nm2, struct mro_order_result *r)
{
    const double beside = c->n ? c->left_nm2 / usable_nm2 : r->fraction_raw;
    const double flagged = fmin(1, c->area_nm2 / usable_nm2 + WITH_RIM * beside);
    if (c->n) {
        double largest = 0;
        for (size_t i = 0; i < c->n; i++) largest = fmax(largest, c->v[i].diameter_nm);
        const double covered = 100 * fmin(c->area_nm2 / usable_nm2, 1);
        mro_text_add(r->verdict, sizeof r->verdict, "; %.1f %% are crystals of up to %.1f nm", covered, largest);
    }
    if (!(c->widest_nm > 0)) return;
    r->fraction_ci95[1] = fmax(r->fraction_ci95[1], flagged);
    if (c->filled) {
        mro_warn(r, "crystals cover so much of the field that too little is left of a glass to compare them with: the "
                    "fraction is the share of flagged cells; measure crystals with `mroscope lattice`");
        mro_text_add(r->verdict, sizeof r->verdict, "; crystals fill the field, which is no glass");
        return;
    }
    mro_warn(
        r,
        "%s ordered region is some %.1f nm across, larger than the clusters that are looked for (up to 3 nm): it is "
        "taken for a few of them and counts too little; the interval goes up to what the %sflagged cells cover, %.1f "
        "%%; measure crystals with `mroscope lattice`",
        c->n ? "one more" : "an", c->widest_nm, c->n ? "crystals and " : "", 100 * flagged);
    mro_text_add(r->verdict, sizeof r->verdict, "; one of some %.1f nm counts too little", c->widest_nm);
}

/* Says that ordered regions are much weaker than the speckle of this foil lets expect. */
static void tell_of_weakness(const struct mro_contrast *expected, double contrast, struct mro_order_result *r)
{
    const double less = expected->log_c - log(contrast);
    if (r->distinguishable && less > DIM * expected->log_sd)
        mro_warn(
            r,
            "fringes have %.0f times less power than those of bcc Fe would have beside such speckle: another phase, "
            "disorder, tilt, or a lens other than given; sizes are told by shape alone, and the interval is wide",
            exp(less));
}

/* The smallest crystal that is found as often as not, nm. */
static double size_limit(const struct mro_order_plan *p, double contrast)
{
    enum { STEPS = 540 };
    const double least = 0.6, step = 0.01;
    int small = -1, large = STEPS; /* at `small` fewer are found, at `large` enough, or it is as far as sizes go */
    while (large - small > 1) {
        const int middle = (small + large) / 2;
        if (mro_detection_power(p, least + step * middle, contrast) < 0.5)
            small = middle;
        else
            large = middle;
    }
    return least + step * large;
}

/* Says that crystals are weak, where clusters as weak as they are could not be seen: nothing tells of these. */
static void tell_of_weak_crystals(const struct mro_order_plan *p, const struct mro_crystals *c,
                                  const struct mro_contrast *expected, struct mro_order_result *r)
{
    if (c->n == 0 || !(c->log_contrast < expected->log_c - M_LN2) || !isfinite(c->log_contrast)) return;
    const double unseen = size_limit(p, exp(c->log_contrast));
    if (unseen > LARGE_LIMIT_NM)
        mro_warn(
            r,
            "fringes of the crystals have %.0f times less power than those of bcc Fe would have beside such speckle: "
            "clusters as weak as they are stay unseen below %.2f nm, and the interval does not hold for them",
            exp(expected->log_c - c->log_contrast), unseen);
}

static void say_verdict(const struct mro_crystals *c, struct mro_order_result *r)
{
    double most[3]; /* percent */
    int digits[3];
    for (int i = 0; i < 3; i++) {
        most[i] = 100 * r->fraction_at_most[i];
        digits[i] = most[i] < 99.5 ? 2 : 3;
    }
    if (r->distinguishable)
        snprintf(r->verdict, sizeof r->verdict,
                 "ordered regions cover %.1f %% of the area, more than a glass of the same spectrum (p %s %.2g)",
                 100 * r->fraction, r->p_image_at_most ? "<" : "=", r->p_image);
    else
        snprintf(r->verdict, sizeof r->verdict,
                 "not distinguishable from a glass of the same spectrum (p = %.2g): at most %.*g %% of order with "
                 "fringes of the power of bcc Fe, %.*g %% with half and %.*g %% with a quarter of it; nothing below "
                 "%.2f nm can be seen",
                 r->p_image, digits[0], most[0], digits[1], most[1], digits[2], most[2], r->size_limit_nm);
    if (r->distinguishable && isfinite(r->fraction_at_most[1]))
        mro_warn(r,
                 "fewer than %d ordered regions stand out, too few to tell how strong fringes are here: the interval "
                 "goes up to what could hide with half of the power of those of bcc Fe",
                 FEW);
    if (r->distinguishable && !c->filled &&
        (r->size_limit_nm > LARGE_LIMIT_NM || r->size_limit_nm > r->diameter_median_nm))
        mro_warn(
            r,
            "ordered regions below %.2f nm can hardly be seen at this contrast (thick foil, few counts or lens): the "
            "fraction is of larger ones and rests on few of them",
            r->size_limit_nm);
    if (r->fraction > CROWDED && c->n == 0 && !c->filled) /* else the glass is measured beside them */
        mro_warn(
            r,
            "ordered regions fill much of the field: part of their power passes for the glass's, and the fraction is a "
            "lower bound");
}

enum mro_code mro_order_measure_on(const struct mro_order_plan *p, struct mro_device *d, const struct mro_image *im,
                                   const char *name, struct mro_order_result *r, struct mro_error *e)
{
    struct mro_order_plan there = *p;
    there.d = d;
    return mro_order_measure(&there, im, name, r, e);
}

enum mro_code mro_order_measure(const struct mro_order_plan *p, const struct mro_image *im, const char *name,
                                struct mro_order_result *r, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    struct mro_device *d = p->d;
    double pixel[2];
    memset(r, 0, sizeof *r);
    result_unknown(r);
    MRO_TRY(mro_image_pixel_nm(im, name, pixel, e));
    MRO_TRY(mro_band_check(p->o.band_inv_nm, pixel, name, e));
    MRO_TRY(mro_pixels_in_range(im, name, e));
    memcpy(r->pixel_nm, pixel, sizeof pixel);
    memcpy(r->band_inv_nm, p->o.band_inv_nm, sizeof r->band_inv_nm);
    r->d_nm = p->o.d_nm;
    r->false_positive_rate = p->o.false_positive_rate;
    if (nothing_to_measure(im, r)) return MRO_OK;
    if (im->not_finite) mro_warn(r, "%zu pixels are not finite numbers and are left out", im->not_finite);
    mro_pixels_tell_export(im, "the true zero is lost, and the fraction may be too large by a half", &r->warnings,
                           &r->n_warnings);

    struct mro_whitened w = { 0 };
    struct mro_grid cells;
    mro_order_grids(im, pixel, &w.grid, &cells);
    const size_t nc = cells.ny * cells.nx;
    struct mro_scores s = { 0 };
    struct mro_found_list found = { 0 };
    struct mro_area area = { 0 };
    struct mro_crystals large = { 0 };
    unsigned char *usable = malloc(nc), *searched = malloc(nc);
    enum mro_code rc = MRO_OK;
    if (usable == NULL || searched == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", name);
        goto done;
    }
    if ((rc = mro_whiten(p, im, name, &w, r, e))) goto done;
    if ((rc = mro_scores_open(p, &w.grid, &cells, &w.spectrum, &s, e))) goto done;
    if ((rc = mro_mark_sound(p, im, pixel, &w, &s, usable, searched, e))) goto done;
    if ((rc = mro_scores_fill(p, &w.spectrum, &s, e))) goto done;
    mro_fill_surprise(p, &s);
    size_t n_searched = 0;
    for (size_t i = 0; i < nc; i++) {
        r->cells += usable[i];
        n_searched += searched[i];
    }
    if (!set_region(&cells, r)) goto done;
    const double cell_nm2 = cells.ly / (double)cells.ny * cells.lx / (double)cells.nx;
    const double usable_nm2 = (double)r->cells * cell_nm2, searched_nm2 = (double)n_searched * cell_nm2;

    if ((rc = mro_measure_patches(p, &s, &w, searched, usable_nm2 < MRO_CROWDED_NM2, &found, e))) goto done;
    /* Speckle shows the reflections of a lattice more rarely than what so many fields can vouch for. */
    r->p_image = w.lattice ? MRO_ORDER_LEAST_P : image_p(p, &cells, searched, r->ctf.delocalisation_nm, &found);
    r->p_image_at_most = r->p_image <= MRO_ORDER_LEAST_P;
    r->distinguishable = r->p_image < 0.001;
    if (r->distinguishable &&
        (rc = mro_crystals_measure(p, &s, &w, usable, searched, r->region_nm, name, &found, &large, e)))
        goto done;
    const double left = fmax(usable_nm2 - large.area_nm2, cell_nm2),
                 left_searched = fmax(searched_nm2 - large.searched_nm2, left);
    struct mro_contrast expected = w.expected; /* crystals raise the power that it is from */
    if (large.n) expected.log_c = fmax(expected.log_c, large.log_contrast);
    if ((rc = mro_area_of(p, &found, r->region_nm, left, left_searched, &expected, w.lens_known, &area, e))) goto done;
    if ((!r->distinguishable || (large.n == 0 && likely(&found, &area) < FEW)) &&
        (rc = add_limits(p, &found, r->region_nm, left, left_searched, &expected, w.lens_known, &area,
                         r->fraction_at_most, e)))
        goto done;
    if (large.n) add_crystals(&large, usable_nm2, w.lens_known, &area);
    r->null_fraction = p->o.false_positive_rate; /* the threshold is that quantile of the null */
    r->fraction = area.fraction;
    memcpy(r->fraction_ci95, area.ci95, sizeof area.ci95);
    r->size_limit_nm = size_limit(p, area.contrast);
    if ((rc = fill_result(p, &s, usable, &found, &area, &large, r, e))) goto done;
    r->density_per_nm2 = (double)r->n_objects / usable_nm2;
    const struct mro_view_field view = { &s.grid, &s.cells, &s.field, s.surprise, usable, im };
    if ((rc = mro_views_fill(p, &view, r, e))) goto done;
    if (large.filled) r->fraction = fmax(r->fraction, r->fraction_raw);
    if (w.lattice) {
        large.filled = true;
        r->fraction = r->fraction_ci95[1] = 1;
        r->fraction_ci95[0] = MRO_WAVE_FILLS;
        for (int i = 0; i < 3; i++) r->fraction_at_most[i] = NAN;
    }
    say_verdict(&large, r);
    if (w.whole_nm > 0) {
        r->fraction_ci95[1] = 1; /* should it be a crystal */
        mro_text_add(r->verdict, sizeof r->verdict,
                     "; fringes of %.3f nm fill the field, of interference or of one crystal, and were left out",
                     w.whole_nm);
    }
    if (w.other_nm > 0)
        mro_text_add(
            r->verdict, sizeof r->verdict,
            "; a crystal with fringes of %.3f nm, which are not looked for, fills the field, which is no glass",
            w.other_nm);
    if (w.lattice) {
        mro_text_add(r->verdict, sizeof r->verdict, "; one crystal fills the field, which is no glass");
    } else {
        tell_of_weakness(&expected, area.contrast, r);
        tell_of_weak_crystals(p, &large, &expected, r);
        tell_of_crystals(&large, usable_nm2, r);
    }
    from_corner(r);
    if (p->o.sweep_band) {
        char note[400];
        if ((rc = mro_sweep_bands(p, im, name, r, note, sizeof note, e))) goto done;
        if (note[0]) mro_warn(r, "%s", note);
    }
done:
    mro_whitened_release(d, &w);
    mro_scores_release(d, &s);
    mro_area_release(&area);
    mro_crystals_release(&large);
    free(found.v);
    free(usable);
    free(searched);
    if (rc) mro_order_result_release(r);
    return rc;
}

void mro_order_result_release(struct mro_order_result *r)
{
    if (r == NULL) return;
    free(r->objects);
    free(r->sweep);
    mro_notes_release(&r->warnings, &r->n_warnings);
    free(r->score.v);
    free(r->mask.v);
    free(r->acf.v);
    free(r->spacing.v);
    mro_image_release(&r->filtered);
    mro_image_release(&r->whitened);
    for (size_t i = 0; i < r->n_tiles; i++) free(r->tiles[i].v);
    free(r->tiles);
    free(r->cdf_score);
    free(r->cdf_p);
    free(r->cdf_null);
    free(r->cdf_observed);
    memset(r, 0, sizeof *r);
}

size_t mro_order_bytes(const struct mro_image *like, const struct mro_order_options *o)
{
    const size_t null = (size_t)24 << 20; /* fields of the glass and what is kept of them, measured */
    struct mro_grid grid, cells;
    double pixel_nm[2];
    struct mro_error e;
    if (mro_image_pixel_nm(like, "", pixel_nm, &e) != MRO_OK) return null;
    mro_order_grids(like, pixel_nm, &grid, &cells);
    /* The half plane that an image is cropped in; then whitening and scores, what is shown of them, and
     * crystals. */
    const size_t half = like->ny * (grid.nx / 2 + 1) * sizeof(mro_c32);
    return null + half + grid.ny * grid.nx * (o->views ? 56 : 40) + cells.ny * cells.nx * 73 +
           mro_crystals_bytes(&grid);
}

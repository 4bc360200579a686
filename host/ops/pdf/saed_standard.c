/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calibration by the rings of a standard. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/gsl_errors.h"
#include "ops/pdf/saed_internal.h"

#define RINGS_MOST 24
#define PEAKS_MOST 64
#define PEAK_SD 6.0      /* standard errors that a ring rises above its surroundings */
#define PEAK_SHARE 0.004 /* and of the strongest one */
#define MATCH 0.008      /* relative distance of a ring from its place */
#define RINGS_LEAST 3
#define NOMINAL 0.25 /* a calibration that is there is not farther off than this */
#define BETTER 0.1   /* of the score: another standard that fits so much better is what the pattern shows */
#define TOP 0.55     /* share of the height above which a peak is taken for a parabola */

/* Lattice parameters in nm: Au 0.40782, Al 0.40496, Si 0.54310, CeO2 0.54113 (powder diffraction standards). */
static const struct {
    const char *name;
    enum mro_standard standard;
    double a_nm;
    bool diamond;
} standards[] = {
    { "Au", MRO_STANDARD_AU, 0.40782, false },
    { "Si", MRO_STANDARD_SI, 0.54310, true },
    { "CeO2", MRO_STANDARD_CEO2, 0.54113, false },
    { "Al", MRO_STANDARD_AL, 0.40496, false },
};

enum mro_standard mro_standard_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof standards / sizeof *standards; i++)
        if (strcasecmp(name, standards[i].name) == 0) return standards[i].standard;
    return MRO_STANDARD_NONE;
}

const char *mro_standard_name(enum mro_standard s)
{
    for (size_t i = 0; i < sizeof standards / sizeof *standards; i++)
        if (standards[i].standard == s) return standards[i].name;
    return "none";
}

/* Rings that a cubic face-centred lattice shows, 1/d in nm^-1, rising. */
static size_t rings_of(enum mro_standard s, double ring[RINGS_MOST])
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof standards / sizeof *standards; i++) {
        if (standards[i].standard != s) continue;
        for (int sum = 3; sum <= 48 && n < RINGS_MOST; sum++) {
            bool shown = false;
            for (int h = 0; h * h <= sum; h++)
                for (int k = 0; k <= h; k++)
                    for (int l = 0; l <= k; l++) {
                        if (h * h + k * k + l * l != sum) continue;
                        const bool odd = h % 2 && k % 2 && l % 2, even = h % 2 == 0 && k % 2 == 0 && l % 2 == 0;
                        shown = shown || odd || (even && (!standards[i].diamond || (h + k + l) % 4 == 0));
                    }
            if (shown) ring[n++] = sqrt(sum) / standards[i].a_nm;
        }
    }
    return n;
}

struct peak {
    double at, height, se; /* px; over its surroundings; px */
};

/* Maxima that rise above their surroundings, with their place from a parabola through their top. */
static size_t peaks_of(const struct mro_profile *p, double *smooth, double *slope, struct peak peak[PEAKS_MOST])
{
    size_t n = 0;
    double strongest = 0;
    mro_saed_smooth(p->intensity, p->n, 2, smooth, slope);
    for (size_t k = 8; k + 2 < p->n && n < PEAKS_MOST; k++) {
        if (!(smooth[k] >= smooth[k - 1] && smooth[k] > smooth[k + 1])) continue;
        size_t from = k, to = k;
        while (from > 1 && smooth[from - 1] <= smooth[from]) from--;
        while (to + 1 < p->n && smooth[to + 1] <= smooth[to]) to++;
        const double base = fmax(smooth[from], smooth[to]), height = smooth[k] - base;
        if (!(height > PEAK_SD * p->se[k])) continue;
        /* y = c0 + c1 x + c2 x^2 above TOP of the height over the sloping ground. */
        double s[5] = { 0 }, b[3] = { 0 }, var = 0;
        const double ground = smooth[from], tilt = (smooth[to] - smooth[from]) / (double)(to - from);
        const double top = smooth[k] - ground - tilt * (double)(k - from);
        size_t points = 0;
        for (size_t j = from; j <= to; j++) {
            const double y = p->intensity[j] - ground - tilt * (double)(j - from), x = (double)j - (double)k;
            const double over = smooth[j] - ground - tilt * (double)(j - from);
            if (!(over > TOP * top)) continue;
            double q = 1;
            for (int i = 0; i < 5; i++, q *= x) {
                s[i] += q;
                if (i < 3) b[i] += q * y;
            }
            var += p->se[j] * p->se[j];
            points++;
        }
        if (points < 3) continue;
        const double det = s[0] * (s[2] * s[4] - s[3] * s[3]) - s[1] * (s[1] * s[4] - s[2] * s[3]) +
                           s[2] * (s[1] * s[3] - s[2] * s[2]);
        const double c1 = (s[0] * (b[1] * s[4] - s[3] * b[2]) - b[0] * (s[1] * s[4] - s[2] * s[3]) +
                           s[2] * (s[1] * b[2] - b[1] * s[2])) /
                          det;
        const double c2 = (s[0] * (s[2] * b[2] - b[1] * s[3]) - s[1] * (s[1] * b[2] - b[1] * s[2]) +
                           b[0] * (s[1] * s[3] - s[2] * s[2])) /
                          det;
        if (!(det > 0 && c2 < 0)) continue;
        const double move = -c1 / (2 * c2);
        if (!(fabs(move) <= (double)points)) continue;
        peak[n++] = (struct peak){ (double)k + move, top, sqrt(var / (double)points / s[2]) / (2 * -c2) };
        strongest = fmax(strongest, top);
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (peak[i].height > PEAK_SHARE * strongest) peak[kept++] = peak[i];
    return kept;
}

/* How well peaks and rings fit at a scale: heights of the peaks that have a ring, less those that have none; rings
 * inside the pattern that have no peak cost too. */
static double score_at(double scale, const struct peak *peak, size_t n, const double *ring, size_t rings)
{
    double score = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        double nearest = INFINITY;
        for (size_t j = 0; j < rings; j++) nearest = fmin(nearest, fabs(peak[i].at * scale / ring[j] - 1));
        const double w = sqrt(peak[i].height);
        score += nearest < MATCH ? w * (1 - nearest / MATCH) : -0.5 * w;
        all += w;
    }
    size_t missed = 0, inside = 0;
    for (size_t j = 0; j < rings && j < 5; j++) { /* the first ones are strong in all the standards */
        if (ring[j] > peak[n - 1].at * scale * 1.01) continue;
        inside++;
        double nearest = INFINITY;
        for (size_t i = 0; i < n; i++) nearest = fmin(nearest, fabs(peak[i].at * scale / ring[j] - 1));
        missed += nearest > MATCH;
    }
    return inside ? score / all - (double)missed / (double)inside : -1;
}

/* The scale at which peaks and rings of a standard fit best, near `nominal` where that is known, and its score. */
static double best_scale(enum mro_standard standard, double nominal, const struct peak *peak, size_t n, double *score)
{
    double ring[RINGS_MOST], scale = 0;
    const size_t rings = rings_of(standard, ring);
    *score = -INFINITY;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < rings && j < 8; j++) {
            const double s = ring[j] / peak[i].at;
            if (nominal > 0 && fabs(s / nominal - 1) > NOMINAL) continue;
            const double here = score_at(s, peak, n, ring, rings);
            if (here > *score) *score = here, scale = s;
        }
    return scale;
}

enum mro_code mro_saed_calibrate(struct mro_device *d, const struct mro_image *im, const char *name,
                                 enum mro_standard standard, const struct mro_saed_options *o,
                                 struct mro_saed_standard *c, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    double ring[RINGS_MOST];
    const size_t rings = rings_of(standard, ring);
    struct mro_saed_options own = *o;
    struct mro_saed_result r;
    struct peak peak[PEAKS_MOST];
    memset(c, 0, sizeof *c);
    if (rings == 0) return MRO_FAIL(e, MRO_EARG, "standard %d is none; there are Au, Si, CeO2 and Al", (int)standard);
    /* Only the geometry of the pattern is needed: one unit a pixel, whatever its calibration says. */
    own.step_inv_nm = 1;
    own.camera_length_mm = 0;
    own.bin_inv_nm = 0;
    own.s_range_inv_nm[0] = own.s_range_inv_nm[1] = 0;
    own.halo_inv_nm[0] = own.halo_inv_nm[1] = 0;
    MRO_TRY(mro_saed_measure(d, im, name, &own, &r, e));
    double *work = malloc(2 * r.profile.n * sizeof *work);
    enum mro_code rc = MRO_OK;
    if (work == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s': out of memory for its rings", name);
        goto done;
    }
    for (size_t k = 0; k < r.profile.n; k++) /* rings that are cut off tell less of their place than they say */
        if (!(r.profile.s_inv_nm[k] >= r.s_min_inv_nm && r.profile.s_inv_nm[k] <= r.s_max_inv_nm))
            r.profile.intensity[k] = NAN;
    const size_t n = peaks_of(&r.profile, work, work + r.profile.n, peak);
    const struct mro_axis *x = &im->axis[1];
    const double nominal = o->step_inv_nm > 0 ? o->step_inv_nm : x->unit == MRO_UNIT_INV_NM ? x->step : 0;
    double best, scale = best_scale(standard, nominal, peak, n, &best);
    for (size_t i = 0; i < sizeof standards / sizeof *standards && scale > 0; i++) {
        double score;
        best_scale(standards[i].standard, nominal, peak, n, &score);
        if (!(score > best + BETTER)) continue;
        rc = MRO_FAIL(e, MRO_EDATA, "'%s': the rings do not fit %s, they are those of %s", name,
                      mro_standard_name(standard), standards[i].name);
        goto done;
    }
    double sxy = 0, sxx = 0, rest = 0;
    size_t used = 0;
    for (int pass = 0; pass < 3 && scale > 0; pass++) {
        sxy = sxx = rest = 0;
        used = 0;
        c->worst = 0;
        for (size_t j = 0; j < rings; j++) {
            const struct peak *nearest = peak;
            for (size_t i = 1; i < n; i++)
                if (fabs(peak[i].at * scale - ring[j]) < fabs(nearest->at * scale - ring[j])) nearest = &peak[i];
            const double off = nearest->at * scale / ring[j] - 1;
            if (!(fabs(off) < MATCH)) continue;
            const double w = 1 / (0.05 * 0.05 + nearest->se * nearest->se); /* parabolas are good to 0.05 px */
            sxy += w * nearest->at * ring[j];
            sxx += w * nearest->at * nearest->at;
            rest += w * off * off * ring[j] * ring[j];
            c->worst = fmax(c->worst, fabs(off));
            used++;
        }
        if (used) scale = sxy / sxx;
    }
    if (used < RINGS_LEAST || best < 0.3) {
        rc = MRO_FAIL(e, MRO_EDATA,
                      "'%s': the rings do not fit %s: of %zu rings seen %zu fit at the best calibration, %d are needed",
                      name, mro_standard_name(standard), n, used, RINGS_LEAST);
        goto done;
    }
    c->step_inv_nm = scale;
    c->step_se_inv_nm = sqrt(fmax(rest / (double)(used - 1), scale * scale) / sxx);
    c->geometry = r.geometry;
    c->rings = used;
done:
    free(work);
    mro_saed_result_release(&r);
    return rc;
}

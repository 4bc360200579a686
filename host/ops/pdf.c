/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/pdf.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "mroscope/math/philox.h"
#include "ops/pdf_internal.h"

#define ALONE_DEGREE 2 /* of the slow background where no density tells it from atoms */
/* How far the low r misses the density's line, over it, where the slow background begins to be let free, and where it
 * is wholly. */
#define GOOD_MISFIT 0.03
#define BAD_MISFIT 0.1
#define INELASTIC_MISFIT 0.3 /* where inelastic scattering is about as strong as elastic */
#define LEAST_RISE 0.25      /* of the first sharp peak in S */
#define HALF_RING 0.5
#define SHADOW 0.5           /* of the intensity: less is the shadow of a beam stop */
#define CUT_PEAK 0.4         /* S at the beginning over that of the first sharp peak: more is on its flank */
#define END_SHARE 0.75       /* of what the profile reaches is transformed; the rest pins the normalisation */
#define TAIL_SHARE 0.7       /* where the tail begins */
#define TO_Q (2 * M_PI / 10) /* from s in 1/nm */
#define DENSITY_LEAST 10.0   /* atoms per nm^3 that no glass goes below or above */
#define DENSITY_MOST 200.0

void mro_pdf_options_default(struct mro_pdf_options *o)
{
    *o = (struct mro_pdf_options){ .damping = MRO_DAMPING_LORCH,
                                   .r_max_A = 20,
                                   .r_step_A = 0.02,
                                   .background = 4,
                                   .beyond_A = { 6, 15 },
                                   .draws = 200,
                                   .seed = 1 };
}

void mro_pdf_result_release(struct mro_pdf_result *r)
{
    if (r == NULL) return;
    free(r->Q);
    free(r->S);
    free(r->S_se);
    free(r->r_A);
    free(r->G);
    free(r->G_se);
    free(r->g);
    free(r->s_inv_nm);
    free(r->intensity);
    free(r->intensity_se);
    free(r->fit);
    free(r->connection.r_A);
    mro_notes_release(&r->warnings, &r->n_warnings);
    memset(r, 0, sizeof *r);
}

static enum mro_code check(const struct mro_profile *p, const char *name, const struct mro_pdf_options *o,
                           struct mro_error *e)
{
    if (p->quantity == MRO_QUANTITY_INTENSITY && o->composition.n == 0)
        return MRO_FAIL(e, MRO_ECALIB,
                        "S(Q) of '%s' needs the composition, for scattering factors; give --composition, as in Fe82B18",
                        name);
    if (p->quantity == MRO_QUANTITY_INTENSITY && p->radiation == MRO_RADIATION_NEUTRONS)
        return MRO_FAIL(e, MRO_EARG,
                        "'%s' holds intensities of neutrons, whose scattering lengths are not known here; give S(Q)",
                        name);
    if (o->density_per_nm3 != 0 && !(o->density_per_nm3 >= DENSITY_LEAST && o->density_per_nm3 <= DENSITY_MOST))
        return MRO_FAIL(e, MRO_EARG, "a density of %g atoms per nm^3 is none of a glass (%g to %g)%s",
                        o->density_per_nm3, DENSITY_LEAST, DENSITY_MOST,
                        o->density_per_nm3 > 0 && o->density_per_nm3 < DENSITY_LEAST
                            ? "; atoms per nm^3 are 602.2 times g/cm^3 over the mean atomic weight"
                            : "");
    if (!(o->density_se_per_nm3 >= 0 && o->density_se_per_nm3 < 0.3 * DENSITY_MOST))
        return MRO_FAIL(e, MRO_EARG, "the error of the density cannot be %g atoms per nm^3", o->density_se_per_nm3);
    if (!(o->r_max_A >= 4 && o->r_max_A <= 200))
        return MRO_FAIL(e, MRO_EARG, "G(r) can go to between 4 and 200 Angstrom, not %g", o->r_max_A);
    if (!(o->r_step_A >= 0.001 && o->r_step_A <= 0.1))
        return MRO_FAIL(e, MRO_EARG, "steps of r can be between 0.001 and 0.1 Angstrom, not %g", o->r_step_A);
    if (o->background < -1 || o->background > MRO_PDF_DEGREE)
        return MRO_FAIL(e, MRO_EARG, "the degree of the background can be -1 to %d, not %d", MRO_PDF_DEGREE,
                        o->background);
    if (o->draws < 50 || o->draws > 5000) return MRO_FAIL(e, MRO_EARG, "draws can be 50 to 5000, not %d", o->draws);
    if (!(o->beyond_A[0] > 0 && o->beyond_A[1] > o->beyond_A[0] + 1 && o->beyond_A[1] <= o->r_max_A))
        return MRO_FAIL(e, MRO_EARG,
                        "the strength of oscillations needs a range of r within G(r), to %g Angstrom, and over 1 "
                        "Angstrom wide, not %g to %g",
                        o->r_max_A, o->beyond_A[0], o->beyond_A[1]);
    if (!(o->damping_A2 >= 0 && o->damping_A2 < 10))
        return MRO_FAIL(e, MRO_EARG, "the damping exp(-b Q^2) cannot have b = %g A^2", o->damping_A2);
    if (!(o->connection_R_A <= 0 || (o->connection_R_A > 1.2 && o->connection_R_A < 5)))
        return MRO_FAIL(e, MRO_EARG, "the distance R of connection modes cannot be %g Angstrom", o->connection_R_A);
    return MRO_OK;
}

/* -- the profile's useful part ------------------------------------------------------------------------ */

/* The profile with gaps left out and, where it is finer than needed, neighbours averaged. */
struct points {
    size_t n;
    double *s, *v, *se, *room; /* 1/nm; values; errors (NaN unknown) */
    double *f1_2, *ratio;      /* <f>^2 in A^2; <f^2> / <f>^2; both 1 where values are not intensities */
    size_t *from;              /* n + 1: first point of the profile of each */
};

static void points_release(struct points *t)
{
    free(t->room);
    free(t->from);
}

static bool usable(const struct mro_profile *p, size_t i)
{
    return isfinite(p->intensity[i]) && isfinite(p->s_inv_nm[i]) && p->s_inv_nm[i] > 0;
}

static void mean_factors(const struct mro_profile *p, const struct mro_composition *c, double s_inv_nm, double *f1_2,
                         double *ratio)
{
    double f = 0, f2 = 0;
    *f1_2 = *ratio = 1;
    if (p->quantity != MRO_QUANTITY_INTENSITY) return;
    for (size_t i = 0; i < c->n; i++) {
        const double one = p->radiation == MRO_RADIATION_X_RAYS
                               ? mro_form_factor_x_ray(c->symbol[i], s_inv_nm / 10)
                               : mro_form_factor_electron_A(c->symbol[i], s_inv_nm / 10);
        f += c->fraction[i] * one;
        f2 += c->fraction[i] * one * one;
    }
    *f1_2 = f * f;
    *ratio = f2 / *f1_2;
}

static enum mro_code points_of(const struct mro_profile *p, const struct mro_composition *c, struct points *t,
                               struct mro_error *e)
{
    memset(t, 0, sizeof *t);
    const size_t by = (p->n + MRO_PDF_POINTS - 1) / MRO_PDF_POINTS;
    t->room = calloc(5 * p->n, sizeof *t->room);
    t->from = calloc(p->n + 1, sizeof *t->from);
    if (t->room == NULL || t->from == NULL) {
        points_release(t);
        return MRO_FAIL(e, MRO_EMEMORY, "a profile of %zu points does not fit in memory", p->n);
    }
    t->s = t->room;
    t->v = t->room + p->n;
    t->se = t->v + p->n;
    t->f1_2 = t->se + p->n;
    t->ratio = t->f1_2 + p->n;
    for (size_t i = 0; i < p->n;) {
        if (!usable(p, i)) {
            i++;
            continue;
        }
        double s = 0, v = 0, var = 0;
        size_t k = 0;
        t->from[t->n] = i;
        for (; k < by && i < p->n && usable(p, i); k++, i++) {
            s += p->s_inv_nm[i];
            v += p->intensity[i];
            var += p->se ? p->se[i] * p->se[i] : NAN;
        }
        t->s[t->n] = s / (double)k;
        t->v[t->n] = v / (double)k;
        t->se[t->n] = sqrt(var) / (double)k;
        mean_factors(p, c, t->s[t->n], &t->f1_2[t->n], &t->ratio[t->n]);
        t->from[++t->n] = i;
    }
    return MRO_OK;
}

/* One draw (or sector) of the profile put on the same points: means of what has data, NaN without any. */
static void gather(const struct mro_profile *p, const struct points *t, const double *value, double *out)
{
    for (size_t i = 0; i < t->n; i++) {
        double sum = 0;
        size_t n = 0;
        for (size_t k = t->from[i]; k < t->from[i + 1]; k++) {
            if (!usable(p, k) || !isfinite(value[k])) continue;
            sum += value[k];
            n++;
        }
        out[i] = n ? sum / (double)n : NAN;
    }
}

/* The first sharp peak: the interior maximum of y, over the first n points, that stands highest over the minima between
 * it and higher points to either side. Returns its index, 0 when none stands out by LEAST_RISE. `y` is smooth. */
static size_t sharpest(const double *y, size_t n)
{
    size_t best = 0;
    double most = LEAST_RISE;
    for (size_t i = 1; i + 1 < n; i++) {
        if (!(y[i] > y[i - 1] && y[i] >= y[i + 1])) continue;
        double least[2] = { y[i], y[i] };
        for (size_t k = i; k-- > 0 && y[k] <= y[i];) least[0] = fmin(least[0], y[k]);
        for (size_t k = i + 1; k < n && y[k] <= y[i]; k++) least[1] = fmin(least[1], y[k]);
        const double rise = y[i] - fmax(least[0], least[1]);
        if (!(rise > most)) continue;
        most = rise;
        best = i;
    }
    return best;
}

/* A first guess of S: intensities less a constant over N <f>^2, both by weighted least squares over the outer two
 * thirds, where S is near 1. False when the intensities do not fall as <f>^2 does. */
static bool guess_S(const struct points *t, size_t end, double *y)
{
    double A[4] = { 0 }, b[2] = { 0 };
    for (size_t i = 0; i < end; i++) {
        y[i] = t->f1_2[i];
        if (t->s[i] < t->s[end - 1] / 3) continue;
        const double w = 1 / fmax(fabs(t->v[i]), 1e-30);
        A[0] += w * y[i] * y[i];
        A[2] += w * y[i];
        A[3] += w;
        b[0] += w * y[i] * t->v[i];
        b[1] += w * t->v[i];
    }
    if (!mro_cholesky_factor(A, 2, 2, MRO_PDF_RANK)) return false;
    mro_cholesky_apply(A, 2, 2, b);
    if (!(b[0] > 0)) return false;
    for (size_t i = 0; i < end; i++) y[i] = (t->v[i] - b[1]) / (b[0] * y[i]);
    return true;
}

static double mean_of(const double *v, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++) sum += v[i];
    return sum / (double)(to - from);
}

/* Where an aperture cuts the pattern: the points at the end stay at one level within their noise, and the fall to that
 * level is far steeper than what comes before it. n when there is none. */
static size_t aperture_at(const struct points *t)
{
    const size_t w = t->n / 100 > 2 ? t->n / 100 : 2, least = t->n / 30 > 6 ? t->n / 30 : 6;
    if (t->n < 10 * w + least) return t->n;
    /* The level and its noise, which a slope does not add to: by what neighbours differ. */
    size_t start = t->n - least;
    const double level = mean_of(t->v, start, t->n);
    double square = 0;
    for (size_t i = start + 1; i < t->n; i++) square += (t->v[i] - t->v[i - 1]) * (t->v[i] - t->v[i - 1]) / 2;
    const double sd = sqrt(square / (double)(least - 1));
    for (size_t misses = 0, i = start; i > t->n / 3 && misses < 2; i--) {
        if (fabs(t->v[i - 1] - level) > 4 * sd) {
            misses++;
        } else {
            misses = 0;
            start = i - 1;
        }
    }
    if (start < 7 * w || start + 2 * least > t->n) return t->n;
    const double before = mean_of(t->v, start - 3 * w, start - 2 * w), after = mean_of(t->v, start, start + w);
    const double earlier = mean_of(t->v, start - 6 * w, start - 5 * w), fall = before - after;
    if (!(fall > 6 * sd && fall > 0.01 * fabs(level) && fall > 2.5 * fabs(earlier - before))) return t->n;
    size_t edge = start;
    while (edge > start - 3 * w && t->v[edge - 1] < after + 0.9 * fall) edge--;
    return edge > 1 ? edge - 1 : edge;
}

/* Points before the first ring of which less than half counts, by the number of pixels; all of a table. An arm of a
 * beam stop takes much of the small rings, and a beam beside the middle of the detector leaves parts of the large ones.
 */
static size_t whole_rings(const struct mro_profile *p, const struct points *t)
{
    if (p->pixels == NULL) return t->n;
    /* A whole ring has pixels in proportion to s. */
    double most = 0;
    size_t end = t->n;
    for (size_t turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < t->n; i++) {
            double pixels = 0;
            for (size_t k = t->from[i]; k < t->from[i + 1]; k++) pixels += isfinite(p->pixels[k]) ? p->pixels[k] : 0;
            pixels /= t->s[i] * (double)(t->from[i + 1] - t->from[i]);
            if (turn == 0 && i > t->n / 8) most = fmax(most, pixels);
            if (turn == 1 && i > t->n / 8 && pixels < HALF_RING * most) {
                end = i;
                break;
            }
        }
    }
    return end;
}

struct ranges {
    size_t first, end; /* points of the fit */
    size_t peak;
    bool aperture;
};

/* Chooses what is fitted and transformed, as options, windows of another state, or rules say. */
static enum mro_code choose_ranges(const struct mro_profile *p, const struct points *t, const char *name,
                                   const struct mro_pdf_options *o, struct mro_pdf_windows *w, struct ranges *g,
                                   struct mro_error *e)
{
    if (t->n < 32)
        return MRO_FAIL(e, MRO_EDATA, "the profile of '%s' has %zu usable points; S(Q) needs 32", name, t->n);
    const bool normalise = p->quantity == MRO_QUANTITY_INTENSITY;
    double *y = malloc(2 * t->n * sizeof *y), *smooth = y ? y + t->n : NULL;
    if (y == NULL) return MRO_FAIL(e, MRO_EMEMORY, "a profile of %zu points does not fit in memory", t->n);
    const double dQ = (t->s[t->n - 1] - t->s[0]) * TO_Q / (double)(t->n - 1);
    const size_t half = (size_t)fmin(fmax(1, 0.07 / dQ), (double)t->n / 16);
    size_t end = whole_rings(p, t);
    const size_t cut = normalise ? aperture_at(t) : t->n;
    g->aperture = cut < end;
    if (g->aperture) end = cut;
    if (end >= 24 && (!normalise || guess_S(t, end, y))) {
        for (size_t i = 0; i < end; i++) {
            double sum = 0;
            size_t n = 0;
            for (size_t k = i > half ? i - half : 0; k <= i + half && k < end; k++, n++)
                sum += normalise ? y[k] : t->v[k];
            smooth[i] = sum / (double)n;
        }
        /* The halo has to leave room for G(r) behind it, and noise grows there. */
        size_t last = 0;
        while (last < end && t->s[last] < t->s[end - 1] / 1.3) last++;
        g->peak = sharpest(smooth, last);
    }
    if (g->peak == 0) {
        free(y);
        return MRO_FAIL(e, MRO_EDATA,
                        "the profile of '%s' has no first sharp peak between s = %.3g and %.3g 1/nm; G(r) cannot be "
                        "normalised",
                        name, t->s[0], t->s[end - 1]);
    }
    /* Inward from the peak to the least, but not through the beam's tail into the shadow of the beam stop. */
    g->first = g->peak;
    double top = 0;
    for (size_t i = g->peak; i-- > 0;) {
        if (p->pixels && normalise && t->v[i] < SHADOW * top) break;
        top = fmax(top, t->v[i]);
        if (!(smooth[i] < smooth[g->first])) continue;
        g->first = i;
        top = t->v[i];
    }
    g->end = end;
    free(y);
    if (w->fit_inv_nm[1] > 0) {
        if (w->fit_inv_nm[1] > t->s[t->n - 1] * 1.02)
            return MRO_FAIL(e, MRO_EDATA,
                            "'%s' ends at s = %.4g 1/nm, before the range to %.4g 1/nm that states are compared over; "
                            "give a smaller --s-max",
                            name, t->s[t->n - 1], w->fit_inv_nm[1]);
        for (g->first = 0; g->first < t->n && t->s[g->first] < w->fit_inv_nm[0] * (1 - 1e-9);) g->first++;
        for (g->end = g->first; g->end < t->n && t->s[g->end] <= w->fit_inv_nm[1] * (1 + 1e-9);) g->end++;
    }
    if (o->s_min_inv_nm > 0)
        for (g->first = 0; g->first < t->n && t->s[g->first] < o->s_min_inv_nm;) g->first++;
    if (g->first >= g->peak)
        return MRO_FAIL(e, MRO_EARG, "the range from s = %.4g 1/nm leaves out the first sharp peak of '%s', at %.4g",
                        o->s_min_inv_nm, name, t->s[g->peak]);
    if (t->s[g->end - 1] < 1.5 * t->s[g->peak] || g->end < g->first + 24)
        return MRO_FAIL(
            e, MRO_EDATA,
            "the profile of '%s' ends at s = %.3g 1/nm (Q = %.3g 1/Angstrom), too short for G(r): its first "
            "sharp peak is at %.3g 1/nm",
            name, t->s[g->end - 1], t->s[g->end - 1] * TO_Q, t->s[g->peak]);
    const double last = t->s[g->end - 1];
    w->fit_inv_nm[0] = t->s[g->first];
    w->fit_inv_nm[1] = last;
    w->s_inv_nm[0] = t->s[g->first];
    if (o->s_max_inv_nm > 0) {
        if (o->s_max_inv_nm > last * (1 + 1e-6))
            return MRO_FAIL(e, MRO_EARG, "--s-max %g 1/nm is beyond %.4g 1/nm, which '%s' reaches%s", o->s_max_inv_nm,
                            last, name, g->aperture ? " inside of its aperture" : "");
        w->s_inv_nm[1] = o->s_max_inv_nm;
    } else if (!(w->s_inv_nm[1] > 0)) {
        w->s_inv_nm[1] = normalise ? END_SHARE * last : last;
    }
    if (w->s_inv_nm[1] < 1.3 * t->s[g->peak])
        return MRO_FAIL(e, MRO_EARG, "s to %.4g 1/nm is too short for G(r) of '%s', whose first sharp peak is at %.4g",
                        w->s_inv_nm[1], name, t->s[g->peak]);
    if (!(w->tail_inv_nm > 0)) w->tail_inv_nm = TAIL_SHARE * last;
    const double Q1 = t->s[g->peak] * TO_Q, r1 = 2.5 * M_PI / Q1;
    if (o->r_min_A > 0)
        w->r_min_A = o->r_min_A;
    else if (!(w->r_min_A > 0))
        w->r_min_A = fmax(0.9, fmin(0.62 * r1, 1.8));
    if (w->r_min_A > 0.9 * r1)
        return MRO_FAIL(e, MRO_EARG, "--r-min %g Angstrom lies within the first shell of '%s', near %.2f Angstrom",
                        w->r_min_A, name, r1);
    const double finest = M_PI / dQ;
    if (o->r_max_A > finest)
        return MRO_FAIL(
            e, MRO_EARG,
            "the profile of '%s' has points %.3g 1/Angstrom apart, too far for G(r) to %g Angstrom; it holds "
            "r to %.3g",
            name, dQ, o->r_max_A, finest);
    return MRO_OK;
}

/* -- the measurement ----------------------------------------------------------------------------------- */

/* Friedel mates share their speckle: they are one block. */
static enum mro_code source_of(struct mro_pdf_source *u, const struct mro_profile *p, const struct points *t,
                               struct mro_error *e)
{
    const size_t half = p->sector_mean ? p->n_sectors / 2 : 0;
    MRO_TRY(mro_pdf_source_alloc(u, half < 3 ? 0 : half, t->n, e));
    u->se = t->se;
    if (u->blocks == 0) return MRO_OK;
    double *one = malloc(2 * p->n * sizeof *one), *weight = one ? one + p->n : NULL;
    if (one == NULL) {
        mro_pdf_source_release(u);
        return MRO_FAIL(e, MRO_EMEMORY, "%zu sectors of %zu points do not fit in memory", half, t->n);
    }
    for (size_t i = 0; i < half; i++) {
        for (size_t k = 0; k < p->n; k++) {
            double sum = 0, total = 0;
            for (size_t mate = i; mate < p->n_sectors; mate += half) {
                const double m = p->sector_mean[mate * p->n + k], w = p->sector_weight[mate * p->n + k];
                if (!isfinite(m) || !(w > 0)) continue;
                sum += w * m;
                total += w;
            }
            one[k] = total > 0 ? sum / total : NAN;
            weight[k] = total > 0 ? total : NAN;
        }
        gather(p, t, one, u->mean + i * t->n);
        gather(p, t, weight, u->weight + i * t->n);
    }
    free(one);
    mro_pdf_source_weigh(u);
    return MRO_OK;
}

/* Standard deviation of one number over the draws, and its mean (may be NULL). */
static double sd_of(const double *number, size_t draws, size_t which, double *mean)
{
    double sum = 0, square = 0;
    size_t n = 0;
    for (size_t d = 0; d < draws; d++) {
        const double v = number[d * PDF_NUMBERS + which];
        if (!isfinite(v)) continue;
        sum += v;
        n++;
    }
    if (mean) *mean = n ? sum / (double)n : NAN;
    if (n < draws / 2 || n < 20) return NAN;
    for (size_t d = 0; d < draws; d++) {
        const double v = number[d * PDF_NUMBERS + which] - sum / (double)n;
        if (isfinite(v)) square += v * v;
    }
    return sqrt(square / (double)(n - 1));
}

static bool any_error(const struct mro_pdf_source *u, const struct mro_pdf_frame *f, size_t first)
{
    if (u->blocks) return true;
    for (size_t k = 0; k < f->n; k++)
        if (u->se[first + k] > 0) return true;
    return false;
}

/* What all analyses of one profile share. */
struct common {
    struct mro_pdf_axis axis;
    const struct mro_pdf_options *o;
    double damping_A2, density_per_nm3, slow;
    size_t first; /* point of the profile that the axis begins at */
};

/* One more analysis with something changed; numbers are NaN where it fails. */
static void again(const struct common *c, const struct mro_pdf_places *places, const struct mro_pdf_windows *w,
                  int background, double slow, size_t n, const double *values, double number[PDF_NUMBERS])
{
    struct mro_pdf_frame f;
    for (int i = 0; i < PDF_NUMBERS; i++) number[i] = NAN;
    if (mro_pdf_frame_make(&f, &c->axis, c->o, c->damping_A2, c->density_per_nm3, w, background, n, NULL)) return;
    double *S = malloc((f.n + f.nr) * sizeof *S), x[MRO_PDF_MAX_TERMS];
    if (S && mro_pdf_normalise(&f, values + c->first, 1, slow, f.density_A3, S, x)) {
        mro_pdf_transform(f.G, S, S + f.n);
        /* A shell's edges move with the resolution; its area must not lose them. */
        mro_pdf_read(&f, S, S + f.n, places, number);
    }
    free(S);
    mro_pdf_frame_release(&f);
}

struct analysis {
    double value[PDF_NUMBERS], se[PDF_NUMBERS], systematic[MRO_PDF_CHOICES][PDF_NUMBERS];
    double chance[1 + MRO_PDF_SMALL]; /* mean over the draws of what is found in noise alone */
    double dof;
};

/* Of two changes the one of the larger size; NaN where one is not known. */
static double larger(double a, double b) { return isnan(a) || isnan(b) ? NAN : fabs(b) > fabs(a) ? b : a; }

static struct mro_pdf_number number_of(const struct analysis *a, size_t which)
{
    struct mro_pdf_number v = mro_pdf_number_of(a->value[which], a->se[which], a->dof);
    for (int c = 0; c < MRO_PDF_CHOICES; c++) v.systematic[c] = a->systematic[c][which];
    return v;
}

/* Root mean square of G with the noise taken out, from the mean square. */
static struct mro_pdf_number oscillation_of(const struct analysis *a, double noise)
{
    const double t = gsl_cdf_tdist_Pinv(0.975, fmin(a->dof, 1e6));
    const double square = a->value[PDF_SQUARE] - noise, se = a->se[PDF_SQUARE];
    struct mro_pdf_number v = { sqrt(fmax(0, square)), NAN, { NAN, NAN }, { NAN, NAN, NAN } };
    if (!isfinite(square)) v.value = NAN;
    if (isfinite(se)) {
        v.ci95[0] = sqrt(fmax(0, square - t * se));
        v.ci95[1] = sqrt(fmax(0, square + t * se));
        v.se = v.value > 0 ? se / (2 * v.value) : NAN;
    }
    for (int c = 0; c < MRO_PDF_CHOICES; c++)
        v.systematic[c] = v.value > 0 ? a->systematic[c][PDF_SQUARE] / (2 * v.value) : NAN;
    return v;
}

static enum mro_code keep_curves(struct mro_pdf_result *r, const struct mro_pdf_frame *f, const double *S,
                                 const double *G, struct mro_error *e)
{
    r->n = f->n;
    r->n_r = f->nr;
    r->Q = malloc(f->n * sizeof *r->Q);
    r->S = malloc(f->n * sizeof *r->S);
    r->S_se = malloc(f->n * sizeof *r->S_se);
    r->r_A = malloc(f->nr * sizeof *r->r_A);
    r->G = malloc(f->nr * sizeof *r->G);
    r->G_se = malloc(f->nr * sizeof *r->G_se);
    r->g = f->density_A3 > 0 ? malloc(f->nr * sizeof *r->g) : NULL;
    if (!r->Q || !r->S || !r->S_se || !r->r_A || !r->G || !r->G_se || (f->density_A3 > 0 && !r->g))
        return MRO_FAIL(e, MRO_EMEMORY, "curves of %zu points do not fit in memory", f->n + f->nr);
    if (f->n) { /* not of a table of G(r) */
        memcpy(r->Q, f->Q, f->n * sizeof *S);
        memcpy(r->S, S, f->n * sizeof *S);
    }
    memcpy(r->r_A, f->r, f->nr * sizeof *S);
    memcpy(r->G, G, f->nr * sizeof *S);
    for (size_t k = 0; k < f->n; k++) r->S_se[k] = NAN;
    for (size_t j = 0; j < f->nr; j++) {
        r->G_se[j] = NAN;
        if (r->g) r->g[j] = 1 + G[j] / (4 * M_PI * f->density_A3 * f->r[j]);
    }
    return MRO_OK;
}

static enum mro_code keep_fit(struct mro_pdf_result *r, const struct mro_pdf_frame *f, const double *v,
                              const double *se, const double x[MRO_PDF_MAX_TERMS], struct mro_error *e)
{
    r->n_profile = f->n;
    r->s_inv_nm = malloc(f->n * sizeof *r->s_inv_nm);
    r->intensity = malloc(f->n * sizeof *r->intensity);
    r->intensity_se = malloc(f->n * sizeof *r->intensity_se);
    r->fit = malloc(f->n * sizeof *r->fit);
    if (!r->s_inv_nm || !r->intensity || !r->intensity_se || !r->fit)
        return MRO_FAIL(e, MRO_EMEMORY, "a fit of %zu points does not fit in memory", f->n);
    r->N = 1 / x[0];
    r->background = f->terms > 1 ? x[1] / x[0] : 0;
    for (size_t k = 0; k < f->n; k++) {
        double S = 1 - f->ratio[k];
        for (size_t i = 1; i < f->terms; i++) S += x[i] * f->basis[i * f->n + k];
        r->s_inv_nm[k] = f->s_inv_nm[k];
        r->intensity[k] = v[k];
        r->intensity_se[k] = se[k];
        r->fit[k] = (1 - S) * f->f1_2[k] / x[0]; /* the intensity that has S = 1 */
    }
    return MRO_OK;
}

/* Root mean square of what the low r misses the density's line by, over the line; `scale` (1/N): without what noise of
 * the intensities adds to it, 0: with it. */
static double low_r_miss(const struct mro_pdf_frame *f, const double *S, double density, double scale)
{
    double square = 0, line = 0;
    for (size_t j = 0; j < f->low->nr; j++) {
        const double *T = f->low->rows + j * f->n, want = -4 * M_PI * density * mro_pdf_r(f->low, j);
        double G = f->low->low0[j] + f->low->low1[j] * S[0];
        for (size_t k = 0; k < f->n; k++) G += T[k] * (S[k] - 1);
        square += (G - want) * (G - want);
        if (j < f->low_rules) square -= scale * scale * f->noise[j];
        line += want * want;
    }
    return sqrt(fmax(0, square) / line);
}

/* The size in S that the slow background may have. Inelastic scattering can be as strong as elastic, and falls about as
 * <f>^2 does: what is not let into the background is taken for elastic, so that S and all shells come out too low. Then
 * G at low r misses the line of the density. Where it does not, freedom would only add errors. */
static double slow_for(double miss)
{
    const double t = fmin(1, fmax(0, log(miss / GOOD_MISFIT) / log(BAD_MISFIT / GOOD_MISFIT)));
    return MRO_PDF_SLOW_LEAST * pow(MRO_PDF_SLOW_MOST / MRO_PDF_SLOW_LEAST, t);
}

/* Everything that is known of the quality of S(Q): its tail, and the low r. */
static void judge(struct mro_pdf_result *r, const struct mro_pdf_frame *f, const double *S, double density)
{
    double sum = 0;
    for (size_t k = f->tail; k < f->n; k++) sum += S[k];
    r->tail_mean = sum / (double)(f->n - f->tail);
    r->low_r_misfit = density > 0 ? low_r_miss(f, S, density, 0) : NAN;
}

static void find_coordination(const struct mro_pdf_frame *f, const double *G, double r1, const struct mro_pdf_result *r,
                              struct mro_pdf_places *p, char ***notes, size_t *n_notes)
{
    p->coordination[0] = p->coordination[1] = 0;
    if (r->n_shells == 0) return;
    if (!(f->density_A3 > 0) || r->density_estimated) {
        mro_note(notes, n_notes, "the coordination number needs the density; give --density in atoms per nm^3");
        return;
    }
    if (f->normalise && fabs(r->tail_mean - 1) > 0.02) {
        mro_note(notes, n_notes,
                 "the coordination number is not given: S(Q) ends at a mean of %.3f, more than 2 %% from 1",
                 r->tail_mean);
        return;
    }
    if (r->low_r_misfit > 0.3) {
        mro_note(
            notes, n_notes,
            "the coordination number is not given: below the first shell G(r) misses the density's line by %.0f %%",
            100 * r->low_r_misfit);
        return;
    }
    /* From half way between r_min and the first shell to the first minimum of g after it. */
    double least = INFINITY, at = 0;
    for (size_t j = 0; j < f->nr && f->r[j] < 1.75 * r1; j++) {
        const double g = 1 + G[j] / (4 * M_PI * f->density_A3 * f->r[j]);
        if (f->r[j] <= r1 || g >= least) continue;
        least = g;
        at = f->r[j];
    }
    p->coordination[0] = 0.72 * r1;
    p->coordination[1] = at;
}

static enum mro_code connect(struct mro_pdf_result *r, const struct mro_pdf_frame *f, double Q_max,
                             const struct mro_pdf_options *o, struct mro_error *e)
{
    struct mro_pdf_connection *c = &r->connection;
    double R = o->connection_R_A;
    *c = (struct mro_pdf_connection){ .R_A = NAN };
    for (int i = 0; i < MRO_PDF_MODES; i++) c->mode[i].area = NAN;
    if (R < 0) return MRO_OK;
    if (r->n_shells < 2 || !(f->density_A3 > 0)) {
        mro_note(&r->warnings, &r->n_warnings, "the second shell was not decomposed: %s",
                 r->n_shells < 2 ? "G(r) shows no two shells" : "it needs the density");
        return MRO_OK;
    }
    if (R == 0) { /* first moment of the first shell */
        double sum = 0, moment = 0;
        for (size_t j = 0; j < f->nr; j++) {
            if (f->r[j] < r->windows.shell_A[0][0] || f->r[j] > r->windows.shell_A[0][1]) continue;
            sum += fmax(0, r->G[j]);
            moment += fmax(0, r->G[j]) * f->r[j];
        }
        R = moment / sum;
    }
    const double lo = R, hi = 2.3 * R, step = M_PI / (2 * Q_max);
    const size_t n = (size_t)((hi - lo) / step) + 1;
    if (hi > f->r[f->nr - 1] || n < 8 || n > 200) {
        mro_note(&r->warnings, &r->n_warnings,
                 "the second shell was not decomposed: G(r) to %.1f Angstrom and Q to %.1f 1/Angstrom do not reach",
                 f->r[f->nr - 1], Q_max);
        return MRO_OK;
    }
    double *room = calloc(n * (2 + n + f->nt), sizeof *room);
    if (room == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the second shell's %zu points do not fit in memory", n);
    double *x = room, *G = room + n, *C = G + n, *T = C + n * n;
    /* Errors of G from those of S, scaled so that their mean is that of the draws, which holds what neighbouring Q
     * share. */
    double have = 0, want = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = lo + (double)i * step;
        G[i] = mro_pdf_at(f->r, r->G, f->nr, x[i]);
        const double se = mro_pdf_at(f->r, r->G_se, f->nr, x[i]);
        want += se * se;
        const size_t row = (size_t)fmin((double)f->nr - 1, x[i] / o->r_step_A - 0.5);
        for (size_t k = 0; k < f->nt; k++) T[i * f->nt + k] = f->G->rows[row * f->nt + k] * r->S_se[k];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < f->nt; k++) sum += T[i * f->nt + k] * T[j * f->nt + k];
            C[i * n + j] = sum;
            if (i == j) have += sum;
        }
    const bool known = isfinite(want) && want > 0 && have > 0;
    for (size_t i = 0; i < n * n; i++) C[i] = known ? C[i] * want / have : (i % (n + 1) ? 0 : 1e-4);
    struct mro_pdf_second_shell shell = { n, x, G, C, Q_max, r->damping_A2, r->damping, f->density_A3 * 1000, R };
    struct mro_error why;
    const enum mro_code rc = mro_pdf_connect_with(mro_pdf_tables_kernels(f->tables), &shell, c, &why);
    free(room);
    if (rc == MRO_EMEMORY) return MRO_FAIL(e, rc, "%s", why.message);
    if (rc) {
        mro_note(&r->warnings, &r->n_warnings, "the second shell was not decomposed: %s", why.message);
        return MRO_OK;
    }
    if (!known) {
        for (int i = 0; i < MRO_PDF_MODES; i++) c->mode[i].area_ci95[0] = c->mode[i].area_ci95[1] = NAN;
        c->together.area_ci95[0] = c->together.area_ci95[1] = NAN;
    }
    if (!c->separable)
        mro_note(&r->warnings, &r->n_warnings,
                 "modes of 3 and of 2 shared atoms are not separable: %.2f Angstrom apart, at a resolution of %.2f "
                 "Angstrom; only their sum is known",
                 (sqrt(3) - sqrt(8.0 / 3)) * R, c->resolution_A);
    return MRO_OK;
}

/* Chance of finding number `which` or more in a search through noise alone, whose finds have a mean and a standard
 * deviation over the draws (taken as a gamma distribution). A ripple of the transform moves when the largest Q does, so
 * that no more of it counts than there is with both. */
static double chance_of(const struct analysis *a, size_t which, size_t search)
{
    const double value = fmin(a->value[which], a->value[which] + a->systematic[MRO_PDF_BY_S_MAX][which]);
    const double mean = a->chance[search], sd = a->se[PDF_CHANCE + search], dof = a->dof;
    if (!(mean > 0 && sd > 0)) return NAN;
    const double p = value > 0 ? gsl_cdf_gamma_Q(value, mean * mean / (sd * sd), sd * sd / mean) : 1;
    return dof < 1e6 && p > 0 && p < 1 ? gsl_cdf_tdist_Q(gsl_cdf_ugaussian_Qinv(p), dof) : p;
}

static void fill_small(struct mro_pdf_result *r, const struct analysis *a, const struct mro_pdf_places *p)
{
    static const double near_A[MRO_PDF_SMALL] = { 4, 7 };
    for (int k = 0; k < MRO_PDF_SMALL; k++) {
        struct mro_pdf_small *m = &r->small[k];
        *m = (struct mro_pdf_small){ near_A[k], NAN, NAN, NAN, NAN };
        if (!(p->small[k][0] > 0)) continue;
        m->r_A = p->small[k][0];
        m->height = a->value[PDF_SMALL + k];
        m->se = a->se[PDF_SMALL + k];
        m->p = chance_of(a, PDF_SMALL + (size_t)k, 1 + (size_t)k);
    }
    struct mro_pdf_split *s = &r->second;
    *s = (struct mro_pdf_split){ false, { NAN, NAN }, NAN, NAN, NAN, NAN };
    if (!(p->split[0] > 0)) return;
    s->r_A[0] = p->split[0];
    s->r_A[1] = p->split[1];
    s->splitting_A = p->split[1] - p->split[0];
    s->dip = a->value[PDF_SPLIT];
    s->dip_se = a->se[PDF_SPLIT];
    s->p = chance_of(a, PDF_SPLIT, 0);
    s->split = s->p < 0.05;
}

static void note_density(struct mro_pdf_result *r, const struct mro_pdf_options *o)
{
    const double guess = mro_density_estimate(&o->composition);
    r->density_per_nm3 = o->density_per_nm3;
    if (o->density_per_nm3 > 0) {
        if (guess > 0 && fabs(log(o->density_per_nm3 / guess)) > log(1.4))
            mro_note(&r->warnings, &r->n_warnings,
                     "a density of %g atoms per nm^3 is far from %.0f, which the volumes of the elements give",
                     o->density_per_nm3, guess);
        return;
    }
    r->density_per_nm3 = guess;
    r->density_estimated = true;
    if (guess > 0)
        mro_note(
            &r->warnings, &r->n_warnings,
            "the density was estimated from the volumes of the elements as %.1f atoms per nm^3 (within some 8 %%); "
            "give --density",
            guess);
    else
        mro_note(&r->warnings, &r->n_warnings,
                 "the density is not known and cannot be estimated for this composition; g(r) and areas in atoms are "
                 "left out; give --density");
}

/* A background of a higher degree than r_min Q / pi would fit what atoms give (Juhas et al., J. Appl. Cryst. 46 (2013)
 * 560). */
static int degree_of(const struct mro_pdf_options *o, double density, double r_min_A, double Q)
{
    const int most = density > 0 ? (int)fmax(1, r_min_A * Q / M_PI) : ALONE_DEGREE;
    return o->background < most ? o->background : most;
}

static enum mro_code measure(const struct mro_profile *p, const struct mro_profile *shifted, const struct points *t,
                             const struct mro_pdf_source *u, const char *name, const struct mro_pdf_options *o,
                             struct mro_pdf_tables *tables, struct mro_pdf_result *r, struct mro_error *e)
{
    struct ranges g = { 0 };
    struct mro_pdf_frame f = { 0 };
    struct mro_pdf_places places = { .beyond = { o->beyond_A[0], o->beyond_A[1] } };
    struct analysis a;
    double x[MRO_PDF_MAX_TERMS], *S = NULL, *numbers = NULL;
    enum mro_code rc;
    r->windows = o->fixed;
    MRO_TRY(choose_ranges(p, t, name, o, &r->windows, &g, e));
    note_density(r, o);
    if (p->quantity == MRO_QUANTITY_INTENSITY && o->composition.n && fabs(o->composition.sum - 100) > 0.6 &&
        fabs(o->composition.sum - 100) < 25)
        mro_note(&r->warnings, &r->n_warnings, "the numbers of the composition add up to %g, not to 100",
                 o->composition.sum);
    const double density = r->density_per_nm3 > 0 ? r->density_per_nm3 : 0;
    const double Q_top = r->windows.s_inv_nm[1] * TO_Q;
    r->damping = o->damping;
    r->damping_A2 =
        o->damping == MRO_DAMPING_GAUSSIAN && o->damping_A2 == 0 ? log(10) / (Q_top * Q_top) : o->damping_A2;
    r->s_end_inv_nm = t->s[g.end - 1];
    r->aperture = g.aperture;
    if (g.aperture)
        mro_note(&r->warnings, &r->n_warnings,
                 "the pattern is cut at s = %.3g 1/nm, as by an aperture; it is used to there", r->s_end_inv_nm);
    struct common c = { { tables, p->quantity == MRO_QUANTITY_INTENSITY, t->s + g.first, t->se + g.first,
                          t->f1_2 + g.first, t->ratio + g.first },
                        o,
                        r->damping_A2,
                        density,
                        MRO_PDF_SLOW_LEAST,
                        g.first };
    const double *v = t->v + g.first;
    r->background_degree = degree_of(o, density, r->windows.r_min_A, r->s_end_inv_nm * TO_Q);
    rc = mro_pdf_frame_make(&f, &c.axis, o, r->damping_A2, density, &r->windows, r->background_degree, g.end - g.first,
                            e);
    if (rc) return rc;
    r->windows.s_inv_nm[1] = f.s_inv_nm[f.nt - 1];
    const double Q_max = f.Q[f.nt - 1];
    r->resolution_A = mro_pdf_resolution(o->damping, r->damping_A2, Q_max);
    S = malloc((f.n + f.nr) * sizeof *S);
    numbers = malloc((size_t)o->draws * PDF_NUMBERS * sizeof *numbers);
    if (S == NULL || numbers == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "%d draws do not fit in memory", o->draws);
        goto done;
    }
    if (r->windows.background_size > 0)
        c.slow = r->windows.background_size;
    else if (f.low_rules && mro_pdf_normalise(&f, v, 1, c.slow, f.density_A3, S, x)) {
        const double miss = low_r_miss(&f, S, f.density_A3, x[0]);
        c.slow = slow_for(miss);
        if (miss > INELASTIC_MISFIT)
            mro_note(&r->warnings, &r->n_warnings,
                     "inelastic scattering is as strong as elastic, or stronger: heights and areas of shells can be 10 "
                     "to 40 %% too low, see their systematic part");
    }
    r->windows.background_size = c.slow;
    if (!mro_pdf_normalise(&f, v, 1, c.slow, f.density_A3, S, x)) {
        rc = MRO_FAIL(
            e, MRO_EDATA,
            "the intensities of '%s' cannot be normalised with this composition: the fit gives no positive scale",
            name);
        goto done;
    }
    mro_pdf_transform(f.G, S, S + f.n);
    rc = keep_curves(r, &f, S, S + f.n, e);
    if (rc == MRO_OK && f.normalise) rc = keep_fit(r, &f, v, c.axis.se, x, e);
    if (rc) goto done;
    judge(r, &f, S, f.density_A3);

    const double Q1 = t->s[g.peak] * TO_Q, r1 = 2.5 * M_PI / Q1;
    if (o->fsdp_Q[1] > o->fsdp_Q[0])
        memcpy(r->windows.fsdp_Q, o->fsdp_Q, sizeof o->fsdp_Q);
    else if (!(r->windows.fsdp_Q[1] > 0))
        mro_pdf_find_peak(&f, S, Q1, r->windows.fsdp_Q);
    if (!(r->windows.shell_A[0][1] > 0)) mro_pdf_find_shells(&f, r->G, r1, r->resolution_A, r->windows.shell_A);
    for (r->n_shells = 0; r->n_shells < MRO_PDF_SHELLS && r->windows.shell_A[r->n_shells][1] > 0;) r->n_shells++;
    if (r->n_shells == 0) mro_note(&r->warnings, &r->n_warnings, "G(r) shows no first shell near %.2f Angstrom", r1);
    places.w = r->windows;
    places.density_A3 = f.density_A3;
    mro_pdf_find_small(&f, r->G, &places);
    find_coordination(&f, r->G, r1, r, &places, &r->warnings, &r->n_warnings);
    r->coordination_to_A = places.coordination[1] > 0 ? places.coordination[1] : NAN;
    memcpy(r->beyond_A, o->beyond_A, sizeof r->beyond_A);
    mro_pdf_read(&f, S, r->G, &places, a.value);

    for (int i = 0; i < PDF_NUMBERS; i++) a.se[i] = NAN;
    for (int i = 0; i <= MRO_PDF_SMALL; i++) a.chance[i] = NAN;
    a.dof = INFINITY;
    r->draws = 0;
    double noise = 0;
    if (any_error(u, &f, g.first)) {
        rc = mro_pdf_draw(&f, g.first, u, o, c.slow, &places, v, r->G, r->S_se, r->G_se, numbers, e);
        if (rc) goto done;
        r->draws = o->draws;
        r->blocks = u->blocks;
        if (u->blocks) a.dof = (double)u->blocks - 1;
        for (size_t i = 0; i < PDF_NUMBERS; i++)
            a.se[i] = sd_of(numbers, (size_t)o->draws, i, i < PDF_CHANCE ? NULL : &a.chance[i - PDF_CHANCE]);
        size_t n = 0;
        for (size_t j = 0; j < f.nr; j++) {
            if (f.r[j] < o->beyond_A[0] || f.r[j] > o->beyond_A[1]) continue;
            noise += r->G_se[j] * r->G_se[j];
            n++;
        }
        noise /= (double)n;
    } else {
        mro_note(&r->warnings, &r->n_warnings, "the profile has no errors, so no number has one");
    }
    r->dof = a.dof;

    /* What other choices give. */
    double other[PDF_NUMBERS];
    for (int choice = 0; choice < MRO_PDF_CHOICES; choice++)
        for (int i = 0; i < PDF_NUMBERS; i++) a.systematic[choice][i] = NAN;
    struct mro_pdf_windows w = r->windows;
    w.s_inv_nm[1] *= 0.9;
    again(&c, &places, &w, r->background_degree, c.slow, f.n, t->v, other);
    for (int i = 0; i < PDF_NUMBERS; i++) a.systematic[MRO_PDF_BY_S_MAX][i] = other[i] - a.value[i];
    if (f.normalise) {
        w = r->windows;
        w.tail_inv_nm *= 0.93;
        size_t end = g.first;
        while (end < g.end && t->s[end] <= fmax(0.93 * r->windows.fit_inv_nm[1], r->windows.s_inv_nm[1])) end++;
        again(&c, &places, &w, r->background_degree, c.slow, end - g.first, t->v, other);
        for (int i = 0; i < PDF_NUMBERS; i++) a.systematic[MRO_PDF_BY_FIT][i] = other[i] - a.value[i];
        /* A background of another degree, and one of another freedom. */
        const double middle = sqrt(MRO_PDF_SLOW_LEAST * MRO_PDF_SLOW_MOST);
        const int degree[2] = { r->background_degree > 1 ? r->background_degree - 1 : r->background_degree + 1,
                                r->background_degree };
        for (int k = 0; k < 2; k++) {
            again(&c, &places, &r->windows, degree[k], k ? c.slow * (c.slow > middle ? 1.0 / 3 : 3) : c.slow, f.n, t->v,
                  other);
            for (int i = 0; i < PDF_NUMBERS; i++)
                a.systematic[MRO_PDF_BY_FIT][i] = larger(a.systematic[MRO_PDF_BY_FIT][i], other[i] - a.value[i]);
        }
    }
    if (shifted && shifted->intensity) {
        /* Its corners may lie a point nearer or farther. */
        double *moved = malloc((t->n + p->n) * sizeof *moved), *all = moved ? moved + t->n : NULL;
        if (moved) {
            for (size_t k = 0; k < p->n; k++) all[k] = k < shifted->n ? shifted->intensity[k] : NAN;
            gather(p, t, all, moved);
            for (size_t k = 0; k < t->n; k++)
                if (!isfinite(moved[k])) moved[k] = t->v[k];
            again(&c, &places, &r->windows, r->background_degree, c.slow, f.n, moved, other);
            for (int i = 0; i < PDF_NUMBERS; i++) a.systematic[MRO_PDF_BY_CENTRE][i] = other[i] - a.value[i];
        }
        free(moved);
    }

    r->fsdp.Q = number_of(&a, PDF_FSDP_Q);
    r->fsdp.first_moment = number_of(&a, PDF_FSDP_MOMENT);
    r->fsdp.area = number_of(&a, PDF_FSDP_AREA);
    r->fsdp.fwhm = number_of(&a, PDF_FSDP_FWHM);
    for (size_t k = 0; k < r->n_shells; k++) {
        r->shell[k].r_A = number_of(&a, PDF_SHELL + 3 * k);
        r->shell[k].height = number_of(&a, PDF_SHELL + 3 * k + 1);
        r->shell[k].area = number_of(&a, PDF_SHELL + 3 * k + 2);
    }
    double peak = 0;
    for (size_t k = 0; k < f.n && f.Q[k] < 1.3 * Q1; k++) peak = fmax(peak, S[k]);
    if (S[0] > CUT_PEAK * peak) {
        const struct mro_pdf_number none = { NAN, NAN, { NAN, NAN }, { NAN, NAN, NAN } };
        r->fsdp.first_moment = r->fsdp.area = r->fsdp.fwhm = none;
        mro_note(&r->warnings, &r->n_warnings,
                 "the profile begins at s = %.3g 1/nm, within the first sharp peak: its moment, area and width are not "
                 "given, and G(r) lacks what is below; check the mask of the beam stop in the figure",
                 f.s_inv_nm[0]);
    }
    r->coordination = number_of(&a, PDF_COORDINATION);
    r->oscillation = oscillation_of(&a, noise);
    fill_small(r, &a, &places);
    rc = connect(r, &f, Q_max, o, e);
done:
    free(S);
    free(numbers);
    mro_pdf_frame_release(&f);
    return rc;
}

/* G(r) that was given: only what is read off it. */
static enum mro_code measure_G(const struct mro_profile *p, const char *name, const struct mro_pdf_options *o,
                               struct mro_pdf_result *r, struct mro_error *e)
{
    struct mro_pdf_frame f = { 0 };
    struct mro_pdf_places places = { .beyond = { o->beyond_A[0], o->beyond_A[1] } };
    struct analysis a;
    const double r_end = p->n ? p->r_A[p->n - 1] : 0;
    if (p->n < 32 || !(r_end > 4))
        return MRO_FAIL(e, MRO_EDATA, "G(r) of '%s' ends at %g Angstrom; its shells need more", name, r_end);
    note_density(r, o);
    f.nr = (size_t)(fmin(o->r_max_A, r_end) / o->r_step_A);
    f.density_A3 = r->density_per_nm3 > 0 ? r->density_per_nm3 / 1000 : 0;
    f.r = calloc(2 * f.nr, sizeof *f.r);
    if (f.r == NULL) return MRO_FAIL(e, MRO_EMEMORY, "G(r) of %zu points does not fit in memory", f.nr);
    double *G = f.r + f.nr;
    for (size_t j = 0; j < f.nr; j++) {
        f.r[j] = (double)(j + 1) * o->r_step_A;
        G[j] = mro_pdf_at(p->r_A, p->intensity, p->n, f.r[j]);
        if (!isfinite(G[j])) G[j] = -4 * M_PI * f.density_A3 * f.r[j]; /* before the table begins there are no atoms */
    }
    enum mro_code rc = keep_curves(r, &f, NULL, G, e);
    if (rc) goto done;
    /* The first shell is the highest point. */
    double r1 = 0, top = 0;
    for (size_t j = 0; j < f.nr && f.r[j] < 4.5; j++) {
        if (!(f.r[j] > 1.2 && G[j] > top)) continue;
        top = G[j];
        r1 = f.r[j];
    }
    r->windows = o->fixed;
    if (!(r->windows.shell_A[0][1] > 0) && r1 > 0) mro_pdf_find_shells(&f, G, r1, 0.3, r->windows.shell_A);
    while (r->n_shells < MRO_PDF_SHELLS && r->windows.shell_A[r->n_shells][1] > 0) r->n_shells++;
    places.w = r->windows;
    mro_pdf_find_small(&f, G, &places);
    mro_pdf_read(&f, NULL, G, &places, a.value);
    for (int i = 0; i <= MRO_PDF_SMALL; i++) a.chance[i] = NAN;
    a.dof = INFINITY;
    for (int i = 0; i < PDF_NUMBERS; i++) {
        a.se[i] = NAN;
        for (int c = 0; c < MRO_PDF_CHOICES; c++) a.systematic[c][i] = NAN;
    }
    for (size_t k = 0; k < r->n_shells; k++) {
        r->shell[k].r_A = number_of(&a, PDF_SHELL + 3 * k);
        r->shell[k].height = number_of(&a, PDF_SHELL + 3 * k + 1);
        r->shell[k].area = number_of(&a, PDF_SHELL + 3 * k + 2);
    }
    memcpy(r->beyond_A, o->beyond_A, sizeof r->beyond_A);
    r->dof = INFINITY;
    r->oscillation = oscillation_of(&a, 0);
    r->fsdp.Q = r->fsdp.first_moment = r->fsdp.area = r->fsdp.fwhm = r->coordination = number_of(&a, PDF_COORDINATION);
    fill_small(r, &a, &places);
    r->coordination_to_A = r->low_r_misfit = r->tail_mean = r->s_end_inv_nm = r->N = r->background = NAN;
    r->resolution_A = r->connection.R_A = NAN;
    for (int i = 0; i < MRO_PDF_MODES; i++) r->connection.mode[i].area = NAN;
    mro_note(&r->warnings, &r->n_warnings,
             "'%s' holds G(r) without its range of Q and its errors: only shells are read off it", name);
done:
    mro_pdf_frame_release(&f);
    return rc;
}

enum mro_code mro_pdf_measure(const struct mro_profile *p, const struct mro_profile *shifted, const char *name,
                              const struct mro_pdf_options *o, struct mro_pdf_result *r, struct mro_error *e)
{
    struct points t = { 0 };
    struct mro_pdf_source u = { 0 };
    struct mro_pdf_tables *own = NULL;
    memset(r, 0, sizeof *r);
    MRO_TRY(check(p, name, o, e));
    enum mro_code rc = MRO_OK;
    if (p->quantity == MRO_QUANTITY_G) {
        rc = measure_G(p, name, o, r, e);
    } else {
        if (o->tables == NULL) rc = mro_pdf_tables_new(&own, e);
        if (rc == MRO_OK) rc = points_of(p, &o->composition, &t, e);
        if (rc == MRO_OK) rc = source_of(&u, p, &t, e);
        if (rc == MRO_OK) rc = measure(p, shifted, &t, &u, name, o, own ? own : o->tables, r, e);
        mro_pdf_source_release(&u);
        points_release(&t);
        mro_pdf_tables_free(own);
    }
    if (rc) mro_pdf_result_release(r);
    return rc;
}

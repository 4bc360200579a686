/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What of a profile is measured: its points, where the first sharp peak stands, the range that is fitted and
 * transformed, and what errors come from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/pdf/pdf_internal.h"

#define LEAST_RISE 0.25 /* of the first sharp peak in S */
#define HALF_RING 0.5
#define SHADOW 0.5     /* of the intensity: less is the shadow of a beam stop */
#define END_SHARE 0.75 /* of what the profile reaches is transformed; the rest pins the normalisation */
#define TAIL_SHARE 0.7 /* where the tail begins */

void mro_pdf_points_release(struct mro_pdf_points *t)
{
    free(t->room);
    free(t->from);
    memset(t, 0, sizeof *t);
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

enum mro_code mro_pdf_points_of(const struct mro_profile *p, const struct mro_composition *c, struct mro_pdf_points *t,
                                struct mro_error *e)
{
    memset(t, 0, sizeof *t);
    const size_t by = (p->n + MRO_PDF_POINTS - 1) / MRO_PDF_POINTS;
    t->room = calloc(5 * p->n, sizeof *t->room);
    t->from = calloc(p->n + 1, sizeof *t->from);
    if (t->room == NULL || t->from == NULL) {
        mro_pdf_points_release(t);
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

void mro_pdf_gather(const struct mro_profile *p, const struct mro_pdf_points *t, const double *value, double *out)
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
static bool guess_S(const struct mro_pdf_points *t, size_t end, double *y)
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
static size_t aperture_at(const struct mro_pdf_points *t)
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
static size_t whole_rings(const struct mro_profile *p, const struct mro_pdf_points *t)
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

enum mro_code mro_pdf_choose_ranges(const struct mro_profile *p, const struct mro_pdf_points *t, const char *name,
                                    const struct mro_pdf_options *o, struct mro_pdf_windows *w,
                                    struct mro_pdf_ranges *g, struct mro_error *e)
{
    if (t->n < 32)
        return MRO_FAIL(e, MRO_EDATA, "the profile of '%s' has %zu usable points; S(Q) needs 32", name, t->n);
    const bool normalise = p->quantity == MRO_QUANTITY_INTENSITY;
    double *y = malloc(2 * t->n * sizeof *y), *smooth = y ? y + t->n : NULL;
    if (y == NULL) return MRO_FAIL(e, MRO_EMEMORY, "a profile of %zu points does not fit in memory", t->n);
    const double dQ = (t->s[t->n - 1] - t->s[0]) * MRO_PDF_TO_Q / (double)(t->n - 1);
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
                            "give a smaller `s_max`",
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
            name, t->s[g->end - 1], t->s[g->end - 1] * MRO_PDF_TO_Q, t->s[g->peak]);
    const double last = t->s[g->end - 1];
    w->fit_inv_nm[0] = t->s[g->first];
    w->fit_inv_nm[1] = last;
    w->s_inv_nm[0] = t->s[g->first];
    if (o->s_max_inv_nm > 0) {
        if (o->s_max_inv_nm > last * (1 + 1e-6))
            return MRO_FAIL(e, MRO_EARG, "`s_max` %g 1/nm is beyond %.4g 1/nm, which '%s' reaches%s", o->s_max_inv_nm,
                            last, name, g->aperture ? " inside of its aperture" : "");
        w->s_inv_nm[1] = o->s_max_inv_nm;
    } else if (!(w->s_inv_nm[1] > 0)) {
        w->s_inv_nm[1] = normalise ? END_SHARE * last : last;
    }
    if (w->s_inv_nm[1] < 1.3 * t->s[g->peak])
        return MRO_FAIL(e, MRO_EARG, "s to %.4g 1/nm is too short for G(r) of '%s', whose first sharp peak is at %.4g",
                        w->s_inv_nm[1], name, t->s[g->peak]);
    if (!(w->tail_inv_nm > 0)) w->tail_inv_nm = TAIL_SHARE * last;
    const double Q1 = t->s[g->peak] * MRO_PDF_TO_Q, r1 = 2.5 * M_PI / Q1;
    if (o->r_min_A > 0)
        w->r_min_A = o->r_min_A;
    else if (!(w->r_min_A > 0))
        w->r_min_A = fmax(0.9, fmin(0.62 * r1, 1.8));
    if (w->r_min_A > 0.9 * r1)
        return MRO_FAIL(e, MRO_EARG, "`r_min` %g Angstrom lies within the first shell of '%s', near %.2f Angstrom",
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

/* Friedel mates share their speckle: they are one block. */
enum mro_code mro_pdf_source_of(struct mro_pdf_source *u, const struct mro_profile *p, const struct mro_pdf_points *t,
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
        mro_pdf_gather(p, t, one, u->mean + i * t->n);
        mro_pdf_gather(p, t, weight, u->weight + i * t->n);
    }
    free(one);
    mro_pdf_source_weigh(u);
    return MRO_OK;
}

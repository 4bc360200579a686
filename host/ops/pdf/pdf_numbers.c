/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is read off S(Q) and G(r). */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <string.h>

#include "ops/pdf/pdf_internal.h"

double mro_pdf_at(const double *x, const double *y, size_t n, double at)
{
    if (n < 2 || !(at >= x[0]) || !(at <= x[n - 1])) return NAN;
    size_t lo = 0, hi = n - 1;
    while (hi - lo > 1) {
        const size_t mid = (lo + hi) / 2;
        if (x[mid] <= at)
            lo = mid;
        else
            hi = mid;
    }
    const double t = (at - x[lo]) / (x[hi] - x[lo]);
    return y[lo] + t * (y[hi] - y[lo]);
}

double mro_pdf_weight(enum mro_damping damping, double damping_A2, double Q, double Q_max)
{
    if (Q > Q_max * (1 + 1e-12)) return 0;
    switch (damping) {
    case MRO_DAMPING_LORCH: {
        const double x = M_PI * Q / Q_max;
        return x > 1e-9 ? sin(x) / x : 1;
    }
    case MRO_DAMPING_GAUSSIAN: return exp(-damping_A2 * Q * Q);
    case MRO_DAMPING_NONE: break;
    }
    return 1;
}

double mro_pdf_resolution(enum mro_damping damping, double damping_A2, double Q_max)
{
    /* Half height of (1/pi) int_0^Qmax w cos(Q x) dQ, by halving. */
    enum { STEPS = 400 };
    double lo = 0, hi = 2 * M_PI / Q_max, top = 0, weight[STEPS];
    for (int i = 0; i < STEPS; i++) weight[i] = mro_pdf_weight(damping, damping_A2, (i + 0.5) * Q_max / STEPS, Q_max);
    for (int turn = 0; turn < 40; turn++) {
        const double x = turn ? (lo + hi) / 2 : 0, step = Q_max / STEPS * x, twice = 2 * cos(step);
        double v = 0, before = cos(step / 2), here = before; /* cosines of neighbouring Q follow from each other */
        for (int i = 0; i < STEPS; i++) {
            const double next = twice * here - before;
            v += weight[i] * here;
            before = here;
            here = next;
        }
        if (turn == 0)
            top = v;
        else if (v > top / 2)
            lo = x;
        else
            hi = x;
    }
    return lo + hi;
}

struct mro_pdf_number mro_pdf_number_of(double value, double se, double dof)
{
    struct mro_pdf_number v = { value, se, { NAN, NAN }, { NAN, NAN, NAN } };
    if (isfinite(value) && isfinite(se)) {
        const double t = dof >= 1 && dof < 1e6 ? gsl_cdf_tdist_Pinv(0.975, dof) : 1.959963984540054;
        v.ci95[0] = value - t * se;
        v.ci95[1] = value + t * se;
    }
    return v;
}

/* First index with x >= at; x rises. */
static size_t index_of(const double *x, size_t n, double at)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (x[mid] < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Top of the highest point in [lo, hi] by a parabola through it and its neighbours `reach` steps away. False when the
 * highest is at an end. */
static bool top_of(const double *x, const double *y, size_t n, double lo, double hi, size_t reach, double *at,
                   double *height)
{
    const size_t a = index_of(x, n, lo);
    size_t best = a;
    for (size_t i = a; i < n && x[i] <= hi; i++)
        if (y[i] > y[best]) best = i;
    if (best >= n) return false;
    *at = x[best];
    *height = y[best];
    if (best < a + 1 || best < reach || best + reach >= n || x[best + 1] > hi) return false;
    const double l = y[best - reach], m = y[best], r = y[best + reach], bend = l - 2 * m + r;
    const double h = (x[best + reach] - x[best - reach]) / 2;
    if (!(bend < 0)) return true;
    const double t = fmax(-1, fmin(1, (l - r) / (2 * bend)));
    *at = x[best] + t * h;
    *height = m - (l - r) * t / 4;
    return true;
}

/* The first sharp peak over a straight line between the ends of its window. The line rests on a few points at each
 * end, so that no single one of them decides. */
static void read_peak(const struct mro_pdf_frame *f, const double *S, const double window[2], double *number)
{
    const size_t a = index_of(f->Q, f->n, window[0]), b = index_of(f->Q, f->n, window[1] * (1 + 1e-12));
    for (int i = 0; i < 4; i++) number[PDF_FSDP_Q + i] = NAN;
    if (b < a + 9) return;
    const size_t rest = (b - a) / 12 > 1 ? (b - a) / 12 : 1;
    double base[2] = { 0, 0 }, where[2] = { 0, 0 };
    for (size_t i = 0; i < rest; i++) {
        base[0] += S[a + i] / (double)rest;
        where[0] += f->Q[a + i] / (double)rest;
        base[1] += S[b - 1 - i] / (double)rest;
        where[1] += f->Q[b - 1 - i] / (double)rest;
    }
    const double slope = (base[1] - base[0]) / (where[1] - where[0]);
    double area = 0, moment = 0, top = 0, width[2] = { NAN, NAN };
    size_t best = a;
    for (size_t i = a; i < b; i++) {
        const double y = S[i] - base[0] - slope * (f->Q[i] - where[0]);
        const double dQ = (f->Q[i + 1 < b ? i + 1 : i] - f->Q[i > a ? i - 1 : i]) / 2;
        area += y * dQ;
        moment += y * f->Q[i] * dQ;
        if (y > top) {
            top = y;
            best = i;
        }
    }
    if (!(area > 0) || best == a) return;
    number[PDF_FSDP_MOMENT] = moment / area;
    number[PDF_FSDP_AREA] = area;
    /* Position and height of the top from a parabola over its upper third: sums over many points, not one. */
    double m[5] = { 0 }, v[3] = { 0 };
    size_t used = 0;
    for (int side = 0; side < 2; side++) {
        for (size_t i = side ? best + 1 : best; i >= a && i < b; i += side ? 1 : (size_t)-1) {
            const double y = S[i] - base[0] - slope * (f->Q[i] - where[0]), x = f->Q[i] - f->Q[best];
            if (y < 0.67 * top) break;
            double power = 1;
            for (int k = 0; k < 5; k++, power *= x) {
                m[k] += power;
                if (k < 3) v[k] += power * y;
            }
            used++;
        }
    }
    double Q1 = f->Q[best];
    const double det =
        m[0] * (m[2] * m[4] - m[3] * m[3]) - m[1] * (m[1] * m[4] - m[2] * m[3]) + m[2] * (m[1] * m[3] - m[2] * m[2]);
    if (used >= 4 && fabs(det) > 0) {
        const double c0 = (v[0] * (m[2] * m[4] - m[3] * m[3]) - m[1] * (v[1] * m[4] - v[2] * m[3]) +
                           m[2] * (v[1] * m[3] - m[2] * v[2])) /
                          det;
        const double c1 = (m[0] * (v[1] * m[4] - v[2] * m[3]) - v[0] * (m[1] * m[4] - m[2] * m[3]) +
                           m[2] * (m[1] * v[2] - m[2] * v[1])) /
                          det;
        const double c2 = (m[0] * (m[2] * v[2] - m[3] * v[1]) - m[1] * (m[1] * v[2] - m[2] * v[1]) +
                           v[0] * (m[1] * m[3] - m[2] * m[2])) /
                          det;
        const double at = c2 < 0 ? -c1 / (2 * c2) : NAN;
        if (fabs(at) < 0.3 * (window[1] - window[0])) {
            Q1 += at;
            top = c0 - c1 * c1 / (4 * c2);
        }
    }
    number[PDF_FSDP_Q] = Q1;
    for (int side = 0; side < 2; side++) {
        double last = top;
        for (size_t i = best; i >= a && i < b; i += side ? 1 : (size_t)-1) {
            const double y = S[i] - base[0] - slope * (f->Q[i] - where[0]);
            if (y < top / 2 && i != best) {
                const size_t before = side ? i - 1 : i + 1;
                width[side] = f->Q[before] + (f->Q[i] - f->Q[before]) * (last - top / 2) / (last - y);
                break;
            }
            last = y;
        }
    }
    number[PDF_FSDP_FWHM] = width[1] - width[0];
}

void mro_pdf_read(const struct mro_pdf_frame *f, const double *S, const double *G, const struct mro_pdf_places *p,
                  double number[PDF_NUMBERS])
{
    for (int i = 0; i < PDF_NUMBERS; i++) number[i] = NAN;
    if (f->n) read_peak(f, S, p->w.fsdp_Q, number);
    const double step = f->nr > 1 ? f->r[1] - f->r[0] : 0;
    for (int k = 0; k < MRO_PDF_SHELLS; k++) {
        const double *window = p->w.shell_A[k];
        double at, height, area = 0;
        if (!(window[1] > window[0])) continue;
        for (size_t i = index_of(f->r, f->nr, window[0]); i < f->nr && f->r[i] <= window[1]; i++)
            area += fmax(0, G[i]) * step;
        number[PDF_SHELL + 3 * k + 2] = area;
        if (!top_of(f->r, G, f->nr, window[0], window[1], 2, &at, &height)) continue;
        number[PDF_SHELL + 3 * k] = at;
        number[PDF_SHELL + 3 * k + 1] = height;
    }
    if (p->split[0] > 0) {
        double at[2], height[2];
        const double dip = mro_pdf_at(f->r, G, f->nr, p->split[2]);
        number[PDF_SPLIT] =
            fmin(mro_pdf_at(f->r, G, f->nr, p->split[0]), mro_pdf_at(f->r, G, f->nr, p->split[1])) - dip;
        bool both = true;
        for (int i = 0; i < 2; i++) {
            const double half = fabs(p->split[2] - p->split[i]);
            both &= top_of(f->r, G, f->nr, p->split[i] - half, p->split[i] + half, 2, &at[i], &height[i]);
        }
        if (both) number[PDF_SPLIT + 1] = at[1] - at[0];
    }
    for (int k = 0; k < MRO_PDF_SMALL; k++)
        if (p->small[k][0] > 0)
            number[PDF_SMALL + k] =
                mro_pdf_at(f->r, G, f->nr, p->small[k][0]) - mro_pdf_at(f->r, G, f->nr, p->small[k][1]);
    if (p->coordination[1] > 0) {
        double sum = 0;
        for (size_t i = index_of(f->r, f->nr, p->coordination[0]); i < f->nr && f->r[i] < p->coordination[1]; i++)
            sum += (4 * M_PI * p->density_A3 * f->r[i] * f->r[i] + f->r[i] * G[i]) * step;
        number[PDF_COORDINATION] = sum;
    }
    double square = 0;
    size_t n = 0;
    for (size_t i = index_of(f->r, f->nr, p->beyond[0]); i < f->nr && f->r[i] <= p->beyond[1]; i++, n++)
        square += G[i] * G[i];
    if (n > 1) number[PDF_SQUARE] = square / (double)n;
}

void mro_pdf_find_peak(const struct mro_pdf_frame *f, const double *S, double Q1, double window[2])
{
    /* Smoothed over about 0.1 / Angstrom, so that a ripple is no minimum. */
    const size_t at = index_of(f->Q, f->n, Q1);
    const double dQ = f->n > 1 ? (f->Q[f->n - 1] - f->Q[0]) / (double)(f->n - 1) : 1;
    const size_t half = (size_t)fmax(1, 0.06 / dQ);
    window[0] = f->Q[0];
    window[1] = f->Q[f->n - 1];
    for (int side = 0; side < 2; side++) {
        double least = INFINITY;
        for (size_t i = at; i < f->n && fabs(f->Q[i] - Q1) < 0.55 * Q1; i += side ? 1 : (size_t)-1) {
            double sum = 0;
            size_t n = 0;
            for (size_t k = i > half ? i - half : 0; k <= i + half && k < f->n; k++, n++) sum += S[k];
            sum /= (double)n;
            if (sum < least) {
                least = sum;
                window[side] = f->Q[i];
            } else if (sum > least + 0.15 * (S[at] - least)) { /* risen again: the next peak, or the beam's tail */
                break;
            }
        }
    }
}

size_t mro_pdf_find_shells(const struct mro_pdf_frame *f, const double *G, double r1, double resolution_A,
                           double shell[MRO_PDF_SHELLS][2])
{
    struct {
        double lo, hi, top, at;
    } lobe[64];
    size_t lobes = 0, n = 0;
    memset(shell, 0, MRO_PDF_SHELLS * sizeof *shell);
    const size_t from = index_of(f->r, f->nr, 0.6 * r1);
    for (size_t i = from; i < f->nr && lobes < 64;) {
        while (i < f->nr && G[i] < 0) i++;
        const size_t a = i;
        double top = 0, at = 0;
        for (; i < f->nr && G[i] >= 0; i++) {
            if (!(G[i] > top)) continue;
            top = G[i];
            at = f->r[i];
        }
        if (i == a || i == f->nr) continue; /* the last lobe is cut */
        lobe[lobes].lo = f->r[a];
        lobe[lobes].hi = f->r[i - 1];
        lobe[lobes].top = top;
        lobe[lobes++].at = at;
    }
    size_t first = lobes;
    for (size_t i = 0; i < lobes; i++)
        if (lobe[i].at > 0.75 * r1 && lobe[i].at < 1.35 * r1 && (first == lobes || lobe[i].top > lobe[first].top))
            first = i;
    /* Lobes closer than shells of atoms can be are one shell; what is lower than the transform's ripple is none. */
    double last = 0;
    for (size_t i = first; i < lobes; i++) {
        if (n > 0 && lobe[i].at - last < 0.42 * r1) {
            shell[n - 1][1] = lobe[i].hi;
            continue;
        }
        if (n > 0 && (lobe[i].hi - lobe[i].lo < 0.5 * resolution_A || lobe[i].top < 1e-3 * lobe[first].top)) continue;
        if (n == MRO_PDF_SHELLS) break;
        shell[n][0] = lobe[i].lo;
        shell[n++][1] = lobe[i].hi;
        last = lobe[i].at;
    }
    return n;
}

/* Highest interior maximum of G in [lo, hi] that stands above minima to both sides within `reach`; the minima's
 * places come back too. False when there is none. */
static bool stands_out(const struct mro_pdf_frame *f, const double *G, double lo, double hi, double reach, size_t *top,
                       size_t side[2])
{
    double best = 0;
    for (size_t i = index_of(f->r, f->nr, lo); i + 1 < f->nr && f->r[i] <= hi; i++) {
        if (i == 0 || !(G[i] > G[i - 1] && G[i] >= G[i + 1])) continue;
        size_t low[2] = { i, i };
        for (int k = 0; k < 2; k++)
            for (size_t j = i; j < f->nr && fabs(f->r[j] - f->r[i]) < reach && G[j] <= G[i] + 1e-12;
                 j += k ? 1 : (size_t)-1)
                if (G[j] < G[low[k]]) low[k] = j;
        const double rise = G[i] - fmax(G[low[0]], G[low[1]]);
        if (!(rise > best)) continue;
        best = rise;
        *top = i;
        side[0] = low[0];
        side[1] = low[1];
    }
    return best > 0;
}

static const double near_A[MRO_PDF_SMALL] = { 4, 7 };
#define SMALL_WITHIN 0.5 /* of where small peaks are looked for */
#define SMALL_REACH 0.8  /* to either side for their minima */

/* The two highest maxima in [lo, hi], and what lies lowest between them: their r. Returns how far the lower one stands
 * above it; 0: there are no two. */
static double dip_of(const struct mro_pdf_frame *f, const double *G, double lo, double hi, double split[3])
{
    size_t top[2] = { 0, 0 };
    for (size_t i = index_of(f->r, f->nr, lo) + 1; i + 1 < f->nr && f->r[i] < hi; i++) {
        if (!(G[i] > G[i - 1] && G[i] >= G[i + 1])) continue;
        if (top[0] == 0 || G[i] > G[top[0]]) {
            top[1] = top[0];
            top[0] = i;
        } else if (top[1] == 0 || G[i] > G[top[1]]) {
            top[1] = i;
        }
    }
    if (top[1] == 0) return 0;
    const size_t a = top[0] < top[1] ? top[0] : top[1], b = top[0] < top[1] ? top[1] : top[0];
    size_t dip = a;
    for (size_t i = a; i <= b; i++)
        if (G[i] < G[dip]) dip = i;
    split[0] = f->r[a];
    split[1] = f->r[b];
    split[2] = f->r[dip];
    return fmin(G[a], G[b]) - G[dip];
}

void mro_pdf_chance(const struct mro_pdf_frame *f, const double *noise, const struct mro_pdf_places *p,
                    double number[PDF_NUMBERS])
{
    const double *w = p->w.shell_A[1];
    double split[3];
    number[PDF_CHANCE] = w[1] > w[0] ? dip_of(f, noise, w[0], w[1], split) : NAN;
    for (int k = 0; k < MRO_PDF_SMALL; k++) {
        size_t top, side[2];
        const bool found =
            stands_out(f, noise, near_A[k] - SMALL_WITHIN, near_A[k] + SMALL_WITHIN, SMALL_REACH, &top, side);
        number[PDF_CHANCE + 1 + k] = found ? noise[top] - fmax(noise[side[0]], noise[side[1]]) : 0;
    }
}

void mro_pdf_find_small(const struct mro_pdf_frame *f, const double *G, struct mro_pdf_places *p)
{
    memset(p->split, 0, sizeof p->split);
    memset(p->small, 0, sizeof p->small);
    const double *w = p->w.shell_A[1];
    if (w[1] > w[0]) dip_of(f, G, w[0], w[1], p->split);
    for (int k = 0; k < MRO_PDF_SMALL; k++) {
        size_t top = 0, side[2] = { 0, 0 };
        if (!stands_out(f, G, near_A[k] - SMALL_WITHIN, near_A[k] + SMALL_WITHIN, SMALL_REACH, &top, side)) continue;
        bool shell = false; /* the top of a shell is no peak beside it */
        for (int i = 0; i < MRO_PDF_SHELLS; i++) {
            double at, height;
            if (p->w.shell_A[i][1] > p->w.shell_A[i][0] &&
                top_of(f->r, G, f->nr, p->w.shell_A[i][0], p->w.shell_A[i][1], 2, &at, &height))
                shell |= fabs(at - f->r[top]) < 0.1;
        }
        if (shell) continue;
        p->small[k][0] = f->r[top];
        p->small[k][1] = f->r[G[side[0]] > G[side[1]] ? side[0] : side[1]];
    }
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The arm that holds a beam stop: where halos are weak it is hardly darker than what is beside it, but it goes on. */
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/pdf/saed_internal.h"

#define ARMS 2      /* a bar across the pattern has two */
#define BINS 72     /* directions */
#define NEAR_BINS 4 /* of which an arm takes, to either side */
#define LONG 3.0    /* times its width */
#define FULL 0.6    /* share of its outline that is in the shade */
#define WIDEST 0.1  /* of the pattern */
#define DARKER_SD 4.0

/* A straight strip from a point in a direction. */
struct strip {
    double x, y, c, s;     /* the point, and the direction */
    double from, to, half; /* along it; half the width */
};

static double along(const struct strip *a, double x, double y) { return (x - a->x) * a->c + (y - a->y) * a->s; }
static double across(const struct strip *a, double x, double y) { return (y - a->y) * a->c - (x - a->x) * a->s; }

/* The radius of the stop itself: where less than half of a ring is shaded. */
static double radius_of(const unsigned char *bits, size_t ny, size_t nx, const struct mro_round *round, double *counts,
                        size_t room)
{
    memset(counts, 0, 2 * room * sizeof *counts);
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const size_t r = (size_t)hypot((double)x - round->cx, (double)y - round->cy);
            if (r >= room) continue;
            counts[2 * r] += 1;
            counts[2 * r + 1] += bits[y * nx + x] != 0;
        }
    size_t r = 0;
    while (r < room && counts[2 * r + 1] > 0.5 * counts[2 * r]) r++;
    return (double)r;
}

/* Fits the strip to shaded pixels beyond `beyond` in about its direction. False when they are no straight narrow arm.
 */
static bool fit_strip(const unsigned char *bits, size_t ny, size_t nx, double beyond, struct strip *a, double *lo,
                      double *hi, double *width, size_t room)
{
    size_t n = 0, slices = 0;
    double first = 0;
    for (int turn = 0; turn < 4; turn++) {
        double m[5] = { 0 };
        for (size_t k = 0; k < room; k++) lo[k] = INFINITY, hi[k] = -INFINITY;
        n = 0;
        for (size_t y = 0; y < ny; y++)
            for (size_t x = 0; x < nx; x++) {
                if (!bits[y * nx + x]) continue;
                const double u = along(a, (double)x, (double)y), v = across(a, (double)x, (double)y);
                if (!(u > beyond && fabs(v) < tan(NEAR_BINS * 2 * MRO_PI / BINS) * u)) continue;
                const size_t k = (size_t)u;
                if (k < room) lo[k] = fmin(lo[k], v), hi[k] = fmax(hi[k], v);
                m[0] += u;
                m[1] += v;
                m[2] += u * u;
                m[3] += u * v;
                n++;
            }
        const double spread = n ? m[2] - m[0] * m[0] / (double)n : 0;
        if (n < 32 || !(spread > 0)) return false;
        if (turn == 3) break;
        /* Turned about the foot of the line, and moved onto it. */
        const double slope = (m[3] - m[0] * m[1] / (double)n) / spread, off = (m[1] - slope * m[0]) / (double)n;
        a->x -= off * a->s;
        a->y += off * a->c;
        const double c = a->c - slope * a->s, s = a->s + slope * a->c, size = hypot(c, s);
        a->c = c / size;
        a->s = s / size;
    }
    for (size_t k = 0; k < room; k++) {
        if (!(hi[k] >= lo[k])) continue;
        if (slices == 0) first = (double)k;
        a->to = (double)k + 1;
        width[slices++] = hi[k] - lo[k] + 1;
    }
    gsl_sort(width, 1, slices);
    const double wide = width[slices / 2];
    a->from = first;
    a->half = wide / 2;
    const double length = a->to - first, longest = (double)(ny > nx ? ny : nx);
    return length > LONG * wide && wide < WIDEST * longest && (double)n > FULL * length * wide &&
           (double)n < length * wide / FULL;
}

/* Is the strip, beyond where it was seen, darker than what is to both sides of it? */
static bool goes_on(const float *px, size_t ny, size_t nx, const unsigned char *mask, const unsigned char *bits,
                    const struct strip *a, double *sums, size_t room)
{
    enum { N, V, VV, SUMS = 6 }; /* of the strip, then of its sides */
    double less = 0, var = 0;
    memset(sums, 0, SUMS * room * sizeof *sums);
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const double u = along(a, (double)x, (double)y), v = fabs(across(a, (double)x, (double)y));
            if (!(u > a->to) || mask[y * nx + x] || bits[y * nx + x] || u >= (double)room) continue;
            const bool in = v<0.7 * a->half, beside = v> 1.5 * a->half + 2 && v < 3 * a->half + 6;
            if (!in && !beside) continue;
            double *to = sums + SUMS * (size_t)u + (in ? 0 : 3), value = px[y * nx + x];
            to[N] += 1;
            to[V] += value;
            to[VV] += value * value;
        }
    for (size_t k = 0; k < room; k++) {
        const double *in = sums + SUMS * k, *beside = in + 3;
        if (!(in[N] > 1 && beside[N] > 3)) continue;
        const double level = beside[V] / beside[N], scatter = beside[VV] / beside[N] - level * level;
        less += level - in[V] / in[N];
        var += fmax(0, scatter) * (1 / beside[N] + 1 / in[N]);
    }
    return var > 0 && less > DARKER_SD * sqrt(var);
}

enum mro_code mro_saed_follow_arms(const float *px, size_t ny, size_t nx, const struct mro_round *round,
                                   const unsigned char *mask, unsigned char *bits, struct mro_error *e)
{
    const size_t room = (size_t)hypot((double)nx, (double)ny) + 2;
    double *work = malloc(6 * room * sizeof *work), count[BINS] = { 0 };
    if (work == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the mask of a pattern");
    const double beyond = 1.3 * radius_of(bits, ny, nx, round, work, room) + 4;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const double dx = (double)x - round->cx, dy = (double)y - round->cy;
            if (!bits[y * nx + x] || !(hypot(dx, dy) > beyond)) continue;
            count[(size_t)((atan2(dy, dx) / (2 * MRO_PI) + 1) * BINS) % BINS] += 1;
        }
    for (int arm = 0; arm < ARMS; arm++) {
        size_t best = 0;
        for (size_t k = 1; k < BINS; k++)
            if (count[k] > count[best]) best = k;
        if (!(count[best] > 0)) break;
        for (size_t k = 0; k <= 2 * NEAR_BINS; k++) count[(best + k + BINS - NEAR_BINS) % BINS] = 0;
        const double chi = 2 * MRO_PI * ((double)best + 0.5) / BINS;
        struct strip a = { .x = round->cx, .y = round->cy, .c = cos(chi), .s = sin(chi) };
        if (!fit_strip(bits, ny, nx, beyond, &a, work, work + room, work + 2 * room, room) ||
            !goes_on(px, ny, nx, mask, bits, &a, work, room))
            continue;
        for (size_t y = 0; y < ny; y++)
            for (size_t x = 0; x < nx; x++)
                if (along(&a, (double)x, (double)y) > a.from && fabs(across(&a, (double)x, (double)y)) <= a.half)
                    bits[y * nx + x] |= MRO_SAED_BEAM_STOP;
    }
    free(work);
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stripes in line sums: the sum over every line of every direction, and the inside of every stripe against its sides.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ops/shearband_internal.h"

#define ANGLES 120
#define WIDTH_RATIO 1.35
#define UNEVEN 0.3       /* lengths beside a stripe may differ from those inside by this share, */
#define UNEVEN_WIDE 2.0  /* and more for wide ones */
#define LEAST_LENGTH 0.4 /* of a stripe, in short sides of the field: shorter ones in corners are no bands */

/* Lines of one direction. Rows (or columns, for flat lines) are shifted by whole pixels and added, so that a line is
 * one pixel of every row: additions are of neighbours in memory. */
struct angle {
    double azimuth, origin, step; /* position of bin i is origin + i step, nm */
    bool columns;                 /* columns are shifted in place of rows */
    size_t bins;
    int32_t *shift;                                /* one a row or column */
    float *inside, *beside_lo, *beside_hi, *scale; /* widths * bins: filter of a stripe that starts at bin i; scale 0 =
                                                      none there */
    size_t *n, *flank, *places;                    /* of each width: bins inside, beside; stripes that there can be */
};

struct mro_sb_scan {
    size_t ny, nx, most_bins, pad, widths, angles;
    double width[MRO_SB_WIDTHS];
    struct angle *angle;
};

void mro_sb_scan_free(struct mro_sb_scan *s)
{
    if (s == NULL) return;
    for (size_t a = 0; s->angle && a < s->angles; a++) {
        struct angle *g = s->angle + a;
        free(g->shift);
        free(g->inside); /* holds the other three and the sizes' own block stands apart */
        free(g->n);
    }
    free(s->angle);
    free(s);
}

size_t mro_sb_scan_widths(const struct mro_sb_scan *s) { return s->widths; }
double mro_sb_scan_width(const struct mro_sb_scan *s, size_t i) { return s->width[i]; }

/* Space of one thread: transposed copy, sums with room to both sides. */
float *mro_sb_scan_space(const struct mro_sb_scan *s)
{
    return malloc((s->ny * s->nx + s->most_bins + 1 + 2 * s->pad) * sizeof(float));
}

/* Sums of v (rows of `v`, or of its transpose) over the lines of one direction, as sums from bin 0 up to each bin. */
static void line_sums(const struct mro_sb_scan *s, const struct angle *g, const float *v, const float *turned,
                      float *sum)
{
    const float *src = g->columns ? turned : v;
    const size_t rows = g->columns ? s->nx : s->ny, n = g->columns ? s->ny : s->nx;
    float *line = sum + s->pad + 1;
    memset(sum, 0, (g->bins + 1 + 2 * s->pad) * sizeof *sum);
    for (size_t j = 0; j < rows; j++) {
        float *to = line + g->shift[j];
        const float *from = src + j * n;
        for (size_t i = 0; i < n; i++) to[i] += from[i];
    }
    double total = 0;
    for (size_t i = 0; i < g->bins; i++) {
        total += line[i];
        line[i] = (float)total;
    }
    for (size_t i = g->bins; i < g->bins + s->pad; i++) line[i] = (float)total;
}

static void turn(const float *v, size_t ny, size_t nx, float *out)
{
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) out[x * ny + y] = v[y * nx + x];
}

static bool lay_out(struct mro_sb_scan *s, struct angle *g, const struct mro_sb_grid *field, double azimuth)
{
    const double c = cos(azimuth), n = sin(azimuth);
    g->azimuth = azimuth;
    g->columns = fabs(n) * field->step[0] > fabs(c) * field->step[1];
    const size_t rows = g->columns ? s->nx : s->ny, columns = g->columns ? s->ny : s->nx;
    const double along = g->columns ? n * field->step[0] : c * field->step[1],
                 across = g->columns ? c * field->step[1] : n * field->step[0];
    const double slope = across / along; /* pixels a row */
    const double lowest = slope < 0 ? slope * (double)(rows - 1) : 0;
    g->shift = malloc(rows * sizeof *g->shift);
    if (g->shift == NULL) return false;
    int32_t most = 0;
    for (size_t j = 0; j < rows; j++) {
        g->shift[j] = (int32_t)lround(slope * (double)j - lowest);
        if (g->shift[j] > most) most = g->shift[j];
    }
    g->bins = columns + (size_t)most;
    /* Pixel (i, j) lies at along (i + 1/2) + across (j + 1/2) and goes to bin i + slope j - lowest. */
    g->step = along;
    g->origin = 0.5 * along + 0.5 * across + along * lowest;
    return true;
}

/* Weights of every stripe of one direction, from the numbers of pixels on its lines. */
static bool lay_filters(const struct mro_sb_scan *s, struct angle *g, const float *area, double side, double least,
                        const struct mro_sb_near *near)
{
    const size_t n = s->widths * g->bins;
    g->inside = calloc(4 * n, sizeof *g->inside);
    g->n = calloc(3 * s->widths, sizeof *g->n);
    if (g->inside == NULL || g->n == NULL) return false;
    g->beside_lo = g->inside + n;
    g->beside_hi = g->beside_lo + n;
    g->scale = g->beside_hi + n;
    g->flank = g->n + s->widths;
    g->places = g->flank + s->widths;
    const float *sum = area + s->pad; /* sum[b]: pixels below bin b */
    for (size_t k = 0; k < s->widths; k++) {
        const size_t m = (size_t)fmax(2, lround(s->width[k] / fabs(g->step))), f = m / 2 > 2 ? m / 2 : 2;
        const double uneven = UNEVEN + UNEVEN_WIDE * s->width[k] / side;
        g->n[k] = m;
        g->flank[k] = f;
        for (size_t b = 2; b + m + 2 <= g->bins; b++) {
            const double below = (double)(b < f ? b : f), above = (double)(b + m + f > g->bins ? g->bins - b - m : f);
            const double in = sum[b + m] - sum[b], lo = sum[b] - sum[(ptrdiff_t)b - (ptrdiff_t)f],
                         hi = sum[b + m + f] - sum[b + m];
            if (in < least * (double)m || lo < least || hi < least) continue;
            /* Where lines soon get shorter, at corners and along borders, inside and sides see different places. */
            const double length = in / (double)m, own = uneven * length;
            if (fabs(lo - below * length) > own * below || fabs(hi - above * length) > own * above) continue;
            if (near) {
                const double from = g->origin + g->step * ((double)b - 0.5), to = from + g->step * (double)m;
                if ((from - near->position_nm) * (to - near->position_nm) > 0) continue;
            }
            const size_t i = k * g->bins + b;
            g->inside[i] = (float)(1 / in);
            g->beside_lo[i] = (float)(0.5 / lo);
            g->beside_hi[i] = (float)(0.5 / hi);
            g->scale[i] = (float)(1 / sqrt(1 / in + 0.25 / lo + 0.25 / hi));
            g->places[k]++;
        }
    }
    return true;
}

static double turn_between(double a, double b)
{
    const double t = fabs(a - b);
    return fmin(t, M_PI - t);
}

enum mro_code mro_sb_scan_new(struct mro_sb_scan **out, const struct mro_sb_grid *g, const double width_nm[2],
                              const struct mro_sb_near *near, struct mro_error *e)
{
    struct mro_sb_scan *s = calloc(1, sizeof *s);
    float *mask = malloc(2 * g->ny * g->nx * sizeof *mask), *space = NULL;
    bool ready = s && mask;
    *out = NULL;
    if (ready) {
        s->ny = g->ny;
        s->nx = g->nx;
        for (double w = width_nm[0]; w <= width_nm[1] * 1.001 && s->widths < MRO_SB_WIDTHS; w *= WIDTH_RATIO)
            s->width[s->widths++] = w;
        s->angle = calloc(ANGLES, sizeof *s->angle);
        ready = s->angle != NULL;
    }
    for (size_t a = 0; a < ANGLES && ready; a++) {
        const double azimuth = M_PI * (double)a / ANGLES;
        if (near && turn_between(azimuth, near->azimuth) > near->turn) continue;
        struct angle *k = s->angle + s->angles++;
        ready = lay_out(s, k, g, azimuth);
        if (k->bins > s->most_bins) s->most_bins = k->bins;
        if (ready && s->widths) {
            const size_t pad = (size_t)(s->width[s->widths - 1] / fabs(k->step)) + 4;
            if (pad > s->pad) s->pad = pad;
        }
    }
    if (ready) {
        const double side = fmin((double)g->ny * g->step[0], (double)g->nx * g->step[1]);
        for (size_t i = 0; i < g->ny * g->nx; i++) mask[i] = g->v[i] == g->v[i];
        turn(mask, g->ny, g->nx, mask + g->ny * g->nx);
        space = mro_sb_scan_space(s);
        ready = space != NULL;
        for (size_t a = 0; a < s->angles && ready; a++) {
            struct angle *k = s->angle + a;
            line_sums(s, k, mask, mask + g->ny * g->nx, space);
            /* Pixels on a line of the least length: every row (column) that it crosses holds one. */
            const double row = k->columns ? g->step[1] * fabs(sin(k->azimuth)) : g->step[0] * fabs(cos(k->azimuth));
            const double a_row = k->columns ? g->step[1] : g->step[0];
            const double least = LEAST_LENGTH * side * (row / a_row) / a_row;
            ready = lay_filters(s, k, space, side, least, near);
        }
    }
    free(mask);
    free(space);
    if (ready) {
        *out = s;
        return MRO_OK;
    }
    mro_sb_scan_free(s);
    return MRO_FAIL(e, MRO_EMEMORY, "out of memory for line sums over %zu x %zu", g->nx, g->ny);
}

void mro_sb_scan_run(const struct mro_sb_scan *s, const float *v, const double *sd, double *square, double *count,
                     float *space, struct mro_sb_stripe *best)
{
    float *turned = space, *sum = space + s->ny * s->nx;
    memset(best, 0, s->widths * sizeof *best);
    if (square) memset(square, 0, s->widths * sizeof *square);
    if (count) memset(count, 0, s->widths * sizeof *count);
    turn(v, s->ny, s->nx, turned);
    for (size_t a = 0; a < s->angles; a++) {
        const struct angle *g = s->angle + a;
        line_sums(s, g, v, turned, sum);
        const float *p = sum + s->pad;
        for (size_t k = 0; k < s->widths; k++) {
            const size_t m = g->n[k], f = g->flank[k], at = k * g->bins;
            if (g->bins < m + 4) continue;
            const float *in = g->inside + at, *lo = g->beside_lo + at, *hi = g->beside_hi + at, *scale = g->scale + at;
            const size_t end = g->bins - m - 1;
            float largest = 0, squares = 0;
            if (g->places[k] == 0) continue;
#pragma omp simd reduction(max : largest) reduction(+ : squares)
            for (size_t b = 2; b < end; b++) {
                const float z = ((p[b + m] - p[b]) * in[b] - (p[b] - p[(ptrdiff_t)b - (ptrdiff_t)f]) * lo[b] -
                                 (p[b + m + f] - p[b + m]) * hi[b]) *
                                scale[b];
                const float size = fabsf(z);
                largest = size > largest ? size : largest;
                squares += z * z;
            }
            if (square) square[k] += squares;
            if (count) count[k] += (double)g->places[k];
            const double unit = sd ? sd[k] : 1;
            if (!(largest > best[k].z * unit)) continue;
            for (size_t b = 2; b < end; b++) {
                const float z = ((p[b + m] - p[b]) * in[b] - (p[b] - p[(ptrdiff_t)b - (ptrdiff_t)f]) * lo[b] -
                                 (p[b + m + f] - p[b + m]) * hi[b]) *
                                scale[b];
                if (!(fabsf(z) >= largest * (1 - 1e-6f))) continue;
                best[k].z = largest / unit;
                best[k].contrast = z / scale[b];
                best[k].azimuth = g->azimuth;
                best[k].position_nm = g->origin + g->step * ((double)b - 0.5 + 0.5 * (double)m);
                best[k].width_nm = fabs(g->step) * (double)m;
                break;
            }
        }
    }
}

double mro_sb_most(const struct mro_sb_stripe *stripe, size_t n)
{
    double most = 0;
    for (size_t k = 0; k < n; k++) most = fmax(most, stripe[k].z);
    return most;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stripes in line sums: the sum over every line of every direction, and the inside of every stripe against its sides.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "ops/shearband/shearband_internal.h"

#define ANGLES 120
#define TOGETHER 8              /* rows that are added at once; their shifts differ by less */
#define GROUP 4                 /* directions that are summed at once */
#define BATCH 16                /* numbers that loops take at once, so that vectors are full */
#define SIDE (TOGETHER + BATCH) /* zeros beside each row, which both reach over */
#define WIDTH_RATIO 1.35
#define UNEVEN 0.3       /* lengths beside a stripe may differ from those inside by this share, */
#define UNEVEN_WIDE 2.0  /* and more for wide ones */
#define LEAST_LENGTH 0.4 /* of a stripe, in short sides of the field: shorter ones in corners are no bands */

/* Lines of one direction. Rows (or columns, for flat lines) are shifted by whole pixels and added, so that a line is
 * one pixel of every row: additions are of neighbours in memory. */
struct angle {
    double azimuth, origin, step;                  /* position of bin i is origin + i step, nm */
    bool columns;                                  /* columns are shifted in place of rows */
    size_t bins, room;                             /* bins, and the next multiple of BATCH */
    int32_t *shift;                                /* one a row or column */
    float *inside, *beside_lo, *beside_hi, *scale; /* widths * room: filter of a stripe that starts at bin i; scale 0 =
                                                      none there */
    size_t *n, *flank, *places;                    /* of each width: bins inside, beside; stripes that there can be */
};

struct mro_sb_scan {
    size_t ny, nx, most_room, pad, widths, angles;
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

/* Rows of a field with room to both sides, and those of its transpose. */
static size_t rows_room(size_t rows, size_t n) { return (rows + TOGETHER) * (n + 2 * SIDE); }
static size_t sums_room(const struct mro_sb_scan *s) { return s->most_room + 1 + 2 * s->pad; }

/* Where the transpose of a field and its sums stand in the space of the field. */
static size_t turned_at(const struct mro_sb_scan *s) { return rows_room(s->ny, s->nx); }
static size_t sums_at(const struct mro_sb_scan *s) { return turned_at(s) + rows_room(s->nx, s->ny); }

static size_t field_room(const struct mro_sb_scan *s) { return sums_at(s) + GROUP * sums_room(s); }

float *mro_sb_scan_space(const struct mro_sb_scan *s, size_t fields)
{
    return malloc(fields * field_room(s) * sizeof(float));
}

/* A field in rows with zeros beside them and in rows after the last one, from `space` on; then its transpose likewise.
 */
static void lay_rows(const struct mro_sb_scan *s, const float *v, float *space)
{
    const size_t ny = s->ny, nx = s->nx, row = nx + 2 * SIDE, column = ny + 2 * SIDE;
    float *other = space + turned_at(s);
    memset(space, 0, sums_at(s) * sizeof *space);
    for (size_t y = 0; y < ny; y++) memcpy(space + y * row + SIDE, v + y * nx, nx * sizeof *v);
    for (size_t x = 0; x < nx; x++)
        for (size_t y = 0; y < ny; y++) other[x * column + SIDE + y] = v[y * nx + x];
}

/* Adds rows j, ... to the lines of one direction. */
static void add_rows(const struct angle *g, const float *src, size_t rows, size_t n, size_t j, float *line)
{
    /* Shifts go one way: the first and the last row have the smallest and the largest one. */
    const size_t row = n + 2 * SIDE, last = j + TOGETHER < rows ? j + TOGETHER - 1 : rows - 1;
    const int32_t least = g->shift[j] < g->shift[last] ? g->shift[j] : g->shift[last];
    const float *from[TOGETHER];
    for (size_t k = 0; k < TOGETHER; k++) /* rows after the last one are zeros */
        from[k] = src + (j + k) * row + SIDE - (g->shift[j + k < rows ? j + k : last] - least);
    float *to = line + least;
#pragma omp simd
    for (size_t i = 0; i < (n + TOGETHER + BATCH - 2) / BATCH * BATCH; i++)
        to[i] += ((from[0][i] + from[1][i]) + (from[2][i] + from[3][i])) +
                 ((from[4][i] + from[5][i]) + (from[6][i] + from[7][i]));
}

/* Sums of a field over the lines of the directions of a group, as sums from bin 0 up to each bin: of each direction
 * from `sums` on, a room of sums_room apart. `space` as lay_rows makes it; a row serves all directions while it is in
 * the cache. */
static void line_sums(const struct mro_sb_scan *s, const struct angle *g, size_t group, const float *space, float *sums)
{
    const float *turned = space + turned_at(s);
    const size_t each = sums_room(s), most = s->ny > s->nx ? s->ny : s->nx;
    memset(sums, 0, group * each * sizeof *sums);
    for (size_t j = 0; j < most; j += TOGETHER)
        for (size_t a = 0; a < group; a++) {
            const bool columns = g[a].columns;
            const size_t rows = columns ? s->nx : s->ny, n = columns ? s->ny : s->nx;
            if (j < rows) add_rows(g + a, columns ? turned : space, rows, n, j, sums + a * each + s->pad + 1);
        }
    for (size_t a = 0; a < group; a++) {
        float *line = sums + a * each + s->pad + 1;
        double total = 0;
        for (size_t i = 0; i < g[a].bins; i++) {
            total += line[i];
            line[i] = (float)total;
        }
        for (size_t i = g[a].bins; i < g[a].room + s->pad; i++) line[i] = (float)total;
    }
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
    g->room = (g->bins + BATCH - 1) / BATCH * BATCH;
    /* Pixel (i, j) lies at along (i + 1/2) + across (j + 1/2) and goes to bin i + slope j - lowest. */
    g->step = along;
    g->origin = 0.5 * along + 0.5 * across + along * lowest;
    return true;
}

/* Weights of every stripe of one direction, from the numbers of pixels on its lines. */
static bool lay_filters(const struct mro_sb_scan *s, struct angle *g, const float *area, double side, double least,
                        const struct mro_sb_near *near)
{
    const size_t n = s->widths * g->room;
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
            const size_t i = k * g->room + b;
            const double scale = 1 / sqrt(1 / in + 0.25 / lo + 0.25 / hi);
            g->inside[i] = (float)(scale / in);
            g->beside_lo[i] = (float)(scale * 0.5 / lo);
            g->beside_hi[i] = (float)(scale * 0.5 / hi);
            g->scale[i] = (float)scale;
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

/* The filters of all directions, from rows of 1 where there is a value. False when out of memory. */
static bool lay_all_filters(const struct mro_sb_scan *s, const struct mro_sb_grid *g, const float *space,
                            const struct mro_sb_near *near, int threads)
{
    const double side = fmin((double)g->ny * g->step[0], (double)g->nx * g->step[1]);
    bool failed = false;
#pragma omp parallel num_threads(threads)
    {
        float *sums = malloc(sums_room(s) * sizeof *sums);
        if (sums == NULL) mro_raise(&failed);
#pragma omp for schedule(dynamic)
        for (size_t a = 0; a < s->angles; a++) {
            struct angle *k = s->angle + a;
            if (sums == NULL) continue;
            line_sums(s, k, 1, space, sums);
            /* Pixels on a line of the least length: every row (column) that it crosses holds one. */
            const double row = k->columns ? g->step[1] * fabs(sin(k->azimuth)) : g->step[0] * fabs(cos(k->azimuth));
            const double a_row = k->columns ? g->step[1] : g->step[0];
            const double least = LEAST_LENGTH * side * (row / a_row) / a_row;
            if (!lay_filters(s, k, sums, side, least, near)) mro_raise(&failed);
        }
        free(sums);
    }
    return !failed;
}

enum mro_code mro_sb_scan_new(struct mro_sb_scan **out, const struct mro_sb_grid *g, const double width_nm[2],
                              const struct mro_sb_near *near, int threads, struct mro_error *e)
{
    struct mro_sb_scan *s = calloc(1, sizeof *s);
    float *mask = malloc(g->ny * g->nx * sizeof *mask), *space = NULL;
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
        if (k->room > s->most_room) s->most_room = k->room;
        if (ready && s->widths) {
            const size_t pad =
                (size_t)(s->width[s->widths - 1] / fabs(k->step)) + 4 + SIDE; /* filters and added rows reach over */
            if (pad > s->pad) s->pad = pad;
        }
    }
    if (ready) {
        for (size_t i = 0; i < g->ny * g->nx; i++) mask[i] = g->v[i] == g->v[i];
        space = mro_sb_scan_space(s, 1);
        ready = space != NULL;
        if (ready) {
            lay_rows(s, mask, space);
            ready = lay_all_filters(s, g, space, near, threads);
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

/* Mean inside of a stripe of m bins less that of f bins on either side of it, each with its weight; `sum` at its first
 * bin. */
static inline float filtered(const float *sum, size_t m, size_t f, float in, float lo, float hi)
{
    return (sum[m] - sum[0]) * in - (sum[0] - sum[-(ptrdiff_t)f]) * lo - (sum[m + f] - sum[m]) * hi;
}

/* Stripes of width k in the sums of one direction, from bin 0 on. */
static void scan_width(const struct angle *g, size_t k, const float *p, double unit, double *square, double *count,
                       struct mro_sb_stripe *best)
{
    const size_t m = g->n[k], f = g->flank[k], at = k * g->room;
    if (g->bins < m + 4 || g->places[k] == 0) return;
    const float *in = g->inside + at, *lo = g->beside_lo + at, *hi = g->beside_hi + at, *scale = g->scale + at;
    const size_t end = g->bins - m - 1;
    float largest = 0, squares = 0;
    /* Whole vectors: where there is no stripe the filter is 0. */
#pragma omp simd reduction(max : largest) reduction(+ : squares)
    for (size_t b = 0; b < (end + BATCH - 1) / BATCH * BATCH; b++) {
        const float z = filtered(p + b, m, f, in[b], lo[b], hi[b]), size = fabsf(z);
        largest = size > largest ? size : largest;
        squares += z * z;
    }
    if (square) *square += squares;
    if (count) *count += (double)g->places[k];
    if (!(largest > best->z * unit)) return;
    for (size_t b = 2; b < end; b++) {
        const float z = filtered(p + b, m, f, in[b], lo[b], hi[b]);
        if (!(fabsf(z) >= largest * (1 - 1e-6f))) continue;
        best->z = largest / unit;
        best->contrast = z / scale[b];
        best->azimuth = g->azimuth;
        best->position_nm = g->origin + g->step * ((double)b - 0.5 + 0.5 * (double)m);
        best->width_nm = fabs(g->step) * (double)m;
        return;
    }
}

void mro_sb_scan_run(const struct mro_sb_scan *s, size_t fields, const float *v, const double *sd, double *square,
                     double *count, float *space, struct mro_sb_stripe *best)
{
    const size_t each = field_room(s), n = s->widths;
    memset(best, 0, fields * n * sizeof *best);
    if (square) memset(square, 0, fields * n * sizeof *square);
    if (count) memset(count, 0, fields * n * sizeof *count);
    for (size_t i = 0; i < fields; i++) lay_rows(s, v + i * s->ny * s->nx, space + i * each);
    for (size_t a = 0; a < s->angles; a++) {
        const struct angle *g = s->angle + a;
        for (size_t i = 0; a % GROUP == 0 && i < fields; i++)
            line_sums(s, g, s->angles - a < GROUP ? s->angles - a : GROUP, space + i * each,
                      space + i * each + sums_at(s));
        for (size_t k = 0; k < n; k++)
            for (size_t i = 0; i < fields; i++) /* while the filter is in the cache */
                scan_width(g, k, space + i * each + sums_at(s) + a % GROUP * sums_room(s) + s->pad, sd ? sd[k] : 1,
                           square ? square + i * n + k : NULL, count ? count + i * n + k : NULL, best + i * n + k);
    }
}

double mro_sb_most(const struct mro_sb_stripe *stripe, size_t n)
{
    double most = 0;
    for (size_t k = 0; k < n; k++) most = fmax(most, stripe[k].z);
    return most;
}

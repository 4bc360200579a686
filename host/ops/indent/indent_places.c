/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where indents are: repeats at one place, and the grid that places make. */
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/indent/indent_internal.h"

#define SAME_PLACE 1e-6 /* of the extent of a table: repeats of one indent */
#define COLUMN_GAP 0.3  /* of the pitch, between coordinates of one column and the next */
#define FILLED 0.25     /* of a grid's cells that have to hold indents */

struct place {
    double x, y, v;
};

static int by_y(const void *a, const void *b)
{
    const double x = ((const struct place *)a)->y, y = ((const struct place *)b)->y;
    return (x > y) - (x < y);
}

static int by_x(const void *a, const void *b)
{
    const double x = ((const struct place *)a)->x, y = ((const struct place *)b)->x;
    return x != y ? (x > y) - (x < y) : by_y(a, b);
}

enum mro_code mro_indent_merge_repeats(const struct mro_indent_table *t, struct mro_indent_result *r,
                                       struct mro_error *e)
{
    const size_t n = t->n;
    r->value = malloc(4 * n * sizeof *r->value);
    if (r->value == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu indents do not fit in memory", n);
    r->x = r->value + n;
    r->y = r->x + n;
    r->beside = r->y + n;
    r->places = n;
    r->noise_share = 1;
    memcpy(r->value, t->value, n * sizeof *r->value);
    for (size_t i = 0; i < n; i++) {
        r->x[i] = t->x ? t->x[i] : NAN;
        r->y[i] = t->y ? t->y[i] : NAN;
        r->beside[i] = NAN;
    }
    if (t->x && t->placed && n > 1) {
        double lo[2] = { INFINITY, INFINITY }, hi[2] = { -INFINITY, -INFINITY };
        for (size_t i = 0; i < n; i++) {
            lo[0] = fmin(lo[0], r->y[i]), hi[0] = fmax(hi[0], r->y[i]);
            lo[1] = fmin(lo[1], r->x[i]), hi[1] = fmax(hi[1], r->x[i]);
        }
        const double extent = fmax(hi[0] - lo[0], hi[1] - lo[1]), near = fmax(extent, 1e-9) * SAME_PLACE;
        struct place *p = malloc(n * sizeof *p);
        if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu indents do not fit in memory", n);
        for (size_t i = 0; i < n; i++) p[i] = (struct place){ r->x[i], r->y[i], r->value[i] };
        qsort(p, n, sizeof *p, by_x);
        size_t places = 0;
        double within = 0, dof = 0, share = 0;
        for (size_t i = 0; i < n;) {
            size_t k = i;
            while (k < n && p[k].x - p[i].x <= near) k++;
            qsort(p + i, k - i, sizeof *p, by_y); /* one x, but for rounding */
            for (size_t a = i; a < k;) {
                size_t b = a;
                double sum = 0, ss = 0;
                while (b < k && p[b].y - p[a].y <= near) sum += p[b++].v;
                const double m = sum / (double)(b - a);
                for (size_t c = a; c < b; c++) ss += (p[c].v - m) * (p[c].v - m);
                within += ss;
                dof += (double)(b - a) - 1;
                share += 1 / (double)(b - a);
                r->x[places] = p[a].x;
                r->y[places] = p[a].y;
                r->value[places++] = m;
                a = b;
            }
            i = k;
        }
        free(p);
        r->places = places;
        r->noise_share = share / (double)places;
        if (places < n && dof > 0) {
            r->noise_sd = sqrt(within / dof);
            r->noise_dof = dof;
            r->noise_source = "repeats in the table";
        }
    }
    return MRO_OK;
}

/* Columns of equal coordinates: sorted values come in clusters. Fills centre[] (room n); returns how many. `s`: room.
 */
static size_t clusters(const double *v, size_t n, double gap, double *s, double *centre)
{
    size_t m = 0;
    memcpy(s, v, n * sizeof *s);
    gsl_sort(s, 1, n);
    for (size_t i = 0; i < n;) {
        size_t k = i + 1;
        double sum = s[i];
        while (k < n && s[k] - s[k - 1] <= gap) sum += s[k++];
        centre[m++] = sum / (double)(k - i);
        i = k;
    }
    return m;
}

double mro_indent_nearest(const struct mro_indent_result *r)
{
    enum { MOST = 400 };
    const size_t n = r->places, step = n / (n > 100000 ? MOST / 10 : MOST) + 1;
    double d[MOST + 1];
    size_t m = 0;
    if (n < 2) return NAN;
    for (size_t i = 0; i < n; i += step) {
        double best = INFINITY;
        for (size_t k = 0; k < n; k++)
            if (k != i) best = fmin(best, hypot(r->x[k] - r->x[i], r->y[k] - r->y[i]));
        d[m++] = best;
    }
    gsl_sort(d, 1, m);
    return d[m / 2];
}

/* Pitch of sorted centres, where they are equidistant (with whole columns missing) within a fifth; else NaN. */
static double pitch_of(const double *c, size_t n)
{
    if (n < 2) return NAN;
    double least = INFINITY;
    for (size_t i = 1; i < n; i++) least = fmin(least, c[i] - c[i - 1]);
    /* Steps that are multiples of the smallest. */
    double sum = 0, steps = 0;
    for (size_t i = 1; i < n; i++) {
        const double k = fmax(1, round((c[i] - c[i - 1]) / least));
        if (fabs((c[i] - c[i - 1]) / k / least - 1) > 0.2) return NAN;
        sum += c[i] - c[i - 1];
        steps += k;
    }
    return sum / steps;
}

enum mro_code mro_indent_make_grid(const struct mro_indent_table *t, struct mro_indent_result *r, struct mro_error *e)
{
    const size_t n = r->places;
    r->pitch[0] = r->pitch[1] = r->origin[0] = r->origin[1] = NAN;
    if (t->x == NULL) return MRO_OK;
    double *centre = malloc(3 * n * sizeof *centre), *room = centre ? centre + 2 * n : NULL;
    if (centre == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu indents do not fit in memory", n);
    enum mro_code rc = MRO_OK;
    const double near = t->placed ? mro_indent_nearest(r) : 1e-9;
    const size_t nx = clusters(r->x, n, COLUMN_GAP * near, room, centre),
                 ny = clusters(r->y, n, COLUMN_GAP * near, room, centre + n);
    double px = pitch_of(centre, nx), py = pitch_of(centre + n, ny);
    /* One row or one column: as far apart as along the other. */
    if (nx == 1 && ny > 1) px = py;
    if (ny == 1 && nx > 1) py = px;
    if (nx == 1 && ny == 1) px = py = 1;
    if (!(px > 0) || !(py > 0)) goto scattered;
    const double gx = round((centre[nx - 1] - centre[0]) / px) + 1,
                 gy = round((centre[n + ny - 1] - centre[n]) / py) + 1;
    /* Few places far apart make a grid of nearly nothing but holes. */
    if (gx * gy * FILLED > fmax(4, (double)n) && t->placed) goto scattered;
    r->grid_nx = (size_t)gx;
    r->grid_ny = (size_t)gy;
    r->grid = malloc(r->grid_nx * r->grid_ny * sizeof *r->grid);
    if (r->grid == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "a grid of %zu x %zu indents does not fit in memory", r->grid_nx, r->grid_ny);
        goto done;
    }
    for (size_t i = 0; i < r->grid_nx * r->grid_ny; i++) r->grid[i] = NAN;
    r->pitch[0] = py;
    r->pitch[1] = px;
    r->origin[0] = centre[n];
    r->origin[1] = centre[0];
    for (size_t i = 0; i < n; i++) {
        const size_t x = (size_t)fmin(gx - 1, fmax(0, round((r->x[i] - r->origin[1]) / px))),
                     y = (size_t)fmin(gy - 1, fmax(0, round((r->y[i] - r->origin[0]) / py)));
        r->grid[y * r->grid_nx + x] = r->value[i];
    }
    if (t->placed && !mro_indent_length_known(r)) { /* count in columns and rows */
        for (size_t i = 0; i < n; i++) {
            r->x[i] = (r->x[i] - r->origin[1]) / px;
            r->y[i] = (r->y[i] - r->origin[0]) / py;
        }
        r->pitch[0] = r->pitch[1] = 1;
        r->origin[0] = r->origin[1] = 0;
    }
    goto done;
scattered:
    mro_warn(r,
             "the places of the indents make no grid: they are taken as scattered, and neighbours are those within 1.5 "
             "of the usual distance to the nearest");
    for (size_t i = 0; i < n && !mro_indent_length_known(r); i++) {
        r->x[i] /= near;
        r->y[i] /= near;
    }
done:
    free(centre);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Local power of a spectrum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "cpu/cpu.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/lattice.h"

/* Powers of the rows and columns that discs of the upper half plane reach, by signed frequency. Where discs take every
 * second number of a row, the even ones lie first, then the odd ones: what a disc has of a row is one run. */
struct powers {
    ptrdiff_t y0, y1, most; /* rows y0..y1, columns -most..most */
    ptrdiff_t stride;       /* of the discs */
    size_t pitch, half;     /* floats of a row and, with a stride of 2, of its even numbers */
    float *v;
};

enum { RUN = 16 }; /* runs are copied in pieces of this many floats, the last one with what lies behind it */

static bool powers_new(struct powers *p, const struct mro_lattice *l)
{
    const struct mro_disc disc = mro_lattice_disc(l, 0, 0);
    const ptrdiff_t outer = (ptrdiff_t)ceil(l->outer * l->ly + disc.ry);
    p->y0 = disc.y0 - 1;
    p->y1 = outer < (ptrdiff_t)(l->ny / 2) ? outer : (ptrdiff_t)(l->ny / 2);
    p->most = (ptrdiff_t)fmin(ceil(l->outer * l->lx + disc.rx), (double)((l->nx - 1) / 2));
    p->stride = disc.stride;
    p->half = (size_t)p->most + 2;
    p->pitch = 2 * p->half;
    p->v = malloc(((size_t)(p->y1 - p->y0 + 1) * p->pitch + RUN) * sizeof *p->v);
    return p->v != NULL;
}

/* Where column x of row y lies. */
static float *power_at(const struct powers *p, ptrdiff_t y, ptrdiff_t x)
{
    float *row = p->v + (size_t)(y - p->y0) * p->pitch;
    const size_t i = (size_t)(x + p->most);
    return p->stride == 1 ? row + i : row + (i & 1) * p->half + i / 2;
}

/* Row y, of the spectrum over the model where there is one. `line`: room for a row. */
static void fill_powers(struct powers *p, const struct mro_lattice *l, const mro_c32 *s, const float *model,
                        ptrdiff_t y, float *line)
{
    const size_t nx = l->nx, most = (size_t)p->most, at = mro_cyclic(y, l->ny) * nx;
    for (int side = 0; side < 2; side++) { /* columns from 0 on, and those below */
        const mro_c32 *from = s + at + (side ? nx - most : 0);
        const float *over = model ? model + at + (side ? nx - most : 0) : NULL;
        float *to = line + (side ? 0 : most);
        const size_t n = side ? most : most + 1;
        if (over)
#pragma omp simd
            for (size_t i = 0; i < n; i++) to[i] = (from[i].re * from[i].re + from[i].im * from[i].im) / over[i];
        else
#pragma omp simd
            for (size_t i = 0; i < n; i++) to[i] = from[i].re * from[i].re + from[i].im * from[i].im;
    }
    float *even = power_at(p, y, -p->most), *odd = even + p->half;
    if (p->stride == 1) {
        memcpy(even, line, (2 * most + 1) * sizeof *even);
        return;
    }
    line[2 * most + 1] = 0;
#pragma omp simd
    for (size_t i = 0; i <= most; i++) {
        even[i] = line[2 * i];
        odd[i] = line[2 * i + 1];
    }
}

/* Median over the disc around lattice point (j, i). `guess` is that of a neighbour, or 0. `scratch` has room for the
 * numbers of a disc and RUN more, `ends` for two numbers a row of a disc. */
static float disc_median(const struct mro_lattice *l, const struct powers *p, ptrdiff_t j, ptrdiff_t i, float guess,
                         float *scratch, int *ends)
{
    const struct mro_disc disc = mro_lattice_disc(l, j, i);
    const int y0 = (int)disc.y0, rows = (int)(disc.y1 - disc.y0 + 1);
    int *first = ends, *count = ends + rows;
#pragma omp simd
    for (int r = 0; r < rows; r++) first[r] = mro_disc_row(&disc, y0 + r, count + r);
    size_t n = 0;
    for (int r = 0; r < rows; r++) {
        const float *from = power_at(p, y0 + r, first[r]);
        for (int done = 0; done < count[r]; done += RUN) memcpy(scratch + n + done, from + done, RUN * sizeof *from);
        n += (size_t)count[r];
    }
    return n ? mro_median_positive(scratch, n, guess) : 0;
}

/* Medians of all wanted points, others -1. false: out of memory. */
static bool lattice_medians(const struct mro_lattice *l, const mro_c32 *s, const float *model, float *v, int threads)
{
    const struct mro_disc disc = mro_lattice_disc(l, 0, 0);
    const size_t rows = 2 * (size_t)disc.ry + 3, most = rows * (2 * (size_t)disc.rx + 3) + RUN;
    struct powers p;
    bool failed = !powers_new(&p, l);
    for (size_t i = 0; i < mro_lattice_points(l); i++) v[i] = -1;
#pragma omp parallel num_threads(threads) if (!failed)
    {
        float *line = failed ? NULL : malloc((p.pitch + most) * sizeof *line), *scratch = line ? line + p.pitch : NULL;
        int *ends = malloc(2 * rows * sizeof *ends);
        const bool ready = line && ends;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (ptrdiff_t y = p.y0; y <= p.y1; y++)
            if (ready) fill_powers(&p, l, s, model, y, line);
#pragma omp for schedule(dynamic, 4)
        for (ptrdiff_t j = 0; j <= l->half; j++) {
            if (!ready) continue;
            /* |F| is even: one median serves both halves. */
            float median = 0;
            for (ptrdiff_t i = j ? -l->half : 0; i <= l->half; i++) {
                if (!mro_lattice_wanted(l, j, i)) continue;
                median = disc_median(l, &p, j, i, median, scratch, ends);
                v[mro_lattice_index(l, j, i)] = v[mro_lattice_index(l, -j, -i)] = median / (float)M_LN2;
            }
        }
        free(line);
        free(ends);
    }
    free(p.v);
    return !failed;
}

/* Normalised smoothing, as mro_lattice_smoothed does it at one point: sums along one axis, then along the other. false:
 * out of memory. */
static bool lattice_smooth(const struct mro_lattice *l, const float *v, float *smooth)
{
    const int half = (int)l->half, reach = (int)l->reach, wide = 2 * half + 1;
    const size_t n = mro_lattice_points(l), padded = (size_t)(wide + 2 * reach);
    double bell[MRO_LATTICE_REACH + 1];
    for (int i = 0; i <= reach; i++) bell[i] = exp(-0.5 * (double)(i * i) / (l->sigma * l->sigma));
    double *sums = malloc((2 * n + 4 * padded) * sizeof *sums);
    if (sums == NULL) return false;
    double *weights = sums + n, *value = weights + n, *there = value + padded, *sum = there + padded,
           *weight = sum + padded;
    memset(value, 0, 2 * padded * sizeof *value);
    for (int j = 0; j < wide; j++) {
        const float *from = v + (size_t)j * (size_t)wide;
        double *to = sums + (size_t)j * (size_t)wide, *to_weight = weights + (size_t)j * (size_t)wide;
        for (int i = 0; i < wide; i++) {
            there[i + reach] = from[i] >= 0;
            value[i + reach] = from[i] >= 0 ? (double)from[i] : 0;
        }
        memset(to, 0, (size_t)wide * sizeof *to);
        memset(to_weight, 0, (size_t)wide * sizeof *to_weight);
        for (int a = -reach; a <= reach; a++) {
            const double w = bell[abs(a)];
#pragma omp simd
            for (int i = 0; i < wide; i++) {
                to[i] += w * value[i + a + reach];
                to_weight[i] += w * there[i + a + reach];
            }
        }
    }
    const double least = (l->lo - l->step) * (l->lo - l->step), most = (l->hi + l->step) * (l->hi + l->step);
    for (int j = -half; j <= half; j++) {
        float *to = smooth + mro_lattice_index(l, j, -half);
        memset(sum, 0, 2 * padded * sizeof *sum);
        for (int b = j - reach < -half ? -half : j - reach; b <= j + reach && b <= half; b++) {
            const double w = bell[abs(b - j)];
            const double *row = sums + (size_t)(b + half) * (size_t)wide;
            const double *row_weight = weights + (size_t)(b + half) * (size_t)wide;
#pragma omp simd
            for (int i = 0; i < wide; i++) {
                sum[i] += w * row[i];
                weight[i] += w * row_weight[i];
            }
        }
        for (int i = 0; i < wide; i++) {
            const double q2 = (double)(j * j + (i - half) * (i - half)) * l->step * l->step;
            to[i] = q2 < least || q2 > most || !(weight[i] > 0) ? 0 : (float)(sum[i] / weight[i]);
        }
    }
    free(sums);
    return true;
}

/* Row y of the plane, interpolated: first between rows of the lattice, in `line`, then along it. */
static void power_row(const struct mro_lattice *l, const float *smooth, size_t y, float *line, float *out)
{
    const double qy = mro_frequency(y, l->ny, l->ly), left = l->hi * l->hi - qy * qy;
    const double b = qy / l->step, per = 1 / (l->lx * l->step), inner = fmax(l->lo, 0) / l->step, rounding = 1e-9;
    memset(out, 0, l->nx * sizeof *out);
    if (left < -rounding) return; /* both limits are within */
    const ptrdiff_t j = (ptrdiff_t)floor(b);
    const float wy = (float)(b - (double)j);
    const float *here = smooth + mro_lattice_index(l, j, -l->half),
                *next = smooth + mro_lattice_index(l, j + 1, -l->half);
    for (ptrdiff_t i = 0; i <= 2 * l->half; i++) line[i] = (1 - wy) * here[i] + wy * next[i];
    const int last = (int)fmin(sqrt(fmax(left, 0)) * l->lx + rounding, (double)(l->nx / 2)), half = (int)l->half;
    for (int side = 0; side < 2; side++) {
        const int n = side ? (int)fmin(last, (double)((l->nx - 1) / 2)) : last;
#pragma omp simd
        for (int x = side; x <= n; x++) {
            const double a = x * per, at = half + (side ? -a : a);
            const int i = (int)at;
            const float w = (float)(at - i), v = (1 - w) * line[i] + w * line[i + 1];
            out[side ? (int)l->nx - x : x] = a * a + b * b < inner * inner - rounding ? 0 : v;
        }
    }
}

enum mro_code mro_cpu_local_power(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                  const float *model, double radius_inv_nm, double lo, double hi,
                                  struct mro_buffer *power, struct mro_error *e)
{
    float *out = power->p;
    const struct mro_lattice l = mro_lattice_of(g->ny, g->nx, g->ly, g->lx, radius_inv_nm, lo, hi);
    const size_t nl = mro_lattice_points(&l);
    float *v = malloc(nl * sizeof *v), *smooth = malloc(nl * sizeof *smooth);
    enum mro_code rc = MRO_OK;
    bool failed = false;
    if (!v || !smooth || !lattice_medians(&l, spectrum->p, model, v, d->threads)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a spectrum of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    if (!lattice_smooth(&l, v, smooth)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
#pragma omp parallel num_threads(d->threads)
    {
        float *line = malloc((size_t)(2 * l.half + 1) * sizeof *line);
        if (line == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t y = 0; y <= g->ny / 2; y++) {
            const size_t mirror = y ? g->ny - y : 0;
            if (line == NULL) continue;
            float *row = out + y * g->nx, *other = out + mirror * g->nx;
            power_row(&l, smooth, y, line, row);
            for (size_t x = 0; mirror != y && x < g->nx; x++) other[x] = row[x ? g->nx - x : 0];
            for (size_t x = 0; model && x < g->nx; x++) row[x] *= model[y * g->nx + x];
            for (size_t x = 0; model && mirror != y && x < g->nx; x++) other[x] *= model[mirror * g->nx + x];
        }
        free(line);
    }
    if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
done:
    free(v);
    free(smooth);
    return rc;
}

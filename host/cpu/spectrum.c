/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Local power of a spectrum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "cpu/cpu.h"
#include "cpu/lines.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/lattice.h"

/* Points of the lattice that are smoothed side by side, and vectors of them. */
typedef double several __attribute__((vector_size(4 * MRO_LANES), aligned(8), may_alias));
enum { BESIDE = 16, VECTORS = 2 * BESIDE / MRO_LANES };

/* Sums of BESIDE columns of `n` rows, `pitch` apart, each times its part of the bell: of values and of weights. */
static inline void bell_sums(const double *values, const double *weights, size_t pitch, int n, const double *bell,
                             double *value, double *weight)
{
    several v[VECTORS] = { { 0 } }, w[VECTORS] = { { 0 } };
    for (int b = 0; b < n; b++, values += pitch, weights += pitch)
#pragma GCC unroll 8
        for (int k = 0; k < VECTORS; k++) {
            v[k] += bell[b] * ((const several *)values)[k];
            w[k] += bell[b] * ((const several *)weights)[k];
        }
#pragma GCC unroll 8
    for (int k = 0; k < VECTORS; k++) {
        ((several *)value)[k] = v[k];
        ((several *)weight)[k] = w[k];
    }
}

/* Whether any of BESIDE points of the lattice from column x on, in rows from..to, is near enough to the band for
 * mro_lattice_smoothed to smooth there; true for some that are not. */
static bool near_band(const struct mro_lattice *l, int from, int to, int x)
{
    const int end = x + BESIDE - 1, near = x > 0 ? x : end < 0 ? -end : 0, far = end > -x ? end : -x;
    const double inner = l->lo - l->step, outer = l->hi + l->step;
    return (from * from + near * near) * l->step * l->step <= outer * outer &&
           (to * to + far * far) * l->step * l->step >= inner * inner;
}

/* Normalised smoothing, as mro_lattice_smoothed does it at one point: sums along one axis, then along the other. What
 * is smoothed is even. false: out of memory. */
static bool lattice_smooth(const struct mro_lattice *l, const float *v, float *smooth)
{
    const int half = (int)l->half, reach = (int)l->reach, wide = 2 * half + 1, rows = half + 1 + reach;
    const size_t pitch = (size_t)(wide + BESIDE - 1) / BESIDE * BESIDE, padded = pitch + 2 * (size_t)reach;
    double bell[2 * MRO_LATTICE_REACH + 1];
    for (int i = -reach; i <= reach; i++) bell[i + reach] = exp(-0.5 * (double)(i * i) / (l->sigma * l->sigma));
    double *sums = malloc((2 * (size_t)rows * pitch + 2 * padded) * sizeof *sums);
    if (sums == NULL) return false;
    double *weights = sums + (size_t)rows * pitch, *value = weights + (size_t)rows * pitch, *there = value + padded;
    memset(value, 0, 2 * padded * sizeof *value);
    for (int r = 0; r < rows; r++) { /* those that reach the upper half plane */
        const int row = abs(r - reach), least = row > reach ? row - reach : 0;
        const float *from = v + mro_lattice_index(l, r - reach, -half);
#pragma omp simd
        for (int i = 0; i < wide; i++) {
            there[i + reach] = from[i] >= 0;
            value[i + reach] = from[i] >= 0 ? (double)from[i] : 0;
        }
        for (int i = 0; i < wide; i += BESIDE) {
            const size_t at = (size_t)r * pitch + (size_t)i;
            if (near_band(l, least, row + reach, i - half))
                bell_sums(value + i, there + i, 1, 2 * reach + 1, bell, sums + at, weights + at);
        }
    }
    const double least = (l->lo - l->step) * (l->lo - l->step), most = (l->hi + l->step) * (l->hi + l->step);
    for (int j = 0; j <= half; j++) {
        float *to = smooth + mro_lattice_index(l, j, -half), *mirror = smooth + mro_lattice_index(l, -j, half);
        const int last = j + reach < half ? j + reach : half;
        for (int i = 0; i < wide; i += BESIDE) {
            const size_t at = (size_t)j * pitch + (size_t)i, n = (size_t)(wide - i < BESIDE ? wide - i : BESIDE);
            double sum[BESIDE], weight[BESIDE];
            float out[BESIDE] = { 0 };
            if (near_band(l, j, j, i - half)) {
                bell_sums(sums + at, weights + at, pitch, last - j + reach + 1, bell, sum, weight);
#pragma omp simd
                for (int k = 0; k < BESIDE; k++) {
                    const double x = i + k - half, q2 = (j * j + x * x) * l->step * l->step;
                    out[k] = q2 < least || q2 > most || !(weight[k] > 0) ? 0 : (float)(sum[k] / weight[k]);
                }
            }
            memcpy(to + i, out, n * sizeof *out);
        }
        for (int i = j ? 0 : half + 1; i < wide; i++) mirror[-i] = to[i];
    }
    free(sums);
    return true;
}

/* Where the columns of the plane lie between those of the lattice: from 0 on, and from 0 down. */
struct columns {
    int *at[2];
    float *after[2]; /* of the way to the next */
};

static bool columns_new(struct columns *c, const struct mro_lattice *l)
{
    const size_t n = l->nx / 2 + 1;
    const double per = 1 / (l->lx * l->step), half = (double)l->half;
    c->at[0] = malloc(2 * n * sizeof *c->at[0]);
    c->after[0] = malloc(2 * n * sizeof *c->after[0]);
    if (!c->at[0] || !c->after[0]) return false;
    for (int side = 0; side < 2; side++) {
        int *at = c->at[side] = c->at[0] + (side ? n : 0);
        float *after = c->after[side] = c->after[0] + (side ? n : 0);
        for (size_t x = 0; x < n; x++) {
            const double a = (double)x * per, where = half + (side ? -a : a);
            at[x] = (int)where;
            after[x] = (float)(where - at[x]);
        }
    }
    return true;
}

static void columns_free(struct columns *c)
{
    free(c->at[0]);
    free(c->after[0]);
}

/* Row y of the plane and its mirror image, interpolated: first between rows of the lattice, in `line`, then along it,
 * in `v`, and times the model where there is one. */
static void power_rows(const struct mro_lattice *l, const struct columns *c, const float *smooth, size_t y,
                       const float *model, float *line, float *v, float *out)
{
    const double qy = mro_frequency(y, l->ny, l->ly), left = l->hi * l->hi - qy * qy;
    const double b = qy / l->step, per = 1 / (l->lx * l->step), inner = fmax(l->lo, 0) / l->step, rounding = 1e-9;
    const size_t nx = l->nx, mirror = y ? l->ny - y : 0;
    float *row = out + y * nx, *other = out + mirror * nx;
    int first = 0, last = -1; /* columns within the band; both limits are within */
    if (left >= -rounding) {
        last = (int)fmin(sqrt(fmax(left, 0)) * l->lx + rounding, (double)(nx / 2));
        while (first <= last && (first * per) * (first * per) + b * b < inner * inner - rounding) first++;
        const ptrdiff_t j = (ptrdiff_t)floor(b);
        const float wy = (float)(b - (double)j);
        const float *here = smooth + mro_lattice_index(l, j, -l->half),
                    *next = smooth + mro_lattice_index(l, j + 1, -l->half);
#pragma omp simd
        for (ptrdiff_t i = 0; i <= 2 * l->half; i++) line[i] = (1 - wy) * here[i] + wy * next[i];
    }
    memset(row, 0, nx * sizeof *row);
    memset(other, 0, nx * sizeof *other);
    for (int side = 0; side < 2; side++) { /* columns from 0 on, and those below */
        const int from = side && !first ? 1 : first, to = side ? (int)fmin(last, (double)((nx - 1) / 2)) : last;
        const int *at = c->at[side];
        const float *after = c->after[side];
        float *up = side ? other : row, *down = (side ? row : other) + nx;
#pragma omp simd
        for (int x = from; x <= to; x++) {
            const int i = at[x];
            const float w = after[x];
            v[x] = w * line[i + 1] + (1 - w) * line[i];
        }
        if (from > to) continue;
        const float *of_up = model ? model + (up - out) : NULL, *of_down = model ? model + (down - out) : NULL;
        if (side == 0 || other != row)
#pragma omp simd
            for (int x = from; x <= to; x++) up[x] = model ? v[x] * of_up[x] : v[x];
        if (side == 1 || other != row)
#pragma omp simd
            for (int x = from ? from : 1; x <= to; x++) down[-x] = model ? v[x] * of_down[-x] : v[x];
        if (from == 0 && other != row) other[0] = model ? v[0] * model[other - out] : v[0];
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
    struct columns columns = { 0 };
    enum mro_code rc = MRO_OK;
    bool failed = false;
    if (!v || !smooth || !mro_cpu_lattice_medians(&l, spectrum->p, model, v, d->threads)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a spectrum of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    if (!lattice_smooth(&l, v, smooth) || !columns_new(&columns, &l)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
#pragma omp parallel num_threads(mro_team(d->threads, 0.5 * (double)(g->ny * g->nx)))
    {
        float *line = malloc(((size_t)(2 * l.half + 1) + g->nx / 2 + 1) * sizeof *line);
        if (line == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t y = 0; y <= g->ny / 2; y++)
            if (line) power_rows(&l, &columns, smooth, y, model, line, line + 2 * l.half + 1, out);
        free(line);
    }
    if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
done:
    columns_free(&columns);
    free(v);
    free(smooth);
    return rc;
}

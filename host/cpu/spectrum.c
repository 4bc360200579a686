/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Local power of a spectrum, and the bank of windowed spectra. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/bank.h"
#include "core/select.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "mroscope/math/elementary.h"
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
    double *sums = malloc((2 * n + 4 * padded) * sizeof *sums), *weights = sums + n;
    if (sums == NULL) return false;
    double *value = weights + n, *there = value + padded, *sum = there + padded, *weight = sum + padded;
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

/* exp(-c (i + offset)^2) for -reach <= i <= reach. */
static void bell_row(double c, double offset, int reach, float *w)
{
#pragma omp simd
    for (int i = 0; i <= 2 * reach; i++) {
        const double r = i - reach + offset;
        w[i] = mro_exp((float)(-c * r * r));
    }
}

enum mro_code mro_cpu_bank_maximum(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                   const struct mro_bank *bank, const struct mro_grid *out, struct mro_buffer *power,
                                   struct mro_buffer *which, struct mro_error *e)
{
    const struct mro_bank_window window = mro_bank_window_of(bank, g);
    const ptrdiff_t hy = window.hy, hx = window.hx;
    const double c = window.c;
    const size_t n = out->ny * out->nx, wide = mro_panels(out->nx) * out->ny, places = wide * MRO_LANES;
    const mro_c32 *s = spectrum->p;
    float *best = power->p;
    int32_t *arg = which->p;
    bool failed = false;
    double *scale = malloc(bank->n_g * sizeof *scale);
    if (scale == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu x %zu", out->nx, out->ny);
    mro_bank_scales(bank, g, scale);
    for (size_t i = 0; i < n; i++) {
        best[i] = -1;
        arg[i] = -1;
    }
#pragma omp parallel num_threads(d->threads)
    {
        struct mro_plane plane;
        const bool ready_plane = mro_plane_new(&plane, out->ny, out->nx);
        mro_c32 *z = malloc(n * sizeof *z);
        struct mro_wide *panels = mro_lines_room(wide);
        /* As the panels have them: those of MRO_LANES columns side by side, row by row. */
        float *mine = malloc(places * sizeof *mine), *wx = malloc((size_t)(2 * (hx + hy) + 2) * sizeof *wx);
        float *all_wy = wx ? wx + 2 * hx + 1 : NULL;
        int32_t *mine_arg = malloc(places * sizeof *mine_arg);
        const bool ready = ready_plane && z && panels && mine && wx && mine_arg;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        } else {
            for (size_t i = 0; i < places; i++) {
                mine[i] = -1;
                mine_arg[i] = -1;
            }
        }
#pragma omp for schedule(dynamic, 4)
        for (size_t k = 0; k < bank->n_g; k++) {
            if (!ready) continue;
            const double py = bank->g[k][0] * g->ly, px = bank->g[k][1] * g->lx;
            const ptrdiff_t cy = (ptrdiff_t)lround(py), cx = (ptrdiff_t)lround(px);
            memset(z, 0, n * sizeof *z);
            bell_row(c / (g->lx * g->lx), (double)cx - px, (int)hx, wx);
            bell_row(c / (g->ly * g->ly), (double)cy - py, (int)hy, all_wy);
            for (ptrdiff_t j = -hy; j <= hy; j++) {
                const float wy = all_wy[j + hy] * (float)scale[k];
                ptrdiff_t row = (j + cy) % (ptrdiff_t)g->ny, to = j % (ptrdiff_t)out->ny;
                if (row < 0) row += (ptrdiff_t)g->ny;
                if (to < 0) to += (ptrdiff_t)out->ny;
                const mro_c32 *src = s + (size_t)row * g->nx;
                mro_c32 *dst = z + (size_t)to * out->nx;
                /* Frequencies beyond the coarse grid's own fold onto it: at its points that is exact. */
                ptrdiff_t from = (cx - hx) % (ptrdiff_t)g->nx, at = (-hx) % (ptrdiff_t)out->nx;
                if (from < 0) from += (ptrdiff_t)g->nx;
                if (at < 0) at += (ptrdiff_t)out->nx;
                for (ptrdiff_t i = 0; i <= 2 * hx;) {
                    ptrdiff_t run = 2 * hx + 1 - i;
                    if (run > (ptrdiff_t)g->nx - from) run = (ptrdiff_t)g->nx - from;
                    if (run > (ptrdiff_t)out->nx - at) run = (ptrdiff_t)out->nx - at;
#pragma omp simd
                    for (ptrdiff_t t = 0; t < run; t++) {
                        const float w = wy * wx[i + t];
                        dst[at + t].re += w * src[from + t].re;
                        dst[at + t].im += w * src[from + t].im;
                    }
                    i += run;
                    from = (from + run) % (ptrdiff_t)g->nx;
                    at = (at + run) % (ptrdiff_t)out->nx;
                }
            }
            mro_plane_run(&plane, true, z, hy, panels);
            const int32_t id = (int32_t)k; /* rising within a thread: of equal powers the first is kept */
            const float *re = (const float *)panels;
            for (size_t i = 0; i < places; i += MRO_LANES, re += 2 * MRO_LANES)
#pragma omp simd
                for (size_t t = 0; t < MRO_LANES; t++) {
                    const float p = re[t] * re[t] + re[t + MRO_LANES] * re[t + MRO_LANES];
                    const bool more = p > mine[i + t];
                    mine[i + t] = more ? p : mine[i + t];
                    mine_arg[i + t] = more ? id : mine_arg[i + t];
                }
        }
        /* A maximum does not depend on the order of threads once ties go to the lower number. */
        if (ready) {
#pragma omp critical(mro_bank_merge)
            for (size_t y = 0; y < out->ny; y++)
                for (size_t x = 0; x < out->nx; x++) {
                    const size_t i = y * out->nx + x, t = (x / MRO_LANES * out->ny + y) * MRO_LANES + x % MRO_LANES;
                    if (mine[t] > best[i] || (mine[t] == best[i] && mine_arg[t] < arg[i])) {
                        best[i] = mine[t];
                        arg[i] = mine_arg[t];
                    }
                }
        }
        mro_plane_release(&plane);
        free(z);
        free(panels);
        free(mine);
        free(wx);
        free(mine_arg);
    }
    free(scale);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", out->nx, out->ny) : MRO_OK;
}

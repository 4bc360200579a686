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

/* Median over the disc around lattice point (j, i). `guess` is that of a neighbour, or 0. */
static float disc_median(const struct mro_lattice *l, const float *p, ptrdiff_t j, ptrdiff_t i, float guess,
                         float *scratch)
{
    const struct mro_disc disc = mro_lattice_disc(l, j, i);
    size_t n = 0;
    for (ptrdiff_t y = disc.y0; y <= disc.y1; y++) {
        const float *row = p + (size_t)(y < 0 ? y + (ptrdiff_t)l->ny : y) * l->nx;
        ptrdiff_t count, x = mro_disc_row(&disc, y, &count);
        for (; count > 0; count--, x += disc.stride) scratch[n++] = row[x < 0 ? x + (ptrdiff_t)l->nx : x];
    }
    return n ? mro_median_positive(scratch, n, guess) : 0;
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
    const size_t n = g->ny * g->nx;
    const mro_c32 *s = spectrum->p;
    float *out = power->p;
    const struct mro_lattice l = mro_lattice_of(g->ny, g->nx, g->ly, g->lx, radius_inv_nm, lo, hi);
    const size_t nl = mro_lattice_points(&l);
    float *p = malloc(n * sizeof *p), *v = malloc(nl * sizeof *v), *smooth = malloc(nl * sizeof *smooth);
    const size_t most = (size_t)((2 * radius_inv_nm * g->ly + 4) * (2 * radius_inv_nm * g->lx + 4));
    enum mro_code rc = MRO_OK;
    bool failed = false;
    if (!p || !v || !smooth) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a spectrum of %zu x %zu", g->nx, g->ny);
        goto done;
    }
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (size_t i = 0; i < n; i++) p[i] = (s[i].re * s[i].re + s[i].im * s[i].im) / (model ? model[i] : 1.0f);
    for (size_t i = 0; i < nl; i++) v[i] = -1; /* not wanted */
#pragma omp parallel num_threads(d->threads)
    {
        float *scratch = malloc(most * sizeof *scratch);
        if (scratch == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 4)
        for (ptrdiff_t j = 0; j <= l.half; j++) {
            if (scratch == NULL) continue;
            /* |F| is even: one median serves both halves. */
            float median = 0;
            for (ptrdiff_t i = j ? -l.half : 0; i <= l.half; i++) {
                if (!mro_lattice_wanted(&l, j, i)) continue;
                median = disc_median(&l, p, j, i, median, scratch);
                v[mro_lattice_index(&l, j, i)] = v[mro_lattice_index(&l, -j, -i)] = median / (float)M_LN2;
            }
        }
        free(scratch);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    double bell[MRO_LATTICE_REACH + 1];
    for (ptrdiff_t i = 0; i <= l.reach; i++) bell[i] = exp(-0.5 * (double)(i * i) / (l.sigma * l.sigma));
#pragma omp parallel for schedule(dynamic, 8) num_threads(d->threads)
    for (ptrdiff_t j = 0; j <= l.half; j++)
        for (ptrdiff_t i = -l.half; i <= l.half; i++)
            smooth[mro_lattice_index(&l, j, i)] = smooth[mro_lattice_index(&l, -j, -i)] =
                mro_lattice_smoothed(&l, v, bell, j, i);
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
    free(p);
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

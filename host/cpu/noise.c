/* SPDX-License-Identifier: GPL-3.0-or-later */
/* White Gaussian fields drawn in Fourier space. */
#include "mroscope/math/noise.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/philox_words.h"
#include "cpu/cpu.h"

#define LANES MRO_PHILOX_LANES

/* The first two words of mro_philox(seed, stream, counter + i) for i < n, where the low half of the counter does not
 * overflow; there is room for LANES more. */
static void philox_run(uint64_t seed, uint64_t stream, uint64_t counter, int32_t n, uint32_t *first, uint32_t *second)
{
    for (int32_t at = 0; at < n; at += LANES) {
        mro_philox_words v[4];
        mro_philox_lanes(seed, stream, counter + (uint32_t)at, v);
        for (int i = 0; i < LANES; i++) {
            first[at + i] = (uint32_t)v[0][i];
            second[at + i] = (uint32_t)v[1][i];
        }
    }
}

struct draw {
    const struct mro_grid *g;
    uint64_t seed, stream;
    float lo, hi, edge;
};

/* The band is flat over frequencies from..to of a row. */
static bool is_flat(const struct draw *w, int32_t ky, int32_t from, int32_t to)
{
    const double qy = ky / w->g->ly, far = fmax(abs(from), abs(to)) / w->g->lx;
    const double near = from <= 0 && to >= 0 ? 0 : fmin(abs(from), abs(to)) / w->g->lx, rounding = 1e-5 * w->hi;
    return hypot(qy, near) >= w->lo + 0.5 * w->edge + rounding && hypot(qy, far) <= w->hi - 0.5 * w->edge - rounding;
}

/* to[-i] = the conjugate of z[i], i < n. As whole numbers of 64 bits, which compilers turn round as vectors. */
static void conjugate_back(const mro_c32 *z, int32_t n, mro_c32 *to)
{
    const mro_c32 minus = { 0.0f, -0.0f };
    uint64_t sign;
    memcpy(&sign, &minus, sizeof sign);
    for (int32_t i = 0; i < n; i++) {
        uint64_t one;
        memcpy(&one, z + i, sizeof one);
        one ^= sign;
        memcpy(to - i, &one, sizeof one);
    }
}

/* Coefficients from <= kx < from + n of row ky, and their conjugates. */
static void draw_run(const struct draw *w, int32_t ky, int32_t from, int32_t n, mro_c32 *s)
{
    enum { PART = 256, BATCH = 16 };
    const struct mro_grid *g = w->g;
    const ptrdiff_t nx = (ptrdiff_t)g->nx;
    uint32_t u[PART], v[PART];
    float gain[PART];
    mro_c32 z[PART], *up = s + (size_t)ky * g->nx, *down = s + (ky ? g->ny - (size_t)ky : 0) * g->nx;
    for (int32_t done = 0; done < n; done += PART) {
        const int32_t part = n - done < PART ? n - done : PART, first = from + done;
        if (is_flat(w, ky, first, first + part - 1)) {
            const float flat = mro_noise_gain(ky, first, g->ly, g->lx, w->lo, w->hi, w->edge);
            for (int32_t i = 0; i < PART; i++) gain[i] = flat;
        } else {
#pragma omp simd
            for (int32_t i = 0; i < PART; i++)
                gain[i] = mro_noise_gain(ky, first + i, g->ly, g->lx, w->lo, w->hi, w->edge);
        }
        for (int32_t at = 0; at < part; at += BATCH) {
            philox_run(w->seed, w->stream, mro_noise_counter(ky, first + at), BATCH, u + at, v + at);
#pragma omp simd
            for (int32_t i = at; i < at + BATCH; i++) {
                const mro_c32 pair = mro_normal_pair(u[i], v[i]);
                z[i].re = pair.re * gain[i];
                z[i].im = pair.im * gain[i];
            }
        }
        const int32_t below = first >= 0 ? 0 : -first < part ? -first : part; /* 0 */
        if (below) {
            memcpy(up + nx + first, z, (size_t)below * sizeof *z);
            conjugate_back(z, below, down - first);
        }
        if (below == part) continue;
        const int32_t kx = first + below;
        if (ky == 0 && kx == 0) z[below].im = 0;
        if (kx == 0) down[0] = (mro_c32){ z[below].re, -z[below].im };
        conjugate_back(z + below + (kx == 0), part - below - (kx == 0), down + nx - kx - (kx == 0));
        memcpy(up + kx, z + below, (size_t)(part - below) * sizeof *z);
    }
}

/* Zeros of a row of nx frequencies at |kx| < first and |kx| > last. */
static void clear_beside(mro_c32 *row, size_t nx, int32_t first, int32_t last)
{
    const size_t inner = (size_t)first, outer = (size_t)last;
    if (inner) memset(row, 0, inner * sizeof *row);
    if (inner > 1) memset(row + nx - inner + 1, 0, (inner - 1) * sizeof *row);
    memset(row + outer + 1, 0, (nx - 2 * outer - 1) * sizeof *row);
}

enum mro_code mro_cpu_noise_spectrum(struct mro_device *d, const struct mro_grid *g, uint64_t seed, uint64_t stream,
                                     const double band_inv_nm[2], double edge_inv_nm, struct mro_buffer *spectrum,
                                     struct mro_error *e)
{
    (void)e;
    mro_c32 *s = spectrum->p;
    const size_t ny = g->ny, nx = g->nx;
    const struct draw w = { g, seed, stream, (float)band_inv_nm[0], (float)band_inv_nm[1], (float)edge_inv_nm };
    /* Middle frequencies of even grids have no partner: left 0. */
    const int32_t hy = (int32_t)((ny - 1) / 2), hx = (int32_t)((nx - 1) / 2);
    if (ny % 2 == 0) memset(s + ny / 2 * nx, 0, nx * sizeof *s);
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (int32_t ky = 0; ky <= hy; ky++) {
        mro_c32 *row = s + (size_t)ky * nx, *mirror = s + (ky ? ny - (size_t)ky : 0) * nx;
        int32_t first, last;
        const bool any = mro_noise_row(ky, g->ly, g->lx, w.lo, w.hi, w.edge, &first, &last) && first <= hx;
        if (!any) {
            memset(row, 0, nx * sizeof *row);
            memset(mirror, 0, nx * sizeof *mirror);
            continue;
        }
        if (last > hx) last = hx;
        clear_beside(row, nx, first, last);
        clear_beside(mirror, nx, first, last);
        if (ky && first == 0) {
            draw_run(&w, ky, -last, 2 * last + 1, s);
        } else {
            if (ky) draw_run(&w, ky, -last, last - first + 1, s);
            draw_run(&w, ky, first, last - first + 1, s);
        }
    }
    return MRO_OK;
}

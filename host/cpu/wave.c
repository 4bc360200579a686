/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fringes brought down to frequency zero, and the slope of their phase. */
#include "core/wave.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/fft.h"

enum mro_code mro_cpu_demodulate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                 const double g_inv_nm[2], double sigma_inv_nm, const struct mro_grid *out,
                                 struct mro_buffer *h, struct mro_error *e)
{
    struct mro_wave_mask m;
    MRO_TRY(mro_wave_check(g, g_inv_nm, sigma_inv_nm, out, &m, e));
    const mro_c32 *s = spectrum->p;
    mro_c32 *z = h->p;
    const double unit = 1 / sqrt((double)g->ny * (double)g->nx);
    memset(z, 0, out->ny * out->nx * sizeof *z);
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (ptrdiff_t j = -m.hy; j <= m.hy; j++) {
        const mro_c32 *from = s + mro_cyclic(j + m.cy, g->ny) * g->nx;
        mro_c32 *to = z + mro_cyclic(j, out->ny) * out->nx;
        for (ptrdiff_t i = -m.hx; i <= m.hx; i++) {
            const float w = (float)(unit * mro_wave_weight(&m, j, i));
            const mro_c32 v = from[mro_cyclic(i + m.cx, g->nx)];
            to[mro_cyclic(i, out->nx)] = (mro_c32){ w * v.re, w * v.im };
        }
    }
    return mro_fft2(z, out->ny, out->nx, true, d->threads, e);
}

enum mro_code mro_cpu_phase_slope(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *h,
                                  struct mro_buffer *slope, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    const mro_c32 *from = h->p;
    mro_c32 *z = malloc(n * sizeof *z), *dh = malloc(n * sizeof *dh);
    enum mro_code rc = MRO_OK;
    if (z == NULL || dh == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    memcpy(z, from, n * sizeof *z);
    if ((rc = mro_fft2(z, g->ny, g->nx, false, d->threads, e))) goto done;
    for (int axis = 0; axis < 2; axis++) {
        float *to = (float *)slope->p + (size_t)axis * n;
#pragma omp parallel for schedule(static) num_threads(d->threads)
        for (size_t y = 0; y < g->ny; y++)
            for (size_t x = 0; x < g->nx; x++) {
                const size_t m = axis ? g->nx : g->ny, i = axis ? x : y, k = y * g->nx + x;
                const double q = m % 2 == 0 && i == m / 2 ? 0 : mro_frequency(i, m, axis ? g->lx : g->ly);
                const float w = (float)(2 * MRO_PI * q / (double)n);
                dh[k] = (mro_c32){ -w * z[k].im, w * z[k].re };
            }
        if ((rc = mro_fft2(dh, g->ny, g->nx, true, d->threads, e))) goto done;
#pragma omp parallel for schedule(static) num_threads(d->threads)
        for (size_t k = 0; k < n; k++) to[k] = mro_wave_slope(from[k], dh[k]);
    }
done:
    free(z);
    free(dh);
    return rc;
}

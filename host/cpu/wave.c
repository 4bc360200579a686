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
    return mro_fft2(z, out->ny, out->nx, m.hy, true, d->threads, e);
}

/* Slope of the phase of MRO_LANES lines, r->in, along them; to the real parts of `slope`. */
static void slope_of_lines(const struct mro_room *r, size_t n, double length_nm, struct mro_wide *slope)
{
    mro_lines_run(r->lines, false, r->in, r->out, r->scratch);
    for (size_t k = 0; k < n; k++) {
        const double q = 2 * k == n ? 0 : mro_frequency(k, n, length_nm); /* the middle has no sign */
        const float w = (float)(2 * MRO_PI * q / (double)n);
        r->out[k] = (struct mro_wide){ -w * r->out[k].im, w * r->out[k].re };
    }
    mro_lines_run(r->lines, true, r->out, slope, r->scratch);
    for (size_t k = 0; k < n; k++)
#pragma omp simd
        for (int i = 0; i < MRO_LANES; i++)
            slope[k].re[i] = mro_wave_slope((mro_c32){ r->in[k].re[i], r->in[k].im[i] },
                                            (mro_c32){ slope[k].re[i], slope[k].im[i] });
}

enum mro_code mro_cpu_phase_slope(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *h,
                                  struct mro_buffer *slope, struct mro_error *e)
{
    const size_t ny = g->ny, nx = g->nx;
    const mro_c32 *from = h->p;
    float *along_y = slope->p, *along_x = along_y + ny * nx;
    bool failed = false;
#pragma omp parallel num_threads(d->threads)
    {
        struct mro_rooms r;
        struct mro_wide *line = mro_lines_room(nx > ny ? nx : ny);
        const bool ready = mro_rooms_new(&r, ny, nx) && line;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t x0 = 0; x0 < nx; x0 += MRO_LANES) {
            const size_t w = nx - x0 < MRO_LANES ? nx - x0 : MRO_LANES;
            if (!ready) continue;
            mro_lines_from_columns(from + x0, nx, w, ny, r.y.in);
            slope_of_lines(&r.y, ny, g->ly, line);
            for (size_t k = 0; k < ny; k++) memcpy(along_y + k * nx + x0, &line[k].re, w * sizeof *along_y);
        }
#pragma omp for schedule(static)
        for (size_t y0 = 0; y0 < ny; y0 += MRO_LANES) {
            const size_t w = ny - y0 < MRO_LANES ? ny - y0 : MRO_LANES;
            if (!ready) continue;
            mro_lines_from_rows(&from[y0 * nx].re, 2 * nx, w, 2 * nx, &r.x.in->re, 1);
            slope_of_lines(&r.x, nx, g->lx, line);
            mro_lines_to_rows(&line->re, 2, along_x + y0 * nx, nx, w, nx);
        }
        mro_rooms_release(&r);
        free(line);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", nx, ny) : MRO_OK;
}

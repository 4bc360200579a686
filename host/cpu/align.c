/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Spectra of fields that lie against each other. */
#include <stdlib.h>

#include "cpu/cpu.h"
#include "mroscope/math/move.h"

enum mro_code mro_cpu_correlate(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                                const struct mro_buffer *b, struct mro_buffer *out, struct mro_error *e)
{
    const mro_c32 *u = a->p, *v = b->p;
    mro_c32 *w = out->p;
    const size_t n = g->ny * g->nx;
    (void)e;
#pragma omp parallel for simd schedule(static) num_threads(d->threads)
    for (size_t i = 0; i < n; i++) {
        const mro_c32 p = u[i], q = v[i];
        w[i].re = p.re * q.re + p.im * q.im;
        w[i].im = p.im * q.re - p.re * q.im;
    }
    return MRO_OK;
}

enum mro_code mro_cpu_add_moved(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                                const double move_nm[2], double weight, struct mro_buffer *sum, struct mro_error *e)
{
    const mro_c32 *from = a->p;
    mro_c32 *to = sum->p, *py = malloc((g->ny + g->nx) * sizeof *py);
    if (py == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
    mro_c32 *px = py + g->ny;
    for (size_t y = 0; y < g->ny; y++) py[y] = mro_move_phase(y, g->ny, g->ly, move_nm[0]);
    for (size_t x = 0; x < g->nx; x++) px[x] = mro_move_phase(x, g->nx, g->lx, move_nm[1]);
    const float w = (float)weight;
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (size_t y = 0; y < g->ny; y++) {
        const mro_c32 row = { w * py[y].re, w * py[y].im };
        const mro_c32 *u = from + y * g->nx;
        mro_c32 *s = to + y * g->nx;
#pragma omp simd
        for (size_t x = 0; x < g->nx; x++) {
            const float re = row.re * px[x].re - row.im * px[x].im, im = row.re * px[x].im + row.im * px[x].re;
            s[x].re += u[x].re * re - u[x].im * im;
            s[x].im += u[x].re * im + u[x].im * re;
        }
    }
    free(py);
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/wave.h"

#include <stdlib.h>
#include <string.h>

/* Points `from` and on of `out` over a field of a->samples, a->points of them. False: out of memory. */
static bool fill_axis(struct mro_wave_axis *a, double g, double width, double length, size_t out, size_t from)
{
    const double pitch = length / (double)a->samples, step = length / (double)out;
    const size_t reach = (size_t)ceil(MRO_WAVE_REACH * width / pitch);
    const size_t first = from * a->samples / out, last = (from + a->points - 1) * a->samples / out;
    const int taps = (int)(a->taps = 2 * reach + 2);
    a->first = (ptrdiff_t)first - (ptrdiff_t)reach;
    a->span = last - first + a->taps;
    a->begin = malloc(a->points * sizeof *a->begin);
    a->weight = malloc(a->points * a->taps * sizeof *a->weight);
    a->rise = malloc(a->points * a->taps * sizeof *a->rise);
    a->turn = malloc(a->span * sizeof *a->turn);
    if (!a->begin || !a->weight || !a->rise || !a->turn) return false;
    for (size_t k = 0; k < a->points; k++) {
        const size_t begin = (from + k) * a->samples / out - first;
        const double away = (double)(a->first + (ptrdiff_t)begin) * pitch - (double)(from + k) * step;
        float *weight = a->weight + k * a->taps, *rise = a->rise + k * a->taps;
        a->begin[k] = (uint32_t)begin;
#pragma omp simd
        for (int t = 0; t < taps; t++) {
            const double r = away + t * pitch;
            weight[t] = mro_wave_weight(r, width, pitch);
            rise[t] = weight[t] * (float)(r / (width * width));
        }
    }
#pragma omp simd
    for (ptrdiff_t i = 0; i < (ptrdiff_t)a->span; i++) a->turn[i] = mro_wave_turn(g, (double)(a->first + i) * pitch);
    return true;
}

enum mro_code mro_wave_axes_new(struct mro_wave_axes *a, const struct mro_grid *g, const double g_inv_nm[2],
                                double sigma_inv_nm, const struct mro_grid *out, const struct mro_window *window,
                                struct mro_error *e)
{
    const double width = mro_wave_width(sigma_inv_nm);
    *a = (struct mro_wave_axes){ { .samples = g->ny, .points = window->ny },
                                 { .samples = g->nx, .points = window->nx } };
    if (!fill_axis(&a->y, g_inv_nm[0], width, g->ly, out->ny, window->y0) ||
        !fill_axis(&a->x, g_inv_nm[1], width, g->lx, out->nx, window->x0))
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for fringes at %zu x %zu points", window->nx, window->ny);
    return MRO_OK;
}

void mro_wave_axes_release(struct mro_wave_axes *a)
{
    for (int k = 0; k < 2; k++) {
        struct mro_wave_axis *axis = k ? &a->x : &a->y;
        free(axis->begin);
        free(axis->weight);
        free(axis->rise);
        free(axis->turn);
    }
    memset(a, 0, sizeof *a);
}

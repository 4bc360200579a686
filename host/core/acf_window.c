/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/acf_window.h"

#include <stdlib.h>
#include <string.h>

#include "core/sizes.h"
#include "mroscope/math/grid.h"

#define ORDERS 3   /* maxima at d, 2 d, 3 d */
#define SPACINGS 5 /* values of d averaged over */

bool mro_acf_window_new(struct mro_acf_window *v, const struct mro_grid *g, double width_nm)
{
    memset(v, 0, sizeof *v);
    v->step_y = g->ly / (double)g->ny;
    v->step_x = g->lx / (double)g->nx;
    v->hy = (ptrdiff_t)(0.5 * width_nm / v->step_y);
    v->hx = (ptrdiff_t)(0.5 * width_nm / v->step_x);
    /* Twice the support, so that lags do not wrap; small factors transform fast. */
    v->ny = mro_smooth_size((size_t)(2 * (2 * v->hy + 1)));
    v->nx = mro_smooth_size((size_t)(2 * (2 * v->hx + 1)));
    v->half = v->nx / 2 + 1;
    const size_t rows = (size_t)(2 * v->hy + 1), columns = (size_t)(2 * v->hx + 1);
    v->w = malloc(rows * columns * sizeof *v->w);
    if (v->w == NULL) return false;
    for (ptrdiff_t j = -v->hy; j <= v->hy; j++)
        for (ptrdiff_t i = -v->hx; i <= v->hx; i++) {
            const double r = hypot((double)j * v->step_y, (double)i * v->step_x) / width_nm;
            const float w = r < 0.5 ? (float)(0.5 + 0.5 * cos(2 * MRO_PI * r)) : 0;
            v->w[(size_t)(j + v->hy) * columns + (size_t)(i + v->hx)] = w;
            v->sum += w;
        }
    return true;
}

void mro_acf_window_release(struct mro_acf_window *v)
{
    free(v->w);
    memset(v, 0, sizeof *v);
}

void mro_acf_window_plane(const struct mro_acf_window *v, mro_c32 *plane)
{
    memset(plane, 0, v->ny * v->nx * sizeof *plane);
    for (ptrdiff_t j = -v->hy; j <= v->hy; j++)
        for (ptrdiff_t i = -v->hx; i <= v->hx; i++)
            plane[mro_cyclic(j, v->ny) * v->nx + mro_cyclic(i, v->nx)].re =
                v->w[(size_t)(j + v->hy) * (size_t)(2 * v->hx + 1) + (size_t)(i + v->hx)];
}

static ptrdiff_t signed_index(size_t i, size_t n) { return 2 * i <= n ? (ptrdiff_t)i : (ptrdiff_t)i - (ptrdiff_t)n; }

void mro_acf_lags_release(struct mro_acf_lags *l)
{
    free(l->cy);
    free(l->sy);
    free(l->cx);
    free(l->sx);
    memset(l, 0, sizeof *l);
}

bool mro_acf_lags_new(struct mro_acf_lags *l, const struct mro_acf_window *v, size_t n, double step_nm)
{
    *l = (struct mro_acf_lags){ .n = n };
    l->cy = malloc(n * v->ny * sizeof(double));
    l->sy = malloc(n * v->ny * sizeof(double));
    l->cx = malloc(n * v->half * sizeof(double));
    l->sx = malloc(n * v->half * sizeof(double));
    if (!l->cy || !l->sy || !l->cx || !l->sx) {
        mro_acf_lags_release(l);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const double u = ((double)i - (double)(n / 2)) * step_nm;
        for (size_t k = 0; k < v->ny; k++) {
            const double a = 2 * MRO_PI * u * (double)signed_index(k, v->ny) / ((double)v->ny * v->step_y);
            l->cy[i * v->ny + k] = cos(a);
            l->sy[i * v->ny + k] = sin(a);
        }
        for (size_t k = 0; k < v->half; k++) {
            const double a = 2 * MRO_PI * u * (double)k / ((double)v->nx * v->step_x);
            l->cx[i * v->half + k] = cos(a);
            l->sx[i * v->half + k] = sin(a);
        }
    }
    return true;
}

float *mro_acf_fringe_kernels(const struct mro_acf_window *v, const float *power, const double d_range_nm[2])
{
    const size_t m = v->ny * v->half;
    float *kernel = malloc(MRO_ACF_DIRECTIONS * m * sizeof *kernel);
    if (kernel == NULL) return NULL;
    /* One over the window's own autocorrelation at half orders of every spacing, along x (it is round). */
    double gain[SPACINGS][2 * ORDERS], spacing[SPACINGS];
    for (int s = 0; s < SPACINGS; s++) {
        spacing[s] = d_range_nm[0] + (d_range_nm[1] - d_range_nm[0]) * s / (SPACINGS - 1);
        for (int h = 0; h < 2 * ORDERS; h++) {
            const double u = 0.5 * (h + 1) * spacing[s];
            double here = 0, zero = 0;
            for (size_t x = 0; x < v->half; x++) {
                double column = 0;
                for (size_t y = 0; y < v->ny; y++) column += (double)power[y * v->half + x];
                here += column * cos(2 * MRO_PI * u * (double)x / ((double)v->nx * v->step_x));
                zero += column;
            }
            const double sign = h % 2 ? 1 : -1; /* whole orders are maxima */
            gain[s][h] = sign * zero / here / (2 * ORDERS * SPACINGS);
        }
    }
    for (int t = 0; t < MRO_ACF_DIRECTIONS; t++) {
        const double uy = sin(MRO_PI * t / MRO_ACF_DIRECTIONS), ux = cos(MRO_PI * t / MRO_ACF_DIRECTIONS);
        for (size_t y = 0; y < v->ny; y++) {
            const double qy = (double)signed_index(y, v->ny) / ((double)v->ny * v->step_y);
            for (size_t x = 0; x < v->half; x++) {
                const double along = qy * uy + (double)x / ((double)v->nx * v->step_x) * ux;
                double sum = 0;
                for (int s = 0; s < SPACINGS; s++) {
                    /* cos(k a) for k = 1 .. 6 by Chebyshev's recursion. */
                    const double c = cos(MRO_PI * along * spacing[s]);
                    double before = 1, now = c;
                    for (int h = 0; h < 2 * ORDERS; h++) {
                        sum += gain[s][h] * now;
                        const double next = 2 * c * now - before;
                        before = now;
                        now = next;
                    }
                }
                kernel[(size_t)t * m + y * v->half + x] = (float)sum;
            }
        }
    }
    return kernel;
}

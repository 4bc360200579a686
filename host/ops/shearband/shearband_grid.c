/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Grids of intensity: made of an image, and what of them is no specimen. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/team.h"
#include "ops/shearband/shearband_internal.h"

#define VACUUM 0.1       /* of the usual intensity: no specimen there */
#define VACUUM_BLOCKS 64 /* along the short side, whose means are compared with it: a pixel's noise is not, */
#define VACUUM_SAMPLES 4 /* and samples along a side of one, at least */

enum mro_code mro_sb_grid_shrink(const float *px, size_t ny, size_t nx, const double step[2], size_t to_ny,
                                 size_t to_nx, double black, int threads, struct mro_sb_grid *g, struct mro_error *e)
{
    enum { PART = 1024 };
    g->ny = to_ny;
    g->nx = to_nx;
    g->step[0] = step[0] * (double)ny / (double)to_ny;
    g->step[1] = step[1] * (double)nx / (double)to_nx;
    g->v = malloc(to_ny * to_nx * sizeof *g->v);
    if (g->v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu samples", to_nx, to_ny);
    bool failed = false;
#pragma omp parallel num_threads(threads)
    {
        double *sum = malloc(nx * sizeof *sum); /* of columns */
        float *known = malloc(nx * sizeof *known);
        const bool ready = sum && known;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t j = 0; j < to_ny; j++) {
            if (!ready) continue;
            const size_t y0 = j * ny / to_ny, y1 = (j + 1) * ny / to_ny;
            memset(sum, 0, nx * sizeof *sum);
            memset(known, 0, nx * sizeof *known);
            for (size_t from = 0; from < nx; from += PART) /* whose sums stay in the first level of cache */
                for (size_t y = y0; y < y1; y++) {
                    const size_t end = from + PART < nx ? from + PART : nx;
                    const float *row = px + y * nx;
#pragma omp simd
                    for (size_t x = from; x < end; x++) {
                        const bool in = fabsf(row[x]) <= 3.4e38f;
                        sum[x] += in ? (double)row[x] : 0;
                        known[x] += in ? 1.0f : 0.0f;
                    }
                }
            for (size_t i = 0, x = 0; i < to_nx; i++) {
                const size_t x0 = x, x1 = (i + 1) * nx / to_nx;
                double all = 0, n = 0;
                for (; x < x1; x++) {
                    all += sum[x];
                    n += known[x];
                }
                g->v[j * to_nx + i] = 2 * n > (double)((y1 - y0) * (x1 - x0)) ? (float)(all / n - black) : NAN;
            }
        }
        free(sum);
        free(known);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu samples", to_nx, to_ny) : MRO_OK;
}

enum mro_code mro_sb_grid_copy(const struct mro_sb_grid *g, struct mro_sb_grid *c, struct mro_error *e)
{
    *c = *g;
    c->v = malloc(g->ny * g->nx * sizeof *c->v);
    if (c->v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu samples", g->nx, g->ny);
    memcpy(c->v, g->v, g->ny * g->nx * sizeof *c->v);
    return MRO_OK;
}

double mro_sb_grid_median(const struct mro_sb_grid *g, int threads, struct mro_error *e, enum mro_code *rc)
{
    const size_t all = g->ny * g->nx;
    float least = 0;
    size_t known = 0, n = 0;
#pragma omp simd reduction(min : least) reduction(+ : known)
    for (size_t i = 0; i < all; i++) {
        known += g->v[i] == g->v[i];
        least = g->v[i] < least ? g->v[i] : least; /* false for NaN */
    }
    if (known == all && least >= 0) return mro_select_positive(g->v, all, all / 2, threads);
    float *v = malloc(all * sizeof *v);
    if (v == NULL) {
        *rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu samples", g->nx, g->ny);
        return NAN;
    }
    for (size_t i = 0; i < all; i++) {
        v[n] = g->v[i];
        n += g->v[i] == g->v[i];
    }
    const double m = n == 0 ? NAN : least < 0 ? mro_median(v, n) : mro_select_positive(v, n, n / 2, threads);
    free(v);
    return m;
}

enum mro_code mro_sb_grid_blank(struct mro_sb_grid *g, double median, size_t *gone, struct mro_error *e)
{
    const size_t side = g->ny < g->nx ? g->ny : g->nx,
                 size = side / VACUUM_BLOCKS > VACUUM_SAMPLES ? side / VACUUM_BLOCKS : VACUUM_SAMPLES;
    const size_t by = (g->ny + size - 1) / size, bx = (g->nx + size - 1) / size;
    unsigned char *vacuum = calloc(by * bx, 1);
    *gone = 0;
    if (vacuum == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu samples", g->nx, g->ny);
    for (size_t j = 0; j < by; j++)
        for (size_t i = 0; i < bx; i++) {
            double sum = 0, n = 0;
            const size_t end = (i + 1) * size < g->nx ? (i + 1) * size : g->nx;
            for (size_t y = j * size; y < (j + 1) * size && y < g->ny; y++)
#pragma omp simd reduction(+ : sum, n)
                for (size_t x = i * size; x < end; x++) {
                    const float v = g->v[y * g->nx + x];
                    sum += v == v ? (double)v : 0;
                    n += v == v;
                }
            vacuum[j * bx + i] = n > 0 && sum / n < VACUUM * median;
        }
    for (size_t j = 0; j < by; j++)
        for (size_t i = 0; i < bx; i++) {
            bool near = false;
            for (size_t b = j ? j - 1 : 0; b <= j + 1 && b < by; b++)
                for (size_t a = i ? i - 1 : 0; a <= i + 1 && a < bx; a++) near |= vacuum[b * bx + a];
            for (size_t y = j * size; near && y < (j + 1) * size && y < g->ny; y++)
                for (size_t x = i * size; x < (i + 1) * size && x < g->nx; x++) {
                    float *v = g->v + y * g->nx + x;
                    if (!(*v == *v)) continue;
                    *v = NAN;
                    ++*gone;
                }
        }
    free(vacuum);
    return MRO_OK;
}

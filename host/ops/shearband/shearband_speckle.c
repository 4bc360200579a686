/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How strong the speckle of an HRTEM image is from place to place: shear bands that do not change the mean intensity.
 */
#include <math.h>
#include <stdlib.h>

#include "core/notes.h"
#include "core/select.h"
#include "ops/shearband/shearband_internal.h"

#define BLOCK_NM 1.0     /* several fringes of a glass's first ring, far less than a band */
#define LEAST_PIXELS 10  /* along a block: coarser pixels do not show the speckle */
#define CELL_NM 0.08     /* over which counts are added up: the first ring of a glass is coarser, their noise is not */
#define LEAST_BLOCKS 32  /* along each axis */
#define VACUUM_MEAN 0.1  /* of the usual mean intensity: no specimen there */
#define OUTSTANDING 3.0  /* times the usual variance: crystals and spikes, that say nothing of the glass */
#define MANY_OUTSIDE 0.1 /* of the blocks: worth a warning */

/* Variance of a block over its squared mean, which is given too, between cells of `cell` pixels (y, x) that are added
 * up; NaN where a pixel is not finite. */
static double variance_of(const float *px, size_t nx, const size_t from[2], const size_t to[2], const size_t cell[2],
                          double black, double *mean)
{
    double sum = 0, square = 0, n = 0;
    const double about = px[from[0] * nx + from[1]]; /* near the mean: squares keep their digits */
    for (size_t y = from[0]; y + cell[0] <= to[0]; y += cell[0])
        for (size_t x = from[1]; x + cell[1] <= to[1]; x += cell[1]) {
            double v = 0;
            for (size_t j = y; j < y + cell[0]; j++)
                for (size_t i = x; i < x + cell[1]; i++) v += px[j * nx + i] - about;
            if (!isfinite(v)) return NAN;
            v /= (double)(cell[0] * cell[1]);
            sum += v;
            square += v * v;
            n++;
        }
    *mean = about + sum / n - black;
    return (square - sum * sum / n) / (n - 1) / (*mean * *mean);
}

enum mro_code mro_sb_speckle(const struct mro_image *im, const double pixel_nm[2], double black, int threads,
                             const char *name, struct mro_sb_grid *g, struct mro_shearband_result *r,
                             struct mro_error *e)
{
    const size_t pixels[2] = { im->ny, im->nx };
    size_t blocks[2], cell[2];
    for (int i = 0; i < 2; i++) {
        blocks[i] = (size_t)((double)pixels[i] * pixel_nm[i] / BLOCK_NM);
        if (BLOCK_NM / pixel_nm[i] < LEAST_PIXELS)
            return MRO_FAIL(e, MRO_EARG,
                            "'%s': pixels of %.3g nm do not show the speckle; %.2g nm at most are needed for "
                            "`signal=variance`",
                            name, pixel_nm[i], BLOCK_NM / LEAST_PIXELS);
        if (blocks[i] < LEAST_BLOCKS)
            return MRO_FAIL(e, MRO_EARG,
                            "'%s': a field of %.3g nm is too small for a variance from place to place; %g nm along "
                            "each axis are needed for `signal=variance`",
                            name, (double)pixels[i] * pixel_nm[i], LEAST_BLOCKS * BLOCK_NM);
        cell[i] = pixel_nm[i] < CELL_NM ? (size_t)(CELL_NM / pixel_nm[i]) : 1;
        g->step[i] = (double)pixels[i] * pixel_nm[i] / (double)blocks[i];
    }
    g->ny = blocks[0];
    g->nx = blocks[1];
    const size_t n = g->ny * g->nx;
    float *mean = malloc(2 * n * sizeof *mean);
    g->v = malloc(n * sizeof *g->v);
    if (mean == NULL || g->v == NULL) {
        free(mean);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu samples", g->nx, g->ny);
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < n; k++) {
        const size_t y = k / g->nx, x = k % g->nx;
        const size_t from[2] = { y * im->ny / g->ny, x * im->nx / g->nx },
                     to[2] = { (y + 1) * im->ny / g->ny, (x + 1) * im->nx / g->nx };
        double m = NAN;
        g->v[k] = (float)variance_of(im->px, im->nx, from, to, cell, black, &m);
        mean[k] = (float)m;
    }
    float *work = mean + n;
    size_t known = 0, outside = 0;
    for (size_t k = 0; k < n; k++)
        if (isfinite(mean[k])) work[known++] = mean[k];
    const double usual = known ? mro_median(work, known) : NAN;
    known = 0;
    for (size_t k = 0; k < n; k++) {
        if (!(mean[k] > VACUUM_MEAN * usual)) g->v[k] = NAN;
        if (isfinite(g->v[k])) work[known++] = g->v[k];
    }
    const double middle = known ? mro_median(work, known) : NAN;
    for (size_t k = 0; k < n; k++)
        if (g->v[k] > OUTSTANDING * middle) {
            g->v[k] = NAN;
            outside++;
        }
    if ((double)outside > MANY_OUTSIDE * (double)known)
        mro_warn(r,
                 "%.0f %% of the image is over %g times as uneven as the rest (crystals, spikes) and left out: bands "
                 "are told from the glass only",
                 100 * (double)outside / (double)known, OUTSTANDING);
    free(mean);
    return MRO_OK;
}

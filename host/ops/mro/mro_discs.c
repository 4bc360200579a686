/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The area that discs cover together, and each by itself, on a raster. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "ops/mro/mro_internal.h"

#define AREA_STEP_NM 0.05 /* between points of the raster */

/* A disc on a raster, in its points. */
struct disc {
    double y, x, radius;
};

/* How many of the nx points of row y are in a disc, from point *first on. */
static size_t disc_row(const struct disc *o, double y, size_t nx, size_t *first)
{
    const double w = sqrt(fmax(0, o->radius * o->radius - (y - o->y) * (y - o->y)));
    const double from = ceil(fmax(0, o->x - w)), to = floor(fmin((double)nx - 1, o->x + w));
    *first = (size_t)from;
    return to < from ? 0 : (size_t)(to - from) + 1;
}

enum { BAND = 32 }; /* rows of the raster that are filled together */

enum mro_code mro_disc_areas(const struct mro_found_list *l, const double *diameter, const double region[4],
                             double *own, double *both, int threads, struct mro_error *e)
{
    const size_t nx = (size_t)((region[2] - region[0]) / AREA_STEP_NM),
                 ny = (size_t)((region[3] - region[1]) / AREA_STEP_NM);
    const double cell = AREA_STEP_NM * AREA_STEP_NM;
    struct disc *discs = malloc((l->n + 1) * sizeof *discs);
    size_t covered = 0;
    bool failed = discs == NULL;
#pragma omp parallel num_threads(mro_team(threads, 0.3 * (double)(nx * ny))) reduction(+ : covered) if (!failed)
    {
        unsigned char *hit = discs ? malloc(BAND * nx + 1) : NULL;
        size_t first;
        if (hit == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t i = 0; i < l->n; i++) {
            if (discs == NULL) continue; /* without room for a band, too: other threads read them */
            struct disc *o = discs + i;
            size_t mine = 0;
            *o = (struct disc){ (l->v[i].y_nm - region[1]) / AREA_STEP_NM - 0.5,
                                (l->v[i].x_nm - region[0]) / AREA_STEP_NM - 0.5, 0.5 * diameter[i] / AREA_STEP_NM };
            for (double y = ceil(fmax(0, o->y - o->radius)); y <= fmin((double)ny - 1, o->y + o->radius); y++)
                mine += disc_row(o, y, nx, &first);
            own[i] = (double)mine * cell;
        }
#pragma omp for schedule(dynamic)
        for (size_t top = 0; top < ny; top += BAND) {
            const size_t rows = ny - top < BAND ? ny - top : BAND;
            const double last = (double)(top + rows - 1);
            uint32_t sum = 0;
            if (hit == NULL) continue;
            memset(hit, 0, rows * nx);
            for (const struct disc *o = discs; o < discs + l->n; o++)
                for (double y = ceil(fmax((double)top, o->y - o->radius)); y <= fmin(last, o->y + o->radius); y++) {
                    const size_t n = disc_row(o, y, nx, &first);
                    memset(hit + ((size_t)y - top) * nx + first, 1, n);
                }
#pragma omp simd reduction(+ : sum)
            for (size_t i = 0; i < rows * nx; i++) sum += hit[i];
            covered += sum;
        }
        free(hit);
    }
    free(discs);
    *both = (double)covered * cell;
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory") : MRO_OK;
}

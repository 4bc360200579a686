/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Straight edges across the field: a step of thickness, a crack, a band of shear. */
#include <math.h>
#include <stdlib.h>

#include "core/select.h"
#include "ops/haadf_internal.h"

#define LONGEST 0.5      /* of the lower limit of the band: where looking begins */
#define SHORTEST_NM 4.0  /* and the shortest wave looked at: an edge is no longer sharp there, */
#define FEWEST_RADII 6.0 /* or as many waves of the field as need be */
#define ANGLES 360
#define NEAR 0.75    /* modes from the line across the edge, in steps of the longer side's */
#define LEFT_OUT 2.5 /* likewise, that are left out */
#define HIGH 3.0     /* times the mean power of the ring: 5 % of the modes of a random field are higher */
#define SURE 9.0     /* standard deviations of their number on one line */

struct mode {
    double qy, qx;
    size_t ring;
    float power;
};

static int by_ring(const void *a, const void *b)
{
    const struct mode *x = a, *y = b;
    if (x->ring != y->ring) return x->ring < y->ring ? -1 : 1;
    return (x->power > y->power) - (x->power < y->power);
}

enum mro_code mro_haadf_find_edge(struct mro_haadf_state *s, const double band[2], struct mro_error *e)
{
    const struct mro_grid *g = &s->grid;
    const double unit = 1 / fmax(g->ly, g->lx), lo = LONGEST * band[0];
    const double hi = fmin(fmax(1 / SHORTEST_NM, lo + FEWEST_RADII * unit), band[1]);
    const ptrdiff_t hy = (ptrdiff_t)fmin((double)((g->ny - 1) / 2), hi * g->ly),
                    hx = (ptrdiff_t)fmin((double)((g->nx - 1) / 2), hi * g->lx);
    size_t n = 0;
    s->edge_reach = 0;
    struct mode *m = malloc((size_t)(hy + 1) * (size_t)(2 * hx + 1) * sizeof *m);
    if (m == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the modes of %zu x %zu", g->nx, g->ny);
    for (ptrdiff_t ky = 0; ky <= hy; ky++)
        for (ptrdiff_t kx = ky ? -hx : 1; kx <= hx; kx++) {
            const double qy = (double)ky / g->ly, qx = (double)kx / g->lx, q = sqrt(qy * qy + qx * qx);
            if (q < lo || q > hi || mro_haadf_line_mode(s, ky, kx)) continue;
            const mro_c32 z = s->spectrum[(size_t)ky * g->nx + (size_t)(kx < 0 ? kx + (ptrdiff_t)g->nx : kx)];
            m[n++] = (struct mode){ qy, qx, (size_t)((q - lo) / unit), z.re * z.re + z.im * z.im };
        }
    /* A mode is high against the median of its ring, which an edge does not move. */
    qsort(m, n, sizeof *m, by_ring);
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && m[end].ring == m[i].ring) end++;
        const float mean = m[(i + end) / 2].power / 0.6931472f;
        for (; i < end; i++) m[i].power = m[i].power > (float)HIGH * mean;
    }
    const double chance = exp(-HIGH);
    double most = 0;
    for (int a = 0; a < ANGLES; a++) {
        const double uy = sin(M_PI * a / ANGLES), ux = cos(M_PI * a / ANGLES);
        double high = 0, count = 0;
        for (size_t i = 0; i < n; i++) {
            if (!(fabs(m[i].qy * ux - m[i].qx * uy) < NEAR * unit)) continue;
            count++;
            high += m[i].power;
        }
        const double z = count > 0 ? (high - chance * count) / sqrt(chance * (1 - chance) * count) : 0;
        if (z > fmax(most, SURE)) {
            most = z;
            s->edge[0] = uy;
            s->edge[1] = ux;
            s->edge_reach = LEFT_OUT * unit;
        }
    }
    free(m);
    return MRO_OK;
}

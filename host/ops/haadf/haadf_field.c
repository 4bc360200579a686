/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The contrast through a filter on a grid as fine as is wanted, and which of its samples may be used. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/grid.h"
#include "ops/haadf/haadf_internal.h"

double mro_haadf_gain(const struct mro_haadf_filter *f, double q)
{
    const double x = q / f->step;
    const size_t i = (size_t)x;
    if (i + 1 >= f->n) return 0;
    return f->gain[i] + (x - (double)i) * (f->gain[i + 1] - f->gain[i]);
}

double mro_haadf_mode_gain(const struct mro_haadf_state *s, const struct mro_haadf_filter *f, double q, ptrdiff_t ky,
                           ptrdiff_t kx)
{
    if ((ky == 0 && kx == 0) || mro_haadf_edge_mode(s, ky, kx)) return 0;
    const double g = mro_haadf_gain(f, q);
    if (!mro_haadf_line_mode(s, ky, kx)) return g;
    double lines = 0;
    for (int a = 0; a < 2; a++)
        if (labs((long)(a ? ky : kx)) < s->lines[a]) lines += s->line_power[a];
    const double rest = fmax(0, mro_rings_at(f->rings, q));
    return g * rest / (rest + lines);
}

enum mro_code mro_haadf_usable(const struct mro_haadf_state *s, const struct mro_grid *g, int threads,
                               unsigned char **usable, struct mro_error *e)
{
    const double m = s->margin_nm;
    unsigned char *u = malloc(g->ny * g->nx);
    size_t *column = malloc(g->nx * sizeof *column); /* of the mask, or SIZE_MAX at the borders */
    unsigned char *inside = malloc(g->nx);           /* a row without a mask */
    *usable = u;
    if (u == NULL || column == NULL || inside == NULL) {
        free(column);
        free(inside);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a mask of %zu x %zu", g->nx, g->ny);
    }
    /* Sample 0 stands at the centre of the first pixel. */
    for (size_t i = 0; i < g->nx; i++) {
        const double x = (double)i * g->lx / (double)g->nx + 0.5 * s->pixel_nm[1];
        const size_t at = (size_t)(x / g->lx * (double)s->mask_nx);
        column[i] = x < m || x > g->lx - m ? SIZE_MAX : s->mask && at >= s->mask_nx ? s->mask_nx - 1 : at;
        inside[i] = column[i] != SIZE_MAX;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t j = 0; j < g->ny; j++) {
        const double y = (double)j * g->ly / (double)g->ny + 0.5 * s->pixel_nm[0];
        const bool out = y < m || y > g->ly - m;
        size_t my = (size_t)(y / g->ly * (double)s->mask_ny);
        if (s->mask && my >= s->mask_ny) my = s->mask_ny - 1;
        const unsigned char *row = s->mask ? s->mask + my * s->mask_nx : NULL;
        unsigned char *to = u + j * g->nx;
        if (out)
            memset(to, 0, g->nx);
        else if (row == NULL)
            memcpy(to, inside, g->nx);
        else
            for (size_t i = 0; i < g->nx; i++) to[i] = inside[i] && row[column[i]];
    }
    free(column);
    free(inside);
    return MRO_OK;
}

/* Amplitudes of the modes -hx <= kx <= hx of row ky, from gain[-hx] on. */
static void row_gains(const struct mro_haadf_state *s, const struct mro_haadf_filter *f, const struct mro_grid *g,
                      ptrdiff_t ky, ptrdiff_t hx, double *gain)
{
    const double qy = (double)ky / g->ly, last = (double)f->n - 1;
    /* Modes of lines and of an edge one by one, and the mean; the others depend on the frequency alone. */
    const bool special = s->edge_reach > 0 || labs((long)ky) < s->lines[1];
    const ptrdiff_t alone = special ? hx + 1 : s->lines[0] > 1 ? s->lines[0] : 1;
#pragma omp simd
    for (int kx = (int)alone; kx <= (int)hx; kx++) {
        const double qx = kx / g->lx, x = sqrt(qy * qy + qx * qx) / f->step;
        const int i = (int)fmin(x, last - 1);
        const double inside = f->gain[i] + (x - i) * (f->gain[i + 1] - f->gain[i]);
        gain[kx] = x < last ? inside : 0;
    }
    for (ptrdiff_t kx = alone; kx <= hx; kx++) gain[-kx] = gain[kx];
    for (ptrdiff_t kx = 1 - alone; kx < alone; kx++) {
        const double qx = (double)kx / g->lx;
        if (labs((long)kx) <= hx) gain[kx] = mro_haadf_mode_gain(s, f, sqrt(qy * qy + qx * qx), ky, kx);
    }
}

enum mro_code mro_haadf_field_on(struct mro_device *d, const struct mro_haadf_state *s,
                                 const struct mro_haadf_filter *f, const struct mro_grid *g, struct mro_buffer *field,
                                 struct mro_error *e)
{
    const struct mro_grid *from = &s->grid;
    const size_t n = g->ny * g->nx;
    struct mro_buffer spectrum = { 0 };
    mro_c32 *z = NULL, *own = NULL;
    enum mro_code rc = d->ops->alloc(d, &spectrum, n * sizeof *z, e);
    if (rc) return rc;
    if (d->ops->runtime == NULL) {
        z = spectrum.p;
    } else if ((z = own = malloc(n * sizeof *z)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    /* The smaller of the two grids bounds the frequencies. A sample's variance is the mean power of an image pixel. */
    const double unit = sqrt((double)n / ((double)s->ny * (double)s->nx) * s->fill);
    const double most = (double)f->n * f->step; /* the filter ends here */
    const ptrdiff_t hy = (ptrdiff_t)fmin((double)(((g->ny < from->ny ? g->ny : from->ny) - 1) / 2), most * g->ly);
    const ptrdiff_t hx = (ptrdiff_t)fmin((double)(((g->nx < from->nx ? g->nx : from->nx) - 1) / 2), most * g->lx);
    bool failed = false;
#pragma omp parallel num_threads(d->threads)
    {
        double *gain = malloc((size_t)(2 * hx + 1) * sizeof *gain);
        if (gain == NULL) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t j = 0; j < g->ny; j++) {
            const ptrdiff_t ky = (ptrdiff_t)j - (j <= g->ny / 2 ? 0 : (ptrdiff_t)g->ny);
            mro_c32 *out = z + j * g->nx;
            if (gain == NULL) continue;
            if (labs((long)ky) > hy) {
                memset(out, 0, g->nx * sizeof *out);
                continue;
            }
            const mro_c32 *line = s->spectrum + mro_cyclic(ky, from->ny) * from->nx;
            row_gains(s, f, g, ky, hx, gain + hx);
            memset(out + hx + 1, 0, (g->nx - (size_t)(2 * hx + 1)) * sizeof *out);
            for (int side = 0; side < 2; side++) { /* kx < 0 stand at the end of a row */
                const ptrdiff_t k0 = side ? -hx : 0, n_k = side ? hx : hx + 1;
                const mro_c32 *v = line + (side ? (ptrdiff_t)from->nx - hx : 0);
                mro_c32 *to = out + (side ? (ptrdiff_t)g->nx - hx : 0);
                const double *w = gain + hx + k0;
#pragma omp simd
                for (ptrdiff_t i = 0; i < n_k; i++) {
                    to[i].re = (float)(unit * w[i] * v[i].re);
                    to[i].im = (float)(unit * w[i] * v[i].im);
                }
            }
        }
        free(gain);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    if (own && (rc = d->ops->upload(d, &spectrum, own, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->alloc(d, field, n * sizeof(float), e))) goto done;
    rc = d->ops->inverse(d, g, &spectrum, field, e);
done:
    d->ops->release(d, &spectrum);
    if (rc) d->ops->release(d, field);
    free(own);
    return rc;
}

enum mro_code mro_haadf_field(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_haadf_filter *f,
                              const struct mro_grid *g, float *field, struct mro_error *e)
{
    struct mro_buffer real = { 0 };
    MRO_TRY(mro_haadf_field_on(d, s, f, g, &real, e));
    const enum mro_code rc = d->ops->download(d, field, &real, g->ny * g->nx * sizeof *field, e);
    d->ops->release(d, &real);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which part of a whitened field is specimen, and the whitening of that part by itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "mroscope/math/grid.h"
#include "ops/mro/mro_internal.h"

#define REACH_NM 1.2   /* of the largest window, around cells that cannot be measured */
#define NO_SIGNAL 0.2  /* of the local power in the better part of the image: vacuum, or only shot noise */
#define MOST_GAIN 4.0f /* of a glass on a quarter of the field; a crystal has more */

/* Whether a place on an axis is far enough from both borders: 1 for patches to be looked for, and 2 for cells to be
 * measured. */
static unsigned char inside(double at, double length)
{
    const double rim = fmin(at, length - at);
    return (unsigned char)((rim >= MRO_MARGIN_NM) << 1 | (rim >= MRO_SEARCH_MARGIN_NM));
}

/* Cells without specimen: without signal, of missing pixels, or of blemishes; whether there are any. */
static bool find_bad(const struct mro_scores *s, const struct mro_image *im, const struct mro_blemishes *m,
                     const double pixel_nm[2], unsigned char *bad)
{
    const size_t ny = s->cells.ny, nx = s->cells.nx, n = ny * nx;
    const double py = s->cells.ly / (double)ny, px = s->cells.lx / (double)nx;
    const float floor_ = (float)NO_SIGNAL * fminf(MOST_GAIN, mro_select_positive(s->gain, n, n * 4 / 5, 1));
    memset(bad, 0, n);
    if (im->not_finite) {
        for (size_t y = 0; y < im->ny; y++)
            for (size_t x = 0; x < im->nx; x++)
                if (!isfinite(im->px[y * im->nx + x])) {
                    const size_t j = (size_t)(((double)y + 0.5) * pixel_nm[0] / py),
                                 i = (size_t)(((double)x + 0.5) * pixel_nm[1] / px);
                    if (j < ny && i < nx && bad[j * nx + i] < 255) bad[j * nx + i]++;
                }
        /* Single dead pixels are filled like spikes; a cell is lost when a tenth of its pixels are missing. */
        const double most = fmin(254, 0.1 * py / pixel_nm[0] * px / pixel_nm[1]);
        for (size_t i = 0; i < n; i++) bad[i] = bad[i] > most;
    }
    for (size_t i = 0; i < n; i++) bad[i] |= s->gain[i] < floor_;
    const double side = (double)m->blocks.side;
    for (size_t i = 0; i < m->blocks.ny * m->blocks.nx; i++) {
        if (!m->of[i]) continue;
        const double y = side * (double)(i / m->blocks.nx), x = side * (double)(i % m->blocks.nx);
        for (size_t j = (size_t)(y * pixel_nm[0] / py); j < ny && (double)j * py < (y + side) * pixel_nm[0]; j++)
            for (size_t k = (size_t)(x * pixel_nm[1] / px); k < nx && (double)k * px < (x + side) * pixel_nm[1]; k++)
                bad[j * nx + k] = 1;
    }
    return memchr(bad, 1, n) != NULL;
}

/* Fills in s->sound, and takes what is no specimen out of the field; the mean of its square. */
static double cut_field(const struct mro_scores *s, const unsigned char *bad, float *line, float *field)
{
    const struct mro_grid *g = &s->grid;
    const size_t n = g->ny * g->nx;
    double kept = 0;
    for (size_t i = 0; i < n; i++) s->sound[i] = 1;
    mro_cut_cells(s, bad, line, s->sound);
    for (size_t i = 0; i < n; i++) {
        field[i] *= s->sound[i];
        kept += (double)s->sound[i] * (double)s->sound[i];
    }
    return kept / (double)n;
}

/* Takes cells that are no specimen out of the field, and whitens what is left by its own power: that of the whole is a
 * mixture, and a glass whitened by too flat a spectrum keeps some of its halo, which passes for order. What it was
 * whitened by is set right by how the local powers of the two compare: errors they share, at the edges of the band
 * above all, cancel. */
static enum mro_code whiten_sound(const struct mro_order_plan *p, const unsigned char *bad, const unsigned char *usable,
                                  struct mro_whitened *w, struct mro_scores *s, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const struct mro_grid *g = &s->grid;
    const size_t n = g->ny * g->nx, nc = s->cells.ny * s->cells.nx;
    const double inner = p->o.band_inv_nm[0] - BAND_EDGE, outer = p->o.band_inv_nm[1] + BAND_EDGE;
    struct mro_buffer mean = { 0 };
    float *line = malloc((g->nx + MRO_CUT_MORE) * sizeof *line), *field = malloc(n * sizeof *field),
          *whole = malloc(n * sizeof *whole);
    double level = 0, cells = 0;
    enum mro_code rc = MRO_OK;
    s->sound = malloc(n * sizeof *s->sound);
    if (line == NULL || field == NULL || whole == NULL || s->sound == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu cells", nc);
        goto done;
    }
    for (size_t i = 0; i < nc; i++) {
        level += usable[i] ? s->gain[i] : 0;
        cells += usable[i];
    }
    if ((rc = d->ops->alloc(d, &mean, nc * sizeof(float), e))) goto done;
    if ((rc = d->ops->local_power(d, g, &w->spectrum, NULL, WHITEN_RADIUS, inner, outer, &w->power, e))) goto done;
    if ((rc = d->ops->download(d, whole, &w->power, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->download(d, field, &s->field, n * sizeof(float), e))) goto done;
    const double kept = cut_field(s, bad, line, field);
    if ((rc = mro_measure_held(p, s, &mean, e))) goto done;
    if ((rc = d->ops->upload(d, &s->field, field, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->forward(d, g, &s->field, &w->spectrum, e))) goto done;
    if ((rc = d->ops->local_power(d, g, &w->spectrum, NULL, WHITEN_RADIUS, inner, outer, &w->power, e))) goto done;
    if ((rc = d->ops->download(d, field, &w->power, n * sizeof(float), e))) goto done;
    for (size_t i = 0; i < n; i++) whole[i] = field[i] > 0 ? sqrtf((float)kept * whole[i] / field[i]) : 0;
    if ((rc = d->ops->multiply(d, g, &w->spectrum, whole, e))) goto done;
    if ((rc = d->ops->inverse(d, g, &w->spectrum, &s->field, e))) goto done;
    if ((rc = mro_measure_gain(p, s, &mean, e))) goto done;
    w->expected.log_c -= log(level / cells); /* the mixture that it was told from has less power than the glass */
done:
    d->ops->release(d, &mean);
    free(whole);
    free(field);
    free(line);
    return rc;
}

enum mro_code mro_mark_sound(const struct mro_order_plan *p, const struct mro_image *im, const double pixel_nm[2],
                             struct mro_whitened *w, struct mro_scores *s, unsigned char *usable,
                             unsigned char *searched, struct mro_error *e)
{
    const size_t ny = s->cells.ny, nx = s->cells.nx, n = ny * nx;
    const double py = s->cells.ly / (double)ny, px = s->cells.lx / (double)nx;
    unsigned char *bad = malloc(n), *along = calloc(n, 1), *near = calloc(n, 1), *column = malloc(nx);
    size_t measured = 0;
    enum mro_code rc = MRO_OK;
    if (bad == NULL || along == NULL || near == NULL || column == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu cells", n);
        goto done;
    }
    const bool any = find_bad(s, im, &w->blemishes, pixel_nm, bad);
    const ptrdiff_t ry = (ptrdiff_t)ceil(REACH_NM / py), rx = (ptrdiff_t)ceil(REACH_NM / px);
    /* Across the border too: the fields are periodic, and vacuum there is felt here. First along x, then along y. */
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            if (!bad[y * nx + x]) continue;
            for (ptrdiff_t a = -rx; a <= rx; a++) along[y * nx + mro_cyclic((ptrdiff_t)x + a, nx)] = 1;
        }
    for (ptrdiff_t b = -ry; b <= ry; b++)
        for (size_t y = 0; y < ny; y++) {
            const unsigned char *from = along + mro_cyclic((ptrdiff_t)y + b, ny) * nx;
            for (size_t x = 0; x < nx; x++) near[y * nx + x] |= from[x];
        }
    for (size_t x = 0; x < nx; x++) column[x] = inside((double)x * px, s->cells.lx);
    for (size_t y = 0; y < ny; y++) {
        const unsigned char row = inside((double)y * py, s->cells.ly);
        for (size_t x = 0; x < nx; x++) {
            const unsigned char there = near[y * nx + x] ? 0 : row & column[x];
            usable[y * nx + x] = there >> 1;
            searched[y * nx + x] = there & 1;
            measured += there >> 1;
        }
    }
    if (any && measured) rc = whiten_sound(p, bad, usable, w, s, e);
done:
    free(bad);
    free(along);
    free(near);
    free(column);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/backend.h"
#include "core/notes.h"
#include "mroscope/eds.h"

struct mro_eds_line mro_eds_diagonal(const struct mro_eds_field *m)
{
    return (struct mro_eds_line){ 0, 0, (double)m->nx * m->pixel_nm[1], (double)m->ny * m->pixel_nm[0],
                                  5 * sqrt(m->pixel_nm[0] * m->pixel_nm[1]) };
}

struct mro_eds_line mro_eds_across(const struct mro_eds_field *m, const struct mro_eds_line *line)
{
    const double w = (double)m->nx * m->pixel_nm[1], h = (double)m->ny * m->pixel_nm[0];
    const double x = (line->x0 + line->x1) / 2, y = (line->y0 + line->y1) / 2;
    const double ux = -(line->y1 - line->y0) / 2, uy = (line->x1 - line->x0) / 2;
    /* Equally far to both sides, as far as the map reaches. */
    double t = 1;
    if (ux != 0) t = fmin(t, fmin(x, w - x) / fabs(ux));
    if (uy != 0) t = fmin(t, fmin(y, h - y) / fabs(uy));
    t = fmax(t, 0);
    return (struct mro_eds_line){ x - t * ux, y - t * uy, x + t * ux, y + t * uy, line->width_nm };
}

static enum mro_code check_line(const struct mro_eds_field *m, const struct mro_eds_line *l, const char *name,
                                double step, struct mro_error *e)
{
    const double w = (double)m->nx * m->pixel_nm[1], h = (double)m->ny * m->pixel_nm[0], slack = 1e-6 * (w + h);
    const double x[2] = { l->x0, l->x1 }, y[2] = { l->y0, l->y1 };
    for (int i = 0; i < 2; i++)
        if (!(x[i] >= -slack && x[i] <= w + slack && y[i] >= -slack && y[i] <= h + slack))
            return MRO_FAIL(e, MRO_EARG, "the line's end %g,%g nm is outside of '%s', which is %g x %g nm", x[i], y[i],
                            name, w, h);
    if (!(hypot(l->x1 - l->x0, l->y1 - l->y0) >= 3 * step))
        return MRO_FAIL(e, MRO_EARG, "a line of %g nm over '%s' is shorter than three pixels",
                        hypot(l->x1 - l->x0, l->y1 - l->y0), name);
    if (!(l->width_nm >= 0.5 * fmin(m->pixel_nm[0], m->pixel_nm[1])))
        return MRO_FAIL(e, MRO_EARG, "a line %g nm wide holds no pixels of '%s', which are %g nm", l->width_nm, name,
                        m->pixel_nm[1]);
    return MRO_OK;
}

/* Sums over bins of a line, all of them. */
struct bins {
    size_t n;
    double *pixels; /* n */
    double *sum;    /* elements * n */
    double *variance;
};

/* Refuses counts below zero under the line: they have no scatter that is known. */
static enum mro_code check_counts(const struct mro_eds_field *m, const struct mro_strip *strip, const char *name,
                                  struct mro_error *e)
{
    for (size_t y = 0; y < m->ny; y++) {
        size_t from, to;
        mro_strip_row(strip, y, m->nx, 0, (double)strip->bins, &from, &to);
        for (size_t x = from; x < to; x++)
            for (size_t j = 0; j < m->elements; j++) {
                const double v = (double)m->counts[j][y * m->nx + x];
                if (v < 0 && isfinite(v) && m->variance[j] == NULL && mro_strip_bin(strip, y, x) < strip->bins)
                    return MRO_FAIL(e, MRO_EDATA,
                                    "the map of %s of '%s' holds %g at pixel x %zu, y %zu; %s cannot be negative",
                                    m->symbol[j], name, v, x, y, m->at_percent ? "at.%" : "counts");
            }
    }
    return MRO_OK;
}

/* Sums of counts, and of variances where there are any, over the bins. */
static enum mro_code fill(struct mro_device *d, const struct mro_eds_field *m, const struct mro_strip *strip,
                          const char *name, struct bins *b, struct mro_error *e)
{
    const size_t n = m->ny * m->nx;
    size_t planes = m->elements;
    MRO_TRY(check_counts(m, strip, name, e));
    for (size_t j = 0; j < m->elements; j++) planes += m->variance[j] != NULL;
    struct mro_buffer maps = { 0 };
    float *host = malloc(planes * n * sizeof *host);
    double *sums = malloc(planes * b->n * sizeof *sums);
    enum mro_code rc = MRO_OK;
    if (host == NULL || sums == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "%zu maps of %zu x %zu pixels do not fit in memory", planes, m->nx, m->ny);
        goto done;
    }
    for (size_t j = 0, k = m->elements; j < m->elements; j++) {
        memcpy(host + j * n, m->counts[j], n * sizeof *host);
        if (m->variance[j]) memcpy(host + k++ * n, m->variance[j], n * sizeof *host);
    }
    if ((rc = d->ops->alloc(d, &maps, planes * n * sizeof *host, e))) goto done;
    if ((rc = d->ops->upload(d, &maps, host, planes * n * sizeof *host, e))) goto done;
    if ((rc = d->ops->strip_sums(d, &maps, planes, m->ny, m->nx, strip, sums, b->pixels, e))) goto done;
    for (size_t j = 0, k = m->elements; j < m->elements; j++) {
        memcpy(b->sum + j * b->n, sums + j * b->n, b->n * sizeof *sums);
        if (m->variance[j]) memcpy(b->variance + j * b->n, sums + k++ * b->n, b->n * sizeof *sums);
    }
done:
    d->ops->release(d, &maps);
    free(host);
    free(sums);
    return rc;
}

static enum mro_code take(const struct mro_eds_field *m, const struct bins *b, double step, const char *name,
                          struct mro_eds_profile *p, struct mro_error *e)
{
    double full = 0;
    for (size_t i = 0; i < b->n; i++) full = fmax(full, b->pixels[i]);
    size_t first = 0, last = b->n, gaps = 0;
    while (first < last && b->pixels[first] < full / 2) first++;
    while (last > first && b->pixels[last - 1] < full / 2) last--;
    for (size_t i = first; i < last; i++) gaps += b->pixels[i] == 0;
    const size_t n = last - first - gaps;
    if (n < 3)
        return MRO_FAIL(e, MRO_EDATA, "the line over '%s' has %zu points with data; a scatter needs three", name, n);
    p->elements = m->elements;
    p->x_nm = malloc(n * sizeof *p->x_nm);
    bool failed = p->x_nm == NULL;
    for (size_t j = 0; j < m->elements && !failed; j++) {
        struct mro_eds_column *c = &p->column[j];
        memcpy(c->symbol, m->symbol[j], sizeof c->symbol);
        double *v = malloc(n * sizeof *v);
        if (m->at_percent)
            c->at = v;
        else
            c->counts = v;
        if (m->variance[j]) c->variance = malloc(n * sizeof *c->variance);
        failed = v == NULL || (m->variance[j] && c->variance == NULL);
    }
    if (failed) return MRO_FAIL(e, MRO_EMEMORY, "a line of %zu points does not fit in memory", n);
    for (size_t i = first; i < last; i++) {
        if (b->pixels[i] == 0) continue;
        for (size_t j = 0; j < m->elements; j++) {
            struct mro_eds_column *c = &p->column[j];
            const double v = b->sum[j * b->n + i];
            if (m->at_percent)
                c->at[p->n] = v / b->pixels[i];
            else
                c->counts[p->n] = v;
            if (c->variance) c->variance[p->n] = b->variance[j * b->n + i];
        }
        p->x_nm[p->n++] = ((double)i + 0.5) * step;
    }
    if (gaps) mro_warn(p, "%zu points along the line have no data and are left out", gaps);
    return MRO_OK;
}

enum mro_code mro_eds_line_profile(struct mro_device *d, const struct mro_eds_field *m, const struct mro_eds_line *line,
                                   const char *name, struct mro_eds_profile *p, struct mro_error *e)
{
    const double length = hypot(line->x1 - line->x0, line->y1 - line->y0);
    memset(p, 0, sizeof *p);
    if (m->elements == 0) return MRO_FAIL(e, MRO_EARG, "there are no maps to lay a line over");
    /* The shadow of a pixel on the line. */
    const double step =
        length > 0 ? (m->pixel_nm[1] * fabs(line->x1 - line->x0) + m->pixel_nm[0] * fabs(line->y1 - line->y0)) / length
                   : m->pixel_nm[1];
    MRO_TRY(check_line(m, line, name, step, e));
    struct bins b = { .n = (size_t)(length / step + 1e-9) };
    double *room = calloc(b.n * (2 * m->elements + 1), sizeof *room);
    if (room == NULL) return MRO_FAIL(e, MRO_EMEMORY, "a line of %zu points does not fit in memory", b.n);
    b.pixels = room;
    b.sum = room + b.n;
    b.variance = b.sum + m->elements * b.n;
    const struct mro_strip strip = { .x0 = line->x0,
                                     .y0 = line->y0,
                                     .ux = (line->x1 - line->x0) / length,
                                     .uy = (line->y1 - line->y0) / length,
                                     .step = step,
                                     .width = line->width_nm,
                                     .bins = b.n,
                                     .pixel_y = m->pixel_nm[0],
                                     .pixel_x = m->pixel_nm[1] };
    enum mro_code rc = fill(d, m, &strip, name, &b, e);
    if (rc == MRO_OK) rc = take(m, &b, step, name, p, e);
    free(room);
    if (rc) mro_eds_profile_release(p);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Vortices of the phase of one set of fringes, and how many noise alone gives. */
#include <math.h>
#include <stdlib.h>

#include "core/sizes.h"
#include "ops/crystal/crystal_internal.h"

#define LOOP_WIDTHS 2.2 /* radius of the loop around a vortex, in widths of the mask in real space */
#define LOOP_POINTS 48
#define NULL_CLEAR 4.5 /* amplitude over the noise from which noise gives under 1e-5 of them in a crystal */
#define NULL_FIELDS 12 /* noise fields behind the expected number of vortices */
#define NULL_SAMPLES 320
#define NULL_CARRIER 2.5 /* nm^-1: the noise is the same around every wave vector */

/* A complex field on h * w points, with its region. */
struct vortex_field {
    const mro_c32 *v;
    const unsigned char *inside;
    size_t h, w;
};

static double turn(mro_c32 a, mro_c32 b) /* phase of b minus that of a, within half a turn */
{
    return atan2((double)a.re * b.im - (double)a.im * b.re, (double)a.re * b.re + (double)a.im * b.im);
}

static bool on_loop(const struct vortex_field *f, double y, double x, double least, mro_c32 *v)
{
    if (!(y >= 0 && x >= 0 && y < (double)(f->h - 1) && x < (double)(f->w - 1))) return false;
    const size_t j = (size_t)y, i = (size_t)x, at = j * f->w + i;
    const float wy = (float)(y - (double)j), wx = (float)(x - (double)i);
    if (!f->inside[at] || !f->inside[at + 1] || !f->inside[at + f->w] || !f->inside[at + f->w + 1]) return false;
    const mro_c32 a = f->v[at], b = f->v[at + 1], c = f->v[at + f->w], d = f->v[at + f->w + 1];
    v->re = (1 - wy) * ((1 - wx) * a.re + wx * b.re) + wy * ((1 - wx) * c.re + wx * d.re);
    v->im = (1 - wy) * ((1 - wx) * a.im + wx * b.im) + wy * ((1 - wx) * c.im + wx * d.im);
    return hypot(v->re, v->im) > least;
}

/* Turns of the phase along a loop around sample (y, x); NaN where it is not inside or not over `least`. */
static double turns_around(const struct vortex_field *f, const double step[2], double y, double x, double radius,
                           double least)
{
    double sum = 0;
    mro_c32 first = { 0, 0 }, last = { 0, 0 };
    for (int k = 0; k <= LOOP_POINTS; k++) {
        const double t = 2 * MRO_PI * (k % LOOP_POINTS) / LOOP_POINTS;
        mro_c32 v = first;
        if (k < LOOP_POINTS && !on_loop(f, y + radius * sin(t) / step[0], x + radius * cos(t) / step[1], least, &v))
            return NAN;
        if (k == 0)
            first = v;
        else
            sum += turn(last, v);
        last = v;
    }
    return sum / (2 * MRO_PI);
}

/* A zero of the field, with the sign of the turn around it; 0 = done with. */
struct field_zero {
    double y, x, sign;
};

static size_t vortices_in(const struct vortex_field *f, const double step[2], double mask, double least,
                          double (*at)[2], size_t room)
{
    enum { MOST = 256 };
    struct field_zero zero[MOST];
    size_t n = 0, zeros = 0;
    const double radius = LOOP_WIDTHS * mro_wave_width(mask);
    for (size_t y = 0; y + 1 < f->h; y++)
        for (size_t x = 0; x + 1 < f->w; x++) {
            const size_t i = y * f->w + x;
            if (!f->inside[i] || zeros == MOST) continue;
            const mro_c32 a = f->v[i], b = f->v[i + 1], c = f->v[i + f->w + 1], d = f->v[i + f->w];
            const int right = (a.re > 0) + (b.re > 0) + (c.re > 0) + (d.re > 0);
            const int above = (a.im > 0) + (b.im > 0) + (c.im > 0) + (d.im > 0);
            if (right % 4 == 0 || above % 4 == 0) continue; /* all on one side of zero: no turn */
            const double around = turn(a, b) + turn(b, c) + turn(c, d) + turn(d, a);
            if (fabs(around) < MRO_PI) continue;
            zero[zeros++] = (struct field_zero){ (double)y + 0.5, (double)x + 0.5, around < 0 ? -1 : 1 };
        }
    for (size_t i = 0; i < zeros; i++) {
        if (zero[i].sign == 0) continue;
        double y = 0, x = 0, like = 0; /* a dislocation that turns the phase twice has two zeros side by side */
        for (size_t k = i; k < zeros; k++) {
            const double away = hypot((zero[k].y - zero[i].y) * step[0], (zero[k].x - zero[i].x) * step[1]);
            if (zero[k].sign != zero[i].sign || away > 1.5 * radius) continue;
            y += zero[k].y;
            x += zero[k].x;
            like++;
        }
        y /= like;
        x /= like;
        double turns = turns_around(f, step, y, x, radius, least);
        if (!(fabs(turns) > 0.5)) {
            y = zero[i].y;
            x = zero[i].x;
            turns = turns_around(f, step, y, x, radius, least);
        }
        if (!(fabs(turns) > 0.5)) continue;
        for (size_t k = i; k < zeros; k++)
            if (hypot((zero[k].y - y) * step[0], (zero[k].x - x) * step[1]) < 1.5 * radius) zero[k].sign = 0;
        if (at && n < room) {
            at[n][0] = y * step[0];
            at[n][1] = x * step[1];
        }
        n++;
    }
    return n;
}

double mro_fringe_loop(const struct fringe_set *s) { return LOOP_WIDTHS * mro_wave_width(s->mask); }

size_t mro_fringe_vortices(const struct fringe_set *s, const double step[2], double (*at)[2], size_t room)
{
    const struct vortex_field f = { s->f.v, s->f.inside, s->f.h, s->f.w };
    const size_t n = vortices_in(&f, step, s->mask, CRYSTAL_OVER_NOISE * s->noise, at, room);
    for (size_t i = 0; at && i < n && i < room; i++) {
        at[i][0] += (double)s->f.y0 * step[0];
        at[i][1] += (double)s->f.x0 * step[1];
    }
    return n;
}

double mro_fringe_turns(const struct fringe_set *s, const double step[2], double y_nm, double x_nm)
{
    const struct vortex_field f = { s->f.v, s->f.inside, s->f.h, s->f.w };
    return round(turns_around(&f, step, y_nm / step[0] - (double)s->f.y0, x_nm / step[1] - (double)s->f.x0,
                              mro_fringe_loop(s), CRYSTAL_OVER_NOISE * s->noise));
}

enum mro_code mro_fringe_vortices_null(struct crystal_work *w, const struct fringe_set *s, double *mean,
                                       struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = NULL_SAMPLES, m = s->f.h * s->f.w;
    const double ly = (double)n * w->step[0], lx = (double)n * w->step[1];
    const struct mro_grid map = { n, n, ly, lx };
    const double q = NULL_CARRIER + CRYSTAL_MASK_REACH * s->mask + 0.2, wide[2] = { -1, 1e3 };
    const double carrier[2] = { 0, NULL_CARRIER };
    const struct mro_grid grid = { mro_smooth_size((size_t)ceil(2 * q * ly)), mro_smooth_size((size_t)ceil(2 * q * lx)),
                                   ly, lx };
    const struct mro_window part = { 0, 0, s->f.h, s->f.w };
    const double pitch = ly * lx / ((double)grid.ny * (double)grid.nx);
    const float unit = (float)(s->noise / sqrt(MRO_PI * s->mask * s->mask * pitch)); /* what white noise gives */
    struct mro_buffer noise = { 0 }, field = { 0 }, h = { 0 };
    mro_c32 *v = malloc(m * sizeof *v);
    enum mro_code rc = MRO_OK;
    size_t total = 0;
    *mean = NAN;
    if (s->plateau > NULL_CLEAR * s->noise) {
        *mean = 0;
        goto done;
    }
    if (v == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &noise, grid.ny * grid.nx * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &field, grid.ny * grid.nx * sizeof(float), e))) goto done;
    if ((rc = d->ops->alloc(d, &h, m * sizeof *v, e))) goto done;
    for (uint64_t k = 0; k < NULL_FIELDS; k++) {
        if ((rc = d->ops->noise_spectrum(d, &grid, w->o->seed, 0x63727973u + k, wide, 0.15, &noise, e))) goto done;
        if ((rc = d->ops->inverse(d, &grid, &noise, &field, e))) goto done;
        if ((rc = d->ops->demodulate(d, &grid, &field, carrier, s->mask, &map, &part, &h, NULL, e))) goto done;
        if ((rc = d->ops->download(d, v, &h, m * sizeof *v, e))) goto done;
        for (size_t i = 0; i < m; i++) v[i] = (mro_c32){ unit * v[i].re + (float)s->plateau, unit * v[i].im };
        const struct vortex_field f = { v, s->f.inside, s->f.h, s->f.w };
        total += vortices_in(&f, w->step, s->mask, CRYSTAL_OVER_NOISE * s->noise, NULL, 0);
    }
    *mean = (double)total / NULL_FIELDS;
done:
    d->ops->release(d, &noise);
    d->ops->release(d, &field);
    d->ops->release(d, &h);
    free(v);
    return rc;
}

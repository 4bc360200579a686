/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fringe patch of an ordered sphere in projection: fringes under an envelope proportional to the
 * chord of the sphere. */
#ifndef MROSCOPE_MATH_PATCH_H
#define MROSCOPE_MATH_PATCH_H

#include <stdbool.h>

#include "mroscope/math/hd.h"

/* Chord of a sphere of radius R at distance squared r2 from its axis; same unit as R. */
MRO_HD float mro_chord(float r2, float radius)
{
    const float h = radius * radius - r2;
    return h > 0 ? 2.0f * sqrtf(h) : 0.0f;
}

/* Fourier transform of the chord profile over its value at 0: the form factor of a sphere of diameter D
 * at spatial frequency q (1/d). */
MRO_HD double mro_sphere_form_factor(double q, double diameter)
{
    const double x = MRO_PI * q * diameter;
    if (x < 1e-2) return 1 - x * x / 10;
    return 3 * (sin(x) - x * cos(x)) / (x * x * x);
}

/* A fringe patch matched to a field: position, wave vector, and the power found with spheres of a list of diameters. */
#define MRO_PATCH_SIZES 7
struct mro_patch {
    double y_nm, x_nm;
    double gy, gx;                 /* nm^-1 */
    double power[MRO_PATCH_SIZES]; /* matched power over that of unit noise; Exp(1) under noise at a fixed place */
    int best;                      /* index of the size that stands out most */
    double second_power;           /* best power of size `best` at the same place at 60, 90 or 120 degrees to g */
};

#define MRO_ENERGY_STEPS 24
struct mro_patch_search {
    double diameter_nm[MRO_PATCH_SIZES];
    double offset[MRO_PATCH_SIZES]; /* power - offset is comparable between sizes */
    double d_range_inv_nm[2];       /* |g| is kept within */
    /* Share of a sphere's fringe energy that the band lets through, at MRO_ENERGY_STEPS + 1 equidistant |g| over
     * d_range_inv_nm: what turns a sum into units of noise. */
    double energy[MRO_PATCH_SIZES][MRO_ENERGY_STEPS + 1];
    double second_from; /* patches of less power are not searched for a second reflection (second_power 0) */
};

/* That share for size k at wave vector (gy, gx). */
MRO_HD double mro_patch_energy(const struct mro_patch_search *s, int k, double gy, double gx)
{
    const double *range = s->d_range_inv_nm;
    double t = (sqrt(gy * gy + gx * gx) - range[0]) / (range[1] - range[0]) * MRO_ENERGY_STEPS;
    t = t < 0 ? 0 : t > MRO_ENERGY_STEPS ? MRO_ENERGY_STEPS : t;
    int i = (int)t;
    if (i >= MRO_ENERGY_STEPS) i = MRO_ENERGY_STEPS - 1;
    return s->energy[k][i] + (t - i) * (s->energy[k][i + 1] - s->energy[k][i]);
}

/* The way of one patch to its nearest maximum, as a machine that asks for one matched power after the other: start,
 * then step with the power at (y, x, gy, gx) for sphere `size` until `state` is MRO_WALK_DONE; `patch` is the result.
 *
 * The size that stands out most is found; with it position and wave vector climb to the maximum, by parabolas along
 * each axis in turn with ever shorter arms (the power is smooth on the scale of the sphere, so a few rounds get within
 * a hundredth of it); both are repeated until the size stays. Last, a second reflection of the same family is looked
 * for, which a crystal near a zone axis shows: at 90 degrees along [001], at 60 or 120 along [111], within 3 degrees
 * and 3 % of |g|. */
enum mro_walk_state {
    MRO_WALK_SIZES,
    MRO_WALK_BEFORE,
    MRO_WALK_AFTER,
    MRO_WALK_TRY,
    MRO_WALK_SECOND,
    MRO_WALK_DONE
};
#define MRO_WALK_CLIMBS 3
#define MRO_WALK_ROUNDS 5
#define MRO_WALK_SECONDS 27

struct mro_patch_walk {
    struct mro_patch patch;
    double y, x, gy, gx; /* asked for */
    int size;
    int state; /* enum mro_walk_state */
    int k, climbs, round, axis, i;
    double v[4], arm[2], top, before, after, was, shift, moved;
};

MRO_HD void mro_walk_ask(struct mro_patch_walk *w, int state, double y, double x, double gy, double gx)
{
    w->state = state;
    w->y = y;
    w->x = x;
    w->gy = gy;
    w->gx = gx;
}

/* The size to ask for is number i; where a climb has ended, its own is known. */
MRO_HD void mro_walk_next_size(struct mro_patch_walk *w)
{
    if (w->climbs && w->i == w->k) w->patch.power[w->i++] = w->top;
    w->size = w->i;
}

MRO_HD void mro_walk_ask_sizes(struct mro_patch_walk *w)
{
    mro_walk_ask(w, MRO_WALK_SIZES, w->patch.y_nm, w->patch.x_nm, w->patch.gy, w->patch.gx);
    w->i = 0;
    mro_walk_next_size(w);
}

MRO_HD void mro_walk_start(struct mro_patch_walk *w, const struct mro_patch *from)
{
    w->patch = *from;
    w->k = -1;
    w->climbs = w->round = w->axis = 0;
    w->v[0] = w->v[1] = w->v[2] = w->v[3] = 0;
    w->arm[0] = w->arm[1] = 0;
    w->top = w->before = w->after = w->was = w->shift = w->moved = 0;
    mro_walk_ask_sizes(w);
}

MRO_HD void mro_walk_ask_side(struct mro_patch_walk *w, int state, double to)
{
    w->v[w->axis] = to;
    mro_walk_ask(w, state, w->v[0], w->v[1], w->v[2], w->v[3]);
}

MRO_HD void mro_walk_ask_second(struct mro_patch_walk *w)
{
    const int angle = w->i / 9, turn = w->i / 3 % 3 - 1, stretch = w->i % 3 - 1;
    const double t = ((angle == 0 ? 60 : angle == 1 ? 90 : 120) + 3 * turn) * MRO_PI / 180, f = 1 + 0.03 * stretch;
    const double c = cos(t), s = sin(t), gy = w->patch.gy, gx = w->patch.gx;
    mro_walk_ask(w, MRO_WALK_SECOND, w->patch.y_nm, w->patch.x_nm, f * (gy * c + gx * s), f * (gx * c - gy * s));
}

/* Ends one axis of a climb, and with the last axis a round, and with the last round the climb. */
MRO_HD void mro_walk_next_axis(struct mro_patch_walk *w)
{
    if (++w->axis == 4) {
        w->axis = 0;
        w->round++;
        if (w->moved < 0.7) {
            w->arm[0] *= 0.5;
            w->arm[1] *= 0.5;
        }
        w->moved = 0;
        if (w->arm[0] < 0.02 || w->round == MRO_WALK_ROUNDS) {
            w->patch.y_nm = w->v[0];
            w->patch.x_nm = w->v[1];
            w->patch.gy = w->v[2];
            w->patch.gx = w->v[3];
            w->climbs++;
            mro_walk_ask_sizes(w);
            return;
        }
    }
    w->was = w->v[w->axis];
    mro_walk_ask_side(w, MRO_WALK_BEFORE, w->was - w->arm[w->axis / 2]);
}

/* The sizes are known: climb, or once the size stays go on to the second reflection. */
MRO_HD void mro_walk_sized(struct mro_patch_walk *w, const struct mro_patch_search *s)
{
    int best = 0;
    for (int k = 1; k < MRO_PATCH_SIZES; k++)
        if (w->patch.power[k] - s->offset[k] > w->patch.power[best] - s->offset[best]) best = k;
    const bool stays = best == w->k;
    w->k = w->size = best;
    if (stays || w->climbs == MRO_WALK_CLIMBS) {
        w->patch.best = best;
        w->patch.second_power = 0;
        w->state = MRO_WALK_DONE;
        if (w->patch.power[best] < s->second_from) return;
        w->i = 0;
        mro_walk_ask_second(w);
        return;
    }
    const double size = s->diameter_nm[best];
    w->v[0] = w->patch.y_nm;
    w->v[1] = w->patch.x_nm;
    w->v[2] = w->patch.gy;
    w->v[3] = w->patch.gx;
    w->arm[0] = 0.12 * fmin(1.0, size / 1.8); /* nm */
    w->arm[1] = 0.12 * fmin(1.0, 1.8 / size); /* nm^-1 */
    w->round = w->axis = 0;
    w->moved = 0;
    w->top = w->patch.power[best];
    w->was = w->v[0];
    mro_walk_ask_side(w, MRO_WALK_BEFORE, w->was - w->arm[0]);
}

MRO_HD void mro_walk_tried(struct mro_patch_walk *w, double power)
{
    if (power > w->top) {
        w->top = power;
        w->moved = fmax(w->moved, fabs(w->shift) / w->arm[w->axis / 2]);
    } else {
        w->v[w->axis] = w->was;
    }
    mro_walk_next_axis(w);
}

MRO_HD void mro_walk_step(struct mro_patch_walk *w, const struct mro_patch_search *s, double power)
{
    const double h = w->arm[w->axis / 2];
    switch (w->state) {
    case MRO_WALK_SIZES:
        w->patch.power[w->i++] = power;
        mro_walk_next_size(w);
        if (w->i == MRO_PATCH_SIZES) mro_walk_sized(w, s);
        return;
    case MRO_WALK_BEFORE:
        w->before = power;
        mro_walk_ask_side(w, MRO_WALK_AFTER, w->was + h);
        return;
    case MRO_WALK_AFTER: {
        w->after = power;
        const double bend = w->before - 2 * w->top + w->after;
        w->shift = w->after > w->before ? h : -h;
        if (bend < 0) w->shift = fmin(fmax(0.5 * h * (w->before - w->after) / bend, -1.5 * h), 1.5 * h);
        mro_walk_ask_side(w, MRO_WALK_TRY, w->was + w->shift);
        const double q = sqrt(w->v[2] * w->v[2] + w->v[3] * w->v[3]);
        if (q < s->d_range_inv_nm[0] || q > s->d_range_inv_nm[1]) mro_walk_tried(w, -1);
        return;
    }
    case MRO_WALK_TRY: mro_walk_tried(w, power); return;
    case MRO_WALK_SECOND:
        w->patch.second_power = fmax(w->patch.second_power, power);
        if (++w->i == MRO_WALK_SECONDS)
            w->state = MRO_WALK_DONE;
        else
            mro_walk_ask_second(w);
        return;
    default: return;
    }
}

#endif

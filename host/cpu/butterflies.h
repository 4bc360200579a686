/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Transforms of a few numbers of each line, exp(-2 pi i j k / r): what those of whole lines are made of. */
#ifndef MRO_CPU_BUTTERFLIES_H
#define MRO_CPU_BUTTERFLIES_H

#include "cpu/lines.h"

MRO_INLINE struct mro_wide plus(struct mro_wide a, struct mro_wide b)
{
    return (struct mro_wide){ a.re + b.re, a.im + b.im };
}
MRO_INLINE struct mro_wide minus(struct mro_wide a, struct mro_wide b)
{
    return (struct mro_wide){ a.re - b.re, a.im - b.im };
}
MRO_INLINE struct mro_wide times(struct mro_wide a, mro_c32 w)
{
    return (struct mro_wide){ a.re * w.re - a.im * w.im, a.re * w.im + a.im * w.re };
}
MRO_INLINE struct mro_wide scaled(struct mro_wide a, float w, struct mro_wide b)
{
    return (struct mro_wide){ a.re + w * b.re, a.im + w * b.im };
}
MRO_INLINE struct mro_wide turned(struct mro_wide a) { return (struct mro_wide){ a.im, -a.re }; } /* times -i */

/* Transforms of a few numbers in place. */

MRO_INLINE void two(struct mro_wide *x)
{
    const struct mro_wide a = x[0], b = x[1];
    x[0] = plus(a, b);
    x[1] = minus(a, b);
}

MRO_INLINE void three(struct mro_wide *x)
{
    const float sine = 0.866025403784438647f;
    const struct mro_wide sum = plus(x[1], x[2]), across = turned(minus(x[1], x[2])), middle = scaled(x[0], -0.5f, sum);
    x[0] = plus(x[0], sum);
    x[1] = scaled(middle, sine, across);
    x[2] = scaled(middle, -sine, across);
}

MRO_INLINE void four(struct mro_wide *x)
{
    const struct mro_wide a = plus(x[0], x[2]), b = minus(x[0], x[2]), c = plus(x[1], x[3]),
                          d = turned(minus(x[1], x[3]));
    x[0] = plus(a, c);
    x[1] = plus(b, d);
    x[2] = minus(a, c);
    x[3] = minus(b, d);
}

MRO_INLINE void five(struct mro_wide *x)
{
    const float c1 = 0.309016994374947424f, c2 = -0.809016994374947424f;
    const float s1 = 0.951056516295153572f, s2 = 0.587785252292473129f;
    const struct mro_wide a = plus(x[1], x[4]), b = plus(x[2], x[3]);
    const struct mro_wide c = turned(minus(x[1], x[4])), d = turned(minus(x[2], x[3]));
    const struct mro_wide p = scaled(scaled(x[0], c1, a), c2, b), q = scaled(scaled(x[0], c2, a), c1, b);
    x[0] = plus(x[0], plus(a, b));
    const struct mro_wide u = scaled(c, s2 / s1, d), v = scaled(d, -s2 / s1, c);
    x[1] = scaled(p, s1, u);
    x[4] = scaled(p, -s1, u);
    x[2] = scaled(q, -s1, v);
    x[3] = scaled(q, s1, v);
}

MRO_INLINE void eight(struct mro_wide *x)
{
    const float half = 0.707106781186547524f;
    struct mro_wide e[4] = { x[0], x[2], x[4], x[6] }, o[4] = { x[1], x[3], x[5], x[7] };
    four(e);
    four(o);
    const struct mro_wide a = { o[1].re + o[1].im, o[1].im - o[1].re }, b = turned(o[2]);
    const struct mro_wide c = { o[3].im - o[3].re, -o[3].re - o[3].im };
    x[0] = plus(e[0], o[0]);
    x[4] = minus(e[0], o[0]);
    x[1] = scaled(e[1], half, a);
    x[5] = scaled(e[1], -half, a);
    x[2] = plus(e[2], b);
    x[6] = minus(e[2], b);
    x[3] = scaled(e[3], half, c);
    x[7] = scaled(e[3], -half, c);
}

MRO_INLINE void few(struct mro_wide *x, int r)
{
    if (r == 2) two(x);
    if (r == 3) three(x);
    if (r == 4) four(x);
    if (r == 5) five(x);
    if (r == 8) eight(x);
}

enum { MOST_RADIX = 8 };

/* Numbers lie in pairs of vectors, the imaginary part `im` = 1 or -1 beside the real one: with the parts exchanged on
 * both sides, a transform is the one back. */
MRO_INLINE struct mro_wide number(const mro_lanes *z, size_t k, ptrdiff_t im)
{
    return (struct mro_wide){ z[2 * k], z[2 * (ptrdiff_t)k + im] };
}
MRO_INLINE void put(mro_lanes *z, size_t k, ptrdiff_t im, struct mro_wide v)
{
    z[2 * k] = v.re;
    z[2 * (ptrdiff_t)k + im] = v.im;
}

#endif

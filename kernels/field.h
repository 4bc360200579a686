/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernels on whole planes: gains, noise, and what stands around transforms. */
#ifndef MRO_KERNELS_FIELD_H
#define MRO_KERNELS_FIELD_H

#include "kernel.h"

/* s *= gain, n numbers. */
struct mro_multiply_args {
    mro_c32 *s;
    const float *gain;
    size_t n;
};
MRO_NO_SHARED(multiply);
enum { mro_multiply_THREADS = 256, mro_multiply_PHASES = 1 };
MRO_HD void mro_multiply_phase(int phase, const struct mro_multiply_args *a, const struct mro_thread *t,
                               struct mro_multiply_shared *s)
{
    (void)phase;
    (void)s;
    MRO_EACH(i, a->n, t, mro_multiply_THREADS)
    {
        a->s[i].re *= a->gain[i];
        a->s[i].im *= a->gain[i];
    }
}

#endif

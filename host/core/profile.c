/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/profile.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"

static double *unknown(size_t n)
{
    double *v = malloc(n * sizeof *v);
    for (size_t i = 0; v && i < n; i++) v[i] = NAN;
    return v;
}

enum mro_code mro_profile_alloc(struct mro_profile *p, size_t n, size_t n_sectors, struct mro_error *e)
{
    memset(p, 0, sizeof *p);
    if (n == 0 || n > SIZE_MAX / sizeof(double) / (n_sectors + 1))
        return MRO_FAIL(e, n ? MRO_EMEMORY : MRO_EARG, "a profile of %zu points cannot be made", n);
    p->n = n;
    p->n_sectors = n_sectors;
    p->s_inv_nm = unknown(n);
    p->intensity = unknown(n);
    p->se = unknown(n);
    bool ok = p->s_inv_nm && p->intensity && p->se;
    if (n_sectors) {
        p->pixels = unknown(n);
        p->sd = unknown(n);
        p->sector_mean = unknown(n * n_sectors);
        p->sector_weight = unknown(n * n_sectors);
        ok = ok && p->pixels && p->sd && p->sector_mean && p->sector_weight;
    }
    if (ok) return MRO_OK;
    mro_profile_release(p);
    return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a profile of %zu points", n);
}

void mro_profile_release(struct mro_profile *p)
{
    if (p == NULL) return;
    free(p->s_inv_nm);
    free(p->r_A);
    free(p->intensity);
    free(p->se);
    free(p->pixels);
    free(p->sd);
    free(p->sector_mean);
    free(p->sector_weight);
    mro_notes_release(&p->warnings, &p->n_warnings);
    memset(p, 0, sizeof *p);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every backend asks of a mask around one set of fringes. */
#ifndef MRO_CORE_WAVE_H
#define MRO_CORE_WAVE_H

#include "core/backend.h"
#include "mroscope/math/wave.h"

/* The mask, after a look whether spectrum and output hold it. MRO_EINTERNAL when they do not. */
static inline enum mro_code mro_wave_check(const struct mro_grid *g, const double g_inv_nm[2], double sigma_inv_nm,
                                           const struct mro_grid *out, struct mro_wave_mask *m, struct mro_error *e)
{
    *m = mro_wave_mask_of(g_inv_nm[0], g_inv_nm[1], sigma_inv_nm, g->ly, g->lx);
    const size_t rows = 2 * (size_t)m->hy + 1, columns = 2 * (size_t)m->hx + 1;
    if (rows > out->ny || columns > out->nx || rows > g->ny || columns > g->nx)
        return MRO_FAIL(e, MRO_EINTERNAL, "a mask of %zu x %zu coefficients does not fit into %zu x %zu", columns, rows,
                        out->nx, out->ny);
    return MRO_OK;
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/first_error.h"

void mro_first_keep(struct mro_first_error *f, size_t at, enum mro_code code, const struct mro_error *mine)
{
    if (code == MRO_OK) return;
#pragma omp critical(mro_first_error)
    if (f->code == MRO_OK || at < f->at) {
        f->code = code;
        f->at = at;
        f->error = *mine;
    }
}

enum mro_code mro_first_code(const struct mro_first_error *f, struct mro_error *e)
{
    if (f->code && e) *e = f->error;
    return f->code;
}

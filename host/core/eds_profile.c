/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "mroscope/eds.h"

void mro_eds_profile_release(struct mro_eds_profile *p)
{
    if (p == NULL) return;
    for (size_t k = 0; k < p->elements; k++) {
        free(p->column[k].at);
        free(p->column[k].counts);
        free(p->column[k].variance);
    }
    free(p->x_nm);
    mro_notes_release(&p->warnings, &p->n_warnings);
    memset(p, 0, sizeof *p);
}

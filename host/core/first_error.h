/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The error of a parallel loop: of those of its steps, the one that a loop on one thread would have met first. So the
 * sentence does not depend on the number of threads.
 *
 *     struct mro_first_error first = { 0 };
 *     #pragma omp parallel for
 *     for (size_t k = 0; k < n; k++) {
 *         struct mro_error mine;
 *         mro_first_keep(&first, k, step(k, &mine), &mine);
 *     }
 *     return mro_first_code(&first, e);
 */
#ifndef MRO_CORE_FIRST_ERROR_H
#define MRO_CORE_FIRST_ERROR_H

#include <stddef.h>

#include "mroscope/error.h"

struct mro_first_error {
    enum mro_code code;
    size_t at; /* the step it is of */
    struct mro_error error;
};

/* How step `at` went; `mine` is not read where it is MRO_OK. For all threads of a loop. */
void mro_first_keep(struct mro_first_error *f, size_t at, enum mro_code code, const struct mro_error *mine);

/* How the loop went; an error is copied to `e`, which may be NULL. For one thread, behind the loop. */
enum mro_code mro_first_code(const struct mro_first_error *f, struct mro_error *e);

#endif

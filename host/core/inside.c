/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/inside.h"

#include <stdlib.h>
#include <string.h>

_Thread_local struct mro_inside *mro_inside;

const struct mro_lent *mro_inside_lent(const char *name)
{
    for (size_t i = 0; mro_inside && i < mro_inside->n_lent; i++)
        if (strcmp(mro_inside->lent[i].name, name) == 0) return &mro_inside->lent[i];
    return NULL;
}

bool mro_inside_lends(const void *p)
{
    for (size_t i = 0; mro_inside && i < mro_inside->n_lent; i++)
        if (mro_inside->lent[i].bytes == p) return true;
    return false;
}

bool mro_inside_keeps(void) { return mro_inside && mro_inside->keep; }

enum mro_code mro_inside_keep(const char *name, void *bytes, size_t size, struct mro_error *e)
{
    struct mro_inside *in = mro_inside;
    struct mro_kept *grown = realloc(in->kept, (in->n_kept + 1) * sizeof *grown), *k;
    if (grown) {
        in->kept = grown;
        k = &in->kept[in->n_kept];
        *k = (struct mro_kept){ strdup(name), bytes, size, in->n_results };
        if (k->name) {
            in->n_kept++;
            return MRO_OK;
        }
    }
    free(bytes);
    return MRO_FAIL(e, MRO_EMEMORY, "no memory left to keep '%s'", name);
}

enum mro_code mro_inside_result(char *text, struct mro_error *e)
{
    struct mro_inside *in = mro_inside;
    char **grown = realloc(in->results, (in->n_results + 1) * sizeof *grown);
    if (grown == NULL) {
        free(text);
        return MRO_FAIL(e, MRO_EMEMORY, "no memory left for a result");
    }
    in->results = grown;
    in->results[in->n_results++] = text;
    return MRO_OK;
}

bool mro_inside_failed(const struct mro_error *e)
{
    if (mro_inside == NULL) return false;
    if (!mro_inside->failed) mro_inside->error = *e;
    mro_inside->failed = true;
    return true;
}

bool mro_stopping(const struct mro_inside *in) { return atomic_load_explicit(&in->stop, memory_order_relaxed); }

enum mro_code mro_stopped(struct mro_error *e)
{
    if (mro_inside == NULL || !mro_stopping(mro_inside)) return MRO_OK;
    return MRO_FAIL(e, MRO_ESTOPPED, "stopped before the end");
}

void mro_inside_release(struct mro_inside *in)
{
    for (size_t i = 0; i < in->n_lent; i++) free(in->lent[i].name);
    for (size_t i = 0; i < in->n_kept; i++) {
        free(in->kept[i].name);
        free(in->kept[i].bytes);
    }
    for (size_t i = 0; i < in->n_results; i++) free(in->results[i]);
    free(in->lent);
    free(in->kept);
    free(in->results);
    memset(in, 0, sizeof *in);
}

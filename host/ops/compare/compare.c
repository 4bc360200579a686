/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Comparison of states: from images to units, then states, covariates and trend. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "ops/compare/compare_internal.h"

void mro_compare_options_default(struct mro_compare_options *o)
{
    *o = (struct mro_compare_options){ .permutations = 99999, .enumerate = 200000, .seed = 1 };
}

static enum mro_code check(const struct mro_compare_data *d, const struct mro_compare_options *o, struct mro_error *e)
{
    if (d->n_covariates > MRO_COMPARE_COVARIATES)
        return MRO_FAIL(e, MRO_EARG, "%zu covariates are given; %d can be", d->n_covariates, MRO_COMPARE_COVARIATES);
    if (o->reference >= d->n_states)
        return MRO_FAIL(e, MRO_EARG, "state %zu is the reference, of %zu states", o->reference, d->n_states);
    if (o->permutations < 1) return MRO_FAIL(e, MRO_EARG, "no permutations are drawn; give one at least");
    for (size_t i = 0; i < d->n; i++) {
        const struct mro_compare_image *m = &d->image[i];
        if (!isfinite(m->value)) return MRO_FAIL(e, MRO_EARG, "%s of image %zu is not a finite number", d->metric, i);
        if (m->state >= d->n_states || (m->specimen != MRO_COMPARE_NONE && m->specimen >= d->n_specimens) ||
            m->block >= (d->n_blocks ? d->n_blocks : 1))
            return MRO_FAIL(e, MRO_EARG, "image %zu is of a state, specimen or block that there is not", i);
    }
    return MRO_OK;
}

enum mro_code mro_compare(const struct mro_compare_data *d, const struct mro_compare_options *o,
                          struct mro_compare_result *r, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    struct mro_compare_work w = { .d = d, .o = o, .r = r, .nonnegative = true };
    size_t *part = NULL;
    memset(r, 0, sizeof *r);
    MRO_TRY(check(d, o, e));
    r->n_states = d->n_states;
    r->reference = o->reference;
    r->n_covariates = d->n_covariates;
    r->logarithmic = true;
    r->state = calloc(d->n_states + 1, sizeof *r->state);
    w.unit_of = calloc(d->n + 1, sizeof *w.unit_of);
    w.block_of = calloc(d->n + 1, sizeof *w.block_of);
    w.factor = calloc(d->n + 1, sizeof *w.factor);
    part = calloc(d->n_states + 1, sizeof *part);
    enum mro_code rc = MRO_OK;
    if (!r->state || !w.unit_of || !w.block_of || !w.factor || !part) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", d->n);
        goto done;
    }
    for (size_t i = 0; i < d->n; i++) {
        r->logarithmic &= d->image[i].value > 0;
        w.nonnegative &= d->image[i].value >= 0;
    }
    w.additive = !w.nonnegative;
    rc = mro_compare_find_blocks(&w, e);
    if (rc == MRO_OK) rc = mro_compare_connect(&w, part, e);
    if (rc == MRO_OK) rc = mro_compare_fit_blocks(&w, e);
    if (rc == MRO_OK) rc = mro_compare_make_units(&w, e);
    if (rc) goto done;
    mro_compare_note_shared(&w);
    double states = 0;
    for (size_t k = 0; k < d->n_states; k++) {
        bool there = false;
        for (size_t i = 0; i < w.n_units && !there; i++) there = w.unit[i].state == k;
        states += there;
    }
    w.left = (double)w.n_units - states - (double)w.lost;
    if (w.lost && !(w.left > 0))
        MRO_COMPARE_NOTE(&w, "there are as many blocks as images: no scatter is left to form intervals from");
    rc = mro_compare_measure_states(&w, part, e);
    for (size_t c = 0; c < d->n_covariates && rc == MRO_OK; c++) rc = mro_compare_measure_covariate(&w, c, e);
    if (rc == MRO_OK) rc = mro_compare_measure_trend(&w, e);
    if (rc) goto done;
    mro_compare_measure_scatter(&w);
    r->blocks = w.n_blocks;
    r->block_factor = w.factor;
    w.factor = NULL;
done:
    free(part);
    free(w.unit_of);
    free(w.block_of);
    free(w.factor);
    free(w.unit);
    free(w.z);
    free(w.label);
    free(w.start);
    free(w.order);
    free(w.by_z);
    free(w.room);
    if (rc) mro_compare_result_release(r);
    return rc;
}

void mro_compare_result_release(struct mro_compare_result *r)
{
    if (r == NULL) return;
    for (size_t c = 0; c < MRO_COMPARE_COVARIATES; c++) {
        free(r->covariate[c].mean);
        free(r->covariate[c].ratio);
        free(r->covariate[c].ratio_ci95);
        free(r->covariate[c].inflation);
    }
    free(r->state);
    free(r->block_factor);
    mro_notes_release(&r->warnings, &r->n_warnings);
    memset(r, 0, sizeof *r);
}

static int compare_p(const void *a, const void *b)
{
    const double x = (*(struct mro_compare_state *const *)a)->test.p,
                 y = (*(struct mro_compare_state *const *)b)->test.p;
    return x < y ? -1 : x > y;
}

enum mro_code mro_compare_holm(struct mro_compare_result *const *results, size_t n, struct mro_error *e)
{
    struct mro_compare_state **list = malloc((n + 1) * sizeof *list);
    size_t states = 0;
    if (list == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu tests do not fit in memory", n);
    for (size_t i = 0; i < n; i++) states = results[i]->n_states > states ? results[i]->n_states : states;
    for (size_t k = 0; k < states; k++) {
        size_t tests = 0;
        double least = 0;
        for (size_t i = 0; i < n; i++)
            if (k < results[i]->n_states && isfinite(results[i]->state[k].test.p))
                list[tests++] = &results[i]->state[k];
        qsort(list, tests, sizeof *list, compare_p);
        for (size_t i = 0; i < tests; i++) {
            least = fmax(least, fmin(1, list[i]->test.p * (double)(tests - i)));
            list[i]->p_holm = least;
        }
    }
    free(list);
    return MRO_OK;
}

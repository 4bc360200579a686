/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a comparison is made of: blocks of equal settings, and units of evidence. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/compare/compare_internal.h"

/* Standard deviation that an interval stands for. A lower end at zero is cut off: then the upper side counts. */
static double own_sd(const struct mro_compare_image *m)
{
    if (!isfinite(m->ci95[0]) || !isfinite(m->ci95[1])) return NAN;
    return fmax((m->ci95[1] - m->ci95[0]) / (2 * Z975), (m->ci95[1] - m->value) / Z975);
}

static double own_sd_ln(const struct mro_compare_image *m)
{
    if (!(m->ci95[0] > 0) || !isfinite(m->ci95[1])) return NAN;
    return log(m->ci95[1] / m->ci95[0]) / (2 * Z975);
}

/* -- blocks ------------------------------------------------------------------------------------- */

enum mro_code mro_compare_find_blocks(struct mro_compare_work *w, struct mro_error *e)
{
    const struct mro_compare_data *d = w->d;
    size_t(*seen)[2] = malloc((d->n + 1) * sizeof *seen);
    if (seen == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", d->n);
    for (size_t i = 0; i < d->n; i++) {
        const size_t specimen = w->o->paired ? d->image[i].specimen : MRO_COMPARE_NONE;
        size_t k = 0;
        while (k < w->n_blocks && (seen[k][0] != d->image[i].block || seen[k][1] != specimen)) k++;
        if (k == w->n_blocks) {
            seen[k][0] = d->image[i].block;
            seen[k][1] = specimen;
            w->n_blocks++;
        }
        w->block_of[i] = k;
    }
    free(seen);
    return MRO_OK;
}

static size_t root_of(const size_t *parent, size_t i)
{
    while (parent[i] != i) i = parent[i];
    return i;
}

enum mro_code mro_compare_connect(struct mro_compare_work *w, size_t *part, struct mro_error *e)
{
    const size_t K = w->d->n_states, n = K + w->n_blocks;
    size_t *parent = malloc((n + 1) * sizeof *parent), parts = 0, used = 0;
    bool *there = calloc(n + 1, sizeof *there);
    if (parent == NULL || there == NULL) {
        free(parent);
        free(there);
        return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", w->d->n);
    }
    for (size_t i = 0; i < n; i++) parent[i] = i;
    for (size_t i = 0; i < w->d->n; i++) {
        const size_t s = w->d->image[i].state, b = K + w->block_of[i];
        parent[root_of(parent, s)] = root_of(parent, b);
        there[s] = there[b] = true;
    }
    for (size_t i = 0; i < n; i++) {
        parts += there[i] && root_of(parent, i) == i;
        used += there[i] && i >= K;
    }
    for (size_t k = 0; k < K; k++) part[k] = root_of(parent, k);
    w->lost = used > parts ? used - parts : 0;
    free(parent);
    free(there);
    return MRO_OK;
}

enum mro_code mro_compare_fit_blocks(struct mro_compare_work *w, struct mro_error *e)
{
    const struct mro_compare_data *d = w->d;
    const size_t K = d->n_states;
    double *m = calloc(K + 1, sizeof *m), *sum = calloc(K + w->n_blocks + 1, sizeof *sum),
           *weight = calloc(K + w->n_blocks + 1, sizeof *weight);
    enum mro_code rc = MRO_OK;
    if (m == NULL || sum == NULL || weight == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", d->n);
        goto done;
    }
    for (size_t b = 0; b < w->n_blocks; b++) w->factor[b] = w->additive ? 0 : 1;
    for (int turn = 0; turn < 500 && w->n_blocks > 1; turn++) {
        for (int blocks = 0; blocks < 2; blocks++) {
            memset(sum, 0, (K + w->n_blocks) * sizeof *sum);
            memset(weight, 0, (K + w->n_blocks) * sizeof *weight);
            for (size_t i = 0; i < d->n; i++) {
                const size_t s = d->image[i].state, b = w->block_of[i], at = blocks ? b : s;
                const double other = blocks ? m[s] : w->factor[b];
                sum[at] += w->additive ? d->image[i].value - other : d->image[i].value;
                weight[at] += w->additive ? 1 : other;
            }
            for (size_t k = 0; k < (blocks ? w->n_blocks : K); k++) {
                double *v = blocks ? &w->factor[k] : &m[k];
                if (weight[k] > 0) *v = sum[k] / weight[k];
            }
        }
    }
    if (w->n_blocks < 2) goto done; /* no rounding where nothing is to be done */
    /* Common settings are the mean of those used. A block of zeros alone says nothing of its factor. */
    double mean = 0;
    for (size_t i = 0; i < d->n; i++) mean += w->factor[w->block_of[i]] / (double)d->n;
    for (size_t b = 0; b < w->n_blocks; b++)
        w->factor[b] = w->additive ? w->factor[b] - mean : mean > 0 && w->factor[b] > 0 ? w->factor[b] / mean : 1;
done:
    free(m);
    free(sum);
    free(weight);
    return rc;
}

/* -- units -------------------------------------------------------------------------------------- */

/* Is the specimen the unit? Only where every state with several images has several specimens. */
static bool specimens_are_units(struct mro_compare_work *w)
{
    const struct mro_compare_data *d = w->d;
    size_t repeated = 0, alone = 0, first_alone = 0;
    for (size_t k = 0; k < d->n_states; k++) {
        size_t images = 0, specimens = 0, twice = 0;
        for (size_t i = 0; i < d->n; i++) {
            const struct mro_compare_image *m = &d->image[i];
            bool before = false;
            if (m->state != k) continue;
            for (size_t j = 0; j < i && !before; j++)
                before =
                    d->image[j].state == k && m->specimen != MRO_COMPARE_NONE && d->image[j].specimen == m->specimen;
            images++;
            specimens += !before;
            twice += before;
        }
        repeated += twice;
        if (images > 1 && specimens < 2 && alone++ == 0) first_alone = k;
    }
    if (repeated == 0 && !w->o->paired) return false;
    if (alone && !w->o->paired) {
        MRO_COMPARE_NOTE(
            w,
            "all images of %s are of one specimen: intervals and p speak of its images, not of other specimens in that "
            "state",
            d->state[first_alone]);
        return false;
    }
    return repeated > 0 || w->o->paired;
}

void mro_compare_note_shared(struct mro_compare_work *w)
{
    const struct mro_compare_data *d = w->d;
    if (w->o->paired) return;
    for (size_t i = 0; i < d->n; i++)
        for (size_t j = 0; j < i; j++)
            if (d->image[i].specimen != MRO_COMPARE_NONE && d->image[i].specimen == d->image[j].specimen &&
                d->image[i].state != d->image[j].state) {
                MRO_COMPARE_NOTE(
                    w, "a specimen has images in several states and is taken as a different piece in each; when it is "
                       "one piece measured in every state, `paired` compares within it");
                return;
            }
}

/* Scatters numbers that stand for blocks: their sum says how images are spread. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

struct place {
    size_t unit, block;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->unit != y->unit) return x->unit < y->unit ? -1 : 1;
    return x->block < y->block ? -1 : x->block > y->block;
}

static size_t common_divisor(size_t a, size_t b)
{
    while (b) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Two images of four in a block are one of two: the mean of a unit is what labels are exchanged for, and means of few
 * and of many images are exchanged alike. */
static enum mro_code find_classes(struct mro_compare_work *w, struct mro_error *e)
{
    const size_t n = w->d->n;
    struct place *p = malloc((n + 1) * sizeof *p);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", n);
    for (size_t i = 0; i < n; i++) p[i] = (struct place){ w->unit_of[i], w->block_of[i] };
    qsort(p, n, sizeof *p, compare_places);
    for (size_t begin = 0, end; begin < n; begin = end) {
        size_t divisor = 0;
        for (size_t i = begin, run; i < n && p[i].unit == p[begin].unit; i += run) {
            for (run = 1; i + run < n && compare_places(&p[i], &p[i + run]) == 0;) run++;
            divisor = common_divisor(run, divisor);
        }
        for (end = begin; end < n && p[end].unit == p[begin].unit;) {
            size_t run = 1;
            while (end + run < n && compare_places(&p[end], &p[end + run]) == 0) run++;
            w->unit[p[end].unit].class += (run / divisor) * mix(p[end].block);
            end += run;
        }
    }
    free(p);
    return MRO_OK;
}

enum mro_code mro_compare_make_units(struct mro_compare_work *w, struct mro_error *e)
{
    const struct mro_compare_data *d = w->d;
    double *known = NULL;
    w->r->by_specimen = specimens_are_units(w);
    for (size_t i = 0; i < d->n; i++) {
        const struct mro_compare_image *m = &d->image[i];
        size_t j = i;
        if (w->r->by_specimen && m->specimen != MRO_COMPARE_NONE)
            for (j = 0; j < i; j++)
                if (d->image[j].specimen == m->specimen && d->image[j].state == m->state &&
                    (!w->o->paired || w->block_of[j] == w->block_of[i]))
                    break;
        w->unit_of[i] = j < i ? w->unit_of[j] : w->n_units++;
    }
    w->unit = calloc(w->n_units + 1, sizeof *w->unit);
    known = calloc(w->n_units + 1, sizeof *known);
    w->z = calloc(w->n_units + 1, sizeof *w->z);
    w->label = calloc(w->n_units + 1, sizeof *w->label);
    w->start = calloc(w->n_units + 2, sizeof *w->start);
    w->order = calloc(w->n_units + 1, sizeof *w->order);
    w->by_z = calloc(w->n_units + 1, sizeof *w->by_z);
    w->room = calloc(3 * w->n_units + 7, sizeof *w->room); /* two groups at least */
    if (!w->unit || !known || !w->z || !w->label || !w->start || !w->order || !w->by_z || !w->room) {
        free(known);
        return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", d->n);
    }
    for (size_t i = 0; i < d->n; i++) {
        const struct mro_compare_image *m = &d->image[i];
        struct mro_compare_unit *u = &w->unit[w->unit_of[i]];
        const double f = w->factor[w->block_of[i]];
        u->state = m->state;
        u->images++;
        u->y += w->additive ? m->value - f : m->value / f;
        u->v += square(own_sd(m) / (w->additive ? 1 : f));
        u->sigma += square(own_sd_ln(m));
        u->bound |= w->nonnegative && (m->value <= 0 || m->ci95[0] <= 0);
        if (isfinite(m->x)) {
            /* Equal x have exactly their own mean: trends tell them apart. */
            u->x += (m->x - u->x) / ++known[w->unit_of[i]];
        }
        for (size_t c = 0; c < d->n_covariates; c++) u->covariate[c] += log(m->covariate[c]);
    }
    for (size_t k = 0; k < w->n_units; k++) {
        struct mro_compare_unit *u = &w->unit[k];
        const double n = (double)u->images;
        u->y /= n;
        u->v /= n * n;
        u->sigma = w->r->logarithmic ? sqrt(u->sigma) / n : sqrt(u->v);
        if (known[k] == 0) u->x = NAN;
        for (size_t c = 0; c < d->n_covariates; c++) u->covariate[c] /= n; /* of logarithms */
    }
    free(known);
    return find_classes(w, e);
}

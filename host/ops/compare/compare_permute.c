/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/compare/compare_permute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/math/philox.h"

#define SAME 1e-9 /* relative difference of two statistics that are one, but for rounding */

/* -- statistics --------------------------------------------------------------------------------- */

double mro_statistic_difference(const struct mro_arrangement *a)
{
    double total = 0, weights = 0;
    for (size_t c = 0; c < a->n_classes; c++) {
        double sum[2] = { 0 }, square[2] = { 0 }, n[2] = { 0 };
        for (size_t i = a->class_start[c]; i < a->class_start[c + 1]; i++) {
            sum[a->label[i]] += a->z[i];
            n[a->label[i]]++;
        }
        if (n[0] == 0 || n[1] == 0) continue;
        const double mean[2] = { sum[0] / n[0], sum[1] / n[1] }, d = mean[1] - mean[0];
        const double w = n[0] * n[1] / (n[0] + n[1]);
        total += w * d;
        weights += w;
        if (a->n_classes > 1 || n[0] < 2 || n[1] < 2) continue;
        double largest = 0;
        for (size_t i = a->class_start[c]; i < a->class_start[c + 1]; i++) {
            square[a->label[i]] += (a->z[i] - mean[a->label[i]]) * (a->z[i] - mean[a->label[i]]);
            largest = fmax(largest, fabs(a->z[i]));
        }
        const double v = square[0] / (n[0] * (n[0] - 1)) + square[1] / (n[1] * (n[1] - 1));
        const bool none = v <= 1e-26 * largest * largest; /* what rounding leaves of equal values */
        if (none) return fabs(d) <= 1e-13 * largest ? 0 : INFINITY;
        return fabs(d) / sqrt(v);
    }
    return weights > 0 ? fabs(total) / weights : 0;
}

/* How many of the labels below `label` a tree of counts holds, and adding one (Fenwick, Softw. Pract. Exper. 24 (1994)
 * 327): with many units every pair would take minutes. */
static size_t count_below(const size_t *tree, size_t label)
{
    size_t n = 0;
    for (; label > 0; label &= label - 1) n += tree[label];
    return n;
}

static void count_one(size_t *tree, size_t groups, size_t label)
{
    for (size_t i = label + 1; i <= groups; i += i & (~i + 1)) tree[i]++;
}

void mro_jonckheere(const struct mro_arrangement *a, double *j, double *expected)
{
    size_t *tree = a->room, *count = tree + a->groups + 1, *tied = count + a->groups;
    *j = *expected = 0;
    for (size_t c = 0; c < a->n_classes; c++) {
        const size_t end = a->class_start[c + 1], n = end - a->class_start[c];
        size_t alike = 0; /* pairs of one label */
        memset(a->room, 0, (3 * a->groups + 1) * sizeof *a->room);
        for (size_t i = a->class_start[c], k = i; i < end;) {
            const double z = a->z[a->by_z[i]];
            size_t same = 0;
            for (; k < end && a->z[a->by_z[k]] == z; k++) {
                const size_t label = a->label[a->by_z[k]];
                *j += (double)count_below(tree, label);
                same += tied[label]++;
            }
            *j += 0.5 * (double)((k - i) * (k - i - 1) / 2 - same);
            for (; i < k; i++) {
                const size_t label = a->label[a->by_z[i]];
                count_one(tree, a->groups, label);
                alike += count[label]++;
                tied[label] = 0;
            }
        }
        *expected += 0.5 * (double)(n * (n - 1) / 2 - alike);
    }
}

double mro_statistic_ordered(const struct mro_arrangement *a)
{
    double j, expected;
    mro_jonckheere(a, &j, &expected);
    return fabs(j - expected);
}

/* -- arrangements ------------------------------------------------------------------------------- */

/* The next arrangement of labels in the order of words; false (and the first again) after the last. */
static bool next_words(size_t *v, size_t n)
{
    size_t i = n;
    while (i > 1 && v[i - 2] >= v[i - 1]) i--;
    const bool last = i <= 1;
    if (!last) {
        size_t k = n - 1;
        while (v[k] <= v[i - 2]) k--;
        const size_t t = v[k];
        v[k] = v[i - 2];
        v[i - 2] = t;
    } else {
        i = 1;
    }
    for (size_t lo = i - 1, hi = n; lo + 1 < hi; lo++) {
        const size_t t = v[--hi];
        v[hi] = v[lo];
        v[lo] = t;
    }
    return !last;
}

static bool next_arrangement(struct mro_arrangement *a)
{
    for (size_t c = 0; c < a->n_classes; c++)
        if (next_words(a->label + a->class_start[c], a->class_start[c + 1] - a->class_start[c])) return true;
    return false;
}

static int ascending(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

/* How many there are; whether reversing the order of the labels gives as many of each in every class. */
static double count_arrangements(const struct mro_arrangement *a, bool *mirrored)
{
    double logarithm = 0;
    *mirrored = true;
    for (size_t c = 0; c < a->n_classes; c++) {
        double n = 0, least = INFINITY, most = 0;
        for (size_t g = 0; g < a->groups; g++) {
            double k = 0;
            for (size_t i = a->class_start[c]; i < a->class_start[c + 1]; i++) k += a->label[i] == g;
            logarithm -= lgamma(k + 1);
            n += k;
            least = fmin(least, k);
            most = fmax(most, k);
        }
        logarithm += lgamma(n + 1);
        if (a->groups == 2 && least > 0 && least != most) *mirrored = false;
    }
    const double count = exp(logarithm);
    return count < 1e15 ? round(count) : count;
}

static void shuffle(struct mro_arrangement *a, uint64_t seed, uint64_t stream, uint64_t draw)
{
    const uint64_t blocks = a->n / 4 + 1;
    mro_philox_block random = { { 0 } };
    for (size_t c = 0; c < a->n_classes; c++)
        for (size_t i = a->class_start[c]; i < a->class_start[c + 1]; i++) {
            if (i % 4 == 0 || i == 0) random = mro_philox(seed, stream, draw * blocks + i / 4);
            const size_t from = a->class_start[c];
            const size_t k = from + (size_t)(((uint64_t)random.v[i % 4] * (i - from + 1)) >> 32);
            const size_t t = a->label[i];
            a->label[i] = a->label[k];
            a->label[k] = t;
        }
}

enum mro_code mro_permute(struct mro_arrangement *a, mro_arrangement_statistic *statistic,
                          const struct mro_compare_options *o, uint64_t stream, struct mro_permutation *p,
                          struct mro_error *e)
{
    const double seen = statistic(a), enough = isinf(seen) ? seen : seen * (1 - SAME) - 1e-300;
    bool mirrored;
    const double all = count_arrangements(a, &mirrored);
    size_t *saved = malloc((a->n ? a->n : 1) * sizeof *saved);
    *p = (struct mro_permutation){ .p = NAN, .se = NAN, .smallest = NAN, .arrangements = all };
    if (saved == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", a->n);
    memcpy(saved, a->label, a->n * sizeof *saved);
    p->exact = all <= (double)o->enumerate;
    p->smallest = fmin(1, (mirrored ? 2 : 1) / all);
    double as_far = 0, seen_all = 0;
    if (p->exact) {
        for (size_t c = 0; c < a->n_classes; c++)
            qsort(a->label + a->class_start[c], a->class_start[c + 1] - a->class_start[c], sizeof *a->label, ascending);
        do {
            as_far += statistic(a) >= enough;
            seen_all++;
        } while (next_arrangement(a));
        p->p = as_far / seen_all;
        p->se = 0;
    } else {
        for (uint64_t k = 0; k < o->permutations; k++) {
            memcpy(a->label, saved, a->n * sizeof *saved);
            shuffle(a, o->seed, stream, k);
            as_far += statistic(a) >= enough;
        }
        /* The arrangement seen is one of those that chance gives. */
        p->p = (as_far + 1) / ((double)o->permutations + 1);
        p->se = sqrt(p->p * (1 - p->p) / ((double)o->permutations + 1));
        p->smallest = fmax(p->smallest, 1 / ((double)o->permutations + 1));
    }
    memcpy(a->label, saved, a->n * sizeof *saved);
    free(saved);
    return MRO_OK;
}

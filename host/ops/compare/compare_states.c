/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Means of states, ratios to the reference, and permutation tests of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/compare/compare_internal.h"

void mro_compare_not_identifiable(struct mro_compare_state *t, const char *why)
{
    if (t->identifiable) snprintf(t->why, sizeof t->why, "%s", why);
    t->identifiable = false;
}

/* Mean of a state's units, and its variance: by scatter, and where zero cuts that off the least that it can be. */
struct summary {
    double n, mean, var, df, least; /* least: NaN = none */
    bool positive, bound;
};

static struct summary summarise(const struct mro_compare_work *w, size_t state)
{
    struct summary s = { .positive = true, .df = NAN, .var = NAN, .least = NAN };
    double own = 0;
    for (size_t i = 0; i < w->n_units; i++) {
        const struct mro_compare_unit *u = &w->unit[i];
        if (u->state != state) continue;
        s.n++;
        s.mean += u->y;
        own += u->v;
        s.positive &= u->y > 0;
        s.bound |= u->bound;
    }
    s.mean /= s.n;
    if (s.n < 2) return s;
    double sum = 0;
    for (size_t i = 0; i < w->n_units; i++)
        if (w->unit[i].state == state) sum += square(w->unit[i].y - s.mean);
    const double states = (double)w->n_units - w->left - (double)w->lost;
    const double inflate = w->lost && w->left > 0 ? ((double)w->n_units - states) / w->left : 1;
    s.df = s.n - 1;
    s.var = sum / (s.n - 1) * inflate / s.n;
    if (s.var <= 1e-26 * square(s.mean)) s.var = 0; /* what rounding leaves of equal values */
    if (s.bound) s.least = own / (s.n * s.n);
    return s;
}

/* Half width of the 95 % interval of b - rho a. The scatter of a few images may by chance be less than their own errors
 * say, and next to zero it is; so the widest counts. */
static double half_width(const struct mro_compare_work *w, const struct summary *a, const struct summary *b, double rho)
{
    double widest = 0;
    for (int k = 0; k < 4; k++) {
        const bool fa = k & 1, fb = k & 2;
        if ((fa && !isfinite(a->least)) || (fb && !isfinite(b->least))) continue;
        const double va = rho * rho * (fa ? a->least : a->var), vb = fb ? b->least : b->var;
        const double below = (fa ? 0 : va * va / a->df) + (fb ? 0 : vb * vb / b->df);
        double df = below > 0 ? square(va + vb) / below : INFINITY;
        if (w->lost && isfinite(df)) df = fmin(df, w->left);
        widest = fmax(widest, t975(df) * sqrt(va + vb));
    }
    return widest;
}

/* Ratios b/a that are not rejected. An end that does not exist is infinite; both: nothing is known. */
static void fieller(const struct mro_compare_work *w, const struct summary *a, const struct summary *b, double ci[2])
{
    const double centre = b->mean / a->mean, unit = fmax(fabs(centre), half_width(w, a, b, 0) / fabs(a->mean));
    const double scale = fmax(unit, 1e-6);
    for (int side = 0; side < 2; side++) {
        const double sign = side ? 1 : -1;
        double in = centre, out = centre, step = scale / 64;
        ci[side] = sign * INFINITY;
        for (int k = 0; k < 60 && isinf(ci[side]); k++, step *= 2) {
            out = centre + sign * step;
            if (w->nonnegative && out < 0) out = 0;
            if (fabs(b->mean - out * a->mean) > half_width(w, a, b, out)) {
                for (int i = 0; i < 200 && fabs(out - in) > 1e-14 * (fabs(in) + fabs(out)); i++) {
                    const double mid = (in + out) / 2;
                    if (fabs(b->mean - mid * a->mean) > half_width(w, a, b, mid))
                        out = mid;
                    else
                        in = mid;
                }
                ci[side] = (in + out) / 2;
            } else if (w->nonnegative && !side && out == 0) {
                ci[side] = 0;
            }
            in = out;
        }
    }
}

static void measure_state(struct mro_compare_work *w, size_t k, const struct summary *s)
{
    struct mro_compare_state *t = &w->r->state[k];
    const char *name = w->d->state[k];
    double known = 0;
    *t = (struct mro_compare_state){ .x = 0,
                                     .mean = s->mean,
                                     .mean_ci95 = { NAN, NAN },
                                     .sd = NAN,
                                     .ratio = NAN,
                                     .ratio_ci95 = { NAN, NAN },
                                     .difference = NAN,
                                     .difference_ci95 = { NAN, NAN },
                                     .p_holm = NAN,
                                     .identifiable = true };
    t->test = (struct mro_permutation){ .p = NAN, .se = NAN, .smallest = NAN, .arrangements = NAN };
    for (size_t i = 0; i < w->n_units; i++) {
        const struct mro_compare_unit *u = &w->unit[i];
        if (u->state != k) continue;
        t->n++;
        t->images += u->images;
        if (!isfinite(u->x)) continue;
        t->x += (u->x - t->x) / ++known;
    }
    if (known == 0) t->x = NAN;
    if (t->n == 1)
        MRO_COMPARE_NOTE(w, "%s has one %s: no interval and no test can be had from it", name,
                         w->r->by_specimen ? "specimen" : "image");
    if (t->n < 2 || !(w->left > 0)) return;
    t->sd = sqrt(s->var * s->n);
    if (s->var == 0 && !(s->least > 0)) {
        MRO_COMPARE_NOTE(w, "all %zu %s of %s have the same value: how they scatter is not known", t->n,
                         w->r->by_specimen ? "specimens" : "images", name);
        return;
    }
    const double df = w->lost ? fmin(s->df, w->left) : s->df;
    if (s->positive && !s->bound) {
        const double h = t975(df) * sqrt(s->var) / s->mean;
        t->mean_ci95[0] = s->mean * exp(-h);
        t->mean_ci95[1] = s->mean * exp(h);
    } else {
        double h = t975(df) * sqrt(s->var);
        if (isfinite(s->least)) h = fmax(h, Z975 * sqrt(s->least));
        t->mean_ci95[0] = w->nonnegative ? fmax(0, s->mean - h) : s->mean - h;
        t->mean_ci95[1] = s->mean + h;
    }
}

static bool scatter_known(const struct summary *s) { return s->n >= 2 && (s->var > 0 || s->least > 0); }

static void measure_ratio(struct mro_compare_work *w, size_t k, const struct summary *a, const struct summary *b)
{
    struct mro_compare_state *t = &w->r->state[k];
    const char *name = w->d->state[k], *reference = w->d->state[w->r->reference];
    const bool known = scatter_known(a) && scatter_known(b) && w->left > 0;
    t->difference = b->mean - a->mean;
    if (known) {
        const double h = half_width(w, a, b, 1);
        t->difference_ci95[0] = t->difference - h;
        t->difference_ci95[1] = t->difference + h;
    }
    if (a->mean == 0) {
        MRO_COMPARE_NOTE(w, "the mean of %s is zero: no ratio to it can be formed", reference);
        return;
    }
    t->ratio = b->mean / a->mean;
    if (!known) return;
    if (a->positive && b->positive && !a->bound && !b->bound) {
        const double va = a->var / square(a->mean), vb = b->var / square(b->mean);
        double df = square(va + vb) / (va * va / a->df + vb * vb / b->df);
        if (w->lost) df = fmin(df, w->left);
        const double h = t975(df) * sqrt(va + vb);
        t->interval = MRO_COMPARE_LOG;
        t->ratio_ci95[0] = t->ratio * exp(-h);
        t->ratio_ci95[1] = t->ratio * exp(h);
        return;
    }
    fieller(w, a, b, t->ratio_ci95);
    if (isinf(t->ratio_ci95[0])) {
        MRO_COMPARE_NOTE(w, "%s / %s: the mean of %s is not told from zero, and every ratio is possible", name,
                         reference, reference);
        t->ratio_ci95[0] = t->ratio_ci95[1] = NAN;
        return;
    }
    t->interval = MRO_COMPARE_FIELLER;
    if (isinf(t->ratio_ci95[1]))
        MRO_COMPARE_NOTE(w, "%s / %s: the mean of %s is not told from zero, so the ratio has no upper limit", name,
                         reference, reference);
}

/* -- tests -------------------------------------------------------------------------------------- */

struct by_class {
    uint64_t class;
    size_t unit;
};

static int compare_classes(const void *a, const void *b)
{
    const struct by_class *x = a, *y = b;
    return x->class != y->class ? (x->class < y->class ? -1 : 1) : x->unit < y->unit ? -1 : x->unit > y->unit;
}

struct by_value {
    double z;
    size_t at;
};

static int compare_values(const void *a, const void *b)
{
    const struct by_value *x = a, *y = b;
    return x->z != y->z ? (x->z < y->z ? -1 : 1) : x->at < y->at ? -1 : x->at > y->at;
}

enum mro_code mro_compare_arrange(struct mro_compare_work *w, const size_t *label, size_t groups, bool logarithmic,
                                  struct mro_error *e)
{
    const struct mro_compare_data *d = w->d;
    struct by_class *list = malloc((w->n_units + 1) * sizeof *list);
    struct by_value *value = malloc((w->n_units + 1) * sizeof *value);
    double *sum = calloc(2 * w->n_blocks + 1, sizeof *sum), *n = sum ? sum + w->n_blocks : NULL;
    size_t k = 0;
    if (list == NULL || value == NULL || sum == NULL) {
        free(list);
        free(value);
        free(sum);
        return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", d->n);
    }
    for (size_t i = 0; i < w->n_units; i++)
        if (label[i] != MRO_COMPARE_NONE) list[k++] = (struct by_class){ w->unit[i].class, i };
    qsort(list, k, sizeof *list, compare_classes);
    w->a = (struct mro_arrangement){ .n = k,
                                     .groups = groups,
                                     .z = w->z,
                                     .class_start = w->start,
                                     .label = w->label,
                                     .by_z = w->by_z,
                                     .room = w->room };
    for (size_t i = 0; i < k; i++) {
        if (i == 0 || list[i].class != list[i - 1].class) w->start[w->a.n_classes++] = i;
        w->order[list[i].unit] = i;
        w->label[i] = label[list[i].unit];
        w->z[i] = 0;
    }
    w->start[w->a.n_classes] = k;
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < d->n; i++) {
            const size_t u = w->unit_of[i], b = w->block_of[i];
            if (label[u] == MRO_COMPARE_NONE) continue;
            const double g = logarithmic ? log(d->image[i].value) : d->image[i].value;
            if (turn)
                w->z[w->order[u]] += (g - (w->n_blocks > 1 ? sum[b] / n[b] : 0)) / (double)w->unit[u].images;
            else
                sum[b] += g, n[b]++;
        }
    for (size_t i = 0; i < k; i++) value[i] = (struct by_value){ w->z[i], i };
    for (size_t c = 0; c < w->a.n_classes; c++)
        qsort(value + w->start[c], w->start[c + 1] - w->start[c], sizeof *value, compare_values);
    for (size_t i = 0; i < k; i++) w->by_z[i] = value[i].at;
    free(list);
    free(value);
    free(sum);
    return MRO_OK;
}

bool mro_compare_has_logarithm(const struct mro_compare_work *w, size_t image)
{
    return w->d->image[image].value > 0 && !w->unit[w->unit_of[image]].bound;
}

static enum mro_code test_state(struct mro_compare_work *w, size_t k, struct mro_error *e)
{
    struct mro_compare_state *t = &w->r->state[k];
    size_t *label = malloc((w->n_units + 1) * sizeof *label);
    bool positive = true;
    if (label == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", w->d->n);
    for (size_t i = 0; i < w->n_units; i++) {
        const size_t s = w->unit[i].state;
        label[i] = s == k ? 1 : s == w->r->reference ? 0 : MRO_COMPARE_NONE;
    }
    for (size_t i = 0; i < w->d->n; i++)
        if (label[w->unit_of[i]] != MRO_COMPARE_NONE) positive &= mro_compare_has_logarithm(w, i);
    enum mro_code rc = mro_compare_arrange(w, label, 2, positive, e);
    if (rc == MRO_OK) rc = mro_permute(&w->a, mro_statistic_difference, w->o, k, &t->test, e);
    free(label);
    return rc;
}

/* -- all states --------------------------------------------------------------------------------- */

enum mro_code mro_compare_measure_states(struct mro_compare_work *w, const size_t *part, struct mro_error *e)
{
    const size_t K = w->r->n_states, reference = w->r->reference;
    struct summary a = { .n = 0 };
    for (size_t k = 0; k < K; k++) {
        const struct summary s = summarise(w, k);
        measure_state(w, k, &s);
        if (k == reference) a = s;
    }
    for (size_t k = 0; k < K; k++) {
        struct mro_compare_state *t = &w->r->state[k];
        if (t->n == 0 || k == reference || a.n == 0) continue;
        const struct summary s = summarise(w, k);
        measure_ratio(w, k, &a, &s);
        if (part[k] != part[reference])
            mro_compare_not_identifiable(
                t, w->o->paired
                       ? "no specimen was measured in both states; measure some in both, or leave out `paired`"
                       : "state and settings coincide: no images of both were taken and measured with the same "
                         "settings; measure some that were");
        if (t->n > 1 && a.n > 1) MRO_TRY(test_state(w, k, e));
    }
    return MRO_OK;
}

void mro_compare_measure_scatter(struct mro_compare_work *w)
{
    double sum = 0, df = 0;
    for (size_t k = 0; k < w->r->n_states; k++) {
        double n = 0, mean = 0;
        for (size_t i = 0; i < w->n_units; i++)
            if (w->unit[i].state == k) n++, mean += w->unit[i].bound ? NAN : log(w->unit[i].y);
        mean /= n;
        if (!(n > 1) || !isfinite(mean)) continue;
        for (size_t i = 0; i < w->n_units; i++)
            if (w->unit[i].state == k) sum += square(log(w->unit[i].y) - mean);
        df += n - 1;
    }
    df -= (double)w->lost;
    w->r->scatter_ln = df > 0 && sum > 0 ? sqrt(sum / df) : NAN;
    /* Exchanging fewer than 4 + 4 units reaches no p below 0.05. */
    w->r->n_for_ratio = fmax(4, ceil(2 * square(2.8 * w->r->scatter_ln / log(1.5))));
    if (!isfinite(w->r->scatter_ln)) w->r->n_for_ratio = NAN;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/compare.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/compare_permute.h"

#define Z975 1.959963984540054
#define INFLATION_MOST 10.0 /* variance of a ratio that a covariate may cost before it counts as not told apart */
#define ALIKE 0.05          /* difference of ln(covariate) between states that needs no words */
#define STREAM_TREND 1000000

/* What a comparison is made of: one image, or the images of one specimen. */
struct unit {
    size_t state, images;
    double y;      /* mean, at common settings */
    double v;      /* variance of y by the images' own intervals; NaN = unknown */
    double sigma;  /* the same of ln y, or of y where not all are positive */
    double strain; /* NaN = unknown */
    double covariate[MRO_COMPARE_COVARIATES];
    bool bound;     /* the scatter of its images is cut off at zero */
    uint64_t class; /* equal for units with the same shares of their images in each block, however many they have */
};

struct work {
    const struct mro_compare_data *d;
    const struct mro_compare_options *o;
    struct mro_compare_result *r;
    size_t *unit_of;  /* d->n: unit of each image */
    size_t *block_of; /* d->n: settings, and the specimen too when paired */
    size_t n_blocks;
    double *factor; /* n_blocks */
    bool additive, nonnegative;
    struct unit *unit;
    size_t n_units;
    double left;              /* degrees of freedom of units after states and blocks */
    size_t lost;              /* to blocks */
    struct mro_arrangement a; /* room for tests: n_units */
    double *z;
    size_t *label, *start, *order, *by_z, *room;
};

void mro_compare_options_default(struct mro_compare_options *o)
{
    *o = (struct mro_compare_options){ .permutations = 99999, .enumerate = 200000, .seed = 1 };
}

#define NOTE(w, ...) mro_note(&(w)->r->warnings, &(w)->r->n_warnings, __VA_ARGS__)

static double square(double x) { return x * x; }

static double t975(double df) { return isinf(df) ? Z975 : gsl_cdf_tdist_Pinv(0.975, df); }

static double t_two_sided(double t, double df) { return 2 * gsl_cdf_tdist_Q(fabs(t), df); }

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

static enum mro_code find_blocks(struct work *w, struct mro_error *e)
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

/* Which states have blocks in common, directly or through others: node k of the states has the root part[k]. Returns
 * how many factors of blocks are free beside the states. */
static enum mro_code connect(struct work *w, size_t *part, struct mro_error *e)
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

/* A number for each state times (additive: plus) one for each block, fitted in turns: the sums over states and over
 * blocks are those seen, as in a Poisson model, so that zeros are welcome. */
static enum mro_code fit_blocks(struct work *w, struct mro_error *e)
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
static bool specimens_are_units(struct work *w)
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
        NOTE(
            w,
            "all images of %s are of one specimen: intervals and p speak of its images, not of other specimens in that "
            "state",
            d->state[first_alone]);
        return false;
    }
    return repeated > 0 || w->o->paired;
}

static void note_shared_specimens(struct work *w)
{
    const struct mro_compare_data *d = w->d;
    if (w->o->paired) return;
    for (size_t i = 0; i < d->n; i++)
        for (size_t j = 0; j < i; j++)
            if (d->image[i].specimen != MRO_COMPARE_NONE && d->image[i].specimen == d->image[j].specimen &&
                d->image[i].state != d->image[j].state) {
                NOTE(w, "a specimen has images in several states and is taken as a different piece in each; when it is "
                        "one piece measured in every state, --paired compares within it");
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
static enum mro_code find_classes(struct work *w, struct mro_error *e)
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

static enum mro_code make_units(struct work *w, struct mro_error *e)
{
    const struct mro_compare_data *d = w->d;
    double *strains = NULL;
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
    strains = calloc(w->n_units + 1, sizeof *strains);
    w->z = calloc(w->n_units + 1, sizeof *w->z);
    w->label = calloc(w->n_units + 1, sizeof *w->label);
    w->start = calloc(w->n_units + 2, sizeof *w->start);
    w->order = calloc(w->n_units + 1, sizeof *w->order);
    w->by_z = calloc(w->n_units + 1, sizeof *w->by_z);
    w->room = calloc(3 * w->n_units + 7, sizeof *w->room); /* two groups at least */
    if (!w->unit || !strains || !w->z || !w->label || !w->start || !w->order || !w->by_z || !w->room) {
        free(strains);
        return MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", d->n);
    }
    for (size_t i = 0; i < d->n; i++) {
        const struct mro_compare_image *m = &d->image[i];
        struct unit *u = &w->unit[w->unit_of[i]];
        const double f = w->factor[w->block_of[i]];
        u->state = m->state;
        u->images++;
        u->y += w->additive ? m->value - f : m->value / f;
        u->v += square(own_sd(m) / (w->additive ? 1 : f));
        u->sigma += square(own_sd_ln(m));
        u->bound |= w->nonnegative && (m->value <= 0 || m->ci95[0] <= 0);
        if (isfinite(m->strain)) {
            /* Equal strains have exactly their own mean: trends tell them apart. */
            u->strain += (m->strain - u->strain) / ++strains[w->unit_of[i]];
        }
        for (size_t c = 0; c < d->n_covariates; c++) u->covariate[c] += log(m->covariate[c]);
    }
    for (size_t k = 0; k < w->n_units; k++) {
        struct unit *u = &w->unit[k];
        const double n = (double)u->images;
        u->y /= n;
        u->v /= n * n;
        u->sigma = w->r->logarithmic ? sqrt(u->sigma) / n : sqrt(u->v);
        if (strains[k] == 0) u->strain = NAN;
        for (size_t c = 0; c < d->n_covariates; c++) u->covariate[c] /= n; /* of logarithms */
    }
    free(strains);
    return find_classes(w, e);
}

/* -- states ------------------------------------------------------------------------------------- */

/* Mean of a state's units, and its variance: by scatter, and where zero cuts that off the least that it can be. */
struct summary {
    double n, mean, var, df, least; /* least: NaN = none */
    bool positive, bound;
};

static struct summary summarise(const struct work *w, size_t state)
{
    struct summary s = { .positive = true, .df = NAN, .var = NAN, .least = NAN };
    double own = 0;
    for (size_t i = 0; i < w->n_units; i++) {
        const struct unit *u = &w->unit[i];
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
static double half_width(const struct work *w, const struct summary *a, const struct summary *b, double rho)
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
static void fieller(const struct work *w, const struct summary *a, const struct summary *b, double ci[2])
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

static void measure_state(struct work *w, size_t k, const struct summary *s)
{
    struct mro_compare_state *t = &w->r->state[k];
    const char *name = w->d->state[k];
    double strains = 0;
    *t = (struct mro_compare_state){ .strain = 0,
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
        const struct unit *u = &w->unit[i];
        if (u->state != k) continue;
        t->n++;
        t->images += u->images;
        if (!isfinite(u->strain)) continue;
        t->strain += (u->strain - t->strain) / ++strains;
    }
    if (strains == 0) t->strain = NAN;
    if (t->n == 1)
        NOTE(w, "%s has one %s: no interval and no test can be had from it", name,
             w->r->by_specimen ? "specimen" : "image");
    if (t->n < 2 || !(w->left > 0)) return;
    t->sd = sqrt(s->var * s->n);
    if (s->var == 0 && !(s->least > 0)) {
        NOTE(w, "all %zu %s of %s have the same value: how they scatter is not known", t->n,
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

static void measure_ratio(struct work *w, size_t k, const struct summary *a, const struct summary *b)
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
        NOTE(w, "the mean of %s is zero: no ratio to it can be formed", reference);
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
        NOTE(w, "%s / %s: the mean of %s is not told from zero, and every ratio is possible", name, reference,
             reference);
        t->ratio_ci95[0] = t->ratio_ci95[1] = NAN;
        return;
    }
    t->interval = MRO_COMPARE_FIELLER;
    if (isinf(t->ratio_ci95[1]))
        NOTE(w, "%s / %s: the mean of %s is not told from zero, so the ratio has no upper limit", name, reference,
             reference);
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

/* Brings the units with a label (MRO_COMPARE_NONE: left out) into classes, and their values, as logarithms where all
 * are positive, to the mean of their blocks. Values of single images are taken, so that exchanging labels within
 * classes changes nothing else. */
static enum mro_code arrange(struct work *w, const size_t *label, size_t groups, bool logarithmic, struct mro_error *e)
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

/* Next to zero a logarithm only magnifies the error. */
static bool has_logarithm(const struct work *w, size_t image)
{
    return w->d->image[image].value > 0 && !w->unit[w->unit_of[image]].bound;
}

static enum mro_code test_state(struct work *w, size_t k, struct mro_error *e)
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
        if (label[w->unit_of[i]] != MRO_COMPARE_NONE) positive &= has_logarithm(w, i);
    enum mro_code rc = arrange(w, label, 2, positive, e);
    if (rc == MRO_OK) rc = mro_permute(&w->a, mro_statistic_difference, w->o, k, &t->test, e);
    free(label);
    return rc;
}

/* -- trend -------------------------------------------------------------------------------------- */

/* Straight line through (x, y) with weights; residual sum of squares, and variance of the slope but for the scatter. */
static void line_through(const double *x, const double *y, const double *weight, size_t n, double centre[2],
                         double *slope, double *rss, double *var)
{
    double s = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (size_t i = 0; i < n; i++) s += weight[i], sx += weight[i] * x[i], sy += weight[i] * y[i];
    for (size_t i = 0; i < n; i++) {
        sxx += weight[i] * square(x[i] - sx / s);
        sxy += weight[i] * (x[i] - sx / s) * (y[i] - sy / s);
    }
    centre[0] = sx / s;
    centre[1] = sy / s;
    *slope = sxy / sxx;
    *var = 1 / sxx;
    *rss = 0;
    for (size_t i = 0; i < n; i++) *rss += weight[i] * square(y[i] - sy / s - *slope * (x[i] - sx / s));
}

static void weigh(double *weight, const double *sigma, size_t n, double tau2)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        weight[i] = 1 / (square(sigma[i]) + tau2);
        largest = fmax(largest, weight[i]);
    }
    if (!(largest > 0) || isinf(largest))
        for (size_t i = 0; i < n; i++) weight[i] = 1;
}

static void fit_trend(struct work *w, double *x, double *y, double *sigma, double *weight, size_t n)
{
    struct mro_compare_trend *t = &w->r->trend;
    const double df = (double)n - 2 - (double)w->lost;
    double slope, rss, var, tau2 = 0, spread = 0;
    bool own = true;
    for (size_t i = 0; i < n; i++) own &= isfinite(sigma[i]) && sigma[i] > 0;
    for (size_t i = 0; i < n; i++) weight[i] = 1;
    line_through(x, y, weight, n, t->centre, &slope, &rss, &var);
    spread = rss / df;
    if (own) {
        /* The scatter beyond the images' own errors, such that the weighted residuals are as large as they should be.
         */
        double lo = 0, hi = 4 * spread + 1e-30;
        weigh(weight, sigma, n, 0);
        line_through(x, y, weight, n, t->centre, &slope, &rss, &var);
        if (rss > df) {
            for (int i = 0; i < 200; i++) {
                tau2 = (lo + hi) / 2;
                weigh(weight, sigma, n, tau2);
                line_through(x, y, weight, n, t->centre, &slope, &rss, &var);
                if (rss > df)
                    lo = tau2;
                else
                    hi = tau2;
            }
        }
        t->tau = sqrt(tau2);
    }
    t->slope = slope;
    if (!(df >= 1)) return;
    const double se = sqrt(rss / df * var), h = t975(df) * se;
    if (!(se > 1e-13 * fabs(slope))) return;
    t->slope_ci95[0] = slope - h;
    t->slope_ci95[1] = slope + h;
    t->p = t_two_sided(slope / se, df);
}

static enum mro_code measure_trend(struct work *w, struct mro_error *e)
{
    struct mro_compare_trend *t = &w->r->trend;
    const size_t n = w->n_units;
    double *x = malloc((5 * n + 1) * sizeof *x);
    size_t *label = malloc((n + 1) * sizeof *label), k = 0, groups = 0;
    enum mro_code rc = MRO_OK;
    *t = (struct mro_compare_trend){ .strain = { INFINITY, -INFINITY },
                                     .slope = NAN,
                                     .slope_ci95 = { NAN, NAN },
                                     .p = NAN,
                                     .tau = NAN,
                                     .j = NAN,
                                     .j_expected = NAN,
                                     .logarithmic = true };
    t->jonckheere = (struct mro_permutation){ .p = NAN, .se = NAN, .smallest = NAN, .arrangements = NAN };
    if (x == NULL || label == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "%zu images do not fit in memory", w->d->n);
        goto done;
    }
    double *y = x + n, *sigma = y + n, *weight = sigma + n, *level = weight + n;
    bool positive = true;
    for (size_t i = 0; i < n; i++) {
        const struct unit *u = &w->unit[i];
        label[i] = MRO_COMPARE_NONE;
        if (!isfinite(u->strain) || (w->o->in_trend && !w->o->in_trend[u->state])) continue;
        t->strain[0] = fmin(t->strain[0], u->strain);
        t->strain[1] = fmax(t->strain[1], u->strain);
        t->logarithmic &= u->y > 0 && !u->bound;
        label[i] = i;
        w->r->state[u->state].in_trend = true;
        size_t g = 0;
        while (g < groups && level[g] != u->strain) g++;
        if (g == groups) level[groups++] = u->strain;
        k++;
    }
    for (size_t i = 0; i < w->d->n; i++)
        if (label[w->unit_of[i]] != MRO_COMPARE_NONE) positive &= has_logarithm(w, i);
    t->n = k;
    if (k < 3 || groups < 2) {
        if (k > 0 && groups < 2 && w->d->n_states > 1)
            NOTE(w, "no trend: all states with a strain have the same one, %g", level[0]);
        t->n = 0;
        goto done;
    }
    k = 0;
    for (size_t i = 0; i < n; i++) {
        const struct unit *u = &w->unit[i];
        if (label[i] == MRO_COMPARE_NONE) continue;
        size_t rank = 0;
        for (size_t g = 0; g < groups; g++) rank += level[g] < u->strain;
        label[i] = rank;
        x[k] = u->strain;
        y[k] = t->logarithmic ? log(u->y) : u->y;
        sigma[k++] = t->logarithmic == w->r->logarithmic ? u->sigma : sqrt(u->v) / (t->logarithmic ? u->y : 1);
    }
    t->measured = true;
    fit_trend(w, x, y, sigma, weight, k);
    rc = arrange(w, label, groups, positive, e);
    if (rc) goto done;
    mro_jonckheere(&w->a, &t->j, &t->j_expected);
    rc = mro_permute(&w->a, mro_statistic_ordered, w->o, STREAM_TREND, &t->jonckheere, e);
    if (rc) goto done;
    for (size_t a = 0; a < w->r->n_states; a++)
        for (size_t b = 0; b < a; b++)
            if ((!w->o->in_trend || (w->o->in_trend[a] && w->o->in_trend[b])) && w->r->state[a].n && w->r->state[b].n &&
                w->r->state[a].strain == w->r->state[b].strain)
                NOTE(w,
                     "%s and %s have the same strain, %g: the trend takes them as one. Name the states it is meant for "
                     "with --trend, or leave the strain of the others empty",
                     w->d->state[b], w->d->state[a], w->r->state[a].strain);
done:
    free(x);
    free(label);
    return rc;
}

/* -- covariates and settings -------------------------------------------------------------------- */

static void not_identifiable(struct mro_compare_state *t, const char *why)
{
    if (t->identifiable) snprintf(t->why, sizeof t->why, "%s", why);
    t->identifiable = false;
}

static enum mro_code measure_covariate(struct work *w, size_t c, struct mro_error *e)
{
    struct mro_compare_covariate *v = &w->r->covariate[c];
    const size_t K = w->r->n_states, reference = w->r->reference;
    const char *name = w->d->covariate[c];
    size_t known = 0, used = 0;
    double lo = INFINITY, hi = -INFINITY;
    v->slope = v->slope_ci95[0] = v->slope_ci95[1] = v->p = NAN;
    v->mean = calloc(K, sizeof *v->mean);
    v->ratio = calloc(K, sizeof *v->ratio);
    v->ratio_ci95 = calloc(K, sizeof *v->ratio_ci95);
    v->inflation = calloc(K, sizeof *v->inflation);
    double *sum = calloc(3 * K + 1, sizeof *sum), *y = sum ? sum + K : NULL, *n = sum ? y + K : NULL;
    if (!v->mean || !v->ratio || !v->ratio_ci95 || !v->inflation || !sum) {
        free(sum);
        return MRO_FAIL(e, MRO_EMEMORY, "%zu states do not fit in memory", K);
    }
    for (size_t k = 0; k < K; k++)
        v->mean[k] = v->ratio[k] = v->ratio_ci95[k][0] = v->ratio_ci95[k][1] = v->inflation[k] = NAN;
    for (size_t i = 0; i < w->n_units; i++) {
        const double x = w->unit[i].covariate[c];
        if (!isfinite(x)) continue;
        known++;
        lo = fmin(lo, x);
        hi = fmax(hi, x);
    }
    v->known = known == w->n_units;
    v->differs = known && hi - lo > 0.01;
    if (known && !v->known)
        NOTE(w, "%s is known for %zu of %zu %s only: ratios are not corrected for it", name, known, w->n_units,
             w->r->by_specimen ? "specimens" : "images");
    for (size_t i = 0; i < w->n_units; i++) { /* values that have logarithms; states with others are left out */
        const struct unit *u = &w->unit[i];
        sum[u->state] += u->covariate[c];
        y[u->state] += u->bound ? NAN : log(u->y);
        n[u->state]++;
    }
    for (size_t k = 0; k < K; k++)
        if (n[k] > 0 && isfinite(sum[k])) v->mean[k] = exp(sum[k] / n[k]);
    if (!v->known || !v->differs) goto done;
    double sxx = 0, sxy = 0, syy = 0, states = 0;
    for (size_t k = 0; k < K; k++) states += n[k] > 0 && isfinite(y[k]);
    for (size_t i = 0; i < w->n_units; i++) {
        const struct unit *u = &w->unit[i];
        if (!isfinite(y[u->state])) continue;
        const double dx = u->covariate[c] - sum[u->state] / n[u->state], dy = log(u->y) - y[u->state] / n[u->state];
        sxx += dx * dx;
        sxy += dx * dy;
        syy += dy * dy;
        used++;
    }
    const double df = (double)used - states - 1 - (double)w->lost;
    const bool slope = sxx > 1e-20 * (1 + square(hi)) && df >= 1;
    const double variance = slope ? fmax(0, syy - sxy * sxy / sxx) / df : NAN;
    if (slope) {
        const double h = t975(df) * sqrt(variance / sxx);
        v->slope = sxy / sxx;
        v->slope_ci95[0] = v->slope - h;
        v->slope_ci95[1] = v->slope + h;
        v->p = h > 0 ? t_two_sided(v->slope / sqrt(variance / sxx), df) : NAN;
    }
    for (size_t k = 0; k < K; k++) {
        if (k == reference || n[k] == 0 || n[reference] == 0) continue;
        const double dx = sum[k] / n[k] - sum[reference] / n[reference], plain = 1 / n[k] + 1 / n[reference];
        v->inflation[k] = 1 + (slope ? dx * dx / sxx : dx == 0 ? 0 : INFINITY) / plain;
        if (!(v->inflation[k] <= INFLATION_MOST) && fabs(dx) > ALIKE) {
            char why[200];
            snprintf(why, sizeof why, "state and %s coincide (%s %.3g, %s %.3g)", name, w->d->state[reference],
                     v->mean[reference], w->d->state[k], v->mean[k]);
            not_identifiable(&w->r->state[k], why);
            continue;
        }
        if (!slope || !isfinite(y[k]) || !isfinite(y[reference])) continue;
        const double d = y[k] / n[k] - y[reference] / n[reference] - v->slope * dx;
        const double h = t975(df) * sqrt(variance * plain * v->inflation[k]);
        v->ratio[k] = exp(d);
        v->ratio_ci95[k][0] = exp(d - h);
        v->ratio_ci95[k][1] = exp(d + h);
    }
done:
    free(sum);
    return MRO_OK;
}

static void measure_scatter(struct work *w)
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

/* -- all ---------------------------------------------------------------------------------------- */

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

static enum mro_code measure_states(struct work *w, const size_t *part, struct mro_error *e)
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
            not_identifiable(t, w->o->paired ? "no specimen was measured in both states"
                                             : "state and settings coincide: no image of both was taken and measured "
                                               "with the same settings");
        if (t->n > 1 && a.n > 1) MRO_TRY(test_state(w, k, e));
    }
    return MRO_OK;
}

enum mro_code mro_compare(const struct mro_compare_data *d, const struct mro_compare_options *o,
                          struct mro_compare_result *r, struct mro_error *e)
{
    struct work w = { .d = d, .o = o, .r = r, .nonnegative = true };
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
    rc = find_blocks(&w, e);
    if (rc == MRO_OK) rc = connect(&w, part, e);
    if (rc == MRO_OK) rc = fit_blocks(&w, e);
    if (rc == MRO_OK) rc = make_units(&w, e);
    if (rc) goto done;
    note_shared_specimens(&w);
    double states = 0;
    for (size_t k = 0; k < d->n_states; k++) {
        bool there = false;
        for (size_t i = 0; i < w.n_units && !there; i++) there = w.unit[i].state == k;
        states += there;
    }
    w.left = (double)w.n_units - states - (double)w.lost;
    if (w.lost && !(w.left > 0))
        NOTE(&w, "there are as many blocks as images: no scatter is left to form intervals from");
    rc = measure_states(&w, part, e);
    for (size_t c = 0; c < d->n_covariates && rc == MRO_OK; c++) rc = measure_covariate(&w, c, e);
    if (rc == MRO_OK) rc = measure_trend(&w, e);
    if (rc) goto done;
    measure_scatter(&w);
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

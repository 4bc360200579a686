/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/eds.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "core/notes.h"
#include "ops/eds/eds_internal.h"

/* Neighbours that differ less than counting allows by this many standard errors: no counts. Whole numbers get the
 * benefit of the doubt; others have been through a calculation already. */
#define SMOOTH_WHOLE (-3.3)
#define SMOOTH_BROKEN (-2.0)

#define MORE_COUNTS "measure for longer, or add up a wider band of pixels across the line"

void mro_eds_options_default(struct mro_eds_options *o)
{
    *o = (struct mro_eds_options){ .draws = 999, .seed = 1, .smooth_nm = 0.5, .threshold_sd = 1 };
}

enum mro_code mro_eds_k_parse(struct mro_eds_k *k, const char *text, struct mro_error *e)
{
    static const char how[] = "write the Cliff-Lorimer factors as Fe=1,Si=0.9";
    k->n = 0;
    for (const char *p = text;;) {
        char symbol[4] = "", *end;
        size_t n = 0;
        while (n < 3 && isalpha((unsigned char)p[n])) n++;
        memcpy(symbol, p, n);
        symbol[n] = '\0';
        if (!(mro_atomic_weight(symbol) > 0) || p[n] != '=')
            return MRO_FAIL(e, MRO_EARG, "'%s' does not begin with an element and '='; %s", p, how);
        for (size_t i = 0; i < k->n; i++)
            if (strcmp(k->symbol[i], symbol) == 0) return MRO_FAIL(e, MRO_EARG, "%s is given twice; %s", symbol, how);
        if (k->n == MRO_EDS_MAX_ELEMENTS)
            return MRO_FAIL(e, MRO_EARG, "more than %d elements are given; %s", MRO_EDS_MAX_ELEMENTS, how);
        p += n + 1;
        const double v = isdigit((unsigned char)*p) || *p == '.' ? strtod(p, &end) : NAN;
        if (!(v >= 0.01 && v <= 100) || (*end != '\0' && *end != ','))
            return MRO_FAIL(e, MRO_EARG, "the factor of %s, '%s', is no number between 0.01 and 100; %s", symbol, p,
                            how);
        memcpy(k->symbol[k->n], symbol, sizeof symbol);
        k->k[k->n++] = v;
        if (*end == '\0') return MRO_OK;
        p = end + 1;
    }
}

/* ---- composition and its noise ---- */

struct work {
    const struct mro_eds_profile *p;
    const char *name;
    size_t n, m; /* points used, elements */
    size_t *point;
    double kappa[MRO_EDS_MAX_ELEMENTS];    /* at.% per count, up to a common factor */
    double fano[MRO_EDS_MAX_ELEMENTS];     /* variance over counts */
    double *v;                             /* m * n: variance of at.%; NULL = unknown */
    double kurtosis[MRO_EDS_MAX_ELEMENTS]; /* sum over points of the excess kurtosis of the noise */
    double noise_correlation[MRO_EDS_MAX_ELEMENTS][MRO_EDS_MAX_ELEMENTS];
};

/* Factors by the table's own at.%: from c_a = kappa_a N_a / S follows sum(c_a N_b) / sum(c_b N_a) = kappa_a / kappa_b.
 */
static bool factors_of_table(struct work *w)
{
    const struct mro_eds_profile *p = w->p;
    size_t reference = 0;
    double most = 0;
    for (size_t j = 0; j < w->m; j++) {
        double sum = 0;
        if (p->column[j].at == NULL) return false;
        for (size_t i = 0; i < p->n; i++) sum += p->column[j].counts[i];
        if (sum > most) most = sum, reference = j;
    }
    const struct mro_eds_column *b = &p->column[reference];
    for (size_t j = 0; j < w->m; j++) {
        const struct mro_eds_column *a = &p->column[j];
        double up = 0, down = 0;
        for (size_t i = 0; i < p->n; i++) {
            up += a->at[i] * b->counts[i];
            down += b->at[i] * a->counts[i];
        }
        if (!(up > 0) || !(down > 0)) return false;
        w->kappa[j] = up / down;
    }
    return true;
}

static enum mro_code factors(struct work *w, const struct mro_eds_options *o, struct mro_eds_result *r,
                             struct mro_error *e)
{
    char missing[120] = "";
    bool found[MRO_EDS_MAX_ELEMENTS] = { false };
    r->k_from_table = o->k.n == 0 && factors_of_table(w);
    for (size_t i = 0; i < o->k.n; i++) {
        size_t j = 0;
        while (j < w->m && strcmp(w->p->column[j].symbol, o->k.symbol[i]) != 0) j++;
        if (j == w->m)
            return MRO_FAIL(e, MRO_EARG, "'%s' has no %s, for which `k` gives a factor", w->name, o->k.symbol[i]);
        found[j] = true;
        r->element[j].k = o->k.k[i];
    }
    for (size_t j = 0; j < w->m; j++) {
        const double weight = mro_atomic_weight(w->p->column[j].symbol);
        if (r->k_from_table) {
            r->element[j].k = w->kappa[j] * weight;
            continue;
        }
        if (!found[j]) {
            const size_t used = strlen(missing);
            r->element[j].k = 1;
            snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", w->p->column[j].symbol);
        }
        w->kappa[j] = r->element[j].k / weight;
    }
    r->k_assumed = missing[0] != '\0';
    if (r->k_assumed)
        mro_warn(r,
                 "no Cliff-Lorimer factor was given for %s and 1 is assumed: mean and scatter can be wrong by tens of "
                 "percent; give them with `k`",
                 missing);
    if (r->k_from_table) { /* the common factor has no meaning; the first element's is 1 */
        const double first = r->element[0].k;
        for (size_t j = 0; j < w->m; j++) r->element[j].k /= first;
    }
    return MRO_OK;
}

/* at.% of each point from its counts, and the variance of it that counting leaves. */
static enum mro_code compose(struct work *w, struct mro_eds_result *r, struct mro_error *e)
{
    const struct mro_eds_profile *p = w->p;
    double total = 0, noise = 0, part[MRO_EDS_MAX_ELEMENTS] = { 0 }, variance[MRO_EDS_MAX_ELEMENTS] = { 0 };
    for (size_t j = 0; j < w->m; j++) {
        const struct mro_eds_column *c = &p->column[j];
        for (size_t i = 0; i < w->n; i++) {
            part[j] += c->counts[w->point[i]];
            variance[j] += c->variance ? c->variance[w->point[i]] : c->counts[w->point[i]];
        }
        total += part[j];
        noise += variance[j];
    }
    if (!(total > 5 * sqrt(noise)))
        return MRO_FAIL(e, MRO_EDATA,
                        "the counts of '%s' are no more than their noise: %.3g +- %.3g in all; " MORE_COUNTS, w->name,
                        total, sqrt(noise));
    if (total / (double)w->n < 3 * sqrt(noise / (double)w->n))
        mro_warn(
            r,
            "a point holds %.3g counts on average, less than three times their noise: quotients of so few are skewed; "
            "add up "
            "a wider band (`width`)",
            total / (double)w->n);
    double s = 0, mean[MRO_EDS_MAX_ELEMENTS];
    for (size_t j = 0; j < w->m; j++) {
        w->fano[j] = part[j] > 0 ? variance[j] / part[j] : 1;
        part[j] = fmax(part[j] / total, 0);
        s += w->kappa[j] * part[j];
    }
    w->v = malloc(w->m * w->n * sizeof *w->v);
    if (w->v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", w->name);
    for (size_t j = 0; j < w->m; j++) mean[j] = w->kappa[j] * part[j] / s;
    for (size_t j = 0; j < w->m; j++) {
        struct mro_eds_element *el = &r->element[j];
        /* d c_j / d N_l = a_l / T at the mean composition; V_l = fano_l part_l T. */
        double second = 0, fourth = 0;
        for (size_t l = 0; l < w->m; l++) {
            const double a = 100 * w->kappa[l] * ((l == j) - mean[j]) / s, q = w->fano[l] * part[l];
            second += a * a * q;
            fourth += a * a * a * a * q;
        }
        el->mean_at = 100 * mean[j];
        w->kurtosis[j] = 0;
        for (size_t i = 0; i < w->n; i++) {
            double t = 0, sum = 0;
            for (size_t l = 0; l < w->m; l++) {
                t += p->column[l].counts[w->point[i]];
                sum += w->kappa[l] * p->column[l].counts[w->point[i]];
            }
            el->at[i] = 100 * w->kappa[j] * p->column[j].counts[w->point[i]] / sum;
            w->v[j * w->n + i] = second / t;
            w->kurtosis[j] += second > 0 ? fourth / (second * second) / t : 0;
            el->se[i] = sqrt(second / t);
        }
        for (size_t b = 0; b < w->m; b++) {
            double ab = 0, bb = 0;
            for (size_t l = 0; l < w->m; l++) {
                const double al = w->kappa[l] * ((l == j) - mean[j]), bl = w->kappa[l] * ((l == b) - mean[b]);
                ab += al * bl * w->fano[l] * part[l];
                bb += bl * bl * w->fano[l] * part[l];
            }
            w->noise_correlation[j][b] = second > 0 && bb > 0 ? 100 * ab / (s * sqrt(second * bb)) : NAN;
        }
    }
    return MRO_OK;
}

/* Do neighbours differ by as much as counts must? Every element's counts are independent of the others', whatever the
 * composition does. */
static void judge_roughness(const struct work *w, struct mro_eds_result *r)
{
    double sum = 0, variance = 0;
    size_t used = 0, broken = 0, values = 0;
    double part[MRO_EDS_MAX_ELEMENTS], all = 0;
    for (size_t j = 0; j < w->m; j++) {
        part[j] = 0;
        for (size_t i = 0; i < w->n; i++) {
            const double c = w->p->column[j].counts[w->point[i]];
            part[j] += c;
            broken += fabs(c - round(c)) > 1e-6;
            values++;
        }
        all += part[j];
    }
    for (size_t j = 0; j < w->m; j++) {
        const double mean = part[j] / (double)w->n;
        const double *c = w->p->column[j].counts;
        double up = 0, down = 0;
        if (mean < 0.5) continue;
        for (size_t i = 1; i < w->n; i++) {
            const double d = c[w->point[i]] - c[w->point[i - 1]];
            double t = 0;
            for (size_t l = 0; l < w->m; l++)
                t += w->p->column[l].counts[w->point[i]] + w->p->column[l].counts[w->point[i - 1]];
            up += d * d;
            down += w->fano[j] * part[j] / all * t;
        }
        sum += up / down;
        variance += (3 + 1 / mean) / (double)w->n;
        used++;
    }
    if (used == 0 || w->n < 8) return;
    r->roughness = sum / (double)used;
    const double z = (r->roughness - 1) * (double)used / sqrt(variance);
    const bool whole = broken < values / 10 + 1;
    r->smoothed = z < (whole ? SMOOTH_WHOLE : SMOOTH_BROKEN);
    if (r->smoothed)
        mro_warn(
            r,
            "neighbouring points differ by %.0f %% of what counting must give (%.1f standard errors less): the counts "
            "were "
            "interpolated, smoothed or averaged after counting, so their noise is unknown and the true part is not "
            "given, "
            "sd_at being no upper bound either; export the counts of whole pixels, summed across the line, without "
            "interpolation",
            100 * sqrt(r->roughness), -z);
    else if (!whole)
        mro_warn(r, "the counts are no whole numbers; they are taken as counts since they scatter as such");
    if (z > 6)
        mro_warn(r,
                 "neighbouring points differ by %.2g times what counting gives: the composition changes from point to "
                 "point, "
                 "or the numbers are no raw counts (scaled, or net of a background)",
                 sqrt(r->roughness));
}

static double sd_of(const double *x, size_t n)
{
    double mean = 0, sum = 0;
    for (size_t i = 0; i < n; i++) mean += x[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sqrt(sum / (double)(n - 1));
}

/* ---- pairs ---- */

static enum mro_code pairs(const struct work *w, struct mro_eds_result *r, struct mro_error *e)
{
    if (w->m < 2) return MRO_OK;
    r->pair = calloc(w->m * (w->m - 1) / 2, sizeof *r->pair);
    if (r->pair == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", w->name);
    for (size_t a = 0; a < w->m; a++) {
        for (size_t b = a + 1; b < w->m; b++) {
            struct mro_eds_pair *q = &r->pair[r->n_pairs++];
            const double ca = r->element[a].mean_at / 100, cb = r->element[b].mean_at / 100;
            q->a = a;
            q->b = b;
            q->r = mro_eds_correlation(r->element[a].at, r->element[b].at, w->n);
            q->r_counting = w->v ? w->noise_correlation[a][b] : -sqrt(ca * cb / ((1 - ca) * (1 - cb)));
            if (fabs(q->r_counting) > 0.999) { /* two elements: one is 100 less the other, always */
                q->p = q->n_eff = NAN;
                continue;
            }
            MRO_TRY(mro_eds_correlation_p(r->element[a].at, r->element[b].at, w->n, q->r, q->r_counting, &q->p,
                                          &q->n_eff, e));
        }
    }
    if (w->m == 2)
        mro_warn(r,
                 "with two elements one is what the other leaves: their correlation is -1 by arithmetic and has no p");
    return MRO_OK;
}

/* ---- all of it ---- */

static enum mro_code choose_points(struct work *w, bool counts, struct mro_eds_result *r, struct mro_error *e)
{
    size_t empty = 0;
    w->point = malloc(w->p->n * sizeof *w->point);
    if (w->point == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", w->name);
    for (size_t i = 0; i < w->p->n; i++) {
        double sum = counts ? 0 : 1;
        for (size_t j = 0; counts && j < w->m; j++) sum += w->p->column[j].counts[i];
        if (sum > 0)
            w->point[w->n++] = i;
        else
            empty++;
    }
    if (empty)
        mro_warn(r, "%zu point%s without any count %s left out", empty, empty > 1 ? "s" : "", empty > 1 ? "are" : "is");
    if (w->n < 3)
        return MRO_FAIL(e, MRO_EDATA,
                        "'%s' has %zu point%s with counts of its elements, and a scatter needs three; " MORE_COUNTS,
                        w->name, w->n, w->n == 1 ? "" : "s");
    return MRO_OK;
}

static enum mro_code take_shares(struct work *w, const struct mro_eds_profile *repeats, size_t n_repeats, double *x,
                                 size_t j, struct mro_eds_result *r, struct mro_error *e)
{
    struct mro_eds_element *el = &r->element[j];
    for (size_t i = 0; i < w->n; i++) x[i] = w->p->column[j].at[w->point[i]];
    for (size_t k = 0; k < n_repeats; k++)
        for (size_t i = 0; i < w->n; i++) x[(k + 1) * w->n + i] = repeats[k].column[j].at[w->point[i]];
    if (n_repeats) MRO_TRY(mro_eds_true_part_of_repeats(x, w->n, n_repeats + 1, w->name, el, e));
    memcpy(el->at, x, w->n * sizeof *x);
    el->mean_at = mro_eds_mean(el->at, w->n);
    return MRO_OK;
}

/* Do two profiles hold the same numbers? */
static bool copies(const struct mro_eds_profile *a, const struct mro_eds_profile *b)
{
    for (size_t j = 0; j < a->elements; j++) {
        const struct mro_eds_column *c = &a->column[j], *d = &b->column[j];
        const double *u = c->counts ? c->counts : c->at, *v = c->counts ? d->counts : d->at;
        if (memcmp(u, v, a->n * sizeof *u) != 0) return false;
    }
    return true;
}

static enum mro_code check_repeats(const struct mro_eds_profile *p, const struct mro_eds_profile *repeats,
                                   size_t n_repeats, const char *name, struct mro_error *e)
{
    if (n_repeats > 63) return MRO_FAIL(e, MRO_EARG, "'%s': at most 63 repeats of a line can be used", name);
    for (size_t k = 0; k < n_repeats; k++) {
        bool same = repeats[k].elements == p->elements;
        if (repeats[k].n != p->n)
            return MRO_FAIL(e, MRO_EDATA, "'%s' has %zu points and its repeat %zu has %zu: they are not of one line",
                            name, p->n, k + 1, repeats[k].n);
        for (size_t j = 0; same && j < p->elements; j++)
            same = strcmp(repeats[k].column[j].symbol, p->column[j].symbol) == 0 &&
                   (repeats[k].column[j].at == NULL) == (p->column[j].at == NULL) &&
                   (repeats[k].column[j].counts == NULL) == (p->column[j].counts == NULL);
        if (!same)
            return MRO_FAIL(e, MRO_EDATA, "'%s' and its repeat %zu do not have the same elements and units", name,
                            k + 1);
        const double step = (p->x_nm[p->n - 1] - p->x_nm[0]) / (double)(p->n - 1);
        for (size_t i = 0; i < p->n; i++)
            if (fabs(repeats[k].x_nm[i] - p->x_nm[i]) > 0.25 * step)
                return MRO_FAIL(e, MRO_EDATA, "'%s' and its repeat %zu differ in distance: %g and %g nm at point %zu",
                                name, k + 1, p->x_nm[i], repeats[k].x_nm[i], i + 1);
        /* Counted twice, the noise of a line would pass for its composition. */
        for (size_t l = 0; l <= k; l++)
            if (copies(l ? &repeats[l - 1] : p, &repeats[k]))
                return MRO_FAIL(e, MRO_EDATA,
                                "repeats %zu and %zu of '%s' are equal: they are copies of one measurement", l, k + 1,
                                name);
    }
    return MRO_OK;
}

/* Sums of counts over the repeats: they are the best profile, and their noise is known. */
static enum mro_code add_up(const struct mro_eds_profile *p, const struct mro_eds_profile *repeats, size_t n_repeats,
                            const char *name, struct mro_eds_profile *sum, struct mro_error *e)
{
    *sum = (struct mro_eds_profile){ .n = p->n, .elements = p->elements };
    sum->x_nm = malloc(p->n * sizeof *sum->x_nm);
    bool failed = sum->x_nm == NULL;
    for (size_t j = 0; j < p->elements && !failed; j++) {
        struct mro_eds_column *c = &sum->column[j];
        memcpy(c->symbol, p->column[j].symbol, sizeof c->symbol);
        c->counts = malloc(p->n * sizeof *c->counts);
        if (p->column[j].variance) c->variance = calloc(p->n, sizeof *c->variance);
        if (p->column[j].at) c->at = malloc(p->n * sizeof *c->at);
        failed = c->counts == NULL || (p->column[j].variance && !c->variance) || (p->column[j].at && !c->at);
        for (size_t i = 0; i < p->n && !failed; i++) {
            c->counts[i] = p->column[j].counts[i];
            if (c->variance) c->variance[i] = p->column[j].variance[i];
            if (c->at) c->at[i] = p->column[j].at[i] / (double)(n_repeats + 1);
            for (size_t k = 0; k < n_repeats; k++) {
                const struct mro_eds_column *q = &repeats[k].column[j];
                c->counts[i] += q->counts[i];
                if (c->variance) c->variance[i] += q->variance ? q->variance[i] : q->counts[i];
                if (c->at) c->at[i] += q->at[i] / (double)(n_repeats + 1);
            }
        }
    }
    if (failed) {
        mro_eds_profile_release(sum);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    }
    memcpy(sum->x_nm, p->x_nm, p->n * sizeof *sum->x_nm);
    return MRO_OK;
}

static void prepare(struct mro_eds_result *r, const struct mro_eds_profile *p)
{
    memset(r, 0, sizeof *r);
    r->elements = p->elements;
    r->roughness = NAN;
    for (size_t j = 0; j < p->elements; j++) {
        struct mro_eds_element *el = &r->element[j];
        memcpy(el->symbol, p->column[j].symbol, sizeof el->symbol);
        el->k = el->mean_at = el->sd_at = el->sd_counting_at = el->sd_true_at = NAN;
        el->sd_true_ci95[0] = el->sd_true_ci95[1] = el->p_heterogeneous = el->wavelength_nm = el->p_periodic = NAN;
    }
    for (size_t i = 0; i < p->n_warnings; i++) mro_warn(r, "%s", p->warnings[i]);
}

/* A pattern of decomposition moves several elements at once. Where the clearest wave of the line is beyond red noise,
 * other elements take its wavelength into account, as far as their own spectrum allows. */
static void share_waves(struct mro_eds_result *r, const struct mro_eds_likelihood *l)
{
    size_t clearest = 0;
    for (size_t j = 1; j < r->elements; j++)
        if (l[j].n && l[j].preference > l[clearest].preference) clearest = j;
    const struct mro_eds_element *c = &r->element[clearest];
    if (!isfinite(c->wavelength_nm) || !(c->p_periodic <= 0.01)) return;
    for (size_t j = 0; j < r->elements; j++) {
        struct mro_eds_element *el = &r->element[j];
        const double shared = j == clearest ? NAN : mro_eds_shared_wave(&l[j], &l[clearest]);
        if (isfinite(shared) && shared * 5 <= r->length_nm + r->step_nm) el->wavelength_nm = shared;
    }
}

/* "Co, P" and "0.41, 0.38", for one sentence of several elements. */
struct listed {
    char symbols[8 * MRO_EDS_MAX_ELEMENTS], p[16 * MRO_EDS_MAX_ELEMENTS];
    size_t n;
};

static void list(struct listed *l, const struct mro_eds_element *el)
{
    const size_t s = strlen(l->symbols), p = strlen(l->p);
    snprintf(l->symbols + s, sizeof l->symbols - s, "%s%s", l->n ? ", " : "", el->symbol);
    snprintf(l->p + p, sizeof l->p - p, "%s%.2g", l->n ? ", " : "", el->p_periodic);
    l->n++;
}

/* A wave is reported where red noise is excluded, or where there is a variation that has some scale. */
static void note_elements(struct mro_eds_result *r)
{
    struct listed chance = { .n = 0 }, untried = { .n = 0 }, few = { .n = 0 }, red = { .n = 0 };
    for (size_t j = 0; j < r->elements; j++) {
        struct mro_eds_element *el = &r->element[j];
        if (isfinite(el->wavelength_nm) && el->p_periodic > 0.05 && !(el->p_heterogeneous < 0.01)) {
            el->wavelength_nm = NAN;
            list(&chance, el);
            continue;
        }
        if (!isfinite(el->p_periodic))
            list(&untried, el);
        else if (!isfinite(el->wavelength_nm))
            list(&few, el);
        else if (el->p_periodic > 0.05)
            list(&red, el);
    }
    if (chance.n)
        mro_warn(r, "%s: no wavelength: neither a variation nor a period of it exceeds chance (p = %s)", chance.symbols,
                 chance.p);
    if (untried.n)
        mro_warn(r, "%s: no wavelength: the line has fewer than 16 points or does not change", untried.symbols);
    if (few.n)
        mro_warn(r, "%s: no wavelength: the best one, if any, fits less than five times into the line of %.4g nm",
                 few.symbols, r->length_nm);
    if (red.n)
        mro_warn(r, "%s: the wavelength is that of the best wave, but red noise looks as periodic (p = %s)",
                 red.symbols, red.p);
}

enum mro_code mro_eds_measure(const struct mro_eds_profile *p, const struct mro_eds_profile *repeats, size_t n_repeats,
                              const char *name, const struct mro_eds_options *o, struct mro_eds_result *r,
                              struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    struct work w = { .p = p, .name = name, .m = p->elements };
    struct mro_eds_profile sum = { 0 };
    double *x = NULL;
    struct mro_eds_likelihood *likelihood = calloc(MRO_EDS_MAX_ELEMENTS, sizeof *likelihood);
    enum mro_code rc;
    prepare(r, p);
    if (likelihood == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
        goto done;
    }
    const bool counts = p->elements > 0 && p->column[0].counts != NULL;
    if (p->n < 3 || p->elements == 0) {
        rc = MRO_FAIL(e, MRO_EDATA, "'%s' has %zu points of %zu elements; a scatter needs three points", name, p->n,
                      p->elements);
        goto done;
    }
    if (counts && p->elements < 2) {
        rc = MRO_FAIL(e, MRO_EDATA, "'%s' has counts of %s only; a composition needs two elements", name,
                      p->column[0].symbol);
        goto done;
    }
    rc = check_repeats(p, repeats, n_repeats, name, e);
    if (rc == MRO_OK && counts && n_repeats) {
        rc = add_up(p, repeats, n_repeats, name, &sum, e);
        w.p = &sum;
    }
    if (rc == MRO_OK) rc = choose_points(&w, counts, r, e);
    if (rc == MRO_OK && counts) rc = factors(&w, o, r, e);
    if (rc) goto done;
    if (!counts && o->k.n) mro_warn(r, "the Cliff-Lorimer factors of `k` are not used: there are no counts");
    r->points = w.n;
    r->counts = counts;
    r->replicates = n_repeats ? n_repeats + 1 : 0;
    r->x_nm = malloc(w.n * sizeof *r->x_nm);
    x = malloc((n_repeats + 1) * w.n * sizeof *x);
    bool failed = r->x_nm == NULL || x == NULL;
    for (size_t j = 0; j < w.m; j++) {
        r->element[j].at = malloc(w.n * sizeof(double));
        if (counts) r->element[j].se = malloc(w.n * sizeof(double));
        failed |= r->element[j].at == NULL || (counts && r->element[j].se == NULL);
    }
    if (failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
        goto done;
    }
    for (size_t i = 0; i < w.n; i++) r->x_nm[i] = w.p->x_nm[w.point[i]];
    r->length_nm = r->x_nm[w.n - 1] - r->x_nm[0];
    r->step_nm = r->length_nm / (double)(w.n - 1);

    if (counts) {
        rc = compose(&w, r, e);
        if (rc) goto done;
        judge_roughness(&w, r);
    }
    for (size_t j = 0; j < w.m; j++) {
        struct mro_eds_element *el = &r->element[j];
        const double *v = w.v ? w.v + j * w.n : NULL;
        if (!counts) rc = take_shares(&w, repeats, n_repeats, x, j, r, e);
        if (rc) goto done;
        el->sd_at = sd_of(el->at, w.n);
        if (v) el->sd_counting_at = sqrt(mro_eds_mean(v, w.n));
        if (v && !r->smoothed && v[0] > 0) mro_eds_true_part(el->at, v, w.n, w.kurtosis[j], el);
        if (v && !(v[0] > 0))
            mro_warn(r, "%s was %s: its scatter is not measured", el->symbol,
                     el->mean_at > 50 ? "the only element counted" : "never counted");
        const double noise = v || n_repeats ? el->sd_counting_at * el->sd_counting_at : NAN;
        rc = mro_eds_wave(r->x_nm, el->at, v && v[0] > 0 ? v : NULL, w.n, noise, o->draws, o->seed,
                          MRO_EDS_STREAM_RED * (uint64_t)(j + 1), &el->wavelength_nm, &el->p_periodic, &el->spectrum,
                          &likelihood[j], e);
        if (rc) goto done;
    }
    if (!counts) {
        double all = 0;
        for (size_t j = 0; j < w.m; j++) all += r->element[j].mean_at;
        if (fabs(all - 100) > 2)
            mro_warn(
                r,
                "the elements add up to %.4g at.%% on average, not 100: some are missing, or the values are no at.%%",
                all);
    }
    if (!counts && n_repeats == 0)
        mro_warn(
            r, "there are neither counts nor repeats: counting noise is unknown, sd_at is an upper bound and the true "
               "part "
               "is not given; export the counts of every element at every point (summed across the line, not "
               "interpolated) "
               "beside the at.%%, or measure the line twice and use `replicates`");
    share_waves(r, likelihood);
    note_elements(r);
    rc = pairs(&w, r, e);
done:
    free(likelihood);
    free(x);
    free(w.v);
    free(w.point);
    mro_eds_profile_release(&sum);
    if (rc) mro_eds_result_release(r);
    return rc;
}

void mro_eds_result_release(struct mro_eds_result *r)
{
    if (r == NULL) return;
    for (size_t j = 0; j < r->elements; j++) {
        struct mro_eds_element *el = &r->element[j];
        free(el->at);
        free(el->se);
        free(el->spectrum.f_inv_nm);
        free(el->spectrum.power);
        free(el->spectrum.red);
        free(el->spectrum.wave);
    }
    free(r->x_nm);
    free(r->pair);
    mro_notes_release(&r->warnings, &r->n_warnings);
    memset(r, 0, sizeof *r);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/compare_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "io/json_text.h"
#include "io/table.h"
#include "io/text_stream.h"
#include "report/axes.h"
#include "report/canvas.h"
#include "report/json.h"

/* Is it a share of something, which people read in percent? */
static bool is_share(const struct mro_compare_report *c)
{
    static const char *const ends[] = { "fraction", "fraction_raw", "fraction_acf", "area_fraction", "contrast_sd" };
    const char *dot = strrchr(c->metric, '.'), *name = dot ? dot + 1 : c->metric;
    for (size_t i = 0; i < sizeof ends / sizeof *ends && c->kind[0]; i++)
        if (strcmp(name, ends[i]) == 0) return true;
    return false;
}

double mro_compare_scale(const struct mro_compare_report *c, const char **unit)
{
    *unit = is_share(c) ? "%" : c->unit;
    return is_share(c) ? 100 : 1;
}

/* What kinds are usually compared by, on axes and in the report; `*` stands for an element. */
static const char *const called[][2] = {
    { "fraction", "Ordered area" },
    { "fraction_per_nm", "Ordered area over thickness" },
    { "density_per_nm2", "Ordered regions per area" },
    { "diameter_median_nm", "Median diameter" },
    { "contrast_sd", "Contrast" },
    { "correlation_length_nm", "Correlation length" },
    { "elements.*.sd_true_at", "True scatter of " },
    { "fsdp.first_moment_inv_A", "First peak, first moment" },
    { "shells.0.r_A", "First shell, r" },
    { "shells.0.area", "First shell, area" },
    { "crystals.count", "Crystals" },
    { "crystals.median.d_nm", "Median spacing" },
    { "crystals.median.diameter_nm", "Median diameter" },
    { "bands.deepest.width_nm", "Width of the deepest band" },
    { "bands.deepest.depth", "Depth of the deepest band" },
    { "mean", "Mean" },
    { "sd", "Standard deviation" },
};

json_t *mro_compare_names(void)
{
    json_t *v = json_object();
    for (size_t i = 0; v && i < sizeof called / sizeof *called; i++)
        if (json_object_set_new(v, called[i][0], json_string(called[i][1]))) return json_decref(v), NULL;
    return v;
}

static const char *words_of(const char *metric, char *element, size_t size)
{
    element[0] = '\0';
    for (size_t i = 0; i < sizeof called / sizeof *called; i++) {
        const char *key = called[i][0], *star = strchr(key, '*');
        const size_t n = star ? (size_t)(star - key) : strlen(key), rest = star ? strlen(star + 1) : 0;
        const size_t all = strlen(metric);
        if (strncmp(metric, key, n) != 0 || (star ? all < n + rest : all != n)) continue;
        if (star && strcmp(metric + all - rest, star + 1) != 0) continue;
        snprintf(element, size, "%.*s", (int)(all - n - rest), metric + n);
        return called[i][1];
    }
    return NULL;
}

void mro_compare_axis(const struct mro_compare_report *c, char *text, size_t size)
{
    static const char *const set[][2] = { { "1/nm", "nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER },
                                          { "1/nm^2", "nm" TEXT_SUPER TEXT_MINUS "2" TEXT_SUPER },
                                          { "1/nm^3", "nm" TEXT_SUPER TEXT_MINUS "3" TEXT_SUPER },
                                          { "1/A", "\xc3\x85" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER },
                                          { "A", "\xc3\x85" } };
    char name[96], plain[96], element[32];
    const char *unit, *words = c->kind[0] ? words_of(c->metric, element, sizeof element) : NULL;
    mro_compare_scale(c, &unit);
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        if (strcmp(unit, set[i][0]) == 0) unit = set[i][1];
    if (words) snprintf(plain, sizeof plain, "%s%s", words, element);
    mro_text_clean(name, sizeof name, words ? plain : c->metric);
    mro_text_named(text, size, name, unit);
}

/* Decimals that show two figures of a width. */
static int decimals_of(double width, int least)
{
    if (!(width > 0) || !isfinite(width)) return least;
    const int k = 1 - (int)floor(log10(width));
    return k < least ? least : k > 12 ? 12 : k;
}

static void say_p(char *text, size_t size, const char *name, const struct mro_permutation *p)
{
    if (!isfinite(p->p)) return;
    /* Drawn arrangements: no more figures than are known. */
    if (p->exact || p->p > 20 * p->se)
        mro_text_add(text, size, "%s = %.2g", name, p->p);
    else
        mro_text_add(text, size, "%s = %.1g", name, p->p);
}

void mro_compare_sentence(const struct mro_compare_report *c, size_t k, char *text, size_t size)
{
    const struct mro_compare_result *r = c->result;
    const struct mro_compare_state *t = &r->state[k], *a = &r->state[r->reference];
    text[0] = '\0';
    mro_text_add(text, size, "%s / %s = ", c->data->state[k], c->data->state[r->reference]);
    if (!isfinite(t->ratio)) {
        mro_text_add(text, size, "not measured");
    } else {
        const double *ci = t->ratio_ci95;
        const int n = decimals_of(isfinite(ci[1]) ? ci[1] - ci[0] : fabs(t->ratio) / 10, 2);
        mro_text_add(text, size, "%.*f", n, t->ratio);
        if (isfinite(ci[1]))
            mro_text_add(text, size, " [%.*f, %.*f]", n, ci[0], n, ci[1]);
        else if (isfinite(ci[0]))
            mro_text_add(text, size, " [%.*f, no upper limit]", n, ci[0]);
    }
    if (isfinite(t->test.p)) mro_text_add(text, size, ", ");
    say_p(text, size, "p", &t->test);
    mro_text_add(text, size, ", n = %zu + %zu", t->n, a->n);
    if (!t->identifiable) mro_text_add(text, size, "; not identifiable");
}

void mro_compare_caveat(const struct mro_compare_report *c, size_t k, char *text, size_t size)
{
    const struct mro_compare_result *r = c->result;
    const struct mro_compare_state *t = &r->state[k];
    text[0] = '\0';
    if (!t->identifiable) mro_text_add(text, size, "not identifiable: %s", t->why);
    for (size_t i = 0; i < r->n_covariates; i++) {
        const struct mro_compare_covariate *v = &r->covariate[i];
        /* One that shows no influence here is in the JSON; thickness is always asked for. */
        const bool thickness = strncmp(c->data->covariate[i], "thickness", 9) == 0;
        if (!v->ratio || !isfinite(v->ratio[k]) || (!thickness && !(v->p < 0.05))) continue;
        const int n = decimals_of(v->ratio_ci95[k][1] - v->ratio_ci95[k][0], 2);
        mro_text_add(text, size, "%sat equal %s %.*f [%.*f, %.*f]", text[0] ? "; " : "", c->data->covariate[i], n,
                     v->ratio[k], n, v->ratio_ci95[k][0], n, v->ratio_ci95[k][1]);
    }
    if (isfinite(t->p_holm) && t->test.p <= 0.05 && t->p_holm > t->test.p)
        mro_text_add(text, size, "%sp = %.2g with the other metrics in mind (Holm)", text[0] ? "; " : "", t->p_holm);
}

void mro_compare_reach(const struct mro_compare_report *c, size_t k, char *text, size_t size)
{
    const struct mro_compare_result *r = c->result;
    text[0] = '\0';
    if (r->state[k].test.smallest > 0.05)
        mro_text_add(text, size, "%zu + %zu %s cannot reach a p below %.2g", r->state[k].n, r->state[r->reference].n,
                     r->by_specimen ? "specimens" : "images", r->state[k].test.smallest);
}

void mro_compare_remark(const struct mro_compare_report *c, size_t k, char *text, size_t size)
{
    char reach[120];
    mro_compare_caveat(c, k, text, size);
    mro_compare_reach(c, k, reach, sizeof reach);
    if (reach[0]) mro_text_add(text, size, "%s%s", text[0] ? "; " : "", reach);
}

void mro_compare_trend_sentence(const struct mro_compare_report *c, char *text, size_t size)
{
    const struct mro_compare_trend *t = &c->result->trend;
    const char *unit;
    const double scale = mro_compare_scale(c, &unit);
    text[0] = '\0';
    if (!t->measured) return;
    /* Over the range that was measured: a unit of it may be far more than that. */
    const double range = t->x[1] - t->x[0];
    const double v = t->logarithmic ? 100 * expm1(range * t->slope) : scale * range * t->slope;
    double ci[2];
    for (int i = 0; i < 2; i++) {
        const double slope = range * t->slope_ci95[i];
        ci[i] = t->logarithmic ? 100 * expm1(slope) : scale * slope;
    }
    const int n = decimals_of(isfinite(ci[1]) ? ci[1] - ci[0] : fabs(v) / 10, 0);
    mro_text_add(text, size, "%s changes by %+.*f%s%s", c->metric, n, v, t->logarithmic || unit[0] ? " " : "",
                 t->logarithmic ? "%" : unit);
    if (isfinite(ci[0])) mro_text_add(text, size, " [%+.*f, %+.*f]", n, ci[0], n, ci[1]);
    const char *over = c->data->over, *of = c->data->over_unit[0] ? " " : "";
    mro_text_add(text, size, " from %s %g to %g%s%s, n = %zu", over, t->x[0], t->x[1], of, c->data->over_unit, t->n);
    if (isfinite(t->p)) mro_text_add(text, size, ", p = %.2g", t->p);
    say_p(text, size, "; Jonckheere p", &t->jonckheere);
    if (isfinite(t->onset.x))
        mro_text_add(text, size, "; it bends at %s %.4g [%.4g, %.4g]%s%s, p = %.2g", over, t->onset.x, t->onset.ci95[0],
                     t->onset.ci95[1], of, c->data->over_unit, t->onset.p);
}

void mro_compare_mean_text(const struct mro_compare_report *c, size_t k, char *text, size_t size)
{
    const struct mro_compare_state *t = &c->result->state[k];
    const char *unit;
    const double scale = mro_compare_scale(c, &unit), *ci = t->mean_ci95;
    text[0] = '\0';
    if (isfinite(ci[0])) {
        /* Two figures of a mean, also where its interval is far wider than it. */
        const int figures = decimals_of(scale * fabs(t->mean), 0);
        const int n = decimals_of(scale * (ci[1] - ci[0]), figures < 2 ? figures : 2);
        mro_text_add(text, size, "%.*f [%.*f, %.*f]", n, scale * t->mean, n, scale * ci[0], n, scale * ci[1]);
    } else {
        mro_text_add(text, size, "%.3g", scale * t->mean);
    }
    if (unit[0]) mro_text_add(text, size, " %s", unit);
}

/* -- tables -------------------------------------------------------------------------------------- */

static void put_number(FILE *out, double v)
{
    char text[32] = "";
    if (isfinite(v)) mro_number_text(v, text);
    fprintf(out, ",%s", text);
}

static void put_metric(FILE *out, const struct mro_compare_report *c)
{
    mro_csv_put_text(out, c->kind, ",");
    mro_csv_put_text(out, c->metric, ",");
    mro_csv_put_text(out, c->unit, ",");
}

/* "temperature (K)": all of one run are over the same. */
static void put_over(FILE *out, const struct mro_compare_report *c, size_t n)
{
    char text[200];
    mro_text_named(text, sizeof text, n ? c->data->over : "strain", n ? c->data->over_unit : "");
    mro_csv_put_text(out, text, "");
}

char *mro_csv_compare(const struct mro_compare_report *c, size_t n, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("kind,metric,unit,reference,state,", out);
    put_over(out, c, n);
    fputs(",n,images,mean,mean_ci95_lo,mean_ci95_hi,sd,ratio,ratio_ci95_lo,ratio_ci95_hi,"
          "difference,difference_ci95_lo,difference_ci95_hi,p,p_holm,p_smallest,identifiable\r\n",
          out);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c[i].result->n_states; k++) {
            const struct mro_compare_state *t = &c[i].result->state[k];
            if (t->n == 0) continue;
            put_metric(out, &c[i]);
            mro_csv_put_text(out, c[i].data->state[c[i].result->reference], ",");
            mro_csv_put_text(out, c[i].data->state[k], "");
            const double v[] = { t->x,
                                 (double)t->n,
                                 (double)t->images,
                                 t->mean,
                                 t->mean_ci95[0],
                                 t->mean_ci95[1],
                                 t->sd,
                                 t->ratio,
                                 t->ratio_ci95[0],
                                 t->ratio_ci95[1],
                                 t->difference,
                                 t->difference_ci95[0],
                                 t->difference_ci95[1],
                                 t->test.p,
                                 t->p_holm,
                                 t->test.smallest };
            for (size_t j = 0; j < sizeof v / sizeof *v; j++) put_number(out, v[j]);
            fprintf(out, ",%s\r\n", k == c[i].result->reference ? "" : t->identifiable ? "yes" : "no");
        }
    return mro_text_end(out, &text, e);
}

char *mro_csv_compare_images(const struct mro_compare_report *c, size_t n, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("kind,metric,unit,file,state,specimen,", out);
    put_over(out, c, n);
    fputs(",setting,value,value_ci95_lo,value_ci95_hi\r\n", out);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < c[i].data->n; j++) {
            const struct mro_compare_image *m = &c[i].data->image[j];
            put_metric(out, &c[i]);
            mro_csv_put_text(out, c[i].file[j], ",");
            mro_csv_put_text(out, c[i].data->state[m->state], ",");
            mro_csv_put_text(out, c[i].specimen[j], "");
            const double v[] = { m->x, (double)m->block, m->value, m->ci95[0], m->ci95[1] };
            for (size_t k = 0; k < sizeof v / sizeof *v; k++) put_number(out, v[k]);
            fputs("\r\n", out);
        }
    return mro_text_end(out, &text, e);
}

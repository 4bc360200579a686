/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is written and printed of compared states. */
#define _GNU_SOURCE /* asprintf */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/compare.h"
#include "report/figure.h"

char *cli_compare_base(const char *path)
{
    char *real = strcmp(path, ".") == 0 || strcmp(path, "..") == 0 ? realpath(path, NULL) : strdup(path);
    if (real == NULL) return NULL;
    size_t n = strlen(real);
    while (n > 1 && real[n - 1] == '/') real[--n] = '\0';
    const char *slash = strrchr(real, '/');
    char *base = strdup(slash && slash[1] ? slash + 1 : real);
    struct stat st;
    char *dot = base && stat(path, &st) == 0 && !S_ISDIR(st.st_mode) ? strrchr(base, '.') : NULL;
    if (dot && dot != base) *dot = '\0';
    free(real);
    return base;
}

/* A text as part of a file's name. */
static void clean_name(char *name)
{
    size_t n = 0;
    for (const char *p = name; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        const bool good = isalnum(c) || c >= 0x80 || strchr("._-+%", c);
        if (good || (n && name[n - 1] != '_')) name[n++] = good ? *p : '_';
    }
    while (n && name[n - 1] == '_') n--;
    name[n] = '\0';
}

enum mro_code cli_compare_name(struct cli_compare *s, struct cli_compared *ones, size_t n, const char *base,
                               struct mro_error *e)
{
    for (size_t i = 0; i < n; i++) {
        struct cli_compared *m = &ones[i];
        const struct mro_set_metric *metric = &s->set.metrics[m->metric];
        char name[300];
        snprintf(name, sizeof name, "%s%s%s", metric->kind, metric->kind[0] ? "." : "", metric->key);
        clean_name(name);
        for (size_t k = 0, again = 2; k < i; k++) {
            const char *other = ones[k].stem + strlen(base) + 1;
            if (strcmp(other, name) != 0) continue;
            snprintf(name + strlen(name), sizeof name - strlen(name), "_%zu", again++);
            k = SIZE_MAX; /* from the first again */
        }
        if (asprintf(&m->stem, "%s.%s", base, name) < 0) {
            m->stem = NULL;
            return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the names of its results", s->set.source);
        }
    }
    return MRO_OK;
}

/* An item whose outputs are called after `stem`. */
static enum mro_code begin_item(const struct cli_compare *s, struct cli_item *item, const char *stem,
                                struct mro_error *e)
{
    *item = (struct cli_item){ .path = s->set.source, .inputs = s->ids, .n_inputs = 1 };
    snprintf(item->name, sizeof item->name, "%s", s->set.source);
    if (s->common.out == NULL) return MRO_OK;
    const size_t n = strlen(s->common.out);
    if (asprintf(&item->stem, "%s%s%s", s->common.out, s->common.out[n - 1] == '/' ? "" : "/", stem) >= 0)
        return MRO_OK;
    item->stem = NULL;
    return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the names of its results", s->set.source);
}

enum mro_code cli_compare_publish(struct cli_compare *s, struct cli_compared *m, struct mro_error *e)
{
    struct cli_item item;
    const struct mro_compare_set *set = &s->set;
    struct mro_provenance p = { .algorithm = MRO_COMPARE_ALGORITHM, .has_seed = true, .seed = s->options.seed };
    const size_t n_warnings = set->n_warnings + m->result.n_warnings;
    const char **warnings = calloc(n_warnings + 1, sizeof *warnings);
    json_t *options = cli_options_json(s->job.usage);
    enum mro_code rc = begin_item(s, &item, m->stem, e);
    if (rc == MRO_OK && (warnings == NULL || options == NULL))
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the JSON of a result");
    if (rc) goto done;
    memcpy(p.input_sha256, s->sha256, sizeof p.input_sha256);
    cli_all_in_options(set->warnings, set->n_warnings);
    cli_all_in_options(m->result.warnings, m->result.n_warnings);
    for (size_t k = 0; k < m->result.n_states; k++) cli_in_options(m->result.state[k].why);
    for (size_t i = 0; i < set->n_warnings; i++) warnings[i] = set->warnings[i];
    for (size_t i = 0; i < m->result.n_warnings; i++) warnings[set->n_warnings + i] = m->result.warnings[i];
    const struct mro_result_head h = { .verb = "compare",
                                       .file = set->source,
                                       .warnings = warnings,
                                       .n_warnings = n_warnings,
                                       .provenance = &p,
                                       .options = options };
    if (item.stem) {
        char *stem, title[300];
        snprintf(title, sizeof title, "%s%s%s", m->report.kind, m->report.kind[0] ? ", " : "", m->report.metric);
        rc = cli_figure_stem(&item, &s->job, &stem, e);
        if (rc) goto done;
        rc = mro_figure_compare(stem, s->common.figure_mm, title, &m->report, e);
        free(stem);
        if (rc) goto done;
    }
    json_t *v = mro_json_compare(&h, &m->report, e);
    if (v && s->collect && (json_object_set_new(v, "stem", json_string(m->stem)) || json_array_append(s->collect, v))) {
        json_decref(v);
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the JSON of a result");
        goto done;
    }
    rc = cli_emit(&item, &s->job, v, e);
done:
    cli_item_release(&item, rc != MRO_OK);
    json_decref(options);
    free(warnings);
    return rc;
}

enum mro_code cli_compare_tables(struct cli_compare *s, const struct cli_compared *ones, size_t n, const char *base,
                                 struct mro_error *e)
{
    struct mro_compare_report *reports = calloc(n + 1, sizeof *reports);
    struct cli_item item = { 0 };
    enum mro_code rc = reports ? begin_item(s, &item, base, e)
                               : MRO_FAIL(e, MRO_EMEMORY, "no memory left for the tables of the results");
    if (rc == MRO_OK) {
        for (size_t i = 0; i < n; i++) reports[i] = ones[i].report;
        rc = cli_write_text(&item, &s->job, ".csv", mro_csv_compare(reports, n, e), e);
    }
    if (rc == MRO_OK) rc = cli_write_text(&item, &s->job, ".images.csv", mro_csv_compare_images(reports, n, e), e);
    cli_item_release(&item, rc != MRO_OK);
    free(reports);
    return rc;
}

/* How small p can get, once for all states of which that is the same. */
static void print_reach(const struct mro_compare_report *c)
{
    const struct mro_compare_result *r = c->result;
    char first[120], text[120];
    for (size_t k = 0; k < r->n_states; k++) {
        bool told = false;
        if (r->state[k].n == 0 || k == r->reference) continue;
        mro_compare_reach(c, k, first, sizeof first);
        for (size_t i = 0; i < r->n_states && first[0]; i++) {
            if (r->state[i].n == 0 || i == r->reference) continue;
            mro_compare_reach(c, i, text, sizeof text);
            if (strcmp(text, first) != 0) continue;
            if (i < k) break; /* said with that one */
            if (!told) printf("  %s: ", first);
            cli_put(stdout, "%s%s", told ? ", " : "", c->data->state[i]);
            told = true;
        }
        if (told) putchar('\n');
    }
}

void cli_compare_print(const struct cli_compared *m)
{
    const struct mro_compare_report *c = &m->report;
    const struct mro_compare_result *r = c->result;
    char text[700];
    int width = 5;
    for (size_t k = 0; k < r->n_states; k++)
        if (r->state[k].n && cli_characters(c->data->state[k]) > width) width = cli_characters(c->data->state[k]);
    cli_put(stdout, "%s%s%s, one number %s: mean [95 %% interval]\n", c->kind, c->kind[0] ? " " : "", c->metric,
            r->by_specimen ? "a specimen" : "an image");
    for (size_t k = 0; k < r->n_states; k++) {
        if (r->state[k].n == 0) continue;
        mro_compare_mean_text(c, k, text, sizeof text);
        cli_put(stdout, "  %s%*s  n = %-3zu %s\n", c->data->state[k], width - cli_characters(c->data->state[k]), "",
                r->state[k].n, text);
    }
    for (size_t k = 0; k < r->n_states; k++) {
        if (r->state[k].n == 0 || k == r->reference) continue;
        mro_compare_sentence(c, k, text, sizeof text);
        cli_put(stdout, "  %s\n", text);
        mro_compare_caveat(c, k, text, sizeof text);
        if (text[0]) cli_put(stdout, "    %s\n", text);
    }
    print_reach(c);
    mro_compare_trend_sentence(c, text, sizeof text);
    if (text[0]) cli_put(stdout, "  %s\n", text);
    if (isfinite(r->n_for_ratio))
        printf("  %s scatter by %.0f %%: about %.0f a state find a ratio of 1.5 (some 3 times in 4)\n",
               r->by_specimen ? "specimens" : "images", 100 * expm1(r->scatter_ln), r->n_for_ratio);
    fflush(stdout);
}

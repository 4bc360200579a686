/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The set of numbers to compare, wherever they come from. */
#include "io/compare_build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "core/notes.h"

size_t mro_set_intern(char ***list, size_t *n, const char *text)
{
    for (size_t i = 0; i < *n; i++)
        if (mro_set_same((*list)[i], text)) return i;
    char **grown = realloc(*list, (*n + 1) * sizeof **list);
    if (grown == NULL) return SIZE_MAX;
    *list = grown;
    grown[*n] = strdup(text);
    return grown[*n] ? (*n)++ : SIZE_MAX;
}

void mro_set_release_texts(char ***list, size_t *n)
{
    for (size_t i = 0; i < *n; i++) free((*list)[i]);
    free(*list);
    *list = NULL;
    *n = 0;
}

bool mro_set_ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && mro_set_same(text + n - m, end);
}

/* The end of a key and the unit that it tells; empty: none. */
static const char *const *end_of(const char *key)
{
    static const char *const units[][2] = {
        { "_per_nm3", "1/nm^3" }, { "_per_nm2", "1/nm^2" }, { "_per_nm", "1/nm" },
        { "_inv_nm", "1/nm" },    { "_inv_A", "1/A" },      { "_nm", "nm" },
        { "_at", "at.%" },        { "_deg", "degrees" },    { "_A", "A" },
        { "_kv", "kV" },          { "_mm", "mm" },          { "", "" },
    };
    size_t i = 0;
    while (!mro_set_ends_with(key, units[i][0])) i++;
    return units[i];
}

const char *mro_set_unit_of(const char *key) { return end_of(key)[1]; }

size_t mro_set_bare(const char *key) { return strlen(key) - strlen(end_of(key)[0]); }

struct mro_set_metric *mro_set_metric_of(struct mro_compare_set *s, const char *kind, const char *key, const char *unit,
                                         size_t room)
{
    for (size_t i = 0; i < s->n_metrics; i++)
        if (mro_set_same(s->metrics[i].kind, kind) && mro_set_same(s->metrics[i].key, key)) return &s->metrics[i];
    struct mro_set_metric *grown = realloc(s->metrics, (s->n_metrics + 1) * sizeof *grown);
    if (grown == NULL) return NULL;
    s->metrics = grown;
    struct mro_set_metric *m = &grown[s->n_metrics];
    *m = (struct mro_set_metric){ .kind = strdup(kind), .key = strdup(key), .unit = strdup(unit) };
    m->value = malloc((room + 1) * sizeof *m->value);
    m->ci95 = malloc((room + 1) * sizeof *m->ci95);
    s->n_metrics++;
    if (!m->kind || !m->key || !m->unit || !m->value || !m->ci95) return NULL;
    for (size_t i = 0; i < room; i++) m->value[i] = m->ci95[i][0] = m->ci95[i][1] = NAN;
    return m;
}

bool mro_set_add_covariate(struct mro_set_metric *m, size_t row, const char *name, double v, size_t room)
{
    size_t c = 0;
    while (c < m->n_covariates && !mro_set_same(m->covariate_name[c], name)) c++;
    if (c == MRO_COMPARE_COVARIATES) return true;
    if (c == m->n_covariates) {
        m->covariate_name[c] = strdup(name);
        m->covariate[c] = malloc((room + 1) * sizeof **m->covariate);
        m->n_covariates++;
        if (!m->covariate_name[c] || !m->covariate[c]) return false;
        for (size_t i = 0; i < room; i++) m->covariate[c][i] = NAN;
    }
    m->covariate[c][row] = v;
    return true;
}

void mro_compare_set_differences(const struct mro_compare_set *s, size_t metric, char *text, size_t size)
{
    const struct mro_set_metric *m = &s->metrics[metric];
    json_t *first = NULL, *names = json_object();
    const char *key;
    json_t *v;
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < s->n_rows && names; i++) {
        if (!isfinite(m->value[i])) continue;
        json_t *one = json_loads(s->settings[s->rows[i].setting], 0, NULL);
        if (first == NULL) {
            first = one;
            continue;
        }
        json_object_foreach(one, key, v) if (!json_equal(v, json_object_get(first, key)))
            json_object_set_new(names, key, json_true());
        json_object_foreach(first, key, v) if (json_object_get(one, key) == NULL)
            json_object_set_new(names, key, json_true());
        json_decref(one);
    }
    json_object_foreach(names, key, v)
    {
        const int n = snprintf(text + used, size - used, "%s%s", used ? ", " : "", key);
        used = used + (size_t)n < size ? used + (size_t)n : size - 1;
    }
    json_decref(first);
    json_decref(names);
}

void mro_compare_set_data(const struct mro_compare_set *s, size_t metric, bool settings,
                          struct mro_compare_image *image, size_t *row, struct mro_compare_data *d)
{
    const struct mro_set_metric *m = &s->metrics[metric];
    *d = (struct mro_compare_data){ .metric = m->key,
                                    .n_states = s->n_states,
                                    .n_specimens = s->n_specimens,
                                    .n_blocks = s->n_settings,
                                    .n_covariates = m->n_covariates,
                                    .state = (const char *const *)s->states,
                                    .covariate = (const char *const *)m->covariate_name,
                                    .over = s->over,
                                    .over_unit = s->over_unit,
                                    .image = image };
    for (size_t i = 0; i < s->n_rows; i++) {
        if (!isfinite(m->value[i])) continue;
        struct mro_compare_image *k = &image[d->n];
        *k = (struct mro_compare_image){ .state = s->rows[i].state_index,
                                         .value = m->value[i],
                                         .ci95 = { m->ci95[i][0], m->ci95[i][1] },
                                         .x = s->rows[i].x,
                                         .specimen = s->rows[i].specimen_index,
                                         .block = settings ? s->rows[i].setting : 0 };
        for (size_t c = 0; c < m->n_covariates; c++) k->covariate[c] = m->covariate[c][i];
        if (row) row[d->n] = i;
        d->n++;
    }
}

void mro_set_take_strain(struct mro_compare_set *s)
{
    for (size_t i = 0; i < s->n_rows; i++) s->rows[i].x = s->rows[i].strain;
    s->over = "strain";
    s->over_unit = s->strain_unit ? s->strain_unit : "";
    s->over_metric = MRO_COMPARE_NONE;
}

/* Why no trend can be taken over what was asked for, and what it can be taken over. */
static enum mro_code no_trend_over(const struct mro_compare_set *s, const char *over, bool strains, bool values,
                                   struct mro_error *e)
{
    enum { NAMED = 4 };
    const char *have[NAMED + 2];
    char list[300] = "";
    size_t n = 0;
    if (strncmp(over, "thickness", strlen("thickness")) == 0)
        return MRO_FAIL(
            e, MRO_EARG,
            "'%s': thickness is what states are compared at, and no trend is taken over it; for that, write "
            "it into a column 'value: thickness (nm)', too",
            s->source);
    if (strains) have[n++] = "strain";
    if (values) have[n++] = s->value_name[0] ? s->value_name : "value";
    for (size_t k = 0; k < s->n_metrics && s->table && n < NAMED; k++) have[n++] = s->metrics[k].key;
    for (size_t k = 0; k < n; k++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%.60s", k ? ", " : "", have[k]);
    if (n == 0)
        return MRO_FAIL(e, MRO_EARG,
                        "'%s' has no column '%s' that a trend could be taken over; write numbers into a column strain "
                        "or value",
                        s->source, over);
    return MRO_FAIL(e, MRO_EARG, "'%s' has no column '%s' that a trend could be taken over; it has %s", s->source, over,
                    list);
}

/* What was asked for, and no image has. */
static void warn_of_none(struct mro_compare_set *s, const char *column)
{
    if (s->table)
        mro_warn(s, "no trend is taken over %s, as no row has one: write numbers into a column '%s'", s->over, column);
    else
        mro_warn(
            s,
            "no trend is taken over %s, as no image has one: fill the column '%s' of the session's table, then run "
            "`mroscope batch` again, which measures nothing twice",
            s->over, column);
}

enum mro_code mro_compare_set_over(struct mro_compare_set *s, const char *over, struct mro_error *e)
{
    bool strains = false, values = false;
    for (size_t i = 0; i < s->n_rows; i++) {
        strains |= isfinite(s->rows[i].strain);
        values |= isfinite(s->rows[i].value);
    }
    if (over ? mro_set_same(over, "strain") : strains || !values) {
        mro_set_take_strain(s);
        if (over && !strains) warn_of_none(s, "strain");
        return MRO_OK;
    }
    if ((!s->table || values) &&
        (over == NULL || mro_set_same(over, "value") || (s->value_name[0] && mro_set_same(over, s->value_name)))) {
        for (size_t i = 0; i < s->n_rows; i++) s->rows[i].x = s->rows[i].value;
        s->over = s->value_name[0] ? s->value_name : "value";
        s->over_unit = s->value_unit;
        if (!values) warn_of_none(s, "value");
        return MRO_OK;
    }
    for (size_t k = 0; k < s->n_metrics && s->table; k++) {
        if (!mro_set_same(s->metrics[k].key, over)) continue;
        for (size_t i = 0; i < s->n_rows; i++) s->rows[i].x = s->metrics[k].value[i];
        s->over = s->metrics[k].key;
        s->over_unit = s->metrics[k].unit;
        s->over_metric = k;
        return MRO_OK;
    }
    return no_trend_over(s, over, strains, values, e);
}

void mro_compare_set_release(struct mro_compare_set *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_metrics; i++) {
        struct mro_set_metric *m = &s->metrics[i];
        for (size_t c = 0; c < m->n_covariates; c++) {
            free(m->covariate_name[c]);
            free(m->covariate[c]);
        }
        free(m->kind);
        free(m->key);
        free(m->unit);
        free(m->value);
        free(m->ci95);
    }
    free(s->metrics);
    free(s->rows);
    free(s->source);
    free(s->value_name);
    free(s->value_unit);
    mro_set_release_texts(&s->states, &s->n_states);
    mro_set_release_texts(&s->specimens, &s->n_specimens);
    mro_set_release_texts(&s->settings, &s->n_settings);
    mro_set_release_texts(&s->known, &s->n_known);
    mro_set_release_texts(&s->texts, &s->n_texts);
    mro_notes_release(&s->warnings, &s->n_warnings);
    *s = (struct mro_compare_set){ 0 };
}

const char *mro_set_keep(struct mro_compare_set *s, const char *text)
{
    const size_t i = mro_set_intern(&s->texts, &s->n_texts, text);
    return i == SIZE_MAX ? NULL : s->texts[i];
}

bool mro_set_place_row(struct mro_compare_set *s, struct mro_set_row *r, const char *file, const char *state,
                       const char *kind, const char *specimen, const char *unit)
{
    r->file = mro_set_keep(s, file);
    r->state = mro_set_keep(s, state);
    r->kind = mro_set_keep(s, kind);
    r->specimen = mro_set_keep(s, specimen);
    r->unit = mro_set_keep(s, unit);
    r->state_index = mro_set_intern(&s->states, &s->n_states, state);
    r->specimen_index = specimen[0] ? mro_set_intern(&s->specimens, &s->n_specimens, specimen) : MRO_COMPARE_NONE;
    return r->file && r->state && r->kind && r->specimen && r->unit && r->state_index != SIZE_MAX &&
           !(specimen[0] && r->specimen_index == SIZE_MAX);
}

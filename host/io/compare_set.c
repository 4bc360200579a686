/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/compare_set.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "io/reader.h"
#include "io/session.h"
#include "io/table.h"
#include "io/text.h"

#define MAX_COLUMNS 256
#define MAX_LEFT_OUT 10 /* sentences about rows without a result */
#define MAX_KNOWN 400   /* numbers of a result that are offered when a metric is not found */
#define Z975 1.959963984540054

static const char no_memory[] = "'%s': the numbers to compare do not fit in memory";

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* Index of a text in a list, which takes a copy of one that is new; SIZE_MAX when out of memory. */
static size_t intern(char ***list, size_t *n, const char *text)
{
    for (size_t i = 0; i < *n; i++)
        if (same((*list)[i], text)) return i;
    char **grown = realloc(*list, (*n + 1) * sizeof **list);
    if (grown == NULL) return SIZE_MAX;
    *list = grown;
    grown[*n] = strdup(text);
    return grown[*n] ? (*n)++ : SIZE_MAX;
}

static void release_list(char ***list, size_t *n)
{
    for (size_t i = 0; i < *n; i++) free((*list)[i]);
    free(*list);
    *list = NULL;
    *n = 0;
}

/* -- what a kind is compared by ------------------------------------------------------------------ */

static const struct {
    const char *verb, *keys[4];
    const char *covariate, *called; /* beside thickness: what tells how well the image could be measured */
} usual[] = {
    { "mro", { "fraction", "density_per_nm2", "diameter_median_nm" }, "size_limit_nm", "size limit" },
    { "haadf", { "contrast_sd", "correlation_length_nm" }, "noise_sd", "noise" },
    { "eds", { "elements.*.sd_true_at" }, "elements.*.sd_counting_at", "counting error" },
    { "pdf", { "fsdp.first_moment_inv_A", "shells.0.r_A", "shells.0.area" }, "s_max_inv_nm", "range of s" },
    { "lattice", { "crystals.count", "crystals.median.d_nm", "crystals.median.diameter_nm" }, NULL, NULL },
    { "shearband", { "bands.mean.width_nm", "bands.mean.depth" }, NULL, NULL },
    { "indent", { "mean", "sd" }, NULL, NULL },
};
enum { n_usual = sizeof usual / sizeof *usual };

static size_t usual_of(const char *verb)
{
    size_t i = 0;
    while (i < n_usual && !same(usual[i].verb, verb)) i++;
    return i;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && same(text + n - m, end);
}

static const char *unit_of(const char *key)
{
    static const char *const units[][2] = {
        { "_per_nm3", "1/nm^3" }, { "_per_nm2", "1/nm^2" }, { "_per_nm", "1/nm" },
        { "_inv_nm", "1/nm" },    { "_inv_A", "1/A" },      { "_nm", "nm" },
        { "_at", "at.%" },        { "_deg", "degrees" },    { "_A", "A" },
        { "_kv", "kV" },          { "_mm", "mm" },
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (ends_with(key, units[i][0])) return units[i][1];
    return "";
}

/* -- paths in results ---------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool look_up(const json_t *v, const char *path, double *number);

/* Mean or median of one number of all entries; entries without it do not count. */
static bool reduce(const json_t *list, bool median, const char *path, double *number)
{
    const size_t n = json_array_size(list);
    double *v = malloc((n + 1) * sizeof *v), sum = 0;
    size_t k = 0, i, found = 0;
    const json_t *one;
    *number = NAN;
    if (v == NULL) return true;
    json_array_foreach(list, i, one)
    {
        found += look_up(one, path, &v[k]);
        if (isfinite(v[k])) sum += v[k++];
    }
    if (k > 0 && !median) *number = sum / (double)k;
    if (k > 0 && median) {
        qsort(v, k, sizeof *v, ascending);
        *number = k % 2 ? v[k / 2] : (v[k / 2 - 1] + v[k / 2]) / 2;
    }
    free(v);
    return found > 0 || n == 0;
}

/* The number at a dotted path. False when there is no such key; NaN when it is null or no number. */
static bool look_up(const json_t *v, const char *path, double *number)
{
    *number = NAN;
    while (v) {
        char name[80];
        const size_t n = strcspn(path, ".");
        if (n >= sizeof name) return false;
        memcpy(name, path, n);
        name[n] = '\0';
        const char *rest = path[n] ? path + n + 1 : NULL;
        if (json_is_array(v)) {
            char *end;
            const unsigned long i = strtoul(name, &end, 10);
            if (same(name, "count") && rest == NULL) {
                *number = (double)json_array_size(v);
                return true;
            }
            if ((same(name, "mean") || same(name, "median")) && rest)
                return reduce(v, same(name, "median"), rest, number);
            if (!isdigit((unsigned char)name[0]) || *end) return false;
            if (i >= json_array_size(v)) return true; /* a list may be shorter in some images */
            v = json_array_get(v, i);
        } else {
            v = json_object_get(v, name);
        }
        if (v == NULL) return false;
        if (json_is_null(v)) return true;
        if (rest == NULL) {
            if (json_is_boolean(v)) *number = json_is_true(v);
            if (json_is_number(v)) *number = json_number_value(v);
            return !json_is_object(v) && !json_is_array(v) && !json_is_string(v);
        }
        path = rest;
    }
    return false;
}

static const json_t *find(const json_t *v, const char *path)
{
    while (v) {
        char name[80];
        const size_t n = strcspn(path, ".");
        if (n >= sizeof name) return NULL;
        memcpy(name, path, n);
        name[n] = '\0';
        v = json_is_array(v) ? json_array_get(v, strtoul(name, NULL, 10)) : json_object_get(v, name);
        if (path[n] == '\0') return v;
        path += n + 1;
    }
    return NULL;
}

/* The interval of the number at `key`: KEY_ci95, or with the unit taken off the name (sd_true_at: sd_true_ci95), or
 * from its standard error. */
static void find_interval(const json_t *result, const char *key, double value, double ci95[2])
{
    static const char *const units[] = { "",        "_per_nm3", "_per_nm2", "_inv_nm", "_inv_A",
                                         "_per_nm", "_nm",      "_at",      "_deg",    "_A" };
    char path[200];
    double se;
    ci95[0] = ci95[1] = NAN;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (!ends_with(key, units[i])) continue;
        const int n = (int)(strlen(key) - strlen(units[i]));
        snprintf(path, sizeof path, "%.*s_ci95", n, key);
        const json_t *v = find(result, path);
        if (json_array_size(v) == 2 && json_is_number(json_array_get(v, 0)) && json_is_number(json_array_get(v, 1))) {
            ci95[0] = json_number_value(json_array_get(v, 0));
            ci95[1] = json_number_value(json_array_get(v, 1));
            return;
        }
        snprintf(path, sizeof path, "%.*s_se%s", n, key, units[i]);
        const json_t *error = find(result, path);
        if (!json_is_number(error)) continue;
        se = json_number_value(error);
        ci95[0] = value - Z975 * se;
        ci95[1] = value + Z975 * se;
        return;
    }
}

/* Every number of a result, as paths; lists by their first entry and their count. */
static void note_known(struct mro_compare_set *s, const json_t *v, const char *prefix)
{
    char path[200];
    const char *key;
    json_t *child;
    if (s->n_known >= MAX_KNOWN) return;
    if (json_is_array(v)) {
        snprintf(path, sizeof path, "%s.count", prefix);
        intern(&s->known, &s->n_known, path);
        if (!json_is_object(json_array_get(v, 0))) return;
        snprintf(path, sizeof path, "%s.0", prefix);
        note_known(s, json_array_get(v, 0), path);
        snprintf(path, sizeof path, "%s.mean", prefix);
        note_known(s, json_array_get(v, 0), path);
        return;
    }
    json_object_foreach((json_t *)v, key, child)
    {
        if (prefix[0] == '\0' && (same(key, "provenance") || same(key, "frame") || same(key, "image"))) continue;
        snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? "." : "", key);
        if (json_is_number(child) || json_is_null(child)) intern(&s->known, &s->n_known, path);
        if (json_is_object(child) || json_is_array(child)) note_known(s, child, path);
    }
}

/* -- the set ------------------------------------------------------------------------------------- */

/* The column of a key for a kind; NULL when out of memory. */
static struct mro_set_metric *metric_of(struct mro_compare_set *s, const char *kind, const char *key, const char *unit,
                                        size_t room)
{
    for (size_t i = 0; i < s->n_metrics; i++)
        if (same(s->metrics[i].kind, kind) && same(s->metrics[i].key, key)) return &s->metrics[i];
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

static bool add_covariate(struct mro_set_metric *m, size_t row, const char *name, double v, size_t room)
{
    size_t c = 0;
    while (c < m->n_covariates && !same(m->covariate_name[c], name)) c++;
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

/* Takes a key of a row's result into its column. */
static enum mro_code take_key(struct mro_compare_set *s, size_t row, const char *verb, const char *key,
                              const json_t *result, const char *covariate, const char *called, size_t room,
                              struct mro_error *e)
{
    const struct mro_set_row *r = &s->rows[row];
    double v, x;
    const bool per_thickness = same(key, "fraction_per_nm") && same(verb, "mro");
    if (!look_up(result, per_thickness ? "fraction" : key, &v)) return MRO_OK;
    struct mro_set_metric *m = metric_of(s, r->kind, key, unit_of(key)[0] ? unit_of(key) : r->unit, room);
    if (m == NULL) return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    m->found++;
    if (isfinite(v)) find_interval(result, per_thickness ? "fraction" : key, v, m->ci95[row]);
    if (per_thickness) { /* how much of a thin layer is ordered: regions seen through each other count once */
        const double t = r->thickness_nm > 0 ? r->thickness_nm : NAN;
        v = -log(1 - v) / t;
        for (int i = 0; i < 2; i++) m->ci95[row][i] = -log(1 - m->ci95[row][i]) / t;
    }
    if (!isfinite(v)) return MRO_OK;
    m->value[row] = v;
    m->n++;
    if (!add_covariate(m, row, "thickness (nm)", r->thickness_nm > 0 ? r->thickness_nm : NAN, room))
        return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    if (covariate && look_up(result, covariate, &x) && !add_covariate(m, row, called, x > 0 ? x : NAN, room))
        return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    return MRO_OK;
}

/* Takes a key that may have one "*" for all names at its place. */
static enum mro_code take_keys(struct mro_compare_set *s, size_t row, const char *verb, const char *key,
                               const json_t *result, const char *covariate, const char *called, size_t room,
                               struct mro_error *e)
{
    const char *star = strstr(key, ".*."), *name;
    char parent[80], path[200], other[200];
    json_t *child;
    if (star == NULL) return take_key(s, row, verb, key, result, covariate, called, room, e);
    snprintf(parent, sizeof parent, "%.*s", (int)(star - key), key);
    json_object_foreach((json_t *)find(result, parent), name, child)
    {
        const char *other_star = covariate ? strstr(covariate, ".*.") : NULL;
        snprintf(path, sizeof path, "%s.%s%s", parent, name, star + 2);
        if (other_star)
            snprintf(other, sizeof other, "%.*s.%s%s", (int)(other_star - covariate), covariate, name, other_star + 2);
        MRO_TRY(take_key(s, row, verb, path, result, other_star ? other : covariate, called, room, e));
    }
    return MRO_OK;
}

/* What the numbers of an image depend on beside the image: options, method, voltage. Those that say which part of which
 * file was taken, or how random numbers begin, are no setting. */
static char *settings_of(const json_t *result, const char *kind)
{
    static const char *const no_setting[] = { "pixel",   "resolution-tags", "frames", "seed", "map",
                                              "at-maps", "haadf",           "mro",    "line" };
    const json_t *p = json_object_get(result, "provenance"), *kv = find(p, "microscope.beam_kv");
    json_t *v = json_object(), *options = json_deep_copy(json_object_get(p, "options"));
    for (size_t i = 0; options && i < sizeof no_setting / sizeof *no_setting; i++)
        json_object_del(options, no_setting[i]);
    json_object_set_new(v, "kind", json_string(kind));
    if (json_is_string(json_object_get(p, "algorithm")))
        json_object_set(v, "algorithm", json_object_get(p, "algorithm"));
    if (json_is_number(kv)) json_object_set(v, "beam_kv", (json_t *)kv);
    if (json_is_object(options)) json_object_update(v, options);
    char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(options);
    json_decref(v);
    return text;
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

static void take_strain(struct mro_compare_set *s)
{
    for (size_t i = 0; i < s->n_rows; i++) s->rows[i].x = s->rows[i].strain;
    s->over = "strain";
    s->over_unit = s->strain_unit ? s->strain_unit : "";
    s->over_metric = MRO_COMPARE_NONE;
}

enum mro_code mro_compare_set_over(struct mro_compare_set *s, const char *over, struct mro_error *e)
{
    bool strains = false, values = false;
    for (size_t i = 0; i < s->n_rows; i++) {
        strains |= isfinite(s->rows[i].strain);
        values |= isfinite(s->rows[i].value);
    }
    if (over ? same(over, "strain") : strains || !values) {
        take_strain(s);
        return MRO_OK;
    }
    if ((!s->table || values) &&
        (over == NULL || same(over, "value") || (s->value_name[0] && same(over, s->value_name)))) {
        for (size_t i = 0; i < s->n_rows; i++) s->rows[i].x = s->rows[i].value;
        s->over = s->value_name[0] ? s->value_name : "value";
        s->over_unit = s->value_unit;
        return MRO_OK;
    }
    for (size_t k = 0; k < s->n_metrics && s->table; k++) {
        if (!same(s->metrics[k].key, over)) continue;
        for (size_t i = 0; i < s->n_rows; i++) s->rows[i].x = s->metrics[k].value[i];
        s->over = s->metrics[k].key;
        s->over_unit = s->metrics[k].unit;
        s->over_metric = k;
        return MRO_OK;
    }
    return MRO_FAIL(e, MRO_EARG, "'%s' has no column '%s' that a trend could be taken over; give %s", s->source, over,
                    s->table ? "strain or a column of numbers" : "strain or value");
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
    release_list(&s->states, &s->n_states);
    release_list(&s->specimens, &s->n_specimens);
    release_list(&s->settings, &s->n_settings);
    release_list(&s->known, &s->n_known);
    release_list(&s->texts, &s->n_texts);
    mro_notes_release(&s->warnings, &s->n_warnings);
    *s = (struct mro_compare_set){ 0 };
}

/* The text of a row, kept by the set. */
static const char *keep(struct mro_compare_set *s, const char *text)
{
    const size_t i = intern(&s->texts, &s->n_texts, text);
    return i == SIZE_MAX ? NULL : s->texts[i];
}

/* Gives the row its state and specimen; false when out of memory. */
static bool place_row(struct mro_compare_set *s, struct mro_set_row *r, const char *file, const char *state,
                      const char *kind, const char *specimen, const char *unit)
{
    r->file = keep(s, file);
    r->state = keep(s, state);
    r->kind = keep(s, kind);
    r->specimen = keep(s, specimen);
    r->unit = keep(s, unit);
    r->state_index = intern(&s->states, &s->n_states, state);
    r->specimen_index = specimen[0] ? intern(&s->specimens, &s->n_specimens, specimen) : MRO_COMPARE_NONE;
    return r->file && r->state && r->kind && r->specimen && r->unit && r->state_index != SIZE_MAX &&
           !(specimen[0] && r->specimen_index == SIZE_MAX);
}

/* -- a folder of results ------------------------------------------------------------------------- */

static enum mro_code take_result(struct mro_compare_set *s, const struct mro_session_row *from, const json_t *result,
                                 const char *const *keys, size_t n_keys, size_t room, struct mro_error *e)
{
    struct mro_set_row *r = &s->rows[s->n_rows];
    const size_t u = usual_of(from->verb);
    const char *unit = json_string_value(json_object_get(result, "unit"));
    const char *covariate = u < n_usual ? usual[u].covariate : NULL, *called = u < n_usual ? usual[u].called : NULL;
    char *settings = settings_of(result, from->kind);
    *r = (struct mro_set_row){ .strain = from->strain,
                               .value = mro_parse_number(from->value, strlen(from->value)),
                               .thickness_nm = from->thickness_nm };
    r->setting = settings ? intern(&s->settings, &s->n_settings, settings) : SIZE_MAX;
    free(settings);
    if (r->setting == SIZE_MAX ||
        !place_row(s, r, from->file, from->state, from->kind, from->specimen, unit ? unit : ""))
        return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    const size_t row = s->n_rows++;
    note_known(s, result, "");
    for (size_t k = 0; k < n_keys; k++)
        MRO_TRY(take_keys(s, row, from->verb, keys[k], result, covariate, called, room, e));
    if (n_keys > 0 || u == n_usual) return MRO_OK;
    for (size_t k = 0; k < sizeof usual[u].keys / sizeof *usual[u].keys && usual[u].keys[k]; k++)
        MRO_TRY(take_keys(s, row, from->verb, usual[u].keys[k], result, covariate, called, room, e));
    if (same(from->verb, "mro") && r->thickness_nm > 0)
        MRO_TRY(take_keys(s, row, from->verb, "fraction_per_nm", result, covariate, called, room, e));
    return MRO_OK;
}

/* -- one place with several settings ---------------------------------------------------------------- */

static const char parts[] = "/\\_-. ";

static bool has_word(const char *name, const char *word, size_t n)
{
    for (const char *p = name; *p;) {
        const size_t k = strcspn(p, parts);
        if (k == n && memcmp(p, word, n) == 0) return true;
        p += k + (p[k] != '\0');
    }
    return false;
}

/* Is this word in all names of one setting and in none of the others of its kind? */
static bool tells_setting(const struct mro_compare_set *s, const struct mro_set_row *r, const char *word, size_t n)
{
    bool elsewhere = false;
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct mro_set_row *o = &s->rows[i];
        if (!same(o->kind, r->kind)) continue;
        if (has_word(o->file, word, n) != (o->setting == r->setting)) return false;
        elsewhere |= o->setting != r->setting;
    }
    return elsewhere;
}

/* The name without those words; free() it. */
static char *place_of(const struct mro_compare_set *s, const struct mro_set_row *r)
{
    char *place = malloc(strlen(r->file) + strlen(r->kind) + 2), *out = place;
    if (place == NULL) return NULL;
    out += sprintf(out, "%s/", r->kind);
    for (const char *p = r->file; *p;) {
        const size_t n = strcspn(p, parts), step = n + (p[n] != '\0');
        if (!tells_setting(s, r, p, n)) {
            memcpy(out, p, step);
            out += step;
        }
        p += step;
    }
    *out = '\0';
    return place;
}

static enum mro_code join_places(struct mro_compare_set *s, struct mro_error *e)
{
    char **place = calloc(s->n_rows + 1, sizeof *place);
    size_t pairs = 0, first[2] = { 0 };
    bool unique = true;
    enum mro_code rc = MRO_OK;
    if (place == NULL) return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    for (size_t i = 0; i < s->n_rows && rc == MRO_OK; i++) {
        place[i] = place_of(s, &s->rows[i]);
        if (place[i] == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    }
    for (size_t i = 0; i < s->n_rows && rc == MRO_OK; i++)
        for (size_t k = 0; k < i; k++) {
            const struct mro_set_row *a = &s->rows[k], *b = &s->rows[i];
            if (!same(place[i], place[k]) || !same(a->state, b->state) || a->specimen[0] || b->specimen[0]) continue;
            unique &= a->setting != b->setting;
            if (a->setting != b->setting && pairs++ == 0) first[0] = k, first[1] = i;
        }
    if (rc == MRO_OK && pairs > 0 && unique) {
        for (size_t i = 0; i < s->n_rows && rc == MRO_OK; i++) {
            if (s->rows[i].specimen[0]) continue;
            s->rows[i].specimen_index = intern(&s->specimens, &s->n_specimens, place[i]);
            if (s->rows[i].specimen_index == SIZE_MAX) rc = MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
        }
        mro_warn(s,
                 "'%.100s' and '%.100s' are named like one place with two settings, and so are others: each place is "
                 "taken as one specimen. If they are different places, name their specimens in the manifest",
                 s->rows[first[0]].file, s->rows[first[1]].file);
    }
    for (size_t i = 0; i < s->n_rows; i++) free(place[i]);
    free(place);
    return rc;
}

/* -- copies ------------------------------------------------------------------------------------------ */

/* What two rows share that hold one and the same picture: its bytes, frames and how they were measured. free() it; NULL
 * when that is not known. */
static char *picture_of(const struct mro_session_row *from, const json_t *result)
{
    const json_t *p = json_object_get(result, "provenance"), *sum = json_object_get(p, "input_sha256");
    if (!json_is_string(sum) || same(from->kind, "eds-map")) return NULL; /* a field is made of several files */
    char *settings = settings_of(result, from->kind), *text = NULL;
    json_t *v = json_pack("{s:O,s:s,s:O*,s:O*,s:O*,s:O*}", "sum", sum, "settings", settings, "image",
                          json_object_get(result, "image"), "frame", json_object_get(result, "frame"), "pixel",
                          json_object_get(result, "pixel_nm"), "frames", find(p, "options.frames"));
    if (v && settings) text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(v);
    free(settings);
    return text;
}

/* Says that row `i` is a copy of row `first`. */
static void tell_copy(struct mro_compare_set *s, const struct mro_session *session, size_t first, size_t i)
{
    const struct mro_session_row *a = &session->rows[first], *b = &session->rows[i];
    if (same(a->state, b->state))
        mro_warn(s, "left out: row %zu, '%s', is a copy of row %zu, '%s', and no second image", b->row, b->file, a->row,
                 a->file);
    else
        mro_warn(
            s,
            "left out: row %zu, '%s' of state '%s', is a copy of row %zu, '%s' of state '%s': correct the table of "
            "the session",
            b->row, b->file, b->state, a->row, a->file, a->state);
}

enum mro_code mro_compare_set_session(struct mro_compare_set *s, const char *folder, const char *const *keys,
                                      size_t n_keys, struct mro_error *e)
{
    struct mro_session session;
    size_t left_out = 0, stateless = 0, n_pictures = 0, *picture_row = NULL;
    char **pictures = NULL;
    *s = (struct mro_compare_set){ .strain_unit = "%" };
    MRO_TRY(mro_session_open(&session, folder, e));
    enum mro_code rc = MRO_OK;
    s->source = strdup(folder);
    s->value_name = strdup(session.value_name);
    s->value_unit = strdup(session.value_unit);
    s->rows = calloc(session.n_rows + 1, sizeof *s->rows);
    picture_row = calloc(session.n_rows + 1, sizeof *picture_row);
    if (!s->source || !s->value_name || !s->value_unit || !s->rows || !picture_row)
        rc = MRO_FAIL(e, MRO_EMEMORY, no_memory, folder);
    for (size_t i = 0; i < session.n_warnings; i++) mro_warn(s, "%s", session.warnings[i]);
    for (size_t i = 0; i < session.n_rows && rc == MRO_OK; i++) {
        struct mro_error why;
        json_t *result;
        const size_t first = session.rows[i].first_of_item;
        if (first != i) { /* maps that one result was made of, or a copy that is named alike */
            if (!same(session.rows[i].kind, "eds-map") && left_out++ < MAX_LEFT_OUT) tell_copy(s, &session, first, i);
            continue;
        }
        if (session.rows[i].state[0] == '\0') {
            stateless++;
            continue;
        }
        rc = mro_session_result(&session, i, &result, NULL, &why);
        if (rc == MRO_EMEMORY) {
            if (e) *e = why;
            break;
        }
        if (rc) {
            if (left_out++ < MAX_LEFT_OUT) mro_warn(s, "left out: %s", why.message);
            rc = MRO_OK;
            continue;
        }
        char *picture = picture_of(&session.rows[i], result);
        const size_t before = n_pictures, at = picture ? intern(&pictures, &n_pictures, picture) : SIZE_MAX;
        free(picture);
        if (at < before) {
            if (left_out++ < MAX_LEFT_OUT) tell_copy(s, &session, picture_row[at], i);
        } else {
            if (at != SIZE_MAX) picture_row[at] = i;
            rc = take_result(s, &session.rows[i], result, keys, n_keys, session.n_rows, e);
        }
        json_decref(result);
    }
    release_list(&pictures, &n_pictures);
    free(picture_row);
    if (left_out > MAX_LEFT_OUT)
        mro_warn(s, "%zu more rows without a result of their own are left out", left_out - MAX_LEFT_OUT);
    if (stateless) mro_warn(s, "%zu row%s without a state left out", stateless, stateless > 1 ? "s are" : " is");
    if (rc == MRO_OK && s->n_rows == 0)
        rc = MRO_FAIL(e, MRO_EDATA, "'%s' holds no result of an image with a state (%zu rows)%s%s", folder,
                      session.n_rows, s->n_warnings ? ": " : "", s->n_warnings ? s->warnings[0] : "");
    if (rc == MRO_OK) rc = join_places(s, e);
    take_strain(s);
    mro_session_release(&session);
    if (rc) mro_compare_set_release(s);
    return rc;
}

/* -- a table ------------------------------------------------------------------------------------- */

enum role { SKIPPED, STATE, STRAIN, VALUE, THICKNESS, SPECIMEN, FILE_NAME, SETTING, DOSE, METRIC, LOW, HIGH };

struct column {
    enum role role;
    char name[100], unit[40]; /* of a metric: the header without, and the unit in, its brackets */
    double factor;
    size_t metric, numbers, others;
};

/* Takes "name (unit)" apart. A column "value: temperature (K)" is what a series is measured over, as in a session; one
 * "value" is as good a name of a metric. */
static void read_header(struct mro_cell c, struct column *k)
{
    size_t n = c.n, at = 0;
    if (n > 6 && strncasecmp(c.p, "value:", 6) == 0) k->role = VALUE;
    if (n && (c.p[n - 1] == ')' || c.p[n - 1] == ']')) {
        const char open = c.p[n - 1] == ')' ? '(' : '[';
        for (at = n - 1; at > 0 && c.p[at] != open; at--) continue;
        if (at > 0) {
            mro_text_copy(c.p + at + 1, n - at - 2, k->unit, sizeof k->unit);
            n = at;
        }
    }
    while (n && isspace((unsigned char)c.p[n - 1])) n--;
    mro_text_copy(c.p, n, k->name, sizeof k->name);
}

static bool is_named(const struct column *k, const char *const *names)
{
    for (; *names; names++) {
        size_t i = 0;
        while (k->name[i] && tolower((unsigned char)k->name[i]) == (*names)[i]) i++;
        if (k->name[i] == '\0' && (*names)[i] == '\0') return true;
    }
    return false;
}

static enum mro_code understand(struct mro_compare_set *s, struct column *k, struct mro_error *e)
{
    static const char
        *const state[] = { "state", NULL },
               *const strain[] = { "strain", NULL }, *const specimen[] = { "specimen", "lamella", "foil", NULL },
               *const file[] = { "file", "image", "name", NULL }, *const setting[] = { "block",    "kv",      "cs",
                                                                                       "cs_mm",    "optics",  "setting",
                                                                                       "settings", "session", "lens",
                                                                                       NULL },
               *const thickness[] = { "thickness", "thickness_nm", NULL }, *const dose[] = { "dose", NULL };
    k->factor = 1;
    if (is_named(k, state)) k->role = STATE;
    if (is_named(k, strain)) k->role = STRAIN;
    if (is_named(k, specimen)) k->role = SPECIMEN;
    if (is_named(k, file)) k->role = FILE_NAME;
    if (is_named(k, setting)) k->role = SETTING;
    if (is_named(k, dose)) k->role = DOSE;
    if (is_named(k, thickness)) {
        k->role = THICKNESS;
        if (k->unit[0] && mro_unit_parse(k->unit, &k->factor) != MRO_UNIT_NM)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': the unit '%s' of the thickness is no length; write nm", s->source,
                            k->unit);
    }
    if (k->role != SKIPPED || k->name[0] == '\0') return MRO_OK;
    k->role = ends_with(k->name, "_ci95_low") ? LOW : ends_with(k->name, "_ci95_high") ? HIGH : METRIC;
    if (k->role != METRIC) k->name[strlen(k->name) - strlen(k->role == LOW ? "_ci95_low" : "_ci95_high")] = '\0';
    return MRO_OK;
}

static bool is_missing(struct mro_cell c)
{
    static const char *const words[] = { "-", "n/a", "na", "nan", "null", "none", "?" };
    char text[8] = "";
    if (c.n == 0) return true;
    if (c.n >= sizeof text) return false;
    for (size_t i = 0; i < c.n; i++) text[i] = (char)tolower((unsigned char)c.p[i]);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (same(text, words[i])) return true;
    return false;
}

struct table {
    struct mro_lines in;
    char separator;
    struct column column[MAX_COLUMNS];
    size_t columns, state;
    size_t begin_at, begin_line; /* where the rows begin */
    size_t rows;
};

static enum mro_code take_value_head(struct mro_compare_set *s, struct mro_cell c, struct mro_error *e)
{
    struct mro_value_head h;
    char cell[128];
    mro_text_copy(c.p, c.n, cell, sizeof cell);
    mro_value_head_parse(&h, cell);
    free(s->value_name);
    free(s->value_unit);
    s->value_name = strdup(h.name);
    s->value_unit = strdup(h.unit);
    if (s->value_name && s->value_unit) return MRO_OK;
    return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", s->source);
}

static enum mro_code read_headers(struct mro_compare_set *s, struct table *t, struct mro_error *e)
{
    static const char separators[] = "\t;,";
    struct mro_cell line = { 0 }, c[MAX_COLUMNS];
    t->state = SIZE_MAX;
    while (line.n == 0)
        if (!mro_lines_next(&t->in, &line)) return MRO_FAIL(e, MRO_EFORMAT, "'%s' is empty", s->source);
    for (const char *sep = separators; *sep && t->state == SIZE_MAX; sep++) {
        const size_t n = mro_cells(line, *sep, c, MAX_COLUMNS);
        if (n > MAX_COLUMNS)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' has %zu columns; %d can be", s->source, n, MAX_COLUMNS);
        memset(t->column, 0, sizeof t->column);
        t->separator = *sep;
        t->columns = n;
        for (size_t i = 0; i < n; i++) {
            read_header(c[i], &t->column[i]);
            MRO_TRY(understand(s, &t->column[i], e));
            if (t->column[i].role == STATE) t->state = i;
            if (t->column[i].role == VALUE) MRO_TRY(take_value_head(s, c[i], e));
            if (t->column[i].role == STRAIN && (s->strain_unit = keep(s, t->column[i].unit)) == NULL)
                return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
        }
    }
    t->begin_at = t->in.at;
    t->begin_line = t->in.line;
    if (t->state != SIZE_MAX) return MRO_OK;
    return MRO_FAIL(e, MRO_EFORMAT,
                    "'%s' has no column 'state' in its first line; it needs state, and a column of numbers", s->source);
}

/* First pass: how many rows, and which columns hold numbers. */
static enum mro_code count_cells(struct mro_compare_set *s, struct table *t, struct mro_error *e)
{
    struct mro_cell line, c[MAX_COLUMNS];
    double v;
    while (mro_lines_next(&t->in, &line)) {
        const size_t n = mro_cells(line, t->separator, c, MAX_COLUMNS);
        size_t filled = 0;
        for (size_t i = 0; i < n && i < MAX_COLUMNS; i++) filled += c[i].n > 0;
        if (filled == 0) continue;
        if (n != t->columns)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has %zu cells, the header %zu", s->source, t->in.line, n,
                            t->columns);
        for (size_t i = 0; i < n; i++) {
            if (mro_cell_number(c[i], &v))
                t->column[i].numbers++;
            else
                t->column[i].others += !is_missing(c[i]);
        }
        t->rows++;
    }
    t->in.at = t->begin_at;
    t->in.line = t->begin_line;
    return t->rows ? MRO_OK : MRO_FAIL(e, MRO_EDATA, "'%s' has a header and no rows below it", s->source);
}

static bool is_wanted(const struct column *k, const char *const *keys, size_t n_keys)
{
    char whole[160];
    snprintf(whole, sizeof whole, "%s (%s)", k->name, k->unit);
    for (size_t i = 0; i < n_keys; i++)
        if (same(keys[i], k->name) || same(keys[i], whole)) return true;
    return n_keys == 0;
}

static enum mro_code make_columns(struct mro_compare_set *s, struct table *t, const char *const *keys, size_t n_keys,
                                  struct mro_error *e)
{
    char left_out[200] = "";
    for (size_t i = 0; i < t->columns; i++) {
        struct column *k = &t->column[i];
        if (k->role != METRIC) continue;
        if (k->numbers == 0) {
            const size_t used = strlen(left_out);
            snprintf(left_out + used, sizeof left_out - used, "%s'%s'", used ? ", " : "", k->name);
            k->role = SKIPPED;
            continue;
        }
        intern(&s->known, &s->n_known, k->name);
        if (!is_wanted(k, keys, n_keys)) {
            k->role = SKIPPED;
            continue;
        }
        for (size_t j = 0; j < s->n_metrics; j++)
            if (same(s->metrics[j].key, k->name))
                return MRO_FAIL(e, MRO_EFORMAT, "'%s' has two columns '%s'", s->source, k->name);
        const char *unit = k->unit[0] ? k->unit : unit_of(k->name);
        if (metric_of(s, "", k->name, unit, t->rows) == NULL) return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
        k->metric = s->n_metrics - 1;
    }
    for (size_t i = 0; i < t->columns; i++) {
        struct column *k = &t->column[i];
        if (k->role != LOW && k->role != HIGH) continue;
        size_t j = 0;
        while (j < s->n_metrics && !same(s->metrics[j].key, k->name)) j++;
        k->metric = j;
        if (j == s->n_metrics) k->role = SKIPPED;
    }
    if (left_out[0]) mro_warn(s, "columns without numbers are left out: %s", left_out);
    return MRO_OK;
}

static enum mro_code number_in(const struct mro_compare_set *s, const struct table *t, const struct column *k,
                               struct mro_cell c, double *v, struct mro_error *e)
{
    char text[40];
    *v = NAN;
    if (is_missing(c) || mro_cell_number(c, v)) return MRO_OK;
    mro_text_copy(c.p, c.n, text, sizeof text);
    return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu, column '%s' holds '%s', which is no number", s->source, t->in.line,
                    k->name, text);
}

static enum mro_code take_line(struct mro_compare_set *s, struct table *t, const struct mro_cell *c,
                               struct mro_error *e)
{
    const size_t row = s->n_rows;
    struct mro_set_row *r = &s->rows[row];
    char state[200], specimen[200] = "", file[400] = "", setting[400] = "{";
    double v, dose = NAN;
    *r = (struct mro_set_row){ .strain = NAN, .value = NAN, .thickness_nm = NAN };
    mro_text_copy(c[t->state].p, c[t->state].n, state, sizeof state);
    if (state[0] == '\0') return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has no state", s->source, t->in.line);
    for (size_t i = 0; i < t->columns; i++) {
        const struct column *k = &t->column[i];
        const size_t used = strlen(setting);
        switch (k->role) {
        case STRAIN: MRO_TRY(number_in(s, t, k, c[i], &r->strain, e)); break;
        case VALUE: MRO_TRY(number_in(s, t, k, c[i], &r->value, e)); break;
        case THICKNESS:
            MRO_TRY(number_in(s, t, k, c[i], &v, e));
            if (v <= 0)
                return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has a thickness of %g", s->source, t->in.line, v);
            r->thickness_nm = v * k->factor;
            break;
        case DOSE: MRO_TRY(number_in(s, t, k, c[i], &dose, e)); break;
        case SPECIMEN: mro_text_copy(c[i].p, c[i].n, specimen, sizeof specimen); break;
        case FILE_NAME: mro_text_copy(c[i].p, c[i].n, file, sizeof file); break;
        case SETTING: { /* as JSON, like the options of a result */
            char text[100], name[110];
            mro_text_copy(c[i].p, c[i].n, text, sizeof text);
            snprintf(name, sizeof name, "%s", k->name);
            json_t *pair = json_pack("{s:s}", name, text);
            char *dump = pair ? json_dumps(pair, JSON_COMPACT) : NULL;
            if (dump) {
                dump[strlen(dump) - 1] = '\0';
                snprintf(setting + used, sizeof setting - used, "%s%s", used > 1 ? "," : "", dump + 1);
            }
            free(dump);
            json_decref(pair);
            break;
        }
        case METRIC:
            MRO_TRY(number_in(s, t, k, c[i], &v, e));
            s->metrics[k->metric].value[row] = v;
            s->metrics[k->metric].n += isfinite(v);
            s->metrics[k->metric].found++;
            break;
        case LOW:
        case HIGH:
            MRO_TRY(number_in(s, t, k, c[i], &v, e));
            s->metrics[k->metric].ci95[row][k->role == HIGH] = v;
            break;
        default: break;
        }
    }
    const size_t used = strlen(setting);
    if (used + 2 > sizeof setting)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': line %zu has settings too long to tell apart", s->source, t->in.line);
    memcpy(setting + used, "}", 2);
    r->setting = intern(&s->settings, &s->n_settings, setting);
    if (file[0] == '\0') snprintf(file, sizeof file, "line %zu", t->in.line);
    if (r->setting == SIZE_MAX || !place_row(s, r, file, state, "", specimen, ""))
        return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    for (size_t k = 0; k < s->n_metrics; k++)
        if (!add_covariate(&s->metrics[k], row, "thickness (nm)", r->thickness_nm, t->rows) ||
            !add_covariate(&s->metrics[k], row, "dose", dose > 0 ? dose : NAN, t->rows))
            return MRO_FAIL(e, MRO_EMEMORY, no_memory, s->source);
    s->n_rows++;
    return MRO_OK;
}

enum mro_code mro_compare_set_table(struct mro_compare_set *s, const char *path, const char *const *keys, size_t n_keys,
                                    struct mro_error *e)
{
    struct mro_bytes b;
    *s = (struct mro_compare_set){ .table = true };
    MRO_TRY(mro_bytes_map(&b, path, e));
    struct table *t = calloc(1, sizeof *t);
    s->source = strdup(path);
    enum mro_code rc = MRO_OK;
    if (t == NULL || s->source == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, no_memory, path);
    if (rc == MRO_OK)
        rc = mro_lines_decode(&t->in, b.size ? (const void *)b.p : "", b.size, path,
                              "; give the folder of results of 'mroscope batch', or a table with a column 'state'", e);
    if (rc == MRO_OK) rc = read_headers(s, t, e);
    if (rc == MRO_OK) rc = count_cells(s, t, e);
    if (rc == MRO_OK) rc = make_columns(s, t, keys, n_keys, e);
    if (rc == MRO_OK) {
        s->rows = calloc(t->rows + 1, sizeof *s->rows);
        if (s->rows == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, no_memory, path);
    }
    struct mro_cell line, c[MAX_COLUMNS];
    while (rc == MRO_OK && s->n_rows < t->rows && mro_lines_next(&t->in, &line)) {
        size_t filled = 0;
        const size_t n = mro_cells(line, t->separator, c, MAX_COLUMNS);
        for (size_t i = 0; i < n && i < MAX_COLUMNS; i++) filled += c[i].n > 0;
        if (filled) rc = take_line(s, t, c, e);
    }
    take_strain(s);
    if (t) mro_lines_release(&t->in);
    free(t);
    mro_bytes_unmap(&b);
    if (rc) mro_compare_set_release(s);
    return rc;
}

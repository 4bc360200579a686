/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers to compare from the folder of results of a batch. */
#include <ctype.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "core/notes.h"
#include "io/compare_build.h"
#include "io/session.h"
#include "io/text.h"

#define MAX_LEFT_OUT 10 /* sentences about rows without a result */
#define MAX_KNOWN 400   /* numbers of a result that are offered when a metric is not found */
#define Z975 1.959963984540054

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
    { "shearband", { "bands.deepest.width_nm", "bands.deepest.depth" }, NULL, NULL },
    { "indent", { "mean", "sd" }, NULL, NULL },
};
enum { n_usual = sizeof usual / sizeof *usual };

static size_t usual_of(const char *verb)
{
    size_t i = 0;
    while (i < n_usual && !mro_set_same(usual[i].verb, verb)) i++;
    return i;
}

/* -- paths in results ---------------------------------------------------------------------------- */

/* The first name of a dotted path, and what follows its dot (NULL: nothing). False when it is longer than any key. */
static bool first_name(const char *path, char name[80], const char **rest)
{
    const size_t n = strcspn(path, ".");
    if (n >= 80) return false;
    memcpy(name, path, n);
    name[n] = '\0';
    *rest = path[n] ? path + n + 1 : NULL;
    return true;
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
        gsl_sort(v, 1, k);
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
        const char *rest;
        if (!first_name(path, name, &rest)) return false;
        if (json_is_array(v)) {
            char *end;
            const unsigned long i = strtoul(name, &end, 10);
            if (mro_set_same(name, "count") && rest == NULL) {
                *number = (double)json_array_size(v);
                return true;
            }
            if (mro_set_same(name, "deepest") && rest) {
                if (json_array_size(v) && json_object_get(json_array_get(v, 0), "depth") == NULL) return false;
                v = mro_session_deepest(v);
                if (v == NULL) return true; /* some images have no band */
                path = rest;
                continue;
            }
            if ((mro_set_same(name, "mean") || mro_set_same(name, "median")) && rest)
                return reduce(v, mro_set_same(name, "median"), rest, number);
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
        const char *rest;
        if (!first_name(path, name, &rest)) return NULL;
        if (!json_is_array(v))
            v = json_object_get(v, name);
        else if (mro_set_same(name, "deepest"))
            v = mro_session_deepest(v);
        else /* of a count, mean or median there is no one place */
            v = isdigit((unsigned char)name[0]) ? json_array_get(v, strtoul(name, NULL, 10)) : NULL;
        if (rest == NULL) return v;
        path = rest;
    }
    return NULL;
}

/* The interval of the number at `key`: KEY_ci95, or with the unit taken off the name (sd_true_at: sd_true_ci95), or
 * from its standard error. */
static void find_interval(const json_t *result, const char *key, double value, double ci95[2])
{
    char path[200];
    double se;
    ci95[0] = ci95[1] = NAN;
    for (int i = 0; i < 2; i++) {
        const int n = (int)(i ? mro_set_bare(key) : strlen(key));
        snprintf(path, sizeof path, "%.*s_ci95", n, key);
        const json_t *v = find(result, path);
        if (json_array_size(v) == 2 && json_is_number(json_array_get(v, 0)) && json_is_number(json_array_get(v, 1))) {
            ci95[0] = json_number_value(json_array_get(v, 0));
            ci95[1] = json_number_value(json_array_get(v, 1));
            return;
        }
        snprintf(path, sizeof path, "%.*s_se%s", n, key, key + n);
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
        mro_set_intern(&s->known, &s->n_known, path);
        if (!json_is_object(json_array_get(v, 0))) return;
        snprintf(path, sizeof path, "%s.0", prefix);
        note_known(s, json_array_get(v, 0), path);
        snprintf(path, sizeof path, "%s.mean", prefix);
        note_known(s, json_array_get(v, 0), path);
        snprintf(path, sizeof path, "%s.deepest", prefix);
        if (json_object_get(json_array_get(v, 0), "depth")) note_known(s, json_array_get(v, 0), path);
        return;
    }
    json_object_foreach((json_t *)v, key, child)
    {
        if (prefix[0] == '\0' &&
            (mro_set_same(key, "provenance") || mro_set_same(key, "frame") || mro_set_same(key, "image")))
            continue;
        snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? "." : "", key);
        if (json_is_number(child) || json_is_null(child)) mro_set_intern(&s->known, &s->n_known, path);
        if (json_is_object(child) || json_is_array(child)) note_known(s, child, path);
    }
}

/* Takes a key of a row's result into its column. */
static enum mro_code take_key(struct mro_compare_set *s, size_t row, const char *verb, const char *key,
                              const json_t *result, const char *covariate, const char *called, size_t room,
                              struct mro_error *e)
{
    const struct mro_set_row *r = &s->rows[row];
    double v, x;
    const bool per_thickness = mro_set_same(key, "fraction_per_nm") && mro_set_same(verb, "mro");
    if (!look_up(result, per_thickness ? "fraction" : key, &v)) return MRO_OK;
    struct mro_set_metric *m =
        mro_set_metric_of(s, r->kind, key, mro_set_unit_of(key)[0] ? mro_set_unit_of(key) : r->unit, room);
    if (m == NULL) return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
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
    if (!mro_set_add_covariate(m, row, "thickness (nm)", r->thickness_nm > 0 ? r->thickness_nm : NAN, room))
        return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
    if (covariate && look_up(result, covariate, &x) && !mro_set_add_covariate(m, row, called, x > 0 ? x : NAN, room))
        return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
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
    r->setting = settings ? mro_set_intern(&s->settings, &s->n_settings, settings) : SIZE_MAX;
    free(settings);
    if (r->setting == SIZE_MAX ||
        !mro_set_place_row(s, r, from->file, from->state, from->kind, from->specimen, unit ? unit : ""))
        return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
    const size_t row = s->n_rows++;
    note_known(s, result, "");
    for (size_t k = 0; k < n_keys; k++)
        MRO_TRY(take_keys(s, row, from->verb, keys[k], result, covariate, called, room, e));
    if (n_keys > 0 || u == n_usual) return MRO_OK;
    for (size_t k = 0; k < sizeof usual[u].keys / sizeof *usual[u].keys && usual[u].keys[k]; k++)
        MRO_TRY(take_keys(s, row, from->verb, usual[u].keys[k], result, covariate, called, room, e));
    if (mro_set_same(from->verb, "mro") && r->thickness_nm > 0)
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
        if (!mro_set_same(o->kind, r->kind)) continue;
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
    if (place == NULL) return MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
    for (size_t i = 0; i < s->n_rows && rc == MRO_OK; i++) {
        place[i] = place_of(s, &s->rows[i]);
        if (place[i] == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
    }
    for (size_t i = 0; i < s->n_rows && rc == MRO_OK; i++)
        for (size_t k = 0; k < i; k++) {
            const struct mro_set_row *a = &s->rows[k], *b = &s->rows[i];
            if (!mro_set_same(place[i], place[k]) || !mro_set_same(a->state, b->state) || a->specimen[0] ||
                b->specimen[0])
                continue;
            unique &= a->setting != b->setting;
            if (a->setting != b->setting && pairs++ == 0) first[0] = k, first[1] = i;
        }
    if (rc == MRO_OK && pairs > 0 && unique) {
        for (size_t i = 0; i < s->n_rows && rc == MRO_OK; i++) {
            if (s->rows[i].specimen[0]) continue;
            s->rows[i].specimen_index = mro_set_intern(&s->specimens, &s->n_specimens, place[i]);
            if (s->rows[i].specimen_index == SIZE_MAX) rc = MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, s->source);
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
    if (!json_is_string(sum) || mro_set_same(from->kind, "eds-map")) return NULL; /* a field is made of several files */
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
    if (mro_set_same(a->state, b->state))
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
        rc = MRO_FAIL(e, MRO_EMEMORY, MRO_SET_NO_MEMORY, folder);
    for (size_t i = 0; i < session.n_warnings; i++) mro_warn(s, "%s", session.warnings[i]);
    for (size_t i = 0; i < session.n_rows && rc == MRO_OK; i++) {
        struct mro_error why;
        json_t *result;
        const size_t first = session.rows[i].first_of_item;
        if (first != i) { /* maps that one result was made of, or a copy that is named alike */
            if (!mro_set_same(session.rows[i].kind, "eds-map") && left_out++ < MAX_LEFT_OUT)
                tell_copy(s, &session, first, i);
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
        const size_t before = n_pictures, at = picture ? mro_set_intern(&pictures, &n_pictures, picture) : SIZE_MAX;
        free(picture);
        if (at < before) {
            if (left_out++ < MAX_LEFT_OUT) tell_copy(s, &session, picture_row[at], i);
        } else {
            if (at != SIZE_MAX) picture_row[at] = i;
            rc = take_result(s, &session.rows[i], result, keys, n_keys, session.n_rows, e);
        }
        json_decref(result);
    }
    mro_set_release_texts(&pictures, &n_pictures);
    free(picture_row);
    if (left_out > MAX_LEFT_OUT)
        mro_warn(s, "%zu more rows without a result of their own are left out", left_out - MAX_LEFT_OUT);
    if (stateless) mro_warn(s, "%zu row%s without a state left out", stateless, stateless > 1 ? "s are" : " is");
    if (rc == MRO_OK && s->n_rows == 0)
        rc = MRO_FAIL(e, MRO_EDATA, "'%s' holds no result of an image with a state (%zu rows)%s%s", folder,
                      session.n_rows, s->n_warnings ? ": " : "", s->n_warnings ? s->warnings[0] : "");
    if (rc == MRO_OK) rc = join_places(s, e);
    mro_set_take_strain(s);
    mro_session_release(&session);
    if (rc) mro_compare_set_release(s);
    return rc;
}

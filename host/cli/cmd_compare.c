/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE /* asprintf */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/compare.h"
#include "core/inside.h"
#include "core/notes.h"
#include "io/reader.h"
#include "report/figure.h"

#define AT(field) offsetof(struct cli_compare, field)
static const struct cli_option compare_rows[] = {
    { "metric", 0, "KEY", "",
      "compare by this number, such as fraction, dark.count, elements.Fe.sd_true_at or shells.0.r_A; may be given "
      "several times (default: those each kind is usually compared by; of a table all columns)",
      CLI_LIST, AT(metric), true, 0, 0 },
    { "reference", 0, "STATE", "", "state that the others are divided by (default: the first)", CLI_STRING,
      AT(reference), true, 0, 0 },
    { "trend", 0, "STATES", "",
      "states the trend is taken over, such as A,B,C (default: all with a strain, or what `over` says)", CLI_STRING,
      AT(trend), true, 0, 0 },
    { "over", 0, "strain|value|COLUMN", "",
      "what the trend is over: the strain, the value of a session (temperature, dose), or a column of a table "
      "(default: "
      "strain where there is one, else value)",
      CLI_STRING, AT(over), true, 0, 0 },
    { "paired", 0, NULL, "",
      "a specimen with images in several states is one piece, measured in each: compare within it", CLI_FLAG,
      AT(options.paired), true, 0, 0 },
    { "ignore-settings", 0, NULL, "",
      "take images measured with different options or at different voltages as one, not as blocks", CLI_FLAG,
      AT(ignore_settings), true, 0, 0 },
    { "permutations", 0, "N", "", "drawn where there are more than 200 000 arrangements of the images", CLI_INT,
      AT(permutations), true, 999, 10000000 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(options.seed),
      false, 0, 0 },
};

static const char about[] =
    "Compares states by numbers of their images: means, ratios with 95 % intervals, exact permutation tests, the trend "
    "with strain, temperature or dose and where it bends, and what thickness and settings have to do with it. The unit "
    "is the image, or the specimen where "
    "there are several of them; never a cell or an object. From the results of 'mroscope batch', or from a table with "
    "a "
    "column 'state'.";
static const char notes[] =
    "A table has a header with state and, if known, strain, thickness_nm, specimen, file, dose and block (or\n"
    "kv, cs, optics, session: images that differ in it are compared within it). Every other column of numbers\n"
    "is a metric, but for those called as p values, standard errors and azimuths (p_value, NAME_se,\n"
    "NAME_azimuth_deg), and for intervals (NAME_ci95_lo, NAME_ci95_hi).\n\n"
    "Files written with -o DIR\n"
    "  NAME.compare.csv                        all states of all metrics\n"
    "  NAME.compare.images.csv                 the numbers of single images\n"
    "  NAME.KIND.METRIC.compare.json           one metric, and where it comes from\n"
    "  NAME.KIND.METRIC.compare.png .svg .pdf  the figure\n"
    "NAME is that of the folder or table.\n\n"
    "Examples\n"
    "  mroscope compare results\n"
    "  mroscope compare results --metric fraction --reference AQ -o comparison\n"
    "  mroscope compare hardness.csv --metric 'hardness (GPa)'";

static void one_release(struct cli_compared *m)
{
    free(m->image);
    free(m->row);
    free(m->file);
    free(m->specimen);
    free(m->stem);
    mro_compare_result_release(&m->result);
}

/* -- what is asked for ----------------------------------------------------------------------------- */

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static bool same_key(const struct mro_set_metric *m, const char *key)
{
    char whole[200], pattern[200];
    snprintf(whole, sizeof whole, "%s (%s)", m->key, m->unit);
    if (strcmp(m->key, key) == 0 || strcmp(whole, key) == 0) return true;
    const char *star = strstr(key, ".*.");
    if (star == NULL) return false;
    const size_t n = (size_t)(star - key) + 1;
    snprintf(pattern, sizeof pattern, "%s", star + 2);
    const size_t tail = strlen(pattern), length = strlen(m->key);
    return length > n + tail && strncmp(m->key, key, n) == 0 && strcmp(m->key + length - tail, pattern) == 0;
}

/* 0, or 2 after a sentence about a metric that no result knows. */
static int check_metrics(const struct cli_compare *s)
{
    const struct mro_compare_set *set = &s->set;
    for (size_t i = 0; i < s->metric.n; i++) {
        const char *key = s->metric.v[i], *near = NULL;
        bool found = false;
        for (size_t k = 0; k < set->n_metrics; k++)
            found |= set->metrics[k].found > 0 && same_key(&set->metrics[k], key);
        if (found) continue;
        near = cli_nearest(key, (const char *const *)set->known, set->n_known);
        for (size_t k = 0; k < set->n_known && near == NULL; k++)
            if (strcmp(last_part(set->known[k]), last_part(key)) == 0) near = set->known[k];
        for (size_t k = 0; k < set->n_known && near == NULL; k++)
            if (cli_nearest(last_part(key), (const char *[]){ last_part(set->known[k]) }, 1)) near = set->known[k];
        if (near)
            cli_say(MRO_EARG, "'%s' has no metric '%s'; did you mean '%s'?", set->source, key, near);
        else {
            char more[40] = "";
            if (set->n_known > 3) snprintf(more, sizeof more, " and %zu more", set->n_known - 3);
            cli_say(MRO_EARG, "'%s' has no metric '%s'; it has %s%s%s%s%s%s", set->source, key,
                    set->n_known ? set->known[0] : "none", set->n_known > 1 ? ", " : "",
                    set->n_known > 1 ? set->known[1] : "", set->n_known > 2 ? ", " : "",
                    set->n_known > 2 ? set->known[2] : "", more);
        }
        return 2;
    }
    return 0;
}

/* Index of a state, or SIZE_MAX after a sentence. */
static size_t state_of(const struct cli_compare *s, const char *option, const char *name)
{
    const char *const *states = (const char *const *)s->set.states;
    for (size_t k = 0; k < s->set.n_states; k++)
        if (strcmp(states[k], name) == 0) return k;
    const char *near = cli_nearest(name, states, s->set.n_states);
    char list[300] = "";
    for (size_t k = 0; k < s->set.n_states && strlen(list) < 200; k++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%.60s", k ? ", " : "", states[k]);
    cli_say(MRO_EARG, "%s: '%s' has no state '%s'; %s%s%sit has %s", option, s->set.source, name,
            near ? "did you mean '" : "", near ? near : "", near ? "'? " : "", list);
    return SIZE_MAX;
}

static int check_states(struct cli_compare *s)
{
    if (s->reference) {
        s->options.reference = state_of(s, "`reference`", s->reference);
        if (s->options.reference == SIZE_MAX) return 2;
    }
    if (s->trend == NULL) return 0;
    s->in_trend = calloc(s->set.n_states + 1, sizeof *s->in_trend);
    for (const char *p = s->trend; s->in_trend && *p;) {
        char name[200];
        const size_t n = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        const size_t k = state_of(s, "`trend`", name);
        if (k == SIZE_MAX) return 2;
        s->in_trend[k] = true;
        p += n + (p[n] == ',');
    }
    s->options.in_trend = s->in_trend;
    return 0;
}

/* -- one metric ------------------------------------------------------------------------------------ */

/* How many states have a value; `first` is the first of them. */
static size_t count_states(const struct cli_compare *s, const struct cli_compared *m, size_t *first)
{
    size_t n = 0;
    *first = SIZE_MAX;
    for (size_t k = 0; k < s->set.n_states; k++) {
        bool there = false;
        for (size_t i = 0; i < m->data.n && !there; i++) there = m->data.image[i].state == k;
        if (there && n++ == 0) *first = k;
    }
    return n;
}

/* One state alone may be a series: then there is its trend. */
static bool is_series(const struct mro_compare_data *d)
{
    bool more = false;
    double first = NAN;
    for (size_t i = 0; i < d->n; i++) {
        const double x = d->image[i].x;
        more |= isfinite(x) && isfinite(first) && x != first;
        if (isnan(first)) first = x;
    }
    return more;
}

/* Why a metric cannot be compared, but for its name, which belongs behind it: many have the same reason. */
struct reason {
    char text[240];
};

static enum mro_code compare_one(struct cli_compare *s, struct cli_compared *m, struct reason *reason,
                                 struct mro_error *e)
{
    const struct mro_compare_set *set = &s->set;
    struct mro_compare_options o = s->options;
    size_t first;
    const size_t room = set->n_rows + 1;
    m->image = calloc(room, sizeof *m->image);
    m->row = calloc(room, sizeof *m->row);
    m->file = calloc(room, sizeof *m->file);
    m->specimen = calloc(room, sizeof *m->specimen);
    if (!m->image || !m->row || !m->file || !m->specimen)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': %zu images do not fit in memory", set->source, set->n_rows);
    mro_compare_set_data(set, m->metric, !s->ignore_settings, m->image, m->row, &m->data);
    for (size_t i = 0; i < m->data.n; i++) {
        m->file[i] = set->rows[m->row[i]].file;
        m->specimen[i] = set->rows[m->row[i]].specimen;
    }
    const struct mro_set_metric *metric = &set->metrics[m->metric];
    const size_t states = count_states(s, m, &first);
    bool reference_there = false;
    for (size_t i = 0; i < m->data.n; i++) reference_there |= m->data.image[i].state == o.reference;
    if (states == 0)
        snprintf(reason->text, sizeof reason->text, "no image has a value of");
    else if (states == 1 && !is_series(&m->data))
        snprintf(reason->text, sizeof reason->text, "one state only, '%.100s', has a value of", set->states[first]);
    else if (!reference_there && s->reference)
        snprintf(reason->text, sizeof reason->text, "no image of the reference '%.100s' has a value of", s->reference);
    if (reason->text[0]) return MRO_FAIL(e, MRO_EDATA, "'%s': %s %s", set->source, reason->text, metric->key);
    if (!reference_there) o.reference = first;
    mro_compare_set_differences(set, m->metric, m->settings, sizeof m->settings);
    MRO_TRY(mro_compare(&m->data, &o, &m->result, e));
    size_t missing = 0;
    for (size_t i = 0; i < set->n_rows; i++)
        missing += strcmp(set->rows[i].kind, metric->kind) == 0 && !isfinite(metric->value[i]);
    if (missing)
        mro_warn(&m->result, "%zu image%s without a value of %s left out", missing, missing > 1 ? "s" : "",
                 metric->key);
    if (m->settings[0] && s->ignore_settings)
        mro_warn(&m->result, "images differ in %s and are taken as alike, as `ignore_settings` says", m->settings);
    else if (m->settings[0])
        mro_warn(&m->result,
                 "images differ in %s: states are compared within equal settings, and means are brought to "
                 "common ones",
                 m->settings);
    if (o.paired && set->n_specimens == 0) mro_warn(&m->result, "`paired` does nothing: no specimen is named");
    m->report = (struct mro_compare_report){ .source = set->source,
                                             .kind = metric->kind,
                                             .metric = metric->key,
                                             .unit = metric->unit,
                                             .data = &m->data,
                                             .result = &m->result,
                                             .file = m->file,
                                             .specimen = m->specimen,
                                             .settings = s->ignore_settings ? "" : m->settings,
                                             .paired = o.paired };
    return MRO_OK;
}

/* -- all ------------------------------------------------------------------------------------------- */

static enum mro_code load(struct cli_compare *s, const char *path, struct mro_error *e)
{
    struct stat st;
    char *index = NULL;
    struct mro_bytes b;
    struct mro_hash_job *hash;
    const bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    MRO_TRY((folder ? mro_compare_set_session : mro_compare_set_table)(&s->set, path, s->metric.v, s->metric.n, e));
    if (folder && asprintf(&index, "%s/index.json", path) < 0)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its name", path);
    enum mro_code rc = mro_bytes_map(&b, folder ? index : path, e);
    free(index);
    if (rc) return rc;
    rc = mro_hash_start(&hash, -1, b.p, b.size, 0, e);
    if (rc == MRO_OK) rc = mro_hash_finish(hash, path, s->sha256, e);
    mro_bytes_unmap(&b);
    return rc;
}

struct outcome {
    enum mro_code code;
    struct reason reason;
    struct mro_error why;
};

/* Why the metric `i`, which was not asked for, is not compared, with all that are not for the same reason. */
static void tell_not_compared(struct cli_compare *s, struct outcome *outcome, size_t i)
{
    char names[400] = "";
    size_t used = 0, more = 0;
    if (outcome[i].reason.text[0] == '\0') {
        mro_warn(&s->set, "%s", outcome[i].why.message);
        return;
    }
    for (size_t k = i; k < s->set.n_metrics; k++) {
        const struct mro_set_metric *m = &s->set.metrics[k];
        if (strcmp(outcome[k].reason.text, outcome[i].reason.text) != 0) continue;
        if (used + strlen(m->kind) + strlen(m->key) + 4 < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s%s%s", used ? ", " : "", m->kind,
                                     m->kind[0] ? " " : "", m->key);
        else
            more++;
        if (k > i) outcome[k].reason.text[0] = outcome[k].why.message[0] = '\0'; /* told */
    }
    char others[40] = "";
    if (more) snprintf(others, sizeof others, " and %zu more", more);
    mro_warn(&s->set, "%s %s%s", outcome[i].reason.text, names, others);
}

/* Compares by every metric of the set. Metrics that were asked for and cannot be compared are told, and *told is set.
 * `none`: where it is said why there was nothing at all to compare. */
static enum mro_code compare_all(struct cli_compare *s, bool *told, char *none, size_t none_size, struct mro_error *e)
{
    struct cli_compared *ones = calloc(s->set.n_metrics + 1, sizeof *ones);
    struct mro_compare_result **results = calloc(s->set.n_metrics + 1, sizeof *results);
    struct outcome *outcome = calloc(s->set.n_metrics + 1, sizeof *outcome);
    char *base = cli_compare_base(s->set.source);
    size_t n = 0;
    enum mro_code rc = MRO_OK;
    none[0] = '\0';
    if (!ones || !results || !base || !outcome) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory left for the comparison");
        goto done;
    }
    /* Metrics do not depend on each other; what is told of them comes in their order. */
    const locale_t locale = uselocale((locale_t)0);
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < s->set.n_metrics; i++) {
        ones[i].metric = i;
        if (i == s->set.over_metric) continue;
        const locale_t before = uselocale(locale);
        outcome[i].code = compare_one(s, &ones[i], &outcome[i].reason, &outcome[i].why);
        uselocale(before);
    }
    for (size_t i = 0; i < s->set.n_metrics; i++) {
        if (i == s->set.over_metric) continue; /* what the others are over */
        if (outcome[i].code == MRO_OK) {
            if (n < i) {
                ones[n] = ones[i];
                ones[n].report.data = &ones[n].data; /* which it pointed to at its old place */
                ones[n].report.result = &ones[n].result;
                if (ones[n].report.settings[0]) ones[n].report.settings = ones[n].settings;
                memset(&ones[i], 0, sizeof ones[i]);
            }
            results[n] = &ones[n].result;
            n++;
            continue;
        }
        one_release(&ones[i]);
        memset(&ones[i], 0, sizeof ones[i]);
        if (outcome[i].code == MRO_EDATA && s->metric.n == 0) {
            if (outcome[i].why.message[0]) tell_not_compared(s, outcome, i); /* one of those that were not asked for */
        } else {
            cli_complain(&outcome[i].why);
            *told = true;
        }
    }
    if (n == 0) {
        const char *why = s->set.n_warnings ? s->set.warnings[s->set.n_warnings - 1] : NULL;
        if (s->set.table && s->set.n_metrics == 0)
            snprintf(none, none_size,
                     "'%s' has no column of numbers to compare; of a session, give the folder of results",
                     s->set.source);
        else
            snprintf(none, none_size, "'%s' has no number that is known for two states, or over a series%s%s",
                     s->set.source, why ? ": " : "", why ? why : "");
        goto done;
    }
    rc = mro_compare_holm(results, n, e);
    if (rc == MRO_OK) rc = cli_compare_name(s, ones, n, base, e);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) {
        rc = cli_compare_publish(s, &ones[i], e);
        if (rc || s->collect) continue;
        if (!s->common.json) cli_compare_print(&ones[i]);
        cli_warn(&s->common, ones[i].report.metric, (const char *const *)ones[i].result.warnings,
                 ones[i].result.n_warnings);
    }
    if (!s->collect) cli_warn(&s->common, s->set.source, (const char *const *)s->set.warnings, s->set.n_warnings);
    if (rc == MRO_OK && s->common.out) rc = cli_compare_tables(s, ones, n, base, e);
done:
    for (size_t i = 0; ones && i < s->set.n_metrics; i++) one_release(&ones[i]);
    free(ones);
    free(results);
    free(outcome);
    free(base);
    return rc;
}

static void compare_release(struct cli_compare *s)
{
    mro_compare_set_release(&s->set);
    free(s->in_trend);
    free(s->ids);
}

#define COMPARE_GROUPS(s)                                                                \
    {                                                                                    \
        { "Comparison", compare_rows, sizeof compare_rows / sizeof *compare_rows, (s) }, \
            { "Output", cli_output_options, cli_n_output_options, &(s)->common },        \
            { "Figures", cli_figure_options, cli_n_figure_options, &(s)->common },       \
    }

enum mro_code cli_compare_folder(const char *folder, const char *reference, const char *out, double figure_mm,
                                 json_t *list, struct mro_error *e)
{
    struct cli_compare s = {
        .permutations = 99999, .reference = reference, .collect = list, .common = { .out = out, .figure_mm = figure_mm }
    };
    mro_compare_options_default(&s.options);
    s.options.permutations = (size_t)s.permutations;
    const struct cli_group groups[] = COMPARE_GROUPS(&s);
    const struct cli_usage usage = { "compare", "RESULTS_DIR|TABLE.csv",       about, notes,
                                     groups,    sizeof groups / sizeof *groups };
    char *files[] = { (char *)(uintptr_t)folder };
    const struct cli_args args = { .files = files, .n = 1 };
    char none[1200];
    bool told = false;
    s.job = (struct cli_job){ .usage = &usage, .common = &s.common };
    s.ids = cli_identify(&args);
    enum mro_code rc = s.ids ? load(&s, folder, e) : MRO_FAIL(e, MRO_EMEMORY, "no memory left for the comparison");
    if (rc == MRO_OK) rc = mro_compare_set_over(&s.set, NULL, e);
    if (rc == MRO_OK && check_states(&s))
        rc = MRO_FAIL(e, MRO_EARG, "'%s' has no state '%s' to compare with", folder, reference);
    if (rc == MRO_OK) rc = compare_all(&s, &told, none, sizeof none, e);
    compare_release(&s);
    return rc;
}

int cmd_compare(int argc, char **argv)
{
    struct cli_compare s = { .permutations = 99999, .common.figure_mm = MRO_FIGURE_WIDTH };
    struct mro_error e;
    mro_compare_options_default(&s.options);
    const struct cli_group groups[] = COMPARE_GROUPS(&s);
    const struct cli_usage usage = { "compare", "RESULTS_DIR|TABLE.csv",       about, notes,
                                     groups,    sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0 && args.n != 1)
        rc = cli_wrong_usage("compare", "'compare' wants one folder of results or one table, not %zu", args.n);
    if (rc < 0) {
        s.options.permutations = (size_t)s.permutations;
        s.job = (struct cli_job){ .usage = &usage, .common = &s.common };
        s.ids = cli_identify(&args);
        rc = s.ids ? cli_prepare_outputs(&s.common, "compare.json", args.files, 1) : 1;
        if (rc == 0) {
            rc = load(&s, args.files[0], &e) == MRO_OK ? 0 : 1;
            if (rc) cli_complain(&e);
        }
        if (rc == 0 && mro_compare_set_over(&s.set, s.over, &e) != MRO_OK) {
            cli_complain(&e);
            rc = 2;
        }
        if (rc == 0) rc = check_metrics(&s);
        if (rc == 0) rc = check_states(&s);
        if (rc == 0) {
            char none[1200];
            bool told = false;
            rc = 0;
            if (compare_all(&s, &told, none, sizeof none, &e) != MRO_OK) {
                cli_complain(&e);
                rc = 1;
            } else if (told || none[0]) {
                if (!told) cli_say(MRO_EDATA, "%s", none);
                rc = 1;
            }
        }
    }
    cli_warn_end(&s.common);
    compare_release(&s);
    cli_args_release(&args);
    return rc;
}

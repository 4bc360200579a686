/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/verb.h"
#include "core/notes.h"
#include "io/reader.h"
#include "mroscope/indent.h"
#include "report/figure.h"

struct indent {
    struct cli_run run;
    struct mro_indent_options options;
    struct mro_indent_table_options table;
    const char *pitch, *reference;
    char reference_unit[24]; /* as its table says; "" = unknown */
    int bins;                /* enum mro_indent_edge, in the order of the option's words */
    struct cli_file_id *ids;
    size_t n_ids;
};

#define AT(field) offsetof(struct indent, field)
static const struct cli_option input_rows[] = {
    { "column", 0, "NAME", "", "header of the column that is measured (default: hardness, else modulus)", CLI_STRING,
      AT(table.column), true, 0, 0 },
    { "unit", 0, "UNIT", "", "unit of the values, where the table does not say it", CLI_STRING, AT(table.unit), true, 0,
      0 },
    { "pitch", 0, "LENGTH", "",
      "distance between indents of a table of rows and columns, such as 10um or 10um,20um (x, y)", CLI_STRING,
      AT(pitch), true, 0, 0 },
    { "negative", 0, NULL, "", "take values of 0 and below as they are", CLI_FLAG, AT(table.negative), true, 0, 0 },
};
static const struct cli_option measure_rows[] = {
    { "bins", 0, "none|x|y|right|bottom", "",
      "mean and FWHM against the distance from the left (x), top (y), right or bottom edge of the map", CLI_CHOICE,
      AT(bins), true, 0, 0 },
    { "noise", 0, "SD", "unit of the table", "standard deviation of repeated indents, that is taken out", CLI_DOUBLE,
      AT(options.noise_sd), true, 1e-12, 1e12 },
    { "reference", 0, "FILE", "", "table of indents on a uniform block (fused silica): their scatter is the noise",
      CLI_STRING, AT(reference), true, 0, 0 },
    { "permutations", 0, "N", "", "shuffled maps behind the p of Moran's I", CLI_INT, AT(options.permutations), true,
      199, 1000000 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(options.seed),
      false, 0, 0 },
};

static const struct cli_option run_rows[] = {
    { "threads", 0, "N", "", "processor threads, 0 = all cores; results do not depend on it", CLI_INT,
      AT(run.common.threads), false, 0, 4096 },
    { "memory", 0, "SIZE", "", "limit for image data; tables take next to none", CLI_SIZE, AT(run.common.memory), false,
      0, 0 },
};

static const char about[] =
    "Measures maps of hardness or modulus: mean and spread (standard deviation, FWHM by a Gaussian and by a kernel "
    "estimate) with 95 % intervals that know how alike neighbours are, whether the map has structure at all (Moran's "
    "I), "
    "and means and widths against the distance from an edge. From tables: rows and columns of values, or x, y, value "
    "with "
    "headers such as 'X (um)', 'Y (um)', 'H (GPa)'; empty cells are holes.";
static const char notes[] = "Files written with -o DIR, for each table\n"
                            "  NAME.indent.json            all numbers, and where they come from\n"
                            "  NAME.indent.places.csv      every place with its value and the mean of its neighbours\n"
                            "  NAME.indent.bins.csv        the bins, with --bins\n"
                            "  NAME.indent.png .svg .pdf   the figure\n\n"
                            "Examples\n"
                            "  mroscope indent --unit GPa --pitch 10um -o results hardness.csv\n"
                            "  mroscope indent --bins x --reference silica.csv -o results map.csv";

static void defaults(void *state)
{
    struct indent *s = state;
    mro_indent_options_default(&s->options);
    s->run.seed = &s->options.seed;
}

static int check(void *state)
{
    struct indent *s = state;
    struct mro_error e;
    s->options.edge = (enum mro_indent_edge)s->bins;
    if (s->options.noise_sd > 0 && s->reference)
        return cli_wrong_usage("indent", "`noise` and `reference` both say the noise; give one of them");
    if (s->options.noise_sd > 0) s->options.noise_source = "command line";
    if (s->pitch && mro_indent_pitch(s->pitch, s->table.pitch_nm, &e) != MRO_OK) return cli_refuse("indent", &e);
    return -1;
}

static enum mro_code read_table(const char *path, const struct mro_indent_table_options *o, struct mro_indent_table *t,
                                char sha256[65], struct mro_error *e)
{
    struct mro_bytes b;
    struct mro_hash_job *hash;
    MRO_TRY(mro_bytes_map(&b, path, e));
    enum mro_code rc = mro_indent_table(t, b.size ? (const void *)b.p : "", b.size, path, o, e);
    if (rc == MRO_OK) rc = mro_hash_start(&hash, -1, b.p, b.size, 0, e);
    if (rc == MRO_OK) rc = mro_hash_finish(hash, path, sha256, e);
    mro_bytes_unmap(&b);
    if (rc) mro_indent_table_release(t);
    return rc;
}

/* Noise from a table of indents on a uniform block. */
static enum mro_code read_reference(struct indent *s, struct mro_error *e)
{
    struct mro_indent_table t;
    char sha256[65];
    double mean = 0, square = 0;
    struct mro_indent_table_options o = s->table;
    o.pitch_nm[0] = o.pitch_nm[1] = 0;
    o.unit = NULL;
    MRO_TRY(read_table(s->reference, &o, &t, sha256, e));
    for (size_t i = 0; i < t.n; i++) mean += t.value[i] / (double)t.n;
    for (size_t i = 0; i < t.n; i++) square += (t.value[i] - mean) * (t.value[i] - mean);
    enum mro_code rc = MRO_OK;
    if (t.n < 5) rc = MRO_FAIL(e, MRO_EDATA, "'%s' has %zu indents; five at least tell their noise", s->reference, t.n);
    if (rc == MRO_OK && !(square > 0))
        rc = MRO_FAIL(e, MRO_EDATA, "the indents of '%s' are all equal, so that they tell no noise", s->reference);
    s->options.noise_sd = t.n > 1 ? sqrt(square / ((double)t.n - 1)) : 0;
    s->options.noise_dof = (double)t.n - 1;
    s->options.noise_source = "reference table";
    memcpy(s->reference_unit, t.unit, sizeof s->reference_unit);
    mro_indent_table_release(&t);
    return rc;
}

static void print_trend(const char *what, const struct mro_indent_trend *t, const char *unit, bool known)
{
    const double per = known ? 1e3 : 1;
    if (isfinite(t->slope))
        printf("  %s against distance: %.2g%s per %s (%.2g to %.2g), p %.2g\n", what, per * t->slope, unit,
               known ? "um" : "step", per * t->slope_ci95[0], per * t->slope_ci95[1], t->p);
}

static void print_result(const char *name, const struct mro_indent_result *r)
{
    char unit[sizeof r->unit + 1]; /* with the blank before it; nothing where it is unknown, which a warning says */
    snprintf(unit, sizeof unit, "%s%s", r->unit[0] ? " " : "", r->unit);
    mro_clean_text(unit);
    cli_put(stdout, "%s: %zu indent%s", name, r->n, r->n == 1 ? "" : "s");
    if (r->holes) printf(", %zu hole%s", r->holes, r->holes == 1 ? "" : "s");
    if (r->grid) printf(", grid of %zu x %zu", r->grid_nx, r->grid_ny);
    printf("\n  mean %.4g%s", r->mean, unit);
    if (isfinite(r->mean_ci95[0])) printf(" (%.4g to %.4g)", r->mean_ci95[0], r->mean_ci95[1]);
    if (isfinite(r->sd)) printf(", sd %.3g%s, FWHM %.3g%s", r->sd, unit, r->fwhm, unit);
    if (isfinite(r->fwhm_ci95[0])) printf(" (%.3g to %.3g)", r->fwhm_ci95[0], r->fwhm_ci95[1]);
    if (isfinite(r->fwhm_true)) printf(", without noise %.3g%s", r->fwhm_true, unit);
    printf("\n  %s\n", r->verdict);
    const bool known = mro_indent_length_known(r);
    if (r->edge) print_trend("mean", &r->mean_trend, unit, known);
    if (r->edge) print_trend("FWHM", &r->fwhm_trend, unit, known);
}

static enum mro_code publish(struct indent *s, struct cli_item *item, const struct mro_indent_result *r,
                             const char *sha256, struct mro_error *e)
{
    static const char *const calibrations[] = { "none", "unknown", "command line", "coordinates of the table" };
    struct mro_image_info info = { .axes = 2, .frames = 1, .stage_tilt_deg = { NAN, NAN } };
    struct mro_provenance provenance = { .algorithm = MRO_INDENT_ALGORITHM,
                                         .calibration = calibrations[r->source],
                                         .has_seed = true,
                                         .seed = s->options.seed };
    const bool known = r->grid && mro_indent_length_known(r);
    struct mro_result_head h = { .verb = "indent",
                                 .file = item->path,
                                 .info = &info,
                                 .pixel_nm = { known ? r->pitch[0] : NAN, known ? r->pitch[1] : NAN },
                                 .warnings = (const char *const *)r->warnings,
                                 .n_warnings = r->n_warnings,
                                 .provenance = &provenance };
    char *stem;
    cli_all_in_options(r->warnings, r->n_warnings);
    info.axis[0].size = r->grid ? r->grid_ny : r->places;
    info.axis[1].size = r->grid ? r->grid_nx : 1;
    memcpy(provenance.input_sha256, sha256, sizeof provenance.input_sha256);
    if (s->run.common.out) {
        MRO_TRY(cli_item_stem(item, s->run.common.out, false, false, e));
        MRO_TRY(cli_write_text(item, &s->run.job, ".places.csv", mro_csv_indent_places(r, e), e));
        if (r->edge) MRO_TRY(cli_write_text(item, &s->run.job, ".bins.csv", mro_csv_indent_bins(r, e), e));
        MRO_TRY(cli_figure_stem(item, &s->run.job, &stem, e));
        const enum mro_code rc = mro_figure_indent(stem, s->run.common.figure_mm, cli_short_name(item), r, e);
        free(stem);
        if (rc) return rc;
    }
    if ((h.options = cli_options_json(s->run.job.usage)) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->path);
    const enum mro_code rc = cli_emit(item, &s->run.job, mro_json_indent(&h, r, e), e);
    json_decref(h.options);
    if (rc) return rc;
    if (!s->run.common.json) print_result(item->path, r);
    cli_warn(&s->run.common, item->path, h.warnings, h.n_warnings);
    return MRO_OK;
}

static enum mro_code do_table(struct indent *s, const char *path, struct mro_error *e)
{
    struct mro_indent_table t = { 0 };
    struct mro_indent_result r = { 0 };
    struct cli_item item = { .path = path, .inputs = s->ids, .n_inputs = s->n_ids };
    char sha256[65];
    snprintf(item.name, sizeof item.name, "%s", path);
    enum mro_code rc = read_table(path, &s->table, &t, sha256, e);
    if (rc == MRO_OK && s->reference_unit[0] && t.unit[0] && strcmp(s->reference_unit, t.unit) != 0)
        rc = MRO_FAIL(e, MRO_EARG, "'%s' is in %s and '%s' in %s: noise needs the unit of the map", s->reference,
                      s->reference_unit, path, t.unit);
    if (rc == MRO_OK) rc = mro_indent_measure(&t, path, &s->options, &r, e);
    if (rc == MRO_OK) rc = publish(s, &item, &r, sha256, e);
    mro_indent_result_release(&r);
    mro_indent_table_release(&t);
    cli_item_release(&item, rc != MRO_OK);
    return rc;
}

static int walk(void *state)
{
    struct indent *s = state;
    const struct cli_args *files = &s->run.args;
    struct mro_error e;
    bool failed = false;
    const int rc = cli_prepare_outputs(&s->run.common, "indent.json", files->files, files->n);
    if (rc) return rc;
    if (s->reference && s->options.noise_sd == 0 && read_reference(s, &e) != MRO_OK) {
        cli_complain(&e);
        return 1;
    }
    /* Results never replace one of these. */
    if ((s->ids = cli_identify(files)) == NULL) return 1;
    s->n_ids = files->n;
    for (size_t i = 0; i < files->n; i++) {
        if (do_table(s, files->files[i], &e) == MRO_OK) continue;
        fflush(stdout);
        cli_complain(&e);
        failed = true;
    }
    free(s->ids);
    s->ids = NULL;
    return failed ? 1 : 0;
}

const struct cli_verb cli_verb_indent = {
    .name = "indent",
    .help = "how hard, how spread, and how structured a map of indents is",
    .operands = "FILE...",
    .about = about,
    .notes = notes,
    .algorithm = MRO_INDENT_ALGORITHM,
    .state_size = sizeof(struct indent),
    .own = { { "Input", input_rows, sizeof input_rows / sizeof *input_rows, 0 },
             { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, 0 },
             { "Computing", run_rows, sizeof run_rows / sizeof *run_rows, 0 } },
    .common = CLI_GROUP_OUTPUT,
    .defaults = defaults,
    .check = check,
    .walk = walk,
};

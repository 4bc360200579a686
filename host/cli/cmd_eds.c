/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "core/notes.h"
#include "io/reader.h"
#include "report/figure.h"

/* What the command line says beside the options of the measurement. */
struct eds {
    struct cli_common common;
    struct mro_eds_options options;
    struct cli_list map;
    const char *k, *unit, *elements, *line, *haadf, *mro;
    double width_nm;
    bool normalise, replicates, at_maps;
    struct cli_job job;
    struct cli_file_id *ids;
    size_t n_ids;
    bool failed;
};

#define AT(field) offsetof(struct eds, field)
static const struct cli_option input_rows[] = {
    { "map", 0, "ELEMENT=FILE", "", "count map of an element, once for each; or ELEMENT,ELEMENT,...=STACK", CLI_LIST,
      AT(map), true, 0, 0 },
    { "at-maps", 0, NULL, "", "the maps hold at.%, not counts", CLI_FLAG, AT(at_maps), true, 0, 0 },
    { "haadf", 0, "FILE", "", "HAADF image of the same field: composition of its bright and dark regions", CLI_STRING,
      AT(haadf), true, 0, 0 },
    { "mro", 0, "MASK", "", "mask of medium-range order of the same field (of 'mroscope mro'): its share in bright regions",
      CLI_STRING, AT(mro), true, 0, 0 },
    { "replicates", 0, NULL, "", "the files are repeats of one line (odd and even frames, single detectors)", CLI_FLAG,
      AT(replicates), true, 0, 0 },
    { "elements", 0, "LIST", "", "use these elements only, such as Fe,Co,Si,P (default: all)", CLI_STRING, AT(elements),
      true, 0, 0 },
    { "unit", 0, "at|wt|counts", "", "what the columns of a table hold whose headers do not say it", CLI_STRING, AT(unit),
      true, 0, 0 },
    { "normalise", 0, NULL, "", "take shares that do not add up to 100 as parts of what is there", CLI_FLAG,
      AT(normalise), true, 0, 0 },
    { "pixel", 0, "NM", "nm", "pixel size of all maps and images, or X,Y where it differs; wins over what the files say",
      CLI_PIXEL, AT(common.pixel_nm), true, 1e-4, 1e6 },
    { "resolution-tags", 0, NULL, "",
      "where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)",
      CLI_FLAG, AT(common.resolution_tags), true, 0, 0 },
};
static const struct cli_option measure_rows[] = {
    { "k", 0, "LIST", "", "Cliff-Lorimer factors on weight fractions, such as Fe=1,Si=0.9", CLI_STRING, AT(k), true, 0, 0 },
    { "line", 0, "X0,Y0,X1,Y1", "nm", "line over the maps, from the top-left corner (default: the diagonal)", CLI_STRING,
      AT(line), true, 0, 0 },
    { "width", 0, "NM", "nm", "width that is added up across the line (default: 5 pixels)", CLI_DOUBLE, AT(width_nm), true,
      1e-3, 1e6 },
    { "smooth", 0, "NM", "nm", "smoothing of the HAADF image before bright and dark are told apart, as sigma", CLI_DOUBLE,
      AT(options.smooth_nm), true, 0, 1000 },
    { "threshold", 0, "SD", "", "bright and dark begin so many standard deviations from the mean", CLI_DOUBLE,
      AT(options.threshold_sd), true, 0, 5 },
    { "draws", 0, "N", "", "lines of red noise, and permutations, at most", CLI_INT, AT(options.draws), true, 99, 100000 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(options.seed),
      false, 0, 0 },
};
static const struct cli_option run_rows[] = {
    { "threads", 0, "N", "", "processor threads, 0 = all cores; results do not depend on it", CLI_INT, AT(common.threads),
      false, 0, 4096 },
    { "memory", 0, "SIZE", "", "limit for image data, such as 4G (default: half of this machine's memory)", CLI_SIZE,
      AT(common.memory), false, 0, 0 },
};

static const char about[] =
    "Takes the counting noise out of composition profiles: how much each element really varies along a line, with a 95 % "
    "interval, whether the variation repeats, and which elements go together. From tables of counts and at.% (comma, "
    "semicolon or tab; Velox, AZtec, Bruker or plain), or from count maps.";
static const char notes[] =
    "Files written with -o DIR\n"
    "  NAME.eds.json           all numbers, and where they come from\n"
    "  NAME.eds.profile.csv    composition of every point, and its standard deviation by counting\n"
    "  NAME.eds.spectrum.csv   power spectra, with red noise and the best wave\n"
    "  NAME.eds.groups.tif     bright (1) and dark (-1) regions, with --haadf\n"
    "  NAME.eds.png .svg .pdf  the figure\n"
    "NAME is that of the table, or of the first map.\n\n"
    "Examples\n"
    "  mroscope eds -o results line.csv\n"
    "  mroscope eds --k Fe=1,Si=0.9 --map Fe=Fe.tif --map Si=Si.tif --haadf haadf.tif -o results";

/* -- inputs ------------------------------------------------------------------------------------------ */

enum { MAX_INPUTS = 2 * CLI_MAX_LIST };

/* Files of one result, with their checksums. */
struct inputs {
    size_t n;
    char *role[MAX_INPUTS], *file[MAX_INPUTS], *sha256[MAX_INPUTS];
};

static void inputs_release(struct inputs *in)
{
    for (size_t i = 0; i < in->n; i++) {
        free(in->role[i]);
        free(in->file[i]);
        free(in->sha256[i]);
    }
    in->n = 0;
}

static enum mro_code add_input(struct inputs *in, const char *role, const char *file, const void *p, size_t size,
                               struct mro_error *e)
{
    struct mro_hash_job *hash;
    char hex[65];
    if (in->n == MAX_INPUTS) return MRO_FAIL(e, MRO_EARG, "more than %d files are given for one result", MAX_INPUTS);
    MRO_TRY(mro_hash_start(&hash, p, size, e));
    MRO_TRY(mro_hash_finish(hash, hex, e));
    const size_t i = in->n++;
    in->role[i] = strdup(role);
    in->file[i] = strdup(file);
    in->sha256[i] = strdup(hex);
    if (in->role[i] && in->file[i] && in->sha256[i]) return MRO_OK;
    return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its name", file);
}

static enum mro_code read_table(struct eds *s, const char *path, struct mro_eds_profile *p, struct inputs *in,
                                struct mro_error *e)
{
    struct mro_eds_table_options o = { .normalise = s->normalise, .elements = s->elements };
    struct mro_bytes b;
    if (s->unit) o.unit = s->unit[0] == 'a' ? MRO_EDS_UNIT_AT : s->unit[0] == 'w' ? MRO_EDS_UNIT_WT : MRO_EDS_UNIT_COUNTS;
    MRO_TRY(mro_bytes_map(&b, path, e));
    enum mro_code rc = mro_eds_table(p, b.size ? (const void *)b.p : "", b.size, path, &o, e);
    if (rc == MRO_OK) rc = add_input(in, "profile", path, b.p, b.size, e);
    mro_bytes_unmap(&b);
    return rc;
}

/* -- results ----------------------------------------------------------------------------------------- */

/* Everything of one result on its way out. */
struct output {
    struct cli_item item;
    struct mro_image_info info;
    struct inputs in;
    const char *calibration;
    double pixel_nm[2];
    char **warnings;
    size_t n_warnings;
    struct mro_eds_report report;
    const struct mro_eds_maps *maps;
    const struct mro_image *haadf;
};

static void number_text(char *out, size_t size, double v)
{
    if (isnan(v))
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%.2f", v);
}

static void print_line(const char *name, const struct mro_eds_result *r)
{
    printf("%s: %zu points of %.4g nm\n", name, r->points, r->step_nm);
    printf("  %-8s %8s %8s %9s  %-22s %11s %14s\n", "element", "mean", "scatter", "counting", "true part (95 %)",
           "p variation", "wavelength");
    for (size_t j = 0; j < r->elements; j++) {
        const struct mro_eds_element *el = &r->element[j];
        char counting[32], part[64], p[32] = "-", wave[48] = "-";
        number_text(counting, sizeof counting, el->sd_counting_at);
        if (isnan(el->sd_true_at))
            snprintf(part, sizeof part, "not measured");
        else
            snprintf(part, sizeof part, "%.2f (%.2f to %.2f)", el->sd_true_at, el->sd_true_ci95[0], el->sd_true_ci95[1]);
        if (!isnan(el->p_heterogeneous)) snprintf(p, sizeof p, "%.2g", el->p_heterogeneous);
        if (!isnan(el->wavelength_nm))
            snprintf(wave, sizeof wave, "%.2f nm, p %.2g", el->wavelength_nm, el->p_periodic);
        printf("  %-8s %8.2f %8.2f %9s  %-22s %11s %14s\n", el->symbol, el->mean_at, el->sd_at, counting, part, p, wave);
    }
    for (size_t i = 0; i < r->n_pairs; i++) {
        const struct mro_eds_pair *q = &r->pair[i];
        if (isnan(q->p)) continue;
        printf("  %s-%s: r %.2f, by closure alone %.2f, p %.2g\n", r->element[q->a].symbol, r->element[q->b].symbol, q->r,
               q->r_counting, q->p);
    }
}

static void print_groups(const struct mro_eds_groups *g)
{
    printf("  bright %.1f %% and dark %.1f %% of the field", 100 * g->bright.area_fraction, 100 * g->dark.area_fraction);
    if (g->elements) printf("; same composition: p %.2g", g->p);
    putchar('\n');
    for (size_t j = 0; j < g->elements; j++)
        printf("  %-8s bright %.2f +- %.2f, dark %.2f +- %.2f at.%%, p %.2g\n", g->symbol[j], g->bright.mean_at[j],
               g->bright.se_at[j], g->dark.mean_at[j], g->dark.se_at[j], g->p_element[j]);
    if (g->has_mro)
        printf("  MRO: %.1f %% of it lies in bright regions, by chance %.1f %%, p %.2g\n", 100 * g->mro_bright,
               100 * g->bright.area_fraction, g->mro_p);
}

static enum mro_code write_files(struct eds *s, struct output *o, struct mro_error *e)
{
    const char *path;
    char *stem;
    const struct mro_eds_report *r = &o->report;
    if (r->along) {
        MRO_TRY(cli_write_text(&o->item, &s->job, ".profile.csv", mro_csv_eds_profile(r->along, e), e));
        MRO_TRY(cli_write_text(&o->item, &s->job, ".spectrum.csv", mro_csv_eds_spectrum(r->along, e), e));
    }
    if (r->across) MRO_TRY(cli_write_text(&o->item, &s->job, ".across.csv", mro_csv_eds_profile(r->across, e), e));
    (void)path;
    (void)stem;
    return MRO_OK;
}

static enum mro_code publish(struct eds *s, struct output *o, struct mro_error *e)
{
    struct mro_provenance provenance = { .backend = NULL,
                                         .algorithm = MRO_EDS_ALGORITHM,
                                         .calibration = o->calibration,
                                         .has_seed = true,
                                         .seed = s->options.seed };
    struct mro_result_head h = { .verb = "eds",
                                 .file = o->item.path,
                                 .info = &o->info,
                                 .pixel_nm = { o->pixel_nm[0], o->pixel_nm[1] },
                                 .warnings = (const char *const *)o->warnings,
                                 .n_warnings = o->n_warnings,
                                 .provenance = &provenance };
    struct mro_eds_report *r = &o->report;
    if (s->common.out) MRO_TRY(cli_item_stem(&o->item, s->common.out, false, false, e));
    if (o->in.n) memcpy(provenance.input_sha256, o->in.sha256[0], sizeof provenance.input_sha256);
    r->n_inputs = o->in.n;
    r->input_role = (const char *const *)o->in.role;
    r->input_file = (const char *const *)o->in.file;
    r->input_sha256 = (const char *const *)o->in.sha256;
    if (o->item.stem) MRO_TRY(write_files(s, o, e));
    if ((h.options = cli_options_json(s->job.usage)) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", o->item.path);
    const enum mro_code rc = cli_emit(&o->item, &s->job, mro_json_eds(&h, r, e), e);
    json_decref(h.options);
    if (rc) return rc;
    if (!s->common.json) {
        if (r->along) print_line(o->item.path, r->along);
        if (r->across) print_line("  at a right angle", r->across);
        if (r->groups) print_groups(r->groups);
    }
    cli_warn(&s->common, o->item.path, h.warnings, h.n_warnings);
    return MRO_OK;
}

static void keep_warnings(struct output *o, char *const *w, size_t n)
{
    for (size_t i = 0; i < n; i++) mro_note(&o->warnings, &o->n_warnings, "%s", w[i]);
}

static void output_release(struct output *o, bool failed)
{
    cli_item_release(&o->item, failed);
    inputs_release(&o->in);
    mro_notes_release(&o->warnings, &o->n_warnings);
}

static void output_begin(struct eds *s, struct output *o, const char *path)
{
    memset(o, 0, sizeof *o);
    o->item.path = path;
    snprintf(o->item.name, sizeof o->item.name, "%s", path);
    o->item.inputs = s->ids;
    o->item.n_inputs = s->n_ids;
    o->pixel_nm[0] = o->pixel_nm[1] = NAN;
    o->calibration = "distances of the table";
    o->info.axes = 1;
    o->info.frames = 1;
    o->info.stage_tilt_deg[0] = o->info.stage_tilt_deg[1] = NAN;
}

/* A profile, with its repeats when they are repeats. */
static enum mro_code do_tables(struct eds *s, char *const *files, size_t n, struct mro_error *e)
{
    struct output o;
    struct mro_eds_result r = { 0 };
    struct mro_eds_profile *p = calloc(n, sizeof *p);
    enum mro_code rc = p ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "no memory left for %zu profiles", n);
    output_begin(s, &o, files[0]);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) rc = read_table(s, files[i], &p[i], &o.in, e);
    if (rc == MRO_OK) rc = mro_eds_measure(p, p + 1, n - 1, files[0], &s->options, &r, e);
    if (rc == MRO_OK) {
        o.info.axis[0].size = r.points;
        o.report.along = &r;
        keep_warnings(&o, r.warnings, r.n_warnings);
        rc = publish(s, &o, e);
    }
    mro_eds_result_release(&r);
    for (size_t i = 0; p && i < n; i++) mro_eds_profile_release(&p[i]);
    free(p);
    output_release(&o, rc != MRO_OK);
    return rc;
}

static void report(struct eds *s, enum mro_code rc, const struct mro_error *e)
{
    if (rc == MRO_OK) return;
    fflush(stdout);
    cli_complain(e);
    s->failed = true;
}

static int usage_error(const char *sentence)
{
    fprintf(stderr, "mroscope: %s; try 'mroscope eds --help'\n", sentence);
    return 2;
}

static int check_options(struct eds *s, size_t files)
{
    struct mro_error e;
    if (s->k && mro_eds_k_parse(&s->options.k, s->k, &e) != MRO_OK) return usage_error(e.message);
    if (s->unit && strcmp(s->unit, "at") != 0 && strcmp(s->unit, "wt") != 0 && strcmp(s->unit, "counts") != 0)
        return usage_error("--unit knows at, wt and counts only");
    if (files == 0 && s->map.n == 0 && !(s->haadf && s->mro))
        return usage_error("'eds' needs a table of a line profile, or maps: mroscope eds LINE.csv, or --map Fe=FILE "
                           "--map Si=FILE");
    if (files && (s->map.n || s->haadf || s->mro || s->line))
        return usage_error("tables and maps are separate measurements: give one or the other");
    return 0;
}

int cmd_eds(int argc, char **argv)
{
    struct eds s = { .width_nm = 0 };
    mro_eds_options_default(&s.options);
    const struct cli_group groups[] = {
        { "Input", input_rows, sizeof input_rows / sizeof *input_rows, &s },
        { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, &s },
        { "Computing", run_rows, sizeof run_rows / sizeof *run_rows, &s },
        { "Output", cli_output_options, cli_n_output_options, &s.common },
    };
    const struct cli_usage usage = { "eds", "[FILE...]", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0) rc = check_options(&s, args.n);
    s.job = (struct cli_job){ &usage, &s.common, &s, NULL, NULL };
    if (rc == 0 && args.n) {
        struct mro_error e;
        const size_t at_once = s.replicates ? args.n : 1;
        rc = cli_prepare_outputs(&s.common, "eds", args.files, args.n);
        s.ids = calloc(args.n, sizeof *s.ids);
        for (size_t i = 0; s.ids && i < args.n; i++) {
            struct stat st;
            if (stat(args.files[i], &st) == 0) s.ids[i] = (struct cli_file_id){ st.st_dev, st.st_ino };
        }
        s.n_ids = s.ids ? args.n : 0;
        for (size_t i = 0; i < args.n && rc == 0; i += at_once)
            report(&s, do_tables(&s, args.files + i, at_once, &e), &e);
    }
    if (rc == 0 && s.failed) rc = 1;
    free(s.ids);
    cli_warn_end(&s.common);
    cli_args_release(&args);
    return rc;
}

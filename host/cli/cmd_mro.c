/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "ops/mro_pool.h"
#include "report/figure.h"

#define AT(field) offsetof(struct mro_order_options, field)
static const struct cli_option measure_rows[] = {
    { "kv", 0, "KV", "kV", "beam energy (default: what the file says)", CLI_DOUBLE, AT(kv), true, 10, 3000 },
    { "cs", 0, "MM", "mm", "spherical aberration of the objective lens, such as 1.2, or -0.01 with a corrector",
      CLI_DOUBLE, AT(cs_mm), true, -10, 10 },
    { "band", 0, "LO,HI", "1/nm", "spatial frequencies 1/d to keep", CLI_BAND, AT(band_inv_nm), true, 1e-3, 100 },
    { "d-band", 0, "LO,HI", "nm", "the same band as spacings d", CLI_DBAND, AT(band_inv_nm), false, 0.01, 1000 },
    { "d", 0, "NM", "nm", "spacing looked for", CLI_DOUBLE, AT(d_nm), true, 0.02, 100 },
    { "d-tolerance", 0, "PART", "", "how far a spacing may be from it, as part of it", CLI_DOUBLE, AT(d_tolerance),
      true, 1e-3, 0.49 },
    { "alpha", 0, "P", "", "false-positive rate of one cell", CLI_DOUBLE, AT(false_positive_rate), true, 1e-5, 0.2 },
    { "surrogates", 0, "N", "", "fields of 25.6 nm of a glass with the same spectrum that the image is compared with",
      CLI_INT, AT(surrogates), true, 8, 100000 },
    { "sweep-band", 0, NULL, "", "repeat with other bands and say whether the result holds", CLI_FLAG, AT(sweep_band),
      true, 0, 0 },
    { "map", 0, "acf", "", "also score the windowed autocorrelation of every cell, the measure used in the literature",
      CLI_WORD, AT(acf_map), true, 0, 0 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(seed), false,
      0, 0 },
    /* the seed has a field of its own in the provenance */
};

static const char about[] =
    "Measures which fraction of the area of an HRTEM micrograph shows medium-range order with a spacing near --d "
    "(alpha-Fe "
    "(110) by default), with a 95 % interval, and tests it against a glass of the same spectrum. The pixel size is "
    "read from "
    "the file. Give --kv and --cs where you know them: without them the width over which the lens spreads a cluster is "
    "unknown, and the interval is wider.";
static const char notes[] =
    "Files written with -o DIR, for each image\n"
    "  NAME.mro.json           all numbers, and where they come from\n"
    "  NAME.mro.objects.csv    the ordered regions\n"
    "  NAME.mro.png .svg .pdf  the figure\n"
    "  NAME.mro.score.tif      score of every cell; 1 = the threshold\n"
    "  NAME.mro.mask.tif       cells above the threshold\n"
    "  NAME.mro.spacing.tif    spacing of the fringes that gave a cell its score, nm\n"
    "  NAME.mro.filtered.tif   the image in the band\n"
    "  NAME.mro.whitened.tif   what is scored: every frequency of the band at the same power\n"
    "  NAME.mro.survival.csv   share of cells above a score, here and in a glass\n"
    "  NAME.mro.sweep.csv      fraction in other bands, with --sweep-band\n"
    "  NAME.mro.acf.tif        score of the autocorrelation, with --map acf\n"
    "Maps are float32 TIFF that open in ImageJ with their scale. Each frame of a stack has its own files,\n"
    "NAME.f0000.mro.json and so on, and NAME.mro.json holds the mean of the frames.\n\n"
    "Examples\n"
    "  mroscope mro --kv 200 --cs 1.2 -o results images/*.dm4\n"
    "  mroscope mro --json --pixel 0.02 image.tif";

#define MAX_WARNINGS 32

struct measure {
    struct cli_common common;
    struct mro_order_options options;
    struct cli_places places;
    struct mro_order_plan *plan[CLI_PLACES]; /* made for the first image: bad inputs are told without waiting for it */
    struct cli_job job;
    struct mro_order_pool pool;   /* of the frames of one image, */
    bool measured_on[CLI_PLACES]; /* where they were measured, */
    char *warnings[MAX_WARNINGS]; /* and their warnings, each once */
    size_t n_warnings;
    int name_width;
    bool titled;
};

/* -- the table --------------------------------------------------------------------------------- */

static void print_row(struct measure *m, const struct cli_item *item, const struct mro_order_result *r)
{
    char fraction[64];
    if (!m->titled) printf("%-*s  %-28s  %s\n", m->name_width, "image", "fraction of area (95 %)", "verdict");
    m->titled = true;
    if (isnan(r->fraction))
        snprintf(fraction, sizeof fraction, "not measured");
    else if (isnan(r->fraction_ci95[0]))
        snprintf(fraction, sizeof fraction, "%.1f %% (no interval)", 100 * r->fraction);
    else
        snprintf(fraction, sizeof fraction, "%.1f %% (%.1f to %.1f %%)", 100 * r->fraction, 100 * r->fraction_ci95[0],
                 100 * r->fraction_ci95[1]);
    printf("%-*s  %-28s  %s\n", m->name_width, item->name, fraction, r->verdict);
    fflush(stdout);
}

/* -- files ------------------------------------------------------------------------------------- */

static enum mro_code write_map(struct measure *m, struct cli_item *item, const char *suffix,
                               const struct mro_order_map *map, struct mro_error *e)
{
    const char *path;
    struct mro_image im = { 0 };
    if (map->v == NULL) return MRO_OK;
    MRO_TRY(cli_output(item, &m->job, suffix, &path, e));
    im.nx = map->nx;
    im.ny = map->ny;
    im.px = map->v; /* lent for writing */
    im.kind = MRO_KIND_MAP;
    mro_axis_set(&im.axis[0], map->step_y_nm, map->y0_nm, "nm", MRO_SOURCE_UNKNOWN);
    mro_axis_set(&im.axis[1], map->step_x_nm, map->x0_nm, "nm", MRO_SOURCE_UNKNOWN);
    im.axis[0].size = map->ny;
    im.axis[1].size = map->nx;
    return mro_write_tiff(path, &im, e);
}

static enum mro_code write_files(struct measure *m, struct cli_item *item, const struct mro_order_result *r,
                                 struct mro_error *e)
{
    const char *path;
    char *stem;
    MRO_TRY(write_map(m, item, ".score.tif", &r->score, e));
    MRO_TRY(write_map(m, item, ".mask.tif", &r->mask, e));
    MRO_TRY(write_map(m, item, ".spacing.tif", &r->spacing, e));
    MRO_TRY(write_map(m, item, ".acf.tif", &r->acf, e));
    if (r->filtered.px) {
        MRO_TRY(cli_output(item, &m->job, ".filtered.tif", &path, e));
        MRO_TRY(mro_write_tiff(path, &r->filtered, e));
    }
    if (r->whitened.px) {
        MRO_TRY(cli_output(item, &m->job, ".whitened.tif", &path, e));
        MRO_TRY(mro_write_tiff(path, &r->whitened, e));
    }
    if (r->n_cdf) MRO_TRY(cli_write_text(item, &m->job, ".survival.csv", mro_csv_survival(r, e), e));
    if (r->n_sweep) MRO_TRY(cli_write_text(item, &m->job, ".sweep.csv", mro_csv_sweep(r, e), e));
    MRO_TRY(cli_write_text(item, &m->job, ".objects.csv", mro_csv_objects(r, e), e));
    MRO_TRY(cli_figure_stem(item, &m->job, &stem, e));
    const char *slash = strrchr(item->name, '/'); /* a figure does not need the folder */
    const enum mro_code code = mro_figure_order(stem, &item->pixels, slash ? slash + 1 : item->name, r, e);
    free(stem);
    return code;
}

/* -- one frame, and all of them ------------------------------------------------------------------ */

static enum mro_code publish(struct measure *m, struct cli_item *item, const struct mro_order_result *r,
                             const char *backend, struct mro_error *e)
{
    struct cli_head h = { 0 };
    enum mro_code code = cli_head(&m->job, item, (const char *const *)r->warnings, r->n_warnings, &h, e);
    if (code == MRO_OK) {
        h.provenance.backend = backend;
        h.provenance.algorithm = MRO_ORDER_ALGORITHM;
        h.provenance.has_seed = true;
        h.provenance.seed = m->options.seed;
        code = cli_emit(item, &m->job, mro_json_order(&h.head, r, e), e);
    }
    if (code == MRO_OK) {
        if (!m->common.json) print_row(m, item, r);
        cli_warn(&m->common, item->path, h.warnings, h.head.n_warnings);
    }
    cli_head_release(&h);
    return code;
}

static void forget_frames(struct measure *m)
{
    m->pool = (struct mro_order_pool){ 0 };
    memset(m->measured_on, 0, sizeof m->measured_on);
    for (size_t i = 0; i < m->n_warnings; i++) free(m->warnings[i]);
    m->n_warnings = 0;
}

static void remember_warning(struct measure *m, const char *warning)
{
    for (size_t i = 0; i < m->n_warnings; i++)
        if (strcmp(m->warnings[i], warning) == 0) return;
    if (m->n_warnings == MAX_WARNINGS) return;
    char *copy = strdup(warning);
    if (copy) m->warnings[m->n_warnings++] = copy;
}

/* One frame on its way. */
struct frame {
    struct measure *m;
    const struct cli_item *item;
    struct mro_order_result result;
    enum cli_place place;
};

static enum mro_code measure_at(void *context, enum cli_place place, struct mro_error *e)
{
    struct frame *f = context;
    struct measure *m = f->m;
    f->place = place;
    if (m->plan[place] == NULL) MRO_TRY(mro_order_plan_new(&m->plan[place], m->places.device[place], &m->options, e));
    return mro_order_measure(m->plan[place], &f->item->pixels, f->item->name, &f->result, e);
}

static enum mro_code measure_frame(void *context, struct cli_item *item, struct mro_error *e)
{
    struct measure *m = context;
    struct frame f = { .m = m, .item = item };
    const struct mro_order_result *r = &f.result;
    enum mro_code code = cli_compute(&m->common, &m->places, item->name, measure_at, &f, e);
    if (code == MRO_OK && item->stem) code = write_files(m, item, r, e);
    if (code == MRO_OK) code = publish(m, item, r, mro_device_backend(m->places.device[f.place]), e);
    if (code == MRO_OK) {
        if (item->first) forget_frames(m);
        m->measured_on[f.place] = true;
        mro_order_pool_add(&m->pool, r);
        for (size_t i = 0; i < item->n_extra; i++) remember_warning(m, item->extra[i]);
        for (size_t i = 0; i < r->n_warnings; i++) remember_warning(m, r->warnings[i]);
    }
    mro_order_result_release(&f.result);
    return code;
}

static enum mro_code measure_together(void *context, struct cli_item *item, struct mro_error *e)
{
    struct measure *m = context;
    struct mro_order_result r;
    mro_order_pool_result(&m->pool, &r);
    r.warnings = m->warnings; /* lent, like all that the pooled result points to */
    r.n_warnings = m->n_warnings;
    const enum cli_place place = m->measured_on[CLI_CHOSEN] ? CLI_CHOSEN : CLI_CPU;
    const bool both = m->measured_on[CLI_CHOSEN] && m->measured_on[CLI_CPU];
    return publish(m, item, &r, both ? "cuda and cpu" : mro_device_backend(m->places.device[place]), e);
}

static size_t need(const void *context, const struct mro_image *like)
{
    const struct measure *m = context;
    return mro_order_bytes(like, &m->options);
}

int cmd_mro(int argc, char **argv)
{
    struct measure m = { 0 };
    mro_order_options_default(&m.options);
    const struct cli_group groups[] = {
        { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, &m.options },
        { "Input", cli_input_options, cli_n_input_options, &m.common },
        { "Computing", cli_run_options, cli_n_run_options, &m.common },
        { "Output", cli_output_options, cli_n_output_options, &m.common },
    };
    const struct cli_usage usage = { "mro", "FILE...", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    m.options.views = m.common.out != NULL;
    if (rc < 0) rc = cli_open_device(&m.common, "mro", &m.places.device[CLI_CHOSEN]);
    if (rc == 0 && m.places.device[CLI_CHOSEN]) {
        for (size_t i = 0; i < args.n; i++) {
            const int width = (int)strnlen(args.files[i], 60);
            if (width > m.name_width) m.name_width = width;
        }
        m.job = (struct cli_job){ .usage = &usage,
                                  .common = &m.common,
                                  .context = &m,
                                  .places = &m.places,
                                  .need = need,
                                  .frame = measure_frame,
                                  .together = measure_together };
        rc = cli_each_frame(&m.job, &args);
    }
    forget_frames(&m);
    for (int i = 0; i < CLI_PLACES; i++) mro_order_plan_free(m.plan[i]);
    cli_places_close(&m.places);
    cli_warn_end(&m.common);
    cli_args_release(&args);
    return rc;
}

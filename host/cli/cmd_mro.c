/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/verb.h"
#include "cli/words.h"
#include "core/notes.h"
#include "ops/mro/mro_pool.h"
#include "report/figure.h"

#define MOST_WARNINGS 32 /* of a stack */

#define AT(field) offsetof(struct mro_order_options, field)
static const struct cli_option measure_rows[] = {
    { "kv", 0, "KV", "kV", "beam energy (default: what the file says)", CLI_DOUBLE, AT(kv), true, 10, 3000 },
    { "cs", 0, "MM", "mm", "spherical aberration of the objective lens, such as 1.2, or -0.01 with a corrector",
      CLI_DOUBLE, AT(cs_mm), true, -10, 10 },
    { "band", 0, "LO,HI", "1/nm", "spatial frequencies 1/d to keep", CLI_BAND, AT(band_inv_nm), true, 1e-3, 100 },
    { "d-band", 0, "LO,HI", "nm", "the same band as spacings d", CLI_DBAND, AT(band_inv_nm), false, 0.01, 1000 },
    { "d", 0, "NM", "nm", "spacing looked for", CLI_DOUBLE, AT(d_nm), true, 0.02, 0.6 },
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
    "Measures which fraction of the area of an HRTEM micrograph shows medium-range order with a spacing near `d` "
    "(alpha-Fe "
    "(110) by default), with a 95 % interval, and tests it against a glass of the same spectrum. The pixel size is "
    "read from "
    "the file. Give `kv` and `cs` where you know them: without them the width over which the lens spreads a cluster is "
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
    "  NAME.mro.shifts.csv     shift of every frame, with --reduce aligned\n"
    "Maps are float32 TIFF that open in ImageJ with their scale. Each frame of a stack has its own files,\n"
    "NAME.f0000.mro.json and so on, and NAME.mro.json holds what they show together.\n\n"
    "Examples\n"
    "  mroscope mro --kv 200 --cs 1.2 -o results images/*.dm4\n"
    "  mroscope mro --json --pixel 0.02 image.tif";

struct measure {
    struct cli_run run;
    struct mro_order_options options;
    struct mro_order_plan *plan[CLI_CPU + 1]; /* made for the first image: bad inputs are told without waiting for it */
    struct mro_order_pool pool;               /* of the frames of one image, */
    char **warnings;                          /* and their warnings, each once */
    size_t n_warnings;
};

static void defaults(void *state)
{
    struct measure *m = state;
    mro_order_options_default(&m->options);
    m->run.seed = &m->options.seed;
}

static int check(void *state)
{
    struct measure *m = state;
    const double *band = m->options.band_inv_nm;
    if (band[0] < m->options.d_nm && m->options.d_nm < band[1]) /* no band of 1/nm is so low */
        return cli_wrong_usage("mro", "`band` %g,%g is in 1/nm; for spacings in nm there is `d_band`", band[0],
                               band[1]);
    m->options.views = m->run.common.out != NULL;
    return -1;
}

static size_t need(const void *state, const struct mro_image *like)
{
    const struct measure *m = state;
    double pixel_nm[2];
    struct mro_error e;
    /* Cells as large as those of pixels in the wrong unit would need any memory: the measurement says what is wrong. */
    if (mro_image_pixel_nm(like, "", pixel_nm, &e) == MRO_OK &&
        fmax(pixel_nm[0], pixel_nm[1]) * m->options.band_inv_nm[1] > 0.5)
        return 0;
    return mro_order_bytes(like, &m->options);
}

static enum mro_code measure(void *state, enum cli_place place, const struct cli_item *item, void *result,
                             struct mro_error *e)
{
    struct measure *m = state;
    struct mro_device *d = m->run.places->device[place];
    struct mro_order_plan **plan = &m->plan[place == CLI_CPU ? CLI_CPU : CLI_CHOSEN]; /* all lanes have one */
    if (*plan == NULL) MRO_TRY(mro_order_plan_new(plan, d, &m->options, e));
    MRO_TRY(mro_order_measure_on(*plan, d, &item->pixels, item->name, result, e));
    struct mro_order_result *r = result;
    if (cli_is_stem(item->info))
        mro_warn(
            r, "the file says that a STEM detector took the image: fringes, speckle and lens are taken for those of "
               "an HRTEM image, and the fraction has no meaning if they are not; `mroscope haadf` is for HAADF images");
    return MRO_OK;
}

/* -- results ----------------------------------------------------------------------------------- */

static void print(void *state, const struct cli_item *item, const void *result)
{
    struct measure *m = state;
    const struct mro_order_result *r = result;
    char fraction[64];
    if (isnan(r->fraction))
        snprintf(fraction, sizeof fraction, "not measured");
    else if (isnan(r->fraction_ci95[0]))
        snprintf(fraction, sizeof fraction, "%.1f %% (no interval)", 100 * r->fraction);
    else
        snprintf(fraction, sizeof fraction, "%.1f %% (%.1f to %.1f %%)", 100 * r->fraction, 100 * r->fraction_ci95[0],
                 100 * r->fraction_ci95[1]);
    cli_print_row(&m->run, item, "fraction of area (95 %)", fraction, r->verdict);
}

static enum mro_code write_map(struct measure *m, struct cli_item *item, const char *suffix,
                               const struct mro_order_map *map, struct mro_error *e)
{
    struct mro_image im = { 0 };
    im.nx = map->nx;
    im.ny = map->ny;
    im.px = map->v; /* lent for writing */
    im.kind = MRO_KIND_MAP;
    mro_axis_set(&im.axis[0], map->step_y_nm, map->y0_nm, "nm", MRO_SOURCE_UNKNOWN);
    mro_axis_set(&im.axis[1], map->step_x_nm, map->x0_nm, "nm", MRO_SOURCE_UNKNOWN);
    im.axis[0].size = map->ny;
    im.axis[1].size = map->nx;
    return cli_write_map(&m->run, item, suffix, &im, e);
}

static enum mro_code write_files(void *state, struct cli_item *item, const void *result, struct mro_error *e)
{
    struct measure *m = state;
    const struct mro_order_result *r = result;
    char *stem;
    MRO_TRY(write_map(m, item, ".score.tif", &r->score, e));
    MRO_TRY(write_map(m, item, ".mask.tif", &r->mask, e));
    MRO_TRY(write_map(m, item, ".spacing.tif", &r->spacing, e));
    MRO_TRY(write_map(m, item, ".acf.tif", &r->acf, e));
    MRO_TRY(cli_write_map(&m->run, item, ".filtered.tif", &r->filtered, e));
    MRO_TRY(cli_write_map(&m->run, item, ".whitened.tif", &r->whitened, e));
    if (r->n_cdf) MRO_TRY(cli_write_text(item, &m->run.job, ".survival.csv", mro_csv_survival(r, e), e));
    if (r->n_sweep) MRO_TRY(cli_write_text(item, &m->run.job, ".sweep.csv", mro_csv_sweep(r, e), e));
    MRO_TRY(cli_write_text(item, &m->run.job, ".objects.csv", mro_csv_objects(r, e), e));
    MRO_TRY(cli_figure_stem(item, &m->run.job, &stem, e));
    const enum mro_code code =
        mro_figure_order(stem, m->run.common.figure_mm, &item->pixels, cli_short_name(item), r, e);
    free(stem);
    return code;
}

static json_t *json(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e)
{
    (void)state;
    return mro_json_order(h, result, e);
}

static char *const *warnings(const void *result, size_t *n)
{
    const struct mro_order_result *r = result;
    *n = r->n_warnings;
    return r->warnings;
}

static void release(void *result) { mro_order_result_release(result); }

/* -- the frames of an image together -------------------------------------------------------------- */

static void forget_frames(struct measure *m)
{
    m->pool = (struct mro_order_pool){ 0 };
    mro_notes_release(&m->warnings, &m->n_warnings);
}

static enum mro_code pool(void *state, enum cli_place place, const struct cli_item *item, const void *result,
                          struct mro_error *e)
{
    struct measure *m = state;
    const struct mro_order_result *r = result;
    (void)place;
    (void)e;
    if (item->first) forget_frames(m);
    mro_order_pool_add(&m->pool, r);
    for (size_t i = 0; i < item->n_extra && m->n_warnings < MOST_WARNINGS; i++) mro_warn(m, "%s", item->extra[i]);
    for (size_t i = 0; i < r->n_warnings && m->n_warnings < MOST_WARNINGS; i++) mro_warn(m, "%s", r->warnings[i]);
    return MRO_OK;
}

static enum mro_code together(void *state, struct cli_item *item, struct mro_error *e)
{
    struct measure *m = state;
    struct mro_order_result r;
    mro_order_pool_result(&m->pool, &r);
    r.warnings = m->warnings; /* lent, like all that the pooled result points to */
    r.n_warnings = m->n_warnings;
    return cli_publish(&m->run, item, &r, cli_backend(&m->run), e);
}

static void close_state(void *state)
{
    struct measure *m = state;
    forget_frames(m);
    for (int i = 0; i <= CLI_CPU; i++) mro_order_plan_free(m->plan[i]);
}

const struct cli_verb cli_verb_mro = {
    .name = "mro",
    .help = "which fraction of a micrograph shows medium-range order, and is it more than a glass shows",
    .operands = "FILE...",
    .about = about,
    .notes = notes,
    .algorithm = MRO_ORDER_ALGORITHM,
    .state_size = sizeof(struct measure),
    .own = { { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows,
               offsetof(struct measure, options) } },
    .common = CLI_GROUPS_ALL,
    .defaults = defaults,
    .check = check,
    .close = close_state,
    .result_size = sizeof(struct mro_order_result),
    .need = need,
    .measure = measure,
    .write = write_files,
    .json = json,
    .warnings = warnings,
    .print = print,
    .pool = pool,
    .together = together,
    .release = release,
};

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/verb.h"
#include "mroscope/shearband.h"
#include "report/figure.h"

struct shearband {
    struct cli_run run;
    struct mro_shearband_options options;
    struct cli_numbers line, width;
};

#define AT(field) offsetof(struct shearband, field)
static const struct cli_option measure_rows[] = {
    { "line", 0, "X0,Y0,X1,Y1", "nm",
      "two points on a band, from the top-left corner: measure that one in place of looking for bands", CLI_LINE,
      AT(line), true, -1e9, 1e9 },
    { "width", 0, "LO,HI", "nm", "widths that are looked for (default: 2 samples of the search to 0.6 of the field)",
      CLI_RISING, AT(width), true, 1e-3, 1e6 },
    { "black-level", 0, "COUNTS", "counts", "what the detector reads without beam (default: 0)", CLI_DOUBLE,
      AT(options.black_level), true, -1e9, 1e9 },
    { "polynomial", 0, "DEGREE", "", "degree of the background that the image is divided by", CLI_INT,
      AT(options.polynomial), true, 0, MRO_SHEARBAND_DEGREE },
    { "segments", 0, "N", "", "pieces along a band, 0 = one for every 20 nm, but 6 to 16", CLI_INT,
      AT(options.segments), true, 0, MRO_SHEARBAND_SEGMENTS },
    { "thickness", 0, "NM", "nm", "thickness of the foil: how far the bands can be inclined", CLI_DOUBLE,
      AT(options.thickness_nm), true, 1e-3, 1e6 },
    { "alpha", 0, "P", "", "list bands that chance gives no more often than this", CLI_DOUBLE, AT(options.alpha), true,
      1e-5, 0.5 },
    { "surrogates", 0, "N", "", "random fields of the same spectrum that bands have to beat", CLI_INT,
      AT(options.surrogates), true, 99, 100000 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(options.seed),
      false, 0, 0 },
};

static const char about[] =
    "Finds shear bands in a HAADF or HRTEM image, or takes one that is given by two points: position, width and depth "
    "with 95 % intervals from segments along the band, and whether a random field of the same spectrum shows stripes "
    "as "
    "strong. A depth is relative to the glass beside the band, positive where the band is darker.";
static const char notes[] =
    "Files written with -o DIR, for each image\n"
    "  NAME.shearband.json            all numbers, and where they come from\n"
    "  NAME.shearband.profile.csv     mean contrast along the normal of each band, its standard error, the fit\n"
    "  NAME.shearband.segments.csv    position, width and depth along each band\n"
    "  NAME.shearband.bandN.tif       the straightened band: contrast, rows along the band\n"
    "  NAME.shearband.png .svg .pdf   the figure\n\n"
    "Examples\n"
    "  mroscope shearband -o results images/*.dm4\n"
    "  mroscope shearband --line 20,10,35,190 --thickness 60 -o results images/band.emd";

static void defaults(void *state)
{
    struct shearband *m = state;
    mro_shearband_options_default(&m->options);
    m->run.seed = &m->options.seed;
}

static int check(void *state)
{
    struct shearband *m = state;
    struct mro_shearband_options *o = &m->options;
    if (o->segments > 0 && o->segments < 4)
        return cli_wrong_usage("shearband", "--segments can be 0, or 4 to %d", MRO_SHEARBAND_SEGMENTS);
    if (m->width.n && m->width.n != 2)
        return cli_wrong_usage("shearband", "--width wants two widths in nm, LO,HI such as 5,50");
    if (o->alpha * (o->surrogates + 1) < 1 - 1e-9)
        return cli_wrong_usage("shearband", "--alpha %g needs --surrogates %.0f at least", o->alpha,
                               ceil(1 / o->alpha) - 1);
    o->has_line = m->line.n > 0;
    if (o->has_line) memcpy(o->line_nm, m->line.v, sizeof o->line_nm);
    if (m->width.n) memcpy(o->width_nm, m->width.v, sizeof o->width_nm);
    return -1;
}

static size_t need(const void *state, const struct mro_image *like)
{
    (void)state;
    return mro_shearband_bytes(like);
}

static enum mro_code measure(void *state, enum cli_place place, const struct cli_item *item, void *result,
                             struct mro_error *e)
{
    struct shearband *m = state;
    return mro_shearband_measure(m->run.places->device[place], &item->pixels, item->name, &m->options, result, e);
}

static void print(void *state, const struct cli_item *item, const void *result)
{
    struct shearband *m = state;
    const struct mro_shearband_result *r = result;
    char value[200] = "none";
    size_t used = 0;
    for (size_t k = 0; k < r->n_bands && used < 60; k++) {
        const struct mro_shearband *b = &r->band[k];
        if (isfinite(b->width_nm))
            used += (size_t)snprintf(value + used, sizeof value - used, "%s%.1f nm (%.1f to %.1f), %.1f %%",
                                     used ? "; " : "", b->width_nm, b->width_ci95[0], b->width_ci95[1], 100 * b->depth);
        else
            used += (size_t)snprintf(value + used, sizeof value - used, "%sat the border", used ? "; " : "");
    }
    cli_print_row(&m->run, item, "width (95 %), depth", value, r->verdict);
}

static enum mro_code write_files(void *state, struct cli_item *item, const void *result, struct mro_error *e)
{
    struct shearband *m = state;
    const struct mro_shearband_result *r = result;
    char *stem, suffix[32];
    if (r->n_bands) {
        MRO_TRY(cli_write_text(item, &m->run.job, ".profile.csv", mro_csv_shearband_profile(r, e), e));
        MRO_TRY(cli_write_text(item, &m->run.job, ".segments.csv", mro_csv_shearband_segments(r, e), e));
        if (r->elements)
            MRO_TRY(cli_write_text(item, &m->run.job, ".elements.csv", mro_csv_shearband_elements(r, e), e));
    }
    for (size_t k = 0; k < r->n_bands; k++) {
        snprintf(suffix, sizeof suffix, ".band%zu.tif", k);
        MRO_TRY(cli_write_map(&m->run, item, suffix, &r->band[k].straight, e));
    }
    MRO_TRY(cli_figure_stem(item, &m->run.job, &stem, e));
    const enum mro_code code = mro_figure_shearband(stem, &item->pixels, cli_short_name(item), r, e);
    free(stem);
    return code;
}

static json_t *json(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e)
{
    (void)state;
    return mro_json_shearband(h, result, e);
}

static char *const *warnings(const void *result, size_t *n)
{
    const struct mro_shearband_result *r = result;
    *n = r->n_warnings;
    return r->warnings;
}

static void release(void *result) { mro_shearband_result_release(result); }

const struct cli_verb cli_verb_shearband = {
    .name = "shearband",
    .help = "where shear bands are, how wide and how deep, and whether they are more than chance",
    .operands = "FILE...",
    .about = about,
    .notes = notes,
    .algorithm = MRO_SHEARBAND_ALGORITHM,
    .state_size = sizeof(struct shearband),
    .own = { { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, 0 } },
    .common = CLI_GROUPS_ALL,
    .defaults = defaults,
    .check = check,
    .result_size = sizeof(struct mro_shearband_result),
    .need = need,
    .measure = measure,
    .write = write_files,
    .json = json,
    .warnings = warnings,
    .print = print,
    .release = release,
};

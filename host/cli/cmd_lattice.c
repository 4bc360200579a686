/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/verb.h"
#include "core/decimals.h"
#include "mroscope/crystal.h"
#include "report/figure.h"

/* Options as they are written; those with a list or a word are put into `o` after parsing. */
struct settings {
    struct mro_crystal_options o;
    struct cli_list phases, g;
    struct cli_numbers reference, line;
};

#define AT(field) offsetof(struct settings, field)
static const struct cli_option measure_rows[] = {
    { "d-range", 0, "LO,HI", "nm", "lattice spacings looked for", CLI_DBAND, AT(o.band_inv_nm), true, 0.05, 2 },
    { "g", 0, "GX,GY", "1/nm",
      "wave vector of a set of fringes to measure in place of looking for any; or SPACING@AZIMUTH in nm and degrees, "
      "such as 0.2027@30; given once or twice",
      CLI_LIST, AT(g), true, 0, 0 },
    { "reference-d", 0, "NM", "nm", "spacing without strain (default: a reference area in each crystal)", CLI_DOUBLE,
      AT(o.reference_d_nm), true, 0.05, 2 },
    { "reference", 0, "X0,Y0,X1,Y1", "nm",
      "area that strain is relative to (default: the calmest part of each crystal)", CLI_RECTANGLE, AT(reference), true,
      0, 1e9 },
    { "mask", 0, "INV_NM", "1/nm", "standard deviation of the Gaussian mask around each spot", CLI_DOUBLE,
      AT(o.mask_inv_nm), true, 0.1, 1.2 },
    { "phase", 0, "NAME:A:STRUCTURE", "nm",
      "name and lattice parameter A of a phase to index with beside alpha-Fe; its structure is bcc, fcc, hcp (and :C "
      "behind it), sc or diamond, such as gamma-Fe:0.3591:fcc; may be repeated",
      CLI_LIST, AT(phases), true, 0, 0 },
    { "band-line", 0, "X0,Y0,X1,Y1", "nm",
      "a line along the middle of a shear band: spacing, size and number of crystals against the distance from it",
      CLI_LINE, AT(line), true, -1e9, 1e9 },
    { "band-width", 0, "NM", "nm", "width of that band: crystals inside against outside", CLI_DOUBLE,
      AT(o.band_width_nm), true, 1e-3, 1e9 },
    { "false-crystals", 0, "N", "", "crystals that speckle alone may give in an image", CLI_DOUBLE,
      AT(o.false_per_image), true, 1e-6, 1 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(o.seed),
      false, 0, 0 },
    /* the seed has a field of its own in the provenance */
};

static const char about[] =
    "Finds nanocrystals in an HRTEM image: position, diameter, lattice spacings with standard errors, azimuths, the "
    "phase "
    "and zone axis that fit, and how the lattice is strained (geometric phase analysis with two sets of fringes; with "
    "one "
    "set along its normal only). Strain is that of the real lattice: positive where spacings are longer. x points "
    "right "
    "and y down; exy > 0 stretches from top left to bottom right; rotations are positive from x toward y.";
static const char notes[] =
    "Files written with -o DIR, for each image\n"
    "  NAME.lattice.json             all numbers, and where they come from\n"
    "  NAME.lattice.crystals.csv     a line for every set of fringes of every crystal\n"
    "  NAME.lattice.png .svg .pdf    the figure\n"
    "  NAME.lattice.exx.tif .eyy.tif .exy.tif   strain; NaN where fringes are below three times the noise\n"
    "  NAME.lattice.rotation.tif     rotation of the lattice, degrees\n"
    "  NAME.lattice.normal.tif       strain along the normal of the main set of fringes\n"
    "  NAME.lattice.filtered.tif     the image of the spots alone; shows fringes in noise too\n"
    "Maps are float32 TIFF that open in ImageJ with their scale.\n\n"
    "Examples\n"
    "  mroscope lattice --reference-d 0.2027 -o results images/*.dm4\n"
    "  mroscope lattice --g 0.2027@30 --g 0.2027@90 --reference 4,4,7,7 -o results crystal.dm4\n"
    "  mroscope lattice --phase gamma-Fe:0.3591:fcc --band-line 0,12,40,18 --band-width 15 -o out band.dm4";

struct lattice {
    struct cli_run run;
    struct settings settings;
};

static void defaults(void *state)
{
    struct lattice *m = state;
    mro_crystal_options_default(&m->settings.o);
    m->run.seed = &m->settings.o.seed;
}

static int check(void *state)
{
    struct lattice *m = state;
    struct settings *s = &m->settings;
    struct mro_error e;
    if (s->reference.n) memcpy(s->o.reference_nm, s->reference.v, sizeof s->o.reference_nm);
    if (s->line.n) memcpy(s->o.band_line_nm, s->line.v, sizeof s->o.band_line_nm);
    if (s->reference.n && isfinite(s->o.reference_d_nm))
        return cli_wrong_usage("lattice",
                               "strain is relative to a spacing or to an area: give `reference_d` or `reference`");
    if (isfinite(s->o.band_width_nm) && s->line.n == 0)
        return cli_wrong_usage("lattice", "a band has a line along its middle: give `band_line` with `band_width`");
    if (s->g.n > 2)
        return cli_wrong_usage("lattice", "`g` may be given twice at most: strain is from two sets of fringes");
    for (size_t i = 0; i < s->g.n; i++)
        if (mro_fringes_parse(s->g.v[i], s->o.g_inv_nm[s->o.n_g++], &e) != MRO_OK) return cli_refuse("lattice", &e);
    if (s->phases.n + s->o.n_phases > MRO_PHASES)
        return cli_wrong_usage("lattice", "`phase` may be given %zu times at most", MRO_PHASES - s->o.n_phases);
    for (size_t i = 0; i < s->phases.n; i++)
        if (mro_phase_parse(s->phases.v[i], &s->o.phases[s->o.n_phases++], &e) != MRO_OK)
            return cli_refuse("lattice", &e);
    return -1;
}

static size_t need(const void *state, const struct mro_image *like)
{
    const struct lattice *m = state;
    return mro_crystal_bytes(like, &m->settings.o);
}

static enum mro_code measure(void *state, enum cli_place place, const struct cli_item *item, void *result,
                             struct mro_error *e)
{
    struct lattice *m = state;
    return mro_crystal_measure(m->run.places->device[place], &item->pixels, item->name, &m->settings.o, result, e);
}

static void print(void *state, const struct cli_item *item, const void *result)
{
    struct lattice *m = state;
    const struct mro_crystal_result *r = result;
    char number[32];
    if (r->power.px)
        snprintf(number, sizeof number, "%zu", r->n_crystals);
    else
        snprintf(number, sizeof number, "not measured");
    cli_print_row(&m->run, item, "crystals", number, r->verdict);
    for (size_t k = 0; k < r->n_crystals && k < 12; k++) {
        const struct mro_crystal *c = &r->crystals[k];
        const struct mro_fringes *f = &c->fringes[0];
        char spacing[48], stretch[48], strain[64] = "", phase[64] = "";
        mro_write_with_error(spacing, sizeof spacing, f->d_nm, f->d_se_nm, 4, " +- ");
        mro_write_with_error(stretch, sizeof stretch, fabs(100 * c->enn), 100 * c->e_se, 2, " +- ");
        if (isfinite(c->enn)) snprintf(strain, sizeof strain, ", strain %c%s %%", signbit(c->enn) ? '-' : '+', stretch);
        if (c->phase >= 0)
            snprintf(phase, sizeof phase, ", %s%s %d%d%d", c->n_fringes == 1 ? "the spacing of " : "",
                     m->settings.o.phases[c->phase].name, f->hkl[0], f->hkl[1], f->hkl[2]);
        else
            snprintf(phase, sizeof phase, ", no phase fits");
        printf("    %zu: %.2f nm at %.2f,%.2f nm, d = %s nm at %.1f degrees, %zu set%s of fringes%s%s\n", k + 1,
               c->diameter_nm, c->x_nm, c->y_nm, spacing, f->azimuth_deg, c->n_fringes, c->n_fringes == 1 ? "" : "s",
               phase, strain);
    }
    if (r->n_crystals > 12) printf("    and %zu more\n", r->n_crystals - 12);
    fflush(stdout);
}

static enum mro_code write_files(void *state, struct cli_item *item, const void *result, struct mro_error *e)
{
    struct lattice *m = state;
    const struct mro_crystal_result *r = result;
    const struct {
        const char *suffix;
        const struct mro_image *map;
    } maps[] = { { ".exx.tif", &r->exx },           { ".eyy.tif", &r->eyy },    { ".exy.tif", &r->exy },
                 { ".rotation.tif", &r->rotation }, { ".normal.tif", &r->enn }, { ".filtered.tif", &r->filtered } };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        MRO_TRY(cli_write_map(&m->run, item, maps[i].suffix, maps[i].map, e));
    MRO_TRY(cli_write_text(item, &m->run.job, ".crystals.csv", mro_csv_crystals(r, &m->settings.o, e), e));
    char *stem;
    MRO_TRY(cli_figure_stem(item, &m->run.job, &stem, e));
    const enum mro_code code =
        mro_figure_lattice(stem, m->run.common.figure_mm, &item->pixels, cli_short_name(item), r, &m->settings.o, e);
    free(stem);
    return code;
}

static json_t *json(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e)
{
    const struct lattice *m = state;
    return mro_json_crystals(h, result, &m->settings.o, e);
}

static char *const *warnings(const void *result, size_t *n)
{
    const struct mro_crystal_result *r = result;
    *n = r->n_warnings;
    return r->warnings;
}

static void release(void *result) { mro_crystal_result_release(result); }

const struct cli_verb cli_verb_lattice = {
    .name = "lattice",
    .help = "nanocrystals in HRTEM images: size, lattice spacings, phase, strain and dislocations",
    .operands = "FILE...",
    .about = about,
    .notes = notes,
    .algorithm = MRO_CRYSTAL_ALGORITHM,
    .state_size = sizeof(struct lattice),
    .own = { { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows,
               offsetof(struct lattice, settings) } },
    .common = CLI_GROUPS_ALL,
    .defaults = defaults,
    .check = check,
    .result_size = sizeof(struct mro_crystal_result),
    .need = need,
    .measure = measure,
    .write = write_files,
    .json = json,
    .warnings = warnings,
    .print = print,
    .release = release,
};

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/maps.h"
#include "cli/verb.h"
#include "core/notes.h"
#include "mroscope/shearband.h"
#include "report/figure.h"

struct shearband {
    struct cli_run run;
    struct mro_shearband_options options;
    int signal; /* of enum mro_shearband_signal */
    struct cli_numbers line, width;
    struct cli_list map;
    const char *k;
    bool at_maps;
    double map_pixel_nm[2]; /* x, y; 0 = from the file */
    struct mro_eds_options eds;
    /* Maps of the field, read once, and what there is to say of them. */
    struct cli_maps *maps;
    struct cli_sources sources;
    char **warnings;
    size_t n_warnings;
};

#define AT(field) offsetof(struct shearband, field)
static const struct cli_option measure_rows[] = {
    { "signal", 0, "mean|variance", "",
      "what a band changes: the mean intensity, or (HRTEM) how strong the speckle is, the variance within 1 nm",
      CLI_CHOICE, AT(signal), true, 0, 0 },
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

static const struct cli_option map_rows[] = {
    { "map", 0, "ELEMENT=FILE", "",
      "count map of an element in the field of the image, once for each; or ELEMENT,ELEMENT,...=FILE for a stack or a "
      "Velox file with spectra: composition across each band",
      CLI_LIST, AT(map), true, 0, 0 },
    { "k", 0, "LIST", "", "Cliff-Lorimer factors on weight fractions, such as Fe=1,Si=0.9", CLI_STRING, AT(k), true, 0,
      0 },
    { "at-maps", 0, NULL, "", "the maps hold at.%, not counts", CLI_FLAG, AT(at_maps), true, 0, 0 },
    { "map-pixel", 0, "NM", "nm", "pixel size of the maps, or X,Y where it differs; wins over what their files say",
      CLI_PIXEL, AT(map_pixel_nm), true, 1e-4, 1e6 },
};

static const char about[] =
    "Finds shear bands in a HAADF or HRTEM image, or takes one that is given by two points: position, width and depth "
    "with 95 % intervals from segments along the band, and whether a random field of the same spectrum shows stripes "
    "as strong. A depth is relative to the glass beside the band, positive where the band is darker or, with "
    "`signal=variance`, more even.";
static const char notes[] =
    "Files written with -o DIR, for each image\n"
    "  NAME.shearband.json            all numbers, and where they come from\n"
    "  NAME.shearband.profile.csv     mean contrast along the normal of each band, standard error, fit\n"
    "  NAME.shearband.segments.csv    position, width and depth along each band\n"
    "  NAME.shearband.elements.csv    composition across each band, with --map\n"
    "  NAME.shearband.bandN.tif       the straightened band: contrast, rows along the band\n"
    "  NAME.shearband.png .svg .pdf   the figure\n\n"
    "Examples\n"
    "  mroscope shearband -o results images/*.dm4\n"
    "  mroscope shearband --signal variance -o results hrtem.dm4\n"
    "  mroscope shearband --line 20,10,35,190 --thickness 60 -o results images/band.emd\n"
    "  mroscope shearband --map Fe=Fe.tif --map Si=Si.tif --k Fe=1,Si=0.9 -o results images/band.tif";

static void defaults(void *state)
{
    struct shearband *m = state;
    mro_shearband_options_default(&m->options);
    mro_eds_options_default(&m->eds);
    m->run.seed = &m->options.seed;
}

static int check(void *state)
{
    struct shearband *m = state;
    struct mro_shearband_options *o = &m->options;
    struct mro_error e;
    if (m->map.n == 0 && (m->k || m->at_maps || m->map_pixel_nm[0] > 0))
        return cli_wrong_usage("shearband", "%s needs maps: `map=Fe=FILE` `map=Si=FILE`",
                               m->k         ? "`k`"
                               : m->at_maps ? "`at_maps`"
                                            : "`map_pixel`");
    if (cli_maps_check(&m->map, &e) != MRO_OK) return cli_refuse("shearband", &e);
    if (m->map.n && m->run.args.n > 1)
        return cli_wrong_usage("shearband", "`map` is of the field of one image, but %zu files are given",
                               m->run.args.n);
    if (m->k && mro_eds_k_parse(&m->eds.k, m->k, &e) != MRO_OK) return cli_refuse("shearband", &e);
    if (o->segments > 0 && o->segments < 4)
        return cli_wrong_usage("shearband", "`segments` can be 0, or 4 to %d", MRO_SHEARBAND_SEGMENTS);
    if (m->width.n && m->width.n != 2)
        return cli_wrong_usage("shearband", "`width` wants two widths in nm, LO,HI such as 5,50");
    if (o->alpha * (o->surrogates + 1) < 1 - 1e-9)
        return cli_wrong_usage("shearband", "`alpha` %g needs `surrogates` %.0f at least", o->alpha,
                               ceil(1 / o->alpha) - 1);
    o->signal = (enum mro_shearband_signal)m->signal;
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
    struct mro_shearband_result *r = result;
    MRO_TRY(mro_shearband_measure(m->run.places->device[place], &item->pixels, item->name, &m->options, r, e));
    if (m->maps == NULL) return MRO_OK;
    const enum mro_code rc =
        mro_shearband_composition(m->run.places->device[place], r, &m->maps->field, item->name, &m->eds, e);
    if (rc)
        mro_shearband_result_release(r);
    else
        for (size_t i = 0; i < m->n_warnings; i++) mro_warn(r, "%s", m->warnings[i]);
    return rc;
}

static void release_maps(void *state)
{
    struct shearband *m = state;
    if (m->maps) cli_maps_release(m->maps);
    free(m->maps);
    m->maps = NULL;
    cli_sources_release(&m->sources);
    mro_notes_release(&m->warnings, &m->n_warnings);
}

static enum mro_code read_maps(struct shearband *m, struct mro_error *e)
{
    struct cli_common c = m->run.common;
    memcpy(c.pixel_nm, m->map_pixel_nm, sizeof c.pixel_nm); /* --pixel is the image's */
    c.pixel_manifest = false;
    release_maps(m);
    if (m->map.n == 0) return MRO_OK;
    if ((m->maps = calloc(1, sizeof *m->maps)) == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left for maps");
    for (size_t i = 0; i < m->map.n; i++) {
        const enum mro_code rc = cli_maps_add(m->maps, &c, m->map.v[i], &m->sources, &m->warnings, &m->n_warnings, e);
        if (rc == MRO_ECALIB && e->lack == MRO_LACKS_PIXEL_SIZE)
            return MRO_FAIL(e, rc, "'%s' has no pixel size in nm; give that of the maps with `map_pixel`",
                            cli_map_path(m->map.v[i]));
        if (rc) return rc;
    }
    m->maps->field.at_percent = m->at_maps;
    m->eds.seed = m->options.seed;
    return MRO_OK;
}

static int walk(void *state)
{
    struct shearband *m = state;
    struct mro_error e;
    char *paths[CLI_MAX_LIST];
    const struct cli_args maps = { .files = paths, .n = m->map.n };
    if (read_maps(m, &e)) {
        cli_report(&m->run.job, &e);
        return 1;
    }
    for (size_t i = 0; i < maps.n; i++) paths[i] = (char *)cli_map_path(m->map.v[i]);
    m->run.job.beside = &maps;
    const int rc = cli_each_frame(&m->run.job, &m->run.args);
    m->run.job.beside = NULL;
    return rc;
}

/* A line for each band. */
static void print_bands(const struct mro_shearband_result *r)
{
    for (size_t k = 0; k < r->n_bands; k++) {
        const struct mro_shearband *b = &r->band[k];
        printf("  %zu: at %.1f nm, normal at %.1f degrees, ", k + 1, b->position_nm, b->normal_azimuth_deg);
        const int decimals = b->width_nm < 1 ? 2 : 1;
        if (isfinite(b->width_nm))
            printf("width %.*f nm (%.*f to %.*f), depth %.1f %% (%.1f to %.1f)\n", decimals, b->width_nm, decimals,
                   b->width_ci95[0], decimals, b->width_ci95[1], 100 * b->depth, 100 * b->depth_ci95[0],
                   100 * b->depth_ci95[1]);
        else
            printf("one edge in the field, no width\n");
    }
}

static void print_elements(const struct mro_shearband_result *r)
{
    for (size_t k = 0; r->elements && k < r->n_bands; k++)
        for (size_t j = 0; j < r->elements[k].n; j++) {
            const struct mro_shearband_element *el = &r->elements[k].element[j];
            printf("  band at %.1f nm: %-2s %.2f at.%% inside, %.2f beside", r->band[k].position_nm, el->symbol,
                   el->inside_at, el->outside_at);
            if (isfinite(el->p))
                printf("; %+.2f (%.2f to %.2f), p %.2g", el->difference_at, el->difference_ci95[0],
                       el->difference_ci95[1], el->p);
            putchar('\n');
        }
}

static void print(void *state, const struct cli_item *item, const void *result)
{
    struct shearband *m = state;
    const struct mro_shearband_result *r = result;
    char value[32];
    if (r->n_bands)
        snprintf(value, sizeof value, "%zu", r->n_bands);
    else
        snprintf(value, sizeof value, isfinite(r->p_value) ? "none" : "not measured");
    cli_print_row(&m->run, item, "bands", value, r->verdict);
    print_bands(r);
    print_elements(r);
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
    const enum mro_code code =
        mro_figure_shearband(stem, m->run.common.figure_mm, &item->pixels, cli_short_name(item), r, e);
    free(stem);
    return code;
}

static json_t *json(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e)
{
    const struct shearband *m = state;
    const struct mro_result_inputs maps = cli_sources_json(&m->sources);
    return mro_json_shearband(h, result, &maps, e);
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
    .own = { { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, 0 },
             { "Composition across bands", map_rows, sizeof map_rows / sizeof *map_rows, 0 } },
    .common = CLI_GROUPS_ALL,
    .defaults = defaults,
    .check = check,
    .walk = walk,
    .close = release_maps,
    .result_size = sizeof(struct mro_shearband_result),
    .need = need,
    .measure = measure,
    .write = write_files,
    .json = json,
    .warnings = warnings,
    .print = print,
    .release = release,
};

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/verb.h"
#include "mroscope/math/hd.h"
#include "report/figure.h"

#define AT(field) offsetof(struct mro_bandpass_options, field)
static const struct cli_option filter_rows[] = {
    { "band", 0, "LO,HI", "1/nm", "spatial frequencies 1/d to keep, half amplitude at the limits", CLI_BAND,
      AT(band_inv_nm), true, 1e-3, 100 },
    { "d-band", 0, "LO,HI", "nm", "the same band as spacings d", CLI_DBAND, AT(band_inv_nm), false, 0.01, 1000 },
    { "edge", 0, "WIDTH", "1/nm", "full width of the smooth edges", CLI_DOUBLE, AT(edge_inv_nm), true, 0, 100 },
};

static const char about[] = "Keeps a band of spatial frequencies 1/d of each image, with smooth edges, and writes the "
                            "filtered image as calibrated "
                            "float32 TIFF. The defaults keep the fringes of alpha-Fe (110), d = 0.203 nm.";
static const char notes[] =
    "Files written with -o DIR, for each image: NAME.bandpass.tif (filtered image), NAME.bandpass.json, and\n"
    "NAME.bandpass.png .svg .pdf (before and after).\n\n"
    "Examples\n"
    "  mroscope bandpass -o filtered image.dm4\n"
    "  mroscope bandpass --d-band 0.17,0.24 --pixel 0.02 -o filtered image.tif";

struct bandpass {
    struct cli_run run;
    struct mro_bandpass_options options;
};

static void defaults(void *state) { mro_bandpass_options_default(&((struct bandpass *)state)->options); }

/* The filtered image, and half a plane of its transform. */
static size_t need(const void *state, const struct mro_image *like)
{
    (void)state;
    return like->ny * (like->nx * sizeof(float) + (like->nx / 2 + 1) * sizeof(mro_c32));
}

static enum mro_code filter(void *state, enum cli_place place, const struct cli_item *item, void *result,
                            struct mro_error *e)
{
    struct bandpass *b = state;
    return mro_bandpass(b->run.places->device[place], &item->pixels, item->name, &b->options, result, e);
}

static enum mro_code write_files(void *state, struct cli_item *item, const void *result, struct mro_error *e)
{
    struct bandpass *b = state;
    const struct mro_bandpass_result *r = result;
    char *stem;
    MRO_TRY(cli_write_map(&b->run, item, ".tif", &r->filtered, e));
    MRO_TRY(cli_figure_stem(item, &b->run.job, &stem, e));
    const enum mro_code code = mro_figure_image(stem, b->run.common.figure_mm, &item->pixels, &r->filtered,
                                                b->options.band_inv_nm, cli_short_name(item), e);
    free(stem);
    return code;
}

static json_t *json(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e)
{
    const struct bandpass *b = state;
    return mro_json_bandpass(h, &b->options, result, e);
}

static void print(void *state, const struct cli_item *item, const void *result)
{
    const struct bandpass *b = state;
    const struct mro_bandpass_result *r = result;
    const double *g = b->options.band_inv_nm, *px = r->pixel_nm;
    char periods[160];
    if (px[0] == px[1])
        snprintf(periods, sizeof periods, "%.4g to %.4g pixels of %.4g nm", 1 / (g[1] * px[1]), 1 / (g[0] * px[1]),
                 px[1]);
    else
        snprintf(periods, sizeof periods, "%.4g to %.4g pixels of %.4g nm along x, %.4g to %.4g of %.4g nm along y",
                 1 / (g[1] * px[1]), 1 / (g[0] * px[1]), px[1], 1 / (g[1] * px[0]), 1 / (g[0] * px[0]), px[0]);
    char rms[80] = "not measured";
    if (isfinite(r->rms_in)) snprintf(rms, sizeof rms, "%.4g before, %.4g after", r->rms_in, r->rms_out);
    cli_put(stdout, "%s: %g to %g 1/nm (d %.4g to %.4g nm, periods of %s), rms %s\n", item->name, g[0], g[1], 1 / g[1],
            1 / g[0], periods, rms);
}

static void release(void *result) { mro_bandpass_result_release(result); }

const struct cli_verb cli_verb_bandpass = {
    .name = "bandpass",
    .help = "filter images to a band of spatial frequencies 1/d",
    .operands = "FILE...",
    .about = about,
    .notes = notes,
    .algorithm = MRO_BANDPASS_ALGORITHM,
    .state_size = sizeof(struct bandpass),
    .own = { { "Filter", filter_rows, sizeof filter_rows / sizeof *filter_rows, offsetof(struct bandpass, options) } },
    .common = CLI_GROUPS_ALL,
    .defaults = defaults,
    .result_size = sizeof(struct mro_bandpass_result),
    .need = need,
    .measure = filter,
    .write = write_files,
    .json = json,
    .print = print,
    .release = release,
};

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/inputs.h"
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
    struct cli_common common;
    struct mro_bandpass_options options;
    struct cli_places places;
    struct cli_job job;
};

/* One image on its way. */
struct filtering {
    struct bandpass *b;
    const struct cli_item *item;
    struct mro_bandpass_result result;
    const char *backend;
};

static void print_row(const struct cli_item *item, const struct mro_bandpass_options *o,
                      const struct mro_bandpass_result *r)
{
    const double *g = o->band_inv_nm, *px = r->pixel_nm;
    char periods[160];
    if (px[0] == px[1])
        snprintf(periods, sizeof periods, "%.4g to %.4g pixels of %.4g nm", 1 / (g[1] * px[1]), 1 / (g[0] * px[1]),
                 px[1]);
    else
        snprintf(periods, sizeof periods, "%.4g to %.4g pixels of %.4g nm along x, %.4g to %.4g of %.4g nm along y",
                 1 / (g[1] * px[1]), 1 / (g[0] * px[1]), px[1], 1 / (g[1] * px[0]), 1 / (g[0] * px[0]), px[0]);
    printf("%s: %g to %g 1/nm (d %.4g to %.4g nm, periods of %s), rms %.4g before, %.4g after\n", item->name, g[0],
           g[1], 1 / g[1], 1 / g[0], periods, r->rms_in, r->rms_out);
}

static enum mro_code write_files(struct bandpass *b, struct cli_item *item, const struct mro_bandpass_result *r,
                                 struct mro_error *e)
{
    const char *path;
    char *stem;
    MRO_TRY(cli_output(item, &b->job, ".tif", &path, e));
    MRO_TRY(mro_write_tiff(path, &r->filtered, e));
    MRO_TRY(cli_figure_stem(item, &b->job, &stem, e));
    const enum mro_code code =
        mro_figure_image(stem, &item->pixels, &r->filtered, b->options.band_inv_nm, item->name, e);
    free(stem);
    return code;
}

static enum mro_code filter(void *context, enum cli_place place, struct mro_error *e)
{
    struct filtering *f = context;
    struct mro_device *d = f->b->places.device[place];
    f->backend = mro_device_backend(d);
    return mro_bandpass(d, &f->item->pixels, f->item->name, &f->b->options, &f->result, e);
}

static enum mro_code filter_frame(void *context, struct cli_item *item, struct mro_error *e)
{
    struct bandpass *b = context;
    struct filtering f = { .b = b, .item = item };
    struct cli_head h = { 0 };
    enum mro_code code = cli_compute(&b->common, &b->places, item->name, filter, &f, e);
    if (code == MRO_OK) code = cli_head(&b->job, item, NULL, 0, &h, e);
    if (code == MRO_OK && item->stem) code = write_files(b, item, &f.result, e);
    if (code == MRO_OK) {
        h.provenance.backend = f.backend;
        h.provenance.algorithm = MRO_BANDPASS_ALGORITHM;
        code = cli_emit(item, &b->job, mro_json_bandpass(&h.head, &b->options, &f.result, e), e);
    }
    if (code == MRO_OK) {
        cli_warn(&b->common, item->path, h.warnings, h.head.n_warnings);
        if (!b->common.json) print_row(item, &b->options, &f.result);
    }
    cli_head_release(&h);
    mro_bandpass_result_release(&f.result);
    return code;
}

/* The filtered image, and half a plane of its transform. */
static size_t need(const void *context, const struct mro_image *like)
{
    (void)context;
    return like->ny * (like->nx * sizeof(float) + (like->nx / 2 + 1) * sizeof(mro_c32));
}

int cmd_bandpass(int argc, char **argv)
{
    struct bandpass b = { 0 };
    mro_bandpass_options_default(&b.options);
    const struct cli_group groups[] = {
        { "Filter", filter_rows, sizeof filter_rows / sizeof *filter_rows, &b.options },
        { "Input", cli_input_options, cli_n_input_options, &b.common },
        { "Computing", cli_run_options, cli_n_run_options, &b.common },
        { "Output", cli_output_options, cli_n_output_options, &b.common },
    };
    const struct cli_usage usage = { "bandpass", "FILE...", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0) rc = cli_open_device(&b.common, "bandpass", &b.places.device[CLI_CHOSEN]);
    if (rc == 0 && b.places.device[CLI_CHOSEN]) {
        b.job = (struct cli_job){ .usage = &usage,
                                  .common = &b.common,
                                  .context = &b,
                                  .places = &b.places,
                                  .need = need,
                                  .frame = filter_frame };
        rc = cli_each_frame(&b.job, &args);
    }
    cli_places_close(&b.places);
    cli_warn_end(&b.common);
    cli_args_release(&args);
    return rc;
}

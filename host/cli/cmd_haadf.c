/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "mroscope/haadf.h"
#include "report/figure.h"

/* Options as they are written; those with a list or a word are read into `o` after parsing. */
struct settings {
    struct mro_haadf_options o;
    const char *signal, *thresholds, *vacuum;
};

#define AT(field) offsetof(struct settings, field)
static const struct cli_option measure_rows[] = {
    { "signal", 0, "haadf|hrtem", "",
      "what the image is: HAADF, or HRTEM with a band that leaves the lattice out (default haadf)", CLI_STRING,
      AT(signal), true, 0, 0 },
    { "band", 0, "LO,HI", "1/nm", "spatial frequencies 1/d that the contrast is measured in", CLI_BAND,
      AT(o.band_inv_nm), true, 1e-3, 100 },
    { "d-band", 0, "LO,HI", "nm", "the same band as wavelengths d", CLI_DBAND, AT(o.band_inv_nm), false, 0.01, 1000 },
    { "black-level", 0, "COUNTS", "counts",
      "what the detector reads without beam (default: 0, or the median of --vacuum)", CLI_DOUBLE, AT(o.black_level),
      true, -1e9, 1e9 },
    { "vacuum", 0, "X0,Y0,X1,Y1", "nm",
      "a rectangle without specimen: its median is the black level, and it is left out", CLI_STRING, AT(vacuum), true,
      0, 0 },
    { "polynomial", 0, "DEGREE", "", "degree of the background that the image is divided by", CLI_INT, AT(o.polynomial),
      true, 0, MRO_HAADF_DEGREE },
    { "high-pass", 0, "NM", "nm", "standard deviation of the Gaussian that it is divided by next; 0 = none", CLI_DOUBLE,
      AT(o.high_pass_nm), true, 0, 1e5 },
    { "thresholds", 0, "U,U,...", "standard deviations", "how deep dark and bright regions are (default 1,1.5,2,3)",
      CLI_STRING, AT(thresholds), true, 0, 0 },
    { "surrogates", 0, "N", "", "random fields of the same spectrum that the image is compared with", CLI_INT,
      AT(o.surrogates), true, 299, 100000 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(o.seed),
      false, 0, 0 },
    /* the seed has a field of its own in the provenance */
};

static const char about[] =
    "Measures how heterogeneous a HAADF-STEM image is: the standard deviation of its contrast within a band of spatial "
    "frequencies with background, counting noise and scan-line noise taken out, how far the contrast reaches, and "
    "whether there "
    "are more dark or bright regions than a random field of the same spectrum shows. Frames of a stack are measured "
    "each, and "
    "together: then the noise is what differs between them.";
static const char notes[] =
    "Files written with -o DIR, for each image\n"
    "  NAME.haadf.json            all numbers, and where they come from\n"
    "  NAME.haadf.png .svg .pdf   the figure\n"
    "  NAME.haadf.flat.tif        contrast with background and scan lines taken out, smoothed as the regions need\n"
    "  NAME.haadf.dark.tif        -1 dark region, 1 bright region, 0 neither\n"
    "Maps are float32 TIFF that open in ImageJ with their scale.\n\n"
    "Examples\n"
    "  mroscope haadf --black-level 1200 -o results images/*.emd\n"
    "  mroscope haadf --signal hrtem --band 0.1,0.8 -o results images/*.dm4";

struct haadf {
    struct cli_common common;
    struct settings settings;
    struct cli_places places;
    struct cli_job job;
    struct mro_haadf_pool pool;            /* of the frames of one image, */
    bool pooled_on[CLI_PLACES];            /* and where they were measured */
    double black_level, clipped, coverage; /* of the frames: of the last, the largest, the least */
    int name_width;
    bool titled;
};

/* Numbers separated by commas; how many, or 0. */
static size_t read_list(const char *text, double *v, size_t room)
{
    size_t n = 0;
    for (;;) {
        char *end;
        if (n == room) return 0;
        v[n] = strtod(text, &end);
        if (end == text || !isfinite(v[n])) return 0;
        n++;
        if (*end == '\0') return n;
        if (*end != ',') return 0;
        text = end + 1;
    }
}

/* -1 to go on, or 2 after one sentence. */
static int read_settings(struct settings *s)
{
    if (s->signal) {
        s->o.hrtem = strcmp(s->signal, "hrtem") == 0;
        if (!s->o.hrtem && strcmp(s->signal, "haadf") != 0) {
            fprintf(stderr, "mroscope: haadf: --signal wants haadf or hrtem, not '%s'\n", s->signal);
            return 2;
        }
    }
    if (s->thresholds) {
        s->o.n_thresholds = read_list(s->thresholds, s->o.thresholds_sd, MRO_HAADF_LEVELS);
        bool good = s->o.n_thresholds > 0;
        for (size_t i = 0; i < s->o.n_thresholds && good; i++)
            good = s->o.thresholds_sd[i] > (i ? s->o.thresholds_sd[i - 1] : 0) && s->o.thresholds_sd[i] <= 10;
        if (!good) {
            fprintf(stderr,
                    "mroscope: haadf: --thresholds wants up to %d rising numbers between 0 and 10 such as 1,1.5,2, not "
                    "'%s'\n",
                    MRO_HAADF_LEVELS, s->thresholds);
            return 2;
        }
    }
    if (s->vacuum) {
        const double *v = s->o.vacuum_nm;
        if (read_list(s->vacuum, s->o.vacuum_nm, 4) != 4 || !(v[0] >= 0 && v[1] >= 0 && v[2] > v[0] && v[3] > v[1])) {
            fprintf(
                stderr,
                "mroscope: haadf: --vacuum wants a rectangle X0,Y0,X1,Y1 in nm from the top-left corner, not '%s'\n",
                s->vacuum);
            return 2;
        }
    }
    return -1;
}

static void print_row(struct haadf *m, const struct cli_item *item, const struct mro_haadf_result *r)
{
    char contrast[64];
    if (!m->titled) printf("%-*s  %-28s  %s\n", m->name_width, "image", "contrast (95 %)", "verdict");
    m->titled = true;
    if (isfinite(r->contrast_sd))
        snprintf(contrast, sizeof contrast, "%.2f %% (%.2f to %.2f %%)", 100 * r->contrast_sd,
                 100 * r->contrast_sd_ci95[0], 100 * r->contrast_sd_ci95[1]);
    else if (isfinite(r->contrast_sd_ci95[1]))
        snprintf(contrast, sizeof contrast, "below %.2f %%", 100 * r->contrast_sd_ci95[1]);
    else
        snprintf(contrast, sizeof contrast, "not measured");
    printf("%-*s  %-28s  %s\n", m->name_width, item->name, contrast, r->verdict);
    fflush(stdout);
}

static enum mro_code write_map(struct haadf *m, struct cli_item *item, const char *suffix, const struct mro_image *map,
                               struct mro_error *e)
{
    const char *path;
    if (map->px == NULL) return MRO_OK;
    MRO_TRY(cli_output(item, &m->job, suffix, &path, e));
    return mro_write_tiff(path, map, e);
}

static enum mro_code write_files(struct haadf *m, struct cli_item *item, const struct mro_haadf_result *r,
                                 struct mro_error *e)
{
    MRO_TRY(write_map(m, item, ".flat.tif", &r->flat, e));
    MRO_TRY(write_map(m, item, ".dark.tif", &r->mask, e));
    char *stem;
    MRO_TRY(cli_figure_stem(item, &m->job, &stem, e));
    const char *slash = strrchr(item->name, '/'); /* a figure does not need the folder */
    const enum mro_code code = mro_figure_haadf(stem, &item->pixels, slash ? slash + 1 : item->name, r, e);
    free(stem);
    return code;
}

static enum mro_code publish(struct haadf *m, struct cli_item *item, const struct mro_haadf_result *r,
                             const char *backend, struct mro_error *e)
{
    struct cli_head h = { 0 };
    enum mro_code code = cli_head(&m->job, item, (const char *const *)r->warnings, r->n_warnings, &h, e);
    if (code == MRO_OK) {
        h.provenance.backend = backend;
        h.provenance.algorithm = MRO_HAADF_ALGORITHM;
        h.provenance.has_seed = true;
        h.provenance.seed = m->settings.o.seed;
        code = cli_emit(item, &m->job, mro_json_haadf(&h.head, r, e), e);
    }
    if (code == MRO_OK) {
        if (!m->common.json) print_row(m, item, r);
        cli_warn(&m->common, item->path, h.warnings, h.head.n_warnings);
    }
    cli_head_release(&h);
    return code;
}

static void forget_frames(struct haadf *m)
{
    mro_haadf_pool_release(&m->pool);
    memset(m->pooled_on, 0, sizeof m->pooled_on);
    m->black_level = NAN;
    m->clipped = NAN;
    m->coverage = NAN;
}

/* One frame, or all of an image, on its way. */
struct frame {
    struct haadf *m;
    const struct cli_item *item;
    struct mro_haadf_result result;
    enum cli_place place;
};

static enum mro_code measure_at(void *context, enum cli_place place, struct mro_error *e)
{
    struct frame *f = context;
    f->place = place;
    return mro_haadf_measure(f->m->places.device[place], &f->item->pixels, f->item->name, &f->m->settings.o, &f->result,
                             e);
}

static enum mro_code measure_frame(void *context, struct cli_item *item, struct mro_error *e)
{
    struct haadf *m = context;
    struct frame f = { .m = m, .item = item };
    enum mro_code code = cli_compute(&m->common, &m->places, item->name, measure_at, &f, e);
    if (code == MRO_OK && item->stem) code = write_files(m, item, &f.result, e);
    if (code == MRO_OK) code = publish(m, item, &f.result, mro_device_backend(m->places.device[f.place]), e);
    if (code == MRO_OK && item->first) forget_frames(m);
    if (code == MRO_OK && item->info->frames > 1) {
        code = mro_haadf_pool_add(&m->pool, m->places.device[f.place], &f.result, e);
        m->pooled_on[f.place] = true;
        m->black_level = f.result.black_level;
        m->clipped = fmax(m->clipped, f.result.clipped_fraction);
        m->coverage = fmin(m->coverage, f.result.coverage);
    }
    mro_haadf_result_release(&f.result);
    return code;
}

static enum mro_code measure_pool_at(void *context, enum cli_place place, struct mro_error *e)
{
    struct frame *f = context;
    f->place = place;
    return mro_haadf_pool_measure(&f->m->pool, f->m->places.device[place], f->item->name, &f->m->settings.o, &f->result,
                                  e);
}

static enum mro_code measure_together(void *context, struct cli_item *item, struct mro_error *e)
{
    struct haadf *m = context;
    struct frame f = { .m = m, .item = item };
    enum mro_code code = cli_compute(&m->common, &m->places, item->name, measure_pool_at, &f, e);
    f.result.black_level = m->black_level;
    f.result.clipped_fraction = m->clipped;
    f.result.coverage = m->coverage;
    const bool both = m->pooled_on[CLI_CHOSEN] && m->pooled_on[CLI_CPU];
    if (code == MRO_OK)
        code = publish(m, item, &f.result, both ? "cuda and cpu" : mro_device_backend(m->places.device[f.place]), e);
    mro_haadf_result_release(&f.result);
    return code;
}

static size_t need(const void *context, const struct mro_image *like)
{
    const struct haadf *m = context;
    return mro_haadf_bytes(like, &m->settings.o);
}

int cmd_haadf(int argc, char **argv)
{
    struct haadf m = { 0 };
    mro_haadf_options_default(&m.settings.o);
    m.settings.signal = "haadf";
    m.settings.thresholds = "1,1.5,2,3";
    const struct cli_group groups[] = {
        { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, &m.settings },
        { "Input", cli_input_options, cli_n_input_options, &m.common },
        { "Computing", cli_run_options, cli_n_run_options, &m.common },
        { "Output", cli_output_options, cli_n_output_options, &m.common },
    };
    const struct cli_usage usage = { "haadf", "FILE...", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0) rc = read_settings(&m.settings);
    if (rc < 0) rc = cli_open_device(&m.common, "haadf", &m.places.device[CLI_CHOSEN]);
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
    cli_places_close(&m.places);
    cli_warn_end(&m.common);
    cli_args_release(&args);
    return rc;
}

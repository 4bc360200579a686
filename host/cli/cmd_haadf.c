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
#include "mroscope/haadf.h"
#include "report/figure.h"

/* Options as they are written; those with a list or a word are put into `o` after parsing. */
struct settings {
    struct mro_haadf_options o;
    int signal; /* 0 HAADF, 1 HRTEM */
    struct cli_numbers thresholds, vacuum;
};

#define AT(field) offsetof(struct settings, field)
static const struct cli_option measure_rows[] = {
    { "signal", 0, "haadf|hrtem", "", "what the image is: HAADF, or HRTEM with a band that leaves the lattice out",
      CLI_CHOICE, AT(signal), true, 0, 0 },
    { "band", 0, "LO,HI", "1/nm", "spatial frequencies 1/d that the contrast is measured in (default 1/15 to 1)",
      CLI_BAND, AT(o.band_inv_nm), true, 1e-3, 100 },
    { "d-band", 0, "LO,HI", "nm", "the same band as wavelengths d", CLI_DBAND, AT(o.band_inv_nm), false, 0.01, 1000 },
    { "black-level", 0, "COUNTS", "counts",
      "what the detector reads without beam (default: 0, or the median of `vacuum`)", CLI_DOUBLE, AT(o.black_level),
      true, -1e9, 1e9 },
    { "vacuum", 0, "X0,Y0,X1,Y1", "nm",
      "a rectangle without specimen: its median is the black level, and it is left out", CLI_RECTANGLE, AT(vacuum),
      true, 0, 1e9 },
    { "polynomial", 0, "DEGREE", "", "degree of the background that the image is divided by", CLI_INT, AT(o.polynomial),
      true, 0, MRO_HAADF_DEGREE },
    { "high-pass", 0, "NM", "nm", "standard deviation of the Gaussian that it is divided by next; 0 = none", CLI_DOUBLE,
      AT(o.high_pass_nm), true, 0, 1e5 },
    { "thresholds", 0, "U,U,...", "standard deviations", "how deep dark and bright regions are", CLI_RISING,
      AT(thresholds), true, 1e-6, 10 },
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
    "  NAME.haadf.flat.tif        contrast, background and scan lines taken out, smoothed as regions need\n"
    "  NAME.haadf.dark.tif        -1 dark region, 1 bright region, 0 neither\n"
    "Maps are float32 TIFF that open in ImageJ with their scale.\n\n"
    "Examples\n"
    "  mroscope haadf --black-level 1200 -o results images/*.emd\n"
    "  mroscope haadf --signal hrtem --band 0.1,0.8 -o results images/*.dm4";

struct haadf {
    struct cli_run run;
    struct settings settings;
    struct mro_haadf_pool pool;            /* of the frames of one image, */
    double black_level, clipped, coverage; /* and of the last of them, the largest, the least */
};

static void forget_frames(struct haadf *m)
{
    mro_haadf_pool_release(&m->pool);
    m->black_level = NAN;
    m->clipped = NAN;
    m->coverage = NAN;
}

static void defaults(void *state)
{
    struct haadf *m = state;
    struct mro_haadf_options *o = &m->settings.o;
    mro_haadf_options_default(o);
    m->settings.thresholds.n = o->n_thresholds;
    memcpy(m->settings.thresholds.v, o->thresholds_sd, o->n_thresholds * sizeof *o->thresholds_sd);
    m->run.seed = &o->seed;
    forget_frames(m);
}

static int check(void *state)
{
    struct haadf *m = state;
    struct settings *s = &m->settings;
    if (s->thresholds.n > MRO_HAADF_LEVELS)
        return cli_wrong_usage("haadf", "`thresholds` takes %d numbers at most", MRO_HAADF_LEVELS);
    s->o.hrtem = s->signal == 1;
    s->o.n_thresholds = s->thresholds.n;
    memcpy(s->o.thresholds_sd, s->thresholds.v, s->thresholds.n * sizeof *s->thresholds.v);
    if (s->vacuum.n) memcpy(s->o.vacuum_nm, s->vacuum.v, sizeof s->o.vacuum_nm);
    return -1;
}

static size_t need(const void *state, const struct mro_image *like)
{
    const struct haadf *m = state;
    return mro_haadf_bytes(like, &m->settings.o);
}

/* Up to its first maximum the transfer of the lens rises with frequency, and with it the spectrum of any glass. */
static void tell_of_lens(const struct haadf *m, struct mro_haadf_result *r)
{
    if (m->settings.signal && isfinite(r->wavelength_nm))
        mro_warn(r,
                 "an HRTEM image has a wavelength by its lens, which passes low frequencies weakly: it is one of the "
                 "specimen only if another defocus gives the same");
}

/* Structure that reaches the pixel is what HRTEM images have. */
static void tell_of_signal(const struct haadf *m, const struct mro_image_info *info, struct mro_haadf_result *r)
{
    if (m->settings.signal || cli_is_stem(info)) return;
    if (cli_is_camera(info))
        mro_warn(r, "the file says that a camera took the image, which is measured as HAADF: if it is HRTEM, give "
                    "`signal=hrtem`");
    else if (isfinite(r->contrast_sd) && !isfinite(r->noise_sd))
        mro_warn(r, "the image is measured as HAADF: if it is HRTEM, give `signal=hrtem`");
}

static enum mro_code measure(void *state, enum cli_place place, const struct cli_item *item, void *result,
                             struct mro_error *e)
{
    struct haadf *m = state;
    MRO_TRY(mro_haadf_measure(m->run.places->device[place], &item->pixels, item->name, &m->settings.o, result, e));
    tell_of_lens(m, result);
    tell_of_signal(m, item->info, result);
    return MRO_OK;
}

static void print(void *state, const struct cli_item *item, const void *result)
{
    struct haadf *m = state;
    const struct mro_haadf_result *r = result;
    char contrast[64];
    if (isfinite(r->contrast_sd))
        snprintf(contrast, sizeof contrast, "%.2f %% (%.2f to %.2f %%)", 100 * r->contrast_sd,
                 100 * r->contrast_sd_ci95[0], 100 * r->contrast_sd_ci95[1]);
    else if (isfinite(r->contrast_sd_ci95[1]))
        snprintf(contrast, sizeof contrast, "below %.2f %%", 100 * r->contrast_sd_ci95[1]);
    else
        snprintf(contrast, sizeof contrast, "not measured");
    cli_print_row(&m->run, item, "contrast (95 %)", contrast, r->verdict);
}

static enum mro_code write_files(void *state, struct cli_item *item, const void *result, struct mro_error *e)
{
    struct haadf *m = state;
    const struct mro_haadf_result *r = result;
    char *stem;
    MRO_TRY(cli_write_map(&m->run, item, ".flat.tif", &r->flat, e));
    MRO_TRY(cli_write_map(&m->run, item, ".dark.tif", &r->mask, e));
    MRO_TRY(cli_figure_stem(item, &m->run.job, &stem, e));
    const enum mro_code code =
        mro_figure_haadf(stem, m->run.common.figure_mm, &item->pixels, cli_short_name(item), r, e);
    free(stem);
    return code;
}

static json_t *json(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e)
{
    (void)state;
    return mro_json_haadf(h, result, e);
}

static char *const *warnings(const void *result, size_t *n)
{
    const struct mro_haadf_result *r = result;
    *n = r->n_warnings;
    return r->warnings;
}

static void release(void *result) { mro_haadf_result_release(result); }

static enum mro_code pool(void *state, enum cli_place place, const struct cli_item *item, const void *result,
                          struct mro_error *e)
{
    struct haadf *m = state;
    const struct mro_haadf_result *r = result;
    if (item->first) forget_frames(m);
    if (item->info->frames < 2) return MRO_OK;
    m->black_level = r->black_level;
    m->clipped = fmax(m->clipped, r->clipped_fraction);
    m->coverage = fmin(m->coverage, r->coverage);
    return mro_haadf_pool_add(&m->pool, m->run.places->device[place], r, e);
}

/* All frames of an image on their way. */
struct pooled {
    struct haadf *m;
    const struct cli_item *item;
    struct mro_haadf_result result;
};

static enum mro_code measure_pool_at(void *context, enum cli_place place, struct mro_error *e)
{
    struct pooled *p = context;
    const enum mro_code code = mro_haadf_pool_measure(&p->m->pool, p->m->run.places->device[place], p->item->name,
                                                      &p->m->settings.o, &p->result, e);
    if (code == MRO_OK) p->m->run.measured_on[place] = true;
    return code;
}

static enum mro_code together(void *state, struct cli_item *item, struct mro_error *e)
{
    struct haadf *m = state;
    struct pooled p = { .m = m, .item = item };
    enum mro_code code = cli_compute(&m->run.common, m->run.places, item->name, measure_pool_at, &p, e);
    p.result.black_level = m->black_level;
    p.result.clipped_fraction = m->clipped;
    p.result.coverage = m->coverage;
    if (code == MRO_OK) tell_of_lens(m, &p.result);
    if (code == MRO_OK) code = cli_publish(&m->run, item, &p.result, cli_backend(&m->run), e);
    mro_haadf_result_release(&p.result);
    return code;
}

static void close_state(void *state) { forget_frames(state); }

const struct cli_verb cli_verb_haadf = {
    .name = "haadf",
    .help = "how heterogeneous a HAADF image is with the noise taken out, and are its regions more than chance",
    .operands = "FILE...",
    .about = about,
    .notes = notes,
    .algorithm = MRO_HAADF_ALGORITHM,
    .state_size = sizeof(struct haadf),
    .own = { { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows,
               offsetof(struct haadf, settings) } },
    .common = CLI_GROUPS_ALL,
    .defaults = defaults,
    .check = check,
    .close = close_state,
    .result_size = sizeof(struct mro_haadf_result),
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

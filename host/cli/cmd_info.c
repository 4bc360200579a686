/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "io/reader.h"

struct info {
    struct cli_common common;
    bool header;
};

static const struct cli_option info_rows[] = {
    { "header", 0, NULL, "", "read headers only: no pixel values and no checksum", CLI_FLAG,
      offsetof(struct info, header), false, 0, 0 },
};

static const char about[] =
    "Says what a file holds: its images, their sizes and pixel types, the calibration of every axis with its "
    "source, and the range of the values. Every pixel is decoded, so a file that passes is readable to the end.";
static const char notes[] = "Examples\n"
                            "  mroscope info image.dm4\n"
                            "  mroscope info --json --header *.tif";

static void print_axes(const struct mro_image_info *im)
{
    const struct mro_axis *a = &im->axis[im->axes - 1];
    const char *unit = a->unit == MRO_UNIT_OTHER ? a->unit_text : mro_unit_name(a->unit);
    if (im->axes > 1 && a[-1].step > 0 && a->step > 0 && a[-1].unit == a->unit && a[-1].source == a->source &&
        (a->unit != MRO_UNIT_OTHER || strcmp(a[-1].unit_text, a->unit_text) == 0)) {
        if (cli_same_step(&a[-1], a))
            printf(", pixel %.6g %s (%s)", a->step, unit, mro_source_name(a->source));
        else
            printf(", pixel %.6g %s along x, %.6g %s along y (%s)", a->step, unit, a[-1].step, unit,
                   mro_source_name(a->source));
        printf(", field %.4g x %.4g %s", (double)a->size * a->step, (double)a[-1].size * a[-1].step, unit);
        return;
    }
    if (im->kind == MRO_KIND_IMAGE && im->axes > 1 && !(a[-1].step > 0) && !(a->step > 0)) {
        printf(", pixel size unknown");
        return;
    }
    for (size_t i = im->axes > 1 ? im->axes - 2 : 0; i < im->axes; i++) {
        a = &im->axis[i];
        if (!(a->step > 0))
            printf(", axis %zu without calibration", i);
        else
            printf(", axis %zu %.6g %s a step (%s)", i, a->step,
                   a->unit == MRO_UNIT_OTHER ? a->unit_text : mro_unit_name(a->unit), mro_source_name(a->source));
    }
}

static void print_name(const char *before, const char *text, const char *after)
{
    if (text[0]) cli_put(stdout, "%s%s%s", before, text, after);
}

/* How the microscope stood, on a line of its own: "instrument FEI Titan, binning 1 x 26". */
static void print_microscope(const struct mro_image_info *im)
{
    char line[256] = "";
    size_t n = 0;
#define ADD(...)                                                                            \
    do {                                                                                    \
        if (n < sizeof line) n += (size_t)snprintf(line + n, sizeof line - n, __VA_ARGS__); \
    } while (0)
    if (im->magnification > 0) ADD(", magnification %.6g", im->magnification);
    if (im->camera_length_mm > 0) ADD(", camera length %.6g mm", im->camera_length_mm);
    if (im->binning[0] > 0) ADD(", binning %g x %g", im->binning[1], im->binning[0]);
    if (isfinite(im->stage_tilt_deg[0])) ADD(", tilt alpha %.4g deg", im->stage_tilt_deg[0]);
    if (isfinite(im->stage_tilt_deg[1])) ADD(", tilt beta %.4g deg", im->stage_tilt_deg[1]);
    if (im->value_scale != 0)
        ADD(", a value v stands for %.6g v %c %.6g", im->value_scale, im->value_offset < 0 ? '-' : '+',
            fabs(im->value_offset));
#undef ADD
    if (line[0] == '\0' && !im->instrument[0] && !im->detector[0] && !im->date[0]) return;
    const char *start = "     ";
    const char *const texts[][2] = { { "instrument ", im->instrument },
                                     { "detector ", im->detector },
                                     { "date ", im->date } };
    for (size_t i = 0; i < 3; i++) {
        if (texts[i][1][0] == '\0') continue;
        fputs(start, stdout);
        print_name(texts[i][0], texts[i][1], "");
        start = ", ";
    }
    printf("%s%s", start[0] == ' ' ? start : "", start[0] == ' ' ? line + 2 : line);
    if (im->value_scale != 0) print_name(" ", im->value_unit, "");
    putchar('\n');
}

static void print_text(const char *path, const struct mro_file *f, const struct mro_statistics *s)
{
    const size_t n = mro_file_images(f);
    cli_put(stdout, "%s: %s, %zu image%s\n", path, mro_file_format(f), n, n == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++) {
        const struct mro_image_info *im = mro_file_info(f, i);
        printf("  %zu: %s, ", i, mro_kind_name(im->kind));
        const bool frames = im->frames > 1 && im->axes == 3 && im->kind != MRO_KIND_SPECTRUM;
        if (frames) printf("%zu frames of ", im->axis[0].size);
        for (size_t k = im->axes; k-- > (frames ? 1 : 0);)
            printf("%zu%s", im->axis[k].size, k > (frames ? 1 : 0) ? " x " : "");
        printf(" %s", mro_dtype_name(im->dtype));
        print_axes(im);
        if (im->beam_kv > 0) printf(", %g kV", im->beam_kv);
        print_name(", title '", im->title, "'");
        putchar('\n');
        print_microscope(im);
        if (s && isfinite(s[i].min)) printf("     values %.6g to %.6g, mean %.6g", s[i].min, s[i].max, s[i].mean);
        if (s && isfinite(s[i].sd)) printf(", sd %.6g", s[i].sd);
        if (s && s[i].not_finite) printf("%s%zu not finite", isfinite(s[i].min) ? ", " : "     ", s[i].not_finite);
        if (s) putchar('\n');
    }
}

/* As for a measurement, which looks at images only. */
static void calibrate(const struct cli_common *c, struct mro_file *f)
{
    char warning[256];
    for (size_t i = 0; i < f->images; i++) {
        struct mro_image_info *im = &f->info[i];
        if (im->kind != MRO_KIND_IMAGE || im->axes < 2) continue;
        cli_calibrate(c, im, &im->axis[im->axes - 2], warning, sizeof warning);
        if (warning[0]) mro_file_warn(f, "'%s': %s", f->name, warning);
    }
}

/* Pixels are read before anything is said, so a file that breaks off prints its error only. */
static enum mro_code describe(const struct cli_job *job, const char *path, struct info *opt, struct mro_error *e)
{
    struct mro_file *f = NULL;
    struct mro_hash_job *hash = NULL;
    struct mro_statistics *s = NULL;
    struct cli_head h = { 0 };
    struct cli_item item = { .path = path, .hash = &hash };
    char sha256[65] = "";
    size_t first = 0;
    enum mro_code code = mro_file_open(&f, path, opt->common.memory, e);
    if (code != MRO_OK) return code;
    const size_t n = mro_file_images(f);
    calibrate(&opt->common, f);
    while (first + 1 < n && mro_file_info(f, first)->kind != MRO_KIND_IMAGE) first++;
    if (mro_file_info(f, first)->kind != MRO_KIND_IMAGE) first = 0;
    snprintf(item.name, sizeof item.name, "%s", path);
    item.file = f;
    item.info = mro_file_info(f, first);
    item.image = first;
    item.sha256 = sha256;
    item.n_file = SIZE_MAX; /* all that reading gives */
    const struct mro_axis *x = &item.info->axis[item.info->axes - 1], *y = item.info->axes > 1 ? x - 1 : x;
    item.pixels.axis[0] = *y;
    item.pixels.axis[1] = *x;
    mro_calibration_text(y, x, item.calibration, sizeof item.calibration);
    if (!opt->header) {
        s = calloc(n, sizeof *s);
        if (s == NULL) code = MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its statistics", path);
        /* The table does not show the checksum, which takes longer than reading. */
        if (code == MRO_OK && (opt->common.json || opt->common.out))
            code = mro_hash_start(&hash, f->fd, f->bytes.p, f->bytes.size, 0, e);
        for (size_t i = 0; i < n && code == MRO_OK; i++) code = mro_file_statistics(f, i, &s[i], e);
    }
    if (code == MRO_OK && opt->common.out) code = cli_item_stem(&item, opt->common.out, false, false, e);
    if (code == MRO_OK) code = cli_head(job, &item, NULL, 0, &h, e);
    if (code == MRO_OK) code = cli_emit(&item, job, mro_json_info(&h.head, f, s, e), e);
    if (code == MRO_OK && !opt->common.json) print_text(path, f, s);
    if (code == MRO_OK) cli_warn(&opt->common, path, h.head.warnings, h.head.n_warnings);
    cli_head_release(&h);
    mro_hash_cancel(hash);
    mro_hash_finish(hash, path, NULL, NULL);
    cli_item_release(&item, code != MRO_OK);
    free(s);
    mro_file_close(f);
    return code;
}

int cmd_info(int argc, char **argv)
{
    struct info opt = { 0 };
    const struct cli_group groups[] = {
        { "Reading", info_rows, 1, &opt },
        { "Calibration", cli_input_options, 2, &opt.common }, /* without --frames */
        { "Memory", cli_run_options + cli_n_run_options - 1, 1, &opt.common },
        { "Output", cli_output_options, cli_n_output_options, &opt.common },
    };
    const struct cli_usage usage = { "info", "FILE...", about, notes, groups, sizeof groups / sizeof *groups };
    const struct cli_job job = { .usage = &usage, .common = &opt.common };
    struct cli_args args;
    struct mro_error e;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0) rc = cli_prepare_outputs(&opt.common, "info.json", args.files, args.n) ? 2 : -1;
    if (rc < 0) {
        rc = 0;
        for (size_t i = 0; i < args.n; i++) {
            if (describe(&job, args.files[i], &opt, &e) == MRO_OK) continue;
            fflush(stdout);
            cli_complain(&e);
            rc = 1;
        }
    }
    cli_warn_end(&opt.common);
    cli_args_release(&args);
    return rc;
}

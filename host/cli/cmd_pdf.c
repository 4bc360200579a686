/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/pdf.h"
#include "core/decimals.h"
#include "core/notes.h"
#include "mroscope/eds.h"
#include "report/figure.h"

/* Frames of larger stacks are measured at one centre alone, as every other measures a pattern twice, and without
 * figures.
 */
#define SHIFT_FRAMES 4

#define AT(field) offsetof(struct cli_pdf, field)
static const struct cli_option measure_rows[] = {
    { "composition", 0, "FORMULA", "", "of the specimen, in atoms: Fe82B18, Zr52.5Cu17.9Ni14.6Al10Ti5", CLI_STRING,
      AT(composition), true, 0, 0 },
    { "density", 0, "PER_NM3", "atoms per nm^3", "number density (default: estimated, and said so)", CLI_DOUBLE,
      AT(o.density_per_nm3), true, -1e6, 1e6 },
    { "density-error", 0, "PER_NM3", "atoms per nm^3", "its standard error", CLI_DOUBLE, AT(o.density_se_per_nm3), true,
      0, 50 },
    { "damping", 0, "lorch|none|gaussian", "", "of S(Q) toward its end", CLI_CHOICE, AT(damping), true, 0, 0 },
    { "damping-b", 0, "A2", "A^2", "b of the damping exp(-b Q^2) (default: a tenth is left at the end)", CLI_DOUBLE,
      AT(o.damping_A2), true, 1e-6, 10 },
    { "s-max", 0, "PER_NM", "1/nm", "end of what is transformed, s = 1/d (default: 0.75 of what the profile reaches)",
      CLI_DOUBLE, AT(o.s_max_inv_nm), true, 1e-3, 1000 },
    { "s-min", 0, "PER_NM", "1/nm", "its beginning (default: the least intensity before the first sharp peak)",
      CLI_DOUBLE, AT(o.s_min_inv_nm), true, 1e-6, 100 },
    { "background", 0, "DEGREE", "",
      "degree of the slow background beside the constant, at most r-min Q / pi; -1 = neither", CLI_INT,
      AT(o.background), true, -1, MRO_PDF_DEGREE },
    { "r-min", 0, "A", "A", "no two atoms are closer: the low-r rule (default: 0.62 of the first shell's place)",
      CLI_DOUBLE, AT(o.r_min_A), true, 0.01, 5 },
    { "r-max", 0, "A", "A", "end of G(r)", CLI_DOUBLE, AT(o.r_max_A), true, 4, 200 },
    { "fsdp", 0, "LO,HI", "1/A", "window in Q of the first sharp peak (default: the minima to either side)", CLI_BAND,
      AT(o.fsdp_Q), true, 0.1, 30 },
    { "beyond", 0, "LO,HI", "A", "where the strength of oscillations of G(r) is taken", CLI_BAND, AT(o.beyond_A), true,
      1, 200 },
    { "connection-r", 0, "A", "A", "distance R of neighbours for connection modes (default: the first shell's mean)",
      CLI_DOUBLE, AT(o.connection_R_A), true, 0.1, 5 },
    { "draws", 0, "N", "", "of sectors (or errors) for the standard errors", CLI_INT, AT(o.draws), true, 50, 5000 },
    { "frame-draws", 0, "N", "", "the same for the frames of stacks of more than four", CLI_INT, AT(frame_draws), true,
      50, 5000 },
    { "frame-figures", 0, NULL, "", "a figure of each of them too, which takes longer than measuring it", CLI_FLAG,
      AT(frame_figures), false, 0, 0 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(o.seed),
      false, 0, 0 },
    { "reference", 0, "FILE", "", "pattern or table of another state: windows are taken from it, and differences given",
      CLI_STRING, AT(reference), true, 0, 0 },
    { "values", 0, "V,V,...|FILE.csv", "",
      "a temperature or strain for each input (or frame), in order, or a table with columns file and value: a series",
      CLI_STRING, AT(values_text), true, 0, 0 },
};
static const struct cli_option pattern_rows[] = {
    { "step", 0, "PER_NM", "1/nm", "of a pixel of the pattern (default: the file's)", CLI_DOUBLE, AT(saed.step_inv_nm),
      true, 1e-6, 10 },
    { "camera-length", 0, "MM", "mm",
      "of the pattern; with `detector_pixel` and `kv` in place of `step` (default: none)", CLI_DOUBLE,
      AT(saed.camera_length_mm), true, 0.1, 1e5 },
    { "detector-pixel", 0, "UM", "um", "size on the detector of a pixel of the image (default: none)", CLI_DOUBLE,
      AT(saed.detector_pixel_um), true, 1e-3, 1e4 },
    { "kv", 0, "KV", "kV", "voltage of the microscope (default: the file's)", CLI_DOUBLE, AT(saed.beam_kv), true, 10,
      3000 },
    { "centre", 0, "X,Y", "px", "of the pattern (default: found)", CLI_NUMBERS, AT(centre), true, -1e5, 1e5 },
    { "ellipse", 0, "RATIO,AZIMUTH", "", "long over short axis, and its direction in degrees (default: found)",
      CLI_NUMBERS, AT(ellipse), true, 0, 180 },
    { "ellipse-from", 0, "FILE", "",
      "pattern of a state without strain, taken under the same conditions: its ellipse holds for all", CLI_STRING,
      AT(ellipse_file), true, 0, 0 },
    { "standard", 0, "none|Au|Si|CeO2|Al", "", "what `standard_file` shows", CLI_CHOICE, AT(standard), true, 0, 0 },
    { "standard-file", 0, "FILE", "",
      "ring pattern of a standard, taken under the same conditions: scale and ellipse are taken from it", CLI_STRING,
      AT(standard_file), true, 0, 0 },
    { "each", 0, NULL, "",
      "fit centre, ellipse and beam stop in every frame of a stack (default: in the mean of some of them)", CLI_FLAG,
      AT(each), true, 0, 0 },
    { "mask", 0, "FILE", "", "image of the pattern's shape; what is not 0 is left out", CLI_STRING, AT(mask), true, 0,
      0 },
    { "no-auto-mask", 0, NULL, "", "look for no beam stop, dead and saturated pixels", CLI_FLAG, AT(whole_mask), true,
      0, 0 },
    { "clip", 0, "SD", "standard deviations", "pixels farther than this from their ring are left out; 0 = none",
      CLI_DOUBLE, AT(saed.clip_sd), true, 0, 100 },
};
static const struct cli_option table_rows[] = {
    { "abscissa", 0, "auto|Q-A|Q-nm|s-nm|s-A|two-theta|r-A", "", "first column of a table", CLI_CHOICE, AT(abscissa),
      true, 0, 0 },
    { "radiation", 0, "auto|electrons|x-rays|neutrons", "", "that a table is of (default: its header's, else X-rays)",
      CLI_CHOICE, AT(radiation), true, 0, 0 },
    { "wavelength", 0, "A", "A", "of the radiation; for two theta (default: none)", CLI_DOUBLE, AT(table.wavelength_A),
      true, 1e-3, 100 },
    { "column", 0, "N", "", "of the values, from 1; 0 = by the header, else the second", CLI_INT, AT(table.column),
      true, 0, 1000 },
    { "error-column", 0, "N", "", "of their errors, from 1; 0 = by the header, else the third if those can be", CLI_INT,
      AT(table.error_column), true, 0, 1000 },
};

static const char about[] =
    "Turns diffraction halos into pair distributions: finds centre, ellipse and beam stop of a pattern, takes the mean "
    "around it, normalises it to S(Q) with the scattering factors of the composition, and transforms it to G(r). Gives "
    "the first sharp peak, the shells, how neighbourhoods are connected, and how far order reaches, each with its "
    "error from sectors of the pattern and with what other choices would change. Tables of intensities, S(Q) or G(r) "
    "are read too.";
static const char notes[] =
    "Files written with -o DIR, for each input\n"
    "  NAME.pdf.json            all numbers, and where they come from\n"
    "  NAME.pdf.profile.csv     s_inv_nm,intensity,se: the mean around the centre, s = 1/d\n"
    "  NAME.pdf.sq.csv          Q_inv_A,S,S_se: the structure factor, Q = 2 pi / d\n"
    "  NAME.pdf.gr.csv          r_A,G,G_se,g: the pair distribution\n"
    "  NAME.pdf.png .svg .pdf   the figure\n"
    "With --values also series.pdf.json, .csv, .png .svg .pdf.\n\n"
    "Examples\n"
    "  mroscope pdf --composition Fe82B18 --density 83.3 --kv 200 -o results saed/*.tif\n"
    "  mroscope pdf --composition Fe82B18 --density 83.3 --reference AQ.tif -o results CTC30.tif\n"
    "  mroscope pdf --composition Zr50Cu50 --values 300,350,400 -o results T300.xy T350.xy T400.xy";

static void forget_frames(struct cli_pdf *s)
{
    for (size_t i = 0; i < s->n_frames; i++) mro_profile_release(&s->frame[i]);
    free(s->frame);
    s->frame = NULL;
    s->n_frames = 0;
}

/* A frame of a stack that is not small. */
static bool one_of_many(const struct cli_item *item) { return item->frame_given && item->info->frames > SHIFT_FRAMES; }

/* A point of the series; the first also fixes the windows of the others. */
static enum mro_code add_point(struct cli_pdf *s, const struct cli_pdf_one *r, const char *path, const char *name,
                               size_t profile, struct mro_error *e)
{
    if (s->values.n == 0 || r->report.pdf == NULL) return MRO_OK;
    const double value = cli_value_of(&s->values, &s->run.args, path, profile);
    MRO_TRY(mro_pdf_series_add(&s->series, name, value, &r->pdf, e));
    if (!s->have_reference && s->series.n == 1) s->o.fixed = r->pdf.windows;
    return MRO_OK;
}

static enum mro_code measure(void *state, enum cli_place place, const struct cli_item *item, void *result,
                             struct mro_error *e)
{
    struct cli_pdf *s = state;
    struct cli_pdf_one *r = result;
    struct mro_pdf_options numbers = s->o;
    const bool few = !one_of_many(item);
    bool planned = false;
    if (s->tables[place] == NULL) MRO_TRY(mro_pdf_tables_new(&s->tables[place], e));
    numbers.tables = s->tables[place]; /* of one thread at a time */
    if (item->info->frames > 1 && item->frame_given && !s->each)
        MRO_TRY(cli_pdf_measure_frame(s, place, item, r, &planned, e));
    if (!few) numbers.draws = s->frame_draws;
    if (planned && !(s->o.fixed.s_inv_nm[1] > 0)) numbers.fixed = s->stack_windows;
    return cli_pdf_measure_pattern(s, s->run.places->device[place], &item->pixels, item->name, few, planned, &numbers,
                                   r, e);
}

/* The first point of a series without a reference sets the windows of those after it. */
static bool ready(const void *state)
{
    const struct cli_pdf *s = state;
    return s->values.n == 0 || s->have_reference || s->series.n > 0;
}

static size_t need(const void *state, const struct mro_image *like)
{
    const struct cli_pdf *s = state;
    return mro_saed_bytes(like, &s->saed);
}

static json_t *json(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e)
{
    (void)state;
    return mro_json_pdf(h, &((const struct cli_pdf_one *)result)->report, e);
}

static char *const *warnings(const void *result, size_t *n)
{
    const struct cli_pdf_one *r = result;
    *n = r->n_warnings;
    return r->warnings;
}

/* " (0.203 to 0.234)"; nothing where the interval is unknown, as from two frames that are alike. */
static const char *between(const double ci95[2], int decimals, char *text, size_t size)
{
    text[0] = '\0';
    if (isfinite(ci95[0]) && isfinite(ci95[1]))
        snprintf(text, size, " (%.*f to %.*f)", decimals, ci95[0], decimals, ci95[1]);
    return text;
}

static void print(void *state, const struct cli_item *item, const void *result)
{
    struct cli_pdf *s = state;
    const struct cli_pdf_one *r = result;
    const struct mro_pdf_result *p = r->report.pdf;
    char value[96], verdict[256] = "", ci95[64];
    if (r->report.series)
        snprintf(value, sizeof value, "%zu point%s", r->report.series->n, r->report.series->n == 1 ? "" : "s");
    else if (p == NULL)
        snprintf(value, sizeof value, "not measured");
    else {
        char Q[40], r_A[40];
        mro_write_with_error(Q, sizeof Q, p->fsdp.Q.value, p->fsdp.Q.se, 3, " +- ");
        mro_write_with_error(r_A, sizeof r_A, p->shell[0].r_A.value, p->shell[0].r_A.se, 3, " +- ");
        snprintf(value, sizeof value, "%s%s%s A", isfinite(p->fsdp.Q.value) ? Q : "",
                 isfinite(p->fsdp.Q.value) ? " 1/A, " : "", r_A);
    }
    if (r->report.series && isfinite(r->report.series->first_moment.x))
        snprintf(verdict, sizeof verdict, "first moment bends at %s %.4g (%.4g to %.4g)%s%s",
                 r->report.series->value_name, r->report.series->first_moment.x, r->report.series->first_moment.ci95[0],
                 r->report.series->first_moment.ci95[1], r->report.series->value_unit[0] ? " " : "",
                 r->report.series->value_unit);
    else if (r->report.difference)
        snprintf(verdict, sizeof verdict, "order beyond %.3g A is %.2f%s times that of the reference", p->beyond_A[0],
                 r->difference.oscillation_ratio.value,
                 between(r->difference.oscillation_ratio.ci95, 2, ci95, sizeof ci95));
    else if (p)
        snprintf(verdict, sizeof verdict, "%zu shells; oscillations beyond %.3g A of %.3f%s 1/A^2", p->n_shells,
                 p->beyond_A[0], p->oscillation.value, between(p->oscillation.ci95, 3, ci95, sizeof ci95));
    else if (!r->report.series)
        snprintf(verdict, sizeof verdict,
                 s->o.composition.n ? "the profile alone" : "the profile alone; S(Q) and G(r) need --composition");
    if (r->report.pattern && r->saed.crystalline) snprintf(verdict, sizeof verdict, "crystalline: spots on the rings");
    cli_print_row(&s->run, item, "first peak Q, first shell r", value, verdict);
}

static enum mro_code write_files(void *state, struct cli_item *item, const void *result, struct mro_error *e)
{
    struct cli_pdf *s = state;
    const struct cli_pdf_one *r = result;
    const struct mro_pdf_difference *d = r->report.difference;
    if (r->report.profile && r->report.profile->s_inv_nm)
        MRO_TRY(cli_write_text(item, &s->run.job, ".profile.csv", mro_csv_pdf_profile(r->report.profile, e), e));
    if (r->report.pdf && r->pdf.n)
        MRO_TRY(cli_write_text(item, &s->run.job, ".sq.csv", mro_csv_pdf_S(&r->pdf, d, e), e));
    if (r->report.pdf) MRO_TRY(cli_write_text(item, &s->run.job, ".gr.csv", mro_csv_pdf_G(&r->pdf, d, e), e));
    char *stem;
    if (one_of_many(item) && !s->frame_figures) return MRO_OK;
    MRO_TRY(cli_figure_stem(item, &s->run.job, &stem, e));
    const enum mro_code rc =
        mro_figure_pdf(stem, s->run.common.figure_mm, &item->pixels, cli_short_name(item), &r->report, e);
    free(stem);
    return rc;
}

static enum mro_code pool(void *state, enum cli_place place, const struct cli_item *item, const void *result,
                          struct mro_error *e)
{
    struct cli_pdf *s = state;
    const struct cli_pdf_one *r = result;
    (void)place;
    if (item->first) forget_frames(s);
    const size_t profile = cli_count_frames(&s->run.job, item->file, item->image, item->frame);
    MRO_TRY(add_point(s, r, item->path, item->name, profile, e));
    if (item->info->frames < 2) return MRO_OK;
    const struct mro_profile *from = &r->saed.profile;
    struct mro_profile *grown = realloc(s->frame, (s->n_frames + 1) * sizeof *grown);
    if (grown == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the profiles of its frames", item->name);
    s->frame = grown;
    /* What taking them together needs: values, not sectors. */
    MRO_TRY(mro_profile_alloc(&grown[s->n_frames], from->n, 0, e));
    struct mro_profile *p = &grown[s->n_frames++];
    p->quantity = from->quantity;
    p->radiation = from->radiation;
    p->step_inv_nm = from->step_inv_nm;
    p->beam_kv = from->beam_kv;
    memcpy(p->s_inv_nm, from->s_inv_nm, from->n * sizeof *p->s_inv_nm);
    memcpy(p->intensity, from->intensity, from->n * sizeof *p->intensity);
    memcpy(p->se, from->se, from->n * sizeof *p->se);
    if (from->pixels && (p->pixels = malloc(from->n * sizeof *p->pixels)))
        memcpy(p->pixels, from->pixels, from->n * sizeof *p->pixels);
    return MRO_OK;
}

/* Frames whose profiles end at different radii: all are cut to the shortest. */
static enum mro_code together(void *state, struct cli_item *item, struct mro_error *e)
{
    struct cli_pdf *s = state;
    struct cli_pdf_one r = { 0 };
    enum mro_code rc = MRO_OK;
    const struct mro_profile **each = malloc((s->n_frames + 1) * sizeof *each);
    if (each == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its frames together", item->name);
    size_t least = s->n_frames ? s->frame[0].n : 0;
    for (size_t i = 0; i < s->n_frames; i++) {
        each[i] = &s->frame[i];
        if (s->frame[i].n < least) least = s->frame[i].n;
    }
    for (size_t i = 0; i < s->n_frames; i++) s->frame[i].n = least;
    rc = mro_profile_pool(&r.table, each, s->n_frames, e);
    if (rc == MRO_OK) {
        mro_note(&r.warnings, &r.n_warnings,
                 "errors of the frames together come from what differs between them; speckle of one place, which they "
                 "share, is not in them");
        struct mro_error why;
        const enum mro_code measured = cli_pdf_from_profile(s, &r.table, NULL, item->name, &s->o, &r, &why);
        if (measured == MRO_EMEMORY) {
            rc = MRO_FAIL(e, measured, "%s", why.message);
        } else if (measured) {
            cli_next_step(&why);
            mro_note(&r.warnings, &r.n_warnings, "%s", why.message);
        }
    }
    if (rc == MRO_OK && item->stem) rc = write_files(s, item, &r, e);
    if (rc == MRO_OK) rc = cli_publish(&s->run, item, &r, cli_backend(&s->run), e);
    cli_pdf_release(&r);
    free(each);
    return rc;
}

/* -- tables -------------------------------------------------------------------------------------------- */

static enum mro_code do_table(struct cli_pdf *s, const char *path, struct mro_error *e)
{
    char sha256[65] = "";
    struct mro_hash_job *none = NULL;
    struct mro_image_info info = { .axes = 1, .frames = 1, .stage_tilt_deg = { NAN, NAN } };
    struct cli_item item = { .path = path,
                             .info = &info,
                             .first = true,
                             .hash = &none,
                             .sha256 = sha256,
                             .inputs = s->ids,
                             .n_inputs = s->ids ? s->run.args.n : 0 };
    struct cli_pdf_one r = { 0 };
    snprintf(item.name, sizeof item.name, "%s", path);
    enum mro_code rc = cli_pdf_read_table(s, path, &r.table, sha256, e);
    if (rc == MRO_OK) {
        info.axis[0].size = r.table.n;
        snprintf(item.calibration, sizeof item.calibration, "%.80s", r.table.axis);
        rc = cli_pdf_from_profile(s, &r.table, NULL, path, &s->o, &r, e);
    }
    if (rc == MRO_OK && s->run.common.out) rc = cli_item_stem(&item, s->run.common.out, false, false, e);
    if (rc == MRO_OK && item.stem) rc = write_files(s, &item, &r, e);
    if (rc == MRO_OK) rc = cli_publish(&s->run, &item, &r, NULL, e);
    if (rc == MRO_OK) rc = add_point(s, &r, path, path, 0, e);
    cli_item_release(&item, rc != MRO_OK);
    cli_pdf_release(&r);
    return rc;
}

/* -- series -------------------------------------------------------------------------------------------- */

static enum mro_code do_series(struct cli_pdf *s, struct mro_error *e)
{
    char sha256[65] = "";
    struct mro_hash_job *none = NULL;
    struct mro_image_info info = { .axes = 1, .frames = 1, .stage_tilt_deg = { NAN, NAN } };
    struct cli_item item = { .path = "series",
                             .name = "series",
                             .info = &info,
                             .hash = &none,
                             .sha256 = sha256,
                             .inputs = s->ids,
                             .n_inputs = s->ids ? s->run.args.n : 0 };
    struct cli_pdf_one r = { 0 };
    r.report.composition = &s->o.composition;
    r.report.series = &s->series;
    s->series.value_name = s->values.head.name;
    s->series.value_unit = s->values.head.unit;
    info.axis[0].size = s->series.n;
    if (s->series.n < 6)
        mro_note(&r.warnings, &r.n_warnings, "an onset needs six points; the series has %zu", s->series.n);
    enum mro_code rc = mro_pdf_series_onsets(&s->series, e);
    if (rc == MRO_OK && s->run.common.out) rc = cli_item_stem(&item, s->run.common.out, false, false, e);
    if (rc == MRO_OK && item.stem)
        rc = cli_write_text(&item, &s->run.job, ".csv", mro_csv_pdf_series(&s->series, e), e);
    if (rc == MRO_OK && item.stem) rc = write_files(s, &item, &r, e);
    if (rc == MRO_OK) rc = cli_publish(&s->run, &item, &r, NULL, e);
    cli_item_release(&item, rc != MRO_OK);
    cli_pdf_release(&r);
    return rc;
}

/* -- the verb ------------------------------------------------------------------------------------------ */

/* Most often it is in g/cm^3, which the composition turns into atoms. */
static int refuse_density(double density, const struct mro_composition *c)
{
    double weight = 0;
    for (size_t i = 0; i < c->n; i++) weight += c->fraction[i] * mro_atomic_weight(c->symbol[i]);
    const double atoms = density * 602.2 / weight;
    if (weight > 0 && atoms >= 10 && atoms <= 200)
        return cli_wrong_usage(
            "pdf",
            "a density of %g atoms per nm^3 is none of a glass (10 to 200); if it is in g/cm^3, give "
            "`density=%.1f`",
            density, atoms);
    return cli_wrong_usage("pdf",
                           "a density of %g atoms per nm^3 is none of a glass (10 to 200); from g/cm^3, times 602.2 "
                           "over the mean atomic weight",
                           density);
}

static int check(void *state)
{
    struct cli_pdf *s = state;
    struct mro_error e;
    if (s->composition && mro_composition_parse(&s->o.composition, s->composition, &e) != MRO_OK)
        return cli_refuse("pdf", &e);
    if (s->o.density_per_nm3 != 0 && !(s->o.density_per_nm3 >= 10 && s->o.density_per_nm3 <= 200))
        return refuse_density(s->o.density_per_nm3, &s->o.composition);
    s->o.damping = (enum mro_damping)s->damping;
    s->saed.auto_mask = !s->whole_mask;
    if (s->centre.n) {
        if (s->centre.n != 2) return cli_wrong_usage("pdf", "`centre` wants X,Y in pixels");
        s->saed.centre_how = MRO_SAED_GIVEN;
        memcpy(s->saed.centre_px, s->centre.v, sizeof s->saed.centre_px);
    }
    if (s->ellipse.n) {
        if (s->ellipse.n != 2 || !(s->ellipse.v[0] >= 1 && s->ellipse.v[0] < 1.5))
            return cli_wrong_usage("pdf", "`ellipse` wants RATIO,AZIMUTH, a ratio from 1 to 1.5 and degrees");
        s->saed.ellipse_how = MRO_SAED_GIVEN;
        s->saed.ellipse_ratio = s->ellipse.v[0];
        s->saed.ellipse_azimuth_deg = s->ellipse.v[1];
    }
    if ((s->standard != MRO_STANDARD_NONE) != (s->standard_file != NULL))
        return cli_wrong_usage("pdf", "%s",
                               s->standard_file ? "`standard_file` needs `standard`, what it shows"
                                                : "`standard` needs `standard_file`, its ring pattern");
    if (s->standard_file && (s->saed.step_inv_nm > 0 || s->saed.camera_length_mm > 0))
        return cli_wrong_usage("pdf", "give a standard, or `%s`, not both",
                               s->saed.step_inv_nm > 0 ? "step" : "camera-length");
    if (s->ellipse_file && s->ellipse.n) return cli_wrong_usage("pdf", "give `ellipse` or `ellipse_from`, not both");
    s->table.abscissa = (enum mro_abscissa)s->abscissa;
    s->table.radiation = s->radiation - 1;
    s->table.beam_kv = s->saed.beam_kv;
    return cli_values_read(&s->values, "pdf", s->values_text, &s->run.args);
}

static int walk(void *state)
{
    struct cli_pdf *s = state;
    struct mro_error e;
    struct cli_args images = s->run.args;
    int rc = cli_values_place(&s->values, "pdf", &s->run.job, &s->run.args, cli_pdf_is_table);
    if (rc >= 0) return rc;
    rc = cli_prepare_outputs(&s->run.common, "pdf.json", s->run.args.files, s->run.args.n);
    if (rc) return rc;
    mro_pdf_series_release(&s->series);
    if (!s->have_reference) memset(&s->o.fixed, 0, sizeof s->o.fixed);
    struct mro_pdf_tables **tables = &s->tables[CLI_CHOSEN];
    enum mro_code code = *tables ? MRO_OK : mro_pdf_tables_new(tables, &e);
    s->o.tables = *tables;
    if (code == MRO_OK) code = cli_pdf_read_mask(s, &e);
    if (code == MRO_OK) code = cli_pdf_read_geometry(s, &e);
    if (code == MRO_OK && s->reference && !s->have_reference) code = cli_pdf_measure_reference(s, &e);
    if (code) {
        fflush(stdout);
        cli_report(&s->run.job, &e);
        return 1;
    }
    if ((s->ids = cli_identify(&s->run.args)) == NULL) return 1;
    images.files = malloc((images.n + 1) * sizeof *images.files);
    if (images.files == NULL) {
        cli_say(MRO_EMEMORY, "no memory left to begin");
        return 1;
    }
    /* In the order that was given, files of one kind at a time. */
    for (size_t i = 0; i < s->run.args.n && rc != 2;) {
        if (cli_pdf_is_table(s->run.args.files[i])) {
            if (do_table(s, s->run.args.files[i], &e) != MRO_OK) {
                fflush(stdout);
                cli_report(&s->run.job, &e);
                rc = 1;
            }
            i++;
            continue;
        }
        for (images.n = 0; i < s->run.args.n && !cli_pdf_is_table(s->run.args.files[i]); i++)
            images.files[images.n++] = s->run.args.files[i];
        const int one = cli_each_frame(&s->run.job, &images);
        if (one) rc = one;
    }
    free(images.files);
    if (rc != 2 && s->values.n) {
        if (do_series(s, &e) != MRO_OK) {
            cli_report(&s->run.job, &e);
            rc = 1;
        }
    }
    free(s->ids);
    s->ids = NULL;
    return rc;
}

static void defaults(void *state)
{
    struct cli_pdf *s = state;
    mro_pdf_options_default(&s->o);
    mro_saed_options_default(&s->saed);
    mro_profile_options_default(&s->table);
    s->run.seed = &s->o.seed;
    s->frame_draws = 60;
}

static void close_state(void *state)
{
    struct cli_pdf *s = state;
    forget_frames(s);
    cli_pdf_forget_stack(s);
    mro_pdf_result_release(&s->against);
    for (int i = 0; i < CLI_PLACES; i++) mro_pdf_tables_free(s->tables[i]);
    mro_image_release(&s->mask_image);
    free(s->mask_pixels);
    cli_values_release(&s->values);
    mro_pdf_series_release(&s->series);
}

const struct cli_verb cli_verb_pdf = {
    .name = "pdf",
    .help = "diffraction halos to S(Q) and G(r): first sharp peak, shells, connection modes, differences, series",
    .operands = "FILE...",
    .about = about,
    .notes = notes,
    .algorithm = MRO_PDF_ALGORITHM,
    .state_size = sizeof(struct cli_pdf),
    .own = { { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, 0 },
             { "Patterns", pattern_rows, sizeof pattern_rows / sizeof *pattern_rows, 0 },
             { "Tables", table_rows, sizeof table_rows / sizeof *table_rows, 0 } },
    .common = CLI_GROUPS_ALL,
    .kinds = 1U << MRO_KIND_IMAGE | 1U << MRO_KIND_DIFFRACTION,
    .defaults = defaults,
    .check = check,
    .walk = walk,
    .close = close_state,
    .result_size = sizeof(struct cli_pdf_one),
    .need = need,
    .measure = measure,
    .ready = ready,
    .write = write_files,
    .json = json,
    .warnings = warnings,
    .print = print,
    .pool = pool,
    .together = together,
    .release = cli_pdf_release,
};

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
#include "report/figure.h"

/* What the command line says beside the options of the measurement. */
struct eds {
    struct cli_run run;
    struct mro_eds_options options;
    struct cli_list map;
    struct cli_numbers line;
    const char *k, *elements, *haadf, *mro;
    int unit; /* enum mro_eds_unit */
    double width_nm;
    bool normalise, replicates, at_maps;
    struct cli_file_id *ids;
    size_t n_ids;
    bool failed;
};

#define AT(field) offsetof(struct eds, field)
static const struct cli_option input_rows[] = {
    { "map", 0, "ELEMENT=FILE", "",
      "count map of an element, once for each; or ELEMENT,ELEMENT,...=FILE for a stack or a Velox file with spectra",
      CLI_LIST, AT(map), true, 0, 0 },
    { "at-maps", 0, NULL, "", "the maps hold at.%, not counts", CLI_FLAG, AT(at_maps), true, 0, 0 },
    { "haadf", 0, "FILE", "", "HAADF image of the same field: composition of its bright and dark regions", CLI_STRING,
      AT(haadf), true, 0, 0 },
    { "mro", 0, "MASK", "",
      "mask of medium-range order of the same field (of 'mroscope mro'): its share in bright regions", CLI_STRING,
      AT(mro), true, 0, 0 },
    { "replicates", 0, NULL, "", "the files are repeats of one line (odd and even frames, single detectors)", CLI_FLAG,
      AT(replicates), true, 0, 0 },
    { "elements", 0, "LIST", "", "use these elements only, such as Fe,Co,Si,P (default: all)", CLI_STRING, AT(elements),
      true, 0, 0 },
    { "unit", 0, "header|at|wt|counts", "", "what the columns of a table hold whose headers do not say it", CLI_CHOICE,
      AT(unit), true, 0, 0 },
    { "normalise", 0, NULL, "", "take shares that do not add up to 100 as parts of what is there", CLI_FLAG,
      AT(normalise), true, 0, 0 },
    { "pixel", 0, "NM", "nm",
      "pixel size of all maps and images, or X,Y where it differs; wins over what the files say", CLI_PIXEL,
      AT(run.common.pixel_nm), true, 1e-4, 1e6 },
    { "resolution-tags", 0, NULL, "",
      "where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)",
      CLI_FLAG, AT(run.common.resolution_tags), true, 0, 0 },
};
static const struct cli_option measure_rows[] = {
    { "k", 0, "LIST", "", "Cliff-Lorimer factors on weight fractions, such as Fe=1,Si=0.9", CLI_STRING, AT(k), true, 0,
      0 },
    { "line", 0, "X0,Y0,X1,Y1", "nm", "line over the maps, from the top-left corner (default: the diagonal)", CLI_LINE,
      AT(line), true, -1e9, 1e9 },
    { "width", 0, "NM", "nm", "width that is added up across the line (default: 5 pixels)", CLI_DOUBLE, AT(width_nm),
      true, 1e-3, 1e6 },
    { "smooth", 0, "NM", "nm", "smoothing of the HAADF image before bright and dark are told apart, as sigma",
      CLI_DOUBLE, AT(options.smooth_nm), true, 0, 1000 },
    { "threshold", 0, "SD", "", "bright and dark begin so many standard deviations from the mean", CLI_DOUBLE,
      AT(options.threshold_sd), true, 0, 5 },
    { "draws", 0, "N", "", "lines of red noise, and permutations, at most", CLI_INT, AT(options.draws), true, 99,
      100000 },
    { "seed", 0, "N", "", "start of the random numbers; the same seed gives the same bytes", CLI_SEED, AT(options.seed),
      false, 0, 0 },
};

static const char about[] =
    "Takes the counting noise out of composition profiles: how much each element really varies along a line, with a 95 "
    "% "
    "interval, whether the variation repeats, and which elements go together. From tables of counts and at.% (comma, "
    "semicolon or tab; Velox, AZtec, Bruker or plain), or from count maps.";
static const char notes[] =
    "Files written with -o DIR\n"
    "  NAME.eds.json           all numbers, and where they come from\n"
    "  NAME.eds.profile.csv    composition of every point, and its standard deviation by counting\n"
    "  NAME.eds.across.csv     the same along the line at a right angle, with maps\n"
    "  NAME.eds.spectrum.csv   power spectra, with red noise and the best wave\n"
    "  NAME.eds.groups.tif     bright (1) and dark (-1) regions, with --haadf\n"
    "  NAME.eds.png .svg .pdf  the figure\n"
    "NAME is that of the table, or of the first map.\n\n"
    "Examples\n"
    "  mroscope eds -o results line.csv\n"
    "  mroscope eds --k Fe=1,Si=0.9 --map Fe=Fe.tif --map Si=Si.tif --haadf haadf.tif -o results";

/* -- tables ------------------------------------------------------------------------------------------ */

static enum mro_code read_table(struct eds *s, const char *path, struct mro_eds_profile *p, struct cli_sources *in,
                                struct mro_error *e)
{
    const struct mro_eds_table_options o = { (enum mro_eds_unit)s->unit, s->normalise, s->elements };
    struct mro_bytes b;
    MRO_TRY(mro_bytes_map(&b, path, e));
    enum mro_code rc = mro_eds_table(p, b.size ? (const void *)b.p : "", b.size, path, &o, e);
    if (rc == MRO_OK) rc = cli_sources_add(in, "profile", path, -1, b.p, b.size, e);
    mro_bytes_unmap(&b);
    return rc;
}

/* -- results ----------------------------------------------------------------------------------------- */

/* Everything of one result on its way out. */
struct output {
    struct cli_item item;
    struct mro_image_info info;
    struct cli_sources in;
    const char *calibration;
    double pixel_nm[2];
    char **warnings;
    size_t n_warnings;
    struct mro_eds_report report;
    const struct mro_eds_field *maps;
    const struct mro_image *haadf;
};

static void number_text(char *out, size_t size, double v)
{
    if (isnan(v))
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%.2f", v);
}

/* No distribution is known so far out that a smaller chance would say more. */
static void p_text(char *out, size_t size, double p)
{
    const double least = 1e-6;
    if (isnan(p))
        snprintf(out, size, "not measured");
    else if (p < least)
        snprintf(out, size, "< %g", least);
    else
        snprintf(out, size, "%.2g", p);
}

/* Rounded, without a minus before a nought. */
static double hundredths(double v) { return round(100 * v) / 100 + 0.0; }

static void print_line(const char *name, const struct mro_eds_result *r)
{
    cli_put(stdout, "%s: %zu points of %.4g nm, contents in at.%%\n", name, r->points, r->step_nm);
    printf("  %-8s %8s %8s %9s  %-22s %11s %14s\n", "element", "mean", "scatter", "counting", "true part (95 %)",
           "p variation", "wavelength");
    for (size_t j = 0; j < r->elements; j++) {
        const struct mro_eds_element *el = &r->element[j];
        char counting[32], part[64], p[32] = "-", wave[48] = "-";
        number_text(counting, sizeof counting, el->sd_counting_at);
        if (isnan(el->sd_true_at))
            snprintf(part, sizeof part, "not measured");
        else
            snprintf(part, sizeof part, "%.2f (%.2f to %.2f)", el->sd_true_at, el->sd_true_ci95[0],
                     el->sd_true_ci95[1]);
        if (!isnan(el->p_heterogeneous)) p_text(p, sizeof p, el->p_heterogeneous);
        if (!isnan(el->wavelength_nm))
            snprintf(wave, sizeof wave, "%.2f nm, p %.2g", el->wavelength_nm, el->p_periodic);
        printf("  %-8s %8.2f %8.2f %9s  %-22s %11s %14s\n", el->symbol, el->mean_at, el->sd_at, counting, part, p,
               wave);
    }
    for (size_t i = 0; i < r->n_pairs; i++) {
        const struct mro_eds_pair *q = &r->pair[i];
        if (isnan(q->p)) continue;
        char p[32];
        p_text(p, sizeof p, q->p);
        printf("  %s-%s: r %.2f, by closure alone %.2f, p %s\n", r->element[q->a].symbol, r->element[q->b].symbol,
               hundredths(q->r), hundredths(q->r_counting), p);
    }
}

static void print_groups(const struct mro_eds_groups *g)
{
    char p[32];
    printf("  bright %.1f %% and dark %.1f %% of the field", 100 * g->bright.area_fraction,
           100 * g->dark.area_fraction);
    p_text(p, sizeof p, g->p);
    if (g->elements) printf("; difference of composition: p %s", p);
    putchar('\n');
    for (size_t j = 0; j < g->elements; j++) {
        p_text(p, sizeof p, g->p_element[j]);
        printf("  %-8s bright %.2f +- %.2f, dark %.2f +- %.2f at.%%, p %s\n", g->symbol[j], g->bright.mean_at[j],
               g->bright.se_at[j], g->dark.mean_at[j], g->dark.se_at[j], p);
    }
    p_text(p, sizeof p, g->mro_p);
    if (g->has_mro)
        printf("  MRO: %.1f %% of it lies in bright regions, by chance %.1f %%, p %s\n", 100 * g->mro_bright,
               100 * g->bright.area_fraction, p);
}

static enum mro_code write_files(struct eds *s, struct output *o, struct mro_error *e)
{
    const char *path;
    char *stem;
    const struct mro_eds_report *r = &o->report;
    if (r->along) {
        MRO_TRY(cli_write_text(&o->item, &s->run.job, ".profile.csv", mro_csv_eds_profile(r->along, e), e));
        MRO_TRY(cli_write_text(&o->item, &s->run.job, ".spectrum.csv", mro_csv_eds_spectrum(r->along, e), e));
    }
    if (r->across) MRO_TRY(cli_write_text(&o->item, &s->run.job, ".across.csv", mro_csv_eds_profile(r->across, e), e));
    if (r->groups) {
        const struct mro_eds_groups *g = r->groups;
        struct mro_image im = { 0 };
        MRO_TRY(mro_image_alloc(&im, g->ny, g->nx, e));
        for (size_t i = 0; i < g->ny * g->nx; i++) im.px[i] = isfinite(g->flat[i]) ? (float)g->group[i] : NAN;
        enum mro_code rc = mro_image_set_pixels_nm(&im, g->pixel_nm, MRO_SOURCE_UNKNOWN, e);
        if (rc == MRO_OK) rc = cli_output(&o->item, &s->run.job, ".groups.tif", &path, e);
        if (rc == MRO_OK) rc = mro_write_tiff(path, &im, e);
        mro_image_release(&im);
        if (rc) return rc;
    }
    MRO_TRY(cli_figure_stem(&o->item, &s->run.job, &stem, e));
    const enum mro_code rc =
        mro_figure_eds(stem, s->run.common.figure_mm, cli_short_name(&o->item), r, o->maps, o->haadf, e);
    free(stem);
    return rc;
}

static enum mro_code publish(struct eds *s, struct output *o, struct mro_error *e)
{
    struct mro_provenance provenance = { .backend = NULL,
                                         .algorithm = MRO_EDS_ALGORITHM,
                                         .calibration = o->calibration,
                                         .has_seed = true,
                                         .seed = s->options.seed };
    struct mro_result_head h = { .verb = "eds",
                                 .file = o->item.path,
                                 .info = &o->info,
                                 .pixel_nm = { o->pixel_nm[0], o->pixel_nm[1] },
                                 .warnings = (const char *const *)o->warnings,
                                 .n_warnings = o->n_warnings,
                                 .provenance = &provenance };
    struct mro_eds_report *r = &o->report;
    cli_all_in_options(o->warnings, o->n_warnings);
    if (s->run.common.out) MRO_TRY(cli_item_stem(&o->item, s->run.common.out, false, false, e));
    if (o->in.n) memcpy(provenance.input_sha256, o->in.sha256[0], sizeof provenance.input_sha256);
    r->inputs = cli_sources_json(&o->in);
    if (o->item.stem) MRO_TRY(write_files(s, o, e));
    if ((h.options = cli_options_json(s->run.job.usage)) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", o->item.path);
    const enum mro_code rc = cli_emit(&o->item, &s->run.job, mro_json_eds(&h, r, e), e);
    json_decref(h.options);
    if (rc) return rc;
    if (!s->run.common.json) {
        if (r->along) print_line(o->item.path, r->along);
        if (r->across) print_line("  at a right angle", r->across);
        if (r->groups) print_groups(r->groups);
    }
    cli_warn(&s->run.common, o->item.path, h.warnings, h.n_warnings);
    return MRO_OK;
}

static void keep_warnings(struct output *o, char *const *w, size_t n)
{
    for (size_t i = 0; i < n; i++) mro_warn(o, "%s", w[i]);
}

static void output_release(struct output *o, bool failed)
{
    cli_item_release(&o->item, failed);
    cli_sources_release(&o->in);
    mro_notes_release(&o->warnings, &o->n_warnings);
}

static void output_begin(struct eds *s, struct output *o, const char *path)
{
    memset(o, 0, sizeof *o);
    o->item.path = path;
    if (path) snprintf(o->item.name, sizeof o->item.name, "%s", path);
    o->item.inputs = s->ids;
    o->item.n_inputs = s->n_ids;
    o->pixel_nm[0] = o->pixel_nm[1] = NAN;
    o->calibration = "distances of the table";
    o->info.axes = 1;
    o->info.frames = 1;
    o->info.stage_tilt_deg[0] = o->info.stage_tilt_deg[1] = NAN;
}

/* A profile, with its repeats when they are repeats. */
static enum mro_code do_tables(struct eds *s, char *const *files, size_t n, struct mro_error *e)
{
    struct output o;
    struct mro_eds_result r = { 0 };
    struct mro_eds_profile *p = calloc(n, sizeof *p);
    enum mro_code rc = p ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "no memory left for %zu profiles", n);
    output_begin(s, &o, files[0]);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) rc = read_table(s, files[i], &p[i], &o.in, e);
    if (rc == MRO_OK) rc = mro_eds_measure(p, p + 1, n - 1, files[0], &s->options, &r, e);
    if (rc == MRO_OK) {
        o.info.axis[0].size = r.points;
        o.report.along = &r;
        keep_warnings(&o, r.warnings, r.n_warnings);
        rc = publish(s, &o, e);
    }
    mro_eds_result_release(&r);
    for (size_t i = 0; p && i < n; i++) mro_eds_profile_release(&p[i]);
    free(p);
    output_release(&o, rc != MRO_OK);
    return rc;
}

/* -- maps -------------------------------------------------------------------------------------------- */

/* Images read for one result. */
struct field {
    struct cli_maps maps;
    struct mro_image haadf, mro;
};

static void field_release(struct field *f)
{
    cli_maps_release(&f->maps);
    mro_image_release(&f->haadf);
    mro_image_release(&f->mro);
}

/* An image beside the maps. --pixel is for it only when it has their shape. */
static enum mro_code read_beside(struct eds *s, const char *role, const char *path, const struct field *f,
                                 struct mro_image *im, struct output *o, struct mro_error *e)
{
    struct mro_file *file = NULL;
    size_t image = 0;
    char sentence[256];
    const struct mro_eds_field *m = &f->maps.field;
    MRO_TRY(cli_sources_open(&o->in, role, path, s->run.common.memory, &file, e));
    enum mro_code rc = cli_read_plane(file, path, NULL, 0, im, &image, e);
    if (rc == MRO_OK) {
        struct cli_common c = s->run.common;
        if (m->elements && (im->ny != m->ny || im->nx != m->nx)) c.pixel_nm[0] = c.pixel_nm[1] = 0;
        cli_calibrate(&c, mro_file_info(file, image), im->axis, sentence, sizeof sentence);
        if (o->info.axes < 2) o->info = *mro_file_info(file, image);
    }
    for (size_t i = 0; mro_file_warning(file, i); i++) mro_warn(o, "%s", mro_file_warning(file, i));
    mro_file_close(file);
    return rc;
}

struct line_job {
    struct eds *s;
    const struct mro_eds_field *maps;
    const struct mro_eds_line *line;
    const char *name;
    struct mro_eds_profile *p;
};

static enum mro_code sum_line(void *context, enum cli_place place, struct mro_error *e)
{
    struct line_job *j = context;
    return mro_eds_line_profile(j->s->run.places->device[place], j->maps, j->line, j->name, j->p, e);
}

static bool has_warning(const struct mro_eds_result *r, const char *text)
{
    for (size_t k = 0; k < r->n_warnings; k++)
        if (strcmp(r->warnings[k], text) == 0) return true;
    return false;
}

/* How much alike two lines are, element by element. */
static enum mro_code compare_lines(const struct mro_eds_result r[2], struct mro_eds_alike *alike, struct mro_error *e)
{
    const size_t n = r[0].points < r[1].points ? r[0].points : r[1].points;
    double n_eff;
    for (size_t j = 0; j < r[0].elements; j++)
        MRO_TRY(mro_eds_compare(r[0].element[j].at, r[1].element[j].at, n, &alike[j].r, &alike[j].p, &n_eff, e));
    return MRO_OK;
}

static enum mro_code measure_lines(struct eds *s, const struct mro_eds_field *m, struct output *o,
                                   struct mro_eds_line line[2], struct mro_eds_result r[2], struct mro_error *e)
{
    const double *v = s->line.v;
    line[0] = mro_eds_diagonal(m);
    if (s->line.n) line[0].x0 = v[0], line[0].y0 = v[1], line[0].x1 = v[2], line[0].y1 = v[3];
    if (s->width_nm > 0) line[0].width_nm = s->width_nm;
    line[1] = mro_eds_across(m, &line[0]);
    for (int i = 0; i < 2; i++) {
        struct mro_eds_profile p;
        struct mro_error other;
        struct line_job job = { s, m, &line[i], o->item.path, &p };
        enum mro_code rc = cli_compute(&s->run.common, s->run.places, o->item.path, sum_line, &job, i ? &other : e);
        if (rc == MRO_OK) rc = mro_eds_measure(&p, NULL, 0, o->item.path, &s->options, &r[i], i ? &other : e);
        mro_eds_profile_release(&p);
        if (rc && i == 0) return rc;
        if (rc == MRO_EMEMORY) return MRO_FAIL(e, rc, "%s", other.message);
        if (rc) mro_warn(o, "no line at a right angle: %s", other.message);
        for (size_t k = 0; rc == MRO_OK && k < r[i].n_warnings; k++) {
            if (i == 0)
                mro_warn(o, "%s", r[0].warnings[k]);
            else if (!has_warning(&r[0], r[1].warnings[k])) /* what holds for both is said once */
                mro_warn(o, "line at a right angle: %s", r[1].warnings[k]);
        }
    }
    o->report.along = &r[0];
    o->report.line = &line[0];
    if (r[1].points) {
        o->report.across = &r[1];
        o->report.across_line = &line[1];
        return compare_lines(r, o->report.alike, e);
    }
    return MRO_OK;
}

static enum mro_code do_maps(struct eds *s, struct mro_error *e)
{
    struct output o;
    struct field *f = calloc(1, sizeof *f);
    struct mro_eds_line line[2];
    struct mro_eds_result r[2] = { { 0 }, { 0 } };
    struct mro_eds_groups g = { 0 };
    struct mro_eds_field *m = f ? &f->maps.field : NULL;
    enum mro_code rc = f ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "no memory left for maps");
    output_begin(s, &o, NULL);
    for (size_t i = 0; i < s->map.n && rc == MRO_OK; i++)
        rc = cli_maps_add(&f->maps, &s->run.common, s->map.v[i], &o.in, &o.warnings, &o.n_warnings, e);
    if (rc == MRO_OK && m->elements) o.info = f->maps.info;
    if (rc == MRO_OK && s->haadf) rc = read_beside(s, "haadf", s->haadf, f, &f->haadf, &o, e);
    if (rc == MRO_OK && s->mro) rc = read_beside(s, "mro", s->mro, f, &f->mro, &o, e);
    if (rc) goto done;
    o.item.path = o.in.file[0];
    m->at_percent = s->at_maps;
    if (m->elements == 0) { /* a mask alone: on the pixels of the image, as far as they are worth it */
        double pixel[2];
        rc = mro_image_pixel_nm(&f->haadf, s->haadf, pixel, e);
        if (rc) goto done;
        const size_t longest = f->haadf.nx > f->haadf.ny ? f->haadf.nx : f->haadf.ny, k = (longest + 1023) / 1024;
        m->ny = f->haadf.ny / k;
        m->nx = f->haadf.nx / k;
        m->pixel_nm[0] = pixel[0] * (double)f->haadf.ny / (double)m->ny;
        m->pixel_nm[1] = pixel[1] * (double)f->haadf.nx / (double)m->nx;
        mro_calibration_text(&f->haadf.axis[0], &f->haadf.axis[1], f->maps.calibration, sizeof f->maps.calibration);
    }
    o.calibration = f->maps.calibration;
    memcpy(o.pixel_nm, m->pixel_nm, sizeof o.pixel_nm);
    snprintf(o.item.name, sizeof o.item.name, "%s", o.item.path);
    o.maps = m;
    if (m->elements) rc = measure_lines(s, m, &o, line, r, e);
    if (rc == MRO_OK && s->haadf) {
        o.haadf = &f->haadf;
        rc = mro_eds_bright_dark(m, &f->haadf, s->haadf, s->mro ? &f->mro : NULL, s->mro, &s->options, &g, e);
        if (rc == MRO_OK) {
            o.report.groups = &g;
            keep_warnings(&o, g.warnings, g.n_warnings);
        }
    }
    if (rc == MRO_OK) rc = publish(s, &o, e);
done:
    if (f) field_release(f);
    free(f);
    for (int i = 0; i < 2; i++) mro_eds_result_release(&r[i]);
    mro_eds_groups_release(&g);
    output_release(&o, rc != MRO_OK);
    return rc;
}

static void report(struct eds *s, enum mro_code rc, const struct mro_error *e)
{
    if (rc == MRO_OK) return;
    cli_report(&s->run.job, e);
    s->failed = true;
}

static int check(void *state)
{
    struct eds *s = state;
    const size_t files = s->run.args.n;
    struct mro_error e;
    if (s->k && mro_eds_k_parse(&s->options.k, s->k, &e) != MRO_OK) return cli_refuse("eds", &e);
    if (cli_maps_check(&s->map, &e) != MRO_OK) return cli_refuse("eds", &e);
    if (files == 0 && s->map.n == 0 && !(s->haadf && s->mro))
        return cli_wrong_usage("eds", "'eds' needs a table of a line profile, or maps: mroscope eds LINE.csv, or "
                                      "`map=Fe=FILE` `map=Si=FILE`");
    if (s->mro && !s->haadf)
        return cli_wrong_usage("eds", "`mro` needs the HAADF image of the same field: `haadf=FILE`");
    if (s->haadf && s->map.n == 0 && !s->mro)
        return cli_wrong_usage("eds", "`haadf` needs maps (`map`) or a mask (`mro`) to compare");
    if (files && (s->map.n || s->haadf || s->mro || s->line.n))
        return cli_wrong_usage("eds", "tables and maps are separate measurements: give one or the other");
    if (s->replicates && s->run.args.n < 2)
        return cli_wrong_usage("eds", "`replicates` needs two tables or more of one line");
    return -1;
}

static void walk_tables(struct eds *s)
{
    struct mro_error e;
    const size_t n = s->run.args.n, at_once = s->replicates ? n : 1;
    for (size_t i = 0; i < n; i += at_once) report(s, do_tables(s, s->run.args.files + i, at_once, &e), &e);
}

static int walk(void *state)
{
    struct eds *s = state;
    struct mro_error e;
    char *paths[CLI_MAX_SOURCES];
    struct cli_args inputs = s->run.args; /* with maps, they are inputs in the place of operands */
    const bool tables = inputs.n > 0;
    if (!tables) {
        inputs = (struct cli_args){ .files = paths };
        for (size_t i = 0; i < s->map.n; i++) paths[inputs.n++] = (char *)cli_map_path(s->map.v[i]);
        if (s->haadf) paths[inputs.n++] = (char *)s->haadf;
        if (s->mro) paths[inputs.n++] = (char *)s->mro;
    }
    struct mro_device **device = &s->run.places->device[CLI_CHOSEN];
    int rc = cli_prepare_outputs(&s->run.common, "eds", inputs.files, tables ? inputs.n : 1);
    if (rc == 0 && *device == NULL) rc = cli_open_device(&s->run.common, "eds", device);
    if (rc) return rc;
    /* Results never replace one of these. */
    if ((s->ids = cli_identify(&inputs)) == NULL) return 1;
    s->n_ids = inputs.n;
    s->failed = false;
    if (tables)
        walk_tables(s);
    else
        report(s, do_maps(s, &e), &e);
    free(s->ids);
    s->ids = NULL;
    s->n_ids = 0;
    return s->failed ? 1 : 0;
}

static void defaults(void *state)
{
    struct eds *s = state;
    mro_eds_options_default(&s->options);
    s->run.seed = &s->options.seed;
}

const struct cli_verb cli_verb_eds = {
    .name = "eds",
    .help = "how large composition fluctuations are without counting noise, and whether they repeat",
    .operands = "[FILE...]",
    .about = about,
    .notes = notes,
    .algorithm = MRO_EDS_ALGORITHM,
    .state_size = sizeof(struct eds),
    .own = { { "Input", input_rows, sizeof input_rows / sizeof *input_rows, 0 },
             { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, 0 } },
    .common = CLI_GROUP_RUN | CLI_GROUP_OUTPUT,
    .defaults = defaults,
    .check = check,
    .walk = walk,
};

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/verb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inside.h"
#include "report/figure.h"

#define PRINTED_NM 1000.0 /* pixels of resolution tags that are larger are those of a print */

/* -- one frame ------------------------------------------------------------------------------------ */

struct measured {
    struct cli_run *run;
    const struct cli_item *item;
    enum cli_place place;
    enum mro_code code;
    struct mro_error error;
    void *result;
    bool written; /* by the lane that measured it: a figure takes longer than many measurements */
};

static enum mro_code measure_at(void *context, enum cli_place place, struct mro_error *e)
{
    struct measured *m = context;
    const struct cli_verb *v = m->run->verb;
    size_t n = 0;
    m->place = place;
    MRO_TRY(v->measure(m->run, place, m->item, m->result, e));
    char *const *warnings = v->warnings ? v->warnings(m->result, &n) : NULL;
    cli_all_in_options(warnings, n); /* figures tell them too */
    return MRO_OK;
}

/* Where a TIFF has nothing but resolution tags, and those of a microscope rather than of a printer, they are a way on.
 */
static void tell_of_tags(const struct cli_run *run, const struct cli_item *item, struct mro_error *e)
{
    const double nm = item->info ? item->info->resolution_nm[1] : 0;
    const size_t used = strlen(e->message);
    if (e->lack != MRO_LACKS_PIXEL_SIZE || !(nm > 0 && nm < PRINTED_NM) || run->common.resolution_tags) return;
    snprintf(e->message + used, sizeof e->message - used, " but for resolution tags, which say %.4g nm", nm);
    e->lack = MRO_LACKS_PIXEL_SIZE_OR_TAGS;
}

static void *measure(void *context, struct cli_item *item)
{
    struct cli_run *run = context;
    struct measured *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    *m = (struct measured){ .run = run, .item = item, .result = calloc(1, run->verb->result_size) };
    if (m->result)
        m->code = measure_at(m, item->place, &m->error);
    else
        m->code = MRO_FAIL(&m->error, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
    if (m->code) tell_of_tags(run, item, &m->error);
    const bool writes = m->code == MRO_OK && item->stem && run->verb->write;
    if (writes && item->place >= CLI_BESIDE && !mro_inside_keeps()) { /* what is kept has an order */
        struct mro_error told_later;                                  /* publish writes again what fails here */
        item->staged = true;
        m->written = run->verb->write(run, item, m->result, &told_later) == MRO_OK;
        if (!m->written) cli_item_unwrite(item, true);
    }
    item->spent = m->code == MRO_OK && (m->written || !writes);
    return m;
}

static void release(void *context, void *measured)
{
    const struct cli_run *run = context;
    struct measured *m = measured;
    if (m == NULL) return;
    if (m->result) run->verb->release(m->result);
    free(m->result);
    free(m);
}

static enum mro_code publish(void *context, struct cli_item *item, void *measured, struct mro_error *e)
{
    struct cli_run *run = context;
    const struct cli_verb *v = run->verb;
    struct measured *m = measured;
    if (m == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
    if (item->first) memset(run->measured_on, 0, sizeof run->measured_on);
    enum mro_code code = m->code;
    *e = m->error;
    if (m->result && !m->written) {
        code = cli_compute_instead(&run->common, run->places, item->name, code, measure_at, m, e);
        if (code == MRO_OK && item->stem && v->write) code = v->write(run, item, m->result, e);
    }
    if (code == MRO_OK) code = cli_item_unstage(item, e);
    if (code == MRO_OK) code = cli_publish(run, item, m->result, mro_device_backend(run->places->device[m->place]), e);
    if (code == MRO_OK) {
        const enum cli_place place = m->place == CLI_CPU ? CLI_CPU : CLI_CHOSEN;
        run->measured_on[place] = true;
        if (v->pool) code = v->pool(run, place, item, m->result, e);
    }
    return code;
}

/* What failed on a GPU left nothing there that other frames could share. */
static bool ready(const void *context, const void *measured)
{
    const struct cli_run *run = context;
    const struct measured *m = measured;
    return m && m->code == MRO_OK && (run->verb->ready == NULL || run->verb->ready(run));
}

static enum mro_code do_together(void *context, struct cli_item *item, struct mro_error *e)
{
    struct cli_run *run = context;
    return run->verb->together(run, item, e);
}

static size_t need(const void *context, const struct mro_image *like)
{
    const struct cli_run *run = context;
    return run->verb->need(run, like);
}

/* -- results --------------------------------------------------------------------------------------- */

const char *cli_backend(const struct cli_run *run)
{
    const bool *on = run->measured_on;
    if (on[CLI_CHOSEN] && on[CLI_CPU]) return "cuda and cpu";
    return mro_device_backend(run->places->device[on[CLI_CPU] ? CLI_CPU : CLI_CHOSEN]);
}

enum mro_code cli_publish(struct cli_run *run, struct cli_item *item, const void *result, const char *backend,
                          struct mro_error *e)
{
    const struct cli_verb *v = run->verb;
    struct cli_head h = { 0 };
    size_t n = 0;
    char *const *warnings = v->warnings ? v->warnings(result, &n) : NULL;
    enum mro_code code = cli_head(&run->job, item, (const char *const *)warnings, n, &h, e);
    if (code == MRO_OK) {
        h.provenance.backend = backend;
        h.provenance.algorithm = v->algorithm;
        h.provenance.has_seed = run->seed != NULL;
        h.provenance.seed = run->seed ? *run->seed : 0;
        code = cli_emit(item, &run->job, v->json(run, &h.head, result, e), e);
    }
    if (code == MRO_OK) {
        if (!run->common.json) v->print(run, item, result);
        cli_warn(&run->common, item->path, h.head.warnings, h.head.n_warnings);
    }
    cli_head_release(&h);
    return code;
}

void cli_print_row(struct cli_run *run, const struct cli_item *item, const char *heading, const char *value,
                   const char *verdict)
{
    if (!run->titled) {
        /* Frames have longer names than their file, the last one the longest. */
        const size_t last = item->info->frames ? item->info->frames - 1 : 0;
        const int more = snprintf(NULL, 0, "%zu", last) - snprintf(NULL, 0, "%zu", item->frame);
        const int wide = cli_characters(item->name) + (item->frame_given && more > 0 ? more : 0);
        if (wide > run->name_width) run->name_width = wide;
        run->value_width = cli_characters(value) > 28 ? cli_characters(value) : 28;
        printf("%-*s  %-*s  %s\n", run->name_width, "image", run->value_width, heading, "verdict");
    }
    run->titled = true;
    const int gap = run->name_width - cli_characters(item->name);
    cli_put(stdout, "%s%*s  %-*s  %s\n", item->name, gap > 0 ? gap : 0, "", run->value_width, value, verdict);
    fflush(stdout);
}

enum mro_code cli_write_map(struct cli_run *run, struct cli_item *item, const char *suffix, const struct mro_image *map,
                            struct mro_error *e)
{
    const char *path;
    if (map->px == NULL) return MRO_OK;
    MRO_TRY(cli_output(item, &run->job, suffix, &path, e));
    return mro_write_tiff(path, map, e);
}

const char *cli_short_name(const struct cli_item *item) { return cli_base_name(item->name); }

/* -- open, measure, close --------------------------------------------------------------------------- */

static void group(struct cli_run *run, const char *title, const struct cli_option *rows, size_t n, void *base)
{
    run->groups[run->usage.n_groups++] = (struct cli_group){ title, rows, n, base };
}

static void describe(struct cli_run *run, const struct cli_verb *v)
{
    run->verb = v;
    run->usage = (struct cli_usage){ v->name, v->operands, v->about, v->notes, run->groups, 0 };
    for (size_t i = 0; i < CLI_OWN_GROUPS && v->own[i].rows; i++)
        group(run, v->own[i].title, v->own[i].rows, v->own[i].n, (char *)run + v->own[i].at);
    if (v->common & CLI_GROUP_INPUT) group(run, "Input", cli_input_options, cli_n_input_options, &run->common);
    if (v->common & CLI_GROUP_RUN) group(run, "Computing", cli_run_options, cli_n_run_options, &run->common);
    if (v->common & CLI_GROUP_OUTPUT) {
        group(run, "Output", cli_output_options, cli_n_output_options, &run->common);
        group(run, "Figures", cli_figure_options, cli_n_figure_options, &run->common);
    }
    run->job = (struct cli_job){ .usage = &run->usage,
                                 .common = &run->common,
                                 .context = run,
                                 .places = run->places,
                                 .kinds = v->kinds,
                                 .need = v->need ? need : NULL,
                                 .measure = measure,
                                 .publish = publish,
                                 .release = release,
                                 .ready = ready,
                                 .together = v->together ? do_together : NULL };
}

int cli_verb_open(const struct cli_verb *v, int argc, char **argv, struct cli_places *places, bool measures,
                  struct cli_run **out)
{
    struct cli_run *run = *out = calloc(1, v->state_size);
    if (run == NULL) {
        cli_say(MRO_EMEMORY, "no memory left to begin");
        return 1;
    }
    run->places = places ? places : &run->own_places;
    describe(run, v);
    run->common.figure_mm = MRO_FIGURE_WIDTH;
    v->defaults(run);
    int rc = cli_parse(&run->usage, argc, argv, &run->args);
    if (rc < 0 && v->check) rc = v->check(run);
    if (rc < 0 && measures && v->measure && run->places->device[CLI_CHOSEN] == NULL) {
        rc = cli_open_device(&run->common, v->name, &run->places->device[CLI_CHOSEN]);
        if (rc == 0) rc = -1;
    }
    return rc;
}

int cli_verb_measure(struct cli_run *run)
{
    for (size_t i = 0; i < run->args.n; i++) {
        const int width = cli_characters(run->args.files[i]);
        if (width > run->name_width) run->name_width = width < 60 ? width : 60;
    }
    return run->verb->walk ? run->verb->walk(run) : cli_each_frame(&run->job, &run->args);
}

void cli_verb_close(struct cli_run *run)
{
    if (run == NULL) return;
    if (run->verb->close) run->verb->close(run);
    cli_places_close(&run->own_places);
    cli_warn_end(&run->common);
    cli_args_release(&run->args);
    free(run);
}

int cli_verb_main(const struct cli_verb *v, int argc, char **argv)
{
    struct cli_run *run;
    int rc = cli_verb_open(v, argc, argv, NULL, true, &run);
    if (rc < 0) rc = cli_verb_measure(run);
    cli_verb_close(run);
    return rc;
}

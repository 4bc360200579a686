/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE /* asprintf */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "report/figure.h"
#include "report/page.h"
#include "session/store.h"

struct report {
    const char *title, *reference;
    struct cli_common common;
};

static const struct cli_option report_rows[] = {
    { "title", 0, "TEXT", "", "heading of the report (default: the name of the folder)", CLI_STRING,
      offsetof(struct report, title), false, 0, 0 },
    { "reference", 0, "STATE", "", "state that the others are compared with (default: the first)", CLI_STRING,
      offsetof(struct report, reference), false, 0, 0 },
};

static const char about[] =
    "Makes one HTML file of the results of a session: tables, comparison of the states, and for each image its score "
    "map "
    "with a threshold to move, autocorrelations, figure, warnings and where the numbers come from. The file needs "
    "no network and opens by double click.";
static const char notes[] =
    "RESULTS_DIR is the folder that 'mroscope batch' wrote. DIR/report.html is made or replaced.\n"
    "The figures of the comparison and its tables are in DIR/comparison, as 'mroscope compare' writes them.\n\n"
    "Example\n"
    "  mroscope report results -o report";

/* Cuts the last name off a path and returns the length of what stays. */
static size_t cut_name(char *path)
{
    size_t n = strlen(path);
    while (n && path[n - 1] == '/') n--;
    while (n && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    path[n] = '\0';
    return n;
}

/* How much of a path was there before anything was made. */
static size_t is_there(const char *path)
{
    struct stat st;
    char *part = strdup(path);
    size_t n = strlen(path);
    while (part && n && stat(part, &st) != 0) n = cut_name(part);
    free(part);
    return n;
}

/* Takes back the folder `path` and its parents but for the `before` characters that were there, if they are empty. */
static void take_back(const char *path, size_t before)
{
    char *part = strdup(path);
    for (size_t n = part ? strlen(part) : 0; n > before && rmdir(part) == 0;) n = cut_name(part);
    free(part);
}

/* Compares the states, with files in `out` where there is something to compare. */
static enum mro_code compare(const struct report *opt, const char *folder, const char *out, json_t *list,
                             struct mro_error *e)
{
    const bool made = mkdir(out, 0777) == 0;
    enum mro_code rc = made || errno == EEXIST
                           ? cli_compare_folder(folder, opt->reference, out, opt->common.figure_mm, list, e)
                           : MRO_FAIL(e, MRO_EIO, "cannot make the folder '%s': %s", out, strerror(errno));
    if (made) rmdir(out);                 /* goes only when it stayed empty */
    return rc == MRO_EDATA ? MRO_OK : rc; /* no row has a result: the page says so */
}

/* Writes the comparison and the page. What was made goes again where that fails. */
static enum mro_code write_all(const struct report *opt, const char *folder, const struct mro_session *session,
                               struct mro_page_made *made, struct mro_error *e)
{
    struct stat st;
    char *out = NULL;
    json_t *compared = json_array();
    if (compared == NULL || asprintf(&out, "%s/comparison", opt->common.out) < 0) {
        json_decref(compared);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    }
    const bool there = lstat(out, &st) == 0;
    const struct mro_page_options o = { .title = opt->title, .threads = opt->common.threads, .compare = compared };
    enum mro_code rc = compare(opt, folder, out, compared, e);
    if (rc == MRO_OK) rc = mro_page_write(opt->common.out, session, &o, made, e);
    if (rc && !there) mro_store_remove_tree(out);
    json_decref(compared);
    free(out);
    return rc;
}

static int make(struct report *opt, const char *folder)
{
    struct mro_session session = { 0 };
    struct mro_page_made made = { 0 };
    struct mro_error e = { 0 };
    if (mro_session_open(&session, folder, &e) != MRO_OK) {
        cli_complain(&e);
        return 1;
    }
    const size_t before = is_there(opt->common.out);
    int rc = cli_prepare_outputs(&opt->common, "report.html", NULL, 0);
    if (rc) {
        take_back(opt->common.out, before);
        mro_session_release(&session);
        return rc;
    }
    const enum mro_code code = write_all(opt, folder, &session, &made, &e);
    if (code != MRO_OK) {
        take_back(opt->common.out, before);
        if (code != MRO_EARG) cli_complain(&e); /* a state that is not there was told */
        rc = code == MRO_EARG ? 2 : 1;
    } else {
        cli_warn(&opt->common, folder, (const char *const *)session.warnings, session.n_warnings);
        for (size_t i = 0; i < made.n_problems; i++) cli_put(stderr, "mroscope: %s\n", made.problems[i]);
        if (opt->common.json) {
            rc = cli_print(json_pack("{sssssIsIsIsIsI}", "schema", "mroscope.report/1", "results", folder, "measured",
                                     (json_int_t)made.results, "failed", (json_int_t)made.failed, "pending",
                                     (json_int_t)made.pending, "left_out", (json_int_t)made.n_problems, "bytes",
                                     (json_int_t)made.bytes),
                           &e) != MRO_OK;
            if (rc) cli_complain(&e);
        } else if (!opt->common.quiet) {
            char pending[100] = "";
            if (made.pending)
                snprintf(pending, sizeof pending, ", %zu not yet measured ('mroscope batch' does it)", made.pending);
            cli_put(stdout, "%s/report.html: %zu measured, %zu failed%s, %.1f MB\n", opt->common.out, made.results,
                    made.failed, pending, (double)made.bytes / 1e6);
        }
        if (made.n_problems) rc = 1;
    }
    mro_page_made_release(&made);
    mro_session_release(&session);
    return rc;
}

int cmd_report(int argc, char **argv)
{
    struct report opt = { .common.figure_mm = MRO_FIGURE_WIDTH };
    const struct cli_group groups[] = {
        { "Report", report_rows, sizeof report_rows / sizeof *report_rows, &opt },
        { "Output", cli_output_options, cli_n_output_options, &opt.common },
        { "Figures", cli_figure_options, cli_n_figure_options, &opt.common },
    };
    const struct cli_usage usage = { "report", "RESULTS_DIR", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0) {
        if (args.n != 1)
            rc = cli_wrong_usage("report", "'report' takes one folder of results, and %zu were given", args.n);
        else if (opt.common.out == NULL)
            rc = cli_wrong_usage("report", "'report' needs the folder to write to; give it with `output=DIR`");
        else
            rc = make(&opt, args.files[0]);
    }
    cli_args_release(&args);
    return rc;
}

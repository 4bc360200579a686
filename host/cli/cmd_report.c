/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "report/page.h"

struct report {
    const char *title;
    struct cli_common common;
};

static const struct cli_option report_rows[] = {
    { "title", 0, "TEXT", "", "heading of the report (default: the name of the folder)", CLI_STRING,
      offsetof(struct report, title), false, 0, 0 },
};

static const char about[] =
    "Makes one HTML file of the results of a session: tables, comparison of the states, and for each image its score "
    "map "
    "with a threshold to move, autocorrelations, figure, warnings and where the numbers come from. The file needs "
    "no network and opens by double click.";
static const char notes[] =
    "RESULTS_DIR is the folder that 'mroscope batch' wrote. DIR/report.html is made or replaced.\n\n"
    "Example\n"
    "  mroscope report results -o report";

static int make(struct report *opt, const char *folder)
{
    struct mro_session session = { 0 };
    struct mro_page_made made = { 0 };
    struct mro_error e = { 0 };
    int rc = cli_prepare_outputs(&opt->common, "report.html", NULL, 0);
    if (rc) return rc;
    if (mro_session_open(&session, folder, &e) != MRO_OK) {
        cli_complain(&e);
        return 1;
    }
    const struct mro_page_options o = { .title = opt->title, .threads = opt->common.threads };
    if (mro_page_write(opt->common.out, &session, &o, &made, &e) != MRO_OK) {
        cli_complain(&e);
        rc = 1;
    } else {
        cli_warn(&opt->common, folder, (const char *const *)session.warnings, session.n_warnings);
        for (size_t i = 0; i < made.n_problems; i++) fprintf(stderr, "mroscope: %s\n", made.problems[i]);
        if (opt->common.json) {
            rc = cli_print(json_pack("{sssssIsIsIsIsI}", "schema", "mroscope.report/1", "results", folder, "measured",
                                     (json_int_t)made.results, "failed", (json_int_t)made.failed, "pending",
                                     (json_int_t)made.pending, "left_out", (json_int_t)made.n_problems, "bytes",
                                     (json_int_t)made.bytes),
                           &e) != MRO_OK;
            if (rc) cli_complain(&e);
        } else if (!opt->common.quiet) {
            printf("%s/report.html: %zu measured, %zu failed, %.1f MB\n", opt->common.out, made.results, made.failed,
                   (double)made.bytes / 1e6);
        }
        if (made.n_problems) rc = 1;
    }
    mro_page_made_release(&made);
    mro_session_release(&session);
    return rc;
}

int cmd_report(int argc, char **argv)
{
    struct report opt = { 0 };
    const struct cli_group groups[] = {
        { "Report", report_rows, sizeof report_rows / sizeof *report_rows, &opt },
        { "Output", cli_output_options, cli_n_output_options, &opt.common },
    };
    const struct cli_usage usage = { "report", "RESULTS_DIR", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0) {
        rc = 2;
        if (args.n != 1)
            fprintf(
                stderr,
                "mroscope: 'report' takes one folder of results, and %zu were given; try 'mroscope report --help'\n",
                args.n);
        else if (opt.common.out == NULL)
            fprintf(stderr, "mroscope: 'report' needs the folder to write to; give it with -o DIR\n");
        else
            rc = make(&opt, args.files[0]);
    }
    cli_args_release(&args);
    return rc;
}

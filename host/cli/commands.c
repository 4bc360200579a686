/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/commands.h"

#include <string.h>

#include "cli/verb.h"
#include "core/inside.h"

/* A command, or a verb that measures. */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
    const struct cli_verb *verb;
} commands[] = {
    { .verb = &cli_verb_mro },
    { .verb = &cli_verb_lattice },
    { .verb = &cli_verb_haadf },
    { .verb = &cli_verb_eds },
    { .verb = &cli_verb_pdf },
    { .verb = &cli_verb_shearband },
    { .verb = &cli_verb_indent },
    { "batch", cmd_batch, "measure a whole session: many files of several states, listed in a table", NULL },
    { "compare", cmd_compare, "how states differ: ratios with intervals, p, trend; from results or a table", NULL },
    { "report", cmd_report, "one HTML file of the results of a session, to look at and to pass on", NULL },
    { "info", cmd_info, "what is in a file: images, sizes, calibration and where it came from", NULL },
    { "convert", cmd_convert, "write images as calibrated TIFF or MRC, in their own pixel type", NULL },
    { .verb = &cli_verb_bandpass },
    { "devices", cmd_devices, "where this program can compute", NULL },
    { "bench", cmd_bench, "prove the answers of a device, then time it", NULL },
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };
const size_t cli_n_commands = N_COMMANDS;

const char *cli_command_name(size_t i) { return commands[i].verb ? commands[i].verb->name : commands[i].name; }

const char *cli_command_help(size_t i) { return commands[i].verb ? commands[i].verb->help : commands[i].help; }

int cli_command(const char *name, int argc, char **argv)
{
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = cli_command_name(i);
        if (strcmp(name, names[i]) != 0) continue;
        return commands[i].verb ? cli_verb_main(commands[i].verb, argc, argv) : commands[i].run(argc, argv);
    }
    const char *near = cli_nearest(name, names, N_COMMANDS);
    if (near)
        cli_say(MRO_EARG, "'%s' is no verb of mroscope; did you mean '%s'?%s", name, near,
                mro_inside ? "" : " try 'mroscope --help'");
    else
        cli_say(MRO_EARG, "'%s' is no verb of mroscope%s", name, mro_inside ? "" : "; try 'mroscope --help'");
    return 2;
}

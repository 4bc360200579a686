/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The commands: each parses argv[1..] (argv[0] is the verb), calls the library, prints, and returns the
 * exit code: 0 done, 1 an input failed, 2 wrong usage. Those that measure are described by a struct cli_verb (verb.h).
 * Adding one is a file cmd_NAME.c, a line here and a row in commands.c. */
#ifndef MRO_CLI_COMMANDS_H
#define MRO_CLI_COMMANDS_H

#include <jansson.h>

#include "mroscope/error.h"

/* All of them in the order of the help: name and line of help of the i-th. */
extern const size_t cli_n_commands;
const char *cli_command_name(size_t i);
const char *cli_command_help(size_t i);

/* Runs the command of that name; 2 after one sentence when there is none. */
int cli_command(const char *name, int argc, char **argv);

int cmd_info(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_batch(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_devices(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/* The comparison that 'mroscope compare' makes of a folder of results with its own defaults: appends its results to
 * `list`, each with `stem`, the name of its files without suffix in the folder `out` (which exists; NULL = none are
 * written), with figures `figure_mm` wide. Nothing to compare is no error: the list stays as it is. `reference` may be
 * NULL. MRO_EARG: there is no such state; the sentence is on stderr. */
enum mro_code cli_compare_folder(const char *folder, const char *reference, const char *out, double figure_mm,
                                 json_t *list, struct mro_error *e);

struct cli_verb;
extern const struct cli_verb cli_verb_mro, cli_verb_eds, cli_verb_bandpass, cli_verb_haadf, cli_verb_lattice,
    cli_verb_pdf, cli_verb_shearband, cli_verb_indent;

#endif

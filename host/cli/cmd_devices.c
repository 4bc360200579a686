/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/inputs.h"

static void print_table(void)
{
    struct mro_device_info info;
    for (size_t i = 0; i < mro_device_count(); i++) {
        mro_device_describe(i, &info);
        printf("%-8s %-11s %s%s%s\n", info.name, info.usable ? "usable" : "not usable", info.description,
               info.description[0] && info.reason[0] ? "; " : "", info.reason);
    }
}

int cmd_devices(int argc, char **argv)
{
    struct {
        bool json;
    } opt = { false };
    static const struct cli_option rows[] = {
        { "json", 0, NULL, "", "print one JSON object in place of the table", CLI_FLAG, 0, false, 0, 0 },
    };
    const struct cli_group groups[] = { { "Output", rows, 1, &opt } };
    const struct cli_usage usage = { "devices",
                                     NULL,
                                     "Lists what can compute, by the names that `device` of the other verbs takes, and "
                                     "why others cannot. 'cuda' is the "
                                     "first graphics card that can be used, and so is 'auto', or else the processor.",
                                     NULL,
                                     groups,
                                     1 };
    struct cli_args args;
    struct mro_error e;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0) {
        rc = 0;
        if (opt.json) {
            rc = cli_print(mro_json_devices(&e), &e) == MRO_OK ? 0 : 1;
            if (rc) cli_complain(&e);
        } else {
            print_table();
        }
    }
    cli_args_release(&args);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of 'mroscope compare': what is asked for, and every metric compared (cmd_compare.c); what is written and
 * printed of each (compare_outputs.c). */
#ifndef MRO_CLI_COMPARE_H
#define MRO_CLI_COMPARE_H

#include "cli/inputs.h"
#include "io/compare_set.h"

struct cli_compare {
    struct cli_common common;
    struct mro_compare_options options;
    struct cli_list metric;
    const char *reference, *trend, *over;
    int permutations;
    bool ignore_settings;
    struct mro_compare_set set;
    struct cli_job job;
    struct cli_file_id *ids;
    char sha256[65];
    bool *in_trend;
    json_t *collect; /* results are gathered here, and nothing is printed; NULL: for the terminal */
};

/* One metric on its way. */
struct cli_compared {
    size_t metric; /* in the set */
    struct mro_compare_data data;
    struct mro_compare_image *image;
    size_t *row;
    const char **file, **specimen;
    char settings[300];
    struct mro_compare_result result;
    struct mro_compare_report report;
    char *stem; /* of its outputs, without the folder */
};

/* Name of the folder or table, without what is before and behind it; free() it. NULL when out of memory. */
char *cli_compare_base(const char *path);

/* Names the outputs of `n` metrics, each another. MRO_EMEMORY. */
enum mro_code cli_compare_name(struct cli_compare *s, struct cli_compared *ones, size_t n, const char *base,
                               struct mro_error *e);

/* Writes figure and JSON of a metric, and prints that with --json. */
enum mro_code cli_compare_publish(struct cli_compare *s, struct cli_compared *m, struct mro_error *e);

/* Writes the tables of all metrics. */
enum mro_code cli_compare_tables(struct cli_compare *s, const struct cli_compared *ones, size_t n, const char *base,
                                 struct mro_error *e);

/* Prints a metric for people. */
void cli_compare_print(const struct cli_compared *m);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A measuring verb is a description (struct cli_verb) and a state that is opened once and fed files: by its command
 * with the files of the command line, by `batch` with one row of a session after the other.
 *
 * Adding one: a file cmd_NAME.c with its options, its hooks and `const struct cli_verb cli_verb_NAME`, a line in
 * commands.h and a row in commands.c. Hooks are called in the order in which they stand here. A verb that measures
 * images frame by frame fills `measure` and what follows it; one with inputs of its own fills `walk` in their place. */
#ifndef MRO_CLI_VERB_H
#define MRO_CLI_VERB_H

#include "cli/inputs.h"

/* Options of a verb's own: rows over the struct that lies `at` bytes into its state. */
struct cli_verb_group {
    const char *title;
    const struct cli_option *rows;
    size_t n, at;
};

/* Groups that verbs share, for struct cli_verb.common. */
enum { CLI_GROUP_INPUT = 1, CLI_GROUP_RUN = 2, CLI_GROUP_OUTPUT = 4, CLI_GROUPS_ALL = 7 };
enum { CLI_OWN_GROUPS = 3, CLI_MAX_GROUPS = CLI_OWN_GROUPS + 4 };

/* What every state begins with. */
struct cli_run {
    const struct cli_verb *verb;
    struct cli_common common;
    struct cli_places *places, own_places; /* lent, or its own */
    struct cli_job job;
    struct cli_usage usage;
    struct cli_group groups[CLI_MAX_GROUPS];
    struct cli_args args;
    const uint64_t *seed;          /* set by `defaults` of a verb that draws random numbers */
    bool measured_on[CLI_CPU + 1]; /* where the frames of the image were measured so far */
    int name_width, value_width;   /* of the table */
    bool titled;
};

struct cli_verb {
    const char *name, *help;              /* "mro"; one line for 'mroscope --help' */
    const char *operands, *about, *notes; /* as in struct cli_usage */
    const char *algorithm;                /* for the provenance */
    size_t state_size;                    /* of a struct that begins with struct cli_run */
    struct cli_verb_group own[CLI_OWN_GROUPS];
    unsigned common; /* bits CLI_GROUP_* */
    unsigned kinds;  /* bits 1 << MRO_KIND_*: what is measured of a file; 0: images */
    /* Sets the options' defaults in a state of zeros. */
    void (*defaults)(void *state);
    /* Looks at options and operands once they are parsed. -1 to go on, or 2 after one sentence. NULL: nothing to see.
     */
    int (*check)(void *state);
    /* Measures the files in `run->args`; the exit code. NULL: the frames of each file are measured, as below. */
    int (*walk)(void *state);
    /* Releases what the state holds beside struct cli_run; also after `check` said no. NULL: nothing. */
    void (*close)(void *state);

    size_t result_size;
    /* See struct cli_job. NULL: next to none. */
    size_t (*need)(const void *state, const struct mro_image *like);
    /* Measures item->pixels on run->places->device[place]. `result` is zeros and is released in any case. The first
     * frame of an image is measured by itself, others at the same time at different places, but for CLI_CPU: what they
     * share of the state is made for the first and left as it is. So are files of a single frame. */
    enum mro_code (*measure)(void *state, enum cli_place place, const struct cli_item *item, void *result,
                             struct mro_error *e);
    /* Whether frames can be measured before those ahead of them are pooled. NULL: any but the first. */
    bool (*ready)(const void *state);
    /* Writes maps and figures of a frame, other frames at the same time: the state is left as it is. NULL: none. */
    enum mro_code (*write)(void *state, struct cli_item *item, const void *result, struct mro_error *e);
    json_t *(*json)(const void *state, const struct mro_result_head *h, const void *result, struct mro_error *e);
    /* Warnings of a result. NULL: it has none. */
    char *const *(*warnings)(const void *result, size_t *n);
    /* Prints a row of the table, see cli_print_row. */
    void (*print)(void *state, const struct cli_item *item, const void *result);
    /* Adds a frame to the others of its image; item->first begins anew. NULL with `together`. */
    enum mro_code (*pool)(void *state, enum cli_place place, const struct cli_item *item, const void *result,
                          struct mro_error *e);
    /* Measures the pool and hands the result to cli_publish. NULL: frames are not taken together. */
    enum mro_code (*together)(void *state, struct cli_item *item, struct mro_error *e);
    void (*release)(void *result);
};

/* The command of a verb: parses, opens the device, measures, closes. */
int cli_verb_main(const struct cli_verb *v, int argc, char **argv);

/* Opens a verb with the options argv[1..] (argv[0] is its name), which must outlive it. `places` lends devices; NULL:
 * it opens its own. `measures` false only reads the options, and opens no device. Returns -1, or the exit code of a
 * program that is done (0 after --help, 2 after one sentence); close it in any case. `run` is never NULL but when out
 * of memory. */
int cli_verb_open(const struct cli_verb *v, int argc, char **argv, struct cli_places *places, bool measures,
                  struct cli_run **run);

/* Measures the files of run->args, and returns the exit code. */
int cli_verb_measure(struct cli_run *run);

/* Says what is left to say and frees all. NULL is fine. */
void cli_verb_close(struct cli_run *run);

/* Prints (--json) and writes (-o) a result with its provenance, then its row and its warnings. For frames it is called
 * already; `together` calls it, with cli_backend. */
enum mro_code cli_publish(struct cli_run *run, struct cli_item *item, const void *result, const char *backend,
                          struct mro_error *e);

/* Where the frames of an image were measured: "cpu", "cuda", "cuda and cpu". */
const char *cli_backend(const struct cli_run *run);

/* A row of the table "image, VALUE, verdict", with its head before the first. */
void cli_print_row(struct cli_run *run, const struct cli_item *item, const char *heading, const char *value,
                   const char *verdict);

/* Writes a map as "<stem>.<verb><suffix>"; one without pixels is none. */
enum mro_code cli_write_map(struct cli_run *run, struct cli_item *item, const char *suffix, const struct mro_image *map,
                            struct mro_error *e);

/* The name of an item without its folder, for figures. */
const char *cli_short_name(const struct cli_item *item);

#endif

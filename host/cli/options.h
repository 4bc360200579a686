/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Option tables: one row says how an option is written, what it means, where its value goes and
 * whether it can change a number. Parsing (popt), --help and the provenance record all read the rows. */
#ifndef MRO_CLI_OPTIONS_H
#define MRO_CLI_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"

enum cli_kind {
    CLI_DOUBLE,    /* double, between lo and hi; a default outside of them means "not given" */
    CLI_INT,       /* int, between lo and hi */
    CLI_SEED,      /* uint64_t, at most 2^53 so that every JSON reader keeps it */
    CLI_FLAG,      /* bool, no argument */
    CLI_WORD,      /* bool: true when the one word that is known (the row's arg) is given */
    CLI_CHOICE,    /* int: which of the words that the row's arg lists ("none|mean") was given, from 0 */
    CLI_STRING,    /* const char *, owned by struct cli_args */
    CLI_LIST,      /* struct cli_list: texts of an option that may be given several times, owned likewise */
    CLI_BAND,      /* double[2], "LO,HI", both between lo and hi and rising */
    CLI_DBAND,     /* the same band given as spacings d = 1/g in nm, "LO,HI"; stored as 1/HI, 1/LO */
    CLI_PIXEL,     /* double[2] between lo and hi: "V" for both or "X,Y"; zeros mean "not given" */
    CLI_NUMBERS,   /* struct cli_numbers: "U,U,...", each between lo and hi */
    CLI_RISING,    /* the same, each larger than the one before */
    CLI_LINE,      /* struct cli_numbers of four: the ends "X0,Y0,X1,Y1" of a line, each between lo and hi */
    CLI_RECTANGLE, /* the same of corners, X0 < X1 and Y0 < Y1 */
    CLI_SIZE,      /* size_t bytes, "4G", "500M" */
    CLI_FRAMES     /* struct cli_frames, "0-9,12" */
};

struct cli_option {
    const char *name; /* long name without dashes */
    char letter;      /* short name, 0 = none */
    const char *arg;  /* placeholder of the argument, NULL for flags */
    const char *unit; /* "" where there is none */
    const char *help;
    enum cli_kind kind;
    size_t offset; /* of the value in the struct of the row's group */
    bool numbers;  /* can change a number, so it is part of the provenance */
    double lo, hi; /* accepted range, inclusive, for numbers and bands */
};

/* A table with the struct that it fills, which holds the defaults before parsing. */
struct cli_group {
    const char *title;
    const struct cli_option *rows;
    size_t n;
    void *base;
};

/* Where the value of a row of the table lies: of the type that the row's kind says. */
void *cli_option_value(const struct cli_group *g, const struct cli_option *o);

/* Word `i`, from 0, of a list "none|mean", and its length; NULL when there are not so many. */
const char *cli_choice(const char *words, int i, size_t *length);

/* Selected frames as closed ranges; n = 0: all. */
#define CLI_MAX_RANGES 64
struct cli_frames {
    size_t n;
    size_t range[CLI_MAX_RANGES][2];
};
/* Reads "0-9,12"; false when it is no such list. */
bool cli_frames_parse(const char *text, struct cli_frames *f);
bool cli_frames_has(const struct cli_frames *f, size_t frame);
/* Largest frame asked for; 0 when all are. */
size_t cli_frames_last(const struct cli_frames *f);

/* Numbers of one option; n = 0: not given. */
#define CLI_MAX_NUMBERS 16
struct cli_numbers {
    size_t n;
    double v[CLI_MAX_NUMBERS];
};

#define CLI_MAX_LIST 64
struct cli_list {
    size_t n;
    const char *v[CLI_MAX_LIST];
};

/* What a command is called and takes. */
struct cli_usage {
    const char *verb;
    const char *operands; /* "FILE...", "[FILE]" (may be left out), or NULL: takes none */
    const char *about;    /* paragraph under the usage line */
    const char *notes;    /* paragraphs after the options (examples, files written); NULL = none */
    const struct cli_group *groups;
    size_t n_groups;
};

/* What is left of the command line, and the strings that option values point to. */
struct cli_args {
    char **files;
    size_t n;
    char **strings;
    size_t n_strings;
};

/* Reads the text of an option into its value; of strings and lists `args` keeps the text. -1, or 2 after one sentence
 * on stderr. */
int cli_option_parse(const struct cli_usage *u, const struct cli_group *g, const struct cli_option *o, char *text,
                     struct cli_args *args);

/* Parses argv[1..] (argv[0] is the verb). Returns -1 to go on, or the exit code of a program that is
 * done: 0 after --help, 2 after one sentence on stderr about wrong usage. Release `args` in any case. */
int cli_parse(const struct cli_usage *u, int argc, char **argv, struct cli_args *args);
void cli_args_release(struct cli_args *args);

/* Prints the help of a command on stdout, with the defaults found in the groups' structs; inside another program
 * (core/inside.h) it becomes a result, one JSON object. Returns the exit code. */
int cli_help(const struct cli_usage *u);

/* Every option that can change a number: { "name": { "value": ..., "unit": ... } }, in table order.
 * NULL when out of memory. */
json_t *cli_options_json(const struct cli_usage *u);

/* Nearest of `n` names to `word`, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *names, size_t n);

#endif

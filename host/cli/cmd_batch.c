/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/batch.h"
#include "cli/commands.h"
#include "core/inside.h"
#include "report/figure.h"

#define AT(field) offsetof(struct batch_options, field)
static const struct cli_option session_rows[] = {
    { "init", 0, NULL, "", "write a first session.csv for the folder that is given in place of one", CLI_FLAG, AT(init),
      false, 0, 0 },
    { "dry-run", 0, NULL, "", "check the session and say what would be measured; write nothing", CLI_FLAG, AT(dry_run),
      false, 0, 0 },
    { "verify", 0, NULL, "", "compare every byte of finished results with their checksums", CLI_FLAG, AT(verify), false,
      0, 0 },
    { "shard", 0, "I/N", "", "measure the I-th of N parts of the session, from 1, as one of N jobs of a cluster",
      CLI_STRING, AT(shard_text), false, 0, 0 },
    { "rows", 0, "LIST", "",
      "measure these rows of the table alone, such as 2,5-9 (its header is row 1); '-' takes them from standard input, "
      "one a line, and answers each with a line of JSON",
      CLI_STRING, AT(rows_text), false, 0, 0 },
    { "gather", 0, NULL, "", "measure nothing; write index.json and summary.csv of what is finished", CLI_FLAG,
      AT(gather), false, 0, 0 },
};
/* Whether the number of an option is right is for the verb to say; here it is only passed on. */
static const struct cli_option measure_rows[] = {
    { "kv", 0, "KV", "kV", "beam energy, for all rows that need it", CLI_DOUBLE, AT(kv), false, 10, 3000 },
    { "cs", 0, "MM", "mm", "spherical aberration of the objective lens, likewise", CLI_DOUBLE, AT(cs_mm), false, -10,
      10 },
};
static const struct cli_option run_rows[] = {
    { "jobs", 'j', "N", "", "files measured at the same time (default: one a processor)", CLI_INT, AT(jobs), false, 1,
      1024 },
    { "device", 0, "NAME", "",
      "where to compute: auto, cpu, cuda, cuda:all to deal the jobs over all cards, or a name that 'mroscope devices' "
      "lists (default auto)",
      CLI_STRING, AT(common.device), false, 0, 0 },
    { "threads", 0, "N", "", "processor threads of all jobs together, 0 = all cores", CLI_INT, AT(common.threads),
      false, 0, 4096 },
    { "memory", 0, "SIZE", "", "limit for all jobs together, such as 16G (default: half of this machine's memory)",
      CLI_SIZE, AT(common.memory), false, 0, 0 },
};
static const struct cli_option output_rows[] = {
    { "output", 'o', "DIR", "", "folder of the results, which is made if missing; with `init`, the file to write",
      CLI_STRING, AT(common.out), false, 0, 0 },
    { "json", 0, NULL, "", "print the rows of the index as JSON, one a line; with `dry_run` as they are now", CLI_FLAG,
      AT(common.json), false, 0, 0 },
    { "quiet", 0, NULL, "", "no progress and no warnings on the terminal (results keep their warnings)", CLI_FLAG,
      AT(common.quiet), false, 0, 0 },
};

static const char about[] = "Measures every file of a session: a table (CSV, as a spreadsheet writes it) with a row "
                            "for each file and the columns "
                            "file, state, strain and kind, which is hrtem, haadf, eds-line, eds-map and so on. What is "
                            "finished is not measured "
                            "again, so a run that was stopped goes on where it was. Several processes, also of several "
                            "machines, can work on one "
                            "folder of results.";
static const char notes[] =
    "Further columns, where they are wanted: pixel_nm, frames, specimen, thickness_nm, kv, cs_mm, group and\n"
    "element (maps of one field share a group; element is Fe, or HAADF for the image beside the maps), value,\n"
    "note. A column wins over an option. Changed options make new results; the old ones stay and are left\n"
    "out of the index.\n\n"
    "Files in the folder of results\n"
    "  summary.csv             the main numbers, a line for each result\n"
    "  index.json              every row: done, failed (why) or pending, and its result files\n"
    "  items/NAME.KEY/         what the verb of the row writes, and record.json: options, warnings, checksums\n"
    "  inputs.json             checksums of the inputs, by path, size and time\n\n"
    "Examples\n"
    "  mroscope batch --init images\n"
    "  mroscope batch images/session.csv --kv 200 --cs 1.2 -o results\n"
    "  mroscope batch session.csv --mro \"--d 0.21 --sweep-band\" --haadf \"--black-level 1200\" -o results\n"
    "  mroscope batch session.csv --shard $SLURM_ARRAY_TASK_ID/16 -o results\n"
    "  mroscope batch session.csv --rows 7,12-15 -o results";

/* Which rows are to be measured. */
static int read_part(struct batch_options *o)
{
    char *end;
    o->shards = 1;
    o->asked = o->rows_text && strcmp(o->rows_text, "-") == 0;
    if (o->gather && (o->shard_text || o->rows_text || o->dry_run))
        return cli_wrong_usage("batch", "`gather` is of all rows and goes without %s",
                               o->dry_run      ? "`dry_run`"
                               : o->shard_text ? "`shard`"
                                               : "`rows`");
    if (o->asked && (o->shard_text || o->dry_run))
        return cli_wrong_usage("batch", "`rows` - goes without %s", o->dry_run ? "`dry_run`" : "`shard`");
    if (o->rows_text && !o->asked && !cli_frames_parse(o->rows_text, &o->rows))
        return cli_wrong_usage("batch", "`rows` wants rows of the table such as 2,5-9, or -, not '%s'", o->rows_text);
    if (o->shard_text == NULL) return -1;
    const unsigned long i = strtoul(o->shard_text, &end, 10);
    const unsigned long n = *end == '/' ? strtoul(end + 1, &end, 10) : 0;
    if (*end || i < 1 || i > n || n > 1000000 || strchr(o->shard_text, '-'))
        return cli_wrong_usage("batch", "`shard` wants I/N, such as 1/4 for the first of four parts, not '%s'",
                               o->shard_text);
    o->shard = i - 1;
    o->shards = n;
    return -1;
}

static size_t count(const struct batch *b, bool mine, enum batch_status status)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) n += b->units[i].status == status && (b->units[i].mine || !mine);
    return n;
}

/* Those that are measured, with something to say. */
static size_t count_warned(const struct batch *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->units[i].status == BATCH_DONE && json_array_size(json_object_get(b->units[i].record, "warnings")) > 0;
    return n;
}

static int print_json(const struct batch *b)
{
    struct mro_error e;
    if (batch_print(b, NULL, &e) == MRO_OK) return 0;
    cli_complain(&e);
    return 1;
}

static void print_plan(const struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct batch_unit *u = &b->units[i];
        const struct mro_manifest_row *r = &b->manifest.rows[u->rows[0]];
        cli_put(stdout, "row %zu: %s: '%s'%s%s: %s\n", r->row, u->kind->verb->name, r->file,
                u->n > 1 ? " and others of group " : "", u->n > 1 ? r->group : "",
                !u->mine                  ? "in another part"
                : u->status == BATCH_DONE ? "finished"
                                          : "to be measured");
    }
}

/* What is known of the disk, before anything is measured. */
static int look(struct batch *b)
{
    struct mro_error e;
    for (size_t i = 0; i < b->n; i++) {
        struct batch_unit *u = &b->units[i];
        if (!u->mine) continue;
        if (batch_look(b, u, (b->o.dry_run && b->store.folder) || b->o.gather, &e) != MRO_OK) {
            cli_complain(&e);
            return 1;
        }
        u->was_there = u->status == BATCH_DONE;
        if (u->status == BATCH_FAILED && !b->o.gather) u->status = BATCH_WAITING; /* it may go well this time */
    }
    return 0;
}

/* What a gathering leaves as it is. */
static void tell_missing(const struct batch *b)
{
    size_t left = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct batch_unit *u = &b->units[i];
        left += u->status == BATCH_WAITING && !u->damaged;
        if (u->status == BATCH_FAILED || u->damaged)
            cli_put(stderr, "mroscope: row %zu: %s%s\n", b->manifest.rows[u->rows[0]].row,
                    u->damaged ? "its result is damaged: " : "", u->error ? u->error : "it failed");
    }
    if (left)
        cli_put(stderr, "mroscope: %zu of %zu are not measured yet: run the same command without --gather\n", left,
                b->n);
}

static int measure(struct batch *b)
{
    struct mro_error e;
    char *sums = NULL;
    int rc = batch_plan(b);
    if (rc) return rc;
    if (b->o.dry_run) {
        if (b->o.common.out) mro_store_look(&b->store, b->o.common.out);
    } else if (mro_store_open(&b->store, b->o.common.out, &e) != MRO_OK) {
        cli_complain(&e);
        return 2;
    }
    if (b->store.folder) {
        sums = malloc(strlen(b->store.folder) + 20);
        if (sums) sprintf(sums, "%s/inputs.json", b->store.folder);
    }
    mro_hashes_read(&b->hashes, sums ? sums : "");
    free(sums);
    /* Results name files as the manifest does, wherever the program was started. */
    if (chdir(b->manifest.folder) != 0 || (b->folder = realpath(".", NULL)) == NULL) {
        cli_put(stderr, "mroscope: '%s': %s\n", b->manifest.folder, strerror(errno));
        return 1;
    }
    rc = look(b);
    if (rc) return rc;
    if (b->o.dry_run && b->o.common.json) return print_json(b);
    if (b->o.dry_run) {
        print_plan(b);
        printf("%zu to measure, %zu finished\n", count(b, true, BATCH_WAITING), count(b, true, BATCH_DONE));
        return 0;
    }
    bool well = true;
    batch_hear_stops(true);
    if (b->o.gather)
        tell_missing(b);
    else
        well = batch_run(b);
    const enum mro_code written = batch_write_index(b, &e);
    batch_hear_stops(false);
    const int ended = batch_stopped(1);
    if (ended && well) { /* the shell is to see what ended the program */
        if (!b->o.common.quiet)
            cli_put(stderr, "mroscope: stopped with %zu of %zu measured; the same command goes on from there\n",
                    count(b, false, BATCH_DONE), b->n);
        signal(ended, SIG_DFL);
        raise(ended);
    }
    if (written && well) cli_complain(&e); /* a full disk was told already */
    const size_t done = count(b, true, BATCH_DONE), failed = count(b, true, BATCH_FAILED),
                 left = count(b, true, BATCH_WAITING);
    if (b->o.common.json && !b->o.asked) {
        rc = print_json(b);
    } else if (!b->o.asked) {
        printf("%zu of %zu measured (%zu now, %zu before), %zu failed", done, done + failed + left, b->done_now,
               done - b->done_now, failed);
        if (written == MRO_OK) cli_put(stdout, ": %s/summary.csv", b->o.common.out);
        putchar('\n');
        const size_t warned = count_warned(b);
        if (warned && written == MRO_OK) {
            char *word = batch_shell_word(b->o.common.out);
            cli_put(stdout,
                    "%zu of them %s warnings, which say what the numbers do not know: mroscope report %s -o REPORT\n",
                    warned, warned == 1 ? "has" : "have", word ? word : "RESULTS");
            free(word);
        }
    }
    return rc || failed || left || !well || written ? 1 : 0;
}

int cmd_batch(int argc, char **argv)
{
    struct batch b = { .o = { .kv = NAN, .cs_mm = NAN, .common.figure_mm = MRO_FIGURE_WIDTH } };
    const struct cli_verb *verbs[BATCH_VERBS];
    struct cli_option verb_rows[BATCH_VERBS];
    char help[BATCH_VERBS][96];
    const size_t n = batch_verbs(verbs);
    for (size_t i = 0; i < n; i++) {
        snprintf(help[i], sizeof help[i], "options for the rows that 'mroscope %s' measures, all in one pair of quotes",
                 verbs[i]->name);
        verb_rows[i] = (struct cli_option){ .name = verbs[i]->name,
                                            .arg = "OPTIONS",
                                            .unit = "",
                                            .help = help[i],
                                            .kind = CLI_STRING,
                                            .offset = AT(verb_options) + i * sizeof b.o.verb_options[0] };
    }
    const struct cli_group groups[] = {
        { "Session", session_rows, sizeof session_rows / sizeof *session_rows, &b.o },
        { "Measurement", measure_rows, sizeof measure_rows / sizeof *measure_rows, &b.o },
        { "Options of single verbs", verb_rows, n, &b.o },
        { "Computing", run_rows, sizeof run_rows / sizeof *run_rows, &b.o },
        { "Output", output_rows, sizeof output_rows / sizeof *output_rows, &b.o },
        { "Figures", cli_figure_options, cli_n_figure_options, &b.o.common },
    };
    const struct cli_usage usage = { "batch", "SESSION.csv", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    struct mro_error e;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0 && args.n > 1)
        rc = cli_wrong_usage("batch", "'batch' takes one %s, but got '%s' as well", b.o.init ? "folder" : "session",
                             args.files[1]);
    /* It changes the working folder, starts processes and takes signals. */
    if (rc < 0 && mro_inside) rc = cli_wrong_usage("batch", "'batch' needs a process of its own: run the program");
    if (rc < 0) rc = read_part(&b.o);
    if (rc < 0 && !b.o.init && !b.o.dry_run && b.o.common.out == NULL)
        rc = cli_wrong_usage("batch", "'batch' needs a folder for the results: `output=DIR`");
    if (rc < 0 && b.o.init) {
        rc = batch_init(&b.o, args.files[0]);
    } else if (rc < 0) {
        struct stat st;
        b.manifest_path = args.files[0];
        if (stat(b.manifest_path, &st) == 0 && S_ISDIR(st.st_mode)) {
            rc = cli_wrong_usage("batch", "'%s' is a folder: 'mroscope batch --init %s' writes a table of its files",
                                 b.manifest_path, b.manifest_path);
        } else if (mro_manifest_read(&b.manifest, b.manifest_path, &e) == MRO_OK) {
            rc = measure(&b);
        } else {
            cli_complain(&e);
            rc = 1;
        }
    }
    batch_units_release(&b);
    mro_hashes_release(&b.hashes);
    mro_store_release(&b.store);
    mro_manifest_release(&b.manifest);
    free(b.folder);
    cli_args_release(&args);
    return rc;
}

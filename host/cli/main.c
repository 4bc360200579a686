/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <gsl/gsl_errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/verb.h"
#include "io/write.h"

/* A command, or a verb that measures. */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
    const struct cli_verb *verb;
} verbs[] = {
    { "info", cmd_info, "what is in a file: images, sizes, calibration and where it came from", NULL },
    { "convert", cmd_convert, "write images as calibrated TIFF or MRC, in their own pixel type", NULL },
    { .verb = &cli_verb_mro },
    { .verb = &cli_verb_eds },
    { .verb = &cli_verb_bandpass },
    { .verb = &cli_verb_haadf },
    { .verb = &cli_verb_lattice },
    { .verb = &cli_verb_pdf },
    { .verb = &cli_verb_shearband },
    { .verb = &cli_verb_indent },
    { "batch", cmd_batch, "measure a whole session: many files of several states, listed in a table", NULL },
    { "compare", cmd_compare, "how states differ: ratios with intervals, p, trend; from results or a table", NULL },
    { "report", cmd_report, "one HTML file of the results of a session, to look at and to pass on", NULL },
    { "devices", cmd_devices, "where this program can compute", NULL },
    { "bench", cmd_bench, "prove the answers of a device, then time it", NULL },
};
enum { n_verbs = sizeof verbs / sizeof *verbs };

static const char *name_of(size_t i) { return verbs[i].verb ? verbs[i].verb->name : verbs[i].name; }

static void help(FILE *out)
{
    fputs("Usage: mroscope VERB [options] FILE...\n\n"
          "Image analysis for metallic glasses in the transmission electron microscope.\n\nVerbs\n",
          out);
    for (size_t i = 0; i < n_verbs; i++)
        fprintf(out, "  %-10s  %s\n", name_of(i), verbs[i].verb ? verbs[i].verb->help : verbs[i].help);
    fputs("\n'mroscope VERB --help' lists the options of a verb; 'mroscope --version' prints the version.\n\n"
          "Example\n  mroscope mro --kv 200 --cs 1.2 -o results images/*.dm4\n\n"
          "Exit codes: 0 done; 1 at least one file failed, the others are done; 2 wrong usage.\n",
          out);
}

static int unknown_verb(const char *word)
{
    const char *names[n_verbs];
    for (size_t i = 0; i < n_verbs; i++) names[i] = name_of(i);
    const char *near = cli_nearest(word, names, n_verbs);
    if (near)
        fprintf(stderr, "mroscope: '%s' is no verb of mroscope; did you mean '%s'? try 'mroscope --help'\n", word,
                near);
    else
        fprintf(stderr, "mroscope: '%s' is no verb of mroscope; try 'mroscope --help'\n", word);
    return 2;
}

static int run_verb(const char *name, int argc, char **argv)
{
    for (size_t i = 0; i < n_verbs; i++)
        if (strcmp(name, name_of(i)) == 0)
            return verbs[i].verb ? cli_verb_main(verbs[i].verb, argc, argv) : verbs[i].run(argc, argv);
    return unknown_verb(name);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    const char *word = argv[1];
    const bool asks_help = strcmp(word, "help") == 0;
    if (asks_help && argc > 2) return run_verb(argv[2], 2, (char *[]){ argv[2], "--help", NULL });
    if (asks_help || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help(stdout);
        return 0;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("mroscope %s (%s)\n", mro_version(), mro_commit());
        return 0;
    }
    return run_verb(word, argc - 1, argv + 1);
}

/* Threads that wait should sleep. By default they spin, and on a shared machine, or with one program for each core, the
 * spinning takes the processor from the thread that is waited for: a second becomes seven. OpenMP reads its settings
 * before main, so the program starts itself once more with the setting made; where it cannot, it just goes on. */
static void wait_quietly(char **argv)
{
#ifdef __linux__
    if (getenv("OMP_WAIT_POLICY") == NULL && setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv("/proc/self/exe", argv);
#else
    (void)argv;
#endif
}

static pid_t program;

/* Ctrl-C and the like: what was half written goes. */
static void on_end(int sig)
{
    if (getpid() == program) mro_write_remove_unfinished();
    raise(sig); /* its handler is the default one again: the shell is to see what ended the program */
}

/* Files are read where they are mapped: one that is cut short meanwhile, or whose disk or network fails, has no
 * other way to say so. */
static void on_missing_page(int sig)
{
    static const char sentence[] =
        "mroscope: a file was cut short while it was read, or its disk or network failed: the "
        "next one after those that have a result or a sentence\n";
    if (getpid() == program) {
        mro_write_remove_unfinished();
        if (write(STDERR_FILENO, sentence, sizeof sentence - 1) < 0) raise(sig);
        _exit(1);
    }
    raise(sig);
}

static void on_signal(int sig, void (*handler)(int))
{
    struct sigaction old, new = { .sa_handler = handler, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
    sigemptyset(&new.sa_mask);
    /* What the caller had ignored, as nohup does, stays ignored. */
    if (sigaction(sig, NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(sig, &new, NULL);
}

int main(int argc, char **argv)
{
    wait_quietly(argv);
    program = getpid();
    on_signal(SIGINT, on_end);
    on_signal(SIGTERM, on_end);
    on_signal(SIGHUP, on_end);
    on_signal(SIGBUS, on_missing_page);
    /* A file-size limit should be an error of that write, with its sentence, not the end of the program. */
    signal(SIGXFSZ, SIG_IGN);
    /* A function without a value is a number that is not known (null), not the end of the program either. */
    gsl_set_error_handler_off();
    return cli_finish(dispatch(argc, argv));
}

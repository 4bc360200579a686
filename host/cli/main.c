/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "core/vectors.h"
#include "io/write.h"

static void help(FILE *out)
{
    fputs("Usage: mroscope VERB [options] FILE...\n\n"
          "Image analysis for metallic glasses in the transmission electron microscope.\n\nVerbs\n",
          out);
    for (size_t i = 0; i < cli_n_commands; i++) fprintf(out, "  %-10s  %s\n", cli_command_name(i), cli_command_help(i));
    fputs("\n'mroscope VERB --help' lists the options of a verb; 'mroscope --version' prints the version.\n\n"
          "Example\n  mroscope mro --kv 200 --cs 1.2 -o results images/*.dm4\n\n"
          "Exit codes: 0 done; 1 at least one file failed, the others are done; 2 wrong usage.\n",
          out);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    const char *word = argv[1];
    const bool asks_help = strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    if (asks_help && argc > 2) return cli_command(argv[2], 2, (char *[]){ argv[2], "--help", NULL });
    if (asks_help) {
        help(stdout);
        return 0;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("mroscope %s (%s)\n", mro_version(), mro_commit());
        return 0;
    }
    return cli_command(word, argc - 1, argv + 1);
}

/* Threads that wait should sleep. By default they spin, and on a shared machine, or with one program for each core, the
 * spinning takes the processor from the thread that is waited for: a second becomes seven. Before they sleep they spin
 * for about as long as it takes to wake them, 2000 turns of 13 ns, so that a wait never costs twice what it has to.
 * OpenMP reads its settings before main, so the program starts itself once more with the settings made; where it
 * cannot, it just goes on. */
static void wait_quietly(char **argv)
{
#ifdef __linux__
    if (getenv("OMP_WAIT_POLICY") == NULL && setenv("GOMP_SPINCOUNT", "2000", 0) == 0 &&
        setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv("/proc/self/exe", argv);
#else
    (void)argv;
#endif
}

static pid_t program;

/* What was half written goes. Of several threads that come here, on one signal or on several, the first one ends the
 * program, and the others wait for that. In a process that was forked there is nothing to remove. */
static void remove_unfinished(void)
{
    static atomic_flag begun = ATOMIC_FLAG_INIT;
    if (getpid() != program) return;
    while (atomic_flag_test_and_set(&begun)) pause();
    mro_write_remove_unfinished();
}

/* Ctrl-C and the like: the shell is to see what ended the program. */
static void on_end(int sig)
{
    sigset_t only;
    remove_unfinished();
    signal(sig, SIG_DFL);
    sigemptyset(&only);
    sigaddset(&only, sig);
    raise(sig);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
}

/* Files are read where they are mapped: one that is cut short meanwhile, or whose disk or network fails, has no
 * other way to say so. */
static void on_missing_page(int sig)
{
    static const char sentence[] =
        "mroscope: a file was cut short while it was read, or its disk or network failed: the "
        "next one after those that have a result or a sentence\n";
    if (getpid() != program) on_end(sig);
    remove_unfinished();
    if (write(STDERR_FILENO, sentence, sizeof sentence - 1) < 0) on_end(sig);
    _exit(1);
}

static void on_signal(int sig, void (*handler)(int))
{
    struct sigaction old, new = { .sa_handler = handler };
    sigfillset(&new.sa_mask); /* a second one waits until the first has ended the program */
    /* What the caller had ignored, as nohup does, stays ignored. */
    if (sigaction(sig, NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(sig, &new, NULL);
}

/* What one frame was measured in serves the next, on whatever thread: given back to the system in between, it would be
 * cleared page by page again. */
static void keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 16 << 20);
#endif
}

/* Standard streams that the caller has closed: no file or pipe of this program should take their numbers, where what is
 * for the terminal would be written into it. To write to these, or to read, fails as before. */
static void hold_closed_streams(void)
{
    while (fcntl(STDERR_FILENO, F_GETFD) < 0 || fcntl(STDOUT_FILENO, F_GETFD) < 0 || fcntl(STDIN_FILENO, F_GETFD) < 0)
        if (open("/", O_RDONLY) < 0) return;
}

int main(int argc, char **argv)
{
    struct mro_error e;
    const enum mro_code unfit = mro_vectors_check(&e);
    if (unfit) {
        fprintf(stderr, "mroscope: %s\n", e.message);
        return unfit == MRO_EARG ? 2 : 1;
    }
    hold_closed_streams();
    keep_memory();
    wait_quietly(argv);
    program = getpid();
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXCPU };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) on_signal(ends[i], on_end);
    on_signal(SIGBUS, on_missing_page);
    /* A file-size limit should be an error of that write, with its sentence, not the end of the program. */
    signal(SIGXFSZ, SIG_IGN);
    return cli_finish(dispatch(argc, argv));
}

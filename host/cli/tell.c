/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Failures and warnings on stderr, and the exit code. */
#include "cli/inputs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inside.h"

/* Where what lacks can be given: the options of the verb that do, and the column of a session's table. */
static const struct {
    const char *options, *column;
} steps[] = {
    [MRO_LACKS_PIXEL_SIZE] = { "--pixel NM", "pixel_nm" },
    [MRO_LACKS_PIXEL_SIZE_OR_TAGS] = { "--pixel NM, or --resolution-tags if those are the microscope's", "pixel_nm" },
    [MRO_LACKS_PATTERN_SCALE] = { "--step PER_NM (nm^-1 of a pixel), --camera-length MM with --detector-pixel UM and "
                                  "--kv KV, or a standard with --standard Au --standard-file FILE",
                                  NULL },
    [MRO_LACKS_VOLTAGE] = { "--kv KV", "kv" },
    [MRO_LACKS_DETECTOR_PIXEL] = { "--detector-pixel UM (times the binning)", NULL },
    [MRO_LACKS_COMPOSITION] = { "--composition, as in Fe82B18", NULL },
    [MRO_LACKS_WAVELENGTH] = { "--wavelength ANGSTROM (or --kv KV with electrons)", NULL },
    [MRO_LACKS_ABSCISSA] = { "--abscissa Q-A, Q-nm, s-nm, s-A, two-theta or r-A", NULL },
};

__attribute__((format(printf, 2, 3))) static void ask(struct mro_error *e, const char *format, ...)
{
    const size_t used = strlen(e->message);
    va_list args;
    va_start(args, format);
    vsnprintf(e->message + used, sizeof e->message - used, format, args);
    va_end(args);
    e->lack = MRO_LACKS_NOTHING;
}

void cli_next_step(struct mro_error *e)
{
    if (e->lack) ask(e, "; give %s", steps[e->lack].options);
}

void cli_next_step_of_row(struct mro_error *e, const char *verb)
{
    if (e->lack && steps[e->lack].column)
        ask(e, "; give it in the column %s of the table", steps[e->lack].column);
    else if (e->lack)
        ask(e, "; among the options of --%s, give %s", verb, steps[e->lack].options);
}

void cli_complain(const struct mro_error *e)
{
    struct mro_error whole = *e;
    if (mro_inside_failed(e)) return; /* who called knows how it is given there */
    cli_next_step(&whole);
    cli_say(whole.code, "%s", whole.message);
}

void cli_report(const struct cli_job *job, const struct mro_error *e)
{
    if (job->failure == NULL) {
        cli_complain(e);
    } else if (!job->failure->any) {
        job->failure->any = true;
        job->failure->error = *e;
    }
}

static void print_warning(const char *name, size_t others, const char *sentence)
{
    /* Sentences of the file layer name the file already. */
    const bool named = strstr(sentence, name) != NULL;
    if (others)
        fprintf(stderr, "mroscope: warning: '%s' and %zu more: %s\n", name, others, sentence);
    else if (named)
        fprintf(stderr, "mroscope: warning: %s\n", sentence);
    else
        fprintf(stderr, "mroscope: warning: '%s': %s\n", name, sentence);
}

/* Warnings are kept to the end, below the table, each once. One that finds no room is told at once. */
void cli_warn(struct cli_common *c, const char *name, const char *const *warnings, size_t n)
{
    struct cli_told *t = &c->told;
    if (c->quiet || c->json) return;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < t->n && strcmp(t->sentence[k], warnings[i]) != 0) k++;
        if (k < t->n) {
            t->times[k] += t->last[k] != name; /* the images of a file say the same */
            t->last[k] = name;
            continue;
        }
        char *sentence = k < CLI_MAX_TOLD ? strdup(warnings[i]) : NULL, *first = sentence ? strdup(name) : NULL;
        if (first == NULL) {
            free(sentence);
            print_warning(name, 0, warnings[i]);
            continue;
        }
        t->sentence[k] = sentence;
        t->name[k] = first;
        t->times[k] = 1;
        t->last[k] = name;
        t->n++;
    }
}

void cli_warn_end(struct cli_common *c)
{
    struct cli_told *t = &c->told;
    fflush(stdout);
    for (size_t i = 0; i < t->n; i++) {
        print_warning(t->name[i], t->times[i] - 1, t->sentence[i]);
        free(t->sentence[i]);
        free(t->name[i]);
    }
    *t = (struct cli_told){ 0 };
}

int cli_finish(int rc)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return rc;
    fprintf(stderr, "mroscope: cannot write to standard output: %s\n", strerror(errno));
    return rc ? rc : 1;
}

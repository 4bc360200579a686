/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Failures and warnings on stderr, and the exit code. */
#include "cli/inputs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_complain(const struct mro_error *e) { cli_say(e->code, "%s", e->message); }

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

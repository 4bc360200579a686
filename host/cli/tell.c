/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Failures on stderr, and the exit code. */
#include "cli/tell.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inside.h"
#include "core/notes.h"

void cli_in_options(char *sentence)
{
    if (mro_inside == NULL) mro_spell_names(sentence, true); /* else who called has names of its own for them */
}

void cli_all_in_options(char *const *sentences, size_t n)
{
    for (size_t i = 0; i < n; i++) cli_in_options(sentences[i]);
}

int cli_characters(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void cli_put(FILE *out, const char *format, ...)
{
    char short_text[1024], *text = short_text;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(short_text, sizeof short_text, format, args);
    va_end(args);
    if (n >= (int)sizeof short_text && (text = malloc((size_t)n + 1)) != NULL) {
        va_start(args, format);
        vsnprintf(text, (size_t)n + 1, format, args);
        va_end(args);
    }
    if (text == NULL) text = short_text; /* cut, but told */
    const size_t length = strlen(text);
    const bool line = format[0] && format[strlen(format) - 1] == '\n';
    if (line && length && text[length - 1] == '\n') text[length - 1] = '\0';
    mro_clean_text(text);
    fputs(text, out);
    if (line) putc('\n', out);
    if (text != short_text) free(text);
}

void cli_say(enum mro_code code, const char *format, ...)
{
    struct mro_error e = { .code = code, .func = __func__ };
    char text[2 * sizeof e.message]; /* with what is added to a whole message */
    va_list args;
    va_start(args, format);
    vsnprintf(e.message, sizeof e.message, format, args);
    va_end(args);
    if (mro_inside_failed(&e)) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_in_options(text);
    fflush(stdout);
    cli_put(stderr, "mroscope: %s\n", text);
}

int cli_wrong_usage(const char *verb, const char *format, ...)
{
    struct mro_error e = { .code = MRO_EARG, .func = __func__ };
    va_list args;
    va_start(args, format);
    vsnprintf(e.message, sizeof e.message, format, args);
    va_end(args);
    if (!mro_inside_failed(&e)) cli_say(MRO_EARG, "%s; try 'mroscope %s --help'", e.message, verb);
    return 2;
}

/* Where what lacks can be given: the options of the verb that do, and the column of a session's table. */
static const struct {
    const char *options, *column;
} steps[] = {
    [MRO_LACKS_PIXEL_SIZE] = { "`pixel=NM`", "pixel_nm" },
    [MRO_LACKS_PIXEL_SIZE_OR_TAGS] = { "`pixel=NM`, or `resolution_tags` if those are the microscope's", "pixel_nm" },
    [MRO_LACKS_PATTERN_SCALE] = { "`step=PER_NM` (nm^-1 of a pixel), `camera_length=MM` with `detector_pixel=UM` and "
                                  "`kv=KV`, or a standard with `standard=Au` `standard_file=FILE`",
                                  NULL },
    [MRO_LACKS_VOLTAGE] = { "`kv=KV`", "kv" },
    [MRO_LACKS_DETECTOR_PIXEL] = { "`detector_pixel=UM` (times the binning)", NULL },
    [MRO_LACKS_COMPOSITION] = { "`composition`, as in Fe82B18", NULL },
    [MRO_LACKS_WAVELENGTH] = { "`wavelength=A`, in Angstrom (or `kv=KV` with electrons)", NULL },
    [MRO_LACKS_ABSCISSA] = { "`abscissa` Q-A, Q-nm, s-nm, s-A, two-theta or r-A", NULL },
};

static bool within_character(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

/* A long path leaves no room for what to do: then the sentence loses its middle, which is of the path. */
__attribute__((format(printf, 2, 3))) static void ask(struct mro_error *e, const char *format, ...)
{
    char *text = e->message, step[sizeof e->message / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(step, sizeof step, format, args);
    va_end(args);
    const size_t used = strlen(text), most = sizeof e->message - 1 - strlen(step);
    if (used > most) {
        static const char gap[] = "...";
        const size_t n = strlen(gap);
        size_t head = most / 2, tail = used - (most - head - n);
        while (head > 0 && within_character(text[head])) head--;
        while (within_character(text[tail])) tail++;
        memmove(text + head + n, text + tail, used - tail + 1);
        memcpy(text + head, gap, n);
    }
    snprintf(text + strlen(text), sizeof e->message - strlen(text), "%s", step);
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
        ask(e, "; among the options of `%s`, give %s", verb, steps[e->lack].options);
    cli_in_options(e->message);
}

void cli_complain(const struct mro_error *e)
{
    struct mro_error whole = *e;
    cli_next_step(&whole);
    whole.lack = e->lack; /* a caller may know another way */
    if (!mro_inside_failed(&whole)) cli_say(whole.code, "%s", whole.message);
}

int cli_refuse(const char *verb, const struct mro_error *e)
{
    if (e->code != MRO_EMEMORY) return cli_wrong_usage(verb, "%s", e->message);
    cli_complain(e);
    return 1;
}

int cli_finish(int rc)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return rc;
    cli_put(stderr, "mroscope: cannot write to standard output: %s\n", strerror(errno));
    return rc ? rc : 1;
}

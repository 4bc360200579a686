/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The devices that a command computes on. */
#include "cli/inputs.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the user asked for; NULL: nothing. */
static const char *device_asked(const struct cli_common *c)
{
    const char *name = c->device ? c->device : getenv("MROSCOPE_DEVICE");
    return name && *name ? name : NULL;
}

int cli_open_device(const struct cli_common *c, const char *verb, struct mro_device **d)
{
    struct mro_error e;
    if (c->threads > 0) omp_set_num_threads(c->threads); /* for reading and decoding, which know no device */
    const enum mro_code code = mro_device_open(d, device_asked(c), c->threads, c->memory, &e);
    if (code == MRO_OK) {
        if (!c->quiet && mro_device_note(*d)[0]) cli_put(stderr, "mroscope: %s\n", mro_device_note(*d));
        return 0;
    }
    if (code != MRO_EARG) {
        cli_complain(&e);
        return 1;
    }
    return cli_wrong_usage(verb, "%s", e.message);
}

enum mro_code cli_compute(const struct cli_common *c, struct cli_places *places, const char *name,
                          enum mro_code (*work)(void *context, enum cli_place place, struct mro_error *e),
                          void *context, struct mro_error *e)
{
    return cli_compute_instead(c, places, name, work(context, CLI_CHOSEN, e), work, context, e);
}

enum mro_code cli_compute_instead(const struct cli_common *c, struct cli_places *places, const char *name,
                                  enum mro_code code,
                                  enum mro_code (*work)(void *context, enum cli_place place, struct mro_error *e),
                                  void *context, struct mro_error *e)
{
    const char *asked = device_asked(c);
    const bool on_a_card = strcmp(mro_device_backend(places->device[CLI_CHOSEN]), "cuda") == 0;
    /* A card that fails is told to whoever asked for it; who left the choice open is told of the CPU in its place. */
    const bool full = code == MRO_EMEMORY;
    const bool failed = code == MRO_EDEVICE && (asked == NULL || strcmp(asked, "auto") == 0);
    if (!on_a_card || !(full || failed)) return code;
    struct mro_error why = *e;
    if (places->device[CLI_CPU] == NULL)
        MRO_TRY(mro_device_open(&places->device[CLI_CPU], "cpu", c->threads, c->memory, e));
    MRO_TRY(work(context, CLI_CPU, e));
    if (!c->quiet) {
        fflush(stdout);
        cli_in_options(why.message);
        if (full)
            cli_put(stderr, "mroscope: the GPU has no room for '%s': measured on the CPU\n", name);
        else
            cli_put(stderr, "mroscope: '%s' was measured on the CPU: %s\n", name, why.message);
    }
    return MRO_OK;
}

void cli_places_close(struct cli_places *places)
{
    for (int i = 0; i < CLI_PLACES; i++) mro_device_close(places->device[i]);
    *places = (struct cli_places){ { NULL } };
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Compiled for any processor of the architecture (CMakeLists.txt), as it asks what this one has. */
#include "core/vectors.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The best first; the last are those that everything else of the build is compiled for (cpu/backend.c). */
extern const struct mro_vectors mro_vectors_of_build;
#ifdef MROSCOPE_LEVELS
extern const struct mro_vectors mro_vectors_v3, mro_vectors_v4;
static const struct mro_vectors *const built[] = { &mro_vectors_v4, &mro_vectors_v3, &mro_vectors_of_build };
#else
static const struct mro_vectors *const built[] = { &mro_vectors_of_build };
#endif
enum { BUILT = sizeof built / sizeof *built };

/* What they need and this processor lacks; NULL: nothing. */
static const char *lacking(const struct mro_vectors *v)
{
    const char *const *need = v->needs;
#define LACKS(name, macro) \
    if (strcmp(*need++, "1") == 0 && !__builtin_cpu_supports(name)) return name;
    MRO_INSTRUCTIONS(LACKS)
#undef LACKS
    (void)need;
    return NULL;
}

const struct mro_vectors *mro_vectors_usable(size_t i)
{
    for (size_t k = 0; k < BUILT; k++)
        if (lacking(built[k]) == NULL && i-- == 0) return built[k];
    return NULL;
}

static const struct mro_vectors *chosen;
static struct mro_error wrong;

static void choose(void)
{
    const char *asked = getenv("MROSCOPE_VECTORS"), *lacks = lacking(&mro_vectors_of_build);
    char names[64] = "";
    chosen = &mro_vectors_of_build;
    if (lacks) {
        MRO_FAIL(&wrong, MRO_EDEVICE,
                 "this processor has no %s, which mroscope was built for; build it on this machine, or for all with "
                 "-DMROSCOPE_NATIVE=OFF",
                 lacks);
        return;
    }
    if (asked == NULL || *asked == '\0') {
        chosen = mro_vectors_usable(0);
        return;
    }
    const struct mro_vectors *v;
    for (size_t i = 0; (v = mro_vectors_usable(i)); i++) {
        if (strcmp(asked, v->name) == 0) {
            chosen = v;
            return;
        }
        const size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", v->name);
    }
    MRO_FAIL(&wrong, MRO_EARG, "MROSCOPE_VECTORS is '%s'; this build on this processor can use %s", asked, names);
}

static void choose_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
}

const struct mro_vectors *mro_vectors(void)
{
    choose_once();
    return chosen;
}

enum mro_code mro_vectors_check(struct mro_error *e)
{
    choose_once();
    if (wrong.code && e) *e = wrong;
    return wrong.code;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/device.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/backend.h"
#include "core/inside.h"
#include "core/vectors.h"

/* -- graphics cards ------------------------------------------------------------------------------ */

#ifdef MROSCOPE_CUDA
static size_t cards(bool *present, struct mro_error *why) { return mro_cuda_cards(present, why); }
static enum mro_code open_card(struct mro_device *d, size_t card, struct mro_error *e)
{
    d->ops = &mro_backend_cuda;
    d->card = card;
    return d->ops->open(d, (int)card, e);
}
#else
static size_t cards(bool *present, struct mro_error *why)
{
    *present = false;
    MRO_FAIL(why, MRO_EDEVICE, "this build has no CUDA");
    return 0;
}
static enum mro_code open_card(struct mro_device *d, size_t card, struct mro_error *e)
{
    (void)d;
    return MRO_FAIL(e, MRO_EDEVICE, "this build has no CUDA, so there is no card %zu", card);
}
#endif

/* The first card that can be used, of all in turn from number `from` on (which may be beyond the last). When there is
 * none, `why` is what the first one said. */
static enum mro_code open_first_card(struct mro_device *d, size_t from, bool *present, struct mro_error *why)
{
    struct mro_error later;
    const size_t n = cards(present, why);
    if (n == 0) return why->code;
    *present = true;
    for (size_t i = 0; i < n; i++)
        if (open_card(d, (from + i) % n, i ? &later : why) == MRO_OK) return MRO_OK;
    return why->code;
}

#define ALL_CARDS "cuda:all"

/* "cuda:all" or "cuda:all/3". */
static bool all_cards(const char *name, size_t *share)
{
    const size_t n = strlen(ALL_CARDS);
    char *end = (char *)"";
    *share = 0;
    if (strncmp(name, ALL_CARDS, n) != 0) return false;
    if (name[n] == '/' && name[n + 1] >= '0' && name[n + 1] <= '9')
        *share = strtoul(name + n + 1, &end, 10);
    else if (name[n] != '\0')
        return false;
    return *end == '\0';
}

void mro_device_share(const char *name, size_t share, char *out, size_t room)
{
    size_t before;
    if (name && all_cards(name, &before))
        snprintf(out, room, ALL_CARDS "/%zu", share);
    else
        snprintf(out, room, "%s", name ? name : "");
}

static enum mro_code open_cuda(struct mro_device *d, const char *name, struct mro_error *e)
{
    const char *number = strchr(name, ':');
    struct mro_error why;
    enum mro_code rc;
    bool present;
    size_t share = 0;
    if (number == NULL || all_cards(name, &share)) {
        rc = open_first_card(d, share, &present, &why);
        if (strcmp(name, ALL_CARDS) == 0) d->cards = cards(&present, &why);
    } else {
        char *end = (char *)number;
        const unsigned long card = number[1] >= '0' && number[1] <= '9' ? strtoul(number + 1, &end, 10) : 0;
        const size_t n = cards(&present, &why);
        if (n == 0)
            rc = why.code;
        else if (end == number || *end != '\0')
            return MRO_FAIL(e, MRO_EARG, "device '%s' is no number of a card; this machine has %zu, cuda:0 to cuda:%zu",
                            name, n, n - 1);
        else if (card >= n)
            return MRO_FAIL(e, MRO_EDEVICE, "there is no device '%s': this machine has %zu card%s, counted from cuda:0",
                            name, n, n == 1 ? "" : "s");
        else
            rc = open_card(d, card, &why);
    }
    if (rc == MRO_OK) return MRO_OK;
    return MRO_FAIL(e, rc, "device '%s' asked for, but %s; use `device=cpu`", name, why.message);
}

/* -- opening ------------------------------------------------------------------------------------- */

static enum mro_code open_any(struct mro_device *d, bool asked, struct mro_error *e)
{
    struct mro_error why;
    bool present;
    if (open_first_card(d, 0, &present, &why) == MRO_OK) return MRO_OK;
    if (asked || present) snprintf(d->note, sizeof d->note, "computing on the CPU: %s", why.message);
    d->ops = mro_vectors()->backend;
    return d->ops->open(d, 0, e);
}

static enum mro_code open_named(struct mro_device *d, const char *name, struct mro_error *e)
{
    if (strcmp(name, "cuda") == 0 || strncmp(name, "cuda:", 5) == 0) return open_cuda(d, name, e);
    if (strcmp(name, mro_vectors()->backend->name) == 0)
        d->ops = mro_vectors()->backend;
    else if (strcmp(name, mro_backend_strict.name) == 0)
        d->ops = &mro_backend_strict;
    else
        return MRO_FAIL(e, MRO_EARG,
                        "unknown device '%s'; it is auto, cpu, cuda, cuda:1 (of several cards), cuda:all or strict",
                        name);
    return d->ops->open(d, 0, e);
}

static void processor(char *text, size_t size)
{
    char model[96] = "processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (f) {
        char line[256];
        while (fgets(line, sizeof line, f)) {
            const char *colon = strchr(line, ':');
            if (strncmp(line, "model name", 10) == 0 && colon) {
                snprintf(model, sizeof model, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
                break;
            }
        }
        fclose(f);
    }
    snprintf(text, size, "%s, %s vectors, %d threads, %.1f GiB memory", model, mro_vectors()->name, omp_get_num_procs(),
             2.0 * (double)mro_default_memory() / (double)(1 << 30));
}

/* -- stopping ------------------------------------------------------------------------------------ */

/* A device that is opened inside another program asks, before the steps that every measurement is made of, whether it
 * should go on. The threads that call it are not all the one that the run is known to. */
struct mro_stoppable {
    struct mro_backend ops;
    const struct mro_backend *real;
    const struct mro_inside *inside;
};

static enum mro_code go_on(const struct mro_device *d, struct mro_error *e)
{
    return mro_stopping(d->stoppable->inside) ? MRO_FAIL(e, MRO_ESTOPPED, "stopped before the end") : MRO_OK;
}

static enum mro_code alloc(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e)
{
    MRO_TRY(go_on(d, e));
    return d->stoppable->real->alloc(d, b, bytes, e);
}

static enum mro_code inverse(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                             struct mro_buffer *field, struct mro_error *e)
{
    MRO_TRY(go_on(d, e));
    return d->stoppable->real->inverse(d, g, spectrum, field, e);
}

static enum mro_code refine_patches(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                    const struct mro_patch_search *s, struct mro_patch *patches, size_t n,
                                    struct mro_error *e)
{
    MRO_TRY(go_on(d, e));
    return d->stoppable->real->refine_patches(d, g, field, s, patches, n, e);
}

static enum mro_code make_stoppable(struct mro_device *d, struct mro_error *e)
{
    if (mro_inside == NULL) return MRO_OK;
    struct mro_stoppable *s = malloc(sizeof *s);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    *s = (struct mro_stoppable){ *d->ops, d->ops, mro_inside };
    s->ops.alloc = alloc;
    s->ops.inverse = inverse;
    s->ops.refine_patches = refine_patches;
    d->stoppable = s;
    d->ops = &s->ops;
    return MRO_OK;
}

/* Hands out a device that was opened with the code `rc`, or frees it. */
static enum mro_code begin(struct mro_device **out, struct mro_device *d, enum mro_code rc, struct mro_error *e)
{
    if (rc) {
        free(d);
        return rc;
    }
    const enum mro_code stoppable = make_stoppable(d, e);
    if (stoppable) {
        mro_device_close(d);
        return stoppable;
    }
    if (d->description[0] == '\0') processor(d->description, sizeof d->description);
    *out = d;
    return MRO_OK;
}

enum mro_code mro_device_open(struct mro_device **out, const char *name, int threads, size_t memory_bytes,
                              struct mro_error *e)
{
    *out = NULL;
    MRO_TRY(mro_vectors_check(e));
    struct mro_device *d = calloc(1, sizeof *d);
    if (d == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    d->threads = threads > 0 ? threads : omp_get_num_procs();
    d->memory_bytes = memory_bytes ? memory_bytes : mro_default_memory();
    const bool any = name == NULL || strcmp(name, "auto") == 0;
    return begin(out, d, any ? open_any(d, name != NULL, e) : open_named(d, name, e), e);
}

/* -- beside each other --------------------------------------------------------------------------- */

enum { LANES_A_CARD = 3 }; /* one copies, one computes on the card, one on the host */

size_t mro_device_lanes(const struct mro_device *d, size_t most, size_t bytes)
{
    size_t lanes = (size_t)d->threads;
    if (d->card_bytes) { /* half of it: other programs have their part */
        const size_t room = d->card_bytes / 2 / (bytes ? bytes : 1);
        lanes = (room < LANES_A_CARD ? room : LANES_A_CARD) * (d->cards ? d->cards : 1);
    }
    if (lanes > most) lanes = most;
    return lanes ? lanes : 1;
}

enum mro_code mro_device_beside(struct mro_device **out, const struct mro_device *d, size_t lane, struct mro_error *e)
{
    bool present;
    *out = NULL;
    struct mro_device *beside = calloc(1, sizeof *beside);
    if (beside == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    beside->threads = d->threads;
    beside->memory_bytes = d->memory_bytes;
    beside->ops = d->stoppable ? d->stoppable->real : d->ops;
    beside->card = d->card;
    const enum mro_code rc = d->cards > 1 ? open_first_card(beside, d->card + lane, &present, e)
                                          : beside->ops->open(beside, (int)d->card, e);
    return begin(out, beside, rc, e);
}

void mro_device_close(struct mro_device *d)
{
    if (d == NULL) return;
    d->ops->close(d);
    free(d->stoppable);
    free(d);
}

double mro_seconds(const struct mro_device *d)
{
    struct timespec t;
    clock_gettime(d->processor_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *mro_device_backend(const struct mro_device *d) { return d->ops->name; }
size_t mro_device_memory(const struct mro_device *d) { return d->memory_bytes; }
const char *mro_device_description(const struct mro_device *d) { return d->description; }
const char *mro_device_note(const struct mro_device *d) { return d->note; }

/* -- the list ------------------------------------------------------------------------------------ */

enum { ON_THE_PROCESSOR = 2 }; /* rows before the cards' */

size_t mro_device_count(void)
{
    struct mro_error why;
    bool present;
    const size_t n = cards(&present, &why);
    return ON_THE_PROCESSOR + (n ? n : 1);
}

void mro_device_describe(size_t i, struct mro_device_info *info)
{
    memset(info, 0, sizeof *info);
    if (i < ON_THE_PROCESSOR) {
        info->backend = i ? mro_backend_strict.name : mro_vectors()->backend->name;
        snprintf(info->name, sizeof info->name, "%s", info->backend);
        info->usable = true;
        info->memory_bytes = 2 * mro_default_memory();
        if (i == 0)
            processor(info->description, sizeof info->description);
        else
            snprintf(info->description, sizeof info->description,
                     "the kernels of the cards, run by the processor with memory checked: slow, for tests");
        return;
    }
    struct mro_error why;
    bool present;
    info->backend = "cuda";
    if (cards(&present, &why) <= i - ON_THE_PROCESSOR) {
        snprintf(info->name, sizeof info->name, "cuda");
        snprintf(info->reason, sizeof info->reason, "%s", why.message);
        return;
    }
#ifdef MROSCOPE_CUDA
    snprintf(info->name, sizeof info->name, "cuda:%zu", i - ON_THE_PROCESSOR);
    mro_cuda_describe(i - ON_THE_PROCESSOR, info);
#endif
}

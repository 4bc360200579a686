/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How fast the processor is: what it does at best, measured. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/past.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"

enum { CHAINS = 10, ROUNDS = 200000 }; /* more chains than latency times units: 4 x 2 */
enum { LINE = 1024, SWEEPS = 80 };     /* 128 KiB of transforms: the second level of cache */
enum { CACHE_LINE = 64 };
#define COPIED ((size_t)256 << 20) /* more than the caches of most processors hold */

/* Best of five: a rate is what the machine can do, not what other programs left of it just now. */
static double best_rate(double (*once)(const struct mro_device *d, void *context), const struct mro_device *d,
                        void *context)
{
    double best = 0;
    for (int i = 0; i < 5; i++) best = fmax(best, once(d, context));
    return best;
}

static double multiply_add(const struct mro_device *d, void *context)
{
    const int threads = d->threads;
    float *sink = context;
    const double start = mro_seconds(d);
#pragma omp parallel num_threads(threads)
    {
        mro_lanes c[CHAINS], a = { 0 }, b = { 0 };
        a += 0.999f;
        b += 0.001f;
        for (int k = 0; k < CHAINS; k++) c[k] = a * (float)k;
        for (int i = 0; i < ROUNDS; i++)
            for (int k = 0; k < CHAINS; k++) c[k] = c[k] * a + b;
        float sum = 0;
        for (int k = 0; k < CHAINS; k++)
            for (int j = 0; j < MRO_LANES; j++) sum += c[k][j];
#pragma omp atomic
        *sink += sum;
    }
    return 2.0 * MRO_LANES * CHAINS * ROUNDS * threads / (mro_seconds(d) - start);
}

static double transform_lines(const struct mro_device *d, void *context)
{
    const struct mro_room *rooms = context;
    const double start = mro_seconds(d);
#pragma omp parallel for schedule(static, 1) num_threads(d->threads)
    for (int t = 0; t < d->threads; t++)
        for (int s = 0; s < SWEEPS; s++)
            mro_lines_run(rooms[t].lines, false, rooms[t].in, rooms[t].out, rooms[t].scratch);
    return 5.0 * LINE * log2(LINE) * MRO_LANES * SWEEPS * d->threads / (mro_seconds(d) - start);
}

static enum mro_code transform_rate(const struct mro_device *d, double *rate, struct mro_error *e)
{
    struct mro_room *rooms = calloc((size_t)d->threads, sizeof *rooms);
    bool ready = rooms;
    for (int t = 0; ready && t < d->threads; t++) {
        ready = mro_room_new(rooms + t, LINE);
        for (int i = 0; ready && i < LINE; i++)
            rooms[t].in[i].re = rooms[t].in[i].im = (mro_lanes){ 0 } + 1e-3f * (float)(i % 7);
    }
    *rate = ready ? best_rate(transform_lines, d, rooms) : 0;
    for (int t = 0; rooms && t < d->threads; t++) mro_room_release(rooms + t);
    free(rooms);
    return *rate > 0 ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory to time transforms");
}

/* With stores past the caches: memcpy takes them or not, by its size. Whole lines of the cache. */
static double copy(const struct mro_device *d, void *context)
{
    const int threads = d->threads;
    float *const *both = context;
    const size_t piece = COPIED / (size_t)threads / CACHE_LINE * (CACHE_LINE / sizeof **both);
    const double start = mro_seconds(d);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; t++) {
        mro_store_past(both[1] + (size_t)t * piece, both[0] + (size_t)t * piece, piece);
        mro_past_done();
    }
    return 2.0 * (double)(piece * sizeof **both) * threads / (mro_seconds(d) - start); /* read and written */
}

enum mro_code mro_cpu_rates(struct mro_device *d, struct mro_rates *r, struct mro_error *e)
{
    const int threads = d->threads;
    float *both[2] = { aligned_alloc(CACHE_LINE, COPIED), aligned_alloc(CACHE_LINE, COPIED) };
    float sink = 0;
    enum mro_code rc = both[0] && both[1] ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory to time copies");
    if (rc == MRO_OK) rc = transform_rate(d, &r->transform, e);
    if (rc == MRO_OK) {
        memset(both[0], 1, COPIED);
        memset(both[1], 2, COPIED);
        r->bytes = best_rate(copy, d, both);
        r->link = r->bytes / 2; /* a copy reads and writes */
        r->flops = best_rate(multiply_add, d, &sink);
        snprintf(r->basis, sizeof r->basis, "measured now: %d-bit vectors, %d thread%s", 32 * MRO_LANES, threads,
                 threads == 1 && isfinite(sink) ? "" : "s");
    }
    free(both[0]);
    free(both[1]);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How fast the processor is: what it does at best, measured. */
#include <fftw3.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/fft.h"

/* The widest vectors of the instruction set that this file is compiled for. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float vector __attribute__((vector_size(4 * LANES)));
enum { CHAINS = 10, ROUNDS = 200000 };         /* more chains than latency times units: 4 x 2 */
enum { LINE = 1024, LINES = 32, SWEEPS = 40 }; /* 512 KiB of transforms: the second level of cache */
#define COPIED ((size_t)64 << 20)

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
        vector c[CHAINS], a = { 0 }, b = { 0 };
        a += 0.999f;
        b += 0.001f;
        for (int k = 0; k < CHAINS; k++) c[k] = a * (float)k;
        for (int i = 0; i < ROUNDS; i++)
            for (int k = 0; k < CHAINS; k++) c[k] = c[k] * a + b;
        float sum = 0;
        for (int k = 0; k < CHAINS; k++)
            for (int j = 0; j < LANES; j++) sum += c[k][j];
#pragma omp atomic
        *sink += sum;
    }
    return 2.0 * LANES * CHAINS * ROUNDS * threads / (mro_seconds(d) - start);
}

struct lines {
    fftwf_plan plan;
    fftwf_complex **in, **out; /* one of each thread */
};

static double transform_lines(const struct mro_device *d, void *context)
{
    const int threads = d->threads;
    const struct lines *l = context;
    const double start = mro_seconds(d);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; t++)
        for (int s = 0; s < SWEEPS; s++)
            for (int i = 0; i < LINES; i++)
                fftwf_execute_dft(l->plan, l->in[t] + (size_t)i * LINE, l->out[t] + (size_t)i * LINE);
    return 5.0 * LINE * log2(LINE) * LINES * SWEEPS * threads / (mro_seconds(d) - start);
}

static enum mro_code transform_rate(const struct mro_device *d, double *rate, struct mro_error *e)
{
    const int threads = d->threads;
    struct lines l = { NULL, calloc((size_t)threads, sizeof *l.in), calloc((size_t)threads, sizeof *l.out) };
    bool ready = l.in && l.out;
    for (int t = 0; ready && t < threads; t++) {
        l.in[t] = fftwf_malloc((size_t)LINE * LINES * sizeof **l.in);
        l.out[t] = fftwf_malloc((size_t)LINE * LINES * sizeof **l.out);
        ready = l.in[t] && l.out[t];
        for (int i = 0; ready && i < LINE * LINES; i++) l.in[t][i][0] = l.in[t][i][1] = 1e-3f * (float)(i % 7);
    }
    if (ready) l.plan = mro_fft_plan_line(LINE, FFTW_FORWARD);
    *rate = l.plan ? best_rate(transform_lines, d, &l) : 0;
    for (int t = 0; t < threads; t++) {
        if (l.in) fftwf_free(l.in[t]);
        if (l.out) fftwf_free(l.out[t]);
    }
    free(l.in);
    free(l.out);
    return *rate > 0 ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory to time transforms");
}

static double copy(const struct mro_device *d, void *context)
{
    const int threads = d->threads;
    char *const *both = context;
    const size_t piece = COPIED / (size_t)threads;
    const double start = mro_seconds(d);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; t++) memcpy(both[1] + (size_t)t * piece, both[0] + (size_t)t * piece, piece);
    return 2.0 * (double)piece * threads / (mro_seconds(d) - start); /* read and written */
}

enum mro_code mro_cpu_rates(struct mro_device *d, struct mro_rates *r, struct mro_error *e)
{
    const int threads = d->threads;
    char *both[2] = { malloc(COPIED), malloc(COPIED) };
    float sink = 0;
    enum mro_code rc = both[0] && both[1] ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory to time copies");
    if (rc == MRO_OK) rc = transform_rate(d, &r->transform, e);
    if (rc == MRO_OK) {
        memset(both[0], 1, COPIED);
        memset(both[1], 2, COPIED);
        r->bytes = best_rate(copy, d, both);
        r->link = r->bytes / 2; /* a copy reads and writes */
        r->flops = best_rate(multiply_add, d, &sink);
        snprintf(r->basis, sizeof r->basis, "measured now: %d-bit vectors, %d thread%s", 32 * LANES, threads,
                 threads == 1 && isfinite(sink) ? "" : "s");
    }
    free(both[0]);
    free(both[1]);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/fft.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The FFTW planner is not thread-safe; execution is. */
static pthread_mutex_t planner = PTHREAD_MUTEX_INITIALIZER;

/* Columns moved together, so that a cache line of every row is used whole (8 complex floats). */
#define COLUMN_BLOCK 8

/* Plans live as long as some CPU device does: planning costs more than many of the transforms. Every shape of image
 * adds a few, so their number has no bound. */
static struct kept {
    size_t n;
    int sign, kind;
    fftwf_plan plan;
} * kept;
static size_t n_kept, room, users;

enum kind { COMPLEX, REAL_TO_HALF, HALF_TO_REAL };

static fftwf_plan make(size_t n, int sign, enum kind kind)
{
    fftwf_plan p = NULL;
    fftwf_complex *a = fftwf_malloc((n + 2) * sizeof *a);
    /* Complex plans work out of place: in place, FFTW allocates a buffer at every run. */
    fftwf_complex *b = kind == COMPLEX ? fftwf_malloc((n + 2) * sizeof *b) : NULL;
    float *r = kind != COMPLEX ? fftwf_malloc((n + 2) * sizeof *r) : NULL;
    if (a && (r || b)) {
        if (kind == REAL_TO_HALF)
            p = fftwf_plan_dft_r2c_1d((int)n, r, a, FFTW_ESTIMATE);
        else if (kind == HALF_TO_REAL)
            p = fftwf_plan_dft_c2r_1d((int)n, a, r, FFTW_ESTIMATE);
        else
            p = fftwf_plan_dft_1d((int)n, a, b, sign, FFTW_ESTIMATE);
    }
    fftwf_free(a);
    fftwf_free(b);
    fftwf_free(r);
    return p;
}

static fftwf_plan plan(size_t n, int sign, enum kind kind)
{
    pthread_mutex_lock(&planner);
    fftwf_plan p = NULL;
    for (size_t i = 0; i < n_kept && p == NULL; i++)
        if (kept[i].n == n && kept[i].sign == sign && kept[i].kind == (int)kind) p = kept[i].plan;
    if (p == NULL && n_kept == room) {
        const size_t more = room ? 2 * room : 64;
        struct kept *grown = realloc(kept, more * sizeof *grown);
        if (grown) {
            kept = grown;
            room = more;
        }
    }
    if (p == NULL && n_kept < room && (p = make(n, sign, kind)) != NULL)
        kept[n_kept++] = (struct kept){ n, sign, (int)kind, p };
    pthread_mutex_unlock(&planner);
    return p;
}

void mro_fft_open(void)
{
    pthread_mutex_lock(&planner);
    users++;
    pthread_mutex_unlock(&planner);
}

void mro_fft_close(void)
{
    pthread_mutex_lock(&planner);
    if (--users == 0) {
        while (n_kept) fftwf_destroy_plan(kept[--n_kept].plan);
        free(kept);
        kept = NULL;
        room = 0; /* no fftwf_cleanup: it would take the plans of a program that we run in, too */
    }
    pthread_mutex_unlock(&planner);
}

fftwf_plan mro_fft_plan_line(size_t n, int sign) { return plan(n, sign, COMPLEX); }
fftwf_plan mro_fft_plan_real_line(size_t n) { return plan(n, FFTW_FORWARD, REAL_TO_HALF); }
fftwf_plan mro_fft_plan_to_real_line(size_t n) { return plan(n, FFTW_BACKWARD, HALF_TO_REAL); }

bool mro_fft_plane_new(struct mro_fft_plane *p, size_t ny, size_t nx, int sign)
{
    p->ny = ny;
    p->nx = nx;
    p->row = plan(nx, sign, COMPLEX);
    p->column = plan(ny, sign, COMPLEX);
    return p->row && p->column;
}

static void transpose(const mro_c32 *from, size_t ny, size_t nx, mro_c32 *to)
{
    enum { BLOCK = 8 }; /* a cache line of both */
    for (size_t y0 = 0; y0 < ny; y0 += BLOCK) {
        const size_t y1 = y0 + BLOCK < ny ? y0 + BLOCK : ny;
        for (size_t x = 0; x < nx; x++)
            for (size_t y = y0; y < y1; y++) to[x * ny + y] = from[y * nx + x];
    }
}

void mro_fft_plane_run(const struct mro_fft_plane *p, mro_c32 *z, ptrdiff_t reach, mro_c32 *work)
{
    const size_t ny = p->ny, nx = p->nx;
    for (size_t y = 0; y < ny; y++) {
        mro_c32 *to = work + y * nx;
        if ((ptrdiff_t)y > reach && (ptrdiff_t)(ny - y) > reach)
            memset(to, 0, nx * sizeof *to);
        else
            fftwf_execute_dft(p->row, (fftwf_complex *)(z + y * nx), (fftwf_complex *)to);
    }
    transpose(work, ny, nx, z);
    for (size_t x = 0; x < nx; x++)
        fftwf_execute_dft(p->column, (fftwf_complex *)(z + x * ny), (fftwf_complex *)(work + x * ny));
}

enum mro_code mro_fft_columns(mro_c32 *plane, size_t ny, size_t columns, size_t pitch, int sign, int threads,
                              struct mro_error *e)
{
    fftwf_plan p = mro_fft_plan_line(ny, sign);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu rows", ny);
    bool failed = false;
    const size_t blocks = (columns + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
#pragma omp parallel num_threads(threads)
    {
        /* One aligned line per column of the block; the stride keeps every line aligned as planned. */
        const size_t stride = (ny + 7) / 8 * 8;
        mro_c32 *lines = fftwf_malloc(2 * COLUMN_BLOCK * stride * sizeof *lines);
        mro_c32 *done = lines ? lines + COLUMN_BLOCK * stride : NULL;
        if (lines == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t b = 0; b < blocks; b++) {
            if (lines == NULL) continue;
            const size_t x0 = b * COLUMN_BLOCK, w = columns - x0 < COLUMN_BLOCK ? columns - x0 : COLUMN_BLOCK;
            for (size_t y = 0; y < ny; y++)
                for (size_t i = 0; i < w; i++) lines[i * stride + y] = plane[y * pitch + x0 + i];
            for (size_t i = 0; i < w; i++)
                fftwf_execute_dft(p, (fftwf_complex *)(lines + i * stride), (fftwf_complex *)(done + i * stride));
            for (size_t y = 0; y < ny; y++)
                for (size_t i = 0; i < w; i++) plane[y * pitch + x0 + i] = done[i * stride + y];
        }
        fftwf_free(lines);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu rows", ny) : MRO_OK;
}

enum mro_code mro_fft2(mro_c32 *plane, size_t ny, size_t nx, int sign, int threads, struct mro_error *e)
{
    fftwf_plan p = mro_fft_plan_line(nx, sign);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu columns", nx);
    bool failed = false;
#pragma omp parallel num_threads(threads)
    {
        mro_c32 *line = fftwf_malloc(nx * sizeof *line), *done = fftwf_malloc(nx * sizeof *done);
        const bool ready = line && done;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t y = 0; y < ny; y++) {
            if (!ready) continue;
            memcpy(line, plane + y * nx, nx * sizeof *line);
            fftwf_execute_dft(p, (fftwf_complex *)line, (fftwf_complex *)done);
            memcpy(plane + y * nx, done, nx * sizeof *done);
        }
        fftwf_free(line);
        fftwf_free(done);
    }
    if (failed) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu columns", nx);
    return mro_fft_columns(plane, ny, nx, nx, sign, threads, e);
}

void mro_fft_two_rows(fftwf_plan rows, size_t nx, mro_c32 *both, mro_c32 *hat, size_t columns, mro_c32 *even,
                      mro_c32 *odd)
{
    fftwf_execute_dft(rows, (fftwf_complex *)both, (fftwf_complex *)hat);
    hat[nx] = hat[0];
    for (size_t k = 0; k < columns; k++) {
        const mro_c32 a = hat[k], b = hat[nx - k];
        even[k].re = 0.5f * (a.re + b.re);
        even[k].im = 0.5f * (a.im - b.im);
        if (odd == NULL) continue;
        odd[k].re = 0.5f * (a.im + b.im);
        odd[k].im = 0.5f * (b.re - a.re);
    }
}

enum mro_code mro_fft_real(const float *field, size_t ny, size_t nx, bool squared, size_t columns, mro_c32 *half,
                           int threads, struct mro_error *e)
{
    fftwf_plan p = mro_fft_plan_line(nx, FFTW_FORWARD);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu columns", nx);
    bool failed = false;
#pragma omp parallel num_threads(threads)
    {
        mro_c32 *both = fftwf_malloc(nx * sizeof *both), *hat = fftwf_malloc((nx + 1) * sizeof *hat);
        const bool ready = both && hat;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t y = 0; y < ny; y += 2) {
            if (!ready) continue;
            const bool pair = y + 1 < ny;
            const float *f = field + y * nx, *next = pair ? f + nx : f;
#pragma omp simd
            for (size_t x = 0; x < nx; x++) {
                both[x].re = squared ? f[x] * f[x] : f[x];
                both[x].im = squared ? next[x] * next[x] : next[x];
            }
            mro_c32 *even = half + y * columns;
            mro_fft_two_rows(p, nx, both, hat, columns, even, pair ? even + columns : NULL);
        }
        fftwf_free(both);
        fftwf_free(hat);
    }
    if (failed) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu columns", nx);
    return mro_fft_columns(half, ny, columns, columns, FFTW_FORWARD, threads, e);
}

enum mro_code mro_fft_real_inverse(const mro_c32 *spectrum, size_t ny, size_t nx, float unit, float *field, int threads,
                                   struct mro_error *e)
{
    const size_t columns = nx / 2 + 1;
    fftwf_plan p = mro_fft_plan_line(nx, FFTW_BACKWARD);
    mro_c32 *half = malloc(ny * columns * sizeof *half);
    enum mro_code rc = MRO_OK;
    bool failed = false;
    if (p == NULL || half == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", nx, ny);
        goto done;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t y = 0; y < ny; y++) memcpy(half + y * columns, spectrum + y * nx, columns * sizeof *half);
    if ((rc = mro_fft_columns(half, ny, columns, columns, FFTW_BACKWARD, threads, e))) goto done;
#pragma omp parallel num_threads(threads)
    {
        mro_c32 *hat = fftwf_malloc(nx * sizeof *hat), *both = fftwf_malloc(nx * sizeof *both);
        const bool ready = hat && both;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t y = 0; y < ny; y += 2) {
            if (!ready) continue;
            const bool pair = y + 1 < ny;
            const mro_c32 *a = half + y * columns, *b = pair ? a + columns : a;
            /* a + i b, and what Hermitian symmetry makes of it beyond the middle. */
            for (size_t k = 0; k < columns; k++) {
                const bool alone = k == 0 || 2 * k == nx; /* its own partner: real */
                const float ai = alone ? 0 : a[k].im, bi = alone ? 0 : b[k].im;
                hat[k].re = a[k].re - bi;
                hat[k].im = ai + b[k].re;
                if (alone) continue;
                hat[nx - k].re = a[k].re + bi;
                hat[nx - k].im = b[k].re - ai;
            }
            fftwf_execute_dft(p, (fftwf_complex *)hat, (fftwf_complex *)both);
            float *to = field + y * nx;
            for (size_t x = 0; x < nx; x++) to[x] = both[x].re * unit;
            for (size_t x = 0; pair && x < nx; x++) to[nx + x] = both[x].im * unit;
        }
        fftwf_free(hat);
        fftwf_free(both);
    }
    if (failed) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu columns", nx);
done:
    free(half);
    return rc;
}

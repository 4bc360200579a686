/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The smooth background of an image, histograms, regions beyond a threshold and sums along a line. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "mroscope/math/legendre.h"

/* ------------------------------------------------------------------ background */

enum mro_code mro_cpu_block_sums(struct mro_device *d, const struct mro_buffer *image, size_t ny, size_t nx,
                                 const size_t block[2], double *sum, double *count, struct mro_error *e)
{
    const float *px = image->p;
    const size_t by = (ny + block[0] - 1) / block[0], bx = (nx + block[1] - 1) / block[1];
    (void)e;
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (size_t j = 0; j < by; j++) {
        const size_t y1 = (j + 1) * block[0] < ny ? (j + 1) * block[0] : ny;
        for (size_t i = 0; i < bx; i++) sum[j * bx + i] = count[j * bx + i] = 0;
        for (size_t y = j * block[0]; y < y1; y++)
            for (size_t i = 0; i < bx; i++) {
                const float *row = px + y * nx;
                const size_t x1 = (i + 1) * block[1] < nx ? (i + 1) * block[1] : nx;
                float s = 0, n = 0;
#pragma omp simd reduction(+ : s, n)
                for (size_t x = i * block[1]; x < x1; x++) {
                    const bool finite = fabsf(row[x]) <= FLT_MAX;
                    s += finite ? row[x] : 0.0f;
                    n += finite ? 1.0f : 0.0f;
                }
                sum[j * bx + i] += s;
                count[j * bx + i] += n;
            }
    }
    return MRO_OK;
}

enum mro_code mro_cpu_divide_polynomial(struct mro_device *d, struct mro_buffer *image, size_t ny, size_t nx,
                                        double offset, int degree, const double *c, const size_t block[2],
                                        const unsigned char *keep, float *lowest, struct mro_error *e)
{
    float *px = image->p, least = INFINITY;
    const float less = (float)offset;
    const size_t bx = (nx + block[1] - 1) / block[1];
    float *basis = malloc((size_t)(degree + 1) * nx * sizeof *basis);
    if (basis == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the background of %zu x %zu", nx, ny);
    for (size_t x = 0; x < nx; x++) {
        double p[MRO_LEGENDRE_MOST + 1];
        mro_legendre(mro_legendre_at(x, nx), degree, p);
        for (int l = 0; l <= degree; l++) basis[(size_t)l * nx + x] = (float)p[l];
    }
#pragma omp parallel for schedule(static) num_threads(d->threads) reduction(min : least)
    for (size_t y = 0; y < ny; y++) {
        float row[MRO_LEGENDRE_MOST + 1] = { 0 }, low = INFINITY;
        const unsigned char *kept = keep ? keep + y / block[0] * bx : NULL;
        mro_legendre_row(c, degree, mro_legendre_at(y, ny), row);
        for (size_t x0 = 0; x0 < nx; x0 += block[1]) {
            const size_t x1 = x0 + block[1] < nx ? x0 + block[1] : nx;
            const bool all = kept == NULL || kept[x0 / block[1]];
#pragma omp simd reduction(min : low)
            for (size_t x = x0; x < x1; x++) {
                float b = row[0];
                for (int l = 1; l <= degree; l++) b += row[l] * basis[(size_t)l * nx + x];
                const float v = px[y * nx + x];
                const bool in = all && fabsf(v) <= FLT_MAX;
                low = in && b < low ? b : low;
                px[y * nx + x] = in ? (v - less) / b : NAN;
            }
        }
        least = low < least ? low : least;
    }
    free(basis);
    *lowest = least;
    return MRO_OK;
}

/* ------------------------------------------------------------------ histogram */

enum mro_code mro_cpu_histogram(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                                size_t n, float lo, float step, size_t bins, uint32_t *counts, struct mro_error *e)
{
    enum { PART = 512 };
    const float *v = field->p, per = 1 / step, last = (float)(bins - 1);
    const unsigned char *in = mask ? mask->p : NULL;
    bool failed = false;
    memset(counts, 0, bins * sizeof *counts);
#pragma omp parallel num_threads(d->threads)
    {
        uint32_t *mine = calloc(bins + 1, sizeof *mine); /* one more for what is left out */
        if (mine == NULL) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static) nowait
        for (size_t from = 0; from < n; from += PART) {
            int32_t at[PART];
            const size_t size = from + PART < n ? PART : n - from;
            const float *part = v + from;
            if (mine == NULL) continue;
#pragma omp simd
            for (size_t i = 0; i < size; i++) {
                const float x = (part[i] - lo) * per;
                const float bin = x > 0 ? x < last ? x : last : 0;
                at[i] = part[i] == part[i] ? (int32_t)bin : (int32_t)bins;
            }
            if (in)
#pragma omp simd
                for (size_t i = 0; i < size; i++) at[i] = in[from + i] ? at[i] : (int32_t)bins;
            for (size_t i = 0; i < size; i++) mine[at[i]]++;
        }
        if (mine)
#pragma omp critical(mro_histogram)
            for (size_t i = 0; i < bins; i++) counts[i] += mine[i];
        free(mine);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a histogram of %zu bins", bins) : MRO_OK;
}

/* ------------------------------------------------------------------ regions */

/* Samples [from, to) of one row that are in the set. */
struct run {
    uint32_t from, to;
};

/* The runs of some rows, and which of them belong together. */
struct runs {
    size_t n, room, first_row, rows, samples;
    struct run *run;
    uint32_t *parent;
    size_t *start; /* rows + 1: first run of each row */
};

static uint32_t root_of(uint32_t *parent, uint32_t i)
{
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

static void join(uint32_t *parent, uint32_t a, uint32_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

/* Joins the runs [a, a_end) of one row to the runs [b, b_end) of the next that touch them. `run` and `parent` are
 * numbered alike. */
static void join_rows(const struct run *run, uint32_t *parent, size_t a, size_t a_end, size_t b, size_t b_end)
{
    while (a < a_end && b < b_end) {
        if (run[a].from < run[b].to && run[b].from < run[a].to) join(parent, (uint32_t)a, (uint32_t)b);
        if (run[a].to < run[b].to)
            a++;
        else
            b++;
    }
}

static bool add_run(struct runs *r, uint32_t from, uint32_t to)
{
    if (r->n == r->room) {
        const size_t room = r->room ? 2 * r->room : 1024;
        struct run *run = realloc(r->run, room * sizeof *run);
        if (run) r->run = run;
        uint32_t *parent = realloc(r->parent, room * sizeof *parent);
        if (parent) r->parent = parent;
        if (run == NULL || parent == NULL) return false;
        r->room = room;
    }
    r->run[r->n] = (struct run){ from, to };
    r->parent[r->n] = (uint32_t)r->n;
    r->n++;
    r->samples += to - from;
    return true;
}

/* Runs of the rows of r. `in` is room for a row. */
static bool find_runs(const float *v, const unsigned char *mask, size_t nx, float level, bool above, unsigned char *in,
                      struct runs *r)
{
    for (size_t k = 0; k < r->rows; k++) {
        const float *row = v + (r->first_row + k) * nx;
        const unsigned char *allowed = mask ? mask + (r->first_row + k) * nx : NULL;
        if (above)
#pragma omp simd
            for (size_t x = 0; x < nx; x++) in[x] = row[x] > level;
        else
#pragma omp simd
            for (size_t x = 0; x < nx; x++) in[x] = row[x] < level;
        if (allowed)
#pragma omp simd
            for (size_t x = 0; x < nx; x++) in[x] = in[x] && allowed[x];
        r->start[k] = r->n;
        for (size_t x = 0; x < nx;) {
            const unsigned char *first = memchr(in + x, 1, nx - x);
            if (first == NULL) break;
            const size_t from = (size_t)(first - in);
            const unsigned char *after = memchr(first, 0, nx - from);
            x = after ? (size_t)(after - in) : nx;
            if (!add_run(r, (uint32_t)from, (uint32_t)x)) return false;
        }
        r->start[k + 1] = r->n;
        if (k) join_rows(r->run, r->parent, r->start[k - 1], r->start[k], r->start[k], r->n);
    }
    return true;
}

/* All runs in one list, the rows between the parts joined; counts the sets. */
static bool count_sets(const struct runs *part, size_t parts, size_t least, struct mro_region_sums *sums)
{
    size_t n = 0;
    for (size_t k = 0; k < parts; k++) n += part[k].n;
    struct run *run = malloc((n + 1) * sizeof *run);
    uint32_t *parent = malloc((n + 1) * sizeof *parent), *size = calloc(n + 1, sizeof *size);
    const bool ready = run && parent && size;
    for (size_t k = 0, at = 0; k < parts && ready; at += part[k++].n) {
        if (part[k].n) memcpy(run + at, part[k].run, part[k].n * sizeof *run);
        for (size_t i = 0; i < part[k].n; i++) parent[at + i] = part[k].parent[i] + (uint32_t)at;
        if (k == 0 || part[k].rows == 0) continue;
        const struct runs *above = part + k - 1;
        join_rows(run, parent, at - above->n + above->start[above->rows - 1], at, at, at + part[k].start[1]);
    }
    for (size_t i = 0; i < n && ready; i++) size[root_of(parent, (uint32_t)i)] += run[i].to - run[i].from;
    for (size_t i = 0; i < n && ready; i++) sums->count += size[i] > 0 && size[i] >= least;
    free(run);
    free(parent);
    free(size);
    return ready;
}

enum mro_code mro_cpu_regions(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                              size_t ny, size_t nx, float level, bool above, size_t least, struct mro_region_sums *sums,
                              struct mro_error *e)
{
    /* A thread takes the rows between two of the others'; there are never more parts than rows. */
    const size_t parts = (size_t)d->threads < ny ? (size_t)d->threads : ny;
    struct runs *part = calloc(parts, sizeof *part);
    bool failed = part == NULL;
    memset(sums, 0, sizeof *sums);
#pragma omp parallel for schedule(static) num_threads(d->threads) if (!failed)
    for (size_t k = 0; k < parts; k++) {
        if (part == NULL) continue;
        struct runs *r = part + k;
        r->first_row = k * ny / parts;
        r->rows = (k + 1) * ny / parts - r->first_row;
        unsigned char *in = malloc(nx);
        r->start = calloc(r->rows + 1, sizeof *r->start);
        if (in == NULL || r->start == NULL || !find_runs(field->p, mask ? mask->p : NULL, nx, level, above, in, r)) {
#pragma omp atomic write
            failed = true;
        }
        free(in);
    }
    if (!failed) failed = !count_sets(part, parts, least, sums);
    for (size_t k = 0; part && k < parts; k++) {
        sums->samples += part[k].samples;
        free(part[k].run);
        free(part[k].parent);
        free(part[k].start);
    }
    free(part);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for the regions of %zu x %zu samples", nx, ny) : MRO_OK;
}

/* ------------------------------------------------------------------ lines */

enum mro_code mro_cpu_strip_sums(struct mro_device *d, const struct mro_buffer *maps, size_t n_maps, size_t ny,
                                 size_t nx, const struct mro_strip *s, double *sums, double *pixels,
                                 struct mro_error *e)
{
    const float *v = maps->p;
    const size_t n = ny * nx;
    struct {
        size_t pixel, bin;
    } *at = NULL;
    size_t found = 0, room = 0;
    memset(sums, 0, n_maps * s->bins * sizeof *sums);
    memset(pixels, 0, s->bins * sizeof *pixels);
    for (size_t y = 0; y < ny; y++) {
        size_t from, to;
        mro_strip_row(s, y, nx, 0, (double)s->bins, &from, &to);
        if (found + (to - from) > room) {
            room = 2 * room + (to - from);
            void *grown = realloc(at, room * sizeof *at);
            if (grown == NULL) {
                free(at);
                return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a line over %zu x %zu pixels", nx, ny);
            }
            at = grown;
        }
        for (size_t x = from; x < to; x++) {
            const size_t bin = mro_strip_bin(s, y, x);
            bool finite = bin < s->bins;
            for (size_t k = 0; k < n_maps && finite; k++) finite = fabsf(v[k * n + y * nx + x]) <= FLT_MAX;
            if (!finite) continue;
            at[found].pixel = y * nx + x;
            at[found++].bin = bin;
            pixels[bin]++;
        }
    }
#pragma omp parallel for schedule(dynamic) num_threads(d->threads)
    for (size_t k = 0; k < n_maps; k++)
        for (size_t i = 0; i < found; i++) sums[k * s->bins + at[i].bin] += (double)v[k * n + at[i].pixel];
    free(at);
    return MRO_OK;
}

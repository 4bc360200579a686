/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The smooth background of an image, histograms, regions beyond a threshold and sums along a line. */
#include <endian.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
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

/* Pixels of one row, [from, to), over the polynomial whose coefficients on the row are `row`; `basis`: the polynomials
 * of x, nx values each. NaN where a pixel is not finite. The smallest value of the polynomial under those that are. */
static float divide_part(float *px, size_t from, size_t to, const float *row, int degree, const float *basis, size_t nx,
                         float less)
{
    enum { PART = 512 };
    float b[PART], low = INFINITY;
    for (size_t x = from; x < to; x += PART) {
        const size_t n = to - x < PART ? to - x : PART;
        float *v = px + x;
        for (size_t i = 0; i < n; i++) b[i] = row[0];
        for (int l = 1; l <= degree; l++) {
            const float *p = basis + (size_t)l * nx + x, c = row[l];
#pragma omp simd
            for (size_t i = 0; i < n; i++) b[i] += c * p[i];
        }
#pragma omp simd reduction(min : low)
        for (size_t i = 0; i < n; i++) {
            const bool finite = fabsf(v[i]) <= FLT_MAX;
            low = finite && b[i] < low ? b[i] : low;
            v[i] = finite ? (v[i] - less) / b[i] : NAN;
        }
    }
    return low;
}

enum mro_code mro_cpu_divide_polynomial(struct mro_device *d, struct mro_buffer *image, size_t ny, size_t nx,
                                        double offset, int degree, const double *c, const size_t block[2],
                                        const unsigned char *keep, float *lowest, struct mro_error *e)
{
    float least = INFINITY;
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
        float row[MRO_LEGENDRE_MOST + 1], *px = (float *)image->p + y * nx;
        const unsigned char *kept = keep ? keep + y / block[0] * bx : NULL;
        mro_legendre_row(c, degree, mro_legendre_at(y, ny), row);
        /* Blocks that are kept side by side go as one. */
        for (size_t from = 0, to; from < nx; from = to) {
            const bool in = kept == NULL || kept[from / block[1]];
            to = kept ? from + block[1] : nx;
            while (to < nx && in == (kept[to / block[1]] != 0)) to += block[1];
            if (to > nx) to = nx;
            for (size_t x = from; x < to && !in; x++) px[x] = NAN;
            const float low = in ? divide_part(px, from, to, row, degree, basis, nx, (float)offset) : INFINITY;
            least = low < least ? low : least;
        }
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
        if (mine == NULL) mro_raise(&failed);
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

/* Joins the runs [a, a_end) of one row to the runs [b, b_end) of the next that touch them. `run` and `parent` are
 * numbered alike. Which run ends first is anybody's guess: no branch is made of it. */
static void join_rows(const struct run *run, uint32_t *parent, size_t a, size_t a_end, size_t b, size_t b_end)
{
    while (a < a_end && b < b_end) {
        if (run[a].from < run[b].to && run[b].from < run[a].to) {
            const uint32_t x = root_of(parent, (uint32_t)a), y = root_of(parent, (uint32_t)b);
            parent[x > y ? x : y] = x < y ? x : y;
        }
        const bool a_first = run[a].to < run[b].to;
        a += a_first;
        b += !a_first;
    }
}

/* Places where `in` (0 or 1 each) changes, with 0 before and after its nx; `in` has room to the next multiple of 64 and
 * `bits` for an eighth of that, `edge` for nx + 1. */
static size_t find_edges(unsigned char *in, size_t nx, unsigned char *bits, uint32_t *edge)
{
    enum { WORD = 64 };
    const size_t words = (nx + WORD - 1) / WORD;
    size_t n = 0;
    uint64_t before = 0;
    memset(in + nx, 0, words * WORD - nx);
    for (size_t i = 0; i < words * WORD / 8; i++) {
        uint64_t eight;
        memcpy(&eight, in + 8 * i, sizeof eight);
        bits[i] = (unsigned char)(le64toh(eight) * 0x0102040810204080 >> 56); /* byte k becomes bit k */
    }
    for (size_t i = 0; i < words; i++) {
        uint64_t word, change;
        memcpy(&word, bits + 8 * i, sizeof word);
        word = le64toh(word);
        for (change = word ^ (word << 1 | before); change; change &= change - 1)
            edge[n++] = (uint32_t)(WORD * i) + (uint32_t)__builtin_ctzll(change);
        before = word >> (WORD - 1);
    }
    if (before) edge[n++] = (uint32_t)nx; /* else it fell within the last word */
    return n;
}

/* Adds the runs between edges, two each. */
static bool add_runs(struct runs *r, const uint32_t *edge, size_t edges)
{
    if (r->n + edges / 2 > r->room) {
        const size_t room = 2 * r->room + edges / 2 + 1024;
        struct run *run = realloc(r->run, room * sizeof *run);
        if (run) r->run = run;
        uint32_t *parent = realloc(r->parent, room * sizeof *parent);
        if (parent) r->parent = parent;
        if (run == NULL || parent == NULL) return false;
        r->room = room;
    }
    for (size_t k = 0; k < edges; k += 2) {
        r->run[r->n] = (struct run){ edge[k], edge[k + 1] };
        r->parent[r->n] = (uint32_t)r->n;
        r->n++;
        r->samples += edge[k + 1] - edge[k];
    }
    return true;
}

/* Runs of the rows of r. */
static bool find_runs(const float *v, const unsigned char *mask, size_t nx, float level, bool above, struct runs *r)
{
    const size_t room = (nx + 63) / 64 * 64;
    unsigned char *in = malloc(room + room / 8), *bits = in ? in + room : NULL;
    uint32_t *edge = malloc((nx + 1) * sizeof *edge);
    bool ready = in && edge;
    for (size_t k = 0; k < r->rows && ready; k++) {
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
            for (size_t x = 0; x < nx; x++) in[x] = allowed[x] ? in[x] : 0;
        r->start[k] = r->n;
        ready = add_runs(r, edge, find_edges(in, nx, bits, edge));
        r->start[k + 1] = r->n;
        if (k) join_rows(r->run, r->parent, r->start[k - 1], r->start[k], r->start[k], r->n);
    }
    free(in);
    free(edge);
    return ready;
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
        r->start = calloc(r->rows + 1, sizeof *r->start);
        if (r->start == NULL || !find_runs(field->p, mask ? mask->p : NULL, nx, level, above, r)) mro_raise(&failed);
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

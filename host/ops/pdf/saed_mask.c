/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is left out of a diffraction pattern. */
#include <gsl/gsl_sort_float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "ops/pdf/saed_internal.h"
#include "ops/pixels.h"

#define BLOOM 2          /* pixels around saturated ones */
#define HOT_SD 10.0      /* standard deviations of the noise */
#define HOT_COUNTS 15.0  /* and this many counts more, for skew noise */
#define LINE_SD 8.0      /* of the mean of half a line */
#define LINE_SHARE 0.2   /* of the usual counts */
#define SHADE_MOST 512   /* blocks along an axis */
#define SHADE_DEPTH 0.45 /* of the way down to the darkest place: shaded */
#define SHADE_SD 4.0
#define SHADE_DARK 0.2   /* of the level outside, where the beam shines through the stop */
#define SHADE_BLACK 0.01 /* of it: no darker stop is told from another */
#define SHADE_LEAST 12   /* blocks of a shade, and one more for so many of the pattern: few counts cluster by chance */
#define SHADE_SHARE 1500
#define EDGE 3 /* blocks over which the inner edge of a beam stop falls */
#define GROW 3 /* pixels around a shade, for its blurred edge */

/* Sets `bit` within `by` pixels (a square) of pixels that have it. */
static enum mro_code grow(unsigned char *mask, size_t ny, size_t nx, unsigned char bit, size_t by, struct mro_error *e)
{
    unsigned char *row = malloc(ny * nx);
    if (row == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a mask");
    for (size_t y = 0; y < ny; y++) {
        size_t reach = 0; /* columns that are still to be set */
        for (size_t x = 0; x < nx; x++) {
            reach = mask[y * nx + x] & bit ? by + 1 : reach ? reach - 1 : 0;
            row[y * nx + x] = reach > 0;
        }
        reach = 0;
        for (size_t x = nx; x-- > 0;) {
            reach = mask[y * nx + x] & bit ? by + 1 : reach ? reach - 1 : 0;
            row[y * nx + x] |= reach > 0;
        }
    }
    for (size_t x = 0; x < nx; x++) {
        size_t reach = 0;
        for (size_t y = 0; y < ny; y++) {
            reach = row[y * nx + x] ? by + 1 : reach ? reach - 1 : 0;
            if (reach) mask[y * nx + x] |= bit;
        }
        reach = 0;
        for (size_t y = ny; y-- > 0;) {
            reach = row[y * nx + x] ? by + 1 : reach ? reach - 1 : 0;
            if (reach) mask[y * nx + x] |= bit;
        }
    }
    free(row);
    return MRO_OK;
}

enum mro_code mro_saed_noise_gain(const float *px, size_t ny, size_t nx, const unsigned char *mask, float black,
                                  double *gain, struct mro_error *e)
{
    enum { MOST = 100000 };
    const size_t step = ny * nx / MOST + 1;
    float *v = malloc((ny * nx / step + 2) * sizeof *v);
    size_t n = 0;
    double level = 0;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a pattern of %zu x %zu pixels", nx, ny);
    for (size_t i = 0; i < ny * nx; i += step) {
        const size_t x = i % nx;
        if (x < 1 || x + 2 > nx || mask[i] || mask[i - 1] || mask[i + 1]) continue;
        const float left = px[i] - 0.5f * (px[i - 1] + px[i + 1]);
        level += fabsf(0.5f * (px[i - 1] + px[i + 1]) - black);
        v[n++] = left * left;
    }
    double sum = 0;
    size_t kept = 0;
    if (n > 16) {
        const float most = mro_select(v, n, n - 1 - n / 200);
        for (size_t i = 0; i < n; i++)
            if (v[i] <= most) sum += v[i], kept++;
    }
    free(v);
    *gain = kept && level > 0 ? sum / (double)kept / 1.5 / (level / (double)n) : 0; /* 1 + 1/4 + 1/4 */
    return MRO_OK;
}

static void mark_hot(const float *px, size_t ny, size_t nx, double gain, int threads, unsigned char *mask)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t y = 1; y < ny - 1; y++)
        for (size_t x = 1; x < nx - 1; x++) {
            const size_t i = y * nx + x;
            float most = -INFINITY, least = INFINITY, sum = 0;
            for (int k = 0; k < 9; k++) {
                if (k == 4) continue;
                const float v = px[i + (size_t)(k / 3) * nx + (size_t)(k % 3) - nx - 1];
                most = v > most ? v : most;
                least = v < least ? v : least;
                sum += v;
            }
            /* Neighbours may be hot themselves. */
            const double mean = (sum - most - least) / 6, room = HOT_SD * sqrt(gain * fabs(mean)) + HOT_COUNTS * gain;
            if (fabs(px[i] - mean) > room && (px[i] > most || px[i] < least)) mask[i] |= MRO_SAED_DEAD;
        }
}

/* Halves of rows (or columns) that differ from those beside them all along. */
static void mark_lines(const float *px, size_t ny, size_t nx, bool columns, unsigned char *mask, double level,
                       double gain)
{
    const size_t lines = columns ? nx : ny, length = columns ? ny : nx, across = columns ? 1 : nx,
                 along = columns ? nx : 1;
    if (lines < 16 || length < 32) return;
    for (size_t c = 0; c < lines; c++)
        for (int half = 0; half < 2; half++) {
            int high = 0, low = 0;
            for (int quarter = 0; quarter < 4; quarter++) {
                const size_t part = 4 * (size_t)half + (size_t)quarter;
                const size_t from = part * length / 8, to = (part + 1) * length / 8;
                double left = 0, right = 0, n = 0, usual = 0;
                for (size_t k = from; k < to; k++) {
                    const size_t i = c * across + k * along;
                    /* Beyond a pair of dead lines; at the rim from one side. */
                    const size_t a = c >= 3 ? i - 3 * across : i + 3 * across,
                                 b = c + 3 < lines ? i + 3 * across : i - 3 * across;
                    if (mask[i] & MRO_SAED_NO_DATA || mask[a] || mask[b]) continue;
                    left += px[i] - px[a];
                    right += px[i] - px[b];
                    usual += 0.5 * (px[a] + px[b]);
                    n += 1;
                }
                if (n < 4) continue;
                const double room = n * fmax(LINE_SD / 2 * sqrt(2 * gain * fabs(usual)) / n,
                                             LINE_SHARE * fmax(fabs(usual / n), 0.1 * level));
                high += left > room && right > room; /* than both: a line beside a dead one is not dead */
                low += left < -room && right < -room;
            }
            if (high < 4 && low < 4) continue;
            for (size_t k = (size_t)half * length / 2; k < (size_t)(half + 1) * length / 2; k++)
                mask[c * across + k * along] |= MRO_SAED_DEAD;
        }
}

enum mro_code mro_saed_mask_pixels(const float *px, size_t ny, size_t nx, const struct mro_saed_options *o, int threads,
                                   unsigned char *mask, struct mro_error *e)
{
    const size_t n = ny * nx;
    double level = 0, known = 0;
    for (size_t i = 0; i < n; i++) {
        mask[i] = fabsf(px[i]) < INFINITY ? 0 : MRO_SAED_NO_DATA;
        if (o->mask && o->mask[i]) mask[i] |= MRO_SAED_MASK_FILE;
        if (mask[i]) continue;
        level += fabsf(px[i]);
        known += 1;
    }
    if (!o->auto_mask || known == 0) return MRO_OK;
    level /= known;
    const struct mro_pixel_ends ends = mro_pixel_ends(px, n, threads);
    const float end = ends.end[1];
    const bool piled = ends.clipped[1] > 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) at += px[i] == end;
    /* Full scale of a detector of 8 to 16 bits. */
    const bool full = end == 255 || end == 1023 || end == 4095 || end == 16383 || end == 32767 || end == 65535;
    if ((piled || (full && at > 1)) && (double)at < 0.5 * known && end > 2 * level) {
        for (size_t i = 0; i < n; i++)
            if (px[i] == end) mask[i] |= MRO_SAED_SATURATED;
        MRO_TRY(grow(mask, ny, nx, MRO_SAED_SATURATED, BLOOM, e));
    }
    double gain;
    MRO_TRY(mro_saed_noise_gain(px, ny, nx, mask, 0, &gain, e));
    if (gain > 0) {
        mark_lines(px, ny, nx, true, mask, level, gain);
        mark_lines(px, ny, nx, false, mask, level, gain);
        mark_hot(px, ny, nx, gain, threads, mask);
    }
    return MRO_OK;
}

enum mro_code mro_saed_coarsen(struct mro_saed_coarse *c, const float *px, size_t ny, size_t nx,
                               const unsigned char *mask, size_t by, int threads, struct mro_error *e)
{
    *c = (struct mro_saed_coarse){ .ny = ny / by, .nx = nx / by, .by = by };
    c->px = malloc(c->ny * c->nx * sizeof *c->px);
    if (c->px == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a pattern of %zu x %zu pixels", nx, ny);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t j = 0; j < c->ny; j++)
        for (size_t i = 0; i < c->nx; i++) {
            double sum = 0;
            size_t n = 0;
            for (size_t y = j * by; y < (j + 1) * by; y++)
                for (size_t x = i * by; x < (i + 1) * by; x++)
                    if (!mask[y * nx + x]) sum += px[y * nx + x], n++;
            c->px[j * c->nx + i] = 2 * n >= by * by ? (float)(sum / (double)n) : NAN;
        }
    return MRO_OK;
}

/* ------------------------------------------------------------------ shades */

/* Levels of the rings of a coarse pattern, one block wide. */
struct levels {
    size_t n;
    float *bright, *scatter; /* 80 % quantile, and the standard deviation seen from its upper half */
    float *middle;
};

static bool levels_of(const struct mro_saed_coarse *c, const size_t *ring, size_t n, struct levels *l)
{
    const size_t all = c->ny * c->nx;
    size_t *start = calloc(n + 1, sizeof *start);
    float *v = malloc((all + 1) * sizeof *v);
    *l = (struct levels){ .n = n };
    l->bright = malloc(n * sizeof *l->bright);
    l->scatter = malloc(n * sizeof *l->scatter);
    l->middle = malloc(n * sizeof *l->middle);
    const bool ok = start && v && l->bright && l->scatter && l->middle;
    if (ok) {
        for (size_t i = 0; i < all; i++)
            if (c->px[i] == c->px[i]) start[ring[i] + 1]++;
        for (size_t k = 0; k < n; k++) start[k + 1] += start[k];
        for (size_t i = 0; i < all; i++)
            if (c->px[i] == c->px[i]) v[start[ring[i]]++] = c->px[i];
        for (size_t k = 0; k < n; k++) { /* start[k] is the end of ring k now */
            const size_t from = k ? start[k - 1] : 0, m = start[k] - from;
            l->bright[k] = l->scatter[k] = l->middle[k] = NAN;
            if (m < 4) continue;
            gsl_sort_float(v + from, 1, m);
            l->bright[k] = v[from + m * 7 / 10];
            l->middle[k] = v[from + m / 2];
            l->scatter[k] = (v[from + m * 95 / 100] - v[from + m * 7 / 10]) / 1.12f; /* normal quantiles 1.645, 0.524 */
        }
    }
    free(start);
    free(v);
    return ok;
}

/* Keeps of `dark` (0, 1) the connected regions of at least `least` blocks. */
static bool keep_regions(unsigned char *dark, size_t ny, size_t nx, size_t least)
{
    size_t *queue = malloc(ny * nx * sizeof *queue);
    if (queue == NULL) return false;
    for (size_t first = 0; first < ny * nx; first++) {
        if (dark[first] != 1) continue;
        size_t n = 0;
        queue[n++] = first;
        dark[first] = 2;
        for (size_t at = 0; at < n; at++) {
            const size_t y = queue[at] / nx, x = queue[at] % nx;
            for (size_t j = y ? y - 1 : 0; j <= y + 1 && j < ny; j++)
                for (size_t i = x ? x - 1 : 0; i <= x + 1 && i < nx; i++)
                    if (dark[j * nx + i] == 1) {
                        dark[j * nx + i] = 2;
                        queue[n++] = j * nx + i;
                    }
        }
        if (n < least)
            for (size_t at = 0; at < n; at++) dark[queue[at]] = 0;
    }
    for (size_t i = 0; i < ny * nx; i++) dark[i] = dark[i] != 0;
    free(queue);
    return true;
}

/* On blocks of by x by pixels; adds to `bits` (zero beforehand). */
static enum mro_code shade_on(const float *px, size_t ny, size_t nx, const struct mro_round *round, size_t by,
                              int threads, const unsigned char *mask, unsigned char *bits, struct mro_error *e)
{
    const size_t longest = ny > nx ? ny : nx;
    struct mro_saed_coarse c = { 0 };
    struct levels l = { 0 };
    enum mro_code rc = MRO_OK;
    MRO_TRY(mro_saed_coarsen(&c, px, ny, nx, mask, by, threads, e));
    const size_t all = c.ny * c.nx, n = 2 * (c.ny + c.nx);
    size_t *ring = malloc(all * sizeof *ring);
    unsigned char *dark = calloc(all, 1);
    float *sorted = malloc((all + 1) * sizeof *sorted);
    if (!ring || !dark || !sorted) goto no_room;
    size_t known = 0;
    for (size_t i = 0; i < all; i++) {
        double u, v;
        const double half = 0.5 * (double)by - 0.5;
        mro_round_at(round, (double)(i % c.nx * by) + half, (double)(i / c.nx * by) + half, &u, &v);
        ring[i] = (size_t)fmin(sqrt(u * u + v * v) / (double)by, (double)n - 1);
        if (c.px[i] == c.px[i]) sorted[known++] = c.px[i];
    }
    if (known < 64) goto done;
    const float floor_level = mro_select(sorted, known, known / 1000);
    if (!levels_of(&c, ring, n, &l)) goto no_room;
    /* A beam stop around the centre: from outside in, the level falls within a few blocks and stays down, or, where the
     * beam shines through, stays down for as long as it took to fall. The inner side of a halo looks alike when it is
     * few blocks wide, but a stop is darker: the steepest fall counts. */
    size_t inner = 0, steepest = 0;
    bool through = false;
    double most = 0;
    const size_t look = longest / by / 4;
    for (size_t k = EDGE; k + 1 < look; k++) {
        const double outside = l.bright[k + 1] - floor_level, inside = l.middle[k - EDGE] - floor_level;
        if (!(outside > 0 && inside < (1 - 1.2 * SHADE_DEPTH) * outside &&
              l.bright[k + 1] - l.middle[k - EDGE] > SHADE_SD * l.scatter[k + 1]))
            continue;
        bool low = true, dark_ring = k >= 3 * EDGE && inside < SHADE_DARK * outside;
        for (size_t j = 0; j + EDGE < k; j++) {
            const bool bright = l.middle[j] - floor_level > (1 - SHADE_DEPTH) * outside;
            low = low && !bright;
            dark_ring = dark_ring && !(bright && j + 2 * EDGE >= k);
        }
        const double fall = log(outside / fmax(inside, SHADE_BLACK * outside));
        if (!(low || dark_ring) || (fall < most && !(fall > 0.8 * most && k <= steepest + EDGE))) continue;
        if (fall > most) steepest = k;
        most = fmax(most, fall);
        inner = k + 1;
        through = !low;
    }
    for (size_t k = 0; k < inner; k++) {
        l.bright[k] = l.bright[inner];
        l.scatter[k] = l.scatter[inner];
    }
    for (size_t i = 0; i < all; i++) {
        const float bright = l.bright[ring[i]], depth = bright - c.px[i];
        dark[i] = depth > (float)SHADE_DEPTH * (bright - floor_level) && depth > (float)SHADE_SD * l.scatter[ring[i]];
        if (through && ring[i] + EDGE < inner) dark[i] = 1;
    }
    if (!keep_regions(dark, c.ny, c.nx, SHADE_LEAST + all / SHADE_SHARE)) goto no_room;
    for (size_t y = 0; y < c.ny * by; y++)
        for (size_t x = 0; x < c.nx * by; x++)
            if (dark[y / by * c.nx + x / by]) bits[y * nx + x] |= MRO_SAED_BEAM_STOP;
    goto done;
no_room:
    rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the mask of a pattern of %zu x %zu pixels", nx, ny);
done:
    free(c.px);
    free(ring);
    free(dark);
    free(sorted);
    free(l.bright);
    free(l.scatter);
    free(l.middle);
    return rc;
}

enum mro_code mro_saed_mask_shade(const float *px, size_t ny, size_t nx, const struct mro_round *round, int threads,
                                  unsigned char *mask, struct mro_error *e)
{
    const size_t longest = ny > nx ? ny : nx, by = (longest + SHADE_MOST - 1) / SHADE_MOST;
    unsigned char *bits = calloc(ny, nx);
    if (bits == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a mask");
    for (size_t i = 0; i < ny * nx; i++) mask[i] &= (unsigned char)~MRO_SAED_BEAM_STOP;
    /* Coarser blocks see through speckle and few counts, finer ones follow a thin arm. */
    enum mro_code rc = shade_on(px, ny, nx, round, by, threads, mask, bits, e);
    if (rc == MRO_OK) rc = shade_on(px, ny, nx, round, 2 * by, threads, mask, bits, e);
    if (rc == MRO_OK) rc = mro_saed_follow_arms(px, ny, nx, round, mask, bits, e);
    if (rc == MRO_OK) rc = grow(bits, ny, nx, MRO_SAED_BEAM_STOP, GROW + by / 2, e);
    for (size_t i = 0; rc == MRO_OK && i < ny * nx; i++) mask[i] |= bits[i];
    free(bits);
    return rc;
}

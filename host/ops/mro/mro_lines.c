/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/mro/mro_lines.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "ops/pixels.h"

#define PLACE_SIGMAS 5.0f /* of blocks along a line, from those next to them, that make it worth a look */
#define WIDEST 4          /* lines side by side */
#define STANDS_OUT 5.5f   /* of the usual difference of neighbours, to both sides */
#define QUIET 24          /* lines to either side among which none differs half as much: fringes are all alike */
#define PARTS 4           /* of a line, each looked at alone; */
#define CERTAIN 4.0f      /* standard errors of their medians; two parts have to show it */

/* Marks rows (axis 0) or columns (1) of blocks whose means differ from those next to them by more than is usual. `room`
 * for three numbers each. */
static void find_places(const struct mro_blocks *b, const double *means, int axis, float *room, unsigned char *place)
{
    const size_t n = axis ? b->nx : b->ny, length = axis ? b->ny : b->nx;
    const size_t along = axis ? b->nx : 1, across = axis ? 1 : b->nx;
    float *step = room, *sorted = room + n;
    size_t known = 0;
    double last = NAN;
    for (size_t i = 0; i < n; i++) {
        double sum = 0, of = 0;
        for (size_t k = 0; k < length; k++) {
            const double mean = means[i * across + k * along];
            sum += mean == mean ? mean : 0;
            of += mean == mean;
        }
        step[i] = (float)fabs(sum / of - last); /* from the one before */
        last = sum / of;
        if (isfinite(step[i])) sorted[known++] = step[i];
        place[i] = 0;
    }
    const float most = known ? PLACE_SIGMAS * 1.4826f * mro_median(sorted, known) : INFINITY;
    for (size_t i = 1; i < n; i++)
        if (step[i] > most) place[i - 1] = place[i] = 1;
}

/* Sums of the pixels of lines [first, end). */
static void profile(const struct mro_image *im, int axis, size_t first, size_t end, float *sum)
{
    memset(sum + first, 0, (end - first) * sizeof *sum);
    for (size_t y = axis ? 0 : first; y < (axis ? im->ny : end); y++)
        for (size_t x = axis ? first : 0; x < (axis ? end : im->nx); x++) sum[axis ? x : y] += im->px[y * im->nx + x];
}

/* Whether the pixels of lines [at, at + width) differ from the lines beside them in at least two of four parts. */
static bool holds(const struct mro_image *im, int axis, size_t at, size_t width, float *room)
{
    const size_t length = axis ? im->ny : im->nx, along = axis ? im->nx : 1, across = axis ? 1 : im->nx;
    int up = 0, down = 0;
    for (size_t part = 0; part < PARTS; part++) {
        size_t n = 0;
        for (size_t i = part * length / PARTS; i < (part + 1) * length / PARTS; i++) {
            const float *p = im->px + i * along + at * across;
            float mean = 0;
            for (size_t k = 0; k < width; k++) mean += p[k * across] / (float)width;
            const float past = mean - 0.5f * (*(p - across) + p[width * across]);
            if (isfinite(past)) room[n++] = past;
        }
        if (n < 8) continue;
        const float median = mro_median(room, n);
        for (size_t i = 0; i < n; i++) room[i] = fabsf(room[i] - median);
        const float error = 1.4826f * 1.2533f * mro_median(room, n) / sqrtf((float)n);
        up += median > CERTAIN * error;
        down += -median > CERTAIN * error;
    }
    return up >= 2 || down >= 2;
}

/* By how much the profile at [at, at + width) lies above, or below, both of its neighbours; 0 where it does not. */
static float stands_out(const float *p, size_t at, size_t width)
{
    const float left = p[at - 1], right = p[at + width];
    float above = INFINITY, below = INFINITY;
    for (size_t k = at; k < at + width; k++) {
        above = fminf(above, p[k] - fmaxf(left, right));
        below = fminf(below, fminf(left, right) - p[k]);
    }
    return fmaxf(fmaxf(above, below), 0);
}

/* Whether no neighbours in [first, end) differ by `most` but those at lines [at, at + width). */
static bool is_quiet(const float *p, size_t first, size_t end, size_t at, size_t width, float most)
{
    for (size_t k = first; k + 1 < end; k++)
        if ((k + 1 < at || k >= at + width) && fabsf(p[k + 1] - p[k]) > most) return false;
    return true;
}

/* Replaces lines [at, at + width) by what lies between those beside them, in a copy of the image, which is made where
 * there is none; false: out of memory. */
static bool bridge(const struct mro_image *im, int axis, size_t at, size_t width, float **px)
{
    const size_t length = axis ? im->ny : im->nx, along = axis ? im->nx : 1, across = axis ? 1 : im->nx;
    if (!mro_pixels_to_repair(im, px)) return false;
    for (size_t i = 0; i < length; i++) {
        float *p = *px + i * along + at * across;
        const float left = *(p - across), step = (p[width * across] - left) / (float)(width + 1);
        for (size_t k = 0; k < width; k++) p[k * across] = left + (float)(k + 1) * step;
    }
    return true;
}

/* Replaces lines among [first, end), and counts them. `p` and `room`: for as many numbers as the longest line has
 * pixels. false: out of memory. */
static bool replace_among(const struct mro_image *im, int axis, size_t first, size_t end, float *p, float *room,
                          size_t *count, float **px)
{
    const size_t n = axis ? im->nx : im->ny, before = first > QUIET ? first - QUIET : 0,
                 after = end + QUIET < n ? end + QUIET : n;
    size_t known = 0;
    profile(im, axis, before, after, p);
    for (size_t i = before; i + 1 < after; i++)
        if (isfinite(p[i + 1] - p[i])) room[known++] = fabsf(p[i + 1] - p[i]);
    const float least = known ? STANDS_OUT * 1.4826f * mro_median(room, known) : INFINITY;
    for (size_t at = first ? first : 1; at < end; at++)
        for (size_t width = 1; width <= WIDEST && at + width < after; width++) {
            const float by = stands_out(p, at, width);
            if (!(by > least) || !is_quiet(p, before, after, at, width, 0.5f * by)) continue;
            if (!holds(im, axis, at, width, room)) continue;
            if (!bridge(im, axis, at, width, px)) return false;
            *count += width;
            at += width;
            break;
        }
    return true;
}

enum mro_code mro_lines_replace(const struct mro_image *im, const struct mro_blocks *b, const double *means,
                                size_t counts[2], float **px, struct mro_error *e)
{
    const size_t longest = im->ny > im->nx ? im->ny : im->nx;
    float *p = malloc(2 * longest * sizeof *p), *room = p ? p + longest : NULL;
    unsigned char *place = malloc(longest);
    enum mro_code rc = MRO_OK;
    counts[0] = counts[1] = 0;
    *px = NULL;
    if (p == NULL || place == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu lines", longest);
    for (int axis = 0; axis < 2 && rc == MRO_OK; axis++) {
        const size_t n = axis ? b->nx : b->ny, lines = axis ? im->nx : im->ny;
        find_places(b, means, axis, p, place);
        for (size_t i = 0; i < n && rc == MRO_OK; i++) {
            const size_t first = i * b->side;
            if (!place[i]) continue;
            while (i + 1 < n && place[i + 1]) i++;
            const size_t end = (i + 1) * b->side < lines ? (i + 1) * b->side : lines;
            if (!replace_among(im, axis, first, end, p, room, &counts[axis], px))
                rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", im->nx, im->ny);
        }
    }
    free(p);
    free(place);
    if (rc) {
        free(*px);
        *px = NULL;
    }
    return rc;
}

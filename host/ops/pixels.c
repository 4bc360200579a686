/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/pixels.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"

#define ROOM 100 /* powers of two that typical pixels may lie from 1; float32 has 126 */
#define ROWS 16  /* that show what is typical */
#define FEW 16   /* pixels at an end: no pile */

enum mro_code mro_pixels_in_range(const struct mro_image *im, const char *name, struct mro_error *e)
{
    /* The mean exponent: a few pixels of quite another size, as spikes are, hardly move it. */
    double sum = 0, n = 0;
    for (size_t y = 0; y < im->ny; y += im->ny / ROWS + 1) {
        const float *row = im->px + y * im->nx;
        int64_t exponents = 0;
        int32_t known = 0;
#pragma omp simd reduction(+ : exponents, known)
        for (size_t x = 0; x < im->nx; x++) {
            int32_t bits;
            memcpy(&bits, row + x, sizeof bits);
            bits &= INT32_MAX; /* without the sign */
            const bool counts = bits > 0 && bits < 0x7f800000;
            exponents += counts ? bits >> 23 : 0;
            known += counts;
        }
        sum += (double)exponents;
        n += known;
    }
    const double typical = sum / n - 127;
    if (n == 0 || fabs(typical) < ROOM) return MRO_OK;
    return MRO_FAIL(e, MRO_EDATA,
                    "the pixels of '%s' are around 1e%.0f, where the range of float32 ends; multiply them by a number "
                    "that brings them between 1e-30 and 1e30",
                    name, typical * log10(2));
}

bool mro_pixels_vary(const struct mro_image *im, char ***warnings, size_t *n_warnings, char *verdict, size_t room)
{
    const size_t n = im->ny * im->nx;
    size_t first = 0;
    while (first < n && !isfinite(im->px[first])) first++;
    size_t other = first;
    while (other < n && (im->px[other] == im->px[first] || !isfinite(im->px[other]))) other++;
    if (other < n) return true;
    const bool empty = first == n;
    mro_note(warnings, n_warnings, "%s: there is nothing to measure",
             empty ? "no pixel holds a number" : "every pixel has the same value");
    snprintf(verdict, room, "not measured: the image is %s", empty ? "empty" : "constant");
    return false;
}

/* Whether pixels are whole numbers that reach from 0 to 255. */
static bool fill_bytes(const struct mro_image *im)
{
    bool black = false, white = false;
    for (size_t y = 0; y < im->ny; y++) { /* other images are seen not to in their first row */
        const float *row = im->px + y * im->nx;
        int other = 0, zeros = 0, most = 0;
#pragma omp simd reduction(+ : other, zeros, most)
        for (size_t x = 0; x < im->nx; x++) {
            other += !(row[x] >= 0 && row[x] <= 255 && row[x] == rintf(row[x]));
            zeros += row[x] == 0;
            most += row[x] == 255;
        }
        if (other) return false;
        black |= zeros > 0;
        white |= most > 0;
    }
    return black && white;
}

void mro_pixels_tell_export(const struct mro_image *im, const char *lost, char ***warnings, size_t *n_warnings)
{
    if (fill_bytes(im))
        mro_note(warnings, n_warnings,
                 "grey levels are whole numbers from 0 to 255, as in an export for display: where they were stretched "
                 "%s; measure what the microscope wrote",
                 lost);
}

bool mro_pixels_to_repair(const struct mro_image *im, float **px)
{
    const size_t bytes = im->ny * im->nx * sizeof **px;
    if (*px == NULL && (*px = malloc(bytes))) memcpy(*px, im->px, bytes);
    return *px != NULL;
}

/* The largest value and the next one, and how many pixels have them. */
struct top {
    float value, next;
    size_t at, beside;
};

static void add_value(struct top *t, float v, size_t n)
{
    if (v > t->value) {
        *t = (struct top){ v, t->value, n, t->at };
    } else if (v == t->value) {
        t->at += n;
    } else if (v > t->next) {
        t->next = v;
        t->beside = n;
    } else if (v == t->next) {
        t->beside += n;
    }
}

/* Takes pixels in whose largest value, times `sign`, is `most`. */
static void add_pixels(struct top *t, const float *px, size_t n, float sign, float most)
{
    if (most < t->next) return;
    float next = -INFINITY;
    size_t at = 0, beside = 0;
#pragma omp simd reduction(max : next) reduction(+ : at)
    for (size_t i = 0; i < n; i++) {
        const float v = sign * px[i];
        at += v == most;
        next = v < most && v > next ? v : next;
    }
#pragma omp simd reduction(+ : beside)
    for (size_t i = 0; i < n; i++) beside += sign * px[i] == next;
    add_value(t, most, at);
    if (most > -INFINITY) add_value(t, next, beside);
}

/* A range that ends by itself thins out; a clipped one ends with a pile. */
static double clipped_share(const struct top *t, size_t known)
{
    return t->at > FEW && t->at > 3 * t->beside && known > t->at ? (double)t->at / (double)known : 0;
}

struct mro_pixel_ends mro_pixel_ends(const float *px, size_t n, int threads)
{
    enum { PART = 4096 }; /* stays in the first level of cache when it is gone through again */
    const struct mro_pixel_ends nothing = { .least = INFINITY, .most = -INFINITY };
    const struct top none = { -INFINITY, -INFINITY, 0, 0 };
    struct mro_pixel_ends r = nothing;
    struct top low = none, high = none; /* of the negative, and of the value */
    size_t known = 0;
#pragma omp parallel num_threads(threads)
    {
        struct mro_pixel_ends mine = nothing;
        struct top mine_low = none, mine_high = none;
        size_t mine_known = 0;
#pragma omp for schedule(static) nowait
        for (size_t from = 0; from < n; from += PART) {
            const float *part = px + from;
            const size_t size = n - from < PART ? n - from : PART;
            float least = INFINITY, most = -INFINITY;
            unsigned finite = 0;
#pragma omp simd reduction(min : least) reduction(max : most) reduction(+ : finite)
            for (size_t i = 0; i < size; i++) {
                finite += fabsf(part[i]) <= FLT_MAX;
                least = part[i] < least ? part[i] : least; /* false for NaN */
                most = part[i] > most ? part[i] : most;
            }
            add_pixels(&mine_low, part, size, -1, -least);
            add_pixels(&mine_high, part, size, 1, most);
            mine.finite += finite;
            for (size_t i = 0; i < size && finite < size; i++) mine_known += part[i] == part[i];
            if (finite == size) {
                mine_known += size;
            } else {
                least = INFINITY;
                most = -INFINITY;
                for (size_t i = 0; i < size; i++) {
                    const bool in = fabsf(part[i]) <= FLT_MAX;
                    least = in && part[i] < least ? part[i] : least;
                    most = in && part[i] > most ? part[i] : most;
                }
            }
            mine.least = fminf(mine.least, least);
            mine.most = fmaxf(mine.most, most);
        }
#pragma omp critical(mro_pixel_ends)
        {
            r.finite += mine.finite;
            r.least = fminf(r.least, mine.least);
            r.most = fmaxf(r.most, mine.most);
            known += mine_known;
            add_value(&low, mine_low.value, mine_low.at);
            add_value(&low, mine_low.next, mine_low.beside);
            add_value(&high, mine_high.value, mine_high.at);
            add_value(&high, mine_high.next, mine_high.beside);
        }
    }
    r.end[0] = -low.value;
    r.end[1] = high.value;
    r.clipped[0] = clipped_share(&low, known);
    r.clipped[1] = clipped_share(&high, known);
    return r;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/mro/mro_blemish.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "ops/pixels.h"

#define MOST_SHARE 0.9     /* of one value; an image with more of it shows nothing */
#define CHANCE 0.01        /* blocks of one value that may be none */
#define FEWEST 9           /* equal pixels that are no chance */
#define STEP_SIGMAS 12.0f  /* between blocks that are looked at closely; glass and clusters reach 9 */
#define HOT_SIGMAS 8.0f    /* of a hot or dead pixel, as spikes have */
#define FEW_SPIKES 3       /* and one in a million pixels, are chance in noise */
#define SAMPLED 2000       /* blocks that show how far the means of a glass scatter */
#define SHARP_POWER 4.0    /* over the speckle's, at every frequency below the band and in one direction */
#define REFERENCES 64      /* places that show the power of the speckle */
#define WINDOW_WAVES 1.845 /* of the lower end of the band in the Gaussian of a close look; */
#define WINDOW_REACH 3.0   /* its reach, */
#define FINE_WAVES 0.246   /* the side of what is averaged in it, at most, */
#define RING_SIGMAS 5.0    /* Gaussians from a place to those that show the speckle around it, */
#define OUTLIER 10.0f      /* mean deviations from the mean beyond which a pixel of it is a spike, */
#define DIRECTIONS 8       /* directions, */
#define FREQUENCIES 4      /* and frequencies, as shares of the lower end of the band */
#define FILL_BLOCKS 3      /* as far as the surroundings of a blemish fill it in */

static const double frequencies[FREQUENCIES] = { 0.66, 0.75, 0.84, 0.93 };

void mro_blemishes_release(struct mro_blemishes *b)
{
    free(b->of);
    memset(b, 0, sizeof *b);
}

/* Columns or rows [first, end) of pixels of block i along an axis of n pixels. */
struct range {
    size_t first, end;
};
static struct range pixels_of(const struct mro_blocks *b, size_t i, size_t n)
{
    const size_t end = (i + 1) * b->side;
    return (struct range){ i * b->side, end < n ? end : n };
}

static size_t pixels_in(const struct mro_image *im, const struct mro_blocks *b, size_t j, size_t i)
{
    const struct range y = pixels_of(b, j, im->ny), x = pixels_of(b, i, im->nx);
    return (y.end - y.first) * (x.end - x.first);
}

/* How many pixels of block (j, i) have a value. */
static size_t count_equal(const struct mro_image *im, const struct mro_blocks *b, size_t j, size_t i, float value)
{
    const struct range y = pixels_of(b, j, im->ny), x = pixels_of(b, i, im->nx);
    size_t n = 0;
    for (size_t k = y.first; k < y.end; k++)
        for (size_t l = x.first; l < x.end; l++) n += im->px[k * im->nx + l] == value;
    return n;
}

/* Marks block i, all of whose pixels have a value, those that touch it and have it in half of theirs, as text on a bar
 * does, and so on, and those beside these that hold a line of it. `stack`: room for all blocks. */
static void spread_value(const struct mro_image *im, const struct mro_blocks *b, size_t i, float value,
                         unsigned char *of, size_t *stack)
{
    size_t n = 0;
    of[i] = MRO_CONSTANT;
    stack[n++] = i;
    while (n) {
        const size_t at = stack[--n], j = at / b->nx, x = at % b->nx;
        for (size_t l = j ? j - 1 : 0; l <= j + 1 && l < b->ny; l++)
            for (size_t k = x ? x - 1 : 0; k <= x + 1 && k < b->nx; k++) {
                if (of[l * b->nx + k]) continue;
                const size_t equal = count_equal(im, b, l, k, value), pixels = pixels_in(im, b, l, k);
                if (equal < b->side) continue;
                of[l * b->nx + k] = MRO_CONSTANT;
                if (2 * equal >= pixels) stack[n++] = l * b->nx + k;
            }
    }
}

/* Whether so many pixels of a value are expected to meet in a block somewhere, as in images of few counts or few grey
 * levels. Its share is that of pixels before which another one lies: in patches of one value there are none. */
static bool meets_by_chance(const struct mro_image *im, const struct mro_blocks *b, float value, size_t pixels)
{
    const size_t n = b->ny * b->nx, every = n / SAMPLED + 1;
    double others = 0, after_others = 0;
    for (size_t i = 0; i < n; i += every) {
        const struct range y = pixels_of(b, i / b->nx, im->ny), x = pixels_of(b, i % b->nx, im->nx);
        const bool first = im->px[y.first * im->nx + x.first] == value,
                   last = im->px[(y.end - 1) * im->nx + x.end - 1] == value;
        others += !first;
        after_others += !first && last;
    }
    const double share = others > 0 ? after_others / others : 1;
    return share < MOST_SHARE && (double)n * pow(share, (double)pixels) > CHANCE;
}

/* Marks blocks all of whose pixels are equal, as padding, bars, masks and what is clipped have them, and what belongs
 * to them. `stack`: room for all blocks. */
static void find_constant(const struct mro_image *im, const struct mro_blocks *b, unsigned char *of, size_t *stack)
{
    float common = NAN; /* the last value that meets by chance: such an image has many blocks of it */
    for (size_t j = 0; j < b->ny; j++) {
        const struct range y = pixels_of(b, j, im->ny);
        const float *row = im->px + (y.first + y.end) / 2 * im->nx;
        for (size_t i = 0; i < b->nx; i++) {
            const struct range x = pixels_of(b, i, im->nx);
            size_t k = x.first + 1;
            /* Of the blocks below: rows are too far apart for the processor to see where it goes on. */
            if (j + 2 < b->ny) __builtin_prefetch(row + b->side * im->nx + x.first);
            while (k < x.end && row[k] == row[x.first]) k++;
            const size_t pixels = pixels_in(im, b, j, i);
            if (k < x.end || pixels < FEWEST || !isfinite(row[x.first]) || of[j * b->nx + i]) continue;
            if (row[x.first] == common || count_equal(im, b, j, i, row[x.first]) < pixels) continue;
            if (meets_by_chance(im, b, row[x.first], pixels))
                common = row[x.first];
            else
                spread_value(im, b, j * b->nx + i, row[x.first], of, stack);
        }
    }
}

/* Marks blocks with clusters of hot or dead pixels, which no median of 3 x 3 replaces: five of so many that are far
 * from the mean of the block. `room` for SAMPLED numbers. */
static void find_hot(const struct mro_image *im, const struct mro_blocks *b, const double *means, unsigned char *of,
                     float *room)
{
    const size_t n = b->ny * b->nx, every = n / SAMPLED + 1;
    size_t sampled = 0;
    for (size_t i = 0; i < n; i += every) {
        const struct range y = pixels_of(b, i / b->nx, im->ny), x = pixels_of(b, i % b->nx, im->nx);
        const float p = im->px[(y.first + y.end) / 2 * im->nx + (x.first + x.end) / 2];
        if (!of[i] && isfinite(p) && isfinite(means[i])) room[sampled++] = fabsf(p - (float)means[i]);
    }
    if (sampled == 0) return;
    const float far = HOT_SIGMAS / 0.6745f * mro_median(room, sampled);
    for (size_t i = 0; i < n; i++) {
        const struct range y = pixels_of(b, i / b->nx, im->ny), x = pixels_of(b, i % b->nx, im->nx);
        const float mean = (float)means[i];
        int hot = 0;
        for (size_t l = y.first; l < y.end; l++)
            for (size_t k = x.first; k < x.end; k++) hot += fabsf(im->px[l * im->nx + k] - mean) > far;
        for (size_t l = y.first; hot && l < y.end && !of[i]; l++)
            for (size_t k = x.first; k < x.end; k++) {
                int around = 0;
                for (size_t v = l ? l - 1 : 0; v <= l + 1 && v < im->ny; v++)
                    for (size_t u = k ? k - 1 : 0; u <= k + 1 && u < im->nx; u++)
                        around += fabsf(im->px[v * im->nx + u] - mean) > far;
                if (around >= 5) of[i] = MRO_SHARP;
            }
    }
}

/* Means of the blocks, NaN for known blemishes, with one more on every side that repeats the last. */
static void fill_means(const struct mro_blocks *b, const double *means, const unsigned char *of, float *mean)
{
    const size_t pitch = b->nx + 2;
    for (size_t j = 0; j < b->ny; j++) {
        float *to = mean + (j + 1) * pitch + 1;
        for (size_t i = 0; i < b->nx; i++) to[i] = of[j * b->nx + i] ? NAN : (float)means[j * b->nx + i];
        to[-1] = to[0];
        to[b->nx] = to[b->nx - 1];
    }
    memcpy(mean, mean + pitch, pitch * sizeof *mean);
    memcpy(mean + (b->ny + 1) * pitch, mean + b->ny * pitch, pitch * sizeof *mean);
}

/* How much less the noise of a usual block is than that of block i along an axis, or of the one behind it: the last
 * ones have fewer pixels. */
static float trust(const struct mro_blocks *b, size_t i, size_t blocks, size_t pixels)
{
    const struct range r = pixels_of(b, i + 1 < blocks ? i + 1 : i, pixels);
    return (float)sqrt((double)(r.end - r.first) / (double)b->side);
}

static inline float past(float there, float here)
{
    const float d = there - here;
    return d == d ? d : 0;
}

/* How far blocks differ from those around them: the steps across a block, and the block from its four neighbours; 0
 * where it is unknown. A neighbour that is unknown is as the block. `mean` as fill_means leaves it. */
static void differences(const struct mro_image *im, const struct mro_blocks *b, const float *mean, float *step,
                        float *spot)
{
    const size_t nx = b->nx;
    for (size_t j = 0; j < b->ny; j++, step += nx, spot += nx) {
        const float *up = mean + j * (nx + 2) + 1, *here = up + nx + 2, *down = here + nx + 2;
        const float of_row = trust(b, j, b->ny, im->ny);
        for (size_t i = 0; i < nx; i++) {
            const float m = here[i], *u = up + i, *h = here + i, *d = down + i;
            const float left = past(u[-1], m) + past(h[-1], m) + past(d[-1], m),
                        right = past(u[1], m) + past(h[1], m) + past(d[1], m),
                        above = past(u[-1], m) + past(u[0], m) + past(u[1], m),
                        below = past(d[-1], m) + past(d[0], m) + past(d[1], m);
            const float across = fabsf(right - left), along = fabsf(below - above), t = m == m ? of_row : 0;
            step[i] = t * (across > along ? across : along);
            spot[i] = t * fabsf(past(u[0], m) + past(d[0], m) + past(h[-1], m) + past(h[1], m));
        }
        for (size_t i = nx > 2 ? nx - 2 : 0; i < nx; i++) {
            step[i] *= trust(b, i, nx, im->nx);
            spot[i] *= trust(b, i, nx, im->nx);
        }
    }
}

/* The median of what is not 0 among n numbers; 0: there are none. `work`: room for SAMPLED. */
static float typical(const float *v, size_t n, float *work)
{
    const size_t every = n / SAMPLED + 1;
    size_t m = 0;
    for (size_t i = 0; i < n; i += every)
        if (v[i] > 0) work[m++] = v[i];
    return m ? mro_median(work, m) : 0;
}

/* Blocks that stand out of their surroundings: 1 in `out`; whether there are any. Known ones are left out. */
static bool find_steps(const struct mro_image *im, const struct mro_blocks *b, const double *means,
                       const unsigned char *of, float *room, unsigned char *out)
{
    const size_t n = b->ny * b->nx;
    float *step = room, *spot = room + n, *work = room + 2 * n, *mean = work + SAMPLED;
    bool any = false;
    fill_means(b, means, of, mean);
    differences(im, b, mean, step, spot);
    /* Medians of the larger of two normal numbers, and of one, over their standard deviation. */
    const float most_step = STEP_SIGMAS / 1.0518f * typical(step, n, work),
                most_spot = STEP_SIGMAS / 0.6745f * typical(spot, n, work);
    for (size_t i = 0; i < n; i++) {
        out[i] = !of[i] && (step[i] > most_step || spot[i] > most_spot);
        any |= out[i];
    }
    return any;
}

/* ------------------------------------------------------------------ a close look */

/* Wave vectors and the window that a place is looked at with. */
struct look {
    const struct mro_image *im;
    const struct mro_blocks *b;
    const unsigned char *of;
    size_t fine, half[2];          /* pixels a side that are averaged; samples to either side of the middle */
    float *wave;                   /* cosines and sines of all wave vectors, times the window; owned */
    double around[2];              /* how far a place is from those around it, blocks */
    double reference[FREQUENCIES]; /* power of the speckle */
};

/* Pixels of a row from x0 on, NaN beyond the image and in patches of one value. */
static void row_around(const struct look *k, ptrdiff_t y, ptrdiff_t x0, size_t n, float *px)
{
    const struct mro_image *im = k->im;
    const ptrdiff_t side = (ptrdiff_t)k->b->side, end = x0 + (ptrdiff_t)n;
    const ptrdiff_t from = x0 > 0 ? x0 : 0, to = end < (ptrdiff_t)im->nx ? end : (ptrdiff_t)im->nx;
    for (size_t m = 0; m < n; m++) px[m] = NAN;
    if (y < 0 || y >= (ptrdiff_t)im->ny || from >= to) return;
    memcpy(px + (from - x0), im->px + (size_t)y * im->nx + from, (size_t)(to - from) * sizeof *px);
    const unsigned char *of = k->of + (size_t)(y / side) * k->b->nx;
    for (ptrdiff_t b = from / side; b <= (to - 1) / side; b++) {
        if (of[b] != MRO_CONSTANT) continue;
        for (ptrdiff_t x = b * side > from ? b * side : from; x < (b + 1) * side && x < to; x++) px[x - x0] = NAN;
    }
}

/* Samples of the surroundings of block (j, i): sums of `fine` x `fine` pixels less the mean of all, unknown ones as 0.
 * `v`: room for the samples, and behind them for the pixels. */
static void samples_of(const struct look *k, size_t j, size_t i, float *v)
{
    const size_t side = k->b->side, fine = k->fine, ny = 2 * k->half[0] + 1, nx = 2 * k->half[1] + 1;
    const size_t columns = nx * fine, n = ny * fine * columns;
    const ptrdiff_t y0 = (ptrdiff_t)(j * side + side / 2) - (ptrdiff_t)(k->half[0] * fine + fine / 2),
                    x0 = (ptrdiff_t)(i * side + side / 2) - (ptrdiff_t)(k->half[1] * fine + fine / 2);
    float *px = v + ny * nx;
    double sum = 0, deviation = 0, known = 0;
    for (size_t l = 0; l < ny * fine; l++) row_around(k, y0 + (ptrdiff_t)l, x0, columns, px + l * columns);
#pragma omp simd reduction(+ : sum, known)
    for (size_t m = 0; m < n; m++) {
        const bool is = fabsf(px[m]) <= FLT_MAX;
        sum += is ? px[m] : 0;
        known += is;
    }
    const float mean = (float)(sum / fmax(known, 1));
#pragma omp simd reduction(+ : deviation)
    for (size_t m = 0; m < n; m++) {
        const bool is = fabsf(px[m]) <= FLT_MAX;
        px[m] = is ? px[m] - mean : 0;
        deviation += fabsf(px[m]);
    }
    const float limit = OUTLIER * (float)(deviation / fmax(known, 1));
    memset(v, 0, ny * nx * sizeof *v);
    for (size_t l = 0; l < ny * fine; l++)
        for (size_t m = 0; m < nx; m++)
            for (size_t f = 0; f < fine; f++) {
                const float d = px[l * columns + m * fine + f];
                v[l / fine * nx + m] += d > limit ? limit : d < -limit ? -limit : d;
            }
}

/* Powers of the surroundings of a block at all directions and frequencies. `v`: room for the samples. */
static void powers_of(const struct look *k, size_t j, size_t i, float *v, double power[DIRECTIONS][FREQUENCIES])
{
    const size_t n = (2 * k->half[0] + 1) * (2 * k->half[1] + 1);
    samples_of(k, j, i, v);
    for (size_t w = 0; w < DIRECTIONS * FREQUENCIES; w++) {
        const float *cosine = k->wave + 2 * w * n, *sine = cosine + n;
        float re = 0, im = 0;
#pragma omp simd reduction(+ : re, im)
        for (size_t s = 0; s < n; s++) {
            re += v[s] * cosine[s];
            im += v[s] * sine[s];
        }
        power[w / FREQUENCIES][w % FREQUENCIES] = (double)re * re + (double)im * im;
    }
}

/* false: out of memory */
static bool look_new(struct look *k, const struct mro_image *im, const double pixel_nm[2], const double band_inv_nm[2],
                     const struct mro_blocks *b, const unsigned char *of)
{
    const double coarsest = fmax(pixel_nm[0], pixel_nm[1]), s_nm = WINDOW_WAVES / band_inv_nm[0];
    *k = (struct look){
        .im = im, .b = b, .of = of, .fine = (size_t)fmax(1, floor(FINE_WAVES / band_inv_nm[0] / coarsest))
    };
    const double step_nm[2] = { pixel_nm[0] * (double)k->fine, pixel_nm[1] * (double)k->fine };
    for (int a = 0; a < 2; a++) k->half[a] = (size_t)ceil(WINDOW_REACH * s_nm / step_nm[a]);
    for (int a = 0; a < 2; a++) k->around[a] = RING_SIGMAS * s_nm / (pixel_nm[a] * (double)b->side);
    const size_t ny = 2 * k->half[0] + 1, nx = 2 * k->half[1] + 1, n = ny * nx;
    k->wave = malloc(2 * DIRECTIONS * FREQUENCIES * n * sizeof *k->wave);
    for (size_t w = 0; k->wave && w < DIRECTIONS * FREQUENCIES; w++) {
        const double angle = M_PI * (double)(w / FREQUENCIES) / DIRECTIONS,
                     q = 2 * M_PI * frequencies[w % FREQUENCIES] * band_inv_nm[0];
        for (size_t s = 0; s < n; s++) {
            const double y = ((double)(s / nx) - (double)k->half[0]) * step_nm[0],
                         x = ((double)(s % nx) - (double)k->half[1]) * step_nm[1];
            const double bell = exp(-0.5 * (y * y + x * x) / (s_nm * s_nm)),
                         phase = q * (sin(angle) * y + cos(angle) * x);
            k->wave[2 * w * n + s] = (float)(bell * cos(phase));
            k->wave[(2 * w + 1) * n + s] = (float)(bell * sin(phase));
        }
    }
    return k->wave != NULL;
}

/* Fills in the power of the speckle, from places without steps; false: out of memory. */
static bool look_around(struct look *k, const unsigned char *steps, float *v)
{
    enum { ALONG = 8, EACH = REFERENCES * DIRECTIONS };
    float *seen = malloc(FREQUENCIES * EACH * sizeof *seen);
    size_t n = 0;
    for (size_t r = 0; seen && r < REFERENCES; r++) {
        const size_t j = (2 * (r / ALONG) + 1) * k->b->ny / (2 * ALONG),
                     i = (2 * (r % ALONG) + 1) * k->b->nx / (2 * ALONG);
        double power[DIRECTIONS][FREQUENCIES];
        if (k->of[j * k->b->nx + i] || steps[j * k->b->nx + i]) continue;
        powers_of(k, j, i, v, power);
        for (size_t a = 0; a < DIRECTIONS; a++, n++)
            for (size_t f = 0; f < FREQUENCIES; f++) seen[f * EACH + n] = (float)power[a][f];
    }
    for (size_t f = 0; f < FREQUENCIES; f++) /* the mean of exponential numbers */
        k->reference[f] = n ? mro_median(seen + f * EACH, n) / M_LN2 : 0;
    free(seen);
    return seen != NULL;
}

/* The least power over `reference` among the frequencies, in the direction where it is most: fringes have a frequency,
 * edges have all. */
static double least_power(const double power[DIRECTIONS][FREQUENCIES], const double reference[FREQUENCIES])
{
    double most = 0;
    for (size_t a = 0; a < DIRECTIONS; a++) {
        double least = INFINITY;
        for (size_t f = 0; f < FREQUENCIES; f++) least = fmin(least, power[a][f] / reference[f]);
        most = fmax(most, least);
    }
    return most;
}

/* Whether a step is sharp: against the speckle of the image, and against that around it, where the image may hold more
 * of it than in most places. `v`: room for the samples. */
static bool is_sharp(const struct look *k, size_t j, size_t i, float *v)
{
    enum { AROUND = 8 };
    const double upper = 2 * M_LN2; /* quartile of exponential numbers over their mean: edges are in less of them */
    double power[DIRECTIONS][FREQUENCIES], there[DIRECTIONS][FREQUENCIES], reference[FREQUENCIES];
    float seen[FREQUENCIES][AROUND * DIRECTIONS];
    size_t n = 0;
    powers_of(k, j, i, v, power);
    if (least_power(power, k->reference) < SHARP_POWER) return false;
    for (size_t r = 0; r < AROUND; r++) {
        const double angle = 2 * M_PI * (double)r / AROUND, y = (double)j + k->around[0] * sin(angle),
                     x = (double)i + k->around[1] * cos(angle);
        if (!(y >= 0 && y < (double)k->b->ny && x >= 0 && x < (double)k->b->nx)) continue;
        if (k->of[(size_t)y * k->b->nx + (size_t)x] == MRO_CONSTANT) continue;
        powers_of(k, (size_t)y, (size_t)x, v, there);
        for (size_t a = 0; a < DIRECTIONS; a++, n++)
            for (size_t f = 0; f < FREQUENCIES; f++) seen[f][n] = (float)there[a][f];
    }
    for (size_t f = 0; f < FREQUENCIES; f++)
        reference[f] = fmax(k->reference[f], n ? mro_select(seen[f], n, 3 * n / 4) / upper : 0);
    return least_power(power, reference) >= SHARP_POWER;
}

/* Marks block i and all steps that touch it, and so on, as sharp. `stack`: room for all blocks. */
static void spread(const struct mro_blocks *b, const unsigned char *steps, size_t i, unsigned char *of, size_t *stack)
{
    size_t n = 0;
    of[i] = MRO_SHARP;
    stack[n++] = i;
    while (n) {
        const size_t at = stack[--n], j = at / b->nx, x = at % b->nx;
        for (size_t l = j ? j - 1 : 0; l <= j + 1 && l < b->ny; l++)
            for (size_t k = x ? x - 1 : 0; k <= x + 1 && k < b->nx; k++)
                if (steps[l * b->nx + k] && !of[l * b->nx + k]) {
                    of[l * b->nx + k] = MRO_SHARP;
                    stack[n++] = l * b->nx + k;
                }
    }
}

/* Marks the steps that are sharp, and those connected with them. `stack`: room for all blocks. false: out of memory. */
static bool find_sharp(const struct mro_image *im, const double pixel_nm[2], const double band_inv_nm[2],
                       const struct mro_blocks *b, const unsigned char *steps, unsigned char *of, size_t *stack)
{
    const size_t n = b->ny * b->nx;
    struct look k;
    bool ready = look_new(&k, im, pixel_nm, band_inv_nm, b, of);
    float *v = malloc((2 * k.half[0] + 1) * (2 * k.half[1] + 1) * (1 + k.fine * k.fine) * sizeof *v);
    ready = ready && v && look_around(&k, steps, v);
    for (size_t i = 0; ready && i < n; i++)
        if (steps[i] && !of[i] && is_sharp(&k, i / b->nx, i % b->nx, v)) spread(b, steps, i, of, stack);
    free(k.wave);
    free(v);
    return ready;
}

/* ------------------------------------------------------------------ repair */

/* What the blocks around a blemish are on average, a Gaussian of one block's width; NaN where none is near. */
static float surroundings(const struct mro_blocks *b, const double *means, const unsigned char *of, size_t j, size_t i)
{
    double sum = 0, weight = 0;
    for (size_t l = j < FILL_BLOCKS ? 0 : j - FILL_BLOCKS; l <= j + FILL_BLOCKS && l < b->ny; l++)
        for (size_t k = i < FILL_BLOCKS ? 0 : i - FILL_BLOCKS; k <= i + FILL_BLOCKS && k < b->nx; k++) {
            if (of[l * b->nx + k] || !isfinite(means[l * b->nx + k])) continue;
            const double y = (double)l - (double)j, x = (double)k - (double)i, w = exp(-0.5 * (y * y + x * x));
            sum += w * means[l * b->nx + k];
            weight += w;
        }
    return weight > 0 ? (float)(sum / weight) : NAN;
}

/* Between which centres of blocks a pixel lies, and how far from the first. */
struct between {
    size_t first, second;
    float past;
};
static struct between between(const struct mro_blocks *b, size_t pixel, size_t blocks)
{
    const double at = fmin(fmax(((double)pixel + 0.5) / (double)b->side - 0.5, 0), (double)(blocks - 1));
    const size_t first = (size_t)at;
    return (struct between){ first, first + 1 < blocks ? first + 1 : first, (float)(at - (double)first) };
}

/* The pixels of blemishes become a smooth bridge between what is around them, and NaN in the midst of wide ones. */
static void repair(const struct mro_image *im, const double *means, struct mro_blemishes *m, float *px, float *level)
{
    const struct mro_blocks *b = &m->blocks;
    size_t lost[MRO_SHARP + 1] = { 0 };
    for (size_t i = 0; i < b->ny * b->nx; i++) level[i] = NAN;
    for (size_t j = 0; j < b->ny; j++)
        for (size_t i = 0; i < b->nx; i++) {
            if (!m->of[j * b->nx + i]) continue;
            for (size_t l = j ? j - 1 : 0; l <= j + 1 && l < b->ny; l++)
                for (size_t k = i ? i - 1 : 0; k <= i + 1 && k < b->nx; k++)
                    level[l * b->nx + k] = surroundings(b, means, m->of, l, k);
        }
    for (size_t j = 0; j < b->ny; j++)
        for (size_t i = 0; i < b->nx; i++) {
            const struct range y = pixels_of(b, j, im->ny), x = pixels_of(b, i, im->nx);
            if (!m->of[j * b->nx + i]) continue;
            lost[m->of[j * b->nx + i]] += (y.end - y.first) * (x.end - x.first);
            for (size_t l = y.first; l < y.end; l++) {
                const struct between v = between(b, l, b->ny);
                for (size_t k = x.first; k < x.end; k++) {
                    const struct between h = between(b, k, b->nx);
                    const float *up = level + v.first * b->nx, *down = level + v.second * b->nx;
                    const float above = up[h.first] + h.past * (up[h.second] - up[h.first]),
                                below = down[h.first] + h.past * (down[h.second] - down[h.first]);
                    px[l * im->nx + k] = above + v.past * (below - above);
                }
            }
        }
    m->constant = (double)lost[MRO_CONSTANT] / ((double)im->ny * (double)im->nx);
    m->sharp = (double)lost[MRO_SHARP] / ((double)im->ny * (double)im->nx);
}

enum mro_code mro_blemishes_find(const struct mro_image *im, const double pixel_nm[2], const double band_inv_nm[2],
                                 const struct mro_blocks *blocks, const double *means, size_t spikes,
                                 struct mro_blemishes *m, float **px, struct mro_error *e)
{
    const size_t n = blocks->ny * blocks->nx;
    *m = (struct mro_blemishes){ .blocks = *blocks, .of = calloc(n, 1) };
    unsigned char *steps = malloc(n);
    float *room = malloc((2 * n + SAMPLED + (blocks->ny + 2) * (blocks->nx + 2)) * sizeof *room);
    size_t *stack = malloc(n * sizeof *stack);
    bool ready = m->of && steps && room && stack;
    if (ready) find_constant(im, blocks, m->of, stack);
    if (ready && spikes > FEW_SPIKES + im->ny * im->nx / 1000000) find_hot(im, blocks, means, m->of, room);
    if (ready && find_steps(im, blocks, means, m->of, room, steps))
        ready = find_sharp(im, pixel_nm, band_inv_nm, blocks, steps, m->of, stack);
    if (ready && (memchr(m->of, MRO_CONSTANT, n) || memchr(m->of, MRO_SHARP, n))) {
        ready = mro_pixels_to_repair(im, px);
        if (ready) repair(im, means, m, *px, room);
    }
    free(steps);
    free(stack);
    free(room);
    return ready ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", im->nx, im->ny);
}

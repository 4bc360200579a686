/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/align.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/backend.h"
#include "mroscope/math/grid.h"
#include "ops/align/align_internal.h"
#include "ops/pixels.h"

/* Lengths are in pixels throughout: a frame is ny x nx "nm" for the backend. */
enum {
    GRID_MOST = 2048, /* samples a side that are correlated: finer detail than this adds noise and time */
    RING = 4,         /* width of a ring, in frequencies of the longer side */
    NEAR = 16,        /* samples each way that the peak is interpolated from */
    LEAST_COMMON = 16 /* pixels a side that the aligned frames must share */
};
#define BAND_FULL 0.38 /* cycles per sample up to which the spectrum counts in full, */
#define BAND_END 0.47  /* and where it ends: the correlation can be interpolated between its samples */
#define FADED 0.1      /* part of a side over which a frame is faded out */
#define COARSE 0.3 /* cycles per width of the background below which the light, which stays with the camera, counts */
#define MODEL_ERROR 0.03   /* part of the strongest ring's power that leaks into the others */
#define NEXT_TO_WHOLE 0.05 /* pixels by which a frame may miss the last row of the common area: mirrored there */
#define LEAST_Z 6.5        /* standard deviations of noise that a peak has to reach: one in 1e10 samples does */
#define KAISER_PEAK 9.0    /* window of the peak's interpolation */
#define GUESS_BASE 0.05    /* signal to noise that every frequency is credited with before anything is measured, */
#define MEASURED_BASE 0.003
#define MOST_COHERENCE 0.98 /* no ring outweighs all others because it is free of noise */

struct aligner {
    struct mro_device *d;
    const char *name;
    struct mro_image like;    /* of the first frame, without pixels */
    struct mro_grid g;        /* what is correlated */
    struct mro_buffer frame;  /* spectra of the frame at hand, */
    struct mro_buffer sum[2]; /* the aligned even and odd frames, */
    struct mro_buffer all;    /* both without the frame at hand, then their correlation, */
    struct mro_buffer field;  /* and that in real space */
    size_t n_rings;
    uint16_t *ring;            /* of every frequency; n_rings = beyond the band */
    double *taper;             /* the band's end, by ring */
    double *samples;           /* frequencies of each ring */
    double *power, *all_power; /* mean of each ring, of the frame and of the sum */
    double *first_power;       /* of the frame the weights were made from */
    double *weight;            /* of each ring */
    float *gain;               /* the same for every frequency */
    float *host;               /* room for a spectrum */
    float *fade[2];            /* window along y and x, */
    double *overlap[2];        /* and its circular autocorrelation */
    struct mro_frame_shift *shift;
    size_t frames, room, used;
};

/* The largest length up to n that transforms fast. */
static size_t fast_length(size_t n)
{
    for (;; n--) {
        size_t m = n;
        while (m % 2 == 0) m /= 2;
        while (m % 3 == 0) m /= 3;
        while (m % 5 == 0) m /= 5;
        if (m == 1) return n;
    }
}

static struct mro_grid grid_for(size_t ny, size_t nx)
{
    return (struct mro_grid){ fast_length(ny < GRID_MOST ? ny : GRID_MOST),
                              fast_length(nx < GRID_MOST ? nx : GRID_MOST), (double)ny, (double)nx };
}

/* Gaussian whose local mean is taken for the light, in pixels. */
static double background_of(const struct mro_grid *g) { return fmax(8, fmin(g->ly, g->lx) / 24); }

static void aligner_release(struct aligner *a)
{
    struct mro_buffer *const buffers[] = { &a->frame, &a->sum[0], &a->sum[1], &a->all, &a->field };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i]->p) a->d->ops->release(a->d, buffers[i]);
    free(a->ring);
    free(a->taper);
    free(a->gain);
    free(a->host);
    free(a->fade[0]);
    free(a->overlap[0]);
    a->ring = NULL;
    a->taper = NULL;
    a->gain = a->host = a->fade[0] = NULL;
    a->overlap[0] = NULL;
}

static enum mro_code aligner_begin(struct aligner *a, const struct mro_image *im, struct mro_error *e)
{
    if (im->ny < 32 || im->nx < 32)
        return MRO_FAIL(e, MRO_EDATA, "'%s': frames of %zu x %zu pixels are too small to align", a->name, im->nx,
                        im->ny);
    a->like = mro_align_head(im);
    a->g = grid_for(im->ny, im->nx);
    const struct mro_grid *g = &a->g;
    const size_t n = g->ny * g->nx;
    const double longest = fmax(g->ly, g->lx), width = RING / longest;
    a->n_rings = (size_t)(0.5 * sqrt(2.0) / width) + 2;
    a->ring = malloc(n * sizeof *a->ring);
    a->taper = calloc(6 * (a->n_rings + 1), sizeof *a->taper);
    a->gain = malloc(n * sizeof *a->gain);
    a->host = malloc(2 * n * sizeof *a->host);
    a->fade[0] = malloc((g->ny + g->nx) * sizeof *a->fade[0]);
    if (!a->ring || !a->taper || !a->gain || !a->host || !a->fade[0])
        return MRO_FAIL(e, MRO_EMEMORY, "no memory to align frames of %zu x %zu pixels", im->nx, im->ny);
    a->fade[1] = a->fade[0] + g->ny;
    for (int k = 0; k < 2; k++) {
        const size_t length = k ? g->nx : g->ny;
        for (size_t i = 0; i < length; i++) {
            const double t = ((double)(i < length - 1 - i ? i : length - 1 - i) + 0.5) / (FADED * (double)length);
            a->fade[k][i] = (float)(t < 1 ? 0.5 - 0.5 * cos(MRO_PI * t) : 1);
        }
    }
    a->overlap[0] = malloc((g->ny + g->nx) * sizeof *a->overlap[0]);
    if (!a->overlap[0])
        return MRO_FAIL(e, MRO_EMEMORY, "no memory to align frames of %zu x %zu pixels", im->nx, im->ny);
    a->overlap[1] = a->overlap[0] + g->ny;
    for (int k = 0; k < 2; k++) {
        const size_t length = k ? g->nx : g->ny;
        for (size_t r = 0; r < length; r++) {
            double sum = 0;
            for (size_t i = 0; i < length; i++) sum += (double)a->fade[k][i] * a->fade[k][(i + r) % length];
            a->overlap[k][r] = sum;
        }
    }
    a->samples = a->taper + a->n_rings + 1;
    a->power = a->samples + a->n_rings + 1;
    a->all_power = a->power + a->n_rings + 1;
    a->first_power = a->all_power + a->n_rings + 1;
    a->weight = a->first_power + a->n_rings + 1;
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            const double qy = mro_frequency(y, g->ny, g->ly), qx = mro_frequency(x, g->nx, g->lx);
            /* Cycles per sample along either axis end before the middle frequency. */
            const double most = fmax(fabs(qy) * g->ly / (double)g->ny, fabs(qx) * g->lx / (double)g->nx);
            const size_t k = (size_t)(sqrt(qy * qy + qx * qx) / width);
            const bool inside = most < BAND_END && k < a->n_rings && (x || y);
            a->ring[y * g->nx + x] = (uint16_t)(inside ? k : a->n_rings);
            if (inside) a->samples[k]++;
        }
    /* The taper runs over rings; what is cut off square at the corners is beyond it. */
    const double finest = fmin((double)g->ny / g->ly, (double)g->nx / g->lx); /* samples per pixel, at most 1 */
    for (size_t k = 0; k < a->n_rings; k++) {
        const double q = ((double)k + 0.5) * width / finest, t = (q - BAND_FULL) / (BAND_END - BAND_FULL);
        const double low = ((double)k + 0.5) * width * background_of(g);
        a->taper[k] = low < COARSE || t >= 1 ? 0 : t <= 0 ? 1 : 0.5 + 0.5 * cos(MRO_PI * t);
    }
    struct mro_buffer *const spectra[] = { &a->frame, &a->sum[0], &a->sum[1], &a->all };
    for (size_t i = 0; i < sizeof spectra / sizeof *spectra; i++)
        MRO_TRY(a->d->ops->alloc(a->d, spectra[i], n * sizeof(mro_c32), e));
    return a->d->ops->alloc(a->d, &a->field, n * sizeof(float), e);
}

/* Mean power of each ring of a spectrum. Rows are summed in their order, whatever the threads. */
static enum mro_code ring_power(struct aligner *a, const struct mro_buffer *spectrum, double *power,
                                struct mro_error *e)
{
    const size_t n = a->g.ny * a->g.nx;
    MRO_TRY(a->d->ops->download(a->d, a->host, spectrum, n * sizeof(mro_c32), e));
    const mro_c32 *s = (const mro_c32 *)(const void *)a->host;
    for (size_t k = 0; k <= a->n_rings; k++) power[k] = 0;
    for (size_t i = 0; i < n; i++) power[a->ring[i]] += (double)s[i].re * s[i].re + (double)s[i].im * s[i].im;
    for (size_t k = 0; k < a->n_rings; k++) power[k] = a->samples[k] > 0 ? power[k] / a->samples[k] : 0;
    power[a->n_rings] = 0;
    return MRO_OK;
}

static void use_weights(struct aligner *a)
{
    a->weight[a->n_rings] = 0;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < a->g.ny * a->g.nx; i++) a->gain[i] = (float)a->weight[a->ring[i]];
}

/* coherence / (1 - coherence^2), from the signal to noise of one frame, against the mean of m others. */
static double likelihood(double snr, double m)
{
    const double c = fmin(snr / sqrt((1 + snr) * (snr + 1 / m)), MOST_COHERENCE);
    return c / (1 - c * c);
}

/* Power of the strongest ring of enough frequencies to tell. */
static double strongest(const struct aligner *a)
{
    double most = 0;
    for (size_t k = 0; k < a->n_rings; k++)
        if (a->samples[k] >= 64 && a->taper[k] > 0) most = fmax(most, a->first_power[k]);
    return most;
}

/* Before anything is known: noise has the power of the faintest ring. */
static void guess_weights(struct aligner *a)
{
    double floor = INFINITY;
    memcpy(a->first_power, a->power, (a->n_rings + 1) * sizeof *a->power);
    for (size_t k = 1; k < a->n_rings; k++)
        if (a->samples[k] >= 64 && a->taper[k] > 0.5 && a->power[k] > 0) floor = fmin(floor, a->power[k]);
    const double error = MODEL_ERROR * strongest(a);
    for (size_t k = 0; k < a->n_rings; k++) {
        const double p = a->power[k], snr = fmax(p - floor, 0) / (floor + error) + GUESS_BASE;
        a->weight[k] = p > 0 && isfinite(floor) ? a->taper[k] * likelihood(snr, 1) / p : 0;
    }
    use_weights(a);
}

/* From what the sums of even and odd frames have in common. */
static enum mro_code measure_weights(struct aligner *a, struct mro_error *e)
{
    const size_t n = a->g.ny * a->g.nx;
    double *common = calloc(a->n_rings + 1, sizeof *common);
    enum mro_code rc = MRO_OK;
    if (common == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to align the frames of '%s'", a->name);
    rc = ring_power(a, &a->sum[0], a->power, e);
    if (rc == MRO_OK) rc = ring_power(a, &a->sum[1], a->all_power, e);
    if (rc == MRO_OK) rc = a->d->ops->correlate(a->d, &a->g, &a->sum[0], &a->sum[1], &a->all, e);
    if (rc == MRO_OK) rc = a->d->ops->download(a->d, a->host, &a->all, n * sizeof(mro_c32), e);
    if (rc) goto done;
    const mro_c32 *s = (const mro_c32 *)(const void *)a->host;
    for (size_t i = 0; i < n; i++) common[a->ring[i]] += s[i].re;
    const double error = MODEL_ERROR * strongest(a);
    const double others = fmax((double)a->used - 1, 1), half = (double)a->used / 2;
    for (size_t k = 0; k < a->n_rings; k++) {
        const double size = sqrt(a->power[k] * a->all_power[k]) * a->samples[k], p = a->first_power[k];
        const double c = size > 0 ? fmin(fmax(common[k] / size, 0), 0.999) : 0;
        const double fresh = c / (1 - c) / half, noise = p / (1 + fresh); /* of one frame */
        const double snr = (p - noise) / (noise + error) + MEASURED_BASE;
        a->weight[k] = p > 0 ? a->taper[k] * likelihood(snr, others) / p : 0;
    }
    use_weights(a);
done:
    free(common);
    return rc;
}

/* Value of the correlation at (y, x) samples, between the samples around (y0, x0); the field repeats. */
static double between(const struct aligner *a, const float *v, ptrdiff_t y0, ptrdiff_t x0, double y, double x)
{
    double wy[2 * NEAR + 1] = { 0 }, wx[2 * NEAR + 1] = { 0 }, sum = 0;
    const ptrdiff_t ny = (ptrdiff_t)a->g.ny, nx = (ptrdiff_t)a->g.nx, hy = NEAR < (ny - 1) / 2 ? NEAR : (ny - 1) / 2,
                    hx = NEAR < (nx - 1) / 2 ? NEAR : (nx - 1) / 2;
    for (ptrdiff_t i = -hy; i <= hy; i++) wy[i + hy] = mro_align_kernel(y - (double)(y0 + i), NEAR, KAISER_PEAK);
    for (ptrdiff_t i = -hx; i <= hx; i++) wx[i + hx] = mro_align_kernel(x - (double)(x0 + i), NEAR, KAISER_PEAK);
    for (ptrdiff_t j = -hy; j <= hy; j++) {
        const float *row = v + (size_t)((y0 + j + 2 * ny) % ny) * (size_t)nx;
        double line = 0;
        for (ptrdiff_t i = -hx; i <= hx; i++) line += wx[i + hx] * row[(x0 + i + 2 * nx) % nx];
        sum += wy[j + hy] * line;
    }
    return sum;
}

static double overlap_along(const struct aligner *a, int k, double r)
{
    const double n = (double)(k ? a->g.nx : a->g.ny), t = r - n * floor(r / n);
    const size_t i = (size_t)t, next = i + 1 < (size_t)n ? i + 1 : 0;
    return a->overlap[k][i] + (t - (double)i) * (a->overlap[k][next] - a->overlap[k][i]);
}

/* What of the windows of the frame at hand and of those in the sum overlaps when it lies at (y, x): the correlation of
 * equal fields falls with it, which alone would draw every peak toward the frames in the middle of the drift. */
static double overlap(const struct aligner *a, double y, double x)
{
    const double sy = (double)a->g.ny / a->g.ly, sx = (double)a->g.nx / a->g.lx;
    double sum = 0;
    for (size_t i = 0; i < a->frames; i++)
        if (a->shift[i].used)
            sum += overlap_along(a, 0, y - sy * a->shift[i].y_px) * overlap_along(a, 1, x - sx * a->shift[i].x_px);
    return sum;
}

/* The highest place of the correlation, in samples, and its height. */
static double peak(const struct aligner *a, const float *v, double at[2])
{
    const ptrdiff_t ny = (ptrdiff_t)a->g.ny, nx = (ptrdiff_t)a->g.nx;
    size_t best = 0;
    for (size_t i = 1; i < a->g.ny * a->g.nx; i++)
        if (v[i] > v[best]) best = i;
    ptrdiff_t y0 = (ptrdiff_t)(best / a->g.nx), x0 = (ptrdiff_t)(best % a->g.nx);
    if (y0 > ny / 2) y0 -= ny;
    if (x0 > nx / 2) x0 -= nx;
    at[0] = (double)y0;
    at[1] = (double)x0;
    /* A parabola through nine values around the best place so far, closer every time. */
    double height = v[best];
    for (double step = 0.5; step > 0.02; step /= 2) {
        double f[3][3];
        for (int j = 0; j < 3; j++)
            for (int i = 0; i < 3; i++)
                f[j][i] = between(a, v, y0, x0, at[0] + (j - 1) * step, at[1] + (i - 1) * step) /
                          overlap(a, at[0] + (j - 1) * step, at[1] + (i - 1) * step);
        const double gy = (f[2][1] - f[0][1]) / 2, gx = (f[1][2] - f[1][0]) / 2;
        const double hyy = f[2][1] + f[0][1] - 2 * f[1][1], hxx = f[1][2] + f[1][0] - 2 * f[1][1];
        const double hyx = (f[2][2] + f[0][0] - f[2][0] - f[0][2]) / 4, det = hyy * hxx - hyx * hyx;
        if (!(det > 0 && hyy < 0)) continue;
        const double dy = -(hxx * gy - hyx * gx) / det, dx = -(hyy * gx - hyx * gy) / det;
        at[0] = fmin(fmax(at[0] + fmin(fmax(dy, -1), 1) * step, (double)y0 - 1), (double)y0 + 1);
        at[1] = fmin(fmax(at[1] + fmin(fmax(dx, -1), 1) * step, (double)x0 - 1), (double)x0 + 1);
        height = f[1][1] * overlap(a, at[0], at[1]);
    }
    return fmax(height, v[best]);
}

/* Finds the frame at hand against a->all (whose ring powers are known) and says how sure that is. a->all is used up. */
static enum mro_code locate(struct aligner *a, double move[2], double *correlation, double *z, struct mro_error *e)
{
    const struct mro_backend *ops = a->d->ops;
    const size_t n = a->g.ny * a->g.nx;
    double mine = 0, theirs = 0, noise = 0, at[2];
    MRO_TRY(ops->correlate(a->d, &a->g, &a->frame, &a->all, &a->all, e));
    MRO_TRY(ops->multiply(a->d, &a->g, &a->all, a->gain, e));
    MRO_TRY(ops->inverse(a->d, &a->g, &a->all, &a->field, e));
    MRO_TRY(ops->download(a->d, a->host, &a->field, n * sizeof(float), e));
    for (size_t k = 0; k < a->n_rings; k++) {
        const double w = a->weight[k], m = a->samples[k];
        mine += m * w * a->power[k];
        theirs += m * w * a->all_power[k];
        noise += m * w * w * a->power[k] * a->all_power[k];
    }
    const double height = peak(a, a->host, at) * sqrt((double)n); /* undoes the unitary scale of the transform */
    *correlation = mine > 0 && theirs > 0 ? height / sqrt(mine * theirs) : 0;
    *z = noise > 0 ? height / sqrt(noise) : 0;
    move[0] = at[0] * a->g.ly / (double)a->g.ny;
    move[1] = at[1] * a->g.lx / (double)a->g.nx;
    return MRO_OK;
}

/* Adds the frame at hand to the sum of its parity, moved back to where the first frame is; weight -1 takes it out. */
static enum mro_code add_frame(struct aligner *a, size_t i, double weight, struct mro_error *e)
{
    const double back[2] = { -a->shift[i].y_px, -a->shift[i].x_px };
    return a->d->ops->add_moved(a->d, &a->g, &a->frame, back, weight, &a->sum[i % 2], e);
}

static enum mro_code clear(struct aligner *a, struct mro_buffer *spectrum, struct mro_error *e)
{
    const size_t n = a->g.ny * a->g.nx;
    memset(a->host, 0, n * sizeof(mro_c32));
    return a->d->ops->upload(a->d, spectrum, a->host, n * sizeof(mro_c32), e);
}

/* a->all = both sums, and its ring powers. */
static enum mro_code join_sums(struct aligner *a, struct mro_error *e)
{
    static const double here[2] = { 0, 0 };
    MRO_TRY(clear(a, &a->all, e));
    for (int i = 0; i < 2; i++) MRO_TRY(a->d->ops->add_moved(a->d, &a->g, &a->sum[i], here, 1, &a->all, e));
    return ring_power(a, &a->all, a->all_power, e);
}

static enum mro_code remember(struct aligner *a, size_t frame, struct mro_error *e)
{
    if (a->frames == a->room) {
        const size_t more = a->room ? 2 * a->room : 64;
        struct mro_frame_shift *grown = realloc(a->shift, more * sizeof *grown);
        if (grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory for the shifts of the frames of '%s'", a->name);
        a->shift = grown;
        a->room = more;
    }
    a->shift[a->frames++] = (struct mro_frame_shift){ frame, 0, 0, NAN, false };
    return MRO_OK;
}

static enum mro_code spectrum_of(struct aligner *a, const struct mro_image *im, struct mro_error *e)
{
    static const double pixel[2] = { 1, 1 };
    const size_t n = a->g.ny * a->g.nx;
    MRO_TRY(mro_pixels_in_range(im, a->name, e));
    MRO_TRY(a->d->ops->contrast_spectrum(a->d, im->px, im->ny, im->nx, pixel, background_of(&a->g), &a->g, &a->frame,
                                         NULL, NULL, e));
    /* Faded out at the borders: what is cut there stays with the camera and would draw the peak to zero. */
    MRO_TRY(a->d->ops->inverse(a->d, &a->g, &a->frame, &a->field, e));
    MRO_TRY(a->d->ops->download(a->d, a->host, &a->field, n * sizeof(float), e));
#pragma omp parallel for schedule(static)
    for (size_t y = 0; y < a->g.ny; y++)
        for (size_t x = 0; x < a->g.nx; x++) a->host[y * a->g.nx + x] *= a->fade[0][y] * a->fade[1][x];
    MRO_TRY(a->d->ops->upload(a->d, &a->field, a->host, n * sizeof(float), e));
    MRO_TRY(a->d->ops->forward(a->d, &a->g, &a->field, &a->frame, e));
    return ring_power(a, &a->frame, a->power, e);
}

static bool shows_nothing(const struct aligner *a)
{
    for (size_t k = 0; k < a->n_rings; k++)
        if (a->power[k] > 1e-12) return false;
    return true;
}

/* First round: each against the sum of those before it. */
static enum mro_code first_look(struct aligner *a, const struct mro_image *im, size_t frame, struct mro_error *e)
{
    double move[2], z;
    if (a->frames == 0)
        MRO_TRY(aligner_begin(a, im, e));
    else
        MRO_TRY(mro_align_check_shape(im, a->like.ny, a->like.nx, a->name, frame, e));
    MRO_TRY(remember(a, frame, e));
    const size_t i = a->frames - 1;
    struct mro_frame_shift *s = &a->shift[i];
    MRO_TRY(spectrum_of(a, im, e));
    if (shows_nothing(a)) return MRO_OK;
    if (a->used > 0) {
        MRO_TRY(join_sums(a, e));
        MRO_TRY(locate(a, move, &s->correlation, &z, e));
        if (z >= LEAST_Z) {
            s->y_px = move[0];
            s->x_px = move[1];
            s->used = true;
            a->used++;
            return add_frame(a, i, 1, e);
        }
        if (a->used > 1) return MRO_OK;
        /* A single frame that nothing agrees with may be the odd one: the next begins anew. */
        for (size_t k = 0; k < i; k++) a->shift[k].used = false;
        a->used = 0;
    }
    for (int k = 0; k < 2; k++) MRO_TRY(clear(a, &a->sum[k], e));
    guess_weights(a);
    s->used = true;
    a->used = 1;
    return add_frame(a, i, 1, e);
}

/* Second round: each against the sum of all others. */
static enum mro_code second_look(struct aligner *a, const struct mro_image *im, size_t i, struct mro_error *e)
{
    struct mro_frame_shift *s = &a->shift[i];
    double move[2], z;
    MRO_TRY(spectrum_of(a, im, e));
    if (shows_nothing(a)) return MRO_OK;
    if (s->used) {
        MRO_TRY(add_frame(a, i, -1, e));
        a->used--;
        s->used = false;
    }
    if (a->used == 0) return MRO_OK;
    MRO_TRY(join_sums(a, e));
    MRO_TRY(locate(a, move, &s->correlation, &z, e));
    if (z < LEAST_Z) return MRO_OK;
    s->y_px = move[0];
    s->x_px = move[1];
    s->used = true;
    a->used++;
    return add_frame(a, i, 1, e);
}

/* ------------------------------------------------------------------ all of it */

/* The rectangle that all frames used show, in pixels of the first. */
static enum mro_code common_area(const struct aligner *a, size_t origin[2], size_t size[2], struct mro_error *e)
{
    double low[2] = { INFINITY, INFINITY }, high[2] = { -INFINITY, -INFINITY };
    for (size_t i = 0; i < a->frames; i++) {
        if (!a->shift[i].used) continue;
        const double s[2] = { a->shift[i].y_px, a->shift[i].x_px };
        for (int k = 0; k < 2; k++) {
            low[k] = fmin(low[k], s[k]);
            high[k] = fmax(high[k], s[k]);
        }
    }
    for (int k = 0; k < 2; k++) {
        /* Pixel p is at p + s of a frame, which must lie between its first and last pixel. */
        const double last = (double)(k ? a->like.nx : a->like.ny) - 1;
        const double first = ceil(fmax(0, -low[k]) - NEXT_TO_WHOLE),
                     end = floor(last - fmax(0, high[k]) + NEXT_TO_WHOLE);
        if (!(end - first + 1 >= LEAST_COMMON))
            return MRO_FAIL(
                e, MRO_EDATA,
                "the frames of '%s' drift by up to %.0f pixels, so that they share no area to speak of; take "
                "fewer of them (`frames`)",
                a->name, high[k] - low[k]);
        origin[k] = (size_t)first;
        size[k] = (size_t)(end - first + 1);
    }
    return MRO_OK;
}

enum mro_code mro_frames_align(struct mro_device *d, const struct mro_frames *frames, const char *name,
                               struct mro_reduced *r, struct mro_error *e)
{
    struct aligner a = { .d = d, .name = name };
    struct mro_total t = { 0 };
    const struct mro_image *im;
    size_t frame, size[2], i;
    memset(r, 0, sizeof *r);
    enum mro_code rc = frames->rewind(frames->context, e);
    while (rc == MRO_OK && (rc = frames->next(frames->context, &im, &frame, e)) == MRO_OK && im)
        rc = first_look(&a, im, frame, e);
    if (rc == MRO_OK && a.frames == 0) rc = mro_align_no_frames(name, e);
    if (rc == MRO_OK && a.frames > 1 && a.used > 1) {
        rc = measure_weights(&a, e);
        if (rc == MRO_OK) rc = frames->rewind(frames->context, e);
        for (i = 0; rc == MRO_OK && (rc = frames->next(frames->context, &im, &frame, e)) == MRO_OK && im; i++)
            rc = second_look(&a, im, i, e);
    }
    if (rc == MRO_OK && a.used < 2 && a.frames > 1)
        rc = MRO_FAIL(e, MRO_EDATA,
                      "no two frames of '%s' show the same detail above their noise, so they cannot be aligned; take "
                      "their plain mean (`reduce=mean`)",
                      name);
    if (rc == MRO_OK && a.frames == 1) a.shift[0].used = true, a.shift[0].correlation = 1, a.used = 1;
    aligner_release(&a); /* its memory is what the sum needs now */
    if (rc) goto done;

    for (i = 0; !a.shift[i].used;) i++;
    const double origin[2] = { a.shift[i].y_px, a.shift[i].x_px };
    for (i = 0; i < a.frames; i++) {
        a.shift[i].y_px = a.shift[i].used ? a.shift[i].y_px - origin[0] : NAN;
        a.shift[i].x_px = a.shift[i].used ? a.shift[i].x_px - origin[1] : NAN;
    }
    if ((rc = common_area(&a, r->crop_px, size, e)) != MRO_OK ||
        (rc = mro_total_new(&t, size[0], size[1], e)) != MRO_OK || (rc = frames->rewind(frames->context, e)) != MRO_OK)
        goto done;
    for (i = 0; (rc = frames->next(frames->context, &im, &frame, e)) == MRO_OK && im && i < a.frames; i++) {
        const double from[2] = { (double)r->crop_px[0] + a.shift[i].y_px, (double)r->crop_px[1] + a.shift[i].x_px };
        if (a.shift[i].used && (rc = mro_total_add_shifted(&t, im, from, e)) != MRO_OK) goto done;
    }
    if (rc) goto done;
    rc = mro_total_mean(&t, &a.like, &r->image, e);
    if (rc) goto done;
    for (int k = 0; k < 2; k++) r->image.axis[k].offset += (double)r->crop_px[k] * r->image.axis[k].step;
    r->frames = a.frames;
    r->used = a.used;
    r->shift = a.shift;
    a.shift = NULL;
done:
    aligner_release(&a);
    mro_total_release(&t);
    free(a.shift);
    if (rc) mro_reduced_release(r);
    return rc;
}

size_t mro_frames_align_bytes(size_t ny, size_t nx)
{
    const struct mro_grid g = grid_for(ny, nx);
    const size_t n = g.ny * g.nx, image = ny * nx;
    /* Four spectra, their copy on the host, the transforms' own, the field, gains and rings; the half plane of a frame.
     */
    const size_t correlating =
        n * (4 + 1 + 1) * sizeof(mro_c32) + n * (2 * sizeof(float) + sizeof(uint16_t)) + image / 2 * sizeof(mro_c32);
    const size_t summing = mro_frames_mean_bytes(ny, nx);
    return correlating > summing ? correlating : summing;
}

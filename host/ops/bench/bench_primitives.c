/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/bench/bench_primitives.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/math/philox.h"
#include "ops/bench/bench.h"
#include "ops/mro/mro_internal.h"

#define ACF_WINDOW_NM 2.5
#define TILES 6
#define TILE_LAGS 81
#define TILE_STEP_NM 0.025
#define COUNT_BINS 4096
#define WAVE_POINTS 160
#define COUNT_BLOCK 64

/* A number without a pattern, the same on every machine. */
static float normal_at(size_t i)
{
    const mro_philox_block r = mro_philox(MRO_BENCH_SEED, 6, i);
    return mro_normal_pair(r.v[0], r.v[1]).re;
}

void mro_bed_free(struct mro_bed *b)
{
    struct mro_buffer *all[] = {
        &b->spectrum, &b->field, &b->complex_out, &b->plane_out, &b->cells_out, &b->which_out
    };
    for (size_t i = 0; b->d && i < sizeof all / sizeof *all; i++) b->d->ops->release(b->d, all[i]);
    free(b->gain);
    free(b->filtered);
    free(b->start);
    free(b->patches);
    free(b->at);
    free(b->tiles);
    free(b->fringes);
    free(b->plane);
    free(b->counted);
    memset(b, 0, sizeof *b);
}

enum mro_code mro_bed_make(struct mro_bed *b, struct mro_device *d, const struct mro_image *im,
                           const struct mro_order_plan *plan, struct mro_error *e)
{
    memset(b, 0, sizeof *b);
    MRO_TRY(mro_image_pixel_nm(im, "the image", b->pixel, e));
    b->d = d;
    b->im = im;
    b->plan = plan;

    mro_order_grids(im, b->pixel, &b->grid, &b->cells);
    const size_t n = mro_bed_samples(&b->grid), across = (size_t)(b->grid.lx / 3), down = (size_t)(b->grid.ly / 3);
    b->n_patches = across * down;
    b->n_tiles = b->n_patches < TILES ? b->n_patches : TILES;
    b->gain = malloc(n * sizeof *b->gain);
    b->filtered = malloc(im->ny * im->nx * sizeof *b->filtered);
    b->start = calloc(b->n_patches + 1, sizeof *b->start);
    b->patches = calloc(b->n_patches + 1, sizeof *b->patches);
    b->at = calloc(b->n_patches + 1, sizeof *b->at);
    b->tiles = malloc((b->n_tiles * TILE_LAGS * TILE_LAGS + 1) * sizeof *b->tiles);
    b->fringes = malloc((b->n_patches + 1) * sizeof *b->fringes);
    b->plane = malloc(n * sizeof *b->plane);
    b->counted =
        malloc((2 * COUNT_BINS + 2 * (n / (COUNT_BLOCK * COUNT_BLOCK) + b->grid.ny + b->grid.nx)) * sizeof *b->counted);
    for (size_t i = 0; b->plane && i < n; i++) b->plane[i] = normal_at(i);
    enum mro_code rc = MRO_OK;
    if (!b->gain || !b->filtered || !b->start || !b->patches || !b->at || !b->tiles || !b->fringes || !b->plane ||
        !b->counted)
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    /* About 1, so that a spectrum multiplied many times keeps its size. */
    for (size_t i = 0; rc == MRO_OK && i < n; i++)
        b->gain[i] = 0.9f + 0.2f * mro_uniform_open(mro_philox(MRO_BENCH_SEED, 4, i).v[0]);
    for (size_t i = 0; rc == MRO_OK && i < b->n_patches; i++) {
        const double azimuth = 0.1 * (double)i, q = 1 / plan->o.d_nm;
        b->start[i] = (struct mro_patch){ .y_nm = 3 * ((double)(i / across) + 0.5),
                                          .x_nm = 3 * ((double)(i % across) + 0.5),
                                          .gy = q * sin(azimuth),
                                          .gx = q * cos(azimuth) };
        b->at[i][0] = b->start[i].y_nm;
        b->at[i][1] = b->start[i].x_nm;
    }
    const size_t room[] = { n * sizeof(mro_c32),
                            n * sizeof(float),
                            n * sizeof(mro_c32),
                            n * sizeof(float),
                            mro_bed_samples(&b->cells) * sizeof(float),
                            mro_bed_samples(&b->cells) * sizeof(int32_t) };
    struct mro_buffer *all[] = {
        &b->spectrum, &b->field, &b->complex_out, &b->plane_out, &b->cells_out, &b->which_out
    };
    for (size_t i = 0; rc == MRO_OK && i < sizeof all / sizeof *all; i++) rc = d->ops->alloc(d, all[i], room[i], e);
    if (rc) mro_bed_free(b);
    return rc;
}

/* Each calls one primitive: reads spectrum, field or image, writes one output. */
enum mro_code mro_bed_contrast(struct mro_bed *b, int k, struct mro_error *e)
{
    size_t spikes = 0;
    (void)k;
    return b->d->ops->contrast_spectrum(b->d, b->im->px, b->im->ny, b->im->nx, b->pixel, BACKGROUND_NM, &b->grid,
                                        &b->complex_out, &spikes, NULL, e);
}

static enum mro_code call_local_power(struct mro_bed *b, int k, struct mro_error *e)
{
    const double *band = b->plan->o.band_inv_nm;
    (void)k;
    return b->d->ops->local_power(b->d, &b->grid, &b->spectrum, NULL, WHITEN_RADIUS, band[0] - BAND_EDGE,
                                  band[1] + BAND_EDGE, &b->plane_out, e);
}

static enum mro_code call_multiply(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->multiply(b->d, &b->grid, &b->complex_out, b->gain, e);
}

static enum mro_code call_noise(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->noise_spectrum(b->d, &b->grid, MRO_BENCH_SEED, 5, b->plan->o.band_inv_nm, BAND_EDGE,
                                     &b->complex_out, e);
}

static enum mro_code call_inverse(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->inverse(b->d, &b->grid, &b->spectrum, &b->plane_out, e);
}

static enum mro_code call_forward(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->forward(b->d, &b->grid, &b->field, &b->complex_out, e);
}

static enum mro_code call_correlate(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->correlate(b->d, &b->grid, &b->spectrum, &b->spectrum, &b->complex_out, e);
}

/* It adds, so that there must be something known before. */
static enum mro_code call_add_moved(struct mro_bed *b, int k, struct mro_error *e)
{
    static const double move_nm[2] = { 0.123, -0.456 };
    MRO_TRY(call_correlate(b, k, e));
    return b->d->ops->add_moved(b->d, &b->grid, &b->spectrum, move_nm, 0.5, &b->complex_out, e);
}

static enum mro_code call_mean_square(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->local_mean_square(b->d, &b->grid, &b->field, GAIN_S_NM, &b->cells, &b->cells_out, e);
}

static enum mro_code call_bank(struct mro_bed *b, int k, struct mro_error *e)
{
    const struct mro_order_plan *p = b->plan;
    const struct mro_bank bank = { .window_s_nm = p->window_s_nm[k],
                                   .band_inv_nm = { p->o.band_inv_nm[0], p->o.band_inv_nm[1] },
                                   .edge_inv_nm = BAND_EDGE,
                                   .g = (const double(*)[2])p->g[k],
                                   .n_g = p->n_g[k] };
    return b->d->ops->bank_maximum(b->d, &b->grid, &b->spectrum, &bank, &b->cells, &b->cells_out, &b->which_out, e);
}

static enum mro_code call_refine(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    memcpy(b->patches, b->start, b->n_patches * sizeof *b->patches);
    return b->d->ops->refine_patches(b->d, &b->grid, &b->field, &b->plan->search, b->patches, b->n_patches, e);
}

static enum mro_code call_acf(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->windowed_acf(b->d, &b->grid, &b->field, ACF_WINDOW_NM, (const double(*)[2])b->at, b->n_tiles,
                                   TILE_LAGS, TILE_STEP_NM, b->tiles, e);
}

/* A window of the middle, as large as one that holds a crystal of 10 nm. */
static struct mro_window middle_of(const struct mro_bed *b)
{
    const struct mro_grid *of = &b->grid;
    const size_t ny = of->ny / 2 < WAVE_POINTS ? of->ny / 2 : WAVE_POINTS,
                 nx = of->nx / 2 < WAVE_POINTS ? of->nx / 2 : WAVE_POINTS;
    return (struct mro_window){ (of->ny - ny) / 2, (of->nx - nx) / 2, ny, nx };
}

static enum mro_code demodulate_middle(struct mro_bed *b, struct mro_buffer *h, struct mro_buffer *slope,
                                       struct mro_error *e)
{
    const double g[2] = { 1.9, 4.5 };
    const struct mro_window middle = middle_of(b);
    return b->d->ops->demodulate(b->d, &b->grid, &b->field, g, 0.4, &b->grid, &middle, h, slope, e);
}

static enum mro_code call_demodulate(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return demodulate_middle(b, &b->complex_out, NULL, e);
}

static enum mro_code call_phase_slope(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return demodulate_middle(b, &b->plane_out, &b->complex_out, e);
}

static enum mro_code call_fringes(struct mro_bed *b, int k, struct mro_error *e)
{
    const double d = b->plan->o.d_nm, range[2] = { 0.95 * d, 1.05 * d };
    (void)k;
    return b->d->ops->acf_fringes(b->d, &b->grid, &b->field, ACF_WINDOW_NM, range, (const double(*)[2])b->at,
                                  b->n_patches, b->fringes, e);
}

static enum mro_code call_bandpass(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->bandpass(b->d, b->im->px, b->im->ny, b->im->nx, b->pixel, b->plan->o.band_inv_nm, BAND_EDGE,
                               b->filtered, e);
}

static enum mro_code call_block_sums(struct mro_bed *b, int k, struct mro_error *e)
{
    const size_t block[2] = { COUNT_BLOCK, COUNT_BLOCK };
    const size_t n = ((b->grid.ny - 1) / COUNT_BLOCK + 1) * ((b->grid.nx - 1) / COUNT_BLOCK + 1);
    double *sum = malloc(2 * n * sizeof *sum);
    (void)k;
    if (sum == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    const enum mro_code rc = b->d->ops->block_sums(b->d, &b->field, b->grid.ny, b->grid.nx, block, sum, sum + n, e);
    b->n_counted = rc ? 0 : 2 * n;
    for (size_t i = 0; i < b->n_counted; i++) b->counted[i] = (float)sum[i];
    free(sum);
    return rc;
}

static enum mro_code call_divide(struct mro_bed *b, int k, struct mro_error *e)
{
    static const double c[] = { 1000, 20, 30, -10, 50, 12, 5, -40, 8, 15 }; /* of degree 3 */
    const size_t block[2] = { COUNT_BLOCK, COUNT_BLOCK };
    float lowest;
    (void)k;
    MRO_TRY(b->d->ops->upload(b->d, &b->plane_out, b->plane, mro_bed_samples(&b->grid) * sizeof *b->plane, e));
    return b->d->ops->divide_polynomial(b->d, &b->plane_out, b->grid.ny, b->grid.nx, 3, 3, c, block, NULL, &lowest, e);
}

static enum mro_code call_histogram(struct mro_bed *b, int k, struct mro_error *e)
{
    uint32_t counts[COUNT_BINS];
    (void)k;
    MRO_TRY(b->d->ops->upload(b->d, &b->plane_out, b->plane, mro_bed_samples(&b->grid) * sizeof *b->plane, e));
    MRO_TRY(b->d->ops->histogram(b->d, &b->plane_out, NULL, mro_bed_samples(&b->grid), -4, 8.0f / COUNT_BINS,
                                 COUNT_BINS, counts, e));
    b->n_counted = COUNT_BINS;
    for (size_t i = 0; i < COUNT_BINS; i++) b->counted[i] = (float)counts[i];
    return MRO_OK;
}

static enum mro_code call_regions(struct mro_bed *b, int k, struct mro_error *e)
{
    struct mro_region_sums sums;
    (void)k;
    MRO_TRY(b->d->ops->upload(b->d, &b->plane_out, b->plane, mro_bed_samples(&b->grid) * sizeof *b->plane, e));
    MRO_TRY(b->d->ops->regions(b->d, &b->plane_out, NULL, b->grid.ny, b->grid.nx, 0.1f, true, 2, &sums, e));
    b->n_counted = 2;
    b->counted[0] = (float)sums.count;
    b->counted[1] = (float)sums.samples;
    return MRO_OK;
}

/* The diagonal, five samples wide. */
static enum mro_code call_strip(struct mro_bed *b, int k, struct mro_error *e)
{
    const double py = b->grid.ly / (double)b->grid.ny, px = b->grid.lx / (double)b->grid.nx;
    const double length = hypot(b->grid.ly, b->grid.lx);
    struct mro_strip s = { .ux = b->grid.lx / length,
                           .uy = b->grid.ly / length,
                           .step = (py + px) / sqrt(2),
                           .width = 5 * px,
                           .pixel_y = py,
                           .pixel_x = px };
    (void)k;
    s.bins = (size_t)(length / s.step);
    double *sums = malloc(2 * s.bins * sizeof *sums);
    if (sums == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    const enum mro_code rc =
        b->d->ops->strip_sums(b->d, &b->field, 1, b->grid.ny, b->grid.nx, &s, sums, sums + s.bins, e);
    b->n_counted = rc ? 0 : 2 * s.bins;
    for (size_t i = 0; i < b->n_counted; i++) b->counted[i] = (float)sums[i];
    free(sums);
    return rc;
}

static enum mro_code call_upload(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->upload(b->d, &b->plane_out, b->plane, mro_bed_samples(&b->grid) * sizeof *b->plane, e);
}

static enum mro_code call_download(struct mro_bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->download(b->d, b->filtered, &b->field, mro_bed_samples(&b->grid) * sizeof *b->filtered, e);
}

const struct mro_bench_primitive mro_bench_primitives[MRO_BENCH_PRIMITIVES] = {
    { "upload of a field", call_upload, 0, BENCH_PLANE },
    { "contrast spectrum", mro_bed_contrast, 0, BENCH_COMPLEX },
    { "local power", call_local_power, 0, BENCH_PLANE },
    { "whitening", call_multiply, 0, BENCH_COMPLEX },
    { "noise spectrum", call_noise, 0, BENCH_COMPLEX },
    { "inverse transform", call_inverse, 0, BENCH_PLANE },
    { "forward transform", call_forward, 0, BENCH_COMPLEX },
    { "correlation", call_correlate, 0, BENCH_COMPLEX },
    { "correlation, moved sum", call_add_moved, 0, BENCH_COMPLEX },
    { "fringes, demodulated", call_demodulate, 0, BENCH_WINDOW },
    { "fringes, slope of phase", call_phase_slope, 0, BENCH_SLOPES },
    { "local gain", call_mean_square, 0, BENCH_CELLS },
    { "bank, window 1", call_bank, 0, BENCH_BANK },
    { "bank, window 2", call_bank, 1, BENCH_BANK },
    { "bank, window 3", call_bank, 2, BENCH_BANK },
    { "refine patches", call_refine, 0, BENCH_PATCHES },
    { "autocorrelations shown", call_acf, 0, BENCH_TILED },
    { "autocorrelation scores", call_fringes, 0, BENCH_FRINGES },
    { "band-pass of the image", call_bandpass, 0, BENCH_IMAGE },
    { "download of a field", call_download, 0, BENCH_IMAGE }, /* over the first of what the band-pass wrote */
    { "sums of blocks", call_block_sums, 0, BENCH_COUNTED },
    { "background division", call_divide, 0, BENCH_PLANE },
    { "histogram", call_histogram, 0, BENCH_COUNTED },
    { "regions", call_regions, 0, BENCH_COUNTED },
    { "sums along a line", call_strip, 0, BENCH_COUNTED },
};
static const struct mro_buffer *output_of(const struct mro_bed *b, enum mro_bench_output o, size_t *floats)
{
    *floats =
        o <= BENCH_SLOPES ? 2 * mro_bed_samples(&b->grid) : mro_bed_samples(o == BENCH_PLANE ? &b->grid : &b->cells);
    return o <= BENCH_SLOPES ? &b->complex_out : o == BENCH_PLANE ? &b->plane_out : &b->cells_out;
}

enum mro_code mro_bed_settle(struct mro_bed *b, enum mro_bench_output o, struct mro_error *e)
{
    float one;
    size_t n;
    if (o >= BENCH_PATCHES) return MRO_OK;
    return b->d->ops->download(b->d, &one, output_of(b, o, &n), sizeof one, e);
}

/* Slopes times the power of their fringes: where those fade nothing tells the phase, and rounding makes any slope. */
static enum mro_code weigh_slopes(struct mro_bed *b, float *slope, size_t points, struct mro_error *e)
{
    mro_c32 *h = malloc(points * sizeof *h);
    if (h == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    const enum mro_code rc = b->d->ops->download(b->d, h, &b->plane_out, points * sizeof *h, e);
    for (size_t i = 0; rc == MRO_OK && i < points; i++) {
        const float power = h[i].re * h[i].re + h[i].im * h[i].im;
        slope[i] *= power;
        slope[points + i] *= power;
    }
    free(h);
    return rc;
}

enum mro_code mro_bed_collect(struct mro_bed *b, enum mro_bench_output o, float **v, size_t *n, struct mro_error *e)
{
    const size_t cells = mro_bed_samples(&b->cells), per_patch = 6;
    const struct mro_window middle = middle_of(b);
    const struct mro_buffer *from = output_of(b, o, n);
    const float *host = o == BENCH_IMAGE     ? b->filtered
                        : o == BENCH_TILED   ? b->tiles
                        : o == BENCH_COUNTED ? b->counted
                                             : b->fringes;
    if (o == BENCH_SLOPES) *n = 2 * middle.ny * middle.nx;
    if (o == BENCH_IMAGE) *n = b->im->ny * b->im->nx;
    if (o == BENCH_TILED) *n = b->n_tiles * TILE_LAGS * TILE_LAGS;
    if (o == BENCH_FRINGES) *n = b->n_patches;
    if (o == BENCH_COUNTED) *n = b->n_counted;
    if (o == BENCH_PATCHES) *n = per_patch * b->n_patches;
    *v = malloc((*n + cells) * sizeof **v);
    if (*v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    if (o > BENCH_PATCHES) {
        memcpy(*v, host, *n * sizeof **v);
        return MRO_OK;
    }
    for (size_t i = 0; o == BENCH_PATCHES && i < b->n_patches; i++) {
        const struct mro_patch *p = b->patches + i;
        float *f = *v + per_patch * i;
        /* Powers of other sizes are no maximum: they change with every step of the climb. */
        const double at[] = { p->y_nm, p->x_nm, p->gy, p->gx, p->second_power, p->power[p->best] };
        for (size_t k = 0; k < per_patch; k++) f[k] = (float)at[k];
    }
    enum mro_code rc = o == BENCH_PATCHES ? MRO_OK : b->d->ops->download(b->d, *v, from, *n * sizeof **v, e);
    if (rc == MRO_OK && o == BENCH_SLOPES) rc = weigh_slopes(b, *v, middle.ny * middle.nx, e);
    if (rc == MRO_OK && o == BENCH_BANK) {
        int32_t *which = malloc(cells * sizeof *which);
        if (which == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        if (rc == MRO_OK) rc = b->d->ops->download(b->d, which, &b->which_out, cells * sizeof *which, e);
        for (size_t i = 0; rc == MRO_OK && i < cells; i++) (*v)[cells + i] = (float)which[i];
        free(which);
    }
    if (rc) {
        free(*v);
        *v = NULL;
    }
    return rc;
}

enum mro_code mro_bed_inputs(struct mro_bed *from, struct mro_bed *to, struct mro_error *e)
{
    const size_t n = mro_bed_samples(&from->grid);
    struct mro_buffer field = { 0 };
    mro_c32 *host = malloc(n * sizeof *host);
    if (host == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    enum mro_code rc = mro_bed_contrast(from, 0, e);
    if (rc == MRO_OK) rc = from->d->ops->download(from->d, host, &from->complex_out, n * sizeof *host, e);
    if (rc == MRO_OK) rc = to->d->ops->upload(to->d, &to->spectrum, host, n * sizeof *host, e);
    if (rc == MRO_OK) rc = to->d->ops->upload(to->d, &to->complex_out, host, n * sizeof *host, e);
    if (rc == MRO_OK) rc = from->d->ops->alloc(from->d, &field, n * sizeof(float), e);
    if (rc == MRO_OK) rc = from->d->ops->inverse(from->d, &from->grid, &from->complex_out, &field, e);
    if (rc == MRO_OK) rc = from->d->ops->download(from->d, host, &field, n * sizeof(float), e);
    if (rc == MRO_OK) rc = to->d->ops->upload(to->d, &to->field, host, n * sizeof(float), e);
    from->d->ops->release(from->d, &field);
    free(host);
    return rc;
}

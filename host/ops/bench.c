/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/bench.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "mroscope/math/patch.h"
#include "mroscope/math/philox.h"
#include "ops/ctf.h"
#include "ops/meter.h"
#include "ops/mro_internal.h"

#define PROVE_PIXELS 512
#define PLANTED_PIXELS 1536
#define TOLERANCE 1e-4       /* between backends; float32 sums in another order differ by less */
#define CLIMB_TOLERANCE 2e-3 /* a climb ends within a hundredth of its last step */
#define ACF_WINDOW_NM 2.5
#define TILES 6
#define TILE_LAGS 81
#define TILE_STEP_NM 0.025
#define COUNT_BINS 4096
#define WAVE_POINTS 160
#define COUNT_BLOCK 64

void mro_bench_add(struct mro_bench *b, const char *name, double *seconds, int runs, double pixels,
                   const struct mro_work *work)
{
    if (b->stages == MRO_BENCH_ROWS) return;
    struct mro_bench_stage *s = b->stage + b->stages++;
    gsl_sort(seconds, 1, (size_t)runs);
    const double median = 0.5 * (seconds[(runs - 1) / 2] + seconds[runs / 2]);
    *s = (struct mro_bench_stage){ .ms = 1e3 * median, .pixels = pixels, .bytes = work ? work->bytes : 0 };
    if (work && b->rates.flops > 0) s->floor_ms = 1e3 * mro_floor_s(work, &b->rates);
    snprintf(s->name, sizeof s->name, "%s", name);
}

/* ------------------------------------------------------------------ primitives */

/* One image on one device, with what the primitives read and where they write. */
struct bed {
    struct mro_device *d;
    const struct mro_image *im;
    struct mro_grid grid, cells;
    const struct mro_order_plan *plan;
    double pixel[2];
    struct mro_buffer spectrum, field;                              /* read */
    struct mro_buffer complex_out, plane_out, cells_out, which_out; /* written */
    float *gain;                                                    /* host, grid */
    float *filtered;                                                /* host, image */
    struct mro_patch *start, *patches;                              /* host */
    double (*at)[2];                                                /* host: their places */
    float *tiles, *fringes;                                         /* host */
    float *plane;                                                   /* host: the field, to be divided */
    float *counted;                                                 /* host: sums and counts */
    size_t n_counted;
    size_t n_patches, n_tiles;
};

/* A number without a pattern, the same on every machine. */
static float normal_at(size_t i)
{
    const mro_philox_block r = mro_philox(MRO_BENCH_SEED, 6, i);
    return mro_normal_pair(r.v[0], r.v[1]).re;
}

static size_t samples(const struct mro_grid *g) { return g->ny * g->nx; }

static void bed_free(struct bed *b)
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

static enum mro_code bed_make(struct bed *b, struct mro_device *d, const struct mro_image *im,
                              const struct mro_order_plan *plan, struct mro_error *e)
{
    memset(b, 0, sizeof *b);
    MRO_TRY(mro_image_pixel_nm(im, "the image", b->pixel, e));
    b->d = d;
    b->im = im;
    b->plan = plan;

    mro_order_grids(im, b->pixel, &b->grid, &b->cells);
    const size_t n = samples(&b->grid), across = (size_t)(b->grid.lx / 3), down = (size_t)(b->grid.ly / 3);
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
                            samples(&b->cells) * sizeof(float),
                            samples(&b->cells) * sizeof(int32_t) };
    struct mro_buffer *all[] = {
        &b->spectrum, &b->field, &b->complex_out, &b->plane_out, &b->cells_out, &b->which_out
    };
    for (size_t i = 0; rc == MRO_OK && i < sizeof all / sizeof *all; i++) rc = d->ops->alloc(d, all[i], room[i], e);
    if (rc) bed_free(b);
    return rc;
}

/* Each calls one primitive: reads spectrum, field or image, writes one output. */
static enum mro_code call_contrast(struct bed *b, int k, struct mro_error *e)
{
    size_t spikes = 0;
    (void)k;
    return b->d->ops->contrast_spectrum(b->d, b->im->px, b->im->ny, b->im->nx, b->pixel, BACKGROUND_NM, &b->grid,
                                        &b->complex_out, &spikes, NULL, e);
}

static enum mro_code call_local_power(struct bed *b, int k, struct mro_error *e)
{
    const double *band = b->plan->o.band_inv_nm;
    (void)k;
    return b->d->ops->local_power(b->d, &b->grid, &b->spectrum, NULL, WHITEN_RADIUS, band[0] - BAND_EDGE,
                                  band[1] + BAND_EDGE, &b->plane_out, e);
}

static enum mro_code call_multiply(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->multiply(b->d, &b->grid, &b->complex_out, b->gain, e);
}

static enum mro_code call_noise(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->noise_spectrum(b->d, &b->grid, MRO_BENCH_SEED, 5, b->plan->o.band_inv_nm, BAND_EDGE,
                                     &b->complex_out, e);
}

static enum mro_code call_inverse(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->inverse(b->d, &b->grid, &b->spectrum, &b->plane_out, e);
}

static enum mro_code call_forward(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->forward(b->d, &b->grid, &b->field, &b->complex_out, e);
}

static enum mro_code call_correlate(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->correlate(b->d, &b->grid, &b->spectrum, &b->spectrum, &b->complex_out, e);
}

/* It adds, so that there must be something known before. */
static enum mro_code call_add_moved(struct bed *b, int k, struct mro_error *e)
{
    static const double move_nm[2] = { 0.123, -0.456 };
    MRO_TRY(call_correlate(b, k, e));
    return b->d->ops->add_moved(b->d, &b->grid, &b->spectrum, move_nm, 0.5, &b->complex_out, e);
}

static enum mro_code call_mean_square(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->local_mean_square(b->d, &b->grid, &b->field, GAIN_S_NM, &b->cells, &b->cells_out, e);
}

static enum mro_code call_bank(struct bed *b, int k, struct mro_error *e)
{
    const struct mro_order_plan *p = b->plan;
    const struct mro_bank bank = { .window_s_nm = p->window_s_nm[k],
                                   .band_inv_nm = { p->o.band_inv_nm[0], p->o.band_inv_nm[1] },
                                   .edge_inv_nm = BAND_EDGE,
                                   .g = (const double(*)[2])p->g[k],
                                   .n_g = p->n_g[k] };
    return b->d->ops->bank_maximum(b->d, &b->grid, &b->spectrum, &bank, &b->cells, &b->cells_out, &b->which_out, e);
}

static enum mro_code call_refine(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    memcpy(b->patches, b->start, b->n_patches * sizeof *b->patches);
    return b->d->ops->refine_patches(b->d, &b->grid, &b->field, &b->plan->search, b->patches, b->n_patches, e);
}

static enum mro_code call_acf(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->windowed_acf(b->d, &b->grid, &b->field, ACF_WINDOW_NM, (const double(*)[2])b->at, b->n_tiles,
                                   TILE_LAGS, TILE_STEP_NM, b->tiles, e);
}

/* A window of the middle, as large as one that holds a crystal of 10 nm. */
static enum mro_code demodulate_middle(struct bed *b, struct mro_buffer *h, struct mro_buffer *slope,
                                       struct mro_error *e)
{
    const double g[2] = { 1.9, 4.5 };
    const struct mro_grid *of = &b->grid;
    const size_t ny = of->ny / 2 < WAVE_POINTS ? of->ny / 2 : WAVE_POINTS,
                 nx = of->nx / 2 < WAVE_POINTS ? of->nx / 2 : WAVE_POINTS;
    const struct mro_window middle = { (of->ny - ny) / 2, (of->nx - nx) / 2, ny, nx };
    return b->d->ops->demodulate(b->d, of, &b->field, g, 0.4, of, &middle, h, slope, e);
}

static enum mro_code call_demodulate(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return demodulate_middle(b, &b->complex_out, NULL, e);
}

static enum mro_code call_phase_slope(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return demodulate_middle(b, &b->plane_out, &b->complex_out, e);
}

static enum mro_code call_fringes(struct bed *b, int k, struct mro_error *e)
{
    const double d = b->plan->o.d_nm, range[2] = { 0.95 * d, 1.05 * d };
    (void)k;
    return b->d->ops->acf_fringes(b->d, &b->grid, &b->field, ACF_WINDOW_NM, range, (const double(*)[2])b->at,
                                  b->n_patches, b->fringes, e);
}

static enum mro_code call_bandpass(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->bandpass(b->d, b->im->px, b->im->ny, b->im->nx, b->pixel, b->plan->o.band_inv_nm, BAND_EDGE,
                               b->filtered, e);
}

static enum mro_code call_block_sums(struct bed *b, int k, struct mro_error *e)
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

static enum mro_code call_divide(struct bed *b, int k, struct mro_error *e)
{
    static const double c[] = { 1000, 20, 30, -10, 50, 12, 5, -40, 8, 15 }; /* of degree 3 */
    const size_t block[2] = { COUNT_BLOCK, COUNT_BLOCK };
    float lowest;
    (void)k;
    MRO_TRY(b->d->ops->upload(b->d, &b->plane_out, b->plane, samples(&b->grid) * sizeof *b->plane, e));
    return b->d->ops->divide_polynomial(b->d, &b->plane_out, b->grid.ny, b->grid.nx, 3, 3, c, block, NULL, &lowest, e);
}

static enum mro_code call_histogram(struct bed *b, int k, struct mro_error *e)
{
    uint32_t counts[COUNT_BINS];
    (void)k;
    MRO_TRY(b->d->ops->upload(b->d, &b->plane_out, b->plane, samples(&b->grid) * sizeof *b->plane, e));
    MRO_TRY(b->d->ops->histogram(b->d, &b->plane_out, NULL, samples(&b->grid), -4, 8.0f / COUNT_BINS, COUNT_BINS,
                                 counts, e));
    b->n_counted = COUNT_BINS;
    for (size_t i = 0; i < COUNT_BINS; i++) b->counted[i] = (float)counts[i];
    return MRO_OK;
}

static enum mro_code call_regions(struct bed *b, int k, struct mro_error *e)
{
    struct mro_region_sums sums;
    (void)k;
    MRO_TRY(b->d->ops->upload(b->d, &b->plane_out, b->plane, samples(&b->grid) * sizeof *b->plane, e));
    MRO_TRY(b->d->ops->regions(b->d, &b->plane_out, NULL, b->grid.ny, b->grid.nx, 0.1f, true, 2, &sums, e));
    b->n_counted = 2;
    b->counted[0] = (float)sums.count;
    b->counted[1] = (float)sums.samples;
    return MRO_OK;
}

/* The diagonal, five samples wide. */
static enum mro_code call_strip(struct bed *b, int k, struct mro_error *e)
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

static enum mro_code call_upload(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->upload(b->d, &b->plane_out, b->plane, samples(&b->grid) * sizeof *b->plane, e);
}

static enum mro_code call_download(struct bed *b, int k, struct mro_error *e)
{
    (void)k;
    return b->d->ops->download(b->d, b->filtered, &b->field, samples(&b->grid) * sizeof *b->filtered, e);
}

/* The first five are written on the device, the others on the host. */
enum output { COMPLEX, WINDOW, PLANE, CELLS, BANK, PATCHES, IMAGE, TILED, FRINGES, COUNTED };
static const struct {
    const char *name;
    enum mro_code (*call)(struct bed *b, int k, struct mro_error *e);
    int k; /* window of the bank */
    enum output output;
} primitives[] = {
    { "upload of a field", call_upload, 0, PLANE },
    { "contrast spectrum", call_contrast, 0, COMPLEX },
    { "local power", call_local_power, 0, PLANE },
    { "whitening", call_multiply, 0, COMPLEX },
    { "noise spectrum", call_noise, 0, COMPLEX },
    { "inverse transform", call_inverse, 0, PLANE },
    { "forward transform", call_forward, 0, COMPLEX },
    { "correlation", call_correlate, 0, COMPLEX },
    { "correlation, moved sum", call_add_moved, 0, COMPLEX },
    { "fringes, demodulated", call_demodulate, 0, WINDOW },
    { "fringes, slope of phase", call_phase_slope, 0, WINDOW },
    { "local gain", call_mean_square, 0, CELLS },
    { "bank, window 1", call_bank, 0, BANK },
    { "bank, window 2", call_bank, 1, BANK },
    { "bank, window 3", call_bank, 2, BANK },
    { "refine patches", call_refine, 0, PATCHES },
    { "autocorrelations shown", call_acf, 0, TILED },
    { "autocorrelation scores", call_fringes, 0, FRINGES },
    { "band-pass of the image", call_bandpass, 0, IMAGE },
    { "download of a field", call_download, 0, IMAGE }, /* over the first of what the band-pass wrote */
    { "sums of blocks", call_block_sums, 0, COUNTED },
    { "background division", call_divide, 0, PLANE },
    { "histogram", call_histogram, 0, COUNTED },
    { "regions", call_regions, 0, COUNTED },
    { "sums along a line", call_strip, 0, COUNTED },
};
enum { n_primitives = sizeof primitives / sizeof *primitives };

static const struct mro_buffer *output_of(const struct bed *b, enum output o, size_t *floats)
{
    *floats = o <= WINDOW ? 2 * samples(&b->grid) : samples(o == PLANE ? &b->grid : &b->cells);
    return o <= WINDOW ? &b->complex_out : o == PLANE ? &b->plane_out : &b->cells_out;
}

/* Waits for a device that runs behind its calls. */
static enum mro_code settle(struct bed *b, enum output o, struct mro_error *e)
{
    float one;
    size_t n;
    if (o >= PATCHES) return MRO_OK;
    return b->d->ops->download(b->d, &one, output_of(b, o, &n), sizeof one, e);
}

/* What a primitive wrote, as floats on the host; free() it. The choices of a bank follow its powers. */
static enum mro_code collect(struct bed *b, enum output o, float **v, size_t *n, struct mro_error *e)
{
    const size_t cells = samples(&b->cells), per_patch = 6;
    const struct mro_buffer *from = output_of(b, o, n);
    const float *host = o == IMAGE ? b->filtered : o == TILED ? b->tiles : o == COUNTED ? b->counted : b->fringes;
    if (o == IMAGE) *n = b->im->ny * b->im->nx;
    if (o == TILED) *n = b->n_tiles * TILE_LAGS * TILE_LAGS;
    if (o == FRINGES) *n = b->n_patches;
    if (o == COUNTED) *n = b->n_counted;
    if (o == PATCHES) *n = per_patch * b->n_patches;
    *v = malloc((*n + cells) * sizeof **v);
    if (*v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    if (o > PATCHES) {
        memcpy(*v, host, *n * sizeof **v);
        return MRO_OK;
    }
    for (size_t i = 0; o == PATCHES && i < b->n_patches; i++) {
        const struct mro_patch *p = b->patches + i;
        float *f = *v + per_patch * i;
        /* Powers of other sizes are no maximum: they change with every step of the climb. */
        const double at[] = { p->y_nm, p->x_nm, p->gy, p->gx, p->second_power, p->power[p->best] };
        for (size_t k = 0; k < per_patch; k++) f[k] = (float)at[k];
    }
    enum mro_code rc = o == PATCHES ? MRO_OK : b->d->ops->download(b->d, *v, from, *n * sizeof **v, e);
    if (rc == MRO_OK && o == BANK) {
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

static double largest_difference(const float *a, const float *b, size_t n)
{
    double most = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) && isnan(b[i])) continue;
        const double v = fabs((double)a[i] - b[i]);
        if (!(v <= most)) most = isnan(v) ? INFINITY : v;
        square += (double)b[i] * b[i];
    }
    return most > 0 ? most / sqrt(square / (double)n + 1e-30) : 0;
}

static struct mro_bench_check *add_check(struct mro_bench *b, const char *name, double error, double tolerance)
{
    struct mro_bench_check *c = b->check + (b->checks < MRO_BENCH_ROWS ? b->checks++ : MRO_BENCH_ROWS - 1);
    *c = (struct mro_bench_check){ .error = error, .tolerance = tolerance, .passed = error <= tolerance };
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

/* The inputs that both devices read are made by the reference. */
static enum mro_code give_inputs(struct bed *from, struct bed *to, struct mro_error *e)
{
    const size_t n = samples(&from->grid);
    struct mro_buffer field = { 0 };
    mro_c32 *host = malloc(n * sizeof *host);
    if (host == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    enum mro_code rc = call_contrast(from, 0, e);
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

static enum mro_code compare_primitives(struct bed *device, struct bed *reference, bool exact, struct mro_bench *b,
                                        struct mro_error *e)
{
    for (size_t i = 0; i < n_primitives; i++) {
        const enum output o = primitives[i].output;
        float *v[2] = { NULL, NULL };
        size_t n = 0;
        enum mro_code rc = MRO_OK;
        for (int k = 0; k < 2 && rc == MRO_OK; k++) {
            struct bed *bed = k ? reference : device;
            rc = give_inputs(reference, bed, e);
            if (rc == MRO_OK) rc = primitives[i].call(bed, primitives[i].k, e);
            if (rc == MRO_OK) rc = collect(bed, o, &v[k], &n, e);
        }
        if (rc == MRO_OK) {
            struct mro_bench_check *c = add_check(b, primitives[i].name, largest_difference(v[0], v[1], n),
                                                  exact          ? 0
                                                  : o == PATCHES ? CLIMB_TOLERANCE
                                                                 : TOLERANCE);
            if (exact) c->passed = memcmp(v[0], v[1], n * sizeof(float)) == 0;
            size_t other = 0; /* ties may go either way on another backend */
            for (size_t j = n; o == BANK && j < 2 * n; j++) other += v[0][j] != v[1][j];
            if (other > (exact ? 0 : n / 1000)) {
                c->passed = false;
                snprintf(c->text, sizeof c->text, "another wave vector in %zu of %zu cells", other, n);
            }
        }
        free(v[0]);
        free(v[1]);
        MRO_TRY(rc);
    }
    return MRO_OK;
}

/* ------------------------------------------------------------------ proof and timing */

static void bench_options(struct mro_order_options *o)
{
    mro_order_options_default(o);
    o->kv = MRO_BENCH_KV;
    o->cs_mm = MRO_BENCH_CS_MM;
}

/* Two results of one image: numbers and objects. */
static void compare_results(const struct mro_order_result *a, const struct mro_order_result *r, bool exact,
                            struct mro_bench *b)
{
    const float x[] = { (float)a->fraction, (float)a->fraction_ci95[0], (float)a->fraction_ci95[1],
                        (float)a->fraction_raw, (float)a->coverage };
    const float y[] = { (float)r->fraction, (float)r->fraction_ci95[0], (float)r->fraction_ci95[1],
                        (float)r->fraction_raw, (float)r->coverage };
    struct mro_bench_check *c =
        add_check(b, "whole measurement", largest_difference(x, y, sizeof x / sizeof *x), exact ? 0 : 10 * TOLERANCE);
    bool same = a->n_objects == r->n_objects;
    for (size_t i = 0; same && exact && i < a->n_objects; i++)
        same = memcmp(a->objects + i, r->objects + i, offsetof(struct mro_order_object, grade)) == 0;
    if (!same) snprintf(c->text, sizeof c->text, "other objects: %zu and %zu", a->n_objects, r->n_objects);
    c->passed = c->passed && same;
}

static enum mro_code check_planted(struct mro_order_plan *p, struct mro_order_plan *reference, bool exact,
                                   struct mro_bench *b, struct mro_error *e)
{
    struct mro_image im = { 0 };
    struct mro_order_result r = { 0 }, r2 = { 0 };
    double(*spheres)[3] = NULL;
    size_t n = 0;
    enum mro_code rc = mro_bench_image(PLANTED_PIXELS, MRO_BENCH_CLUSTERS, &im, &spheres, &n, e);
    if (rc == MRO_OK) rc = mro_order_measure(p, &im, "the planted image", &r, e);
    if (rc == MRO_OK) rc = mro_order_measure(reference, &im, "the planted image", &r2, e);
    if (rc == MRO_OK) {
        compare_results(&r, &r2, exact, b);
        const double truth = mro_bench_planted_fraction(spheres, n, r.region_nm);
        struct mro_bench_check *c = add_check(b, "planted order", fabs(r.fraction / truth - 1), INFINITY);
        c->passed = r.distinguishable && r.fraction_ci95[0] <= truth && truth <= r.fraction_ci95[1];
        c->tolerance = NAN;
        snprintf(c->text, sizeof c->text, "%.1f %% (%.1f to %.1f %%) found, %.1f %% planted, p %.1g", 100 * r.fraction,
                 100 * r.fraction_ci95[0], 100 * r.fraction_ci95[1], 100 * truth, r.p_image);
    }
    mro_order_result_release(&r);
    mro_order_result_release(&r2);
    mro_image_release(&im);
    free(spheres);
    MRO_TRY(rc);
    MRO_TRY(mro_bench_image(PLANTED_PIXELS, MRO_BENCH_GLASS, &im, NULL, NULL, e));
    rc = mro_order_measure(p, &im, "the image of a glass", &r, e);
    if (rc == MRO_OK) {
        struct mro_bench_check *c = add_check(b, "nothing planted", r.fraction_raw, 0.04);
        c->passed = c->passed && !r.distinguishable;
        snprintf(c->text, sizeof c->text, "%.2f %% of cells flagged at nominal %.3g %%, p %.2g", 100 * r.fraction_raw,
                 100 * r.null_fraction, r.p_image);
    }
    mro_order_result_release(&r);
    mro_image_release(&im);
    return rc;
}

enum mro_code mro_bench_prove(struct mro_device *d, struct mro_device *reference, bool exact, struct mro_bench *b,
                              bool *passed, struct mro_error *e)
{
    struct mro_order_options o;
    struct mro_order_plan *p = NULL, *p2 = NULL;
    struct mro_image im = { 0 };
    struct bed bed = { 0 }, bed2 = { 0 };
    bench_options(&o);
    *passed = false;
    enum mro_code rc = mro_order_plan_new(&p, d, &o, e);
    if (rc == MRO_OK) rc = mro_order_plan_new(&p2, reference, &o, e);
    if (rc == MRO_OK) rc = mro_bench_image(PROVE_PIXELS, MRO_BENCH_CLUSTERS, &im, NULL, NULL, e);
    if (rc == MRO_OK) rc = bed_make(&bed, d, &im, p, e);
    if (rc == MRO_OK) rc = bed_make(&bed2, reference, &im, p2, e);
    if (rc == MRO_OK) rc = compare_primitives(&bed, &bed2, exact, b, e);
    if (rc == MRO_OK) rc = check_planted(p, p2, exact, b, e);
    if (rc == MRO_OK) {
        *passed = true;
        for (size_t i = 0; i < b->checks; i++) *passed = *passed && b->check[i].passed;
    }
    bed_free(&bed);
    bed_free(&bed2);
    mro_image_release(&im);
    mro_order_plan_free(p);
    mro_order_plan_free(p2);
    return rc;
}

enum mro_code mro_bench_time(struct mro_device *d, const struct mro_image *im, int runs, struct mro_bench *b,
                             struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    const double pixels = (double)im->ny * (double)im->nx;
    struct mro_order_options o;
    struct mro_order_plan *p = NULL;
    struct bed bed = { 0 };
    struct mro_meter meter = { .of = NULL };
    mro_c32 *spectrum = NULL;
    double *t = malloc((size_t)runs * sizeof *t);
    bench_options(&o);
    o.views = false; /* as without -o */
    if (t == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    enum mro_code rc = mro_meter_open(&meter, d, e);
    for (int k = 0; k < runs && rc == MRO_OK; k++) { /* the proof has made one: it is warm */
        mro_order_plan_free(p);
        const double start = mro_seconds(d);
        rc = mro_order_plan_new(&p, d, &o, e);
        t[k] = mro_seconds(d) - start;
    }
    if (rc) goto done;
    mro_bench_add(b, "plan: null and power, once", t, runs, 0, NULL);
    if ((rc = bed_make(&bed, &meter.device, im, p, e)) || (rc = give_inputs(&bed, &bed, e))) goto done;
    if ((spectrum = malloc(samples(&bed.grid) * sizeof *spectrum)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    if ((rc = d->ops->download(d, spectrum, &bed.spectrum, samples(&bed.grid) * sizeof *spectrum, e))) goto done;
    for (size_t i = 0; i < n_primitives; i++) {
        char name[40];
        struct mro_work work = { 0 };
        for (int k = -1; k < runs; k++) {
            mro_meter_reset(&meter);
            const double start = mro_seconds(d);
            if ((rc = primitives[i].call(&bed, primitives[i].k, e)) || (rc = settle(&bed, primitives[i].output, e)))
                goto done;
            if (k >= 0) t[k] = mro_seconds(d) - start;
        }
        for (size_t k = 0; k < MRO_METER_STAGES; k++) mro_work_add(&work, &meter.stage[k].work);
        snprintf(name, sizeof name, "%s", primitives[i].name);
        if (primitives[i].output == PATCHES || primitives[i].output == FRINGES)
            snprintf(name, sizeof name, "%s (%zu)", primitives[i].name, bed.n_patches);
        mro_bench_add(b, name, t, runs, primitives[i].output == TILED || primitives[i].output == WINDOW ? 0 : pixels,
                      &work);
        if (primitives[i].call != call_contrast) continue; /* the fit follows it, as in a measurement */
        for (int k = -1; k < runs; k++) {
            struct mro_ctf_fit fit;
            const double start = mro_seconds(d);
            if ((rc = mro_ctf_fit_rings(&bed.grid, spectrum, o.kv, o.cs_mm, NULL, d->threads, &fit, e))) goto done;
            if (k >= 0) t[k] = mro_seconds(d) - start;
        }
        mro_bench_add(b, "rings fit", t, runs, pixels, NULL);
    }
    bed_free(&bed); /* the whole measurement needs the room */
    for (int k = -1; k < runs; k++) {
        struct mro_order_result r;
        const double start = mro_seconds(d);
        if ((rc = mro_order_measure(p, im, "the image", &r, e))) goto done;
        if (k >= 0) t[k] = mro_seconds(d) - start;
        mro_order_result_release(&r);
    }
    mro_bench_add(b, "whole measurement, without plan", t, runs, pixels, NULL);
done:
    bed_free(&bed);
    mro_meter_close(&meter);
    mro_order_plan_free(p);
    free(spectrum);
    free(t);
    return rc;
}

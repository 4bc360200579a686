/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One list of cases, every backend: each primitive of each backend against the CPU on one thread, on sizes that are
 * odd, prime, tiny and not square. A backend that this build or machine lacks is reported as skipped. Guard words
 * around every result catch writes that stray. */
#include "fields.h"

#include "core/vectors.h"
#include "mroscope/math/band.h"
#include "mroscope/math/contrast.h"
#include "mroscope/math/patch.h"
#include "ops/rings.h"
#include "ops/wide.h"
#include "strict/strict.h"

static const double band[2] = { 4.1, 5.8 }, wide[2] = { -1, 1e3 };

static const struct {
    struct mro_grid grid, out;
} shapes[] = {
    { { 108, 108, 8, 8 }, { 20, 20, 8, 8 } },        { { 97, 101, 7.2, 7.5 }, { 17, 19, 7.2, 7.5 } },
    { { 128, 90, 9.5, 6.6 }, { 24, 15, 9.5, 6.6 } }, { { 81, 225, 6, 16.7 }, { 15, 40, 6, 16.7 } },
    { { 75, 80, 5.5, 5.9 }, { 1, 2, 5.5, 5.9 } },    { { 324, 216, 25, 16 }, { 60, 40, 25, 16 } },
    { { 41, 43, 3.05, 3.2 }, { 7, 5, 3.05, 3.2 } },  { { 1080, 1024, 80, 76 }, { 200, 180, 80, 76 } },
};
/* The last is larger than one grid of a kernel; it is left to the backends that have kernels. */
enum { SHAPES = sizeof shapes / sizeof *shapes, SMALL_SHAPES = SHAPES - 1 };

#define GUARD 64 /* bytes before and after what a primitive may write */

struct output {
    float *v;
    size_t n;
};

static struct mro_error e;

/* Host numbers of a device buffer that was made by guarded(), after its guard was looked at. */
static struct mro_buffer guarded(struct mro_device *d, size_t bytes)
{
    struct mro_buffer b = buffer_of(d, bytes + GUARD);
    unsigned char *fill = malloc(bytes + GUARD);
    assert_non_null(fill);
    memset(fill, 0xA5, bytes + GUARD);
    put(d, &b, fill, bytes + GUARD);
    free(fill);
    return b;
}

static float *taken(struct mro_device *d, struct mro_buffer *b, size_t bytes)
{
    unsigned char *p = get(d, b, bytes + GUARD);
    for (size_t i = bytes; i < bytes + GUARD; i++)
        if (p[i] != 0xA5) fail_msg("a primitive wrote %zu bytes past its result", i - bytes);
    d->ops->release(d, b);
    return (float *)(void *)p;
}

static struct mro_buffer noise(struct mro_device *d, const struct mro_grid *g, const double limits[2])
{
    struct mro_buffer b = guarded(d, g->ny * g->nx * sizeof(mro_c32));
    ok(d->ops->noise_spectrum(d, g, 8, 3, limits, 0.15, &b, &e), &e);
    return b;
}

static struct output run_noise(struct mro_device *d, size_t k)
{
    const size_t n = 2 * shapes[k].grid.ny * shapes[k].grid.nx;
    struct mro_buffer b = noise(d, &shapes[k].grid, band);
    return (struct output){ taken(d, &b, n * sizeof(float)), n };
}

static struct output run_multiply(struct mro_device *d, size_t k)
{
    const size_t n = shapes[k].grid.ny * shapes[k].grid.nx;
    struct mro_buffer b = noise(d, &shapes[k].grid, wide);
    float *gain = malloc(n * sizeof *gain);
    for (size_t i = 0; i < n; i++) gain[i] = normal_of(50, i);
    ok(d->ops->multiply(d, &shapes[k].grid, &b, gain, &e), &e);
    free(gain);
    return (struct output){ taken(d, &b, 2 * n * sizeof(float)), 2 * n };
}

static struct output run_inverse(struct mro_device *d, size_t k)
{
    const size_t n = shapes[k].grid.ny * shapes[k].grid.nx;
    struct mro_buffer b = noise(d, &shapes[k].grid, wide), f = guarded(d, n * sizeof(float));
    ok(d->ops->inverse(d, &shapes[k].grid, &b, &f, &e), &e);
    d->ops->release(d, &b);
    return (struct output){ taken(d, &f, n * sizeof(float)), n };
}

static struct output run_forward(struct mro_device *d, size_t k)
{
    const size_t n = shapes[k].grid.ny * shapes[k].grid.nx;
    struct mro_buffer f = buffer_of(d, n * sizeof(float)), s = guarded(d, n * sizeof(mro_c32));
    float *v = malloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = normal_of(51, i);
    put(d, &f, v, n * sizeof *v);
    ok(d->ops->forward(d, &shapes[k].grid, &f, &s, &e), &e);
    free(v);
    d->ops->release(d, &f);
    return (struct output){ taken(d, &s, 2 * n * sizeof(float)), 2 * n };
}

/* An image of counts with spikes, a pixel without data, and (`masked`) a strip and a corner without any. */
static float *counts(size_t ny, size_t nx, bool masked)
{
    float *px = malloc(ny * nx * sizeof *px);
    assert_non_null(px);
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) px[y * nx + x] = 1000 + 0.5f * (float)x + 30 * normal_of(52, y * nx + x);
    for (size_t i = 0; i < 7; i++) px[(i * 1013) % (ny * nx)] = 30000;
    px[ny * nx / 2] = NAN;
    for (size_t y = 0; masked && y < ny; y++)
        for (size_t x = 0; x < nx; x++)
            if ((y >= ny / 4 && y < ny / 3) || x + 2 * y < nx / 2) px[y * nx + x] = NAN;
    return px;
}

/* Its spectrum; with `means` those of its blocks. */
static struct output contrast_of(struct mro_device *d, size_t k, bool masked, bool means)
{
    const struct mro_grid *g = &shapes[k].grid;
    const bool small = k < SMALL_SHAPES; /* the other has more rows than a grid has blocks */
    const size_t n = g->ny * g->nx, ny = small ? 3 * g->ny - 2 : 4 * g->ny, nx = small ? 3 * g->nx - 1 : g->nx + 29;
    const double pixel[2] = { g->ly / (double)ny, g->lx / (double)nx };
    float *px = counts(ny, nx, masked);
    struct mro_buffer s = guarded(d, n * sizeof(mro_c32));
    size_t spikes = 0;
    const struct mro_blocks b = mro_background_blocks(ny, nx, pixel, 2.5);
    double *mean = malloc(b.ny * b.nx * sizeof *mean);
    float *known = malloc(b.ny * b.nx * sizeof *known);
    assert_true(mean && known);
    ok(d->ops->contrast_spectrum(d, px, ny, nx, pixel, 2.5, g, &s, &spikes, means ? mean : NULL, &e), &e);
    free(px);
    assert_true((spikes >= 7 || masked) && spikes < 12 + n / 10000);
    for (size_t i = 0; means && i < b.ny * b.nx; i++) known[i] = isfinite(mean[i]) ? (float)mean[i] : -1;
    free(mean);
    const struct output whole = { taken(d, &s, 2 * n * sizeof(float)), 2 * n }, blocks = { known, b.ny * b.nx };
    free(means ? whole.v : blocks.v);
    return means ? blocks : whole;
}

static struct output run_contrast(struct mro_device *d, size_t k) { return contrast_of(d, k, false, false); }
static struct output run_masked(struct mro_device *d, size_t k) { return contrast_of(d, k, true, false); }
static struct output run_means(struct mro_device *d, size_t k) { return contrast_of(d, k, true, true); }

static struct output run_local_power(struct mro_device *d, size_t k)
{
    const size_t n = shapes[k].grid.ny * shapes[k].grid.nx;
    struct mro_buffer b = noise(d, &shapes[k].grid, wide), p = guarded(d, n * sizeof(float));
    float *model = malloc(n * sizeof *model);
    for (size_t i = 0; i < n; i++) model[i] = 1 + 0.5f * (float)(i % 7);
    ok(d->ops->local_power(d, &shapes[k].grid, &b, k % 2 ? model : NULL, 0.22, 3.95, 5.95, &p, &e), &e);
    free(model);
    d->ops->release(d, &b);
    return (struct output){ taken(d, &p, n * sizeof(float)), n };
}

static struct output run_correlate(struct mro_device *d, size_t k)
{
    const struct mro_grid *g = &shapes[k].grid;
    const size_t n = g->ny * g->nx;
    struct mro_buffer a = noise(d, g, wide), b = buffer_of(d, n * sizeof(mro_c32)),
                      out = guarded(d, n * sizeof(mro_c32));
    ok(d->ops->noise_spectrum(d, g, 9, 4, wide, 0.15, &b, &e), &e);
    ok(d->ops->correlate(d, g, &a, &b, &out, &e), &e);
    float *apart = taken(d, &out, n * sizeof(mro_c32));
    ok(d->ops->correlate(d, g, &a, &b, &a, &e), &e); /* in place */
    d->ops->release(d, &b);
    float *v = taken(d, &a, n * sizeof(mro_c32));
    assert_memory_equal(v, apart, n * sizeof(mro_c32));
    free(apart);
    return (struct output){ v, 2 * n };
}

static struct output run_add_moved(struct mro_device *d, size_t k)
{
    const struct mro_grid *g = &shapes[k].grid;
    const size_t n = g->ny * g->nx;
    const double move[2] = { 0.37 * g->ly, -7.123 };
    struct mro_buffer a = buffer_of(d, n * sizeof(mro_c32)), sum = noise(d, g, wide);
    ok(d->ops->noise_spectrum(d, g, 9, 4, wide, 0.15, &a, &e), &e);
    ok(d->ops->add_moved(d, g, &a, move, -0.75, &sum, &e), &e);
    d->ops->release(d, &a);
    return (struct output){ taken(d, &sum, n * sizeof(mro_c32)), 2 * n };
}

/* Fringes at the points of a window that reaches over the border of the field. */
static struct output run_demodulate(struct mro_device *d, size_t k)
{
    const struct mro_grid *g = &shapes[k].grid, out = { g->ny / 2 + 3, g->nx / 2 + 2, g->ly, g->lx };
    const struct mro_window at = { out.ny - 5, out.nx / 3, 37, k % 2 ? out.nx : 16 };
    const size_t n = at.ny * at.nx;
    const double wave[2] = { k % 2 ? -4.71 : 0.33, 4.93 };
    struct mro_buffer s = noise(d, g, wide), f = buffer_of(d, g->ny * g->nx * sizeof(float)),
                      h = guarded(d, n * sizeof(mro_c32));
    ok(d->ops->inverse(d, g, &s, &f, &e), &e);
    ok(d->ops->demodulate(d, g, &f, wave, 0.4, &out, &at, &h, NULL, &e), &e);
    d->ops->release(d, &s);
    d->ops->release(d, &f);
    return (struct output){ taken(d, &h, n * sizeof(mro_c32)), 2 * n };
}

/* Slopes where fringes fade, and bend, but for a place without any. */
static struct output run_phase_slope(struct mro_device *d, size_t k)
{
    const struct mro_grid *g = &shapes[k].grid, out = { g->ny / 2, g->nx / 2, g->ly, g->lx };
    const struct mro_window at = { out.ny / 5, out.nx / 4, 19, 33 };
    const size_t n = g->ny * g->nx, m = at.ny * at.nx;
    const double wave[2] = { 3.1, -3.8 };
    struct mro_buffer f = buffer_of(d, n * sizeof(float)), h = guarded(d, m * sizeof(mro_c32)),
                      slope = guarded(d, 2 * m * sizeof(float));
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) {
        const double y = (double)(i / g->nx) * g->ly / (double)g->ny, x = (double)(i % g->nx) * g->lx / (double)g->nx;
        const double a = 1 + 0.4 * cos(2 * MRO_PI * (x + y) / g->lx), p = wave[0] * y + wave[1] * x + 0.02 * y * x;
        v[i] = (float)(a * cos(2 * MRO_PI * p));
    }
    put(d, &f, v, n * sizeof *v);
    ok(d->ops->demodulate(d, g, &f, wave, 0.4, &out, &at, &h, &slope, &e), &e);
    memset(v, 0, n * sizeof *v);
    float *r = taken(d, &slope, 2 * m * sizeof(float));
    put(d, &f, v, n * sizeof *v);
    struct mro_buffer none = buffer_of(d, 2 * m * sizeof(float));
    ok(d->ops->demodulate(d, g, &f, wave, 0.4, &out, &at, &h, &none, &e), &e);
    float *zero = get(d, &none, 2 * m * sizeof(float));
    for (size_t i = 0; i < 2 * m; i++) assert_true(zero[i] == 0);
    free(zero);
    free(v);
    free(taken(d, &h, m * sizeof(mro_c32)));
    d->ops->release(d, &none);
    d->ops->release(d, &f);
    return (struct output){ r, 2 * m };
}

static struct output run_mean_square(struct mro_device *d, size_t k)
{
    const size_t n = shapes[k].grid.ny * shapes[k].grid.nx, m = shapes[k].out.ny * shapes[k].out.nx;
    struct mro_buffer b = noise(d, &shapes[k].grid, band), f = buffer_of(d, n * sizeof(float)),
                      s = guarded(d, m * sizeof(float));
    ok(d->ops->inverse(d, &shapes[k].grid, &b, &f, &e), &e);
    ok(d->ops->local_mean_square(d, &shapes[k].grid, &f, 1.0, &shapes[k].out, &s, &e), &e);
    d->ops->release(d, &b);
    d->ops->release(d, &f);
    return (struct output){ taken(d, &s, m * sizeof(float)), m };
}

static struct output run_bank(struct mro_device *d, size_t k)
{
    const struct mro_grid *o = &shapes[k].out;
    const size_t m = o->ny * o->nx;
    double g[40][2];
    for (int i = 0; i < 40; i++) {
        g[i][0] = (4.7 + 0.3 * (i % 3)) * sin(MRO_PI * i / 40);
        g[i][1] = (4.7 + 0.3 * (i % 3)) * cos(MRO_PI * i / 40);
    }
    const struct mro_bank bank = { .window_s_nm = k % 2 ? 0.313 : 0.581,
                                   .band_inv_nm = { 4.1, 5.8 },
                                   .edge_inv_nm = 0.15,
                                   .g = (const double(*)[2])g,
                                   .n_g = 40 };
    struct mro_buffer b = noise(d, &shapes[k].grid, band), p = guarded(d, m * sizeof(float)),
                      w = guarded(d, m * sizeof(int32_t));
    ok(d->ops->bank_maximum(d, &shapes[k].grid, &b, &bank, o, &p, &w, &e), &e);
    d->ops->release(d, &b);
    float *which = taken(d, &w, m * sizeof(int32_t));
    for (size_t i = 0; i < m; i++) {
        int32_t v;
        memcpy(&v, which + i, sizeof v);
        assert_true(v >= 0 && v < 40);
    }
    free(which); /* near ties may choose another wave vector: the powers tell */
    return (struct output){ taken(d, &p, m * sizeof(float)), m };
}

static struct output run_patches(struct mro_device *d, size_t k)
{
    enum { PATCHES = 9, EACH = 6 };
    const struct mro_grid *g = &shapes[k].grid;
    const size_t n = g->ny * g->nx;
    struct mro_patch_search search = { .diameter_nm = { 1.0, 1.25, 1.5, 1.8, 2.15, 2.6, 3.1 },
                                       .d_range_inv_nm = { 4.64, 5.24 } };
    for (int i = 0; i < MRO_PATCH_SIZES; i++)
        for (int j = 0; j <= MRO_ENERGY_STEPS; j++) search.energy[i][j] = 0.7 + 0.03 * i;
    struct mro_buffer b = noise(d, g, band), f = buffer_of(d, n * sizeof(float));
    ok(d->ops->inverse(d, g, &b, &f, &e), &e);
    struct mro_patch p[PATCHES];
    memset(p, 0, sizeof p);
    for (int i = 0; i < PATCHES; i++) {
        p[i].y_nm = g->ly * (0.05 + 0.11 * i);
        p[i].x_nm = g->lx * (0.97 - 0.07 * i);
        p[i].gy = 4.9 * sin(0.34 * i);
        p[i].gx = 4.9 * cos(0.34 * i);
    }
    ok(d->ops->refine_patches(d, g, &f, &search, p, PATCHES, &e), &e);
    d->ops->release(d, &b);
    d->ops->release(d, &f);
    float *v = malloc((size_t)PATCHES * EACH * sizeof *v);
    for (int i = 0; i < PATCHES; i++) {
        float *to = v + i * EACH;
        to[0] = (float)p[i].y_nm;
        to[1] = (float)p[i].x_nm;
        to[2] = (float)p[i].gy;
        to[3] = (float)p[i].gx;
        to[4] = (float)p[i].second_power;
        to[5] = (float)p[i].power[p[i].best]; /* others are no maximum: they change with every step of the climb */
    }
    return (struct output){ v, (size_t)PATCHES * EACH };
}

static struct output run_bandpass(struct mro_device *d, size_t k)
{
    const size_t ny = shapes[k].grid.ny, nx = shapes[k].grid.nx;
    const double pixel[2] = { 0.05, 0.06 };
    float *px = counts(ny, nx, true), *out = malloc((ny * nx + 16) * sizeof *out);
    out[ny * nx] = 77;
    ok(d->ops->bandpass(d, px, ny, nx, pixel, band, 0.3, out, &e), &e);
    assert_true(out[ny * nx] == 77);
    for (size_t i = 0; i < ny * nx; i++) {
        assert_int_equal(isnan(out[i]), isnan(px[i]));
        if (isnan(px[i])) out[i] = 0;
    }
    free(px);
    return (struct output){ out, ny * nx };
}

/* Places all over the field, some outside it. */
static size_t places(const struct mro_grid *g, double (*at)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        at[i][0] = g->ly * (1.1 * (double)i / (double)n - 0.05);
        at[i][1] = g->lx * (double)((i * 7) % n) / (double)n;
    }
    return n;
}

static struct output run_acf(struct mro_device *d, size_t k)
{
    enum { LAGS = 31, TILES = 5 };
    const struct mro_grid *g = &shapes[k].grid;
    struct mro_buffer b = noise(d, g, band), f = buffer_of(d, g->ny * g->nx * sizeof(float));
    double at[TILES][2];
    const size_t n = (size_t)LAGS * LAGS * places(g, at, TILES);
    float *tiles = malloc(n * sizeof *tiles);
    ok(d->ops->inverse(d, g, &b, &f, &e), &e);
    ok(d->ops->windowed_acf(d, g, &f, k % 2 ? 1.3 : 1.9, (const double(*)[2])at, TILES, LAGS, 0.06, tiles, &e), &e);
    d->ops->release(d, &b);
    d->ops->release(d, &f);
    for (size_t i = 0; i < n; i++) tiles[i] = isnan(tiles[i]) ? 9 : tiles[i]; /* in the same places */
    return (struct output){ tiles, n };
}

static struct output run_fringes(struct mro_device *d, size_t k)
{
    enum { MOST = 301 };
    const struct mro_grid *g = &shapes[k].grid;
    struct mro_buffer b = noise(d, g, band), f = buffer_of(d, g->ny * g->nx * sizeof(float));
    const double range[2] = { 0.193, 0.213 };
    double at[MOST][2];
    const size_t n = places(g, at, k ? MOST : 1);
    float *score = malloc(n * sizeof *score);
    ok(d->ops->inverse(d, g, &b, &f, &e), &e);
    ok(d->ops->acf_fringes(d, g, &f, 1.5, range, (const double(*)[2])at, n, score, &e), &e);
    d->ops->release(d, &b);
    d->ops->release(d, &f);
    return (struct output){ score, n };
}

/* Pixels of counts on the device, its guard behind them. */
static struct mro_buffer counts_on(struct mro_device *d, size_t ny, size_t nx)
{
    float *px = counts(ny, nx, true);
    struct mro_buffer b = guarded(d, ny * nx * sizeof *px);
    px[ny * nx / 3] = INFINITY;
    put(d, &b, px, ny * nx * sizeof *px);
    free(px);
    return b;
}

static struct output run_block_sums(struct mro_device *d, size_t k)
{
    const size_t ny = shapes[k].grid.ny, nx = shapes[k].grid.nx, block[2] = { 7 + k, k % 2 ? 13 : nx };
    const size_t n = ((ny - 1) / block[0] + 1) * ((nx - 1) / block[1] + 1);
    struct mro_buffer b = counts_on(d, ny, nx);
    double *sum = malloc(2 * n * sizeof *sum);
    float *v = malloc(2 * n * sizeof *v);
    ok(d->ops->block_sums(d, &b, ny, nx, block, sum, sum + n, &e), &e);
    for (size_t i = 0; i < 2 * n; i++) v[i] = (float)sum[i];
    free(taken(d, &b, ny * nx * sizeof(float)));
    free(sum);
    return (struct output){ v, 2 * n };
}

static struct output run_divide(struct mro_device *d, size_t k)
{
    static const double c[] = { 900, 20, -30, 11, 50, 12, -8, 100, 9, 25, 4, -7, 6, 30, 5, -20, 3, 2, 8, 1, -9 };
    const size_t ny = shapes[k].grid.ny, nx = shapes[k].grid.nx, block[2] = { 11, 9 }, n = ny * nx;
    const size_t by = (ny + 10) / 11, bx = (nx + 8) / 9;
    unsigned char *keep = malloc(by * bx);
    for (size_t i = 0; i < by * bx; i++) keep[i] = i % 5 != 2;
    struct mro_buffer b = counts_on(d, ny, nx);
    float lowest = 0;
    ok(d->ops->divide_polynomial(d, &b, ny, nx, 33, (int)(k % 6), c, block, k % 2 ? keep : NULL, &lowest, &e), &e);
    float *from = taken(d, &b, n * sizeof(float)), *v = malloc((n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        const bool out = k % 2 && !keep[i / nx / 11 * bx + i % nx / 9];
        if (out || i == n / 2 || i == n / 3) assert_true(isnan(from[i]));
        v[i] = isnan(from[i]) ? -1 : from[i];
    }
    v[n] = lowest / 900;
    free(from);
    free(keep);
    return (struct output){ v, n + 1 };
}

/* A field without a value that lies on an edge of a bin or a level, but for rounding; a mask over part of it. */
static struct mro_buffer smooth_field(struct mro_device *d, const struct mro_grid *g, struct mro_buffer *mask)
{
    const size_t n = g->ny * g->nx;
    float *v = malloc(n * sizeof *v);
    unsigned char *in = malloc(n);
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            v[y * g->nx + x] =
                sinf(0.31f * (float)x) + cosf(0.23f * (float)y + 0.1f * (float)x) + 0.5f * normal_of(53, y * g->nx + x);
            in[y * g->nx + x] = (x + 3 * y) % 17 != 0;
        }
    v[n / 2] = NAN;
    struct mro_buffer b = guarded(d, n * sizeof *v);
    put(d, &b, v, n * sizeof *v);
    *mask = guarded(d, n);
    put(d, mask, in, n);
    free(v);
    free(in);
    return b;
}

static struct output run_histogram(struct mro_device *d, size_t k)
{
    const size_t n = shapes[k].grid.ny * shapes[k].grid.nx, bins = k == 2 ? MRO_BINS_MOST : k == 4 ? 1 : 300;
    struct mro_buffer mask, f = smooth_field(d, &shapes[k].grid, &mask);
    uint32_t *counts = malloc((bins + 1) * sizeof *counts), total = 0;
    float *v = malloc(bins * sizeof *v);
    counts[bins] = 77;
    ok(d->ops->histogram(d, &f, k % 2 ? &mask : NULL, n, -2, 4.0f / (float)bins, bins, counts, &e), &e);
    assert_int_equal(counts[bins], 77);
    for (size_t i = 0; i < bins; i++) total += counts[i];
    if (k % 2 == 0) assert_int_equal(total, n - 1);
    for (size_t i = 0; i < bins; i++) v[i] = (float)counts[i];
    free(counts);
    free(taken(d, &f, n * sizeof(float)));
    d->ops->release(d, &mask);
    return (struct output){ v, bins };
}

static struct output run_regions(struct mro_device *d, size_t k)
{
    const struct mro_grid *g = &shapes[k].grid;
    struct mro_buffer mask, f = smooth_field(d, g, &mask);
    float *v = malloc(16 * sizeof *v);
    size_t n = 0;
    for (int i = 0; i < 8; i++) { /* last all there is, in one piece and in stripes */
        struct mro_region_sums sums = { 99, 99 };
        ok(d->ops->regions(d, &f, i % 3 ? &mask : NULL, g->ny, g->nx, i < 6 ? (float)(0.4 * i - 0.8) : -100,
                           i % 2 || i >= 6, (size_t)(1 + 3 * i), &sums, &e),
           &e);
        v[n++] = (float)sums.count;
        v[n++] = (float)sums.samples;
    }
    free(taken(d, &f, g->ny * g->nx * sizeof(float)));
    d->ops->release(d, &mask);
    return (struct output){ v, n };
}

static struct output run_strip(struct mro_device *d, size_t k)
{
    enum { MAPS = 3, BINS = 37 };
    const size_t ny = shapes[k].grid.ny, nx = shapes[k].grid.nx, n = ny * nx;
    const double lx = 0.2 * (double)nx, ly = 0.3 * (double)ny;
    const double turn[] = { 0.6, 0, MRO_PI / 2, 2.2, MRO_PI / 4, -0.7, 3.1, MRO_PI };
    struct mro_strip s = { .x0 = 0.5 * lx,
                           .y0 = 0.4 * ly,
                           .ux = cos(turn[k]),
                           .uy = sin(turn[k]),
                           .step = 0.25,
                           .width = k == 3 ? 100 : 1.3,
                           .bins = BINS,
                           .pixel_y = 0.3,
                           .pixel_x = 0.2 };
    float *maps = malloc(MAPS * n * sizeof *maps), *v = malloc((MAPS + 1) * BINS * sizeof *v);
    for (size_t i = 0; i < MAPS * n; i++) maps[i] = (float)((i * 7919) % 23);
    maps[n / 2 + nx / 2] = NAN;
    maps[2 * n - nx] = INFINITY;
    struct mro_buffer b = guarded(d, MAPS * n * sizeof *maps);
    put(d, &b, maps, MAPS * n * sizeof *maps);
    double out[(MAPS + 1) * BINS + 1], pixels = 0;
    out[(MAPS + 1) * BINS] = 77;
    ok(d->ops->strip_sums(d, &b, MAPS, ny, nx, &s, out, out + MAPS * BINS, &e), &e);
    assert_true(out[(MAPS + 1) * BINS] == 77);
    for (size_t i = 0; i < (MAPS + 1) * BINS; i++) v[i] = (float)out[i];
    for (size_t i = 0; i < BINS; i++) pixels += out[MAPS * BINS + i];
    size_t want = 0; /* every pixel, one by one */
    for (size_t i = 0; i < n; i++)
        want += mro_strip_bin(&s, i / nx, i % nx) < BINS && isfinite(maps[i]) && isfinite(maps[n + i]);
    assert_true(pixels == (double)want && (want > 0 || k == 7));
    free(maps);
    free(taken(d, &b, MAPS * n * sizeof(float)));
    return (struct output){ v, (MAPS + 1) * BINS };
}
/* Two frames of counts, one pixel in seventy without data: mean, scatter and error of the rings and the means of the
 * sectors, each over its own size; points without pixels are 0. */
static struct output rings_of(struct mro_device *d, size_t k, double clip)
{
    enum { SECTORS = 10 };
    const size_t ny = shapes[k].grid.ny, nx = shapes[k].grid.nx, n = ny * nx, rings = nx / 2 + 7;
    const struct mro_round round = mro_round_of(0.4 * (double)nx, 0.55 * (double)ny, 1.1, 0.01, -0.02);
    float *frames = malloc(2 * n * sizeof *frames);
    unsigned char *mask = calloc(n, 1);
    struct mro_azimuth a;
    for (size_t i = 0; i < 2 * n; i++) {
        frames[i] = 1000 + 30 * normal_of(53, i) + (i % 997 == 5 ? 20000 : 0);
        if (i % 71 == 3) frames[i] = NAN;
    }
    for (size_t i = 0; i < n; i++) mask[i] = i / nx > ny / 2 && i % nx < nx / 8;
    ok(mro_azimuth_new(&a, d, ny, nx, &round, mask, 1.3, rings, SECTORS, 2, &e), &e);
    ok(mro_azimuth_run(&a, frames, 2, clip, &e), &e);
    struct output out = { malloc(2 * rings * (3 + SECTORS) * sizeof(float)), 2 * rings * (3 + SECTORS) };
    float *to = out.v;
    for (size_t f = 0; f < 2; f++) {
        struct mro_profile p;
        ok(mro_azimuth_profile(&a, f, 1, &p, &e), &e);
        double taken = 0;
        for (size_t i = 0; i < rings * SECTORS; i++) taken += a.host[f * rings * SECTORS + i].n;
        if (n >= 20000) assert_true((taken < (1 - 1 / 71.0 - 1 / 4000.0) * (double)a.t.n_pixels) == (clip > 0));
        for (size_t i = 0; i < rings; i++) {
            *to++ = p.intensity[i] == p.intensity[i] ? (float)p.intensity[i] : 0;
            *to++ = p.sd[i] == p.sd[i] ? (float)p.sd[i] * 10 : 0;
            *to++ = p.se[i] == p.se[i] ? (float)p.se[i] * 100 : 0;
        }
        for (size_t i = 0; i < rings * SECTORS; i++)
            *to++ = p.sector_mean[i] == p.sector_mean[i] ? (float)p.sector_mean[i] : 0;
        mro_profile_release(&p);
    }
    mro_azimuth_release(&a);
    free(frames);
    free(mask);
    return out;
}

static struct output run_rings(struct mro_device *d, size_t k) { return rings_of(d, k, 0); }
static struct output run_clipped(struct mro_device *d, size_t k) { return rings_of(d, k, 5); }

/* `tolerance` is the largest difference over the root mean square of the reference. */
static const struct {
    const char *name;
    struct output (*run)(struct mro_device *d, size_t shape);
    double tolerance;
} cases[] = {
    /* The last bits of log and sin, 3e-7 of numbers up to 5.6, where those that are not 0 have an rms of 0.4: products
     * and sums that one compiler joins and another does not give 2e-6. */
    { "noise_spectrum", run_noise, 1e-5 },
    { "multiply", run_multiply, 1e-5 },          /* the same numbers times one */
    { "inverse", run_inverse, 1e-5 },            /* float32 transforms of up to 70000 numbers */
    { "forward", run_forward, 1e-5 },            /* likewise */
    { "contrast_spectrum", run_contrast, 1e-4 }, /* the background's sums in another order, then a transform */
    { "contrast_spectrum, masked", run_masked, 1e-4 },
    { "contrast_spectrum, means", run_means, 1e-6 },
    { "local_power", run_local_power, 1e-4 },        /* medians: equal but for the last bits of the powers */
    { "correlate", run_correlate, 1e-5 },            /* one product */
    { "add_moved", run_add_moved, 1e-5 },            /* two products, and the last bits of sin and cos */
    { "demodulate", run_demodulate, 1e-5 },          /* sums of float32 in another order */
    { "demodulate, slopes", run_phase_slope, 1e-4 }, /* likewise, and a ratio of their products */
    { "local_mean_square", run_mean_square, 1e-5 },
    { "bank_maximum", run_bank, 1e-4 },      /* the contract on scores */
    { "refine_patches", run_patches, 5e-3 }, /* a climb ends within a hundredth of its last step; one here by 1.5e-3 */
    { "windowed_acf", run_acf, 1e-4 },       /* ratios of float32 powers; next to the rim the overlap is 1 % */
    { "acf_fringes", run_fringes, 1e-4 },    /* sums of 3000 products in another order */
    { "block_sums", run_block_sums, 1e-5 },  /* sums of at most 225 float32 a row */
    { "divide_polynomial", run_divide, 1e-5 },
    { "histogram", run_histogram, 0 }, /* counts: all equal */
    { "regions", run_regions, 0 },
    { "strip_sums", run_strip, 0 },
    { "ring_sums", run_rings, 2e-6 }, /* float64 sums in another order, told as float32 */
    { "ring_sums, clipped", run_clipped, 2e-6 },
    { "bandpass", run_bandpass, 1e-4 }, /* counts of 1000 with the mean taken off: 30 of contrast are left */
};
enum { CASES = sizeof cases / sizeof *cases };

static const char *only; /* backend that is asked for */

/* The largest difference of a case over all shapes; tells and counts those beyond what is allowed. */
static double largest(size_t c, const char *name, struct mro_device *d, struct mro_device *reference, bool exact,
                      size_t *wrong)
{
    double all = 0;
    for (size_t k = 0; k < (d->ops->runtime && !exact ? SHAPES : SMALL_SHAPES); k++) {
        const struct output want = cases[c].run(reference, k), got = cases[c].run(d, k);
        assert_int_equal(want.n, got.n);
        double most = 0, square = 0;
        for (size_t i = 0; i < want.n; i++) {
            assert_true(isfinite(want.v[i]));
            most = isfinite(got.v[i]) ? fmax(most, fabs((double)want.v[i] - got.v[i])) : INFINITY;
            square += (double)want.v[i] * want.v[i];
        }
        assert_true(square > 0 || cases[c].run == run_local_power); /* a tiny field has no room for its discs */
        const double difference = square > 0 ? most / sqrt(square / (double)want.n) : most;
        if (exact ? memcmp(want.v, got.v, want.n * sizeof(float)) != 0 : difference > cases[c].tolerance) {
            print_message("%s on %s, shape %zu: differs by %.3g\n", cases[c].name, name, k, difference);
            ++*wrong;
        }
        all = fmax(all, difference);
        free(want.v);
        free(got.v);
    }
    return all;
}

static void compare(const char *name, struct mro_device *d, struct mro_device *reference, bool exact)
{
    size_t wrong = 0;
    for (size_t c = 0; c < CASES; c++) {
        const double difference = largest(c, name, d, reference, exact, &wrong);
        if (only) print_message("%s: differs by %.2g, allowed %.2g\n", cases[c].name, difference, cases[c].tolerance);
    }
    if (wrong) fail_msg("%zu results on %s differ by more than is allowed", wrong, name);
}

/* The CPU gives the same bytes at any number of threads. */
static void threads_of_the_cpu(void **state)
{
    struct mro_device *one = device_of("cpu", 1), *three = device_of("cpu", 3);
    (void)state;
    compare("cpu with 3 threads", three, one, true);
    mro_device_close(one);
    mro_device_close(three);
}

static void every_backend_against_the_cpu(void **state)
{
    static const char *const names[] = { "cpu", "strict", "cuda" };
    struct mro_device *reference = device_of("cpu", 1);
    size_t compared = 0;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct mro_device *d = NULL;
        if (only && strcmp(only, names[i]) != 0) continue;
        const enum mro_code rc = mro_device_open(&d, names[i], 2, (size_t)1 << 30, &e);
        if (rc) {
            assert_true(rc == MRO_EDEVICE || rc == MRO_EARG); /* not in this build, or no such card */
            print_message("skipped %s: %s\n", names[i], e.message);
            continue;
        }
        compare(names[i], d, reference, false);
        mro_device_close(d);
        compared++;
    }
    assert_true(compared > 0);
    mro_device_close(reference);
}

/* Kernels do not race and read nothing that nobody wrote: in whatever order their blocks and threads run, and whatever
 * lay in memory before, the bytes are the same. */
static void any_order_of_threads(void **state)
{
    struct mro_device *reference = device_of("strict", 2);
    (void)state;
    for (uint32_t seed = 1; seed <= 2; seed++) {
        struct mro_device *d = device_of("strict", 2);
        mro_strict_shuffle(d, seed);
        compare("strict in another order", d, reference, true);
        mro_device_close(d);
    }
    mro_device_close(reference);
}

/* A portable build has the CPU backend for several kinds of vectors, of which one is in use. */
static void every_kind_of_vectors(void **state)
{
    struct mro_device *reference = device_of("cpu", 1);
    const struct mro_vectors *v;
    (void)state;
    for (size_t i = 0; (v = mro_vectors_usable(i)) != NULL; i++) {
        if (v == mro_vectors()) continue;
        struct mro_device d = *reference;
        d.ops = v->backend;
        d.threads = 2;
        ok(d.ops->open(&d, 0, &e), &e);
        compare(v->name, &d, reference, false);
        d.ops->close(&d);
    }
    mro_device_close(reference);
}

/* Measurements whose own loops are compiled for each kind of vectors: rounding is all that they may differ by. */
static void every_kind_of_vectors_measures_alike(void **state)
{
    enum { N = 256, NUMBERS = 6 };
    struct mro_device *reference = device_of("cpu", 2);
    struct mro_haadf_options h;
    struct mro_shearband_options b;
    struct mro_image im;
    double first[NUMBERS] = { 0 };
    (void)state;
    mro_haadf_options_default(&h);
    mro_shearband_options_default(&b);
    h.surrogates = 299;
    b.surrogates = 99;
    b.alpha = 0.02;
    ok(mro_image_alloc(&im, N, N, &e), &e);
    ok(mro_image_set_pixel_nm(&im, 0.4, MRO_SOURCE_COMMAND_LINE, &e), &e);
    for (size_t y = 0; y < N; y++)
        for (size_t x = 0; x < N; x++) { /* a dark band of 10 nm, waves, noise */
            const float across = 0.8f * (float)x + 0.6f * (float)y - 180;
            im.px[y * N + x] = 1000 * (fabsf(across) < 12.5f ? 0.93f : 1) *
                               (1 + 0.01f * sinf(0.5f * (float)y) + 0.02f * normal_of(8, y * N + x));
        }
    for (int kind = -1; kind < 0 || mro_vectors_usable((size_t)kind); kind++) {
        const struct mro_vectors *v = kind < 0 ? mro_vectors() : mro_vectors_usable((size_t)kind);
        struct mro_device d = *reference;
        struct mro_haadf_result r;
        struct mro_shearband_result bands;
        d.ops = v->backend;
        ok(d.ops->open(&d, 0, &e), &e);
        ok(v->measurements->haadf_measure(&d, &im, "vectors", &h, &r, &e), &e);
        ok(v->measurements->shearband_measure(&d, &im, "vectors", &b, &bands, &e), &e);
        assert_int_equal(bands.n_bands, 1);
        const double found[NUMBERS] = { r.contrast_sd,           r.noise_sd,           r.correlation_length_nm,
                                        bands.band->position_nm, bands.band->width_nm, bands.band->depth };
        if (kind < 0) memcpy(first, found, sizeof first);
        for (int i = 0; i < NUMBERS; i++)
            if (!(fabs(found[i] - first[i]) <= 1e-5 * fabs(first[i])))
                fail_msg("%s: number %d is %.9g for %.9g", v->name, i, found[i], first[i]);
        mro_haadf_result_release(&r);
        mro_shearband_result_release(&bands);
        d.ops->close(&d);
    }
    mro_image_release(&im);
    mro_device_close(reference);
}

/* What a device refuses, it refuses with a reason and leaves nothing behind. */
static void a_budget_is_kept(void **state)
{
    struct mro_device *d = NULL;
    struct mro_buffer b = { 0 };
    char small[64];
    (void)state;
    ok(mro_device_open(&d, "cpu", 1, 1 << 20, &e), &e);
    assert_int_equal(d->ops->alloc(d, &b, (1 << 20) + 1, &e), MRO_EMEMORY);
    assert_non_null(strstr(e.message, "`memory`"));
    assert_null(b.p);
    ok(d->ops->alloc(d, &b, 32, &e), &e);
    assert_int_equal(d->ops->upload(d, &b, small, 33, &e), MRO_EINTERNAL);
    assert_int_equal(d->ops->download(d, small, &b, 33, &e), MRO_EINTERNAL);
    d->ops->release(d, &b);
    assert_null(b.p);
    d->ops->release(d, &b);
    mro_device_close(d);
    mro_device_close(NULL);
}

/* One test by its name, or all; of the one for every backend, that of one backend alone. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_of_the_cpu),
        cmocka_unit_test(every_backend_against_the_cpu),
        cmocka_unit_test(any_order_of_threads),
        cmocka_unit_test(every_kind_of_vectors),
        cmocka_unit_test(every_kind_of_vectors_measures_alike),
        cmocka_unit_test(a_budget_is_kept),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (argc > 2) only = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}

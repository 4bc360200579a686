/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/rings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cholesky.h"
#include "core/memory.h"
#include "core/past.h"

#define CLIP_ROUNDS 6
#define CLIP_LEAST 24  /* pixels of a ring whose scatter is known well enough to leave some out */
#define SPREAD_REACH 8 /* rings to either side that the scatter between sectors is averaged over */
#define SPREAD_LEAST 6 /* pairs of sectors */
#define RANK 1e-14     /* part of a pivot that rounding leaves of a matrix without full rank */
#define NO_PIECE UINT32_MAX
/* Neighbours along an arc share a line of the cache if it holds a square of the pattern, and rows of 1024 pixels do not
 * all fall on the same lines. */
#define TILE 4
#define LANES MRO_RING_LANES
#define PART 64 /* rings of a profile that a thread takes at once */

void mro_azimuth_release(struct mro_azimuth *a)
{
    if (a == NULL || a->d == NULL) return;
    const struct mro_backend *ops = a->d->ops;
    ops->release(a->d, &a->t.first);
    ops->release(a->d, &a->t.count);
    ops->release(a->d, &a->t.pixel);
    ops->release(a->d, &a->t.fraction);
    if (ops->runtime) ops->release(a->d, &a->frames); /* else they are the tiles */
    ops->release(a->d, &a->limits);
    ops->release(a->d, &a->sums);
    free(a->square);
    free(a->tiles);
    free(a->host_limits);
    free(a->host);
    free(a->asked);
    memset(a, 0, sizeof *a);
}

static enum mro_code give(struct mro_device *d, struct mro_buffer *b, const void *host, size_t bytes,
                          struct mro_error *e)
{
    MRO_TRY(d->ops->alloc(d, b, bytes, e));
    return d->ops->upload(d, b, host, bytes, e);
}

/* Piece (counting the empty ones of slices) and fraction of every pixel. */
static void place(const struct mro_azimuth *a, const struct mro_round *round, const unsigned char *mask,
                  uint32_t *piece, float *fraction)
{
    const double per = (double)a->n_sectors / (2 * MRO_PI), inverse = 1 / a->step_px;
#pragma omp parallel for schedule(static) num_threads(a->d->threads)
    for (size_t y = 0; y < a->ny; y++)
        for (size_t x = 0; x < a->nx; x++) {
            const size_t i = y * a->nx + x;
            double u, v;
            mro_round_at(round, (double)x, (double)y, &u, &v);
            const double r = sqrt(u * u + v * v) * inverse;
            piece[i] = NO_PIECE;
            if (!(r < (double)a->n_rings) || (mask && mask[i])) continue;
            const size_t ring = (size_t)r;
            size_t sector = (size_t)((atan2(v, u) + 2 * MRO_PI) * per + 0.5); /* 0 is centred on +x */
            sector %= a->n_sectors;
            piece[i] = (uint32_t)(sector * mro_ring_slices(&a->t) * LANES + ring);
            fraction[i] = (float)(r - (double)ring);
        }
}

static size_t tiles_along(const struct mro_azimuth *a, size_t n) { return (n + a->tile - 1) / a->tile; }

/* Where row y of tiles, or of pixels in one, begins. */
static size_t row_at(const struct mro_azimuth *a, size_t y)
{
    return y / a->tile * tiles_along(a, a->nx) * a->tile * a->tile + y % a->tile * a->tile;
}

static uint32_t place_of(const struct mro_azimuth *a, size_t i)
{
    const size_t x = i % a->nx;
    return (uint32_t)(row_at(a, i / a->nx) + x / a->tile * a->tile * a->tile + x % a->tile);
}

/* One row of a tile. Past the caches where the tiles of a frame do not stay there until they are summed up. */
static inline void lay_row(float *to, const float *from, bool past_caches)
{
    if (past_caches)
        mro_store_past(__builtin_assume_aligned(to, TILE * sizeof *to), from, TILE);
    else
        memcpy(to, from, TILE * sizeof *to);
}

/* Puts n frames into tiles. What lies beyond their edges is in no piece. */
static void lay_tiles(struct mro_azimuth *a, const float *frames, size_t n)
{
    const size_t whole = a->nx / TILE * TILE;
    const bool past_caches = a->t.frame_pixels * sizeof *frames > MRO_CACHE_BYTES;
#pragma omp parallel for collapse(2) schedule(static) num_threads(a->d->threads)
    for (size_t frame = 0; frame < n; frame++)
        for (size_t tile = 0; tile < tiles_along(a, a->ny); tile++) {
            const size_t y0 = tile * TILE, rows = a->ny - y0 < TILE ? a->ny - y0 : TILE;
            const float *from = frames + (frame * a->ny + y0) * a->nx;
            float *to = a->tiles + frame * a->t.frame_pixels + row_at(a, y0);
            if (rows == TILE) /* a line of the cache after the other */
                for (size_t x = 0; x < whole; x += TILE)
                    for (size_t y = 0; y < TILE; y++)
                        lay_row(to + x * TILE + y * TILE, from + y * a->nx + x, past_caches);
            for (size_t y = 0; y < rows; y++) {
                size_t x = rows == TILE ? whole : 0;
                for (; x < whole; x += TILE) memcpy(to + x * TILE + y * TILE, from + y * a->nx + x, TILE * sizeof *to);
                if (x < a->nx) memcpy(to + x * TILE + y * TILE, from + y * a->nx + x, (a->nx - x) * sizeof *to);
            }
            if (past_caches) mro_past_done();
        }
}

/* The steps of each slice from how many pixels its pieces have; all of them. */
static size_t make_slices(const struct mro_azimuth *a, const uint32_t *count, uint32_t *first)
{
    const size_t slices = a->n_sectors * mro_ring_slices(&a->t);
    size_t at = 0;
    for (size_t k = 0; k < slices; k++, count += LANES) {
        uint32_t most = 0;
        for (int j = 0; j < LANES; j++) most = count[j] > most ? count[j] : most;
        first[k] = (uint32_t)at;
        at += most;
    }
    first[slices] = (uint32_t)at;
    return at;
}

enum mro_code mro_azimuth_new(struct mro_azimuth *a, struct mro_device *d, size_t ny, size_t nx,
                              const struct mro_round *round, const unsigned char *mask, double step_px, size_t n_rings,
                              size_t n_sectors, size_t batch, struct mro_error *e)
{
    const size_t n = ny * nx, pieces = n_rings * n_sectors;
    memset(a, 0, sizeof *a);
    if (n >= NO_PIECE / LANES || pieces >= NO_PIECE / LANES)
        return MRO_FAIL(e, MRO_EDATA, "a pattern of %zu x %zu pixels is too large", nx, ny);
    *a = (struct mro_azimuth){ .d = d, .ny = ny, .nx = nx, .n_rings = n_rings, .n_sectors = n_sectors, .batch = batch };
    a->step_px = step_px;
    a->tile = d->ops->runtime ? 1 : TILE; /* a card gathers as well from rows, and would have to wait for the tiles */
    a->t = (struct mro_ring_map){ .n_sectors = n_sectors, .n_rings = n_rings };
    a->t.frame_pixels = tiles_along(a, ny) * tiles_along(a, nx) * a->tile * a->tile;
    const size_t all = n_sectors * mro_ring_slices(&a->t) * LANES; /* pieces, with the empty ones */
    uint32_t *piece = malloc(n * sizeof *piece), *count = calloc(all, sizeof *count), *pixel = NULL;
    uint32_t *first = malloc((all / LANES + 1) * sizeof *first), *filled = calloc(all, sizeof *filled);
    float *of_pixel = malloc(n * sizeof *of_pixel), *fraction = NULL;
    enum mro_code rc = MRO_OK;
    a->square = calloc(pieces, sizeof *a->square);
    a->host_limits = malloc(2 * batch * n_rings * sizeof *a->host_limits);
    a->host = malloc(batch * pieces * sizeof *a->host);
    a->asked = malloc(2 * batch * n_rings * sizeof *a->asked);
    if (a->tile > 1) {
        /* A tile is a line of the cache, and neighbours of a ring lie on many pages. */
        const size_t tiles = batch * a->t.frame_pixels * sizeof *a->tiles;
        if ((a->tiles = aligned_alloc(TILE * TILE * sizeof *a->tiles, tiles))) mro_prefer_huge_pages(a->tiles, tiles);
    }
    if (!piece || !count || !first || !filled || !of_pixel || !a->square || !a->host_limits || !a->host || !a->asked ||
        (a->tile > 1 && !a->tiles))
        goto no_room;
    place(a, round, mask, piece, of_pixel);
    for (size_t i = 0; i < n; i++) {
        if (piece[i] == NO_PIECE) continue;
        count[piece[i]]++;
        a->t.n_pixels++;
    }
    const size_t steps = make_slices(a, count, first);
    pixel = calloc(steps * LANES + 1, sizeof *pixel);
    fraction = calloc(steps * LANES + 1, sizeof *fraction);
    if (!pixel || !fraction) goto no_room;
    for (size_t i = 0; i < n; i++) {
        const uint32_t p = piece[i];
        if (p == NO_PIECE) continue;
        const size_t at = ((size_t)first[p / LANES] + filled[p]++) * LANES + p % LANES;
        pixel[at] = place_of(a, i);
        fraction[at] = of_pixel[i];
        a->square[p / (all / n_sectors) * n_rings + p % (all / n_sectors)] += (double)of_pixel[i] * of_pixel[i];
    }
    const bool device = d->ops->runtime != NULL;
    rc = give(d, &a->t.first, first, (all / LANES + 1) * sizeof *first, e);
    if (rc == MRO_OK) rc = give(d, &a->t.count, count, all * sizeof *count, e);
    if (rc == MRO_OK) rc = give(d, &a->t.pixel, pixel, steps * LANES * sizeof *pixel, e);
    if (rc == MRO_OK) rc = give(d, &a->t.fraction, fraction, steps * LANES * sizeof *fraction, e);
    if (rc == MRO_OK && device) rc = d->ops->alloc(d, &a->frames, batch * n * sizeof(float), e);
    if (rc == MRO_OK && device) rc = d->ops->alloc(d, &a->limits, 2 * batch * n_rings * sizeof(float), e);
    if (rc == MRO_OK && device) rc = d->ops->alloc(d, &a->sums, batch * pieces * sizeof *a->host, e);
done:
    free(piece);
    free(count);
    free(first);
    free(filled);
    free(pixel);
    free(of_pixel);
    free(fraction);
    if (rc) mro_azimuth_release(a);
    return rc;
no_room:
    rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the rings of a pattern of %zu x %zu pixels", nx, ny);
    goto done;
}

/* Ring k of one frame over all sectors. */
static struct mro_ring_sums whole_ring(const struct mro_azimuth *a, size_t frame, size_t k)
{
    const struct mro_ring_sums *s = a->host + frame * a->n_sectors * a->n_rings + k;
    struct mro_ring_sums r = { .lo = INFINITY, .hi = -INFINITY };
    for (size_t i = 0; i < a->n_sectors; i++, s += a->n_rings) {
        r.n += s->n;
        r.f += s->f;
        r.v += s->v;
        r.fv += s->fv;
        r.vv += s->vv;
        r.fvv += s->fvv;
        r.lo = s->lo < r.lo ? s->lo : r.lo;
        r.hi = s->hi > r.hi ? s->hi : r.hi;
    }
    return r;
}

static double variance_of(double n, double v, double vv)
{
    const double mean = v / n, var = vv / n - mean * mean;
    return n > 1 && var > 0 ? var * n / (n - 1) : 0;
}

/* From the sums of a frame the limits of its rings. Asks for sums within them where they leave out something else than
 * before; false when no ring does. */
static bool set_limits(struct mro_azimuth *a, size_t frame, double clip, bool first)
{
    float *limit = a->host_limits + 2 * frame * a->n_rings, *ask = a->asked + 2 * frame * a->n_rings;
    bool any = false;
    for (size_t k = 0; k < a->n_rings; k++, limit += 2, ask += 2) {
        if (!first && isnan(ask[0])) continue;
        const struct mro_ring_sums r = whole_ring(a, frame, k);
        float now[2] = { -INFINITY, INFINITY };
        const double mean = r.v / r.n, sd = r.n < CLIP_LEAST ? 0 : sqrt(variance_of(r.n, r.v, r.vv));
        if (sd > 0) {
            /* A gamma distribution of this mean and scatter (speckle) has the skewness 2 sd / mean, counts half of it;
             * the first term of Cornish and Fisher's expansion moves a limit by it. */
            const double skew = (clip * clip - 1) / 3 * sd * fmin(sd / fabs(mean), 1);
            now[0] = (float)(mean - clip * sd);
            now[1] = (float)(mean + clip * sd + skew);
        }
        const bool same = first ? r.lo >= now[0] && r.hi <= now[1] : limit[0] == now[0] && limit[1] == now[1];
        memcpy(limit, now, sizeof now);
        ask[0] = same ? NAN : now[0];
        ask[1] = now[1];
        any |= !same;
    }
    return any;
}

/* Sums of n frames to a->host. Where buffers are host memory nothing is copied. */
static enum mro_code sum_up(struct mro_azimuth *a, size_t n, bool limited, struct mro_error *e)
{
    struct mro_device *d = a->d;
    const size_t limits = 2 * n * a->n_rings * sizeof *a->asked, sums = n * a->n_rings * a->n_sectors * sizeof *a->host;
    if (d->ops->runtime == NULL) {
        const struct mro_buffer limit = { a->asked, limits };
        struct mro_buffer to = { a->host, sums };
        return d->ops->ring_sums(d, &a->t, &a->frames, n, limited ? &limit : NULL, &to, e);
    }
    if (limited) MRO_TRY(d->ops->upload(d, &a->limits, a->asked, limits, e));
    MRO_TRY(d->ops->ring_sums(d, &a->t, &a->frames, n, limited ? &a->limits : NULL, &a->sums, e));
    return d->ops->download(d, a->host, &a->sums, sums, e);
}

enum mro_code mro_azimuth_run(struct mro_azimuth *a, const float *frames, size_t n, double clip_sd, struct mro_error *e)
{
    struct mro_device *d = a->d;
    if (n > a->batch) return MRO_FAIL(e, MRO_EINTERNAL, "%zu frames where %zu were planned", n, a->batch);
    if (d->ops->runtime) {
        MRO_TRY(d->ops->upload(d, &a->frames, frames, n * a->t.frame_pixels * sizeof *frames, e));
    } else {
        lay_tiles(a, frames, n);
        a->frames = (struct mro_buffer){ a->tiles, n * a->t.frame_pixels * sizeof *frames };
    }
    MRO_TRY(sum_up(a, n, false, e));
    for (size_t i = 0; i < 2 * n * a->n_rings; i++) a->host_limits[i] = i % 2 ? INFINITY : -INFINITY;
    if (!(clip_sd > 0)) return MRO_OK;
    for (int round = 0; round < CLIP_ROUNDS; round++) {
        int rings = 0;
#pragma omp parallel for schedule(static) num_threads(d->threads) reduction(+ : rings) if (n > 1)
        for (size_t i = 0; i < n; i++) rings += set_limits(a, i, clip_sd, round == 0);
        if (rings == 0) return MRO_OK;
        MRO_TRY(sum_up(a, n, true, e));
    }
    return MRO_OK;
}

void mro_azimuth_limits(const struct mro_azimuth *a, size_t frame, size_t k, float limit[2])
{
    memcpy(limit, a->host_limits + 2 * (frame * a->n_rings + k), 2 * sizeof *limit);
}

/* How many times the variance of a mean is that of independent pixels: scatter between pairs of opposite sectors over
 * what their pixels' scatter gives, less smooth dependence on the direction. Speckle is wider than a pixel and repeats
 * on the opposite side, so that pixels are not independent. `wave`: cosine and sine of twice a sector's direction. Adds
 * to *chi2 and *dof. */
static void between_pairs(const struct mro_profile *p, const double (*wave)[2], const double *weight2, size_t k,
                          double *chi2, double *dof)
{
    const size_t pairs = p->n_sectors / 2;
    double m[9] = { 0 }, b[3] = { 0 }, rest = 0; /* normal equations of 1, cos 2 chi, sin 2 chi */
    size_t n = 0;
    const double var = p->sd[k] * p->sd[k];
    if (!(var > 0)) return;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < pairs; i++) {
            const size_t j = i + pairs;
            const double w1 = p->sector_weight[i * p->n + k], w2 = p->sector_weight[j * p->n + k];
            if (!(w1 > 2 && w2 > 2)) continue;
            const double w = w1 + w2, y = (w1 * p->sector_mean[i * p->n + k] + w2 * p->sector_mean[j * p->n + k]) / w;
            const double of_mean = var * (weight2[i * p->n + k] + weight2[j * p->n + k]) / (w * w);
            const double row[3] = { 1, wave[i][0], wave[i][1] }, inverse = 1 / of_mean;
            if (pass == 0) {
                for (int r = 0; r < 3; r++) {
                    for (int c = 0; c < 3; c++) m[3 * r + c] += inverse * row[r] * row[c];
                    b[r] += inverse * row[r] * y;
                }
                n++;
            } else {
                const double left = y - b[0] - b[1] * row[1] - b[2] * row[2];
                rest += left * left * inverse;
            }
        }
        if (n < SPREAD_LEAST) return;
        if (pass) break;
        if (!mro_cholesky_solve(m, 3, 3, b, RANK)) return;
    }
    *chi2 += rest;
    *dof += (double)n - 3;
}

enum mro_code mro_azimuth_profile(const struct mro_azimuth *a, size_t frame, double step_inv_nm, struct mro_profile *p,
                                  struct mro_error *e)
{
    const size_t n = a->n_rings, pieces = n * a->n_sectors;
    double *work = malloc((pieces + 3 * n + 2 * a->n_sectors) * sizeof *work);
    if (work == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a profile");
    double *weight2 = work, *total2 = work + pieces, *chi2 = total2 + n, *dof = chi2 + n;
    double(*wave)[2] = (double(*)[2])(dof + n);
    const enum mro_code rc = mro_profile_alloc(p, n, a->n_sectors, e);
    if (rc) {
        free(work);
        return rc;
    }
    double *all[3] = { p->pixels, p->intensity, p->sd }; /* sums first */
    for (int i = 0; i < 3; i++) memset(all[i], 0, n * sizeof **all);
    memset(total2, 0, n * sizeof *total2);
    const size_t parts = (n + PART - 1) / PART;
#pragma omp parallel for schedule(static) num_threads(a->d->threads)
    for (size_t part = 0; part < parts; part++)
        for (size_t sector = 0; sector < a->n_sectors; sector++) {
            const struct mro_ring_sums *s = a->host + (frame * a->n_sectors + sector) * n;
            const double *square = a->square + sector * n;
            const size_t end = (part + 1) * PART < n ? (part + 1) * PART : n;
            for (size_t k = part * PART; k < end; k++) {
                double w = s[k].n - s[k].f, v = s[k].v - s[k].fv, vv = s[k].vv - s[k].fvv;
                double w2 = s[k].n - 2 * s[k].f + square[k];
                if (k) {
                    w += s[k - 1].f;
                    v += s[k - 1].fv;
                    vv += s[k - 1].fvv;
                    w2 += square[k - 1];
                }
                p->sector_weight[sector * n + k] = w;
                p->sector_mean[sector * n + k] = w > 0 ? v / w : NAN;
                weight2[sector * n + k] = fmin(fmax(w2, 0), w); /* pixels without data are in `square` still */
                p->pixels[k] += w;
                p->intensity[k] += v;
                p->sd[k] += vv;
                total2[k] += weight2[sector * n + k];
            }
        }
    for (size_t k = 0; k < n; k++) {
        const double w = p->pixels[k], mean = p->intensity[k] / w, var = p->sd[k] / w - mean * mean;
        const double free_weight = 1 - total2[k] / (w * w); /* as n - 1 over n */
        p->s_inv_nm[k] = (double)k * step_inv_nm;
        p->intensity[k] = w > 0 ? mean : NAN;
        p->sd[k] = w > 0 && free_weight > 1e-9 ? sqrt(fmax(var, 0) / free_weight) : NAN;
    }
    memset(chi2, 0, 2 * n * sizeof *chi2);
    for (size_t i = 0; i < a->n_sectors; i++) {
        const double chi = 2 * MRO_PI * (double)i / (double)a->n_sectors;
        wave[i][0] = cos(2 * chi);
        wave[i][1] = sin(2 * chi);
    }
#pragma omp parallel for schedule(static, PART) num_threads(a->d->threads)
    for (size_t k = 0; k < n; k++) between_pairs(p, (const double(*)[2])wave, weight2, k, &chi2[k], &dof[k]);
    for (size_t k = 0; k < n; k++) {
        double c = 0, f = 0;
        for (size_t j = k > SPREAD_REACH ? k - SPREAD_REACH : 0; j < n && j <= k + SPREAD_REACH; j++) {
            c += chi2[j];
            f += dof[j];
        }
        const double more = f > 0 ? fmax(1, c / f) : 1, w = p->pixels[k];
        /* Pixels that are all alike (no counts at all) say nothing about their scatter. */
        p->se[k] = p->sd[k] > 0 ? p->sd[k] * sqrt(more * total2[k]) / w : NAN;
    }
    p->step_inv_nm = step_inv_nm;
    p->radiation = MRO_RADIATION_ELECTRONS;
    free(work);
    return MRO_OK;
}

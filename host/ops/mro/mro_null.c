/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The null: fields of speckle drawn and scored like an image, and the detection power of spheres planted in them. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/first_error.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"
#include "mroscope/math/patch.h"
#include "mroscope/math/philox.h"
#include "ops/mro/mro_internal.h"
#include "ops/mro/mro_views.h"

#define FALSE_PER_NM2 (1 / 200.0) /* patches that speckle alone may give */

/* Sorts n floats >= 0 ascending: as unsigned integers they have the same order. */
static bool sort_floats(float *v, size_t n)
{
    uint32_t *from = malloc(n * sizeof *from), *to = malloc(n * sizeof *to);
    if (from == NULL || to == NULL) {
        free(from);
        free(to);
        return false;
    }
    memcpy(from, v, n * sizeof *from);
    for (int shift = 0; shift < 33; shift += 11) {
        size_t at[2049] = { 0 };
        for (size_t i = 0; i < n; i++) at[(from[i] >> shift & 2047) + 1]++;
        for (size_t b = 0; b < 2048; b++) at[b + 1] += at[b];
        for (size_t i = 0; i < n; i++) to[at[from[i] >> shift & 2047]++] = from[i];
        uint32_t *t = from;
        from = to;
        to = t;
    }
    memcpy(v, from, n * sizeof *from);
    free(from);
    free(to);
    return true;
}

enum { PLANTED_PER_SIDE = 5, PLANTED = PLANTED_PER_SIDE * PLANTED_PER_SIDE, PLANTED_TILES = 6 };

/* Spheres planted in one speckle field: sqrt of the ratio each is seen with, and whether the code found it. `band`: the
 * pass band on the tile's grid. */
static enum mro_code plant_tile(const struct mro_order_plan *p, uint64_t tile, const float *band, double root[PLANTED],
                                bool hit[PLANTED], struct mro_error *e)
{
    static const double sizes[] = { 1.4, 1.8, 2.3 };
    struct mro_device *d = p->d;
    const size_t n = (size_t)TILE_SAMPLES * TILE_SAMPLES;
    const double pitch = TILE_NM / TILE_SAMPLES, spacing = TILE_NM / PLANTED_PER_SIDE, q = 1 / p->o.d_nm;
    const double wide[2] = { -1, 1e3 }; /* all frequencies: the band is applied after planting */
    struct mro_buffer spectrum = { 0 }, field = { 0 };
    struct mro_scores s = { 0 };
    struct mro_found_list found = { 0 };
    float *plane = malloc(n * sizeof *plane);
    double cy[PLANTED], cx[PLANTED];
    enum mro_code rc = MRO_OK;
    if (plane == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    if ((rc = d->ops->alloc(d, &spectrum, n * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &field, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->noise_spectrum(d, &p->tile, p->o.seed, (1ull << 32) + tile, wide, BAND_EDGE, &spectrum, e)))
        goto done;
    if ((rc = d->ops->inverse(d, &p->tile, &spectrum, &field, e))) goto done;
    if ((rc = d->ops->download(d, plane, &field, n * sizeof(float), e))) goto done;
    for (size_t i = 0; i < PLANTED; i++) {
        const mro_philox_block b = mro_philox(p->o.seed, (2ull << 32) + tile, i);
        const mro_philox_block c = mro_philox(p->o.seed, (3ull << 32) + tile, i);
        const double diameter = sizes[b.v[0] % 3], radius = 0.5 * diameter;
        const double amplitude = 1.0 + 6.0 * mro_uniform_open(b.v[1]); /* sqrt(snr) */
        const double azimuth = MRO_PI * mro_uniform_open(b.v[2]), phase = 2 * MRO_PI * mro_uniform_open(b.v[3]);
        cy[i] = spacing * ((double)(i / PLANTED_PER_SIDE) + 0.4 + 0.2 * mro_uniform_open(c.v[0]));
        cx[i] = spacing * ((double)(i % PLANTED_PER_SIDE) + 0.4 + 0.2 * mro_uniform_open(c.v[1]));
        const double qy = q * sin(azimuth), qx = q * cos(azimuth);
        /* snr = (sum a t / 2)^2 / sum t^2 of the chord t with fringes a t cos: sum t^2 = pi D^4 / 8 / pitch^2. */
        const double scale = 2 * amplitude / sqrt(MRO_PI * pow(diameter, 4) / 8) * pitch;
        for (size_t y = (size_t)((cy[i] - radius) / pitch); y <= (size_t)((cy[i] + radius) / pitch) + 1; y++)
            for (size_t x = (size_t)((cx[i] - radius) / pitch); x <= (size_t)((cx[i] + radius) / pitch) + 1; x++) {
                const double dy = (double)y * pitch - cy[i], dx = (double)x * pitch - cx[i];
                plane[y * TILE_SAMPLES + x] += (float)(scale * mro_chord((float)(dy * dy + dx * dx), (float)radius) *
                                                       cos(2 * MRO_PI * (qy * dy + qx * dx) + phase));
            }
        root[i] = sqrt(mro_seen_snr(amplitude * amplitude));
        hit[i] = false;
    }
    if ((rc = d->ops->upload(d, &field, plane, n * sizeof(float), e))) goto done;
    if ((rc = d->ops->forward(d, &p->tile, &field, &spectrum, e))) goto done;
    if ((rc = d->ops->multiply(d, &p->tile, &spectrum, band, e))) goto done;
    if ((rc = mro_score_field(p, &p->tile, &p->tile_cells, &spectrum, &s, e))) goto done;
    mro_fill_surprise(p, &s);
    if ((rc = mro_find_patches(p, &s, NULL, 0, p->null.object_threshold, false, &found, e))) goto done;
    for (size_t i = 0; i < PLANTED; i++)
        for (size_t j = 0; j < found.n; j++)
            if (hypot(found.v[j].y_nm - cy[i], found.v[j].x_nm - cx[i]) < 0.9) hit[i] = true;
done:
    d->ops->release(d, &spectrum);
    d->ops->release(d, &field);
    mro_scores_release(d, &s);
    free(found.v);
    free(plane);
    return rc;
}

enum mro_code mro_power_measure(struct mro_order_plan *p, struct mro_error *e)
{
    float *band = malloc((size_t)TILE_SAMPLES * TILE_SAMPLES * sizeof *band);
    double root[PLANTED_TILES][PLANTED];
    bool hit[PLANTED_TILES][PLANTED];
    struct mro_first_error first = { 0 };
    if (band == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (size_t y = 0; y < TILE_SAMPLES; y++) mro_band_row(p, &p->tile, y, band + y * TILE_SAMPLES);
#pragma omp parallel for schedule(dynamic) num_threads(p->d->threads) if (p->d->ops->concurrent)
    for (size_t t = 0; t < PLANTED_TILES; t++) {
        struct mro_error mine;
        mro_first_keep(&first, t, plant_tile(p, t, band, root[t], hit[t], &mine), &mine);
    }
    free(band);
    MRO_TRY(mro_first_code(&first, e));
    /* Two parameters, a smooth likelihood: a grid is simple and cannot fail. Its steps are half the standard errors. */
    double best = -INFINITY;
    for (double a = 1.5; a <= 6; a += 0.05)
        for (double b = 0.3; b <= 1.5; b += 0.1) {
            double l = 0;
            for (size_t t = 0; t < PLANTED_TILES; t++)
                for (size_t i = 0; i < PLANTED; i++) {
                    const double z = (root[t][i] - a) / b;
                    l += log(fmax(hit[t][i] ? gsl_cdf_ugaussian_P(z) : gsl_cdf_ugaussian_Q(z), 0.002));
                }
            if (l > best) {
                best = l;
                p->power_curve[0] = a;
                p->power_curve[1] = b;
            }
        }
    return MRO_OK;
}

static enum mro_code speckle_scores(const struct mro_order_plan *p, uint64_t tile, struct mro_scores *s,
                                    struct mro_error *e)
{
    struct mro_device *d = p->d;
    struct mro_buffer spectrum = { 0 };
    enum mro_code rc = d->ops->alloc(d, &spectrum, p->tile.ny * p->tile.nx * sizeof(mro_c32), e);
    if (rc == MRO_OK)
        rc = d->ops->noise_spectrum(d, &p->tile, p->o.seed, tile, p->o.band_inv_nm, BAND_EDGE, &spectrum, e);
    if (rc == MRO_OK) rc = mro_score_field(p, &p->tile, &p->tile_cells, &spectrum, s, e);
    d->ops->release(d, &spectrum);
    return rc;
}

enum mro_code mro_null_draw(struct mro_order_plan *p, struct mro_error *e)
{
    struct mro_device *d = p->d;
    const size_t tiles = (size_t)p->o.surrogates, each = (size_t)TILE_CELLS * TILE_CELLS;
    /* All fields and their scores are held until the last threshold is known. */
    const size_t held =
        tiles * ((size_t)TILE_SAMPLES * TILE_SAMPLES * sizeof(float) + each * (2 + 2 * MRO_WINDOWS) * 4);
    if (held > d->memory_bytes)
        return MRO_FAIL(e, MRO_EMEMORY,
                        "%d speckle fields take %zu MiB, over the memory budget of %zu MiB; give fewer `surrogates` or "
                        "raise `memory`",
                        p->o.surrogates, held >> 20, d->memory_bytes >> 20);
    struct mro_null *null = &p->null;
    struct mro_found_list all = { 0 }, *found = NULL;
    struct mro_scores *s = calloc(tiles, sizeof *s);
    struct mro_first_error first = { 0 };
    enum mro_code rc = MRO_OK;
    null->cells = tiles * each;
    null->min_p = malloc(null->cells * sizeof *null->min_p);
    if (s == NULL || null->min_p == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a null of %zu cells", null->cells);
        goto done;
    }
    /* Fields are independent and small: one thread each, where the device allows that. */
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t t = 0; t < tiles; t++) {
        struct mro_error mine;
        mro_first_keep(&first, t, speckle_scores(p, t, s + t, &mine), &mine);
    }
    if ((rc = mro_first_code(&first, e))) goto done;
    for (int k = 0; k < MRO_WINDOWS; k++) {
        for (size_t t = 0; t < tiles; t++) memcpy(null->min_p + t * each, s[t].power[k], each * sizeof(float));
        if (!sort_floats(null->min_p, null->cells)) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
            goto done;
        }
        mro_null_tabulate(null, k, null->min_p, null->cells);
    }
    for (size_t t = 0; t < tiles; t++) {
        mro_fill_surprise(p, s + t);
        memcpy(null->min_p + t * each, s[t].surprise, each * sizeof(float));
    }
    if ((rc = mro_views_new(p, e))) goto done;
    if (!sort_floats(null->min_p, null->cells)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    null->threshold = null->min_p[(size_t)((1 - p->o.false_positive_rate) * (double)null->cells)];
    null->area_nm2 = (double)tiles * TILE_NM * TILE_NM;
    if ((found = calloc(tiles, sizeof *found)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t t = 0; t < tiles; t++) {
        struct mro_error mine;
        mro_first_keep(&first, t, mro_find_patches(p, s + t, NULL, 0, -INFINITY, false, found + t, &mine), &mine);
    }
    rc = mro_first_code(&first, e);
    for (size_t t = 0; t < tiles && rc == MRO_OK; t++)
        for (size_t i = 0; i < found[t].n && rc == MRO_OK; i++)
            if (!mro_found_push(&all, found[t].v + i)) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    if (rc) goto done;
    /* `all` is ordered within a tile only. */
    mro_found_sort(&all);
    const size_t wanted = (size_t)(FALSE_PER_NM2 * null->area_nm2);
    if (all.n <= wanted + 1 || wanted < 8) {
        rc = MRO_FAIL(e, MRO_EARG, "%d speckle fields are too few for a null; give `surrogates` 8 or more",
                      p->o.surrogates);
        goto done;
    }
    null->object_threshold = all.v[wanted].significance;
    null->false_patches = wanted;
    for (size_t i = 0; i < wanted; i++)
        null->object_excess += (all.v[i].significance - null->object_threshold) / (double)wanted;
done:
    for (size_t t = 0; s && t < tiles; t++) mro_scores_release(d, s + t);
    free(s);
    for (size_t t = 0; found && t < tiles; t++) free(found[t].v);
    free(found);
    free(all.v);
    return rc;
}

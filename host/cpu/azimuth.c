/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Azimuthal sums. */
#include "kernels/azimuth.h"
#include "cpu/cpu.h"

/* One piece. Values out of the limits, and NaN, are turned to zeros instead of skipped, so that the loop has no branch
 * and its order of summation depends on nothing but the piece. */
static struct mro_ring_sums piece_sums(const float *px, const uint32_t *pixel, const float *fraction, size_t count,
                                       float lo, float hi)
{
    double n = 0, sf = 0, sv = 0, sfv = 0, svv = 0, sfvv = 0;
    float least = INFINITY, most = -INFINITY;
#pragma omp simd reduction(+ : n, sf, sv, sfv, svv, sfvv) reduction(min : least) reduction(max : most)
    for (size_t i = 0; i < count; i++) {
        const float x = px[pixel[i]];
        const int finite = fabsf(x) < INFINITY, take = finite & (x >= lo) & (x <= hi);
        const float low = finite ? x : INFINITY, high = finite ? x : -INFINITY;
        least = low < least ? low : least;
        most = high > most ? high : most;
        const double v = take ? x : 0.0f, f = take ? fraction[i] : 0.0f;
        n += take ? 1.0 : 0.0;
        sf += f;
        sv += v;
        sfv += f * v;
        svv += v * v;
        sfvv += f * v * v;
    }
    return (struct mro_ring_sums){ n, sf, sv, sfv, svv, sfvv, least, most };
}

/* The same where every pixel counts: no comparisons. False, and nothing in *r, when one of them has no data. */
static bool plain_sums(const float *px, const uint32_t *pixel, const float *fraction, size_t count,
                       struct mro_ring_sums *r)
{
    double sf = 0, sv = 0, sfv = 0, svv = 0, sfvv = 0;
    float least = INFINITY, most = -INFINITY;
#pragma omp simd reduction(+ : sf, sv, sfv, svv, sfvv) reduction(min : least) reduction(max : most)
    for (size_t i = 0; i < count; i++) {
        const float x = px[pixel[i]];
        const double v = x, f = fraction[i], fv = f * v;
        least = x < least ? x : least;
        most = x > most ? x : most;
        sf += f;
        sv += v;
        sfv += fv;
        svv += v * v;
        sfvv += fv * v;
    }
    if (!(svv < INFINITY)) return false;
    *r = (struct mro_ring_sums){ (double)count, sf, sv, sfv, svv, sfvv, least, most };
    return true;
}

enum mro_code mro_cpu_ring_sums(struct mro_device *d, const struct mro_ring_map *t, const struct mro_buffer *frames,
                                size_t n_frames, const struct mro_buffer *limits, struct mro_buffer *sums,
                                struct mro_error *e)
{
    (void)e;
    const size_t pieces = t->n_sectors * t->n_rings;
    const uint32_t *start = t->start.p, *pixel = t->pixel.p;
    const float *fraction = t->fraction.p;
    /* Sectors have nearly the same work; outer loops over frames keep a frame in the cache of one core. */
#pragma omp parallel for collapse(2) schedule(static) num_threads(d->threads)
    for (size_t frame = 0; frame < n_frames; frame++)
        for (size_t sector = 0; sector < t->n_sectors; sector++) {
            const float *px = (const float *)frames->p + frame * t->frame_pixels;
            const float *limit = limits ? (const float *)limits->p + 2 * frame * t->n_rings : NULL;
            struct mro_ring_sums *to = (struct mro_ring_sums *)sums->p + frame * pieces + sector * t->n_rings;
            for (size_t ring = 0; ring < t->n_rings; ring++) {
                const uint32_t *s = start + sector * t->n_rings + ring;
                const float lo = limit ? limit[2 * ring] : -INFINITY, hi = limit ? limit[2 * ring + 1] : INFINITY;
                if (limit && mro_ring_settled(&to[ring], lo, hi, s[1] - s[0])) continue;
                if (limit == NULL && plain_sums(px, pixel + s[0], fraction + s[0], s[1] - s[0], &to[ring])) continue;
                to[ring] = piece_sums(px, pixel + s[0], fraction + s[0], s[1] - s[0], lo, hi);
            }
        }
    return MRO_OK;
}

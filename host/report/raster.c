/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/raster.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"

enum mro_code mro_quantiles(const float *v, size_t n, const double *q, size_t k, double *out, struct mro_error *e)
{
    for (size_t i = 0; i < k; i++) out[i] = NAN;
    if (n == 0) return MRO_OK;
    float *a = n > SIZE_MAX / sizeof *a ? NULL : malloc(n * sizeof *a);
    if (a == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the grey levels of %zu pixels do not fit in memory", n);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) a[m++] = v[i];
    for (size_t i = 0; i < k && m > 0; i++) {
        const double rank = q[i] * (double)(m - 1);
        const size_t below = (size_t)rank;
        out[i] = mro_select(a, m, below);
        if (rank > (double)below && below + 1 < m) {
            float next = a[below + 1]; /* the smallest of those behind, none of which is smaller than that */
            for (size_t j = below + 2; j < m; j++)
                if (a[j] < next) next = a[j];
            out[i] += (rank - (double)below) * ((double)next - out[i]);
        }
    }
    free(a);
    return MRO_OK;
}

size_t mro_block_factor(size_t n, size_t limit)
{
    if (n <= limit || limit == 0) return 1;
    return (n - 1) / limit + 1;
}

void mro_area_average(const float *src, size_t pitch, size_t ny, size_t nx, size_t ky, size_t kx, float *dst)
{
    const size_t my = (ny - 1) / ky + 1, mx = (nx - 1) / kx + 1;
#pragma omp parallel for schedule(static)
    for (size_t j = 0; j < my; j++) {
        const size_t y1 = (j + 1) * ky < ny ? (j + 1) * ky : ny;
        for (size_t i = 0; i < mx; i++) {
            const size_t x1 = (i + 1) * kx < nx ? (i + 1) * kx : nx;
            double sum = 0;
            size_t count = 0;
            for (size_t y = j * ky; y < y1; y++) {
                for (size_t x = i * kx; x < x1; x++) {
                    const float p = src[y * pitch + x];
                    const bool ok = isfinite(p);
                    sum += ok ? p : 0;
                    count += ok;
                }
            }
            dst[j * mx + i] = count > 0 ? (float)(sum / (double)count) : NAN;
        }
    }
}

static double lanczos3(double t)
{
    t = fabs(t);
    if (t < 1e-9) return 1;
    if (t >= 3) return 0;
    return 3 * sin(M_PI * t) * sin(M_PI * t / 3) / (M_PI * M_PI * t * t);
}

/* One axis: `lines` lines of n samples, `step` apart within a line and `line` from line to line. */
static void upsample_lines(const float *src, size_t n, size_t step, size_t lines, size_t line, size_t k, float *dst,
                           size_t dst_step, size_t dst_line)
{
    for (size_t phase = 0; phase < k; phase++) {
        /* Output X = x * k + phase lies at x + shift of the input, pixel centres counted. */
        const double shift = ((double)phase + 0.5) / (double)k - 0.5;
        double w[7];
        for (int o = -3; o <= 3; o++) w[o + 3] = lanczos3((double)o - shift);
        for (size_t l = 0; l < lines; l++) {
            for (size_t x = 0; x < n; x++) {
                double sum = 0, weight = 0;
                for (int o = -3; o <= 3; o++) {
                    if ((o < 0 && x < (size_t)-o) || (o > 0 && x + (size_t)o >= n)) continue;
                    const float p = src[l * line + (size_t)((ptrdiff_t)x + o) * step];
                    if (!isfinite(p)) continue;
                    sum += w[o + 3] * (double)p;
                    weight += w[o + 3];
                }
                const bool ok = isfinite(src[l * line + x * step]) && weight > 0.2;
                dst[l * dst_line + (x * k + phase) * dst_step] = ok ? (float)(sum / weight) : NAN;
            }
        }
    }
}

enum mro_code mro_upsample(const float *src, size_t ny, size_t nx, size_t k, float *dst, struct mro_error *e)
{
    if (nx > SIZE_MAX / sizeof(float) / k / ny)
        return MRO_FAIL(e, MRO_EMEMORY, "a panel of %zu x %zu samples does not fit in memory", nx, ny);
    float *wide = malloc(ny * nx * k * sizeof *wide);
    if (wide == NULL) return MRO_FAIL(e, MRO_EMEMORY, "a panel of %zu x %zu samples does not fit in memory", nx, ny);
    upsample_lines(src, nx, 1, ny, nx, k, wide, 1, nx * k);
    upsample_lines(wide, ny, nx * k, nx * k, 1, k, dst, nx * k, 1);
    free(wide);
    return MRO_OK;
}

void mro_repeat(const float *src, size_t ny, size_t nx, size_t ky, size_t kx, float *dst)
{
    for (size_t y = 0; y < ny; y++) {
        float *row = dst + y * ky * nx * kx;
        for (size_t x = 0; x < nx; x++)
            for (size_t i = 0; i < kx; i++) row[x * kx + i] = src[y * nx + x];
        for (size_t j = 1; j < ky; j++) memcpy(row + j * nx * kx, row, nx * kx * sizeof *row);
    }
}

static const struct mro_colour grey_points[] = { { 0, 0, 0 }, { 255, 255, 255 } };
/* Dark violet over teal to yellow: brightness rises evenly, readable in grey and by colour-blind eyes. */
static const struct mro_colour score_points[] = { { 68, 1, 84 },    { 71, 44, 122 },  { 59, 81, 139 },
                                                  { 44, 113, 142 }, { 33, 144, 141 }, { 39, 173, 129 },
                                                  { 92, 200, 99 },  { 170, 220, 50 }, { 253, 231, 37 } };
static const struct mro_colour diverging_points[] = { { 24, 56, 120 },   { 72, 120, 184 },  { 158, 192, 222 },
                                                      { 246, 246, 246 }, { 240, 178, 142 }, { 208, 92, 72 },
                                                      { 128, 16, 36 } };
#define MAP(points)                            \
    {                                          \
        points, sizeof points / sizeof *points \
    }
const struct mro_colour_map mro_map_grey = MAP(grey_points);
const struct mro_colour_map mro_map_score = MAP(score_points);
const struct mro_colour_map mro_map_diverging = MAP(diverging_points);

struct mro_colour mro_colour_at(const struct mro_colour_map *map, double t)
{
    if (t <= 0) return map->point[0];
    if (t >= 1) return map->point[map->n - 1];
    const double s = t * (double)(map->n - 1);
    const size_t i = (size_t)s;
    const double f = s - (double)i;
    const struct mro_colour a = map->point[i], b = map->point[i + 1];
    return (struct mro_colour){ (unsigned char)lround(a.r + f * (b.r - a.r)),
                                (unsigned char)lround(a.g + f * (b.g - a.g)),
                                (unsigned char)lround(a.b + f * (b.b - a.b)) };
}

void mro_paint(const float *v, size_t n, double lo, double hi, const struct mro_colour_map *map, unsigned char *rgba)
{
    struct mro_colour table[256];
    for (int i = 0; i < 256; i++) table[i] = mro_colour_at(map, i / 255.0);
    const float scale = hi > lo ? (float)(255 / (hi - lo)) : 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char *p = rgba + 4 * i;
        if (isnan(v[i])) {
            memset(p, 0, 4);
            continue;
        }
        float t = scale > 0 ? (v[i] - (float)lo) * scale + 0.5f : 128;
        t = t > 0 ? (t < 255 ? t : 255) : 0;
        const struct mro_colour c = table[(int)t];
        p[0] = c.r;
        p[1] = c.g;
        p[2] = c.b;
        p[3] = 255;
    }
}

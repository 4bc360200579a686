/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The made-up micrograph that devices are proved and timed with. */
#include "ops/bench/bench.h"

#include <math.h>
#include <stdlib.h>

#include "mroscope/math/ctf.h"
#include "mroscope/math/philox.h"
#include "ops/mro/mro_internal.h"

#define PIXEL_NM 0.02
#define DEFOCUS_NM 95.0
#define PITCH_NM 4.0 /* between the places where a sphere may be */
#define CONTRAST 2.0 /* c of snr = c D^4, nm^-4: a foil of 4 nm */
#define WIDE_BAND \
    (double[2]) { -1, 1e3 }

/* Adds fringes of unit-variance speckle's snr = CONTRAST D^4 under the chord of a sphere. */
static void plant(float *field, size_t n, double cy, double cx, double diameter, double azimuth, double phase, double q)
{
    const double radius = 0.5 * diameter, amplitude = sqrt(CONTRAST * pow(diameter, 4));
    const double scale = 2 * amplitude / sqrt(MRO_PI * pow(diameter, 4) / 8) * PIXEL_NM;
    const size_t y1 = (size_t)((cy + radius) / PIXEL_NM) + 1, x1 = (size_t)((cx + radius) / PIXEL_NM) + 1;
    for (size_t y = (size_t)((cy - radius) / PIXEL_NM); y <= y1 && y < n; y++)
        for (size_t x = (size_t)((cx - radius) / PIXEL_NM); x <= x1 && x < n; x++) {
            const double dy = (double)y * PIXEL_NM - cy, dx = (double)x * PIXEL_NM - cx;
            field[y * n + x] += (float)(scale * mro_chord((float)(dy * dy + dx * dx), (float)radius) *
                                        cos(2 * MRO_PI * q * (sin(azimuth) * dy + cos(azimuth) * dx) + phase));
        }
}

enum mro_code mro_bench_image(size_t n, enum mro_bench_planted planted, struct mro_image *im, double (**spheres)[3],
                              size_t *n_spheres, struct mro_error *e)
{
    if (n < 256 || n > 65536) return MRO_FAIL(e, MRO_EARG, "an image of %zu pixels a side: give 256 to 65536", n);
    const double length = (double)n * PIXEL_NM, lambda = mro_wavelength_nm(MRO_BENCH_KV);
    const struct mro_grid grid = { n, n, length, length };
    const double pitch = planted == MRO_BENCH_CRYSTALS ? length / 4 : PITCH_NM, largest = 0.6 * pitch;
    const size_t side = (size_t)(length / pitch), bytes = n * n * sizeof(mro_c32);
    struct mro_buffer spectrum = { 0 }, field = { 0 };
    struct mro_device *d = NULL;
    float *transfer = NULL;
    size_t count = 0;
    enum mro_code rc = mro_image_alloc(im, n, n, e);
    if (rc) return rc;
    double(*list)[3] = calloc(side * side + 1, sizeof *list);
    if (list == NULL || (transfer = malloc(n * n * sizeof *transfer)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu", n, n);
        goto done;
    }
    if ((rc = mro_image_set_pixel_nm(im, PIXEL_NM, MRO_SOURCE_COMMAND_LINE, e))) goto done;
    if ((rc = mro_device_open(&d, "cpu", 0, 0, e))) goto done;
    if ((rc = d->ops->alloc(d, &spectrum, bytes, e))) goto done;
    if ((rc = d->ops->alloc(d, &field, n * n * sizeof(float), e))) goto done;
    if ((rc = d->ops->noise_spectrum(d, &grid, MRO_BENCH_SEED, 0, WIDE_BAND, 1, &spectrum, e))) goto done;
    if ((rc = d->ops->inverse(d, &grid, &spectrum, &field, e))) goto done;
    if ((rc = d->ops->download(d, im->px, &field, n * n * sizeof(float), e))) goto done;
    for (size_t i = 0; planted != MRO_BENCH_GLASS && i < side * side; i++) {
        const mro_philox_block b = mro_philox(MRO_BENCH_SEED, 1, i), c = mro_philox(MRO_BENCH_SEED, 2, i);
        if (mro_uniform_open(b.v[0]) > 0.6f) continue;
        const double diameter = planted == MRO_BENCH_CRYSTALS ? fmin(largest, 4 + 4 * mro_uniform_open(b.v[1]))
                                                              : 1.8 + 0.6 * mro_uniform_open(b.v[1]);
        const double cy = pitch * ((double)(i / side) + 0.4 + 0.2 * mro_uniform_open(c.v[0]));
        const double cx = pitch * ((double)(i % side) + 0.4 + 0.2 * mro_uniform_open(c.v[1]));
        /* The glass beside a crystal takes part in its fringes: what is measured is the crystal alone. */
        plant(im->px, n, cy, cx, diameter + MRO_INTERFACE_NM, MRO_PI * mro_uniform_open(b.v[2]),
              2 * MRO_PI * mro_uniform_open(b.v[3]), 4.93);
        list[count][0] = cy;
        list[count][1] = cx;
        list[count++][2] = diameter;
    }
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++) {
            const double qy = ((double)y - (y <= n / 2 ? 0 : (double)n)) / length;
            const double qx = ((double)x - (x <= n / 2 ? 0 : (double)n)) / length, q = hypot(qy, qx);
            const double chi = mro_ctf_chi(q, atan2(qy, qx), lambda, DEFOCUS_NM, MRO_BENCH_CS_MM * 1e6, 0, 0);
            transfer[y * n + x] = (float)(sin(chi) * exp(-q * q / 50));
        }
    if ((rc = d->ops->upload(d, &field, im->px, n * n * sizeof(float), e))) goto done;
    if ((rc = d->ops->forward(d, &grid, &field, &spectrum, e))) goto done;
    if ((rc = d->ops->multiply(d, &grid, &spectrum, transfer, e))) goto done;
    if ((rc = d->ops->inverse(d, &grid, &spectrum, &field, e))) goto done;
    if ((rc = d->ops->download(d, im->px, &field, n * n * sizeof(float), e))) goto done;
    /* 1000 counts, contrast of 10 %, and noise of the camera. */
    for (size_t i = 0; i < n * n; i++) {
        const mro_philox_block b = mro_philox(MRO_BENCH_SEED, 3, i);
        im->px[i] = 1000 + 100 * (im->px[i] + 0.1f * mro_normal_pair(b.v[0], b.v[1]).re);
    }
done:
    if (d) d->ops->release(d, &spectrum);
    if (d) d->ops->release(d, &field);
    mro_device_close(d);
    free(transfer);
    if (rc || spheres == NULL) {
        free(list);
        list = NULL;
    }
    if (spheres) *spheres = list;
    if (n_spheres) *n_spheres = count;
    if (rc) mro_image_release(im);
    return rc;
}

double mro_bench_planted_fraction(double (*spheres)[3], size_t n, const double region[4])
{
    const double step = 0.02;
    size_t hit = 0;
    for (size_t i = 0; i < n; i++) {
        const double r = 0.5 * spheres[i][2];
        for (double y = -r; y <= r; y += step)
            for (double x = -r; x <= r; x += step) {
                const double py = spheres[i][0] + y, px = spheres[i][1] + x;
                hit += x * x + y * y < r * r && px > region[0] && px < region[2] && py > region[1] && py < region[3];
            }
    }
    return (double)hit * step * step / ((region[2] - region[0]) * (region[3] - region[1]));
}

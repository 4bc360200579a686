/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The plain band-pass of an image. */
#include <math.h>
#include <stdlib.h>

#include "core/team.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "mroscope/math/band.h"
#include "mroscope/math/grid.h"

/* The pass band at MRO_LANES columns from kx on of a row of frequency qy. */
static mro_lanes band_columns(double qy, size_t kx, double lx, const double band_inv_nm[2], double edge_inv_nm)
{
    const float lo = (float)band_inv_nm[0], hi = (float)band_inv_nm[1], edge = (float)edge_inv_nm;
    mro_lanes w = { 0 };
    if (hypot(qy, (double)kx / lx) > band_inv_nm[1] + edge_inv_nm ||
        hypot(qy, (double)(kx + MRO_LANES) / lx) < band_inv_nm[0] - edge_inv_nm)
        return w;
#pragma omp simd
    for (int i = 0; i < MRO_LANES; i++) {
        const double qx = (double)(kx + (size_t)i) / lx;
        w[i] = mro_band_gain((float)sqrt(qy * qy + qx * qx), lo, hi, edge);
    }
    return w;
}

enum mro_code mro_cpu_bandpass(struct mro_device *d, const float *px, size_t ny, size_t nx, const double pixel_nm[2],
                               const double band_inv_nm[2], double edge_inv_nm, float *out, struct mro_error *e)
{
    /* Columns beyond the band are 0 after it. */
    const double last = ceil((band_inv_nm[1] + edge_inv_nm / 2) * (double)nx * pixel_nm[1]);
    const size_t stride = mro_panel_stride(ny), strip = mro_real_rows(nx), half_nx = nx / 2 + 1;
    const size_t kept = last + 1 < (double)half_nx ? (size_t)last + 1 : half_nx;
    double total = 0;
    size_t known = 0;
    bool failed = false;
    struct mro_wide *half = mro_panels_new(kept, ny);
    double *row_sum = malloc(ny * sizeof *row_sum);
    if (half == NULL || row_sum == NULL) {
        free(half);
        free(row_sum);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", nx, ny);
    }
#pragma omp parallel for schedule(static) num_threads(d->threads) reduction(+ : known)
    for (size_t y = 0; y < ny; y++) {
        double sum = 0;
        int here = 0;
#pragma omp simd reduction(+ : sum, here)
        for (size_t x = 0; x < nx; x++) {
            const float v = px[y * nx + x];
            const bool finite = isfinite(v);
            sum += (double)(finite ? v : 0);
            here += finite;
        }
        row_sum[y] = sum;
        known += (size_t)here;
    }
    for (size_t y = 0; y < ny; y++) total += row_sum[y];
    free(row_sum);
    if (known == 0) {
        free(half);
        return MRO_FAIL(e, MRO_EDATA, "the image has no finite pixel");
    }
    const float mean = (float)(total / (double)known), unit = (float)(1 / ((double)ny * (double)nx));
#pragma omp parallel num_threads(d->threads)
    {
        struct mro_real x;
        struct mro_room y;
        const bool ready_x = mro_real_new(&x, nx), ready_y = mro_room_new(&y, ny), ready = ready_x && ready_y;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t y0 = 0; y0 < ny; y0 += strip) {
            if (!ready) continue;
            mro_real_load(&x, px, ny, y0);
            float *v = (float *)x.room.in, off[2 * MRO_LANES]; /* rows that the last strip lacks stay 0 */
            for (size_t k = 0; k < strip; k++) off[k] = y0 + k < ny ? mean : 0;
            for (size_t i = 0; i < nx; i++, v += strip)
#pragma omp simd
                for (size_t k = 0; k < strip; k++) v[k] = isfinite(v[k]) ? v[k] - off[k] : 0;
            mro_real_forward(&x, kept, half, stride, y0);
        }
#pragma omp for schedule(static)
        for (size_t p = 0; p < mro_panels(kept); p++) {
            if (!ready) continue;
            mro_lines_run(y.lines, false, half + p * stride, y.out, y.scratch);
            for (size_t k = 0; k < ny; k++) {
                const mro_lanes w = band_columns(mro_frequency(k, ny, (double)ny * pixel_nm[0]), p * MRO_LANES,
                                                 (double)nx * pixel_nm[1], band_inv_nm, edge_inv_nm);
                y.out[k].re *= unit * w;
                y.out[k].im *= unit * w;
            }
            mro_lines_run(y.lines, true, y.out, half + p * stride, y.scratch);
        }
#pragma omp for schedule(static)
        for (size_t y0 = 0; y0 < ny; y0 += strip) {
            const size_t end = (y0 + strip < ny ? y0 + strip : ny) * nx;
            if (!ready) continue;
            mro_real_backward(&x, kept, half, stride, y0, 1);
            mro_real_store(&x, out, ny, y0);
            for (size_t i = y0 * nx; known < ny * nx && i < end; i++)
                if (!isfinite(px[i])) out[i] = NAN;
        }
        mro_real_release(&x);
        mro_room_release(&y);
    }
    free(half);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", nx, ny) : MRO_OK;
}

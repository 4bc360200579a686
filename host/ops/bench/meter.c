/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/bench/meter.h"

#include <omp.h>
#include <string.h>

enum stage {
    STAGE_CONTRAST_SPECTRUM,
    STAGE_LOCAL_POWER,
    STAGE_MULTIPLY,
    STAGE_NOISE_SPECTRUM,
    STAGE_INVERSE,
    STAGE_FORWARD,
    STAGE_CORRELATE,
    STAGE_ADD_MOVED,
    STAGE_DEMODULATE,
    STAGE_LOCAL_MEAN_SQUARE,
    STAGE_BANK_MAXIMUM,
    STAGE_REFINE_PATCHES,
    STAGE_WINDOWED_ACF,
    STAGE_ACF_FRINGES,
    STAGE_BLOCK_SUMS,
    STAGE_DIVIDE_POLYNOMIAL,
    STAGE_HISTOGRAM,
    STAGE_REGIONS,
    STAGE_STRIP_SUMS,
    STAGE_RING_SUMS,
    STAGE_BANDPASS,
    STAGE_UPLOAD,
    STAGE_DOWNLOAD,
};

static const char *const names[MRO_METER_STAGES] = {
    [STAGE_CONTRAST_SPECTRUM] = "contrast spectrum",
    [STAGE_LOCAL_POWER] = "local power",
    [STAGE_MULTIPLY] = "whitening",
    [STAGE_NOISE_SPECTRUM] = "noise spectrum",
    [STAGE_INVERSE] = "inverse transform",
    [STAGE_FORWARD] = "forward transform",
    [STAGE_CORRELATE] = "correlation",
    [STAGE_ADD_MOVED] = "moved sum",
    [STAGE_DEMODULATE] = "fringes, demodulated",
    [STAGE_LOCAL_MEAN_SQUARE] = "local gain",
    [STAGE_BANK_MAXIMUM] = "bank of windows",
    [STAGE_REFINE_PATCHES] = "refine patches",
    [STAGE_WINDOWED_ACF] = "autocorrelations shown",
    [STAGE_ACF_FRINGES] = "autocorrelation scores",
    [STAGE_BLOCK_SUMS] = "sums of blocks",
    [STAGE_DIVIDE_POLYNOMIAL] = "background division",
    [STAGE_HISTOGRAM] = "histogram",
    [STAGE_REGIONS] = "regions",
    [STAGE_STRIP_SUMS] = "sums along a line",
    [STAGE_RING_SUMS] = "sums over rings",
    [STAGE_BANDPASS] = "band-pass of the image",
    [STAGE_UPLOAD] = "upload",
    [STAGE_DOWNLOAD] = "download",
};

static void note(struct mro_meter *m, enum stage k, double start, struct mro_work w)
{
    struct mro_error ignored;
    float one;
    if (m->of->ops->runtime) (void)m->of->ops->download(m->of, &one, &m->one, sizeof one, &ignored);
    const double seconds = (mro_seconds(m->of) - start) / (omp_in_parallel() ? omp_get_num_threads() : 1);
#pragma omp critical(mro_meter)
    {
        m->stage[k].calls++;
        m->stage[k].seconds += seconds;
        mro_work_add(&m->stage[k].work, &w);
    }
}

/* A primitive of the same name that calls the one of the device below and notes the time. */
#define METERED(NAME, STAGE, WORK, PARAMETERS, ARGUMENTS)                                      \
    static enum mro_code NAME PARAMETERS                                                       \
    {                                                                                          \
        struct mro_meter *m = (struct mro_meter *)d; /* its device is the first thing in it */ \
        const double start = mro_seconds(m->of);                                               \
        d = m->of;                                                                             \
        const enum mro_code rc = d->ops->NAME ARGUMENTS;                                       \
        note(m, STAGE, start, WORK);                                                           \
        return rc;                                                                             \
    }

METERED(contrast_spectrum, STAGE_CONTRAST_SPECTRUM, mro_work_contrast_spectrum(ny, nx, g),
        (struct mro_device * d, const float *px, size_t ny, size_t nx, const double pixel_nm[2], double background_nm,
         const struct mro_grid *g, struct mro_buffer *spectrum, size_t *spikes, double *means, struct mro_error *e),
        (d, px, ny, nx, pixel_nm, background_nm, g, spectrum, spikes, means, e))
METERED(local_power, STAGE_LOCAL_POWER, mro_work_local_power(g, radius_inv_nm, lo, hi),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *spectrum, const float *model,
         double radius_inv_nm, double lo, double hi, struct mro_buffer *power, struct mro_error *e),
        (d, g, spectrum, model, radius_inv_nm, lo, hi, power, e))
METERED(multiply, STAGE_MULTIPLY, mro_work_multiply(g),
        (struct mro_device * d, const struct mro_grid *g, struct mro_buffer *spectrum, const float *gain,
         struct mro_error *e),
        (d, g, spectrum, gain, e))
METERED(noise_spectrum, STAGE_NOISE_SPECTRUM, mro_work_noise_spectrum(g, band_inv_nm, edge_inv_nm),
        (struct mro_device * d, const struct mro_grid *g, uint64_t seed, uint64_t stream, const double band_inv_nm[2],
         double edge_inv_nm, struct mro_buffer *spectrum, struct mro_error *e),
        (d, g, seed, stream, band_inv_nm, edge_inv_nm, spectrum, e))
METERED(inverse, STAGE_INVERSE, mro_work_transform(g),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *spectrum, struct mro_buffer *field,
         struct mro_error *e),
        (d, g, spectrum, field, e))
METERED(forward, STAGE_FORWARD, mro_work_transform(g),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *field, struct mro_buffer *spectrum,
         struct mro_error *e),
        (d, g, field, spectrum, e))
METERED(correlate, STAGE_CORRELATE, mro_work_correlate(g),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *a, const struct mro_buffer *b,
         struct mro_buffer *out, struct mro_error *e),
        (d, g, a, b, out, e))
METERED(add_moved, STAGE_ADD_MOVED, mro_work_add_moved(g),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *a, const double move_nm[2],
         double weight, struct mro_buffer *sum, struct mro_error *e),
        (d, g, a, move_nm, weight, sum, e))
METERED(demodulate, STAGE_DEMODULATE, mro_work_demodulate(g, sigma_inv_nm, out, window, slope != NULL),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *field, const double g_inv_nm[2],
         double sigma_inv_nm, const struct mro_grid *out, const struct mro_window *window, struct mro_buffer *h,
         struct mro_buffer *slope, struct mro_error *e),
        (d, g, field, g_inv_nm, sigma_inv_nm, out, window, h, slope, e))
METERED(local_mean_square, STAGE_LOCAL_MEAN_SQUARE, mro_work_local_mean_square(g, s_nm, out),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *field, double s_nm,
         const struct mro_grid *out, struct mro_buffer *mean_square, struct mro_error *e),
        (d, g, field, s_nm, out, mean_square, e))
METERED(bank_maximum, STAGE_BANK_MAXIMUM, mro_work_bank_maximum(g, bank, out),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *spectrum,
         const struct mro_bank *bank, const struct mro_grid *out, struct mro_buffer *power, struct mro_buffer *which,
         struct mro_error *e),
        (d, g, spectrum, bank, out, power, which, e))
METERED(refine_patches, STAGE_REFINE_PATCHES, mro_work_refine_patches(g, s, n),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *field,
         const struct mro_patch_search *s, struct mro_patch *patches, size_t n, struct mro_error *e),
        (d, g, field, s, patches, n, e))
METERED(windowed_acf, STAGE_WINDOWED_ACF, mro_work_windowed_acf(g, window_nm, n_centres, n *n),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *field, double window_nm,
         const double (*centres)[2], size_t n_centres, size_t n, double step_nm, float *tiles, struct mro_error *e),
        (d, g, field, window_nm, centres, n_centres, n, step_nm, tiles, e))
METERED(acf_fringes, STAGE_ACF_FRINGES, mro_work_windowed_acf(g, window_nm, n, 0),
        (struct mro_device * d, const struct mro_grid *g, const struct mro_buffer *field, double window_nm,
         const double d_range_nm[2], const double (*centres)[2], size_t n, float *score, struct mro_error *e),
        (d, g, field, window_nm, d_range_nm, centres, n, score, e))
METERED(block_sums, STAGE_BLOCK_SUMS, mro_work_block_sums(ny, nx),
        (struct mro_device * d, const struct mro_buffer *image, size_t ny, size_t nx, const size_t block[2],
         double *sum, double *count, struct mro_error *e),
        (d, image, ny, nx, block, sum, count, e))
METERED(divide_polynomial, STAGE_DIVIDE_POLYNOMIAL, mro_work_divide_polynomial(ny, nx, degree),
        (struct mro_device * d, struct mro_buffer *image, size_t ny, size_t nx, double offset, int degree,
         const double *c, const size_t block[2], const unsigned char *keep, float *lowest, struct mro_error *e),
        (d, image, ny, nx, offset, degree, c, block, keep, lowest, e))
METERED(histogram, STAGE_HISTOGRAM, mro_work_histogram(n),
        (struct mro_device * d, const struct mro_buffer *field, const struct mro_buffer *mask, size_t n, float lo,
         float step, size_t bins, uint32_t *counts, struct mro_error *e),
        (d, field, mask, n, lo, step, bins, counts, e))
METERED(regions, STAGE_REGIONS, mro_work_regions(ny, nx),
        (struct mro_device * d, const struct mro_buffer *field, const struct mro_buffer *mask, size_t ny, size_t nx,
         float level, bool above, size_t least, struct mro_region_sums *sums, struct mro_error *e),
        (d, field, mask, ny, nx, level, above, least, sums, e))
METERED(strip_sums, STAGE_STRIP_SUMS, mro_work_strip_sums(n_maps, s),
        (struct mro_device * d, const struct mro_buffer *maps, size_t n_maps, size_t ny, size_t nx,
         const struct mro_strip *s, double *sums, double *pixels, struct mro_error *e),
        (d, maps, n_maps, ny, nx, s, sums, pixels, e))
METERED(ring_sums, STAGE_RING_SUMS, mro_work_ring_sums(t, n_frames, limits != NULL),
        (struct mro_device * d, const struct mro_ring_map *t, const struct mro_buffer *frames, size_t n_frames,
         const struct mro_buffer *limits, struct mro_buffer *sums, struct mro_error *e),
        (d, t, frames, n_frames, limits, sums, e))
METERED(bandpass, STAGE_BANDPASS, mro_work_bandpass(ny, nx, pixel_nm[1], band_inv_nm[1], edge_inv_nm),
        (struct mro_device * d, const float *px, size_t ny, size_t nx, const double pixel_nm[2],
         const double band_inv_nm[2], double edge_inv_nm, float *out, struct mro_error *e),
        (d, px, ny, nx, pixel_nm, band_inv_nm, edge_inv_nm, out, e))
METERED(upload, STAGE_UPLOAD, mro_work_upload((double)bytes),
        (struct mro_device * d, struct mro_buffer *to, const void *host, size_t bytes, struct mro_error *e),
        (d, to, host, bytes, e))
METERED(download, STAGE_DOWNLOAD, mro_work_upload((double)bytes),
        (struct mro_device * d, void *host, const struct mro_buffer *from, size_t bytes, struct mro_error *e),
        (d, host, from, bytes, e))

static enum mro_code alloc(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e)
{
    struct mro_device *of = ((struct mro_meter *)d)->of;
    return of->ops->alloc(of, b, bytes, e);
}

static void release(struct mro_device *d, struct mro_buffer *b)
{
    struct mro_device *of = ((struct mro_meter *)d)->of;
    of->ops->release(of, b);
}

enum mro_code mro_meter_open(struct mro_meter *m, struct mro_device *of, struct mro_error *e)
{
    memset(m, 0, sizeof *m);
    m->of = of;
    m->table = *of->ops;
    m->table.open = NULL; /* it is open */
    m->table.close = NULL;
    m->table.alloc = alloc;
    m->table.release = release;
    m->table.contrast_spectrum = contrast_spectrum;
    m->table.local_power = local_power;
    m->table.multiply = multiply;
    m->table.noise_spectrum = noise_spectrum;
    m->table.inverse = inverse;
    m->table.forward = forward;
    m->table.correlate = correlate;
    m->table.add_moved = add_moved;
    m->table.demodulate = demodulate;
    m->table.local_mean_square = local_mean_square;
    m->table.bank_maximum = bank_maximum;
    m->table.refine_patches = refine_patches;
    m->table.windowed_acf = windowed_acf;
    m->table.acf_fringes = acf_fringes;
    m->table.block_sums = block_sums;
    m->table.divide_polynomial = divide_polynomial;
    m->table.histogram = histogram;
    m->table.regions = regions;
    m->table.strip_sums = strip_sums;
    m->table.ring_sums = ring_sums;
    m->table.bandpass = bandpass;
    m->table.upload = upload;
    m->table.download = download;
    m->device = *of;
    m->device.ops = &m->table;
    const enum mro_code rc = of->ops->alloc(of, &m->one, sizeof(float), e);
    return rc ? rc : of->ops->upload(of, &m->one, &(float){ 0 }, sizeof(float), e);
}

void mro_meter_reset(struct mro_meter *m) { memset(m->stage, 0, sizeof m->stage); }

void mro_meter_close(struct mro_meter *m)
{
    if (m->of) m->of->ops->release(m->of, &m->one);
    memset(m, 0, sizeof *m);
}

const char *mro_meter_name(size_t i) { return names[i]; }

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The backend table: the primitives that measurements are composed of. A measurement calls them through
 * the device and never asks where they run. `cpu` is the reference for every other backend.
 *
 * Buffers belong to the device; host memory is named so. Spectra are full planes of mro_c32, ny rows of nx,
 * zero frequency first, scaled so that white noise of unit variance per sample has unit mean power
 * (unitary transform). Every function may be called from one thread at a time per device, unless `concurrent`; each is
 * deterministic: the same bytes at any number of threads.
 */
#ifndef MRO_CORE_BACKEND_H
#define MRO_CORE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/device.h"
#include "mroscope/image.h"
#include "mroscope/math/azimuth.h"
#include "mroscope/math/patch.h"
#include "mroscope/math/strip.h"

/* A periodic field of ny x nx samples over ly x lx nm, and its spectrum. */
struct mro_grid {
    size_t ny, nx;
    double ly, lx;
};

/* Points of a grid: ny rows from y0 on, of nx from x0 on; those beyond its end are the first ones again. */
struct mro_window {
    size_t y0, x0, ny, nx;
};

/* Memory of the device. {0} is empty. */
struct mro_buffer {
    void *p;
    size_t bytes;
};

/* One bank of Gabor filters: windows exp(-r^2 / (2 s^2)) at every wave vector of a list. */
struct mro_bank {
    double window_s_nm;                 /* s */
    double band_inv_nm[2], edge_inv_nm; /* the band the spectrum has been limited to, for the normalisation */
    const double (*g)[2];               /* host: wave vectors (y, x), nm^-1 */
    size_t n_g;
};

#define MRO_BINS_MOST 16384 /* of a histogram */

/* A thresholded field. */
struct mro_region_sums {
    size_t count;   /* connected sets that are large enough */
    size_t samples; /* of all sets */
};

/* Pixels of a frame sorted into pieces of rings, which run through the rings of sector 0, then of sector 1, ... Pieces
 * of MRO_RING_LANES neighbouring rings of a sector (of fewer, and empty ones, at its end) lie side by side as a slice:
 * step i of slice k has its pixels at [(first[k] + i) * MRO_RING_LANES + lane] of `pixel` and `fraction`, for as many
 * steps as count[k * MRO_RING_LANES + lane] says. `pixel` is the place in a frame, rising; `fraction` how far the pixel
 * lies from the inner radius of its piece to the outer one. Beyond the count both are 0. Pixels that are in no piece
 * are left out. */
struct mro_ring_map {
    size_t n_sectors, n_rings, n_pixels; /* n_pixels: in the pieces */
    size_t frame_pixels;                 /* of a frame */
    struct mro_buffer first, count;      /* uint32_t: slices + 1; slices * MRO_RING_LANES */
    struct mro_buffer pixel, fraction;   /* uint32_t, float: first[slices] * MRO_RING_LANES */
};
static inline size_t mro_ring_slices(const struct mro_ring_map *t) /* of a sector */
{
    return (t->n_rings + MRO_RING_LANES - 1) / MRO_RING_LANES;
}

/* What a device does in a second at best, all threads together. */
struct mro_rates {
    double flops;     /* float32 operations */
    double transform; /* those of fast Fourier transforms, 5 n log2 n for n complex numbers */
    double bytes;     /* read from and written to its memory */
    double link;      /* moved from host to device, or back */
    char basis[160];  /* where the numbers come from */
};

struct mro_gpu_runtime; /* gpu/gpu.h */

struct mro_backend {
    const char *name;
    const struct mro_gpu_runtime *runtime; /* of backends with device memory; NULL: buffers are host memory */
    bool concurrent; /* the functions below may be called from several threads at once, each then using one */
    enum mro_code (*open)(struct mro_device *d, int index, struct mro_error *e);
    void (*close)(struct mro_device *d);
    /* The processor's are measured, within a tenth of a second or two; a card's follow from its clocks and widths (0
     * where nobody says these), but for the link, which is measured. NULL: of no interest. */
    enum mro_code (*rates)(struct mro_device *d, struct mro_rates *r, struct mro_error *e);

    enum mro_code (*alloc)(struct mro_device *d, struct mro_buffer *b, size_t bytes, struct mro_error *e);
    void (*release)(struct mro_device *d, struct mro_buffer *b); /* {0} is fine; zeroes *b */
    enum mro_code (*upload)(struct mro_device *d, struct mro_buffer *to, const void *host, size_t bytes,
                            struct mro_error *e);
    enum mro_code (*download)(struct mro_device *d, void *host, const struct mro_buffer *from, size_t bytes,
                              struct mro_error *e);

    /* Contrast of an image, made fit for a periodic transform, cropped in Fourier space: single-pixel spikes
     * replaced by the median of their neighbours, division by the local mean (Gaussian of background_nm),
     * minus the smooth component that carries the jumps at the borders (Moisan, J. Math. Imaging Vis. 39
     * (2011) 161). `px` (host, ny*nx, NaN = no data) -> spectrum of g->ny x g->nx with g->ly = ny*pixel.
     * `spikes` counts those replaced; `means` (host): of the pixels of each of mro_background_blocks without spikes,
     * NaN where none has data. Both may be NULL. */
    enum mro_code (*contrast_spectrum)(struct mro_device *d, const float *px, size_t ny, size_t nx,
                                       const double pixel_nm[2], double background_nm, const struct mro_grid *g,
                                       struct mro_buffer *spectrum, size_t *spikes, double *means, struct mro_error *e);

    /* Power |F|^2 divided by `model` (host, ny*nx or NULL for 1), local median within `radius` nm^-1 on a lattice,
     * over ln 2 (mean of an exponential), smoothed and interpolated: mean local power where lo <= |q| <= hi,
     * 0 elsewhere. `power` is ny*nx floats on the device. Follows astigmatism and drift. */
    enum mro_code (*local_power)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                 const float *model, double radius_inv_nm, double lo, double hi,
                                 struct mro_buffer *power, struct mro_error *e);

    /* spectrum *= gain, gain host ny*nx. */
    enum mro_code (*multiply)(struct mro_device *d, const struct mro_grid *g, struct mro_buffer *spectrum,
                              const float *gain, struct mro_error *e);

    /* White Gaussian field of unit variance: its spectrum, times the pass band. */
    enum mro_code (*noise_spectrum)(struct mro_device *d, const struct mro_grid *g, uint64_t seed, uint64_t stream,
                                    const double band_inv_nm[2], double edge_inv_nm, struct mro_buffer *spectrum,
                                    struct mro_error *e);

    /* Real field (ny*nx floats) of a Hermitian spectrum, and back. */
    enum mro_code (*inverse)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                             struct mro_buffer *field, struct mro_error *e);
    enum mro_code (*forward)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                             struct mro_buffer *spectrum, struct mro_error *e);

    /* out = a * conj(b), frequency by frequency: the spectrum of the circular cross-correlation of two fields, which
     * peaks at r when the field of `a` is that of `b` moved by r. `out` may be `a` or `b`. */
    enum mro_code (*correlate)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                               const struct mro_buffer *b, struct mro_buffer *out, struct mro_error *e);

    /* sum += weight * (the field of `a` moved by move_nm = y, x toward larger y and x): every coefficient of `a` times
     * weight * exp(-2 pi i (qy y + qx x)), with q of math/grid.h. The move is circular and need not be whole samples.
     * Middle frequencies of even grids, which have no partner, add nothing. `sum` is not `a`. */
    enum mro_code (*add_moved)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *a,
                               const double move_nm[2], double weight, struct mro_buffer *sum, struct mro_error *e);

    /* The fringes around wave vector g (y, x in nm^-1) of a field, at the points of a window of `out`: frequencies q
     * times exp(-(q - g)^2 / (2 sigma^2)), brought down so that g is frequency zero. Done in real space, where that is
     * the field times exp(-2 pi i g r) under a Gaussian of math/wave.h, summed to five of its standard deviations: what
     * a point gets does not depend on the window, and costs the same in a field of any size. `h` holds window->ny *
     * window->nx complex numbers: fringes a cos(2 pi g r + p) give |h| = a / 2 and the phase p.
     * `slope` (may be NULL): slope of the phase of h in turns per nm, along y and along x, one plane of as many floats
     * after the other; 0 where h is 0. */
    enum mro_code (*demodulate)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                const double g_inv_nm[2], double sigma_inv_nm, const struct mro_grid *out,
                                const struct mro_window *window, struct mro_buffer *h, struct mro_buffer *slope,
                                struct mro_error *e);

    /* field^2 smoothed by a Gaussian of s_nm, sampled at out->ny x out->nx equidistant points of the same area. */
    enum mro_code (*local_mean_square)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                       double s_nm, const struct mro_grid *out, struct mro_buffer *mean_square,
                                       struct mro_error *e);

    /* The hot one. For every point of `out` (sample (j, i) at j*ly/ny, i*lx/nx) the largest windowed power over the
     * bank's wave vectors, each in units of what white noise in the band gives, and which wave vector it was.
     * No spectrum of a window is stored: each wave vector is one inverse transform of the coefficients around it. */
    enum mro_code (*bank_maximum)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                  const struct mro_bank *bank, const struct mro_grid *out, struct mro_buffer *power,
                                  struct mro_buffer *which, struct mro_error *e);

    /* For each patch (host array): moves position and wave vector to the nearest maximum of the matched power and
     * fills power[] and best. The field is that of `spectrum` after the band. */
    enum mro_code (*refine_patches)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                    const struct mro_patch_search *s, struct mro_patch *patches, size_t n,
                                    struct mro_error *e);

    /* Autocorrelation of the field under a round Hann window of full width window_nm around each of n_centres places
     * (host: y, x in nm), over that of the window itself: n x n lags step_nm apart, lag 0 in the middle and 1 there.
     * `tiles` (host) holds n_centres * n * n values; NaN where the window holds next to no pair that far apart.
     * Transforms are padded to twice the window (Fan and Cowley, Ultramicroscopy 17 (1985) 345). */
    enum mro_code (*windowed_acf)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                  double window_nm, const double (*centres)[2], size_t n_centres, size_t n,
                                  double step_nm, float *tiles, struct mro_error *e);

    /* How strongly that autocorrelation A oscillates with a spacing d: the largest over directions of the mean of
     * A(k d) - A((k - 1/2) d) over k = 1, 2, 3, halved, averaged over d in d_range_nm. Near 1 for endless fringes.
     * `score` (host) holds n values. */
    enum mro_code (*acf_fringes)(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                 double window_nm, const double d_range_nm[2], const double (*centres)[2], size_t n,
                                 float *score, struct mro_error *e);

    /* Sum and number of the finite pixels of every block of block[0] x block[1] pixels (y, x; the last ones may be
     * smaller) of an image on the device, ny * nx floats. `sum` and `count` (host) hold a number a block, rows of
     * blocks one after the other. */
    enum mro_code (*block_sums)(struct mro_device *d, const struct mro_buffer *image, size_t ny, size_t nx,
                                const size_t block[2], double *sum, double *count, struct mro_error *e);

    /* Counts to counts over a smooth background, in place: pixel = (pixel - offset) / polynomial, a sum of Legendre
     * polynomials of y and x with coefficients `c` (host, math/legendre.h). NaN where a pixel is not finite or where
     * `keep` (host, one byte a block, or NULL for all) is 0 for its block. *lowest: the smallest value of the
     * polynomial where pixels are kept, +inf where none are. */
    enum mro_code (*divide_polynomial)(struct mro_device *d, struct mro_buffer *image, size_t ny, size_t nx,
                                       double offset, int degree, const double *c, const size_t block[2],
                                       const unsigned char *keep, float *lowest, struct mro_error *e);

    /* How many of the n values of a field lie in each of `bins` (at most MRO_BINS_MOST) bins of `step` from `lo`; the
     * first and the last take what lies beyond. Only values that are not NaN and where `mask` (n bytes on the device;
     * NULL = all) is not 0. `counts` (host) holds `bins` numbers. n < 2^32. */
    enum mro_code (*histogram)(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                               size_t n, float lo, float step, size_t bins, uint32_t *counts, struct mro_error *e);

    /* The samples of a field of ny x nx beyond a level (below it, or above it), where `mask` (as in histogram) allows,
     * and how many connected sets (4 neighbours) of at least `least` samples they make. ny * nx < 2^32 - 1. */
    enum mro_code (*regions)(struct mro_device *d, const struct mro_buffer *field, const struct mro_buffer *mask,
                             size_t ny, size_t nx, float level, bool above, size_t least, struct mro_region_sums *sums,
                             struct mro_error *e);

    /* Sums of n_maps maps of ny x nx pixels (one after the other in `maps`, floats) over the points of a strip, a pixel
     * whole to the point that its centre lies in; pixels that are not finite in all of the maps are left out.
     * `sums` (host) holds n_maps * s->bins numbers, `pixels` (host) s->bins: how many there were. */
    enum mro_code (*strip_sums)(struct mro_device *d, const struct mro_buffer *maps, size_t n_maps, size_t ny,
                                size_t nx, const struct mro_strip *s, double *sums, double *pixels,
                                struct mro_error *e);

    /* Sums over the pieces of n_frames frames, `frames` (n_frames * t->frame_pixels floats) to `sums` (as many struct
     * mro_ring_sums for each frame as it has pieces). NaN counts for nothing. With `limits` (lo, hi for each ring of
     * each frame, n_frames * n_rings * 2 floats) only pixels within them count, and `sums` has to hold what a call for
     * the same frames gave before: rings whose lo is NaN keep it, and pieces which the limits do not change are not
     * gone through again. */
    enum mro_code (*ring_sums)(struct mro_device *d, const struct mro_ring_map *t, const struct mro_buffer *frames,
                               size_t n_frames, const struct mro_buffer *limits, struct mro_buffer *sums,
                               struct mro_error *e);

    /* Band-pass of a whole image (host in, host out, same shape), mean kept out. */
    enum mro_code (*bandpass)(struct mro_device *d, const float *px, size_t ny, size_t nx, const double pixel_nm[2],
                              const double band_inv_nm[2], double edge_inv_nm, float *out, struct mro_error *e);
};

extern const struct mro_backend mro_backend_strict; /* the CPU's: core/vectors.h */
#ifdef MROSCOPE_CUDA
extern const struct mro_backend mro_backend_cuda;

/* How many cards the driver shows. None: `why` says the reason, and *present whether the machine seems to have a card
 * all the same (its driver is there but cannot be used). */
size_t mro_cuda_cards(bool *present, struct mro_error *why);

/* One card, 0 <= card < mro_cuda_cards(): opened for a moment to see whether it can be used, and closed. */
void mro_cuda_describe(size_t card, struct mro_device_info *info);
#endif

struct mro_device {
    const struct mro_backend *ops;
    bool processor_time; /* what mro_seconds counts: the processor time of the calling thread, not the clock's */
    int threads;         /* as many as the next call uses */
    size_t memory_bytes; /* for host memory */
    size_t card, cards, card_bytes;  /* its number, how many it was asked to share, its memory; 0: not a card */
    void *state;                     /* the backend's own */
    struct mro_stoppable *stoppable; /* NULL: nobody can ask it to stop */
    char description[160], note[600];
};

/* Lanes: threads that measure different images at the same time, each on a device of its own. How many, at most `most`,
 * a device makes good use of when an image takes `bytes`: one for each processor thread, or a few a card, so that one
 * copies while another one computes. */
size_t mro_device_lanes(const struct mro_device *d, size_t most, size_t bytes);

/* A device for lane number `lane` (from 1 on) beside that of `d`, on the same processor or card, or on the next of the
 * cards that `d` was asked to share. Errors as mro_device_open. */
enum mro_code mro_device_beside(struct mro_device **out, const struct mro_device *d, size_t lane, struct mro_error *e);

/* For the difference of two: seconds of a clock that only runs forward. */
double mro_seconds(const struct mro_device *d);

#endif

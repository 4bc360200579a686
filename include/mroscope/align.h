/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One image of many frames: their mean, or their mean after the drift between them is taken out.
 *
 * Aligning is rigid (shifts only, to fractions of a pixel). Every frame is correlated with the sum of the frames
 * aligned so far, in Fourier space: contrast made periodic (borders and background do not pin the peak to zero), both
 * spectra whitened over rings, and each ring weighted as the likelihood of a shift asks for: coherence / (1 -
 * coherence^2), so that noise beyond the lens's limit does not count. In the first round the coherence is guessed from
 * the power over the noise floor; then it is measured, as the ring correlation of the sums of even and odd frames
 * (van Heel, Ultramicroscopy 21 (1987) 95), and every frame is aligned once more, against the sum of all others.
 * The peak of the correlation is found between the pixels by band-limited interpolation. Frames that do not stand out
 * from what noise correlates are left out.
 *
 * The mean is taken of frames resampled with a windowed sinc of 16 x 16 pixels (flat to 0.4 cycles per pixel) and is
 * cropped to the area that all of them show, so that its noise is the same everywhere.
 */
#ifndef MROSCOPE_ALIGN_H
#define MROSCOPE_ALIGN_H

#include "mroscope/device.h"
#include "mroscope/image.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same frames give other numbers. */
#define MRO_ALIGN_ALGORITHM "align 1"

/* Frames of one shape, handed out one after the other, as often as asked. */
struct mro_frames {
    void *context;
    enum mro_code (*rewind)(void *context, struct mro_error *e); /* called before each round, the first too */
    /* The next frame and its number in the file. The pixels are lent until the next call; *im is NULL after the last.
     */
    enum mro_code (*next)(void *context, const struct mro_image **im, size_t *frame, struct mro_error *e);
};

/* Where a frame lies against the first that was used. */
struct mro_frame_shift {
    size_t frame;       /* number in the file */
    double y_px, x_px;  /* > 0: what the frame shows lies lower, further right; NaN when it could not be told */
    double correlation; /* with the sum of the others, after whitening and weighting; 1 = the same */
    bool used;
};

struct mro_reduced {
    struct mro_image image; /* mean of the frames used; NaN where none of them has a value */
    size_t frames, used;
    struct mro_frame_shift *shift; /* `frames` of them; NULL for a plain mean */
    size_t crop_px[2];             /* y, x: pixels of the first frame cut off above and left */
};

/* Mean of all frames, pixel by pixel over those that have a value there. `name` is for messages.
 * Errors: those of the frames, MRO_EDATA (no frames, or not of one shape), MRO_EMEMORY. Release with
 * mro_reduced_release. The same bytes at any number of threads. */
enum mro_code mro_frames_mean(const struct mro_frames *frames, const char *name, struct mro_reduced *r,
                              struct mro_error *e);

/* Mean of the aligned frames. Reads them three times. Errors: also MRO_EDATA when no two frames align, when they
 * share no area of 16 x 16 pixels, or when they are too small. */
enum mro_code mro_frames_align(struct mro_device *d, const struct mro_frames *frames, const char *name,
                               struct mro_reduced *r, struct mro_error *e);

void mro_reduced_release(struct mro_reduced *r); /* {0} is fine */

/* Bytes of host memory that either needs beside the frame it was handed, for frames of ny x nx. */
size_t mro_frames_mean_bytes(size_t ny, size_t nx);
size_t mro_frames_align_bytes(size_t ny, size_t nx);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

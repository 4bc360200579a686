/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Samples as files hold them: byte order, values of any type, and their moments. Of what readers share, reader.h
 * declares the part that they use themselves. `swap`: the samples are in the other byte order than the machine's. */
#ifndef MRO_IO_SAMPLES_H
#define MRO_IO_SAMPLES_H

#include "mroscope/image.h"

static inline bool mro_machine_is_big_endian(void) { return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__; }

/* Values that make a pixel of colour; 1 for all other types. */
size_t mro_channels(enum mro_dtype dtype);

/* Converts n pixels at p, colours to luminance and complex numbers to magnitudes; p may be `out` for native float32.
 * Returns how many are not finite, which become NaN. */
size_t mro_samples_to_float(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n, float *out);

/* The same of pixels that lie elsewhere than `out`, for a frame of `all`: a large one is stored past the caches. */
size_t mro_samples_to_frame(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n, float *out, size_t all);

/* Values of one partial sum; fixed, so that sums are the same bytes at any number of threads. */
enum { MRO_PART = 1 << 12 };

struct mro_moments {
    double sum, mean, m2, min, max; /* m2: sum of squared distances from the mean */
    size_t count;
};

/* Moments of up to MRO_PART values (channels of colour one by one). */
struct mro_moments mro_moments_of(enum mro_dtype dtype, const unsigned char *p, bool swap, size_t n);

/* Joins b to a (Chan, Golub, LeVeque 1979). */
void mro_moments_join(struct mro_moments *a, const struct mro_moments *b);

#endif

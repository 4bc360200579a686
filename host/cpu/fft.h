/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two-dimensional transforms of single precision, threaded by our own loops over rows and columns.
 *
 * Plans are FFTW_ESTIMATE and single-threaded: measured plans differ from run to run and with them the last bits
 * of results. Every line is transformed in a buffer of its thread, so the same bytes come out at any number of
 * threads. */
#ifndef MRO_CPU_FFT_H
#define MRO_CPU_FFT_H

#include <fftw3.h>
#include <stdbool.h>
#include <stddef.h>

#include "mroscope/error.h"
#include "mroscope/math/hd.h"

/* Plans are shared and kept: every CPU device opens and closes the store, the last one empties it. */
void mro_fft_open(void);
void mro_fft_close(void);

/* A plan for complex lines of n, out of place on fftwf_malloc'ed buffers; not the caller's to free. Planning sits under
 * one lock. NULL when out of memory. */
fftwf_plan mro_fft_plan_line(size_t n, int sign);
fftwf_plan mro_fft_plan_real_line(size_t n);    /* real to half-complex, out of place */
fftwf_plan mro_fft_plan_to_real_line(size_t n); /* half-complex to real, out of place, destroys its input */

/* Planes transformed by one thread: rows, a transposition, rows again. Columns that lie apart take FFTW's estimated
 * plans up to seven times as long. */
struct mro_fft_plane {
    size_t ny, nx;
    fftwf_plan row, column;
};
bool mro_fft_plane_new(struct mro_fft_plane *p, size_t ny, size_t nx, int sign); /* false: out of memory */
/* z and work are fftwf_malloc'ed, nx and ny multiples of 8; only rows within `reach` of row 0 (cyclically) of z hold
 * anything but zeros. The transform comes to stand in `work` transposed: nx rows of ny. z is lost. */
void mro_fft_plane_run(const struct mro_fft_plane *p, mro_c32 *z, ptrdiff_t reach, mro_c32 *work);

/* In-place unnormalised transform of a full complex plane, sign FFTW_FORWARD or FFTW_BACKWARD. */
enum mro_code mro_fft2(mro_c32 *plane, size_t ny, size_t nx, int sign, int threads, struct mro_error *e);

/* Column transforms of the first `columns` columns of an ny-row plane of row length `pitch`, in place. */
enum mro_code mro_fft_columns(mro_c32 *plane, size_t ny, size_t columns, size_t pitch, int sign, int threads,
                              struct mro_error *e);

/* Two real rows make one complex line, which takes about the time of one real row. `rows` is mro_fft_plan_line(nx,
 * FFTW_FORWARD); `both` holds one row as real, the other as imaginary part; `hat` is room for nx + 1. The first
 * `columns`
 * <= nx / 2 + 1 coefficients of each go to `even` and `odd` (NULL: there is no second row). */
void mro_fft_two_rows(fftwf_plan rows, size_t nx, mro_c32 *both, mro_c32 *hat, size_t columns, mro_c32 *even,
                      mro_c32 *odd);

/* Unnormalised transform of a real plane: columns 0 to columns - 1 <= nx / 2 of its spectrum, ny x columns. `squared`:
 * of the squares of its values. */
enum mro_code mro_fft_real(const float *field, size_t ny, size_t nx, bool squared, size_t columns, mro_c32 *half,
                           int threads, struct mro_error *e);

/* Unnormalised inverse of a full Hermitian plane, times `unit`, as a real one. */
enum mro_code mro_fft_real_inverse(const mro_c32 *spectrum, size_t ny, size_t nx, float unit, float *field, int threads,
                                   struct mro_error *e);

#endif

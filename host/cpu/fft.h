/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two-dimensional transforms of single precision, threaded by our own loops over groups of MRO_LANES rows and columns
 * (cpu/lines.h). What a group holds does not depend on the threads, so the same bytes come out at any number of them.
 *
 * Between rows and columns half a spectrum is kept as panels: panel p holds columns p MRO_LANES and on, row by row, so
 * that a panel is what a transform of columns reads and writes. Row y of panel p is half[p * stride + y]. */
#ifndef MRO_CPU_FFT_H
#define MRO_CPU_FFT_H

#include <stdbool.h>
#include <stddef.h>

#include "cpu/lines.h"
#include "mroscope/error.h"
#include "mroscope/math/hd.h"

/* Room of one thread for transforms of lines of n. */
struct mro_room {
    const struct mro_lines *lines;
    struct mro_wide *in, *out, *scratch; /* n + 1 numbers of each line, as whole panels; what a transform needs */
};
bool mro_room_new(struct mro_room *r, size_t n); /* false: out of memory; release it all the same */
void mro_room_release(struct mro_room *r);

/* The same for rows of nx and columns of ny. */
struct mro_rooms {
    struct mro_room x, y;
};
bool mro_rooms_new(struct mro_rooms *r, size_t ny, size_t nx); /* false: out of memory; release it all the same */
void mro_rooms_release(struct mro_rooms *r);

/* Real rows are transformed in strips: of an even length MRO_LANES of them as complex rows of half of it, their even
 * numbers as real and their odd ones as imaginary parts; of an odd length twice as many, the first half as real and the
 * other as imaginary parts. Room of one thread for rows of nx: */
struct mro_real {
    size_t nx, parts; /* parts: 1, or 2 of an odd length, of MRO_LANES rows each */
    size_t n, step;   /* complex numbers of a row; of each part that they are spread over (cpu/lines.h) to go in */
    struct mro_room room;
};
bool mro_real_new(struct mro_real *s, size_t nx); /* false: out of memory; release it all the same */
/* For transforms forward alone, whose numbers are spread where they are so many that room.in and room.out, apart, would
 * not both stay in the second level of cache. */
bool mro_real_new_forward(struct mro_real *s, size_t nx);
void mro_real_release(struct mro_real *s);
static inline size_t mro_real_rows(size_t nx) { return nx % 2 ? 2 * MRO_LANES : MRO_LANES; }
/* Where number 0 of a part of the rows stands in s->room.in or .out; number x does s->parts * x vectors further, if
 * they are not spread. */
static inline mro_lanes *mro_real_part(struct mro_wide *v, size_t part) { return part ? &v->im : &v->re; }

/* The same of number x in room.in, spread or not, in vectors from mro_real_part on; and that of the number after it. */
static inline size_t mro_real_place(const struct mro_real *s, size_t x)
{
    const size_t of_row = 2 / s->parts, k = x / of_row, spread = s->n / s->step;
    return 2 * (k % spread * s->step + k / spread) + x % of_row;
}
static inline size_t mro_real_next(const struct mro_real *s, size_t place)
{
    if (s->step == s->n) return place + s->parts;
    if (s->parts == 1 && place % 2 == 0) return place + 1;
    const size_t next = place / 2 + s->step;
    return 2 * (next < s->n ? next : next - (s->n - 1));
}

/* Panels of an image: how many for `columns` columns, how many rows each has, which are whole strips, room for all;
 * NULL when out of memory. */
static inline size_t mro_panels(size_t columns) { return (columns + MRO_LANES - 1) / MRO_LANES; }
static inline size_t mro_panel_stride(size_t ny)
{
    return (ny + 2 * MRO_LANES - 1) / (2 * MRO_LANES) * (2 * MRO_LANES);
}
struct mro_wide *mro_panels_new(size_t columns, size_t ny);

/* Forward: room.in (lost) holds a strip, the first `columns` <= nx / 2 + 1 coefficients of each row go to rows y0 and
 * on of the panels. Backward: from panels of `columns` columns, the others 0, to room.out, unnormalised, times `unit`.
 */
void mro_real_forward(const struct mro_real *s, size_t columns, struct mro_wide *half, size_t stride, size_t y0);
void mro_real_backward(const struct mro_real *s, size_t columns, const struct mro_wide *half, size_t stride, size_t y0,
                       float unit);
/* Rows y0 and on of a field of ny x nx to room.in, and from room.out. */
void mro_real_load(const struct mro_real *s, const float *field, size_t ny, size_t y0);
void mro_real_store(const struct mro_real *s, float *field, size_t ny, size_t y0);

/* Rows side by side, nx numbers and room for whole panels, to rows y0 to y0 + MRO_LANES - 1 of panels. */
void mro_rows_to_panels(const struct mro_wide *rows, size_t nx, struct mro_wide *panels, size_t stride, size_t y0);

/* Coefficients of `w` columns from column kx of a half plane on, in row ky, as part of a full Hermitian plane. */
void mro_unfold(const struct mro_wide *v, mro_c32 *plane, size_t ny, size_t nx, size_t ky, size_t kx, size_t w);

/* In-place unnormalised transform of a full complex plane, of which only rows within `reach` of row 0 (cyclically) hold
 * anything but zeros. */
enum mro_code mro_fft2(mro_c32 *plane, size_t ny, size_t nx, ptrdiff_t reach, bool back, int threads,
                       struct mro_error *e);

/* Real plane to its full spectrum, and back, times `unit`. */
enum mro_code mro_fft_real(const float *field, size_t ny, size_t nx, float unit, mro_c32 *spectrum, int threads,
                           struct mro_error *e);
enum mro_code mro_fft_real_inverse(const mro_c32 *spectrum, size_t ny, size_t nx, float unit, float *field, int threads,
                                   struct mro_error *e);

/* Small planes, transformed by one thread; the room that this takes. */
struct mro_plane {
    size_t ny, nx;
    struct mro_rooms rooms;
    struct mro_wide *between;
};
bool mro_plane_new(struct mro_plane *p, size_t ny, size_t nx); /* false: out of memory; release it all the same */
void mro_plane_release(struct mro_plane *p);
/* Only rows within `reach` of row 0 (cyclically) of z hold anything but zeros. The unnormalised transform comes as
 * mro_panels(nx) panels of ny rows. */
void mro_plane_run(const struct mro_plane *p, bool back, const mro_c32 *z, ptrdiff_t reach, struct mro_wide *panels);
/* Where the real part of a number of such panels stands among their floats; the imaginary one is MRO_LANES further. */
static inline size_t mro_panel_place(size_t ny, size_t y, size_t x)
{
    return (x / MRO_LANES * ny + y) * 2 * MRO_LANES + x % MRO_LANES;
}

#endif

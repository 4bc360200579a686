/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/fft.h"
#include "core/team.h"
#include "cpu/butterflies.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool mro_room_new(struct mro_room *r, size_t n)
{
    memset(r, 0, sizeof *r);
    r->lines = mro_lines_of(n);
    if (r->lines == NULL) return false;
    r->in = mro_lines_room(mro_panels(n + 1) * MRO_LANES);
    r->out = mro_lines_room(mro_panels(n + 1) * MRO_LANES);
    r->scratch = mro_lines_room(mro_lines_scratch(r->lines));
    return r->in && r->out && r->scratch;
}

void mro_room_release(struct mro_room *r)
{
    free(r->in);
    free(r->out);
    free(r->scratch);
    memset(r, 0, sizeof *r);
}

bool mro_rooms_new(struct mro_rooms *r, size_t ny, size_t nx)
{
    const bool ready_x = mro_room_new(&r->x, nx), ready_y = mro_room_new(&r->y, ny);
    return ready_x && ready_y;
}

void mro_rooms_release(struct mro_rooms *r)
{
    mro_room_release(&r->x);
    mro_room_release(&r->y);
}

struct mro_wide *mro_panels_new(size_t columns, size_t ny)
{
    const size_t n = mro_panels(columns), stride = mro_panel_stride(ny);
    return n && stride > SIZE_MAX / n ? NULL : mro_lines_room(n * stride);
}

/* -- strips of real rows ---------------------------------------------------------------------------- */

enum { LONG = 512 << 10 }; /* bytes of a strip: this and its transform are half of a second level of cache */

bool mro_real_new(struct mro_real *s, size_t nx)
{
    s->nx = nx;
    s->parts = nx % 2 ? 2 : 1;
    s->n = s->step = nx % 2 ? nx : nx / 2;
    return mro_room_new(&s->room, s->n);
}

bool mro_real_new_forward(struct mro_real *s, size_t nx)
{
    if (!mro_real_new(s, nx)) return false;
    const size_t parts = mro_lines_spread(s->room.lines), step = s->n / parts;
    if (parts == 1 || s->n * sizeof *s->room.in < LONG) return true;
    free(s->room.in);
    free(s->room.out);
    s->step = step;
    s->room.out = mro_lines_room(mro_panels(s->n + step + 1) * MRO_LANES);
    s->room.in = s->room.out ? s->room.out + step : NULL;
    return s->room.out;
}

void mro_real_release(struct mro_real *s)
{
    if (s->step < s->n) s->room.in = NULL; /* part of room.out */
    mro_room_release(&s->room);
}

/* MRO_LANES coefficients of rows side by side to columns side by side, and back. */
static void turn_panel(const mro_lanes *from, size_t step, mro_lanes *to, size_t to_step)
{
    mro_lines_turn((const float *)from, step * MRO_LANES, (float *)to, to_step * MRO_LANES);
}

typedef mro_lanes parts[2][MRO_LANES]; /* real and imaginary, of as many coefficients of as many rows */

/* Coefficients from `from` on of rows of an even length: those of their even numbers, z[k] + conj(z[n - k]), and of
 * their odd ones times `turn`; both come out twice. Columns from `columns` on are of no interest. */
static void even_coefficients(const struct mro_wide *z, size_t n, const mro_c32 *turn, size_t from, size_t columns,
                              parts to)
{
    for (size_t i = 0; i < MRO_LANES; i++) {
        const size_t k = from + i < columns ? from + i : 0;
        const struct mro_wide a = z[k < n ? k : 0], b = z[k ? n - k : 0];
        const struct mro_wide odd = times((struct mro_wide){ a.im + b.im, b.re - a.re }, turn[k]);
        to[0][i] = 0.5f * (a.re + b.re + odd.re);
        to[1][i] = 0.5f * (a.im - b.im + odd.im);
    }
}

/* The same of two rows of an odd length that were transformed as one. */
static void odd_coefficients(const struct mro_wide *z, size_t n, size_t from, size_t columns, parts first, parts second)
{
    for (size_t i = 0; i < MRO_LANES; i++) {
        const size_t k = from + i < columns ? from + i : 0;
        const struct mro_wide a = z[k], b = z[k ? n - k : 0];
        first[0][i] = 0.5f * (a.re + b.re);
        first[1][i] = 0.5f * (a.im - b.im);
        second[0][i] = 0.5f * (a.im + b.im);
        second[1][i] = 0.5f * (b.re - a.re);
    }
}

void mro_real_forward(const struct mro_real *s, size_t columns, struct mro_wide *half, size_t stride, size_t y0)
{
    const struct mro_room *r = &s->room;
    const mro_c32 *turn = mro_lines_half_turns(r->lines);
    if (s->step < s->n)
        mro_lines_run_spread(r->lines, r->in, r->out);
    else
        mro_lines_run(r->lines, false, r->in, r->out, r->scratch);
    for (size_t p = 0; p < mro_panels(columns); p++) {
        struct mro_wide *to = half + p * stride + y0;
        parts of[2];
        if (s->parts == 1)
            even_coefficients(r->out, s->nx / 2, turn, p * MRO_LANES, columns, of[0]);
        else
            odd_coefficients(r->out, s->nx, p * MRO_LANES, columns, of[0], of[1]);
        mro_lines_will_write(to + stride, s->parts * MRO_LANES);
        for (size_t k = 0; k < s->parts; k++, to += MRO_LANES) {
            turn_panel(of[k][0], 1, &to->re, 2);
            turn_panel(of[k][1], 1, &to->im, 2);
        }
    }
}

/* Coefficients of rows of an even length 2 n, `columns` of n + 1, to those of complex rows of n. */
static void from_even(struct mro_wide *z, size_t n, const mro_c32 *turn, size_t columns)
{
    const mro_lanes last = columns > n ? z[n].re : (mro_lanes){ 0 };
    if (columns < n) memset(z + columns, 0, (n - columns) * sizeof *z);
    z[0] = (struct mro_wide){ z[0].re + last, z[0].re - last }; /* both are real */
    for (size_t k = 1; k <= n / 2; k++) {
        const struct mro_wide a = z[k], b = z[n - k];
        const struct mro_wide even = { a.re + b.re, a.im - b.im };
        const struct mro_wide odd = times((struct mro_wide){ a.im + b.im, a.re - b.re }, turn[k]);
        z[k] = (struct mro_wide){ even.re - odd.re, even.im + odd.im };
        z[n - k] = (struct mro_wide){ even.re + odd.re, odd.im - even.im };
    }
}

/* Coefficients of two rows a and b of an odd length, from `from` on, to those of a + i b, with what Hermitian symmetry
 * makes of them beyond the middle. */
static void from_odd(struct mro_wide *z, size_t n, size_t from, size_t columns, parts a, parts b)
{
    for (size_t i = 0; i < MRO_LANES && from + i < columns; i++) {
        const size_t k = from + i;
        if (k) z[n - k] = (struct mro_wide){ a[0][i] + b[1][i], b[0][i] - a[1][i] };
        z[k] = k ? (struct mro_wide){ a[0][i] - b[1][i], a[1][i] + b[0][i] } : (struct mro_wide){ a[0][i], b[0][i] };
    }
}

void mro_real_backward(const struct mro_real *s, size_t columns, const struct mro_wide *half, size_t stride, size_t y0,
                       float unit)
{
    const struct mro_room *r = &s->room;
    const size_t nx = s->nx;
    for (size_t p = 0; p < mro_panels(columns); p++) {
        const struct mro_wide *from = half + p * stride + y0;
        struct mro_wide *to = r->in + p * MRO_LANES;
        parts of[2];
        mro_lines_will_read(from + stride, s->parts * MRO_LANES);
        for (size_t k = 0; k < s->parts; k++, from += MRO_LANES) {
            turn_panel(&from->re, 2, of[k][0], 1);
            turn_panel(&from->im, 2, of[k][1], 1);
            for (size_t i = 0; i < MRO_LANES; i++) {
                of[k][0][i] *= unit;
                of[k][1][i] *= unit;
            }
        }
        if (s->parts == 2) from_odd(r->in, nx, p * MRO_LANES, columns, of[0], of[1]);
        for (size_t i = 0; s->parts == 1 && i < MRO_LANES; i++) to[i] = (struct mro_wide){ of[0][0][i], of[0][1][i] };
    }
    if (s->parts == 1)
        from_even(r->in, nx / 2, mro_lines_half_turns(r->lines), columns);
    else
        memset(r->in + columns, 0, (nx + 1 - 2 * columns) * sizeof *r->in);
    mro_lines_run(r->lines, true, r->in, r->out, r->scratch);
}

void mro_real_load(const struct mro_real *s, const float *field, size_t ny, size_t y0)
{
    for (size_t part = 0; part < s->parts; part++) {
        const size_t y = y0 + part * MRO_LANES, n = y >= ny ? 0 : ny - y < MRO_LANES ? ny - y : MRO_LANES;
        mro_lines_from_rows(n ? field + y * s->nx : field, s->nx, n, s->nx, mro_real_part(s->room.in, part), s->parts);
    }
}

void mro_real_store(const struct mro_real *s, float *field, size_t ny, size_t y0)
{
    for (size_t part = 0; part < s->parts && y0 + part * MRO_LANES < ny; part++) {
        const size_t y = y0 + part * MRO_LANES, n = ny - y < MRO_LANES ? ny - y : MRO_LANES;
        mro_lines_to_rows(mro_real_part(s->room.out, part), s->parts, field + y * s->nx, s->nx, n, s->nx);
    }
}

void mro_unfold(const struct mro_wide *v, mro_c32 *plane, size_t ny, size_t nx, size_t ky, size_t kx, size_t w)
{
    enum { AHEAD = 16 }; /* rows that will be written after some others */
    mro_c32 *to = plane + ky * nx, *mirror = plane + (ky ? ny - ky : 0) * nx;
    mro_lines_will_write((const struct mro_wide *)(to + AHEAD * nx + kx), 1);
    mro_lines_will_write((const struct mro_wide *)(mirror - AHEAD * nx + nx - kx - MRO_LANES), 1);
    mro_lines_to_columns(v, to + kx, nx, w, 1);
    if (w == MRO_LANES && kx > 0 && 2 * (kx + w) <= nx) {
        for (size_t i = 0; i < MRO_LANES; i++) mirror[nx - kx - i] = (mro_c32){ to[kx + i].re, -to[kx + i].im };
        return;
    }
    for (size_t i = 0; i < w; i++) {
        const size_t k = kx + i;
        if (k && 2 * k != nx) mirror[nx - k] = (mro_c32){ to[k].re, -to[k].im };
    }
}

void mro_rows_to_panels(const struct mro_wide *rows, size_t nx, struct mro_wide *panels, size_t stride, size_t y0)
{
    for (size_t p = 0; p < mro_panels(nx); p++) {
        const struct mro_wide *from = rows + p * MRO_LANES;
        struct mro_wide *to = panels + p * stride + y0;
        turn_panel(&from->re, 2, &to->re, 2);
        turn_panel(&from->im, 2, &to->im, 2);
    }
}

/* -- planes ------------------------------------------------------------------------------------------ */

#define PLANE_NS 1.1 /* a sample of a real transform */

static enum mro_code no_room(size_t ny, size_t nx, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a transform of %zu x %zu", nx, ny);
}

/* Whether none of n rows from y on is within `reach` of row 0. */
static bool beyond(size_t y, size_t n, size_t ny, ptrdiff_t reach)
{
    return (ptrdiff_t)y > reach && (ptrdiff_t)(ny - (y + n - 1)) > reach;
}

/* Rows or columns of a complex plane in place. */
static bool lines_of_plane(mro_c32 *plane, size_t ny, size_t nx, ptrdiff_t reach, bool columns, bool back, int threads)
{
    const size_t lines = columns ? nx : ny, length = columns ? ny : nx;
    bool failed = false;
#pragma omp parallel num_threads(threads)
    {
        struct mro_room r;
        const bool ready = mro_room_new(&r, length);
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t from = 0; from < lines; from += MRO_LANES) {
            const size_t w = lines - from < MRO_LANES ? lines - from : MRO_LANES;
            mro_c32 *at = plane + from * (columns ? 1 : nx);
            if (!ready || (!columns && beyond(from, w, ny, reach))) continue;
            if (columns)
                mro_lines_from_columns(at, nx, w, ny, r.in);
            else
                mro_lines_from_rows(&at->re, 2 * nx, w, 2 * nx, &r.in->re, 1);
            mro_lines_run(r.lines, back, r.in, r.out, r.scratch);
            if (columns)
                mro_lines_to_columns(r.out, at, nx, w, ny);
            else
                mro_lines_to_rows(&r.out->re, 1, &at->re, 2 * nx, w, 2 * nx);
        }
        mro_room_release(&r);
    }
    return !failed;
}

enum mro_code mro_fft2(mro_c32 *plane, size_t ny, size_t nx, ptrdiff_t reach, bool back, int threads,
                       struct mro_error *e)
{
    const bool done = lines_of_plane(plane, ny, nx, reach, false, back, threads) &&
                      lines_of_plane(plane, ny, nx, reach, true, back, threads);
    return done ? MRO_OK : no_room(ny, nx, e);
}

enum mro_code mro_fft_real(const float *field, size_t ny, size_t nx, float unit, mro_c32 *spectrum, int threads,
                           struct mro_error *e)
{
    const size_t columns = nx / 2 + 1, stride = mro_panel_stride(ny), strip = mro_real_rows(nx);
    struct mro_wide *half = mro_panels_new(columns, ny);
    bool failed = half == NULL;
#pragma omp parallel num_threads(mro_team(threads, PLANE_NS *(double)(ny * nx))) if (!failed)
    {
        struct mro_real x;
        struct mro_room y;
        const bool ready_x = mro_real_new(&x, nx), ready_y = mro_room_new(&y, ny), ready = ready_x && ready_y && half;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t y0 = 0; y0 < ny; y0 += strip) {
            if (!ready) continue;
            mro_real_load(&x, field, ny, y0);
            mro_real_forward(&x, columns, half, stride, y0);
        }
#pragma omp for schedule(static)
        for (size_t p = 0; p < mro_panels(columns); p++) {
            const size_t kx = p * MRO_LANES, w = columns - kx < MRO_LANES ? columns - kx : MRO_LANES;
            if (!ready) continue;
            mro_lines_run(y.lines, false, half + p * stride, y.out, y.scratch);
            for (size_t ky = 0; ky < ny; ky++) {
                const struct mro_wide v = { unit * y.out[ky].re, unit * y.out[ky].im };
                mro_unfold(&v, spectrum, ny, nx, ky, kx, w);
            }
        }
        mro_real_release(&x);
        mro_room_release(&y);
    }
    free(half);
    return failed ? no_room(ny, nx, e) : MRO_OK;
}

enum mro_code mro_fft_real_inverse(const mro_c32 *spectrum, size_t ny, size_t nx, float unit, float *field, int threads,
                                   struct mro_error *e)
{
    const size_t columns = nx / 2 + 1, stride = mro_panel_stride(ny), strip = mro_real_rows(nx);
    struct mro_wide *half = mro_panels_new(columns, ny);
    bool failed = half == NULL;
#pragma omp parallel num_threads(mro_team(threads, PLANE_NS *(double)(ny * nx))) if (!failed)
    {
        struct mro_real x;
        struct mro_room y;
        const bool ready_x = mro_real_new(&x, nx), ready_y = mro_room_new(&y, ny), ready = ready_x && ready_y && half;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t p = 0; p < mro_panels(columns); p++) {
            const size_t kx = p * MRO_LANES, w = columns - kx < MRO_LANES ? columns - kx : MRO_LANES;
            if (!ready) continue;
            mro_lines_from_columns(spectrum + kx, nx, w, ny, y.in);
            mro_lines_run(y.lines, true, y.in, half + p * stride, y.scratch);
            memset(half + p * stride + ny, 0, (stride - ny) * sizeof *half);
        }
#pragma omp for schedule(static)
        for (size_t y0 = 0; y0 < ny; y0 += strip) {
            if (!ready) continue;
            mro_real_backward(&x, columns, half, stride, y0, unit);
            mro_real_store(&x, field, ny, y0);
        }
        mro_real_release(&x);
        mro_room_release(&y);
    }
    free(half);
    return failed ? no_room(ny, nx, e) : MRO_OK;
}

bool mro_plane_new(struct mro_plane *p, size_t ny, size_t nx)
{
    memset(p, 0, sizeof *p);
    p->ny = ny;
    p->nx = nx;
    if (mro_rooms_new(&p->rooms, ny, nx)) p->between = mro_panels_new(nx, ny);
    return p->between;
}

void mro_plane_release(struct mro_plane *p)
{
    mro_rooms_release(&p->rooms);
    free(p->between);
    memset(p, 0, sizeof *p);
}

void mro_plane_run(const struct mro_plane *p, bool back, const mro_c32 *z, ptrdiff_t reach, struct mro_wide *panels)
{
    const struct mro_room *rows = &p->rooms.x, *columns = &p->rooms.y;
    const size_t ny = p->ny, nx = p->nx, stride = mro_panel_stride(ny);
    for (size_t y = 0; y < ny; y += MRO_LANES) {
        const size_t n = ny - y < MRO_LANES ? ny - y : MRO_LANES;
        if (beyond(y, n, ny, reach)) {
            for (size_t k = 0; k < mro_panels(nx); k++)
                memset(p->between + k * stride + y, 0, MRO_LANES * sizeof *p->between);
            continue;
        }
        mro_lines_from_rows(&z[y * nx].re, 2 * nx, n, 2 * nx, &rows->in->re, 1);
        mro_lines_run(rows->lines, back, rows->in, rows->out, rows->scratch);
        mro_rows_to_panels(rows->out, nx, p->between, stride, y);
    }
    for (size_t k = 0; k < mro_panels(nx); k++)
        mro_lines_run(columns->lines, back, p->between + k * stride, panels + k * ny, columns->scratch);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bank of windowed spectra. */
#include "core/bank.h"

#if defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define SOME_BYTES /* an instruction writes some bytes of 16 */
#endif
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "cpu/butterflies.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "cpu/prime.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

enum { IN_LINE = 64 / sizeof(mro_c32) }; /* coefficients in a line of the cache */
enum { WAVES = 256 };                    /* that a byte tells apart */

/* Numbers of wave vectors are small where that costs nothing: of large images they leave the second level of cache. */
#ifdef SOME_BYTES
typedef uint8_t wave_number;
#else
typedef int32_t wave_number;
#endif
typedef int32_t words __attribute__((vector_size(4 * MRO_LANES)));
typedef wave_number numbers __attribute__((vector_size(sizeof(wave_number) * MRO_LANES)));

/* The planes of a bank are made one after the other: a panel of columns (cpu/fft.h) is filled and transformed along y,
 * and turned to panels of rows; of these the powers of a panel's transform meet the largest so far while they are in
 * registers. Where a window begins does not matter to powers, so that it is laid from row and column 0 on; rows and
 * columns are transformed into an order of their own, which is undone at the end. Of a thread: */
struct room {
    const struct mro_prime *y, *x;
    size_t stride; /* of the panels of rows: whole panels of columns, and a column of zeros for all others */
    struct mro_wide *column, *row, *scratch; /* one panel of each */
    struct mro_wide *rows;                   /* all of them, transformed along y */
    float *bell_y, *bell_x; /* amplitude of the window from its first row on; from the first column that is read on */
    mro_lanes *best;        /* [panels of rows][nx] */
    numbers *which;         /* the wave vector that gave it, of WAVES */
};

/* No power is known of any cell. */
static void forget(struct room *r)
{
    const size_t n = mro_panels(r->y->n) * r->x->n;
    for (size_t i = 0; i < n; i++) {
        r->best[i] = (mro_lanes){ 0 } - 1;
        r->which[i] = (numbers){ 0 };
    }
}

static bool room_new(struct room *r, const struct mro_prime *y, const struct mro_prime *x,
                     const struct mro_bank_window *w)
{
    const size_t columns = 2 * (size_t)w->hx + 1 < x->n ? 2 * (size_t)w->hx + 1 : x->n;
    *r = (struct room){ .y = y, .x = x, .stride = mro_panels(columns) * MRO_LANES + 1 };
    const size_t n_panels = mro_panels(y->n), n = n_panels * x->n;
    const size_t scratch_y = mro_prime_scratch(y), scratch_x = mro_prime_scratch(x);
    r->column = mro_lines_room(n_panels * MRO_LANES);
    r->row = mro_lines_room(x->n);
    r->scratch = mro_lines_room(scratch_y > scratch_x ? scratch_y : scratch_x);
    r->rows = mro_lines_room(n_panels * r->stride);
    r->bell_y = malloc((size_t)(2 * w->hy + 1) * sizeof *r->bell_y);
    r->bell_x = malloc((IN_LINE + (size_t)(2 * w->hx + 1) + MRO_LANES) * sizeof *r->bell_x);
    r->best = aligned_alloc(sizeof *r->best, n * sizeof *r->best);
    r->which = aligned_alloc(sizeof *r->which, n * sizeof *r->which);
    if (!r->column || !r->row || !r->scratch || !r->rows || !r->bell_y || !r->bell_x || !r->best || !r->which)
        return false;
    memset(r->column, 0, n_panels * MRO_LANES * sizeof *r->column);
    memset(r->rows, 0, n_panels * r->stride * sizeof *r->rows);
    return true;
}

static void room_release(struct room *r)
{
    free(r->column);
    free(r->row);
    free(r->scratch);
    free(r->rows);
    free(r->bell_y);
    free(r->bell_x);
    free(r->best);
    free(r->which);
}

/* exp(-c (i + offset)^2) for -reach <= i <= reach. */
static void bell_row(double c, double offset, ptrdiff_t reach, float *w)
{
#pragma omp simd
    for (int i = 0; i <= 2 * (int)reach; i++) {
        const double r = i - (int)reach + offset;
        w[i] = mro_exp((float)(-c * r * r));
    }
}

/* Rows of MRO_LANES columns of the spectrum, `pitch` apart, times the window, to a panel of columns; `add`: to what is
 * there. */
MRO_INLINE void window_rows(const mro_c32 *rows, size_t pitch, size_t n, const float *bell_y, mro_lanes bell_x,
                            bool add, const size_t *place, struct mro_wide *panel)
{
    for (size_t j = 0; j < n; j++) {
        const struct mro_wide v = mro_lines_numbers(&rows[j * pitch].re);
        const mro_lanes w = bell_x * bell_y[j];
        struct mro_wide *to = panel + place[j];
        *to = add ? (struct mro_wide){ to->re + w * v.re, to->im + w * v.im } : (struct mro_wide){ w * v.re, w * v.im };
    }
}

/* All rows of the window, the first at `row` of the spectrum, of MRO_LANES columns from column `from` on, times the
 * window, to a panel of columns, folded onto its ny rows: at its points that is exact. `add`: to what is there. */
static void window_columns(const struct mro_grid *grid, const mro_c32 *spectrum, size_t row, size_t n_rows, size_t from,
                           const float *bell_y, mro_lanes bell_x, bool add, const struct mro_prime *y,
                           struct mro_wide *panel)
{
    const size_t nx = grid->nx, ny = y->n;
    const bool across = nx - from < MRO_LANES; /* the end of the rows */
    for (size_t j = 0, n; j < n_rows; j += n, row = row + n < grid->ny ? row + n : 0) {
        const mro_c32 *rows = spectrum + row * nx + from;
        const size_t *place = y->place + j % ny;
        mro_c32 some[MRO_LANES];
        n = n_rows - j < ny - j % ny ? n_rows - j : ny - j % ny;
        n = across ? 1 : n < grid->ny - row ? n : grid->ny - row;
        for (size_t i = 0, x = from; across && i < MRO_LANES; i++, x = x + 1 < nx ? x + 1 : 0)
            some[i] = spectrum[row * nx + x];
        if (add || j >= ny)
            window_rows(across ? some : rows, nx, n, bell_y + j, bell_x, true, place, panel);
        else
            window_rows(across ? some : rows, nx, n, bell_y + j, bell_x, false, place, panel);
    }
}

/* How many columns in front of the window's, the first of which is `first`, are read with weight 0: panels then begin
 * with a line of the cache, and touch two lines a row in place of three. None where that would be a panel more. */
static size_t columns_before(size_t first, size_t columns, size_t nx)
{
    const size_t before = first % IN_LINE;
    return columns >= nx || mro_panels(columns + before) == mro_panels(columns) ? before : 0;
}

/* Fills r->rows with the plane of wave vector `g`, transformed along y. */
static void transform_columns(const struct mro_grid *grid, const mro_c32 *spectrum, const struct mro_bank_window *w,
                              const double g[2], float scale, struct room *r)
{
    const double py = g[0] * grid->ly, px = g[1] * grid->lx;
    const ptrdiff_t cy = (ptrdiff_t)lround(py), cx = (ptrdiff_t)lround(px);
    const size_t ny = r->y->n, nx = r->x->n, rows = 2 * (size_t)w->hy + 1, wide = 2 * (size_t)w->hx + 1;
    const size_t parts = mro_prime_parts(r->y);
    const size_t first = mro_cyclic(cx - w->hx, grid->nx), before = columns_before(first, wide, nx);
    const size_t columns = before + wide;
    memset(r->bell_x, 0, (columns + MRO_LANES) * sizeof *r->bell_x);
    bell_row(w->c / (grid->lx * grid->lx), (double)cx - px, w->hx, r->bell_x + before);
    bell_row(w->c / (grid->ly * grid->ly), (double)cy - py, w->hy, r->bell_y);
    for (size_t j = 0; j < rows; j++) r->bell_y[j] *= scale;
    for (size_t x = 0; x < columns && x < nx; x += MRO_LANES) {
        for (size_t i = x; i < columns; i += nx) /* columns of the window that fold onto x and on */
            window_columns(grid, spectrum, mro_cyclic(cy - w->hy, grid->ny), rows, (first - before + i) % grid->nx,
                           r->bell_y, *(const mro_lanes_loose *)(r->bell_x + i), i > x, r->y, r->column);
        for (size_t j = rows; j < ny; j++) r->column[r->y->place[j]] = (struct mro_wide){ { 0 }, { 0 } };
        mro_prime_begin(r->y, r->y->levels, NULL, r->column, r->scratch);
        for (size_t i = 0, turned = 0; i < parts; i++) {
            mro_prime_part(r->y, r->y->levels, i, r->column);
            const size_t end = i + 1 < parts ? (i + 1) * (ny / parts) / MRO_LANES * MRO_LANES : ny;
            mro_rows_to_panels(r->column + turned, end - turned, r->rows + turned / MRO_LANES * r->stride, r->stride,
                               x);
            turned = end;
        }
    }
}

/* Keeps `power` where it exceeds the largest so far, and the number of its wave vector there. */
MRO_INLINE void keep(mro_lanes power, numbers id, mro_lanes *best, numbers *which)
{
#ifdef SOME_BYTES
    const __mmask16 more = _mm512_cmp_ps_mask((__m512)power, (__m512)*best, _CMP_GT_OQ);
    _mm_mask_storeu_epi8(which, more, (__m128i)id);
    _mm512_mask_storeu_ps(best, more, (__m512)power);
#else
    const mro_lanes old = *best;
    const numbers more = power > old;
    *which = (id & more) | (*which & ~more);
    *best = (mro_lanes)(((numbers)power & more) | ((numbers)old & ~more));
#endif
}

/* The last level of a transform of n numbers along x, of radix `radix`; keeps where their powers exceed the largest so
 * far. */
MRO_INLINE void last_level(const struct mro_wide *z, size_t n, numbers id, mro_lanes *best, numbers *which, int radix)
{
    for (size_t k = 0; k < n; k += (size_t)radix, best += radix, which += radix) {
        struct mro_wide v[MOST_RADIX];
        for (int i = 0; i < radix; i++) v[i] = (struct mro_wide){ z[k + (size_t)i].im, z[k + (size_t)i].re };
        few(v, radix);
        for (int i = 0; i < radix; i++) {
            const mro_lanes power = v[i].re * v[i].re + v[i].im * v[i].im;
            keep(power, id, best + i, which + i);
        }
    }
}

/* The last level of n numbers, and what is kept of their powers. */
static void keep_part(const struct mro_wide *z, size_t n, numbers id, mro_lanes *best, numbers *which, size_t radix)
{
    switch (radix) {
    case 2: last_level(z, n, id, best, which, 2); break;
    case 3: last_level(z, n, id, best, which, 3); break;
    case 4: last_level(z, n, id, best, which, 4); break;
    case 5: last_level(z, n, id, best, which, 5); break;
    case 8: last_level(z, n, id, best, which, 8); break;
    default: last_level(z, n, id, best, which, 1); break;
    }
}

/* Transforms r->rows along x, and keeps where the powers exceed the largest so far. */
static void keep_largest(struct room *r, size_t wave)
{
    const size_t nx = r->x->n, parts = mro_prime_parts(r->x), part = nx / parts;
    const int levels = r->x->levels - 1;
    const numbers id = (wave_number)wave - (numbers){ 0 };
    struct mro_wide *z = r->row;
    const size_t panels = mro_panels(r->y->n);
    for (size_t i = 0; i < panels; i++) {
        const size_t p = wave % 2 ? panels - 1 - i : i; /* there and back: what was used last is still in the cache */
        mro_prime_begin(r->x, levels, r->rows + p * r->stride, z, r->scratch);
        for (size_t k = 0; k < nx; k += part) {
            mro_prime_part(r->x, levels, k / part, z);
            keep_part(z + k, part, id, r->best + p * nx + k, r->which + p * nx + k, r->x->level[levels].radix);
        }
    }
}

/* The largest powers that a thread found in vector `at` of its cells, and whose they are: -1 where there are none. */
MRO_INLINE mro_lanes largest(const struct room *r, size_t at, size_t from, words *wave)
{
    *wave = (__builtin_convertvector(r->which[at], words) + (int32_t)from) | (r->best[at] < 0);
    return r->best[at];
}

/* The largest powers that any of n threads found in panel p of rows, and whose they are, wave vectors `from` and on; of
 * equal ones the lower one is kept, and what is known of those before. */
static void join(const struct room *room, size_t n, size_t p, size_t from, float *power, int32_t *which)
{
    const struct mro_prime *y = room->y, *x = room->x;
    const size_t first = p * MRO_LANES, rows = y->n - first < MRO_LANES ? y->n - first : MRO_LANES;
    for (size_t i = 0; i < x->n; i++) {
        words wave, its;
        mro_lanes best = largest(room, p * x->n + i, from, &wave);
        for (size_t t = 1; t < n; t++) {
            const mro_lanes other = largest(room + t, p * x->n + i, from, &its);
            const words more = (other > best) | ((other == best) & (its < wave));
            wave = (its & more) | (wave & ~more);
            best = (mro_lanes)(((words)other & more) | ((words)best & ~more));
        }
        for (size_t k = 0; k < rows; k++) {
            const size_t to = y->order[first + k] * x->n + x->order[i];
            if (from && !(best[k] > power[to])) continue;
            power[to] = best[k];
            which[to] = wave[k];
        }
    }
}

enum mro_code mro_cpu_bank_maximum(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *spectrum,
                                   const struct mro_bank *bank, const struct mro_grid *out, struct mro_buffer *power,
                                   struct mro_buffer *which, struct mro_error *e)
{
    const struct mro_bank_window window = mro_bank_window_of(bank, g);
    struct mro_prime y, x;
    struct room *room = calloc((size_t)d->threads, sizeof *room);
    double *scale = malloc(bank->n_g * sizeof *scale);
    const bool ready_y = mro_prime_new(&y, out->ny), ready_x = mro_prime_new(&x, out->nx);
    bool failed = !ready_y || !ready_x || !scale || !room;
    const size_t columns = 2 * (size_t)window.hx + 1;
    if (failed) goto done;
    for (size_t i = 0; i < out->nx; i++) /* all columns beyond the window are one */
        if (x.from[i] >= mro_panels(columns) * MRO_LANES) x.from[i] = mro_panels(columns) * MRO_LANES;
    mro_bank_scales(bank, g, scale);
#pragma omp parallel num_threads(d->threads)
    {
        struct room *mine = room + omp_get_thread_num();
        const bool ready = room_new(mine, &y, &x, &window);
        if (!ready) mro_raise(&failed);
        for (size_t from = 0; from < bank->n_g; from += WAVES) {
            const size_t end = from + WAVES < bank->n_g ? from + WAVES : bank->n_g;
            if (ready) forget(mine);
#pragma omp for schedule(monotonic : dynamic)
            for (size_t k = from; k < end; k++) {
                if (!ready) continue;
                transform_columns(g, spectrum->p, &window, bank->g[k], (float)scale[k], mine);
                keep_largest(mine, k - from); /* rising within a thread: of equal powers the first is kept */
            }
            const bool any = mro_raised(&failed);
#pragma omp for schedule(static)
            for (size_t p = 0; p < mro_panels(out->ny); p++)
                if (!any) join(room, (size_t)omp_get_num_threads(), p, from, power->p, which->p);
        }
        room_release(mine);
    }
done:
    free(room);
    mro_prime_release(&y);
    mro_prime_release(&x);
    free(scale);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for a bank of %zu windows of %zu x %zu cells", bank->n_g,
                             out->nx, out->ny)
                  : MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One set of fringes: its demodulated field, the region that shows it, its wave vector. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/sizes.h"
#include "mroscope/math/elementary.h"
#include "ops/crystal_internal.h"

#define LEAST_AREA_NM2 0.8 /* of a region */
#define PAD_NM 1.2         /* kept around a region */
#define CENTRED 0.01       /* nm^-1: a mask further off its fringes bends their phase at the rim of the crystal */
#define SMALL_NM 6.0       /* crystals whose shape is looked at with a wider mask, as far as the noise allows: */
#define WIDEST_MASK 0.8    /* nm^-1, */
#define CLEAR_SHAPE 7.0    /* with this amplitude over the noise */
#define QUARTER 0.28768207 /* ln(4 / 3): the lower quartile of an exponential of mean 1 */
#define RIM_COVARIANCE 0.5 /* of the whole: where less of the mask is inside the noise is too large for a strain */
#define FILLED 3.0         /* times the power around a spot: more than the speckle changes from place to place */
#define RIM_WIDTHS 2.0     /* widths of the mask in real space along the border of the image where fields wrap around */
#define PRIOR_POINTS 2.0   /* that the noise outside counts for, against the scatter inside */

/* ------------------------------------------------------------------ demodulation */

/* Mean square of |h| from its lower quartile: crystals may cover much of the field. */
static double quiet_square(const struct crystal_work *w, double mask, bool *known)
{
    const size_t stride_y = (size_t)fmax(1, mro_mask_width(mask) / w->step[0]), /* neighbours say the same */
        stride_x = (size_t)fmax(1, mro_mask_width(mask) / w->step[1]);
    const size_t most = (w->map.ny / stride_y + 1) * (w->map.nx / stride_x + 1);
    float *v = malloc(most * sizeof *v);
    *known = v != NULL;
    if (v == NULL) return 0;
    size_t n = 0;
    for (size_t y = 0; y < w->map.ny; y += stride_y)
        for (size_t x = 0; x < w->map.nx; x += stride_x) {
            const size_t i = y * w->map.nx + x;
            if (!w->usable[i]) continue;
            const mro_c32 h = w->room->host_h[i];
            v[n++] = (h.re * h.re + h.im * h.im) / w->gain[i];
        }
    const double q = n ? mro_select(v, n, n / 4) / QUARTER : 0;
    free(v);
    return q;
}

enum mro_code mro_fringe_room_new(const struct crystal_work *w, struct fringe_room *room, struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = w->map.ny * w->map.nx;
    *room = (struct fringe_room){ .host_h = malloc(n * sizeof *room->host_h),
                                  .host_slope = malloc(2 * n * sizeof *room->host_slope),
                                  .state = calloc(n, 1),
                                  .list = malloc(n * sizeof *room->list) };
    enum mro_code rc = MRO_OK;
    if (!room->host_h || !room->host_slope || !room->state || !room->list)
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &room->h, n * sizeof *room->host_h, e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &room->slope, 2 * n * sizeof *room->host_slope, e);
    if (rc) mro_fringe_room_release(w, room);
    return rc;
}

void mro_fringe_room_release(const struct crystal_work *w, struct fringe_room *room)
{
    w->d->ops->release(w->d, &room->h);
    w->d->ops->release(w->d, &room->slope);
    free(room->host_h);
    free(room->host_slope);
    free(room->state);
    free(room->list);
    memset(room, 0, sizeof *room);
}

struct mro_grid mro_fringe_map(double ly, double lx, double step)
{
    return (struct mro_grid){ mro_smooth_size((size_t)ceil(ly / step) + 4),
                              mro_smooth_size((size_t)ceil(lx / step) + 4), ly, lx };
}

void mro_crystal_work_release(struct crystal_work *w)
{
    for (size_t i = 0; i < w->n_rooms; i++) mro_fringe_room_release(w, w->room + i);
    free(w->room);
    w->d->ops->release(w->d, &w->spectrum);
    w->d->ops->release(w->d, &w->flat);
    free(w->usable);
    free(w->level);
    free(w->gain);
    for (size_t i = 0; i < w->sets.n; i++) mro_fringe_release(&w->sets.v[i]);
    free(w->sets.v);
}

enum mro_code mro_fringe_demodulate(struct crystal_work *w, const double g[2], double mask, double carrier[2],
                                    double *noise, struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = w->map.ny * w->map.nx;
    const struct mro_wave_mask m = mro_wave_mask_of(g[0], g[1], mask, w->grid.ly, w->grid.lx);
    carrier[0] = (double)m.cy / w->grid.ly;
    carrier[1] = (double)m.cx / w->grid.lx;
    const double level = w->level[mro_cyclic(m.cy, w->grid.ny) * w->grid.nx + mro_cyclic(m.cx, w->grid.nx)];
    /* The lens slopes across the wide spot of a small crystal, and would shift its centre by 1 % at 2 nm. The whitened
     * spectrum takes that out, and with it the slope of the halo, which the spot does not have: see tilt_of. */
    struct fringe_room *room = w->room;
    MRO_TRY(d->ops->demodulate(d, &w->grid, level > 0 ? &w->flat : &w->spectrum, g, mask, &w->map, &room->h, e));
    MRO_TRY(d->ops->download(d, room->host_h, &room->h, n * sizeof *room->host_h, e));
    room->unit = level > 0 ? sqrt(level) : 1; /* as at the middle of the mask */
    bool known;
    const double quiet = quiet_square(w, mask, &known);
    if (!known) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    /* A crystal that fills the field leaves no quiet place: then the spectrum around its spot tells. */
    const double around = MRO_PI * mask * mask * w->grid.ly * w->grid.lx / ((double)w->grid.ny * (double)w->grid.nx);
    *noise = sqrt(level > 0 && quiet > FILLED * around ? around : quiet);
    return MRO_OK;
}

/* ------------------------------------------------------------------ regions */

static double modulus(mro_c32 z) { return sqrt((double)z.re * z.re + (double)z.im * z.im); }

/* |v| in the middle of the region, noise taken out. Reorders `amplitude`. */
static double plateau_of(float *amplitude, size_t n, double noise)
{
    const float limit = 0.75f * mro_select(amplitude, n, (n - 1) * 9 / 10);
    size_t from = 0;
    for (size_t i = 0; i < n; i++) from += amplitude[i] <= limit;
    if (from == n) from = n - 1;
    const double median = mro_select(amplitude, n, from + (n - from) / 2);
    return sqrt(fmax(median * median - 0.5 * noise * noise, 0.25 * median * median));
}

static void release_field(struct fringe_field *f)
{
    free(f->v);
    free(f->slope[0]);
    free(f->slope[1]);
    free(f->inside);
    memset(f, 0, sizeof *f);
}

/* Points connected to the seed whose |host_h| is over the level: in the room's state they become 1 (all others 0
 * before), and their numbers go to its list. */
static size_t flood(const struct crystal_work *w, size_t seed, double level)
{
    const size_t nx = w->map.nx, ny = w->map.ny;
    const mro_c32 *field = w->room->host_h;
    unsigned char *state = w->room->state;
    uint32_t *list = w->room->list;
    const float square = (float)(level * level);
    size_t n = 0, done = 0;
    state[seed] = 1;
    list[n++] = (uint32_t)seed;
    while (done < n) {
        const size_t i = list[done++], y = i / nx, x = i % nx;
        const size_t next[4] = { y ? i - nx : i, y + 1 < ny ? i + nx : i, x ? i - 1 : i, x + 1 < nx ? i + 1 : i };
        for (int k = 0; k < 4; k++) {
            const mro_c32 h = field[next[k]];
            if (state[next[k]] || !w->usable[next[k]] || !(h.re * h.re + h.im * h.im > square)) continue;
            state[next[k]] = 1;
            list[n++] = (uint32_t)next[k];
        }
    }
    return n;
}

void mro_fringe_moment(const float *v, float *restrict to, size_t h, size_t w, int axis, double step, double width,
                       double reach, int power)
{
    const ptrdiff_t most = (ptrdiff_t)ceil(reach / step), len = (ptrdiff_t)(axis ? w : h);
    const ptrdiff_t stride = axis ? 1 : (ptrdiff_t)w;
    memset(to, 0, h * w * sizeof *to);
    for (ptrdiff_t k = -most; k <= most; k++) {
        const double t = (double)k * step / width;
        const float b = (float)(exp(-0.5 * t * t) * pow(t, power));
        /* Along y rows that follow each other are one. */
        const ptrdiff_t from = k < 0 ? -k : 0, until = k < 0 ? len : len - k;
        const size_t rows = axis ? h : 1;
        for (size_t y = 0; y < rows; y++) {
            const ptrdiff_t at = (ptrdiff_t)(y * w);
#pragma omp simd
            for (ptrdiff_t i = at + from * stride; i < at + until * stride; i++) to[i] += b * v[i + k * stride];
        }
    }
}

/* Next to the rim of a crystal the mask sees one side only, and the slope of the phase falls short: that of fringes d
 * off the mask's centre is C d, with C the covariance of the Gaussian over the part of it that is inside, over that of
 * the whole. */
struct rim {
    float *room, *moment[6]; /* of the part that is inside, over the window */
};

static void rim_release(struct rim *r)
{
    free(r->room);
    *r = (struct rim){ 0 };
}

struct covariance {
    double yy, yx, xx, det;
    bool enough; /* more than RIM_COVARIANCE in all directions */
};

static struct covariance rim_covariance(const struct rim *r, size_t i)
{
    const double n = r->moment[0][i], y = r->moment[1][i] / n, x = r->moment[3][i] / n;
    const double yy = r->moment[2][i] / n - y * y, yx = r->moment[4][i] / n - y * x, xx = r->moment[5][i] / n - x * x;
    const double det = yy * xx - yx * yx, mean = 0.5 * (yy + xx), least = mean - sqrt(fmax(0, mean * mean - det));
    return (struct covariance){ yy, yx, xx, det, least > RIM_COVARIANCE };
}

/* The rim of a set, whose points are marked as 4. */
static enum mro_code rim_mark(const struct crystal_work *w, struct fringe_set *s, struct rim *r, struct mro_error *e)
{
    struct fringe_field *f = &s->f;
    const size_t m = f->h * f->w;
    const double width = mro_mask_width(s->mask);
    float *v = r->room = malloc(8 * m * sizeof *v), *along = v ? v + m : NULL;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    static const int powers[6][2] = { { 0, 0 }, { 1, 0 }, { 2, 0 }, { 0, 1 }, { 1, 1 }, { 0, 2 } }; /* y, x */
    for (size_t i = 0; i < m; i++) v[i] = f->inside[i] ? 1 : 0;
    for (int k = 0; k < 6; k++) {
        r->moment[k] = v + (size_t)(k + 2) * m;
        if (k == 0 || powers[k][1] != powers[k - 1][1])
            mro_fringe_moment(v, along, f->h, f->w, 1, w->step[1], width, 4 * width, powers[k][1]);
        mro_fringe_moment(along, r->moment[k], f->h, f->w, 0, w->step[0], width, 4 * width, powers[k][0]);
    }
    for (size_t i = 0; i < m; i++)
        if (f->inside[i] && !rim_covariance(r, i).enough) f->inside[i] = 4;
    return MRO_OK;
}

/* Takes C back from the slopes off the rim. */
static void straighten(struct fringe_set *s, const struct rim *r)
{
    struct fringe_field *f = &s->f;
    const double off[2] = { f->carrier[0] - s->centre[0], f->carrier[1] - s->centre[1] };
    for (size_t i = 0; i < f->h * f->w; i++) {
        if (!f->inside[i]) continue;
        const struct covariance c = rim_covariance(r, i);
        if (!c.enough) continue;
        const double dy = f->slope[0][i] + off[0], dx = f->slope[1][i] + off[1];
        f->slope[0][i] = (float)((c.xx * dy - c.yx * dx) / c.det - off[0]);
        f->slope[1][i] = (float)((c.yy * dx - c.yx * dy) / c.det - off[1]);
    }
}

/* Memory for a window of the map, and the room's field in it; inside is 0, and slopes are not known. */
static enum mro_code field_window(const struct crystal_work *w, struct fringe_field *f, struct mro_error *e)
{
    const float unit = (float)w->room->unit;
    f->slope[0] = f->slope[1] = NULL;
    f->v = malloc(f->h * f->w * sizeof *f->v);
    f->inside = calloc(f->h * f->w, 1);
    if (!f->v || !f->inside) {
        release_field(f);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    }
    for (size_t y = 0; y < f->h; y++)
        for (size_t x = 0; x < f->w; x++) {
            const mro_c32 v = w->room->host_h[(f->y0 + y) * w->map.nx + f->x0 + x];
            f->v[y * f->w + x] = (mro_c32){ unit * v.re, unit * v.im };
        }
    return MRO_OK;
}

/* Slopes of the room's field in the window of a set. */
static enum mro_code take_slopes(const struct crystal_work *w, struct fringe_field *f, struct mro_error *e)
{
    struct mro_device *d = w->d;
    struct fringe_room *room = w->room;
    const size_t n = w->map.ny * w->map.nx;
    MRO_TRY(d->ops->phase_slope(d, &w->map, &room->h, &room->slope, e));
    MRO_TRY(d->ops->download(d, room->host_slope, &room->slope, 2 * n * sizeof *room->host_slope, e));
    for (size_t k = 0; k < 2; k++) {
        f->slope[k] = malloc(f->h * f->w * sizeof(float));
        if (f->slope[k] == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        for (size_t y = 0; y < f->h; y++)
            memcpy(f->slope[k] + y * f->w, room->host_slope + k * n + (f->y0 + y) * w->map.nx + f->x0,
                   f->w * sizeof(float));
    }
    return MRO_OK;
}

/* Cuts the window of the region, n points of the room's list, out of the map, fills holes. */
static enum mro_code cut(const struct crystal_work *w, size_t n, const double carrier[2], struct fringe_set *s,
                         struct mro_error *e)
{
    const size_t nx = w->map.nx, ny = w->map.ny;
    const uint32_t *list = w->room->list;
    size_t y0 = ny, y1 = 0, x0 = nx, x1 = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t y = list[i] / nx, x = list[i] % nx;
        y0 = y < y0 ? y : y0;
        y1 = y > y1 ? y : y1;
        x0 = x < x0 ? x : x0;
        x1 = x > x1 ? x : x1;
    }
    const size_t py = (size_t)ceil(PAD_NM / w->step[0]), px = (size_t)ceil(PAD_NM / w->step[1]);
    y0 = y0 > py ? y0 - py : 0;
    x0 = x0 > px ? x0 - px : 0;
    y1 = y1 + py < ny ? y1 + py : ny - 1;
    x1 = x1 + px < nx ? x1 + px : nx - 1;
    struct fringe_field *f = &s->f;
    *f = (struct fringe_field){ .y0 = y0, .x0 = x0, .h = y1 - y0 + 1, .w = x1 - x0 + 1 };
    const size_t m = f->h * f->w;
    f->carrier[0] = carrier[0];
    f->carrier[1] = carrier[1];
    MRO_TRY(field_window(w, f, e));
    uint32_t *open = malloc(m * sizeof *open);
    if (open == NULL) {
        mro_fringe_release(s);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    }
    for (size_t i = 0; i < n; i++) f->inside[(list[i] / nx - y0) * f->w + list[i] % nx - x0] = 1;
    /* What cannot be reached from the rim of the window is a hole: it becomes part of the region. */
    size_t left = 0, done = 0;
    for (size_t i = 0; i < m; i++) {
        const size_t y = i / f->w, x = i % f->w;
        if (f->inside[i] || (y && x && y + 1 < f->h && x + 1 < f->w)) continue;
        f->inside[i] = 3;
        open[left++] = (uint32_t)i;
    }
    while (done < left) {
        const size_t i = open[done++], y = i / f->w, x = i % f->w;
        const size_t next[4] = { y ? i - f->w : i, y + 1 < f->h ? i + f->w : i, x ? i - 1 : i,
                                 x + 1 < f->w ? i + 1 : i };
        for (int k = 0; k < 4; k++)
            if (f->inside[next[k]] == 0) {
                f->inside[next[k]] = 3;
                open[left++] = (uint32_t)next[k];
            }
    }
    free(open);
    for (size_t i = 0; i < m; i++) /* what was not reached is a hole */
        f->inside[i] = f->inside[i] != 3;
    return MRO_OK;
}

void mro_fringe_release(struct fringe_set *s) { release_field(&s->f); }

/* Place, area and border of a region that has been cut out; *high: which share of it is over 0.8 of the plateau. */
static void measure_place(const struct crystal_work *w, struct fringe_set *s, double *high)
{
    const struct fringe_field *f = &s->f;
    const double cell = w->step[0] * w->step[1], level = 0.8 * s->plateau;
    const double margin = 1.5 * mro_mask_width(s->mask);
    size_t n = 0, over = 0;
    double y_sum = 0, x_sum = 0;
    s->at_border = false;
    for (size_t y = 0; y < f->h; y++)
        for (size_t x = 0; x < f->w; x++) {
            const size_t i = y * f->w + x;
            if (!f->inside[i]) continue;
            const double py = (double)(f->y0 + y) * w->step[0], px = (double)(f->x0 + x) * w->step[1];
            n++;
            over += modulus(f->v[i]) > level;
            y_sum += py;
            x_sum += px;
            s->at_border |= py < margin || px < margin || py > w->map.ly - margin || px > w->map.lx - margin;
        }
    s->y_nm = y_sum / (double)n;
    s->x_nm = x_sum / (double)n;
    s->area_nm2 = (double)n * cell;
    *high = (double)over / (double)n;
}

/* The region of the fringes in the room around the strongest point within `reach` nm of (y, x): its points in the
 * room's list, n of them, 0 when nothing stands out of the noise; |host_h| in its middle. */
static enum mro_code region_of(const struct crystal_work *w, double y_nm, double x_nm, double reach, double quiet,
                               size_t *n, double *plateau, struct mro_error *e)
{
    const size_t nx = w->map.nx, ny = w->map.ny;
    const struct fringe_room *room = w->room;
    size_t seed = 0;
    double top = -1;
    const ptrdiff_t cy = (ptrdiff_t)lround(y_nm / w->step[0]), cx = (ptrdiff_t)lround(x_nm / w->step[1]);
    const ptrdiff_t ry = (ptrdiff_t)ceil(reach / w->step[0]), rx = (ptrdiff_t)ceil(reach / w->step[1]);
    *n = 0;
    for (ptrdiff_t y = cy > ry ? cy - ry : 0; y <= cy + ry && y < (ptrdiff_t)ny; y++)
        for (ptrdiff_t x = cx > rx ? cx - rx : 0; x <= cx + rx && x < (ptrdiff_t)nx; x++) {
            const size_t i = (size_t)y * nx + (size_t)x;
            const double a = modulus(room->host_h[i]);
            if (w->usable[i] && a > top) {
                top = a;
                seed = i;
            }
        }
    /* The crystal's own power is in the gain here: that errs to the careful side, and next to its spot it is little. */
    const double noise =
        quiet * sqrt(mro_crystal_gain(w, (double)(seed / nx) * w->step[0], (double)(seed % nx) * w->step[1]));
    if (!(top > CRYSTAL_OVER_NOISE * noise) || !(noise > 0)) return MRO_OK;
    const size_t m = flood(w, seed, fmax(2.7 * noise, 0.45 * top));
    float *amplitude = malloc(m * sizeof *amplitude);
    for (size_t i = 0; i < m; i++) {
        const mro_c32 h = room->host_h[room->list[i]];
        if (amplitude) amplitude[i] = (float)modulus(h);
        room->state[room->list[i]] = 0;
    }
    if (amplitude == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    *plateau = plateau_of(amplitude, m, noise);
    free(amplitude);
    *n = flood(w, seed, fmax(MRO_FRINGE_RIM_NOISE * noise, 0.5 * *plateau));
    for (size_t i = 0; i < *n; i++) room->state[room->list[i]] = 0;
    return MRO_OK;
}

/* Which points of a region show the fringes well enough for a strain. */
static void mark_clear(const struct crystal_work *w, struct fringe_set *s)
{
    struct fringe_field *f = &s->f;
    const double least = CRYSTAL_OVER_NOISE * s->noise, margin = RIM_WIDTHS * mro_mask_width(s->mask);
    for (size_t i = 0; i < f->h * f->w; i++) {
        const double a = modulus(f->v[i]);
        const double y = (double)(f->y0 + i / f->w) * w->step[0], x = (double)(f->x0 + i % f->w) * w->step[1];
        const bool rim = y < margin || x < margin || y > w->map.ly - margin || x > w->map.lx - margin;
        if (f->inside[i]) f->inside[i] = f->inside[i] != 4 && a > least && !rim ? 2 : 1;
    }
}

/* Median of the gain around a region that has been cut out, off its rim, where no other crystal raises it much: on
 * points of its window that are not inside. 1 where the window has none. */
static enum mro_code gain_around(const struct crystal_work *w, const struct fringe_set *s, double *gain,
                                 struct mro_error *e)
{
    const struct fringe_field *f = &s->f;
    float *v = malloc(f->h * f->w * sizeof *v);
    size_t n = 0;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    for (size_t i = 0; i < f->h * f->w; i++)
        if (f->inside[i] == 0) v[n++] = w->gain[(f->y0 + i / f->w) * w->map.nx + f->x0 + i % f->w];
    *gain = n ? mro_select(v, n, n / 2) : 1;
    free(v);
    return MRO_OK;
}

/* By how much whitening moves the wave vector of a set along itself, nm^-1. A gain that changes by exp(-a q) across a
 * spot moves the field by i a / (2 pi): its phase gets a / (2 pi) times the slope of the logarithm of its amplitude.
 * The plane through that moves g by -a s^2, with s the standard deviation of a Gaussian spot, and is taken here from
 * the amplitude as it is; since the mask follows the spot, s counts as it is without the mask.
 * Whether it is the lens or the halo that slopes at a spot one image does not tell. For a lens whitening is right, for
 * a halo all of its tilt is wrong; so it is an error, of any share between none and all. */
static double tilt_of(const struct crystal_work *w, const struct fringe_set *s)
{
    const struct fringe_field *f = &s->f;
    const double q = hypot(s->g[0], s->g[1]), n[2] = { s->g[0] / q, s->g[1] / q }, reach = 0.6 * s->mask;
    float level[2];
    for (int k = 0; k < 2; k++) {
        const double t = (k ? reach : -reach) / q;
        level[k] = w->level[mro_cyclic((ptrdiff_t)lround((1 + t) * s->g[0] * w->grid.ly), w->grid.ny) * w->grid.nx +
                            mro_cyclic((ptrdiff_t)lround((1 + t) * s->g[1] * w->grid.lx), w->grid.nx)];
        if (!(level[k] > 0)) return 0;
    }
    double weight = 0, cy = 0, cx = 0, square = 0, slope = 0;
    for (size_t i = 0; i < f->h * f->w; i++) {
        if (!f->inside[i]) continue;
        const double p = (double)square_of(f->v[i]);
        weight += p;
        cy += p * (double)(i / f->w) * w->step[0];
        cx += p * (double)(i % f->w) * w->step[1];
    }
    for (size_t y = 1; y + 1 < f->h; y++)
        for (size_t x = 1; x + 1 < f->w; x++) {
            const size_t i = y * f->w + x;
            if (!f->inside[i]) continue;
            const double r =
                ((double)y * w->step[0] - cy / weight) * n[0] + ((double)x * w->step[1] - cx / weight) * n[1];
            const double dy = (double)(square_of(f->v[i + f->w]) - square_of(f->v[i - f->w])) / (2 * w->step[0]);
            const double dx = (double)(square_of(f->v[i + 1]) - square_of(f->v[i - 1])) / (2 * w->step[1]);
            square += r * r * (double)square_of(f->v[i]);
            slope += 0.5 * r * (dy * n[0] + dx * n[1]);
        }
    const double seen = fmax(0, -slope / square) / (4 * MRO_PI * MRO_PI), mask = s->mask * s->mask;
    const double a = 0.5 * log((double)level[1] / (double)level[0]) / (2 * reach);
    return -a * seen / fmax(0.25, 1 - seen / mask);
}

/* The diameter of a small crystal from a field that is smoothed less, where the noise allows it. */
static enum mro_code sharper_diameter(struct crystal_work *w, struct fringe_set *s, struct mro_error *e)
{
    const double mask = fmin(WIDEST_MASK, s->mask * s->plateau / s->noise / CLEAR_SHAPE);
    double carrier[2], noise, plateau;
    size_t n, over = 0;
    if (s->diameter_nm > SMALL_NM || mask < 1.2 * s->mask) return MRO_OK;
    MRO_TRY(mro_fringe_demodulate(w, s->g, mask, carrier, &noise, e));
    MRO_TRY(region_of(w, s->y_nm, s->x_nm, 0.25 * s->diameter_nm, noise, &n, &plateau, e));
    const double area = (double)n * w->step[0] * w->step[1];
    if (!(area > 0.6 * s->area_nm2 && area < 1.4 * s->area_nm2)) return MRO_OK; /* it fell apart */
    for (size_t i = 0; i < n; i++) over += modulus(w->room->host_h[w->room->list[i]]) > 0.8 * plateau;
    s->diameter_nm =
        mro_crystal_diameter(area, (double)over / (double)n, mro_mask_width(mask), plateau / noise, &w->doubt);
    return MRO_OK;
}

enum mro_code mro_fringe_grow(struct crystal_work *w, const double g[2], double y_nm, double x_nm, double reach,
                              struct fringe_set *s, bool *found, struct mro_error *e)
{
    double carrier[2], at[2] = { g[0], g[1] }, high = 0, gain = 1;
    struct rim rim = { 0 };
    enum mro_code rc = MRO_OK;
    memset(s, 0, sizeof *s);
    *found = false;
    for (int round = 0; round < 3; round++) {
        size_t m;
        mro_fringe_release(s);
        rim_release(&rim);
        *found = false;
        s->crystal = SIZE_MAX;
        s->mask = w->o->mask_inv_nm;
        memcpy(s->centre, at, sizeof at);
        if ((rc = mro_fringe_demodulate(w, at, s->mask, carrier, &s->noise, e))) goto done;
        if ((rc = region_of(w, y_nm, x_nm, reach, s->noise, &m, &s->plateau, e))) goto done;
        if ((double)m * w->step[0] * w->step[1] < LEAST_AREA_NM2) goto done;
        if ((rc = cut(w, m, carrier, s, e))) goto done;
        s->plateau *= w->room->unit;
        if ((rc = gain_around(w, s, &gain, e))) goto done;
        s->noise *= w->room->unit * sqrt(gain);
        measure_place(w, s, &high);
        if (s->at_border) { /* its rim takes no part in the fit */
            if ((rc = rim_mark(w, s, &rim, e))) goto done;
            mark_clear(w, s);
        }
        if ((rc = mro_fringe_fit(w, s, NULL, s->g, s->cov, &s->chi2, found, e))) goto done;
        if (!*found) break;
        const double off = hypot(s->g[0] - at[0], s->g[1] - at[1]);
        if (off < CENTRED || hypot(s->g[0] - g[0], s->g[1] - g[1]) > 2 * s->mask) break;
        memcpy(at, s->g, sizeof at);
    }
    if (*found) {
        double sum = 0;
        size_t count = 0;
        for (size_t i = 0; i < s->f.h * s->f.w; i++) {
            if (!s->f.inside[i]) continue;
            sum += (double)s->f.v[i].re * s->f.v[i].re + (double)s->f.v[i].im * s->f.v[i].im;
            count++;
        }
        /* Noise power of one nm^-2 of the spectrum: the mask passes pi sigma^2 of it. */
        const double level = s->noise * s->noise / (MRO_PI * s->mask * s->mask);
        s->snr = fmax(0, sum - (double)count * s->noise * s->noise) * w->step[0] * w->step[1] / level;
        s->diameter_nm =
            mro_crystal_diameter(s->area_nm2, high, mro_mask_width(s->mask), s->plateau / s->noise, &w->doubt);
        if ((rc = take_slopes(w, &s->f, e))) goto done;
        if (!s->at_border) {
            if ((rc = rim_mark(w, s, &rim, e))) goto done;
            mark_clear(w, s);
        }
        straighten(s, &rim);
        rc = sharper_diameter(w, s, e);
        s->tilt = tilt_of(w, s);
    }
done:
    rim_release(&rim);
    if (rc || !*found) mro_fringe_release(s);
    return rc;
}

/* ------------------------------------------------------------------ wave vectors */

enum mro_code mro_fringe_centred(struct crystal_work *w, const struct fringe_set *s, const double g[2],
                                 struct fringe_set *copy, struct mro_error *e)
{
    const struct fringe_field *from = &s->f;
    double noise;
    *copy = *s;
    memcpy(copy->centre, g, sizeof copy->centre);
    MRO_TRY(mro_fringe_demodulate(w, g, s->mask, copy->f.carrier, &noise, e));
    MRO_TRY(field_window(w, &copy->f, e));
    memcpy(copy->f.inside, from->inside, from->h * from->w);
    return MRO_OK;
}

double mro_spacing_scatter(const double g[2], const double cov[3], double chi2)
{
    return mro_spacing_se(g, cov) * sqrt(chi2) * hypot(g[0], g[1]);
}

double mro_spacing_se(const double g[2], const double cov[3])
{
    const double q2 = g[0] * g[0] + g[1] * g[1];
    const double along = (g[0] * g[0] * cov[0] + 2 * g[0] * g[1] * cov[1] + g[1] * g[1] * cov[2]) / q2;
    return sqrt(along) / q2;
}

enum mro_code mro_fringe_fit(const struct crystal_work *w, const struct fringe_set *s, const unsigned char *mask,
                             double g[2], double cov[3], double *chi2, bool *known, struct mro_error *e)
{
    const struct fringe_field *f = &s->f;
    const double *step = w->step;
    const size_t m = f->h * f->w;
    double weight = 0, cy = 0, cx = 0;
    double turn[2][2] = { { 0, 0 }, { 0, 0 } };       /* from a point to the next one, along y and x */
    const unsigned char least = s->at_border ? 2 : 1; /* along the image's border the field is not the crystal's */
    size_t n = 0;
    double *y = malloc(7 * m * sizeof *y);
    *known = false;
    if (y == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    double *x = y + m, *re = x + m, *im = re + m, *u = im + m, *v = u + m, *phase = v + m;
#define TAKEN(I) (f->inside[I] >= least && (mask == NULL || mask[I]))
    for (size_t i = 0; i < m; i++) { /* first the mean slope */
        if (!TAKEN(i)) continue;
        y[n] = (double)(i / f->w) * step[0];
        x[n] = (double)(i % f->w) * step[1];
        re[n] = (double)f->v[i].re;
        im[n] = (double)f->v[i].im;
        const double a2 = re[n] * re[n] + im[n] * im[n];
        weight += a2;
        cy += a2 * y[n];
        cx += a2 * x[n];
        for (int k = 0; k < 2; k++) {
            const size_t next = i + (k ? 1 : f->w);
            if ((k ? i % f->w + 1 == f->w : next >= m) || !TAKEN(next)) continue;
            const double r = (double)f->v[next].re, j = (double)f->v[next].im;
            turn[k][0] += re[n] * r + im[n] * j;
            turn[k][1] += re[n] * j - im[n] * r;
        }
        n++;
    }
#undef TAKEN
    if (n < 12 || !(weight > 0)) {
        free(y);
        return MRO_OK;
    }
    cy /= weight;
    cx /= weight;
    double dy = atan2(turn[0][1], turn[0][0]) / (2 * MRO_PI * step[0]),
           dx = atan2(turn[1][1], turn[1][0]) / (2 * MRO_PI * step[1]);
    double yy = 0, yx = 0, xx = 0, scatter = 0;
    for (size_t i = 0; i < n; i++) {
        const double a2 = re[i] * re[i] + im[i] * im[i];
        y[i] -= cy;
        x[i] -= cx;
        yy += a2 * y[i] * y[i];
        yx += a2 * y[i] * x[i];
        xx += a2 * x[i] * x[i];
    }
    const double det = yy * xx - yx * yx;
    const bool spread = det > 1e-6 * yy * xx;
    for (int round = 0; round < 8 && spread; round++) { /* then the plane of the phase; four are enough for most */
        double sum_re = 0, sum_im = 0, by = 0, bx = 0, mean = 0;
        scatter = 0;
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            const double turns = dy * y[i] + dx * x[i], c = mro_cos_turns64(turns), si = mro_cos_turns64(turns - 0.25);
            u[i] = re[i] * c + im[i] * si;
            v[i] = im[i] * c - re[i] * si;
        }
        for (size_t i = 0; i < n; i++) { /* phase of the whole */
            sum_re += u[i];
            sum_im += v[i];
        }
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            phase[i] = mro_atan2_64(v[i] * sum_re - u[i] * sum_im, u[i] * sum_re + v[i] * sum_im);
        for (size_t i = 0; i < n; i++) mean += (u[i] * u[i] + v[i] * v[i]) * phase[i];
        mean /= weight;
        for (size_t i = 0; i < n; i++) {
            const double rest = phase[i] - mean, a = (u[i] * u[i] + v[i] * v[i]) * rest;
            scatter += a * rest;
            by += a * y[i];
            bx += a * x[i];
        }
        const double ey = (xx * by - yx * bx) / det / (2 * MRO_PI), ex = (yy * bx - yx * by) / det / (2 * MRO_PI);
        dy += ey;
        dx += ex;
        if (hypot(ey, ex) < 1e-6) break;
    }
    free(y);
    if (!spread) return MRO_OK;
    const double cell = step[0] * step[1], square = s->noise * s->noise;
    const double white = 0.5 * square / (MRO_PI * s->mask * s->mask) / (4 * MRO_PI * MRO_PI * cell);
    /* Below the width of the mask noise is not white: the slope at a point errs by no more than the mask lets through.
     */
    const double point = 0.25 * s->mask * s->mask * square * (double)n / weight;
    yy += white / point;
    xx += white / point;
    const double unit = white / (yy * xx - yx * yx);
    g[0] = f->carrier[0] + dy;
    g[1] = f->carrier[1] + dx;
    cov[0] = unit * xx;
    cov[1] = -unit * yx;
    cov[2] = unit * yy;
    if (chi2) {
        const double points = (double)n * cell * 2 * MRO_PI * s->mask * s->mask; /* independent ones */
        const double sum = points * scatter / ((double)n * 0.5 * s->noise * s->noise);
        *chi2 = (sum + PRIOR_POINTS) / (fmax(0, points - 3) + PRIOR_POINTS);
    }
    *known = true;
    return MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One set of fringes: its demodulated field, the region that shows it, its wave vector. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "mroscope/math/elementary.h"
#include "ops/crystal/crystal_internal.h"

#define LEAST_AREA_NM2 0.8 /* of a region */
#define PAD_NM 1.2         /* kept around a region */
#define TILE_NM 4.0        /* of the map beyond the place of a seed that is looked at first, */
#define AGAIN_NM 0.5       /* and beyond a region that is looked at again */
#define CENTRED 0.01       /* nm^-1: a mask further off its fringes bends their phase at the rim of the crystal */
#define SMALL_NM 6.0       /* crystals whose shape is looked at with a wider mask, as far as the noise allows: */
#define WIDEST_MASK 0.8    /* nm^-1, */
#define CLEAR_SHAPE 7.0    /* with this amplitude over the noise */
#define RIM_COVARIANCE 0.5 /* of the whole: where less of the mask is inside the noise is too large for a strain */
#define RIM_WIDTHS 2.0     /* widths of the mask in real space along the border of the image where fields wrap around */
#define PRIOR_POINTS 2.0   /* that the noise outside counts for, against the scatter inside */

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

/* The part of the map within a rectangle of its points. */
static struct mro_window clipped(const struct crystal_work *w, ptrdiff_t y0, ptrdiff_t x0, ptrdiff_t y1, ptrdiff_t x1)
{
    const ptrdiff_t ny = (ptrdiff_t)w->map.ny, nx = (ptrdiff_t)w->map.nx;
    y0 = y0 < 0 ? 0 : y0;
    x0 = x0 < 0 ? 0 : x0;
    y1 = y1 < ny ? y1 : ny - 1;
    x1 = x1 < nx ? x1 : nx - 1;
    return (struct mro_window){ (size_t)y0, (size_t)x0, (size_t)(y1 - y0 + 1), (size_t)(x1 - x0 + 1) };
}

static struct mro_window widened(const struct crystal_work *w, const struct mro_window *at, size_t by_y, size_t by_x)
{
    return clipped(w, (ptrdiff_t)at->y0 - (ptrdiff_t)by_y, (ptrdiff_t)at->x0 - (ptrdiff_t)by_x,
                   (ptrdiff_t)(at->y0 + at->ny - 1 + by_y), (ptrdiff_t)(at->x0 + at->nx - 1 + by_x));
}

static struct mro_window around(const struct crystal_work *w, double y_nm, double x_nm, double reach)
{
    const ptrdiff_t cy = lround(y_nm / w->step[0]), cx = lround(x_nm / w->step[1]);
    const ptrdiff_t ry = (ptrdiff_t)ceil(reach / w->step[0]), rx = (ptrdiff_t)ceil(reach / w->step[1]);
    return clipped(w, cy - ry, cx - rx, cy + ry, cx + rx);
}

static bool holds(const struct mro_window *at, const struct mro_window *part)
{
    return part->y0 >= at->y0 && part->x0 >= at->x0 && part->y0 + part->ny <= at->y0 + at->ny &&
           part->x0 + part->nx <= at->x0 + at->nx;
}

/* The smallest part of the map that holds both, with `more` nm around. */
static struct mro_window joined(const struct crystal_work *w, const struct mro_window *a, const struct mro_window *b,
                                double more)
{
    const size_t y0 = a->y0 < b->y0 ? a->y0 : b->y0, x0 = a->x0 < b->x0 ? a->x0 : b->x0;
    const size_t ya = a->y0 + a->ny, yb = b->y0 + b->ny, xa = a->x0 + a->nx, xb = b->x0 + b->nx;
    const struct mro_window both = { y0, x0, (ya > yb ? ya : yb) - y0, (xa > xb ? xa : xb) - x0 };
    return widened(w, &both, (size_t)ceil(more / w->step[0]), (size_t)ceil(more / w->step[1]));
}

/* Number of point i of the room in the map. */
static size_t of_map(const struct crystal_work *w, size_t i)
{
    const struct mro_window *at = &w->room->at;
    return (at->y0 + i / at->nx) * w->map.nx + at->x0 + i % at->nx;
}

/* Points of the room connected to the seed whose |v| is over the level: their numbers go to its list. *box: the part of
 * the map that they take, and PAD_NM around. */
static size_t flood(const struct crystal_work *w, size_t seed, double level, struct mro_window *box)
{
    struct fringe_room *room = w->room;
    const size_t nx = room->at.nx, ny = room->at.ny;
    const float square = (float)(level * level);
    size_t n = 0, y0 = ny, y1 = 0, x0 = nx, x1 = 0;
    room->state[seed] = 1;
    room->list[n++] = (uint32_t)seed;
    for (size_t done = 0; done < n; done++) {
        const size_t i = room->list[done], y = i / nx, x = i % nx;
        const size_t next[4] = { y ? i - nx : i, y + 1 < ny ? i + nx : i, x ? i - 1 : i, x + 1 < nx ? i + 1 : i };
        y0 = y < y0 ? y : y0;
        y1 = y > y1 ? y : y1;
        x0 = x < x0 ? x : x0;
        x1 = x > x1 ? x : x1;
        for (int k = 0; k < 4; k++) {
            if (room->state[next[k]] || !(square_of(room->v[next[k]]) > square) || !w->usable[of_map(w, next[k])])
                continue;
            room->state[next[k]] = 1;
            room->list[n++] = (uint32_t)next[k];
        }
    }
    for (size_t i = 0; i < n; i++) room->state[room->list[i]] = 0;
    const struct mro_window region = { room->at.y0 + y0, room->at.x0 + x0, y1 - y0 + 1, x1 - x0 + 1 };
    *box = widened(w, &region, (size_t)ceil(PAD_NM / w->step[0]), (size_t)ceil(PAD_NM / w->step[1]));
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
    const double width = mro_wave_width(s->mask);
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
    for (size_t i = 0; i < f->h * f->w; i++) {
        if (!f->inside[i]) continue;
        const struct covariance c = rim_covariance(r, i);
        if (!c.enough) continue;
        const double dy = f->slope[0][i], dx = f->slope[1][i]; /* from the mask's centre */
        f->slope[0][i] = (float)((c.xx * dy - c.yx * dx) / c.det);
        f->slope[1][i] = (float)((c.yy * dx - c.yx * dy) / c.det);
    }
}

/* Memory for a window of the map that the room holds, and its fringes there; inside is 0, and slopes are not known. */
static enum mro_code field_window(const struct crystal_work *w, struct fringe_field *f, struct mro_error *e)
{
    const struct fringe_room *room = w->room;
    const float unit = (float)room->unit;
    f->slope[0] = f->slope[1] = NULL;
    f->v = malloc(f->h * f->w * sizeof *f->v);
    f->inside = calloc(f->h * f->w, 1);
    if (!f->v || !f->inside) {
        free(f->v);
        free(f->inside);
        *f = (struct fringe_field){ 0 };
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    }
    for (size_t y = 0; y < f->h; y++)
        for (size_t x = 0; x < f->w; x++) {
            const mro_c32 v = room->v[(f->y0 - room->at.y0 + y) * room->at.nx + f->x0 - room->at.x0 + x];
            f->v[y * f->w + x] = (mro_c32){ unit * v.re, unit * v.im };
        }
    return MRO_OK;
}

/* Where fringes stand out: so many points of the room's list, 0 when nothing does; |v| in the middle; the part of the
 * map that holds it. A room that does not hold that is too small. */
struct region {
    size_t n;
    double plateau;
    struct mro_window box;
};

/* Cuts the window of the region at g out of the map, fills holes. */
static enum mro_code cut(const struct crystal_work *w, const struct region *r, const double g[2], struct fringe_set *s,
                         struct mro_error *e)
{
    struct fringe_field *f = &s->f;
    const struct fringe_room *room = w->room;
    *f = (struct fringe_field){
        .y0 = r->box.y0, .x0 = r->box.x0, .h = r->box.ny, .w = r->box.nx, .carrier = { g[0], g[1] }
    };
    const size_t m = f->h * f->w;
    MRO_TRY(field_window(w, f, e));
    uint32_t *open = malloc(m * sizeof *open);
    if (open == NULL) {
        mro_fringe_release(s);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    }
    for (size_t i = 0; i < r->n; i++) {
        const size_t y = room->at.y0 + room->list[i] / room->at.nx, x = room->at.x0 + room->list[i] % room->at.nx;
        f->inside[(y - f->y0) * f->w + x - f->x0] = 1;
    }
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

/* Place, area and border of a region that has been cut out; *high: which share of it is over 0.8 of the plateau. */
static void measure_place(const struct crystal_work *w, struct fringe_set *s, double *high)
{
    const struct fringe_field *f = &s->f;
    const double cell = w->step[0] * w->step[1], level = 0.8 * s->plateau;
    const double margin = 1.5 * mro_wave_width(s->mask);
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

/* The region of the fringes in the room around the strongest point within `reach` nm of (y, x). */
static enum mro_code region_of(const struct crystal_work *w, double y_nm, double x_nm, double reach, double quiet,
                               struct region *r, struct mro_error *e)
{
    const struct fringe_room *room = w->room;
    const struct mro_window near = around(w, y_nm, x_nm, reach);
    size_t seed = 0;
    float top = -1;
    *r = (struct region){ .box = near };
    if (!holds(&room->at, &near)) return MRO_OK;
    for (size_t y = near.y0 - room->at.y0; y < near.y0 - room->at.y0 + near.ny; y++)
        for (size_t x = near.x0 - room->at.x0; x < near.x0 - room->at.x0 + near.nx; x++) {
            const size_t i = y * room->at.nx + x;
            const float square = square_of(room->v[i]);
            if (!(square > top) || !w->usable[of_map(w, i)]) continue;
            top = square;
            seed = i;
        }
    /* The crystal's own power is in the gain here: that errs to the careful side, and next to its spot it is little. */
    const double noise = quiet * (w->gain ? sqrt((double)w->gain[of_map(w, seed)]) : 1), highest = sqrt(fmax(0, top));
    if (!(highest > CRYSTAL_OVER_NOISE * noise) || !(noise > 0)) return MRO_OK;
    const size_t m = flood(w, seed, fmax(2.7 * noise, 0.45 * highest), &r->box);
    if (!holds(&room->at, &r->box)) return MRO_OK;
    float *amplitude = malloc(m * sizeof *amplitude);
    if (amplitude == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    for (size_t i = 0; i < m; i++) amplitude[i] = (float)modulus(room->v[room->list[i]]);
    r->plateau = plateau_of(amplitude, m, noise);
    free(amplitude);
    r->n = flood(w, seed, fmax(MRO_FRINGE_RIM_NOISE * noise, 0.5 * r->plateau), &r->box);
    return MRO_OK;
}

/* The same of the fringes at g, in a tile that is widened until it holds the region. */
static enum mro_code find_region(struct crystal_work *w, const double g[2], double mask, double y_nm, double x_nm,
                                 double reach, double quiet, struct mro_window *tile, struct region *r,
                                 struct mro_error *e)
{
    for (;; *tile = widened(w, tile, (tile->ny + 1) / 2, (tile->nx + 1) / 2)) {
        MRO_TRY(mro_fringe_demodulate(w, g, mask, tile, e));
        MRO_TRY(region_of(w, y_nm, x_nm, reach, quiet, r, e));
        if (holds(tile, &r->box)) return MRO_OK;
    }
}

/* Which points of a region show the fringes well enough for a strain. */
static void mark_clear(const struct crystal_work *w, struct fringe_set *s)
{
    struct fringe_field *f = &s->f;
    const double least = CRYSTAL_OVER_NOISE * s->noise, margin = RIM_WIDTHS * mro_wave_width(s->mask);
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
    size_t n = 0;
    *gain = 1;
    if (w->gain == NULL) return MRO_OK;
    float *v = malloc(f->h * f->w * sizeof *v);
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    for (size_t i = 0; i < f->h * f->w; i++)
        if (f->inside[i] == 0) v[n++] = w->gain[(f->y0 + i / f->w) * w->map.nx + f->x0 + i % f->w];
    if (n) *gain = mro_select(v, n, n / 2);
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
        const double at = 1 + (k ? reach : -reach) / q, g[2] = { at * s->g[0], at * s->g[1] };
        level[k] = mro_fringe_level(w, g);
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

/* The diameter of a small crystal from a field that is smoothed less, where the noise allows it: `quiet` times as much
 * as the mask is wider, since the field is white. */
static enum mro_code sharper_diameter(struct crystal_work *w, double quiet, struct fringe_set *s, struct mro_error *e)
{
    const double mask = fmin(WIDEST_MASK, s->mask * s->plateau / s->noise / CLEAR_SHAPE),
                 noise = quiet * mask / s->mask;
    struct mro_window tile = { s->f.y0, s->f.x0, s->f.h, s->f.w };
    struct region r;
    size_t over = 0;
    if (s->diameter_nm > SMALL_NM || mask < 1.2 * s->mask) return MRO_OK;
    MRO_TRY(find_region(w, s->g, mask, s->y_nm, s->x_nm, 0.25 * s->diameter_nm, noise, &tile, &r, e));
    const double area = (double)r.n * w->step[0] * w->step[1];
    if (!(area > 0.6 * s->area_nm2 && area < 1.4 * s->area_nm2)) return MRO_OK; /* it fell apart */
    for (size_t i = 0; i < r.n; i++) over += modulus(w->room->v[w->room->list[i]]) > 0.8 * r.plateau;
    s->diameter_nm = mro_crystal_diameter(area, (double)over / (double)r.n, mro_wave_width(mask), r.plateau / noise,
                                          &w->doubt, &s->flat_nm);
    return MRO_OK;
}

enum mro_code mro_fringe_grow(struct crystal_work *w, const double g[2], double y_nm, double x_nm, double reach,
                              struct fringe_set *s, bool *found, struct mro_error *e)
{
    const double mask = w->o->mask_inv_nm;
    double at[2] = { g[0], g[1] }, quiet, high = 0, gain = 1;
    const struct mro_window near = around(w, y_nm, x_nm, reach);
    struct mro_window tile = around(w, y_nm, x_nm, reach + TILE_NM);
    struct region r;
    struct rim rim = { 0 };
    memset(s, 0, sizeof *s);
    *found = false;
    enum mro_code rc = mro_fringe_noise(w, g, mask, &quiet, e);
    if (rc) return rc;
    for (int round = 0; round < 3; round++) {
        mro_fringe_release(s);
        rim_release(&rim);
        *found = false;
        s->crystal = SIZE_MAX;
        s->mask = mask;
        if ((rc = find_region(w, at, mask, y_nm, x_nm, reach, quiet, &tile, &r, e))) goto done;
        if ((double)r.n * w->step[0] * w->step[1] < LEAST_AREA_NM2) goto done;
        if ((rc = cut(w, &r, at, s, e))) goto done;
        s->plateau = r.plateau * w->room->unit;
        if ((rc = gain_around(w, s, &gain, e))) goto done;
        s->noise = quiet * w->room->unit * sqrt(gain);
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
        tile = joined(w, &near, &r.box, AGAIN_NM);
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
        s->diameter_nm = mro_crystal_diameter(s->area_nm2, high, mro_wave_width(s->mask), s->plateau / s->noise,
                                              &w->doubt, &s->flat_nm);
        if ((rc = mro_fringe_slopes(w, s->f.carrier, mask, &s->f, e))) goto done;
        if (!s->at_border) {
            if ((rc = rim_mark(w, s, &rim, e))) goto done;
            mark_clear(w, s);
        }
        straighten(s, &rim);
        rc = sharper_diameter(w, quiet, s, e);
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
    const struct mro_window at = { from->y0, from->x0, from->h, from->w };
    *copy = *s;
    memcpy(copy->f.carrier, g, sizeof copy->f.carrier);
    MRO_TRY(mro_fringe_demodulate(w, g, s->mask, &at, e));
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

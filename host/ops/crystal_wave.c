/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One set of fringes: its demodulated field, the region that shows it, its wave vector, its phase vortices. */
#include <float.h>
#include <gsl/gsl_sf_bessel.h>
#include <gsl/gsl_sort_float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/sizes.h"
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
#define LOOP_WIDTHS 2.2    /* radius of the loop around a vortex, in widths of the mask in real space */
#define LOOP_POINTS 48
#define PRIOR_POINTS 2.0 /* that the noise outside counts for, against the scatter inside */
#define NULL_CLEAR 4.5   /* amplitude over the noise from which noise gives under 1e-5 of them in a crystal */
#define NULL_FIELDS 12   /* noise fields behind the expected number of vortices */
#define NULL_SAMPLES 320
#define NULL_CARRIER 2.5 /* nm^-1: the noise is the same around every wave vector */

/* Width in real space of a mask. */
static double width_of(double mask) { return 1 / (2 * MRO_PI * mask); }

/* ------------------------------------------------------------------ demodulation */

/* Mean square of |h| from its lower quartile: crystals may cover much of the field. */
static double quiet_square(const struct crystal_work *w, double mask, bool *known)
{
    const size_t stride_y = (size_t)fmax(1, width_of(mask) / w->step[0]), /* neighbours say the same */
        stride_x = (size_t)fmax(1, width_of(mask) / w->step[1]);
    const size_t most = (w->map.ny / stride_y + 1) * (w->map.nx / stride_x + 1);
    float *v = malloc(most * sizeof *v);
    *known = v != NULL;
    if (v == NULL) return 0;
    size_t n = 0;
    for (size_t y = 0; y < w->map.ny; y += stride_y)
        for (size_t x = 0; x < w->map.nx; x += stride_x) {
            const size_t i = y * w->map.nx + x;
            if (!w->usable[i]) continue;
            const mro_c32 h = w->host_h[i];
            v[n++] = (h.re * h.re + h.im * h.im) / w->gain[i];
        }
    const double q = n ? mro_select(v, n, n / 4) / QUARTER : 0;
    free(v);
    return q;
}

enum mro_code mro_fringe_demodulate(struct crystal_work *w, const double g[2], double mask, bool slopes,
                                    double carrier[2], double *noise, struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = w->map.ny * w->map.nx;
    const struct mro_wave_mask m = mro_wave_mask_of(g[0], g[1], mask, w->grid.ly, w->grid.lx);
    carrier[0] = (double)m.cy / w->grid.ly;
    carrier[1] = (double)m.cx / w->grid.lx;
    const double level = w->level[mro_cyclic(m.cy, w->grid.ny) * w->grid.nx + mro_cyclic(m.cx, w->grid.nx)];
    /* The lens slopes across the wide spot of a small crystal, and would shift its centre by 1 % at 2 nm. The whitened
     * spectrum takes that out, and with it the slope of the halo, which the spot does not have: right on the halo's
     * top, too much on its flanks. In units of contrast again, as at the middle of the mask. */
    MRO_TRY(d->ops->demodulate(d, &w->grid, level > 0 ? &w->flat : &w->spectrum, g, mask, &w->map, &w->h, e));
    MRO_TRY(d->ops->download(d, w->host_h, &w->h, n * sizeof(mro_c32), e));
    const float unit = level > 0 ? sqrtf((float)level) : 1;
    for (size_t i = 0; i < n; i++) {
        w->host_h[i].re *= unit;
        w->host_h[i].im *= unit;
    }
    if (slopes) {
        MRO_TRY(d->ops->phase_slope(d, &w->map, &w->h, &w->slope, e));
        MRO_TRY(d->ops->download(d, w->host_slope, &w->slope, 2 * n * sizeof(float), e));
    }
    bool known;
    const double quiet = quiet_square(w, mask, &known);
    if (!known) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    /* A crystal that fills the field leaves no quiet place: then the spectrum around its spot tells. */
    const double around =
        level * MRO_PI * mask * mask * w->grid.ly * w->grid.lx / ((double)w->grid.ny * (double)w->grid.nx);
    *noise = sqrt(level > 0 && quiet > FILLED * around ? around : quiet);
    return MRO_OK;
}

/* ------------------------------------------------------------------ shape */

static double modulus(mro_c32 z) { return sqrt((double)z.re * z.re + (double)z.im * z.im); }

/* Amplitude at r of a profile of radius 1, a disc or a sphere's chord, smoothed by a Gaussian of s. */
static double smoothed_profile(bool sphere, double s, double r)
{
    enum { N = 48 };
    const double lo = fmax(0, r - 5 * s), hi = fmin(1, r + 5 * s);
    double sum = 0;
    if (lo >= hi) return 0;
    for (int i = 0; i < N; i++) {
        const double p = lo + (hi - lo) * (i + 0.5) / N, t = (r - p) / s;
        const double a = sphere ? sqrt(1 - p * p) : 1;
        sum += a * p / (s * s) * exp(-0.5 * t * t) * gsl_sf_bessel_I0_scaled(r * p / (s * s));
    }
    return sum * (hi - lo) / N;
}

/* What is measured of a region, on such a profile: where it falls to half the plateau, and which share of that area is
 * over 0.8 of it. The plateau is the median of |v| where that is over 0.75 of its 90 % quantile, as in plateau_of. */
static void measure_profile(bool sphere, double s, double *half, double *share)
{
    enum { N = 80 };
    double a[N + 1];
    const double reach = 1 + 3 * s, dr = reach / N;
    for (int i = 0; i <= N; i++) a[i] = smoothed_profile(sphere, s, i * dr);
    const double top = a[0];
#define RADIUS(level, to)                                                                             \
    do {                                                                                              \
        int k_ = 0;                                                                                   \
        while (k_ < N && a[k_ + 1] > (level)) k_++;                                                   \
        to = k_ == N ? reach : dr * (k_ + fmax(0, fmin(1, (a[k_] - (level)) / (a[k_] - a[k_ + 1])))); \
    } while (0)
    double r, inner, high;
    RADIUS(0.45 * top, r);
    inner = r * sqrt(0.1) / dr;
    const double q90 = a[(int)inner] + (inner - (int)inner) * (a[(int)inner + 1] - a[(int)inner]);
    RADIUS(0.75 * q90, r);
    inner = r / sqrt(2) / dr;
    const double plateau = a[(int)inner] + (inner - (int)inner) * (a[(int)inner + 1] - a[(int)inner]);
    RADIUS(0.5 * plateau, *half);
    RADIUS(0.8 * plateau, high);
    *share = high * high / (*half * *half);
#undef RADIUS
}

/* Diameter of the crystal whose region has this area and this share of it over 0.8: between that of a disc and that of
 * a sphere, by which of the two the share is nearer to. `clear`: amplitude over the noise. */
static double diameter_of(double area_nm2, double share, double width, double clear)
{
    const double seen = sqrt(area_nm2 / MRO_PI);
    double radius[2], expected[2];
    for (int k = 0; k < 2; k++) {
        radius[k] = seen;
        for (int i = 0; i < 4; i++) { /* half / R is near 1 and changes slowly with R */
            double half;
            measure_profile(k, width / radius[k], &half, &expected[k]);
            radius[k] = fmax(0.4 * seen, fmin(2 * seen, seen / half));
        }
    }
    /* Of small crystals the width of the mask is most of what is seen of the shape: the doubt goes to the disc. Noise
     * takes a part of a flat top below 0.8. */
    const double apart = expected[0] - expected[1], lost = 0.5 * erfc(0.2 * clear);
    const double t =
        fmax(0, fmin(1, (expected[0] - share / (1 - lost)) / apart)) * apart * apart / (apart * apart + 0.02);
    return 2 * ((1 - t) * radius[0] + t * radius[1]);
}

/* |v| in the middle of the region, noise taken out. `amplitude` is sorted. */
static double plateau_of(float *amplitude, size_t n, double noise)
{
    gsl_sort_float(amplitude, 1, n);
    const float limit = 0.75f * amplitude[(n - 1) * 9 / 10];
    size_t from = 0;
    while (from < n && amplitude[from] <= limit) from++;
    if (from == n) from = n - 1;
    const double median = amplitude[from + (n - from) / 2];
    return sqrt(fmax(median * median - 0.5 * noise * noise, 0.25 * median * median));
}

/* ------------------------------------------------------------------ regions */

static void release_field(struct fringe_field *f)
{
    free(f->v);
    free(f->slope[0]);
    free(f->slope[1]);
    free(f->inside);
    memset(f, 0, sizeof *f);
}

/* Points connected to the seed whose |h| is over the level; in `state` they become 1 (all others 0 before), and
 * their numbers go to `list`. */
static size_t flood(const struct crystal_work *w, size_t seed, double level, unsigned char *state, uint32_t *list)
{
    const size_t nx = w->map.nx, ny = w->map.ny;
    const float square = (float)(level * level);
    size_t n = 0, done = 0;
    state[seed] = 1;
    list[n++] = (uint32_t)seed;
    while (done < n) {
        const size_t i = list[done++], y = i / nx, x = i % nx;
        const size_t next[4] = { y ? i - nx : i, y + 1 < ny ? i + nx : i, x ? i - 1 : i, x + 1 < nx ? i + 1 : i };
        for (int k = 0; k < 4; k++) {
            const mro_c32 h = w->host_h[next[k]];
            if (state[next[k]] || !w->usable[next[k]] || !(h.re * h.re + h.im * h.im > square)) continue;
            state[next[k]] = 1;
            list[n++] = (uint32_t)next[k];
        }
    }
    return n;
}

/* Sums over the region around each point with Gaussian weights, times the distance along y or x to a power: along one
 * axis, from `v` to `to`. */
static void moment(const float *v, float *to, size_t h, size_t w, int axis, double step, double width, int power)
{
    const ptrdiff_t reach = (ptrdiff_t)ceil(4 * width / step), len = (ptrdiff_t)(axis ? w : h);
    const ptrdiff_t stride = axis ? 1 : (ptrdiff_t)w;
    memset(to, 0, h * w * sizeof *to);
    for (ptrdiff_t k = -reach; k <= reach; k++) {
        const double t = (double)k * step / width;
        const float b = (float)(exp(-0.5 * t * t) * pow(t, power));
        for (size_t y = 0; y < h; y++) {
            const ptrdiff_t row = (ptrdiff_t)y;
            const ptrdiff_t from = axis ? (k < 0 ? -k : 0) : 0, until = axis ? (k < 0 ? len : len - k) : (ptrdiff_t)w;
            if (!axis && (row + k < 0 || row + k >= len)) continue;
            for (ptrdiff_t x = from; x < until; x++) {
                const ptrdiff_t i = row * (ptrdiff_t)w + x;
                to[i] += b * v[i + k * stride];
            }
        }
    }
}

/* Next to the rim of a crystal the mask sees one side only, and the slope of the phase falls short: that of fringes d
 * off the mask's centre is C d, with C the covariance of the Gaussian over the part of it that is inside, over that of
 * the whole. This takes it back, and marks points where C falls below RIM_COVARIANCE as 4. False: out of memory. */
static bool straighten(const struct crystal_work *w, struct fringe_set *s)
{
    struct fringe_field *f = &s->f;
    const size_t m = f->h * f->w;
    const double width = width_of(s->mask);
    float *v = malloc(8 * m * sizeof *v);
    if (v == NULL) return false;
    float *along = v + m, *moments[6];
    static const int powers[6][2] = { { 0, 0 }, { 1, 0 }, { 2, 0 }, { 0, 1 }, { 1, 1 }, { 0, 2 } }; /* y, x */
    for (size_t i = 0; i < m; i++) v[i] = f->inside[i] == 3 ? 0 : 1;
    for (int k = 0; k < 6; k++) {
        moments[k] = v + (size_t)(k + 2) * m;
        if (k == 0 || powers[k][1] != powers[k - 1][1])
            moment(v, along, f->h, f->w, 1, w->step[1], width, powers[k][1]);
        moment(along, moments[k], f->h, f->w, 0, w->step[0], width, powers[k][0]);
    }
    const double off[2] = { f->carrier[0] - s->centre[0], f->carrier[1] - s->centre[1] };
    for (size_t i = 0; i < m; i++) {
        if (f->inside[i] == 3) continue;
        const double n = moments[0][i], y = moments[1][i] / n, x = moments[3][i] / n;
        const double yy = moments[2][i] / n - y * y, yx = moments[4][i] / n - y * x, xx = moments[5][i] / n - x * x;
        const double det = yy * xx - yx * yx, mean = 0.5 * (yy + xx), least = mean - sqrt(fmax(0, mean * mean - det));
        if (!(least > RIM_COVARIANCE)) {
            f->inside[i] = 4;
            continue;
        }
        const double dy = f->slope[0][i] + off[0], dx = f->slope[1][i] + off[1];
        f->slope[0][i] = (float)((xx * dy - yx * dx) / det - off[0]);
        f->slope[1][i] = (float)((yy * dx - yx * dy) / det - off[1]);
    }
    free(v);
    return true;
}

/* Memory for a window of the map, and the field and its slopes in it; inside is 0. */
static enum mro_code field_window(const struct crystal_work *w, struct fringe_field *f, struct mro_error *e)
{
    const size_t m = f->h * f->w, all = w->map.ny * w->map.nx;
    f->v = malloc(m * sizeof *f->v);
    f->inside = calloc(m, 1);
    for (int k = 0; k < 2; k++) f->slope[k] = malloc(m * sizeof(float));
    if (!f->v || !f->inside || !f->slope[0] || !f->slope[1]) {
        release_field(f);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    }
    for (size_t y = 0; y < f->h; y++)
        for (size_t x = 0; x < f->w; x++) {
            const size_t from = (f->y0 + y) * w->map.nx + f->x0 + x;
            f->v[y * f->w + x] = w->host_h[from];
            for (size_t k = 0; k < 2; k++) f->slope[k][y * f->w + x] = w->host_slope[k * all + from];
        }
    return MRO_OK;
}

/* Cuts the window of the region out of the map, fills holes. */
static enum mro_code cut(const struct crystal_work *w, const uint32_t *list, size_t n, const double carrier[2],
                         struct fringe_set *s, struct mro_error *e)
{
    const size_t nx = w->map.nx, ny = w->map.ny;
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
    if (!straighten(w, s)) {
        mro_fringe_release(s);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    }
    for (size_t i = 0; i < m; i++) /* what was not reached is a hole */
        f->inside[i] = f->inside[i] == 3 ? 0 : f->inside[i] ? f->inside[i] : 1;
    return MRO_OK;
}

void mro_fringe_release(struct fringe_set *s) { release_field(&s->f); }

/* Place, size and border of a region that has been cut out. */
static void measure_place(const struct crystal_work *w, struct fringe_set *s)
{
    const struct fringe_field *f = &s->f;
    const double cell = w->step[0] * w->step[1], high = 0.8 * s->plateau;
    const double margin = 1.5 * width_of(s->mask);
    size_t n = 0, over = 0;
    double y_sum = 0, x_sum = 0;
    s->at_border = false;
    for (size_t y = 0; y < f->h; y++)
        for (size_t x = 0; x < f->w; x++) {
            const size_t i = y * f->w + x;
            if (!f->inside[i]) continue;
            const double py = (double)(f->y0 + y) * w->step[0], px = (double)(f->x0 + x) * w->step[1];
            n++;
            over += modulus(f->v[i]) > high;
            y_sum += py;
            x_sum += px;
            s->at_border |= py < margin || px < margin || py > w->map.ly - margin || px > w->map.lx - margin;
        }
    s->y_nm = y_sum / (double)n;
    s->x_nm = x_sum / (double)n;
    s->area_nm2 = (double)n * cell;
    s->diameter_nm = diameter_of(s->area_nm2, (double)over / (double)n, width_of(s->mask), s->plateau / s->noise);
}

/* The region of the fringes in host_h around the strongest point within `reach` nm of (y, x): its points in list, n of
 * them, 0 when nothing stands out of the noise; |h| in its middle. `state` is 0 beforehand, and is not after. */
static enum mro_code region_of(const struct crystal_work *w, double y_nm, double x_nm, double reach, double quiet,
                               unsigned char *state, uint32_t *list, size_t *n, double *plateau, struct mro_error *e)
{
    const size_t nx = w->map.nx, ny = w->map.ny;
    size_t seed = 0;
    double top = -1;
    const ptrdiff_t cy = (ptrdiff_t)lround(y_nm / w->step[0]), cx = (ptrdiff_t)lround(x_nm / w->step[1]);
    const ptrdiff_t ry = (ptrdiff_t)ceil(reach / w->step[0]), rx = (ptrdiff_t)ceil(reach / w->step[1]);
    *n = 0;
    for (ptrdiff_t y = cy > ry ? cy - ry : 0; y <= cy + ry && y < (ptrdiff_t)ny; y++)
        for (ptrdiff_t x = cx > rx ? cx - rx : 0; x <= cx + rx && x < (ptrdiff_t)nx; x++) {
            const size_t i = (size_t)y * nx + (size_t)x;
            const double a = modulus(w->host_h[i]);
            if (w->usable[i] && a > top) {
                top = a;
                seed = i;
            }
        }
    /* The crystal's own power is in the gain here: that errs to the careful side, and next to its spot it is little. */
    const double noise =
        quiet * sqrt(mro_crystal_gain(w, (double)(seed / nx) * w->step[0], (double)(seed % nx) * w->step[1]));
    if (!(top > CRYSTAL_OVER_NOISE * noise) || !(noise > 0)) return MRO_OK;
    const size_t m = flood(w, seed, fmax(2.7 * noise, 0.45 * top), state, list);
    float *amplitude = malloc(m * sizeof *amplitude);
    if (amplitude == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    for (size_t i = 0; i < m; i++) {
        amplitude[i] = hypotf(w->host_h[list[i]].re, w->host_h[list[i]].im);
        state[list[i]] = 0;
    }
    *plateau = plateau_of(amplitude, m, noise);
    free(amplitude);
    *n = flood(w, seed, fmax(2.4 * noise, 0.5 * *plateau), state, list);
    return MRO_OK;
}

/* Which points of a region show the fringes well enough for a strain. */
static void mark_clear(const struct crystal_work *w, struct fringe_set *s)
{
    struct fringe_field *f = &s->f;
    const double least = CRYSTAL_OVER_NOISE * s->noise, margin = RIM_WIDTHS * width_of(s->mask);
    for (size_t i = 0; i < f->h * f->w; i++) {
        const double a = modulus(f->v[i]);
        const double y = (double)(f->y0 + i / f->w) * w->step[0], x = (double)(f->x0 + i % f->w) * w->step[1];
        const bool rim = y < margin || x < margin || y > w->map.ly - margin || x > w->map.lx - margin;
        if (f->inside[i]) f->inside[i] = f->inside[i] == 1 && a > least && !rim ? 2 : 1;
    }
}

/* Median of the gain around a region that has been cut out, off its rim, where no other crystal raises it much: on
 * points of its window that are not inside. 1 where the window has none. */
static double gain_around(const struct crystal_work *w, const struct fringe_set *s)
{
    const struct fringe_field *f = &s->f;
    float *v = malloc(f->h * f->w * sizeof *v);
    size_t n = 0;
    double gain = 1;
    for (size_t i = 0; i < f->h * f->w && v; i++)
        if (f->inside[i] == 0) v[n++] = w->gain[(f->y0 + i / f->w) * w->map.nx + f->x0 + i % f->w];
    if (n) gain = mro_select(v, n, n / 2);
    free(v);
    return gain;
}

/* The diameter of a small crystal from a field that is smoothed less, where the noise allows it. */
static enum mro_code sharper_diameter(struct crystal_work *w, struct fringe_set *s, unsigned char *state,
                                      uint32_t *list, struct mro_error *e)
{
    const double mask = fmin(WIDEST_MASK, s->mask * s->plateau / s->noise / CLEAR_SHAPE);
    double carrier[2], noise, plateau;
    size_t n, over = 0;
    if (s->diameter_nm > SMALL_NM || mask < 1.2 * s->mask) return MRO_OK;
    MRO_TRY(mro_fringe_demodulate(w, s->g, mask, false, carrier, &noise, e));
    memset(state, 0, w->map.ny * w->map.nx);
    MRO_TRY(region_of(w, s->y_nm, s->x_nm, 0.25 * s->diameter_nm, noise, state, list, &n, &plateau, e));
    const double area = (double)n * w->step[0] * w->step[1];
    if (!(area > 0.6 * s->area_nm2 && area < 1.4 * s->area_nm2)) return MRO_OK; /* it fell apart */
    for (size_t i = 0; i < n; i++) over += modulus(w->host_h[list[i]]) > 0.8 * plateau;
    s->diameter_nm = diameter_of(area, (double)over / (double)n, width_of(mask), plateau / noise);
    return MRO_OK;
}

enum mro_code mro_fringe_grow(struct crystal_work *w, const double g[2], double y_nm, double x_nm, double reach,
                              struct fringe_set *s, bool *found, struct mro_error *e)
{
    const size_t n = w->map.ny * w->map.nx;
    unsigned char *state = malloc(n);
    uint32_t *list = malloc(n * sizeof *list);
    double carrier[2], at[2] = { g[0], g[1] };
    enum mro_code rc = MRO_OK;
    memset(s, 0, sizeof *s);
    *found = false;
    if (state == NULL || list == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    for (int round = 0; round < 3; round++) {
        size_t m;
        mro_fringe_release(s);
        *found = false;
        s->crystal = SIZE_MAX;
        s->mask = w->o->mask_inv_nm;
        memcpy(s->centre, at, sizeof at);
        memset(state, 0, n);
        if ((rc = mro_fringe_demodulate(w, at, s->mask, true, carrier, &s->noise, e))) goto done;
        if ((rc = region_of(w, y_nm, x_nm, reach, s->noise, state, list, &m, &s->plateau, e))) goto done;
        if ((double)m * w->step[0] * w->step[1] < LEAST_AREA_NM2) goto done;
        if ((rc = cut(w, list, m, carrier, s, e))) goto done;
        s->noise *= sqrt(gain_around(w, s));
        mark_clear(w, s);
        measure_place(w, s);
        *found = mro_fringe_fit(s, w->step, NULL, s->g, s->cov, &s->chi2);
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
        rc = sharper_diameter(w, s, state, list, e);
    }
done:
    if (rc || !*found) mro_fringe_release(s);
    free(state);
    free(list);
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
    MRO_TRY(mro_fringe_demodulate(w, g, s->mask, true, copy->f.carrier, &noise, e));
    MRO_TRY(field_window(w, &copy->f, e));
    memcpy(copy->f.inside, from->inside, from->h * from->w);
    return MRO_OK;
}

double mro_spacing_se(const double g[2], const double cov[3])
{
    const double q2 = g[0] * g[0] + g[1] * g[1];
    const double along = (g[0] * g[0] * cov[0] + 2 * g[0] * g[1] * cov[1] + g[1] * g[1] * cov[2]) / q2;
    return sqrt(along) / q2;
}

bool mro_fringe_fit(const struct fringe_set *s, const double step[2], const unsigned char *mask, double g[2],
                    double cov[3], double *chi2)
{
    const struct fringe_field *f = &s->f;
    const size_t m = f->h * f->w;
    double weight = 0, cy = 0, cx = 0, my = 0, mx = 0;
    const unsigned char least = s->at_border ? 2 : 1; /* along the image's border the field is not the crystal's */
    size_t n = 0;
    for (size_t i = 0; i < m; i++) { /* first the mean slope */
        if (f->inside[i] < least || (mask && !mask[i])) continue;
        const double a2 = (double)f->v[i].re * f->v[i].re + (double)f->v[i].im * f->v[i].im;
        weight += a2;
        cy += a2 * (double)(i / f->w) * step[0];
        cx += a2 * (double)(i % f->w) * step[1];
        my += a2 * f->slope[0][i];
        mx += a2 * f->slope[1][i];
        n++;
    }
    if (n < 12 || !(weight > 0)) return false;
    cy /= weight;
    cx /= weight;
    double dy = my / weight, dx = mx / weight, yy = 0, yx = 0, xx = 0, scatter = 0;
    for (int round = 0; round < 8; round++) { /* then the plane of the phase; four rounds are enough for most */
        double re = 0, im = 0, by = 0, bx = 0, mean = 0;
        for (int pass = 0; pass < 3; pass++) {
            if (pass == 2) scatter = yy = yx = xx = by = bx = 0;
            for (size_t i = 0; i < m; i++) {
                if (f->inside[i] < least || (mask && !mask[i])) continue;
                const double y = (double)(i / f->w) * step[0] - cy, x = (double)(i % f->w) * step[1] - cx;
                const double turns = 2 * MRO_PI * (dy * y + dx * x), c = cos(turns), si = sin(turns);
                const double r = f->v[i].re * c + f->v[i].im * si, j = f->v[i].im * c - f->v[i].re * si;
                if (pass == 0) { /* phase of the whole */
                    re += r;
                    im += j;
                    continue;
                }
                const double norm = hypot(re, im), u = (r * re + j * im) / norm, v = (j * re - r * im) / norm;
                const double a2 = r * r + j * j;
                double phase = atan2(v, u) - mean;
                if (pass == 1) {
                    by += a2 * phase;
                    continue;
                }
                scatter += a2 * phase * phase;
                yy += a2 * y * y;
                yx += a2 * y * x;
                xx += a2 * x * x;
                by += a2 * phase * y;
                bx += a2 * phase * x;
            }
            if (pass == 1) mean = by / weight;
        }
        const double det = yy * xx - yx * yx;
        if (!(det > 1e-6 * yy * xx)) return false;
        const double ey = (xx * by - yx * bx) / det / (2 * MRO_PI), ex = (yy * bx - yx * by) / det / (2 * MRO_PI);
        dy += ey;
        dx += ex;
        if (hypot(ey, ex) < 1e-6) break;
    }
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
    return true;
}

/* ------------------------------------------------------------------ vortices */

/* A complex field on h * w points, with its region. */
struct vortex_field {
    const mro_c32 *v;
    const unsigned char *inside;
    size_t h, w;
};

static double turn(mro_c32 a, mro_c32 b) /* phase of b minus that of a, within half a turn */
{
    return atan2((double)a.re * b.im - (double)a.im * b.re, (double)a.re * b.re + (double)a.im * b.im);
}

static bool on_loop(const struct vortex_field *f, double y, double x, double least, mro_c32 *v)
{
    if (!(y >= 0 && x >= 0 && y < (double)(f->h - 1) && x < (double)(f->w - 1))) return false;
    const size_t j = (size_t)y, i = (size_t)x, at = j * f->w + i;
    const float wy = (float)(y - (double)j), wx = (float)(x - (double)i);
    if (!f->inside[at] || !f->inside[at + 1] || !f->inside[at + f->w] || !f->inside[at + f->w + 1]) return false;
    const mro_c32 a = f->v[at], b = f->v[at + 1], c = f->v[at + f->w], d = f->v[at + f->w + 1];
    v->re = (1 - wy) * ((1 - wx) * a.re + wx * b.re) + wy * ((1 - wx) * c.re + wx * d.re);
    v->im = (1 - wy) * ((1 - wx) * a.im + wx * b.im) + wy * ((1 - wx) * c.im + wx * d.im);
    return hypot(v->re, v->im) > least;
}

/* Turns of the phase along a loop around sample (y, x); NaN where it is not inside or not over `least`. */
static double turns_around(const struct vortex_field *f, const double step[2], double y, double x, double radius,
                           double least)
{
    double sum = 0;
    mro_c32 first = { 0, 0 }, last = { 0, 0 };
    for (int k = 0; k <= LOOP_POINTS; k++) {
        const double t = 2 * MRO_PI * (k % LOOP_POINTS) / LOOP_POINTS;
        mro_c32 v = first;
        if (k < LOOP_POINTS && !on_loop(f, y + radius * sin(t) / step[0], x + radius * cos(t) / step[1], least, &v))
            return NAN;
        if (k == 0)
            first = v;
        else
            sum += turn(last, v);
        last = v;
    }
    return sum / (2 * MRO_PI);
}

/* A zero of the field, with the sign of the turn around it; 0 = done with. */
struct field_zero {
    double y, x, sign;
};

static size_t vortices_in(const struct vortex_field *f, const double step[2], double mask, double least,
                          double (*at)[2], size_t room)
{
    enum { MOST = 256 };
    struct field_zero zero[MOST];
    size_t n = 0, zeros = 0;
    const double radius = LOOP_WIDTHS * width_of(mask);
    for (size_t y = 0; y + 1 < f->h; y++)
        for (size_t x = 0; x + 1 < f->w; x++) {
            const size_t i = y * f->w + x;
            if (!f->inside[i] || zeros == MOST) continue;
            const mro_c32 a = f->v[i], b = f->v[i + 1], c = f->v[i + f->w + 1], d = f->v[i + f->w];
            const double around = turn(a, b) + turn(b, c) + turn(c, d) + turn(d, a);
            if (fabs(around) < MRO_PI) continue;
            zero[zeros++] = (struct field_zero){ (double)y + 0.5, (double)x + 0.5, around < 0 ? -1 : 1 };
        }
    for (size_t i = 0; i < zeros; i++) {
        if (zero[i].sign == 0) continue;
        double y = 0, x = 0, like = 0; /* a dislocation that turns the phase twice has two zeros side by side */
        for (size_t k = i; k < zeros; k++) {
            const double away = hypot((zero[k].y - zero[i].y) * step[0], (zero[k].x - zero[i].x) * step[1]);
            if (zero[k].sign != zero[i].sign || away > 1.5 * radius) continue;
            y += zero[k].y;
            x += zero[k].x;
            like++;
        }
        y /= like;
        x /= like;
        double turns = turns_around(f, step, y, x, radius, least);
        if (!(fabs(turns) > 0.5)) {
            y = zero[i].y;
            x = zero[i].x;
            turns = turns_around(f, step, y, x, radius, least);
        }
        if (!(fabs(turns) > 0.5)) continue;
        for (size_t k = i; k < zeros; k++)
            if (hypot((zero[k].y - y) * step[0], (zero[k].x - x) * step[1]) < 1.5 * radius) zero[k].sign = 0;
        if (at && n < room) {
            at[n][0] = y * step[0];
            at[n][1] = x * step[1];
        }
        n++;
    }
    return n;
}

double mro_fringe_loop(const struct fringe_set *s) { return LOOP_WIDTHS * width_of(s->mask); }

size_t mro_fringe_vortices(const struct fringe_set *s, const double step[2], double (*at)[2], size_t room)
{
    const struct vortex_field f = { s->f.v, s->f.inside, s->f.h, s->f.w };
    const size_t n = vortices_in(&f, step, s->mask, CRYSTAL_OVER_NOISE * s->noise, at, room);
    for (size_t i = 0; at && i < n && i < room; i++) {
        at[i][0] += (double)s->f.y0 * step[0];
        at[i][1] += (double)s->f.x0 * step[1];
    }
    return n;
}

double mro_fringe_turns(const struct fringe_set *s, const double step[2], double y_nm, double x_nm)
{
    const struct vortex_field f = { s->f.v, s->f.inside, s->f.h, s->f.w };
    return round(turns_around(&f, step, y_nm / step[0] - (double)s->f.y0, x_nm / step[1] - (double)s->f.x0,
                              mro_fringe_loop(s), CRYSTAL_OVER_NOISE * s->noise));
}

enum mro_code mro_fringe_vortices_null(struct crystal_work *w, const struct fringe_set *s, double *mean,
                                       struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = NULL_SAMPLES, m = s->f.h * s->f.w;
    const double ly = (double)n * w->step[0], lx = (double)n * w->step[1];
    const struct mro_grid map = { n, n, ly, lx };
    const double q = NULL_CARRIER + MRO_WAVE_REACH * s->mask + 0.2, wide[2] = { -1, 1e3 };
    const double carrier[2] = { 0, NULL_CARRIER };
    const struct mro_grid grid = { mro_smooth_size((size_t)ceil(2 * q * ly)), mro_smooth_size((size_t)ceil(2 * q * lx)),
                                   ly, lx };
    struct mro_buffer noise = { 0 }, h = { 0 };
    mro_c32 *host = malloc(n * n * sizeof *host), *v = malloc(m * sizeof *v);
    enum mro_code rc = MRO_OK;
    size_t total = 0;
    *mean = NAN;
    if (s->plateau > NULL_CLEAR * s->noise) {
        *mean = 0;
        goto done;
    }
    if (host == NULL || v == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        goto done;
    }
    if ((rc = d->ops->alloc(d, &noise, grid.ny * grid.nx * sizeof(mro_c32), e))) goto done;
    if ((rc = d->ops->alloc(d, &h, n * n * sizeof(mro_c32), e))) goto done;
    for (uint64_t k = 0; k < NULL_FIELDS; k++) {
        if ((rc = d->ops->noise_spectrum(d, &grid, w->o->seed, 0x63727973u + k, wide, 0.15, &noise, e))) goto done;
        if ((rc = d->ops->demodulate(d, &grid, &noise, carrier, s->mask, &map, &h, e))) goto done;
        if ((rc = d->ops->download(d, host, &h, n * n * sizeof *host, e))) goto done;
        double square = 0;
        for (size_t i = 0; i < n * n; i++) square += (double)host[i].re * host[i].re + (double)host[i].im * host[i].im;
        const float unit = (float)(s->noise / sqrt(square / (double)(n * n)));
        for (size_t i = 0; i < m; i++) {
            const mro_c32 z = host[(i / s->f.w % n) * n + i % s->f.w % n];
            v[i].re = unit * z.re + (float)s->plateau;
            v[i].im = unit * z.im;
        }
        const struct vortex_field f = { v, s->f.inside, s->f.h, s->f.w };
        total += vortices_in(&f, w->step, s->mask, CRYSTAL_OVER_NOISE * s->noise, NULL, 0);
    }
    *mean = (double)total / NULL_FIELDS;
done:
    d->ops->release(d, &noise);
    d->ops->release(d, &h);
    free(host);
    free(v);
    return rc;
}

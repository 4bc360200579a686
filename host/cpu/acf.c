/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Windowed autocorrelation around chosen centres: tiles for the eye and the fringe score of the literature.
 *
 * Wiener and Khinchin: the autocorrelation is the transform of the windowed power, so only that power is kept, and
 * lags are evaluated from it directly, at any spacing. Two windows share one complex transform. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/fft.h"

#define ORDERS 3      /* maxima at d, 2 d, 3 d */
#define SPACINGS 5    /* values of d averaged over */
#define DIRECTIONS 36 /* 5 degrees apart; a fringe's third maximum is 14 degrees wide */

/* A Hann window around the origin, (2 hy + 1) x (2 hx + 1) samples, its zero-padded transform, and its own power. */
struct window {
    ptrdiff_t hy, hx;
    size_t ny, nx, half; /* transform; half = nx / 2 + 1 columns of the half plane */
    double step_y, step_x;
    float *w;
    double sum;
    float *power; /* ny * half, of the window itself */
    struct mro_fft_plane plan;
};

static void window_free(struct window *v)
{
    free(v->w);
    free(v->power);
    memset(v, 0, sizeof *v);
}

/* |F|^2 of the two fields a + i b, of which `z` is the transform, over the half plane. Columns strictly inside stand
 * for their mirror image too and count twice. */
static void split_power(const struct window *v, const mro_c32 *z, float *a, float *b)
{
    for (size_t y = 0; y < v->ny; y++) {
        const mro_c32 *row = z + y * v->nx, *mirror = z + (y ? v->ny - y : 0) * v->nx;
        for (size_t x = 0; x < v->half; x++) {
            const mro_c32 p = row[x], q = mirror[x ? v->nx - x : 0];
            const float weight = x && 2 * x != v->nx ? 0.5f : 0.25f;
            const float sr = p.re + q.re, si = p.im - q.im, dr = p.re - q.re, di = p.im + q.im;
            a[y * v->half + x] = weight * (sr * sr + si * si);
            b[y * v->half + x] = weight * (dr * dr + di * di);
        }
    }
}

static size_t cyclic(ptrdiff_t i, size_t n)
{
    const ptrdiff_t r = i % (ptrdiff_t)n;
    return (size_t)(r < 0 ? r + (ptrdiff_t)n : r);
}

static bool window_new(struct window *v, const struct mro_grid *g, double width_nm)
{
    memset(v, 0, sizeof *v);
    v->step_y = g->ly / (double)g->ny;
    v->step_x = g->lx / (double)g->nx;
    v->hy = (ptrdiff_t)(0.5 * width_nm / v->step_y);
    v->hx = (ptrdiff_t)(0.5 * width_nm / v->step_x);
    /* Twice the support, so that lags do not wrap; multiples of 8 transform fast. */
    v->ny = (size_t)((2 * (2 * v->hy + 1) + 7) / 8 * 8);
    v->nx = (size_t)((2 * (2 * v->hx + 1) + 7) / 8 * 8);
    v->half = v->nx / 2 + 1;
    const size_t rows = (size_t)(2 * v->hy + 1), columns = (size_t)(2 * v->hx + 1);
    v->w = malloc(rows * columns * sizeof *v->w);
    v->power = malloc(v->ny * v->half * sizeof *v->power);
    mro_c32 *z = fftwf_malloc(2 * v->ny * v->nx * sizeof *z);
    float *none = malloc(v->ny * v->half * sizeof *none);
    bool ok = v->w && v->power && z && none && mro_fft_plane_new(&v->plan, v->ny, v->nx, FFTW_FORWARD);
    if (ok) {
        memset(z, 0, v->ny * v->nx * sizeof *z);
        for (ptrdiff_t j = -v->hy; j <= v->hy; j++)
            for (ptrdiff_t i = -v->hx; i <= v->hx; i++) {
                const double r = hypot((double)j * v->step_y, (double)i * v->step_x) / width_nm;
                const float w = r < 0.5 ? (float)(0.5 + 0.5 * cos(2 * MRO_PI * r)) : 0;
                v->w[(size_t)(j + v->hy) * columns + (size_t)(i + v->hx)] = w;
                v->sum += w;
                z[cyclic(j, v->ny) * v->nx + cyclic(i, v->nx)].re = w;
            }
        mro_fft_plane_run(&v->plan, z, v->hy, z + v->ny * v->nx);
        split_power(v, z, v->power, none);
    }
    fftwf_free(z);
    free(none);
    if (!ok) window_free(v);
    return ok;
}

/* Windowed power around two centres (nm, y and x, taken to the nearest sample: the autocorrelation does not depend on
 * where its window sits between samples). The mean under the window is taken out. `z`: room of 2 ny nx, multiples of 8.
 */
static void window_pair(const struct window *v, const struct mro_grid *g, const float *field,
                        const double (*centres)[2], size_t n, mro_c32 *z, float *a, float *b)
{
    const size_t columns = (size_t)(2 * v->hx + 1);
    memset(z, 0, v->ny * v->nx * sizeof *z);
    for (size_t k = 0; k < 2 && k < n; k++) {
        const ptrdiff_t cy = (ptrdiff_t)lround(centres[k][0] / v->step_y),
                        cx = (ptrdiff_t)lround(centres[k][1] / v->step_x);
        double mean = 0;
        for (int pass = 0; pass < 2; pass++)
            for (ptrdiff_t j = -v->hy; j <= v->hy; j++) {
                const float *w = v->w + (size_t)(j + v->hy) * columns;
                const float *row = field + cyclic(cy + j, g->ny) * g->nx;
                mro_c32 *to = z + cyclic(j, v->ny) * v->nx;
                size_t from = cyclic(cx - v->hx, g->nx), at = cyclic(-v->hx, v->nx);
                double sum = 0;
                for (size_t i = 0; i < columns; i++) {
                    if (pass == 0)
                        sum += (double)w[i] * row[from];
                    else if (k == 0)
                        to[at].re = w[i] * (row[from] - (float)mean);
                    else
                        to[at].im = w[i] * (row[from] - (float)mean);
                    if (++from == g->nx) from = 0;
                    if (++at == v->nx) at = 0;
                }
                mean += pass == 0 ? sum / v->sum : 0;
            }
    }
    mro_fft_plane_run(&v->plan, z, v->hy, z + v->ny * v->nx);
    split_power(v, z, a, b);
}

static ptrdiff_t signed_index(size_t i, size_t n) { return 2 * i <= n ? (ptrdiff_t)i : (ptrdiff_t)i - (ptrdiff_t)n; }

/* The transform of a power at n x n lags `step` nm apart with lag 0 in the middle: columns of the half plane first,
 * then rows. `table`: cos, sin of every product along y and x. */
struct lags {
    size_t n;
    double *cy, *sy, *cx, *sx; /* n * ny, n * half */
    double *re, *im;           /* n * half */
};

static void lags_free(struct lags *l)
{
    free(l->cy);
    free(l->sy);
    free(l->cx);
    free(l->sx);
    free(l->re);
    free(l->im);
}

static bool lags_new(struct lags *l, const struct window *v, size_t n, double step_nm)
{
    *l = (struct lags){ .n = n };
    l->cy = malloc(n * v->ny * sizeof(double));
    l->sy = malloc(n * v->ny * sizeof(double));
    l->cx = malloc(n * v->half * sizeof(double));
    l->sx = malloc(n * v->half * sizeof(double));
    l->re = malloc(n * v->half * sizeof(double));
    l->im = malloc(n * v->half * sizeof(double));
    if (!l->cy || !l->sy || !l->cx || !l->sx || !l->re || !l->im) {
        lags_free(l);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const double u = ((double)i - (double)(n / 2)) * step_nm;
        for (size_t k = 0; k < v->ny; k++) {
            const double a = 2 * MRO_PI * u * (double)signed_index(k, v->ny) / ((double)v->ny * v->step_y);
            l->cy[i * v->ny + k] = cos(a);
            l->sy[i * v->ny + k] = sin(a);
        }
        for (size_t k = 0; k < v->half; k++) {
            const double a = 2 * MRO_PI * u * (double)k / ((double)v->nx * v->step_x);
            l->cx[i * v->half + k] = cos(a);
            l->sx[i * v->half + k] = sin(a);
        }
    }
    return true;
}

static void correlate(const struct window *v, const struct lags *l, const float *power, double *out)
{
    for (size_t i = 0; i < l->n; i++) {
        double *re = l->re + i * v->half, *im = l->im + i * v->half;
        for (size_t x = 0; x < v->half; x++) re[x] = im[x] = 0;
        for (size_t y = 0; y < v->ny; y++) {
            const double c = l->cy[i * v->ny + y], s = l->sy[i * v->ny + y];
            const float *p = power + y * v->half;
            for (size_t x = 0; x < v->half; x++) {
                re[x] += c * (double)p[x];
                im[x] += s * (double)p[x];
            }
        }
    }
    for (size_t i = 0; i < l->n; i++)
        for (size_t j = 0; j < l->n; j++) {
            double sum = 0;
            for (size_t x = 0; x < v->half; x++)
                sum +=
                    l->re[i * v->half + x] * l->cx[j * v->half + x] - l->im[i * v->half + x] * l->sx[j * v->half + x];
            out[i * l->n + j] = sum;
        }
}

enum mro_code mro_cpu_windowed_acf(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                   double window_nm, const double (*centres)[2], size_t n_centres, size_t n,
                                   double step_nm, float *tiles, struct mro_error *e)
{
    (void)d;
    struct window v = { 0 };
    struct lags l = { 0 };
    double *own = malloc(n * n * sizeof *own), *seen = malloc(n * n * sizeof *seen);
    mro_c32 *z = NULL;
    float *a = NULL;
    enum mro_code rc = MRO_OK;
    if (own && seen && window_new(&v, g, window_nm) && lags_new(&l, &v, n, step_nm)) {
        z = fftwf_malloc(2 * v.ny * v.nx * sizeof *z);
        a = malloc(2 * v.ny * v.half * sizeof *a);
    }
    if (z == NULL || a == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for autocorrelations of %zu x %zu lags", n, n);
        goto done;
    }
    const size_t middle = n / 2 * n + n / 2;
    correlate(&v, &l, v.power, own);
    for (size_t k = 0; k < n_centres; k++) {
        window_pair(&v, g, field->p, centres + k, 1, z, a, a + v.ny * v.half);
        correlate(&v, &l, a, seen);
        for (size_t i = 0; i < n * n; i++) {
            const double overlap = own[i] / own[middle];
            /* Hardly any pair of samples is that far apart: no estimate. */
            tiles[k * n * n + i] = overlap > 0.01 && seen[middle] > 0 ? (float)(seen[i] / seen[middle] / overlap) : NAN;
        }
    }
done:
    fftwf_free(z);
    free(a);
    lags_free(&l);
    window_free(&v);
    free(own);
    free(seen);
    return rc;
}

/* The fringe score is linear in the power: kernel[direction] . power / sum of power. */
static float *fringe_kernels(const struct window *v, const double d_range_nm[2])
{
    const size_t m = v->ny * v->half;
    float *kernel = malloc(DIRECTIONS * m * sizeof *kernel);
    if (kernel == NULL) return NULL;
    /* One over the window's own autocorrelation at half orders of every spacing, along x (it is round). */
    double gain[SPACINGS][2 * ORDERS], spacing[SPACINGS];
    for (int s = 0; s < SPACINGS; s++) {
        spacing[s] = d_range_nm[0] + (d_range_nm[1] - d_range_nm[0]) * s / (SPACINGS - 1);
        for (int h = 0; h < 2 * ORDERS; h++) {
            const double u = 0.5 * (h + 1) * spacing[s];
            double here = 0, zero = 0;
            for (size_t x = 0; x < v->half; x++) {
                double column = 0;
                for (size_t y = 0; y < v->ny; y++) column += (double)v->power[y * v->half + x];
                here += column * cos(2 * MRO_PI * u * (double)x / ((double)v->nx * v->step_x));
                zero += column;
            }
            const double sign = h % 2 ? 1 : -1; /* whole orders are maxima */
            gain[s][h] = sign * zero / here / (2 * ORDERS * SPACINGS);
        }
    }
    for (int t = 0; t < DIRECTIONS; t++) {
        const double uy = sin(MRO_PI * t / DIRECTIONS), ux = cos(MRO_PI * t / DIRECTIONS);
        for (size_t y = 0; y < v->ny; y++) {
            const double qy = (double)signed_index(y, v->ny) / ((double)v->ny * v->step_y);
            for (size_t x = 0; x < v->half; x++) {
                const double along = qy * uy + (double)x / ((double)v->nx * v->step_x) * ux;
                double sum = 0;
                for (int s = 0; s < SPACINGS; s++) {
                    /* cos(k a) for k = 1 .. 6 by Chebyshev's recursion. */
                    const double c = cos(MRO_PI * along * spacing[s]);
                    double before = 1, now = c;
                    for (int h = 0; h < 2 * ORDERS; h++) {
                        sum += gain[s][h] * now;
                        const double next = 2 * c * now - before;
                        before = now;
                        now = next;
                    }
                }
                kernel[(size_t)t * m + y * v->half + x] = (float)sum;
            }
        }
    }
    return kernel;
}

static float best_fringe(const float *kernel, const float *power, size_t m)
{
    float zero = 0, best = -INFINITY;
#pragma omp simd reduction(+ : zero)
    for (size_t i = 0; i < m; i++) zero += power[i];
    if (!(zero > 0)) return 0;
    for (int t = 0; t < DIRECTIONS; t++) {
        const float *k = kernel + (size_t)t * m;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < m; i++) sum += k[i] * power[i];
        best = sum > best ? sum : best;
    }
    return best / zero;
}

enum mro_code mro_cpu_acf_fringes(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                  double window_nm, const double d_range_nm[2], const double (*centres)[2], size_t n,
                                  float *score, struct mro_error *e)
{
    struct window v = { 0 };
    float *kernel = NULL;
    bool failed = false;
    if (window_new(&v, g, window_nm)) kernel = fringe_kernels(&v, d_range_nm);
    if (kernel == NULL) {
        window_free(&v);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for an autocorrelation window of %g nm", window_nm);
    }
    const size_t m = v.ny * v.half;
#pragma omp parallel num_threads(d->threads)
    {
        mro_c32 *z = fftwf_malloc(2 * v.ny * v.nx * sizeof *z);
        float *a = malloc(2 * m * sizeof *a);
        const bool ready = z && a;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(static)
        for (size_t k = 0; k < (n + 1) / 2; k++) { /* pairs do not depend on the threads */
            if (!ready) continue;
            window_pair(&v, g, field->p, centres + 2 * k, n - 2 * k, z, a, a + m);
            score[2 * k] = best_fringe(kernel, a, m);
            if (2 * k + 1 < n) score[2 * k + 1] = best_fringe(kernel, a + m, m);
        }
        fftwf_free(z);
        free(a);
    }
    free(kernel);
    window_free(&v);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for the autocorrelation of %zu cells", n) : MRO_OK;
}

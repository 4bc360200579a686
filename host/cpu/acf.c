/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Windowed autocorrelation around chosen centres: tiles for the eye and the fringe score of the literature. Two windows
 * share one complex transform. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/acf_window.h"
#include "core/team.h"
#include "cpu/cpu.h"
#include "cpu/fft.h"
#include "mroscope/math/acf.h"

/* A window with its own power. */
struct window {
    struct mro_acf_window of;
    float *power; /* ny * half */
};

static void window_free(struct window *v)
{
    mro_acf_window_release(&v->of);
    free(v->power);
    memset(v, 0, sizeof *v);
}

/* Room of one thread: the plane of two windows and its transform. */
struct workspace {
    struct mro_plane plane;
    mro_c32 *z;
    struct mro_wide *panels;
};

static bool workspace_new(struct workspace *w, const struct mro_acf_window *v)
{
    const bool ok = mro_plane_new(&w->plane, v->ny, v->nx);
    w->z = malloc(v->ny * v->nx * sizeof *w->z);
    w->panels = mro_lines_room(mro_panels(v->nx) * v->ny);
    return ok && w->z && w->panels;
}

static void workspace_release(struct workspace *w)
{
    mro_plane_release(&w->plane);
    free(w->z);
    free(w->panels);
}

/* Powers over the half plane of the two fields a + i b that the plane holds. */
static void split_power(const struct mro_acf_window *v, const struct workspace *w, float *a, float *b)
{
    mro_plane_run(&w->plane, false, w->z, v->hy, w->panels);
    const float *re = (const float *)w->panels, *im = re + MRO_LANES;
    for (size_t y = 0; y < v->ny; y++)
        for (size_t x = 0; x < v->half; x++) {
            const size_t at = mro_panel_place(v->ny, y, x);
            const size_t mirror = mro_panel_place(v->ny, y ? v->ny - y : 0, x ? v->nx - x : 0);
            const mro_c32 both =
                mro_split_power((mro_c32){ re[at], im[at] }, (mro_c32){ re[mirror], im[mirror] }, x, v->nx);
            a[y * v->half + x] = both.re;
            b[y * v->half + x] = both.im;
        }
}

static bool window_new(struct window *v, const struct mro_grid *g, double width_nm)
{
    memset(v, 0, sizeof *v);
    if (!mro_acf_window_new(&v->of, g, width_nm)) return false;
    const size_t m = v->of.ny * v->of.half;
    struct workspace w;
    v->power = malloc(m * sizeof *v->power);
    float *none = malloc(m * sizeof *none);
    const bool ok = workspace_new(&w, &v->of) && v->power && none;
    if (ok) {
        mro_acf_window_plane(&v->of, w.z);
        split_power(&v->of, &w, v->power, none);
    }
    workspace_release(&w);
    free(none);
    if (!ok) window_free(v);
    return ok;
}

/* Windowed power around two centres (nm, y and x, taken to the nearest sample: the autocorrelation does not depend on
 * where its window sits between samples). The mean under the window is taken out. */
static void window_pair(const struct window *window, const struct mro_grid *g, const float *field,
                        const double (*centres)[2], size_t n, const struct workspace *room, float *a, float *b)
{
    const struct mro_acf_window *v = &window->of;
    const size_t columns = (size_t)(2 * v->hx + 1);
    mro_c32 *z = room->z;
    memset(z, 0, v->ny * v->nx * sizeof *z);
    for (size_t k = 0; k < 2 && k < n; k++) {
        const ptrdiff_t cy = (ptrdiff_t)lround(centres[k][0] / v->step_y),
                        cx = (ptrdiff_t)lround(centres[k][1] / v->step_x);
        double mean = 0;
        for (int pass = 0; pass < 2; pass++)
            for (ptrdiff_t j = -v->hy; j <= v->hy; j++) {
                const float *w = v->w + (size_t)(j + v->hy) * columns;
                const float *row = field + mro_cyclic(cy + j, g->ny) * g->nx;
                mro_c32 *to = z + mro_cyclic(j, v->ny) * v->nx;
                size_t from = mro_cyclic(cx - v->hx, g->nx), at = mro_cyclic(-v->hx, v->nx);
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
    split_power(v, room, a, b);
}

/* The tables of the lags, with room for the columns' transform: n * half. */
struct lags {
    struct mro_acf_lags of;
    double *re, *im;
};

static void correlate(const struct mro_acf_window *v, const struct lags *room, const float *power, double *out)
{
    const struct mro_acf_lags *l = &room->of;
    for (size_t i = 0; i < l->n; i++) {
        double *re = room->re + i * v->half, *im = room->im + i * v->half;
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
                sum += room->re[i * v->half + x] * l->cx[j * v->half + x] -
                       room->im[i * v->half + x] * l->sx[j * v->half + x];
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
    struct workspace w = { 0 };
    float *a = NULL;
    bool ready = false;
    enum mro_code rc = MRO_OK;
    if (own && seen && window_new(&v, g, window_nm) && mro_acf_lags_new(&l.of, &v.of, n, step_nm)) {
        const size_t m = v.of.ny * v.of.half;
        l.re = malloc(n * v.of.half * sizeof *l.re);
        l.im = malloc(n * v.of.half * sizeof *l.im);
        a = malloc(2 * m * sizeof *a);
        ready = workspace_new(&w, &v.of) && l.re && l.im && a;
    }
    if (!ready) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for autocorrelations of %zu x %zu lags", n, n);
        goto done;
    }
    const size_t middle = n / 2 * n + n / 2;
    correlate(&v.of, &l, v.power, own);
    for (size_t k = 0; k < n_centres; k++) {
        window_pair(&v, g, field->p, centres + k, 1, &w, a, a + v.of.ny * v.of.half);
        correlate(&v.of, &l, a, seen);
        for (size_t i = 0; i < n * n; i++)
            tiles[k * n * n + i] = mro_acf_estimate(seen[i], seen[middle], own[i], own[middle]);
    }
done:
    workspace_release(&w);
    free(a);
    free(l.re);
    free(l.im);
    mro_acf_lags_release(&l.of);
    window_free(&v);
    free(own);
    free(seen);
    return rc;
}

static float best_fringe(const float *kernel, const float *power, size_t m)
{
    float zero = 0, best = -INFINITY;
#pragma omp simd reduction(+ : zero)
    for (size_t i = 0; i < m; i++) zero += power[i];
    if (!(zero > 0)) return 0;
    for (int t = 0; t < MRO_ACF_DIRECTIONS; t++) {
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
    if (window_new(&v, g, window_nm)) kernel = mro_acf_fringe_kernels(&v.of, v.power, d_range_nm);
    if (kernel == NULL) {
        window_free(&v);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for an autocorrelation window of %g nm", window_nm);
    }
    const size_t m = v.of.ny * v.of.half;
#pragma omp parallel num_threads(d->threads)
    {
        struct workspace w;
        float *a = malloc(2 * m * sizeof *a);
        const bool ready = workspace_new(&w, &v.of) && a;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t k = 0; k < (n + 1) / 2; k++) { /* pairs do not depend on the threads */
            if (!ready) continue;
            window_pair(&v, g, field->p, centres + 2 * k, n - 2 * k, &w, a, a + m);
            score[2 * k] = best_fringe(kernel, a, m);
            if (2 * k + 1 < n) score[2 * k + 1] = best_fringe(kernel, a + m, m);
        }
        workspace_release(&w);
        free(a);
    }
    free(kernel);
    window_free(&v);
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "out of memory for the autocorrelation of %zu cells", n) : MRO_OK;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Connection modes: how many atoms two first-shell neighbourhoods share, from four Gaussians in the second shell.
 *
 * The model is fitted to G(r) with its covariance. A Gaussian shell of `area` atoms at distance c adds
 * area / c * K(r; c, sigma) to 4 pi rho r + G(r), K being a Gaussian seen through the transform's range of Q and
 * damping. Beside the four modes stand the first shell and the third, whose tails reach into the second. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "ops/pdf/pdf_internal.h"

#define FREE_A 0.1 /* that a mode's centre may move to either side */
#define N_PARAMETERS 15
enum { AREA = 0, CENTRE = 4, SIGMA = 8, FIRST = 9, THIRD = 12 }; /* first and third shell: area, centre, sigma */

#define KERNEL_SIGMAS 48
#define KERNEL_STEP 0.02 /* Angstrom */
#define KERNEL_POINTS 420
#define KERNEL_Q 200
#define SIGMA_LEAST 0.04
#define SIGMA_MOST 1.0
#define CURVE_POINTS 161
#define AREA_MOST 400.0 /* atoms: an interval that goes on beyond is cut there */
#define CHI2_95 3.841458820694124

/* K against distance from the centre, for sigmas that rise by one ratio; and what it was made for. */
struct mro_pdf_kernels {
    enum mro_damping damping;
    double damping_A2, Q_max;
    double table[KERNEL_SIGMAS][KERNEL_POINTS];
};

static void make_kernels(struct mro_pdf_kernels *k, const struct mro_pdf_second_shell *s)
{
    double w[KERNEL_SIGMAS][KERNEL_Q], wave[KERNEL_Q];
    k->damping = s->damping;
    k->damping_A2 = s->damping_A2;
    k->Q_max = s->Q_max;
    for (size_t q = 0; q < KERNEL_Q; q++) {
        const double Q = ((double)q + 0.5) * s->Q_max / KERNEL_Q;
        const double weight = mro_pdf_weight(s->damping, s->damping_A2, Q, s->Q_max);
        for (size_t i = 0; i < KERNEL_SIGMAS; i++) {
            const double sigma = SIGMA_LEAST * pow(SIGMA_MOST / SIGMA_LEAST, (double)i / (KERNEL_SIGMAS - 1));
            w[i][q] = weight * exp(-sigma * sigma * Q * Q / 2);
        }
    }
    for (size_t x = 0; x < KERNEL_POINTS; x++) {
        /* Cosines cost most of it: once for all sigmas. */
        for (size_t q = 0; q < KERNEL_Q; q++)
            wave[q] = cos(((double)q + 0.5) * s->Q_max / KERNEL_Q * (double)x * KERNEL_STEP);
        for (size_t i = 0; i < KERNEL_SIGMAS; i++) {
            double sum = 0;
            for (size_t q = 0; q < KERNEL_Q; q++) sum += w[i][q] * wave[q];
            k->table[i][x] = sum * s->Q_max / KERNEL_Q / M_PI;
        }
    }
}

/* Cubic through four points, t from the second to the third (Catmull and Rom), and its slope: without steps, which a
 * search by slopes would get stuck on. */
static inline void cubic(double t, double w[4], double slope[4])
{
    w[0] = t * (-0.5 + t * (1 - 0.5 * t));
    w[1] = 1 + t * t * (-2.5 + 1.5 * t);
    w[2] = t * (0.5 + t * (2 - 1.5 * t));
    w[3] = t * t * (-0.5 + 0.5 * t);
    slope[0] = -0.5 + t * (2 - 1.5 * t);
    slope[1] = t * (-5 + 4.5 * t);
    slope[2] = 0.5 + t * (4 - 4.5 * t);
    slope[3] = t * (-1 + 1.5 * t);
}

/* The kernel of one sigma over all distances, and how it changes with sigma. */
struct line {
    double K[KERNEL_POINTS], by_sigma[KERNEL_POINTS];
};

static void line_of(const struct mro_pdf_kernels *k, double sigma, bool slopes, struct line *line)
{
    const double rows = (KERNEL_SIGMAS - 1) / log(SIGMA_MOST / SIGMA_LEAST);
    const double row = fmax(1, fmin(log(sigma / SIGMA_LEAST) * rows, KERNEL_SIGMAS - 2.001));
    const size_t j = (size_t)row;
    double w[4], slope[4];
    cubic(row - (double)j, w, slope);
    for (int i = 0; i < 4; i++) slope[i] *= rows / sigma;
    const double *a = k->table[j - 1], *b = k->table[j], *c = k->table[j + 1], *d = k->table[j + 2];
    for (size_t x = 0; x < KERNEL_POINTS; x++) line->K[x] = w[0] * a[x] + w[1] * b[x] + w[2] * c[x] + w[3] * d[x];
    for (size_t x = 0; x < KERNEL_POINTS && slopes; x++)
        line->by_sigma[x] = slope[0] * a[x] + slope[1] * b[x] + slope[2] * c[x] + slope[3] * d[x];
}

/* The kernel at distance x, and its slopes by x and sigma. */
struct kernel {
    double K, by_x, by_sigma;
};

/* The first of the four points of the cubic at distance x >= 0, and the way from the second on. Before the first
 * point the kernel is as behind it. */
static inline size_t place_of(double x, double *t)
{
    const double last = KERNEL_POINTS - 2.001;
    double at = x / KERNEL_STEP;
    at = at < last ? at : last;
    const size_t i = (size_t)at;
    *t = at - (double)i;
    return i;
}

static inline struct kernel kernel_at(const struct line *line, double x)
{
    double w[4], slope[4], t;
    const size_t i = place_of(fabs(x), &t), near[4] = { i ? i - 1 : 1, i, i + 1, i + 2 };
    cubic(t, w, slope);
    struct kernel k = { 0, 0, 0 };
    for (int j = 0; j < 4; j++) {
        k.K += w[j] * line->K[near[j]];
        k.by_x += slope[j] * line->K[near[j]];
        k.by_sigma += w[j] * line->by_sigma[near[j]];
    }
    k.by_x *= (x < 0 ? -1 : 1) / KERNEL_STEP;
    return k;
}

static inline double value_at(const struct line *line, double x)
{
    double w[4], slope[4], t;
    const size_t i = place_of(fabs(x), &t);
    const double *K = line->K;
    cubic(t, w, slope);
    return w[0] * K[i ? i - 1 : 1] + w[1] * K[i] + w[2] * K[i + 1] + w[3] * K[i + 2];
}

struct fit {
    const struct mro_pdf_second_shell *s;
    const struct mro_pdf_kernels *k;
    size_t n;
    double *data;   /* n: G + 4 pi rho r */
    double *whiten; /* n * n: Cholesky's factor of the covariance */
    double *work;   /* room for residuals and their derivatives: n * (N_PARAMETERS + 2) */
    double lo[N_PARAMETERS], hi[N_PARAMETERS];
    int held; /* -1, 0..3: that area; 4: the sum of areas 1 and 2 */
    double held_at, held_width;
};

/* Where the area, centre and sigma of a shell stand: the four modes, the first, the third. */
static const int shell_area[6] = { AREA, AREA + 1, AREA + 2, AREA + 3, FIRST, THIRD };
static const int shell_centre[6] = { CENTRE, CENTRE + 1, CENTRE + 2, CENTRE + 3, FIRST + 1, THIRD + 1 };
static const int shell_sigma[6] = { SIGMA, SIGMA, SIGMA, SIGMA, FIRST + 2, THIRD + 2 };

/* Adds one shell's part of 4 pi rho r + G to y. The transform is odd in r: each shell has an image at -c. */
static void add_shell(const double *r_A, size_t n, const struct line *line, double area, double centre, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += area / centre * (value_at(line, r_A[i] - centre) - value_at(line, r_A[i] + centre));
}

static void model(const struct fit *f, const double *p, const double *r_A, size_t n, double *y)
{
    struct line line;
    memset(y, 0, n * sizeof *y);
    for (int k = 0; k < 6; k++) {
        if (k == 0 || k > 3) line_of(f->k, p[shell_sigma[k]], false, &line);
        add_shell(r_A, n, &line, p[shell_area[k]], p[shell_centre[k]], y);
    }
}

/* Derivatives of the model by every parameter: N_PARAMETERS * n. */
static void slopes(const struct fit *f, const double *p, double *J)
{
    struct line line;
    memset(J, 0, N_PARAMETERS * f->n * sizeof *J);
    for (int k = 0; k < 6; k++) {
        const double area = p[shell_area[k]], centre = p[shell_centre[k]];
        double *by_area = J + (size_t)shell_area[k] * f->n, *by_centre = J + (size_t)shell_centre[k] * f->n,
               *by_sigma = J + (size_t)shell_sigma[k] * f->n;
        if (k == 0 || k > 3) line_of(f->k, p[shell_sigma[k]], true, &line);
        for (size_t i = 0; i < f->n; i++) {
            const struct kernel here = kernel_at(&line, f->s->r_A[i] - centre),
                                image = kernel_at(&line, f->s->r_A[i] + centre);
            const double one = (here.K - image.K) / centre;
            by_area[i] += one;
            by_centre[i] -= area / centre * (one + here.by_x + image.by_x);
            by_sigma[i] += area / centre * (here.by_sigma - image.by_sigma);
        }
    }
}

static void whiten(const struct fit *f, double *y)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t k = 0; k < i; k++) y[i] -= f->whiten[i * f->n + k] * y[k];
        y[i] /= f->whiten[i * f->n + i];
    }
}

static double held_value(const struct fit *f, const double *p)
{
    return f->held == 4 ? p[AREA + 1] + p[AREA + 2] : p[AREA + f->held];
}

/* Whitened residuals and their squared length, with what holds an area. */
static double residuals(const struct fit *f, const double *p, double *y)
{
    double sum = 0;
    model(f, p, f->s->r_A, f->n, y);
    for (size_t i = 0; i < f->n; i++) y[i] -= f->data[i];
    whiten(f, y);
    for (size_t i = 0; i < f->n; i++) sum += y[i] * y[i];
    if (f->held >= 0) {
        const double miss = (held_value(f, p) - f->held_at) / f->held_width;
        sum += miss * miss;
    }
    return sum;
}

/* J^T J and J^T y of the residuals `y` at p. */
static void equations(const struct fit *f, const double *p, const double *y, double *A, double *g, double *J)
{
    memset(A, 0, N_PARAMETERS * N_PARAMETERS * sizeof *A);
    memset(g, 0, N_PARAMETERS * sizeof *g);
    slopes(f, p, J);
    for (size_t i = 0; i < N_PARAMETERS; i++) whiten(f, J + i * f->n);
    for (int i = 0; i < N_PARAMETERS; i++) {
        for (size_t k = 0; k < f->n; k++) g[i] += J[(size_t)i * f->n + k] * y[k];
        for (int j = 0; j <= i; j++) {
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (size_t k = 0; k < f->n; k++) sum += J[(size_t)i * f->n + k] * J[(size_t)j * f->n + k];
            A[i * N_PARAMETERS + j] = A[j * N_PARAMETERS + i] = sum;
        }
    }
    if (f->held >= 0) {
        const double w = 1 / (f->held_width * f->held_width), miss = held_value(f, p) - f->held_at;
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) {
                const bool a = f->held == 4 ? i == 1 || i == 2 : i == f->held;
                const bool b = f->held == 4 ? j == 1 || j == 2 : j == f->held;
                if (a && b) A[(AREA + i) * N_PARAMETERS + AREA + j] += w;
                if (a && i == j) g[AREA + i] += w * miss;
            }
    }
}

/* From p the least of the damped quadratic (A, g) within bounds: parameters that would cross theirs are held there, the
 * one that comes to it first before others, and the rest goes to the least beside them. */
static void step_within(const struct fit *f, const double *p, const double *A, const double *g, double lambda,
                        double *q)
{
    double M[N_PARAMETERS * N_PARAMETERS], b[N_PARAMETERS], d[N_PARAMETERS] = { 0 };
    bool fixed[N_PARAMETERS];
    for (int i = 0; i < N_PARAMETERS; i++) fixed[i] = (p[i] <= f->lo[i] && g[i] > 0) || (p[i] >= f->hi[i] && g[i] < 0);
    memcpy(q, p, sizeof d);
    for (int round = 0; round <= N_PARAMETERS; round++) {
        size_t n = 0, at[N_PARAMETERS] = { 0 };
        for (size_t i = 0; i < N_PARAMETERS; i++)
            if (!fixed[i]) at[n++] = i;
        for (size_t i = 0; i < n; i++) {
            const double *row = A + at[i] * N_PARAMETERS;
            b[i] = -g[at[i]];
            for (int j = 0; j < N_PARAMETERS; j++)
                if (fixed[j]) b[i] -= row[j] * d[j];
            for (size_t j = 0; j <= i; j++) M[i * n + j] = row[at[j]];
            M[i * n + i] += lambda * row[at[i]] + 1e-9;
        }
        if (!mro_cholesky_factor(M, n, n, MRO_PDF_RANK)) return;
        mro_cholesky_apply(M, n, n, b);
        for (size_t i = 0; i < n; i++) d[at[i]] = b[i];
        int first = -1;
        double way = 1;
        for (int i = 0; i < N_PARAMETERS; i++) {
            if (fixed[i] || (p[i] + d[i] >= f->lo[i] && p[i] + d[i] <= f->hi[i])) continue;
            const double room = ((d[i] < 0 ? f->lo[i] : f->hi[i]) - p[i]) / d[i];
            if (first >= 0 && room >= way) continue;
            first = i;
            way = room;
        }
        if (first < 0) break;
        fixed[first] = true;
        d[first] = (d[first] < 0 ? f->lo[first] : f->hi[first]) - p[first];
    }
    for (int i = 0; i < N_PARAMETERS; i++) q[i] = fmin(f->hi[i], fmax(f->lo[i], p[i] + d[i]));
}

/* Levenberg and Marquardt within bounds, from p. Returns the least squared length. */
static double minimise(struct fit *f, double *p)
{
    double A[N_PARAMETERS * N_PARAMETERS], g[N_PARAMETERS];
    double *y = f->work, *trial = f->work + f->n, *J = f->work + 2 * f->n;
    double chi2 = residuals(f, p, y), lambda = 1e-3;
    for (int turn = 0, small = 0; turn < 100 && small < 2; turn++) {
        equations(f, p, y, A, g, J);
        bool better = false;
        double gain = 0;
        for (int attempt = 0; attempt < 12 && !better; attempt++) {
            double q[N_PARAMETERS];
            step_within(f, p, A, g, lambda, q);
            const double next = residuals(f, q, trial);
            if (next < chi2) {
                gain = chi2 - next;
                chi2 = next;
                memcpy(p, q, sizeof q);
                memcpy(y, trial, f->n * sizeof *y);
                lambda = fmax(1e-9, lambda / 5);
                better = true;
            } else {
                lambda *= 6;
            }
        }
        if (!better) break;
        small = gain < 1e-3 ? small + 1 : 0; /* far below what the intervals ask for, some steps running */
    }
    return chi2;
}

/* Where chi2 has risen by `level` above its least when an area (or the sum) is held: to one side. `with` says how all
 * parameters go with it, by the curvature at the best; `se` is its standard error by that. The root of the rise grows
 * about as the distance does, so that few steps lead there. */
static double edge(struct fit *f, int which, const double *best, double least, double level, double se,
                   const double *with, int side)
{
    double p[N_PARAMETERS], good[N_PARAMETERS];
    memcpy(good, best, sizeof good);
    f->held = which;
    f->held_width = 1e-3;
    const double from = held_value(f, best);
    double inside = from, inside_rise = 0, outside = NAN, outside_rise = NAN;
    int last = 0;
    double at = from + side * fmax(0.01, fmin(se * sqrt(level), 10 * (0.1 + from)));
    for (int turn = 0; turn < 40; turn++) {
        if (side < 0 && at < 0) at = 0;
        if (at > AREA_MOST) break;
        memcpy(p, good, sizeof p);
        f->held_at = at;
        const double way = at - held_value(f, p);
        for (int i = 0; i < N_PARAMETERS; i++) p[i] = fmin(f->hi[i], fmax(f->lo[i], p[i] + way * with[i]));
        const double rise = sqrt(fmax(0, minimise(f, p) - least) / level);
        const int here = rise < 1 ? -1 : 1;
        if (rise < 1) {
            inside = at;
            inside_rise = rise;
            memcpy(good, p, sizeof good);
            if (side < 0 && at <= 0) break;
        } else {
            outside = at;
            outside_rise = rise;
        }
        if (fabs(rise - 1) < 0.01) {
            inside = outside = at;
            break;
        }
        if (isnan(outside)) {
            at = from + (at - from) * fmin(3, fmax(1.2, 1 / fmax(rise, 0.1)));
        } else {
            if (fabs(outside - inside) < 0.01 * (0.05 + fabs(outside - from))) break;
            /* By the chord, but halved when that has moved one end only. */
            const double share = here == last ? 0.5 : (1 - inside_rise) / (outside_rise - inside_rise);
            at = inside + (outside - inside) * fmin(0.95, fmax(0.05, share));
        }
        last = isnan(outside) || here == last ? 0 : here;
    }
    f->held = -1;
    return isnan(outside) ? inside : (inside + outside) / 2;
}

static enum mro_code keep(const struct fit *f, const double *p, struct mro_pdf_connection *c, struct mro_error *e)
{
    const struct mro_pdf_second_shell *s = f->s;
    const size_t n = s->n, many = CURVE_POINTS;
    double *room = calloc(3 * n + many * (2 + MRO_PDF_MODES), sizeof *room);
    struct line line;
    if (room == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the second shell's %zu points do not fit in memory", n);
    c->n = n;
    c->r_A = room;
    c->data = room + n;
    c->data_se = room + 2 * n;
    c->n_curve = many;
    c->curve_r_A = room + 3 * n;
    c->fit = c->curve_r_A + many;
    c->part = c->fit + many;
    memcpy(c->r_A, s->r_A, n * sizeof *room);
    memcpy(c->data, f->data, n * sizeof *room);
    for (size_t i = 0; i < n; i++) c->data_se[i] = sqrt(s->covariance[i * n + i]);
    for (size_t i = 0; i < many; i++)
        c->curve_r_A[i] = s->r_A[0] + (s->r_A[n - 1] - s->r_A[0]) * (double)i / (double)(many - 1);
    model(f, p, c->curve_r_A, many, c->fit);
    line_of(f->k, p[SIGMA], false, &line);
    for (size_t m = 0; m < MRO_PDF_MODES; m++)
        add_shell(c->curve_r_A, many, &line, p[AREA + m], p[CENTRE + m], c->part + m * many);
    return MRO_OK;
}

static enum mro_code connect_with(struct mro_pdf_kernels **kernels, const struct mro_pdf_second_shell *s,
                                  struct mro_pdf_connection *c, struct mro_error *e)
{
    static const double ratio[4] = { 1.4142135623730951, 1.6329931618554521, 1.7320508075688772, 2 };
    memset(c, 0, sizeof *c);
    if (s->n < 8 || !(s->R_A > 1) || !(s->Q_max > 0) || !(s->density_per_nm3 > 0))
        return MRO_FAIL(e, MRO_EARG, "the second shell needs 8 points, R, the largest Q and the density");
    struct mro_pdf_kernels *k = *kernels;
    struct fit *f = calloc(1, sizeof *f);
    double *room = calloc(s->n * (s->n + N_PARAMETERS + 3), sizeof *room);
    enum mro_code rc = MRO_OK;
    if (k == NULL) k = *kernels = calloc(1, sizeof *k);
    if (k == NULL || f == NULL || room == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "the second shell's %zu points do not fit in memory", s->n);
        goto done;
    }
    f->s = s;
    f->n = s->n;
    f->data = room;
    f->work = room + s->n;
    f->whiten = room + s->n * (N_PARAMETERS + 3);
    f->held = -1;
    const double R = s->R_A, rho = s->density_per_nm3 / 1000;
    double mean = 0;
    for (size_t i = 0; i < s->n; i++) {
        f->data[i] = s->G[i] + 4 * M_PI * rho * s->r_A[i];
        mean += s->covariance[i * s->n + i] / (double)s->n;
    }
    /* Points closer than the resolution share their errors: 0.1 % beside keeps the matrix regular. */
    for (size_t i = 0; i < s->n * s->n; i++) f->whiten[i] = s->covariance[i] + (i % (s->n + 1) == 0 ? 0.001 * mean : 0);
    if (!mro_cholesky_factor(f->whiten, s->n, s->n, MRO_PDF_RANK)) {
        rc = MRO_FAIL(e, MRO_EDATA, "the errors of G(r) in the second shell are not positive");
        goto done;
    }
    if (k->Q_max != s->Q_max || k->damping != s->damping || k->damping_A2 != s->damping_A2) make_kernels(k, s);
    f->k = k;
    const double second = 4 * M_PI / 3 * rho * (pow(2.2 * R, 3) - pow(1.3 * R, 3)); /* atoms, about */
    double p[N_PARAMETERS], best[N_PARAMETERS], least = INFINITY;
    for (int i = 0; i < 4; i++) {
        f->lo[AREA + i] = 0;
        f->hi[AREA + i] = 20 * second;
        f->lo[CENTRE + i] = ratio[i] * R - FREE_A;
        f->hi[CENTRE + i] = ratio[i] * R + FREE_A;
    }
    f->lo[SIGMA] = SIGMA_LEAST * 1.5;
    f->hi[SIGMA] = 0.16 * R;
    const double bounds[6][2] = { { 0, 10 * second }, { 0.85 * R, 1.15 * R }, { SIGMA_LEAST * 1.5, 0.2 * R },
                                  { 0, 20 * second }, { 2.4 * R, 2.9 * R },   { SIGMA_LEAST * 1.5, 0.3 * R } };
    for (int i = 0; i < 6; i++) {
        f->lo[FIRST + i] = bounds[i][0];
        f->hi[FIRST + i] = bounds[i][1];
    }
    /* From two widths: the depth of the minima between modes decides which valley is the deepest. */
    for (int start = 0; start < 2; start++) {
        for (int i = 0; i < 4; i++) {
            p[AREA + i] = second / 4;
            p[CENTRE + i] = ratio[i] * R;
        }
        p[SIGMA] = start ? 0.05 * R : 0.09 * R;
        const double third[6] = { 12, R, 0.06 * R, second, 2.6 * R, 0.15 * R };
        memcpy(p + FIRST, third, sizeof third);
        const double chi2 = minimise(f, p);
        if (!(chi2 < least)) continue;
        least = chi2;
        memcpy(best, p, sizeof best);
    }
    c->R_A = R;
    c->sigma_A = best[SIGMA];
    c->resolution_A = M_PI / s->Q_max;
    c->window_A[0] = s->r_A[0];
    c->window_A[1] = s->r_A[s->n - 1];
    c->chi2_per_point = least / (double)s->n;
    /* A model that misses by more than the errors makes them that much larger. */
    const double dof = (double)s->n - N_PARAMETERS, level = CHI2_95 * (dof > 0 ? fmax(1, least / dof) : 1);
    /* Correlations from the curvature, centres and widths held loosely by their bounds. */
    double A[N_PARAMETERS * N_PARAMETERS], g[N_PARAMETERS], inverse[4][4];
    residuals(f, best, f->work);
    equations(f, best, f->work, A, g, f->work + 2 * f->n);
    for (int i = 0; i < N_PARAMETERS; i++) {
        const double width = f->hi[i] - f->lo[i];
        A[i * N_PARAMETERS + i] += 12 / (width * width);
    }
    double se[5] = { 1, 1, 1, 1, 1 }, with[5][N_PARAMETERS] = { { 0 } };
    const bool curved = mro_cholesky_factor(A, N_PARAMETERS, N_PARAMETERS, MRO_PDF_RANK);
    for (int i = 0; i < 5; i++) {
        const int of[2] = { i == 4 ? AREA + 1 : AREA + i, i == 4 ? AREA + 2 : AREA + i };
        double *by = with[i];
        by[of[0]] = by[of[1]] = 1;
        if (!curved) continue;
        mro_cholesky_apply(A, N_PARAMETERS, N_PARAMETERS, by);
        for (int j = 0; j < 4 && i < 4; j++) inverse[i][j] = by[AREA + j];
        const double square = of[0] == of[1] ? by[of[0]] : by[of[0]] + by[of[1]];
        se[i] = sqrt(square);
        for (int j = 0; j < N_PARAMETERS; j++) by[j] /= square;
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            c->correlation[i][j] = curved ? inverse[i][j] / sqrt(inverse[i][i] * inverse[j][j]) : NAN;
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        c->mode[i].atoms = 4 - i;
        c->mode[i].centre_A = best[CENTRE + i];
        c->mode[i].area = best[AREA + i];
        sum += best[AREA + i];
        for (int side = 0; side < 2; side++)
            c->mode[i].area_ci95[side] = edge(f, i, best, least, level, se[i], with[i], side ? 1 : -1);
    }
    c->together.atoms = 0;
    c->together.area = best[AREA + 1] + best[AREA + 2];
    c->together.centre_A =
        c->together.area > 0
            ? (best[AREA + 1] * best[CENTRE + 1] + best[AREA + 2] * best[CENTRE + 2]) / c->together.area
            : NAN;
    for (int side = 0; side < 2; side++)
        c->together.area_ci95[side] = edge(f, 4, best, least, level, se[4], with[4], side ? 1 : -1);
    for (int i = 0; i < 4; i++) c->share[i] = sum > 0 ? best[AREA + i] / sum : NAN;
    c->share_together = sum > 0 ? c->together.area / sum : NAN;

    c->separable = c->resolution_A < (ratio[2] - ratio[1]) * R && fabs(c->correlation[1][2]) < 0.9;
    rc = keep(f, best, c, e);
done:
    free(room);
    free(f);
    return rc;
}

enum mro_code mro_pdf_connect(const struct mro_pdf_second_shell *s, struct mro_pdf_connection *c, struct mro_error *e)
{
    struct mro_pdf_kernels *kernels = NULL;
    const enum mro_code rc = connect_with(&kernels, s, c, e);
    free(kernels);
    return rc;
}

enum mro_code mro_pdf_connect_shells(struct mro_pdf_result *r, const struct mro_pdf_frame *f, double Q_max,
                                     const struct mro_pdf_options *o, struct mro_error *e)
{
    struct mro_pdf_connection *c = &r->connection;
    double R = o->connection_R_A;
    *c = (struct mro_pdf_connection){ .R_A = NAN };
    for (int i = 0; i < MRO_PDF_MODES; i++) c->mode[i].area = NAN;
    if (R < 0) return MRO_OK;
    if (r->n_shells < 2 || !(f->density_A3 > 0)) {
        mro_note(&r->warnings, &r->n_warnings, "the second shell was not decomposed: %s",
                 r->n_shells < 2 ? "G(r) shows no two shells" : "it needs the density");
        return MRO_OK;
    }
    if (R == 0) { /* first moment of the first shell */
        double sum = 0, moment = 0;
        for (size_t j = 0; j < f->nr; j++) {
            if (f->r[j] < r->windows.shell_A[0][0] || f->r[j] > r->windows.shell_A[0][1]) continue;
            sum += fmax(0, r->G[j]);
            moment += fmax(0, r->G[j]) * f->r[j];
        }
        R = moment / sum;
    }
    const double lo = R, hi = 2.3 * R, step = M_PI / (2 * Q_max);
    const size_t n = (size_t)((hi - lo) / step) + 1;
    if (hi > f->r[f->nr - 1] || n < 8 || n > 200) {
        mro_note(&r->warnings, &r->n_warnings,
                 "the second shell was not decomposed: G(r) to %.1f Angstrom and Q to %.1f 1/Angstrom do not reach",
                 f->r[f->nr - 1], Q_max);
        return MRO_OK;
    }
    double *room = calloc(n * (2 + n + f->nt), sizeof *room);
    if (room == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the second shell's %zu points do not fit in memory", n);
    double *x = room, *G = room + n, *C = G + n, *T = C + n * n;
    /* Errors of G from those of S, scaled so that their mean is that of the draws, which holds what neighbouring Q
     * share. */
    double have = 0, want = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = lo + (double)i * step;
        G[i] = mro_pdf_at(f->r, r->G, f->nr, x[i]);
        const double se = mro_pdf_at(f->r, r->G_se, f->nr, x[i]);
        want += se * se;
        const size_t row = (size_t)fmin((double)f->nr - 1, x[i] / o->r_step_A - 0.5);
        for (size_t k = 0; k < f->nt; k++) T[i * f->nt + k] = f->G->rows[row * f->nt + k] * r->S_se[k];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < f->nt; k++) sum += T[i * f->nt + k] * T[j * f->nt + k];
            C[i * n + j] = sum;
            if (i == j) have += sum;
        }
    const bool known = isfinite(want) && want > 0 && have > 0;
    for (size_t i = 0; i < n * n; i++) C[i] = known ? C[i] * want / have : (i % (n + 1) ? 0 : 1e-4);
    struct mro_pdf_second_shell shell = { n, x, G, C, Q_max, r->damping_A2, r->damping, f->density_A3 * 1000, R };
    struct mro_error why;
    const enum mro_code rc = connect_with(mro_pdf_tables_kernels(f->tables), &shell, c, &why);
    free(room);
    if (rc == MRO_EMEMORY) return MRO_FAIL(e, rc, "%s", why.message);
    if (rc) {
        mro_note(&r->warnings, &r->n_warnings, "the second shell was not decomposed: %s", why.message);
        return MRO_OK;
    }
    if (!known) {
        for (int i = 0; i < MRO_PDF_MODES; i++) c->mode[i].area_ci95[0] = c->mode[i].area_ci95[1] = NAN;
        c->together.area_ci95[0] = c->together.area_ci95[1] = NAN;
    }
    if (!c->separable)
        mro_note(&r->warnings, &r->n_warnings,
                 "modes of 3 and of 2 shared atoms are not separable: %.2f Angstrom apart, at a resolution of %.2f "
                 "Angstrom; only their sum is known",
                 (sqrt(3) - sqrt(8.0 / 3)) * R, c->resolution_A);
    return MRO_OK;
}

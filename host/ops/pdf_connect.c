/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Connection modes: how many atoms two first-shell neighbourhoods share, from four Gaussians in the second shell.
 *
 * The model is fitted to G(r) with its covariance. A Gaussian shell of `area` atoms at distance c adds
 * area / c * K(r; c, sigma) to 4 pi rho r + G(r), K being a Gaussian seen through the transform's range of Q and
 * damping. Beside the four modes stand the first shell and the third, whose tails reach into the second. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/pdf_internal.h"

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
#define CHI2_95 3.841458820694124

/* K against distance from the centre, for sigmas that rise by one ratio. */
struct kernel {
    double table[KERNEL_SIGMAS][KERNEL_POINTS];
};

static void make_kernel(struct kernel *k, const struct mro_pdf_second_shell *s)
{
    for (size_t i = 0; i < KERNEL_SIGMAS; i++) {
        const double sigma = SIGMA_LEAST * pow(SIGMA_MOST / SIGMA_LEAST, (double)i / (KERNEL_SIGMAS - 1));
        double w[KERNEL_Q];
        for (size_t q = 0; q < KERNEL_Q; q++) {
            const double Q = ((double)q + 0.5) * s->Q_max / KERNEL_Q;
            w[q] = mro_pdf_weight(s->damping, s->damping_A2, Q, s->Q_max) * exp(-sigma * sigma * Q * Q / 2);
        }
        for (size_t x = 0; x < KERNEL_POINTS; x++) {
            double sum = 0;
            for (size_t q = 0; q < KERNEL_Q; q++)
                sum += w[q] * cos(((double)q + 0.5) * s->Q_max / KERNEL_Q * (double)x * KERNEL_STEP);
            k->table[i][x] = sum * s->Q_max / KERNEL_Q / M_PI;
        }
    }
}

/* Cubic through four points, t from the second to the third (Catmull and Rom): its slope has no steps, which a search
 * by slopes would get stuck on. */
static void cubic(double t, double w[4])
{
    w[0] = t * (-0.5 + t * (1 - 0.5 * t));
    w[1] = 1 + t * t * (-2.5 + 1.5 * t);
    w[2] = t * (0.5 + t * (2 - 1.5 * t));
    w[3] = t * t * (-0.5 + 0.5 * t);
}

/* The kernel of one sigma over all distances. */
static void kernel_of(const struct kernel *k, double sigma, double *line)
{
    double w[4];
    const double row = fmax(
        1, fmin(log(sigma / SIGMA_LEAST) / log(SIGMA_MOST / SIGMA_LEAST) * (KERNEL_SIGMAS - 1), KERNEL_SIGMAS - 2.001));
    const size_t j = (size_t)row;
    cubic(row - (double)j, w);
    for (size_t x = 0; x < KERNEL_POINTS; x++)
        line[x] =
            w[0] * k->table[j - 1][x] + w[1] * k->table[j][x] + w[2] * k->table[j + 1][x] + w[3] * k->table[j + 2][x];
}

static double kernel_at(const double *line, double x)
{
    double w[4];
    const double at = fmin(fabs(x) / KERNEL_STEP, KERNEL_POINTS - 2.001);
    const size_t i = (size_t)at;
    cubic(at - (double)i, w);
    return w[0] * line[i ? i - 1 : 1] + w[1] * line[i] + w[2] * line[i + 1] + w[3] * line[i + 2];
}

struct fit {
    const struct mro_pdf_second_shell *s;
    struct kernel k;
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

/* Adds one shell's part of 4 pi rho r + G, times `by`, to y. The transform is odd in r: each shell has an image at -c.
 */
static void add_shell(const double *r_A, size_t n, const double *line, double area, double centre, double by, double *y)
{
    for (size_t i = 0; i < n; i++) {
        const double r = r_A[i];
        y[i] += by * area / centre * (kernel_at(line, r - centre) - kernel_at(line, r + centre));
    }
}

static void model(const struct fit *f, const double *p, const double *r_A, size_t n, double *y)
{
    double line[KERNEL_POINTS];
    memset(y, 0, n * sizeof *y);
    for (int k = 0; k < 6; k++) {
        if (k == 0 || k > 3) kernel_of(&f->k, p[shell_sigma[k]], line);
        add_shell(r_A, n, line, p[shell_area[k]], p[shell_centre[k]], 1, y);
    }
}

/* Derivatives of the model by every parameter: N_PARAMETERS * n. */
static void slopes(const struct fit *f, const double *p, double *J)
{
    double line[KERNEL_POINTS];
    memset(J, 0, N_PARAMETERS * f->n * sizeof *J);
    for (int k = 0; k < 6; k++) {
        const double area = p[shell_area[k]], centre = p[shell_centre[k]], sigma = p[shell_sigma[k]];
        const double h = 1e-3;
        if (k == 0 || k > 3) kernel_of(&f->k, sigma, line);
        add_shell(f->s->r_A, f->n, line, 1, centre, 1, J + (size_t)shell_area[k] * f->n);
        add_shell(f->s->r_A, f->n, line, area, centre + h, 0.5 / h, J + (size_t)shell_centre[k] * f->n);
        add_shell(f->s->r_A, f->n, line, area, centre - h, -0.5 / h, J + (size_t)shell_centre[k] * f->n);
    }
    for (int side = -1; side <= 1; side += 2) {
        for (int k = 0; k < 6; k++) {
            const double sigma = p[shell_sigma[k]], h = 0.01 * sigma;
            if (k == 0 || k > 3) kernel_of(&f->k, sigma + side * h, line);
            add_shell(f->s->r_A, f->n, line, p[shell_area[k]], p[shell_centre[k]], side * 0.5 / h,
                      J + (size_t)shell_sigma[k] * f->n);
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

/* Levenberg and Marquardt within bounds, from p. Returns the least squared length. */
static double minimise(struct fit *f, double *p)
{
    double A[N_PARAMETERS * N_PARAMETERS], g[N_PARAMETERS];
    double *y = f->work, *trial = f->work + f->n, *J = f->work + 2 * f->n;
    double chi2 = residuals(f, p, y), lambda = 1e-3;
    for (int turn = 0, small = 0; turn < 100 && small < 3; turn++) {
        equations(f, p, y, A, g, J);
        bool better = false;
        double gain = 0;
        for (int attempt = 0; attempt < 12 && !better; attempt++) {
            double M[N_PARAMETERS * N_PARAMETERS], d[N_PARAMETERS], q[N_PARAMETERS];
            bool fixed[N_PARAMETERS];
            for (int i = 0; i < N_PARAMETERS; i++)
                fixed[i] = (p[i] <= f->lo[i] && g[i] > 0) || (p[i] >= f->hi[i] && g[i] < 0);
            /* Parameters at a bound that the step would cross stay there; found by trying. */
            for (int round = 0; round < N_PARAMETERS; round++) {
                for (int i = 0; i < N_PARAMETERS; i++) {
                    for (int j = 0; j < N_PARAMETERS; j++)
                        M[i * N_PARAMETERS + j] = fixed[i] || fixed[j] ? (i == j) : A[i * N_PARAMETERS + j];
                    if (!fixed[i]) M[i * N_PARAMETERS + i] += lambda * A[i * N_PARAMETERS + i] + 1e-9;
                    d[i] = fixed[i] ? 0 : -g[i];
                }
                if (!mro_pdf_factor(M, N_PARAMETERS)) break;
                mro_pdf_solve(M, N_PARAMETERS, d);
                bool again = false;
                for (int i = 0; i < N_PARAMETERS; i++) {
                    if (fixed[i]) continue;
                    if ((p[i] <= f->lo[i] && d[i] < 0) || (p[i] >= f->hi[i] && d[i] > 0)) fixed[i] = again = true;
                }
                if (!again) break;
            }
            for (int i = 0; i < N_PARAMETERS; i++) q[i] = fmin(f->hi[i], fmax(f->lo[i], p[i] + (fixed[i] ? 0 : d[i])));
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

/* Where chi2 has risen by `level` above its least when an area (or the sum) is held: to one side. */
static double edge(struct fit *f, int which, const double *best, double least, double level, int side)
{
    double p[N_PARAMETERS], good[N_PARAMETERS];
    memcpy(good, best, sizeof good);
    f->held = which;
    const double from = held_value(f, best);
    /* From the curvature, then doubled until the level is passed, then halved. */
    double inside = from, outside = NAN, step = fmax(0.05, 0.1 * from);
    f->held_width = 1e-3;
    for (int turn = 0; turn < 40; turn++) {
        double at = isnan(outside) ? inside + side * step : (inside + outside) / 2;
        if (side < 0 && at < 0) at = isnan(outside) ? 0 : at;
        if (at > 400) break;
        memcpy(p, good, sizeof p);
        f->held_at = at;
        /* Started at the value that is to be held. */
        if (which == 4) {
            const double sum = p[AREA + 1] + p[AREA + 2];
            for (int i = 1; i <= 2; i++) p[AREA + i] = sum > 1e-9 ? p[AREA + i] * at / sum : at / 2;
        } else {
            p[AREA + which] = at;
        }
        const double chi2 = minimise(f, p);
        if (chi2 - least < level) {
            inside = at;
            memcpy(good, p, sizeof good);
            step *= 2;
            if (side < 0 && at <= 0) break;
        } else {
            outside = at;
        }
        if (!isnan(outside) && fabs(outside - inside) < 0.01 * (0.05 + fabs(outside - from))) break;
    }
    f->held = -1;
    return isnan(outside) ? inside : (inside + outside) / 2;
}

static enum mro_code keep(const struct fit *f, const double *p, struct mro_pdf_connection *c, struct mro_error *e)
{
    const struct mro_pdf_second_shell *s = f->s;
    const size_t n = s->n, many = CURVE_POINTS;
    double *room = calloc(3 * n + many * (2 + MRO_PDF_MODES), sizeof *room), line[KERNEL_POINTS];
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
    kernel_of(&f->k, p[SIGMA], line);
    for (size_t m = 0; m < MRO_PDF_MODES; m++)
        add_shell(c->curve_r_A, many, line, p[AREA + m], p[CENTRE + m], 1, c->part + m * many);
    return MRO_OK;
}

enum mro_code mro_pdf_connect(const struct mro_pdf_second_shell *s, struct mro_pdf_connection *c, struct mro_error *e)
{
    static const double ratio[4] = { 1.4142135623730951, 1.6329931618554521, 1.7320508075688772, 2 };
    memset(c, 0, sizeof *c);
    if (s->n < 8 || !(s->R_A > 1) || !(s->Q_max > 0) || !(s->density_per_nm3 > 0))
        return MRO_FAIL(e, MRO_EARG, "the second shell needs 8 points, R, the largest Q and the density");
    struct fit *f = calloc(1, sizeof *f);
    double *room = calloc(s->n * (s->n + N_PARAMETERS + 3), sizeof *room);
    enum mro_code rc = MRO_OK;
    if (f == NULL || room == NULL) {
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
    if (!mro_pdf_factor(f->whiten, s->n)) {
        rc = MRO_FAIL(e, MRO_EDATA, "the errors of G(r) in the second shell are not positive");
        goto done;
    }
    make_kernel(&f->k, s);
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
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        c->mode[i].atoms = 4 - i;
        c->mode[i].centre_A = best[CENTRE + i];
        c->mode[i].area = best[AREA + i];
        sum += best[AREA + i];
        for (int side = 0; side < 2; side++) c->mode[i].area_ci95[side] = edge(f, i, best, least, level, side ? 1 : -1);
    }
    c->together.atoms = 0;
    c->together.area = best[AREA + 1] + best[AREA + 2];
    c->together.centre_A =
        c->together.area > 0
            ? (best[AREA + 1] * best[CENTRE + 1] + best[AREA + 2] * best[CENTRE + 2]) / c->together.area
            : NAN;
    for (int side = 0; side < 2; side++) c->together.area_ci95[side] = edge(f, 4, best, least, level, side ? 1 : -1);
    for (int i = 0; i < 4; i++) c->share[i] = sum > 0 ? best[AREA + i] / sum : NAN;
    c->share_together = sum > 0 ? c->together.area / sum : NAN;

    /* Correlations from the curvature, centres and widths held loosely by their bounds. */
    double A[N_PARAMETERS * N_PARAMETERS], g[N_PARAMETERS], inverse[4][4];
    residuals(f, best, f->work);
    equations(f, best, f->work, A, g, f->work + 2 * f->n);
    for (int i = 0; i < N_PARAMETERS; i++) {
        const double width = f->hi[i] - f->lo[i];
        A[i * N_PARAMETERS + i] += 12 / (width * width);
    }
    if (mro_pdf_factor(A, N_PARAMETERS)) {
        for (int i = 0; i < 4; i++) {
            double unit[N_PARAMETERS] = { 0 };
            unit[AREA + i] = 1;
            mro_pdf_solve(A, N_PARAMETERS, unit);
            for (int j = 0; j < 4; j++) inverse[i][j] = unit[AREA + j];
        }
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) c->correlation[i][j] = inverse[i][j] / sqrt(inverse[i][i] * inverse[j][j]);
    } else {
        for (int i = 0; i < 16; i++) c->correlation[i / 4][i % 4] = NAN;
    }
    c->separable = c->resolution_A < (ratio[2] - ratio[1]) * R && fabs(c->correlation[1][2]) < 0.9;
    rc = keep(f, best, c, e);
done:
    free(room);
    free(f);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The first halo: where it is, and how it depends on the direction. */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/pdf/saed_internal.h"

#define PAIRS_LEAST 8
#define POINTS_LEAST 8 /* of a window */
#define NEAREST 0.72   /* of the position: the window reaches to the minima beside the halo, but not beyond these */
#define FARTHEST 1.35

enum mro_code mro_saed_halo(const struct mro_profile *p, double s_min, double s_max, double window[2], double *position,
                            bool *found, struct mro_error *e)
{
    const size_t n = p->n, reach = n / 80 > 3 ? n / 80 : 3;
    double *v = malloc(3 * n * sizeof *v), *smooth = v ? v + n : NULL, *slope = v ? smooth + n : NULL;
    *found = false;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a profile of %zu points", n);
    /* On a steep background a halo is a maximum of the intensity times a power of s only. */
    for (int power = 0; power < 3 && !*found; power++) {
        for (size_t k = 0; k < n; k++) {
            const double s = p->s_inv_nm[k];
            v[k] = s >= s_min && s <= s_max ? p->intensity[k] * pow(s, power) : NAN;
        }
        mro_saed_smooth(v, n, reach, smooth, slope);
        double most = 0;
        for (size_t k = 1; k + 1 < n; k++) {
            if (!(smooth[k] >= smooth[k - 1] && smooth[k] > smooth[k + 1])) continue;
            size_t from = k, to = k; /* the lowest points on the way to anything higher */
            for (size_t j = k; j-- > 0 && smooth[j] <= smooth[k];)
                if (smooth[j] < smooth[from]) from = j;
            for (size_t j = k + 1; j < n && smooth[j] <= smooth[k]; j++)
                if (smooth[j] < smooth[to]) to = j;
            const double rises = smooth[k] - fmax(smooth[from], smooth[to]);
            const double error = 5 * p->se[k] * pow(p->s_inv_nm[k], power);
            if (!(rises > most && rises > error && from < k && to > k)) continue;
            most = rises;
            *found = true;
            *position = p->s_inv_nm[k];
            window[0] = fmax(p->s_inv_nm[from], NEAREST * *position);
            window[1] = fmin(p->s_inv_nm[to], FARTHEST * *position);
        }
    }
    free(v);
    return MRO_OK;
}

/* Shift of a pair of sectors against the whole ring, in points, and its error from the fit's own scatter. */
static bool shift_of(const struct mro_profile *p, const double *smooth, const double *slope, size_t from, size_t to,
                     size_t pair, double *shift, double *se)
{
    enum { N = 4 };
    double m[N][N] = { { 0 } }, b[N] = { 0 }, rest = 0;
    const size_t other = pair + p->n_sectors / 2, middle = (from + to) / 2;
    size_t points = 0;
    gsl_matrix_view view = gsl_matrix_view_array(&m[0][0], N, N);
    gsl_vector_view right = gsl_vector_view_array(b, N);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = from; k <= to; k++) {
            const double w1 = p->sector_weight[pair * p->n + k], w2 = p->sector_weight[other * p->n + k];
            const double y1 = p->sector_mean[pair * p->n + k], y2 = p->sector_mean[other * p->n + k];
            const double w = w1 + w2;
            if (!(w > 1 && slope[k] == slope[k])) continue;
            const double y = ((w1 > 0 ? w1 * y1 : 0) + (w2 > 0 ? w2 * y2 : 0)) / w;
            const double t = ((double)k - (double)middle) / (double)(to - from + 1);
            const double x[N] = { smooth[k], 1, t, -slope[k] };
            if (pass) {
                double left = y;
                for (int i = 0; i < N; i++) left -= b[i] * x[i];
                rest += w * left * left;
                continue;
            }
            for (int i = 0; i < N; i++) {
                for (int j = 0; j < N; j++) m[i][j] += w * x[i] * x[j];
                b[i] += w * x[i] * y;
            }
            points++;
        }
        if (points < POINTS_LEAST) return false;
        if (pass) break;
        double scale[N];
        for (int i = 0; i < N; i++) scale[i] = m[i][i] > 0 ? 1 / sqrt(m[i][i]) : 0;
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) m[i][j] *= scale[i] * scale[j];
            b[i] *= scale[i];
            if (!(scale[i] > 0)) return false;
        }
        if (gsl_linalg_cholesky_decomp1(&view.matrix) || gsl_linalg_cholesky_svx(&view.matrix, &right.vector) ||
            gsl_linalg_cholesky_invert(&view.matrix))
            return false;
        for (int i = 0; i < N; i++) b[i] *= scale[i];
        m[3][3] *= scale[3] * scale[3];
    }
    *shift = b[3];
    *se = sqrt(m[3][3] * rest / (double)(points - N));
    return isfinite(*shift);
}

enum mro_code mro_saed_anisotropy_of(const struct mro_profile *p, const double window[2], double position,
                                     const double ellipse[2], const double ellipse_cov[2][2],
                                     struct mro_saed_anisotropy *a, char ***warnings, size_t *n_warnings,
                                     struct mro_error *e)
{
    const size_t n = p->n, pairs = p->n_sectors / 2;
    double *smooth = malloc(2 * n * sizeof *smooth), *slope = smooth ? smooth + n : NULL;
    a->sector = calloc(pairs ? pairs : 1, sizeof *a->sector);
    if (smooth == NULL || a->sector == NULL) {
        free(smooth);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu directions", pairs);
    }
    size_t from = 0, to = 0, used = 0;
    while (from + 1 < n && p->s_inv_nm[from] < window[0]) from++;
    for (to = from; to + 1 < n && p->s_inv_nm[to + 1] <= window[1];) to++;
    mro_saed_smooth(p->intensity, n, (to - from) / 12 > 2 ? (to - from) / 12 : 2, smooth, slope);
    const double point =
        p->s_inv_nm[to] > p->s_inv_nm[from] ? (p->s_inv_nm[to] - p->s_inv_nm[from]) / (double)(to - from) : NAN;
    a->s_inv_nm = position;
    a->n_sectors = pairs;
    double m[3][3] = { { 0 } }, b[3] = { 0 }, rest = 0;
    for (size_t i = 0; i < pairs; i++) {
        struct mro_saed_sector *s = &a->sector[i];
        const double chi = 2 * MRO_PI * (double)i / (double)p->n_sectors;
        double shift, se;
        s->azimuth_deg = 180 * (double)i / (double)pairs;
        s->strain = s->se = NAN;
        if (!shift_of(p, smooth, slope, from, to, i, &shift, &se)) continue;
        s->strain = -shift * point / (position + shift * point) + ellipse[0] * cos(2 * chi) + ellipse[1] * sin(2 * chi);
        s->se = se * point / position;
        const double x[3] = { 1, cos(2 * chi), sin(2 * chi) };
        for (int r = 0; r < 3; r++) {
            for (int c = 0; c < 3; c++) m[r][c] += x[r] * x[c];
            b[r] += x[r] * s->strain;
        }
        used++;
    }
    free(smooth);
    gsl_matrix_view view = gsl_matrix_view_array(&m[0][0], 3, 3);
    gsl_vector_view right = gsl_vector_view_array(b, 3);
    if (used < PAIRS_LEAST || gsl_linalg_cholesky_decomp1(&view.matrix) ||
        gsl_linalg_cholesky_svx(&view.matrix, &right.vector) || gsl_linalg_cholesky_invert(&view.matrix)) {
        mro_note(
            warnings, n_warnings,
            "the dependence of the first halo on direction was not measured: only %zu of %zu directions are usable",
            used, pairs);
        return MRO_OK;
    }
    for (size_t i = 0; i < pairs; i++) {
        const double chi = 2 * MRO_PI * (double)i / (double)p->n_sectors;
        const double left = a->sector[i].strain - b[0] - b[1] * cos(2 * chi) - b[2] * sin(2 * chi);
        if (left == left) rest += left * left;
    }
    /* The scatter about the fit holds every other harmonic; what is not known of the ellipse adds to it. */
    const double var = rest / (double)(used - 3);
    double c[2][2];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) c[i][j] = var * m[i + 1][j + 1] + ellipse_cov[i][j];
    const double det = c[0][0] * c[1][1] - c[0][1] * c[1][0];
    const double size = hypot(b[1], b[2]);
    a->e0 = b[0];
    a->e2 = size;
    a->azimuth_deg = fmod(0.5 * atan2(b[2], b[1]) * 180 / MRO_PI + 180, 180);
    if (det > 0) {
        const double chi2 = (c[1][1] * b[1] * b[1] - 2 * c[0][1] * b[1] * b[2] + c[0][0] * b[2] * b[2]) / det;
        a->p = gsl_cdf_fdist_Q(chi2 / 2, 2, (double)(used - 3));
        a->e2_se = size > 0 ? sqrt(b[1] * b[1] * c[0][0] + 2 * b[1] * b[2] * c[0][1] + b[2] * b[2] * c[1][1]) / size
                            : sqrt(0.5 * (c[0][0] + c[1][1]));
    }
    return MRO_OK;
}

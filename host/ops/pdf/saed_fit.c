/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Centre and ellipse of a diffraction pattern. */
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/sizes.h"
#include "core/vectors.h"
#include "ops/pdf/saed_internal.h"

#define SYMMETRY_MOST 192   /* blocks along an axis that the symmetry is looked for on */
#define SYMMETRY_LEAST 0.04 /* share of the pattern that has to lie over its turned copy */
#define SECTORS 36
#define ITERATIONS 24
#define REST 2e-3    /* px: the iteration has come to rest */
#define STEP_MOST 12 /* px a step */
#define GEOMETRY 4
#define NUISANCE 16
#define COLUMNS (GEOMETRY + NUISANCE)
#define BAND 8          /* rings of one cluster of residuals */
#define COVER_LEAST 0.1 /* of a ring */
#define SECTORS_LEAST 4
#define SLOPE_REACH 4 /* rings */
#define SLOPE_NOISE                                                                                  \
    (1.5 / 60) /* variance of a slope over that of a point: 1 / sum of j^2; points correlate by 0.25 \
                */
#define CLIP_SD 5.0

/* ------------------------------------------------------------------ start by symmetry */

/* The half-way place between samples of a maximum at 0 with neighbours a and c. */
static double vertex(double a, double b, double c)
{
    const double bend = a - 2 * b + c;
    return bend < 0 ? fmax(-0.5, fmin(0.5, 0.5 * (a - c) / bend)) : 0;
}

enum mro_code mro_saed_symmetry(const float *px, size_t ny, size_t nx, const unsigned char *mask, int threads,
                                double centre[2], double *alike, struct mro_error *e)
{
    const size_t longest = ny > nx ? ny : nx, by = (longest + SYMMETRY_MOST - 1) / SYMMETRY_MOST;
    struct mro_saed_coarse c = { 0 };
    MRO_TRY(mro_saed_coarsen(&c, px, ny, nx, mask, by, threads, e));
    const size_t n = c.ny * c.nx, my = mro_smooth_size(2 * c.ny), mx = mro_smooth_size(2 * c.nx), all = my * mx;
    /* Of the values, the mask and the squares: transforms, then the sums over the overlap. */
    mro_c32 *v = malloc(all * sizeof *v), *m = malloc(all * sizeof *m), *s = malloc(all * sizeof *s),
            *t = malloc(all * sizeof *t);
    float *number = malloc(all * sizeof *number), *product = malloc(all * sizeof *product),
          *sum = malloc(all * sizeof *sum);
    enum mro_code rc = MRO_OK;
    mro_vectors()->open(); /* the device may be a card */
    if (!v || !m || !s || !t || !number || !product || !sum) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory to look for the centre of a pattern of %zu x %zu pixels", nx, ny);
        goto done;
    }
    /* Roots of counts: one noise everywhere, and a bright centre does not outweigh the rings. Ranks would lose them. */
    float least = INFINITY;
    double mean = 0, known = 0;
    for (size_t i = 0; i < n; i++) least = c.px[i] < least ? c.px[i] : least;
    for (size_t i = 0; i < n; i++) {
        if (!(c.px[i] == c.px[i])) continue;
        c.px[i] = sqrtf(c.px[i] - least);
        mean += c.px[i];
        known += 1;
    }
    if (known < 64) {
        rc = MRO_FAIL(e, MRO_EDATA, "nothing of the pattern is left beside the mask");
        goto done;
    }
    mean /= known;
    memset(v, 0, all * sizeof *v);
    memset(m, 0, all * sizeof *m);
    memset(s, 0, all * sizeof *s);
    for (size_t y = 0; y < c.ny; y++)
        for (size_t x = 0; x < c.nx; x++) {
            const float value = c.px[y * c.nx + x] - (float)mean;
            if (!(value == value)) continue;
            v[y * mx + x].re = value;
            m[y * mx + x].re = 1;
            s[y * mx + x].re = value * value;
        }
    if ((rc = mro_vectors()->fft2(v, my, mx, (ptrdiff_t)my, false, threads, e)) ||
        (rc = mro_vectors()->fft2(m, my, mx, (ptrdiff_t)my, false, threads, e)) ||
        (rc = mro_vectors()->fft2(s, my, mx, (ptrdiff_t)my, false, threads, e)))
        goto done;
    const mro_c32 *const pair[4][2] = { { m, m }, { v, v }, { v, m }, { s, m } };
    for (int k = 0; k < 4; k++) {
        const float unit = 1 / (float)all;
        for (size_t i = 0; i < all; i++) {
            const mro_c32 a = pair[k][0][i], b = pair[k][1][i];
            t[i] = (mro_c32){ (a.re * b.re - a.im * b.im) * unit, (a.re * b.im + a.im * b.re) * unit };
        }
        if ((rc = mro_vectors()->fft2(t, my, mx, (ptrdiff_t)my, true, threads, e))) goto done;
        for (size_t i = 0; i < all; i++) {
            const float x = t[i].re;
            if (k == 0) {
                number[i] = rintf(x);
            } else if (k == 1) {
                product[i] = x;
            } else if (k == 2) {
                sum[i] = x;
            } else { /* both copies have the same mean and variance: the overlap is symmetric too */
                const float p = number[i], square = p > 0 ? sum[i] * sum[i] / p : 0, var = x - square;
                const float r = p >= SYMMETRY_LEAST * (float)known && var > 1e-4f * x ? (product[i] - square) / var : 0;
                /* Fisher's z over its standard error: much overlap with a fair likeness beats a sliver. */
                product[i] = r;
                number[i] = r > 0 ? atanhf(fminf(r, 0.9999f)) * sqrtf(p) : 0;
            }
        }
    }
    size_t best = 0;
    for (size_t i = 0; i < all; i++)
        if (number[i] > number[best]) best = i;
    const size_t sy = best / mx, sx = best % mx;
    const double half = 0.5 * (double)by - 0.5;
    const float *at = number + best;
    const double fy = sy > 0 && sy + 1 < my ? vertex(at[-(ptrdiff_t)mx], at[0], at[mx]) : 0;
    const double fx = sx > 0 && sx + 1 < mx ? vertex(at[-1], at[0], at[1]) : 0;
    centre[0] = 0.5 * ((double)sx + fx) * (double)by + half;
    centre[1] = 0.5 * ((double)sy + fy) * (double)by + half;
    *alike = product[best];
done:
    mro_vectors()->close();
    free(v);
    free(m);
    free(s);
    free(t);
    free(number);
    free(product);
    free(sum);
    free(c.px);
    return rc;
}

/* ------------------------------------------------------------------ round rings */

void mro_saed_smooth(const double *v, size_t n, size_t reach, double *smooth, double *slope)
{
    for (size_t k = 0; k < n; k++) {
        double s[5] = { 0 }, b[3] = { 0 };
        smooth[k] = slope[k] = NAN;
        if (!(v[k] == v[k])) continue;
        for (size_t j = k > reach ? k - reach : 0; j < n && j <= k + reach; j++) {
            if (!(v[j] == v[j])) continue;
            const double x = (double)j - (double)k;
            double p = 1;
            for (int i = 0; i < 5; i++, p *= x) {
                s[i] += p;
                if (i < 3) b[i] += p * v[j];
            }
        }
        if (s[0] < 4) continue;
        /* Normal equations of c0 + c1 x + c2 x^2 by Cramer's rule. */
        const double det = s[0] * (s[2] * s[4] - s[3] * s[3]) - s[1] * (s[1] * s[4] - s[2] * s[3]) +
                           s[2] * (s[1] * s[3] - s[2] * s[2]);
        if (!(det > 1e-9)) continue;
        smooth[k] = (b[0] * (s[2] * s[4] - s[3] * s[3]) - s[1] * (b[1] * s[4] - s[3] * b[2]) +
                     s[2] * (b[1] * s[3] - s[2] * b[2])) /
                    det;
        slope[k] = (s[0] * (b[1] * s[4] - s[3] * b[2]) - b[0] * (s[1] * s[4] - s[2] * s[3]) +
                    s[2] * (s[1] * b[2] - b[1] * s[2])) /
                   det;
    }
}

/* One round: means over sectors and rings at the geometry of `f`, and the step that makes them rounder. */
struct round_work {
    double *mean, *weight; /* SECTORS * n */
    double *ring, *smooth, *slope, *var;
    unsigned char *used; /* rings */
    size_t n;
    double wave[SECTORS][4]; /* cos and sin of the sector's direction and of twice it */
};

/* Column i is factor[i] times wave i % 4 of the sector. */
static void factors_at(const struct round_work *w, size_t k, double level, double factor[COLUMNS])
{
    const double radius = (double)k, slope = w->slope[k], t = 2 * radius / (double)w->n - 1;
    const double follows[4] = { w->smooth[k], w->smooth[k] * t, level, level * t };
    for (int i = 0; i < GEOMETRY; i++) factor[i] = i < 2 ? -slope : -slope * radius;
    for (int i = GEOMETRY; i < COLUMNS; i++) factor[i] = follows[(i - GEOMETRY) / 4];
}

static void columns_at(const struct round_work *w, size_t sector, size_t k, double level, double x[COLUMNS])
{
    factors_at(w, k, level, x);
    for (int i = 0; i < COLUMNS; i++) x[i] *= w->wave[sector][i % 4];
}

/* Weighted least squares of the sectors' deviations from their ring. Fills step[4] and cov; false when singular. */
static bool solve(const struct round_work *w, const bool fitted[COLUMNS], double step[GEOMETRY],
                  double (*cov)[GEOMETRY], double *var_out)
{
    double normal[COLUMNS][COLUMNS] = { { 0 } }, right[COLUMNS] = { 0 }, answer[COLUMNS], meat[COLUMNS][COLUMNS];
    double level = 0;
    size_t used = 0;
    for (size_t k = 0; k < w->n; k++)
        if (w->used[k]) level += w->smooth[k], used++;
    if (used < 4) return false;
    level /= (double)used;
    for (size_t k = 0; k < w->n; k++) {
        /* A column is a number of the ring times one of four waves: sums over sectors are those of the waves. */
        double mean[4] = { 0 }, sum = 0, wave[4][4] = { { 0 } }, pull[4] = { 0 }, factor[COLUMNS];
        if (!w->used[k]) continue;
        for (size_t s = 0; s < SECTORS; s++) { /* what is common to all sectors belongs to the profile */
            const double q = w->weight[s * w->n + k];
            if (!(q > 0)) continue;
            for (int m = 0; m < 4; m++) mean[m] += q * w->wave[s][m];
            sum += q;
        }
        for (int m = 0; m < 4; m++) mean[m] /= sum;
        for (size_t s = 0; s < SECTORS; s++) {
            const double q = w->weight[s * w->n + k], left = w->mean[s * w->n + k] - w->ring[k];
            if (!(q > 0)) continue;
            for (int m = 0; m < 4; m++) {
                const double here = q * (w->wave[s][m] - mean[m]);
                for (int l = 0; l < 4; l++) wave[m][l] += here * (w->wave[s][l] - mean[l]);
                pull[m] += here * left;
            }
        }
        factors_at(w, k, level, factor);
        for (int i = 0; i < COLUMNS; i++) {
            if (!fitted[i]) continue;
            const double by = factor[i] / w->var[k];
            for (int j = 0; j <= i; j++) normal[i][j] += by * factor[j] * wave[i % 4][j % 4];
            right[i] += by * pull[i % 4];
        }
    }
    double scale[COLUMNS];
    gsl_matrix *a = gsl_matrix_alloc(COLUMNS, COLUMNS);
    gsl_vector *b = gsl_vector_alloc(COLUMNS);
    if (!a || !b) {
        gsl_matrix_free(a);
        gsl_vector_free(b);
        return false;
    }
    for (int i = 0; i < COLUMNS; i++) scale[i] = fitted[i] && normal[i][i] > 0 ? 1 / sqrt(normal[i][i]) : 0;
    for (int i = 0; i < COLUMNS; i++)
        for (int j = 0; j <= i; j++) {
            /* The ridge only matters to columns that say the same twice, as in a profile without rings. */
            const double v = i == j ? 1 + 1e-9 : normal[i][j] * scale[i] * scale[j];
            gsl_matrix_set(a, (size_t)i, (size_t)j, v);
            gsl_matrix_set(a, (size_t)j, (size_t)i, v);
        }
    for (int i = 0; i < COLUMNS; i++) gsl_vector_set(b, (size_t)i, right[i] * scale[i]);
    bool ok = gsl_linalg_cholesky_decomp1(a) == 0 && gsl_linalg_cholesky_svx(a, b) == 0;
    for (int i = 0; i < COLUMNS; i++) answer[i] = gsl_vector_get(b, (size_t)i) * scale[i];
    for (int i = 0; i < GEOMETRY; i++) step[i] = answer[i];
    if (ok && (cov || var_out)) {
        /* Residuals of neighbouring rings, and of opposite sectors, go together: summed before they are squared. */
        memset(meat, 0, sizeof meat);
        double chi2[SECTORS / 2][COLUMNS];
        memset(chi2, 0, sizeof chi2);
        for (size_t k = 0; k < w->n; k++) {
            double at[COLUMNS] = { 0 }, sum = 0, x[COLUMNS], square = 0, n = 0;
            if (w->used[k]) {
                for (size_t s = 0; s < SECTORS; s++) {
                    const double q = w->weight[s * w->n + k];
                    if (!(q > 0)) continue;
                    columns_at(w, s, k, level, x);
                    for (int i = 0; i < COLUMNS; i++) at[i] += q * x[i];
                    sum += q;
                }
                for (size_t s = 0; s < SECTORS; s++) {
                    const double q = w->weight[s * w->n + k];
                    if (!(q > 0)) continue;
                    columns_at(w, s, k, level, x);
                    double left = w->mean[s * w->n + k] - w->ring[k];
                    for (int i = 0; i < COLUMNS; i++)
                        if (fitted[i]) left -= answer[i] * (x[i] - at[i] / sum);
                    for (int i = 0; cov && i < COLUMNS; i++)
                        chi2[s % (SECTORS / 2)][i] += q / w->var[k] * (x[i] - at[i] / sum) * left * scale[i];
                    square += q * left * left;
                    n += 1;
                }
                if (var_out) var_out[k] = n > 5 ? square / (n - 4) : w->var[k];
            }
            if (cov == NULL || ((k + 1) % BAND && k + 1 < w->n)) continue;
            for (int g = 0; g < SECTORS / 2; g++)
                for (int i = 0; i < COLUMNS; i++)
                    for (int j = 0; j < COLUMNS; j++) meat[i][j] += chi2[g][i] * chi2[g][j];
            memset(chi2, 0, sizeof chi2);
        }
        gsl_matrix *bread = cov ? gsl_matrix_alloc(COLUMNS, COLUMNS) : NULL;
        if (bread) {
            gsl_matrix_memcpy(bread, a);
            ok = gsl_linalg_cholesky_invert(bread) == 0;
            for (int i = 0; i < GEOMETRY; i++)
                for (int j = 0; j < GEOMETRY; j++) {
                    double v = 0;
                    for (int p = 0; p < COLUMNS; p++)
                        for (int q = 0; q < COLUMNS; q++)
                            v += gsl_matrix_get(bread, (size_t)i, (size_t)p) * meat[p][q] *
                                 gsl_matrix_get(bread, (size_t)q, (size_t)j);
                    cov[i][j] = v * scale[i] * scale[j];
                }
            gsl_matrix_free(bread);
        }
    }
    gsl_matrix_free(a);
    gsl_vector_free(b);
    return ok;
}

/* Slopes that are mostly noise would pass for information: brought down to what is expected of them (Wiener), by how
 * far their squares around a ring exceed what the errors `se` of the points give. */
static void shrink(struct round_work *w, const double *se)
{
    double *factor = w->var; /* not in use yet */
    for (size_t k = 0; k < w->n; k++) {
        double sum = 0, n = 0;
        for (size_t j = k > BAND ? k - BAND : 0; j < w->n && j <= k + BAND; j++) {
            if (!(w->slope[j] == w->slope[j] && se[j] > 0)) continue;
            sum += w->slope[j] * w->slope[j] / (se[j] * se[j] * SLOPE_NOISE);
            n += 1;
        }
        factor[k] = sum > n ? 1 - n / sum : 0;
    }
    for (size_t k = 0; k < w->n; k++) w->slope[k] *= factor[k];
}

/* Means over sectors at the geometry of `f`. */
static enum mro_code look(struct mro_device *d, const float *px, size_t ny, size_t nx, const unsigned char *mask,
                          double aspect, const double range_px[2], const struct mro_saed_fit *f, struct round_work *w,
                          double *explained, struct mro_error *e)
{
    const struct mro_round round = mro_round_of(f->cx, f->cy, aspect, f->e1, f->e2);
    struct mro_azimuth a;
    MRO_TRY(mro_azimuth_new(&a, d, ny, nx, &round, mask, 1, w->n, SECTORS, 1, e));
    struct mro_profile p = { 0 };
    enum mro_code rc = mro_azimuth_run(&a, px, 1, CLIP_SD, e);
    if (rc == MRO_OK) rc = mro_azimuth_profile(&a, 0, 1, &p, e);
    mro_azimuth_release(&a);
    MRO_TRY(rc);
    memcpy(w->mean, p.sector_mean, SECTORS * w->n * sizeof *w->mean);
    memcpy(w->weight, p.sector_weight, SECTORS * w->n * sizeof *w->weight);
    memcpy(w->ring, p.intensity, w->n * sizeof *w->ring);
    mro_saed_smooth(w->ring, w->n, SLOPE_REACH, w->smooth, w->slope);
    shrink(w, p.se);
    double between = 0, within = 0, noise = 0, rings = 0, mean = 0, all = 0;
    for (size_t k = 0; k < w->n; k++) {
        size_t sectors = 0;
        for (size_t s = 0; s < SECTORS; s++) {
            double *q = &w->weight[s * w->n + k];
            if (!(*q > 0.5)) *q = 0;
            sectors += *q > 0;
        }
        w->var[k] = fmax(p.sd[k] * p.sd[k], 1e-12 * p.intensity[k] * p.intensity[k]);
        w->used[k] = k >= 4 && sectors >= SECTORS_LEAST && p.pixels[k] > COVER_LEAST * 2 * MRO_PI * (double)k &&
                     w->slope[k] == w->slope[k] && w->var[k] > 0 && (double)k >= range_px[0] &&
                     (double)k <= range_px[1];
        if (!w->used[k]) continue;
        mean += p.pixels[k] * p.intensity[k];
        all += p.pixels[k];
    }
    mean /= all;
    for (size_t k = 0; k < w->n; k++) {
        if (!w->used[k]) continue;
        between += p.pixels[k] * (p.intensity[k] - mean) * (p.intensity[k] - mean);
        rings += w->var[k];
        for (size_t s = 0; s < SECTORS; s++) {
            const double q = w->weight[s * w->n + k], left = w->mean[s * w->n + k] - w->ring[k];
            if (!(q > 0)) continue;
            within += q * left * left;
            noise += w->var[k];
        }
    }
    /* `rings` is what noise alone puts between the means of rings. */
    *explained = all > 0 && between > rings ? (between - rings) / (between + fmax(0, within - noise)) : 0;
    mro_profile_release(&p);
    return MRO_OK;
}

enum mro_code mro_saed_fit_rings(struct mro_device *d, const float *px, size_t ny, size_t nx, const unsigned char *mask,
                                 double aspect, bool fit_centre, bool fit_ellipse, const double range_px[2],
                                 struct mro_saed_fit *f, struct mro_error *e)
{
    const double height = (double)ny * aspect, far = hypot((double)nx, height);
    struct round_work w = { .n = (size_t)far + 2 };
    double *room = malloc((2 * SECTORS + 6) * w.n * sizeof *room), step[GEOMETRY];
    w.used = calloc(w.n, 1);
    for (int i = 0; i < 4 * SECTORS; i++) {
        const double chi = (i % 4 / 2 + 1) * 2 * MRO_PI * (i / 4) / SECTORS;
        w.wave[i / 4][i % 4] = i % 2 ? sin(chi) : cos(chi);
    }
    enum mro_code rc = MRO_OK;
    if (room == NULL || w.used == NULL) {
        free(room);
        free(w.used);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the rings of a pattern of %zu x %zu pixels", nx, ny);
    }
    w.mean = room;
    w.weight = w.mean + SECTORS * w.n;
    w.ring = w.weight + SECTORS * w.n;
    w.smooth = w.ring + w.n;
    w.slope = w.smooth + w.n;
    w.var = w.slope + w.n;
    double *var = w.var + w.n;
    const double range[2] = { range_px ? range_px[0] : 0, range_px ? range_px[1] : INFINITY };
    bool fitted[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) fitted[i] = i < 2 ? fit_centre : i < GEOMETRY ? fit_ellipse : true;
    f->settled = !fit_centre && !fit_ellipse;
    f->moved = 0;
    for (int i = 0; i < GEOMETRY; i++)
        for (int j = 0; j < GEOMETRY; j++) f->cov[i][j] = NAN;
    for (int pass = 0; pass < ITERATIONS; pass++) {
        if ((rc = look(d, px, ny, nx, mask, aspect, range, f, &w, &f->explained, e))) break;
        if (f->settled) break; /* nothing to fit: only how much the rings explain */
        const bool last = pass == ITERATIONS - 1;
        /* The scatter of pixels weighs at first, then that of the sectors about the fit: rings that anything else
         * disturbs count less. */
        for (size_t k = 0; k < w.n; k++) var[k] = 0;
        if (!solve(&w, fitted, step, NULL, var)) break;
        for (size_t k = 0; k < w.n; k++) {
            double sum = 0, n = 0;
            for (size_t j = k > BAND ? k - BAND : 0; j < w.n && j <= k + BAND; j++)
                if (w.used[j]) sum += var[j] / w.var[j], n += 1;
            if (w.used[k]) var[k] = w.var[k] * fmax(1, sum / n);
        }
        for (size_t k = 0; k < w.n; k++)
            if (w.used[k]) w.var[k] = var[k];
        if (!solve(&w, fitted, step, f->cov, NULL)) break;
        double size = fmax(hypot(step[0], step[1]), hypot(step[2], step[3]) * 0.25 * far);
        const double by = size > STEP_MOST ? STEP_MOST / size : 1;
        f->cx += fit_centre ? by * step[0] : 0;
        f->cy += fit_centre ? by * step[1] / aspect : 0;
        f->e1 += fit_ellipse ? by * step[2] : 0;
        f->e2 += fit_ellipse ? by * step[3] : 0;
        f->moved = size;
        if (size < REST) {
            f->settled = true;
            break;
        }
        if (last || !(fabs(f->cx) < 4 * far && fabs(f->cy) < 4 * far && hypot(f->e1, f->e2) < 0.5)) break;
    }
    free(room);
    free(w.used);
    return rc;
}

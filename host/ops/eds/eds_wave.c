/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Is there a wave in a profile, and how long is it? See eds_internal.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/philox.h"
#include "ops/eds/eds_internal.h"

enum { MAX_POINTS = 512, LEAST_POINTS = 16, BLOCK = 64, ENOUGH = 12 };
#define LEAST_PERIODS 5.0
#define LAMBDA_STEP 1.05 /* ratio of neighbouring wavelengths in the table */

/* Parts of the variance that are not white. */
static const double parts[] = { 0.03, 0.08, 0.16, 0.28, 0.42, 0.58, 0.74, 0.88, 0.96 };
static const double memories[] = { 0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.77, 0.83, 0.88, 0.92, 0.95, 0.975 };
enum { N_PARTS = sizeof parts / sizeof *parts, N_MEMORIES = sizeof memories / sizeof *memories };

/* Kinds of waves: cut from an isotropic pattern of this relative width, or plane. */
static const struct {
    bool cut;
    double width;
} kinds[] = { { true, 0.08 }, { true, 0.2 }, { false, 0.08 } };
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* Spectra of one family, each of mean 1: value k of model m is 1 / inverse[k * n + m]. */
struct family {
    size_t n;
    float *inverse;
    double *logs; /* sum over frequencies of the logarithm */
};

struct wave {
    size_t n, nf, lambdas;
    double step, length;
    double *x, *y, *v; /* v: mean 1 */
    double lambda0, spacing;
    float *c, *s, *m; /* n * nf: weighted cosine, sine; 3 * nf: inverse of the normal matrix */
    struct family red, waves;
};

static void wave_free(struct wave *w)
{
    free(w->x);
    free(w->c);
    free(w->red.inverse);
    free(w->red.logs);
    free(w->waves.inverse);
    free(w->waves.logs);
}

static double frequency(const struct wave *w, size_t k) { return (double)(k + 1) / w->length; }

/* Mean of consecutive points, so that long lines cost no more than MAX_POINTS; what is lost are frequencies beyond any
 * wave that could be asked for. */
static enum mro_code take_points(struct wave *w, const double *x, const double *y, const double *v, size_t n,
                                 struct mro_error *e)
{
    const size_t block = (n + MAX_POINTS - 1) / MAX_POINTS;
    w->n = n / block;
    w->x = calloc(3 * w->n, sizeof *w->x);
    if (w->x == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the spectrum of a line of %zu points does not fit in memory", n);
    w->y = w->x + w->n;
    w->v = w->y + w->n;
    double mean = 0, weight = 0, all = 0;
    for (size_t i = 0; i < w->n; i++) {
        for (size_t k = i * block; k < (i + 1) * block; k++) {
            w->x[i] += x[k] / (double)block;
            w->y[i] += y[k] / (double)block;
            w->v[i] += v ? v[k] : 1;
        }
        all += w->v[i];
        mean += w->y[i] / w->v[i];
        weight += 1 / w->v[i];
    }
    for (size_t i = 0; i < w->n; i++) {
        w->y[i] -= mean / weight;
        w->v[i] *= (double)w->n / all;
    }
    w->step = (w->x[w->n - 1] - w->x[0]) / (double)(w->n - 1);
    w->length = w->step * (double)w->n;
    w->nf = (w->n - 1) / 2;
    return MRO_OK;
}

/* Sums that make a periodogram out of values: a least-squares fit of a sine at every frequency. */
static enum mro_code make_sums(struct wave *w, struct mro_error *e)
{
    w->c = malloc((2 * w->n + 3) * w->nf * sizeof *w->c);
    if (w->c == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the spectrum of a line does not fit in memory");
    w->s = w->c + w->n * w->nf;
    w->m = w->s + w->n * w->nf;
    double weight = 0;
    for (size_t i = 0; i < w->n; i++) weight += 1 / w->v[i];
    for (size_t k = 0; k < w->nf; k++) {
        double cc = 0, ss = 0, cs = 0;
        for (size_t i = 0; i < w->n; i++) {
            const double a = 2 * M_PI * frequency(w, k) * (w->x[i] - w->x[0]), u = 1 / (w->v[i] * weight);
            const double c = cos(a), s = sin(a);
            cc += u * c * c;
            ss += u * s * s;
            cs += u * c * s;
            w->c[i * w->nf + k] = (float)(u * c);
            w->s[i * w->nf + k] = (float)(u * s);
        }
        const double det = fmax(cc * ss - cs * cs, 1e-9), half = (double)w->n / 2;
        w->m[3 * k] = (float)(half * ss / det);
        w->m[3 * k + 1] = (float)(-2 * half * cs / det);
        w->m[3 * k + 2] = (float)(half * cc / det);
    }
    return MRO_OK;
}

/* power[nf]: that of white noise has the mean of its variance. room: 2 * nf. */
static void periodogram(const struct wave *w, const double *y, float *room, float *power)
{
    float *restrict c = room, *restrict s = room + w->nf;
    memset(room, 0, 2 * w->nf * sizeof *room);
    for (size_t i = 0; i < w->n; i++) {
        const float v = (float)y[i];
        const float *restrict wc = w->c + i * w->nf, *restrict ws = w->s + i * w->nf;
        for (size_t k = 0; k < w->nf; k++) {
            c[k] += v * wc[k];
            s[k] += v * ws[k];
        }
    }
    for (size_t k = 0; k < w->nf; k++) {
        const float *m = w->m + 3 * k;
        /* Never zero, so that a logarithm of a sum of them exists. */
        power[k] = fmaxf(c[k] * c[k] * m[0] + c[k] * s[k] * m[1] + s[k] * s[k] * m[2], 1e-30f);
    }
}

/* ---- families of spectra ---- */

static void red_shape(const struct wave *w, double memory, double *shape)
{
    for (size_t k = 0; k < w->nf; k++)
        shape[k] =
            (1 - memory * memory) / (1 + memory * memory - 2 * memory * cos(2 * M_PI * frequency(w, k) * w->step));
}

static void wave_shape(const struct wave *w, size_t kind, double lambda, double *shape)
{
    const double f0 = 1 / lambda;
    if (!kinds[kind].cut) {
        /* No narrower than the length of the line lets it be. */
        const double width = hypot(kinds[kind].width * f0, 0.7 / w->length);
        for (size_t k = 0; k < w->nf; k++) {
            const double t = (frequency(w, k) - f0) / width;
            shape[k] = exp(-t * t) + 1e-6;
        }
        return;
    }
    enum { STEPS = 120 };
    const double width = kinds[kind].width * f0, top = f0 + 3.5 * width, d = top / STEPS;
    for (size_t k = 0; k < w->nf; k++) {
        const double f = frequency(w, k);
        double sum = 1e-6;
        for (int i = 0; i < STEPS && f < top; i++) {
            const double t = (hypot(f, ((double)i + 0.5) * d) - f0) / width;
            sum += t * t < 40 ? exp(-t * t) : 0;
        }
        shape[k] = sum;
    }
}

static void normalise(double *shape, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += shape[k];
    for (size_t k = 0; k < n; k++) shape[k] *= (double)n / sum;
}

static void put_models(const struct wave *w, struct family *f, size_t first, double *shape)
{
    normalise(shape, w->nf);
    for (size_t p = 0; p < N_PARTS; p++) {
        double logs = 0;
        for (size_t k = 0; k < w->nf; k++) {
            const double v = parts[p] * shape[k] + 1 - parts[p];
            f->inverse[k * f->n + first + p] = (float)(1 / v);
            logs += log(v);
        }
        f->logs[first + p] = logs;
    }
}

static double lambda_at(const struct wave *w, size_t i) { return w->lambda0 * pow(LAMBDA_STEP, (double)i); }

static enum mro_code make_families(struct wave *w, struct mro_error *e)
{
    w->lambda0 = 4 * w->step;
    w->lambdas = 1;
    while (lambda_at(w, w->lambdas) < w->length / 2.5 && w->lambdas < MRO_EDS_MAX_WAVES) w->lambdas++;
    w->red.n = 1 + (size_t)N_MEMORIES * N_PARTS;
    w->waves.n = (size_t)N_KINDS * w->lambdas * N_PARTS;
    double *shape = malloc(w->nf * sizeof *shape);
    w->red.inverse = malloc(w->red.n * w->nf * sizeof(float));
    w->red.logs = malloc(w->red.n * sizeof(double));
    w->waves.inverse = malloc(w->waves.n * w->nf * sizeof(float));
    w->waves.logs = malloc(w->waves.n * sizeof(double));
    if (!shape || !w->red.inverse || !w->red.logs || !w->waves.inverse || !w->waves.logs) {
        free(shape);
        return MRO_FAIL(e, MRO_EMEMORY, "the spectra of a line do not fit in memory");
    }
    for (size_t i = 0; i < N_MEMORIES; i++) {
        red_shape(w, memories[i], shape);
        put_models(w, &w->red, i * N_PARTS, shape);
    }
    /* The last model of the red family is white noise. */
    for (size_t k = 0; k < w->nf; k++) w->red.inverse[k * w->red.n + w->red.n - 1] = 1;
    w->red.logs[w->red.n - 1] = 0;
    for (size_t i = 0; i < N_KINDS; i++) {
        for (size_t l = 0; l < w->lambdas; l++) {
            wave_shape(w, i, lambda_at(w, l), shape);
            put_models(w, &w->waves, (i * w->lambdas + l) * N_PARTS, shape);
        }
    }
    free(shape);
    return MRO_OK;
}

/* Whittle's log-likelihood of the best model, its scale free; *which receives its number. room: f->n floats. */
static double best_model(const struct family *f, const float *power, size_t nf, float *room, size_t *which)
{
    double best = -INFINITY;
    memset(room, 0, f->n * sizeof *room);
    for (size_t k = 0; k < nf; k++) {
        const float p = power[k], *restrict inverse = f->inverse + k * f->n;
        for (size_t m = 0; m < f->n; m++) room[m] += p * inverse[m];
    }
    for (size_t m = 0; m < f->n; m++) {
        const double l = -((double)nf * log((double)room[m] / (double)nf) + f->logs[m]);
        if (l > best) best = l, *which = m;
    }
    return best;
}

static double likelihood(const struct wave *w, const double *shape, double part, const float *power)
{
    double sum = 0, logs = 0;
    for (size_t k = 0; k < w->nf; k++) {
        const double v = part * shape[k] + 1 - part;
        sum += (double)power[k] / v;
        logs += log(v);
    }
    return -((double)w->nf * log(sum / (double)w->nf) + logs);
}

/* The wavelength between those of the table: best of finer ones, parts as in the table. */
static double refine(const struct wave *w, size_t kind, double lambda, const float *power, double *shape, double *part)
{
    double best = -INFINITY, found = lambda;
    for (int i = -10; i <= 10; i++) {
        const double l = lambda * pow(LAMBDA_STEP, i / 10.0);
        wave_shape(w, kind, l, shape);
        normalise(shape, w->nf);
        for (size_t p = 0; p < N_PARTS; p++) {
            const double value = likelihood(w, shape, parts[p], power);
            if (value > best) best = value, found = l, *part = parts[p];
        }
    }
    wave_shape(w, kind, found, shape);
    normalise(shape, w->nf);
    return found;
}

/* ---- lines of red noise ---- */

struct draw {
    double memory, part;
    uint64_t seed, stream;
};

/* A line of AR(1) noise and white noise, spaced as the profile and weighted as its points. */
static void draw_line(const struct wave *w, const struct draw *d, size_t number, double *y)
{
    double state = 0, mean = 0, weight = 0;
    for (size_t i = 0; i < w->n; i++) {
        const mro_philox_block b = mro_philox(d->seed, d->stream + number, i);
        const mro_c32 z = mro_normal_pair(b.v[0], b.v[1]);
        const double memory = i ? pow(d->memory, (w->x[i] - w->x[i - 1]) / w->step) : 0;
        state = memory * state + sqrt(1 - memory * memory) * (double)z.re;
        y[i] = sqrt(d->part) * state + sqrt((1 - d->part) * w->v[i]) * (double)z.im;
        mean += y[i] / w->v[i];
        weight += 1 / w->v[i];
    }
    for (size_t i = 0; i < w->n; i++) y[i] -= mean / weight;
}

static enum mro_code p_value(const struct wave *w, const struct draw *d, double observed, int draws, double *p,
                             struct mro_error *e)
{
    const size_t floats = 3 * w->nf + w->waves.n + w->red.n;
    double statistic[BLOCK];
    int done = 0, above = 0;
    bool failed = false;
    while (done < draws && above < ENOUGH) {
        const int block = draws - done < BLOCK ? draws - done : BLOCK;
#pragma omp parallel
        {
            float *room = malloc(floats * sizeof *room);
            double *y = malloc(w->n * sizeof *y);
#pragma omp for schedule(dynamic, 4)
            for (int i = 0; i < block; i++) {
                size_t which;
                if (room == NULL || y == NULL) {
                    mro_raise(&failed);
                    continue;
                }
                float *power = room + 2 * w->nf, *models = power + w->nf;
                draw_line(w, d, (size_t)(done + i), y);
                periodogram(w, y, room, power);
                statistic[i] = best_model(&w->waves, power, w->nf, models, &which) -
                               best_model(&w->red, power, w->nf, models, &which);
            }
            free(y);
            free(room);
        }
        if (failed) return MRO_FAIL(e, MRO_EMEMORY, "lines of red noise do not fit in memory");
        for (int i = 0; i < block && above < ENOUGH; i++) {
            above += statistic[i] >= observed;
            done++;
        }
    }
    *p = above >= ENOUGH ? (double)above / done : (double)(above + 1) / (done + 1);
    return MRO_OK;
}

/* ---- together ---- */

/* models: room for what best_model leaves. */
static void keep_likelihood(const struct wave *w, const float *power, float *models, struct mro_eds_likelihood *l)
{
    size_t which;
    best_model(&w->waves, power, w->nf, models, &which);
    l->n = w->lambdas;
    for (size_t i = 0; i < w->lambdas; i++) l->lambda[i] = lambda_at(w, i), l->l[i] = -INFINITY;
    for (size_t m = 0; m < w->waves.n; m++) {
        const double v = -((double)w->nf * log((double)models[m] / (double)w->nf) + w->waves.logs[m]);
        const size_t i = m / N_PARTS % w->lambdas;
        l->l[i] = fmax(l->l[i], v);
    }
}

double mro_eds_shared_wave(const struct mro_eds_likelihood *own, const struct mro_eds_likelihood *other)
{
    size_t best = 0;
    double most = -INFINITY;
    if (own->n == 0 || own->n != other->n) return NAN;
    for (size_t i = 0; i < own->n; i++) {
        most = fmax(most, own->l[i]);
        if (own->l[i] + other->l[i] > own->l[best] + other->l[best]) best = i;
    }
    if (most - own->l[best] > 3.32) return NAN;
    /* The top of a parabola through the best and its neighbours, in the logarithm. */
    if (best == 0 || best + 1 == own->n) return own->lambda[best];
    const double a = own->l[best - 1] + other->l[best - 1], b = own->l[best] + other->l[best],
                 c = own->l[best + 1] + other->l[best + 1], bend = a - 2 * b + c;
    const double move = bend < 0 ? 0.5 * (a - c) / bend : 0;
    return own->lambda[best] * pow(LAMBDA_STEP, fmax(-0.5, fmin(0.5, move)));
}

static enum mro_code fill_spectrum(const struct wave *w, const float *power, double noise, const struct draw *red,
                                   const double *wave, double part, struct mro_eds_spectrum *s, struct mro_error *e)
{
    s->n = w->nf;
    s->f_inv_nm = malloc(w->nf * sizeof(double));
    s->power = malloc(w->nf * sizeof(double));
    s->red = malloc(w->nf * sizeof(double));
    s->wave = malloc(w->nf * sizeof(double));
    if (!s->f_inv_nm || !s->power || !s->red || !s->wave)
        return MRO_FAIL(e, MRO_EMEMORY, "the spectrum of a line does not fit in memory");
    double mean = 0, red_scale = 0, wave_scale = 0;
    red_shape(w, red->memory, s->red);
    normalise(s->red, w->nf);
    for (size_t k = 0; k < w->nf; k++) {
        s->red[k] = red->part * s->red[k] + 1 - red->part;
        s->wave[k] = part * wave[k] + 1 - part;
        mean += (double)power[k] / (double)w->nf;
        red_scale += (double)power[k] / s->red[k] / (double)w->nf;
        wave_scale += (double)power[k] / s->wave[k] / (double)w->nf;
    }
    const double unit = noise > 0 ? noise : mean;
    for (size_t k = 0; k < w->nf; k++) {
        s->f_inv_nm[k] = frequency(w, k);
        s->power[k] = (double)power[k] / unit;
        s->red[k] *= red_scale / unit;
        s->wave[k] *= wave_scale / unit;
    }
    s->level95 = -log(1 - pow(0.95, 1 / (double)w->nf));
    return MRO_OK;
}

enum mro_code mro_eds_wave(const double *x, const double *y, const double *v, size_t n, double noise, int draws,
                           uint64_t seed, uint64_t stream, double *wavelength_nm, double *p, struct mro_eds_spectrum *s,
                           struct mro_eds_likelihood *l, struct mro_error *e)
{
    struct wave w = { 0 };
    float *room = NULL;
    double *shape = NULL;
    enum mro_code rc = MRO_OK;
    *wavelength_nm = *p = NAN;
    memset(s, 0, sizeof *s);
    memset(l, 0, sizeof *l);
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < n; i++) lo = fmin(lo, y[i]), hi = fmax(hi, y[i]);
    /* What rounding leaves of a constant is no change. */
    if (n < LEAST_POINTS || !(hi - lo > 1e-9 * fmax(fabs(lo), fabs(hi)))) return MRO_OK;
    rc = take_points(&w, x, y, v, n, e);
    if (rc == MRO_OK) rc = make_sums(&w, e);
    if (rc == MRO_OK) rc = make_families(&w, e);
    if (rc) goto done;
    room = malloc((3 * w.nf + w.waves.n + w.red.n) * sizeof *room);
    shape = malloc(w.nf * sizeof *shape);
    if (room == NULL || shape == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "the spectrum of a line does not fit in memory");
        goto done;
    }
    float *power = room + 2 * w.nf, *models = power + w.nf;
    size_t wave = 0, red = 0;
    double part = 0;
    periodogram(&w, w.y, room, power);
    const double observed =
        best_model(&w.waves, power, w.nf, models, &wave) - best_model(&w.red, power, w.nf, models, &red);
    keep_likelihood(&w, power, models, l);
    l->preference = observed;
    const size_t kind = wave / (w.lambdas * N_PARTS);
    const bool white = red == w.red.n - 1;
    const double lambda = refine(&w, kind, lambda_at(&w, wave / N_PARTS % w.lambdas), power, shape, &part);
    const struct draw d = { .memory = white ? 0 : memories[red / N_PARTS],
                            .part = white ? 0 : parts[red % N_PARTS],
                            .seed = seed,
                            .stream = stream };
    if (lambda * LEAST_PERIODS <= w.length) *wavelength_nm = lambda;
    rc = p_value(&w, &d, observed, draws, p, e);
    if (rc == MRO_OK) rc = fill_spectrum(&w, power, noise / ((double)n / (double)w.n), &d, shape, part, s, e);
done:
    free(shape);
    free(room);
    wave_free(&w);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/ctf.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_multimin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "mroscope/math/ctf.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

#define Q_LO 1.3 /* nm^-1: below, inelastic background and specimen shape dominate */
#define Q_HI 6.6 /* nm^-1 */
#define Q_STEP 0.02
#define SECTORS 12    /* of azimuth in [0, pi) */
#define MOST_BINS 266 /* (Q_HI - Q_LO) / Q_STEP, rounded up */
#define FLOOR 0.1     /* of sin^2 chi: zeros of real spectra are filled by noise and foil thickness */
#define KNOTS 0.9     /* nm^-1 between the bumps of the background model */
#define MOST_BUMPS 10
#define ASTIGMATIC_DEPTH_NM 8.0 /* of foil, held while strong astigmatism is looked for */
#define MIN_CORRELATION 0.6     /* of the radial mean */
#define MIN_SECTORS 0.40        /* of all sectors, which are noisier */
#define MIN_LEAD 0.12           /* over the best clearly different defocus */

struct profile {
    size_t n;                            /* radial bins in use */
    double q[MOST_BINS];                 /* their centres, nm^-1 */
    float log_power[SECTORS][MOST_BINS]; /* background removed */
    float mean[MOST_BINS];               /* the same of the mean over sectors */
    double square[SECTORS], mean_square; /* sums of squares of both */
    float basis[MOST_BUMPS][MOST_BINS];  /* orthonormal background */
    size_t bumps;
    double lambda, cs;
    float turn[MOST_BINS];  /* phase for each nm of underfocus, times -1; in half turns, */
    float fixed[MOST_BINS]; /* like the phase in focus */
    float wash[MOST_BINS];  /* of the depth that is in use, see wash_out */
};

static float product(const float *a, const float *b, size_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Takes the smooth background out of one radial line. */
static void detrend(const struct profile *p, float *v)
{
    float s[MOST_BUMPS] = { 0 };
    for (size_t b = 0; b < p->bumps; b++) s[b] = product(p->basis[b], v, p->n);
#pragma omp simd
    for (int i = 0; i < (int)p->n; i++) {
        float rest = v[i];
        for (int b = 0; b < MOST_BUMPS; b++) rest -= s[b] * p->basis[b][i]; /* beyond the last one both are 0 */
        v[i] = rest;
    }
}

static void make_basis(struct profile *p)
{
    const double first = p->q[0] - KNOTS;
    p->bumps = 0;
    for (size_t b = 0; b < MOST_BUMPS; b++) {
        const double c = first + KNOTS * (double)b;
        if (c > p->q[p->n - 1] + KNOTS) break;
        float *v = p->basis[b];
        for (size_t i = 0; i < p->n; i++) {
            const double d = (p->q[i] - c) / (0.75 * KNOTS);
            v[i] = (float)exp(-0.5 * d * d);
        }
        for (int k = 0; k < 2; k++) detrend(p, v); /* against the bumps before: Gram-Schmidt, and what rounding left */
        const float s = product(v, v, p->n);
        if (s < 1e-6f) {
            memset(v, 0, p->n * sizeof *v);
            break;
        }
        for (size_t i = 0; i < p->n; i++) v[i] /= sqrtf(s);
        p->bumps = b + 1;
    }
}

enum { CHUNKS = 16 };

/* Power and number of coefficients of a part of the spectrum, by sector and ring. */
struct part {
    double sum[SECTORS][MOST_BINS], count[SECTORS][MOST_BINS];
};

static bool make_profile(const struct mro_grid *g, const mro_c32 *spectrum, struct profile *p, int threads)
{
    const double room = fmin((double)(g->ny / 2) / g->ly, (double)(g->nx / 2) / g->lx);
    const double hi = fmin(Q_HI, room);
    p->n = hi > Q_LO ? (size_t)((hi - Q_LO) / Q_STEP) : 0;
    if (p->n > MOST_BINS) p->n = MOST_BINS;
    if (p->n < 100) return false; /* under 2 nm^-1 of spectrum shows no rings worth a fit */
    /* Where sectors begin: the direction (qy, qx) lies beyond angle a when qy cos a >= qx sin a. */
    double sine[SECTORS], cosine[SECTORS];
    for (size_t k = 0; k < SECTORS; k++) {
        sine[k] = sin(MRO_PI * (double)k / SECTORS);
        cosine[k] = cos(MRO_PI * (double)k / SECTORS);
    }
    /* Chunks of rows are summed apart and joined in order: one result at any number of threads. */
    struct part *parts = calloc(CHUNKS, sizeof *parts);
    if (parts == NULL) return false;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t c = 0; c < CHUNKS; c++)
        for (size_t y = g->ny * c / CHUNKS; y < g->ny * (c + 1) / CHUNKS; y++) {
            const double qy = mro_frequency(y, g->ny, g->ly);
            if (fabs(qy) >= hi) continue;
            /* Along the row the angle falls from a right one to 0, or rises to two where qy < 0. */
            size_t s = qy == 0 ? 0 : SECTORS / 2;
            for (size_t x = (size_t)(sqrt(fmax(0, Q_LO * Q_LO - qy * qy)) * g->lx); x <= g->nx / 2; x++) {
                const double qx = (double)x / g->lx, q2 = qy * qy + qx * qx;
                if (q2 < Q_LO * Q_LO) continue;
                const size_t i = (size_t)((sqrt(q2) - Q_LO) / Q_STEP);
                if (q2 >= hi * hi || i >= p->n) break;
                while (qy > 0 && s > 0 && qy * cosine[s] < qx * sine[s]) s--;
                while (qy < 0 && s + 1 < SECTORS && qy * cosine[s + 1] <= qx * sine[s + 1]) s++;
                const mro_c32 f = spectrum[y * g->nx + x];
                parts[c].sum[s][i] += (double)f.re * f.re + (double)f.im * f.im;
                parts[c].count[s][i] += 1;
            }
        }
    struct part *const all = parts;
    for (size_t c = 1; c < CHUNKS; c++)
        for (size_t s = 0; s < SECTORS; s++)
            for (size_t i = 0; i < p->n; i++) {
                all->sum[s][i] += parts[c].sum[s][i];
                all->count[s][i] += parts[c].count[s][i];
            }
    for (size_t i = 0; i < p->n; i++) {
        p->q[i] = Q_LO + ((double)i + 0.5) * Q_STEP;
        const double focused = mro_ctf_chi(p->q[i], 0, p->lambda, 0, p->cs, 0, 0) / MRO_PI;
        p->fixed[i] = (float)focused;
        p->turn[i] = (float)(focused - mro_ctf_chi(p->q[i], 0, p->lambda, 1, p->cs, 0, 0) / MRO_PI);
    }
    make_basis(p);
    double mean[MOST_BINS] = { 0 };
    for (size_t s = 0; s < SECTORS; s++) {
        for (size_t i = 0; i < p->n; i++) {
            double v = 0, c = 0; /* three bins together: few coefficients fall in one on a small image */
            for (size_t j = i ? i - 1 : 0; j <= i + 1 && j < p->n; j++) {
                v += all->sum[s][j];
                c += all->count[s][j];
            }
            const double power = log((v + 1e-30) / fmax(c, 1));
            p->log_power[s][i] = (float)power;
            mean[i] += power / SECTORS;
        }
        detrend(p, p->log_power[s]);
        p->square[s] = product(p->log_power[s], p->log_power[s], p->n);
    }
    for (size_t i = 0; i < p->n; i++) p->mean[i] = (float)mean[i];
    detrend(p, p->mean);
    p->mean_square = product(p->mean, p->mean, p->n);
    free(parts);
    return true;
}

/* cos(2 pi t), |t| < 2^21. */
static inline float cos_turns(float t)
{
    return mro_cos_turn(t - ((t + 12582912.0f) - 12582912.0f)); /* 1.5 2^23: rounds to a whole number */
}

/* |transfer|^2 averaged over the depth of the foil: sin^2 chi of a thin one, washed out where the phase turns by more
 * than pi through it, and reversed beyond. Source: integral of sin^2 over a uniform spread of defocus. The phase is in
 * half turns, so that twice the phase is in turns. */
static inline float wash_out(float q2, float lambda, float depth)
{
    const float turns = 0.5f * lambda * q2 * depth;
    return turns > 1e-4f ? cos_turns(turns - 0.25f) / (2 * (float)MRO_PI * turns) : 1;
}
static inline float depth_transfer(float half_turns, float wash) { return 0.5f * (1 - wash * cos_turns(half_turns)); }

static void set_depth(const struct profile *p, double depth, float *wash)
{
    for (size_t i = 0; i < p->n; i++) wash[i] = wash_out((float)(p->q[i] * p->q[i]), (float)p->lambda, (float)depth);
}

/* One line of the model at `defocus`, its background removed: m. Returns its square. Near focus little is left of it,
 * which is why the background is taken out of the line and not of the square. */
static float model_line(const struct profile *p, const float *wash, float defocus, float *m)
{
#pragma omp simd
    for (int i = 0; i < (int)p->n; i++)
        m[i] = mro_ln(depth_transfer(p->fixed[i] - p->turn[i] * defocus, wash[i]) + (float)FLOOR);
    detrend(p, m);
    return product(m, m, p->n);
}

static double sector_defocus(size_t sector, double defocus, double astigmatism, double azimuth)
{
    return defocus + astigmatism * cos(2 * (MRO_PI * ((double)sector + 0.5) / SECTORS - azimuth));
}

/* Correlation of the model with the mean profile. */
static double mean_correlation(const struct profile *p, const float *wash, double defocus)
{
    float m[MOST_BINS];
    const double mm = (double)model_line(p, wash, (float)defocus, m), mr = (double)product(m, p->mean, p->n);
    return mr / sqrt(mm * p->mean_square + 1e-30);
}

/* The products of the model with itself and with each sector, of the depth in use, at every GRAIN of defocus from
 * `from` nm on: fits ask for the same again and again. Filled when first asked for; between grains they are
 * interpolated by cubics, to some 1e-6 of themselves. */
#define GRAIN_NM 0.25
#define GRAINS_BEYOND_NM 60.0 /* the range of defocus that is looked through: what astigmatism adds */
struct grain {
    bool known;
    float square, with[SECTORS];
};
struct grains {
    const struct profile *p;
    double from;
    size_t n;
    struct grain *v;
};

static struct grain *grain(const struct grains *g, size_t i)
{
    struct grain *v = g->v + i;
    if (!v->known) {
        float m[MOST_BINS];
        v->square = model_line(g->p, g->p->wash, (float)(g->from + GRAIN_NM * (double)i), m);
        for (size_t s = 0; s < SECTORS; s++) v->with[s] = product(m, g->p->log_power[s], g->p->n);
        v->known = true;
    }
    return v;
}

/* Correlation of the model with every sector. Beyond the grains it is that of their ends. */
static double correlation(const struct grains *g, double defocus, double astigmatism, double azimuth)
{
    double mm = 0, rr = 0, mr = 0;
    for (size_t s = 0; s < SECTORS; s++) {
        const double place = (sector_defocus(s, defocus, astigmatism, azimuth) - g->from) / GRAIN_NM;
        const double at = fmin(fmax(place, 1), (double)(g->n - 3)), t = at - floor(at);
        const double weight[4] = { -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2,
                                   -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6 };
        for (size_t k = 0; k < 4; k++) {
            const struct grain *v = grain(g, (size_t)at - 1 + k);
            mm += weight[k] * (double)v->square;
            mr += weight[k] * (double)v->with[s];
        }
        rr += g->p->square[s];
    }
    return mr / sqrt(mm * rr + 1e-30);
}

/* Without Cs, under- and overfocus of one size make the same rings: no reason to doubt either. */
static bool same_rings(const struct profile *p, double a, double b)
{
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < p->n; i++) {
        const double s = sin(mro_ctf_chi(p->q[i], 0, p->lambda, a, p->cs, 0, 0));
        const double t = sin(mro_ctf_chi(p->q[i], 0, p->lambda, b, p->cs, 0, 0));
        aa += (s * s - 0.5) * (s * s - 0.5);
        bb += (t * t - 0.5) * (t * t - 0.5);
        ab += (s * s - 0.5) * (t * t - 0.5);
    }
    return ab > 0.8 * sqrt(aa * bb);
}

/* For the simplex: x = defocus, astigmatism times cos and sin of twice its azimuth. */
static double misfit(const gsl_vector *x, void *grains)
{
    const double a = gsl_vector_get(x, 1), b = gsl_vector_get(x, 2);
    return -correlation(grains, gsl_vector_get(x, 0), hypot(a, b), 0.5 * atan2(b, a));
}

/* How well astigmatic rings fit, on half the sectors and bins: a quick look. The
 * profiles have no background left, so the model need not be rid of its own. */
static double glance(const struct profile *p, double defocus, double astigmatism, double azimuth)
{
    float mm = 0, rr = 0, mr = 0;
    for (size_t s = 0; s < SECTORS; s += 2) {
        const float df = (float)sector_defocus(s, defocus, astigmatism, azimuth), *r = p->log_power[s];
#pragma omp simd reduction(+ : mm, rr, mr)
        for (int i = 0; i < (int)p->n; i += 2) {
            const float m = -p->wash[i] * cos_turns(p->fixed[i] - p->turn[i] * df);
            mm += m * m;
            rr += r[i] * r[i];
            mr += m * r[i];
        }
    }
    return (double)mr / sqrt((double)mm * (double)rr + 1e-30);
}

enum { AMPLITUDES = 2, AZIMUTHS = 6, ASTIGMATISMS = AMPLITUDES * AZIMUTHS };

/* Strong astigmatism washes the rings out of the mean over azimuth. Looks for a defocus and an astigmatism that stand
 * out of all others; gives the correlation over all sectors and its lead over the best at another defocus. */
static bool find_astigmatic(const struct grains *g, double reach, double apart, double start[3], double *correlated,
                            double *runner_up, int threads)
{
    const struct profile *p = g->p;
    const size_t steps = (size_t)reach + 1; /* of 2 nm */
    double *all = malloc(steps * ASTIGMATISMS * sizeof *all);
    if (all == NULL) return false;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < steps * ASTIGMATISMS; k++) {
        const size_t a = k / steps;
        all[k] = glance(p, reach - 2 * (double)(k % steps), 6.0 * (double)(1 + a / AZIMUTHS),
                        MRO_PI * (double)(a % AZIMUTHS) / AZIMUTHS);
    }
    size_t top = 0, second = 0;
    for (size_t k = 1; k < steps * ASTIGMATISMS; k++)
        if (all[k] > all[top]) top = k;
    double most = -1;
    for (size_t k = 0; k < steps * ASTIGMATISMS; k++) {
        const double away = 2 * fabs((double)(k % steps) - (double)(top % steps));
        if (away > apart && all[k] > most) {
            most = all[k];
            second = k;
        }
    }
    start[0] = reach - 2 * (double)(top % steps);
    start[1] = 6.0 * (double)(1 + top / steps / AZIMUTHS);
    start[2] = MRO_PI * (double)(top / steps % AZIMUTHS) / AZIMUTHS;
    *correlated = correlation(g, start[0], start[1], start[2]);
    *runner_up = correlation(g, reach - 2 * (double)(second % steps), 6.0 * (double)(1 + second / steps / AZIMUTHS),
                             MRO_PI * (double)(second / steps % AZIMUTHS) / AZIMUTHS);
    free(all);
    return true;
}

/* Where the simplex ends that starts at a defocus and an astigmatism times cos and sin of twice its azimuth. */
enum { STARTS = 6 };
struct simplex_end {
    bool ready; /* false: out of memory */
    double misfit, x[3];
};
static struct simplex_end simplex_from(struct grains *g, double defocus, const double astigmatism[2])
{
    struct simplex_end end = { .misfit = INFINITY };
    gsl_multimin_fminimizer *simplex = gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, 3);
    gsl_vector *x = gsl_vector_alloc(3), *size = gsl_vector_alloc(3);
    end.ready = simplex && x && size;
    if (end.ready) {
        gsl_multimin_function f = { misfit, 3, g };
        gsl_vector_set(x, 0, defocus);
        gsl_vector_set(x, 1, astigmatism[0]);
        gsl_vector_set(x, 2, astigmatism[1]);
        gsl_vector_set_all(size, 4.0);
        if (gsl_multimin_fminimizer_set(simplex, &f, x, size) == GSL_SUCCESS) {
            for (int i = 0; i < 120; i++) {
                if (gsl_multimin_fminimizer_iterate(simplex) != GSL_SUCCESS) break;
                if (gsl_multimin_fminimizer_size(simplex) < 0.05) break;
            }
            end.misfit = simplex->fval;
            for (size_t i = 0; i < 3; i++) end.x[i] = gsl_vector_get(simplex->x, i);
        }
    }
    gsl_multimin_fminimizer_free(simplex);
    gsl_vector_free(x);
    gsl_vector_free(size);
    return end;
}

enum mro_code mro_ctf_fit_rings(const struct mro_grid *g, const mro_c32 *spectrum, double kv, double cs_mm, int threads,
                                struct mro_ctf_fit *fit, struct mro_error *e)
{
    memset(fit, 0, sizeof *fit);
    struct profile *p = calloc(1, sizeof *p);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    p->lambda = fit->lambda_nm = mro_wavelength_nm(kv);
    p->cs = fit->cs_nm = cs_mm * 1e6;
    if (!make_profile(g, spectrum, p, threads)) {
        free(p);
        return MRO_OK;
    }
    /* A step of 1 nm turns the phase at 6.6 nm^-1 by 0.3 rad: no maximum is missed. The range reaches past the
     * aberration-free focus of uncorrected lenses on one side and the same in overfocus on the other. */
    const double reach = 150 + fmax(0, p->cs * p->lambda * p->lambda * 25) * 2;
    static const double depths[] = { 4, 10, 18 };
    enum { DEPTHS = sizeof depths / sizeof *depths };
    double best = -1, at = 0, depth = depths[0];
    float wash[DEPTHS][MOST_BINS];
    for (int k = 0; k < DEPTHS; k++) set_depth(p, depths[k], wash[k]);
    const size_t steps = 2 * (size_t)reach + 1;
    double *all = malloc(DEPTHS * steps * sizeof *all);
    struct grains grains = { p, -reach - GRAINS_BEYOND_NM, (size_t)(2 * (reach + GRAINS_BEYOND_NM) / GRAIN_NM), NULL };
    grains.v = calloc(grains.n, sizeof *grains.v);
    if (all == NULL || grains.v == NULL) {
        free(all);
        free(grains.v);
        free(p);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < DEPTHS * steps; k++)
        all[k] = mean_correlation(p, wash[k / steps], reach - (double)(k % steps));
    for (size_t k = 0; k < DEPTHS * steps; k++)
        if (all[k] > best + 1e-9) { /* where both signs fit alike, Cs = 0, it is called underfocus */
            best = all[k];
            at = reach - (double)(k % steps);
            depth = depths[k / steps];
        }
    const double period = 1 / (p->lambda * 25); /* defocus between equal phases at 5 nm^-1: 16 nm at 200 kV */
    double second = -1;
    for (size_t k = 0; k < DEPTHS * steps; k++) {
        const double df = reach - (double)(k % steps);
        if (all[k] > second && fabs(df - at) > 0.75 * period && !same_rings(p, df, at)) second = all[k];
    }
    free(all);
    for (double t = 2; t <= 24; t += 2) {
        set_depth(p, t, p->wash);
        const double c = mean_correlation(p, p->wash, at);
        if (c > best) {
            best = c;
            depth = t;
        }
    }
    fit->depth_nm = depth;
    fit->defocus_nm = at;
    fit->correlation = best;
    fit->runner_up = second;

    fit->rings = best >= MIN_CORRELATION && best - second >= MIN_LEAD;
    double astigmatic[3] = { at, 0, 0 };
    set_depth(p, fit->rings ? depth : ASTIGMATIC_DEPTH_NM, p->wash);
    if (!fit->rings && cs_mm > 0.1 &&
        find_astigmatic(&grains, reach, 2 * period, astigmatic, &fit->correlation, &fit->runner_up, threads)) {
        fit->rings = fit->correlation >= MIN_SECTORS && fit->correlation - fit->runner_up >= MIN_LEAD;
        at = astigmatic[0];
        fit->depth_nm = ASTIGMATIC_DEPTH_NM;
    }
    if (!fit->rings) {
        free(grains.v);
        free(p);
        return MRO_OK;
    }

    /* Only the best start is kept; the round one is among them, so astigmatism has to earn its place. */
    const double start[STARTS][2] = {
        { 0, 0 },  { 15, 0 },  { -15, 0 },
        { 0, 15 }, { 0, -15 }, { astigmatic[1] * cos(2 * astigmatic[2]), astigmatic[1] * sin(2 * astigmatic[2]) }
    };
    struct simplex_end end[STARTS];
    mro_gsl_errors_hold();
    for (int k = 0; k < STARTS; k++) end[k] = simplex_from(&grains, at, start[k]);
    mro_gsl_errors_give_back();
    free(grains.v);
    free(p);
    double least = 0;
    for (int k = 0; k < STARTS; k++) {
        if (!end[k].ready) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        if (!(end[k].misfit < least)) continue;
        least = end[k].misfit;
        fit->defocus_nm = end[k].x[0];
        fit->astigmatism_nm = hypot(end[k].x[1], end[k].x[2]);
        fit->azimuth = 0.5 * atan2(end[k].x[2], end[k].x[1]);
    }
    return MRO_OK;
}

double mro_ctf_fit_chi(const struct mro_ctf_fit *fit, double qy, double qx)
{
    return mro_ctf_chi(sqrt(qy * qy + qx * qx), atan2(qy, qx), fit->lambda_nm, fit->defocus_nm, fit->cs_nm,
                       fit->astigmatism_nm, fit->azimuth);
}

void mro_ctf_fit_row(const struct mro_ctf_fit *fit, double qy, double length, int first, int n, float *transfer,
                     float *sign)
{
    const float lambda = (float)fit->lambda_nm, defocus = (float)fit->defocus_nm, depth = (float)fit->depth_nm;
    const float bend = (float)(0.5 * fit->cs_nm * fit->lambda_nm), y = (float)qy, per = (float)(1 / length);
    const float along = (float)(fit->lambda_nm * fit->astigmatism_nm * cos(2 * fit->azimuth));
    const float across = (float)(fit->lambda_nm * fit->astigmatism_nm * sin(2 * fit->azimuth));
#pragma omp simd
    for (int i = 0; i < n; i++) {
        const float x = (float)(first + i) * per, q2 = y * y + x * x, a = lambda * q2;
        /* chi in half turns; the cosine of twice the angle between q and the astigmatism, by its addition theorem. */
        const float chi = a * (bend * a - defocus) - along * (x * x - y * y) - across * 2 * x * y;
        transfer[i] = depth_transfer(chi, wash_out(q2, lambda, depth));
        sign[i] = cos_turns(0.5f * chi - 0.25f) < 0 ? -1.0f : 1.0f;
    }
}

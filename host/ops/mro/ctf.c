/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/mro/ctf.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_multimin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/ctf.h"
#include "mroscope/math/elementary.h"
#include "mroscope/math/grid.h"

#define Q_LO 1.3 /* nm^-1: below, inelastic background and specimen shape dominate */
#define Q_HI 6.6 /* nm^-1 */
#define Q_STEP 0.02
#define SECTORS 12     /* of azimuth in [0, pi) */
#define MOST_BINS 320  /* (Q_HI - Q_LO) / Q_STEP, rounded up to whole blocks */
#define BINS_LEAST 100 /* under 2 nm^-1 of spectrum shows no rings worth a fit */
#define FLOOR 0.1      /* of sin^2 chi: zeros of real spectra are filled by noise and foil thickness */
#define KNOTS 0.9      /* nm^-1 between the bumps of the background model */
#define MOST_BUMPS 8
#define ASTIGMATIC_DEPTH_NM 8.0 /* of foil, held while strong astigmatism is looked for */
#define MIN_CORRELATION 0.6     /* of the radial mean */
#define MIN_SECTORS 0.40        /* of all sectors, which are noisier */
#define MIN_LEAD 0.12           /* over the best clearly different defocus */

static const double depths[] = { 4, 10, 18 }; /* of foil, that every defocus is tried with */
enum { DEPTHS = sizeof depths / sizeof *depths };

struct mro_ctf_rings {
    size_t n, wide;                     /* radial bins in use; in whole blocks: lines are 0 beyond n */
    double q[MOST_BINS];                /* their centres, nm^-1 */
    float basis[MOST_BUMPS][MOST_BINS]; /* orthonormal background */
    size_t bumps;
    double lambda, cs;
    float turn[MOST_BINS];  /* phase for each nm of underfocus, times -1; in half turns, */
    float fixed[MOST_BINS]; /* like the phase in focus */
    double reach;           /* of defocus, to either side, nm */
    size_t steps;           /* of 1 nm, from `reach` down */
    float *line;            /* [DEPTHS][steps][wide]: models, background removed */
    float *square;          /* [DEPTHS][steps]: their sums of squares */
    int8_t *coarse; /* [DEPTHS][steps][wide]: the same lines in units of their own, rounded: a quarter of the memory */
    float *unit;    /* [DEPTHS][steps]: those units, over the length of the line */
    double twice[SECTORS][2]; /* cosine and sine of twice the middle of each sector */
};

struct profile {
    const struct mro_ctf_rings *rings;
    float log_power[SECTORS][MOST_BINS]; /* background removed */
    float mean[MOST_BINS];               /* the same of the mean over sectors */
    double square[SECTORS], mean_square; /* sums of squares of both */
    float wash[MOST_BINS];               /* of the depth that is in use, see wash_out */
};

/* Of two lines in whole blocks. Two sums, which need not wait for each other. */
enum { LANES = 16, BLOCK = 4 * LANES };
static inline float product(const float *a, const float *b, size_t wide)
{
    float even[LANES] = { 0 }, odd[LANES] = { 0 };
    for (size_t i = 0; i < wide; i += 2 * LANES) {
#pragma omp simd
        for (size_t k = 0; k < LANES; k++) even[k] += a[i + k] * b[i + k];
#pragma omp simd
        for (size_t k = 0; k < LANES; k++) odd[k] += a[i + LANES + k] * b[i + LANES + k];
    }
#pragma omp simd
    for (size_t k = 0; k < LANES; k++) even[k] += odd[k];
    for (size_t half = LANES / 2; half > 0; half /= 2) /* as compilers do not: they add one number after the other */
        for (size_t k = 0; k < half; k++) even[k] += even[half + k];
    return even[0];
}

/* Takes the smooth background out of one radial line. */
static void detrend(const struct mro_ctf_rings *p, float *v)
{
    float s[MOST_BUMPS] = { 0 };
    for (size_t b = 0; b < p->bumps; b++) s[b] = product(p->basis[b], v, p->wide);
#pragma omp simd
    for (int i = 0; i < (int)p->n; i++) {
        float rest = v[i];
        for (int b = 0; b < MOST_BUMPS; b++) rest -= s[b] * p->basis[b][i]; /* beyond the last one both are 0 */
        v[i] = rest;
    }
}

static void make_basis(struct mro_ctf_rings *p)
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
        const float s = product(v, v, p->wide);
        if (s < 1e-6f) {
            memset(v, 0, p->n * sizeof *v);
            break;
        }
        for (size_t i = 0; i < p->n; i++) v[i] /= sqrtf(s);
        p->bumps = b + 1;
    }
}

enum { CHUNKS = 16 };
#define CHUNK_ROWS 64 /* at least, so that what is summed apart is not most of the work */

/* Power and number of coefficients. */
struct sums {
    double power, count;
};

/* Those of a part of the spectrum, by sector and ring. */
struct part {
    struct sums of[SECTORS][MOST_BINS];
};

/* Where sectors begin: the direction (qy, qx) lies beyond angle a when qy cos a >= qx sin a. */
struct sectors {
    double sine[SECTORS], cosine[SECTORS];
};

/* Whether a place of a row is before the border of its sector, as `up` and `across` say. */
static bool within(double qy, double up, double across) { return qy > 0 ? up >= across : up > across; }

/* Adds one row of the spectrum (coefficients from qx = 0 on) to its part. `ring` and `power`: room for half a row. */
static void add_row(const struct mro_ctf_rings *rings, const struct mro_grid *g, const mro_c32 *row, double qy,
                    double hi, const struct sectors *at, int *ring, double *power, struct part *to)
{
    const double per = 1 / g->lx, per_step = 1 / Q_STEP, lo2 = Q_LO * Q_LO, hi2 = hi * hi;
    const int n = (int)rings->n;
    int first = (int)(sqrt(fmax(0, lo2 - qy * qy)) * g->lx);
    int end = (int)fmin(sqrt(hi2 - qy * qy) * g->lx + 1, (double)(g->nx / 2)) + 1;
#pragma omp simd
    for (int x = first; x < end; x++) {
        const double qx = x * per, q2 = qy * qy + qx * qx;
        const int i = (int)((sqrt(q2) - Q_LO) * per_step);
        ring[x] = q2 < lo2 ? -1 : q2 >= hi2 ? n : i;
        power[x] = (double)row[x].re * (double)row[x].re + (double)row[x].im * (double)row[x].im;
    }
    while (first < end && ring[first] < 0) first++;
    while (first < end && ring[end - 1] >= n) end--;
    /* Along the row the angle falls from a right one to 0, or rises to two where qy < 0: sector by sector. */
    const bool falls = qy > 0;
    for (size_t s = qy == 0 ? 0 : SECTORS / 2; first < end; s = falls ? s - 1 : s + 1) {
        const size_t border = falls ? s : s + 1;
        int last = end;
        if (qy != 0 && border > 0 && border < SECTORS) {
            const double up = qy * at->cosine[border], across = at->sine[border] * per;
            last = (int)fmin(fmax(up / across, first), end);
            while (last < end && within(qy, up, last * across)) last++;
            while (last > first && !within(qy, up, (last - 1) * across)) last--;
        }
        struct sums *sum = to->of[s];
        for (int x = first; x < last; x++) {
            sum[ring[x]].power += power[x];
            sum[ring[x]].count += 1;
        }
        first = last;
    }
}

/* How far rings can be seen on a grid, nm^-1; and the radial bins up to there. */
static double seen_to(const struct mro_grid *g)
{
    return fmin(Q_HI, fmin((double)(g->ny / 2) / g->ly, (double)(g->nx / 2) / g->lx));
}
static size_t bins_to(double hi)
{
    const size_t n = hi > Q_LO ? (size_t)((hi - Q_LO) / Q_STEP) : 0;
    return n < MOST_BINS ? n : MOST_BINS;
}

/* Fills in what is measured. false: out of memory. */
static bool fill_profile(const struct mro_grid *g, const mro_c32 *spectrum, struct profile *p, int threads)
{
    const struct mro_ctf_rings *rings = p->rings;
    const double hi = seen_to(g);
    struct sectors at;
    for (size_t k = 0; k < SECTORS; k++) {
        at.sine[k] = sin(MRO_PI * (double)k / SECTORS);
        at.cosine[k] = cos(MRO_PI * (double)k / SECTORS);
    }
    /* Chunks of rows are summed apart and joined in order: one result at any number of threads. */
    const size_t chunks = g->ny < 2 * CHUNK_ROWS ? 1 : g->ny < CHUNKS * CHUNK_ROWS ? g->ny / CHUNK_ROWS : CHUNKS;
    struct part *parts = calloc(chunks, sizeof *parts);
    bool failed = parts == NULL;
#pragma omp parallel num_threads(mro_team(threads, 1.0 * (double)(g->ny * g->nx))) if (!failed)
    {
        double *power = parts ? malloc((g->nx / 2 + 1) * sizeof *power) : NULL;
        int *ring = malloc((g->nx / 2 + 1) * sizeof *ring);
        if (power == NULL || ring == NULL) mro_raise(&failed);
#pragma omp for schedule(dynamic)
        for (size_t c = 0; c < chunks; c++)
            for (size_t y = g->ny * c / chunks; y < g->ny * (c + 1) / chunks; y++) {
                const double qy = mro_frequency(y, g->ny, g->ly);
                if (power == NULL || ring == NULL || fabs(qy) >= hi) continue;
                add_row(rings, g, spectrum + y * g->nx, qy, hi, &at, ring, power, parts + c);
            }
        free(power);
        free(ring);
    }
    if (failed) {
        free(parts);
        return false;
    }
    for (size_t c = 1; c < chunks; c++)
        for (size_t s = 0; s < SECTORS; s++)
            for (size_t i = 0; i < rings->n; i++) {
                parts->of[s][i].power += parts[c].of[s][i].power;
                parts->of[s][i].count += parts[c].of[s][i].count;
            }
    double mean[MOST_BINS] = { 0 };
    for (size_t s = 0; s < SECTORS; s++) {
        double power[MOST_BINS];
        for (size_t i = 0; i < rings->n; i++) {
            double v = 0, c = 0; /* three bins together: few coefficients fall in one on a small image */
            for (size_t j = i ? i - 1 : 0; j <= i + 1 && j < rings->n; j++) {
                v += parts->of[s][j].power;
                c += parts->of[s][j].count;
            }
            power[i] = (v + 1e-30) / fmax(c, 1);
        }
#pragma omp simd
        for (int i = 0; i < (int)rings->n; i++) {
            const double log_power = mro_ln64(power[i]);
            p->log_power[s][i] = (float)log_power;
            mean[i] += log_power / SECTORS;
        }
        detrend(rings, p->log_power[s]);
        p->square[s] = product(p->log_power[s], p->log_power[s], rings->wide);
    }
    for (size_t i = 0; i < rings->n; i++) p->mean[i] = (float)mean[i];
    detrend(rings, p->mean);
    p->mean_square = product(p->mean, p->mean, rings->wide);
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

static void set_depth(const struct mro_ctf_rings *p, double depth, float *wash)
{
    for (size_t i = 0; i < p->n; i++) wash[i] = wash_out((float)(p->q[i] * p->q[i]), (float)p->lambda, (float)depth);
}

/* One line of the model at `defocus`, its background removed: m. Returns its square. Near focus little is left of it,
 * which is why the background is taken out of the line and not of the square. */
static float model_line(const struct mro_ctf_rings *p, const float *wash, float defocus, float *m)
{
#pragma omp simd
    for (int i = 0; i < (int)p->n; i++)
        m[i] = mro_ln(depth_transfer(p->fixed[i] - p->turn[i] * defocus, wash[i]) + (float)FLOOR);
    for (size_t i = p->n; i < p->wide; i++) m[i] = 0;
    detrend(p, m);
    return product(m, m, p->wide);
}

/* `astigmatism`: times cosine and sine of twice its azimuth. */
static double sector_defocus(const struct mro_ctf_rings *p, size_t sector, double defocus, const double astigmatism[2])
{
    return defocus + astigmatism[0] * p->twice[sector][0] + astigmatism[1] * p->twice[sector][1];
}

/* Correlation of a model, of which its square is given, with the mean profile. */
static double mean_correlation(const struct profile *p, const float *m, float square)
{
    const double mm = (double)square, mr = (double)product(m, p->mean, p->rings->wide);
    return mr / sqrt(mm * p->mean_square + 1e-30);
}

/* The product of a coarse line and a rounded profile, in the units of both. */
static int32_t coarse_product(const int8_t *line, const int16_t *profile, size_t wide)
{
    int32_t sum = 0; /* below 127 * 32767 * MOST_BINS */
    for (size_t i = 0; i < wide / BLOCK * BLOCK; i++) sum += line[i] * profile[i];
    return sum;
}

/* Rounds line k. */
static void make_coarse(struct mro_ctf_rings *p, size_t k)
{
    const float *line = p->line + k * p->wide;
    float most = 1e-30f;
    for (size_t i = 0; i < p->n; i++) most = fmaxf(most, fabsf(line[i]));
    for (size_t i = 0; i < p->wide; i++) p->coarse[k * p->wide + i] = (int8_t)lrintf(line[i] / most * INT8_MAX);
    p->unit[k] = most / INT8_MAX / sqrtf(p->square[k] + 1e-30f);
}

static bool rings_new(struct mro_ctf_rings **out, double kv, double cs_mm, size_t bins, int threads)
{
    struct mro_ctf_rings *p = *out = calloc(1, sizeof *p);
    float wash[DEPTHS][MOST_BINS];
    if (p == NULL) return false;
    p->n = bins;
    p->wide = (bins + BLOCK - 1) / BLOCK * BLOCK;
    p->lambda = mro_wavelength_nm(kv);
    p->cs = cs_mm * 1e6;
    for (size_t i = 0; i < p->n; i++) {
        p->q[i] = Q_LO + ((double)i + 0.5) * Q_STEP;
        const double focused = mro_ctf_chi(p->q[i], 0, p->lambda, 0, p->cs, 0, 0) / MRO_PI;
        p->fixed[i] = (float)focused;
        p->turn[i] = (float)(focused - mro_ctf_chi(p->q[i], 0, p->lambda, 1, p->cs, 0, 0) / MRO_PI);
    }
    make_basis(p);
    for (size_t s = 0; s < SECTORS; s++) {
        p->twice[s][0] = cos(2 * MRO_PI * ((double)s + 0.5) / SECTORS);
        p->twice[s][1] = sin(2 * MRO_PI * ((double)s + 0.5) / SECTORS);
    }
    /* A step of 1 nm turns the phase at 6.6 nm^-1 by 0.3 rad: no maximum is missed. The range reaches past the
     * aberration-free focus of uncorrected lenses on one side and the same in overfocus on the other. */
    p->reach = 150 + fmax(0, p->cs * p->lambda * p->lambda * 25) * 2;
    p->steps = 2 * (size_t)p->reach + 1;
    p->line = malloc(DEPTHS * p->steps * p->wide * sizeof *p->line);
    p->square = malloc(DEPTHS * p->steps * sizeof *p->square);
    p->coarse = malloc(DEPTHS * p->steps * p->wide);
    p->unit = malloc(DEPTHS * p->steps * sizeof *p->unit);
    if (!p->line || !p->square || !p->coarse || !p->unit) {
        mro_ctf_rings_free(p);
        *out = NULL;
        return false;
    }
    for (int k = 0; k < DEPTHS; k++) set_depth(p, depths[k], wash[k]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < DEPTHS * p->steps; k++) {
        p->square[k] =
            model_line(p, wash[k / p->steps], (float)(p->reach - (double)(k % p->steps)), p->line + k * p->wide);
        make_coarse(p, k);
    }
    return true;
}

enum mro_code mro_ctf_rings_new(struct mro_ctf_rings **rings, double kv, double cs_mm, int threads, struct mro_error *e)
{
    return rings_new(rings, kv, cs_mm, bins_to(Q_HI), threads) ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory");
}

void mro_ctf_rings_free(struct mro_ctf_rings *p)
{
    if (p == NULL) return;
    free(p->line);
    free(p->square);
    free(p->coarse);
    free(p->unit);
    free(p);
}

/* The products of the model with itself and with each sector, of the depth in use, at every GRAIN of defocus from
 * `from` nm on: fits ask for the same again and again. Those where they begin are made beforehand, the others when
 * first asked for; between grains they are interpolated by cubics, to some 1e-6 of themselves. */
#define GRAIN_NM 0.25
#define GRAINS_BEYOND_NM 60.0 /* the range of defocus that is looked through: what astigmatism adds */
#define GRAINS_AROUND_NM 24.0 /* of the start: what fits ask for nearly always */
struct grain {
    float square, with[SECTORS];
};
struct grains {
    const struct profile *p;
    double from;
    size_t n;
    struct grain *v;
    bool *known; /* which of them are made */
};

static void make_grain(const struct grains *g, size_t i)
{
    const struct mro_ctf_rings *rings = g->p->rings;
    struct grain *v = g->v + i;
    float m[MOST_BINS];
    v->square = model_line(rings, g->p->wash, (float)(g->from + GRAIN_NM * (double)i), m);
    for (size_t s = 0; s < SECTORS; s++) v->with[s] = product(m, g->p->log_power[s], rings->wide);
    g->known[i] = true;
}

static void make_grains_around(const struct grains *g, double defocus, int threads)
{
    const double around = GRAINS_AROUND_NM / GRAIN_NM, at = (defocus - g->from) / GRAIN_NM;
    const size_t first = (size_t)fmin(fmax(at - around, 0), (double)g->n),
                 end = (size_t)fmin(fmax(at + around, 0), (double)g->n);
#pragma omp parallel for schedule(static) num_threads(mro_team(threads, 700.0 * (double)(end - first)))
    for (size_t i = first; i < end; i++) make_grain(g, i);
}

/* Correlation of the model with every sector. Beyond the grains it is that of their ends. */
static double correlation(const struct grains *g, double defocus, const double astigmatism[2])
{
    const double most = (double)(g->n - 3);
    double mm = 0, rr = 0, mr = 0;
    for (size_t s = 0; s < SECTORS; s++) {
        const double place = (sector_defocus(g->p->rings, s, defocus, astigmatism) - g->from) / GRAIN_NM;
        const double at = place > 1 ? (place < most ? place : most) : 1;
        const size_t before = (size_t)at;
        const double t = at - (double)before;
        const double weight[4] = { -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2,
                                   -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6 };
        for (size_t k = 0; k < 4; k++) {
            const struct grain *v = g->v + before - 1 + k;
            if (!g->known[before - 1 + k]) make_grain(g, before - 1 + k);
            mm += weight[k] * (double)v->square;
            mr += weight[k] * (double)v->with[s];
        }
        rr += g->p->square[s];
    }
    return mr / sqrt(mm * rr + 1e-30);
}

/* Rings at a defocus: sin^2 chi - 1/2. */
static void rings_at(const struct mro_ctf_rings *p, double defocus, double *v)
{
#pragma omp simd
    for (int i = 0; i < (int)p->n; i++) {
        const double a = p->lambda * p->q[i] * p->q[i], half_turns = a * (0.5 * p->cs * p->lambda * a - defocus);
        v[i] = -0.5 * mro_cos_turns64(half_turns);
    }
}

/* Without Cs, under- and overfocus of one size make the same rings: no reason to doubt either. */
static bool same_rings(const double *a, const double *b, size_t n)
{
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        ab += a[i] * b[i];
    }
    return ab > 0.8 * sqrt(aa * bb);
}

/* For the simplex: x = defocus, astigmatism times cos and sin of twice its azimuth. */
static double misfit(const gsl_vector *x, void *grains)
{
    const double astigmatism[2] = { gsl_vector_get(x, 1), gsl_vector_get(x, 2) };
    return -correlation(grains, gsl_vector_get(x, 0), astigmatism);
}

/* How well astigmatic rings fit, on half the sectors and bins: a quick look. The
 * profiles have no background left, so the model need not be rid of its own. */
static double glance(const struct profile *p, double defocus, const double astigmatism[2])
{
    const struct mro_ctf_rings *rings = p->rings;
    float mm = 0, rr = 0, mr = 0;
    for (size_t s = 0; s < SECTORS; s += 2) {
        const float df = (float)sector_defocus(rings, s, defocus, astigmatism), *r = p->log_power[s];
#pragma omp simd reduction(+ : mm, rr, mr)
        for (int i = 0; i < (int)rings->n; i += 2) {
            const float m = -p->wash[i] * cos_turns(rings->fixed[i] - rings->turn[i] * df);
            mm += m * m;
            rr += r[i] * r[i];
            mr += m * r[i];
        }
    }
    return (double)mr / sqrt((double)mm * (double)rr + 1e-30);
}

enum { AMPLITUDES = 2, AZIMUTHS = 6, ASTIGMATISMS = AMPLITUDES * AZIMUTHS };

/* One of the defocuses and astigmatisms that are looked through: the defocus, and the astigmatism times cosine and sine
 * of twice its azimuth. `steps`: of defocus, by 2 nm. */
static void glanced(const struct mro_ctf_rings *p, size_t k, size_t steps, double lens[3])
{
    const size_t a = k / steps;
    const double amplitude = 6.0 * (double)(1 + a / AZIMUTHS), twice = 2 * MRO_PI * (double)(a % AZIMUTHS) / AZIMUTHS;
    lens[0] = p->reach - 2 * (double)(k % steps);
    lens[1] = amplitude * cos(twice);
    lens[2] = amplitude * sin(twice);
}

/* Strong astigmatism washes the rings out of the mean over azimuth. Looks for a defocus and an astigmatism that stand
 * out of all others, `start`; gives the correlation over all sectors and its lead over the best at another defocus. */
static bool find_astigmatic(const struct grains *g, double apart, double start[3], double *correlated,
                            double *runner_up, int threads)
{
    const struct profile *p = g->p;
    const size_t steps = (size_t)p->rings->reach + 1; /* of 2 nm */
    double *all = malloc(steps * ASTIGMATISMS * sizeof *all);
    if (all == NULL) return false;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < steps * ASTIGMATISMS; k++) {
        double lens[3];
        glanced(p->rings, k, steps, lens);
        all[k] = glance(p, lens[0], lens + 1);
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
    double other[3];
    glanced(p->rings, top, steps, start);
    glanced(p->rings, second, steps, other);
    *correlated = correlation(g, start[0], start + 1);
    *runner_up = correlation(g, other[0], other + 1);
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

/* Defocus between equal phases at 5 nm^-1: 16 nm at 200 kV. */
static double period_of(const struct mro_ctf_rings *p) { return 1 / (p->lambda * 25); }

/* Correlation of line k with the mean profile. */
static double line_correlation(const struct profile *p, size_t k)
{
    return mean_correlation(p, p->rings->line + k * p->rings->wide, p->rings->square[k]);
}

/* The best defocus and foil of those that are tried, and the best correlation of a clearly different defocus. Coarse
 * lines tell which can be either; `most` is room for a number each, what they can be at most. */
static void find_round(const struct profile *p, double *most, struct mro_ctf_fit *fit, int threads)
{
    const struct mro_ctf_rings *rings = p->rings;
    const size_t steps = rings->steps;
    double best = -1, at = 0, depth = depths[0];
    float highest = 1e-30f;
    int16_t rounded[MOST_BINS] = { 0 };
    for (size_t i = 0; i < rings->n; i++) highest = fmaxf(highest, fabsf(p->mean[i]));
    for (size_t i = 0; i < rings->n; i++) rounded[i] = (int16_t)lrintf(p->mean[i] / highest * INT16_MAX);
    const double unit = (double)highest / INT16_MAX / sqrt(p->mean_square + 1e-30);
    const double rounding = 0.51 * sqrt((double)rings->n); /* at most, in units of either */
#pragma omp parallel for schedule(static) num_threads(mro_team(threads, 25.0 * (double)(DEPTHS * steps)))
    for (size_t k = 0; k < DEPTHS * steps; k++)
        most[k] =
            coarse_product(rings->coarse + k * rings->wide, rounded, rings->wide) * unit * (double)rings->unit[k] +
            rounding * (unit + (double)rings->unit[k]);
    size_t top = 0;
    for (size_t k = 1; k < DEPTHS * steps; k++)
        if (most[k] > most[top]) top = k;
    const double least = line_correlation(p, top);
    for (size_t k = 0; k < DEPTHS * steps; k++) {
        if (most[k] < least) continue;
        const double c = line_correlation(p, k);
        if (c > best + 1e-9) { /* where both signs fit alike, Cs = 0, it is called underfocus */
            best = c;
            at = rings->reach - (double)(k % steps);
            depth = depths[k / steps];
        }
    }
    double second = -1, here[MOST_BINS], there[MOST_BINS];
    rings_at(rings, at, here);
    for (size_t k = 0; k < DEPTHS * steps; k++) {
        const double df = rings->reach - (double)(k % steps);
        if (!(most[k] > second && fabs(df - at) > 0.75 * period_of(rings))) continue;
        const double c = line_correlation(p, k);
        if (!(c > second)) continue;
        rings_at(rings, df, there);
        if (!same_rings(here, there, rings->n)) second = c;
    }
    for (double t = 2; t <= 24; t += 2) {
        float wash[MOST_BINS], m[MOST_BINS];
        set_depth(rings, t, wash);
        const float square = model_line(rings, wash, (float)at, m);
        const double c = mean_correlation(p, m, square);
        if (c > best) {
            best = c;
            depth = t;
        }
    }
    fit->depth_nm = depth;
    fit->defocus_nm = at;
    fit->correlation = best;
    fit->runner_up = second;
}

enum mro_code mro_ctf_fit_rings(const struct mro_grid *g, const mro_c32 *spectrum, double kv, double cs_mm,
                                const struct mro_ctf_rings *given, int threads, struct mro_ctf_fit *fit,
                                struct mro_error *e)
{
    memset(fit, 0, sizeof *fit);
    fit->lambda_nm = mro_wavelength_nm(kv);
    fit->cs_nm = cs_mm * 1e6;
    const size_t bins = bins_to(seen_to(g));
    if (bins < BINS_LEAST) return MRO_OK;
    struct mro_ctf_rings *own = NULL;
    if (!(given && given->n == bins && given->lambda == fit->lambda_nm && given->cs == fit->cs_nm)) {
        if (!rings_new(&own, kv, cs_mm, bins, threads)) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        given = own;
    }
    struct profile *p = calloc(1, sizeof *p);
    struct grains grains = { p, -given->reach - GRAINS_BEYOND_NM,
                             (size_t)(2 * (given->reach + GRAINS_BEYOND_NM) / GRAIN_NM), NULL, NULL };
    double *all = malloc(DEPTHS * given->steps * sizeof *all);
    enum mro_code rc = MRO_OK;
    grains.v = malloc(grains.n * sizeof *grains.v);
    grains.known = calloc(grains.n, sizeof *grains.known);
    if (p) p->rings = given;
    if (!p || !all || !grains.v || !grains.known || !fill_profile(g, spectrum, p, threads)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    find_round(p, all, fit, threads);
    fit->rings = fit->correlation >= MIN_CORRELATION && fit->correlation - fit->runner_up >= MIN_LEAD;
    double astigmatic[3] = { fit->defocus_nm, 0, 0 };
    set_depth(given, fit->rings ? fit->depth_nm : ASTIGMATIC_DEPTH_NM, p->wash);
    if (!fit->rings && cs_mm > 0.1 &&
        find_astigmatic(&grains, 2 * period_of(given), astigmatic, &fit->correlation, &fit->runner_up, threads)) {
        fit->rings = fit->correlation >= MIN_SECTORS && fit->correlation - fit->runner_up >= MIN_LEAD;
        fit->depth_nm = ASTIGMATIC_DEPTH_NM;
    }
    if (!fit->rings) goto done;

    /* Only the best start is kept; the round one is among them, so astigmatism has to earn its place. */
    const double start[STARTS][2] = { { 0, 0 },  { 15, 0 },  { -15, 0 },
                                      { 0, 15 }, { 0, -15 }, { astigmatic[1], astigmatic[2] } };
    double least = 0;
    make_grains_around(&grains, astigmatic[0], threads);
    for (int k = 0; k < STARTS; k++) {
        if (k == STARTS - 1 && astigmatic[1] == 0 && astigmatic[2] == 0) continue; /* like the first */
        const struct simplex_end end = simplex_from(&grains, astigmatic[0], start[k]);
        if (!end.ready) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        if (!(end.misfit < least)) continue;
        least = end.misfit;
        fit->defocus_nm = end.x[0];
        fit->astigmatism_nm = hypot(end.x[1], end.x[2]);
        fit->azimuth = 0.5 * atan2(end.x[2], end.x[1]);
    }
done:
    free(all);
    free(grains.v);
    free(grains.known);
    free(p);
    mro_ctf_rings_free(own);
    return rc;
}

double mro_ctf_fit_chi(const struct mro_ctf_fit *fit, double qy, double qx)
{
    return mro_ctf_chi(sqrt(qy * qy + qx * qx), atan2(qy, qx), fit->lambda_nm, fit->defocus_nm, fit->cs_nm,
                       fit->astigmatism_nm, fit->azimuth);
}

/* The phase of a fit along a row of frequencies, in half turns. */
struct phase_row {
    float lambda, defocus, bend, y, per, along, across;
};

static struct phase_row phase_row(const struct mro_ctf_fit *fit, double qy, double length)
{
    return (struct phase_row){ .lambda = (float)fit->lambda_nm,
                               .defocus = (float)fit->defocus_nm,
                               .bend = (float)(0.5 * fit->cs_nm * fit->lambda_nm),
                               .y = (float)qy,
                               .per = (float)(1 / length),
                               .along = (float)(fit->lambda_nm * fit->astigmatism_nm * cos(2 * fit->azimuth)),
                               .across = (float)(fit->lambda_nm * fit->astigmatism_nm * sin(2 * fit->azimuth)) };
}

static inline float phase_at(const struct phase_row *r, float x)
{
    const float y = r->y, a = r->lambda * (y * y + x * x);
    /* The cosine of twice the angle between q and the astigmatism, by its addition theorem. */
    return a * (r->bend * a - r->defocus) - r->along * (x * x - y * y) - r->across * 2 * x * y;
}

void mro_ctf_transfer_row(const struct mro_ctf_fit *fit, double qy, double length, int first, int n, float *transfer)
{
    const struct phase_row r = phase_row(fit, qy, length);
    const float depth = (float)fit->depth_nm;
#pragma omp simd
    for (int i = 0; i < n; i++) {
        const float x = (float)(first + i) * r.per, q2 = r.y * r.y + x * x;
        transfer[i] = depth_transfer(phase_at(&r, x), wash_out(q2, r.lambda, depth));
    }
}

void mro_ctf_sign_row(const struct mro_ctf_fit *fit, double qy, double length, int first, int n, float *sign)
{
    const struct phase_row r = phase_row(fit, qy, length);
#pragma omp simd
    for (int i = 0; i < n; i++) {
        const float chi = phase_at(&r, (float)(first + i) * r.per);
        sign[i] = cos_turns(0.5f * chi - 0.25f) < 0 ? -1.0f : 1.0f;
    }
}

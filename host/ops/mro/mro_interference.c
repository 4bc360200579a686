/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A wave over the whole field is a peak of the spectrum no wider than the field allows; noise that is common to a row
 * is a line of it along an axis. Neither is speckle, whose coefficients are exponential about their local power, nor an
 * ordered region, which is smaller than the field and so wider in the spectrum. */
#include "ops/mro/mro_interference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/grid.h"
#include "ops/mro/mro_waves.h"

#define LOOK 8.0        /* times the speckle: coefficients that are looked at closely */
#define AT_LEAST 0.8    /* of the local power is that of speckle, which annuli set right */
#define CHANCE 12.0     /* -ln of the chance that speckle shows a peak as high anywhere in the band, */
#define NOTICED 0.15    /* and least power of one, times the area in nm^2: windows hardly notice weaker waves */
#define BROAD 0.02      /* of a peak: mean around it, off its axes, of what is wider than the field allows */
#define AROUND 1.5      /* the same of speckle */
#define CAP 3.0         /* times the speckle: what a coefficient tells of its line at most, which may cross a spot */
#define CAP_MEAN 0.950  /* mean of exponential numbers that end there, */
#define CAP_SD 0.836    /* and standard deviation */
#define LINE_SIGMAS 4.5 /* of a line that is noise of rows or columns, */
#define BESIDE_SIGMAS 3 /* and of those beside it that belong to it, */
#define MOST_BESIDE 8   /* at most */
#define SAME 3.0        /* coefficients between two peaks of a wave, at most */
#define LENGTHS 0.01    /* relative difference of two reflections of a cubic crystal that are equal, */
#define DEGREES 2.0     /* and what the angle between them may be off by in a drifting scan, */
#define ALONE 1.0       /* or where there are no others: two pickups have such an angle by chance */
#define TILE 8          /* pixels that patterns of a file repeat after: JPEG blocks, ordered dither */
#define EULER 0.5772157 /* minus the mean of the logarithm of exponential numbers */
#define NARROW 0.4      /* of the excess of its logarithm the line beside it has at most, */
#define FAR_BELOW 3.0   /* or so much less than all */

struct plane {
    const struct mro_grid *g;
    const mro_c32 *spectrum;
    const float *power;
    const struct mro_annuli *annuli;
};

static double squared(mro_c32 f) { return (double)f.re * (double)f.re + (double)f.im * (double)f.im; }

/* The power that speckle has at a place of the spectrum; 0 beyond the band. */
static double speckle_at(const struct plane *s, ptrdiff_t y, ptrdiff_t x)
{
    const size_t row = mro_cyclic(y, s->g->ny), column = mro_cyclic(x, s->g->nx);
    const double power = (double)s->power[row * s->g->nx + column];
    if (!(power > 0)) return 0;
    const double gain = (double)mro_annuli_gain(
        s->annuli, (float)hypot(mro_frequency(row, s->g->ny, s->g->ly), mro_frequency(column, s->g->nx, s->g->lx)));
    return power / (gain * gain);
}

static mro_c32 coefficient(const struct plane *s, ptrdiff_t y, ptrdiff_t x)
{
    return s->spectrum[mro_cyclic(y, s->g->ny) * s->g->nx + mro_cyclic(x, s->g->nx)];
}

/* What the coefficients of a line along an axis tell: `far` lines from the axis `along` (0: qx = far, 1: qy = far). */
struct line {
    size_t n;
    double sigmas; /* by which their mean exceeds that of speckle */
    double excess; /* of the mean of their logarithms */
};

static struct line line_of(const struct plane *s, int along, ptrdiff_t far)
{
    const ptrdiff_t half = (ptrdiff_t)(along ? s->g->nx : s->g->ny) / 2;
    struct line l = { 0 };
    double mean = 0, logs = 0;
    for (ptrdiff_t i = far ? -half + 1 : 1; i < half; i++) {
        const ptrdiff_t y = along ? far : i, x = along ? i : far;
        const double speckle = speckle_at(s, y, x);
        if (!(speckle > 0)) continue;
        const double ratio = squared(coefficient(s, y, x)) / speckle;
        mean += fmin(ratio, CAP);
        logs += log(fmax(ratio, 1e-6));
        l.n++;
    }
    if (l.n == 0) return l;
    l.sigmas = (mean / (double)l.n - CAP_MEAN) / CAP_SD * sqrt((double)l.n);
    l.excess = logs / (double)l.n + EULER;
    return l;
}

void mro_interference_lines(const struct mro_grid *g, const mro_c32 *spectrum, const float *power,
                            const struct mro_annuli *annuli, struct mro_interference *f)
{
    const struct plane s = { g, spectrum, power, annuli };
    f->on_lines = 0;
    for (int along = 0; along < 2; along++) {
        struct line l = line_of(&s, along, 0);
        const double axis = l.excess, beside = line_of(&s, along, 1).excess;
        size_t *n = &f->lines[along];
        *n = 0;
        if (!(l.sigmas > LINE_SIGMAS)) continue;
        /* Spots of crystals that a border cuts have feet along the axes, as wide as the spots. */
        if (beside > NARROW * axis && beside > axis - FAR_BELOW) continue;
        do {
            f->on_lines += l.n;
            l = line_of(&s, along, (ptrdiff_t)++ * n);
        } while (*n < MOST_BESIDE && l.sigmas > BESIDE_SIGMAS);
    }
}

/* By how much a peak at a place has to exceed that of speckle, since it lies on a line of noise. */
static double level_at(const struct mro_interference *f, const double level[2][MOST_BESIDE], ptrdiff_t y, ptrdiff_t x)
{
    const size_t far[2] = { (size_t)(x < 0 ? -x : x), (size_t)(y < 0 ? -y : y) };
    double most = 1;
    for (int along = 0; along < 2; along++)
        if (far[along] < f->lines[along]) most = fmax(most, level[along][far[along]]);
    return most;
}

struct complex_number {
    double re, im;
};

/* What a wave of frequency `far` coefficients away gives a coefficient, over what it gives its own. */
static struct complex_number foot_of(double far)
{
    const double sinc = fabs(far) < 1e-6 ? 1 : sin(MRO_PI * far) / (MRO_PI * far);
    const struct complex_number foot = { sinc * cos(MRO_PI * far), sinc * sin(MRO_PI * far) };
    return foot;
}

/* The power of the wave that coefficients around (y, x) fit best, and its frequency in coefficients; 0 where all of
 * them have no more than `least`. Waves of borders that do not meet are shared by several. */
static double fit_peak(const struct plane *s, ptrdiff_t y, ptrdiff_t x, double least, double at[2])
{
    enum { REACH = 2, SIDE = 2 * REACH + 1, STEPS = 4 }; /* coefficients to either side; steps from one to the next */
    const double speckle = speckle_at(s, y, x);
    mro_c32 c[SIDE][SIDE];
    struct complex_number foot[STEPS + 1][SIDE];
    double energy = 0, most = 0;
    for (int v = 0; v < SIDE; v++)
        for (int u = 0; u < SIDE; u++) energy += squared(c[v][u] = coefficient(s, y + v - REACH, x + u - REACH));
    if (!(energy > least * speckle)) return 0;
    for (int j = 0; j <= STEPS; j++)
        for (int v = 0; v < SIDE; v++) foot[j][v] = foot_of((double)j / STEPS - 0.5 - (v - REACH));
    for (int j = 0; j <= STEPS; j++)
        for (int i = 0; i <= STEPS; i++) {
            double re = 0, im = 0, of = 0;
            for (int v = 0; v < SIDE; v++)
                for (int u = 0; u < SIDE; u++) {
                    const struct complex_number a = foot[j][v], b = foot[i][u];
                    const double wave_re = a.re * b.re - a.im * b.im, wave_im = a.re * b.im + a.im * b.re;
                    re += wave_re * (double)c[v][u].re + wave_im * (double)c[v][u].im;
                    im += wave_re * (double)c[v][u].im - wave_im * (double)c[v][u].re;
                    of += wave_re * wave_re + wave_im * wave_im;
                }
            const double power = (re * re + im * im) / of / speckle;
            if (!(power > most)) continue;
            most = power;
            at[0] = (double)y + (double)j / STEPS - 0.5;
            at[1] = (double)x + (double)i / STEPS - 0.5;
        }
    return most;
}

/* Mean power over that of speckle around a peak, off its axes. */
static double around_peak(const struct plane *s, ptrdiff_t y, ptrdiff_t x)
{
    double sum = 0, n = 0;
    for (int v = -4; v <= 4; v++)
        for (int u = -4; u <= 4; u++) {
            const double speckle = abs(v) < 2 || abs(u) < 2 ? 0 : speckle_at(s, y + v, x + u);
            if (!(speckle > 0)) continue;
            sum += squared(coefficient(s, y + v, x + u)) / speckle;
            n++;
        }
    return n > 0 ? sum / n : 1;
}

struct peak {
    double at[2], power;
};

/* Whether a peak may be a part of a stronger one: of its foot along the axes. */
static bool is_foot(const struct peak *p, const struct peak *of)
{
    double foot = of->power;
    for (int i = 0; i < 2; i++) {
        const double far = fmax(fabs(p->at[i] - of->at[i]) - 0.5, 0) * MRO_PI;
        foot *= fmin(1, 1 / (far * far));
    }
    return p->power < 3 * foot || hypot(p->at[0] - of->at[0], p->at[1] - of->at[1]) < SAME;
}

enum { PEAKS = 32 }; /* that are kept */
/* Parts of a row, each with a bit of `high`: how many at most, and coefficients of the shortest. */
enum { STRETCHES = 16, SHORTEST = 32 };

/* Puts a peak into a list that falls with power. */
static void keep_peak(struct peak *list, size_t *n, const struct peak *p)
{
    if (*n == PEAKS && list[PEAKS - 1].power >= p->power) return;
    size_t i = *n < PEAKS ? (*n)++ : PEAKS - 1;
    for (; i > 0 && list[i - 1].power < p->power; i--) list[i] = list[i - 1];
    list[i] = *p;
}

/* Whether a coefficient is of a peak of power `least` or more. */
static bool is_peak(const struct plane *s, const struct mro_interference *f, const double level[2][MOST_BESIDE],
                    ptrdiff_t y, ptrdiff_t x, double least, struct peak *p)
{
    const double power = squared(coefficient(s, y, x));
    if (!(power > AT_LEAST * LOOK * (double)s->power[mro_cyclic(y, s->g->ny) * s->g->nx + (size_t)x])) return false;
    const double speckle = speckle_at(s, y, x);
    if (!(speckle > 0) || !(power > LOOK * speckle)) return false;
    const double noise = level_at(f, level, y, x);
    if (!(power > LOOK * noise * speckle)) return false;
    p->power = fit_peak(s, y, x, least * noise, p->at);
    if (!(p->power > least * noise)) return false;
    const double around = around_peak(s, y, x);
    if (around > AROUND + BROAD * p->power) return false;
    p->power /= fmin(around, 1); /* the foot of a wave raises the local power */
    return true;
}

static size_t find_peaks(const struct plane *s, struct mro_interference *f, int threads, struct peak *list,
                         uint16_t *high)
{
    const struct mro_grid *g = s->g;
    const size_t half = g->nx / 2, each = (half + STRETCHES - 1) / STRETCHES,
                 stretch = each > SHORTEST ? each : SHORTEST;
    double level[2][MOST_BESIDE];
    size_t band = 0, n = 0;
    for (int along = 0; along < 2; along++)
        for (size_t i = 0; i < f->lines[along]; i++) level[along][i] = exp(line_of(s, along, (ptrdiff_t)i).excess);
#pragma omp parallel for schedule(static) num_threads(mro_team(threads, 0.3 * (double)(g->ny * g->nx))) \
    reduction(+ : band)
    for (size_t y = 0; y < g->ny; y++) {
        const mro_c32 *c = s->spectrum + y * g->nx;
        const float *power = s->power + y * g->nx;
        uint32_t within = 0;
        high[y] = 0;
        for (size_t k = 0; k * stretch < half; k++) {
            const size_t end = (k + 1) * stretch < half ? (k + 1) * stretch : half;
            float most = 0;
#pragma omp simd reduction(max : most) reduction(+ : within)
            for (size_t x = k * stretch; x < end; x++) {
                const float over = c[x].re * c[x].re + c[x].im * c[x].im - (float)(AT_LEAST * LOOK) * power[x];
                const float told = power[x] > 0 ? over : 0;
                most = told > most ? told : most;
                within += power[x] > 0;
            }
            high[y] |= (uint16_t)((most > 0) << k);
        }
        band += within;
    }
    const double least = fmax(log((double)band + 1) + CHANCE, NOTICED * g->ly * g->lx);
    f->band = band;
    for (size_t row = 0; row < g->ny; row++)
        for (size_t k = 0; high[row] >> k; k++)
            for (size_t x = k * stretch; high[row] >> k & 1 && x < (k + 1) * stretch && x < half; x++) {
                const ptrdiff_t y = row <= g->ny / 2 ? (ptrdiff_t)row : (ptrdiff_t)row - (ptrdiff_t)g->ny;
                struct peak p;
                if (is_peak(s, f, level, y, (ptrdiff_t)x, least, &p)) keep_peak(list, &n, &p);
            }
    return n;
}

static struct mro_wave wave_of(const struct mro_grid *g, const struct peak *p)
{
    const struct mro_wave w = { p->at[0] / g->ly, p->at[1] / g->lx, p->power };
    return w;
}

/* Whether three peaks close a triangle, with either sign of each. */
static bool is_triangle(const struct peak *a, const struct peak *b, const struct peak *c)
{
    for (int signs = 0; signs < 4; signs++) {
        const double sb = signs & 1 ? -1 : 1, sc = signs & 2 ? -1 : 1;
        if (hypot(a->at[0] + sb * b->at[0] + sc * c->at[0], a->at[1] + sb * b->at[1] + sc * c->at[1]) < 1) return true;
    }
    return false;
}

/* Whether what is laid out in pixels has such a peak: along the axes, or of a period of few pixels. */
static bool is_of_pixels(const struct mro_image *im, const struct peak *p)
{
    const double n[2] = { (double)im->ny / TILE, (double)im->nx / TILE };
    double far[2];
    for (int i = 0; i < 2; i++) far[i] = fabs(p->at[i] - n[i] * round(p->at[i] / n[i]));
    return fmin(fabs(p->at[0]), fabs(p->at[1])) < SAME || fmax(far[0], far[1]) < 1;
}

/* Whether a peak is on the lattice of two others, of which one or both may be of second order. */
static bool is_on(const struct peak *p, const struct peak *a, const struct peak *b)
{
    const double area = a->at[0] * b->at[1] - a->at[1] * b->at[0];
    const double i = 0.5 * round(2 * (p->at[0] * b->at[1] - p->at[1] * b->at[0]) / area),
                 j = 0.5 * round(2 * (a->at[0] * p->at[1] - a->at[1] * p->at[0]) / area);
    return hypot(p->at[0] - i * a->at[0] - j * b->at[0], p->at[1] - i * a->at[1] - j * b->at[1]) < SAME;
}

/* Peaks that are reflections of one lattice which is not the detector's: two that are equally long and at 60 or 90
 * degrees, or two and their sum; how many, 0 where there are none. Interference has harmonics on one line. */
static size_t find_lattice(const struct mro_grid *g, const struct mro_image *im, const struct peak *list, size_t n,
                           const struct peak *of[3])
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            const struct peak *a = of[1] = list + i, *b = of[0] = list + k;
            if (is_of_pixels(im, a) || is_of_pixels(im, b)) continue;
            const double ay = a->at[0] / g->ly, ax = a->at[1] / g->lx, by = b->at[0] / g->ly, bx = b->at[1] / g->lx;
            const double la = hypot(ay, ax), lb = hypot(by, bx), apart = fabs(ay * bx - ax * by) / (la * lb);
            const double degrees = asin(fmin(apart, 1)) * 180 / MRO_PI; /* 0 to 90: signs are free */
            size_t on = 0;
            for (size_t m = 0; m < n && degrees > 10; m++) on += is_on(list + m, a, b);
            const double off = on > 2 ? DEGREES : ALONE;
            if (fabs(la / lb - 1) < LENGTHS && (fabs(degrees - 60) < off || degrees > 90 - off)) return 2;
            for (size_t m = 0; m < k && degrees > 10; m++)
                if (is_triangle(a, b, of[2] = list + m)) return 3;
        }
    return 0;
}

enum mro_code mro_interference_waves(const struct mro_grid *g, const mro_c32 *spectrum, const float *power,
                                     const struct mro_annuli *annuli, const struct mro_image *im,
                                     const struct mro_blemishes *m, int threads, struct mro_interference *f, float **px,
                                     bool *more, struct mro_error *e)
{
    const struct plane s = { g, spectrum, power, annuli };
    struct peak list[PEAKS];
    uint16_t *high = malloc(g->ny * sizeof *high);
    enum mro_code rc = MRO_OK;
    *more = false;
    if (high == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    const size_t found = find_peaks(&s, f, threads, list, high);
    free(high);
    bool alone[PEAKS];
    for (size_t i = 0; i < found; i++) {
        alone[i] = true;
        for (size_t k = 0; k < i && alone[i]; k++) alone[i] = !is_foot(list + i, list + k);
    }
    size_t n = 0;
    for (size_t i = 0; i < found; i++)
        if (alone[i]) list[n++] = list[i];
    const struct peak *of[3];
    const size_t lattice = find_lattice(g, im, list, n, of);
    bool fills = lattice > 0;
    for (size_t i = 0; i < lattice && fills && rc == MRO_OK; i++) {
        f->lattice[i] = wave_of(g, of[i]);
        rc = mro_wave_take_out(im, m, g, MRO_WAVE_LOOK, threads, &f->lattice[i], px, &fills, e);
    }
    f->n_lattice = fills ? lattice : 0;
    if (fills) return rc; /* more of its reflections may be on finer lattices */
    for (size_t i = 0; i < n && rc == MRO_OK && f->n < MRO_WAVES; i++) {
        if (lattice && is_on(&list[i], of[0], of[1])) continue; /* on less than the field it is as any crystal */
        const struct mro_wave w = wave_of(g, &list[i]);
        bool rest = false, taken = false;
        for (size_t k = 0; k < f->n && !rest; k++) /* of one that was taken out and wanders */
            rest = hypot((w.gy - f->waves[k].gy) * g->ly, (w.gx - f->waves[k].gx) * g->lx) < SAME;
        struct mro_wave *at = f->waves + f->n;
        *at = w;
        rc = mro_wave_take_out(im, m, g, rest ? MRO_WAVE_TAKE : MRO_WAVE_TAKE_WHERE_IT_FILLS, threads, at, px, &taken,
                               e);
        *more |= taken;
        f->n += taken && !rest;
    }
    return rc;
}

void mro_interference_notch(const struct mro_grid *g, const struct mro_interference *f, float *gain)
{
    for (size_t y = 0; f->lines[0] && y < g->ny; y++)
        for (ptrdiff_t x = 1 - (ptrdiff_t)f->lines[0]; x < (ptrdiff_t)f->lines[0]; x++)
            gain[y * g->nx + mro_cyclic(x, g->nx)] = 0;
    for (ptrdiff_t y = 1 - (ptrdiff_t)f->lines[1]; y < (ptrdiff_t)f->lines[1]; y++)
        memset(gain + mro_cyclic(y, g->ny) * g->nx, 0, g->nx * sizeof *gain);
}

double mro_interference_share(const struct mro_interference *f)
{
    const double taken = (double)(f->on_lines + MRO_WAVE_TERMS * f->n);
    return f->band ? fmin(taken / (double)f->band, 1) : 0;
}

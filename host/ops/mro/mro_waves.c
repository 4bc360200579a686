/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A spectrum cannot tell a wave from a crystal on most of the field, and what it has of a wave lies along its axes,
 * since borders do not meet. So the wave is looked at in the pixels, part by part of the field, and taken out there. */
#include "ops/mro/mro_waves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cholesky.h"
#include "core/team.h"
#include "ops/pixels.h"

enum { PARTS = 8, SEGMENTS = PARTS + 1 }; /* along an axis: Hann windows that overlap by half */

#define HELD 0.5                        /* of a part that is to show the field */
#define VARIES (1 / MRO_WAVE_FILLS - 1) /* square of the relative variation between parts that a wave may have */
#define NOISE 6.75   /* noise power of a part over that of the field, along each axis: 0.75 of its length, of nine */
#define NOISE_SD 0.4 /* of what noise gives the variation, relative, times that which is allowed for: 64 parts */
#define BENDS 0.04   /* what of the variation follows a polynomial that a wave may have, */
#define BENT 14.0    /* and what noise gives it at most, over the power of the wave */
#define REFINED 7    /* halvings of the step in which the frequency is looked for */

/* The wave as the parts of a field show it: half its amplitude, turned by its phase at the corner. */
struct parts {
    double re[PARTS][PARTS], im[PARTS][PARTS], held[PARTS][PARTS];
    double at[2][PARTS]; /* their centres, nm */
};

struct looker {
    const struct mro_image *im;
    const struct mro_blemishes *m;
    const float *px;
    double pixel_nm[2];
    float level; /* mean of the pixels */
    int threads;
    float *table;              /* windowed waves along x: even and odd parts, cosines and sines */
    double (*rows)[2 * PARTS]; /* of each row, its parts */
};

static size_t bound(size_t n, int segment) { return n * (size_t)segment / SEGMENTS; }

/* The Hann window of part `k` of n pixels at pixel i. */
static double hann(size_t n, int k, double i)
{
    const double far = (i + 0.5) * SEGMENTS / (double)n - (k + 1);
    return fabs(far) < 1 ? 0.5 + 0.5 * cos(MRO_PI * far) : 0;
}

/* One segment of a row with the two windows that cover it. */
static void add_segment(const float *px, float level, const float *t, size_t nx, size_t first, size_t end,
                        double sum[4])
{
    float a = 0, b = 0, c = 0, d = 0;
#pragma omp simd reduction(+ : a, b, c, d)
    for (size_t x = first; x < end; x++) {
        const float over = px[x] - level, v = over == over ? over : 0;
        a += v * t[x];
        b += v * t[nx + x];
        c += v * t[2 * nx + x];
        d += v * t[3 * nx + x];
    }
    sum[0] = (double)a;
    sum[1] = (double)b;
    sum[2] = (double)c;
    sum[3] = (double)d;
}

/* Whether a pixel shows the field. */
static bool shows(const struct looker *l, size_t y, size_t x)
{
    const struct mro_blocks *b = &l->m->blocks;
    return l->m->of[y / b->side * b->nx + x / b->side] == MRO_SOUND && isfinite(l->px[y * l->im->nx + x]);
}

/* How much of each part shows the field, from one pixel of every block. */
static void measure_held(const struct looker *l, struct parts *p)
{
    const size_t ny = l->im->ny, nx = l->im->nx, side = l->m->blocks.side;
    double all[PARTS][PARTS] = { { 0 } };
    memset(p->held, 0, sizeof p->held);
    for (size_t y = side / 2; y < ny; y += side)
        for (int j = 0; j < PARTS; j++) {
            const double wy = hann(ny, j, (double)y);
            for (size_t x = side / 2; wy > 0 && x < nx; x += side)
                for (int i = 0; i < PARTS; i++) {
                    const double w = wy * hann(nx, i, (double)x);
                    if (!(w > 0)) continue;
                    all[j][i] += w;
                    p->held[j][i] += shows(l, y, x) ? w : 0;
                }
        }
    for (int j = 0; j < PARTS; j++)
        for (int i = 0; i < PARTS; i++) p->held[j][i] = all[j][i] > 0 ? p->held[j][i] / all[j][i] : 0;
}

/* Fills in the parts at a frequency. */
static void look(const struct looker *l, const double g[2], struct parts *p)
{
    const size_t ny = l->im->ny, nx = l->im->nx;
    for (size_t x = 0; x < nx; x++) {
        const double turn = -2 * MRO_PI * fmod(g[1] * ((double)x + 0.5) * l->pixel_nm[1], 1);
        for (int odd = 0; odd < 2; odd++) {
            double w = 0;
            for (int k = odd; k < PARTS; k += 2) w = fmax(w, hann(nx, k, (double)x));
            l->table[(size_t)(2 * odd) * nx + x] = (float)(w * cos(turn));
            l->table[(size_t)(2 * odd + 1) * nx + x] = (float)(w * sin(turn));
        }
    }
#pragma omp parallel for schedule(static) num_threads(mro_team(l->threads, 0.6 * (double)(ny * nx)))
    for (size_t y = 0; y < ny; y++) {
        double *row = l->rows[y];
        memset(row, 0, sizeof l->rows[y]);
        for (int s = 0; s < SEGMENTS; s++) {
            double sum[4];
            add_segment(l->px + y * nx, l->level, l->table, nx, bound(nx, s), bound(nx, s + 1), sum);
            /* Parts s - 1 and s reach into segment s. */
            for (int k = s - 1; k <= s; k++)
                if (k >= 0 && k < PARTS) {
                    row[2 * k] += sum[2 * (k % 2)];
                    row[2 * k + 1] += sum[2 * (k % 2) + 1];
                }
        }
    }
    memset(p->re, 0, sizeof p->re);
    memset(p->im, 0, sizeof p->im);
    for (int j = 0; j < PARTS; j++) {
        for (size_t y = bound(ny, j); y < bound(ny, j + 2); y++) {
            const double turn = -2 * MRO_PI * fmod(g[0] * ((double)y + 0.5) * l->pixel_nm[0], 1),
                         w = hann(ny, j, (double)y), c = w * cos(turn), s = w * sin(turn);
            for (int i = 0; i < PARTS; i++) {
                const double re = l->rows[y][2 * i], im = l->rows[y][2 * i + 1];
                p->re[j][i] += c * re - s * im;
                p->im[j][i] += c * im + s * re;
            }
        }
        const double per = (double)SEGMENTS / (double)ny * SEGMENTS / (double)nx; /* a window's sum */
        for (int i = 0; i < PARTS; i++) {
            const double gain = p->held[j][i] > HELD ? per / p->held[j][i] : 0;
            p->re[j][i] *= gain;
            p->im[j][i] *= gain;
        }
    }
}

/* Turns the parts to a frequency that is `more` beyond the one they were looked at. */
static void turn_parts(const struct parts *p, const double more[2], struct parts *out)
{
    for (int j = 0; j < PARTS; j++)
        for (int i = 0; i < PARTS; i++) {
            const double turn = -2 * MRO_PI * (more[0] * p->at[0][j] + more[1] * p->at[1][i]), c = cos(turn),
                         s = sin(turn);
            out->re[j][i] = c * p->re[j][i] - s * p->im[j][i];
            out->im[j][i] = c * p->im[j][i] + s * p->re[j][i];
        }
}

/* Mean of the parts: its squared size, with the mean of their squares, where they show the field. */
static double coherent(const struct parts *p, double *squares)
{
    double re = 0, im = 0, all = 0, n = 0;
    for (int j = 0; j < PARTS; j++)
        for (int i = 0; i < PARTS; i++) {
            if (!(p->held[j][i] > HELD)) continue;
            re += p->re[j][i];
            im += p->im[j][i];
            all += p->re[j][i] * p->re[j][i] + p->im[j][i] * p->im[j][i];
            n++;
        }
    *squares = n > 0 ? all / n : 0;
    return n > 0 ? (re * re + im * im) / (n * n) : 0;
}

/* Moves g to where the parts are most in phase, up to `reach` coefficients away. */
static void refine(const struct looker *l, double reach, double g[2], struct parts *p)
{
    const double field[2] = { (double)l->im->ny * l->pixel_nm[0], (double)l->im->nx * l->pixel_nm[1] };
    struct parts turned = *p;
    double best[2] = { 0, 0 }, step = 0.5 * reach, squares, most = coherent(p, &squares);
    for (int round = 0; round < REFINED; round++, step *= 0.5) {
        const double from[2] = { best[0], best[1] };
        for (int v = -2; v <= 2; v++)
            for (int u = -2; u <= 2; u++) {
                const double more[2] = { from[0] + v * step / field[0], from[1] + u * step / field[1] };
                turn_parts(p, more, &turned);
                const double c = coherent(&turned, &squares);
                if (!(c > most)) continue;
                most = c;
                best[0] = more[0];
                best[1] = more[1];
            }
    }
    turn_parts(p, best, &turned);
    *p = turned;
    g[0] += best[0];
    g[1] += best[1];
}

/* Terms of the polynomial at a place, -1 to 1 over the field. */
static void terms_at(double y, double x, double t[MRO_WAVE_TERMS])
{
    const double v[MRO_WAVE_TERMS] = { 1, y, x, y * y, y * x, x * x };
    memcpy(t, v, sizeof v);
}

/* The polynomial that the parts follow, and by how much they do so beyond their mean, over its square; false where too
 * few show the field. */
static bool fit_parts(const struct parts *p, double re[MRO_WAVE_TERMS], double im[MRO_WAVE_TERMS], double *bends)
{
    double a[MRO_WAVE_TERMS * MRO_WAVE_TERMS] = { 0 }, f[MRO_WAVE_TERMS], g[MRO_WAVE_TERMS], beyond = 0;
    memset(re, 0, MRO_WAVE_TERMS * sizeof *re);
    memset(im, 0, MRO_WAVE_TERMS * sizeof *im);
    for (int j = 0; j < PARTS; j++)
        for (int i = 0; i < PARTS; i++) {
            double t[MRO_WAVE_TERMS];
            if (!(p->held[j][i] > HELD)) continue;
            terms_at(2.0 * (j + 1) / SEGMENTS - 1, 2.0 * (i + 1) / SEGMENTS - 1, t);
            for (int r = 0; r < MRO_WAVE_TERMS; r++) {
                for (int c = 0; c <= r; c++) a[r * MRO_WAVE_TERMS + c] += t[r] * t[c];
                re[r] += t[r] * p->re[j][i];
                im[r] += t[r] * p->im[j][i];
            }
        }
    if (!mro_cholesky_factor(a, MRO_WAVE_TERMS, MRO_WAVE_TERMS, 1e-3)) return false;
    memcpy(f, re, sizeof f);
    memcpy(g, im, sizeof g);
    mro_cholesky_forward(a, MRO_WAVE_TERMS, MRO_WAVE_TERMS, f);
    mro_cholesky_forward(a, MRO_WAVE_TERMS, MRO_WAVE_TERMS, g);
    for (int r = 1; r < MRO_WAVE_TERMS; r++) beyond += f[r] * f[r] + g[r] * g[r];
    *bends = beyond / (f[0] * f[0] + g[0] * g[0]); /* the first term is the mean */
    mro_cholesky_apply(a, MRO_WAVE_TERMS, MRO_WAVE_TERMS, re);
    mro_cholesky_apply(a, MRO_WAVE_TERMS, MRO_WAVE_TERMS, im);
    return true;
}

/* Takes the wave out of the pixels. */
static void subtract(const struct looker *l, const double g[2], const double re[MRO_WAVE_TERMS],
                     const double im[MRO_WAVE_TERMS], float *px)
{
    const size_t ny = l->im->ny, nx = l->im->nx, side = l->m->blocks.side;
    float *cosine = l->table, *sine = l->table + nx;
    for (size_t x = 0; x < nx; x++) {
        const double turn = 2 * MRO_PI * fmod(g[1] * ((double)x + 0.5) * l->pixel_nm[1], 1);
        cosine[x] = (float)(2 * cos(turn));
        sine[x] = (float)(2 * sin(turn));
    }
#pragma omp parallel for schedule(static) num_threads(mro_team(l->threads, 0.8 * (double)(ny * nx)))
    for (size_t y = 0; y < ny; y++) {
        const double turn = 2 * MRO_PI * fmod(g[0] * ((double)y + 0.5) * l->pixel_nm[0], 1), c = cos(turn),
                     s = sin(turn);
        const double v = (2.0 * (double)y + 1) / (double)ny - 1;
        const double a[2] = { re[0] + v * (re[1] + v * re[3]), im[0] + v * (im[1] + v * im[3]) },
                     b[2] = { re[2] + v * re[4], im[2] + v * im[4] };
        const float r0 = (float)(c * a[0] - s * a[1]), i0 = (float)(c * a[1] + s * a[0]);
        const float r1 = (float)(c * b[0] - s * b[1]), i1 = (float)(c * b[1] + s * b[0]);
        const float r2 = (float)(c * re[5] - s * im[5]), i2 = (float)(c * im[5] + s * re[5]);
        const float step = 2 / (float)nx, start = 1 / (float)nx - 1;
        const unsigned char *of = l->m->of + y / side * l->m->blocks.nx;
        float *row = px + y * nx;
        for (size_t first = 0, k = 0; first < nx; first += side, k++) {
            const size_t end = first + side < nx ? first + side : nx;
            if (of[k] != MRO_SOUND) continue;
#pragma omp simd
            for (size_t x = first; x < end; x++) {
                const float u = start + step * (float)(int)x;
                row[x] -= (r0 + u * (r1 + u * r2)) * cosine[x] - (i0 + u * (i1 + u * i2)) * sine[x];
            }
        }
    }
}

static float mean_of(const struct looker *l)
{
    double sum = 0, n = 0;
    for (size_t y = 0; y < l->im->ny; y += l->m->blocks.side)
        for (size_t x = 0; x < l->im->nx; x += l->m->blocks.side)
            if (shows(l, y, x)) {
                sum += (double)l->px[y * l->im->nx + x];
                n++;
            }
    return n > 0 ? (float)(sum / n) : 0;
}

enum mro_code mro_wave_take_out(const struct mro_image *im, const struct mro_blemishes *m, const struct mro_grid *g,
                                enum mro_wave_deed deed, int threads, struct mro_wave *w, float **px, bool *fills,
                                struct mro_error *e)
{
    struct looker l = { .im = im,
                        .m = m,
                        .px = *px ? *px : im->px,
                        .pixel_nm = { g->ly / (double)im->ny, g->lx / (double)im->nx },
                        .threads = threads,
                        .table = malloc(4 * im->nx * sizeof *l.table),
                        .rows = malloc(im->ny * sizeof *l.rows) };
    double at[2] = { w->gy, w->gx }, re[MRO_WAVE_TERMS], im_[MRO_WAVE_TERMS], squares;
    struct parts p;
    enum mro_code rc = MRO_OK;
    *fills = false;
    if (l.table == NULL || l.rows == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        goto done;
    }
    for (int i = 0; i < PARTS; i++)
        for (int axis = 0; axis < 2; axis++) p.at[axis][i] = (double)(i + 1) / SEGMENTS * (axis ? g->lx : g->ly);
    l.level = mean_of(&l);
    measure_held(&l, &p);
    look(&l, at, &p);
    refine(&l, 1, at, &p);
    look(&l, at, &p);
    refine(&l, 0.25, at, &p);
    const double mean = coherent(&p, &squares), noise = NOISE * NOISE / w->power;
    double bends;
    if (!(mean > 0) || !fit_parts(&p, re, im_, &bends)) goto done;
    if (deed != MRO_WAVE_TAKE &&
        (squares / mean - 1 - noise > VARIES + NOISE_SD * noise || bends > BENDS + BENT / w->power))
        goto done;
    if (deed != MRO_WAVE_LOOK && !mro_pixels_to_repair(im, px)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an image of %zu x %zu pixels", im->nx, im->ny);
        goto done;
    }
    if (deed != MRO_WAVE_LOOK) subtract(&l, at, re, im_, *px);
    w->gy = at[0];
    w->gx = at[1];
    *fills = true;
done:
    free(l.table);
    free(l.rows);
    return rc;
}

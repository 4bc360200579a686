/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random fields that a stripe has to beat: Gaussian, with the spectrum of the image less its bands. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cholesky.h"
#include "core/first_error.h"
#include "core/sizes.h"
#include "mroscope/math/grid.h"
#include "ops/shearband/shearband_internal.h"
#include "ops/spectrum_fit.h"

#define TOGETHER 4      /* fields that a thread scans together, so that filters come from memory once */
#define LARGER 1.25     /* drawn fields, in sizes of the image: its borders do not match */
#define BLOCKS 48       /* along an axis, that a background is fitted to */
#define TAPER 0.12      /* of a side, at each border */
#define POWER_TAKEN 1.5 /* modes of every ring that go with a stripe when it is taken out */
#define STREAM ((uint64_t)0x5b << 32)
#define LINE_SURE 4.0 /* standard errors of scan-line noise that is there */

void mro_sb_null_release(struct mro_sb_null *n)
{
    free(n->square);
    free(n->count);
    free(n->strongest);
    free(n->most);
    free(n->sd);
    memset(n, 0, sizeof *n);
}

/* ------------------------------------------------------------------ polynomial */

enum { MOST_TERMS = (MRO_SHEARBAND_DEGREE + 1) * (MRO_SHEARBAND_DEGREE + 2) / 2 };

static size_t terms_of(double y, double x, int degree, double *t)
{
    double px[MRO_SHEARBAND_DEGREE + 1] = { 1, x }, py[MRO_SHEARBAND_DEGREE + 1] = { 1, y };
    size_t n = 0;
    for (int k = 2; k <= degree; k++) {
        px[k] = ((2 * k - 1) * x * px[k - 1] - (k - 1) * px[k - 2]) / k;
        py[k] = ((2 * k - 1) * y * py[k - 1] - (k - 1) * py[k - 2]) / k;
    }
    for (int i = 0; i <= degree; i++)
        for (int j = 0; i + j <= degree; j++) t[n++] = py[i] * px[j];
    return n;
}

/* Blocks of pixels that a background is fitted to, so that a fit costs the same for every image, and the factor of its
 * equations: the same for all fields that miss the same pixels. */
struct background {
    size_t ny, nx, size[2], blocks, terms; /* size: of a block (y, x) */
    int degree;
    double *term; /* terms * blocks: in the middle of a block's pixels; zeros for one that has none */
    double factor[MOST_TERMS][MOST_TERMS];
};

static void background_release(struct background *b)
{
    free(b->term);
    memset(b, 0, sizeof *b);
}

/* For values v (NaN = missing), of which `use` (may be NULL) says which count. *known false: too few pixels. */
static enum mro_code background_new(const float *v, size_t ny, size_t nx, const unsigned char *use, int degree,
                                    int threads, struct background *b, bool *known, struct mro_error *e)
{
    const size_t by = ny / BLOCKS ? ny / BLOCKS : 1, bx = nx / BLOCKS ? nx / BLOCKS : 1;
    const size_t n = (size_t)(degree + 1) * (size_t)(degree + 2) / 2;
    memset(b, 0, sizeof *b);
    b->ny = ny;
    b->nx = nx;
    b->size[0] = by;
    b->size[1] = bx;
    b->terms = n;
    b->degree = degree;
    b->blocks = ((ny + by - 1) / by) * ((nx + bx - 1) / bx);
    b->term = calloc(b->blocks * n, sizeof *b->term);
    struct places {
        double y, x, n;
    } *places = malloc(b->blocks * sizeof *places); /* means of a block's pixels, and how many they are */
    const size_t across = (nx + bx - 1) / bx;
#pragma omp parallel for schedule(static) num_threads(threads) if (places != NULL)
    for (size_t j = 0; j < b->blocks / across; j++)
        for (size_t k = 0; k < across && places; k++) {
            const size_t x = k * bx, x1 = x + bx < nx ? x + bx : nx, y1 = (j + 1) * by < ny ? (j + 1) * by : ny;
            double count = 0, my = 0, mx = 0;
            for (size_t y = j * by; y < y1; y++) {
                const float *row = v + y * nx;
                const unsigned char *used = use ? use + y * nx : NULL;
                double in_row = 0;
#pragma omp simd reduction(+ : mx, in_row)
                for (size_t i = x; i < x1; i++) {
                    const bool in = row[i] == row[i] && (used == NULL || used[i]);
                    mx += in ? (double)i : 0;
                    in_row += in;
                }
                my += in_row * (double)y;
                count += in_row;
            }
            places[j * across + k] = (struct places){ my / count, mx / count, count };
        }
    for (size_t k = 0; k < b->blocks && b->term && places; k++) {
        double t[MOST_TERMS];
        const struct places *p = places + k;
        if (!(p->n > 0)) continue;
        (void)terms_of(2 * (p->y + 0.5) / (double)ny - 1, 2 * (p->x + 0.5) / (double)nx - 1, degree, t);
        for (size_t i = 0; i < n; i++) {
            b->term[i * b->blocks + k] = t[i];
            for (size_t l = 0; l <= i; l++) b->factor[i][l] += p->n * t[i] * t[l];
        }
    }
    const enum mro_code rc =
        b->term && places ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for the background of %zu x %zu", nx, ny);
    free(places);
    *known = rc == MRO_OK && mro_cholesky_factor(b->factor[0], n, MOST_TERMS, 1e-10);
    if (!*known) background_release(b);
    return rc;
}

/* Numbers that a fit needs room for: sums of blocks, and of columns in each row of blocks that is summed at a time. */
static size_t background_room(const struct background *b, int threads)
{
    return b->blocks + (threads > 1 ? (b->ny + b->size[0] - 1) / b->size[0] : 1) * b->nx;
}

/* Coefficients of the best polynomial of values v. */
static void background_fit(const struct background *b, const float *v, const unsigned char *use, int threads,
                           double *room, double *c)
{
    const size_t across = (b->nx + b->size[1] - 1) / b->size[1], down = b->blocks / across;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < down; k++) {
        double *column = room + b->blocks + (threads > 1 ? k * b->nx : 0), *sum = room + k * across;
        const size_t y = k * b->size[0], end = y + b->size[0] < b->ny ? y + b->size[0] : b->ny;
        memset(column, 0, b->nx * sizeof *column);
        for (size_t j = y; j < end; j++) {
            const float *row = v + j * b->nx;
            const unsigned char *used = use ? use + j * b->nx : NULL;
#pragma omp simd
            for (size_t i = 0; i < b->nx; i++)
                column[i] += row[i] == row[i] && (used == NULL || used[i]) ? (double)row[i] : 0;
        }
        for (size_t x = 0; x < b->nx; x += b->size[1], sum++) {
            *sum = 0;
            for (size_t i = x; i < x + b->size[1] && i < b->nx; i++) *sum += column[i];
        }
    }
    for (size_t i = 0; i < b->terms; i++) {
        const double *term = b->term + i * b->blocks;
        double product = 0;
#pragma omp simd reduction(+ : product)
        for (size_t k = 0; k < b->blocks; k++) product += term[k] * room[k];
        c[i] = product;
    }
    mro_cholesky_apply(b->factor[0], b->terms, MOST_TERMS, c);
}

/* Powers of x in row y of the polynomial. */
static void background_row(const struct background *b, const double *c, size_t y, double *power)
{
    /* Legendre's polynomials in powers of x. */
    static const double legendre[MRO_SHEARBAND_DEGREE + 1][MRO_SHEARBAND_DEGREE + 1] = {
        { 1 }, { 0, 1 }, { -0.5, 0, 1.5 }, { 0, -1.5, 0, 2.5 }, { 0.375, 0, -3.75, 0, 4.375 }
    };
    const double ty = 2 * ((double)y + 0.5) / (double)b->ny - 1;
    double py[MRO_SHEARBAND_DEGREE + 1] = { 1, ty };
    for (int k = 2; k <= b->degree; k++) py[k] = ((2 * k - 1) * ty * py[k - 1] - (k - 1) * py[k - 2]) / k;
    memset(power, 0, (MRO_SHEARBAND_DEGREE + 1) * sizeof *power);
    size_t at = 0;
    for (int i = 0; i <= b->degree; i++)
        for (int j = 0; i + j <= b->degree; j++, at++)
            for (int k = 0; k <= j; k++) power[k] += c[at] * py[i] * legendre[j][k];
}

/* The polynomial at columns [from, from + n) of a row. */
static void background_part(const struct background *b, const double *power, size_t from, int n, double *fit)
{
    const double unit = 2 / (double)b->nx, first = unit * ((double)from + 0.5) - 1;
    for (int i = 0; i < n; i++) fit[i] = power[b->degree];
    for (int k = b->degree; k-- > 0;)
#pragma omp simd
        for (int i = 0; i < n; i++) fit[i] = fit[i] * (first + unit * i) + power[k];
}

enum { PART = 256 }; /* columns at once */

/* Is the polynomial positive wherever there is a value? */
static bool background_positive(const struct background *b, const double *c, int threads, const float *v)
{
    int wrong = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : wrong)
    for (size_t y = 0; y < b->ny; y++) {
        double power[MRO_SHEARBAND_DEGREE + 1], fit[PART];
        background_row(b, c, y, power);
        for (size_t x = 0; x < b->nx; x += PART) {
            const int n = b->nx - x < PART ? (int)(b->nx - x) : PART;
            const float *row = v + y * b->nx + x;
            background_part(b, power, x, n, fit);
#pragma omp simd reduction(+ : wrong)
            for (int i = 0; i < n; i++) wrong += row[i] == row[i] && !(fit[i] > 0);
        }
    }
    return !wrong;
}

static void background_remove(const struct background *b, const double *c, bool divide, int threads, float *v)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t y = 0; y < b->ny; y++) {
        double power[MRO_SHEARBAND_DEGREE + 1], fit[PART];
        background_row(b, c, y, power);
        for (size_t x = 0; x < b->nx; x += PART) {
            const int n = b->nx - x < PART ? (int)(b->nx - x) : PART;
            float *row = v + y * b->nx + x;
            background_part(b, power, x, n, fit);
            if (divide)
#pragma omp simd
                for (int i = 0; i < n; i++) row[i] = (float)(row[i] / fit[i] - 1);
            else
#pragma omp simd
                for (int i = 0; i < n; i++) row[i] = (float)(row[i] - fit[i]);
        }
    }
}

enum mro_code mro_sb_flatten(float *v, size_t ny, size_t nx, const unsigned char *use, int degree, bool divide,
                             int threads, bool *done, struct mro_error *e)
{
    struct background b;
    double c[MOST_TERMS];
    *done = false;
    MRO_TRY(background_new(v, ny, nx, use, degree, threads, &b, done, e));
    if (!*done) return MRO_OK;
    double *room = malloc(background_room(&b, threads) * sizeof *room);
    if (room) background_fit(&b, v, use, threads, room, c);
    *done = room && (!divide || background_positive(&b, c, threads, v));
    if (*done) background_remove(&b, c, divide, threads, v);
    background_release(&b);
    free(room);
    return room ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for the background of %zu x %zu", nx, ny);
}

/* ------------------------------------------------------------------ spectrum */

static double taper_at(size_t i, size_t n)
{
    const double edge = TAPER * (double)n, from = fmin((double)i + 0.5, (double)n - (double)i - 0.5);
    return from >= edge ? 1 : 0.5 - 0.5 * cos(M_PI * from / edge);
}

/* Power of white scan-line noise in the modes of lines (axis 0: lines along x, modes along ky), over that of the ring
 * there; 0 = none seen. `row[k]`, `ring[k]`: power of the mode, and what its ring has. */
static double line_excess(const double *row, const double *ring, size_t n)
{
    double sum = 0;
    size_t count = 0;
    for (size_t k = n / 2; k < n; k++) {
        if (!(ring[k] > 0)) continue;
        sum += row[k] - ring[k];
        count++;
    }
    double spread = 0;
    for (size_t k = n / 2; k < n; k++) spread += ring[k] > 0 ? ring[k] * ring[k] : 0;
    return count > 3 && sum > LINE_SURE * sqrt(spread) ? sum / (double)count : 0;
}

/* Amplitudes of the modes of `g`, from the falling spectrum of the residual. */
static enum mro_code make_gain(struct mro_device *d, const struct mro_sb_grid *r, double taken,
                               const struct mro_grid *g, float *gain, struct mro_error *e)
{
    const size_t ny = r->ny, nx = r->nx, n = ny * nx;
    const struct mro_grid own = { ny, nx, (double)ny * r->step[0], (double)nx * r->step[1] };
    const double step = 1 / fmax(own.ly, own.lx);
    const double most = hypot(0.5 / r->step[0], 0.5 / r->step[1]);
    struct mro_buffer field = { 0 }, spectrum = { 0 };
    struct mro_rings rings = { .step = step, .n = (size_t)(most / step) + 1 };
    mro_c32 *f = malloc(n * sizeof *f);
    float *v = malloc(n * sizeof *v);
    double *all = calloc(4 * rings.n + 2 * (ny + nx), sizeof *all), mean = 0, weight = 0, square = 0;
    enum mro_code rc = MRO_OK;
    if (f == NULL || v == NULL || all == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the spectrum of %zu x %zu", nx, ny);
        goto done;
    }
    for (size_t i = 0; i < n; i++)
        if (r->v[i] == r->v[i]) {
            mean += r->v[i];
            weight++;
        }
    mean /= weight;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const size_t i = y * nx + x;
            const double w = taper_at(y, ny) * taper_at(x, nx);
            const bool known = r->v[i] == r->v[i];
            v[i] = known ? (float)(w * (r->v[i] - mean)) : 0;
            square += known ? w * w : 0;
        }
    rc = d->ops->alloc(d, &field, n * sizeof *v, e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &spectrum, n * sizeof *f, e);
    if (rc == MRO_OK) rc = d->ops->upload(d, &field, v, n * sizeof *v, e);
    if (rc == MRO_OK) rc = d->ops->forward(d, &own, &field, &spectrum, e);
    if (rc == MRO_OK) rc = d->ops->download(d, f, &spectrum, n * sizeof *f, e);
    if (rc) goto done;
    rings.q = all;
    rings.power = all + rings.n;
    rings.modes = all + 2 * rings.n;
    double *model = all + 3 * rings.n, *axis = all + 4 * rings.n;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            if (y == 0 && x == 0) continue;
            const double q = hypot(mro_frequency(y, ny, own.ly), mro_frequency(x, nx, own.lx));
            const mro_c32 z = f[y * nx + x];
            const double p = ((double)z.re * z.re + (double)z.im * z.im) * (double)n / square;
            const size_t k = (size_t)fmax(0, fmin((double)rings.n - 1, floor(q / step)));
            rings.q[k] += q;
            rings.power[k] += p;
            rings.modes[k] += 0.5;
        }
    for (size_t k = 0; k < rings.n; k++) {
        const double m = rings.modes[k];
        rings.q[k] = m > 0 ? rings.q[k] / (2 * m) : ((double)k + 0.5) * step;
        rings.power[k] = m > 0 ? rings.power[k] / (2 * m) : 0;
        /* A stripe that was taken out took power of chance along: a mode or two of every ring. */
        rings.power[k] *= m / fmax(m - POWER_TAKEN * taken, 0.5 * m);
    }
    /* No mode lies below one wave over the field. */
    if ((rc = mro_spectrum_falling(&rings, 0.9 * step, fmin(0.5 / r->step[0], 0.5 / r->step[1]), model, e))) goto done;
    memcpy(rings.power, model, rings.n * sizeof *model);
    /* Scan lines. */
    double line[2];
    for (int a = 0; a < 2; a++) {
        const size_t length = a ? nx : ny, half = length / 2;
        double *row = axis, *ring = axis + length;
        for (size_t k = 0; k < half; k++) {
            const mro_c32 z = f[a ? k : k * nx];
            row[k] = ((double)z.re * z.re + (double)z.im * z.im) * (double)n / square;
            ring[k] = mro_rings_at(&rings, (double)k / (a ? own.lx : own.ly));
        }
        line[a] = line_excess(row, ring, half);
    }
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            const double q = hypot(mro_frequency(y, g->ny, g->ly), mro_frequency(x, g->nx, g->lx));
            double power = fmax(0, mro_rings_at(&rings, q));
            if (x == 0) power += line[0] * (double)g->nx / (double)nx;
            if (y == 0) power += line[1] * (double)g->ny / (double)ny;
            gain[y * g->nx + x] = y || x ? (float)sqrt(power) : 0;
        }
done:
    d->ops->release(d, &field);
    d->ops->release(d, &spectrum);
    free(f);
    free(v);
    free(all);
    return rc;
}

/* ------------------------------------------------------------------ fields */

/* What random fields are drawn from: the image's places, and the modes of the grid that they are drawn on. */
struct source {
    const struct mro_sb_grid *like;
    struct mro_grid grid;
    const float *gain;
    const struct background *background; /* of fields that miss the pixels of `like`; NULL where none can be fitted */
    uint64_t seed;
};

/* Field k at the places of the image, less its background; `room`: background_room. */
static enum mro_code draw_field(struct mro_device *d, const struct source *s, size_t k, struct mro_buffer *spectrum,
                                struct mro_buffer *real, float *drawn, double *room, float *v, struct mro_error *e)
{
    const double wide[2] = { -1, 1e3 };
    const struct mro_grid *g = &s->grid;
    const struct mro_sb_grid *like = s->like;
    MRO_TRY(d->ops->noise_spectrum(d, g, s->seed, STREAM + k, wide, 0.1, spectrum, e));
    MRO_TRY(d->ops->multiply(d, g, spectrum, s->gain, e));
    MRO_TRY(d->ops->inverse(d, g, spectrum, real, e));
    MRO_TRY(d->ops->download(d, drawn, real, g->ny * g->nx * sizeof *drawn, e));
    for (size_t y = 0; y < like->ny; y++) {
        const float *known = like->v + y * like->nx, *from = drawn + y * g->nx;
        for (size_t x = 0; x < like->nx; x++) v[y * like->nx + x] = known[x] == known[x] ? from[x] : 0;
    }
    if (s->background) {
        double c[MOST_TERMS];
        background_fit(s->background, v, NULL, 1, room, c);
        background_remove(s->background, c, false, 1, v);
    }
    for (size_t i = 0; i < like->ny * like->nx; i++) v[i] = like->v[i] == like->v[i] ? v[i] : 0;
    return MRO_OK;
}

/* Draws n fields from field k on, and scans them together. */
static enum mro_code draw_fields(struct mro_device *d, const struct source *s, const struct mro_sb_scan *scan, size_t k,
                                 size_t n, struct mro_sb_null *null, struct mro_error *e)
{
    const size_t drawn_on = s->grid.ny * s->grid.nx, of_image = s->like->ny * s->like->nx, w = null->widths;
    struct mro_buffer spectrum = { 0 }, real = { 0 };
    struct mro_sb_stripe best[TOGETHER * MRO_SB_WIDTHS];
    float *drawn = malloc(drawn_on * sizeof *drawn), *v = malloc(n * of_image * sizeof *v);
    float *space = mro_sb_scan_space(scan, n);
    double *room = s->background ? malloc(background_room(s->background, 1) * sizeof *room) : NULL;
    enum mro_code rc = drawn && v && space && (room || !s->background)
                           ? MRO_OK
                           : MRO_FAIL(e, MRO_EMEMORY, "out of memory for a random field");
    if (rc == MRO_OK) rc = d->ops->alloc(d, &spectrum, drawn_on * sizeof(mro_c32), e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &real, drawn_on * sizeof *drawn, e);
    for (size_t i = 0; i < n && rc == MRO_OK; i++)
        rc = draw_field(d, s, k + i, &spectrum, &real, drawn, room, v + i * of_image, e);
    if (rc == MRO_OK) {
        mro_sb_scan_run(scan, n, v, NULL, null->square + k * w, null->count + k * w, space, best);
        for (size_t i = 0; i < n * w; i++) null->strongest[k * w + i] = best[i].z;
    }
    d->ops->release(d, &spectrum);
    d->ops->release(d, &real);
    free(drawn);
    free(v);
    free(space);
    free(room);
    return rc;
}

enum mro_code mro_sb_null_draw(struct mro_device *d, const struct mro_sb_grid *residual, double taken,
                               const struct mro_sb_grid *shape, const struct mro_sb_scan *s, int polynomial, size_t n,
                               uint64_t seed, struct mro_sb_null *null, struct mro_error *e)
{
    const double step[2] = { residual->step[0], residual->step[1] };
    struct mro_grid g = { mro_smooth_size((size_t)(LARGER * (double)residual->ny)),
                          mro_smooth_size((size_t)(LARGER * (double)residual->nx)), 0, 0 };
    g.ly = (double)g.ny * step[0];
    g.lx = (double)g.nx * step[1];
    memset(null, 0, sizeof *null);
    null->widths = mro_sb_scan_widths(s);
    float *gain = malloc(g.ny * g.nx * sizeof *gain);
    null->square = calloc(n * null->widths, sizeof *null->square);
    null->count = calloc(n * null->widths, sizeof *null->count);
    null->strongest = calloc(n * null->widths, sizeof *null->strongest);
    null->most = calloc(n, sizeof *null->most);
    null->sd = calloc(null->widths, sizeof *null->sd);
    enum mro_code rc = MRO_OK;
    if (gain == NULL || null->square == NULL || null->count == NULL || null->strongest == NULL || null->most == NULL ||
        null->sd == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for random fields of %zu x %zu", g.nx, g.ny);
        goto done;
    }
    if ((rc = make_gain(d, residual, taken, &g, gain, e))) goto done;
    /* The first few fields say how much each filter scatters; the strongest stripe is judged in these units. */
    const size_t first = n < 16 ? n : 16;
    struct background background;
    bool flat;
    if ((rc = background_new(shape->v, shape->ny, shape->nx, NULL, polynomial, d->threads, &background, &flat, e)))
        goto done;
    const struct source source = { shape, g, gain, flat ? &background : NULL, seed };
    /* Few fields go one by one, so that every thread has some. */
    const size_t a_thread = n / (size_t)d->threads, together = a_thread < 1          ? 1
                                                               : a_thread < TOGETHER ? a_thread
                                                                                     : TOGETHER;
    struct mro_first_error failed = { 0 };
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t k = 0; k < n; k += together) {
        struct mro_error mine;
        const size_t here = n - k < together ? n - k : together;
        mro_first_keep(&failed, k, draw_fields(d, &source, s, k, here, null, &mine), &mine);
    }
    rc = mro_first_code(&failed, e);
    background_release(&background);
    for (size_t w = 0; w < null->widths; w++) {
        double square = 0, count = 0;
        for (size_t k = 0; k < first; k++) {
            square += null->square[k * null->widths + w];
            count += null->count[k * null->widths + w];
        }
        null->sd[w] = count > 0 && square > 0 ? sqrt(square / count) : 1;
        for (size_t k = 0; k < n; k++)
            null->most[k] = fmax(null->most[k], null->strongest[k * null->widths + w] / null->sd[w]);
    }
    null->n = n;
done:
    free(gain);
    if (rc) mro_sb_null_release(null);
    return rc;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Dark and bright regions, and the random fields that they are compared with. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "mroscope/math/grid.h"
#include "ops/haadf_internal.h"

#define MAP_PER_BAND 6.0 /* samples of the map in a length 1 / band limit */
#define KEPT_POWER 0.99  /* of the smoothed field that the surrogates' grid holds */
/* Distance of the medians of two classes in the spread within them: 2.2 for a Gaussian field split in its middle. */
#define TWO_LEVELS 3.0
#define SPECK 0.05       /* of a squared shortest wave: smaller sets are not counted as regions */
#define FIELD_WORK 1.5e7 /* samples of all surrogates together, from which fewer are drawn */
#define FEWEST 299
#define STREAM 0x5000000u /* of the random numbers: the surrogates have their own */

/* ------------------------------------------------------------------ fields */

double mro_haadf_gain(const struct mro_haadf_filter *f, double q)
{
    const double x = q / f->step;
    const size_t i = (size_t)x;
    if (i + 1 >= f->n) return 0;
    return f->gain[i] + (x - (double)i) * (f->gain[i + 1] - f->gain[i]);
}

double mro_haadf_mode_gain(const struct mro_haadf_state *s, const struct mro_haadf_filter *f, double q, ptrdiff_t ky,
                           ptrdiff_t kx)
{
    if (ky == 0 && kx == 0) return 0;
    const double g = mro_haadf_gain(f, q);
    if (!mro_haadf_line_mode(s, ky, kx)) return g;
    double lines = 0;
    for (int a = 0; a < 2; a++)
        if (labs((long)(a ? ky : kx)) < s->lines[a]) lines += s->line_power[a];
    const double rest = fmax(0, mro_rings_at(f->rings, q));
    return g * rest / (rest + lines);
}

bool mro_haadf_usable(const struct mro_haadf_state *s, const struct mro_grid *g, size_t j, size_t i)
{
    /* Sample 0 stands at the centre of the first pixel. */
    const double y = (double)j * g->ly / (double)g->ny + 0.5 * s->pixel_nm[0], m = s->margin_nm;
    const double x = (double)i * g->lx / (double)g->nx + 0.5 * s->pixel_nm[1];
    if (y < m || x < m || y > g->ly - m || x > g->lx - m) return false;
    if (s->mask == NULL) return true;
    size_t my = (size_t)(y / g->ly * (double)s->mask_ny), mx = (size_t)(x / g->lx * (double)s->mask_nx);
    if (my >= s->mask_ny) my = s->mask_ny - 1;
    if (mx >= s->mask_nx) mx = s->mask_nx - 1;
    return s->mask[my * s->mask_nx + mx];
}

enum mro_code mro_haadf_field(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_haadf_filter *f,
                              const struct mro_grid *g, float *field, struct mro_error *e)
{
    const struct mro_grid *from = &s->grid;
    const size_t n = g->ny * g->nx;
    struct mro_buffer spectrum = { 0 }, real = { 0 };
    mro_c32 *z = calloc(n, sizeof *z);
    enum mro_code rc = MRO_OK;
    if (z == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
    /* The smaller of the two grids bounds the frequencies. A sample's variance is the mean power of an image pixel. */
    const double unit = sqrt((double)n / ((double)s->ny * (double)s->nx) * s->fill);
    const ptrdiff_t hy = (ptrdiff_t)((g->ny < from->ny ? g->ny : from->ny) - 1) / 2;
    const ptrdiff_t hx = (ptrdiff_t)((g->nx < from->nx ? g->nx : from->nx) - 1) / 2;
    for (ptrdiff_t ky = -hy; ky <= hy; ky++)
        for (ptrdiff_t kx = -hx; kx <= hx; kx++) {
            const double w = unit * mro_haadf_mode_gain(s, f, hypot((double)ky / g->ly, (double)kx / g->lx), ky, kx);
            const mro_c32 v = s->spectrum[mro_cyclic(ky, from->ny) * from->nx + mro_cyclic(kx, from->nx)];
            mro_c32 *to = z + mro_cyclic(ky, g->ny) * g->nx + mro_cyclic(kx, g->nx);
            to->re = (float)(w * v.re);
            to->im = (float)(w * v.im);
        }
    if ((rc = d->ops->alloc(d, &spectrum, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->alloc(d, &real, n * sizeof *field, e))) goto done;
    if ((rc = d->ops->upload(d, &spectrum, z, n * sizeof *z, e))) goto done;
    if ((rc = d->ops->inverse(d, g, &spectrum, &real, e))) goto done;
    rc = d->ops->download(d, field, &real, n * sizeof *field, e);
done:
    d->ops->release(d, &spectrum);
    d->ops->release(d, &real);
    free(z);
    return rc;
}

/* ------------------------------------------------------------------ areas beyond thresholds */

/* Shares of the usable samples below -u and above +u standard deviations, u over `o`. */
struct areas {
    double dark[MRO_HAADF_LEVELS], bright[MRO_HAADF_LEVELS];
};

/* Mean and standard deviation of n values, in an order of its own for every n. */
static void moments(const float *v, size_t n, double *mean, double *sd)
{
    enum { PART = 1024 };
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i += PART) {
        const size_t end = i + PART < n ? i + PART : n;
        float s = 0;
#pragma omp simd reduction(+ : s)
        for (size_t k = i; k < end; k++) s += v[k];
        sum += s;
    }
    *mean = n ? sum / (double)n : 0;
    const float middle = (float)*mean;
    for (size_t i = 0; i < n; i += PART) {
        const size_t end = i + PART < n ? i + PART : n;
        float s = 0;
#pragma omp simd reduction(+ : s)
        for (size_t k = i; k < end; k++) s += (v[k] - middle) * (v[k] - middle);
        square += s;
    }
    *sd = n > 1 ? sqrt(square / (double)(n - 1)) : 0;
}

/* Moves the usable values to the front; how many there are. */
static size_t gather(float *v, const unsigned char *usable, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        v[kept] = v[i];
        kept += usable[i];
    }
    return kept;
}

/* Areas of a field, whose values are moved. */
static void measure_areas(float *v, const unsigned char *usable, size_t n, const double *u, size_t n_u, struct areas *a)
{
    double mean, sd;
    n = gather(v, usable, n);
    moments(v, n, &mean, &sd);
    for (size_t k = 0; k < n_u; k++) {
        const float lo = (float)(mean - u[k] * sd), hi = (float)(mean + u[k] * sd);
        uint32_t below = 0, above = 0;
#pragma omp simd reduction(+ : below, above)
        for (size_t i = 0; i < n; i++) {
            below += v[i] < lo;
            above += v[i] > hi;
        }
        a->dark[k] = n ? (double)below / (double)n : 0;
        a->bright[k] = n ? (double)above / (double)n : 0;
    }
}

/* ------------------------------------------------------------------ surrogates */

struct null {
    struct mro_grid grid;
    size_t fields, n_u;
    double u[MRO_HAADF_LEVELS];
    unsigned char *usable; /* of the grid */
    struct areas *area;    /* of each field */
    struct areas observed;
};

static void null_release(struct null *n)
{
    free(n->usable);
    free(n->area);
    memset(n, 0, sizeof *n);
}

static enum mro_code draw_field(struct mro_device *d, const struct null *null, const float *gain, uint64_t seed,
                                uint64_t stream, struct areas *a, struct mro_error *e)
{
    const struct mro_grid *g = &null->grid;
    const size_t n = g->ny * g->nx;
    const double wide[2] = { -1, 1e3 };
    struct mro_buffer spectrum = { 0 }, real = { 0 };
    float *v = malloc(n * sizeof *v);
    enum mro_code rc = MRO_OK;
    if (v == NULL) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a field of %zu x %zu", g->nx, g->ny);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &spectrum, n * sizeof(mro_c32), e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &real, n * sizeof *v, e);
    if (rc == MRO_OK) rc = d->ops->noise_spectrum(d, g, seed, stream, wide, 0.1, &spectrum, e);
    if (rc == MRO_OK) rc = d->ops->multiply(d, g, &spectrum, gain, e);
    if (rc == MRO_OK) rc = d->ops->inverse(d, g, &spectrum, &real, e);
    if (rc == MRO_OK) rc = d->ops->download(d, v, &real, n * sizeof *v, e);
    if (rc == MRO_OK) measure_areas(v, null->usable, n, null->u, null->n_u, a);
    d->ops->release(d, &spectrum);
    d->ops->release(d, &real);
    free(v);
    return rc;
}

/* Highest frequency that the smoothed field needs. */
static double field_limit(const struct mro_rings *rings, const struct mro_haadf_filter *f)
{
    double total = 0, sum = 0;
    for (size_t i = 0; i < rings->n; i++) {
        const double w = mro_haadf_gain(f, rings->q[i]);
        total += w * w * rings->power[i] * rings->modes[i];
    }
    for (size_t i = 0; i < rings->n; i++) {
        const double w = mro_haadf_gain(f, rings->q[i]);
        sum += w * w * rings->power[i] * rings->modes[i];
        if (sum >= KEPT_POWER * total) return rings->q[i] + rings->step;
    }
    return rings->n ? rings->q[rings->n - 1] : 1;
}

static enum mro_code usable_of(const struct mro_haadf_state *s, const struct mro_grid *g, unsigned char **usable,
                               struct mro_error *e)
{
    *usable = malloc(g->ny * g->nx);
    if (*usable == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a mask of %zu x %zu", g->nx, g->ny);
    for (size_t j = 0; j < g->ny; j++)
        for (size_t i = 0; i < g->nx; i++) (*usable)[j * g->nx + i] = mro_haadf_usable(s, g, j, i);
    return MRO_OK;
}

/* Draws the random fields; the observed one is measured on the same grid by the same code. */
static enum mro_code make_null(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_rings *rings,
                               const struct mro_haadf_filter *f, const struct mro_haadf_options *o, struct null *null,
                               struct mro_error *e)
{
    const double most = field_limit(rings, f);
    struct mro_grid *g = &null->grid;
    *g = (struct mro_grid){ mro_haadf_size((size_t)ceil(2 * most * s->grid.ly) + 2),
                            mro_haadf_size((size_t)ceil(2 * most * s->grid.lx) + 2), s->grid.ly, s->grid.lx };
    const size_t n = g->ny * g->nx;
    null->fields = (size_t)o->surrogates;
    if ((double)n * (double)null->fields > FIELD_WORK) {
        const size_t fit = (size_t)(FIELD_WORK / (double)n),
                     least = (size_t)o->surrogates < FEWEST ? (size_t)o->surrogates : FEWEST;
        null->fields = fit > least ? fit : least;
    }
    float *gain = calloc(n, sizeof *gain), *v = malloc(n * sizeof *v);
    null->area = calloc(null->fields, sizeof *null->area);
    enum mro_code rc = MRO_OK;
    if (gain == NULL || v == NULL || null->area == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for random fields of %zu x %zu", g->nx, g->ny);
        goto done;
    }
    if ((rc = usable_of(s, g, &null->usable, e))) goto done;
    if ((rc = mro_haadf_field(d, s, f, g, v, e))) goto done;
    measure_areas(v, null->usable, n, null->u, null->n_u, &null->observed);
    for (size_t j = 0; j < g->ny; j++)
        for (size_t i = 0; i < g->nx; i++) {
            const ptrdiff_t ky = (ptrdiff_t)(j <= g->ny / 2 ? j : g->ny - j),
                            kx = (ptrdiff_t)(i <= g->nx / 2 ? i : g->nx - i);
            const double q = hypot((double)ky / g->ly, (double)kx / g->lx);
            double power = fmax(0, mro_rings_at(rings, q));
            for (int a = 0; a < 2; a++)
                if ((a ? ky : kx) < s->lines[a]) power += s->line_power[a];
            gain[j * g->nx + i] = (float)(mro_haadf_mode_gain(s, f, q, ky, kx) * sqrt(power));
        }
#pragma omp parallel for schedule(dynamic) num_threads(d->threads) if (d->ops->concurrent)
    for (size_t k = 0; k < null->fields; k++) {
        struct mro_error mine = { 0 };
        const enum mro_code code = draw_field(d, null, gain, o->seed, STREAM + k, null->area + k, &mine);
        if (code) {
#pragma omp critical(mro_haadf_error)
            if (rc == MRO_OK) {
                rc = code;
                if (e) *e = mine;
            }
        }
    }
done:
    free(gain);
    free(v);
    return rc;
}

/* Largest excess of area over the thresholds, each in units of its spread among the surrogates, and at which one. */
static double excess(const double *area, const double *mean, const double *sd, size_t n_u, size_t *at)
{
    double most = -INFINITY;
    for (size_t k = 0; k < n_u; k++) {
        const double z = sd[k] > 0 ? (area[k] - mean[k]) / sd[k] : area[k] > mean[k] ? 1e3 : 0;
        if (z > most) {
            most = z;
            if (at) *at = k;
        }
    }
    return most;
}

static double p_of(const struct null *null, bool bright, double *mean, size_t *at)
{
    double sd[MRO_HAADF_LEVELS] = { 0 };
    for (size_t k = 0; k < null->n_u; k++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < null->fields; i++) sum += (bright ? null->area[i].bright : null->area[i].dark)[k];
        mean[k] = sum / (double)null->fields;
        for (size_t i = 0; i < null->fields; i++) {
            const double v = (bright ? null->area[i].bright : null->area[i].dark)[k] - mean[k];
            square += v * v;
        }
        sd[k] = sqrt(square / (double)null->fields);
    }
    const size_t tested = null->n_u;
    const double seen = excess(bright ? null->observed.bright : null->observed.dark, mean, sd, tested, at);
    size_t reached = 0;
    for (size_t i = 0; i < null->fields; i++)
        reached += excess(bright ? null->area[i].bright : null->area[i].dark, mean, sd, tested, NULL) >= seen;
    return (1.0 + (double)reached) / (1.0 + (double)null->fields);
}

/* ------------------------------------------------------------------ shapes of regions */

/* The map with its thresholded sets. */
struct map {
    struct mro_grid grid;
    float *v;
    unsigned char *usable;     /* NULL = all */
    double mean, sd, area_nm2; /* of the usable part */
};

static size_t root_of(size_t *parent, size_t i)
{
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

/* Number of connected sets (4 neighbours) of samples beyond a level, but for those smaller than `least` samples. */
static enum mro_code count_regions(const struct map *m, const unsigned char *set, size_t least, size_t *count,
                                   size_t *samples, struct mro_error *e)
{
    const size_t ny = m->grid.ny, nx = m->grid.nx, n = ny * nx;
    size_t *parent = malloc(n * sizeof *parent), *size = calloc(n, sizeof *size);
    *count = *samples = 0;
    if (parent == NULL || size == NULL) {
        free(parent);
        free(size);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the regions of %zu x %zu samples", nx, ny);
    }
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const size_t i = y * nx + x;
            parent[i] = i;
            if (!set[i]) continue;
            if (x && set[i - 1]) parent[root_of(parent, i)] = root_of(parent, i - 1);
            if (y && set[i - nx]) parent[root_of(parent, i)] = root_of(parent, i - nx);
        }
    for (size_t i = 0; i < n; i++)
        if (set[i]) size[root_of(parent, i)]++;
    for (size_t i = 0; i < n; i++)
        if (set[i]) {
            *count += parent[i] == i && size[i] >= least;
            ++*samples;
        }
    free(parent);
    free(size);
    return MRO_OK;
}

/* Squared distance along one line (Felzenszwalb and Huttenlocher, Theory Comput. 8 (2012) 415). */
static void distance_line(const float *f, size_t n, double step2, float *out, size_t *v, double *z)
{
    size_t k = 0;
    v[0] = 0;
    z[0] = -INFINITY;
    z[1] = INFINITY;
    for (size_t q = 1; q < n; q++) {
        double s;
        for (;;) {
            const double a = f[q] + step2 * (double)q * (double)q, b = f[v[k]] + step2 * (double)v[k] * (double)v[k];
            s = (a - b) / (2 * step2 * ((double)q - (double)v[k]));
            if (s > z[k] || k == 0) break;
            k--;
        }
        if (!(s > z[k])) s = z[k];
        v[++k] = q;
        z[k] = s;
        z[k + 1] = INFINITY;
    }
    k = 0;
    for (size_t q = 0; q < n; q++) {
        while (z[k + 1] < (double)q) k++;
        const double t = (double)q - (double)v[k];
        out[q] = (float)(step2 * t * t + f[v[k]]);
    }
}

/* Distance (nm) of every sample where `set` to the nearest one where not. */
static bool distances(const struct mro_grid *g, const unsigned char *set, float *out)
{
    const size_t ny = g->ny, nx = g->nx, most = ny > nx ? ny : nx;
    const double py = g->ly / (double)ny, px = g->lx / (double)nx;
    float *line = malloc(2 * most * sizeof *line);
    size_t *v = malloc(most * sizeof *v);
    double *z = malloc((most + 1) * sizeof *z);
    const bool ready = line && v && z;
    const float far = (float)(4 * (g->ly * g->ly + g->lx * g->lx));
    if (ready) {
        for (size_t y = 0; y < ny; y++) {
            for (size_t x = 0; x < nx; x++) line[x] = set[y * nx + x] ? far : 0;
            distance_line(line, nx, px * px, out + y * nx, v, z);
        }
        for (size_t x = 0; x < nx; x++) {
            for (size_t y = 0; y < ny; y++) line[y] = out[y * nx + x];
            distance_line(line, ny, py * py, line + most, v, z);
            for (size_t y = 0; y < ny; y++) out[y * nx + x] = sqrtf(line[most + y]);
        }
    }
    free(line);
    free(v);
    free(z);
    return ready;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Mean over the middle half of the set's area of the diameter of the largest disc inside the set that covers a sample
 * (Hildebrand and Ruegsegger). Samples whose disc is bounded by what is not usable are left out. NaN when none is left.
 */
static enum mro_code local_thickness(const struct map *m, const unsigned char *set, double *diameter,
                                     struct mro_error *e)
{
    const struct mro_grid *g = &m->grid;
    const size_t ny = g->ny, nx = g->nx, n = ny * nx;
    const double py = g->ly / (double)ny, px = g->lx / (double)nx;
    float *dist = malloc(n * sizeof *dist), *edge = malloc(n * sizeof *edge), *size = calloc(n, sizeof *size);
    unsigned char *cut = calloc(n, 1);
    enum mro_code rc = MRO_OK;
    *diameter = NAN;
    if (dist == NULL || edge == NULL || size == NULL || cut == NULL || !distances(g, set, dist) ||
        !distances(g, m->usable, edge)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the regions of %zu x %zu samples", nx, ny);
        goto done;
    }
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const size_t i = y * nx + x;
            const double r = dist[i];
            if (!set[i] || !(r < g->ly + g->lx)) continue;
            bool covered = false; /* by the disc of a neighbour */
            for (int dy = -1; dy <= 1 && !covered; dy++)
                for (int dx = -1; dx <= 1 && !covered; dx++) {
                    const ptrdiff_t yy = (ptrdiff_t)y + dy, xx = (ptrdiff_t)x + dx;
                    if ((dy == 0 && dx == 0) || yy < 0 || xx < 0 || yy >= (ptrdiff_t)ny || xx >= (ptrdiff_t)nx)
                        continue;
                    covered = dist[(size_t)yy * nx + (size_t)xx] >= r + 0.999 * hypot(dy * py, dx * px);
                }
            if (covered) continue;
            const unsigned char bounded = edge[i] < r + 0.75 * (py + px);
            const ptrdiff_t ry = (ptrdiff_t)(r / py), top = (ptrdiff_t)y - ry < 0 ? 0 : (ptrdiff_t)y - ry;
            for (ptrdiff_t yy = top; yy <= (ptrdiff_t)y + ry && yy < (ptrdiff_t)ny; yy++) {
                const double t = (double)(yy - (ptrdiff_t)y) * py, w = r * r - t * t;
                const ptrdiff_t rx = w > 0 ? (ptrdiff_t)(sqrt(w) / px) : 0;
                ptrdiff_t from = (ptrdiff_t)x - rx, to = (ptrdiff_t)x + rx;
                if (from < 0) from = 0;
                if (to >= (ptrdiff_t)nx) to = (ptrdiff_t)nx - 1;
                for (size_t k = (size_t)yy * nx + (size_t)from; from <= to; from++, k++)
                    if (size[k] < (float)r) {
                        size[k] = (float)r;
                        cut[k] = bounded;
                    }
            }
        }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (set[i] && size[i] > 0 && !cut[i]) size[kept++] = size[i];
    /* The mean of the middle half: distances between samples take few values, and a median would be one of them. */
    if (kept) {
        qsort(size, kept, sizeof *size, by_value);
        double sum = 0;
        const size_t from = kept / 4, to = kept - kept / 4;
        for (size_t i = from; i < to; i++) sum += size[i];
        *diameter = 2 * sum / (double)(to - from);
    }
done:
    free(dist);
    free(edge);
    free(size);
    free(cut);
    return rc;
}

/* Threshold half way between the medians of the two classes it makes, in standard deviations from the mean (signed);
 * `apart`: distance of these medians over the spread within the classes. Counted in bins of a thousandth of the spread.
 */
static enum mro_code two_level_threshold(const struct map *m, double *at, double *apart, struct mro_error *e)
{
    enum { BINS = 16384 };
    const size_t n = m->grid.ny * m->grid.nx;
    const double step = 16 * m->sd / BINS, lo = m->mean - 8 * m->sd;
    double *bin = calloc(BINS, sizeof *bin);
    if (bin == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a histogram");
    for (size_t i = 0; i < n; i++)
        if (m->usable[i]) bin[(size_t)fmin(BINS - 1, fmax(0, (m->v[i] - lo) / step))]++;
    size_t t = BINS / 2, median[2] = { 0, 0 };
    /* Otsu's threshold by the ordinary iteration of means, which starts the one of medians well. */
    for (int pass = 0; pass < 60; pass++) {
        double sum[2] = { 0, 0 }, count[2] = { 0, 0 };
        for (size_t i = 0; i < BINS; i++) {
            sum[i >= t] += bin[i] * (double)i;
            count[i >= t] += bin[i];
        }
        if (!(count[0] > 0) || !(count[1] > 0)) break;
        const size_t next = (size_t)(0.5 * (sum[0] / count[0] + sum[1] / count[1]) + 0.5);
        if (next == t) break;
        t = next;
    }
    for (int pass = 0; pass < 4; pass++) {
        for (int k = 0; k < 2; k++) {
            const size_t from = k ? t : 0, to = k ? BINS : t;
            double half = 0, seen = 0;
            for (size_t i = from; i < to; i++) half += 0.5 * bin[i];
            for (median[k] = from; median[k] < to; median[k]++)
                if ((seen += bin[median[k]]) >= half) break;
        }
        t = (median[0] + median[1] + 1) / 2;
    }
    double within = 0, count = 0;
    for (size_t i = 0; i < BINS; i++) {
        const double x = (double)i - (double)median[i >= t];
        within += bin[i] * x * x;
        count += bin[i];
    }
    *at = (lo + (double)t * step - m->mean) / m->sd;
    *apart = within > 0 ? ((double)median[1] - (double)median[0]) / sqrt(within / count) : 0;
    free(bin);
    return MRO_OK;
}

/* The set beyond `u` standard deviations: below the mean, or (bright) above. */
static void threshold_set(const struct map *m, double u, bool bright, unsigned char *set)
{
    const size_t n = m->grid.ny * m->grid.nx;
    const float level = (float)(m->mean + (bright ? u : -u) * m->sd);
    for (size_t i = 0; i < n; i++) set[i] = m->usable[i] && (bright ? m->v[i] > level : m->v[i] < level);
}

static enum mro_code size_regions(const struct map *m, size_t at, double mean_q2, bool bright,
                                  const struct mro_haadf_options *o, const double *null_area,
                                  struct mro_haadf_regions *r, unsigned char *set, struct mro_error *e)
{
    const struct mro_grid *g = &m->grid;
    const double sample = g->ly / (double)g->ny * g->lx / (double)g->nx;
    const double wave = 1 / o->band_inv_nm[1];
    const size_t least = (size_t)fmax(1, SPECK * wave * wave / sample);
    size_t samples, usable = (size_t)(m->area_nm2 / sample + 0.5);
    r->n_levels = o->n_thresholds;
    for (size_t k = 0; k < o->n_thresholds; k++) {
        struct mro_haadf_level *l = r->level + k;
        const double u = l->threshold_sd = o->thresholds_sd[k];
        threshold_set(m, u, bright, set);
        MRO_TRY(count_regions(m, set, least, &l->count, &samples, e));
        l->density_per_nm2 = (double)l->count / m->area_nm2;
        l->area_fraction = (double)samples / (double)usable;
        l->diameter_nm = l->count ? sqrt(4 * l->area_fraction / (M_PI * l->density_per_nm2)) : NAN;
        l->null_area_fraction = null_area[k];
        /* E[Euler characteristic] = L (2 pi)^(-3/2) u exp(-u^2/2), L = 2 pi^2 <q^2> (Adler). */
        l->null_density_per_nm2 = 2 * M_PI * M_PI * mean_q2 * pow(2 * M_PI, -1.5) * u * exp(-0.5 * u * u);
        l->null_diameter_nm = sqrt(4 * gsl_cdf_ugaussian_Q(u) / (M_PI * l->null_density_per_nm2));
    }
    threshold_set(m, r->threshold_sd, bright, set);
    MRO_TRY(count_regions(m, set, least, &r->count, &samples, e));
    r->density_per_nm2 = (double)r->count / m->area_nm2;
    r->area_fraction = (double)samples / (double)usable;
    const struct mro_haadf_level *l = r->level + at;
    r->null_threshold_sd = l->threshold_sd;
    r->null_ratio = l->null_area_fraction > 0 ? l->area_fraction / l->null_area_fraction : NAN;
    r->diameter_nm = NAN;
    if (r->p_value < MRO_HAADF_CALLED && samples) MRO_TRY(local_thickness(m, set, &r->diameter_nm, e));
    return MRO_OK;
}

static enum mro_code lend_image(struct mro_image *im, const struct mro_grid *g, const double pixel_nm[2],
                                struct mro_error *e)
{
    MRO_TRY(mro_image_alloc(im, g->ny, g->nx, e));
    im->kind = MRO_KIND_MAP;
    mro_axis_set(&im->axis[0], g->ly / (double)g->ny, 0.5 * pixel_nm[0], "nm", MRO_SOURCE_UNKNOWN);
    mro_axis_set(&im->axis[1], g->lx / (double)g->nx, 0.5 * pixel_nm[1], "nm", MRO_SOURCE_UNKNOWN);
    im->axis[0].size = g->ny;
    im->axis[1].size = g->nx;
    return MRO_OK;
}

enum mro_code mro_haadf_find_regions(struct mro_device *d, const struct mro_haadf_state *s,
                                     const struct mro_rings *rings, const struct mro_haadf_filter *f,
                                     const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    struct null null = { 0 };
    struct map m = { 0 };
    unsigned char *set = NULL;
    size_t at[2] = { 0, 0 };
    double mean_dark[MRO_HAADF_LEVELS], mean_bright[MRO_HAADF_LEVELS], split = 0, apart = 0;
    enum mro_code rc = MRO_OK;
    const double per_nm = MAP_PER_BAND * o->band_inv_nm[1];
    m.grid = (struct mro_grid){ mro_haadf_size((size_t)ceil(per_nm * s->grid.ly)),
                                mro_haadf_size((size_t)ceil(per_nm * s->grid.lx)), s->grid.ly, s->grid.lx };
    if (m.grid.ny > s->ny) m.grid.ny = s->ny;
    if (m.grid.nx > s->nx) m.grid.nx = s->nx;
    const size_t n = m.grid.ny * m.grid.nx;
    m.v = malloc(n * sizeof *m.v);
    set = malloc(n);
    if (m.v == NULL || set == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", m.grid.nx, m.grid.ny);
        goto done;
    }
    if ((rc = mro_haadf_field(d, s, f, &m.grid, m.v, e))) goto done;
    if ((rc = usable_of(s, &m.grid, &m.usable, e))) goto done;
    float *values = malloc(n * sizeof *values);
    if (values == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", m.grid.nx, m.grid.ny);
        goto done;
    }
    memcpy(values, m.v, n * sizeof *values);
    const size_t usable = gather(values, m.usable, n);
    moments(values, usable, &m.mean, &m.sd);
    free(values);
    m.area_nm2 = (double)usable / (double)n * s->grid.ly * s->grid.lx;
    if (!(m.sd > 0) || usable < 100) goto done;
    if ((rc = two_level_threshold(&m, &split, &apart, e))) goto done;

    null.n_u = o->n_thresholds;
    memcpy(null.u, o->thresholds_sd, null.n_u * sizeof *null.u);
    if ((rc = make_null(d, s, rings, f, o, &null, e))) goto done;
    r->dark.p_value = p_of(&null, false, mean_dark, at);
    r->bright.p_value = p_of(&null, true, mean_bright, at + 1);
    double q2 = 0, weight = 0;
    for (size_t i = 0; i < rings->n; i++) {
        const double w = mro_haadf_gain(f, rings->q[i]), power = w * w * rings->power[i] * rings->modes[i];
        q2 += power * rings->q[i] * rings->q[i];
        weight += power;
    }
    q2 /= weight > 0 ? weight : 1;
    for (int k = 0; k < 2; k++) {
        struct mro_haadf_regions *one = k ? &r->bright : &r->dark;
        double *mean = k ? mean_bright : mean_dark;
        const double u = k ? split : -split;
        one->two_levels = apart > TWO_LEVELS && one->p_value < MRO_HAADF_CALLED;
        one->threshold_sd = one->two_levels ? u : o->thresholds_sd[0];
        if ((rc = size_regions(&m, at[k], q2, k, o, mean, one, set, e))) goto done;
        r->mask_level[k] = m.mean + (k ? 1 : -1) * one->threshold_sd * m.sd;
    }
    r->p_value = fmin(1, 2 * fmin(r->dark.p_value, r->bright.p_value));
    r->heterogeneous = r->p_value < MRO_HAADF_CALLED;
    if ((rc = lend_image(&r->flat, &m.grid, s->pixel_nm, e))) goto done;
    if ((rc = lend_image(&r->mask, &m.grid, s->pixel_nm, e))) goto done;
    for (size_t i = 0; i < n; i++) {
        const bool known = m.usable[i];
        r->flat.px[i] = known ? m.v[i] : NAN;
        r->mask.px[i] = !known ? NAN : m.v[i] < r->mask_level[0] ? -1 : m.v[i] > r->mask_level[1] ? 1 : 0;
    }
done:
    null_release(&null);
    free(m.v);
    free(m.usable);
    free(set);
    return rc;
}

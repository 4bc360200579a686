/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Dark and bright regions of the smoothed field: how many, how large. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/sizes.h"
#include "core/team.h"
#include "ops/haadf/haadf_internal.h"

/* Distance of the medians of two classes in the spread within them: 2.2 for a Gaussian field split in its middle. */
#define TWO_LEVELS 3.0
#define SPECK 0.05 /* of a squared shortest wave: smaller sets are not counted as regions */

/* The map with its thresholded sets. */
struct map {
    struct mro_device *d;
    struct mro_grid grid;
    struct mro_buffer field, mask; /* on the device: values, and 1 where they may be used */
    const float *v;                /* the same on the host */
    float *own;                    /* v, where the host cannot read the device's memory */
    unsigned char *usable;
    size_t n_usable;
    double mean, sd, area_nm2; /* of the usable part */
};

static void map_release(struct map *m)
{
    m->d->ops->release(m->d, &m->field);
    m->d->ops->release(m->d, &m->mask);
    free(m->own);
    free(m->usable);
}

/* Number of usable samples, their mean and standard deviation, in an order of its own for every size. The field has no
 * mean but what the mask makes, so that squares lose nothing. */
static bool moments(struct map *m)
{
    enum { PART = 4096 };
    const size_t n = m->grid.ny * m->grid.nx, parts = (n + PART - 1) / PART;
    const unsigned char *usable = m->usable;
    const float *values = m->v;
    double *sum = malloc(3 * parts * sizeof *sum);
    if (sum == NULL) return false;
    double *square = sum + parts, *count = square + parts;
#pragma omp parallel for schedule(static) num_threads(m->d->threads)
    for (size_t p = 0; p < parts; p++) {
        const size_t end = (p + 1) * PART < n ? (p + 1) * PART : n;
        float s = 0, s2 = 0;
        unsigned c = 0;
#pragma omp simd reduction(+ : s, s2, c)
        for (size_t i = p * PART; i < end; i++) {
            const float v = usable[i] ? values[i] : 0;
            s += v;
            s2 += v * v;
            c += usable[i];
        }
        sum[p] = s;
        square[p] = s2;
        count[p] = c;
    }
    double total = 0, squares = 0, used = 0;
    for (size_t p = 0; p < parts; p++) {
        total += sum[p];
        squares += square[p];
        used += count[p];
    }
    m->n_usable = (size_t)used;
    m->mean = used > 0 ? total / used : 0;
    m->sd = used > 1 ? sqrt(fmax(0, squares - total * m->mean) / (used - 1)) : 0;
    free(sum);
    return true;
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

/* Distance (nm) of every sample where `set` to the nearest one where not. False when out of memory. */
static bool distances(const struct mro_grid *g, const unsigned char *set, int threads, float *out)
{
    enum { COLUMNS = 16 }; /* a cache line of every row is used whole */
    const size_t ny = g->ny, nx = g->nx, most = ny > nx ? ny : nx;
    const double py = g->ly / (double)ny, px = g->lx / (double)nx;
    const float far = (float)(4 * (g->ly * g->ly + g->lx * g->lx));
    bool failed = false;
#pragma omp parallel num_threads(threads)
    {
        float *line = malloc((COLUMNS + 1) * most * sizeof *line);
        size_t *v = malloc(most * sizeof *v);
        double *z = malloc((most + 1) * sizeof *z);
        const bool ready = line && v && z;
        if (!ready) mro_raise(&failed);
#pragma omp for schedule(static)
        for (size_t y = 0; y < ny; y++) {
            if (!ready) continue;
            for (size_t x = 0; x < nx; x++) line[x] = set[y * nx + x] ? far : 0;
            distance_line(line, nx, px * px, out + y * nx, v, z);
        }
#pragma omp for schedule(static)
        for (size_t x0 = 0; x0 < nx; x0 += COLUMNS) {
            const size_t w = nx - x0 < COLUMNS ? nx - x0 : COLUMNS;
            float *done = line + COLUMNS * most;
            if (!ready) continue;
            for (size_t y = 0; y < ny; y++)
                for (size_t i = 0; i < w; i++) line[i * most + y] = out[y * nx + x0 + i];
            for (size_t i = 0; i < w; i++) {
                distance_line(line + i * most, ny, py * py, done, v, z);
                for (size_t y = 0; y < ny; y++) line[i * most + y] = sqrtf(done[y]);
            }
            for (size_t y = 0; y < ny; y++)
                for (size_t i = 0; i < w; i++) out[y * nx + x0 + i] = line[i * most + y];
        }
        free(line);
        free(v);
        free(z);
    }
    return !failed;
}

/* The same for what is usable: a rectangle where nothing is masked. */
static bool border_distances(const struct map *m, float *out)
{
    const struct mro_grid *g = &m->grid;
    const size_t ny = g->ny, nx = g->nx;
    size_t y0 = 0, y1 = ny, x0 = 0, x1 = nx; /* [y0, y1) x [x0, x1) is usable */
    while (y0 < ny && memchr(m->usable + y0 * nx, 1, nx) == NULL) y0++;
    while (y1 > y0 && memchr(m->usable + (y1 - 1) * nx, 1, nx) == NULL) y1--;
    if (y0 == y1) return distances(g, m->usable, m->d->threads, out);
    while (x0 < nx && !m->usable[y0 * nx + x0]) x0++;
    while (x1 > x0 && !m->usable[y0 * nx + x1 - 1]) x1--;
    if (m->n_usable != (y1 - y0) * (x1 - x0)) return distances(g, m->usable, m->d->threads, out);
    const float py = (float)(g->ly / (double)ny), px = (float)(g->lx / (double)nx), far = 4 * (float)(g->ly + g->lx);
    const float up = y0 ? 0 : far, down = y1 < ny ? 0 : far, left = x0 ? 0 : far, right = x1 < nx ? 0 : far;
#pragma omp parallel for schedule(static) num_threads(m->d->threads)
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            const bool in = y >= y0 && y < y1 && x >= x0 && x < x1;
            const float dy = fminf((float)(y - y0 + 1) * py + up, (float)(y1 - y) * py + down);
            const float dx = fminf((float)(x - x0 + 1) * px + left, (float)(x1 - x) * px + right);
            out[y * nx + x] = in ? fminf(dy, dx) : 0;
        }
    return true;
}

/* Discs that reach no other's rim, as the thickness needs them. */
struct disc {
    uint32_t y, x;
    float r;
    bool bounded; /* by what is not usable */
};

/* First disc of row y or below it. */
static size_t first_disc(const struct disc *disc, size_t n, double y)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if ((double)disc[mid].y < y)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Rows [y0, y1) of the thickness: the radius of the largest disc over a sample, and whether one of that size is
 * bounded. Discs come ordered by row; none is larger than `most`. */
static void paint_discs(const struct disc *disc, size_t n, double most, const double step[2], size_t nx, size_t y0,
                        size_t y1, float *size, unsigned char *cut)
{
    const size_t end_disc = first_disc(disc, n, (double)y1 + most / step[0] + 1);
    for (size_t k = first_disc(disc, n, (double)y0 - most / step[0] - 1); k < end_disc; k++) {
        const double r = disc[k].r;
        const ptrdiff_t y = disc[k].y, x = disc[k].x, ry = (ptrdiff_t)(r / step[0]);
        ptrdiff_t top = y - ry, end = y + ry + 1;
        if (top < (ptrdiff_t)y0) top = (ptrdiff_t)y0;
        if (end > (ptrdiff_t)y1) end = (ptrdiff_t)y1;
        for (ptrdiff_t yy = top; yy < end; yy++) {
            const double t = (double)(yy - y) * step[0], w = r * r - t * t;
            const ptrdiff_t rx = w > 0 ? (ptrdiff_t)(sqrt(w) / step[1]) : 0;
            const size_t from = x > rx ? (size_t)(x - rx) : 0, to = (size_t)(x + rx) < nx ? (size_t)(x + rx) : nx - 1;
            float *row = size + (size_t)yy * nx;
            unsigned char *out = cut + (size_t)yy * nx;
            for (size_t i = from; i <= to; i++) {
                const bool larger = row[i] < disc[k].r, equal = row[i] == disc[k].r;
                out[i] = larger ? disc[k].bounded : equal ? out[i] | disc[k].bounded : out[i];
                row[i] = larger ? disc[k].r : row[i];
            }
        }
    }
}

/* Discs inside the set that no neighbour's disc covers, ordered by row. */
static bool find_discs(const struct map *m, const unsigned char *set, const float *dist, const float *edge,
                       struct disc **discs, size_t *n_discs)
{
    const struct mro_grid *g = &m->grid;
    const size_t ny = g->ny, nx = g->nx;
    const double py = g->ly / (double)ny, px = g->lx / (double)nx;
    size_t *start = calloc(ny + 1, sizeof *start);
    *discs = NULL;
    *n_discs = 0;
    if (start == NULL) return false;
    const float away[2][2] = { { 0, (float)(0.999 * px) }, { (float)(0.999 * py), (float)(0.999 * hypot(py, px)) } };
    for (int pass = 0; pass < 2; pass++) { /* counts, then fills */
#pragma omp parallel for schedule(static) num_threads(m->d->threads)
        for (size_t y = 0; y < ny; y++) {
            size_t here = 0;
            for (size_t x = 0; x < nx; x++) {
                const float r = dist[y * nx + x];
                if (!set[y * nx + x] || !((double)r < g->ly + g->lx)) continue;
                bool covered = false; /* by the disc of a neighbour */
                for (int dy = -1; dy <= 1 && !covered; dy++)
                    for (int dx = -1; dx <= 1 && !covered; dx++) {
                        const ptrdiff_t yy = (ptrdiff_t)y + dy, xx = (ptrdiff_t)x + dx;
                        if ((dy == 0 && dx == 0) || yy < 0 || xx < 0 || yy >= (ptrdiff_t)ny || xx >= (ptrdiff_t)nx)
                            continue;
                        covered = dist[(size_t)yy * nx + (size_t)xx] >= r + away[dy != 0][dx != 0];
                    }
                if (covered) continue;
                if (pass)
                    (*discs)[start[y] + here] =
                        (struct disc){ (uint32_t)y, (uint32_t)x, r, edge[y * nx + x] < r + (float)(0.75 * (py + px)) };
                here++;
            }
            if (!pass) start[y + 1] = here;
        }
        if (pass) break;
        for (size_t y = 0; y < ny; y++) start[y + 1] += start[y];
        *n_discs = start[ny];
        if ((*discs = malloc((*n_discs + 1) * sizeof **discs)) == NULL) break;
    }
    free(start);
    return *discs != NULL;
}

/* Mean over the middle half of the set's area of the diameter of the largest disc inside the set that covers a sample
 * (Hildebrand and Ruegsegger). Samples whose disc is bounded by what is not usable are left out. NaN when none is left.
 */
static enum mro_code local_thickness(const struct map *m, const unsigned char *set, double *diameter,
                                     struct mro_error *e)
{
    const struct mro_grid *g = &m->grid;
    const size_t ny = g->ny, nx = g->nx, n = ny * nx;
    const double step[2] = { g->ly / (double)ny, g->lx / (double)nx };
    float *dist = malloc(n * sizeof *dist), *edge = malloc(n * sizeof *edge), *size = calloc(n, sizeof *size);
    unsigned char *cut = calloc(n, 1);
    struct disc *disc = NULL;
    size_t n_discs;
    enum mro_code rc = MRO_OK;
    *diameter = NAN;
    if (dist == NULL || edge == NULL || size == NULL || cut == NULL || !distances(g, set, m->d->threads, dist) ||
        !border_distances(m, edge) || !find_discs(m, set, dist, edge, &disc, &n_discs)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for the regions of %zu x %zu samples", nx, ny);
        goto done;
    }
    const size_t band = 64; /* rows painted at once by a thread */
    double most = 0;
    for (size_t k = 0; k < n_discs; k++) most = fmax(most, disc[k].r);
#pragma omp parallel for schedule(dynamic) num_threads(m->d->threads)
    for (size_t y0 = 0; y0 < ny; y0 += band)
        paint_discs(disc, n_discs, most, step, nx, y0, y0 + band < ny ? y0 + band : ny, size, cut);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (set[i] && size[i] > 0 && !cut[i]) size[kept++] = size[i];
    /* The mean of the middle half: distances between samples take few values, and a median would be one of them. */
    if (kept) {
        const size_t from = kept / 4, to = kept - kept / 4;
        double sum = 0;
        mro_select(size, kept, from); /* the smaller ones stand before it */
        mro_select(size + from, kept - from, to - 1 - from);
        for (size_t i = from; i < to; i++) sum += size[i];
        *diameter = 2 * sum / (double)(to - from);
    }
done:
    free(dist);
    free(edge);
    free(size);
    free(cut);
    free(disc);
    return rc;
}

/* Threshold half way between the medians of the two classes it makes, in standard deviations from the mean (signed);
 * `apart`: distance of these medians over the spread within the classes. Counted in bins of a thousandth of the spread.
 */
static enum mro_code two_level_threshold(const struct map *m, double *at, double *apart, struct mro_error *e)
{
    enum { BINS = MRO_BINS_MOST };
    const double step = 16 * m->sd / BINS, lo = m->mean - 8 * m->sd;
    uint32_t bin[BINS];
    MRO_TRY(
        m->d->ops->histogram(m->d, &m->field, &m->mask, m->grid.ny * m->grid.nx, (float)lo, (float)step, BINS, bin, e));
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
    return MRO_OK;
}

static float level_of(const struct map *m, double u, bool bright)
{
    return (float)(m->mean + (bright ? u : -u) * m->sd);
}

/* The set beyond `u` standard deviations: below the mean, or (bright) above. */
static void threshold_set(const struct map *m, double u, bool bright, unsigned char *set)
{
    const size_t n = m->grid.ny * m->grid.nx;
    const float level = level_of(m, u, bright);
#pragma omp parallel for simd schedule(static) num_threads(m->d->threads)
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
    struct mro_region_sums sums, first = { 0 };
    r->n_levels = o->n_thresholds;
    for (size_t k = 0; k < o->n_thresholds; k++) {
        struct mro_haadf_level *l = r->level + k;
        const double u = l->threshold_sd = o->thresholds_sd[k];
        MRO_TRY(m->d->ops->regions(m->d, &m->field, &m->mask, g->ny, g->nx, level_of(m, u, bright), bright, least,
                                   &sums, e));
        if (k == 0) first = sums;
        l->count = sums.count;
        l->density_per_nm2 = (double)l->count / m->area_nm2;
        l->area_fraction = (double)sums.samples / (double)m->n_usable;
        l->diameter_nm = l->count ? sqrt(4 * l->area_fraction / (M_PI * l->density_per_nm2)) : NAN;
        l->null_area_fraction = null_area[k];
        /* E[Euler characteristic] = L (2 pi)^(-3/2) u exp(-u^2/2), L = 2 pi^2 <q^2> (Adler). */
        l->null_density_per_nm2 = 2 * M_PI * M_PI * mean_q2 * pow(2 * M_PI, -1.5) * u * exp(-0.5 * u * u);
        l->null_diameter_nm = sqrt(4 * gsl_cdf_ugaussian_Q(u) / (M_PI * l->null_density_per_nm2));
    }
    if (r->threshold_sd == o->thresholds_sd[0]) {
        sums = first;
    } else {
        MRO_TRY(m->d->ops->regions(m->d, &m->field, &m->mask, g->ny, g->nx, level_of(m, r->threshold_sd, bright),
                                   bright, least, &sums, e));
    }
    r->count = sums.count;
    r->density_per_nm2 = (double)r->count / m->area_nm2;
    r->area_fraction = (double)sums.samples / (double)m->n_usable;
    const struct mro_haadf_level *l = r->level + at;
    r->null_threshold_sd = l->threshold_sd;
    r->null_ratio = l->null_area_fraction > 0 ? l->area_fraction / l->null_area_fraction : NAN;
    r->diameter_nm = NAN;
    if (r->p_value < MRO_HAADF_CALLED && sums.samples) {
        threshold_set(m, r->threshold_sd, bright, set);
        MRO_TRY(local_thickness(m, set, &r->diameter_nm, e));
    }
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

/* The map of the field on its own grid. */
static enum mro_code make_map(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_haadf_filter *f,
                              double per_nm, struct map *m, struct mro_error *e)
{
    m->grid = (struct mro_grid){ mro_smooth_size((size_t)ceil(per_nm * s->grid.ly)),
                                 mro_smooth_size((size_t)ceil(per_nm * s->grid.lx)), s->grid.ly, s->grid.lx };
    if (m->grid.ny > s->ny) m->grid.ny = s->ny;
    if (m->grid.nx > s->nx) m->grid.nx = s->nx;
    const size_t n = m->grid.ny * m->grid.nx;
    if (n >= UINT32_MAX) return MRO_FAIL(e, MRO_EMEMORY, "a map of %zu x %zu samples", m->grid.nx, m->grid.ny);
    MRO_TRY(mro_haadf_field_on(d, s, f, &m->grid, &m->field, e));
    m->v = m->field.p;
    if (d->ops->runtime) {
        if ((m->v = m->own = malloc(n * sizeof *m->own)) == NULL)
            return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", m->grid.nx, m->grid.ny);
        MRO_TRY(d->ops->download(d, m->own, &m->field, n * sizeof *m->own, e));
    }
    MRO_TRY(mro_haadf_usable(s, &m->grid, d->threads, &m->usable, e));
    MRO_TRY(d->ops->alloc(d, &m->mask, n, e));
    MRO_TRY(d->ops->upload(d, &m->mask, m->usable, n, e));
    if (!moments(m)) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", m->grid.nx, m->grid.ny);
    m->area_nm2 = (double)m->n_usable / (double)n * s->grid.ly * s->grid.lx;
    return MRO_OK;
}

enum mro_code mro_haadf_find_regions(struct mro_device *d, const struct mro_haadf_state *s,
                                     const struct mro_rings *rings, const struct mro_haadf_filter *f,
                                     const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    struct mro_haadf_null null;
    struct map m = { .d = d };
    unsigned char *set = NULL;
    double split = 0, apart = 0;
    enum mro_code rc = make_map(d, s, f, MRO_HAADF_MAP_BANDS * o->band_inv_nm[1], &m, e);
    if (rc || !(m.sd > 0) || m.n_usable < 100) goto done;
    const size_t n = m.grid.ny * m.grid.nx;
    if ((set = malloc(n)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for a map of %zu x %zu", m.grid.nx, m.grid.ny);
        goto done;
    }
    if ((rc = two_level_threshold(&m, &split, &apart, e))) goto done;
    if ((rc = mro_haadf_draw_null(d, s, rings, f, o, &null, e))) goto done;
    r->dark.p_value = null.p[0];
    r->bright.p_value = null.p[1];
    double q2 = 0, weight = 0;
    for (size_t i = 0; i < rings->n; i++) {
        const double w = mro_haadf_gain(f, rings->q[i]), power = w * w * rings->power[i] * rings->modes[i];
        q2 += power * rings->q[i] * rings->q[i];
        weight += power;
    }
    q2 /= weight > 0 ? weight : 1;
    for (int k = 0; k < 2; k++) {
        struct mro_haadf_regions *one = k ? &r->bright : &r->dark;
        one->two_levels = apart > TWO_LEVELS && one->p_value < MRO_HAADF_CALLED;
        one->threshold_sd = one->two_levels ? (k ? split : -split) : o->thresholds_sd[0];
        if ((rc = size_regions(&m, null.at[k], q2, k, o, null.area[k], one, set, e))) goto done;
        r->mask_level[k] = m.mean + (k ? 1 : -1) * one->threshold_sd * m.sd;
    }
    r->p_value = fmin(1, 2 * fmin(r->dark.p_value, r->bright.p_value));
    r->heterogeneous = r->p_value < MRO_HAADF_CALLED;
    if ((rc = lend_image(&r->flat, &m.grid, s->pixel_nm, e))) goto done;
    if ((rc = lend_image(&r->mask, &m.grid, s->pixel_nm, e))) goto done;
    const double level[2] = { r->mask_level[0], r->mask_level[1] };
    float *flat = r->flat.px, *mask = r->mask.px;
#pragma omp parallel for schedule(static) num_threads(d->threads)
    for (size_t i = 0; i < n; i++) {
        const bool known = m.usable[i];
        flat[i] = known ? m.v[i] : NAN;
        mask[i] = !known ? NAN : m.v[i] < level[0] ? -1 : m.v[i] > level[1] ? 1 : 0;
    }
done:
    map_release(&m);
    free(set);
    return rc;
}

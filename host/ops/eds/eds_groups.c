/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Composition of bright and dark regions of a HAADF image, and where medium-range order lies. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "core/notes.h"
#include "mroscope/math/philox.h"
#include "ops/eds/eds_internal.h"

#define FIELD_SLACK 0.02 /* fields that differ by more are not the same */
#define LEAST_FLAT_NM 5.0
#define WORK 4e8 /* pixels times blocks, at most */
enum { SIDE_BLOCKS = 10, LEAST_SIDE_BLOCKS = 4, COARSE = 96 };
#define Z_REGISTERED 5.0 /* the highest of some hundred shifts, five maps: one in 10^4 by chance */

/* ---- images on the grid of the maps ---- */

/* Mean of `src` over the pixels of another grid over the same field, by area. */
static void by_area(const struct mro_image *src, size_t ny, size_t nx, float *out)
{
    const double ry = (double)src->ny / (double)ny, rx = (double)src->nx / (double)nx;
#pragma omp parallel for schedule(static)
    for (size_t y = 0; y < ny; y++) {
        const double y0 = (double)y * ry, y1 = fmin((double)(y + 1) * ry, (double)src->ny);
        for (size_t x = 0; x < nx; x++) {
            const double x0 = (double)x * rx, x1 = fmin((double)(x + 1) * rx, (double)src->nx);
            double sum = 0, area = 0;
            for (size_t j = (size_t)y0; j < src->ny && (double)j < y1; j++) {
                const double hy = fmin(y1, (double)j + 1) - fmax(y0, (double)j);
                for (size_t i = (size_t)x0; i < src->nx && (double)i < x1; i++) {
                    const double w = hy * (fmin(x1, (double)i + 1) - fmax(x0, (double)i));
                    const double v = (double)src->px[j * src->nx + i];
                    if (!isfinite(v) || !(w > 0)) continue;
                    sum += w * v;
                    area += w;
                }
            }
            out[y * nx + x] = area > 0 ? (float)(sum / area) : NAN;
        }
    }
}

static enum mro_code same_field(const struct mro_eds_field *m, const struct mro_image *im, const char *name,
                                struct mro_eds_groups *g, struct mro_error *e)
{
    const double map[2] = { (double)m->ny * m->pixel_nm[0], (double)m->nx * m->pixel_nm[1] };
    double pixel[2], field[2];
    if (mro_image_pixel_nm(im, name, pixel, NULL) == MRO_OK) {
        for (int i = 0; i < 2; i++) field[i] = pixel[i] * (double)(i ? im->nx : im->ny);
        for (int i = 0; i < 2; i++)
            if (fabs(field[i] / map[i] - 1) > FIELD_SLACK)
                return MRO_FAIL(
                    e, MRO_EARG,
                    "'%s' shows %.4g x %.4g nm and the maps %.4g x %.4g nm (x, y): they are not of the same field",
                    name, field[1], field[0], map[1], map[0]);
        return MRO_OK;
    }
    const double shape = (double)im->ny / (double)im->nx * map[1] / map[0];
    if (fabs(shape - 1) > FIELD_SLACK)
        return MRO_FAIL(e, MRO_EARG,
                        "'%s' has %zu x %zu pixels and the maps have %zu x %zu: they are not of the same field", name,
                        im->nx, im->ny, m->nx, m->ny);
    mro_warn(g, "'%s' has no pixel size; it is taken to show the field of the maps", name);
    return MRO_OK;
}

/* The mask's cell at every pixel of the maps; NaN outside. Its own positions count, since the mask of a measurement
 * leaves out a rim. */
static enum mro_code lay_mask(const struct mro_eds_field *m, const struct mro_image *mask, const char *name, float *out,
                              struct mro_error *e)
{
    double pixel[2], low[2];
    MRO_TRY(mro_image_pixel_nm(mask, name, pixel, e));
    for (int i = 0; i < 2; i++) {
        const double n = (double)(i ? mask->nx : mask->ny), field = (double)(i ? m->nx : m->ny) * m->pixel_nm[i];
        /* Where nothing is said, the first pixel begins at the corner. */
        low[i] = mask->axis[i].offset > 0 ? mask->axis[i].offset - pixel[i] / 2 : 0;
        if (low[i] + n * pixel[i] > field * (1 + FIELD_SLACK))
            return MRO_FAIL(e, MRO_EARG, "'%s' reaches to %.4g nm along %c, beyond the field of %.4g nm", name,
                            low[i] + n * pixel[i], i ? 'x' : 'y', field);
    }
    for (size_t y = 0; y < m->ny; y++) {
        const double j = floor((((double)y + 0.5) * m->pixel_nm[0] - low[0]) / pixel[0]);
        for (size_t x = 0; x < m->nx; x++) {
            const double i = floor((((double)x + 0.5) * m->pixel_nm[1] - low[1]) / pixel[1]);
            const bool inside = i >= 0 && j >= 0 && i < (double)mask->nx && j < (double)mask->ny;
            const float v = inside ? mask->px[(size_t)j * mask->nx + (size_t)i] : NAN;
            out[y * m->nx + x] = isfinite(v) ? (v > 0.5f ? 1.0f : 0.0f) : NAN;
        }
    }
    return MRO_OK;
}

/* A row of the mean of `reach` neighbours to both sides, along y or x. Lags outside and pixels inside, so that the
 * inner loop is one for vectors: wide means of large maps take most of the time. */
static void smooth_row(const float *v, size_t ny, size_t nx, size_t y, bool along_y, size_t reach, const double *weight,
                       float *out)
{
    enum { CHUNK = 256 };
    double sum[CHUNK], all[CHUNK];
    const size_t at = along_y ? y : 0, n = along_y ? ny : nx;
    for (size_t x0 = 0; x0 < nx; x0 += CHUNK) {
        const size_t x1 = x0 + CHUNK < nx ? x0 + CHUNK : nx;
        memset(sum, 0, sizeof sum);
        memset(all, 0, sizeof all);
        const size_t first = along_y ? at : x0, last = along_y ? at : x1 - 1;
        const ptrdiff_t from = -(ptrdiff_t)(last < reach ? last : reach),
                        to = (ptrdiff_t)(n - 1 - first < reach ? n - 1 - first : reach);
        for (ptrdiff_t d = from; d <= to; d++) {
            const double w = weight[d < 0 ? -d : d];
            const float *row = v + (along_y ? (size_t)((ptrdiff_t)y + d) : y) * nx;
            const ptrdiff_t beside = along_y ? 0 : d;
            const size_t lo = !along_y && d < 0 && (size_t)-d > x0 ? (size_t)-d : x0,
                         hi = !along_y && d > 0 && nx - (size_t)d < x1 ? nx - (size_t)d : x1;
            for (size_t x = lo; x < hi; x++) {
                const float u = row[(ptrdiff_t)x + beside];
                const bool finite = fabsf(u) <= FLT_MAX;
                sum[x - x0] += finite ? w * (double)u : 0;
                all[x - x0] += finite ? w : 0;
            }
        }
        for (size_t x = x0; x < x1; x++)
            out[x] = isfinite(v[y * nx + x]) && all[x - x0] > 0 ? (float)(sum[x - x0] / all[x - x0]) : NAN;
    }
}

/* Gaussian mean over finite pixels, in place; sigma in pixels along y and x. */
static enum mro_code smooth(float *v, size_t ny, size_t nx, const double sigma[2], struct mro_error *e)
{
    const size_t longest = nx > ny ? nx : ny;
    float *other = malloc(ny * nx * sizeof *other);
    double *weight = malloc((longest + 1) * sizeof *weight);
    enum mro_code rc = MRO_OK;
    if (other == NULL || weight == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "a map of %zu x %zu pixels does not fit in memory", nx, ny);
        goto done;
    }
    for (int pass = 0; pass < 2; pass++) {
        const double s = sigma[1 - pass];
        const size_t n = pass ? ny : nx;
        const size_t reach = s > 0 ? (size_t)fmin((double)n - 1, ceil(4 * s)) : 0;
        for (size_t i = 0; i <= reach; i++) weight[i] = s > 0 ? exp(-0.5 * (double)(i * i) / (s * s)) : 1;
#pragma omp parallel for schedule(static)
        for (size_t y = 0; y < ny; y++) smooth_row(v, ny, nx, y, pass, reach, weight, other + y * nx);
        memcpy(v, other, ny * nx * sizeof *v);
    }
done:
    free(weight);
    free(other);
    return rc;
}

static enum mro_code flatten(const struct mro_eds_field *m, float *v, double smooth_nm, const char *name,
                             struct mro_error *e)
{
    const size_t n = m->ny * m->nx;
    const double field = fmin((double)m->ny * m->pixel_nm[0], (double)m->nx * m->pixel_nm[1]);
    const double wide = fmax(LEAST_FLAT_NM, field / 8);
    const double far[2] = { wide / m->pixel_nm[0], wide / m->pixel_nm[1] };
    const double near[2] = { smooth_nm / m->pixel_nm[0], smooth_nm / m->pixel_nm[1] };
    float *mean = malloc(n * sizeof *mean);
    if (mean == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    memcpy(mean, v, n * sizeof *mean);
    enum mro_code rc = smooth(mean, m->ny, m->nx, far, e);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) v[i] = mean[i] > 0 ? v[i] / mean[i] - 1 : NAN;
    free(mean);
    return rc ? rc : smooth(v, m->ny, m->nx, near, e);
}

/* ---- registration ---- */

/* Mean over blocks, to at most COARSE a side. */
static void coarsen(const float *v, size_t ny, size_t nx, size_t k, float *out)
{
    const size_t my = ny / k, mx = nx / k;
    for (size_t y = 0; y < my; y++) {
        for (size_t x = 0; x < mx; x++) {
            double sum = 0, n = 0;
            for (size_t j = 0; j < k; j++)
                for (size_t i = 0; i < k; i++) {
                    const float u = v[(y * k + j) * nx + x * k + i];
                    if (isfinite(u)) sum += (double)u, n++;
                }
            out[y * mx + x] = n > 0 ? (float)(sum / n) : NAN;
        }
    }
}

/* Correlation of a with b moved by (dy, dx), over their overlap. */
static double correlation_at(const float *a, const float *b, long ny, long nx, long dy, long dx)
{
    double n = 0, sa = 0, sb = 0, aa = 0, bb = 0, ab = 0;
    for (long y = dy > 0 ? dy : 0; y < ny && y - dy < ny; y++) {
        for (long x = dx > 0 ? dx : 0; x < nx && x - dx < nx; x++) {
            const double u = (double)a[y * nx + x], v = (double)b[(y - dy) * nx + x - dx];
            if (!isfinite(u) || !isfinite(v)) continue;
            n++;
            sa += u, sb += v, aa += u * u, bb += v * v, ab += u * v;
        }
    }
    const double va = aa - sa * sa / n, vb = bb - sb * sb / n;
    return n > 8 && va > 0 && vb > 0 ? (ab - sa * sb / n) / sqrt(va * vb) : 0;
}

/* By how much the image has to be moved so that its structure lies on that of the maps. */
static enum mro_code find_shift(const struct mro_eds_field *m, const float *flat, const char *name,
                                struct mro_eds_groups *g, long shift[2], struct mro_error *e)
{
    const size_t longest = m->nx > m->ny ? m->nx : m->ny, k = (longest + COARSE - 1) / COARSE;
    const size_t ny = m->ny / k, nx = m->nx / k, n = ny * nx;
    const long ry = (long)ny / 8, rx = (long)nx / 8, shifts = (2 * ry + 1) * (2 * rx + 1);
    shift[0] = shift[1] = 0;
    g->registration = NAN;
    if (m->elements == 0 || ny < 16 || nx < 16) return MRO_OK;
    float *room = malloc((m->elements + 2) * n * sizeof *room);
    double *score = calloc(2 * (size_t)shifts, sizeof *score), *shared = score ? score + shifts : NULL;
    if (room == NULL || score == NULL) {
        free(room);
        free(score);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", name);
    }
    float *image = room, *total = room + n;
    coarsen(flat, m->ny, m->nx, k, image);
    for (size_t j = 0; j < m->elements; j++) coarsen(m->counts[j], m->ny, m->nx, k, room + (j + 2) * n);
    for (size_t i = 0; i < n; i++) {
        total[i] = 0;
        for (size_t j = 0; j < m->elements; j++) total[i] += room[(j + 2) * n + i];
        for (size_t j = 0; j < m->elements; j++) room[(j + 2) * n + i] /= total[i];
    }
    /* Thickness moves all counts alike, composition moves shares: either can show in the image. */
#pragma omp parallel for schedule(dynamic, 8)
    for (long s = 0; s < shifts; s++) {
        const long dy = s / (2 * rx + 1) - ry, dx = s % (2 * rx + 1) - rx;
        const double own = correlation_at(image, image, (long)ny, (long)nx, dy, dx);
        shared[s] = own * own;
        for (size_t j = 0; j <= m->elements; j++)
            score[s] = fmax(score[s], fabs(correlation_at(room + (j + 1) * n, image, (long)ny, (long)nx, dy, dx)));
    }
    double area = 0;
    long best = 0;
    for (long s = 0; s < shifts; s++) {
        area += shared[s];
        if (score[s] > score[best]) best = s;
    }
    const long dy = best / (2 * rx + 1) - ry, dx = best % (2 * rx + 1) - rx;
    /* As many independent places as the image's own structure leaves, were the maps as smooth. */
    g->registration = score[best] * sqrt((double)n / fmax(area, 1));
    g->registered = g->registration > Z_REGISTERED;
    free(score);
    free(room);
    if (!g->registered) {
        mro_warn(g,
                 "the image and the maps share too little structure to see whether they are shifted; they are taken as "
                 "they lie");
        return MRO_OK;
    }
    if (labs(dy) == ry || labs(dx) == rx)
        return MRO_FAIL(
            e, MRO_EARG,
            "'%s' and the maps match best when shifted by an eighth of the field or more: they are not of the "
            "same field",
            name);
    /* One step of the coarse grid is within what neighbours share. */
    shift[0] = labs(dy) > 1 ? dy * (long)k : 0;
    shift[1] = labs(dx) > 1 ? dx * (long)k : 0;
    for (int i = 0; i < 2; i++) g->shift_nm[i] = (double)shift[i] * m->pixel_nm[i];
    if (shift[0] || shift[1])
        mro_warn(g, "the image was moved by %.3g nm along x and %.3g nm along y to lie on the maps", g->shift_nm[1],
                 g->shift_nm[0]);
    return MRO_OK;
}

static void move(float *v, float *room, size_t ny, size_t nx, const long shift[2])
{
    if (shift[0] == 0 && shift[1] == 0) return;
    for (size_t y = 0; y < ny; y++) {
        for (size_t x = 0; x < nx; x++) {
            const long j = (long)y - shift[0], i = (long)x - shift[1];
            const bool inside = j >= 0 && i >= 0 && j < (long)ny && i < (long)nx;
            room[y * nx + x] = inside ? v[(size_t)j * nx + (size_t)i] : NAN;
        }
    }
    memcpy(v, room, ny * nx * sizeof *v);
}

/* ---- groups and permutations ---- */

/* Lag at which the autocorrelation falls below one half, the longer of both directions, pixels. */
static size_t half_length(const float *v, size_t ny, size_t nx)
{
    size_t found = 1;
    for (int axis = 0; axis < 2; axis++) {
        const size_t n = axis ? nx : ny;
        double zero = 0;
        for (size_t lag = 0; lag < n / 2; lag++) {
            double sum = 0, count = 0;
            for (size_t y = 0; y + (axis ? 0 : lag) < ny; y++)
                for (size_t x = 0; x + (axis ? lag : 0) < nx; x++) {
                    const float a = v[y * nx + x], b = axis ? v[y * nx + x + lag] : v[(y + lag) * nx + x];
                    if (isfinite(a) && isfinite(b)) sum += (double)a * (double)b, count++;
                }
            const double r = count > 0 ? sum / count : 0;
            if (lag == 0) zero = r;
            if (r < zero / 2) {
                if (lag > found) found = lag;
                break;
            }
        }
    }
    return found;
}

/* A field cut into blocks, and for every pair of blocks what the groups of the one hold when laid on the other. */
struct blocks {
    size_t by, bx, hy, hx, n; /* blocks along y and x, their size, their number */
    size_t values;            /* quantities: elements, area, mro, area where mro is known */
    double *sum;              /* [mask block][place][2 groups][values] */
};

static enum mro_code cut(const struct mro_eds_field *m, const float *flat, const signed char *group, const float *mro,
                         struct blocks *b, struct mro_error *e)
{
    const size_t half = half_length(flat, m->ny, m->nx);
    size_t most = (size_t)fmin(SIDE_BLOCKS, sqrt(WORK / ((double)m->ny * (double)m->nx)));
    if (most < LEAST_SIDE_BLOCKS) most = LEAST_SIDE_BLOCKS;
    b->by = m->ny / (4 * half);
    b->bx = m->nx / (4 * half);
    if (b->by > most) b->by = most;
    if (b->bx > most) b->bx = most;
    b->n = b->by * b->bx;
    if (b->n < LEAST_SIDE_BLOCKS * LEAST_SIDE_BLOCKS) return MRO_OK; /* too small; the caller says so */
    b->hy = m->ny / b->by;
    b->hx = m->nx / b->bx;
    b->values = m->elements + 3;
    b->sum = calloc(b->n * b->n * 2 * b->values, sizeof *b->sum);
    if (b->sum == NULL) return MRO_FAIL(e, MRO_EMEMORY, "sums over %zu blocks do not fit in memory", b->n);
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t a = 0; a < b->n; a++) {
        const size_t ay = a / b->bx * b->hy, ax = a % b->bx * b->hx;
        for (size_t c = 0; c < b->n; c++) {
            const size_t cy = c / b->bx * b->hy, cx = c % b->bx * b->hx;
            double *sums = b->sum + (a * b->n + c) * 2 * b->values;
            for (size_t y = 0; y < b->hy; y++) {
                for (size_t x = 0; x < b->hx; x++) {
                    const signed char which = group[(ay + y) * m->nx + ax + x];
                    const size_t at = (cy + y) * m->nx + cx + x;
                    if (which == 0) continue;
                    double *s = sums + (which > 0 ? 0 : b->values);
                    for (size_t j = 0; j < m->elements; j++)
                        if (isfinite(m->counts[j][at])) s[j] += (double)m->counts[j][at];
                    s[m->elements]++;
                    if (mro && isfinite(mro[at])) s[m->elements + 1] += (double)mro[at], s[m->elements + 2]++;
                }
            }
        }
    }
    return MRO_OK;
}

/* Composition of a group, at.%, out of its sums. */
static void composition(const struct mro_eds_field *m, const double *kappa, const double *s, double *at)
{
    double all = 0;
    for (size_t j = 0; j < m->elements; j++) all += m->at_percent ? 0 : kappa[j] * s[j];
    for (size_t j = 0; j < m->elements; j++)
        at[j] = m->at_percent ? s[j] / s[m->elements] : 100 * kappa[j] * s[j] / all;
}

static void shuffle(size_t *order, size_t n, uint64_t seed, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n; i-- > 1;) {
        const mro_philox_block b = mro_philox(seed, MRO_EDS_STREAM_SHUFFLE + stream, i);
        const size_t k = (size_t)(((uint64_t)b.v[0] * (uint64_t)(i + 1)) >> 32), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
}

/* p of differences between the groups, each element's and all together's, and of the share of MRO in bright regions. */
static enum mro_code permute(const struct mro_eds_field *m, const double *kappa, const struct blocks *b,
                             const struct mro_eds_options *o, struct mro_eds_groups *g, struct mro_error *e)
{
    const size_t draws = (size_t)o->draws, width = m->elements + 1;
    double *difference = malloc((draws + 1) * width * sizeof *difference); /* of each draw; 0 is as observed */
    size_t *order = malloc(b->n * sizeof *order);
    double *s = malloc(2 * b->values * sizeof *s);
    enum mro_code rc = MRO_OK;
    if (!difference || !order || !s) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "%zu permutations do not fit in memory", draws);
        goto done;
    }
    for (size_t d = 0; d <= draws; d++) {
        double bright[MRO_EDS_MAX_ELEMENTS], dark[MRO_EDS_MAX_ELEMENTS];
        for (size_t i = 0; i < b->n; i++) order[i] = i;
        if (d) shuffle(order, b->n, o->seed, d);
        memset(s, 0, 2 * b->values * sizeof *s);
        for (size_t c = 0; c < b->n; c++)
            for (size_t v = 0; v < 2 * b->values; v++) s[v] += b->sum[(order[c] * b->n + c) * 2 * b->values + v];
        composition(m, kappa, s, bright);
        composition(m, kappa, s + b->values, dark);
        for (size_t j = 0; j < m->elements; j++) difference[d * width + j] = bright[j] - dark[j];
        /* Density of MRO in bright regions: its share there follows from it. */
        difference[d * width + m->elements] = s[m->elements + 1] / fmax(s[m->elements + 2], 1);
    }
    double mean[MRO_EDS_MAX_ELEMENTS + 1], sd[MRO_EDS_MAX_ELEMENTS + 1];
    for (size_t j = 0; j < width; j++) {
        double sum = 0;
        mean[j] = 0;
        for (size_t d = 0; d <= draws; d++) mean[j] += difference[d * width + j] / (double)(draws + 1);
        for (size_t d = 0; d <= draws; d++) sum += pow(difference[d * width + j] - mean[j], 2);
        sd[j] = sqrt(sum / (double)draws);
    }
    size_t above[MRO_EDS_MAX_ELEMENTS + 1] = { 0 }, above_all = 0;
    double observed = 0;
    for (size_t d = 0; d <= draws; d++) {
        double all = 0;
        for (size_t j = 0; j < width; j++) {
            const double t = fabs(difference[d * width + j] - mean[j]);
            above[j] += t >= fabs(difference[j] - mean[j]) * (1 - 1e-12);
            if (j < m->elements && sd[j] > 0) all += t * t / (sd[j] * sd[j]);
        }
        if (d == 0) observed = all;
        above_all += all >= observed * (1 - 1e-12);
    }
    for (size_t j = 0; j < m->elements; j++) g->p_element[j] = (double)above[j] / (double)(draws + 1);
    if (m->elements) g->p = (double)above_all / (double)(draws + 1);
    if (g->has_mro) g->mro_p = (double)above[m->elements] / (double)(draws + 1);
    g->permutations = draws;
done:
    free(s);
    free(order);
    free(difference);
    return rc;
}

/* Sums over the whole field. */
static void describe(const struct mro_eds_field *m, const double *kappa, const float *mro, struct mro_eds_groups *g)
{
    double s[2][MRO_EDS_MAX_ELEMENTS + 1] = { { 0 } }, v[2][MRO_EDS_MAX_ELEMENTS] = { { 0 } }, area = 0,
                                       ordered[3] = { 0 };
    for (size_t i = 0; i < m->ny * m->nx; i++) {
        const int which = g->group[i] > 0 ? 0 : g->group[i] < 0 ? 1 : 2;
        area += isfinite(g->flat[i]);
        if (mro && isfinite(mro[i]) && isfinite(g->flat[i])) ordered[which] += (double)mro[i];
        if (which == 2) continue;
        for (size_t j = 0; j < m->elements; j++) {
            const double c = (double)m->counts[j][i];
            if (isfinite(c)) s[which][j] += c;
            if (isfinite(c)) v[which][j] += m->variance[j] ? (double)m->variance[j][i] : c;
        }
        s[which][m->elements]++;
    }
    for (int k = 0; k < 2; k++) {
        struct mro_eds_group *one = k ? &g->dark : &g->bright;
        double all = 0;
        one->pixels = (size_t)s[k][m->elements];
        one->area_fraction = s[k][m->elements] / area;
        composition(m, kappa, s[k], one->mean_at);
        for (size_t j = 0; j < m->elements; j++) all += kappa[j] * s[k][j];
        for (size_t j = 0; j < m->elements; j++) {
            double sum = 0;
            for (size_t l = 0; l < m->elements; l++)
                sum += pow(100 * kappa[l] * ((l == j) - one->mean_at[j] / 100) / all, 2) * v[k][l];
            one->se_at[j] = m->at_percent ? NAN : sqrt(sum);
        }
    }
    const double sum = ordered[0] + ordered[1] + ordered[2];
    if (g->has_mro) g->mro_bright = sum > 0 ? ordered[0] / sum : NAN;
    if (g->has_mro) g->mro_dark = sum > 0 ? ordered[1] / sum : NAN;
}

static enum mro_code tell_apart(const struct mro_eds_field *m, double threshold, const char *name,
                                struct mro_eds_groups *g, struct mro_error *e)
{
    double mean = 0, sum = 0, n = 0;
    const size_t all = m->ny * m->nx;
    for (size_t i = 0; i < all; i++)
        if (isfinite(g->flat[i])) mean += (double)g->flat[i], n++;
    mean /= fmax(n, 1);
    for (size_t i = 0; i < all; i++)
        if (isfinite(g->flat[i])) sum += ((double)g->flat[i] - mean) * ((double)g->flat[i] - mean);
    const double sd = sqrt(sum / fmax(n - 1, 1));
    if (!(sd > 1e-7)) return MRO_FAIL(e, MRO_EDATA, "'%s' has no contrast: bright and dark cannot be told apart", name);
    size_t count[2] = { 0 };
    for (size_t i = 0; i < all; i++) {
        const double t = isfinite(g->flat[i]) ? ((double)g->flat[i] - mean) / sd : 0;
        g->group[i] = (signed char)(t > threshold ? 1 : t < -threshold ? -1 : 0);
        count[0] += g->group[i] > 0;
        count[1] += g->group[i] < 0;
    }
    if (count[0] == 0 || count[1] == 0)
        return MRO_FAIL(e, MRO_EDATA, "no pixel of '%s' is %s than %g standard deviations; give a lower `threshold`",
                        name, count[0] ? "darker" : "brighter", threshold);
    return MRO_OK;
}

enum mro_code mro_eds_bright_dark(const struct mro_eds_field *maps, const struct mro_image *haadf,
                                  const char *haadf_name, const struct mro_image *mro, const char *mro_name,
                                  const struct mro_eds_options *o, struct mro_eds_groups *g, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    const size_t n = maps->ny * maps->nx;
    struct blocks b = { 0 };
    double kappa[MRO_EDS_MAX_ELEMENTS];
    long shift[2];
    enum mro_code rc;
    memset(g, 0, sizeof *g);
    g->p = g->mro_p = g->mro_bright = g->mro_dark = NAN;
    g->elements = maps->elements;
    g->ny = maps->ny;
    g->nx = maps->nx;
    memcpy(g->pixel_nm, maps->pixel_nm, sizeof g->pixel_nm);
    g->has_mro = mro != NULL;
    for (size_t j = 0; j < maps->elements; j++) {
        double k = 1;
        for (size_t i = 0; i < o->k.n; i++)
            if (strcmp(o->k.symbol[i], maps->symbol[j]) == 0) k = o->k.k[i];
        memcpy(g->symbol[j], maps->symbol[j], sizeof g->symbol[j]);
        g->p_element[j] = NAN;
        kappa[j] = k / mro_atomic_weight(maps->symbol[j]);
    }
    g->flat = malloc(n * sizeof *g->flat);
    g->group = malloc(n);
    float *mask = malloc(n * sizeof *mask);
    if (g->flat == NULL || g->group == NULL || mask == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "'%s' does not fit in memory", haadf_name);
        goto done;
    }
    rc = same_field(maps, haadf, haadf_name, g, e);
    if (rc) goto done;
    by_area(haadf, maps->ny, maps->nx, g->flat);
    rc = flatten(maps, g->flat, o->smooth_nm, haadf_name, e);
    if (rc == MRO_OK) rc = find_shift(maps, g->flat, haadf_name, g, shift, e);
    if (rc) goto done;
    move(g->flat, mask, maps->ny, maps->nx, shift);
    if (mro) rc = lay_mask(maps, mro, mro_name, mask, e);
    if (rc) goto done;
    rc = tell_apart(maps, o->threshold_sd, haadf_name, g, e);
    if (rc) goto done;
    describe(maps, kappa, mro ? mask : NULL, g);
    rc = cut(maps, g->flat, g->group, mro ? mask : NULL, &b, e);
    if (rc) goto done;
    g->blocks = b.sum ? b.n : 0;
    if (b.sum)
        rc = permute(maps, kappa, &b, o, g, e);
    else
        mro_warn(
            g,
            "the field holds fewer than %d x %d blocks of 4 correlation lengths: differences between bright and dark "
            "have "
            "no p",
            LEAST_SIDE_BLOCKS, LEAST_SIDE_BLOCKS);
done:
    free(b.sum);
    free(mask);
    if (rc) mro_eds_groups_release(g);
    return rc;
}

void mro_eds_groups_release(struct mro_eds_groups *g)
{
    free(g->flat);
    free(g->group);
    mro_notes_release(&g->warnings, &g->n_warnings);
    memset(g, 0, sizeof *g);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Statistics of indents: spread with its interval, noise from repeats, likeness of neighbours, distance from an edge.
 */
#include "mroscope/indent.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "core/notes.h"
#include "mroscope/math/philox.h"
#include "ops/indent/indent_internal.h"

#define FWHM 2.3548200450309493
#define NEIGHBOUR 1.5 /* pitches within which scattered indents are neighbours */
#define KERNEL_POINTS 256
#define BOOTSTRAPS 399
#define MOST_KERNELS 10000 /* values whose kernel estimate gets an interval */
#define PERMUTATION_WORK 4e8
#define MOST_BINS 4096
#define SCATTER_BINS 8 /* where places make no columns */
#define FEW 20
#define ALIKE 0.01 /* p of Moran's I from which neighbours are called alike */

void mro_indent_options_default(struct mro_indent_options *o)
{
    memset(o, 0, sizeof *o);
    o->permutations = 9999;
    o->seed = 1;
}

void mro_indent_result_release(struct mro_indent_result *r)
{
    free(r->grid);
    free(r->value);
    free(r->bin);
    free(r->kernel);
    mro_notes_release(&r->warnings, &r->n_warnings);
    memset(r, 0, sizeof *r);
}

/* ------------------------------------------------------------------ moments */

struct moments {
    double mean, sd, skewness, kurtosis; /* kurtosis: 3 for a Gaussian */
};

static struct moments moments_of(const double *v, size_t n)
{
    struct moments m = { NAN, NAN, NAN, NAN };
    double sum = 0, s2 = 0, s3 = 0, s4 = 0;
    if (n == 0) return m;
    for (size_t i = 0; i < n; i++) sum += v[i];
    m.mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double d = v[i] - m.mean;
        s2 += d * d;
        s3 += d * d * d;
        s4 += d * d * d * d;
    }
    if (n < 2) return m;
    m.sd = sqrt(s2 / ((double)n - 1));
    if (s2 > 0) {
        m.skewness = s3 / (double)n / pow(s2 / (double)n, 1.5);
        m.kurtosis = s4 / (double)n / pow(s2 / (double)n, 2);
    }
    return m;
}

/* 95 % interval of a standard deviation by chi squared. */
static void sd_interval(double sd, double dof, double ci[2])
{
    ci[0] = ci[1] = NAN;
    if (!(sd >= 0) || !(dof >= 0.5)) return;
    ci[0] = sd * sqrt(dof / gsl_cdf_chisq_Pinv(0.975, dof));
    ci[1] = sd * sqrt(dof / gsl_cdf_chisq_Pinv(0.025, dof));
}

/* ------------------------------------------------------------------ neighbours */

struct pairs {
    size_t n, room;
    uint32_t (*pair)[2];
};

static bool add_pair(struct pairs *p, size_t a, size_t b)
{
    if (p->n == p->room) {
        const size_t room = p->room ? 2 * p->room : 1024;
        void *grown = realloc(p->pair, room * sizeof *p->pair);
        if (grown == NULL) return false;
        p->pair = grown;
        p->room = room;
    }
    p->pair[p->n][0] = (uint32_t)a;
    p->pair[p->n++][1] = (uint32_t)b;
    return true;
}

/* Pairs of neighbouring places: next along a row or column of a grid, else within NEIGHBOUR usual distances. */
static enum mro_code find_pairs(const struct mro_indent_result *r, struct pairs *p, struct mro_error *e)
{
    const size_t n = r->places;
    bool ready = true;
    if (r->grid) {
        const size_t cells = r->grid_nx * r->grid_ny;
        uint32_t *at = malloc(cells * sizeof *at);
        if (at == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the neighbours of %zu indents do not fit in memory", n);
        for (size_t i = 0; i < cells; i++) at[i] = UINT32_MAX;
        for (size_t i = 0; i < n; i++) {
            const size_t x = (size_t)fmin((double)r->grid_nx - 1,
                                          fmax(0, round((r->x[i] - r->origin[1]) / r->pitch[1]))),
                         y = (size_t)fmin((double)r->grid_ny - 1,
                                          fmax(0, round((r->y[i] - r->origin[0]) / r->pitch[0])));
            at[y * r->grid_nx + x] = (uint32_t)i;
        }
        for (size_t y = 0; y < r->grid_ny && ready; y++)
            for (size_t x = 0; x < r->grid_nx && ready; x++) {
                const size_t i = y * r->grid_nx + x;
                if (at[i] == UINT32_MAX) continue;
                if (x + 1 < r->grid_nx && at[i + 1] != UINT32_MAX) ready = add_pair(p, at[i], at[i + 1]);
                if (ready && y + 1 < r->grid_ny && at[i + r->grid_nx] != UINT32_MAX)
                    ready = add_pair(p, at[i], at[i + r->grid_nx]);
            }
        free(at);
    } else if (n > 1 && n <= 20000 && isfinite(r->x[0])) {
        const double reach = NEIGHBOUR * mro_indent_nearest(r);
        for (size_t i = 0; i < n && ready; i++)
            for (size_t k = 0; k < i && ready; k++)
                if (hypot(r->x[i] - r->x[k], r->y[i] - r->y[k]) <= reach) ready = add_pair(p, i, k);
    }
    return ready ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "the neighbours of %zu indents do not fit in memory", n);
}

static double pair_sum(const struct pairs *p, const double *z)
{
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) sum += z[p->pair[i][0]] * z[p->pair[i][1]];
    return sum;
}

/* Moran's I, and how often shuffled values have one as large. */
static enum mro_code moran(const struct mro_indent_options *o, const struct pairs *p, struct mro_indent_result *r,
                           struct mro_error *e)
{
    const size_t n = r->places;
    double square = 0;
    r->pairs = p->n;
    if (p->n == 0 || n < 3) {
        mro_warn(r, n < 3 ? "fewer than three places: likeness of neighbours cannot be measured"
                          : "no indents have neighbours: their likeness cannot be measured");
        return MRO_OK;
    }
    double *z = malloc(3 * n * sizeof *z);
    if (z == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu indents do not fit in memory", n);
    double *sum = z + n, *count = z + 2 * n, mean = 0;
    for (size_t i = 0; i < n; i++) mean += r->value[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
        z[i] = r->value[i] - mean;
        square += z[i] * z[i];
        sum[i] = count[i] = 0;
    }
    for (size_t i = 0; i < p->n; i++)
        for (int k = 0; k < 2; k++) {
            sum[p->pair[i][k]] += r->value[p->pair[i][1 - k]];
            count[p->pair[i][k]]++;
        }
    for (size_t i = 0; i < n; i++) r->beside[i] = count[i] > 0 ? sum[i] / count[i] : NAN;
    r->moran_expected = -1 / ((double)n - 1);
    if (!(square > 0) || !isfinite(square)) {
        mro_warn(r, square > 0 ? "the values are too large to be squared: likeness of neighbours is not measured"
                               : "all values are equal: likeness of neighbours has no meaning");
        free(z);
        return MRO_OK;
    }
    const double seen = pair_sum(p, z), unit = (double)n / ((double)p->n * square);
    r->moran_i = unit * seen;
    size_t fields = (size_t)o->permutations, reached = 0;
    const double most = PERMUTATION_WORK / (double)(n + p->n);
    if ((double)fields > most) fields = (size_t)fmax(199, most);
    for (size_t k = 0; k < fields; k++) {
        for (size_t i = n; i-- > 1;) {
            /* 53 bits over i + 1: the bias is far below a permutation. */
            const mro_philox_block b = mro_philox(o->seed, ((uint64_t)0x11d << 32) + k, i);
            const uint64_t u = (uint64_t)b.v[0] << 21 ^ b.v[1] >> 11;
            const size_t j = (size_t)((double)u / 9007199254740992.0 * (double)(i + 1));
            const double s = z[i];
            z[i] = z[j];
            z[j] = s;
        }
        reached += pair_sum(p, z) >= seen * (seen > 0 ? 1 - 1e-12 : 1 + 1e-12);
    }
    r->moran_p = (1 + (double)reached) / (1 + (double)fields);
    free(z);
    return MRO_OK;
}

/* The distance over which indents are alike, from correlations over all lags of the grid. */
static void correlation_length(struct mro_indent_result *r, double mean)
{
    const size_t nx = r->grid_nx, ny = r->grid_ny, n = r->places;
    double var = 0;
    for (size_t i = 0; i < nx * ny; i++)
        if (isfinite(r->grid[i])) var += (r->grid[i] - mean) * (r->grid[i] - mean);
    var /= (double)n;
    const size_t reach = (size_t)fmin(24, fmax(1, fmin((double)nx, (double)ny) / 2));
    double sum[32] = { 0 }, pairs[32] = { 0 }; /* by whole distance, in cells */
    for (size_t dy = 0; dy <= reach; dy++)
        for (ptrdiff_t dx = dy ? -(ptrdiff_t)reach : 1; dx <= (ptrdiff_t)reach; dx++) {
            const size_t ring = (size_t)lround(hypot((double)dy, (double)dx));
            if (ring > reach) continue;
            for (size_t y = 0; y + dy < ny; y++)
                for (size_t x = 0; x < nx; x++) {
                    const ptrdiff_t x2 = (ptrdiff_t)x + dx;
                    if (x2 < 0 || x2 >= (ptrdiff_t)nx) continue;
                    const double a = r->grid[y * nx + x], b = r->grid[(y + dy) * nx + (size_t)x2];
                    if (!isfinite(a) || !isfinite(b)) continue;
                    sum[ring] += (a - mean) * (b - mean);
                    pairs[ring]++;
                }
        }
    /* Deviations from the mean of this map are smaller than from the true one, and correlations with them, by the
     * variance of the mean: known after a first pass. */
    double of_mean = 0;
    for (int pass = 0; pass < 3; pass++) {
        double first = 0, before = 1;
        r->correlation_length = NAN;
        for (size_t k = 1; k <= reach; k++) {
            if (!(pairs[k] > 0)) break;
            const double rho = (sum[k] / pairs[k] / var + of_mean) / (1 + of_mean);
            if (!isfinite(r->correlation_length) && rho < exp(-1))
                r->correlation_length = ((double)k - (exp(-1) - rho) / fmax(1e-9, before - rho)) * r->pitch[1];
            before = rho;
            if (rho < 2 / sqrt(pairs[k]) || rho < 0.05) break;
            first += 2 * pairs[k] / (double)n * rho;
        }
        of_mean = fmin(0.5, (1 + first) / (double)n);
    }
}

/* ------------------------------------------------------------------ kernel estimate */

/* Full width at half maximum of a density about its highest point; NaN where it has none, as between the points of a
 * grid that one value far off has made wide. */
static double half_width(const double *v, size_t n, double step)
{
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[top]) top = i;
    const double half = v[top] / 2;
    size_t lo = top, hi = top;
    while (lo > 0 && v[lo] > half) lo--;
    while (hi + 1 < n && v[hi] > half) hi++;
    if (lo == hi || v[lo] > half || v[hi] > half) return NAN;
    const double a = (double)lo + (half - v[lo]) / (v[lo + 1] - v[lo]),
                 b = (double)hi - (half - v[hi]) / (v[hi - 1] - v[hi]);
    return (b - a) * step;
}

static void kernel_density(const double *v, size_t n, double h, double lo, double step, double *out)
{
    memset(out, 0, KERNEL_POINTS * sizeof *out);
    const double reach = 5 * h / step, unit = 1 / (sqrt(2 * M_PI) * h * (double)n);
    for (size_t i = 0; i < n; i++) {
        const double at = (v[i] - lo) / step;
        const ptrdiff_t from = (ptrdiff_t)fmax(0, ceil(at - reach)),
                        to = (ptrdiff_t)fmin(KERNEL_POINTS - 1, floor(at + reach));
        for (ptrdiff_t k = from; k <= to; k++) {
            const double t = ((double)k - at) * step / h;
            out[k] += unit * exp(-0.5 * t * t);
        }
    }
}

/* The kernel widens a distribution as it would a Gaussian. */
static double narrowed(double width, double h)
{
    return width > FWHM * h ? sqrt(width * width - FWHM * FWHM * h * h) : NAN;
}

static enum mro_code kernel(const struct mro_indent_options *o, struct mro_indent_result *r, double n_effective,
                            struct mro_error *e)
{
    const size_t n = r->places;
    if (n < 5 || !(r->sd > 0)) return MRO_OK;
    double *sorted = malloc(n * sizeof *sorted), *room = malloc(KERNEL_POINTS * sizeof *room);
    float *each = n <= MOST_KERNELS ? malloc(n * KERNEL_POINTS * sizeof *each) : NULL;
    r->kernel = malloc(KERNEL_POINTS * sizeof *r->kernel);
    if (sorted == NULL || room == NULL || r->kernel == NULL || (each == NULL && n <= MOST_KERNELS)) {
        free(sorted);
        free(room);
        free(each);
        return MRO_FAIL(e, MRO_EMEMORY, "the kernel estimate does not fit in memory");
    }
    memcpy(sorted, r->value, n * sizeof *sorted);
    gsl_sort(sorted, 1, n);
    const double iqr = sorted[3 * n / 4] - sorted[n / 4], spread = iqr > 0 ? fmin(r->sd, iqr / 1.349) : r->sd;
    r->bandwidth = 0.9 * spread * pow((double)n, -0.2);
    r->kernel_lo = sorted[0] - 5 * r->bandwidth;
    r->kernel_step = (sorted[n - 1] + 5 * r->bandwidth - r->kernel_lo) / (KERNEL_POINTS - 1);
    r->n_kernel = KERNEL_POINTS;
    kernel_density(r->value, n, r->bandwidth, r->kernel_lo, r->kernel_step, r->kernel);
    r->fwhm_kernel = narrowed(half_width(r->kernel, KERNEL_POINTS, r->kernel_step), r->bandwidth);
    /* Bootstrap of as many values as are independent: sums of kernels that are laid out once. */
    double width[BOOTSTRAPS];
    const size_t size = (size_t)fmax(3, fmin((double)n, round(n_effective)));
    size_t m = 0;
    for (size_t i = 0; each && i < n; i++) {
        kernel_density(r->value + i, 1, r->bandwidth, r->kernel_lo, r->kernel_step, room);
        for (size_t k = 0; k < KERNEL_POINTS; k++) each[i * KERNEL_POINTS + k] = (float)room[k];
    }
    for (uint64_t k = 0; each && k < BOOTSTRAPS; k++) {
        memset(room, 0, KERNEL_POINTS * sizeof *room);
        for (size_t i = 0; i < size; i++) {
            const mro_philox_block b = mro_philox(o->seed, ((uint64_t)0x11e << 32) + k, i);
            const float *one = each + (size_t)((double)b.v[0] / 4294967296.0 * (double)n) * KERNEL_POINTS;
            for (size_t j = 0; j < KERNEL_POINTS; j++) room[j] += one[j];
        }
        const double w = narrowed(half_width(room, KERNEL_POINTS, r->kernel_step), r->bandwidth);
        if (isfinite(w)) width[m++] = w;
    }
    free(each);
    if (m >= 200) {
        gsl_sort(width, 1, m);
        r->fwhm_kernel_ci95[0] = width[(size_t)(0.025 * (double)(m - 1))];
        r->fwhm_kernel_ci95[1] = width[(size_t)ceil(0.975 * (double)(m - 1))];
        /* Where neighbours are alike, draws from this map do not show what the map as a whole may be off. */
        for (int i = 0; i < 2 && n_effective < (double)n; i++) {
            const double own = log(r->fwhm_kernel_ci95[i] / r->fwhm_kernel), whole = log(r->fwhm_ci95[i] / r->fwhm);
            r->fwhm_kernel_ci95[i] = r->fwhm_kernel * exp((i ? 1 : -1) * hypot(own, whole));
        }
    }
    free(sorted);
    free(room);
    return MRO_OK;
}

/* ------------------------------------------------------------------ bins */

static void trend_of(const struct mro_indent_bin *bin, size_t n, bool width, struct mro_indent_trend *t)
{
    double w = 0, x = 0, y = 0, xx = 0, xy = 0, ss = 0;
    size_t m = 0;
    t->slope = t->slope_ci95[0] = t->slope_ci95[1] = t->p = NAN;
    for (int pass = 0; pass < 3; pass++) {
        const double slope = xx > 0 ? xy / xx : NAN;
        for (size_t i = 0; i < n; i++) {
            const double v = width ? bin[i].fwhm : bin[i].mean;
            if (!isfinite(v) || (width && bin[i].n < 3)) continue;
            const double k = (double)bin[i].n;
            if (pass == 0) w += k, x += k * bin[i].distance, y += k * v, m++;
            if (pass == 1) {
                xx += k * pow(bin[i].distance - x / w, 2);
                xy += k * (bin[i].distance - x / w) * (v - y / w);
            }
            if (pass == 2) ss += k * pow(v - y / w - slope * (bin[i].distance - x / w), 2);
        }
    }
    if (m < 3 || !(xx > 0)) return;
    const double dof = (double)m - 2, se = sqrt(ss / dof / xx), q = gsl_cdf_tdist_Pinv(0.975, dof);
    t->slope = xy / xx;
    t->slope_ci95[0] = t->slope - q * se;
    t->slope_ci95[1] = t->slope + q * se;
    t->p = se > 0 ? 2 * gsl_cdf_tdist_Q(fabs(t->slope) / se, dof) : t->slope == 0 ? 1 : 0;
}

/* `a`: correlations of the map, NULL where neighbours are not alike. */
static enum mro_code bins(const char *name, const struct mro_indent_options *o, double tails,
                          const struct mro_indent_alike *a, struct mro_indent_result *r, struct mro_error *e)
{
    const bool across = o->edge == MRO_INDENT_LEFT || o->edge == MRO_INDENT_RIGHT;
    const bool far = o->edge == MRO_INDENT_RIGHT || o->edge == MRO_INDENT_BOTTOM;
    r->edge = o->edge;
    if (o->edge == MRO_INDENT_NONE) return MRO_OK;
    if (!isfinite(r->x[0]))
        return MRO_FAIL(e, MRO_EARG, "'%s' has no positions, so that bins (`bins`) have no meaning", name);
    const double *at = across ? r->x : r->y;
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < r->places; i++) lo = fmin(lo, at[i]), hi = fmax(hi, at[i]);
    const size_t n = r->grid ? (across ? r->grid_nx : r->grid_ny) : SCATTER_BINS;
    if (n > MOST_BINS) return MRO_FAIL(e, MRO_EARG, "'%s' has %zu columns; %d bins can be made", name, n, MOST_BINS);
    const double step = r->grid ? r->pitch[across] : fmax(hi - lo, 1e-9) / SCATTER_BINS;
    r->bin = calloc(n, sizeof *r->bin);
    double *v = malloc(r->places * sizeof *v);
    if (r->bin == NULL || v == NULL) {
        free(v);
        return MRO_FAIL(e, MRO_EMEMORY, "bins do not fit in memory");
    }
    for (size_t k = 0; k < n; k++) {
        struct mro_indent_bin *b = r->bin + r->n_bins;
        double where = 0;
        size_t m = 0;
        for (size_t i = 0; i < r->places; i++) {
            const double d = far ? hi - at[i] : at[i] - lo;
            const size_t own = (size_t)fmin((double)n - 1, r->grid ? round(d / step) : floor(d / step));
            if (own != k) continue;
            v[m++] = r->value[i];
            where += d;
        }
        if (m == 0) continue;
        const struct moments s = moments_of(v, m);
        *b = (struct mro_indent_bin){ m, where / (double)m, s.mean, { NAN, NAN }, s.sd, FWHM * s.sd, { NAN, NAN } };
        if (m > 1) {
            const double half = gsl_cdf_tdist_Pinv(0.975, (double)m - 1) * s.sd / sqrt((double)m);
            b->mean_ci95[0] = s.mean - half;
            b->mean_ci95[1] = s.mean + half;
            sd_interval(FWHM * s.sd, (double)m - 1, b->fwhm_ci95);
        }
        r->n_bins++;
    }
    free(v);
    trend_of(r->bin, r->n_bins, false, &r->mean_trend);
    trend_of(r->bin, r->n_bins, true, &r->fwhm_trend);
    if (r->n_bins < 3) mro_warn(r, "fewer than three bins have indents: no trend");
    if (a) return mro_indent_alike_bins(r, tails, a, e);
    if (r->grid == NULL && r->moran_p < ALIKE)
        mro_warn(r, "neighbours are alike, and the intervals and p of bins take indents that make no grid for "
                    "independent: they are too narrow and too small");
    return MRO_OK;
}

/* ------------------------------------------------------------------ all */

static void say(struct mro_indent_result *r)
{
    if (!isfinite(r->moran_p))
        snprintf(r->verdict, sizeof r->verdict, "likeness of neighbours not measured");
    else if (r->moran_p < ALIKE)
        snprintf(r->verdict, sizeof r->verdict,
                 "neighbours are alike (Moran's I %.2f, p = %.2g): the map has structure", r->moran_i, r->moran_p);
    else
        snprintf(r->verdict, sizeof r->verdict,
                 "neighbours are no more alike than by chance (Moran's I %.2f, p = %.2g): the map shows scatter",
                 r->moran_i, r->moran_p);
}

/* The variance of places less that of their noise. Both are known within an interval: that of the difference has
 * ends as far from it as the square root of the squared distances of theirs (Zou and Donner, Stat. Med. 27 (2008)
 * 1693). */
static void take_noise_out(const struct mro_indent_options *o, struct mro_indent_result *r)
{
    if (o->noise_sd > 0) {
        r->noise_sd = o->noise_sd;
        r->noise_dof = o->noise_dof;
        r->noise_source = o->noise_source;
    }
    if (!isfinite(r->noise_sd) || !isfinite(r->sd)) return;
    /* Places are means of repeats where there are any. */
    const double noise = r->noise_sd * r->noise_sd * r->noise_share, whole = r->sd * r->sd, left = whole - noise;
    double of_noise[2] = { r->noise_sd, r->noise_sd };
    if (r->noise_dof > 0) sd_interval(r->noise_sd, r->noise_dof, of_noise);
    for (int i = 0; i < 2; i++) {
        const double own = r->sd_ci95[i] * r->sd_ci95[i] - whole,
                     other = of_noise[1 - i] * of_noise[1 - i] * r->noise_share - noise;
        const double end = left + (i ? 1 : -1) * hypot(own, other);
        r->fwhm_true_ci95[i] = end > 0 ? FWHM * sqrt(end) : end <= 0 ? 0 : NAN;
    }
    if (left > 0) {
        r->sd_true = sqrt(left);
        r->fwhm_true = FWHM * r->sd_true;
    } else {
        mro_warn(r, "the scatter of the indents is no larger than their noise: no true spread is given, but its upper "
                    "limit");
    }
}

enum mro_code mro_indent_measure(const struct mro_indent_table *t, const char *name, const struct mro_indent_options *o,
                                 struct mro_indent_result *r, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    struct pairs pairs = { 0 };
    struct mro_indent_alike alike;
    bool known = false; /* is `alike`? */
    enum mro_code rc;
    memset(r, 0, sizeof *r);
    double *const unknown[] = { &r->mean,
                                &r->sd,
                                &r->fwhm,
                                &r->fwhm_kernel,
                                &r->noise_sd,
                                &r->sd_true,
                                &r->fwhm_true,
                                &r->skewness,
                                &r->minimum,
                                &r->maximum,
                                &r->n_effective,
                                &r->moran_i,
                                &r->moran_p,
                                &r->moran_expected,
                                &r->correlation_length,
                                &r->bandwidth,
                                &r->mean_trend.slope,
                                &r->mean_trend.p,
                                &r->fwhm_trend.slope,
                                &r->fwhm_trend.p };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) *unknown[i] = NAN;
    for (int i = 0; i < 2; i++)
        r->mean_ci95[i] = r->sd_ci95[i] = r->fwhm_ci95[i] = r->fwhm_kernel_ci95[i] = r->fwhm_true_ci95[i] =
            r->mean_trend.slope_ci95[i] = r->fwhm_trend.slope_ci95[i] = NAN;
    r->n = t->n;
    r->holes = t->holes;
    r->source = t->source;
    memcpy(r->unit, t->unit, sizeof r->unit);
    memcpy(r->quantity, t->quantity, sizeof r->quantity);
    for (size_t i = 0; i < t->n_warnings; i++) mro_warn(r, "%s", t->warnings[i]);
    if ((rc = mro_indent_merge_repeats(t, r, e))) goto done;
    if ((rc = mro_indent_make_grid(t, r, e))) goto done;
    if ((rc = find_pairs(r, &pairs, e))) goto done;
    const size_t n = r->places;
    const struct moments m = moments_of(r->value, n);
    r->mean = m.mean;
    r->sd = m.sd;
    r->fwhm = FWHM * m.sd;
    r->skewness = n > 2 ? m.skewness : NAN;
    r->minimum = r->maximum = r->value[0];
    for (size_t i = 1; i < n; i++) {
        r->minimum = fmin(r->minimum, r->value[i]);
        r->maximum = fmax(r->maximum, r->value[i]);
    }
    if (n < 2) mro_warn(r, "one value has no spread: standard deviation and width are not measured");
    if ((rc = moran(o, &pairs, r, e))) goto done;
    /* The variance of a variance is (kurtosis - (n-3)/(n-1)) / n of its square. */
    const double tails = n >= FEW && m.kurtosis > 3 ? (m.kurtosis - 1) / 2 : 1;
    if (n > 1) {
        double half = gsl_cdf_tdist_Pinv(0.975, (double)n - 1) * m.sd / sqrt((double)n);
        r->n_effective = (double)n;
        if (r->grid && n >= 9 && m.sd > 0 && r->moran_p < ALIKE) {
            correlation_length(r, m.mean);
            if ((rc = mro_indent_alike(r, o->edge, m.mean, m.sd, tails, &alike, e))) goto done;
            known = true;
            half = alike.mean_half;
            memcpy(r->sd_ci95, alike.sd_ci95, sizeof r->sd_ci95);
            r->n_effective = alike.n_effective;
        } else {
            sd_interval(m.sd, ((double)n - 1) / tails, r->sd_ci95);
        }
        r->mean_ci95[0] = m.mean - half;
        r->mean_ci95[1] = m.mean + half;
        for (int i = 0; i < 2; i++) r->fwhm_ci95[i] = FWHM * r->sd_ci95[i];
        if (n < FEW) mro_warn(r, "%zu indents say little of a spread: see the interval", n);
        if (r->n_effective < 0.5 * (double)n)
            mro_warn(r, "neighbours are alike, so that %zu indents say as much of the spread as %.0f independent ones",
                     n, r->n_effective);
    }
    take_noise_out(o, r);
    if ((rc = kernel(o, r, r->n_effective, e))) goto done;
    if ((rc = bins(name, o, tails, known ? &alike : NULL, r, e))) goto done;
    if (!isfinite(r->noise_sd) && n > 1)
        mro_warn(
            r, "the noise of an indent is unknown, so that sd and FWHM hold it: give repeats, `noise` or `reference`");
    say(r);
done:
    free(pairs.pair);
    if (rc) mro_indent_result_release(r);
    return rc;
}

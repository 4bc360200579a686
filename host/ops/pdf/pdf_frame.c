/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an S(Q) is computed in: transforms to G(r), kept for other profiles on the same axis, and the normalisation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/pdf/pdf_internal.h"

#define LOW_STEPS 96 /* of the integral below the smallest Q */
/* What the low-r rows are expected to miss by, of the density's line at r_min: with the least and the most freedom of
 * the slow background. */
#define ROW_LOW 0.1
#define ROW_LOW_FREE 0.03
#define ROW_TAIL 0.05                   /* and S in the tail, of 1 */
#define TAIL_BIN 0.5                    /* 1/Angstrom */
#define TO_Q (2 * M_PI / 10)            /* from s in 1/nm */
#define TABLES_BYTES ((size_t)64 << 20) /* of transforms that are kept though nothing uses them */

/* -- transforms ---------------------------------------------------------------------------------------- */

struct mro_pdf_tables {
    struct entry {
        struct mro_pdf_transform t;
        size_t bytes;
        uint64_t last; /* when it was taken */
        int users;
        struct entry *next;
    } * first;
    uint64_t clock;
    struct mro_pdf_kernels *kernels;
};

enum mro_code mro_pdf_tables_new(struct mro_pdf_tables **tables, struct mro_error *e)
{
    *tables = calloc(1, sizeof **tables);
    return *tables ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "no memory left for tables of the transform");
}

static void entry_free(struct entry *t)
{
    free(t->t.Q);
    free(t->t.rows);
    free(t);
}

void mro_pdf_tables_free(struct mro_pdf_tables *tables)
{
    if (tables == NULL) return;
    while (tables->first) {
        struct entry *const next = tables->first->next;
        entry_free(tables->first);
        tables->first = next;
    }
    free(tables->kernels);
    free(tables);
}

struct mro_pdf_kernels **mro_pdf_tables_kernels(struct mro_pdf_tables *tables) { return &tables->kernels; }

#define ROWS 32 /* that one recurrence runs over; it loses no more than a few units in the last place */

/* Rows of the sine transform over Q[0..n): trapezoids, and below Q[0] S - 1 = S[0] (Q / Q[0])^2 - 1. The r are all one
 * step apart, so that sin(Q r) of a row follows from those of the two before. `weight` has room for n. */
static void fill_rows(struct mro_pdf_transform *t, double *weight)
{
    const double *Q = t->Q, Q_max = Q[t->n - 1], dq = Q[0] / LOW_STEPS, dr = t->dr;
    const size_t n = t->n, nr = t->nr;
    double low[LOW_STEPS];
    for (size_t k = 0; k < n; k++) {
        const double width = (Q[k + 1 < n ? k + 1 : k] - Q[k > 0 ? k - 1 : k]) / 2;
        weight[k] = 2 / M_PI * width * Q[k] * mro_pdf_weight(t->damping, t->damping_A2, Q[k], Q_max);
    }
    for (size_t i = 0; i < LOW_STEPS; i++) {
        const double q = ((double)i + 0.5) * dq;
        low[i] = 2 / M_PI * dq * q * mro_pdf_weight(t->damping, t->damping_A2, q, Q_max);
    }
#pragma omp parallel for schedule(static)
    for (size_t from = 0; from < nr; from += ROWS) {
        const size_t end = from + ROWS < nr ? from + ROWS : nr;
        const double r = t->r0 + (double)from * dr;
        for (size_t k = 0; k < n; k++) {
            const double twice = 2 * cos(Q[k] * dr);
            double before = weight[k] * sin(Q[k] * (r - dr)), here = weight[k] * sin(Q[k] * r);
            for (size_t j = from; j < end; j++) {
                const double next = twice * here - before;
                t->rows[j * n + k] = here;
                before = here;
                here = next;
            }
        }
        for (size_t j = from; j < end; j++) t->low0[j] = t->low1[j] = 0;
        for (size_t i = 0; i < LOW_STEPS; i++) {
            const double q = ((double)i + 0.5) * dq, twice = 2 * cos(q * dr), square = q * q / (Q[0] * Q[0]);
            double before = low[i] * sin(q * (r - dr)), here = low[i] * sin(q * r);
            for (size_t j = from; j < end; j++) {
                const double next = twice * here - before;
                t->low0[j] -= here;
                t->low1[j] += here * square;
                before = here;
                here = next;
            }
        }
    }
}

/* The transform of Q[0..n) to nr distances from r0 on, dr apart: kept, or made now. NULL: no memory. */
static const struct mro_pdf_transform *take(struct mro_pdf_tables *tables, const double *Q, size_t n,
                                            enum mro_damping damping, double damping_A2, double r0, double dr,
                                            size_t nr)
{
    struct entry *x;
    for (x = tables->first; x; x = x->next)
        if (x->t.n == n && x->t.nr == nr && x->t.damping == damping && x->t.damping_A2 == damping_A2 && x->t.r0 == r0 &&
            x->t.dr == dr && memcmp(x->t.Q, Q, n * sizeof *Q) == 0)
            break;
    if (x == NULL) {
        if ((x = calloc(1, sizeof *x)) == NULL) return NULL;
        x->bytes = (nr * (n + 2) + 2 * n) * sizeof *Q;
        x->t = (struct mro_pdf_transform){
            .n = n, .nr = nr, .damping = damping, .damping_A2 = damping_A2, .r0 = r0, .dr = dr
        };
        x->t.Q = malloc(2 * n * sizeof *Q);
        x->t.rows = malloc(nr * (n + 2) * sizeof *Q);
        if (x->t.Q == NULL || x->t.rows == NULL) {
            entry_free(x);
            return NULL;
        }
        memcpy(x->t.Q, Q, n * sizeof *Q);
        x->t.low0 = x->t.rows + nr * n;
        x->t.low1 = x->t.low0 + nr;
        fill_rows(&x->t, x->t.Q + n);
        x->next = tables->first;
        tables->first = x;
    }
    x->users++;
    x->last = ++tables->clock;
    return &x->t;
}

/* Transforms that nothing uses are dropped, those longest unused first, until the rest is small. */
static void give_back(struct mro_pdf_tables *tables, const struct mro_pdf_transform *t)
{
    size_t idle = 0;
    for (struct entry *x = tables->first; x; x = x->next) {
        if (&x->t == t) x->users--;
        if (x->users == 0) idle += x->bytes;
    }
    while (idle > TABLES_BYTES) {
        struct entry **oldest = NULL;
        for (struct entry **at = &tables->first; *at; at = &(*at)->next)
            if ((*at)->users == 0 && (oldest == NULL || (*at)->last < (*oldest)->last)) oldest = at;
        struct entry *const x = *oldest;
        idle -= x->bytes;
        *oldest = x->next;
        entry_free(x);
    }
}

/* -- frames -------------------------------------------------------------------------------------------- */

void mro_pdf_frame_release(struct mro_pdf_frame *f)
{
    if (f->G) give_back(f->tables, f->G);
    if (f->low) give_back(f->tables, f->low);
    free(f->Q);
    free(f->r);
    free(f->rule);
    memset(f, 0, sizeof *f);
}

/* What the normalisation asks for, as rows over the intensities and the other terms: what the low r gives, then one
 * row for the mean of S over each oscillation that the tail could hide. */
static void make_rules(struct mro_pdf_frame *f, const double *se)
{
    const size_t m = f->terms, n = f->n, points = n - f->tail;
    for (size_t j = 0; j < f->rules; j++) {
        double *by = f->by + j * n, *other = f->other + j * MRO_PDF_MAX_TERMS;
        if (j < f->low_rules) {
            const double *T = f->low->rows + j * n, low1 = f->low->low1[j];
            f->target[j] = -f->low->low0[j] - low1 * (1 - f->ratio[0]);
            for (size_t k = 0; k < n; k++) {
                by[k] = (T[k] + (k == 0 ? low1 : 0)) * f->basis[k];
                f->target[j] += T[k] * f->ratio[k];
                for (size_t i = 1; i < m; i++) other[i] += T[k] * f->basis[i * n + k];
            }
            for (size_t i = 1; i < m; i++) other[i] += low1 * f->basis[i * n];
        } else {
            const size_t one = j - f->low_rules, rows = f->rules - f->low_rules;
            const size_t from = f->tail + one * points / rows, to = f->tail + (one + 1) * points / rows;
            const double share = 1 / (double)(to - from);
            for (size_t k = from; k < to; k++) {
                by[k] = share * f->basis[k];
                f->target[j] += share * f->ratio[k];
                for (size_t i = 1; i < m; i++) other[i] += share * f->basis[i * n + k];
            }
        }
        for (size_t k = 0; k < n; k++)
            if (isfinite(se[k])) f->noise[j] += by[k] * by[k] * se[k] * se[k];
    }
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < n; k++) f->most[i] = fmax(f->most[i], fabs(f->basis[i * n + k]));
}

enum mro_code mro_pdf_frame_make(struct mro_pdf_frame *f, const struct mro_pdf_axis *axis,
                                 const struct mro_pdf_options *o, double damping_A2, double density_per_nm3,
                                 const struct mro_pdf_windows *w, int background, size_t n, struct mro_error *e)
{
    memset(f, 0, sizeof *f);
    f->tables = axis->tables;
    f->n = n;
    f->normalise = axis->normalise;
    f->f1_2 = axis->f1_2;
    f->ratio = axis->ratio;
    f->terms = f->normalise ? 2 + (size_t)(background > 0 ? background : 0) - (background < 0) : 0;
    f->density_A3 = density_per_nm3 / 1000;
    f->r_min = w->r_min_A;
    while (f->nt < f->n && axis->s_inv_nm[f->nt] <= w->s_inv_nm[1] * (1 + 1e-9)) f->nt++;
    f->nr = (size_t)(o->r_max_A / o->r_step_A + 0.5);
    const double s_end = axis->s_inv_nm[n - 1];
    f->tail = 0;
    while (f->tail < n && axis->s_inv_nm[f->tail] < fmin(w->tail_inv_nm, 0.9 * s_end)) f->tail++;
    /* Low r, as fine as the range of Q resolves. */
    const size_t nl = (size_t)fmax(6, ceil(w->r_min_A / (M_PI / (2 * s_end * TO_Q))));
    f->low_rules = f->normalise && f->density_A3 > 0 ? nl : 0;
    f->rules = f->low_rules;
    if (f->normalise) f->rules += (size_t)fmax(2, (s_end - axis->s_inv_nm[f->tail]) * TO_Q / TAIL_BIN);
    double *q = f->Q = calloc(f->n * (2 + MRO_PDF_MAX_TERMS), sizeof *q);
    f->r = calloc(f->nr, sizeof *f->r);
    f->rule = calloc(f->rules * (n + MRO_PDF_MAX_TERMS + 2) + 1, sizeof *f->rule);
    if (q == NULL || f->r == NULL || f->rule == NULL) goto no_room;
    f->s_inv_nm = q + f->n;
    f->basis = q + 2 * f->n;
    f->by = f->rule;
    f->other = f->by + f->rules * n;
    f->target = f->other + f->rules * MRO_PDF_MAX_TERMS;
    f->noise = f->target + f->rules;
    for (size_t k = 0; k < f->n; k++) {
        f->s_inv_nm[k] = axis->s_inv_nm[k];
        f->Q[k] = f->s_inv_nm[k] * TO_Q;
    }
    for (size_t k = 0; k < f->n && f->normalise; k++) {
        const double x = 2 * (f->Q[k] - f->Q[0]) / (f->Q[f->n - 1] - f->Q[0]) - 1;
        double legendre[MRO_PDF_DEGREE + 2] = { 1, x };
        for (int m = 1; m < MRO_PDF_DEGREE; m++)
            legendre[m + 1] = ((2 * m + 1) * x * legendre[m] - m * legendre[m - 1]) / (m + 1);
        f->basis[k] = 1 / f->f1_2[k];
        if (f->terms > 1) f->basis[f->n + k] = -1 / f->f1_2[k];
        for (size_t m = 2; m < f->terms; m++) f->basis[m * f->n + k] = -legendre[m - 1];
    }
    for (size_t j = 0; j < f->nr; j++) f->r[j] = (double)(j + 1) * o->r_step_A;
    f->G = take(f->tables, f->Q, f->nt, o->damping, damping_A2, o->r_step_A, o->r_step_A, f->nr);
    /* Lorch's damping here in any case: without it the first shell's ripples fill the low r. */
    const double dr = w->r_min_A / (double)nl;
    f->low = take(f->tables, f->Q, f->n, MRO_DAMPING_LORCH, 0, dr / 2, dr, nl);
    if (f->G == NULL || f->low == NULL) goto no_room;
    if (f->normalise) make_rules(f, axis->se);
    return MRO_OK;
no_room:
    mro_pdf_frame_release(f);
    return MRO_FAIL(e, MRO_EMEMORY, "the transform of %zu by %zu points does not fit in memory", n,
                    (size_t)(o->r_max_A / o->r_step_A));
}

/* -- normalisation ------------------------------------------------------------------------------------- */

bool mro_pdf_normalise(const struct mro_pdf_frame *f, const double *v, double noise, double slow, double density_A3,
                       double *S, double x[MRO_PDF_MAX_TERMS])
{
    const size_t m = f->terms;
    double A[MRO_PDF_MAX_TERMS * MRO_PDF_MAX_TERMS] = { 0 }, b[MRO_PDF_MAX_TERMS] = { 0 }, scale[MRO_PDF_MAX_TERMS];
    memset(x, 0, MRO_PDF_MAX_TERMS * sizeof *x);
    if (!f->normalise) {
        memcpy(S, v, f->n * sizeof *S);
        return true;
    }
    /* Each term is scaled to 1 at its largest, so that the equations are well balanced. */
    memcpy(scale, f->most, sizeof scale);
    const double freedom = log(slow / MRO_PDF_SLOW_LEAST) / log(MRO_PDF_SLOW_MOST / MRO_PDF_SLOW_LEAST);
    const double row_low = ROW_LOW * pow(ROW_LOW_FREE / ROW_LOW, freedom);
    double most = 0;
#pragma omp simd reduction(max : most)
    for (size_t k = 0; k < f->n; k++) most = fmax(most, fabs(f->basis[k] * v[k]));
    scale[0] = most;
    for (size_t i = 0; i < m; i++)
        if (!(scale[i] > 0)) return false;
    for (size_t j = 0; j < f->rules; j++) {
        const double *by = f->by + j * f->n, *other = f->other + j * MRO_PDF_MAX_TERMS;
        const bool low = j < f->low_rules;
        const double unit = low ? row_low * 4 * M_PI * density_A3 * f->r_min : ROW_TAIL, weight = 1 / (unit * unit);
        const double target = f->target[j] - (low ? 4 * M_PI * density_A3 * mro_pdf_r(f->low, j) : 0);
        double row[MRO_PDF_MAX_TERMS], sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t k = 0; k < f->n; k++) sum += by[k] * v[k];
        row[0] = sum / scale[0];
        for (size_t i = 1; i < m; i++) row[i] = other[i] / scale[i];
        for (size_t i = 0; i < m; i++) {
            for (size_t l = 0; l < m; l++) A[i * m + l] += weight * row[i] * row[l];
            b[i] += weight * row[i] * target;
        }
        A[0] -= weight * noise * f->noise[j] / (scale[0] * scale[0]);
    }
    for (size_t i = 2; i < m; i++) A[i * m + i] += 1 / (slow * slow);
    if (!mro_cholesky_factor(A, m, m, MRO_PDF_RANK)) return false;
    mro_cholesky_apply(A, m, m, b);
    memcpy(x, b, m * sizeof *x);
    for (size_t i = 0; i < m; i++) x[i] /= scale[i];
    for (size_t k = 0; k < f->n; k++) {
        S[k] = 1 - f->ratio[k] + x[0] * f->basis[k] * v[k];
        for (size_t i = 1; i < m; i++) S[k] += x[i] * f->basis[i * f->n + k];
    }
    return x[0] > 0;
}

void mro_pdf_transform(const struct mro_pdf_transform *t, const double *S, double *G)
{
    for (size_t j = 0; j < t->nr; j++) {
        const double *T = t->rows + j * t->n;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t k = 0; k < t->n; k++) sum += T[k] * (S[k] - 1);
        G[j] = sum + t->low0[j] + t->low1[j] * S[0];
    }
}

#define DRAWS MRO_PDF_DRAWS
#define TILE 4 /* rows at once: a value of S is loaded once for them */

void mro_pdf_transform_draws(const struct mro_pdf_transform *t, const double *less_1, double *G)
{
#pragma omp parallel for schedule(static)
    for (size_t from = 0; from < t->nr; from += TILE) {
        const size_t rows = t->nr - from < TILE ? t->nr - from : TILE;
        for (size_t part = 0; part < DRAWS; part += 8) {
            double sum[TILE][8] = { { 0 } };
            const double *T[TILE];
            for (size_t j = 0; j < TILE; j++) T[j] = t->rows + (from + (j < rows ? j : 0)) * t->n;
            for (size_t k = 0; k < t->n; k++) {
                const double *x = less_1 + k * DRAWS + part;
                for (size_t j = 0; j < TILE; j++)
#pragma omp simd
                    for (size_t d = 0; d < 8; d++) sum[j][d] += T[j][k] * x[d];
            }
            for (size_t j = 0; j < rows; j++)
                for (size_t d = 0; d < 8; d++)
                    G[(part + d) * t->nr + from + j] =
                        sum[j][d] + t->low0[from + j] + t->low1[from + j] * (less_1[part + d] + 1);
        }
    }
}

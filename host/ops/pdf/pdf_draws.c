/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bootstrap: profiles drawn from what the errors come from, each taken through the whole analysis. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/math/philox.h"
#include "ops/pdf/pdf_internal.h"

#define DRAWS MRO_PDF_DRAWS

void mro_pdf_source_release(struct mro_pdf_source *u)
{
    free(u->mean);
    memset(u, 0, sizeof *u);
}

enum mro_code mro_pdf_source_alloc(struct mro_pdf_source *u, size_t blocks, size_t n, struct mro_error *e)
{
    *u = (struct mro_pdf_source){ .blocks = blocks, .n = n };
    u->mean = calloc(2 * blocks * n + 2 * n + 1, sizeof *u->mean);
    if (u->mean == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%zu sectors of %zu points do not fit in memory", blocks, n);
    u->weight = u->mean + blocks * n;
    u->all = u->weight + blocks * n;
    return MRO_OK;
}

void mro_pdf_source_weigh(struct mro_pdf_source *u)
{
    for (size_t k = 0; k < u->n; k++) {
        double sum = 0, total = 0;
        for (size_t i = 0; i < u->blocks; i++) {
            double *m = &u->mean[i * u->n + k], *w = &u->weight[i * u->n + k];
            if (!isfinite(*m) || !(*w > 0)) *m = *w = 0;
            *m *= *w;
            sum += *m;
            total += *w;
        }
        u->all[k] = total > 0 ? sum / total : 0;
    }
}

static double normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    const mro_philox_block b = mro_philox(seed, stream, i / 2);
    const mro_c32 z = mro_normal_pair(b.v[0], b.v[1]);
    return (double)(i % 2 ? z.im : z.re);
}

/* Values of draw `d` over points [first, first + n). `centre` are the measured ones. `work` has room for n. */
static void draw_values(const struct mro_pdf_source *u, size_t first, size_t n, uint64_t seed, size_t d,
                        const double *centre, double *work, double *v)
{
    if (u->blocks == 0) {
        for (size_t k = 0; k < n; k++) {
            const double se = u->se[first + k];
            v[k] = centre[k] + (isfinite(se) ? se * normal(seed, 2 * d + 2, first + k) : 0);
        }
        return;
    }
    /* Drawn with replacement, a block counts 0, 1, 2... times. The deviation from the mean of all is spread by
     * sqrt(B / (B - 1)), which is what drawing from B blocks is too narrow by. */
    size_t times[512] = { 0 };
    const size_t B = u->blocks < 512 ? u->blocks : 512;
    for (size_t i = 0; i < B; i++) {
        const mro_philox_block b = mro_philox(seed, 2 * d + 2, i);
        times[(size_t)(((uint64_t)b.v[0] * B) >> 32)]++;
    }
    const double spread = sqrt((double)B / (double)(B - 1));
    memset(v, 0, n * sizeof *v);
    memset(work, 0, n * sizeof *work);
    for (size_t i = 0; i < B; i++) {
        const double by = (double)times[i], *m = u->mean + i * u->n + first, *w = u->weight + i * u->n + first;
        if (times[i] == 0) continue;
        for (size_t k = 0; k < n; k++) {
            v[k] += by * m[k];
            work[k] += by * w[k];
        }
    }
    /* Against the mean of the blocks: the profile's own may leave out outliers that sectors hold. */
    for (size_t k = 0; k < n; k++) v[k] = centre[k] + (work[k] > 0 ? spread * (v[k] / work[k] - u->all[first + k]) : 0);
}

enum mro_code mro_pdf_draw(const struct mro_pdf_frame *f, size_t first, const struct mro_pdf_source *u,
                           const struct mro_pdf_options *o, double slow, const struct mro_pdf_places *places,
                           const double *v, const double *G, double *S_se, double *G_se, double *number,
                           struct mro_error *e)
{
    const size_t D = (size_t)o->draws, n = f->n, nr = f->nr, room = 3 * n;
    double *work = malloc(DRAWS * (room + nr + f->nt) * sizeof *work), *sum = calloc(2 * (n + nr), sizeof *sum);
    if (work == NULL || sum == NULL) {
        free(work);
        free(sum);
        return MRO_FAIL(e, MRO_EMEMORY, "%d draws of %zu points do not fit in memory", DRAWS, room + nr);
    }
    double *const drawn = work + DRAWS * room, *const less_1 = drawn + DRAWS * nr, *const square = sum + n + nr;
    size_t used = 0;
    bool good[DRAWS];
    for (size_t from = 0; from < D; from += DRAWS) {
        const size_t many = D - from < DRAWS ? D - from : DRAWS;
        memset(less_1, 0, DRAWS * f->nt * sizeof *less_1);
#pragma omp parallel for schedule(static)
        for (size_t d = 0; d < many; d++) {
            double *S = work + d * room, *V = S + n, x[MRO_PDF_MAX_TERMS];
            const double density =
                f->density_A3 > 0 ? f->density_A3 + o->density_se_per_nm3 / 1000 * normal(o->seed, 1, from + d) : 0;
            draw_values(u, first, n, o->seed, from + d, v, V + n, V);
            good[d] = mro_pdf_normalise(f, V, 2, slow, fmax(density, 0.2 * f->density_A3), S, x);
            for (size_t k = 0; k < f->nt && good[d]; k++) less_1[k * DRAWS + d] = S[k] - 1;
        }
        mro_pdf_transform_draws(f->G, less_1, drawn);
#pragma omp parallel for schedule(static)
        for (size_t d = 0; d < many; d++) {
            double *to = number + (from + d) * PDF_NUMBERS;
            for (size_t i = 0; i < PDF_NUMBERS; i++) to[i] = NAN;
            if (good[d]) mro_pdf_read(f, work + d * room, drawn + d * nr, places, to);
        }
        for (size_t d = 0; d < many; d++) {
            if (!good[d]) continue;
            for (size_t i = 0; i < n + nr; i++) {
                const double value = i < n ? work[d * room + i] : drawn[d * nr + i - n];
                sum[i] += value;
                square[i] += value * value;
            }
            used++;
        }
#pragma omp parallel for schedule(static)
        for (size_t d = 0; d < many; d++) {
            if (!good[d]) continue;
            for (size_t j = 0; j < nr; j++) drawn[d * nr + j] -= G[j];
            mro_pdf_chance(f, drawn + d * nr, places, number + (from + d) * PDF_NUMBERS);
        }
    }
    for (size_t i = 0; i < n + nr; i++) {
        const double mean = sum[i] / (double)used;
        const double se =
            used > 10 ? sqrt(fmax(0, (square[i] - (double)used * mean * mean) / (double)(used - 1))) : NAN;
        *(i < n ? S_se + i : G_se + (i - n)) = se;
    }
    free(work);
    free(sum);
    return MRO_OK;
}

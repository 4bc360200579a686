/* SPDX-License-Identifier: GPL-3.0-or-later */
/* States side by side: differences, patterns pooled. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "ops/pdf/pdf_internal.h"

void mro_pdf_difference_release(struct mro_pdf_difference *d)
{
    if (d == NULL) return;
    free(d->Q);
    free(d->r_A);
    memset(d, 0, sizeof *d);
}

/* Welch and Satterthwaite: degrees of freedom of a difference. */
static double welch(double se_a, double dof_a, double se_b, double dof_b)
{
    const double a = se_a * se_a, b = se_b * se_b;
    return (a + b) * (a + b) / (a * a / fmin(dof_a, 1e9) + b * b / fmin(dof_b, 1e9));
}

static double two_sided(double value, double se, double dof)
{
    if (!isfinite(value) || !(se > 0)) return NAN;
    return 2 * gsl_cdf_tdist_Q(fabs(value) / se, fmin(dof, 1e9));
}

/* a - b, with the systematic parts' change: what both have in common cancels. */
static struct mro_pdf_number less(const struct mro_pdf_number *a, double dof_a, const struct mro_pdf_number *b,
                                  double dof_b, double *p)
{
    const double dof = welch(a->se, dof_a, b->se, dof_b);
    struct mro_pdf_number d = mro_pdf_number_of(a->value - b->value, hypot(a->se, b->se), dof);
    for (int c = 0; c < MRO_PDF_CHOICES; c++) d.systematic[c] = fabs(a->systematic[c] - b->systematic[c]);
    *p = two_sided(d.value, d.se, dof);
    return d;
}

enum mro_code mro_pdf_compare(const struct mro_pdf_result *r, const struct mro_pdf_result *reference,
                              struct mro_pdf_difference *d, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    memset(d, 0, sizeof *d);
    if (r->n == 0 || reference->n == 0)
        return MRO_FAIL(e, MRO_EARG, "states are compared by S(Q); one of the two has none");
    if (r->damping != reference->damping || fabs(r->damping_A2 - reference->damping_A2) > 1e-6)
        return MRO_FAIL(e, MRO_EARG, "the two states were damped differently");
    const double s = r->windows.s_inv_nm[1], ref = reference->windows.s_inv_nm[1];
    if (fabs(s / ref - 1) > 0.01)
        return MRO_FAIL(e, MRO_EARG,
                        "the two states were transformed to different s, %.4g and %.4g 1/nm; give the same `s_max`", s,
                        ref);
    d->Q = calloc(3 * r->n, sizeof *d->Q);
    d->r_A = calloc(3 * r->n_r, sizeof *d->r_A);
    if (d->Q == NULL || d->r_A == NULL) {
        mro_pdf_difference_release(d);
        return MRO_FAIL(e, MRO_EMEMORY, "curves of %zu points do not fit in memory", r->n + r->n_r);
    }
    d->n = r->n;
    d->dS = d->Q + r->n;
    d->dS_se = d->Q + 2 * r->n;
    for (size_t k = 0; k < r->n; k++) {
        d->Q[k] = r->Q[k];
        d->dS[k] = r->S[k] - mro_pdf_at(reference->Q, reference->S, reference->n, r->Q[k]);
        d->dS_se[k] = hypot(r->S_se[k], mro_pdf_at(reference->Q, reference->S_se, reference->n, r->Q[k]));
    }
    d->n_r = r->n_r;
    d->dG = d->r_A + r->n_r;
    d->dG_se = d->r_A + 2 * r->n_r;
    for (size_t j = 0; j < r->n_r; j++) {
        d->r_A[j] = r->r_A[j];
        d->dG[j] = r->G[j] - mro_pdf_at(reference->r_A, reference->G, reference->n_r, r->r_A[j]);
        d->dG_se[j] = hypot(r->G_se[j], mro_pdf_at(reference->r_A, reference->G_se, reference->n_r, r->r_A[j]));
    }
    d->oscillation = less(&r->oscillation, r->dof, &reference->oscillation, reference->dof, &d->oscillation_p);
    d->first_moment =
        less(&r->fsdp.first_moment, r->dof, &reference->fsdp.first_moment, reference->dof, &d->first_moment_p);
    const double ratio = r->oscillation.value / reference->oscillation.value;
    const double a = r->oscillation.se / r->oscillation.value,
                 b = reference->oscillation.se / reference->oscillation.value;
    const struct mro_pdf_number log_ratio =
        mro_pdf_number_of(log(ratio), hypot(a, b), welch(a, r->dof, b, reference->dof));
    d->oscillation_ratio = (struct mro_pdf_number){
        ratio, ratio * log_ratio.se, { exp(log_ratio.ci95[0]), exp(log_ratio.ci95[1]) }, { NAN, NAN, NAN }
    };
    return MRO_OK;
}

enum mro_code mro_profile_pool(struct mro_profile *pooled, const struct mro_profile *const *each, size_t n,
                               struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    memset(pooled, 0, sizeof *pooled);
    if (n < 2) return MRO_FAIL(e, MRO_EARG, "patterns are taken together from two on, not %zu", n);
    const struct mro_profile *first = each[0];
    for (size_t i = 1; i < n; i++) {
        bool same =
            each[i]->n == first->n && each[i]->quantity == first->quantity && each[i]->radiation == first->radiation;
        for (size_t k = 0; k < first->n && same; k++)
            same = fabs(each[i]->s_inv_nm[k] - first->s_inv_nm[k]) < 1e-6 * first->s_inv_nm[first->n - 1];
        if (!same)
            return MRO_FAIL(e, MRO_EARG,
                            "pattern %zu has other values of s than the first; they cannot be taken together", i + 1);
    }
    /* As sectors, twice each: sectors are drawn in pairs of mates. */
    MRO_TRY(mro_profile_alloc(pooled, first->n, 2 * n, e));
    pooled->quantity = first->quantity;
    pooled->radiation = first->radiation;
    pooled->step_inv_nm = first->step_inv_nm;
    pooled->beam_kv = first->beam_kv;
    pooled->wavelength_A = first->wavelength_A;
    memcpy(pooled->source, first->source, sizeof pooled->source);
    memcpy(pooled->axis, first->axis, sizeof pooled->axis);
    for (size_t k = 0; k < first->n; k++) {
        double sum = 0, square = 0, pixels = 0;
        size_t many = 0;
        pooled->s_inv_nm[k] = first->s_inv_nm[k];
        for (size_t i = 0; i < n; i++) {
            const double v = each[i]->intensity[k];
            if (!isfinite(v)) continue;
            sum += v;
            many++;
            if (each[i]->pixels && isfinite(each[i]->pixels[k])) pixels += each[i]->pixels[k];
            for (size_t mate = i; mate < 2 * n; mate += n) {
                pooled->sector_mean[mate * first->n + k] = v;
                pooled->sector_weight[mate * first->n + k] = 0.5;
            }
        }
        if (many == 0) continue;
        const double mean = sum / (double)many;
        for (size_t i = 0; i < n; i++)
            if (isfinite(each[i]->intensity[k]))
                square += (each[i]->intensity[k] - mean) * (each[i]->intensity[k] - mean);
        pooled->intensity[k] = mean;
        pooled->pixels[k] = pixels / (double)many;
        if (many > 1) pooled->se[k] = sqrt(square / (double)(many - 1) / (double)many);
    }
    return MRO_OK;
}

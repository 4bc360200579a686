/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The measurement repeated in other pass bands, with a plan for each. */
#include "ops/mro/mro_sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_NM 0.2 /* nm^-1 */
#define SWEEPS 4

static const double sweep_shift[SWEEPS][2] = { { 1, -1 }, { -1, 1 }, { -1, -1 }, { 1, 1 } };

struct mro_sweep {
    struct mro_order_plan *plan[SWEEPS];
    char fault[SWEEPS][200]; /* why there is no plan for it */
};

/* Pass band number k of the sweep. */
static void swept_band(const struct mro_order_plan *p, int k, double band_inv_nm[2])
{
    for (int i = 0; i < 2; i++)
        band_inv_nm[i] = round(1e6 * (p->o.band_inv_nm[i] + SWEEP_NM * sweep_shift[k][i])) / 1e6;
}

/* The plan of another pass band; where there is none, why. */
static enum mro_code make_sweep(struct mro_order_plan *p, int k, struct mro_error *e)
{
    struct mro_sweep *s = p->sweep;
    struct mro_order_options o = p->o;
    struct mro_error fault;
    swept_band(p, k, o.band_inv_nm);
    o.sweep_band = o.acf_map = o.views = false;
    const enum mro_code rc = mro_order_plan_new(&s->plan[k], p->d, &o, &fault);
    if (rc == MRO_EARG)
        snprintf(s->fault[k], sizeof s->fault[k], "%.190s", fault.message);
    else if (rc && e)
        *e = fault;
    return rc == MRO_EARG ? MRO_OK : rc;
}

enum mro_code mro_sweep_prepare(struct mro_order_plan *p, struct mro_error *e)
{
    if (!p->o.sweep_band) return MRO_OK;
    p->sweep = calloc(1, sizeof *p->sweep);
    if (p->sweep == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (int k = 0; k < SWEEPS; k++) MRO_TRY(make_sweep(p, k, e));
    return MRO_OK;
}

void mro_sweep_free(struct mro_order_plan *p)
{
    for (int k = 0; p->sweep && k < SWEEPS; k++) mro_order_plan_free(p->sweep->plan[k]);
    free(p->sweep);
    p->sweep = NULL;
}

static void append(char *text, size_t size, const char *more)
{
    const size_t n = strlen(text);
    snprintf(text + n, size - n, "%s", more);
}

enum mro_code mro_sweep_bands(const struct mro_order_plan *p, const struct mro_image *im, const char *name,
                              struct mro_order_result *r, char *note, size_t note_size, struct mro_error *e)
{
    const struct mro_sweep *s = p->sweep;
    note[0] = '\0';
    if (!isfinite(r->fraction)) return MRO_OK;
    r->sweep = calloc(SWEEPS + 1, sizeof *r->sweep);
    if (r->sweep == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for the sweep of '%s'", name);
    const double *ci = r->fraction_ci95;
    r->sweep[r->n_sweep++] = (struct mro_order_sweep){ .band_inv_nm = { r->band_inv_nm[0], r->band_inv_nm[1] },
                                                       .fraction = r->fraction,
                                                       .fraction_ci95 = { ci[0], ci[1] } };
    double least = r->fraction, most = least;
    bool holds = true;
    char reason[208] = "";
    for (int k = 0; k < SWEEPS; k++) {
        struct mro_order_result other = { 0 };
        struct mro_error fault = { 0 };
        enum mro_code rc = MRO_EARG;
        double band[2];
        swept_band(p, k, band);
        if (s->plan[k]) rc = mro_order_measure_on(s->plan[k], p->d, im, name, &other, &fault);
        if (rc != MRO_OK && rc != MRO_EARG) {
            if (e) *e = fault;
            return rc;
        }
        if (rc == MRO_OK && isfinite(other.fraction)) {
            r->sweep[r->n_sweep++] =
                (struct mro_order_sweep){ .band_inv_nm = { band[0], band[1] },
                                          .fraction = other.fraction,
                                          .fraction_ci95 = { other.fraction_ci95[0], other.fraction_ci95[1] } };
            least = fmin(least, other.fraction);
            most = fmax(most, other.fraction);
            if (other.fraction < ci[0] || other.fraction > ci[1] || other.distinguishable != r->distinguishable)
                holds = false;
        } else {
            char text[64];
            if (note[0] == '\0')
                snprintf(reason, sizeof reason, "%.200s",
                         s->fault[k][0] ? s->fault[k]
                         : rc           ? fault.message
                                        : "nothing could be measured");
            snprintf(text, sizeof text, "%s%.2f to %.2f",
                     note[0] ? ", " : "pass bands left out of the sweep: ", band[0], band[1]);
            append(note, note_size, text);
        }
        mro_order_result_release(&other);
    }
    if (note[0]) {
        append(note, note_size, " nm^-1: ");
        append(note, note_size, reason);
    }
    char text[160];
    if (r->n_sweep > 1) {
        snprintf(text, sizeof text, "; this %s in the %zu pass bands tried (%.1f to %.1f %%)",
                 holds ? "holds" : "does not hold", r->n_sweep, 100 * least, 100 * most);
        append(r->verdict, sizeof r->verdict, text);
    }
    return MRO_OK;
}

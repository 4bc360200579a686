/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Patterns against temperature or strain, and where their numbers bend. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/pdf.h"

enum mro_code mro_pdf_series_add(struct mro_pdf_series *s, const char *name, double value,
                                 const struct mro_pdf_result *r, struct mro_error *e)
{
    struct mro_pdf_point *grown = realloc(s->point, (s->n + 1) * sizeof *grown);
    if (grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for the series", name);
    s->point = grown;
    struct mro_pdf_point *p = &grown[s->n++];
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%.199s", name);
    p->value = value;
    p->first_moment = r->fsdp.first_moment.value;
    p->first_moment_se = r->fsdp.first_moment.se;
    p->fsdp_area = r->fsdp.area.value;
    p->fsdp_area_se = r->fsdp.area.se;
    p->oscillation = r->oscillation.value;
    p->oscillation_se = r->oscillation.se;
    for (size_t k = 0; k < MRO_PDF_SHELLS; k++) {
        p->shell_r[k] = k < r->n_shells ? r->shell[k].r_A.value : NAN;
        p->shell_area[k] = k < r->n_shells ? r->shell[k].area.value : NAN;
        p->shell_area_se[k] = k < r->n_shells ? r->shell[k].area.se : NAN;
    }
    return MRO_OK;
}

/* Of the number and its error that lie so many bytes into a point; `x` has room for three numbers a point. */
static enum mro_code onset_of(const struct mro_pdf_series *s, size_t value_at, size_t se_at, double *x,
                              struct mro_onset *onset, struct mro_error *e)
{
    const size_t n = s->n;
    for (size_t i = 0; i < n; i++) {
        const char *p = (const char *)&s->point[i];
        x[i] = s->point[i].value;
        memcpy(&x[n + i], p + value_at, sizeof *x);
        memcpy(&x[2 * n + i], p + se_at, sizeof *x);
    }
    return mro_onset_find(x, x + n, x + 2 * n, n, onset, e);
}

#define COLUMN(field) offsetof(struct mro_pdf_point, field)
enum mro_code mro_pdf_series_onsets(struct mro_pdf_series *s, struct mro_error *e)
{
    double *x = malloc(3 * (s->n + 1) * sizeof *x);
    if (x == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left for a series of %zu patterns", s->n);
    enum mro_code rc = onset_of(s, COLUMN(first_moment), COLUMN(first_moment_se), x, &s->first_moment, e);
    if (rc == MRO_OK) rc = onset_of(s, COLUMN(fsdp_area), COLUMN(fsdp_area_se), x, &s->fsdp_area, e);
    if (rc == MRO_OK) rc = onset_of(s, COLUMN(oscillation), COLUMN(oscillation_se), x, &s->oscillation, e);
    for (size_t k = 0; k < MRO_PDF_SHELLS && rc == MRO_OK; k++)
        rc = onset_of(s, COLUMN(shell_area) + k * sizeof *x, COLUMN(shell_area_se) + k * sizeof *x, x,
                      &s->shell_area[k], e);
    free(x);
    return rc;
}

void mro_pdf_series_release(struct mro_pdf_series *s)
{
    free(s->point);
    memset(s, 0, sizeof *s);
}

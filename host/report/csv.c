/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables of results as CSV (RFC 4180). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/json_text.h"
#include "io/table.h"
#include "io/text_stream.h"
#include "report/axes.h"
#include "report/json.h"

/* One CSV line; NaN is an empty field. */
static void put_row(FILE *out, const double *v, size_t n, const char *last)
{
    char text[32];
    for (size_t i = 0; i < n; i++) {
        text[0] = '\0';
        if (isfinite(v[i])) mro_number_text(v[i], text);
        fprintf(out, "%s%s", i ? "," : "", text);
    }
    if (last) fprintf(out, ",%s", last);
    fputs("\r\n", out);
}

char *mro_csv_objects(const struct mro_order_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("x_nm,y_nm,diameter_nm,d_nm,azimuth_deg,snr,grade\r\n", out);
    for (size_t i = 0; i < r->n_objects; i++) {
        const struct mro_order_object *o = &r->objects[i];
        const double v[] = { o->x_nm, o->y_nm, o->diameter_nm, o->d_nm, o->azimuth_deg, o->snr };
        put_row(out, v, sizeof v / sizeof *v, (char[]){ o->grade, '\0' });
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_sweep(const struct mro_order_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("band_lo_inv_nm,band_hi_inv_nm,fraction,fraction_ci95_lo,fraction_ci95_hi\r\n", out);
    for (size_t i = 0; i < r->n_sweep; i++) {
        const struct mro_order_sweep *s = &r->sweep[i];
        const double v[] = { s->band_inv_nm[0], s->band_inv_nm[1], s->fraction, s->fraction_ci95[0],
                             s->fraction_ci95[1] };
        put_row(out, v, sizeof v / sizeof *v, NULL);
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_survival(const struct mro_order_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("score,share_above,share_above_null,nominal_rate\r\n", out);
    for (size_t i = 0; i < r->n_cdf; i++) {
        const double v[] = { r->cdf_score[i], r->cdf_observed[i], r->cdf_null[i], r->cdf_p[i] };
        put_row(out, v, sizeof v / sizeof *v, NULL);
    }
    return mro_text_end(out, &text, e);
}

/* Rows of `n` columns; a column that is NULL is empty. */
static char *table(const char *head, const double *const *column, size_t columns, size_t n, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    double row[8];
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fprintf(out, "%s\r\n", head);
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < columns; c++) row[c] = column[c] ? column[c][i] : NAN;
        put_row(out, row, columns, NULL);
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_pdf_profile(const struct mro_profile *p, struct mro_error *e)
{
    const double *const column[] = { p->s_inv_nm, p->intensity, p->se };
    return table("s_inv_nm,intensity,se", column, 3, p->s_inv_nm ? p->n : 0, e);
}

char *mro_csv_pdf_S(const struct mro_pdf_result *r, const struct mro_pdf_difference *d, struct mro_error *e)
{
    const double *const column[] = { r->Q, r->S, r->S_se, d ? d->dS : NULL, d ? d->dS_se : NULL };
    return table(d ? "Q_inv_A,S,S_se,dS,dS_se" : "Q_inv_A,S,S_se", column, d ? 5 : 3, r->n, e);
}

char *mro_csv_pdf_G(const struct mro_pdf_result *r, const struct mro_pdf_difference *d, struct mro_error *e)
{
    const double *const column[] = { r->r_A, r->G, r->G_se, r->g, d ? d->dG : NULL, d ? d->dG_se : NULL };
    return table(d ? "r_A,G,G_se,g,dG,dG_se" : "r_A,G,G_se,g", column, d ? 6 : 4, r->n_r, e);
}

char *mro_csv_pdf_series(const struct mro_pdf_series *s, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    double row[7 + 3 * MRO_PDF_SHELLS];
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    char head[110];
    mro_text_named(head, sizeof head, s->value_name, s->value_unit);
    mro_csv_put_text(out, head, "");
    fputs(",first_moment_inv_A,first_moment_se,fsdp_area_inv_A,fsdp_area_se,oscillation,oscillation_se", out);
    for (int k = 1; k <= MRO_PDF_SHELLS; k++) fprintf(out, ",r%d_A,area%d,area%d_se", k, k, k);
    fputs("\r\n", out);
    for (size_t i = 0; i < s->n; i++) {
        const struct mro_pdf_point *p = &s->point[i];
        const double first[7] = { p->value,        p->first_moment, p->first_moment_se, p->fsdp_area,
                                  p->fsdp_area_se, p->oscillation,  p->oscillation_se };
        memcpy(row, first, sizeof first);
        for (int k = 0; k < MRO_PDF_SHELLS; k++) {
            row[7 + 3 * k] = p->shell_r[k];
            row[8 + 3 * k] = p->shell_area[k];
            row[9 + 3 * k] = p->shell_area_se[k];
        }
        put_row(out, row, sizeof row / sizeof *row, NULL);
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_crystals(const struct mro_crystal_result *r, const struct mro_crystal_options *o, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs(
        "crystal,x_nm,y_nm,diameter_nm,d_nm,d_se_nm,azimuth_deg,amplitude,snr,strain,exx,eyy,exy,rotation_deg,vortices,"
        "band_distance_nm,h,k,l,phase\r\n",
        out);
    for (size_t i = 0; i < r->n_crystals; i++) {
        const struct mro_crystal *c = &r->crystals[i];
        for (size_t k = 0; k < c->n_fringes; k++) {
            const struct mro_fringes *f = &c->fringes[k];
            const bool indexed = f->hkl[0] || f->hkl[1] || f->hkl[2];
            const double v[] = { (double)(i + 1),
                                 c->x_nm,
                                 c->y_nm,
                                 c->diameter_nm,
                                 f->d_nm,
                                 f->d_se_nm,
                                 f->azimuth_deg,
                                 f->amplitude,
                                 f->snr,
                                 f->strain,
                                 c->exx,
                                 c->eyy,
                                 c->exy,
                                 c->rotation_deg,
                                 c->vortices < 0 ? NAN : c->vortices,
                                 c->band_distance_nm,
                                 indexed ? f->hkl[0] : NAN,
                                 indexed ? f->hkl[1] : NAN,
                                 indexed ? f->hkl[2] : NAN };
            put_row(out, v, sizeof v / sizeof *v, c->phase >= 0 ? o->phases[c->phase].name : "");
        }
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_shifts(const struct mro_frame_shift *s, size_t n, const double pixel_nm[2], struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("frame,y_px,x_px,y_nm,x_nm,correlation\r\n", out);
    for (size_t i = 0; i < n; i++) {
        const double v[] = { (double)s[i].frame,      s[i].y_px,       s[i].x_px, s[i].y_px * pixel_nm[0],
                             s[i].x_px * pixel_nm[1], s[i].correlation };
        put_row(out, v, sizeof v / sizeof *v, NULL);
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_eds_profile(const struct mro_eds_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    double row[1 + 2 * MRO_EDS_MAX_ELEMENTS];
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("distance_nm", out);
    for (size_t j = 0; j < r->elements; j++)
        fprintf(out, ",%s_at_percent,%s_counting_sd_at_percent", r->element[j].symbol, r->element[j].symbol);
    fputs("\r\n", out);
    for (size_t i = 0; i < r->points; i++) {
        row[0] = r->x_nm[i];
        for (size_t j = 0; j < r->elements; j++) {
            row[1 + 2 * j] = r->element[j].at[i];
            row[2 + 2 * j] = r->element[j].se && !r->smoothed ? r->element[j].se[i] : NAN;
        }
        put_row(out, row, 1 + 2 * r->elements, NULL);
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_eds_spectrum(const struct mro_eds_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size, n = 0;
    double row[1 + 3 * MRO_EDS_MAX_ELEMENTS];
    const double *f = NULL;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("frequency_inv_nm", out);
    for (size_t j = 0; j < r->elements; j++) {
        const char *el = r->element[j].symbol;
        fprintf(out, ",%s_power,%s_red_noise,%s_wave", el, el, el);
        if (r->element[j].spectrum.n) n = r->element[j].spectrum.n, f = r->element[j].spectrum.f_inv_nm;
    }
    fputs("\r\n", out);
    for (size_t k = 0; k < n; k++) {
        row[0] = f[k];
        for (size_t j = 0; j < r->elements; j++) {
            const struct mro_eds_spectrum *s = &r->element[j].spectrum;
            row[1 + 3 * j] = s->n ? s->power[k] : NAN;
            row[2 + 3 * j] = s->n ? s->red[k] : NAN;
            row[3 + 3 * j] = s->n ? s->wave[k] : NAN;
        }
        put_row(out, row, 1 + 3 * r->elements, NULL);
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_shearband_profile(const struct mro_shearband_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("band,offset_nm,contrast,contrast_se,fit\r\n", out);
    for (size_t k = 0; k < r->n_bands; k++) {
        const struct mro_shearband *b = &r->band[k];
        for (size_t i = 0; i < b->n_profile; i++)
            put_row(out, (double[]){ (double)k, b->offset_nm[i], b->contrast[i], b->contrast_se[i], b->fit[i] }, 5,
                    NULL);
    }
    return mro_text_end(out, &text, e);
}

char *mro_csv_shearband_segments(const struct mro_shearband_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("band,x_nm,y_nm,along_nm,offset_nm,width_nm,depth\r\n", out);
    for (size_t k = 0; k < r->n_bands; k++)
        for (size_t i = 0; i < r->band[k].n_segments; i++) {
            const struct mro_shearband_segment *q = &r->band[k].segment[i];
            put_row(out, (double[]){ (double)k, q->x_nm, q->y_nm, q->along_nm, q->offset_nm, q->width_nm, q->depth }, 7,
                    NULL);
        }
    return mro_text_end(out, &text, e);
}

char *mro_csv_shearband_elements(const struct mro_shearband_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs("band,element,offset_nm,at_percent,counting_sd_at_percent\r\n", out);
    for (size_t k = 0; r->elements && k < r->n_bands; k++) {
        const struct mro_shearband_elements *q = &r->elements[k];
        for (size_t j = 0; j < q->n; j++) {
            const struct mro_eds_element *el = &q->profile.element[j];
            for (size_t i = 0; i < q->profile.points; i++) {
                fprintf(out, "%zu,%s,", k, el->symbol);
                put_row(out, (double[]){ q->profile.x_nm[i] - q->centre_nm, el->at[i], el->se ? el->se[i] : NAN }, 3,
                        NULL);
            }
        }
    }
    return mro_text_end(out, &text, e);
}

/* Names of columns, those of values with the unit of the table behind them. */
static void put_values_header(FILE *out, const char *const *names, size_t n, const char *unit)
{
    char name[80];
    for (size_t i = 0; i < n; i++) {
        mro_text_named(name, sizeof name, names[i], unit);
        mro_csv_put(out, name, i + 1 < n ? "," : "\r\n");
    }
}

char *mro_csv_indent_places(const struct mro_indent_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    const bool known = mro_indent_length_known(r);
    const double unit = known ? 1e-3 : 1;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fputs(known ? "x_um,y_um," : "column,row,", out);
    put_values_header(out, (const char *[]){ "value", "neighbours_mean" }, 2, r->unit);
    for (size_t i = 0; i < r->places; i++)
        put_row(out, (double[]){ unit * r->x[i], unit * r->y[i], r->value[i], r->beside[i] }, 4, NULL);
    return mro_text_end(out, &text, e);
}

char *mro_csv_indent_bins(const struct mro_indent_result *r, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    const bool known = mro_indent_length_known(r);
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    fprintf(out, "distance_%s,indents,", known ? "um" : "steps");
    put_values_header(
        out, (const char *[]){ "mean", "mean_ci95_lo", "mean_ci95_hi", "sd", "fwhm", "fwhm_ci95_lo", "fwhm_ci95_hi" },
        7, r->unit);
    for (size_t i = 0; i < r->n_bins; i++) {
        const struct mro_indent_bin *q = &r->bin[i];
        put_row(out,
                (double[]){ known ? q->distance / 1e3 : q->distance, (double)q->n, q->mean, q->mean_ci95[0],
                            q->mean_ci95[1], q->sd, q->fwhm, q->fwhm_ci95[0], q->fwhm_ci95[1] },
                9, NULL);
    }
    return mro_text_end(out, &text, e);
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of a pair distribution. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimals.h"
#include "report/axes.h"
#include "report/figure.h"
#include "report/figure_parts.h"
#include "report/plot.h"

#define PLOT_HEIGHT 44.0
#define PLOT_HEIGHT_OF_MANY 32.0 /* below each other */
#define CELL 60.0                /* with axes and legends they are at least so wide */
#define MOST_PANELS 8
#define MAGENTA 0xcc79a7
#define SKY 0x56b4e9

enum panel { PATTERN, PROFILE, STRUCTURE, PAIRS, SHELL, SECTORS, SERIES_MOMENT, SERIES_AREAS };

struct pdf_page {
    const struct mro_pdf_report *r;
    struct mro_raster raw;
    double field[2]; /* of the pattern, pixels */
    enum panel panel[MOST_PANELS];
    size_t panels;
};

/* Range of values with a little room, of what is finite. */
static void range_of(const double *v, size_t n, double range[2])
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) continue;
        range[0] = fmin(range[0], v[i]);
        range[1] = fmax(range[1], v[i]);
    }
}

static void widen(double range[2])
{
    if (!(range[1] > range[0])) {
        const double room = fabs(range[0]) > 0 && isfinite(range[0]) ? 0.1 * fabs(range[0]) : 1;
        range[0] = isfinite(range[0]) ? range[0] - room : 0;
        range[1] = range[0] + 2 * room;
    }
    const double room = 0.05 * (range[1] - range[0]);
    range[0] -= room;
    range[1] += room;
}

static bool left_out(const void *map, size_t j, size_t i)
{
    const struct mro_saed_result *s = map;
    return s->mask[j * s->nx + i] & ~(unsigned)MRO_SAED_OUTLIER;
}

/* In the place of a plot and its axes. */
static void draw_pattern(struct mro_canvas *c, const struct pdf_page *p, struct mro_box plot)
{
    const struct mro_saed_result *s = p->r->pattern;
    const struct mro_saed_geometry *g = &s->geometry;
    const struct mro_box b = mro_fig_fit(plot.x - PLOT_LEFT, plot.y, plot.w, plot.h + PLOT_BELOW, p->field);
    mro_canvas_raster(c, &p->raw, b.x, b.y, b.w, b.h);
    const double scale = b.w / (double)s->nx;
    cairo_save(c->cr);
    cairo_rectangle(c->cr, b.x, b.y, b.w, b.h);
    cairo_clip(c->cr);
    if (s->mask) mro_fig_outline(c->cr, left_out, s, s->ny, s->nx, b, ORANGE, 0.15);
    const double cx = b.x + (g->centre_px[0] + 0.5) * scale, cy = b.y + (g->centre_px[1] + 0.5) * scale;
    const double halo = s->anisotropy.s_inv_nm / s->step_inv_nm * scale, ratio = sqrt(g->ellipse_ratio);
    cairo_save(c->cr);
    cairo_translate(c->cr, cx, cy);
    if (isfinite(halo) && halo > 0) {
        cairo_save(c->cr);
        if (isfinite(g->ellipse_azimuth_deg)) cairo_rotate(c->cr, g->ellipse_azimuth_deg * M_PI / 180);
        cairo_scale(c->cr, halo * ratio, halo / ratio);
        cairo_new_sub_path(c->cr);
        cairo_arc(c->cr, 0, 0, 1, 0, 2 * M_PI);
        cairo_restore(c->cr);
        mro_plot_stroke(c, SKY, 0.7, 0);
    }
    cairo_move_to(c->cr, -1.5, 0);
    cairo_line_to(c->cr, 1.5, 0);
    cairo_move_to(c->cr, 0, -1.5);
    cairo_line_to(c->cr, 0, 1.5);
    mro_plot_stroke(c, SKY, 0.7, 0);
    cairo_restore(c->cr);
    cairo_restore(c->cr);
    /* The bar says 1/nm, so it is drawn here and not by the scale bar of images. */
    const double length = mro_nice_below(0.3 * (double)s->nx * s->step_inv_nm);
    if (length > 0) {
        char text[48];
        const double w = length / s->step_inv_nm * scale;
        mro_fig_rgb(c->cr, 0xffffff, 0.85);
        cairo_rectangle(c->cr, b.x + 1.2, b.y + b.h - 6.2, w + 2.4, 5);
        cairo_fill(c->cr);
        mro_fig_rgb(c->cr, INK, 1);
        cairo_rectangle(c->cr, b.x + 2.4, b.y + b.h - 2.6, w, 0.6);
        cairo_fill(c->cr);
        snprintf(text, sizeof text, "%g" TEXT_NBSP "nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER, length);
        mro_canvas_text(c, b.x + 2.4 + w / 2, b.y + b.h - 3.4, PT - 1, MRO_CENTRE, 0, INK, text);
    }
    mro_fig_frame(c->cr, b, 0.5);
}

static void draw_profile(struct mro_canvas *c, const struct pdf_page *p, struct mro_plot q)
{
    const struct mro_profile *f = p->r->profile;
    const struct mro_pdf_result *v = p->r->pdf;
    /* Logarithmic over what lies beyond the beam stop's rim. */
    size_t from = 0;
    if (v && v->n_profile)
        while (from + 1 < f->n && f->s_inv_nm[from] < 0.6 * v->windows.fit_inv_nm[0]) from++;
    double lo = INFINITY, hi = 0;
    for (size_t i = from; i < f->n; i++) {
        if (!(f->intensity[i] > 0)) continue;
        lo = fmin(lo, f->intensity[i]);
        hi = fmax(hi, f->intensity[i]);
    }
    q.x[0] = 0;
    q.x[1] = f->s_inv_nm[f->n - 1];
    q.log_y = lo > 0 && hi > lo;
    q.y[0] = q.log_y ? lo / 1.2 : 0;
    q.y[1] = q.log_y ? hi * 1.2 : 1;
    mro_plot_begin(c, &q);
    if (v && v->n_profile) {
        mro_plot_vertical(c, &q, v->windows.s_inv_nm[0], GREY, 0.5, 0.8);
        mro_plot_vertical(c, &q, v->windows.s_inv_nm[1], GREY, 0.5, 0.8);
        mro_plot_curve(c, &q, v->s_inv_nm, v->fit, v->n_profile);
        mro_plot_stroke(c, ORANGE, 1, 0);
    }
    mro_plot_curve(c, &q, f->s_inv_nm + from, f->intensity + from, f->n - from);
    mro_plot_stroke(c, BLUE, 0.9, 0);
    mro_plot_end(c);
    mro_plot_axes(c, &q, "s = 1/d (nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ")", "Intensity (counts)");
    mro_plot_legend(c, q.b.x + q.b.w - 42, q.b.y + 4, BLUE, 0.9, 0, "mean around the centre");
    if (v && v->n_profile) mro_plot_legend(c, q.b.x + q.b.w - 42, q.b.y + 7.4, ORANGE, 1, 0, "fit with S = 1");
}

static void draw_structure(struct mro_canvas *c, const struct pdf_page *p, struct mro_plot q)
{
    const struct mro_pdf_result *v = p->r->pdf;
    double *lo = mro_canvas_room(c, 2 * v->n), *hi = lo ? lo + v->n : NULL;
    if (lo == NULL) return;
    q.x[0] = 0;
    q.x[1] = v->windows.s_inv_nm[1] * 2 * M_PI / 10;
    q.y[0] = 0;
    q.y[1] = 1;
    for (size_t i = 0; i < v->n; i++)
        if (v->Q[i] <= q.x[1]) range_of(&v->S[i], 1, q.y);
    const struct mro_pdf_result *other = p->r->reference;
    for (size_t i = 0; other && i < other->n; i++)
        if (other->Q[i] <= q.x[1]) range_of(&other->S[i], 1, q.y);
    q.y[1] *= 1.06;
    mro_plot_begin(c, &q);
    mro_plot_horizontal(c, &q, 1, GREY, 0.5, 0.8);
    for (int i = 0; i < 2; i++) mro_plot_vertical(c, &q, v->windows.fsdp_Q[i], GREY, 0.4, 1.6);
    for (size_t i = 0; i < v->n; i++) {
        lo[i] = v->S[i] - 1.96 * v->S_se[i];
        hi[i] = v->S[i] + 1.96 * v->S_se[i];
    }
    if (v->draws) mro_plot_band(c, &q, v->Q, lo, hi, v->n, BLUE, 0.25);
    if (other) {
        mro_plot_curve(c, &q, other->Q, other->S, other->n);
        mro_plot_stroke(c, INK, 0.6, 0);
    }
    mro_plot_curve(c, &q, v->Q, v->S, v->n);
    mro_plot_stroke(c, BLUE, 0.9, 0);
    mro_plot_end(c);
    mro_plot_axes(c, &q, "Q = 2\xcf\x80/d (\xc3\x85" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ")", "S(Q)");
    if (other) mro_plot_legend(c, q.b.x + q.b.w - 24, q.b.y + 4, INK, 0.6, 0, "reference");
    free(lo);
}

static void draw_pairs(struct mro_canvas *c, const struct pdf_page *p, struct mro_plot q)
{
    const struct mro_pdf_result *v = p->r->pdf;
    double *lo = mro_canvas_room(c, 2 * v->n_r), *hi = lo ? lo + v->n_r : NULL;
    if (lo == NULL) return;
    q.x[0] = 0;
    q.x[1] = fmin(v->r_A[v->n_r - 1], 16);
    q.y[0] = q.y[1] = 0;
    for (size_t i = 0; i < v->n_r; i++)
        if (v->r_A[i] <= q.x[1]) range_of(&v->G[i], 1, q.y);
    const struct mro_pdf_result *other = p->r->reference;
    for (size_t i = 0; other && i < other->n_r; i++)
        if (other->r_A[i] <= q.x[1]) range_of(&other->G[i], 1, q.y);
    widen(q.y);
    mro_plot_begin(c, &q);
    mro_plot_horizontal(c, &q, 0, GREY, 0.5, 0.8);
    if (v->density_per_nm3 > 0) {
        const double slope = -4 * M_PI * v->density_per_nm3 / 1000, end = fmin(q.x[1], q.y[0] / slope);
        const double r[2] = { 0, end }, line[2] = { 0, slope * end };
        mro_plot_curve(c, &q, r, line, 2);
        mro_plot_stroke(c, ORANGE, 0.7, 0.8);
    }
    for (size_t i = 0; i < v->n_r; i++) {
        lo[i] = v->G[i] - 1.96 * v->G_se[i];
        hi[i] = v->G[i] + 1.96 * v->G_se[i];
    }
    if (v->draws) mro_plot_band(c, &q, v->r_A, lo, hi, v->n_r, BLUE, 0.3);
    if (other) {
        mro_plot_curve(c, &q, other->r_A, other->G, other->n_r);
        mro_plot_stroke(c, INK, 0.6, 0);
    }
    mro_plot_curve(c, &q, v->r_A, v->G, v->n_r);
    mro_plot_stroke(c, BLUE, 0.9, 0);
    for (size_t k = 0; k < v->n_shells; k++)
        if (isfinite(v->shell[k].r_A.value) && v->shell[k].r_A.value < q.x[1])
            mro_plot_dot(c, &q, v->shell[k].r_A.value, v->shell[k].height.value, 0.5, INK);
    mro_plot_end(c);
    mro_plot_axes(c, &q, "r (\xc3\x85)", "G(r) (\xc3\x85" TEXT_SUPER TEXT_MINUS "2" TEXT_SUPER ")");
    if (v->density_per_nm3 > 0)
        mro_plot_legend(c, q.b.x + q.b.w - 36.5, q.b.y + 4, ORANGE, 0.7, 0.8,
                        TEXT_MINUS "4\xcf\x80\xcf\x81r: no atoms");
    if (other)
        mro_plot_legend(c, q.b.x + q.b.w - 36.5, q.b.y + (v->density_per_nm3 > 0 ? 7.4 : 4), INK, 0.6, 0, "reference");
    free(lo);
}

/* Modes 3 and 2, where only their sum is known. */
static bool is_of_both(const struct mro_pdf_connection *m, size_t k)
{
    return !m->separable && (m->mode[k].atoms == 3 || m->mode[k].atoms == 2);
}

static void draw_shell(struct mro_canvas *c, const struct pdf_page *p, struct mro_plot q)
{
    static const unsigned colour[MRO_PDF_MODES] = { ORANGE, GREEN, MAGENTA, SKY };
    const struct mro_pdf_connection *m = &p->r->pdf->connection;
    q.x[0] = m->r_A[0];
    q.x[1] = m->r_A[m->n - 1];
    q.y[0] = q.y[1] = 0;
    range_of(m->data, m->n, q.y);
    range_of(m->fit, m->n_curve, q.y);
    widen(q.y);
    q.y[1] += 0.6 * (q.y[1] - q.y[0]);            /* for the legend */
    double *sum = mro_canvas_room(c, m->n_curve); /* of the modes that are known together only */
    if (sum == NULL) return;
    mro_plot_begin(c, &q);
    for (size_t k = 0; k < MRO_PDF_MODES; k++) {
        const bool one = is_of_both(m, k);
        if (one && m->mode[k].atoms == 2) continue;
        for (size_t i = 0; i < m->n_curve; i++)
            sum[i] = m->part[k * m->n_curve + i] + (one ? m->part[(k + 1) * m->n_curve + i] : 0);
        mro_plot_curve(c, &q, m->curve_r_A, sum, m->n_curve);
        mro_plot_stroke(c, colour[k], 0.9, 0);
    }
    free(sum);
    mro_plot_curve(c, &q, m->curve_r_A, m->fit, m->n_curve);
    mro_plot_stroke(c, INK, 0.8, 0.9);
    for (size_t i = 0; i < m->n; i++) mro_plot_dot(c, &q, m->r_A[i], m->data[i], 0.5, BLUE);
    mro_plot_end(c);
    mro_plot_axes(c, &q, "r (\xc3\x85)", "4\xcf\x80\xcf\x81r + G (\xc3\x85" TEXT_SUPER TEXT_MINUS "2" TEXT_SUPER ")");
    double y = q.b.y + 4;
    for (size_t k = 0; k < MRO_PDF_MODES; k++) {
        char text[64];
        const bool one = is_of_both(m, k);
        if (one && m->mode[k].atoms == 2) continue;
        snprintf(text, sizeof text, "%s%d shared: %.1f atoms", one ? "2 or " : "", m->mode[k].atoms,
                 one ? m->together.area : m->mode[k].area);
        mro_plot_legend(c, q.b.x + q.b.w - 46, y, colour[k], 0.9, 0, text);
        y += 3.4;
    }
}

static void draw_sectors(struct mro_canvas *c, const struct pdf_page *p, struct mro_plot q)
{
    const struct mro_saed_anisotropy *a = &p->r->pattern->anisotropy;
    double x[181], y[181];
    q.x[0] = 0;
    q.x[1] = 180;
    q.y[0] = INFINITY;
    q.y[1] = -INFINITY;
    for (size_t i = 0; i < a->n_sectors; i++) {
        const double e = isfinite(a->sector[i].se) ? a->sector[i].se : 0,
                     v[2] = { 100 * (a->sector[i].strain - e), 100 * (a->sector[i].strain + e) };
        range_of(v, 2, q.y);
    }
    widen(q.y);
    mro_plot_begin(c, &q);
    mro_plot_horizontal(c, &q, 0, GREY, 0.5, 0.8);
    for (size_t i = 0; i < a->n_sectors; i++) {
        const struct mro_saed_sector *s = &a->sector[i];
        if (!isfinite(s->strain)) continue;
        if (isfinite(s->se)) {
            cairo_move_to(c->cr, mro_plot_x(&q, s->azimuth_deg), mro_plot_y(&q, 100 * (s->strain - s->se)));
            cairo_line_to(c->cr, mro_plot_x(&q, s->azimuth_deg), mro_plot_y(&q, 100 * (s->strain + s->se)));
            mro_plot_stroke(c, BLUE, 0.6, 0);
        }
        mro_plot_dot(c, &q, s->azimuth_deg, 100 * s->strain, 0.6, BLUE);
    }
    if (isfinite(a->e2)) {
        for (int i = 0; i <= 180; i++) {
            x[i] = i;
            y[i] = 100 * (a->e0 + a->e2 * cos(2 * (i - a->azimuth_deg) * M_PI / 180));
        }
        mro_plot_curve(c, &q, x, y, 181);
        mro_plot_stroke(c, ORANGE, 0.9, 0);
    }
    mro_plot_end(c);
    mro_plot_axes(c, &q, "Azimuth (degrees)", "Shift of the first halo (%)");
}

static void point_with_bar(struct mro_canvas *c, const struct mro_plot *q, double x, double y, double se,
                           unsigned colour)
{
    if (!isfinite(x) || !isfinite(y)) return;
    if (isfinite(se)) {
        cairo_move_to(c->cr, mro_plot_x(q, x), mro_plot_y(q, y - 1.96 * se));
        cairo_line_to(c->cr, mro_plot_x(q, x), mro_plot_y(q, y + 1.96 * se));
        mro_plot_stroke(c, colour, 0.6, 0);
    }
    mro_plot_dot(c, q, x, y, 0.6, colour);
}

static double of_series(const struct mro_pdf_point *v, bool areas, size_t k, bool se)
{
    if (areas) return se ? v->shell_area_se[k] : v->shell_area[k];
    return se ? v->first_moment_se : v->first_moment;
}

static void draw_series(struct mro_canvas *c, const struct pdf_page *p, struct mro_plot q, bool areas)
{
    static const unsigned colour[3] = { BLUE, ORANGE, GREEN };
    const struct mro_pdf_series *s = p->r->series;
    const size_t curves = areas ? 3 : 1;
    double mean[3] = { 1, 1, 1 }; /* areas are drawn over it, as shells differ in size */
    for (size_t k = 0; k < curves && areas; k++) {
        double sum = 0, n = 0;
        for (size_t i = 0; i < s->n; i++) {
            if (!isfinite(s->point[i].shell_area[k])) continue;
            sum += s->point[i].shell_area[k];
            n++;
        }
        if (sum > 0) mean[k] = sum / n;
    }
    q.x[0] = q.y[0] = INFINITY;
    q.x[1] = q.y[1] = -INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        const struct mro_pdf_point *v = &s->point[i];
        range_of(&v->value, 1, q.x);
        for (size_t k = 0; k < curves; k++) {
            const double at = of_series(v, areas, k, false) / mean[k], se = of_series(v, areas, k, true) / mean[k];
            const double ends[2] = { at - (isfinite(se) ? 2 * se : 0), at + (isfinite(se) ? 2 * se : 0) };
            range_of(ends, 2, q.y);
        }
    }
    const double ends_x[2] = { q.x[0], q.x[1] };
    widen(q.x);
    widen(q.y);
    q.y[0] -= 0.15 * (q.y[1] - q.y[0]);           /* for the onsets */
    if (areas) q.y[1] += 0.4 * (q.y[1] - q.y[0]); /* for the legend */
    mro_plot_begin(c, &q);
    for (size_t k = 0; k < curves; k++) {
        const struct mro_onset *o = areas ? &s->shell_area[k] : &s->first_moment;
        for (size_t i = 0; i < s->n; i++) {
            const struct mro_pdf_point *v = &s->point[i];
            point_with_bar(c, &q, v->value, of_series(v, areas, k, false) / mean[k],
                           of_series(v, areas, k, true) / mean[k], colour[k]);
        }
        if (isfinite(o->x)) { /* the two lines, over the range that was measured */
            const double x[3] = { ends_x[0], o->x, ends_x[1] };
            const double y[3] = { (o->level + o->slope[0] * (x[0] - x[1])) / mean[k], o->level / mean[k],
                                  (o->level + o->slope[1] * (x[2] - x[1])) / mean[k] };
            mro_plot_curve(c, &q, x, y, 3);
            mro_plot_stroke(c, colour[k], 0.8, 0);
        }
        mro_plot_onset(c, &q, o, k, colour[k]);
    }
    mro_plot_end(c);
    char axis[180];
    mro_text_axis(axis, sizeof axis, s->value_name, s->value_unit);
    mro_plot_axes(c, &q, axis,
                  areas ? "Area of G \xe2\x89\xa5 0 / mean of the series"
                        : "First moment (\xc3\x85" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ")");
    for (size_t k = 0; k < curves && areas; k++) {
        char text[64];
        snprintf(text, sizeof text, "shell %zu: mean %.3g \xc3\x85" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER, k + 1,
                 mean[k]);
        mro_plot_legend(c, q.b.x + q.b.w - 36.5, q.b.y + 4 + 3.4 * (double)k, colour[k], 0.9, 0, text);
    }
}

static double draw_pdf(struct mro_canvas *c, const void *page)
{
    static const char *const heading[] = { "Pattern",           "Profile and fit", "Structure factor",
                                           "Pair distribution", "Second shell",    "First halo by direction",
                                           "First sharp peak",  "Shells" };
    const struct pdf_page *p = page;
    const size_t across = mro_fig_columns(c->width_mm, 2, CELL), rows = (p->panels + across - 1) / across;
    const double cell = mro_fig_column_width(c->width_mm, across), high = rows > 3 ? PLOT_HEIGHT_OF_MANY : PLOT_HEIGHT,
                 row = HEAD + high + PLOT_BELOW + 3.4;
    for (size_t i = 0; i < p->panels; i++) {
        const char letter[2] = { (char)('a' + i), '\0' };
        const double x = MARGIN + (double)(i % across) * (cell + GAP), y = MARGIN + (double)(i / across) * row;
        const struct mro_plot q = { .b = { x + PLOT_LEFT, y + HEAD, cell - PLOT_LEFT, high } };
        mro_fig_heading(c, x, y + HEAD - 1.4, letter, heading[p->panel[i]]);
        switch (p->panel[i]) {
        case PATTERN: draw_pattern(c, p, q.b); break;
        case PROFILE: draw_profile(c, p, q); break;
        case STRUCTURE: draw_structure(c, p, q); break;
        case PAIRS: draw_pairs(c, p, q); break;
        case SHELL: draw_shell(c, p, q); break;
        case SECTORS: draw_sectors(c, p, q); break;
        case SERIES_MOMENT: draw_series(c, p, q, false); break;
        case SERIES_AREAS: draw_series(c, p, q, true); break;
        }
    }
    return MARGIN + (double)rows * row + 2.4;
}

__attribute__((format(printf, 2, 3))) static void say(struct mro_words *w, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mro_fig_say(w, text);
}

/* "2.570 ± 0.005" and " (0.203 to 0.234)", where errors are known: two frames that are alike give none. */
static void say_with_error(struct mro_words *w, double v, double se, int least)
{
    char text[64];
    mro_write_with_error(text, sizeof text, v, se, least, TEXT_PLUS_MINUS);
    mro_fig_say(w, text);
}

static void say_interval(struct mro_words *w, const double ci95[2], int decimals)
{
    if (isfinite(ci95[0]) && isfinite(ci95[1])) say(w, " (%.*f to %.*f)", decimals, ci95[0], decimals, ci95[1]);
}

static void say_direction(struct mro_words *w, const struct mro_saed_anisotropy *a)
{
    char p[64];
    if (!(a->n_sectors && isfinite(a->e2))) return;
    mro_text_p(p, sizeof p, a->p);
    mro_fig_say(w, "Shift of the first halo by direction: amplitude ");
    say_with_error(w, 100 * a->e2, 100 * a->e2_se, 2);
    say(w, TEXT_NBSP "%% at %.0f" TEXT_DEGREE ", %s%s. ", a->azimuth_deg, p,
        a->confounded ? "; a strain would have gone into the ellipse, which is of the same pattern" : "");
}

static void say_pdf(struct mro_words *w, const struct mro_pdf_report *r)
{
    const struct mro_pdf_result *v = r->pdf;
    const char *interval = v->draws ? "95 % interval" : "no errors are known";
    if (isfinite(v->fsdp.first_moment.value)) {
        mro_fig_say(w, "First sharp peak: Q = ");
        say_with_error(w, v->fsdp.Q.value, v->fsdp.Q.se, 3);
        mro_fig_say(w, ", first moment ");
        say_with_error(w, v->fsdp.first_moment.value, v->fsdp.first_moment.se, 4);
        mro_fig_say(w, " \xc3\x85" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ". ");
    }
    if (v->n_shells) {
        mro_fig_say(w, "Shells at ");
        for (size_t k = 0; k < v->n_shells; k++) {
            if (k) mro_fig_say(w, ", ");
            say_with_error(w, v->shell[k].r_A.value, v->shell[k].r_A.se, 3);
        }
        mro_fig_say(w, " \xc3\x85. ");
    }
    if (v->draws)
        mro_fig_say(w, "Errors are standard errors of the noise; what other choices change is in the result. ");
    if (v->n)
        say(w,
            "S(Q) to Q = %.2f \xc3\x85" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ", damping %s, resolution %.2f \xc3\x85. ",
            v->windows.s_inv_nm[1] * 2 * M_PI / 10,
            v->damping == MRO_DAMPING_LORCH  ? "after Lorch"
            : v->damping == MRO_DAMPING_NONE ? "none"
                                             : "Gaussian",
            v->resolution_A);
    if (isfinite(v->oscillation.value)) {
        say(w, "Oscillations of G over %.0f to %.0f \xc3\x85: rms %.3f \xc3\x85" TEXT_SUPER TEXT_MINUS "2" TEXT_SUPER,
            v->beyond_A[0], v->beyond_A[1], v->oscillation.value);
        say_interval(w, v->oscillation.ci95, 3);
        mro_fig_say(w, ". ");
    }
    if (v->connection.n)
        say(w, "Second shell: dots are measured, dashed the sum of the fit. Modes of 3 and 2 shared atoms are %s. ",
            v->connection.separable ? "separable" : "not separable at this resolution");
    if (v->n) mro_fig_say(w, "Vertical dashes: range of the fit, and of the moment of the first sharp peak. ");
    say(w, "Bands: %s. ", interval);
    if (r->difference) {
        say(w, "Against the reference the oscillations are %.2f times as strong",
            r->difference->oscillation_ratio.value);
        say_interval(w, r->difference->oscillation_ratio.ci95, 2);
        mro_fig_say(w, ". ");
    }
}

enum mro_code mro_figure_pdf(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                             const struct mro_pdf_report *r, struct mro_error *e)
{
    struct pdf_page p = { .r = r };
    struct mro_words w = { 0 };
    struct mro_image shown = { 0 };
    enum mro_code rc = MRO_OK;
    const bool pattern = im && im->px && r->pattern && r->pattern->ny == im->ny && r->pattern->nx == im->nx;
    if (pattern) p.panel[p.panels++] = PATTERN;
    if (r->profile && r->profile->s_inv_nm && r->profile->quantity == MRO_QUANTITY_INTENSITY)
        p.panel[p.panels++] = PROFILE;
    if (r->pdf && r->pdf->n) p.panel[p.panels++] = STRUCTURE;
    if (r->pdf) p.panel[p.panels++] = PAIRS;
    if (r->pdf && r->pdf->connection.n) p.panel[p.panels++] = SHELL;
    if (r->pattern && r->pattern->anisotropy.n_sectors) p.panel[p.panels++] = SECTORS;
    if (r->series && r->series->n) {
        p.panel[p.panels++] = SERIES_MOMENT;
        p.panel[p.panels++] = SERIES_AREAS;
    }
    if (p.panels == 0) return MRO_OK;
    if (pattern) {
        /* Halos fall over decades: their logarithm is shown. */
        p.field[0] = (double)im->ny;
        p.field[1] = (double)im->nx;
        rc = mro_image_alloc(&shown, im->ny, im->nx, e);
        if (rc) goto done;
        double least = INFINITY;
        for (size_t i = 0; i < im->ny * im->nx; i++)
            if (isfinite(im->px[i])) least = fmin(least, (double)im->px[i]);
        for (size_t i = 0; i < im->ny * im->nx; i++) shown.px[i] = (float)log1p(fmax(0, (double)im->px[i] - least));
        const size_t whole[4] = { 0, 0, im->nx, im->ny };
        rc = mro_fig_grey_raster(&p.raw, &shown, whole, false, e);
        if (rc) goto done;
    }
    mro_fig_say_title(&w, title);
    if (pattern)
        say(&w, "Centre x %.2f, y %.2f px; ellipse %.4f (%s). ", r->pattern->geometry.centre_px[0],
            r->pattern->geometry.centre_px[1], r->pattern->geometry.ellipse_ratio,
            r->pattern->geometry.ellipse_how == MRO_SAED_FIT ? "from this pattern" : "given");
    if (r->pattern && r->pattern->crystalline) mro_fig_say(&w, "There are spots on the rings: crystals. ");
    if (r->pattern) say_direction(&w, &r->pattern->anisotropy);
    if (r->pdf) say_pdf(&w, r);
    if (r->series && isfinite(r->series->first_moment.x)) {
        char chance[64];
        mro_text_p(chance, sizeof chance, r->series->first_moment.p);
        say(&w, "The first moment bends at %s %.4g (%.4g to %.4g)%s%s, %s. ", r->series->value_name,
            r->series->first_moment.x, r->series->first_moment.ci95[0], r->series->first_moment.ci95[1],
            r->series->value_unit[0] ? " " : "", r->series->value_unit, chance);
    }
    if (r->series) {
        bool bends = isfinite(r->series->first_moment.x);
        for (size_t k = 0; k < 3; k++) bends |= isfinite(r->series->shell_area[k].x);
        mro_fig_say(&w, "Bars: 95" TEXT_NBSP "% intervals. ");
        if (bends)
            mro_fig_say(&w, "Dot on a level bar: where it bends, and the 95" TEXT_NBSP "% interval of that place. ");
    }
    if (w.failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
        goto done;
    }
    rc = mro_fig_write(path_stem, title, width_mm, w.p ? w.p : "", draw_pdf, &p, e);
done:
    free(w.p);
    mro_raster_release(&p.raw);
    mro_image_release(&shown);
    return rc;
}

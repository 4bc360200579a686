/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axes.h"
#include "report/figure.h"
#include "report/plot.h"

#define ROWS 6
#define ROW 23.0 /* height of an element's panels */
#define ROW_GAP 6.2
#define BETWEEN 1.6 /* rows */
#define PROFILE_X 11.0
#define PROFILE_SHARE 0.625 /* of the width of profile and spectrum side by side */
#define SPECTRUM_LEFT 15.0  /* between them: numbers and label of its axis */
#define SPECTRUM_GAP 7.0    /* between spectra side by side: numbers of the axis */
#define PANEL 41.0          /* maps, at most */
#define PANEL_GAP 3.0
#define SHOWN 3

struct page {
    const struct mro_eds_report *r;
    const struct mro_eds_field *maps;
    struct mro_raster raster[SHOWN + 1]; /* maps, then HAADF */
    size_t shown[SHOWN], n_shown, rows;
    double map_range[SHOWN][2];
    double panel_w, panel_h;
    bool wide;    /* profiles and spectra stand side by side, else below each other */
    double f_top; /* end of all spectra */
    char *caption;
};

/* ---- profiles and spectra ---- */

static void draw_profile(struct mro_canvas *c, const struct page *p, size_t j, struct mro_box b, bool last)
{
    const struct mro_eds_result *r = p->r->along;
    const struct mro_eds_element *el = &r->element[j];
    const double sd = isfinite(el->sd_counting_at) ? fmax(el->sd_at, el->sd_counting_at) : el->sd_at;
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < r->points; i++) lo = fmin(lo, el->at[i]), hi = fmax(hi, el->at[i]);
    const double room = fmax(0.06 * (hi - lo), fmax(0.3 * sd, 1e-3));
    /* Head-room for the numbers, which are two lines on a narrow page. */
    const struct mro_plot plot = { .b = b,
                                   .x = { r->x_nm[0], r->x_nm[r->points - 1] },
                                   .y = { fmax(lo - room, lo >= 0 ? fmin(0, lo) : lo - room),
                                          hi + (p->wide ? 1 : 2) * fmax(0.3 * (hi - lo), 2 * room) } };
    char first[120], second[96], text[220], a[48];
    mro_plot_begin(c, &plot);
    if (el->se && !r->smoothed) {
        for (size_t i = 0; i < r->points; i++)
            cairo_line_to(c->cr, mro_plot_x(&plot, r->x_nm[i]), mro_plot_y(&plot, el->mean_at + el->se[i]));
        for (size_t i = r->points; i-- > 0;)
            cairo_line_to(c->cr, mro_plot_x(&plot, r->x_nm[i]), mro_plot_y(&plot, el->mean_at - el->se[i]));
        cairo_close_path(c->cr);
        mro_fig_rgb(c->cr, 0xf0b400, 0.35);
        cairo_fill(c->cr);
    }
    mro_plot_horizontal(c, &plot, el->mean_at, GREY, 0.5, 0);
    mro_plot_curve(c, &plot, r->x_nm, el->at, r->points);
    mro_plot_stroke(c, BLUE, r->points > 400 ? 0.45 : 0.7, 0);
    mro_plot_end(c);
    mro_plot_ticks(c, &plot, true, 4, true);
    mro_plot_ticks(c, &plot, false, 8, last);
    mro_fig_frame(c->cr, b, 0.5);
    mro_text_number(a, sizeof a, el->sd_at, 2, NULL);
    const bool counted = isfinite(el->sd_counting_at);
    if (counted)
        snprintf(first, sizeof first, TEXT_BOLD "%s" TEXT_BOLD "  scatter %s, counting %.2f", el->symbol, a,
                 el->sd_counting_at);
    else
        snprintf(first, sizeof first, TEXT_BOLD "%s" TEXT_BOLD "  scatter %s at.%%, an upper bound", el->symbol, a);
    if (isnan(el->sd_true_at) || !counted)
        snprintf(second, sizeof second, "true part not measured");
    else
        snprintf(second, sizeof second, "true part %.2f (%.2f to %.2f) at.%%", el->sd_true_at, el->sd_true_ci95[0],
                 el->sd_true_ci95[1]);
    snprintf(text, sizeof text, "%s%s %s", first, counted ? "," : ";", second);
    mro_canvas_text(c, b.x + 1.6, b.y + 3.2, PT, MRO_LEFT, 0, INK, p->wide ? text : first);
    if (!p->wide) mro_canvas_text(c, b.x + 1.6, b.y + 3.2 + LEADING, PT, MRO_LEFT, 0, INK, second);
}

static void draw_spectrum(struct mro_canvas *c, const struct page *p, size_t j, struct mro_box b, bool last)
{
    const struct mro_eds_element *el = &p->r->along->element[j];
    const struct mro_eds_spectrum *s = &el->spectrum;
    if (s->n < 3) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    size_t n = s->n;
    while (n > 12 && s->f_inv_nm[n - 1] > p->f_top) n--;
    double top = 0;
    for (size_t k = 0; k < n; k++) top = fmax(top, fmax(s->power[k], s->wave[k]));
    const double head = p->wide ? 4.4 : 4.4 + LEADING; /* the numbers */
    const struct mro_plot plot = { .b = b, .x = { 0, p->f_top }, .y = { 0, top * (p->wide ? 1.4 : 1.8) } };
    double *level = mro_canvas_room(c, n);
    if (level == NULL) return;
    struct mro_plot below = plot;
    below.b.y += head, below.b.h -= head;
    mro_plot_begin(c, &below);
    if (isfinite(el->wavelength_nm)) mro_plot_vertical(c, &plot, 1 / el->wavelength_nm, GREY, 0.6, 1.2);
    mro_plot_end(c);
    mro_plot_begin(c, &plot);
    for (size_t k = 0; k < n; k++) {
        const double x = mro_plot_x(&plot, s->f_inv_nm[k]);
        cairo_move_to(c->cr, x, b.y + b.h);
        cairo_line_to(c->cr, x, mro_plot_y(&plot, s->power[k]));
    }
    mro_fig_rgb(c->cr, BLUE, 0.75);
    cairo_set_line_width(c->cr, fmax(0.3, 0.65 * b.w / (double)n));
    cairo_stroke(c->cr);
    mro_plot_curve(c, &plot, s->f_inv_nm, s->red, n);
    mro_plot_stroke(c, GREY, 1.1, 0);
    for (size_t k = 0; k < n; k++) level[k] = s->red[k] * s->level95;
    mro_plot_begin(c, &below);
    mro_plot_curve(c, &plot, s->f_inv_nm, level, n);
    mro_plot_stroke(c, GREY, 0.9, 0.5);
    mro_plot_end(c);
    if (isfinite(el->wavelength_nm)) {
        mro_plot_curve(c, &plot, s->f_inv_nm, s->wave, n);
        mro_plot_stroke(c, ORANGE, 1.2, 0);
    }
    mro_plot_end(c);
    free(level);
    mro_plot_ticks(c, &plot, true, 3, true);
    mro_plot_ticks(c, &plot, false, 5, last);
    mro_fig_frame(c->cr, b, 0.5);
    char wave[60], text[140], pp[64];
    mro_text_p(pp, sizeof pp, el->p_periodic);
    if (isfinite(el->wavelength_nm))
        snprintf(wave, sizeof wave, "%.2f" TEXT_NBSP "nm", el->wavelength_nm);
    else
        snprintf(wave, sizeof wave, "no wave");
    if (p->wide)
        snprintf(text, sizeof text, "%s, %s", wave, pp);
    else
        snprintf(text, sizeof text, TEXT_BOLD "%s" TEXT_BOLD "  %s", el->symbol, wave);
    mro_canvas_text(c, b.x + b.w - 1.6, b.y + 3.2, PT, MRO_RIGHT, 0, INK, text);
    if (!p->wide) mro_canvas_text(c, b.x + b.w - 1.6, b.y + 3.2 + LEADING, PT, MRO_RIGHT, 0, INK, pp);
}

/* ---- maps and groups ---- */

static void draw_line(cairo_t *cr, const struct mro_eds_line *l, struct mro_box b, double scale)
{
    const double length = hypot(l->x1 - l->x0, l->y1 - l->y0), ux = (l->x1 - l->x0) / length,
                 uy = (l->y1 - l->y0) / length;
    const double h = fmax(l->width_nm / 2, 0.4 / scale);
    for (int over = 0; over < 2; over++) {
        cairo_move_to(cr, b.x + (l->x0 - uy * h) * scale, b.y + (l->y0 + ux * h) * scale);
        cairo_line_to(cr, b.x + (l->x1 - uy * h) * scale, b.y + (l->y1 + ux * h) * scale);
        cairo_move_to(cr, b.x + (l->x0 + uy * h) * scale, b.y + (l->y0 - ux * h) * scale);
        cairo_line_to(cr, b.x + (l->x1 + uy * h) * scale, b.y + (l->y1 - ux * h) * scale);
        mro_fig_rgb(cr, over ? 0xffffff : 0x000000, over ? 1 : 0.7);
        cairo_set_line_width(cr, (over ? 0.6 : 1.3) * MM_PER_PT);
        cairo_stroke(cr);
    }
}

static bool is_bright(const void *map, size_t j, size_t i)
{
    const struct mro_eds_groups *g = map;
    return g->group[j * g->nx + i] == 1;
}

static bool is_dark(const void *map, size_t j, size_t i)
{
    const struct mro_eds_groups *g = map;
    return g->group[j * g->nx + i] == -1;
}

/* Bright less dark, at.%, with counting errors. */
static void draw_groups(struct mro_canvas *c, const struct mro_eds_groups *g, struct mro_box b)
{
    const size_t n = g->elements < ROWS ? g->elements : ROWS;
    double top = 0;
    for (size_t j = 0; j < n; j++) {
        const double se = isfinite(g->bright.se_at[j]) ? hypot(g->bright.se_at[j], g->dark.se_at[j]) : 0;
        top = fmax(top, fabs(g->bright.mean_at[j] - g->dark.mean_at[j]) + 1.96 * se);
    }
    if (!(top > 0)) top = 1;
    const struct mro_plot plot = { .b = b, .x = { -1.15 * top, 1.15 * top }, .y = { 0, 1 } };
    const double row = b.h / (double)n;
    for (size_t j = 0; j < n; j++) {
        const double se = hypot(g->bright.se_at[j], g->dark.se_at[j]), v = g->bright.mean_at[j] - g->dark.mean_at[j];
        const double y = b.y + ((double)j + 0.5) * row, x = mro_plot_x(&plot, v);
        char pp[64], text[80];
        mro_fig_rgb(c->cr, BLUE, 0.35);
        cairo_rectangle(c->cr, fmin(x, mro_plot_x(&plot, 0)), y - 0.14 * row, fabs(x - mro_plot_x(&plot, 0)),
                        0.28 * row);
        cairo_fill(c->cr);
        if (isfinite(se)) {
            cairo_move_to(c->cr, mro_plot_x(&plot, v - 1.96 * se), y);
            cairo_line_to(c->cr, mro_plot_x(&plot, v + 1.96 * se), y);
            mro_plot_stroke(c, BLUE, 1.1, 0);
        }
        cairo_arc(c->cr, x, y, 0.55, 0, 2 * M_PI);
        mro_fig_rgb(c->cr, BLUE, 1);
        cairo_fill(c->cr);
        mro_text_p(pp, sizeof pp, g->p_element[j]);
        snprintf(text, sizeof text, TEXT_BOLD "%s", g->symbol[j]);
        mro_canvas_text(c, b.x - 1, y + 0.9, PT, MRO_RIGHT, 0, INK, text);
        mro_canvas_text(c, b.x + b.w - 1, y - 0.2 * row - 0.5, PT, MRO_RIGHT, 0, SOFT, pp);
    }
    mro_plot_vertical(c, &plot, 0, GREY, 0.6, 0);
    mro_plot_ticks(c, &plot, false, 4, true);
    mro_fig_frame(c->cr, b, 0.5);
    mro_canvas_text(c, b.x + b.w / 2, b.y + b.h + 6.6, PT, MRO_CENTRE, 0, INK, "Bright less dark (at.%)");
}

/* Returns where they end. */
static double draw_maps(struct mro_canvas *c, const struct page *p, double y, char letter)
{
    const struct mro_eds_report *r = p->r;
    const double field[2] = { (double)p->maps->ny * p->maps->pixel_nm[0], (double)p->maps->nx * p->maps->pixel_nm[1] };
    const double scale = fmin(p->panel_w / field[1], p->panel_h / field[0]), right = c->width_mm - MARGIN;
    const double next_row = p->panel_h + 3 + HEAD;
    double x = MARGIN;
    for (size_t i = 0; i <= p->n_shown; i++) {
        const bool image = i == p->n_shown;
        char text[96];
        if (p->raster[i].surface == NULL) continue;
        if (x + field[1] * scale > right + 0.1) x = MARGIN, y += next_row;
        const struct mro_box b = { x, y, field[1] * scale, field[0] * scale };
        if (image)
            snprintf(text, sizeof text, "HAADF: bright, dark");
        else
            snprintf(text, sizeof text, "%s, %s%.3g to %.3g %s", p->maps->symbol[p->shown[i]],
                     p->map_range[i][0] < 0 ? TEXT_MINUS : "", fabs(p->map_range[i][0]), p->map_range[i][1],
                     p->maps->at_percent ? "at.%" : "counts/px");
        mro_fig_heading(c, x, y, (const char[]){ letter++, 0 }, text);
        mro_canvas_raster(c, &p->raster[i], b.x, b.y, b.w, b.h);
        mro_plot_begin(c, &(struct mro_plot){ .b = b });
        if (image && r->groups) {
            const struct mro_eds_groups *g = r->groups;
            mro_fig_outline(c->cr, is_bright, g, g->ny, g->nx, b, 0xf0b400, 0.7 * MM_PER_PT);
            mro_fig_outline(c->cr, is_dark, g, g->ny, g->nx, b, 0x56b4e9, 0.7 * MM_PER_PT);
        } else {
            if (r->across) draw_line(c->cr, r->across_line, b, scale);
            if (r->line) draw_line(c->cr, r->line, b, scale);
        }
        mro_plot_end(c);
        mro_fig_frame(c->cr, b, 0.5);
        mro_fig_scale_bar(c, b, scale, 0.3);
        x += b.w + PANEL_GAP;
    }
    if (!(r->groups && r->groups->elements)) return y + p->panel_h + 1.2;
    if (right - 1 - (x + 4) <= 20) x = MARGIN, y += next_row;
    mro_fig_heading(c, x, y, (const char[]){ letter, 0 }, "Composition");
    draw_groups(c, r->groups, (struct mro_box){ x + 4, y, right - 1 - (x + 4), fmin(p->panel_h, field[0] * scale) });
    return y + p->panel_h + 8;
}

/* Profiles below each other, spectra beside them or, on a narrow page, in two columns below. Returns where their frames
 * end. */
static double draw_lines(struct mro_canvas *c, const struct page *p, double top)
{
    const double inner = c->width_mm - PROFILE_X - 2, wide = p->wide ? (inner - SPECTRUM_LEFT) * PROFILE_SHARE : inner;
    const double left = p->wide ? PROFILE_X + wide + SPECTRUM_LEFT : PROFILE_X, edge = p->wide ? left - 9 : MARGIN;
    const struct mro_heading headings[] = {
        { MARGIN, p->wide ? edge - MARGIN : c->width_mm - 2 * MARGIN, "a",
          p->r->along->counts && !p->r->along->smoothed
              ? "Composition along the line; band: what counting alone scatters (1 sd)"
              : "Composition along the line" },
        { edge, c->width_mm - edge, "b", "Spectrum, red noise (grey), best wave (orange)" },
    };
    const size_t columns = p->wide ? 1 : 2;
    const double each = (c->width_mm - 2 - left + SPECTRUM_GAP) / (double)columns;
    const double y0 = mro_fig_under_headings(c, top, headings, p->wide ? 2 : 1);
    const double y1 = p->wide ? y0 : y0 + (double)p->rows * (ROW + BETWEEN) - BETWEEN + 7.6 + HEAD + 1;
    double y = y0, end0 = y0, end1 = y1;
    mro_fig_set_heading(c, top, &headings[0]);
    mro_fig_set_heading(c, p->wide ? top : y1, &headings[1]);
    for (size_t j = 0; j < p->rows; j++) {
        const double x = left + (double)(j % columns) * each,
                     below = p->wide ? y : y1 + (double)(j / columns) * (ROW + BETWEEN);
        draw_profile(c, p, j, (struct mro_box){ PROFILE_X, y, wide, ROW }, j + 1 == p->rows);
        draw_spectrum(c, p, j, (struct mro_box){ x, below, each - SPECTRUM_GAP, ROW }, j + columns >= p->rows);
        end0 = y + ROW;
        end1 = below + ROW;
        y = end0 + BETWEEN;
    }
    mro_canvas_text(c, PROFILE_X + wide / 2, end0 + 6.6, PT, MRO_CENTRE, 0, INK, "Distance (nm)");
    mro_canvas_text(c, (left + c->width_mm - 2) / 2, end1 + 6.6, PT, MRO_CENTRE, 0, INK,
                    "Spatial frequency (nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ")");
    mro_canvas_text(c, 3.6, (y0 + end0) / 2, PT, MRO_CENTRE, 1, INK, "Content (at.%)");
    const char *power = "Power / mean";
    if (isfinite(p->r->along->element[0].sd_counting_at)) power = "Power / counting noise";
    if (mro_canvas_text_width(c, PT, power) > end1 - y1 + HEAD) power = "Power / noise"; /* of one row */
    mro_canvas_text(c, left - 7.4, (y1 + end1) / 2, PT, MRO_CENTRE, 1, INK, power);
    return end1;
}

static double draw_page(struct mro_canvas *c, const void *data)
{
    const struct page *p = data;
    double y = MARGIN + 3.8;
    if (p->rows) y = draw_lines(c, p, y) + (7.6 + (p->maps ? ROW_GAP : 0));
    if (p->maps) y = draw_maps(c, p, y, p->rows ? 'c' : 'a');
    return y + 3.4;
}

/* ---- preparation ---- */

static enum mro_code map_raster(struct mro_raster *out, const float *v, size_t ny, size_t nx, size_t coarse, bool grey,
                                double range[2], struct mro_error *e)
{
    static const double q[2] = { 0.005, 0.995 };
    const size_t ky = mro_block_factor(ny, coarse), kx = mro_block_factor(nx, coarse);
    const size_t my = (ny - 1) / ky + 1, mx = (nx - 1) / kx + 1, fy = 480 / my + 1, fx = 480 / mx + 1;
    float *small = malloc(my * mx * sizeof *small), *fine = malloc(my * fy * mx * fx * sizeof *fine);
    enum mro_code rc = MRO_OK;
    if (small == NULL || fine == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "a panel of %zu x %zu pixels does not fit in memory", nx, ny);
        goto done;
    }
    mro_area_average(v, nx, ny, nx, ky, kx, small);
    rc = mro_quantiles(small, my * mx, q, 2, range, e);
    if (rc) goto done;
    mro_repeat(small, my, mx, fy, fx, fine);
    rc = mro_raster_make(out, fine, my * fy, mx * fx, range[0], range[1], grey ? &mro_map_grey : &mro_map_score, e);
done:
    free(fine);
    free(small);
    return rc;
}

/* Where spectra end: waves live at low frequencies, the rest is noise. */
static double spectrum_end(const struct mro_eds_result *r)
{
    double end = 0, shortest = INFINITY;
    for (size_t j = 0; j < r->elements; j++) {
        const struct mro_eds_spectrum *s = &r->element[j].spectrum;
        if (s->n) end = fmax(end, s->f_inv_nm[s->n - 1]);
        if (isfinite(r->element[j].wavelength_nm)) shortest = fmin(shortest, r->element[j].wavelength_nm);
    }
    return isfinite(shortest) ? fmin(end, 3.5 / shortest) : end;
}

/* The elements that vary most beyond counting, or the first ones. */
static void choose_maps(struct page *p)
{
    bool taken[MRO_EDS_MAX_ELEMENTS] = { false };
    const size_t n = p->maps->elements;
    while (p->n_shown < (p->r->groups ? SHOWN - 1 : SHOWN) && p->n_shown < n) {
        size_t best = n;
        double most = -1;
        for (size_t j = 0; j < n; j++) {
            const struct mro_eds_element *el = p->r->along ? &p->r->along->element[j] : NULL;
            const double v = el && isfinite(el->sd_true_at) ? el->sd_true_at : 0;
            if (!taken[j] && v > most) most = v, best = j;
        }
        taken[best] = true;
        p->shown[p->n_shown++] = best;
    }
}

static char *make_caption(const struct page *p, const char *title)
{
    char name[256], *text = malloc(8192);
    const struct mro_eds_result *r = p->r->along;
    if (text == NULL) return NULL;
    size_t n = 0;
    mro_text_clean(name, sizeof name, title);
    n += (size_t)snprintf(text + n, 8192 - n, TEXT_BOLD "%s. " TEXT_BOLD, name);
    if (r) {
        n += (size_t)snprintf(text + n, 8192 - n, "%zu points of %.3g" TEXT_NBSP "nm. ", r->points, r->step_nm);
        for (size_t i = 0; i < r->n_pairs && n < 6000; i++) {
            const struct mro_eds_pair *q = &r->pair[i];
            char pp[64];
            if (!(q->p < 0.05)) continue;
            char rr[48], by[48];
            mro_text_p(pp, sizeof pp, q->p);
            mro_text_number(rr, sizeof rr, q->r, 2, NULL);
            mro_text_number(by, sizeof by, q->r_counting, 2, NULL);
            n += (size_t)snprintf(text + n, 8192 - n,
                                  "%s" TEXT_DASH "%s: " TEXT_ITALIC "r" TEXT_ITALIC TEXT_NBSP "=" TEXT_NBSP
                                  "%s, by closure %s, %s. ",
                                  r->element[q->a].symbol, r->element[q->b].symbol, rr, by, pp);
        }
        bool waves = false;
        for (size_t j = 0; j < r->elements; j++) waves |= isfinite(r->element[j].p_periodic);
        if (waves)
            n += (size_t)snprintf(text + n, 8192 - n,
                                  "Dotted: what 95" TEXT_NBSP "%% of lines of red noise stay below. ");
        if (r->elements > ROWS)
            n += (size_t)snprintf(text + n, 8192 - n, "Of %zu elements the first %d are drawn. ", r->elements, ROWS);
        if (r->smoothed)
            n += (size_t)snprintf(text + n, 8192 - n,
                                  "The counts scatter less than counts can (interpolated or smoothed): no true part. ");
        else if (!r->counts && r->replicates == 0)
            n += (size_t)snprintf(text + n, 8192 - n, "No counts: the scatter is an upper bound. ");
    }
    if (p->r->groups) {
        const struct mro_eds_groups *g = p->r->groups;
        char pp[64];
        mro_text_p(pp, sizeof pp, g->p);
        n += (size_t)snprintf(text + n, 8192 - n,
                              "Bright regions (yellow outlines) %.1f" TEXT_NBSP "%%, dark (blue) %.1f" TEXT_NBSP
                              "%% of the field",
                              100 * g->bright.area_fraction, 100 * g->dark.area_fraction);
        if (g->elements)
            n += (size_t)snprintf(
                text + n, 8192 - n,
                "; difference of composition: %s (permuted blocks); bars: 95" TEXT_NBSP "%% by counting", pp);
        n += (size_t)snprintf(text + n, 8192 - n, ". ");
        if (g->has_mro) {
            mro_text_p(pp, sizeof pp, g->mro_p);
            snprintf(text + n, 8192 - n,
                     "%.1f" TEXT_NBSP "%% of the MRO lies in bright regions, by chance %.1f" TEXT_NBSP "%%, %s.",
                     100 * g->mro_bright, 100 * g->bright.area_fraction, pp);
        }
    }
    return text;
}

enum mro_code mro_figure_eds(const char *path_stem, double width_mm, const char *title, const struct mro_eds_report *r,
                             const struct mro_eds_field *maps, const struct mro_image *haadf, struct mro_error *e)
{
    struct page p = { .r = r, .maps = maps };
    double haadf_range[2];
    enum mro_code rc = MRO_OK;
    (void)haadf;
    p.rows = r->along ? (r->along->elements < ROWS ? r->along->elements : ROWS) : 0;
    p.f_top = r->along ? spectrum_end(r->along) : 0;
    p.wide = mro_fig_columns(width_mm, 3, COLUMN) == 3;
    if (maps) {
        p.panel_w = fmin(PANEL, (width_mm - 2 * MARGIN - PANEL_GAP) / 2);
        p.panel_h = fmin(1.25 * p.panel_w, fmax(15, p.panel_w * (double)maps->ny * maps->pixel_nm[0] /
                                                        ((double)maps->nx * maps->pixel_nm[1])));
        choose_maps(&p);
        for (size_t i = 0; i < p.n_shown && rc == MRO_OK; i++)
            rc = map_raster(&p.raster[i], maps->counts[p.shown[i]], maps->ny, maps->nx, 80, false, p.map_range[i], e);
        if (rc == MRO_OK && r->groups)
            rc = map_raster(&p.raster[p.n_shown], r->groups->flat, r->groups->ny, r->groups->nx, 480, true, haadf_range,
                            e);
        if (rc) goto done;
    }
    p.caption = make_caption(&p, title);
    if (p.caption == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
        goto done;
    }
    rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw_page, &p, e);
done:
    free(p.caption);
    for (size_t i = 0; i <= SHOWN; i++) mro_raster_release(&p.raster[i]);
    return rc;
}

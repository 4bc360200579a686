/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of a heterogeneity measurement. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axes.h"
#include "report/figure.h"
#include "report/figure_parts.h"

#define PLOT_HEIGHT 46.0
#define PLOT_LEFT 11.5 /* room for numbers and label of the y axis */
#define ORANGE 0xd55e00
#define BLUE 0x0072b2
#define GREY 0x808080
#define E_TO_MINUS_1 0.36787944117144233

struct haadf_page {
    const struct mro_haadf_result *r;
    double pixel_nm[2], field_nm[2];
    struct mro_raster raw, flat;
    double flat_range[2]; /* percent */
    double panel_w, panel_h, height;
    char *caption;
};

/* -- plots ---------------------------------------------------------------------------------------- */

struct plot {
    struct mro_box b;
    double x[2], y[2];
    bool log;
};

static double at_x(const struct plot *p, double x)
{
    const double t = p->log ? log(x / p->x[0]) / log(p->x[1] / p->x[0]) : (x - p->x[0]) / (p->x[1] - p->x[0]);
    return p->b.x + t * p->b.w;
}

static double at_y(const struct plot *p, double y)
{
    const double t = p->log ? log(y / p->y[0]) / log(p->y[1] / p->y[0]) : (y - p->y[0]) / (p->y[1] - p->y[0]);
    return p->b.y + (1 - t) * p->b.h;
}

static void tick(struct mro_canvas *c, const struct plot *p, bool vertical, double v, double length, const char *text)
{
    const struct mro_box b = p->b;
    const double at = vertical ? at_y(p, v) : at_x(p, v);
    if (vertical) {
        cairo_move_to(c->cr, b.x, at);
        cairo_line_to(c->cr, b.x + length, at);
        if (text) mro_canvas_text(c, b.x - 1.0, at + 0.9, PT, MRO_RIGHT, 0, INK, text);
    } else {
        cairo_move_to(c->cr, at, b.y + b.h);
        cairo_line_to(c->cr, at, b.y + b.h - length);
        if (text) mro_canvas_text(c, at, b.y + b.h + 3.3, PT, MRO_CENTRE, 0, INK, text);
    }
}

static void linear_ticks(struct mro_canvas *c, const struct plot *p, bool vertical)
{
    const double *range = vertical ? p->y : p->x, step = mro_tick_step(range[1] - range[0], vertical ? 5 : 6);
    const int decimals = (int)fmax(0, ceil(-log10(step) - 1e-9));
    for (double k = ceil(range[0] / step - 1e-6); k * step <= range[1] + 1e-6 * step; k++) {
        char text[48];
        mro_text_number(text, sizeof text, k * step, decimals, "");
        tick(c, p, vertical, k * step, 1.2, text);
    }
}

/* Decades with numbers, and lines between; where there are few decades, 2 and 5 too have numbers. */
static void log_ticks(struct mro_canvas *c, const struct plot *p, bool vertical)
{
    const double *range = vertical ? p->y : p->x;
    const int from = (int)floor(log10(range[0])), to = (int)ceil(log10(range[1])), every = to - from > 6 ? 2 : 1;
    for (int k = from; k <= to; k++)
        for (int m = 1; m < 10; m++) {
            const double v = m * pow(10, k);
            char text[48] = "";
            if (v < range[0] * 0.999 || v > range[1] * 1.001) continue;
            if (!vertical && (m == 1 || m == 2 || m == 5))
                mro_text_number(text, sizeof text, v, k < 0 ? -k : 0, "");
            else if (vertical && m == 1 && k % every == 0 && k < 0)
                snprintf(text, sizeof text, "10" TEXT_SUPER TEXT_MINUS "%d" TEXT_SUPER, -k);
            else if (vertical && m == 1 && k % every == 0)
                snprintf(text, sizeof text, "10" TEXT_SUPER "%d" TEXT_SUPER, k);
            tick(c, p, vertical, v, m == 1 ? 1.2 : 0.6, text[0] ? text : NULL);
        }
}

static void plot_axes(struct mro_canvas *c, const struct plot *p, const char *x, const char *y)
{
    for (int v = 0; v < 2; v++)
        if (p->log)
            log_ticks(c, p, v);
        else
            linear_ticks(c, p, v);
    mro_fig_rgb(c->cr, INK, 1);
    cairo_set_line_width(c->cr, 0.5 * MM_PER_PT);
    cairo_stroke(c->cr);
    mro_fig_frame(c->cr, p->b, 0.6);
    mro_canvas_text(c, p->b.x + p->b.w / 2, p->b.y + p->b.h + 6.8, PT, MRO_CENTRE, 0, INK, x);
    mro_canvas_text(c, p->b.x - PLOT_LEFT + 3.2, p->b.y + p->b.h / 2, PT, MRO_CENTRE, 1, INK, y);
}

static void clip_to(struct mro_canvas *c, const struct plot *p)
{
    cairo_save(c->cr);
    cairo_rectangle(c->cr, p->b.x, p->b.y, p->b.w, p->b.h);
    cairo_clip(c->cr);
}

static void stroke(struct mro_canvas *c, unsigned colour, double pt, double dash)
{
    const double dashes[2] = { dash, 0.7 * dash };
    mro_fig_rgb(c->cr, colour, 1);
    cairo_set_line_width(c->cr, pt * MM_PER_PT);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    if (dash > 0) cairo_set_dash(c->cr, dashes, 2, 0);
    cairo_stroke(c->cr);
    cairo_set_dash(c->cr, NULL, 0, 0);
}

static void vertical_line(struct mro_canvas *c, const struct plot *p, double x, unsigned colour, double pt, double dash)
{
    if (!(x >= p->x[0] && x <= p->x[1])) return;
    cairo_move_to(c->cr, at_x(p, x), p->b.y);
    cairo_line_to(c->cr, at_x(p, x), p->b.y + p->b.h);
    stroke(c, colour, pt, dash);
}

/* Rows of a legend, from (x, y) down: a line of the colour, and words. */
static void legend(struct mro_canvas *c, double x, double y, unsigned colour, double pt, double dash, const char *text)
{
    cairo_move_to(c->cr, x, y - 0.85);
    cairo_line_to(c->cr, x + 4.2, y - 0.85);
    stroke(c, colour, pt, dash);
    mro_canvas_text(c, x + 5.2, y, PT, MRO_LEFT, 0, INK, text);
}

static void draw_histogram(struct mro_canvas *c, const struct haadf_page *page, struct mro_box b)
{
    const struct mro_haadf_result *r = page->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "c", "Contrast in the band");
    if (r->n_histogram == 0) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    const double reach = r->histogram_step * (double)r->n_histogram;
    struct plot p = { .b = b };
    p.x[0] = 100 * (r->histogram_lo + 0.14 * reach);
    p.x[1] = 100 * (r->histogram_lo + 0.86 * reach);
    double top = 0;
    for (size_t i = 0; i + 1 < r->n_histogram; i += 2)
        top = fmax(top, 0.5 * (r->histogram[i] + r->histogram[i + 1]) / 100);
    for (int k = 0; k < 2; k++)
        if (isfinite(r->histogram_sd[k])) top = fmax(top, 0.01 / (r->histogram_sd[k] * sqrt(2 * M_PI)));
    p.y[1] = 1.4 * top;
    clip_to(c, &p);
    cairo_move_to(c->cr, at_x(&p, 100 * r->histogram_lo), at_y(&p, 0));
    for (size_t i = 0; i + 1 < r->n_histogram; i += 2) {
        const double v = 0.5 * (r->histogram[i] + r->histogram[i + 1]) / 100;
        for (int k = 0; k < 2; k++)
            cairo_line_to(c->cr, at_x(&p, 100 * (r->histogram_lo + (double)(i + 2 * (size_t)k) * r->histogram_step)),
                          at_y(&p, v));
    }
    cairo_line_to(c->cr, at_x(&p, 100 * (r->histogram_lo + reach)), at_y(&p, 0));
    mro_fig_rgb(c->cr, 0xd0d0d0, 1);
    cairo_fill_preserve(c->cr);
    stroke(c, GREY, 0.5, 0);
    static const unsigned colours[2] = { BLUE, ORANGE };
    for (int k = 0; k < 2; k++) {
        const double sd = 100 * r->histogram_sd[k], middle = 100 * r->histogram_mode;
        if (!(sd > 0)) continue;
        for (int i = 0; i <= 200; i++) {
            const double x = p.x[0] + (p.x[1] - p.x[0]) * i / 200, t = (x - middle) / sd;
            const double y = exp(-0.5 * t * t) / (sd * sqrt(2 * M_PI));
            if (i)
                cairo_line_to(c->cr, at_x(&p, x), at_y(&p, y));
            else
                cairo_move_to(c->cr, at_x(&p, x), at_y(&p, y));
        }
        stroke(c, colours[k], k ? 1.3 : 1.0, k ? 0 : 1.0);
    }
    cairo_restore(c->cr);
    plot_axes(c, &p, "Contrast (%)", "Probability density (1/%)");
    legend(c, b.x + 1.6, b.y + 3.6, GREY, 1.6, 0, "image");
    legend(c, b.x + 1.6, b.y + 6.9, BLUE, 1.0, 1.0, "Gaussian, same width");
    if (isfinite(r->histogram_sd[1])) legend(c, b.x + 1.6, b.y + 10.2, ORANGE, 1.3, 0, "without noise");
}

static void draw_spectrum(struct mro_canvas *c, const struct haadf_page *page, struct mro_box b)
{
    const struct mro_haadf_result *r = page->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "d", "Radial power spectrum");
    if (r->n_rings < 3) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    struct plot p = { .b = b, .log = true };
    p.x[0] = fmin(r->ring[0].q_inv_nm, r->band_inv_nm[0]) * 0.9;
    p.x[1] = r->ring[r->n_rings - 1].q_inv_nm * 1.05;
    double lo = INFINITY, hi = 0;
    for (size_t i = 0; i < r->n_rings; i++) {
        if (r->ring[i].power > 0) lo = fmin(lo, r->ring[i].power);
        hi = fmax(hi, r->ring[i].power);
    }
    if (r->noise_power > 0) lo = fmin(lo, r->noise_power);
    p.y[0] = lo * 0.5;
    p.y[1] = fmax(hi * 2, lo * 30);
    clip_to(c, &p);
    const double left = at_x(&p, r->band_inv_nm[0]), right = at_x(&p, r->band_inv_nm[1]);
    mro_fig_rgb(c->cr, 0xf2f2f2, 1);
    cairo_rectangle(c->cr, left, b.y, right - left, b.h);
    cairo_fill(c->cr);
    for (size_t k = 0; k < 2 * r->n_rings; k++) { /* there along the upper limit, and back along the lower one */
        const bool upper = k < r->n_rings;
        const struct mro_haadf_ring *ring = r->ring + (upper ? k : 2 * r->n_rings - 1 - k);
        const double y = fmax(upper ? ring->hi : ring->lo, p.y[0] * 1e-3);
        if (k)
            cairo_line_to(c->cr, at_x(&p, ring->q_inv_nm), at_y(&p, y));
        else
            cairo_move_to(c->cr, at_x(&p, ring->q_inv_nm), at_y(&p, y));
    }
    cairo_close_path(c->cr);
    mro_fig_rgb(c->cr, 0x9ecae1, 0.7);
    cairo_fill(c->cr);
    if (r->noise_power > 0) {
        cairo_move_to(c->cr, b.x, at_y(&p, r->noise_power));
        cairo_line_to(c->cr, b.x + b.w, at_y(&p, r->noise_power));
        stroke(c, GREY, 0.8, 1.0);
    }
    if (r->wavelength_nm > 0) vertical_line(c, &p, 1 / r->wavelength_nm, ORANGE, 0.8, 0.6);
    for (size_t i = 0; i < r->n_rings; i++) {
        const double x = at_x(&p, r->ring[i].q_inv_nm), y = at_y(&p, fmax(r->ring[i].power, p.y[0] * 1e-3));
        cairo_new_sub_path(c->cr);
        cairo_arc(c->cr, x, y, r->n_rings > 60 ? 0.32 : 0.45, 0, 2 * M_PI);
    }
    mro_fig_rgb(c->cr, INK, 1);
    cairo_fill(c->cr);
    cairo_restore(c->cr);
    plot_axes(c, &p, "Spatial frequency 1/" TEXT_ITALIC "d" TEXT_ITALIC " (nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ")",
              "Power (nm" TEXT_SUPER "2" TEXT_SUPER ")");
    const double y = b.y + b.h - 1.6;
    legend(c, b.x + 1.6, y - 3.3, 0x9ecae1, 4, 0, "falling spectrum, 95" TEXT_NBSP "%");
    legend(c, b.x + 1.6, y, GREY, 0.8, 1.0, r->noise_power > 0 ? "noise" : "noise: not measured");
}

static void draw_acf(struct mro_canvas *c, const struct haadf_page *page, struct mro_box b)
{
    const struct mro_haadf_result *r = page->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "e",
                    isfinite(r->noise_sd) ? "Autocorrelation, noise taken out" : "Autocorrelation, noise included");
    if (r->n_acf == 0 || !isfinite(r->correlation_length_nm)) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    double least = 0;
    for (size_t i = 0; i < r->n_acf; i++) least = fmin(least, r->acf[i]);
    struct plot p = { .b = b };
    p.x[1] = fmin((double)(r->n_acf - 1) * r->acf_step_nm,
                  fmax(6 * r->correlation_length_nm, 2.2 * (r->wavelength_nm > 0 ? r->wavelength_nm : 0)));
    p.y[0] = fmin(-0.15, 1.2 * least);
    p.y[1] = 1.05;
    clip_to(c, &p);
    cairo_move_to(c->cr, b.x, at_y(&p, 0));
    cairo_line_to(c->cr, b.x + b.w, at_y(&p, 0));
    stroke(c, GREY, 0.5, 0);
    cairo_move_to(c->cr, b.x, at_y(&p, E_TO_MINUS_1));
    cairo_line_to(c->cr, at_x(&p, r->correlation_length_nm), at_y(&p, E_TO_MINUS_1));
    cairo_line_to(c->cr, at_x(&p, r->correlation_length_nm), at_y(&p, p.y[0]));
    stroke(c, GREY, 0.8, 1.0);
    for (size_t i = 0; i < r->n_acf; i++) {
        if (i)
            cairo_line_to(c->cr, at_x(&p, (double)i * r->acf_step_nm), at_y(&p, r->acf[i]));
        else
            cairo_move_to(c->cr, at_x(&p, 0), at_y(&p, r->acf[i]));
    }
    stroke(c, ORANGE, 1.3, 0);
    cairo_restore(c->cr);
    plot_axes(c, &p, "Lag (nm)", "Autocorrelation");
    char text[96], length[64];
    mro_text_number(length, sizeof length, r->correlation_length_nm, 2, "nm");
    snprintf(text, sizeof text, "1/" TEXT_ITALIC "e" TEXT_ITALIC " at %s", length);
    mro_canvas_text(c, at_x(&p, r->correlation_length_nm) + 1.2, at_y(&p, E_TO_MINUS_1) - 0.8, PT, MRO_LEFT, 0, INK,
                    text);
}

/* -- the page ------------------------------------------------------------------------------------- */

static bool inside(const struct mro_image *m, ptrdiff_t i, ptrdiff_t j, float value)
{
    return i >= 0 && j >= 0 && (size_t)i < m->nx && (size_t)j < m->ny && m->px[(size_t)j * m->nx + (size_t)i] == value;
}

/* Border of the samples of one value, along their edges. */
static void outline(cairo_t *cr, const struct mro_image *m, float value, struct mro_box b, unsigned colour)
{
    const double sx = b.w / (double)m->nx, sy = b.h / (double)m->ny;
    const ptrdiff_t nx = (ptrdiff_t)m->nx, ny = (ptrdiff_t)m->ny;
    for (ptrdiff_t j = 0; j <= ny; j++)
        for (ptrdiff_t i = 0; i < nx; i++) {
            const ptrdiff_t from = i;
            while (i < nx && inside(m, i, j, value) != inside(m, i, j - 1, value)) i++;
            if (i == from) continue;
            cairo_move_to(cr, b.x + (double)from * sx, b.y + (double)j * sy);
            cairo_line_to(cr, b.x + (double)i * sx, b.y + (double)j * sy);
        }
    for (ptrdiff_t i = 0; i <= nx; i++)
        for (ptrdiff_t j = 0; j < ny; j++) {
            const ptrdiff_t from = j;
            while (j < ny && inside(m, i, j, value) != inside(m, i - 1, j, value)) j++;
            if (j == from) continue;
            cairo_move_to(cr, b.x + (double)i * sx, b.y + (double)from * sy);
            cairo_line_to(cr, b.x + (double)i * sx, b.y + (double)j * sy);
        }
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_SQUARE);
    mro_fig_rgb(cr, colour, 1);
    cairo_set_line_width(cr, fmin(0.7 * MM_PER_PT, fmax(0.12, sx)));
    cairo_stroke(cr);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_BUTT);
}

static void draw_haadf(struct mro_canvas *c, void *data)
{
    const struct haadf_page *p = data;
    const struct mro_haadf_result *r = p->r;
    const double x0 = MARGIN, y0 = MARGIN + HEAD - 0.6, x1 = x0 + p->panel_w + GAP;
    const struct mro_box a = mro_fig_fit(x0, y0, p->panel_w, p->panel_h, p->field_nm);
    const struct mro_box b = { x1, a.y, a.w, a.h };
    const double scale = p->pixel_nm[1] > 0 ? a.w / p->field_nm[1] : 0;
    mro_fig_heading(c, x0, y0, "a", "Image");
    mro_fig_hatch(c->cr, a);
    mro_canvas_raster(c, &p->raw, a.x, a.y, a.w, a.h);
    mro_fig_frame(c->cr, a, 0.5);
    mro_fig_scale_bar(c, a, scale, 0.25);
    const bool dark = r->dark.p_value < 0.01, bright = r->bright.p_value < 0.01;
    mro_fig_heading(c, x1, y0, "b",
                    dark || bright ? "Background and scan lines out, regions outlined"
                                   : "Background and scan lines out; no regions beyond chance");
    if (p->flat.surface) {
        mro_fig_hatch(c->cr, b);
        mro_canvas_raster(c, &p->flat, b.x, b.y, b.w, b.h);
        if (dark) outline(c->cr, &r->mask, -1, b, 0xf0a000);
        if (bright) outline(c->cr, &r->mask, 1, b, 0x56b4e9);
        mro_fig_frame(c->cr, b, 0.5);
        mro_fig_scale_bar(c, b, scale, 0.25);
        const struct mro_box bar = { b.x + b.w + 1.8, b.y, 2.4, b.h };
        mro_fig_colour_bar(c, bar, &mro_map_grey, p->flat_range[0], p->flat_range[1], false, NAN, "Contrast (%)");
    } else {
        mro_fig_placeholder(c, b, "not measured");
    }
    double ly = y0 + p->panel_h + 3.9;
    if (dark) legend(c, x1, ly, 0xf0a000, 1.2, 0, "dark regions");
    if (bright) legend(c, x1 + (dark ? 26 : 0), ly, 0x56b4e9, 1.2, 0, "bright regions");
    const double y1 = ly + 2.4 + HEAD, width = (PAGE_WIDTH - 2 * MARGIN - 2 * GAP) / 3;
    for (int i = 0; i < 3; i++) {
        const struct mro_box plot = { x0 + i * (width + GAP) + PLOT_LEFT, y1, width - PLOT_LEFT - 0.5, PLOT_HEIGHT };
        (i == 0 ? draw_histogram : i == 1 ? draw_spectrum : draw_acf)(c, p, plot);
    }
    mro_canvas_paragraph(c, x0, y1 + PLOT_HEIGHT + 11.6, PAGE_WIDTH - 2 * MARGIN, LEADING, PT, p->caption, true);
}

static enum mro_code make_caption(struct haadf_page *p, const char *title, struct mro_error *e)
{
    const struct mro_haadf_result *r = p->r;
    struct mro_words w = { 0 };
    char a[96], b[96], line[512], name[256];
    mro_text_clean(name, sizeof name, title);
    mro_fig_say(&w, "");
    if (name[0]) {
        snprintf(line, sizeof line, TEXT_BOLD "%s." TEXT_BOLD " ", name);
        mro_fig_say(&w, line);
    }
    mro_text_percent(a, sizeof a, r->contrast_sd);
    mro_text_interval(b, sizeof b, r->contrast_sd_ci95);
    snprintf(line, sizeof line,
             TEXT_BOLD "Contrast (standard deviation) %s" TEXT_BOLD " (95" TEXT_NBSP
                       "%% interval %s) between %.3g and %.3g" TEXT_NBSP "nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER
                       ", noise %s. ",
             a, b, r->band_inv_nm[0], r->band_inv_nm[1], isfinite(r->noise_sd) ? "taken out" : "included");
    mro_fig_say(&w, line);
    mro_text_percent(a, sizeof a, r->noise_sd);
    snprintf(line, sizeof line, "Noise of a pixel: %s. ", a);
    mro_fig_say(&w, line);
    mro_text_number(a, sizeof a, r->correlation_length_nm, 2, "nm");
    mro_text_number(b, sizeof b, r->wavelength_nm, 2, "nm");
    snprintf(line, sizeof line, "Correlation length: %s; wavelength: %s. ", a, b);
    mro_fig_say(&w, line);
    for (int k = 0; k < 2; k++) {
        const struct mro_haadf_regions *one = k ? &r->bright : &r->dark;
        if (!isfinite(one->p_value)) continue;
        mro_text_p(a, sizeof a, one->p_value);
        mro_text_percent(b, sizeof b, one->area_fraction);
        snprintf(line, sizeof line,
                 "%s regions: %zu beyond %.2g standard deviations, %s of the area, against a random field of this "
                 "spectrum %s",
                 k ? "Bright" : "Dark", one->count, one->threshold_sd, b, a);
        mro_fig_say(&w, line);
        if (isfinite(one->diameter_nm)) {
            mro_text_number(a, sizeof a, one->diameter_nm, 1, "nm");
            snprintf(line, sizeof line, ", diameter %s", a);
            mro_fig_say(&w, line);
        }
        mro_fig_say(&w, ". ");
    }
    mro_fig_say_sentence(&w, "Verdict: ", r->verdict);
    if (!isfinite(r->contrast_sd) && r->n_warnings > 0)
        mro_fig_say_sentence(&w, " Reason: ", r->warnings[r->n_warnings - 1]);
    if (w.failed) {
        free(w.p);
        return MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
    }
    p->caption = w.p;
    return MRO_OK;
}

enum mro_code mro_figure_haadf(const char *path_stem, const struct mro_image *im, const char *title,
                               const struct mro_haadf_result *r, struct mro_error *e)
{
    static const double ends[2] = { 0.005, 0.995 };
    struct haadf_page p = { .r = r };
    struct mro_canvas measure = { 0 };
    char name[256];
    enum mro_code rc;
    mro_fig_pixel_size(im, r->pixel_nm, p.pixel_nm);
    for (int i = 0; i < 2; i++) p.field_nm[i] = (double)(i ? im->nx : im->ny) * (p.pixel_nm[i] > 0 ? p.pixel_nm[i] : 1);
    p.panel_w = (PAGE_WIDTH - 2 * MARGIN - GAP - 14) / 2;
    p.panel_h = mro_fig_panel_height(p.panel_w, p.field_nm);
    const size_t whole[4] = { 0, 0, im->nx, im->ny };
    rc = mro_fig_grey_raster(&p.raw, im, whole, false, e);
    if (rc) goto done;
    if (r->flat.px) {
        const size_t all[4] = { 0, 0, r->flat.nx, r->flat.ny };
        rc = mro_quantiles(r->flat.px, r->flat.ny * r->flat.nx, ends, 2, p.flat_range, e);
        if (rc) goto done;
        for (int i = 0; i < 2; i++) p.flat_range[i] *= 100;
        rc = mro_fig_grey_raster(&p.flat, &r->flat, all, true, e);
        if (rc) goto done;
    }
    rc = make_caption(&p, title, e);
    if (rc) goto done;
    rc = mro_canvas_measure(&measure, e);
    if (rc) goto done;
    const size_t lines = mro_canvas_paragraph(&measure, 0, 0, PAGE_WIDTH - 2 * MARGIN, LEADING, PT, p.caption, false);
    p.height = MARGIN + HEAD - 0.6 + p.panel_h + 3.9 + 2.4 + HEAD + PLOT_HEIGHT + 11.6 + ((double)lines - 1) * LEADING +
               1.2 + MARGIN;
    mro_text_clean(name, sizeof name, title);
    rc = mro_canvas_write(path_stem, name, PAGE_WIDTH, p.height, draw_haadf, &p, e);
done:
    mro_canvas_close(&measure);
    free(p.caption);
    mro_raster_release(&p.raw);
    mro_raster_release(&p.flat);
    return rc;
}
